/* SPDX-License-Identifier: Apache-2.0
 * The one table of commands, and what they share. */
#include "common/log.h"
#include "common/service.h"
#include "tools/cmd.h"

#include <stdarg.h>

const struct command commands[] = {
	{"run", cmd_run, &run_table,
	 "Runs COMMAND on a node with enough room, in a private directory there, with your environment. Its standard "
	 "output and "
	 "error come back as they were written, at its end. The exit status is its own; 128 and the signal's number if "
	 "a signal "
	 "ended it; 125 if Vine failed, 126 if COMMAND cannot be executed, 127 if it is not found. Ctrl-C cancels it; "
	 "a second one "
	 "does not wait for that."},
	{"status", cmd_status, &status_table, "Shows the cluster, its nodes, and how many tasks are in which state."},
	{"logs", cmd_logs, &logs_table,
	 "Prints what a task has written, its standard output to standard output and its standard error to standard "
	 "error, "
	 "while its node keeps them."},
	{"doctor", cmd_doctor, &doctor_table,
	 "Tries what this machine lets Vine do and prints a line for each: whether it is there, what lacking it costs "
	 "and how to "
	 "get it; then the tier a node here would have. Needs no cluster."},
	{"help", cmd_help, &help_table, "Without WORD, lists the commands; with it, explains that command."},
	{"version", cmd_version, &version_table, "Prints the versions of the command and of the protocol it speaks."},
};
const size_t n_commands = countof(commands);

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	char raw[1200], text[1200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(raw, sizeof raw, fmt, args);
	va_end(args);
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", t ? t->program : "vine", log_escape(raw, strlen(raw), text, sizeof text));
	return EXIT_VINE_FAILED;
}

int tool_end(const struct conf_table *t, int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return errno == EPIPE ? status : tool_fail(t, "write to standard output: %s", strerror(errno));
}

int tool_options(const struct conf_table *t, void *into, int argc, char **argv, int *status)
{
	struct conf_error e;
	assert(t && into);
	assert(argc >= 1);
	conf_preset(t, into);
	int first = conf_read_args(t, into, argc, argv, &e);
	if (first >= 0)
		return first;
	if (first != -ENOTSUP)
		*status = tool_fail(t, "%s", e.text);
	else if (streq(e.text, "version"))
		*status = cmd_version(1, argv);
	else if (streq(e.text, "man"))
		*status = cmd_help(2, (char *[]){argv[0], "--man", NULL});
	else
		*status = cmd_help(2, (char *[]){"help", argv[0], NULL});
	return -1;
}

/* Letters to change, insert, remove or exchange to make b of a; both short. */
static size_t distance(const char *a, const char *b)
{
	enum { MOST = 24 };
	size_t n = strlen(a), m = strlen(b), d[MOST + 1][MOST + 1];
	if (n > MOST || m > MOST)
		return MOST;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			size_t gap = min(d[i - 1][j], d[i][j - 1]) + 1;
			d[i][j] = min(gap, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[n][m];
}

const struct command *command_find(const char *name, const char **nearest)
{
	size_t least = 3; /* farther away is another word */
	*nearest = NULL;
	for (size_t i = 0; i < n_commands; i++) {
		if (streq(commands[i].name, name))
			return &commands[i];
		size_t d = distance(name, commands[i].name);
		if (d < least) {
			least = d;
			*nearest = commands[i].name;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *nearest, *name = argc > 1 ? argv[1] : "help";
	service_harden();
	log_init("vine", LOG_LEVEL_ERROR, 2, true);
	if (streq(name, "--help") || streq(name, "-h"))
		name = "help";
	if (streq(name, "--version"))
		name = "version";
	const struct command *c = command_find(name, &nearest);
	if (!c && nearest)
		return tool_fail(NULL, "there is no command '%s'; did you mean '%s'?", name, nearest);
	if (!c)
		return tool_fail(NULL, "there is no command '%s'; 'vine help' lists them", name);
	if (argc < 2)
		return cmd_help(1, (char *[]){"help", NULL});
	assert(c->run && c->options && c->about);
	argv[1] = (char *)c->name;
	return c->run(argc - 1, argv + 1);
}
