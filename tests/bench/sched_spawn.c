/* SPDX-License-Identifier: Apache-2.0
 * Tasks a second of a real node, each a process of its own, beside a bare program that takes the same steps with as many at once: fork, a directory, two files,
 * exec, wait, and the directory away; then in views, beside one that also makes a mount and a PID namespace with an init and a /proc, a /tmp of the sandbox, and hides a
 * directory but for the sandbox. All tasks of the node have one kept view. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_work.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAIRS = 5 };

static _Noreturn void be_task(const char *directory)
{
	int out = -1, err = -1;
	if (chdir(directory) == 0) {
		out = open("out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		err = open("err", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
	if (out < 0 || err < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
		_exit(126);
	execl("/bin/true", "true", NULL);
	_exit(127);
}

static bool mount_all(const char *below, const char *directory)
{
	_free_ char *tmp = xasprintf("%s/tmp", directory),
		    *back = xasprintf("/proc/self/fd/%d", open(directory, O_PATH));
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount(tmp, "/tmp", NULL, MS_BIND, NULL) == 0 &&
	       mount("tmpfs", below, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") == 0 && mkdir(directory, 0700) == 0 &&
	       mount(back, directory, NULL, MS_BIND, NULL) == 0;
}

/* Waits for its init, that waits for the task. */
static _Noreturn void be_view(const char *below, const char *directory)
{
	int status = -1;
	_free_ char *tmp = xasprintf("%s/tmp", directory);
	if (mkdir(tmp, 0700) < 0 || unshare(CLONE_NEWNS | CLONE_NEWPID) < 0 || !mount_all(below, directory))
		_exit(125);
	pid_t init = fork();
	if (init == 0) {
		if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			_exit(124);
		pid_t task = fork();
		if (task == 0)
			be_task(directory);
		while (waitpid(-1, &status, 0) != task)
			continue;
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 123);
	}
	if (init < 0 || waitpid(init, &status, 0) != init)
		_exit(122);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 121);
}

static void remove_sandbox(const char *directory)
{
	_free_ char *out = xasprintf("%s/out", directory), *err = xasprintf("%s/err", directory);
	_free_ char *tmp = xasprintf("%s/tmp", directory);
	rmdir(tmp);
	if (unlink(out) < 0 || unlink(err) < 0 || rmdir(directory) < 0)
		sched_fail("%s: %s", directory, strerror(errno));
}

/* Its directory is named by the process, which another may only be once that one was waited for. */
static void reap(const char *below)
{
	int status = -1;
	pid_t pid = wait(&status);
	if (pid < 0 || status != 0)
		sched_fail("a bare task ended with status %x", (unsigned)status);
	_free_ char *directory = xasprintf("%s/%d", below, pid);
	remove_sandbox(directory);
}

/* Tasks a second. */
static double run_bare(const struct sched_world *w, uint64_t n, unsigned at_once, bool is_view)
{
	_free_ char *below = xasprintf("%s/bare", w->directory);
	unsigned running = 0;
	if (mkdir(below, 0700) < 0 && errno != EEXIST)
		sched_fail("%s: %s", below, strerror(errno));
	fflush(NULL);
	double began_sec = bench_now_sec();
	for (uint64_t i = 0; i < n; i++) {
		if (running == at_once) {
			reap(below);
			running--;
		}
		pid_t pid = fork();
		if (pid < 0)
			sched_fail("fork: %s", strerror(errno));
		if (pid == 0) {
			char directory[256];
			snprintf(directory, sizeof directory, "%s/%d", below, getpid());
			if (mkdir(directory, 0700) < 0)
				_exit(126);
			if (is_view)
				be_view(below, directory);
			be_task(directory);
		}
		running++;
	}
	for (; running; running--)
		reap(below);
	return (double)n / (bench_now_sec() - began_sec);
}

/* The bare program is a small process, as the keeper is: what forks is not what has libraries and a database client in it. */
static double bare(const struct sched_world *w, uint64_t n, unsigned at_once, bool is_view)
{
	int out[2], status = -1;
	double rate = 0;
	if (pipe2(out, O_CLOEXEC) < 0)
		sched_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		rate = run_bare(w, n, at_once, is_view);
		_exit(write(out[1], &rate, sizeof rate) == sizeof rate ? 0 : 1);
	}
	close(out[1]);
	bool is_told = read(out[0], &rate, sizeof rate) == sizeof rate;
	close(out[0]);
	/* Daemons are children of ours, too. */
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || !is_told)
		sched_fail("the bare program: status %x", (unsigned)status);
	return rate;
}

static double vine(uint64_t n, bool is_view)
{
	struct vine *v = sched_open(NULL);
	struct sched_seen seen = {0};
	double began_sec = bench_now_sec();
	sched_post_command(v, n, min(n, (uint64_t)1000), (const char *const[]){"/bin/true", NULL},
			   is_view ? "yes" : "none");
	sched_take(v, &seen, n);
	double rate = (double)n / (bench_now_sec() - began_sec);
	if (seen.n_twice || seen.n_bad)
		sched_fail("%llu results twice, %llu bad", (unsigned long long)seen.n_twice,
			   (unsigned long long)seen.n_bad);
	sched_seen_fini(&seen);
	sched_close(v);
	return rate;
}

/* The median of the ratios. */
static double compare(struct sched_world *w, uint64_t n, unsigned at_once, bool is_view)
{
	const char *where = is_view ? "in a kept view" : "without views";
	double ratio[PAIRS], ours[PAIRS], theirs[PAIRS];
	vine(n / 10 + 1, is_view);
	bare(w, n / 10 + 1, at_once, is_view);
	for (unsigned i = 0; i < PAIRS; i++) {
		ours[i] = vine(n, is_view);
		theirs[i] = bare(w, n, at_once, is_view);
		ratio[i] = ours[i] / theirs[i];
		printf("%s, pair %u: node %7.0f/s, bare program %7.0f/s, ratio %.3f\n", where, i + 1, ours[i],
		       theirs[i], ratio[i]);
		fflush(stdout);
	}
	struct spread r = spread_of(ratio, PAIRS), a = spread_of(ours, PAIRS), b = spread_of(theirs, PAIRS);
	printf("%s, %u at once: node %.0f/s (%.0f-%.0f), bare %.0f/s (%.0f-%.0f), ratio %.3f (%.3f-%.3f)\n", where,
	       at_once, a.median, a.low, a.high, b.median, b.low, b.high, r.median, r.low, r.high);
	sched_note(w, is_view ? "view_per_sec" : "per_sec", a.median);
	sched_note(w, is_view ? "bare_view_per_sec" : "bare_per_sec", b.median);
	sched_note(w, is_view ? "view_ratio" : "ratio", r.median);
	return r.median;
}

void sched_spawn(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", 3000);
	unsigned at_once = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	if (geteuid() != 0)
		bench_cannot(w->name, "needs root, for the bare program's namespaces");
	sched_vined_start(w, "vined", NULL);
	pid_t node = sched_node_start(w, "node", NULL);
	compare(w, n, at_once, false);
	double ratio = compare(w, n, at_once, true);
	sched_node_stop(node);
	sched_vined_stop(w);
	printf("measured elsewhere: TaskVine on a machine like this 325-1,000/s (median about 800, 16 slots), "
	       "volatile; Slurm array 8/s\n");
	sched_end(w, ratio, "of the bare program, in a kept view", "0.9");
}
