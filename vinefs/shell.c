/* SPDX-License-Identifier: Apache-2.0
 * vine-shell find STATE TASK      vine-shell enter STATE ATTEMPT [COMMAND ...]
 *
 * For `vine shell`, on the machine of the node that has its state in STATE: find prints the last attempt of a task that is here and what it does ("17 running"), or exits with 1;
 * enter becomes a shell, or COMMAND, in the view of that attempt. One that runs is joined: its namespaces are those of its oldest process. For one that is over the
 * view is made again, from the steps in its sandbox, in the stem that the node gives by descriptor; what was written in it last is there. A program of its own, for
 * its process ends in other namespaces than it began in.
 *
 * Three processes, as of a task: this one stays outside and waits; the init of a PID namespace of its own, if there is one to be made; the
 * shell, which has the terminal. */
#include "vinefs/shell.h"

#include "common/log.h"
#include "common/net.h"
#include "common/path.h"
#include "common/service.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/run.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MSEC 10000
#define EXIT_NOT_HERE 1
#define EXIT_NOT_RUN 126
#define EXIT_NOT_FOUND 127
#define TEXT_MOST KEEPER_REQUEST_MAX

struct shell {
	const char *state;
	uint64_t attempt;
	char *sandbox;
	struct wire_start *start;
	struct run_view view; /* nothing in it: it had none */
	pid_t pid;            /* the oldest process of the attempt; 0: none runs */
	char **command;
	char **environment;
	const char *directory;
};

static int _printf_(1, 2) fail(const char *fmt, ...)
{
	char raw[5200], text[5200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(raw, sizeof raw, fmt, args);
	va_end(args);
	fprintf(stderr, "vine shell: %s\n", log_escape(raw, strlen(raw), text, sizeof text));
	return SERVICE_EXIT_FAILED;
}

/* ---- processes of an attempt */

/* A text of /proc, with a NUL behind; NULL: it may not be read. Yours to free. */
static char *read_proc(pid_t pid, const char *name, size_t *n)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path_read(path, TEXT_MOST, n);
}

static bool is_of(pid_t pid, const char *sandbox)
{
	size_t n = 0;
	_free_ char *text = read_proc(pid, "environ", &n);
	_free_ char *mark = xasprintf(KEEPER_MARK "%s", sandbox);
	for (const char *at = text; at && at < text + n; at += strlen(at) + 1)
		if (streq(at, mark))
			return true;
	return false;
}

