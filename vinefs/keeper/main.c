/* SPDX-License-Identifier: Apache-2.0
 * vine-keeper --state=DIR --lock=FD --grace-msec=N -- FILE ARGV0 [ARG ...]
 *
 * Executed by vinefs once it has checked its settings and locked its state directory. The keeper holds that lock, starts
 * vinefs again as its child, starts tasks when asked, reaps everything, and at its end leaves no process behind. */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RESTART_USEC 100000u                       /* after the second death in a row, doubling */
#define RESTART_MOST_USEC (KEEPER_SILENT_USEC / 2) /* while mounts are held, they are let go after twice that */
#define STEADY_USEC (2u * SEC_USEC)                /* a vinefs that lived so long died for a new reason */
#define LEAVE_USEC (5u * SEC_USEC)                 /* for what SIGKILL takes, and then for vinefs' good bye */
#define STEM_USEC (10u * SEC_USEC)                 /* for a stem to be made */
#define EXIT_FAILED 125

uint64_t keeper_now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SEC_USEC + (uint64_t)t.tv_nsec / 1000;
}

void keeper_say(const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	dprintf(STDERR_FILENO, "vine-keeper: %s\n", text);
}

struct spawn_context keeper_context(struct keeper *k, uint64_t kept)
{
	return (struct spawn_context){.words = k->words[1],
				      .state = k->state,
				      .oom_score = k->oom_score,
				      .stem = &k->stem,
				      .kept = stem_kept(&k->stem, kept)};
}

/* ---- what vinefs wants */

static bool do_job(struct keeper *k, const struct keeper_request *q)
{
	struct request r;
	struct keeper_report report = {.length = sizeof report,
				       .type = KEEPER_DONE,
				       .attempt = q->attempt,
				       .error = ESHUTDOWN,
				       .step = KEEPER_STEP_FORK};
	struct spawn_context c = keeper_context(k, 0);
	bool is_good = request_parse(&r, q);
	if (!is_good && errno == EBADMSG) {
		request_fini(&r);
		return false;
	}
	if (!is_good)
		report.error = errno;
	if (!is_good || k->phase != PHASE_KEEP || !job_start(&k->jobs, &r, &c, keeper_now_usec(), &report))
		door_tell(&k->door, &report);
	request_fini(&r);
	return true;
}

static void stop_all(struct keeper *k, int status, bool is_hasty);

static bool on_request(const struct keeper_request *q, void *arg)
{
	struct keeper *k = arg;
	switch (q->type) {
	case KEEPER_START:
		return task_start(k, q);
	case KEEPER_KILL:
		task_kill(k, q);
		return true;
	case KEEPER_TAKEN:
		task_taken(k, q->attempt);
		return true;
	case KEEPER_LEAVE:
		stop_all(k, 0, false);
		return true;
	case KEEPER_DO:
		return do_job(k, q);
	case KEEPER_UNKEEP:
		stem_unkeep(&k->stem, q->kept);
		return true;
	}
	return false;
}

/* ---- what children tell */

static void on_trouble(struct keeper *k, const struct word *w)
{
	struct job *job = job_find_pid(&k->jobs, w->pid);
	if (job)
		job_trouble(job, w);
	else
		task_trouble(k, w);
}

