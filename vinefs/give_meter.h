/* SPDX-License-Identifier: Apache-2.0
 * How fast bytes go, by what has gone and when. Pure; times as swarm.h has them. */
#ifndef VINEFS_GIVE_METER_H
#define VINEFS_GIVE_METER_H

#include "common/base.h"

struct meter {
	uint64_t rate; /* bytes a second; 0: not known */
	uint64_t since_usec, base;
	bool is_busy;
};

/* So many bytes have gone in all; is_busy: there are more to go. Time without any says nothing of the rate. */
void meter_look(struct meter *m, uint64_t now_usec, uint64_t gone, bool is_busy);
/* So many bytes go in this time; 0: not known. */
uint64_t meter_size(const struct meter *m, uint64_t usec);
uint64_t meter_usec(const struct meter *m, uint64_t size);

#endif
