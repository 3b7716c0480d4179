/* SPDX-License-Identifier: Apache-2.0
 * SEAL: a path becomes a tree, with progress. */
#include "vinefs/door_internal.h"

#include <inttypes.h>

struct sealing_job {
	struct job job;
	struct fetch_seal seal;
	struct seal_progress progress;
	uint64_t began_usec;
	struct fetch_open open; /* for the tree's numbers, once it is sealed */
	struct wire_sealed answer;
	struct buf lines; /* char *, errors and then notes */
};

static void free_job(struct sealing_job *s)
{
	char **lines = (char **)(void *)s->lines.at;
	for (size_t i = 0; i < s->lines.n / sizeof *lines; i++)
		free(lines[i]);
	buf_fini(&s->lines);
	job_end(&s->job);
	free(s);
}

static void on_stop(struct job *j)
{
	struct sealing_job *s = container_of(j, struct sealing_job, job);
	fetch_seal_stop(&s->seal);
	fetch_open_stop(&s->open);
	free_job(s);
}

static void on_progress(struct fetch_seal *f, const struct seal_progress *p)
{
	struct sealing_job *s = container_of(f, struct sealing_job, seal);
	const struct wire_seal_progress m = {.files_found = p->files_found,
					     .files_done = p->files_done,
					     .bytes_found = p->bytes_found,
					     .bytes_done = p->bytes_done,
					     .bytes_read = p->bytes_read};
	/* A job that was stopped hears nothing more. */
	assert(s->job.client);
	s->progress = *p;
	/* Who does not read them misses the ones between. */
	if (!conn_is_full(s->job.client->conn))
		conn_send(s->job.client->conn, WIRE_SEAL_PROGRESS, &m);
}

static uint32_t keep_lines(struct sealing_job *s, const struct seal_report *r)
{
	uint32_t n = r ? r->n : 0;
	for (uint32_t i = 0; i < n; i++) {
		char *line = xstrdup(r->lines[i]);
		buf_put(&s->lines, &line, sizeof line);
	}
	if (r && r->n_more) {
		char *line = xasprintf("... and %u more", r->n_more);
		buf_put(&s->lines, &line, sizeof line);
		n++;
	}
	return n;
}

static void answer(struct sealing_job *s)
{
	const char *const *lines = (const char *const *)(void *)s->lines.at;
	s->answer.errors.at = lines;
	s->answer.notes.at = lines + s->answer.errors.n;
	s->answer.bytes_read = s->progress.bytes_read;
	s->answer.took_usec = loop_now_usec(s->job.client->door->settings.loop) - s->began_usec;
	job_reply(&s->job, WIRE_SEALED, &s->answer);
	free_job(s);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct sealing_job *s = container_of(o, struct sealing_job, open);
	s->answer.error = -error;
	if (!error) {
		s->answer.n_nodes = tree_n_nodes(fetch_index(t));
		s->answer.size = tree_size(fetch_index(t));
		fetch_close(t);
	}
	answer(s);
}

static void on_done(struct fetch_seal *f, int error, const struct digest *id, const struct seal_report *errors,
		    const struct seal_report *notes)
{
	struct sealing_job *s = container_of(f, struct sealing_job, seal);
	assert(error <= 0 && s->job.client && !s->lines.n);
	s->answer.error = -error;
	s->answer.errors.n = keep_lines(s, errors);
	s->answer.notes.n = keep_lines(s, notes);
	if (!error) {
		s->answer.tree = *id;
		s->open.on_done = on_opened;
		error = fetch_open(s->job.client->door->settings.fetch, &s->open, id, "vine seal", "to count it");
		if (!error)
			return;
		s->answer.error = -error;
	}
	answer(s);
}

static void on_draft(struct fetch_seal *f, uint64_t number, const struct tree *names, const struct seal_report *notes)
{
	struct sealing_job *s = container_of(f, struct sealing_job, seal);
	assert(number && s->job.client);
	s->answer.draft = number;
	s->answer.tree = *tree_id(names);
	s->answer.n_nodes = tree_n_nodes(names);
	s->answer.size = tree_size(names);
	s->answer.notes.n = keep_lines(s, notes);
	answer(s);
}

void door_seal(struct client *c, uint64_t id, const struct wire_seal *m)
{
	struct sealing_job *s = NEW(struct sealing_job);
	s->seal.is_refresh = m->is_refreshed;
	s->seal.on_progress = on_progress;
	s->seal.on_done = on_done;
	s->seal.on_draft = m->is_draft ? on_draft : NULL;
	s->began_usec = loop_now_usec(c->door->settings.loop);
	job_start(&s->job, c, id, on_stop);
	int r = fetch_seal_start(c->door->settings.fetch, &s->seal, m->path, *m->name ? m->name : NULL);
	if (!r)
		return;
	if (r == -EINVAL && *m->path == '/')
		job_fail(&s->job, r,
			 "'%s' cannot be a tree's name: letters, digits and . _ - + / @ : and nothing that looks like "
			 "an id",
			 m->name);
	else
		job_fail(&s->job, r, "%s: %s", m->path, r == -EINVAL ? "not an absolute path" : strerror(-r));
	free_job(s);
}
