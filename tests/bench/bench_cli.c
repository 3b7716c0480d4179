/* SPDX-License-Identifier: Apache-2.0
 * TARGETS `cli`: what the command costs, as it is typed: `vine run -- true` from nothing and warm, and commands about a million tasks, that wait, of which half
 * have ended, that were all cancelled; submits; and what a `vine wait` costs, its own processor time and what it makes vined do. Real programs with their default
 * settings; what runs a million null tasks are fake nodes. VINE_BENCH_TASKS makes it shorter. The last line is ms of `run -- true` warm. */
#include "common/path.h"
#include "tests/bench/sched_world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MILLION = 1000000, COLD = 5, WARM = 21, LOOKS = 7, SUBMITS = 5, WAITED = 10000, WAITS = 5 };

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- one command */

struct cost {
	double sec, cpu_sec;
	int status;
};

static char *cluster; /* XDG_STATE_HOME of an embedded one that is up; NULL: none is */

/* In the working directory `in`, NULL: here. What it prints goes to command.out. */
static pid_t begin(const struct sched_world *w, const char *in, const char *const argv[])
{
	_free_ char *out = path_join(w->directory, "command.out"), *err = path_join(w->directory, "command.log");
	pid_t pid = fork();
	if (pid < 0)
		sched_fail("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
	dup2(open(err, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
	if (!in || chdir(in) == 0)
		execvp(argv[0], (char **)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s: %s: is it in PATH, as make bench has it?\n", argv[0], strerror(errno));
	_exit(127);
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec * 1e-6;
}

static struct cost end(pid_t pid, double began_sec)
{
	struct rusage used;
	int status = -1;
	if (wait4(pid, &status, 0, &used) != pid)
		sched_fail("wait4: %s", strerror(errno));
	return (struct cost){.sec = bench_now_sec() - began_sec,
			     .cpu_sec = seconds(&used.ru_utime) + seconds(&used.ru_stime),
			     .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
}

static struct cost type_in(const struct sched_world *w, const char *in, const char *const argv[])
{
	double began_sec = bench_now_sec();
	return end(begin(w, in, argv), began_sec);
}

static struct cost type(const struct sched_world *w, const char *const argv[])
{
	struct cost c = type_in(w, NULL, argv);
	if (c.status)
		sched_fail("%s %s %s ended with status %d", argv[0], argv[1], argv[2] ?: "", c.status);
	return c;
}

static struct spread say(struct sched_world *w, const char *what, const char *key, double *at, size_t n,
			 const char *unit, const char *target)
{
	struct spread s = spread_of(at, n);
	printf("%-46s %9.1f %s (%.1f to %.1f)%s%s\n", what, s.median, unit, s.low, s.high, *target ? "   target " : "",
	       target);
	fflush(stdout);
	sched_note(w, key, s.median);
	return s;
}

/* ---- from nothing, and again */

static void let_down(void)
{
	if (!cluster || fork())
		return;
	execlp("vine", "vine", "down", "--force", NULL);
	_exit(127);
}

static void open_state(const struct sched_world *w, unsigned i)
{
	unsetenv("VINE");
	free(cluster);
	cluster = xasprintf("%s/home%u", w->directory, i);
	if (mkdir(cluster, 0700) < 0)
		sched_fail("%s: %s", cluster, strerror(errno));
	setenv("XDG_STATE_HOME", cluster, 1);
}

static void close_state(const struct sched_world *w)
{
	type(w, WORDS("vine", "down"));
	free(steal(cluster));
}

static double measure_run(struct sched_world *w)
{
	double cold[COLD], warm[WARM], bare[WARM], cpu[WARM];
	unsigned n_cold = w->is_quick ? 1 : COLD;
	atexit(let_down);
	for (unsigned i = 0; i < n_cold; i++) {
		if (i)
			close_state(w);
		open_state(w, i);
		cold[i] = type(w, WORDS("vine", "run", "--", "true")).sec * 1e3;
	}
	for (unsigned i = 0; i < WARM; i++) {
		bare[i] = type(w, WORDS("env", "--", "true")).sec * 1e3;
		struct cost c = type(w, WORDS("vine", "run", "--", "true"));
		warm[i] = c.sec * 1e3;
		cpu[i] = c.cpu_sec * 1e3;
	}
	close_state(w);
	say(w, "vine run -- true, from nothing", "run_first_ms", cold, n_cold, "ms", "1000");
	double value = say(w, "vine run -- true, warm", "run_warm_ms", warm, WARM, "ms", "50").median;
	say(w, "  its processor time", "run_cpu_ms", cpu, WARM, "ms", "");
	say(w, "  env -- true", "bare_ms", bare, WARM, "ms", "");
	return value;
}

/* ---- submitting */

/* Files for the sweep of the tutorial, and where it is typed. */
static char *make_params(const struct sched_world *w, unsigned n)
{
	char *at = path_join(w->directory, "sweep");
	if (mkdir(at, 0700) < 0)
		sched_fail("%s: %s", at, strerror(errno));
	for (unsigned i = 1; i <= n; i++) {
		_free_ char *path = xasprintf("%s/params.%u.json", at, i);
		if (path_write(path, "{}", 2, 0600, false) < 0)
			sched_fail("%s: %s", path, strerror(errno));
	}
	return at;
}

static double sweep(struct sched_world *w, const char *in, unsigned n)
{
	_free_ char *name = xasprintf("sweep%u", n), *array = xasprintf("1-%u", n);
	/* No two tasks may make the same. */
	_free_ char *output = xasprintf("out.%u.{i}.json", n);
	struct cost c = type_in(w, in,
				WORDS("vine", "submit", "--name", name, "--array", array, "-i", "./params.{i}.json",
				      "-o", output, "--", "true", "params.{i}.json"));
	if (c.status)
		sched_fail("the sweep ended with status %d", c.status);
	return c.sec * 1e3;
}

static void measure_submit(struct sched_world *w, uint64_t n)
{
	double plain[SUBMITS], indexed[SUBMITS], small[SUBMITS], large[SUBMITS];
	unsigned n_small = w->is_quick ? 100 : 1000;
	_free_ char *array = xasprintf("1-%llu", (unsigned long long)n), *in = make_params(w, 10 * n_small);
	for (unsigned i = 0; i < SUBMITS; i++) {
		_free_ char *state = xasprintf("submit%u", i);
		sched_vined_start(w, state, NULL);
		plain[i] = type(w, WORDS("vine", "submit", "--array", array, "--", "true")).sec * 1e3;
		indexed[i] = type(w, WORDS("vine", "submit", "--array", array, "--", "echo", "{i}")).sec * 1e3;
		small[i] = sweep(w, in, n_small);
		large[i] = sweep(w, in, 10 * n_small);
		sched_vined_kill(w);
	}
	printf("\n%llu tasks as an array; sweeps of %u and %u with a file in and a file out each\n",
	       (unsigned long long)n, n_small, 10 * n_small);
	say(w, "vine submit --array -- true", "submit_ms", plain, SUBMITS, "ms", "2000");
	say(w, "vine submit --array -- echo {i}", "submit_index_ms", indexed, SUBMITS, "ms", "2000");
	say(w, "vine submit, sweep of 1,000", "sweep_1000_ms", small, SUBMITS, "ms", "");
	say(w, "vine submit, sweep of 10,000", "sweep_10000_ms", large, SUBMITS, "ms", "");
}

/* ---- looking at a million */

static const struct {
	const char *key, *target;
	const char *const *argv;
} looks[] = {
	{"status", "100", WORDS("vine", "status")},
	{"status_run", "100", WORDS("vine", "status", "big")},
	{"status_task", "", WORDS("vine", "status", "big/17")},
	{"why_task", "", WORDS("vine", "why", "big/17")},
	{"why_run", "", WORDS("vine", "why", "big")},
	{"logs_failed", "", WORDS("vine", "logs", "big@failed")},
};

static void look_at_all(struct sched_world *w, const char *when, const char *what)
{
	printf("%s, vined has %.0f MiB\n", what, (double)sched_vined_rss(w) / 1048576);
	for (size_t k = 0; k < countof(looks); k++) {
		double at[LOOKS];
		_free_ char *key = xasprintf("%s_%s_ms", looks[k].key, when);
		const char *const *argv = looks[k].argv;
		_free_ char *text = xasprintf("%s %s %s", argv[0], argv[1], argv[2] ?: "");
		for (unsigned i = 0; i < LOOKS; i++) {
			struct cost c = type_in(w, NULL, argv);
			if (c.status > 1)
				sched_fail("%s ended with status %d", text, c.status);
			at[i] = c.sec * 1e3;
		}
		/* The first look may have had something to count. */
		printf("  first %6.1f ms; ", at[0]);
		say(w, text, key, at, LOOKS, "ms", looks[k].target);
	}
}

static uint64_t vined_peak(const struct sched_world *w)
{
	_free_ char *path = xasprintf("/proc/%d/status", w->vined);
	size_t n = 0;
	unsigned long long kib = 0;
	_free_ char *text = path_read(path, 8192, &n);
	const char *at = text ? strstr(text, "VmHWM:") : NULL;
	if (!at || sscanf(at, "VmHWM: %llu", &kib) != 1)
		sched_fail("%s cannot be read", path);
	return kib << 10;
}

/* With what vined spends on it, how long it leaves others waiting meanwhile, and how much memory it had at most. */
static void say_long(struct sched_world *w, const char *const argv[])
{
	struct sched_cpu before = sched_vined_cpu(w);
	double began_sec = bench_now_sec(), longest = 0;
	pid_t pid = begin(w, NULL, argv);
	siginfo_t done = {.si_pid = 0};
	while (waitid(P_PID, (id_t)pid, &done, WEXITED | WNOHANG | WNOWAIT) == 0 && !done.si_pid) {
		/* It may have been forgotten just now. */
		double sec = type_in(w, NULL, WORDS("vine", "status", "big")).sec;
		longest = max(longest, sec);
	}
	struct cost c = end(pid, began_sec);
	struct sched_cpu after = sched_vined_cpu(w);
	_free_ char *key = xasprintf("%s_million_s", argv[1]);
	if (c.status > 1 && c.status != 125)
		sched_fail("%s ended with status %d", argv[1], c.status);
	printf("vine %s %s: %.2f s, vined's loop %.2f s, its writer %.2f s, others waited up to %.2f s, vined had at "
	       "most "
	       "%.0f MiB\n",
	       argv[1], argv[2], c.sec, after.loop_sec - before.loop_sec, after.writer_sec - before.writer_sec, longest,
	       (double)vined_peak(w) / 1048576);
	fflush(stdout);
	sched_note(w, key, c.sec);
}

static void submit_big(struct sched_world *w, uint64_t first, uint64_t last)
{
	_free_ char *array = xasprintf("%llu-%llu", (unsigned long long)first, (unsigned long long)last);
	if (first > 1)
		type(w, WORDS("vine", "submit", "--name", "big", "--add", "--array", array, "--", "true"));
	else
		type(w, WORDS("vine", "submit", "--name", "big", "--array", array, "--", "true"));
}

/* Fake nodes run all that there is. */
static void run_all(struct sched_world *w, uint64_t n)
{
	struct sched_fakes fakes;
	double end_sec = bench_now_sec() + 300;
	sched_fakes_start(w, &fakes, 16, WORDS("cores=16"), true);
	while (sched_fakes_ask(&fakes, "numbers").ended < n) {
		if (bench_now_sec() > end_sec)
			sched_fail("%llu tasks take more than 300 s", (unsigned long long)n);
		sched_pause(0.05);
	}
	sched_fakes_stop(&fakes);
}

static void measure_million(struct sched_world *w, uint64_t n)
{
	printf("\n");
	sched_vined_start(w, "waiting", NULL);
	submit_big(w, 1, n);
	look_at_all(w, "waiting", "all wait");
	sched_vined_kill(w);
	sched_vined_start(w, "half", NULL);
	submit_big(w, 1, n / 2);
	run_all(w, n / 2);
	submit_big(w, n / 2 + 1, n);
	look_at_all(w, "half", "half have ended");
	say_long(w, WORDS("vine", "cancel", "big"));
	say_long(w, WORDS("vine", "wait", "big"));
	look_at_all(w, "over", "all are over");
	sched_vined_stop(w);
	sched_vined_start(w, NULL, NULL);
	look_at_all(w, "again", "all are over, vined has just started");
	say_long(w, WORDS("vine", "forget", "big"));
	sched_vined_stop(w);
}

/* ---- waiting */

/* All of a run of null tasks of 0.1 s, a thousand at once: what the commands that wait use, and what vined does. */
static double run_waited(struct sched_world *w, struct sched_fakes *f, uint64_t n, unsigned n_waiting,
			 double *vined_sec)
{
	static unsigned run;
	_free_ char *name = xasprintf("waited%u", run++), *array = xasprintf("1-%llu", (unsigned long long)n);
	uint64_t before = sched_fakes_ask(f, "numbers").ended;
	struct sched_cpu used = sched_vined_cpu(w);
	pid_t pids[2];
	double sum = 0, began_sec = bench_now_sec();
	type(w, WORDS("vine", "submit", "--name", name, "--array", array, "--", "true"));
	for (unsigned i = 0; i < n_waiting; i++)
		pids[i] = begin(w, NULL, WORDS("vine", "wait", "-q", name));
	while (sched_fakes_ask(f, "numbers").ended - before < n) {
		if (bench_now_sec() > began_sec + 120)
			sched_fail("%llu tasks take more than 120 s", (unsigned long long)n);
		sched_pause(0.05);
	}
	for (unsigned i = 0; i < n_waiting; i++) {
		struct cost c = end(pids[i], began_sec);
		if (c.status)
			sched_fail("vine wait ended with status %d", c.status);
		sum += c.cpu_sec;
	}
	struct sched_cpu now = sched_vined_cpu(w);
	*vined_sec = now.loop_sec + now.writer_sec - used.loop_sec - used.writer_sec;
	return sum;
}

static void measure_wait(struct sched_world *w)
{
	uint64_t n = w->is_quick ? WAITED / 10 : WAITED;
	double own[WAITS], extra[WAITS], second[WAITS], percent[WAITS];
	struct sched_fakes fakes;
	sched_vined_start(w, "wait", NULL);
	sched_fakes_start(w, &fakes, 10, WORDS("cores=10", "usec=100000"), true);
	double took_sec = (double)n / 1000;
	printf("\n%llu tasks in %.0f s\n", (unsigned long long)n, took_sec);
	for (unsigned i = 0; i < WAITS; i++) {
		double alone, one, two;
		run_waited(w, &fakes, n, 0, &alone);
		own[i] = run_waited(w, &fakes, n, 1, &one) * 1e3;
		run_waited(w, &fakes, n, 2, &two);
		extra[i] = (one - alone) * 1e3;
		second[i] = (two - one) * 1e3;
		percent[i] = (own[i] + extra[i]) / 1e3 / took_sec * 100;
	}
	sched_fakes_stop(&fakes);
	sched_vined_stop(w);
	say(w, "vine wait, its processor time", "wait_cpu_ms", own, WAITS, "ms", "");
	say(w, "  what vined spends more than without", "wait_vined_ms", extra, WAITS, "ms", "");
	say(w, "  and with a second one", "wait_second_ms", second, WAITS, "ms", "");
	say(w, "vine wait, both, of a core", "wait_percent", percent, WAITS, "%", "1");
}

static void measure(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", MILLION);
	double value = measure_run(w);
	measure_submit(w, n);
	measure_million(w, n);
	measure_wait(w);
	sched_end(w, value, "ms", "50");
}

int main(void)
{
	static const struct sched_bench bench = {"cli", 900, 4000, measure};
	return sched_world_run(&bench);
}
