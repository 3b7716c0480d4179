/* SPDX-License-Identifier: Apache-2.0
 * waiting for a tier -> its tree, if that is known here -> or what lies at its path: looked at, sealed or a draft (which another node may be sealing) -> or parked until somebody brings it, or has read it for all -> awaiting a used -> ready. */
#include "vinefs/inputs_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* A tree that others have is asked of them, which vined tells in these moments; else a shared path would be read by each node. */
#define PEERS_USEC 300000u
/* One node reads a path for all; if nothing was heard of it for so long, each does. What is smaller than that each reads at once. */
#define READER_USEC 60000000u
#define SMALL_SIZE (INT64_C(1) << 20)

static void fail(struct want *w, int error, bool is_nodes_fault, const char *reason)
{
	want_stop(w);
	prepared_fail(w->of, error, is_nodes_fault, reason);
}

const char *want_name(const struct want *w)
{
	return *w->input->name ? w->input->name : *w->input->source ? w->input->source : w->input->path;
}

/* ---- patience: what does not come must not keep the attempt for ever */

static void on_impatience(struct timer *t);

static void be_patient(struct want *w)
{
	timer_start(&w->patience, w->owner->settings.loop, w->owner->settings.patience_usec, on_impatience);
}

static void on_impatience(struct timer *t)
{
	struct want *w = container_of(t, struct want, patience);
	const struct inputs *in = w->owner;
	double seconds = (double)in->settings.patience_usec / 1e6;
	char reason[600];
	if (w->look.looking) {
		snprintf(reason, sizeof reason, "%.400s: it does not answer on this node since %.0f s",
			 w->input->source, seconds);
	} else if (w->seal.sealing && fetch_seal_is_stalled(&w->seal)) {
		snprintf(reason, sizeof reason, "%.400s: nothing of it could be read on this node for %.0f s",
			 w->input->source, seconds);
	} else if (!w->used && !w->seal.sealing && in->tier < 0) {
		snprintf(reason, sizeof reason, "%.400s: this node has no mount since %.0f s", want_name(w), seconds);
	} else if (!w->used && !w->seal.sealing && !fetchings_has(in, w->input->item, &w->input->tree)) {
		snprintf(reason, sizeof reason,
			 "input %.400s (item %" PRIu64
			 "): nothing of it is on this node, it has no path here, and no peer brought it within %.0f s",
			 want_name(w), w->input->item, seconds);
	} else {
		be_patient(w);
		return;
	}
	fail(w, -ETIMEDOUT, true, reason);
}

static bool is_coming(const struct want *w)
{
	const struct inputs *in = w->owner;
	const struct digest *tree = w->input->tree.algorithm != DIGEST_NONE ? &w->input->tree : &w->found;
	return tree->algorithm != DIGEST_NONE && in->ops && in->ops->is_coming && in->ops->is_coming(in->owner, tree);
}

/* Nobody has brought it: so this node reads the source itself. */
static void on_alone(struct timer *t)
{
	struct want *w = container_of(t, struct want, patience);
	/* On a slow link its index alone may take long; whoever brings it has a deadline of its own. */
	if (is_coming(w)) {
		timer_start(t, w->owner->settings.loop, PEERS_USEC, on_alone);
		return;
	}
	list_remove(&w->link);
	w->is_alone = true;
	w->is_waiting = false;
	want_start(w);
}

static void park(struct want *w)
{
	list_append(&w->owner->parked, &w->link);
	if (!w->patience.loop)
		be_patient(w);
}

/* ---- a tree, or a draft */

static void take(struct want *w, struct used *u)
{
	assert(!w->used);
	w->used = u;
	account_join(w);
	if (!u->item)
		u->item = w->input->item;
	used_await(u, w);
}

void want_on_ready(struct want *w)
{
	assert(w->used && !w->is_ready);
	uint64_t size = used_size(w->used);
	timer_stop(&w->patience);
	w->local_size = size - min(size, max(w->read_size, account_size(w)));
	if (w->used->at)
		node_tree_failure(w->used->at, &w->n_failed);
	w->is_ready = true;
	w->of->n_ready++;
	prepared_go_on(w->of);
}

