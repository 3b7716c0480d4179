/* SPDX-License-Identifier: Apache-2.0
 * posix check DIR: what a filesystem answers, a line for each question, so that two of them can be compared.
 * posix model DIR SEED N: N random operations beside a model in memory, every byte compared. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void say(const char *what, long long value)
{
	if (value < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %lld\n", what, value);
}

/* What a question needs in order to be asked. */
static void must(long long r)
{
	if (r >= 0)
		return;
	perror("posix");
	exit(1);
}

static int make(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void put(const char *path, const char *text)
{
	int fd = make(path, text);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* What is in a file, as the answer. */
static void show(const char *what, const char *path)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n < 0)
		say(what, -1);
	else
		printf("%s: '%s'\n", what, text);
	if (fd >= 0)
		close(fd);
}

static struct stat look(const char *path)
{
	struct stat st = {0};
	if (lstat(path, &st) < 0)
		perror(path);
	return st;
}

/* ---- questions */

static void ask_create(void)
{
	umask(027);
	int fd = open("a", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	say("create", fd >= 0 ? 0 : -1);
	say("mode under umask 027", look("a").st_mode & 07777);
	say("create again", open("a", O_RDWR | O_CREAT | O_EXCL, 0666));
	say("write", write(fd, "hello", 5));
	say("size", look("a").st_size);
	close(fd);
	fd = open("a", O_WRONLY | O_APPEND | O_CLOEXEC);
	lseek(fd, 0, SEEK_SET);
	say("append", write(fd, "!", 1));
	close(fd);
	show("appended", "a");
	close(open("a", O_WRONLY | O_TRUNC | O_CLOEXEC));
	say("truncated", look("a").st_size);
	say("missing", open("none", O_RDONLY));
	say("below a file", open("a/b", O_RDONLY));
	say("a directory to write", open(".", O_WRONLY));
	say("setuid by chmod", chmod("a", 06755));
	say("its mode", look("a").st_mode & 07777);
	umask(022);
}

static void ask_names(void)
{
	char name[300];
	memset(name, 'n', sizeof name);
	name[255] = 0;
	put(name, "long");
	show("255 bytes", name);
	name[255] = 'n';
	name[256] = 0;
	say("256 bytes", open(name, O_CREAT | O_WRONLY, 0644));
	put("\xff\xfe not text", "x");
	show("bytes", "\xff\xfe not text");
	put("two\nlines", "x");
	show("lines", "two\nlines");
	say("empty", open("", O_CREAT | O_WRONLY, 0644));
	for (int i = 0; i < 40; i++) {
		memset(name, 'd', 120);
		name[120] = 0;
		if (mkdir(name, 0755) < 0 || chdir(name) < 0) {
			say("deep", -1);
			return;
		}
	}
	char *at = getcwd(NULL, 0);
	say("deep", at ? (long long)(strlen(at) > PATH_MAX) : -1);
	free(at);
	put("bottom", "reached");
	show("at the bottom", "bottom");
}

static void ask_directories(void)
{
	say("mkdir", mkdir("d", 0755));
	say("mkdir again", mkdir("d", 0755));
	say("links of a directory", look("d").st_nlink > 0);
	put("d/x", "x");
	say("rmdir full", rmdir("d"));
	say("unlink a directory", unlink("d"));
	say("unlink", unlink("d/x"));
	say("rmdir", rmdir("d"));
	say("rmdir missing", rmdir("d"));
	say("rmdir .", rmdir("."));
	mkdir("sticky", 01777);
	say("sticky", look("sticky").st_mode & 07777);
	mkdir("here", 0755);
	if (chdir("here") == 0 && rmdir("../here") == 0)
		say("create where nothing is", open("x", O_CREAT | O_WRONLY, 0644));
	say("back", chdir(".."));
}

static void ask_rename(void)
{
	put("from", "from");
	put("to", "to");
	mkdir("empty", 0755);
	mkdir("full", 0755);
	put("full/x", "x");
	say("file over file", rename("from", "to"));
	show("then", "to");
	say("file over directory", rename("to", "empty"));
	say("directory over file", rename("empty", "to"));
	say("directory over full", rename("empty", "full") == 0 ? 0 : errno == ENOTEMPTY || errno == EEXIST ? 1 : 2);
	say("directory over empty", rename("full", "empty"));
	show("then", "empty/x");
	say("below itself", rename("empty", "empty/y"));
	put("a2", "a2");
	say("noreplace", renameat2(AT_FDCWD, "a2", AT_FDCWD, "to", RENAME_NOREPLACE));
	say("exchange", renameat2(AT_FDCWD, "a2", AT_FDCWD, "to", RENAME_EXCHANGE));
	show("exchanged", "a2");
	must(link("to", "same"));
	say("onto its own link", rename("to", "same"));
	say("both there", access("to", F_OK) == 0 && access("same", F_OK) == 0);
}

static void ask_links(void)
{
	put("one", "one");
	say("link", link("one", "two"));
	say("links", look("two").st_nlink);
	say("one inode", look("one").st_ino == look("two").st_ino);
	unlink("one");
	show("left", "two");
	mkdir("dir", 0755);
	say("link of a directory", link("dir", "dir2"));
	say("symlink", symlink("nowhere", "dangling"));
	char text[16] = "";
	say("readlink", readlink("dangling", text, sizeof text));
	say("through a dangling one", open("dangling", O_RDONLY));
	must(symlink("loop", "loop"));
	say("a loop", open("loop", O_RDONLY));
	say("nofollow", open("dangling", O_RDONLY | O_NOFOLLOW));
	say("create through it", open("dangling", O_CREAT | O_WRONLY, 0644) >= 0);
	show("there", "nowhere");
}

static void ask_attributes(void)
{
	put("file", "x");
	const struct timespec then[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
					 {.tv_sec = 1000000001, .tv_nsec = 987654321}};
	say("utimens", utimensat(AT_FDCWD, "file", then, 0));
	say("mtime nsec", look("file").st_mtim.tv_nsec);
	say("atime sec", look("file").st_atim.tv_sec);
	const struct timespec omit[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
	utimensat(AT_FDCWD, "file", omit, 0);
	say("omitted", look("file").st_atim.tv_nsec);
	say("now", look("file").st_mtim.tv_sec > 1000000001);
	say("chmod", chmod("file", 0400));
	say("mode", look("file").st_mode & 07777);
	say("own", look("file").st_uid == geteuid());
	say("chown to oneself", chown("file", geteuid(), getegid()));
	say("xattr", setxattr("file", "user.test", "v", 1, 0));
	chmod("file", 0600);
	if (setxattr("file", "user.test", "v", 1, 0) == 0) {
		char v[4];
		say("xattr back", getxattr("file", "user.test", v, sizeof v));
	}
	struct stat before = look(".");
	struct timespec old[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
	utimensat(AT_FDCWD, ".", old, 0);
	put("more", "x");
	say("a directory's mtime moves", look(".").st_mtim.tv_sec != 5 && before.st_ino == look(".").st_ino);
	say("the same inode twice", look("file").st_ino == look("file").st_ino);
}

static void ask_holes(void)
{
	int fd = make("holes", "head");
	say("extend", ftruncate(fd, 1 << 20));
	say("write at 512 KiB", pwrite(fd, "data", 4, 1 << 19));
	say("data after the head", lseek(fd, 65536, SEEK_DATA) >= 65536);
	say("a hole before it", lseek(fd, 0, SEEK_HOLE) < 1 << 19);
	char zero[8] = "xxxxxxx";
	say("read of a hole", pread(fd, zero, 4, 1 << 18));
	say("zeros", memcmp(zero, "\0\0\0\0", 4) == 0);
	say("few blocks", look("holes").st_blocks < 256);
	say("a terabyte", ftruncate(fd, 1LL << 40));
	say("its size", look("holes").st_size);
	say("fallocate", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096));
	say("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 19, 4096));
	must(pread(fd, zero, 4, 1 << 19));
	say("punched", memcmp(zero, "\0\0\0\0", 4) == 0);
	say("past the end", pread(fd, zero, 4, 1LL << 41));
	close(fd);
	say("truncate", truncate("holes", 3));
	show("rest", "holes");
}

static int locked_by_child(int (*try)(int fd), int flags)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("lock", flags | O_CLOEXEC);
		_exit(fd < 0 ? 2 : try(fd) < 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int try_flock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB);
}

static int try_fcntl(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 2};
	return fcntl(fd, F_SETLK, &l);
}

static int try_ofd(int fd)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_SETLK, &l);
}

