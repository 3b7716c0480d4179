/* SPDX-License-Identifier: Apache-2.0
 * An attempt: prepared (each of its inputs is made ready), ready or not (told once), held until it is released. */
#include "vinefs/inputs_internal.h"

#include "common/path.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_USEC 60000000u
#define SETTLE_USEC 30000000u
#define FAILURE_SIZE 1500u /* of words for one attempt */

/* ---- answers */

static void free_prepared(struct prepared *p)
{
	map_remove(&p->owner->attempts, p->attempt);
	timer_stop(&p->soon);
	sets_release(p);
	for (uint32_t i = 0; i < p->n; i++) {
		want_stop(&p->wants[i]);
		account_leave(&p->wants[i]);
	}
	free(p->wants);
	free(p->order);
	free(p);
}

void prepared_fail(struct prepared *p, int error, bool is_nodes_fault, const char *reason)
{
	struct inputs *in = p->owner;
	uint64_t attempt = p->attempt;
	_free_ char *text = xstrdup(reason);
	if (p->is_told || p->is_held) /* it runs: what it cannot read it will see */
		return;
	free_prepared(p);
	if (in->ops)
		in->ops->on_unready(in->owner, attempt, error, is_nodes_fault, text);
}

static void tell(struct prepared *p)
{
	struct inputs *in = p->owner;
	/* Whoever is told may end it. */
	uint32_t n = p->n;
	_free_ struct run_input *all = xcalloc(n, sizeof *all);
	for (uint32_t i = 0; i < p->n; i++) {
		struct want *w = &p->wants[i];
		if (w->set)
			set_failure(w, &w->n_failed);
		all[i] = (struct run_input){.item = w->input->item,
					    .path = w->input->path,
					    .at = set_path(w),
					    .mode = w->input->mode,
					    .is_file = w->used->is_file,
					    .tree = w->used->id};
	}
	p->is_told = true;
	if (in->ops)
		in->ops->on_ready(in->owner, p->attempt, all, p->n);
	for (uint32_t i = 0; i < n; i++)
		free((void *)(uintptr_t)all[i].at);
}

static void on_soon(struct timer *t)
{
	struct prepared *p = container_of(t, struct prepared, soon);
	if (p->n_ready == p->n && !p->is_arranged)
		sets_arrange(p);
	else if (p->n_ready == p->n && sets_are_ready(p))
		tell(p);
}

void prepared_go_on(struct prepared *p)
{
	if (p->is_told || p->n_ready < p->n)
		return;
	timer_start(&p->soon, p->owner->settings.loop, 0, on_soon);
}

/* ---- attempts */

static bool is_input(const struct wire_input *i)
{
	return i->mode == 1 || i->mode == 2;
}

static struct prepared *prepared_new(struct inputs *in, uint64_t attempt, const struct wire_start *m)
{
	struct prepared *p = NEW(struct prepared);
	p->owner = in;
	p->attempt = attempt;
	p->start = m;
	p->wants = xcalloc(m->inputs.n, sizeof *p->wants);
	for (uint32_t i = 0; i < m->inputs.n; i++) {
		struct want *w = &p->wants[p->n];
		if (!is_input(&m->inputs.at[i]))
			continue;
		w->owner = in;
		w->of = p;
		w->input = &m->inputs.at[i];
		list_init(&w->link);
		p->n_read += (w->input->flags & INPUT_IS_READ) != 0;
		p->n++;
	}
	sets_mark(p);
	map_put(&in->attempts, attempt, p);
	return p;
}

static void on_begin(struct timer *t)
{
	struct prepared *p = container_of(t, struct prepared, soon);
	struct inputs *in = p->owner;
	uint64_t attempt = p->attempt;
	if (p->is_held && in->tier >= 0)
		sets_hold(p);
	/* One that cannot be had may end them all. */
	for (uint32_t i = 0; map_get(&in->attempts, attempt) == p && i < p->n; i++)
		want_start(&p->wants[i]);
	if (map_get(&in->attempts, attempt) == p)
		prepared_go_on(p);
}

