/* SPDX-License-Identifier: Apache-2.0
 * Makes `static const struct conf_setting CONF_STRUCT_table[]` from the settings listed in CONF_FILE; conf.h shows
 * how. The struct must have been made before, by conf_struct.h. No guard: a file may include it once for each list. */
#include "common/conf.h"

#define CONF_ROW(field, key, kind, given, low, high, choices, value, text) \
	{.name = #field,                                                   \
	 .letter = (key),                                                  \
	 .type = CONF_TYPE_##kind,                                         \
	 .offset = offsetof(struct CONF_STRUCT, field),                    \
	 .preset = (given),                                                \
	 .least = (low),                                                   \
	 .most = (high),                                                   \
	 .words = (choices),                                               \
	 .value_name = (value),                                            \
	 .help = (text)},
#define CONF_TEXT(name, letter, preset, value_name, help) \
	CONF_ROW(name, letter, TEXT, preset, NULL, NULL, NULL, value_name, help)
#define CONF_PATH(name, letter, preset, value_name, help) \
	CONF_ROW(name, letter, PATH, preset, NULL, NULL, NULL, value_name, help)
#define CONF_BOOL(name, letter, preset, help) CONF_ROW(name, letter, BOOL, preset, NULL, NULL, NULL, NULL, help)
#define CONF_INT(name, letter, preset, least, most, value_name, help) \
	CONF_ROW(name, letter, INT, preset, least, most, NULL, value_name, help)
#define CONF_SIZE(name, letter, preset, least, most, help) \
	CONF_ROW(name, letter, SIZE, preset, least, most, NULL, "SIZE", help)
#define CONF_TIME(name, letter, preset, least, most, help) \
	CONF_ROW(name, letter, TIME, preset, least, most, NULL, "TIME", help)
#define CONF_WORD(name, letter, preset, words, value_name, help) \
	CONF_ROW(name, letter, WORD, preset, NULL, NULL, words, value_name, help)
#define CONF_MANY(name, letter, value_name, help) CONF_ROW(name, letter, MANY, NULL, NULL, NULL, NULL, value_name, help)
#define CONF_PASTE_AGAIN(a, b) a##b
#define CONF_PASTE(a, b) CONF_PASTE_AGAIN(a, b)
static const struct conf_setting CONF_PASTE(CONF_STRUCT, _table)[] = {
#include CONF_FILE
};
#undef CONF_TEXT
#undef CONF_PATH
#undef CONF_BOOL
#undef CONF_INT
#undef CONF_SIZE
#undef CONF_TIME
#undef CONF_WORD
#undef CONF_MANY
#undef CONF_ROW
#undef CONF_PASTE
#undef CONF_PASTE_AGAIN
#undef CONF_STRUCT
#undef CONF_FILE
