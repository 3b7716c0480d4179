/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GO_SIGNAL SIGUSR1
#define CLOSE_RANGE 436 /* the call's number on every architecture; not in every header */

/* The keeper was perhaps started with some ignored (nohup; make ignores the two that glibc keeps to itself and does not let us
 * touch, hence the bare call); what it starts begins with none of that. */
void spawn_reset_handlers(void)
{
	static const uint64_t by_default[8]; /* the kernel's struct sigaction, all zero */
	for (int signo = 1; signo < _NSIG; signo++)
		syscall(SYS_rt_sigaction, signo, by_default, NULL, _NSIG / 8);
}

/* Nor with those blocked that the keeper blocks. */
static void unblock_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void spawn_follow(pid_t keeper)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(127);
}

/* The signal is blocked since the keeper began, so it cannot come too early, and while it is blocked it waits even if it is ignored. */
void spawn_wait_for_go(void)
{
	sigset_t go;
	int signo;
	sigemptyset(&go);
	sigaddset(&go, GO_SIGNAL);
	while (sigwait(&go, &signo))
		continue;
}

void spawn_go(pid_t pid)
{
	assert(pid > 1);
	kill(pid, GO_SIGNAL);
}

static void close_between(unsigned first, unsigned last)
{
	if (first > last || syscall(CLOSE_RANGE, first, last, 0) == 0)
		return;
	DIR *d = opendir("/proc/self/fd");
	for (const struct dirent *e; d && (e = readdir(d));) {
		unsigned fd = (unsigned)atoi(e->d_name);
		if (fd >= first && fd <= last && *e->d_name != '.' && (int)fd != dirfd(d))
			close((int)fd);
	}
	if (d)
		closedir(d);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void spawn_close_others(int *fds, unsigned n)
{
	unsigned next = 3;
	qsort(fds, n, sizeof *fds, by_number);
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] < 3)
			continue;
		close_between(next, (unsigned)fds[i] - 1);
		next = (unsigned)fds[i] + 1;
	}
	close_between(next, ~0u >> 1);
}

static bool put_fd(const char *path, int flags, int to)
{
	int fd = open(*path ? path : "/dev/null", flags | O_CLOEXEC | O_NOCTTY, 0600);
	return fd >= 0 && dup2(fd, to) == to;
}

static _Noreturn void give_up_at(const struct spawn *s, enum keeper_step step, int index, const char *what)
{
	struct word w = {.pid = s->first, .kind = WORD_TROUBLE, .error = errno, .index = index, .step = step};
	for (size_t i = 0; i < sizeof w.what - 1 && what[i]; i++)
		w.what[i] = what[i];
	word_send(s->words, &w, NULL, 0);
	_exit(127);
}

_Noreturn void spawn_give_up(const struct spawn *s, enum keeper_step step, const char *what)
{
	give_up_at(s, step, 0, what);
}

void spawn_do_steps(const struct spawn *s, unsigned from, unsigned to)
{
	unsigned n;
	assert(from <= to && to <= s->request->head->n_steps);
	int r = view_do(s->request->steps + from, to - from, &n);
	if (!r)
		return;
	errno = -r;
	int error = errno;
	const struct view_step *at = &s->request->steps[from + n];
	const char *what = view_path(at);
	errno = error;
	/* What is to be there may be gone: that is not for the task to answer. */
	bool is_declared = at->flags & VIEW_DECLARED && what == at->to;
	give_up_at(s, is_declared ? KEEPER_STEP_DECLARED : KEEPER_STEP_VIEW, (int)(from + n), what);
}

/* Of both hierarchies' versions: a process that writes its number is moved. */
static void join_cgroup(const struct spawn *s, const char *path)
{
	char number[16];
	int n = snprintf(number, sizeof number, "%d", getpid()), fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, number, (size_t)n) != n)
		spawn_give_up(s, KEEPER_STEP_FORK, path);
	close(fd);
}

void spawn_prepare(const struct spawn *s)
{
	const struct request *r = s->request;
	const struct stem *stem = s->context->stem;
	spawn_follow(s->keeper);
	/* The mounts that are held must end when the keeper lets go of them, whatever a child is waiting for. */
	spawn_close_others((int[]){s->words, stem->fds[0], stem->fds[1], s->context->kept}, 4);
	setsid();
	/* As one that may not be looked into it could not write this file of its own. */
	prctl(PR_SET_DUMPABLE, 1);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : write(fd, s->context->oom_score, strlen(s->context->oom_score));
	if (n < 0)
		errno = 0; /* not allowed everywhere, and no task's trouble */
	if (fd >= 0)
		close(fd);
	if (!put_fd("/dev/null", O_RDONLY, 0))
		spawn_give_up(s, KEEPER_STEP_OUTPUT, "/dev/null");
	if (!put_fd(r->out, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 1))
		spawn_give_up(s, KEEPER_STEP_OUTPUT, r->out);
	if (!put_fd(r->err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 2))
		spawn_give_up(s, KEEPER_STEP_OUTPUT, r->err);
	for (uint32_t i = 0; i < r->head->n_cgroups; i++)
		join_cgroup(s, r->cgroups[i]);
}

