/* SPDX-License-Identifier: Apache-2.0
 * Transfers. A wanted move lies in its node's wants until the node may begin one more; those that tasks wait for are counted apart,
 * so bulk never keeps them. Then it looks for bytes: if somebody has all of the tree, or reads it, it is told neighbours and begins;
 * else it reads the source itself, with a token; else it is parked, at the source until a token comes back, or at the tree until
 * somebody has it, it is known, or nobody reads it any more. Parked moves take nobody's slot.
 *
 * A tree has one reader, who has a token or is in line for one: where a source's limit is none each reads for himself. What a
 * reader leaves behind unread the next one reads: another node's, if there is one. */
#include "core/core_internal.h"

#define GATING 4u    /* times as many fetches as of others */
#define STALLS 3u    /* without progress, then it begins anew */
#define TRUSTED 16u  /* times its length is a token good where it is seen how far the reader is */
#define DESPERATE 2u /* failures, then the source is read though others have it */

static bool is_known(const struct core_tree *t)
{
	return !(t->number & CORE_ANONYMOUS);
}

static bool has_slot(const struct core *c, const struct core_node *n, const struct core_move *m)
{
	return m->rank == CORE_RANK_GATING ? n->n_in[1] < GATING * c->o.fetches
					   : n->n_in[0] - n->n_in[1] < c->o.fetches;
}

/* The first that may begin, of the best rank; *which: of which wants. */
static struct core_move *first_wanted(const struct core *c, const struct core_node *n, size_t *which)
{
	for (*which = 0; *which < CORE_WANTS; (*which)++) {
		struct core_move *m = list_first(&n->wants[*which], struct core_move, link);
		if (m && has_slot(c, n, m))
			return m;
	}
	return NULL;
}

static void settle_wanting(struct core *c, struct core_node *n)
{
	size_t which;
	list_remove(&n->wanting);
	if (n->is_present && first_wanted(c, n, &which))
		list_append(&c->wanting[which], &n->wanting);
}

static void want(struct core *c, struct core_move *m)
{
	struct core_node *n = m->replica->node;
	list_append(&n->wants[m->n_tries ? CORE_WANTS - 1 : m->rank - 1u], &m->link);
	settle_wanting(c, n);
}

/* ---- who waits */

static bool has_whole(const struct core_tree *t)
{
	for (uint32_t i = 0; i < t->n_whole; i++)
		if (core_replica_gives(t->holders[i]))
			return true;
	return false;
}

/* Who was the first in line does not stand in others' way while he looks around. */
static void leave_seat(const struct core_move *m)
{
	struct core_tree *t = m->replica->tree;
	if (t->reader == m)
		t->reader = NULL;
}

void core_move_unpark(struct core *c, struct core_tree *t)
{
	struct core_move *m = t->reader;
	if (m && !m->is_begun) {
		leave_seat(m);
		if (!m->woken_by) {
			list_remove(&m->link);
			want(c, m);
		}
	}
	while ((m = list_first(&t->parked, struct core_move, link))) {
		list_remove(&m->link);
		want(c, m);
	}
}

static void offer_token(struct core *c, struct core_source *s)
{
	struct core_move *m = core_source_first(s);
	if (!m || s->n_active >= s->limit)
		return;
	list_remove(&m->link);
	m->woken_by = s;
	list_append(&c->woken, &m->link);
}

void core_source_set(struct core *c, uint64_t source, unsigned limit)
{
	struct core_source *s = core_source_get(c, source);
	struct core_move *m;
	core_source_limit(s, limit);
	while ((m = core_source_first(s))) {
		list_remove(&m->link);
		leave_seat(m);
		want(c, m);
	}
}

