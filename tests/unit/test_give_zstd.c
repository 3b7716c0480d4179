/* SPDX-License-Identifier: Apache-2.0
 * Chunks are compressed where that pays. */
#include "common/path.h"
#include "tests/unit/give_world.h"
#include "tests/unit/unit.h"
#include "vinefs/give_internal.h"

#include <zstd.h>

static char *text_tree(void)
{
	char *path = world_files("tree", 1, 10, 7);
	_free_ char *file = path_join(path, "text");
	_cleanup_(buf_fini) struct buf b = {0};
	while (b.n < 3u << 20)
		buf_printf(&b, "line %zu is much like the others\n", b.n);
	ASSERT_EQ(path_write(file, b.at, b.n, 0644, false), 0);
	return path;
}

static struct asker *asker_of(struct giver *g)
{
	return list_first(&g->serve->askers, struct asker, link);
}

/* As if the link had been measured. */
static void get(struct giver *g, struct client *c, struct want *w, uint64_t chunk, uint64_t rate)
{
	struct asker *a = asker_of(g);
	if (a)
		a->meter = (struct meter){.rate = rate};
	*w = (struct want){.codecs = CODEC_ZSTD};
	want_one(w, c, chunk, SWARM_BULK);
	ASSERT(UNTIL(g->world.loop, w->n_ends));
	ASSERT_EQ(w->error, 0);
}

static bool is_same(const struct giver *g, const struct want *w)
{
	uint64_t i = w->some.chunk;
	if (w->some.codec != CODEC_ZSTD)
		return want_is_good(w);
	_free_ uint8_t *room = xmalloc(1u << 20);
	size_t n = ZSTD_decompress(room, 1u << 20, w->bytes.at, w->bytes.n);
	return w->bytes.n == w->some.size && n == g->copy.sizes[i] && memcmp(room, g->copy.chunks[i], n) == 0;
}

TEST(chunks_that_shrink_are_compressed_for_a_slow_link_alone)
{
	_free_ char *path = text_tree();
	struct giver g;
	struct client c;
	struct want w;
	giver_open(&g, path);
	client_open(&c, &g);
	/* Nobody knows how fast it is. */
	get(&g, &c, &w, 0, 0);
	ASSERT(want_is_good(&w));
	want_fini(&w);
	get(&g, &c, &w, 0, 1000000000);
	ASSERT(want_is_good(&w));
	want_fini(&w);
	for (uint64_t i = 0; i < 20; i++) {
		get(&g, &c, &w, i, 5000000);
		ASSERT_EQ(w.some.codec, CODEC_ZSTD);
		ASSERT(w.bytes.n < g.copy.sizes[i] / 2);
		ASSERT(is_same(&g, &w));
		want_fini(&w);
	}
	/* Who does not understand it gets it as it is. */
	asker_of(&g)->meter = (struct meter){.rate = 5000000};
	w = (struct want){.codecs = 0};
	want_one(&w, &c, 1, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, w.n_ends) && want_is_good(&w));
	want_fini(&w);
	client_close(&c);
	giver_close(&g);
}

TEST(what_does_not_shrink_is_hardly_ever_tried)
{
	_free_ char *path = world_files("tree", 1, 10u << 20, 7);
	struct giver g;
	struct client c;
	struct want w;
	giver_open(&g, path);
	client_open(&c, &g);
	get(&g, &c, &w, 0, 0);
	want_fini(&w);
	for (uint64_t i = 0; i < 60; i++) {
		get(&g, &c, &w, i, 5000000);
		ASSERT_EQ(w.some.codec, 0);
		ASSERT(want_is_good(&w));
		want_fini(&w);
	}
	struct shelf *b = list_first(&g.serve->trees, struct shelf, link);
	ASSERT_EQ(b->n_zstd, 60);
	ASSERT_EQ(b->zstd_before, 4 * g.copy.sizes[0]);
	client_close(&c);
	giver_close(&g);
}
