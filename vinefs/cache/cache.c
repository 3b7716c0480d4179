/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include "common/log.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define HIGH_PERCENT 95
#define LOW_PERCENT 85
#define N_OPEN 4096
#define RETRY_USEC 60000000u
#define RETRY_FIRST_USEC 2000000u
#define REFUSED_USEC 1000000u
#define FULL_USEC 1000000u
#define MAINTAIN_TRIES 1000
#define SPARE_PART 50 /* of a disk, at most SPARE_SIZE: for what is not ours, and for the catalog */
#define SPARE_SIZE ((uint64_t)32 << 20)
#define N_SPARE ((uint64_t)64)
#define N_UNLIMITED (UINT64_MAX / 4) /* filesystems without a fixed number of inodes */

uint64_t cache_now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t cache_tick(struct cache *c)
{
	c->clock_usec = max(c->clock_usec + 1, cache_now_usec());
	return c->clock_usec;
}

/* ---- room */

void cache_count(struct cache *c, int64_t size, int64_t n_inodes)
{
	assert(size >= 0 || c->size >= (uint64_t)-size);
	assert(n_inodes >= 0 || c->n_inodes >= (uint64_t)-n_inodes);
	c->size += (uint64_t)size;
	c->n_inodes += (uint64_t)n_inodes;
}

void cache_give_room(struct cache *c, uint64_t size, uint64_t n_inodes)
{
	cache_lock(c);
	cache_count(c, -(int64_t)size, -(int64_t)n_inodes);
	cache_unlock(c);
}

/* Locked: 0, and counted if `is_taken`; else -ENOSPC (for good), -EROFS, -EAGAIN: so much must go first. */
static int try_room(struct cache *c, uint64_t size, uint64_t n_inodes, bool is_taken, uint64_t *more, uint64_t *n_more)
{
	if (c->is_sick)
		return -EROFS;
	if (cache_is_refused(c, size))
		return -ENOSPC;
	*more = c->size + size > c->quota ? c->size + size - c->quota : 0;
	*n_more = c->n_inodes + n_inodes > c->inode_quota ? c->n_inodes + n_inodes - c->inode_quota : 0;
	if (!*more && !*n_more) {
		if (is_taken)
			cache_count(c, (int64_t)size, (int64_t)n_inodes);
		return 0;
	}
	/* Nothing is thrown away for what cannot fit. */
	uint64_t firm, n_firm;
	evict_firm(c, &firm, &n_firm);
	return firm + size > c->quota || n_firm + n_inodes > c->inode_quota ? -ENOSPC : -EAGAIN;
}

static int find_room(struct cache *c, uint64_t size, uint64_t n_inodes, bool is_taken)
{
	uint64_t more, n_more;
	unsigned n_tries = 0;
	int r;
	do {
		cache_lock(c);
		r = try_room(c, size, n_inodes, is_taken, &more, &n_more);
		cache_unlock(c);
	} while (r == -EAGAIN && evict_again(c, more, n_more, &n_tries));
	return r == -EAGAIN ? -ENOSPC : r;
}

int cache_take_room(struct cache *c, uint64_t size, uint64_t n_inodes)
{
	return find_room(c, size, n_inodes, true);
}

int cache_make_room(struct cache *c, uint64_t size, uint64_t n_inodes)
{
	return find_room(c, size, n_inodes, false);
}

void cache_measure(struct cache *c)
{
	struct statvfs fs;
	if (fstatvfs(c->root, &fs) < 0)
		return;
	uint64_t free_size = (uint64_t)fs.f_bavail * fs.f_frsize, n_free = fs.f_files ? fs.f_favail : N_UNLIMITED;
	cache_lock(c);
	uint64_t all = c->size + free_size, n_all = c->n_inodes + n_free;
	/* Whatever is allowed: where others fill the disk, we give way while something can go. */
	uint64_t most = all - min(all / SPARE_PART, SPARE_SIZE), n_most = n_all - min(n_all / SPARE_PART, N_SPARE);
	/* What is counted and not on the disk yet looks like a larger disk: at the start there is none of it. */
	if (!c->found_quota) {
		c->found_quota = max(all / 10 * 9, UINT64_C(1));
		c->found_inodes = n_all / 10 * 9;
	}
	c->quota = c->settings.quota ? min(c->settings.quota, most) : min(c->found_quota, all / 10 * 9);
	c->inode_quota =
		c->settings.n_inodes ? min(c->settings.n_inodes, n_most) : min(c->found_inodes, n_all / 10 * 9);
	cache_unlock(c);
}

void cache_refuse(struct cache *c, uint64_t size)
{
	cache_lock(c);
	c->refused_size = size;
	c->refused_usec = cache_tick(c);
	cache_unlock(c);
}

