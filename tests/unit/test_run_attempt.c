/* SPDX-License-Identifier: Apache-2.0
 * What becomes of an attempt with inputs and outputs, event by event. */
#include "tests/unit/run_world.h"

TEST(the_keeper_is_asked_when_the_inputs_are_there)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 1, NULL);
	ASSERT_EQ(b.prepared, 7);
	ASSERT(!has_request(&b));
	make_ready(&b, 7, 1);
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_START);
	ASSERT_EQ(q->flags, KEEPER_IN_VIEW);
	ASSERT_EQ(q->stem, STEM);
	ASSERT_EQ(q->mask, 022);
	ASSERT(q->n_steps > 0);
	ASSERT(has_text(&b, tree(1)) && has_text(&b, "TMPDIR=/tmp") && has_text(&b, "VINE_ROOT=/"));
	ASSERT(has_text(&b, "CUDA_VISIBLE_DEVICES=0,2") && has_text(&b, "VINE_GPUS=0,2"));
	ASSERT(has_text(&b, "OMP_NUM_THREADS=2") && has_text(&b, "HOME=/elsewhere"));
	ASSERT(is_there("s/7/start") && is_there("s/7/steps"));
	ASSERT_EQ(parts.n_limits, 1);
	finish(&b);
}

TEST(how_it_is_to_run_is_done_so)
{
	struct bench b = begin();
	open_with(&b, true);
	_free_ char *home = xasprintf("HOME=%s/s/1/home", unit_tmpdir());
	_free_ char *in = path_join(unit_tmpdir(), "s/3/cwd/data/in.txt");
	start_with(&b, 1, 0, "home=sandbox");
	make_ready(&b, 1, 0);
	hear(&b);
	ASSERT(has_text(&b, home) && !has_text(&b, "HOME=/elsewhere") && is_there("s/1/home"));
	start_with(&b, 2, 0, "umask=077");
	make_ready(&b, 2, 0);
	ASSERT_EQ(hear(&b)->mask, 077);
	start_with(&b, 3, 0, "stdin=data/in.txt");
	make_ready(&b, 3, 0);
	hear(&b);
	ASSERT(has_text(&b, in));
	start_with(&b, 4, 0, "view=none");
	make_ready(&b, 4, 0);
	ASSERT_EQ(hear(&b)->flags, 0);
	start_with(&b, 5, 0, "record=yes");
	make_ready(&b, 5, 0);
	ASSERT_EQ(hear(&b)->flags, KEEPER_IN_VIEW | KEEPER_RECORDED);
	/* Inputs of one without a view are where the mount is. */
	start_with(&b, 6, 1, "view=none");
	make_ready(&b, 6, 1);
	ASSERT_EQ(hear(&b)->flags, KEEPER_IN_VIEW);
	_free_ char *link = path_join(unit_tmpdir(), "s/6/root/vine-test/in");
	char target[256] = "";
	ASSERT(readlink(link, target, sizeof target - 1) > 0);
	ASSERT_STR(target, tree(1));
	finish(&b);
}

TEST(words_that_say_how_and_mean_nothing_are_the_tasks_fault)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 1, 0, "umask=9");
	ASSERT(strstr(next_end(&b).reason, "umask: '9' is no octal number"));
	start_with(&b, 2, 0, "strict=perhaps");
	ASSERT_EQ(next_end(&b).how, 3);
	start_with(&b, 3, 0, "unheard=of");
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 3);
	ASSERT(strstr(m.reason, "unheard"));
	ASSERT_EQ(b.prepared, 0);
	finish(&b);
}

TEST(inputs_that_cannot_be_had_end_it_with_their_reason)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 1, 1, NULL);
	run_unready(b.run, 1, -EIO, true, "item x: no room");
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 6);
	ASSERT_EQ(m.status, EIO);
	ASSERT_STR(m.reason, "the node could not begin it: item x: no room");
	start_with(&b, 2, 1, NULL);
	run_unready(b.run, 2, -ENOENT, false, "/vine-test/in: gone");
	m = next_end(&b);
	ASSERT_EQ(m.how, 3);
	ASSERT_STR(m.reason, "/vine-test/in: gone");
	ASSERT_EQ(b.n_released, 2);
	/* Late words of what is over mean nothing. */
	make_ready(&b, 2, 1);
	run_unready(b.run, 2, -EIO, true, "again");
	run_unready(b.run, 99, -EIO, true, "nobody");
	ASSERT(!has_request(&b));
	finish(&b);
}

