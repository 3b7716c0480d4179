/* SPDX-License-Identifier: Apache-2.0 */
#include "common/service.h"

#include "common/log.h"
#include "common/path.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define READY_MSEC 60000
#define READY_LINE_MAX 4096
#define NOTIFY_SEC 2
#define LOG_TAIL_LINES 10
#define LOG_TAIL_MAX 8192

/* ---- settings */

static void print_man(const struct conf_table *t)
{
	bool is_daemon = t->prefix && !strchr(t->program, ' ');
	printf(".TH \"%s\" %d \"\" \"Vine %s\"\n", t->program, is_daemon ? 8 : 1, PACKAGE_VERSION);
	printf(".SH NAME\n%s \\- %s\n", t->program, t->summary);
	printf(".SH SYNOPSIS\n.B %s\n[OPTION ...] %s\n", t->program, t->usage);
	puts(".SH OPTIONS");
	conf_print_man(t, stdout);
	if (t->prefix)
		printf(".SH ENVIRONMENT\nEvery option can be given as %s_NAME: in capitals, with _ "
		       "for \\-. A file named by \\-\\-config holds lines \\(lqname = value\\(rq. "
		       "The command line counts more than the environment, that more than the file.\n",
		       t->prefix);
	printf(".SH EXIT STATUS\n%d: it could not do its work; one line on standard error says why.\n",
	       SERVICE_EXIT_FAILED);
}

/* Does what --help, --version or --man ask for; never returns. */
static _Noreturn void answer(const struct conf_table *t, const char *what)
{
	if (streq(what, "help")) {
		conf_print_help(t, stdout);
	} else if (streq(what, "version")) {
		printf("%s %s\n", t->program, PACKAGE_VERSION);
	} else {
		assert(streq(what, "man"));
		print_man(t);
	}
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "%s: standard output: %s\n", t->program, strerror(errno));
		exit(SERVICE_EXIT_FAILED);
	}
	exit(0);
}

/* No setting of its own in struct form: the struct is the program's. */
static const char *config_of(const struct conf_table *t, const void *settings)
{
	for (size_t i = 0; i < t->n; i++)
		if (streq(t->at[i].name, "config")) {
			assert(t->at[i].type == CONF_TYPE_PATH);
			return *(char *const *)((const char *)settings + t->at[i].offset);
		}
	assert(!"the table has no setting named config");
	return "";
}

/* An upper bound of the size of the table's struct. */
static size_t settings_size(const struct conf_table *t)
{
	size_t size = 0;
	for (size_t i = 0; i < t->n; i++)
		size = max(size, t->at[i].offset + sizeof(struct conf_many));
	return size;
}

/* What is said on the command line and in the environment, on top of what `into` has. */
static int read_words(const struct conf_table *t, void *into, int argc, char **argv, struct conf_error *e)
{
	int r = conf_read_environ(t, into, environ, e);
	return r < 0 ? r : conf_read_args(t, into, argc, argv, e);
}

/* Which file to read: the words are read once for this alone, since the file counts less than they do. */
static int find_config(const struct conf_table *t, int argc, char **argv, char **config, bool *is_given,
		       struct conf_error *e)
{
	_free_ void *scratch = xcalloc(1, settings_size(t));
	conf_preset(t, scratch);
	_free_ char *preset = xstrdup(config_of(t, scratch));
	int r = read_words(t, scratch, argc, argv, e);
	*config = xstrdup(config_of(t, scratch));
	*is_given = !streq(*config, preset);
	conf_fini(t, scratch);
	return r;
}

int service_settings(const struct conf_table *t, void *into, int argc, char **argv, int *first)
{
	struct conf_error e = {""};
	_free_ char *config = NULL;
	bool is_given;
	int r = find_config(t, argc, argv, &config, &is_given, &e);
	/* A question is answered even if the settings in files are wrong. */
	if (r == -ENOTSUP)
		answer(t, e.text);
	conf_preset(t, into);
	if (r >= 0) {
		if (*config)
			r = conf_read_file(t, into, config, &e);
		if (r == -ENOENT && !is_given)
			r = 0;
		if (r >= 0)
			r = read_words(t, into, argc, argv, &e);
	}
	if (r < 0) {
		conf_fini(t, into);
		fprintf(stderr, "%s: %s\n", t->program, e.text);
		return -EINVAL;
	}
	assert(r <= argc);
	*first = r;
	return 0;
}

/* ---- the state directory */

char *service_state_path(const char *name)
{
	assert(*name && !strchr(name, '/'));
	/* A relative XDG_STATE_HOME is invalid and to be ignored, says its specification. */
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (state && *state == '/')
		return xasprintf("%s/vine/%s", state, name);
	const struct passwd *user = home && *home ? NULL : getpwuid(geteuid());
	if (user)
		home = user->pw_dir;
	return xasprintf("%s/.local/state/vine/%s", home && *home ? home : "/nonexistent", name);
}

/* WAL needs shared memory and locks that work; on these that lie behind a network they do not, or only between processes
 * of one machine. What is not in the table is taken for local. */
