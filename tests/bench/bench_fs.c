/* SPDX-License-Identifier: Apache-2.0
 * TARGETS fs-*: `vine mount` from a standalone node beside the native filesystem, as root, both with their bytes in memory. One program under the names of its
 * benchmarks (bench_fs_walk, or `bench_fs fs-walk`): a new one is a line of `benches` below, with its link's name in Makefile.am.
 * What views will add is not here yet: large files bound over their paths, and the ordinary user. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/fs_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define BIG_SIZE (1024 * MIB)
#define RANDOM_SIZE (256 * MIB)

static void set_roots(const struct fs_world *w, struct fs_compare *c, const char *below)
{
	snprintf(c->native, sizeof c->native, "%s/native%s", w->directory, below);
	snprintf(c->served, sizeof c->served, "%s/m%s", w->directory, below);
}

/* ---- small files */

/* In an order that is neither the tree's nor the disk's. */
static void read_some(const char *root, unsigned first, unsigned step)
{
	char path[192], bytes[16384];
	for (unsigned i = first; i < FS_FILES; i += step) {
		fs_path_of(path, sizeof path, root, (i * 7919u) % FS_FILES);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, bytes, sizeof bytes) < 500)
			fs_fail("%s: %s", path, strerror(errno));
		close(fd);
	}
}

struct part {
	const char *root;
	unsigned first, step;
};

static void *read_part(void *arg)
{
	const struct part *p = arg;
	read_some(p->root, p->first, p->step);
	return NULL;
}

static void do_read(const struct fs_compare *c, const char *root)
{
	pthread_t at[8];
	struct part parts[8];
	assert(c->n >= 1 && c->n <= countof(at));
	for (unsigned i = 0; i < c->n; i++) {
		parts[i] = (struct part){root, i, c->n};
		if (pthread_create(&at[i], NULL, read_part, &parts[i]) != 0)
			fs_fail("no thread");
	}
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(at[i], NULL);
}

static void bench_small_warm(struct fs_world *w)
{
	struct fs_compare c = {.what = "open, read, close by 1 thread", .work = do_read, .n = 1, .n_steps = FS_FILES};
	set_roots(w, &c, "");
	fs_make_files(c.native, 1);
	fs_mount(c.native, c.served);
	double one = fs_compare(w, &c);
	c.what = "open, read, close by 8 threads";
	c.n = 8;
	fs_compare(w, &c);
	fs_end(w, one, "x native", "1.25; 8 threads 1.10");
}

/* Each round has a tree that nobody has read from: no hot set is known. */
static void attach_next(struct fs_compare *c, unsigned round)
{
	char *native = strrchr(c->native, '/'), *served = strrchr(c->served, '/');
	assert(native && served);
	snprintf(native, 4, "/%u", round);
	snprintf(served, 4, "/%u", round);
	fs_mount(c->native, c->served);
}

static void bench_small_first(struct fs_world *w)
{
	struct fs_compare c = {.what = "first visit in random order",
			       .work = do_read,
			       .prepare = attach_next,
			       .n = 1,
			       .n_steps = FS_FILES,
			       .is_first = true};
	for (unsigned i = 0; i < FS_PAIRS; i++) {
		_free_ char *root = xasprintf("%s/native/%u", w->directory, i);
		fs_make_files(root, i);
	}
	set_roots(w, &c, "/0");
	fs_end(w, fs_compare(w, &c), "x native", "8");
}

/* ---- names */

static unsigned walk(int at, const char *name)
{
	struct stat st;
	const struct dirent *e;
	unsigned n = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		fs_fail("%s: %s", name, strerror(errno));
	while ((e = readdir(d))) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			fs_fail("%s: %s", e->d_name, strerror(errno));
		n += S_ISDIR(st.st_mode) ? walk(fd, e->d_name) : 1;
	}
	closedir(d);
	return n;
}

static void do_walk(const struct fs_compare *c, const char *root)
{
	unsigned n = walk(AT_FDCWD, root);
	if (n != c->n)
		fs_fail("%s has %u files, not %u", root, n, c->n);
}

static void attach_again(struct fs_compare *c, unsigned round)
{
	(void)round;
	fs_umount(c->served);
	fs_mount(c->native, c->served);
}

