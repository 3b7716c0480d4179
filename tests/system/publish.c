/* SPDX-License-Identifier: Apache-2.0
 * A node that does nothing but publish: it plays its task, writes TEXT beside the path that is to be made, asks for the keep, and puts it
 * there when it may and DIR/publish is there. While DIR/cut is there it is cut off. It ends when its end is acknowledged or SIGTERM comes.
 *
 *   publish node SOCKET NODE TEXT WITHIN_MSEC DIR
 *   publish submit SOCKET PATH     a task of the run `work` that makes it
 *   publish result SOCKET          waits for its result: how, attempts
 *
 * It prints a line for all that happens. */
#include "tests/system/talk.h"

#include "common/path.h"
#include "common/secret.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define TURN_MSEC 20
#define AGAIN_USEC 100000u

struct player {
	const char *where, *node, *text, *dir;
	uint64_t within_usec;
	struct loop *loop;
	struct wire_hello hello;
	struct conn *conn;
	bool is_joined, is_stopped;
	struct call call;
	/* its task */
	uint64_t attempt, task, item, asked_usec, again_usec;
	char path[256], beside[300];
	enum { NONE, ASKING, GRANTED, OVER, TOLD, DONE } state;
	uint8_t how;
};

static volatile sig_atomic_t is_ended;

static void on_term(int signo)
{
	(void)signo;
	is_ended = 1;
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool is_there(const struct player *p, const char *name)
{
	char path[300];
	snprintf(path, sizeof path, "%s/%s", p->dir, name);
	return access(path, F_OK) == 0;
}

static void begin(struct player *p, const struct wire_start *m)
{
	const struct wire_input *made = m->inputs.n ? &m->inputs.at[m->inputs.n - 1] : NULL;
	if (!made || made->mode != 3 || !has_prefix(made->source, "file:") || p->state != NONE)
		return;
	p->attempt = m->attempt;
	p->task = m->task;
	p->item = made->item;
	snprintf(p->path, sizeof p->path, "%s", made->source + strlen("file:"));
	snprintf(p->beside, sizeof p->beside, "%s.%s", p->path, p->node);
	path_write(p->beside, p->text, strlen(p->text), 0644, false);
	p->state = ASKING;
	say("started");
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct player *p = conn_owner(c);
	if (h->type == WIRE_START)
		begin(p, message);
	if (h->type == WIRE_STOP && ((const struct wire_stop *)message)->fenced) {
		say("fenced");
		p->is_stopped = true;
	}
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct player *p = conn_owner(c);
	(void)error, (void)reason;
	conn_free(c);
	p->conn = NULL;
}

static void on_joined(struct call *call, int error, uint16_t type, const void *message)
{
	struct player *p = container_of(call, struct player, call);
	(void)type, (void)message;
	p->is_joined = !error;
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct player *p = conn_owner(c);
	const struct wire_held held = {p->attempt, p->task};
	(void)peer;
	p->call = (struct call){.on_reply = on_joined};
	call_start(&p->call, c, WIRE_JOIN,
		   &(struct wire_join){.node = p->node,
				       .tier = "plain",
				       .cores = 1,
				       .task_limit = 1,
				       .has_data = true,
				       .attempts = {&held, p->state > NONE && p->state < DONE}},
		   0);
}

static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};

static void connect_again(struct player *p)
{
	struct net_address to;
	if (net_parse(p->where, &to) < 0 || access(p->where, F_OK) < 0)
		return;
	int fd = net_connect(&to);
	p->is_joined = false;
	if (fd >= 0)
		p->conn = conn_new(p->loop, fd, false,
				   &(struct conn_options){.ops = &ops, .owner = p, .hello = &p->hello});
}

/* ---- its keep, and its end */

static void on_kept(struct call *call, int error, uint16_t type, const void *message)
{
	struct player *p = container_of(call, struct player, call);
	(void)message;
	p->again_usec = now_usec() + AGAIN_USEC;
	if (error && type != WIRE_STATUS)
		return; /* the connection is gone */
	if (!error)
		p->state = GRANTED;
	else if (error != -EAGAIN)
		p->state = OVER, p->how = 7;
	say(!error ? "granted" : error == -EAGAIN ? "must wait" : "refused");
}

static void ask_keep(struct player *p)
{
	if (now_usec() < p->again_usec)
		return;
	p->asked_usec = now_usec();
	p->call = (struct call){.on_reply = on_kept};
	call_start(&p->call, p->conn, WIRE_KEEP,
		   &(struct wire_keep){
			   .attempt = p->attempt, .task = p->task, .item = p->item, .within_usec = p->within_usec},
		   0);
}