static const struct filesystem {
	uint32_t magic;
	bool is_network;
	const char *name;
} filesystems[] = {
	{0xef53, false, "ext4"},
	{0x58465342, false, "xfs"},
	{0x9123683e, false, "btrfs"},
	{0x01021994, false, "tmpfs"},
	{0x794c7630, false, "overlay"},
	{0x2fc12fc1, false, "zfs"},
	{0xf2f52010, false, "f2fs"},
	{0xca451a4e, false, "bcachefs"},
	{0x3153464a, false, "jfs"},
	{0x52654973, false, "reiserfs"},
	{0x858458f6, false, "ramfs"},
	{0x2011bab0, false, "exfat"},
	{0x4d44, false, "vfat"},
	{0x7366746e, false, "ntfs3"},
	{0xf15f, false, "ecryptfs"},
	{0x73717368, false, "squashfs"},
	{0xe0f5e1e2, false, "erofs"},
	{0x9660, false, "iso9660"},
	{0x9fa0, false, "proc"},
	{0x62656572, false, "sysfs"},
	{0x6969, true, "nfs"},
	{0x0bd00bd0, true, "lustre"},
	{0x19830326, true, "beegfs"},
	{0x47504653, true, "gpfs"},
	{0x517b, true, "smb"},
	{0xff534d42, true, "cifs"},
	{0xfe534d42, true, "smb2"},
	{0x00c36400, true, "ceph"},
	{0x5346414f, true, "afs"},
	{0x6b414653, true, "afs"},
	{0x73757245, true, "coda"},
	{0x01021997, true, "9p"},
	{0x20030528, true, "orangefs"},
	{0xaad7aaea, true, "panfs"},
	{0x7461636f, true, "ocfs2"},
	{0x01161970, true, "gfs2"},
	{0x61636673, true, "acfs"},
	{0x786f4256, true, "vboxsf"},
	{0xbacbacbc, true, "vmhgfs"},
	/* What is behind it nobody can tell: sshfs, glusterfs, s3fs, virtiofs ... */
	{0x65735546, true, "fuse"},
};

bool service_is_network(uint32_t magic, char name[32])
{
	for (size_t i = 0; i < countof(filesystems); i++)
		if (filesystems[i].magic == magic) {
			snprintf(name, 32, "%s", filesystems[i].name);
			return filesystems[i].is_network;
		}
	snprintf(name, 32, "0x%x", magic);
	return false;
}

int service_filesystem(const char *path, char name[32], bool *is_network)
{
	struct statfs s;
	if (statfs(path, &s) < 0)
		return -errno;
	*is_network = service_is_network((uint32_t)s.f_type, name);
	return 0;
}

/* Fills e->text, escaped since the path may come from anywhere, and returns r. */
static _printf_(3, 4) int fail(struct conf_error *e, int r, const char *fmt, ...)
{
	char text[sizeof e->text];
	va_list args;
	assert(r < 0);
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_escape(text, strlen(text), e->text, sizeof e->text);
	return r;
}

/* By descriptor throughout: what is checked is what is then used. */
static int check_directory(const char *state, int dir, bool exclusive, struct conf_error *e)
{
	struct stat s;
	struct statfs f;
	char name[32];
	if (fstat(dir, &s) < 0 || fstatfs(dir, &f) < 0)
		return fail(e, -errno, "state %s: %s", state, strerror(errno));
	if (s.st_uid != geteuid())
		return fail(e, -EPERM,
			    "state %s belongs to uid %u, not to uid %u who asks; choose a directory of your own", state,
			    s.st_uid, geteuid());
	if (s.st_mode & (S_IWGRP | S_IWOTH))
		return fail(e, -EPERM, "state %s can be written by others; chmod 700 it", state);
	if (service_is_network((uint32_t)f.f_type, name) && !exclusive)
		return fail(e, -EREMOTE,
			    "state %s is on a network filesystem (%s), where the database is not safe; "
			    "choose a local directory, or say exclusive = yes if no other machine uses it",
			    state, name);
	if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return fail(e, -errno, "state %s cannot be written: %s", state, strerror(errno));
	return 0;
}

static int say_in_use(const char *state, const char *program, int lock, struct conf_error *e)
{
	char text[16] = "";
	ssize_t n = pread(lock, text, sizeof text - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;
	/* It may have its lock and not yet have written its number. */
	if (pid <= 0)
		return fail(e, -EBUSY, "%s is in use by another %s", state, program);
	return fail(e, -EBUSY, "%s is in use by %s, pid %ld", state, program, pid);
}

int service_lock(const char *state, const char *program, bool exclusive, struct conf_error *e)
{
	int r = path_make_dirs(state, 0700);
	if (r < 0)
		return fail(e, r, "state %s cannot be made: %s", state, strerror(-r));
	_close_ int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail(e, -errno, "state %s: %s", state, strerror(errno));
	r = check_directory(state, dir, exclusive, e);
	if (r < 0)
		return r;
	_close_ int lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (lock < 0)
		return fail(e, -errno, "state %s: cannot open its lock: %s", state, strerror(errno));
	/* flock, not fcntl: it belongs to the open file, so it outlives a fork and an exec that hand it on, and is not lost when
	 * someone else in the process closes the file. */
	while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return say_in_use(state, program, lock, e);
		if (errno != EINTR)
			return fail(e, -errno, "state %s: cannot lock it: %s", state, strerror(errno));
	}
	/* The pid is for people and scripts; the lock alone decides. */
	char text[16];
	int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
	assert(n > 1 && (size_t)n < sizeof text);
	if (ftruncate(lock, 0) < 0 || pwrite(lock, text, (size_t)n, 0) != n)
		return fail(e, errno ? -errno : -EIO, "state %s: cannot write its lock: %s", state,
			    strerror(errno ? errno : EIO));
	return steal_fd(&lock);
}

