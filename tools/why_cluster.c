/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/why_cluster.h"

#include "libvineclient/vine.h"
#include "tools/counts.h"
#include "tools/embed.h"
#include "tools/why_failed.h"

#include <inttypes.h>

#define REASONS_SHOWN 3u
#define NODES_SHOWN 5u

static const char *cell(const struct table *t, size_t row, const char *name)
{
	return table_find(t, row, name) ?: "";
}

bool why_has_cluster(void)
{
	struct embed e;
	const char *told = getenv("VINE");
	if (told && strpbrk(told, "/:"))
		return true;
	bool is_up = embed_open(&e, NULL) == 0 && embed_is_up(&e);
	embed_fini(&e);
	return is_up;
}

/* ---- nodes */

static bool is_well(const struct table *t, size_t row)
{
	return streq(cell(t, row, "state"), "connected");
}

static void put_well(struct buf *text, const struct table *t, size_t row)
{
	uint64_t running = strtoull(cell(t, row, "running"), NULL, 10);
	uint64_t limit = strtoull(cell(t, row, "task_limit"), NULL, 10);
	char memory[32];
	print_size(memory, strtoull(cell(t, row, "memory"), NULL, 10));
	buf_printf(text,
		   "node %s is connected: it runs %" PRIu64 " of at most %" PRIu64
		   " tasks, has %s cores, %s of memory and %s trees\n",
		   cell(t, row, "name"), running, limit, cell(t, row, "cores"), memory, cell(t, row, "trees"));
	if (limit && running >= limit)
		buf_puts(text, "  it is full: the next task begins when one ends\n");
	if (!streq(cell(t, row, "tier"), "views"))
		buf_printf(text,
			   "  its tasks' inputs are shown by tier %s, which may be slower: vine doctor there says "
			   "why\n",
			   cell(t, row, "tier"));
}

/* The states that vined knows, and what each comes to. */
static const struct {
	const char *state, *means, *next;
} states[] = {
	{"away", "it has no connection to vined, and no task of its is waited for",
	 "on that machine, vine node status says whether it runs; vinefs or vine join starts it, its log says more"},
	{"waited for", "it has lost its connection; its tasks run elsewhere if it is not back soon",
	 "on that machine, vine node status, and the log of its vinefs"},
	{"resting: ", "it is connected, but could not begin a task, and is given none for some seconds",
	 "the log of its vinefs says more; vine doctor there tries what it can do"},
};

void why_node(const struct table *t, size_t row, struct buf *text)
{
	const char *state = cell(t, row, "state"), *name = cell(t, row, "name"), *address = cell(t, row, "address");
	if (is_well(t, row)) {
		put_well(text, t, row);
		return;
	}
	for (size_t i = 0; i < countof(states); i++) {
		if (!has_prefix(state, states[i].state))
			continue;
		const char *reason = state + strlen(states[i].state);
		buf_printf(text, "node %s is %s%s%s: %s%s%s\n  next: %s\n", name,
			   has_prefix(state, "resting") ? "resting" : state, *address ? ", last at " : "", address,
			   states[i].means, *reason ? ": " : "", reason, states[i].next);
		return;
	}
	buf_printf(text,
		   "node %s is connected, but %s: too many of the tasks that it was given failed, and others' did not\n"
		   "  next: vine doctor on that machine, and the log of its vinefs; it gets tasks again by itself\n",
		   name, state);
}

/* ---- all of it */

static void put_nodes(struct vine *v, struct buf *text)
{
	struct table nodes = {0};
	size_t n_well = 0, n_shown = 0;
	vine_query(v, "nodes", NULL, table_add, &nodes);
	for (size_t i = 0; i < nodes.n_rows; i++)
		n_well += is_well(&nodes, i);
	if (!nodes.n_rows)
		buf_puts(text,
			 "no node has joined\n  next: vine up starts one of your own cluster; vine join HOST:PORT "
			 "one elsewhere\n");
	else
		buf_printf(text, "%zu of %zu nodes are there and well\n", n_well, nodes.n_rows);
	for (size_t i = 0; i < nodes.n_rows && n_shown < NODES_SHOWN; i++) {
		if (is_well(&nodes, i))
			continue;
		why_node(&nodes, i, text);
		n_shown++;
	}
	table_fini(&nodes);
}

static void put_waiting(struct vine *v, struct buf *text)
{
	struct table reasons = {0};
	vine_query(v, "waiting", NULL, table_add, &reasons);
	for (size_t i = 0; i < reasons.n_rows && i < REASONS_SHOWN; i++)
		buf_printf(text, "%s wait%s: %s\n  next: vine why %s\n", cell(&reasons, i, "tasks"),
			   streq(cell(&reasons, i, "tasks"), "1") ? "s" : "", cell(&reasons, i, "reason"),
			   cell(&reasons, i, "task"));
	table_fini(&reasons);
}

static int add_first(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	table_add(arg, n, names, cells);
	return 1;
}

static void put_newest_run(struct vine *v, struct buf *text)
{
	struct table runs = {0};
	struct counts c;
	char numbers[200];
	if (vine_query(v, "runs", NULL, add_first, &runs) > 0) {
		const char *run = cell(&runs, 0, "run");
		_free_ char *failed = xasprintf("%s@failed", run);
		if (counts_ask(v, run, &c) == 0) {
			buf_printf(text, "the newest run, %s: %s\n", run, counts_text(&c, numbers));
			if (c.failed) {
				why_failed_of(v, failed, text);
				buf_printf(text, "  next: vine why %s\n", failed);
			}
		}
	}
	table_fini(&runs);
}

void why_cluster(struct vine *v, struct buf *text)
{
	put_nodes(v, text);
	put_waiting(v, text);
	put_newest_run(v, text);
}
