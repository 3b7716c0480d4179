/* SPDX-License-Identifier: Apache-2.0
 * vine logs: what a task has written. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"

enum { LOGS_OUT, LOGS_ERR, LOGS_BOTH };
static const char *const logs_only_words[] = {"out", "err", "both", NULL};

#define CONF_STRUCT logs_options
#define CONF_FILE "tools/logs.def"
#include "common/conf_struct.h"
#define CONF_STRUCT logs_options
#define CONF_FILE "tools/logs.def"
#include "common/conf_table.h"

const struct conf_table logs_table = {
	.program = "vine logs",
	.summary = "print what a task has written",
	.usage = "TASK",
	.at = logs_options_table,
	.n = countof(logs_options_table),
};

static int print_logs(const struct logs_options *o, uint64_t task)
{
	struct vine *v;
	int64_t r = 0;
	if (vine_open(&v, NULL, NULL) < 0)
		return tool_fail(&logs_table, "%s", vine_error());
	for (int which = 1; which <= 2 && r >= 0; which++) {
		if (o->only == (which == 1 ? LOGS_ERR : LOGS_OUT))
			continue;
		r = vine_output(v, task, which, (uint64_t)o->offset, which);
	}
	/* A reader who went away has seen enough. */
	int status = r < 0 && r != -EPIPE ? tool_fail(&logs_table, "%s", vine_error()) : 0;
	vine_close(v, 1);
	return status;
}

int cmd_logs(int argc, char **argv)
{
	struct logs_options o = {0};
	int status, first = tool_options(&logs_table, &o, argc, argv, &status);
	if (first >= 0 && argc - first != 1) {
		status = tool_fail(&logs_table, "which task? Try: vine logs 17");
	} else if (first >= 0) {
		char *end;
		errno = 0;
		uint64_t task = strtoull(argv[first], &end, 10);
		if (errno || *end || !task || argv[first][0] < '0' || argv[first][0] > '9')
			status = tool_fail(&logs_table, "'%s' is not a task's number", argv[first]);
		else
			status = print_logs(&o, task);
	}
	conf_fini(&logs_table, &o);
	return status;
}