bool cache_is_refused(struct cache *c, uint64_t size)
{
	return size && c->refused_usec && size >= c->refused_size && cache_tick(c) - c->refused_usec < REFUSED_USEC;
}

void cache_limit(struct cache *c, uint64_t quota, uint64_t n_inodes)
{
	c->settings.quota = quota;
	c->settings.n_inodes = n_inodes;
	cache_measure(c); /* statvfs waits for no disk */
}

/* ---- health */

static bool has_room(struct cache *c)
{
	struct statvfs fs;
	return fstatvfs(c->root, &fs) == 0 && fs.f_bavail > fs.f_blocks / 10 &&
	       (!fs.f_files || fs.f_favail > fs.f_files / 10);
}

static void fall_sick(struct cache *c, int error, const char *what)
{
	cache_lock(c);
	bool is_new = !c->is_sick;
	c->is_sick = true;
	c->tried_usec = cache_tick(c);
	if (is_new) {
		/* Often it was a passing fault; what falls sick again and again is asked less and less often. */
		bool is_again = c->healed_usec && c->tried_usec - c->healed_usec < c->settings.retry_usec;
		c->pause_usec = min(is_again ? c->pause_usec * 2 : RETRY_FIRST_USEC, c->settings.retry_usec);
		c->sick_usec = c->tried_usec;
		snprintf(c->reason, sizeof c->reason, "%s: %s", what, strerror(error));
	}
	cache_unlock(c);
	if (is_new)
		log_error("cache %s: out of service: %s: %s", c->path, what, strerror(error));
}

int cache_fault(struct cache *c, int error, const char *what)
{
	assert(error <= 0);
	if (error == -EDQUOT || error == -EFBIG)
		return -ENOSPC; /* a quota is no sickness */
	if (error == -EIO || error == -EROFS) {
		fall_sick(c, -error, what);
	} else if (error == -ENOSPC && has_room(c)) {
		cache_lock(c);
		/* Threads that were late to see room that another has made are no sign of sickness: one a second counts. */
		uint64_t now = cache_tick(c);
		if (!c->n_full || now - c->full_usec >= FULL_USEC) {
			c->n_full++;
			c->full_usec = now;
		}
		bool is_often = c->n_full >= CACHE_SICK_AFTER;
		cache_unlock(c);
		if (is_often)
			fall_sick(c, ENOSPC, "no room in a filesystem that has some");
	} else if (error == 0 && c->n_full) {
		cache_lock(c);
		c->n_full = 0;
		cache_unlock(c);
	}
	return error;
}

