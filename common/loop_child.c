/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"

#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The headers of a distribution may be older than its kernel. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* ---- signals */

/* Several signals of one number may arrive as one: handlers ask what has changed, they do not count. */
static void on_signals(struct watch *w, uint32_t events _unused_)
{
	struct loop *l = w->loop;
	struct signalfd_siginfo all[16];
	ssize_t n = read(w->fd, all, sizeof all);
	assert(n < 0 || (size_t)n % sizeof all[0] == 0);
	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof all[0]; i++) {
		int signo = (int)all[i].ssi_signo;
		assert(signo > 0 && signo < _NSIG && l->signals[signo].on_signal);
		l->signals[signo].on_signal(signo, l->signals[signo].arg);
	}
}

int loop_signal_add(struct loop *l, int signo, void (*on_signal)(int, void *), void *arg)
{
	sigset_t one, all = l->signal_set;
	if (sigemptyset(&one) < 0 || sigaddset(&one, signo) < 0 || sigaddset(&all, signo) < 0)
		return -errno;
	int fd = signalfd(l->signal_watch.loop ? l->signal_watch.fd : -1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* Blocked only when there is someone to hear it, else it would be lost. */
	int r = pthread_sigmask(SIG_BLOCK, &one, NULL);
	if (!r && !l->signal_watch.loop)
		r = -loop_watch_own(&l->signal_watch, l, fd, EPOLLIN, on_signals);
	if (r) {
		if (!l->signal_watch.loop)
			close_fd(fd);
		return -r;
	}
	l->signal_set = all;
	l->signals[signo] = (struct loop_signal){on_signal, arg};
	return 0;
}

void loop_signal_fini(struct loop *l)
{
	if (l->signal_watch.loop) {
		int fd = l->signal_watch.fd;
		watch_stop(&l->signal_watch);
		close_fd(fd);
	}
}

int loop_on_signal(struct loop *l, int signo, void (*on_signal)(int, void *), void *arg)
{
	assert(on_signal);
	loop_check_thread(l);
	if (signo <= 0 || signo >= _NSIG || signo == SIGCHLD || signo == SIGKILL || signo == SIGSTOP)
		return -EINVAL;
	return loop_signal_add(l, signo, on_signal, arg);
}

/* ---- children */

/* Tells of the child's end if it has ended; the child may be gone afterwards. Only this pid is waited for: other children of the
 * process may be someone else's. */
static void reap(struct child *c)
{
	int status = 0;
	struct rusage usage = {0};
	pid_t pid = wait4(c->pid, &status, WNOHANG, &usage);
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	assert(pid == c->pid || (pid < 0 && errno == ECHILD));
	child_stop(c);
	c->on_exit(c, pid < 0 ? -1 : status, &usage);
}

static void on_pidfd(struct watch *w, uint32_t events _unused_)
{
	reap(container_of(w, struct child, watch));
}

/* Each is put back before it is looked at, so that callbacks may stop, free and start any of them. */
static void sweep(struct loop *l)
{
	struct list todo;
	list_init(&todo);
	list_splice(&todo, &l->children);
	struct child *c;
	while ((c = list_first(&todo, struct child, link))) {
		list_remove(&c->link);
		list_append(&l->children, &c->link);
		reap(c);
	}
}

static void on_sigchld(int signo _unused_, void *arg)
{
	sweep(arg);
}

static void on_sweep(struct timer *t)
{
	sweep(container_of(t, struct loop, sweep));
}

int loop_child_forgo_pidfd(struct loop *l)
{
	assert(list_is_empty(&l->children));
	l->has_pidfd = false;
	return loop_signal_add(l, SIGCHLD, on_sigchld, l);
}

/* Asked once and of ourselves: SIGCHLD must be blocked before any thread starts, not when the first child does. */
int loop_child_init(struct loop *l)
{
	list_init(&l->children);
	sigemptyset(&l->signal_set);
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	l->has_pidfd = fd >= 0;
	/* A kernel without it says ENOSYS, a sandbox EPERM. */
	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	close_fd(fd);
	return l->has_pidfd ? 0 : loop_child_forgo_pidfd(l);
}

int child_start(struct child *c, struct loop *l, pid_t pid, void (*on_exit)(struct child *, int, const struct rusage *))
{
	assert(pid > 0 && on_exit);
	assert(!c->loop);
	loop_check_thread(l);
	*c = (struct child){.pid = pid, .on_exit = on_exit};
	list_init(&c->link);
	if (l->has_pidfd) {
		int fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (fd < 0)
			return -errno;
		int r = watch_start(&c->watch, l, fd, EPOLLIN, on_pidfd);
		if (r < 0) {
			close_fd(fd);
			return r;
		}
	} else {
		list_append(&l->children, &c->link);
		/* Its SIGCHLD may have come and gone. */
		timer_start(&l->sweep, l, 0, on_sweep);
	}
	c->loop = l;
	return 0;
}

void child_stop(struct child *c)
{
	if (!c->loop)
		return;
	loop_check_thread(c->loop);
	if (c->watch.loop) {
		int fd = c->watch.fd;
		watch_stop(&c->watch);
		close_fd(fd);
	} else {
		list_remove(&c->link);
		if (list_is_empty(&c->loop->children))
			timer_stop(&c->loop->sweep);
	}
	c->loop = NULL;
}
