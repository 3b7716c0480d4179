/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

#define ABUNDANT 8u /* queued tasks for each node with room */

struct core_node *core_node_find(const struct core *c, uint64_t number)
{
	return map_get(&c->nodes, number);
}

struct core_node *core_node_new(struct core *c, uint64_t number)
{
	assert(number);
	struct core_node *n = NEW(struct core_node);
	n->number = number;
	n->local.n_dims = c->n_dims;
	list_init(&n->tasks);
	list_init(&n->grown);
	for (size_t i = 0; i < CORE_WANTS; i++)
		list_init(&n->wants[i]);
	list_init(&n->wanting);
	list_init(&n->serves);
	void *before = map_put(&c->nodes, number, n);
	assert(!before);
	(void)before;
	return n;
}

static struct core_rack *rack_get(struct core *c, uint64_t number)
{
	struct core_rack *k = map_get(&c->racks, number);
	if (!k) {
		k = NEW(struct core_rack);
		k->number = number;
		map_put(&c->racks, number, k);
	}
	return k;
}

/* Out of the one it was in; the last one of a rack takes that along. */
static void set_rack(struct core *c, struct core_node *n, uint64_t number)
{
	struct core_rack *k = n->in_rack;
	if (n->rack == number)
		return;
	if (k) {
		k->nodes[n->rack_at] = k->nodes[--k->n];
		k->nodes[n->rack_at]->rack_at = n->rack_at;
		n->in_rack = NULL;
	}
	if (k && !k->n) {
		map_remove(&c->racks, k->number);
		free(k->nodes);
		free(k);
	}
	n->rack = number;
	if (!number)
		return;
	k = n->in_rack = rack_get(c, number);
	if (k->n == k->room) {
		k->room = max(2 * k->room, 8u);
		k->nodes = xrealloc(k->nodes, k->room * sizeof(struct core_node *));
	}
	n->rack_at = k->n;
	k->nodes[k->n++] = n;
}

void core_node_free(struct core *c, struct core_node *n)
{
	assert(list_is_empty(&n->tasks) && !n->is_open && !n->is_present);
	assert(!n->free_at && !n->whole_at && !n->replicas.n && !n->local.n && list_is_empty(&n->serves));
	set_rack(c, n, 0);
	list_remove(&n->grown);
	list_remove(&n->wanting);
	core_timer_stop(c, &n->blocked);
	core_timer_stop(c, &n->shunned);
	core_bracket_fini(&n->local);
	map_remove(&c->nodes, n->number);
	map_fini(&n->replicas);
	free(n->cores);
	free(n);
}

/* ---- what it offers */

/* A new kind of resource: every bracket gets one amount more. */
static void widen(struct core *c)
{
	struct core_node *n;
	c->n_dims++;
	core_bracket_widen(&c->anywhere, c->n_dims);
	core_bracket_widen(&c->late, c->n_dims);
	core_bracket_widen(&c->free, c->n_dims);
	core_bracket_widen(&c->whole, c->n_dims);
	for (size_t i = 0; (n = map_next(&c->nodes, &i));)
		core_bracket_widen(&n->local, c->n_dims);
	struct core_tree *t;
	for (size_t i = 0; (t = map_next(&c->trees, &i));)
		core_bracket_widen(&t->local, c->n_dims);
	/* What lanes have stored is the complement of what they need, which of this kind is nothing. */
	struct core_lane *l;
	for (size_t i = 0; (l = map_next(&c->lanes, &i));)
		core_lane_renew(c, l);
	struct core_class *first;
	for (size_t i = 0; (first = map_next(&c->classes, &i));)
		for (struct core_class *k = first; k; k = k->next)
			if (k->base)
				core_lane_renew(c, k->base);
}

int core_node_fill_named(struct core *c, struct core_vector *v, const struct core_amount *named, size_t n_named,
			 const char *const *features, size_t n_features)
{
	for (size_t i = 0; i < n_named; i++) {
		size_t n = c->kinds.n;
		int k = core_names_get(&c->kinds, named[i].name, CORE_NAMED);
		if (k < 0)
			return k;
		if (c->kinds.n > n)
			widen(c);
		v->at[CORE_DIM_NAMED + k] += named[i].amount;
	}
	for (size_t i = 0; i < n_features; i++) {
		int k = core_names_get(&c->features, features[i], CORE_FEATURES);
		if (k < 0)
			return k;
		v->features |= UINT64_C(1) << k;
	}
	return 0;
}

