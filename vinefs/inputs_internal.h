/* SPDX-License-Identifier: Apache-2.0
 * What the files of inputs share. Invariants:
 * 1. Of a tree one `used` is joined; two there are only of what was a draft.
 * 2. A used has as many users as there are wants and fetchings that name it; without one it is idle, and goes when there are too many or room is short.
 * 3. Who waits for a used is told once, later, by used_ready or used_failed.
 * 4. An attempt that uses a set declares all of its files, in one directory. */
#ifndef VINEFS_INPUTS_INTERNAL_H
#define VINEFS_INPUTS_INTERNAL_H

#include "common/log.h"
#include "common/map.h"
#include "vinefs/binds.h"
#include "vinefs/hotset.h"
#include "vinefs/inputs.h"
#include "vinefs/node_mount.h"

#define USED_IDLE_MOST 64u
#define SET_LEAST 16u /* files of an attempt in one directory: fewer are mounted one by one */
#define SETS_IDLE_MOST 8u
#define SET_LARGE_MOST 32u   /* of the files that are worth a bind of their own */
#define BINDS_USEC 10000000u /* the keeper has so long; they make it fast, no more */

struct inputs {
	struct inputs_settings settings;
	const struct inputs_ops *ops; /* NULL: nobody listens yet */
	void *owner;
	struct node_mount *node; /* NULL: there will be no attempts */
	int tier;                /* as it was told; -1: not yet */
	struct map attempts;     /* struct prepared, by number */
	struct list used;        /* idle ones in the order of their last use */
	struct map used_by_id;   /* by the first bytes of the id: the newest that begins so */
	struct list sets;        /* likewise */
	struct list parked;      /* wants that wait for a tier, or for somebody to bring their tree */
	struct list fetchings;
	struct list jobs;
	struct list accounts; /* used last at the end */
	struct map accounts_by_key;
	unsigned n_accounts;
	uint64_t last_job;
	struct timer settle; /* attempts that run since before have been told of by then */
	bool is_settled, is_over;
	bool has_restored; /* who knows what is bound where */
	char *warmer;      /* vine-mount; NULL: it is not found */
	char *unpacked;    /* STATE/unpacked */
};

/* ---- inputs_used.c: a tree in use, or a draft */

enum used_state {
	USED_OPENING,
	USED_RESERVING, /* room for all of it */
	USED_HELD,      /* a file that is here, and that nobody wants on the mount by itself */
	USED_BRINGING,  /* without a mount all of it has to be here ... */
	USED_UNPACKING, /* ... and is written out */
	USED_BINDING,   /* attached; its large files are bound over theirs */
	USED_READY,
	USED_GONE, /* its mount has ended, or it could not be: nobody joins it any more */
};

struct used {
	struct list link;
	struct inputs *owner;
	enum used_state state;
	unsigned n_users;
	struct digest id;  /* of a draft: none */
	uint64_t item;     /* that it was first used for: an item is one tree, whatever lies at its path by now */
	uint64_t draft;    /* fetch's number of it; 0: it is none, or of a process before */
	char *source;      /* of a draft: the path */
	struct list wants; /* that wait for it */
	struct fetch_open open;
	struct fetch_tree
		*handle; /* until it is attached; without a mount until it is unpacked. Of what is held: its lease */
	struct node_tree *at;    /* attached */
	char *unpacked;          /* without a mount: where it is */
	struct timespec changed; /* of that directory: nothing in it has changed since; 0: not noted yet */
	bool is_file, is_whole;  /* whole: all of it is here, and stays as long as it is used */
	bool is_bound;           /* as much of it as can be */
	uint64_t looked_usec;    /* when that was looked for */
	uint64_t read_usec;      /* when it was told what was read of it; 0: never */
	uint64_t size;           /* bytes of it here, then */
	uint64_t counted_size;   /* as far as some attempt has them in its account */
	struct fetch_work work;  /* reserving, unpacking; with its result */
	bool is_working, is_freed, is_second;
	int work_error;
	struct seal_report report;
	struct fetch_bring bring;
	struct binds *binds;
	struct job *job;
	struct timer soon; /* who waits is told */
	int error;         /* why it is gone */
	bool is_nodes_fault;
	char *reason;
};

