/* SPDX-License-Identifier: Apache-2.0
 * Each span that was read has its digest kept. So, when the tree is sealed, it is known whether all that was given is what the tree has. What is not stays ESTALE for as long as the draft is
 * in use, since the kernel may have kept it: that is how two versions of a file are never mixed.
 *
 * being sealed: reads come from the directory -> over: sealed, reads are the tree's; or failed, reads still come from the directory. */
#include "vinefs/fetch/draft.h"

#include "common/log.h"
#include "common/path.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PARKED_MOST 8u /* drafts that nobody uses, and somebody may be about to mount */
#define PARKED_USEC 60000000u
#define AWAITED_USEC 30000000u /* who was told of one finds it, however many others were told of theirs */
#define NAMED_MOST 16u         /* changed files that are logged one by one */
#define WIDE_MOST 28u          /* reads at once more than of other sources, most of them for nobody yet */
#define QUIET_USEC 50000u      /* after a read: he who reads one file after the other is at it still */
#define PASS_USEC 100000u      /* the sealing goes one step on, whoever reads */
#define LOOK_NSEC 5000000

char *draft_path(const struct draft *d, uint32_t node)
{
	_free_ char *below = tree_path(d->index, node);
	return path_join(d->path, below);
}

bool draft_is_changed(const struct draft *d, uint32_t node)
{
	return map_get(&d->changed, node + UINT64_C(1));
}

/* A file is named once. */
void draft_complain(struct draft *d, uint32_t node, const char *text)
{
	if (map_put(&d->told, node + UINT64_C(1), d) || d->told.n > NAMED_MOST)
		return;
	log_warn("%s%s", text, d->told.n == NAMED_MOST ? " (and so on: no more of it is logged)" : "");
}

/* Readers need the source's bandwidth, not its attention alone. But who reads all day must not keep a tree from being sealed, for what is sealed is
 * read from the disk: now and then one thread passes, and after a while all do. */
void draft_give_way(const struct draft *d)
{
	const struct timespec moment = {.tv_nsec = LOOK_NSEC};
	struct gate *g = d->gate;
	for (;;) {
		uint64_t now = pool_now_usec(), passed = atomic_load(&g->passed_usec);
		bool is_busy = atomic_load(&g->n_reading) || now < atomic_load(&g->quiet_usec) + QUIET_USEC;
		uint64_t began = 0;
		if (!is_busy || __atomic_load_n(&d->fetch->is_cancelled, __ATOMIC_RELAXED))
			return;
		/* Patience is counted from when it first gave way. */
		if (!atomic_compare_exchange_strong(&g->began_usec, &began, now) &&
		    now >= began + d->fetch->settings.patience_usec)
			return;
		if (now >= passed + PASS_USEC && atomic_compare_exchange_strong(&g->passed_usec, &passed, now))
			return;
		nanosleep(&moment, NULL);
	}
}

/* ---- the end of its sealing */

/* A post, since whoever watches may close the draft from within, and may have begun to watch within a callback of ours. */
static void on_announce(struct post *p)
{
	struct draft *d = container_of(p, struct draft, announce);
	const char *reason = d->reason ? d->reason : "";
	d->is_announcing = false;
	while (!list_is_empty(&d->watches) && !d->fetch->is_stopping) {
		struct fetch_watch *w = list_first(&d->watches, struct fetch_watch, link);
		list_remove(&w->link);
		w->on_over(w, d->error, d->id.algorithm == DIGEST_NONE ? NULL : &d->id, reason);
	}
	draft_unref(d);
}

static void announce(struct draft *d)
{
	if (!d->is_over || d->is_announcing || d->fetch->is_stopping)
		return;
	d->is_announcing = true;
	d->announce.on_post = on_announce;
	draft_ref(d);
	loop_post(d->fetch->loop, &d->announce);
}

/* Attributes of a file are what the sealing found when it read it, of all else what the walk saw. */
static void find_changed(struct draft *d, const struct tree *t)
{
	struct given *g;
	assert(tree_n_nodes(t) == tree_n_nodes(d->index));
	for (uint32_t i = 0; i < tree_n_nodes(t); i++) {
		const struct tree_node *a = tree_node(d->index, i), *b = tree_node(t, i);
		assert(a->type == b->type && a->name == b->name && a->parent == b->parent);
		if (a->type == TREE_FILE &&
		    (a->mode != b->mode || a->mtime_sec != b->mtime_sec || a->mtime_nsec != b->mtime_nsec ||
		     d->signatures[i].size != tree_file_size(t, i)))
			map_put(&d->changed, i + UINT64_C(1), d);
	}
	for (size_t i = 0; (g = map_next(&d->given, &i));) {
		uint64_t node = g->key >> 32;
		if (!draft_is_changed(d, (uint32_t)node) && !span_is_in(t, g))
			map_put(&d->changed, node + 1, d);
	}
}