static void give_back(struct core *c, struct core_move *m)
{
	struct core_node *n = m->replica->node;
	struct core_source *s = steal(m->source), *woken_by = steal(m->woken_by);
	core_timer_stop(c, &m->token);
	list_remove(&m->link);
	leave_seat(m);
	core_neighbours_drop(m);
	if (m->is_begun) {
		assert(n->n_in[0] && n->n_in[1] >= m->is_gating);
		n->n_in[0]--;
		n->n_in[1] -= m->is_gating;
		m->is_begun = m->is_gating = false;
		settle_wanting(c, n);
	}
	if (s) {
		if (m->replica->is_whole)
			core_source_learn(c, s, m->replica->size - min(m->began_size, m->replica->size));
		s->n_active--;
		c->n_tokens--;
		offer_token(c, s);
	}
	if (woken_by)
		offer_token(c, woken_by);
}

void core_move_look_again(struct core *c, struct core_move *m)
{
	give_back(c, m);
	want(c, m);
}

/* Of those under way the one that has most of it reads the rest. */
static struct core_move *find_heir(const struct core_tree *t, const struct core_move *was)
{
	struct core_move *best = NULL;
	for (uint32_t i = 0; i < t->n_holders; i++) {
		struct core_move *m = t->holders[i]->move;
		bool may = m && m != was && m->is_begun && !m->source && core_node_gives(m->replica->node);
		if (may && (!best || m->replica->size > best->replica->size))
			best = m;
	}
	return best;
}

/* It does not read it any more, and nobody has all of it. False: there is nobody else to do so. */
static bool pass_reading(struct core *c, struct core_tree *t, struct core_move *was)
{
	bool has_other = !list_is_empty(&t->parked);
	core_move_unpark(c, t);
	if (has_whole(t))
		return false;
	struct core_move *heir = has_other ? NULL : find_heir(t, was);
	if (heir)
		core_move_look_again(c, heir);
	return has_other || heir;
}

/* Whoever waits for what it reads does so in vain. */
void core_move_unread(struct core *c, struct core_node *n)
{
	const struct core_replica *r;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));) {
		if (r->is_whole)
			core_move_orphaned(c, r->tree);
		if (!r->move || r->tree->reader != r->move || !r->move->is_begun)
			continue;
		r->tree->reader = NULL;
		pass_reading(c, r->tree, r->move);
	}
}

/* ---- its life */

struct core_move *core_move_want(struct core *c, struct core_replica *r, struct core_item *i, enum core_rank rank)
{
	struct core_move *m = r->move;
	if (!m) {
		m = NEW(struct core_move);
		*m = (struct core_move){.replica = r, .item = i, .rank = (uint8_t)rank};
		i->n_moves++;
		c->n_moves++;
		list_init(&m->link);
		r->move = m;
		want(c, m);
	} else if (rank < m->rank) {
		/* Who waits for it now is served before who does not. */
		m->rank = (uint8_t)rank;
		if (!m->is_begun && !m->woken_by) {
			leave_seat(m);
			list_remove(&m->link);
			want(c, m);
		} else if (m->is_begun && !m->source) {
			m->is_stale = true;
			list_remove(&m->link);
			list_append(&c->lonely, &m->link);
		}
	}
	return m;
}

void core_move_end(struct core *c, struct core_move *m)
{
	struct core_replica *r = m->replica;
	struct core_tree *t = r->tree;
	struct core_item *i = m->item;
	bool was_reader = t->reader == m;
	if (m->is_pinned && r->is_whole)
		core_order(c, CORE_ORDER_PIN, i->number, r->node->number, 0);
	give_back(c, m);
	r->move = NULL;
	c->n_moves--;
	i->n_moves--;
	free(m);
	if (was_reader && !r->is_whole)
		pass_reading(c, t, NULL);
	else if (!t->reader)
		core_move_unpark(c, t);
	core_item_put(c, i);
}

/* What it was measured to take counts for how long others wait. */
static void measure(struct core *c, const struct core_move *m, uint64_t size)
{
	uint64_t usec = c->now_usec - m->began_usec;
	size -= min(m->began_size, size);
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
	core_move_unpark(c, r->tree);
}

void core_move_stop(struct core *c, struct core_move *m)
{
	if (m->is_begun && c->actions.fetch_stop)
		core_order(c, CORE_ORDER_FETCH_STOP, m->item->number, m->replica->node->number, 0);
}

