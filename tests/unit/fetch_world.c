/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fetch_world.h"

#include "common/path.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static uint64_t clock_usec(void *arg)
{
	const struct fetch_world *w = arg;
	return (w->still_usec ? w->still_usec : real_usec()) + w->later_usec;
}

/* ---- the source */

static int gate_open(void *arg, const char *path)
{
	struct fetch_world *w = arg;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	pthread_mutex_lock(&w->gate.lock);
	ASSERT(fd < (int)countof(w->roots));
	free(w->roots[fd]);
	w->roots[fd] = xstrdup(path);
	pthread_mutex_unlock(&w->gate.lock);
	return fd;
}

static int gate_read(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n, struct stat *st)
{
	struct fetch_world *w = arg;
	struct gate *g = &w->gate;
	pthread_mutex_lock(&g->lock);
	g->n_reads++;
	g->size += n;
	g->n_waiting++;
	g->n_most = max(g->n_most, g->n_waiting);
	while (g->closed && streq(g->closed, w->roots[root]))
		pthread_cond_wait(&g->change, &g->lock);
	g->n_waiting--;
	pthread_mutex_unlock(&g->lock);
	*st = (struct stat){0};
	_close_ int fd = *path ? path_open_beneath(root, path, O_RDONLY, 0) : fcntl(root, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	ssize_t got = pread(fd, p, n, (off_t)offset);
	return got < 0 ? -errno : (size_t)got == n ? 0 : -ESTALE;
}

void fetch_world_gate(struct fetch_world *w, const char *root)
{
	pthread_mutex_lock(&w->gate.lock);
	w->gate.closed = root;
	pthread_cond_broadcast(&w->gate.change);
	pthread_mutex_unlock(&w->gate.lock);
}

unsigned fetch_world_n_reads(struct fetch_world *w)
{
	pthread_mutex_lock(&w->gate.lock);
	unsigned n = w->gate.n_reads;
	pthread_mutex_unlock(&w->gate.lock);
	return n;
}

uint64_t fetch_world_size(struct fetch_world *w)
{
	pthread_mutex_lock(&w->gate.lock);
	uint64_t size = w->gate.size;
	pthread_mutex_unlock(&w->gate.lock);
	return size;
}

unsigned fetch_world_n_waiting(struct fetch_world *w)
{
	pthread_mutex_lock(&w->gate.lock);
	unsigned n = w->gate.n_waiting;
	pthread_mutex_unlock(&w->gate.lock);
	return n;
}

/* ---- life */

void fetch_world_open(struct fetch_world *w, const char *name, struct cache_settings cs, struct fetch_settings fs)
{
	fs.files = &w->files;
	fetch_world_open_real(w, name, cs, fs);
}

void fetch_world_open_real(struct fetch_world *w, const char *name, struct cache_settings cs, struct fetch_settings fs)
{
	*w = (struct fetch_world){.gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER}};
	w->files = (struct fetch_files){.arg = w, .open = gate_open, .read = gate_read};
	w->loop = loop_new();
	ASSERT(w->loop);
	loop_set_clock(w->loop, clock_usec, w);
	w->cache = world_open(name, cs);
	w->directory = world_path(name);
	fs.cache = w->cache;
	fs.directory = w->directory;
	w->fetch = fetch_new(w->loop, &fs);
	ASSERT(w->fetch);
}

void fetch_world_stand_still(struct fetch_world *w)
{
	w->still_usec = real_usec();
}

void fetch_world_close(struct fetch_world *w)
{
	fetch_world_gate(w, NULL);
	ASSERT_EQ(fetch_stop(w->fetch, 20000), 0);
	fetch_free(w->fetch);
	cache_free(w->cache);
	loop_free(w->loop);
	for (size_t i = 0; i < countof(w->roots); i++)
		free(w->roots[i]);
	free(w->directory);
	free(w->text);
}

void fetch_world_turn(struct fetch_world *w)
{
	ASSERT_EQ(loop_turn(w->loop, 5), 0);
}

void fetch_world_until(struct fetch_world *w, const bool *flag)
{
	uint64_t end = real_usec() + UNIT_PATIENCE_USEC;
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
		fetch_world_turn(w);
		ASSERT(real_usec() < end);
	}
}

/* ---- sealing */

struct sealed {
	struct fetch_seal seal;
	struct fetch_world *world;
	struct digest id;
	int error;
	bool is_over;
};

static void on_progress(struct fetch_seal *s, const struct seal_progress *p)
{
	struct fetch_world *w = container_of(s, struct sealed, seal)->world;
	w->n_progress++;
	w->n_read = p->bytes_read;
}

static void on_sealed(struct fetch_seal *s, int error, const struct digest *id, const struct seal_report *errors,
		      const struct seal_report *notes)
{
	struct sealed *x = container_of(s, struct sealed, seal);
	x->error = error;
	if (id)
		x->id = *id;
	free(x->world->text);
	x->world->text = xstrdup(errors->n ? errors->lines[0] : notes->n ? notes->lines[0] : "");
	x->is_over = true;
}

