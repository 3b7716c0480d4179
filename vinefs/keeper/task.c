/* SPDX-License-Identifier: Apache-2.0
 * Attempts, from the request to the report of how they went. */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMPLAIN_USEC (10u * SEC_USEC)

static void signal_task(const struct attempt *a, int signo)
{
	if (a->is_in_view && signo != SIGKILL) {
		/* Its first process hands it on, with all but the one that would stop itself. */
		kill(a->report.pid, signo == SIGSTOP ? SIGTSTP : signo);
		if (signo == SIGTERM)
			kill(a->report.pid, SIGCONT);
		return;
	}
	/* Between fork and setsid there is no group yet. */
	if (kill(-a->report.pid, signo) && errno == ESRCH)
		kill(a->report.pid, signo);
	if (signo == SIGTERM)
		kill(-a->report.pid, SIGCONT);
}

static void kill_at(struct keeper *k, struct attempt *a, uint64_t usec)
{
	k->n_to_kill += (usec != 0) - (a->kill_usec != 0);
	a->kill_usec = usec;
}

/* A full disk is met by every task: what it does to them is in their ends, and here it is said now and then. */
static int write_down(struct keeper *k, const struct attempt *a)
{
	int error = record_put(&k->record, a);
	uint64_t now = error ? keeper_now_usec() : 0;
	if (now && (!k->complained_usec || now - k->complained_usec >= COMPLAIN_USEC)) {
		keeper_say("%s: attempt %llu: %s", k->record.path, (unsigned long long)a->report.attempt,
			   strerror(-error));
		k->complained_usec = now;
	}
	return error;
}

/* Writes the attempt's new state down, then tells. 0 or -errno: it is not in the record. */
static int settle(struct keeper *k, struct attempt *a, enum keeper_report_type state)
{
	assert(a->report.type == KEEPER_STARTED && (state == KEEPER_STARTED) == (a->report.pid != 0));
	a->report.type = state;
	if (state != KEEPER_STARTED && a->is_taken) {
		record_remove(&k->record, a);
		return 0;
	}
	int error = write_down(k, a);
	if (!error || state != KEEPER_STARTED)
		door_tell(&k->door, &a->report);
	return error;
}

static void fail(struct keeper *k, struct attempt *a, int error, enum keeper_step step, const char *what)
{
	assert(error > 0);
	a->report.pid = 0;
	a->report.error = error;
	a->report.step = step;
	snprintf(a->report.what, sizeof a->report.what, "%s", what);
	settle(k, a, KEEPER_FAILED);
}

/* No room even to remember it: told, and forgotten at once. */
static void refuse(struct keeper *k, const struct keeper_request *q)
{
	struct keeper_report r = {.length = sizeof r,
				  .type = KEEPER_FAILED,
				  .attempt = q->attempt,
				  .task = q->task,
				  .error = k->record.n < KEEPER_ATTEMPTS_MAX ? ENOMEM : EUSERS,
				  .step = KEEPER_STEP_RECORD,
				  .what = "another attempt"};
	door_tell(&k->door, &r);
}

static uint64_t patience_usec(const struct keeper_request *q)
{
	return q->grace_msec ? q->grace_msec * (uint64_t)1000 : STEPS_USEC;
}

/* Its process waits to be told to go. */
static void begin(struct keeper *k, struct attempt *a, const struct request *r)
{
	bool is_in_view = r->head->flags & KEEPER_IN_VIEW;
	struct spawn_context c = keeper_context(k, is_in_view ? r->head->kept : 0);
	if (is_in_view && (!k->stem.number || r->head->stem != k->stem.number)) {
		fail(k, a, ESTALE, KEEPER_STEP_VIEW, "the stem");
		return;
	}
	pid_t pid = spawn_task(r, &c);
	a->started_usec = keeper_now_usec();
	if (pid < 0) {
		fail(k, a, -pid, KEEPER_STEP_FORK, "fork");
		return;
	}
	a->is_in_view = is_in_view;
	a->report.pid = pid;
	a->start_ticks = proc_now_ticks();
	k->record.n_running++;
	int error = settle(k, a, KEEPER_STARTED);
	if (!error) {
		spawn_go(pid);
		a->is_beginning = is_in_view;
		kill_at(k, a, is_in_view ? a->started_usec + patience_usec(r->head) : 0);
	} else {
		/* What a new keeper would not know of must not begin. */
		kill(pid, SIGKILL);
		k->record.n_running--;
		fail(k, a, -error, KEEPER_STEP_RECORD, k->record.path);
	}
}