struct want;

/* The one that can be joined; NULL. */
struct used *used_find(struct inputs *in, const struct digest *id);
/* The newest of this path, sealed by now or not. */
struct used *used_find_draft(struct inputs *in, const char *source);
/* 0 and one that will be ready, with a user more; -ENOENT: it is not known here. */
int used_get(struct inputs *in, const struct digest *id, struct used **out);
int used_get_draft(struct inputs *in, uint64_t number, const char *source, struct used **out);
/* What the item is known to be here, with a user more; NULL. */
struct used *used_get_item(struct inputs *in, uint64_t item);
void used_join(struct used *u);
void used_leave(struct used *u);
/* Tells w of it later: it is ready, or why not. */
void used_await(struct used *u, struct want *w);
/* Bytes of it that are here. */
uint64_t used_size(struct used *u);
/* Idle ones go, but for the newest `n_most`. Returns how many. */
unsigned used_shed(struct inputs *in, unsigned n_most);
/* Of node_mount. */
void used_on_restored(void *arg, struct node_tree *t);
void used_on_sealed(void *arg, struct node_tree *t);
void used_on_lost(void *arg, struct node_tree *t);
void used_free(struct used *u);
/* Of a process before, in inputs_plain's directory. */
void used_on_unpacked(struct inputs *in, const struct digest *id, const char *path, bool is_file);
/* After used_free(), when no thread is at it. */
void used_dispose(struct used *u);
/* For the other files: it got on to here. */
void used_attach(struct used *u);
void used_set_ready(struct used *u);
void used_fail(struct used *u, int error, bool is_nodes_fault, const char *reason);

/* ---- inputs_plain.c */
void used_unpack(struct used *u); /* all of it is here */
void plain_open(struct inputs *in);
void plain_remove(struct used *u);
/* Looks, in the pool, whether it is as it was unpacked: then it is ready once more, else it is lost. */
void plain_check(struct used *u);
/* It is gone; who waits does so for the next one. */
void used_start_again(struct used *u);

/* ---- inputs_job.c: what the keeper does for us */

struct job {
	struct list link;
	uint64_t number;
	struct used *used; /* NULL: nobody waits */
	struct timer timer;
};

/* Binds what is complete, then used_set_ready() comes. */
void job_bind(struct used *u);
void job_warm(struct used *u);
/* used_set_ready() will not come. */
void job_stop(struct used *u);
void jobs_free(struct inputs *in);

/* ---- inputs_source.c: what is at a path */

/* False, with a reason for people: a file is not what the client saw (SIZE:MTIME_NSEC:INODE; "": it saw nothing). */
bool source_is_as_seen(const char *path, const char *signature, const struct stat *st, char reason[600]);
/* False, with a reason: it is the node's own, or has that in it. */
bool source_is_for_tasks(const struct inputs *in, const char *path, const char *real, char reason[600]);
/* What lies at a path cannot be had: is that its own fault (it is missing, forbidden, changed), whichever node looks? */
bool source_is_at_fault(int error);
enum fetch_kind source_kind(const struct stat *st);

/* ---- inputs_want.c: one binding of an attempt */

enum { INPUT_IS_READ = 16 }; /* as wire.def has input.flags */

