/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_top.h"

#include "vined/driver_internal.h"

#include <stdio.h>

void driver_top(const struct driver *d, struct driver_top *out)
{
	const struct run *r;
	struct core_numbers c;
	uint64_t unfinished = 0;
	core_numbers(d->core, &c);
	*out = (struct driver_top){.submitted = d->last_task,
				   .is_settled = true,
				   .for_inputs = c.waiting,
				   .staging = c.staging,
				   .fetches = c.fetches,
				   .items = d->items.n,
				   .known_nodes = d->nodes.n};
	for (size_t i = 0; (r = map_next(&d->runs, &i));) {
		unfinished += r->n_unfinished;
		out->is_settled = out->is_settled && !r->n_submits;
	}
	out->over = d->last_task - min(unfinished, d->last_task);
}

/* ---- the first few of many, in order */

struct best {
	char *at;
	size_t n, most, size; /* size: of one */
	int (*compare)(const void *a, const void *b);
};

static struct best best_new(size_t most, size_t size, int (*compare)(const void *a, const void *b))
{
	return (struct best){xcalloc(most + 1, size), 0, most, size, compare};
}

/* Most of many are worse than all that are there, which costs one comparison. */
static void best_put(struct best *b, const void *one)
{
	size_t low = 0, high = b->n;
	assert(b->n <= b->most);
	if (!b->most || (b->n == b->most && b->compare(one, b->at + (b->n - 1) * b->size) >= 0))
		return;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (b->compare(one, b->at + middle * b->size) < 0)
			high = middle;
		else
			low = middle + 1;
	}
	memmove(b->at + (low + 1) * b->size, b->at + low * b->size, (b->n - low) * b->size);
	memcpy(b->at + low * b->size, one, b->size);
	b->n = min(b->n + 1, b->most);
}

/* ---- nodes */

static const char *state_of(const struct node *n, char text[160])
{
	static const char *const healths[] = {
		[CORE_HEALTH_PROBATION] = "on probation", [CORE_HEALTH_BLOCKED] = "blocked"};
	const char *resting = n->conn ? node_resting(n) : NULL;
	const char *health = n->in_core == NODE_ABSENT ? NULL : healths[core_node_health(n->driver->core, n->id)];
	if (resting) {
		snprintf(text, 160, "resting: %s", resting);
		return text;
	}
	if (!n->conn)
		return n->n_running ? "waited for" : "away";
	return health ? health : "connected";
}

/* What a list is sorted by is read once, not with each comparison. */
struct picked {
	const struct node *node;
	uint64_t rank; /* the least comes first */
};

static int by_rank(const void *a, const void *b)
{
	const struct picked *x = a, *y = b;
	int order = (x->rank > y->rank) - (x->rank < y->rank);
	return order ? order : strverscmp(x->node->name, y->node->name);
}

static uint64_t rank_of(const struct node *n, const char *sort)
{
	const uint64_t away = UINT64_C(1) << 63;
	char text[160];
	if (streq(sort, "state"))
		return streq(state_of(n, text), "connected");
	uint64_t rank = n->conn ? 0 : away;
	if (streq(sort, "cache"))
		return rank + away - 1 - min(n->resident_size, away - 1);
	return streq(sort, "busy") ? rank + away - 1 - n->n_running : rank;
}

static bool is_found(const struct node *n, const char *find)
{
	char text[160];
	return !*find || strstr(n->name, find) || strstr(state_of(n, text), find) ||
	       (n->conn && strstr(conn_peer_name(n->conn), find));
}

static void tell_node(const struct node *n, void (*on_node)(void *arg, const struct driver_top_node *n), void *arg)
{
	char text[160];
	struct driver_top_node out = {
		.name = n->name,
		.state = state_of(n, text),
		.tier = n->tier,
		.address = n->conn ? conn_peer_name(n->conn) : "",
		.cores = n->spec.cores,
		.gpus = n->spec.gpus,
		.memory = n->spec.memory,
		.n_running = n->n_running,
		.task_limit = n->spec.task_limit,
		.cache_size = n->resident_size,
		.n_trees = n->replicas.n,
		.n_fetches = n->fetches.n,
	};
	list_foreach (&n->running, const struct tries, link, t) {
		uint32_t cores;
		uint64_t memory;
		driver_top_given(n->driver, t->task->id, &cores, &memory);
		out.cores_used += cores;
		out.memory_used += memory;
	}
	on_node(arg, &out);
}

size_t driver_top_nodes(const struct driver *d, const char *sort, const char *find, size_t most,
			void (*on_node)(void *arg, const struct driver_top_node *n), void *arg)
{
	struct best best = best_new(most, sizeof(struct picked), by_rank);
	const struct picked *picked = (const void *)best.at;
	const struct node *n;
	size_t found = 0;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));) {
		if (!is_found(n, find))
			continue;
		found++;
		best_put(&best, &(struct picked){n, rank_of(n, sort)});
	}
	for (size_t i = 0; i < best.n; i++)
		tell_node(picked[i].node, on_node, arg);
	free(best.at);
	return found;
}

