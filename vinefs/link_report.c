/* SPDX-License-Identifier: Apache-2.0
 * REPLICAS. The cache is looked at now and then, often while something moves: its sums tell whether anything has changed, and only then is it listed and compared with what vined was told. */
#include "vinefs/link_internal.h"

#include "common/log.h"

#include <time.h>

#define BUSY_USEC 100000u   /* between two looks while something moves */
#define IDLE_USEC 1000000u  /* and else */
#define LIST_USEC 30000000u /* it is listed at least so often, whatever the sums say */
#define COST 20u            /* and at most 1/20 of the time is spent on that */

/* What vined was told of one tree. */
struct told {
	struct digest id;
	char text[DIGEST_TEXT_SIZE];
	uint64_t size, total;
	bool is_here; /* of the list that is looked through */
};

static void told_clear(struct link *k)
{
	struct told *t;
	for (size_t i = 0; (t = map_next(&k->told, &i));)
		free(t);
	map_fini(&k->told);
}

/* An index alone is worth a byte, but never the last one that a tree lacks. */
static uint64_t size_of(const struct cache_tree_info *i)
{
	uint64_t total = max(i->size, UINT64_C(1));
	if (i->resident_size == i->size)
		return total;
	return total == 1 ? 0 : min(max(i->resident_size, UINT64_C(1)), total - 1);
}

static void put(struct buf *b, const struct told *t)
{
	const struct wire_replica r = {.tree = t->id, .size = t->size, .total = t->total};
	buf_put(b, &r, sizeof r);
}

static void compare(struct link *k, const struct cache_tree_info *i, struct buf *changes)
{
	char text[DIGEST_TEXT_SIZE];
	struct told *t = map_get_text(&k->told, digest_text(&i->id, text));
	uint64_t size = size_of(i);
	if (!t && !size)
		return;
	if (!t) {
		t = NEW(struct told);
		t->id = i->id;
		memcpy(t->text, text, sizeof text);
		map_put_text(&k->told, t->text, t);
	}
	t->is_here = size > 0;
	if (!size || t->size == size)
		return;
	t->size = size;
	t->total = i->size;
	put(changes, t);
}

static uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void compare_all(struct link *k, struct buf *changes)
{
	uint64_t since_usec = real_usec();
	struct cache_list list;
	struct told *t;
	for (size_t i = 0; (t = map_next(&k->told, &i));)
		t->is_here = false;
	cache_list(k->parts.cache, &list);
	for (size_t i = 0; i < list.n; i++)
		compare(k, &list.at[i], changes);
	cache_list_fini(&list);
	for (size_t i = 0; (t = map_next(&k->told, &i));) {
		if (t->is_here)
			continue;
		t->size = 0;
		put(changes, t);
		map_remove_text(&k->told, t->text);
		free(t);
	}
	k->list_cost_usec = real_usec() - since_usec;
}

static void tell(struct link *k, const struct buf *changes, bool is_all)
{
	struct conn *c = link_conn(k);
	const struct wire_replicas m = {
		.trees = {.at = (const void *)changes->at, .n = (uint32_t)(changes->n / sizeof(struct wire_replica))},
		.is_all = is_all};
	int r = c && (is_all || m.trees.n) ? conn_send(c, WIRE_REPLICAS, &m) : 0;
	if (r)
		log_errno(-r, "tell vined of %u trees", m.trees.n);
}

/* The state's texts and time are no news. */
static bool has_changed(struct link *k)
{
	struct cache_state s, *b = &k->seen;
	cache_get_state(k->parts.cache, &s);
	bool is_same = s.size == b->size && s.n_inodes == b->n_inodes && s.n_trees == b->n_trees &&
		       s.n_blobs == b->n_blobs && s.n_partial == b->n_partial && s.n_damaged == b->n_damaged &&
		       s.reserved_size == b->reserved_size;
	*b = s;
	return !is_same;
}

static void on_time(struct timer *t)
{
	struct link *k = container_of(t, struct link, report);
	uint64_t now = loop_now_usec(k->loop), next = IDLE_USEC;
	bool is_due = has_changed(k);
	if (is_due || now - k->listed_usec > LIST_USEC) {
		_cleanup_(buf_fini) struct buf changes = {0};
		compare_all(k, &changes);
		tell(k, &changes, false);
		k->listed_usec = now;
	}
	if (is_due)
		next = max((uint64_t)BUSY_USEC, COST * k->list_cost_usec);
	timer_start(t, k->loop, next, on_time);
}

void report_all(struct link *k)
{
	_cleanup_(buf_fini) struct buf all = {0};
	if (!k->parts.cache)
		return;
	told_clear(k);
	has_changed(k);
	compare_all(k, &all);
	tell(k, &all, true);
	k->listed_usec = loop_now_usec(k->loop);
	timer_start(&k->report, k->loop, BUSY_USEC, on_time);
}

void report_soon(struct link *k)
{
	if (k->report.loop)
		timer_start(&k->report, k->loop, BUSY_USEC, on_time);
}

bool report_has(const struct link *k, const struct digest *tree)
{
	char text[DIGEST_TEXT_SIZE];
	return map_get_text(&k->told, digest_text(tree, text));
}

void report_stop(struct link *k)
{
	timer_stop(&k->report);
}

void report_close(struct link *k)
{
	report_stop(k);
	told_clear(k);
}
