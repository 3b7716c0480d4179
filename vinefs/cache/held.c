/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_TRIES 8
#define CHUNK_MOST (1u << 20)
#define QUARANTINE_N 16
#define QUARANTINE_SIZE ((uint64_t)64 << 20)

/* ---- opening */

static struct cache_tree *share(struct cache *c, const struct digest *id)
{
	struct known *k = known_get(c, id);
	if (!k || !k->open)
		return NULL;
	k->open->n_users++;
	k->used_usec = cache_tick(c);
	return k->open;
}

int held_install(struct cache *c, const struct digest *id, struct tree **index, struct cache_tree **out)
{
	*out = share(c, id);
	struct known *k = known_get(c, id);
	if (*out)
		return 0;
	if (!k)
		return -ENOENT;
	/* The index says how it is laid out, not what we remember of one before. */
	known_adopt(c, k, *index);
	struct cache_tree *t = NEW(struct cache_tree);
	t->cache = c;
	t->known = k;
	t->index = steal(*index);
	t->n_users = 1;
	k->open = *out = t;
	k->used_usec = cache_tick(c);
	return 0;
}

int cache_tree_open(struct cache *c, const struct digest *id, struct cache_tree **out)
{
	_cleanup_(tree_freep) struct tree *index = NULL;
	cache_lock(c);
	*out = share(c, id);
	bool is_known = known_get(c, id);
	cache_unlock(c);
	if (*out || !is_known)
		return *out ? 0 : -ENOENT;
	int r = known_read(c, id, &index);
	cache_lock(c);
	if (r == 0)
		r = held_install(c, id, &index, out);
	struct known *k = known_get(c, id);
	/* Damaged or gone: nobody has it open, or it would have been shared. */
	if ((r == -EBADMSG || r == -ENOENT) && k && !k->open && !k->n_leases) {
		catalog_drop_tree(c->catalog, id);
		known_free(c, k);
	}
	cache_unlock(c);
	return r;
}

int cache_tree_open_now(struct cache *c, const struct digest *id, struct cache_tree **out)
{
	_cleanup_(tree_freep) struct tree *index = NULL;
	cache_lock(c);
	*out = share(c, id);
	cache_unlock(c);
	if (*out)
		return 0;
	int r = known_read_now(c, id, &index);
	if (r < 0)
		return r;
	cache_lock(c);
	r = held_install(c, id, &index, out);
	cache_unlock(c);
	return r < 0 ? -EAGAIN : 0;
}

void cache_tree_close(struct cache_tree *t)
{
	struct cache *c = t->cache;
	cache_lock(c);
	assert(t->n_users && t->known->open == t);
	bool is_last = !--t->n_users;
	if (is_last) {
		t->known->open = NULL;
		known_used(c, t->known);
	}
	cache_unlock(c);
	if (is_last) {
		tree_free(t->index);
		free(t);
	}
}

const struct tree *cache_tree_index(const struct cache_tree *t)
{
	return t->index;
}

uint32_t held_blob_of(const struct cache_tree *t, uint64_t chunk)
{
	return tree_blob_of(t->index, chunk);
}

bool cache_tree_is_chunkwise(const struct cache_tree *t)
{
	cache_lock(t->cache);
	bool is_chunkwise = known_is_chunkwise(t->cache, t->known);
	cache_unlock(t->cache);
	return is_chunkwise;
}

/* ---- reading */

/* `ready` is set before `present` and cleared after it: so what is present and, asked again, not ready, is in doubt. */
static bool is_there(const struct blob *b, uint64_t chunk)
{
	int state = atomic_load_explicit(&b->state, memory_order_acquire);
	return state == BLOB_WHOLE || state == BLOB_DOUBTFUL || (state == BLOB_PART && blob_bit(b->present, chunk));
}

