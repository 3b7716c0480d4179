/* SPDX-License-Identifier: Apache-2.0
 * Tasks a second of a real node, each a process of its own, beside a bare program that takes the same steps with as many at once: fork, a directory, two files,
 * exec, wait, and the directory away. Views come later: both are without. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_work.h"

#include <fcntl.h>
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

static void remove_sandbox(const char *directory)
{
	_free_ char *out = xasprintf("%s/out", directory), *err = xasprintf("%s/err", directory);
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
static double run_bare(const struct sched_world *w, uint64_t n, unsigned at_once)
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
			be_task(directory);
		}
		running++;
	}
	for (; running; running--)
		reap(below);
	return (double)n / (bench_now_sec() - began_sec);
}

/* The bare program is a small process, as the keeper is: what forks is not what has libraries and a database client in it. */
static double bare(const struct sched_world *w, uint64_t n, unsigned at_once)
{
	int out[2], status = -1;
	double rate = 0;
	if (pipe2(out, O_CLOEXEC) < 0)
		sched_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		rate = run_bare(w, n, at_once);
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

static double vine(uint64_t n)
{
	struct vine *v = sched_open(NULL);
	struct sched_seen seen = {0};
	double began_sec = bench_now_sec();
	sched_post_command(v, n, min(n, (uint64_t)1000), (const char *const[]){"/bin/true", NULL});
	sched_take(v, &seen, n);
	double rate = (double)n / (bench_now_sec() - began_sec);
	if (seen.n_twice || seen.n_bad)
		sched_fail("%llu results twice, %llu bad", (unsigned long long)seen.n_twice,
			   (unsigned long long)seen.n_bad);
	sched_seen_fini(&seen);
	sched_close(v);
	return rate;
}

void sched_spawn(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", 3000);
	unsigned at_once = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	double ratio[PAIRS], ours[PAIRS], theirs[PAIRS];
	sched_vined_start(w, "vined", NULL);
	pid_t node = sched_node_start(w, "node", NULL);
	vine(n / 10 + 1);
	bare(w, n / 10 + 1, at_once);
	for (unsigned i = 0; i < PAIRS; i++) {
		ours[i] = vine(n);
		theirs[i] = bare(w, n, at_once);
		ratio[i] = ours[i] / theirs[i];
		printf("pair %u: node %7.0f/s, bare program %7.0f/s, ratio %.3f\n", i + 1, ours[i], theirs[i],
		       ratio[i]);
		fflush(stdout);
	}
	sched_node_stop(node);
	sched_vined_stop(w);
	struct spread r = spread_of(ratio, PAIRS), a = spread_of(ours, PAIRS), b = spread_of(theirs, PAIRS);
	printf("%u at once: node %.0f/s (%.0f-%.0f), bare %.0f/s (%.0f-%.0f), ratio %.3f (%.3f-%.3f)\n", at_once,
	       a.median, a.low, a.high, b.median, b.low, b.high, r.median, r.low, r.high);
	printf("in one kept view: not yet\n"
	       "measured elsewhere: TaskVine on a machine like this 325-1,000/s (median about 800, 16 slots), "
	       "volatile; Slurm array 8/s\n");
	sched_note(w, "per_sec", a.median);
	sched_note(w, "bare_per_sec", b.median);
	sched_end(w, r.median, "of the bare program", "0.9");
}
