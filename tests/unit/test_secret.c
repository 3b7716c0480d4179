// SPDX-License-Identifier: Apache-2.0
#include "common/path.h"
#include "common/secret.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static char *at(const char *name)
{
	return path_join(unit_tmpdir(), name);
}

static void put(const char *path, const char *text, mode_t mode)
{
	if (path_write(path, text, strlen(text), mode, false) < 0)
		abort();
}

TEST(a_secret_is_made_once_and_then_read)
{
	_free_ char *path = at("new/dir/secret");
	_free_ char *dir = at("new/dir");
	uint8_t first[SECRET_SIZE], again[SECRET_SIZE];
	struct conf_error e = {""};
	ASSERT_EQ(secret_read_or_make(path, first, &e), 0);
	ASSERT_EQ(secret_read_or_make(path, again, &e), 0);
	ASSERT(memcmp(first, again, SECRET_SIZE) == 0);
	ASSERT_EQ(secret_read(path, again, &e), 0);
	ASSERT(memcmp(first, again, SECRET_SIZE) == 0);
	ASSERT_STR(e.text, "");
	struct stat st;
	ASSERT_EQ(stat(path, &st), 0);
	ASSERT_EQ(st.st_mode & 07777, 0600);
	ASSERT_EQ(st.st_size, 65);
	ASSERT_EQ(st.st_nlink, 1);
	ASSERT_EQ(stat(dir, &st), 0);
	ASSERT_EQ(st.st_mode & 07777, 0700);
}

TEST(what_is_written_is_what_is_read)
{
	_free_ char *path = at("secret");
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	put(path, DIGITS "\n", 0600);
	ASSERT_EQ(secret_read(path, secret, &e), 0);
	ASSERT_EQ(secret[1], 0x11);
	ASSERT_EQ(secret[31], 0xff);
	put(path, DIGITS, 0400); // an editor may have left out the newline, a person the write permission
	ASSERT_EQ(secret_read(path, secret, &e), 0);
}

// The error without the path, which differs from run to run.
static const char *refusal(const char *path, int error)
{
	static struct conf_error e;
	uint8_t secret[SECRET_SIZE];
	if (secret_read(path, secret, &e) != error || !has_prefix(e.text, "secret "))
		return "(another error)";
	const char *why = strstr(e.text, path);
	return why ? why + strlen(path) : "(the path is not named)";
}

TEST(a_missing_secret_is_named_with_its_cure)
{
	_free_ char *path = at("secret");
	ASSERT_STR(refusal(path, -ENOENT), ": there is none: copy it from the cluster's vined, which makes it");
}

TEST(a_secret_that_others_may_read_is_refused)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666};
	_free_ char *path = at("secret");
	for (size_t i = 0; i < countof(modes); i++) {
		put(path, DIGITS "\n", modes[i]);
		_free_ char *expected =
			xasprintf(": others may read or write it (mode %03o): chmod 600 it, or remove it "
				  "and let vined make a new one",
				  modes[i]);
		ASSERT_STR(refusal(path, -EPERM), expected);
		uint8_t secret[SECRET_SIZE];
		struct conf_error e;
		ASSERT_EQ(secret_read_or_make(path, secret, &e), -EPERM);
	}
}

TEST(a_directory_that_others_may_write_is_refused)
{
	_free_ char *dir = at("open");
	_free_ char *path = at("open/secret");
	ASSERT_EQ(path_make_dirs(dir, 0700), 0);
	put(path, DIGITS "\n", 0600);
	ASSERT_EQ(chmod(dir, 0770), 0);
	ASSERT_STR(refusal(path, -EPERM), ": others can write its directory (mode 770): chmod 700 it");
	ASSERT_EQ(chmod(dir, 01777), 0);
	ASSERT_STR(refusal(path, -EPERM), ": others can write its directory (mode 777): chmod 700 it");
	ASSERT_EQ(chmod(dir, 0755), 0);
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	ASSERT_EQ(secret_read(path, secret, &e), 0);
	ASSERT_EQ(chmod(dir, 0700), 0);
}

