/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/outputs_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

TEST(a_file_and_a_directory_become_trees)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf one > cwd/a; mkdir -p cwd/d/e; printf two > cwd/d/b; ln -s b cwd/d/l; chmod "
				"751 cwd/d/b; printf x > cwd/other");
	outputs_world_out(&w, 7, "a", "temp:a", 0);
	outputs_world_out(&w, 8, "./d/", "temp:d", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT_EQ(w.job.n_outputs, 2);
	ASSERT_EQ(w.job.outputs[0].item, 7);
	ASSERT_EQ(w.job.outputs[0].size, 3);
	ASSERT_EQ(w.job.outputs[1].size, 3);
	outputs_world_equal(&w, 0, "cwd/a");
	outputs_world_equal(&w, 1, "cwd/d");
	ASSERT_EQ(w.job.n_left, 1);
	ASSERT_STR(w.job.left[0], "other");
	ASSERT_EQ(w.job.written_size, 7);
	outputs_world_close(&w);
}

TEST(what_is_missing_is_named_with_what_is_near)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir cwd/results; printf x > cwd/results/Out.csv");
	outputs_world_out(&w, 1, "results/out.csv", "temp:csv", 0);
	outputs_world_out(&w, 2, "nothing/here", "temp:n", 0);
	outputs_world_out(&w, 3, "may/be", "temp:m", 1);
	ASSERT_EQ(outputs_world_run(&w, true), -ENOENT);
	ASSERT(strstr(w.reason, "results/out.csv (temp:csv) is missing"));
	ASSERT(strstr(w.reason, "there is Out.csv"));
	ASSERT(strstr(w.reason, "and 1 more"));
	ASSERT_EQ(w.job.outputs[0].tree.algorithm, 0);
	outputs_world_close(&w);
}

TEST(conditions_say_which_outputs_of_whom)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "for i in 1 2 3; do printf $i > cwd/$i; done");
	outputs_world_out(&w, 1, "1", "temp:1", 0);
	outputs_world_out(&w, 2, "2", "temp:2", 2);
	outputs_world_out(&w, 3, "3", "temp:3", 4);
	outputs_world_out(&w, 4, "4", "temp:4", 4 | 1);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT(w.job.outputs[0].tree.algorithm && !w.job.outputs[1].tree.algorithm && w.job.outputs[2].tree.algorithm);
	outputs_world_again(&w);
	unlink(outputs_world_path(&w, "outputs"));
	ASSERT_EQ(outputs_world_run(&w, false), 0);
	ASSERT(!w.job.outputs[0].tree.algorithm && w.job.outputs[1].tree.algorithm && w.job.outputs[2].tree.algorithm);
	outputs_world_close(&w);
}

TEST(a_pattern_gathers_what_is_there)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(
		&w,
		"mkdir -p cwd/o/1 cwd/o/2 cwd/o/3 want/1 want/2/d; printf a > cwd/o/1/x.dat; printf b > cwd/o/1/y.log;"
		"mkdir -p cwd/o/2/d; mv cwd/o/2/d cwd/o/2/z.dat; printf c > cwd/o/2/z.dat/in; printf e > cwd/o/.h.dat;"
		"cp -a cwd/o/. want; rm want/1/y.log want/.h.dat; rmdir want/3 want/2/d; touch -r cwd/o want; touch -r "
		"cwd/o/1 want/1; touch -r cwd/o/2 want/2");
	outputs_world_out(&w, 1, "o/*/*.dat", "temp:dat", 8);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_equal(&w, 0, "want");
	ASSERT_EQ(w.job.n_left, 3);
	outputs_world_close(&w);
	outputs_world_open(&w);
	outputs_world_out(&w, 1, "*.dat", "temp:dat", 8);
	ASSERT_EQ(outputs_world_run(&w, true), -ENOENT);
	ASSERT(strstr(w.reason, "matches"));
	outputs_world_close(&w);
}

