/* SPDX-License-Identifier: Apache-2.0
 * its turn -> neighbours are watched, all the while -> the tree is opened; if it is not known: its index, verified, published, and opened -> room is reserved -> what is absent is asked for as the
 * swarm says, verified and stored as it comes; what no neighbour has of those who know no swarm -> nothing is absent any more.
 *
 * 1. Who lies is not asked for the tree again by this node; who is silent not by this pull; who does not have a part (yet), or is away for a moment, is, later.
 * 2. What has come and is verified stays, whatever becomes of the pull.
 * 3. A pull is freed when it is over, and nothing of it is in the pool.
 * 4. There is one pull of a tree at a time; others of the same one wait behind it. */
#include "vinefs/fetch/pull.h"

#include "common/log.h"
#include "vinefs/fetch/internal.h"

#include <stdio.h>

#define AWAY_USEC 5000000u /* a pull without progress ends, if all who are left are away */
#define LOOK_USEC 300000u  /* before those who did not have it are asked again */
#define LATER_MOST 5u      /* doublings of that */

static uint64_t now_of(const struct pull *p)
{
	return loop_now_usec(p->owner->settings.loop);
}

/* ---- the end */

static void holders_free(struct pull *p)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		assert(h->watching == WATCH_NONE && !h->n_asks);
		free(h->name);
		free(h->address);
		free(h->said);
		free(h);
	}
	free(p->holders);
}

void pull_free_if_idle(struct pull *p)
{
	if (p->caller || p->is_working || p->stored.n || p->is_going)
		return;
	assert(!p->n_asks && !p->owner && list_is_empty(&p->somes));
	if (p->tree)
		fetch_close(p->tree);
	if (p->published)
		cache_tree_close(p->published);
	holders_free(p);
	map_fini(&p->stored);
	buf_fini(&p->index.vti);
	free(p->index.digests);
	free(p->index.bytes);
	free(p->index.is_found);
	free(p->reason);
	free(p);
}

struct fetch_pull *pull_leave(struct pull *p, int error)
{
	struct fetch_peers *f = p->owner;
	struct fetch_pull *caller = steal(p->caller);
	assert(caller && caller->work == p);
	caller->work = NULL;
	old_let_go(p);
	for (size_t i = 0; i < p->n_holders; i++)
		watch_leave(p->holders[i]);
	index_stop(p);
	assert(list_is_empty(&p->somes) && !p->flying);
	fetch_coming_stop(&p->coming);
	fetch_bring_stop(&p->from_source);
	swarm_free(steal(p->swarm));
	timer_stop(&p->timer);
	timer_stop(&p->soon);
	fetch_open_stop(&p->open);
	list_remove(&p->link);
	if (!p->is_waiting)
		f->n_pulls--;
	p->owner = NULL;
	index_parts_over(p, error ? error : -ENOENT);
	return caller;
}

/* p may be gone afterwards. */
void pull_finish(struct pull *p, int error, const char *reason)
{
	struct fetch_peers *f = p->owner;
	_free_ char *text = xstrdup(reason);
	struct digest id = p->id;
	struct fetch_pull *caller = pull_leave(p, error);
	pull_free_if_idle(p);
	pieces_pull_over(f, &id);
	pulls_begin_more(f);
	caller->on_done(caller, error, text);
}

void pull_fail_here(struct pull *p, int error)
{
	char text[CACHE_TEXT_SIZE];
	bool is_explained = cache_explain(p->cache, error, text);
	pull_finish(p, error, is_explained ? text : strerror(-error));
}

void pull_progressed(struct pull *p)
{
	p->progress_usec = now_of(p);
}

/* ---- holders */

void pull_set_standing(struct holder *h, enum standing standing, enum fault fault, const char *what)
{
	struct pull *p = h->pull;
	const struct fetch_peers_settings *s = &p->owner->settings;
	unsigned doublings = min(h->n_failed, LATER_MOST);
	free(p->reason);
	p->reason = xasprintf("node %s: %s", h->name, what);
	free(h->said);
	h->said = xstrdup(what);
	h->n_failed++;
	/* Who has not all of it yet is asked again soon. */
	if (standing == HOLDER_AWAY && fault == FAULT_UNREACHABLE)
		h->again_usec = now_of(p) + ((uint64_t)LOOK_USEC << doublings);
	if (standing == HOLDER_BAD && h->standing != HOLDER_BAD)
		log_warn("tree %s: node %s is not asked for it any more: %s", p->text, h->name, what);
	h->standing = standing;
	if (fault == FAULT_OF_NONE || h->is_told || h->conn || !s->on_bad)
		return;
	h->is_told = true;
	s->on_bad(s->arg, &p->id, h->address, fault, what);
}

