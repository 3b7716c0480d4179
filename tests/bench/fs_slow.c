/* SPDX-License-Identifier: Apache-2.0
 * An environment on a slow shared filesystem (slow_fs.c), each round mounted anew, so that the kernel knows nothing of it: imported directly; then by a node
 * that knows nothing of it either, timed from `vine run` or `vine mount` on; then, in the same mount, a second time, beside the same on the local disk. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_fs.h"

#include <limits.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct slow {
	char directory[96];
	pid_t pid;
};

static void slow_mount(struct slow *s, const struct fs_world *w, const char *source)
{
	struct stat before, st;
	char self[PATH_MAX] = "";
	snprintf(s->directory, sizeof s->directory, "%s/slow", w->directory);
	if (path_make_dirs(s->directory, 0755) < 0 || stat(s->directory, &before) < 0 ||
	    readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		fs_fail("%s: %s", s->directory, strerror(errno));
	_free_ char *program = xasprintf("%.*s/slow_fs", (int)(path_base(self) - self - 1), self);
	_free_ char *options = xasprintf(
		"source=%s,max_threads=64,max_idle_threads=64,allow_other,default_permissions,ro,fsname=slow", source);
	fflush(NULL);
	s->pid = fork();
	if (s->pid == 0) {
		execl(program, program, s->directory, "-f", "-o", options, (char *)NULL);
		fprintf(stderr, "%s: %s\n", program, strerror(errno));
		_exit(127);
	}
	double end_sec = bench_now_sec() + 10;
	do {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		if (bench_now_sec() > end_sec || waitpid(s->pid, NULL, WNOHANG) != 0)
			fs_fail("%s does not mount", program);
	} while (stat(s->directory, &st) < 0 || st.st_dev == before.st_dev);
}

static void slow_umount(struct slow *s)
{
	int status;
	assert(s->pid > 1);
	if (umount2(s->directory, MNT_DETACH) < 0)
		fs_fail("%s: %s", s->directory, strerror(errno));
	/* Its last user may be a daemon's thread that ends by itself; what waits for it would wait for that. */
	kill(s->pid, SIGTERM);
	waitpid(s->pid, &status, 0);
}

struct times {
	double direct[FS_PAIRS_MOST], first[FS_PAIRS_MOST], native[FS_PAIRS_MOST], second[FS_PAIRS_MOST];
};

static double import_directly(const struct fs_world *w, enum fs_user user, const char *source)
{
	struct slow s;
	slow_mount(&s, w, source);
	struct fs_agent *bare = fs_agent_new(w, user, FS_PRIVATE, NULL, true);
	double usec = fs_ask(bare, "import", 1, 0, s.directory);
	fs_agent_free(bare);
	slow_umount(&s);
	return usec;
}

static void measure_round(struct fs_world *w, enum fs_user user, enum fs_way way, const char *source, struct times *t,
			  unsigned i)
{
	struct slow s;
	assert(i < FS_PAIRS_MOST);
	/* A node that knows nothing: the state of the last round is gone. */
	t->direct[i] = import_directly(w, user, source);
	fs_node_stop(w, user);
	fs_node_start(w, user);
	slow_mount(&s, w, source);
	double start_sec = bench_now_sec();
	struct fs_agent *a = fs_agent_new(w, user, way, s.directory, true);
	fs_ask(a, "import", 1, 0, a->directory);
	t->first[i] = (bench_now_sec() - start_sec) * 1e6;
	fs_ask(a, "import", 1, 0, source);
	t->native[i] = fs_ask(a, "import", 1, 0, source);
	t->second[i] = fs_ask(a, "import", 1, 0, a->directory);
	fs_agent_free(a);
	/* It may be reading still. */
	fs_node_stop(w, user);
	slow_umount(&s);
	fs_node_start(w, user);
	printf("round %u of %u, %s: directly %.2f s, first through Vine %.2f s, native %.3f s, second %.3f s\n", i + 1,
	       w->n_pairs, fs_place_name(user, way), t->direct[i] / 1e6, t->first[i] / 1e6, t->native[i] / 1e6,
	       t->second[i] / 1e6);
	fflush(stdout);
}

void fs_slow(struct fs_world *w)
{
	const char *source = fs_environment(w);
	double worst = 0;
	for (enum fs_way way = FS_VIEW; way < FS_WAYS; way++) {
		for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
			const char *where = fs_place_name(user, way);
			struct times t;
			for (unsigned i = 0; i < w->n_pairs; i++)
				measure_round(w, user, way, source, &t, i);
			double first =
				fs_report(w, "first import over the slow one", where, t.direct, t.first, w->n_pairs, 1);
			fs_report(w, "second import", where, t.native, t.second, w->n_pairs, 1);
			if (way == FS_VIEW)
				worst = max(worst, first);
		}
	}
	fs_end(w, worst, "x directly", "0.5; second over native 1.15");
}

/* ---- start-first */

static double time_command(const struct fs_world *w, enum fs_user user, const char *const argv[])
{
	double start_sec = bench_now_sec();
	fs_run(w, user, argv);
	return (bench_now_sec() - start_sec) * 1e6;
}

/* The environment of a task that nobody has met: from the command until it has ended, beside the same command on the slow filesystem itself. */
static void start_round(struct fs_world *w, enum fs_user user, const char *source, double *direct, double *first)
{
	static const char numpy[] = "import numpy";
	struct slow s;
	slow_mount(&s, w, source);
	_free_ char *python = path_join(s.directory, "bin/python3");
	*direct = time_command(w, user, (const char *const[]){python, "-c", numpy, NULL});
	slow_umount(&s);
	fs_node_stop(w, user);
	fs_node_start(w, user);
	slow_mount(&s, w, source);
	*first = time_command(w, user,
			      (const char *const[]){"vine", "run", "-i", s.directory, "--", python, "-c", numpy, NULL});
	fs_node_stop(w, user);
	slow_umount(&s);
	fs_node_start(w, user);
}

void fs_start_first(struct fs_world *w)
{
	const char *source = fs_environment(w);
	double worst = 0;
	for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
		double direct[FS_PAIRS_MOST], first[FS_PAIRS_MOST];
		for (unsigned i = 0; i < w->n_pairs; i++)
			start_round(w, user, source, &direct[i], &first[i]);
		worst = max(worst, fs_report(w, "submit to result, nobody has it", fs_place_name(user, FS_VIEW), direct,
					     first, w->n_pairs, 1));
	}
	fs_end(w, worst, "x directly", "1.1");
}
