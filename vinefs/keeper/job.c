/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

struct job *job_find_pid(struct jobs *j, pid_t pid)
{
	for (unsigned i = 0; i < j->n; i++)
		if (j->at[i].pid == pid)
			return &j->at[i];
	return NULL;
}

/* A program may take its time unless a limit is given. */
static uint64_t due_of(const struct keeper_request *q, uint64_t now)
{
	if (q->grace_msec)
		return now + q->grace_msec * (uint64_t)1000;
	return q->n_argv ? 0 : now + STEPS_USEC;
}

bool job_start(struct jobs *j, const struct request *r, const struct spawn_context *c, uint64_t now,
	       struct keeper_report *report)
{
	*report = (struct keeper_report){
		.length = sizeof *report, .type = KEEPER_DONE, .attempt = r->head->attempt, .step = KEEPER_STEP_FORK};
	pid_t pid = -ESTALE;
	if (j->n == JOBS_MAX)
		pid = -EAGAIN;
	else if (c->stem->number && c->stem->number == r->head->stem)
		pid = spawn_job(r, c);
	if (pid < 0) {
		report->error = -pid;
		return false;
	}
	report->step = KEEPER_STEP_NONE;
	j->at[j->n++] = (struct job){.pid = pid, .report = *report, .due_usec = due_of(r->head, now)};
	return true;
}

uint64_t job_kill_due(struct jobs *j, uint64_t now, uint64_t at)
{
	for (unsigned i = 0; i < j->n; i++) {
		struct job *job = &j->at[i];
		if (job->due_usec && job->due_usec <= now) {
			job_trouble(job, &(struct word){.error = ETIMEDOUT, .step = KEEPER_STEP_VIEW});
			kill(job->pid, SIGKILL);
			job->due_usec = 0;
		} else if (job->due_usec && job->due_usec < at) {
			at = job->due_usec;
		}
	}
	return at;
}

void job_trouble(struct job *job, const struct word *w)
{
	job->report.error = w->error ? w->error : EIO;
	job->report.step = w->step;
	job->report.status = w->index;
	memcpy(job->report.what, w->what, sizeof w->what);
}

struct keeper_report job_end(struct jobs *j, struct job *job, int status)
{
	struct keeper_report report = job->report;
	assert(j->n);
	if (!report.error)
		report.status = status;
	*job = j->at[--j->n];
	return report;
}
