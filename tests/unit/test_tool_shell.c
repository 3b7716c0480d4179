/* SPDX-License-Identifier: Apache-2.0
 * What is to be typed for a shell in the view of a task that is elsewhere. */
#include "tests/unit/unit.h"

#include "common/path.h"
#include "tools/shell_where.h"

static char *none[] = {NULL};

static char *say(const char *address, const char *cluster, char *const *command)
{
	struct buf to = {0};
	const struct shell_place p = {.task = "17",
				      .node = "n2",
				      .uuid = "aa-2",
				      .address = address,
				      .cluster = cluster,
				      .state = unit_tmpdir(),
				      .is_running = true};
	shell_say_where(&p, command, &to);
	return buf_steal_text(&to);
}

static void expect(const char *address, const char *cluster, const char *text)
{
	_free_ char *got = say(address, cluster, none);
	if (!strstr(got, text))
		ASSERT_STR(got, text);
}

TEST(the_host_is_the_nodes_address_or_that_of_the_vined_on_whose_machine_it_is)
{
	expect("10.0.0.5:4123 (node n2)", "10.0.0.1:9000",
	       "task 17 is on node n2 on host 10.0.0.5, and its view is there alone. Type: ssh -t 10.0.0.5 vine shell "
	       "17 (");
	expect("[fe80::5]:4123 (node n2)", NULL, "ssh -t fe80::5 vine shell 17 (");
	expect("127.0.0.1:4123 (node n2)", "head:9000", "ssh -t head vine shell 17 (");
	expect("uid 0 pid 7 (node n2)", "head:9000", "ssh -t head vine shell 17 (");
	expect("127.0.0.1:4123 (node n2)", "/run/vined.sock", "of this machine, but not in ");
	expect("uid 0 pid 7 (node n2)", NULL, "Type: VINE_NODE=DIR vine shell 17, where DIR is that node's --state");
	expect("[::1]:4123 (node n2)", "127.0.0.1:9000", "of this machine, but not in ");
	expect("", "head:9000", "task 17 is on node n2, which is away. On its host type: vine shell 17");
}

TEST(a_command_is_quoted_for_each_shell_that_reads_it)
{
	static char w0[] = "ls", w1[] = "-l", w2[] = "a b", w3[] = "it's", w4[] = "";
	char *words[] = {w0, w1, w2, w3, w4, NULL}, *few[] = {w0, w2, NULL};
	_free_ char *here = say("127.0.0.1:1 (node n2)", NULL, words);
	ASSERT(strstr(here, "vine shell 17 -- ls -l 'a b' 'it'\\''s' '', where"));
	_free_ char *there = say("10.0.0.5:1 (node n2)", NULL, few);
	ASSERT(strstr(there, "ssh -t 10.0.0.5 'vine shell 17 -- ls '\\''a b'\\''' ("));
}

TEST(of_this_machines_own_node_nothing_is_to_be_typed)
{
	_free_ char *id = unit_path("node-id");
	ASSERT_EQ(path_write(id, "aa-2\n", 5, 0600, false), 0);
	expect("10.0.0.5:4123 (node n2)", NULL,
	       "task 17 is on node n2, which is this machine's, and has left nothing there");
}
