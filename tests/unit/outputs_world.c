/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/outputs_world.h"

#include "common/path.h"
#include "tests/unit/unit.h"

#include <dirent.h>

static void ask_keep(void *arg, const struct wire_keep *m)
{
	struct outputs_world *w = arg;
	w->asked = *m;
	w->n_asked++;
	if (w->answer != OUTPUTS_WORLD_WAIT)
		outputs_keep_answered(w->o, m->attempt, m->item, w->answer, "");
}

static void open_here(struct outputs_world *w, struct cache_settings cs)
{
	static const struct fetch_settings plain;
	fetch_world_open_real(&w->f, "world", cs, plain);
	w->sandbox = xasprintf("%s/s/17", w->f.directory);
	w->cwd = path_join(w->sandbox, "cwd");
	ASSERT_EQ(path_make_dirs(w->cwd, 0700), 0);
	w->start = (struct wire_start){.attempt = OUTPUTS_WORLD_ATTEMPT, .task = 5, .directory = ""};
	w->o = outputs_new(&(struct outputs_settings){.loop = w->f.loop,
						      .fetch = w->f.fetch,
						      .cache = w->f.cache,
						      .ask_keep = ask_keep,
						      .arg = w,
						      .patience_usec = w->patience_usec,
						      .keep_usec = w->keep_usec});
}

void outputs_world_open_as(struct outputs_world *w, struct outputs_world as)
{
	*w = as;
	_free_ char *old = unit_path("world");
	_free_ char *clear = xasprintf("rm -rf '%s'", old);
	ASSERT_EQ(system(clear), 0);
	open_here(w, as.cache_settings);
}

void outputs_world_open(struct outputs_world *w)
{
	outputs_world_open_as(w, (struct outputs_world){0});
}

void outputs_world_reopen(struct outputs_world *w)
{
	*w = (struct outputs_world){0};
	open_here(w, w->cache_settings);
}

void outputs_world_close(struct outputs_world *w)
{
	outputs_job_fini(&w->job);
	ASSERT_EQ(fetch_stop(w->f.fetch, 20000), 0);
	outputs_free(w->o);
	for (unsigned i = 0; i < w->n_texts; i++)
		free(w->texts[i]);
	free(w->sandbox);
	free(w->cwd);
	free(w->path);
	free(w->reason);
	fetch_world_close(&w->f);
}

void outputs_world_shell(struct outputs_world *w, const char *commands)
{
	_free_ char *line = xasprintf("set -e; cd '%s'; %s", w->sandbox, commands);
	ASSERT_EQ(system(line), 0);
}

char *outputs_world_new_path(struct outputs_world *w, const char *name)
{
	return path_join(w->sandbox, name);
}

const char *outputs_world_path(struct outputs_world *w, const char *name)
{
	free(w->path);
	w->path = outputs_world_new_path(w, name);
	return w->path;
}

static const char *text(struct outputs_world *w, char *owned)
{
	ASSERT(w->n_texts < countof(w->texts));
	return w->texts[w->n_texts++] = owned;
}

void outputs_world_out(struct outputs_world *w, uint64_t item, const char *path, const char *name, uint32_t flags)
{
	ASSERT(w->start.inputs.n < countof(w->inputs));
	w->inputs[w->start.inputs.n++] = (struct wire_input){
		.item = item, .path = path, .mode = 3, .source = "", .signature = "", .name = name, .flags = flags};
	w->start.inputs.at = w->inputs;
}

void outputs_world_keep(struct outputs_world *w, uint64_t item, const char *path, const char *target, uint32_t flags)
{
	outputs_world_out(w, item, path, text(w, xasprintf("file:%s/%s", w->sandbox, target)), flags);
}

void outputs_world_over(struct outputs_world *w, const char *path)
{
	struct outputs_place *p = &w->places[w->job.n_places++];
	*p = (struct outputs_place){.path = path, .upper = text(w, path_join(w->sandbox, "up")), .is_overlay = true};
}

void outputs_world_lower(struct outputs_world *w, const char *path, const char *directory)
{
	outputs_world_over(w, path);
	struct digest *lower = &w->places[w->job.n_places - 1].lower;
	ASSERT_EQ(fetch_world_seal(&w->f, outputs_world_path(w, directory), NULL, false, lower), 0);
}

static void on_done(struct outputs_job *j, int error, const char *reason)
{
	struct outputs_world *w = j->arg;
	ASSERT(!w->is_done);
	w->error = error;
	free(w->reason);
	w->reason = xstrdup(reason);
	w->is_done = true;
}

void outputs_world_start(struct outputs_world *w, bool is_success)
{
	w->is_done = false;
	w->job = (struct outputs_job){.start = &w->start,
				      .sandbox = w->sandbox,
				      .cwd = w->cwd,
				      .places = w->places,
				      .n_places = w->job.n_places,
				      .is_success = is_success,
				      .on_done = on_done,
				      .arg = w};
	outputs_start(w->o, &w->job);
	ASSERT(!w->is_done);
}

int outputs_world_finish(struct outputs_world *w)
{
	fetch_world_until(&w->f, &w->is_done);
	return w->error;
}

int outputs_world_run(struct outputs_world *w, bool is_success)
{
	outputs_world_start(w, is_success);
	return outputs_world_finish(w);
}

void outputs_world_again(struct outputs_world *w)
{
	outputs_job_fini(&w->job);
}

void outputs_world_until_asked(struct outputs_world *w, unsigned n)
{
	for (unsigned i = 0; w->n_asked < n; i++) {
		ASSERT(i < UNIT_PATIENCE_SEC * 200 && !w->is_done);
		fetch_world_turn(&w->f);
	}
}

static bool has_ours(const char *path)
{
	bool has = false;
	DIR *d = opendir(path);
	ASSERT(d);
	for (const struct dirent *e; (e = readdir(d));)
		has |= has_prefix(e->d_name, ".vine-17.");
	closedir(d);
	return has;
}

void outputs_world_settle(struct outputs_world *w, const char *directory)
{
	for (unsigned i = 0; has_ours(outputs_world_path(w, directory)); i++) {
		ASSERT(i < UNIT_PATIENCE_SEC * 200);
		fetch_world_turn(&w->f);
	}
}

void outputs_world_equal(struct outputs_world *w, unsigned i, const char *name)
{
	struct digest wanted;
	struct cache_list list;
	ASSERT(i < w->job.n_outputs);
	ASSERT_EQ(fetch_world_seal(&w->f, outputs_world_path(w, name), NULL, false, &wanted), 0);
	ASSERT(digest_is_equal(&wanted, &w->job.outputs[i].tree));
	ASSERT_EQ(cache_show(w->f.cache, &wanted, &list), 0);
	ASSERT_EQ(list.at[0].resident_size, list.at[0].size);
	cache_list_fini(&list);
}
