/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"

/* Equal times expire in the order in which they were started. */
static bool is_before(const struct timer *a, const struct timer *b)
{
	return a->at_usec != b->at_usec ? a->at_usec < b->at_usec : a->order < b->order;
}

static void put(struct loop *l, size_t place, struct timer *t)
{
	assert(place < l->n_timers);
	l->heap[place] = t;
	t->place = place;
}

/* Both take t as if its place in the heap were a hole. */
static void sift_up(struct loop *l, struct timer *t)
{
	size_t place = t->place;
	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (!is_before(t, l->heap[parent]))
			break;
		put(l, place, l->heap[parent]);
		place = parent;
	}
	put(l, place, t);
}

static void sift_down(struct loop *l, struct timer *t)
{
	size_t place = t->place;
	for (;;) {
		size_t child = 2 * place + 1;
		if (child >= l->n_timers)
			break;
		if (child + 1 < l->n_timers && is_before(l->heap[child + 1], l->heap[child]))
			child++;
		if (!is_before(l->heap[child], t))
			break;
		put(l, place, l->heap[child]);
		place = child;
	}
	put(l, place, t);
}

static void settle(struct loop *l, struct timer *t)
{
	if (t->place > 0 && is_before(t, l->heap[(t->place - 1) / 2]))
		sift_up(l, t);
	else
		sift_down(l, t);
}

/* Deadlines are moved far more often than they expire (each message of a connection moves one), and mostly to later: a few
 * steps down the heap, no allocation. */
void timer_start(struct timer *t, struct loop *l, uint64_t in_usec, void (*on_expire)(struct timer *))
{
	assert(on_expire);
	assert(!t->loop || t->loop == l);
	loop_check_thread(l);
	/* Between turns the last turn's time may be long past. */
	if (!l->is_turning)
		l->now_usec = l->clock(l->clock_arg);
	if (add_overflows(l->now_usec, in_usec, &t->at_usec))
		t->at_usec = UINT64_MAX;
	t->on_expire = on_expire;
	t->order = l->order++;
	if (t->loop) {
		assert(l->heap[t->place] == t);
		settle(l, t);
		return;
	}
	if (l->n_timers == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		l->heap = xrealloc(l->heap, l->room * sizeof(struct timer *));
	}
	t->loop = l;
	t->place = l->n_timers++;
	sift_up(l, t);
}

void timer_stop(struct timer *t)
{
	struct loop *l = t->loop;
	if (!l)
		return;
	loop_check_thread(l);
	assert(t->place < l->n_timers && l->heap[t->place] == t);
	/* The last one fills the hole, wherever it then belongs: up or down. */
	struct timer *last = l->heap[--l->n_timers];
	if (last != t) {
		last->place = t->place;
		settle(l, last);
	}
	t->loop = NULL;
}

uint64_t loop_timer_next_usec(const struct loop *l)
{
	return l->n_timers ? l->heap[0]->at_usec : UINT64_MAX;
}

void loop_timer_expire(struct loop *l)
{
	/* A timer that starts itself anew with 0 waits for the next turn, or nobody else would have one. */
	uint64_t order = l->order;
	while (l->n_timers) {
		struct timer *t = l->heap[0];
		assert(t->loop == l && t->place == 0);
		if (t->at_usec > l->now_usec || t->order >= order)
			break;
		/* Stopped before it is called: the callback may free it. */
		timer_stop(t);
		t->on_expire(t);
	}
}
