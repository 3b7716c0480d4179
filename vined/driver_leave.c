/* SPDX-License-Identifier: Apache-2.0
 * Nodes that go: one that said so (LEAVING), one whose time is nearly over (JOIN.stays_usec), one that a person has drained, which stays on until it is
 * resumed, over restarts of vined and of the node. It gets no new tasks, but while its time runs, and what is needed and nobody else has is brought to others.
 *
 * 1. Of a leaving node each tree that it holds for the cluster (driver_hold.c) has a copy here, until another node holds it or nobody needs it.
 * 2. Where nobody can take a copy nobody waits for it: who asked is told at once what is there alone. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define PREFIX "node."
#define SUFFIX ".drained"
#define LEAD_LEAST_USEC \
	UINT64_C(60000000)            /* before a known end copying begins so early at least, or at half of the time */
#define RATE_FIRST UINT64_C(20000000) /* bytes a second, until one was copied */
#define NAMED_MOST 3u                 /* trees or nodes in a message */

struct copy {
	struct list link;
	struct leave *leave;
	struct tree *tree;
	struct item *item; /* "tree:ID", held, by which it is brought */
	struct node *to;   /* NULL: nobody can take it */
	uint64_t began_usec;
};

struct waiter {
	struct list link;
	struct promise *promise;
	bool is_node; /* the node itself, which is about to end; else who drains it */
};

struct leave {
	struct list link; /* among the driver's */
	struct node *node;
	bool is_drained, is_going, is_ending; /* going: it said so; ending: its time is nearly over */
	struct timer end;
	struct list copies, waiters;
	uint64_t rate; /* bytes a second, of the last copy that was large enough to say */
};

static struct leave *leave_get(struct node *n)
{
	struct leave *l = n->leave;
	if (l)
		return l;
	l = n->leave = NEW(struct leave);
	l->node = n;
	l->rate = RATE_FIRST;
	list_init(&l->link);
	list_init(&l->copies);
	list_init(&l->waiters);
	return l;
}

bool node_is_leaving(const struct node *n)
{
	const struct leave *l = n->leave;
	return l && (l->is_drained || l->is_going || l->is_ending);
}

const char *leave_resting(const struct node *n)
{
	const struct leave *l = n->leave;
	return l && l->is_going ? "it is about to end" : l && l->is_drained ? "it is drained: vine node resume" : NULL;
}

struct node *node_find(const struct driver *d, const char *name)
{
	struct node *n, *found = NULL;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));)
		if ((streq(n->name, name) || streq(n->uuid, name)) && (!found || n->conn))
			found = n;
	return found;
}

/* ---- copies */

static uint64_t room_of(const struct node *n)
{
	return n->spec.disk > n->resident_size ? n->spec.disk - n->resident_size : 1;
}

static bool can_take(const struct node *n, const struct tree *t)
{
	bool is_there = n != n->driver->past && n->conn && n->has_data && n->in_core == NODE_PRESENT;
	return is_there && !node_is_leaving(n) && (!n->spec.disk || room_of(n) > t->size);
}

static struct node *choose(const struct driver *d, const struct tree *t)
{
	struct node *n, *best = NULL;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));)
		if (can_take(n, t) && (!best || room_of(n) > room_of(best)))
			best = n;
	return best;
}

static void bring(struct copy *c)
{
	struct driver *d = c->leave->node->driver;
	c->to = choose(d, c->tree);
	c->began_usec = loop_now_usec(d->o.loop);
	if (c->to && core_item_bring(d->core, c->item->id, c->to->id, CORE_BRING_COPY) == 0)
		log_debug("tree %.16s: it is on node %s alone, which goes: node %s gets it", c->tree->text,
			  c->leave->node->name, c->to->name);
}

static void copy_free(struct copy *c, bool is_stopped)
{
	struct driver *d = c->leave->node->driver;
	struct tree *t = c->tree;
	list_remove(&c->link);
	/* Who wants it there for another reason gets it. */
	if (is_stopped && c->to && c->to->in_core != NODE_ABSENT && !stages_want(c->to, t))
		core_item_bring(d->core, c->item->id, c->to->id, CORE_BRING_OVER);
	item_unref(d, c->item, false);
	t->n_items--;
	tree_put(d, t);
	free(c);
}

