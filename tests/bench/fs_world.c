/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fs_world.h"
#include "common/path.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

_Noreturn void fs_fail(const char *fmt, ...)
{
	va_list args;
	fflush(stdout);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* ---- commands and the node */

void fs_run(const char *const argv[])
{
	int status = -1;
	assert(argv[0]);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[0], (char **)(uintptr_t)argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		fs_fail("%s %s: status %x", argv[0], argv[1] ? argv[1] : "", (unsigned)status);
}

void fs_mount(const char *path, const char *directory)
{
	path_make_dirs(directory, 0755);
	fs_run((const char *const[]){"vine", "mount", "-q", path, directory, NULL});
}

void fs_umount(const char *directory)
{
	fs_run((const char *const[]){"vine", "umount", directory, NULL});
}

static pid_t parent_of(const char *pid, char name[32])
{
	_free_ char *path = xasprintf("/proc/%s/stat", pid);
	int parent = 0;
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%31[^)]) %*c %d", name, &parent) != 2)
		parent = 0;
	if (f)
		fclose(f);
	return parent;
}

pid_t fs_worker(const struct fs_world *w)
{
	pid_t found = 0;
	const struct dirent *e;
	char name[32];
	assert(w->keeper > 1);
	DIR *d = opendir("/proc");
	while (d && !found && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && parent_of(e->d_name, name) == w->keeper &&
		    streq(name, "vinefs"))
			found = (pid_t)atoi(e->d_name);
	if (d)
		closedir(d);
	return found;
}

static void start_node(struct fs_world *w)
{
	int out[2];
	char line[256];
	_free_ char *state = path_join(w->directory, "node");
	_free_ char *state_word = xasprintf("--state=%s", state);
	_free_ char *log = xasprintf("--log=%s/log", w->directory);
	if (pipe2(out, O_CLOEXEC) < 0)
		fs_fail("pipe: %s", strerror(errno));
	w->keeper = fork();
	if (w->keeper == 0) {
		dup2(out[1], STDOUT_FILENO);
		execlp("vinefs", "vinefs", "--vined=none", state_word, log, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof line, f) || !has_prefix(line, "vinefs ready"))
		fs_fail("vinefs does not start: is it in PATH, as make bench has it?");
	/* Its reading end stays open: the node may say more. */
	setenv("VINE_NODE", state, 1);
}

/* ---- the world */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static _Noreturn void be_first(struct fs_world *w, void (*body)(struct fs_world *), const sigset_t *before)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_SETMASK, before, NULL);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		bench_cannot(w->name, "no mounts of its own");
	w->details = open_memstream(&w->details_text, &w->n_details);
	assert(w->details);
	start_node(w);
	body(w);
	exit(0);
}

/* A signal that would end this process ends the world first, for the directory's sake. */
static int await(pid_t pid, const char *name, unsigned limit_sec, const sigset_t *set)
{
	int status = 0;
	double end_sec = bench_now_sec() + limit_sec;
	for (;;) {
		const struct timespec second = {.tv_sec = 1};
		int got = sigtimedwait(set, NULL, &second);
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (got != SIGINT && got != SIGTERM && bench_now_sec() < end_sec)
			continue;
		fprintf(stderr, "%s: %s\n", name, got > 0 ? "interrupted" : "takes too long");
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return 1;
	}
}