int core_node_offer(struct core *c, struct core_node *n, const struct core_node_spec *s)
{
	struct core_vector v = {0};
	v.at[CORE_DIM_CORES] = s->cores;
	v.at[CORE_DIM_MEMORY] = s->memory;
	v.at[CORE_DIM_DISK] = s->disk;
	v.at[CORE_DIM_GPUS] = s->gpus;
	v.at[CORE_DIM_TIME] = s->end_usec ? s->end_usec : UINT64_MAX;
	int e = core_node_fill_named(c, &v, s->named, s->n_named, s->features, s->n_features);
	if (e)
		return e;
	n->whole = v;
	n->is_special = s->gpus || s->n_named;
	n->task_limit = s->task_limit;
	set_rack(c, n, s->rack);
	return 0;
}

/* What is left; nothing if more is used than there is, as after an adoption or a return with a smaller offer. */
static uint64_t left(uint64_t all, uint64_t used)
{
	return all > used ? all - used : 0;
}

bool core_node_room(const struct core *c, const struct core_node *n, struct core_vector *room)
{
	uint32_t limit = core_health_limit(n);
	if (!n->is_offered || (limit && n->n_tasks >= limit))
		return false;
	room->features = n->whole.features;
	for (uint32_t i = 0; i < c->n_dims; i++)
		room->at[i] = left(n->whole.at[i], n->used.at[i]);
	return room->at[CORE_DIM_CORES] > 0;
}

struct core_vector core_vector_at(const struct core *c, const struct core_vector *need)
{
	struct core_vector v = *need;
	if (v.at[CORE_DIM_TIME])
		v.at[CORE_DIM_TIME] += c->now_usec;
	return v;
}

bool core_node_covers(const struct core *c, const struct core_node *n, const struct core_vector *need)
{
	struct core_vector room;
	if (n->cores_free < need->at[CORE_DIM_CORES] || n == c->kept || !core_node_room(c, n, &room))
		return false;
	bool is_in_time = !need->at[CORE_DIM_TIME] || need->at[CORE_DIM_TIME] + c->now_usec <= room.at[CORE_DIM_TIME];
	return is_in_time && core_vector_covers(&room, need, c->n_dims);
}

/* Nodes with GPUs or anything named are left to who asks for it, as long as there are others; then the most free. */
static struct core_key key_of(const struct core_node *n, const struct core_vector *room)
{
	return (struct core_key){(uint64_t)n->is_special << 63 |
					 (INT64_MAX - min(room->at[CORE_DIM_CORES], (uint64_t)INT64_MAX)),
				 n->number};
}

static void set_at(struct core_bracket *b, uint32_t *at, struct core_node *n, bool is_in, struct core_key key,
		   const struct core_vector *v)
{
	if (is_in && *at)
		core_bracket_set(b, *at, key, v);
	else if (is_in)
		*at = core_bracket_put(b, n, key, v);
	else if (*at)
		core_bracket_remove(b, *at), *at = 0;
}

static void set_whole(struct core *c, struct core_node *n, bool is_offered)
{
	/* Most cores first, so that the first is the largest. */
	struct core_key key = {~n->whole.at[CORE_DIM_CORES], n->number};
	bool is_in = is_offered && n->whole.at[CORE_DIM_CORES];
	c->cores -= n->cores_whole;
	n->cores_whole = is_in ? n->whole.at[CORE_DIM_CORES] : 0;
	c->cores += n->cores_whole;
	set_at(&c->whole, &n->whole_at, n, is_in, key, &n->whole);
}

static void note_idle(struct core *c, struct core_node *n)
{
	bool is_idle = n->free_at && list_is_empty(&n->grown);
	c->n_idle += (uint64_t)is_idle - n->is_idle;
	n->is_idle = is_idle;
}

void core_node_ask(struct core *c, struct core_node *n, struct list *to)
{
	list_remove(&n->grown);
	if (to)
		list_append(to, &n->grown);
	note_idle(c, n);
}

/* With much queued, nodes that are about to ask take what suits them best; else each task looks around for itself. */
bool core_node_any_idle(const struct core *c, const struct core_vector *need)
{
	const struct core_vector v = core_vector_at(c, need);
	bool is_much_queued = c->n_in_state[CORE_STATE_QUEUED] / ABUNDANT >= c->free.n;
	return (c->n_idle || !is_much_queued) && core_bracket_may(&c->free, &v);
}

