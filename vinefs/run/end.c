/* SPDX-License-Identifier: Apache-2.0
 * From the keeper's report to an end that can be sent: what it used is counted, then (nothing of it runs any more) what it wrote is looked at, then its inputs may go. */
#include "vinefs/run/run_internal.h"
#include "vinefs/run/view_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static void say_refusal(struct run *r, struct attempt *a)
{
	_cleanup_(buf_fini) struct buf why = {0};
	attempt_describe_failure(a, &why);
	log_limited(&r->refusals, 1, LOG_LEVEL_ERROR, "attempt %" PRIu64 " of task %" PRIu64 ": %.*s", a->end.attempt,
		    a->end.task, (int)why.n, (const char *)why.at);
}

void end_release(struct run *r, struct attempt *a)
{
	begin_abandon(a);
	if (a->is_limited)
		limits_end(r->limits, a->end.attempt, &a->usage);
	a->is_limited = false;
	if (!a->is_prepared)
		return;
	if (r->o.ops->sizes)
		r->o.ops->sizes(r->o.owner, a->end.attempt, &a->sizes);
	free(steal(a->input_failure));
	if (r->o.ops->failure)
		a->input_failure = r->o.ops->failure(r->o.owner, a->end.attempt);
	a->is_prepared = false;
	r->o.ops->release(r->o.owner, a->end.attempt);
}

static void conclude(struct run *r, struct attempt *a)
{
	assert(a->end.type != KEEPER_STARTED);
	end_release(r, a);
	a->state = ATTEMPT_ENDED;
	list_append(&r->ends, &a->link);
	if (attempt_is_refused(a))
		say_refusal(r, a);
	if (r->is_listed)
		r->o.ops->on_ended(r->o.owner);
}

/* ---- what never ran */

void end_unstarted(struct run *r, struct attempt *a, int error, enum keeper_step step, const char *what)
{
	assert(error < 0);
	a->end.type = KEEPER_FAILED;
	a->end.error = -error;
	a->end.step = step;
	snprintf(a->end.what, sizeof a->end.what, "%s", what);
	conclude(r, a);
}

void end_refused(struct run *r, struct attempt *a, int error, bool is_nodes_fault, char *reason)
{
	assert(error > 0 && reason);
	free(a->reason);
	a->reason = reason;
	a->is_nodes_fault = is_nodes_fault;
	a->end.type = KEEPER_FAILED;
	a->end.error = error;
	a->end.step = KEEPER_STEP_NONE;
	conclude(r, a);
}

void end_stopped(struct run *r, struct attempt *a)
{
	a->end.type = KEEPER_ENDED;
	a->end.status = SIGTERM;
	outputs_job_fini(&a->outputs);
	conclude(r, a);
}

void end_kill(struct run *r, struct attempt *a, uint64_t grace_usec)
{
	hand_send_kill(&r->hand, a->end.attempt, grace_usec ? SIGTERM : SIGKILL, grace_usec);
}

/* ---- what ran */

static void on_collected(struct outputs_job *j, int error, const char *reason)
{
	struct attempt *a = container_of(j, struct attempt, outputs);
	a->output_error = error;
	if (error) {
		free(a->reason);
		a->reason = xstrdup(reason);
	}
	run_happen(a->run, a, EVENT_COLLECTED);
}

static bool is_empty(const char *path)
{
	bool is_empty = true;
	DIR *d = opendir(path);
	for (const struct dirent *e; d && is_empty && (e = readdir(d));)
		is_empty = streq(e->d_name, ".") || streq(e->d_name, "..");
	if (d)
		closedir(d);
	return is_empty;
}

/* Of most tasks of nothing but a command there is nothing to collect. */
static bool is_worth(const struct attempt *a, const char *sandbox)
{
	bool is_own = view_is_in(a->view.cwd, sandbox);
	for (uint32_t i = 0; i < a->start->inputs.n; i++)
		if (a->start->inputs.at[i].mode == 3)
			return true;
	return a->view.n_places || !is_own || !is_empty(a->view.cwd);
}

static void collect(struct run *r, struct attempt *a)
{
	_free_ char *sandbox = attempt_sandbox(r->o.state, a->end.attempt);
	/* One that ended well before the word to stop reached it has done so. */
	bool has_ended = a->end.type == KEEPER_ENDED && !a->is_spoilt && (!a->is_stopped || !a->end.status);
	if (!r->outputs || !a->start || !has_ended || !is_worth(a, sandbox)) {
		conclude(r, a);
		return;
	}
	a->state = ATTEMPT_COLLECTING;
	a->outputs = (struct outputs_job){.start = a->start,
					  .sandbox = sandbox,
					  .cwd = a->view.cwd,
					  .places = a->view.places,
					  .n_places = a->view.n_places,
					  .came_usec = a->came_usec,
					  .is_success = a->end.status == 0 && !a->usage.exceeded,
					  .on_done = on_collected};
	outputs_start(r->outputs, &a->outputs);
}

/* The stem went while the request was on its way; the inputs are made ready in the next one. */
static bool has_lost_stem(const struct attempt *a)
{
	return a->end.type == KEEPER_FAILED && a->end.step == KEEPER_STEP_VIEW && a->end.error == ESTALE;
}

/* The host is not any more as it had been seen. An overlay is mounted once with its directories, so not with one. */
static bool has_lost_place(const struct attempt *a)
{
	bool has_overlay = false;
	for (uint32_t i = 0; i < a->view.n_steps; i++)
		has_overlay |= a->view.steps[i].op == VIEW_OVERLAY;
	return a->end.type == KEEPER_FAILED && a->end.step == KEEPER_STEP_DECLARED && a->end.error == ENOENT &&
	       a->view.n_steps && !has_overlay;
}

void end_reported(struct run *r, struct attempt *a)
{
	bool has_looked = a->end.step == KEEPER_STEP_VIEW || a->end.step == KEEPER_STEP_DECLARED;
	if (a->is_limited)
		limits_end(r->limits, a->end.attempt, &a->usage);
	a->is_limited = false;
	if (a->end.type == KEEPER_FAILED && has_looked)
		host_forget(&r->host);
	if ((has_lost_stem(a) || has_lost_place(a)) && a->start && !a->is_stopped && begin_again(r, a))
		return;
	collect(r, a);
}

void end_collected(struct run *r, struct attempt *a)
{
	conclude(r, a);
}