void want_on_failed(struct want *w, int error, bool is_nodes_fault, const char *reason)
{
	char text[600];
	snprintf(text, sizeof text, "input %.200s: %.380s", want_name(w), reason);
	fail(w, error, is_nodes_fault, text);
}

void want_on_lost(struct want *w)
{
	if (!w->of->is_held)
		sets_release(w->of);
	want_stop(w);
	want_start(w);
}

static bool take_tree(struct want *w, const struct digest *id)
{
	struct used *u;
	assert(id->algorithm != DIGEST_NONE);
	if (used_get(w->owner, id, &u))
		return false;
	take(w, u);
	return true;
}

/* ---- what lies at its path */

static void on_sealed(struct fetch_seal *f, int error, const struct digest *id, const struct seal_report *errors,
		      const struct seal_report *notes _unused_)
{
	struct want *w = container_of(f, struct want, seal);
	const struct digest *expected = &w->input->tree;
	char reason[600];
	if (error) {
		snprintf(reason, sizeof reason, "input %.500s", errors->n ? errors->lines[0] : strerror(-error));
		fail(w, error, !source_is_at_fault(error), reason);
	} else if (expected->algorithm != DIGEST_NONE && !digest_is_equal(expected, id)) {
		snprintf(reason, sizeof reason,
			 "input %.400s has changed: it is not the tree any more that this task was to read; submit "
			 "again",
			 source_path(w->input->source));
		fail(w, -ESTALE, false, reason);
	} else if (!take_tree(w, id)) {
		snprintf(reason, sizeof reason, "input %.400s was sealed, but is not in the cache", want_name(w));
		fail(w, -EIO, true, reason);
	}
}

static void on_progress(struct fetch_seal *f, const struct seal_progress *p)
{
	container_of(f, struct want, seal)->read_size = p->bytes_read;
}

static void on_draft(struct fetch_seal *f, uint64_t number, const struct tree *names _unused_,
		     const struct seal_report *notes _unused_)
{
	struct want *w = container_of(f, struct want, seal);
	/* Another attempt may have been faster. */
	struct used *u = used_get_item(w->owner, w->input->item);
	int r = u ? 0 : used_get_draft(w->owner, number, source_path(w->input->source), &u);
	if (r)
		fail(w, r, true, strerror(-r));
	else
		take(w, u);
}

/* Core has had all of it brought before, if that was to be: what is not here may come as it is read. */
static bool may_be_draft(const struct want *w, const struct stat *st)
{
	return S_ISDIR(st->st_mode) && w->owner->tier > PROBE_TIER_PLAIN && w->input->tree.algorithm == DIGEST_NONE;
}

/* It begins with what all who read it give each other. */
static bool may_share(const struct want *w, const struct stat *st)
{
	return may_be_draft(w, st) && !w->owner->settings.is_unshared;
}

static void seal(struct want *w, const struct stat *st, bool is_left)
{
	const char *path = source_path(w->input->source);
	w->seal = (struct fetch_seal){.kind = source_kind(st),
				      .on_done = on_sealed,
				      .on_progress = on_progress,
				      .on_draft = may_be_draft(w, st) ? on_draft : NULL,
				      .is_left = is_left};
	int r = fetch_seal_start(w->owner->settings.fetch, &w->seal, path, NULL);
	if (r)
		fail(w, r, true, strerror(-r));
}

static bool is_left_to_another(const struct want *w, const struct stat *st)
{
	bool is_small = S_ISREG(st->st_mode) && st->st_size < SMALL_SIZE;
	return w->input->flags & INPUT_IS_READ && !w->is_alone && !is_small &&
	       w->input->tree.algorithm == DIGEST_NONE && !fetchings_has(w->owner, w->input->item, &w->input->tree);
}

static void await_reader(struct want *w)
{
	w->is_waiting = true;
	timer_start(&w->patience, w->owner->settings.loop, READER_USEC, on_alone);
	want_start(w);
}