int fs_world_run(const char *name, unsigned limit_sec, void (*body)(struct fs_world *))
{
	struct fs_world w = {.name = name, .directory = "/var/tmp/vine-bench-XXXXXX"};
	sigset_t set, before;
	if (geteuid() != 0 || access("/dev/fuse", W_OK) < 0)
		bench_cannot(name, "needs root and /dev/fuse");
	if (unshare(CLONE_NEWPID) < 0)
		bench_cannot(name, "no PID namespaces");
	if (!mkdtemp(w.directory))
		bench_cannot(name, w.directory);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		be_first(&w, body, &before);
	int status = pid < 0 ? 1 : await(pid, name, limit_sec, &set);
	if (nftw(w.directory, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
		fprintf(stderr, "%s is left: %s\n", w.directory, strerror(errno));
	return status;
}

/* ---- trees */

/* splitmix64: each offset its own, so that neither a blob nor a page is there twice. */
uint64_t fs_word(uint64_t offset)
{
	uint64_t z = offset + 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void fs_path_of(char *to, size_t n, const char *root, unsigned i)
{
	int len = snprintf(to, n, "%s/d%02u/f%05u", root, i % FS_DIRECTORIES, i);
	assert(len > 0 && (size_t)len < n);
}

void fs_make_files(const char *root, unsigned seed)
{
	char path[192];
	uint64_t bytes[1024];
	for (unsigned i = 0; i < FS_DIRECTORIES; i++) {
		snprintf(path, sizeof path, "%s/d%02u", root, i);
		if (path_make_dirs(path, 0755) < 0)
			fs_fail("%s: %s", path, strerror(errno));
	}
	for (unsigned i = 0; i < FS_FILES; i++) {
		uint64_t first = ((uint64_t)seed << 32 | i) << 16;
		for (size_t j = 0; j < countof(bytes); j++)
			bytes[j] = fs_word(first + j);
		fs_path_of(path, sizeof path, root, i);
		if (path_write(path, bytes, 500 + i * 31 % 7000, 0644, false) < 0)
			fs_fail("%s: %s", path, strerror(errno));
	}
}

void fs_make_big(const char *path, uint64_t size)
{
	enum { STEP_SIZE = 1 << 20 };
	_free_ uint64_t *block = xmalloc(STEP_SIZE);
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert(size % STEP_SIZE == 0);
	for (uint64_t at = 0; at < size; at += STEP_SIZE) {
		for (size_t i = 0; i < STEP_SIZE / sizeof *block; i++)
			block[i] = fs_word(at + i * sizeof *block);
		if (write(fd, block, STEP_SIZE) != STEP_SIZE)
			fs_fail("%s: %s", path, strerror(errno));
	}
	/* Not written back in the middle of what is measured. */
	fdatasync(fd);
}

/* ---- comparing */

static double timed(const struct fs_compare *c, const char *root)
{
	double start_sec = bench_now_sec();
	c->work(c, root);
	return (bench_now_sec() - start_sec) / c->n_steps * 1e6;
}

double fs_compare(struct fs_world *w, struct fs_compare *c)
{
	double native[FS_PAIRS], served[FS_PAIRS], ratio[FS_PAIRS];
	assert(c->work && c->n_steps > 0);
	if (!c->prepare)
		timed(c, c->native);
	if (!c->is_first)
		timed(c, c->served);
	for (unsigned i = 0; i < FS_PAIRS; i++) {
		if (c->prepare) {
			c->prepare(c, i);
			timed(c, c->native);
		}
		native[i] = timed(c, c->native);
		served[i] = timed(c, c->served);
		ratio[i] = served[i] / native[i];
	}
	struct spread a = spread_of(native, FS_PAIRS), b = spread_of(served, FS_PAIRS), r = spread_of(ratio, FS_PAIRS);
	printf("%-36s native %10.2f us (%.2f .. %.2f), mount %10.2f us (%.2f .. %.2f), ratio %.3f (%.3f .. %.3f)\n",
	       c->what, a.median, a.low, a.high, b.median, b.low, b.high, r.median, r.low, r.high);
	fflush(stdout);
	fprintf(w->details,
		"%s\"%s\":{\"native_usec\":[%.6g,%.6g,%.6g],\"mount_usec\":[%.6g,%.6g,%.6g],\"ratio\":[%.4g,%.4g,%.4g]"
		"}",
		ftell(w->details) ? "," : "", c->what, a.median, a.low, a.high, b.median, b.low, b.high, r.median,
		r.low, r.high);
	return r.median;
}

void fs_end(struct fs_world *w, double value, const char *unit, const char *target)
{
	fflush(w->details);
	assert(w->n_details > 0);
	bench_end(w->name, value, unit, target, "%s", w->details_text);
}
