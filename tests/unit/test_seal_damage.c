/* SPDX-License-Identifier: Apache-2.0
 * A damaged archive is refused or makes the tree that it was: never another one. */
#include "common/path.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t seed;

static void run(const char *command)
{
	ASSERT_EQ(system(command), 0);
}

static void print_line(void *arg, char mark, const char *path)
{
	(void)arg;
	fprintf(stderr, "%c %s\n", mark, path);
}

static void assert_equal(const struct tree *a, const struct tree *b)
{
	ASSERT_EQ(tree_diff(a, b, print_line, NULL), 0);
	ASSERT(digest_is_equal(tree_id(a), tree_id(b)));
}

/* Bytes of an archive, sealed from a file or a pipe. */
static int seal_bytes(const void *p, size_t n, bool by_pipe, struct tree **t, struct seal_report *errors)
{
	struct memory_store m;
	struct seal_report notes = {0};
	int ends[2] = {-1, -1};
	void *vti;
	size_t size;
	memory_store_init(&m);
	m.most_size = 16u << 20;
	const struct seal_options o = {.store = &m.store, .n_threads = 1};
	if (by_pipe) {
		ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
		ASSERT(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) >= (int)n);
		ASSERT_EQ(write(ends[1], p, n), n);
		close(ends[1]);
	} else {
		ends[0] = memfd_create("archive", MFD_CLOEXEC);
		ASSERT_EQ(write(ends[0], p, n), n);
	}
	int r = seal_archive(ends[0], "it", &o, &vti, &size, errors, &notes);
	if (r == 0)
		r = tree_take(vti, size, NULL, t);
	close(ends[0]);
	seal_report_fini(&notes);
	memory_store_fini(&m);
	return r;
}

/* An error that says so, or the tree as it was. True if it was an error. */
static bool is_refused_or_right(const void *p, size_t n, bool by_pipe, const struct tree *right)
{
	struct seal_report errors = {0};
	struct tree *t = NULL;
	int r = seal_bytes(p, n, by_pipe, &t, &errors);
	if (r == 0)
		assert_equal(right, t);
	else
		ASSERT(errors.n > 0);
	tree_free(t);
	seal_report_fini(&errors);
	return r < 0;
}

/* The bytes' error, to be freed. */
static char *refused(const void *p, size_t n)
{
	struct seal_report errors = {0};
	struct tree *t = NULL;
	ASSERT(seal_bytes(p, n, false, &t, &errors) < 0);
	ASSERT(errors.n > 0);
	char *line = xstrdup(errors.lines[0]);
	seal_report_fini(&errors);
	return line;
}

static const struct kind {
	const char *name, *command, *needs;
} kinds[] = {
	{"tar", "tar --format=pax -cf", "tar"},
	{"tar.gz", "tar --format=pax -czf", "gzip"},
	{"tar.xz", "tar --format=pax -cJf", "xz"},
	{"tar.bz2", "tar --format=pax -cjf", "bzip2"},
	{"tar.zst", "tar --format=pax --zstd -cf", "zstd"},
	{"zip", "zip -qry", "zip"},
};

/* A small archive of every kind of node, or false if its program is not here. */
static bool make_archive(const struct kind *kind, char **bytes, size_t *n, struct tree **right)
{
	char command[600];
	struct seal_report errors = {0};
	_free_ char *in = unit_path("in"), *archive = unit_path("it");
	snprintf(command, sizeof command, "command -v %s >/dev/null", kind->needs);
	if (system(command) != 0)
		return false;
	snprintf(command, sizeof command,
		 "rm -rf '%s' '%s' && mkdir -p '%s/d/e' && cd '%s' && seq 900 >a && seq 7000 >d/b && ln -s a d/link && "
		 "ln -s ../../a d/e/long-link && head -c 70000 /dev/urandom >random && : >empty && chmod 755 a && "
		 "%s '%s' a d empty random",
		 in, archive, in, in, kind->command, archive);
	run(command);
	/* zip adds its suffix. */
	_free_ char *suffixed = unit_path("it.zip");
	bool is_zip = access(suffixed, F_OK) == 0;
	*bytes = path_read(is_zip ? suffixed : archive, 1 << 20, n);
	ASSERT(*bytes != NULL);
	unlink(suffixed);
	ASSERT_EQ(seal_bytes(*bytes, *n, false, right, &errors), 0);
	ASSERT_EQ(tree_n_nodes(*right), 9);
	ASSERT(!is_refused_or_right(*bytes, *n, true, *right));
	return true;
}

