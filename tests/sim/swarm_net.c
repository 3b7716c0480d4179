/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/swarm_net.h"

void clock_fini(struct clock *c)
{
	free(c->heap);
	*c = (struct clock){0};
}

static bool is_before(const struct event *a, const struct event *b)
{
	return a->nsec != b->nsec ? a->nsec < b->nsec : a->order < b->order;
}

void clock_at(struct clock *c, uint64_t nsec, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number)
{
	struct event e = {nsec, c->n_events++, run, arg, number};
	assert(nsec >= c->nsec);
	if (c->n == c->room) {
		c->room = c->room ? 2 * c->room : 1024;
		c->heap = xrealloc(c->heap, c->room * sizeof *c->heap);
	}
	size_t i = c->n++;
	for (; i && is_before(&e, &c->heap[(i - 1) / 2]); i = (i - 1) / 2)
		c->heap[i] = c->heap[(i - 1) / 2];
	c->heap[i] = e;
}

bool clock_step(struct clock *c)
{
	if (!c->n)
		return false;
	struct event e = c->heap[0], last = c->heap[--c->n];
	size_t i = 0;
	for (size_t next; (next = 2 * i + 1) < c->n; i = next) {
		if (next + 1 < c->n && is_before(&c->heap[next + 1], &c->heap[next]))
			next++;
		if (!is_before(&c->heap[next], &last))
			break;
		c->heap[i] = c->heap[next];
	}
	c->heap[i] = last;
	c->nsec = e.nsec;
	e.run(e.arg, e.number);
	return true;
}

uint64_t wire_pass(struct wire *w, uint64_t now_nsec, size_t size)
{
	w->free_nsec = max(w->free_nsec, now_nsec) + (uint64_t)((double)size / w->rate * 1e9);
	return w->free_nsec;
}
