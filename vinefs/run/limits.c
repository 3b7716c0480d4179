/* SPDX-License-Identifier: Apache-2.0
 * 1. `all` has every attempt between limits_begin() or limits_watch() and limits_end().
 * 2. `leaving` has the numbers of those whose groups could not be removed yet, none of them in `all`.
 * 3. The tick runs while one of them has something to be looked at. */
#include "vinefs/run/limits.h"

#include "common/log.h"
#include "common/map.h"
#include "common/path.h"
#include "vinefs/run/limits_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define TICK_USEC 250000u
#define TICK_MOST_USEC 1000000u
#define LEAVING_USEC 20000u /* and twice as long each time */
#define LEAVING_TRIES 8u    /* then it is said, and tried now and then */
#define SWEEP_USEC 60000000u
#define SHARE 100u /* looking may take one part of so many of a core */
#define SHARES_MOST_USEC 60000000u
#define PROCESSES_OURS 2u /* the first and the init of a view */
#define PROCESSES_LEAST 64u
/* Numbers that the kernel does not give out again, with some to be seen; and what it takes as the highest. */
#define NUMBERS_MORE 364u
#define NUMBERS_MOST 4000000u

struct limited {
	struct limits *limits;
	uint64_t attempt, memory, disk, processes, wall_usec;
	int pid;         /* 0: it does not run yet */
	bool has_group;  /* of each of `groups` that it needs */
	bool has_number; /* the kernel numbers its processes, and no further than it may have */
	struct timer wall;
	enum limits_kind exceeded;
	char text[256];
	uint64_t peak_memory;
	uint64_t shares_usec, shares_cost_usec;    /* of the last look at what is shared: when, and what it cost */
	uint64_t size, peak_disk;                  /* of its sandbox, last and most */
	uint64_t size_due_usec, size_soonest_usec; /* when to look again: anyway, and if the disk has filled so much */
	uint64_t filled_then;                      /* bytes used on the disk when its size was asked for */
	bool is_size_asked;
};

