/* SPDX-License-Identifier: Apache-2.0
 * TARGETS `seal`: 2 GB in 50,000 files of the sizes of a real Python environment (97 % of files at most 128 KiB with 22 % of the bytes) into a
 * node's cache, page cache warm, on one core; again unchanged; again with one file changed. Beside it what the core can hash, what a bare
 * copy of the same files costs on this disk (cp -r), and sealing whose bytes go nowhere. The last line is MB/s the first time. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/fs_trees.h"
#include "tests/bench/scratch.h"
#include "vinefs/cache/cache.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <unistd.h>

#define ROUNDS 5
#define ROOM_MIB 24000u /* the tree, and a cache and a copy of it in each round */
#define LIMIT_SEC 600

static unsigned small_files(void)
{
	return bench_is_quick() ? 3000 : 50000;
}

static void must(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "bench_seal: %s: %s\n", what, strerror(-r));
		exit(1);
	}
}

static double seal(struct cache *c, const char *root, unsigned n_threads)
{
	struct seal_report errors = {0}, notes = {0};
	struct digest id;
	void *vti;
	size_t n;
	double begin = bench_now_sec();
	struct cache_sealing *s = cache_sealing_new(c, false);
	const struct seal_options o = {.store = cache_sealing_store(s), .n_threads = n_threads};
	_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(seal_directory(fd, root, &o, &vti, &n, &errors, &notes), root);
	must(cache_publish(c, vti, n, &id), "publish");
	cache_sealing_free(s);
	double took = bench_now_sec() - begin;
	cache_flush(c);
	free(vti);
	return took;
}

static int begin_nothing(void *arg, uint64_t size, void **blob)
{
	(void)arg;
	(void)size;
	*blob = NULL;
	return 0;
}

static int write_nothing(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	(void)arg;
	(void)blob;
	(void)offset;
	(void)p;
	(void)n;
	return 0;
}

static int commit_nothing(void *arg, void *blob, const struct blob_chunks *chunks)
{
	(void)arg;
	(void)blob;
	(void)chunks;
	return 0;
}

static void abort_nothing(void *arg, void *blob)
{
	(void)arg;
	(void)blob;
}

static double seal_to_nowhere(const char *root)
{
	static const struct seal_store nowhere = {
		.begin = begin_nothing, .write = write_nothing, .commit = commit_nothing, .abort = abort_nothing};
	struct seal_report errors = {0}, notes = {0};
	const struct seal_options o = {.store = &nowhere, .n_threads = 1};
	void *vti;
	size_t n;
	double begin = bench_now_sec();
	_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(seal_directory(fd, root, &o, &vti, &n, &errors, &notes), root);
	free(vti);
	return bench_now_sec() - begin;
}

/* Stays until the end: an ext4 from which many files were just removed creates others many times slower. */
static double copy(const char *base, const char *root, unsigned round)
{
	_free_ char *to = xasprintf("%s/copy%u", base, round);
	_free_ char *command = xasprintf("cp -r '%s' '%s'", root, to);
	sync();
	double begin = bench_now_sec();
	must(system(command) ? -EIO : 0, "cp");
	return bench_now_sec() - begin;
}

/* What one core can do with these bytes at best: read them from the page cache and hash them. */
static double hash_rate(void)
{
	size_t n = 256u << 20;
	_free_ uint8_t *p = xmalloc(n);
	memset(p, 7, n);
	struct digest *chunks = xcalloc(n >> 18, sizeof *chunks);
	double begin = bench_now_sec();
	digest_chunks(p, n, 1u << 18, 1, chunks);
	double took = bench_now_sec() - begin;
	free(chunks);
	return (double)n / took / 1e6;
}

static struct cache *open_cache(const char *path)
{
	struct conf_error e;
	struct cache *c = NULL;
	const struct cache_settings s = {.path = path, .quota = (uint64_t)16 << 30, .n_inodes = 1000000};
	if (cache_open(&s, &c, &e) < 0)
		bench_cannot("seal", e.text);
	return c;
}

