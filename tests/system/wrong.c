/* SPDX-License-Identifier: Apache-2.0
 * A user who is wrong, past the checks of our own client: requests that vined must refuse, with words that say what and which.
 *
 *   wrong SOCKET      prints "NAME: what vined said" for each; exit status 1 if one was taken, or refused in other words
 *
 * Every wrong task comes in the middle of good ones, none of which may be there afterwards. */
#include "common/conn.h"

#include <stdio.h>
#include <stdlib.h>

#define TURN_MSEC 100
#define ANSWER_USEC 20000000u
#define LONG_SIZE 1000000u

struct talk {
	struct loop *loop;
	struct conn *conn;
	bool is_open, is_answered;
	struct call call;
	int error;
	char reason[600];
	uint64_t n_cells;
};

static char long_word[LONG_SIZE + 1], long_key[2000];

#define WORDS(...)                                                                                              \
	{                                                                                                       \
		(const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *) \
	}

static const struct {
	const char *name;
	struct wire_task task;
	const char *says;
} tasks[] = {
	{"no command", {.tag = "x"}, "command is empty"},
	{"an empty command", {.argv = WORDS("")}, "command is empty"},
	{"an argument of 1e6 characters", {.argv = WORDS("echo", long_word)}, "argument 1 has 1000000 bytes"},
	{"a variable of 1e6 characters",
	 {.argv = WORDS("echo"), .environment = WORDS("A=1", long_word)},
	 "environment"},
	{"a variable without a name", {.argv = WORDS("echo"), .environment = WORDS("=1")}, "environment entry 0"},
	{"a newline in the tag", {.argv = WORDS("echo"), .tag = "a\nb"}, "tag contains a control character"},
	{"a newline in the key", {.argv = WORDS("echo"), .key = "a\nb"}, "key contains a control character"},
	{"a long key", {.argv = WORDS("echo"), .key = long_key}, "key is longer"},
	{"a relative directory", {.argv = WORDS("echo"), .directory = "here"}, "no absolute path"},
	{"a newline in the directory", {.argv = WORDS("echo"), .directory = "/a\nb"}, "control character"},
	{"more cores than there can be", {.argv = WORDS("echo"), .cores = 65537}, "65537 cores"},
	{"more memory than there can be",
	 {.argv = WORDS("echo"), .memory = UINT64_MAX},
	 "more memory than there can be"},
};

static const struct {
	const char *name, *run, *says;
} runs[] = {
	{"a newline in the run's name", "a\nb", "control character"},
	{"a run that looks like a task", "17", "needs a letter"},
	{"a run that looks like a selector", "tag:x", "may not contain"},
	{"a run with a slash", "a/b", "may not contain"},
	{"a run that looks like an option", "-n", "may not"},
	{"a long run name", long_key, "at most 128"},
};

/* ---- talking */

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct talk *t = conn_owner(c);
	(void)peer;
	t->is_open = true;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static void on_close(struct conn *c, int error, const char *reason)
{
	(void)c, (void)error;
	fprintf(stderr, "wrong: the connection is gone: %s\n", reason);
	exit(2);
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct talk *t = container_of(call, struct talk, call);
	t->is_answered = true;
	t->error = error;
	snprintf(t->reason, sizeof t->reason, "%s",
		 type == WIRE_STATUS ? ((const struct wire_status *)message)->reason : "taken");
	if (type == WIRE_ROWS)
		t->n_cells = ((const struct wire_rows *)message)->cells.n;
}

static void talk_open(struct talk *t, const char *where)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	static const struct wire_hello hello = {
		.role = TLS_ROLE_CLIENT, .version = "1", .name = "wrong", .instance = 7};
	struct net_address to;
	int fd = net_parse(where, &to);
	if (!fd)
		fd = net_connect(&to);
	t->loop = loop_new();
	t->conn = fd >= 0 && t->loop ? conn_new(t->loop, fd, false,
						&(struct conn_options){.ops = &ops, .owner = t, .hello = &hello})
				     : NULL;
	while (t->conn && !t->is_open)
		loop_turn(t->loop, TURN_MSEC);
	if (!t->conn) {
		fprintf(stderr, "wrong: %s: no connection\n", where);
		exit(2);
	}
}

static void talk_close(struct talk *t)
{
	conn_free(t->conn);
	loop_free(t->loop);
}

static int ask(struct talk *t, uint16_t type, const void *message)
{
	t->is_answered = false;
	t->call = (struct call){.on_reply = on_reply};
	int r = call_start(&t->call, t->conn, type, message, ANSWER_USEC);
	if (r) {
		fprintf(stderr, "wrong: a request cannot be sent: %s\n", strerror(-r));
		exit(2);
	}
	while (!t->is_answered)
		loop_turn(t->loop, TURN_MSEC);
	return t->error;
}

/* ---- being wrong */

static int check(const struct talk *t, const char *name, const char *says)
{
	bool is_good = t->error && strstr(t->reason, says);
	printf("%s%s: %s\n", is_good ? "" : "NOT REFUSED AS IT SHOULD BE: ", name, t->reason);
	return !is_good;
}

/* The wrong one is the second of three. */
static int submit(struct talk *t, const char *name, const struct wire_task *task, const char *says)
{
	const struct wire_task good = {.argv = WORDS("true")};
	const struct wire_task three[] = {good, *task, good};
	ask(t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong", .tasks = {three, countof(three)}});
	int bad = check(t, name, says);
	if (!strstr(t->reason, "task 2 of 3")) {
		printf("IT DOES NOT SAY WHICH: %s\n", name);
		bad = 1;
	}
	return bad;
}

int main(int argc, char **argv)
{
	struct talk t = {.loop = NULL};
	int bad = 0;
	if (argc != 2) {
		fprintf(stderr, "usage: wrong SOCKET\n");
		return 2;
	}
	memset(long_word, 'x', sizeof long_word - 1);
	memset(long_key, 'x', sizeof long_key - 1);
	talk_open(&t, argv[1]);
	for (size_t i = 0; i < countof(runs); i++) {
		ask(&t, WIRE_ATTACH, &(struct wire_attach){.run = runs[i].run});
		bad |= check(&t, runs[i].name, runs[i].says);
	}
	ask(&t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong"});
	bad |= check(&t, "a run that is not attached", "not attached");
	ask(&t, WIRE_ATTACH, &(struct wire_attach){.run = "wrong"});
	ask(&t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong"});
	bad |= check(&t, "no task", "no task");
	for (size_t i = 0; i < countof(tasks); i++)
		bad |= submit(&t, tasks[i].name, &tasks[i].task, tasks[i].says);
	ask(&t, WIRE_QUERY, &(struct wire_query){.what = "tasks"});
	if (t.n_cells) {
		printf("HALF SUBMITTED: there are tasks\n");
		bad = 1;
	}
	talk_close(&t);
	return bad;
}
