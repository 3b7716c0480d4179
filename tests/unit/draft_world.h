/* SPDX-License-Identifier: Apache-2.0
 * A directory that is read while it is sealed, for tests. The sealing's own reads are held, so that it is known what it has not seen yet; those of the draft are not. */
#ifndef UNIT_DRAFT_WORLD_H
#define UNIT_DRAFT_WORLD_H

#include "common/path.h"
#include "tests/unit/fetch_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings roomy;
static const struct fetch_settings plain;

/* ---- the sealing, held: its reads below a directory wait; NULL lets them go */

extern pthread_mutex_t draft_lock;
extern pthread_cond_t draft_change;
extern char *draft_held; /* below it */
extern unsigned draft_n_held;
extern int (*draft_gate_read)(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n,
			      struct stat *st);

void draft_hold(const char *directory);
/* In place of fetch's own: the draft's reads, which are never held. */
int draft_read(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n, struct stat *st);

/* ---- a draft at hand */

struct drafted {
	struct fetch_world world;
	struct fetch_seal seal;
	struct fetch_open open;
	struct fetch_watch watch;
	struct fetch_tree *tree;
	uint64_t number;
	struct digest id;
	char *reason;
	int error, seal_error;
	bool is_drafted, is_done, is_open, is_over, is_noted;
};

static inline void on_draft(struct fetch_seal *s, uint64_t number, const struct tree *names,
			    const struct seal_report *notes)
{
	struct drafted *d = container_of(s, struct drafted, seal);
	ASSERT(!d->is_drafted && !d->is_done && number && tree_n_nodes(names));
	d->is_noted = notes->n == 1 && strstr(notes->lines[0], "a FIFO, left out");
	d->number = number;
	d->is_drafted = true;
}

static inline void on_done(struct fetch_seal *s, int error, const struct digest *id, const struct seal_report *errors,
			   const struct seal_report *notes _unused_)
{
	struct drafted *d = container_of(s, struct drafted, seal);
	ASSERT(!d->is_drafted && !d->is_done && (error == 0) == (id != NULL));
	d->reason = errors->n ? xstrdup(errors->lines[0]) : NULL;
	d->seal_error = error;
	d->is_done = true;
}

static inline void on_open(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct drafted *d = container_of(o, struct drafted, open);
	ASSERT_EQ(error, 0);
	d->tree = t;
	d->is_open = true;
}

static inline void on_over(struct fetch_watch *w, int error, const struct digest *id, const char *reason)
{
	struct drafted *d = container_of(w, struct drafted, watch);
	ASSERT(!d->is_over);
	d->error = error;
	d->id = id ? *id : (struct digest){0};
	d->reason = xstrdup(reason);
	d->is_over = true;
}

static inline void drafted_open(struct drafted *d, struct fetch_settings fs)
{
	*d = (struct drafted){.seal = {.on_draft = on_draft, .on_done = on_done}};
	fetch_world_open(&d->world, "cache", roomy, fs);
	draft_gate_read = d->world.files.read;
	d->world.files.read = draft_read;
}

/* Names are known, and the sealing stands still. */
static inline void draft_open(struct drafted *d, const char *path, struct fetch_settings fs)
{
	drafted_open(d, fs);
	draft_hold(path);
	ASSERT_EQ(fetch_seal_start(d->world.fetch, &d->seal, path, NULL), 0);
	fetch_world_until(&d->world, &d->is_drafted);
	d->open.on_done = on_open;
	ASSERT_EQ(fetch_open_draft(d->world.fetch, &d->open, d->number), 0);
	fetch_world_until(&d->world, &d->is_open);
	ASSERT(fetch_is_draft(d->tree));
	d->watch.on_over = on_over;
	fetch_watch_start(d->tree, &d->watch);
}

static inline void draft_close(struct drafted *d)
{
	draft_hold(NULL);
	fetch_watch_stop(&d->watch);
	if (d->tree)
		fetch_close(d->tree);
	fetch_world_close(&d->world);
	free(d->reason);
}

static inline void seal_to_the_end(struct drafted *d)
{
	draft_hold(NULL);
	fetch_world_until(&d->world, &d->is_over);
}

struct got {
	struct fetch_read read;
	uint8_t *p;
	ssize_t n;
	bool is_nobody, is_over;
};

static inline void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct got *g = container_of(r, struct got, read);
	g->n = n;
	if (n > 0)
		memcpy(g->p, p, (size_t)n);
	__atomic_store_n(&g->is_over, true, __ATOMIC_RELEASE);
}

static inline bool is_nobody(const struct fetch_read *r)
{
	return container_of(r, const struct got, read)->is_nobody;
}

static inline void get_start(struct got *g, const struct drafted *d, const char *name, uint64_t offset, uint32_t n)
{
	int64_t node = tree_find(fetch_index(d->tree), name);
	ASSERT(node >= 0);
	*g = (struct got){.p = xmalloc(n), .read = {.tree = d->tree, .blob = (uint32_t)node, .offset = offset, .n = n}};
	g->read.on_done = on_read;
	g->read.is_over = is_nobody;
	fetch_read_start(&g->read);
}

/* What the draft has there is what the file has, or the error. */
static inline ssize_t check(struct drafted *d, const char *path, const char *name, uint64_t offset, uint32_t n)
{
	_free_ char *file = path_join(path, name);
	_free_ uint8_t *wanted = xmalloc(n);
	struct got g;
	get_start(&g, d, name, offset, n);
	fetch_world_until(&d->world, &g.is_over);
	_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (g.n > 0) {
		ASSERT_EQ(syscall(SYS_pread64, fd, wanted, n, offset), n);
		ASSERT_EQ(memcmp(wanted, g.p, n), 0);
	}
	free(g.p);
	return g.n;
}

static inline char *make_source(void)
{
	char *in = world_files("in", 20, 50000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, 3 * MIB, 2);
	_free_ char *link = path_join(in, "link");
	_free_ char *empty = path_join(in, "empty");
	_free_ char *fifo = path_join(in, "fifo");
	ASSERT_EQ(symlink("big/f0", link), 0);
	ASSERT_EQ(mkfifo(fifo, 0600), 0);
	ASSERT_EQ(path_write(empty, "", 0, 0600, false), 0);
	return in;
}

/* Other bytes; size and modification time as they were. */
static inline void rewrite(const char *path, uint8_t with)
{
	struct stat st;
	ASSERT_EQ(stat(path, &st), 0);
	_free_ uint8_t *p = xmalloc((size_t)st.st_size);
	memset(p, with, (size_t)st.st_size);
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(pwrite(fd, p, (size_t)st.st_size, 0), st.st_size);
	ASSERT_EQ(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
}

static inline void same_nodes(const struct tree *a, const struct tree *b)
{
	ASSERT_EQ(tree_n_nodes(a), tree_n_nodes(b));
	ASSERT_EQ(tree_size(a), tree_size(b));
	for (uint32_t i = 0; i < tree_n_nodes(a); i++) {
		struct tree_node x = *tree_node(a, i), y = *tree_node(b, i);
		ASSERT_STR(tree_name(a, i), tree_name(b, i));
		if (x.type == TREE_FILE) {
			ASSERT_EQ(tree_file_size(a, i), tree_file_size(b, i));
			x.first = y.first;
		}
		ASSERT_EQ(memcmp(&x, &y, sizeof x), 0);
	}
}

#endif
