/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/stem_world.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(3 * sizeof(int))];
};

/* n_fds: of fds that go along, or room for those that come; returns recvmsg's or sendmsg's. */
static ssize_t talk(int fd, void *p, size_t n, int *fds, unsigned *n_fds, bool is_sending)
{
	union control control = {.head = {0}};
	struct iovec v = {.iov_base = p, .iov_len = n};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (!is_sending || *n_fds) {
		head.msg_control = control.room;
		head.msg_controllen = is_sending ? CMSG_SPACE(*n_fds * sizeof(int)) : sizeof control.room;
	}
	if (is_sending && *n_fds) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(*n_fds * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, *n_fds * sizeof(int));
	}
	ssize_t r = is_sending ? sendmsg(fd, &head, MSG_NOSIGNAL) : recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (is_sending)
		return r;
	const struct cmsghdr *c = r > 0 ? CMSG_FIRSTHDR(&head) : NULL;
	*n_fds = c ? (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	if (*n_fds)
		memcpy(fds, CMSG_DATA(c), *n_fds * sizeof(int));
	return r;
}

/* ---- in the stem */

struct request {
	char what, path[4096], other[4096];
};

struct answer {
	ssize_t n;
	char bytes[STEM_ANSWER_MAX];
};

static ssize_t read_all(const char *path, char *to)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, got = 0;
	while (fd >= 0 && n < (ssize_t)STEM_ANSWER_MAX && (got = read(fd, to + n, STEM_ANSWER_MAX - (size_t)n)) > 0)
		n += got;
	return fd < 0 || got < 0 ? -errno : n;
}

static ssize_t do_stat(const char *path, char *to)
{
	struct stat st;
	return stat(path, &st) < 0 ? -errno
				   : sprintf(to, "%u:%u %lld %o", major(st.st_dev), minor(st.st_dev),
					     (long long)st.st_size, (unsigned)st.st_mode);
}

static int do_mount(const char *path, int *fd)
{
	char options[128];
	*fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions,allow_other",
		 *fd, geteuid(), getegid());
	return mount("vine", path, "fuse.vine", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

static ssize_t do_bind(const char *from, const char *to)
{
	struct view_step s = {.op = VIEW_BIND, .flags = VIEW_ALIKE, .from = from, .to = to};
	unsigned n;
	return view_do(&s, 1, &n);
}

static void live(int fd)
{
	static struct request q;
	static struct answer a;
	struct view_step s = {.op = VIEW_UNSHARE, .flags = geteuid() ? VIEW_USER : 0};
	unsigned n, n_fds;
	int fuse = -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	a.n = view_do(&s, 1, &n);
	for (;;) {
		n_fds = fuse >= 0;
		if (talk(fd, &a, offsetof(struct answer, bytes) + (size_t)max(a.n, (ssize_t)0), &fuse, &n_fds, true) <
		    0)
			_exit(0);
		fuse = close_fd(fuse);
		if (read(fd, &q, sizeof q) != (ssize_t)sizeof q)
			_exit(0);
		a.n = q.what == 'r'   ? read_all(q.path, a.bytes)
		      : q.what == 's' ? do_stat(q.path, a.bytes)
		      : q.what == 'b' ? do_bind(q.other, q.path)
		      : q.what == 'u' ? (umount2(q.path, MNT_DETACH) < 0 ? -errno : 0)
				      : do_mount(q.path, &fuse);
	}
}

/* ---- for the test */

static ssize_t hear(struct stem *s, char *bytes, int *fd)
{
	static struct answer a;
	unsigned n_fds = 1;
	ssize_t n = talk(s->fd, &a, sizeof a, fd, &n_fds, false);
	if (n < 0)
		return -errno;
	ASSERT(n >= (ssize_t)offsetof(struct answer, bytes));
	if (a.n > 0)
		memcpy(bytes, a.bytes, (size_t)a.n);
	return a.n;
}

static ssize_t await(struct stem *s, char *bytes, int *fd)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	ASSERT_EQ(poll(&p, 1, (int)UNIT_PATIENCE_SEC * 1000), 1);
	return hear(s, bytes, fd);
}

