/* SPDX-License-Identifier: Apache-2.0
 * opening -> room is reserved -> (a file for a set: held ->) attached, bound -> ready; without a mount: all of it is brought and unpacked. Ready and without users it is idle; gone when its mount is, or when it could not be. */
#include "vinefs/inputs_internal.h"

#include <stdio.h>
#include <unistd.h>

#define READ_USEC 60000000u /* how often it is told what was read */
#define LOOK_USEC 1000000u  /* how often it is looked whether all of it is here by now */

/* ---- one */

static struct used *used_new(struct inputs *in)
{
	struct used *u = NEW(struct used);
	u->owner = in;
	list_init(&u->link);
	list_init(&u->wants);
	list_append(&in->used, &u->link);
	return u;
}

void used_dispose(struct used *u)
{
	assert(!u->is_working && list_is_empty(&u->wants) && !u->job);
	if (u->handle)
		fetch_close(u->handle);
	seal_report_fini(&u->report);
	free(u->unpacked);
	free(u->source);
	free(u->reason);
	free(u);
}

static void set_id(struct used *u, const struct digest *id)
{
	u->id = *id;
	map_put(&u->owner->used_by_id, get_le64(id->byte), u);
}

static void forget_id(const struct used *u)
{
	struct map *m = &u->owner->used_by_id;
	uint64_t key = get_le64(u->id.byte);
	if (map_get(m, key) == u)
		map_remove(m, key);
}

void used_free(struct used *u)
{
	const struct inputs *in = u->owner;
	list_remove(&u->link);
	forget_id(u);
	fetch_open_stop(&u->open);
	fetch_bring_stop(&u->bring);
	job_stop(u);
	timer_stop(&u->soon);
	if ((u->at || u->unpacked) && in->ops && in->ops->on_forget)
		in->ops->on_forget(in->owner, u->at ? u->at->path : u->unpacked);
	if (u->at && !in->is_over)
		node_mount_remove(u->at);
	u->at = NULL;
	binds_free(steal(u->binds));
	if (u->unpacked && !in->is_over)
		plain_remove(u);
	u->is_freed = true;
	/* Else it goes with what a thread does for it. */
	if (!u->is_working)
		used_dispose(u);
}

static bool is_it(const struct used *u, const struct digest *id)
{
	return u->state != USED_GONE && u->id.algorithm != DIGEST_NONE && digest_is_equal(&u->id, id);
}

struct used *used_find(struct inputs *in, const struct digest *id)
{
	struct used *newest = map_get(&in->used_by_id, get_le64(id->byte));
	if (newest && is_it(newest, id))
		return newest;
	list_foreach (&in->used, struct used, link, u)
		if (is_it(u, id))
			return u;
	return NULL;
}

struct used *used_find_draft(struct inputs *in, const char *source)
{
	struct used *found = NULL;
	list_foreach (&in->used, struct used, link, u)
		if (u->state != USED_GONE && u->source && streq(u->source, source))
			found = u;
	return found;
}

/* ---- users */

void used_join(struct used *u)
{
	u->n_users++;
}

/* What one task has read the next one will, elsewhere too. */
static void tell_read(struct used *u)
{
	struct inputs *in = u->owner;
	uint64_t now = loop_now_usec(in->settings.loop);
	uint32_t *nodes;
	size_t n;
	if (!u->at || in->is_over || !in->ops || !in->ops->on_read || (u->read_usec && now - u->read_usec < READ_USEC))
		return;
	if (!node_tree_read(u->at, &nodes, &n))
		return;
	u->read_usec = now;
	in->ops->on_read(in->owner, &u->at->id, nodes, n);
	free(nodes);
}

void used_leave(struct used *u)
{
	struct inputs *in = u->owner;
	assert(u->n_users);
	/* Also while a view that is kept for the next task still has it. */
	if (u->state != USED_GONE)
		tell_read(u);
	if (--u->n_users)
		return;
	if (u->state == USED_GONE) {
		used_free(u);
		return;
	}
	list_remove(&u->link);
	list_append(&in->used, &u->link);
	used_shed(in, USED_IDLE_MOST);
}

unsigned used_shed(struct inputs *in, unsigned n_most)
{
	unsigned n = 0, n_shed = 0;
	/* Before that it is not known what is idle. */
	if (!in->is_settled || in->is_over)
		return 0;
	if (!n_most)
		sets_shed(in, 0);
	list_foreach (&in->used, struct used, link, u)
		n += !u->n_users;
	list_foreach (&in->used, struct used, link, u)
		if (!u->n_users && n_shed + n_most < n) {
			n_shed++;
			used_free(u);
		}
	return n_shed;
}

/* ---- who waits */

