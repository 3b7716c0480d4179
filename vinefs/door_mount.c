/* SPDX-License-Identifier: Apache-2.0
 * Descriptors of new mounts come in over a socket of their own, one packet each (attach.h); what of private ones is bound; and MOUNT_LIST. */
#include "vinefs/door_internal.h"

#include "common/log.h"
#include "common/path.h"
#include "vinefs/attach.h"
#include "vinefs/binds.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define OFFERS_MAX 64u

struct offer {
	struct list link;
	struct door *door;
	struct watch watch;
	struct mounts_add add;
	struct binds *binds;
	uint64_t number;
	bool is_taken, is_bound;
	char *directory;
};

/* What is bound in the namespace of a mount that is served. */
struct bound {
	struct list link;
	struct binds *binds;
	struct mounts_watch end;
};

/* ---- what is bound */

static void free_bound(struct bound *b)
{
	list_remove(&b->link);
	mounts_watch_stop(&b->end);
	binds_free(b->binds);
	free(b);
}

static void on_mount_end(struct mounts_watch *w)
{
	free_bound(container_of(w, struct bound, end));
}

static void keep_bound(struct door *d, struct binds *binds, uint64_t number)
{
	struct bound *b = NEW(struct bound);
	assert(binds && number);
	b->binds = binds;
	b->end.on_end = on_mount_end;
	list_init(&b->link);
	list_append(&d->bound, &b->link);
	if (mounts_watch_start(d->settings.mounts, number, &b->end))
		free_bound(b);
}

static void look_for_others(void *arg, const struct mounts_info *i)
{
	bool *has_others = arg;
	*has_others |= i->is_private && i->is_restored;
}

/* ---- offers */

static void free_offer(struct offer *o)
{
	int fd = o->watch.fd;
	mounts_add_stop(&o->add);
	binds_free(o->binds);
	watch_stop(&o->watch);
	list_remove(&o->link);
	close_fd(fd);
	free(o->directory);
	free(o);
}

static int send_answer(int to, const struct attach_answer *a, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)a, .iov_len = sizeof *a};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (fd >= 0) {
		head.msg_control = control.room;
		head.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	return sendmsg(to, &head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void answer(struct offer *o, int error, const char *reason, int fd)
{
	struct attach_answer a = {.error = -error, .number = o->number};
	assert(error <= 0);
	snprintf(a.reason, sizeof a.reason, "%s", reason);
	int r = send_answer(o->watch.fd, &a, fd);
	if (r)
		log_errno(-r, "answer to vine-mount");
	free_offer(o);
}

static int put_texts(const struct offer *o)
{
	const struct door_settings *s = &o->door->settings;
	char id[DIGEST_TEXT_SIZE];
	digest_text(&o->add.id, id);
	/* A draft has no index yet. */
	_free_ char *index = o->add.draft ? xstrdup("") : xasprintf("%s/t/%s.vti", s->cache_path, id);
	_free_ char *hot = xasprintf("%s/hot/%s", s->state, id);
	_cleanup_(buf_fini) struct buf all = {0};
	buf_put(&all, index, strlen(index) + 1);
	buf_put(&all, hot, strlen(hot) + 1);
	if (o->binds)
		binds_put(o->binds, &all);
	_close_ int fd = memfd_create("vine-binds", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	return pwrite(fd, all.at, all.n, 0) == (ssize_t)all.n ? steal_fd(&fd) : -ENOMEM;
}

static void on_ready(void *arg)
{
	struct offer *o = arg;
	_close_ int fd = put_texts(o);
	if (o->binds)
		keep_bound(o->door, steal(o->binds), o->number);
	answer(o, min(fd, 0), fd < 0 ? strerror(-fd) : "", fd);
}

/* What has no place among what `error` means elsewhere: the tree and the place are not of one kind, or there are too many. */
static void refuse(struct offer *o, int error)
{
	char text[600];
	if (error == -ENOTDIR)
		snprintf(text, sizeof text,
			 "it is a single file, and %.250s is a directory: mount it on a file, `touch` makes one",
			 o->directory);
	else if (error == -EISDIR)
		snprintf(text, sizeof text,
			 "it is a directory or an archive, and %.250s is a file: mount it on a directory, `mkdir` "
			 "makes one",
			 o->directory);
	else if (error == -EUSERS)
		snprintf(
			text, sizeof text,
			"this node serves %u mounts, as many as it can: unmount some, or raise the limit of open files "
			"(ulimit -n) and start the node again",
			mounts_max());
	else
		snprintf(text, sizeof text, "%s", door_why_not_found(error));
	answer(o, error, text, -1);
}

static void on_served(struct mounts_add *a, int error, uint64_t number)
{
	struct offer *o = container_of(a, struct offer, add);
	struct binds_settings s = {.fetch = o->door->settings.fetch,
				   .cache_path = o->door->settings.cache_path,
				   .directory = o->directory,
				   .id = a->id,
				   .on_done = on_ready,
				   .arg = o};
	if (error) {
		refuse(o, error);
		return;
	}
	o->number = number;
	/* What is a draft now is served to its end. */
	if (o->is_bound && !a->draft) {
		mounts_each(o->door->settings.mounts, look_for_others, &s.has_others);
		o->binds = binds_new(&s);
	}
	if (!o->binds)
		on_ready(o);
}

static bool is_text(const char *text, size_t room)
{
	return memchr(text, 0, room) && *text;
}

static void take(struct offer *o, const struct attach_offer *m, int fd)
{
	struct mount_connection *c = &o->add.connection;
	if (fd < 0 || m->magic != ATTACH_MAGIC || m->n_init > sizeof c->init || !is_text(m->name, sizeof m->name) ||
	    !is_text(m->directory, sizeof m->directory) || *m->directory != '/') {
		close_fd(fd);
		answer(o, -EPROTO, "vine-mount and vinefs are of different versions; restart the node", -1);
		return;
	}
	c->fd = fd;
	c->is_answered = m->is_answered;
	c->is_file = m->is_file;
	c->device = m->device;
	c->n_init = m->n_init;
	memcpy(c->init, m->init, m->n_init);
	o->add.id = m->tree;
	o->add.draft = m->draft;
	o->add.directory = m->directory;
	o->add.name = m->name;
	o->add.is_private = m->is_private;
	o->add.on_done = on_served;
	o->directory = xstrdup(m->directory);
	o->is_bound = m->is_bound;
	o->is_taken = true;
	int r = mounts_add(o->door->settings.mounts, &o->add);
	if (r)
		refuse(o, r);
}

static void on_offer(struct watch *w, uint32_t events)
{
	struct offer *o = container_of(w, struct offer, watch);
	struct attach_offer m;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	ssize_t n = recvmsg(w->fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & EPOLLHUP))
		return;
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&head) : NULL;
	int fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	/* One packet, then nothing: whatever else comes is its end. */
	if (o->is_taken || n != (ssize_t)sizeof m) {
		close_fd(fd);
		free_offer(o);
		return;
	}
	take(o, &m, fd);
}

static void on_connect(struct watch *w, uint32_t events)
{
	struct door *d = container_of(w, struct door, mounts);
	uid_t uid;
	pid_t pid;
	assert(events);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK),
	    r = fd < 0 ? 0 : net_peer_user(fd, &uid, &pid);
	if (fd < 0)
		return;
	unsigned n = 0;
	list_foreach (&d->offers, struct offer, link, each)
		n += each != NULL;
	if (r || uid != geteuid() || n >= OFFERS_MAX) {
		log_warn("mount.sock: refused a process of uid %u", r ? 0 : (unsigned)uid);
		close_fd(fd);
		return;
	}
	struct offer *o = NEW(struct offer);
	o->door = d;
	list_init(&o->link);
	list_append(&d->offers, &o->link);
	r = watch_start(&o->watch, d->settings.loop, fd, EPOLLIN, on_offer);
	if (r) {
		log_errno(-r, "mount.sock");
		list_remove(&o->link);
		close_fd(fd);
		free(o);
	}
}

