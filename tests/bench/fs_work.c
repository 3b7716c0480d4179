/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fs_work.h"
#include "common/path.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- small files */

enum { THREADS_MOST = 8, FILE_MOST = 65536 };

struct part {
	const char *root;
	unsigned first, step, end;
	bool is_stat;
};

/* In an order that is neither the tree's nor the disk's. */
static void *visit_part(void *arg)
{
	const struct part *p = arg;
	char path[320], bytes[16384];
	struct stat st;
	for (unsigned i = p->first; i < p->end; i += p->step) {
		fs_path_of(path, sizeof path, p->root, (unsigned)((uint64_t)i * 7919 % p->end));
		if (p->is_stat) {
			if (stat(path, &st) < 0)
				fs_fail("%s: %s", path, strerror(errno));
			continue;
		}
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, bytes, sizeof bytes) < 500)
			fs_fail("%s: %s", path, strerror(errno));
		close(fd);
	}
	return NULL;
}

static void visit(const char *root, unsigned n_threads, unsigned n_files, bool is_stat)
{
	pthread_t at[THREADS_MOST];
	struct part parts[THREADS_MOST];
	assert(n_threads >= 1 && n_threads <= THREADS_MOST);
	for (unsigned i = 0; i < n_threads; i++) {
		parts[i] = (struct part){root, i, n_threads, n_files, is_stat};
		if (pthread_create(&at[i], NULL, visit_part, &parts[i]) != 0)
			fs_fail("no thread");
	}
	for (unsigned i = 0; i < n_threads; i++)
		pthread_join(at[i], NULL);
}

static void do_read(const char *root, unsigned n_threads, unsigned n_files)
{
	visit(root, n_threads, n_files, false);
}

static void do_stat(const char *root, unsigned n_threads, unsigned n_files)
{
	visit(root, n_threads, n_files, true);
}

static void read_small(const char *root, unsigned i)
{
	static char bytes[FILE_MOST];
	char path[320];
	fs_small_path(path, sizeof path, root, i);
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, bytes, sizeof bytes) < 32)
		fs_fail("%s: %s", path, strerror(errno));
}

/* The first `n` small files of the real sizes, one after another. */
static void do_read_in_order(const char *root, unsigned n, unsigned of)
{
	assert(n <= of);
	for (unsigned i = 0; i < n; i++)
		read_small(root, i);
}