/* Modes, and what system they are of, stand in a zip once and under no checksum. */
static bool is_covered(const char *p, size_t n, size_t at)
{
	for (size_t i = at < 41 ? 0 : at - 41; i <= at && i + 4 <= n; i++) {
		size_t k = at - i;
		if (memcmp(p + i, "PK\1\2", 4) == 0 && (k == 4 || k == 5 || (k >= 38 && k <= 41)))
			return false;
	}
	return true;
}

TEST(a_byte_changed_anywhere_in_a_compressed_archive_is_seen_or_does_not_matter)
{
	const char *from = getenv("SEED");
	uint64_t first = from ? strtoull(from, NULL, 0) : 20261121;
	unsigned rounds = getenv("SOAK") ? 1500 : 300;
	printf("SEED=%llu ", (unsigned long long)first);
	for (unsigned i = 1; i < countof(kinds); i++) {
		struct tree *right = NULL;
		_free_ char *bytes = NULL;
		size_t n;
		unsigned n_refused = 0;
		if (!make_archive(&kinds[i], &bytes, &n, &right))
			continue;
		seed = first;
		for (unsigned k = 0; k < rounds; k++) {
			/* Heads and ends are a small part of the bytes and the greater part of the traps. */
			size_t near = (size_t)(unit_random(&seed) % min(n, (size_t)600)),
			       far = (size_t)(unit_random(&seed) % n);
			size_t at = k % 4 == 0 ? near : k % 4 == 1 ? n - 1 - near : far;
			char change = (char)(unit_random(&seed) % 2 ? 1u << unit_random(&seed) % 8
								    : 1 + unit_random(&seed) % 255);
			if (strcmp(kinds[i].name, "zip") == 0 && !is_covered(bytes, n, at))
				continue;
			bytes[at] = (char)(bytes[at] ^ change);
			n_refused += is_refused_or_right(bytes, n, k % 8 == 7, right);
			bytes[at] = (char)(bytes[at] ^ change);
		}
		ASSERT(n_refused > rounds / 2);
		tree_free(right);
	}
}

TEST(an_archive_cut_anywhere_is_refused)
{
	for (unsigned i = 0; i < countof(kinds); i++) {
		struct tree *right = NULL;
		_free_ char *bytes = NULL;
		size_t n;
		if (!make_archive(&kinds[i], &bytes, &n, &right))
			continue;
		size_t end = n;
		if (i == 0) {
			/* Behind its end marker a plain tar has a padding that nobody misses. */
			while (end && !bytes[end - 1])
				end--;
			end = (end + 511) / 512 * 512 + 1024;
			ASSERT(end <= n);
			ASSERT(!is_refused_or_right(bytes, end, false, right));
		}
		for (size_t at = 0; at < end; at += i == 0 ? 512 : 1 + end / 150)
			ASSERT(is_refused_or_right(bytes, at, at % 2, right));
		for (size_t back = 1; back < 40; back++)
			ASSERT(is_refused_or_right(bytes, end - back, false, right));
		tree_free(right);
	}
}

