/* SPDX-License-Identifier: Apache-2.0 */
#include "common/probe.h"

#include "common/cgroup.h"
#include "common/path.h"
#include "common/probe_try.h"
#include "common/service.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define LEAST_DISK (1u << 30)
#define LEAST_FILES 4096u
#define LEAST_PROCESSES 4096u
#define MOUNT_HELPER "fusermount3"
#define CLOCK_FIRST 1704067200 /* 2024: before this program was written */

static const struct probe nothing[PROBE_N] = {
	[PROBE_KERNEL] = {.name = "kernel",
			  .cost = "views are not tried on kernels before 4.18",
			  .cure = "a newer kernel"},
	[PROBE_FUSE] = {.name = "fuse",
			.cost = "inputs are unpacked on every node instead of read where they lie",
			.cure = "modprobe fuse; chmod 666 /dev/fuse; apt-get install fuse3"},
	[PROBE_USER_NAMESPACES] = {.name = "user namespaces",
				   .cost = "tasks see inputs below the mount point, not at the paths they declared",
				   .cure = "sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1 "
					   "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)"},
	[PROBE_PID_NAMESPACES] = {.name = "pid namespaces",
				  .cost = "no views; what a task leaves behind is searched for, without certainty",
				  .cure = "sysctl user.max_pid_namespaces=15000"},
	[PROBE_OVERLAY] =
		{.name = "overlay",
		 .cost = "tasks see inputs below the mount point, and those they may write are copied first",
		 .cure = "modprobe overlay; kernel 5.11 or newer where there is no root; a local state directory"},
	[PROBE_CGROUPS] = {.name = "cgroups",
			   .cost = "memory and processes of tasks are looked at now and then, not limited",
			   .cure = "systemd-run --user --scope -p Delegate=yes vinefs ..."},
	[PROBE_FILES] = {.name = "open files",
			 .cost = "few connections and large files at a time",
			 .cure = "ulimit -Hn 65536 (limits.conf: nofile)"},
	[PROBE_PROCESSES] = {.name = "processes",
			     .cost = "few tasks at a time",
			     .cure = "ulimit -Hu 65536 (limits.conf: nproc)"},
	[PROBE_DISK] = {.name = "disk",
			.cost = "no room for data and sandboxes, or no safe place for the database",
			.cure = "--state=DIR on a local disk with room"},
	[PROBE_CLOCK] = {.name = "clock",
			 .cost = "deadlines and times of files mislead",
			 .cure = "timedatectl set-ntp true"},
	[PROBE_RECORD] = {.name = "record",
			  .cost = "vine run --record cannot list what a task reads",
			  .cure = "kernel 5.0 or newer with CONFIG_SECCOMP_FILTER"},
	[PROBE_RESUME] = {.name = "resume",
			  .cost = "where vinefs dies, what reads gets an error, and its tasks run again",
			  .cure = "kernel 6.9 or newer"},
};

/* ---- what needs no trial */

static _printf_(3, 4) void say(struct probe *p, bool is_ok, const char *fmt, ...)
{
	va_list args;
	p->is_ok = is_ok;
	va_start(args, fmt);
	vsnprintf(p->detail, sizeof p->detail, fmt, args);
	va_end(args);
}

static void say_trial(struct probe *p, struct trial t, const char *good)
{
	if (t.error)
		say(p, false, "%s: %s", t.step, strerror(t.error));
	else
		say(p, true, "%s", good);
}

/* With the options of views; where these are refused it says which. */
static void probe_overlay(struct probe *p, const char *dir)
{
	struct trial t = try_overlay(dir, TRY_XINO | TRY_VOLATILE);
	say_trial(p, t, "volatile, with whiteouts");
	if (!t.error)
		return;
	const char *hint = !try_overlay(dir, TRY_XINO).error       ? "; it works without volatile"
			   : !try_overlay(dir, TRY_VOLATILE).error ? "; it works without xino"
			   : !try_overlay(dir, 0).error            ? "; it works without volatile and xino"
								   : "";
	say(p, false, "%s: %s%s", t.step, strerror(t.error), hint);
}

static void probe_kernel(struct probe *p)
{
	struct utsname u;
	unsigned major = 0, minor = 0;
	uname(&u);
	int n = sscanf(u.release, "%u.%u", &major, &minor);
	say(p, n == 2 && (major > 4 || (major == 4 && minor >= 18)), "Linux %.60s %.30s", u.release, u.machine);
}