enum cache_residency cache_tree_residency(const struct cache_tree *t, uint64_t chunk)
{
	uint32_t number = held_blob_of(t, chunk);
	const struct blob *b = held_blob(t, number);
	uint64_t within = chunk - tree_blob(t->index, number)->first_chunk;
	if (blob_is_ready(b, within))
		return CACHE_RESIDENT;
	if (!is_there(b, within))
		return CACHE_ABSENT;
	return blob_is_ready(b, within) ? CACHE_RESIDENT : CACHE_DOUBTFUL;
}

static int check_ready(const struct blob *b, uint64_t first, uint64_t last)
{
	if (atomic_load_explicit(&b->state, memory_order_acquire) == BLOB_WHOLE)
		return 0;
	bool is_doubtful = false;
	for (uint64_t i = first; i <= last; i++) {
		if (blob_is_ready(b, i))
			continue;
		if (!is_there(b, i))
			return -ENODATA;
		is_doubtful |= !blob_is_ready(b, i);
	}
	return is_doubtful ? -EUCLEAN : 0;
}

/* Only what is in memory. */
static int read_at_once(const struct cache *c, int fd, void *p, size_t n, uint64_t offset)
{
	struct iovec v = {.iov_base = p, .iov_len = n};
	ssize_t got = preadv2(fd, &v, 1, (off_t)offset, RWF_NOWAIT);
	if (got < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS) && c->is_memory)
		got = preadv(fd, &v, 1, (off_t)offset);
	return got == (ssize_t)n ? 0 : -EAGAIN;
}

static int read_once(struct cache_tree *t, struct blob *b, uint64_t offset, void *p, size_t n, bool is_waiting)
{
	struct cache *c = t->cache;
	uint64_t first = offset / b->chunk_size, last = (offset + n - 1) / b->chunk_size;
	uint32_t generation = atomic_load(&b->generation);
	bool is_own;
	int r = check_ready(b, first, last);
	if (r < 0)
		return r == -EUCLEAN && atomic_load(&b->generation) != generation ? -EAGAIN : r;
	int fd = blob_use(c, b, is_waiting, &is_own);
	if (fd < 0) {
		r = fd;
	} else {
		r = is_waiting ? blob_pread(fd, p, n, offset) : read_at_once(c, fd, p, n, offset);
		blob_done(c, b, fd, is_own);
	}
	if (atomic_load(&b->generation) != generation)
		return -EAGAIN;
	if (r == 0)
		blob_touch(b, first, last);
	/* Cut, removed by hand, unreadable: it is fetched again. */
	if (is_waiting && (r == -EBADMSG || r == -ENOENT || r == -EIO)) {
		if (r == -EIO)
			cache_fault(c, r, "read a blob");
		held_damaged(c, b, first, generation);
		r = -ENODATA;
	}
	return r;
}

int cache_tree_read(struct cache_tree *t, uint32_t blob, uint64_t offset, void *p, size_t n, bool is_waiting)
{
	struct blob *b = held_blob(t, blob);
	if (offset > b->size || n > b->size - offset)
		return -EINVAL;
	if (!n)
		return 0;
	int r = -EAGAIN;
	for (int i = 0; i < READ_TRIES && r == -EAGAIN; i++) {
		r = read_once(t, b, offset, p, n, is_waiting);
		if (!is_waiting)
			break;
	}
	/* Withdrawn again and again: whoever wants it fetches it. */
	return r == -EAGAIN && is_waiting ? -ENODATA : r;
}

int cache_tree_file(struct cache_tree *t, uint64_t chunk, bool is_waiting)
{
	struct cache *c = t->cache;
	uint32_t number = held_blob_of(t, chunk);
	struct blob *b = held_blob(t, number);
	uint64_t within = chunk - tree_blob(t->index, number)->first_chunk;
	uint32_t generation = atomic_load(&b->generation);
	bool is_own;
	int r = check_ready(b, within, within);
	if (r < 0)
		return r;
	int fd = blob_use(c, b, is_waiting, &is_own);
	if (fd < 0)
		return fd == -ENOENT ? -ENODATA : fd;
	_close_ int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	r = copy < 0 ? -errno : 0;
	blob_done(c, b, fd, is_own);
	/* Another file may have taken its place meanwhile. */
	if (r == 0 && atomic_load(&b->generation) != generation)
		r = is_waiting ? -ENODATA : -EAGAIN;
	if (r == 0)
		blob_touch(b, within, within);
	return r < 0 ? r : steal_fd(&copy);
}

