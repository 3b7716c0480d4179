/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/sched_world.h"
#include "common/path.h"
#include "tests/bench/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_SEC 30 /* of daemons that were told to */

void sched_fail(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fflush(stdout);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

uint64_t sched_scaled(const struct sched_world *w, const char *variable, uint64_t n)
{
	const char *said = getenv(variable);
	uint64_t wanted = said && *said ? strtoull(said, NULL, 10) : 0;
	return wanted ? wanted : w->is_quick ? max(n / 50, (uint64_t)1) : n;
}

void sched_note(struct sched_world *w, const char *key, double value)
{
	fprintf(w->details, "\"%s\":%.6g,", key, value);
}

void sched_end(struct sched_world *w, double value, const char *unit, const char *target)
{
	fflush(w->details);
	bench_end(w->name, value, unit, target, "%s\"cores\":%ld", w->details_text, sysconf(_SC_NPROCESSORS_ONLN));
}

void sched_pause(double sec)
{
	struct timespec t = {.tv_sec = (time_t)sec, .tv_nsec = (long)((sec - (double)(time_t)sec) * 1e9)};
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* ---- processes */

/* They die with this process, however it ends. What they say goes into a file, their standard output to us if `from` is asked for. */
static pid_t start(struct sched_world *w, const char *log, const char *const argv[], FILE **to, FILE **from)
{
	int in[2] = {-1, -1}, out[2];
	_free_ char *path = xasprintf("%s/%s.log", w->directory, log);
	if (pipe2(out, O_CLOEXEC) < 0 || (to && pipe2(in, O_CLOEXEC) < 0))
		sched_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		sched_fail("fork: %s", strerror(errno));
	if (pid == 0) {
		int err = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || err < 0)
			_exit(127);
		dup2(to ? in[0] : none, STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		execvp(argv[0], (char **)(uintptr_t)argv);
		dprintf(out[1], "%s: %s: is it in PATH, as make bench has it?\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(out[1]);
	*from = fdopen(out[0], "r");
	if (to) {
		close(in[0]);
		*to = fdopen(in[1], "w");
	}
	if (!*from || (to && !*to))
		sched_fail("fdopen: %s", strerror(errno));
	return pid;
}

static void await_end(pid_t pid, const char *name, bool is_killed)
{
	double end_sec = bench_now_sec() + END_SEC;
	int status = -1;
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (bench_now_sec() > end_sec)
			sched_fail("%s does not end", name);
		sched_pause(0.002);
	}
	if (!is_killed && status != 0)
		sched_fail("%s ended with status %x", name, (unsigned)status);
}

/* The words of a command, with `extra` behind them. */
static const char **words_of(const char *const fixed[], const char *const extra[])
{
	size_t n = 0, i = 0, m = 0;
	while (fixed[n])
		n++;
	while (extra && extra[m])
		m++;
	const char **all = xcalloc(n + m + 1, sizeof *all);
	for (; i < n; i++)
		all[i] = fixed[i];
	for (; i < n + m; i++)
		all[i] = extra[i - n];
	return all;
}

static void await_line(FILE *from, const char *begin, char line[512])
{
	if (!fgets(line, 512, from) || !has_prefix(line, begin))
		sched_fail("expected '%s', got: %s", begin, feof(from) ? "the end" : line);
}

/* ---- vined */

double sched_vined_start(struct sched_world *w, const char *state, const char *const extra[])
{
	char line[512];
	FILE *from;
	assert(!w->vined);
	if (state)
		snprintf(w->state, sizeof w->state, "%s/%s", w->directory, state);
	_free_ char *where = xasprintf("--state=%s", w->state);
	/* Warnings are for a reader; what the log of ten thousand joins costs is paid all the same. */
	_free_ const char **argv = words_of((const char *const[]){"vined", where, "--listen=127.0.0.1:0", NULL}, extra);
	w->vined = start(w, path_base(w->state), argv, NULL, &from);
	await_line(from, "vined ready", line);
	double ready_sec = bench_now_sec();
	const char *at = strstr(line, "address=");
	if (!at || sscanf(at, "address=%63s", w->address) != 1)
		sched_fail("vined's ready line has no address: %s", line);
	/* It says nothing more there. */
	fclose(from);
	setenv("VINE", w->state, 1);
	return ready_sec;
}

static void end_vined(struct sched_world *w, int signo)
{
	pid_t pid = w->vined;
	assert(pid > 1);
	w->vined = 0;
	kill(pid, signo);
	await_end(pid, "vined", signo == SIGKILL);
}

void sched_vined_stop(struct sched_world *w)
{
	end_vined(w, SIGTERM);
}

void sched_vined_kill(struct sched_world *w)
{
	end_vined(w, SIGKILL);
}

/* ---- nodes */

pid_t sched_node_start(struct sched_world *w, const char *state, const char *const extra[])
{
	char line[512];
	FILE *from;
	_free_ char *where = xasprintf("--state=%s/%s", w->directory, state);
	_free_ char *vined = xasprintf("--vined=%s", w->address);
	_free_ char *secret = xasprintf("--secret=%s/secret", w->state);
	_free_ const char **argv = words_of((const char *const[]){"vinefs", where, vined, secret, NULL}, extra);
	pid_t pid = start(w, state, argv, NULL, &from);
	await_line(from, "vinefs ready", line);
	fclose(from);
	return pid;
}

void sched_node_stop(pid_t keeper)
{
	assert(keeper > 1);
	kill(keeper, SIGTERM);
	await_end(keeper, "vinefs", false);
}

static char *own_directory(void)
{
	char exe[PATH_MAX] = "";
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
		sched_fail("/proc/self/exe: %s", strerror(errno));
	return xstrndup(exe, (size_t)(path_base(exe) - exe));
}

void sched_fakes_start(struct sched_world *w, struct sched_fakes *f, uint64_t n, const char *const words[],
		       bool is_awaited)
{
	_free_ char *beside = own_directory();
	_free_ char *program = xasprintf("%sfake_nodes", beside);
	_free_ char *secret = xasprintf("%s/secret", w->state);
	_free_ char *count = xasprintf("%llu", (unsigned long long)n);
	_free_ const char **argv = words_of((const char *const[]){program, w->address, secret, count, NULL}, words);
	*f = (struct sched_fakes){.pid = 0};
	f->pid = start(w, "fakes", argv, &f->to, &f->from);
	if (is_awaited)
		sched_fakes_await(f);
}

void sched_fakes_await(struct sched_fakes *f)
{
	char line[512];
	await_line(f->from, "joined", line);
	if (sscanf(line, "joined %*u after %lf", &f->joined_sec) != 1)
		sched_fail("fake nodes: %s", line);
}

struct sched_counts sched_fakes_ask(struct sched_fakes *f, const char *order)
{
	unsigned long long at[6];
	struct sched_counts c;
	char line[512];
	fprintf(f->to, "%s\n", order);
	fflush(f->to);
	await_line(f->from, "joined", line);
	if (sscanf(line, "joined %llu started %llu ended %llu doubled %llu lost %llu away %llu first %lf", &at[0],
		   &at[1], &at[2], &at[3], &at[4], &at[5], &c.first_sec) != 7)
		sched_fail("fake nodes: %s", line);
	c.joined = at[0];
	c.started = at[1];
	c.ended = at[2];
	c.doubled = at[3];
	c.lost = at[4];
	c.away = at[5];
	return c;
}

void sched_fakes_stop(struct sched_fakes *f)
{
	sched_fakes_ask(f, "end");
	fclose(f->to);
	fclose(f->from);
	await_end(f->pid, "fake nodes", false);
}

/* ---- what vined costs */

static double thread_sec(const char *path)
{
	size_t n = 0;
	unsigned long long user, system;
	_free_ char *text = path_read(path, 4096, &n);
	/* Its name may hold anything but ends in the last parenthesis. */
	const char *at = text ? strrchr(text, ')') : NULL;
	if (!at || sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		sched_fail("%s cannot be read", path);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

struct sched_cpu sched_vined_cpu(const struct sched_world *w)
{
	struct sched_cpu cpu = {0};
	_free_ char *tasks = xasprintf("/proc/%d/task", w->vined);
	DIR *d = opendir(tasks);
	if (!d)
		sched_fail("%s: %s", tasks, strerror(errno));
	for (const struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		_free_ char *path = xasprintf("%s/%s/stat", tasks, e->d_name);
		*(atoi(e->d_name) == w->vined ? &cpu.loop_sec : &cpu.writer_sec) += thread_sec(path);
	}
	closedir(d);
	return cpu;
}

uint64_t sched_vined_rss(const struct sched_world *w)
{
	_free_ char *path = xasprintf("/proc/%d/statm", w->vined);
	size_t n = 0;
	unsigned long long pages;
	_free_ char *text = path_read(path, 256, &n);
	if (!text || sscanf(text, "%*u %llu", &pages) != 1)
		sched_fail("%s cannot be read", path);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the world */

struct life {
	struct sched_world world;
	const struct sched_bench *bench;
};

static void be_body(void *arg)
{
	struct life *l = arg;
	struct sched_world *w = &l->world;
	umask(077);
	w->details = open_memstream(&w->details_text, &w->n_details);
	assert(w->details);
	l->bench->body(w);
}

/* Daemons that the body left get their signal from the kernel, as does what they left; they come to us, and are waited for, since they write where we are
 * about to remove. */
static void await_orphans(void)
{
	double end_sec = bench_now_sec() + END_SEC;
	pid_t pid;
	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && bench_now_sec() < end_sec)
		if (pid == 0)
			sched_pause(0.01);
}

static void show_logs(const struct sched_world *w)
{
	_free_ char *command = xasprintf("tail -n 8 %s/*.log >&2", w->directory);
	if (system(command) != 0)
		fprintf(stderr, "no logs\n");
}

static void on_end(void *arg, int status)
{
	const struct life *l = arg;
	await_orphans();
	if (status == 1)
		show_logs(&l->world);
}

int sched_world_run(const struct sched_bench *b)
{
	struct life l = {.world = {.name = b->name, .is_quick = bench_is_quick()}, .bench = b};
	struct scratch scratch;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	scratch_make(&scratch, b->name, b->room_mib);
	scratch.on_end = on_end;
	l.world.directory = scratch.directory;
	return scratch_run(&scratch, b->limit_sec, be_body, &l);
}
