// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

// Logs go to a file of the test; the lines are read from it.
static int log_to_file(enum log_level level, bool plain)
{
	char path[512];
	snprintf(path, sizeof path, "%s/log", unit_tmpdir());
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	log_init("test", level, fd, plain);
	return fd;
}

static char *logged(int fd)
{
	off_t n = lseek(fd, 0, SEEK_END);
	char *text = xcalloc((size_t)n + 1, 1);
	if (pread(fd, text, (size_t)n, 0) != n)
		abort();
	log_init("test", LOG_LEVEL_INFO, STDERR_FILENO, false);
	return text;
}

TEST(escaping_follows_the_table)
{
	static const struct {
		const char *raw, *escaped;
	} rows[] = {
		{"", ""},
		{"plain text, 100%", "plain text, 100%"},
		{"two\nlines", "two\\nlines"},
		{"a\tb\rc", "a\\tb\\rc"},
		{"back\\slash", "back\\\\slash"},
		{"\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m"},
		{"\a\b\177", "\\x07\\x08\\x7f"},
		{"gr\303\274n \342\202\254 \360\237\214\261", "gr\303\274n \342\202\254 \360\237\214\261"},
		{"\303", "\\xc3"},
		{"\303(", "\\xc3("},
		{"\300\257", "\\xc0\\xaf"},                        // overlong '/'
		{"\340\200\257", "\\xe0\\x80\\xaf"},               // the same, longer
		{"\355\240\200", "\\xed\\xa0\\x80"},               // a surrogate
		{"\364\220\200\200", "\\xf4\\x90\\x80\\x80"},      // beyond Unicode
		{"\302\233[31m", "\\xc2\\x9b[31m"},                // CSI as one C1 control
		{"\342\200\256txt.exe", "\\xe2\\x80\\xaetxt.exe"}, // right-to-left override
		{"\357\273\277x", "\\xef\\xbb\\xbfx"},
		{"\377\376", "\\xff\\xfe"},
	};
	char to[128];
	for (size_t i = 0; i < countof(rows); i++)
		ASSERT_STR(log_escape(rows[i].raw, strlen(rows[i].raw), to, sizeof to), rows[i].escaped);
	ASSERT_STR(log_escape("a\0b", 3, to, sizeof to), "a\\x00b");
}

TEST(what_does_not_fit_ends_in_dots_and_never_in_half_an_escape)
{
	char to[64];
	ASSERT_STR(log_escape("abcdef", 6, to, 7), "abcdef");
	ASSERT_STR(log_escape("abcdefg", 7, to, 7), "abc...");
	ASSERT_STR(log_escape("ab\001\001", 4, to, 8), "ab...");
	ASSERT_STR(log_escape("\303\274\303\274\303\274", 6, to, 6), "\303\274...");
	ASSERT_STR(log_escape("abc", 3, to, 3), "..");
	ASSERT_STR(log_escape("abc", 3, to, 1), "");
}

TEST(a_line_has_time_level_program_and_text)
{
	_close_ int fd = log_to_file(LOG_LEVEL_INFO, false);
	errno = EXDEV;
	log_warn("disk %s is at %d %%", "sda\n2026 ERROR forged", 99);
	ASSERT_EQ(errno, EXDEV);
	_free_ char *text = logged(fd);
	ASSERT_EQ(text[4], '-');
	ASSERT_EQ(text[10], 'T');
	ASSERT_EQ(text[23], 'Z');
	char *rest = strstr(text, "]: ");
	ASSERT(rest != NULL);
	ASSERT(strstr(text, " WARN  test[") != NULL);
	ASSERT_STR(rest, "]: disk sda\\n2026 ERROR forged is at 99 %\n");
}

TEST(levels_above_the_chosen_one_are_silent)
{
	_close_ int fd = log_to_file(LOG_LEVEL_WARN, true);
	log_info("no");
	log_debug("no");
	log_error("yes");
	ASSERT(!log_is_on(LOG_LEVEL_INFO));
	ASSERT(log_is_on(LOG_LEVEL_WARN));
	_free_ char *text = logged(fd);
	ASSERT_STR(text, "test: yes\n");
}

TEST(log_errno_names_the_error_and_returns_it_negated)
{
	_close_ int fd = log_to_file(LOG_LEVEL_INFO, true);
	ASSERT_EQ(log_errno(ENOENT, "open %s", "/x"), -ENOENT);
	_free_ char *text = logged(fd);
	ASSERT_STR(text, "test: open /x: No such file or directory\n");
}

TEST(a_long_line_is_cut)
{
	_close_ int fd = log_to_file(LOG_LEVEL_INFO, true);
	char big[10000];
	memset(big, '\001', sizeof big - 1);
	big[sizeof big - 1] = 0;
	log_info("%s", big);
	_free_ char *text = logged(fd);
	ASSERT(strlen(text) <= 4096);
	ASSERT_STR(text + strlen(text) - 4, "...\n");
}

TEST(a_flood_is_limited_and_counted)
{
	_close_ int fd = log_to_file(LOG_LEVEL_INFO, true);
	struct log_limit limit = {0};
	time_t began = time(NULL);
	for (int i = 0; i < 1000; i++)
		log_limited(&limit, 3, LOG_LEVEL_INFO, "flood");
	unsigned n_turns = (unsigned)(time(NULL) - began) + 1; // of a second, at most
	unsigned first = limit.n;
	ASSERT(limit.swallowed > 0 || first < 1000);
	limit.second = 1; // a later second has come
	log_limited(&limit, 3, LOG_LEVEL_INFO, "again");
	_free_ char *text = logged(fd);
	unsigned lines = 0;
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	ASSERT(lines >= 4 && lines <= 3 * (1 + n_turns) + 1);
	ASSERT(strstr(text, "test: again: ") != NULL);
	ASSERT(strstr(text, " more like this were not logged\n") != NULL);
}

static void *write_lines(void *arg)
{
	static struct log_limit limit;
	for (int i = 0; i < 500; i++) {
		log_info("%s", (const char *)arg);
		log_limited(&limit, 1, LOG_LEVEL_INFO, "%s", (const char *)arg);
	}
	return NULL;
}

TEST(lines_of_threads_do_not_mix)
{
	_close_ int fd = log_to_file(LOG_LEVEL_INFO, true);
	static char words[4][300];
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) {
		memset(words[i], 'a' + i, sizeof words[i] - 1);
		pthread_create(&threads[i], NULL, write_lines, words[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	_free_ char *text = logged(fd);
	unsigned lines = 0, wrong = 0;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
		wrong += !has_prefix(line, "test: ");
		for (char *p = line + 6; p < line + 6 + 299; p++)
			wrong += *p != line[6];
	}
	ASSERT(lines >= 2000);
	ASSERT_EQ(wrong, 0);
}
