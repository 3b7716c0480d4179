/* SPDX-License-Identifier: Apache-2.0
 * Plays many nodes in one process: each a connection of its own over TLS, that joins, "runs" what it is given for a set time, and says how it ended, with no
 * process anywhere. For the scheduler's benchmarks and faults.
 *
 *   fake-nodes ADDRESS SECRET_FILE COUNT [cores=N] [limit=N] [usec=N] [payload=N] [at-once=N] [seed=N]
 *
 * cores, limit: what each offers (1; as many tasks as cores). usec: how long a task takes (0). payload: bytes of standard output in each result (0).
 * at-once: so many connect at a time (256). seed: of their names; the same seed is the same nodes, also in another process.
 *
 * Prints "joined N after T s" once all have, and answers lines on standard input, each with one line:
 *   numbers      "joined N started N ended N doubled N lost N"
 *   leave N      the first N hang up, without a word, and stay away
 *   back         and are there again, with what they had under way
 *   forget       what they had under way is gone, as if their machine had been restarted
 *   end */
#include "common/dial.h"
#include "common/log.h"
#include "common/map.h"
#include "common/secret.h"
#include "common/service.h"
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <sys/epoll.h>
#include <unistd.h>

struct world;

struct node {
	struct world *world;
	struct dial *dial;
	struct wire_hello hello;
	struct call join;
	struct list attempts;
	char uuid[UUID_TEXT_SIZE], name[32];
	bool is_joined, was_joined, is_away;
};

struct attempt {
	struct list link;
	struct node *node;
	uint64_t attempt, task, started_usec;
	struct timer timer;
	struct call call;
	bool is_over;
};

struct world {
	struct loop *loop;
	struct tls_context *tls;
	uint64_t instance;
	const char *address;
	struct node *nodes;
	uint64_t n_nodes, n_dialled, n_joined, n_first, at_once;
	uint64_t cores, limit, usec, n_payload, seed;
	uint64_t n_started, n_ended, n_doubled, n_lost, n_away;
	uint8_t *payload;
	struct map begun; /* attempts ever, to see one that is started twice */
	double began_sec;
	struct watch in;
	char line[256];
	size_t n_line;
};

static void dial_more(struct world *w);

static void attempt_free(struct attempt *a)
{
	timer_stop(&a->timer);
	call_stop(&a->call);
	list_remove(&a->link);
	free(a);
}

static void on_taken(struct call *call, int error, uint16_t type, const void *message)
{
	struct attempt *a = container_of(call, struct attempt, call);
	(void)message;
	/* A lost connection: it is told again after the next JOIN. */
	if (type != WIRE_STATUS || (error && error != -ESTALE && error != -ENOENT))
		return;
	a->node->world->n_ended++;
	attempt_free(a);
}

static void tell(struct attempt *a)
{
	const struct world *w = a->node->world;
	struct conn *c = a->node->dial ? dial_conn(a->node->dial) : NULL;
	const struct wire_ended m = {.attempt = a->attempt,
				     .task = a->task,
				     .how = 1,
				     .reason = "",
				     .wall_usec = w->usec,
				     .out_size = w->n_payload,
				     .out = {.at = w->payload, .n = (uint32_t)w->n_payload}};
	if (!c || !a->node->is_joined)
		return;
	a->call = (struct call){.on_reply = on_taken};
	call_start(&a->call, c, WIRE_ENDED, &m, 0);
}

static void on_over(struct timer *t)
{
	struct attempt *a = container_of(t, struct attempt, timer);
	a->is_over = true;
	tell(a);
}

static void on_start(struct node *n, const struct wire_start *m)
{
	struct world *w = n->world;
	struct attempt *a = NEW(struct attempt);
	a->node = n;
	a->attempt = m->attempt;
	a->task = m->task;
	list_init(&a->link);
	list_append(&n->attempts, &a->link);
	w->n_started++;
	if (map_get(&w->begun, m->attempt))
		w->n_doubled++;
	else
		map_put(&w->begun, m->attempt, w);
	if (w->usec)
		timer_start(&a->timer, w->loop, w->usec, on_over);
	else
		on_over(&a->timer);
}

