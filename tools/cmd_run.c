/* SPDX-License-Identifier: Apache-2.0
 * vine run: one command on some node, as if it ran here. */
#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define CONF_STRUCT run_options
#define CONF_FILE "tools/run.def"
#include "common/conf_struct.h"
#define CONF_STRUCT run_options
#define CONF_FILE "tools/run.def"
#include "common/conf_table.h"

const struct conf_table run_table = {
	.program = "vine run",
	.summary = "run a command on the cluster and wait for it",
	.usage = "[--] COMMAND [ARG ...]",
	.at = run_options_table,
	.n = countof(run_options_table),
};

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

static int set_environment(struct vine_task *t, const struct run_options *o)
{
	int r = o->clean_env ? vine_task_set(t, "env", "clean") : 0;
	for (size_t i = 0; i < o->env.n && r >= 0; i++) {
		const char *equals = strchr(o->env.at[i], '=');
		const char *value = equals ? equals + 1 : getenv(o->env.at[i]);
		_free_ char *name =
			xasprintf("env.%.*s", (int)(strchrnul(o->env.at[i], '=') - o->env.at[i]), o->env.at[i]);
		/* A variable that is not set here is not set there. */
		if (value)
			r = vine_task_set(t, name, value);
	}
	return r;
}

static int set_directory(struct vine_task *t, const char *directory)
{
	_free_ char *here = getcwd(NULL, 0);
	if (*directory != '/' && !here)
		return tool_fail(&run_table, "--chdir %s: the present directory cannot be read: %s", directory,
				 strerror(errno));
	_free_ char *absolute = path_join(here ? here : "/", directory);
	return vine_task_set(t, "directory", absolute);
}

/* 0, or the status to end with. */
static int make_task(const struct run_options *o, char **argv, struct vine_task **t)
{
	const struct {
		const char *name, *value;
	} texts[] = {{"cores", o->cores}, {"memory", o->mem}, {"priority", o->priority}, {"tag", o->tag}};
	int r = vine_task_new((const char *const *)argv, t);
	for (size_t i = 0; i < countof(texts) && r >= 0; i++) {
		if (*texts[i].value)
			r = vine_task_set(*t, texts[i].name, texts[i].value);
	}
	if (r >= 0)
		r = set_environment(*t, o);
	if (r >= 0 && *o->chdir)
		r = set_directory(*t, o->chdir);
	return r < 0 ? tool_fail(&run_table, "%s", vine_error()) : r;
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

static int not_started(struct vine_event *e, const char *command)
{
	int error = atoi(value_of(e, "status"));
	const char *reason = value_of(e, "reason");
	tool_fail(&run_table, "%s: %s on node %s", command, *reason ? reason : strerror(error), value_of(e, "node"));
	return error == ENOENT ? 127 : 126;
}

static int exit_status(struct vine_event *e, const char *command, int signo)
{
	const char *how = value_of(e, "how"), *reason = value_of(e, "reason");
	int status = atoi(value_of(e, "status"));
	if (signo && !streq(how, "exited"))
		return 128 + signo;
	if (streq(how, "exited"))
		return status;
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
	char state[16], reason[256];
};

static int note_waiting(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct waiting *w = arg;
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "state"))
			snprintf(w->state, sizeof w->state, "%s", cells[i]);
		if (streq(names[i], "reason"))
			snprintf(w->reason, sizeof w->reason, "%s", cells[i]);
	}
	return 0;
}

/* Says why it waits, once for each reason. */
static void say_waiting(struct vine *v, const char *selector, struct waiting *said)
{
	struct waiting w = {.state = ""};
	if (vine_query(v, "tasks", selector, note_waiting, &w) < 0)
		return;
	bool is_waiting = streq(w.state, "queued") || streq(w.state, "held");
	if (!is_waiting || !*w.reason || streq(w.reason, said->reason))
		return;
	tool_fail(NULL, "waiting: %s", w.reason);
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

/* Waits for the task and shows what came. */
static int finish(struct vine *v, struct interrupt *i, const char *command)
{
	char selector[24];
	struct vine_event *e;
	snprintf(selector, sizeof selector, "%" PRIu64, i->task);
	if (wait_for(v, selector, &e) < 0)
		return tool_fail(&run_table, "%s", vine_error());
	int out = copy_output(v, e, i->task, 1);
	int err = copy_output(v, e, i->task, 2);
	pthread_mutex_lock(&i->lock);
	int signo = i->signo;
	pthread_mutex_unlock(&i->lock);
	int status = exit_status(e, command, signo);
	vine_event_done(e);
	return out || err ? EXIT_VINE_FAILED : status;
}

static int run_in(struct vine *v, struct vine_task *t, const char *command)
{
	struct interrupt i;
	uint64_t task;
	int r = interrupt_start(&i, v);
	if (r)
		return r;
	if (vine_post(v, &t, 1, &task) < 0)
		return tool_fail(&run_table, "%s", vine_error());
	pthread_mutex_lock(&i.lock);
	i.task = task;
	int signo = i.signo;
	pthread_mutex_unlock(&i.lock);
	if (signo)
		interrupt_cancel(&i);
	return finish(v, &i, command);
}

static int run_with(const struct run_options *o, char **argv)
{
	struct vine *v = NULL;
	struct vine_task *t = NULL;
	int status = make_task(o, argv, &t);
	if (!status && vine_open(&v, NULL, *o->name ? o->name : NULL) < 0)
		status = tool_fail(&run_table, "%s", vine_error());
	if (!status)
		status = run_in(v, t, argv[0]);
	/* The signal thread may be inside a call; it ends with us. */
	if (vine_close(v, 1) < 0)
		tool_fail(&run_table, "%s", vine_error());
	vine_task_free(t);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_options o = {0};
	int status, first = tool_options(&run_table, &o, argc, argv, &status);
	if (first >= 0 && first == argc)
		status = tool_fail(&run_table, "which command? Try: vine run -- echo hello");
	else if (first >= 0)
		status = run_with(&o, argv + first);
	conf_fini(&run_table, &o);
	return status;
}
