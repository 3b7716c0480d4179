/* SPDX-License-Identifier: Apache-2.0
 * The driver's face for nodes' connections, and what there is to see. */
#ifndef VINED_DRIVER_LOOK_H
#define VINED_DRIVER_LOOK_H

#include "vined/driver.h"

/* A node joins over `c`: what it still answers for is adopted or fenced, what it does not know runs again. NULL with `reason` if it may not:
 * another process with the same node id is connected. */
struct node *driver_join(struct driver *d, struct conn *c, const char *name, uint64_t instance,
			 const struct wire_join *j, char reason[256]);
void driver_leave(struct node *n, const struct conn *c);
/* Whether it has this id. It may JOIN again over its connection, with another offer; as another node it may not. */
bool driver_is_node(const struct node *n, const char *uuid);
void driver_ended(struct node *n, const struct wire_ended *e, struct promise *p);
/* Its connection has room again. */
void driver_node_room(struct node *n);

struct driver_numbers {
	uint64_t queued, running, held, ended; /* ended: not acknowledged yet */
	uint64_t nodes, cores, cores_free, runs;
	uint64_t tokens; /* fetches that may read a source just now */
};
void driver_numbers(const struct driver *d, struct driver_numbers *n);

struct driver_node {
	const char *name, *uuid, *tier, *address, *kernel;
	const char *resting; /* why it is given no tasks though it is connected; NULL: it is */
	bool is_connected;
	uint32_t cores, task_limit;
	uint64_t memory, n_running;
	uint32_t gpus;
	uint64_t disk, n_replicas;
	bool has_data;
	const char *health; /* what is held against it; NULL: nothing */
};
/* `size_t i = 0; while (driver_next_node(d, &i, &n))`. */
bool driver_next_node(const struct driver *d, size_t *i, struct driver_node *n);

/* Why it does not run; "" when it does or is over. */
void driver_reason(const struct driver *d, uint64_t task, char reason[256]);
/* A run in memory by name, else by the store. 0: there is none. */
uint64_t driver_find_run(struct driver *d, const char *name, size_t *n_unfinished, size_t *n_ended);

/* Where the output of a task's attempt lies (0: the one that counted or runs). 0: on the node of *c (which is connected); 1: the whole of it is in *head,
 * valid until the next call into the driver; else -errno with `reason`. *attempt is set. */
int driver_find_output(struct driver *d, uint64_t task, uint64_t *attempt, uint8_t which, struct conn **c,
		       struct wire_bytes *head, char reason[256]);
/* How long what its tasks leave is kept, as vine_set() has it; "" of a run that is not in memory: nothing of it is left to be done or acknowledged. */
const char *driver_run_lifetime(const struct driver *d, const char *name);

struct store *driver_store(const struct driver *d);

/* ---- driver_count.c: tasks that are not over, of a run by its number (0: of all) */
struct driver_counts {
	uint64_t waiting, running, held;
};
void driver_count(const struct driver *d, uint64_t run, struct driver_counts *n);
/* Up to `most` of them, those that run first if they are asked for; looks at a bounded number of others. What is being cancelled does not wait. */
enum driver_live { DRIVER_RUNNING = 1, DRIVER_WAITING = 2, DRIVER_HELD = 4 };
void driver_list(const struct driver *d, uint64_t run, unsigned which, size_t most,
		 void (*on_task)(void *arg, uint64_t id), void *arg);

#endif
