/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/draft_world.h"

/* ---- the sealing, held */

pthread_mutex_t draft_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t draft_change = PTHREAD_COND_INITIALIZER;
char *draft_held; /* below it */
unsigned draft_n_held;
static _Thread_local bool is_draft_read;
int (*draft_gate_read)(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n, struct stat *st);

static bool is_below(const char *directory, int fd)
{
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	path[max(n, (ssize_t)0)] = 0;
	return has_prefix(path, directory);
}

/* In place of libc's. */
ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
	if (!is_draft_read) {
		pthread_mutex_lock(&draft_lock);
		if (draft_held && is_below(draft_held, fd)) {
			__atomic_add_fetch(&draft_n_held, 1, __ATOMIC_RELEASE);
			while (draft_held)
				pthread_cond_wait(&draft_change, &draft_lock);
		}
		pthread_mutex_unlock(&draft_lock);
	}
	return syscall(SYS_pread64, fd, p, n, offset);
}

int draft_read(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n, struct stat *st)
{
	is_draft_read = true;
	int r = draft_gate_read(arg, root, path, offset, p, n, st);
	is_draft_read = false;
	return r;
}

void draft_hold(const char *directory)
{
	pthread_mutex_lock(&draft_lock);
	free(draft_held);
	draft_held = directory ? xstrdup(directory) : NULL;
	draft_n_held = 0;
	pthread_cond_broadcast(&draft_change);
	pthread_mutex_unlock(&draft_lock);
}
