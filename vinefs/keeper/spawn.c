/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GO_SIGNAL SIGUSR1

static const char *next_text(const char **at, const char *end)
{
	const char *text = *at;
	size_t n = strnlen(text, (size_t)(end - text));
	if (text + n == end)
		return NULL;
	*at = text + n + 1;
	return text;
}

static char **next_texts(const char **at, const char *end, uint32_t n)
{
	/* Each text takes a byte at least, so the count is bounded before memory is. */
	char **texts = n <= (size_t)(end - *at) ? calloc((size_t)n + 1, sizeof *texts) : NULL;
	for (uint32_t i = 0; texts && i < n; i++) {
		texts[i] = (char *)(uintptr_t)next_text(at, end);
		if (!texts[i]) {
			free(texts);
			return NULL;
		}
	}
	return texts;
}

/* What a request asks for: texts in its memory, two arrays of our own. */
struct spawn {
	const char *directory, *out, *err;
	char **argv, **environment;
};

static bool parse(struct spawn *s, const struct keeper_request *q)
{
	assert(q->length >= sizeof *q && q->length <= KEEPER_REQUEST_MAX);
	const char *at = (const char *)(q + 1), *end = (const char *)q + q->length;
	return (s->directory = next_text(&at, end)) && (s->out = next_text(&at, end)) &&
	       (s->err = next_text(&at, end)) && q->n_argv && (s->argv = next_texts(&at, end, q->n_argv)) &&
	       (s->environment = next_texts(&at, end, q->n_environment));
}

/* The keeper blocks its signals and was perhaps started with some ignored (nohup; make ignores the two that glibc keeps to itself
 * and does not let us touch, hence the bare call); a task begins with none of that. */
static void reset_signals(void)
{
	static const uint64_t by_default[8]; /* the kernel's struct sigaction, all zero */
	sigset_t none;
	for (int signo = 1; signo < _NSIG; signo++)
		syscall(SYS_rt_sigaction, signo, by_default, NULL, _NSIG / 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Dies with the keeper, even if that was gone before the call. */
static void follow(pid_t keeper)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(127);
}

/* The signal is blocked since the keeper began, so it cannot come too early, and while it is blocked it waits even if it is ignored. */
static void wait_for_go(void)
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

static bool put_fd(const char *path, int flags, int to)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	return fd >= 0 && dup2(fd, to) == to;
}

static _Noreturn void give_up(int trouble, enum keeper_step step, const char *what)
{
	struct spawn_trouble t = {.pid = getpid(), .error = errno, .step = step};
	for (size_t i = 0; i < sizeof t.what - 1 && what[i]; i++)
		t.what[i] = what[i];
	ssize_t n = write(trouble, &t, sizeof t);
	_exit(n == sizeof t ? 127 : 126);
}

static _Noreturn void become_task(const struct spawn *s, int trouble, const char *oom_score, pid_t keeper)
{
	follow(keeper);
	setsid();
	/* As one that may not be looked into it could not write this file of its own. */
	prctl(PR_SET_DUMPABLE, 1);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : write(fd, oom_score, strlen(oom_score));
	if (n < 0)
		errno = 0; /* not allowed everywhere, and no task's trouble */
	if (!put_fd("/dev/null", O_RDONLY, 0))
		give_up(trouble, KEEPER_STEP_OUTPUT, "/dev/null");
	if (!put_fd(s->out, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 1))
		give_up(trouble, KEEPER_STEP_OUTPUT, s->out);
	if (!put_fd(s->err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 2))
		give_up(trouble, KEEPER_STEP_OUTPUT, s->err);
	if (chdir(s->directory))
		give_up(trouble, KEEPER_STEP_DIRECTORY, s->directory);
	wait_for_go();
	reset_signals();
	/* execvp looks in the PATH of `environ`: the task's. */
	environ = s->environment;
	execvp(s->argv[0], s->argv);
	give_up(trouble, KEEPER_STEP_EXEC, s->argv[0]);
}

pid_t spawn_task(const struct keeper_request *q, int trouble, const char *oom_score)
{
	struct spawn s = {0};
	assert(trouble > 2);
	errno = EBADMSG; /* unless something else goes wrong: memory */
	pid_t keeper = getpid(), pid = parse(&s, q) ? fork() : -1;
	if (pid == 0)
		become_task(&s, trouble, oom_score, keeper);
	int error = errno;
	free(s.argv);
	free(s.environment);
	return pid < 0 ? -error : pid;
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
	follow(keeper);
	reset_signals();
	/* The first word is the program's file, the rest its argv. */
	if (hand_on(KEEPER_FD, fd) && hand_on(KEEPER_MOUNTS_FD, mounts_fd))
		execv(argv[0], argv + 1);
	fprintf(stderr, "vine-keeper: exec %s: %s\n", argv[0], strerror(errno));
	_exit(125);
}