/* One empty file of a name that is UTF-8 by its flag, whatever the locale of who seals. */
TEST(a_zip_may_have_names_beyond_ascii)
{
	static const uint8_t zip[] = {
		'P', 'K', 3, 4, 20, 0,    0,    8, 0, 0,    0,    0,    0x21, 0x28, 0,  0, 0,    0,    0,   0,   0,
		0,   0,   0, 0, 0,  3,    0,    0, 0, 0xc3, 0xa9, 'x',  'P',  'K',  1,  2, 20,   3,    20,  0,   0,
		8,   0,   0, 0, 0,  0x21, 0x28, 0, 0, 0,    0,    0,    0,    0,    0,  0, 0,    0,    0,   3,   0,
		0,   0,   0, 0, 0,  0,    0,    0, 0, 0,    0xa4, 0x81, 0,    0,    0,  0, 0xc3, 0xa9, 'x', 'P', 'K',
		5,   6,   0, 0, 0,  0,    1,    0, 1, 0,    49,   0,    0,    0,    33, 0, 0,    0,    0,   0};
	struct seal_report errors = {0};
	_cleanup_(tree_freep) struct tree *t = NULL;
	int r = seal_bytes(zip, sizeof zip, false, &t, &errors);
	if (errors.n)
		fprintf(stderr, "%s\n", errors.lines[0]);
	ASSERT_EQ(r, 0);
	ASSERT(tree_find(t, "\xc3\xa9x") > 0);
	seal_report_fini(&errors);
}

TEST(a_gzip_has_members_and_padding_but_nothing_else_behind_it)
{
	struct tree *right = NULL, *twice = NULL;
	struct seal_report errors = {0};
	char what[64], command[300], *bytes;
	size_t n;
	ASSERT(make_archive(&kinds[1], &bytes, &n, &right));
	bytes = realloc(bytes, n + 4000);
	memset(bytes + n, 0, 4000);
	ASSERT(!is_refused_or_right(bytes, n + 3000, false, right));
	bytes[n + 2500] = 'x';
	_free_ char *line = refused(bytes, n + 3000);
	snprintf(what, sizeof what, "at byte %zu of the archive, after random", n + 2500);
	ASSERT(strstr(line, what) != NULL);
	/* As the damage that was sealed once: zeros in the middle. */
	memset(bytes + n / 2, 0, 5000);
	_free_ char *zeroed = refused(bytes, n);
	ASSERT(strstr(zeroed, "of the archive, after ") != NULL);
	free(bytes);
	snprintf(command, sizeof command,
		 "cd '%s/in' && tar --format=pax -cf ../t a d empty random && cd .. && "
		 "{ head -c 9999 t | gzip; tail -c +10000 t | gzip -1; } >t.gz",
		 unit_tmpdir());
	run(command);
	_free_ char *path = unit_path("t.gz");
	ASSERT((bytes = path_read(path, 1 << 20, &n)) != NULL);
	ASSERT_EQ(seal_bytes(bytes, n, true, &twice, &errors), 0);
	assert_equal(right, twice);
	free(bytes);
	tree_free(right);
	tree_free(twice);
}

TEST(a_tar_whose_next_head_is_zeros_or_missing_is_refused)
{
	struct tree *right = NULL;
	_free_ char *bytes = NULL;
	size_t n, at;
	char what[64];
	ASSERT(make_archive(&(struct kind){"tar", "tar --format=ustar -cf", "tar"}, &bytes, &n, &right));
	/* The head of "empty", behind the directory's last. */
	for (at = 512; strcmp(bytes + at, "empty") != 0; at += 512)
		ASSERT(at + 512 < n);
	snprintf(what, sizeof what, "at byte %zu of the archive, after d/", at);
	_free_ char *cut = refused(bytes, at);
	ASSERT(strstr(cut, what) != NULL);
	memset(bytes + at, 0, 512);
	_free_ char *one = refused(bytes, n);
	ASSERT(strstr(one, "end marker") != NULL);
	memset(bytes + at, 0, 1024);
	_free_ char *two = refused(bytes, n);
	ASSERT(strstr(two, "end marker") != NULL);
	tree_free(right);
}
