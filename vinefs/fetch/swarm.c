/* SPDX-License-Identifier: Apache-2.0
 * What is known of chunks, neighbours and requests; what to ask next is in swarm_next.c. */
#include "vinefs/fetch/swarm_internal.h"

#define WINDOW_USEC 30000u

/* ---- chunks */

static void count_candidate(struct neighbour *n, uint64_t chunk, bool is_one)
{
	uint16_t *in_block = &n->n_in_block[block_of(chunk)];
	*in_block = (uint16_t)(is_one ? *in_block + 1 : *in_block - 1);
	n->n_open = is_one ? n->n_open + 1 : n->n_open - 1;
}

static void count_open(struct swarm *s, uint64_t chunk, bool is_open)
{
	enum swarm_rank rank = s->chunks[chunk].rank;
	uint16_t *n = &s->n_open[rank][block_of(chunk)];
	assert(bit_get(s->open[rank], chunk) != is_open);
	bit_put(s->open[rank], chunk, is_open);
	*n = (uint16_t)(is_open ? *n + 1 : *n - 1);
	s->n_opens[rank] = is_open ? s->n_opens[rank] + 1 : s->n_opens[rank] - 1;
	for (unsigned i = 0; i < s->n_numbers; i++)
		if (s->neighbours[i].is_used && bit_get(s->neighbours[i].have, chunk))
			count_candidate(&s->neighbours[i], chunk, is_open);
}

static void count_held(struct swarm *s, uint64_t chunk, bool is_held)
{
	uint16_t *n = &s->n_held[block_of(chunk)];
	struct request *r = &s->requests[s->chunks[chunk].owner];
	bit_put(s->held, chunk, is_held);
	*n = (uint16_t)(is_held ? *n + 1 : *n - 1);
	assert(r->number && (is_held || r->n_live));
	r->n_live = is_held ? r->n_live + 1 : r->n_live - 1;
}

void swarm_set_state(struct swarm *s, uint64_t chunk, enum chunk_state state)
{
	struct chunk *c = &s->chunks[chunk];
	if (c->state == CHUNK_OPEN)
		count_open(s, chunk, false);
	else if (c->state == CHUNK_HELD)
		count_held(s, chunk, false);
	c->state = state & 3;
	if (state == CHUNK_OPEN)
		count_open(s, chunk, true);
	else if (state == CHUNK_HELD)
		count_held(s, chunk, true);
}

void swarm_has(struct swarm *s, uint64_t chunk)
{
	assert(chunk < s->o.n_chunks);
	struct chunk *c = &s->chunks[chunk];
	if (c->state == CHUNK_HERE)
		return;
	swarm_set_state(s, chunk, CHUNK_HERE);
	s->n_missing--;
	if (c->rank == SWARM_NOW)
		s->n_urgent--;
	c->rank = s->o.rank & 7;
	c->has_come = false;
}

void swarm_lacks(struct swarm *s, uint64_t chunk)
{
	assert(chunk < s->o.n_chunks);
	if (s->chunks[chunk].state != CHUNK_HERE)
		return;
	swarm_set_state(s, chunk, CHUNK_OPEN);
	s->n_missing++;
	if (s->chunks[chunk].rank == SWARM_NOW)
		s->n_urgent++;
}

bool swarm_is_here(const struct swarm *s, uint64_t chunk)
{
	return chunk < s->o.n_chunks && s->chunks[chunk].state == CHUNK_HERE;
}

uint64_t swarm_n_missing(const struct swarm *s)
{
	return s->n_missing;
}

void swarm_prefer(struct swarm *s, uint64_t chunk, enum swarm_rank rank)
{
	assert(chunk < s->o.n_chunks && rank < SWARM_RANKS);
	struct chunk *c = &s->chunks[chunk];
	if (c->state == CHUNK_HERE || c->rank <= rank)
		return;
	if (rank == SWARM_NOW)
		s->n_urgent++;
	/* Who was asked for it among others may take long, or choose another. */
	bool is_open = c->state == CHUNK_OPEN || (c->state == CHUNK_HELD && rank == SWARM_NOW);
	if (is_open)
		swarm_set_state(s, chunk, CHUNK_UNDER_WAY);
	c->rank = rank & 7;
	if (is_open)
		swarm_set_state(s, chunk, CHUNK_OPEN);
}

