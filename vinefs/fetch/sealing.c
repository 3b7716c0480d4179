/* SPDX-License-Identifier: Apache-2.0
 * asked for -> in the pool: walked, read, stored, published -> on the loop: named, remembered as a source -> in the pool: `sources` and names are written -> callers
 * are told. Callers of one path join the sealing that runs, up to the end of the first stage. */
#include "vinefs/fetch/internal.h"

#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define STALL_USEC 10000000u /* it stands still: its filesystem is dead, and others are not to wait for it */
#define LOOK_USEC 1000000u
#define YOUNG_SEC 2 /* a file may change again within its time stamp's grain */

struct sealing {
	struct list link;
	struct fetch *fetch;
	struct list callers;
	char *path;
	bool is_refresh, is_cancelled, is_ended; /* cancelled: atomic. Ended: nobody can join */
	bool has_names;
	uint64_t moved_usec;       /* the loop saw it get on */
	struct seal_progress seen; /* then */
	struct record record;                    /* what it will have been */
	struct record before; /* what it was the last time; of kind AUTO: nothing that is worth knowing */
	struct pool_job job;
	struct cache_sealing *store;
	struct seal_report errors, notes;
	int error;
	int store_error; /* the first of the cache's; atomic */
	char *text; /* of `sources` */
	size_t n_text;
	/* ---- from the pool's threads to the loop */
	pthread_mutex_t lock;
	struct seal_progress progress;
	struct tree *names; /* until they are a draft */
	struct signature *signatures;
	struct seal_report names_notes; /* of the walk */
	struct post post;
	bool is_posted;
	/* ---- a draft of it */
	struct draft *draft;  /* set once, by the loop; threads look at it */
	bool is_reading;      /* some content is not remembered; atomic */
	bool is_draft_wanted; /* by its first caller; others get what there is */
	bool is_handed_out;   /* it goes on to its end, whoever leaves */
	struct seal_store inner, store_of_draft;
};

static void sealing_free(struct sealing *s)
{
	assert(list_is_empty(&s->callers) && !s->is_posted && !s->store && !s->draft);
	seal_report_fini(&s->names_notes);
	tree_free(s->names);
	free(s->signatures);
	seal_report_fini(&s->errors);
	seal_report_fini(&s->notes);
	pthread_mutex_destroy(&s->lock);
	free(s->text);
	free(s->path);
	free(s);
}

/* ---- pool */

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
	const char *what = strerror_r(-of_store, name, sizeof name);
	forget_lines(&s->errors, what);
	if (!cache_explain(s->fetch->settings.cache, of_store, text))
		snprintf(text, sizeof text, "the node's cache, not this path: %s", what);
	seal_report_add(&s->errors, "%s: %s", s->path, text);
	return error;
}

static int find_kind(struct sealing *s, const struct stat *st)
{
	enum fetch_kind *kind = &s->record.kind;
	if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode)) {
		seal_report_add(&s->errors, "%s: neither a directory nor a file", s->path);
		return -EINVAL;
	}
	if (*kind == FETCH_AUTO)
		*kind = S_ISDIR(st->st_mode) ? FETCH_DIRECTORY : source_is_archive(s->path) ? FETCH_ARCHIVE : FETCH_FILE;
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

static void on_progress_post(struct post *p);

/* Locked. The loop is to look. */
static bool is_post_due(struct sealing *s)
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
	bool is_due = is_post_due(s);
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
	bool is_due = is_post_due(s);
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
	bool is_due = is_post_due(s);
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

