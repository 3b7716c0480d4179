/* SPDX-License-Identifier: Apache-2.0
 * From START to the keeper: inputs are made ready, the host's paths are looked at, the view is composed, places and private copies are made in
 * the sandbox, START and view are written down, and the keeper is asked. */
#include "vinefs/run/run_internal.h"

#include "common/path.h"
#include "common/probe.h"
#include "vinefs/run/view_file.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEMS_MOST 3u /* an attempt meets, before the node is said to be at fault */

static struct view_asked ask_for(struct run *r, const struct attempt *a, const char *sandbox)
{
	bool wants = a->how.view == HOW_VIEW_YES;
	return (struct view_asked){.start = a->start,
				   .how = &a->how,
				   .state = r->o.state,
				   .sandbox = sandbox,
				   .inputs = a->inputs,
				   .n_inputs = a->n_inputs,
				   .hidden = r->o.hidden,
				   .shared = (const char *const *)r->shared,
				   .host = &r->host,
				   .is_view = wants && r->stem,
				   /* What the node's mount has is in sight of no other process. */
				   .is_inside = !wants && r->stem && a->n_inputs,
				   .is_root = geteuid() == 0,
				   /* Root that may not mount has been given a user namespace by the stem. */
				   .has_user = probe_needs_user()};
}

void begin_prepare(struct run *r, struct attempt *a)
{
	a->state = ATTEMPT_PREPARING;
	a->is_prepared = r->o.ops->prepare;
	if (a->is_prepared)
		r->o.ops->prepare(r->o.owner, a->end.attempt, a->start);
	else
		run_happen(r, a, EVENT_READY);
}

bool begin_again(struct run *r, struct attempt *a)
{
	if (++a->n_tries == STEMS_MOST)
		return false;
	hand_send_taken(&r->hand, a->end.attempt);
	end_release(r, a);
	view_fini(&a->view);
	attempt_drop_inputs(a);
	a->is_given = a->is_spoilt = false;
	a->i_copy = 0;
	a->end = (struct keeper_report){.type = KEEPER_STARTED, .attempt = a->end.attempt, .task = a->end.task};
	begin_prepare(r, a);
	return true;
}

/* ---- the host */

static void on_looked(struct host_question *q, int error, const char *path)
{
	struct attempt *a = container_of(q, struct attempt, question);
	if (!error)
		run_happen(a->run, a, EVENT_ARRANGED);
	else
		end_refused(a->run, a, -error, true,
			    xasprintf("%s on this node: its filesystem does not answer", path));
}

void begin_arrange(struct run *r, struct attempt *a)
{
	_free_ char *sandbox = attempt_sandbox(r->o.state, a->end.attempt);
	const struct view_asked q = ask_for(r, a, sandbox);
	size_t n;
	char **paths = view_ask(&q, &n);
	a->state = ATTEMPT_ARRANGING;
	a->question.on_done = on_looked;
	bool has_to_wait = host_ask(&r->host, &a->question, (const char *const *)paths, n);
	view_free_texts(paths, n);
	if (!has_to_wait)
		run_happen(r, a, EVENT_ARRANGED);
}

/* ---- what the view needs in the sandbox */