struct limits {
	struct limits_settings s;
	struct groups groups;
	struct disk *disk; /* NULL until one has a limit of it */
	struct map all;
	struct buf leaving; /* uint64_t each */
	struct timer tick, sweep;
	unsigned n_tries; /* to remove what is leaving */
	char how[96];
	char *sandboxes; /* path */
	uint64_t n_cores;
	bool can_number; /* see KEEPER_LIMIT_PIDS */
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- in words */

/* "2G", "2.1G", "700K" */
static const char *size_text(uint64_t size, char to[24])
{
	static const char units[] = "BKMGTPE";
	unsigned unit = 0;
	double value = (double)size;
	for (; value >= 1024 && unit < sizeof units - 2; unit++)
		value /= 1024;
	bool is_round = (uint64_t)(value * 10) % 10 == 0 || value >= 100;
	snprintf(to, 24, "%.*f%c", is_round ? 0 : 1, value, units[unit]);
	return to;
}

static const char *time_text(uint64_t usec, char to[24])
{
	if (usec % 1000000)
		snprintf(to, 24, "%.1fs", (double)usec / 1e6);
	else if (usec % 60000000)
		snprintf(to, 24, "%" PRIu64 "s", usec / 1000000);
	else
		snprintf(to, 24, "%" PRIu64 "m", usec / 60000000);
	return to;
}

static const char *group_text(const struct group_tree *t)
{
	return t->is_two ? "cgroup v2" : "cgroup v1";
}

static _printf_(3, 4) void exceed(struct limited *w, enum limits_kind kind, const char *fmt, ...)
{
	const struct limits_settings *s = &w->limits->s;
	va_list args;
	assert(!w->exceeded && kind != LIMITS_NONE);
	w->exceeded = kind;
	va_start(args, fmt);
	int n = vsnprintf(w->text, sizeof w->text, fmt, args);
	va_end(args);
	if (n < (int)sizeof w->text)
		snprintf(w->text + n, sizeof w->text - (size_t)n, ", on node %s", s->name);
}

/* The last that is done with it: the caller may end it here. */
static void tell(struct limited *w)
{
	const struct limits_settings *s = &w->limits->s;
	timer_stop(&w->wall);
	s->on_exceeded(s->arg, w->attempt, w->exceeded, w->text);
}

/* ---- what its groups say */

/* At its end nobody need be told. */
static void judge_groups(struct limited *w)
{
	struct group_usage u = {0};
	const struct groups *g = &w->limits->groups;
	char limit[24];
	if (w->exceeded || !w->has_group)
		return;
	group_read_events(g, w->attempt, &u);
	if (w->memory && u.n_oom)
		exceed(w, LIMITS_MEMORY, "it wanted more than its %s of memory (%s)", size_text(w->memory, limit),
		       group_text(groups_find(g, GROUP_MEMORY)));
	else if (w->processes && u.n_refused)
		exceed(w, LIMITS_PROCESSES, "it wanted more than its %" PRIu64 " processes and threads at once (%s)",
		       w->processes, group_text(groups_find(g, GROUP_PIDS)));
}

/* ---- what its processes show */

static bool is_looked_at(const struct limited *w)
{
	const struct groups *g = &w->limits->groups;
	return (w->memory && !groups_find(g, GROUP_MEMORY)) ||
	       (w->processes && (!w->has_group || !groups_find(g, GROUP_PIDS)));
}

static void find_processes(const struct limited *w, const struct buf *orphans, struct buf *pids)
{
	if (group_processes(&w->limits->groups, w->attempt, pids))
		return;
	look_down(w->pid, pids);
	for (size_t i = 0; i < orphans->n; i += 2 * sizeof(uint64_t)) {
		uint64_t pair[2];
		memcpy(pair, orphans->at + i, sizeof pair);
		if (pair[0] == w->attempt && (int)pair[1] != w->pid)
			look_down((int)pair[1], pids);
	}
}

/* Exact only when it matters, and not too often. 0: nothing new. */
static uint64_t measure_memory(struct limited *w, const struct look *seen, const struct buf *pids)
{
	uint64_t now = now_usec(), pause = SHARE * w->shares_cost_usec;
	bool is_over = w->memory && seen->size > w->memory;
	/* One that is too large alone need not be shared out. */
	if (seen->n_pids < 2 || (w->memory && seen->largest > w->memory))
		return seen->largest;
	pause = min(pause, (uint64_t)(is_over ? TICK_USEC : SHARES_MOST_USEC));
	if (now < w->shares_usec + pause || (!is_over && seen->size <= w->peak_memory))
		return 0;
	uint64_t size = look_at_shares(pids);
	w->shares_usec = now;
	w->shares_cost_usec = now_usec() - now;
	return size ? size : seen->size;
}

static void judge_processes(struct limited *w, const struct buf *orphans)
{
	const struct groups *g = &w->limits->groups;
	_cleanup_(buf_fini) struct buf pids = {0};
	char size[24], limit[24];
	uint64_t most = w->processes ? w->processes + PROCESSES_OURS : UINT64_MAX - 1;
	find_processes(w, orphans, &pids);
	struct look seen = look_at(&pids, most);
	if (seen.n > most && (!w->has_group || !groups_find(g, GROUP_PIDS))) {
		exceed(w, LIMITS_PROCESSES, "it had more than its %" PRIu64 " processes and threads at once",
		       w->processes);
		return;
	}
	if (groups_find(g, GROUP_MEMORY))
		return;
	uint64_t now = measure_memory(w, &seen, &pids);
	w->peak_memory = max(w->peak_memory, now);
	if (w->memory && now > w->memory)
		exceed(w, LIMITS_MEMORY, "it used %s of memory, more than its %s", size_text(now, size),
		       size_text(w->memory, limit));
}

/* ---- the size of its sandbox */

static uint64_t filled(const struct limits *l)
{
	struct statvfs s;
	return fstatvfs(l->s.sandboxes, &s) ? 0 : ((uint64_t)s.f_blocks - (uint64_t)s.f_bfree) * (uint64_t)s.f_frsize;
}

static void take_sizes(struct limits *l)
{
	struct disk_size s;
	char size[24], limit[24];
	while (l->disk && disk_next(l->disk, &s)) {
		struct limited *w = map_get(&l->all, s.attempt);
		if (!w)
			continue;
		uint64_t now = now_usec();
		w->is_size_asked = false;
		w->size = s.size;
		w->peak_disk = max(w->peak_disk, s.size);
		/* Of all the node's cores one part of a hundred, shared; sooner if the disk fills. */
		w->size_due_usec = now + max((uint64_t)TICK_USEC, SHARE * s.cost_usec * l->all.n / l->n_cores);
		w->size_soonest_usec = now + 10 * s.cost_usec;
		if (w->disk && s.size > w->disk && !w->exceeded) {
			exceed(w, LIMITS_DISK, "its sandbox took %s, more than its %s of disk", size_text(s.size, size),
			       size_text(w->disk, limit));
			if (w->pid)
				tell(w);
		}
	}
}

static void ask_size(struct limited *w, uint64_t used)
{
	struct limits *l = w->limits;
	uint64_t now = now_usec(), grown = used > w->filled_then ? used - w->filled_then : 0;
	bool is_filling = now >= w->size_soonest_usec && w->size + grown > w->disk;
	if (!w->disk || w->is_size_asked || w->exceeded || (now < w->size_due_usec && !is_filling))
		return;
	if (!l->disk)
		l->disk = disk_new(l->s.sandboxes);
	if (!l->disk)
		return;
	w->is_size_asked = true;
	w->filled_then = used;
	disk_ask(l->disk, w->attempt);
}

/* ---- the tick */

static void on_tick(struct timer *t);

static void start_tick(struct limits *l, uint64_t in_usec)
{
	if (!l->tick.loop)
		timer_start(&l->tick, l->s.loop, in_usec, on_tick);
}

static void remove_leaving(struct limits *l)
{
	size_t n = l->leaving.n / sizeof(uint64_t);
	for (size_t i = 0; i < n; i++) {
		uint64_t attempt;
		memcpy(&attempt, l->leaving.at, sizeof attempt);
		buf_consume(&l->leaving, sizeof attempt);
		if (group_remove(&l->groups, attempt))
			continue;
		buf_put(&l->leaving, &attempt, sizeof attempt);
		if (l->n_tries == LEAVING_TRIES)
			log_warn("the cgroup of attempt %" PRIu64 " cannot be removed: its processes do not end",
				 attempt);
	}
	l->n_tries = l->leaving.n ? l->n_tries + 1 : 0;
}

/* Whatever is over its limit is told at once; the rest goes on. True if there is anything to look at again. */
static bool look_at_all(struct limits *l)
{
	_cleanup_(buf_fini) struct buf orphans = {0};
	uint64_t used = l->disk ? filled(l) : 0;
	bool has_some = false;
	size_t i = 0;
	if (!groups_find(&l->groups, GROUP_KILL) && l->all.n)
		look_for_orphans(getppid(), l->sandboxes, &orphans);
	for (struct limited *w; (w = map_next(&l->all, &i));) {
		if (!w->pid || w->exceeded)
			continue;
		has_some = true;
		judge_groups(w);
		if (!w->exceeded && is_looked_at(w))
			judge_processes(w, &orphans);
		ask_size(w, used);
		if (w->exceeded)
			tell(w);
	}
	return has_some;
}

static void on_tick(struct timer *t)
{
	struct limits *l = container_of(t, struct limits, tick);
	uint64_t since = now_usec();
	take_sizes(l);
	bool has_some = look_at_all(l);
	remove_leaving(l);
	uint64_t cost = now_usec() - since;
	uint64_t pause = max(SHARE * cost, (uint64_t)TICK_USEC);
	pause = min(pause, (uint64_t)TICK_MOST_USEC);
	uint64_t soon = (uint64_t)LEAVING_USEC << min(l->n_tries, LEAVING_TRIES);
	if (l->leaving.n)
		pause = min(pause, soon);
	if (l->leaving.n || has_some)
		start_tick(l, pause);
}

static void on_wall(struct timer *t)
{
	struct limited *w = container_of(t, struct limited, wall);
	char limit[24];
	if (w->exceeded)
		return;
	exceed(w, LIMITS_WALL, "it ran longer than its %s", time_text(w->wall_usec, limit));
	tell(w);
}

/* ---- life */

static bool is_known(void *arg, uint64_t attempt)
{
	const struct limits *l = arg;
	return map_get(&l->all, attempt);
}

static void on_sweep(struct timer *t)
{
	struct limits *l = container_of(t, struct limits, sweep);
	groups_sweep(&l->groups, is_known, l);
	groups_clear(&l->groups);
	timer_start(&l->sweep, l->s.loop, SWEEP_USEC, on_sweep);
}

/* Names what each way limits. */
static void put_how(struct limits *l)
{
	static const struct {
		enum group_use use;
		const char *word;
	} uses[] = {{GROUP_MEMORY, " memory"}, {GROUP_PIDS, " processes"}};
	_cleanup_(buf_fini) struct buf to = {0};
	for (int way = 2; way >= 0; way--) {
		size_t before = to.n;
		for (size_t i = 0; i < countof(uses); i++) {
			const struct group_tree *t = groups_find(&l->groups, uses[i].use);
			if (way != (!t ? 0 : t->is_two ? 2 : 1))
				continue;
			if (to.n == before)
				buf_printf(&to, "%s%s:", before ? "; " : "", t ? group_text(t) : "by looking");
			buf_puts(&to, uses[i].word);
		}
	}
	snprintf(l->how, sizeof l->how, "%s", buf_text(&to));
}

static uint64_t number_of(const char *path)
{
	size_t n;
	_free_ char *text = path_read(path, 64, &n);
	uint64_t value = text ? strtoull(text, NULL, 10) : 0;
	return value ? value : UINT64_MAX;
}

/* So that no bomb of one takes what the others need. */
static uint64_t fair_processes(void)
{
	struct rlimit r = {.rlim_cur = RLIM_INFINITY};
	getrlimit(RLIMIT_NPROC, &r);
	uint64_t pids = number_of("/proc/sys/kernel/pid_max"), threads = number_of("/proc/sys/kernel/threads-max");
	uint64_t most = min(pids, threads);
	most = r.rlim_cur == RLIM_INFINITY ? most : min(most, (uint64_t)r.rlim_cur);
	return max(most / 4, (uint64_t)PROCESSES_LEAST);
}

static bool has_own_numbers(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;
	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 14));
}

