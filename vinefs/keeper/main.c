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

#define SEC_USEC 1000000u
#define SWEEP_USEC 100000u   /* from a task's end to the search for what it left */
#define RESTART_USEC 100000u /* after the second death in a row, doubling */
#define RESTART_MOST_USEC (10u * SEC_USEC)
#define STEADY_USEC (2u * SEC_USEC) /* a vinefs that lived so long died for a new reason */
#define LEAVE_USEC (5u * SEC_USEC)  /* for what SIGKILL takes, and then for vinefs' good bye */
#define COMPLAIN_USEC (10u * SEC_USEC)
#define EXIT_FAILED 125

enum phase {
	PHASE_KEEP,
	PHASE_STOP,  /* tasks have their SIGTERM and their grace */
	PHASE_LEAVE, /* nothing is left but vinefs, which says good bye */
	PHASE_OVER,
};

struct keeper {
	enum phase phase;
	uint64_t phase_until_usec, grace_usec, sweep_usec; /* 0: no sweep is due */
	int status, signals, lock, trouble[2];
	const char *state;
	char oom_score[16];
	char *const *vinefs_argv;
	pid_t vinefs; /* 0: it does not run; then it is started at restart_usec */
	uint64_t vinefs_started_usec, restart_usec;
	uint64_t complained_usec;
	unsigned n_deaths, n_to_kill; /* deaths in a row; attempts with a kill_usec */
	struct record record;
	struct door door;
	struct holds holds;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SEC_USEC + (uint64_t)t.tv_nsec / 1000;
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	dprintf(STDERR_FILENO, "vine-keeper: %s\n", text);
}

/* ---- attempts */

static void signal_task(const struct attempt *a, int signo)
{
	/* Between fork and setsid there is no group yet. */
	if (kill(-a->report.pid, signo) && errno == ESRCH)
		kill(a->report.pid, signo);
	if (signo == SIGTERM)
		kill(-a->report.pid, SIGCONT);
}

static void kill_at(struct keeper *k, struct attempt *a, uint64_t usec)
{
	k->n_to_kill += (usec != 0) - (a->kill_usec != 0);
	a->kill_usec = usec;
}

/* A full disk is met by every task: what it does to them is in their ends, and here it is said now and then. */
static int write_down(struct keeper *k, const struct attempt *a)
{
	int error = record_put(&k->record, a);
	uint64_t now = error ? now_usec() : 0;
	if (now && (!k->complained_usec || now - k->complained_usec >= COMPLAIN_USEC)) {
		say("%s: attempt %llu: %s", k->record.path, (unsigned long long)a->report.attempt, strerror(-error));
		k->complained_usec = now;
	}
	return error;
}

/* Writes the attempt's new state down, then tells. 0 or -errno: it is not in the record. */
static int settle(struct keeper *k, struct attempt *a, enum keeper_report_type state)
{
	assert(a->report.type == KEEPER_STARTED && (state == KEEPER_STARTED) == (a->report.pid != 0));
	a->report.type = state;
	if (state != KEEPER_STARTED && a->is_taken) {
		record_remove(&k->record, a);
		return 0;
	}
	int error = write_down(k, a);
	if (!error || state != KEEPER_STARTED)
		door_tell(&k->door, &a->report);
	return error;
}

static void fail(struct keeper *k, struct attempt *a, int error, enum keeper_step step, const char *what)
{
	assert(error > 0);
	a->report.pid = 0;
	a->report.error = error;
	a->report.step = step;
	snprintf(a->report.what, sizeof a->report.what, "%s", what);
	settle(k, a, KEEPER_FAILED);
}

/* No room even to remember it: told, and forgotten at once. */
static void refuse(struct keeper *k, const struct keeper_request *q)
{
	struct keeper_report r = {.length = sizeof r,
				  .type = KEEPER_FAILED,
				  .attempt = q->attempt,
				  .task = q->task,
				  .error = k->record.n < KEEPER_ATTEMPTS_MAX ? ENOMEM : EUSERS,
				  .step = KEEPER_STEP_RECORD,
				  .what = "another attempt"};
	door_tell(&k->door, &r);
}

