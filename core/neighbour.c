/* SPDX-License-Identifier: Apache-2.0
 * Whom a transfer is told: up to CORE_NEIGHBOURS nodes that have all or some of the tree or are bringing it now, at random, half of
 * them of its own rack where racks are named, and two that have all of it, if there are. What that costs does not depend on how many
 * have it. A node that is named very often already, or was found to be slow, comes only where there are too few others. */
#include "core/core_internal.h"

#define WHOLE 2u
#define FEW 4u
#define PROBES 64u
#define CROWD 128u /* transfers that name one node */
#define SLOW_USEC UINT64_C(600000000)
#define SHUNNED_USEC UINT64_C(60000000)
#define BAD_MOST 4096u

struct choice {
	struct core *c;
	const struct core_tree *tree;
	uint64_t rack;
	struct core_replica *at[CORE_NEIGHBOURS], *poor[CORE_NEIGHBOURS];
	size_t n, n_most, n_poor, n_rack;
};

/* Numbers that are the same in every run: xorshift. */
static uint64_t roll(struct core *c, uint64_t n)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (c->random >> 11) % n;
}

bool core_node_gives(const struct core_node *n)
{
	return n->is_present && !n->is_mute && !n->shunned.link.at;
}

bool core_replica_gives(const struct core_replica *r)
{
	return r->is_whole && !r->is_bad && core_node_gives(r->node);
}

static bool is_useful(const struct core_replica *r)
{
	bool has_some = r->is_whole || (r->move ? r->move->is_begun : r->size > 0);
	return has_some && !r->is_bad && core_node_gives(r->node);
}

/* Once each; who asks, and those that it has already, count as seen. */
static void consider(struct choice *h, struct core_replica *r)
{
	struct core_node *n = r->node;
	if (n->seen == h->c->n_chosen || !is_useful(r))
		return;
	n->seen = h->c->n_chosen;
	bool is_poor = n->n_serves >= CROWD || n->slow_usec > h->c->now_usec;
	if (is_poor && h->n_poor < CORE_NEIGHBOURS)
		h->poor[h->n_poor++] = r;
	else if (!is_poor && h->n < h->n_most)
		h->at[h->n++] = r, h->n_rack += h->rack && n->rack == h->rack;
}

