// SPDX-License-Identifier: Apache-2.0
// What is wrong with a request by itself.
#include "tests/unit/driver_world.h"

TEST(what_is_wrong_with_a_run_name_is_said)
{
	static const struct {
		const char *name;
		int error;
	} cases[] = {
		{"sweep", 0},    {"sweep-2 b", 0},    {"17", EINVAL},    {"1-9", EINVAL}, {"a\nb", EINVAL},
		{"a/b", EINVAL}, {"@failed", EINVAL}, {"tag:x", EINVAL}, {"-n", EINVAL},
	};
	char reason[256], longer[200] = "";
	for (size_t i = 0; i < countof(cases); i++)
		ASSERT_EQ(client_check_run(cases[i].name, reason), cases[i].error);
	memset(longer, 'x', sizeof longer - 1);
	ASSERT_EQ(client_check_run(longer, reason), ENAMETOOLONG);
}

TEST(what_is_wrong_with_a_task_is_said_with_its_place)
{
	static char longer[1000001];
	static struct wire_binding many[10001];
	memset(longer, 'x', sizeof longer - 1);
	const char *good[] = {"prog"}, *empty[] = {""}, *large[] = {"prog", longer}, *bare[] = {"NAME"};
	const struct wire_binding twice[] = {{.path = "/d", .item = "temp:a", .mode = 1},
					     {.path = "/e", .item = "temp:b", .mode = 1},
					     {.path = "/d", .item = "temp:c", .mode = 3}};
	const struct wire_binding updated[] = {{.path = "/d", .item = "temp:c", .mode = 3},
					       {.path = "/d", .item = "file:/d", .mode = 2},
					       {.path = "/d", .item = "file:/e", .mode = 2}};
	const struct wire_binding outside = {.path = "a/../../b", .item = "temp:a", .mode = 1},
				  newline = {.path = "a\nb", .item = "temp:a", .mode = 1},
				  nowhere = {.path = "", .item = "temp:a", .mode = 1},
				  useless = {.path = "/d", .item = "temp:a"},
				  maybe = {.path = "/d", .item = "temp:a", .mode = 3, .flags = 15},
				  flagged = {.path = "/d", .item = "temp:a", .mode = 1, .flags = 1},
				  odd = {.path = "/d", .item = "temp:a", .mode = 3, .flags = 16};
	const char *how[] = {"view=none", "stdin=a b"}, *how_bare[] = {"strict"}, *how_broken[] = {"home=a\nb"},
		   *how_large[] = {"home=x", longer};
	const struct {
		struct wire_task task;
		int error;
		const char *says;
	} cases[] = {
		{{.argv = {good, 1}}, 0, ""},
		{{.argv = {good, 0}}, EINVAL, "command is empty"},
		{{.argv = {empty, 1}}, EINVAL, "command is empty"},
		{{.argv = {large, 2}}, E2BIG, "argument 1 has 1000000 bytes"},
		{{.argv = {good, 1}, .environment = {bare, 1}}, EINVAL, "not NAME=value"},
		{{.argv = {good, 1}, .tag = "a\nb"}, EINVAL, "tag contains a control"},
		{{.argv = {good, 1}, .directory = "relative"}, EINVAL, "absolute"},
		{{.argv = {good, 1}, .cores = 100000}, ERANGE, "100000 cores"},
		{{.argv = {good, 1}, .gpus = 65}, ERANGE, "65 gpus"},
		{{.argv = {good, 1}, .staging = 4}, EINVAL, "staging 4"},
		{{.argv = {good, 1}, .retries = 1000000}, ERANGE, "1000000 retries"},
		{{.argv = {good, 1}, .category = "a\tb"}, EINVAL, "category contains a control"},
		{{.argv = {good, 1}, .bindings = {twice, 2}}, 0, ""},
		{{.argv = {good, 1}, .bindings = {twice, 3}}, EEXIST, "that is updated is one with :rw"},
		{{.argv = {good, 1}, .bindings = {updated, 2}}, 0, ""},
		{{.argv = {good, 1}, .bindings = {updated, 3}}, EEXIST, "path /d: two inputs or outputs"},
		{{.argv = {good, 1}, .bindings = {many, countof(many)}},
		 E2BIG,
		 "10001 inputs and outputs, at most 10000"},
		{{.argv = {good, 1}, .bindings = {&outside, 1}},
		 EINVAL,
		 "'a/../../b' of item 'temp:a': it contains '..'"},
		{{.argv = {good, 1}, .bindings = {&newline, 1}}, EINVAL, "control character"},
		{{.argv = {good, 1}, .bindings = {&nowhere, 1}}, EINVAL, "it is empty"},
		{{.argv = {good, 1}, .bindings = {&useless, 1}}, EINVAL, "neither an input nor an output"},
		{{.argv = {good, 1}, .bindings = {&maybe, 1}}, 0, ""},
		{{.argv = {good, 1}, .bindings = {&flagged, 1}}, EINVAL, "it is no output"},
		{{.argv = {good, 1}, .bindings = {&odd, 1}}, EINVAL, "flags 16 are not known"},
		{{.argv = {good, 1}, .how = {how, 2}}, 0, ""},
		{{.argv = {good, 1}, .how = {how_bare, 1}}, EINVAL, "how 'strict'"},
		{{.argv = {good, 1}, .how = {how_broken, 1}}, EINVAL, "how 'home="},
		{{.argv = {good, 1}, .how = {how_large, 2}}, EINVAL, "how 'xxx"},
		{{.argv = {good, 1}, .environment_of = 1}, 0, ""},
		{{.argv = {good, 1}, .environment_of = 2}, EINVAL, "number 2 of 1"},
		{{.argv = {good, 1}, .environment_of = 1, .environment = {how, 2}}, EINVAL, "2 entries of its own"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char reason[256] = "";
		struct wire_task tasks[2] = {{.argv = {good, 1}}, cases[i].task};
		for (int k = 0; k < 2; k++) { // a decoder leaves no NULL
			tasks[k].key = "";
			tasks[k].tag = tasks[k].tag ? tasks[k].tag : "";
			tasks[k].category = tasks[k].category ? tasks[k].category : "";
			tasks[k].directory = tasks[k].directory ? tasks[k].directory : "";
		}
		const struct wire_variables shared = {.environment = {how, 2}};
		const struct wire_submit m = {.tasks = {tasks, 2}, .environments = {&shared, 1}};
		ASSERT_EQ(client_check_submit(&m, reason), cases[i].error);
		ASSERT(strstr(reason, cases[i].says));
		ASSERT(!cases[i].error || strstr(reason, "task 2 of 2"));
	}
}

TEST(what_is_wrong_with_a_shared_environment_is_said_once)
{
	char reason[256];
	const char *good[] = {"prog"}, *bare[] = {"NAME"};
	const struct wire_variables shared[] = {{.environment = {NULL, 0}}, {.environment = {bare, 1}}};
	const struct wire_task task = {
		.argv = {good, 1}, .key = "", .tag = "", .category = "", .directory = "", .environment_of = 1};
	const struct wire_submit m = {.tasks = {&task, 1}, .environments = {shared, 2}};
	ASSERT_EQ(client_check_submit(&m, reason), EINVAL);
	ASSERT(strstr(reason, "environment 2 of 2: its environment entry 0 is not NAME=value"));
}
