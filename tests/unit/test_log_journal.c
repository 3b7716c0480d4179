// SPDX-License-Identifier: Apache-2.0
// The journal's protocol, on a socket of the test's own: what is said arrives whole, and what is not taken goes where it went before.
#include "common/log_journal.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int journal = -1, before = -1; // where lines went before: a file
static char *socket_path;

static void listen_here(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof at.sun_path, "%s", socket_path);
	unlink(socket_path);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ASSERT(journal >= 0);
	ASSERT_EQ(bind(journal, (const struct sockaddr *)&at, sizeof at), 0);
}

static void begin(void)
{
	_free_ char *log = unit_path("log"), *where = NULL;
	socket_path = unit_path("journal");
	before = open(log, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	ASSERT(before >= 0);
	listen_here();
	log_init("test", LOG_LEVEL_DEBUG, before, false);
	where = xasprintf("journal:%s", socket_path);
	log_use(where);
}

static void end(void)
{
	log_init("test", LOG_LEVEL_INFO, STDERR_FILENO, false);
	unlink(socket_path);
	close(journal);
	close(before);
	free(socket_path);
}

// The next datagram; NULL: there is none. *n is its size.
static const char *next(size_t *n)
{
	static char text[65536];
	ssize_t r = recv(journal, text, sizeof text - 1, MSG_DONTWAIT);
	*n = r < 0 ? 0 : (size_t)r;
	text[*n] = 0;
	return r < 0 ? NULL : text;
}

static const char *next_text(void)
{
	size_t n;
	return next(&n);
}

static off_t size_before(void)
{
	struct stat s;
	ASSERT_EQ(fstat(before, &s), 0);
	return s.st_size;
}

TEST(a_line_is_fields_with_its_level_and_program)
{
	begin();
	log_info("hello %d", 7);
	ASSERT_STR(next_text(), "PRIORITY=6\nSYSLOG_IDENTIFIER=test\nMESSAGE=hello 7\n");
	log_error("a");
	ASSERT_STR(next_text(), "PRIORITY=3\nSYSLOG_IDENTIFIER=test\nMESSAGE=a\n");
	log_warn("b");
	ASSERT_STR(next_text(), "PRIORITY=4\nSYSLOG_IDENTIFIER=test\nMESSAGE=b\n");
	log_debug("%s", "");
	ASSERT_STR(next_text(), "PRIORITY=7\nSYSLOG_IDENTIFIER=test\nMESSAGE=\n");
	ASSERT_EQ(log_errno(ENOENT, "open x"), -ENOENT);
	ASSERT_STR(next_text(), "PRIORITY=3\nSYSLOG_IDENTIFIER=test\nMESSAGE=open x: No such file or directory\n");
	ASSERT_EQ(size_before(), 0);
	end();
}

TEST(lines_stay_lines_and_forge_no_field)
{
	static const char head[] = "PRIORITY=6\nSYSLOG_IDENTIFIER=test\nMESSAGE\n",
			  text[] = "one\nPRIORITY=0\n\\x1b[2J\\xff";
	size_t n;
	begin();
	log_info("one\nPRIORITY=0\n\x1b[2J\xff");
	const char *got = next(&n);
	ASSERT(got);
	ASSERT_EQ(n, strlen(head) + 8 + strlen(text) + 1);
	ASSERT(memcmp(got, head, strlen(head)) == 0);
	ASSERT_EQ(get_le64(got + strlen(head)), strlen(text));
	ASSERT(memcmp(got + strlen(head) + 8, text, strlen(text)) == 0);
	ASSERT_EQ(got[n - 1], '\n');
	end();
}

TEST(a_message_that_is_too_long_is_cut)
{
	static char text[20000];
	size_t n;
	begin();
	for (size_t i = 0; i + 1 < sizeof text; i++)
		text[i] = i % 3 ? '\x1b' : '\n';
	log_info("%s", text);
	ASSERT(next(&n));
	ASSERT(n > 4096 && n < 9000);
	end();
}

TEST(what_the_journal_does_not_take_goes_where_it_went_before)
{
	begin();
	close(journal);
	log_info("while it is away");
	ASSERT(size_before() > 0);
	off_t size = size_before();
	// Another one, at the same path.
	listen_here();
	log_info("it is back");
	ASSERT_STR(next_text(), "PRIORITY=6\nSYSLOG_IDENTIFIER=test\nMESSAGE=it is back\n");
	ASSERT_EQ(size_before(), size);
	end();
}

TEST(a_journal_that_does_not_read_stops_nobody)
{
	unsigned n = 0;
	begin();
	for (int i = 0; i < 5000; i++)
		log_info("line %d", i);
	while (next_text())
		n++;
	ASSERT(n > 0 && n < 5000);
	ASSERT(size_before() > 0);
	end();
}

TEST(where_there_is_no_journal_that_is_said_once_if_it_was_asked_for)
{
	_free_ char *log = unit_path("log");
	before = open(log, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	log_init("test", LOG_LEVEL_INFO, before, false);
	unsetenv("JOURNAL_STREAM");
	log_use("");
	log_use("stderr");
	log_use("/some/file");
	ASSERT_EQ(size_before(), 0);
	log_use("journal:/nowhere/journal");
	char text[500] = "";
	ASSERT(pread(before, text, sizeof text - 1, 0) > 0);
	ASSERT(strstr(text, "/nowhere/journal: No such file or directory: messages go to standard error\n"));
	log_init("test", LOG_LEVEL_INFO, STDERR_FILENO, false);
	close(before);
}

TEST(a_descriptor_is_the_journals_by_device_and_inode)
{
	struct stat s;
	char text[64];
	_free_ char *path = unit_path("file");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(fstat(fd, &s), 0);
	snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)s.st_dev, (unsigned long long)s.st_ino);
	ASSERT(log_is_journal(text, fd));
	strcat(text, "1");
	ASSERT(!log_is_journal(text, fd));
	static const char *const wrong[] = {NULL, "", "1", "1:", ":", "x:y", "1:2:3"};
	for (size_t i = 0; i < countof(wrong); i++)
		ASSERT(!log_is_journal(wrong[i], fd));
	close(fd);
}

TEST(a_file_becomes_absolute_and_words_stay_words)
{
	char here[4096];
	ASSERT(getcwd(here, sizeof here));
	setenv("HOME", "/home/me", 1);
	static const char *const words[] = {"", "journal", "journal:/x", "stderr", "/a/b"};
	for (size_t i = 0; i < countof(words); i++) {
		_free_ char *where = log_where(words[i]);
		ASSERT_STR(where, words[i]);
		ASSERT_EQ(log_where_is_file(where), i == 4);
	}
	_free_ char *file = log_where("a.log"), *want = xasprintf("%s/a.log", here), *home = log_where("~/a");
	ASSERT_STR(file, want);
	ASSERT_STR(home, "/home/me/a");
}
