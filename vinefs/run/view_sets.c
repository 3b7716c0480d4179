/* SPDX-License-Identifier: Apache-2.0
 * Inputs that the node's mount has in one directory, a set, are seen by one mount on theirs. Where the host lacks that directory it is the set. Where it is there, the set is laid over it if the files
 * are many; what else is in it is in sight, but nothing can be written in it then. Else, and wherever the task may write beside them, each has a mount of its own.
 *
 * In the working directory they are bound when it lies where the task sees it: before, each would be copied with what it lies in, twice.
 *
 * Who has one file of a set has all of it, in one directory. */
#include "vinefs/run/view_internal.h"

#include "common/path.h"

/* STATE/mnt/SET of STATE/mnt/SET/NAME, the caller's; NULL: it is of no set. */
static char *set_of(const struct composing *c, const struct point *p)
{
	_free_ char *mount = path_join(c->q->state, KEEPER_NODE_MOUNT);
	const char *at = p->input ? p->input->at : "/";
	if (!view_is_in(at, mount) || !strchr(view_rest(at, mount), '/'))
		return NULL;
	return xstrndup(at, (size_t)(path_base(at) - at) - 1);
}

static bool is_plain(const struct point *p)
{
	return p->region == REGION_HOST && p->form == FORM_BIND && !p->cover;
}

/* The directory that the file is in on the host, by links or not; the caller's. NULL: it is another file there. */
static char *directory_of(const struct point *p)
{
	const char *name = path_base(p->target), *wanted = path_base(p->path);
	bool is_its = is_plain(p) && streq(name, wanted) && name - p->target > 1;
	return is_its ? xstrndup(p->target, (size_t)(name - p->target) - 1) : NULL;
}

/* Can be mounted over what the host has, after the set. */
static bool is_on_top(const struct point *p)
{
	return is_plain(p) && p->is_there && (!p->set || p->set->n < VIEW_SET_MANY);
}

/* Something else is declared in the directory that has no place there. */
static bool has_others(const struct composing *c, const struct view_set *s)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		bool is_in =
			p->region == REGION_HOST && (view_is_in(p->path, s->path) || view_is_in(p->target, s->target));
		if (is_in && p->set != s && !(s->is_there && is_on_top(p)))
			return true;
	}
	return false;
}

static bool has_mounts(const char *directory)
{
	char **all = host_mounts_below(directory, "/proc");
	bool has = *all;
	for (size_t i = 0; all[i]; i++)
		free(all[i]);
	free(all);
	return has;
}

/* The task may write there, or what the node does itself goes through it. */
static bool is_needed(const struct composing *c, const struct view_set *s)
{
	const char *work = c->v->directory;
	return view_is_in(work, s->path) || view_is_in(s->path, work) || view_is_in(work, s->target) ||
	       view_is_in(s->target, work) || view_is_in(c->q->state, s->target);
}

static bool can_be_laid(const struct composing *c, const struct view_set *s)
{
	if (!s->target || has_others(c, s))
		return false;
	if (!s->is_there)
		return true;
	return s->n >= VIEW_SET_MANY && !is_needed(c, s) && !has_mounts(s->target);
}

/* All points of the set whose first one is `first`, if they are where one mount can show them; else its target is NULL. */
static void gather(struct composing *c, size_t first, struct view_set *s)
{
	struct point *of = &c->points[first];
	s->first = of;
	s->target = directory_of(of);
	s->path = xstrndup(of->path, (size_t)(path_base(of->path) - of->path) - 1);
	s->is_there = s->target && strlen(s->target) <= strlen(of->base);
	for (size_t i = first; i < c->n; i++) {
		struct point *p = &c->points[i];
		_free_ char *from = set_of(c, p), *target = from && s->target ? directory_of(p) : NULL;
		if (!from || !streq(from, s->from))
			continue;
		p->set = s;
		s->n++;
		if (!target || !s->target || !streq(target, s->target)) {
			free(s->target);
			s->target = NULL;
		}
	}
}

void view_find_sets(struct composing *c)
{
	for (size_t i = 0; i < c->n; i++) {
		char *from = c->points[i].set ? NULL : set_of(c, &c->points[i]);
		if (!from)
			continue;
		struct view_set *s = NEW(struct view_set);
		s->from = from;
		list_init(&s->link);
		list_append(&c->sets, &s->link);
		gather(c, i, s);
	}
	/* Not before all are known: none is in another's way. */
	list_foreach (&c->sets, struct view_set, link, s)
		s->is_laid = can_be_laid(c, s);
	for (size_t i = 0; i < c->n; i++) {
		struct point *p = &c->points[i];
		if (!p->set || p->set->is_laid)
			continue;
		if (p->region == REGION_CWD && p->form == FORM_BIND && !p->cover)
			p->late = p->set;
		p->set = NULL;
	}
}

void view_free_sets(struct composing *c)
{
	list_foreach (&c->sets, struct view_set, link, s) {
		list_remove(&s->link);
		free(s->from);
		free(s->path);
		free(s->target);
		free(s);
	}
}
