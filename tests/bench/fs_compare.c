/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"
#include "tests/bench/fs_world.h"

struct pairs {
	unsigned n;
	double native[FS_PAIRS_MOST], mounted[FS_PAIRS_MOST];
};

/* What is over soon is measured more often. */
#define SHORT_USEC 300000

static double time_one(struct fs_agent *a, const struct fs_compare *c, bool is_mounted, const char *tree)
{
	if (c->when == FS_COLD)
		fs_drop_caches();
	return fs_ask(a, c->work, c->n, c->m, is_mounted ? a->directory : tree);
}

static struct fs_agent *enter(const struct fs_world *w, const struct fs_compare *c, enum fs_user user, enum fs_way way,
			      const char *tree)
{
	struct fs_agent *a = fs_agent_new(w, user, way, tree, false);
	if (c->has_bound)
		fs_ask(a, "expect-bound", way != FS_PLAIN, 0, a->directory);
	return a;
}

/* In one mount: a round that does not count, then the pairs. */
static void pair_in_one(const struct fs_world *w, const struct fs_compare *c, enum fs_user user, enum fs_way way,
			struct pairs *p)
{
	struct fs_agent *a = enter(w, c, user, way, c->tree);
	double usec = fs_ask(a, c->work, c->n, c->m, c->tree);
	fs_ask(a, c->work, c->n, c->m, a->directory);
	p->n = c->when == FS_AGAIN && usec < SHORT_USEC && !w->is_quick ? FS_PAIRS_MOST : w->n_pairs;
	for (unsigned i = 0; i < p->n; i++) {
		p->native[i] = time_one(a, c, false, c->tree);
		p->mounted[i] = time_one(a, c, true, NULL);
	}
	fs_agent_free(a);
}

/* A mount for each pair. Only the mounted side is met for the first time: native is warm. */
static void pair_in_many(const struct fs_world *w, const struct fs_compare *c, enum fs_user user, enum fs_way way,
			 struct pairs *p)
{
	if (c->when == FS_ATTACHED) {
		struct fs_agent *a = enter(w, c, user, way, c->tree);
		fs_ask(a, c->work, c->n, c->m, a->directory);
		fs_agent_free(a);
	}
	p->n = w->n_pairs;
	for (unsigned i = 0; i < p->n; i++) {
		_free_ char *tree =
			c->when == FS_UNSEEN ? xasprintf("%s/%u", c->tree, way * w->n_pairs + i) : xstrdup(c->tree);
		struct fs_agent *a = enter(w, c, user, way, tree);
		fs_ask(a, c->work, c->n, c->m, tree);
		p->native[i] = time_one(a, c, false, tree);
		p->mounted[i] = time_one(a, c, true, NULL);
		fs_agent_free(a);
	}
}

double fs_report(struct fs_world *w, const char *what, const char *where, double *native, double *other, unsigned n,
		 unsigned n_steps)
{
	double ratio[FS_PAIRS_MOST];
	assert(n > 0 && n <= FS_PAIRS_MOST && n_steps > 0);
	for (unsigned i = 0; i < n; i++) {
		native[i] /= n_steps;
		other[i] /= n_steps;
		ratio[i] = other[i] / native[i];
	}
	struct spread a = spread_of(native, n), b = spread_of(other, n), r = spread_of(ratio, n);
	printf("%-38s %-14s native %10.2f us (%.2f .. %.2f), mount %10.2f us (%.2f .. %.2f), ratio %.3f (%.3f .. "
	       "%.3f)\n",
	       what, where, a.median, a.low, a.high, b.median, b.low, b.high, r.median, r.low, r.high);
	fflush(stdout);
	fflush(w->details);
	fprintf(w->details,
		"%s\"%s, %s\":{\"native_usec\":[%.6g,%.6g,%.6g],\"mount_usec\":[%.6g,%.6g,%.6g],\"ratio\":[%.4g,%.4g,"
		"%.4g]}",
		w->n_details ? "," : "", what, where, a.median, a.low, a.high, b.median, b.low, b.high, r.median, r.low,
		r.high);
	return r.median;
}

double fs_compare(struct fs_world *w, const struct fs_compare *c)
{
	double worst = 0;
	assert(c->work && c->tree && c->n_steps > 0);
	for (enum fs_way way = FS_VIEW; way < FS_WAYS; way++) {
		for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
			struct pairs p;
			bool is_one = c->when == FS_AGAIN || c->when == FS_COLD;
			(is_one ? pair_in_one : pair_in_many)(w, c, user, way, &p);
			double ratio =
				fs_report(w, c->what, fs_place_name(user, way), p.native, p.mounted, p.n, c->n_steps);
			if (way == FS_VIEW)
				worst = max(worst, ratio);
		}
	}
	return worst;
}

void fs_end(struct fs_world *w, double value, const char *unit, const char *target)
{
	fflush(w->details);
	assert(w->n_details > 0);
	bench_end(w->name, value, unit, target, "%s", w->details_text);
}
