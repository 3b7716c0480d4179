/* SPDX-License-Identifier: Apache-2.0
 * Looking in: found out when it is asked for, so that nothing is kept for it. */
#include "core/core_internal.h"

static struct core_why why_items(const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		const struct core_item *it = t->items[i];
		uint64_t producer = it->producer ? it->producer->number : 0;
		if (it->state == CORE_ITEM_FAILED)
			return (struct core_why){CORE_REASON_INPUT_FAILED, it->number, 0, producer, NULL};
	}
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		const struct core_item *it = t->items[i];
		uint64_t producer = it->producer ? it->producer->number : 0;
		if (it->state == CORE_ITEM_LOST)
			return (struct core_why){CORE_REASON_INPUT_LOST, it->number, 0, producer, NULL};
		if (it->state == CORE_ITEM_EXPECTED)
			return (struct core_why){CORE_REASON_INPUT, it->number, 0, producer, NULL};
	}
	return (struct core_why){.reason = CORE_REASON_TURN};
}

/* No open node is large enough: what it lacks, by asking again for less. */
static struct core_why why_no_node(const struct core *c, const struct core_class *k)
{
	struct core_vector need = core_vector_at(c, &k->need);
	if (need.features) {
		struct core_vector features = {.features = need.features};
		if (!core_bracket_find(&c->whole, &features, NULL, NULL)) {
			unsigned first = (unsigned)__builtin_ctzll(need.features);
			return (struct core_why){.reason = CORE_REASON_FEATURE, .name = c->features.texts[first]};
		}
	}
	for (size_t i = 0; i < c->kinds.n; i++) {
		struct core_vector named = {0};
		named.at[CORE_DIM_NAMED + i] = need.at[CORE_DIM_NAMED + i];
		if (!core_bracket_find(&c->whole, &named, NULL, NULL))
			return (struct core_why){.reason = CORE_REASON_TOO_LARGE, .name = c->kinds.texts[i]};
	}
	uint64_t wall_usec = need.at[CORE_DIM_TIME];
	need.at[CORE_DIM_TIME] = 0;
	if (wall_usec && core_bracket_find(&c->whole, &need, NULL, NULL))
		return (struct core_why){.reason = CORE_REASON_WALL_TIME};
	return (struct core_why){.reason = CORE_REASON_TOO_LARGE};
}

static struct core_why why_queued(const struct core *c, const struct core_task *t)
{
	const struct core_lane *l = t->lane;
	const struct core_class *k = t->class;
	const char *category = core_category_stop(k);
	const struct core_counter *counter = core_counter_stop(k);
	if (!core_wait_has_all(t))
		return why_items(t);
	if (!c->n_open)
		return (struct core_why){.reason = CORE_REASON_NO_NODE};
	const struct core_vector need = core_vector_at(c, &k->need);
	if (!core_bracket_find(&c->whole, &need, NULL, NULL))
		return why_no_node(c, k);
	if (category)
		return (struct core_why){.reason = CORE_REASON_CATEGORY, .name = category};
	if (counter)
		return (struct core_why){.reason = CORE_REASON_COUNTER, .name = counter->name};
	if (!l->is_blocked)
		return (struct core_why){.reason = CORE_REASON_TURN};
	if (l->local_at && !l->is_late)
		return (struct core_why){
			.reason = CORE_REASON_HOLDER_BUSY,
			.item = list_is_empty(&l->tree->items)
					? 0
					: list_first(&l->tree->items, struct core_item, of_tree)->number,
			.node = l->tree->holders[0]->node->number};
	return (struct core_why){.reason = CORE_REASON_NODES_BUSY, .node = c->kept_for == l ? c->kept->number : 0};
}

static struct core_why why_staging(const struct core_task *t)
{
	struct core_why why = {.reason = CORE_REASON_STAGING, .node = t->node->number};
	for (uint32_t i = 0; i < t->n_inputs && !why.item; i++) {
		const struct core_replica *r = core_replica_find(t->node, t->items[i]->tree);
		if (!r || !r->is_whole)
			why.item = t->items[i]->number;
	}
	return why;
}

