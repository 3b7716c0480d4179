/* SPDX-License-Identifier: Apache-2.0
 * What threads of the pool do of a sealing: the path is walked, read, stored, published. */
#include "vinefs/fetch/sealing.h"

#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define YOUNG_SEC 2 /* a file may change again within its time stamp's grain */

/* Of the cache's disk, not of the source's. */
static int note_store(struct sealing *s, int r)
{
	int none = 0;
	if (r < 0)
		__atomic_compare_exchange_n(&s->store_error, &none, r, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return r;
}

/* What seal.c says of the files it was just then at, whose disk is well. */
static void forget_lines(struct seal_report *r, const char *end)
{
	unsigned n = 0;
	size_t n_end = strlen(end);
	for (unsigned i = 0; i < r->n; i++) {
		size_t n_line = strlen(r->lines[i]);
		if (n_line >= n_end && streq(r->lines[i] + n_line - n_end, end))
			free(r->lines[i]);
		else
			r->lines[n++] = r->lines[i];
	}
	r->n = n;
}

/* A line for a person in every case. */
static int complain(struct sealing *s, int error)
{
	char text[CACHE_TEXT_SIZE], name[128];
	int of_store = __atomic_load_n(&s->store_error, __ATOMIC_RELAXED);
	if (error == 0 || error == -ECANCELED || !of_store) {
		if (error && !s->errors.n)
			seal_report_add(&s->errors, "%s: %s", s->path, strerror_r(-error, name, sizeof name));
		return error;
	}
	/* A cache that fell sick on the way refused what came later by this one, which no source gives to who reads. */
	forget_lines(&s->errors, strerror_r(EROFS, name, sizeof name));
	const char *what = strerror_r(-of_store, name, sizeof name);
	forget_lines(&s->errors, what);
	if (!cache_explain(s->fetch->settings.cache, of_store, text))
		snprintf(text, sizeof text, "the node's cache, not this path: %s", what);
	seal_report_add(&s->errors, "%s: %s", s->path, text);
	return error == -EROFS ? -EIO : error;
}

static int find_kind(struct sealing *s, const struct stat *st)
{
	enum fetch_kind *kind = &s->record.kind;
	if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode)) {
		seal_report_add(&s->errors, "%s: neither a directory nor a file", s->path);
		return -EINVAL;
	}
	if (*kind == FETCH_AUTO)
		*kind = S_ISDIR(st->st_mode)         ? FETCH_DIRECTORY
			: source_is_archive(s->path) ? FETCH_ARCHIVE
						     : FETCH_FILE;
	if ((*kind == FETCH_DIRECTORY) != S_ISDIR(st->st_mode))
		return S_ISDIR(st->st_mode) ? -EISDIR : -ENOTDIR;
	return 0;
}

static bool is_young(const struct signature *g)
{
	return max(g->mtime_sec, g->ctime_sec) + YOUNG_SEC >= (int64_t)time(NULL);
}

static bool is_as_before(const struct sealing *s, const struct stat *st)
{
	struct signature now;
	signature_of(st, &now);
	return !s->is_refresh && s->record.kind != FETCH_DIRECTORY && s->before.kind == s->record.kind &&
	       now.mtime_sec && signature_is_equal(&now, &s->before.signature) &&
	       cache_has(s->fetch->settings.cache, &s->before.id);
}

bool sealing_is_post_due(struct sealing *s)
{
	bool is_due = !s->is_posted;
	s->is_posted = true;
	return is_due;
}

static void on_progress(void *arg, const struct seal_progress *p)
{
	struct sealing *s = arg;
	pthread_mutex_lock(&s->lock);
	/* Others go on counting. */
	s->progress = (struct seal_progress){.files_found = __atomic_load_n(&p->files_found, __ATOMIC_RELAXED),
					     .files_done = __atomic_load_n(&p->files_done, __ATOMIC_RELAXED),
					     .bytes_found = __atomic_load_n(&p->bytes_found, __ATOMIC_RELAXED),
					     .bytes_done = __atomic_load_n(&p->bytes_done, __ATOMIC_RELAXED),
					     .bytes_read = __atomic_load_n(&p->bytes_read, __ATOMIC_RELAXED)};
	bool is_due = sealing_is_post_due(s);
	pthread_mutex_unlock(&s->lock);
	if (is_due)
		loop_post(s->fetch->loop, &s->post);
}