void stem_open(struct stem *s)
{
	int pair[2], fd = -1, size = 1 << 20;
	static char none[STEM_ANSWER_MAX];
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	s->pid = fork();
	ASSERT(s->pid >= 0);
	if (s->pid == 0) {
		close(pair[0]);
		live(pair[1]);
	}
	close(pair[1]);
	s->fd = pair[0];
	s->is_allowed = await(s, none, &fd) == 0;
}

void stem_close(struct stem *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->fd);
}

void stem_ask(struct stem *s, char what, const char *path, const char *other)
{
	struct request q = {.what = what};
	snprintf(q.path, sizeof q.path, "%s", path);
	snprintf(q.other, sizeof q.other, "%s", other ? other : "");
	ASSERT_EQ(write(s->fd, &q, sizeof q), (ssize_t)sizeof q);
}

ssize_t stem_hear(struct stem *s, char answer[STEM_ANSWER_MAX])
{
	int fd = -1;
	return hear(s, answer, &fd);
}

int stem_mount(struct stem *s, const char *directory)
{
	static char none[STEM_ANSWER_MAX];
	int fd = -1;
	stem_ask(s, 'm', directory, NULL);
	ssize_t r = await(s, none, &fd);
	return r < 0 ? (int)r : fd;
}

/* ---- the keeper */

static void say(struct stem_keeper *k, uint32_t type, uint64_t number, int error, int *fds, unsigned n_fds)
{
	struct keeper_mount m = {.type = type, .mount = number, .error = error};
	ASSERT_EQ(talk(k->ours, &m, sizeof m, fds, &n_fds, true), (ssize_t)sizeof m);
}

/* The namespaces of the stem that there is, and perhaps a third. */
static void say_stem(struct stem_keeper *k, int fuse)
{
	char path[64];
	int fds[3] = {-1, -1, fuse};
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)k->stems[k->n_made - 1]->pid);
	fds[0] = open(path, O_RDONLY | O_CLOEXEC);
	fds[1] = open(path, O_RDONLY | O_CLOEXEC);
	say(k, KEEPER_STEM_MADE, k->stem, 0, fds, fuse < 0 ? 2 : 3);
	for (int i = 0; i < 3; i++)
		close_fd(fds[i]);
}

static void make_stem(struct stem_keeper *k, uint64_t number)
{
	int error = k->refusal;
	if (!error && k->n_made == k->n_stems)
		error = -EPERM;
	int fuse = error ? -1 : stem_mount(k->stems[k->n_made], k->directory);
	if (!error && fuse < 0)
		error = fuse;
	if (error) {
		say(k, KEEPER_STEM_MADE, number, error, NULL, 0);
		return;
	}
	k->n_made++;
	k->stem = number;
	say_stem(k, fuse);
}

static void let_go(struct stem_keeper *k)
{
	k->held = 0;
	for (int i = 0; i < 2; i++)
		k->fds[i] = close_fd(k->fds[i]);
}

void stem_keeper_turn(struct stem_keeper *k)
{
	struct keeper_mount m;
	int fds[3];
	unsigned n_fds = 3;
	while (talk(k->ours, &m, sizeof m, fds, &n_fds, false) > 0) {
		if (m.type == KEEPER_STEM) {
			make_stem(k, m.mount);
		} else if (m.type == KEEPER_HOLD) {
			ASSERT_EQ(n_fds, 2);
			let_go(k);
			k->held = m.mount;
			memcpy(k->fds, fds, sizeof k->fds);
		} else if (m.type == KEEPER_DROP) {
			k->n_drops++;
			if (k->held == m.mount)
				let_go(k);
		}
		n_fds = 3;
	}
}

void stem_keeper_meet(struct stem_keeper *k)
{
	int pair[2];
	close_fd(k->ours);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	k->ours = pair[0];
	k->theirs = pair[1];
	if (k->held)
		say(k, KEEPER_HELD, k->held, 0, k->fds, 2);
	if (k->stem)
		say_stem(k, -1);
	say(k, KEEPER_ALL_HELD, 0, 0, NULL, 0);
}

void stem_keeper_open(struct stem_keeper *k, const char *directory)
{
	k->ours = k->fds[0] = k->fds[1] = -1;
	k->directory = directory;
	stem_keeper_meet(k);
}

void stem_keeper_close(struct stem_keeper *k)
{
	let_go(k);
	close_fd(k->ours);
}
