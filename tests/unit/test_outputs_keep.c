/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/outputs_world.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

TEST(a_kept_file_is_written_beside_and_renamed_when_granted)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/a; chmod 640 cwd/a; mkdir shared; printf old > shared/a; printf x > "
				"shared/.vine-3.a; printf y > shared/.vine-4.b");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	w.answer = OUTPUTS_WORLD_WAIT;
	outputs_world_start(&w, true);
	outputs_world_until_asked(&w, 1);
	ASSERT_EQ(w.asked.item, 7);
	ASSERT_EQ(w.asked.attempt, OUTPUTS_WORLD_ATTEMPT);
	ASSERT_EQ(w.asked.within_usec, 10000000);
	outputs_world_shell(&w, "test $(cat shared/a) = old; test $(cat shared/.vine-17.a) = new");
	outputs_keep_answered(w.o, OUTPUTS_WORLD_ATTEMPT, 7, 0, "");
	ASSERT_EQ(outputs_world_finish(&w), 0);
	outputs_world_shell(&w, "test $(cat shared/a) = new; test $(stat -c %a shared/a) = 640; test \"$(ls -A "
				"shared)\" = '.vine-4.b\na'");
	ASSERT(w.job.outputs[0].tree.algorithm);
	outputs_world_close(&w);
}

TEST(what_is_refused_is_removed)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/a; mkdir shared; printf old > shared/a");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	w.answer = -ESTALE;
	ASSERT_EQ(outputs_world_run(&w, true), -ESTALE);
	ASSERT(strstr(w.reason, "another attempt"));
	outputs_world_settle(&w, "shared");
	outputs_world_shell(&w, "test $(cat shared/a) = old; test \"$(ls -A shared)\" = a");
	outputs_world_close(&w);
}

TEST(a_kept_directory_takes_the_place_of_the_old_one)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir -p cwd/d/e; printf new > cwd/d/e/f; mkdir -p shared/d/old");
	outputs_world_keep(&w, 7, "d", "shared/d", 0);
	outputs_world_keep(&w, 8, "d", "shared/new/one", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_shell(
		&w, "diff -r cwd/d shared/d; diff -r cwd/d shared/new/one; test \"$(ls -A shared)\" = 'd\nnew'");
	outputs_world_close(&w);
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/f; mkdir -p shared/f/precious");
	outputs_world_keep(&w, 7, "f", "shared/f", 0);
	ASSERT_EQ(outputs_world_run(&w, true), -EISDIR);
	outputs_world_shell(&w, "test -d shared/f/precious");
	outputs_world_close(&w);
}

TEST(vined_that_is_away_is_asked_again)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/a; mkdir shared");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	w.answer = -ENOTCONN;
	outputs_world_start(&w, true);
	outputs_world_until_asked(&w, 1);
	w.answer = 0;
	w.f.later_usec += 2000000;
	ASSERT_EQ(outputs_world_finish(&w), 0);
	ASSERT_EQ(w.n_asked, 2);
	outputs_world_shell(&w, "test $(cat shared/a) = new");
	outputs_world_close(&w);
}

TEST(what_was_published_before_is_not_again)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/a; mkdir shared; printf first > shared/a");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	w.answer = -EALREADY;
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT(w.job.outputs[0].tree.algorithm);
	outputs_world_settle(&w, "shared");
	outputs_world_shell(&w, "test $(cat shared/a) = first");
	outputs_world_close(&w);
}

TEST(a_grant_that_came_late_is_not_used)
{
	struct outputs_world w;
	outputs_world_open_as(&w, (struct outputs_world){.keep_usec = 50000});
	outputs_world_shell(&w, "printf new > cwd/a; mkdir shared; printf old > shared/a");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	w.answer = OUTPUTS_WORLD_WAIT;
	outputs_world_start(&w, true);
	outputs_world_until_asked(&w, 1);
	usleep(60000);
	outputs_keep_answered(w.o, OUTPUTS_WORLD_ATTEMPT, 7, 0, "");
	outputs_world_until_asked(&w, 2);
	outputs_world_shell(&w, "test $(cat shared/a) = old");
	outputs_keep_answered(w.o, OUTPUTS_WORLD_ATTEMPT, 7, 0, "");
	while (!w.is_done && w.n_asked < 10) { /* a slow machine is late again */
		fetch_world_turn(&w.f);
		outputs_keep_answered(w.o, OUTPUTS_WORLD_ATTEMPT, 7, 0, "");
	}
	ASSERT_EQ(w.error, 0);
	outputs_world_shell(&w, "test $(cat shared/a) = new");
	outputs_world_close(&w);
}

TEST(done_again_it_is_published_again)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf new > cwd/a; mkdir -p cwd/d shared; printf x > cwd/d/x");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	outputs_world_keep(&w, 8, "d", "shared/d", 0);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(outputs_world_run(&w, true), 0);
		outputs_world_shell(
			&w, "test $(cat shared/a) = new; diff -r cwd/d shared/d; test \"$(ls -A shared)\" = 'a\nd'");
		outputs_world_again(&w);
	}
	outputs_world_close(&w);
}

static pthread_mutex_t target_lock = PTHREAD_MUTEX_INITIALIZER;

/* In place of libc's: what is written beside a target stands still while this is held. */
int fsync(int fd)
{
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	path[max(n, (ssize_t)0)] = 0;
	if (strstr(path, "/.vine-17.")) {
		pthread_mutex_lock(&target_lock);
		pthread_mutex_unlock(&target_lock);
	}
	return (int)syscall(SYS_fsync, fd);
}

TEST(a_target_that_stands_still_is_given_up)
{
	struct outputs_world w;
	outputs_world_open_as(&w, (struct outputs_world){.patience_usec = 1000});
	outputs_world_shell(&w, "printf x > cwd/a; mkdir shared");
	outputs_world_keep(&w, 7, "a", "shared/a", 0);
	pthread_mutex_lock(&target_lock);
	ASSERT_EQ(outputs_world_run(&w, true), -ETIMEDOUT);
	ASSERT(strstr(w.reason, "has not answered"));
	ASSERT_EQ(w.n_asked, 0);
	pthread_mutex_unlock(&target_lock);
	outputs_world_settle(&w, "shared"); /* when its thread is back */
	outputs_world_close(&w);
}
