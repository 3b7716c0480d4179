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
};

/* Takes over fd. 0 or -errno. */
int hand_init(struct hand *h, struct loop *l, int fd, void (*on_report)(struct hand *, const struct keeper_report *),
	      void (*on_loss)(struct hand *));
void hand_fini(struct hand *h);

struct hand_start {
	uint64_t attempt, task;
	const char *directory, *out, *err;
	const char *const *argv, *const *environment;
	uint32_t n_argv, n_environment;
};

/* 0, or -E2BIG if the texts are more than the keeper (or the kernel) would take. */
int hand_send_start(struct hand *h, const struct hand_start *s);
void hand_send_kill(struct hand *h, uint64_t attempt, int signo, uint64_t grace_usec);
void hand_send_taken(struct hand *h, uint64_t attempt);
void hand_send_leave(struct hand *h);

#endif
