/* SPDX-License-Identifier: Apache-2.0
 * What to ask of whom next. */
#include "vinefs/fetch/swarm_internal.h"

#define BLOCKS_LOOKED 4u /* of a large tree, of those that have something to ask for */
#define SET_MOST 32u     /* chunks asked of one who has all */
#define SET_FEW 4u       /* of another */
#define UNDER_WAY_LEAST 2u
#define SOONER_AT_END 1.5      /* times: a second one is asked */
#define SOONER 4.0             /* before the end */
#define LATE_LEAST_USEC 20000u /* nothing is late sooner */
#define SLOW 4.0               /* times the pace of the others: it gets one request at a time */
#define LOOK_USEC 10000u

/* ---- sets */

/* What the neighbour has of these chunks, in one block. */
static uint64_t have_of(const struct swarm *s, const struct neighbour *n, const uint64_t *of, uint64_t block,
			uint64_t *set)
{
	uint64_t at = block * BLOCK_WORDS, any = 0;
	for (size_t i = 0; i < block_size(s, block); i++)
		any |= set[i] = of[at + i] & n->have[at + i];
	return any;
}

/* Leaves the rarest of the set and says how many neighbours have each of these. */
static unsigned keep_rarest(const struct swarm *s, uint64_t block, uint64_t *set)
{
	size_t size = block_size(s, block);
	unsigned n = 0;
	for (unsigned i = PLANES; i--;) {
		const uint64_t *plane = s->count[i] + block * BLOCK_WORDS;
		uint64_t any = 0;
		for (size_t k = 0; k < size; k++)
			any |= set[k] & ~plane[k];
		if (!any)
			n |= 1u << i;
		for (size_t k = 0; any && k < size; k++)
			set[k] &= ~plane[k];
	}
	return n;
}

/* Moves up to n bits, from a random place on, from one set to another. */
static unsigned move_some(struct swarm *s, size_t size, uint64_t *from, uint64_t *to, unsigned n)
{
	uint64_t start = swarm_random(&s->random, 64 * size);
	unsigned n_moved = 0;
	for (size_t i = 0; i <= size; i++) {
		size_t word = (start / 64 + i) % size;
		uint64_t bits = from[word], low = (1ull << (start % 64)) - 1;
		bits &= i == 0 ? ~low : i == size ? low : UINT64_MAX;
		for (; bits && n_moved < n; bits &= bits - 1, n_moved++) {
			to[word] |= bits & -bits;
			from[word] &= ~(bits & -bits);
		}
	}
	return n_moved;
}

/* Moves those that only one neighbour has. */
static unsigned move_sole(const struct swarm *s, uint64_t block, uint64_t *from, uint64_t *to)
{
	unsigned n = 0;
	for (size_t i = 0; i < block_size(s, block); i++) {
		uint64_t word = block * BLOCK_WORDS + i, more = 0;
		for (unsigned k = 1; k < PLANES; k++)
			more |= s->count[k][word];
		uint64_t sole = from[i] & s->count[0][word] & ~more;
		to[i] |= sole;
		from[i] &= ~sole;
		n += (unsigned)__builtin_popcountll(sole);
	}
	return n;
}

/* Moves n of them, the rarest first. */
static void move_rarest(struct swarm *s, uint64_t block, uint64_t *from, uint64_t *to, unsigned n)
{
	size_t size = block_size(s, block);
	for (uint64_t rare[BLOCK_WORDS], any = 1; n && any;) {
		memcpy(rare, from, size * sizeof *rare);
		keep_rarest(s, block, rare);
		any = 0;
		for (size_t i = 0; i < size; i++)
			any |= from[i] &= ~rare[i];
		n -= move_some(s, size, rare, to, n);
	}
}

/* The block to ask of: the one with the rarest of a few. SWARM_NONE: the neighbour has none of these chunks. */
static uint64_t choose_block(struct swarm *s, const struct neighbour *n, const uint64_t *of, const uint16_t *n_of)
{
	uint64_t set[BLOCK_WORDS], best = SWARM_NONE, start = swarm_random(&s->random, s->n_blocks);
	unsigned best_count = UINT32_MAX, n_looked = 0;
	for (uint64_t i = 0; i < s->n_blocks && n_looked < BLOCKS_LOOKED; i++) {
		uint64_t block = (start + i) % s->n_blocks;
		if (!n_of[block] || !n->n_in_block[block] || !have_of(s, n, of, block, set))
			continue;
		n_looked++;
		unsigned count = keep_rarest(s, block, set);
		if (count >= best_count)
			continue;
		best = block;
		best_count = count;
	}
	return best;
}

