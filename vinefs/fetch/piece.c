/* SPDX-License-Identifier: Apache-2.0
 * needed -> a pull of the tree brings it, before all else; where none does, or is late: whoever is known to have the tree is asked for it, one after the other. */
#include "vinefs/fetch/peer.h"

#include "common/log.h"
#include "vinefs/fetch/piece.h"
#include "vinefs/fetch/swarm.h"

#include <stdio.h>

#define AGAIN_USEC 300000u /* before all are asked once more */
#define LATE_USEC 500000u  /* a pull is given so long */
#define SILENT_USEC 30000000u
#define TRIES_USEC 20000000u /* they are, for so long: less than a read waits */
/* Who gives nothing, or next to nothing, is left for the next so soon, each one sooner than the one before, and twice as late when all are asked once more: so there is time for all, and
 * for who is slow. */
#define QUIET_USEC ((uint64_t)2000000)
#define QUIET_LEAST_USEC ((uint64_t)250000)
#define QUIET_PARTS 4u /* of a chunk: one of them in this time is enough */

struct piecing {
	struct list link;
	struct fetch_peers *owner;
	struct piece *of;
	struct digest tree;
	bool is_joined;   /* a pull is to bring it */
	unsigned at;      /* holder */
	unsigned n_quiet; /* holders that said nothing, this time */
	unsigned n_times; /* that all have been asked */
	struct peer_user user;
	struct call call;
	struct timer timer;
	size_t have, had; /* had: when it was last looked at */
	uint64_t since_usec;
	char reason[256];
};

static void ask_next(struct piecing *x);

static bool has_reader(const struct piecing *x)
{
	return x->of->rank == SWARM_NOW;
}

static void end(struct piecing *x, int error)
{
	struct fetch_peers *f = x->owner;
	struct piece *of = x->of;
	char reason[sizeof x->reason];
	memcpy(reason, x->reason, sizeof reason);
	call_stop(&x->call);
	peer_leave(&x->user);
	timer_stop(&x->timer);
	list_remove(&x->link);
	if (has_reader(x))
		readers_leave(f);
	of->work = NULL;
	free(x);
	of->on_done(of, error, reason);
}

/* ---- by a pull */

static void on_again(struct timer *t)
{
	struct piecing *x = container_of(t, struct piecing, timer);
	x->at = 0;
	x->n_quiet = 0;
	x->n_times++;
	ask_next(x);
}

static void on_late(struct timer *t)
{
	struct piecing *x = container_of(t, struct piecing, timer);
	x->is_joined = false;
	ask_next(x);
}

/* True: it is waited for. */
static bool join(struct piecing *x)
{
	x->is_joined = pull_want(x->owner, &x->tree, x->of->chunk, x->of->rank);
	if (x->is_joined)
		timer_start(&x->timer, x->owner->settings.loop, LATE_USEC, on_late);
	return x->is_joined;
}

static void on_begin(struct timer *t)
{
	struct piecing *x = container_of(t, struct piecing, timer);
	if (!join(x))
		ask_next(x);
}

void pieces_came(struct fetch_peers *f, const struct digest *tree, uint64_t chunk)
{
	struct list came = LIST_INIT(came);
	struct piecing *x;
	list_foreach (&f->pieces, struct piecing, link, p) {
		if (p->of->chunk != chunk || !digest_is_equal(&p->tree, tree))
			continue;
		list_remove(&p->link);
		list_append(&came, &p->link);
	}
	while ((x = list_first(&came, struct piecing, link))) {
		x->of->is_here = true;
		end(x, 0);
	}
}

void pieces_pull_over(struct fetch_peers *f, const struct digest *tree)
{
	list_foreach (&f->pieces, struct piecing, link, x) {
		if (x->is_joined && digest_is_equal(&x->tree, tree))
			timer_start(&x->timer, f->settings.loop, 0, on_late);
	}
}

/* ---- from one after the other */

/* An error of a connection or a request, which may have been silence. */
static const char *note(struct piecing *x, struct known_holder *h, int error)
{
	if (h && error == -ETIMEDOUT)
		h->silent_until_usec = loop_now_usec(x->owner->settings.loop) + SILENT_USEC;
	return strerror(-error);
}

static void refused(struct piecing *x, const struct known_holder *h, const char *what)
{
	if (h)
		snprintf(x->reason, sizeof x->reason, "node %.60s: %.180s", h->name, what);
	call_stop(&x->call);
	peer_leave(&x->user);
	timer_stop(&x->timer);
	x->at++;
	ask_next(x);
}

