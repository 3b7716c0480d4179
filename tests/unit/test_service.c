/* SPDX-License-Identifier: Apache-2.0 */
#include "common/service.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char *in_tmpdir(const char *name)
{
	return xasprintf("%s/%s", unit_tmpdir(), name);
}

/* ---- settings */

struct settings {
	char *config, *listen;
	uint64_t timeout;
	bool is_loud;
};

static const struct conf_setting rows[] = {
	{.name = "config",
	 .letter = 'c',
	 .type = CONF_TYPE_PATH,
	 .offset = offsetof(struct settings, config),
	 .preset = "/nonexistent/daemon.conf",
	 .value_name = "FILE",
	 .help = "read settings from this file"},
	{.name = "listen",
	 .type = CONF_TYPE_TEXT,
	 .offset = offsetof(struct settings, listen),
	 .preset = "preset",
	 .value_name = "HOST:PORT",
	 .help = "where to listen"},
	{.name = "timeout",
	 .type = CONF_TYPE_TIME,
	 .offset = offsetof(struct settings, timeout),
	 .preset = "30s",
	 .least = "1s",
	 .most = "1h",
	 .value_name = "TIME",
	 .help = "how long to wait"},
	{.name = "is_loud",
	 .type = CONF_TYPE_BOOL,
	 .offset = offsetof(struct settings, is_loud),
	 .preset = "no",
	 .help = "say more"},
};

static const struct conf_table table = {
	.program = "daemon",
	.prefix = "UNITD",
	.summary = "does what a daemon does",
	.usage = "",
	.at = rows,
	.n = countof(rows),
};

/* What a child that calls `run` prints on both outputs, and its exit status. The text is yours. */
static char *output_of(void (*run)(void *arg), void *arg, int *status)
{
	int ends[2];
	char *text = xcalloc(1, 65536);
	size_t n = 0;
	ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (!pid) {
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		run(arg);
		fflush(NULL);
		_exit(77);
	}
	close(ends[1]);
	for (ssize_t got; (got = read(ends[0], text + n, 65535 - n)) > 0;)
		n += (size_t)got;
	close(ends[0]);
	ASSERT_EQ(waitpid(pid, status, 0), pid);
	return text;
}

struct words {
	int argc;
	char *argv[8];
};

/* Prints what the settings are after reading `arg`'s words. */
static void print_settings(void *arg)
{
	const struct words *w = arg;
	struct settings s = {0};
	int first = -1;
	if (service_settings(&table, &s, w->argc, (char **)(uintptr_t)w->argv, &first) < 0)
		_exit(SERVICE_EXIT_FAILED);
	printf("%s %d %d first=%d", s.listen, (int)(s.timeout / 1000000), s.is_loud, first);
	conf_fini(&table, &s);
}

static char *settings_of(int *status, int argc, ...)
{
	struct words w = {.argc = argc + 1, .argv = {(char *)(uintptr_t) "daemon"}};
	va_list args;
	va_start(args, argc);
	for (int i = 1; i <= argc; i++)
		w.argv[i] = va_arg(args, char *);
	va_end(args);
	return output_of(print_settings, &w, status);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	ASSERT(f != NULL);
	fputs(text, f);
	fclose(f);
}

TEST(later_words_win_default_file_environment_command_line)
{
	int status;
	_free_ char *path = in_tmpdir("conf");
	write_file(path, "listen = file\ntimeout = 40s\nis-loud = yes\n");
	_free_ char *option = xasprintf("--config=%s", path);
	_free_ char *nothing = settings_of(&status, 0);
	ASSERT_STR(nothing, "preset 30 0 first=1");
	_free_ char *file = settings_of(&status, 1, option);
	ASSERT_STR(file, "file 40 1 first=2");
	_free_ char *word = settings_of(&status, 4, "--listen=word", option, "more", "words");
	ASSERT_STR(word, "word 40 1 first=3");
	setenv("UNITD_LISTEN", "environment", 1);
	_free_ char *variable = settings_of(&status, 1, option);
	_free_ char *both = settings_of(&status, 2, option, "--listen=word");
	setenv("UNITD_CONFIG", path, 1);
	_free_ char *named = settings_of(&status, 0);
	unsetenv("UNITD_LISTEN");
	unsetenv("UNITD_CONFIG");
	ASSERT_STR(variable, "environment 40 1 first=2");
	ASSERT_STR(both, "word 40 1 first=3");
	ASSERT_STR(named, "environment 40 1 first=1");
}

