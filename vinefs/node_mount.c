/* SPDX-License-Identifier: Apache-2.0
 * the keeper tells what it holds -> restored, or: asked for a stem (views) -> or mounted here (mount) -> or nothing (plain). Each that cannot be done leads to the next.
 * A connection: held or mounted -> its trees open -> serving -> ended; freed when the last read is answered. */
#include "vinefs/node_mount_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <inttypes.h>
#include <unistd.h>

#define STEM_USEC 20000000u    /* the keeper forks and mounts */
#define AGAIN_USEC 500000u     /* after one that was lost */
#define RESTORE_USEC 25000000u /* readers wait meanwhile, but not for ever */

static void begin(struct node_mount *n);

/* ---- the stem's descriptors */

static void close_namespaces(struct node_mount *n)
{
	for (unsigned i = 0; i < countof(n->namespaces); i++)
		n->namespaces[i] = close_fd(n->namespaces[i]);
	n->stem = 0;
}

/* ---- one connection */

static void carrier_free(struct carrier *c)
{
	assert(atomic_load(&c->n_users) == 0);
	while (!list_is_empty(&c->trees)) {
		struct node_tree *t = list_first(&c->trees, struct node_tree, link);
		/* What the mount never had. */
		if (t->tree && (!c->mount || !c->is_serving))
			fetch_close(steal(t->tree));
		node_tree_free(t);
	}
	timer_stop(&c->patience);
	if (c->mount)
		mount_free(c->mount);
	close_fd(c->connection.fd);
	buf_fini(&c->table);
	free(c);
}

static void on_unused(struct post *p)
{
	carrier_free(container_of(p, struct carrier, unused));
}

void carrier_unuse(void *carrier)
{
	struct carrier *c = carrier;
	/* Read before it may be gone. */
	struct loop *l = c->owner->settings.loop;
	assert(atomic_load(&c->n_users) > 0);
	if (atomic_fetch_sub(&c->n_users, 1) == 1)
		loop_post(l, &c->unused);
}

/* Nobody is served by it any more; `is_handed_over`: until the next process. */
static void stop(struct carrier *c, bool is_handed_over)
{
	bool was_serving = c->is_serving;
	assert(c->owner->carrier == c);
	c->owner->carrier = NULL;
	timer_stop(&c->patience);
	list_foreach (&c->trees, struct node_tree, link, t)
		node_tree_stop(t);
	if (!was_serving) {
		carrier_free(c);
		return;
	}
	mount_stop(c->mount, is_handed_over);
	/* Without our descriptor the kernel ends what may be left of the connection. */
	if (!is_handed_over)
		c->connection.fd = close_fd(c->connection.fd);
	carrier_unuse(c);
}

static void lose(struct carrier *c)
{
	struct node_mount *n = c->owner;
	const struct node_mount_settings *s = &n->settings;
	bool was_serving = c->is_serving;
	mounts_tell_keeper(s->mounts, KEEPER_DROP, c->number, NULL);
	list_foreach (&c->trees, struct node_tree, link, t)
		if (was_serving)
			s->on_lost(s->arg, t);
	close_namespaces(n);
	n->tier = -1;
	stop(c, false);
	if (was_serving)
		s->on_change(s->arg);
}

static void on_again(struct timer *t)
{
	begin(container_of(t, struct node_mount, timer));
}

static void on_ended(struct post *p)
{
	struct carrier *c = container_of(p, struct carrier, ended);
	struct node_mount *n = c->owner;
	if (n->carrier != c) /* handed over: who takes it up will see */
		return;
	log_warn("%s is not mounted any more: what reads there gets errors; it is mounted anew", n->directory);
	lose(c);
	timer_start(&n->timer, n->settings.loop, AGAIN_USEC, on_again);
}

/* ---- what the mount asks for */

static ssize_t read_now(void *arg, void *served, const struct mount_range *range, void *p)
{
	struct mount_range own;
	return mounts_read_now(arg, node_served_find(served, range, &own), &own, p);
}

static void read_later(void *arg, void *served, const struct mount_range *range, struct mount_request *q)
{
	struct carrier *c = arg;
	struct mount_range own;
	atomic_fetch_add(&c->n_users, 1);
	mounts_read_later(node_served_find(served, range, &own), &own, q, carrier_unuse, c);
}

