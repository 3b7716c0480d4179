/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define DIRECT_LEAST (64u << 10)
#define TRIALS 8u /* of both ways by turns, before one is chosen */
#define TRIAL_EVERY 64u
#define N_WAITING 4u

enum way { WAY_BUFFERED, WAY_DIRECT, WAY_N };

struct cache_sealing {
	struct cache *cache;
	struct seal_store store;
	bool may_drop;
	_Atomic uint64_t dropped_size;
	_Atomic uint64_t cost[WAY_N]; /* nsec per KiB */
	atomic_uint n_writes;
	atomic_bool has_no_direct;
	struct blob **held; /* under the cache's lock */
	size_t n, room;
};

/* A blob on its way: tmp/<name>. One thread at a time has it. */
struct sealing_blob {
	int fd; /* -1: dropped, there is no room for it */
	char name[32];
	uint64_t size;
	uint64_t counted; /* room */
	bool is_counted;  /* its inode */
	bool is_sparse;   /* room as it is written: too large to be reserved whole */
	bool is_taken;    /* fd is borrowed, and leased; the file has another name, and keeps its mode and time */
};

/* ---- writing */

static void let_go(struct sealing_blob *b)
{
	if (b->is_taken)
		fcntl(b->fd, F_SETLEASE, F_UNLCK);
	b->fd = b->is_taken ? -1 : close_fd(b->fd);
	b->is_taken = false;
}

static void remove_file(struct cache *c, struct sealing_blob *b)
{
	if (b->fd >= 0)
		unlinkat(c->tmp_fd, b->name, 0);
	let_go(b);
	cache_give_room(c, b->counted, b->is_counted);
	b->counted = 0;
	b->is_counted = false;
}

static void discard(struct cache *c, struct sealing_blob *b)
{
	remove_file(c, b);
	free(b);
}

/* What finds no room is still digested, if the caller can live with that. */
static int drop_or(struct cache_sealing *s, struct sealing_blob *b, int r)
{
	assert(r < 0);
	if (r != -ENOSPC || !s->may_drop)
		return r;
	remove_file(s->cache, b);
	s->dropped_size += b->size;
	return 0;
}

static int allocate(struct cache *c, int fd, uint64_t offset, uint64_t n)
{
	unsigned n_tries = 0;
	int r;
	/* The quota has room; if the disk has not, others fill it. */
	do {
		do
			r = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n) < 0 ? -errno : 0;
		while (r == -EINTR);
		/* Where room cannot be reserved it is taken as it comes. */
		r = r == -EOPNOTSUPP ? 0 : cache_fault(c, r, "reserve room");
	} while (r == -ENOSPC && evict_again(c, n, 0, &n_tries));
	if (r == -ENOSPC)
		cache_refuse(c, n);
	return r;
}

/* Whoever drops what does not fit leaves some room, if only for the index. */
static int take_room(struct cache_sealing *s, uint64_t size, uint64_t n_inodes)
{
	struct cache *c = s->cache;
	cache_lock(c);
	uint64_t spare = s->may_drop ? c->quota / 8 : 0, n_spare = s->may_drop ? 8 : 0;
	cache_unlock(c);
	int r = cache_take_room(c, size + spare, n_inodes + n_spare);
	if (r == 0)
		cache_give_room(c, spare, n_spare);
	return r;
}

