/* SPDX-License-Identifier: Apache-2.0
 * Transfers. A wanted move lies in its node's wants until the node has a slot; then it looks for bytes: at the
 * holder with fewest uploads, else at the source if there is a token to spare; else it is parked, at the tree until a holder has an
 * upload to spare or there is one more holder, or at the source until a token comes back. Parked moves take nobody's slot. */
#include "core/core_internal.h"

struct core_source *core_source_get(struct core *c, uint64_t number)
{
	struct core_source *s = map_get(&c->sources, number);
	if (s)
		return s;
	s = NEW(struct core_source);
	*s = (struct core_source){.number = number, .limit = 4};
	list_init(&s->parked);
	map_put(&c->sources, number, s);
	return s;
}

static void want(struct core *c, struct core_move *m)
{
	struct core_node *n = m->replica->node;
	if (m->is_gating)
		list_prepend(&n->wants, &m->link);
	else
		list_append(&n->wants, &m->link);
	if (list_is_empty(&n->wanting) && n->n_in < c->o.fetches)
		list_append(&c->wanting, &n->wanting);
}

void core_source_set(struct core *c, uint64_t source, unsigned limit)
{
	struct core_source *s = core_source_get(c, source);
	s->was_lowered |= limit && limit < s->limit;
	s->limit = limit ? limit : UINT32_MAX;
	while (!list_is_empty(&s->parked)) {
		struct core_move *m = list_first(&s->parked, struct core_move, link);
		list_remove(&m->link);
		want(c, m);
	}
}

struct core_move *core_move_want(struct core *c, struct core_replica *r, struct core_item *i, bool is_gating)
{
	struct core_move *m = r->move;
	if (m) {
		/* Who waits for it now is served before who does not. */
		if (is_gating && !m->is_gating && !m->is_begun && !list_is_empty(&m->link)) {
			m->is_gating = true;
			list_remove(&m->link);
			want(c, m);
		}
		return m;
	}
	m = NEW(struct core_move);
	*m = (struct core_move){.replica = r, .item = i, .is_gating = is_gating};
	i->n_moves++;
	c->n_moves++;
	list_init(&m->link);
	list_init(&m->of_from);
	r->move = m;
	want(c, m);
	return m;
}

/* Somewhere they must be found when an upload ends. */
static void park_at_holder(struct core_tree *t)
{
	if (list_is_empty(&t->parked) || !list_is_empty(&t->parked_at))
		return;
	for (uint32_t i = 0; i < t->n_holders; i++) {
		if (t->holders[i]->is_whole && t->holders[i]->node->is_present) {
			list_append(&t->holders[i]->node->parked, &t->parked_at);
			return;
		}
	}
}

static void unpark(struct core *c, struct core_tree *t, unsigned most, uint64_t woken_at)
{
	while (most-- && !list_is_empty(&t->parked)) {
		struct core_move *m = list_first(&t->parked, struct core_move, link);
		list_remove(&m->link);
		m->woken_at = woken_at;
		want(c, m);
	}
	if (list_is_empty(&t->parked))
		list_remove(&t->parked_at);
}

void core_move_unpark(struct core *c, struct core_tree *t, unsigned most)
{
	unpark(c, t, most, 0);
	park_at_holder(t);
}

/* It has an upload to spare. */
static void offer_upload(struct core *c, struct core_node *n)
{
	struct core_tree *t = list_first(&n->parked, struct core_tree, parked_at);
	if (!t || n->n_out >= c->o.uploads)
		return;
	list_remove(&t->parked_at);
	list_append(&n->parked, &t->parked_at);
	unpark(c, t, 1, n->number);
}

/* It has a token to spare. */
static void offer_token(struct core *c, struct core_source *s)
{
	struct core_move *m = list_first(&s->parked, struct core_move, link);
	if (!m || s->n_active >= s->limit)
		return;
	list_remove(&m->link);
	m->woken_by = s;
	want(c, m);
}