int door_mounts_open(struct door *d)
{
	_free_ char *path = path_join(d->settings.state, ATTACH_SOCKET);
	list_init(&d->bound);
	struct net_address a;
	/* The state directory is ours alone: what lies there was left by one of us that died. */
	unlink(path);
	int r = net_parse(path, &a), fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	if (!r && (fd < 0 || bind(fd, (struct sockaddr *)&a.at, a.n) < 0 || listen(fd, (int)OFFERS_MAX) < 0))
		r = -errno;
	umask(mask);
	if (!r)
		r = watch_start(&d->mounts, d->settings.loop, fd, EPOLLIN, on_connect);
	if (!r)
		return 0;
	close_fd(fd);
	return log_errno(-r, "%s", path);
}

void door_mounts_close(struct door *d)
{
	int fd = d->mounts.loop ? d->mounts.fd : -1;
	while (!list_is_empty(&d->offers))
		free_offer(list_first(&d->offers, struct offer, link));
	while (d->bound.next && !list_is_empty(&d->bound))
		free_bound(list_first(&d->bound, struct bound, link));
	watch_stop(&d->mounts);
	close_fd(fd);
}

/* ---- listing */

static void add_mount(void *arg, const struct mounts_info *i)
{
	struct wire_mounted m = {.number = i->number,
				 .directory = i->directory,
				 .tree = i->id,
				 .name = i->name,
				 .since_usec = i->since_usec,
				 .n_requests = i->numbers.n_requests,
				 .read_size = i->numbers.read_size,
				 .n_waiting = i->numbers.n_waiting,
				 .is_private = i->is_private,
				 .is_draft = i->is_draft,
				 .reason = i->reason,
				 .draft_size = i->progress.bytes_done,
				 .draft_total = i->progress.bytes_found};
	buf_put(arg, &m, sizeof m);
}

void door_mount_list(struct client *c, uint64_t id)
{
	_cleanup_(buf_fini) struct buf all = {0};
	unsigned n = mounts_each(c->door->settings.mounts, add_mount, &all);
	const struct wire_mounted_list m = {.mounts = {.at = (const struct wire_mounted *)(void *)all.at, .n = n}};
	conn_reply(c->conn, id, WIRE_MOUNTED_LIST, &m);
}
