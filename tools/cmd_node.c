/* SPDX-License-Identifier: Apache-2.0
 * vine node: this machine's vinefs, and another one in its place; and nodes of the cluster that are to be left. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"
#include "tools/session.h"

#include <time.h>

#define CONF_STRUCT node_options
#define CONF_FILE "tools/node.def"
#include "common/conf_struct.h"
#define CONF_STRUCT node_options
#define CONF_FILE "tools/node.def"
#include "common/conf_table.h"

const struct conf_table node_table = {
	.program = "vine node",
	.summary = "drain a node of the cluster, or look at and replace this machine's vinefs",
	.usage = "drain NAME|resume NAME|status|upgrade",
	.at = node_options_table,
	.n = countof(node_options_table),
};

#define UPGRADE_USEC 20000000u
#define PAUSE_NSEC 5000000

static int ask(struct node *n, uint16_t type, struct wire_node_state **out)
{
	static const struct wire_ask_node nothing;
	const struct node_ask a = {.type = type, .message = &nothing, .answer = WIRE_NODE_STATE};
	void *reply = NULL;
	int r = node_ask(n, &a, &reply);
	*out = reply;
	return r;
}

/* ---- status */

static void put_state(struct json *j, const char *name, const struct wire_node_state *m)
{
	json_begin(j, name, '{');
	json_number(j, "pid", m->pid);
	json_text(j, "version", m->version);
	json_number(j, "since_usec", (int64_t)m->since_usec);
	json_number(j, "mounts", m->n_mounts);
	json_end(j, '}');
}

static int show(const struct node_options *o)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ struct wire_node_state *m = NULL;
	char since[32];
	if (node_open(&n, false) || ask(n, WIRE_ASK_NODE, &m))
		return tool_fail(&node_table, "%s", node_error(n));
	if (o->json) {
		struct json j = {0};
		put_state(&j, NULL, m);
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else {
		print_age(since, m->since_usec);
		printf("vinefs %s, pid %u, since %s, %u mount%s\n", m->version, m->pid, since, m->n_mounts,
		       m->n_mounts == 1 ? "" : "s");
	}
	return tool_end(&node_table, 0);
}

/* ---- upgrade */

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Asks until one answers that is not the old one: they may have the same pid, but not the same start. */
static int wait_for_new(const struct wire_node_state *old, uint64_t until, struct wire_node_state **out)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NSEC};
	for (;;) {
		_cleanup_(node_freep) struct node *n = NULL;
		_free_ struct wire_node_state *m = NULL;
		if (node_open(&n, false) == 0 && ask(n, WIRE_ASK_NODE, &m) == 0 &&
		    (m->pid != old->pid || m->since_usec != old->since_usec)) {
			*out = steal(m);
			return 0;
		}
		if (now_usec() > until)
			return tool_fail(&node_table,
					 "%u makes way, but no other one answers; the node's log says more: %s",
					 old->pid, node_error(n));
		nanosleep(&pause, NULL);
	}
}

static int upgrade(const struct node_options *o)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ struct wire_node_state *old = NULL, *now = NULL;
	uint64_t begun = now_usec();
	if (node_open(&n, false) || ask(n, WIRE_NODE_UPGRADE, &old))
		return tool_fail(&node_table, "%s", node_error(n));
	int status = wait_for_new(old, begun + UPGRADE_USEC, &now);
	if (status)
		return status;
	assert(now->since_usec != old->since_usec || now->pid != old->pid);
	if (o->json) {
		struct json j = {0};
		json_begin(&j, NULL, '{');
		put_state(&j, "old", old);
		put_state(&j, "new", now);
		json_end(&j, '}');
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else {
		printf("vinefs %s, pid %u, is replaced by vinefs %s, pid %u\n", old->version, old->pid, now->version,
		       now->pid);
	}
	return tool_end(&node_table, 0);
}

/* ---- drain and resume */

static int change(const struct node_options *o, const char *what, const char *name)
{
	struct vine *v;
	int status = session_look(&node_table, NULL, &v);
	if (status)
		return status;
	int r = vine_node(v, name, what, o->wait && streq(what, "drain"));
	status = r < 0 ? tool_fail(&node_table, "%s", vine_error()) : 0;
	vine_close(v, 1);
	if (status)
		return status;
	if (o->json) {
		struct json j = {0};
		json_begin(&j, NULL, '{');
		json_text(&j, "node", name);
		json_text(&j, "state", streq(what, "resume") ? "resumed" : o->wait ? "empty" : "drained");
		json_end(&j, '}');
		json_print(&j);
	} else if (streq(what, "resume")) {
		printf("%s gets tasks again\n", name);
	} else if (o->wait) {
		printf("%s is empty: nothing runs there, and nothing that is needed is there alone\n", name);
	} else {
		printf("%s gets no more tasks; vine node drain %s --wait says when it is empty\n", name, name);
	}
	return tool_end(&node_table, 0);
}

int cmd_node(int argc, char **argv)
{
	struct node_options o = {0};
	int status, n = tool_words(&node_table, &o, argc, argv, &status);
	if (n == 1 && streq(argv[1], "status"))
		status = show(&o);
	else if (n == 1 && streq(argv[1], "upgrade"))
		status = upgrade(&o);
	else if (n == 2 && (streq(argv[1], "drain") || streq(argv[1], "resume")))
		status = change(&o, argv[1], argv[2]);
	else if (n == 1 && (streq(argv[1], "drain") || streq(argv[1], "resume")))
		status = tool_fail(&node_table, "%s which node? `vine status` lists them", argv[1]);
	else if (n == 2 && (streq(argv[1], "status") || streq(argv[1], "upgrade")))
		status = tool_fail(&node_table, "%s is of this machine's vinefs alone. Of node %s of the cluster: vine why %s",
				   argv[1], argv[2], argv[2]);
	else if (n >= 0)
		status = tool_fail(&node_table, "drain, resume, status or upgrade? Try: vine node status");
	conf_fini(&node_table, &o);
	return status;
}
