/* SPDX-License-Identifier: Apache-2.0
 * Peers that do what none of ours does, one thing each: what fuzzed peers found.
 *
 *   odd SOCKET joins      a node joins twice on one connection, as two nodes: the second is refused; as itself it may
 *   odd SOCKET replicas   a node says that it has a tree, then that it has none of it any more
 *   odd SOCKET ended TASK ATTEMPT   a node says that an attempt is over which runs on another
 *   odd SOCKET forget     a client submits to a run and forgets the run in one breath: it is not over, so that is refused */
#include "tests/system/talk.h"

#define NODE_ONE "deadbeef-0000-4000-8000-000000000001"
#define NODE_TWO "deadbeef-0000-4000-8000-000000000002"

static int say(bool is_good, const char *what, const struct talk *t)
{
	printf("%s: %s\n", is_good ? "well" : what, t->reason);
	return !is_good;
}

static int join(struct talk *t, const char *node)
{
	return talk_ask(
		t, WIRE_JOIN,
		&(struct wire_join){
			.node = node, .tier = "views", .cores = 1, .task_limit = 1, .kernel = "x", .has_data = true});
}

static int joins(struct talk *t)
{
	int bad = say(join(t, NODE_ONE) == 0, "the first was refused", t);
	bad |= say(join(t, NODE_TWO) != 0, "the second was taken", t);
	return bad | say(join(t, NODE_ONE) == 0, "another offer of its own was refused", t);
}

static int replicas(struct talk *t)
{
	const struct wire_replica all = {.tree = {.algorithm = 1, .byte = {1, 2, 3}}, .size = 5, .total = 5};
	struct wire_replica none = all;
	none.size = 0;
	int bad = say(join(t, NODE_ONE) == 0, "it may not join", t);
	for (int i = 0; i < 3; i++) {
		conn_send(t->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&all, 1}});
		conn_send(t->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&none, 1}});
		conn_send(t->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&none, 1}});
	}
	return bad | say(talk_ask(t, WIRE_PING, &(struct wire_ping){}) == 0, "no answer", t);
}

static uint64_t given[2]; /* task, attempt */

static int ended(struct talk *t)
{
	int bad = say(join(t, NODE_ONE) == 0, "it may not join", t);
	talk_ask(t, WIRE_ENDED, &(struct wire_ended){.task = given[0], .attempt = given[1], .how = 1, .status = 42});
	return bad;
}

static int forget(struct talk *t)
{
	const struct wire_task task = {.argv = {(const char *const[]){"true"}, 1}};
	struct talk other = {.hello = t->hello};
	int bad = say(talk_ask(t, WIRE_ATTACH, &(struct wire_attach){.run = "odd"}) == 0, "it cannot attach", t);
	/* Asked by one call, answered by the other's: both go out in one turn. */
	other.call = (struct call){.on_reply = talk_on_reply};
	call_start(&other.call, t->conn, WIRE_SUBMIT, &(struct wire_submit){.run = "odd", .tasks = {&task, 1}},
		   TALK_ANSWER_USEC);
	bad |= say(talk_ask(t, WIRE_FORGET, &(struct wire_forget){.run = "odd"}) != 0, "it is forgotten", t);
	while (!other.is_answered)
		loop_turn(t->loop, TALK_TURN_MSEC);
	return bad | say(other.error == 0, "the task was refused", &other);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		enum tls_role role;
		int (*run)(struct talk *t);
	} table[] = {
		{"joins", TLS_ROLE_NODE, joins},
		{"replicas", TLS_ROLE_NODE, replicas},
		{"ended", TLS_ROLE_NODE, ended},
		{"forget", TLS_ROLE_CLIENT, forget},
	};
	for (size_t i = 0; argc >= 3 && i < countof(table); i++) {
		struct talk t = {.loop = NULL};
		if (!streq(argv[2], table[i].name))
			continue;
		for (int k = 0; k < 2 && argc == 5; k++)
			given[k] = strtoull(argv[3 + k], NULL, 10);
		talk_open(&t, argv[1], table[i].role);
		int bad = table[i].run(&t);
		talk_close(&t);
		return bad;
	}
	fprintf(stderr, "usage: odd SOCKET joins|replicas|forget|ended [TASK ATTEMPT]\n");
	return 2;
}
