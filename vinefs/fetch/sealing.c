/* SPDX-License-Identifier: Apache-2.0
 * asked for -> its turn -> in the pool: walked, read, stored, published -> on the loop: named, remembered as a source -> in the pool: `sources` and names are written -> callers
 * are told. Who asks for a path shares a sealing that does not look at it yet; else there is another, behind or beside. */
#include "vinefs/fetch/sealing.h"

#include "common/log.h"

#include <stdio.h>
#include <time.h>

#define STALL_USEC 10000000u /* it stands still: its filesystem is dead, and others are not to wait for it */
#define LOOK_USEC 1000000u
#define N_BESIDE 3u /* sealings of one path under way: so other paths find a place in their lane */

static void sealing_free(struct sealing *s)
{
	assert(list_is_empty(&s->callers) && !s->is_posted && !s->store && !s->draft);
	seal_report_fini(&s->names_notes);
	tree_free(s->names);
	free(s->signatures);
	seal_report_fini(&s->errors);
	seal_report_fini(&s->notes);
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
	free(s->text);
	free(s->path);
	free(s);
}

/* ---- several of one path: each shows what is there after it was asked for */

static bool is_of(const struct sealing *s, const char *path)
{
	return streq(s->path, path) && !s->is_ended && !__atomic_load_n(&s->is_cancelled, __ATOMIC_RELAXED);
}

bool sealing_has_names(const struct fetch *f, const char *path)
{
	list_foreach (&f->sealings, struct sealing, link, s) {
		/* One that is left to another node is cancelled when it has its names. */
		if (s->is_draft_wanted && (is_of(s, path) || (s->is_left && !s->is_ended && streq(s->path, path))))
			return true;
	}
	return false;
}

/* One that does not look yet sees all that was there when `c` asked. Whoever takes any draft wants what was there before, if anything, and compares. */
static struct sealing *find_shared(const struct fetch *f, const char *path, const struct fetch_seal *c)
{
	list_foreach (&f->sealings, struct sealing, link, s) {
		if (is_of(s, path) && s->is_left <= c->is_left &&
		    (c->is_any_draft || !__atomic_load_n(&s->is_begun, __ATOMIC_SEQ_CST)) &&
		    s->is_refresh >= c->is_refresh && (c->kind == FETCH_AUTO || c->kind == s->record.kind) &&
		    (!c->on_draft || s->is_draft_wanted))
			return s;
	}
	return NULL;
}

static unsigned count_earlier(const struct sealing *s, unsigned *n_begun, unsigned *n_walking)
{
	unsigned n = 0;
	*n_begun = *n_walking = 0;
	list_foreach (&s->fetch->sealings, struct sealing, link, x) {
		if (x == s)
			break;
		if (!is_of(x, s->path))
			continue;
		n++;
		*n_begun += x->is_put;
		*n_walking += x->is_draft_wanted && !x->draft;
	}
	return n;
}

/* For a draft it walks beside those that read, but one of a path at a time: so all who ask meanwhile share the next. Others have no use for names alone. */
static bool is_due(const struct sealing *s)
{
	unsigned n_begun, n_walking, n = count_earlier(s, &n_begun, &n_walking);
	if (__atomic_load_n(&s->is_cancelled, __ATOMIC_RELAXED) || s->fetch->is_stopping)
		return true;
	return s->is_draft_wanted ? n_begun < N_BESIDE && !n_walking : !n;
}

static void put(struct sealing *s)
{
	struct fetch *f = s->fetch;
	const struct source *known = source_get(f, s->path);
	struct cache_list list = {0};
	assert(!s->is_put);
	if (known)
		s->before = *list_first(&known->records, struct record, link);
	/* Its index may have gone since. */
	if (known && cache_show(f->settings.cache, &s->before.id, &list) < 0)
		s->before = (struct record){0};
	cache_list_fini(&list);
	s->is_put = true;
	pool_put(f->pool, &s->job, POOL_SOON, s->is_draft_wanted ? &f->draft_lane : &f->seal_lane);
}

