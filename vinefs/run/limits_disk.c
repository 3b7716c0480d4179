/* SPDX-License-Identifier: Apache-2.0
 * Not seen: files that are deleted and still open, directories that the task has forbidden to itself, what is deeper than DEPTH_MOST. */
#include "vinefs/run/limits_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NICE 5 /* as removal's */
#define DEPTH_MOST 100u
#define BLOCK 512u

struct disk {
	pthread_mutex_t lock; /* of the two queues */
	pthread_cond_t changed;
	pthread_t thread;
	struct buf asked;   /* uint64_t each */
	struct buf results; /* struct disk_size each */
	int sandboxes;
	bool is_over;
};

static bool is_over(struct disk *d)
{
	return __atomic_load_n(&d->is_over, __ATOMIC_RELAXED);
}

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Takes over fd, a directory on `device`. */
static uint64_t walk(struct disk *d, int fd, dev_t device, unsigned depth)
{
	uint64_t size = 0;
	DIR *all = fdopendir(fd);
	if (!all) {
		close_fd(fd);
		return 0;
	}
	for (const struct dirent *e; !is_over(d) && (e = readdir(all));) {
		struct stat st;
		if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
		    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != device)
			continue;
		bool is_directory = S_ISDIR(st.st_mode);
		/* Each of its names bears its part. */
		size += (uint64_t)st.st_blocks * BLOCK / (is_directory ? 1 : max((uint64_t)st.st_nlink, (uint64_t)1));
		int below = is_directory && depth < DEPTH_MOST
				    ? openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				    : -1;
		if (below >= 0)
			size += walk(d, below, device, depth + 1);
	}
	closedir(all);
	return size;
}

static uint64_t measure(struct disk *d, uint64_t attempt)
{
	char name[32];
	struct stat st;
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	int fd = openat(d->sandboxes, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0)
		return walk(d, fd, st.st_dev, 0);
	close_fd(fd);
	return 0;
}

static void *work(void *arg)
{
	struct disk *d = arg;
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	pthread_mutex_lock(&d->lock);
	while (!is_over(d)) {
		struct disk_size s = {0};
		if (!d->asked.n) {
			pthread_cond_wait(&d->changed, &d->lock);
			continue;
		}
		memcpy(&s.attempt, d->asked.at, sizeof s.attempt);
		buf_consume(&d->asked, sizeof s.attempt);
		pthread_mutex_unlock(&d->lock);
		uint64_t since = now_usec();
		s.size = measure(d, s.attempt);
		s.cost_usec = now_usec() - since;
		pthread_mutex_lock(&d->lock);
		buf_put(&d->results, &s, sizeof s);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

struct disk *disk_new(int sandboxes)
{
	struct disk *d = NEW(struct disk);
	assert(sandboxes >= 0);
	d->sandboxes = sandboxes;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	int error = pthread_create(&d->thread, NULL, work, d);
	if (error) {
		free(d);
		errno = error;
		return NULL;
	}
	return d;
}

void disk_free(struct disk *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	__atomic_store_n(&d->is_over, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	buf_fini(&d->asked);
	buf_fini(&d->results);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void disk_ask(struct disk *d, uint64_t attempt)
{
	assert(attempt);
	pthread_mutex_lock(&d->lock);
	buf_put(&d->asked, &attempt, sizeof attempt);
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

bool disk_next(struct disk *d, struct disk_size *s)
{
	pthread_mutex_lock(&d->lock);
	bool is_some = d->results.n > 0;
	if (is_some) {
		assert(d->results.n % sizeof *s == 0);
		memcpy(s, d->results.at, sizeof *s);
		buf_consume(&d->results, sizeof *s);
	}
	pthread_mutex_unlock(&d->lock);
	return is_some;
}
