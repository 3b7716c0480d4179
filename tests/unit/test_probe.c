/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "common/probe.h"
#include "common/probe_try.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned count_entries(const char *path)
{
	unsigned n = 0;
	DIR *d = opendir(path);
	for (const struct dirent *e; d && (e = readdir(d));)
		n += !streq(e->d_name, ".") && !streq(e->d_name, "..");
	if (d)
		closedir(d);
	return n;
}

TEST(every_feature_has_a_name_a_finding_a_cost_and_a_cure)
{
	struct probe_report r;
	probe_run(&r, unit_tmpdir());
	for (size_t i = 0; i < PROBE_N; i++) {
		ASSERT(r.at[i].name && *r.at[i].name);
		ASSERT(*r.at[i].detail);
		ASSERT(r.at[i].cost && r.at[i].cure);
	}
	ASSERT(r.cores >= 1);
	ASSERT(r.memory > 0);
	ASSERT(*r.reason);
}

TEST(the_tier_follows_from_what_works)
{
	static const enum probe_feature needed[] = {PROBE_KERNEL, PROBE_FUSE, PROBE_USER_NAMESPACES,
						    PROBE_PID_NAMESPACES, PROBE_OVERLAY};
	struct probe_report r;
	bool views = true;
	probe_run(&r, unit_tmpdir());
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
		views &= r.at[needed[i]].is_ok;
	ASSERT_EQ(r.tier == PROBE_TIER_VIEWS, views);
	ASSERT(r.tier == PROBE_TIER_PLAIN || r.at[PROBE_FUSE].is_ok);
	/* There is a way up from every tier but the highest. */
	ASSERT_EQ(r.lift == NULL, views);
	ASSERT_STR(probe_tier_name(PROBE_TIER_VIEWS), "views");
	ASSERT_STR(probe_tier_name(PROBE_TIER_MOUNT), "mount");
	ASSERT_STR(probe_tier_name(PROBE_TIER_PLAIN), "plain");
}

/* What the machine has not is not made up: each of these would have failed before it came to its last step. */
TEST(a_trial_names_the_step_that_failed)
{
	struct trial t = try_overlay("/proc", TRY_XINO | TRY_VOLATILE);
	ASSERT(t.error != 0);
	ASSERT_STR(t.step, "make a directory to try it in");
	t = try_fuse("/nonexistent/directory");
	ASSERT(t.error != 0);
	ASSERT(*t.step);
}

TEST(probing_leaves_nothing_behind)
{
	struct probe_report r;
	probe_run(&r, unit_tmpdir());
	ASSERT_EQ(count_entries(unit_tmpdir()), 0);
	/* No child either. */
	ASSERT_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

TEST(a_state_directory_that_is_not_there_yet_is_judged_by_its_parent)
{
	struct probe_report r;
	char path[4200];
	snprintf(path, sizeof path, "%s/a/b/c", unit_tmpdir());
	probe_run(&r, path);
	ASSERT(strstr(r.at[PROBE_DISK].detail, unit_tmpdir()) != NULL || strlen(unit_tmpdir()) > 60);
	ASSERT_EQ(count_entries(unit_tmpdir()), 0);
}

TEST(a_user_without_rights_gets_an_answer_too)
{
	if (geteuid() != 0)
		SKIP("only root can become somebody else");
	pid_t pid = fork();
	if (pid == 0) {
		struct probe_report r;
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(2);
		probe_run(&r, "/tmp");
		_exit(!*r.at[PROBE_USER_NAMESPACES].detail || !*r.at[PROBE_OVERLAY].detail);
	}
	int status = -1;
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
}
