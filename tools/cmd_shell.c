/* SPDX-License-Identifier: Apache-2.0
 * vine shell: a shell in the view of a task, or in one made for it. What is entered is here, on the node's machine; vine-shell does it. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/embed.h"
#include "tools/node.h"
#include "tools/run_files.h"
#include "tools/selector.h"
#include "tools/session.h"
#include "tools/shell_where.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONF_STRUCT shell_options
#define CONF_FILE "tools/shell.def"
#include "common/conf_struct.h"
#define CONF_STRUCT shell_options
#define CONF_FILE "tools/shell.def"
#include "common/conf_table.h"

/* As run and submit call it. */
static const struct conf_foreign shell_foreign[] = {{.name = "mem", .means = "memory"}, {.name = NULL}};

const struct conf_table shell_table = {
	.program = "vine shell",
	.summary = "a shell, or a command, in the view of a task, or in one with these inputs",
	.usage = "TASK|-i FROM[:TO][:rw] ... [-- COMMAND [ARG ...]]",
	.at = shell_options_table,
	.n = countof(shell_options_table),
	.foreign = shell_foreign,
};

#define LOOK_MSEC 50
#define PATIENCE_LOOKS 60 /* then it is said what is waited for */

struct shell {
	char *program, *state; /* vine-shell; the node's directory */
};

/* ---- vine-shell */

/* Runs it with what it prints in `out`; its exit status, 125 if it could not be run. */
static int ask_program(const struct shell *s, const char *task, char out[128])
{
	int ends[2], status = -1;
	*out = 0;
	if (pipe(ends) < 0)
		return tool_fail(&shell_table, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl(s->program, "vine-shell", "find", s->state, task, (char *)NULL);
		_exit(EXIT_VINE_FAILED);
	}
	close(ends[1]);
	ssize_t n = pid < 0 ? 0 : read(ends[0], out, 127);
	close(ends[0]);
	out[n > 0 ? n : 0] = 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_VINE_FAILED;
}

/* The last attempt of the task that is on this machine's node; 0: none. */
static uint64_t find_attempt(const struct shell *s, const char *task, bool *is_running)
{
	char out[128];
	if (ask_program(s, task, out))
		return 0;
	*is_running = strstr(out, " running");
	return strtoull(out, NULL, 10);
}

static char **enter_words(const struct shell *s, char attempt[24], char *const *command)
{
	size_t n = 0, at = 0;
	while (command[n])
		n++;
	char **argv = xcalloc(n + 5, sizeof *argv);
	argv[at++] = (char *)(uintptr_t) "vine-shell";
	argv[at++] = (char *)(uintptr_t) "enter";
	argv[at++] = s->state;
	argv[at++] = attempt;
	memcpy(argv + at, command, n * sizeof *argv);
	return argv;
}

/* Goes on as it: the terminal, signals and the exit status are its own. */
static int become(const struct shell *s, uint64_t attempt, char *const *command)
{
	char number[24];
	snprintf(number, sizeof number, "%" PRIu64, attempt);
	_free_ char **argv = enter_words(s, number, command);
	execv(s->program, argv);
	return tool_fail(&shell_table, "%s: %s", s->program, strerror(errno));
}

static int run(const struct shell *s, uint64_t attempt, char *const *command)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(become(s, attempt, command));
	/* Until it has the terminal Ctrl-C is for it as well. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (pid < 0)
		return tool_fail(&shell_table, "fork: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- of a task */

static const char *cell(const struct table *t, const char *column)
{
	const char *text = t->n_rows ? table_find(t, 0, column) : NULL;
	return text ? text : "";
}

static int ask_cluster(struct vine *v, const char *task, struct table *t)
{
	int r = vine_query(v, "tasks", task, table_add, t);
	if (r == -ENOENT)
		return tool_fail(&shell_table, "there is no task %s", task);
	return r < 0 ? tool_fail(&shell_table, "%s", vine_error()) : 0;
}

/* Says where it is instead, and what to type there. */
static int not_here(const struct shell *s, const char *task, char *const *command)
{
	struct vine *v;
	_cleanup_(table_fini) struct table t = {0}, nodes = {0};
	int absent = embed_look(&shell_table);
	if (absent)
		return absent;
	if (vine_open(&v, NULL, NULL) < 0)
		return tool_fail(&shell_table,
				 "task %s has left nothing on this machine's node, and the cluster cannot be asked "
				 "where it is: %s",
				 task, vine_error());
	int status = ask_cluster(v, task, &t);
	const char *node = cell(&t, "node"), *state = cell(&t, "state");
	/* One that the cluster has forgotten has no row. */
	if (!status && *node)
		vine_query(v, "nodes", node, table_add, &nodes);
	vine_close(v, 1);
	if (status)
		return status;
	if (!*node)
		return tool_fail(&shell_table, "task %s is %s and not on any node yet; `vine why %s` says more", task,
				 state, task);
	_cleanup_(buf_fini) struct buf where = {0};
	const struct shell_place p = {.task = task,
				      .node = node,
				      .uuid = cell(&nodes, "node"),
				      .address = cell(&nodes, "address"),
				      .cluster = getenv("VINE"),
				      .state = s->state,
				      .is_running = streq(state, "running")};
	shell_say_where(&p, command, &where);
	return tool_fail(&shell_table, "%s", buf_text(&where));
}

/* A number is known to the node as well, and the cluster need not be asked. */
static int find_task(const char *word, char task[24])
{
	struct vine *v;
	uint64_t number = tool_task(word);
	int status = number ? 0 : session_look(&shell_table, NULL, &v);
	if (!number && !status) {
		number = selector_one(&shell_table, v, word, &status);
		vine_close(v, 1);
	}
	snprintf(task, 24, "%" PRIu64, number);
	return status;
}

