/* SPDX-License-Identifier: Apache-2.0
 * vine run: one command on some node, as if it ran here. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/dry_run.h"
#include "tools/job.h"
#include "tools/output.h"
#include "tools/run_files.h"
#include "tools/sending.h"
#include "tools/session.h"
#include "tools/why_cause.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define CONF_STRUCT job_options
#define CONF_FILE "tools/run.def"
#include "common/conf_table.h"

const struct conf_table run_table = {
	.program = "vine run",
	.summary = "run a command on the cluster and wait for it",
	.usage = "[--] COMMAND [ARG ...]",
	.at = job_options_table,
	.n = countof(job_options_table),
	.foreign = job_foreign,
};

#define EXIT_WALL_TIME 124
#define EXIT_NO_OUTPUT 1
#define INTERRUPT_SEC 15
#define WAIT_LEAST_MSEC 2000
#define WAIT_MOST_MSEC 30000

/* Signals are taken by a thread of their own: the first cancels the task, the second ends us at once, as does a cancelled
 * task that does not end. */
struct interrupt {
	struct vine *v;
	pthread_mutex_t lock;
	uint64_t task; /* 0: not posted yet */
	int signo;     /* the first that came */
};

static void interrupt_cancel(struct interrupt *i)
{
	char selector[24];
	assert(i->task);
	snprintf(selector, sizeof selector, "%" PRIu64, i->task);
	if (vine_cancel(i->v, selector) < 0)
		tool_fail(&run_table, "%s", vine_error());
}

static void *cancel_thread(void *arg)
{
	interrupt_cancel(arg);
	return NULL;
}

static void interrupt_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

static void *interrupt_thread(void *arg)
{
	struct interrupt *i = arg;
	sigset_t set;
	int signo;
	interrupt_signals(&set);
	sigwait(&set, &signo);
	pthread_mutex_lock(&i->lock);
	bool is_posted = i->task != 0;
	i->signo = signo;
	pthread_mutex_unlock(&i->lock);
	/* Whatever hangs from here on, a second signal or the deadline ends it. */
	pthread_t canceller;
	if (is_posted && !pthread_create(&canceller, NULL, cancel_thread, i))
		pthread_detach(canceller);
	const struct timespec limit = {.tv_sec = INTERRUPT_SEC};
	int second = sigtimedwait(&set, NULL, &limit);
	if (second < 0)
		tool_fail(&run_table, "the task did not end within %d s of its cancellation; it is not waited for",
			  INTERRUPT_SEC);
	_exit(128 + (second > 0 ? second : signo));
}

/* From here on signals come to that thread alone. */
static int interrupt_start(struct interrupt *i, struct vine *v)
{
	sigset_t set;
	pthread_t thread;
	*i = (struct interrupt){.v = v};
	pthread_mutex_init(&i->lock, NULL);
	interrupt_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	int r = pthread_create(&thread, NULL, interrupt_thread, i);
	if (r)
		return tool_fail(&run_table, "no thread: %s", strerror(r));
	pthread_detach(thread);
	return 0;
}

static const char *value_of(struct vine_event *e, const char *name)
{
	const char *value = "";
	vine_event_get(e, name, &value);
	return value;
}

/* One of the streams: what came with the result, then the rest. A reader who went away is no failure of the task's. */
static int copy_output(struct vine *v, struct vine_event *e, uint64_t task, int which)
{
	const char *p;
	assert(which == STDOUT_FILENO || which == STDERR_FILENO);
	int64_t n = vine_event_get(e, which == 1 ? "out" : "err", &p), rest;
	int64_t size = strtoll(value_of(e, which == 1 ? "out-size" : "err-size"), NULL, 10);
	for (int64_t done = 0; done < n;) {
		ssize_t w = write(which, p + done, (size_t)(n - done));
		if (w < 0 && errno != EINTR)
			return errno == EPIPE ? 0
					      : tool_fail(&run_table, "write the task's output: %s", strerror(errno));
		done += max(w, (ssize_t)0);
	}
	if (size <= n)
		return 0;
	rest = vine_output(v, task, which, (uint64_t)n, which);
	if (rest == -EPIPE)
		return 0;
	if (rest >= 0 && rest != size - n)
		return tool_fail(&run_table, "task %" PRIu64 ": %" PRId64 " of %" PRId64 " bytes of its output came",
				 task, n + rest, size);
	return rest < 0 ? tool_fail(&run_table, "task %" PRIu64 ": the rest of its output is lost: %s", task,
				    vine_error())
			: 0;
}

