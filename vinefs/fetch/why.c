/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/internal.h"

#include <stdio.h>
#include <time.h>

struct tally {
	uint64_t n[3], size[3]; /* by residency: chunks, bytes */
	uint64_t n_files, n_whole;
	uint64_t last; /* chunk that was counted last, + 1: neighbours in a pack share chunks */
};

static void put_size(struct buf *b, uint64_t size)
{
	static const char units[] = "KMGTP";
	double x = (double)size;
	int i = -1;
	for (; x >= 1024 && i < 4; i++)
		x /= 1024;
	if (i < 0)
		buf_printf(b, "%llu bytes", (unsigned long long)size);
	else
		buf_printf(b, "%.1f %ciB", x, units[i]);
}

static void tally_file(const struct stock *s, struct tally *t, uint32_t node)
{
	uint64_t size = tree_file_size(s->index, node), offset;
	const struct tree_extent *e = tree_extent(s->index, tree_node(s->index, node)->first);
	bool is_whole = true;
	t->n_files++;
	if (e->blob != TREE_NO_BLOB) {
		const struct tree_blob *b = tree_blob(s->index, e->blob);
		for (offset = e->offset; offset < e->offset + size;) {
			uint64_t within = offset / b->chunk_size, chunk = b->first_chunk + within;
			uint64_t end = min((within + 1) * b->chunk_size, e->offset + size);
			enum cache_residency r = cache_tree_residency(s->cache_tree, chunk);
			t->n[r] += t->last != chunk + 1;
			t->last = chunk + 1;
			t->size[r] += end - offset;
			is_whole = is_whole && r == CACHE_RESIDENT;
			offset = end;
		}
	}
	t->n_whole += is_whole;
}

static void tally_node(const struct stock *s, struct tally *t, uint32_t node)
{
	const struct tree_node *n = tree_node(s->index, node);
	if (n->type == TREE_FILE)
		tally_file(s, t, node);
	for (uint32_t i = 0; n->type == TREE_DIRECTORY && i < n->n; i++)
		tally_node(s, t, n->first + i);
}

static void put_residency(struct buf *out, const struct tally *t)
{
	uint64_t all = t->size[CACHE_ABSENT] + t->size[CACHE_DOUBTFUL] + t->size[CACHE_RESIDENT];
	buf_puts(out, "in the cache: ");
	put_size(out, t->size[CACHE_RESIDENT]);
	buf_puts(out, " of ");
	put_size(out, all);
	buf_printf(out, ", %llu of %llu files whole\n", (unsigned long long)t->n_whole, (unsigned long long)t->n_files);
	if (t->size[CACHE_DOUBTFUL]) {
		put_size(out, t->size[CACHE_DOUBTFUL]);
		buf_puts(out, " more were there before the last reboot and are verified when they are first read\n");
	}
	if (t->size[CACHE_ABSENT]) {
		buf_puts(out, "missing: ");
		put_size(out, t->size[CACHE_ABSENT]);
		buf_printf(out, " in %llu chunks\n", (unsigned long long)t->n[CACHE_ABSENT]);
	}
}

static void put_source(void *arg, const struct fetch_source_info *s)
{
	struct buf *out = arg;
	char text[32] = "?";
	time_t sec = (time_t)(s->sealed_usec / 1000000);
	struct tm tm;
	if (gmtime_r(&sec, &tm))
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	buf_printf(out, "source: %s %s, sealed %s UTC", fetch_kind_name(s->kind), s->path, text);
	if (s->read_size) {
		buf_puts(out, ", ");
		put_size(out, s->read_size);
		buf_puts(out, " read since");
	}
	buf_puts(out, "\n");
	if (s->stalled_usec)
		buf_printf(out, "  it has not answered for %.0f s: its filesystem stalls\n",
			   (double)s->stalled_usec / 1e6);
	if (*s->error)
		buf_printf(out, "  last error: %s\n", s->error);
}

static void put_traffic(struct buf *out, const struct stock *s)
{
	unsigned n_waiting = 0, n_filling = (unsigned)s->fills.n;
	struct fill *x;
	for (size_t i = 0; (x = map_next(&s->fills, &i));)
		n_waiting += !list_is_empty(&x->waiters);
	if (n_filling)
		buf_printf(out, "on the way: %u chunks, readers wait for %u of them\n", n_filling, n_waiting);
	if (s->plan_at < s->n_plan)
		buf_printf(out, "to be fetched behind that: %zu chunks\n", s->n_plan - s->plan_at);
	if (s->reservation == RESERVE_DONE && s->reserve_error)
		buf_printf(out, "room: none for all of the tree (%s): chunks come and go\n",
			   strerror(-s->reserve_error));
	else if (cache_tree_is_chunkwise(s->cache_tree))
		buf_puts(
			out,
			"room: larger than a quarter of the cache, kept by chunks: those not read for long go first\n");
}

void fetch_why(struct fetch_tree *t, uint32_t node, struct buf *out)
{
	struct stock *s = t->stock;
	struct tally tally = {.n = {0}};
	if (t->draft) {
		draft_why(t, node, out);
		return;
	}
	assert(node < tree_n_nodes(s->index));
	_free_ char *path = tree_path(s->index, node);
	tally_node(s, &tally, node);
	buf_printf(out, "tree %s%s%s\n", s->text, *path ? "/" : "", path);
	if (tree_node(s->index, node)->type == TREE_LINK)
		buf_printf(out, "a link to %s: its target is in the index, nothing is fetched for it\n",
			   tree_target(s->index, node));
	else
		put_residency(out, &tally);
	put_traffic(out, s);
	unsigned n = fetch_sources(s->fetch, &s->id, put_source, out);
	if (!n && tally.size[CACHE_ABSENT])
		buf_puts(out, "source: none is known here: seal the path it came from again\n");
	if (tally.size[CACHE_ABSENT] && !n)
		buf_puts(out, "next read: fails (EIO)\n");
	else
		buf_printf(out, "next read: from the %s\n",
			   !tally.size[CACHE_ABSENT]    ? "cache"
			   : tally.size[CACHE_RESIDENT] ? "cache, and from the source for what is missing"
							: "source");
	if (s->error)
		buf_printf(out, "last failure: %s\n", s->error);
}
