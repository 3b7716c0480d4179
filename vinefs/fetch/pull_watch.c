/* SPDX-License-Identifier: Apache-2.0
 * A holder becomes a neighbour: connected -> WATCH_CHUNKS -> what it has and what comes is told to the swarm, as long as the pull lasts; or kept, until there is an index. */
#include "vinefs/fetch/pull.h"

#define BITS_MOST (8u << 20) /* bytes: more than any tree's chunks */

/* ---- what is kept */

static void bits_put(struct bits *b, uint64_t i, bool is_set)
{
	uint64_t byte = i / 8;
	if (byte >= BITS_MOST || (byte >= b->n && !is_set))
		return;
	if (byte >= b->n) {
		uint64_t n = max(byte + 1, min(b->n * 2, (uint64_t)BITS_MOST));
		b->at = xrealloc(b->at, n);
		memset(b->at + b->n, 0, n - b->n);
		b->n = n;
	}
	uint8_t bit = (uint8_t)(1u << i % 8);
	b->at[byte] = is_set ? b->at[byte] | bit : b->at[byte] & (uint8_t)~bit;
}

bool bits_get(const struct bits *b, uint64_t i)
{
	return i / 8 < b->n && b->at[i / 8] >> i % 8 & 1;
}

static void bits_fini(struct bits *b)
{
	free(b->at);
	*b = (struct bits){0};
}

/* ---- the stream */

static void on_index(void *arg)
{
	struct holder *h = arg;
	struct pull *p = h->pull;
	h->has_index = true;
	if (p->index.swarm && h->part_number >= 0)
		swarm_has_all(p->index.swarm, h->part_number);
}

static void on_part(void *arg, uint64_t part)
{
	struct holder *h = arg;
	bits_put(&h->parts, part, true);
	if (h->pull->index.swarm && h->part_number >= 0)
		swarm_has_chunk(h->pull->index.swarm, h->part_number, part);
}

static void on_all(void *arg)
{
	struct holder *h = arg;
	if (h->number >= 0)
		swarm_has_all(h->pull->swarm, h->number);
	h->has_all = true;
}

static void on_chunk(void *arg, uint64_t chunk)
{
	struct holder *h = arg;
	if (h->number >= 0)
		swarm_has_chunk(h->pull->swarm, h->number, chunk);
	else
		bits_put(&h->chunks, chunk, true);
}

static void on_lost(void *arg, uint64_t chunk)
{
	struct holder *h = arg;
	if (h->number >= 0)
		swarm_lacks_chunk(h->pull->swarm, h->number, chunk);
	else
		bits_put(&h->chunks, chunk, false);
	h->has_all = false;
}

static bool on_watch_data(struct call *call, const void *bytes, size_t n)
{
	static const struct have_ops ops = {
		.on_index = on_index, .on_part = on_part, .on_all = on_all, .on_chunk = on_chunk, .on_lost = on_lost};
	struct holder *h = container_of(call, struct holder, watch);
	h->reader.ops = &ops;
	h->reader.arg = h;
	if (have_read(&h->reader, bytes, n)) {
		watch_failed(h, HOLDER_BAD, FAULT_LIED, "what it says that it has is no such stream");
		return false;
	}
	pull_soon(h->pull);
	return true;
}

/* ESTALE: it has the tree in another layout; that is no fault of its, and nothing that changes. */
static void refused(struct holder *h, int error, uint16_t type, const void *message)
{
	char text[256];
	enum standing standing = pull_standing(h->pull, error, type, message, text);
	if (error == -ENOSYS) {
		struct pull *p = h->pull;
		watch_leave(h);
		h->is_old = true;
		pull_go_on(p);
		return;
	}
	watch_failed(h, standing, error == -ETIMEDOUT ? FAULT_SILENT_LONG : FAULT_OF_NONE, text);
}

static void on_watch_end(struct call *call, int error)
{
	refused(container_of(call, struct holder, watch), error ? error : -EAGAIN, 0, NULL);
}

static void on_watch_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct holder *h = container_of(call, struct holder, watch);
	if (error) {
		refused(h, error, type, message);
		return;
	}
	if (type != WIRE_STATUS || !call->is_streaming) {
		watch_failed(h, HOLDER_BAD, FAULT_LIED, "its answer is none");
		return;
	}
	/* Nothing new may come for as long as it likes; that it lives the connection finds out. */
	call->timeout_usec = 0;
	timer_stop(&call->timer);
	h->watching = WATCH_ON;
	h->since_usec = loop_now_usec(h->pull->owner->settings.loop);
	h->n_failed = 0;
	if (h->pull->swarm)
		watch_join(h);
	if (h->pull->index.swarm)
		watch_join_parts(h);
}