static void on_stem(struct keeper *k, const struct word *w, int fds[WORD_FDS])
{
	bool is_wanted = k->stem.pid == w->pid && k->stem.wanted;
	bool is_whole = fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0;
	if (!is_wanted || w->error || !is_whole) {
		for (int i = 0; i < WORD_FDS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
	if (!is_wanted)
		return;
	/* The next one may be asked for before it has ended. */
	k->stem.pid = 0;
	if (w->error || !is_whole) {
		keeper_say("no namespaces for tasks: %s: %s", w->what, strerror(w->error ? w->error : EMFILE));
		stem_failed(&k->stem, w->error ? w->error : EMFILE);
	} else {
		stem_made(&k->stem, fds, (unsigned)w->index);
	}
	holds_tell_stem(&k->holds);
}

/* What a child tells it tells before it ends; so this comes before each reaping. */
static void hear_children(struct keeper *k)
{
	struct word w;
	int fds[WORD_FDS];
	while (word_receive(k->words[0], &w, fds)) {
		if (w.kind == WORD_TROUBLE)
			on_trouble(k, &w);
		else if (w.kind == WORD_STEM)
			on_stem(k, &w, fds);
		else if (w.kind == WORD_KEPT && fds[0] >= 0)
			stem_keep(&k->stem, w.stem, w.kept, fds[0]);
	}
}

/* Begins to make the stem that is wanted, and gives up one that takes too long. */
static void grow_stem(struct keeper *k, uint64_t now)
{
	struct stem *s = &k->stem;
	if (s->pid && now >= s->due_usec) {
		keeper_say("no namespaces for tasks within %u s: is a filesystem dead?", STEM_USEC / SEC_USEC);
		kill(s->pid, SIGKILL);
		/* Whenever it ends, it is nobody's. */
		s->pid = 0;
		if (s->wanted)
			stem_failed(s, ETIMEDOUT);
		holds_tell_stem(&k->holds);
	}
	if (!s->wanted || s->pid || k->phase != PHASE_KEEP)
		return;
	struct spawn_context c = keeper_context(k, 0);
	pid_t pid = spawn_stem(&c);
	if (pid < 0) {
		stem_failed(s, -pid);
		holds_tell_stem(&k->holds);
		return;
	}
	s->pid = pid;
	s->due_usec = now + STEM_USEC;
}

static void on_stem_exit(struct keeper *k)
{
	k->stem.pid = 0;
	if (!k->stem.wanted)
		return;
	/* It ended without a word. */
	stem_failed(&k->stem, EIO);
	holds_tell_stem(&k->holds);
}

/* ---- vinefs */

static void start_vinefs(struct keeper *k)
{
	int pair[2], mounts[2] = {-1, -1};
	assert(!k->vinefs && k->door.fd < 0 && k->holds.fd < 0);
	k->restart_usec = keeper_now_usec() + RESTART_MOST_USEC;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		keeper_say("socketpair: %s", strerror(errno));
		return;
	}
	int error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, mounts) ? -errno : 0;
	pid_t pid = error ? error : spawn_vinefs(k->vinefs_argv, pair[1], mounts[1]);
	close(pair[1]);
	close(mounts[1]);
	if (pid < 0) {
		keeper_say("start vinefs: %s", strerror(-pid));
		close(pair[0]);
		close(mounts[0]);
		return;
	}
	k->vinefs = pid;
	k->vinefs_started_usec = keeper_now_usec();
	k->door.fd = pair[0];
	holds_meet(&k->holds, mounts[0]);
	for (unsigned i = 0; i < k->record.n; i++)
		if (!k->record.at[i]->is_taken)
			door_tell(&k->door, &k->record.at[i]->report);
	door_say(&k->door, KEEPER_LISTED);
}

