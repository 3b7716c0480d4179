/* SPDX-License-Identifier: Apache-2.0 */
#include "data/assembler.h"
#include "data/feeder.h"
#include "data/walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRESS_MSEC 200
#define PROGRESS_FILES 4096
#define WALK_THREADS_LEAST 4 /* a walk waits for the disk or a server more than it computes */

void signature_of(const struct stat *st, struct signature *s)
{
	*s = (struct signature){.inode = st->st_ino,
				.size = (uint64_t)st->st_size,
				.mtime_sec = st->st_mtim.tv_sec,
				.ctime_sec = st->st_ctim.tv_sec,
				.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
				.ctime_nsec = (uint32_t)st->st_ctim.tv_nsec};
}

bool signature_is_equal(const struct signature *a, const struct signature *b)
{
	return a->inode == b->inode && a->size == b->size && a->mtime_sec == b->mtime_sec &&
	       a->mtime_nsec == b->mtime_nsec && a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec;
}

void seal_report_fini(struct seal_report *r)
{
	for (unsigned i = 0; i < r->n; i++)
		free(r->lines[i]);
	*r = (struct seal_report){0};
}

void seal_report_add(struct seal_report *r, const char *fmt, ...)
{
	va_list args;
	if (r->n == countof(r->lines)) {
		r->n_more++;
		return;
	}
	va_start(args, fmt);
	if (vasprintf(&r->lines[r->n], fmt, args) < 0)
		abort();
	va_end(args);
	r->n++;
}

static unsigned thread_count(const struct seal_options *o)
{
	long n = o->n_threads ? (long)o->n_threads : sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

/* The files in order, and whether a directory was left between one and the one before. */
struct sequence {
	uint32_t *files;
	bool *has_left;
	uint32_t n;
};

static void sequence_fini(struct sequence *s)
{
	free(s->files);
	free(s->has_left);
}

static void sequence_make(struct sequence *s, struct builder *b)
{
	struct builder_walk w;
	bool has_left = false;
	int64_t next;
	s->files = xcalloc(builder_n_entries(b), sizeof *s->files);
	s->has_left = xcalloc(builder_n_entries(b), sizeof *s->has_left);
	if (builder_entry(b, BUILDER_ROOT)->type == TREE_FILE) {
		s->n = 1;
		return;
	}
	builder_walk_init(&w, b);
	while ((next = builder_walk_next(&w)) != BUILDER_END) {
		if (next == BUILDER_LEAVE) {
			has_left = true;
			continue;
		}
		s->files[s->n] = (uint32_t)next;
		s->has_left[s->n++] = has_left;
		has_left = false;
	}
	builder_walk_fini(&w);
}

static int load(void *arg, uint32_t entry, uint64_t size, const struct digest *address, void *p)
{
	return feeder_load(arg, entry, size, address, p);
}

static int assemble_one(struct assembler *a, const struct feed *d)
{
	if (d->error)
		return d->error;
	if (d->size > DATA_SMALL_MAX) {
		assembler_large(a, d->entry, &d->chunks);
		return 0;
	}
	return assembler_small(a, d->entry, d->size, &d->address, d->bytes);
}

/* A file that cannot be read does not end the sealing at once, since the report is to list them all; a store without room
 * or a wish to stop does. */
static bool is_fatal(int error)
{
	return error == -ECANCELED || error == -ENOSPC || error == -EDQUOT || error == -ENOMEM || error == -EROFS;
}

static int assemble(const struct feeder_job *job, const struct sequence *s)
{
	_cleanup_(feeder_freep) struct feeder *f = feeder_new(job);
	_cleanup_(assembler_freep) struct assembler *a = assembler_new(job->builder, job->options->store, load, f);
	const struct seal_options *o = job->options;
	int error = 0; /* of what cannot be read; of several kinds: -EIO */
	for (uint32_t i = 0; i < s->n;) {
		const struct feed *d = feeder_next(f, PROGRESS_MSEC);
		if (o->on_progress && (!d || i % PROGRESS_FILES == 0))
			o->on_progress(o->arg, job->progress);
		if (!d)
			continue;
		int r = s->has_left[i] ? assembler_leave(a) : 0;
		if (r == 0 && d->error && !is_fatal(d->error))
			error = !error || error == d->error ? d->error : -EIO;
		else if (r == 0)
			r = assemble_one(a, d);
		feeder_done(f);
		if (r < 0)
			return r;
		i++;
	}
	return error ? error : assembler_end(a);
}

static int hand_out_names(struct builder *b, const struct seal_options *o)
{
	struct tree *draft;
	struct signature *signatures;
	if (!o->on_names || builder_entry(b, BUILDER_ROOT)->type != TREE_DIRECTORY)
		return 0;
	int r = builder_draft(b, &draft, &signatures);
	if (r == 0)
		o->on_names(o->arg, draft, signatures);
	return r;
}

static int seal_entries(struct builder *b, int root, const char *path, const struct seal_options *o,
			struct seal_progress *progress, struct seal_report *errors, void **vti, size_t *n)
{
	_cleanup_(sequence_fini) struct sequence s = {0};
	builder_order(b);
	int r = hand_out_names(b, o);
	if (r < 0)
		return r;
	sequence_make(&s, b);
	const struct feeder_job job = {.root = root,
				       .path = path,
				       .builder = b,
				       .options = o,
				       .files = s.files,
				       .n_files = s.n,
				       .n_threads = thread_count(o),
				       .progress = progress,
				       .errors = errors};
	r = assemble(&job, &s);
	if (o->on_progress)
		o->on_progress(o->arg, progress);
	return r < 0 ? r : builder_finish(b, vti, n);
}

static void set_root(struct builder *b, const struct stat *st, enum tree_type type)
{
	struct entry *root = builder_entry(b, BUILDER_ROOT);
	root->type = (uint8_t)type;
	root->mode = st->st_mode & 01777;
	root->mtime_sec = st->st_mtim.tv_sec;
	root->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	signature_of(st, &root->signature);
}

int seal_directory(int directory, const char *path, const struct seal_options *o, void **vti, size_t *n,
		   struct seal_report *errors, struct seal_report *notes)
{
	_cleanup_(builder_freep) struct builder *b = builder_new();
	struct seal_progress progress = {0};
	struct stat st;
	if (fstat(directory, &st) < 0)
		return -errno;
	set_root(b, &st, TREE_DIRECTORY);
	unsigned n_threads = max(thread_count(o), (unsigned)WALK_THREADS_LEAST);
	const struct walk_job walk = {.root = directory,
				      .path = path,
				      .builder = b,
				      .n_threads = n_threads,
				      .is_cancelled = o->is_cancelled,
				      .is_wanted = o->is_wanted,
				      .arg = o->arg,
				      .progress = &progress,
				      .errors = errors,
				      .notes = notes};
	int r = walk_run(&walk);
	return r < 0 ? r : seal_entries(b, directory, path, o, &progress, errors, vti, n);
}

int seal_file(int fd, const char *path, const struct seal_options *o, void **vti, size_t *n, struct seal_report *errors)
{
	_cleanup_(builder_freep) struct builder *b = builder_new();
	struct seal_progress progress = {.files_found = 1};
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	set_root(b, &st, TREE_FILE);
	progress.bytes_found = (uint64_t)st.st_size;
	return seal_entries(b, fd, path, o, &progress, errors, vti, n);
}