static void on_stop(struct node *n, const struct wire_stop *m)
{
	list_foreach (&n->attempts, struct attempt, link, a) {
		if (a->attempt != m->attempt)
			continue;
		if (m->fenced) {
			attempt_free(a);
		} else if (!a->is_over) {
			timer_stop(&a->timer);
			on_over(&a->timer);
		}
		return;
	}
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct node *n = conn_owner(c);
	if (h->type == WIRE_START)
		on_start(n, message);
	else if (h->type == WIRE_STOP)
		on_stop(n, message);
	else
		conn_reply_status(c, h->id, ENOSYS, "a fake node has no %s", wire_name(h->type));
}

static void on_joined(struct call *call, int error, uint16_t type, const void *message)
{
	struct node *n = container_of(call, struct node, join);
	struct world *w = n->world;
	const struct wire_status *status = message;
	if (error) {
		if (type == WIRE_STATUS)
			log_error("%s: %s", n->name, status->reason);
		return;
	}
	n->is_joined = true;
	w->n_joined++;
	if (!n->was_joined && ++w->n_first == w->n_nodes) {
		printf("joined %" PRIu64 " after %.3f s\n", w->n_nodes, bench_now_sec() - w->began_sec);
		fflush(stdout);
	}
	n->was_joined = true;
	list_foreach (&n->attempts, struct attempt, link, a)
		if (a->is_over)
			tell(a);
	dial_more(w);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct node *n = conn_owner(c);
	const struct world *w = n->world;
	_cleanup_(buf_fini) struct buf held = {0};
	uint32_t n_held = 0;
	assert(peer);
	list_foreach (&n->attempts, struct attempt, link, a) {
		const struct wire_held h = {.attempt = a->attempt, .task = a->task};
		buf_put(&held, &h, sizeof h);
		n_held++;
	}
	const struct wire_join m = {.node = n->uuid,
				    .tier = "plain",
				    .cores = (uint32_t)w->cores,
				    .memory = UINT64_C(64) << 30,
				    .task_limit = (uint32_t)w->limit,
				    .kernel = "none",
				    .attempts = {.at = (const struct wire_held *)(void *)held.at, .n = n_held}};
	n->join = (struct call){.on_reply = on_joined};
	call_start(&n->join, c, WIRE_JOIN, &m, 0);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct node *n = conn_owner(c);
	log_debug("%s: %d %s", n->name, error, reason);
	n->world->n_joined -= n->is_joined;
	n->world->n_lost += n->is_joined;
	n->is_joined = false;
}

static void dial_one(struct node *n)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	struct world *w = n->world;
	n->hello = (struct wire_hello){
		.role = TLS_ROLE_NODE, .version = "fake", .name = n->name, .instance = w->instance};
	const struct dial_options o = {
		.conn = {.ops = &ops, .owner = n, .tls = w->tls, .hello = &n->hello, .peer = TLS_ROLE_VINED},
		.address = w->address,
		.most_usec = 1000000};
	n->dial = dial_new(w->loop, &o);
	if (!n->dial) {
		fprintf(stderr, "fake-nodes: %s: %s\n", w->address, strerror(errno));
		exit(1);
	}
}

static void dial_more(struct world *w)
{
	while (w->n_dialled < w->n_nodes && w->n_dialled < w->n_first + w->at_once)
		dial_one(&w->nodes[w->n_dialled++]);
}

/* ---- orders */

static void leave(struct world *w, uint64_t n)
{
	for (uint64_t i = 0; i < n && i < w->n_nodes; i++) {
		struct node *each = &w->nodes[i];
		if (each->is_away)
			continue;
		list_foreach (&each->attempts, struct attempt, link, a)
			call_stop(&a->call);
		call_stop(&each->join);
		w->n_joined -= each->is_joined;
		each->is_joined = false;
		dial_free(steal(each->dial));
		each->is_away = true;
		w->n_away++;
	}
}

static void come_back(struct world *w)
{
	for (uint64_t i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].is_away)
			continue;
		w->nodes[i].is_away = false;
		w->n_away--;
		dial_one(&w->nodes[i]);
	}
}

static void forget(struct world *w)
{
	for (uint64_t i = 0; i < w->n_nodes; i++)
		if (w->nodes[i].is_away)
			list_foreach (&w->nodes[i].attempts, struct attempt, link, a)
				attempt_free(a);
}