static void on_vinefs_exit(struct keeper *k, int status)
{
	uint64_t now = keeper_now_usec();
	k->vinefs = 0;
	door_close(&k->door);
	/* What it said before it died still counts. */
	holds_receive(&k->holds);
	holds_meet(&k->holds, -1);
	if (k->phase != PHASE_KEEP)
		return;
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_FAILED)) {
		stop_all(k, WEXITSTATUS(status), false);
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == KEEPER_EXIT_UPGRADE) {
		k->restart_usec = now;
		return;
	}
	if (now - k->vinefs_started_usec >= STEADY_USEC)
		k->n_deaths = 0;
	uint64_t wait = k->n_deaths ? RESTART_USEC << (k->n_deaths < 8 ? k->n_deaths - 1 : 7) : 0;
	k->restart_usec = now + (wait < RESTART_MOST_USEC ? wait : RESTART_MOST_USEC);
	k->n_deaths++;
	keeper_say("vinefs %s %d; it is started again", WIFSIGNALED(status) ? "was killed by signal" : "exited with",
		   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- ends */

static void reap(struct keeper *k)
{
	for (;;) {
		siginfo_t info = {0};
		struct rusage usage;
		int status;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		hear_children(k);
		struct attempt *a = task_of(k, info.si_pid);
		struct job *job = job_find_pid(&k->jobs, info.si_pid);
		/* While its leader is not reaped, the group's number cannot be anybody else's. */
		if ((a && a->report.pid == info.si_pid) || job)
			kill(-info.si_pid, SIGKILL);
		if (wait4(info.si_pid, &status, WNOHANG, &usage) != info.si_pid)
			return;
		if (a)
			task_exited(k, a, info.si_pid, status, &usage);
		else if (info.si_pid == k->vinefs)
			on_vinefs_exit(k, status);
		else if (info.si_pid == k->stem.pid)
			on_stem_exit(k);
		if (job) {
			struct keeper_report report = job_end(&k->jobs, job, status);
			door_tell(&k->door, &report);
		}
	}
}

/* The orderly end; asked for twice by a person, it does not wait for graces. */
static void stop_all(struct keeper *k, int status, bool is_hasty)
{
	uint64_t now = keeper_now_usec();
	if (k->phase == PHASE_LEAVE && is_hasty && k->phase_until_usec > now + LEAVE_USEC)
		k->phase_until_usec = now + LEAVE_USEC;
	if (k->phase > PHASE_STOP || (k->phase == PHASE_STOP && !is_hasty))
		return;
	uint64_t kill_usec = k->phase == PHASE_KEEP ? now + k->grace_usec : now;
	if (k->phase == PHASE_KEEP) {
		k->phase = PHASE_STOP;
		k->status = status;
		door_say(&k->door, KEEPER_STOPPING);
	}
	k->phase_until_usec = kill_usec + LEAVE_USEC;
	task_end_all(k, kill_usec);
}

static void go_on_stopping(struct keeper *k, uint64_t now)
{
	bool is_late = now >= k->phase_until_usec;
	if (k->phase == PHASE_STOP && (!k->record.n_running || is_late)) {
		unsigned n = proc_sweep(&k->record, k->state, k->vinefs, true);
		k->sweep_usec = n && !is_late ? now + SWEEP_USEC / 5 : 0;
		if (k->sweep_usec)
			return;
		if (k->record.n_running)
			keeper_say("%u tasks outlive SIGKILL", k->record.n_running);
		k->phase = PHASE_LEAVE;
		/* What only this node has may be on its way to others: it has as long as tasks have. */
		k->phase_until_usec = now + k->grace_usec + LEAVE_USEC;
		door_say(&k->door, KEEPER_GONE);
		is_late = false;
	}
	if (k->phase == PHASE_LEAVE && (!k->vinefs || is_late)) {
		if (k->vinefs)
			kill(k->vinefs, SIGKILL);
		k->phase = PHASE_OVER;
	}
}

/* ---- the loop */

static void on_signals(struct keeper *k)
{
	struct signalfd_siginfo s;
	while (read(k->signals, &s, sizeof s) == sizeof s)
		if (s.ssi_signo != SIGCHLD)
			stop_all(k, 0, true);
	reap(k);
}

/* How long nothing but a descriptor can be of interest. */
static int wait_msec(struct keeper *k, uint64_t now)
{
	uint64_t at = task_kill_due(k, now, now + 3600 * (uint64_t)SEC_USEC);
	at = job_kill_due(&k->jobs, now, at);
	if (!k->vinefs && k->phase == PHASE_KEEP && k->restart_usec < at)
		at = k->restart_usec;
	if (k->sweep_usec && k->sweep_usec < at)
		at = k->sweep_usec;
	if (k->phase != PHASE_KEEP && k->phase_until_usec < at)
		at = k->phase_until_usec;
	if (k->stem.pid && k->stem.due_usec < at)
		at = k->stem.due_usec;
	at = holds_due_usec(&k->holds, at);
	return at <= now ? 0 : (int)((at - now + 999) / 1000);
}

static void watch_mounts(struct keeper *k, short ready, uint64_t now)
{
	unsigned n_lost = k->holds.n_lost;
	bool is_good = !ready || holds_receive(&k->holds);
	if (k->holds.n_lost > n_lost)
		keeper_say("%u mounts cannot be held for a next vinefs: no descriptor is left (raise the limit of open "
			   "files, "
			   "ulimit -Hn)",
			   k->holds.n_lost);
	/* An end that hung up would wake us for ever; its exit is about to be heard of. */
	if (ready & POLLHUP)
		holds_meet(&k->holds, -1);
	holds_send(&k->holds);
	bool is_silent = holds_is_silent(&k->holds, now);
	if (is_silent)
		keeper_say("vinefs was silent for %u s: its mounts are let go", KEEPER_SILENT_USEC / SEC_USEC);
	/* It may hold them too, and a stopped one for ever. */
	if ((is_silent || !is_good) && k->vinefs)
		kill(k->vinefs, SIGKILL);
}

static void turn(struct keeper *k)
{
	struct pollfd p[] = {{.fd = k->signals, .events = POLLIN},
			     {.fd = k->words[0], .events = POLLIN},
			     {.fd = k->door.fd, .events = POLLIN},
			     {.fd = k->holds.fd, .events = POLLIN}};
	if (holds_has_more(&k->holds))
		p[3].events |= POLLOUT;
	if (k->door.n_out)
		p[2].events = k->door.n_out > DOOR_HIGH ? POLLOUT : POLLIN | POLLOUT;
	poll(p, sizeof p / sizeof p[0], wait_msec(k, keeper_now_usec()));
	uint64_t now = keeper_now_usec();
	hear_children(k);
	if (p[2].revents && k->door.fd == p[2].fd) {
		int error = door_receive(&k->door, on_request, k);
		/* One that hung up is about to exit, and how it does matters; one that talks nonsense is ended. */
		if (error && error != -EPIPE && error != -ECONNRESET && k->vinefs)
			kill(k->vinefs, SIGKILL);
		if (error)
			door_close(&k->door);
	}
	watch_mounts(k, p[3].revents, now);
	grow_stem(k, now);
	/* After the door: what vinefs said before it exited still counts. */
	if (p[0].revents)
		on_signals(k);
	if (k->sweep_usec && now >= k->sweep_usec && k->phase == PHASE_KEEP)
		k->sweep_usec = proc_sweep(&k->record, k->state, k->vinefs, false) ? now + SWEEP_USEC : 0;
	if (k->phase != PHASE_KEEP)
		go_on_stopping(k, now);
	else if (!k->vinefs && now >= k->restart_usec)
		start_vinefs(k);
	if (door_send(&k->door))
		door_close(&k->door);
}

static int prepare(struct keeper *k)
{
	sigset_t all;
	spawn_reset_handlers();
	int score = 0, fd_count = (int)sysconf(_SC_OPEN_MAX);
	sigfillset(&all);
	for (int i = 0; i < 5; i++)
		sigdelset(&all, ((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})[i]);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&all);
	for (int i = 0; i < 4; i++)
		sigaddset(&all, ((int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP})[i]);
	for (int fd = 3; fd < fd_count && fd < 4096; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_DUMPABLE, 0);
	FILE *f = fopen("/proc/self/oom_score_adj", "re");
	if (f && fscanf(f, "%d", &score) != 1)
		score = 0;
	if (f)
		fclose(f);
	snprintf(k->oom_score, sizeof k->oom_score, "%d", score + 300 < 1000 ? score + 300 : 1000);
	stem_init(&k->stem);
	k->door.fd = k->holds.fd = -1;
	k->holds.stem = &k->stem;
	k->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, k->words))
		return -errno;
	int error = record_open(&k->record, k->state);
	if (!error)
		proc_purge(k->state);
	return error;
}

int main(int argc, char **argv)
{
	static struct keeper k;
	if (argc < 7 || sscanf(argv[2], "--lock=%d", &k.lock) != 1 || strcmp(argv[4], "--") != 0 ||
	    strncmp(argv[1], "--state=/", 9) != 0 || strncmp(argv[3], "--grace-msec=", 13) != 0) {
		fprintf(stderr, "vine-keeper: it is started by vinefs\n");
		return EXIT_FAILED;
	}
	k.state = argv[1] + strlen("--state=");
	k.grace_usec = strtoull(argv[3] + strlen("--grace-msec="), NULL, 10) * 1000;
	k.vinefs_argv = argv + 5;
	int error = prepare(&k);
	if (error) {
		fprintf(stderr, "vine-keeper: %s: %s\n", k.record.path, strerror(-error));
		return EXIT_FAILED;
	}
	while (k.phase != PHASE_OVER)
		turn(&k);
	return k.status;
}
