/* SPDX-License-Identifier: Apache-2.0
 * TARGETS fs-*: a task's inputs in its view, and `vine mount` in a private mount and in a plain one, beside the native filesystem, as root and as an ordinary user. One
 * program under the names of its benchmarks (bench_fs_walk, or `bench_fs fs-walk`): a new one is a line of `benches` below, with its link's name in
 * Makefile.am. The last line is of the view, of root and user the worse. VINE_BENCH_QUICK=1: a small form that is no result. */
#include "tests/bench/bench_fs.h"
#include "common/path.h"
#include "tests/bench/bench.h"

/* ---- small files */

enum { SMALL_FILES = 10000, REAL_SMALL_FILES = 50000 };

static char *make_small(const struct fs_world *w, unsigned n_trees)
{
	char *native = path_join(w->directory, "native");
	printf("making %u times %u small files\n", n_trees, fs_scaled(w, SMALL_FILES));
	fflush(stdout);
	for (unsigned i = 0; i < n_trees; i++) {
		_free_ char *root = n_trees > 1 ? xasprintf("%s/%u", native, i) : xstrdup(native);
		fs_make_files(root, fs_scaled(w, SMALL_FILES), i);
	}
	return native;
}

static char *make_real(const struct fs_world *w, unsigned *n_small)
{
	char *native = path_join(w->directory, "native");
	*n_small = fs_scaled(w, REAL_SMALL_FILES);
	printf("making %u files, %u of them small\n", fs_all_files(*n_small), *n_small);
	fflush(stdout);
	uint64_t size = fs_make_real(native, *n_small);
	printf("they have %.2f GB\n", (double)size / 1e9);
	return native;
}

static void bench_small_warm(struct fs_world *w)
{
	_free_ char *native = make_small(w, 1);
	unsigned n = fs_scaled(w, SMALL_FILES);
	struct fs_compare c = {
		.what = "open, read, close by 1 thread", .work = "read", .n = 1, .m = n, .n_steps = n, .tree = native};
	double one = fs_compare(w, &c);
	c.what = "open, read, close by 8 threads";
	c.n = 8;
	fs_compare(w, &c);
	fs_end(w, one, "x native", "1.25; 8 threads 1.10");
}

static void bench_small_first(struct fs_world *w)
{
	_free_ char *native = make_small(w, FS_WAYS * w->n_pairs);
	unsigned n = fs_scaled(w, SMALL_FILES);
	const struct fs_compare c = {.what = "first visit in random order",
				     .work = "read",
				     .n = 1,
				     .m = n,
				     .n_steps = n,
				     .tree = native,
				     .when = FS_UNSEEN};
	fs_end(w, fs_compare(w, &c), "x native", "8");
}

static void bench_small_cold(struct fs_world *w)
{
	unsigned n_small, n_random = fs_scaled(w, SMALL_FILES);
	_free_ char *native = make_real(w, &n_small);
	struct fs_compare c = {.what = "small files in tree order, dropped",
			       .work = "read-in-order",
			       .n = n_small,
			       .m = n_small,
			       .n_steps = n_small,
			       .tree = native,
			       .when = FS_COLD};
	double in_order = fs_compare(w, &c);
	c.what = "10,000 of them at random, dropped";
	c.work = "read-at-random";
	c.n = c.n_steps = n_random;
	fs_compare(w, &c);
	fs_end(w, in_order, "x native", "0.40; 10,000 in random order 1.00");
}

/* ---- names */

static void bench_walk(struct fs_world *w)
{
	unsigned n_small;
	_free_ char *native = make_real(w, &n_small);
	struct fs_compare c = {.what = "find and stat again", .work = "walk", .tree = native};
	c.n = c.n_steps = fs_all_files(n_small);
	double again = fs_compare(w, &c);
	c.what = "find and stat right after attach";
	c.when = FS_ATTACHED;
	fs_compare(w, &c);
	c.what = "find and stat, dropped";
	c.when = FS_COLD;
	fs_compare(w, &c);
	fs_end(w, again, "x native", "1.05; right after attach 1.10; dropped 0.35");
}

/* ---- large files */

/* LEFT_MIB at least, else a quarter: more than is read ahead, which is some windows of 16 MiB and what the kernel asks for itself. */
enum { BIG_MIB = 1024, RANDOM_MIB = 256, RANDOM_READS = 50000, LEFT_MIB = 48 };

static char *make_big(const struct fs_world *w, unsigned n_mib)
{
	char *native = path_join(w->directory, "native");
	_free_ char *path = path_join(native, "big");
	path_make_dirs(native, 0755);
	fs_make_big(path, n_mib * MIB, 0);
	return native;
}

/* A page that was written lies in memory in pieces as large as the writes were, and a page that was read in larger ones, which are mapped faster: what is
 * the mount's and what its writer's shows when both sides have been read. */
static void read_back(struct fs_world *w, struct fs_compare *c)
{
	fs_drop_caches();
	c->when = FS_ATTACHED;
	fs_compare(w, c);
}

static void bench_rand(struct fs_world *w)
{
	unsigned n_mib = fs_scaled(w, RANDOM_MIB), n = fs_scaled(w, RANDOM_READS);
	_free_ char *native = make_big(w, n_mib);
	const struct fs_compare c = {.what = "pread of 4 KiB at random",
				     .work = "random",
				     .n = n,
				     .m = n_mib,
				     .n_steps = n,
				     .tree = native,
				     .has_bound = true};
	fs_end(w, fs_compare(w, &c), "x native", "1.10");
}