TEST(links_lead_to_files_of_the_task_alone)
{
	static const struct {
		const char *target, *word;
	} cases[] = {{"/etc/passwd", "outside"}, {"../../x", "outside"}, {"d", "directory"},
		     {"loop", "too many"},       {"none", "no none"},    {"../cwd/real", "outside"}};
	for (size_t i = 0; i < countof(cases); i++) {
		struct outputs_world w;
		outputs_world_open(&w);
		outputs_world_shell(&w, "mkdir cwd/d; printf real > cwd/real; ln -s loop cwd/loop; printf x > ../x");
		_free_ char *link = outputs_world_new_path(&w, "cwd/out");
		ASSERT_EQ(symlink(cases[i].target, link), 0);
		outputs_world_out(&w, 1, "out", "temp:o", 0);
		ASSERT(outputs_world_run(&w, true) < 0);
		ASSERT(strstr(w.reason, cases[i].word));
		outputs_world_close(&w);
	}
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir cwd/d; printf real > cwd/real; ln -s ../real cwd/d/out; ln -s d cwd/by");
	outputs_world_out(&w, 1, "d/out", "temp:o", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_equal(&w, 0, "cwd/real");
	ASSERT_EQ(w.job.n_left, 1);
	outputs_world_close(&w);
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir cwd/d; printf real > cwd/d/out; ln -s d cwd/by; mkfifo cwd/fifo");
	outputs_world_out(&w, 1, "by/out", "temp:o", 0);
	outputs_world_out(&w, 2, "fifo", "temp:f", 0);
	outputs_world_out(&w, 3, "../../up", "temp:u", 0);
	ASSERT_EQ(outputs_world_run(&w, true), -ELOOP);
	ASSERT(strstr(w.reason, "by is a symbolic link"));
	ASSERT(strstr(w.reason, "and 2 more"));
	outputs_world_close(&w);
}

/* ---- by rename */

static char *blob_of(struct outputs_world *w, unsigned output)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d = {.algorithm = DIGEST_SHA256};
	struct cache_tree *t;
	ASSERT_EQ(cache_tree_open(w->f.cache, &w->job.outputs[output].tree, &t), 0);
	memcpy(d.byte, tree_blob(cache_tree_index(t), 0)->address, DIGEST_SIZE);
	cache_tree_close(t);
	digest_text(&d, text);
	return xasprintf("%s/b/%.2s/%s", w->f.directory, text, text);
}

TEST(what_cannot_be_in_a_tree_is_told)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir cwd/d; mkfifo cwd/d/pipe; echo 1 >cwd/d/f");
	outputs_world_out(&w, 1, "d", "temp:d", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT_EQ(w.job.n_left, 1);
	ASSERT(w.job.n_left_named == 1 && strstr(w.job.left[0], "d/pipe"));
	outputs_world_close(&w);
}