TEST(a_stop_ends_it_in_each_state)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 1, 1, NULL);
	run_stop(b.run, &(struct wire_stop){.attempt = 1, .grace_usec = 1000});
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 2);
	ASSERT_EQ(m.status, SIGTERM);
	ASSERT_EQ(b.n_released, 1);
	start_with(&b, 2, 3, NULL);
	make_ready(&b, 2, 1);
	hear(&b);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 2});
	ASSERT(parts.job != NULL);
	run_stop(b.run, &(struct wire_stop){.attempt = 2, .grace_usec = 1000});
	ASSERT(!parts.job);
	ASSERT_EQ(next_end(&b).how, 2);
	ASSERT_EQ(b.n_released, 2);
	finish(&b);
}

TEST(one_that_ended_well_before_it_could_be_stopped_leaves_its_outputs)
{
	struct bench b = begin();
	open_with(&b, true);
	for (uint64_t i = 1; i <= 2; i++) {
		start_with(&b, i, 3, NULL);
		make_ready(&b, i, 1);
		hear(&b);
		run_stop(b.run, &(struct wire_stop){.attempt = i, .grace_usec = 1000});
		ASSERT_EQ(hear(&b)->signo, SIGTERM);
		report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = i, .status = i == 1 ? 0 : SIGTERM});
		ASSERT_EQ(parts.job != NULL, i == 1);
		if (parts.job)
			parts.job->on_done(parts.job, 0, "");
		parts.job = NULL;
		ASSERT_EQ(next_end(&b).how, i);
	}
	finish(&b);
}

TEST(a_fenced_one_is_forgotten_in_each_state)
{
	struct bench b = begin();
	open_with(&b, true);
	struct wire_ended m;
	uint32_t n;
	start_with(&b, 1, 1, NULL);
	run_stop(b.run, &(struct wire_stop){.attempt = 1, .fenced = true});
	ASSERT_EQ(b.released, 1);
	start_with(&b, 2, 3, NULL);
	make_ready(&b, 2, 1);
	hear(&b);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 2});
	run_stop(b.run, &(struct wire_stop){.attempt = 2, .fenced = true});
	ASSERT(!parts.job);
	ASSERT_EQ(b.released, 2);
	ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
	/* One that runs keeps its inputs until it does not. */
	start_with(&b, 3, 1, NULL);
	make_ready(&b, 3, 1);
	hear(&b);
	run_stop(b.run, &(struct wire_stop){.attempt = 3, .fenced = true});
	ASSERT_EQ(hear(&b)->type, KEEPER_KILL);
	ASSERT_EQ(b.released, 2);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 3});
	ASSERT_EQ(b.released, 3);
	free(run_held(b.run, &n));
	ASSERT_EQ(n, 0);
	ASSERT(!run_next_ended(b.run, &m, &b.heads));
	ASSERT(poll_until_gone("s/1") && poll_until_gone("s/2") && poll_until_gone("s/3"));
	finish(&b);
}

TEST(outputs_are_collected_before_it_has_ended)
{
	struct bench b = begin();
	open_with(&b, true);
	struct wire_ended none;
	struct wire_output made = {.item = 3, .size = 9};
	run_to_end(&b, 7, 0);
	ASSERT(parts.job->is_success);
	ASSERT_EQ(parts.n_places, 1);
	ASSERT_STR(parts.place, "/vine-test/out");
	ASSERT(strstr(parts.upper, "/s/7/o/0"));
	ASSERT(!parts.has_overlay);
	ASSERT_EQ(b.n_released, 0);
	ASSERT(!run_next_ended(b.run, &none, &b.heads));
	parts.job->outputs = &made;
	parts.job->n_outputs = 1;
	parts.job->written_size = 77;
	parts.job->on_done(parts.job, 0, "");
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 1);
	ASSERT_EQ(m.outputs.n, 1);
	ASSERT_EQ(m.outputs.at[0].size, 9);
	ASSERT_EQ(m.written_size, 77);
	ASSERT_EQ(m.local_size, 11);
	ASSERT_EQ(m.moved_size, 22);
	ASSERT_EQ(m.peer_size, 12);
	ASSERT_EQ(m.source_size, 7);
	ASSERT_EQ(m.client_size, 3);
	ASSERT_EQ(b.n_released, 1);
	finish(&b);
}