static bool start(struct keeper *k, const struct keeper_request *q)
{
	if (record_find(&k->record, q->attempt))
		return true;
	if (!q->attempt)
		return false;
	struct attempt *a = record_add(&k->record, q->attempt, q->task);
	if (!a) {
		refuse(k, q);
		return true;
	}
	if (k->phase != PHASE_KEEP) {
		settle(k, a, KEEPER_LOST);
		return true;
	}
	pid_t pid = spawn_task(q, k->trouble[1], k->oom_score);
	a->started_usec = now_usec();
	if (pid < 0) {
		fail(k, a, -pid, KEEPER_STEP_FORK, "fork");
		return pid != -EBADMSG;
	}
	a->report.pid = pid;
	a->start_ticks = proc_start_ticks(pid);
	k->record.n_running++;
	int error = settle(k, a, KEEPER_STARTED);
	if (!error) {
		spawn_go(pid);
	} else {
		/* What a new keeper would not know of must not begin. */
		kill(pid, SIGKILL);
		k->record.n_running--;
		fail(k, a, -error, KEEPER_STEP_RECORD, k->record.path);
	}
	return true;
}

static void stop_all(struct keeper *k, int status, bool is_hasty);

static bool on_request(const struct keeper_request *q, void *arg)
{
	struct keeper *k = arg;
	struct attempt *a = record_find(&k->record, q->attempt);
	switch (q->type) {
	case KEEPER_START:
		return start(k, q);
	case KEEPER_KILL:
		if (!a || !a->report.pid || q->signo <= 0 || q->signo > SIGRTMAX)
			return true;
		a->is_killed = true;
		signal_task(a, q->signo);
		if (q->grace_msec)
			kill_at(k, a, now_usec() + q->grace_msec * (uint64_t)1000);
		return true;
	case KEEPER_TAKEN:
		if (!a || a->is_taken)
			return true;
		a->is_taken = true;
		write_down(k, a); /* in vain: a new keeper tells it again, and vined knows it */
		if (!a->report.pid)
			record_remove(&k->record, a);
		return true;
	case KEEPER_LEAVE:
		stop_all(k, 0, false);
		return true;
	}
	return false;
}

/* Children that could not exec have said so before they ended; so this comes before each reaping. */
static void read_trouble(struct keeper *k)
{
	struct spawn_trouble t;
	while (read(k->trouble[0], &t, sizeof t) == sizeof t) {
		struct attempt *a = record_find_pid(&k->record, t.pid);
		if (!a)
			continue;
		a->report.error = t.error ? t.error : EIO;
		a->report.step = t.step;
		memcpy(a->report.what, t.what, sizeof t.what);
	}
}

/* Kills what is due; returns when the next one is, or `at`. */
static uint64_t kill_due(struct keeper *k, uint64_t now, uint64_t at)
{
	for (unsigned i = 0; i < k->record.n && k->n_to_kill; i++) {
		struct attempt *a = k->record.at[i];
		if (a->kill_usec && a->kill_usec <= now) {
			signal_task(a, SIGKILL);
			kill_at(k, a, 0);
		} else if (a->kill_usec && a->kill_usec < at) {
			at = a->kill_usec;
		}
	}
	return at;
}

/* ---- vinefs */

static void start_vinefs(struct keeper *k)
{
	int pair[2], mounts[2] = {-1, -1};
	assert(!k->vinefs && k->door.fd < 0 && k->holds.fd < 0);
	k->restart_usec = now_usec() + RESTART_MOST_USEC;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		say("socketpair: %s", strerror(errno));
		return;
	}
	int error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, mounts) ? -errno : 0;
	pid_t pid = error ? error : spawn_vinefs(k->vinefs_argv, pair[1], mounts[1]);
	close(pair[1]);
	close(mounts[1]);
	if (pid < 0) {
		say("start vinefs: %s", strerror(-pid));
		close(pair[0]);
		close(mounts[0]);
		return;
	}
	k->vinefs = pid;
	k->vinefs_started_usec = now_usec();
	k->door.fd = pair[0];
	holds_meet(&k->holds, mounts[0]);
	for (unsigned i = 0; i < k->record.n; i++)
		if (!k->record.at[i]->is_taken)
			door_tell(&k->door, &k->record.at[i]->report);
	door_say(&k->door, KEEPER_LISTED);
}

