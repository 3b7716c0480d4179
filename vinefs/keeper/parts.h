/* SPDX-License-Identifier: Apache-2.0
 * What the keeper's files share. Nothing here waits, but for the disk under the record. */
#ifndef KEEPER_PARTS_H
#define KEEPER_PARTS_H

#include "vinefs/keeper/keeper.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/types.h>

/* ---- record.c: all attempts that are not both over and taken, each change appended to STATE/keeper.log. That is not
 * synced: it need survive processes, not the machine, under which no task survives either. */
struct attempt {
	struct keeper_report report; /* as told and as recorded; its type is the state, its pid 0 unless it runs */
	uint64_t start_ticks;        /* of the process, since boot: with the pid it is that very process */
	bool is_taken;
	bool is_killed;                   /* at vinefs' wish: then that is how it ended, even in a node's last second */
	uint64_t started_usec, kill_usec; /* kill_usec: when SIGKILL is due; 0: never */
};

struct record {
	char path[4096];
	int fd;
	uint64_t size, compact_at;
	struct attempt *at[KEEPER_ATTEMPTS_MAX];
	unsigned n, n_running;
};

/* Reads it and writes it again without what is over. What was running is KEEPER_LOST, and killed if it lives. 0 or -errno. */
int record_open(struct record *r, const char *state);
/* Appends what the attempt is now. 0 or -errno. */
int record_put(struct record *r, const struct attempt *a);
/* NULL if there is none; if memory is out or there are too many. */
struct attempt *record_find(const struct record *r, uint64_t attempt);
struct attempt *record_find_pid(const struct record *r, pid_t pid);
/* The number must not be there yet. */
struct attempt *record_add(struct record *r, uint64_t attempt, uint64_t task);
void record_remove(struct record *r, struct attempt *a);

/* ---- proc.c */

/* When the process began, in ticks since boot; 0 if there is none. */
uint64_t proc_start_ticks(pid_t pid);
/* Kills children of ours that are no attempt's first process, nor `spare`, and carry the mark (KEEPER_MARK) of an attempt that
 * does not run; with `all`, whatever they carry. Returns how many: their own children come next. */
unsigned proc_sweep(const struct record *r, const char *state, pid_t spare, bool all);
/* Kills every process but this one that carries a mark below `state`: what an earlier keeper left. */
void proc_purge(const char *state);

/* ---- spawn.c */

/* What a child that could not exec writes into the trouble pipe before it exits, in one piece. */
struct spawn_trouble {
	pid_t pid;
	int32_t error;
	uint32_t step;
	char what[KEEPER_WHAT_MAX];
};

/* Makes ready the task as the leader of a session of its own, which dies with the keeper; its program begins at spawn_go(). `oom_score`
 * is text for /proc/self/oom_score_adj. A pid or -errno; -EBADMSG if the request is malformed: its sender has a bug. */
pid_t spawn_task(const struct keeper_request *q, int trouble, const char *oom_score);
void spawn_go(pid_t pid);
/* Starts vinefs, argv[0] being its file and the rest its words, with its ends of the two pairs. A pid or -errno. */
pid_t spawn_vinefs(char *const *argv, int fd, int mounts_fd);

/* ---- hold.c: the mounts that outlive vinefs */

struct holds {
	int fd;             /* -1: no vinefs */
	unsigned n, n_told; /* told: to the present vinefs; n + 1 when it knows that it knows all */
	unsigned n_lost;    /* there was no descriptor left to hold them: they end with the present vinefs */
	uint64_t turned_usec, pinged_usec, silent_usec;
	struct hold {
		uint64_t mount;
		int fds[2]; /* /dev/fuse, memfd */
	} at[KEEPER_MOUNTS_MAX];
};

/* A new vinefs is at the other end of fd, which is taken over; -1: there is none any more. */
void holds_meet(struct holds *h, int fd);
/* Reads and sends what there is. False: vinefs talks nonsense, and is to be ended. */
bool holds_receive(struct holds *h);
bool holds_has_more(const struct holds *h); /* to send */
void holds_send(struct holds *h);
/* Every turn: pings, counts silence. True: it was too long; all was let go, and vinefs, which may hold it too, is to be ended. */
bool holds_is_silent(struct holds *h, uint64_t now);
/* When the next turn is due at the latest. */
uint64_t holds_due_usec(const struct holds *h, uint64_t otherwise);

/* ---- door.c: the keeper's end of the pair */

#define DOOR_HIGH (1u << 20) /* while more is queued nothing is read */

struct door {
	int fd; /* -1: no vinefs */
	char *in, *out;
	uint32_t n_in, room_in, n_out, room_out;
};

/* Queues a report (nothing without a vinefs); a state without an attempt is told by its type alone. */
void door_tell(struct door *d, const struct keeper_report *report);
void door_say(struct door *d, enum keeper_report_type type);
/* Sends what goes at once. 0 or -errno: vinefs is gone. */
int door_send(struct door *d);
/* Reads once and hands up each whole request. 0 or -errno (-EPIPE at the end, -EBADMSG for nonsense). While much is queued
 * nothing is read: so what vinefs does not read cannot grow beyond all attempts there are. */
int door_receive(struct door *d, bool (*on_request)(const struct keeper_request *q, void *arg), void *arg);
void door_close(struct door *d);

#endif
