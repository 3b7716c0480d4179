/* SPDX-License-Identifier: Apache-2.0
 * p/<digest>.part has the bytes; p/<digest>.map a head and one byte for each chunk, so that writers of different chunks never write the same word.
 * A chunk's byte is written after its bytes, and cleared before they go: whatever dies in between, a chunk that is claimed is there; after a
 * crash of the machine, when the order on disk is anybody's guess, the boot id in the head differs and each is verified first. */
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_MAGIC "VINEPART"
#define PATH_SIZE (DIGEST_TEXT_SIZE + 8)
#define TRIES 4

struct map_head {
	char magic[8];
	uint32_t version, chunk_size;
	uint64_t size;
	char boot_id[40];
};

_Static_assert(sizeof(struct map_head) == 64, "as on disk");

static void name_of(const struct blob *b, const char *end, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s.%s", b->text, end);
}

static uint64_t map_size(const struct blob *b)
{
	return cache_round(sizeof(struct map_head) + b->n_chunks);
}

/* ---- files */

static int write_map(struct cache *c, const struct blob *b, uint8_t each)
{
	char path[PATH_SIZE];
	struct map_head h = {.magic = MAP_MAGIC, .version = 1, .chunk_size = b->chunk_size, .size = b->size};
	size_t n = sizeof h + (size_t)b->n_chunks;
	_free_ uint8_t *bytes = malloc(n);
	if (!bytes)
		return -ENOMEM;
	snprintf(h.boot_id, sizeof h.boot_id, "%s", c->settings.boot_id);
	memcpy(bytes, &h, sizeof h);
	memset(bytes + sizeof h, each, n - sizeof h);
	name_of(b, "map", path);
	_close_ int fd = openat(c->parts_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t put = fd < 0 ? -1 : pwrite(fd, bytes, n, 0);
	return put == (ssize_t)n ? 0 : put < 0 ? -errno : -ENOSPC;
}

static int make_part(struct cache *c, const struct blob *b, bool is_sparse)
{
	char path[PATH_SIZE];
	name_of(b, "part", path);
	_close_ int fd = openat(c->parts_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (is_sparse)
		return ftruncate(fd, (off_t)b->size) < 0 ? -errno : 0;
	int r;
	do
		r = fallocate(fd, 0, 0, (off_t)b->size) < 0 ? -errno : 0;
	while (r == -EINTR);
	/* Where room cannot be reserved it is taken as it comes. */
	if (r == -EOPNOTSUPP && ftruncate(fd, (off_t)b->size) == 0)
		return 0;
	return r;
}

static void remove_files(struct cache *c, const struct blob *b)
{
	char path[PATH_SIZE];
	/* The map first: without it the rest is a leftover. */
	name_of(b, "map", path);
	unlinkat(c->parts_fd, path, 0);
	name_of(b, "part", path);
	unlinkat(c->parts_fd, path, 0);
}

int part_create(struct cache *c, struct blob *b, bool is_sparse)
{
	uint64_t size = (is_sparse ? 0 : cache_round(b->size)) + map_size(b);
	assert(b->is_moving && b->chunk_size);
	unsigned n_tries = 0;
	int r = cache_take_room(c, size, 2);
	if (r < 0)
		return r;
	/* The quota has room; if the disk has not, others fill it. */
	do {
		r = write_map(c, b, 0);
		if (r == 0)
			r = make_part(c, b, is_sparse);
		if (r < 0)
			remove_files(c, b);
		r = cache_fault(c, r, "make a partial blob");
	} while (r == -ENOSPC && evict_again(c, size, 2, &n_tries));
	if (r < 0) {
		cache_give_room(c, size, 2);
		if (r == -ENOSPC)
			cache_refuse(c, size);
		return r;
	}
	cache_lock(c);
	b->allocated = size;
	b->is_sparse = is_sparse;
	atomic_store(&b->state, BLOB_PART);
	cache_unlock(c);
	return 0;
}

void part_remove(struct cache *c, struct blob *b)
{
	assert(b->is_moving);
	remove_files(c, b);
}

int part_load(struct cache *c, struct blob *b, bool is_trusted)
{
	char path[PATH_SIZE];
	struct map_head h;
	struct stat st;
	_Atomic uint64_t *ready = atomic_load(&b->ready);
	name_of(b, "part", path);
	if (!b->chunk_size || fstatat(c->parts_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != b->size)
		return -EBADMSG;
	name_of(b, "map", path);
	_close_ int fd = openat(c->parts_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_free_ uint8_t *bytes = malloc((size_t)b->n_chunks);
	if (!bytes)
		return -ENOMEM;
	if (blob_pread(fd, &h, sizeof h, 0) < 0 || blob_pread(fd, bytes, (size_t)b->n_chunks, sizeof h) < 0 ||
	    memcmp(h.magic, MAP_MAGIC, sizeof h.magic) != 0 || h.version != 1 || h.size != b->size ||
	    h.chunk_size != b->chunk_size)
		return -EBADMSG;
	h.boot_id[sizeof h.boot_id - 1] = 0;
	is_trusted = is_trusted && streq(h.boot_id, c->settings.boot_id);
	for (uint64_t i = 0; i < b->n_chunks; i++) {
		if (bytes[i] != 1)
			continue;
		blob_set_bit(b->present, i);
		if (is_trusted && blob_set_bit(ready, i))
			atomic_fetch_add(&b->n_ready, 1);
	}
	b->allocated = (uint64_t)st.st_blocks * 512 + map_size(b);
	b->is_sparse = (uint64_t)st.st_blocks * 512 < b->size;
	atomic_store(&b->state, BLOB_PART);
	cache_count(c, (int64_t)b->allocated, 2);
	return 0;
}

/* ---- a chunk comes */

static bool is_zero(const uint8_t *p, size_t n)
{
	return n && !p[0] && memcmp(p, p + 1, n - 1) == 0;
}

static int mark(struct cache *c, const struct blob *b, uint64_t chunk, uint8_t value)
{
	char path[PATH_SIZE];
	name_of(b, "map", path);
	_close_ int fd = openat(c->parts_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return pwrite(fd, &value, 1, (off_t)(sizeof(struct map_head) + chunk)) == 1 ? 0 : -errno;
}

static int put_bytes(int fd, const struct blob *b, uint64_t chunk, const uint8_t *p, size_t n)
{
	off_t at = (off_t)(chunk * b->chunk_size);
	/* Zeros need no room; what lay there before must still go. */
	if (is_zero(p, n) && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)n) == 0)
		return 0;
	if (b->is_sparse && fallocate(fd, 0, at, (off_t)n) < 0 && errno != EOPNOTSUPP)
		return -errno;
	for (size_t have = 0; have < n;) {
		ssize_t put = pwrite(fd, p + have, n - have, at + (off_t)have);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -ENOSPC;
		have += (size_t)put;
	}
	return 0;
}

/* By one of its writers. */
static int write_chunk(struct cache *c, struct blob *b, uint64_t chunk, const uint8_t *p, size_t n)
{
	char path[PATH_SIZE];
	assert(atomic_load(&b->state) == BLOB_PART);
	name_of(b, "part", path);
	_close_ int fd = openat(c->parts_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : put_bytes(fd, b, chunk, p, n);
	if (r == 0)
		r = mark(c, b, chunk, 1);
	if (r < 0)
		return r;
	atomic_fetch_add(&c->n_stored, 1);
	blob_set_bit(b->touched, chunk);
	if (blob_set_bit(atomic_load(&b->ready), chunk))
		atomic_fetch_add(&b->n_ready, 1);
	blob_set_bit(b->present, chunk);
	return 0;
}

/* All chunks are there: into b/. Unlocked, by its mover. */
static int publish_part(struct cache *c, struct blob *b)
{
	char path[PATH_SIZE];
	name_of(b, "part", path);
	if (fchmodat(c->parts_fd, path, 0400, 0) < 0)
		return -errno;
	int r = blob_rename_in(c, c->parts_fd, path, b);
	if (r < 0)
		return r;
	name_of(b, "map", path);
	unlinkat(c->parts_fd, path, 0);
	return 0;
}

void part_settle(struct cache *c, struct blob *b)
{
	if (atomic_load(&b->n_ready) != b->n_chunks)
		return;
	cache_lock(c);
	blob_move(c, b);
	bool is_full = atomic_load(&b->state) == BLOB_PART && atomic_load(&b->n_ready) == b->n_chunks;
	cache_unlock(c);
	int r = is_full ? cache_fault(c, publish_part(c, b), "publish a blob") : -EAGAIN;
	cache_lock(c);
	/* If it could not be renamed it is as good in p/. */
	if (r == 0) {
		atomic_store(&b->state, BLOB_WHOLE);
		b->allocated -= map_size(b);
		cache_count(c, -(int64_t)map_size(b), -1);
	}
	blob_moved(c, b);
	cache_unlock(c);
}

/* Makes the calling thread one of its writers: 1; 0: the chunk is there; -EUCLEAN: it is there and doubtful; -errno. */
static int begin_write(struct cache_tree *t, struct blob *b, uint64_t chunk)
{
	struct cache *c = t->cache;
	int r = 0;
	cache_lock(c);
	known_want(c, t->known);
	while (b->is_moving)
		pthread_cond_wait(&c->moved, &c->lock);
	if (atomic_load(&b->state) == BLOB_ABSENT) {
		bool is_sparse = known_is_chunkwise(c, t->known);
		b->is_moving = true; /* no writers while it is absent */
		assert(!b->n_writers);
		cache_unlock(c);
		r = part_create(c, b, is_sparse);
		cache_lock(c);
		blob_moved(c, b);
	}
	int state = atomic_load(&b->state);
	if (r == 0 && !blob_is_ready(b, chunk)) {
		r = state == BLOB_DOUBTFUL ? -EUCLEAN : 1;
		if (r == 1)
			b->n_writers++;
	}
	cache_unlock(c);
	return r;
}

static void end_write(struct cache *c, struct blob *b, uint64_t room, bool is_written)
{
	cache_lock(c);
	if (is_written)
		b->allocated += room;
	assert(b->n_writers);
	if (!--b->n_writers)
		pthread_cond_broadcast(&c->moved);
	cache_unlock(c);
	if (!is_written && room)
		cache_give_room(c, room, 0);
	part_settle(c, b);
}

static int write_once(struct cache_tree *t, struct blob *b, uint64_t chunk, const void *p, size_t n)
{
	struct cache *c = t->cache;
	int r = begin_write(t, b, chunk);
	if (r != 1)
		return r;
	/* As a writer one must not make room: that may wait for the writers. is_sparse does not change while there are some. */
	uint64_t room = b->is_sparse ? cache_round(n) : 0;
	cache_lock(c);
	r = c->is_sick ? -EROFS : room && (c->size + room > c->quota || cache_is_refused(c, room)) ? -ENOSPC : 0;
	if (r < 0)
		room = 0;
	cache_count(c, (int64_t)room, 0);
	cache_unlock(c);
	if (r == 0)
		r = cache_fault(c, write_chunk(c, b, chunk, p, n), "write a chunk");
	end_write(c, b, room, r == 0);
	return r;
}

int cache_tree_write(struct cache_tree *t, uint64_t chunk, const void *p, size_t n)
{
	struct cache *c = t->cache;
	struct digest found, wanted;
	uint32_t number = held_blob_of(t, chunk);
	struct blob *b = held_blob(t, number);
	uint64_t within = chunk - tree_blob(t->index, number)->first_chunk;
	if (n != blob_chunk_size(b, within))
		return -EBADMSG;
	digest_bytes(p, n, &found);
	tree_chunk_digest(t->index, chunk, &wanted);
	if (!digest_is_equal(&found, &wanted))
		return -EBADMSG;
	unsigned n_tries = 0;
	int r, n_verified = 0;
	do {
		r = write_once(t, b, within, p, n);
		/* In doubt: if it is good it is there, else it is absent now. */
		if (r == -EUCLEAN)
			cache_tree_verify(t, chunk, 1);
	} while ((r == -EUCLEAN && n_verified++ < TRIES) ||
		 (r == -ENOSPC && evict_again(c, cache_round(n), 0, &n_tries)));
	return r;
}

/* ---- chunks go */

int part_from_whole(struct cache *c, struct blob *b)
{
	char path[PATH_SIZE], from[PATH_SIZE];
	assert(b->is_moving && atomic_load(&b->state) == BLOB_WHOLE);
	int r = write_map(c, b, 1);
	if (r < 0)
		return r;
	blob_path(b, from);
	name_of(b, "part", path);
	if (fchmodat(c->blobs_fd, from, 0600, 0) < 0 || renameat(c->blobs_fd, from, c->parts_fd, path) < 0) {
		r = -errno;
		name_of(b, "map", path);
		unlinkat(c->parts_fd, path, 0);
		return r;
	}
	_Atomic uint64_t *ready = atomic_load(&b->ready);
	for (uint64_t i = 0; i < b->n_chunks; i++) {
		blob_set_bit(ready, i);
		blob_set_bit(b->present, i);
	}
	cache_lock(c);
	atomic_store(&b->n_ready, b->n_chunks);
	b->is_sparse = true;
	b->allocated += map_size(b);
	cache_count(c, (int64_t)map_size(b), 1);
	atomic_store(&b->state, BLOB_PART);
	cache_unlock(c);
	return 0;
}

/* The next cold chunk at or after the hand, at most `steps` further; warm ones cool down on the way. n_chunks: none. */
static uint64_t next_cold(struct blob *b, uint64_t *steps)
{
	while (*steps) {
		uint64_t i = b->hand++ % b->n_chunks;
		--*steps;
		if (blob_bit(b->present, i) && !blob_clear_bit(b->touched, i))
			return i;
	}
	return b->n_chunks;
}

static void withdraw_chunk(struct blob *b, uint64_t chunk)
{
	blob_clear_bit(b->present, chunk);
	if (blob_clear_bit(atomic_load(&b->ready), chunk))
		atomic_fetch_sub(&b->n_ready, 1);
	atomic_fetch_add(&b->generation, 1);
}

uint64_t part_chill(struct cache *c, struct blob *b, uint64_t wanted)
{
	char path[PATH_SIZE];
	uint64_t freed = 0, steps = b->n_chunks * 2;
	assert(b->is_moving && atomic_load(&b->state) == BLOB_PART);
	name_of(b, "part", path);
	_close_ int fd = openat(c->parts_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while (freed < wanted) {
		uint64_t i = next_cold(b, &steps);
		if (i == b->n_chunks)
			break;
		withdraw_chunk(b, i);
		uint64_t size = cache_round(blob_chunk_size(b, i));
		if (mark(c, b, i, 0) < 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						      (off_t)(i * b->chunk_size), (off_t)size) < 0)
			break;
		freed += size;
	}
	cache_lock(c);
	b->is_sparse = true;
	/* Holes that zeros left were given back before. */
	freed = min(freed, b->allocated - map_size(b));
	b->allocated -= freed;
	cache_count(c, -(int64_t)freed, 0);
	cache_unlock(c);
	return freed;
}

void part_forget_chunk(struct cache *c, struct blob *b, uint64_t chunk, bool *was_there)
{
	assert(b->is_moving && atomic_load(&b->state) == BLOB_PART);
	*was_there = blob_bit(b->present, chunk);
	withdraw_chunk(b, chunk);
	cache_fault(c, mark(c, b, chunk, 0), "forget a damaged chunk");
}

/* ---- room for all of a tree */

static uint64_t absent_size(struct cache_tree *t, uint64_t *n_inodes)
{
	uint64_t size = 0;
	*n_inodes = 0;
	for (uint32_t i = 0; i < t->known->n_blobs; i++) {
		struct blob *b = t->known->blobs[i];
		if (atomic_load(&b->state) != BLOB_ABSENT)
			continue;
		size += cache_round(b->size) + map_size(b);
		*n_inodes += 2;
	}
	return size;
}

/* 1: made; 0: it was there. */
static int reserve_blob(struct cache *c, struct blob *b)
{
	cache_lock(c);
	blob_move(c, b);
	bool is_absent = atomic_load(&b->state) == BLOB_ABSENT;
	cache_unlock(c);
	int r = is_absent ? part_create(c, b, false) : 0;
	cache_lock(c);
	blob_moved(c, b);
	cache_unlock(c);
	return r < 0 ? r : is_absent;
}

/* Gives back what was reserved and has no chunk yet. */
static void unreserve(struct cache *c, struct blob *b)
{
	cache_lock(c);
	blob_move(c, b);
	bool is_empty = atomic_load(&b->state) == BLOB_PART && !atomic_load(&b->n_ready);
	for (uint64_t i = 0; is_empty && i <= b->n_chunks / 64; i++)
		is_empty = !atomic_load(&b->present[i]);
	if (is_empty)
		evict_withdraw(c, b);
	else
		blob_moved(c, b);
	cache_unlock(c);
	if (is_empty)
		evict_remove(c, b, BLOB_PART);
}

int cache_tree_reserve(struct cache_tree *t)
{
	struct cache *c = t->cache;
	uint64_t n_inodes, size = absent_size(t, &n_inodes);
	cache_lock(c);
	known_want(c, t->known);
	bool is_chunkwise = known_is_chunkwise(c, t->known);
	cache_unlock(c);
	if (is_chunkwise || !size)
		return 0;
	/* All or nothing is asked for first, so that nobody is evicted in vain. */
	int r = cache_make_room(c, size, n_inodes);
	uint32_t n = t->known->n_blobs;
	_free_ bool *made = xcalloc(n, sizeof *made);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		int each = reserve_blob(c, t->known->blobs[i]);
		made[i] = each == 1;
		r = min(each, 0);
	}
	for (uint32_t i = 0; i < n && r < 0; i++)
		if (made[i])
			unreserve(c, t->known->blobs[i]);
	return r;
}
