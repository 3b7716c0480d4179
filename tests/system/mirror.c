/* SPDX-License-Identifier: Apache-2.0
 * Shows a directory through FUSE: to the daemons a filesystem of which nobody can tell where it lies, as a shared
 * filesystem is.
 *
 *   mirror MOUNTPOINT -f -o source=DIR[,faults=FILE][,intr]      until it is unmounted; DIR is absolute
 *
 * What FILE says is what befalls whoever looks, opens, lists or reads: "stall": no answer until it says something else; "EIO", "ESTALE": that error;
 * nothing: no fault. "stall PLACE": no answer to whoever opens or reads what has a path that begins so. */
#define FUSE_USE_VERSION 35
#include "common/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct mirror {
	char *dir, *faults;
	int is_interruptible;
};

#define PLACE_MAX PATH_MAX
#define STALL_LOOK_USEC 5000

/* Where `path` really lies. */
static char *place(const char *path, char at[PLACE_MAX])
{
	const struct mirror *m = fuse_get_context()->private_data;
	int n = snprintf(at, PLACE_MAX, "%s%s", m->dir, path);
	assert(n > 0 && n < PLACE_MAX);
	return at;
}

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static bool is_stalled(const char *word, const char *path)
{
	static const char at[] = "stall ";
	return has_prefix(word, at) ? path && has_prefix(path, word + strlen(at)) : has_prefix(word, "stall");
}

/* 0, or what befalls this request; waits as long as it stalls. With intr its caller may be killed meanwhile, as with most filesystems. `path`: of a file whose bytes are asked for; NULL. */
static int fault(const char *path)
{
	const struct mirror *m = fuse_get_context()->private_data;
	for (;;) {
		char word[PLACE_MAX] = "";
		_close_ int fd = m->faults ? open(m->faults, O_RDONLY | O_CLOEXEC) : -1;
		if (fd >= 0 && read(fd, word, sizeof word - 1) < 0)
			return -errno;
		word[strcspn(word, "\n")] = 0;
		if (!is_stalled(word, path))
			return has_prefix(word, "EIO") ? -EIO : has_prefix(word, "ESTALE") ? -ESTALE : 0;
		if (fuse_interrupted())
			return -EINTR;
		usleep(STALL_LOOK_USEC);
	}
}

static int mirror_getattr(const char *path, struct stat *st, struct fuse_file_info *f)
{
	char at[PLACE_MAX];
	int r = fault(NULL);
	return r ? r : result(f ? fstat((int)f->fh, st) : lstat(place(path, at), st));
}

static int mirror_readdir(const char *path, void *to, fuse_fill_dir_t fill, off_t offset _unused_,
			  struct fuse_file_info *f _unused_, enum fuse_readdir_flags flags _unused_)
{
	char at[PLACE_MAX];
	int r = fault(NULL);
	DIR *d = r ? NULL : opendir(place(path, at));
	if (!d)
		return r ? r : -errno;
	for (const struct dirent *each; (each = readdir(d));)
		if (fill(to, each->d_name, NULL, 0, 0))
			break;
	closedir(d);
	return 0;
}

static int mirror_mkdir(const char *path, mode_t mode)
{
	char at[PLACE_MAX];
	return result(mkdir(place(path, at), mode));
}

static int mirror_unlink(const char *path)
{
	char at[PLACE_MAX];
	return result(unlink(place(path, at)));
}

static int mirror_rmdir(const char *path)
{
	char at[PLACE_MAX];
	return result(rmdir(place(path, at)));
}

static int mirror_rename(const char *from, const char *to, unsigned flags)
{
	char a[PLACE_MAX], b[PLACE_MAX];
	return result(renameat2(AT_FDCWD, place(from, a), AT_FDCWD, place(to, b), flags));
}

static int mirror_link(const char *from, const char *to)
{
	char a[PLACE_MAX], b[PLACE_MAX];
	return result(link(place(from, a), place(to, b)));
}

static int mirror_mknod(const char *path, mode_t mode, dev_t device)
{
	char at[PLACE_MAX];
	return result(mknod(place(path, at), mode, device));
}

static int mirror_chmod(const char *path, mode_t mode, struct fuse_file_info *f _unused_)
{
	char at[PLACE_MAX];
	return result(chmod(place(path, at), mode));
}