/* What it was woken for is used by it, or offered to the next. */
static void pass_on(struct core *c, struct core_move *m)
{
	struct core_source *s = steal(m->woken_by);
	struct core_node *n = m->woken_at ? core_node_find(c, m->woken_at) : NULL;
	m->woken_at = 0;
	if (s)
		offer_token(c, s);
	if (n)
		offer_upload(c, n);
}

static void give_back(struct core *c, struct core_move *m)
{
	struct core_node *n = m->replica->node;
	core_timer_stop(c, &m->token);
	if (!m->is_begun)
		return;
	m->is_begun = false;
	assert(n->n_in);
	n->n_in--;
	if (!list_is_empty(&n->wants) && list_is_empty(&n->wanting))
		list_append(&c->wanting, &n->wanting);
	struct core_source *s = steal(m->source);
	struct core_node *from = steal(m->from);
	if (from) {
		from->n_out--;
		list_remove(&m->of_from);
		offer_upload(c, from);
	}
	if (s) {
		s->n_active--;
		offer_token(c, s);
	}
}

void core_move_end(struct core *c, struct core_move *m)
{
	struct core_replica *r = m->replica;
	struct core_item *i = m->item;
	give_back(c, m);
	list_remove(&m->link);
	pass_on(c, m);
	r->move = NULL;
	c->n_moves--;
	i->n_moves--;
	free(m);
	core_item_put(c, i);
}

/* What it was measured to take counts for how long others wait. */
static void measure(struct core *c, const struct core_move *m, uint64_t size)
{
	uint64_t usec = c->now_usec - m->began_usec;
	if (!m->is_begun || size < (UINT64_C(1) << 20) || !usec)
		return;
	double rate = (double)size * 1e6 / (double)usec;
	c->rate = max((uint64_t)(0.9 * (double)c->rate + 0.1 * rate), UINT64_C(1));
}

void core_move_arrived(struct core *c, struct core_replica *r)
{
	if (r->move) {
		measure(c, r->move, r->size);
		core_move_end(c, r->move);
	}
	core_move_unpark(c, r->tree, c->o.uploads);
}

void core_move_stop(struct core *c, struct core_move *m)
{
	if (m->is_begun && c->actions.fetch_stop)
		core_order(c, CORE_ORDER_FETCH_STOP, m->item->number, m->replica->node->number, 0);
}

void core_move_again(struct core *c, struct core_move *m)
{
	give_back(c, m);
	list_remove(&m->link);
	want(c, m);
}

/* It took too long: who waits for what it had comes before it, or it would have it again at once. */
void core_move_expire(struct core *c, struct core_move *m)
{
	struct core_tree *t = m->replica->tree;
	struct core_source *s = m->source;
	struct core_node *from = m->from;
	bool is_token_wanted = s && !list_is_empty(&s->parked),
	     is_upload_wanted = from && !list_is_empty(&from->parked);
	core_move_stop(c, m);
	give_back(c, m);
	if (is_token_wanted) {
		list_append(&s->parked, &m->link);
	} else if (is_upload_wanted) {
		list_append(&t->parked, &m->link);
		if (list_is_empty(&t->parked_at))
			list_append(&from->parked, &t->parked_at);
	} else {
		want(c, m);
	}
}

/* ---- beginning one */

/* The whole holders, those with fewest uploads first; at most CORE_PEERS, and of many holders those behind a place that moves on. */
static size_t find_peers(struct core *c, const struct core_move *m, struct core_node *peers[CORE_PEERS])
{
	const struct core_tree *t = m->replica->tree;
	uint32_t n_seen = min(t->n_holders, (uint32_t)CORE_RARE);
	uint32_t first = t->n_holders > CORE_RARE ? (uint32_t)(c->n_fetched % t->n_holders) : 0;
	size_t n = 0;
	struct core_node *offered = m->woken_at ? core_node_find(c, m->woken_at) : NULL;
	const struct core_replica *there = offered ? core_replica_find(offered, t) : NULL;
	if (there && there->is_whole)
		peers[n++] = offered;
	for (uint32_t i = 0; i < n_seen && n < CORE_PEERS; i++) {
		const struct core_replica *r = t->holders[(first + i) % t->n_holders];
		if (!r->is_whole || r == m->replica || r == there || !r->node->is_present)
			continue;
		peers[n++] = r->node;
		if (r->node->n_out < peers[0]->n_out) {
			peers[n - 1] = peers[0];
			peers[0] = r->node;
		}
	}
	return n;
}

