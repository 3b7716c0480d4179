// SPDX-License-Identifier: Apache-2.0
#include "common/conf.h"
#include "common/log.h"
#include "tests/unit/unit.h"

#include <unistd.h>

#define CONF_STRUCT sample
#define CONF_FILE "tests/fuzz/conf.def"
#include "common/conf_struct.h"

#define CONF_STRUCT sample
#define CONF_FILE "tests/fuzz/conf.def"
#include "common/conf_table.h"

static const struct conf_table table = {
	.program = "sample",
	.prefix = "SAMPLE",
	.summary = "Shows every type of setting.",
	.usage = "FILE ...",
	.at = sample_table,
	.n = countof(sample_table),
};

static int take_both(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	int r = conf_set(t, into, "listen", value, e);
	return r ? r : conf_set(t, into, "verbose", "yes", e);
}

static const struct conf_foreign foreign[] = {
	{.name = "bind-to", .letter = 'B', .means = "listen"},
	{.name = "both", .take = take_both},
	{.name = "quietly", .letter = 'Q', .is_alone = true, .instead = "it is quiet anyway"},
	{.name = NULL},
};

static void fini(struct sample *s)
{
	conf_fini(&table, s);
}

static struct sample preset(void)
{
	struct sample s = {0};
	conf_preset(&table, &s);
	return s;
}

// Reads the text of a file "f"; returns the error's text, or "" if it was taken.
static const char *read_text(struct sample *s, const char *text)
{
	static struct conf_error e;
	e.text[0] = 0;
	int r = conf_read_text(&table, s, text, strlen(text), "f", &e);
	if ((r == 0) != (e.text[0] == 0))
		return "(status and text disagree)";
	return e.text;
}

static const char *set_text(struct sample *s, const char *name, const char *value)
{
	static struct conf_error e;
	e.text[0] = 0;
	conf_set(&table, s, name, value, &e);
	return e.text;
}

// Reads up to 7 words behind the program's name.
static int read_words(struct sample *s, struct conf_error *e, const char *const words[8])
{
	char *argv[9] = {"sample"};
	int argc = 1;
	for (; argc < 9 && words[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	e->text[0] = 0;
	return conf_read_args(&table, s, argc, argv, e);
}

#define WORDS(...) ((const char *const[8]){__VA_ARGS__})

static char *printed(void (*print)(FILE *, const void *), const void *arg)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);
	print(to, arg);
	fclose(to);
	return text;
}

static void print_values(FILE *to, const void *s)
{
	conf_print(&table, s, to);
}

static void print_help(FILE *to, _unused_ const void *s)
{
	conf_print_help(&table, to);
}

static void print_man(FILE *to, _unused_ const void *s)
{
	conf_print_man(&table, to);
}

TEST(defaults_are_those_of_the_list)
{
	struct sample s _cleanup_(fini) = preset();
	ASSERT_STR(s.listen, "127.0.0.1:0");
	ASSERT_STR(s.state_directory, "");
	ASSERT_EQ(s.verbose, false);
	ASSERT_EQ(s.colour, true);
	ASSERT_EQ(s.port, 80);
	ASSERT_EQ(s.quota, 10ll << 30);
	ASSERT_EQ(s.node_timeout, 30000000);
	ASSERT_EQ(s.log_level, LOG_LEVEL_INFO);
	ASSERT_EQ(s.input.n, 0);
	ASSERT_STR(s.a_setting_with_quite_a_long_name, "");
}

TEST(a_file_sets_every_type)
{
	struct sample s _cleanup_(fini) = preset();
	setenv("HOME", "/home/me", 1);
	ASSERT_STR(read_text(&s, "# a comment\n"
				 "\n"
				 "listen = [::1]:7000   # behind a blank\n"
				 "\tstate_directory=~/state\r\n"
				 "verbose = YES\n"
				 "colour = off\n"
				 "port = -1\n"
				 "quota = 1.5 GiB\n"
				 "node-timeout = 1m30s\n"
				 "log-level = debug\n"
				 "input = /a:/b#c\n"
				 "input = \" x\\n\\x41\\\"# \" # quoted\n"
				 "a-setting-with-quite-a-long-name = \"\""),
		   "");
	ASSERT_STR(s.listen, "[::1]:7000");
	ASSERT_STR(s.state_directory, "/home/me/state");
	ASSERT(s.verbose);
	ASSERT(!s.colour);
	ASSERT_EQ(s.port, -1);
	ASSERT_EQ(s.quota, 3ll << 29);
	ASSERT_EQ(s.node_timeout, 90000000);
	ASSERT_EQ(s.log_level, LOG_LEVEL_DEBUG);
	ASSERT_EQ(s.input.n, 2);
	ASSERT_STR(s.input.at[0], "/a:/b#c");
	ASSERT_STR(s.input.at[1], " x\nA\"# ");
}

