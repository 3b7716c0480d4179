/* SPDX-License-Identifier: Apache-2.0
 * Where a task could run that nobody has submitted: node by node what it lacks, as match.c of the core would say it, and what is there of its inputs. */
#include "vined/driver_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOKS_MOST 300000u /* names compared: some milliseconds; of more items some are not found, and nobody waits */

/* Trees of the items, as far as anybody knows them. */
struct wanted {
	const struct tree *trees[countof(((struct driver_wish *)0)->items)];
	size_t n;
};

/* One look at the items for all of them; those of runs by their names alone. */
static void find_trees(const struct driver *d, const struct driver_wish *w, struct wanted *found)
{
	const struct item *item;
	size_t looks = 0;
	for (size_t i = 0; i < w->n_items; i++) {
		const char *name = w->items[i];
		const struct tree *t =
			has_prefix(name, "tree:") ? map_get_text(&d->trees_by_digest, name + strlen("tree:")) : NULL;
		if (t)
			found->trees[found->n++] = t;
	}
	for (size_t i = 0; w->n_items && looks < LOOKS_MOST && (item = map_next(&d->items, &i)); looks += w->n_items) {
		bool is_meant = false;
		for (size_t k = 0; k < w->n_items && item->tree && item->kind != ITEM_TREE && !is_meant; k++)
			is_meant = streq(w->items[k], item->name);
		if (is_meant && found->n < countof(found->trees))
			found->trees[found->n++] = item->tree;
	}
}

static bool has_feature(const struct node *n, const char *word)
{
	for (size_t i = 0; i < n->spec.n_features; i++) {
		if (streq(n->spec.features[i], word))
			return true;
	}
	return false;
}

/* What it never has. */
static bool lacks(const struct node *n, const struct driver_wish *w, char reason[160])
{
	const struct {
		const char *what;
		uint64_t wanted, has;
		unsigned shift;
	} amounts[] = {{"cores", w->cores, n->spec.cores, 0},
		       {"MiB of memory", w->memory, n->spec.memory, 20},
		       {"MiB of disk", w->disk, n->spec.disk, 20},
		       {"gpus", w->gpus, n->spec.gpus, 0}};
	for (size_t i = 0; i < countof(amounts); i++) {
		if (amounts[i].wanted <= amounts[i].has)
			continue;
		snprintf(reason, 160, "it has %" PRIu64 " %s", amounts[i].has >> amounts[i].shift, amounts[i].what);
		return true;
	}
	for (size_t i = 0; i < w->n_features; i++) {
		if (has_feature(n, w->features[i]))
			continue;
		snprintf(reason, 160, "it has no feature '%.64s'", w->features[i]);
		return true;
	}
	return false;
}

static enum driver_could judge(const struct node *n, const struct driver_wish *w, const struct core_room *room,
			       bool is_offered, char reason[160])
{
	const struct {
		const char *what;
		uint64_t wanted, has;
	} amounts[] = {{"cores", max(w->cores, (uint64_t)1), room->cores},
		       {"memory", w->memory, room->memory},
		       {"disk", w->disk, room->disk},
		       {"gpus", w->gpus, room->gpus}};
	const char *used = room->is_full ? "places for tasks" : NULL;
	if (lacks(n, w, reason))
		return DRIVER_COULD_NOT;
	if (!is_offered) {
		const char *resting = node_resting(n);
		snprintf(reason, 160, "%.140s", resting ? resting : "it takes no tasks just now");
		return DRIVER_COULD_LATER;
	}
	for (size_t i = 0; i < countof(amounts) && !used; i++)
		used = amounts[i].wanted > amounts[i].has ? amounts[i].what : NULL;
	if (used)
		snprintf(reason, 160, "its %s are in use by %u task%s", used, room->n_tasks,
			 room->n_tasks == 1 ? "" : "s");
	return used ? DRIVER_COULD_LATER : DRIVER_COULD_NOW;
}

void driver_where(const struct driver *d, const struct driver_wish *w,
		  bool (*on_place)(void *arg, const struct driver_place *p), void *arg)
{
	struct wanted wanted = {.n = 0};
	const struct node *n;
	bool goes_on = true;
	assert(w->n_items <= countof(w->items) && w->n_features <= countof(w->features));
	find_trees(d, w, &wanted);
	for (size_t i = 0; goes_on && (n = map_next(&d->nodes, &i));) {
		struct core_room room;
		struct driver_place p = {.node = n->name};
		if (!n->conn)
			continue;
		bool is_offered = core_room_of(d->core, n->id, &room);
		p.could = judge(n, w, &room, is_offered, p.reason);
		p.cores_free = room.cores;
		p.n_running = n->n_running;
		for (size_t k = 0; k < wanted.n; k++) {
			const struct replica *r = map_get(&n->replicas, wanted.trees[k]->number);
			p.n_there += r && r->size >= wanted.trees[k]->size;
			p.size_there += r ? r->size : 0;
		}
		goes_on = on_place(arg, &p);
	}
}
