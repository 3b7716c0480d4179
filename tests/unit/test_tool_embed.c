/* SPDX-License-Identifier: Apache-2.0
 * What is remembered of the user's own cluster, and who is taken to be running. */
#include "common/path.h"
#include "tests/unit/unit.h"
#include "tools/embed.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[1500];
static unsigned n_starts;

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	va_list args;
	(void)t;
	va_start(args, fmt);
	vsnprintf(said, sizeof said, fmt, args);
	va_end(args);
	return EXIT_VINE_FAILED;
}

int embed_bring_up(struct embed *e, unsigned n_nodes)
{
	(void)e, (void)n_nodes;
	n_starts++;
	return 0;
}

static void write_text(const char *path, const char *text)
{
	ASSERT_EQ(path_write(path, text, strlen(text), 0600, false), 0);
}

/* The state directory of cluster NAME, made. */
static char *begin(const char *name)
{
	char *state = xasprintf("%s/vine/%s", unit_tmpdir(), name);
	setenv("XDG_STATE_HOME", unit_tmpdir(), 1);
	unsetenv("VINE");
	ASSERT_EQ(path_make_dirs(state, 0700), 0);
	*said = 0;
	n_starts = 0;
	return state;
}

static void lock_by(const char *state, pid_t pid)
{
	_free_ char *path = path_join(state, "lock");
	char text[16];
	snprintf(text, sizeof text, "%d\n", (int)pid);
	write_text(path, text);
}

TEST(what_is_recorded_is_read_again)
{
	free(begin("default"));
	_cleanup_(embed_fini) struct embed e, f;
	ASSERT_EQ(embed_open(&e, NULL), 0);
	ASSERT(!e.is_recorded && e.is_default && e.n_nodes == 0);
	e.vined = 4711;
	free(e.listen);
	e.listen = xstrdup("host:1");
	e.nodes[0] = (struct embed_node){.state = xstrdup("/a dir/n1"), .cores = 2, .memory = 3, .cache = 4};
	e.nodes[1] = (struct embed_node){.state = xstrdup("/n2")};
	e.n_nodes = 2;
	ASSERT_EQ(embed_record(&e), 0);
	ASSERT_EQ(embed_open(&f, "default"), 0);
	ASSERT(f.is_recorded);
	ASSERT_EQ(f.vined, 4711);
	ASSERT_STR(f.listen, "host:1");
	ASSERT_EQ(f.n_nodes, 2);
	ASSERT_STR(f.nodes[0].state, "/a dir/n1");
	ASSERT_EQ(f.nodes[0].cache, 4);
	ASSERT_STR(f.nodes[1].state, "/n2");
}

TEST(damage_in_the_record_is_passed_over)
{
	_free_ char *state = begin("default"), *path = path_join(state, "embedded");
	_cleanup_(embed_fini) struct embed e;
	write_text(path, "vined\nnode 1 2\nnode x /a\nnode 0 0 0 relative\nwhatever\nnode 0 0 0 /n1\nnode");
	ASSERT_EQ(embed_open(&e, NULL), 0);
	ASSERT_EQ(e.n_nodes, 1);
	ASSERT_STR(e.nodes[0].state, "/n1");
}

TEST(a_lock_file_counts_only_with_a_living_process_of_that_program)
{
	_free_ char *state = begin("default");
	ASSERT_EQ(embed_owner(state, "test_tool"), 0);
	lock_by(state, getpid());
	ASSERT_EQ(embed_owner(state, "test_tool"), getpid());
	ASSERT_EQ(embed_owner(state, "vined"), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	siginfo_t info;
	ASSERT_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	lock_by(state, child);
	ASSERT_EQ(embed_owner(state, "test_tool"), 0); /* a zombie */
	ASSERT_EQ(waitpid(child, NULL, 0), child);
	ASSERT_EQ(embed_owner(state, "test_tool"), 0);
	lock_by(state, -1);
	ASSERT_EQ(embed_owner(state, "test_tool"), 0);
}

TEST(who_has_been_killed_counts_no_more_though_it_is_still_there)
{
	_free_ char *state = begin("default");
	for (unsigned i = 0; i < 100; i++) {
		pid_t child = fork();
		if (child == 0)
			for (;;)
				pause();
		lock_by(state, child);
		ASSERT_EQ(embed_owner(state, "test_tool"), child);
		ASSERT_EQ(kill(child, SIGKILL), 0);
		ASSERT_EQ(embed_owner(state, "test_tool"), 0);
		ASSERT_EQ(waitpid(child, NULL, 0), child);
	}
}

TEST(a_cluster_of_somebody_else_is_left_alone)
{
	free(begin("default"));
	_cleanup_(embed_fini) struct embed e;
	static const char *const others[] = {"/dir", "host:1", "/dir/vined.sock"};
	for (size_t i = 0; i < countof(others); i++) {
		setenv("VINE", others[i], 1);
		ASSERT_EQ(embed_start(NULL), 0);
		ASSERT_EQ(embed_look(NULL), 0);
	}
	ASSERT_EQ(n_starts, 0);
	ASSERT_EQ(embed_open(&e, NULL), -EINVAL);
	ASSERT(strstr(e.error, "--name NAME"));
}

TEST(looking_starts_nothing_and_says_what_does)
{
	free(begin("default"));
	ASSERT_EQ(embed_look(NULL), EXIT_VINE_FAILED);
	ASSERT(strstr(said, "`vine up`"));
	ASSERT_EQ(n_starts, 0);
	ASSERT_EQ(embed_start(NULL), 0);
	ASSERT_EQ(n_starts, 1);
}

TEST(a_name_that_nothing_is_known_of_may_be_a_mistake)
{
	_free_ char *state = begin("other"), *path = path_join(state, "embedded");
	setenv("VINE", "other", 1);
	ASSERT_EQ(embed_start(NULL), EXIT_VINE_FAILED);
	ASSERT(strstr(said, "`vine up --name other`"));
	write_text(path, "vined 0\n");
	ASSERT_EQ(embed_start(NULL), 0);
	ASSERT_EQ(n_starts, 1);
}

TEST(looking_starts_again_what_was_to_stay_and_has_crashed)
{
	_free_ char *state = begin("default"), *record = path_join(state, "embedded"), *stay = path_join(state, "stay");
	write_text(record, "vined 999999999\nnode 0 0 0 /n1\n");
	ASSERT_EQ(embed_look(NULL), EXIT_VINE_FAILED);
	write_text(stay, "");
	ASSERT_EQ(embed_look(NULL), 0);
	ASSERT_EQ(n_starts, 1);
}