static int read_blob(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	struct cache_tree *t = arg;
	uint32_t number = held_blob_of(t, blob->first_chunk);
	int r = cache_tree_read(t, number, offset, p, n, true);
	if (r != -EUCLEAN)
		return r;
	uint64_t first = offset / blob->chunk_size, last = (offset + n - 1) / blob->chunk_size;
	r = cache_tree_verify(t, blob->first_chunk + first, last - first + 1);
	return r < 0 ? r : cache_tree_read(t, number, offset, p, n, true);
}

void cache_tree_reader(struct cache_tree *t, struct blob_reader *r)
{
	*r = (struct blob_reader){.arg = t, .read = read_blob};
}

/* ---- bound over its path */

static bool is_alike(const struct look *a, const struct look *b)
{
	return a->mode == b->mode && a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec;
}

static int look_at(int fd, const struct blob *b, struct look *found)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	*found = (struct look){
		.mode = st.st_mode & 07777, .mtime_sec = st.st_mtim.tv_sec, .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec};
	return (uint64_t)st.st_size == b->size ? 0 : -EBADMSG;
}

/* The bytes may not be those any more that were verified. By its mover. */
static int doubt(struct cache *c, struct blob *b, const struct look *found)
{
	_Atomic uint64_t *ready = atomic_load(&b->ready);
	cache_lock(c);
	assert(b->is_moving && ready && atomic_load(&b->state) == BLOB_WHOLE);
	b->doubted = *found;
	for (uint64_t i = 0; i <= b->n_chunks / 64; i++)
		atomic_store(&ready[i], 0);
	atomic_store(&b->n_ready, 0);
	atomic_store(&b->state, BLOB_DOUBTFUL);
	/* Who reads just now asks again. */
	atomic_fetch_add(&b->generation, 1);
	cache_unlock(c);
	log_warn("cache %s: blob %s was changed, or bound before the node was started: it is verified again", c->path,
		 b->text);
	return -EUCLEAN;
}

/* Whoever looks at the bound file sees the inode of the cache: its look is the claim of those who bound it, also for a process that died since. By its mover. */
static int dress(struct cache *c, struct blob *b, int fd, const struct look *as, bool has_others)
{
	static const struct look plain = {.mode = BLOB_PLAIN_MODE, .mtime_sec = BLOB_PLAIN_SEC};
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					  {.tv_sec = as->mtime_sec, .tv_nsec = (long)as->mtime_nsec}};
	struct look found;
	int r = look_at(fd, b, &found);
	if (r || is_alike(as, &plain))
		return r ? r : -ENODATA;
	if (is_alike(&found, as))
		return 0;
	bool is_ours = b->is_own_look && is_alike(&found, &b->look);
	if (!is_alike(&found, &plain) && !is_ours) {
		if (has_others && !b->is_own_look)
			return -EBUSY;
		if (!is_alike(&found, &b->doubted))
			return doubt(c, b, &found);
	}
	if (fchmod(fd, as->mode) < 0 || futimens(fd, times) < 0)
		return -errno;
	b->is_own_look = true;
	return 0;
}

/* Locked. */
static int may_bind(const struct blob *b, const struct look *as)
{
	int state = atomic_load(&b->state);
	if (state != BLOB_WHOLE)
		return state == BLOB_DOUBTFUL ? -EUCLEAN : -ENODATA;
	return b->n_bound && !is_alike(&b->look, as) ? -EBUSY : 0;
}

