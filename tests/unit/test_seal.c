/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed;

static void put_file(const char *path, size_t n, uint64_t from)
{
	_free_ uint8_t *bytes = xmalloc(n);
	uint64_t keep = seed;
	seed = from * 2654435761u + 1;
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)unit_random(&seed);
	seed = keep;
	ASSERT_EQ(path_write(path, bytes, n, 0644, false), 0);
}

/* As if it had been written long ago, since a young file is not remembered. */
static void age(const char *path, int64_t sec, uint32_t nsec)
{
	const struct timespec times[2] = {{.tv_sec = sec, .tv_nsec = nsec}, {.tv_sec = sec, .tv_nsec = nsec}};
	ASSERT_EQ(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* A tree of files, links and directories with sizes around every border, from `seed`. */
static void make_random_tree(const char *root, unsigned n)
{
	static const size_t sizes[] = {0, 1, 100, 4096, 32767, 32768, 32769, 131071, 131072, 131073, 300000, 2000000};
	_free_ char *directory = xstrdup(root);
	ASSERT_EQ(path_make_dirs(root, 0755), 0);
	for (unsigned i = 0; i < n; i++) {
		char name[300];
		snprintf(name, sizeof name, "%c%s%u", (int)('!' + unit_random(&seed) % 14),
			 unit_random(&seed) % 3 ? "a" : "\xff\xfe b", i);
		_free_ char *path = path_join(directory, name);
		unsigned what = (unsigned)(unit_random(&seed) % 10);
		if (what == 0) {
			ASSERT_EQ(symlink(unit_random(&seed) % 2 ? "../x y" : "/absolute", path), 0);
		} else if (what <= 2) {
			ASSERT_EQ(mkdir(path, 0755), 0);
			free(directory);
			directory = xstrdup(unit_random(&seed) % 3 ? path : root);
		} else {
			put_file(path, sizes[unit_random(&seed) % countof(sizes)], unit_random(&seed) % 8);
			ASSERT_EQ(chmod(path, 0400 | (unit_random(&seed) % 01000)), 0);
		}
		age(path, (int64_t)(unit_random(&seed) % 2000000000), (uint32_t)(unit_random(&seed) % 1000000000));
	}
}

static int seal(struct memory_store *m, const char *path, unsigned n_threads, struct tree **t,
		struct seal_report *errors, struct seal_report *notes)
{
	const struct seal_options o = {.store = &m->store, .n_threads = n_threads};
	void *vti;
	size_t n;
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	int r = S_ISDIR(st.st_mode)                            ? seal_directory(fd, path, &o, &vti, &n, errors, notes)
		: strstr(path, ".tar") || strstr(path, ".zip") ? seal_archive(fd, path, &o, &vti, &n, errors, notes)
							       : seal_file(fd, path, &o, &vti, &n, errors);
	return r < 0 ? r : tree_take(vti, n, NULL, t);
}

static struct tree *seal_well(struct memory_store *m, const char *path, unsigned n_threads)
{
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	int r = seal(m, path, n_threads, &t, &errors, &notes);
	for (unsigned i = 0; i < errors.n; i++)
		fprintf(stderr, "%s\n", errors.lines[i]);
	ASSERT_EQ(r, 0);
	ASSERT_EQ(errors.n, 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return t;
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

static struct tree *export_and_seal(struct memory_store *m, const struct tree *t, const char *name)
{
	struct seal_report errors = {0};
	_free_ char *path = unit_path(name);
	ASSERT_EQ(mkdir(path, 0700), 0);
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_EQ(tree_export(t, &m->reader, fd, &errors), 0);
	seal_report_fini(&errors);
	return seal_well(m, path, 1);
}

TEST(a_sealed_tree_written_out_and_sealed_again_is_the_same)
{
	for (uint64_t round = 1; round <= 5; round++) {
		struct memory_store m;
		char name[32];
		seed = round * 7919;
		snprintf(name, sizeof name, "in%u", (unsigned)round);
		_free_ char *in = unit_path(name);
		snprintf(name, sizeof name, "out%u", (unsigned)round);
		make_random_tree(in, 150);
		memory_store_init(&m);
		_cleanup_(tree_freep) struct tree *a = seal_well(&m, in, 1);
		_cleanup_(tree_freep) struct tree *b = seal_well(&m, in, 4);
		_cleanup_(tree_freep) struct tree *c = export_and_seal(&m, a, name);
		assert_equal(a, b);
		assert_equal(a, c);
		ASSERT(digest_is_equal(tree_layout_id(a), tree_layout_id(b)));
		memory_store_fini(&m);
	}
}

static void note_read(void *arg, const struct seal_progress *p)
{
	*(uint64_t *)arg = __atomic_load_n(&p->bytes_read, __ATOMIC_RELAXED); /* threads go on reading */
}

/* The bytes that were read. */
static uint64_t seal_counted(struct memory_store *m, const char *path, unsigned n_threads, struct tree **t)
{
	struct seal_report errors = {0}, notes = {0};
	uint64_t n_read = 0;
	const struct seal_options o = {
		.store = &m->store, .n_threads = n_threads, .on_progress = note_read, .arg = &n_read};
	void *vti;
	size_t n;
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_EQ(seal_directory(fd, path, &o, &vti, &n, &errors, &notes), 0);
	ASSERT_EQ(tree_take(vti, n, NULL, t), 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return n_read;
}

/* Files of every kind of size, each under `n_names` names that lie far apart in the order of reading, and beside each other. */
static uint64_t make_linked_tree(const char *root, unsigned n_files, unsigned n_names)
{
	static const size_t sizes[] = {1, 5000, 131072, 131073, 1500000};
	uint64_t size = 0;
	char name[64];
	for (unsigned i = 0; i < n_names; i++) {
		snprintf(name, sizeof name, "d%u", i / 2);
		_free_ char *directory = path_join(root, name);
		ASSERT_EQ(path_make_dirs(directory, 0755), 0);
	}
	for (unsigned i = 0; i < n_files; i++) {
		snprintf(name, sizeof name, "d0/%u-0", i);
		_free_ char *first = path_join(root, name);
		put_file(first, sizes[i % countof(sizes)], i + 1);
		size += sizes[i % countof(sizes)];
		for (unsigned k = 1; k < n_names; k++) {
			snprintf(name, sizeof name, "d%u/%u-%u", k / 2, i, k);
			_free_ char *other = path_join(root, name);
			ASSERT_EQ(link(first, other), 0);
		}
	}
	return size;
}

TEST(a_file_of_many_names_is_read_once_whoever_meets_it_first)
{
	_free_ char *in = unit_path("in");
	uint64_t size = make_linked_tree(in, 40, 6);
	static const unsigned n_threads[] = {1, 2, 4, 16};
	struct tree *before = NULL;
	for (unsigned round = 0; round < 12; round++) {
		struct memory_store m;
		struct tree *t = NULL;
		memory_store_init(&m);
		ASSERT_EQ(seal_counted(&m, in, n_threads[round % countof(n_threads)], &t), size);
		ASSERT_EQ(tree_n_nodes(t), 1 + 3 + 40 * 6);
		ASSERT_EQ(tree_n_contents(t), 40);
		for (uint32_t i = 0; i < tree_n_nodes(t); i++)
			ASSERT(tree_node(t, i)->type == TREE_DIRECTORY || tree_node(t, i)->first < 40);
		if (before) {
			assert_equal(before, t);
			ASSERT(digest_is_equal(tree_layout_id(before), tree_layout_id(t)));
		}
		tree_free(before);
		before = t;
		memory_store_fini(&m);
	}
	tree_free(before);
}

static void run(const char *command)
{
	ASSERT_EQ(system(command), 0);
}

TEST(a_directory_and_its_archives_have_one_id)
{
	struct memory_store m;
	char command[1024];
	seed = 4242;
	_free_ char *in = unit_path("in");
	make_random_tree(in, 120);
	memory_store_init(&m);
	_cleanup_(tree_freep) struct tree *a = seal_well(&m, in, 2);
	static const char *const kinds[] = {"tar", "tar.gz", "tar.xz", "tar.bz2", "tar.zst"};
	static const char *const flags[] = {"", "-z", "-J", "-j", "--zstd"};
	for (unsigned i = 0; i < countof(kinds); i++) {
		if (i > 2 && system(i == 3 ? "command -v bzip2 >/dev/null" : "command -v zstd >/dev/null") != 0)
			continue;
		snprintf(command, sizeof command, "cd %s && tar --format=pax %s -cf ../a.%s .", in, flags[i], kinds[i]);
		run(command);
		snprintf(command, sizeof command, "a.%s", kinds[i]);
		_free_ char *archive = unit_path(command);
		_cleanup_(tree_freep) struct tree *b = seal_well(&m, archive, 1);
		assert_equal(a, b);
	}
	memory_store_fini(&m);
}

/* Sealing it fails; returns its first error, to be freed. */
static char *seal_badly(struct memory_store *m, const char *path)
{
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	ASSERT(seal(m, path, 1, &t, &errors, &notes) < 0);
	ASSERT(t == NULL);
	ASSERT(errors.n > 0);
	char *line = xstrdup(errors.lines[0]);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return line;
}

TEST(a_damaged_archive_is_refused_and_says_where)
{
	struct memory_store m;
	char command[1024];
	struct stat st;
	_free_ char *in = unit_path("in"), *large = unit_path("in/large"), *small = unit_path("in/small");
	_free_ char *cut = unit_path("cut.tar"), *bad = unit_path("bad.tar.xz");
	path_make_dirs(in, 0755);
	put_file(large, 900000, 1);
	put_file(small, 5000, 2);
	memory_store_init(&m);
	snprintf(command, sizeof command,
		 "cd %s && tar -cf ../cut.tar small large && tar -cJf ../bad.tar.xz small large", in);
	run(command);
	/* In the middle of the second one's bytes. */
	ASSERT_EQ(truncate(cut, 400000), 0);
	_free_ char *first = seal_badly(&m, cut);
	ASSERT(strstr(first, "cut.tar: large: ") && strstr(first, " at byte "));
	ASSERT_EQ(stat(bad, &st), 0);
	_close_ int fd = open(bad, O_RDWR | O_CLOEXEC);
	static const char zeros[5000];
	ASSERT_EQ(pwrite(fd, zeros, sizeof zeros, st.st_size / 2), sizeof zeros);
	_free_ char *second = seal_badly(&m, bad);
	ASSERT(strstr(second, "bad.tar.xz: large: ") && strstr(second, " at byte "));
	/* At the head of an entry it is said what came before. */
	ASSERT_EQ(truncate(cut, 512 + 5120 + 100), 0);
	_free_ char *third = seal_badly(&m, cut);
	ASSERT(strstr(third, " at byte ") && strstr(third, "after small"));
	memory_store_fini(&m);
}

TEST(hard_links_are_files_of_one_content_and_holes_cost_nothing)
{
	struct memory_store m;
	_free_ char *in = unit_path("in");
	_free_ char *first = unit_path("in/first"), *second = unit_path("in/second"), *sparse = unit_path("in/sparse");
	path_make_dirs(in, 0755);
	put_file(first, 200000, 1);
	ASSERT_EQ(link(first, second), 0);
	int fd = open(sparse, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_EQ(ftruncate(fd, (off_t)400 << 20), 0);
	ASSERT_EQ(pwrite(fd, "x", 1, (off_t)200 << 20), 1);
	close(fd);
	memory_store_init(&m);
	_cleanup_(tree_freep) struct tree *t = seal_well(&m, in, 1);
	ASSERT_EQ(tree_n_contents(t), 2);
	ASSERT_EQ(m.n_blobs, 2);
	ASSERT(m.n_written < 20); /* chunks: 7 of each link, one of 400 */
	char byte;
	int64_t node = tree_find(t, "sparse");
	ASSERT_EQ(tree_read_file(t, (uint32_t)node, &m.reader, (uint64_t)200 << 20, &byte, 1), 1);
	ASSERT_EQ(byte, 'x');
	char command[600];
	snprintf(command, sizeof command, "cd %s && tar --format=pax -S -cf ../a.tar .", in);
	run(command);
	_free_ char *archive = unit_path("a.tar");
	_cleanup_(tree_freep) struct tree *b = seal_well(&m, archive, 1);
	assert_equal(t, b);
	memory_store_fini(&m);
}

TEST(an_unchanged_tree_is_not_read_again_and_one_changed_file_costs_its_pack)
{
	struct memory_store m;
	_free_ char *in = unit_path("in");
	path_make_dirs(in, 0755);
	for (unsigned i = 0; i < 300; i++) {
		char name[32];
		snprintf(name, sizeof name, "in/%03u", i);
		_free_ char *path = unit_path(name);
		put_file(path, 60000, i);
	}
	_free_ char *large = unit_path("in/large"), *changed = unit_path("in/150");
	put_file(large, 3000000, 7);
	/* ctime cannot be set: wait until the files are no longer young. */
	struct timespec begin, now;
	clock_gettime(CLOCK_REALTIME, &begin);
	do {
		usleep(50000);
		clock_gettime(CLOCK_REALTIME, &now);
	} while (now.tv_sec - begin.tv_sec < 4);
	memory_store_init(&m);
	_cleanup_(tree_freep) struct tree *a = seal_well(&m, in, 2);
	unsigned begun = m.n_begun;
	_cleanup_(tree_freep) struct tree *b = seal_well(&m, in, 2);
	assert_equal(a, b);
	ASSERT_EQ(m.n_begun, begun);
	put_file(changed, 60000, 999);
	_cleanup_(tree_freep) struct tree *c = seal_well(&m, in, 2);
	ASSERT_EQ(m.n_begun, begun + 1);
	ASSERT_EQ(tree_diff(a, c, print_line, NULL), 2);
	memory_store_fini(&m);
}

TEST(what_is_no_file_is_left_out_and_said)
{
	struct memory_store m;
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	_free_ char *in = unit_path("in"), *fifo = unit_path("in/fifo"), *suid = unit_path("in/suid");
	path_make_dirs(in, 0755);
	ASSERT_EQ(mkfifo(fifo, 0644), 0);
	put_file(suid, 10, 1);
	ASSERT_EQ(chmod(suid, 04755), 0);
	memory_store_init(&m);
	ASSERT_EQ(seal(&m, in, 1, &t, &errors, &notes), 0);
	ASSERT_EQ(tree_n_nodes(t), 2);
	ASSERT_EQ(tree_node(t, 1)->mode, 0755);
	ASSERT_EQ(notes.n, 2);
	tree_free(t);
	seal_report_fini(&notes);
	memory_store_fini(&m);
}

TEST(an_unreadable_file_is_named_and_nothing_is_sealed)
{
	struct memory_store m;
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	_free_ char *in = unit_path("in"), *one = unit_path("in/one"), *two = unit_path("in/two");
	path_make_dirs(in, 0755);
	put_file(one, 10, 1);
	put_file(two, 300000, 1);
	memory_store_init(&m);
	if (geteuid() == 0)
		m.fail_begin = EACCES;
	else
		ASSERT_EQ(chmod(two, 0), 0);
	ASSERT_EQ(seal(&m, in, 1, &t, &errors, &notes), -EACCES);
	ASSERT_EQ(errors.n, 1);
	ASSERT(strstr(errors.lines[0], "in/two") != NULL);
	ASSERT(t == NULL);
	seal_report_fini(&errors);
	memory_store_fini(&m);
}

TEST(a_store_without_room_ends_the_sealing)
{
	struct memory_store m;
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	_free_ char *in = unit_path("in"), *large = unit_path("in/large");
	path_make_dirs(in, 0755);
	put_file(large, 300000, 1);
	memory_store_init(&m);
	m.fail_begin = ENOSPC;
	ASSERT_EQ(seal(&m, in, 2, &t, &errors, &notes), -ENOSPC);
	seal_report_fini(&errors);
	memory_store_fini(&m);
}

TEST(a_single_file_is_a_tree_of_one_node)
{
	struct memory_store m;
	char byte;
	_free_ char *file = unit_path("file");
	put_file(file, 5000, 3);
	memory_store_init(&m);
	_cleanup_(tree_freep) struct tree *t = seal_well(&m, file, 1);
	ASSERT_EQ(tree_n_nodes(t), 1);
	ASSERT_EQ(tree_file_size(t, 0), 5000);
	ASSERT_EQ(tree_read_file(t, 0, &m.reader, 4999, &byte, 1), 1);
	ASSERT_EQ(tree_read_file(t, 0, &m.reader, 5000, &byte, 1), 0);
	memory_store_fini(&m);
}