/* What goes on failing must not keep others waiting; nor must it read the source again before they have tried. */
void core_move_again(struct core *c, struct core_move *m)
{
	struct core_tree *t = m->replica->tree;
	bool was_reader = t->reader == m;
	give_back(c, m);
	m->n_tries++;
	if (was_reader && pass_reading(c, t, m))
		list_append(&t->parked, &m->link);
	else
		want(c, m);
}

/* ---- while it is under way */

/* Who seals what he reads has nothing to show before the end: he has as long as the bytes may take. */
static uint64_t patience_usec(const struct core *c, const struct core_move *m)
{
	double usec = m->source ? 4e6 * (double)m->replica->tree->size / (double)c->rate : 0;
	return max(c->o.token_usec, (uint64_t)usec);
}

static void look_later(struct core *c, struct core_move *m)
{
	uint64_t at_usec = c->now_usec + patience_usec(c, m);
	core_timer_set(c, &m->token, CORE_TIMER_TOKEN, m->source ? min(at_usec, m->deadline_usec) : at_usec);
}

void core_move_due(struct core *c, struct core_move *m)
{
	bool has_progress = m->replica->size > m->seen_size;
	bool is_over = m->source && m->deadline_usec <= c->now_usec;
	m->seen_size = m->replica->size;
	m->n_stalls = has_progress ? 0 : m->n_stalls + 1;
	if (is_over || (!has_progress && (m->source || m->n_stalls >= STALLS))) {
		core_move_stop(c, m);
		core_move_again(c, m);
		return;
	}
	look_later(c, m);
	if (has_progress)
		return;
	m->is_alone = true;
	list_remove(&m->link);
	list_append(&c->lonely, &m->link);
}

static void tell(struct core *c, struct core_move *m)
{
	uint64_t numbers[CORE_PEERS];
	size_t n_whole, n_peers = core_neighbours_list(m, numbers, &n_whole);
	const struct core_tree *t = m->replica->tree;
	const struct core_fetch f = {
		.node = m->replica->node->number,
		.item = m->item->number,
		.tree = is_known(t) ? t->number : 0,
		.size = t->size,
		.source = m->source ? m->source->number : 0,
		.deadline_usec = m->source ? m->deadline_usec : 0,
		.peers = numbers,
		.n_peers = n_peers,
		.n_whole = n_whole,
		.is_gating = m->rank == CORE_RANK_GATING,
		.rank = m->rank,
		.is_relayed = !m->source && (m->is_cut_off || (n_whole && m->n_tries >= DESPERATE)),
		.is_pinned = m->is_pinned,
	};
	m->is_pinned = m->is_stale = m->is_alone = false;
	c->actions.fetch(c->arg, &f);
}

void core_move_tell_pin(struct core *c, const struct core_order *o)
{
	const struct core_item *i = core_item_find(c, o->task);
	const struct core_node *n = core_node_find(c, o->node);
	const struct core_replica *r = i && n ? core_replica_find(n, i->tree) : NULL;
	if (!r || !r->is_whole)
		return;
	const struct core_fetch f = {.node = o->node,
				     .item = o->task,
				     .tree = i->tree->number,
				     .size = i->tree->size,
				     .rank = CORE_RANK_BACKGROUND,
				     .is_pinned = true};
	c->actions.fetch(c->arg, &f);
}

/* One that has lost neighbours, or of which nothing comes, is told others; where nobody is left it looks for bytes once more. */
static bool tell_lonely(struct core *c)
{
	struct core_move *m;
	while ((m = list_first(&c->lonely, struct core_move, link))) {
		list_remove(&m->link);
		/* Who reads the source hears of others by being asked. */
		if (m->source)
			continue;
		bool has_new = core_neighbours_choose(c, m, m->is_alone) > 0;
		m->is_alone = false;
		if (!m->n_live)
			core_move_look_again(c, m);
		if (!m->n_live || (!has_new && !m->is_stale))
			continue;
		tell(c, m);
		return true;
	}
	return false;
}

/* ---- beginning one */

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

void core_move_orphaned(struct core *c, struct core_tree *t)
{
	struct core_move *heir = is_known(t) && !t->reader && !has_whole(t) ? find_heir(t, NULL) : NULL;
	if (heir && find_source(c, heir))
		core_move_look_again(c, heir);
}

