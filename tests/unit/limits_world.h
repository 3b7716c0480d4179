/* SPDX-License-Identifier: Apache-2.0
 * What the tests of limits share: limits with a directory of plain files in the kernel's place, and children that use something up. */
#ifndef LIMITS_WORLD_H
#define LIMITS_WORLD_H

#include "tests/unit/unit.h"

#include "common/path.h"
#include "vinefs/run/limits.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define ATTEMPT 7u

struct bench {
	struct loop *loop;
	struct limits *limits;
	int sandboxes;
	char *cgroup; /* of plain files, or NULL */
	unsigned n_told;
	uint64_t attempt;
	enum limits_kind kind;
	char text[256];
};

static inline void on_exceeded(void *arg, uint64_t attempt, enum limits_kind kind, const char *text)
{
	struct bench *b = arg;
	b->n_told++;
	b->attempt = attempt;
	b->kind = kind;
	snprintf(b->text, sizeof b->text, "%s", text);
}

static inline void put(const char *directory, const char *name, const char *text)
{
	_free_ char *path = path_join(directory, name);
	ASSERT_EQ(path_write(path, text, strlen(text), 0600, false), 0);
}

static inline void open_limits(struct bench *b, const char *cgroup)
{
	struct limits_settings s = {.loop = b->loop,
				    .name = "w3",
				    .cgroup = cgroup,
				    .sandboxes = b->sandboxes,
				    .on_exceeded = on_exceeded,
				    .arg = b};
	b->limits = limits_new(&s);
	ASSERT(b->limits != NULL);
}

/* `kind` "": by looking. "2": a hierarchy of version 2; else a word for each controller of version 1. */
static inline void begin(struct bench *b, const char *kind)
{
	*b = (struct bench){.loop = loop_new()};
	_free_ char *s = unit_path("s");
	b->cgroup = unit_path("cgroup");
	ASSERT_EQ(mkdir(s, 0700) | mkdir(b->cgroup, 0700), 0);
	b->sandboxes = open(s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (streq(kind, "2")) {
		put(b->cgroup, "cgroup.controllers", "cpu memory pids\n");
		put(b->cgroup, "cgroup.procs", "");
	}
	for (const char *at = kind; *at && *at != '2'; at += strcspn(at, " "), at += strspn(at, " ")) {
		_free_ char *word = xstrndup(at, strcspn(at, " "));
		_free_ char *path = path_join(b->cgroup, word);
		ASSERT_EQ(mkdir(path, 0700), 0);
	}
	open_limits(b, *kind ? b->cgroup : "none");
}

static inline void finish(struct bench *b)
{
	limits_free(b->limits);
	loop_free(b->loop);
	close_fd(b->sandboxes);
	free(b->cgroup);
}

/* Of the attempt, in the hierarchy of this controller; "": version 2. Yours to free. */
static inline char *group_of(const struct bench *b, const char *controller)
{
	struct stat st;
	fstat(b->sandboxes, &st);
	return xasprintf("%s%s%s/vine-w3.%llx/%u", b->cgroup, *controller ? "/" : "", controller,
			 (unsigned long long)st.st_ino, ATTEMPT);
}

static inline char *read_of(const struct bench *b, const char *controller, const char *name)
{
	_free_ char *group = group_of(b, controller);
	_free_ char *path = path_join(group, name);
	size_t n;
	char *text = path_read(path, 1000, &n);
	return text ? text : xstrdup("(none)");
}

static inline void put_of(const struct bench *b, const char *controller, const char *name, const char *text)
{
	_free_ char *group = group_of(b, controller);
	put(group, name, text);
}

static inline bool turn_until_told(struct bench *b)
{
	for (uint64_t i = 0; i < UNIT_PATIENCE_SEC * 50 && !b->n_told; i++)
		ASSERT_EQ(loop_turn(b->loop, 20), 0);
	return b->n_told;
}

/* Long enough for some looks. */
static inline void turn_a_while(struct bench *b)
{
	for (uint64_t since = loop_now_usec(b->loop); loop_now_usec(b->loop) < since + 1200000 && !b->n_told;)
		ASSERT_EQ(loop_turn(b->loop, 20), 0);
}

static inline struct wire_start start(uint64_t memory, uint64_t disk)
{
	return (struct wire_start){.attempt = ATTEMPT, .task = 1, .memory = memory, .disk = disk};
}

static inline struct limits_plan plan_of(struct bench *b, const struct wire_start *m, uint64_t processes)
{
	struct limits_plan p;
	ASSERT_EQ(limits_begin(b->limits, m, processes, false, &p), 0);
	return p;
}

static inline void begin_and_watch(struct bench *b, const struct wire_start *m, uint64_t processes, pid_t pid)
{
	struct limits_plan p = plan_of(b, m, processes);
	limits_plan_fini(&p);
	limits_watch(b->limits, m, false, pid, loop_now_usec(b->loop));
}

/* A child that does this and then waits for its end; it is that far when this returns. */
static inline pid_t child(void (*what)(int arg), int arg)
{
	int ends[2];
	char c;
	ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		what(arg);
		close_fd(ends[1]);
		for (;;)
			pause();
	}
	close_fd(ends[1]);
	/* Closed by all that have it: those that descend from it are that far too. */
	ASSERT_EQ(read(ends[0], &c, 1), 0);
	close_fd(ends[0]);
	return pid;
}

static inline void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}

static inline void idle(int arg)
{
	(void)arg;
}

static inline void use_memory(int mib)
{
	size_t n = (size_t)mib << 20;
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		_exit(1);
	memset(p, 1, n);
}

/* All die with the first, whose death is their signal. */
static inline void fork_children(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			return;
		}
	}
}

#endif