/* Each by name, since it is the mount that a person has to do again for it. */
static void name_changed(struct draft *d)
{
	for (uint32_t i = 0; i < tree_n_nodes(d->index); i++) {
		if (!draft_is_changed(d, i))
			continue;
		_free_ char *path = draft_path(d, i);
		_free_ char *text =
			xasprintf("%s changed between the look at it and its sealing: in this mount it cannot be "
				  "read any more (ESTALE); mount the directory again",
				  path);
		draft_complain(d, i, text);
		if (!d->reason)
			d->reason = xasprintf(
				"%zu files changed before they were sealed, the first is %s: mount again to see "
				"them as they are",
				d->changed.n, path);
	}
}

static void on_sealed(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct draft *d = container_of(o, struct draft, open);
	assert(!d->sealed && !d->is_over);
	d->is_over = true;
	d->error = error;
	if (error) {
		d->reason = xasprintf("it was sealed, but cannot be opened: %s", strerror(-error));
	} else {
		d->sealed = t;
		find_changed(d, fetch_index(t));
		name_changed(d);
		d->error = d->changed.n ? -ESTALE : 0;
		span_cool(d, 0); /* reads are the tree's from here on */
	}
	announce(d);
	draft_unref(d);
}

void draft_over(struct draft *d, int error, const struct digest *id, const struct seal_report *errors)
{
	assert(!d->is_over && !d->open.opening);
	if (!error) {
		d->id = *id;
		d->open.on_done = on_sealed;
		error = fetch_open(d->fetch, &d->open, id, "vine mount", d->path);
	}
	if (!error) {
		draft_ref(d);
		return;
	}
	d->is_over = true;
	d->error = error;
	d->reason = errors->n ? xasprintf("%s%s", errors->lines[0], errors->n > 1 ? " (and others)" : "")
			      : xstrdup(strerror(-error));
	if (!d->fetch->is_stopping)
		log_warn("%s cannot be sealed and stays a draft where it is mounted: %s", d->path, d->reason);
	announce(d);
}

/* ---- life */

struct draft *draft_new(struct fetch *f, const char *path, struct tree *names, struct signature *signatures)
{
	struct draft *d = NEW(struct draft);
	struct digest both[2] = {*tree_id(names)};
	_Static_assert(sizeof *signatures == 40, "no bytes between that mean nothing");
	digest_bytes(signatures, tree_n_nodes(names) * sizeof *signatures, &both[1]);
	digest_bytes(both, sizeof both, &d->face);
	d->fetch = f;
	d->number = ++f->last_draft;
	d->path = xstrdup(path);
	d->index = names;
	d->signatures = signatures;
	d->n_users = 1;
	list_init(&d->link);
	list_init(&d->warm);
	list_init(&d->waiting);
	list_init(&d->watches);
	d->gate = NEW(struct gate);
	atomic_store(&d->root, -1);
	pool_lane_init(&d->lane, f->settings.n_per_source, false);
	pool_widen(f->pool, &d->lane, WIDE_MOST);
	list_append(&f->drafts, &d->link);
	return d;
}

static void draft_free(struct draft *d)
{
	struct given *g;
	assert(!d->n_users && list_is_empty(&d->waiting) && list_is_empty(&d->watches) && !d->is_announcing);
	list_remove(&d->link);
	timer_stop(&d->timer);
	span_cool(d, 0);
	for (size_t i = 0; (g = map_next(&d->given, &i));)
		free(g);
	map_fini(&d->spans);
	map_fini(&d->given);
	map_fini(&d->told);
	map_fini(&d->changed);
	map_fini(&d->near.seen);
	if (atomic_load(&d->root) >= 0)
		close(atomic_load(&d->root));
	free(d->gate);
	if (d->sealed)
		fetch_close(d->sealed);
	tree_free(d->index);
	free(d->signatures);
	free(d->trouble);
	free(d->reason);
	free(d->path);
	free(d);
}

static void on_forgotten(struct timer *t)
{
	struct draft *d = container_of(t, struct draft, timer);
	if (!d->n_users)
		draft_free(d);
}

