/* SPDX-License-Identifier: Apache-2.0
 * A fetch over a cache in the test's own directory, whose source can be counted and made to stall. */
#ifndef UNIT_FETCH_WORLD_H
#define UNIT_FETCH_WORLD_H

#include "tests/unit/cache_world.h"
#include "vinefs/fetch/fetch.h"

#include <pthread.h>

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t change;
	const char *closed; /* reads below this root wait; NULL: none */
	unsigned n_reads, n_waiting, n_most;
	uint64_t size;
};

struct fetch_world {
	struct loop *loop;
	struct cache *cache;
	struct fetch *fetch;
	struct gate gate;
	struct fetch_files files;
	char *roots[1024]; /* by descriptor */
	char *directory;
	uint64_t later_usec; /* added to the loop's clock */
	uint64_t still_usec; /* which stands still there, if not 0 */
	uint64_t n_progress, n_read;
	char *text; /* the last sealing's first line */
};

void fetch_world_open(struct fetch_world *w, const char *name, struct cache_settings cs, struct fetch_settings fs);
/* With the filesystem itself as its source. */
void fetch_world_open_real(struct fetch_world *w, const char *name, struct cache_settings cs, struct fetch_settings fs);
/* Everything but the directory. */
void fetch_world_close(struct fetch_world *w);
/* From here on only later_usec is time: nobody is late, however busy the machine is. */
void fetch_world_stand_still(struct fetch_world *w);
void fetch_world_gate(struct fetch_world *w, const char *root); /* NULL: open */
unsigned fetch_world_n_reads(struct fetch_world *w);
uint64_t fetch_world_size(struct fetch_world *w); /* bytes read of it */
unsigned fetch_world_n_waiting(struct fetch_world *w);

/* Makes turns until *flag; fails the test if that does not come. */
void fetch_world_until(struct fetch_world *w, const bool *flag);
void fetch_world_turn(struct fetch_world *w);

int fetch_world_seal(struct fetch_world *w, const char *path, const char *name, bool is_refresh, struct digest *id);
struct fetch_tree *fetch_world_tree(struct fetch_world *w, const struct digest *id);
ssize_t fetch_world_read(struct fetch_world *w, struct fetch_tree *t, uint32_t node, uint64_t offset, void *p,
			 uint32_t n);
/* A whole file: its size or -errno; compared with what is there. */
ssize_t fetch_world_check(struct fetch_world *w, struct fetch_tree *t, const char *node, const char *path);
char *fetch_world_why(struct fetch_tree *t, const char *node);
/* Makes turns until nothing of the tree is on the way: the chunks of one read fail one after the other, each the tree's last failure. */
void fetch_world_settle(struct fetch_world *w, struct fetch_tree *t, const char *node);
/* Waits until nobody has it open. */
void fetch_world_evict(struct fetch_world *w, const struct digest *id);

#endif