static void ask_locks(void)
{
	int fd = make("lock", "0123456789");
	say("flock", flock(fd, LOCK_EX));
	say("flock of another", locked_by_child(try_flock, O_RDWR));
	flock(fd, LOCK_UN);
	say("flock then", locked_by_child(try_flock, O_RDWR));
	say("fcntl", try_fcntl(fd));
	say("fcntl of another", locked_by_child(try_fcntl, O_RDWR));
	say("ofd of another", locked_by_child(try_ofd, O_RDWR));
	struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	fcntl(fd, F_SETLK, &l);
	say("ofd then", locked_by_child(try_ofd, O_RDWR));
	say("lease for reading while open to write", fcntl(fd, F_SETLEASE, F_RDLCK));
	close(fd);
}

static void ask_memory(void)
{
	int fd = make("mapped", "0123456789");
	must(ftruncate(fd, 8192));
	char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte[1];
	say("map", at != MAP_FAILED);
	if (at == MAP_FAILED)
		return;
	memcpy(at + 4096, "written", 7);
	say("msync", msync(at, 8192, MS_SYNC));
	char text[8] = "";
	must(pread(fd, text, 7, 4096));
	printf("read what was mapped: '%s'\n", text);
	must(pwrite(fd, "W", 1, 4096));
	printf("mapped what was written: %c\n", at[4096]);
	int pid = fork(), status;
	if (pid == 0) {
		at[0] = 'c';
		_exit(0);
	}
	waitpid(pid, &status, 0);
	must(pread(fd, byte, 1, 0));
	printf("a child's: %c\n", byte[0]);
	munmap(at, 8192);
	close(fd);
}

