/* SPDX-License-Identifier: Apache-2.0
 * 1. Every attempt of the map is known to the keeper, or could not be given to it and has ended here.
 * 2. `ends` holds those in state ENDED, each once.
 * 3. A sandbox whose attempt is not in the map is kept's or removal's. */
#include "vinefs/run/run.h"

#include "common/path.h"
#include "vinefs/run/run_internal.h"
#include "vinefs/run/view_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRY_USEC 1000000u /* after an output could not be read for want of something */

static struct attempt *add_attempt(struct run *r, uint64_t number, uint64_t task)
{
	struct attempt *a = NEW(struct attempt);
	assert(!map_get(&r->attempts, number));
	list_init(&a->link);
	list_init(&a->copying);
	a->run = r;
	a->end.type = KEEPER_STARTED;
	a->end.attempt = number;
	a->end.task = task;
	map_put(&r->attempts, number, a);
	return a;
}

static void forget(struct run *r, struct attempt *a)
{
	end_release(r, a);
	list_remove(&a->link);
	map_remove(&r->attempts, a->end.attempt);
	/* Without an init or a group a daemon may be found a moment later only, and its working directory must be nobody else's. */
	if (a->stem || a->usage.is_gone)
		removal_allow(r->removal, a->end.attempt);
	if (a->is_failure && !a->is_stopped && r->o.keep_failed_usec)
		kept_add_whole(&r->failed, a->end.attempt, 0, a->outputs.written_size);
	else
		kept_add(&r->kept, a->end.attempt, 0, a->is_unread);
	attempt_free(a);
}

/* ---- what follows from what, in which state */

static void on_stop_running(struct run *r, struct attempt *a)
{
	end_kill(r, a, a->grace_usec);
}

static void on_fence_running(struct run *r, struct attempt *a)
{
	a->state = ATTEMPT_FENCED;
	end_kill(r, a, 0);
}

static void drop(struct run *r, struct attempt *a)
{
	a->is_stopped = true;
	if (a->is_given)
		hand_send_taken(&r->hand, a->end.attempt);
	forget(r, a);
}

static void ignore(struct run *r _unused_, struct attempt *a _unused_)
{
}

bool run_happen(struct run *r, struct attempt *a, enum event e)
{
	typedef void handler(struct run *, struct attempt *);
	static handler *const table[ATTEMPT_STATES][EVENTS] = {
		[ATTEMPT_PREPARING] = {[EVENT_READY] = begin_arrange, [EVENT_STOP] = end_stopped, [EVENT_FENCE] = drop},
		[ATTEMPT_ARRANGING] =
			{[EVENT_ARRANGED] = begin_go_on, [EVENT_STOP] = end_stopped, [EVENT_FENCE] = drop},
		[ATTEMPT_RUNNING] = {[EVENT_READY] = ignore,
				     [EVENT_STOP] = on_stop_running,
				     [EVENT_FENCE] = on_fence_running,
				     [EVENT_REPORTED] = end_reported},
		[ATTEMPT_COLLECTING] =
			{[EVENT_STOP] = end_stopped, [EVENT_FENCE] = drop, [EVENT_COLLECTED] = end_collected},
		[ATTEMPT_ENDED] = {[EVENT_STOP] = ignore, [EVENT_FENCE] = drop},
		/* It is forgotten by its answer. */
		[ATTEMPT_UNDER_WAY] = {[EVENT_STOP] = ignore, [EVENT_FENCE] = ignore},
		[ATTEMPT_FENCED] = {[EVENT_STOP] = ignore, [EVENT_FENCE] = ignore, [EVENT_REPORTED] = drop},
	};
	assert(a->state < ATTEMPT_STATES && e < EVENTS && a->run == r);
	handler *handle = table[a->state][e];
	if (handle)
		handle(r, a);
	else
		log_debug("attempt %" PRIu64 ": event %d means nothing in state %d", a->end.attempt, (int)e,
			  (int)a->state);
	return handle;
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
		uint64_t age_usec = is_old ? UINT64_MAX : (uint64_t)(now - st.st_mtime) * 1000000, size;
		if (kept_is_whole(&r->failed, number, &size))
			kept_add_whole(&r->failed, number, age_usec, size);
		else
			kept_add(&r->kept, number, age_usec, false);
	}
	if (d)
		closedir(d);
}

