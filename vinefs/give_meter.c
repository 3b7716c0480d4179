/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/give_meter.h"

#define LEAST_USEC 20000u /* acknowledgements come in bursts, and are looked at late: less says nothing */

void meter_look(struct meter *m, uint64_t now_usec, uint64_t gone, bool is_busy)
{
	uint64_t elapsed = now_usec - m->since_usec;
	assert(gone >= m->base && now_usec >= m->since_usec);
	if (m->is_busy && is_busy && elapsed < LEAST_USEC)
		return;
	if (m->is_busy && elapsed >= LEAST_USEC) {
		uint64_t sample = (gone - m->base) * 1000000 / elapsed;
		/* What was reached once can be reached; a lull may be the other end's. Where nothing is left some of the time was idle. */
		if (sample > m->rate)
			m->rate += m->rate ? (sample - m->rate) / 2 : sample;
		else if (is_busy)
			m->rate -= (m->rate - sample) / 8;
	}
	m->since_usec = now_usec;
	m->base = gone;
	m->is_busy = is_busy;
}

uint64_t meter_size(const struct meter *m, uint64_t usec)
{
	return m->rate * usec / 1000000;
}

uint64_t meter_usec(const struct meter *m, uint64_t size)
{
	return m->rate ? size * 1000000 / m->rate : 0;
}
