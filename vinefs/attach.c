/* SPDX-License-Identifier: Apache-2.0
 * vine-mount attach SOCKET TREE NAME DIRECTORY [WORD ...] [-o OPTION ...] [-- COMMAND ...]      vine-mount detach DIRECTORY [force]
 * vine-mount warm DIRECTORY TREE INDEX HOT
 *
 * Does for `vine mount` and `vine umount` what must happen in the caller's namespace: opens /dev/fuse, mounts it, and hands it to the vinefs that listens at
 * SOCKET; or unmounts. With a COMMAND it makes a namespace first, mounts there, binds large files over their paths, and becomes the command: so signals and the exit status are the command's own, and the
 * mount ends with the last process that came of it. Warms what the node's own mount shows, for vinefs. A program of its own, so that the command needs no FUSE and the daemon holds nothing of its own mounts. Prints one
 * line on standard error and exits with 125 when it fails; the holders of a busy mount on standard output, with 1. */
#include "vinefs/attach.h"

#include "common/log.h"
#include "common/net.h"
#include "common/path.h"
#include "common/service.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/mount/mount.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ANSWER_MSEC 60000
#define EXIT_BUSY 1
#define EXIT_NOT_RUN 126
#define EXIT_NOT_FOUND 127
#define READ_AHEAD_KIB 1024

/* What the words of the command line mean. */
struct wish {
	const char *socket, *name, *directory;
	struct digest tree;
	struct mount_place place;
	uint64_t draft;
	bool is_unbound, is_cold;
	char **command; /* NULL: the mount is for all who see the directory */
};

