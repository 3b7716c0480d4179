/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log_journal.h"

#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINES_SIZE 8192 /* of a message with its escapes; the kernel takes far larger datagrams */
#define HEAD_SIZE 256

/* Not connected: a journal that is started again has another socket at the same path. */
static struct {
	int fd; /* 0: none */
	struct sockaddr_un at;
} journal;

/* ---- what a setting says */

bool log_where_is_file(const char *where)
{
	return *where && !streq(where, "stderr") && !streq(where, "journal") && !has_prefix(where, "journal:");
}

char *log_where(const char *text)
{
	char directory[PATH_MAX];
	const char *home = getenv("HOME");
	if (!log_where_is_file(text) || *text == '/')
		return xstrdup(text);
	if (has_prefix(text, "~/") && home && *home == '/')
		return xasprintf("%s%s", home, text + 1);
	return getcwd(directory, sizeof directory) ? xasprintf("%s/%s", streq(directory, "/") ? "" : directory, text)
						   : xstrdup(text);
}

bool log_is_journal(const char *journal_stream, int fd)
{
	unsigned long long device, inode;
	struct stat s;
	int n = -1;
	return journal_stream && sscanf(journal_stream, "%20llu:%20llu%n", &device, &inode, &n) == 2 &&
	       !journal_stream[n] && fstat(fd, &s) == 0 && s.st_dev == device && s.st_ino == inode;
}

static int open_journal(const char *path)
{
	if (journal.fd > 0)
		close(journal.fd);
	journal.fd = 0;
	journal.at = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof journal.at.sun_path)
		return -ENAMETOOLONG;
	snprintf(journal.at.sun_path, sizeof journal.at.sun_path, "%s", path);
	if (access(path, W_OK) < 0)
		return -errno;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	assert(fd > 0);
	journal.fd = fd;
	return 0;
}

void log_use(const char *where)
{
	const char *path = has_prefix(where, "journal:") ? where + strlen("journal:") : LOG_JOURNAL_SOCKET;
	bool is_asked = has_prefix(where, "journal");
	if (log_where_is_file(where) || streq(where, "stderr"))
		return;
	if (!is_asked && !log_is_journal(getenv("JOURNAL_STREAM"), STDERR_FILENO))
		return;
	int r = open_journal(path);
	/* Else standard error leads there, too: line by line, without levels. */
	if (r && is_asked)
		log_warn("%s: %s: messages go to standard error", path, strerror(-r));
}

/* ---- lines */

/* Line by line, so that nothing that a terminal obeys is left and the lines of a message stay lines. */
static size_t escape_lines(const char *text, size_t n, char to[LINES_SIZE])
{
	size_t at = 0;
	for (const char *end = text + n; at < LINES_SIZE - 1;) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((line_end ? line_end : end) - text);
		log_escape(text, length, to + at, LINES_SIZE - 1 - at);
		at += strlen(to + at);
		if (!line_end)
			break;
		to[at++] = '\n';
		text = line_end + 1;
	}
	return at;
}

/* A value with line ends has its length in front, 64 bits with the least first, and its name on a line of its own. */
bool log_journal_put(enum log_level level, const char *program, const char *text, size_t n)
{
	static const int priorities[] = {3, 4, 6, 7};
	char lines[LINES_SIZE], head[HEAD_SIZE];
	uint8_t size[8];
	assert(level < countof(priorities));
	if (journal.fd <= 0)
		return false;
	n = escape_lines(text, n, lines);
	bool is_one = !memchr(lines, '\n', n);
	int n_head = snprintf(head, sizeof head, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%.64s\nMESSAGE%s", priorities[level],
			      program, is_one ? "=" : "\n");
	assert(n_head > 0 && n_head < HEAD_SIZE);
	put_le64(size, n);
	struct iovec parts[] = {
		{head, (size_t)n_head}, {size, is_one ? 0 : sizeof size}, {lines, n}, {(char[]){'\n'}, 1}};
	const struct msghdr m = {.msg_name = &journal.at,
				 .msg_namelen = sizeof journal.at,
				 .msg_iov = parts,
				 .msg_iovlen = countof(parts)};
	ssize_t r;
	do
		r = sendmsg(journal.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r >= 0;
}
