/* SPDX-License-Identifier: Apache-2.0
 * asked for -> the trees that overlays lay over are opened -> the pool (outputs_look.c) -> leases -> targets (outputs_keep.c) -> told. A work outlives its job while a thread has it. */
#include "vinefs/run/outputs_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define RETRY_USEC 50000u
#define PATIENCE_USEC 60000000u /* for the sealing of an input that a task has written beside */
#define N_BESIDE 4u             /* attempts being sealed; each takes threads of its own for large outputs */

struct outputs *outputs_new(const struct outputs_settings *s)
{
	struct outputs *o = NEW(struct outputs);
	o->settings = *s;
	list_init(&o->works);
	list_init(&o->targets);
	o->lane = fetch_lane_new(N_BESIDE, true);
	return o;
}

void outputs_free(struct outputs *o)
{
	if (!o)
		return;
	assert(list_is_empty(&o->works));
	keep_free_targets(o);
	fetch_lane_free(o->lane);
	free(o);
}

/* ---- a work's life */

static void free_item(struct item *it)
{
	if (it->sealing)
		cache_sealing_free(it->sealing);
	if (it->lease)
		cache_lease_free(it->lease);
	found_fini(&it->found);
	names_fini(&it->matches);
}

void work_unref(struct outputs_work *w)
{
	assert(w->n_users);
	if (--w->n_users)
		return;
	assert(!w->job && !w->keep && !w->n_opening);
	for (size_t i = 0; i < w->n_items; i++)
		free_item(&w->items[i]);
	for (size_t i = 0; i < w->n_places; i++) {
		if (w->places[i].tree)
			fetch_close(w->places[i].tree);
		free(w->places[i].path);
		free(w->places[i].upper);
	}
	list_remove(&w->link);
	names_fini(&w->left);
	free(w->items);
	free(w->places);
	free(w->reason);
	free(w->sandbox);
	free(w->start);
	free(w);
}

static void give_job(const struct outputs_work *w, struct outputs_job *j)
{
	j->n_outputs = (uint32_t)w->n_items;
	j->outputs = xcalloc(max(w->n_items, (size_t)1), sizeof *j->outputs);
	for (size_t i = 0; i < w->n_items; i++)
		j->outputs[i] =
			(struct wire_output){.item = w->items[i].in->item,
					     .tree = w->items[i].is_made ? w->items[i].tree : (struct digest){0},
					     .size = w->items[i].is_made ? w->items[i].size : 0};
	j->left = xcalloc(max(w->left.n, (size_t)1), sizeof *j->left);
	for (size_t i = 0; i < w->left.n; i++)
		j->left[i] = xstrdup(w->left.at[i]);
	j->n_left_named = (uint32_t)w->left.n;
	j->n_left = w->n_left;
	j->written_size = w->written_size;
}

void work_finish(struct outputs_work *w)
{
	struct outputs_job *j = w->job;
	if (!j)
		return;
	if (w->n_errors > 1) {
		char *more = xasprintf("%s; and %u more", w->reason, w->n_errors - 1);
		free(w->reason);
		w->reason = more;
	}
	give_job(w, j);
	j->on_done(j, w->error, w->reason ? w->reason : "");
}

/* ---- sealed */

static bool is_resident(const struct outputs_work *w, const struct digest *id)
{
	struct cache_list list = {0};
	bool is = cache_show(w->outputs->settings.cache, id, &list) == 0 && list.n &&
		  list.at[0].resident_size == list.at[0].size;
	cache_list_fini(&list);
	return is;
}

static void lease(struct outputs_work *w, struct item *it)
{
	struct cache *cache = w->outputs->settings.cache;
	_free_ char *who = xasprintf("attempt %" PRIu64, w->start->attempt);
	int r = it->is_made ? cache_lease_new(cache, &it->tree, who, "its output, until that is known", &it->lease) : 0;
	/* Found in a record, and gone from the cache since. */
	if (r == 0 && it->is_made && !it->sealing && !is_resident(w, &it->tree))
		r = -ENODATA;
	if (it->sealing)
		cache_sealing_free(steal(it->sealing));
	if (r == 0)
		return;
	it->is_made = false;
	work_complain(w, r, "output %s was sealed, and has gone from the node's cache since", it->in->path);
}

