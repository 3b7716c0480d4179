/* SPDX-License-Identifier: Apache-2.0
 * What vinefs and the keeper say to each other over a socket pair: flat structs of this machine, each with its length first.
 * The keeper is small because it must never die: it starts vinefs and every task, and keeps what became of each attempt until
 * vinefs has taken it.
 *
 * Files, top to bottom: main.c (the loop, vinefs' restarts, the orderly end), task.c (what becomes of attempts), door.c (requests and reports), request.c (what stands in one), hold.c (mounts
 * that outlive vinefs), stem.c (the namespaces that tasks descend from), job.c (what is done there for vinefs), spawn.c (a child's first microseconds), word.c (what it tells
 * of them), inside.c (the processes above a task in a view), witness.c (what a recorded one opens), view.c (namespaces), proc.c (what tasks left behind), record.c (attempts, in memory
 * and in the file that survives a keeper). parts.h is theirs alone.
 *
 * vinefs finds its end of the pair in KEEPER_FD. The first it hears is each attempt's state, then KEEPER_LISTED; from then on
 * one report for each change. An attempt is told again to every new vinefs until KEEPER_TAKEN. */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdint.h>

#define KEEPER_FD "VINE_KEEPER_FD"
/* Every task has this in its environment, as STATE/s/ATTEMPT: how what it left behind is recognised. */
#define KEEPER_MARK "VINE_SANDBOX="

#define KEEPER_REQUEST_MAX ((2u << 20) + (64u << 10))
#define KEEPER_ATTEMPTS_MAX 65536u
#define KEEPER_WHAT_MAX 160

enum keeper_request_type {
	KEEPER_START = 1, /* known attempts are left as they are */
	KEEPER_KILL,      /* signo to the attempt's group, SIGKILL after grace_msec; 0: only signo */
	KEEPER_TAKEN,     /* forget it; one that still runs is forgotten at its end, without a report */
	KEEPER_LEAVE,     /* end everything, as SIGTERM does; said twice, it hastens nothing */
	KEEPER_DO, /* `attempt` is the number of a job: its steps are done in the stem's own namespaces, where what they mount stays; then, if there is argv, that is executed there. KEEPER_DONE tells */
	KEEPER_UNKEEP, /* the view kept as `kept` is needed no more */
};

/* A stem is the namespaces that tasks descend from: a mount namespace (of an ordinary user: in a user namespace) in which the node's mount lies on STATE/mnt. Made when vinefs asks (KEEPER_STEM). */
#define KEEPER_IN_VIEW \
	1u /* in a mount and a PID namespace of its own below the stem's, as a child of an init of ours; else as the keeper is */
#define KEEPER_RECORDED 2u /* with that: what it opens is written to SANDBOX/record */

struct keeper_limit {
	uint64_t resource, value; /* as of setrlimit(2), hard and soft alike */
};

/* Instead of a resource, in a view: the highest number of a process in its PID namespace, and so how many it can have. Asked for on kernels of 6.14
 * and later only: before that it would be the machine's. */
#define KEEPER_LIMIT_PIDS 1000u

struct keeper_request {
	uint32_t length; /* with this head */
	uint32_t type;
	uint64_t attempt, task;
	int32_t signo;
	uint32_t
		grace_msec; /* of KEEPER_START and KEEPER_DO: how long the steps may take (of a job: all of it), else ETIMEDOUT; 0: a minute for steps, a job's program as long as it will */
	uint32_t n_argv, n_environment;
	uint32_t flags, mask; /* mask: of file modes, umask(2) */
	uint64_t stem;        /* for which the steps were written: of another one, KEEPER_FAILED with ESTALE */
	uint64_t
		kept; /* 0: none. The first n_kept steps, no VIEW_PROC among them, are the same for all that have this number: done once, and what came of them kept */
	uint32_t n_kept, n_steps, n_cgroups, n_cores, n_limits, reserved;
	/* KEEPER_START and KEEPER_DO: after the head come n_steps pairs of u32 (op, flags), n_cores words of 64 cores it may run on, n_limits struct keeper_limit; then texts with
	 * their NUL: directory, files for standard input, output and error, of each step `from`, `to` and `data`, of each cgroup the file to write a pid to, argv, environment. Paths are as they are within the view, but those of
	 * output, error and cgroups, which are opened before. */
};

enum keeper_report_type {
	KEEPER_STARTED = 1,
	KEEPER_ENDED,    /* status, as of wait(2) */
	KEEPER_FAILED,   /* error at step, with what */
	KEEPER_LOST,     /* an earlier keeper died under it: nobody knows how it ended */
	KEEPER_LISTED,   /* every attempt has been told */
	KEEPER_STOPPING, /* the node is being stopped: what ends now was ended by us */
	KEEPER_GONE,     /* and now nothing is left: say good bye and exit */
	KEEPER_DONE, /* a job: error 0, or of step number `status`, or of its program: then `status` as of wait(2) */
};

enum keeper_step {
	KEEPER_STEP_NONE,
	KEEPER_STEP_FORK, /* the node's own trouble, as is ... */
	KEEPER_STEP_RECORD,
	KEEPER_STEP_OUTPUT,
	KEEPER_STEP_VIEW,      /* `what` names the path */
	KEEPER_STEP_DIRECTORY, /* the task's, as is ... */
	KEEPER_STEP_INPUT,     /* the file for standard input */
	KEEPER_STEP_EXEC,
	KEEPER_STEP_DECLARED, /* a step with VIEW_DECLARED; `what` names the path */
};