/* A remembered file is one that was older than two seconds when it was read. */
static void grow_old(void)
{
	struct timespec begin, now;
	clock_gettime(CLOCK_REALTIME, &begin);
	do {
		usleep(100000);
		clock_gettime(CLOCK_REALTIME, &now);
	} while (now.tv_sec - begin.tv_sec < 4);
}

static void change_one(const char *root, unsigned round)
{
	char path[PATH_MAX];
	fs_small_path(path, sizeof path, root, small_files() / 2);
	char text[64];
	int n = snprintf(text, sizeof text, "changed in round %u", round);
	must(path_write(path, text, (size_t)n, 0644, false), path);
}

static void stay_on_one_core(void)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof one, &one) < 0)
		bench_cannot("seal", "this process may not choose its core");
}

struct figures {
	double first[ROUNDS], again[ROUNDS], changed[ROUNDS], hash[ROUNDS], bare[ROUNDS], nowhere[ROUNDS];
};

/* Nothing of an earlier step is being written back while the next one is timed, and the tree has just been read. */
static void measure_round(struct figures *f, const char *base, const char *root, uint64_t size, unsigned i)
{
	_free_ char *at = xasprintf("%s/cache%u", base, i);
	struct cache *c = open_cache(at);
	f->hash[i] = hash_rate();
	f->bare[i] = (double)size / copy(base, root, i) / 1e6;
	sync();
	f->nowhere[i] = (double)size / seal_to_nowhere(root) / 1e6;
	f->first[i] = (double)size / seal(c, root, 1) / 1e6;
	f->again[i] = seal(c, root, 1);
	change_one(root, i);
	f->changed[i] = seal(c, root, 1);
	cache_free(c);
	printf("round %u of %d: %.0f MB/s, again %.2f s, one changed %.2f s\n", i + 1, ROUNDS, f->first[i], f->again[i],
	       f->changed[i]);
	fflush(stdout);
	grow_old();
}

static void report(struct figures *all, uint64_t size)
{
	struct spread f = spread_of(all->first, ROUNDS), a = spread_of(all->again, ROUNDS),
		      x = spread_of(all->changed, ROUNDS), h = spread_of(all->hash, ROUNDS),
		      b = spread_of(all->bare, ROUNDS), w = spread_of(all->nowhere, ROUNDS);
	printf("%u files, %.0f MB, one core, %d rounds: median (least to most)\n", fs_all_files(small_files()),
	       (double)size / 1e6, ROUNDS);
	printf("hash alone          %7.0f MB/s (%.0f to %.0f)\n", h.median, h.low, h.high);
	printf("cp -r               %7.0f MB/s (%.0f to %.0f)\n", b.median, b.low, b.high);
	printf("sealed to nowhere   %7.0f MB/s (%.0f to %.0f)\n", w.median, w.low, w.high);
	printf("sealed first        %7.0f MB/s (%.0f to %.0f)   target 700\n", f.median, f.low, f.high);
	printf("again, unchanged    %7.2f s    (%.2f to %.2f)   target 1\n", a.median, a.low, a.high);
	printf("again, one changed  %7.2f s    (%.2f to %.2f)   target 1\n", x.median, x.low, x.high);
	bench_end("seal", f.median, "MB/s", "700",
		  "\"low\":%.1f,\"high\":%.1f,\"hash_mbs\":%.1f,\"cp_mbs\":%.1f,\"nowhere_mbs\":%.1f,\"again_s\":%.3f,"
		  "\"changed_s\":%.3f,\"bytes\":%llu",
		  f.low, f.high, h.median, b.median, w.median, a.median, x.median, (unsigned long long)size);
}

static void measure(void *arg)
{
	const char *base = arg;
	struct figures all;
	_free_ char *root = path_join(base, "tree");
	stay_on_one_core();
	printf("making %u files in %s\n", fs_all_files(small_files()), root);
	fflush(stdout);
	uint64_t size = fs_make_real(root, small_files());
	grow_old();
	for (unsigned i = 0; i < ROUNDS; i++)
		measure_round(&all, base, root, size, i);
	report(&all, size);
}

int main(void)
{
	struct scratch scratch;
	scratch_make(&scratch, "seal", ROOM_MIB);
	return scratch_run(&scratch, LIMIT_SEC, measure, scratch.directory);
}