static int make_file(struct cache_sealing *s, struct sealing_blob *b)
{
	struct cache *c = s->cache;
	uint64_t room = b->is_sparse ? 0 : cache_round(b->size);
	int r = take_room(s, room, 1);
	if (r < 0)
		return r;
	b->counted = room;
	b->is_counted = true;
	snprintf(b->name, sizeof b->name, "%llu", (unsigned long long)atomic_fetch_add(&c->n_tmp, 1));
	unsigned n_tries = 0;
	do {
		b->fd = openat(c->tmp_fd, b->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r = b->fd < 0 ? cache_fault(c, -errno, "make a blob") : 0;
	} while (r == -ENOSPC && evict_again(c, 0, 1, &n_tries));
	if (r == 0 && ftruncate(b->fd, (off_t)b->size) < 0)
		r = cache_fault(c, -errno, "make a blob");
	return r == 0 && !b->is_sparse ? allocate(c, b->fd, 0, b->size) : r;
}

static int begin(void *arg, uint64_t size, void **blob)
{
	struct cache_sealing *s = arg;
	struct cache *c = s->cache;
	struct sealing_blob *b = NEW(struct sealing_blob);
	assert(size);
	b->fd = -1;
	b->size = size;
	cache_lock(c);
	b->is_sparse = size > c->quota / 4;
	cache_unlock(c);
	int r = make_file(s, b);
	if (r < 0)
		r = drop_or(s, b, r);
	if (r < 0)
		discard(c, b);
	else
		*blob = b;
	return r;
}

/* ---- files that become blobs themselves */

/* What an overlay noted of itself would be believed by the next one that lies over it. */
static void strip_marks(int fd)
{
	static const char *const prefixes[] = {"trusted.overlay.", "user.overlay."};
	char names[4096];
	ssize_t n = flistxattr(fd, names, sizeof names);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		for (size_t i = 0; i < countof(prefixes); i++)
			if (has_prefix(names + at, prefixes[i]))
				fremovexattr(fd, names + at);
}

/* Refused as long as anybody else has it open: one descriptor for reading, wherever the task has handed it, opens the file again for writing. Granted, who would open it so waits, or hears
 * EWOULDBLOCK. The signal that tells us of him would end us. */
static bool lease_file(int fd)
{
	return fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0 &&
	       fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && fcntl(fd, F_SETOWN, 0) == 0;
}

static bool is_takeable(const struct cache *c, int fd, uint64_t size, struct stat *st)
{
	struct stat tmp;
	return fstat(fd, st) == 0 && fstat(c->tmp_fd, &tmp) == 0 && S_ISREG(st->st_mode) && st->st_nlink == 1 &&
	       st->st_dev == tmp.st_dev && st->st_uid == geteuid() && (uint64_t)st->st_size == size;
}

static int take(void *arg, int fd, uint64_t size, void **blob)
{
	struct cache_sealing *s = arg;
	struct cache *c = s->cache;
	struct stat st;
	char path[32];
	if (!is_takeable(c, fd, size, &st) || !lease_file(fd))
		return 0;
	uint64_t room = cache_round((uint64_t)st.st_blocks * 512);
	int r = take_room(s, room, 1);
	if (r < 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return r;
	}
	struct sealing_blob *b = NEW(struct sealing_blob);
	*b = (struct sealing_blob){.fd = fd, .size = size, .counted = room, .is_counted = true, .is_taken = true};
	snprintf(b->name, sizeof b->name, "%llu", (unsigned long long)atomic_fetch_add(&c->n_tmp, 1));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, c->tmp_fd, b->name, AT_SYMLINK_FOLLOW) < 0) {
		discard(c, b);
		return 0;
	}
	strip_marks(fd);
	if (st.st_mode & 06000 && fchmod(fd, st.st_mode & 01777) < 0) {
		discard(c, b);
		return 0;
	}
	*blob = b;
	return 1;
}

/* ---- through the page cache or past it
 *
 * A page cache that has to be given fresh memory may be far slower than the disk (a virtual machine's first touch of a page: 300 MB/s,
 * where the disk takes 2,500), and a slow disk far slower than memory. So both are tried now and then. Who writes past it waits without
 * computing, while the feeder's other threads, four in all, go on: one way is the faster if its wait is not longer than four times the other's. */

static uint64_t now_nsec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum way choose_way(struct cache_sealing *s, uint64_t offset, const uint8_t *p, size_t n)
{
	if (n < DIRECT_LEAST || offset % PAGE || (uintptr_t)p % PAGE || atomic_load(&s->has_no_direct))
		return WAY_BUFFERED;
	unsigned i = atomic_fetch_add(&s->n_writes, 1);
	if (i < TRIALS)
		return i % WAY_N;
	bool is_direct = atomic_load(&s->cost[WAY_DIRECT]) < atomic_load(&s->cost[WAY_BUFFERED]) * N_WAITING;
	return i % TRIAL_EVERY == 0 ? !is_direct : is_direct;
}

/* Threads may overwrite each other's: it is an estimate. One that lost its core for a while says little. */
static void learn_cost(struct cache_sealing *s, enum way way, uint64_t nsec, size_t n)
{
	uint64_t cost = nsec * 1024 / n + 1, old = atomic_load(&s->cost[way]);
	atomic_store(&s->cost[way], old ? old - old / 4 + min(cost, old * 2) / 4 : cost);
}

