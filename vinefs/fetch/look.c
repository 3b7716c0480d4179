/* SPDX-License-Identifier: Apache-2.0
 * stat(2) of paths that may never answer: one thread for each such path, up to a bound, and none of those that others need. */
#include "vinefs/fetch/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define WIDE_MOST 20u /* more of them, when paths do not answer */

struct looking {
	struct list link; /* in fetch's */
	struct fetch *fetch;
	struct list callers;
	struct pool_job job;
	char *path, *real;
	struct stat st;
	int error;
};

static void look(struct pool_job *j)
{
	struct looking *x = container_of(j, struct looking, job);
	x->error = -ECANCELED;
	if (!j->is_dropped)
		x->error = stat(x->path, &x->st) < 0 ? -errno : 0;
	/* What cannot be read is better known now than when a task meets it. */
	if (!x->error && faccessat(AT_FDCWD, x->path, S_ISDIR(x->st.st_mode) ? R_OK | X_OK : R_OK, AT_EACCESS) < 0)
		x->error = -errno;
	if (!x->error && !(x->real = realpath(x->path, NULL)))
		x->error = -errno;
}

static void on_looked(struct pool_job *j)
{
	struct looking *x = container_of(j, struct looking, job);
	list_remove(&x->link);
	while (!list_is_empty(&x->callers)) {
		struct fetch_look *l = list_first(&x->callers, struct fetch_look, link);
		list_remove(&l->link);
		l->looking = NULL;
		l->real = x->real;
		l->on_done(l, x->error, &x->st);
	}
	free(x->path);
	free(x->real);
	free(x);
}

void fetch_look_start(struct fetch *f, struct fetch_look *l, const char *path)
{
	struct looking *x = NULL;
	unsigned n = 0;
	assert(l->on_done && !l->looking && *path == '/');
	list_foreach (&f->looks, struct looking, link, each) {
		n++;
		if (streq(each->path, path))
			x = each;
	}
	if (!x) {
		x = NEW(struct looking);
		x->fetch = f;
		x->path = xstrdup(path);
		x->job = (struct pool_job){.run = look, .on_done = on_looked};
		list_init(&x->callers);
		list_init(&x->link);
		list_append(&f->looks, &x->link);
		if (n >= FETCH_LOOKS)
			pool_widen(f->pool, &f->look_lane, WIDE_MOST);
		pool_put(f->pool, &x->job, POOL_SOON, &f->look_lane);
	}
	l->looking = x;
	list_init(&l->link);
	list_append(&x->callers, &l->link);
}

void fetch_look_stop(struct fetch_look *l)
{
	if (!l->looking)
		return;
	list_remove(&l->link);
	l->looking = NULL;
}
