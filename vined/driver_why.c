/* SPDX-License-Identifier: Apache-2.0
 * Why a task waits: the core's reason in words, with the item, node and task that it is about, and what to do. The one place that
 * makes these sentences. */
#include "vined/driver_internal.h"

#include <inttypes.h>
#include <stdio.h>

static const char *size_text(uint64_t size, char to[32])
{
	if (size >> 30)
		snprintf(to, 32, "%.1f GiB", (double)(size >> 20) / 1024);
	else
		snprintf(to, 32, "%" PRIu64 " MiB", size >> 20);
	return to;
}

static void say_too_large(const struct driver *d, const struct task *t, const struct core_why *why, char reason[256])
{
	struct core_numbers c;
	char wanted[64] = "", largest[64] = "", size[32];
	const struct store_shape *s = &t->shape->row;
	core_numbers(d->core, &c);
	if (why->name) {
		snprintf(reason, 256, "no node offers as much of resource '%.100s' as it asks for", why->name);
		return;
	}
	if (s->memory) {
		snprintf(wanted, sizeof wanted, " and %s of memory", size_text(s->memory, size));
		snprintf(largest, sizeof largest, " and %s", size_text(c.largest_memory, size));
	}
	uint32_t n = max(s->cores, 1u);
	bool is_large = n > c.largest_cores || s->memory > c.largest_memory;
	if (is_large)
		snprintf(reason, 256, "no node is large enough: it needs %u core%s%s, the largest has %" PRIu64 "%s", n,
			 n == 1 ? "" : "s", wanted, c.largest_cores, largest);
	else
		snprintf(reason, 256, "no node has all of it at once: %u core%s%s, %u gpus and %s of disk", n,
			 n == 1 ? "" : "s", wanted, s->gpus, size_text(s->disk, size));
}

static void say_resting(const struct node *n, char reason[256])
{
	snprintf(reason, 256, "node %.60s rests: %.150s", n->name, node_resting(n));
}

static const char *name_of_item(const struct driver *d, uint64_t item)
{
	const struct item *i = item ? map_get(&d->items, item) : NULL;
	return i ? i->name : "";
}

static const char *name_of_node(const struct driver *d, uint64_t node)
{
	const struct node *n = node ? map_get(&d->nodes, node) : NULL;
	return n ? n->name : "";
}

static void say_input(const struct driver *d, const struct core_why *why, char reason[256])
{
	const struct item *i = map_get(&d->items, why->item);
	const char *item = i ? i->name : "";
	char by[64] = "";
	uint64_t maker = i ? i->producer : why->producer; /* the core forgets one that failed */
	if (maker)
		snprintf(by, sizeof by, ", which task %" PRIu64 " makes", maker);
	if (why->reason == CORE_REASON_INPUT_FAILED)
		snprintf(reason, 256, "its input %.110s%s%s will never be there%s%.90s", item, by, maker ? "," : "",
			 i && i->trouble ? ": " : "", i && i->trouble ? i->trouble : "");
	else if (why->reason == CORE_REASON_INPUT_LOST)
		snprintf(reason, 256, "its input %.140s%s%s was lost%s", item, by, maker ? "," : "",
			 maker ? " and is made again" : "; nobody can make it again");
	else if (maker)
		snprintf(reason, 256, "it waits for input %.140s%s", item, by);
	else
		snprintf(reason, 256, "it waits for input %.140s, which no node that is there has", item);
}

static void say_counter(const struct driver *d, const struct core_why *why, char reason[256])
{
	uint64_t total;
	if (!counter_total(d, why->name, &total))
		snprintf(reason, 256,
			 "it takes from counter %.64s, which nobody has set: vine_set() sets counter.%.64s", why->name,
			 why->name);
	else if (!total)
		snprintf(reason, 256, "counter %.100s is used up: it was set to 0", why->name);
	else
		snprintf(reason, 256, "counter %.100s is used up: there are %" PRIu64, why->name, total);
}

/* Of what the core calls a category the run's number goes first. */
static const char *category_word(const char *name)
{
	const char *colon = strchr(name, ':');
	return colon ? colon + 1 : name;
}

void why_text(const struct driver *d, const struct task *t, const struct core_why *why, char reason[256])
{
	const char *node = name_of_node(d, why->node), *item = name_of_item(d, why->item);
	const struct node *resting = NULL;
	switch (why->reason) {
	case CORE_REASON_NO_NODE:
	case CORE_REASON_TOO_LARGE:
		resting = node_find_resting(d, t);
		if (resting)
			say_resting(resting, reason);
		else if (why->reason == CORE_REASON_TOO_LARGE)
			say_too_large(d, t, why, reason);
		else
			snprintf(reason, 256, "%s", core_reason_text(why->reason));
		break;
	case CORE_REASON_FEATURE:
		snprintf(reason, 256, "no connected node has feature '%.100s'", why->name);
		break;
	case CORE_REASON_CATEGORY:
		snprintf(reason, 256, "as many of category %.100s are running as may at once",
			 category_word(why->name));
		break;
	case CORE_REASON_COUNTER:
		say_counter(d, why, reason);
		break;
	case CORE_REASON_INPUT:
	case CORE_REASON_INPUT_LOST:
	case CORE_REASON_INPUT_FAILED:
		say_input(d, why, reason);
		break;
	case CORE_REASON_HOLDER_BUSY:
		snprintf(reason, 256, "it waits a moment for node %.60s, which has its input %.120s", node, item);
		break;
	case CORE_REASON_STAGING:
		snprintf(reason, 256, "its input %.120s is on the way to node %.60s", item, node);
		break;
	case CORE_REASON_ADOPTION:
		snprintf(reason, 256, "it may be running on node %.60s, which is not back yet", node);
		break;
	default:
		snprintf(reason, 256, "%s", core_reason_text(why->reason));
		break;
	}
}