static void on_looked(struct fetch_look *l, int error, const struct stat *st)
{
	struct want *w = container_of(l, struct want, look);
	const char *path = source_path(w->input->source);
	char reason[600];
	if (error) {
		snprintf(reason, sizeof reason, "input %.400s: %s", path, strerror(-error));
		fail(w, error, !source_is_at_fault(error), reason);
	} else if (!source_is_for_tasks(w->owner, path, l->real, reason)) {
		fail(w, -EPERM, false, reason);
	} else if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode)) {
		snprintf(reason, sizeof reason, "input %.400s is neither a directory nor a file", path);
		fail(w, -EINVAL, false, reason);
	} else if (!source_is_as_seen(path, w->input->signature, st, reason)) {
		fail(w, -ESTALE, false, reason);
	} else if (is_left_to_another(w, st) && !may_share(w, st)) {
		await_reader(w);
	} else {
		seal(w, st, is_left_to_another(w, st));
	}
}

/* ---- */

/* Of an item whose tree nobody had known: what it was found to be. Of attempts that run since before the path says which. */
static bool take_item(struct want *w, const char *path)
{
	struct used *u = used_get_item(w->owner, w->input->item);
	if (!u && w->of->is_held && path) {
		u = used_find_draft(w->owner, path);
		if (u)
			used_join(u);
	}
	if (u)
		take(w, u);
	return u;
}

void want_start(struct want *w)
{
	struct inputs *in = w->owner;
	const struct wire_input *i = w->input;
	const char *path = source_path(i->source);
	const struct digest *tree = i->tree.algorithm != DIGEST_NONE ? &i->tree : &w->found;
	assert(!w->used && !w->is_ready);
	account_join(w);
	if (in->tier < 0) {
		park(w);
	} else if (tree->algorithm != DIGEST_NONE && take_tree(w, tree)) {
		be_patient(w);
	} else if (w->is_waiting) {
		list_append(&in->parked, &w->link);
	} else if (i->tree.algorithm == DIGEST_NONE && take_item(w, path)) {
		be_patient(w);
	} else if (path && !w->of->is_held && i->tree.algorithm != DIGEST_NONE && !w->is_alone) {
		list_append(&in->parked, &w->link);
		if (!w->patience.loop)
			timer_start(&w->patience, in->settings.loop, PEERS_USEC, on_alone);
	} else if (path && !w->of->is_held) {
		be_patient(w);
		w->look.on_done = on_looked;
		fetch_look_start(in->settings.fetch, &w->look, path);
	} else if (!w->of->is_held) {
		park(w);
	}
}

void want_stop(struct want *w)
{
	timer_stop(&w->patience);
	fetch_look_stop(&w->look);
	fetch_seal_stop(&w->seal);
	list_remove(&w->link);
	if (w->used)
		used_leave(steal(w->used));
	w->of->n_ready -= w->is_ready;
	w->is_ready = w->is_waiting = false;
	w->needs_mount = !w->may_join;
}

static void start_all(struct list *woken)
{
	while (!list_is_empty(woken)) {
		struct want *w = list_first(woken, struct want, link);
		list_remove(&w->link);
		want_start(w);
	}
}

void wants_wake(struct inputs *in)
{
	struct list woken = LIST_INIT(woken);
	list_splice(&woken, &in->parked);
	start_all(&woken);
}

void inputs_told(struct inputs *in, const struct wire_fetch *m)
{
	struct list woken = LIST_INIT(woken);
	bool is_reader = source_path(m->source);
	struct prepared *p;
	for (size_t i = 0; (p = map_next(&in->attempts, &i));) {
		for (uint32_t k = 0; p->n_read && k < p->n; k++) {
			struct want *w = &p->wants[k];
			if (w->used || w->input->item != m->item || !(w->input->flags & INPUT_IS_READ))
				continue;
			w->found = m->tree;
			w->is_alone |= is_reader;
			/* One that is being looked at sees it then. */
			if (!w->is_waiting)
				continue;
			w->is_waiting = !is_reader;
			list_remove(&w->link);
			list_append(&woken, &w->link);
		}
	}
	start_all(&woken);
}