/* Something has become of one of this path: whose turn is it? */
static void go_on(struct fetch *f, const char *path)
{
	list_foreach (&f->sealings, struct sealing, link, s) {
		unsigned n_begun, n_walking;
		if (s->is_ended || !streq(s->path, path))
			continue;
		pthread_mutex_lock(&s->lock);
		s->is_behind = count_earlier(s, &n_begun, &n_walking) > 0;
		pthread_cond_broadcast(&s->change);
		pthread_mutex_unlock(&s->lock);
		if (!s->is_put && is_due(s))
			put(s);
	}
}

static void cancel(struct sealing *s)
{
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&s->is_cancelled, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
}

static void move_callers(struct sealing *from, struct sealing *to)
{
	while (!list_is_empty(&from->callers)) {
		struct fetch_seal *c = list_first(&from->callers, struct fetch_seal, link);
		list_remove(&c->link);
		list_append(&to->callers, &c->link);
		c->sealing = to;
	}
}

/* ---- what callers get */

/* An earlier one that saw the very same: a second sealing of it would bring nothing. */
static struct sealing *find_twin(struct sealing *s)
{
	list_foreach (&s->fetch->sealings, struct sealing, link, x) {
		if (x == s)
			break;
		if (is_of(x, s->path) && x->draft && s->draft && x->is_refresh >= s->is_refresh &&
		    draft_is_same(x->draft, s->draft))
			return x;
	}
	return s;
}

/* Those for whom a draft will do hear of it, and no more after that. */
static void hand_out(struct sealing *s)
{
	pthread_mutex_lock(&s->lock);
	struct tree *names = steal(s->names);
	struct signature *signatures = steal(s->signatures);
	pthread_mutex_unlock(&s->lock);
	if (names) {
		struct draft *d = draft_new(s->fetch, s->path, names, signatures);
		if (s->is_left)
			draft_leave(d, false);
		__atomic_store_n(&s->draft, d, __ATOMIC_RELEASE);
		go_on(s->fetch, s->path);
	}
	bool is_reading = __atomic_load_n(&s->is_reading, __ATOMIC_RELAXED) && !s->is_ended;
	struct sealing *twin = s->is_handed_out ? s : find_twin(s);
	list_foreach (&s->callers, struct fetch_seal, link, c) {
		if (!s->draft || !c->on_draft || c->name || !(is_reading || c->is_any_draft || s->is_left) ||
		    (s->is_cancelled && !s->is_left))
			continue;
		twin->is_handed_out = true;
		list_remove(&c->link);
		c->sealing = NULL;
		c->on_draft(c, draft_tell(twin->draft), draft_index(twin->draft), &s->names_notes);
	}
	/* Who waits for all of it as well: what the twin seals is what was there. */
	if (twin != s && is_reading)
		move_callers(s, twin);
	bool is_needless = twin != s || (s->is_left && s->is_handed_out);
	if (is_needless && list_is_empty(&s->callers)) {
		cancel(s);
		go_on(s->fetch, s->path);
	}
}

static void tell_read(struct sealing *s, const struct seal_progress *p, const struct digest *id)
{
	uint64_t size = p->bytes_read - min(s->told_size, p->bytes_read);
	s->told_size += size;
	if (size || id)
		fetch_count_source(s->fetch, s->path, id, size, true);
}

