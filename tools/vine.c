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
	{"seal", cmd_seal, &seal_table,
	 "Makes a tree of PATH: a directory, an archive (tar, compressed or not, or zip; never unpacked) or a file. "
	 "Prints the tree's id. What has not "
	 "changed since it was sealed last is not read again. The bytes go into this node's cache; a vinefs is started "
	 "if none runs."},
	{"tree", cmd_tree, &tree_table,
	 "Looks into a tree: ls lists a directory of it, cat prints files, diff says how two trees differ (exit status "
	 "1 if they do), check "
	 "how DIR differs from it, export writes it into an empty or new DIR. A TREE is an id or the first 8 digits or "
	 "more of one, a name, or "
	 "a path that was sealed; a /PATH within the tree may follow."},
	{"cache", cmd_cache, &cache_table,
	 "This node's cache: ls lists its trees, last used first; du what they take, largest first; show all that is "
	 "known of one; pin keeps it from eviction, unpin does "
	 "no more; evict frees its bytes now (they come again from its source); limit sets or shows how much it may "
	 "hold; verify reads bytes and "
	 "compares them with their digests."},
	{"mount", cmd_mount, &mount_table,
	 "Mounts a tree on DIR, read-only: every file in it is verified and comes from this node's cache. A PATH that "
	 "is "
	 "a directory is there as soon as its names are known, as a draft, whose bytes come from the source until it "
	 "is sealed behind; what has not changed is "
	 "not read again. A file that changes before it was sealed gives ESTALE there, and is named by vine why; "
	 "--sealed waits until all is sealed. The mount shows what was sealed until it is unmounted, also after the "
	 "source has changed. With -- COMMAND it is mounted in a namespace of the command's own: nobody else sees it, "
	 "large complete files are bound from the cache, no root is needed, and it ends with the last process of the "
	 "command, whose exit status is vine's, with 125, 126 and 127 as of run. "
	 "Without words it lists the mounts."},
	{"umount", cmd_umount, &umount_table,
	 "Unmounts what `vine mount` mounted. If it is in use, says by whom, with exit status 1; with --force it "
	 "disappears at once, and who uses it "
	 "gets errors."},
	{"node", cmd_node, &node_table,
	 "This machine's vinefs: status says which process and version it is; upgrade has it replaced by the program "
	 "now "
	 "installed, while tasks run and mounts are read: readers wait for some milliseconds and see no error. A seal "
	 "or "
	 "an export that is under way ends with an error and is to be asked for again. If the new program does not "
	 "run, nothing changes."},
	{"why", cmd_why, &why_table,
	 "Says of a path that was sealed or mounted, or of a tree, where its bytes would come from, what of it is "
	 "here, and why something is missing."},
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
	char raw[6000], text[6000]; /* the reason stands behind a path of up to 4,096 bytes */
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

int tool_words(const struct conf_table *t, void *into, int argc, char **argv, int *status)
{
	int n = 0, at = tool_options(t, into, argc, argv, status);
	bool is_plain = at > 1 && streq(argv[at - 1], "--");
	while (at >= 0 && at < argc) {
		struct conf_error e;
		argv[1 + n++] = argv[at++];
		/* What it takes for the program's name is the word before. */
		int more = is_plain ? 1 : conf_read_args(t, into, argc - at + 1, argv + at - 1, &e);
		if (more < 0) {
			*status = more == -ENOTSUP ? cmd_help(2, (char *[]){"help", argv[0], NULL})
						   : tool_fail(t, "%s", e.text);
			return -1;
		}
		at += more - 1;
		is_plain = is_plain || (more > 1 && streq(argv[at - 1], "--"));
	}
	if (at >= 0)
		argv[1 + n] = NULL;
	return at < 0 ? -1 : n;
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
