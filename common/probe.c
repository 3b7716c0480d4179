/* SPDX-License-Identifier: Apache-2.0
 * Each trial runs in a child that is thrown away and tells in a pipe how far it came. */
#include "common/probe.h"

#include "common/path.h"
#include "common/service.h"

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEAST_DISK (1u << 30)
#define LEAST_FILES 4096u
#define LEAST_PROCESSES 4096u
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
				  .cost = "what a task leaves behind is searched for, without certainty",
				  .cure = "sysctl user.max_pid_namespaces=15000"},
	[PROBE_OVERLAY] =
		{.name = "overlay",
		 .cost = "rw inputs are copied before the task starts",
		 .cure = "modprobe overlay; kernel 5.11 or newer where there is no root; a local state directory"},
	[PROBE_CGROUPS] = {.name = "cgroups",
			   .cost = "memory and cores of tasks are watched, not limited",
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
};

/* ---- trials */

struct trial {
	int error;
	char step[64];
};

static _Noreturn void finish(int to, int error, const char *step)
{
	struct trial t = {.error = error};
	snprintf(t.step, sizeof t.step, "%s", step);
	ssize_t n = write(to, &t, sizeof t);
	_exit(n != sizeof t);
}

#define TRY(call, step)                          \
	do {                                     \
		if ((call) < 0)                  \
			finish(to, errno, step); \
	} while (0)

/* Runs it in a child; what the child says, or that it said nothing. */
static struct trial try_it(void (*trial)(int to, const char *dir), const char *dir)
{
	struct trial t = {.error = EIO, .step = "the trial ended without a word"};
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return (struct trial){.error = errno, .step = "pipe"};
	pid_t pid = fork();
	if (pid == 0) {
		/* Its own maps in /proc belong to root as long as it may not be looked into. */
		prctl(PR_SET_DUMPABLE, 1);
		trial(ends[1], dir);
		finish(ends[1], 0, "");
	}
	close_fd(ends[1]);
	struct trial got;
	if (pid > 0 && read(ends[0], &got, sizeof got) == sizeof got)
		t = got;
	close_fd(ends[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return pid < 0 ? (struct trial){.error = EAGAIN, .step = "fork"} : t;
}

static int write_text(const char *path, const char *text)
{
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* As the keeper will: root needs no user namespace. */
static void enter_namespaces(int to)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];
	TRY(unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS), "unshare");
	if (uid) {
		TRY(write_text("/proc/self/setgroups", "deny"), "setgroups");
		snprintf(map, sizeof map, "%u %u 1", uid, uid);
		TRY(write_text("/proc/self/uid_map", map), "uid_map");
		snprintf(map, sizeof map, "%u %u 1", gid, gid);
		TRY(write_text("/proc/self/gid_map", map), "gid_map");
	}
	TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make / private");
}

static void try_user_namespace(int to, const char *dir)
{
	enter_namespaces(to);
	TRY(mount(dir, dir, NULL, MS_BIND | MS_REC, NULL), "bind");
}

static void try_pid_namespace(int to, const char *dir)
{
	int status = -1;
	assert(*dir == '/');
	enter_namespaces(to);
	TRY(unshare(CLONE_NEWPID), "unshare");
	pid_t pid = fork();
	TRY(pid, "fork");
	if (pid == 0)
		_exit(getpid() != 1);
	TRY(waitpid(pid, &status, 0), "wait");
	if (status)
		finish(to, EIO, "the first process there is not number 1");
}

