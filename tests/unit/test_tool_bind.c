/* SPDX-License-Identifier: Apache-2.0
 * The words of -i and -o. */
#include "libvineclient/vine.h"
#include "tests/unit/unit.h"
#include "tools/bind.h"

static const char *text_of(const char *text)
{
	return text ? text : "-";
}

TEST(an_input_is_a_file_and_a_place)
{
	static const struct {
		const char *word, *uri, *path;
		unsigned flags;
	} cases[] = {
		{"/data/env", "/data/env", "-", 0},
		{"/data/env:rw", "/data/env", "-", VINE_RW},
		{"/data/env:/env", "/data/env", "/env", 0},
		{"/data/env:/env/:rw", "/data/env", "/env", VINE_RW},
		{"/data/env::rw", "/data/env", "-", VINE_RW},
		{"/data/env:./rw", "/data/env", "rw", 0},
		{"/data/env:ro", "/data/env", "-", 0},
		{"a.txt", "a.txt", "a.txt", 0},
		{"./sub//a.txt", "./sub//a.txt", "sub/a.txt", 0},
		{"../a.txt:a.txt", "../a.txt", "a.txt", 0},
		{"with\\:colon:to\\:colon", "with:colon", "to:colon", 0},
		{"back\\\\slash", "back\\slash", "back\\slash", 0},
		{"a\\b", "a\\b", "a\\b", 0},
		{"client:/a:/b", "client:/a", "/b", 0},
		{"client:a/b:rw", "client:a/b", "a/b", VINE_RW},
		{"node:/scratch/db", "node:/scratch/db", "-", 0},
		{"tree:12:env", "tree:12", "env", 0},
		{"temp:table:/t:rw", "temp:table", "/t", VINE_RW},
		{"/data/tree:tree:rw", "/data/tree", "tree", VINE_RW},
		{"https://host:80/a/b.tar:/b:rw", "https://host:80/a/b.tar", "/b", VINE_RW},
		{"https://host/a\\:1:/b", "https://host/a:1", "/b", 0},
	};
	char why[BIND_WHY];
	for (size_t i = 0; i < countof(cases); i++) {
		struct binds all = {0};
		ASSERT_EQ(bind_input(&all, cases[i].word, BIND_SEND_NO, why), 0);
		ASSERT_EQ(all.n, 1);
		ASSERT_STR(all.at[0].uri, cases[i].uri);
		ASSERT_STR(text_of(all.at[0].path), cases[i].path);
		ASSERT_EQ(all.at[0].flags, cases[i].flags);
		binds_fini(&all);
	}
}

TEST(an_output_is_fetched_kept_or_published)
{
	static const struct {
		const char *word, *path, *here, *uri;
		unsigned flags;
	} cases[] = {
		{"out.csv", "out.csv", "out.csv", "-", 0},
		{"/work/out", "/work/out", "/work/out", "-", 0},
		{"./out/:results", "out", "results", "-", 0},
		{"a/out.csv:results/", "a/out.csv", "results/out.csv", "-", 0},
		{"out:client:/home/x", "out", "/home/x", "-", 0},
		{"tree:results/", "tree", "results/tree", "-", 0},
		{"out:temp:table", "out", "-", "temp:table", VINE_NAMED},
		{"out:keep:/shared/out", "out", "-", "keep:/shared/out", VINE_NAMED},
		{"out:file:/shared/out:always", "out", "-", "keep:/shared/out", VINE_NAMED | VINE_ALWAYS},
		{"log:always", "log", "log", "-", VINE_ALWAYS},
		{"core:failed,optional", "core", "core", "-", VINE_ON_FAILURE | VINE_OPTIONAL},
		{"part-*:parts:pattern,optional", "part-*", "parts", "-", VINE_PATTERN | VINE_OPTIONAL},
		{"a:./always", "a", "./always", "-", 0},
	};
	char why[BIND_WHY];
	for (size_t i = 0; i < countof(cases); i++) {
		struct binds all = {0};
		ASSERT_EQ(bind_output(&all, cases[i].word, why), 0);
		ASSERT_STR(all.at[0].path, cases[i].path);
		ASSERT_STR(text_of(all.at[0].here), cases[i].here);
		ASSERT_STR(text_of(all.at[0].uri), cases[i].uri);
		ASSERT_EQ(all.at[0].flags, cases[i].flags);
		binds_fini(&all);
	}
}