void inputs_prepare(struct inputs *in, uint64_t attempt, const struct wire_start *m)
{
	assert(!map_get(&in->attempts, attempt));
	/* vined has been told of all that runs. */
	in->is_settled = true;
	struct prepared *p = prepared_new(in, attempt, m);
	timer_start(&p->soon, in->settings.loop, 0, on_begin);
}

void inputs_hold(struct inputs *in, uint64_t attempt, const struct wire_start *m)
{
	struct prepared *p = map_get(&in->attempts, attempt);
	if (p)
		return;
	p = prepared_new(in, attempt, m);
	p->is_held = true;
	timer_start(&p->soon, in->settings.loop, 0, on_begin);
}

void inputs_release(struct inputs *in, uint64_t attempt)
{
	struct prepared *p = map_get(&in->attempts, attempt);
	if (p)
		free_prepared(p);
}

void inputs_sizes(struct inputs *in, uint64_t attempt, struct run_sizes *s)
{
	struct prepared *p = map_get(&in->attempts, attempt);
	*s = (struct run_sizes){.moved = 0};
	for (uint32_t i = 0; p && i < p->n; i++) {
		struct want *w = &p->wants[i];
		s->local += w->local_size;
		s->moved += w->read_size;
		account_take(w, s);
		if (!w->used)
			continue;
		/* What came meanwhile is one attempt's, however many read it. */
		uint64_t size = used_size(w->used);
		s->moved += size - min(size, w->used->counted_size);
		w->used->counted_size = max(w->used->counted_size, size);
		w->read_size = 0;
	}
	/* What was brought before it was placed has not grown since. */
	s->moved = max(s->moved, s->peer + s->source + s->client);
}

char *inputs_failure(const struct inputs *in, uint64_t attempt)
{
	_cleanup_(buf_fini) struct buf b = {0};
	const struct prepared *p = map_get(&in->attempts, attempt);
	for (uint32_t i = 0; p && i < p->n; i++) {
		const struct want *w = &p->wants[i];
		const char *why = "";
		unsigned n = 0;
		if (w->set)
			why = set_failure(w, &n);
		else if (w->is_ready && w->used && w->used->at)
			why = node_tree_failure(w->used->at, &n);
		if (n > w->n_failed)
			buf_printf(&b, "%sinput %.400s could not be read: %.800s", b.n ? "; " : "", want_name(w), why);
		/* The others are likely to say the same. */
		if (b.n > FAILURE_SIZE)
			break;
	}
	return b.n ? buf_steal_text(&b) : NULL;
}

/* ---- the node's mount */

uint64_t inputs_namespaces(const struct inputs *in, int fds[2])
{
	return in->node && node_mount_namespaces(in->node, fds) ? node_mount_stem(in->node) : 0;
}

const char *inputs_tier(const struct inputs *in)
{
	return in->tier < 0 ? NULL : probe_tier_name((enum probe_tier)in->tier);
}

static void on_change(void *arg)
{
	struct inputs *in = arg;
	int tier = node_mount_tier(in->node);
	bool is_new = tier >= 0 && tier != in->tier;
	in->tier = tier;
	if (is_new && tier == PROBE_TIER_PLAIN)
		plain_open(in);
	if (in->ops)
		in->ops->on_stem(in->owner, node_mount_stem(in->node));
	if (is_new && in->ops)
		in->ops->on_tier(in->owner);
	struct prepared *p;
	for (size_t i = 0; tier >= 0 && (p = map_next(&in->attempts, &i));) {
		if (p->is_held)
			sets_hold(p);
		/* What was here already may have waited for this alone. */
		prepared_go_on(p);
	}
	if (tier >= 0)
		wants_wake(in);
}