static void begin(struct core *c, struct core_move *m, struct core_source *s)
{
	struct core_replica *r = m->replica;
	m->is_begun = true;
	m->is_gating = m->rank == CORE_RANK_GATING;
	m->began_usec = c->now_usec;
	m->began_size = m->seen_size = r->size;
	m->n_stalls = 0;
	r->node->n_in[0]++;
	r->node->n_in[1] += m->is_gating;
	c->n_fetched++;
	m->source = s;
	m->deadline_usec = s ? c->now_usec + patience_usec(c, m) * (is_known(r->tree) ? TRUSTED : 1) : 0;
	if (s) {
		s->n_active++;
		c->n_tokens++;
	}
	if (is_known(r->tree))
		core_neighbours_choose(c, m, false);
	look_later(c, m);
}

/* Whose turn it is to read this tree: nobody's, or his own; a reader whom nobody reaches is none. */
static bool may_read(const struct core_move *m, const struct core_source *s)
{
	const struct core_move *reader = m->replica->tree->reader;
	return !reader || reader == m || s->limit == UINT32_MAX || !core_node_gives(reader->replica->node);
}

static bool can_be_told(const struct core_move *m)
{
	const struct core_move *reader = m->replica->tree->reader;
	bool is_being_read = reader && reader != m && reader->source && core_node_gives(reader->replica->node);
	return is_known(m->replica->tree) && (is_being_read || has_whole(m->replica->tree));
}

static bool read_source(struct core *c, struct core_move *m, struct core_source *s)
{
	struct core_tree *t = m->replica->tree;
	if (s->limit < UINT32_MAX && core_node_gives(m->replica->node))
		t->reader = m;
	if (s->n_active >= s->limit) {
		list_append(&s->parked[m->rank - 1u], &m->link);
		return false;
	}
	begin(c, m, s);
	/* Others may get it from here now. */
	if (is_known(t))
		core_move_unpark(c, t);
	return true;
}

/* False: it is parked. */
static bool try(struct core *c, struct core_move *m)
{
	struct core_tree *t = m->replica->tree;
	struct core_source *s = find_source(c, m);
	list_remove(&m->link);
	bool is_desperate = s && m->n_tries >= DESPERATE && m->n_tries % 2 == 0 && may_read(m, s);
	/* A node that keeps nothing sees it itself. */
	bool is_seen = s && m->replica->node->is_mute;
	bool is_told = !is_desperate && !is_seen && can_be_told(m);
	leave_seat(m);
	if (is_told)
		begin(c, m, NULL);
	else if (!s || !may_read(m, s))
		list_append(&t->parked, &m->link);
	else
		read_source(c, m, s);
	assert(!m->is_begun || m->source || m->n_live);
	bool is_begun = m->is_begun;
	if (is_begun)
		tell(c, m); /* what it brings may be there at once: then there is no move any more */
	return is_begun;
}

/* One for which there is a token. */
static bool begin_woken(struct core *c)
{
	struct core_move *m;
	while ((m = list_first(&c->woken, struct core_move, link))) {
		struct core_source *s = steal(m->woken_by);
		struct core_tree *t = m->replica->tree;
		bool has_place = has_slot(c, m->replica->node, m);
		list_remove(&m->link);
		if (!has_place) {
			leave_seat(m);
			want(c, m);
			core_move_unpark(c, t);
		}
		bool is_begun = has_place && try(c, m);
		offer_token(c, s);
		if (is_begun)
			return true;
	}
	return false;
}

bool core_move_next(struct core *c)
{
	if (begin_woken(c) || tell_lonely(c))
		return true;
	for (size_t i = 0; i < CORE_WANTS; i++) {
		struct core_node *n;
		while ((n = list_first(&c->wanting[i], struct core_node, wanting))) {
			size_t which;
			struct core_move *m = first_wanted(c, n, &which);
			/* Nodes take turns. */
			settle_wanting(c, n);
			if (!m || which != i)
				continue;
			if (try(c, m))
				return true;
		}
	}
	return false;
}
