/* SPDX-License-Identifier: Apache-2.0
 * Makes a newly attached tree warm before the first task meets it: listing a directory gives the kernel each name's dentry and attributes at
 * once (2 us a file), reading ahead fills its page cache. Through the mount, so by a process that does not serve it. */
#include "common/path.h"
#include "vinefs/mount/internal.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LISTING_ROOM (64u << 10)

static bool is_late(uint64_t until_usec)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return until_usec && (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 >= until_usec;
}

/* One directory may have more names than there is time for. */
static int list(int fd, uint64_t until_usec, struct mount_warmed *out)
{
	_free_ char *entries = xmalloc(LISTING_ROOM);
	long n;
	assert(fd >= 0);
	do {
		if (is_late(until_usec))
			return -ETIME;
		n = syscall(SYS_getdents64, fd, entries, LISTING_ROOM);
	} while (n > 0 || (n < 0 && errno == EINTR));
	out->n_directories += n == 0;
	return n < 0 ? -errno : 0;
}

/* 128 KiB at a time is what the kernel would read ahead; the whole is asked for here, and no byte is copied. */
static int read_ahead(int fd, uint64_t size, struct mount_warmed *out)
{
	if (readahead(fd, 0, size) < 0)
		return -errno;
	out->n_files++;
	out->size += size;
	return 0;
}

static int warm_one(int root, const struct tree *t, uint32_t node, uint64_t until_usec, struct mount_warmed *out)
{
	unsigned type = tree_node(t, node)->type;
	_free_ char *path = tree_path(t, node);
	if (type == TREE_LINK)
		return 0;
	int flags = type == TREE_DIRECTORY ? O_RDONLY | O_DIRECTORY : O_RDONLY;
	_close_ int fd = node == 0 ? fcntl(root, F_DUPFD_CLOEXEC, 3) : path_open_beneath(root, path, flags, 0);
	if (fd < 0)
		return node == 0 ? -errno : fd;
	assert(node < tree_n_nodes(t));
	return type == TREE_DIRECTORY ? list(fd, until_usec, out) : read_ahead(fd, tree_file_size(t, node), out);
}

int mount_warm(const char *root, const struct tree *t, const uint32_t *nodes, size_t n, uint64_t until_usec,
	       struct mount_warmed *out)
{
	*out = (struct mount_warmed){0};
	int kind = tree_node(t, 0)->type == TREE_FILE ? 0 : O_DIRECTORY; /* a single file is its own root */
	_close_ int fd = open(root, O_RDONLY | O_CLOEXEC | kind);
	if (fd < 0)
		return -errno;
	/* A profile comes from elsewhere, perhaps for another tree: what does not fit costs time only. Names first, for they are cheap. */
	for (unsigned is_file = 0; is_file < 2; is_file++) {
		for (size_t i = 0; i < n; i++) {
			if (nodes[i] >= tree_n_nodes(t) || (tree_node(t, nodes[i])->type != TREE_DIRECTORY) != is_file)
				continue;
			int r = is_late(until_usec) ? -ETIME : warm_one(fd, t, nodes[i], until_usec, out);
			if (r < 0 && r != -EACCES)
				return r;
		}
	}
	return 0;
}
