/* SPDX-License-Identifier: Apache-2.0
 * From what a task opened to what is to be declared. */
#include "tests/unit/unit.h"
#include "tools/record.h"

static char *declare(const char *text, bool is_all, bool is_job)
{
	struct buf to = {0};
	const struct record_options o = {.home = "/home/u", .is_all = is_all, .is_job = is_job};
	record_declare(text, strlen(text), &o, &to);
	return buf_steal_text(&to);
}

static void expect(const char *text, const char *words)
{
	_free_ char *got = declare(text, false, false);
	ASSERT_STR(got, words);
}

TEST(sizes_and_times_are_listed_and_declare_nothing)
{
	static const char text[] = "r /data/a\t12\t1500000\nw /data/b c\t0\t2\nr /old\nx \t1\t2\n";
	struct buf to = {0};
	expect(text, "-i /data/a\n-o '/data/b c'\n-i /old\n");
	record_list(text, strlen(text), &to);
	ASSERT_STR(buf_text(&to), "what            bytes    seconds  path\n"
				  "read               12      1.500  /data/a\n"
				  "written             0      0.000  /data/b c\n");
	buf_fini(&to);
}

TEST(what_was_read_is_an_input_and_what_was_written_an_output)
{
	expect("r /data/a\nx /opt/tool/run\nw /node/s/12/cwd/out.txt\nr /usr/lib/libc.so\nr /etc/passwd\nr /tmp/x\n",
	       "-i /data/a\n-i /opt/tool/run\n-o out.txt\n");
}

TEST(what_it_made_itself_is_no_input)
{
	expect("w /node/s/12/cwd/part\nr /node/s/12/cwd/part\nd /node/s/12/cwd/part\n"
	       "w /node/s/12/tmp/y\nr /node/s/12/home/.rc\nw /work/a.tmp\nd /work/a.tmp\nm /work/a\n",
	       "-o /work/a\n");
}

TEST(what_it_read_and_changed_needs_a_copy)
{
	expect("r /data/log\nw /data/log\nr /data/old\nd /data/old\n", "-i /data/log:rw\n-i /data/old:rw\n");
}

TEST(a_directory_that_was_listed_stands_for_what_was_read_in_it)
{
	expect("r /data/set\nr /data/set/a\nr /data/set/b\nr /data/other\n", "-i /data/other\n-i /data/set\n");
}

TEST(a_directory_stands_for_many_files_but_a_home_does_not)
{
	struct buf text = {0};
	for (int i = 0; i < 30; i++) {
		buf_printf(&text, "r /opt/env/lib/m%d.py\n", i);
		buf_printf(&text, "r /home/u/data/%d\n", i);
		buf_printf(&text, "r /home/u/more/%d\n", i);
	}
	buf_puts(&text, "r /opt/env/bin/python\nr /home/u/x.py\nw /home/u/data/result\n");
	expect(buf_text(&text),
	       "-i /home/u/data:rw\n-o /home/u/data/result\n-i /home/u/more\n-i /home/u/x.py\n-i /opt/env\n");
	buf_fini(&text);
}

TEST(names_are_written_so_that_they_are_read_back)
{
	expect("r /data/a b:c\nr /data/it's\nr /data/new\\012line\nr /data/back\\\\slash\n",
	       "-i '/data/a b\\:c'\n-i '/data/back\\\\slash'\n-i '/data/it'\\''s'\n-i '/data/new\nline'\n");
	_free_ char *job = declare("r /data/a\"b\nw /node/s/1/cwd/o\n", false, true);
	ASSERT_STR(job, "input = \"/data/a\\\"b\"\noutput = \"o\"\n");
	_free_ char *all = declare("r /usr/lib/x\nr /usr/lib\n", true, false);
	ASSERT_STR(all, "-i /usr/lib\n-i /usr/lib/x\n");
}

TEST(lines_that_are_none_are_passed_over)
{
	expect("", "");
	expect("\n\nr\nr \nr x\nq /data/a\nr /data/b", "-i /data/b\n");
}
