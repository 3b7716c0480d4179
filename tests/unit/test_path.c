// SPDX-License-Identifier: Apache-2.0
#include "common/path.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char *at(const char *name)
{
	return path_join(unit_tmpdir(), name);
}

static int open_tmpdir(void)
{
	return open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put_file(const char *name, const char *text)
{
	_free_ char *path = at(name);
	if (path_write(path, text, strlen(text), 0600, false) < 0)
		abort();
}

static void put_dir(const char *name)
{
	_free_ char *path = at(name);
	if (path_make_dirs(path, 0700) < 0)
		abort();
}

static void put_link(const char *target, const char *name)
{
	_free_ char *path = at(name);
	if (symlink(target, path) < 0)
		abort();
}

TEST(names_from_outside_follow_the_table)
{
	static const char *const good[] = {"a",     "a/b",   "...",       ".a", "a..",
					   "..a/b", "a b\n", "\xff/\x01", "~",  "a/.../b"};
	static const char *const bad[] = {"",    "/",   "/a",   "a/",   "a//b",   ".",     "..",
					  "./a", "a/.", "../a", "a/..", "a/../b", "a/./b", "//"};
	for (size_t i = 0; i < countof(good); i++)
		ASSERT_EQ(path_check(good[i], strlen(good[i])), 0);
	for (size_t i = 0; i < countof(bad); i++)
		ASSERT_EQ(path_check(bad[i], strlen(bad[i])), -EINVAL);
	ASSERT_EQ(path_check("a\0b", 3), -EINVAL);
	ASSERT_EQ(path_check("a", 0), -EINVAL);
	ASSERT_EQ(path_check("..", 1), -EINVAL);
}

TEST(names_have_the_kernels_limits)
{
	char path[5000];
	memset(path, 'x', sizeof path);
	ASSERT_EQ(path_check(path, 255), 0);
	ASSERT_EQ(path_check(path, 256), -ENAMETOOLONG);
	for (size_t i = 1; i < sizeof path; i += 2)
		path[i] = '/';
	ASSERT_EQ(path_check(path, 4095), 0);
	ASSERT_EQ(path_check(path, 4097), -ENAMETOOLONG);
}

typedef int open_it(int dir, const char *path, int flags, mode_t mode);

// Both ways of opening must answer alike: the caller never learns which kernel it is on.
static open_it *const ways[] = {path_open_beneath, path_open_by_steps};

TEST(what_lies_beneath_opens_and_nothing_else_does)
{
	put_dir("root/d/e");
	put_file("root/f", "inside");
	put_file("root/d/e/g", "deep");
	put_file("secret", "outside");
	put_link("../secret", "root/up");
	put_link("/etc/passwd", "root/absolute");
	put_link("f", "root/harmless");
	put_link("..", "root/dir-up");
	put_link("d", "root/dir-in");
	put_link("/proc/self/fd/0", "root/magic");
	static const struct {
		const char *path;
		int flags, result;
	} rows[] = {
		{"f", O_RDONLY, 0},
		{"d/e/g", O_RDONLY, 0},
		{"d/e", O_RDONLY | O_DIRECTORY, 0},
		{"d/e", O_PATH, 0},
		{"d/e/new", O_WRONLY | O_CREAT | O_EXCL, 0},
		{"f", O_WRONLY | O_CREAT | O_EXCL, -EEXIST},
		{"d/none", O_RDONLY, -ENOENT},
		{"none/g", O_RDONLY, -ENOENT},
		{"f/g", O_RDONLY, -ENOTDIR},
		{"f", O_RDONLY | O_DIRECTORY, -ENOTDIR},
		{"up", O_RDONLY, -ELOOP},
		{"up", O_PATH, -ELOOP},
		{"up", O_WRONLY | O_CREAT, -ELOOP},
		{"absolute", O_RDONLY, -ELOOP},
		{"harmless", O_RDONLY, -ELOOP},
		{"harmless", O_PATH | O_NOFOLLOW, 0},
		{"dir-up/secret", O_RDONLY, -ELOOP},
		{"dir-in/e/g", O_RDONLY, -ELOOP},
		{"dir-in", O_RDONLY | O_DIRECTORY, -ELOOP},
		{"magic", O_RDONLY, -ELOOP},
		{"../secret", O_RDONLY, -EINVAL},
		{"d/../../secret", O_RDONLY, -EINVAL},
		{"/etc/passwd", O_RDONLY, -EINVAL},
		{"", O_RDONLY, -EINVAL},
	};
	_free_ char *root = at("root");
	_free_ char *new = at("root/d/e/new");
	_close_ int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t way = 0; way < countof(ways); way++) {
		for (size_t i = 0; i < countof(rows); i++) {
			_close_ int fd = ways[way](dir, rows[i].path, rows[i].flags, 0640);
			if (min(fd, 0) != rows[i].result)
				fprintf(stderr, "way %zu, row %zu \"%s\": %d\n", way, i, rows[i].path, fd);
			ASSERT_EQ(min(fd, 0), rows[i].result);
			if (fd >= 0)
				ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		}
		struct stat st;
		ASSERT_EQ(stat(new, &st), 0);
		ASSERT_EQ(st.st_mode & 0777 & ~0640u, 0);
		unlink(new);
	}
}

