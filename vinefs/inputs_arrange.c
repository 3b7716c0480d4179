/* SPDX-License-Identifier: Apache-2.0
 * Which files of an attempt make a set. Attempts of a sweep have most in common: what two sets share becomes one of its own, and the rest another, or is mounted file by file. */
#include "vinefs/inputs_internal.h"

#include "common/path.h"

#include <stdlib.h>

/* ---- which files */

/* How long the directory of a path is, with its slash. */
static size_t above(const char *path)
{
	return (size_t)(path_base(path) - path);
}

static int compare_wants(const void *a, const void *b)
{
	const char *x = (*(struct want *const *)a)->input->path, *y = (*(struct want *const *)b)->input->path;
	size_t n = above(x), m = above(y);
	int c = memcmp(x, y, min(n, m));
	if (!c && n != m)
		c = n < m ? -1 : 1;
	return c ? c : strcmp(x + n, y + m);
}

static bool is_beside(const struct want *a, const struct want *b)
{
	size_t n = above(a->input->path);
	return n == above(b->input->path) && memcmp(a->input->path, b->input->path, n) == 0;
}

/* How many from `first` on are in its directory. */
static uint32_t count_beside(const struct prepared *p, uint32_t first)
{
	uint32_t n = 1;
	while (first + n < p->n_order && is_beside(p->order[first], p->order[first + n]))
		n++;
	return n;
}

static bool has_name(const struct want *w)
{
	const char *name = path_base(w->input->path);
	return path_check(name, strlen(name)) == 0;
}

void sets_mark(struct prepared *p)
{
	p->order = xcalloc(p->n, sizeof *p->order);
	for (uint32_t i = 0; i < p->n; i++) {
		p->wants[i].needs_mount = true;
		if (has_name(&p->wants[i]))
			p->order[p->n_order++] = &p->wants[i];
	}
	if (p->n_order)
		qsort(p->order, p->n_order, sizeof *p->order, compare_wants);
	for (uint32_t i = 0, n; i < p->n_order; i += n) {
		n = count_beside(p, i);
		for (uint32_t k = i; n >= SET_LEAST && k < i + n; k++) {
			p->order[k]->may_join = true;
			p->order[k]->needs_mount = false;
		}
	}
}

static const struct tree *index_of(const struct used *u)
{
	return fetch_index(u->at ? u->at->tree : u->handle);
}

/* The largest are bound over theirs, which needs a place on the mount for each. */
static bool can_join(const struct want *w, uint32_t *n_large)
{
	const struct used *u = w->used;
	if (!w->may_join || !u->is_file || u->id.algorithm == DIGEST_NONE || (!u->at && !u->handle))
		return false;
	return tree_file_size(index_of(u), 0) < BINDS_SIZE_MIN || (*n_large)++ >= SET_LARGE_MOST;
}

/* ---- from files to a set */

/* Files of one directory, by name, and who wants them. */
struct group {
	struct node_file *files;
	struct want **wants;
	uint32_t n;
};

static int compare_files(const struct node_file *a, const struct node_file *b)
{
	int c = strcmp(a->name, b->name);
	return c ? c : memcmp(&a->tree, &b->tree, sizeof a->tree);
}

/* Calls of both: those of the group that the set has, and the others. */
static uint32_t split(const struct group *g, const struct set *s, struct group *common, struct group *rest)
{
	uint32_t n = 0, k = 0;
	for (uint32_t i = 0; i < g->n; i++) {
		while (k < s->at->n_files && compare_files(&s->at->files[k], &g->files[i]) < 0)
			k++;
		bool is_common = k < s->at->n_files && compare_files(&s->at->files[k], &g->files[i]) == 0;
		struct group *to = is_common ? common : rest;
		n += is_common;
		if (!to)
			continue;
		to->files[to->n] = g->files[i];
		to->wants[to->n++] = g->wants[i];
	}
	return n;
}

static void group_init(struct group *g, uint32_t room)
{
	*g = (struct group){.files = xcalloc(room, sizeof *g->files), .wants = xcalloc(room, sizeof(struct want *))};
}

static void group_fini(struct group *g)
{
	free(g->files);
	free((void *)g->wants);
}

static struct set *find(struct inputs *in, const struct group *g)
{
	char name[NODE_SET_NAME];
	node_set_name(g->files, g->n, name);
	list_foreach (&in->sets, struct set, link, s)
		if (s->at && streq(s->at->name, name))
			return s;
	return NULL;
}

/* The one with most of these files; NULL: none has half of them. */
static struct set *find_like(struct inputs *in, const struct group *g)
{
	struct set *best = NULL;
	uint32_t most = max(g->n / 2, SET_LEAST) - 1;
	list_foreach (&in->sets, struct set, link, s) {
		uint32_t n = s->at ? split(g, s, NULL, NULL) : 0;
		if (n <= most)
			continue;
		most = n;
		best = s;
	}
	return best;
}

static struct set *compose(struct inputs *in, const struct group *g)
{
	struct set *s = set_new(in, g->n);
	int r = node_mount_add_set(in->node, g->files, g->n, s, &s->at);
	if (!r)
		return s;
	if (r != -ENOTCONN)
		log_errno(-r, "compose a tree of %u inputs: they are mounted one by one", g->n);
	set_dispose(s);
	return NULL;
}

