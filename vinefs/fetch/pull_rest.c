/* SPDX-License-Identifier: Apache-2.0
 * Those who had all of a tree are gone. One who brings it is told to read its source: what none of its neighbours has, and nothing else; they get it from there. */
#include "vinefs/fetch/pull.h"

#include "vinefs/fetch/internal.h"

#include <time.h>

#define BATCH 256u             /* chunks: then it looks anew who has what */
#define SETTLED_USEC 200000u   /* so long a neighbour has to say what it has */
#define PATIENCE_USEC 1000000u /* and so long to be reached */

/* It may have chunks that it has not told of. */
static bool is_settled(const struct holder *h, uint64_t now)
{
	uint64_t since = now - h->since_usec;
	if (h->watching == WATCH_ON)
		return since >= SETTLED_USEC;
	return h->watching == WATCH_NONE || since >= PATIENCE_USEC;
}

static void on_read(struct fetch_bring *b, int error, const char *reason)
{
	struct pull *p = container_of(b, struct pull, from_source);
	if (error == -ENOSPC)
		pull_fail_here(p, error);
	else if (error)
		pull_finish(p, error, reason);
	else
		pull_go_on(p);
}

void rest_go_on(struct pull *p)
{
	uint64_t now = loop_now_usec(p->owner->settings.loop);
	struct chunks c = {0};
	/* Who knows no swarm may give it. */
	if (!p->is_reader || p->from_source.bringing || p->n_asks)
		return;
	for (size_t i = 0; i < p->n_holders; i++)
		if (!is_settled(p->holders[i], now))
			return; /* pull_on_look comes again */
	for (uint64_t i = 0; c.n < BATCH && (i = swarm_nobodys(p->swarm, i)) != SWARM_NONE; i++) {
		if (map_get(&p->stored, i))
			continue;
		c.at = c.at ? c.at : xcalloc(BATCH, sizeof *c.at);
		c.at[c.n++] = i;
	}
	if (!c.n)
		return;
	pull_progressed(p);
	p->from_source.on_done = on_read;
	bring_chunks(p->tree->stock, &p->from_source, c, p->is_gating);
}

void fetch_pull_read(struct fetch_pull *x, const char *path, enum fetch_kind kind)
{
	struct pull *p = x->work;
	assert(p);
	struct fetch *f = p->owner->settings.fetch;
	const struct source *known = source_get(f, path);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	const struct record r = {.kind = kind,
				 .id = p->id,
				 .sealed_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000};
	if (!known || !source_record(known, &p->id))
		source_learn(f, path, &r);
	/* One that waits behind another of the same tree has it done by that. */
	struct pull *first = pull_find(p->owner, &p->id);
	p->is_reader = first->is_reader = true;
	if (!first->is_waiting)
		pull_soon(first);
}