TEST(a_large_file_is_taken_and_keeps_its_look)
{
	struct outputs_world w;
	struct stat before, after;
	outputs_world_open(&w);
	outputs_world_shell(&w, "head -c 3000000 /dev/urandom > cwd/big; chmod 754 cwd/big; touch -d 2020-01-02 "
				"cwd/big; cp -a cwd/big copy");
	ASSERT_EQ(stat(outputs_world_path(&w, "cwd/big"), &before), 0);
	outputs_world_out(&w, 1, "big", "temp:b", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_equal(&w, 0, "copy");
	struct cache_tree *t;
	ASSERT_EQ(cache_tree_open(w.f.cache, &w.job.outputs[0].tree, &t), 0);
	_free_ char *name = blob_of(&w, 0);
	ASSERT_EQ(stat(name, &after), 0);
	ASSERT_EQ(after.st_ino, before.st_ino);
	ASSERT_EQ(after.st_nlink, 1);
	ASSERT_EQ(after.st_mode, before.st_mode);
	ASSERT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	char bound[CACHE_BLOB_PATH];
	ASSERT_EQ(cache_tree_bind(t, 0, tree_node(cache_tree_index(t), 0), false, bound), 0);
	cache_tree_unbind(t, 0);
	cache_tree_close(t);
	ASSERT(access(outputs_world_path(&w, "cwd/big"), F_OK) < 0);
	/* Whoever does it again finds what was written down. */
	struct digest id = w.job.outputs[0].tree;
	outputs_world_again(&w);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT(digest_is_equal(&id, &w.job.outputs[0].tree));
	ASSERT_EQ(w.job.written_size, 6000000);
	outputs_world_close(&w);
}

TEST(what_is_taken_has_no_marks_and_no_rights_of_its_own)
{
	struct outputs_world w;
	struct stat st;
	char value[8];
	outputs_world_open(&w);
	outputs_world_shell(&w, "head -c 300000 /dev/urandom > cwd/big; chmod 6755 cwd/big");
	if (setxattr(outputs_world_path(&w, "cwd/big"), "user.overlay.origin", "x", 1, 0) < 0)
		SKIP("no attributes of users here");
	outputs_world_out(&w, 1, "big", "temp:b", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	_free_ char *name = blob_of(&w, 0);
	ASSERT_EQ(stat(name, &st), 0);
	ASSERT_EQ(st.st_mode & 07777, 0755);
	ASSERT(getxattr(name, "user.overlay.origin", value, sizeof value) < 0);
	outputs_world_close(&w);
}

/* By a descriptor for reading, too, the file is opened again for writing. */
static void is_copied_while_open(int flags)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "head -c 3000000 /dev/urandom > cwd/open; head -c 3000000 /dev/urandom > cwd/linked; "
				"ln cwd/linked second");
	int fd = open(outputs_world_path(&w, "cwd/open"), flags | O_CLOEXEC);
	ASSERT(fd >= 0);
	outputs_world_out(&w, 1, "open", "temp:o", 0);
	outputs_world_out(&w, 2, "linked", "temp:l", 0);
	_free_ char *copy _unused_ = outputs_world_new_path(&w, "copy");
	outputs_world_shell(&w, "cp -a cwd/open copy");
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	_free_ char *self = xasprintf("/proc/self/fd/%d", fd);
	_close_ int again = open(self, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(pwrite(again, "changed", 7, 0), 7);
	struct stat its, kept;
	_free_ char *name = blob_of(&w, 0);
	ASSERT(fstat(fd, &its) == 0 && stat(name, &kept) == 0);
	ASSERT(its.st_ino != kept.st_ino);
	close(fd);
	outputs_world_equal(&w, 0, "copy");
	outputs_world_equal(&w, 1, "second");
	outputs_world_close(&w);
}

TEST(what_somebody_can_still_write_is_copied)
{
	is_copied_while_open(O_RDWR);
	is_copied_while_open(O_RDONLY);
}

TEST(of_a_failed_attempt_the_sandbox_stays_as_it_is)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "head -c 3000000 /dev/urandom > cwd/big");
	outputs_world_out(&w, 1, "big", "temp:b", 4);
	ASSERT_EQ(outputs_world_run(&w, false), 0);
	outputs_world_equal(&w, 0, "cwd/big");
	struct stat st;
	ASSERT_EQ(stat(outputs_world_path(&w, "cwd/big"), &st), 0);
	ASSERT_EQ(st.st_nlink, 1);
	outputs_world_close(&w);
}

TEST(its_tree_is_leased_until_the_job_is_let_go)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "printf one > cwd/a");
	outputs_world_out(&w, 7, "a", "temp:a", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	struct digest id = w.job.outputs[0].tree;
	ASSERT_EQ(cache_evict(w.f.cache, &id), -EBUSY);
	outputs_job_fini(&w.job);
	ASSERT_EQ(cache_evict(w.f.cache, &id), 0);
	outputs_world_close(&w);
}