static uint64_t start_ticks(pid_t pid)
{
	size_t n;
	_free_ char *text = read_proc(pid, "stat", &n);
	char *at = text ? strrchr(text, ')') : NULL;
	/* The second field may hold anything; the 22nd is ours. */
	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* The oldest, so that no namespace is entered that the task itself has made. 0: none runs. */
static pid_t find_process(const char *sandbox)
{
	uint64_t oldest = UINT64_MAX;
	pid_t found = 0;
	DIR *d = opendir("/proc");
	for (const struct dirent *e; d && (e = readdir(d));) {
		pid_t pid = atoi(e->d_name);
		uint64_t ticks = pid > 1 && is_of(pid, sandbox) ? start_ticks(pid) : 0;
		if (ticks && ticks < oldest) {
			oldest = ticks;
			found = pid;
		}
	}
	if (d)
		closedir(d);
	return found;
}

/* What began in the sandbox, to be freed; NULL: nothing. */
static struct wire_start *read_start(const char *sandbox)
{
	struct wire_arena arena = {0};
	struct wire_start m;
	size_t n;
	_free_ char *path = path_join(sandbox, "start");
	_free_ uint8_t *file = (uint8_t *)path_read(path, TEXT_MOST, &n);
	bool is_whole = file && n >= WIRE_HEAD_SIZE &&
			wire_decode(WIRE_START, file + WIRE_HEAD_SIZE, n - WIRE_HEAD_SIZE, &m, &arena) == 0;
	struct wire_start *start = is_whole ? wire_copy(WIRE_START, &m) : NULL;
	wire_arena_fini(&arena);
	return start;
}

static int find(const char *state, const char *word)
{
	_free_ char *all = path_join(state, "s");
	uint64_t task = strtoull(word, NULL, 10), last = 0;
	DIR *d = opendir(all);
	for (const struct dirent *e; d && (e = readdir(d));) {
		uint64_t attempt = strtoull(e->d_name, NULL, 10);
		_free_ char *sandbox = path_join(all, e->d_name);
		_free_ struct wire_start *start = attempt > last ? read_start(sandbox) : NULL;
		if (start && start->task == task)
			last = attempt;
	}
	if (d)
		closedir(d);
	if (!last)
		return EXIT_NOT_HERE;
	_free_ char *sandbox = xasprintf("%s/%" PRIu64, all, last);
	printf("%" PRIu64 " %s\n", last, find_process(sandbox) ? "running" : "ended");
	return fflush(stdout) ? SERVICE_EXIT_FAILED : 0;
}

/* ---- namespaces */

static bool is_ours(pid_t pid, const char *kind)
{
	struct stat ours, its;
	_free_ char *path = xasprintf("/proc/%d/ns/%s", pid, kind), *own = xasprintf("/proc/self/ns/%s", kind);
	return stat(own, &ours) == 0 && stat(path, &its) == 0 && ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

/* What of it is not ours already; the user namespace first, for it gives the right to the others. */
static int join(pid_t pid)
{
	static const struct {
		const char *name;
		int flag;
	} kinds[] = {{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"ipc", CLONE_NEWIPC}, {"pid", CLONE_NEWPID}};
	int fds[countof(kinds)], r = 0;
	for (size_t i = 0; i < countof(kinds); i++) {
		_free_ char *path = xasprintf("/proc/%d/ns/%s", pid, kinds[i].name);
		fds[i] = is_ours(pid, kinds[i].name) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0 && !is_ours(pid, kinds[i].name) && !r)
			r = -errno;
	}
	for (size_t i = 0; i < countof(kinds); i++) {
		if (!r && fds[i] >= 0 && setns(fds[i], kinds[i].flag) < 0)
			r = -errno;
		close_fd(fds[i]);
	}
	return r ? fail("the namespaces of process %d cannot be entered: %s; has the task just ended?", pid,
			strerror(-r))
		 : 0;
}

/* The stem's namespaces, from the node. 0 and fds, or the exit status. */
static int ask_node(const char *state, int fds[2])
{
	_free_ char *path = path_join(state, SHELL_SOCKET);
	struct shell_answer a = {.magic = 0};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &a, .iov_len = sizeof a};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	struct net_address to;
	_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int r = net_parse(path, &to);
	if (!r && (fd < 0 || connect(fd, (struct sockaddr *)&to.at, to.n) < 0))
		r = -errno;
	if (r)
		return fail("%s: the node does not answer: %s; is it running?", path, strerror(-r));
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (poll(&p, 1, ANSWER_MSEC) != 1)
		return fail("%s: the node has not answered for %d s", path, ANSWER_MSEC / 1000);
	ssize_t n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC);
	if (n != (ssize_t)sizeof a || a.magic != SHELL_MAGIC)
		return fail("%s: vinefs and vine-shell are of different versions; restart the node", path);
	const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	if (!a.stem || !c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return fail("the node has no views now, so this one cannot be shown again; `vine doctor` says what is "
			    "missing");
	memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
	return 0;
}

/* An overlay of the kind that tasks get is mounted once with a work directory: another one takes its place. */
static int renew_work(const char *sandbox)
{
	_free_ char *all = path_join(sandbox, "o");
	DIR *d = opendir(all);
	int r = 0;
	for (const struct dirent *e; d && !r && (e = readdir(d));) {
		_free_ char *work = xasprintf("%s/%s/work", all, e->d_name);
		_free_ char *away = xasprintf("%s/%s/work.%d", all, e->d_name, getpid());
		if (*e->d_name == '.' || access(work, F_OK))
			continue;
		if (rename(work, away) || mkdir(work, 0700))
			r = -errno;
	}
	if (d)
		closedir(d);
	return r;
}

static unsigned steps_outside(const struct run_view *v)
{
	unsigned n = 0;
	while (n < v->n_steps && v->steps[n].op != VIEW_PROC)
		n++;
	return n;
}