TEST(a_config_file_that_was_asked_for_must_be_there)
{
	int status;
	_free_ char *text = settings_of(&status, 1, "--config=/nonexistent/other.conf");
	ASSERT_EQ(WEXITSTATUS(status), SERVICE_EXIT_FAILED);
	ASSERT(has_prefix(text, "daemon: "));
	ASSERT(strstr(text, "/nonexistent/other.conf") != NULL);
	ASSERT_EQ(strchr(text, '\n') - text, strlen(text) - 1);
}

TEST(a_wrong_word_is_one_line_that_names_it)
{
	int status;
	_free_ char *unknown = settings_of(&status, 1, "--lisen=x");
	ASSERT_EQ(WEXITSTATUS(status), SERVICE_EXIT_FAILED);
	ASSERT(strstr(unknown, "listen") != NULL);
	ASSERT_EQ(strchr(unknown, '\n') - unknown, strlen(unknown) - 1);
	_free_ char *path = in_tmpdir("conf");
	write_file(path, "\ntimeout = 2h\n");
	_free_ char *option = xasprintf("--config=%s", path);
	_free_ char *range = settings_of(&status, 1, option);
	ASSERT_EQ(WEXITSTATUS(status), SERVICE_EXIT_FAILED);
	ASSERT(strstr(range, "conf:2") != NULL);
}

TEST(questions_are_answered_with_status_zero)
{
	int status;
	_free_ char *help = settings_of(&status, 1, "--help");
	ASSERT_EQ(status, 0);
	ASSERT(strstr(help, "where to listen") != NULL);
	_free_ char *version = settings_of(&status, 1, "--version");
	ASSERT_EQ(status, 0);
	ASSERT(has_prefix(version, "daemon "));
	_free_ char *man = settings_of(&status, 1, "--man");
	ASSERT_EQ(status, 0);
	ASSERT(has_prefix(man, ".TH \"daemon\" 8"));
	ASSERT(strstr(man, "\n.SH OPTIONS\n.TP\n") != NULL);
	ASSERT(strstr(man, "where to listen") != NULL);
}

/* ---- the state directory */

TEST(state_lies_where_xdg_says_or_at_home)
{
	_free_ char *home = xstrdup(getenv("HOME") ? getenv("HOME") : "/");
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", "/home/x", 1);
	_free_ char *a = service_state_path("default");
	setenv("XDG_STATE_HOME", "/state", 1);
	_free_ char *b = service_state_path("default");
	setenv("XDG_STATE_HOME", "relative", 1);
	_free_ char *c = service_state_path("default");
	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	_free_ char *d = service_state_path("default");
	setenv("HOME", home, 1);
	ASSERT_STR(a, "/home/x/.local/state/vine/default");
	ASSERT_STR(b, "/state/vine/default");
	ASSERT_STR(c, "/home/x/.local/state/vine/default");
	ASSERT(d[0] == '/');
}