/* One that runs since before this process: what it is to leave, and what it must not lose, stands in its sandbox. */
static struct attempt *take_up(struct run *r, const struct keeper_report *report)
{
	struct attempt *a = add_attempt(r, report->attempt, report->task);
	_free_ char *sandbox = attempt_sandbox(r->o.state, report->attempt);
	a->state = ATTEMPT_RUNNING;
	a->is_given = true;
	if (!attempt_load(a, sandbox)) {
		free(steal(a->start));
		return a;
	}
	if (view_file_read(sandbox, &a->view, &a->stem) || !a->view.directory) {
		_free_ char *cwd = path_join(sandbox, "cwd");
		free(a->view.directory);
		a->view.directory = path_join(cwd, a->start->directory ? a->start->directory : "");
	}
	a->view.cwd = xstrdup(a->view.directory);
	a->is_prepared = r->o.ops->hold;
	if (a->is_prepared)
		r->o.ops->hold(r->o.owner, report->attempt, a->start);
	return a;
}

static void on_attempt_report(struct run *r, const struct keeper_report *report)
{
	struct attempt *a = map_get(&r->attempts, report->attempt);
	/* Fenced attempts are forgotten here before the keeper hears of it. */
	if (!a && r->is_listed)
		return;
	if (!a)
		a = take_up(r, report);
	if (!a->is_given)
		return;
	if (report->type == KEEPER_STARTED) {
		if (!a->start || a->state != ATTEMPT_RUNNING)
			return;
		/* One that runs since before this process has used some of its time. */
		uint64_t now = loop_now_usec(r->loop), age = r->is_listed ? 0 : attempt_age_usec(report->pid);
		limits_watch(r->limits, a->start, a->stem != 0, report->pid, now - min(now, age));
		a->is_limited = true;
		return;
	}
	if (a->state != ATTEMPT_RUNNING && a->state != ATTEMPT_FENCED)
		return;
	/* Ended while no vinefs was there. */
	if (!r->is_listed && a->start && !a->is_limited) {
		limits_watch(r->limits, a->start, a->stem != 0, 0, loop_now_usec(r->loop));
		a->is_limited = true;
	}
	a->end = *report;
	run_happen(r, a, EVENT_REPORTED);
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
		if (r->o.ops->on_stopping)
			r->o.ops->on_stopping(r->o.owner);
		break;
	case KEEPER_GONE:
		r->o.ops->on_gone(r->o.owner);
		break;
	default:
		log_warn("the keeper says %u, which is nothing we know", report->type);
	}
}

static void on_done(struct hand *h, const struct keeper_report *report)
{
	struct run *r = container_of(h, struct run, hand);
	if (report->attempt >= RUN_JOB_FIRST)
		begin_job_done(r, report->attempt, -report->error, report->status);
	else if (r->o.ops->on_job)
		r->o.ops->on_job(r->o.owner, report->attempt, -report->error, report->status);
}

static void on_loss(struct hand *h)
{
	struct run *r = container_of(h, struct run, hand);
	r->o.ops->on_orphaned(r->o.owner);
}

/* ---- life */

static void on_exceeded(void *arg, uint64_t attempt, enum limits_kind kind, const char *text)
{
	struct run *r = arg;
	struct attempt *a = map_get(&r->attempts, attempt);
	if (!a || a->state != ATTEMPT_RUNNING)
		return;
	log_info("attempt %" PRIu64 " of task %" PRIu64 ": %s", attempt, a->end.task, text);
	/* Who has no time left may still write down how far he came; what else is over cannot wait. */
	end_kill(r, a, kind == LIMITS_WALL ? a->how.grace : 0);
}

static void unkeep(void *arg, uint64_t kept)
{
	struct run *r = arg;
	hand_send_unkeep(&r->hand, kept);
}

static void ask_keep(void *arg, const struct wire_keep *m)
{
	const struct run *r = arg;
	assert(r->o.ops->ask_keep);
	r->o.ops->ask_keep(r->o.owner, m);
}