static void on_progress_post(struct post *p)
{
	struct sealing *s = container_of(p, struct sealing, post);
	pthread_mutex_lock(&s->lock);
	struct seal_progress progress = s->progress;
	s->is_posted = false;
	pthread_mutex_unlock(&s->lock);
	if (!s->is_ended) {
		tell_read(s, &progress, NULL);
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
	/* Drafts that were left to another node, which has left, too. */
	if (!s->error)
		fetch_told(s->fetch, s->path, &s->record.id);
	if (s->draft) {
		struct draft *d = s->draft;
		if (!s->is_left)
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
	tell_read(s, &s->progress, s->error ? NULL : &s->record.id);
	if (s->error) {
		go_on(f, s->path);
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
	go_on(f, s->path);
	if (!is_new && !s->has_names) {
		tell(s);
		return;
	}
	s->text = is_new ? sources_text(f, &s->n_text) : NULL;
	s->job = (struct pool_job){.run = sealing_save, .on_done = save_done};
	pool_put(f->pool, &s->job, POOL_SOON, &f->save_lane);
}

static struct sealing *sealing_new(struct fetch *f, const char *path, const struct fetch_seal *c)
{
	struct sealing *s = NEW(struct sealing);
	s->fetch = f;
	s->path = xstrdup(path);
	s->is_refresh = c->is_refresh;
	s->is_draft_wanted = c->on_draft;
	s->is_left = c->is_left;
	s->record.kind = c->kind;
	s->store = cache_sealing_new(f->settings.cache, true);
	list_init(&s->link);
	list_init(&s->callers);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->change, NULL);
	s->post.on_post = on_progress_post;
	s->job.run = sealing_run;
	s->job.on_done = seal_done;
	list_append(&f->sealings, &s->link);
	return s;
}

static bool is_for_all(const struct sealing *s, enum fetch_kind kind)
{
	list_foreach (&s->callers, struct fetch_seal, link, c)
		if (c->kind != FETCH_AUTO && c->kind != kind)
			return false;
	return true;
}

/* Who waits for all of it gets what a draft's sealing finds, which looks later than he asked. Of two beside each other each would walk, and the one without a draft would know nothing
 * of readers who go first. One that is at the contents goes on: what it has read is not read again. */
static void take_over_earlier(struct sealing *s, enum fetch_kind kind)
{
	assert(s->is_draft_wanted && !s->is_put);
	list_foreach (&s->fetch->sealings, struct sealing, link, x) {
		if (x == s)
			break;
		if (!is_of(x, s->path) || x->is_draft_wanted || x->is_refresh > s->is_refresh ||
		    __atomic_load_n(&x->is_reading, __ATOMIC_RELAXED) || !is_for_all(x, kind))
			continue;
		move_callers(x, s);
		cancel(x);
	}
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

bool fetch_seal_is_stalled(const struct fetch_seal *s)
{
	const struct sealing *x = s->sealing;
	return x && !x->is_ended && x->moved_usec && x->moved_usec + STALL_USEC <= loop_now_usec(x->fetch->loop);
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
	s->name = name ? xstrdup(name) : NULL;
	if (!s->is_left || !naming_start(f, s, clean))
		sealing_start(f, s, clean);
	return 0;
}

void sealing_start(struct fetch *f, struct fetch_seal *s, const char *path)
{
	struct sealing *x = find_shared(f, path, s);
	bool is_new = !x;
	if (is_new)
		x = sealing_new(f, path, s);
	s->sealing = x;
	list_init(&s->link);
	list_append(&x->callers, &s->link);
	if (!f->stall_timer.loop)
		timer_start(&f->stall_timer, f->loop, LOOK_USEC, on_stall_timer);
	if (is_new) {
		if (s->on_draft && !s->is_left)
			take_over_earlier(x, s->kind);
		go_on(f, path);
		return;
	}
	/* It may have a draft already. */
	pthread_mutex_lock(&x->lock);
	bool is_looking = sealing_is_post_due(x);
	pthread_mutex_unlock(&x->lock);
	if (is_looking)
		loop_post(f->loop, &x->post);
}

void fetch_seal_stop(struct fetch_seal *s)
{
	struct sealing *x = s->sealing;
	if (s->naming)
		naming_leave(s);
	if (!x)
		return;
	list_remove(&s->link);
	free(steal(s->name));
	s->sealing = NULL;
	if (!list_is_empty(&x->callers) || x->is_handed_out)
		return;
	cancel(x);
	go_on(x->fetch, x->path);
}

void sealing_cancel_all(struct fetch *f)
{
	assert(f->is_stopping);
	list_foreach (&f->sealings, struct sealing, link, s) {
		cancel(s);
		if (!s->is_put)
			put(s);
	}
}
