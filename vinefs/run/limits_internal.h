/* SPDX-License-Identifier: Apache-2.0
 * What the files of limits share: cgroups, the processes of an attempt, the size of its sandbox. */
#ifndef RUN_LIMITS_INTERNAL_H
#define RUN_LIMITS_INTERNAL_H

#include "vinefs/run/limits.h"

/* ---- limits_tree.c: cgroups, in as many hierarchies as are needed. The loop's thread. */
enum group_use {
	GROUP_MEMORY = 1,
	GROUP_PIDS = 2,
	GROUP_KILL = 4, /* all that is in it can be ended for certain */
};

#define GROUP_TREES 4u

/* One hierarchy: in its group PATH each attempt has one, named by its number. */
struct group_tree {
	char *path;
	int fd;         /* of PATH, and its lock: who holds none has died */
	char *suspects; /* lines: whose lock nobody held at the last groups_clear() */
	bool is_two;
	unsigned uses; /* enum group_use, added up */
};

struct groups {
	struct group_tree at[GROUP_TREES];
	unsigned n;
};

/* The hierarchies that can be written; `root` as in limits_settings. None is no error. */
void groups_init(struct groups *g, const char *root, const char *name, int sandboxes);
void groups_fini(struct groups *g);
/* Removes those of nodes that are gone, whatever they were called. A vinefs that has died is followed by another one, to which its groups have something to say:
 * so only what was nobody's the last time, too. */
void groups_clear(struct groups *g);
/* The hierarchy that has this use, or NULL. */
const struct group_tree *groups_find(const struct groups *g, enum group_use use);
/* Writes a file of a group; 0 or -errno. */
int group_write(int dir, const char *path, const char *text);

/* ---- limits_group.c: those of an attempt.
 * Makes them and says in the plan where its pid is to be written. 0: no limit. 0 or -errno, and nothing is left. */
int group_make(const struct groups *g, uint64_t attempt, uint64_t memory, uint64_t processes, struct limits_plan *plan);

struct group_usage {
	uint64_t n_oom, n_refused;      /* killed for want of memory; forks refused */
	uint64_t cpu_usec, peak_memory; /* cpu: of version 2 */
};

/* What is not known is 0. */
void group_read_events(const struct groups *g, uint64_t attempt, struct group_usage *u);
void group_read_usage(const struct groups *g, uint64_t attempt, struct group_usage *u);
/* Appends the pid_t of each process in its group, false if it has none. */
bool group_processes(const struct groups *g, uint64_t attempt, struct buf *pids);
/* Kills what is in it and removes it. False: try again, what was killed has not gone yet. */
bool group_remove(const struct groups *g, uint64_t attempt);
/* Removes those that are empty and that `is_known` does not know. */
void groups_sweep(const struct groups *g, bool (*is_known)(void *arg, uint64_t attempt), void *arg);

/* ---- limits_look.c: processes, as /proc shows them. Any thread. */
struct look {
	uint64_t n;       /* threads */
	uint64_t size;    /* resident: no more than the sum, for what is shared counts for each */
	uint64_t largest; /* of one */
	unsigned n_pids;  /* processes */
};

/* Appends `pid` and all that descends from it. */
void look_down(int pid, struct buf *pids);
/* Appends what the keeper has inherited from the attempts of these sandboxes: pairs of uint64_t, the attempt and the pid. `path` is that of all sandboxes. */
void look_for_orphans(int keeper, const char *path, struct buf *pairs);
/* `most` threads: there it ends. */
struct look look_at(const struct buf *pids, uint64_t most);
/* Memory of these, shared parts counted once: exact, and dear. 0: it may not be read. */
uint64_t look_at_shares(const struct buf *pids);

/* ---- limits_disk.c: how large sandboxes are, found out by a thread of its own. */
struct disk;

struct disk_size {
	uint64_t attempt, size, cost_usec;
};

/* `sandboxes` is borrowed. NULL with errno. */
struct disk *disk_new(int sandboxes);
void disk_free(struct disk *d);
/* Asked again while it is being looked at, it is looked at again. */
void disk_ask(struct disk *d, uint64_t attempt);
/* The next that is known, false if there is none. */
bool disk_next(struct disk *d, struct disk_size *s);

#endif
