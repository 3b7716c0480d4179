/* SPDX-License-Identifier: Apache-2.0
 * Hot sets: what was read of a tree, in order, in a file of its own; fetched ahead the next time. */
#include "vinefs/mounts_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <sys/stat.h>

#define HOT_MAX (16u << 20)

/* A hot set on its way to or from its file, in the pool. */
struct hot_work {
	struct fetch_work work;
	struct served *served; /* of one that is read: it waits */
	char *path;
	uint32_t *nodes;
	size_t n;
};

static void run_hot_save(struct fetch_work *w)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	struct stat st;
	/* Who looked at less does not spoil what is known. */
	if (stat(h->path, &st) == 0 && (size_t)st.st_size >= h->n * sizeof *h->nodes)
		return;
	int r = path_write(h->path, h->nodes, h->n * sizeof *h->nodes, 0600, false);
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

void mounts_hot_save(struct served *s, bool is_last)
{
	if (s->source) /* a draft has no name to keep it under */
		return;
	struct hot_work *h = hot_work_new(s);
	h->work = (struct fetch_work){.run = run_hot_save, .on_done = on_hot_saved};
	int r = mount_hot(s->mount, "", &h->nodes, &h->n);
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
		if (h->nodes[i] && h->nodes[i] < n_nodes &&
		    tree_node(fetch_index(s->tree), h->nodes[i])->type == TREE_FILE)
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
