/* SPDX-License-Identifier: Apache-2.0
 * A task in a view is three processes. The first is the keeper's child, with the view as its namespace but numbered among the
 * keeper's processes, where no task can signal it or look into it; it ends as the task did. The second is the init of the task's PID namespace: what it
 * takes along at its end is all that the task has begun. The third is the task.
 *
 * 1. Signals of the keeper reach the first alone, which hands them to the init, and that to the task's group. SIGKILL goes to the group of
 *    first and init.
 * 2. The init dies with the first, the first with the keeper. */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What root keeps. Nothing that reaches another namespace, the kernel or a device. */
static const unsigned kept_by_root[] = {
	CAP_CHOWN,  CAP_DAC_OVERRIDE,     CAP_DAC_READ_SEARCH, CAP_FOWNER,    CAP_FSETID,   CAP_KILL,        CAP_SETGID,
	CAP_SETUID, CAP_NET_BIND_SERVICE, CAP_NET_RAW,         CAP_IPC_OWNER, CAP_SYS_NICE, CAP_SYS_RESOURCE};

#define PID_MAX "/proc/sys/kernel/pid_max"

struct inside {
	const struct spawn *spawn;
	unsigned n_outside; /* steps before the PID namespace's /proc */
	int proc, record;   /* /proc of the keeper's processes; the file of what is witnessed, -1: none */
	int talk[2];        /* first's end, and the one of init and task */
};

static void give_up(const struct inside *in, int r, const char *what)
{
	if (r >= 0)
		return;
	errno = -r;
	spawn_give_up(in->spawn, KEEPER_STEP_VIEW, what);
}

/* ---- the task */

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	uint64_t kept = 0;
	bool is_root = geteuid() == 0;
	for (size_t i = 0; is_root && i < sizeof kept_by_root / sizeof *kept_by_root; i++)
		kept |= UINT64_C(1) << kept_by_root[i];
	for (unsigned i = 0; i < 64; i++)
		if (!(kept >> i & 1) && prctl(PR_CAPBSET_DROP, i) && errno == EINVAL)
			break;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, data))
		_exit(127);
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(kept >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data))
		_exit(127);
}

static _Noreturn void be_task(const struct inside *in)
{
	setsid();
	spawn_settle_in(in->spawn);
	if (in->spawn->request->head->flags & KEEPER_RECORDED) {
		struct word w = {.kind = WORD_LISTENER};
		int listener = witness_filter();
		give_up(in, listener, "what it opens cannot be recorded: seccomp");
		word_send(in->talk[1], &w, &listener, 1);
	}
	drop_capabilities();
	spawn_exec(in->spawn);
}

/* ---- the init */

/* Returns the task's status when that has ended, -1 before. */
static int reap(pid_t task)
{
	int status, found = -1;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		found = pid == task ? status : found;
	return found;
}

static _Noreturn void keep_house(pid_t task, int talk)
{
	sigset_t all;
	siginfo_t info;
	struct word w = {.kind = WORD_STATUS};
	sigfillset(&all);
	for (w.index = -1; w.index < 0;) {
		int signo = sigwaitinfo(&all, &info);
		if (signo == SIGCHLD)
			w.index = reap(task);
		else if (signo > 0 && kill(-task, signo) && errno == ESRCH)
			kill(task, signo); /* it has no session yet */
	}
	word_send(talk, &w, NULL, 0);
	_exit(0);
}

/* While /proc, which has just been mounted, can be written. */
static void limit_pids(const struct inside *in)
{
	const struct request *r = in->spawn->request;
	for (uint32_t i = 0; i < r->head->n_limits; i++) {
		char number[24];
		if (r->limits[i].resource != KEEPER_LIMIT_PIDS)
			continue;
		int n = snprintf(number, sizeof number, "%llu", (unsigned long long)r->limits[i].value);
		int fd = open(PID_MAX, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, number, (size_t)n) != n)
			give_up(in, -errno, PID_MAX);
		close(fd);
	}
}

static _Noreturn void be_init(const struct inside *in)
{
	const struct spawn *s = in->spawn;
	struct pollfd first = {.fd = in->talk[1]};
	close(in->talk[0]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* In here its parent has no number that would tell whether it is still there. */
	if (poll(&first, 1, 0) > 0 && first.revents & POLLHUP)
		_exit(127);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NAME, "vine-init");
	spawn_close_others((int[]){s->words, in->talk[1]}, 2);
	unsigned n_steps = s->request->head->n_steps, n_first = in->n_outside + (in->n_outside < n_steps);
	spawn_do_steps(s, in->n_outside, n_first);
	limit_pids(in);
	spawn_do_steps(s, n_first, n_steps);
	/* It shares our memory, and we wait, until it executes its program: that saves a copy. Signals wait, too. */
	pid_t task = vfork();
	if (task < 0)
		spawn_give_up(s, KEEPER_STEP_FORK, "fork");
	if (task == 0)
		be_task(in);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	close(s->words);
	keep_house(task, in->talk[1]);
}

/* ---- the first */

struct watch {
	pid_t init;
	int signals, talk, record, proc;
	int status; /* as told, -1: not yet */
	struct witness *witness;
};

