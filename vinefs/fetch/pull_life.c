/* SPDX-License-Identifier: Apache-2.0
 * Which pulls are under way: one of a tree at a time, gating ones first, others of the same tree behind it. */
#include "vinefs/fetch/pull.h"

#define PULLS_MOST 16u /* at once, of those that nothing waits for */
#define PULLS_GATING_MOST 64u

struct pull *pull_find(struct fetch_peers *f, const struct digest *tree)
{
	struct list *const lists[] = {&f->pulls, &f->waiting};
	for (size_t i = 0; i < countof(lists); i++)
		list_foreach (lists[i], struct pull, link, p) {
			if (digest_is_equal(&p->id, tree))
				return p;
		}
	return NULL;
}

static bool may_begin(const struct pull *p)
{
	struct fetch_peers *f = p->owner;
	unsigned n_bulk = 0;
	list_foreach (&f->pulls, struct pull, link, other) {
		n_bulk += !other->is_gating;
		if (digest_is_equal(&other->id, &p->id))
			return false;
	}
	return p->is_gating ? f->n_pulls < PULLS_GATING_MOST : n_bulk < PULLS_MOST;
}

static struct pull *next_to_begin(struct fetch_peers *f)
{
	list_foreach (&f->waiting, struct pull, link, p) {
		if (may_begin(p))
			return p;
	}
	return NULL;
}

void pulls_begin_more(struct fetch_peers *f)
{
	struct pull *p;
	while ((p = next_to_begin(f))) {
		list_remove(&p->link);
		list_append(&f->pulls, &p->link);
		f->n_pulls++;
		p->is_waiting = false;
		p->begun_usec = p->progress_usec = loop_now_usec(f->settings.loop);
		timer_start(&p->timer, f->settings.loop, 0, pull_on_look);
	}
}

/* Those that wait behind it know the index, too. Whoever hears of it may end any of them. */
void pulls_tell_index(struct fetch_peers *f, const struct digest *tree)
{
	struct pull *told;
	do {
		told = NULL;
		list_foreach (&f->waiting, struct pull, link, p) {
			if (!p->is_index_told && digest_is_equal(&p->id, tree))
				told = p;
		}
		if (told) {
			told->is_index_told = true;
			if (told->caller->on_index)
				told->caller->on_index(told->caller);
		}
	} while (told);
}

/* Behind the last of its kind. */
static void enqueue(struct pull *p)
{
	struct list *at = p->owner->waiting.next;
	while (at != &p->owner->waiting && (!p->is_gating || list_entry(at, struct pull, link)->is_gating))
		at = at->next;
	list_insert_before(at, &p->link);
}

static struct holder *find_holder(const struct pull *p, const struct fetch_holder *h)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *k = p->holders[i];
		if (h->conn ? k->conn == h->conn && k->arg == h->arg : !k->conn && streq(k->address, h->address))
			return k;
	}
	return NULL;
}

static void add_holder(struct pull *p, const struct fetch_holder *h)
{
	const char *own = p->owner->settings.address;
	bool is_reachable = h->conn || (h->address && *h->address && !(own && streq(own, h->address)));
	if (!is_reachable || p->n_holders == HOLDERS_MOST || find_holder(p, h))
		return;
	struct holder *k = NEW(struct holder);
	*k = (struct holder){.pull = p,
			     .name = xstrdup(h->name),
			     .address = xstrdup(h->address ? h->address : ""),
			     .conn = h->conn,
			     .arg = h->arg,
			     .is_old = h->conn != NULL,
			     .number = -1,
			     .part_number = -1};
	if (peers_is_liar(p->owner, &p->id, k->address)) {
		k->standing = HOLDER_BAD;
		k->said = xstrdup("it has lied about this tree before");
	}
	p->holders = xrealloc(p->holders, (p->n_holders + 1) * sizeof *p->holders);
	p->holders[p->n_holders++] = k;
}

static void add_holders(struct pull *p, const struct fetch_holder *holders, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_holder(p, &holders[i]);
	if (!p->is_waiting)
		pull_soon(p);
}

static void be_gating(struct pull *p)
{
	if (p->is_gating)
		return;
	p->is_gating = true;
	for (uint64_t i = 0; p->swarm && i < tree_n_chunks(fetch_index(p->tree)); i++)
		swarm_prefer(p->swarm, i, SWARM_HOT);
	if (p->is_waiting) {
		list_remove(&p->link);
		enqueue(p);
	}
}

/* A pull of this tree that is under way already gets who is told to one behind it. */
static void lead(struct pull *behind, const struct fetch_holder *holders, size_t n)
{
	struct pull *first = pull_find(behind->owner, &behind->id);
	if (!first || first == behind)
		return;
	add_holders(first, holders, n);
	if (behind->is_gating)
		be_gating(first);
}

void fetch_pull_start(struct fetch_peers *f, struct fetch_pull *x, const struct digest *tree,
		      const struct fetch_holder *holders, size_t n, bool is_gating)
{
	struct pull *p = NEW(struct pull);
	assert(x->on_done && !x->work);
	p->owner = f;
	p->cache = f->settings.cache;
	p->caller = x;
	p->id = *tree;
	digest_text(tree, p->text);
	p->is_gating = is_gating;
	p->is_waiting = true;
	list_init(&p->link);
	list_init(&p->asks);
	list_init(&p->somes);
	list_init(&p->index.watchers);
	add_holders(p, holders, n);
	peers_learn(f, tree, holders, n);
	x->work = p;
	lead(p, holders, n);
	enqueue(p);
	pulls_begin_more(f);
}

void fetch_pull_more(struct fetch_pull *x, const struct fetch_holder *holders, size_t n, bool is_gating)
{
	struct pull *p = x->work;
	assert(p);
	add_holders(p, holders, n);
	peers_learn(p->owner, &p->id, holders, n);
	if (is_gating)
		be_gating(p);
	lead(p, holders, n);
	pulls_begin_more(p->owner);
}

void fetch_pull_meet(struct fetch_peers *f, const struct digest *tree, const char *name, const char *address)
{
	const struct fetch_holder h = {.name = name, .address = address};
	struct pull *p = pull_find(f, tree);
	if (!p || !address || !*address)
		return;
	struct holder *known = find_holder(p, &h);
	/* He takes part since a moment ago. */
	if (known && known->standing == HOLDER_LACKING)
		known->standing = HOLDER_GOOD;
	add_holders(p, &h, 1);
}

void fetch_pull_stop(struct fetch_pull *x)
{
	struct pull *p = x->work;
	if (!p)
		return;
	struct fetch_peers *f = p->owner;
	struct digest id = p->id;
	pull_leave(p, 0);
	pull_free_if_idle(p);
	pieces_pull_over(f, &id);
	pulls_begin_more(f);
}

void pulls_stop(struct fetch_peers *f)
{
	struct list *const lists[] = {&f->waiting, &f->pulls};
	for (size_t i = 0; i < countof(lists); i++) {
		list_foreach (lists[i], struct pull, link, p) {
			pull_leave(p, 0);
			pull_free_if_idle(p);
		}
	}
	assert(!f->n_pulls);
}
