/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ways to open beneath a directory that must answer alike: the kernel's, and step by step. Both refuse every link,
 * also one that stays inside: who may plant a link inside may change where it leads between the check and the use. */
#include "common/path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMPONENT_MAX 255
#define PATH_LENGTH_MAX 4095

int path_check(const char *path, size_t n)
{
	if (!n || memchr(path, 0, n))
		return -EINVAL;
	if (n > PATH_LENGTH_MAX)
		return -ENAMETOOLONG;
	for (const char *at = path, *end = path + n; at <= end;) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		size_t length = (size_t)((slash ? slash : end) - at);
		if (!length || (length == 1 && *at == '.') || (length == 2 && at[0] == '.' && at[1] == '.'))
			return -EINVAL;
		if (length > COMPONENT_MAX)
			return -ENAMETOOLONG;
		at += length + 1;
	}
	return 0;
}

static int open_whole(int dir, const char *path, int flags, mode_t mode)
{
	bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE; /* else openat2 refuses a mode */
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags,
		.mode = creates ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	/* EAGAIN: something above was renamed meanwhile, and the kernel cannot tell whether it escaped. */
	for (int tries = 0; (fd = syscall(SYS_openat2, dir, path, &how, sizeof how)) < 0; tries++)
		if (errno != EINTR && (errno != EAGAIN || tries >= 1000))
			return -errno;
	return (int)fd;
}

/* O_DIRECTORY speaks before O_NOFOLLOW: of a link it says ENOTDIR, where openat2 says ELOOP. */
static int step_error(int dir, const char *name)
{
	int error = errno;
	struct stat st;
	if (error == ENOTDIR && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode))
		return -ELOOP;
	return -error;
}

/* Each step holds the directory it goes on from, so a directory swapped for a link is met as a link or not at all.
 * The components are checked: no ".." ever climbs. */
int path_open_by_steps(int dir, const char *path, int flags, mode_t mode)
{
	int r = path_check(path, strlen(path));
	if (r < 0)
		return r;
	_close_ int held = -1;
	for (;;) {
		const char *slash = strchr(path, '/');
		char name[COMPONENT_MAX + 1];
		size_t n = slash ? (size_t)(slash - path) : strlen(path);
		assert(n > 0 && n < sizeof name);
		memcpy(name, path, n);
		name[n] = 0;
		int want = slash ? O_PATH | O_DIRECTORY : flags;
		int fd = openat(held >= 0 ? held : dir, name, want | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0)
			return step_error(held >= 0 ? held : dir, name);
		close_fd(held);
		held = fd;
		if (!slash)
			break;
		path = slash + 1;
	}
	/* O_PATH with O_NOFOLLOW opens a link itself; right only for who asked for it. */
	struct stat st;
	if (flags & O_PATH && !(flags & O_NOFOLLOW) && (fstat(held, &st) < 0 || S_ISLNK(st.st_mode)))
		return -ELOOP;
	return steal_fd(&held);
}

int path_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	int r = path_check(path, strlen(path));
	if (r < 0)
		return r;
	int fd = open_whole(dir, path, flags | O_CLOEXEC, mode);
	/* Seccomp profiles of containers answer EPERM to calls that they do not know. */
	if (fd == -ENOSYS || fd == -EPERM)
		fd = path_open_by_steps(dir, path, flags, mode);
	return fd;
}

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int path_make_dirs(const char *path, mode_t mode)
{
	/* Most often only the last one is missing, or none. */
	if (*path && (mkdir(path, mode) == 0 || (errno == EEXIST && is_directory(path))))
		return 0;
	_free_ char *part = xstrdup(path);
	for (char *at = part + strspn(part, "/");; at += strspn(at, "/")) {
		at += strcspn(at, "/");
		char ended_by = *at;
		*at = 0;
		struct stat st;
		if (*part && mkdir(part, mode) < 0) {
			int error = errno;
			/* EROFS, EACCES ... may come before EEXIST of a directory that is there. */
			if (stat(part, &st) < 0)
				return -error;
			if (!S_ISDIR(st.st_mode))
				return -ENOTDIR;
		}
		if (!ended_by)
			return 0;
		*at = ended_by;
	}
}

char *path_join(const char *a, const char *b)
{
	if (*b == '/' || !*a)
		return xstrdup(b);
	size_t n = strlen(a);
	while (n && a[n - 1] == '/')
		n--;
	return *b || !n ? xasprintf("%.*s/%s", (int)n, a, b) : xstrndup(a, n);
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* NULL with errno. One byte more than allowed is asked for: so a file that grows meanwhile is noticed too. */
static char *read_all(int fd, size_t most, size_t *n)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return NULL;
	size_t room =
		st.st_size > 0 && (uint64_t)st.st_size < most ? (size_t)st.st_size + 2 : min(most, (size_t)4096) + 2;
	_free_ char *text = NULL;
	for (*n = 0;;) {
		char *more = realloc(text, room);
		if (!more)
			return NULL;
		text = more;
		ssize_t got = read(fd, text + *n, min(room - 1, most + 1) - *n);
		if (got < 0 && errno != EINTR)
			return NULL;
		if (got == 0)
			break;
		*n += got > 0 ? (size_t)got : 0;
		if (*n > most) {
			errno = EFBIG;
			return NULL;
		}
		if (*n + 1 >= room)
			room *= 2;
	}
	text[*n] = 0;
	return steal(text);
}

char *path_read(const char *path, size_t most, size_t *n)
{
	assert(most < SIZE_MAX / 4);
	size_t unused;
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	return read_all(fd, most, n ? n : &unused);
}

static int write_all(int fd, const char *p, size_t n, bool durable)
{
	while (n) {
		ssize_t w = write(fd, p, n);
		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
	return durable && fsync(fd) < 0 ? -errno : 0;
}

/* A new name is durable only when its directory is. */
static int sync_parent(const char *path)
{
	const char *base = path_base(path);
	_free_ char *dir = base == path ? xstrdup(".") : xstrndup(path, (size_t)(base - path));
	_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Written beside and then put in place: who meets the name meets the whole, also after a crash half-way. link(2)
 * refuses an existing name, as O_EXCL does. */
static int publish(const char *path, const void *p, size_t n, mode_t mode, bool durable, bool is_new)
{
	assert(p || !n);
	_free_ char *beside = xasprintf("%s.XXXXXX", path);
	_close_ int fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, p, n, durable);
	if (!r && (is_new ? link(beside, path) : rename(beside, path)) < 0)
		r = -errno;
	if (r < 0 || is_new)
		unlink(beside);
	return !r && durable ? sync_parent(path) : r;
}

int path_write(const char *path, const void *p, size_t n, mode_t mode, bool durable)
{
	return publish(path, p, n, mode, durable, false);
}

int path_overwrite(const char *path, const void *p, size_t n, mode_t mode, uint64_t usec)
{
	struct stat st;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
				    {.tv_sec = (time_t)(usec / 1000000), .tv_nsec = (long)(usec % 1000000) * 1000}};
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	int r = write_all(fd, p, n, false);
	if (!r && (uint64_t)st.st_size > n && ftruncate(fd, (off_t)n) < 0)
		r = -errno;
	if (!r && usec && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

int path_make(const char *path, const void *p, size_t n, mode_t mode, bool durable)
{
	return publish(path, p, n, mode, durable, true);
}