uint64_t swarm_nobodys(const struct swarm *s, uint64_t from)
{
	for (uint64_t i = from / 64; i < s->n_words; i++) {
		uint64_t open = 0;
		for (unsigned rank = 0; rank < SWARM_RANKS; rank++)
			open |= s->open[rank][i];
		for (unsigned k = 0; k < PLANES; k++)
			open &= ~s->count[k][i];
		if (i == from / 64)
			open &= UINT64_MAX << (from % 64);
		if (open)
			return 64 * i + (unsigned)__builtin_ctzll(open);
	}
	return SWARM_NONE;
}

/* ---- requests */

static bool has_room(const struct neighbour *n, bool is_urgent, double median_pace)
{
	unsigned more = is_urgent ? 1 : 0, most = median_pace > 0 && n->pace > SLOW * median_pace ? 1 : 2;
	return n->is_used && n->n_waiting <= more && n->n_waiting + n->n_coming < most + more;
}

static struct request *new_request(struct swarm *s, int neighbour, enum swarm_rank rank, uint64_t now_usec)
{
	unsigned slot = 0;
	while (s->requests[slot].number)
		slot++;
	assert(slot < REQUESTS_MOST);
	struct request *r = &s->requests[slot];
	*r = (struct request){.number = ++s->n_asked * REQUESTS_MOST + slot,
			      .neighbour = neighbour,
			      .rank = rank,
			      .asked_usec = now_usec,
			      .chunk = SWARM_NONE,
			      .doubles = SWARM_NONE};
	s->neighbours[neighbour].n_waiting++;
	s->n_requests++;
	return r;
}

/* The request asks for these bits of a block. */
static void put_set(struct request *r, uint64_t block, const uint64_t *set, size_t size)
{
	size_t first = 0, end = size;
	while (!set[first])
		first++;
	while (!set[end - 1])
		end--;
	r->word = block * BLOCK_WORDS + first;
	r->n_words = end - first;
	r->set = xmemdup(set + first, r->n_words * sizeof *set);
}

static void hold_one(struct swarm *s, uint64_t chunk, uint8_t slot)
{
	swarm_set_state(s, chunk, CHUNK_OPEN);
	s->chunks[chunk].owner = slot;
	swarm_set_state(s, chunk, CHUNK_HELD);
}

/* Nobody else is asked for these bits of a block meanwhile. */
static void hold(struct swarm *s, const struct request *r, uint64_t block, const uint64_t *set, size_t size)
{
	uint8_t slot = (uint8_t)(r - s->requests);
	for (size_t i = 0; i < size; i++)
		for (uint64_t bits = set[i]; bits; bits &= bits - 1) {
			uint64_t chunk = (block * BLOCK_WORDS + i) * 64 + (unsigned)__builtin_ctzll(bits);
			hold_one(s, chunk, slot);
		}
}

static int put_wish(const struct request *r, struct swarm_wish *wish)
{
	wish->first = r->word * 64;
	wish->n = r->n_words * sizeof *r->set;
	memcpy(wish->wanted, r->set, wish->n);
	while (!wish->wanted[wish->n - 1])
		wish->n--;
	wish->rank = r->rank;
	wish->number = r->number;
	return r->neighbour;
}

static int ask_one(struct swarm *s, int neighbour, uint64_t chunk, bool is_double, uint64_t now_usec,
		   struct swarm_wish *wish)
{
	struct request *r = new_request(s, neighbour, s->chunks[chunk].rank, now_usec);
	uint64_t bit = 1ull << (chunk % 64);
	r->word = chunk / 64;
	r->n_words = 1;
	r->set = xmemdup(&bit, sizeof bit);
	if (is_double)
		r->doubles = chunk;
	else
		hold_one(s, chunk, (uint8_t)(r - s->requests));
	return put_wish(r, wish);
}

/* How many chunks the neighbour may choose from: the more it has the more, but what is left is shared with the others. */
static unsigned set_size(const struct swarm *s, const struct neighbour *n, enum swarm_rank rank)
{
	uint64_t share = s->n_opens[rank] / (2 * s->n_neighbours) + 1;
	if (rank == SWARM_NOW)
		return 1;
	return (unsigned)min(share, (uint64_t)(n->n_have == s->o.n_chunks ? SET_MOST : SET_FEW));
}

/* It alone has more than all others: likely where the tree comes from. */
static bool is_richest(const struct swarm *s, const struct neighbour *n)
{
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++)
		if (&s->neighbours[i] != n && s->neighbours[i].n_have >= n->n_have)
			return false;
	return true;
}