static void ask_open_files(void)
{
	int fd = make("gone", "still here");
	unlink("gone");
	char text[16] = "";
	say("read of what is unlinked", pread(fd, text, 10, 0));
	struct stat st;
	fstat(fd, &st);
	say("its links", st.st_nlink);
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	say("O_TMPFILE", fd >= 0 ? 0 : -1);
	if (fd >= 0) {
		char self[40];
		say("write to it", write(fd, "named", 5));
		snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
		say("name it", linkat(AT_FDCWD, self, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
		close(fd);
		show("named", "named");
	}
	fd = make("renamed-away", "a");
	rename("renamed-away", "elsewhere");
	say("write after rename", write(fd, "b", 1));
	close(fd);
	show("then", "elsewhere");
	int from = make("source", "copied text"), to = make("target", "");
	loff_t off = 0;
	say("copy_file_range", copy_file_range(from, &off, to, NULL, 11, 0));
	show("copied", "target");
	off = 0;
	say("sendfile", sendfile(to, from, &off, 6));
	show("sent", "target");
	say("fsync", fsync(to));
	close(from);
	close(to);
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	say("fsync of a directory", fsync(dir));
	close(dir);
}

static void ask_kinds(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	say("fifo", mkfifo("fifo", 0644));
	say("kind of it", S_ISFIFO(look("fifo").st_mode));
	say("socket", bind(s, (struct sockaddr *)&a, sizeof a));
	say("listen", listen(s, 1));
	close(s);
	int n = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	say("watch", inotify_add_watch(n, ".", IN_CREATE | IN_CLOSE_WRITE) >= 0);
	put("watched", "x");
	char events[1024];
	say("events", read(n, events, sizeof events) > 0);
	close(n);
	put("program", "#!/bin/sh\nexit 7\n");
	chmod("program", 0755);
	int status = system("./program");
	say("a program", WEXITSTATUS(status));
}

static void ask_listing(void)
{
	char name[32];
	unsigned n = 0, n_seen = 0;
	mkdir("many", 0755);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "many/%u", i);
		put(name, "");
	}
	DIR *d = opendir("many");
	for (const struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		n_seen++;
		snprintf(name, sizeof name, "many/%.20s", e->d_name);
		n += unlink(name) == 0;
	}
	closedir(d);
	say("seen while removing", n_seen);
	say("removed", n);
	say("rmdir", rmdir("many"));
}

static const struct {
	const char *name;
	void (*ask)(void);
} questions[] = {{"create", ask_create}, {"directories", ask_directories}, {"rename", ask_rename},
		 {"links", ask_links},   {"attributes", ask_attributes},   {"holes", ask_holes},
		 {"locks", ask_locks},   {"memory", ask_memory},           {"open-files", ask_open_files},
		 {"kinds", ask_kinds},   {"listing", ask_listing},         {"names", ask_names}};