static void release(void *arg _unused_, void *served)
{
	node_served_free(served);
}

static int keep(void *arg, const void *table, size_t n)
{
	struct carrier *c = arg;
	buf_consume(&c->table, c->table.n);
	buf_put(&c->table, table, n);
	return carrier_save(c, c->connection.is_answered);
}

static void on_end(void *arg)
{
	struct carrier *c = arg;
	loop_post(c->owner->settings.loop, &c->ended);
}

/* ---- serving */

static struct carrier *carrier_new(struct node_mount *n, uint64_t number)
{
	struct carrier *c = NEW(struct carrier);
	assert(!n->carrier && number);
	c->owner = n;
	c->number = number;
	c->connection.fd = -1;
	c->ended.on_post = on_ended;
	c->unused.on_post = on_unused;
	list_init(&c->trees);
	n->carrier = c;
	return c;
}

/* Gets its numbers back, if it is open. */
static int add_again(struct node_tree *t)
{
	if (!t->tree && !(t->set && t->set->names))
		return -ENOENT;
	int r = node_tree_serve(t);
	if (r && t->tree)
		fetch_close(steal(t->tree));
	return r;
}

static int add_restored(struct carrier *c)
{
	/* Without a table no number was ever given. */
	int r = c->table.n ? mount_restore(c->mount, c->table.at, c->table.n) : 0;
	list_foreach (&c->trees, struct node_tree, link, t) {
		if (add_again(t) == 0)
			continue;
		mount_remove(c->mount, t->name);
		node_tree_free(t);
	}
	return r;
}

static int serve(struct carrier *c)
{
	const struct mount_settings settings = {.source = {.arg = c,
							   .read_now = read_now,
							   .read_later = read_later,
							   .release = release,
							   .keep = keep,
							   .on_end = on_end},
						.uid = getuid(),
						.gid = getgid(),
						.deadline_usec = c->owner->settings.deadline_usec};
	c->mount = mount_new(&settings);
	atomic_store(&c->n_users, 1);
	int r = c->is_restored ? add_restored(c) : 0;
	/* From here on the mount owns the handles. */
	c->is_serving = true;
	if (!r)
		r = mount_start(c->mount, &c->connection);
	return r ? r : carrier_save(c, true);
}

static void start(struct carrier *c)
{
	struct node_mount *n = c->owner;
	const struct node_mount_settings *s = &n->settings;
	int r = serve(c);
	if (r) {
		log_errno(-r, "serve %s", n->directory);
		lose(c);
		timer_start(&n->timer, s->loop, AGAIN_USEC, on_again);
		return;
	}
	n->tier = (int)c->tier;
	log_debug("%s the node's mount, tier %s", c->is_restored ? "serving again" : "serving",
		  probe_tier_name(c->tier));
	list_foreach (&c->trees, struct node_tree, link, t) {
		node_tree_watch(t);
		s->on_restored(s->arg, t);
	}
	s->on_change(s->arg);
}

void carrier_go_on(struct carrier *c)
{
	if (!c->is_certain || c->mount)
		return;
	list_foreach (&c->trees, struct node_tree, link, t)
		if (!t->is_resolved)
			return;
	timer_stop(&c->patience);
	start(c);
}

static void on_impatience(struct timer *t)
{
	struct carrier *c = container_of(t, struct carrier, patience);
	list_foreach (&c->trees, struct node_tree, link, x) {
		if (x->is_resolved)
			continue;
		log_error("%s cannot be served again: it was not opened within %.0f s", x->source ? x->source : x->path,
			  RESTORE_USEC / 1e6);
		node_tree_stop(x);
		x->is_resolved = true;
	}
	carrier_go_on(c);
}

/* ---- asking */

/* In the pool: what lies on our directory goes; and it is mounted, or what the keeper has mounted begins to speak. */
struct opening_mount {
	struct fetch_work work;
	struct node_mount *owner; /* NULL: nobody waits for it */
	char *directory;
	uint64_t stem; /* 0: it is mounted here */
	bool is_clearing;
	struct mount_connection connection;
	int error;
	char text[MOUNT_ERROR_SIZE];
};

