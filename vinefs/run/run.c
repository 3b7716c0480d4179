/* SPDX-License-Identifier: Apache-2.0
 * 1. Every attempt of the map is known to the keeper, or could not be given to it and has ended here.
 * 2. `ends` holds those in state ENDED, each once.
 * 3. A sandbox whose attempt is not in the map is kept's or removal's. */
#include "vinefs/run/run.h"

#include "common/log.h"
#include "common/map.h"
#include "common/path.h"
#include "vinefs/run/attempt.h"
#include "vinefs/run/hand.h"
#include "vinefs/run/kept.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRY_USEC 1000000u /* after an output could not be read for want of something */

struct run {
	struct loop *loop;
	struct hand hand;
	struct map attempts;
	struct list ends;
	struct kept kept;
	struct removal *removal;
	struct run_options o;
	struct timer retry;
	struct log_limit refusals, unread;
	int sandboxes; /* STATE/s: nothing below it is reached by a path that a task may have bent */
	bool is_listed;
};

static struct attempt *add_attempt(struct run *r, uint64_t number, uint64_t task)
{
	struct attempt *a = NEW(struct attempt);
	assert(!map_get(&r->attempts, number));
	list_init(&a->link);
	a->end.type = KEEPER_STARTED;
	a->end.attempt = number;
	a->end.task = task;
	map_put(&r->attempts, number, a);
	return a;
}

static void forget(struct run *r, struct attempt *a)
{
	list_remove(&a->link);
	map_remove(&r->attempts, a->end.attempt);
	kept_add(&r->kept, a->end.attempt, 0, a->is_unread);
	free(a);
}

static void end_attempt(struct run *r, struct attempt *a)
{
	assert(a->state == ATTEMPT_RUNNING && a->end.type != KEEPER_STARTED);
	a->state = ATTEMPT_ENDED;
	list_append(&r->ends, &a->link);
	if (attempt_is_refused(&a->end)) {
		_cleanup_(buf_fini) struct buf why = {0};
		attempt_describe_failure(&a->end, &why);
		log_limited(&r->refusals, 1, LOG_LEVEL_ERROR, "attempt %" PRIu64 " of task %" PRIu64 ": %.*s",
			    a->end.attempt, a->end.task, (int)why.n, (const char *)why.at);
	}
	if (r->is_listed)
		r->o.ops->on_ended(r->o.owner);
}

/* ---- what the keeper tells */

/* Sandboxes that nobody answers for: of attempts that were acknowledged when the last vinefs died. */
static void find_leftovers(struct run *r)
{
	_free_ char *path = path_join(r->o.state, "s");
	DIR *d = opendir(path);
	for (const struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		char *end;
		uint64_t number = strtoull(e->d_name, &end, 10);
		if (*end || !number || map_get(&r->attempts, number))
			continue;
		_free_ char *out = xasprintf("%s/%s/out", path, e->d_name);
		time_t now = time(NULL);
		/* UINT64_MAX: older than any. */
		bool is_old = lstat(out, &st) || st.st_mtime > now;
		kept_add(&r->kept, number, is_old ? UINT64_MAX : (uint64_t)(now - st.st_mtime) * 1000000, false);
	}
	if (d)
		closedir(d);
}

static void on_attempt_report(struct run *r, const struct keeper_report *report)
{
	struct attempt *a = map_get(&r->attempts, report->attempt);
	/* Fenced attempts are forgotten here before the keeper hears of it. */
	if (!a && r->is_listed)
		return;
	if (!a)
		a = add_attempt(r, report->attempt, report->task);
	if (a->state != ATTEMPT_RUNNING || report->type == KEEPER_STARTED)
		return;
	a->end = *report;
	end_attempt(r, a);
}

static void on_report(struct hand *h, const struct keeper_report *report)
{
	struct run *r = container_of(h, struct run, hand);
	switch (report->type) {
	case KEEPER_STARTED:
	case KEEPER_ENDED:
	case KEEPER_FAILED:
	case KEEPER_LOST:
		on_attempt_report(r, report);
		break;
	case KEEPER_LISTED:
		r->is_listed = true;
		find_leftovers(r);
		r->o.ops->on_listed(r->o.owner);
		break;
	case KEEPER_STOPPING:
		log_info("stopping; what runs has its grace");
		break;
	case KEEPER_GONE:
		r->o.ops->on_gone(r->o.owner);
		break;
	default:
		log_warn("the keeper says %u, which is nothing we know", report->type);
	}
}

static void on_loss(struct hand *h)
{
	struct run *r = container_of(h, struct run, hand);
	r->o.ops->on_orphaned(r->o.owner);
}

/* ---- life */

