/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/inputs_world.h"

#include "common/path.h"

#include <stdio.h>
#include <unistd.h>

/* ---- what inputs say */

static void on_ready(void *owner, uint64_t attempt, const struct run_input *inputs, size_t n)
{
	struct told *t = &((struct inputs_world *)owner)->told[attempt];
	ASSERT(!t->is_unready && n <= countof(t->at));
	for (size_t i = 0; i < n; i++) {
		/* Of one that is held it is said again by a new process, and is the same. */
		if (t->is_ready)
			ASSERT_STR(t->at[i], inputs[i].at);
		snprintf(t->at[i], sizeof t->at[i], "%s", inputs[i].at);
		t->is_file[i] = inputs[i].is_file;
		t->tree[i] = inputs[i].tree;
	}
	t->is_ready = true;
}

static void on_unready(void *owner, uint64_t attempt, int error, bool is_nodes_fault, const char *reason)
{
	struct told *t = &((struct inputs_world *)owner)->told[attempt];
	ASSERT(!t->is_ready && !t->is_unready && error < 0);
	t->is_unready = true;
	t->error = error;
	t->is_nodes_fault = is_nodes_fault;
	snprintf(t->reason, sizeof t->reason, "%s", reason);
}

static void on_stem(void *owner, uint64_t stem)
{
	((struct inputs_world *)owner)->stem = stem;
}

static void on_tier(void *owner)
{
	((struct inputs_world *)owner)->n_tiers++;
}

static void on_lost(void *owner, uint64_t attempt, const char *reason)
{
	ASSERT(*reason);
	((struct inputs_world *)owner)->told[attempt].is_lost = true;
}

static void on_forget(void *owner, const char *at)
{
	ASSERT(*at == '/');
	((struct inputs_world *)owner)->n_forgotten++;
}

static int do_job(void *owner, const struct inputs_job *job)
{
	struct inputs_world *w = owner;
	ASSERT(job->number && job->stem == w->stem);
	w->n_jobs++;
	w->n_steps += job->n_steps;
	if (!job->n_steps)
		return 0;
	w->job = job->number;
	free(w->job_from);
	free(w->job_to);
	w->job_from = xstrdup(job->steps[0].from);
	w->job_to = xstrdup(job->steps[0].to);
	ASSERT(job->steps[0].op == VIEW_BIND && job->steps[0].flags & VIEW_ALIKE);
	return 0;
}

static const char *why_not(void *owner _unused_, const char *real)
{
	return strstr(real, "/the-nodes") ? "it is the node's" : NULL;
}

static bool is_coming(void *owner, const struct digest *tree _unused_)
{
	const struct inputs_world *w = owner;
	return w->is_coming;
}

static const struct inputs_ops ops = {.on_ready = on_ready,
				      .on_unready = on_unready,
				      .on_stem = on_stem,
				      .on_tier = on_tier,
				      .on_lost = on_lost,
				      .on_forget = on_forget,
				      .why_not = why_not,
				      .is_coming = is_coming,
				      .do_job = do_job};

/* ---- a node */

void inputs_world_turn(struct inputs_world *w)
{
	stem_keeper_turn(&w->keeper);
	fetch_world_turn(&w->fetch);
}

void inputs_world_until(struct inputs_world *w, const bool *flag)
{
	uint64_t turns = 0;
	while (!*flag) {
		inputs_world_turn(w);
		ASSERT(++turns < UNIT_PATIENCE_USEC / 1000);
	}
}

static void start(struct inputs_world *w)
{
	const struct mounts_settings m = {
		.loop = w->fetch.loop, .fetch = w->fetch.fetch, .keeper = w->keeper.theirs, .hot = w->hot};
	w->mounts = mounts_new(&m);
	ASSERT(w->mounts);
	w->settings.loop = w->fetch.loop;
	w->settings.fetch = w->fetch.fetch;
	w->settings.cache = w->fetch.cache;
	w->settings.mounts = w->mounts;
	w->settings.state = w->state;
	w->settings.cache_path = w->fetch.directory;
	w->settings.hot = w->hot;
	w->inputs = inputs_new(&w->settings);
	ASSERT(w->inputs);
	inputs_listen(w->inputs, &ops, w);
}

void inputs_world_await_tier(struct inputs_world *w)
{
	for (unsigned n = w->n_tiers; w->n_tiers == n;)
		inputs_world_turn(w);
}

bool inputs_world_open(struct inputs_world *w, enum probe_tier tier)
{
	return inputs_world_open_as(w, &(struct inputs_settings){.tier = tier});
}