static void obey(struct world *w, const char *line)
{
	if (has_prefix(line, "leave "))
		leave(w, strtoull(line + 6, NULL, 10));
	else if (streq(line, "back"))
		come_back(w);
	else if (streq(line, "forget"))
		forget(w);
	else if (streq(line, "end"))
		loop_stop(w->loop, 0);
	printf("joined %" PRIu64 " started %" PRIu64 " ended %" PRIu64 " doubled %" PRIu64 " lost %" PRIu64 "\n",
	       w->n_joined, w->n_started, w->n_ended, w->n_doubled, w->n_lost);
	fflush(stdout);
}

static void on_in(struct watch *in, uint32_t events)
{
	struct world *w = container_of(in, struct world, in);
	ssize_t n = read(in->fd, w->line + w->n_line, sizeof w->line - 1 - w->n_line);
	char *end;
	assert(events);
	if (n <= 0) {
		watch_stop(in);
		loop_stop(w->loop, 0);
		return;
	}
	w->n_line += (size_t)n;
	w->line[w->n_line] = 0;
	while ((end = strchr(w->line, '\n'))) {
		*end = 0;
		obey(w, w->line);
		w->n_line -= (size_t)(end + 1 - w->line);
		memmove(w->line, end + 1, w->n_line + 1);
	}
	if (w->n_line == sizeof w->line - 1)
		w->n_line = 0;
}

/* ---- life */

static bool set(struct world *w, const char *word)
{
	const struct {
		const char *name;
		uint64_t *to;
	} all[] = {{"cores=", &w->cores},         {"limit=", &w->limit},     {"usec=", &w->usec},
		   {"payload=", &w->n_payload}, {"at-once=", &w->at_once}, {"seed=", &w->seed}};
	for (size_t i = 0; i < countof(all); i++) {
		if (has_prefix(word, all[i].name)) {
			*all[i].to = strtoull(word + strlen(all[i].name), NULL, 10);
			return true;
		}
	}
	return false;
}

static void make_nodes(struct world *w)
{
	w->nodes = xcalloc(w->n_nodes, sizeof *w->nodes);
	for (uint64_t i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];
		n->world = w;
		list_init(&n->attempts);
		snprintf(n->name, sizeof n->name, "fake%" PRIu64, i);
		snprintf(n->uuid, sizeof n->uuid, "%08x-0000-4000-8000-%012" PRIx64, (unsigned)w->seed, i & 0xffffffffffff);
	}
}

int main(int argc, char **argv)
{
	struct world w = {.cores = 1, .at_once = 256, .seed = 1};
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	bool is_good = argc >= 4;
	for (int i = 4; i < argc; i++)
		is_good = is_good && set(&w, argv[i]);
	w.n_nodes = argc >= 4 ? strtoull(argv[3], NULL, 10) : 0;
	if (!is_good || !w.n_nodes) {
		fprintf(stderr, "usage: fake-nodes ADDRESS SECRET_FILE COUNT [cores=N] [limit=N] [usec=N] [payload=N] "
				"[at-once=N] [seed=N]\n");
		return 2;
	}
	if (!w.limit)
		w.limit = w.cores;
	service_harden();
	log_init("fake-nodes", LOG_LEVEL_WARN, STDERR_FILENO, true);
	bool is_local = *argv[1] == '/';
	if (!is_local && secret_read(argv[2], secret, &e) < 0) {
		fprintf(stderr, "fake-nodes: %s\n", e.text);
		return 1;
	}
	w.loop = loop_new();
	w.tls = is_local ? NULL : tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
	w.address = argv[1];
	secret_random(&w.instance, sizeof w.instance);
	w.payload = xcalloc(w.n_payload + 1, 1);
	memset(w.payload, 'x', w.n_payload);
	w.began_sec = bench_now_sec();
	make_nodes(&w);
	if (watch_start(&w.in, w.loop, STDIN_FILENO, EPOLLIN, on_in) < 0)
		return 1;
	dial_more(&w);
	int r = loop_run(w.loop);
	/* The kernel takes what is left. */
	return r == 0 ? 0 : 1;
}