void core_node_settle(struct core *c, struct core_node *n)
{
	struct core_vector room;
	room.at[CORE_DIM_CORES] = 0;
	bool has_room = core_node_room(c, n, &room);
	uint64_t cores_free = has_room ? room.at[CORE_DIM_CORES] : 0;
	c->cores_free += cores_free - n->cores_free;
	n->cores_free = cores_free;
	set_at(&c->free, &n->free_at, n, has_room && n != c->kept, key_of(n, &room), &room);
	note_idle(c, n);
}

void core_node_grew(struct core *c, struct core_node *n)
{
	if (n->cores_free && list_is_empty(&n->grown))
		core_node_ask(c, n, &c->grown);
}

void core_keep_end(struct core *c)
{
	struct core_node *n = steal(c->kept);
	c->kept_for = NULL;
	core_node_settle(c, n);
	core_node_grew(c, n);
}

void core_node_changed(struct core *c, struct core_node *n)
{
	n->is_offered = n->is_open && n->health != CORE_HEALTH_BLOCKED;
	if (n == c->kept) {
		struct core_vector need = core_vector_at(c, &c->kept_for->class->need);
		if (!n->is_offered || !core_vector_covers(&n->whole, &need, c->n_dims))
			core_keep_end(c);
	}
	set_whole(c, n, n->is_offered);
	core_node_settle(c, n);
	core_node_grew(c, n);
}

/* ---- what is taken of it */

/* The lowest that are free: neighbours share caches. Fewer than asked for only where more is in use than there is. */
static void take_cores(struct core_node *n, struct core_hold *h, uint64_t n_wanted)
{
	uint64_t n_all = n->whole.at[CORE_DIM_CORES], *cores = core_hold_cores(h);
	for (uint32_t w = 0; w < h->n_words && n_wanted; w++) {
		uint64_t free = ~n->cores[w];
		if (n_all < (w + 1) * UINT64_C(64))
			free &= (UINT64_C(1) << n_all % 64) - 1;
		for (; free && n_wanted; n_wanted--) {
			cores[w] |= free & -free;
			free &= free - 1;
		}
		n->cores[w] |= cores[w];
	}
}

static void take_gpus(struct core_node *n, struct core_hold *h, uint64_t n_wanted)
{
	for (unsigned i = 0; i < min(n->whole.at[CORE_DIM_GPUS], UINT64_C(64)) && n_wanted; i++) {
		uint64_t bit = UINT64_C(1) << i;
		if (n->gpus & bit)
			continue;
		n->gpus |= bit;
		h->gpus |= bit;
		n_wanted--;
	}
}

void core_node_reserve(struct core *c, struct core_node *n, struct core_task *t)
{
	assert(!t->held);
	const struct core_vector *need = &t->class->need;
	uint32_t n_words = (uint32_t)min((n->whole.at[CORE_DIM_CORES] + 63) / 64, (uint64_t)CORE_WORDS);
	if (!n->cores)
		n->cores = xcalloc(CORE_WORDS, sizeof *n->cores);
	struct core_hold *h = xcalloc(1, sizeof *h + (c->n_dims + n_words) * sizeof(uint64_t));
	h->task = t;
	list_init(&h->running);
	h->n_dims = c->n_dims;
	h->n_words = n_words;
	take_cores(n, h, need->at[CORE_DIM_CORES]);
	take_gpus(n, h, need->at[CORE_DIM_GPUS]);
	for (uint32_t i = 0; i < c->n_dims; i++) {
		h->at[i] = i == CORE_DIM_TIME ? 0 : need->at[i];
		n->used.at[i] += h->at[i];
	}
	n->n_tasks++;
	t->held = h;
	core_category_take(c, t->class);
	core_node_settle(c, n);
}

void core_node_release(struct core *c, struct core_node *n, struct core_task *t)
{
	_free_ struct core_hold *h = steal(t->held);
	assert(h && n->n_tasks);
	list_remove(&h->running);
	for (uint32_t i = 0; i < h->n_dims; i++)
		n->used.at[i] -= h->at[i];
	for (uint32_t i = 0; i < h->n_words; i++)
		n->cores[i] &= ~core_hold_cores(h)[i];
	n->gpus &= ~h->gpus;
	n->n_tasks--;
	core_category_give(c, t->class);
	core_node_settle(c, n);
	core_node_grew(c, n);
}