TEST(words_that_mean_nothing_are_refused_with_what_would)
{
	static const struct {
		const char *word, *why;
		bool is_output;
	} cases[] = {
		{"", "missing", false},
		{":/b", "missing", false},
		{"a:b:c", "rw", false},
		{"a:b:rw:c", "'c'", false},
		{"../a", "FROM:TO", false},
		{".", "FROM:TO", false},
		{"tree:12", "FROM:TO", false},
		{"temp:x:rw", "FROM:TO", false},
		{"https://host/a", "FROM:TO", false},
		{"a:..", "..", false},
		{"a:b:sometimes", "optional", true},
		{"../a", "..", true},
		{"a:tree:12", "keep:", true},
		{"part-*:pattern", "DIR", true},
	};
	char why[BIND_WHY];
	for (size_t i = 0; i < countof(cases); i++) {
		struct binds all = {0};
		int r = cases[i].is_output ? bind_output(&all, cases[i].word, why)
					   : bind_input(&all, cases[i].word, BIND_SEND_NO, why);
		ASSERT_EQ(r, -EINVAL);
		ASSERT(strstr(why, cases[i].why));
		binds_fini(&all);
	}
}

TEST(standard_input_is_an_input_unless_it_is_one_already)
{
	char why[BIND_WHY];
	static const struct {
		const char *input, *word, *path;
		size_t n;
	} cases[] = {
		{"/data", "/data/x", "/data/x", 1}, {"/data:/d", "/data/x", "/data/x", 2},
		{"data", "data/x", "data/x", 1},    {"data", "database", "database", 2},
		{"node:/a", "/a", "/a", 1},         {"b", "client:/z:in", "in", 2},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct binds all = {0};
		_free_ char *path = NULL;
		ASSERT_EQ(bind_input(&all, cases[i].input, BIND_SEND_NO, why), 0);
		ASSERT_EQ(bind_stdin(&all, cases[i].word, BIND_SEND_NO, &path, why), 0);
		ASSERT_STR(path, cases[i].path);
		ASSERT_EQ(all.n, cases[i].n);
		binds_fini(&all);
	}
}

TEST(what_only_this_machine_has_is_sent_where_the_cluster_is_elsewhere)
{
	static const struct {
		const char *cluster, *word, *uri;
		enum bind_send send;
	} cases[] = {
		{"host:1", "/proc/self", "/proc/self", BIND_SEND_AUTO}, /* no filesystem of this machine's own */
		{"host:1", "/dev/shm", "client:/dev/shm", BIND_SEND_AUTO},
		{"host:1", "/dev/shm", "/dev/shm", BIND_SEND_NO},
		{"host:1", "file:/dev/shm", "file:/dev/shm", BIND_SEND_YES},
		{"/a:b", "/dev/shm", "/dev/shm", BIND_SEND_AUTO},
		{"name", "/dev/shm", "/dev/shm", BIND_SEND_AUTO},
		{"name", "/dev/shm", "client:/dev/shm", BIND_SEND_YES},
	};
	char why[BIND_WHY];
	for (size_t i = 0; i < countof(cases); i++) {
		struct binds all = {0};
		ASSERT_EQ(setenv("VINE", cases[i].cluster, 1), 0);
		ASSERT_EQ(bind_input(&all, cases[i].word, cases[i].send, why), 0);
		ASSERT_STR(all.at[0].uri, cases[i].uri);
		binds_fini(&all);
	}
}
