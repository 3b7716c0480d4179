/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_view.h"

#include <inttypes.h>

const char *top_number(char to[32], uint64_t n)
{
	char digits[24];
	size_t at = 0, length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n);
	for (size_t i = 0; i < length; i++) {
		to[at++] = digits[i];
		if ((length - i) % 3 == 1 && i + 1 < length)
			to[at++] = ',';
	}
	assert(at < 32);
	to[at] = 0;
	return to;
}

const char *top_span(char to[32], uint64_t sec)
{
	if (sec < 60)
		snprintf(to, 32, "%" PRIu64 " s", sec);
	else if (sec < 3600)
		snprintf(to, 32, "%" PRIu64 ":%02" PRIu64, sec / 60, sec % 60);
	else if (sec < 2 * 86400)
		snprintf(to, 32, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, sec / 3600, sec / 60 % 60, sec % 60);
	else if (sec < 1000ull * 86400)
		snprintf(to, 32, "%" PRIu64 " d %" PRIu64 " h", sec / 86400, sec / 3600 % 24);
	else
		snprintf(to, 32, "years");
	return to;
}

const char *top_rate(char to[32], double per_sec)
{
	char number[32];
	if (per_sec >= 9.95)
		snprintf(to, 32, "%.20s/s", top_number(number, (uint64_t)(min(per_sec, 1e12) + 0.5)));
	else
		snprintf(to, 32, "%.1f/s", per_sec);
	return to;
}

const char *top_meter(char to[64], uint64_t n, uint64_t all, unsigned cells, bool is_ascii)
{
	unsigned full = all ? (unsigned)((double)min(n, all) / (double)all * (double)cells + 0.5) : 0;
	/* Begun is not nothing, and almost is not all. */
	if (n && !full && cells)
		full = 1;
	if (n < all && full == cells && cells)
		full--;
	assert(full <= cells && cells * 3 < 64);
	*to = 0;
	for (unsigned i = 0; i < cells; i++)
		strcat(to, i < full ? (is_ascii ? "#" : "\u2588") : is_ascii ? "." : "\u2591");
	return to;
}
