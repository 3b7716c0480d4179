/* SPDX-License-Identifier: Apache-2.0
 * ASK_WHY: of a path, a mount's or a source's, or a tree: where its bytes would come from. */
#include "vinefs/door_internal.h"

#include <time.h>

struct why_job {
	struct job job;
	struct fetch_open open;
	struct digest id;
	char *what, *rest;
	struct buf preface;
};

static void free_why(struct why_job *w)
{
	job_end(&w->job);
	fetch_open_stop(&w->open);
	buf_fini(&w->preface);
	free(w->what);
	free(w->rest);
	free(w);
}

static void on_stop(struct job *j)
{
	free_why(container_of(j, struct why_job, job));
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct why_job *w = container_of(o, struct why_job, open);
	assert(error <= 0 && w->job.client);
	int64_t node = error ? error : tree_find(fetch_index(t), w->rest);
	if (node < 0) {
		job_fail(&w->job, (int)node, "%s: %s", w->what,
			 node == -ENOENT ? "the tree has no such path" : door_why_not_found((int)node));
	} else {
		fetch_why(t, (uint32_t)node, &w->preface);
		const struct wire_why m = {.tree = w->id, .text = buf_text(&w->preface)};
		job_reply(&w->job, WIRE_WHY, &m);
	}
	if (t)
		fetch_close(t);
	free_why(w);
}

static void put_named(void *arg, const struct mounts_info *i)
{
	struct buf *text = ((void **)arg)[0];
	const struct mounts_found *found = ((void **)arg)[1];
	char since[32];
	time_t at = (time_t)(i->since_usec / 1000000);
	struct tm tm;
	if (i->number != found->number)
		return;
	strftime(since, sizeof since, "%F %T", localtime_r(&at, &tm));
	buf_printf(text, "of %u mounts on %s this is %s, mounted %s%s\n", found->n_others + 1, i->directory, i->name,
		   since, i->is_private ? ", private" : "");
}

/* A draft has no id to be opened by: its mount has it open. */
static void answer_of_draft(struct client *c, uint64_t id, const char *what, const struct mounts_found *in,
			    struct buf *text)
{
	int64_t node = tree_find(fetch_index(in->tree), in->rest);
	if (node < 0) {
		buf_printf(text, "%s: the draft has no such path\n", what);
		node = 0;
	}
	fetch_why(in->tree, (uint32_t)node, text);
	const struct wire_why answer = {.tree = *tree_id(fetch_index(in->tree)), .text = buf_text(text)};
	conn_reply(c->conn, id, WIRE_WHY, &answer);
}

void door_ask_why(struct client *c, uint64_t id, const struct wire_ask_why *m)
{
	struct mounts *mounts = c->door->settings.mounts;
	_cleanup_(buf_fini) struct buf text = {0};
	struct mounts_found in = {.rest = ""};
	bool is_mounted = mounts_find(mounts, m->what, m->device, &in);
	if (in.n_others)
		mounts_each(mounts, put_named, (void *[]){&text, &in});
	if (in.tree && fetch_is_draft(in.tree)) {
		answer_of_draft(c, id, m->what, &in, &text);
		return;
	}
	struct why_job *w = NEW(struct why_job);
	job_start(&w->job, c, id, on_stop);
	w->id = in.id;
	int r = is_mounted ? 0 : fetch_find(c->door->settings.fetch, m->what, &w->id, &in.rest);
	w->what = xstrdup(m->what);
	w->rest = xstrdup(in.rest);
	w->preface = text;
	text = (struct buf){0};
	w->open.on_done = on_opened;
	if (!r)
		r = fetch_open(c->door->settings.fetch, &w->open, &w->id, "vine why", "looks into it");
	if (r) {
		job_fail(&w->job, r, "%s: %s", m->what, door_why_not_found(r));
		free_why(w);
	}
}