// Written the slow and obvious way.
static bool is_allowed(const char *path, size_t n)
{
	char copy[16] = "/";
	if (memchr(path, 0, n))
		return false;
	memcpy(copy + 1, path, n);
	copy[n + 1] = '/';
	copy[n + 2] = 0;
	return n && !strstr(copy, "//") && !strstr(copy, "/./") && !strstr(copy, "/../");
}

TEST(every_short_name_is_judged_rightly_and_opens_alike_both_ways)
{
	static const char letters[] = {'a', '.', '/', 0};
	put_dir("root/a/a");
	put_file("root/aa", "x");
	put_link("..", "root/a.");
	put_link("a", "root/.a");
	_free_ char *root = at("root");
	_close_ int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned n_good = 0, n_opened = 0, n_wrong = 0;
	for (unsigned n = 0; n <= 7; n++) {
		for (unsigned code = 0; code < 1u << 2 * n; code++) {
			char path[8] = "";
			for (unsigned i = 0; i < n; i++)
				path[i] = letters[code >> 2 * i & 3];
			bool is_good = path_check(path, n) == 0;
			n_good += is_good;
			n_wrong += is_good != is_allowed(path, n);
			if (n > 5 || memchr(path, 0, n))
				continue;
			_close_ int one = path_open_beneath(dir, path, O_RDONLY, 0);
			_close_ int two = path_open_by_steps(dir, path, O_RDONLY, 0);
			n_wrong += min(one, 0) != min(two, 0) || (one >= 0 && !is_good);
			n_opened += one >= 0;
		}
	}
	ASSERT_EQ(n_wrong, 0);
	ASSERT(n_good > 100);
	ASSERT_EQ(n_opened, 3); // a, aa, a/a
}

TEST(the_working_directory_may_be_the_root)
{
	put_file("here", "x");
	_close_ int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_EQ(chdir(unit_tmpdir()), 0);
	for (size_t way = 0; way < countof(ways); way++) {
		_close_ int fd = ways[way](AT_FDCWD, "here", O_RDONLY, 0);
		ASSERT(fd >= 0);
	}
	ASSERT_EQ(fchdir(before), 0);
}

struct race {
	char *swapped, *dir, *link;
	bool stop;
};

// root/d is a directory, then a link to ../outside, and so on, as fast as it goes.
static void *swap(void *arg)
{
	struct race *r = arg;
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		if (syscall(SYS_renameat2, AT_FDCWD, r->dir, AT_FDCWD, r->link, 2 /* RENAME_EXCHANGE */) < 0)
			break;
	}
	return NULL;
}

