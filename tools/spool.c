/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/spool.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define PREFIX "stdin-"
#define PIECE ((size_t)256 << 10)

/* Those of commands that were killed. */
static void sweep(const char *directory)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	while (d && (e = readdir(d))) {
		_close_ int fd = has_prefix(e->d_name, PREFIX)
					 ? openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
					 : -1;
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
}

static int fail(struct spool *s, const char *what)
{
	int error = errno;
	snprintf(s->error, sizeof s->error, "%.200s: %s", what, strerror(error));
	return -error;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);
		if (r < 0 && errno != EINTR)
			return -1;
		p += max(r, 0);
		n -= (size_t)max(r, 0);
	}
	return 0;
}

static int copy(struct spool *s, int from)
{
	_free_ char *piece = xmalloc(PIECE);
	ssize_t n;
	uint64_t size = 0;
	while ((n = read(from, piece, PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(s, "it cannot be read");
		if (write_all(s->fd, piece, (size_t)n) < 0)
			return fail(s, s->path);
		size += (uint64_t)n;
	}
	errno = ENODATA;
	return size ? 0 : fail(s, "nothing came");
}

/* tar; zip; gzip, bzip2, xz and zstd, in which nothing else is expected. */
static bool looks_like_archive(int fd)
{
	static const struct {
		size_t at;
		const char *magic;
	} magics[] = {{257, "ustar"},
		      {0, "PK\3\4"},
		      {0, "\x1f\x8b"},
		      {0, "BZh"},
		      {0, "\xfd"
			  "7zXZ"},
		      {0, "\x28\xb5\x2f\xfd"}};
	char head[512] = "";
	ssize_t n = pread(fd, head, sizeof head, 0);
	for (size_t i = 0; i < countof(magics); i++) {
		size_t length = strlen(magics[i].magic), end = magics[i].at + length;
		if (n >= 0 && (size_t)n >= end && memcmp(head + magics[i].at, magics[i].magic, length) == 0)
			return true;
	}
	return false;
}

/* What is one is told by its name. */
static int name_archive(struct spool *s)
{
	_free_ char *named = xasprintf("%s.tar", s->path);
	if (!looks_like_archive(s->fd))
		return 0;
	if (rename(s->path, named) < 0)
		return fail(s, named);
	free(s->path);
	s->path = steal(named);
	return 0;
}

int spool_read(struct spool *s, int from, const char *directory)
{
	assert(s->fd < 0);
	sweep(directory);
	s->path = path_join(directory, PREFIX "XXXXXX");
	s->fd = mkostemp(s->path, O_CLOEXEC);
	if (s->fd < 0) {
		int r = fail(s, s->path);
		free(steal(s->path));
		return r;
	}
	int r = flock(s->fd, LOCK_EX | LOCK_NB) < 0 ? fail(s, s->path) : copy(s, from);
	return r < 0 ? r : name_archive(s);
}

void spool_fini(struct spool *s)
{
	if (s->path)
		unlink(s->path);
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	*s = (struct spool){.fd = -1};
}