uint64_t swarm_n_urgent(const struct swarm *s)
{
	return s->n_urgent;
}

/* ---- neighbours */

/* Adds 1 to, or takes it from, how many have each chunk of the mask. */
static void count_word(struct swarm *s, uint64_t word, uint64_t mask, bool is_more)
{
	for (unsigned i = 0; i < PLANES && mask; i++) {
		uint64_t was = s->count[i][word];
		s->count[i][word] = was ^ mask;
		mask &= is_more ? was : ~was;
	}
	assert(!mask);
}

static struct neighbour *neighbour_of(struct swarm *s, int neighbour)
{
	assert(neighbour >= 0 && neighbour < (int)SWARM_NEIGHBOURS_MOST && s->neighbours[neighbour].is_used);
	return &s->neighbours[neighbour];
}

int swarm_join(struct swarm *s)
{
	unsigned i = 0;
	while (i < SWARM_NEIGHBOURS_MOST && s->neighbours[i].is_used)
		i++;
	if (i == SWARM_NEIGHBOURS_MOST)
		return -ENOSPC;
	struct neighbour *n = &s->neighbours[i];
	*n = (struct neighbour){.have = calloc(s->n_words, sizeof *n->have),
				.n_in_block = calloc(s->n_blocks, sizeof *n->n_in_block)};
	if (!n->have || !n->n_in_block) {
		free(n->have);
		free(n->n_in_block);
		return -ENOMEM;
	}
	n->is_used = true;
	s->n_neighbours++;
	s->n_numbers = max(s->n_numbers, i + 1);
	return (int)i;
}

void swarm_has_all(struct swarm *s, int neighbour)
{
	struct neighbour *n = neighbour_of(s, neighbour);
	for (uint64_t i = 0; i < s->n_words; i++) {
		uint64_t rest = s->o.n_chunks - 64 * i;
		uint64_t all = rest >= 64 ? UINT64_MAX : (1ull << rest) - 1;
		uint64_t more = all & ~n->have[i];
		count_word(s, i, more, true);
		n->have[i] = all;
		for (; more; more &= more - 1) {
			uint64_t chunk = 64 * i + (unsigned)__builtin_ctzll(more);
			if (s->chunks[chunk].state == CHUNK_OPEN)
				count_candidate(n, chunk, true);
		}
	}
	n->n_have = s->o.n_chunks;
}

static void have_put(struct swarm *s, int neighbour, uint64_t chunk, bool has)
{
	struct neighbour *n = neighbour_of(s, neighbour);
	/* A neighbour may say what it likes. */
	if (chunk >= s->o.n_chunks || bit_get(n->have, chunk) == has)
		return;
	bit_put(n->have, chunk, has);
	count_word(s, chunk / 64, 1ull << (chunk % 64), has);
	if (s->chunks[chunk].state == CHUNK_OPEN)
		count_candidate(n, chunk, has);
	n->n_have = has ? n->n_have + 1 : n->n_have - 1;
}

void swarm_has_chunk(struct swarm *s, int neighbour, uint64_t chunk)
{
	have_put(s, neighbour, chunk, true);
}

void swarm_lacks_chunk(struct swarm *s, int neighbour, uint64_t chunk)
{
	have_put(s, neighbour, chunk, false);
}

bool swarm_may_have(const struct swarm *s, int neighbour, uint64_t chunk)
{
	assert(neighbour >= 0 && neighbour < (int)SWARM_NEIGHBOURS_MOST);
	const struct neighbour *n = &s->neighbours[neighbour];
	return n->is_used && chunk < s->o.n_chunks && bit_get(n->have, chunk);
}

/* ---- requests */

static struct request *request_of(struct swarm *s, uint64_t number)
{
	struct request *r = &s->requests[number % REQUESTS_MOST];
	return number && r->number == number ? r : NULL;
}

void swarm_let_go(struct swarm *s, const struct request *r)
{
	uint8_t slot = (uint8_t)(r - s->requests);
	for (size_t i = 0; i < r->n_words && r->n_live; i++)
		for (uint64_t bits = r->set[i] & s->held[r->word + i]; bits; bits &= bits - 1) {
			uint64_t chunk = (r->word + i) * 64 + (unsigned)__builtin_ctzll(bits);
			if (s->chunks[chunk].owner == slot)
				swarm_set_state(s, chunk, CHUNK_OPEN);
		}
	assert(!r->n_live);
}

