/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/removal.h"

#include "common/log.h"

#include <fts.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 5 /* behind all that answers somebody, but not starved by a full node's tasks */

struct removal {
	pthread_mutex_t lock; /* held for the queue only, never while deleting */
	pthread_cond_t changed;
	pthread_t thread;
	char **paths;
	size_t n, room;
	bool is_over;
};

static bool is_over(struct removal *r)
{
	return __atomic_load_n(&r->is_over, __ATOMIC_RELAXED);
}

static void remove_entry(const FTSENT *e)
{
	/* A task may have taken its own rights away; the directory is ours to open again. */
	if (e->fts_info == FTS_D && (e->fts_statp->st_mode & 0700) != 0700)
		chmod(e->fts_accpath, 0700);
	else if (e->fts_info == FTS_DP || e->fts_info == FTS_DNR)
		rmdir(e->fts_accpath);
	else if (e->fts_info != FTS_D)
		unlink(e->fts_accpath);
}

static void remove_tree(struct removal *r, char *path)
{
	char *paths[] = {path, NULL};
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	for (FTSENT *e; f && !is_over(r) && (e = fts_read(f));)
		remove_entry(e);
	if (f)
		fts_close(f);
	if (!is_over(r) && access(path, F_OK) == 0)
		log_warn("%s cannot be removed", path);
}

static void *work(void *arg)
{
	struct removal *r = arg;
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	pthread_mutex_lock(&r->lock);
	while (!is_over(r)) {
		if (!r->n) {
			pthread_cond_wait(&r->changed, &r->lock);
			continue;
		}
		_free_ char *path = r->paths[--r->n];
		pthread_mutex_unlock(&r->lock);
		remove_tree(r, path);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct removal *removal_new(void)
{
	struct removal *r = NEW(struct removal);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	int error = pthread_create(&r->thread, NULL, work, r);
	if (error) {
		free(r);
		errno = error;
		return NULL;
	}
	return r;
}

void removal_free(struct removal *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	__atomic_store_n(&r->is_over, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	assert(r->n <= r->room);
	while (r->n)
		free(r->paths[--r->n]);
	free(r->paths);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void removal_add(struct removal *r, char *path)
{
	assert(path && *path == '/');
	pthread_mutex_lock(&r->lock);
	if (r->n == r->room)
		r->paths = xrealloc(r->paths, (r->room = max(2 * r->room, (size_t)64)) * sizeof *r->paths);
	r->paths[r->n++] = path;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}
