/* SPDX-License-Identifier: Apache-2.0
 * The wire to the keeper, vinefs' end: requests are queued and leave when they can, reports are handed up. */
#ifndef RUN_HAND_H
#define RUN_HAND_H

#include "common/buf.h"
#include "common/loop.h"
#include "vinefs/keeper/keeper.h"

struct hand {
	struct watch watch;
	struct buf in, out;
	int fd;
	void (*on_report)(struct hand *h, const struct keeper_report *report);
	void (*on_loss)(struct hand *h); /* the keeper is gone; nothing more comes */
	/* KEEPER_DONE comes here and not to on_report. Set after hand_init() by who sends jobs; NULL: ignored. */
	void (*on_done)(struct hand *h, const struct keeper_report *report);
};

/* Takes over fd. 0 or -errno. */
int hand_init(struct hand *h, struct loop *l, int fd, void (*on_report)(struct hand *, const struct keeper_report *),
	      void (*on_loss)(struct hand *));
void hand_fini(struct hand *h);

/* All of it borrowed for the call; zero and NULL: none of that. Fields mean what keeper.h says of the request's. */
struct hand_start {
	uint64_t attempt, task; /* of a job: its number in `attempt` */
	const char *directory, *out, *err;
	const char *in; /* "" or NULL: /dev/null */
	const char *const *argv, *const *environment;
	uint32_t n_argv, n_environment;
	uint32_t flags, mask; /* the mask always counts */
	uint64_t stem, kept;
	const struct view_step *steps;
	uint32_t n_steps, n_kept;
	uint32_t view_msec; /* how long the steps may take: grace_msec of the request */
	const char *const *cgroups;
	const uint64_t *cores; /* words of 64; none: as the keeper */
	const struct keeper_limit *limits;
	uint32_t n_cgroups, n_cores, n_limits;
};

/* 0, or -E2BIG if the texts are more than the keeper (or the kernel) would take. */
int hand_send_start(struct hand *h, const struct hand_start *s);
/* A job: steps in the stem's own namespaces, then argv there, if any; out and err may be "" or NULL: /dev/null. Answered by on_done. 0 or -E2BIG. */
int hand_send_do(struct hand *h, const struct hand_start *s);
void hand_send_unkeep(struct hand *h, uint64_t kept);
void hand_send_kill(struct hand *h, uint64_t attempt, int signo, uint64_t grace_usec);
void hand_send_taken(struct hand *h, uint64_t attempt);
void hand_send_leave(struct hand *h);

#endif
