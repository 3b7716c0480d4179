/* SPDX-License-Identifier: Apache-2.0
 * What the core looks things up by: heaps, brackets, names, buckets, timers. They know no task, node or tree. */
#ifndef CORE_INDEX_H
#define CORE_INDEX_H

#include "common/base.h"
#include "core/core.h"

/* ---- heap: the smallest (major, minor) first. A link is in at most one heap; its keys change outside of it,
 * or core_heap_moved() is told. */
struct core_link {
	uint64_t major, minor;
	size_t at; /* its place in the heap's array + 1; 0: in none */
};

struct core_heap {
	struct core_slot {
		uint64_t major, minor;
		struct core_link *link;
	} * items;
	size_t n, room;
};

void core_heap_fini(struct core_heap *h);
void core_heap_put(struct core_heap *h, struct core_link *l);
void core_heap_remove(struct core_heap *h, struct core_link *l);
void core_heap_moved(struct core_heap *h, struct core_link *l);
void core_heap_check(const struct core_heap *h);

static inline struct core_link *core_heap_first(const struct core_heap *h)
{
	return h->n ? h->items[0].link : NULL;
}

/* ---- amounts of everything. A room covers a need if it has the features and as much of each. */
enum core_dim { CORE_DIM_CORES, CORE_DIM_MEMORY, CORE_DIM_DISK, CORE_DIM_GPUS, CORE_DIM_TIME, CORE_DIM_NAMED };
#define CORE_DIMS (CORE_DIM_NAMED + CORE_NAMED)

struct core_vector {
	uint64_t features;
	uint64_t at[CORE_DIMS]; /* TIME: of a node its end, of a task the wall time */
};

/* What is asked of needs by a room, put so that "covers" is the question there, too. */
static inline void core_vector_not(struct core_vector *to, const struct core_vector *v, uint32_t n_dims)
{
	to->features = ~v->features;
	for (uint32_t i = 0; i < n_dims; i++)
		to->at[i] = ~v->at[i];
}

static inline bool core_vector_equals(const struct core_vector *a, const struct core_vector *b, uint32_t n_dims)
{
	return a->features == b->features && !memcmp(a->at, b->at, n_dims * sizeof a->at[0]);
}

static inline bool core_vector_covers(const struct core_vector *room, const struct core_vector *need, uint32_t n_dims)
{
	bool is_enough = (room->features & need->features) == need->features;
	for (uint32_t i = 0; i < n_dims; i++)
		is_enough &= room->at[i] >= need->at[i];
	return is_enough;
}

/* ---- bracket: things with a key and a vector; finds the one of smallest key whose vector covers what is asked. n_dims is set
 * before the first put. */
struct core_key {
	uint64_t major, minor;
};

struct core_bracket {
	uint32_t n, room, n_dims, n_spare;
	uint64_t *memory;
};

void core_bracket_fini(struct core_bracket *b);
void core_bracket_widen(struct core_bracket *b, uint32_t n_dims);
/* Its place, never 0, until it is removed. */
uint32_t core_bracket_put(struct core_bracket *b, void *what, struct core_key key, const struct core_vector *v);
void core_bracket_set(struct core_bracket *b, uint32_t at, struct core_key key, const struct core_vector *v);
void core_bracket_remove(struct core_bracket *b, uint32_t at);
/* after: of a key greater than this; accepts: of those that cover what is asked; either may be NULL. */
typedef bool (*core_bracket_accepts)(const void *what, const struct core_vector *ask);
void *core_bracket_find(const struct core_bracket *b, const struct core_vector *ask, const struct core_key *after,
			core_bracket_accepts accepts);
/* Of the smallest major the first that is found: among a million of which few fit the best would take long. */
void *core_bracket_find_soon(const struct core_bracket *b, const struct core_vector *ask);
void *core_bracket_first(const struct core_bracket *b); /* of the smallest key; NULL: it is empty */
void *core_bracket_at(const struct core_bracket *b, uint32_t at);
/* Has the processor fetch what finding the first will look at; then what changing its key will, or that at another place. */
void core_bracket_warm(const struct core_bracket *b);
void core_bracket_warm_first(const struct core_bracket *b);
void core_bracket_warm_at(const struct core_bracket *b, uint32_t at);
/* Whether anything could be found; if it says yes there may be nothing after all. */
bool core_bracket_may(const struct core_bracket *b, const struct core_vector *ask);
/* What no leaf has more of; false if there is none. Amounts beyond n_dims are left alone. */
bool core_bracket_sum(const struct core_bracket *b, struct core_vector *v);
struct core_key core_bracket_best(const struct core_bracket *b); /* the greatest there is if it is empty */
struct core_key core_bracket_key(const struct core_bracket *b, uint32_t at);
void core_bracket_check(const struct core_bracket *b);

static inline bool core_key_is_less(struct core_key a, struct core_key b)
{
	return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

/* Higher priorities come first where the smallest key does. */
static inline uint64_t core_key_of(int64_t priority)
{
	return ~((uint64_t)priority ^ UINT64_C(1) << 63);
}

/* ---- names: texts and their numbers from 0 on. */
struct core_names {
	char **texts;
	size_t n;
};

void core_names_fini(struct core_names *n);
/* Its number, or -E2BIG if it would be one too many. */
int core_names_get(struct core_names *n, const char *text, size_t limit);

/* ---- buckets of amounts, four to a power of two: one is at most a quarter too large. */
#define CORE_BUCKETS 256
unsigned core_bucket_of(uint64_t amount);
uint64_t core_bucket_end(unsigned bucket);

/* ---- timers: what core_set_time() wakes. */
enum core_timer_kind {
	CORE_TIMER_DEADLINE,
	CORE_TIMER_TOKEN,
	CORE_TIMER_BLOCKED,
	CORE_TIMER_SLOW,
	CORE_TIMER_SWEEP,
	CORE_TIMER_SHUNNED
};

struct core_timer {
	struct core_link link;
	enum core_timer_kind kind;
};

void core_timer_set(struct core *c, struct core_timer *t, enum core_timer_kind kind, uint64_t at_usec);
void core_timer_stop(struct core *c, struct core_timer *t);

/* Of the many lanes that wait for holders none is in a heap: those that wait about equally long lie in one list, which time puts in
 * order by itself. A quarter of a power of two is "about". */
#define CORE_PATIENT CORE_BUCKETS

#endif