/* Cut off or not. */
static void publish(struct player *p)
{
	bool is_late = now_usec() >= p->asked_usec + p->within_usec;
	p->state = OVER;
	p->how = is_late || rename(p->beside, p->path) < 0 ? 7 : 1;
	say(is_late ? "too late" : "published");
}

static void on_told(struct call *call, int error, uint16_t type, const void *message)
{
	struct player *p = container_of(call, struct player, call);
	(void)type, (void)message;
	p->state = error ? OVER : DONE;
	if (!error)
		say("over");
}

static void tell_end(struct player *p)
{
	struct wire_output made = {.item = p->item, .size = strlen(p->text)};
	digest_bytes(p->text, strlen(p->text), &made.tree);
	p->state = TOLD;
	p->call = (struct call){.on_reply = on_told};
	call_start(&p->call, p->conn, WIRE_ENDED,
		   &(struct wire_ended){.attempt = p->attempt,
					.task = p->task,
					.how = p->how,
					.reason = p->how == 7 ? "not published" : "",
					.outputs = {&made, p->how == 1}},
		   0);
}

static void turn(struct player *p)
{
	bool is_cut = is_there(p, "cut");
	if (is_cut && p->conn) {
		conn_free(p->conn);
		p->conn = NULL;
		say("cut off");
	}
	if (!is_cut && !p->conn)
		connect_again(p);
	bool can_ask = p->conn && p->is_joined && !p->call.conn;
	if (p->state == TOLD && !p->call.conn)
		p->state = OVER;
	if (p->state == ASKING && can_ask)
		ask_keep(p);
	else if (p->state == GRANTED && is_there(p, "publish"))
		publish(p);
	else if (p->state == OVER && can_ask)
		tell_end(p);
}

static int play(char **argv)
{
	struct player p = {.where = argv[2],
			   .node = argv[3],
			   .text = argv[4],
			   .within_usec = strtoull(argv[5], NULL, 10) * 1000,
			   .dir = argv[6],
			   .hello = {.role = TLS_ROLE_NODE, .version = "1", .name = argv[4]}};
	secret_random(&p.hello.instance, sizeof p.hello.instance);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
	p.loop = loop_new();
	say("publish ready");
	while (p.state != DONE && !is_ended) {
		turn(&p);
		loop_turn(p.loop, TURN_MSEC);
	}
	call_stop(&p.call);
	if (p.conn)
		conn_free(p.conn);
	loop_free(p.loop);
	return 0;
}

/* ---- the client */

static bool has_result;

static void on_result(struct conn *c, const struct wire_head *h, const void *message)
{
	const struct wire_result *m = message;
	(void)c;
	if (h->type != WIRE_RESULT)
		return;
	printf("how %u attempts %u\n", m->how, m->attempts);
	has_result = true;
}

static int ask_vined(char **argv)
{
	struct talk t = {.loop = NULL};
	bool is_submit = streq(argv[1], "submit");
	talk_open(&t, argv[2], TLS_ROLE_CLIENT);
	static const struct conn_ops client = {
		.on_open = talk_on_open, .on_message = on_result, .on_close = talk_on_close};
	conn_set(t.conn, &client, &t);
	int r = talk_ask(&t, WIRE_ATTACH, &(struct wire_attach){.run = "work", .results = !is_submit});
	if (!r && is_submit) {
		_free_ char *item = xasprintf("file:%s", argv[3]);
		const struct wire_binding out = {.path = "x", .item = item, .mode = 3};
		const struct wire_task task = {.argv = {(const char *const[]){"true"}, 1}, .bindings = {&out, 1}};
		r = talk_ask(&t, WIRE_SUBMIT, &(struct wire_submit){.run = "work", .tasks = {&task, 1}});
	}
	while (!r && !is_submit && !has_result)
		loop_turn(t.loop, TURN_MSEC);
	if (r)
		printf("%s\n", t.reason);
	talk_close(&t);
	return r != 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && streq(argv[1], "node"))
		return play(argv);
	if ((argc == 4 && streq(argv[1], "submit")) || (argc == 3 && streq(argv[1], "result")))
		return ask_vined(argv);
	fprintf(stderr, "usage: publish node SOCKET NODE TEXT WITHIN_MSEC DIR | submit SOCKET PATH | result SOCKET\n");
	return 2;
}
