/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(WORD_FDS * sizeof(int))];
};

void word_send(int to, const struct word *w, const int *fds, unsigned n_fds)
{
	assert(n_fds <= WORD_FDS);
	union control control = {.head = {0}};
	struct iovec v = {.iov_base = (void *)(uintptr_t)w, .iov_len = sizeof *w};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (n_fds) {
		head.msg_control = control.room;
		head.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	/* One that cannot be said shows in how the child ends. */
	while (sendmsg(to, &head, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

bool word_receive(int from, struct word *w, int fds[WORD_FDS])
{
	union control control;
	struct iovec v = {.iov_base = w, .iov_len = sizeof *w};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	for (int i = 0; i < WORD_FDS; i++)
		fds[i] = -1;
	if (recvmsg(from, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof *w)
		return false;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	w->what[sizeof w->what - 1] = 0;
	return true;
}