static void on_names(void *arg, struct tree *draft, struct signature *signatures)
{
	struct sealing *s = arg;
	pthread_mutex_lock(&s->lock);
	assert(!s->names && !s->draft);
	for (unsigned i = 0; i < s->notes.n; i++)
		seal_report_add(&s->names_notes, "%s", s->notes.lines[i]);
	s->names_notes.n_more = s->notes.n_more;
	s->names = draft;
	s->signatures = signatures;
	/* Contents are another node's. */
	if (s->is_left)
		__atomic_store_n(&s->is_cancelled, true, __ATOMIC_RELAXED);
	bool is_due = sealing_is_post_due(s);
	pthread_mutex_unlock(&s->lock);
	if (is_due)
		loop_post(s->fetch->loop, &s->post);
}

/* Something has to be read: a draft is worth having. */
static void note_reading(struct sealing *s)
{
	if (__atomic_exchange_n(&s->is_reading, true, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&s->lock);
	bool is_due = sealing_is_post_due(s);
	pthread_mutex_unlock(&s->lock);
	if (is_due)
		loop_post(s->fetch->loop, &s->post);
}

/* ---- the store, with an eye on those who read the draft: they go first */

static void give_way(struct sealing *s)
{
	const struct draft *d = __atomic_load_n(&s->draft, __ATOMIC_ACQUIRE);
	if (d)
		draft_give_way(d);
}

/* What the earlier ones read need not be read once more, and who comes last is remembered last. */
static void wait_turn(struct sealing *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->is_behind && !__atomic_load_n(&s->is_cancelled, __ATOMIC_RELAXED))
		pthread_cond_wait(&s->change, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static bool is_behind(struct sealing *s)
{
	pthread_mutex_lock(&s->lock);
	bool is = s->is_behind;
	pthread_mutex_unlock(&s->lock);
	return is;
}

static bool recall_file(void *arg, const char *path, const struct signature *signature, struct digest *address)
{
	struct sealing *s = arg;
	if (is_behind(s)) {
		note_reading(s);
		wait_turn(s);
	}
	if (s->inner.recall_file && s->inner.recall_file(s->inner.arg, path, signature, address))
		return true;
	note_reading(s);
	give_way(s);
	return false;
}

static bool recall_blob(void *arg, const struct digest *key, struct blob_chunks *chunks)
{
	struct sealing *s = arg;
	if (s->inner.recall_blob(s->inner.arg, key, chunks))
		return true;
	note_reading(s);
	return false;
}

static int store_begin(void *arg, uint64_t size, void **blob)
{
	struct sealing *s = arg;
	return note_store(s, s->inner.begin(s->inner.arg, size, blob));
}

static int store_write(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	struct sealing *s = arg;
	give_way(s);
	return note_store(s, s->inner.write(s->inner.arg, blob, offset, p, n));
}

static int store_commit(void *arg, void *blob, const struct blob_chunks *chunks)
{
	struct sealing *s = arg;
	return note_store(s, s->inner.commit(s->inner.arg, blob, chunks));
}

static void store_abort(void *arg, void *blob)
{
	const struct sealing *s = arg;
	s->inner.abort(s->inner.arg, blob);
}

static void learn_file(void *arg, const char *path, const struct signature *signature, const struct digest *address)
{
	const struct sealing *s = arg;
	s->inner.learn_file(s->inner.arg, path, signature, address);
}

static void learn_blob(void *arg, const struct digest *key, const struct blob_chunks *chunks)
{
	const struct sealing *s = arg;
	s->inner.learn_blob(s->inner.arg, key, chunks);
}

/* Contents that were read again may be kept already, which is no question of trust: so a refresh recalls blobs, but no files. */
static const struct seal_store *make_store(struct sealing *s)
{
	s->inner = *cache_sealing_store(s->store);
	if (s->is_refresh)
		s->inner.recall_file = NULL;
	s->store_of_draft = (struct seal_store){.arg = s,
						.begin = store_begin,
						.write = store_write,
						.commit = store_commit,
						.abort = store_abort,
						.recall_file = recall_file,
						.learn_file = learn_file,
						.recall_blob = recall_blob,
						.learn_blob = learn_blob};
	return &s->store_of_draft;
}

static int seal_kind(struct sealing *s, int fd, const struct seal_options *o, void **vti, size_t *n)
{
	switch (s->record.kind) {
	case FETCH_DIRECTORY:
		return seal_directory(fd, s->path, o, vti, n, &s->errors, &s->notes);
	case FETCH_ARCHIVE:
		return seal_archive(fd, s->path, o, vti, n, &s->errors, &s->notes);
	case FETCH_FILE:
		return seal_file(fd, s->path, o, vti, n, &s->errors);
	case FETCH_AUTO:
		break;
	}
	assert(!"found before");
	return -EINVAL;
}

/* Reads what is not a directory's; those look after each file themselves. */
static int check_unchanged(struct sealing *s, int fd, const struct stat *before)
{
	struct stat after;
	struct signature a, b;
	if (s->record.kind == FETCH_DIRECTORY)
		return 0;
	if (fstat(fd, &after) < 0)
		return -errno;
	signature_of(before, &a);
	signature_of(&after, &b);
	if (!signature_is_equal(&a, &b)) {
		seal_report_add(&s->errors, "%s changes while it is read: it was %llu bytes, it is %llu", s->path,
				(unsigned long long)a.size, (unsigned long long)b.size);
		return -ESTALE;
	}
	if (!is_young(&a))
		s->record.signature = a;
	return 0;
}

static int seal(struct sealing *s)
{
	struct fetch *f = s->fetch;
	const struct seal_options o = {.store = make_store(s),
				       .n_threads = f->settings.n_seal_threads,
				       .on_progress = on_progress,
				       .on_names = s->is_draft_wanted ? on_names : NULL,
				       .arg = s,
				       .is_cancelled = &s->is_cancelled};
	_free_ void *vti = NULL;
	struct stat st;
	size_t n = 0;
	_close_ int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	int r = find_kind(s, &st);
	if (r == 0 && is_as_before(s, &st)) {
		s->record = s->before;
		return 0;
	}
	if (r == 0)
		r = seal_kind(s, fd, &o, &vti, &n);
	if (r == 0)
		r = check_unchanged(s, fd, &st);
	if (r == 0)
		r = note_store(s, cache_publish(f->settings.cache, vti, n, &s->record.id));
	uint64_t dropped = cache_sealing_dropped(s->store);
	char why[CACHE_TEXT_SIZE];
	if (r == 0 && dropped && cache_explain(f->settings.cache, -ENOSPC, why))
		seal_report_add(&s->notes, "%s: %llu bytes stay at their source, for which there is no room: %s",
				s->path, (unsigned long long)dropped, why);
	return r;
}

void sealing_run(struct pool_job *j)
{
	struct sealing *s = container_of(j, struct sealing, job);
	__atomic_store_n(&s->is_begun, true, __ATOMIC_SEQ_CST); /* before the first look */
	bool is_over = j->is_dropped || __atomic_load_n(&s->is_cancelled, __ATOMIC_RELAXED);
	s->error = complain(s, is_over ? -ECANCELED : seal(s));
	if (!is_over)
		wait_turn(s);
}

void sealing_save(struct pool_job *j)
{
	struct sealing *s = container_of(j, struct sealing, job);
	int r = 0;
	if (s->text)
		r = j->is_dropped ? -ECANCELED : sources_write(s->fetch, s->text, s->n_text);
	/* The tree is there; only what is evicted later could not be read again after a restart. */
	if (r < 0)
		log_warn("%s/sources cannot be written: %s", s->fetch->directory, strerror(-r));
	/* Who is told that a tree has his name relies on it, whatever dies next; and who seals again at once finds what was digested. */
	if (!j->is_dropped)
		cache_flush(s->fetch->settings.cache);
}
