/* SPDX-License-Identifier: Apache-2.0
 * The store's reading side: all at start, then single rows by primary key and bounded lists, on the loop's thread. */
#ifndef VINED_STORE_READ_H
#define VINED_STORE_READ_H

#include "vined/store.h"

/* Everything that is not over, at start: nodes, settings, then runs that have tasks, shapes, items that tasks which are not over name (and those
 * whose producer is recorded and that are not forgotten), then tasks with their bindings (those that ended last, in the order of their results).
 * Arrays come before their elements; of an array that is not all over every element that has begun or ended is told, also as STORE_DELIVERED; one
 * that is not told is queued. Settings are those of the cluster and of the runs told. What they point to is valid during the call. */
struct store_loader {
	void (*on_node)(void *arg, const struct store_node *n);
	void (*on_run)(void *arg, const struct store_run *r);
	void (*on_setting)(void *arg, uint64_t run, const char *name, const char *value);
	void (*on_shape)(void *arg, const struct store_shape *s);
	void (*on_item)(void *arg, const struct store_item *i);
	void (*on_task)(void *arg, const struct store_task *t);
	void *arg;
	uint64_t last_task, last_run, last_node, last_shape, last_item; /* set: the highest numbers ever given */
};
int store_load(struct store *s, struct store_loader *l);

/* A command or environment by its id. Borrowed; those of the last two calls stay valid. -ENOENT, -EIO ... */
int store_read_body(struct store *s, uint64_t id, struct wire_bytes *body);

/* Remembers a body that was just stored, so that reading it costs nothing. */
void store_remember_body(struct store *s, uint64_t id, const struct wire_bytes *body);

/* The result of a task, and all of the task but its bindings in *t if it is not NULL (of an element: its array's, with its own id and index).
 * Borrowed, until the next call. -ENOENT: it has none (*t is filled if there is such a task: t->id). */
int store_read_result(struct store *s, uint64_t task, struct store_result *r, struct store_task *t);

/* The bindings of a task, in order, with the items' texts; of an element: its array's, as patterns. Borrowed until the next call. */
int store_read_bindings(struct store *s, uint64_t task, const struct store_binding **at, size_t *n);

/* One that was not told by loading. -ENOENT. Borrowed until the next call. */
int store_read_item(struct store *s, uint64_t id, struct store_item *i);
int store_read_shape(struct store *s, uint64_t id, struct store_shape *shape);

/* The settings of a run that was not told by loading. */
int store_read_settings(struct store *s, uint64_t run,
			void (*on_setting)(void *arg, uint64_t run, const char *name, const char *value), void *arg);

/* A run by its name; r->name is the caller's. -ENOENT. */
int store_find_run(struct store *s, const char *name, struct store_run *r);

/* Many small questions in a row are asked of one snapshot, which spares each its locks; to be ended before anything is waited for. */
void store_look(struct store *s, bool is_begun);

/* Rows for people, newest first. Each returns how many were told, or -errno. */
struct store_row {
	uint64_t id, run, attempts;
	const char *name, *tag, *node, *reason; /* name: of the run */
	enum store_state state;
	uint8_t how;
	uint32_t status;
	int64_t at_usec, started_usec;
	const char *word; /* its key, or an element's index: what it is called within its run */
	uint8_t exceeded;
	uint64_t err_size, wall_usec;
	uint64_t local_size, moved_size, peer_size, source_size, client_size; /* of its inputs, as in a result */
};
typedef void (*store_on_row)(void *arg, const struct store_row *row);
/* Of one task, of one run, or (both 0) of all. */
int store_list_tasks(struct store *s, uint64_t task, uint64_t run, uint32_t most, store_on_row on_row, void *arg);
int store_list_runs(struct store *s, uint64_t run, uint32_t most, store_on_row on_row, void *arg);

/* The tasks of a run that have this tag or key, over or not; an array with how many elements it has (a task: 1). Reads all the run has. */
enum store_word { STORE_TAG, STORE_KEY };
int store_find_tasks(struct store *s, uint64_t run, enum store_word which, const char *word,
		     void (*on_task)(void *arg, uint64_t id, uint64_t n), void *arg);

/* What a task is called within its run: a key, else the index of an array's element (of the newest such array). -ENOENT. */
int store_find_task(struct store *s, uint64_t run, const char *word, uint64_t *id);

/* How those that are over ended; run 0: of all. Read one by one. */
enum store_end { STORE_END_GOOD = 1, STORE_END_FAILED, STORE_END_CANCELLED, STORE_ENDS };
int store_list_ended(struct store *s, uint64_t run, enum store_end which, uint32_t most,
		     void (*on_task)(void *arg, uint64_t id), void *arg);
/* Of one task, or of a run: added up. `worst`: the largest exit status, as `vine run` would end. */
struct store_ends {
	uint64_t n[STORE_ENDS];
	uint32_t worst;
};
int store_count_ended(struct store *s, uint64_t task, uint64_t run, struct store_ends *e);

#endif
