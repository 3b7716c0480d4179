/* SPDX-License-Identifier: Apache-2.0
 * vine mount: a tree appears on a directory. */
#include "common/log.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONF_STRUCT mount_options
#define CONF_FILE "tools/mount.def"
#include "common/conf_struct.h"
#define CONF_STRUCT mount_options
#define CONF_FILE "tools/mount.def"
#include "common/conf_table.h"

#define STATE_ROOM 60 /* for people, with the NUL */

const struct conf_table mount_table = {
	.program = "vine mount",
	.summary = "mount a tree, or a path sealed first, on a directory, a single file on a file; for all, or for one "
		   "command",
	.usage = "[PATH|TREE DIR [-- COMMAND [ARG ...]]]",
	.at = mount_options_table,
	.n = countof(mount_options_table),
};

char *mount_program(void)
{
	static const char *const places[] = {"vine-mount", "../libexec/vine/vine-mount", "../vinefs/vine-mount",
					     LIBEXECDIR "/vine-mount", NULL};
	return node_program("VINE_MOUNT", places);
}

/* ---- listing */

static void print_json(const struct wire_mounted_list *m)
{
	struct json j = {0};
	char id[DIGEST_TEXT_SIZE];
	json_begin(&j, NULL, '[');
	for (uint32_t i = 0; i < m->mounts.n; i++) {
		const struct wire_mounted *at = &m->mounts.at[i];
		json_begin(&j, NULL, '{');
		json_text(&j, "directory", at->directory);
		json_text(&j, "tree", digest_text(&at->tree, id));
		json_text(&j, "name", at->name);
		json_number(&j, "since_usec", (int64_t)at->since_usec);
		json_number(&j, "requests", (int64_t)at->n_requests);
		json_number(&j, "read_size", (int64_t)at->read_size);
		json_number(&j, "waiting", (int64_t)at->n_waiting);
		json_bool(&j, "private", at->is_private);
		json_bool(&j, "draft", at->is_draft);
		if (at->is_draft) {
			json_text(&j, "reason", at->reason);
			json_number(&j, "draft_size", (int64_t)at->draft_size);
			json_number(&j, "draft_total", (int64_t)at->draft_total);
		}
		json_end(&j, '}');
	}
	json_end(&j, ']');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

/* In a column's width; a reason of more is whole in --json. */
static void print_state(char text[STATE_ROOM], const struct wire_mounted *m)
{
	const char *private = m->is_private ? "private" : "";
	const char *comma = m->is_private ? ", " : "";
	unsigned percent = m->draft_total ? (unsigned)((double)m->draft_size * 100 / (double)m->draft_total) : 0;
	int n = 0;
	if (m->is_draft && !*m->reason)
		snprintf(text, STATE_ROOM, "%s%sdraft, %u %%", private, comma, min(percent, 99u));
	else if (m->is_draft)
		n = snprintf(text, STATE_ROOM, "%s%sdraft: %s", private, comma, m->reason);
	else
		snprintf(text, STATE_ROOM, "%s", m->is_private ? private : "sealed");
	if (n >= STATE_ROOM)
		snprintf(text + STATE_ROOM - 4, 4, "...");
}

static void print_table(const struct wire_mounted_list *m)
{
	static const char *const names[] = {"directory", "what", "tree", "state", "since", "read", "waiting"};
	struct table t = {0};
	for (uint32_t i = 0; i < m->mounts.n; i++) {
		const struct wire_mounted *at = &m->mounts.at[i];
		char id[DIGEST_TEXT_SIZE], state[STATE_ROOM], since[32], read[32], waiting[24];
		digest_text(&at->tree, id)[12] = 0;
		print_state(state, at);
		print_age(since, at->since_usec);
		print_size(read, at->read_size);
		snprintf(waiting, sizeof waiting, "%llu", (unsigned long long)at->n_waiting);
		table_add(&t, countof(names), names,
			  (const char *const[]){at->directory, at->name, id, state, since, read, waiting});
	}
	if (t.n_rows)
		table_print(&t, stdout);
	table_fini(&t);
}

static int list(const struct mount_options *o)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ void *reply = NULL;
	static const struct wire_mount_list m;
	const struct node_ask ask = {.type = WIRE_MOUNT_LIST, .message = &m, .answer = WIRE_MOUNTED_LIST};
	int r = node_open(&n, false);
	/* Without a node there is no mount. */
	if (r == -ENOENT && !getenv("VINE_NODE")) {
		if (o->json)
			puts("[]");
		return tool_end(&mount_table, 0);
	}
	if (r || node_ask(n, &ask, &reply))
		return tool_fail(&mount_table, "%s", node_error(n));
	o->json ? print_json(reply) : print_table(reply);
	return tool_end(&mount_table, 0);
}