bool inputs_world_open_as(struct inputs_world *w, const struct inputs_settings *settings)
{
	*w = (struct inputs_world){.settings = *settings};
	w->state = world_path("state");
	w->mnt = path_join(w->state, KEEPER_NODE_MOUNT);
	w->hot = path_join(w->state, "hot");
	ASSERT_EQ(path_make_dirs(w->mnt, 0700), 0);
	ASSERT_EQ(path_make_dirs(w->hot, 0700), 0);
	for (unsigned i = 0; i < countof(w->stems); i++) {
		stem_open(&w->stems[i]);
		w->keeper.stems[w->keeper.n_stems++] = &w->stems[i];
	}
	stem_keeper_open(&w->keeper, w->mnt);
	fetch_world_open(&w->fetch, "cache", (struct cache_settings){0}, (struct fetch_settings){0});
	start(w);
	inputs_world_await_tier(w);
	return w->stems[0].is_allowed && access("/dev/fuse", R_OK | W_OK) == 0;
}

void inputs_world_stop(struct inputs_world *w, bool is_leaving)
{
	inputs_stop(w->inputs, is_leaving);
	if (is_leaving)
		mounts_leave(w->mounts);
	else
		mounts_hand_over(w->mounts);
	fetch_world_gate(&w->fetch, NULL);
	ASSERT_EQ(fetch_stop(w->fetch.fetch, 20000), 0);
	inputs_free(w->inputs);
	mounts_free(w->mounts);
	loop_turn(w->fetch.loop, 0);
	loop_turn(w->fetch.loop, 0);
}

void inputs_world_close(struct inputs_world *w)
{
	inputs_world_stop(w, true);
	stem_keeper_turn(&w->keeper);
	fetch_world_close(&w->fetch);
	stem_keeper_close(&w->keeper);
	for (unsigned i = 0; i < countof(w->stems); i++)
		stem_close(&w->stems[i]);
	free(w->state);
	free(w->mnt);
	free(w->hot);
	free(w->job_from);
	free(w->job_to);
}

/* ---- attempts */

struct wire_input inputs_world_input(const char *source, const struct digest *tree)
{
	struct wire_input i = {
		.item = 7, .path = "/opt/data", .mode = 1, .source = source, .name = "data", .signature = ""};
	if (tree)
		i.tree = *tree;
	return i;
}

struct told *inputs_world_prepare(struct inputs_world *w, uint64_t attempt, struct wire_start *m,
				  const struct wire_input *i, uint32_t n)
{
	*m = (struct wire_start){.attempt = attempt, .inputs = {.at = i, .n = n}};
	w->told[attempt] = (struct told){0};
	inputs_prepare(w->inputs, attempt, m);
	return &w->told[attempt];
}

ssize_t inputs_world_see(struct inputs_world *w, char what, const char *path, const char *other,
			 char answer[STEM_ANSWER_MAX])
{
	struct stem *s = &w->stems[w->keeper.n_made - 1];
	ssize_t n;
	stem_ask(s, what, path, other);
	while ((n = stem_hear(s, answer)) == -EAGAIN)
		inputs_world_turn(w);
	return n;
}

void inputs_world_check(struct inputs_world *w, const char *at, const char *name, const char *from)
{
	static char answer[STEM_ANSWER_MAX];
	_free_ char *path = *name ? path_join(at, name) : xstrdup(at);
	_free_ char *wanted_path = *name ? path_join(from, name) : xstrdup(from);
	size_t n = 0;
	_free_ char *wanted = path_read(wanted_path, 64 * MIB, &n);
	ASSERT(wanted);
	ssize_t got = inputs_world_see(w, 'r', path, NULL, answer);
	ASSERT_EQ(got, (ssize_t)min(n, (size_t)STEM_ANSWER_MAX));
	ASSERT_EQ(memcmp(answer, wanted, (size_t)got), 0);
}

void inputs_world_settle(struct inputs_world *w)
{
	w->fetch.later_usec += 60000000;
	inputs_world_turn(w);
	inputs_world_turn(w);
}

void inputs_world_again(struct inputs_world *w, enum probe_tier tier)
{
	stem_keeper_turn(&w->keeper);
	fetch_world_close(&w->fetch);
	stem_keeper_meet(&w->keeper);
	fetch_world_open(&w->fetch, "cache", (struct cache_settings){0}, (struct fetch_settings){0});
	w->stem = 0;
	w->settings.tier = tier;
	start(w);
}
