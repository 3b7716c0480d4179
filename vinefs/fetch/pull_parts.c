/* SPDX-License-Identifier: Apache-2.0
 * An index in parts: somebody's list of their digests -> the parts, from all neighbours, given on as they come -> the whole, which is the tree's or not.
 *
 * A part that is not the list's may be its giver's lie or the list's: its giver is not asked for parts any more, and who lied is known when the whole is. */
#include "vinefs/fetch/pull.h"

#define WHOLE_SIZE (256u << 10) /* up to here it is asked for whole */
#define PART_LEAST 4096u
#define PART_MOST (1u << 20)
#define INDEX_MAX (1ull << 30)

static uint32_t part_size(void *arg, uint64_t part)
{
	const struct pull_index *x = arg;
	return (uint32_t)min((uint64_t)x->part_size, x->size - part * x->part_size);
}

void index_parts_drop(struct pull *p)
{
	struct pull_index *x = &p->index;
	if (x->swarm)
		some_drop(p, NULL);
	for (size_t i = 0; i < p->n_holders; i++)
		watch_leave_parts(p->holders[i]);
	swarm_free(steal(x->swarm));
	if (p->is_working)
		return;
	free(steal(x->digests));
	free(steal(x->bytes));
	free(steal(x->is_found));
	x->size = 0;
	x->n_parts = 0;
	x->vti_size = 0;
}

void index_parts_over(struct pull *p, int error)
{
	struct fetch_parts *w;
	while ((w = list_first(&p->index.watchers, struct fetch_parts, link))) {
		list_remove(&w->link);
		w->pull = NULL;
		w->on_over(w, error);
	}
}

/* ---- the list */

static bool is_sound(const struct pull *p, const struct wire_index_parts *m)
{
	bool is_power = m->part_size && !(m->part_size & (m->part_size - 1));
	if (!digest_is_equal(&m->tree, &p->id) || !m->size || m->size > INDEX_MAX || !is_power)
		return false;
	if (m->part_size < PART_LEAST || m->part_size > PART_MOST)
		return false;
	return m->digests.n == (m->size + m->part_size - 1) / m->part_size * DIGEST_SIZE;
}

static void begin(struct pull *p, const struct wire_index_parts *m)
{
	struct pull_index *x = &p->index;
	x->size = m->size;
	x->part_size = m->part_size;
	x->n_parts = m->digests.n / DIGEST_SIZE;
	x->digests = xmalloc(m->digests.n);
	memcpy(x->digests, m->digests.at, m->digests.n);
	x->bytes = malloc((size_t)x->size);
	const struct swarm_options o = {.n_chunks = x->n_parts,
					.size_of = part_size,
					.arg = x,
					.rank = p->is_gating ? SWARM_GATING : SWARM_HOT,
					.seed = p->owner->seed++};
	x->swarm = x->bytes ? swarm_new(&o) : NULL;
	if (!x->swarm) {
		pull_fail_here(p, -ENOMEM);
		return;
	}
	for (size_t i = 0; i < p->n_holders; i++)
		if (p->holders[i]->watching == WATCH_ON)
			watch_join_parts(p->holders[i]);
	alike_parts(p);
}

static void failed(struct pull *p, enum standing standing, enum fault fault, const char *what)
{
	struct holder *h = p->index.from;
	p->index.from = NULL;
	watch_failed(h, standing, fault, what);
}

static void on_list(struct call *call, int error, uint16_t type, const void *message)
{
	struct pull *p = container_of(call, struct pull, index.call);
	const struct wire_index_parts *m = message;
	char text[256];
	if (error) {
		enum standing standing = pull_standing(p, error, type, message, text);
		failed(p, standing, error == -ETIMEDOUT ? FAULT_SILENT_LONG : FAULT_OF_NONE, text);
	} else if (type != WIRE_INDEX_PARTS || !is_sound(p, m)) {
		failed(p, HOLDER_BAD, FAULT_LIED, "what it says of the parts of the tree's index is wrong");
	} else if (m->size > WHOLE_SIZE) {
		begin(p, m);
	} else {
		p->index.vti_size = m->size;
		pull_go_on(p);
	}
}

void index_parts_ask(struct pull *p, struct holder *h)
{
	const struct wire_read_index_parts m = {.tree = p->id};
	struct conn *c = peer_conn(&h->user);
	p->index.from = h;
	p->index.call = (struct call){.on_reply = on_list};
	int r = c ? call_start(&p->index.call, c, WIRE_READ_INDEX_PARTS, &m, p->owner->settings.silent_usec)
		  : -ENOTCONN;
	if (r)
		failed(p, HOLDER_AWAY, FAULT_OF_NONE, strerror(-r));
}

