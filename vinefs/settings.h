/* SPDX-License-Identifier: Apache-2.0
 * The settings of vinefs as a struct, read and checked. */
#ifndef VINEFS_SETTINGS_H
#define VINEFS_SETTINGS_H

#include "common/conf.h"
#include "common/log.h"

extern const char *const tier_words[];
extern const char *const data_words[]; /* enum settings_data */
enum settings_data { DATA_TLS, DATA_PLAIN };

#define CONF_STRUCT settings
#define CONF_FILE "vinefs/settings.def"
#include "common/conf_struct.h"

/* Reads file, environment (VINEFS_NAME) and words, fills in what depends on the machine, makes paths absolute. -errno
 * after printing the one-line error. Answers --help and its like and exits. */
int settings_read(struct settings *s, int argc, char **argv);
/* Of one without a scheduler: on top of these, what STATE/work-for says since. 1: there is one now; 0: as before; -errno after printing why. */
int settings_find_work(struct settings *s);
/* No scheduler is wanted. */
bool settings_is_alone(const struct settings *s);
void settings_fini(struct settings *s);

#endif
