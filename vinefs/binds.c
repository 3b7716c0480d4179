/* SPDX-License-Identifier: Apache-2.0
 * opening: fetch opens the tree -> working: a thread of the pool looks, verifies, and binds -> done. Freed while a thread is at it, it ends with the thread. */
#include "vinefs/binds.h"

#include "common/log.h"
#include "common/path.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#define VERIFY_USEC 2000000u
#define VERIFY_CHUNKS 16u /* between two looks at the clock */

struct bound {
	uint64_t size;
	uint32_t node, blob;
	char path[CACHE_BLOB_PATH];
};

struct binds {
	struct binds_settings settings;
	char *cache_path;
	struct fetch_open open;
	struct fetch_work work;
	struct fetch_tree *tree;
	struct bound *files; /* the first n are bound */
	size_t n_files, n;
	bool is_working;
	_Atomic bool is_over;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- in the pool */

static int by_size(const void *x, const void *y)
{
	const struct bound *a = x, *b = y;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return a->node < b->node ? -1 : 1;
}

/* All that are large, the largest first. */
static void find(struct binds *b, const struct tree *t)
{
	size_t room = 0;
	for (uint32_t i = 0; i < tree_n_nodes(t); i++) {
		const struct tree_node *node = tree_node(t, i);
		if (node->type != TREE_FILE || tree_file_size(t, i) < BINDS_SIZE_MIN)
			continue;
		uint32_t blob = tree_extent(t, node->first)->blob;
		assert(blob != TREE_NO_BLOB);
		if (tree_blob(t, blob)->kind != TREE_BLOB_FILE)
			continue;
		if (b->n_files == room) {
			room = room ? room * 2 : 64;
			b->files = xrealloc(b->files, room * sizeof *b->files);
		}
		b->files[b->n_files++] = (struct bound){.size = tree_file_size(t, i), .node = i, .blob = blob};
	}
	if (b->n_files)
		qsort(b->files, b->n_files, sizeof *b->files, by_size);
}

/* A byte that was not verified may never be read, and what is bound is not asked for here. */
static int verify(struct binds *b, struct cache_tree *t, uint32_t blob, uint64_t until_usec)
{
	const struct tree_blob *of = tree_blob(cache_tree_index(t), blob);
	uint64_t n = data_n_chunks(of->size, of->chunk_size);
	for (uint64_t i = 0; i < n; i += VERIFY_CHUNKS) {
		if (atomic_load(&b->is_over) || now_usec() >= until_usec)
			return -ETIMEDOUT;
		int r = cache_tree_verify(t, of->first_chunk + i, min(n - i, (uint64_t)VERIFY_CHUNKS));
		if (r < 0)
			return r;
	}
	return 0;
}

static void run(struct fetch_work *w)
{
	struct binds *b = container_of(w, struct binds, work);
	struct cache_tree *t = fetch_cache_tree(b->tree);
	const struct tree *index = fetch_index(b->tree);
	uint64_t until = now_usec() + VERIFY_USEC;
	find(b, index);
	for (size_t i = 0; i < b->n_files && b->n < BINDS_MAX && !atomic_load(&b->is_over); i++) {
		struct bound f = b->files[i];
		const struct tree_node *node = tree_node(index, f.node);
		int r = cache_tree_bind(t, f.blob, node, b->settings.has_others, f.path);
		if (r == -EUCLEAN && !verify(b, t, f.blob, until))
			r = cache_tree_bind(t, f.blob, node, b->settings.has_others, f.path);
		if (!r)
			b->files[b->n++] = f;
		else if (r != -EUCLEAN && r != -ENODATA && r != -EBUSY)
			log_errno(-r, "bind %s", f.path);
	}
}

/* ---- on the loop */

static void dispose(struct binds *b)
{
	assert(!b->is_working && !b->open.opening);
	for (size_t i = 0; i < b->n; i++)
		cache_tree_unbind(fetch_cache_tree(b->tree), b->files[i].blob);
	if (b->tree)
		fetch_close(b->tree);
	free(b->files);
	free(b->cache_path);
	free(b);
}

static void on_run(struct fetch_work *w, bool is_run)
{
	struct binds *b = container_of(w, struct binds, work);
	assert(b->is_working && (is_run || !b->n));
	b->is_working = false;
	if (atomic_load(&b->is_over))
		dispose(b);
	else
		b->settings.on_done(b->settings.arg);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct binds *b = container_of(o, struct binds, open);
	b->tree = t;
	if (error) {
		b->settings.on_done(b->settings.arg);
		return;
	}
	b->is_working = true;
	b->work = (struct fetch_work){.run = run, .on_done = on_run};
	fetch_work(b->settings.fetch, &b->work);
}

struct binds *binds_new(const struct binds_settings *s)
{
	struct binds *b = NEW(struct binds);
	_free_ char *why = xasprintf("mount %s: its large files are bound", s->directory);
	assert(s->on_done && *s->cache_path == '/');
	b->settings = *s;
	b->settings.directory = b->settings.cache_path = NULL;
	b->cache_path = xstrdup(s->cache_path);
	b->open.on_done = on_opened;
	if (fetch_open(s->fetch, &b->open, &s->id, "vine mount", why) == 0)
		return b;
	dispose(b);
	return NULL;
}

void binds_put(const struct binds *b, struct buf *list)
{
	assert(!b->is_working);
	for (size_t i = 0; i < b->n; i++) {
		_free_ char *inside = tree_path(fetch_index(b->tree), b->files[i].node);
		_free_ char *path = path_join(b->cache_path, b->files[i].path);
		buf_put(list, inside, strlen(inside) + 1);
		buf_put(list, path, strlen(path) + 1);
	}
}

void binds_free(struct binds *b)
{
	if (!b)
		return;
	fetch_open_stop(&b->open);
	atomic_store(&b->is_over, true);
	if (!b->is_working)
		dispose(b);
}
