/* SPDX-License-Identifier: Apache-2.0
 * What the outputs' files share. Loop: outputs.c (a job's way), outputs_keep.c (asking, waiting for a target's filesystem). Pool: outputs_look.c (one job's sealing, in order),
 * outputs_find.c (names from outside), outputs_glob.c (patterns), outputs_fill.c (overlays made whole), outputs_left.c (what else there is), outputs_publish.c (beside a target, and in its place). */
#ifndef RUN_OUTPUTS_INTERNAL_H
#define RUN_OUTPUTS_INTERNAL_H

#include "common/buf.h"
#include "common/list.h"
#include "vinefs/run/outputs.h"

#include <sys/stat.h>

#define BINDING_OUT 3
enum { OUTPUT_OPTIONAL = 1, OUTPUT_ON_FAILURE = 2, OUTPUT_ALWAYS = 4, OUTPUT_PATTERN = 8 };

struct place {
	char *path;  /* as the task named it; "": its working directory */
	char *upper; /* on the host */
	bool is_overlay;
	bool is_copy; /* of an input: all of it is there, and owner may write */
	bool is_ours; /* below the sandbox */
	struct digest lower;
	struct fetch_open open;
	struct fetch_tree *tree; /* NULL: not known */
	struct timer retry;      /* until it is known what it lay over */
	uint64_t until_usec;
	struct outputs_work *work;
};

/* What lies at a path, as the task saw it. */
#define LOWER_NONE (-1)
#define LOWER_UNKNOWN (-2) /* there may be one */
struct found {
	const struct place *place;
	char *path;    /* below it, "": itself */
	bool is_above; /* its upper has it */
	int64_t lower; /* the node of the tree that it is, or that it is merged with; or */
	mode_t mode;
};

void found_fini(struct found *f);

struct names {
	char **at;
	size_t n, room;
};

void names_fini(struct names *n);
void names_add(struct names *n, char *name); /* takes it over */
void names_sort(struct names *n);
/* Of sorted ones: the number of the first that is not before `name`. */
size_t names_at(const struct names *n, const char *name);

struct item {
	const struct wire_input *in;
	const char *target; /* a file:/PATH is to be there; NULL */
	struct found found;
	struct names matches; /* of a pattern: below `found` */
	bool is_made, is_directory;
	struct digest tree;
	uint64_t size;
	struct cache_sealing *sealing; /* holds the tree's blobs until it is leased */
	struct cache_lease *lease;
};

#define NAMED_MOST 20u

struct outputs_work {
	struct list link;
	struct outputs *outputs;
	struct outputs_job *job; /* NULL: nobody waits any more */
	unsigned n_users;        /* the job, and what is under way */
	unsigned n_opening;
	struct wire_start *start;
	char *sandbox;
	uint64_t came_usec;
	bool is_success, is_cancelled; /* cancelled: atomic */
	struct place *places;          /* the first is the working directory */
	size_t n_places;
	struct item *items;
	size_t n_items;
	struct fetch_work work;
	/* ---- what came of it */
	int error;
	unsigned n_errors;
	char *reason; /* of the first */
	struct names left;
	uint64_t n_left, written_size;
	/* ---- publishing, one item after the other */
	size_t next;
	struct keep *keep;
};

struct outputs {
	struct outputs_settings settings;
	struct list works;
	struct list targets; /* filesystems */
	struct fetch_lane *lane;
};

bool work_is_cancelled(const struct outputs_work *w); /* any */
/* The first one's words are kept, the others counted. */
void work_complain(struct outputs_work *w, int error, const char *fmt, ...) _printf_(3, 4);

/* ---- outputs_find.c */

/* "a//./b/" is "a/b"; NULL: "..", or no name at all. Yours. */
char *clean_path(const char *path);
/* The place that covers a clean path, and what remains of it. NULL: none. */
const struct place *place_of(const struct outputs_work *w, const char *path, const char **rest);
/* As START has it -> clean, and absolute if the working directory is one of the places'. NULL: it is no name. Yours. */
char *task_path(const struct outputs_work *w, const char *path);
/* A descriptor of a place, or -errno. */
int place_open(const struct outputs_work *w, const struct place *p, int flags);
/* 0; -ENOENT, -ELOOP, -ENOTDIR, -EINVAL, with words in `why`. A link is followed to a file of the same place. */
int find_output(const struct outputs_work *w, const char *path, struct found *f, struct buf *why);
/* What a directory's child is; -ENOENT: it is not there (any more). `f` is filled in. */
int find_child(const struct found *directory, int root, const char *name, struct found *f);
/* The names in a directory, merged, unsorted. */
int find_names(const struct found *directory, int root, struct names *n);
void say_unknown(const struct place *p, struct buf *why);
int stat_beneath(int root, const char *path, struct stat *st);
bool is_whiteout(const struct place *p, const struct stat *st);

/* ---- outputs_glob.c */

bool is_pattern(const char *path);
/* The directory before the first component with a pattern in it, and all below it that matches. -ENOENT: nothing. */
int glob_output(const struct outputs_work *w, const char *pattern, struct found *directory, struct names *matches,
		struct buf *why);
/* Of sorted matches: is this path one, below one, or on the way to one? */
bool glob_wants(const struct names *matches, const char *path);

/* ---- outputs_fill.c */

/* What comes from the lower tree alone is written into the upper: then that has all of it. `wanted` NULL: everything below. */
int fill_output(const struct outputs_work *w, const struct found *f, const struct names *wanted, struct buf *why);

/* ---- outputs_left.c */

void look_for_left(struct outputs_work *w);

/* ---- outputs_look.c */

void look_run(struct fetch_work *work);

/* ---- outputs_publish.c: pool. One target at a time */

struct publish {
	char *target, *beside;
	const char *const *guarded;
	struct cache *cache;
	struct digest tree;
	uint64_t attempt;
	struct cache_tree *open;  /* closed on the loop */
	uint64_t until_usec;      /* of the monotonic clock: renamed before, or not at all */
	_Atomic uint64_t n_moves; /* it gets on; 0: it has not begun */
	_Atomic bool is_cancelled;
	int error;
	char *reason;
};

void publish_write(struct publish *p);
/* -ETIME: granted too long ago; nothing was done. */
void publish_rename(struct publish *p);
void publish_remove(struct publish *p);
uint64_t publish_now_usec(void);

/* ---- outputs_keep.c: loop */

/* Publishes what is to be published, then calls work_finish(). */
void keep_next(struct outputs_work *w);
void keep_stop(struct outputs_work *w);
void keep_answered(struct outputs_work *w, uint64_t item, int error, const char *reason);
void keep_free_targets(struct outputs *o);

/* ---- outputs.c */
void work_finish(struct outputs_work *w);
void work_unref(struct outputs_work *w);

#endif