TEST(a_job_may_be_stopped_at_any_time)
{
	struct outputs_world w;
	for (unsigned n = 0; n < 30; n++) {
		outputs_world_open(&w);
		outputs_world_shell(&w, "head -c 300000 /dev/urandom > cwd/big; printf x > cwd/small");
		outputs_world_out(&w, 1, "big", "temp:b", 0);
		outputs_world_keep(&w, 2, "small", "kept", 0);
		outputs_world_start(&w, true);
		for (unsigned i = 0; i < n && !w.is_done; i++)
			ASSERT_EQ(loop_turn(w.f.loop, 1), 0);
		outputs_job_fini(&w.job);
		outputs_world_close(&w);
	}
}

TEST(a_cache_without_room_is_named)
{
	struct outputs_world w;
	outputs_world_open_as(&w, (struct outputs_world){.cache_settings = {.quota = 4 * MIB}});
	outputs_world_shell(
		&w,
		"head -c 6000000 /dev/urandom > cwd/big; head -c 6000000 /dev/urandom > cwd/two; ln cwd/two cwd/three");
	outputs_world_out(&w, 1, "big", "temp:b", 0);
	ASSERT_EQ(outputs_world_run(&w, true), -ENOSPC);
	ASSERT(strstr(w.reason, "big (temp:b) cannot be"));
	outputs_world_shell(&w, "test $(stat -c %s-%h cwd/big) = 6000000-1");
	outputs_world_again(&w);
	w.inputs[0].path = "two";
	ASSERT_EQ(outputs_world_run(&w, true), -ENOSPC);
	outputs_world_again(&w);
	/* What was taken before is the cache's alone, whoever looks into the sandbox now. */
	outputs_world_shell(&w, "head -c 500000 /dev/urandom > cwd/first");
	w.inputs[0].path = "first";
	outputs_world_out(&w, 2, "big", "temp:b", 0);
	ASSERT_EQ(outputs_world_run(&w, true), -ENOSPC);
	ASSERT_EQ(w.job.outputs[0].tree.algorithm, 0);
	ASSERT(access(outputs_world_path(&w, "cwd/first"), F_OK) < 0);
	outputs_world_close(&w);
}

/* ---- killed */

static void declare_for_kill(struct outputs_world *w)
{
	outputs_world_out(w, 1, "big", "temp:b", 0);
	outputs_world_out(w, 2, "d", "temp:d", 0);
	outputs_world_keep(w, 3, "d/2", "shared/two", 0);
}

TEST(killed_at_any_time_it_is_done_again)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_close(&w);
	for (unsigned round = 0; round < 40; round++) {
		struct digest first = {0};
		outputs_world_reopen(&w);
		outputs_world_shell(&w,
				    "rm -rf outputs cwd; mkdir -p cwd/d shared; head -c 900000 /dev/urandom > cwd/big;"
				    "for i in 1 2; do head -c 300000 /dev/urandom > cwd/d/$i; done; printf x > "
				    "cwd/d/small; chmod 640 cwd/d/2; rm -rf copy; cp -a cwd copy");
		outputs_world_close(&w);
		for (unsigned n = 0; n < 2; n++) {
			pid_t child = fork();
			if (child == 0) {
				outputs_world_reopen(&w);
				declare_for_kill(&w);
				outputs_world_run(&w, true);
				_exit(0);
			}
			usleep(3000 + round * 400);
			kill(child, SIGKILL);
			ASSERT_EQ(waitpid(child, NULL, 0), child);
		}
		outputs_world_reopen(&w);
		declare_for_kill(&w);
		ASSERT_EQ(outputs_world_run(&w, true), 0);
		first = w.job.outputs[0].tree;
		ASSERT(first.algorithm);
		outputs_world_equal(&w, 0, "copy/big");
		outputs_world_equal(&w, 1, "copy/d");
		outputs_world_equal(&w, 2, "copy/d/2");
		outputs_world_shell(&w, "cmp copy/d/2 shared/two; test \"$(ls -A shared)\" = two");
		outputs_world_close(&w);
		ASSERT_EQ(world_count("world", "tmp/*"), 0);
	}
}

/* ---- overlays */