TEST(a_missing_state_directory_is_made_private)
{
	struct conf_error e;
	struct stat s;
	_free_ char *state = in_tmpdir("a/b/c");
	_free_ char *lock = in_tmpdir("a/b/c/lock");
	_close_ int fd = service_lock(state, "vined", true, &e);
	ASSERT(fd >= 0);
	ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ASSERT_EQ(stat(state, &s), 0);
	ASSERT_EQ(s.st_mode & 07777, 0700);
	ASSERT_EQ(stat(lock, &s), 0);
	ASSERT_EQ(s.st_mode & 07777, 0600);
	char text[32] = "", pid[32];
	ASSERT(pread(fd, text, sizeof text - 1, 0) > 0);
	snprintf(pid, sizeof pid, "%d\n", (int)getpid());
	ASSERT_STR(text, pid);
}

TEST(a_second_instance_is_refused_and_told_the_pid_of_the_first)
{
	struct conf_error e;
	_free_ char *state = in_tmpdir("s");
	int fd = service_lock(state, "vined", true, &e);
	ASSERT(fd >= 0);
	ASSERT_EQ(service_lock(state, "vined", true, &e), -EBUSY);
	_free_ char *text = xasprintf("%s is in use by vined, pid %d", state, (int)getpid());
	ASSERT_STR(e.text, text);
	ASSERT_EQ(ftruncate(fd, 0), 0);
	ASSERT_EQ(service_lock(state, "vined", true, &e), -EBUSY);
	_free_ char *other = xasprintf("%s is in use by another vined", state);
	ASSERT_STR(e.text, other);
	close(fd);
	fd = service_lock(state, "vined", true, &e);
	ASSERT(fd >= 0);
	close(fd);
}

TEST(the_lock_of_a_killed_owner_is_free_and_its_longer_pid_is_gone)
{
	struct conf_error e;
	_free_ char *state = in_tmpdir("s");
	_free_ char *lock = in_tmpdir("s/lock");
	int ends[2];
	ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (!pid) {
		int held = service_lock(state, "vined", true, &e);
		_exit(held < 0 || write(ends[1], "x", 1) != 1 || pause());
	}
	char c;
	ASSERT_EQ(read(ends[0], &c, 1), 1);
	ASSERT_EQ(service_lock(state, "vined", true, &e), -EBUSY);
	_free_ char *text = xasprintf("%s is in use by vined, pid %d", state, (int)pid);
	ASSERT_STR(e.text, text);
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	write_file(lock, "12345678901\n");
	_close_ int fd = service_lock(state, "vined", true, &e);
	ASSERT(fd >= 0);
	struct stat s;
	ASSERT_EQ(fstat(fd, &s), 0);
	ASSERT_EQ(s.st_size, snprintf(NULL, 0, "%d\n", (int)getpid()));
	close(ends[0]);
	close(ends[1]);
}

static void check_refused(const char *state, int error, const char *why)
{
	struct conf_error e;
	ASSERT_EQ(service_lock(state, "vined", true, &e), error);
	ASSERT(strstr(e.text, why) != NULL);
	ASSERT(!strpbrk(e.text, "\n\033"));
}

TEST(a_state_directory_that_will_not_do_is_named_with_the_reason)
{
	_free_ char *open_to_all = in_tmpdir("open"), *file = in_tmpdir("file");
	_free_ char *beneath = in_tmpdir("file/x"), *link = in_tmpdir("link");
	_free_ char *link_lock = in_tmpdir("link/lock"), *foreign = in_tmpdir("foreign");
	ASSERT_EQ(mkdir(open_to_all, 0700), 0);
	ASSERT_EQ(chmod(open_to_all, 0770), 0);
	check_refused(open_to_all, -EPERM, "chmod 700");
	check_refused(open_to_all, -EPERM, open_to_all);
	write_file(file, "");
	check_refused(file, -ENOTDIR, file);
	check_refused(beneath, -ENOTDIR, file);
	/* A lock that is a link could make us write anywhere. */
	ASSERT_EQ(mkdir(link, 0700), 0);
	ASSERT_EQ(symlink("../file", link_lock), 0);
	check_refused(link, -ELOOP, "lock");
	ASSERT_EQ(mkdir(foreign, 0700), 0);
	if (getuid() == 0) {
		ASSERT_EQ(chown(foreign, 12345, 12345), 0);
		check_refused(foreign, -EPERM, "12345");
	}
	check_refused("/proc/x\n\033[1m", -ENOENT, "\\n");
}

