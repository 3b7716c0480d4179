/* SPDX-License-Identifier: Apache-2.0
 * ASK_WHY: of a path, a mount's or a source's, or a tree: where its bytes would come from. */
#include "vinefs/door_internal.h"

struct why_job {
	struct job job;
	struct fetch_open open;
	struct digest id;
	char *what, *rest;
};

static void free_why(struct why_job *w)
{
	job_end(&w->job);
	fetch_open_stop(&w->open);
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
		_cleanup_(buf_fini) struct buf text = {0};
		fetch_why(t, (uint32_t)node, &text);
		const struct wire_why m = {.tree = w->id, .text = buf_text(&text)};
		job_reply(&w->job, WIRE_WHY, &m);
	}
	if (t)
		fetch_close(t);
	free_why(w);
}

/* A draft has no id to be opened by: its mount has it open. */
static bool answer_of_draft(struct client *c, uint64_t id, const char *what)
{
	struct mounts *m = c->door->settings.mounts;
	const char *rest = "";
	uint64_t number = mounts_find_number(m, what, &rest);
	struct fetch_tree *t = number ? mounts_tree(m, number) : NULL;
	_cleanup_(buf_fini) struct buf text = {0};
	if (!t || !fetch_is_draft(t))
		return false;
	int64_t node = tree_find(fetch_index(t), rest);
	if (node < 0) {
		buf_printf(&text, "%s: the draft has no such path\n", what);
		node = 0;
	}
	fetch_why(t, (uint32_t)node, &text);
	const struct wire_why answer = {.tree = *tree_id(fetch_index(t)), .text = buf_text(&text)};
	conn_reply(c->conn, id, WIRE_WHY, &answer);
	return true;
}

void door_ask_why(struct client *c, uint64_t id, const struct wire_ask_why *m)
{
	if (answer_of_draft(c, id, m->what))
		return;
	struct why_job *w = NEW(struct why_job);
	const char *rest = "";
	job_start(&w->job, c, id, on_stop);
	int r = mounts_find(c->door->settings.mounts, m->what, &w->id, &rest)
			? 0
			: fetch_find(c->door->settings.fetch, m->what, &w->id, &rest);
	w->what = xstrdup(m->what);
	w->rest = xstrdup(rest);
	w->open.on_done = on_opened;
	if (!r)
		r = fetch_open(c->door->settings.fetch, &w->open, &w->id, "vine why", "looks into it");
	if (r) {
		job_fail(&w->job, r, "%s: %s", m->what, door_why_not_found(r));
		free_why(w);
	}
}
