/* SPDX-License-Identifier: Apache-2.0
 * vine-mount attach SOCKET TREE NAME DIRECTORY [OPTION ...]      vine-mount detach DIRECTORY [force]
 *
 * Does for `vine mount` and `vine umount` what must happen in the caller's namespace: opens /dev/fuse, mounts it, and hands it to the vinefs that listens at
 * SOCKET; or unmounts. A program of its own, so that the command needs no FUSE and the daemon holds nothing of its own mounts. Prints one
 * line on standard error and exits with 125 when it fails; the holders of a busy mount on standard output, with 1. */
#include "vinefs/attach.h"

#include "common/log.h"
#include "common/net.h"
#include "common/service.h"
#include "vinefs/mount/mount.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define ANSWER_MSEC 60000
#define EXIT_BUSY 1

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

static int hear(int from, struct attach_answer *a)
{
	struct pollfd p = {.fd = from, .events = POLLIN};
	int r = poll(&p, 1, ANSWER_MSEC);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	ssize_t n = recv(from, a, sizeof *a, 0);
	if (n != (ssize_t)sizeof *a)
		return n < 0 ? -errno : -ECONNRESET;
	a->reason[sizeof a->reason - 1] = 0;
	return 0;
}

static int offer(const char *socket_path, const struct digest *tree, const char *name, const char *directory,
		 struct mount_connection *c)
{
	struct attach_offer m = {.magic = ATTACH_MAGIC, .tree = *tree, .is_answered = c->is_answered};
	struct attach_answer a;
	assert(*directory == '/' && c->fd >= 0);
	assert(c->n_init <= sizeof m.init);
	m.n_init = (uint32_t)c->n_init;
	memcpy(m.init, c->init, c->n_init);
	snprintf(m.name, sizeof m.name, "%s", name);
	if (snprintf(m.directory, sizeof m.directory, "%s", directory) >= (int)sizeof m.directory)
		return fail("%s: the path is too long", directory);
	_close_ int fd = meet(socket_path);
	if (fd < 0)
		return fail("%s: no vinefs listens there: %s", socket_path, strerror(-fd));
	int r = send_offer(fd, &m, c->fd);
	/* The kernel keeps waiting for an answer as long as anybody has this. */
	c->fd = close_fd(c->fd);
	if (!r)
		r = hear(fd, &a);
	if (r)
		return fail("%s: the node's vinefs did not take the mount: %s", directory, strerror(-r));
	return a.error ? fail("%s: %s", name, a.reason) : 0;
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

static int attach(int argc, char **argv)
{
	char error[MOUNT_ERROR_SIZE] = "", directory[PATH_MAX];
	struct mount_connection c = {.fd = -1};
	struct digest tree;
	if (argc < 6 || digest_parse(argv[3], &tree) < 0)
		return fail("vine-mount: it is called by vine mount");
	int r = resolve(argv[5], directory);
	if (r)
		return fail("%s: %s", argv[5], strerror(-r));
	struct mount_place place = {.directory = directory, .name = argv[4]};
	for (int i = 6; i < argc; i++) {
		if (streq(argv[i], "allow_other"))
			place.is_for_others = true;
		else if (streq(argv[i], "helper"))
			place.is_by_helper = true;
		else if (has_prefix(argv[i], "device="))
			place.device = strchr(argv[i], '=') + 1;
		else
			return fail("'%s' is no option of a mount", argv[i]);
	}
	r = mount_connect(&place, &c, error);
	if (r)
		return fail("%s", *error ? error : strerror(-r));
	int status = offer(argv[2], &tree, argv[4], directory, &c);
	_cleanup_(buf_fini) struct buf holders = {0};
	if (status)
		mount_disconnect(directory, true, &holders);
	return status;
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

int main(int argc, char **argv)
{
	service_harden();
	log_init("vine-mount", LOG_LEVEL_ERROR, STDERR_FILENO, true);
	if (argc > 1 && streq(argv[1], "attach"))
		return attach(argc, argv);
	if (argc > 1 && streq(argv[1], "detach"))
		return detach(argc, argv);
	return fail("vine-mount: it is called by vine mount and vine umount");
}