/* Root too is then bound by the modes of files. */
static void lock_without_override(void *arg)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	struct conf_error e = {""};
	if (syscall(SYS_capget, &head, data) < 0)
		_exit(1);
	data[0].effective &= ~(1u << CAP_DAC_OVERRIDE);
	if (syscall(SYS_capset, &head, data) < 0)
		_exit(1);
	printf("%d ", service_lock(arg, "vined", true, &e));
	printf("%s", e.text);
}

TEST(a_directory_without_write_permission_is_refused)
{
	int status;
	_free_ char *state = in_tmpdir("s");
	ASSERT_EQ(mkdir(state, 0500), 0);
	_free_ char *text = output_of(lock_without_override, state, &status);
	_free_ char *want = xasprintf("%d state %s cannot be written: Permission denied", -EACCES, state);
	ASSERT_STR(text, want);
}

TEST(filesystems_are_known_by_their_numbers)
{
	static const struct {
		uint32_t magic;
		const char *name;
		bool is_network;
	} cases[] = {
		{0xef53, "ext4", false},           {0x58465342, "xfs", false}, {0x01021994, "tmpfs", false},
		{0x794c7630, "overlay", false},    {0x6969, "nfs", true},      {0x0bd00bd0, "lustre", true},
		{0x19830326, "beegfs", true},      {0x47504653, "gpfs", true}, {0xff534d42, "cifs", true},
		{0xfe534d42, "smb2", true},        {0x65735546, "fuse", true}, {0x00c36400, "ceph", true},
		{0x5346414f, "afs", true},         {0x01021997, "9p", true},   {0x2fc12fc1, "zfs", false},
		{0x12345678, "0x12345678", false},
	};
	char name[32];
	for (size_t i = 0; i < countof(cases); i++) {
		ASSERT_EQ(service_is_network(cases[i].magic, name), cases[i].is_network);
		ASSERT_STR(name, cases[i].name);
	}
	bool is_network = true;
	ASSERT_EQ(service_filesystem("/proc", name, &is_network), 0);
	ASSERT_STR(name, "proc");
	ASSERT(!is_network);
	ASSERT_EQ(service_filesystem("/nonexistent", name, &is_network), -ENOENT);
}

/* ---- detaching */

enum outcome { IS_READY, IS_EXECUTED, DIES, DIES_SILENTLY };

struct detached {
	enum outcome outcome;
	char *log;
};

static void detach(void *arg)
{
	const struct detached *d = arg;
	int r = service_detach(d->log);
	if (r < 0) {
		printf("error %d\n", r);
		return;
	}
	fprintf(stderr, "sid %d in %d\n", getsid(0) == getpid(), read(0, &(char){0}, 1) == 0);
	if (d->outcome == IS_EXECUTED)
		execl("/bin/sh", "sh", "-c", "echo executed $$", NULL);
	if (d->outcome == IS_READY)
		service_ready("ready pid=%d", (int)getpid());
	if (d->outcome == DIES)
		for (int i = 1; i <= 12; i++)
			fprintf(stderr, "vined: reason %d\n", i);
	_exit(d->outcome == IS_READY ? 0 : 3);
}

static char *read_text(const char *path)
{
	char *text = xcalloc(1, 4096);
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT(read(fd, text, 4095) >= 0);
	return text;
}

TEST(a_detached_daemon_hands_its_ready_line_to_who_started_it)
{
	int status;
	_free_ char *path = in_tmpdir("log");
	struct detached d = {IS_READY, path};
	_free_ char *text = output_of(detach, &d, &status);
	ASSERT_EQ(status, 0);
	ASSERT(has_prefix(text, "ready pid="));
	ASSERT_EQ(strchr(text, '\n') - text, strlen(text) - 1);
	_free_ char *log = read_text(path);
	ASSERT_STR(log, "sid 1 in 1\n");
}