int core_task_why(const struct core *c, uint64_t task, struct core_why *why)
{
	const struct core_task *t = core_task_find(c, task);
	*why = (struct core_why){0};
	if (!t)
		return -ENOENT;
	switch (t->state) {
	case CORE_STATE_WAITING:
		*why = why_items(t);
		break;
	case CORE_STATE_QUEUED:
		*why = why_queued(c, t);
		break;
	case CORE_STATE_STAGING:
		*why = why_staging(t);
		break;
	case CORE_STATE_ADOPTION:
	case CORE_STATE_ADOPTION_CANCELLED:
		*why = (struct core_why){.reason = CORE_REASON_ADOPTION, .node = t->node->number};
		break;
	case CORE_STATE_HELD:
	case CORE_STATE_FAILED:
		if (t->reason == CORE_REASON_INPUT_FAILED)
			*why = why_items(t);
		why->reason = t->reason;
		break;
	default:
		break;
	}
	return 0;
}

enum core_reason core_task_reason(const struct core *c, uint64_t task)
{
	struct core_why why;
	core_task_why(c, task, &why);
	return why.reason;
}

const char *core_reason_text(enum core_reason r)
{
	static const char *const texts[] = {
		[CORE_REASON_NONE] = "it does not wait",
		[CORE_REASON_NO_NODE] = "no node is connected",
		[CORE_REASON_NODES_BUSY] = "the nodes that could run it are full",
		[CORE_REASON_TOO_LARGE] = "no connected node has as many cores or as much memory",
		[CORE_REASON_ADOPTION] = "it may be running on a node that is not back yet",
		[CORE_REASON_CRASHES] = "it is held: nodes were lost under it too often",
		[CORE_REASON_FEATURE] = "no connected node has a feature that it asks for",
		[CORE_REASON_WALL_TIME] = "no connected node stays as long as it may take",
		[CORE_REASON_CATEGORY] = "as many of its category are running as may at once",
		[CORE_REASON_COUNTER] = "a counter that it takes from is used up",
		[CORE_REASON_INPUT] = "it waits for an input that another task makes",
		[CORE_REASON_INPUT_LOST] = "an input was lost, and is made again if it can be",
		[CORE_REASON_INPUT_FAILED] = "an input will never be there",
		[CORE_REASON_HOLDER_BUSY] = "it waits a moment for a node that has its input",
		[CORE_REASON_STAGING] = "its inputs are on the way to its node",
		[CORE_REASON_DEADLINE] = "its deadline passed before it was begun",
		[CORE_REASON_TURN] = "its turn comes at once",
	};
	_Static_assert(countof(texts) == CORE_REASONS, "a text for each reason");
	return (size_t)r < countof(texts) ? texts[r] : "unknown";
}

static uint64_t unused(const struct core_node *n, enum core_dim dim)
{
	return n->whole.at[dim] - min(n->used.at[dim], n->whole.at[dim]);
}

bool core_room_of(const struct core *c, uint64_t node, struct core_room *room)
{
	const struct core_node *n = core_node_find(c, node);
	*room = (struct core_room){.cores = 0};
	if (!n || !n->is_offered)
		return false;
	*room = (struct core_room){
		.cores = unused(n, CORE_DIM_CORES),
		.memory = unused(n, CORE_DIM_MEMORY),
		.disk = unused(n, CORE_DIM_DISK),
		.gpus = unused(n, CORE_DIM_GPUS),
		.n_tasks = n->n_tasks,
		.is_full = n->task_limit && n->n_tasks >= n->task_limit,
	};
	return true;
}

void core_numbers(const struct core *c, struct core_numbers *n)
{
	const uint64_t *in = c->n_in_state;
	const struct core_node *largest = core_bracket_first(&c->whole);
	*n = (struct core_numbers){
		.queued = in[CORE_STATE_QUEUED] + in[CORE_STATE_WAITING],
		.running = in[CORE_STATE_RUNNING] + in[CORE_STATE_STOPPING] + in[CORE_STATE_ADOPTION] +
			   in[CORE_STATE_ADOPTION_CANCELLED] + in[CORE_STATE_STAGING] - c->n_seconds,
		.held = in[CORE_STATE_HELD],
		.nodes = c->n_present,
		.cores = c->cores,
		.cores_free = c->cores_free,
		.largest_cores = largest ? largest->whole.at[CORE_DIM_CORES] : 0,
		.largest_memory = largest ? largest->whole.at[CORE_DIM_MEMORY] : 0,
		.waiting = in[CORE_STATE_WAITING],
		.staging = in[CORE_STATE_STAGING],
		.items = c->items.n,
		.trees = c->trees.n,
		.replicas = c->n_replicas,
		.fetches = c->n_moves,
		.tokens = c->n_tokens,
		.seconds = c->n_seconds,
	};
}