/* What an error of a request says of whom was asked. */
static enum standing standing_of(int error)
{
	switch (error) {
	case -ENOENT:
	case -ENODATA:
	case -EAGAIN:
		return HOLDER_LACKING;
	case -ECONNRESET:
	case -ENOTCONN:
	case -EPIPE:
	case -ECANCELED:
		return HOLDER_AWAY;
	default:
		return HOLDER_BAD;
	}
}

enum standing pull_standing(const struct pull *p, int error, uint16_t type, const void *message, char *text)
{
	const struct wire_status *status = message;
	unsigned sec = (unsigned)(p->owner->settings.silent_usec / 1000000);
	if (type == WIRE_STATUS && message)
		snprintf(text, 256, "%.250s", status->reason);
	else if (error == -ETIMEDOUT)
		snprintf(text, 256, "nothing came of it for %u s", sec);
	else
		snprintf(text, 256, "%s", strerror(-error));
	return standing_of(error);
}

/* ---- who is waited for */

struct tally {
	size_t n_near, n_lacking, n_away, n_good;
};

static struct tally count(const struct pull *p)
{
	struct tally t = {0};
	for (size_t i = 0; i < p->n_holders; i++) {
		const struct holder *h = p->holders[i];
		bool is_back = h->watching != WATCH_NONE && !(h->watching == WATCH_JOINING && h->n_failed);
		if (is_back)
			t.n_near++;
		else if (h->watching != WATCH_NONE)
			t.n_away++;
		else if (h->standing == HOLDER_LACKING)
			t.n_lacking++;
		else if (h->standing == HOLDER_AWAY)
			t.n_away++;
		else
			t.n_good += h->standing == HOLDER_GOOD;
	}
	return t;
}

/* What it stands still for, for people. */
static char *put_reason(const struct pull *p)
{
	struct buf b = {0};
	uint64_t now = now_of(p);
	unsigned n = 0;
	buf_puts(&b, p->reason ? p->reason : p->n_holders ? "nobody gives it" : "no node is known to have it");
	for (size_t i = 0; i < p->n_holders && n < 4; i++) {
		const struct holder *h = p->holders[i];
		if (h->watching == WATCH_NONE && !h->n_asks)
			continue;
		n++;
		buf_printf(&b, "; node %s was asked for %s %.0f s ago", h->name,
			   h->watching == WATCH_JOINING ? "a connection"
			   : p->tree                    ? "what it has of the tree"
							: "the tree's index",
			   (double)(now - h->since_usec) / 1e6);
	}
	if (now > p->progress_usec + LOOK_USEC && n)
		buf_printf(&b, "; nothing has come for %.0f s", (double)(now - p->progress_usec) / 1e6);
	buf_put(&b, "", 1);
	assert(b.at == b.base);
	return (char *)b.at;
}

/* Nothing is under way, and nobody can be asked: for the moment, or at all. */
static void finish_if_stuck(struct pull *p)
{
	const struct fetch_peers_settings *s = &p->owner->settings;
	uint64_t since = now_of(p) - p->progress_usec;
	bool is_under_way =
		p->n_asks || !list_is_empty(&p->somes) || p->stored.n || p->is_joining || p->from_source.bringing;
	if (p->is_working || p->open.opening || is_under_way || p->index.call.conn)
		return;
	struct tally t = count(p);
	if ((t.n_near || t.n_lacking || t.n_good) && since < s->patience_usec)
		return;
	if (t.n_away && since < AWAY_USEC)
		return;
	_free_ char *reason = put_reason(p);
	pull_finish(p, t.n_near || t.n_lacking ? -ENODATA : -EHOSTUNREACH, reason);
}

/* Those who lacked something may have it by now, and who was away may be back. */
void pull_on_look(struct timer *t)
{
	struct pull *p = container_of(t, struct pull, timer);
	uint64_t now = now_of(p);
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		if (h->standing != HOLDER_BAD && now >= h->again_usec)
			h->standing = HOLDER_GOOD;
	}
	if (!p->n_asks)
		p->next = 0;
	timer_start(t, p->owner->settings.loop, LOOK_USEC, pull_on_look);
	pull_go_on(p);
}

/* ---- work in the pool */

