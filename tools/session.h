/* SPDX-License-Identifier: Apache-2.0
 * How commands come to the cluster. 0, or the exit status after saying what is wrong. */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include "tools/tools.h"

struct vine;

/* There is work to be done; run NULL: of no run, or a new one. */
int session_work(const struct conf_table *t, const char *run, struct vine **v);
/* Only to look. */
int session_look(const struct conf_table *t, const char *run, struct vine **v);

/* Only what runs, and nothing is said: 0; -ENOENT: it is the user's own cluster, which is not up; or -errno of vine_open(). */
int session_peek(struct vine **v);

#endif
