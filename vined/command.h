/* SPDX-License-Identifier: Apache-2.0
 * Rows for people: what QUERY asks is a table here; a new question is a line and a function. */
#ifndef VINED_COMMAND_H
#define VINED_COMMAND_H

#include "vined/driver_look.h"

struct command {
	struct driver *driver;
	const char *name, *address, *socket, *state;
	uint64_t started_usec; /* on the loop's clock */
	struct loop *loop;
	const size_t *n_clients;
};

/* Answers QUERY with ROWS, or STATUS naming what is wrong. */
void command_query(struct command *m, struct conn *c, uint64_t id, const struct wire_query *q);

#endif