TEST(a_secret_of_another_user_is_refused)
{
	_free_ char *path = at("secret");
	put(path, DIGITS "\n", 0600);
	if (chown(path, 12345, (gid_t)-1) < 0)
		SKIP("only root can give files away");
	_free_ char *expected =
		xasprintf(": belongs to uid 12345, not to you (uid %u): use a copy of your own", geteuid());
	ASSERT_STR(refusal(path, -EPERM), expected);
}

TEST(what_is_no_secret_is_refused)
{
	static const char *const texts[] = {"",
					    "\n",
					    "00",
					    DIGITS "0",
					    DIGITS "\n\n",
					    DIGITS "00\n",
					    DIGITS " ",
					    "g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
					    "00112233445566778899aabbccddeeff0011223344556677 899aabbccddeeff\n"};
	_free_ char *path = at("secret");
	for (size_t i = 0; i < countof(texts); i++) {
		put(path, texts[i], 0600);
		ASSERT_STR(refusal(path, -EINVAL),
			   ": not 64 hex digits and a newline: copy it again from the cluster's vined");
		_free_ char *left = path_read(path, 100, NULL);
		uint8_t secret[SECRET_SIZE];
		struct conf_error e;
		ASSERT_EQ(secret_read_or_make(path, secret, &e), -EINVAL); // and is not written over
		_free_ char *after = path_read(path, 100, NULL);
		ASSERT_STR(left, after);
	}
}

TEST(a_link_a_fifo_and_a_directory_are_refused_at_once)
{
	_free_ char *real = at("real");
	_free_ char *link = at("link");
	_free_ char *fifo = at("fifo");
	put(real, DIGITS "\n", 0600);
	ASSERT_EQ(symlink("real", link), 0);
	ASSERT_EQ(mkfifo(fifo, 0600), 0);
	ASSERT_STR(refusal(link, -ELOOP), ": it is a symbolic link: name the file itself");
	ASSERT_STR(refusal(fifo, -EINVAL), ": not a regular file: name the file that vined made");
	ASSERT_STR(refusal(unit_tmpdir(), -EINVAL), ": not a regular file: name the file that vined made");
}

TEST(an_error_never_shows_what_the_file_holds)
{
	_free_ char *path = at("secret");
	put(path, "hunter2hunter2\n", 0600);
	ASSERT(!strstr(refusal(path, -EINVAL), "hunter2"));
}

struct racer {
	const char *path;
	uint8_t secret[SECRET_SIZE];
	int r;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct conf_error e;
	racer->r = secret_read_or_make(racer->path, racer->secret, &e);
	return NULL;
}

TEST(two_that_start_at_once_have_one_secret)
{
	for (int round = 0; round < 20; round++) {
		_free_ char *name = xasprintf("race%d/secret", round);
		_free_ char *path = at(name);
		struct racer racers[4];
		pthread_t threads[4];
		for (size_t i = 0; i < countof(racers); i++) {
			racers[i].path = path;
			ASSERT_EQ(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
		}
		for (size_t i = 0; i < countof(racers); i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < countof(racers); i++) {
			ASSERT_EQ(racers[i].r, 0);
			ASSERT(memcmp(racers[i].secret, racers[0].secret, SECRET_SIZE) == 0);
		}
	}
}

TEST(random_bytes_and_uuids_differ)
{
	uint8_t a[1000] = {0}, b[1000] = {0};
	secret_random(a, sizeof a);
	secret_random(b, sizeof b);
	ASSERT(memcmp(a, b, sizeof a) != 0);
	unsigned zeros = 0;
	for (size_t i = 0; i < sizeof a; i++)
		zeros += !a[i];
	ASSERT(zeros < 50);
	char one[UUID_TEXT_SIZE], two[UUID_TEXT_SIZE];
	ASSERT_EQ(strlen(secret_uuid(one)), 36);
	secret_uuid(two);
	ASSERT(!streq(one, two));
	ASSERT_EQ(one[14], '4');
	ASSERT(strchr("89ab", one[19]) && one[8] == '-' && one[13] == '-' && one[18] == '-' && one[23] == '-');
}

TEST(wiped_memory_is_zero)
{
	uint8_t p[64];
	memset(p, 1, sizeof p);
	secret_wipe(p, sizeof p);
	for (size_t i = 0; i < sizeof p; i++)
		ASSERT_EQ(p[i], 0);
}