TEST(a_directory_swapped_for_a_link_never_lets_anyone_out)
{
	put_dir("root/d");
	put_dir("outside");
	put_file("root/d/f", "inside");
	put_file("outside/f", "outside");
	put_link("../outside", "root/l");
	struct race r = {.dir = at("root/d"), .link = at("root/l")};
	_free_ char *root = at("root");
	_close_ int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pthread_t swapper;
	ASSERT_EQ(pthread_create(&swapper, NULL, swap, &r), 0);
	unsigned n_in = 0, n_refused = 0, n_out = 0, n_strange = 0;
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	now = start;
	for (unsigned i = 0; (now.tv_sec - start.tv_sec < 20) && (i < 40000 || !n_in || !n_refused); i++) {
		char text[16] = "";
		_close_ int fd = ways[i % 2](dir, "d/f", O_RDONLY, 0);
		if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
			*(streq(text, "inside") ? &n_in : &n_out) += 1;
		else if (fd == -ELOOP || fd == -ENOTDIR || fd == -EXDEV || fd == -EAGAIN)
			n_refused++;
		else
			n_strange++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(swapper, NULL);
	free(r.dir);
	free(r.link);
	ASSERT_EQ(n_out, 0);
	ASSERT_EQ(n_strange, 0);
	ASSERT(n_in > 0);
	ASSERT(n_refused > 0);
}

TEST(missing_directories_are_made_and_others_left_alone)
{
	_free_ char *deep = at("a/b//c/");
	_free_ char *inside = at("a/b/c");
	struct stat st;
	ASSERT_EQ(path_make_dirs(deep, 0700), 0);
	ASSERT_EQ(path_make_dirs(deep, 0755), 0);
	ASSERT_EQ(stat(inside, &st), 0);
	ASSERT(S_ISDIR(st.st_mode));
	ASSERT_EQ(st.st_mode & 0777, 0700);
	ASSERT_EQ(path_make_dirs("/", 0700), 0);
	ASSERT_EQ(path_make_dirs("", 0700), 0);
	put_file("file", "x");
	_free_ char *under = at("file/x");
	_free_ char *file = at("file");
	ASSERT_EQ(path_make_dirs(under, 0700), -ENOTDIR);
	ASSERT_EQ(path_make_dirs(file, 0700), -ENOTDIR);
	ASSERT_EQ(path_make_dirs("/proc/vine/x", 0700), -ENOENT);
}

TEST(joining_doubles_no_slash)
{
	static const struct {
		const char *a, *b, *joined;
	} rows[] = {
		{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "b/c", "a/b/c"}, {"a", "/b", "/b"}, {"", "b", "b"},
		{"/", "b", "/b"},  {"a", "", "a"},     {"/", "", "/"},          {"", "", ""},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		_free_ char *joined = path_join(rows[i].a, rows[i].b);
		ASSERT_STR(joined, rows[i].joined);
	}
	ASSERT_STR(path_base("/a/b"), "b");
	ASSERT_STR(path_base("b"), "b");
	ASSERT_STR(path_base("a/"), "");
}

TEST(a_file_is_read_whole_or_not_at_all)
{
	_free_ char *path = at("f");
	size_t n;
	put_file("f", "0123456789");
	_free_ char *text = path_read(path, 10, &n);
	ASSERT_EQ(n, 10);
	ASSERT_STR(text, "0123456789");
	ASSERT(path_read(path, 9, &n) == NULL);
	ASSERT_EQ(errno, EFBIG);
	ASSERT(path_read(path, 0, NULL) == NULL);
	put_file("f", "");
	_free_ char *empty = path_read(path, 0, &n);
	ASSERT_STR(empty, "");
	ASSERT_EQ(n, 0);
	_free_ char *dir = at(".");
	ASSERT(path_read(dir, 10, &n) == NULL);
	ASSERT_EQ(errno, EISDIR);
	// A size of 0 tells nothing: /proc.
	_free_ char *status = path_read("/proc/self/status", 1 << 20, &n);
	ASSERT(status && n > 100 && strlen(status) == n);
	ASSERT(path_read("/dev/zero", 100000, &n) == NULL);
	ASSERT_EQ(errno, EFBIG);
}

TEST(writing_replaces_the_whole_file_and_leaves_nothing_else)
{
	_free_ char *path = at("d/f");
	put_dir("d");
	struct stat st;
	size_t n;
	ASSERT_EQ(path_write(path, "one", 3, 0600, true), 0);
	ASSERT_EQ(path_make(path, "two", 3, 0600, true), -EEXIST);
	_free_ char *one = path_read(path, 100, &n);
	ASSERT_STR(one, "one");
	ASSERT_EQ(path_write(path, "three", 5, 0640, false), 0);
	_free_ char *three = path_read(path, 100, &n);
	ASSERT_STR(three, "three");
	ASSERT_EQ(stat(path, &st), 0);
	ASSERT_EQ(st.st_mode & 0777, 0640);
	ASSERT_EQ(st.st_nlink, 1);
	ASSERT_EQ(unlink(path), 0);
	ASSERT_EQ(path_make(path, "new", 3, 0400, false), 0);
	ASSERT_EQ(stat(path, &st), 0);
	ASSERT_EQ(st.st_mode & 0777, 0400);
	ASSERT_EQ(st.st_nlink, 1);
	ASSERT_EQ(unlink(path), 0);
	_free_ char *nowhere = at("none/f");
	ASSERT_EQ(path_write(nowhere, "x", 1, 0600, false), -ENOENT);
	// Where the name is a directory, nothing is left beside it either.
	_free_ char *dir = at("d");
	ASSERT_EQ(path_write(dir, "x", 1, 0600, false), -EISDIR);
	_free_ char *parent = at("");
	ASSERT_EQ(rmdir(dir), 0);
	_close_ int fd = open_tmpdir();
	ASSERT(fd >= 0);
	ASSERT_EQ(rmdir(parent), 0); // empty: no file beside was forgotten
	ASSERT_EQ(mkdir(parent, 0700), 0);
}
