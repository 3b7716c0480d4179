/* SPDX-License-Identifier: Apache-2.0
 * The driver's face for what concerns bytes, settings and events. */
#ifndef VINED_DRIVER_DATA_H
#define VINED_DRIVER_DATA_H

#include "vined/driver.h"

/* ---- what nodes that joined say of items and trees */
void driver_replicas(struct node *n, const struct wire_replicas *m);
void driver_fetched(struct node *n, const struct wire_fetched *m);
void driver_hot(struct node *n, const struct wire_hot *m);
/* n could not get a tree from another one, or not as it should be. */
void driver_peer_bad(struct node *n, const struct wire_peer_bad *m);

/* Answers when it is committed, or why it may not. */
void driver_keep(struct node *n, const struct wire_keep *m, struct promise *p);

/* ---- trees that clients have or want. One connection's calls name it: `client`. */
/* Finds a node for it; the promise is answered when one has all of it, or none will. */
void driver_offer(struct driver *d, struct conn *client, uint64_t id, const struct wire_offer *m, struct promise *p);
void driver_offer_cancel(struct driver *d, const struct conn *client, uint64_t id);
/* The client is gone. */
void driver_offer_leave(struct driver *d, const struct conn *client);
/* Who offers it, and bytes of it come; NULL: nobody. */
struct conn *driver_find_offerer(struct driver *d, const struct digest *tree);
void driver_offer_moves(void *driver, const struct digest *tree);
/* A node that has all of it. 0, or -errno with the reason. */
int driver_find_holder(const struct driver *d, const struct digest *tree, struct conn **c, char reason[256]);

/* ---- driver_stage.c: trees on nodes that no task asks for */
/* r NULL: of what is no run's. */
void driver_stage(struct driver *d, struct run *r, const struct wire_stage *m, struct promise *p);
struct driver_staged {
	const char *item, *run, *tree, *node;
	const char *state; /* there, coming, waits, evicted, away or cannot */
	const char *reason;
	uint64_t size, total;
	bool is_pinned, is_for_all;
};
/* Of each wish for this item ("": all) and each node that is meant. */
void driver_staged(const struct driver *d, const char *name, bool (*on_row)(void *arg, const struct driver_staged *r),
		   void *arg);

/* ---- driver_profile.c */
void driver_hot_set(struct node *n, const struct wire_hot_set *m);

/* ---- driver_leave.c: nodes that go */
/* What it speaks, of one that has joined just now. */
void driver_node_speaks(struct node *n, uint32_t minor);
void driver_leaving(struct node *n, const struct wire_leaving *m, struct promise *p);
/* It closes its connection in order, before driver_leave(): if it said that it ends, what it was given and did not report is not waited for, nor charged. */
void driver_node_ended(struct node *n, const struct conn *c);
void driver_change_node(struct driver *d, const struct wire_change_node *m, struct promise *p);

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
/* Those of this name that runs' tasks make, without a look at all there are. */
bool driver_next_made(const struct driver *d, size_t *i, const char *name, struct driver_item *out);

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

/* ---- driver_where.c: what a task would find that nobody has submitted yet */
struct driver_wish {
	uint64_t cores, memory, disk, gpus; /* 0: any, of cores one */
	const char *features[16], *items[64];
	size_t n_features, n_items;
};

enum driver_could { DRIVER_COULD_NOW, DRIVER_COULD_LATER, DRIVER_COULD_NOT };
struct driver_place {
	const char *node;
	enum driver_could could;
	char reason[160]; /* unless now */
	uint64_t cores_free, n_running;
	uint64_t n_there, size_there; /* of the items: those that it has whole, and bytes it has of them */
};
/* Of each node that is connected. The items are those that vined knows at that moment: what a task that is not over names, temps, and trees. */
void driver_where(const struct driver *d, const struct driver_wish *w,
		  bool (*on_place)(void *arg, const struct driver_place *p), void *arg);

/* Why a task waits, in parts and as a sentence. -ENOENT: it is not in memory. */
struct driver_why {
	char text[256], cure[256]; /* cure: what to do; "": to wait */
	const char *state, *item, *node;
	uint64_t producer;
};
int driver_why(const struct driver *d, uint64_t task, struct driver_why *why);

#endif
