/* SPDX-License-Identifier: Apache-2.0
 * How one task is to be run: the texts NAME=value of START, read by the table common/how.def. */
#ifndef RUN_HOW_H
#define RUN_HOW_H

#include "common/conf.h"
#include "common/wire.h"

#define CONF_STRUCT how
#define CONF_FILE "common/how.def"
#include "common/conf_struct.h"

enum how_view { HOW_VIEW_YES, HOW_VIEW_NONE };

/* Defaults, then what was given; a name that a newer client knows and we do not is an error, too: the task would not run as it was meant to.
 * 0, or -EINVAL with the text; how_fini() in either case. */
int how_read(const struct wire_texts *given, struct how *h, struct conf_error *e);
void how_fini(struct how *h);
/* The file mode creation mask, which how_read() has looked at. */
uint32_t how_mask(const struct how *h);

#endif
