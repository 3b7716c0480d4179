/* SPDX-License-Identifier: Apache-2.0
 * What the door's files share. A job is a request that takes time; the end of its connection stops it, and it is freed once nobody else holds it. */
#ifndef VINEFS_DOOR_INTERNAL_H
#define VINEFS_DOOR_INTERNAL_H

#include "common/conn.h"
#include "common/wire.h"
#include "vinefs/door.h"

struct client {
	struct list link;
	struct door *door;
	struct conn *conn;
	struct list jobs;
};

struct job {
	struct list link;
	struct client *client; /* NULL: nobody waits for it any more */
	uint64_t id;           /* of the request */
	/* The client is gone or has changed his mind; the link is removed and `client` NULL by then. */
	void (*stop)(struct job *j);
};

struct door {
	struct door_settings settings;
	struct listener *listener;
	struct list clients;
	struct wire_hello hello;
	struct watch mounts; /* mount.sock */
	struct watch shells; /* shell.sock */
	struct list offers;
	struct list bound; /* large files of private mounts */
	uint64_t since_usec; /* wall clock */
};

/* ---- door.c */
void job_start(struct job *j, struct client *c, uint64_t id, void (*stop)(struct job *));
/* From here on it is nobody's. */
void job_end(struct job *j);
/* Answers the request, if somebody still waits. */
void job_reply(const struct job *j, uint16_t type, const void *message);
void job_fail(const struct job *j, int error, const char *fmt, ...) _printf_(3, 4);

/* In words that say what to do, for -errno of what looks for a tree or a path. */
const char *door_why_not_found(int error);

/* ---- one request each */
void door_seal(struct client *c, uint64_t id, const struct wire_seal *m);
void door_read_index(struct client *c, uint64_t id, const struct wire_read_index *m);
void door_read_blob(struct client *c, uint64_t id, const struct wire_read_blob *m);
void door_cache_list(struct client *c, uint64_t id, const struct wire_cache_list *m);
void door_cache_change(struct client *c, uint64_t id, const struct wire_cache_change *m);
void door_ask_why(struct client *c, uint64_t id, const struct wire_ask_why *m);
void door_ask_node(struct client *c, uint64_t id);
void door_node_upgrade(struct client *c, uint64_t id);
void door_mount_list(struct client *c, uint64_t id);

/* ---- door_mount.c */
int door_mounts_open(struct door *d);
void door_mounts_close(struct door *d);

/* ---- door_shell.c */
int door_shells_open(struct door *d);
void door_shells_close(struct door *d);

#endif
