/* SPDX-License-Identifier: Apache-2.0
 * written beside -> asked -> granted: renamed; refused: removed. Too late: asked again. One target of an attempt at a time; of one filesystem so many in all, since its threads stand still
 * with it. One that does not get on for a while is given up: its thread keeps what it needs until it is back. */
#include "vinefs/run/outputs_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <inttypes.h>
#include <stdio.h>

#define N_BESIDE 4u /* on one filesystem */
#define PATIENCE_USEC 60000000u
#define PAUSE_USEC 1000000u
#define LATE_MOST 10u
#define KEEP_USEC 10000000u
#define MOUNTS_MOST (16u << 20)

/* A filesystem, by where it is mounted: found without touching it. */
struct target {
	struct list link;
	char *mount;
	struct fetch_lane *lane;
	uint64_t moved_usec;
};

enum keep_state { KEEP_WRITING, KEEP_ASKING, KEEP_PAUSING, KEEP_RENAMING, KEEP_REMOVING };

struct keep {
	struct outputs *outputs;
	struct outputs_work *work; /* NULL: nobody waits for it */
	struct item *item;
	struct target *target;
	enum keep_state state;
	struct fetch_work job;
	struct timer timer; /* is it getting on; the pause */
	uint64_t n_seen, moved_usec;
	unsigned n_late;
	struct publish p;
};

static void put(struct keep *k, enum keep_state state);

/* ---- filesystems */

/* \040 is a space. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *at = text; *at; to++) {
		bool is_octal = *at == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3];
		*to = is_octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
		at += is_octal ? 4 : 1;
	}
	*to = 0;
}

static char *mount_of(const char *path)
{
	size_t n, n_best = 0;
	_free_ char *all = path_read("/proc/self/mountinfo", MOUNTS_MOST, &n);
	char *save = NULL, *best = xstrdup("/");
	for (char *line = all ? strtok_r(all, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char at[4096];
		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
			continue;
		unescape(at);
		size_t n_at = strlen(at);
		bool is_over = has_prefix(path, at) && (path[n_at] == '/' || n_at == 1);
		if (!is_over || n_at < n_best)
			continue;
		free(best);
		best = xstrdup(at);
		n_best = n_at;
	}
	return best;
}

static struct target *target_get(struct outputs *o, const char *path)
{
	_free_ char *mount = mount_of(path);
	list_foreach (&o->targets, struct target, link, t)
		if (streq(t->mount, mount))
			return t;
	struct target *t = NEW(struct target);
	t->mount = steal(mount);
	t->lane = fetch_lane_new(N_BESIDE, false);
	list_init(&t->link);
	list_append(&o->targets, &t->link);
	return t;
}

void keep_free_targets(struct outputs *o)
{
	list_foreach (&o->targets, struct target, link, t) {
		list_remove(&t->link);
		fetch_lane_free(t->lane);
		free(t->mount);
		free(t);
	}
}

/* ---- one target */

static void keep_free(struct keep *k)
{
	timer_stop(&k->timer);
	if (k->p.open)
		cache_tree_close(k->p.open);
	free(k->p.target);
	free(k->p.beside);
	free(k->p.reason);
	free(k);
}

static struct outputs_work *leave(struct keep *k)
{
	struct outputs_work *w = k->work;
	assert(w && w->keep == k);
	k->work = NULL;
	w->keep = NULL;
	return w;
}

static void fail(struct keep *k, int error, const char *why)
{
	struct outputs_work *w = leave(k);
	work_complain(w, error, "output %s cannot be put at %s: %s", k->item->in->path, k->p.target, why);
	k->item = NULL;
}

static void ask(struct keep *k)
{
	const struct outputs_settings *s = &k->outputs->settings;
	const struct wire_start *m = k->work->start;
	const struct wire_keep keep = {.attempt = m->attempt,
				       .task = m->task,
				       .item = k->item->in->item,
				       .within_usec = s->keep_usec ? s->keep_usec : KEEP_USEC};
	k->state = KEEP_ASKING;
	timer_stop(&k->timer);
	k->p.until_usec = publish_now_usec() + keep.within_usec;
	s->ask_keep(s->arg, &keep);
}

static void on_pause(struct timer *t)
{
	ask(container_of(t, struct keep, timer));
}

static void pause_and_ask(struct keep *k)
{
	k->state = KEEP_PAUSING;
	timer_start(&k->timer, k->outputs->settings.loop, PAUSE_USEC, on_pause);
}

static uint64_t patience(const struct outputs *o)
{
	return o->settings.patience_usec ? o->settings.patience_usec : PATIENCE_USEC;
}

/* Whoever waits for his turn has patience as long as those before him get on. */
static void on_look(struct timer *t)
{
	struct keep *k = container_of(t, struct keep, timer);
	uint64_t now = loop_now_usec(k->outputs->settings.loop), n = k->p.n_moves, limit = patience(k->outputs);
	if (n != k->n_seen)
		k->moved_usec = k->target->moved_usec = now;
	k->n_seen = n;
	uint64_t since = max(k->moved_usec, n ? 0 : k->target->moved_usec);
	if (now - since < limit) {
		timer_start(t, k->outputs->settings.loop, limit / 8 + 1, on_look);
		return;
	}
	k->p.is_cancelled = true;
	struct outputs_work *w = k->work;
	_free_ char *why = xasprintf("the filesystem at %s has not answered for %llu s", k->target->mount,
				     (unsigned long long)(limit / 1000000));
	log_warn("attempt %" PRIu64 ": %s", w->start->attempt, why);
	fail(k, -ETIMEDOUT, why);
	work_finish(w);
}