struct limits *limits_new(const struct limits_settings *s)
{
	char link[64], path[4096];
	struct limits *l = NEW(struct limits);
	assert(s->loop && s->name && s->sandboxes >= 0 && s->on_exceeded);
	l->s = *s;
	l->can_number = has_own_numbers();
	l->s.processes = s->processes ? s->processes : fair_processes();
	snprintf(link, sizeof link, "/proc/self/fd/%d", s->sandboxes);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0) {
		free(l);
		return NULL;
	}
	l->sandboxes = xstrndup(path, (size_t)n);
	l->n_cores = (uint64_t)max(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	groups_init(&l->groups, s->cgroup, s->name, s->sandboxes);
	put_how(l);
	log_debug("limits of tasks: %s", l->how);
	timer_start(&l->sweep, s->loop, SWEEP_USEC, on_sweep);
	return l;
}

static void free_limited(struct limited *w)
{
	timer_stop(&w->wall);
	free(w);
}

void limits_free(struct limits *l)
{
	if (!l)
		return;
	size_t i = 0;
	for (struct limited *w; (w = map_next(&l->all, &i));)
		free_limited(w);
	map_fini(&l->all);
	timer_stop(&l->tick);
	timer_stop(&l->sweep);
	remove_leaving(l);
	buf_fini(&l->leaving);
	disk_free(l->disk);
	groups_fini(&l->groups);
	free(l->sandboxes);
	free(l);
}

