/* SPDX-License-Identifier: Apache-2.0
 * Rows for a report, in the order of numbers and by pages, also of runs that are in archive.sqlite. Each page reads a bounded number of rows by
 * their keys, so that it costs the loop some milliseconds however many there are. What moves to the archive between two pages is told once. */
#ifndef VINED_STORE_REPORT_H
#define VINED_STORE_REPORT_H

#include "vined/store_read.h"

/* Where the next page begins; all zero: at the beginning. */
struct store_report_at {
	uint64_t from; /* a task's number, or a binding's */
	bool is_over;
};

/* Texts are valid during the call. Times are 0 if there is none. */
struct store_report_task {
	struct store_row
		row; /* id, name (of the run), word, tag, node, reason, state, how, status, attempts, times, exceeded, wall_usec */
	const char *category;
	int64_t ended_usec;
	uint64_t cpu_usec, peak_memory, peak_disk, memory, disk, cores, gpus, local_size, moved_size, peer_size,
		source_size, client_size;
};

/* Of a run (0: of all), at most `most` tasks. 0 or -errno, and what was told counts for nothing: -EBUSY, ask again; *at is moved on. A page may be empty without being the last. */
int store_report_tasks(struct store *s, uint64_t run, struct store_report_at *at, uint32_t most,
		       void (*on_task)(void *arg, const struct store_report_task *t), void *arg);

/* What tasks read, added up within the page of at most `most` bindings; an array's counts for each of its elements. */
struct store_report_input {
	const char *name;
	uint64_t size, n_tasks; /* size 0: not known */
};
int store_report_inputs(struct store *s, uint64_t run, struct store_report_at *at, uint32_t most,
			void (*on_input)(void *arg, const struct store_report_input *i), void *arg);

#endif