/* Whole pages, as far as this filesystem takes them so: how many bytes were written, or -errno. */
static ssize_t write_direct(struct cache_sealing *s, int fd, uint64_t offset, const uint8_t *p, size_t n)
{
	size_t have = 0, whole = n - n % PAGE;
	int r = fcntl(fd, F_SETFL, O_DIRECT) < 0 ? -EINVAL : 0;
	while (have < whole && r == 0) {
		ssize_t put = pwrite(fd, p + have, whole - have, (off_t)(offset + have));
		if (put > 0)
			have += (size_t)put;
		else if (put == 0 || errno != EINTR)
			r = put < 0 ? -errno : -ENOSPC;
		/* What remains would not be aligned. */
		if (put % PAGE > 0)
			break;
	}
	fcntl(fd, F_SETFL, 0);
	if (r == -EINVAL || r == -EOPNOTSUPP) {
		atomic_store(&s->has_no_direct, true);
		r = 0;
	}
	return r < 0 ? r : (ssize_t)have;
}

static int write_buffered(int fd, uint64_t offset, const uint8_t *p, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t put = pwrite(fd, p + have, n - have, (off_t)(offset + have));
		if (put > 0)
			have += (size_t)put;
		else if (put == 0 || errno != EINTR)
			return put < 0 ? -errno : -ENOSPC;
	}
	return 0;
}

static int write_file(struct cache_sealing *s, struct sealing_blob *b, uint64_t offset, const uint8_t *p, size_t n)
{
	struct cache *c = s->cache;
	int r = 0;
	if (b->is_sparse) {
		r = take_room(s, cache_round(n), 0);
		if (r < 0)
			return r;
		b->counted += cache_round(n);
		r = allocate(c, b->fd, offset, n);
	}
	if (r < 0)
		return r;
	enum way way = choose_way(s, offset, p, n);
	uint64_t begin = now_nsec();
	ssize_t have = way == WAY_DIRECT ? write_direct(s, b->fd, offset, p, n) : 0;
	r = have < 0 ? (int)have : write_buffered(b->fd, offset + (size_t)have, p + have, n - (size_t)have);
	if (r == 0 && n >= DIRECT_LEAST)
		learn_cost(s, way, now_nsec() - begin, n);
	return cache_fault(c, r, "write a blob");
}

static int write_bytes(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	struct cache_sealing *s = arg;
	struct sealing_blob *b = blob;
	assert(offset <= b->size && n <= b->size - offset);
	if (b->fd < 0)
		return 0;
	int r = write_file(s, b, offset, p, n);
	return r < 0 ? drop_or(s, b, r) : 0;
}

static void give_up(void *arg, void *blob)
{
	discard(((struct cache_sealing *)arg)->cache, blob);
}

/* ---- publishing */

/* Locked: it stays until the sealing ends. */
static void hold(struct cache_sealing *s, struct blob *b)
{
	if (s->n == s->room) {
		s->room = s->room ? s->room * 2 : 256;
		s->held = xrealloc(s->held, s->room * sizeof(struct blob *));
	}
	s->held[s->n++] = b;
	b->n_held++;
}

/* Chunks of zeros give their room back; the feeder did not write them. */
static void punch_zeros(const struct sealing_blob *b, const struct blob_chunks *chunks)
{
	struct digest zeros;
	if (chunks->n < 2 || b->is_sparse || b->is_taken)
		return;
	_free_ uint8_t *bytes = xcalloc(1, chunks->chunk_size);
	digest_bytes(bytes, chunks->chunk_size, &zeros);
	for (uint32_t i = 0; i + 1 < chunks->n; i++)
		if (digest_is_equal(&chunks->chunks[i], &zeros))
			fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)i * chunks->chunk_size,
				  chunks->chunk_size);
}

static int rename_in(struct cache *c, const struct sealing_blob *from, const struct blob *to)
{
	if (from->is_taken)
		return blob_rename_as_is(c, c->tmp_fd, from->name, to);
	if (fchmod(from->fd, 0400) < 0)
		return -errno;
	return blob_rename_in(c, c->tmp_fd, from->name, to);
}

/* Unlocked, by its mover: what was there under this address, in part or in doubt, gives way. */
static int replace(struct cache *c, struct blob *b, struct sealing_blob *from, enum blob_state state)
{
	struct stat st;
	int r = fstat(from->fd, &st) < 0 ? -errno : rename_in(c, from, b);
	if (r < 0)
		return cache_fault(c, r, "publish a blob");
	uint64_t size = (uint64_t)st.st_blocks * 512;
	cache_lock(c);
	blob_withdraw(c, b);
	cache_unlock(c);
	if (state == BLOB_PART)
		part_remove(c, b);
	cache_lock(c);
	uint64_t old_inodes = state == BLOB_PART ? 2 : state == BLOB_ABSENT ? 0 : 1;
	cache_count(c, -(int64_t)(b->allocated + from->counted), -(int64_t)(old_inodes + 1));
	cache_count(c, (int64_t)size, 1);
	b->allocated = size;
	b->is_own_look = from->is_taken;
	if (from->is_taken)
		b->look = (struct look){st.st_mode & 01777, (uint32_t)st.st_mtim.tv_nsec, st.st_mtim.tv_sec};
	atomic_store(&b->state, BLOB_WHOLE);
	atomic_fetch_add(&c->n_stored, 1);
	cache_unlock(c);
	if (state == BLOB_DOUBTFUL)
		catalog_trust(c->catalog, &b->address);
	return 0;
}