TEST(a_missing_output_fails_what_went_well_and_only_that)
{
	struct bench b = begin();
	open_with(&b, true);
	run_to_end(&b, 7, 0);
	parts.job->on_done(parts.job, -ENOENT, "r is not there");
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 7);
	ASSERT_EQ(m.status, ENOENT);
	ASSERT_STR(m.reason, "r is not there");
	run_to_end(&b, 8, 3 << 8);
	ASSERT(!parts.job->is_success);
	parts.job->on_done(parts.job, 0, "");
	m = next_end(&b);
	ASSERT_EQ(m.how, 1);
	ASSERT_EQ(m.status, 3);
	finish(&b);
}

TEST(inputs_that_failed_its_reads_are_named_whatever_it_made_of_that)
{
	static const int statuses[] = {0, 1 << 8, SIGBUS};
	struct bench b = begin();
	open_with(&b, true);
	for (uint64_t i = 0; i < countof(statuses); i++) {
		b.failure = "input x could not be read: f has changed";
		run_to_end(&b, 7 + i, statuses[i]);
		parts.job->on_done(parts.job, i ? 0 : -ENOENT, "r is not there");
		struct wire_ended m = next_end(&b);
		ASSERT_STR(m.reason, i ? "input x could not be read: f has changed"
				       : "r is not there; input x could not be read: f has changed");
	}
	b.failure = NULL;
	finish(&b);
}

TEST(a_limit_that_ended_it_is_said)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 1, "grace=2s");
	make_ready(&b, 7, 1);
	hear(&b);
	parts.on_exceeded(parts.arg, 7, LIMITS_WALL, "too long");
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->signo, SIGTERM);
	ASSERT_EQ(q->grace_msec, 2000);
	parts.on_exceeded(parts.arg, 7, LIMITS_MEMORY, "too much");
	ASSERT_EQ(hear(&b)->signo, SIGKILL);
	parts.on_exceeded(parts.arg, 99, LIMITS_MEMORY, "nobody");
	parts.usage = (struct limits_usage){.exceeded = LIMITS_MEMORY, .text = "too much", .peak_memory = 123};
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7, .status = SIGKILL});
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.exceeded, LIMITS_MEMORY);
	ASSERT_EQ(m.how, 2);
	ASSERT_EQ(m.peak_memory, 123);
	ASSERT_STR(m.reason, "too much");
	finish(&b);
}

TEST(limits_that_cannot_be_set_are_the_nodes_fault)
{
	struct bench b = begin();
	open_with(&b, true);
	parts.error = -ENOSPC;
	start_with(&b, 7, 0, NULL);
	make_ready(&b, 7, 0);
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 6);
	ASSERT(strstr(m.reason, "its limits cannot be set: No space left"));
	ASSERT_EQ(parts.n_limits, 0);
	finish(&b);
}

TEST(a_new_process_knows_what_runs)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 3, NULL);
	make_ready(&b, 7, 1);
	hear(&b);
	start_with(&b, 8, 3, NULL);
	make_ready(&b, 8, 1);
	hear(&b);
	run_free(b.run);
	close_fd(b.keeper);
	parts = (struct fake_parts){0};
	uint64_t began_usec = loop_now_usec(b.loop);
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_STARTED, .attempt = 7, .task = 107, .pid = getppid()});
	ASSERT_EQ(b.held, 7);
	ASSERT_EQ(parts.watched, 7);
	/* Its time runs since its first process is there. */
	ASSERT(parts.started_usec < began_usec);
	/* Without its file it is as it was before there were outputs. */
	_free_ char *file = path_join(unit_tmpdir(), "s/8/start");
	ASSERT_EQ(unlink(file), 0);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 8, .task = 108});
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	ASSERT_EQ(next_end(&b).attempt, 8);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7, .task = 107});
	ASSERT(parts.job != NULL);
	ASSERT_STR(parts.place, "/vine-test/out");
	parts.job->on_done(parts.job, 0, "");
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.attempt, 7);
	ASSERT_EQ(m.how, 1);
	ASSERT_EQ(b.released, 7);
	finish(&b);
}

TEST(what_ended_while_no_process_was_there_leaves_its_outputs_too)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 3, NULL);
	make_ready(&b, 7, 1);
	hear(&b);
	run_free(b.run);
	close_fd(b.keeper);
	parts = (struct fake_parts){0};
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7, .task = 107});
	ASSERT(parts.job != NULL);
	parts.job->on_done(parts.job, 0, "");
	ASSERT_EQ(b.n_ended, 0);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	ASSERT_EQ(next_end(&b).how, 1);
	finish(&b);
}

