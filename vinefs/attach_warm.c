/* SPDX-License-Identifier: Apache-2.0
 * In the foreground, and not for long: whoever walks a mount in the background makes it busy for who wants to unmount it. */
#include "vinefs/attach.h"

#include "common/path.h"
#include "vinefs/mount/mount.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define BUDGET_USEC 150000u
#define BUDGET_NAMES 200000u
#define FILE_SIZE_MAX \
	(8u           \
	 << 20) /* a larger one is read in order, which the kernel sees by itself; and one call must not take all the time */
#define HOT_SIZE_MAX (16u << 20)

struct warming {
	const char *directory;
	struct tree *tree;
	uint64_t until_usec;
	uint64_t n_names;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* False: that was all that may be. */
static bool warm(struct warming *w, uint32_t node)
{
	struct mount_warmed done;
	const struct tree_node *n = tree_node(w->tree, node);
	assert(n->type != TREE_LINK);
	if (n->type == TREE_DIRECTORY) {
		w->n_names += n->n;
		if (w->n_names >= BUDGET_NAMES)
			return false;
	}
	return mount_warm(w->directory, w->tree, &node, 1, w->until_usec, &done) == 0;
}

/* A mark for each directory to be listed. */
static bool *choose(const struct tree *t, const uint32_t *hot, size_t n_hot)
{
	bool *is_chosen = xcalloc(tree_n_nodes(t), sizeof *is_chosen);
	bool is_any = false;
	for (size_t i = 0; i < n_hot; i++) {
		if (hot[i] >= tree_n_nodes(t) || tree_node(t, hot[i])->type != TREE_FILE)
			continue;
		is_any = true;
		for (uint32_t at = tree_node(t, hot[i])->parent; !is_chosen[at]; at = tree_node(t, at)->parent)
			is_chosen[at] = true;
	}
	for (uint32_t i = 0; i < tree_n_nodes(t) && !is_any; i++)
		is_chosen[i] = true;
	return is_chosen;
}

void attach_warm(const char *directory, const struct digest *id, const char *index, const char *hot)
{
	_cleanup_(tree_freep) struct tree *tree = NULL;
	struct warming w = {.directory = directory, .until_usec = now_usec() + BUDGET_USEC};
	_close_ int fd = open(index, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n_hot = 0;
	if (fd < 0 || tree_read(fd, id, &tree) < 0)
		return;
	w.tree = tree;
	_free_ uint32_t *nodes = (uint32_t *)(void *)path_read(hot, HOT_SIZE_MAX, &n_hot);
	n_hot = nodes ? n_hot / sizeof *nodes : 0;
	_free_ bool *is_chosen = choose(tree, nodes, n_hot);
	bool is_more = true;
	/* Numbers are in breadth-first order. */
	for (uint32_t i = 0; i < tree_n_nodes(tree) && is_more; i++)
		if (is_chosen[i] && tree_node(tree, i)->type == TREE_DIRECTORY)
			is_more = warm(&w, i);
	for (size_t i = 0; i < n_hot && is_more; i++)
		if (nodes[i] < tree_n_nodes(tree) && tree_node(tree, nodes[i])->type == TREE_FILE &&
		    tree_file_size(tree, nodes[i]) <= FILE_SIZE_MAX)
			is_more = warm(&w, nodes[i]);
}
