// SPDX-License-Identifier: Apache-2.0
// legacy read|again|harm|beside [ROOT]: a program of long ago, linked statically, that has the path of its data compiled into it.
//
// read   opens its table to read and prints it
// again  opens it to read and write, as Fortran does, and if that cannot be to read; reads only
// harm   appends to what it has, truncates, renames and deletes it; says of each what came of it
// beside writes a table beside the one it reads
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DATA "/legacy-code/v1.2/data"

static char path[3][4096];

static int say(const char *what, int result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
	return result < 0;
}

static int print(int flags)
{
	char text[1000];
	int fd = open(path[0], flags);
	if (fd < 0 && (errno == EROFS || errno == EACCES))
		fd = open(path[0], O_RDONLY);
	if (fd < 0) {
		perror(path[0]);
		return 2;
	}
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	return n < 0 || fwrite(text, 1, (size_t)n, stdout) != (size_t)n;
}

static int append(const char *to, int flags)
{
	int fd = open(to, O_WRONLY | flags, 0644);
	if (fd < 0)
		return -1;
	int r = write(fd, "more\n", 5) == 5 ? 0 : -1;
	close(fd);
	return r;
}

static int harm(void)
{
	int failed = say("append", append(path[0], O_APPEND));
	failed += say("truncate", truncate(path[0], 0));
	failed += say("rename", rename(path[0], path[2]));
	failed += say("delete", unlink(path[1]));
	return failed ? 3 : 0;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"table", "other", "renamed"};
	for (int i = 0; i < 3; i++)
		snprintf(path[i], sizeof path[i], "%s" DATA "/%s", argc > 2 ? argv[2] : "", names[i]);
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "read") == 0)
		return print(O_RDONLY);
	if (strcmp(what, "again") == 0)
		return print(O_RDWR);
	if (strcmp(what, "harm") == 0)
		return harm();
	if (strcmp(what, "beside") == 0)
		return print(O_RDONLY) || say("beside", append(path[2], O_CREAT | O_EXCL));
	return 64;
}
