/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/limits_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MOST 65536u
#define CHARGE_MOST (2u << 20)
#define DEPTH_MOST 64u
#define PROCESSES_OURS 2 /* the first and the init of a view */

/* ---- files */

static int write_in(const struct group_tree *t, uint64_t attempt, const char *name, uint64_t value)
{
	char path[96], text[32];
	snprintf(path, sizeof path, "%" PRIu64 "/%s", attempt, name);
	snprintf(text, sizeof text, "%" PRIu64, value);
	return group_write(t->fd, path, text);
}

/* False: it is not there. Yours to free. */
static char *read_in(const struct group_tree *t, uint64_t attempt, const char *name)
{
	_free_ char *path = xasprintf("%s/%" PRIu64 "/%s", t->path, attempt, name);
	size_t n;
	return path_read(path, TEXT_MOST, &n);
}

static uint64_t number_in(const struct group_tree *t, uint64_t attempt, const char *name)
{
	_free_ char *text = read_in(t, attempt, name);
	return text ? strtoull(text, NULL, 10) : 0;
}

/* Of lines "KEY NUMBER". */
static uint64_t field_in(const struct group_tree *t, uint64_t attempt, const char *name, const char *key)
{
	_free_ char *text = read_in(t, attempt, name);
	size_t n = strlen(key);
	for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, key, n) && at[n] == ' ')
			return strtoull(at + n, NULL, 10);
	return 0;
}

/* ---- one attempt */

static int limit_memory(const struct group_tree *t, uint64_t attempt, uint64_t size)
{
	if (!t->is_two) {
		int r = write_in(t, attempt, "memory.limit_in_bytes", size);
		/* Where swap is not accounted there is no such file. */
		write_in(t, attempt, "memory.memsw.limit_in_bytes", size);
		return r;
	}
	write_in(t, attempt, "memory.swap.max", 0);
	write_in(t, attempt, "memory.oom.group", 1);
	return write_in(t, attempt, "memory.max", size);
}

