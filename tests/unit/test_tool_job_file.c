/* SPDX-License-Identifier: Apache-2.0
 * Files that say what is to be submitted. */
#include "tests/unit/unit.h"
#include "tools/job_file.h"

static char *section(const char *text, size_t i)
{
	struct job_file f;
	char why[JOB_WHY];
	if (job_file_read(text, strlen(text), &f, why) < 0)
		return xstrdup(why);
	char *all = i < f.n ? job_section_text(&f, i) : xstrdup("none");
	job_file_fini(&f);
	return all;
}

static void expect_section(const char *text, size_t i, const char *wanted)
{
	_free_ char *got = section(text, i);
	ASSERT_STR(got, wanted);
}

TEST(what_stands_first_is_for_all_and_lines_keep_their_numbers)
{
	const char *text = "cores = 1\n# all\n[task a]\ncommand = x\n\n[task b]\ncommand = y";
	expect_section(text, 0, "cores = 1\n# all\n\ncommand = x\n\n");
	expect_section(text, 1, "cores = 1\n# all\n\n\n\n\ncommand = y\n");
	expect_section(text, 2, "none");
}

TEST(a_file_without_sections_is_one_task)
{
	expect_section("cores = 2\n", 0, "cores = 2\n");
	expect_section("", 0, "");
	expect_section("cores = 2\n", 1, "none");
}

TEST(variables_are_replaced_others_are_the_shell_s)
{
	expect_section("$d = /data\n$e = ${d}/env\ninput = ${e}:x\nwrap = echo ${HOME} ${d ${d}\n", 0,
		       "\n\ninput = /data/env:x\nwrap = echo ${HOME} ${d /data\n");
	/* Set again, it is the later one from there on. */
	expect_section("$d = 1\na = ${d}\n$d = 2\nb = ${d}\n", 0, "\na = 1\n\nb = 2\n");
	expect_section("$n = x\n[task ${n}]\n", 0, "\n\n");
}

TEST(faults_name_the_line)
{
	expect_section("a = 1\n[taks b]\n", 0, "line 2: '[taks b]': a section begins with [task NAME]");
	expect_section("[task a]\n\n[task a]\n", 0, "line 3: 'a': a task of this name is there already");
	expect_section("[task a/b]\n", 0, "line 1: 'a/b': the name of a task has no blanks and none of / @ : ,");
	expect_section("$d\n", 0, "line 1: '$d': a variable is set by $word = value");
	expect_section("$ = 1\n", 0, "line 1: '$ ': not the name of a variable");
	struct job_file f;
	char why[JOB_WHY];
	ASSERT_EQ(job_file_read("a\0b", 3, &f, why), -EINVAL);
}

static void expect_words(char **words, const char *wanted)
{
	struct buf all = {0};
	for (size_t i = 0; words && words[i]; i++) {
		buf_printf(&all, "[%s]", words[i]);
		free(words[i]);
	}
	if (!words)
		buf_puts(&all, "open");
	ASSERT_STR(all.n ? buf_text(&all) : "", wanted);
	free(words);
	buf_fini(&all);
}

TEST(words_are_split_as_sh_does)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"a  b\tc\n", "[a][b][c]"},
		{"", ""},
		{"'a b' \"c d\" e\\ f", "[a b][c d][e f]"},
		{"x'y'\"z\"", "[xyz]"},
		{"''", "[]"},
		{"\"a\\\"b\\$c\\d\"", "[a\"b$c\\d]"},
		{"'a\\'b", "[a\\b]"},
		{"--x='1 2'", "[--x=1 2]"},
		{"'a", "open"},
		{"a \"b", "open"},
		{"end\\", "[end\\]"},
	};
	for (size_t i = 0; i < countof(cases); i++)
		expect_words(job_split(cases[i].text), cases[i].words);
}

TEST(a_script_says_its_options_before_its_first_command)
{
	const char *text =
		"#!/bin/bash\n#VINE --mem 2G -c 4\n# else\n\n#VINEYARD -x\n#VINE\t-J 'a b'\necho\n#VINE -c 8\n";
	expect_words(job_script_words(text), "[--mem][2G][-c][4][-J][a b]");
	expect_words(job_script_words("echo\n"), "");
	expect_words(job_script_words("#VINE 'x\n"), "open");
}

TEST(a_script_s_first_line_says_what_runs_it)
{
	expect_words(job_script_interpreter("#!/usr/bin/env python3 -u\nprint()\n"), "[/usr/bin/env][python3 -u]");
	expect_words(job_script_interpreter("#! /bin/sh\r\n"), "[/bin/sh]");
	expect_words(job_script_interpreter("echo\n"), "[/bin/sh]");
}