static void try_overlay(int to, const char *dir)
{
	static const char *const parts[] = {"lower", "upper", "work", "merged"};
	char options[128];
	uid_t uid = geteuid();
	enter_namespaces(to);
	TRY(chdir(dir), "chdir");
	for (size_t i = 0; i < countof(parts); i++)
		TRY(mkdir(parts[i], 0700), "mkdir");
	TRY(close_fd(open("lower/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) + 1, "create");
	TRY(mkdir("lower/dir", 0700), "mkdir");
	snprintf(options, sizeof options, "lowerdir=lower,upperdir=upper,workdir=work,xino=on,volatile%s",
		 uid ? ",userxattr" : "");
	TRY(mount("overlay", "merged", "overlay", MS_NOSUID | MS_NODEV, options), "mount");
	/* Whiteouts and opaque marks are what fails when the options are wrong. */
	TRY(rename("merged/file", "merged/other"), "rename");
	TRY(rmdir("merged/dir"), "rmdir");
	TRY(mkdir("merged/dir", 0700), "mkdir over a removed one");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	assert(st && where);
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	remove(path);
	return 0;
}

/* On the very filesystem that the sandboxes will be on: whether it bears an overlay is its own affair. */
static struct trial try_overlay_beside(const char *dir)
{
	_free_ char *scratch = xasprintf("%s/.vine-probe-XXXXXX", dir);
	if (!mkdtemp(scratch))
		return (struct trial){.error = errno, .step = "make a directory to try it in"};
	struct trial t = try_it(try_overlay, scratch);
	/* The kernel leaves directories that nobody may enter, one below the other: each round opens one more. */
	for (int round = 0; round < 8 && access(scratch, F_OK) == 0; round++)
		nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return t;
}

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
	bool has_helper = is_in_path("fusermount3");
	if (fd < 0)
		say(p, false, "/dev/fuse: %s", strerror(errno));
	else
		say(p, true, "/dev/fuse opens%s",
		    has_helper ? ", fusermount3 is there" : "; no fusermount3 (vine mount needs it)");
}

static uint64_t read_number(const char *path)
{
	size_t n;
	_free_ char *text = path_read(path, 64, &n);
	uint64_t value = text ? strtoull(text, NULL, 10) : 0;
	return value ? value : UINT64_MAX;
}

/* Copies our group of a hierarchy ("0::" is version 2) as /proc/self/cgroup names it. */
static bool find_cgroup(const char *what, char *to, size_t room)
{
	char line[4096];
	bool is_found = false;
	FILE *f = fopen("/proc/self/cgroup", "re");
	while (f && !is_found && fgets(line, sizeof line, f)) {
		const char *at = strstr(line, what);
		line[strcspn(line, "\n")] = 0;
		is_found = at && (at == line || at[-1] == ',' || at[-1] == ':');
		if (is_found)
			snprintf(to, room, "%s", strrchr(line, ':') + 1);
	}
	if (f)
		fclose(f);
	return is_found;
}

static void probe_cgroups(struct probe *p, uint64_t *memory)
{
	char group[2048] = "";
	struct stat st;
	size_t n;
	bool has_two = stat("/sys/fs/cgroup/cgroup.controllers", &st) == 0;
	if (has_two && find_cgroup("0::", group, sizeof group)) {
		_free_ char *dir = xasprintf("/sys/fs/cgroup%s", group);
		_free_ char *limit = path_join(dir, "memory.max");
		_free_ char *list = path_join(dir, "cgroup.controllers");
		_free_ char *controllers = path_read(list, 256, &n);
		*memory = min(*memory, read_number(limit));
		if (controllers)
			controllers[strcspn(controllers, "\n")] = 0;
		bool is_delegated = access(dir, W_OK) == 0;
		say(p, is_delegated && controllers && *controllers, "version 2, %s (%.100s)",
		    is_delegated ? "ours to divide" : "not delegated to this user", controllers ? controllers : "");
		return;
	}
	if (!find_cgroup("memory:", group, sizeof group)) {
		say(p, false, "none mounted that limits memory");
		return;
	}
	_free_ char *dir = xasprintf("/sys/fs/cgroup/memory%s", group);
	_free_ char *limit = path_join(dir, "memory.limit_in_bytes");
	*memory = min(*memory, read_number(limit));
	bool is_ours = access(dir, W_OK) == 0;
	say(p, is_ours, "version 1, memory %s", is_ours ? "ours to divide" : "not writable");
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

static void judge(struct probe_report *r)
{
	const struct probe *fuse = &r->at[PROBE_FUSE], *users = &r->at[PROBE_USER_NAMESPACES];
	const struct probe *missing = !fuse->is_ok ? fuse : users;
	if (fuse->is_ok && users->is_ok && r->at[PROBE_KERNEL].is_ok) {
		r->tier = PROBE_TIER_VIEWS;
		snprintf(r->reason, sizeof r->reason, "fuse and namespaces work");
		return;
	}
	r->tier = fuse->is_ok ? PROBE_TIER_MOUNT : PROBE_TIER_PLAIN;
	if (fuse->is_ok && users->is_ok)
		missing = &r->at[PROBE_KERNEL];
	snprintf(r->reason, sizeof r->reason, "%s: %.150s", missing->name, missing->detail);
	r->lift = missing->cure;
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
	say_trial(&r->at[PROBE_USER_NAMESPACES], try_it(try_user_namespace, dir),
		  geteuid() ? "user and mount namespaces, binds" : "mount namespaces, binds (as root)");
	say_trial(&r->at[PROBE_PID_NAMESPACES], try_it(try_pid_namespace, dir), "work");
	say_trial(&r->at[PROBE_OVERLAY], try_overlay_beside(dir), "volatile, with whiteouts");
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