static int do_steps(struct run_view *v, unsigned from, unsigned to)
{
	unsigned n_done;
	int r = view_do(v->steps + from, to - from, &n_done);
	if (!r)
		return 0;
	const struct view_step *s = &v->steps[from + n_done];
	const char *what = s->from && *s->from ? s->from : s->to ? s->to : "";
	return fail("the view cannot be made again: %s: %s%s", what, strerror(-r),
		    r == -ENOENT ? "; an input is not on this node any more, or the sandbox has been deleted" : "");
}

/* Up to what only the init can do. */
static int make_again(struct shell *s)
{
	int fds[2] = {-1, -1}, status = ask_node(s->state, fds);
	_close_ int mounts = fds[0];
	_close_ int users = fds[1];
	if (status)
		return status;
	int r = renew_work(s->sandbox);
	if (r)
		return fail("%s/o: %s", s->sandbox, strerror(-r));
	/* As root there is none, unless root may not mount. */
	bool has_user = ioctl(users, NS_GET_NSTYPE) == CLONE_NEWUSER;
	if ((has_user && setns(users, CLONE_NEWUSER) < 0) || setns(mounts, CLONE_NEWNS) < 0 ||
	    unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
		return fail("the node's namespaces cannot be entered: %s", strerror(errno));
	return do_steps(&s->view, 0, steps_outside(&s->view));
}

/* ---- the shell */

struct words {
	char **at; /* ends in NULL */
	size_t n;
};

static bool has_variable(char *const *all, const char *name)
{
	size_t n = strlen(name);
	for (; *all; all++)
		if (!strncmp(*all, name, n) && (*all)[n] == '=')
			return true;
	return false;
}

static void add_words(struct words *to, const char *const *from, size_t n)
{
	to->at = xrealloc(to->at, (to->n + n + 1) * sizeof *to->at);
	for (size_t i = 0; i < n; i++)
		to->at[to->n++] = xstrdup(from[i]);
	to->at[to->n] = NULL;
}

static void _printf_(2, 3) add_word(struct words *to, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) >= 0)
		add_words(to, (const char *const *)&text, 1);
	va_end(args);
	free(text);
}

/* Of one that left no list of what it had. */
static void guess_environment(const struct shell *s, struct words *to)
{
	_free_ char *root = path_join(s->sandbox, "root");
	add_words(to, s->start->environment.at, s->start->environment.n);
	add_word(to, "VINE_TASK=%" PRIu64, s->start->task);
	add_word(to, KEEPER_MARK "%s", s->sandbox);
	add_word(to, "TMPDIR=%s/tmp", s->sandbox);
	if (access(root, F_OK) == 0)
		add_word(to, "VINE_ROOT=%s", root);
}

/* What the task has, or had, and what the terminal is called. */
static char **make_environment(struct shell *s)
{
	static const char *const ours[] = {"TERM", "COLORTERM", "LANG", "LC_ALL"};
	struct words all = {0};
	size_t n = 0;
	_free_ char *text = s->pid ? read_proc(s->pid, "environ", &n) : NULL;
	for (const char *at = text; at && at < text + n; at += strlen(at) + 1)
		add_word(&all, "%s", at);
	if (!all.n)
		add_words(&all, s->view.environment, s->view.n_environment);
	if (!all.n)
		guess_environment(s, &all);
	for (size_t i = 0; i < countof(ours); i++)
		if (getenv(ours[i]) && !has_variable(all.at, ours[i]))
			add_word(&all, "%s=%s", ours[i], getenv(ours[i]));
	add_word(&all, "VINE_SHELL=%" PRIu64, s->attempt);
	return all.at;
}

/* The terminal is the shell's own until it ends. */
static void take_terminal(void)
{
	signal(SIGTTOU, SIG_IGN);
	if (isatty(STDIN_FILENO) && setpgid(0, 0) == 0)
		tcsetpgrp(STDIN_FILENO, getpgrp());
	signal(SIGTTOU, SIG_DFL);
}

