/* SPDX-License-Identifier: Apache-2.0
 * A node is judged by its rate of attempts gone wrong against everyone's: a task that always fails must not bring down
 * the nodes it visits, and a broken node, on which everything fails fast, must not eat the queue.
 *
 * Nothing is held against the only one that takes tasks: there is nowhere else to go.
 * Good: its room. Probation: one task at a time until three in a row went well. Blocked: none for a minute, twice as long each time
 * again, then probation. */
#include "core/core_internal.h"

#define LEAST 4u /* gone wrong before it is judged */
#define REDEMPTION 3u
#define MEMORY 64u /* attempts until old ones count half */
#define BLOCKED_USEC UINT64_C(60000000)
#define BLOCKED_MOST_USEC (64 * BLOCKED_USEC)

uint32_t core_health_limit(const struct core_node *n)
{
	return n->health == CORE_HEALTH_PROBATION ? 1 : n->task_limit;
}

static void enter(struct core *c, struct core_node *n, enum core_health health)
{
	n->health = (uint8_t)health;
	n->n_well = n->n_ill = 0;
	if (health == CORE_HEALTH_BLOCKED) {
		n->blocked_usec = n->blocked_usec ? min(2 * n->blocked_usec, BLOCKED_MOST_USEC) : BLOCKED_USEC;
		core_timer_set(c, &n->blocked, CORE_TIMER_BLOCKED, c->now_usec + n->blocked_usec);
	}
	core_node_changed(c, n);
}

void core_health_unblock(struct core *c, struct core_node *n)
{
	assert(n->health == CORE_HEALTH_BLOCKED);
	enter(c, n, CORE_HEALTH_PROBATION);
}

/* Somewhere else to go. Who is away, rests or is blocked takes nothing. */
static bool has_other(const struct core *c, const struct core_node *n)
{
	const struct core_node *each;
	for (size_t i = 0; c->n_open > n->is_open && (each = map_next(&c->nodes, &i));) {
		if (each != n && each->is_open && each->health != CORE_HEALTH_BLOCKED)
			return true;
	}
	return false;
}

/* Three times as often as the others, and a tenth more than that, so that one of two nodes can be told apart as well. */
static bool is_unusual(const struct core *c, const struct core_node *n)
{
	double others = (double)(c->n_ill - n->n_ill) / (double)max(c->n_judged - n->n_well - n->n_ill, UINT64_C(1));
	double own = (double)n->n_ill / (double)(n->n_well + n->n_ill);
	return n->n_ill >= LEAST && own > 3 * others + 0.1;
}

void core_health_count(struct core *c, struct core_node *n, bool went_well)
{
	n->n_well += went_well;
	n->n_ill += !went_well;
	c->n_judged++;
	c->n_ill += !went_well;
	bool is_held_against = !went_well && has_other(c, n);
	if (n->health == CORE_HEALTH_PROBATION) {
		if (is_held_against)
			enter(c, n, CORE_HEALTH_BLOCKED);
		else if (!went_well)
			n->n_well = 0;
		else if (n->n_well >= REDEMPTION)
			enter(c, n, CORE_HEALTH_GOOD);
	} else if (n->health == CORE_HEALTH_GOOD) {
		if (is_held_against && is_unusual(c, n))
			enter(c, n, CORE_HEALTH_PROBATION);
		else if (n->n_well + n->n_ill >= MEMORY)
			n->n_well /= 2, n->n_ill /= 2;
	}
}

void core_node_judge(struct core *c, uint64_t node, bool went_well)
{
	struct core_node *n = core_node_find(c, node);
	if (n && n->is_present)
		core_health_count(c, n, went_well);
}

enum core_health core_node_health(const struct core *c, uint64_t node)
{
	const struct core_node *n = core_node_find(c, node);
	return n ? n->health : CORE_HEALTH_GOOD;
}