TEST(what_read_from_a_mount_that_died_is_run_again)
{
	struct bench b = begin();
	open_with(&b, true);
	start_with(&b, 7, 1, NULL);
	make_ready(&b, 7, 1);
	hear(&b);
	start_with(&b, 8, 0, NULL);
	make_ready(&b, 8, 0);
	hear(&b);
	run_set_stem(b.run, STEM + 1);
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_KILL);
	ASSERT_EQ(q->attempt, 7);
	ASSERT(!has_request(&b));
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7});
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 4);
	ASSERT_STR(m.reason, "the node's mount died under it, and reads may have failed");
	/* The same where there is no view, as inputs say. */
	run_set_stem(b.run, 0);
	start_with(&b, 9, 1, NULL);
	make_ready(&b, 9, 1);
	hear(&b);
	run_lost(b.run, 9, "gone");
	run_lost(b.run, 99, "gone");
	ASSERT_EQ(hear(&b)->type, KEEPER_KILL);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 9});
	ASSERT_EQ(next_end(&b).how, 4);
	finish(&b);
}

TEST(one_whose_stem_went_on_the_way_is_prepared_again)
{
	struct bench b = begin();
	open_with(&b, true);
	const struct keeper_report gone = {
		.type = KEEPER_FAILED, .attempt = 7, .error = ESTALE, .step = KEEPER_STEP_VIEW};
	start_with(&b, 7, 1, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		make_ready(&b, 7, 1);
		ASSERT_EQ(hear(&b)->stem, STEM + i - 1);
		b.prepared = 0;
		run_set_stem(b.run, STEM + i);
		ASSERT_EQ(hear(&b)->type, KEEPER_KILL);
		report(&b, gone);
		if (i < 3) {
			ASSERT_EQ(b.prepared, 7);
			ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
		}
	}
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 6);
	ASSERT_EQ(b.n_released, 3);
	finish(&b);
}

TEST(private_copies_are_made_where_the_mount_is)
{
	struct bench b = begin();
	open_with(&b, true);
	const struct run_input file = {.path = "/vine-test/rw", .at = "/mnt/of/file", .mode = 2, .is_file = true};
	start_with(&b, 7, 0, NULL);
	run_ready(b.run, 7, &file, 1);
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_DO);
	ASSERT_EQ(q->stem, STEM);
	ASSERT(q->attempt >= RUN_JOB_FIRST);
	ASSERT(has_text(&b, "/mnt/of/file"));
	report(&b, (struct keeper_report){.type = KEEPER_DONE, .attempt = q->attempt});
	ASSERT_EQ(hear(&b)->type, KEEPER_START);
	start_with(&b, 8, 0, NULL);
	run_ready(b.run, 8, &file, 1);
	q = hear(&b);
	report(&b, (struct keeper_report){.type = KEEPER_DONE, .attempt = q->attempt, .status = 1 << 8});
	struct wire_ended m = next_end(&b);
	ASSERT_EQ(m.how, 6);
	ASSERT(strstr(m.reason, "a private copy of an input could not be made"));
	/* A stop does not wait for it, and its end is nobody's then. */
	start_with(&b, 9, 0, NULL);
	run_ready(b.run, 9, &file, 1);
	q = hear(&b);
	run_stop(b.run, &(struct wire_stop){.attempt = 9});
	ASSERT_EQ(next_end(&b).how, 2);
	report(&b, (struct keeper_report){.type = KEEPER_DONE, .attempt = q->attempt});
	ASSERT(!has_request(&b));
	finish(&b);
}

TEST(without_a_mount_copies_are_made_here)
{
	struct bench b = begin();
	open_with(&b, false);
	_free_ char *from = path_join(unit_tmpdir(), "tree");
	const struct run_input input = {.path = "/vine-test/rw", .at = from, .mode = 2};
	ASSERT_EQ(mkdir(from, 0700), 0);
	write_output("tree/a", 3);
	start_with(&b, 7, 0, NULL);
	run_ready(b.run, 7, &input, 1);
	for (int i = 0; i < DEADLINE_TURNS && !has_request(&b); i++)
		loop_turn(b.loop, 10);
	ASSERT_EQ(hear(&b)->type, KEEPER_START);
	ASSERT(is_there("s/7/root/vine-test/rw/a"));
	finish(&b);
}
