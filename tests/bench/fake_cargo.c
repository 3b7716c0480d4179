/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fake_cargo.h"

#include <stdio.h>

struct piece {
	struct list link;
	struct cargo *cargo;
	struct digest tree;
	uint64_t item, size; /* item 0: nobody has asked for it */
	struct timer timer;
	bool is_here, is_unused;
};

void fake_tree(unsigned i, struct digest *d)
{
	char text[32];
	int n = snprintf(text, sizeof text, "fake tree %u", i);
	digest_bytes(text, (size_t)n, d);
}

void cargo_init(struct cargo *c, struct loop *l, uint64_t rate,
		void (*on_here)(struct cargo *, const struct wire_fetched *))
{
	*c = (struct cargo){.loop = l, .rate = rate, .on_here = on_here};
	list_init(&c->all);
}

static struct piece *piece_new(struct cargo *c, const struct digest *tree, uint64_t size)
{
	struct piece *p = NEW(struct piece);
	p->cargo = c;
	p->tree = *tree;
	p->size = size;
	list_init(&p->link);
	list_append(&c->all, &p->link);
	return p;
}

void cargo_hold(struct cargo *c, const struct digest *tree, uint64_t size)
{
	piece_new(c, tree, size)->is_here = true;
}

/* A few dozen: no need for a map. */
static struct piece *find(struct cargo *c, uint64_t item, const struct digest *tree)
{
	list_foreach (&c->all, struct piece, link, p) {
		if (tree->algorithm ? digest_is_equal(&p->tree, tree) : p->item == item)
			return p;
	}
	return NULL;
}

static void tell(struct piece *p)
{
	const struct wire_fetched m = {.item = p->item, .tree = p->tree, .size = p->size, .reason = ""};
	assert(p->is_here);
	p->cargo->on_here(p->cargo, &m);
}

static void on_arrived(struct timer *t)
{
	struct piece *p = container_of(t, struct piece, timer);
	p->is_here = p->is_unused = true;
	tell(p);
}

/* Whoever reads a source finds out which tree it is: here, the digest of its name. */
static void name_tree(const struct wire_fetch *m, struct digest *tree)
{
	*tree = m->tree;
	if (!tree->algorithm)
		digest_bytes(m->source, strlen(m->source), tree);
}

void cargo_fetch(struct cargo *c, const struct wire_fetch *m)
{
	struct digest tree;
	name_tree(m, &tree);
	struct piece *p = find(c, m->item, &tree);
	if (!p)
		p = piece_new(c, &tree, m->size);
	p->item = m->item;
	if (p->is_here) {
		tell(p);
		return;
	}
	uint64_t now = loop_now_usec(c->loop), begin = max(now, c->arrival_usec);
	c->arrival_usec = begin + (c->rate ? p->size * 1000000 / c->rate : 0);
	timer_start(&p->timer, c->loop, c->arrival_usec - now, on_arrived);
}

/* The time that it was given on the wire is not given to others: they come no earlier, which is against us. */
void cargo_stop(struct cargo *c, uint64_t item)
{
	static const struct digest none;
	struct piece *p = find(c, item, &none);
	if (!p || p->is_here)
		return;
	timer_stop(&p->timer);
	list_remove(&p->link);
	free(p);
}

uint32_t cargo_list(const struct cargo *c, struct buf *to)
{
	uint32_t n = 0;
	list_foreach (&c->all, struct piece, link, p) {
		const struct wire_replica r = {.tree = p->tree, .size = p->size, .total = p->size};
		if (!p->is_here)
			continue;
		buf_put(to, &r, sizeof r);
		n++;
	}
	return n;
}

struct cargo_use cargo_use(struct cargo *c, const struct wire_input *inputs, uint32_t n)
{
	struct cargo_use use = {0};
	for (uint32_t i = 0; i < n; i++) {
		struct piece *p = inputs[i].mode == 3 ? NULL : find(c, inputs[i].item, &inputs[i].tree);
		bool is_local = p && p->is_here && !p->is_unused;
		if (inputs[i].mode == 3)
			continue;
		*(is_local ? &use.local_size : &use.moved_size) += inputs[i].size;
		if (p)
			p->is_unused = false;
	}
	return use;
}
