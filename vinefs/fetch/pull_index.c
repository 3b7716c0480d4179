/* SPDX-License-Identifier: Apache-2.0
 * The index: a small one whole, from a neighbour that has it; of a larger one the list of its parts first (pull_parts.c); whole also from who knows no parts -> verified, published. */
#include "vinefs/fetch/pull.h"

#define INDEX_MAX (1ull << 30)
#define GRACE_USEC 200000u /* so long those are waited for that may be neighbours, before others are asked */

static void forget(struct pull *p)
{
	call_stop(&p->index.call);
	p->index.from = NULL;
	if (p->is_working)
		return;
	buf_fini(&p->index.vti);
	p->index.vti = (struct buf){0};
}

void index_stop(struct pull *p)
{
	forget(p);
	index_parts_drop(p);
}

void index_left(struct pull *p, struct holder *h)
{
	/* What has come whole is in the pool; a list of parts is good without who gave it. */
	if (p->index.from == h && p->index.call.conn)
		forget(p);
}

static void failed(struct pull *p, enum standing standing, enum fault fault, const char *what)
{
	struct holder *h = p->index.from;
	forget(p);
	if (h->watching != WATCH_NONE)
		watch_failed(h, standing, fault, what);
	else if (h->is_old && p->holders[p->at] == h)
		old_failed(p, standing, what);
	else
		pull_go_on(p);
}

static void refused(struct pull *p, int error, uint16_t type, const void *message)
{
	char text[256];
	enum standing standing = pull_standing(p, error, type, message, text);
	failed(p, standing, error == -ETIMEDOUT ? FAULT_SILENT_LONG : FAULT_OF_NONE, text);
}

/* ---- all of it has come */

/* A good tree of another id must not get into the cache by the back door. */
static bool is_wrong(int error)
{
	return error == -EBADMSG || error == -ESTALE || error == -EPROTONOSUPPORT;
}

/* Parts are given on from there meanwhile: so a copy is handed over. It stays open until the tree is, which is then not read again. */
static void run_publish(struct fetch_work *w)
{
	struct pull *p = container_of(w, struct pull, work);
	const struct pull_index *x = &p->index;
	const void *vti = x->size ? x->bytes : x->vti.at;
	size_t n = x->size ? (size_t)x->size : x->vti.n;
	void *copy = malloc(n ? n : 1);
	assert(!p->published);
	p->error = copy ? 0 : -ENOMEM;
	if (!copy)
		return;
	memcpy(copy, vti, n);
	int r = cache_publish_open(p->cache, copy, n, &p->id, &p->published);
	p->error = is_wrong(r) ? -EBADMSG : r == -ENOENT ? 0 : r;
}

static void on_wrong(struct pull *p)
{
	static const char what[] = "what it gave is not the tree's index";
	struct holder *h = p->index.from;
	if (p->index.size) {
		index_parts_wrong(p);
		return;
	}
	peers_lied(p->owner, &p->id, h->address);
	failed(p, HOLDER_BAD, FAULT_LIED, what);
}

static void on_published(struct fetch_work *w, bool is_run)
{
	struct pull *p = container_of(w, struct pull, work);
	if (!pull_worked(p, is_run))
		return;
	if (p->error == -EBADMSG) {
		on_wrong(p);
		return;
	}
	if (p->error) {
		pull_fail_here(p, p->error);
		return;
	}
	if (p->index.size)
		index_parts_right(p);
	forget(p);
	index_parts_drop(p);
	p->is_unknown = false;
	pull_progressed(p);
	pull_soon(p);
	index_parts_over(p, 0);
	pulls_tell_index(p->owner, &p->id);
	/* The caller may end it within this call. */
	if (p->caller && p->caller->on_index)
		p->caller->on_index(p->caller);
}

void index_published(struct pull *p)
{
	pull_work(p, run_publish, on_published);
}

/* ---- whole */

static void on_index_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct pull *p = container_of(call, struct pull, index.call);
	const struct wire_index *m = message;
	if (error)
		refused(p, error, type, message);
	else if (type != WIRE_INDEX || !digest_is_equal(&m->tree, &p->id) || m->size > INDEX_MAX || !call->is_streaming)
		failed(p, HOLDER_BAD, FAULT_LIED, "what it says of the tree's index is wrong");
	else
		p->index.vti_size = m->size;
}

static bool on_index_data(struct call *call, const void *bytes, size_t n)
{
	struct pull *p = container_of(call, struct pull, index.call);
	if (n > p->index.vti_size - p->index.vti.n) {
		failed(p, HOLDER_BAD, FAULT_LIED, "its index is larger than it said");
		return false;
	}
	buf_put(&p->index.vti, bytes, n);
	return true;
}

static void on_index_end(struct call *call, int error)
{
	struct pull *p = container_of(call, struct pull, index.call);
	if (error)
		refused(p, error, 0, NULL);
	else if (p->index.vti.n != p->index.vti_size)
		failed(p, HOLDER_BAD, FAULT_LIED, "its index is shorter than it said");
	else
		index_published(p);
}

static void ask_whole(struct pull *p, struct holder *h, struct conn *c)
{
	const struct wire_read_index m = {.tree = p->text};
	forget(p);
	p->index.from = h;
	p->index.call = (struct call){.on_reply = on_index_reply, .on_data = on_index_data, .on_end = on_index_end};
	int r = c ? call_start(&p->index.call, c, WIRE_READ_INDEX, &m, p->owner->settings.silent_usec) : -ENOTCONN;
	if (r)
		refused(p, r, 0, NULL);
}

/* ---- of whom */

/* A neighbour that has something of it. */
static struct holder *choose(const struct pull *p)
{
	struct holder *best = NULL;
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		if (h->watching != WATCH_ON || h->is_listed || (!h->has_index && !h->parts.n))
			continue;
		if (!best || (h->has_index && !best->has_index))
			best = h;
	}
	return best;
}

static bool is_anyone_due(const struct pull *p)
{
	uint64_t since = loop_now_usec(p->owner->settings.loop) - p->begun_usec;
	bool is_due = false;
	for (size_t i = 0; i < p->n_holders; i++)
		is_due |= p->holders[i]->watching == WATCH_JOINING || p->holders[i]->watching == WATCH_ASKED;
	return is_due && since < GRACE_USEC;
}

void index_go_on(struct pull *p)
{
	if (p->index.swarm) {
		index_parts_go_on(p);
		return;
	}
	if (p->index.call.conn)
		return;
	struct holder *h = choose(p);
	if (h && p->index.vti_size && h->has_index) {
		ask_whole(p, h, peer_conn(&h->user));
	} else if (h && !p->index.vti_size) {
		index_parts_ask(p, h);
	} else if (!is_anyone_due(p)) {
		struct conn *c = old_conn(p);
		if (c)
			ask_whole(p, p->holders[p->at], c);
	}
}