void leaves_bring(struct node *to, const struct tree *t)
{
	list_foreach (&to->driver->leaving, struct leave, link, l)
		list_foreach (&l->copies, struct copy, link, c)
			if (c->tree == t && c->to == to)
				core_item_bring(to->driver->core, c->item->id, to->id, CORE_BRING_COPY);
}

void leave_holds(struct node *n, struct tree *t)
{
	struct leave *l = n->leave;
	char name[DIGEST_TEXT_SIZE + 8];
	list_foreach (&l->copies, const struct copy, link, c) {
		if (c->tree == t)
			return;
	}
	struct copy *c = NEW(struct copy);
	c->leave = l;
	c->tree = t;
	list_init(&c->link);
	list_append(&l->copies, &c->link);
	t->n_items++;
	snprintf(name, sizeof name, "tree:%s", t->text);
	c->item = item_get_shared(n->driver, name, "");
	assert(c->item);
	bring(c);
}

static void measure(struct copy *c)
{
	uint64_t usec = loop_now_usec(c->to->driver->o.loop) - c->began_usec;
	if (c->tree->size > 1 << 20 && usec)
		c->leave->rate = max((uint64_t)((double)c->tree->size * 1e6 / (double)usec), (uint64_t)1);
}

static bool is_needed(const struct copy *c)
{
	/* Our own item does not count. */
	return c->tree->n_needs > c->item->is_needing || c->item->n_refs > 1;
}

/* False: it is over. */
static bool copy_look(struct copy *c)
{
	bool is_safe = c->tree->holder != c->leave->node;
	if (is_safe && c->to && c->tree->holder == c->to)
		measure(c);
	if (is_safe || !is_needed(c)) {
		copy_free(c, true);
		return false;
	}
	/* What cannot be asked for it any more cannot give it. */
	if (!c->leave->node->conn)
		c->to = NULL;
	else if (!c->to || !can_take(c->to, c->tree))
		bring(c);
	return true;
}

/* ---- begin and end */

static void take_holds(struct leave *l)
{
	struct node *n = l->node;
	struct replica *r;
	struct buf all = {0};
	/* Each may change what is walked here. */
	for (size_t i = 0; (r = map_next(&n->replicas, &i));)
		if (r->tree->holder == n)
			buf_put(&all, &r->tree, sizeof r->tree);
	struct tree **at = (void *)all.at;
	for (size_t i = 0; i < all.n / sizeof *at; i++)
		at[i]->n_items++;
	for (size_t i = 0; i < all.n / sizeof *at; i++) {
		hold_settle(n->driver, at[i]);
		if (at[i]->holder == n)
			leave_holds(n, at[i]);
		at[i]->n_items--;
		tree_put(n->driver, at[i]);
	}
	buf_fini(&all);
}

static void drop_copies(struct leave *l)
{
	list_foreach (&l->copies, struct copy, link, c)
		copy_free(c, true);
}

static void answer_one(struct waiter *w, int error, const char *text)
{
	list_remove(&w->link);
	promise_status(w->promise, error, "%s", text);
	free(w);
}

static void answer(struct leave *l, int error, const char *text)
{
	list_foreach (&l->waiters, struct waiter, link, w)
		answer_one(w, error, text);
}

/* Who drains it goes on waiting, whichever process it is. */
static void answer_node(struct leave *l)
{
	list_foreach (&l->waiters, struct waiter, link, w)
		if (w->is_node)
			answer_one(w, ECANCELED, "another process joined as this node");
}

/* What it is now was changed. */
static void settle(struct leave *l)
{
	struct driver *d = l->node->driver;
	node_settle(l->node);
	list_remove(&l->link);
	if (node_is_leaving(l->node)) {
		list_append(&d->leaving, &l->link);
		take_holds(l);
	} else {
		answer(l, ECANCELED, "the node stays");
		drop_copies(l);
	}
}

static void await(struct leave *l, struct promise *p, bool is_node)
{
	struct waiter *w = NEW(struct waiter);
	w->promise = p;
	w->is_node = is_node;
	list_init(&w->link);
	list_append(&l->waiters, &w->link);
}

