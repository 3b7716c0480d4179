/* SPDX-License-Identifier: Apache-2.0 */
#include "data/data.h"

struct compare {
	const struct tree *a, *b;
	void (*line)(void *arg, char mark, const char *path);
	void *arg;
	uint64_t n;
};

static void say(struct compare *c, const struct tree *t, uint32_t i, char mark)
{
	_free_ char *path = tree_path(t, i);
	c->line(c->arg, mark, path);
	c->n++;
}

/* A node that the other tree lacks, and all below it. */
static void say_all(struct compare *c, const struct tree *t, uint32_t i, char mark)
{
	const struct tree_node *n = tree_node(t, i);
	say(c, t, i, mark);
	if (n->type == TREE_DIRECTORY)
		for (uint32_t k = n->first; k < n->first + n->n; k++)
			say_all(c, t, k, mark);
}

static bool is_content_equal(const struct compare *c, const struct tree_node *x, const struct tree_node *y, uint32_t i,
			     uint32_t k)
{
	if (x->type == TREE_FILE)
		return memcmp(tree_content(c->a, x->first)->address, tree_content(c->b, y->first)->address,
			      DIGEST_SIZE) == 0;
	return x->type != TREE_LINK || streq(tree_target(c->a, i), tree_target(c->b, k));
}

static void compare_nodes(struct compare *c, uint32_t i, uint32_t k);

/* Both lists are sorted alike: a merge. */
static void compare_children(struct compare *c, const struct tree_node *x, const struct tree_node *y)
{
	uint32_t i = x->first, k = y->first;
	while (i < x->first + x->n || k < y->first + y->n) {
		int order = i == x->first + x->n   ? 1
			    : k == y->first + y->n ? -1
						   : strcmp(tree_name(c->a, i), tree_name(c->b, k));
		if (order < 0)
			say_all(c, c->a, i++, '-');
		else if (order > 0)
			say_all(c, c->b, k++, '+');
		else
			compare_nodes(c, i++, k++);
	}
}

static void compare_nodes(struct compare *c, uint32_t i, uint32_t k)
{
	const struct tree_node *x = tree_node(c->a, i), *y = tree_node(c->b, k);
	if (x->type != y->type) {
		say_all(c, c->a, i, '-');
		say_all(c, c->b, k, '+');
		return;
	}
	if (!is_content_equal(c, x, y, i, k))
		say(c, c->b, k, 'M');
	else if (x->mode != y->mode || x->mtime_sec != y->mtime_sec || x->mtime_nsec != y->mtime_nsec)
		say(c, c->b, k, 'm');
	if (x->type == TREE_DIRECTORY)
		compare_children(c, x, y);
}

uint64_t tree_diff(const struct tree *a, const struct tree *b, void (*line)(void *arg, char mark, const char *path),
		   void *arg)
{
	struct compare c = {.a = a, .b = b, .line = line, .arg = arg};
	compare_nodes(&c, 0, 0);
	return c.n;
}
