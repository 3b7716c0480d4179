/* SPDX-License-Identifier: Apache-2.0
 * Where a task's view is, if not here: the host and what to type. */
#ifndef TOOLS_SHELL_WHERE_H
#define TOOLS_SHELL_WHERE_H

#include "common/buf.h"

struct shell_place {
	const char *task, *node;
	const char *uuid, *address; /* of the node, as vined says them: "HOST:PORT (node NAME)"; "": not known */
	const char *cluster;        /* VINE: HOST:PORT, a path or a name; NULL: not set */
	const char *state;          /* this machine's node's directory */
	bool is_running;
};

/* Appends what a person is told. `command` follows in the line that is to be typed; NULL-terminated, may be empty. */
void shell_say_where(const struct shell_place *p, char *const *command, struct buf *out);

#endif
