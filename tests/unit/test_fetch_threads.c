/* SPDX-License-Identifier: Apache-2.0
 * Many threads read at once, as FUSE's do. */
#include "common/path.h"
#include "tests/unit/fetch_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings roomy;
static const struct fetch_settings plain;

/* Seals, evicts all bytes, opens. */
static struct fetch_tree *open_evicted(struct fetch_world *w, const char *in, struct digest *id)
{
	ASSERT_EQ(fetch_world_seal(w, in, NULL, false, id), 0);
	fetch_world_evict(w, id);
	return fetch_world_tree(w, id);
}

struct crowd {
	struct fetch_tree *tree;
	const char *in;
	unsigned seed;
	_Atomic unsigned *n_over;
	unsigned n_wrong;
};

struct wait {
	struct fetch_read read;
	uint8_t p[64 << 10];
	ssize_t n;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool is_over;
};

static void on_wait(struct fetch_read *r, const void *p, ssize_t n)
{
	struct wait *x = container_of(r, struct wait, read);
	pthread_mutex_lock(&x->lock);
	if (n > 0)
		memcpy(x->p, p, (size_t)n);
	x->n = n;
	x->is_over = true;
	pthread_cond_signal(&x->change);
	pthread_mutex_unlock(&x->lock);
}

static bool read_and_compare(struct crowd *c, struct wait *x, uint32_t node, uint64_t offset, uint32_t n)
{
	const struct tree *index = fetch_index(c->tree);
	const struct tree_extent *e = tree_extent(index, tree_node(index, node)->first);
	_free_ char *name = tree_path(index, node);
	_free_ char *path = path_join(c->in, name);
	uint8_t wanted[64 << 10];
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pread(fd, wanted, n, (off_t)offset) != (ssize_t)n)
		return false;
	x->n = fetch_read_now(c->tree, e->blob, e->offset + offset, x->p, n);
	if (x->n == -EAGAIN) {
		x->is_over = false;
		x->read = (struct fetch_read){
			.tree = c->tree, .blob = e->blob, .offset = e->offset + offset, .n = n, .on_done = on_wait};
		fetch_read_start(&x->read);
		pthread_mutex_lock(&x->lock);
		while (!x->is_over)
			pthread_cond_wait(&x->change, &x->lock);
		pthread_mutex_unlock(&x->lock);
	}
	return x->n == (ssize_t)n && memcmp(wanted, x->p, n) == 0;
}

static void *crowd_thread(void *arg)
{
	struct crowd *c = arg;
	struct wait *x = xcalloc(1, sizeof *x);
	const struct tree *index = fetch_index(c->tree);
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->change, NULL);
	for (int i = 0; i < 300; i++) {
		uint32_t node = (uint32_t)rand_r(&c->seed) % tree_n_nodes(index);
		if (tree_node(index, node)->type != TREE_FILE)
			continue;
		uint64_t size = tree_file_size(index, node), offset = (uint64_t)rand_r(&c->seed) % size;
		uint32_t n = (uint32_t)min(size - offset, (uint64_t)1 + (uint64_t)rand_r(&c->seed) % sizeof x->p);
		c->n_wrong += !read_and_compare(c, x, node, offset, n);
	}
	pthread_cond_destroy(&x->change);
	pthread_mutex_destroy(&x->lock);
	free(x);
	atomic_fetch_add(c->n_over, 1);
	return NULL;
}

static void run_crowd(struct cache_settings cs)
{
	struct fetch_world w;
	struct digest id;
	pthread_t threads[6];
	struct crowd c[6];
	_Atomic unsigned n_over = 0;
	_free_ char *in = world_files("in", 200, 30000, 1);
	_free_ _unused_ char *big = world_files("in/big", 4, 2 * MIB, 2);
	fetch_world_open(&w, "cache", cs, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	for (unsigned i = 0; i < countof(c); i++) {
		c[i] = (struct crowd){.tree = t, .in = in, .seed = i + 1, .n_over = &n_over};
		ASSERT_EQ(pthread_create(&threads[i], NULL, crowd_thread, &c[i]), 0);
	}
	while (atomic_load(&n_over) < countof(c))
		fetch_world_turn(&w);
	for (unsigned i = 0; i < countof(c); i++) {
		pthread_join(threads[i], NULL);
		ASSERT_EQ(c[i].n_wrong, 0);
	}
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(many_threads_read_the_right_bytes_from_a_cold_cache)
{
	run_crowd(roomy);
}

TEST(many_threads_read_the_right_bytes_through_a_cache_that_is_too_small)
{
	const struct cache_settings small = {.quota = 5 * MIB};
	run_crowd(small);
}
