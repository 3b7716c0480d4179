/* SPDX-License-Identifier: Apache-2.0
 * Readers without locks beside those who evict, fill, scrub and look. What is read is right, or it is not there. */
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define N_TREES 3

struct scene {
	struct cache *c;
	struct world_copy w[N_TREES];
	struct cache_tree *t[N_TREES];
	_Atomic bool is_over;
	_Atomic uint64_t n_read, n_absent, n_wrong, n_failed, n_evicted, n_filled;
	_Atomic unsigned next_seed;
	unsigned n_turns;
};

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

static void *read_all(void *arg)
{
	struct scene *s = arg;
	uint64_t seed = atomic_fetch_add(&s->next_seed, 1) + 1;
	uint8_t *got = xmalloc(MIB);
	bool is_waiting = seed % 2;
	while (!atomic_load(&s->is_over)) {
		unsigned i = (unsigned)(next(&seed) % N_TREES);
		uint64_t chunk = next(&seed) % s->w[i].n_chunks;
		const struct tree *index = cache_tree_index(s->t[i]);
		uint32_t b = 0;
		while (b + 1 < tree_n_blobs(index) && tree_blob(index, b + 1)->first_chunk <= chunk)
			b++;
		uint64_t within = chunk - tree_blob(index, b)->first_chunk;
		int r = cache_tree_read(s->t[i], b, within * tree_blob(index, b)->chunk_size, got, s->w[i].sizes[chunk],
					is_waiting);
		if (r == 0 && memcmp(got, s->w[i].chunks[chunk], s->w[i].sizes[chunk]) != 0)
			atomic_fetch_add(&s->n_wrong, 1);
		else if (r == 0)
			atomic_fetch_add(&s->n_read, 1);
		else if (r == -ENODATA || (!is_waiting && r == -EAGAIN))
			atomic_fetch_add(&s->n_absent, 1);
		else if (atomic_fetch_add(&s->n_failed, 1) == 0)
			fprintf(stderr, "read: %d\n", r);
	}
	free(got);
	return NULL;
}

static void *fill_all(void *arg)
{
	struct scene *s = arg;
	uint64_t seed = atomic_fetch_add(&s->next_seed, 1) + 1;
	while (!atomic_load(&s->is_over)) {
		unsigned i = (unsigned)(next(&seed) % N_TREES);
		uint64_t chunk = next(&seed) % s->w[i].n_chunks;
		int r = cache_tree_write(s->t[i], chunk, s->w[i].chunks[chunk], s->w[i].sizes[chunk]);
		if (r == 0)
			atomic_fetch_add(&s->n_filled, 1);
		else if (r != -ENOSPC && atomic_fetch_add(&s->n_failed, 1) == 0)
			fprintf(stderr, "write: %d\n", r);
	}
	return NULL;
}

static void *tidy_all(void *arg)
{
	struct scene *s = arg;
	uint64_t seed = 99;
	for (unsigned n = 0; n < s->n_turns; n++) {
		struct cache_state state;
		struct cache_list l;
		unsigned i = (unsigned)(next(&seed) % N_TREES);
		if (cache_evict(s->c, &s->w[i].id) == 0)
			atomic_fetch_add(&s->n_evicted, 1);
		if (n % 8 == 0 && cache_scrub(s->c, 200000) < 0)
			atomic_fetch_add(&s->n_failed, 1);
		cache_get_state(s->c, &state);
		cache_list(s->c, &l);
		cache_list_fini(&l);
		/* Until something came back. */
		uint64_t before = atomic_load(&s->n_filled);
		for (unsigned k = 0; k < 2000 && atomic_load(&s->n_filled) < before + 20; k++) {
			const struct timespec wait = {.tv_nsec = 100000};
			nanosleep(&wait, NULL);
		}
	}
	atomic_store(&s->is_over, true);
	return NULL;
}

static void play(uint64_t quota, unsigned n_open)
{
	struct scene s = {.n_turns = 60};
	pthread_t threads[7];
	s.c = world_open("cache", (struct cache_settings){.quota = quota, .n_open = n_open});
	for (unsigned i = 0; i < N_TREES; i++) {
		char name[8];
		struct digest id;
		snprintf(name, sizeof name, "t%u", i);
		_free_ char *in = world_files(name, i ? 6 : 1, i ? 150000 + i * 100000 : 3 * MIB, i + 1);
		world_copy_make(&s.w[i], in);
		ASSERT_EQ(cache_publish(s.c, s.w[i].vti, s.w[i].n, &id), 0);
		ASSERT_EQ(cache_tree_open(s.c, &id, &s.t[i]), 0);
	}
	for (unsigned i = 0; i < 7; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, i < 4 ? read_all : i < 6 ? fill_all : tidy_all, &s), 0);
	for (unsigned i = 0; i < 7; i++)
		pthread_join(threads[i], NULL);
	ASSERT_EQ(atomic_load(&s.n_wrong), 0);
	ASSERT_EQ(atomic_load(&s.n_failed), 0);
	ASSERT(atomic_load(&s.n_read) > 0 && atomic_load(&s.n_evicted) > 0 && atomic_load(&s.n_absent) > 0);
	for (unsigned i = 0; i < N_TREES; i++) {
		cache_tree_close(s.t[i]);
		ASSERT_EQ(cache_evict(s.c, &s.w[i].id), 0);
		world_copy_fini(&s.w[i]);
	}
	/* The books are even. */
	struct cache_state state;
	cache_get_state(s.c, &state);
	ASSERT_EQ(state.n_blobs, 0);
	ASSERT_EQ(state.n_inodes, N_TREES);
	ASSERT(state.size < MIB);
	ASSERT_EQ(state.n_damaged, 0);
	cache_free(s.c);
}

TEST(readers_never_see_a_wrong_byte_while_trees_are_evicted_and_filled)
{
	play((uint64_t)1 << 30, 4);
}

TEST(readers_never_see_a_wrong_byte_while_cold_chunks_go)
{
	play(4 * MIB, 0);
}

struct sealer {
	struct cache *c;
	const char *in;
	struct digest id;
	int r;
};

static void *seal_one(void *arg)
{
	struct sealer *s = arg;
	s->r = world_try_seal(s->c, s->in, &s->id, NULL);
	return NULL;
}

TEST(equal_trees_sealed_at_once_are_stored_once)
{
	struct sealer s[3];
	pthread_t threads[3];
	_free_ char *in = world_files("in", 20, 200000, 1);
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 0});
	for (unsigned i = 0; i < 3; i++) {
		s[i] = (struct sealer){.c = c, .in = in};
		ASSERT_EQ(pthread_create(&threads[i], NULL, seal_one, &s[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		ASSERT_EQ(s[i].r, 0);
	}
	struct cache_state state;
	cache_get_state(c, &state);
	ASSERT_EQ(state.n_blobs, 20);
	ASSERT_EQ(state.n_inodes, 21);
	ASSERT_EQ(world_compare(c, &s[0].id, in), 0);
	cache_free(c);
}