void pull_work(struct pull *p, void (*run)(struct fetch_work *), void (*on_done)(struct fetch_work *, bool))
{
	assert(!p->is_working);
	p->is_working = true;
	p->work = (struct fetch_work){.run = run, .on_done = on_done};
	fetch_work(p->owner->settings.fetch, &p->work);
}

bool pull_worked(struct pull *p, bool is_run)
{
	p->is_working = false;
	if (!is_run)
		p->error = -ECANCELED;
	if (p->caller)
		return true;
	pull_free_if_idle(p);
	return false;
}

/* ---- the tree */

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct pull *p = container_of(o, struct pull, open);
	p->tree = t;
	if (p->published)
		cache_tree_close(steal(p->published));
	p->is_unknown = error == -ENOENT || error == -EBADMSG;
	if (t)
		index_parts_over(p, 0);
	if (error && !p->is_unknown)
		pull_fail_here(p, error);
	else
		pull_go_on(p);
}

static void open_tree(struct pull *p)
{
	p->open.on_done = on_opened;
	int r = fetch_open(p->owner->settings.fetch, &p->open, &p->id, "vined", "it is brought here");
	p->is_unknown = r == -ENOENT;
	if (p->is_unknown)
		pull_go_on(p);
	else if (r)
		pull_fail_here(p, r);
}

static void run_reserve(struct fetch_work *w)
{
	struct pull *p = container_of(w, struct pull, work);
	p->error = cache_tree_reserve(fetch_cache_tree(p->tree));
	if (!p->error)
		alike_chunks(p);
}

static void on_reserved(struct fetch_work *w, bool is_run)
{
	struct pull *p = container_of(w, struct pull, work);
	if (!pull_worked(p, is_run))
		return;
	p->is_reserved = true;
	alike_tell(p);
	if (p->error)
		pull_fail_here(p, p->error);
	else
		pull_go_on(p);
}

/* ---- its chunks */

static uint32_t chunk_size(void *arg, uint64_t chunk)
{
	const struct pull *p = arg;
	return (uint32_t)pull_size_of(fetch_index(p->tree), chunk);
}

void pull_has(struct pull *p, uint64_t chunk)
{
	p->rest -= min(p->rest, (uint64_t)pull_size_of(fetch_index(p->tree), chunk));
	swarm_has(p->swarm, chunk);
	pieces_came(p->owner, &p->id, chunk);
}

static void on_coming(struct fetch_coming *w, uint64_t chunk)
{
	struct pull *p = container_of(w, struct pull, coming);
	/* What this pull stored it says itself: it may have had to go again at once. */
	if (!map_get(&p->stored, chunk))
		pull_has(p, chunk);
	pull_soon(p);
}

/* Where a task waits, its hot set comes before the rest. */
static enum swarm_rank rank_of(const struct pull *p)
{
	return p->is_gating ? SWARM_HOT : p->caller->is_copy ? SWARM_COPY : SWARM_BULK;
}

/* What somebody waits for already, or will soon. */
static void prefer_wanted(struct pull *p)
{
	struct stock *s = p->tree->stock;
	struct fill *x;
	for (size_t i = 0; (x = map_next(&s->fills, &i));)
		if (x->rank == POOL_NOW)
			swarm_prefer(p->swarm, x->chunk, SWARM_NOW);
		else
			pull_prefer(p, x->chunk, x->rank == POOL_SOON);
	bring_each(s, p, pull_prefer);
}

static bool make_swarm(struct pull *p)
{
	const struct tree *t = fetch_index(p->tree);
	uint64_t n = tree_n_chunks(t);
	const struct swarm_options o = {
		.n_chunks = n, .size_of = chunk_size, .arg = p, .rank = rank_of(p), .seed = p->owner->seed++};
	p->swarm = swarm_new(&o);
	if (!p->swarm)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t size = chunk_size(p, i);
		p->unit = max(p->unit, size);
		if (cache_tree_residency(fetch_cache_tree(p->tree), i) != CACHE_ABSENT)
			swarm_has(p->swarm, i);
		else
			p->rest += size;
	}
	p->coming.on_chunk = on_coming;
	fetch_coming_start(p->tree, &p->coming);
	for (size_t i = 0; i < p->n_holders; i++)
		if (p->holders[i]->watching == WATCH_ON)
			watch_join(p->holders[i]);
	prefer_wanted(p);
	return true;
}

void pull_prefer(void *arg, uint64_t chunk, bool is_urgent)
{
	struct pull *p = arg;
	if (p->swarm && is_urgent)
		swarm_prefer(p->swarm, chunk, p->is_gating ? SWARM_GATING : SWARM_HOT);
}

