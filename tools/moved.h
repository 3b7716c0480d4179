/* SPDX-License-Identifier: Apache-2.0
 * Bytes that came to nodes, by whence they did: of the cluster, and of each tree. */
#ifndef TOOLS_MOVED_H
#define TOOLS_MOVED_H

#include "tools/tools.h"

struct vine;

/* "12.3 GiB from nodes, 614 MiB from sources (1.02 x of what was needed once), 0 from clients"; "": nothing has moved. Of a row of QUERY moved. */
const char *moved_text(const struct table *moved, char to[200]);
/* `vine tree bytes [NAME]`; the exit status. */
int moved_trees(const struct conf_table *t, const char *find, bool is_json);

#endif