/* What somebody who is surprised by a failure wants to know first. */
static void say_left(struct vine_event *e)
{
	const char *left = value_of(e, "left"), *n = value_of(e, "n-left");
	if (!*n || streq(n, "0"))
		return;
	char text[400];
	snprintf(text, sizeof text, "%s", left);
	size_t n_shown = 1;
	for (char *p = text; (p = strchr(p, '\n')); n_shown++)
		memcpy(p, " ", 1);
	bool is_all = strlen(left) < sizeof text && strtoull(n, NULL, 10) == n_shown;
	tool_fail(&run_table, "it also wrote %s path%s that it had not declared: %s%s", n, streq(n, "1") ? "" : "s",
		  text, is_all ? "" : " ...");
}

static int not_started(struct vine_event *e, const char *command)
{
	int error = atoi(value_of(e, "status"));
	const char *reason = value_of(e, "reason");
	const char *node = value_of(e, "node"); /* "": no node had it */
	tool_fail(&run_table, "%s: %s%s%s", command, *reason ? reason : strerror(error), *node ? " on node " : "",
		  node);
	/* An input that cannot be had is no command that cannot be found. */
	if (!has_prefix(reason, "exec "))
		return EXIT_VINE_FAILED;
	return error == ENOENT ? 127 : 126;
}

static int exit_status(struct vine_event *e, const char *command, int signo)
{
	const char *how = value_of(e, "how"), *reason = value_of(e, "reason");
	int status = atoi(value_of(e, "status"));
	if (signo && !streq(how, "exited"))
		return 128 + signo;
	if (streq(value_of(e, "exceeded"), "wall-time")) {
		tool_fail(&run_table, "%s: %s", command, *reason ? reason : "it ran longer than --wall-time");
		return EXIT_WALL_TIME;
	}
	if (streq(how, "no-output")) {
		tool_fail(&run_table, "%s: %s", command, *reason ? reason : "an output that it declared is missing");
		return EXIT_NO_OUTPUT;
	}
	if (streq(how, "exited")) {
		if (*reason)
			tool_fail(&run_table, "%s: %s", command, reason);
		return status;
	}
	if (streq(how, "killed")) {
		if (*reason)
			tool_fail(&run_table, "%s: %s", command, reason);
		return 128 + status;
	}
	if (streq(how, "not-started"))
		return not_started(e, command);
	return tool_fail(&run_table, "task %s was %s%s%s", value_of(e, "task"), how, *reason ? ": " : "", reason);
}

struct waiting {
	char state[16], reason[256], cure[256];
};

static int note_waiting(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct waiting *w = arg;
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "state"))
			snprintf(w->state, sizeof w->state, "%s", cells[i]);
		if (streq(names[i], "reason"))
			snprintf(w->reason, sizeof w->reason, "%s", cells[i]);
		if (streq(names[i], "cure"))
			snprintf(w->cure, sizeof w->cure, "%s", cells[i]);
	}
	return 0;
}

/* Says why it waits, once for each reason. */
static void say_waiting(struct vine *v, const char *selector, struct waiting *said)
{
	struct waiting w = {.state = ""};
	if (vine_query(v, "why", selector, note_waiting, &w) < 0)
		return;
	bool is_waiting = streq(w.state, "queued") || streq(w.state, "held");
	if (!is_waiting || !*w.reason || streq(w.reason, said->reason))
		return;
	tool_fail(NULL, "waiting: %s%s%s", w.reason, *w.cure ? "; next: " : "", w.cure);
	*said = w;
}

/* Silence for a moment is no news; later it is asked less and less often. */
static int wait_for(struct vine *v, const char *selector, struct vine_event **e)
{
	struct waiting said = {.state = ""};
	int r;
	for (int msec = WAIT_LEAST_MSEC; (r = vine_next(v, selector, msec, e)) == 0;
	     msec = min(2 * msec, WAIT_MOST_MSEC))
		say_waiting(v, selector, &said);
	return r;
}

/* What its words mean, where they are known: more than "exit status 1" says. What was limited or not begun has been told by its reason. */
static void say_cause(struct vine *v, const char *selector, struct vine_event *e, bool is_told)
{
	struct table rows = {0};
	struct cause c = {.kind = CAUSE_NONE};
	_free_ char *said = NULL;
	if (vine_query(v, "tasks", selector, table_add, &rows) == 1)
		why_cause(v, &rows, 0, &c, &said);
	table_fini(&rows);
	if (is_told && *c.next && c.kind != CAUSE_READ_ONLY)
		tool_fail(&run_table, "next: %s", c.next);
	else if (!is_told && *c.what)
		tool_fail(&run_table, "on node %s: %s%s%s", value_of(e, "node"), c.what, *c.next ? "; next: " : "",
			  c.next);
}