/* "3 trees, 1234 bytes: 0a1b2c3d4e5f6071, ..." */
static size_t list_stuck(const struct leave *l, char text[256])
{
	uint64_t size = 0;
	size_t n_all = 0, n = 0;
	char names[80] = "";
	list_foreach (&l->copies, const struct copy, link, c) {
		size += c->tree->size;
		if (n_all++ < NAMED_MOST)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%.16s", n ? ", " : "", c->tree->text);
	}
	snprintf(text, 256, "%zu tree%s, %" PRIu64 " bytes: %s%s", n_all, n_all == 1 ? "" : "s", size, names,
		 n_all > NAMED_MOST ? ", ..." : "");
	return n_all;
}

static void look(struct leave *l)
{
	bool is_moving = false;
	char text[256];
	list_foreach (&l->copies, struct copy, link, c)
		is_moving |= copy_look(c) && c->to;
	if (is_moving || list_is_empty(&l->waiters))
		return;
	if (!list_is_empty(&l->copies)) {
		list_stuck(l, text);
		_free_ char *reason = xasprintf(
			"node %s alone has %s; %s", l->node->name, text,
			l->node->conn ? "no other node can take them: start one that has room, or forget what made them"
				      : "it is not connected: start it again");
		answer(l, EHOSTUNREACH, reason);
	} else if (!l->node->n_running) {
		answer(l, 0, "");
	}
}

void leaves_look(struct driver *d)
{
	list_foreach (&d->leaving, struct leave, link, l)
		look(l);
}

/* ---- a known end */

static uint64_t lead_usec(const struct leave *l)
{
	const struct node *n = l->node;
	const struct replica *r;
	uint64_t size = 0;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));)
		size += r->tree->holder == n ? r->tree->size : 0;
	return max((uint64_t)(2e6 * (double)size / (double)l->rate), LEAD_LEAST_USEC);
}

/* Looked at anew when half of what is left is over: what it has then may be more. */
static void on_end_near(struct timer *t)
{
	struct leave *l = container_of(t, struct leave, end);
	struct driver *d = l->node->driver;
	uint64_t now = loop_now_usec(d->o.loop), end = l->node->spec.end_usec;
	uint64_t rest = end > now ? end - now : 0, lead = lead_usec(l);
	if (rest > lead + 1000000) {
		timer_start(t, d->o.loop, max((rest - lead) / 2, (uint64_t)1000000), on_end_near);
		return;
	}
	log_info("node %s: it goes away in %" PRIu64 " s: what only it has is copied to others", l->node->name,
		 rest / 1000000);
	l->is_ending = true;
	settle(l);
}

/* Half of its time, or as much as copying takes before its end. */
static void await_end(struct node *n)
{
	struct leave *l = leave_get(n);
	uint64_t now = loop_now_usec(n->driver->o.loop);
	uint64_t rest = n->spec.end_usec > now ? n->spec.end_usec - now : 0, lead = lead_usec(l);
	timer_start(&l->end, n->driver->o.loop, lead < rest ? (rest - lead) / 2 : rest / 2, on_end_near);
}

/* ---- what happens to the node */

void leave_joined(struct node *n, bool is_new)
{
	struct leave *l = n->leave;
	if (l && is_new) {
		l->is_going = l->is_ending = false;
		answer_node(l);
	}
	if (n->spec.end_usec)
		await_end(n);
	else if (l)
		timer_stop(&l->end);
	if (n->leave)
		settle(n->leave);
}

void leave_gone(struct node *n)
{
	struct leave *l = n->leave;
	char text[256];
	if (!l)
		return;
	if (l->is_going && list_stuck(l, text))
		log_warn("node %s: it has ended, and had alone %s; what made them runs again if they are needed",
			 n->name, text);
}

void driver_node_ended(struct node *n, const struct conn *c)
{
	const struct leave *l = n->leave;
	if (n->conn != c || !l || !l->is_going)
		return;
	if (n->n_running)
		log_info("node %s: it has ended in order: %zu tasks run again elsewhere", n->name, n->n_running);
	list_foreach (&n->running, struct tries, link, a) {
		uint64_t task = a->task->id, attempt = a->attempt;
		task_record_lost(a->task, false);
		core_attempt_returned(n->driver->core, task, attempt);
	}
}

