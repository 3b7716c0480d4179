/* SPDX-License-Identifier: Apache-2.0
 * A user who is wrong, past the checks of our own client: requests that vined must refuse, with words that say what and which.
 * Two good tasks are there at the end, in run "wrong".
 *
 *   wrong SOCKET      prints "NAME: what vined said" for each; exit status 1 if one was taken, or refused in other words
 *
 * Every wrong task comes in the middle of good ones, none of which may be there afterwards. */
#include "tests/system/talk.h"

#define LONG_SIZE 1000000u

static char long_word[LONG_SIZE + 1], long_key[2000];

#define WORDS(...)                                                                                              \
	{                                                                                                       \
		(const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *) \
	}

#define BINDINGS(...)                                                                                    \
	{                                                                                                \
		(const struct wire_binding[]){__VA_ARGS__},                                              \
			sizeof((const struct wire_binding[]){__VA_ARGS__}) / sizeof(struct wire_binding) \
	}
#define AMOUNTS(word)                                      \
	{                                                  \
		(const struct wire_amount[]){{word, 1}}, 1 \
	}
#define IN(path, item)                    \
	{                                 \
		path, item, 1, 0, NULL, 0 \
	}
#define OUT(path, item)                   \
	{                                 \
		path, item, 3, 0, NULL, 0 \
	}
#define ECHO .argv = WORDS("echo")

/* `also` comes after it, if it has a command. */
static const struct {
	const char *name;
	struct wire_task task, also;
	const char *says;
} tasks[] = {
	{"no command", {.tag = "x"}, {}, "command is empty"},
	{"an empty command", {.argv = WORDS("")}, {}, "command is empty"},
	{"an argument of 1e6 characters", {.argv = WORDS("echo", long_word)}, {}, "argument 1 has 1000000 bytes"},
	{"a variable of 1e6 characters", {ECHO, .environment = WORDS("A=1", long_word)}, {}, "environment entry 1"},
	{"a variable without a name", {ECHO, .environment = WORDS("=1")}, {}, "environment entry 0"},
	{"a newline in the tag", {ECHO, .tag = "a\nb"}, {}, "tag contains a control character"},
	{"a newline in the key", {ECHO, .key = "a\nb"}, {}, "key contains a control character"},
	{"a long key", {ECHO, .key = long_key}, {}, "key is longer"},
	{"a newline in the category", {ECHO, .category = "a\nb"}, {}, "category contains a control character"},
	{"a relative directory", {ECHO, .directory = "here"}, {}, "no absolute path"},
	{"a newline in the directory", {ECHO, .directory = "/a\nb"}, {}, "control character"},
	{"more cores than there can be", {ECHO, .cores = 65537}, {}, "65537 cores"},
	{"more memory than there can be", {ECHO, .memory = UINT64_MAX}, {}, "more memory than there can be"},
	{"more disk than there can be", {ECHO, .disk = UINT64_MAX}, {}, "more disk than there can be"},
	{"more gpus than there can be", {ECHO, .gpus = 65}, {}, "65 gpus"},
	{"a wall time without end", {ECHO, .wall_usec = UINT64_MAX}, {}, "wall time is longer"},
	{"retries without end", {ECHO, .retries = UINT32_MAX}, {}, "4294967295 retries"},
	{"a staging that there is not", {ECHO, .staging = 4}, {}, "staging 4"},
	{"a newline in a feature", {ECHO, .features = WORDS("a\nb")}, {}, "feature"},
	{"a newline in a resource", {ECHO, .named = AMOUNTS("a\nb")}, {}, "resource"},
	{"a newline in a counter", {ECHO, .counters = AMOUNTS("a\nb")}, {}, "counter"},
	{"an item of no kind", {ECHO, .bindings = BINDINGS(IN("/x", "thing"))}, {}, "item 'thing'"},
	{"an item without a name", {ECHO, .bindings = BINDINGS(IN("/x", "temp:"))}, {}, "item 'temp:'"},
	{"a newline in an item", {ECHO, .bindings = BINDINGS(IN("/x", "file:/a\nb"))}, {}, "item 'file:/a"},
	{"a shared path that is relative", {ECHO, .bindings = BINDINGS(IN("/x", "file:a"))}, {}, "item 'file:a'"},
	{"a shared path that climbs",
	 {ECHO, .bindings = BINDINGS(IN("/x", "file:/a/../../b"))},
	 {},
	 "item 'file:/a/../../b'"},
	{"a tree that is none", {ECHO, .bindings = BINDINGS(IN("/x", "tree:123"))}, {}, "item 'tree:123'"},
	{"an output that is neither a temp nor a shared path",
	 {ECHO, .bindings = BINDINGS(OUT("/x", "node:/x"))},
	 {},
	 "an output is a temp:NAME or a file:/PATH"},
	{"flags that there are not",
	 {ECHO, .bindings = BINDINGS({.path = "/x", .item = "temp:x", .mode = 3, .flags = 16})},
	 {},
	 "flags 16"},
	{"how without a value", {ECHO, .how = WORDS("strict")}, {}, "how 'strict'"},
	{"a newline in how", {ECHO, .how = WORDS("stdin=a\nb")}, {}, "how 'stdin=a"},
	{"a path that is empty", {ECHO, .bindings = BINDINGS(IN("", "node:/x"))}, {}, "it is empty"},
	{"a path outside", {ECHO, .bindings = BINDINGS(IN("../x", "node:/x"))}, {}, "it contains '..'"},
	{"a path that climbs", {ECHO, .bindings = BINDINGS(OUT("a/../../x", "temp:x"))}, {}, "it contains '..'"},
	{"a newline in a path", {ECHO, .bindings = BINDINGS(IN("/a\nb", "node:/x"))}, {}, "path '/a"},
	{"two items at one path",
	 {ECHO, .bindings = BINDINGS(IN("/x", "node:/x"), IN("/x", "node:/y"))},
	 {},
	 "path /x"},
	{"neither input nor output", {ECHO, .bindings = BINDINGS({"/x", "node:/x", 9, 0, NULL, 0})}, {}, "path /x"},
	{"an input that nobody makes", {ECHO, .bindings = BINDINGS(IN("x", "temp:none"))}, {}, "item 'temp:none'"},
	{"a second maker", {ECHO, .bindings = BINDINGS(OUT("x", "temp:good"))}, {}, "makes it already"},
	{"its own input",
	 {ECHO, .bindings = BINDINGS(IN("x", "temp:a"), OUT("y", "temp:a"))},
	 {},
	 "what it makes itself"},
	{"inputs in a circle",
	 {ECHO, .bindings = BINDINGS(IN("x", "temp:b"), OUT("y", "temp:a"))},
	 {ECHO, .bindings = BINDINGS(IN("x", "temp:a"), OUT("y", "temp:b"))},
	 "what it makes itself"},
};

