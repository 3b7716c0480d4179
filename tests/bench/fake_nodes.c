/* SPDX-License-Identifier: Apache-2.0
 * Plays many nodes in one process: each a connection of its own over TLS, that joins, "runs" what it is given for a set time, and says how it ended, with no
 * process anywhere. For the scheduler's benchmarks and faults.
 *
 *   fake_nodes ADDRESS SECRET_FILE COUNT [cores=N] [limit=N] [usec=N] [payload=N] [at-once=N] [retry=N] [seed=N] [rate=N trees=N size=N]
 *
 * cores, limit: what each offers (1; as many tasks as cores). usec: how long a task takes (0). payload: bytes of standard output in each result (0).
 * at-once: so many connect at a time (256). retry: microseconds between tries, at most (1 s). seed: of their names; the same seed is the same nodes, also in
 * another process. rate: they have data that moves into each at so many bytes a second; then trees of `size` bytes are there from the start, tree i on node
 * i % COUNT (fake_cargo.h).
 *
 * Prints "joined N after T s" once all have, and answers lines on standard input, each with one line:
 *   numbers      "joined N started N ended N doubled N lost N away N first S": lost connections; attempts under way on nodes that left; when the first START
 *                came, in seconds of the monotonic clock
 *   leave N      the first N hang up, without a word, and stay away
 *   back         and are there again, with what they had under way
 *   forget       what they had under way is gone, as if their machine had been restarted
 *   end */
#include "common/log.h"
#include "common/service.h"
#include "tests/bench/bench.h"
#include "tests/bench/fake_node.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- orders */

static void leave(struct world *w, uint64_t n)
{
	for (uint64_t i = 0; i < n && i < w->n_nodes; i++)
		if (!w->nodes[i].is_away)
			fake_leave(&w->nodes[i]);
}

static void come_back(struct world *w)
{
	for (uint64_t i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].is_away)
			continue;
		w->nodes[i].is_away = false;
		fake_dial(&w->nodes[i]);
	}
}

static void forget(struct world *w)
{
	for (uint64_t i = 0; i < w->n_nodes; i++)
		if (w->nodes[i].is_away)
			fake_forget(&w->nodes[i]);
}

static uint64_t count_away(struct world *w)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < w->n_nodes; i++)
		if (w->nodes[i].is_away)
			list_foreach (&w->nodes[i].attempts, struct attempt, link, a)
				n++;
	return n;
}

static void say_numbers(struct world *w)
{
	printf("joined %" PRIu64 " started %" PRIu64 " ended %" PRIu64 " doubled %" PRIu64 " lost %" PRIu64
	       " away %" PRIu64 " first %.6f\n",
	       w->n_joined, w->n_started, w->n_ended, w->n_doubled, w->n_lost, count_away(w), w->first_sec);
	fflush(stdout);
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
	say_numbers(w);
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
	} all[] = {{"cores=", &w->cores},     {"limit=", &w->limit},   {"usec=", &w->usec}, {"payload=", &w->n_payload},
		   {"at-once=", &w->at_once}, {"retry=", &w->retry},   {"seed=", &w->seed}, {"rate=", &w->rate},
		   {"trees=", &w->n_trees},   {"size=", &w->tree_size}};
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
	for (uint64_t i = 0; i < w->n_nodes; i++)
		fake_init(&w->nodes[i], w, i);
	for (unsigned i = 0; i < w->n_trees; i++) {
		struct digest tree;
		fake_tree(i, &tree);
		cargo_hold(&w->nodes[i % w->n_nodes].cargo, &tree, w->tree_size);
	}
}

static void on_signal(int signo, void *arg)
{
	struct world *w = arg;
	assert(signo == SIGTERM);
	loop_stop(w->loop, 0);
}

int main(int argc, char **argv)
{
	struct world w = {.cores = 1, .at_once = 256, .retry = 1000000, .seed = 1};
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	bool is_good = argc >= 4;
	for (int i = 4; i < argc; i++)
		is_good = is_good && set(&w, argv[i]);
	w.n_nodes = argc >= 4 ? strtoull(argv[3], NULL, 10) : 0;
	if (!is_good || !w.n_nodes) {
		fprintf(stderr, "usage: fake_nodes ADDRESS SECRET_FILE COUNT [cores=N] [limit=N] [usec=N] [payload=N] "
				"[at-once=N] [retry=N] [seed=N] [rate=N trees=N size=N]\n");
		return 2;
	}
	if (!w.limit)
		w.limit = w.cores;
	service_harden();
	log_init("fake_nodes", LOG_LEVEL_WARN, STDERR_FILENO, true);
	bool is_local = *argv[1] == '/';
	if (!is_local && secret_read(argv[2], secret, &e) < 0) {
		fprintf(stderr, "fake_nodes: %s\n", e.text);
		return 1;
	}
	w.loop = loop_new();
	w.tls = is_local ? NULL : tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
	secret_wipe(secret, sizeof secret);
	w.address = argv[1];
	secret_random(&w.instance, sizeof w.instance);
	w.payload = xcalloc(w.n_payload + 1, 1);
	memset(w.payload, 'x', w.n_payload);
	w.began_sec = bench_now_sec();
	make_nodes(&w);
	if (loop_on_signal(w.loop, SIGTERM, on_signal, &w) < 0)
		return 1;
	if (watch_start(&w.in, w.loop, STDIN_FILENO, EPOLLIN, on_in) < 0)
		return 1;
	fake_dial_more(&w);
	int r = loop_run(w.loop);
	/* The kernel takes what is left. */
	return r == 0 ? 0 : 1;
}
