/* SPDX-License-Identifier: Apache-2.0
 * The driver's face for what concerns bytes, settings and events. */
#ifndef VINED_DRIVER_DATA_H
#define VINED_DRIVER_DATA_H

#include "vined/driver.h"

/* ---- what nodes that joined say of items and trees */
void driver_replicas(struct node *n, const struct wire_replicas *m);
void driver_fetched(struct node *n, const struct wire_fetched *m);
void driver_hot(struct node *n, const struct wire_hot *m);

/* ---- what clients set; `r` NULL: of the cluster */
void driver_set(struct driver *d, struct run *r, const struct wire_set *m, struct promise *p);
void driver_forget(struct run *r, const struct wire_forget *m, struct promise *p);

/* ---- what happens, for whoever listens; r NULL: it is no run's. Not kept. */
void driver_on_event(struct driver *d, void (*on_event)(void *arg, const struct run *r, const struct wire_event *e),
		     void *arg);

/* A test's own, like loop_set_clock(). */
void driver_set_wall_clock(struct driver *d, uint64_t (*wall_clock)(void));

/* ---- looking in: `size_t i = 0; while (driver_next_x(d, &i, &x))` */
struct driver_item {
	uint64_t id, size, producer;
	const char *name, *run, *tree, *state;
	size_t n_replicas; /* nodes with all of it */
	uint32_t n_tasks;
};
bool driver_next_item(const struct driver *d, size_t *i, struct driver_item *out);

struct driver_replica {
	const char *node;
	uint64_t size, total;
};
/* Of one item's tree; returns how many. */
size_t driver_item_replicas(const struct driver *d, uint64_t item,
			    void (*on_replica)(void *, const struct driver_replica *), void *arg);

struct driver_category {
	const char *name, *run;
	uint64_t running, memory, disk;
	bool learns;
};
bool driver_next_category(const struct driver *d, size_t *i, struct driver_category *out);

/* Why a task waits, in parts and as a sentence. -ENOENT: it is not in memory. */
struct driver_why {
	char text[256];
	const char *state, *item, *node;
	uint64_t producer;
};
int driver_why(const struct driver *d, uint64_t task, struct driver_why *why);

#endif