/* ---- what to do */

static void cure_too_large(const struct driver *d, const struct task *t, const struct core_why *why, char cure[256])
{
	struct core_numbers c;
	const struct store_shape *s = &t->shape->row;
	core_numbers(d->core, &c);
	if (why->name)
		snprintf(cure, 256,
			 "start a node with --resource %.100s=N, or vine cancel %" PRIu64 " and ask for less",
			 why->name, t->id);
	else if (max(s->cores, 1u) > c.largest_cores)
		snprintf(cure, 256,
			 "vine cancel %" PRIu64 ", and submit it with -c %" PRIu64 "; or start a larger node", t->id,
			 c.largest_cores);
	else if (s->memory > c.largest_memory)
		snprintf(cure, 256,
			 "vine cancel %" PRIu64 ", and submit it with --mem %" PRIu64 "M; or start a larger node",
			 t->id, c.largest_memory >> 20);
	else
		snprintf(cure, 256, "vine status shows what nodes offer; vine cancel %" PRIu64 ", and ask for less",
			 t->id);
}

static void cure_input(const struct driver *d, const struct core_why *why, char cure[256])
{
	const struct item *i = map_get(&d->items, why->item);
	uint64_t maker = i ? i->producer : why->producer;
	if (maker)
		snprintf(cure, 256, "vine why %" PRIu64, maker);
	else if (why->reason == CORE_REASON_INPUT && i)
		snprintf(cure, 256,
			 "vine status: is a node away that has it? Else submit it again with -i client:PATH");
	else if (why->reason != CORE_REASON_INPUT)
		snprintf(cure, 256, "put it there, and submit the task again");
}

/* What a person can do, if it is not just waiting. */
static void cure_text(const struct driver *d, const struct task *t, const struct core_why *why, char cure[256])
{
	const char *node = name_of_node(d, why->node);
	switch (why->reason) {
	case CORE_REASON_NO_NODE:
		snprintf(cure, 256, "vine up starts a node of your own cluster; vine join HOST:PORT one elsewhere");
		break;
	case CORE_REASON_TOO_LARGE:
		cure_too_large(d, t, why, cure);
		break;
	case CORE_REASON_FEATURE:
		snprintf(cure, 256, "start a node with --feature %.100s, or submit it without", why->name);
		break;
	case CORE_REASON_WALL_TIME:
		snprintf(cure, 256, "submit it with a shorter -t, or start a node that stays longer");
		break;
	case CORE_REASON_INPUT:
	case CORE_REASON_INPUT_LOST:
	case CORE_REASON_INPUT_FAILED:
		cure_input(d, why, cure);
		break;
	case CORE_REASON_ADOPTION:
		snprintf(cure, 256, "vine why %.100s", node);
		break;
	case CORE_REASON_CRASHES:
		snprintf(cure, 256,
			 "vine logs %" PRIu64 ": perhaps it is what ends nodes; vine cancel %" PRIu64 " ends it", t->id,
			 t->id);
		break;
	default:
		break;
	}
}

static const char *const state_names[] = {"queued", "running", "held", "ended", "delivered"};

/* Of an element that was not given to the core yet. */
static int why_pending(const struct driver *d, uint64_t id, struct driver_why *out)
{
	const struct run *r;
	for (size_t i = 0; (r = map_next(&d->runs, &i));) {
		const struct array *a = array_of_pending(r, id);
		if (!a)
			continue;
		out->state = state_names[STORE_QUEUED];
		if (a->running && a->n_live >= a->running)
			snprintf(out->text, sizeof out->text, "as many of its array are running as may at once: %u",
				 a->running);
		else
			snprintf(out->text, sizeof out->text, "others of its array go first");
		return 0;
	}
	return -ENOENT;
}

int driver_why(const struct driver *d, uint64_t id, struct driver_why *out)
{
	const struct task *t = task_find(d, id);
	struct core_why why = {0};
	*out = (struct driver_why){.state = "", .item = "", .node = ""};
	if (!t)
		return why_pending(d, id, out);
	assert(t->state < countof(state_names));
	out->state = state_names[t->state];
	if (t->state >= STORE_ENDED)
		return 0;
	core_task_why(d->core, id, &why);
	out->item = name_of_item(d, why.item);
	out->node = task_node(t) ? task_node(t)->name : name_of_node(d, why.node);
	out->producer = why.producer;
	if (why.reason != CORE_REASON_NONE) {
		why_text(d, t, &why, out->text);
		cure_text(d, t, &why, out->cure);
	}
	return 0;
}

void driver_reason(const struct driver *d, uint64_t task, char reason[256])
{
	struct driver_why why;
	driver_why(d, task, &why);
	memcpy(reason, why.text, sizeof why.text);
}
