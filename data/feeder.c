/* SPDX-License-Identifier: Apache-2.0
 * A ring of slots: threads take the next file and fill its slot; the assembler empties slots in order. A thread is never more than
 * WINDOW files ahead, which bounds memory. Each side wakes the other for BATCH files at once: where both share a core, a wake-up for
 * each file cost a fifth of the time. */
#include "data/feeder.h"

#include "common/path.h"
#include "data/linked.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 256u
#define BATCH 64u
#define THREADS_LEAST 4u /* while one waits for the source or the store, another one digests */
#define BLOCK (1u << 20) /* of a large file, read and stored at once: the largest chunk */
#define TRIES 3
#define YOUNG_SEC 2 /* a file may change again within its time stamp's grain */

struct feeder {
	struct feeder_job job;
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct feed slots[WINDOW];
	uint32_t next; /* the assembler's own; the slots from next_to_empty to here are empty, and not yet said to be */
	uint32_t next_to_fill, next_to_empty, n_filled;
	uint32_t n_wanted;  /* the assembler waits until so many were filled; 0: it does not wait */
	unsigned n_waiting; /* threads, for an empty slot */
	struct linked *linked;
	bool is_stopping;
	pthread_t threads[16];
	unsigned n_threads;
};

/* A file that a thread has at hand. */
struct reading {
	int fd;
	uint8_t *room; /* the thread's, of a block */
	struct stat st;
	struct signature before;
};

static void report(struct feeder *f, uint32_t entry, const char *what)
{
	_free_ char *path = builder_path(f->job.builder, entry);
	pthread_mutex_lock(&f->lock);
	seal_report_add(f->job.errors, "%s%s%s: %s", f->job.path, *path ? "/" : "", path, what);
	pthread_mutex_unlock(&f->lock);
}

static bool is_cancelled(const struct feeder *f)
{
	const bool *flag = f->job.options->is_cancelled;
	return __atomic_load_n(&f->is_stopping, __ATOMIC_RELAXED) || (flag && __atomic_load_n(flag, __ATOMIC_RELAXED));
}

