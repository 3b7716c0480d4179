/* SPDX-License-Identifier: Apache-2.0
 * Why a path is slow, missing or changed: what this machine's node knows of its bytes, what the cluster's tasks declare of it, what is here. */
#ifndef TOOLS_WHY_PATH_H
#define TOOLS_WHY_PATH_H

#include "tools/tools.h"

/* Prints it. Returns the exit status, after saying what is wrong. The name of a tree is one, too. */
int why_path(const struct conf_table *t, bool is_json, const char *what);

#endif
