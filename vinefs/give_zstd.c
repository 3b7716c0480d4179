/* SPDX-License-Identifier: Apache-2.0
 * Compressing pays where the link is slower than the codec and the tree shrinks: its first chunks tell, and now and then one of the others, so that what cannot be compressed costs next to nothing. */
#include "vinefs/give_internal.h"

#include <zstd.h>

#define SLOW 100000000u /* bytes a second: a core compresses several times as much, but has other things to do */
#define LEVEL 1
#define SAMPLES 4u /* before anything is said of a tree */
#define SAMPLE_EVERY 64u
#define FORGET_SIZE (64u << 20) /* what was seen before so many bytes counts half */
#define LEAST 4096u

/* Has it shrunk to less than nine tenths so far? */
static bool pays(const struct shelf *b)
{
	return b->zstd_after * 10 < b->zstd_before * 9;
}

bool zstd_is_worth(const struct gift *g)
{
	struct shelf *b = g->user.shelf;
	uint64_t rate = g->asker->meter.rate;
	if (!(g->codecs & CODEC_ZSTD) || !b || g->is_index || g->n < LEAST || !rate || rate > SLOW)
		return false;
	bool is_sample = b->n_zstd < SAMPLES || b->n_zstd % SAMPLE_EVERY == 0;
	b->n_zstd++;
	return is_sample || pays(b);
}

void zstd_run(struct gift *g)
{
	size_t most = ZSTD_compressBound(g->n);
	_free_ uint8_t *room = xmalloc(most);
	size_t n = ZSTD_compress(room, most, g->bytes, g->n, LEVEL);
	g->n_packed = ZSTD_isError(n) ? g->n : n;
	/* Else it is sent as it is. */
	if (g->n_packed >= g->n / 20 * 19)
		return;
	free(g->bytes);
	g->bytes = steal(room);
	g->is_packed = true;
}

void zstd_ran(struct gift *g)
{
	struct shelf *b = g->user.shelf;
	if (!g->n_packed)
		return;
	b->zstd_before += g->n;
	b->zstd_after += g->n_packed;
	if (b->zstd_before > FORGET_SIZE) {
		b->zstd_before /= 2;
		b->zstd_after /= 2;
	}
	if (g->is_packed)
		g->n = g->n_packed;
}
