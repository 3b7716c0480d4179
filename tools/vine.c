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
	 "ended it; 1 if it ended well but an output that it declared is missing, 124 if --wall-time ended it, 125 if "
	 "Vine failed, 126 if COMMAND "
	 "cannot be executed, 127 if it is not found. Ctrl-C cancels it; a second one does not wait for that. "
	 "-i FROM is a path, which the task sees at TO, else where it lies; a relative one lies below the task's "
	 "directory. It may read it only; with :rw it "
	 "gets a copy of its own. FROM may be client:PATH, which is sent from here, node:/PATH, which only nodes have, "
	 "tree:NAME or temp:NAME. A path "
	 "without such a word is taken as shared by all nodes, but see --send. -o FROM is what the task leaves, and is "
	 "brought here when it has ended well: to TO, which must not be a directory with something in it; TO/ puts it "
	 "into that directory. With TO "
	 "temp:NAME it stays in the cluster, for other tasks of the run and `vine fetch`, until `vine forget`; with "
	 "keep:/PATH its node puts it there, "
	 "once and all at once. "
	 "Words of COMMAND that name files below your directory are inputs, too (--no-files: they are not; --dry-run "
	 "shows "
	 "them); absolute ones are the node's. "
	 "A last :optional says that it may be missing, :always that it is wanted of a failure, too, :failed of a "
	 "failure alone, :pattern that FROM is "
	 "one, what it matches becomes the directory TO. A colon in a name is written \\:, as in a\\:b."},
	{"submit", cmd_submit, &submit_table,
	 "Hands tasks to the cluster, prints the run's name and comes back: the run goes on without this command, "
	 "until it is "
	 "over or cancelled. COMMAND and its options are those of `vine run`. With --array or --each there is a task "
	 "for each "
	 "number or line; RUN/17 names the 17th in other commands. What a task leaves (-o) its node puts where it "
	 "belongs if "
	 "nodes see that directory; else it stays in the cluster as temp:NAME for `vine fetch`. "
	 "SCRIPT is a file that begins with #!: it is brought along, and its lines #VINE OPTION ... count as options. "
	 "A word "
	 "that ends in .vine is a job file: lines of NAME = VALUE with the long names of these options, for all tasks "
	 "what stands first, then a section [task NAME] for each. $WORD = VALUE is a variable, ${WORD} stands for it. "
	 "--dry-run says what would be submitted, what is missing, which nodes could take it now and what would move; "
	 "--save FILE writes what was typed as a job file. The exit status is 0 once all is recorded, 125 if not; of "
	 "--dry-run 1 if a file is missing."},
	{"wait", cmd_wait, &wait_table,
	 "Waits until a RUN, or the TASK, is over: 17, RUN, RUN/17, RUN/1-9, RUN@running. The exit status is the "
	 "largest "
	 "of its tasks', each as `vine run` would end: 0 if all ended well, 125 also of cancelled ones; 124 if "
	 "--timeout is over "
	 "first. Ctrl-C ends the waiting, not the tasks."},
	{"cancel", cmd_cancel, &cancel_table,
	 "Cancels what is not over: 17, RUN, RUN/17, RUN/1-9, RUN@waiting, RUN@running. What runs gets SIGTERM, and "
	 "SIGKILL "
	 "after its --grace."},
	{"fetch", cmd_fetch, &fetch_table,
	 "Brings what tasks left from the cluster: an ITEM, temp:NAME or file:/PATH as `vine run -o` named it, or "
	 "tree:ID, or all that "
	 "a TASK or RUN left, or what a selector means (RUN@done). PATH is where it shall be, or with a / at its end "
	 "the directory for it, "
	 "or - for standard output (a single file); default: its own name, here. Nothing appears before all of it has "
	 "come and been verified."},
	{"forget", cmd_forget, &forget_table,
	 "Lets the cluster drop what nobody will name again: temp:NAME that a task left (with -J the run whose it is), "
	 "or a RUN that is over, with all that is "
	 "known of its tasks."},
	{"inputs", cmd_inputs, &inputs_table,
	 "Prints what a TASK that ran with --record has read and written, as the words to declare it: -i FROM and -o "
	 "FROM for `vine run`, one a line. A "
	 "directory stands for files of it where the task listed it or read many. What systems have "
	 "anyway (/usr, /etc, /dev, ...) and what lies in the task's own directories is left out. With --job it is a "
	 "file for `vine run --job`."},
	{"status", cmd_status, &status_table,
	 "Shows the cluster, its nodes, its newest runs and how many tasks are in which state; of a RUN its tasks by "
	 "state, why they "
	 "wait, and what to type next. RUN@failed, RUN/17 or 17 lists these tasks."},
	{"report", cmd_report, &report_table,
	 "Writes what became of a RUN, or of all of the cluster, as one HTML file that needs nothing else, and prints "
	 "its "
	 "path: the timeline by node, what waited and why, where bytes came from, the slowest tasks, the largest "
	 "inputs, memory and disk asked for and used, and failures by what they have in common with the command to "
	 "type "
	 "next. RUN may be under way, or over and archived."},
	{"events", cmd_events, &events_table,
	 "Shows what happened, a line an event: time, event, task and run, node, item, text. Tasks are submitted, "
	 "started "
	 "and ended; node-joined, node-lost, attempt-lost, task-held, task-retried, fetch-failed tell what went wrong "
	 "on "
	 "the way. Without an option the latest 50; -f goes on as it happens until Ctrl-C, or, of a RUN or TASK, until "
	 "it "
	 "is over, and waits for a vined that is started again."},
	{"top", cmd_top, &top_table,
	 "Shows, again and again, what the cluster does: tasks by state and how many end a second, runs with what is "
	 "done and "
	 "how long the rest will take, why tasks wait, nodes, and what data lies where. With RUN it begins with that "
	 "run's "
	 "tasks. Keys: 1 to 5 or tab for another page, arrows or j and k to choose a row, enter to look closer (a "
	 "run's "
	 "tasks, why a task is as it is, what runs on a node, who has an item), q or escape to go back, / for rows "
	 "that have a "
	 "text, s for another order, p to stand still, + and - for how often it looks, ? for help. It asks for as much "
	 "as a "
	 "screen shows, and less often what takes long. Where it has no terminal, or with --once, it prints one "
	 "screen."},
	{"logs", cmd_logs, &logs_table,
	 "Prints what a task has written, its standard output to standard output and its standard error to standard "
	 "error, "
	 "while its node keeps them. Of several, as of RUN or RUN@failed, each under a line that names it. With -f it "
	 "goes on as the task writes, and ends with it."},
	{"seal", cmd_seal, &seal_table,
	 "Makes a tree of PATH: a directory, an archive (tar, compressed or not, or zip; never unpacked) or a file. "
	 "- is an archive, or a file, from standard input, which is kept only as long as the cache has it. Prints the "
	 "tree's id. "
	 "What has not "
	 "changed since it was sealed last is not read again. The bytes go into this node's cache; a vinefs is started "
	 "if none runs."},
	{"stage", cmd_stage, &stage_table,
	 "Brings TREE to the nodes named, or to all that are there and those that join, before any task asks for it. "
	 "TREE is "
	 "named as an input of `vine run -i`: a path, client:PATH, node:/PATH, tree:NAME, or with -J temp:NAME. It is "
	 "noted, and "
	 "goes on without this command and over restarts; with --wait this one shows how far it is until all nodes "
	 "have it. With --pin it stays there "
	 "until --over; else it may be evicted as anything that no task uses. "
	 "Without TREE, lists what is staged."},
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
	 "Mounts a tree on DIR, which is made if it is missing, read-only: every file in it is verified and comes from "
	 "this node's cache. A PATH that "
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
	 "drain NAME: the node of the cluster that is called so gets no more tasks, until resume NAME, also after a "
	 "restart; what only it has, and is "
	 "needed, is copied to others. With --wait it returns when nothing runs there any more and all is copied: then "
	 "the node can go. "
	 "This machine's vinefs: status says which process and version it is; upgrade has it replaced by the program "
	 "now "
	 "installed, while tasks run and mounts are read: readers wait for some milliseconds and see no error. A seal "
	 "or "
	 "an export that is under way ends with an error and is to be asked for again. If the new program does not "
	 "run, nothing changes."},
	{"why", cmd_why, &why_table,
	 "Says of a task (17, RUN/17, RUN@failed) why it waits, failed or ran where, with the last lines of its "
	 "standard "
	 "error and what to type next; of a RUN the same of what failed, else of what waits; of a NODE how it is. "
	 "Says of a path that was sealed or mounted, or of a tree, where its bytes would come from, what of it is "
	 "here, and why something is missing."},
	{"shell", cmd_shell, &shell_table,
	 "On the machine of its node: a shell in the view of TASK, with its inputs, its working directory and its "
	 "environment. One that runs is joined: what it has open and writes is seen, and the shell ends with it. Of "
	 "one "
	 "that is over, whose sandbox is kept (vinefs --keep-failed), the view is made again with what it has written. "
	 "With -i there is no task: the inputs are brought to a node, as of vine run, and stay until the shell ends. "
	 "With "
	 "COMMAND that is run instead of $SHELL, and its exit status is vine's."},
	{"up", cmd_up, &up_table,
	 "Starts a cluster of your own: vined and, on this machine, one node or N. It needs no administrator and "
	 "listens to nobody else unless --listen says so. It stays until "
	 "`vine down`; one that `vine run` has started by itself ends when it has been idle for 10 minutes, and `vine "
	 "up` keeps that one, too. What has crashed is started again by the next command."},
	{"down", cmd_down, &down_table,
	 "Ends a cluster that `vine up` or a command has started, its nodes first; what they cache and what tasks left "
	 "stays on disk. With HOST:PORT it ends what `vine join` has started."},
	{"join", cmd_join, &join_table,
	 "Starts a node of this machine for the cluster at HOST:PORT, which `vine up --listen HOST:PORT` made on "
	 "another one; or at what VINE says. The secret must have been copied from there, or comes on standard input. "
	 "In a Slurm job the node offers what the job has of this machine, until the job ends. Every setting of vinefs "
	 "can be given in the environment, as VINEFS_NAME."},
	{"doctor", cmd_doctor, &doctor_table,
	 "Tries what this machine lets Vine do and prints a line for each: whether it is there, what lacking it costs "
	 "and how to "
	 "get it; then the tier a node here would have. Needs no cluster."},
	{"completion", cmd_completion, &completion_table,
	 "Prints a script for bash or zsh, which completes commands, options, their words, runs, nodes, items and "
	 "trees; "
	 "what runs is asked, and nothing is started. It is installed where shells look for it; else: source <(vine "
	 "completion bash)."},
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

uint64_t tool_task(const char *word)
{
	char *end;
	errno = 0;
	uint64_t task = strtoull(word, &end, 10);
	return errno || *end || *word < '0' || *word > '9' ? 0 : task;
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
		*status = cmd_help(3, (char *[]){"help", "--man", argv[0], NULL});
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
size_t tool_distance(const char *a, const char *b)
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
		size_t d = tool_distance(name, commands[i].name);
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
