/* SPDX-License-Identifier: Apache-2.0
 * A submit that comes again because its answer was lost. The store knows each key; this is for one that would be refused before it
 * got there, though all of it is recorded: what it names may be forgotten since, or too much waits for the disk. */
#include "vined/driver_internal.h"

#define LOOKS_MOST 16 /* by key, each of which reads all that the run has */

static void on_found(void *arg, uint64_t id, uint64_t n)
{
	(void)n;
	*(uint64_t *)arg = id;
}

static bool has_key(const struct run *r, uint64_t id, const char *key)
{
	struct store_result e;
	struct store_task row;
	store_read_result(r->driver->o.store, id, &e, &row);
	return row.id == id && row.run == r->id && streq(row.key, key);
}

/* Tasks that were submitted together have numbers in a row, so most are found by that. 0: it is not recorded. */
static uint64_t find(const struct run *r, const char *key, uint64_t likely, unsigned *n_looks)
{
	uint64_t id = 0;
	if (likely && has_key(r, likely, key))
		return likely;
	if ((*n_looks)++ >= LOOKS_MOST)
		return 0;
	return store_find_tasks(r->driver->o.store, r->id, STORE_KEY, key, on_found, &id) < 0 ? 0 : id;
}

bool submit_again(struct run *r, const struct wire_submit *m, uint64_t session, struct promise *p)
{
	_free_ uint64_t *ids = xcalloc(m->tasks.n, sizeof *ids);
	uint64_t likely = 0;
	unsigned n_looks = 0;
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		const struct wire_task *t = &m->tasks.at[i];
		ids[i] = *t->key ? find(r, t->key, likely, &n_looks) : 0;
		if (!ids[i])
			return false;
		likely = ids[i] + max(t->array_n, UINT64_C(1));
	}
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		struct task *known = task_find(r->driver, ids[i]);
		if (known)
			task_reclaim(known, session);
	}
	promise_keep(p, WIRE_SUBMITTED, &(struct wire_submitted){.ids = {ids, m->tasks.n}});
	return true;
}
