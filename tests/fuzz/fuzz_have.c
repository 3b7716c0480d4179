/* SPDX-License-Identifier: Apache-2.0
 * The stream of who has what, from a hostile peer: whole and in pieces it says the same, nothing has a number that does not fit, and a swarm of any size takes it.
 * The input: how many chunks the swarm has, the size of the pieces, the stream. */
#include "vinefs/fetch/swarm.h"
#include "vinefs/fetch/swarm_have.h"

struct world {
	struct swarm *swarm; /* NULL: only listens */
	int neighbour;
	uint64_t sum, n;
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void note(struct world *w, char what, uint64_t number)
{
	w->sum = (w->sum ^ (uint8_t)what ^ number << 8) * 0x9e3779b97f4a7c15u;
	w->n++;
}

static void on_index(void *arg)
{
	note(arg, 'i', 0);
}

static void on_part(void *arg, uint64_t part)
{
	must(part <= UINT32_MAX);
	note(arg, 'p', part);
}

static void on_all(void *arg)
{
	struct world *w = arg;
	note(w, 'a', 0);
	if (w->swarm)
		swarm_has_all(w->swarm, w->neighbour);
}

static void on_chunk(void *arg, uint64_t chunk)
{
	struct world *w = arg;
	must(chunk != SWARM_NONE);
	note(w, 'c', chunk);
	if (w->swarm)
		swarm_has_chunk(w->swarm, w->neighbour, chunk);
}

static void on_lost(void *arg, uint64_t chunk)
{
	struct world *w = arg;
	note(w, 'l', chunk);
	if (w->swarm)
		swarm_lacks_chunk(w->swarm, w->neighbour, chunk);
}

static const struct have_ops ops = {
	.on_index = on_index, .on_part = on_part, .on_all = on_all, .on_chunk = on_chunk, .on_lost = on_lost};

static int hear(struct world *w, const uint8_t *p, size_t n, size_t piece)
{
	struct have_reader r = {.ops = &ops, .arg = w};
	int error = 0;
	for (size_t at = 0; at < n && !error; at += piece)
		error = have_read(&r, p + at, min(piece, n - at));
	must(!error || error == -EBADMSG);
	return error;
}

static uint32_t size_of(void *arg, uint64_t chunk)
{
	(void)arg;
	must(chunk < UINT16_MAX);
	return 1;
}

static void ask(struct world *w, uint64_t n_chunks)
{
	struct swarm_wish wish;
	uint64_t due;
	if (swarm_next(w->swarm, 1, &wish, &due) < 0)
		return;
	for (uint64_t i = 0; i < 8 * wish.n; i++)
		if (wish.wanted[i / 8] >> (i % 8) & 1)
			must(wish.first + i < n_chunks && swarm_may_have(w->swarm, w->neighbour, wish.first + i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 3)
		return 0;
	uint64_t n_chunks = get_le16(data) % 10000; // more than fits into one set
	_cleanup_(swarm_freep) struct swarm *s =
		swarm_new(&(const struct swarm_options){.n_chunks = n_chunks, .size_of = size_of, .rank = SWARM_BULK});
	must(s != NULL);
	struct world whole = {0}, pieces = {.swarm = s, .neighbour = swarm_join(s)};
	int error = hear(&whole, data + 3, n - 3, n);
	must(hear(&pieces, data + 3, n - 3, 1u + data[2]) == error);
	must(whole.n == pieces.n && whole.sum == pieces.sum);
	ask(&pieces, n_chunks);
	swarm_leave(s, pieces.neighbour);
	must(swarm_n_missing(s) == n_chunks);
	return 0;
}