TEST(each_wrong_line_is_named_with_its_cure)
{
	static const struct {
		const char *line, *error;
	} rows[] = {
		{"lisen = x", "unknown setting lisen: did you mean listen?"},
		{"node = 5s", "unknown setting node: did you mean node-timeout?"},
		{"log_levle = info", "unknown setting log_levle: did you mean log-level?"},
		{"frobnicate = 1", "unknown setting frobnicate: \"sample --help\" lists them all"},
		{"\033[2J = 1", "unknown setting \\x1b[2J: \"sample --help\" lists them all"},
		{"listen", "listen: not of the form name = value"},
		{"= 5", "= 5: not of the form name = value"},
		{"listen 5", "listen 5: not of the form name = value"},
		{"listen =", "listen = : the value is missing: an empty one is written \"\""},
		{"listen = # x", "listen = # x: the value is missing: an empty one is written \"\""},
		{"listen = \"x", "listen = \"x: the closing quote is missing"},
		{"listen = \"x\" y", "listen = \"x\" y: something follows the closing quote"},
		{"listen = \"\\q\"",
		 "listen = \"\\\\q\": in quotes a backslash stands before one of n r t \" \\ or xNN"},
		{"listen = \"\\x00\"", "listen = \"\\\\x00\": a value cannot hold a NUL byte"},
		{"quota = \"\"", "quota = : the value is missing: give a size like 10, 4K, 1.5G or 2GB, 4K to 1P"},
		{"quota = 5 parsecs",
		 "quota = 5 parsecs: unknown unit: give a size like 10, 4K, 1.5G or 2GB, 4K to 1P"},
		{"quota = 1K", "quota = 1K: too small: give a size like 10, 4K, 1.5G or 2GB, 4K to 1P"},
		{"quota = 1025T", "quota = 1025T: too large: give a size like 10, 4K, 1.5G or 2GB, 4K to 1P"},
		{"node-timeout = 2h",
		 "node-timeout = 2h: too large: give a time like 250ms, 10s, 5m, 1h30m or 2d, 1s to 1h"},
		{"node-timeout = soon", "node-timeout = soon: not a number: give a time like 250ms, 10s, 5m, "
					"1h30m or 2d, 1s to 1h"},
		{"port = 65536", "port = 65536: too large: give a plain number like 10, -1 to 65535"},
		{"port = 80x", "port = 80x: not a plain number: give a plain number like 10, -1 to 65535"},
		{"verbose = maybe", "verbose = maybe: neither yes nor no: give yes or no"},
		{"log-level = loud", "log-level = loud: none of the words: give one of error, warn, info, debug"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct sample s _cleanup_(fini) = preset();
		_free_ char *text = xasprintf("verbose = yes\n%s\n", rows[i].line);
		_free_ char *error = xasprintf("f:2: %s", rows[i].error);
		ASSERT_STR(read_text(&s, text), error);
		ASSERT(s.verbose);
	}
}

TEST(a_nul_byte_in_a_file_is_an_error)
{
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e;
	ASSERT_EQ(conf_read_text(&table, &s, "listen = a\0b", 12, "f", &e), -EINVAL);
	ASSERT_STR(e.text, "f:1: a NUL byte: is this a text file?");
}

TEST(an_error_is_one_short_line_whatever_was_given)
{
	struct sample s _cleanup_(fini) = preset();
	char *big = xcalloc(100001, 1);
	memset(big, '\n', 100000);
	const char *error = set_text(&s, "quota", big);
	ASSERT(strlen(error) < 512 && !strchr(error, '\n'));
	memset(big, 'x', 100000);
	error = set_text(&s, big, "1");
	ASSERT(strlen(error) < 512 && strstr(error, "sample --help"));
	free(big);
}

TEST(an_unreadable_file_is_named)
{
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e;
	ASSERT_EQ(conf_read_file(&table, &s, "/nowhere/f", &e), -ENOENT);
	ASSERT_STR(e.text, "settings file /nowhere/f: No such file or directory");
	ASSERT_EQ(conf_read_file(&table, &s, "/dev/zero", &e), -EFBIG);
	ASSERT_STR(e.text, "settings file /dev/zero: larger than 1 MiB");
}

TEST(the_environment_sets_what_bears_the_prefix)
{
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e;
	char *environment[] = {"SAMPLE_LISTEN=a=b",
			       "SAMPLE_NODE_TIMEOUT=5",
			       "SAMPLE_PORT=",
			       "SAMPLE_port=7",
			       "PORT=8",
			       "SAMPLE_UNKNOWN=1",
			       "SAMPLE_LOG_LEVEL",
			       "SAMPLE_STATE_DIRECTORY=/x",
			       NULL};
	ASSERT_EQ(conf_read_environ(&table, &s, environment, &e), 0);
	ASSERT_STR(s.listen, "a=b");
	ASSERT_EQ(s.node_timeout, 5000000);
	ASSERT_EQ(s.port, 80);
	ASSERT_STR(s.state_directory, "/x");
	char *wrong[] = {"SAMPLE_QUOTA=1x", NULL};
	ASSERT_EQ(conf_read_environ(&table, &s, wrong, &e), -EINVAL);
	ASSERT_STR(e.text, "SAMPLE_QUOTA=1x: unknown unit: give a size like 10, 4K, 1.5G or 2GB, 4K to 1P");
}

TEST(options_are_read_up_to_the_first_other_word)
{
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e;
	ASSERT_EQ(read_words(&s, &e, WORDS("--listen=x", "--port", "9", "-vq8K", "-i", "one", "cmd")), 7);
	ASSERT_STR(s.listen, "x");
	ASSERT_EQ(s.port, 9);
	ASSERT(s.verbose);
	ASSERT_EQ(s.quota, 8192);
	ASSERT_EQ(s.input.n, 1);
	ASSERT_EQ(read_words(&s, &e, WORDS("--no-verbose", "--no-colour", "-i=", "--", "--port")), 5);
	ASSERT(!s.verbose && !s.colour);
	ASSERT_STR(s.input.at[1], "=");
	ASSERT_EQ(read_words(&s, &e, WORDS("--verbose=yes", "--listen=", "-", "-v")), 3);
	ASSERT_STR(s.listen, "");
	ASSERT_EQ(read_words(&s, &e, WORDS(NULL)), 1);
	ASSERT_EQ(conf_read_args(&table, &s, 0, (char *[]){NULL}, &e), 1);
	ASSERT_EQ(read_words(&s, &e, WORDS("--node_timeout=3")), 2);
	ASSERT_EQ(s.node_timeout, 3000000);
}

TEST(wrong_options_are_named_with_their_cure)
{
	static const struct {
		const char *words[8], *error;
	} rows[] = {
		{{"--lisen=x"}, "unknown option --lisen: did you mean --listen?"},
		{{"--no-listen"}, "unknown option --no-listen: did you mean --listen?"},
		{{"--no-verbose=1"}, "unknown option --no-verbose: did you mean --verbose?"},
		{{"--zz"}, "unknown option --zz: \"sample --help\" lists them all"},
		{{"-z"}, "unknown option -z: \"sample --help\" lists them all"},
		{{"-vz"}, "unknown option -z: \"sample --help\" lists them all"},
		{{"-\n"}, "unknown option -\\n: \"sample --help\" lists them all"},
		{{"--listen"}, "--listen: the value is missing: --listen=HOST:PORT"},
		{{"-l"}, "--listen: the value is missing: --listen=HOST:PORT"},
		{{"-p", "x"}, "--port=x: not a number: give a plain number like 10, -1 to 65535"},
		{{"--colour=blue"}, "--colour=blue: neither yes nor no: give yes or no"},
		{{"--=x"}, "unknown option --: \"sample --help\" lists them all"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct sample s _cleanup_(fini) = preset();
		struct conf_error e;
		ASSERT_EQ(read_words(&s, &e, rows[i].words), -EINVAL);
		ASSERT_STR(e.text, rows[i].error);
	}
}

TEST(help_version_and_man_come_back_to_the_caller)
{
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e;
	ASSERT_EQ(read_words(&s, &e, WORDS("--verbose", "--help", "--zz")), -ENOTSUP);
	ASSERT_STR(e.text, "help");
	ASSERT_EQ(read_words(&s, &e, WORDS("-vh")), -ENOTSUP);
	ASSERT_STR(e.text, "help");
	ASSERT_EQ(read_words(&s, &e, WORDS("--version")), -ENOTSUP);
	ASSERT_STR(e.text, "version");
	ASSERT_EQ(read_words(&s, &e, WORDS("--man")), -ENOTSUP);
	ASSERT_STR(e.text, "man");
}

TEST(sizes_follow_the_table)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {
		{"0", 0},
		{"10", 10},
		{"4K", 4096},
		{"4k", 4096},
		{"4 K", 4096},
		{"4KiB", 4096},
		{"4KB", 4000},
		{"4kb", 4000},
		{"1.5G", 3ull << 29},
		{"2GiB", 2ull << 30},
		{"1.25MB", 1250000},
		{"7B", 7},
		{"3T", 3ull << 40},
		{"1P", 1ull << 50},
		{"18446744073709551615", UINT64_MAX},
		{"1.000", 1},
		{"0.000000001G", 1},
		{"16383P", 16383ull << 50},
	};
	static const char *const bad[] = {"",
					  " ",
					  "K",
					  "-1",
					  "+1",
					  "1.5",
					  ".5",
					  "1.",
					  "1.K",
					  "1..5K",
					  "1K1",
					  "1KK",
					  "18446744073709551616",
					  "16384P",
					  "99999999999P",
					  "0x10",
					  "1e3",
					  "1s",
					  "1.0000000001G",
					  "1\n",
					  "\xff",
					  "1 KiB KiB",
					  "nan"};
	uint64_t size;
	for (size_t i = 0; i < countof(good); i++) {
		size = 12345;
		ASSERT_EQ(conf_parse_size(good[i].text, &size), 0);
		ASSERT_EQ(size, good[i].size);
	}
	for (size_t i = 0; i < countof(bad); i++) {
		size = 12345;
		ASSERT_EQ(conf_parse_size(bad[i], &size), -EINVAL);
		ASSERT_EQ(size, 12345);
	}
}

TEST(times_follow_the_table)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} good[] = {
		{"0", 0},           {"10", 10000000},     {"10s", 10000000},
		{"250ms", 250000},  {"7us", 7},           {"5m", 300000000},
		{"1h", 3600000000}, {"2d", 172800000000}, {"1h30m", 5400000000},
		{"0.5", 500000},    {"1.5h", 5400000000}, {"1m0.25s", 60250000},
		{"10 s", 10000000},
	};
	static const char *const bad[] = {"",
					  "s",
					  "-1s",
					  "1h30",
					  "30 1h",
					  "1x",
					  "1s,",
					  "1h 30m",
					  "0.5us",
					  "1.5.5s",
					  "999999999999999d",
					  "213503982335d1d"};
	uint64_t usec;
	for (size_t i = 0; i < countof(good); i++) {
		ASSERT_EQ(conf_parse_time(good[i].text, &usec), 0);
		ASSERT_EQ(usec, good[i].usec);
	}
	for (size_t i = 0; i < countof(bad); i++)
		ASSERT_EQ(conf_parse_time(bad[i], &usec), -EINVAL);
}