void leave_free(struct node *n)
{
	struct leave *l = steal(n->leave);
	map_fini(&n->profiles);
	if (!l)
		return;
	timer_stop(&l->end);
	answer(l, ECANCELED, "vined stops");
	list_remove(&l->link);
	assert(list_is_empty(&l->copies));
	free(l);
}

void leaves_stop(struct driver *d)
{
	list_foreach (&d->leaving, struct leave, link, l) {
		answer(l, ECANCELED, "vined stops");
		drop_copies(l);
	}
}

/* ---- what nodes and people say */

void driver_node_speaks(struct node *n, uint32_t minor)
{
	n->minor = minor;
	map_fini(&n->profiles);
}

void driver_leaving(struct node *n, const struct wire_leaving *m, struct promise *p)
{
	struct leave *l = leave_get(n);
	char text[256];
	log_info("node %s: it is about to end: %.200s", n->name, m->reason);
	l->is_going = true;
	settle(l);
	if (list_stuck(l, text))
		log_info("node %s: it alone has %s; they are copied to others", n->name, text);
	await(l, p, true);
}

static void print_name(const struct node *n, char text[128])
{
	snprintf(text, 128, PREFIX "%.80s" SUFFIX, n->uuid);
}

bool leave_load(struct driver *d, const char *name, const char *value)
{
	size_t n = strlen(name), n_prefix = strlen(PREFIX), n_suffix = strlen(SUFFIX);
	if (n <= n_prefix + n_suffix || !has_prefix(name, PREFIX) || !streq(name + n - n_suffix, SUFFIX))
		return false;
	_free_ char *uuid = xstrndup(name + n_prefix, n - n_prefix - n_suffix);
	struct node *node = map_get_text(&d->nodes_by_uuid, uuid);
	if (node && *value) {
		leave_get(node)->is_drained = true;
		list_append(&d->leaving, &node->leave->link);
	}
	return true;
}

/* Of the nodes of one name those that are there; false: they are several, and which is meant was said. */
static bool is_clear(struct driver *d, const char *name, struct promise *p)
{
	struct node *n;
	_cleanup_(buf_fini) struct buf ids = {0};
	size_t n_same = 0;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));)
		if (n->conn && streq(n->name, name) && n_same++ < NAMED_MOST)
			buf_printf(&ids, "%s%s", ids.n ? ", " : "", n->uuid);
	if (n_same > 1)
		promise_status(p, EINVAL, "%zu nodes are called '%.100s'; say which by its id: %s%s", n_same, name,
			       buf_text(&ids), n_same > NAMED_MOST ? ", ..." : "");
	return n_same <= 1;
}

struct change {
	struct node *node;
	struct promise *promise;
	bool is_drained, is_waiting;
};

static void on_changed(struct store_op *op, int error)
{
	struct change *c = op->arg;
	struct leave *l = leave_get(c->node);
	if (!error) {
		l->is_drained = c->is_drained;
		settle(l);
		log_info("node %s: %s", c->node->name,
			 c->is_drained ? "drained: it gets no more tasks" : "resumed: it gets tasks again");
	}
	if (!error && c->is_waiting)
		await(l, c->promise, false);
	else
		promise_stored(c->promise, error);
}

void driver_change_node(struct driver *d, const struct wire_change_node *m, struct promise *p)
{
	struct node *n = node_find(d, m->node);
	bool is_drain = streq(m->what, "drain");
	char name[128];
	if (!n) {
		promise_status(p, ENOENT, "no node is called '%.100s'; `vine status` lists them", m->node);
		return;
	}
	if (!is_drain && !streq(m->what, "resume")) {
		promise_status(p, EINVAL, "'%.64s': of a node drain and resume are known", m->what);
		return;
	}
	if (!is_clear(d, m->node, p))
		return;
	print_name(n, name);
	struct change *c = store_alloc(d->o.store, sizeof *c);
	*c = (struct change){n, p, is_drain, is_drain && m->is_waiting};
	store_put(d->o.store, &(struct store_op){.kind = STORE_SETTING,
						 .on_stored = on_changed,
						 .arg = c,
						 .setting = {.name = store_text(d->o.store, name),
							     .value = store_text(d->o.store, is_drain ? "yes" : "")}});
}