static void ask(struct holder *h)
{
	struct pull *p = h->pull;
	const struct fetch_peers_settings *s = &p->owner->settings;
	struct wire_watch_chunks m = {
		.tree = p->id, .name = s->hello->name ? s->hello->name : "", .address = s->address ? s->address : ""};
	if (p->tree)
		m.layout = *tree_layout_id(fetch_index(p->tree));
	h->reader = (struct have_reader){0};
	h->watching = WATCH_ASKED;
	h->watch = (struct call){.on_reply = on_watch_reply, .on_data = on_watch_data, .on_end = on_watch_end};
	int r = call_start(&h->watch, peer_conn(&h->user), WIRE_WATCH_CHUNKS, &m, s->silent_usec);
	if (r)
		refused(h, r, 0, NULL);
}

static void on_ready(struct peer_user *u, int error, const char *reason)
{
	struct holder *h = container_of(u, struct holder, user);
	if (!error && h->watching == WATCH_JOINING)
		ask(h);
	else if (error)
		watch_failed(h, error == -EPROTO ? HOLDER_BAD : HOLDER_AWAY,
			     h->watching == WATCH_JOINING ? FAULT_UNREACHABLE : FAULT_OF_NONE, reason);
}

/* ---- in the swarms */

void watch_join(struct holder *h)
{
	struct swarm *s = h->pull->swarm;
	assert(s && h->number < 0);
	h->number = swarm_join(s);
	if (h->number < 0)
		return;
	if (h->has_all)
		swarm_has_all(s, h->number);
	for (uint64_t i = 0; i < h->chunks.n * 8; i++)
		if (bits_get(&h->chunks, i))
			swarm_has_chunk(s, h->number, i);
	bits_fini(&h->chunks);
}

void watch_join_parts(struct holder *h)
{
	struct swarm *s = h->pull->index.swarm;
	if (!s || h->part_number >= 0 || h->is_doubted)
		return;
	h->part_number = swarm_join(s);
	if (h->part_number < 0)
		return;
	if (h->has_index)
		swarm_has_all(s, h->part_number);
	for (uint64_t i = 0; i < h->parts.n * 8; i++)
		if (bits_get(&h->parts, i))
			swarm_has_chunk(s, h->part_number, i);
}

void watch_leave_parts(struct holder *h)
{
	if (h->part_number >= 0)
		swarm_leave(h->pull->index.swarm, h->part_number);
	h->part_number = -1;
}

/* ---- come and go */

void watch_leave(struct holder *h)
{
	struct pull *p = h->pull;
	if (h->watching == WATCH_NONE)
		return;
	h->watching = WATCH_NONE;
	some_drop(p, h);
	index_left(p, h);
	watch_leave_parts(h);
	if (h->number >= 0)
		swarm_leave(p->swarm, h->number);
	h->number = -1;
	call_stop(&h->watch);
	peer_leave(&h->user);
	bits_fini(&h->chunks);
	bits_fini(&h->parts);
	h->has_index = h->has_all = false;
	/* What only it had may be asked for the old way. */
	p->next = 0;
}

void watch_failed(struct holder *h, enum standing standing, enum fault fault, const char *what)
{
	struct pull *p = h->pull;
	watch_leave(h);
	pull_set_standing(h, standing, fault, what);
	pull_go_on(p);
}

static struct holder *choose(struct pull *p, uint64_t now)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		if (!h->is_old && h->watching == WATCH_NONE && h->standing == HOLDER_GOOD && now >= h->again_usec)
			return h;
	}
	return NULL;
}

void watch_go_on(struct pull *p)
{
	uint64_t now = loop_now_usec(p->owner->settings.loop);
	struct holder *h;
	unsigned n = 0;
	for (size_t i = 0; i < p->n_holders; i++)
		n += p->holders[i]->watching != WATCH_NONE;
	for (; n < NEIGHBOURS_MOST && (h = choose(p, now)); n++) {
		h->watching = WATCH_JOINING;
		h->since_usec = now;
		h->user.on_ready = on_ready;
		peer_join(p->owner, &h->user, h->address);
	}
}