static void bench_walk(struct fs_world *w)
{
	struct fs_compare c = {.what = "find and stat again", .work = do_walk, .n = FS_PAIRS * FS_FILES};
	c.n_steps = c.n;
	set_roots(w, &c, "");
	for (unsigned i = 0; i < FS_PAIRS; i++) {
		_free_ char *root = xasprintf("%s/%u", c.native, i);
		fs_make_files(root, i);
	}
	fs_mount(c.native, c.served);
	double again = fs_compare(w, &c);
	c.what = "find and stat right after attach";
	c.prepare = attach_again;
	c.is_first = true;
	fs_compare(w, &c);
	fs_end(w, again, "x native", "1.05; right after attach 1.10");
}

/* ---- large files */

static int open_big(const char *root)
{
	_free_ char *path = path_join(root, "big");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fs_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void do_sequence(const struct fs_compare *c, const char *root)
{
	_close_ int fd = open_big(root);
	_free_ uint64_t *block = xmalloc(MIB);
	for (unsigned i = 0; i < c->n; i++)
		if (read(fd, block, MIB) != (ssize_t)MIB || block[0] != fs_word(i * MIB))
			fs_fail("%s/big: wrong at MiB %u", root, i);
}

static void do_random(const struct fs_compare *c, const char *root)
{
	_close_ int fd = open_big(root);
	uint64_t bytes[512];
	for (unsigned i = 0; i < c->n; i++) {
		uint64_t offset = fs_word(i) % (RANDOM_SIZE / sizeof bytes) * sizeof bytes;
		if (pread(fd, bytes, sizeof bytes, (off_t)offset) != sizeof bytes || bytes[0] != fs_word(offset))
			fs_fail("%s/big: wrong at %llu", root, (unsigned long long)offset);
	}
}

static void do_touch(const struct fs_compare *c, const char *root)
{
	_close_ int fd = open_big(root);
	uint64_t size = c->n * MIB, wrong = 0;
	const uint64_t *at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		fs_fail("%s/big: %s", root, strerror(errno));
	for (uint64_t i = 0; i < size; i += 4096)
		wrong += at[i / sizeof *at] != fs_word(i);
	munmap((void *)(uintptr_t)at, size);
	if (wrong)
		fs_fail("%s/big: %llu pages are wrong", root, (unsigned long long)wrong);
}

static void make_and_mount_big(const struct fs_world *w, struct fs_compare *c, uint64_t size)
{
	set_roots(w, c, "");
	path_make_dirs(c->native, 0755);
	_free_ char *path = path_join(c->native, "big");
	fs_make_big(path, size);
	fs_mount(c->native, c->served);
}

static void bench_rand(struct fs_world *w)
{
	struct fs_compare c = {.what = "pread of 4 KiB at random", .work = do_random, .n = 50000, .n_steps = 50000};
	make_and_mount_big(w, &c, RANDOM_SIZE);
	struct fs_compare all = c;
	all.n = RANDOM_SIZE / MIB;
	do_sequence(&all, c.served);
	fs_end(w, fs_compare(w, &c), "x native", "1.10");
}

/* What is served; a complete file is to be bound over its path instead, and that is what the first target speaks of. */
static void compare_big(struct fs_world *w, const char *first, const char *again,
			void (*work)(const struct fs_compare *, const char *), const char *target)
{
	struct fs_compare c = {.what = first,
			       .work = work,
			       .prepare = attach_again,
			       .n = BIG_SIZE / MIB,
			       .n_steps = 1,
			       .is_first = true};
	make_and_mount_big(w, &c, BIG_SIZE);
	double served = fs_compare(w, &c);
	c.what = again;
	c.prepare = NULL;
	c.is_first = false;
	fs_compare(w, &c);
	printf("bound over the path: not built yet\n");
	fs_end(w, served, "x native", target);
}

static void bench_seq_first(struct fs_world *w)
{
	compare_big(w, "1 GiB read, served, first", "1 GiB read, served, again", do_sequence,
		    "served 5.0; bound 1.03, not built yet");
}

static void bench_mmap(struct fs_world *w)
{
	compare_big(w, "1 GiB touched, served, first", "1 GiB touched, served, again", do_touch,
		    "bound 1.05, not built yet");
}

/* ---- imports */

static const char import_all[] = "import sys, numpy, scipy, pandas, sklearn\n"
				 "assert sklearn.__file__.startswith(sys.argv[1]), sklearn.__file__";
static char environment[256]; /* what prepare_import() found or made */

static int try_import(const char *root)
{
	_free_ char *python = path_join(root, "bin/python3");
	int status = -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		execl(python, python, "-c", import_all, root, (char *)NULL);
		_exit(127);
	}
	return pid < 0 || waitpid(pid, &status, 0) < 0 ? -1 : status;
}