/* From anywhere on, by steps that reach all of them. */
struct walk {
	uint64_t n, at, step;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static struct walk walk_of(struct core *c, uint64_t n)
{
	struct walk w = {.n = n, .step = 1};
	if (n < 2)
		return w;
	w.at = roll(c, n);
	w.step = 1 + roll(c, n - 1);
	while (gcd(w.step, n) > 1)
		w.step = w.step % (n - 1) + 1;
	return w;
}

static uint64_t walk_next(struct walk *w)
{
	uint64_t at = w->at;
	w->at = (w->at + w->step) % w->n;
	return at;
}

static void choose_whole(struct choice *h)
{
	struct walk w = walk_of(h->c, h->tree->n_whole);
	for (size_t i = 0; i < min(h->tree->n_whole, PROBES) && h->n < min(h->n_most, (size_t)WHOLE); i++)
		consider(h, h->tree->holders[walk_next(&w)]);
}

static void choose_near(struct choice *h)
{
	const struct core_rack *rack = h->rack ? map_get(&h->c->racks, h->rack) : NULL;
	struct walk w = walk_of(h->c, rack ? rack->n : 0);
	for (size_t i = 0; rack && i < min(rack->n, PROBES) && h->n < h->n_most && h->n_rack < h->n_most / 2; i++) {
		struct core_replica *r = core_replica_find(rack->nodes[walk_next(&w)], h->tree);
		if (r)
			consider(h, r);
	}
}

static void choose_any(struct choice *h)
{
	struct walk w = walk_of(h->c, h->tree->n_holders);
	for (size_t i = 0; i < min(h->tree->n_holders, PROBES) && h->n < h->n_most; i++)
		consider(h, h->tree->holders[walk_next(&w)]);
	for (size_t i = 0; i < h->n_poor && h->n < min(h->n_most, (size_t)FEW); i++)
		h->at[h->n++] = h->poor[i];
}

/* There may be one among very many from which nothing comes; in the end one that it cannot reach, by what it said. */
static bool choose_one(struct choice *h, bool may_be_avoided)
{
	for (uint32_t i = 0; i < h->tree->n_whole && !h->n; i++) {
		struct core_replica *r = h->tree->holders[i];
		if (core_replica_gives(r) && (may_be_avoided || r->node->seen != h->c->n_chosen))
			h->at[h->n++] = r;
	}
	return h->n;
}

/* ---- of a transfer */

static void leave(struct core_neighbour *b)
{
	b->node->n_serves--;
	b->node = NULL;
	list_remove(&b->of_node);
	b->move->n_live--;
}

void core_neighbours_drop(struct core_move *m)
{
	for (size_t i = 0; m->neighbours && i < CORE_NEIGHBOURS; i++)
		if (m->neighbours[i].node)
			leave(&m->neighbours[i]);
	assert(!m->n_live);
	free(steal(m->neighbours));
}

static void add(struct core_move *m, struct core_node *n)
{
	struct core_neighbour *b = m->neighbours;
	while (b->node)
		b++;
	assert(b < m->neighbours + CORE_NEIGHBOURS);
	b->node = n;
	b->move = m;
	list_init(&b->of_node);
	list_append(&n->serves, &b->of_node);
	n->n_serves++;
	m->n_live++;
}

size_t core_neighbours_choose(struct core *c, struct core_move *m, bool is_anew)
{
	struct core_tree *t = m->replica->tree;
	struct choice h = {.c = c, .tree = t, .rack = m->replica->node->rack};
	c->n_chosen++;
	m->replica->node->seen = c->n_chosen;
	for (size_t i = 0; m->neighbours && i < CORE_NEIGHBOURS; i++)
		if (m->neighbours[i].node)
			m->neighbours[i].node->seen = c->n_chosen;
	for (size_t i = 0; i < CORE_AVOIDED; i++) {
		struct core_node *n = m->avoided[i] ? core_node_find(c, m->avoided[i]) : NULL;
		if (n)
			n->seen = c->n_chosen;
	}
	h.n_most = CORE_NEIGHBOURS - (is_anew ? 0 : m->n_live);
	const struct core_move *reader = t->reader;
	if (reader && reader != m && reader->is_begun)
		consider(&h, reader->replica);
	choose_whole(&h);
	choose_near(&h);
	choose_any(&h);
	m->is_cut_off = !h.n && !m->n_live && !choose_one(&h, false) && choose_one(&h, true);
	if (h.n + m->n_live > CORE_NEIGHBOURS)
		core_neighbours_drop(m);
	if (!m->neighbours)
		m->neighbours = xcalloc(CORE_NEIGHBOURS, sizeof *m->neighbours);
	for (size_t i = 0; i < h.n; i++)
		add(m, h.at[i]->node);
	return h.n;
}

size_t core_neighbours_list(const struct core_move *m, uint64_t numbers[CORE_PEERS], size_t *n_whole)
{
	size_t n = 0;
	*n_whole = 0;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; m->neighbours && i < CORE_NEIGHBOURS; i++) {
			const struct core_node *node = m->neighbours[i].node;
			const struct core_replica *r = node ? core_replica_find(node, m->replica->tree) : NULL;
			bool is_whole = r && r->is_whole;
			if (!node || is_whole != !pass)
				continue;
			numbers[n++] = node->number;
			*n_whole += is_whole;
		}
	}
	return n;
}

bool core_neighbours_have_all(const struct core_move *m)
{
	uint64_t numbers[CORE_PEERS];
	size_t n_whole;
	core_neighbours_list(m, numbers, &n_whole);
	return n_whole > 0;
}

bool core_neighbours_are_few(const struct core_move *m)
{
	return m->n_live < FEW;
}

/* ---- whom nobody should ask */

