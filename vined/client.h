/* SPDX-License-Identifier: Apache-2.0
 * Connections of clients.
 *
 * Files: client.c (connections, messages), client_check.c (what may be submitted), client_output.c (output); relay.h.
 *
 * Several connections may be attached to one run; each gets the results of what it submitted (driver_session.c). */
#ifndef VINED_CLIENT_H
#define VINED_CLIENT_H

#include "vined/driver_data.h"
#include "vined/driver_look.h"

struct clients {
	struct driver *driver;
	struct list all;
	size_t n;
	void (*on_query)(void *arg, struct conn *c, uint64_t id, const struct wire_query *q);
	void *arg;
};

void clients_init(struct clients *s, struct driver *d);
/* Takes over an open connection; call it in on_open. */
void clients_take(struct clients *s, struct conn *c, const struct wire_hello *peer, bool is_local);
/* Says BYE to all. */
void clients_close(struct clients *s, const char *reason);
void clients_fini(struct clients *s);

/* ---- client_check.c: 0, or an errno with `reason` */
int client_check_run(const char *name, char reason[256]);
int client_check_submit(const struct wire_submit *m, char reason[256]);

/* ---- client_output.c */
/* Answers READ_OUTPUT; what is under way is linked into `all` and ended by client_stop_outputs, or into `relays` (relay.h). */
void client_read_output(struct list *all, struct list *relays, struct driver *d, struct conn *c, uint64_t id,
			const struct wire_read_output *m);
void client_cancel_output(struct list *all, uint64_t id);
void client_stop_outputs(struct list *all);

#endif
