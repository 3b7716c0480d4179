/* SPDX-License-Identifier: Apache-2.0
 * Times as people write them. */
#ifndef TOOLS_WHEN_H
#define TOOLS_WHEN_H

#include "common/base.h"

/* "10m" (before now), "14:30" or "14:30:00" (today), "2026-01-31", "2026-01-31 14:30[:00]", "2026-01-31T14:30:00[Z]", in local time but
 * for a Z. 0 or -EINVAL. */
int when_parse(const char *text, int64_t now_usec, int64_t *usec);

/* "2026-01-31 14:30:00.123" in local time; with is_utc "2026-01-31T14:30:00.123Z". */
#define WHEN_TEXT 40
const char *when_text(int64_t usec, bool is_utc, char to[WHEN_TEXT]);

#endif