/* Some other request brings it, or it is being verified. */
static bool comes_otherwise(const struct swarm *s, const struct request *r, uint64_t chunk)
{
	if (s->chunks[chunk].has_come)
		return true;
	for (unsigned i = 0; i < REQUESTS_MOST; i++) {
		const struct request *other = &s->requests[i];
		if (other != r && other->number && other->chunk == chunk)
			return true;
	}
	return false;
}

static void request_over(struct swarm *s, struct request *r)
{
	struct neighbour *n = neighbour_of(s, r->neighbour);
	if (r->chunk == SWARM_NONE) {
		swarm_let_go(s, r);
		n->n_waiting--;
	} else {
		n->n_coming--;
	}
	s->n_requests--;
	free(r->set);
	*r = (struct request){0};
}

static void request_failed(struct swarm *s, struct request *r)
{
	uint64_t chunk = r->chunk;
	bool is_open =
		chunk != SWARM_NONE && s->chunks[chunk].state == CHUNK_UNDER_WAY && !comes_otherwise(s, r, chunk);
	request_over(s, r);
	if (is_open)
		swarm_set_state(s, chunk, CHUNK_OPEN);
}

static double mean(double was, double is)
{
	return was > 0 ? was + (is - was) / 4 : is;
}

bool swarm_chosen(struct swarm *s, uint64_t number, uint64_t chunk, uint64_t now_usec)
{
	struct request *r = request_of(s, number);
	if (!r)
		return false;
	assert(r->chunk == SWARM_NONE && now_usec >= r->asked_usec);
	struct neighbour *n = neighbour_of(s, r->neighbour);
	n->wait_usec = mean(n->wait_usec, (double)(now_usec - r->asked_usec));
	n->last_usec = now_usec;
	bool is_asked =
		chunk / 64 >= r->word && chunk / 64 - r->word < r->n_words && bit_get(r->set, chunk - r->word * 64);
	if (!is_asked || s->chunks[chunk].state == CHUNK_HERE || s->chunks[chunk].has_come ||
	    (s->chunks[chunk].state == CHUNK_UNDER_WAY && r->doubles != chunk)) {
		request_over(s, r);
		return false;
	}
	swarm_set_state(s, chunk, CHUNK_UNDER_WAY);
	swarm_let_go(s, r);
	r->chunk = chunk;
	r->chosen_usec = now_usec;
	n->n_waiting--;
	n->n_coming++;
	return true;
}

static void count_came(struct swarm *s, uint64_t size, uint64_t now_usec)
{
	swarm_total_rate(s, now_usec);
	s->came_size[s->rate_slot % RATE_SLOTS] += size;
}

double swarm_total_rate(struct swarm *s, uint64_t now_usec)
{
	uint64_t slot = now_usec / RATE_SLOT_USEC, best = 0;
	if (slot > s->rate_slot + RATE_SLOTS)
		s->rate_slot = slot - RATE_SLOTS;
	while (s->rate_slot < slot)
		s->came_size[++s->rate_slot % RATE_SLOTS] = 0;
	for (unsigned i = 0; i < RATE_SLOTS; i++)
		best = max(best, s->came_size[i]);
	return (double)best * 1e6 / RATE_SLOT_USEC;
}

void swarm_came(struct swarm *s, uint64_t number, uint64_t size, uint64_t now_usec)
{
	struct request *r = request_of(s, number);
	if (!r)
		return;
	assert(r->chunk != SWARM_NONE && now_usec >= r->chosen_usec);
	struct neighbour *n = neighbour_of(s, r->neighbour);
	uint64_t since = max(r->chosen_usec, n->last_usec);
	n->pace = mean(n->pace, (double)(now_usec - since + 1) / (double)(size + 1));
	n->last_usec = now_usec;
	count_came(s, size, now_usec);
	if (s->chunks[r->chunk].state == CHUNK_UNDER_WAY)
		s->chunks[r->chunk].has_come = true;
	request_over(s, r);
}

void swarm_failed(struct swarm *s, uint64_t number, uint64_t now_usec)
{
	struct request *r = request_of(s, number);
	(void)now_usec;
	if (r)
		request_failed(s, r);
}