static void on_vinefs_exit(struct keeper *k, int status)
{
	uint64_t now = now_usec();
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
	say("vinefs %s %d; it is started again", WIFSIGNALED(status) ? "was killed by signal" : "exited with",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- ends */

static void on_task_exit(struct keeper *k, struct attempt *a, int status, const struct rusage *u)
{
	struct keeper_report *r = &a->report;
	assert(k->record.n_running);
	k->record.n_running--;
	kill_at(k, a, 0);
	r->pid = 0;
	r->status = status;
	r->wall_usec = now_usec() - a->started_usec;
	r->cpu_usec = (uint64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * SEC_USEC +
		      (uint64_t)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
	r->peak_memory = (uint64_t)u->ru_maxrss * 1024;
	if (!k->sweep_usec)
		k->sweep_usec = now_usec() + SWEEP_USEC;
	bool is_ours = k->phase != PHASE_KEEP && !a->is_killed;
	settle(k, a, r->error ? KEEPER_FAILED : is_ours ? KEEPER_LOST : KEEPER_ENDED);
}

static void reap(struct keeper *k)
{
	for (;;) {
		siginfo_t info = {0};
		struct rusage usage;
		int status;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		read_trouble(k);
		struct attempt *a = record_find_pid(&k->record, info.si_pid);
		/* While its leader is not reaped, the group's number cannot be anybody else's. */
		if (a)
			kill(-info.si_pid, SIGKILL);
		if (wait4(info.si_pid, &status, WNOHANG, &usage) != info.si_pid)
			return;
		if (a)
			on_task_exit(k, a, status, &usage);
		else if (info.si_pid == k->vinefs)
			on_vinefs_exit(k, status);
	}
}

/* The orderly end; asked for twice by a person, it does not wait for graces. */
static void stop_all(struct keeper *k, int status, bool is_hasty)
{
	uint64_t now = now_usec();
	if (k->phase > PHASE_STOP || (k->phase == PHASE_STOP && !is_hasty))
		return;
	uint64_t kill_usec = k->phase == PHASE_KEEP ? now + k->grace_usec : now;
	if (k->phase == PHASE_KEEP) {
		k->phase = PHASE_STOP;
		k->status = status;
		door_say(&k->door, KEEPER_STOPPING);
	}
	k->phase_until_usec = kill_usec + LEAVE_USEC;
	for (unsigned i = 0; i < k->record.n; i++)
		if (k->record.at[i]->report.pid) {
			signal_task(k->record.at[i], SIGTERM);
			kill_at(k, k->record.at[i], kill_usec);
		}
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
			say("%u tasks outlive SIGKILL", k->record.n_running);
		k->phase = PHASE_LEAVE;
		k->phase_until_usec = now + LEAVE_USEC;
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
	uint64_t at = kill_due(k, now, now + 3600 * (uint64_t)SEC_USEC);
	if (!k->vinefs && k->phase == PHASE_KEEP && k->restart_usec < at)
		at = k->restart_usec;
	if (k->sweep_usec && k->sweep_usec < at)
		at = k->sweep_usec;
	if (k->phase != PHASE_KEEP && k->phase_until_usec < at)
		at = k->phase_until_usec;
	at = holds_due_usec(&k->holds, at);
	return at <= now ? 0 : (int)((at - now + 999) / 1000);
}

static void watch_mounts(struct keeper *k, short ready, uint64_t now)
{
	unsigned n_lost = k->holds.n_lost;
	bool is_good = !ready || holds_receive(&k->holds);
	if (k->holds.n_lost > n_lost)
		say("%u mounts cannot be held for a next vinefs: no descriptor is left (raise the limit of open files, ulimit -Hn)",
		    k->holds.n_lost);
	/* An end that hung up would wake us for ever; its exit is about to be heard of. */
	if (ready & POLLHUP)
		holds_meet(&k->holds, -1);
	holds_send(&k->holds);
	bool is_silent = holds_is_silent(&k->holds, now);
	if (is_silent)
		say("vinefs was silent for %u s: its mounts are let go", KEEPER_SILENT_USEC / SEC_USEC);
	/* It may hold them too, and a stopped one for ever. */
	if ((is_silent || !is_good) && k->vinefs)
		kill(k->vinefs, SIGKILL);
}

static void turn(struct keeper *k)
{
	struct pollfd p[] = {{.fd = k->signals, .events = POLLIN},
			     {.fd = k->trouble[0], .events = POLLIN},
			     {.fd = k->door.fd, .events = POLLIN},
			     {.fd = k->holds.fd, .events = POLLIN}};
	if (holds_has_more(&k->holds))
		p[3].events |= POLLOUT;
	if (k->door.n_out)
		p[2].events = k->door.n_out > DOOR_HIGH ? POLLOUT : POLLIN | POLLOUT;
	poll(p, sizeof p / sizeof p[0], wait_msec(k, now_usec()));
	uint64_t now = now_usec();
	read_trouble(k);
	if (p[2].revents && k->door.fd == p[2].fd) {
		int error = door_receive(&k->door, on_request, k);
		/* One that hung up is about to exit, and how it does matters; one that talks nonsense is ended. */
		if (error && error != -EPIPE && error != -ECONNRESET && k->vinefs)
			kill(k->vinefs, SIGKILL);
		if (error)
			door_close(&k->door);
	}
	watch_mounts(k, p[3].revents, now);
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
	k->door.fd = k->holds.fd = -1;
	k->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals < 0 || pipe2(k->trouble, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	/* The children's end waits: what they have to say must not be dropped. */
	fcntl(k->trouble[1], F_SETFL, 0);
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