/* The root itself is the file when a single file is sealed. */
static int open_entry(struct feeder *f, uint32_t entry)
{
	_free_ char *path = builder_path(f->job.builder, entry);
	if (*path)
		return path_open_beneath(f->job.root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	int fd = fcntl(f->job.root, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* 0, -ESTALE if the file ends early, -errno. */
static int read_fully(int fd, void *p, size_t n, uint64_t offset)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, (uint8_t *)p + have, n - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ESTALE;
		have += (size_t)got;
	}
	return 0;
}

static int read_small(struct feeder *f, struct feed *d, int fd, size_t size)
{
	free(steal(d->bytes));
	d->bytes = xmalloc(size);
	int r = read_fully(fd, d->bytes, size, 0);
	if (r == 0) {
		data_address_of(d->bytes, size, &d->address);
		__atomic_fetch_add(&f->job.progress->bytes_read, size, __ATOMIC_RELAXED);
	}
	return r;
}

/* A chunk that lies in a hole is neither read nor written: its digest is that of zeros. */
static bool is_hole(int fd, uint64_t offset, size_t n, uint64_t *data_at)
{
	if (*data_at > offset && *data_at - offset >= n)
		return true;
	if (*data_at > offset)
		return false;
	off_t at = lseek(fd, (off_t)offset, SEEK_DATA);
	*data_at = at < 0 ? (errno == ENXIO ? UINT64_MAX : offset) : (uint64_t)at;
	return *data_at > offset && *data_at - offset >= n;
}

/* The digest of n zeros; a file's chunks but the last are of one size, so one is remembered. */
struct zeros {
	struct digest digest;
	size_t n;
};

static void digest_zeros(struct zeros *z, size_t n, struct digest *d)
{
	if (z->n != n) {
		_free_ uint8_t *zeros = xcalloc(1, n);
		digest_bytes(zeros, n, &z->digest);
		z->n = n;
	}
	*d = z->digest;
}

/* Reads, digests and, where there is a blob, stores n chunks. */
static int copy_block(struct feeder *f, struct blob_chunks *c, const struct reading *from, void *blob, uint32_t first,
		      uint32_t n)
{
	const struct seal_store *store = f->job.options->store;
	uint64_t offset = (uint64_t)first * c->chunk_size;
	size_t size = (size_t)min((uint64_t)n * c->chunk_size, c->size - offset);
	assert(size <= BLOCK);
	int r = read_fully(from->fd, from->room, size, offset);
	if (r < 0)
		return r;
	digest_chunks(from->room, size, c->chunk_size, 1, &c->chunks[first]);
	__atomic_fetch_add(&f->job.progress->bytes_read, size, __ATOMIC_RELAXED);
	__atomic_fetch_add(&f->job.progress->bytes_done, size, __ATOMIC_RELAXED);
	return blob ? store->write(store->arg, blob, offset, from->room, size) : 0;
}

/* How many chunks from here on are no holes, as far as a block goes. */
static uint32_t count_data(const struct blob_chunks *c, int fd, uint32_t first, uint64_t *data_at)
{
	uint32_t n = 0;
	for (; first + n < c->n && n < BLOCK / c->chunk_size; n++) {
		uint64_t offset = (uint64_t)(first + n) * c->chunk_size;
		if (is_hole(fd, offset, (size_t)min((uint64_t)c->chunk_size, c->size - offset), data_at))
			break;
	}
	return n;
}

static int copy_chunks(struct feeder *f, struct blob_chunks *c, const struct reading *from, void *blob)
{
	bool is_sparse = (uint64_t)from->st.st_blocks * 512 < c->size;
	struct zeros zeros = {0};
	uint64_t data_at = 0;
	int r = 0;
	for (uint32_t i = 0, n; i < c->n && r == 0; i += n) {
		if (is_cancelled(f))
			return -ECANCELED;
		n = is_sparse ? count_data(c, from->fd, i, &data_at) : min(BLOCK / c->chunk_size, c->n - i);
		if (n) {
			r = copy_block(f, c, from, blob, i, n);
			continue;
		}
		n = 1;
		size_t size = (size_t)min((uint64_t)c->chunk_size, c->size - (uint64_t)i * c->chunk_size);
		digest_zeros(&zeros, size, &c->chunks[i]);
		__atomic_fetch_add(&f->job.progress->bytes_done, size, __ATOMIC_RELAXED);
	}
	return r;
}

static void forget_chunks(struct feed *d)
{
	free(steal(d->chunks.chunks));
	d->chunks = (struct blob_chunks){0};
}

static int is_as_before(const struct reading *from)
{
	struct stat st;
	struct signature after;
	if (fstat(from->fd, &st) < 0)
		return -errno;
	signature_of(&st, &after);
	return signature_is_equal(&from->before, &after) ? 0 : -ESTALE;
}

/* Where the file itself is to become the blob, 1: a second name and the loss of marks have changed its ctime. */
static int take_or_begin(const struct seal_store *store, struct reading *from, uint64_t size, void **blob)
{
	struct stat st;
	int r = store->take ? store->take(store->arg, from->fd, size, blob) : 0;
	if (r == 0)
		return store->begin(store->arg, size, blob);
	if (r < 0)
		return r;
	if (fstat(from->fd, &st) == 0 && st.st_mtim.tv_sec == from->st.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == from->st.st_mtim.tv_nsec) {
		signature_of(&st, &from->before);
		return 1;
	}
	store->abort(store->arg, *blob);
	return -ESTALE;
}

static int read_large(struct feeder *f, struct feed *d, struct reading *from)
{
	const struct seal_store *store = f->job.options->store;
	struct blob_chunks *c = &d->chunks;
	void *blob;

	c->size = d->size;
	c->chunk_size = data_chunk_size(d->size);
	if (data_n_chunks(d->size, c->chunk_size) > UINT32_MAX)
		return -EFBIG;
	c->n = (uint32_t)data_n_chunks(d->size, c->chunk_size);
	c->chunks = malloc(c->n * sizeof *c->chunks);
	if (!c->chunks)
		return -ENOMEM;
	int r = take_or_begin(store, from, d->size, &blob);
	if (r < 0)
		return r;
	r = copy_chunks(f, c, from, r > 0 ? NULL : blob);
	if (r == 0)
		r = is_as_before(from);
	if (r < 0) {
		store->abort(store->arg, blob);
		return r;
	}
	data_address(d->size, c->chunk_size, c->chunks, &c->address);
	d->address = c->address;
	r = store->commit(store->arg, blob, c);
	if (r == 0 && store->learn_blob)
		store->learn_blob(store->arg, &c->address, c);
	return r;
}

static int read_contents(struct feeder *f, struct feed *d, struct reading *from)
{
	free(steal(d->bytes));
	forget_chunks(d);
	if (d->size > DATA_SMALL_MAX)
		return read_large(f, d, from);
	int r = read_small(f, d, from->fd, (size_t)d->size);
	return r < 0 ? r : is_as_before(from);
}

/* Under another name it was read for slot `other`. If that one comes later the assembler meets this name first, and needs all of it; it
 * cannot be emptied before this one is. */
static void take_twin(struct feeder *f, struct feed *d, uint32_t other)
{
	const struct feed *from = &f->slots[other % WINDOW];
	bool is_first = d->place < other;
	assert(!is_first || (from->place == other && from->size == d->size));
	free(steal(d->bytes));
	forget_chunks(d);
	if (d->size > DATA_SMALL_MAX) {
		d->chunks = is_first ? from->chunks : (struct blob_chunks){.address = d->address, .size = d->size};
		if (is_first)
			d->chunks.chunks = xmemdup(from->chunks.chunks, from->chunks.n * sizeof *from->chunks.chunks);
		__atomic_fetch_add(&f->job.progress->bytes_done, d->size, __ATOMIC_RELAXED);
	} else if (is_first) {
		d->bytes = xmemdup(from->bytes, d->size);
	}
}

/* One try. -ESTALE: it changed under us. What is declared is what was there when the reading began. */
static int read_once(struct feeder *f, struct feed *d, struct reading *from)
{
	const struct stat *st = &from->st;
	if (fstat(from->fd, &from->st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -ESTALE;
	struct entry *e = builder_entry(f->job.builder, d->entry);
	signature_of(st, &from->before);
	e->signature = from->before;
	e->mode = st->st_mode & 01777;
	e->mtime_sec = st->st_mtim.tv_sec;
	e->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	d->size = (uint64_t)st->st_size;
	/* 0: another file took its name meanwhile. */
	if (st->st_nlink <= 1)
		return read_contents(f, d, from);
	uint32_t place = d->place;
	struct linked_file *linked = linked_claim(f->linked, st, &place, &d->address);
	if (!linked) {
		take_twin(f, d, place);
		return 0;
	}
	int r = read_contents(f, d, from);
	linked_done(f->linked, linked, r == 0 ? &d->address : NULL);
	return r;
}

static bool is_young(const struct signature *s)
{
	return max(s->mtime_sec, s->ctime_sec) + YOUNG_SEC >= (int64_t)time(NULL);
}

static char *full_path(const struct feeder *f, uint32_t entry)
{
	_free_ char *path = builder_path(f->job.builder, entry);
	return path_join(f->job.path, path);
}

static bool recall(struct feeder *f, struct feed *d)
{
	const struct seal_store *store = f->job.options->store;
	const struct signature *s = &builder_entry(f->job.builder, d->entry)->signature;
	if (!store->recall_file)
		return false;
	_free_ char *path = full_path(f, d->entry);
	if (!store->recall_file(store->arg, path, s, &d->address))
		return false;
	d->size = s->size;
	if (d->size <= DATA_SMALL_MAX)
		return true;
	return store->recall_blob && store->recall_blob(store->arg, &d->address, &d->chunks) &&
	       d->chunks.size == d->size;
}

static void learn(struct feeder *f, const struct feed *d, const struct signature *s)
{
	const struct seal_store *store = f->job.options->store;
	if (!store->learn_file || is_young(s))
		return;
	_free_ char *path = full_path(f, d->entry);
	store->learn_file(store->arg, path, s, &d->address);
}

static void fill(struct feeder *f, struct feed *d, uint8_t *room)
{
	struct seal_progress *p = f->job.progress;
	char text[160];
	struct signature first = builder_entry(f->job.builder, d->entry)->signature;
	if (recall(f, d)) {
		__atomic_fetch_add(&p->bytes_done, d->size, __ATOMIC_RELAXED);
		__atomic_fetch_add(&p->files_done, 1, __ATOMIC_RELAXED);
		return;
	}
	_close_ int fd = open_entry(f, d->entry);
	struct reading from = {.fd = fd, .room = room};
	const struct signature *s = &from.before;
	int r = fd < 0 ? fd : -ESTALE;
	for (int i = 0; i < TRIES && r == -ESTALE && fd >= 0; i++)
		r = read_once(f, d, &from);
	if (r == 0) {
		learn(f, d, s);
		if (d->size <= DATA_SMALL_MAX)
			__atomic_fetch_add(&p->bytes_done, d->size, __ATOMIC_RELAXED);
		__atomic_fetch_add(&p->files_done, 1, __ATOMIC_RELAXED);
		return;
	}
	d->error = r;
	if (r == -ESTALE) {
		char change[160];
		snprintf(change, sizeof change,
			 "changes while it is read: was %llu bytes of %lld.%09u, is %llu bytes of %lld.%09u",
			 (unsigned long long)first.size, (long long)first.mtime_sec, first.mtime_nsec,
			 (unsigned long long)s->size, (long long)s->mtime_sec, s->mtime_nsec);
		report(f, d->entry, change);
	} else if (r != -ECANCELED) {
		report(f, d->entry, strerror_r(-r, text, sizeof text));
	}
}

static bool is_ready(const struct feed *d)
{
	return __atomic_load_n(&d->is_ready, __ATOMIC_ACQUIRE);
}

/* Locked. The last to be filled may be one in the middle, so the next one is looked at as well. */
static void wake_assembler(struct feeder *f, uint32_t n_filled)
{
	if (f->n_wanted && n_filled >= f->n_wanted && is_ready(&f->slots[f->next_to_empty % WINDOW])) {
		f->n_wanted = 0;
		pthread_cond_signal(&f->filled);
	}
}

/* Locked: the next slot to fill. False: the end. */
static bool take_slot(struct feeder *f, uint32_t *i)
{
	while (!f->is_stopping && f->next_to_fill < f->job.n_files && f->next_to_fill - f->next_to_empty >= WINDOW) {
		wake_assembler(f, UINT32_MAX);
		f->n_waiting++;
		pthread_cond_wait(&f->emptied, &f->lock);
		f->n_waiting--;
	}
	if (f->is_stopping || f->next_to_fill >= f->job.n_files)
		return false;
	*i = f->next_to_fill++;
	return true;
}

static void *feeder_thread(void *arg)
{
	struct feeder *f = arg;
	uint32_t i;
	/* Of whole pages, so that a store may hand it to a disk as it is. */
	_free_ uint8_t *room = aligned_alloc(4096, BLOCK);
	if (!room)
		abort();
	pthread_mutex_lock(&f->lock);
	while (take_slot(f, &i)) {
		struct feed *d = &f->slots[i % WINDOW];
		assert(!is_ready(d));
		/* Not as a whole: the assembler looks at is_ready meanwhile. */
		d->entry = f->job.files[i];
		d->place = i;
		d->error = 0;
		pthread_mutex_unlock(&f->lock);
		fill(f, d, room);
		pthread_mutex_lock(&f->lock);
		__atomic_store_n(&d->is_ready, true, __ATOMIC_RELEASE);
		wake_assembler(f, ++f->n_filled);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

struct feeder *feeder_new(const struct feeder_job *job)
{
	struct feeder *f = NEW(struct feeder);
	pthread_condattr_t attributes;
	f->job = *job;
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&f->filled, &attributes);
	pthread_cond_init(&f->emptied, NULL);
	pthread_condattr_destroy(&attributes);
	f->linked = linked_new();
	unsigned wanted = min(max(job->n_threads, THREADS_LEAST), (unsigned)countof(f->threads));
	wanted = min(wanted, max(job->n_files, 1u)); /* a lone output is not worth four */
	while (f->n_threads < wanted && pthread_create(&f->threads[f->n_threads], NULL, feeder_thread, f) == 0)
		f->n_threads++;
	if (!f->n_threads)
		abort(); /* no thread at all: as bad as no memory */
	return f;
}

static void feed_clear(struct feed *d)
{
	free(steal(d->bytes));
	forget_chunks(d);
	__atomic_store_n(&d->is_ready, false, __ATOMIC_RELAXED);
}

void feeder_free(struct feeder *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	__atomic_store_n(&f->is_stopping, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&f->emptied);
	pthread_mutex_unlock(&f->lock);
	while (f->n_threads)
		pthread_join(f->threads[--f->n_threads], NULL);
	for (unsigned i = 0; i < WINDOW; i++)
		feed_clear(&f->slots[i]);
	linked_free(f->linked);
	pthread_cond_destroy(&f->filled);
	pthread_cond_destroy(&f->emptied);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Locked. */
static void say_emptied(struct feeder *f)
{
	f->next_to_empty = f->next;
	if (f->n_waiting)
		pthread_cond_broadcast(&f->emptied);
}

const struct feed *feeder_next(struct feeder *f, int msec)
{
	struct timespec until;
	assert(f->next < f->job.n_files);
	const struct feed *d = &f->slots[f->next % WINDOW];
	if (is_ready(d))
		return d;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)msec * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&f->lock);
	say_emptied(f);
	f->n_wanted = min(f->next + BATCH, f->job.n_files);
	wake_assembler(f, f->n_filled);
	for (int r = 0; f->n_wanted && r == 0;)
		r = pthread_cond_timedwait(&f->filled, &f->lock, &until);
	f->n_wanted = 0;
	pthread_mutex_unlock(&f->lock);
	return is_ready(d) ? d : NULL;
}

void feeder_done(struct feeder *f)
{
	assert(is_ready(&f->slots[f->next % WINDOW]));
	feed_clear(&f->slots[f->next++ % WINDOW]);
	if (f->next % BATCH)
		return;
	pthread_mutex_lock(&f->lock);
	say_emptied(f);
	pthread_mutex_unlock(&f->lock);
}

int feeder_load(struct feeder *f, uint32_t entry, uint64_t size, const struct digest *address, void *p)
{
	struct digest found;
	_close_ int fd = open_entry(f, entry);
	if (fd < 0)
		return fd;
	int r = read_fully(fd, p, (size_t)size, 0);
	if (r < 0)
		return r;
	__atomic_fetch_add(&f->job.progress->bytes_read, size, __ATOMIC_RELAXED);
	data_address_of(p, (size_t)size, &found);
	return digest_is_equal(&found, address) ? 0 : -ESTALE;
}