static void run_opening(struct fetch_work *w)
{
	struct opening_mount *o = container_of(w, struct opening_mount, work);
	const struct mount_place place = {.directory = o->directory};
	if (o->is_clearing) {
		o->error = path_make_dirs(o->directory, 0700);
		mount_disconnect(o->directory, true, NULL);
	} else if (o->stem) {
		o->error = mount_greet(&o->connection);
	} else {
		o->error = mount_connect(&place, &o->connection, o->text);
	}
}

static void open_mount(struct node_mount *n, bool is_clearing, uint64_t stem, int fd);

static void ask(struct node_mount *n);

/* Less will have to do. */
static void lower(struct node_mount *n, int error, const char *why)
{
	assert(n->goal > PROBE_TIER_PLAIN);
	close_namespaces(n);
	log_warn("tier %s cannot be had here: %s", probe_tier_name(n->goal), *why ? why : strerror(-error));
	n->goal--;
	ask(n);
}

static void on_opening(struct fetch_work *w, bool is_run)
{
	struct opening_mount *o = container_of(w, struct opening_mount, work);
	struct node_mount *n = o->owner;
	if (n)
		n->opening = NULL;
	if (n && is_run && o->is_clearing) {
		ask(n);
	} else if (n && is_run && o->error) {
		close_fd(o->connection.fd);
		lower(n, o->error, o->text);
	} else if (n && is_run) {
		struct carrier *c = carrier_new(n, o->stem ? o->stem : mounts_new_number(n->settings.mounts));
		c->tier = n->goal;
		c->connection = o->connection;
		c->is_certain = true;
		start(c);
	} else {
		close_fd(o->connection.fd);
	}
	free(o->directory);
	free(o);
}

static void open_mount(struct node_mount *n, bool is_clearing, uint64_t stem, int fd)
{
	struct opening_mount *o = NEW(struct opening_mount);
	assert(!n->opening);
	o->owner = n;
	o->directory = xstrdup(n->directory);
	o->stem = stem;
	o->is_clearing = is_clearing;
	o->connection.fd = fd;
	o->work = (struct fetch_work){.run = run_opening, .on_done = on_opening, .is_short = true};
	n->opening = o;
	fetch_work(n->settings.fetch, &o->work);
}

static void on_silence(struct timer *t)
{
	struct node_mount *n = container_of(t, struct node_mount, timer);
	n->asked = 0;
	lower(n, -ETIMEDOUT, "the keeper does not answer");
}

static void ask(struct node_mount *n)
{
	struct mounts *m = n->settings.mounts;
	if (n->goal == PROBE_TIER_VIEWS) {
		n->asked = mounts_new_number(m);
		timer_start(&n->timer, n->settings.loop, STEM_USEC, on_silence);
		int r = m->settings.keeper < 0 ? -ENOTCONN : mounts_tell_keeper(m, KEEPER_STEM, n->asked, NULL);
		if (!r)
			return;
		timer_stop(&n->timer);
		n->asked = 0;
		lower(n, r, "the keeper cannot be asked");
	} else if (n->goal == PROBE_TIER_MOUNT) {
		open_mount(n, false, 0, -1);
	} else {
		n->tier = PROBE_TIER_PLAIN;
		log_info("no mount on this node, tier plain");
		n->settings.on_change(n->settings.arg);
	}
}

static void begin(struct node_mount *n)
{
	assert(!n->carrier && n->tier < 0);
	n->goal = n->settings.tier;
	if (n->goal == PROBE_TIER_PLAIN)
		ask(n);
	else
		open_mount(n, true, 0, -1);
}

/* ---- what the keeper says */

static void on_held(struct mounts_node *w, uint64_t number, int connection, int memory)
{
	struct node_mount *n = container_of(w, struct node_mount, wire);
	/* One is all there is: of two, which can only be when we died between, the newer is served. */
	if (n->carrier)
		lose(n->carrier);
	struct carrier *c = carrier_new(n, number);
	if (!carrier_load(c, connection, memory)) {
		log_error("the node's mount cannot be served again: what is known of it is damaged");
		lose(c);
		return;
	}
	timer_start(&c->patience, n->settings.loop, RESTORE_USEC, on_impatience);
	list_foreach (&c->trees, struct node_tree, link, t)
		node_tree_restore(t);
}