static int open_directories(struct run *r)
{
	static const char *const names[] = {"s", "root", "view"};
	int error = 0;
	for (size_t i = 0; i < countof(names) && !error; i++) {
		_free_ char *path = path_join(r->o.state, names[i]);
		error = path_make_dirs(path, 0700);
		if (!i && !error)
			r->sandboxes = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return !error && r->sandboxes < 0 ? -errno : error;
}

/* STATE and what else is hidden from tasks, ends in NULL. */
static char **list_guarded(const struct run_options *o)
{
	size_t n = 0;
	while (o->hidden && o->hidden[n])
		n++;
	char **all = xcalloc(n + 2, sizeof *all);
	all[0] = realpath(o->state, NULL);
	for (size_t i = 0; all[0] && i < n; i++)
		all[i + 1] = xstrdup(o->hidden[i]);
	return all;
}

static int open_parts(struct run *r)
{
	const struct run_options *o = &r->o;
	const struct limits_settings ls = {.loop = r->loop,
					   .name = o->name ? o->name : "",
					   .cgroup = o->cgroup,
					   .sandboxes = r->sandboxes,
					   .processes = o->processes,
					   .on_exceeded = on_exceeded,
					   .arg = r};
	r->guarded = list_guarded(o);
	const struct outputs_settings os = {.loop = r->loop,
					    .fetch = o->fetch,
					    .cache = o->cache,
					    .guarded = (const char *const *)r->guarded,
					    .ask_keep = ask_keep,
					    .arg = r};
	r->removal = removal_new(r->sandboxes);
	if (!r->removal)
		return -errno;
	kept_init(&r->kept, r->loop, r->removal, r->sandboxes, o->keep_usec, o->keep_size);
	kept_init(&r->failed, r->loop, r->removal, r->sandboxes, o->keep_failed_usec, o->keep_failed_size);
	r->limits = limits_new(&ls);
	if (!r->limits)
		return -errno;
	if (o->cache && !(r->outputs = outputs_new(&os)))
		return -errno;
	return hand_init(&r->hand, r->loop, o->keeper, on_report, on_loss);
}

struct run *run_new(struct loop *l, const struct run_options *o)
{
	struct run *r = NEW(struct run);
	r->o = *o;
	r->loop = l;
	r->sandboxes = r->hand.fd = -1;
	list_init(&r->ends);
	list_init(&r->copying);
	list_init(&r->kept.all);
	list_init(&r->failed.all);
	host_init(&r->host, l, o->fetch);
	share_init(&r->share, l, unkeep, r);
	r->shared = host_mounts_below("/tmp", o->state);
	int error = open_directories(r);
	if (!error)
		error = open_parts(r);
	if (error) {
		run_free(r);
		errno = -error;
		return NULL;
	}
	r->hand.on_done = on_done;
	return r;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	size_t i = 0;
	for (struct attempt *a; (a = map_next(&r->attempts, &i));) {
		begin_abandon(a);
		attempt_free(a);
	}
	map_fini(&r->attempts);
	share_fini(&r->share);
	hand_fini(&r->hand);
	timer_stop(&r->retry);
	kept_fini(&r->kept);
	kept_fini(&r->failed);
	outputs_free(r->outputs);
	limits_free(r->limits);
	host_fini(&r->host);
	attempt_free_texts(r->shared);
	attempt_free_texts(r->guarded);
	removal_free(r->removal);
	close_fd(r->sandboxes);
	free(r);
}

/* ---- what vined wants */

static int make_sandbox(struct run *r, uint64_t attempt)
{
	return removal_reuse(r->removal, attempt) ? 0 : attempt_make_sandbox(r->sandboxes, attempt);
}

void run_start(struct run *r, const struct wire_start *m)
{
	struct conf_error e;
	if (!m->attempt || map_get(&r->attempts, m->attempt))
		return;
	struct attempt *a = add_attempt(r, m->attempt, m->task);
	_free_ char *sandbox = attempt_sandbox(r->o.state, m->attempt);
	a->start = wire_copy(WIRE_START, m);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	a->came_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	int error = m->argv.n ? make_sandbox(r, m->attempt) : -EINVAL;
	if (how_read(&m->how, &a->how, &e))
		end_refused(r, a, EINVAL, false, xstrdup(e.text));
	else if (!m->argv.n)
		end_unstarted(r, a, error, KEEPER_STEP_EXEC, "(an empty command)");
	else if (error)
		end_unstarted(r, a, error, KEEPER_STEP_OUTPUT, sandbox);
	else
		begin_prepare(r, a);
}

void run_stop(struct run *r, const struct wire_stop *m)
{
	struct attempt *a = map_get(&r->attempts, m->attempt);
	if (!a)
		return;
	a->grace_usec = m->grace_usec;
	a->is_stopped = true;
	if (m->fenced)
		log_info("attempt %" PRIu64 " of task %" PRIu64 " is fenced: another one counts", m->attempt,
			 a->end.task);
	run_happen(r, a, m->fenced ? EVENT_FENCE : EVENT_STOP);
}

void run_ready(struct run *r, uint64_t attempt, const struct run_input *inputs, size_t n)
{
	struct attempt *a = map_get(&r->attempts, attempt);
	if (!a || a->state != ATTEMPT_PREPARING)
		return;
	assert(!a->inputs);
	a->inputs = xmemdup(inputs, n * sizeof *inputs);
	for (a->n_inputs = 0; a->n_inputs < n; a->n_inputs++) {
		a->inputs[a->n_inputs].path = xstrdup(inputs[a->n_inputs].path);
		a->inputs[a->n_inputs].at = xstrdup(inputs[a->n_inputs].at);
	}
	run_happen(r, a, EVENT_READY);
}

void run_unready(struct run *r, uint64_t attempt, int error, bool is_nodes_fault, const char *reason)
{
	struct attempt *a = map_get(&r->attempts, attempt);
	if (a && a->state == ATTEMPT_PREPARING)
		end_refused(r, a, error < 0 ? -error : error, is_nodes_fault, xstrdup(reason));
}

void run_keep_answered(struct run *r, uint64_t attempt, uint64_t item, int error, const char *reason)
{
	if (r->outputs)
		outputs_keep_answered(r->outputs, attempt, item, error, reason);
}

/* Reads that waited for a mount that died have got errors, which a program need not notice. */
static void spoil(struct run *r, struct attempt *a, const char *reason)
{
	if (a->state != ATTEMPT_RUNNING || a->is_spoilt)
		return;
	log_warn("attempt %" PRIu64 " of task %" PRIu64 ": %s; it is run again", a->end.attempt, a->end.task, reason);
	a->is_spoilt = true;
	end_kill(r, a, 0);
}

static bool has_inputs(const struct attempt *a)
{
	for (uint32_t i = 0; a->start && i < a->start->inputs.n; i++)
		if (a->start->inputs.at[i].mode != 3)
			return true;
	return false;
}

void run_set_stem(struct run *r, uint64_t stem)
{
	size_t i = 0;
	if (stem == r->stem)
		return;
	r->stem = stem;
	share_forget(&r->share, NULL);
	for (struct attempt *a; (a = map_next(&r->attempts, &i));)
		if (a->stem && a->stem != stem && has_inputs(a))
			spoil(r, a, "the mount that it reads from has died");
}

void run_lost(struct run *r, uint64_t attempt, const char *reason)
{
	struct attempt *a = map_get(&r->attempts, attempt);
	if (a)
		spoil(r, a, reason);
}

void run_forget_input(struct run *r, const char *at)
{
	share_forget(&r->share, at);
}

int run_do(struct run *r, uint64_t job, uint64_t stem, struct view_step *steps, uint32_t n_steps,
	   const char *const *argv, uint32_t n_argv)
{
	assert(job && job < RUN_JOB_FIRST);
	return hand_send_do(&r->hand, &(struct hand_start){.attempt = job,
							   .stem = stem,
							   .mask = 022,
							   .steps = steps,
							   .n_steps = n_steps,
							   .argv = argv,
							   .n_argv = n_argv});
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
	for (const struct attempt *a; (a = map_next(&r->attempts, &i));)
		if (a->state != ATTEMPT_FENCED)
			held[(*n)++] = (struct wire_held){.attempt = a->end.attempt, .task = a->end.task};
	assert(*n <= r->attempts.n);
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
	if (!attempt || which < 1 || which > 3)
		return -EINVAL;
	return attempt_open_output(r->sandboxes, attempt, which, size);
}