static void bench_mmap(struct fs_world *w)
{
	unsigned n_mib = fs_scaled(w, BIG_MIB);
	_free_ char *native = make_big(w, n_mib);
	struct fs_compare c = {.what = "1 GiB mapped and touched first",
			       .work = "touch",
			       .n = n_mib,
			       .n_steps = 1,
			       .tree = native,
			       .when = FS_ATTACHED,
			       .has_bound = true};
	double first = fs_compare(w, &c);
	c.what = "1 GiB mapped and touched again";
	c.when = FS_AGAIN;
	fs_compare(w, &c);
	c.what = "first, both read back from the disk";
	read_back(w, &c);
	fs_end(w, first, "x native", "1.05");
}

/* Its bytes go from the cache and come again for all but the end, and so it is not bound in the view that is measured next. By the tree's id: a path would be
 * sealed again. The lease of a private mount ends a moment after its last process. */
static void make_partial(const struct fs_world *w, enum fs_user user, const char *id, unsigned n_mib)
{
	double end_sec = bench_now_sec() + 10;
	unsigned left = max(n_mib / 4, (unsigned)LEFT_MIB);
	assert(n_mib > left);
	while (fs_try(w, user, (const char *const[]){"sh", "-c", "exec vine cache evict $0 2>/dev/null", id, NULL})) {
		if (bench_now_sec() > end_sec)
			fs_run(w, user, (const char *const[]){"vine", "cache", "evict", id, NULL});
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	struct fs_agent *a = fs_agent_new(w, user, FS_PRIVATE, id, true);
	fs_ask(a, "sequence", n_mib - left, 0, a->directory);
	fs_agent_free(a);
}

/* What was read before is hot, and all of it is fetched as soon as the tree is mounted again. */
static void forget_hot(const struct fs_world *w, enum fs_user user)
{
	_free_ char *hot = path_join(w->nodes[user].state, "hot");
	fs_run(w, user, (const char *const[]){"sh", "-c", "rm -r \"$0\" && : >\"$0\"", hot, NULL});
}

static void compare_partial(struct fs_world *w, const char *native, unsigned n_mib)
{
	for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
		double at_native[FS_PAIRS_MOST], at_served[FS_PAIRS_MOST];
		char id[80];
		forget_hot(w, user);
		fs_seal(w, user, native, id);
		for (unsigned i = 0; i < w->n_pairs; i++) {
			make_partial(w, user, id, n_mib);
			struct fs_agent *a = fs_agent_new(w, user, FS_PRIVATE, id, true);
			fs_ask(a, "expect-bound", false, 0, a->directory);
			fs_ask(a, "sequence", n_mib, 0, native);
			at_native[i] = fs_ask(a, "sequence", n_mib, 0, native);
			at_served[i] = fs_ask(a, "sequence", n_mib, 0, a->directory);
			fs_agent_free(a);
		}
		fs_report(w, "1 GiB read first, still partial", fs_place_name(user, FS_PRIVATE), at_native, at_served,
			  w->n_pairs, 1);
	}
}

static void bench_seq_first(struct fs_world *w)
{
	unsigned n_mib = fs_scaled(w, BIG_MIB);
	_free_ char *native = make_big(w, n_mib);
	struct fs_compare c = {.what = "1 GiB read first, complete",
			       .work = "sequence",
			       .n = n_mib,
			       .n_steps = 1,
			       .tree = native,
			       .when = FS_ATTACHED,
			       .has_bound = true};
	double complete = fs_compare(w, &c);
	c.what = "first, both read back from the disk";
	read_back(w, &c);
	compare_partial(w, native, n_mib);
	fs_end(w, complete, "x native", "1.03; still partial 5.0");
}

/* ---- all of them */

static const struct fs_bench benches[] = {
	{"fs-crash", 240, 1000, fs_crash, NULL},
	{"fs-import", 1200, 4000, fs_import, fs_prepare_import_and_torch},
	{"fs-import-cold", 600, 2500, fs_import_cold, fs_prepare_import},
	{"fs-import-first", 600, 2500, fs_import_first, fs_prepare_import},
	{"fs-mmap", 600, 5000, bench_mmap, NULL},
	{"fs-overlay", 600, 2500, fs_overlay, fs_prepare_import},
	{"fs-rand", 240, 1500, bench_rand, NULL},
	{"fs-seq-first", 600, 5000, bench_seq_first, NULL},
	{"fs-slow", 1800, 3000, fs_slow, fs_prepare_import},
	{"fs-small-cold", 900, 8000, bench_small_cold, NULL},
	{"fs-small-first", 400, 2000, bench_small_first, NULL},
	{"fs-small-warm", 240, 500, bench_small_warm, NULL},
	{"fs-walk", 1200, 8000, bench_walk, NULL},
	{"fs-write", 900, 6000, fs_write, NULL},
	{"start-first", 900, 3000, fs_start_first, fs_prepare_import},
};

int main(int argc, char **argv)
{
	const char *base = path_base(argv[0]);
	if (argc > 1 && streq(argv[1], FS_AGENT))
		return fs_agent_main(argv + 2);
	_free_ char *name = xstrdup(argc > 1 ? argv[1] : has_prefix(base, "bench_") ? base + 6 : base);
	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	for (size_t i = 0; i < countof(benches); i++) {
		if (!streq(name, benches[i].name))
			continue;
		if (benches[i].prepare)
			benches[i].prepare();
		return fs_world_run(&benches[i]);
	}
	fs_fail("%s is none of these benchmarks", name);
}