static bool set_limits(const struct request *r)
{
	for (uint32_t i = 0; i < r->head->n_limits; i++) {
		struct rlimit l;
		int resource = (int)r->limits[i].resource;
		if (resource == KEEPER_LIMIT_PIDS)
			continue;
		rlim_t value = r->limits[i].value;
		if (getrlimit(resource, &l))
			return false;
		/* What is less already stays so. */
		l.rlim_cur = l.rlim_max = value < l.rlim_max ? value : l.rlim_max;
		if (setrlimit(resource, &l))
			return false;
	}
	return true;
}

void spawn_settle_in(const struct spawn *s)
{
	const struct request *r = s->request;
	if (chdir(r->directory))
		spawn_give_up(s, KEEPER_STEP_DIRECTORY, r->directory);
	if (*r->in && !put_fd(r->in, O_RDONLY, 0))
		spawn_give_up(s, KEEPER_STEP_INPUT, r->in);
	if (r->head->n_cores && syscall(SYS_sched_setaffinity, 0, r->head->n_cores * sizeof *r->cores, r->cores))
		spawn_give_up(s, KEEPER_STEP_FORK, "the cores it is to run on");
	if (!set_limits(r))
		spawn_give_up(s, KEEPER_STEP_FORK, "a limit of its resources");
	umask(r->head->mask);
}

_Noreturn void spawn_exec(const struct spawn *s)
{
	const struct request *r = s->request;
	unblock_signals();
	/* execvp looks in the PATH of `environ`: the task's. */
	environ = r->environment;
	execvp(r->argv[0], r->argv);
	spawn_give_up(s, KEEPER_STEP_EXEC, r->argv[0]);
}

static _Noreturn void become_task(const struct spawn *s)
{
	spawn_prepare(s);
	spawn_settle_in(s);
	spawn_wait_for_go();
	spawn_exec(s);
}

static _Noreturn void become_job(const struct spawn *s)
{
	const struct stem *stem = s->context->stem;
	spawn_prepare(s);
	int r = view_join(stem->fds[0], stem_user(stem));
	if (r) {
		errno = -r;
		spawn_give_up(s, KEEPER_STEP_VIEW, "the stem");
	}
	spawn_follow(s->keeper);
	spawn_close_others(&(int){s->words}, 1);
	spawn_do_steps(s, 0, s->request->head->n_steps);
	if (!s->request->head->n_argv)
		_exit(0);
	if (*s->request->directory)
		spawn_settle_in(s);
	spawn_exec(s);
}

static _Noreturn void become_stem(const struct spawn *s)
{
	char mnt[4096];
	struct word w = {.pid = s->first, .kind = WORD_STEM};
	const char *what = mnt;
	int fds[3] = {-1, -1, -1}, r = -ENAMETOOLONG;
	unsigned traits = 0;
	spawn_follow(s->keeper);
	spawn_close_others(&(int){s->words}, 1);
	if (snprintf(mnt, sizeof mnt, "%s/" KEEPER_NODE_MOUNT, s->context->state) < (int)sizeof mnt)
		r = view_make_stem(mnt, fds, &traits, &what);
	w.error = -r;
	w.index = (int)traits;
	snprintf(w.what, sizeof w.what, "%s", what);
	word_send(s->words, &w, fds, r ? 0 : 3);
	_exit(r ? 127 : 0);
}

static pid_t spawn(const struct request *r, const struct spawn_context *c, void (*become)(const struct spawn *))
{
	struct spawn s = {.request = r, .context = c, .keeper = getpid(), .words = c->words};
	assert(c->words > 2);
	pid_t pid = fork();
	if (pid == 0) {
		s.first = getpid();
		become(&s);
	}
	return pid < 0 ? -errno : pid;
}

pid_t spawn_task(const struct request *r, const struct spawn_context *c)
{
	return spawn(r, c, r->head->flags & KEEPER_IN_VIEW ? inside_begin : become_task);
}

pid_t spawn_job(const struct request *r, const struct spawn_context *c)
{
	return spawn(r, c, become_job);
}

pid_t spawn_stem(const struct spawn_context *c)
{
	return spawn(NULL, c, become_stem);
}

static bool hand_on(const char *name, int fd)
{
	char number[16];
	snprintf(number, sizeof number, "%d", fd);
	return setenv(name, number, 1) == 0 && fcntl(fd, F_SETFD, 0) == 0;
}

pid_t spawn_vinefs(char *const *argv, int fd, int mounts_fd)
{
	assert(fd > 2 && mounts_fd > 2 && argv[0] && argv[1]);
	pid_t keeper = getpid(), pid = fork();
	if (pid)
		return pid < 0 ? -errno : pid;
	spawn_follow(keeper);
	unblock_signals();
	/* The first word is the program's file, the rest its argv. */
	if (hand_on(KEEPER_FD, fd) && hand_on(KEEPER_MOUNTS_FD, mounts_fd))
		execv(argv[0], argv + 1);
	fprintf(stderr, "vine-keeper: exec %s: %s\n", argv[0], strerror(errno));
	_exit(125);
}