static struct known_holder *holder_of(struct piecing *x)
{
	struct known_tree *k = knowns_get(x->owner, &x->tree);
	return k && x->at < k->n ? &k->holders[x->at] : NULL;
}

static void expect_answer(struct piecing *x);

static void on_quiet(struct timer *t)
{
	struct piecing *x = container_of(t, struct piecing, timer);
	struct known_holder *h = holder_of(x);
	if (x->have > x->had && x->have - x->had >= x->of->n / QUIET_PARTS) {
		expect_answer(x);
		return;
	}
	x->n_quiet++;
	note(x, h, -ETIMEDOUT);
	refused(x, h, "it has not answered in time: others are asked");
}

/* Only while there is another way. */
static void expect_answer(struct piecing *x)
{
	const struct known_tree *k = knowns_get(x->owner, &x->tree);
	uint64_t usec = max(QUIET_USEC >> min(x->n_quiet, 31u), QUIET_LEAST_USEC) << min(x->n_times, 8u);
	x->had = x->have;
	if (x->of->is_urgent || (k && k->n > 1))
		timer_start(&x->timer, x->owner->settings.loop, usec, on_quiet);
}

static void ask(struct piecing *x, struct conn *c);

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct piecing *x = container_of(call, struct piecing, call);
	const struct wire_status *status = message;
	const struct wire_some *some = message;
	struct known_holder *h = holder_of(x);
	bool is_old = !h || h->is_old;
	if (error == -ENOSYS && h && !is_old) {
		h->is_old = true;
		ask(x, peer_conn(&x->user));
	} else if (error) {
		refused(x, h, type == WIRE_STATUS && message ? status->reason : note(x, h, error));
	} else if (type != (is_old ? WIRE_STATUS : WIRE_SOME) || !call->is_streaming) {
		refused(x, h, "its answer is none");
	} else if (!is_old && (some->chunk != x->of->chunk || some->codec || some->size != x->of->n)) {
		refused(x, h, "its answer is another chunk");
	}
}

static bool on_data(struct call *call, const void *bytes, size_t n)
{
	struct piecing *x = container_of(call, struct piecing, call);
	if (n > x->of->n - x->have) {
		refused(x, holder_of(x), "it gave more than was asked for");
		return false;
	}
	memcpy(x->of->bytes + x->have, bytes, n);
	x->have += n;
	return true;
}

static void on_end(struct call *call, int error)
{
	struct piecing *x = container_of(call, struct piecing, call);
	struct known_holder *h = holder_of(x);
	if (error || x->have < x->of->n) {
		refused(x, h, error ? note(x, h, error) : "it gave less than was asked for");
		return;
	}
	snprintf(x->of->giver, sizeof x->of->giver, "%s", h ? h->address : "");
	if (h) {
		h->silent_until_usec = 0;
		peers_gave(x->owner, &x->tree, tree_n_chunks(x->of->index), x->of->chunk, h->name);
	}
	end(x, 0);
}

static int ask_old(struct piecing *x, struct conn *c)
{
	const struct wire_read_chunks m = {.tree = x->tree, .first = x->of->chunk, .n = 1};
	return call_start(&x->call, c, WIRE_READ_CHUNKS, &m, x->owner->settings.silent_usec);
}

/* The set of one. */
static int ask_some(struct piecing *x, struct conn *c)
{
	static const uint8_t one = 1;
	const struct wire_read_some m = {.tree = x->tree,
					 .layout = *tree_layout_id(x->of->index),
					 .first = x->of->chunk,
					 .wanted = {.at = &one, .n = 1},
					 .rank = (uint8_t)x->of->rank};
	return call_start(&x->call, c, WIRE_READ_SOME, &m, x->owner->settings.silent_usec);
}

static void ask(struct piecing *x, struct conn *c)
{
	const struct known_holder *h = holder_of(x);
	x->have = 0;
	x->call = (struct call){.on_reply = on_reply, .on_data = on_data, .on_end = on_end};
	int r = !c ? -ENOTCONN : !h || h->is_old ? ask_old(x, c) : ask_some(x, c);
	if (r)
		refused(x, h, strerror(-r));
	else
		expect_answer(x);
}

static void on_ready(struct peer_user *u, int error, const char *reason)
{
	struct piecing *x = container_of(u, struct piecing, user);
	struct known_holder *h = holder_of(x);
	note(x, h, error);
	if (error)
		refused(x, h, reason);
	else if (!x->call.conn)
		ask(x, peer_conn(u));
}