static int make(const struct view_make *m)
{
	_free_ char *above = xstrndup(m->path, (size_t)(path_base(m->path) - m->path));
	bool is_directory = !m->is_file && !m->target;
	int r = path_make_dirs(is_directory ? m->path : above, 0755);
	if (!r && m->target && symlink(m->target, m->path))
		r = -errno;
	if (!r && m->is_file) {
		int fd = open(m->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		r = fd < 0 && errno != EEXIST ? -errno : 0;
		close_fd(fd);
	}
	return r;
}

/* False: it has ended. */
static bool compose(struct run *r, struct attempt *a, const char *sandbox)
{
	const struct view_asked q = ask_for(r, a, sandbox);
	struct conf_error e = {""};
	int error = view_compose(&q, &a->view, &e);
	if (error) {
		end_refused(r, a, -error, false, xstrdup(e.text));
		return false;
	}
	a->stem = q.is_view || q.is_inside ? r->stem : 0;
	for (size_t i = 0; i < a->view.n_makes && !error; i++) {
		error = make(&a->view.makes[i]);
		bool is_declared = error == -ENAMETOOLONG || error == -ENOTDIR;
		if (error)
			end_unstarted(r, a, error, is_declared ? KEEPER_STEP_DECLARED : KEEPER_STEP_OUTPUT,
				      a->view.makes[i].path);
	}
	return !error;
}

/* ---- private copies */

#define COPY "cp -RpT --reflink=auto -- \"$1\" \"$2\" && chmod -R u+w -- \"$2\""

static void finish_copy(struct run *r, struct attempt *a, int error, int status)
{
	const struct view_copy *c = &a->view.copies[a->i_copy];
	if (!error && status == 0) {
		a->i_copy++;
		run_happen(r, a, EVENT_ARRANGED);
		return;
	}
	error = error ? error : -EIO;
	end_refused(r, a, -error, true,
		    xasprintf("a private copy of an input could not be made in %s: %s", c->to,
			      status ? "cp failed; is the disk full?" : strerror(-error)));
}

static void on_copied(struct child *child, int status, const struct rusage *usage _unused_)
{
	struct attempt *a = container_of(child, struct attempt, copier);
	finish_copy(a->run, a, 0, status);
}

static int spawn_copier(struct run *r, struct attempt *a, const char *const argv[])
{
	posix_spawnattr_t attributes;
	sigset_t none;
	pid_t pid;
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int error = posix_spawn(&pid, "/bin/sh", NULL, &attributes, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attributes);
	return error ? -error : child_start(&a->copier, r->loop, pid, on_copied);
}

static void start_copy(struct run *r, struct attempt *a)
{
	const struct view_copy *c = &a->view.copies[a->i_copy];
	const char *const argv[] = {"/bin/sh", "-c", COPY, "sh", c->from, c->to, NULL};
	int error;
	if (a->stem) {
		a->job = RUN_JOB_FIRST + ++r->last_job;
		list_append(&r->copying, &a->copying);
		error = hand_send_do(&r->hand, &(struct hand_start){.attempt = a->job,
								    .stem = a->stem,
								    .mask = 022,
								    .argv = argv,
								    .n_argv = countof(argv) - 1});
	} else {
		error = spawn_copier(r, a, argv);
	}
	if (error)
		finish_copy(r, a, error, 0);
}

void begin_job_done(struct run *r, uint64_t job, int error, int status)
{
	list_foreach (&r->copying, struct attempt, copying, a)
		if (a->job == job) {
			list_remove(&a->copying);
			a->job = 0;
			finish_copy(r, a, error, status);
			return;
		}
}

void begin_abandon(struct attempt *a)
{
	host_stop(&a->question);
	list_remove(&a->copying);
	if (a->copier.loop) {
		pid_t pid = a->copier.pid;
		kill(pid, SIGKILL);
		child_stop(&a->copier);
		waitpid(pid, NULL, 0);
	}
}

/* ---- the keeper */

static int ask_keeper(struct run *r, struct attempt *a, const char *sandbox, const struct limits_plan *plan)
{
	const struct wire_start *m = a->start;
	const struct view *v = &a->view;
	_free_ char *out = path_join(sandbox, "out"), *err = path_join(sandbox, "err");
	_free_ char *in = *a->how.stdin ? path_join(v->directory, a->how.stdin) : xstrdup("");
	struct hand_start s = {.attempt = m->attempt,
			       .task = m->task,
			       .directory = v->directory,
			       .in = in,
			       .out = out,
			       .err = err,
			       .argv = m->argv.at,
			       .n_argv = m->argv.n,
			       .flags = (a->stem ? KEEPER_IN_VIEW : 0) |
					(a->stem && a->how.record ? KEEPER_RECORDED : 0),
			       .mask = how_mask(&a->how),
			       .stem = a->stem,
			       .steps = v->steps,
			       .n_steps = v->n_steps,
			       .cgroups = (const char *const *)plan->cgroups,
			       .n_cgroups = plan->n_cgroups,
			       .limits = plan->limits,
			       .n_limits = plan->n_limits};
	if (v->n_kept && (s.kept = share_take(&r->share, a->stem, v->kept, a->inputs, a->n_inputs)))
		s.n_kept = v->n_kept;
	_free_ uint64_t *cores = attempt_cores(m, &s.n_cores);
	s.cores = cores;
	char **environment = attempt_environment(a, sandbox, &s.n_environment);
	s.environment = (const char *const *)environment;
	int error = v->n_steps || v->n_places ? view_file_write(sandbox, &s, v) : 0;
	if (!error)
		error = hand_send_start(&r->hand, &s);
	attempt_free_texts(environment);
	return error;
}

static void begin(struct run *r, struct attempt *a)
{
	struct limits_plan plan = {0};
	_free_ char *sandbox = attempt_sandbox(r->o.state, a->end.attempt);
	int error = attempt_save(a, sandbox);
	if (error) {
		end_unstarted(r, a, error, KEEPER_STEP_OUTPUT, sandbox);
		return;
	}
	a->is_limited = true;
	error = limits_begin(r->limits, a->start, (uint64_t)a->how.processes, a->stem != 0, &plan);
	if (!error) {
		a->state = ATTEMPT_RUNNING;
		error = ask_keeper(r, a, sandbox, &plan);
		a->is_given = !error;
		if (error)
			end_unstarted(r, a, error, KEEPER_STEP_EXEC, a->start->argv.at[0]);
	} else {
		end_refused(r, a, -error, true, xasprintf("its limits cannot be set: %s", strerror(-error)));
	}
	limits_plan_fini(&plan);
}

void begin_go_on(struct run *r, struct attempt *a)
{
	_free_ char *sandbox = attempt_sandbox(r->o.state, a->end.attempt);
	assert(a->state == ATTEMPT_ARRANGING);
	if (!a->view.directory && !compose(r, a, sandbox))
		return;
	if (a->i_copy < a->view.n_copies)
		start_copy(r, a);
	else
		begin(r, a);
}