/* Made once and kept: it is half a gigabyte from the network. */
static void prepare_import(void)
{
	const char *told = getenv("VINE_BENCH_ENV"), *build = getenv("BUILD");
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	_free_ char *made = path_join(build && *build ? build : ".", "bench-env");
	const char *path = told && *told ? told : made;
	char real[PATH_MAX];
	if (path == made && (access(made, X_OK) < 0 || !realpath(made, real) || try_import(real) != 0)) {
		_free_ char *command =
			xasprintf("rm -rf '%s' && python3 -m venv '%s' && timeout 900 '%s/bin/pip' install --quiet "
				  "numpy scipy pandas scikit-learn matplotlib >&2",
				  made, made, made);
		printf("making %s\n", made);
		fflush(stdout);
		if (system(command) != 0)
			bench_cannot("fs-import",
				     "no environment: set VINE_BENCH_ENV to a venv with numpy, scipy, pandas "
				     "and scikit-learn (pip could not make one)");
	}
	if (!realpath(path, real) || strlen(real) >= sizeof environment || try_import(real) != 0)
		bench_cannot("fs-import", "the environment does not import numpy, scipy, pandas and scikit-learn");
	strcpy(environment, real);
}

static void do_import(const struct fs_compare *c, const char *root)
{
	pid_t at[8];
	assert(c->n >= 1 && c->n <= countof(at));
	for (unsigned i = 0; i < c->n; i++) {
		at[i] = fork();
		if (at[i] == 0)
			_exit(try_import(root) == 0 ? 0 : 1);
	}
	for (unsigned i = 0; i < c->n; i++) {
		int status = -1;
		if (at[i] < 0 || waitpid(at[i], &status, 0) < 0 || status != 0)
			fs_fail("python3 does not import from %s", root);
	}
}

static void bench_import(struct fs_world *w)
{
	struct fs_compare c = {.what = "import by 1 process", .work = do_import, .n = 1, .n_steps = 1};
	set_roots(w, &c, "");
	snprintf(c.native, sizeof c.native, "%s", environment);
	fs_mount(c.native, c.served);
	fs_compare(w, &c);
	c.what = "import by 8 processes";
	c.n = 8;
	fs_end(w, fs_compare(w, &c), "x native", "1.10; 1 process 1.15");
}

/* ---- a crash */

enum { N_READERS = 8, N_KILLS = 7, N_WINDOWS = 2 * N_KILLS, RANGE_SIZE = 65536, WINDOW_MSEC = 1200 };

struct readers {
	atomic_uint window; /* N_WINDOWS: the end */
	struct {
		uint64_t longest_nsec[N_WINDOWS], n_reads, n_errors;
	} at[N_READERS];
};

/* Forgets what it will read, so that each read is a request. */
static void read_until_told(struct readers *r, unsigned self, const char *root)
{
	_close_ int fd = open_big(root);
	static uint64_t bytes[RANGE_SIZE / 8];
	const struct timespec think = {.tv_nsec = 500000};
	unsigned window;
	for (uint64_t i = self; (window = atomic_load(&r->window)) < N_WINDOWS; i += N_READERS) {
		uint64_t offset = fs_word(i) % (RANDOM_SIZE / RANGE_SIZE) * RANGE_SIZE, wrong = 0;
		posix_fadvise(fd, (off_t)offset, RANGE_SIZE, POSIX_FADV_DONTNEED);
		double start_sec = bench_now_sec();
		ssize_t n = pread(fd, bytes, RANGE_SIZE, (off_t)offset);
		uint64_t nsec = (uint64_t)((bench_now_sec() - start_sec) * 1e9);
		for (unsigned j = 0; n == RANGE_SIZE && j < countof(bytes); j++)
			wrong += bytes[j] != fs_word(offset + j * 8);
		r->at[self].n_errors += n != RANGE_SIZE || wrong;
		r->at[self].n_reads++;
		if (nsec > r->at[self].longest_nsec[window])
			r->at[self].longest_nsec[window] = nsec;
		nanosleep(&think, NULL);
	}
}

static void pause_msec(unsigned msec)
{
	nanosleep(&(struct timespec){.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L}, NULL);
}

