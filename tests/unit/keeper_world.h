/* SPDX-License-Identifier: Apache-2.0
 * The keeper as a program. It starts this program as its vinefs, which only hands its ends of the pairs to the test and then
 * waits to be killed; the test speaks for it. */
#ifndef UNIT_KEEPER_WORLD_H
#define UNIT_KEEPER_WORLD_H

#include "tests/unit/unit.h"

#include "common/base.h"
#include "common/loop.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/hand.h"

#include <signal.h>
#include <sys/types.h>

#define DEADLINE_MSEC ((int)UNIT_PATIENCE_SEC * 1000)

struct bench {
	char *state, *socket_path;
	uid_t uid; /* of the keeper */
	bool is_private;
	pid_t keeper, vinefs;
	int listener, relay, fd, mounts_fd;
	unsigned n_started, n_ended, n_failed, n_lost, n_listed, n_stopping, n_gone, n_done;
	struct keeper_report last; /* ended, failed or lost */
	struct keeper_report started, done;
	/* Of the stem, as told last. */
	unsigned n_stems, n_stem_fds, n_held;
	struct keeper_mount stem;
	int stem_fds[3];
};

int64_t now_msec(void);

struct bench begin(const char *grace);
/* As somebody else, in a mount namespace of its own in which /dev/fuse is for everybody. */
struct bench begin_as(const char *grace, uid_t uid);
/* And what is mounted there is not shared, as in many a container. */
struct bench begin_where(const char *grace, uid_t uid, bool is_private);
void start_keeper(struct bench *b, const char *grace);
/* The socket of the next vinefs. */
void meet(struct bench *b);
void hear(struct bench *b);
void finish(struct bench *b);
void say(struct bench *b, const void *p, size_t n);
void start(struct bench *b, uint64_t attempt, const char *const *argv, uint32_t n_argv, const char *path);
void shell(struct bench *b, uint64_t attempt, const char *script);
void ask(struct bench *b, uint32_t type, uint64_t attempt, int signo, uint32_t grace_msec);

/* Hears on the mounts' pair until the stem's or all holds have been told. */
void hear_stem(struct bench *b);
void hear_all_held(struct bench *b);
/* A stem of this number; false: there can be none here. */
bool make_stem(struct bench *b, uint64_t number);
/* That stem is in one: the keeper is an ordinary user, or root of a container that may not mount. */
bool has_user_namespace(const struct bench *b);
/* A script in a view of these steps; what is empty in `s` is filled in. */
void shell_in_view(struct bench *b, uint64_t attempt, const char *script, struct hand_start s);
void send_by_hand(const struct bench *b, const struct hand_start *s,
		  int (*send_it)(struct hand *, const struct hand_start *));
void wait_for_end(struct bench *b); /* of one attempt more */

/* What stands in a file of the state directory, cut at 4095 bytes; borrowed. */
char *content(const struct bench *b, const char *name);
/* Within the deadline; "" if it never comes. */
char *wait_for_content(const struct bench *b, const char *name);
bool poll_until_gone(pid_t pid);
/* A pid that a task wrote into a file. */
pid_t read_pid(const struct bench *b, const char *name);

/* ---- views */

void make_directory(const struct bench *b, const char *name);
char *make_file(const struct bench *b, const char *name, const char *text);

/* Runs it with a keeper that has a stem, by every user that there can be; SKIP where there are no namespaces. */
void by_everyone(void (*run)(struct bench *b));

/* A root of its own, and /proc; what a test needs besides comes between. */
struct view {
	struct view_step steps[24];
	unsigned n;
	char *root, *proc;
};

struct view *view_new(const struct bench *b);
void view_add(struct view *v, struct view_step s);
struct hand_start view_done(struct view *v);
void view_free(struct view *v);
/* In a view of these steps alone. */
void run_plainly(struct bench *b, uint64_t attempt, const char *script);

/* A pipe in the state directory whose writers are the task's processes: at its end they are gone. */
int make_pipe(const struct bench *b);
/* What they have written until now; and whether nobody is left. */
bool is_deserted(int fd, char text[64]);

#endif