struct want {
	struct list link; /* in a used's, or among the parked */
	struct inputs *owner;
	struct prepared *of;
	const struct wire_input *input;
	struct used *used;
	struct fetch_look look;
	struct fetch_seal seal;
	struct timer patience;
	bool is_ready, is_alone;
	bool is_waiting;     /* until another node has read the source */
	struct digest found; /* which tree it is, if that was told since it began */
	bool may_join;       /* a set, if it is a file: it need not be on the mount by itself */
	bool needs_mount;    /* it must be */
	struct set *set;     /* the attempt's: this is its file number `file` */
	uint32_t file;
	unsigned n_failed;   /* reads of it, by others, before it was ready */
	uint64_t local_size; /* bytes that were here when it joined */
	uint64_t read_size;  /* that its sealing has read */
	struct account *by_tree, *by_path;
};

/* As a person knows it: the item's name, its source, or where the task sees it. */
const char *want_name(const struct want *w);
/* want_on_ready() or want_on_failed() comes, later. */
void want_start(struct want *w);
void want_stop(struct want *w);
/* Something has come: those that are parked look again. */
void wants_wake(struct inputs *in);
/* Of a used that it awaits. */
void want_on_ready(struct want *w);
void want_on_failed(struct want *w, int error, bool is_nodes_fault, const char *reason);
void want_on_lost(struct want *w);

/* ---- inputs.c: an attempt */

struct prepared {
	struct inputs *owner;
	uint64_t attempt;
	const struct wire_start *start;
	struct want *wants;
	uint32_t n, n_ready;
	uint32_t n_read;     /* of those: that another node reads for all */
	struct want **order; /* those that may join sets, by directory and name */
	uint32_t n_order;
	struct set **sets;
	uint32_t n_sets;
	bool is_arranged; /* each want has its set, or needs none */
	bool is_without;  /* one could not be: they are mounted one by one */
	bool is_told;
	bool is_held; /* it runs since before */
	struct timer soon;
};

/* One of its wants is ready, or cannot be. */
void prepared_go_on(struct prepared *p);
void prepared_fail(struct prepared *p, int error, bool is_nodes_fault, const char *reason);

/* ---- inputs_set.c: files of an attempt in one directory, served as one tree */

struct set {
	struct list link;
	struct inputs *owner;
	unsigned n_users;     /* attempts */
	struct node_tree *at; /* NULL: it is gone */
	struct used **used;   /* of each file, joined; NULL: nobody has asked for it since a process before */
	bool is_ready;
};

struct set *set_new(struct inputs *in, uint32_t n);
void set_leave(struct set *s);
/* Nobody uses it. */
void set_dispose(struct set *s);
/* Idle ones go, but for the newest `n_most`. */
void sets_shed(struct inputs *in, unsigned n_most);
void sets_free(struct inputs *in);
/* Where the task finds what it wants; the caller's. */
char *set_path(const struct want *w);
/* Reads of that, as of fetch_failure(). */
const char *set_failure(const struct want *w, unsigned *n);
/* Of node_mount. */
void set_on_restored(struct inputs *in, struct node_tree *t);
void set_on_set(void *arg, struct node_tree *t, int error);
void set_on_lost(struct inputs *in, struct node_tree *t);

/* ---- inputs_arrange.c: which files make one */

/* Which of its wants may join. */
void sets_mark(struct prepared *p);
/* All wants are ready: they get their sets, or wait until they are mounted. prepared_go_on() then. */
void sets_arrange(struct prepared *p);
/* Of one that is held: what it has. The mount is there. */
void sets_hold(struct prepared *p);
bool sets_are_ready(const struct prepared *p);
void sets_release(struct prepared *p);

/* ---- inputs_account.c: bytes that came and that no attempt has been charged with */

struct account;
/* What comes of this from now on is on the want's account, unless it shares an earlier one's. */
void account_join(struct want *w);
void account_leave(struct want *w);
/* How much of its tree came because of it so far. */
uint64_t account_size(const struct want *w);
void account_take(struct want *w, struct run_sizes *s);
void accounts_free(struct inputs *in);

/* ---- inputs_fetch.c */
/* Is this item or tree being brought? */
bool fetchings_has(const struct inputs *in, uint64_t item, const struct digest *tree);
void fetchings_free(struct inputs *in);

#endif