static int ask_open(struct swarm *s, int neighbour, enum swarm_rank rank, uint64_t now_usec, struct swarm_wish *wish)
{
	struct neighbour *n = &s->neighbours[neighbour];
	if (!s->n_opens[rank] || !n->n_open)
		return -EAGAIN;
	uint64_t block = choose_block(s, n, s->open[rank], s->n_open[rank]);
	if (block == SWARM_NONE)
		return -EAGAIN;
	uint64_t left[BLOCK_WORDS], set[BLOCK_WORDS] = {0}, held[BLOCK_WORDS] = {0};
	size_t size = block_size(s, block);
	unsigned most = set_size(s, n, rank), n_sole = 0;
	have_of(s, n, s->open[rank], block, left);
	if (rank != SWARM_NOW && is_richest(s, n))
		n_sole = move_sole(s, block, left, set);
	if (n_sole < most)
		move_rarest(s, block, left, held, most - n_sole);
	for (size_t i = 0; i < size; i++)
		set[i] |= held[i];
	struct request *r = new_request(s, neighbour, rank, now_usec);
	put_set(r, block, set, size);
	hold(s, r, block, held, size);
	return put_wish(r, wish);
}

/* ---- whom */

/* Those that have room, the least busy first, of these the soonest. */
static unsigned in_order(struct swarm *s, bool is_urgent, int *order)
{
	unsigned n = 0;
	double score[SWARM_NEIGHBOURS_MOST], median = swarm_median_pace(s, NULL);
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
		const struct neighbour *one = &s->neighbours[i];
		if (!has_room(one, is_urgent, median))
			continue;
		double mine = (double)(one->n_waiting + one->n_coming) * 1e12 + swarm_expected_usec(s, one) +
			      (double)swarm_random(&s->random, 100) / 100;
		unsigned k = n++;
		for (; k && score[k - 1] > mine; k--) {
			score[k] = score[k - 1];
			order[k] = order[k - 1];
		}
		score[k] = mine;
		order[k] = (int)i;
	}
	return n;
}

/* ---- what is late */

static bool is_doubled(const struct swarm *s, const struct request *r)
{
	for (unsigned i = 0; i < REQUESTS_MOST; i++) {
		const struct request *other = &s->requests[i];
		if (other != r && other->number && (other->doubles == r->chunk || other->chunk == r->chunk))
			return true;
	}
	return false;
}

/* What the other may bring instead: the chunk that is chosen, or one of those held. SWARM_NONE. */
static uint64_t instead(const struct swarm *s, const struct request *r, const struct neighbour *other)
{
	if (r->chunk != SWARM_NONE)
		return bit_get(other->have, r->chunk) ? r->chunk : SWARM_NONE;
	for (size_t i = 0; i < r->n_words; i++) {
		uint64_t word = r->word + i;
		for (uint64_t bits = r->set[i] & s->held[word] & other->have[word]; bits; bits &= bits - 1) {
			uint64_t chunk = 64 * word + (unsigned)__builtin_ctzll(bits);
			if (&s->requests[s->chunks[chunk].owner] == r)
				return chunk;
		}
	}
	return SWARM_NONE;
}

/* Something of it is still to come, and from nobody else. */
static bool may_be_late(const struct swarm *s, const struct request *r, enum swarm_rank last)
{
	if (!r->number || r->rank > last || r->doubles != SWARM_NONE)
		return false;
	if (r->chunk == SWARM_NONE)
		return r->n_live;
	const struct chunk *c = &s->chunks[r->chunk];
	return c->state == CHUNK_UNDER_WAY && !c->has_come && !is_doubled(s, r);
}

/* Nothing is open that anybody has. */
static bool is_end(const struct swarm *s)
{
	for (unsigned i = 0; i < s->n_numbers; i++)
		if (s->neighbours[i].n_open)
			return false;
	return true;
}

/* Who has room and would bring it much sooner, by what all have shown so far, is asked for what another was asked for. */
static int ask_late(struct swarm *s, enum swarm_rank last, uint64_t now_usec, struct swarm_wish *wish)
{
	int order[SWARM_NEIGHBOURS_MOST];
	unsigned n = in_order(s, last == SWARM_NOW, order);
	double sooner = last == SWARM_NOW || is_end(s) ? SOONER_AT_END : SOONER;
	for (unsigned i = 0; i < REQUESTS_MOST && n; i++) {
		const struct request *r = &s->requests[i];
		if (!may_be_late(s, r, last))
			continue;
		double left = swarm_left_usec(s, r, now_usec);
		for (unsigned k = 0; k < n && left > LATE_LEAST_USEC; k++) {
			const struct neighbour *other = &s->neighbours[order[k]];
			if (order[k] == r->neighbour || left < sooner * swarm_expected_usec(s, other) + LATE_LEAST_USEC)
				continue;
			uint64_t chunk = instead(s, r, other);
			if (chunk != SWARM_NONE)
				return ask_one(s, order[k], chunk, chunk == r->chunk, now_usec, wish);
		}
	}
	return -EAGAIN;
}

