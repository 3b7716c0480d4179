/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fs_trees.h"
#include "common/path.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { DIRECTORY_FILES = 100, SMALL_BEFORE_LARGE = 32, PATH_SIZE = 320 };

_Noreturn void fs_fail(const char *fmt, ...)
{
	va_list args;
	fflush(stdout);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* splitmix64: each offset its own, so that neither a blob nor a page is there twice. */
uint64_t fs_word(uint64_t offset)
{
	uint64_t z = offset + 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void file_path(char *to, size_t n, const char *root, unsigned i)
{
	int len = snprintf(to, n, "%s/d%03u/f%05u", root, i / DIRECTORY_FILES, i);
	assert(len > 0 && (size_t)len < n);
}

static void make_directory_of(const char *root, unsigned i)
{
	char path[PATH_SIZE];
	snprintf(path, sizeof path, "%s/d%03u", root, i / DIRECTORY_FILES);
	if (i % DIRECTORY_FILES == 0 && path_make_dirs(path, 0755) < 0)
		fs_fail("%s: %s", path, strerror(errno));
}

/* Plain writes: nothing else reads these yet, and a rename each would be most of the work. */
static void put_file(const char *path, const void *p, size_t n)
{
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		fs_fail("%s: %s", path, strerror(errno));
}

/* ---- many small files */

void fs_path_of(char *to, size_t n, const char *root, unsigned i)
{
	file_path(to, n, root, i);
}

void fs_make_files(const char *root, unsigned n, unsigned seed)
{
	char path[PATH_SIZE];
	uint64_t bytes[1024];
	for (unsigned i = 0; i < n; i++) {
		uint64_t first = ((uint64_t)seed << 32 | i) << 16;
		for (size_t j = 0; j < countof(bytes); j++)
			bytes[j] = fs_word(first + j);
		make_directory_of(root, i);
		file_path(path, sizeof path, root, i);
		put_file(path, bytes, 500 + i * 31 % 7000);
	}
}

/* ---- the sizes of a real environment */

/* Uniform within an octave, the octaves equally likely: small ones 32 B to 64 KiB, large ones 128 KiB to 4 MiB, the lowest of these twice. */
static size_t real_size(unsigned i)
{
	static const unsigned large[] = {17, 17, 18, 19, 20, 21};
	uint64_t random = fs_word((uint64_t)i << 20);
	bool is_large = i % (SMALL_BEFORE_LARGE + 1) == SMALL_BEFORE_LARGE;
	unsigned octave = is_large ? large[random % countof(large)] : 5 + (unsigned)(random % 11);
	return ((size_t)1 << octave) + (size_t)(random >> 32) % ((size_t)1 << octave);
}

unsigned fs_all_files(unsigned n_small)
{
	return n_small + n_small / SMALL_BEFORE_LARGE;
}

void fs_small_path(char *to, size_t n, const char *root, unsigned i)
{
	file_path(to, n, root, i + i / SMALL_BEFORE_LARGE);
}

uint64_t fs_make_real(const char *root, unsigned n_small)
{
	size_t room = 4 * MIB;
	char path[PATH_SIZE];
	_free_ uint64_t *bytes = xmalloc(room);
	uint64_t all = 0;
	for (size_t j = 0; j < room / sizeof *bytes; j++)
		bytes[j] = fs_word(j);
	for (unsigned i = 0; i < fs_all_files(n_small); i++) {
		size_t n = real_size(i);
		assert(n <= room);
		/* One word differs in every 32 KiB, the smallest chunk: nothing is stored once only. */
		for (size_t j = 0; j < n / sizeof *bytes; j += 4096)
			bytes[j] = fs_word((uint64_t)i << 32 | j | 1);
		make_directory_of(root, i);
		file_path(path, sizeof path, root, i);
		put_file(path, bytes, n);
		all += n;
	}
	return all;
}

/* ---- one large file */

void fs_make_big(const char *path, uint64_t size, uint64_t first)
{
	_free_ uint64_t *block = xmalloc(MIB);
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	for (uint64_t at = 0; at < size; at += MIB) {
		size_t n = min(size - at, MIB);
		for (size_t i = 0; i < n / sizeof *block; i++)
			block[i] = fs_word(first + at + i * sizeof *block);
		if (write(fd, block, n) != (ssize_t)n)
			fs_fail("%s: %s", path, strerror(errno));
	}
	/* Not written back in the middle of what is measured. */
	fdatasync(fd);
}
