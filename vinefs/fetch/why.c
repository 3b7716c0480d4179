/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/internal.h"
#include "vinefs/fetch/pull.h"

#include <stdio.h>
#include <time.h>

struct tally {
	uint64_t n[3], size[3]; /* by residency: chunks, bytes */
	uint64_t n_files, n_whole;
	uint64_t last;     /* chunk that was counted last, + 1: neighbours in a pack share chunks */
	struct buf chunks; /* uint64_t: the first of them */
};

#define CHUNKS_ASKED 1024u /* of very many, what is said of these */
#define SAID_MOST 32u

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
			if (t->last != chunk + 1 && t->chunks.n < CHUNKS_ASKED * sizeof chunk)
				buf_put(&t->chunks, &chunk, sizeof chunk);
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

/* ---- other nodes: what is said of each chunk, each line once */

struct said {
	char *lines[SAID_MOST];
	uint64_t n[SAID_MOST];
	size_t n_lines;
	bool has_others; /* something that is missing can be asked for, or has been */
};

static void note_line(struct said *s, const char *line)
{
	size_t i = 0;
	while (i < s->n_lines && !streq(s->lines[i], line))
		i++;
	if (i == SAID_MOST)
		return;
	if (i == s->n_lines)
		s->lines[s->n_lines++] = xstrdup(line);
	s->n[i]++;
}

/* Of what is here it matters who gave it, not who could. */
static void note_chunk(struct said *s, const struct stock *of, uint64_t chunk)
{
	_cleanup_(buf_fini) struct buf text = {0};
	bool is_absent = cache_tree_residency(of->cache_tree, chunk) == CACHE_ABSENT;
	fetch_peers_why(of->fetch->peers, &of->id, chunk, &text);
	char *save = NULL;
	for (char *line = strtok_r((char *)(uintptr_t)buf_text(&text), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		s->has_others |= is_absent;
		if (is_absent || has_prefix(line, "came from"))
			note_line(s, line);
	}
}

/* Whether other nodes have to do with what is missing. */
static bool put_others(struct buf *out, const struct stock *s, const struct tally *t)
{
	struct said said = {.n_lines = 0};
	const uint64_t *chunks = (const void *)t->chunks.at;
	size_t n = t->chunks.n / sizeof *chunks;
	if (!s->fetch->peers)
		return false;
	for (size_t i = 0; i < n; i++)
		note_chunk(&said, s, chunks[i]);
	for (size_t i = 0; i < said.n_lines; i++) {
		if (n == 1)
			buf_printf(out, "other nodes: %s\n", said.lines[i]);
		else
			buf_printf(out, "other nodes: %s (%llu of %s%zu chunks)\n", said.lines[i],
				   (unsigned long long)said.n[i], n == CHUNKS_ASKED ? "the first " : "", n);
		free(said.lines[i]);
	}
	return said.has_others;
}

/* ---- sources */

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
	if (s->plan_at < s->plan.n)
		buf_printf(out, "to be fetched behind that: %zu chunks\n", s->plan.n - s->plan_at);
	if (s->reservation == RESERVE_DONE && s->reserve_error)
		buf_printf(out, "room: none for all of the tree (%s): chunks come and go\n",
			   strerror(-s->reserve_error));
	else if (cache_tree_is_chunkwise(s->cache_tree))
		buf_puts(
			out,
			"room: larger than a quarter of the cache, kept by chunks: those not read for long go first\n");
}

static void put_next(struct buf *out, const struct tally *t, bool has_source, bool has_others)
{
	const char *from = has_others && has_source ? "other nodes, or else the source"
			   : has_others             ? "other nodes"
						    : "the source";
	bool is_absent = t->size[CACHE_ABSENT] > 0, is_part = is_absent && t->size[CACHE_RESIDENT];
	if (is_absent && !has_source && !has_others)
		buf_puts(out, "source: none is known here: seal the path it came from again\n"
			      "next read: fails (EIO)\n");
	else if (is_part)
		buf_printf(out, "next read: from the cache, and from %s for what is missing\n", from);
	else
		buf_printf(out, "next read: from %s\n", is_absent ? from : "the cache");
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
	put_next(out, &tally, n > 0, put_others(out, s, &tally));
	if (s->error)
		buf_printf(out, "last failure: %s\n", s->error);
	buf_fini(&tally.chunks);
}

/* ---- for metrics */

void fetch_peers_get_numbers(const struct fetch_peers *f, struct fetch_peers_numbers *out)
{
	*out = (struct fetch_peers_numbers){.asked_size = f->flying, .n_wrong = f->n_wrong};
	list_foreach (&f->pulls, const struct pull, link, p) {
		out->n_pulls++;
		out->n_asked += p->n_asks;
		for (size_t i = 0; i < p->n_holders; i++) {
			out->n_neighbours += p->holders[i]->watching == WATCH_ON;
			out->n_asked += p->holders[i]->n_asks;
		}
	}
}

/* ---- reads that failed */

void put_time(char *to, size_t room, int64_t sec, uint32_t nsec)
{
	time_t t = (time_t)sec;
	struct tm tm;
	char date[48] = "?";
	if (gmtime_r(&t, &tm))
		strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(to, room, "%s.%09u", date, nsec);
}

void tree_answered(struct fetch_tree *t, int error)
{
	bool is_failure = error != 0 && error != -ECANCELED;
	COUNT(t->fetch, n_failed, is_failure);
	if (is_failure)
		atomic_fetch_add(&t->n_failed, 1);
}

const char *fetch_failure(const struct fetch_tree *t, unsigned *n)
{
	*n = atomic_load(&t->n_failed);
	if (t->draft)
		return draft_failure(t->draft);
	return t->stock->error ? t->stock->error : "";
}
