/* SPDX-License-Identifier: Apache-2.0
 * A path that becomes a tree. Private to sealing.c (the loop: its callers, its turn, its end) and sealing_run.c (threads of the pool: walk, read, store). */
#ifndef FETCH_SEALING_H
#define FETCH_SEALING_H

#include "vinefs/fetch/internal.h"

struct sealing {
	struct list link;
	struct fetch *fetch;
	struct list callers;
	char *path;
	bool is_refresh, is_cancelled, is_ended; /* cancelled: atomic. Ended: nobody can join */
	bool has_names;
	/* ---- beside others of its path, which end in the order in which they were asked for */
	bool is_put;    /* the pool has it */
	bool is_begun;  /* it looks at the path; who comes from now on needs another look. Atomic */
	bool is_behind; /* locked: an earlier one has not ended, and this one reads no content yet */
	pthread_cond_t change;
	uint64_t moved_usec;       /* the loop saw it get on */
	struct seal_progress seen; /* then */
	uint64_t told_size;        /* of what it has read, fetch_on_read() was told this */
	struct record record;      /* what it will have been */
	struct record before;      /* what it was the last time; of kind AUTO: nothing that is worth knowing */
	struct pool_job job;
	struct cache_sealing *store;
	struct seal_report errors, notes;
	int error;
	int store_error; /* the first of the cache's; atomic */
	char *text;      /* of `sources` */
	size_t n_text;
	/* ---- from the pool's threads to the loop */
	pthread_mutex_t lock;
	struct seal_progress progress;
	struct tree *names; /* until they are a draft */
	struct signature *signatures;
	struct seal_report names_notes; /* of the walk */
	struct post post;
	bool is_posted;
	/* ---- a draft of it */
	struct draft *draft;  /* set once, by the loop; threads look at it */
	bool is_reading;      /* some content is not remembered; atomic */
	bool is_draft_wanted; /* by its first caller; others get what there is */
	bool is_handed_out;   /* it goes on to its end, whoever leaves */
	bool is_left;         /* its names alone are wanted */
	struct seal_store inner, store_of_draft;
};

/* ---- sealing_run.c: pool, and its own threads */

void sealing_run(struct pool_job *j);
/* Writes down what became of it. */
void sealing_save(struct pool_job *j);
/* Any, locked. True if the caller is to post `post`: the loop is to look. */
bool sealing_is_post_due(struct sealing *s);

#endif
