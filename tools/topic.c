/* SPDX-License-Identifier: Apache-2.0
 * The topics, as tables: what is said here is said nowhere else. */
#include "tools/topic.h"

#include "tools/job.h"

static const struct topic_item selectors[] = {
	{"17", "the task of that number"},
	{"RUN", "all tasks of the run of that name; submit prints it, --name gives it"},
	{"RUN/17", "of the run the task for 17: an index of --array, a line of --each, else a task's number"},
	{"RUN/NAME", "of a job file the section [task NAME]; RUN/NAME.17 one of its array"},
	{"RUN/1-9", "those for 1 to 9, as far as there are any"},
	{"RUN@failed",
	 "those of the run in that state: failed, running, waiting, done, cancelled; queued and held are the two "
	 "kinds of waiting"},
	{"@failed", "the same of all runs"},
	{"tag:WORD", "those that --tag WORD names; RUN@tag:WORD of one run"},
};

static const struct topic_item job_files[] = {
	{"NAME = VALUE",
	 "an option of vine submit by its long name: cores = 2, mem = 2G, array = 1-100, input = a.txt; "
	 "what may be given several times is a line each; a switch is yes or no"},
	{"command = WORDS", "what is run, with quotes as in sh, but no variables and patterns of sh's"},
	{"wrap = TEXT", "what is run by sh -c"},
	{"[task NAME]", "begins a task, or with array or each several; what stands before the first one is for all"},
	{"$word = value", "sets a variable: ${word} in later lines is its value; other ${...} are left for sh"},
	{"# text",
	 "a comment, also behind a value and a blank; a value with a # or blanks at its ends stands in \"...\""},
	{"{i}, {}", "the number and the line of --array and --each, in commands, files, variables and tags"},
	{"#VINE OPTION ...", "in a script, in its first lines of comments: options as on the command line"},
};

static const struct topic_item statuses[] = {
	{"0", "success; of run, shell, and mount with a command: the command's. A program's own status otherwise"},
	{"1", "of run and wait: it ended well, but an output that it declared is missing; of tree diff and tree check: "
	      "they differ; of umount: it is in use; of --dry-run: a file is missing"},
	{"124", "a time is over: --wall-time of run, --timeout of wait"},
	{"125",
	 "Vine failed, or was called wrongly: one line on standard error says what and why; of run and wait also "
	 "what was cancelled"},
	{"126", "of run, shell, and mount with a command: the command cannot be executed"},
	{"127", "of these: the command is not found"},
	{"128+N", "of these: signal N ended the command; of all: Ctrl-C did (130)"},
};

static const struct topic_item environment[] = {
	{"VINE", "the cluster: a NAME (its directory is ~/.local/state/vine/NAME), the /path of such a directory, or "
		 "HOST:PORT of its vined; default: the cluster named default"},
	{"VINE_SECRET", "with HOST:PORT: the file that holds the cluster's secret; default: the default cluster's"},
	{"VINE_NODE", "the directory of this machine's node that seal, tree, cache, mount and node speak to"},
	{"XDG_STATE_HOME", "where clusters and nodes of yours lie, in vine/; default ~/.local/state"},
	{"NO_COLOR", "if it is not empty, no colours are printed; they are only on a terminal anyway"},
};

static const struct topic_item files[] = {
	{"~/.local/state/vine/default", "the cluster that commands start: its database, secret, socket and log"},
	{"~/.local/state/vine/node", "this machine's node: its cache, its sockets and its log"},
	{"~/.local/state/vine/NAME/n1", "of vine up --nodes N: the nodes beside it"},
	{"~/.local/state/vine/join-HOST-PORT", "the node that vine join started for another's cluster"},
	{"/var/tmp/vine-UID", "where these lie if your home is on a network filesystem, or its path too long"},
};

static const struct topic_item json[] = {
	{"--json",
	 "of every command that prints what a program may want: one object on standard output. Names of "
	 "fields stay, others may be added; sizes are bytes, what ends in _usec microseconds, in _sec seconds; "
	 "what comes from rows of vined's is text"},
	{"run",
	 "task, run, node, attempts, how, status, exceeded, reason, wall_usec, cpu_usec, peak_memory, local_size, "
	 "moved_size (of it: peer_size, source_size, client_size), exit (the command's own), out, err: also of a task that failed"},
	{"submit",
	 "run, tasks; with --dry-run: run, parts (name, tasks, command, inputs, outputs, size_sent, size_sealed, "
	 "size_here, sizes_are_all, cluster, nodes), missing; run --dry-run the same of one part"},
	{"wait", "status, waited (selector, done, failed, cancelled, running, waiting, held)"},
	{"logs", "an array of task, run, out, err"},
	{"cancel", "cancelled (selector, tasks)"},
	{"fetch", "fetched (item, tree, path)"},
	{"forget", "forgotten"},
	{"inputs", "task, inputs, outputs: words of -i and -o"},
	{"up, down, join", "cluster or address, state; of up nodes and started, of down ended"},
	{"umount", "an array of the directories that it unmounted"},
	{"seal", "tree, path, name, names, size, read, usec, notes"},
	{"errors", "are a line on standard error, with --json as without it; standard output is then empty. The exit "
		   "status tells that there was one"},
};

#define ROWS(items) items, countof(items), NULL
const struct topic topics[] = {
	{"selectors", "SELECTORS",
	 "How tasks are named to status, wait, why, logs, cancel, inputs, shell, fetch and forget. Where one task is "
	 "wanted the selector must mean one.",
	 ROWS(selectors)},
	{"job-files", "JOB FILES",
	 "vine submit FILE.vine, or --job FILE, reads what is to be run from a file; --save FILE writes what was typed "
	 "as one. Paths in it are relative to where vine is called.",
	 ROWS(job_files)},
	{"exit", "EXIT STATUS", "The same for every command.", ROWS(statuses)},
	{"environment", "ENVIRONMENT", "What the command reads from its environment.", ROWS(environment)},
	{"files", "FILES", "All of them below $XDG_STATE_HOME/vine, if that is set.", ROWS(files)},
	{"json", "JSON", "For programs.", ROWS(json)},
	{"sbatch", "FROM SBATCH",
	 "Options of sbatch, srun and qsub that run and submit understand, beside those of the same name (-a -c -J -t "
	 "--array --chdir --gpus --mem --wrap), and what there is instead of others. #VINE lines are what #SBATCH "
	 "lines "
	 "are. -t and --wall-time take 1:30:00 and 2-12 as well as 90m; a bare number means seconds.",
	 NULL, 0, job_foreign},
};
const size_t n_topics = countof(topics);
