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
#define BEGIN_USEC 500000u     /* who was told of one is about to start a program on it */
#define PASS_USEC \
	1000000u /* the sealing goes one step on, whoever reads: a step is a megabyte, which others wait for */
#define LOOK_NSEC 5000000

char *draft_path(const struct draft *d, uint32_t node)
{
	_free_ char *below = tree_path(d->index, node);
	return path_join(d->path, below);
}

static char *say_was(const struct draft *d, uint32_t node, const char *what)
{
	char was[80];
	const struct signature *s = &d->signatures[node];
	_free_ char *path = draft_path(d, node);
	put_time(was, sizeof was, s->mtime_sec, s->mtime_nsec);
	return xasprintf("%s %s: it was %llu bytes of %s", path, what, (unsigned long long)s->size, was);
}

char *draft_say_changed(const struct draft *d, uint32_t node, uint64_t size, int64_t mtime_sec, uint32_t mtime_nsec)
{
	char is[80];
	const struct signature *s = &d->signatures[node];
	bool is_alike = s->size == size && s->mtime_sec == mtime_sec && s->mtime_nsec == mtime_nsec;
	_free_ char *was = say_was(d, node, "has changed while it was sealed");
	put_time(is, sizeof is, mtime_sec, mtime_nsec);
	return xasprintf("%s, it is %llu bytes of %s%s", was, (unsigned long long)size, is,
			 is_alike ? ", but was written to or replaced" : "");
}

char *draft_say_gone(const struct draft *d, uint32_t node)
{
	return say_was(d, node, "is gone, or no file any more");
}

void draft_refuse(struct draft *d, uint32_t node)
{
	const struct tree *t = fetch_index(d->sealed);
	const struct tree_node *n = tree_node(t, node);
	free(d->trouble);
	d->trouble = draft_say_changed(d, node, tree_file_size(t, node), n->mtime_sec, n->mtime_nsec);
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
	struct draft_gate *g = d->gate;
	for (;;) {
		uint64_t now = pool_now_usec(), passed = atomic_load(&g->passed_usec);
		bool is_busy = atomic_load(&g->n_reading) || now < atomic_load(&g->busy_until_usec);
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
	if (!d->error && !d->fetch->is_stopping)
		source_told(d->fetch, d->path, &d->id);
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
	const char *why = d->is_left ? " (or another node gave it wrongly)" : "";
	for (uint32_t i = 0; i < tree_n_nodes(d->index); i++) {
		if (!draft_is_changed(d, i))
			continue;
		_free_ char *path = draft_path(d, i);
		_free_ char *text =
			xasprintf("%s changed between the look at it and its sealing%s: in this mount it cannot be "
				  "read any more (ESTALE); mount the directory again",
				  path, why);
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

/* ---- left to another node: what it sealed is this draft's tree, if the names are the same */

static bool is_alike(const struct tree *a, const struct tree *b)
{
	if (tree_n_nodes(a) != tree_n_nodes(b))
		return false;
	for (uint32_t i = 0; i < tree_n_nodes(a); i++) {
		const struct tree_node *x = tree_node(a, i), *y = tree_node(b, i);
		if (x->type != y->type || x->parent != y->parent || !streq(tree_name(a, i), tree_name(b, i)))
			return false;
	}
	return true;
}

static void on_told(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct draft *d = container_of(o, struct draft, open);
	if (!error && !is_alike(d->index, fetch_index(t))) {
		log_info("%s stays a draft where it is in use: another node has sealed other names", d->path);
		fetch_close(t);
		draft_unref(d);
	} else if (error) {
		draft_unref(d);
	} else {
		on_sealed(o, 0, t);
	}
}

void fetch_told(struct fetch *f, const char *path, const struct digest *id)
{
	list_foreach (&f->drafts, struct draft, link, d) {
		if (!d->is_left || d->is_over || d->open.opening || !d->n_users || !streq(d->path, path))
			continue;
		d->id = *id;
		d->open.on_done = on_told;
		draft_ref(d);
		/* Its index may have gone, or not be here yet: a draft it stays then. */
		if (fetch_open(f, &d->open, id, "vine mount", path))
			draft_unref(d);
	}
}

/* ---- life */

/* An inode's number is each node's own. */
static void find_face(struct draft *d)
{
	_Static_assert(sizeof *d->signatures == 40, "no bytes between that mean nothing");
	uint32_t n = tree_n_nodes(d->index);
	struct signature *all = xmemdup(d->signatures, n * sizeof *all);
	struct digest both[2] = {*tree_id(d->index)};
	for (uint32_t i = 0; i < n; i++)
		all[i].inode = 0;
	digest_bytes(all, n * sizeof *all, &both[1]);
	digest_bytes(both, sizeof both, &d->face);
	free(all);
}

struct draft *draft_new(struct fetch *f, const char *path, struct tree *names, struct signature *signatures)
{
	struct draft *d = NEW(struct draft);
	d->fetch = f;
	d->number = ++f->last_draft;
	d->path = xstrdup(path);
	d->index = names;
	d->signatures = signatures;
	find_face(d);
	d->fellows = fellows_of(f, path);
	d->n_users = 1;
	list_init(&d->link);
	list_init(&d->warm);
	list_init(&d->waiting);
	list_init(&d->watches);
	d->gate = NEW(struct draft_gate);
	atomic_store(&d->root, -1);
	pool_lane_init(&d->lane, f->settings.n_per_source, false);
	pool_widen(f->pool, &d->lane, WIDE_MOST);
	list_append(&f->drafts, &d->link);
	fellow_give_again(f);
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
	free(d->names);
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
	/* One that was parked is in use again. */
	if (!d->n_users)
		timer_stop(&d->timer);
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

void draft_leave(struct draft *d, bool is_told)
{
	d->is_left = true;
	d->is_told = is_told;
}

uint64_t draft_tell(struct draft *d)
{
	d->n_awaited++;
	d->told_usec = loop_now_usec(d->fetch->loop);
	atomic_store(&d->gate->busy_until_usec, pool_now_usec() + BEGIN_USEC);
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
	if (!d->is_over && d->is_left)
		buf_printf(out, "being sealed by another node\n");
	else if (!d->is_over)
		buf_printf(out, "being sealed: %llu of %llu files, %llu of %llu bytes\n",
			   (unsigned long long)d->progress.files_done, (unsigned long long)d->progress.files_found,
			   (unsigned long long)d->progress.bytes_done, (unsigned long long)d->progress.bytes_found);
	else if (d->sealed)
		buf_printf(out, "sealed: tree %s\n", digest_text(&d->id, id));
	if (d->reason)
		buf_printf(out, "stays a draft: %s\n", d->reason);
	if (tree_node(d->index, node)->type == TREE_FILE)
		buf_printf(out, "next read: %s\n",
			   is_changed   ? "fails (ESTALE): it changed before it was sealed; mount again"
			   : d->sealed  ? "from the cache"
			   : d->fellows ? "from another node that reads the same, or from the directory itself, if the "
					  "file is what it was"
					: "from the directory itself, if the file is what it was");
	if (d->trouble)
		buf_printf(out, "last failure: %s\n", d->trouble);
}

const char *draft_failure(const struct draft *d)
{
	unsigned n;
	return d->trouble ? d->trouble : d->sealed ? fetch_failure(d->sealed, &n) : "";
}
