/* SPDX-License-Identifier: Apache-2.0
 * What a first attempt is given: the amount that costs least on the whole if those who need more begin again with the most. */
#include "core/core_internal.h"

#define ENOUGH 8u /* measured before anything is concluded */

unsigned core_bucket_of(uint64_t amount)
{
	if (amount < 4)
		return (unsigned)amount;
	unsigned power = 63 - (unsigned)__builtin_clzll(amount);
	return power * 4 + (unsigned)(amount >> (power - 2) & 3);
}

uint64_t core_bucket_end(unsigned bucket)
{
	unsigned power = bucket / 4;
	if (bucket < 8)
		return bucket;
	uint64_t step = UINT64_C(1) << (power - 2);
	return (4 + bucket % 4) * step + (step - 1);
}

void core_learn(struct core_learned *l, uint64_t amount)
{
	if (!l->counts)
		l->counts = xcalloc(CORE_SAMPLES, sizeof *l->counts);
	assert(core_bucket_of(amount) < CORE_SAMPLES);
	l->counts[core_bucket_of(amount)]++;
	l->n++;
}

uint64_t core_learn_first(const struct core_learned *l, uint64_t most)
{
	if (l->n < ENOUGH)
		return most;
	double least = (double)most;
	uint64_t best = most, n_below = 0;
	for (unsigned i = 0; i < CORE_SAMPLES && core_bucket_end(i) < most; i++) {
		if (!l->counts[i])
			continue;
		n_below += l->counts[i];
		double p_more = (double)(l->n - n_below) / (double)l->n;
		double cost = (double)core_bucket_end(i) + p_more * (double)most;
		if (cost < least) {
			least = cost;
			best = core_bucket_end(i);
		}
	}
	return best;
}
