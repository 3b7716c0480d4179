/* SPDX-License-Identifier: Apache-2.0
 * The handle is one word, so that a reader takes and gives back a descriptor without a lock, and nobody closes one in use: bits 0..31 descriptor + 1,
 * 32..61 users, 63 doom: the last user closes it, and nobody takes it any more. */
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HANDLE_USER ((uint64_t)1 << 32)
#define HANDLE_DOOM ((uint64_t)1 << 63)
#define HANDLE_FD(v) ((int)((uint32_t)(v)) - 1)
#define HANDLE_N_USERS(v) (((v) & ~HANDLE_DOOM) >> 32)
#define SWEEP_N 32
#define RENAME_TRIES 32

/* ---- bits */

bool blob_bit(const _Atomic uint64_t *bits, uint64_t i)
{
	return atomic_load_explicit(&bits[i / 64], memory_order_acquire) >> (i % 64) & 1;
}

bool blob_set_bit(_Atomic uint64_t *bits, uint64_t i)
{
	uint64_t bit = (uint64_t)1 << (i % 64);
	return !(atomic_fetch_or_explicit(&bits[i / 64], bit, memory_order_acq_rel) & bit);
}

bool blob_clear_bit(_Atomic uint64_t *bits, uint64_t i)
{
	uint64_t bit = (uint64_t)1 << (i % 64);
	return atomic_fetch_and_explicit(&bits[i / 64], ~bit, memory_order_seq_cst) & bit;
}

uint64_t blob_chunk_size(const struct blob *b, uint64_t chunk)
{
	assert(chunk < b->n_chunks);
	return min((uint64_t)b->chunk_size, b->size - chunk * b->chunk_size);
}

bool blob_is_ready(const struct blob *b, uint64_t chunk)
{
	int state = atomic_load_explicit(&b->state, memory_order_acquire);
	if (state == BLOB_WHOLE)
		return true;
	_Atomic uint64_t *ready = atomic_load_explicit(&b->ready, memory_order_acquire);
	return state != BLOB_ABSENT && ready && blob_bit(ready, chunk);
}

/* Only of parts, whose cold chunks may go. A bit that is set is left alone, so readers share the line. */
void blob_touch(struct blob *b, uint64_t first, uint64_t last)
{
	atomic_store_explicit(&b->is_used, true, memory_order_relaxed);
	if (!b->touched)
		return;
	for (uint64_t i = first; i <= last; i++)
		if (!blob_bit(b->touched, i))
			blob_set_bit(b->touched, i);
}

/* ---- the table */

struct blob *blob_get(struct cache *c, const char *text)
{
	return map_get_text(&c->blobs, text);
}

struct blob *blob_need(struct cache *c, const struct digest *address)
{
	char text[DIGEST_TEXT_SIZE];
	struct blob *b = blob_get(c, digest_text(address, text));
	if (b)
		return b;
	b = NEW(struct blob);
	b->address = *address;
	memcpy(b->text, text, sizeof b->text);
	list_init(&b->open_link);
	map_put_text(&c->blobs, b->text, b);
	return b;
}

void blob_shape(struct blob *b, uint64_t size, uint32_t chunk_size)
{
	if (b->chunk_size) {
		assert(b->size == size && b->chunk_size == chunk_size); /* the address says both */
		return;
	}
	b->size = size;
	b->n_chunks = data_n_chunks(size, chunk_size);
	size_t n = (size_t)(b->n_chunks / 64 + 1);
	b->present = xcalloc(n, sizeof *b->present);
	b->touched = xcalloc(n, sizeof *b->touched);
	_Atomic uint64_t *ready = xcalloc(n, sizeof *ready);
	atomic_store_explicit(&b->ready, ready, memory_order_release);
	b->chunk_size = chunk_size;
}

void blob_drop(struct cache *c, struct blob *b)
{
	if (atomic_load(&b->state) != BLOB_ABSENT || b->n_known || b->n_held || b->n_writers || b->is_moving)
		return;
	assert(!b->n_wanted && !b->allocated);
	blob_doom_handle(c, b);
	map_remove_text(&c->blobs, b->text);
	free((void *)atomic_load(&b->ready));
	free((void *)b->present);
	free((void *)b->touched);
	free(b);
}

