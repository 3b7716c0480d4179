/* SPDX-License-Identifier: Apache-2.0
 * Makes `struct CONF_STRUCT` from the settings listed in CONF_FILE; conf.h shows how. No guard: a file may
 * include it once for each list. */
#include "common/conf.h"

#define CONF_TEXT(name, letter, preset, value_name, help) char *name;
#define CONF_PATH(name, letter, preset, value_name, help) char *name;
#define CONF_BOOL(name, letter, preset, help) bool name;
#define CONF_INT(name, letter, preset, least, most, value_name, help) int64_t name;
#define CONF_SIZE(name, letter, preset, least, most, help) uint64_t name;
#define CONF_TIME(name, letter, preset, least, most, help) uint64_t name;
#define CONF_WORD(name, letter, preset, words, value_name, help) int name;
#define CONF_MANY(name, letter, value_name, help) struct conf_many name;
struct CONF_STRUCT {
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
#undef CONF_STRUCT
#undef CONF_FILE
