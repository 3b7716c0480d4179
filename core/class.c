/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

/* One word of a key after another: whoever knows the state before a word can tell which word makes two keys collide. */
uint64_t core_class_hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

uint64_t core_class_hash(const struct core_class_key *key)
{
	const uint64_t *word = (const uint64_t *)(const void *)key;
	uint64_t hash = 0x2545f4914f6cdd1du;
	for (size_t i = 0; i < sizeof *key / sizeof *word; i++)
		if (word[i])
			hash = core_class_hash_word(hash ^ i, word[i]);
	return hash;
}

static int fill_need(struct core *c, const struct core_task_spec *s, struct core_vector *v)
{
	v->at[CORE_DIM_CORES] = s->cores ? s->cores : 1;
	v->at[CORE_DIM_MEMORY] = s->memory;
	v->at[CORE_DIM_DISK] = s->disk;
	v->at[CORE_DIM_GPUS] = s->gpus;
	v->at[CORE_DIM_TIME] = s->wall_usec;
	return core_node_fill_named(c, v, s->named, s->n_named, s->features, s->n_features);
}

static int fill_key(struct core *c, const struct core_task_spec *s, struct core_class_key *key)
{
	*key = (struct core_class_key){.user = s->user, .n_counters = s->n_counters};
	if (s->n_counters > CORE_COUNTERS)
		return -E2BIG;
	int e = fill_need(c, s, &key->need);
	if (e)
		return e;
	if (s->category)
		key->category = core_category_get(c, s->category)->id;
	for (size_t i = 0; i < s->n_counters; i++) {
		key->counters[i].counter = core_counter_get(c, s->counters[i].name)->id;
		key->counters[i].amount = s->counters[i].amount;
	}
	return 0;
}

/* What its category gives to who names nothing. */
static uint64_t given(const struct core_class *k, uint64_t most, const struct core_learned *l)
{
	return k->category->spec.learns && !k->key.is_most ? core_learn_first(l, most) : most;
}

static void set_need(struct core_class *k)
{
	k->need = k->key.need;
	if (!k->category)
		return;
	if (!k->need.at[CORE_DIM_MEMORY])
		k->need.at[CORE_DIM_MEMORY] = given(k, k->category->spec.memory, &k->category->memory);
	if (!k->need.at[CORE_DIM_DISK])
		k->need.at[CORE_DIM_DISK] = given(k, k->category->spec.disk, &k->category->disk);
}

void core_class_renew(struct core *c, struct core_class *k)
{
	struct core_vector before = k->need;
	set_need(k);
	if (!memcmp(&before, &k->need, sizeof before))
		return;
	list_foreach (&k->lanes, struct core_lane, link, l)
		core_lane_renew(c, l);
}

static struct core_class *find(const struct core *c, const struct core_class_key *key, uint64_t hash)
{
	struct core_class *k = map_get(&c->classes, hash);
	while (k && memcmp(&k->key, key, sizeof *key) != 0)
		k = k->next;
	return k;
}

static struct core_class *class_new(struct core *c, const struct core_class_key *key, uint64_t hash,
				    struct core_category *category, struct core_counter *const *counters)
{
	struct core_class *k = NEW(struct core_class);
	k->key = *key;
	k->hash = hash;
	k->id = ++c->n_ids;
	k->category = category;
	k->user = core_user_get(c, key->user);
	list_init(&k->link);
	list_init(&k->lanes);
	if (category)
		list_append(&category->classes, &k->link);
	if (key->n_counters)
		k->counted = xcalloc(key->n_counters, sizeof *k->counted);
	for (size_t i = 0; i < key->n_counters; i++) {
		k->counted[i] =
			(struct core_counted){.class = k, .counter = counters[i], .amount = key->counters[i].amount};
		list_init(&k->counted[i].link);
		list_append(&counters[i]->uses, &k->counted[i].link);
	}
	set_need(k);
	k->is_stopped = core_class_is_stopped(k);
	k->next = map_get(&c->classes, hash);
	map_put(&c->classes, hash, k);
	return k;
}

int core_class_get(struct core *c, const struct core_task_spec *spec, struct core_class **k)
{
	struct core_class_key key;
	int e = fill_key(c, spec, &key);
	if (e)
		return e;
	uint64_t hash = core_class_hash(&key);
	*k = find(c, &key, hash);
	if (!*k) {
		struct core_counter *counters[CORE_COUNTERS];
		for (size_t i = 0; i < spec->n_counters; i++)
			counters[i] = core_counter_get(c, spec->counters[i].name);
		*k = class_new(c, &key, hash, spec->category ? core_category_get(c, spec->category) : NULL, counters);
	}
	(*k)->n_tasks++;
	return 0;
}

struct core_class *core_class_most(struct core *c, struct core_class *k)
{
	bool is_learned = k->category && k->category->spec.learns && !k->key.is_most &&
			  (!k->key.need.at[CORE_DIM_MEMORY] || !k->key.need.at[CORE_DIM_DISK]);
	if (!is_learned)
		return NULL;
	struct core_class_key key = k->key;
	key.is_most = 1;
	uint64_t hash = core_class_hash(&key);
	struct core_class *most = find(c, &key, hash);
	if (!most) {
		struct core_counter *counters[CORE_COUNTERS];
		for (size_t i = 0; i < key.n_counters; i++)
			counters[i] = k->counted[i].counter;
		most = class_new(c, &key, hash, k->category, counters);
	}
	most->n_tasks++;
	return most;
}

void core_class_put(struct core *c, struct core_class *k)
{
	assert(k->n_tasks);
	if (--k->n_tasks)
		return;
	assert(!k->n_queued && list_is_empty(&k->lanes));
	struct core_class *first = map_get(&c->classes, k->hash);
	if (first == k) {
		if (k->next)
			map_put(&c->classes, k->hash, k->next);
		else
			map_remove(&c->classes, k->hash);
	} else {
		while (first->next != k)
			first = first->next;
		first->next = k->next;
	}
	if (k->base)
		core_lane_free(c, k->base);
	for (size_t i = 0; i < k->key.n_counters; i++)
		list_remove(&k->counted[i].link);
	list_remove(&k->link);
	free(k->counted);
	free(k);
}

bool core_class_is_limited(const struct core_class *k)
{
	return k->key.n_counters || (k->category && k->category->spec.running);
}

bool core_class_is_stopped(const struct core_class *k)
{
	return core_category_stop(k) || core_counter_stop(k);
}
