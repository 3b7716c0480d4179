/* SPDX-License-Identifier: Apache-2.0
 * What the host has at the paths that tasks declare. It may lie on a filesystem that does not answer, so it is looked at in the pool of
 * fetch/, and what was seen is good for a while. */
#ifndef RUN_HOST_H
#define RUN_HOST_H

#include "common/list.h"
#include "common/loop.h"
#include "common/map.h"
#include "vinefs/fetch/fetch.h"

#define HOST_GOOD_USEC 10000000u
#define HOST_PATIENCE_USEC 30000000u /* for a path that does not answer */
#define HOST_MOST 4096u              /* answers remembered */

struct host {
	struct loop *loop;
	struct fetch *fetch; /* NULL: looked at on the spot */
	struct map answers;  /* by path */
	struct list questions, looks;
};

struct host_answer {
	char *path;
	char *base;        /* the longest part of it that is there, links followed */
	const char *rest;  /* what is lacking below that, within `path`; "": nothing */
	bool is_directory; /* what `base` is */
	uint64_t until_usec;
};

/* The caller's, zeroed before. */
struct host_question {
	/* All are known: host_get() has them. Or -ETIMEDOUT: `path` does not answer. Later than the call that asked. */
	void (*on_done)(struct host_question *q, int error, const char *path);
	/* private */
	struct list link;
	struct host *host;
	struct look *look;
	struct timer timer;
};

void host_init(struct host *h, struct loop *l, struct fetch *f);
/* Questions that are open hear nothing more. */
void host_fini(struct host *h);

/* What lies at an absolute path; borrowed until the loop's next turn. NULL: ask first. */
const struct host_answer *host_get(struct host *h, const char *path);
/* False if all of them are known. The paths are borrowed for the call. */
bool host_ask(struct host *h, struct host_question *q, const char *const *paths, size_t n);
/* The caller hears nothing more. Safe on one that was never asked. */
void host_stop(struct host_question *q);
/* What is mounted below a directory of the host, the uppermost of each, but for what lies in `except`: ends in NULL, the caller's with its texts. */
char **host_mounts_below(const char *directory, const char *except);
/* Something was not as it had been seen. */
void host_forget(struct host *h);

#endif