/* ---- mounting */

/* What stands in fstab lines and means nothing here, or is so anyway. */
static bool is_ignored(const char *option)
{
	static const char *const words[] = {"ro",     "rw",    "dev",     "suid",     "exec",
					    "nosuid", "nodev", "noatime", "defaults", "auto",
					    "noauto", "user",  "nofail",  "_netdev",  "default_permissions",
					    NULL};
	for (size_t i = 0; words[i]; i++)
		if (streq(words[i], option))
			return true;
	return !*option || has_prefix(option, "x-");
}

static void let_all_signals_in(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* SIGINT and SIGTERM, which are blocked here by now, end the program: what it has begun it takes back. Its exit status. */
static int run(const char *program, char *const argv[])
{
	int status = -1, signo = 0;
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGCHLD);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	pid_t pid = fork(), ended = pid;
	if (pid == 0) {
		let_all_signals_in();
		execv(program, argv);
		dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
		_exit(EXIT_VINE_FAILED);
	}
	while (pid > 0 && (ended = waitpid(pid, &status, WNOHANG)) == 0) {
		signo = sigwaitinfo(&wanted, NULL);
		if (signo == SIGINT || signo == SIGTERM)
			kill(pid, signo);
	}
	if (ended < 0)
		return tool_fail(&mount_table, "%s: %s", program, strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : tool_fail(&mount_table, "%s was ended: %s", program, strsignal(WTERMSIG(status)));
}

/* It goes on as the command: the terminal, signals and the exit status are that one's. */
static int become(const char *program, char *const argv[])
{
	let_all_signals_in();
	execv(program, argv);
	return tool_fail(&mount_table, "%s: %s", program, strerror(errno));
}

static int attach(const struct mount_options *o, const struct node *n, const struct digest *tree, uint64_t draft,
		  char *const *words)
{
	enum { WORDS_BEFORE = 6, WORDS_OWN = 5 };
	char no_bind[] = "no-bind", no_warm[] = "no-warm", given[] = "-o", end[] = "--";
	char id[DIGEST_TEXT_SIZE];
	_free_ char *program = mount_program();
	_free_ char *socket = xasprintf("%s/mount.sock", node_directory(n));
	_free_ char *options = xstrdup(o->options);
	_free_ char *name = xstrndup(words[0], 255);
	_free_ char *number = xasprintf("draft=%" PRIu64, draft);
	size_t at = 0, n_words = 0;
	while (words[n_words])
		n_words++;
	assert(n_words >= 2);
	_free_ char **argv = xcalloc(WORDS_BEFORE + WORDS_OWN + strlen(options) * 2 + n_words, sizeof *argv);
	char *const before[WORDS_BEFORE] = {
		(char[]){"vine-mount"}, (char[]){"attach"}, socket, digest_text(tree, id), name, words[1]};
	for (; at < WORDS_BEFORE; at++)
		argv[at] = before[at];
	if (!program)
		return tool_fail(&mount_table, "vine-mount is not found: set VINE_MOUNT to its path");
	for (char *save = NULL, *word = strtok_r(options, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (!is_ignored(word)) {
			argv[at++] = given;
			argv[at++] = word;
		}
	if (draft)
		argv[at++] = number;
	if (!o->bind)
		argv[at++] = no_bind;
	if (!o->warm)
		argv[at++] = no_warm;
	if (!words[2])
		return run(program, argv);
	argv[at++] = end;
	memcpy(argv + at, words + 2, (n_words - 2) * sizeof *argv);
	return become(program, argv);
}

/* A path is sealed, if need be while it is mounted already as a draft. 0 or the exit status. */
static int find_path(const struct mount_options *o, struct node *n, const char *what, bool is_directory,
		     struct digest *tree, uint64_t *draft)
{
	_free_ struct wire_sealed *sealed = NULL;
	int status = is_directory && !o->sealed ? seal_draft(&mount_table, n, what, o->refresh, o->quiet, &sealed)
						: seal_path(&mount_table, n, what, "", o->refresh, o->quiet, &sealed);
	if (!status) {
		*tree = sealed->tree;
		*draft = sealed->draft;
	}
	return status;
}

/* The tree that a word means: what is no path must be known. `st` is of the path, NULL: nothing is there. 0 or the exit status. */
static int find(const struct mount_options *o, struct node *n, const char *what, const struct stat *st,
		struct digest *tree, uint64_t *draft)
{
	if (st || strchr(what, '/') == what || has_prefix(what, "./") || has_prefix(what, "../")) {
		if (st && !S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))
			return tool_fail(&mount_table, "%s is neither a directory nor a file", what);
		return find_path(o, n, what, st && S_ISDIR(st->st_mode), tree, draft);
	}
	const struct wire_cache_list m = {.tree = what};
	_free_ void *reply = NULL;
	if (node_ask(n, &(struct node_ask){.type = WIRE_CACHE_LIST, .message = &m, .answer = WIRE_CACHED}, &reply))
		return tool_fail(&mount_table, "%s", node_error(n));
	const struct wire_cached *cached = reply;
	if (!cached->trees.n)
		return tool_fail(&mount_table, "%s: no such tree is here", what);
	*tree = cached->trees.at[0].tree;
	return 0;
}

/* 0 or the exit status. A dead mount of ours is taken away by the helper; it lies on nothing that was refused. */
static int check_place(const char *directory, const struct node *n, bool is_private)
{
	char at[PATH_MAX], state[PATH_MAX];
	struct stat st;
	if (!*directory)
		return tool_fail(&mount_table, "the directory to mount on is empty; name one that exists");
	if (stat(directory, &st) < 0)
		return errno == ENOTCONN ? 0
					 : tool_fail(&mount_table, "%s: %s; make it first: mkdir -p %s", directory,
						     strerror(errno), directory);
	if (!realpath(directory, at))
		return tool_fail(&mount_table, "%s: %s", directory, strerror(errno));
	if (streq(at, "/"))
		return tool_fail(&mount_table,
				 "nothing can be mounted on /, for whoever runs already would not see it; "
				 "choose a directory below it");
	size_t length = strlen(at);
	if (n && !is_private && realpath(node_directory(n), state) && strncmp(state, at, length) == 0 &&
	    (state[length] == '/' || !state[length]))
		return tool_fail(&mount_table,
				 "%s contains this node's state (%s), which a mount would hide: mount "
				 "elsewhere, or for one command: vine mount WHAT DIR -- COMMAND",
				 directory, state);
	return 0;
}

/* One that is missing is made, but not the one it lies in, for a mistyped path shall make no tree of directories. True: it is to be removed if nothing
 * comes of it. One for a command alone would be left over. */
static bool make_place(char *const *words)
{
	struct stat st;
	return *words[0] && *words[1] && !words[2] && stat(words[1], &st) < 0 && errno == ENOENT &&
	       mkdir(words[1], 0777) == 0;
}

/* words: what, where, and the command, if there is one. */
static int mount_there(const struct mount_options *o, char *const *words)
{
	const char *what = words[0], *directory = words[1];
	_cleanup_(node_freep) struct node *n = NULL;
	struct digest tree;
	uint64_t draft = 0;
	struct stat st;
	if (!*what)
		return tool_fail(&mount_table, "what to mount is empty; name a path, a tree's id or its name");
	/* Whatever asks a filesystem, which may not answer, comes before signals are only noted. */
	bool is_here = stat(what, &st) == 0;
	int status = check_place(directory, NULL, words[2] != NULL);
	if (status)
		return status;
	if (node_open(&n, true))
		return tool_fail(&mount_table, "%s", node_error(n));
	status = check_place(directory, n, words[2] != NULL);
	if (status)
		return status;
	if (node_catch_signals(n))
		return tool_fail(&mount_table, "%s", node_error(n));
	status = find(o, n, what, is_here ? &st : NULL, &tree, &draft);
	return status ? status : attach(o, n, &tree, draft, words);
}

static int mount_it(const struct mount_options *o, char *const *words)
{
	bool is_made = make_place(words);
	int status = mount_there(o, words);
	if (status && is_made)
		rmdir(words[1]);
	return status;
}

/* Where the command begins, after "--"; argc: there is none. */
static int command_at(int argc, char **argv)
{
	int at = 1;
	while (at < argc && !streq(argv[at], "--"))
		at++;
	return at < argc ? at + 1 : argc;
}

int cmd_mount(int argc, char **argv)
{
	struct mount_options o = {0};
	int command = command_at(argc, argv), n_command = argc - command;
	bool is_private = command < argc || (argc > 1 && streq(argv[argc - 1], "--"));
	int status, n = tool_words(&mount_table, &o, is_private ? command - 1 : argc, argv, &status);
	if (n == 0 && !is_private)
		status = list(&o);
	else if (n >= 0 && n != 2)
		status = tool_fail(&mount_table,
				   "what, and on which directory? Try: vine mount /data/env /mnt/env [-- COMMAND]");
	else if (n == 2 && is_private && !n_command)
		status = tool_fail(&mount_table, "which command, after --?");
	else if (n == 2) {
		/* In place: what, where and the command follow each other. */
		if (is_private)
			memmove(argv + 3, argv + command, (size_t)(n_command + 1) * sizeof *argv);
		status = mount_it(&o, argv + 1);
	}
	conf_fini(&mount_table, &o);
	return status;
}