/* ---- runs */

struct tally {
	const struct run *run;
	uint64_t running;
};

static int by_run(const void *a, const void *b)
{
	const struct tally *x = a, *y = b;
	return (x->run > y->run) - (x->run < y->run);
}

static int by_work(const void *a, const void *b)
{
	const struct run *x = ((const struct tally *)a)->run, *y = ((const struct tally *)b)->run;
	int order = (x->n_unfinished < y->n_unfinished) - (x->n_unfinished > y->n_unfinished);
	return order ? order : (x->id < y->id) - (x->id > y->id);
}

/* If one run alone has work, all that runs is its; else tasks are looked at, node by node. */
static void count_running(const struct driver *d, struct tally *all, size_t n_runs)
{
	struct core_numbers c;
	const struct node *n;
	struct tally *last = NULL;
	size_t n_working = 0;
	for (size_t i = 0; i < n_runs; i++) {
		n_working += all[i].run->n_unfinished > 0;
		last = all[i].run->n_unfinished ? &all[i] : last;
	}
	if (n_working <= 1) {
		core_numbers(d->core, &c);
		if (last)
			last->running = c.running;
		return;
	}
	for (size_t i = 0; (n = map_next(&d->nodes, &i));) {
		list_foreach (&n->running, const struct tries, link, t) {
			/* Neighbours are mostly of one run. */
			if (!last || last->run != t->task->run)
				last = bsearch(&(struct tally){.run = t->task->run}, all, n_runs, sizeof *all, by_run);
			assert(last);
			last->running += t->task->state == STORE_RUNNING;
		}
	}
}

size_t driver_top_runs(const struct driver *d, size_t most, void (*on_run)(void *arg, const struct driver_top_run *r),
		       void *arg)
{
	size_t n = 0;
	const struct run *r;
	_free_ struct tally *all = xcalloc(d->runs.n + 1, sizeof *all);
	for (size_t i = 0; (r = map_next(&d->runs, &i));)
		all[n++].run = r;
	qsort(all, n, sizeof *all, by_run);
	count_running(d, all, n);
	qsort(all, n, sizeof *all, by_work);
	for (size_t i = 0; i < min(n, most); i++) {
		r = all[i].run;
		on_run(arg, &(struct driver_top_run){.name = r->name,
						     .unfinished = r->n_unfinished,
						     .running = min(all[i].running, (uint64_t)r->n_unfinished),
						     .untaken = r->n_ended,
						     .is_attached = r->is_attached});
	}
	return n;
}

/* ---- tasks */

int driver_top_on_node(const struct driver *d, const char *name, size_t most, void (*on_task)(void *arg, uint64_t id),
		       void *arg)
{
	const struct node *n;
	size_t found = 0, told = 0;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));) {
		if (!streq(n->name, name))
			continue;
		found++;
		list_foreach (&n->running, const struct tries, link, t) {
			if (told++ >= most)
				return 0;
			on_task(arg, t->task->id);
		}
	}
	return found ? 0 : -ENOENT;
}

void driver_top_given(const struct driver *d, uint64_t task, uint32_t *cores, uint64_t *memory)
{
	const struct task *t = task_find(d, task);
	struct core_place place;
	*cores = 0;
	*memory = 0;
	if (!t || core_attempt_place(d->core, task, &place) < 0)
		return;
	for (size_t i = 0; i < place.n_words; i++)
		*cores += (uint32_t)__builtin_popcountll(place.cores[i]);
	*memory = place.memory;
}

/* ---- items */

struct seen_item {
	const struct item *item;
	size_t at;
};

static uint64_t size_of(const struct item *i)
{
	return i->tree && i->tree->size ? i->tree->size : i->size;
}

static int by_size(const void *a, const void *b)
{
	const struct item *x = ((const struct seen_item *)a)->item, *y = ((const struct seen_item *)b)->item;
	int order = (size_of(x) < size_of(y)) - (size_of(x) > size_of(y));
	return order ? order : strverscmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	const struct item *x = ((const struct seen_item *)a)->item, *y = ((const struct seen_item *)b)->item;
	return strverscmp(x->name, y->name);
}

size_t driver_top_items(const struct driver *d, bool is_by_name, const char *find, size_t most,
			void (*on_item)(void *arg, size_t at), void *arg)
{
	struct best best = best_new(most, sizeof(struct seen_item), is_by_name ? by_name : by_size);
	const struct seen_item *seen = (const void *)best.at;
	const struct item *item;
	size_t at = 0, looked = 0;
	for (size_t before = at; looked < DRIVER_TOP_LOOKED && (item = map_next(&d->items, &at));
	     before = at, looked++) {
		if (!*find || strstr(item->name, find) || (item->run && strstr(item->run->name, find)))
			best_put(&best, &(struct seen_item){item, before});
	}
	for (size_t i = 0; i < best.n; i++)
		on_item(arg, seen[i].at);
	free(best.at);
	return d->items.n;
}