static void on_soon(struct timer *t)
{
	struct used *u = container_of(t, struct used, soon);
	/* A draft that was sealed since: its files are being bound, and then they are told. */
	if (u->state != USED_READY && u->state != USED_HELD && u->state != USED_GONE)
		return;
	used_join(u); /* a want that ends may be its last user */
	while (!list_is_empty(&u->wants)) {
		struct want *w = list_first(&u->wants, struct want, link);
		list_remove(&w->link);
		if (u->state != USED_GONE)
			want_on_ready(w);
		else
			want_on_failed(w, u->error, u->is_nodes_fault, u->reason ? u->reason : "");
	}
	used_leave(u);
}

void used_set_ready(struct used *u)
{
	assert(u->at || u->unpacked);
	u->state = USED_READY;
	timer_start(&u->soon, u->owner->settings.loop, 0, on_soon);
}

void used_fail(struct used *u, int error, bool is_nodes_fault, const char *reason)
{
	assert(u->state != USED_READY && u->state != USED_GONE && error < 0);
	u->state = USED_GONE;
	u->error = error;
	u->is_nodes_fault = is_nodes_fault;
	u->reason = xstrdup(reason);
	timer_start(&u->soon, u->owner->settings.loop, 0, on_soon);
}

/* Views that are made from here on see the cache's own files in place of the large ones, if all of it is here. */
static bool bind_if_due(struct used *u)
{
	bool is_due = u->at && !u->at->source && u->is_whole && !u->is_bound && node_mount_stem(u->owner->node);
	if (is_due)
		job_bind(u);
	return is_due;
}

static void go_on(struct used *u);

void used_await(struct used *u, struct want *w)
{
	list_append(&u->wants, &w->link);
	if (u->state == USED_HELD) {
		go_on(u); /* that may be its end */
		return;
	}
	if (u->state != USED_READY)
		return;
	/* Root's tasks have copies of their own. */
	if (u->unpacked && geteuid() != 0) {
		plain_check(u);
		return;
	}
	/* What was not complete when it was attached may be by now. */
	if (!u->is_whole && u->looked_usec + LOOK_USEC <= loop_now_usec(u->owner->settings.loop))
		used_size(u);
	if (!bind_if_due(u))
		timer_start(&u->soon, u->owner->settings.loop, 0, on_soon);
}

uint64_t used_size(struct used *u)
{
	struct cache_list list = {0};
	u->looked_usec = loop_now_usec(u->owner->settings.loop);
	if (u->is_whole || u->id.algorithm == DIGEST_NONE)
		return u->size;
	if (cache_show(u->owner->settings.cache, &u->id, &list) == 0 && list.n == 1) {
		u->size = list.at[0].resident_size;
		u->is_whole = u->size >= list.at[0].size && !list.at[0].is_chunkwise;
	}
	cache_list_fini(&list);
	return u->size;
}

/* ---- from its id to its mount */

void used_start_again(struct used *u)
{
	u->state = USED_GONE;
	used_join(u); /* a want may be its last user */
	while (!list_is_empty(&u->wants)) {
		struct want *w = list_first(&u->wants, struct want, link);
		list_remove(&w->link);
		want_on_lost(w);
	}
	used_leave(u);
}

void used_attach(struct used *u)
{
	struct inputs *in = u->owner;
	assert(u->handle && !u->at);
	int r = node_mount_add(in->node, u->handle, u, &u->at);
	if (r == -ENOTCONN) {
		used_start_again(u);
		return;
	}
	if (r) {
		used_fail(u, r, true, strerror(-r));
		return;
	}
	u->handle = NULL;
	if (!bind_if_due(u))
		used_set_ready(u);
	if (!u->at->source)
		job_warm(u);
}

static void on_brought(struct fetch_bring *b, int error, const char *reason)
{
	struct used *u = container_of(b, struct used, bring);
	if (error)
		used_fail(u, error, true, reason);
	else
		used_unpack(u);
}

static bool is_wanted_by_itself(struct used *u)
{
	list_foreach (&u->wants, struct want, link, w)
		if (w->needs_mount)
			return true;
	return false;
}

/* All that it takes is here, or has room. */
static void go_on(struct used *u)
{
	static const uint32_t all = 0;
	if (u->owner->tier == PROBE_TIER_PLAIN) {
		u->state = USED_BRINGING;
		u->bring.on_done = on_brought;
		fetch_bring_start(u->handle, &u->bring, &all, 1, true);
	} else if (!u->is_file || is_wanted_by_itself(u)) {
		used_attach(u);
	} else {
		u->state = USED_HELD;
		timer_start(&u->soon, u->owner->settings.loop, 0, on_soon);
	}
}

static void run_reserve(struct fetch_work *w)
{
	struct used *u = container_of(w, struct used, work);
	u->work_error = cache_tree_reserve(fetch_cache_tree(u->handle));
}

static void reserve(struct used *u);