/* `n` of all `of`, each at most once: the stride has no factor in common with their number. */
static void do_read_at_random(const char *root, unsigned n, unsigned of)
{
	assert(n <= of && of % 7919 != 0);
	for (unsigned i = 0; i < n; i++)
		read_small(root, (unsigned)((uint64_t)i * 7919 % of));
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

static void do_walk(const char *root, unsigned n_files, unsigned m)
{
	unsigned n = walk(AT_FDCWD, root);
	(void)m;
	if (n_files && n != n_files)
		fs_fail("%s has %u files, not %u", root, n, n_files);
}

/* ---- a large file */

static int open_big(const char *root)
{
	_free_ char *path = path_join(root, "big");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fs_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void do_sequence(const char *root, unsigned n_mib, unsigned m)
{
	_close_ int fd = open_big(root);
	_free_ uint64_t *block = xmalloc(MIB);
	(void)m;
	for (unsigned i = 0; i < n_mib; i++)
		if (read(fd, block, MIB) != (ssize_t)MIB || block[0] != fs_word(i * MIB))
			fs_fail("%s/big: wrong at MiB %u", root, i);
}

static void do_random(const char *root, unsigned n, unsigned n_mib)
{
	_close_ int fd = open_big(root);
	uint64_t bytes[512];
	assert(n_mib > 0);
	for (unsigned i = 0; i < n; i++) {
		uint64_t offset = fs_word(i) % (n_mib * MIB / sizeof bytes) * sizeof bytes;
		if (pread(fd, bytes, sizeof bytes, (off_t)offset) != sizeof bytes || bytes[0] != fs_word(offset))
			fs_fail("%s/big: wrong at %llu", root, (unsigned long long)offset);
	}
}

static void do_touch(const char *root, unsigned n_mib, unsigned m)
{
	_close_ int fd = open_big(root);
	uint64_t size = n_mib * MIB, wrong = 0;
	const uint64_t *at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	(void)m;
	if (at == MAP_FAILED)
		fs_fail("%s/big: %s", root, strerror(errno));
	for (uint64_t i = 0; i < size; i += 4096)
		wrong += at[i / sizeof *at] != fs_word(i);
	munmap((void *)(uintptr_t)at, size);
	if (wrong)
		fs_fail("%s/big: %llu pages are wrong", root, (unsigned long long)wrong);
}

/* Whether the large file is bound over its path, as it is on another filesystem then: a figure must not be taken for the other's. */
static void do_expect_bound(const char *root, unsigned is_bound, unsigned m)
{
	struct stat dir, file;
	_free_ char *path = path_join(root, "big");
	(void)m;
	if (stat(root, &dir) < 0 || stat(path, &file) < 0)
		fs_fail("%s: %s", path, strerror(errno));
	if ((dir.st_dev != file.st_dev) != (bool)is_bound)
		fs_fail("%s is %s, and should not be", path, is_bound ? "served" : "bound");
}

/* ---- writing */

/* One that was not there: what is written over is another matter, and files are created slowly where others were just removed. */
static void fresh_path(char *to, size_t size, const char *directory)
{
	static unsigned n;
	snprintf(to, size, "%s/written-%d-%u", directory, (int)getpid(), n++);
}

static char last_written[600];

/* And to the disk with it. */
static void do_write(const char *directory, unsigned n_mib, unsigned block_kib)
{
	size_t size = (size_t)block_kib << 10;
	_free_ char *block = xmalloc(size);
	memset(block, 'w', size);
	assert(block_kib > 0 && block_kib <= 1024);
	fresh_path(last_written, sizeof last_written, directory);
	_close_ int fd = open(last_written, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	for (uint64_t done = 0; fd >= 0 && done < n_mib * MIB; done += size)
		if (write(fd, block, size) != (ssize_t)size)
			fs_fail("%s: %s", last_written, strerror(errno));
	if (fd < 0 || fsync(fd) < 0)
		fs_fail("%s: %s", last_written, strerror(errno));
}

/* What do_write() made last, outside of its time. */
static void do_unwrite(const char *directory, unsigned n, unsigned m)
{
	(void)n;
	(void)m;
	if (unlink(last_written) < 0)
		fs_fail("%s in %s: %s", last_written, directory, strerror(errno));
	sync();
}

static void do_create(const char *directory, unsigned n_files, unsigned n_bytes)
{
	char path[600], name[32], bytes[4096] = "";
	assert(n_bytes <= sizeof bytes);
	fresh_path(path, sizeof path, directory);
	if (mkdir(path, 0755) < 0)
		fs_fail("%s: %s", path, strerror(errno));
	_close_ int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < n_files; i++) {
		snprintf(name, sizeof name, "%u", i);
		_close_ int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes)
			fs_fail("%s/%s: %s", path, name, strerror(errno));
	}
}

/* ---- imports */

static const char import_all[] = "import sys, numpy, scipy, pandas, sklearn\n"
				 "assert sklearn.__file__.startswith(sys.argv[1]), sklearn.__file__";
static const char import_torch[] = "import sys, torch\n"
				   "assert torch.__file__.startswith(sys.argv[1]), torch.__file__";

/* Debian's files keep their places below `root`; their interpreter is the system's. */
static _Noreturn void exec_torch(const char *root)
{
	const char *machine =
#ifdef __x86_64__
		"x86_64-linux-gnu";
#else
		"aarch64-linux-gnu";
#endif
	_free_ char *packages = xasprintf("%s/usr/lib/python3/dist-packages", root);
	_free_ char *libraries = xasprintf("%s/usr/lib/%s:%s/usr/lib/%s/blas:%s/usr/lib/%s/lapack:%s/usr/lib:%s/lib/%s",
					   root, machine, root, machine, root, machine, root, root, machine);
	setenv("PYTHONPATH", packages, 1);
	setenv("LD_LIBRARY_PATH", libraries, 1);
	execl("/usr/bin/python3", "python3", "-c", import_torch, root, (char *)NULL);
	_exit(127);
}

static pid_t start_python(const char *root, bool is_torch)
{
	pid_t pid = fork();
	if (pid == 0) {
		/* The agent's own streams carry its answers. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		if (is_torch)
			exec_torch(root);
		_free_ char *python = path_join(root, "bin/python3");
		execl(python, python, "-c", import_all, root, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void import(const char *root, unsigned n, bool is_torch)
{
	pid_t at[THREADS_MOST];
	assert(n >= 1 && n <= countof(at));
	for (unsigned i = 0; i < n; i++)
		at[i] = start_python(root, is_torch);
	for (unsigned i = 0; i < n; i++) {
		int status = -1;
		if (at[i] < 0 || waitpid(at[i], &status, 0) < 0 || status != 0)
			fs_fail("python3 does not import from %s: status %x", root, (unsigned)status);
	}
}

static void do_import(const char *root, unsigned n, unsigned m)
{
	(void)m;
	import(root, n, false);
}

static void do_import_torch(const char *root, unsigned n, unsigned m)
{
	(void)m;
	import(root, n, true);
}

/* ---- an overlay above the mount, as VIEWS.md has it */

/* `directory` has lower (a link to the mount), upper, work and merged. The ordinary user needs a namespace of his own for it. */
static void do_overlay(const char *directory, unsigned n, unsigned m)
{
	bool is_root = geteuid() == 0;
	char lower[PATH_MAX];
	_free_ char *link = path_join(directory, "lower"), *merged = path_join(directory, "merged");
	(void)n;
	(void)m;
	if (!realpath(link, lower))
		fs_fail("%s: %s", link, strerror(errno));
	if (!is_root) {
		_free_ char *map = xasprintf("%u %u 1", geteuid(), geteuid());
		_free_ char *group_map = xasprintf("%u %u 1", getegid(), getegid());
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			fs_fail("no user namespace: %s", strerror(errno));
		_close_ int deny = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
		_close_ int users = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
		_close_ int groups = open("/proc/self/gid_map", O_WRONLY | O_CLOEXEC);
		if (write(deny, "deny", 4) < 0 || write(users, map, strlen(map)) < 0 ||
		    write(groups, group_map, strlen(group_map)) < 0)
			fs_fail("identity map: %s", strerror(errno));
	}
	_free_ char *options =
		xasprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,xino=on,volatile,%s", lower, directory,
			  directory, is_root ? "redirect_dir=off,metacopy=off,index=off" : "userxattr");
	if (mount("overlay", merged, "overlay", MS_NOSUID, options) < 0)
		fs_fail("overlay (%s): %s", options, strerror(errno));
}

/* ---- readers that meet a crash */

/* Forgets what it will read, so that each read is a request. The files are smaller than what is bound. */
static void read_until_told(struct crash_log *log, unsigned self, const char *root)
{
	static uint64_t bytes[CRASH_RANGE / 8];
	const struct timespec think = {.tv_nsec = 500000};
	unsigned window;
	for (uint64_t i = self; (window = __atomic_load_n(&log->window, __ATOMIC_ACQUIRE)) < CRASH_WINDOWS;
	     i += CRASH_READERS) {
		char path[320];
		uint64_t file = fs_word(i) % CRASH_FILES,
			 offset = fs_word(~i) % (CRASH_FILE_SIZE / CRASH_RANGE) * CRASH_RANGE, wrong = 0;
		snprintf(path, sizeof path, "%s/%03u", root, (unsigned)file);
		_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		posix_fadvise(fd, (off_t)offset, CRASH_RANGE, POSIX_FADV_DONTNEED);
		double start_sec = bench_now_sec();
		ssize_t n = pread(fd, bytes, CRASH_RANGE, (off_t)offset);
		uint64_t nsec = (uint64_t)((bench_now_sec() - start_sec) * 1e9);
		for (unsigned j = 0; n == CRASH_RANGE && j < countof(bytes); j++)
			wrong += bytes[j] != fs_word(file * CRASH_FILE_SIZE + offset + j * 8);
		log->at[self].n_errors += n != CRASH_RANGE || wrong;
		log->at[self].n_reads++;
		if (nsec > log->at[self].longest_nsec[window])
			log->at[self].longest_nsec[window] = nsec;
		nanosleep(&think, NULL);
	}
}

/* Beside what it is told: ROOT has a link named log to what they share, and tree to the mount. */
static void do_crash(const char *directory, unsigned n, unsigned m)
{
	pid_t at[CRASH_READERS];
	_free_ char *log_path = path_join(directory, "log"), *root = path_join(directory, "tree");
	(void)n;
	(void)m;
	_close_ int fd = open(log_path, O_RDWR | O_CLOEXEC);
	struct crash_log *log = mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		fs_fail("%s: %s", log_path, strerror(errno));
	for (unsigned i = 0; i < CRASH_READERS; i++) {
		at[i] = fork();
		if (at[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			read_until_told(log, i, root);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < CRASH_READERS; i++) {
		int status = -1;
		if (at[i] < 0 || waitpid(at[i], &status, 0) < 0 || status != 0)
			fs_fail("a reader died");
	}
}

/* ---- the agent */

static const struct {
	const char *name;
	void (*work)(const char *path, unsigned n, unsigned m);
} works[] = {
	{"crash", do_crash},
	{"create", do_create},
	{"expect-bound", do_expect_bound},
	{"import", do_import},
	{"import-torch", do_import_torch},
	{"overlay", do_overlay},
	{"random", do_random},
	{"read", do_read},
	{"read-at-random", do_read_at_random},
	{"read-in-order", do_read_in_order},
	{"sequence", do_sequence},
	{"stat", do_stat},
	{"touch", do_touch},
	{"unwrite", do_unwrite},
	{"walk", do_walk},
	{"write", do_write},
};

int fs_agent_main(char *const fifos[])
{
	char line[600], name[32], path[512];
	unsigned n, m;
	if (fifos[0] && (!freopen(fifos[1], "we", stdout) || !freopen(fifos[0], "re", stdin)))
		fs_fail("%s: %s", fifos[0], strerror(errno));
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("agent");
	while (fgets(line, sizeof line, stdin)) {
		size_t i = 0;
		if (sscanf(line, "%31s %u %u %511[^\n]", name, &n, &m, path) != 4)
			fs_fail("agent: what is '%s'?", line);
		while (i < countof(works) && !streq(works[i].name, name))
			i++;
		if (i == countof(works))
			fs_fail("agent: %s is no work", name);
		double start_sec = bench_now_sec();
		works[i].work(path, n, m);
		printf("%.1f\n", (bench_now_sec() - start_sec) * 1e6);
	}
	return 0;
}