static void lose(struct core *c, struct core_neighbour *b)
{
	struct core_move *m = b->move;
	leave(b);
	if (core_neighbours_are_few(m) && list_is_empty(&m->link))
		list_append(&c->lonely, &m->link);
}

void core_neighbours_leave(struct core *c, struct core_node *n)
{
	struct core_neighbour *b;
	while ((b = list_first(&n->serves, struct core_neighbour, of_node)))
		lose(c, b);
}

static void leave_tree(struct core *c, struct core_node *n, const struct core_tree *t)
{
	list_foreach (&n->serves, struct core_neighbour, of_node, b)
		if (b->move->replica->tree == t)
			lose(c, b);
}

/* Once: if it is told of it all the same, there is nobody else. */
static void avoid(struct core *c, struct core_move *m, const struct core_node *n)
{
	for (size_t i = 0; i < CORE_AVOIDED; i++)
		if (m->avoided[i] == n->number)
			return;
	memmove(m->avoided + 1, m->avoided, sizeof m->avoided - sizeof m->avoided[0]);
	m->avoided[0] = n->number;
	for (size_t i = 0; m->neighbours && i < CORE_NEIGHBOURS; i++)
		if (m->neighbours[i].node == n)
			lose(c, &m->neighbours[i]);
}

/* What it is to be known by though the replica goes and comes with the node. */
struct bad {
	uint64_t tree, node;
};

static struct bad *find_bad(const struct core *c, uint64_t tree, uint64_t node)
{
	struct bad *at = (void *)c->bad.at;
	for (size_t i = 0; i < c->bad.n / sizeof *at; i++)
		if (at[i].tree == tree && at[i].node == node)
			return &at[i];
	return NULL;
}

bool core_bad_is(const struct core *c, uint64_t tree, uint64_t node)
{
	return c->bad.n && find_bad(c, tree, node);
}

void core_bad_forget(struct core *c, struct core_replica *r)
{
	struct bad *at = r->is_bad ? find_bad(c, r->tree->number, r->node->number) : NULL;
	r->is_bad = false;
	if (!at)
		return;
	*at = *(struct bad *)(void *)c->bad.at;
	buf_consume(&c->bad, sizeof *at);
}

static void set_bad(struct core *c, struct core_replica *r)
{
	const struct bad b = {r->tree->number, r->node->number};
	if (r->is_bad)
		return;
	r->is_bad = true;
	if (c->bad.n / sizeof b >= BAD_MOST)
		buf_consume(&c->bad, sizeof b);
	buf_put(&c->bad, &b, sizeof b);
}

/* One alone may be to blame itself. */
static void blame(struct core *c, struct core_node *n, uint64_t asker)
{
	bool is_recent = n->blamed_usec && c->now_usec - n->blamed_usec < SHUNNED_USEC;
	if (is_recent && n->blamed_by != asker) {
		core_timer_set(c, &n->shunned, CORE_TIMER_SHUNNED, c->now_usec + SHUNNED_USEC);
		core_neighbours_leave(c, n);
	} else {
		n->blamed_by = asker;
		n->blamed_usec = max(c->now_usec, UINT64_C(1));
	}
}

int core_peer_bad(struct core *c, uint64_t tree, uint64_t node, uint64_t asker, enum core_fault what)
{
	struct core_node *n = core_node_find(c, node);
	const struct core_tree *t = core_tree_find(c, tree);
	struct core_replica *r = n && t ? core_replica_find(n, t) : NULL;
	if (!n || !n->is_present || node == asker || !core_node_find(c, asker))
		return -ENOENT;
	if (what == CORE_FAULT_WRONG && r) {
		set_bad(c, r);
		leave_tree(c, n, t);
	} else if (what == CORE_FAULT_UNREACHABLE || what == CORE_FAULT_SILENT) {
		const struct core_replica *to = t ? core_replica_find(core_node_find(c, asker), t) : NULL;
		if (to && to->move)
			avoid(c, to->move, n);
		blame(c, n, asker);
	} else if (what == CORE_FAULT_SLOW) {
		n->slow_usec = c->now_usec + SLOW_USEC;
	}
	return 0;
}
