/* SPDX-License-Identifier: Apache-2.0
 * The stem's namespaces, for `vine shell`: whoever connects is told, and needs to ask nothing. */
#include "vinefs/door_internal.h"

#include "common/log.h"
#include "common/path.h"
#include "vinefs/shell.h"

#include <sys/epoll.h>
#include <unistd.h>

static int tell(int to, const struct shell_answer *a, const int fds[2])
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)a, .iov_len = sizeof *a};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (a->stem) {
		head.msg_control = control.room;
		head.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
	}
	return sendmsg(to, &head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void on_connect(struct watch *w, uint32_t events)
{
	struct door *d = container_of(w, struct door, shells);
	const struct door_settings *s = &d->settings;
	struct shell_answer a = {.magic = SHELL_MAGIC};
	int fds[2] = {-1, -1};
	uid_t uid;
	pid_t pid;
	assert(events);
	_close_ int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r = fd < 0 ? 0 : net_peer_user(fd, &uid, &pid);
	if (fd < 0)
		return;
	if (r || uid != geteuid()) {
		log_warn("shell.sock: refused a process of uid %u", r ? 0 : (unsigned)uid);
		return;
	}
	a.stem = s->namespaces ? s->namespaces(s->arg, fds) : 0;
	r = tell(fd, &a, fds);
	if (r)
		log_errno(-r, "answer to vine-shell");
}

int door_shells_open(struct door *d)
{
	_free_ char *path = path_join(d->settings.state, SHELL_SOCKET);
	struct net_address a;
	/* The state directory is ours alone: what lies there was left by one of us that died. */
	unlink(path);
	int r = net_parse(path, &a), fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	if (!r && (fd < 0 || bind(fd, (struct sockaddr *)&a.at, a.n) < 0 || listen(fd, 16) < 0))
		r = -errno;
	umask(mask);
	if (!r)
		r = watch_start(&d->shells, d->settings.loop, fd, EPOLLIN, on_connect);
	if (!r)
		return 0;
	close_fd(fd);
	return log_errno(-r, "%s", path);
}

void door_shells_close(struct door *d)
{
	int fd = d->shells.loop ? d->shells.fd : -1;
	watch_stop(&d->shells);
	close_fd(fd);
}