static const struct {
	const char *name, *run, *says;
} runs[] = {
	{"a newline in the run's name", "a\nb", "control character"},
	{"a run that looks like a task", "17", "needs a letter"},
	{"a run that looks like a selector", "tag:x", "may not contain"},
	{"a run with a slash", "a/b", "may not contain"},
	{"a run that looks like an option", "-n", "may not"},
	{"a long run name", long_key, "at most 128"},
};

/* ---- being wrong */

static int check(const struct talk *t, const char *name, const char *says)
{
	bool is_good = t->error && strstr(t->reason, says);
	printf("%s%s: %s\n", is_good ? "" : "NOT REFUSED AS IT SHOULD BE: ", name, t->reason);
	return !is_good;
}

static const struct wire_task maker = {.argv = WORDS("touch", "o"), .bindings = BINDINGS(OUT("o", "temp:good"))},
			      reader = {.argv = WORDS("true"), .bindings = BINDINGS(IN("i", "temp:good"))};

/* The wrong one comes between two good ones. */
static int submit(struct talk *t, const char *name, const struct wire_task *task, const struct wire_task *also,
		  const char *says)
{
	const struct wire_task all[] = {maker, *task, reader, *also};
	talk_ask(t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong", .tasks = {all, also->argv.n ? 4 : 3}});
	int bad = check(t, name, says);
	/* Of a circle each is as wrong as the other. */
	bool is_named = strstr(t->reason, "task 2 of ") || (also->argv.n && strstr(t->reason, "task 4 of 4"));
	if (!is_named)
		printf("IT DOES NOT SAY WHICH: %s\n", name);
	return bad || !is_named;
}

int main(int argc, char **argv)
{
	struct talk t = {.loop = NULL};
	int bad = 0;
	if (argc != 2) {
		fprintf(stderr, "usage: wrong SOCKET\n");
		return 2;
	}
	memset(long_word, 'x', sizeof long_word - 1);
	memset(long_key, 'x', sizeof long_key - 1);
	talk_open(&t, argv[1], TLS_ROLE_CLIENT);
	for (size_t i = 0; i < countof(runs); i++) {
		talk_ask(&t, WIRE_ATTACH, &(struct wire_attach){.run = runs[i].run});
		bad |= check(&t, runs[i].name, runs[i].says);
	}
	talk_ask(&t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong"});
	bad |= check(&t, "a run that is not attached", "not attached");
	talk_ask(&t, WIRE_ATTACH, &(struct wire_attach){.run = "wrong"});
	talk_ask(&t, WIRE_SUBMIT, &(struct wire_submit){.run = "wrong"});
	bad |= check(&t, "no task", "no task");
	for (size_t i = 0; i < countof(tasks); i++)
		bad |= submit(&t, tasks[i].name, &tasks[i].task, &tasks[i].also, tasks[i].says);
	talk_ask(&t, WIRE_QUERY, &(struct wire_query){.what = "tasks"});
	if (t.n_cells) {
		printf("HALF SUBMITTED: there are tasks\n");
		bad = 1;
	}
	/* Of the good ones beside them nothing is left either, which would be in the way. */
	talk_ask(&t, WIRE_SUBMIT,
		 &(struct wire_submit){.run = "wrong", .tasks = {(const struct wire_task[]){maker, reader}, 2}});
	if (t.error) {
		printf("HALF SUBMITTED: %s\n", t.reason);
		bad = 1;
	}
	talk_close(&t);
	return bad;
}
