/* SPDX-License-Identifier: Apache-2.0
 * What stays of attempts, and what is said of them. */
#include "tests/unit/run_world.h"

TEST(a_failed_sandbox_is_kept_and_found_again)
{
	struct bench b = begin();
	open_with(&b, true);
	run_to_end(&b, 7, 3 << 8);
	parts.job->on_done(parts.job, 0, "");
	next_end(&b);
	run_taken(b.run, 7);
	ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
	run_to_end(&b, 8, 0);
	parts.job->on_done(parts.job, 0, "");
	next_end(&b);
	run_taken(b.run, 8);
	hear(&b);
	ASSERT(poll_until_gone("s/8"));
	write_output("s/7/out", 1);
	run_free(b.run);
	close_fd(b.keeper);
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	struct run_view v;
	_free_ char *sandbox = path_join(unit_tmpdir(), "s/7");
	ASSERT(is_there("s/7/cwd"));
	ASSERT_EQ(run_read_view(sandbox, &v), 0);
	ASSERT_EQ(v.stem, STEM);
	ASSERT_EQ(v.flags, KEEPER_IN_VIEW);
	ASSERT_EQ(v.mask, 022);
	ASSERT_STR(v.argv[0], "prog");
	bool has_proc = false;
	for (uint32_t i = 0; i < v.n_steps; i++)
		has_proc |= v.steps[i].op == VIEW_PROC;
	ASSERT(has_proc);
	ASSERT(strstr(v.directory, "/s/7/cwd"));
	run_view_fini(&v);
	finish(&b);
}

TEST(a_view_is_kept_from_the_second_task_on_until_an_input_goes)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 1, 1, NULL);
	make_ready(&b, 1, 1);
	ASSERT_EQ(hear(&b)->kept, 0);
	uint64_t kept = 0;
	for (uint64_t i = 2; i <= 3; i++) {
		start_with(&b, i, 1, NULL);
		make_ready(&b, i, 1);
		const struct keeper_request *q = hear(&b);
		ASSERT(q->kept != 0 && q->n_kept > 0 && (!kept || kept == q->kept));
		kept = q->kept;
	}
	run_forget_input(b.run, tree(2));
	ASSERT(!has_request(&b));
	run_forget_input(b.run, tree(1));
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_UNKEEP);
	ASSERT_EQ(q->kept, kept);
	finish(&b);
}

TEST(a_view_that_nobody_asks_for_is_kept_no_more)
{
	struct bench b = begin();
	open_with(&b, true);
	uint64_t now = 1000000;
	loop_set_clock(b.loop, fake_now_usec, &now);
	for (uint64_t i = 1; i <= 2; i++) {
		start_with(&b, i, 1, NULL);
		make_ready(&b, i, 1);
		hear(&b);
	}
	for (int i = 0; i < 2; i++) {
		now += 61000000;
		ASSERT_EQ(loop_turn(b.loop, 0), 0);
	}
	ASSERT_EQ(hear(&b)->type, KEEPER_UNKEEP);
	finish(&b);
}

TEST(a_write_to_an_input_is_explained)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 1, NULL);
	make_ready(&b, 7, 1);
	hear(&b);
	_free_ char *path = path_join(unit_tmpdir(), "s/7/err");
	static const char text[] = "prog: cannot open /vine-test/in/x: Read-only file system\n";
	ASSERT_EQ(path_write(path, text, strlen(text), 0600, false), 0);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7, .status = 1 << 8});
	ASSERT(strstr(next_end(&b).reason, "inputs are read-only: with :rw"));
	finish(&b);
}

TEST(a_script_without_its_interpreter_is_explained)
{
	struct bench b = begin();
	open_with(&b, false);
	start_with(&b, 7, 0, NULL);
	make_ready(&b, 7, 0);
	hear(&b);
	_free_ char *path = path_join(unit_tmpdir(), "s/7/cwd/script");
	ASSERT_EQ(path_write(path, "#! /no/such/thing -x\n", 21, 0700, false), 0);
	report(&b, (struct keeper_report){.type = KEEPER_FAILED,
					  .attempt = 7,
					  .error = ENOENT,
					  .step = KEEPER_STEP_EXEC,
					  .what = "./script"});
	ASSERT_STR(next_end(&b).reason, "exec ./script: No such file or directory (its first line names "
					"/no/such/thing, which is not there)");
	finish(&b);
}

TEST(jobs_of_others_are_passed_on)
{
	struct bench b = begin();
	open_with(&b, true);
	struct view_step step = {.op = VIEW_UNMOUNT, .to = tree(1)};
	ASSERT_EQ(run_do(b.run, 3, STEM, &step, 1, NULL, 0), 0);
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_DO);
	ASSERT_EQ(q->attempt, 3);
	report(&b, (struct keeper_report){.type = KEEPER_DONE, .attempt = 3, .error = EBUSY});
	ASSERT_EQ(b.job, 3);
	ASSERT_EQ(b.job_error, -EBUSY);
	finish(&b);
}