/* The windows by turns: a quiet one, and one with a kill in it. */
static void kill_by_turns(const struct fs_world *w, struct readers *r)
{
	for (unsigned i = 0; i < N_WINDOWS; i++) {
		pid_t worker = fs_worker(w);
		atomic_store(&r->window, i);
		if (i % 2 == 1 && (worker <= 0 || kill(worker, SIGKILL) < 0))
			fs_fail("no vinefs to kill");
		pause_msec(WINDOW_MSEC);
		if (i % 2 == 1 && fs_worker(w) == worker)
			fs_fail("vinefs %d still lives", (int)worker);
	}
	atomic_store(&r->window, N_WINDOWS);
}

static void report_crash(struct fs_world *w, const struct readers *r)
{
	double quiet[N_KILLS], killed[N_KILLS];
	uint64_t n_reads = 0, n_errors = 0;
	for (unsigned i = 0; i < N_WINDOWS; i++) {
		double *msec = &(i % 2 ? killed : quiet)[i / 2];
		*msec = 0;
		for (unsigned j = 0; j < N_READERS; j++)
			*msec = max(*msec, (double)r->at[j].longest_nsec[i] / 1e6);
	}
	for (unsigned j = 0; j < N_READERS; j++) {
		n_reads += r->at[j].n_reads;
		n_errors += r->at[j].n_errors;
	}
	struct spread a = spread_of(quiet, N_KILLS), b = spread_of(killed, N_KILLS);
	printf("longest read of 8 readers in %d ms: quiet %.2f ms (%.2f .. %.2f), with a kill -9 %.2f ms (%.2f .. "
	       "%.2f); %llu reads, "
	       "%llu errors\n",
	       WINDOW_MSEC, a.median, a.low, a.high, b.median, b.low, b.high, (unsigned long long)n_reads,
	       (unsigned long long)n_errors);
	fprintf(w->details,
		"\"quiet_msec\":[%.4g,%.4g,%.4g],\"killed_msec\":[%.4g,%.4g,%.4g],\"reads\":%llu,\"errors\":%llu",
		a.median, a.low, a.high, b.median, b.low, b.high, (unsigned long long)n_reads,
		(unsigned long long)n_errors);
	fs_end(w, b.high, "ms", "10, no errors");
	if (n_errors)
		fs_fail("%llu reads failed or were wrong", (unsigned long long)n_errors);
}

static void bench_crash(struct fs_world *w)
{
	struct fs_compare c = {.what = "crash"};
	pid_t at[N_READERS];
	make_and_mount_big(w, &c, RANDOM_SIZE);
	struct readers *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED)
		fs_fail("mmap: %s", strerror(errno));
	pause_msec(2 * WINDOW_MSEC); /* until the keeper takes vinefs for a steady one */
	fflush(NULL);
	for (unsigned i = 0; i < N_READERS; i++) {
		at[i] = fork();
		if (at[i] == 0) {
			read_until_told(r, i, c.served);
			_exit(0);
		}
	}
	kill_by_turns(w, r);
	for (unsigned i = 0; i < N_READERS; i++) {
		int status = -1;
		if (at[i] < 0 || waitpid(at[i], &status, 0) < 0 || status != 0)
			fs_fail("a reader died");
	}
	report_crash(w, r);
}

/* ---- all of them */

static const struct {
	const char *name;
	unsigned limit_sec;
	void (*body)(struct fs_world *);
	void (*prepare)(void); /* outside of the world and its limit */
} benches[] = {
	{"fs-crash", 120, bench_crash, NULL},
	{"fs-import", 600, bench_import, prepare_import},
	{"fs-mmap", 300, bench_mmap, NULL},
	{"fs-rand", 120, bench_rand, NULL},
	{"fs-seq-first", 300, bench_seq_first, NULL},
	{"fs-small-first", 180, bench_small_first, NULL},
	{"fs-small-warm", 120, bench_small_warm, NULL},
	{"fs-walk", 180, bench_walk, NULL},
};

int main(int argc, char **argv)
{
	const char *base = path_base(argv[0]);
	char *name = xstrdup(argc > 1 ? argv[1] : has_prefix(base, "bench_") ? base + 6 : base);
	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	for (size_t i = 0; i < countof(benches); i++) {
		if (!streq(name, benches[i].name))
			continue;
		if (benches[i].prepare)
			benches[i].prepare();
		return fs_world_run(benches[i].name, benches[i].limit_sec, benches[i].body);
	}
	fs_fail("%s is none of these benchmarks", name);
}
