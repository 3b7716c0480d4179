/* SPDX-License-Identifier: Apache-2.0
 * A command that waits keeps the user's own cluster alive: without it a vined that has crashed would be started again by the next command alone, and this one wait for it in vain. */
#include "tools/embed.h"

#include "common/path.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define LOOK_MSEC 500        /* where a process cannot be waited for, or there is none at the moment */
#define LOOK_MOST_MSEC 16000 /* what cannot be started is tried less and less often */

/* Until that process is over, or for a while. */
static void await_end(pid_t pid, int msec)
{
	_close_ int fd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	poll(&p, 1, fd < 0 ? msec : -1);
}

/* Who ends in order has taken the socket away. */
static bool has_left_socket(const struct embed *e)
{
	_free_ char *path = path_join(e->state, "vined.sock");
	return access(path, F_OK) == 0;
}

static void *watch(void *arg)
{
	(void)arg;
	for (int msec = LOOK_MSEC;;) {
		_cleanup_(embed_fini) struct embed e = {.name = NULL};
		if (embed_open(&e, NULL))
			return NULL;
		pid_t pid = embed_vined(&e);
		if (pid && embed_is_foreign(&e))
			return NULL;
		bool is_due = !pid && has_left_socket(&e) && embed_has_crashed(&e);
		int r = is_due ? embed_bring_up(&e, 0) : 0;
		if (r && msec == LOOK_MSEC)
			tool_fail(NULL, "%s", e.error);
		msec = r ? min(2 * msec, LOOK_MOST_MSEC) : LOOK_MSEC;
		await_end(pid, msec);
	}
}

void embed_watch(void)
{
	static bool is_begun;
	pthread_t thread;
	sigset_t all, before;
	if (is_begun || embed_is_others())
		return;
	is_begun = true;
	sigfillset(&all); /* they are for the command */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, watch, NULL) == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