TEST(an_upper_is_merged_with_what_it_lay_over)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir -p in/d/deep in/o in/p; printf same > in/d/same; printf gone > in/d/gone; "
				"printf old > in/d/changed; head -c 500000 /dev/urandom > in/d/deep/big;"
				"printf hidden > in/o/hidden; printf untouched > in/p/u; touch -d 2020-02-02 in/d "
				"in/d/deep in/d/same in/d/deep/big in/o in/p in/p/u");
	outputs_world_lower(&w, "/data", "in");
	outputs_world_shell(&w, "mkdir -p up/d up/o; mknod up/d/gone c 0 0; printf new!! > up/d/changed; printf n > "
				"up/d/new; cp -a in/d/same up/d/same;"
				"printf fresh > up/o/fresh;"
				"cp -a in want; rm want/d/gone want/o/hidden; cp -a up/d/changed up/d/new want/d; cp "
				"-a up/o/fresh want/o;"
				"touch -r up/d want/d; touch -r up/o want/o");
	ASSERT_EQ(setxattr(outputs_world_path(&w, "up/o"), getuid() ? "user.overlay.opaque" : "trusted.overlay.opaque",
			   "y", 1, 0),
		  0);
	outputs_world_out(&w, 1, "/data/d", "temp:d", 0);
	outputs_world_out(&w, 2, "/data/o", "temp:o", 0);
	outputs_world_out(&w, 3, "/data/p/u", "temp:u", 0);
	outputs_world_out(&w, 4, "/data/d/gone", "temp:g", 1);
	outputs_world_out(&w, 5, "/data/d/*e*", "temp:e", 8);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_equal(&w, 0, "want/d");
	outputs_world_equal(&w, 1, "want/o");
	outputs_world_equal(&w, 2, "in/p/u");
	ASSERT_EQ(w.job.outputs[3].tree.algorithm, 0);

	ASSERT_EQ(w.job.n_left, 0);
	outputs_world_close(&w);
}

TEST(what_cannot_be_in_a_tree_is_told_of_an_overlay_too_and_its_marks_are_not)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir -p in/d/e; printf gone > in/d/e/gone; printf same > in/d/same");
	outputs_world_lower(&w, "/data", "in");
	outputs_world_shell(&w, "mkdir -p up/d/e; mknod up/d/e/gone c 0 0; mkfifo up/d/e/pipe up/d/pipe.dat");
	outputs_world_out(&w, 1, "/data/d", "temp:d", 0);
	outputs_world_out(&w, 2, "/data/d/*.dat", "temp:p", 8);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT_EQ(w.job.n_left, 3);
	for (unsigned i = 0; i < 3; i++)
		ASSERT(strstr(w.job.left[i], "pipe") && strstr(w.job.left[i], "a FIFO, left out"));
	outputs_world_close(&w);
}

TEST(what_was_changed_beside_inputs_is_listed)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir -p in/d; for i in same gone changed; do printf $i > in/d/$i; done");
	outputs_world_lower(&w, "/data", "in");
	outputs_world_shell(&w, "mkdir -p up/d up/new; mknod up/d/gone c 0 0; printf changed! > up/d/changed; cp -a "
				"in/d/same up/d/same; printf o > up/out");
	outputs_world_out(&w, 1, "/data/out", "temp:o", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT_EQ(w.job.n_left, 3);
	ASSERT_STR(w.job.left[0], "/data/d/changed");
	ASSERT_STR(w.job.left[1], "/data/d/gone");
	ASSERT_STR(w.job.left[2], "/data/new/");
	outputs_world_close(&w);
}