/* ---- */

static int ask_urgent(struct swarm *s, uint64_t now_usec, struct swarm_wish *wish)
{
	int order[SWARM_NEIGHBOURS_MOST];
	unsigned n = in_order(s, true, order);
	for (unsigned i = 0; i < n; i++) {
		int neighbour = ask_open(s, order[i], SWARM_NOW, now_usec, wish);
		if (neighbour >= 0)
			return neighbour;
	}
	return ask_late(s, SWARM_NOW, now_usec, wish);
}

/* Somebody has, or brings, what a reader waits for: nothing else is asked for. */
static bool is_urgent(const struct swarm *s)
{
	if (s->n_urgent > s->n_opens[SWARM_NOW])
		return true;
	uint64_t set[BLOCK_WORDS];
	for (uint64_t b = 0; b < s->n_blocks && s->n_urgent; b++)
		for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST && s->n_open[SWARM_NOW][b]; i++)
			if (s->neighbours[i].is_used && have_of(s, &s->neighbours[i], s->open[SWARM_NOW], b, set))
				return true;
	return false;
}

/* The soonest of those who have room. */
static double soonest_usec(const struct swarm *s)
{
	double soonest = -1;
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
		double usec = has_room(&s->neighbours[i], false, 0) ? swarm_expected_usec(s, &s->neighbours[i]) : -1;
		if (usec >= 0 && (soonest < 0 || usec < soonest))
			soonest = usec;
	}
	return soonest;
}

/* What is chosen and comes about as soon as others would bring it: what drips does not keep them from being asked. */
static double coming_size(const struct swarm *s, uint64_t now_usec, unsigned *n_coming)
{
	double sum = 0, soonest = soonest_usec(s), sooner = is_end(s) ? SOONER_AT_END : SOONER;
	*n_coming = 0;
	for (unsigned i = 0; i < REQUESTS_MOST; i++) {
		const struct request *r = &s->requests[i];
		if (!r->number || r->chunk == SWARM_NONE || s->chunks[r->chunk].has_come)
			continue;
		if (soonest >= 0 && swarm_left_usec(s, r, now_usec) > sooner * soonest + LATE_LEAST_USEC)
			continue;
		++*n_coming;
		sum += s->o.size_of(s->o.arg, r->chunk);
	}
	return sum;
}

/* Enough is chosen, or will be soon by how long its givers let wait, to fill the window. */
static bool is_enough(struct swarm *s, uint64_t now_usec)
{
	unsigned n_coming;
	double soon = coming_size(s, now_usec, &n_coming), size = s->o.size_of(s->o.arg, 0);
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
		const struct neighbour *n = &s->neighbours[i];
		if (n->n_waiting)
			soon += n->n_waiting * size * min(1.0, (double)s->window_usec / (n->wait_usec + 1));
	}
	double window = swarm_total_rate(s, now_usec) * (double)s->window_usec / 1e6;
	return n_coming >= UNDER_WAY_LEAST && soon >= window;
}

static int ask_bulk(struct swarm *s, uint64_t now_usec, struct swarm_wish *wish)
{
	int order[SWARM_NEIGHBOURS_MOST], neighbour;
	unsigned n = in_order(s, false, order);
	for (unsigned i = 0; i < n; i++) {
		for (enum swarm_rank rank = SWARM_GATING; rank < SWARM_RANKS; rank++)
			if ((neighbour = ask_open(s, order[i], rank, now_usec, wish)) >= 0)
				return neighbour;
	}
	return ask_late(s, SWARM_COPY, now_usec, wish);
}

int swarm_next(struct swarm *s, uint64_t now_usec, struct swarm_wish *wish, uint64_t *due_usec)
{
	int neighbour = -EAGAIN;
	if (s->n_urgent)
		neighbour = ask_urgent(s, now_usec, wish);
	if (neighbour < 0 && s->n_missing && !is_urgent(s) && !is_enough(s, now_usec))
		neighbour = ask_bulk(s, now_usec, wish);
	*due_usec = s->n_requests ? now_usec + LOOK_USEC : UINT64_MAX;
	return neighbour;
}