int fetch_world_seal(struct fetch_world *w, const char *path, const char *name, bool is_refresh, struct digest *id)
{
	struct sealed x = {.world = w};
	struct fetch_numbers before, after;
	x.seal.is_refresh = is_refresh;
	x.seal.on_progress = on_progress;
	x.seal.on_done = on_sealed;
	fetch_get_numbers(w->fetch, &before);
	int r = fetch_seal_start(w->fetch, &x.seal, path, name);
	if (r < 0)
		return r;
	fetch_world_until(w, &x.is_over);
	fetch_get_numbers(w->fetch, &after);
	w->n_read = after.seal_read_size - before.seal_read_size;
	*id = x.id;
	return x.error;
}

/* ---- reading */

struct opened {
	struct fetch_open open;
	struct fetch_tree *tree;
	int error;
	bool is_over;
};

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct opened *x = container_of(o, struct opened, open);
	x->error = error;
	x->tree = t;
	x->is_over = true;
}

struct fetch_tree *fetch_world_tree(struct fetch_world *w, const struct digest *id)
{
	struct opened x = {.open.on_done = on_opened};
	ASSERT_EQ(fetch_open(w->fetch, &x.open, id, "test", "a test"), 0);
	fetch_world_until(w, &x.is_over);
	ASSERT_EQ(x.error, 0);
	return x.tree;
}

struct got {
	struct fetch_read read;
	void *p;
	ssize_t n;
	bool is_over;
};

static void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct got *x = container_of(r, struct got, read);
	x->n = n;
	if (n > 0)
		memcpy(x->p, p, (size_t)n);
	__atomic_store_n(&x->is_over, true, __ATOMIC_RELEASE);
}

ssize_t fetch_world_read(struct fetch_world *w, struct fetch_tree *t, uint32_t node, uint64_t offset, void *p,
			 uint32_t n)
{
	const struct tree_extent *e = tree_extent(fetch_index(t), tree_node(fetch_index(t), node)->first);
	struct got x = {.p = p,
			.read = {.tree = t, .blob = e->blob, .offset = e->offset + offset, .n = n, .on_done = on_read}};
	ssize_t now = fetch_read_now(t, e->blob, e->offset + offset, p, n);
	if (now != -EAGAIN)
		return now;
	fetch_read_start(&x.read);
	fetch_world_until(w, &x.is_over);
	return x.n;
}

ssize_t fetch_world_check(struct fetch_world *w, struct fetch_tree *t, const char *node, const char *path)
{
	int64_t i = tree_find(fetch_index(t), node);
	size_t n;
	_free_ char *wanted = path_read(path, (size_t)1 << 30, &n);
	ASSERT(i >= 0 && wanted);
	ASSERT_EQ(n, tree_file_size(fetch_index(t), (uint32_t)i));
	_free_ char *got = xmalloc(n);
	for (size_t at = 0; at < n;) {
		uint32_t part = (uint32_t)min(n - at, (size_t)(128u << 10));
		ssize_t r = fetch_world_read(w, t, (uint32_t)i, at, got + at, part);
		if (r < 0)
			return r;
		ASSERT_EQ(r, part);
		at += part;
	}
	ASSERT_EQ(memcmp(wanted, got, n), 0);
	return (ssize_t)n;
}

char *fetch_world_why(struct fetch_tree *t, const char *node)
{
	struct buf b = {0};
	int64_t i = tree_find(fetch_index(t), node);
	ASSERT(i >= 0);
	fetch_why(t, (uint32_t)i, &b);
	char *text = buf_steal_text(&b);
	buf_fini(&b);
	return text;
}

void fetch_world_settle(struct fetch_world *w, struct fetch_tree *t, const char *node)
{
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC;; fetch_world_turn(w)) {
		_free_ char *why = fetch_world_why(t, node);
		if (!strstr(why, "on the way"))
			return;
		ASSERT(real_usec() < end);
	}
}

struct evicted {
	struct fetch_work work;
	struct fetch_world *world;
	const struct digest *id;
	int error;
	bool is_over;
};

static void evict(struct fetch_work *w)
{
	struct evicted *x = container_of(w, struct evicted, work);
	x->error = cache_evict(x->world->cache, x->id);
}

static void on_evicted(struct fetch_work *w, bool is_run)
{
	struct evicted *x = container_of(w, struct evicted, work);
	ASSERT(is_run);
	x->is_over = true;
}

void fetch_world_evict(struct fetch_world *w, const struct digest *id)
{
	struct evicted x = {.error = -EBUSY};
	/* The thread that answered a read has the tree a moment longer. */
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; x.error == -EBUSY && real_usec() < end;) {
		x = (struct evicted){.work = {.run = evict, .on_done = on_evicted}, .world = w, .id = id};
		fetch_work(w->fetch, &x.work);
		fetch_world_until(w, &x.is_over);
	}
	ASSERT_EQ(x.error, 0);
}