TEST(numbers_reach_both_ends_of_their_type)
{
	struct wide {
		int64_t n;
	} w = {0};
	const struct conf_setting row = {.name = "n", .type = CONF_TYPE_INT, .offset = offsetof(struct wide, n)};
	const struct conf_table t = {.program = "wide", .at = &row, .n = 1};
	struct conf_error e;
	ASSERT_EQ(conf_set(&t, &w, "n", "-9223372036854775808", &e), 0);
	ASSERT(w.n == INT64_MIN);
	ASSERT_EQ(conf_set(&t, &w, "n", "9223372036854775807", &e), 0);
	ASSERT(w.n == INT64_MAX);
	ASSERT_EQ(conf_set(&t, &w, "n", "9223372036854775808", &e), -EINVAL);
	ASSERT_EQ(conf_set(&t, &w, "n", "-9223372036854775809", &e), -EINVAL);
	ASSERT_STR(e.text, "n = -9223372036854775809: too large a number: give a plain number like 10");
	ASSERT(w.n == INT64_MAX);
}

TEST(what_is_printed_reads_back_the_same)
{
	struct sample s _cleanup_(fini) = preset(), again _cleanup_(fini) = preset();
	ASSERT_STR(read_text(&s, "listen = \" #\\\\ \\\"\\x01\\n\\xc3\\xbc\"\nquota = 1234567\nnode-timeout=1500ms\n"
				 "port=7\ninput = a\ninput = \"\"\ninput = \"#b\"\nlog-level = warn\ncolour = no\n"
				 "state-directory = ~/x y\n"),
		   "");
	_free_ char *text = printed(print_values, &s);
	ASSERT_STR(read_text(&again, text), "");
	ASSERT_STR(again.listen, s.listen);
	ASSERT_EQ(again.quota, 1234567);
	ASSERT_EQ(again.node_timeout, 1500000);
	ASSERT_EQ(again.input.n, 3);
	ASSERT_STR(again.input.at[2], "#b");
	ASSERT_EQ(again.log_level, LOG_LEVEL_WARN);
	_free_ char *text_again = printed(print_values, &again);
	ASSERT_STR(text, text_again);
}

