/* SPDX-License-Identifier: Apache-2.0
 * Connections of nodes: what they say goes to the driver. */
#ifndef VINED_NODE_H
#define VINED_NODE_H

#include "vined/driver_look.h"

struct nodes {
	struct driver *driver;
	struct list all;
};

void nodes_init(struct nodes *s, struct driver *d);
/* Takes over an open connection; call it in on_open. */
void nodes_take(struct nodes *s, struct conn *c, const struct wire_hello *peer);
/* Says BYE to all; is_final: they end, too. */
void nodes_close(struct nodes *s, const char *reason, bool is_final);
void nodes_fini(struct nodes *s);

#endif