/* By its mover. */
static int bind_moving(struct cache *c, struct blob *b, const struct look *as, bool has_others, const char *path)
{
	_close_ int fd = openat(c->blobs_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? (errno == ENOENT ? -ENODATA : -errno) : dress(c, b, fd, as, has_others);
	if (r)
		return r;
	cache_lock(c);
	b->n_held++;
	b->n_bound++;
	b->look = *as;
	cache_unlock(c);
	return 0;
}

int cache_tree_bind(struct cache_tree *t, uint32_t blob, const struct tree_node *node, bool has_others,
		    char path[CACHE_BLOB_PATH])
{
	static const char below[] = "b/";
	const struct look as = {.mode = node->mode, .mtime_sec = node->mtime_sec, .mtime_nsec = node->mtime_nsec};
	struct cache *c = t->cache;
	struct blob *b = held_blob(t, blob);
	/* Its owner could not open it any more, neither there nor here. */
	if (!(as.mode & S_IRUSR))
		return -ENODATA;
	/* All of it may be there and not in b/, if there was no room for a directory. */
	if (atomic_load(&b->state) == BLOB_PART)
		part_settle(c, b);
	memcpy(path, below, sizeof below);
	blob_path(b, path + sizeof below - 1);
	cache_lock(c);
	blob_move(c, b);
	uint32_t generation = atomic_load(&b->generation);
	int r = may_bind(b, &as);
	cache_unlock(c);
	if (!r)
		r = bind_moving(c, b, &as, has_others, path + sizeof below - 1);
	cache_lock(c);
	blob_moved(c, b);
	cache_unlock(c);
	/* Cut or grown: whatever its chunks say, that is not the file. */
	if (r != -EBADMSG)
		return r;
	held_damaged(c, b, 0, generation);
	return -ENODATA;
}

void cache_tree_unbind(struct cache_tree *t, uint32_t blob)
{
	struct blob *b = held_blob(t, blob);
	cache_lock(t->cache);
	assert(b->n_held && b->n_bound);
	b->n_held--;
	b->n_bound--;
	cache_unlock(t->cache);
}

/* ---- verifying */

/* Reads what the disk has, not what memory remembers of it; leaves memory as it was. */
static int read_cold(int fd, uint8_t *p, size_t n, uint64_t offset)
{
	uint8_t one;
	struct iovec v = {.iov_base = &one, .iov_len = 1};
	bool was_warm = preadv2(fd, &v, 1, (off_t)offset, RWF_NOWAIT) == 1;
	posix_fadvise(fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
	int r = blob_pread(fd, p, n, offset);
	if (!was_warm)
		posix_fadvise(fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
	return r;
}

static int check_bytes(struct cache_tree *t, struct blob *b, uint64_t chunk, uint64_t within, uint8_t *room,
		       bool is_cold)
{
	struct digest found, wanted;
	bool is_own;
	size_t n = (size_t)blob_chunk_size(b, within);
	int fd = blob_use(t->cache, b, true, &is_own);
	if (fd < 0)
		return fd == -ENOENT ? -EBADMSG : fd;
	int r = is_cold ? read_cold(fd, room, n, within * b->chunk_size)
			: blob_pread(fd, room, n, within * b->chunk_size);
	blob_done(t->cache, b, fd, is_own);
	if (r == -EIO) {
		cache_fault(t->cache, r, "read a blob");
		return -EBADMSG;
	}
	if (r < 0)
		return r;
	digest_bytes(room, n, &found);
	tree_chunk_digest(t->index, chunk, &wanted);
	return digest_is_equal(&found, &wanted) ? 0 : -EBADMSG;
}

/* It was verified. When all of a doubtful blob is, it is whole, and remembered as such. */
static void mark_ready(struct cache *c, struct blob *b, uint64_t within)
{
	if (blob_is_ready(b, within))
		return;
	if (blob_set_bit(atomic_load(&b->ready), within))
		atomic_fetch_add(&b->n_ready, 1);
	cache_lock(c);
	if (atomic_load(&b->state) == BLOB_DOUBTFUL && atomic_load(&b->n_ready) == b->n_chunks) {
		atomic_store(&b->state, BLOB_WHOLE);
		catalog_trust(c->catalog, &b->address);
	}
	cache_unlock(c);
}

int held_check(struct cache_tree *t, uint64_t chunk, uint8_t *room, bool is_cold)
{
	struct cache *c = t->cache;
	uint32_t number = held_blob_of(t, chunk);
	struct blob *b = held_blob(t, number);
	uint64_t within = chunk - tree_blob(t->index, number)->first_chunk;
	/* As a writer: its files stay what they are meanwhile. */
	cache_lock(c);
	while (b->is_moving)
		pthread_cond_wait(&c->moved, &c->lock);
	bool is_here = is_there(b, within);
	b->n_writers += is_here;
	uint32_t generation = atomic_load(&b->generation);
	cache_unlock(c);
	if (!is_here)
		return 0;
	int r = check_bytes(t, b, chunk, within, room, is_cold);
	if (r == 0)
		mark_ready(c, b, within);
	cache_lock(c);
	assert(b->n_writers);
	if (!--b->n_writers)
		pthread_cond_broadcast(&c->moved);
	cache_unlock(c);
	if (r == -EBADMSG)
		held_damaged(c, b, within, generation);
	else if (r == 0 && atomic_load(&b->state) == BLOB_PART)
		part_settle(c, b);
	return r < 0 ? r : 1;
}

int cache_tree_verify(struct cache_tree *t, uint64_t first, uint64_t n)
{
	_free_ uint8_t *room = xmalloc(CHUNK_MOST);
	int r = 0;
	assert(n <= tree_n_chunks(t->index) && first <= tree_n_chunks(t->index) - n);
	for (uint64_t i = first; i < first + n; i++) {
		if (cache_tree_residency(t, i) != CACHE_DOUBTFUL)
			continue;
		int each = held_check(t, i, room, false);
		if (each < 0)
			r = each;
	}
	return r;
}

/* ---- damage */

static unsigned count_names(int dir)
{
	unsigned n = 0;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* For a person to look at, if it is not too much. True if it was kept. */
static bool quarantine(struct cache *c, const struct blob *b)
{
	char path[DIGEST_TEXT_SIZE + 8], to[DIGEST_TEXT_SIZE + 24];
	blob_path(b, path);
	snprintf(to, sizeof to, "%s.%llu", b->text, (unsigned long long)cache_now_usec());
	if (b->allocated <= QUARANTINE_SIZE && count_names(c->quarantine_fd) < QUARANTINE_N + 2 &&
	    renameat(c->blobs_fd, path, c->quarantine_fd, to) == 0)
		return true;
	unlinkat(c->blobs_fd, path, 0);
	return false;
}

static void report(struct cache *c, const struct cache_damage *d)
{
	char text[DIGEST_TEXT_SIZE];
	log_warn("cache %s: blob %s is damaged at chunk %llu: %s", c->path, digest_text(&d->blob, text),
		 (unsigned long long)d->chunk,
		 !d->is_whole        ? "the chunk is fetched again"
		 : d->is_quarantined ? "moved to q/, to be fetched again"
				     : "removed, to be fetched again");
	if (c->settings.on_damage)
		c->settings.on_damage(c->settings.arg, d);
}

void held_damaged(struct cache *c, struct blob *b, uint64_t chunk, uint32_t generation)
{
	struct cache_damage d = {.blob = b->address, .chunk = chunk};
	bool was_there = true;
	cache_lock(c);
	blob_move(c, b);
	enum blob_state state = (enum blob_state)atomic_load(&b->state);
	bool is_same = atomic_load(&b->generation) == generation && state != BLOB_ABSENT;
	d.is_whole = state == BLOB_WHOLE || state == BLOB_DOUBTFUL;
	if (is_same && d.is_whole)
		blob_withdraw(c, b);
	cache_unlock(c);
	if (is_same && d.is_whole)
		d.is_quarantined = quarantine(c, b);
	else if (is_same)
		part_forget_chunk(c, b, chunk, &was_there);
	cache_lock(c);
	if (is_same && d.is_whole) {
		cache_count(c, -(int64_t)b->allocated, -1);
		b->allocated = 0;
	}
	c->n_damaged += is_same && was_there;
	blob_moved(c, b);
	cache_unlock(c);
	if (is_same && was_there)
		report(c, &d);
}
