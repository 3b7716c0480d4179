/* SPDX-License-Identifier: Apache-2.0
 * The kernel's side of a mount: opening /dev/fuse, mounting, INIT, resuming after another process's death, unmounting. The only file here that
 * calls mount(2), umount2(2) or fusermount3. */
#include "common/path.h"
#include "vinefs/mount/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define INIT_ROOM 8192 /* the least that the kernel lets read */
#define INIT_WAIT_MSEC 5000
#define NOTIFY_RESEND 7 /* FUSE_NOTIFY_RESEND, kernel 6.9 and later; not in every linux/fuse.h */

static int _printf_(3, 4) refuse(char *error, int r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(error, MOUNT_ERROR_SIZE, fmt, args);
	va_end(args);
	if (n >= 0 && n < MOUNT_ERROR_SIZE && r < 0)
		snprintf(error + n, MOUNT_ERROR_SIZE - (size_t)n, ": %s", strerror(-r));
	return r;
}

/* ---- mounting */

/* `type` is the root's, S_IFDIR or S_IFREG: a mount on a file shows a single file. (fusermount3 looks by itself.) */
static int mount_by_kernel(const struct mount_place *place, mode_t type, const char *name, int *out)
{
	const char *device = place->device ? place->device : "/dev/fuse";
	_close_ int fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_free_ char *options =
		xasprintf("fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s", fd, (unsigned)type,
			  (unsigned)getuid(), (unsigned)getgid(), place->is_for_others ? ",allow_other" : "");
	/* A read-only superblock, not a read-only bind: else every read makes the next stat a request. */
	if (mount(name, place->directory, "fuse.vine", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	*out = steal_fd(&fd);
	return 0;
}

static int receive_fd(int from)
{
	char byte;
	struct iovec at = {.iov_base = &byte, .iov_len = 1};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
		.msg_iov = &at, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do {
		n = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	if (n == 0 || !head || head->cmsg_type != SCM_RIGHTS)
		return -EPERM; /* it refused and has said why on its standard error */
	int fd;
	memcpy(&fd, CMSG_DATA(head), sizeof fd);
	return fd;
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* Runs fusermount3 with `talk` as its end of the socket, or -1. Its errors go into `error`. */
static int run_helper(char *const argv[], int talk, char *error)
{
	posix_spawn_file_actions_t actions;
	_close_ int own = -1, its = -1;
	int pipe_fds[2];
	pid_t pid;
	size_t n_environ = 0;
	while (environ[n_environ])
		n_environ++;
	_free_ char *said = xasprintf("_FUSE_COMMFD=%d", talk);
	_free_ char **env = xcalloc(n_environ + 2, sizeof(char *));
	memcpy(env, environ, n_environ * sizeof(char *));
	env[n_environ] = said;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	own = pipe_fds[0];
	its = pipe_fds[1];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, its, STDERR_FILENO);
	if (talk >= 0) /* onto itself: open in the child alone */
		posix_spawn_file_actions_adddup2(&actions, talk, talk);
	int r = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	close_fd(steal_fd(&its));
	if (r < 0)
		return refuse(error, r, "%s", argv[0]);
	ssize_t n = read(own, error, MOUNT_ERROR_SIZE - 1);
	error[n > 0 ? n : 0] = 0;
	error[strcspn(error, "\n")] = 0;
	return wait_for(pid);
}

static int mount_by_helper(const struct mount_place *place, const char *name, int *out, char *error)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	_close_ int own = pair[0];
	_close_ int its = pair[1];
	_free_ char *options = xasprintf("ro,nosuid,nodev,default_permissions,fsname=%s,subtype=vine%s", name,
					 place->is_for_others ? ",allow_other" : "");
	char program[] = "fusermount3", o[] = "-o", end[] = "--";
	_free_ char *directory = xstrdup(place->directory);
	char *const argv[] = {program, o, options, end, directory, NULL};
	int r = run_helper(argv, its, error);
	if (r < 0)
		return r;
	close_fd(steal_fd(&its));
	int fd = receive_fd(own);
	if (fd < 0)
		return fd;
	*out = fd;
	return 0;
}

int mount_greet(struct mount_connection *c)
{
	uint8_t request[INIT_ROOM];
	struct pollfd ready = {.fd = c->fd, .events = POLLIN};
	if (poll(&ready, 1, INIT_WAIT_MSEC) <= 0)
		return -ETIMEDOUT;
	ssize_t n = read(c->fd, request, sizeof request);
	if (n < 0)
		return -errno;
	const struct fuse_head {
		uint32_t size, opcode;
	} *head = (const void *)request;
	if ((size_t)n < sizeof *head || head->opcode != 26 /* FUSE_INIT */ || (size_t)n > sizeof c->init)
		return -EPROTO;
	memcpy(c->init, request, (size_t)n);
	c->n_init = (size_t)n;
	return 0;
}

static bool is_at(void *arg, const struct mountpoint *at)
{
	struct mountpoint *found = arg;
	if (streq(at->path, found->path))
		*found = *at;
	return false;
}

static int find_at(const char *path, struct mountpoint *found)
{
	*found = (struct mountpoint){.id = 0};
	assert(strlen(path) < sizeof found->path);
	memcpy(found->path, path, strlen(path) + 1);
	int r = holders_each_mount("self", is_at, found);
	return r < 0 ? r : found->id ? 0 : -EINVAL;
}

/* The topmost mount on this very directory: 0, -EINVAL if there is none. Its parent's path is resolved, and only where that is not enough (a link, a dot) its
 * own, for that asks the mount, which may be dead. */
static int find_mount(const char *directory, struct mountpoint *found)
{
	_free_ char *copy = xstrdup(directory);
	size_t n = strlen(copy);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = 0;
	const char *slash = strrchr(copy, '/');
	_free_ char *parent = slash == copy ? xstrdup("/")
			      : slash       ? xstrndup(copy, (size_t)(slash - copy))
					    : xstrdup(".");
	char real[PATH_MAX];
	if (!realpath(parent, real))
		return -errno;
	_free_ char *path = path_join(real, slash ? slash + 1 : copy);
	int r = strlen(path) < PATH_MAX ? find_at(path, found) : -ENAMETOOLONG;
	if (r != -EINVAL)
		return r;
	return realpath(directory, real) ? find_at(real, found) : -errno;
}

static bool is_ours(const struct mountpoint *at)
{
	return streq(at->type, "fuse.vine");
}

int mount_connect(const struct mount_place *place, struct mount_connection *c, char *error)
{
	_free_ struct mountpoint *found = NEW(struct mountpoint);
	struct stat st;
	const char *name = place->name ? place->name : "vine";
	*c = (struct mount_connection){.fd = -1};
	error[0] = 0;
	if (stat(place->directory, &st) < 0 && errno == ENOTCONN && find_mount(place->directory, found) == 0 &&
	    is_ours(found))
		mount_disconnect(place->directory, true, NULL);
	if (stat(place->directory, &st) < 0)
		return refuse(error, -errno, "%s", place->directory);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return refuse(error, -ENOTDIR, "%s is neither a directory nor a file", place->directory);
	int r = place->is_by_helper ? -EPERM : mount_by_kernel(place, st.st_mode & S_IFMT, name, &c->fd);
	if (r == -EPERM || r == -EACCES) {
		char why[MOUNT_ERROR_SIZE] = "";
		r = mount_by_helper(place, name, &c->fd, why);
		if (r < 0)
			return refuse(error, r, "cannot mount on %s, neither by mount(2) nor by fusermount3 (%s)",
				      place->directory, why);
	} else if (r < 0) {
		return refuse(error, r, "cannot mount on %s", place->directory);
	}
	c->is_file = S_ISREG(st.st_mode);
	c->device = find_mount(place->directory, found) == 0 ? makedev(found->major, found->minor) : 0;
	r = mount_greet(c);
	if (r < 0) {
		c->fd = close_fd(c->fd);
		mount_disconnect(place->directory, true, NULL);
		return refuse(error, r, "%s: the kernel does not begin to speak", place->directory);
	}
	return 0;
}

static int unmount_by_helper(const char *directory, bool is_forced)
{
	char program[] = "fusermount3", u[] = "-u", z[] = "-z", end[] = "--", said[MOUNT_ERROR_SIZE];
	_free_ char *copy = xstrdup(directory);
	char *argv[] = {program, u, end, copy, NULL, NULL};
	if (is_forced) {
		argv[2] = z;
		argv[3] = end;
		argv[4] = copy;
	}
	return run_helper(argv, -1, said) < 0 ? -EBUSY : 0;
}

bool mount_is_at(const char *directory, uint64_t device)
{
	_free_ struct mountpoint *at = NEW(struct mountpoint);
	assert(*directory == '/');
	return device && find_mount(directory, at) == 0 && is_ours(at) && makedev(at->major, at->minor) == device;
}

/* What lies on a mount keeps it busy. */
struct covers {
	const char *directory;
	struct buf *told; /* NULL: it is to be taken away, if it is ours */
	unsigned n_freed;
};

/* A file of a cache, as `vine mount` binds them: its name there is its digest. */
static bool is_of_cache(const struct mountpoint *at)
{
	static const char folder[] = "/b/00/";
	const char *name = path_base(at->root), *from = at->root + strlen(at->root) - strlen(name);
	struct digest d;
	if (from - at->root < (ptrdiff_t)strlen(folder) || digest_parse(name, &d) < 0)
		return false;
	from -= strlen(folder);
	return has_prefix(from, "/b/") && from[strlen(folder) - 1] == '/';
}

static bool uncover(void *arg, const struct mountpoint *at)
{
	struct covers *c = arg;
	size_t n = strlen(c->directory);
	if (strncmp(at->path, c->directory, n) != 0 || at->path[n] != '/')
		return false;
	if (c->told)
		buf_printf(c->told, "%s is mounted on it%s\n", at->path,
			   is_of_cache(at) ? ", from the cache, and in use" : "");
	else if (is_of_cache(at) && umount2(at->path, UMOUNT_NOFOLLOW) == 0)
		c->n_freed++;
	return false;
}

/* Unmounts what lies on a mount and is ours, then it; or says what is left. */
static int unmount_covered(const char *path, struct buf *holders)
{
	struct covers c = {.directory = path};
	unsigned n;
	/* Again, for what was listed changed on the way. */
	do {
		n = c.n_freed;
		holders_each_mount("self", uncover, &c);
	} while (c.n_freed > n);
	if (n && umount2(path, UMOUNT_NOFOLLOW) == 0)
		return 0;
	c.told = holders;
	if (holders)
		holders_each_mount("self", uncover, &c);
	return -EBUSY;
}

int mount_disconnect(const char *directory, bool is_forced, struct buf *holders)
{
	_free_ struct mountpoint *at = NEW(struct mountpoint);
	int r = find_mount(directory, at);
	if (r < 0)
		return r;
	if (!is_ours(at))
		return -EINVAL;
	if (umount2(at->path, UMOUNT_NOFOLLOW) == 0)
		return 0;
	r = -errno;
	if (r == -EPERM)
		r = unmount_by_helper(at->path, false);
	if (r == -EBUSY && holders)
		holders_list(at->major, at->minor, holders);
	/* Whoever uses it keeps what makes it fast. */
	if (r == -EBUSY && (!holders || !holders->n))
		r = unmount_covered(at->path, holders);
	if (r == 0 || !is_forced)
		return r;
	if (umount2(at->path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? unmount_by_helper(at->path, true) : -errno;
}

int mount_set_read_ahead(const char *directory, unsigned kib)
{
	_free_ struct mountpoint *at = NEW(struct mountpoint);
	char path[64], text[16];
	int r = find_mount(directory, at); /* by a stat(2) the serving process would ask itself */
	if (r < 0)
		return r;
	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", at->major, at->minor);
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int n = snprintf(text, sizeof text, "%u\n", kib);
	return write(fd, text, (size_t)n) == n ? 0 : -errno;
}

/* ---- the session */

static ssize_t say(int fd, struct iovec *at, int n, void *arg)
{
	struct mount *m = arg;
	if (atomic_load_explicit(&m->session.is_mute, memory_order_relaxed)) {
		size_t size = 0;
		for (int i = 0; i < n; i++)
			size += at[i].iov_len;
		return (ssize_t)size;
	}
	ssize_t said = writev(fd, at, n);
	if (said < 0 && errno == ENOENT && m->session.is_greeting)
		m->session.was_greeted = true; /* the kernel waits for this answer no more */
	return said;
}

static ssize_t hear(int fd, void *p, size_t n, void *arg)
{
	(void)arg;
	return read(fd, p, n);
}

/* The kernel puts what a dead process had read, and not answered, back into the queue. */
static int resend(int fd)
{
	struct fuse_head {
		uint32_t size;
		int32_t code;
		uint64_t unique;
	} head = {.size = sizeof head, .code = NOTIFY_RESEND};
	if (write(fd, &head, sizeof head) == (ssize_t)sizeof head)
		return 0;
	return errno == EINVAL ? -ENOTSUP : -errno;
}

int session_open(struct session *s, struct mount *m, struct mount_connection *c)
{
	static const struct fuse_custom_io io = {.writev = say, .read = hear};
	char program[] = "vine";
	char *argv[] = {program, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	assert(!s->fuse && c->fd >= 0 && c->n_init > 0);
	int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	s->fuse = fuse_session_new(&args, &serve_ops, sizeof serve_ops, m);
	fuse_opt_free_args(&args);
	if (!s->fuse || fuse_session_custom_io(s->fuse, &io, fd) < 0) {
		close_fd(fd);
		session_close(s);
		return -EIO;
	}
	s->fd = fd;
	atomic_store(&s->is_mute, c->is_answered);
	struct fuse_buf init = {.mem = c->init, .size = c->n_init};
	s->is_greeting = true;
	fuse_session_process_buf(s->fuse, &init);
	s->is_greeting = false;
	atomic_store(&s->is_mute, false);
	int r = c->is_answered || s->was_greeted ? resend(fd) : fuse_session_exited(s->fuse) ? -EPROTO : 0;
	if (r < 0)
		session_close(s);
	else
		c->is_answered = true;
	return r;
}

void session_close(struct session *s)
{
	if (s->fuse)
		fuse_session_destroy(s->fuse); /* closes fd */
	s->fuse = NULL;
	s->fd = -1;
}
