/* SPDX-License-Identifier: Apache-2.0
 * A mounted draft: served while it is sealed, then its tree takes its place under the same numbers. A new process reads the names of the directory again and goes on if all is as it was. */
#include "vinefs/mounts_internal.h"

#include "common/log.h"

#define RESTORE_USEC 30000000u /* as a read waits */

/* ---- from the draft to its tree */

static void swap(struct served *s, struct fetch_tree *t)
{
	const struct mount_tree tree = {.index = fetch_index(t), .arg = t};
	struct fetch_tree *draft = s->tree;
	struct digest names = s->id;
	char *source = steal(s->source);
	assert(s->mount && source && fetch_is_draft(draft));
	/* First, for the keeper is told of it within the swap, and the draft may be gone after it. */
	s->id = *tree_id(tree.index);
	s->tree = t;
	int r = mount_swap(s->mount, "", &tree);
	if (r == -ENOENT || r == -ESTALE) {
		log_errno(-r, "%s stays a draft", s->directory);
		s->id = names;
		s->tree = draft;
		s->source = source;
		fetch_close(t);
		return;
	}
	/* Who comes after us would take it for a draft still; it does not hurt. */
	if (r)
		log_errno(-r, "tell the keeper that %s is sealed", s->directory);
	log_info("%s on %s is sealed", s->name, s->directory);
	free(source);
}

static void on_sealed(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct served *s = container_of(o, struct served, open);
	if (error)
		log_errno(-error, "%s stays a draft: open its tree", s->directory);
	else
		swap(s, t);
}

/* A lease of our own is taken here, for the draft's goes with it. */
static void on_over(struct fetch_watch *w, int error, const struct digest *id, const char *reason)
{
	struct served *s = container_of(w, struct served, watch);
	_free_ char *why = xasprintf("mount %s", s->directory);
	if (error) {
		log_warn("%s on %s stays a draft: %s", s->name, s->directory, reason);
		return;
	}
	s->open.on_done = on_sealed;
	int r = fetch_open(s->owner->settings.fetch, &s->open, id, "vine mount", why);
	if (r)
		log_errno(-r, "%s stays a draft: open its tree", s->directory);
}

int mounts_draft_take(struct served *s, const struct fetch_tree *t)
{
	struct fetch_draft_info i;
	assert(!s->mount);
	fetch_draft_get(t, &i);
	if (s->is_restored && !digest_is_equal(&i.face, &s->face)) {
		log_error("%s has changed since it was mounted as a draft on %s: mount it again", i.path, s->directory);
		return -ESTALE;
	}
	if (!s->source)
		s->source = xstrdup(i.path);
	s->face = i.face;
	s->id = *tree_id(fetch_index(t));
	s->draft = 0;
	return 0;
}

void mounts_draft_watch(struct served *s, struct fetch_tree *t)
{
	s->watch.on_over = on_over;
	fetch_watch_start(t, &s->watch);
}

/* ---- after another process */

static uint64_t restore_usec(const struct served *s)
{
	return s->owner->settings.deadline_usec ? s->owner->settings.deadline_usec : RESTORE_USEC;
}

static void on_draft(struct fetch_seal *f, uint64_t number, const struct tree *names,
		     const struct seal_report *notes _unused_)
{
	struct served *s = container_of(f, struct served, seal);
	assert(names && !s->tree);
	int r = fetch_open_draft(s->owner->settings.fetch, &s->open, number);
	if (!r)
		return;
	log_errno(-r, "mount %s on %s", s->name, s->directory);
	mounts_end(s, r);
}

static void on_done(struct fetch_seal *f, int error, const struct digest *id, const struct seal_report *errors,
		    const struct seal_report *notes _unused_)
{
	struct served *s = container_of(f, struct served, seal);
	/* It joined a sealing that had no draft to give: now its own will have. */
	if (!error && id)
		error = fetch_seal_start(s->owner->settings.fetch, &s->seal, s->source, NULL);
	if (!error)
		return;
	log_error("the draft on %s cannot be served any more: %s", s->directory,
		  errors->n ? errors->lines[0] : strerror(-error));
	mounts_end(s, error);
}

/* Until then nobody hears what the kernel asks: so its callers would wait for ever. */
static void on_late(struct timer *t)
{
	struct served *s = container_of(t, struct served, patience);
	if (s->mount)
		return;
	log_error("the draft on %s cannot be served any more: the names of %s have not been read within %.0f s",
		  s->directory, s->source, (double)restore_usec(s) / 1e6);
	mounts_end(s, -ETIMEDOUT);
}

int mounts_draft_restore(struct served *s)
{
	assert(s->is_restored && s->source);
	timer_start(&s->patience, s->owner->settings.loop, restore_usec(s), on_late);
	s->seal.on_draft = on_draft;
	s->seal.on_done = on_done;
	s->seal.is_any_draft = true;
	return fetch_seal_start(s->owner->settings.fetch, &s->seal, s->source, NULL);
}

void mounts_draft_stop(struct served *s)
{
	fetch_seal_stop(&s->seal);
	fetch_watch_stop(&s->watch);
	timer_stop(&s->patience);
}