static bool is_in_path(const char *program)
{
	const char *at = getenv("PATH");
	for (at = at ? at : "/usr/bin:/bin"; *at; at += strspn(at, ":")) {
		int n = (int)strcspn(at, ":");
		_free_ char *path = xasprintf("%.*s/%s", n, at, program);
		if (access(path, X_OK) == 0)
			return true;
		at += n;
	}
	return false;
}

static void probe_fuse(struct probe *p)
{
	_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		say(p, false, "/dev/fuse: %s", strerror(errno));
	else
		say(p, true, "/dev/fuse opens%s",
		    is_in_path(MOUNT_HELPER) ? ", fusermount3 is there" : "; no fusermount3 (vine mount needs it)");
}

static uint64_t read_number(const char *path)
{
	size_t n;
	_free_ char *text = path_read(path, 64, &n);
	uint64_t value = text ? strtoull(text, NULL, 10) : 0;
	return value ? value : UINT64_MAX;
}

/* ---- control groups: as vinefs/run/limits takes them */

#define PROBE_GROUP "vine-probe"

/* A group can be made there, and has this file. */
static bool can_divide(const char *group, const char *file)
{
	_free_ char *path = xasprintf("%s/" PROBE_GROUP "-%d", group, getpid());
	_free_ char *inside = path_join(path, file);
	if (mkdir(path, 0755) < 0)
		return false;
	bool has_it = access(inside, F_OK) == 0;
	rmdir(path);
	return has_it;
}

/* Are other processes than this one and what started it in the group? Then its controllers cannot be handed on. */
static bool is_shared(const char *group)
{
	_free_ char *path = path_join(group, "cgroup.procs");
	bool is_shared = false;
	int pid;
	FILE *f = fopen(path, "re");
	while (f && !is_shared && fscanf(f, "%d", &pid) == 1)
		is_shared = pid != getpid() && pid != getppid();
	if (f)
		fclose(f);
	return is_shared;
}

/* Which way a controller can be had: "version 2", "version 1", or NULL; `why` then says why not, of version 2. */
static const char *find_controller(const char *name, const char *file, char why[64])
{
	_free_ char *two = cgroup_ours(""), *one = cgroup_ours(name);
	_free_ char *list = two ? path_join(two, "cgroup.controllers") : NULL;
	_free_ char *limit = xasprintf("%s.max", name);
	size_t n;
	_free_ char *there = list ? path_read(list, 4096, &n) : NULL;
	if (there && cgroup_has_word(there, name)) {
		if (can_divide(two, limit) || (access(two, W_OK) == 0 && !is_shared(two)))
			return "version 2";
		snprintf(why, 64, "%s",
			 access(two, W_OK) ? "not delegated to this user" : "shared with other processes");
	}
	return one && can_divide(one, file) ? "version 1" : NULL;
}

static void probe_cgroups(struct probe *p, uint64_t *memory)
{
	char why[64] = "no group that can be written";
	_free_ char *two = cgroup_ours(""), *one = cgroup_ours("memory");
	_free_ char *limit = two ? path_join(two, "memory.max") : NULL;
	_free_ char *limit_one = one ? path_join(one, "memory.limit_in_bytes") : NULL;
	*memory = min(*memory, limit ? read_number(limit) : UINT64_MAX);
	*memory = min(*memory, limit_one ? read_number(limit_one) : UINT64_MAX);
	const char *m = find_controller("memory", "memory.limit_in_bytes", why),
		   *pids = find_controller("pids", "pids.max", why);
	bool can_kill = two && can_divide(two, "cgroup.kill");
	if (m && pids)
		say(p, true, "memory by %s, processes by %s%s", m, pids, can_kill ? ", cgroup.kill" : "");
	else
		say(p, false, "memory %s%s, processes %s%s%s: %s", m ? "by " : "not limited", m ? m : "",
		    pids ? "by " : "not limited", pids ? pids : "", can_kill ? ", cgroup.kill" : "", why);
}

static void probe_limit(struct probe *p, __rlimit_resource_t which, uint64_t least)
{
	struct rlimit r = {0};
	getrlimit(which, &r);
	if (r.rlim_max == RLIM_INFINITY)
		say(p, true, "unlimited");
	else
		say(p, r.rlim_max >= least, "%llu at most%s", (unsigned long long)r.rlim_max,
		    r.rlim_max >= least ? "" : ", too few for many tasks");
}

static void probe_disk(struct probe *p, const char *dir)
{
	char kind[32] = "";
	bool is_network = false;
	struct statvfs s;
	if (service_filesystem(dir, kind, &is_network) < 0 || statvfs(dir, &s) < 0) {
		say(p, false, "%.100s: %s", dir, strerror(errno));
		return;
	}
	uint64_t room = (uint64_t)s.f_bavail * s.f_frsize;
	bool is_writable = access(dir, W_OK) == 0;
	say(p, !is_network && is_writable && room >= LEAST_DISK, "%.1f GiB free on %s%s%s, %.80s",
	    (double)room / (1u << 30), kind, is_network ? " (a network filesystem)" : "",
	    is_writable ? "" : ", not writable", dir);
}