static int shell_of_task(const struct shell *s, const char *word, char *const *command)
{
	char task[24];
	bool is_running;
	int status = find_task(word, task);
	if (status)
		return status;
	uint64_t attempt = find_attempt(s, task, &is_running);
	return attempt ? become(s, attempt, command) : not_here(s, task, command);
}

/* ---- of inputs: a task that does nothing has them, as long as the shell runs */

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signo)
{
	is_interrupted = signo;
}

static int make_task(const struct shell_options *o, struct vine *v, struct binds *binds, struct vine_task **t)
{
	static const char *const idle[] = {"/bin/sh", "-c", "while :; do sleep 100000; done", NULL};
	const struct {
		const char *name, *value;
	} texts[] = {{"cores", o->cores}, {"memory", o->memory}, {"tag", "vine shell"}};
	int r = vine_task_new(idle, t);
	for (size_t i = 0; i < countof(texts) && r >= 0; i++)
		if (*texts[i].value)
			r = vine_task_set(*t, texts[i].name, texts[i].value);
	if (r < 0)
		return tool_fail(&shell_table, "%s", vine_error());
	char why[BIND_WHY];
	for (size_t i = 0; i < o->input.n; i++)
		if (bind_input(binds, o->input.at[i], BIND_SEND_AUTO, why))
			return tool_fail(&shell_table, "-i %s: %s", o->input.at[i], why);
	return run_files_bind(&shell_table, v, *t, binds);
}

/* It has ended before its time. */
static int ended(struct vine *v)
{
	struct vine_event *e = NULL;
	const char *reason = "";
	if (vine_next(v, NULL, 0, &e) != 1)
		return 0;
	vine_event_get(e, "reason", &reason);
	tool_fail(&shell_table, "the view cannot be had: %s", *reason ? reason : "its task has ended");
	vine_event_done(e);
	return EXIT_VINE_FAILED;
}

static void say_what_is_waited_for(struct vine *v, const char *task)
{
	_cleanup_(table_fini) struct table t = {0};
	if (ask_cluster(v, task, &t))
		return;
	const char *node = cell(&t, "node");
	if (streq(cell(&t, "state"), "running"))
		tool_fail(&shell_table,
			  "the view is on node %s; there: `vine shell %s`. It lasts until this command is ended, by "
			  "Ctrl-C",
			  node, task);
	else
		tool_fail(&shell_table, "task %s waits; `vine why %s` says for what", task, task);
}

/* Until its attempt runs here: its number; 0 with *status. */
static uint64_t await_attempt(const struct shell *s, struct vine *v, const char *task, int *status)
{
	const struct timespec pause = {.tv_nsec = LOOK_MSEC * 1000000};
	for (unsigned looks = 0; !is_interrupted; looks++) {
		bool is_running = false;
		uint64_t attempt = find_attempt(s, task, &is_running);
		if (attempt && is_running)
			return attempt;
		if ((*status = ended(v)))
			return 0;
		if (looks == PATIENCE_LOOKS)
			say_what_is_waited_for(v, task);
		nanosleep(&pause, NULL);
	}
	*status = 128 + is_interrupted;
	return 0;
}

static int shell_of_task_of(const struct shell *s, struct vine *v, struct vine_task *t, char *const *command)
{
	uint64_t id;
	char task[24];
	int status = 0;
	if (vine_post(v, &t, 1, &id) < 0)
		return tool_fail(&shell_table, "%s", vine_error());
	snprintf(task, sizeof task, "%" PRIu64, id);
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	uint64_t attempt = await_attempt(s, v, task, &status);
	if (attempt)
		status = run(s, attempt, command);
	vine_cancel(v, task);
	return status;
}

static int shell_of_inputs(const struct shell_options *o, const struct shell *s, char *const *command)
{
	struct vine *v;
	struct vine_task *t = NULL;
	_cleanup_(binds_fini) struct binds binds = {0};
	int absent = embed_start(&shell_table);
	if (absent)
		return absent;
	if (vine_open(&v, NULL, NULL) < 0)
		return tool_fail(&shell_table, "%s", vine_error());
	int status = make_task(o, v, &binds, &t);
	if (!status)
		status = shell_of_task_of(s, v, t, command);
	vine_task_free(t);
	vine_close(v, 0);
	return status;
}

int cmd_shell(int argc, char **argv)
{
	static const char *const places[] = {"vine-shell", "../libexec/vine/vine-shell", "../vinefs/vine-shell",
					     LIBEXECDIR "/vine-shell", NULL};
	struct shell_options o = {0};
	_cleanup_(node_freep) struct node *n = NULL;
	int status, n_words = tool_words(&shell_table, &o, argc, argv, &status);
	if (n_words >= 0) {
		/* Its directory is known also of one that does not run. */
		node_open(&n, false);
		_free_ char *program = node_program("VINE_SHELL_PROGRAM", places);
		_free_ char *state = xstrdup(node_directory(n));
		const struct shell s = {.program = program, .state = state};
		if (!program)
			status = tool_fail(&shell_table, "vine-shell is not found: set VINE_SHELL_PROGRAM to its path");
		else if (o.input.n)
			status = shell_of_inputs(&o, &s, argv + 1);
		else if (!n_words)
			status = tool_fail(&shell_table, "of which task? Try: vine shell 17, or vine shell -i DIR");
		else
			status = shell_of_task(&s, argv[1], argv + 2);
	}
	conf_fini(&shell_table, &o);
	return status;
}