const char *limits_how(const struct limits *l)
{
	return l->how;
}

/* ---- one attempt */

static struct limited *add(struct limits *l, const struct wire_start *m, uint64_t processes, bool has_init)
{
	struct limited *w = NEW(struct limited);
	assert(m->attempt && !map_get(&l->all, m->attempt));
	w->limits = l;
	w->attempt = m->attempt;
	w->memory = m->memory;
	w->disk = m->disk;
	w->wall_usec = m->wall_usec;
	w->processes = processes ? processes : l->s.processes;
	w->has_number = l->can_number && has_init;
	/* To move a process into a group costs more than to make it, now and then ten times that. Its init ends all of it,
	 * and what it did not ask for need not be exact. */
	w->has_group = !w->has_number || m->memory || processes;
	map_put(&l->all, m->attempt, w);
	return w;
}

int limits_begin(struct limits *l, const struct wire_start *m, uint64_t processes, bool has_init,
		 struct limits_plan *plan)
{
	struct rlimit r;
	*plan = (struct limits_plan){.n_cgroups = 0};
	struct limited *w = add(l, m, processes, has_init);
	/* Room for looking to see that it has too many. */
	if (w->has_number)
		plan->limits[plan->n_limits++] = (struct keeper_limit){
			.resource = KEEPER_LIMIT_PIDS, .value = min(w->processes, NUMBERS_MOST) + NUMBERS_MORE};
	/* Where only that holds bombs: the node itself keeps a tenth of what its user may have. Root is not bound by it. */
	if (geteuid() && !w->has_number && !groups_find(&l->groups, GROUP_PIDS) && getrlimit(RLIMIT_NPROC, &r) == 0 &&
	    r.rlim_cur != RLIM_INFINITY)
		plan->limits[plan->n_limits++] =
			(struct keeper_limit){.resource = RLIMIT_NPROC, .value = r.rlim_cur - r.rlim_cur / 10};
	if (!w->has_group)
		return 0;
	int error = group_make(&l->groups, m->attempt, w->memory, w->processes, plan);
	if (error) {
		map_remove(&l->all, m->attempt);
		free_limited(w);
	}
	return error;
}