static void on_looked(struct fetch_work *work, bool is_run)
{
	struct outputs_work *w = container_of(work, struct outputs_work, work);
	if (!is_run)
		work_complain(w, -ECANCELED, "the node is being stopped");
	for (size_t i = 0; i < w->n_items; i++)
		lease(w, &w->items[i]);
	for (size_t i = 0; i < w->n_places; i++)
		if (w->places[i].tree)
			fetch_close(steal(w->places[i].tree));
	if (w->job)
		keep_next(w);
	work_unref(w);
}

/* ---- asked for */

static void look(struct outputs_work *w)
{
	w->n_users++;
	w->work = (struct fetch_work){.run = look_run, .on_done = on_looked, .lane = w->outputs->lane};
	fetch_work(w->outputs->settings.fetch, &w->work);
}

static void opened(struct outputs_work *w)
{
	assert(w->n_opening);
	if (--w->n_opening == 0 && w->job)
		look(w);
}

/* One that cannot be opened is not known: then all of the upper counts as changed, and nothing is merged. */
static void on_opened(struct fetch_open *x, int error, struct fetch_tree *t)
{
	struct place *p = container_of(x, struct place, open);
	p->tree = error ? NULL : t;
	opened(p->work);
}

/* ---- what an overlay lies over */

static const struct wire_input *input_at(const struct outputs_work *w, const struct place *p)
{
	for (uint32_t i = 0; i < w->start->inputs.n; i++) {
		const struct wire_input *in = &w->start->inputs.at[i];
		_free_ char *path = in->mode == BINDING_OUT ? NULL : task_path(w, in->path);
		if (path && streq(path, p->path))
			return in;
	}
	return NULL;
}

/* A draft may have become a tree while the task ran. What has changed meanwhile is not guessed. */
static int open_draft(struct outputs_work *w, struct place *p, const struct wire_input *in)
{
	struct fetch *f = w->outputs->settings.fetch;
	const char *colon = in->source ? strchr(in->source, ':') : NULL;
	_free_ char *path = colon && colon[1] == '/' ? clean_path(colon + 1) : NULL;
	uint64_t draft;
	int r = path ? fetch_sealed_since(f, path, w->came_usec, &p->lower, &draft) : -ENOENT;
	if (r < 0)
		return r;
	return draft ? fetch_open_draft(f, &p->open, draft)
		     : fetch_open(f, &p->open, &p->lower, "outputs", "what a task lay over");
}

static void on_retry(struct timer *t)
{
	struct place *p = container_of(t, struct place, retry);
	struct loop *l = p->work->outputs->settings.loop;
	int r = open_draft(p->work, p, input_at(p->work, p));
	if (r == -EAGAIN && loop_now_usec(l) < p->until_usec)
		timer_start(&p->retry, l, RETRY_USEC, on_retry);
	else if (r < 0)
		opened(p->work);
}

/* Of two sealings of the path one is over and the other is not. */
static int open_draft_in_time(struct outputs_work *w, struct place *p, const struct wire_input *in)
{
	struct loop *l = w->outputs->settings.loop;
	int r = open_draft(w, p, in);
	if (r != -EAGAIN)
		return r;
	p->until_usec = loop_now_usec(l) + PATIENCE_USEC;
	timer_start(&p->retry, l, RETRY_USEC, on_retry);
	return 0;
}

static int open_lower(struct outputs_work *w, struct place *p)
{
	const struct wire_input *in = input_at(w, p);
	p->open.on_done = on_opened;
	p->is_copy = in && !p->is_overlay;
	if (in && !p->lower.algorithm)
		p->lower = in->tree;
	if (p->lower.algorithm)
		return fetch_open(w->outputs->settings.fetch, &p->open, &p->lower, "outputs", "what a task lay over");
	return in ? open_draft_in_time(w, p, in) : -ENOENT;
}

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);
	return strncmp(path, top, n) == 0 && path[n] == '/' && path[n + 1];
}