static int _printf_(1, 2) fail(const char *fmt, ...)
{
	char raw[5200], text[5200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(raw, sizeof raw, fmt, args);
	va_end(args);
	fprintf(stderr, "%s\n", log_escape(raw, strlen(raw), text, sizeof text));
	return SERVICE_EXIT_FAILED;
}

static int meet(const char *path)
{
	struct net_address a;
	int r = net_parse(path, &a);
	if (r)
		return r;
	_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a.at, a.n) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int send_offer(int to, const struct attach_offer *m, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof *m};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(to, &head, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* *fd is the file of attach.h; -1 with an error. */
static int hear(int from, int signals, struct attach_answer *a, int *fd)
{
	struct pollfd p[] = {{.fd = from, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {.iov_base = a, .iov_len = sizeof *a};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	*fd = -1;
	int r = poll(p, countof(p), ANSWER_MSEC);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	if (!p[0].revents)
		return -EINTR;
	ssize_t n = recvmsg(from, &head, MSG_CMSG_CLOEXEC);
	if (n != (ssize_t)sizeof *a)
		return n < 0 ? -errno : -ECONNRESET;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
	a->reason[sizeof a->reason - 1] = 0;
	return 0;
}

/* 0 and the file that came, or the exit status. `to` is a connection to the node's vinefs. */
static int offer(const struct wish *w, int to, int signals, struct mount_connection *c, int *texts)
{
	struct attach_offer m = {.magic = ATTACH_MAGIC,
				 .tree = w->tree,
				 .draft = w->draft,
				 .is_answered = c->is_answered,
				 .device = c->device,
				 .is_file = c->is_file,
				 .is_private = w->command != NULL,
				 .is_bound = w->command && !w->is_unbound};
	struct attach_answer a;
	assert(*w->directory == '/' && c->fd >= 0);
	assert(c->n_init <= sizeof m.init);
	m.n_init = (uint32_t)c->n_init;
	memcpy(m.init, c->init, c->n_init);
	snprintf(m.name, sizeof m.name, "%s", w->name);
	if (snprintf(m.directory, sizeof m.directory, "%s", w->directory) >= (int)sizeof m.directory)
		return fail("%s: the path is too long", w->directory);
	int r = send_offer(to, &m, c->fd);
	/* The kernel keeps waiting for an answer as long as anybody has this. */
	c->fd = close_fd(c->fd);
	if (!r)
		r = hear(to, signals, &a, texts);
	if (r)
		return fail("%s: the node's vinefs did not take the mount: %s%s", w->directory, strerror(-r),
			    r == -ECONNRESET ? "; if it is older than this command, `vine node upgrade` replaces it"
					     : "");
	return a.error ? fail("%s: %s", w->name, a.reason) : 0;
}

/* Absolute, without links. What cannot be looked at because a dead mount lies on it is found by where it lies. */
static int resolve(const char *path, char to[PATH_MAX])
{
	if (realpath(path, to))
		return 0;
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_free_ char *parent = slash ? xstrndup(path, max((size_t)(slash - path), (size_t)1)) : xstrdup(".");
	if (errno != ENOTCONN || !*name)
		return -errno;
	if (!realpath(parent, to))
		return -errno;
	size_t n = strlen(to);
	return snprintf(to + n, PATH_MAX - n, "%s%s", n > 1 ? "/" : "", name) < (int)(PATH_MAX - n) ? 0 : -ENAMETOOLONG;
}

/* ---- a namespace of its own */

static int enter(void)
{
	static const char device[] = "/dev/fuse";
	struct view_step s = {.op = VIEW_UNSHARE, .flags = geteuid() ? VIEW_USER : 0};
	unsigned n;
	int r = view_do(&s, 1, &n);
	/* Root of a container that may not mount is an ordinary user in this. */
	if (r == -EPERM && !s.flags) {
		s.flags = VIEW_USER;
		r = view_do(&s, 1, &n);
	}
	if (r)
		return fail("no namespace can be made for the command: %s; `vine doctor` says what is missing. Without "
			    "a command "
			    "`vine mount` needs none",
			    strerror(-r));
	if (access(device, R_OK | W_OK) < 0)
		return fail("%s: %s; `vine doctor` says how to get it", device, strerror(errno));
	return 0;
}

/* What cannot be bound is served. */
static void bind_files(const struct wish *w, const char *const *texts, size_t n_texts)
{
	unsigned n = (unsigned)(n_texts / 2), n_done;
	_free_ struct view_step *steps = xcalloc(n, sizeof *steps);
	_free_ char **to = xcalloc(n, sizeof *to);
	assert(w->command);
	for (unsigned i = 0; i < n; i++) {
		to[i] = path_join(w->directory, texts[i * 2]);
		steps[i] = (struct view_step){
			.op = VIEW_BIND, .flags = VIEW_ALIKE | VIEW_OPTIONAL, .from = texts[i * 2 + 1], .to = to[i]};
	}
	int r = view_do(steps, n, &n_done);
	assert(r == 0 && n_done == n);
	for (unsigned i = 0; i < n; i++)
		free(to[i]);
	(void)r;
}

/* As what we were started by would have started it. */
static int become(char **command, const char *where)
{
	struct rlimit files;
	/* Of a mount over where we stand, what is there now; if it is there. */
	if (chdir(where) < 0)
		log_debug("%s: %s", where, strerror(errno));
	if (prlimit(getppid(), RLIMIT_NOFILE, NULL, &files) == 0)
		setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_DFL);
	execvp(command[0], command);
	int error = errno;
	fail("%s: %s", command[0], strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}

/* ---- mounting */

/* The words are vine's; what a user gave with -o follows a -o of its own and can be none of them. */
static int understand(int argc, char **argv, struct wish *w)
{
	if (argc < 6 || digest_parse(argv[3], &w->tree) < 0)
		return fail("vine-mount: it is called by vine mount");
	w->socket = argv[2];
	w->name = w->place.name = argv[4];
	for (int i = 6; i < argc && !w->command; i++) {
		if (streq(argv[i], "--") && i + 1 < argc)
			w->command = &argv[i + 1];
		else if (streq(argv[i], "no-bind"))
			w->is_unbound = true;
		else if (streq(argv[i], "no-warm"))
			w->is_cold = true;
		else if (has_prefix(argv[i], "draft="))
			w->draft = strtoull(strchr(argv[i], '=') + 1, NULL, 10);
		else if (!streq(argv[i], "-o") || i + 1 == argc)
			return fail("vine-mount: it is called by vine mount");
		else if (streq(argv[++i], "allow_other"))
			w->place.is_for_others = true;
		else
			return fail("'%s' is no option of a mount", argv[i]);
	}
	return 0;
}

/* The texts of attach.h, borrowed from *all. Returns how many. */
static size_t read_texts(int fd, char **all, const char ***texts)
{
	struct stat st;
	size_t n = 0;
	*texts = NULL;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)ATTACH_TEXTS_MAX)
		return 0;
	size_t size = (size_t)st.st_size;
	*all = xcalloc(1, size + 1);
	if (pread(fd, *all, size, 0) != st.st_size)
		return 0;
	for (size_t i = 0; i < size; i += strlen(*all + i) + 1) {
		*texts = xrealloc(*texts, (n + 1) * sizeof **texts);
		(*texts)[n++] = *all + i;
	}
	return n;
}

/* What makes it fast; nothing of it must be. */
static void prepare(const struct wish *w, int fd)
{
	_free_ char *all = NULL;
	_free_ const char **texts = NULL;
	size_t n = read_texts(fd, &all, &texts);
	if (n < ATTACH_TEXTS_BEFORE)
		return;
	if (w->command && !w->is_unbound)
		bind_files(w, texts + ATTACH_TEXTS_BEFORE, n - ATTACH_TEXTS_BEFORE);
	if (geteuid() == 0)
		mount_set_read_ahead(w->directory, READ_AHEAD_KIB);
	if (!w->is_cold && *texts[0])
		attach_warm(w->directory, &w->tree, texts[0], texts[1]);
}

/* A mount that nobody serves is worse than none: what would end us in between is awaited with the answer. 0 and the file that came, or the exit status. */
static int mount_and_offer(const struct wish *w, int *texts)
{
	char error[MOUNT_ERROR_SIZE] = "";
	struct mount_connection c = {.fd = -1};
	sigset_t ends, before;
	/* Before there is a mount, for the socket may lie beneath it. */
	_close_ int to = meet(w->socket);
	if (to < 0)
		return fail("%s: no vinefs listens there: %s", w->socket, strerror(-to));
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	_close_ int signals = signalfd(-1, &ends, SFD_CLOEXEC);
	if (signals < 0)
		return fail("signalfd: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, &ends, &before);
	int r = mount_connect(&w->place, &c, error);
	int status = r ? fail("%s", *error ? error : strerror(-r)) : offer(w, to, signals, &c, texts);
	_cleanup_(buf_fini) struct buf holders = {0};
	if (!r && status)
		mount_disconnect(w->directory, true, &holders);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

static int attach(int argc, char **argv)
{
	char directory[PATH_MAX];
	struct wish w = {0};
	int status = understand(argc, argv, &w);
	if (!status && w.command)
		status = enter();
	if (status)
		return status;
	_free_ char *where = getcwd(NULL, 0);
	int r = resolve(argv[5], directory);
	if (r)
		return fail("%s: %s", argv[5], strerror(-r));
	w.directory = w.place.directory = directory;
	_close_ int texts = -1;
	status = mount_and_offer(&w, &texts);
	if (status)
		return status;
	prepare(&w, texts);
	return w.command ? become(w.command, where ?: "/") : 0;
}

static int detach(int argc, char **argv)
{
	_cleanup_(buf_fini) struct buf holders = {0};
	if (argc < 3)
		return fail("vine-mount: it is called by vine umount");
	int r = mount_disconnect(argv[2], argc > 3 && streq(argv[3], "force"), &holders);
	if (r == -EBUSY) {
		fputs(buf_text(&holders), stdout);
		return fflush(stdout) == 0 ? EXIT_BUSY : SERVICE_EXIT_FAILED;
	}
	if (r == -EINVAL)
		return fail("%s: nothing of Vine's is mounted there", argv[2]);
	return r ? fail("%s: %s", argv[2], strerror(-r)) : 0;
}

/* Below the node's mount, in the stem. */
static int warm(int argc, char **argv)
{
	struct digest id;
	if (argc < 6 || digest_parse(argv[3], &id) < 0)
		return fail("vine-mount: it is called by vinefs");
	_free_ char *mount = xstrndup(argv[2], (size_t)(path_base(argv[2]) - argv[2]));
	if (geteuid() == 0)
		mount_set_read_ahead(mount, READ_AHEAD_KIB);
	attach_warm(argv[2], &id, argv[4], argv[5]);
	return 0;
}

int main(int argc, char **argv)
{
	service_harden();
	log_init("vine-mount", LOG_LEVEL_ERROR, STDERR_FILENO, true);
	if (argc > 1 && streq(argv[1], "attach"))
		return attach(argc, argv);
	if (argc > 1 && streq(argv[1], "detach"))
		return detach(argc, argv);
	if (argc > 1 && streq(argv[1], "warm"))
		return warm(argc, argv);
	return fail("vine-mount: it is called by vine mount and vine umount");
}