static _Noreturn void become(const struct shell *s)
{
	static char sh[] = "/bin/sh";
	char *const plain[] = {sh, NULL};
	sigset_t none;
	take_terminal();
	for (int signo = 1; signo < _NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(s->view.block ? s->view.mask : 022);
	/* Root keeps what a user of this view could do, and mounts nothing in it. */
	if (geteuid() == 0)
		prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN);
	if (chdir(s->directory) && chdir("/"))
		_exit(fail("%s: %s", s->directory, strerror(errno)));
	char *wanted = getenv("SHELL");
	char *const shell[] = {wanted, NULL};
	environ = s->environment;
	if (!s->command && wanted && *wanted == '/')
		execv(wanted, shell);
	char *const *argv = s->command ? s->command : plain;
	execvp(argv[0], argv);
	int error = errno;
	fail("%s: %s", argv[0], strerror(error));
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reaps what comes until `pid` has ended. */
static int wait_for(pid_t pid)
{
	int status = 0;
	for (pid_t ended; (ended = waitpid(-1, &status, 0)) != pid;)
		if (ended < 0 && errno != EINTR)
			return 0;
	return status;
}

/* The init of a view that is made again. */
static _Noreturn void be_init(struct shell *s)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (do_steps(&s->view, steps_outside(&s->view), s->view.n_steps))
		_exit(SERVICE_EXIT_FAILED);
	pid_t pid = fork();
	if (pid == 0)
		become(s);
	_exit(pid < 0 ? fail("fork: %s", strerror(errno)) : exit_status(wait_for(pid)));
}

static int run(struct shell *s, bool is_joined)
{
	/* Ctrl-C and the like are the shell's. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	pid_t pid = fork();
	if (pid == 0 && is_joined) {
		prctl(PR_SET_PDEATHSIG, SIGHUP);
		become(s);
	}
	if (pid == 0)
		be_init(s);
	if (pid < 0)
		return fail("fork: %s", strerror(errno));
	int status = wait_for(pid);
	signal(SIGTTOU, SIG_IGN);
	if (isatty(STDIN_FILENO))
		tcsetpgrp(STDIN_FILENO, getpgrp());
	if (is_joined && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		fail("attempt %" PRIu64 " has ended, and with it all that ran in its view", s->attempt);
	return exit_status(status);
}

static int enter(struct shell *s)
{
	int status = 0;
	s->sandbox = xasprintf("%s/s/%" PRIu64, s->state, s->attempt);
	int r = run_read_view(s->sandbox, &s->view);
	s->start = read_start(s->sandbox);
	s->pid = find_process(s->sandbox);
	if ((r && r != -ENOENT) || !s->start)
		return fail("attempt %" PRIu64
			    " has left nothing here that a shell could show: %s; --keep-failed of vinefs says "
			    "how long sandboxes are kept",
			    s->attempt, r ? strerror(-r) : "it never began");
	_free_ char *cwd = path_join(s->sandbox, "cwd");
	_free_ char *directory = path_join(cwd, s->start->directory ? s->start->directory : "");
	s->directory = r ? directory : s->view.directory;
	s->environment = make_environment(s);
	bool is_made = !s->pid && s->view.flags & KEEPER_IN_VIEW;
	if (s->pid)
		status = join(s->pid);
	else if (is_made)
		status = make_again(s);
	if (!status && !is_made && !s->pid && access(s->directory, X_OK))
		return fail("%s: %s; it has been deleted", s->directory, strerror(errno));
	return status ? status : run(s, !is_made);
}

int main(int argc, char **argv)
{
	char state[PATH_MAX];
	log_init("vine shell", LOG_LEVEL_ERROR, STDERR_FILENO, true);
	if (argc < 4 || !realpath(argv[2], state))
		return fail("vine-shell: it is called by vine shell");
	if (streq(argv[1], "find"))
		return find(state, argv[3]);
	struct shell s = {
		.state = state, .attempt = strtoull(argv[3], NULL, 10), .command = argc > 4 ? argv + 4 : NULL};
	if (!streq(argv[1], "enter") || !s.attempt)
		return fail("vine-shell: it is called by vine shell");
	/* In other namespaces than it began in: nothing that would be done at an exit is to be done there. */
	_exit(enter(&s));
}
