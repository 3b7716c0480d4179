/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PING_USEC (KEEPER_SILENT_USEC / 5)

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(3 * sizeof(int))];
};

static void let_go(struct holds *h, unsigned i)
{
	assert(i < h->n);
	close(h->at[i].fds[0]);
	close(h->at[i].fds[1]);
	/* The others keep their order: which of them were told is a count. */
	memmove(h->at + i, h->at + i + 1, (h->n - i - 1) * sizeof h->at[0]);
	h->n--;
	h->n_told -= h->n_told > i;
}

static int find(const struct holds *h, uint64_t mount)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->at[i].mount == mount)
			return (int)i;
	return -1;
}

/* Returns false, and leaves the descriptors to the caller, if there is no room. */
static bool hold(struct holds *h, uint64_t mount, const int fds[2])
{
	int i = find(h, mount);
	if (i >= 0) {
		close(h->at[i].fds[0]);
		close(h->at[i].fds[1]);
	} else if (h->n < KEEPER_MOUNTS_MAX && mount) {
		i = (int)h->n++;
		h->n_told++; /* by him who says it */
	} else {
		return false;
	}
	h->at[i] = (struct hold){.mount = mount, .fds = {fds[0], fds[1]}};
	return true;
}

static bool take(struct holds *h, const struct keeper_mount *m, int n_fds, const int *fds, bool is_cut)
{
	int i = find(h, m->mount);
	bool is_lost = m->type == KEEPER_HOLD && is_cut;
	h->silent_usec = 0;
	if (m->type == KEEPER_HOLD && n_fds == 2 && hold(h, m->mount, fds))
		return true;
	for (int k = 0; k < n_fds; k++)
		close(fds[k]);
	/* What was held before of a mount that changed would be served wrongly by the next vinefs. */
	if ((m->type == KEEPER_DROP || is_lost) && i >= 0)
		let_go(h, (unsigned)i);
	h->n_lost += is_lost;
	if (m->type == KEEPER_STEM && h->stem && m->mount) {
		stem_want(h->stem, m->mount);
		return true;
	}
	return m->type == KEEPER_DROP || m->type == KEEPER_ALIVE || is_lost;
}

bool holds_receive(struct holds *h)
{
	struct keeper_mount m;
	union control control;
	int fds[3] = {-1, -1, -1}, n_fds = 0;
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	ssize_t n;
	/* That the other end closed before it had read all is told first, once; what it said comes after that. */
	while (h->fd >= 0 &&
	       ((n = recvmsg(h->fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) > 0 || (n < 0 && errno == ECONNRESET))) {
		if (n < 0)
			continue;
		const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		n_fds = c && c->cmsg_type == SCM_RIGHTS ? (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
		if (n_fds)
			memcpy(fds, CMSG_DATA(c), (size_t)n_fds * sizeof(int));
		if (n != sizeof m || !take(h, &m, n_fds, fds, head.msg_flags & MSG_CTRUNC))
			return false;
		head.msg_controllen = sizeof control.room;
	}
	return true;
}

/* False: not now. */
static bool send_one(const struct holds *h, const struct keeper_mount *m, const int *fds, unsigned n_fds)
{
	assert(h->fd >= 0 && n_fds <= 3);
	union control control = {.head = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof *m};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (n_fds) {
		head.msg_control = control.room;
		head.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	return sendmsg(h->fd, &head, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* What it asked for, or what there is. */
static bool send_stem(struct holds *h)
{
	struct stem *s = h->stem;
	struct keeper_mount m = {.type = KEEPER_STEM_MADE, .mount = s->refused, .error = s->refused ? s->error : 0};
	unsigned n_fds = 0;
	assert(h->is_stem_due);
	if (!s->refused) {
		m.mount = s->number;
		n_fds = s->fds[2] >= 0 ? 3 : 2;
	}
	if (!send_one(h, &m, s->fds, n_fds))
		return false;
	/* It is vinefs' now: held here as well, it would outlive what that does with it. */
	if (n_fds == 3)
		close(s->fds[2]);
	s->fds[2] = n_fds == 3 ? -1 : s->fds[2];
	s->refused = 0;
	h->is_stem_due = false;
	return true;
}

bool holds_has_more(const struct holds *h)
{
	return h->fd >= 0 && (h->n_told <= h->n || h->is_stem_due);
}

void holds_send(struct holds *h)
{
	while (h->fd >= 0 && h->n_told < h->n &&
	       send_one(h, &(struct keeper_mount){.type = KEEPER_HELD, .mount = h->at[h->n_told].mount},
			h->at[h->n_told].fds, 2))
		h->n_told++;
	if (h->fd < 0 || h->n_told < h->n || (h->is_stem_due && !send_stem(h)))
		return;
	if (h->n_told == h->n && send_one(h, &(struct keeper_mount){.type = KEEPER_ALL_HELD}, NULL, 0))
		h->n_told = h->n + 1;
}

void holds_tell_stem(struct holds *h)
{
	h->is_stem_due = h->fd >= 0;
	holds_send(h);
}

void holds_meet(struct holds *h, int fd)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = fd;
	h->n_told = 0;
	/* What the one before was refused is not this one's. */
	if (h->stem)
		h->stem->refused = 0;
	h->is_stem_due = fd >= 0 && h->stem && h->stem->number;
	holds_send(h);
}

bool holds_is_silent(struct holds *h, uint64_t now)
{
	/* When all of us were stopped for a while, vinefs has not been silent. */
	uint64_t step = now - h->turned_usec;
	h->turned_usec = now;
	h->silent_usec = h->n ? h->silent_usec + (step < PING_USEC ? step : PING_USEC) : 0;
	if (!h->n)
		return false;
	if (now - h->pinged_usec >= PING_USEC && h->fd >= 0 && !holds_has_more(h)) {
		send_one(h, &(struct keeper_mount){.type = KEEPER_PING}, NULL, 0);
		h->pinged_usec = now;
	}
	if (h->silent_usec < KEEPER_SILENT_USEC)
		return false;
	while (h->n)
		let_go(h, h->n - 1);
	h->silent_usec = 0;
	return true;
}

uint64_t holds_due_usec(const struct holds *h, uint64_t otherwise)
{
	uint64_t due = h->turned_usec + PING_USEC;
	return h->n && due < otherwise ? due : otherwise;
}