bool task_start(struct keeper *k, const struct keeper_request *q)
{
	struct request r;
	if (record_find(&k->record, q->attempt))
		return true;
	if (!q->attempt || !q->n_argv)
		return false;
	struct attempt *a = record_add(&k->record, q->attempt, q->task);
	if (!a) {
		refuse(k, q);
		return true;
	}
	if (k->phase != PHASE_KEEP) {
		settle(k, a, KEEPER_LOST);
		return true;
	}
	bool is_good = request_parse(&r, q);
	int error = errno;
	if (is_good)
		begin(k, a, &r);
	else
		fail(k, a, error, KEEPER_STEP_FORK, "its request");
	request_fini(&r);
	return is_good || error != EBADMSG;
}

void task_kill(struct keeper *k, const struct keeper_request *q)
{
	struct attempt *a = record_find(&k->record, q->attempt);
	if (!a || !a->report.pid || q->signo <= 0 || q->signo > SIGRTMAX)
		return;
	a->is_killed = true;
	signal_task(a, q->signo);
	a->is_beginning &= !q->grace_msec;
	if (q->grace_msec)
		kill_at(k, a, keeper_now_usec() + q->grace_msec * (uint64_t)1000);
}

void task_taken(struct keeper *k, uint64_t attempt)
{
	struct attempt *a = record_find(&k->record, attempt);
	if (!a || a->is_taken)
		return;
	a->is_taken = true;
	write_down(k, a); /* in vain: a new keeper tells it again, and vined knows it */
	if (!a->report.pid)
		record_remove(&k->record, a);
}

void task_trouble(struct keeper *k, const struct word *w)
{
	struct attempt *a = record_find_pid(&k->record, w->pid);
	if (!a)
		return;
	a->report.error = w->error ? w->error : EIO;
	a->report.step = w->step;
	memcpy(a->report.what, w->what, sizeof w->what);
}

void task_end_all(struct keeper *k, uint64_t kill_usec)
{
	for (unsigned i = 0; i < k->record.n; i++)
		if (k->record.at[i]->report.pid) {
			signal_task(k->record.at[i], SIGTERM);
			k->record.at[i]->is_beginning = false;
			kill_at(k, k->record.at[i], kill_usec);
		}
}

/* Whether it is still making its view, which then is its end. */
static bool is_stuck(struct attempt *a)
{
	if (!proc_is_named(a->report.pid, "vine-keeper"))
		return false;
	a->report.error = ETIMEDOUT;
	a->report.step = KEEPER_STEP_VIEW;
	snprintf(a->report.what, sizeof a->report.what, "making it (is a filesystem dead?)");
	return true;
}

uint64_t task_kill_due(struct keeper *k, uint64_t now, uint64_t at)
{
	for (unsigned i = 0; i < k->record.n && k->n_to_kill; i++) {
		struct attempt *a = k->record.at[i];
		if (a->kill_usec && a->kill_usec <= now) {
			if (!a->is_beginning || is_stuck(a))
				signal_task(a, SIGKILL);
			a->is_beginning = false;
			kill_at(k, a, 0);
		} else if (a->kill_usec && a->kill_usec < at) {
			at = a->kill_usec;
		}
	}
	return at;
}

/* ---- ends */

static void add_usage(struct keeper_report *r, const struct rusage *u)
{
	uint64_t peak = (uint64_t)u->ru_maxrss * 1024;
	r->cpu_usec += (uint64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * SEC_USEC +
		       (uint64_t)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
	r->peak_memory = peak > r->peak_memory ? peak : r->peak_memory;
}

/* Nothing of it is left. */
static void end_attempt(struct keeper *k, struct attempt *a)
{
	assert(k->record.n_running);
	k->record.n_running--;
	kill_at(k, a, 0);
	a->report.pid = 0;
	a->report.wall_usec = keeper_now_usec() - a->started_usec;
	if (!k->sweep_usec)
		k->sweep_usec = keeper_now_usec() + SWEEP_USEC;
	bool is_ours = k->phase != PHASE_KEEP && !a->is_killed;
	settle(k, a, a->report.error ? KEEPER_FAILED : is_ours ? KEEPER_LOST : KEEPER_ENDED);
}

/* Of what was orphaned: the init of a view whose first process was killed is ours then, and ends after all that are in its namespace. */
static bool has_group(pid_t group)
{
	siginfo_t info;
	return waitid(P_PGID, (id_t)group, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void task_exited(struct keeper *k, struct attempt *a, pid_t pid, int status, const struct rusage *u)
{
	if (pid == a->report.pid)
		a->report.status = status;
	add_usage(&a->report, u);
	a->is_over = true;
	if (!a->is_in_view || !has_group(a->report.pid))
		end_attempt(k, a);
}

struct attempt *task_of(const struct keeper *k, pid_t pid)
{
	struct attempt *a = record_find_pid(&k->record, pid);
	if (a)
		return a;
	pid_t group = getpgid(pid);
	a = group > 0 ? record_find_pid(&k->record, group) : NULL;
	return a && a->is_in_view && a->is_over ? a : NULL;
}