static void ask_next(struct piecing *x)
{
	struct loop *l = x->owner->settings.loop;
	struct known_holder *h = holder_of(x);
	uint64_t now = loop_now_usec(l);
	while (h && (h->is_liar || ((x->of->is_urgent || !x->n_times) && now < h->silent_until_usec))) {
		x->at++;
		h = holder_of(x);
	}
	struct conn *c = h && h->conn ? h->conn(h->arg) : NULL;
	bool is_patient = !x->of->is_urgent && now - x->since_usec < TRIES_USEC;
	if (c) {
		ask(x, c);
	} else if (h && h->conn) {
		refused(x, h, "it is not connected just now");
	} else if (h) {
		x->user.on_ready = on_ready;
		x->have = 0;
		expect_answer(x);
		peer_join(x->owner, &x->user, h->address);
	} else if (!is_patient) {
		end(x, -EIO);
	} else if (!join(x)) {
		timer_start(&x->timer, l, AGAIN_USEC, on_again);
	}
}

static bool has_good(const struct known_tree *k)
{
	for (unsigned i = 0; k && i < k->n; i++)
		if (!k->holders[i].is_liar)
			return true;
	return false;
}

bool piece_ask(struct fetch_peers *f, const struct digest *tree, struct piece *p)
{
	assert(p->on_done && !p->work && p->bytes && p->index);
	if (!has_good(knowns_get(f, tree)) || (p->is_urgent && pull_reads(f, tree, p->chunk)))
		return false;
	struct piecing *x = NEW(struct piecing);
	x->owner = f;
	x->of = p;
	x->tree = *tree;
	x->since_usec = loop_now_usec(f->settings.loop);
	list_init(&x->link);
	list_append(&f->pieces, &x->link);
	p->work = x;
	if (has_reader(x))
		readers_join(f);
	timer_start(&x->timer, f->settings.loop, 0, on_begin);
	return true;
}

void piece_raise(struct piece *p, unsigned rank)
{
	struct piecing *x = p->work;
	if (!x || rank >= p->rank)
		return;
	p->rank = rank;
	if (has_reader(x))
		readers_join(x->owner);
	if (x->is_joined)
		pull_want(x->owner, &x->tree, p->chunk, rank);
}

void piece_lied(struct fetch_peers *f, const struct digest *tree, const struct piece *p)
{
	static const char what[] = "it gave bytes that are not the tree's";
	const struct fetch_peers_settings *s = &f->settings;
	char text[DIGEST_TEXT_SIZE];
	f->n_wrong++;
	if (!*p->giver || peers_is_liar(f, tree, p->giver))
		return;
	peers_lied(f, tree, p->giver);
	log_warn("tree %s: node %s is not asked for it any more: %s", digest_text(tree, text), p->giver, what);
	if (s->on_bad)
		s->on_bad(s->arg, tree, p->giver, 1, what);
}

void piece_came(struct fetch_peers *f, const struct digest *tree, const struct piece *p)
{
	const struct fetch_peers_settings *s = &f->settings;
	const struct known_tree *k = knowns_get(f, tree);
	for (unsigned i = 0; s->on_flow && k && *p->giver && i < k->n; i++)
		if (streq(k->holders[i].address, p->giver)) {
			s->on_flow(s->arg, tree, k->holders[i].name, 1, p->n, 0);
			return;
		}
}

/* ---- what a person is told */

void fetch_peers_why(struct fetch_peers *f, const struct digest *tree, uint64_t chunk, struct buf *out)
{
	const struct known_tree *k = knowns_get(f, tree);
	if (k && chunk < k->n_given && k->given[chunk])
		buf_printf(out, "came from node %s\n", k->givers[k->given[chunk] - 1]);
	pulls_why(f, tree, chunk, out);
	list_foreach (&f->pieces, struct piecing, link, x) {
		if (x->is_joined || !digest_is_equal(&x->tree, tree) || x->of->chunk != chunk)
			continue;
		const struct known_holder *h = k && x->at < k->n ? &k->holders[x->at] : NULL;
		if (h)
			buf_printf(out, "is asked of node %s %s, for a reader\n", h->name, h->address);
	}
	for (unsigned i = 0; k && i < k->n; i++)
		buf_printf(out, "node %s %s %s\n", k->holders[i].name, k->holders[i].address,
			   k->holders[i].is_liar ? "is not asked any more: it gave wrong bytes" : "can be asked");
}

void pieces_stop(struct fetch_peers *f)
{
	struct piecing *x;
	while ((x = list_first(&f->pieces, struct piecing, link))) {
		snprintf(x->reason, sizeof x->reason, "this node is stopped");
		end(x, -ECANCELED);
	}
	knowns_free(f);
}