/* Waits for the task and shows what came. */
static int finish(struct vine *v, struct interrupt *i, const struct binds *files, const char *command, bool is_json)
{
	char selector[24];
	struct vine_event *e;
	snprintf(selector, sizeof selector, "%" PRIu64, i->task);
	if (wait_for(v, selector, &e) < 0)
		return tool_fail(&run_table, "%s", vine_error());
	int out = is_json ? 0 : copy_output(v, e, i->task, 1);
	int err = is_json ? 0 : copy_output(v, e, i->task, 2);
	pthread_mutex_lock(&i->lock);
	int signo = i->signo;
	pthread_mutex_unlock(&i->lock);
	int status = exit_status(e, command, signo);
	if (status && !signo) {
		say_left(e);
		say_cause(v, selector, e, *value_of(e, "reason"));
	}
	if (streq(value_of(e, "how"), "not-started"))
		run_files_hint(files, value_of(e, "reason"));
	/* What it left is there as long as its result is not acknowledged. */
	int fetched = run_files_fetch(&run_table, v, files, status == 0);
	status = status ? status : fetched;
	if (is_json)
		out = output_result_json(&run_table, v, e, i->task, status);
	vine_event_done(e);
	return out || err ? EXIT_VINE_FAILED : status;
}

static int run_in(struct vine *v, struct vine_task *t, const struct binds *files, const char *command, bool is_json)
{
	struct interrupt i;
	uint64_t task;
	int r = interrupt_start(&i, v);
	if (r)
		return r;
	struct sending *sending = sending_start(v, files);
	r = vine_post(v, &t, 1, &task);
	sending_stop(sending);
	if (r < 0)
		return tool_fail(&run_table, "%s", vine_error());
	pthread_mutex_lock(&i.lock);
	i.task = task;
	int signo = i.signo;
	pthread_mutex_unlock(&i.lock);
	if (signo)
		interrupt_cancel(&i);
	return finish(v, &i, files, command, is_json);
}

/* The words of -i, -o, --stdin and the command's own, before anything is done. */
static int read_files(const struct job_options *o, char **argv, struct vine_task *t, struct binds *files)
{
	_free_ char *path = NULL;
	int status = job_binds(&run_table, o, argv, files, &path);
	if (!status && path && vine_task_set(t, "stdin", path) < 0)
		status = tool_fail(&run_table, "--stdin: %s", vine_error());
	return status;
}

static int open_and_run(const struct job_options *o, struct vine_task *t, struct binds *files, const char *command)
{
	struct vine *v = NULL;
	int status = run_files_check(&run_table, files);
	if (!status)
		status = session_work(&run_table, *o->name ? o->name : NULL, &v);
	if (!status)
		status = run_files_bind(&run_table, v, t, files);
	if (!status)
		status = run_in(v, t, files, command, o->json);
	/* The signal thread may be inside a call; it ends with us. */
	if (vine_close(v, 1) < 0)
		tool_fail(&run_table, "%s", vine_error());
	return status;
}

static int say_only(const struct job_options *o, char **argv, const struct binds *files)
{
	unsigned n_missing = 0;
	if (o->json)
		return dry_run_json_alone(&run_table, o, argv, files);
	printf("would run\n");
	job_print(o, argv, files, &n_missing);
	dry_run_where(o, files);
	return tool_end(&run_table, n_missing ? 1 : 0);
}

static int run_with(const struct job_options *o, char **argv)
{
	struct vine_task *t = NULL;
	struct binds files = {0};
	int status = job_task(&run_table, o, argv, &t);
	if (!status)
		status = read_files(o, argv, t, &files);
	if (!status)
		status = o->dry_run ? say_only(o, argv, &files) : open_and_run(o, t, &files, argv[0]);
	vine_task_free(t);
	binds_fini(&files);
	return status;
}

/* The file first, then the words again, which count more. */
static int read_job(struct job_options *o, int argc, char **argv, int *status)
{
	struct conf_error e;
	_free_ char *job = steal(o->job);
	conf_fini(&run_table, o);
	*o = (struct job_options){0};
	conf_preset(&run_table, o);
	int first = conf_read_file(&run_table, o, job, &e);
	if (first >= 0)
		first = conf_read_args(&run_table, o, argc, argv, &e);
	if (first < 0)
		*status = tool_fail(&run_table, "%s", e.text);
	return first;
}

int cmd_run(int argc, char **argv)
{
	struct job_options o = {0};
	int status, first = tool_options(&run_table, &o, argc, argv, &status);
	if (first >= 0 && *o.job)
		first = read_job(&o, argc, argv, &status);
	if (first >= 0 && first == argc)
		status = tool_fail(&run_table, "which command? Try: vine run -- echo hello");
	else if (first >= 0)
		status = run_with(&o, argv + first);
	conf_fini(&run_table, &o);
	return status;
}