/* Is the file under its name what the table says? Somebody may have cut or removed it. */
static bool is_intact(struct cache *c, const struct blob *b)
{
	char path[DIGEST_TEXT_SIZE + 8];
	struct stat st;
	blob_path(b, path);
	return fstatat(c->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == b->size;
}

static int commit(void *arg, void *blob, const struct blob_chunks *chunks)
{
	struct cache_sealing *s = arg;
	struct cache *c = s->cache;
	struct sealing_blob *from = blob;
	assert(from->size == chunks->size);
	if (from->fd >= 0)
		punch_zeros(from, chunks);
	cache_lock(c);
	struct blob *b = blob_need(c, &chunks->address);
	blob_shape(b, chunks->size, chunks->chunk_size);
	hold(s, b);
	blob_move(c, b);
	enum blob_state state = (enum blob_state)atomic_load(&b->state);
	cache_unlock(c);
	bool is_kept = from->fd < 0 || (state == BLOB_WHOLE && is_intact(c, b));
	int r = is_kept ? 0 : replace(c, b, from, state);
	cache_lock(c);
	blob_moved(c, b);
	cache_unlock(c);
	/* There may be an inode for the file and none for its directory. */
	if (r < 0)
		r = drop_or(s, from, r);
	if (r < 0 || is_kept || from->fd < 0) {
		discard(c, from);
		return r;
	}
	let_go(from);
	free(from);
	return 0;
}

/* ---- remembering */

static bool recall_file(void *arg, const char *path, const struct signature *s, struct digest *address)
{
	return catalog_recall_file(((struct cache_sealing *)arg)->cache->catalog, path, s, address);
}

static void learn_file(void *arg, const char *path, const struct signature *s, const struct digest *address)
{
	catalog_learn_file(((struct cache_sealing *)arg)->cache->catalog, path, s, address);
}

static bool recall_blob(void *arg, const struct digest *key, struct blob_chunks *chunks)
{
	struct cache_sealing *s = arg;
	struct cache *c = s->cache;
	char text[DIGEST_TEXT_SIZE];
	if (!catalog_recall_blob(c->catalog, key, chunks))
		return false;
	cache_lock(c);
	struct blob *b = blob_get(c, digest_text(&chunks->address, text));
	int state = b ? atomic_load(&b->state) : BLOB_ABSENT;
	bool is_held = state == BLOB_WHOLE || state == BLOB_DOUBTFUL;
	if (is_held) {
		blob_shape(b, chunks->size, chunks->chunk_size);
		hold(s, b);
	}
	cache_unlock(c);
	if (!is_held)
		free(steal(chunks->chunks));
	return is_held;
}

static void learn_blob(void *arg, const struct digest *key, const struct blob_chunks *chunks)
{
	catalog_learn_blob(((struct cache_sealing *)arg)->cache->catalog, key, chunks);
}

struct cache_sealing *cache_sealing_new(struct cache *c, bool may_drop)
{
	struct cache_sealing *s = NEW(struct cache_sealing);
	s->cache = c;
	s->may_drop = may_drop;
	s->store = (struct seal_store){.arg = s,
				       .begin = begin,
				       .write = write_bytes,
				       .commit = commit,
				       .abort = give_up,
				       .recall_file = recall_file,
				       .learn_file = learn_file,
				       .recall_blob = recall_blob,
				       .learn_blob = learn_blob};
	return s;
}

void cache_sealing_may_take(struct cache_sealing *s)
{
	s->store.take = take;
}

const struct seal_store *cache_sealing_store(struct cache_sealing *s)
{
	return &s->store;
}

uint64_t cache_sealing_dropped(const struct cache_sealing *s)
{
	return s->dropped_size;
}

void cache_sealing_free(struct cache_sealing *s)
{
	struct cache *c = s->cache;
	cache_lock(c);
	c->refused_usec = 0;
	for (size_t i = 0; i < s->n; i++) {
		assert(s->held[i]->n_held);
		s->held[i]->n_held--;
		blob_drop(c, s->held[i]);
	}
	cache_unlock(c);
	free(s->held);
	free(s);
}