static void on_stem(struct mounts_node *w, uint64_t number, int error, const int *fds, unsigned n_fds)
{
	struct node_mount *n = container_of(w, struct node_mount, wire);
	bool is_asked = n->asked && n->asked == number, is_new = n_fds == 3;
	if (n_fds < 2 && !error)
		error = -EPROTO;
	if (error) {
		if (!is_asked)
			return;
		n->asked = 0;
		timer_stop(&n->timer);
		lower(n, error > 0 ? -error : error, "");
		return;
	}
	close_namespaces(n);
	n->stem = number;
	n->namespaces[0] = fds[0];
	n->namespaces[1] = fds[1];
	if (is_asked && is_new) {
		n->asked = 0;
		timer_stop(&n->timer);
		open_mount(n, false, number, fds[2]);
	} else if (is_new) {
		close_fd(fds[2]);
	}
}

static void on_all_held(struct mounts_node *w)
{
	struct node_mount *n = container_of(w, struct node_mount, wire);
	struct carrier *c = n->carrier;
	/* One of a stem that is no more, or better than it may be now, has readers at most who end soon. */
	if (c && (c->tier > n->settings.tier || (c->tier == PROBE_TIER_VIEWS && n->stem != c->number))) {
		lose(c);
		c = NULL;
	}
	if (!c) {
		begin(n);
		return;
	}
	c->is_certain = true;
	carrier_go_on(c);
}

static void on_alone(struct timer *t)
{
	struct node_mount *n = container_of(t, struct node_mount, timer);
	on_all_held(&n->wire);
}

/* ---- life */

struct node_mount *node_mount_new(const struct node_mount_settings *s)
{
	struct node_mount *n = NEW(struct node_mount);
	assert(s->on_change && s->on_restored && s->on_sealed && s->on_set && s->on_lost);
	n->settings = *s;
	n->directory = path_join(s->state, KEEPER_NODE_MOUNT);
	n->tier = -1;
	n->namespaces[0] = n->namespaces[1] = -1;
	n->wire = (struct mounts_node){.on_held = on_held, .on_stem = on_stem, .on_all_held = on_all_held};
	mounts_set_node(s->mounts, &n->wire);
	if (s->mounts->settings.keeper < 0)
		timer_start(&n->timer, s->loop, 0, on_alone);
	return n;
}

static void finish(struct node_mount *n)
{
	n->is_over = true;
	n->tier = -1;
	timer_stop(&n->timer);
	mounts_set_node(n->settings.mounts, NULL);
	if (n->opening)
		n->opening->owner = NULL;
	n->opening = NULL;
}

static void save_hot(struct carrier *c)
{
	list_foreach (&c->trees, struct node_tree, link, t)
		if (c->is_serving)
			node_tree_save_hot(t, true);
}

void node_mount_hand_over(struct node_mount *n)
{
	if (!n)
		return;
	finish(n);
	if (!n->carrier)
		return;
	save_hot(n->carrier);
	stop(n->carrier, true);
}

void node_mount_leave(struct node_mount *n)
{
	if (!n)
		return;
	finish(n);
	struct carrier *c = n->carrier;
	if (!c)
		return;
	save_hot(c);
	/* In the stem nobody but the keeper can unmount it; without a server it ends. */
	int r = c->tier == PROBE_TIER_MOUNT ? mount_disconnect(n->directory, true, NULL) : 0;
	if (r)
		log_debug("unmount %s: %s", n->directory, strerror(-r));
	stop(c, false);
}

void node_mount_free(struct node_mount *n)
{
	if (!n)
		return;
	assert(n->is_over && !n->carrier);
	/* Fetch has answered all reads; connections that were go by posts. */
	close_namespaces(n);
	free(n->directory);
	free(n);
}

int node_mount_tier(const struct node_mount *n)
{
	return n->tier;
}

uint64_t node_mount_stem(const struct node_mount *n)
{
	return n->tier == PROBE_TIER_VIEWS ? n->stem : 0;
}

bool node_mount_namespaces(const struct node_mount *n, int fds[2])
{
	bool is_there = node_mount_stem(n) != 0;
	if (is_there)
		memcpy(fds, n->namespaces, sizeof n->namespaces);
	return is_there;
}