static void on_reserved(struct fetch_work *w, bool is_run)
{
	struct used *u = container_of(w, struct used, work);
	struct inputs *in = u->owner;
	char text[CACHE_TEXT_SIZE];
	u->is_working = false;
	if (u->is_freed || !is_run) {
		if (u->is_freed)
			used_dispose(u);
		return;
	}
	if (u->work_error == -ENOSPC && !u->is_second) {
		/* What is held for later has no right to the room of what is needed now. */
		u->is_second = true;
		used_shed(in, 0);
		reserve(u);
	} else if (u->work_error) {
		bool is_explained = cache_explain(in->settings.cache, u->work_error, text);
		used_fail(u, u->work_error, true, is_explained ? text : strerror(-u->work_error));
	} else {
		go_on(u);
	}
}

static void reserve(struct used *u)
{
	u->state = USED_RESERVING;
	u->is_working = true;
	u->work = (struct fetch_work){.run = run_reserve, .on_done = on_reserved, .is_short = true};
	fetch_work(u->owner->settings.fetch, &u->work);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct used *u = container_of(o, struct used, open);
	if (error) {
		used_fail(u, error, true, strerror(-error));
		return;
	}
	u->handle = t;
	u->is_file = tree_node(fetch_index(t), 0)->type == TREE_FILE;
	if (fetch_is_draft(t)) {
		used_attach(u);
		return;
	}
	fetch_expect(t, true);
	u->counted_size = used_size(u);
	reserve(u);
}

int used_get(struct inputs *in, const struct digest *id, struct used **out)
{
	struct used *u = used_find(in, id);
	if (u) {
		used_join(u);
		*out = u;
		return 0;
	}
	char text[DIGEST_TEXT_SIZE];
	u = used_new(in);
	set_id(u, id);
	u->open.on_done = on_opened;
	int r = fetch_open(in->settings.fetch, &u->open, id, "attempts", digest_text(id, text));
	if (r) {
		used_free(u);
		return r;
	}
	used_join(u);
	*out = u;
	return 0;
}

int used_get_draft(struct inputs *in, uint64_t number, const char *source, struct used **out)
{
	list_foreach (&in->used, struct used, link, each)
		if (each->draft == number && each->state != USED_GONE) {
			used_join(each);
			*out = each;
			return 0;
		}
	struct used *u = used_new(in);
	u->draft = number;
	u->source = xstrdup(source);
	u->open.on_done = on_opened;
	int r = fetch_open_draft(in->settings.fetch, &u->open, number);
	if (r) {
		used_free(u);
		return r;
	}
	used_join(u);
	*out = u;
	return 0;
}

struct used *used_get_item(struct inputs *in, uint64_t item)
{
	list_foreach (&in->used, struct used, link, u)
		if (item && u->item == item && u->state != USED_GONE) {
			used_join(u);
			return u;
		}
	return NULL;
}

/* ---- of the node's mount */

void used_on_restored(void *arg, struct node_tree *t)
{
	struct inputs *in = arg;
	struct used *u = used_new(in);
	u->at = t;
	t->owner = u;
	if (t->source)
		u->source = xstrdup(t->source);
	else
		set_id(u, &t->id);
	u->is_file = t->is_file;
	/* By the process before, as far as it was. */
	u->is_bound = true;
	u->counted_size = used_size(u);
	u->state = USED_READY;
	in->has_restored = true;
}

void used_on_unpacked(struct inputs *in, const struct digest *id, const char *path, bool is_file)
{
	struct used *u = used_new(in);
	set_id(u, id);
	u->unpacked = xstrdup(path);
	u->is_file = is_file;
	u->state = USED_READY;
}

void used_on_sealed(void *arg _unused_, struct node_tree *t)
{
	struct used *u = t->owner;
	if (!u)
		return;
	set_id(u, &t->id);
	u->counted_size = used_size(u);
	if (u->state == USED_READY)
		bind_if_due(u);
}

/* One that runs is told; one that does not yet makes that input ready once more. */
static void lose(struct prepared *p, const struct used *u)
{
	struct inputs *in = p->owner;
	bool is_running = p->is_told || p->is_held, is_its = false;
	for (uint32_t k = 0; k < p->n; k++) {
		struct want *w = &p->wants[k];
		is_its |= w->used == u;
		if (w->used == u && w->is_ready && !is_running)
			want_on_lost(w);
	}
	if (is_its && is_running && in->ops && in->ops->on_lost)
		in->ops->on_lost(in->owner, p->attempt, "the node's mount ended under it");
}

void used_on_lost(void *arg, struct node_tree *t)
{
	struct inputs *in = arg;
	struct used *u = t->owner;
	if (!u)
		return;
	struct prepared *p;
	u->at = NULL;
	u->state = USED_GONE;
	timer_stop(&u->soon);
	job_stop(u);
	binds_free(steal(u->binds));
	used_join(u);
	for (size_t i = 0; (p = map_next(&in->attempts, &i));)
		lose(p, u);
	used_start_again(u);
	used_leave(u);
}
