/* SPDX-License-Identifier: Apache-2.0
 * The invariants of core.c, by their numbers. */
#include "core/core_internal.h"

/* NDEBUG must not turn this file into nothing. */
#define require(x)               \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static void check_task(const struct core *c, const struct core_task *t, struct map *attempts)
{
	require(t->state > CORE_STATE_OVER && t->state < CORE_STATES); /* 1 */
	require(!t->level == (t->state != CORE_STATE_QUEUED));         /* 2 */
	require(!t->node == !core_task_has_node(t));
	require(list_is_empty(&t->link) == (!t->level && !t->node));
	require(t->class->n_tasks && core_class_hash(t->class->cores, t->class->memory));
	if (t->node) {
		require(t->attempt); /* 3 */
		require(!map_put(attempts, t->attempt, (void *)t));
		require(core_node_find(c, t->node->number) == t->node);
	} else if (t->level) {
		require(t->level->priority == t->priority);
		require(map_get(&t->class->levels, (uint64_t)t->priority) == t->level);
	}
}

static void check_tasks(const struct core *c)
{
	uint64_t n_in_state[CORE_STATES] = {0};
	struct map attempts = {0};
	const struct core_task *t;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));) {
		check_task(c, t, &attempts);
		n_in_state[t->state]++;
	}
	require(!memcmp(n_in_state, c->n_in_state, sizeof n_in_state));
	map_fini(&attempts);
}

static void check_rooms(const struct core *c, const struct core_node *n)
{
	bool is_full = n->spec.task_limit && n->n_tasks >= n->spec.task_limit;
	uint64_t cores = 0, memory = 0;
	if (n->is_open && !is_full && n->spec.cores > n->used_cores) {
		cores = n->spec.cores - n->used_cores;
		memory = n->spec.memory > n->used_memory ? n->spec.memory - n->used_memory : 0;
	}
	require(n->free.cores == cores && n->free.memory == memory); /* 4, 6 */
	require(!n->free.link.at == !cores);
	require(n->whole.cores == (n->is_open ? n->spec.cores : 0));
	require(!n->whole.link.at == !n->whole.cores);
	(void)c;
}

static void check_nodes(const struct core *c)
{
	uint64_t n_present = 0, n_open = 0, cores = 0, cores_free = 0;
	const struct core_node *n;
	for (size_t i = 0; (n = map_next(&c->nodes, &i));) {
		uint64_t used_cores = 0, used_memory = 0, n_tasks = 0;
		list_foreach (&n->tasks, const struct core_task, link, t) {
			require(t->node == n);
			require(n->is_present || t->state == CORE_STATE_ADOPTION || /* 5 */
				t->state == CORE_STATE_ADOPTION_CANCELLED);
			used_cores += t->class->cores;
			used_memory += t->class->memory;
			n_tasks++;
		}
		require(used_cores == n->used_cores && used_memory == n->used_memory && n_tasks == n->n_tasks); /* 4 */
		require(n->is_present || !n->is_open);
		check_rooms(c, n);
		n_present += n->is_present;
		n_open += n->is_open;
		cores += n->whole.cores;
		cores_free += n->free.cores;
	}
	require(n_present == c->n_present && n_open == c->n_open);
	require(cores == c->cores && cores_free == c->cores_free); /* 10 */
	core_index_check(&c->free);
	core_index_check(&c->whole);
}

static size_t check_levels(const struct core_class *k)
{
	size_t n = 0;
	core_heap_check(&k->order);
	require(k->levels.n == k->order.n);
	for (size_t i = 0; i < k->order.n; i++) {
		const struct core_level *l = container_of(k->order.items[i], struct core_level, link);
		require(!list_is_empty(&l->tasks)); /* 7 */
		list_foreach (&l->tasks, const struct core_task, link, t) {
			require(t->level == l && t->class == k && t->state == CORE_STATE_QUEUED); /* 2 */
			n++;
		}
	}
	require(n == k->n_queued);
	return n;
}

static void check_class(const struct core *c, const struct core_class *k)
{
	bool is_blocked = !list_is_empty(&k->blocked);
	require((k->n_queued > 0) == (is_blocked || k->ready.at)); /* 8 */
	require(!is_blocked || !k->ready.at);
	const struct core_task *first = core_class_first(k);
	require(!k->ready.at || k->ready.minor == first->arrival);
	bool may_fit = k->cores <= c->grown_cores && k->memory <= c->grown_memory;
	require(!is_blocked || may_fit || !core_index_find(&c->free, k->cores, k->memory)); /* 9 */
}

void core_check(const struct core *c)
{
	check_tasks(c);
	check_nodes(c);
	core_heap_check(&c->ready);
	uint64_t n_queued = 0, n_tasks = 0;
	const struct core_class *first;
	for (size_t i = 0; (first = map_next(&c->classes, &i));) {
		for (const struct core_class *k = first; k; k = k->next) {
			n_queued += check_levels(k);
			n_tasks += k->n_tasks;
			check_class(c, k);
		}
	}
	require(n_queued == c->n_in_state[CORE_STATE_QUEUED] && n_tasks == c->tasks.n); /* 7 */
}
