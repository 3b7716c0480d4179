/* SPDX-License-Identifier: Apache-2.0
 * What vinefs and the keeper say to each other over a socket pair: flat structs of this machine, each with its length first.
 * The keeper is small because it must never die: it starts vinefs and every task, and keeps what became of each attempt until
 * vinefs has taken it.
 *
 * Files, top to bottom: main.c (the loop, vinefs' restarts, the orderly end), door.c (requests and reports), hold.c (mounts
 * that outlive vinefs), spawn.c (a task's first microseconds), view.c (namespaces), proc.c (what tasks left behind), record.c (attempts, in memory
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
};

struct keeper_request {
	uint32_t length; /* with this head */
	uint32_t type;
	uint64_t attempt, task;
	int32_t signo;
	uint32_t grace_msec;
	uint32_t n_argv, n_environment; /* KEEPER_START: after the head come directory, file for standard
					 * output, for standard error, argv, environment: texts with their NUL */
};

enum keeper_report_type {
	KEEPER_STARTED = 1,
	KEEPER_ENDED,    /* status, as of wait(2) */
	KEEPER_FAILED,   /* error at step, with what */
	KEEPER_LOST,     /* an earlier keeper died under it: nobody knows how it ended */
	KEEPER_LISTED,   /* every attempt has been told */
	KEEPER_STOPPING, /* the node is being stopped: what ends now was ended by us */
	KEEPER_GONE,     /* and now nothing is left: say good bye and exit */
};

enum keeper_step {
	KEEPER_STEP_NONE,
	KEEPER_STEP_FORK, /* the node's own trouble, as is ... */
	KEEPER_STEP_RECORD,
	KEEPER_STEP_OUTPUT,
	KEEPER_STEP_DIRECTORY, /* the task's, as is ... */
	KEEPER_STEP_EXEC,
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
};

struct keeper_mount {
	uint32_t type, reserved;
	uint64_t mount; /* vinefs' number for it, never 0 */
};

/* ---- views: what one process and its children see is made by a flat list of steps, carried out in order by view.c within that process. vine-mount does so for the
 * command of a private mount. */

enum view_op {
	/* A mount namespace of its own; with VIEW_USER in a user namespace of its own, in which there is its own uid and gid alone. What the host mounts still appears there, what is mounted there
	 * appears nowhere else. */
	VIEW_UNSHARE = 1,
	/* The file or directory `from` over `to`: read-only, no devices, no setuid. */
	VIEW_BIND,
};

#define VIEW_USER 1u
/* Only a regular file, and if it looks in every way as what lies there: size, mode, owner, time, number of links (-ESTALE), and can be executed and mapped as that (-EACCES). */
#define VIEW_ALIKE 2u
#define VIEW_OPTIONAL 4u /* without it, it goes on */

struct view_step {
	uint32_t op, flags;
	const char *from, *to;
	int error; /* how it went: 0 or -errno */
};

/* Of a process with one thread. 0, or the error of the first step that had to be and could not; *n_done steps were tried. */
int view_do(struct view_step *steps, unsigned n, unsigned *n_done);

#endif
