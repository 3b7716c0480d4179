/* SPDX-License-Identifier: Apache-2.0
 * Many files that an attempt wants in one directory are one tree on the mount, made for the first attempt and kept for those that come with the same files.
 * composing -> ready; idle without users; gone when there are too many, room is short, or the mount is. */
#include "vinefs/inputs_internal.h"

#include "common/path.h"

/* ---- one */

void set_dispose(struct set *s)
{
	uint32_t n = s->at ? s->at->n_files : 0;
	list_remove(&s->link);
	if (s->at && !s->owner->is_over)
		node_mount_remove(steal(s->at));
	for (uint32_t i = 0; i < n; i++)
		if (s->used[i])
			used_leave(s->used[i]);
	free(s->used);
	free(s);
}

static void forget(const struct set *s)
{
	const struct inputs *in = s->owner;
	/* Whoever saw the others saw this one. */
	_free_ char *first = path_join(s->at->path, s->at->files[0].name);
	if (in->ops && in->ops->on_forget)
		in->ops->on_forget(in->owner, first);
}

void set_leave(struct set *s)
{
	struct inputs *in = s->owner;
	assert(s->n_users);
	if (--s->n_users)
		return;
	if (!s->at) {
		set_dispose(s);
		return;
	}
	list_remove(&s->link);
	list_append(&in->sets, &s->link);
	sets_shed(in, SETS_IDLE_MOST);
}

void sets_shed(struct inputs *in, unsigned n_most)
{
	unsigned n = 0, n_shed = 0;
	if (!in->is_settled || in->is_over)
		return;
	list_foreach (&in->sets, struct set, link, s)
		n += !s->n_users;
	list_foreach (&in->sets, struct set, link, s)
		if (!s->n_users && n_shed + n_most < n) {
			n_shed++;
			forget(s);
			set_dispose(s);
		}
}

void sets_free(struct inputs *in)
{
	assert(in->is_over);
	list_foreach (&in->sets, struct set, link, s)
		set_dispose(s);
}

struct set *set_new(struct inputs *in, uint32_t n)
{
	struct set *s = NEW(struct set);
	s->owner = in;
	s->used = xcalloc(n, sizeof *s->used);
	list_init(&s->link);
	list_append(&in->sets, &s->link);
	return s;
}

char *set_path(const struct want *w)
{
	const struct used *u = w->used;
	if (w->set)
		return path_join(w->set->at->path, w->set->at->files[w->file].name);
	return xstrdup(u->at ? u->at->path : u->unpacked);
}

const char *set_failure(const struct want *w, unsigned *n)
{
	*n = 0;
	return w->set->at ? node_set_failure(w->set->at, w->file, n) : "";
}

/* ---- of the node's mount */

void set_on_restored(struct inputs *in, struct node_tree *t)
{
	struct set *s = set_new(in, t->n_files);
	s->at = t;
	t->owner = s;
	s->is_ready = true;
}

/* Gone, with all who have it told, or made to look for another. */
static void lose(struct set *s, bool is_mounts, const char *reason)
{
	struct inputs *in = s->owner;
	uint32_t n_files = s->at->n_files;
	struct prepared *p;
	s->at = NULL;
	s->n_users++;
	for (uint32_t i = 0; i < n_files; i++)
		if (s->used[i])
			used_leave(s->used[i]);
	for (size_t i = 0; (p = map_next(&in->attempts, &i));) {
		bool is_its = false, is_running = p->is_told || p->is_held;
		for (uint32_t k = 0; k < p->n_sets; k++)
			is_its |= p->sets[k] == s;
		if (!is_its)
			continue;
		p->is_without |= !is_mounts;
		if (!is_running || !p->is_told) {
			sets_release(p);
			prepared_go_on(p);
		}
		if (is_running && in->ops && in->ops->on_lost)
			in->ops->on_lost(in->owner, p->attempt, reason);
	}
	set_leave(s);
}

void set_on_set(void *arg, struct node_tree *t, int error)
{
	struct inputs *in = arg;
	struct set *s = t->owner;
	struct prepared *p;
	if (error) {
		log_errno(-error, "compose %s of %u inputs: they are mounted one by one", t->path, t->n_files);
		lose(s, false, "");
		return;
	}
	s->is_ready = true;
	for (size_t i = 0; (p = map_next(&in->attempts, &i));)
		prepared_go_on(p);
}

void set_on_lost(struct inputs *in _unused_, struct node_tree *t)
{
	if (t->owner)
		lose(t->owner, true, "the node's mount ended under it");
}
