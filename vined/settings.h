/* SPDX-License-Identifier: Apache-2.0
 * The settings of vined as a struct, read and checked. */
#ifndef VINED_SETTINGS_H
#define VINED_SETTINGS_H

#include "common/conf.h"

#define CONF_STRUCT settings
#define CONF_FILE "vined/settings.def"
#include "common/conf_struct.h"

/* Reads file, environment (VINED_NAME) and words, fills in what depends on the machine, makes paths absolute. -errno
 * after printing the one-line error. Answers --help and its like and exits. */
int settings_read(struct settings *s, int argc, char **argv);
void settings_fini(struct settings *s);

#endif