TEST(help_is_aligned_and_wrapped)
{
	_free_ char *help = printed(print_help, NULL);
	ASSERT(has_prefix(help, "Usage: sample [OPTION ...] FILE ...\nShows every type of setting.\n\nOptions:\n"));
	ASSERT(strstr(help, "  -l, --listen=HOST:PORT     address to listen on (default 127.0.0.1:0)\n"));
	ASSERT(strstr(help, "      --node-timeout=TIME    how long a silent node is waited for (1s to 1h;\n"
			    "                             default 30s)\n"));
	ASSERT(strstr(help, "      --[no-]colour          show colours (default yes)\n"));
	ASSERT(strstr(help, "      --a-setting-with-quite-a-long-name=VALUE\n"
			    "                             stands alone\n"));
	ASSERT(strstr(help, "one of error, warn,"));
	ASSERT(strstr(help, "SAMPLE_NAME"));
	for (char *line = help, *end; (end = strchr(line, '\n')); line = end + 1) {
		ASSERT(end - line <= 80);
		ASSERT(end == line || end[-1] != ' ');
	}
}

TEST(the_man_page_lists_every_setting)
{
	_free_ char *man = printed(print_man, NULL);
	ASSERT(strstr(man, ".TP\n\\fB\\-l, \\-\\-listen\\fR=\\fIHOST:PORT\\fR\naddress to listen on"));
	ASSERT(strstr(man, ".TP\n\\fB\\-\\-state\\-directory\\fR=\\fIDIR\\fR\n"));
	unsigned n = 0;
	for (char *p = man; (p = strstr(p, ".TP\n")); p += 4)
		n++;
	ASSERT_EQ(n, countof(sample_table));
}

