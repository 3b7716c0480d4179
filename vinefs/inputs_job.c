/* SPDX-License-Identifier: Apache-2.0
 * What is done in the stem, which we have no foot in: large files that are complete are bound over their paths, before the first view is made of them; and new trees are walked. What fails is served, or stays cold. */
#include "vinefs/inputs_internal.h"

#include "common/path.h"
#include "vinefs/keeper/keeper.h"

#define WARM_NODES 16u /* of fewer it is not worth a process */

static void job_end(struct job *j)
{
	struct used *u = j->used;
	timer_stop(&j->timer);
	list_remove(&j->link);
	free(j);
	if (!u)
		return;
	u->job = NULL;
	used_set_ready(u);
}

static void on_late(struct timer *t)
{
	struct job *j = container_of(t, struct job, timer);
	log_warn("the keeper has not bound the files of %s within %.0f s: they are served", j->used->at->path,
		 BINDS_USEC / 1e6);
	job_end(j);
}

static uint64_t start(struct inputs *in, struct inputs_job *job)
{
	job->number = ++in->last_job;
	job->stem = node_mount_stem(in->node);
	if (!job->stem || !in->ops)
		return 0;
	int r = in->ops->do_job(in->owner, job);
	if (r)
		log_errno(-r, "a job for the keeper");
	return r ? 0 : job->number;
}

void inputs_job_done(struct inputs *in, uint64_t number, int error, int status)
{
	list_foreach (&in->jobs, struct job, link, j) {
		if (j->number != number)
			continue;
		if (error)
			log_errno(-error, "step %d of a job of the keeper", status);
		job_end(j);
	}
}

void job_stop(struct used *u)
{
	struct job *j = steal(u->job);
	if (!j)
		return;
	timer_stop(&j->timer);
	list_remove(&j->link);
	free(j);
}

void jobs_free(struct inputs *in)
{
	list_foreach (&in->jobs, struct job, link, j)
		job_stop(j->used);
}

/* ---- binding */

static size_t count_texts(const struct buf *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++)
		n += !b->at[i];
	return n;
}

/* 0: nothing is to be done, or cannot be. */
static uint64_t bind_all(struct used *u, const struct buf *texts)
{
	uint32_t n = (uint32_t)count_texts(texts) / 2;
	_free_ struct view_step *steps = xcalloc(n, sizeof *steps);
	_free_ char **to = xcalloc(n, sizeof *to);
	const char *at = (const char *)texts->at;
	for (uint32_t i = 0; i < n; i++) {
		const char *inside = at, *from = at + strlen(at) + 1;
		to[i] = *inside ? path_join(u->at->path, inside) : xstrdup(u->at->path);
		steps[i] = (struct view_step){
			.op = VIEW_BIND, .flags = VIEW_ALIKE | VIEW_OPTIONAL, .from = from, .to = to[i]};
		at = from + strlen(from) + 1;
	}
	struct inputs_job job = {.steps = steps, .n_steps = n};
	uint64_t number = n ? start(u->owner, &job) : 0;
	for (uint32_t i = 0; i < n; i++)
		free(to[i]);
	return number;
}

static void on_chosen(void *arg)
{
	struct used *u = arg;
	_cleanup_(buf_fini) struct buf texts = {0};
	binds_put(u->binds, &texts);
	uint64_t number = bind_all(u, &texts);
	if (!number) {
		used_set_ready(u);
		return;
	}
	struct job *j = NEW(struct job);
	j->number = number;
	j->used = u;
	u->job = j;
	list_init(&j->link);
	list_append(&u->owner->jobs, &j->link);
	timer_start(&j->timer, u->owner->settings.loop, BINDS_USEC, on_late);
}

static void look_for_others(void *arg, const struct mounts_info *i)
{
	bool *has_others = arg;
	*has_others |= i->is_private && i->is_restored;
}

void job_bind(struct used *u)
{
	struct inputs *in = u->owner;
	struct binds_settings s = {.fetch = in->settings.fetch,
				   .cache_path = in->settings.cache_path,
				   .directory = u->at->path,
				   .id = u->id,
				   .has_others = in->has_restored,
				   .on_done = on_chosen,
				   .arg = u};
	assert(u->at && !u->binds);
	mounts_each(in->settings.mounts, look_for_others, &s.has_others);
	u->state = USED_BINDING;
	u->is_bound = true;
	u->binds = binds_new(&s);
	if (!u->binds)
		used_set_ready(u);
}

/* ---- walking */

void job_warm(struct used *u)
{
	const struct inputs *in = u->owner;
	char id[DIGEST_TEXT_SIZE];
	if (!in->warmer || u->is_file || tree_n_nodes(fetch_index(u->at->tree)) < WARM_NODES)
		return;
	digest_text(&u->id, id);
	_free_ char *index = xasprintf("%s/t/%s.vti", in->settings.cache_path, id);
	_free_ char *hot = path_join(in->settings.hot, id);
	const char *const argv[] = {in->warmer, "warm", u->at->path, id, index, hot};
	struct inputs_job job = {.argv = argv, .n_argv = countof(argv)};
	start(u->owner, &job);
}