struct run *run_new(struct loop *l, const struct run_options *o)
{
	struct run *r = NEW(struct run);
	_free_ char *sandboxes = path_join(o->state, "s");
	r->o = *o;
	r->loop = l;
	list_init(&r->ends);
	int error = path_make_dirs(sandboxes, 0700);
	r->sandboxes = error ? -1 : open(sandboxes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r->removal = r->sandboxes < 0 ? NULL : removal_new(r->sandboxes);
	if (!error && !r->removal)
		error = -errno;
	if (!error)
		kept_init(&r->kept, l, r->removal, r->sandboxes, o->keep_usec, o->keep_size);
	if (!error)
		error = hand_init(&r->hand, l, o->keeper, on_report, on_loss);
	if (error) {
		removal_free(r->removal);
		close_fd(r->sandboxes);
		free(r);
		errno = -error;
		return NULL;
	}
	return r;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	size_t i = 0;
	for (struct attempt *a; (a = map_next(&r->attempts, &i));)
		free(a);
	map_fini(&r->attempts);
	hand_fini(&r->hand);
	timer_stop(&r->retry);
	kept_fini(&r->kept);
	removal_free(r->removal);
	close_fd(r->sandboxes);
	free(r);
}

/* ---- what vined wants */

static int give_to_keeper(struct run *r, const struct wire_start *m, const char *sandbox)
{
	_free_ char *cwd = path_join(sandbox, "cwd");
	_free_ char *directory = path_join(cwd, m->directory && *m->directory ? m->directory : "");
	_free_ char *out = path_join(sandbox, "out");
	_free_ char *err = path_join(sandbox, "err");
	size_t n = strlen(directory);
	if (n > 1 && directory[n - 1] == '/')
		directory[n - 1] = 0;
	struct hand_start s = {.attempt = m->attempt,
			       .task = m->task,
			       .directory = directory,
			       .out = out,
			       .err = err,
			       .argv = m->argv.at,
			       .n_argv = m->argv.n};
	char **environment = attempt_environment(m, sandbox, directory, &s.n_environment);
	s.environment = (const char *const *)environment;
	int error = hand_send_start(&r->hand, &s);
	attempt_free_texts(environment);
	return error;
}

static void fail(struct run *r, struct attempt *a, int error, enum keeper_step step, const char *what)
{
	assert(error < 0);
	a->end.type = KEEPER_FAILED;
	a->end.error = -error;
	a->end.step = step;
	snprintf(a->end.what, sizeof a->end.what, "%s", what);
	end_attempt(r, a);
}

void run_start(struct run *r, const struct wire_start *m)
{
	if (!m->attempt || map_get(&r->attempts, m->attempt))
		return;
	struct attempt *a = add_attempt(r, m->attempt, m->task);
	_free_ char *sandbox = attempt_sandbox(r->o.state, m->attempt);
	int error = m->argv.n ? attempt_make_sandbox(r->sandboxes, m->attempt) : -EINVAL;
	if (!m->argv.n)
		fail(r, a, error, KEEPER_STEP_EXEC, "(an empty command)");
	else if (error)
		fail(r, a, error, KEEPER_STEP_OUTPUT, sandbox);
	else if ((error = give_to_keeper(r, m, sandbox)))
		fail(r, a, error, KEEPER_STEP_EXEC, m->argv.at[0]);
}

void run_stop(struct run *r, const struct wire_stop *m)
{
	struct attempt *a = map_get(&r->attempts, m->attempt);
	if (!a)
		return;
	if (a->state == ATTEMPT_RUNNING) {
		bool is_gentle = m->grace_usec && !m->fenced;
		hand_send_kill(&r->hand, m->attempt, is_gentle ? SIGTERM : SIGKILL, is_gentle ? m->grace_usec : 0);
	}
	if (!m->fenced)
		return;
	log_info("attempt %" PRIu64 " of task %" PRIu64 " is fenced: another one counts", m->attempt, a->end.task);
	/* One that is under way is forgotten by its answer. */
	if (a->state != ATTEMPT_UNDER_WAY) {
		hand_send_taken(&r->hand, m->attempt);
		forget(r, a);
	}
}

void run_leave(struct run *r)
{
	hand_send_leave(&r->hand);
}

struct wire_held *run_held(const struct run *r, uint32_t *n)
{
	struct wire_held *held = xcalloc(r->attempts.n, sizeof *held);
	size_t i = 0;
	*n = 0;
	for (const struct attempt *a; (a = map_next(&r->attempts, &i)); (*n)++)
		held[*n] = (struct wire_held){.attempt = a->end.attempt, .task = a->end.task};
	assert(*n == r->attempts.n);
	return held;
}

static void on_retry(struct timer *t)
{
	struct run *r = container_of(t, struct run, retry);
	r->o.ops->on_ended(r->o.owner);
}

bool run_next_ended(struct run *r, struct wire_ended *m, struct buf *heads)
{
	struct attempt *a = list_first(&r->ends, struct attempt, link);
	if (!a)
		return false;
	assert(a->state == ATTEMPT_ENDED);
	int error = attempt_fill_ended(a, r->sandboxes, m, heads);
	if (error) {
		log_limited(&r->unread, 1, LOG_LEVEL_WARN, "the output of attempt %" PRIu64 " cannot be read yet: %s",
			    a->end.attempt, strerror(-error));
		timer_start(&r->retry, r->loop, RETRY_USEC, on_retry);
		return false;
	}
	list_remove(&a->link);
	a->state = ATTEMPT_UNDER_WAY;
	return true;
}

void run_taken(struct run *r, uint64_t attempt)
{
	struct attempt *a = map_get(&r->attempts, attempt);
	assert(a && a->state == ATTEMPT_UNDER_WAY);
	hand_send_taken(&r->hand, attempt);
	forget(r, a);
}

void run_untaken(struct run *r, uint64_t attempt)
{
	struct attempt *a = map_get(&r->attempts, attempt);
	assert(a && a->state == ATTEMPT_UNDER_WAY);
	a->state = ATTEMPT_ENDED;
	list_append(&r->ends, &a->link);
}

int run_open_output(const struct run *r, uint64_t attempt, unsigned which, uint64_t *size)
{
	if (!attempt || which < 1 || which > 2)
		return -EINVAL;
	return attempt_open_output(r->sandboxes, attempt, which, size);
}