static void tell(struct core *c, struct core_move *m, struct core_node *const *peers, size_t n_peers)
{
	uint64_t numbers[CORE_PEERS];
	const struct core_tree *t = m->replica->tree;
	for (size_t i = 0; i < n_peers; i++)
		numbers[i] = peers[i]->number;
	const struct core_fetch f = {
		.node = m->replica->node->number,
		.item = m->item->number,
		.tree = t->number & CORE_ANONYMOUS ? 0 : t->number,
		.size = t->size,
		.source = m->source ? m->source->number : 0,
		.deadline_usec = m->source ? m->token.link.major : 0,
		.peers = numbers,
		.n_peers = n_peers,
		.is_gating = m->is_gating,
	};
	c->actions.fetch(c->arg, &f);
}

static void begin(struct core *c, struct core_move *m, struct core_node *from, struct core_source *s)
{
	m->is_begun = true;
	m->began_usec = c->now_usec;
	m->replica->node->n_in++;
	c->n_fetched++;
	m->from = from;
	m->source = s;
	if (from) {
		from->n_out++;
		list_append(&from->serves, &m->of_from);
	}
	if (s)
		s->n_active++;
	/* A peer's upload, too: a node to which nothing gets through must not keep it from others. */
	double usec = 4e6 * (double)m->replica->tree->size / (double)c->rate;
	core_timer_set(c, &m->token, CORE_TIMER_TOKEN, c->now_usec + max(c->o.token_usec, (uint64_t)usec));
}

/* Of the items that are this tree one may have a source though the one that was asked for has none. */
static struct core_source *find_source(struct core *c, const struct core_move *m)
{
	if (m->item->source)
		return core_source_get(c, m->item->source);
	list_foreach (&m->replica->tree->items, const struct core_item, of_tree, i)
		if (i->source)
			return core_source_get(c, i->source);
	return NULL;
}

/* False: it is parked. */
static bool try(struct core *c, struct core_move *m)
{
	struct core_node *peers[CORE_PEERS];
	struct core_tree *t = m->replica->tree;
	size_t n_peers = find_peers(c, m, peers);
	struct core_source *s = n_peers ? NULL : find_source(c, m);
	list_remove(&m->link);
	if (n_peers && peers[0]->n_out < c->o.uploads) {
		begin(c, m, peers[0], NULL);
	} else if (s && s->n_active < s->limit) {
		begin(c, m, NULL, s);
	} else if (s) {
		list_append(&s->parked, &m->link);
	} else {
		/* At one that is busy: who offered an upload to this tree in vain must not do so again at once. */
		list_append(&t->parked, &m->link);
		list_remove(&t->parked_at);
		if (n_peers)
			list_append(&peers[0]->parked, &t->parked_at);
	}
	pass_on(c, m);
	bool is_begun = m->is_begun;
	if (is_begun)
		tell(c, m, peers, n_peers); /* what it brings may be there at once: then there is no move any more */
	return is_begun;
}

bool core_move_next(struct core *c)
{
	struct core_node *n;
	while ((n = list_first(&c->wanting, struct core_node, wanting))) {
		struct core_move *m = list_first(&n->wants, struct core_move, link);
		if (!m || n->n_in >= c->o.fetches || !n->is_present) {
			list_remove(&n->wanting);
			continue;
		}
		/* Nodes take turns: what one was woken for another that wants much must not take before it. */
		list_remove(&n->wanting);
		list_append(&c->wanting, &n->wanting);
		if (try(c, m))
			return true;
	}
	return false;
}