/* ---- parts */

static void tell(struct pull *p, uint64_t part)
{
	list_foreach (&p->index.watchers, struct fetch_parts, link, w) {
		if (w->on_part)
			w->on_part(w, part);
	}
}

void index_parts_has(struct pull *p, uint64_t part)
{
	swarm_has(p->index.swarm, part);
	pull_progressed(p);
	tell(p, part);
}

void index_parts_doubt(struct pull *p, struct holder *h)
{
	h->is_doubted = true;
	watch_leave_parts(h);
	/* Its own list is not its own index's. */
	if (h == p->index.from)
		index_parts_wrong(p);
}

void index_parts_came(struct pull *p, struct holder *h, uint64_t part, const uint8_t *bytes, size_t n)
{
	struct pull_index *x = &p->index;
	struct digest d;
	if (swarm_is_here(x->swarm, part))
		return;
	digest_bytes(bytes, n, &d);
	if (memcmp(d.byte, x->digests + part * DIGEST_SIZE, DIGEST_SIZE) != 0) {
		swarm_wrong(x->swarm, part);
		index_parts_doubt(p, h);
		return;
	}
	memcpy(x->bytes + part * x->part_size, bytes, n);
	index_parts_has(p, part);
	if (!swarm_n_missing(x->swarm) && !p->is_working)
		index_published(p);
}

void index_parts_rest(struct pull *p)
{
	if (swarm_n_missing(p->index.swarm))
		pull_go_on(p);
	else
		index_published(p);
}

/* ---- who lied */

void index_parts_right(struct pull *p)
{
	static const char what[] = "it gave a part that is not of the tree's index";
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		if (!h->is_doubted)
			continue;
		h->is_doubted = false;
		watch_leave(h);
		peers_lied(p->owner, &p->id, h->address);
		pull_set_standing(h, HOLDER_BAD, FAULT_LIED, what);
	}
}

static void begin_anew(struct pull *p)
{
	p->index.from = NULL;
	index_parts_drop(p);
	for (size_t i = 0; i < p->n_holders; i++)
		p->holders[i]->is_doubted = false;
	/* Who has been told those parts by us hears that they are none. */
	index_parts_over(p, -ESTALE);
	pull_soon(p);
}

void index_parts_wrong(struct pull *p)
{
	static const char what[] = "its list of the index' parts is not the tree's";
	struct holder *h = p->index.from;
	begin_anew(p);
	h->is_listed = true;
	/* Who has no more than parts himself may have been lied to. */
	if (h->has_index || h->watching == WATCH_NONE) {
		peers_lied(p->owner, &p->id, h->address);
		watch_leave(h);
		pull_set_standing(h, HOLDER_BAD, FAULT_LIED, what);
	}
}

void index_parts_go_on(struct pull *p)
{
	bool has_givers = false, has_doubted = false;
	for (size_t i = 0; i < p->n_holders; i++) {
		has_givers |= p->holders[i]->part_number >= 0;
		has_doubted |= p->holders[i]->is_doubted && p->holders[i]->watching == WATCH_ON;
	}
	/* Nobody is left but those whose parts are not the list's; and who gave the list is gone. */
	if (!has_givers && has_doubted && swarm_n_missing(p->index.swarm)) {
		p->index.from->is_listed = true;
		begin_anew(p);
		return;
	}
	some_go_on(p);
}

/* ---- for who gives them on */

int fetch_parts_start(struct fetch_peers *f, struct fetch_parts *w, const struct digest *tree)
{
	struct pull *p = pull_find(f, tree);
	assert(w->on_over && !w->pull);
	if (!p || p->tree || (!p->is_waiting && !p->is_unknown && !p->open.opening))
		return -ENOENT;
	w->pull = p;
	list_init(&w->link);
	list_append(&p->index.watchers, &w->link);
	return 0;
}

void fetch_parts_stop(struct fetch_parts *w)
{
	if (!w->pull)
		return;
	list_remove(&w->link);
	w->pull = NULL;
}

bool fetch_parts_list(const struct fetch_parts *w, uint64_t *size, uint32_t *part_size_out, const uint8_t **digests)
{
	const struct pull_index *x = w->pull ? &w->pull->index : NULL;
	if (!x || !x->swarm)
		return false;
	*size = x->size;
	*part_size_out = x->part_size;
	*digests = x->digests;
	return true;
}

const void *fetch_parts_get(const struct fetch_parts *w, uint64_t part, size_t *n)
{
	struct pull_index *x = w->pull ? &w->pull->index : NULL;
	if (!x || !x->swarm || !swarm_is_here(x->swarm, part))
		return NULL;
	*n = part_size(x, part);
	return x->bytes + part * x->part_size;
}
