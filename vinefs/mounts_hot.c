/* SPDX-License-Identifier: Apache-2.0
 * Hot sets: which files of a tree were read, in order, in a file of its own; fetched ahead the next time. */
#include "vinefs/mounts_internal.h"

#include "common/log.h"
#include "common/path.h"

#define HOT_MAX (16u << 20)

/* A hot set on its way to or from its file, in the pool. */
struct hot_work {
	struct fetch_work work;
	struct served *served; /* of one that is read: it waits */
	char *path;
	uint32_t *nodes, n_nodes; /* n_nodes: of the tree */
	size_t n;
};

/* What is known stays, in its order, for it was warm, and what is warm is not asked for: so what is new comes behind, and it does not matter that the warming itself was seen. */
static void run_hot_save(struct fetch_work *w)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	size_t n_known = 0, n_new = 0;
	_free_ uint32_t *known = (uint32_t *)(void *)path_read(h->path, HOT_MAX, &n_known);
	_free_ bool *is_known = xcalloc(h->n_nodes, sizeof *is_known);
	_free_ uint32_t *all = NULL;
	n_known = known ? n_known / sizeof *known : 0;
	all = xcalloc(n_known + h->n, sizeof *all);
	for (size_t i = 0; i < n_known; i++) {
		if (known[i] < h->n_nodes && !is_known[known[i]])
			all[n_new++] = known[i];
		if (known[i] < h->n_nodes)
			is_known[known[i]] = true;
	}
	n_known = n_new;
	for (size_t i = 0; i < h->n; i++)
		if (!is_known[h->nodes[i]])
			all[n_new++] = h->nodes[i];
	if (n_new == n_known || n_new > HOT_MAX / sizeof *all)
		return;
	int r = path_write(h->path, all, n_new * sizeof *all, 0600, false);
	if (r)
		log_errno(-r, "write %s", h->path);
}

static void on_hot_saved(struct fetch_work *w, bool is_run)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	(void)is_run;
	free(h->path);
	free(h->nodes);
	free(h);
}

static struct hot_work *hot_work_new(const struct served *s)
{
	struct hot_work *h = NEW(struct hot_work);
	char id[DIGEST_TEXT_SIZE];
	h->path = path_join(s->owner->settings.hot, digest_text(&s->id, id));
	return h;
}

/* The directories follow from them. */
static void keep_files(struct hot_work *h, const struct tree *t)
{
	size_t n = 0;
	h->n_nodes = tree_n_nodes(t);
	for (size_t i = 0; i < h->n; i++) {
		assert(h->nodes[i] < h->n_nodes);
		if (tree_node(t, h->nodes[i])->type == TREE_FILE)
			h->nodes[n++] = h->nodes[i];
	}
	h->n = n;
}

void mounts_hot_save(struct served *s, bool is_last)
{
	if (s->source) /* a draft has no name to keep it under */
		return;
	struct hot_work *h = hot_work_new(s);
	h->work = (struct fetch_work){.run = run_hot_save, .on_done = on_hot_saved};
	int r = mount_hot(s->mount, "", &h->nodes, &h->n);
	if (!r)
		keep_files(h, fetch_index(s->tree));
	if (!r && h->n && !is_last)
		return fetch_work(s->owner->settings.fetch, &h->work);
	if (!r && h->n)
		run_hot_save(&h->work);
	on_hot_saved(&h->work, true);
}

static void run_hot_load(struct fetch_work *w)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	size_t n = 0;
	h->nodes = (uint32_t *)(void *)path_read(h->path, HOT_MAX, &n);
	h->n = h->nodes ? n / sizeof *h->nodes : 0;
}

static void on_hot_loaded(struct fetch_work *w, bool is_run)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	struct served *s = h->served;
	uint32_t n_nodes = tree_n_nodes(fetch_index(s->tree));
	size_t n = 0;
	/* The file is no authority: what is no node of the tree is left out. */
	for (size_t i = 0; i < h->n; i++)
		if (h->nodes[i] < n_nodes && tree_node(fetch_index(s->tree), h->nodes[i])->type == TREE_FILE)
			h->nodes[n++] = h->nodes[i];
	if (is_run && n)
		fetch_ahead(s->tree, h->nodes, n);
	on_hot_saved(w, is_run);
	mounts_unuse(s);
}

void mounts_hot_load(struct served *s)
{
	struct hot_work *h = hot_work_new(s);
	h->work = (struct fetch_work){.run = run_hot_load, .on_done = on_hot_loaded};
	assert(s->tree);
	h->served = s;
	atomic_fetch_add(&s->n_users, 1);
	fetch_work(s->owner->settings.fetch, &h->work);
}
