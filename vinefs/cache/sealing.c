/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM_TRIES 8

struct cache_sealing {
	struct cache *cache;
	struct seal_store store;
	struct blob **held; /* under the cache's lock */
	size_t n, room;
};

/* A blob on its way: tmp/<name>. One thread at a time has it. */
struct sealing_blob {
	int fd;
	char name[32];
	uint64_t size;
	_Atomic uint64_t counted; /* room */
	bool is_sparse;  /* room as it is written: too large to be reserved whole */
};

/* ---- writing */

static void discard(struct cache *c, struct sealing_blob *b)
{
	close_fd(b->fd);
	unlinkat(c->tmp_fd, b->name, 0);
	cache_give_room(c, b->counted, 1);
	free(b);
}

static int allocate(struct cache *c, int fd, uint64_t offset, uint64_t n)
{
	int r = 0;
	for (int i = 0; i < ROOM_TRIES; i++) {
		r = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n) < 0 ? -errno : 0;
		if (r == -EINTR)
			continue;
		r = cache_fault(c, r, "reserve room");
		/* The quota has room, the disk has not: others fill it. */
		if (r != -ENOSPC || !evict_some(c, n, 1))
			break;
	}
	return r;
}

static int begin(void *arg, uint64_t size, void **blob)
{
	struct cache *c = ((struct cache_sealing *)arg)->cache;
	struct sealing_blob *b = NEW(struct sealing_blob);
	assert(size);
	b->size = size;
	cache_lock(c);
	b->is_sparse = size > c->quota / 4;
	cache_unlock(c);
	uint64_t room = b->is_sparse ? 0 : cache_round(size);
	int r = cache_take_room(c, room, 1);
	if (r < 0) {
		free(b);
		return r;
	}
	b->counted = room;
	snprintf(b->name, sizeof b->name, "%llu", (unsigned long long)atomic_fetch_add(&c->n_tmp, 1));
	for (int i = 0; i < ROOM_TRIES; i++) {
		b->fd = openat(c->tmp_fd, b->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r = b->fd < 0 ? cache_fault(c, -errno, "make a blob") : 0;
		if (r != -ENOSPC || !evict_some(c, 0, 1))
			break;
	}
	if (r == 0 && ftruncate(b->fd, (off_t)size) < 0)
		r = cache_fault(c, -errno, "make a blob");
	if (r == 0 && !b->is_sparse)
		r = allocate(c, b->fd, 0, size);
	if (r < 0) {
		discard(c, b);
		return r;
	}
	*blob = b;
	return 0;
}

static int write_bytes(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	struct cache *c = ((struct cache_sealing *)arg)->cache;
	struct sealing_blob *b = blob;
	assert(offset <= b->size && n <= b->size - offset);
	int r = 0;
	if (b->is_sparse) {
		r = cache_take_room(c, cache_round(n), 0);
		if (r < 0)
			return r;
		b->counted += cache_round(n);
		r = allocate(c, b->fd, offset, n);
	}
	for (size_t have = 0; have < n && r == 0;) {
		ssize_t put = pwrite(b->fd, (const uint8_t *)p + have, n - have, (off_t)(offset + have));
		if (put > 0)
			have += (size_t)put;
		else if (put == 0 || errno != EINTR)
			r = cache_fault(c, put < 0 ? -errno : -ENOSPC, "write a blob");
	}
	return r;
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
	if (chunks->n < 2 || b->is_sparse)
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
	char path[DIGEST_TEXT_SIZE + 8], directory[3] = {to->text[0], to->text[1], 0};
	blob_path(to, path);
	if (fchmod(from->fd, 0400) < 0)
		return -errno;
	if (renameat(c->tmp_fd, from->name, c->blobs_fd, path) == 0)
		return 0;
	if (errno != ENOENT || (mkdirat(c->blobs_fd, directory, 0700) < 0 && errno != EEXIST))
		return -errno;
	return renameat(c->tmp_fd, from->name, c->blobs_fd, path) < 0 ? -errno : 0;
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
	uint64_t old_inodes = state == BLOB_PART ? 2 : state == BLOB_DOUBTFUL ? 1 : 0;
	cache_count(c, -(int64_t)(b->allocated + from->counted), -(int64_t)(old_inodes + 1));
	cache_count(c, (int64_t)size, 1);
	b->allocated = size;
	atomic_store(&b->state, BLOB_WHOLE);
	cache_unlock(c);
	if (state == BLOB_DOUBTFUL)
		catalog_trust(c->catalog, &b->address);
	return 0;
}

static int commit(void *arg, void *blob, const struct blob_chunks *chunks)
{
	struct cache_sealing *s = arg;
	struct cache *c = s->cache;
	struct sealing_blob *from = blob;
	assert(from->size == chunks->size);
	punch_zeros(from, chunks);
	cache_lock(c);
	struct blob *b = blob_need(c, &chunks->address);
	blob_shape(b, chunks->size, chunks->chunk_size);
	hold(s, b);
	blob_move(c, b);
	enum blob_state state = (enum blob_state)atomic_load(&b->state);
	cache_unlock(c);
	int r = state == BLOB_WHOLE ? 0 : replace(c, b, from, state);
	cache_lock(c);
	blob_moved(c, b);
	cache_unlock(c);
	if (r < 0 || state == BLOB_WHOLE) {
		discard(c, from);
		return r;
	}
	close_fd(from->fd);
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

struct cache_sealing *cache_sealing_new(struct cache *c)
{
	struct cache_sealing *s = NEW(struct cache_sealing);
	s->cache = c;
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

const struct seal_store *cache_sealing_store(struct cache_sealing *s)
{
	return &s->store;
}

void cache_sealing_free(struct cache_sealing *s)
{
	struct cache *c = s->cache;
	cache_lock(c);
	for (size_t i = 0; i < s->n; i++) {
		assert(s->held[i]->n_held);
		s->held[i]->n_held--;
		blob_drop(c, s->held[i]);
	}
	cache_unlock(c);
	free(s->held);
	free(s);
}