/* Somebody was told its number and may be about to open it; but not for long, since it holds the tree. */
static void park(struct draft *d)
{
	unsigned n = 0;
	list_remove(&d->link);
	list_append(&d->fetch->drafts, &d->link);
	timer_start(&d->timer, d->fetch->loop, PARKED_USEC, on_forgotten);
	list_foreach (&d->fetch->drafts, struct draft, link, x)
		n += !x->n_users;
	struct draft *oldest = NULL;
	list_foreach (&d->fetch->drafts, struct draft, link, x) {
		if (!oldest && !x->n_users)
			oldest = x;
	}
	if (n > PARKED_MOST && loop_now_usec(d->fetch->loop) >= oldest->told_usec + AWAITED_USEC)
		draft_free(oldest);
}

void draft_ref(struct draft *d)
{
	d->n_users++;
}

void draft_unref(struct draft *d)
{
	assert(d->n_users);
	if (--d->n_users)
		return;
	if (!d->n_awaited || d->fetch->is_stopping)
		draft_free(d);
	else
		park(d);
}

void draft_drop(struct draft *d)
{
	assert(d->n_users == 1 && !d->n_awaited);
	d->n_users = 0;
	draft_free(d);
}

struct draft *draft_get(const struct fetch *f, uint64_t number)
{
	list_foreach (&f->drafts, struct draft, link, d) {
		if (d->number != number)
			continue;
		if (!d->n_users)
			timer_stop(&d->timer);
		d->n_awaited -= d->n_awaited > 0;
		draft_ref(d);
		return d;
	}
	return NULL;
}

void drafts_stop(struct fetch *f)
{
	list_foreach (&f->drafts, struct draft, link, d) {
		span_fail_all(d);
		if (d->open.opening) {
			fetch_open_stop(&d->open);
			draft_unref(d); /* on_sealed's */
		} else if (!d->n_users) {
			draft_free(d);
		} else if (d->sealed) {
			fetch_close(steal(d->sealed));
		}
	}
}

/* All went with their last user or in drafts_stop(). */
void drafts_free(struct fetch *f)
{
	assert(list_is_empty(&f->drafts));
	(void)f;
}

/* ---- for others */

uint64_t draft_tell(struct draft *d)
{
	d->n_awaited++;
	d->told_usec = loop_now_usec(d->fetch->loop);
	return d->number;
}

bool draft_is_same(const struct draft *a, const struct draft *b)
{
	return digest_is_equal(&a->face, &b->face);
}

const struct tree *draft_index(const struct draft *d)
{
	return d->index;
}

void draft_progress(struct draft *d, const struct seal_progress *p)
{
	d->progress = *p;
}

bool fetch_is_draft(const struct fetch_tree *t)
{
	return t->draft;
}

void fetch_watch_start(struct fetch_tree *t, struct fetch_watch *w)
{
	assert(t->draft && w->on_over);
	list_init(&w->link);
	list_append(&t->draft->watches, &w->link);
	announce(t->draft);
}

void fetch_watch_stop(struct fetch_watch *w)
{
	if (w->link.next)
		list_remove(&w->link);
}

void fetch_draft_get(const struct fetch_tree *t, struct fetch_draft_info *out)
{
	const struct draft *d = t->draft;
	*out = (struct fetch_draft_info){.path = d->path,
					 .reason = d->reason ? d->reason : "",
					 .progress = d->progress,
					 .face = d->face,
					 .is_over = d->is_over};
}

void draft_why(struct fetch_tree *t, uint32_t node, struct buf *out)
{
	const struct draft *d = t->draft;
	char id[DIGEST_TEXT_SIZE];
	_free_ char *path = tree_path(d->index, node);
	/* Of a directory that is no statement about what lies below it. */
	bool is_changed = draft_is_changed(d, node);
	buf_printf(out, "draft of %s%s%s\n", d->path, *path ? "/" : "", path);
	if (!d->is_over)
		buf_printf(out, "being sealed: %llu of %llu files, %llu of %llu bytes\n",
			   (unsigned long long)d->progress.files_done, (unsigned long long)d->progress.files_found,
			   (unsigned long long)d->progress.bytes_done, (unsigned long long)d->progress.bytes_found);
	else if (d->sealed)
		buf_printf(out, "sealed: tree %s\n", digest_text(&d->id, id));
	if (d->reason)
		buf_printf(out, "stays a draft: %s\n", d->reason);
	if (tree_node(d->index, node)->type == TREE_FILE)
		buf_printf(out, "next read: %s\n",
			   is_changed  ? "fails (ESTALE): it changed before it was sealed; mount again"
			   : d->sealed ? "from the cache"
				       : "from the directory itself, if the file is what it was");
	if (d->trouble)
		buf_printf(out, "last failure: %s\n", d->trouble);
}