static void join(struct prepared *p, struct set *s, const struct group *g)
{
	assert(s->at->n_files == g->n);
	s->n_users++;
	p->sets = xrealloc(p->sets, (p->n_sets + 1) * sizeof(struct set *));
	p->sets[p->n_sets++] = s;
	for (uint32_t i = 0; i < g->n; i++) {
		struct want *w = g->wants[i];
		w->set = s;
		w->file = i;
		/* They stay open with it, so that the next attempt need not open them. */
		if (s->used[i] || !w->used)
			continue;
		s->used[i] = w->used;
		used_join(s->used[i]);
	}
}

/* Leaves in `g` what it found no set for. */
static bool place(struct prepared *p, struct group *g)
{
	struct inputs *in = p->owner;
	struct set *s = find(in, g), *like = s ? NULL : find_like(in, g);
	struct group common, rest;
	group_init(&common, g->n);
	group_init(&rest, g->n);
	if (like)
		split(g, like, &common, &rest);
	const struct group *chosen = like ? &common : g;
	if (!s)
		s = find(in, chosen);
	if (!s)
		s = compose(in, chosen);
	if (s)
		join(p, s, chosen);
	group_fini(&common);
	group_fini(g);
	*g = rest;
	return s;
}

static void place_all(struct prepared *p, uint32_t first, uint32_t n, uint32_t *n_large)
{
	struct group g;
	group_init(&g, n);
	for (uint32_t i = first; i < first + n; i++) {
		struct want *w = p->order[i];
		char *name = (char *)(uintptr_t)path_base(w->input->path);
		/* Of two at one path the view tells. */
		bool is_twice = g.n && streq(g.files[g.n - 1].name, name);
		if (!can_join(w, n_large) || is_twice)
			continue;
		g.files[g.n] = (struct node_file){.name = name, .tree = w->used->id};
		g.wants[g.n++] = w;
	}
	while (g.n >= SET_LEAST && place(p, &g))
		;
	group_fini(&g);
}

/* ---- of an attempt that runs since before */

/* What its files were found to be START need not say; but they have their names. */
static bool is_its_file(const struct want *w, const struct node_file *f)
{
	const struct digest *tree = &w->input->tree;
	return streq(path_base(w->input->path), f->name) &&
	       (tree->algorithm == DIGEST_NONE || digest_is_equal(tree, &f->tree));
}

/* Whether all of it is among the n wants from `first` on: then who they are is in g->wants. */
static bool has_all(const struct prepared *p, uint32_t first, uint32_t n, const struct set *s, struct group *g)
{
	uint32_t k = first;
	for (g->n = 0; g->n < s->at->n_files; g->n++) {
		const struct node_file *f = &s->at->files[g->n];
		while (k < first + n && !is_its_file(p->order[k], f))
			k++;
		if (k == first + n)
			return false;
		g->wants[g->n] = p->order[k];
	}
	return true;
}

void sets_hold(struct prepared *p)
{
	assert(p->is_held);
	if (p->n_sets)
		return;
	list_foreach (&p->owner->sets, struct set, link, s)
		for (uint32_t i = 0, n; i < p->n_order; i += n) {
			struct group g;
			n = count_beside(p, i);
			if (!p->order[i]->may_join || !s->is_ready || s->at->n_files > n)
				continue;
			group_init(&g, s->at->n_files);
			if (has_all(p, i, n, s, &g))
				join(p, s, &g);
			group_fini(&g);
		}
}

/* ---- of an attempt */

/* What was here is not any more: it is brought again. */
static bool has_lost(struct prepared *p)
{
	bool has = false;
	for (uint32_t i = 0; i < p->n; i++)
		if (p->wants[i].used->state == USED_GONE) {
			want_on_lost(&p->wants[i]);
			has = true;
			break;
		}
	return has;
}

void sets_arrange(struct prepared *p)
{
	struct inputs *in = p->owner;
	uint64_t attempt = p->attempt;
	uint32_t n_large = 0;
	assert(!p->is_arranged && p->n_ready == p->n && (p->is_held || !p->n_sets));
	if (in->tier < 0 || has_lost(p))
		return;
	for (uint32_t i = 0, n; in->tier > PROBE_TIER_PLAIN && !p->is_without && i < p->n_order; i += n) {
		n = count_beside(p, i);
		if (p->order[i]->may_join && !p->is_held)
			place_all(p, i, n, &n_large);
	}
	p->is_arranged = true;
	/* One that cannot be had may end them all. */
	for (uint32_t i = 0; map_get(&in->attempts, attempt) == p && i < p->n && p->is_arranged; i++) {
		struct want *w = &p->wants[i];
		if (w->set || w->used->at || w->used->unpacked)
			continue;
		w->needs_mount = true;
		w->is_ready = false;
		p->n_ready--;
		used_await(w->used, w);
	}
	if (map_get(&in->attempts, attempt) == p)
		prepared_go_on(p);
}

bool sets_are_ready(const struct prepared *p)
{
	for (uint32_t i = 0; i < p->n_sets; i++)
		if (!p->sets[i]->is_ready)
			return false;
	return true;
}

void sets_release(struct prepared *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		p->wants[i].set = NULL;
	p->is_arranged = false;
	while (p->n_sets)
		set_leave(p->sets[--p->n_sets]);
	free(steal(p->sets));
}
