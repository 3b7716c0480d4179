/* SPDX-License-Identifier: Apache-2.0
 * Models as vined's answers would fill them, and screens as text. */
#ifndef TESTS_UNIT_TOP_WORLD_H
#define TESTS_UNIT_TOP_WORLD_H

#include "libvineclient/vine.h"
#include "tests/unit/unit.h"
#include "tools/top_view.h"

#include <inttypes.h>

uint64_t tool_task(const char *word);

uint64_t tool_task(const char *word)
{
	return strtoull(word, NULL, 10);
}

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	(void)t, (void)fmt;
	return EXIT_VINE_FAILED;
}

#define GIB (UINT64_C(1) << 30)
#define NOW_USEC UINT64_C(1800000000000000)

/* A row of names and texts, one after the other, up to a NULL. */
static _unused_ void put(vine_row_fn *fn, struct top_model *m, const char *const cells[])
{
	const char *names[40], *texts[40];
	size_t n = 0;
	for (; cells[2 * n]; n++) {
		names[n] = cells[2 * n];
		texts[n] = cells[2 * n + 1];
	}
	fn(m, n, names, texts);
}
#define PUT(fn, m, ...) put(fn, m, (const char *const[]){__VA_ARGS__, NULL})

static _unused_ struct top_run *put_run(struct top_model *m, const char *name, struct counts c)
{
	char unfinished[24], running[24];
	snprintf(unfinished, sizeof unfinished, "%" PRIu64, counts_unfinished(&c));
	snprintf(running, sizeof running, "%" PRIu64, c.running);
	PUT(top_on_run, m, "run", name, "unfinished", unfinished, "running", running, "untaken", "0");
	struct top_run *r = &m->runs[m->n_runs - 1];
	r->has_counts = true;
	r->counts = c;
	return r;
}

/* Two nodes, a run of five of which three are over, one badly. */
static _unused_ struct top_model *small_model(void)
{
	struct top_model *m = top_model_new();
	PUT(top_on_cluster, m, "name", "lab", "version", "0.1.0", "uptime_sec", "65", "nodes", "2", "known_nodes", "2",
	    "cores", "12", "cores_free", "11", "queued", "1", "running", "1", "submitted", "5", "over", "3",
	    "is_settled", "1", "address", "127.0.0.1:1", "runs", "1");
	m->counts = (struct counts){.done = 2, .failed = 1};
	m->has_counts = true;
	m->counted_over = 3;
	put_run(m, "sweep", (struct counts){.waiting = 1, .running = 1, .done = 2, .failed = 1});
	PUT(top_on_reason, m, "reason", "the nodes are full", "tasks", "1", "task", "5", "asked", "1");
	PUT(top_on_node, m, "node", "n1", "state", "connected", "tier", "views", "cores_used", "1", "cores", "4",
	    "memory_used", "1073741824", "memory", "4294967296", "running", "1", "cache", "2147483648", "trees", "3");
	PUT(top_on_node, m, "node", "n2", "state", "on probation", "cores_used", "0", "cores", "8", "memory",
	    "8589934592");
	PUT(top_on_task, m, "task", "4", "run", "sweep", "name", "4", "state", "running", "node", "n1", "attempts", "2",
	    "started_usec", "1799999935000000", "cores", "1", "memory", "1073741824");
	PUT(top_on_task, m, "task", "5", "run", "sweep", "name", "5", "state", "queued", "reason",
	    "the nodes are full");
	PUT(top_on_task, m, "task", "3", "run", "sweep", "name", "3", "state", "delivered", "node", "n1", "how", "exit",
	    "status", "1", "wall_usec", "2000000", "attempts", "1");
	PUT(top_on_item, m, "item", "temp:out", "run", "sweep", "state", "there", "size", "1048576", "nodes", "1",
	    "tasks", "1");
	return m;
}

/* A screen as text, each line ended, without blanks at the ends of lines; yours. */
static _unused_ char *screen_text(const struct top_state *state, const struct top_model *m, unsigned w, unsigned h,
				  bool is_ascii)
{
	const struct top_now now = {.wall_usec = NOW_USEC};
	struct top_screen s;
	struct buf text = {0};
	top_screen_init(&s, w, h, is_ascii);
	top_view(&s, state, m, &now);
	for (unsigned y = 0; y < s.h; y++) {
		top_screen_line(&s, y, TOP_NO_STYLES, &text);
		buf_puts(&text, "\n");
	}
	top_screen_fini(&s);
	return buf_steal_text(&text);
}

#endif
