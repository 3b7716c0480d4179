/* SPDX-License-Identifier: Apache-2.0
 * vine umount: ends a mount, or says who holds it. */
#include "common/path.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONF_STRUCT umount_options
#define CONF_FILE "tools/umount.def"
#include "common/conf_struct.h"
#define CONF_STRUCT umount_options
#define CONF_FILE "tools/umount.def"
#include "common/conf_table.h"

const struct conf_table umount_table = {
	.program = "vine umount",
	.summary = "unmount a tree, or say who uses it",
	.usage = "DIR ...",
	.at = umount_options_table,
	.n = countof(umount_options_table),
};

static int run(const char *program, const char *directory, bool is_forced)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		execl(program, "vine-mount", "detach", directory, is_forced ? "force" : NULL, (char *)NULL);
		dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
		_exit(EXIT_VINE_FAILED);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return tool_fail(&umount_table, "%s did not end as it should", program);
	return WEXITSTATUS(status);
}

int cmd_umount(int argc, char **argv)
{
	struct umount_options o = {0};
	int status = 0, n = tool_words(&umount_table, &o, argc, argv, &status);
	_free_ char *found = mount_program();
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *program = found ? path_join(here ?: "/", found) : NULL;
	/* We are no holders, wherever we were started. */
	if (here && chdir("/") < 0)
		status = tool_fail(&umount_table, "/: %s", strerror(errno));
	if (n == 0)
		status = tool_fail(&umount_table, "which directory? `vine mount` lists the mounts");
	else if (n > 0 && !program)
		status = tool_fail(&umount_table, "vine-mount is not found: set VINE_MOUNT to its path");
	struct json j = {0};
	json_begin(&j, NULL, '[');
	for (int i = 1; i <= n && program; i++) {
		fflush(stdout);
		_free_ char *directory = *argv[i] ? path_join(here ?: "/", argv[i]) : xstrdup("");
		int r = run(program, directory, o.force);
		if (r == 1)
			fprintf(stderr,
				"vine umount: %s is in use, by the processes above; `vine umount -f %s` takes it from "
				"them\n",
				argv[i], argv[i]);
		if (r == 0)
			json_text(&j, NULL, directory);
		status = status ? status : r;
	}
	json_end(&j, ']');
	if (o.json && n > 0)
		json_print(&j);
	else
		buf_fini(&j.out);
	conf_fini(&umount_table, &o);
	return status;
}
