/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/scratch.h"
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/fs_trees.h"

#include <ftw.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE_MOST 60 /* bytes: sockets lie below it, and their paths have a limit */

void scratch_make(struct scratch *s, const char *name, unsigned room_mib)
{
	const char *told = getenv("VINE_BENCH_DIR"), *base = told && *told ? told : "/var/tmp";
	struct statvfs st;
	char why[256];
	if (strlen(base) > BASE_MOST || base[0] != '/') {
		snprintf(why, sizeof why, "VINE_BENCH_DIR: no absolute path of at most %d bytes", BASE_MOST);
		bench_cannot(name, why);
	}
	*s = (struct scratch){.name = name};
	snprintf(s->directory, sizeof s->directory, "%s/vine-bench-XXXXXX", base);
	if (statvfs(base, &st) < 0 || !mkdtemp(s->directory)) {
		snprintf(why, sizeof why, "no directory in %s: %s (VINE_BENCH_DIR names another)", base,
			 strerror(errno));
		bench_cannot(name, why);
	}
	uint64_t free_mib = (uint64_t)st.f_bavail * st.f_frsize / MIB;
	if (bench_is_quick() || free_mib >= room_mib)
		return;
	rmdir(s->directory);
	snprintf(why, sizeof why, "%s has %llu MiB free, %u are needed (VINE_BENCH_DIR names another)", base,
		 (unsigned long long)free_mib, room_mib);
	bench_cannot(name, why);
}

/* A signal that would end this process ends the child first, for the directory's sake. */
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

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *at _unused_)
{
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int scratch_run(const struct scratch *s, unsigned limit_sec, void (*body)(void *arg), void *arg)
{
	sigset_t set, before;
	assert(s->directory[0] == '/' && limit_sec > 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		body(arg);
		exit(0);
	}
	int status = pid < 0 ? 1 : await(pid, s->name, limit_sec, &set);
	if (status == 1)
		fprintf(stderr, "%s: no result\n", s->name);
	if (s->on_end)
		s->on_end(arg, status);
	if (nftw(s->directory, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
		fprintf(stderr, "%s is left: %s\n", s->directory, strerror(errno));
	return status;
}

bool scratch_open_fuse(const char *directory)
{
	struct stat st;
	_free_ char *dev = path_join(directory, "dev"), *node = path_join(dev, "fuse");
	if (stat("/dev/fuse", &st) < 0 || (st.st_mode & 0006) == 0006)
		return errno != ENOENT;
	return mkdir(dev, 0755) == 0 && mount("vine-bench", dev, "tmpfs", MS_NOSUID, "mode=755,size=1m") == 0 &&
	       mknod(node, S_IFCHR | 0666, st.st_rdev) == 0 && chmod(node, 0666) == 0 &&
	       mount(node, "/dev/fuse", NULL, MS_BIND, NULL) == 0;
}