static int mirror_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *f)
{
	char at[PLACE_MAX];
	return result(f ? futimens((int)f->fh, times)
			: utimensat(AT_FDCWD, place(path, at), times, AT_SYMLINK_NOFOLLOW));
}

static int mirror_truncate(const char *path, off_t size, struct fuse_file_info *f)
{
	char at[PLACE_MAX];
	return result(f ? ftruncate((int)f->fh, size) : truncate(place(path, at), size));
}

static int mirror_create(const char *path, mode_t mode, struct fuse_file_info *f)
{
	char at[PLACE_MAX];
	int fd = open(place(path, at), f->flags | O_CREAT | O_CLOEXEC, mode);
	f->fh = (uint64_t)fd;
	return fd < 0 ? -errno : 0;
}

static int mirror_open(const char *path, struct fuse_file_info *f)
{
	char at[PLACE_MAX];
	int r = fault(path);
	/* The kernel places appended bytes itself. */
	int fd = r ? r : open(place(path, at), (f->flags & ~O_APPEND) | O_CLOEXEC);
	f->fh = (uint64_t)fd;
	return r ? r : fd < 0 ? -errno : 0;
}

static int mirror_readlink(const char *path, char *to, size_t room)
{
	char at[PLACE_MAX];
	ssize_t n = readlink(place(path, at), to, room - 1);
	to[max(n, 0)] = 0;
	return n < 0 ? -errno : 0;
}

static int mirror_release(const char *path _unused_, struct fuse_file_info *f)
{
	return result(close((int)f->fh));
}

static int mirror_read(const char *path, char *to, size_t n, off_t offset, struct fuse_file_info *f)
{
	int r = fault(path);
	return r ? r : result(pread((int)f->fh, to, n, offset));
}

static int mirror_write(const char *path _unused_, const char *p, size_t n, off_t offset, struct fuse_file_info *f)
{
	return result(pwrite((int)f->fh, p, n, offset));
}

static int mirror_fsync(const char *path _unused_, int is_data, struct fuse_file_info *f)
{
	return result(is_data ? fdatasync((int)f->fh) : fsync((int)f->fh));
}

static void *mirror_init(struct fuse_conn_info *c _unused_, struct fuse_config *config)
{
	struct mirror *m = fuse_get_context()->private_data;
	config->intr = m->is_interruptible;
	return m;
}

static const struct fuse_operations operations = {
	.init = mirror_init,
	.getattr = mirror_getattr,
	.readdir = mirror_readdir,
	.readlink = mirror_readlink,
	.mkdir = mirror_mkdir,
	.unlink = mirror_unlink,
	.rmdir = mirror_rmdir,
	.rename = mirror_rename,
	.utimens = mirror_utimens,
	.link = mirror_link,
	.mknod = mirror_mknod,
	.chmod = mirror_chmod,
	.truncate = mirror_truncate,
	.create = mirror_create,
	.open = mirror_open,
	.release = mirror_release,
	.read = mirror_read,
	.write = mirror_write,
	.fsync = mirror_fsync,
};

static void on_interrupt(int signo)
{
	(void)signo;
}

int main(int argc, char **argv)
{
	/* libfuse interrupts a request's thread by it, and installs a handler only if it knows of intr before init(). */
	const struct sigaction interrupt = {.sa_handler = on_interrupt};
	static const struct fuse_opt options[] = {{"source=%s", offsetof(struct mirror, dir), 0},
						  {"faults=%s", offsetof(struct mirror, faults), 0},
						  {"intr", offsetof(struct mirror, is_interruptible), 1},
						  FUSE_OPT_END};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct mirror m = {NULL, NULL, 0};
	if (fuse_opt_parse(&args, &m, options, NULL) < 0 || !m.dir || m.dir[0] != '/') {
		fprintf(stderr, "usage: mirror MOUNTPOINT -f -o source=DIR[,faults=FILE][,intr]\n");
		return 125;
	}
	umask(0);
	sigaction(SIGUSR1, &interrupt, NULL);
	int r = fuse_main(args.argc, args.argv, &operations, &m);
	fuse_opt_free_args(&args);
	free(m.dir);
	free(m.faults);
	return r;
}