/* Each in a directory of its own, by a child: names goes deep. */
static int check(void)
{
	for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
		int status = -1;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			if (mkdir(questions[i].name, 0755) < 0 || chdir(questions[i].name) < 0) {
				perror(questions[i].name);
				_exit(1);
			}
			printf("== %s\n", questions[i].name);
			questions[i].ask();
			exit(0);
		}
		if (waitpid(pid, &status, 0) < 0 || status != 0)
			return 1;
	}
	return 0;
}

/* ---- a model */

enum { FILES = 8, SIZE_MOST = 1 << 18 };

static uint64_t state;
static uint64_t any(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static struct {
	uint8_t *bytes;
	size_t size;
	int is_there;
} files[FILES];

static void die(const char *what, unsigned f)
{
	fprintf(stderr, "file %u: %s: %s\n", f, what, strerror(errno));
	exit(1);
}

static int open_file(unsigned f, int flags)
{
	char name[16];
	snprintf(name, sizeof name, "f%u", f);
	int fd = open(name, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		die("open", f);
	return fd;
}

static void compare(unsigned f)
{
	static uint8_t bytes[SIZE_MOST + 1];
	int fd = open_file(f, O_RDONLY);
	ssize_t n = pread(fd, bytes, sizeof bytes, 0);
	if (n != (ssize_t)files[f].size || memcmp(bytes, files[f].bytes, files[f].size) != 0) {
		errno = 0;
		die("not what was written", f);
	}
	close(fd);
}

static void resize(unsigned f, size_t size)
{
	if (size > files[f].size)
		memset(files[f].bytes + files[f].size, 0, size - files[f].size);
	files[f].size = size;
}

static void change(unsigned f)
{
	size_t at = any(SIZE_MOST), n = any(SIZE_MOST - at) + 1;
	uint8_t byte = (uint8_t)any(256);
	int fd = open_file(f, O_RDWR);
	switch (any(3)) {
	case 0:
		if (at + n > files[f].size)
			resize(f, at + n);
		memset(files[f].bytes + at, byte, n);
		if (pwrite(fd, files[f].bytes + at, n, (off_t)at) != (ssize_t)n)
			die("write", f);
		break;
	case 1:
		resize(f, at);
		if (ftruncate(fd, (off_t)at) < 0)
			die("truncate", f);
		break;
	default:
		if (!files[f].size)
			break;
		at %= files[f].size;
		uint8_t *map = mmap(NULL, files[f].size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("map", f);
		map[at] = files[f].bytes[at] = byte;
		munmap(map, files[f].size);
	}
	close(fd);
}

static void move(unsigned f, unsigned g)
{
	char from[16], to[16];
	snprintf(from, sizeof from, "f%u", f);
	snprintf(to, sizeof to, "f%u", g);
	if (rename(from, to) < 0)
		die("rename", f);
	if (f == g)
		return;
	uint8_t *bytes = files[g].bytes;
	files[g] = files[f];
	files[f].bytes = bytes;
	files[f].is_there = 0;
}

static int model(uint64_t seed, unsigned n)
{
	state = seed * 0x9e3779b97f4a7c15u + 1;
	for (unsigned f = 0; f < FILES; f++)
		if (!(files[f].bytes = calloc(1, SIZE_MOST)))
			return 1;
	for (unsigned i = 0; i < n; i++) {
		unsigned f = (unsigned)any(FILES);
		char name[16];
		snprintf(name, sizeof name, "f%u", f);
		if (!files[f].is_there) {
			close(open_file(f, O_CREAT | O_EXCL | O_RDWR));
			files[f].is_there = 1;
			files[f].size = 0;
		}
		switch (any(8)) {
		case 0:
			move(f, (unsigned)any(FILES));
			break;
		case 1:
			if (unlink(name) < 0)
				die("unlink", f);
			files[f].is_there = 0;
			break;
		case 2:
			compare(f);
			break;
		default:
			change(f);
		}
	}
	for (unsigned f = 0; f < FILES; f++)
		if (files[f].is_there)
			compare(f);
	printf("%u operations agree\n", n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3 || chdir(argv[2]) < 0) {
		perror(argc < 3 ? "posix check|model DIR [SEED N]" : argv[2]);
		return 1;
	}
	if (strcmp(argv[1], "check") == 0)
		return check();
	return argc == 5 ? model(strtoull(argv[3], NULL, 10), (unsigned)atoi(argv[4])) : 1;
}
