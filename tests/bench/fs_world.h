/* SPDX-License-Identifier: Apache-2.0
 * What the fs-* benchmarks stand on: namespaces, a directory and nodes of their own, agents in views, in private and in plain mounts as root and as an ordinary user, and
 * comparisons with the native filesystem. */
#ifndef BENCH_FS_WORLD_H
#define BENCH_FS_WORLD_H

#include "tests/bench/fs_work.h"

#include <stdio.h>
#include <sys/types.h>

enum fs_user { FS_ROOT, FS_USER, FS_USERS };
enum fs_way {
	FS_VIEW,
	FS_PRIVATE,
	FS_PLAIN,
	FS_WAYS
}; /* vine run -i WHAT:DIR -- COMMAND; vine mount WHAT DIR -- COMMAND; vine mount WHAT DIR */
enum { FS_PAIRS_MOST = 15, FS_SIDES_MOST = 3 };

/* A vinefs of one user, and the vined it works for. */
struct fs_node {
	pid_t keeper; /* 0: none runs */
	pid_t vined;  /* started with the first keeper, and there to the end */
	char state[128], cluster[128];
};

struct fs_world {
	const char *name;
	const char *directory; /* on the local disk; removed at the end */
	bool is_quick;         /* a small form that shows that all works; no result */
	unsigned n_pairs;
	struct fs_node nodes[FS_USERS];
	FILE *details; /* of the line of JSON */
	char *details_text;
	size_t n_details;
};

struct fs_bench {
	const char *name;
	unsigned limit_sec, room_mib; /* it ends as failed, as impossible */
	void (*body)(struct fs_world *);
	void (*prepare)(void); /* as root, outside of the world and its limit; may be NULL */
};

/* Runs `body` as process 1 of a PID and mount namespace with a node of each user, and removes all that is left of it. The exit status: 77 if it cannot run
 * here, 1 if it failed or took too long. */
int fs_world_run(const struct fs_bench *b);

/* `n` in the quick form a sixteenth. */
unsigned fs_scaled(const struct fs_world *w, unsigned n);

/* "private, root" and so on; where a user's mounts of one kind lie. */
const char *fs_place_name(enum fs_user user, enum fs_way way);

/* Runs a command of this user to its end, its output dropped; fails unless it succeeds, or returns its status. */
void fs_run(const struct fs_world *w, enum fs_user user, const char *const argv[]);
int fs_try(const struct fs_world *w, enum fs_user user, const char *const argv[]);

/* Seals it; the tree's id. */
void fs_seal(const struct fs_world *w, enum fs_user user, const char *path, char id[80]);

/* Lets the ordinary user reach what lies below a directory of root's alone, in this world only. */
void fs_open_way(const struct fs_world *w, const char *const paths[], unsigned n);

/* A node with an empty state. Stopping it is not part of what is measured. */
void fs_node_start(struct fs_world *w, enum fs_user user);
void fs_node_stop(struct fs_world *w, enum fs_user user);
/* The serving process below its keeper, 0 while there is none. */
pid_t fs_worker(const struct fs_world *w, enum fs_user user);

/* All dirty pages to the disk, then every cache dropped. */
void fs_drop_caches(void);

struct fs_agent {
	const struct fs_world *w;
	enum fs_user user;
	enum fs_way way;
	bool is_mounted;
	pid_t pid;
	FILE *to, *from;
	char directory[128]; /* what is mounted there */
};

/* An agent that sees `what` on agent->directory (what NULL: in no mount), sealed first unless `is_raw`. */
struct fs_agent *fs_agent_new(const struct fs_world *w, enum fs_user user, enum fs_way way, const char *what,
			      bool is_raw);
/* An agent as a task with one input, as -i has it; what it writes below "." is in its working directory. */
struct fs_agent *fs_agent_as_task(const struct fs_world *w, enum fs_user user, const char *input);
/* Ends it, its mount and, for NULL, nothing. */
void fs_agent_free(struct fs_agent *a);
/* Has it work; returns the time in microseconds. say and hear are its halves. */
double fs_ask(struct fs_agent *a, const char *work, unsigned n, unsigned m, const char *path);
void fs_say(struct fs_agent *a, const char *work, unsigned n, unsigned m, const char *path);
double fs_hear(struct fs_agent *a);

/* What is done before each timed round. */
enum fs_when {
	FS_AGAIN,    /* nothing: all is warm */
	FS_ATTACHED, /* the same tree is mounted anew, its hot set known */
	FS_UNSEEN,   /* a tree that nobody has read from is mounted: `tree`/0, 1, ... */
	FS_COLD,     /* all caches are dropped, before each of the two */
};

struct fs_compare {
	const char *what, *work;
	unsigned n, m;    /* what the work is told */
	unsigned n_steps; /* what the printed times are divided by */
	const char *tree; /* the native side, and what is mounted */
	enum fs_when when;
	bool has_bound; /* the tree has one large file: bound in a private mount, served in a plain one */
};

/* Lines of the table: the same work on the native and the mounted side, alternately, in each place. Returns the median of the ratios in a view,
 * of root and the ordinary user the worse. */
double fs_compare(struct fs_world *w, const struct fs_compare *c);

/* One line, and into the details: microseconds of `n` rounds of the native and another side; sorts them. Returns the median of the ratios. */
double fs_report(struct fs_world *w, const char *what, const char *where, double *native, double *other, unsigned n,
		 unsigned n_steps);

/* The last line. */
void fs_end(struct fs_world *w, double value, const char *unit, const char *target);

#endif