static bool recall_file(void *arg, const char *path, const struct signature *signature, struct digest *address)
{
	struct sealing *s = arg;
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

static void seal_run(struct pool_job *j)
{
	struct sealing *s = container_of(j, struct sealing, job);
	bool is_over = j->is_dropped || __atomic_load_n(&s->is_cancelled, __ATOMIC_RELAXED);
	s->error = complain(s, is_over ? -ECANCELED : seal(s));
}

static void save_run(struct pool_job *j)
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

/* ---- loop */

/* Those for whom a draft will do hear of it, and no more after that. */
static void hand_out(struct sealing *s)
{
	pthread_mutex_lock(&s->lock);
	struct tree *names = steal(s->names);
	struct signature *signatures = steal(s->signatures);
	pthread_mutex_unlock(&s->lock);
	if (names)
		__atomic_store_n(&s->draft, draft_new(s->fetch, s->path, names, signatures), __ATOMIC_RELEASE);
	bool is_reading = __atomic_load_n(&s->is_reading, __ATOMIC_RELAXED) && !s->is_ended;
	list_foreach (&s->callers, struct fetch_seal, link, c) {
		if (!s->draft || !c->on_draft || c->name || !(is_reading || c->is_any_draft) || s->is_cancelled)
			continue;
		s->is_handed_out = true;
		list_remove(&c->link);
		c->sealing = NULL;
		c->on_draft(c, draft_tell(s->draft), draft_index(s->draft), &s->names_notes);
	}
}

static void on_progress_post(struct post *p)
{
	struct sealing *s = container_of(p, struct sealing, post);
	pthread_mutex_lock(&s->lock);
	struct seal_progress progress = s->progress;
	s->is_posted = false;
	pthread_mutex_unlock(&s->lock);
	if (!s->is_ended) {
		hand_out(s);
		if (s->draft)
			draft_progress(s->draft, &progress);
	}
	/* The end may have overtaken it. */
	if (s->is_ended && list_is_empty(&s->link)) {
		sealing_free(s);
		return;
	}
	list_foreach (&s->callers, struct fetch_seal, link, c) {
		if (c->on_progress)
			c->on_progress(c, &progress);
	}
}

/* Gives the tree the names of its callers. */
static void give_names(struct sealing *s)
{
	assert(!s->error && s->is_ended);
	list_foreach (&s->callers, struct fetch_seal, link, c) {
		c->error = c->name ? cache_name(s->fetch->settings.cache, c->name, &s->record.id) : 0;
		s->has_names |= c->name && !c->error;
		if (c->error)
			seal_report_add(&s->errors, "%s: %s", c->name,
					c->error == -EINVAL ? "not a name: 1 to 200 letters, digits and . _ - + / @ :"
							    : strerror(-c->error));
	}
}

static void tell(struct sealing *s)
{
	while (!list_is_empty(&s->callers)) {
		struct fetch_seal *c = list_first(&s->callers, struct fetch_seal, link);
		int r = s->error ? s->error : c->error;
		list_remove(&c->link);
		c->sealing = NULL;
		free(steal(c->name));
		c->on_done(c, r, r ? NULL : &s->record.id, &s->errors, &s->notes);
	}
	list_remove(&s->link);
	if (s->draft) {
		struct draft *d = s->draft;
		draft_over(d, s->error, &s->record.id, &s->errors);
		s->draft = NULL;
		draft_unref(d);
	}
	/* What it stored is held until here, so that a caller can take his lease. */
	cache_sealing_free(steal(s->store));
	pthread_mutex_lock(&s->lock);
	bool is_posted = s->is_posted;
	pthread_mutex_unlock(&s->lock);
	if (!is_posted)
		sealing_free(s);
}

static void save_done(struct pool_job *j)
{
	tell(container_of(j, struct sealing, job));
}

static void seal_done(struct pool_job *j)
{
	struct sealing *s = container_of(j, struct sealing, job);
	struct fetch *f = s->fetch;
	struct timespec now;
	s->is_ended = true;
	hand_out(s);
	if (s->draft && !s->is_handed_out) /* nobody was told of it */
		draft_drop(steal(s->draft));
	else if (s->draft)
		draft_progress(s->draft, &s->progress);
	if (s->error) {
		tell(s);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	s->record.sealed_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	COUNT(f, n_sealed, 1);
	COUNT(f, sealed_size, s->progress.bytes_done);
	COUNT(f, seal_read_size, s->progress.bytes_read);
	give_names(s);
	bool is_new = source_learn(f, s->path, &s->record);
	if (!is_new && !s->has_names) {
		tell(s);
		return;
	}
	s->text = is_new ? sources_text(f, &s->n_text) : NULL;
	s->job = (struct pool_job){.run = save_run, .on_done = save_done};
	pool_put(f->pool, &s->job, POOL_SOON, &f->save_lane);
}

static struct sealing *find_running(const struct fetch *f, const char *path, const struct fetch_seal *c)
{
	list_foreach (&f->sealings, struct sealing, link, s) {
		if (streq(s->path, path) && !s->is_ended && !s->is_cancelled && s->is_refresh >= c->is_refresh &&
		    (c->kind == FETCH_AUTO || c->kind == s->record.kind))
			return s;
	}
	return NULL;
}

static struct sealing *sealing_new(struct fetch *f, const char *path, const struct fetch_seal *c)
{
	struct sealing *s = NEW(struct sealing);
	const struct source *known = source_get(f, path);
	struct cache_list list = {0};
	s->fetch = f;
	s->path = xstrdup(path);
	s->is_refresh = c->is_refresh;
	s->is_draft_wanted = c->on_draft;
	s->record.kind = c->kind;
	if (known)
		s->before = *list_first(&known->records, struct record, link);
	/* Its index may have gone since. */
	if (known && cache_show(f->settings.cache, &s->before.id, &list) < 0)
		s->before = (struct record){0};
	cache_list_fini(&list);
	s->store = cache_sealing_new(f->settings.cache, true);
	list_init(&s->link);
	list_init(&s->callers);
	pthread_mutex_init(&s->lock, NULL);
	s->post.on_post = on_progress_post;
	s->job.run = seal_run;
	s->job.on_done = seal_done;
	list_append(&f->sealings, &s->link);
	return s;
}

/* ---- those that stand still give their places to others, up to a bound of threads */

static bool is_stalled(struct sealing *s, uint64_t now)
{
	pthread_mutex_lock(&s->lock);
	struct seal_progress p = s->progress;
	pthread_mutex_unlock(&s->lock);
	bool is_moving = s->is_ended || !pool_began_usec(s->fetch->pool, &s->job) || !s->moved_usec ||
			 memcmp(&p, &s->seen, sizeof p) != 0;
	s->seen = p;
	if (is_moving)
		s->moved_usec = now;
	return s->moved_usec + STALL_USEC <= now;
}

static void on_stall_timer(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, stall_timer);
	uint64_t now = loop_now_usec(f->loop);
	unsigned n_stalled = 0, n_drafts = 0;
	list_foreach (&f->sealings, struct sealing, link, s)
		*(s->is_draft_wanted ? &n_drafts : &n_stalled) += is_stalled(s, now);
	pool_lane_limit(f->pool, &f->seal_lane, min(N_SEALINGS + n_stalled, N_SEALINGS_MOST));
	pool_lane_limit(f->pool, &f->draft_lane, min(N_DRAFTS + n_drafts, N_SEALINGS_MOST));
	if (!list_is_empty(&f->sealings))
		timer_start(t, f->loop, LOOK_USEC, on_stall_timer);
}

int fetch_seal_start(struct fetch *f, struct fetch_seal *s, const char *path, const char *name)
{
	assert(s->on_done && !s->sealing);
	if (*path != '/' || f->is_stopping)
		return *path != '/' ? -EINVAL : -ECANCELED;
	_free_ char *clean = xstrdup(path);
	for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
		clean[n - 1] = 0;
	struct sealing *x = find_running(f, clean, s);
	bool is_new = !x;
	if (is_new)
		x = sealing_new(f, clean, s);
	s->sealing = x;
	s->name = name ? xstrdup(name) : NULL;
	list_init(&s->link);
	list_append(&x->callers, &s->link);
	if (!f->stall_timer.loop)
		timer_start(&f->stall_timer, f->loop, LOOK_USEC, on_stall_timer);
	if (is_new) {
		pool_put(f->pool, &x->job, POOL_SOON, x->is_draft_wanted ? &f->draft_lane : &f->seal_lane);
		return 0;
	}
	/* It may have a draft already. */
	pthread_mutex_lock(&x->lock);
	bool is_due = is_post_due(x);
	pthread_mutex_unlock(&x->lock);
	if (is_due)
		loop_post(f->loop, &x->post);
	return 0;
}

void fetch_seal_stop(struct fetch_seal *s)
{
	struct sealing *x = s->sealing;
	if (!x)
		return;
	list_remove(&s->link);
	free(steal(s->name));
	s->sealing = NULL;
	if (list_is_empty(&x->callers) && !x->is_handed_out)
		__atomic_store_n(&x->is_cancelled, true, __ATOMIC_RELAXED);
}

void sealing_cancel_all(struct fetch *f)
{
	list_foreach (&f->sealings, struct sealing, link, s)
		__atomic_store_n(&s->is_cancelled, true, __ATOMIC_RELAXED);
}