void blob_path(const struct blob *b, char path[DIGEST_TEXT_SIZE + 8])
{
	snprintf(path, DIGEST_TEXT_SIZE + 8, "%.2s/%s", b->text, b->text);
}

int blob_rename_in(struct cache *c, int dir, const char *name, const struct blob *b)
{
	const struct timespec plain[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = BLOB_PLAIN_SEC}};
	if (utimensat(dir, name, plain, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return blob_rename_as_is(c, dir, name, b);
}

int blob_rename_as_is(struct cache *c, int dir, const char *name, const struct blob *b)
{
	char path[DIGEST_TEXT_SIZE + 8], directory[3] = {b->text[0], b->text[1], 0};
	blob_path(b, path);
	for (unsigned n_tries = 0, i = 0; i < RENAME_TRIES; i++) {
		if (renameat(dir, name, c->blobs_fd, path) == 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
		/* Its directory is made when it is needed, and may have been removed with the last one in it just now. */
		if (mkdirat(c->blobs_fd, directory, 0700) == 0 || errno == EEXIST)
			continue;
		if (errno != ENOSPC)
			return -errno;
		if (!evict_again(c, 0, 1, &n_tries))
			return -ENOSPC;
	}
	return -ENOSPC;
}

/* ---- moves */

bool blob_try_move(struct blob *b)
{
	if (b->is_moving || b->n_writers)
		return false;
	b->is_moving = true;
	return true;
}

void blob_move(struct cache *c, struct blob *b)
{
	while (b->is_moving)
		pthread_cond_wait(&c->moved, &c->lock);
	/* From here on no writer begins; those that are at it end soon. */
	b->is_moving = true;
	while (b->n_writers)
		pthread_cond_wait(&c->moved, &c->lock);
}

void blob_moved(struct cache *c, struct blob *b)
{
	assert(b->is_moving);
	b->is_moving = false;
	pthread_cond_broadcast(&c->moved);
}

void blob_withdraw(struct cache *c, struct blob *b)
{
	_Atomic uint64_t *ready = atomic_load(&b->ready);
	assert(b->is_moving);
	atomic_store(&b->state, BLOB_ABSENT);
	for (uint64_t i = 0; ready && i <= b->n_chunks / 64; i++) {
		atomic_store(&b->present[i], 0);
		atomic_store(&ready[i], 0);
		atomic_store(&b->touched[i], 0);
	}
	atomic_store(&b->n_ready, 0);
	atomic_fetch_add(&b->generation, 1);
	blob_doom_handle(c, b);
}

/* ---- descriptors */

static int handle_take(struct blob *b)
{
	uint64_t v = atomic_load_explicit(&b->handle, memory_order_acquire);
	do {
		if (!(uint32_t)v || v & HANDLE_DOOM)
			return -1;
		assert(HANDLE_N_USERS(v) < UINT32_MAX >> 3);
	} while (!atomic_compare_exchange_weak_explicit(&b->handle, &v, v + HANDLE_USER, memory_order_acq_rel,
							memory_order_acquire));
	return HANDLE_FD(v);
}

static void handle_close(struct cache *c, int fd)
{
	assert(fd >= 0);
	close(fd);
	atomic_fetch_sub(&c->n_open, 1);
}

static void handle_give(struct cache *c, struct blob *b)
{
	uint64_t v = atomic_fetch_sub_explicit(&b->handle, HANDLE_USER, memory_order_acq_rel) - HANDLE_USER;
	assert(HANDLE_N_USERS(v) < UINT32_MAX >> 3);
	if (!(v & HANDLE_DOOM) || HANDLE_N_USERS(v))
		return;
	if (atomic_compare_exchange_strong(&b->handle, &v, 0))
		handle_close(c, HANDLE_FD(v));
}

/* The descriptor if it could be taken out at once; -1: there is none, or its last user closes it (with `is_doom`), or it is in use. */
static int handle_retire(struct blob *b, bool is_doom)
{
	uint64_t v = atomic_load(&b->handle);
	for (;;) {
		bool is_busy = HANDLE_N_USERS(v) != 0;
		if (!(uint32_t)v || v & HANDLE_DOOM || (is_busy && !is_doom))
			return -1;
		if (atomic_compare_exchange_weak(&b->handle, &v, is_busy ? v | HANDLE_DOOM : 0))
			return is_busy ? -1 : HANDLE_FD(v);
	}
}

void blob_doom_handle(struct cache *c, struct blob *b)
{
	list_remove(&b->open_link);
	int fd = handle_retire(b, true);
	if (fd >= 0)
		handle_close(c, fd);
}

/* Second chance: what was used since the last round stays and goes to the end. Returns how many are out; the caller closes them unlocked. */
static unsigned sweep(struct cache *c, int fds[SWEEP_N])
{
	unsigned n = 0, tries = SWEEP_N * 8;
	while (n < SWEEP_N && tries-- && !list_is_empty(&c->open_blobs)) {
		struct blob *b = list_first(&c->open_blobs, struct blob, open_link);
		list_remove(&b->open_link);
		int fd = atomic_exchange(&b->is_used, false) ? -1 : handle_retire(b, false);
		if (fd >= 0)
			fds[n++] = fd;
		else
			list_append(&c->open_blobs, &b->open_link);
	}
	return n;
}

int blob_open_now(int dir, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_CACHED};
	int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
	return fd < 0 ? -EAGAIN : fd;
}

static int open_blob_now(struct cache *c, const struct blob *b)
{
	char path[DIGEST_TEXT_SIZE + 8];
	bool is_part = atomic_load(&b->state) == BLOB_PART;
	if (is_part)
		snprintf(path, sizeof path, "%s.part", b->text);
	else
		blob_path(b, path);
	return blob_open_now(is_part ? c->parts_fd : c->blobs_fd, path);
}

static int open_blob(struct cache *c, const struct blob *b)
{
	char path[DIGEST_TEXT_SIZE + 8];
	/* It may move from p/ to b/ while we look. */
	for (int i = 0; i < 3; i++) {
		blob_path(b, path);
		int fd = openat(c->blobs_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == ENOENT) {
			snprintf(path, sizeof path, "%s.part", b->text);
			fd = openat(c->parts_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		}
		if (fd >= 0 || errno != ENOENT)
			return fd >= 0 ? fd : -errno;
	}
	return -ENOENT;
}

/* Puts a new descriptor into the handle, unless its files are being changed: then it is for this reader alone. */
static bool handle_install(struct cache *c, struct blob *b, int fd, uint32_t generation)
{
	int fds[SWEEP_N];
	unsigned n = 0;
	uint64_t none = 0;
	cache_lock(c);
	bool is_shared = !b->is_moving && atomic_load(&b->state) != BLOB_ABSENT &&
			 atomic_load(&b->generation) == generation &&
			 atomic_compare_exchange_strong(&b->handle, &none, (uint64_t)(fd + 1) + HANDLE_USER);
	if (is_shared) {
		list_remove(&b->open_link);
		list_append(&c->open_blobs, &b->open_link);
		if (atomic_fetch_add(&c->n_open, 1) >= c->settings.n_open)
			n = sweep(c, fds);
	}
	cache_unlock(c);
	while (n)
		handle_close(c, fds[--n]);
	return is_shared;
}

int blob_use(struct cache *c, struct blob *b, bool is_waiting, bool *is_own)
{
	uint32_t generation = atomic_load(&b->generation);
	int fd = handle_take(b);
	*is_own = false;
	if (fd >= 0)
		return fd;
	fd = is_waiting ? open_blob(c, b) : open_blob_now(c, b);
	if (fd >= 0)
		*is_own = !handle_install(c, b, fd, generation);
	return fd;
}

void blob_done(struct cache *c, struct blob *b, int fd, bool is_own)
{
	assert(fd >= 0);
	if (is_own)
		close(fd);
	else
		handle_give(c, b);
}

int blob_pread(int fd, void *p, size_t n, uint64_t offset)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, (uint8_t *)p + have, n - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		have += (size_t)got;
	}
	return 0;
}