TEST(what_fingers_know_from_elsewhere_is_taken_or_answered)
{
	struct conf_table with = table;
	with.foreign = foreign;
	static const struct {
		const char *words[3], *listen, *error;
		bool verbose;
	} rows[] = {
		{{"--bind-to=a"}, "a", "", false},
		{{"--bind-to", "a"}, "a", "", false},
		{{"-Ba"}, "a", "", false},
		{{"-vB", "a"}, "a", "", true},
		{{"--both", "b"}, "b", "", true},
		{{"--bind-to"}, "127.0.0.1:0", "--bind-to: the value is missing", false},
		{{"-Q"}, "127.0.0.1:0", "there is no option --quietly here: it is quiet anyway", false},
		{{"--quietly"}, "127.0.0.1:0", "there is no option --quietly here: it is quiet anyway", false},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct sample s _cleanup_(fini) = preset();
		struct conf_error e = {""};
		char *argv[4] = {"sample"};
		int argc = 1;
		for (; argc < 4 && rows[i].words[argc - 1]; argc++)
			argv[argc] = (char *)(uintptr_t)rows[i].words[argc - 1];
		ASSERT_EQ(conf_read_args(&with, &s, argc, argv, &e), *rows[i].error ? -EINVAL : argc);
		ASSERT_STR(e.text, rows[i].error);
		ASSERT_STR(s.listen, rows[i].listen);
		ASSERT_EQ(s.verbose, rows[i].verbose);
	}
	struct sample s _cleanup_(fini) = preset();
	struct conf_error e = {""};
	ASSERT_EQ(conf_read_text(&with, &s, "bind-to = x", 11, "f", &e), -EINVAL);
	ASSERT_STR(e.text, "f:1: unknown setting bind-to: did you mean listen?");
}

static bool is_not_port(const struct conf_setting *s)
{
	return !streq(s->name, "port");
}

static void print_changed(FILE *to, const void *s)
{
	conf_print_changed(&table, s, is_not_port, to);
}

TEST(what_differs_from_the_defaults_is_printed_and_read_back)
{
	struct sample s _cleanup_(fini) = preset();
	_free_ char *none = printed(print_changed, &s);
	ASSERT_STR(none, "");
	ASSERT_STR(read_text(&s,
			     "listen = \" a # b\"\nport = 9\nverbose = yes\ninput = a\ninput = \"b\\n\"\nquota = 8K\n"),
		   "");
	_free_ char *text = printed(print_changed, &s);
	ASSERT(!strstr(text, "port") && !strstr(text, "node-timeout") && strstr(text, "verbose = yes\n"));
	struct sample again _cleanup_(fini) = preset();
	ASSERT_STR(read_text(&again, text), "");
	ASSERT_STR(again.listen, " a # b");
	ASSERT(again.verbose && again.quota == 8192 && again.input.n == 2);
	ASSERT_STR(again.input.at[1], "b\n");
}