static void give_up(struct keep *k, int error, bool is_stopping)
{
	struct outputs_work *w = k->work;
	char text[128];
	const char *why = k->p.reason       ? k->p.reason
			  : error == -ETIME ? "each time it was granted, that was too long ago"
					    : strerror_r(-error, text, sizeof text);
	assert(error < 0);
	fail(k, error, why);
	if (is_stopping)
		keep_free(k);
	else
		put(k, KEEP_REMOVING);
	keep_next(w);
}

static void late(struct keep *k)
{
	if (++k->n_late < LATE_MOST) {
		ask(k);
		return;
	}
	give_up(k, -ETIME, false);
}

static void on_run(struct fetch_work *job, bool is_run)
{
	struct keep *k = container_of(job, struct keep, job);
	int error = is_run ? k->p.error : -ECANCELED;
	timer_stop(&k->timer);
	if (!k->work) { /* given up meanwhile, or all is done */
		if (k->state == KEEP_REMOVING || !is_run)
			keep_free(k);
		else
			put(k, KEEP_REMOVING);
		return;
	}
	if (k->state == KEEP_WRITING && !error) {
		ask(k);
	} else if (k->state == KEEP_RENAMING && error == -ETIME) {
		late(k);
	} else if (k->state == KEEP_RENAMING && !error) {
		struct outputs_work *w = leave(k);
		keep_free(k);
		keep_next(w);
	} else {
		give_up(k, error, !is_run);
	}
}

static void run(struct fetch_work *job)
{
	struct keep *k = container_of(job, struct keep, job);
	if (k->state == KEEP_REMOVING)
		publish_remove(&k->p);
	else if (k->state == KEEP_WRITING)
		publish_write(&k->p);
	else
		publish_rename(&k->p);
}

static void put(struct keep *k, enum keep_state state)
{
	struct loop *l = k->outputs->settings.loop;
	k->state = state;
	k->job = (struct fetch_work){.run = run, .on_done = on_run, .lane = k->target->lane};
	k->p.n_moves = k->n_seen = 0;
	k->moved_usec = loop_now_usec(l);
	timer_stop(&k->timer);
	if (k->work)
		timer_start(&k->timer, l, patience(k->outputs) / 8 + 1, on_look);
	fetch_work(k->outputs->settings.fetch, &k->job);
}

/* Told whose it is and for what; a long name is cut, by its number it is no other's. */
static char *name_beside(const char *target, uint64_t attempt)
{
	const char *name = path_base(target);
	_free_ char *directory = xstrndup(target, (size_t)(name - target));
	return xasprintf("%s.vine-%" PRIu64 ".%.220s", directory, attempt, name);
}

static void keep_start(struct outputs_work *w, struct item *it)
{
	struct keep *k = NEW(struct keep);
	k->outputs = w->outputs;
	k->work = w;
	k->item = it;
	k->target = target_get(w->outputs, it->target);
	k->p = (struct publish){.target = xstrdup(it->target),
				.guarded = w->outputs->settings.guarded,
				.beside = name_beside(it->target, w->start->attempt),
				.cache = w->outputs->settings.cache,
				.tree = it->tree,
				.attempt = w->start->attempt};
	w->keep = k;
	put(k, KEEP_WRITING);
}

void keep_next(struct outputs_work *w)
{
	while (w->next < w->n_items && !w->error) {
		struct item *it = &w->items[w->next++];
		if (it->is_made && it->target) {
			keep_start(w, it);
			return;
		}
	}
	work_finish(w);
}

void keep_stop(struct outputs_work *w)
{
	struct keep *k = w->keep;
	if (!k)
		return;
	leave(k);
	k->p.is_cancelled = true;
	if (k->state == KEEP_ASKING || k->state == KEEP_PAUSING)
		put(k, KEEP_REMOVING);
	else
		timer_stop(&k->timer);
}

static bool is_final(int error)
{
	static const int finals[] = {ESTALE, EINVAL, ENOENT, EPERM, ENOSYS};
	bool is = false;
	for (size_t i = 0; i < countof(finals); i++)
		is |= error == -finals[i];
	return is;
}

void keep_answered(struct outputs_work *w, uint64_t item, int error, const char *reason)
{
	struct keep *k = w->keep;
	if (!k || k->state != KEEP_ASKING || k->item->in->item != item)
		return;
	if (error == 0) {
		put(k, KEEP_RENAMING);
		return;
	}
	if (error == -EALREADY) {
		struct outputs_work *done = leave(k);
		put(k, KEEP_REMOVING);
		keep_next(done);
		return;
	}
	if (!is_final(error)) {
		pause_and_ask(k);
		return;
	}
	k->p.reason = xstrdup(reason && *reason  ? reason
			      : error == -ESTALE ? "another attempt counts"
						 : strerror(-error));
	give_up(k, error, false);
}
