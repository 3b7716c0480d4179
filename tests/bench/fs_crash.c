/* SPDX-License-Identifier: Apache-2.0
 * kill -9 of vinefs under 8 readers of files that are served, in windows by turns: a quiet one, and one with a kill in it. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_fs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_KILLS = CRASH_WINDOWS / 2, WINDOW_MSEC = 1200 };

static void pause_msec(unsigned msec)
{
	nanosleep(&(struct timespec){.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L}, NULL);
}

static char *make_tree(const struct fs_world *w)
{
	char *native = path_join(w->directory, "native");
	path_make_dirs(native, 0755);
	for (unsigned i = 0; i < CRASH_FILES; i++) {
		_free_ char *path = xasprintf("%s/%03u", native, i);
		fs_make_big(path, CRASH_FILE_SIZE, (uint64_t)i * CRASH_FILE_SIZE);
	}
	return native;
}

/* A directory for the agent: what both write, and where the mount lies. */
static struct crash_log *share(const char *directory, const char *mounted)
{
	_free_ char *path = path_join(directory, "log"), *tree = path_join(directory, "tree");
	struct crash_log *log;
	path_make_dirs(directory, 0755);
	_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, sizeof *log) < 0 || symlink(mounted, tree) < 0)
		fs_fail("%s: %s", directory, strerror(errno));
	log = mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		fs_fail("mmap: %s", strerror(errno));
	return log;
}

static void kill_by_turns(const struct fs_world *w, enum fs_user user, struct crash_log *log)
{
	assert(log && w->nodes[user].keeper > 1);
	pause_msec(2 * WINDOW_MSEC); /* until the keeper takes vinefs for a steady one */
	for (unsigned i = 0; i < CRASH_WINDOWS; i++) {
		pid_t worker = fs_worker(w, user);
		__atomic_store_n(&log->window, i, __ATOMIC_RELEASE);
		if (i % 2 == 1 && (worker <= 0 || kill(worker, SIGKILL) < 0))
			fs_fail("no vinefs to kill");
		pause_msec(WINDOW_MSEC);
		if (i % 2 == 1 && fs_worker(w, user) == worker)
			fs_fail("vinefs %d still lives", (int)worker);
	}
	__atomic_store_n(&log->window, CRASH_WINDOWS, __ATOMIC_RELEASE);
}

static double report(struct fs_world *w, const char *where, const struct crash_log *log, uint64_t *n_errors)
{
	double quiet[N_KILLS], killed[N_KILLS];
	uint64_t n_reads = 0, n_bad = 0;
	for (unsigned i = 0; i < CRASH_WINDOWS; i++) {
		double *msec = &(i % 2 ? killed : quiet)[i / 2];
		*msec = 0;
		for (unsigned j = 0; j < CRASH_READERS; j++)
			*msec = max(*msec, (double)log->at[j].longest_nsec[i] / 1e6);
	}
	for (unsigned j = 0; j < CRASH_READERS; j++) {
		n_reads += log->at[j].n_reads;
		n_bad += log->at[j].n_errors;
	}
	assert(n_reads >= n_bad);
	*n_errors += n_bad;
	struct spread a = spread_of(quiet, N_KILLS), b = spread_of(killed, N_KILLS);
	printf("longest read of 8 readers in %d ms, %-14s quiet %.2f ms (%.2f .. %.2f), with a kill -9 %.2f ms (%.2f "
	       ".. %.2f); %llu reads, %llu errors\n",
	       WINDOW_MSEC, where, a.median, a.low, a.high, b.median, b.low, b.high, (unsigned long long)n_reads,
	       (unsigned long long)n_bad);
	fflush(stdout);
	fflush(w->details);
	fprintf(w->details,
		"%s\"%s\":{\"quiet_msec\":[%.4g,%.4g,%.4g],\"killed_msec\":[%.4g,%.4g,%.4g],\"reads\":%llu,\"errors\":%"
		"llu}",
		w->n_details ? "," : "", where, a.median, a.low, a.high, b.median, b.low, b.high,
		(unsigned long long)n_reads, (unsigned long long)n_bad);
	return b.high;
}

void fs_crash(struct fs_world *w)
{
	_free_ char *native = make_tree(w);
	double worst = 0;
	uint64_t n_errors = 0;
	for (enum fs_way way = FS_VIEW; way < FS_WAYS; way++) {
		for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
			_free_ char *directory = xasprintf("%s/crash%u%u", w->directory, way, user);
			struct fs_agent *a = fs_agent_new(w, user, way, native, false);
			struct crash_log *log = share(directory, a->directory);
			fs_say(a, "crash", 0, 0, directory);
			kill_by_turns(w, user, log);
			fs_hear(a);
			double longest = report(w, fs_place_name(user, way), log, &n_errors);
			if (way == FS_VIEW)
				worst = max(worst, longest);
			munmap(log, sizeof *log);
			fs_agent_free(a);
		}
	}
	fs_end(w, worst, "ms", "10, no errors");
	if (n_errors)
		fs_fail("%llu reads failed or were wrong", (unsigned long long)n_errors);
}