/* ---- detaching
 *
 * The child's standard output is a pipe to the parent until it says that it is ready. No other state links the two, so
 * the child may execute other programs on its way (vinefs does). */

/* Copies the last lines that the child has logged to our standard error. */
static void print_log(const char *log_path, int log, off_t from)
{
	char text[LOG_TAIL_MAX];
	off_t end = lseek(log, 0, SEEK_END);
	from = max(from, end - (off_t)sizeof text);
	ssize_t n = pread(log, text, sizeof text, from);
	ssize_t at = n;
	for (int lines = 0; at > 0 && (text[at - 1] != '\n' || at == n || ++lines < LOG_TAIL_LINES);)
		at--;
	if (n > 0)
		fwrite(text + at, 1, (size_t)(n - at), stderr);
	else
		fprintf(stderr, "%s: ended without a word in %s\n", program_invocation_short_name, log_path);
}

static int64_t now_msec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0 with the line in `line`, -EPIPE if all who could write it have ended, -ETIMEDOUT. */
static int read_ready_line(int pipe_end, char line[READY_LINE_MAX])
{
	size_t n = 0;
	int64_t left, end = now_msec() + READY_MSEC;
	while ((left = end - now_msec()) > 0) {
		struct pollfd p = {.fd = pipe_end, .events = POLLIN};
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		ssize_t got = read(pipe_end, line + n, READY_LINE_MAX - 1 - n);
		if (got == 0)
			return -EPIPE;
		n += got > 0 ? (size_t)got : 0;
		line[n] = 0;
		char *newline = strchr(line, '\n');
		if (newline)
			newline[1] = 0;
		if (newline || n == READY_LINE_MAX - 1)
			return 0;
	}
	return -ETIMEDOUT;
}

static _Noreturn void wait_for_child(pid_t pid, int pipe_end, const char *log_path, int log, off_t log_size)
{
	char line[READY_LINE_MAX];
	int r = read_ready_line(pipe_end, line);
	if (!r) {
		fputs(line, stdout);
		fflush(stdout);
		_exit(0);
	}
	if (r == -ETIMEDOUT) {
		/* It must not get ready after we have said that it failed. */
		kill(-pid, SIGTERM);
		fprintf(stderr, "%s: not ready after %d s, stopped; see %s\n", program_invocation_short_name,
			READY_MSEC / 1000, log_path);
	} else {
		print_log(log_path, log, log_size);
	}
	fflush(stderr);
	_exit(SERVICE_EXIT_FAILED);
}

static int become_background(int pipe_end, int log)
{
	_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || setsid() < 0)
		return -errno;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(pipe_end, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
		return -errno;
	return 0;
}

int service_detach(const char *log_path)
{
	_close_ int log = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	int ends[2];
	if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_close_ int ours = ends[0], theirs = ends[1];
	assert(log > STDERR_FILENO && theirs > STDERR_FILENO);
	off_t log_size = lseek(log, 0, SEEK_END);
	/* What is buffered would else be written twice. */
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		return become_background(theirs, log);
	close_fd(steal_fd(&theirs));
	wait_for_child(pid, ours, log_path, log, log_size);
}

/* To a service manager that waits for it: a datagram, as sd_notify(3) has it. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	if (n < 2 || n >= sizeof a.sun_path || (*path != '/' && *path != '@'))
		return;
	memcpy(a.sun_path, path, n);
	if (*path == '@')
		a.sun_path[0] = 0;
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	const struct timeval most = {.tv_sec = NOTIFY_SEC};
	/* Whoever started us may have gone, or be stuck: that is no error of ours. */
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) == 0)
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&a, size);
}

void service_ready(const char *fmt, ...)
{
	va_list args;
	char line[READY_LINE_MAX];
	va_start(args, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, args);
	va_end(args);
	assert(n >= 0);
	n = min(n, (int)sizeof line - 2);
	assert(!memchr(line, '\n', (size_t)n));
	line[n] = '\n';
	/* Whoever waited may have gone: that is no error of ours. */
	ssize_t written = write(STDOUT_FILENO, line, (size_t)n + 1);
	(void)written;
	line[n] = 0;
	_free_ char *text = xasprintf("READY=1\nSTATUS=%s", line);
	notify(text);
}

void service_harden(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	close_fd(fd);
	/* /proc/self belongs to root from here on. */
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	/* Ignored by a parent, it would be so by us, and no child could be waited for. */
	signal(SIGCHLD, SIG_DFL);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}
