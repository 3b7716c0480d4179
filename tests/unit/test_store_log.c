// SPDX-License-Identifier: Apache-2.0
// The write-ahead log of a vined that was killed: refused where damage hides commits, salvaged, and not suspected without cause.
#include "tests/unit/store_world.h"

#include "common/path.h"
#include "vined/store_salvage.h"

#include <sys/wait.h>
#include <unistd.h>

static void write_and_die(void)
{
	open_store();
	put_run(1, "sweep");
	for (uint64_t id = 1; id <= 20; id++) {
		put_task(id, "", "true");
		store_flush(store);
		wait_for((int)id + 1);
	}
	_exit(0);
}

TEST(what_was_committed_to_the_log_is_salvaged)
{
	char fresh[600];
	struct conf_error e = {""};
	struct store_salvaged s;
	unit_tmpdir();
	pid_t pid = fork();
	if (pid == 0)
		write_and_die();
	waitpid(pid, NULL, 0);
	snprintf(fresh, sizeof fresh, "%s.fresh", db_path());
	ASSERT_EQ(store_salvage(db_path(), fresh, &s, &e), 0);
	ASSERT_EQ(ask_file(fresh, "SELECT count(*) FROM tasks"), 20);
	ASSERT_EQ(ask_file(fresh, "SELECT count(*) FROM runs WHERE name = 'sweep'"), 1);
}

/* SQLite would take the log to end where a frame is damaged, and what was acknowledged behind it for never written. */
TEST(a_log_that_is_damaged_in_the_middle_is_refused)
{
	char text[512];
	size_t size = 0;
	unit_tmpdir();
	pid_t pid = fork();
	if (pid == 0)
		write_and_die();
	waitpid(pid, NULL, 0);
	_free_ char *path = xasprintf("%s-wal", db_path());
	_free_ uint8_t *log = (uint8_t *)path_read(path, 64 << 20, &size);
	ASSERT(log && size > 40 * STORE_PAGE_SIZE);
	log[size / 2] ^= 1;
	ASSERT_EQ(path_write(path, log, size, 0600, false), 0);
	ASSERT_EQ(open_error(text), -EUCLEAN);
	ASSERT(strstr(text, "--salvage"));
	log[size / 2] ^= 1;
	/* Also where it begins: SQLite would take it for empty. */
	for (size_t i = 0; i < 32; i++) {
		log[i] ^= 4;
		ASSERT_EQ(path_write(path, log, size, 0600, false), 0);
		ASSERT_EQ(open_error(text), -EUCLEAN);
		log[i] ^= 4;
	}
	/* A commit that was cut off was never acknowledged. */
	log[size - 100] ^= 1;
	ASSERT_EQ(path_write(path, log, size, 0600, false), 0);
	ASSERT_EQ(open_error(text), 0);
	store_free(store);
	store = NULL;
	/* The last commit is the last task's, or what the writer looked after when it had nothing to do. */
	ASSERT(ask("SELECT count(*) FROM tasks") >= 19);
}

TEST(what_lies_behind_damage_in_the_log_is_salvaged)
{
	char fresh[600];
	size_t size = 0;
	struct conf_error e = {""};
	struct store_salvaged s;
	unit_tmpdir();
	pid_t pid = fork();
	if (pid == 0)
		write_and_die();
	waitpid(pid, NULL, 0);
	snprintf(fresh, sizeof fresh, "%s.fresh", db_path());
	_free_ char *path = xasprintf("%s-wal", db_path());
	_free_ uint8_t *log = (uint8_t *)path_read(path, 64 << 20, &size);
	const size_t places[] = {0, 9, 17, 30, size / 2};
	for (size_t i = 0; i < countof(places); i++) {
		log[places[i]] ^= 4;
		ASSERT_EQ(path_write(path, log, size, 0600, false), 0);
		unlink(fresh);
		ASSERT_EQ(store_salvage(db_path(), fresh, &s, &e), 0);
		ASSERT(s.n_damaged >= 1);
		ASSERT_EQ(ask_file(fresh, "SELECT count(*) FROM tasks"), 20);
		log[places[i]] ^= 4;
	}
}

/* A commit whose sync failed is written over by the next, which may be shorter: what sticks out of it is no damage. */
TEST(what_failed_commits_left_in_the_log_is_no_damage)
{
	char text[512];
	size_t size = 0, frame = 24 + STORE_PAGE_SIZE;
	unit_tmpdir();
	pid_t pid = fork();
	if (pid == 0)
		write_and_die();
	waitpid(pid, NULL, 0);
	_free_ char *path = xasprintf("%s-wal", db_path());
	_free_ uint8_t *log = (uint8_t *)path_read(path, 64 << 20, &size);
	size_t n = (size - 32) / frame, last = 0;
	ASSERT(log && n > 20);
	for (size_t i = 0; i < n; i++) {
		if (memcmp(log + 32 + i * frame + 4, "\0\0\0", 4) != 0)
			last = i;
	}
	/* The last commit's frame twice more behind it, as of two that failed. */
	_free_ uint8_t *longer = xcalloc(1, size + 2 * frame);
	memcpy(longer, log, size);
	for (size_t i = 1; i <= 2; i++)
		memcpy(longer + 32 + (last + i) * frame, log + 32 + last * frame, frame);
	ASSERT_EQ(path_write(path, longer, size + 2 * frame, 0600, false), 0);
	ASSERT_EQ(open_error(text), 0);
	store_free(store);
	store = NULL;
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 20);
}
