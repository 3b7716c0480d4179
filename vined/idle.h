/* SPDX-License-Identifier: Apache-2.0
 * The end of a vined that nobody needs: no client is connected and no task is unfinished for so long, unless the file `stay` lies in the state directory. */
#ifndef VINED_IDLE_H
#define VINED_IDLE_H

#include "vined/driver_look.h"

struct idle {
	struct timer timer;
	struct loop *loop;
	const struct driver *driver;
	const size_t *n_clients;
	const char *stay;               /* path; borrowed */
	uint64_t limit_usec;            /* 0: it never ends */
	void (*on_idle)(struct idle *); /* once */
	uint64_t since_usec;            /* private */
};

/* The fields above are set before. */
void idle_start(struct idle *i);
void idle_stop(struct idle *i);

#endif
