/* SPDX-License-Identifier: Apache-2.0
 * What a new process must know of a mount lies in a memfd, made anew for each change and held by the keeper before the kernel hears of the change. */
#include "vinefs/mounts_internal.h"

#include "common/log.h"
#include "vinefs/keeper/keeper.h"

#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAGIC UINT64_C(0x33746e756f6d6e76) /* another layout, another number */
#define STATE_MAX (16u << 20)
#define KEEPER_WAIT_MSEC 2000

/* The beginning of the memfd; then table, directory, name, source. */
struct state {
	uint64_t magic, since_usec;
	struct digest id;
	struct digest face; /* of a draft, which has a source */
	uint32_t n_table, n_directory, n_name, n_source, n_init;
	uint32_t is_answered, is_private, is_file;
	uint64_t device;
	uint8_t init[512];
};

int mounts_tell_keeper(struct mounts *m, enum keeper_mount_type type, uint64_t number, const int fds[2])
{
	struct keeper_mount message = {.type = type, .mount = number};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = &message, .iov_len = sizeof message};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (m->settings.keeper < 0)
		return 0;
	if (fds) {
		head.msg_control = control.room;
		head.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
	}
	for (int i = 0; i < 2; i++) {
		if (sendmsg(m->settings.keeper, &head, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		/* It does nothing that takes long; so this waits for what it has before us. */
		struct pollfd p = {.fd = m->settings.keeper, .events = POLLOUT};
		if (errno != EAGAIN || poll(&p, 1, KEEPER_WAIT_MSEC) <= 0)
			break;
	}
	return -errno;
}

void mounts_state_drop(struct served *s)
{
	mounts_tell_keeper(s->owner, KEEPER_DROP, s->number, NULL);
}

int mounts_state_save(struct served *s, bool is_answered)
{
	const struct state head = {.magic = STATE_MAGIC,
				   .since_usec = s->since_usec,
				   .id = s->id,
				   .face = s->face,
				   .n_source = s->source ? (uint32_t)strlen(s->source) : 0,
				   .n_table = (uint32_t)s->table.n,
				   .n_directory = (uint32_t)strlen(s->directory),
				   .n_name = (uint32_t)strlen(s->name),
				   .n_init = (uint32_t)s->connection.n_init,
				   .is_answered = is_answered,
				   .is_private = s->is_private,
				   .is_file = s->connection.is_file,
				   .device = s->connection.device};
	_cleanup_(buf_fini) struct buf all = {0};
	assert(s->connection.n_init <= sizeof head.init);
	buf_put(&all, &head, sizeof head);
	memcpy(all.at + offsetof(struct state, init), s->connection.init, s->connection.n_init);
	buf_put(&all, s->table.at, s->table.n);
	buf_puts(&all, s->directory);
	buf_puts(&all, s->name);
	buf_puts(&all, s->source ? s->source : "");
	_close_ int fd = memfd_create("vine-mount", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, all.at, all.n, 0) != (ssize_t)all.n)
		return -ENOMEM;
	return mounts_tell_keeper(s->owner, KEEPER_HOLD, s->number, (int[]){s->connection.fd, fd});
}

struct served *mounts_state_load(struct mounts *m, uint64_t number, int connection, int memory)
{
	_close_ int state_fd = memory;
	struct served *s = NEW(struct served);
	struct stat st;
	struct state head;
	list_init(&s->link);
	list_init(&s->watches);
	s->owner = m;
	s->number = number;
	s->connection.fd = connection;
	s->is_restored = true;
	if (fstat(state_fd, &st) < 0 || st.st_size < (off_t)sizeof head || st.st_size > (off_t)STATE_MAX)
		return s;
	size_t n = (size_t)st.st_size;
	_free_ uint8_t *all = xmalloc(n);
	if (pread(state_fd, all, n, 0) != (ssize_t)n)
		return s;
	memcpy(&head, all, sizeof head);
	if (head.magic != STATE_MAGIC || head.n_init > sizeof s->connection.init ||
	    (uint64_t)head.n_table + head.n_directory + head.n_name + head.n_source != n - sizeof head)
		return s;
	const uint8_t *at = all + sizeof head;
	s->since_usec = head.since_usec;
	s->id = head.id;
	s->face = head.face;
	s->connection.n_init = head.n_init;
	s->connection.is_answered = head.is_answered;
	s->connection.is_file = head.is_file;
	s->connection.device = head.device;
	s->is_private = head.is_private;
	memcpy(s->connection.init, head.init, head.n_init);
	buf_put(&s->table, at, head.n_table);
	s->directory = xstrndup((const char *)at + head.n_table, head.n_directory);
	s->name = xstrndup((const char *)at + head.n_table + head.n_directory, head.n_name);
	if (head.n_source)
		s->source = xstrndup((const char *)at + n - sizeof head - head.n_source, head.n_source);
	return s;
}

/* ---- the node's own mount */

void mounts_set_node(struct mounts *m, struct mounts_node *n)
{
	assert(!n || !m->node);
	m->node = n;
}

uint64_t mounts_new_number(struct mounts *m)
{
	return ++m->last_number;
}

static bool is_of_node(int memory)
{
	uint64_t magic = 0;
	return pread(memory, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == MOUNTS_NODE_MAGIC;
}

static void take_node(struct mounts *m, uint64_t number, const int fds[2])
{
	if (m->node) {
		m->node->on_held(m->node, number, fds[0], fds[1]);
		return;
	}
	close(fds[0]);
	close(fds[1]);
	mounts_tell_keeper(m, KEEPER_DROP, number, NULL);
}

/* ---- hearing the keeper */

#define FDS_MOST 3u

static void hear(struct mounts *m, const struct keeper_mount *k, const int *fds, unsigned n_fds)
{
	struct mounts_node *node = m->node;
	bool is_stem = k->type == KEEPER_STEM_MADE && node;
	if (k->type == KEEPER_HELD || k->type == KEEPER_STEM_MADE)
		m->last_number = max(m->last_number, k->mount);
	if (k->type == KEEPER_HELD && n_fds == 2 && is_of_node(fds[1]))
		take_node(m, k->mount, fds);
	else if (k->type == KEEPER_HELD && n_fds == 2)
		mounts_take_up(m, k->mount, fds);
	else if (is_stem)
		node->on_stem(node, k->mount, k->error, fds, n_fds);
	else if (k->type == KEEPER_ALL_HELD && node)
		node->on_all_held(node);
	else if (k->type == KEEPER_PING)
		mounts_tell_keeper(m, KEEPER_ALIVE, 0, NULL);
	for (unsigned i = 0; i < n_fds && k->type == KEEPER_STEM_MADE && !node; i++)
		close(fds[i]);
}

void mounts_state_on_keeper(struct watch *w, uint32_t events)
{
	struct mounts *m = container_of(w, struct mounts, keeper);
	struct keeper_mount message = {0};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS_MOST * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &message, .iov_len = sizeof message};
	for (;;) {
		int fds[FDS_MOST] = {-1, -1, -1};
		struct msghdr head = {.msg_iov = &v,
				      .msg_iovlen = 1,
				      .msg_control = control.room,
				      .msg_controllen = sizeof control.room};
		ssize_t n = recvmsg(w->fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		/* Its end is the link's to deal with; here it is only quiet from now on. */
		if (n <= 0) {
			if (n == 0 || events & (EPOLLHUP | EPOLLERR))
				watch_stop(w);
			return;
		}
		assert(n == sizeof message);
		const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		unsigned n_fds =
			c && c->cmsg_type == SCM_RIGHTS ? (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
		if (n_fds)
			memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
		hear(m, &message, fds, n_fds);
	}
}