void limits_plan_fini(struct limits_plan *p)
{
	for (uint32_t i = 0; i < p->n_cgroups; i++)
		free(p->cgroups[i]);
	free(p->cgroups);
	*p = (struct limits_plan){.n_cgroups = 0};
}

static uint64_t wished_processes(const struct wire_start *m)
{
	static const char name[] = "processes=";
	for (uint32_t i = 0; i < m->how.n; i++)
		if (has_prefix(m->how.at[i], name))
			return strtoull(m->how.at[i] + strlen(name), NULL, 10);
	return 0;
}

void limits_watch(struct limits *l, const struct wire_start *m, bool has_init, int pid, uint64_t started_usec)
{
	struct limited *w = map_get(&l->all, m->attempt);
	assert(pid >= 0);
	if (!w)
		w = add(l, m, wished_processes(m), has_init);
	w->pid = pid;
	if (!pid)
		return;
	uint64_t now = loop_now_usec(l->s.loop), end;
	if (w->wall_usec && !add_overflows(started_usec, w->wall_usec, &end))
		timer_start(&w->wall, l->s.loop, end > now ? end - now : 0, on_wall);
	start_tick(l, TICK_USEC);
}

void limits_end(struct limits *l, uint64_t attempt, struct limits_usage *u)
{
	struct group_usage used = {0};
	struct limited nobody = {.limits = l, .attempt = attempt, .has_group = true}, *w = map_remove(&l->all, attempt),
		       *at = w ?: &nobody;
	*u = (struct limits_usage){.exceeded = LIMITS_NONE};
	judge_groups(at);
	if (at->has_group)
		group_read_usage(&l->groups, attempt, &used);
	u->exceeded = at->exceeded;
	memcpy(u->text, at->text, sizeof u->text);
	u->cpu_usec = used.cpu_usec;
	u->peak_memory = max(used.peak_memory, at->peak_memory);
	u->peak_disk = at->peak_disk;
	bool is_removed = at->has_group && group_remove(&l->groups, attempt);
	u->is_gone = is_removed && groups_find(&l->groups, GROUP_KILL);
	if (at->has_group && !is_removed) {
		buf_put(&l->leaving, &attempt, sizeof attempt);
		l->n_tries = 0;
		timer_stop(&l->tick);
		start_tick(l, LEAVING_USEC);
	}
	if (w)
		free_limited(w);
}
