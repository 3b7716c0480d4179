/* SPDX-License-Identifier: Apache-2.0
 * Among a million tasks nothing that a decision looks at is in the processor's cache, and most of it is found by what was looked
 * at just before. So for some decisions at once, step by step, the processor is asked for what each will need next, and
 * waits for many lines in the time of one. A wrong guess costs a little time, nothing else. */
#include "core/core_internal.h"

#define AHEAD 16u
#define LINE 64u

static void warm(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i += LINE)
		__builtin_prefetch((const char *)p + i);
}

/* The nodes that are to be asked next and have room. */
static size_t find_nodes(const struct core *c, const struct core_node *nodes[AHEAD])
{
	size_t n = 0;
	const struct list *at = c->grown.next;
	for (unsigned i = 0; i < AHEAD && at != &c->grown; i++, at = at->next) {
		const struct core_node *node = list_entry(at, const struct core_node, grown);
		if (node->cores_free && node->local.n)
			nodes[n++] = node;
	}
	return n;
}

/* Which of its trees each will probably serve. */
static void warm_trees(size_t n, const struct core_node *const nodes[AHEAD], const struct core_tree *trees[AHEAD])
{
	const struct core_replica *replicas[AHEAD];
	for (size_t i = 0; i < n; i++) {
		core_bracket_warm(&nodes[i]->local);
		warm(&nodes[i]->whole, LINE);
		warm(&nodes[i]->used, LINE);
	}
	for (size_t i = 0; i < n; i++) {
		replicas[i] = core_bracket_first(&nodes[i]->local);
		warm(replicas[i], sizeof *replicas[i]);
		core_bracket_warm_first(&nodes[i]->local);
	}
	for (size_t i = 0; i < n; i++) {
		trees[i] = replicas[i]->tree;
		warm(trees[i], 2 * LINE);
	}
}

static void warm_tasks(const struct core *c, size_t n, const struct core_tree *const trees[AHEAD])
{
	const struct core_lane *lanes[AHEAD];
	const struct list *tasks[AHEAD];
	for (size_t i = 0; i < n; i++)
		core_bracket_warm(&trees[i]->local);
	for (size_t i = 0; i < n; i++) {
		lanes[i] = core_bracket_first(&trees[i]->local);
		warm(lanes[i], sizeof *lanes[i]);
		core_bracket_warm_first(&trees[i]->local);
	}
	for (size_t i = 0; i < n; i++) {
		tasks[i] = lanes[i]->queue.tasks.next;
		warm(container_of(tasks[i], const struct core_task, link), 2 * LINE);
		core_bracket_warm_at(&c->late, lanes[i]->late_at);
		if (lanes[i]->queue.n > 1)
			continue;
		/* With its last task the lane leaves its lists. */
		warm(lanes[i]->turn.prev, LINE);
		warm(lanes[i]->turn.next, LINE);
		warm(lanes[i]->of_tree.prev, LINE);
		warm(lanes[i]->of_tree.next, LINE);
	}
	for (size_t i = 0; i < n; i++)
		warm(tasks[i]->next, LINE);
}

void core_warm(struct core *c)
{
	const struct core_node *nodes[AHEAD];
	const struct core_tree *trees[AHEAD];
	if (c->n_warm) {
		c->n_warm--;
		return;
	}
	size_t n = find_nodes(c, nodes);
	c->n_warm = AHEAD - 1;
	warm_trees(n, nodes, trees);
	warm_tasks(c, n, trees);
}

/* The same for one task: who holds what it reads. */
void core_warm_holders(const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_inputs; i++)
		warm(t->items[i]->tree, LINE);
	for (uint32_t i = 0; i < t->n_inputs; i++)
		warm(t->items[i]->tree->holders, LINE);
	for (uint32_t i = 0; i < t->n_inputs; i++)
		for (uint32_t k = 0; !t->items[i]->tree->is_wide && k < t->items[i]->tree->n_holders; k++)
			warm(t->items[i]->tree->holders[k], LINE);
	for (uint32_t i = 0; i < t->n_inputs; i++)
		for (uint32_t k = 0; !t->items[i]->tree->is_wide && k < t->items[i]->tree->n_holders; k++)
			warm(t->items[i]->tree->holders[k]->node, LINE);
}
