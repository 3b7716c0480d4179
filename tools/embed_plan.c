/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/embed.h"

#include "common/path.h"
#include "common/service.h"
#include "tools/node.h"

#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- a node for data that somebody has: `vine seal` and `vine mount` start one where the default cluster's first node would be */

static char *work_of(const struct embed *e)
{
	const char *idle = getenv("VINEFS_IDLE_EXIT");
	return xasprintf("vined = %s/vined.sock\nsecret = %s/secret\nreconnect = 500ms\nidle-exit = %s\n", e->state,
			 e->state, idle && *idle ? idle : EMBED_IDLE_EXIT);
}

bool embed_is_adopted(const struct embed *e, const char *node)
{
	size_t n = 0;
	_free_ char *path = path_join(node, "work-for"), *said = path_read(path, 8192, &n);
	_free_ char *ours = xasprintf("vined = %s/vined.sock\n", e->state);
	return said && has_prefix(said, ours) && embed_owner(node, EMBED_NODE);
}

static bool is_for_data(const char *node)
{
	char path[64];
	size_t n = 0;
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)embed_owner(node, EMBED_NODE));
	_free_ char *words = path_read(path, 65536, &n);
	return words && memmem(words, n, "\0--vined=none", sizeof("\0--vined=none"));
}

/* It hands its mounts to the vinefs that comes after it, which then works for us; but what it does for others is not cut off. */
static int ask_to_work(struct node *n)
{
	static const struct wire_ask_node nothing;
	struct node_ask a = {.type = WIRE_ASK_NODE, .message = &nothing, .answer = WIRE_NODE_STATE};
	void *reply = NULL;
	int r = node_ask(n, &a, &reply);
	_free_ struct wire_node_state *m = reply;
	if (!r && m->n_clients != 1)
		return -EBUSY;
	a.type = WIRE_NODE_UPGRADE;
	return r ? r : node_ask(n, &a, NULL);
}

static bool adopt(const struct embed *e, const char *node)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ char *path = path_join(node, "work-for"), *work = work_of(e);
	const char *told = getenv("VINE_NODE");
	if (embed_is_adopted(e, node))
		return true;
	if ((told && *told) || !is_for_data(node) || path_write(path, work, strlen(work), 0600, false))
		return false;
	if (node_open(&n, false) == 0 && streq(node_directory(n), node) && ask_to_work(n) == 0)
		return true;
	unlink(path);
	return false;
}

/* ---- which nodes there are to be */

/* The first of the default cluster is the node that `vine cache` and `vine mount` ask anyway, unless that one works for another. */
static int place_of_node(struct embed *e, unsigned i, char **out)
{
	_free_ char *own = xasprintf("%s/n%u", e->state, i + 1), *database = path_join(e->state, "vined.db");
	_free_ char *usual = service_state_path("node"), *cluster = path_join(usual, "cluster");
	bool is_usual = i == 0 && e->is_default && access(own, F_OK) < 0;
	/* It belonged to a cluster that is not there any more. */
	if (access(database, F_OK) < 0 && access(cluster, F_OK) == 0)
		is_usual = false;
	if (is_usual && embed_owner(usual, EMBED_NODE))
		is_usual = adopt(e, usual);
	return embed_place(e, is_usual ? usual : own, out);
}

static unsigned count_cores(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

int embed_plan(struct embed *e, unsigned n)
{
	struct statvfs fs;
	uint64_t room = statvfs(e->state, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize / 10 * 9;
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	while (e->n_nodes)
		free(e->nodes[--e->n_nodes].state);
	assert(n && n <= EMBED_NODES_MOST);
	for (unsigned i = 0; i < n; i++) {
		struct embed_node *node = &e->nodes[i];
		*node = (struct embed_node){.state = NULL};
		if (n > 1)
			*node = (struct embed_node){
				.cores = max(count_cores() / n, 1u), .memory = memory / n, .cache = room / n};
		int r = place_of_node(e, i, &node->state);
		if (r)
			return r;
		e->n_nodes++;
	}
	return 0;
}