static void probe_clock(struct probe *p)
{
	struct timex t = {0};
	time_t now = time(NULL);
	int state = adjtimex(&t);
	bool is_set = now >= CLOCK_FIRST;
	/* Containers and clusters keep time in ways that this call does not see: only said, not held against it. */
	say(p, is_set, "%s",
	    !is_set               ? "it is not set"
	    : state == TIME_ERROR ? "set; not known to be kept by NTP"
				  : "set, kept by NTP");
}

/* ---- all of it */

/* The directory itself, or the nearest above it that is there. */
static char *existing(const char *path)
{
	char *at = xstrdup(*path == '/' ? path : "/tmp");
	while (strlen(at) > 1 && access(at, F_OK) < 0) {
		char *slash = strrchr(at, '/');
		slash[slash == at] = 0;
	}
	return at;
}

/* All that a view needs, the likeliest to lack first. */
static const enum probe_feature for_views[] = {PROBE_FUSE, PROBE_USER_NAMESPACES, PROBE_PID_NAMESPACES, PROBE_OVERLAY,
					       PROBE_KERNEL};

static void judge(struct probe_report *r)
{
	const struct probe *missing = NULL;
	for (size_t i = 0; i < countof(for_views) && !missing; i++)
		missing = r->at[for_views[i]].is_ok ? NULL : &r->at[for_views[i]];
	if (!missing) {
		r->tier = PROBE_TIER_VIEWS;
		snprintf(r->reason, sizeof r->reason, "fuse, namespaces and overlay work");
		return;
	}
	bool can_mount = r->at[PROBE_FUSE].is_ok && (!probe_needs_user() || is_in_path(MOUNT_HELPER));
	r->tier = can_mount ? PROBE_TIER_MOUNT : PROBE_TIER_PLAIN;
	snprintf(r->reason, sizeof r->reason, "%s: %.150s", missing->name, missing->detail);
	r->lift = missing->cure;
}

static void probe_mount(struct probe_report *r, const char *dir)
{
	struct trial t = try_fuse(dir);
	struct probe *resume = &r->at[PROBE_RESUME], *users = &r->at[PROBE_USER_NAMESPACES];
	if (t.error && users->is_ok && r->at[PROBE_FUSE].is_ok)
		say_trial(users, t, "");
	if (t.error)
		say(resume, false, "no mount could be asked: %s: %s", t.step, strerror(t.error));
	else
		say(resume, t.found & TRY_FUSE_RESEND, "the kernel %s",
		    t.found & TRY_FUSE_RESEND ? "asks a restarted vinefs again"
					      : "cannot ask a restarted vinefs again");
}

void probe_run(struct probe_report *r, const char *state)
{
	cpu_set_t cpus;
	_free_ char *dir = existing(state);
	memset(r, 0, sizeof *r);
	memcpy(r->at, nothing, sizeof nothing);
	r->cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	r->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	probe_kernel(&r->at[PROBE_KERNEL]);
	probe_fuse(&r->at[PROBE_FUSE]);
	say_trial(&r->at[PROBE_USER_NAMESPACES], try_user_namespace(dir),
		  probe_needs_user() ? "user and mount namespaces, binds" : "mount namespaces, binds (as root)");
	say_trial(&r->at[PROBE_PID_NAMESPACES], try_pid_namespace(dir), "work");
	probe_overlay(&r->at[PROBE_OVERLAY], dir);
	probe_mount(r, dir);
	say_trial(&r->at[PROBE_RECORD], try_seccomp(dir), "seccomp notifies");
	probe_cgroups(&r->at[PROBE_CGROUPS], &r->memory);
	probe_limit(&r->at[PROBE_FILES], RLIMIT_NOFILE, LEAST_FILES);
	probe_limit(&r->at[PROBE_PROCESSES], RLIMIT_NPROC, LEAST_PROCESSES);
	probe_disk(&r->at[PROBE_DISK], dir);
	probe_clock(&r->at[PROBE_CLOCK]);
	judge(r);
	assert(r->cores && (r->tier == PROBE_TIER_VIEWS) == !r->lift);
}

const char *probe_tier_name(enum probe_tier tier)
{
	static const char *const names[] = {"plain", "mount", "views"};
	assert(tier < countof(names));
	return names[tier];
}