static bool is_absent(const struct pull *p)
{
	for (uint64_t i = 0, n = tree_n_chunks(fetch_index(p->tree)); i < n; i++)
		if (cache_tree_residency(fetch_cache_tree(p->tree), i) == CACHE_ABSENT)
			return true;
	return false;
}

static void ask_chunks(struct pull *p)
{
	if (!p->swarm && !make_swarm(p)) {
		pull_fail_here(p, -ENOMEM);
		return;
	}
	if (swarm_n_missing(p->swarm) || p->n_asks || p->stored.n) {
		some_go_on(p);
		if (p->caller)
			old_go_on(p);
		if (p->caller)
			rest_go_on(p);
	} else if (is_absent(p)) {
		/* It came, and had to make room for the rest. */
		pull_fail_here(p, -ENOSPC);
	} else {
		pull_finish(p, 0, "");
	}
}

static void step(struct pull *p)
{
	if (p->is_working || p->open.opening)
		return;
	watch_go_on(p);
	if (!p->tree && !p->is_unknown)
		open_tree(p);
	else if (!p->tree)
		index_go_on(p);
	else if (!p->is_reserved)
		pull_work(p, run_reserve, on_reserved);
	else
		ask_chunks(p);
	if (p->caller && !p->is_due)
		finish_if_stuck(p);
}

/* Whatever is called below may want this again, or end it. */
void pull_go_on(struct pull *p)
{
	assert(p->caller && p->owner);
	p->is_due = true;
	if (p->is_going)
		return;
	p->is_going = true;
	while (p->caller && p->is_due) {
		p->is_due = false;
		step(p);
	}
	p->is_going = false;
	pull_free_if_idle(p);
}

/* ---- for readers */

static bool is_chosen(const struct pull *p, uint64_t chunk)
{
	bool found = false;
	list_foreach (&p->somes, struct some, link, s)
		found |= s->is_chosen && !s->is_index && s->chunk == chunk;
	return found;
}

static bool is_anybodys(const struct pull *p, uint64_t chunk)
{
	bool has = false;
	for (size_t i = 0; i < p->n_holders; i++) {
		const struct holder *h = p->holders[i];
		has |= h->number >= 0 && swarm_may_have(p->swarm, h->number, chunk);
	}
	return has;
}

bool pull_reads(struct fetch_peers *f, const struct digest *tree, uint64_t chunk)
{
	const struct pull *p = pull_find(f, tree);
	return p && p->is_reader && p->swarm && !is_anybodys(p, chunk);
}

bool pull_want(struct fetch_peers *f, const struct digest *tree, uint64_t chunk, unsigned rank)
{
	struct pull *p = pull_find(f, tree);
	if (!p || !p->swarm)
		return false;
	bool has = is_anybodys(p, chunk);
	if (map_get(&p->stored, chunk) || old_is_asked(p, chunk) || is_chosen(p, chunk))
		return true;
	if (!has)
		return false;
	if (rank == SWARM_NOW)
		swarm_prefer(p->swarm, chunk, SWARM_NOW);
	else
		pull_prefer(p, chunk, rank == SWARM_HOT);
	pull_soon(p);
	return true;
}

void pulls_prefer(struct fetch_peers *f, const struct digest *tree, const uint64_t *chunks, size_t n)
{
	struct pull *p = pull_find(f, tree);
	if (!p || !p->swarm)
		return;
	for (size_t i = 0; i < n; i++)
		pull_prefer(p, chunks[i], true);
	pull_soon(p);
}

void pulls_wake(struct fetch_peers *f)
{
	list_foreach (&f->pulls, struct pull, link, p)
		pull_soon(p);
}

void pulls_why(struct fetch_peers *f, const struct digest *tree, uint64_t chunk, struct buf *out)
{
	const struct pull *p = pull_find(f, tree);
	if (!p || !p->swarm)
		return;
	uint64_t now = now_of(p);
	list_foreach (&p->somes, struct some, link, s) {
		if (s->is_chosen && !s->is_index && s->chunk == chunk)
			buf_printf(out, "comes from node %s %s, asked %.1f s ago\n", s->holder->name,
				   s->holder->address, (double)(now - s->asked_usec) / 1e6);
	}
	for (size_t i = 0; i < p->n_holders; i++) {
		const struct holder *h = p->holders[i];
		if (h->number >= 0 && swarm_may_have(p->swarm, h->number, chunk))
			buf_printf(out, "node %s %s has it\n", h->name, h->address);
	}
}