TEST(what_cannot_be_merged_is_refused_and_not_cut)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir -p up/d up/o; printf new > up/d/new; printf fresh > up/o/fresh");
	ASSERT_EQ(setxattr(outputs_world_path(&w, "up/o"), getuid() ? "user.overlay.opaque" : "trusted.overlay.opaque",
			   "y", 1, 0),
		  0);
	outputs_world_over(&w, "/data");
	outputs_world_out(&w, 1, "/data/o", "temp:o", 0);
	outputs_world_out(&w, 2, "/data/d/new", "temp:n", 0);
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	outputs_world_equal(&w, 0, "up/o");
	outputs_world_equal(&w, 1, "up/d/new");
	static const char *const refused[] = {"/data/d", "/data/d/old", "/data/d/*"};
	for (size_t i = 0; i < countof(refused); i++) {
		outputs_world_again(&w);
		unlink(outputs_world_path(&w, "outputs"));
		w.inputs[1].path = refused[i];
		w.inputs[1].flags = i == 2 ? 8 : 0;
		ASSERT_EQ(outputs_world_run(&w, true), -ENODATA);
		ASSERT(strstr(w.reason, "--staging=full"));
	}
	outputs_world_close(&w);
}

TEST(what_a_path_was_is_told_while_it_was_one_thing)
{
	struct outputs_world w;
	struct digest first, id;
	uint64_t draft, now = (uint64_t)time(NULL) * 1000000;
	outputs_world_open(&w);
	outputs_world_shell(&w, "mkdir in; printf one > in/f");
	_free_ char *in = outputs_world_new_path(&w, "in");
	ASSERT_EQ(fetch_sealed_since(w.f.fetch, in, 0, &id, &draft), -ENOENT);
	ASSERT_EQ(fetch_world_seal(&w.f, in, NULL, false, &first), 0);
	ASSERT_EQ(fetch_sealed_since(w.f.fetch, in, now - 1000000, &id, &draft), 0);
	ASSERT(digest_is_equal(&id, &first) && !draft);
	ASSERT_EQ(fetch_sealed_since(w.f.fetch, in, now + 3600000000, &id, &draft), -ENOENT);
	outputs_world_shell(&w, "printf other > in/f");
	ASSERT_EQ(fetch_world_seal(&w.f, in, NULL, false, &id), 0);
	ASSERT_EQ(fetch_sealed_since(w.f.fetch, in, now - 1000000, &id, &draft), -ENOTUNIQ);
	outputs_world_close(&w);
}

TEST(what_was_changed_in_a_copy_is_listed)
{
	struct outputs_world w;
	outputs_world_open(&w);
	outputs_world_shell(
		&w, "mkdir -p in/d; for i in same gone changed; do printf $i > in/d/$i; done; chmod 400 in/d/same");
	outputs_world_lower(&w, "data", "in");
	outputs_world_shell(&w, "cp -Rp in cwd/data; chmod -R u+w cwd/data; rm cwd/data/d/gone; printf changed! > "
				"cwd/data/d/changed; printf n > cwd/data/new");
	_free_ char *copy = outputs_world_new_path(&w, "cwd/data");
	w.places[0].upper = copy;
	w.places[0].is_overlay = false;
	outputs_world_out(&w, 1, "data", "file:/in", 0);
	w.inputs[0].mode = 2;
	ASSERT_EQ(outputs_world_run(&w, true), 0);
	ASSERT_EQ(w.job.n_outputs, 0);
	ASSERT_EQ(w.job.n_left, 3);
	ASSERT_STR(w.job.left[0], "data/d/changed");
	ASSERT_STR(w.job.left[1], "data/d/gone");
	ASSERT_STR(w.job.left[2], "data/new");
	outputs_world_close(&w);
}

TEST(what_the_task_puts_into_its_sandbox_stops_nobody)
{
	static const char *const cases[] = {"mkfifo outputs", "mkdir outputs", "ln -s /dev/zero outputs",
					    "head -c 100000 /dev/urandom > outputs"};
	for (size_t i = 0; i < countof(cases); i++) {
		struct outputs_world w;
		outputs_world_open(&w);
		outputs_world_shell(&w, cases[i]);
		outputs_world_shell(&w, "printf one > cwd/a; mkfifo cwd/fifo");
		outputs_world_out(&w, 1, "a", "temp:a", 0);
		ASSERT_EQ(outputs_world_run(&w, true), 0);
		outputs_world_equal(&w, 0, "cwd/a");
		outputs_world_close(&w);
	}
}
