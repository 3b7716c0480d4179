/* SPDX-License-Identifier: Apache-2.0
 * What the keeper's files share. Nothing here waits, but for the disk under the record. */
#ifndef KEEPER_PARTS_H
#define KEEPER_PARTS_H

#include "vinefs/keeper/keeper.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* ---- record.c: all attempts that are not both over and taken, each change appended to STATE/keeper.log. That is not
 * synced: it need survive processes, not the machine, under which no task survives either. */
struct attempt {
	struct keeper_report report; /* as told and as recorded; its type is the state, its pid 0 unless it runs */
	uint64_t start_ticks;        /* since boot, when it was just made: who has its pid and is not younger is that very process */
	bool is_taken;
	bool is_killed;                   /* at vinefs' wish: then that is how it ended, even in a node's last second */
	bool is_in_view;                  /* its group is its first process and the init of its PID namespace */
	bool is_beginning;                /* kill_usec is when its view must have been made */
	bool is_over;                     /* that one is reaped, the init not yet */
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
/* The same of a process that has just been made: to read it costs more than to make some. */
uint64_t proc_now_ticks(void);
/* As long as it has not called itself something else, the program's name. */
bool proc_is_named(pid_t pid, const char *name);
/* Kills children of ours that are no attempt's first process, nor `spare`, and carry the mark (KEEPER_MARK) of an attempt that
 * does not run; with `all`, whatever they carry. Returns how many: their own children come next. */
unsigned proc_sweep(const struct record *r, const char *state, pid_t spare, bool all);
/* Kills every process but this one that carries a mark below `state`: what an earlier keeper left. */
void proc_purge(const char *state);

/* ---- request.c */

/* What a request asks for: texts in its memory, arrays of our own. */
struct request {
	const struct keeper_request *head;
	const char *directory, *in, *out, *err;
	char **cgroups, **argv, **environment;
	struct view_step *steps;
	const uint64_t *cores;
	const struct keeper_limit *limits;
};

/* False with errno: EBADMSG, the request is malformed and its sender has a bug; else memory is out. To be freed in both cases. */
bool request_parse(struct request *r, const struct keeper_request *q);
void request_fini(struct request *r);

/* ---- stem.c: the namespaces that tasks and jobs descend from, and what was kept of views */

#define KEPT_MAX 64u
#define STEM_HAS_USER 1u /* a user namespace of its own */
/* The host's root is not shared, so what is mounted there later does not appear here. Root's tasks then descend from the host's namespace, with a copy of the node's mount. */
#define STEM_IS_DEAF 2u

struct stem {
	uint64_t number; /* 0: there is none */
	int fds[3]; /* its mount namespace, user namespace (or the other again), and, until it is told, /dev/fuse; -1: none */
	unsigned traits;
	uint64_t wanted; /* 0: none is asked for */
	pid_t pid;       /* makes the wanted one; 0: nobody does yet */
	uint64_t due_usec;
	uint64_t refused; /* number of one that could not be made and is to be told, 0: none */
	int error;
	struct kept {
		uint64_t number, used;
		int fd; /* its mount namespace */
	} kept[KEPT_MAX];
	unsigned n_kept;
	uint64_t n_uses;
};

void stem_init(struct stem *s);
/* In place of the one before as soon as it is made. */
void stem_want(struct stem *s, uint64_t number);
/* What came of it: takes over the three descriptors. */
void stem_made(struct stem *s, const int fds[3], unsigned traits);
/* The user namespace to be joined with it, -1: none. */
int stem_user(const struct stem *s);
void stem_failed(struct stem *s, int error);
/* A view's mount namespace (taken over) to be joined later. */
void stem_keep(struct stem *s, uint64_t stem, uint64_t kept, int fd);
void stem_unkeep(struct stem *s, uint64_t kept);
/* -1: it must be made. */
int stem_kept(struct stem *s, uint64_t kept);

/* ---- spawn.c, what begins in the keeper's children; word.c, what they tell */

enum word_kind {
	WORD_TROUBLE = 1, /* the program cannot begin: error at step, of view_step number `index` */
	WORD_KEPT,        /* with the mount namespace that the first steps have made */
	WORD_STEM,        /* error with what, or with three descriptors; index: its traits */
	WORD_LISTENER,    /* within a view, to the first process: with seccomp's descriptor */
	WORD_STATUS,      /* the same way: index is how the task ended, as of wait(2) */
};

/* What a child tells by the socket that all share, in one piece, before it exits. */
struct word {
	pid_t pid; /* as the keeper knows it */
	uint32_t kind;
	int32_t error, index;
	uint32_t step;
	uint64_t stem, kept;
	char what[KEEPER_WHAT_MAX];
};

#define WORD_FDS 3
void word_send(int to, const struct word *w, const int *fds, unsigned n_fds);
/* False: there is none. Descriptors that did not come are -1. */
bool word_receive(int from, struct word *w, int fds[WORD_FDS]);

struct spawn_context {
	int words;             /* to word_send() to */
	const char *state;     /* the directory */
	const char *oom_score; /* for /proc/self/oom_score_adj */
	const struct stem *stem;
	int kept; /* the namespace to join, in which the first n_kept steps are done; -1: none */
};

/* A child on its way to its program; its own children are too, under its number. */
struct spawn {
	const struct request *request;
	const struct spawn_context *context;
	pid_t keeper, first;
	int words;
};

/* Makes ready the task as the leader of a session of its own, which dies with the keeper; its program begins at spawn_go(). A pid or -errno. */
pid_t spawn_task(const struct request *r, const struct spawn_context *c);
void spawn_go(pid_t pid);
/* Does the steps in the stem, then becomes the program, if there is one. A pid or -errno. */
pid_t spawn_job(const struct request *r, const struct spawn_context *c);
pid_t spawn_stem(const struct spawn_context *c);
/* Starts vinefs, argv[0] being its file and the rest its words, with its ends of the two pairs. A pid or -errno. */
pid_t spawn_vinefs(char *const *argv, int fd, int mounts_fd);

/* For the children: errno at a step ends the attempt. */
_Noreturn void spawn_give_up(const struct spawn *s, enum keeper_step step, const char *what);
/* Steps [from, to), or it ends there. */
void spawn_do_steps(const struct spawn *s, unsigned from, unsigned to);
/* Its own session, not to be signalled before it is told to go; what it opens on the host. */
void spawn_prepare(const struct spawn *s);
/* Follows the keeper to death, even if that was gone before the call. */
void spawn_follow(pid_t keeper);
void spawn_wait_for_go(void);
/* Nothing stays open but 0, 1, 2 and these; they are sorted. */
void spawn_close_others(int *fds, unsigned n);
void spawn_reset_handlers(void);
/* Directory, standard input, cores, limits, mask. */
void spawn_settle_in(const struct spawn *s);
_Noreturn void spawn_exec(const struct spawn *s);

/* ---- inside.c: the first process of a task in a view, and the init that it forks */

_Noreturn void inside_begin(const struct spawn *s);

/* ---- witness.c: what a recorded task opens */

struct witness;
/* Of the calling process and its children from now on: a descriptor to be given to the witness, or -errno. */
int witness_filter(void);
/* Answers what comes by `listener` and writes it to the file; `proc` is /proc as this process is numbered in it. All are taken over. NULL: no memory. */
struct witness *witness_new(int listener, int record, int proc);
/* The descriptor to poll, -1: nobody is left to be answered. */
int witness_fd(const struct witness *w);
/* Something is ready. */
void witness_turn(struct witness *w, bool is_hung_up);

/* ---- view.c, besides view_do() */

/* The calling process, with its root and directory, goes there; user_ns -1: it is there, or there is none. 0 or -errno. */
int view_join(int mount_ns, int user_ns);
/* A copy of the host's namespace as it is now, in which the calling process still is, with what is mounted on `mnt`, and below, in that one. 0 or -errno */
int view_join_host(int mount_ns, const char *mnt);
/* A copy of the mount namespace for itself; with_pids: its children will be in a PID namespace of their own. */
int view_leave(bool with_pids);
/* The calling process goes into new namespaces and mounts /dev/fuse on `mnt`, made if need be: descriptors as struct stem has them, and its traits; or -errno with what failed. */
int view_make_stem(const char *mnt, int fds[3], unsigned *traits, const char **what);
/* The path that a step failed on. */
const char *view_path(const struct view_step *s);

/* ---- job.c: what is done in the stem for vinefs */

#define JOBS_MAX 256u
/* for steps, of a view or of a job; what waits for the node's mount in them does so for half as long */
#define STEPS_USEC 60000000u

struct jobs {
	struct job {
		pid_t pid;
		uint64_t due_usec; /* when it is given up, 0: never */
		struct keeper_report report;
	} at[JOBS_MAX];
	unsigned n;
};

struct job *job_find_pid(struct jobs *j, pid_t pid);
/* Starts it; false: it cannot, and `report` says why. */
bool job_start(struct jobs *j, const struct request *r, const struct spawn_context *c, uint64_t now,
	       struct keeper_report *report);
void job_trouble(struct job *job, const struct word *w);
/* Kills what is due; returns when the next one is, or `at`. */
uint64_t job_kill_due(struct jobs *j, uint64_t now, uint64_t at);
/* It is reaped: its report, and it is forgotten. */
struct keeper_report job_end(struct jobs *j, struct job *job, int status);

/* ---- hold.c: the mounts that outlive vinefs */

struct holds {
	int fd;             /* -1: no vinefs */
	struct stem *stem;  /* told among them; NULL: there are no stems here */
	bool is_stem_due;   /* to be told, that it is there or that it could not be made */
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
/* The stem was made, or could not be. */
void holds_tell_stem(struct holds *h);
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

/* ---- main.c: what the others are parts of */

#define SEC_USEC 1000000u
#define SWEEP_USEC 100000u /* from a task's end to the search for what it left */

enum phase {
	PHASE_KEEP,
	PHASE_STOP,  /* tasks have their SIGTERM and their grace */
	PHASE_LEAVE, /* nothing is left but vinefs, which says good bye */
	PHASE_OVER,
};

struct keeper {
	enum phase phase;
	uint64_t phase_until_usec, grace_usec, sweep_usec; /* 0: no sweep is due */
	int status, signals, lock, words[2];
	const char *state;
	char oom_score[16];
	char *const *vinefs_argv;
	pid_t vinefs; /* 0: it does not run; then it is started at restart_usec */
	uint64_t vinefs_started_usec, restart_usec;
	uint64_t complained_usec;
	unsigned n_deaths, n_to_kill; /* deaths in a row; attempts with a kill_usec */
	struct record record;
	struct door door;
	struct holds holds;
	struct stem stem;
	struct jobs jobs;
};

uint64_t keeper_now_usec(void);
__attribute__((format(printf, 1, 2))) void keeper_say(const char *fmt, ...);
/* What a child is to be given; kept: a view's number, 0: none. */
struct spawn_context keeper_context(struct keeper *k, uint64_t kept);

/* ---- task.c: what becomes of attempts */

/* False: the request is nonsense. */
bool task_start(struct keeper *k, const struct keeper_request *q);
void task_kill(struct keeper *k, const struct keeper_request *q);
void task_taken(struct keeper *k, uint64_t attempt);
void task_trouble(struct keeper *k, const struct word *w);
/* SIGTERM to all, SIGKILL at that time. */
void task_end_all(struct keeper *k, uint64_t kill_usec);
/* Kills what is due; returns when the next one is, or `at`. */
uint64_t task_kill_due(struct keeper *k, uint64_t now, uint64_t at);
/* The attempt whose process this is: its first, or one that this has left in its group. */
struct attempt *task_of(const struct keeper *k, pid_t pid);
/* That process is reaped. */
void task_exited(struct keeper *k, struct attempt *a, pid_t pid, int status, const struct rusage *u);

#endif
