/* SPDX-License-Identifier: Apache-2.0
 * What limits classes from outside: categories, the cluster's counters; and whose turn it is among users.
 *
 * A task gets its turn when it comes: one weight further than its user's latest, but never before the turn that is being served.
 * So users with a million and with ten tasks take turns, and nobody's key ever changes. */
#include "core/core_internal.h"

#define STEP 65536u

struct core_category *core_category_get(struct core *c, const char *name)
{
	struct core_category *g = map_get_text(&c->categories, name);
	if (g)
		return g;
	g = NEW(struct core_category);
	g->name = xstrdup(name);
	g->id = ++c->n_ids; /* never one that was forgotten */
	list_init(&g->classes);
	list_init(&g->running);
	map_put_text(&c->categories, g->name, g);
	return g;
}

struct core_counter *core_counter_get(struct core *c, const char *name)
{
	struct core_counter *k = map_get_text(&c->counters, name);
	if (k)
		return k;
	k = NEW(struct core_counter);
	k->name = xstrdup(name);
	k->id = c->counters.n + 1;
	list_init(&k->uses);
	map_put_text(&c->counters, k->name, k);
	return k;
}

struct core_user *core_user_get(struct core *c, uint64_t number)
{
	struct core_user *u = map_get(&c->users, number);
	if (u)
		return u;
	u = NEW(struct core_user);
	*u = (struct core_user){.number = number, .weight = 1};
	map_put(&c->users, number, u);
	return u;
}

uint64_t core_user_turn(struct core *c, struct core_user *u)
{
	u->last = max(u->last, c->turn) + max(STEP / u->weight, 1u);
	return u->last;
}

const char *core_category_stop(const struct core_class *k)
{
	const struct core_category *g = k->category;
	return g && g->spec.running && g->n_running >= g->spec.running ? g->name : NULL;
}

const struct core_counter *core_counter_stop(const struct core_class *k)
{
	for (size_t i = 0; i < k->key.n_counters; i++) {
		const struct core_counted *u = &k->counted[i];
		if (u->counter->used + u->amount > u->counter->total)
			return u->counter;
	}
	return NULL;
}

/* Every lane of the class enters its brackets or leaves them. */
static void settle_class(struct core *c, struct core_class *k)
{
	if (k->is_stopped == core_class_is_stopped(k))
		return;
	k->is_stopped = !k->is_stopped;
	list_foreach (&k->lanes, struct core_lane, link, l)
		core_lane_unblock(c, l);
}

static void settle_category(struct core *c, struct core_category *g)
{
	list_foreach (&g->classes, struct core_class, link, k)
		settle_class(c, k);
}

static void settle_counter(struct core *c, struct core_counter *k)
{
	list_foreach (&k->uses, struct core_counted, link, u)
		settle_class(c, u->class);
}

void core_category_take(struct core *c, struct core_class *k)
{
	if (k->category) {
		k->category->n_running++;
		if (k->category->n_running == k->category->spec.running)
			settle_category(c, k->category);
	}
	for (size_t i = 0; i < k->key.n_counters; i++) {
		k->counted[i].counter->used += k->counted[i].amount;
		settle_counter(c, k->counted[i].counter);
	}
}

void core_category_give(struct core *c, struct core_class *k)
{
	if (k->category) {
		assert(k->category->n_running);
		if (k->category->n_running-- == k->category->spec.running)
			settle_category(c, k->category);
	}
	for (size_t i = 0; i < k->key.n_counters; i++) {
		assert(k->counted[i].counter->used >= k->counted[i].amount);
		k->counted[i].counter->used -= k->counted[i].amount;
		settle_counter(c, k->counted[i].counter);
	}
}

void core_category_set(struct core *c, const char *name, const struct core_category_spec *spec)
{
	struct core_category *g = core_category_get(c, name);
	g->spec = *spec;
	list_foreach (&g->classes, struct core_class, link, k)
		core_class_renew(c, k);
	settle_category(c, g);
	core_slow_set(c, g);
}

int core_category_forget(struct core *c, const char *name)
{
	struct core_category *g = map_get_text(&c->categories, name);
	if (!g)
		return -ENOENT;
	if (!list_is_empty(&g->classes))
		return -EBUSY;
	assert(!g->n_running && list_is_empty(&g->running));
	core_timer_stop(c, &g->slow);
	map_remove_text(&c->categories, g->name);
	free(g->memory.counts);
	free(g->disk.counts);
	free(g->walls.counts);
	free(g->name);
	free(g);
	return 0;
}

/* Often enough in the beginning, then seldom: each time may move all queues of the category. */
static bool is_time_to_learn(uint64_t n)
{
	return (n & (n - 1)) == 0;
}

void core_category_measured(struct core *c, const char *name, uint64_t memory, uint64_t disk)
{
	struct core_category *g = core_category_get(c, name);
	core_learn(&g->memory, memory);
	core_learn(&g->disk, disk);
	if (!g->spec.learns || !is_time_to_learn(g->memory.n))
		return;
	list_foreach (&g->classes, struct core_class, link, k)
		core_class_renew(c, k);
}

void core_counter_set(struct core *c, const char *name, uint64_t total)
{
	struct core_counter *k = core_counter_get(c, name);
	k->total = total;
	settle_counter(c, k);
}

void core_user_set(struct core *c, uint64_t user, uint32_t weight)
{
	core_user_get(c, user)->weight = max(weight, 1u);
}
