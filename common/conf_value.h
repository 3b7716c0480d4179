/* SPDX-License-Identifier: Apache-2.0
 * One value of a setting: from text into its field, and back. What conf.c and conf_text.c share; others use conf.h. */
#ifndef COMMON_CONF_VALUE_H
#define COMMON_CONF_VALUE_H

#include "common/buf.h"
#include "common/conf.h"

/* Why a value is refused and what would be taken, for people: "more than 65535 (0 to 65535)". */
struct conf_reason {
	char text[256];
};

/* Puts `value` into its field. 0, or -EINVAL with the reason. */
int conf_value_set(const struct conf_setting *s, void *into, const char *value, struct conf_reason *why);

/* Frees what the field owns. */
void conf_value_fini(const struct conf_setting *s, void *into);

/* Appends the field's value as conf_value_set would read it back; of CONF_TYPE_MANY the one numbered `i`. */
void conf_value_text(const struct conf_setting *s, const void *into, size_t i, struct buf *to);

/* Appends what may be given: "1s to 1h", "one of error, warn"; nothing if all may. */
void conf_value_range(const struct conf_setting *s, struct buf *to);

#endif
