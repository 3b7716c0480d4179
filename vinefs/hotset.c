/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/hotset.h"

#include "common/log.h"
#include "common/path.h"

#define SIZE_MAX_OF_ONE (16u << 20)

/* One on its way to its file, in the pool. */
struct saving {
	struct fetch_work work;
	char *path;
	uint32_t *nodes, n_nodes; /* n_nodes: of the tree */
	size_t n;
};

static char *path_of(const char *directory, const struct tree *t)
{
	char id[DIGEST_TEXT_SIZE];
	return path_join(directory, digest_text(tree_id(t), id));
}

/* What is known stays, in its order, for it was warm, and what is warm is not asked for: so what is new comes behind, and it does not matter that the warming itself was seen. */
static void run_save(struct fetch_work *w)
{
	struct saving *h = container_of(w, struct saving, work);
	size_t n_known = 0, n_new = 0;
	_free_ uint32_t *known = (uint32_t *)(void *)path_read(h->path, SIZE_MAX_OF_ONE, &n_known);
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
	if (n_new == n_known || n_new > SIZE_MAX_OF_ONE / sizeof *all)
		return;
	int r = path_write(h->path, all, n_new * sizeof *all, 0600, false);
	if (r)
		log_errno(-r, "write %s", h->path);
}

static void on_saved(struct fetch_work *w, bool is_run _unused_)
{
	struct saving *h = container_of(w, struct saving, work);
	free(h->path);
	free(h->nodes);
	free(h);
}

/* The directories follow from them. */
size_t hotset_files(const struct tree *t, uint32_t *nodes, size_t n)
{
	size_t n_kept = 0;
	for (size_t i = 0; i < n; i++)
		if (nodes[i] < tree_n_nodes(t) && tree_node(t, nodes[i])->type == TREE_FILE)
			nodes[n_kept++] = nodes[i];
	return n_kept;
}

void hotset_save(struct fetch *f, const char *directory, const struct tree *t, uint32_t *nodes, size_t n)
{
	struct saving *h = NEW(struct saving);
	h->nodes = nodes;
	h->n = hotset_files(t, nodes, n);
	h->n_nodes = tree_n_nodes(t);
	h->path = path_of(directory, t);
	h->work = (struct fetch_work){.run = run_save, .on_done = on_saved};
	if (h->n && f) {
		fetch_work(f, &h->work);
		return;
	}
	if (h->n)
		run_save(&h->work);
	on_saved(&h->work, true);
}

static void run_load(struct fetch_work *w)
{
	struct hotset_load *h = container_of(w, struct hotset_load, work);
	size_t n = 0;
	h->nodes = (uint32_t *)(void *)path_read(h->path, SIZE_MAX_OF_ONE, &n);
	h->n = h->nodes ? n / sizeof *h->nodes : 0;
}

static void on_loaded(struct fetch_work *w, bool is_run)
{
	struct hotset_load *h = container_of(w, struct hotset_load, work);
	_free_ uint32_t *nodes = steal(h->nodes);
	free(steal(h->path));
	/* The file is no authority: what is no node of the tree is left out. */
	h->on_done(h, nodes, is_run && nodes ? hotset_files(h->tree, nodes, h->n) : 0);
}

void hotset_load(struct fetch *f, const char *directory, const struct tree *t, struct hotset_load *h)
{
	assert(h->on_done && !h->path);
	h->tree = t;
	h->path = path_of(directory, t);
	h->work = (struct fetch_work){.run = run_load, .on_done = on_loaded};
	fetch_work(f, &h->work);
}
