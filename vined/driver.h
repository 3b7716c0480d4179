/* SPDX-License-Identifier: Apache-2.0
 * Between store, core and connections: turns rows and messages into events of the core, and the core's actions into operations of
 * the store and messages to nodes. The only caller of core.
 *
 * Files: driver.c (the turn, the core's actions), driver_load.c (restart), driver_past.c (outputs after it), driver_node.c (nodes),
 * driver_fetch.c (bytes on their way), driver_tree.c (trees and who has them), driver_hold.c (what must not be evicted), driver_offer.c (trees that clients have), driver_stage.c (trees that people want on nodes), driver_leave.c (nodes that go), driver_profile.c (what is read first of trees), driver_item.c (items by name), driver_keep.c (outputs at shared paths), driver_run.c (runs and
 * what clients ask), driver_submit.c, driver_shape.c (what tasks ask for), driver_task.c, driver_start.c, driver_result.c (results),
 * driver_deadline.c, driver_session.c (whose results they are), driver_over.c (who waits for the end), driver_set.c (settings), driver_forget.c, driver_why.c (why a task waits),
 * driver_event.c, driver_flow.c (what comes to nodes, from whom). promise.h: requests that wait for a commit.
 *
 * 1. A task enters the core after its commit; a result leaves for its client, and is acknowledged to its node, after its own.
 * 2. Dispatches are recorded by the next commit and not waited for: an unrecorded one that survives a crash is adopted.
 * 3. In memory are only tasks without an acknowledged result, as numbers; what they run is read from the store before START.
 * 4. What was submitted under a key or by a name is refused or taken as a whole; nothing half-submitted is in memory or core.
 *
 * One thread: the loop's. */
#ifndef VINED_DRIVER_H
#define VINED_DRIVER_H

#include "common/conn.h"
#include "vined/promise.h"
#include "vined/store_read.h"

struct driver;
struct run;  /* owned by the driver, alive as long as someone is attached or a task of it is not acknowledged */
struct node; /* the same, for ever */

struct driver_options {
	struct loop *loop;
	struct store *store;
	uint64_t node_timeout_usec, client_timeout_usec, grace_usec;
	unsigned crash_limit;
};

struct driver *driver_new(const struct driver_options *o);
void driver_free(struct driver *d);
DEFINE_FREEP(struct driver, driver_free)

/* Reads what the store holds; before store_start. 0 or -errno. */
int driver_load(struct driver *d);
/* Decides and commits at the end of each turn from here on. */
void driver_start(struct driver *d);

/* ---- clients. All texts were checked by the caller. */

/* Finds or makes the run and answers ATTACHED when it is stored. If results are wanted, `c` gets from then on those of what
 * `session` submitted, and what is nobody's. Returns it with a hold on it, to be given back by driver_detach, or NULL after answering. */
struct run *driver_attach(struct driver *d, const struct wire_attach *a, uint64_t session, struct conn *c,
			  struct promise *p);
/* may_return: its results are kept a little while for the same session. */
void driver_detach(struct run *r, const struct conn *c, bool may_return);
const char *driver_run_name(const struct run *r);
/* Sends what waits; call it when the connection has room again. */
void driver_push(struct run *r);

void driver_submit(struct run *r, const struct wire_submit *s, uint64_t session, struct promise *p);
/* Only what is the session's own, or nobody's. */
void driver_done(struct driver *d, const struct wire_u64s *tasks, uint64_t session, struct promise *p);
/* "MICROSECONDS RUN" or "MICROSECONDS TASK": a row with "yes" when it is over, or "no" when it is not after so long (at most 20 s). */
void driver_await(struct driver *d, const char *selector, struct promise *p);
void driver_abandon(struct run *r, const struct wire_abandon *m, struct promise *p);

#endif