/* A chunk that it may still bring. */
static bool is_useful(const struct swarm *s, const struct request *r)
{
	if (r->chunk != SWARM_NONE || r->doubles != SWARM_NONE) {
		const struct chunk *c = &s->chunks[r->chunk != SWARM_NONE ? r->chunk : r->doubles];
		return c->state != CHUNK_HERE && !c->has_come;
	}
	uint64_t any = r->n_live;
	for (unsigned rank = 0; rank < SWARM_RANKS; rank++)
		for (size_t i = 0; i < r->n_words && !any; i++)
			any = r->set[i] & s->open[rank][r->word + i];
	return any;
}

uint64_t swarm_useless(struct swarm *s)
{
	for (unsigned i = 0; i < REQUESTS_MOST && s->n_requests; i++) {
		struct request *r = &s->requests[i];
		uint64_t number = r->number;
		if (!number || is_useful(s, r))
			continue;
		request_over(s, r);
		return number;
	}
	return 0;
}

void swarm_wrong(struct swarm *s, uint64_t chunk)
{
	assert(chunk < s->o.n_chunks);
	struct chunk *c = &s->chunks[chunk];
	c->has_come = false;
	if (c->state == CHUNK_UNDER_WAY && !comes_otherwise(s, NULL, chunk))
		swarm_set_state(s, chunk, CHUNK_OPEN);
}

void swarm_leave(struct swarm *s, int neighbour)
{
	struct neighbour *n = neighbour_of(s, neighbour);
	for (unsigned i = 0; i < REQUESTS_MOST; i++)
		if (s->requests[i].number && s->requests[i].neighbour == neighbour)
			request_failed(s, &s->requests[i]);
	assert(!n->n_waiting && !n->n_coming);
	for (uint64_t i = 0; i < s->n_words; i++)
		count_word(s, i, n->have[i], false);
	free(n->have);
	free(n->n_in_block);
	*n = (struct neighbour){0};
	s->n_neighbours--;
}

/* ---- its life */

static bool allocate(struct swarm *s)
{
	bool is_all = true;
	for (unsigned i = 0; i < SWARM_RANKS; i++) {
		is_all &= (s->open[i] = calloc(s->n_words, sizeof **s->open)) != NULL;
		is_all &= (s->n_open[i] = calloc(s->n_blocks, sizeof **s->n_open)) != NULL;
	}
	for (unsigned i = 0; i < PLANES; i++)
		is_all &= (s->count[i] = calloc(s->n_words, sizeof **s->count)) != NULL;
	is_all &= (s->held = calloc(s->n_words, sizeof *s->held)) != NULL;
	is_all &= (s->n_held = calloc(s->n_blocks, sizeof *s->n_held)) != NULL;
	is_all &= (s->chunks = calloc(s->n_words * 64, sizeof *s->chunks)) != NULL;
	return is_all;
}

struct swarm *swarm_new(const struct swarm_options *o)
{
	assert(o->rank < SWARM_RANKS && o->size_of);
	_cleanup_(swarm_freep) struct swarm *s = NEW(struct swarm);
	s->o = *o;
	if (!s->o.window_usec)
		s->o.window_usec = WINDOW_USEC;
	s->window_usec = s->o.window_usec;
	s->random = o->seed * 2 + 1;
	s->n_words = max((o->n_chunks + 63) / 64, (uint64_t)1);
	s->n_blocks = (s->n_words + BLOCK_WORDS - 1) / BLOCK_WORDS;
	if (!allocate(s))
		return NULL;
	s->n_missing = o->n_chunks;
	s->n_urgent = o->rank == SWARM_NOW ? o->n_chunks : 0;
	for (uint64_t i = 0; i < o->n_chunks; i++) {
		s->chunks[i].rank = o->rank & 7;
		count_open(s, i, true);
	}
	return steal(s);
}

void swarm_set_window(struct swarm *s, uint64_t usec)
{
	s->window_usec = usec ? usec : s->o.window_usec;
}

void swarm_free(struct swarm *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < REQUESTS_MOST; i++)
		free(s->requests[i].set);
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
		free(s->neighbours[i].have);
		free(s->neighbours[i].n_in_block);
	}
	for (unsigned i = 0; i < SWARM_RANKS; i++) {
		free(s->open[i]);
		free(s->n_open[i]);
	}
	for (unsigned i = 0; i < PLANES; i++)
		free(s->count[i]);
	free(s->held);
	free(s->n_held);
	free(s->chunks);
	free(s);
}