static int make_in(const struct group_tree *t, uint64_t attempt, uint64_t memory, uint64_t processes)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	if (mkdirat(t->fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	int r = memory && t->uses & GROUP_MEMORY ? limit_memory(t, attempt, memory) : 0;
	if (!r && processes && t->uses & GROUP_PIDS)
		r = write_in(t, attempt, "pids.max", processes + PROCESSES_OURS);
	return r;
}

/* Groups cost a tenth of a millisecond each: none without need. */
static bool is_needed(const struct groups *g, const struct group_tree *t, uint64_t memory, uint64_t processes)
{
	return (memory && t->uses & GROUP_MEMORY) || (processes && t->uses & GROUP_PIDS) ||
	       t == groups_find(g, GROUP_KILL);
}

int group_make(const struct groups *g, uint64_t attempt, uint64_t memory, uint64_t processes, struct limits_plan *plan)
{
	plan->cgroups = xcalloc(g->n + 1, sizeof *plan->cgroups);
	for (unsigned i = 0; i < g->n; i++) {
		const struct group_tree *t = &g->at[i];
		if (!is_needed(g, t, memory, processes))
			continue;
		int r = make_in(t, attempt, memory, processes);
		if (r) {
			group_remove(g, attempt);
			limits_plan_fini(plan);
			return r;
		}
		plan->cgroups[plan->n_cgroups++] = xasprintf("%s/%" PRIu64 "/cgroup.procs", t->path, attempt);
	}
	return 0;
}

void group_read_events(const struct groups *g, uint64_t attempt, struct group_usage *u)
{
	const struct group_tree *m = groups_find(g, GROUP_MEMORY), *p = groups_find(g, GROUP_PIDS);
	/* What an outer group or the whole machine ran out of is not this one's fault. */
	if (m && m->is_two && field_in(m, attempt, "memory.events", "max"))
		u->n_oom = field_in(m, attempt, "memory.events", "oom_kill");
	/* Kernels do not count the failures of what is swap and memory together; a charge is of a huge page at most. */
	else if (m && !m->is_two &&
		 number_in(m, attempt, "memory.max_usage_in_bytes") + CHARGE_MOST >=
			 number_in(m, attempt, "memory.limit_in_bytes"))
		u->n_oom = field_in(m, attempt, "memory.oom_control", "oom_kill");
	if (p)
		u->n_refused = field_in(p, attempt, "pids.events", "max");
}

void group_read_usage(const struct groups *g, uint64_t attempt, struct group_usage *u)
{
	const struct group_tree *m = groups_find(g, GROUP_MEMORY), *k = groups_find(g, GROUP_KILL);
	if (m)
		u->peak_memory = number_in(m, attempt, m->is_two ? "memory.peak" : "memory.max_usage_in_bytes");
	if (k && k->is_two)
		u->cpu_usec = field_in(k, attempt, "cpu.stat", "usage_usec");
}

/* ---- its processes */

static void read_pids(const struct group_tree *t, uint64_t attempt, struct buf *pids)
{
	_free_ char *path = xasprintf("%s/%" PRIu64 "/cgroup.procs", t->path, attempt);
	int pid;
	FILE *f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		buf_put(pids, &(pid_t){pid}, sizeof(pid_t));
	if (f)
		fclose(f);
}

bool group_processes(const struct groups *g, uint64_t attempt, struct buf *pids)
{
	const struct group_tree *t = groups_find(g, GROUP_KILL);
	if (t)
		read_pids(t, attempt, pids);
	return pids->n > 0;
}

/* Version 2 does it at once. In version 1 what is frozen cannot run away, and what may not fork cannot either; else what got away is met the next time. */
static void kill_all(const struct group_tree *t, uint64_t attempt)
{
	_cleanup_(buf_fini) struct buf pids = {0};
	char path[64];
	bool can_freeze = !t->is_two && t->uses == GROUP_KILL;
	read_pids(t, attempt, &pids);
	if (!pids.n)
		return;
	snprintf(path, sizeof path, "%" PRIu64 "/%s", attempt, can_freeze ? "freezer.state" : "cgroup.kill");
	if (t->is_two && group_write(t->fd, path, "1") == 0)
		return;
	if (can_freeze)
		group_write(t->fd, path, "FROZEN");
	if (t->uses & GROUP_PIDS && write_in(t, attempt, "pids.max", 0) == 0)
		read_pids(t, attempt, &pids);
	for (size_t i = 0; i < pids.n; i += sizeof(pid_t)) {
		pid_t pid;
		memcpy(&pid, pids.at + i, sizeof pid);
		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	}
	if (can_freeze)
		group_write(t->fd, path, "THAWED");
}

/* Without a view a task may have made groups in its own, which go before it. */
static bool remove_group(int above, const char *name, unsigned depth)
{
	if (unlinkat(above, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return true;
	int fd = depth ? openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool has_removed = false;
	for (const struct dirent *e; d && (e = readdir(d));)
		if (e->d_type == DT_DIR && !streq(e->d_name, ".") && !streq(e->d_name, ".."))
			has_removed |= remove_group(fd, e->d_name, depth - 1);
	if (d)
		closedir(d);
	else
		close_fd(fd);
	return has_removed && (unlinkat(above, name, AT_REMOVEDIR) == 0 || errno == ENOENT);
}

bool group_remove(const struct groups *g, uint64_t attempt)
{
	char name[32];
	bool is_gone = true;
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	for (unsigned i = 0; i < g->n; i++) {
		const struct group_tree *t = &g->at[i];
		if (remove_group(t->fd, name, DEPTH_MOST))
			continue;
		kill_all(t, attempt);
		is_gone &= remove_group(t->fd, name, DEPTH_MOST);
	}
	return is_gone;
}

void groups_sweep(const struct groups *g, bool (*is_known)(void *arg, uint64_t attempt), void *arg)
{
	for (unsigned i = 0; i < g->n; i++) {
		DIR *d = opendir(g->at[i].path);
		for (const struct dirent *e; d && (e = readdir(d));) {
			char *end;
			uint64_t attempt = strtoull(e->d_name, &end, 10);
			if (attempt && !*end && !is_known(arg, attempt))
				remove_group(g->at[i].fd, e->d_name, DEPTH_MOST);
		}
		if (d)
			closedir(d);
	}
}
