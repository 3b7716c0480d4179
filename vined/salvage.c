/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/salvage.h"

#include "common/path.h"
#include "vined/store_salvage.h"

#include <stdio.h>
#include <unistd.h>

/* The first name that nothing has: PATH.damaged-1, -2, ... */
static char *find_name(const char *path)
{
	for (unsigned i = 1;; i++) {
		char *name = xasprintf("%s.damaged-%u", path, i);
		if (access(name, F_OK) < 0)
			return name;
		free(name);
	}
}

static int move(const char *from, const char *to, const char *suffix)
{
	_free_ char *a = xasprintf("%s%s", from, suffix), *b = xasprintf("%s%s", to, suffix);
	return rename(a, b) < 0 && errno != ENOENT ? -errno : 0;
}

/* The log goes first: without it the old one is still there, with what was folded back. */
static int replace(const char *path, const char *fresh, const char *old)
{
	_free_ char *shared = xasprintf("%s-shm", path);
	int r = move(path, old, "-wal");
	if (!r)
		r = move(path, old, "");
	unlink(shared);
	if (!r && rename(fresh, path) < 0)
		r = -errno;
	return r;
}

static void report(const struct store_salvaged *s, const char *old)
{
	for (size_t i = 0; i < s->n_tables; i++) {
		const struct store_salvaged_table *t = &s->tables[i];
		printf("%-9s %llu rows", t->name, (unsigned long long)t->n_rows);
		if (t->n_pages_lost)
			printf(", %llu pages of it are damaged", (unsigned long long)t->n_pages_lost);
		printf("\n");
	}
	printf("%llu of %llu pages are damaged; %llu rows on others could not be used\n",
	       (unsigned long long)s->n_damaged, (unsigned long long)s->n_pages, (unsigned long long)s->n_rows_lost);
	if (s->n_runs)
		printf("%llu runs lost their names: they are called salvaged-NUMBER now\n",
		       (unsigned long long)s->n_runs);
	if (s->n_held)
		printf("%llu tasks are held, for something of them is lost: see v_tasks, cancel and submit them "
		       "again\n",
		       (unsigned long long)s->n_held);
	if (s->is_cluster_lost)
		printf("the cluster's name is lost: nodes take this for another cluster until their state is "
		       "removed\n");
	printf("the old database is kept as %s\n", old);
}

int salvage(const char *state)
{
	_free_ char *path = path_join(state, "vined.db"), *fresh = path_join(state, "vined.db.salvaged");
	_free_ char *old = find_name(path), *fresh_log = xasprintf("%s-wal", fresh);
	struct store_salvaged s;
	struct conf_error e = {""};
	unlink(fresh);
	unlink(fresh_log);
	int r = store_salvage(path, fresh, &s, &e);
	if (r) {
		fprintf(stderr, "vined: %s\n", e.text);
		unlink(fresh);
		return r;
	}
	if (!s.n_damaged && !s.n_rows_lost) {
		unlink(fresh);
		printf("%s: nothing of it is damaged, so it stays as it is\n", path);
		return 0;
	}
	r = replace(path, fresh, old);
	if (r)
		fprintf(stderr, "vined: cannot replace %s: %s; what was salvaged is %s\n", path, strerror(-r), fresh);
	else
		report(&s, old);
	return r;
}