static void add_place(struct outputs_work *w, const char *path, const struct outputs_place *from)
{
	char *clean = clean_path(path);
	for (size_t i = 0; i < w->n_places; i++) {
		/* Several outputs in one directory name it several times. */
		if (clean && streq(w->places[i].path, clean)) {
			free(clean);
			return;
		}
	}
	struct place *p = &w->places[w->n_places++];
	*p = (struct place){.path = clean ? clean : xstrdup(path),
			    .upper = xstrdup(from->upper),
			    .is_overlay = from->is_overlay,
			    .is_ours = is_below(from->upper, w->sandbox),
			    .lower = from->lower,
			    .work = w};
}

static void add_places(struct outputs_work *w, const struct outputs_job *j)
{
	const struct outputs_place cwd = {.path = "", .upper = j->cwd};
	w->places = xcalloc(j->n_places + 1, sizeof *w->places);
	add_place(w, "", &cwd);
	for (size_t i = 0; i < j->n_places; i++)
		add_place(w, j->places[i].path, &j->places[i]);
	/* A working directory that lies in a place is seen there. */
	const char *directory = j->start->directory, *rest;
	if (directory && *directory == '/' && place_of(w, directory, &rest) != &w->places[0])
		w->places[0].is_ours = false;
}

static const char *target_of(const struct wire_input *in)
{
	const char *texts[] = {in->source, in->name};
	for (size_t i = 0; i < countof(texts); i++)
		if (texts[i] && has_prefix(texts[i], "file:/"))
			return texts[i] + strlen("file:");
	return NULL;
}

static void add_items(struct outputs_work *w)
{
	const struct wire_start *m = w->start;
	w->items = xcalloc(max(m->inputs.n, 1u), sizeof *w->items);
	for (uint32_t i = 0; i < m->inputs.n; i++)
		if (m->inputs.at[i].mode == BINDING_OUT)
			w->items[w->n_items++] =
				(struct item){.in = &m->inputs.at[i], .target = target_of(&m->inputs.at[i])};
}

void outputs_start(struct outputs *o, struct outputs_job *j)
{
	assert(!j->work && j->on_done && *j->sandbox == '/' && *j->cwd == '/');
	struct outputs_work *w = NEW(struct outputs_work);
	w->outputs = o;
	w->job = j;
	w->n_users = 1;
	w->is_success = j->is_success;
	w->sandbox = xstrdup(j->sandbox);
	w->came_usec = j->came_usec;
	w->start = wire_copy(WIRE_START, j->start);
	list_init(&w->link);
	list_append(&o->works, &w->link);
	add_places(w, j);
	add_items(w);
	j->work = w;
	w->n_opening = 1; /* until all were asked for */
	for (size_t i = 0; i < w->n_places; i++) {
		if (open_lower(w, &w->places[i]) == 0)
			w->n_opening++;
	}
	opened(w);
}

void outputs_stop(struct outputs_job *j)
{
	struct outputs_work *w = j->work;
	if (!w || !w->job)
		return;
	__atomic_store_n(&w->is_cancelled, true, __ATOMIC_RELAXED);
	w->job = NULL;
	for (size_t i = 0; i < w->n_places && w->n_opening; i++) {
		timer_stop(&w->places[i].retry);
		if (w->places[i].open.opening)
			fetch_open_stop(&w->places[i].open);
	}
	w->n_opening = 0;
	keep_stop(w);
}

void outputs_job_fini(struct outputs_job *j)
{
	struct outputs_work *w = j->work;
	outputs_stop(j);
	for (uint32_t i = 0; j->left && i < j->n_left_named; i++)
		free(j->left[i]);
	free(steal(j->left));
	free(steal(j->outputs));
	j->n_outputs = j->n_left_named = 0;
	j->work = NULL;
	if (w)
		work_unref(w);
}

void outputs_keep_answered(struct outputs *o, uint64_t attempt, uint64_t item, int error, const char *reason)
{
	list_foreach (&o->works, struct outputs_work, link, w) {
		if (w->job && w->start->attempt == attempt) {
			keep_answered(w, item, error, reason);
			return;
		}
	}
}