static void hear(struct watch *w)
{
	struct word word;
	int fds[WORD_FDS];
	while (word_receive(w->talk, &word, fds)) {
		if (word.kind == WORD_STATUS)
			w->status = word.index;
		if (word.kind == WORD_LISTENER && w->record >= 0 && fds[0] >= 0) {
			w->witness = witness_new(fds[0], w->record, w->proc);
			w->record = w->proc = -1;
		}
	}
}

/* The init's status once it, and with it all in its namespace, is gone; -1 before. */
static int hear_signals(struct watch *w)
{
	struct signalfd_siginfo info;
	int status;
	while (read(w->signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo != SIGCHLD)
			kill(w->init, (int)info.ssi_signo);
		else if (waitpid(w->init, &status, WNOHANG) == w->init)
			return status;
	}
	return -1;
}

static int watch_over(struct watch *w)
{
	for (int status = -1; status < 0;) {
		struct pollfd p[] = {{.fd = w->signals, .events = POLLIN},
				     {.fd = w->talk, .events = POLLIN},
				     {.fd = w->witness ? witness_fd(w->witness) : -1, .events = POLLIN}};
		poll(p, 3, -1);
		if (p[1].revents)
			hear(w);
		/* Its other end is closed: what was said has been heard. */
		if (p[1].revents & (POLLHUP | POLLERR))
			w->talk = -1;
		if (p[2].revents)
			witness_turn(w->witness, !(p[2].revents & POLLIN));
		if (p[0].revents)
			status = hear_signals(w);
		if (status >= 0 && w->talk >= 0)
			hear(w);
		if (status >= 0)
			return w->status >= 0 ? w->status : status;
	}
	return 0;
}

static _Noreturn void end_as(int status)
{
	sigset_t one;
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	/* The core, if there was to be one, is the task's. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
	prctl(PR_SET_DUMPABLE, 0);
	sigemptyset(&one);
	sigaddset(&one, WTERMSIG(status));
	kill(getpid(), WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + WTERMSIG(status));
}

static int join_stem(const struct spawn *s)
{
	const struct stem *stem = s->context->stem;
	char mnt[4096];
	if (!(stem->traits & STEM_IS_DEAF))
		return view_join(stem->fds[0], stem_user(stem));
	snprintf(mnt, sizeof mnt, "%s/" KEEPER_NODE_MOUNT, s->context->state);
	return view_join_host(stem->fds[0], mnt);
}

/* Goes to the stem, or to what is kept of a view there; keeps it if it is the first that needs it. Returns how many steps are done. */
static unsigned enter(struct inside *in)
{
	const struct spawn *s = in->spawn;
	const struct keeper_request *q = s->request->head;
	const struct stem *stem = s->context->stem;
	struct word w = {.pid = s->first, .kind = WORD_KEPT, .stem = q->stem, .kept = q->kept};
	bool is_kept = s->context->kept >= 0;
	give_up(in, is_kept ? view_join(s->context->kept, stem_user(stem)) : join_stem(s), "the stem");
	spawn_follow(s->keeper);
	spawn_close_others((int[]){s->words, in->proc, in->record}, 3);
	if (is_kept || !q->kept || !q->n_kept)
		return is_kept ? q->n_kept : 0;
	give_up(in, view_leave(false), "a mount namespace");
	spawn_do_steps(s, 0, q->n_kept);
	int fd = openat(in->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		word_send(s->words, &w, &fd, 1);
	if (fd >= 0)
		close(fd);
	return q->n_kept;
}

static void open_record(struct inside *in)
{
	const struct spawn *s = in->spawn;
	char path[4096];
	if (!(s->request->head->flags & KEEPER_RECORDED))
		return;
	snprintf(path, sizeof path, "%s/s/%llu/record", s->context->state,
		 (unsigned long long)s->request->head->attempt);
	in->record = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (in->record < 0)
		spawn_give_up(s, KEEPER_STEP_OUTPUT, path);
}

_Noreturn void inside_begin(const struct spawn *s)
{
	struct inside in = {.spawn = s, .record = -1};
	const struct request *r = s->request;
	sigset_t all;
	spawn_prepare(s);
	in.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	open_record(&in);
	unsigned n_done = enter(&in);
	prctl(PR_SET_DUMPABLE, 0);
	give_up(&in, view_leave(true), "a mount and a PID namespace");
	for (in.n_outside = n_done; in.n_outside < r->head->n_steps; in.n_outside++)
		if (r->steps[in.n_outside].op == VIEW_PROC)
			break;
	spawn_do_steps(s, n_done, in.n_outside);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, in.talk))
		spawn_give_up(s, KEEPER_STEP_FORK, "socketpair");
	spawn_wait_for_go();
	pid_t init = fork();
	if (init < 0)
		spawn_give_up(s, KEEPER_STEP_FORK, "fork");
	if (init == 0)
		be_init(&in);
	/* The keeper sees by it that the view is made. */
	prctl(PR_SET_NAME, "vine-view");
	close(in.talk[1]);
	close(s->words);
	sigfillset(&all);
	struct watch w = {.init = init, .talk = in.talk[0], .record = in.record, .proc = in.proc, .status = -1};
	w.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	end_as(watch_over(&w));
}