TEST(a_detached_daemon_may_execute_another_program_that_says_it_is_ready)
{
	int status;
	_free_ char *path = in_tmpdir("log");
	struct detached d = {IS_EXECUTED, path};
	_free_ char *text = output_of(detach, &d, &status);
	ASSERT_EQ(status, 0);
	ASSERT(has_prefix(text, "executed "));
}

TEST(a_detached_daemon_that_dies_shows_its_last_words_and_125)
{
	int status;
	_free_ char *path = in_tmpdir("log");
	struct detached d = {DIES, path};
	write_file(path, "of an earlier run\n");
	_free_ char *text = output_of(detach, &d, &status);
	ASSERT_EQ(WEXITSTATUS(status), SERVICE_EXIT_FAILED);
	ASSERT(has_prefix(text, "vined: reason 3\nvined: reason 4\n"));
	ASSERT(strstr(text, "reason 12\n") != NULL);
	d.outcome = DIES_SILENTLY;
	_free_ char *again = output_of(detach, &d, &status);
	ASSERT_STR(again, "sid 1 in 1\n");
}

TEST(a_log_that_cannot_be_opened_is_an_error_before_the_fork)
{
	int status;
	_free_ char *path = in_tmpdir("none/log");
	struct detached d = {IS_READY, path};
	_free_ char *text = output_of(detach, &d, &status);
	ASSERT_STR(text, "error -2\n");
}

/* ---- hardening */

static void harden(void *arg _unused_)
{
	struct rlimit files, after;
	struct sigaction ignored, child;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = min(files.rlim_max, (rlim_t)100);
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGCHLD, SIG_IGN);
	close(0);
	service_harden();
	getrlimit(RLIMIT_NOFILE, &after);
	sigaction(SIGPIPE, NULL, &ignored);
	sigaction(SIGCHLD, NULL, &child);
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	printf("%d %d %d %d %d", prctl(PR_GET_DUMPABLE), ignored.sa_handler == SIG_IGN, child.sa_handler == SIG_DFL,
	       after.rlim_cur == files.rlim_max, next > 2);
}

TEST(a_hardened_process_leaves_no_core_and_has_its_descriptors)
{
	int status;
	_free_ char *text = output_of(harden, NULL, &status);
	ASSERT_STR(text, "0 1 1 1 1");
}

/* What a manager that listens at `path` is told when a daemon says that it is ready. */
static void hear_ready(const char *path, char text[256])
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ASSERT((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s", path) < sizeof a.sun_path);
	if (*path == '@')
		a.sun_path[0] = 0;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	ASSERT_EQ(bind(fd, (const struct sockaddr *)&a, size), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	service_ready("vined ready pid=%d", 7);
	unsetenv("NOTIFY_SOCKET");
	ssize_t n = recv(fd, text, 255, 0);
	text[n > 0 ? n : 0] = 0;
}

TEST(a_service_manager_is_told_when_it_is_ready)
{
	char text[256];
	_free_ char *path = xasprintf("%s/notify", unit_tmpdir()),
		    *abstract = xasprintf("@vine-test-%d", (int)getpid());
	hear_ready(path, text);
	ASSERT_STR(text, "READY=1\nSTATUS=vined ready pid=7");
	hear_ready(abstract, text);
	ASSERT_STR(text, "READY=1\nSTATUS=vined ready pid=7");
}

TEST(a_service_manager_that_is_not_there_is_nobodys_error)
{
	static const char *const paths[] = {"", "x", "relative/path", "/nonexistent/notify"};
	for (size_t i = 0; i < countof(paths); i++) {
		setenv("NOTIFY_SOCKET", paths[i], 1);
		service_ready("vined ready");
	}
	unsetenv("NOTIFY_SOCKET");
}
