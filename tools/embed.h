/* SPDX-License-Identifier: Apache-2.0
 * The user's own cluster: vined and nodes on this machine that commands start when work is to be done, and that end when idle.
 *
 * Its directory is that of an ordinary vined, with three files more: `embedded`, what runs here (a line each: vined PID; listen HOST:PORT;
 * node CORES MEMORY CACHE DIRECTORY); `stay`, which vined looks for before it ends for idleness; `start.lock`, held by the command that is starting something.
 * Who runs is told by the lock file of each daemon, so that asking costs neither a connection nor a line in a log.
 *
 * Files: embed.c (which cluster, what runs, what commands call), embed_start.c (starts daemons), embed_plan.c (which nodes), embed_place.c (its directories),
 * embed_watch.c (while a command waits). */
#ifndef TOOLS_EMBED_H
#define TOOLS_EMBED_H

#include "tools/tools.h"

#include <sys/types.h>

#define EMBED_NODES_MOST 64u
#define EMBED_IDLE_EXIT "10m"

#define EMBED_NODE "vine"   /* of a node the process is vine-keeper, and vinefs until it has become that */
#define EMBED_STARTING (-1) /* in place of vined's number: a command was about to start it */

struct embed_node {
	char *state;
	uint64_t cores, memory, cache; /* 0: all there is */
};

struct embed {
	char *name;
	char *state;  /* without links once it is there */
	char *listen; /* "": loopback, any port */
	struct embed_node nodes[EMBED_NODES_MOST];
	unsigned n_nodes;
	pid_t vined; /* that a command has started; 0: none */
	bool is_default, is_recorded;
	bool is_quiet;      /* the caller says what was started */
	bool is_join;       /* it is somebody else's, and a node here to be one of it */
	bool is_to_stay;    /* it does not end when idle, from now on */
	unsigned n_started; /* daemons, by this command */
	char error[1400];
};

/* ---- for commands that speak to the cluster: one call before vine_open(). 0, or the exit status after saying what is wrong. */
/* There is work to be done: what does not run is started. */
int embed_start(const struct conf_table *t);
/* Only what has crashed is started; if nothing runs, it says how to get a cluster. */
int embed_look(const struct conf_table *t);

/* From now on, while this command runs, a vined of the cluster that crashes is started again at once; once in a process, any number of calls. */
void embed_watch(void);
/* VINE names a cluster that somebody else looks after. */
bool embed_is_others(void);

/* The directory of the first node of the cluster that VINE names, if it runs; NULL: it does not, or is not on this machine. Yours to free. */
char *embed_first_node(void);

/* ---- for up, down and join; 0 or -errno with a text in e->error */
/* name NULL: as VINE says, else `default`. -EINVAL: VINE names somebody else's. Reads what is recorded. */
int embed_open(struct embed *e, const char *name);
void embed_fini(struct embed *e);
int _printf_(3, 4) embed_refuse(struct embed *e, int error, const char *fmt, ...);
/* The process that has this state directory, or 0. */
pid_t embed_owner(const char *state, const char *program);
pid_t embed_vined(const struct embed *e);
/* It can be spoken to, or soon: one that is ending has taken its socket away, one that has crashed has not. */
bool embed_is_up(const struct embed *e);
/* One that has crashed has left its nodes, or was to stay. */
bool embed_has_crashed(const struct embed *e);
bool embed_stays(const struct embed *e);
int embed_set_stay(struct embed *e, bool stays);
void embed_read(struct embed *e); /* what is recorded now */
int embed_record(struct embed *e);
/* A vined runs there that a person has started. */
bool embed_is_foreign(const struct embed *e);

/* ---- embed_start.c */
/* Whatever is not running and should be; waits until nodes have joined. With n_nodes, so many are wanted; 0: those that there were, or one. */
int embed_bring_up(struct embed *e, unsigned n_nodes);
/* The nodes first, then vined. */
int embed_take_down(struct embed *e);
/* The same of a node alone. */
int embed_end(struct embed *e, const char *state, const char *program);
/* A daemon's program until it has gone into the background: begun, and waited for. */
struct embed_child {
	pid_t pid;
	int out;
	char *path;
};
int embed_spawn(struct embed *e, const char *program, const char *const words[], struct embed_child *c);
int embed_wait(struct embed *e, struct embed_child *c);

/* ---- embed_plan.c */
/* Decides where n nodes are and what each has. */
int embed_plan(struct embed *e, unsigned n);
/* It was a node for data alone before, and has a life of its own. */
bool embed_is_adopted(const struct embed *e, const char *node);

/* ---- embed_place.c */
/* Makes a directory of the user's state. Where it would lie on a network filesystem or its path is too long for sockets, it becomes a link to one on the local disk.
 * *real is its path without links, to be freed. */
int embed_place(struct embed *e, const char *path, char **real);

/* ---- cmd_join.c: where the node of the cluster at HOST:PORT has its state; yours to free */
char *join_state(const char *address);

#endif