/* Writes a little and reads it back. */
static int try_disk(struct cache *c)
{
	char name[32], text[CACHE_BLOCK], again[CACHE_BLOCK];
	snprintf(name, sizeof name, "%llu", (unsigned long long)atomic_fetch_add(&c->n_tmp, 1));
	memset(text, 'v', sizeof text);
	_close_ int fd = openat(c->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = pwrite(fd, text, sizeof text, 0) == (ssize_t)sizeof text && fsync(fd) == 0 ? 0 : -(errno ? errno : EIO);
	if (r == 0)
		r = blob_pread(fd, again, sizeof again, 0);
	if (r == 0 && memcmp(text, again, sizeof text) != 0)
		r = -EIO;
	if (unlinkat(c->tmp_fd, name, 0) < 0 && r == 0)
		r = -errno;
	return r;
}

static void heal(struct cache *c)
{
	cache_lock(c);
	bool is_due = c->is_sick && cache_tick(c) - c->tried_usec >= c->pause_usec;
	if (is_due) {
		c->tried_usec = c->clock_usec;
		c->pause_usec = min(c->pause_usec * 2, c->settings.retry_usec);
	}
	cache_unlock(c);
	if (!is_due || try_disk(c) < 0)
		return;
	cache_lock(c);
	c->is_sick = false;
	c->healed_usec = cache_tick(c);
	c->n_full = 0;
	c->reason[0] = 0;
	cache_unlock(c);
	log_info("cache %s: in service again", c->path);
}

int cache_maintain(struct cache *c)
{
	int r = catalog_error(c->catalog);
	if (r < 0)
		cache_fault(c, r, "write the catalog");
	heal(c);
	cache_measure(c);
	cache_lock(c);
	uint64_t high = c->quota / 100 * c->settings.high_percent, low = c->quota / 100 * c->settings.low_percent;
	uint64_t n_high = c->inode_quota / 100 * c->settings.high_percent;
	uint64_t n_low = c->inode_quota / 100 * c->settings.low_percent;
	bool is_due = c->size > high || c->n_inodes > n_high;
	cache_unlock(c);
	for (int i = 0; is_due && i < MAINTAIN_TRIES; i++) {
		cache_lock(c);
		uint64_t more = c->size > low ? c->size - low : 0,
			 n_more = c->n_inodes > n_low ? c->n_inodes - n_low : 0;
		bool is_over = c->size > high || c->n_inodes > n_high;
		cache_unlock(c);
		if (!more && !n_more)
			break;
		if (!evict_some(c, more, n_more))
			return is_over ? -ENOSPC : 0;
	}
	return c->is_sick ? -EROFS : 0;
}

/* ---- the directory */

void cache_get_numbers(struct cache *c, struct cache_numbers *n)
{
	cache_lock(c);
	*n = (struct cache_numbers){
		.size = c->size,
		.quota = c->quota,
		.n_inodes = c->n_inodes,
		.inode_quota = c->inode_quota,
		.n_evictions = c->n_evictions,
		.evicted_size = c->evicted_size,
		.n_trees = (unsigned)c->trees.n,
		.n_damaged = c->n_damaged,
		.is_sick = c->is_sick,
	};
	cache_unlock(c);
}

void cache_get_state(struct cache *c, struct cache_state *s)
{
	struct blob *b;
	*s = (struct cache_state){0};
	cache_lock(c);
	s->size = c->size;
	s->quota = c->quota;
	s->n_inodes = c->n_inodes;
	s->inode_quota = c->inode_quota;
	s->n_trees = (unsigned)c->trees.n;
	for (size_t i = 0; (b = map_next(&c->blobs, &i));) {
		int state = atomic_load(&b->state);
		s->n_blobs += state != BLOB_ABSENT;
		s->n_partial += state == BLOB_PART;
		s->n_doubtful += state == BLOB_DOUBTFUL;
		/* A sparse one has no more room than it has chunks. */
		if (state == BLOB_PART && !b->is_sparse)
			s->reserved_size += b->size - min(b->size, atomic_load(&b->n_ready) * b->chunk_size);
	}
	s->n_damaged = c->n_damaged;
	s->is_memory = c->is_memory;
	s->is_sick = c->is_sick;
	s->since_usec = c->sick_usec;
	memcpy(s->reason, c->reason, sizeof s->reason);
	cache_unlock(c);
}

const char *cache_node_id(const struct cache *c)
{
	return c->node_id;
}

int cache_directory(const struct cache *c)
{
	return c->root;
}

void cache_flush(struct cache *c)
{
	cache_lock(c);
	known_save_used(c);
	cache_unlock(c);
	catalog_flush(c->catalog);
}

static char *own_boot_id(const char *given)
{
	char text[40] = "";
	if (given)
		return xstrndup(given, sizeof text - 1);
	_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		/* Nobody can tell: as after a reboot, each time. */
		return xasprintf("%llx", (unsigned long long)cache_now_usec());
	text[strcspn(text, "\n")] = 0;
	return xstrdup(text);
}

int cache_open(const struct cache_settings *s, struct cache **out, struct conf_error *e)
{
	_cleanup_(cache_freep) struct cache *c = NEW(struct cache);
	struct statfs fs;
	c->settings = *s;
	c->settings.high_percent = s->high_percent ? s->high_percent : HIGH_PERCENT;
	c->settings.low_percent = s->low_percent ? s->low_percent : LOW_PERCENT;
	c->settings.n_open = s->n_open ? s->n_open : N_OPEN;
	c->settings.retry_usec = s->retry_usec ? s->retry_usec : RETRY_USEC;
	c->settings.boot_id = own_boot_id(s->boot_id);
	c->path = xstrdup(s->path);
	c->settings.path = c->path;
	c->root = c->blobs_fd = c->parts_fd = c->trees_fd = c->quarantine_fd = c->tmp_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->moved, NULL);
	list_init(&c->open_blobs);
	int r = recover_open(c, e);
	if (r < 0)
		return r;
	c->is_memory = fstatfs(c->root, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
	cache_measure(c);
	*out = steal(c);
	return 0;
}

void cache_free(struct cache *c)
{
	struct known *k;
	struct blob *b;
	struct cache_name_entry *n;
	if (!c)
		return;
	if (c->catalog)
		known_save_used(c);
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		known_free(c, k);
	for (size_t i = 0; (b = map_next(&c->blobs, &i));) {
		assert(!b->n_held && !b->n_writers && !b->is_moving);
		atomic_store(&b->state, BLOB_ABSENT);
		b->allocated = 0;
		blob_drop(c, b);
	}
	for (size_t i = 0; (n = map_next(&c->names, &i));)
		free(n);
	map_fini(&c->trees);
	map_fini(&c->blobs);
	map_fini(&c->names);
	catalog_close(c->catalog);
	const int fds[] = {c->tmp_fd, c->quarantine_fd, c->trees_fd, c->parts_fd, c->blobs_fd, c->root};
	for (unsigned i = 0; i < countof(fds); i++)
		close_fd(fds[i]);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->moved);
	free((char *)c->settings.boot_id);
	free(c->path);
	free(c);
}