struct keeper_report {
	uint32_t length;
	uint32_t type;
	uint64_t attempt, task;
	int32_t pid, status, error;
	uint32_t step;
	uint64_t wall_usec, cpu_usec, peak_memory;
	char what[KEEPER_WHAT_MAX]; /* the path that step failed on, cut, printable */
};

/* ---- mounts: a second pair, SOCK_SEQPACKET, in KEEPER_MOUNTS_FD; one struct a packet. Of each mount the keeper holds two descriptors: /dev/fuse
 * and a memfd with what a new vinefs must know to serve it; what stands in that is vinefs' alone. The first that a vinefs hears is
 * HELD for each, then ALL_HELD. While anything is held it is pinged, and has KEEPER_SILENT_USEC to say ALIVE, dead time
 * included: then the keeper lets go of all, and ends it, so that readers get errors and never hang. */
#define KEEPER_MOUNTS_FD "VINE_KEEPER_MOUNTS_FD"
#define KEEPER_MOUNTS_MAX 4096u
/* Of so many descriptors that a process may have: the keeper needs two for each mount, vinefs at most four, and both have others. */
#define KEEPER_MOUNTS_OF(n_files)                                                                              \
	((n_files) < 256u + 4u * KEEPER_MOUNTS_MAX ? ((n_files) < 256u ? 0u : ((unsigned)(n_files)-256u) / 4u) \
						   : KEEPER_MOUNTS_MAX)
#define KEEPER_SILENT_USEC 10000000u
/* The status of a vinefs that makes way for the program now installed: it is started at once, and that is no death. */
#define KEEPER_EXIT_UPGRADE 124

enum keeper_mount_type {
	KEEPER_HOLD = 1, /* with two descriptors, in place of those held under this number */
	KEEPER_DROP,
	KEEPER_ALIVE,
	KEEPER_HELD, /* from here on the keeper's words; with two descriptors */
	KEEPER_ALL_HELD,
	KEEPER_PING,
	/* vinefs: make a stem of this number, in place of the one before, which goes with its last task. */
	KEEPER_STEM,
	/* keeper: `error` (an errno; what failed is in the keeper's log), or with descriptors: the mount namespace's, the user namespace's (the mount namespace's again if there is none: as root), and, once, /dev/fuse, mounted, INIT not yet read.
	 * `mount` is the stem's number. The present stem is told again to a new vinefs before ALL_HELD, with two descriptors: then /dev/fuse is held like others', or that mount is dead. While one cannot be made the one before stays. */
	KEEPER_STEM_MADE,
};

struct keeper_mount {
	uint32_t type;
	int32_t error;
	uint64_t mount; /* vinefs' number for it, never 0 */
};

#define KEEPER_NODE_MOUNT "mnt" /* STATE/mnt, the directory of the node's mount */

/* ---- views: what one process and its children see is made by a flat list of steps, carried out in order by view.c within that process. vine-mount does so for the
 * command of a private mount. */

enum view_op {
	/* A mount namespace of its own; with VIEW_USER in a user namespace of its own, in which there is its own uid and gid alone. What the host mounts still appears there, what is mounted there
	 * appears nowhere else. */
	VIEW_UNSHARE = 1,
	/* The file or directory `from` over `to`: read-only, no devices, no setuid. */
	VIEW_BIND,
	/* A new root to be at `to`: an empty tmpfs, in it the host's top directories, bound recursively, and its top links, made again. */
	VIEW_ROOT,
	/* An empty tmpfs on `to`, with the options `data` (none: size=1m; mode=755 unless it says). With VIEW_FILLED the children of `from` are bound into it: so can a directory of the host get names that it lacks. */
	VIEW_TMPFS,
	/* Below a tmpfs of ours: a directory, an empty file, a link to `from`; each with its parents. A directory or file may be there. -EROFS: `to` lies on the host. */
	VIEW_DIRECTORY,
	VIEW_FILE,
	VIEW_LINK,
	/* An overlay on `to`, options `data`. */
	VIEW_OVERLAY,
	/* What is mounted on `to` becomes read-only (VIEW_RECURSIVE: and what is below it), or goes. */
	VIEW_READONLY,
	VIEW_UNMOUNT,
	/* `to` becomes the root, and the old one is gone. Later steps name paths below it. */
	VIEW_PIVOT,
	/* A /proc of the PID namespace, on `to`. */
	VIEW_PROC,
};

#define VIEW_USER 1u
/* Only a regular file, and if it looks in every way as what lies there: size, mode, owner, time, number of links (-ESTALE), and can be executed and mapped as that (-EACCES). */
#define VIEW_ALIKE 2u
#define VIEW_OPTIONAL 4u /* without it, it goes on */
#define VIEW_WRITABLE 8u
#define VIEW_RECURSIVE 16u
#define VIEW_FILLED 32u
#define VIEW_DEVICES 64u /* a bind in which devices and setuid work as they do at `from` */
#define VIEW_DECLARED \
	128u /* `to` is where the task wants it: if it cannot be there, that is the task's trouble. Means nothing to view_do() */

struct view_step {
	uint32_t op, flags;
	const char *from, *to, *data; /* NULL or "": none */
	int error;                    /* how it went: 0 or -errno */
};

/* Of a process with one thread. 0, or the error of the first step that had to be and could not; *n_done steps were tried. */
int view_do(struct view_step *steps, unsigned n, unsigned *n_done);

#endif