static void on_restored(void *arg, struct node_tree *t)
{
	if (t->files)
		set_on_restored(arg, t);
	else
		used_on_restored(arg, t);
}

static void on_lost(void *arg, struct node_tree *t)
{
	if (t->files)
		set_on_lost(arg, t);
	else
		used_on_lost(arg, t);
}

static void on_settled(struct timer *t)
{
	struct inputs *in = container_of(t, struct inputs, settle);
	in->is_settled = true;
	used_shed(in, USED_IDLE_MOST);
}

/* Of an item that tasks have as a draft here, which another node has sealed. */
static void tell_drafts(struct inputs *in, uint64_t item, const struct digest *tree)
{
	list_foreach (&in->used, struct used, link, u)
		if (item && u->item == item && u->source && u->state != USED_GONE)
			fetch_told(in->settings.fetch, u->source, tree);
}

void inputs_arrived(struct inputs *in, uint64_t item, const struct digest *tree)
{
	tell_drafts(in, item, tree);
	wants_wake(in);
}

/* ---- life */

static struct node_mount *open_mount(struct inputs *in)
{
	const struct inputs_settings *s = &in->settings;
	const struct node_mount_settings m = {.loop = s->loop,
					      .fetch = s->fetch,
					      .mounts = s->mounts,
					      .state = s->state,
					      .hot = s->hot,
					      .tier = s->tier,
					      .deadline_usec = s->deadline_usec,
					      .on_change = on_change,
					      .on_restored = on_restored,
					      .on_sealed = used_on_sealed,
					      .on_set = set_on_set,
					      .on_lost = on_lost,
					      .arg = in};
	return node_mount_new(&m);
}

struct inputs *inputs_new(const struct inputs_settings *s)
{
	struct inputs *in = NEW(struct inputs);
	struct timespec now;
	in->settings = *s;
	if (!s->patience_usec)
		in->settings.patience_usec = PATIENCE_USEC;
	in->tier = -1;
	list_init(&in->used);
	list_init(&in->sets);
	list_init(&in->parked);
	list_init(&in->fetchings);
	list_init(&in->jobs);
	list_init(&in->accounts);
	/* No number of a process before means another job now. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	in->last_job = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	in->warmer = s->warmer ? xstrdup(s->warmer) : NULL;
	in->unpacked = path_join(s->state, "unpacked");
	timer_start(&in->settle, s->loop, SETTLE_USEC, on_settled);
	if (s->is_alone)
		in->tier = PROBE_TIER_PLAIN;
	else
		in->node = open_mount(in);
	return in;
}

void inputs_listen(struct inputs *in, const struct inputs_ops *ops, void *owner)
{
	assert(!in->ops && ops->on_ready && ops->on_unready && ops->on_stem && ops->on_tier && ops->do_job);
	in->ops = ops;
	in->owner = owner;
}

unsigned inputs_shed(struct inputs *in)
{
	return used_shed(in, 0);
}

void inputs_stop(struct inputs *in, bool is_leaving)
{
	struct prepared *p;
	if (!in)
		return;
	in->is_over = true;
	in->ops = NULL;
	timer_stop(&in->settle);
	fetchings_free(in);
	for (size_t i = 0; (p = map_next(&in->attempts, &i));)
		free_prepared(p);
	jobs_free(in);
	/* First, for it saves what was read, and nothing is to be detached now. */
	if (is_leaving)
		node_mount_leave(in->node);
	else
		node_mount_hand_over(in->node);
	sets_free(in);
	list_foreach (&in->used, struct used, link, u)
		used_free(u);
}

void inputs_free(struct inputs *in)
{
	if (!in)
		return;
	assert(in->is_over && list_is_empty(&in->used));
	node_mount_free(in->node);
	accounts_free(in);
	map_fini(&in->attempts);
	map_fini(&in->used_by_id);
	free(in->warmer);
	free(in->unpacked);
	free(in);
}
