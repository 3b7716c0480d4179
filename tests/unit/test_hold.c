/* SPDX-License-Identifier: Apache-2.0
 * The mounts that the keeper holds, and its dead-man's hand, with a clock of the test's. */
#include "tests/unit/unit.h"

#include "common/base.h"
#include "vinefs/keeper/parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEC 1000000u

static struct holds holds;
static int theirs = -1;

/* A new vinefs at the other end. */
static void meet(void)
{
	int pair[2];
	close_fd(theirs);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	theirs = pair[1];
	holds_meet(&holds, pair[0]);
}

static void begin(void)
{
	holds = (struct holds){.fd = -1};
	meet();
}

static void end(void)
{
	while (holds.n)
		ASSERT(!holds_is_silent(&holds, holds.turned_usec + SEC) || !holds.n);
	holds_meet(&holds, -1);
	theirs = close_fd(theirs);
}

static int file_with(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	ASSERT_EQ(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static const char *text_of(int fd)
{
	static char text[64];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return text;
}

static void say(uint32_t type, uint64_t mount, const char *state)
{
	struct keeper_mount m = {.type = type, .mount = mount};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	int fds[2] = {-1, -1};
	if (state) {
		fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		fds[1] = file_with(state);
		head.msg_control = control.room;
		head.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds)};
		memcpy(CMSG_DATA(c), fds, sizeof fds);
	}
	ASSERT_EQ(sendmsg(theirs, &head, MSG_NOSIGNAL), sizeof m);
	close_fd(fds[0]);
	close_fd(fds[1]);
}

/* The next word of the keeper; 0: none. What comes with HELD is in `state`. */
static uint32_t hear(uint64_t *mount, char state[64])
{
	struct keeper_mount m = {.type = 0};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	if (recvmsg(theirs, &head, MSG_CMSG_CLOEXEC) < 0)
		return 0;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	*mount = m.mount;
	if (c && c->cmsg_len == CMSG_LEN(2 * sizeof(int))) {
		int fds[2];
		memcpy(fds, CMSG_DATA(c), sizeof fds);
		snprintf(state, 64, "%s", text_of(fds[1]));
		close_fd(fds[0]);
		close_fd(fds[1]);
	}
	return m.type;
}

static unsigned count_open(void)
{
	unsigned n = 0;
	for (int fd = 3; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(what_is_held_comes_to_each_new_vinefs_as_it_was_said_last)
{
	uint64_t mount;
	char state[64];
	begin();
	ASSERT_EQ(hear(&mount, state), KEEPER_ALL_HELD);
	say(KEEPER_HOLD, 7, "first");
	say(KEEPER_HOLD, 9, "other");
	say(KEEPER_HOLD, 7, "second");
	ASSERT(holds_receive(&holds));
	ASSERT_EQ(holds.n, 2);
	ASSERT(!holds_has_more(&holds));
	for (int i = 0; i < 2; i++) {
		meet();
		ASSERT_EQ(hear(&mount, state), KEEPER_HELD);
		ASSERT_EQ(mount, 7);
		ASSERT_STR(state, "second");
		ASSERT_EQ(hear(&mount, state), KEEPER_HELD);
		ASSERT_EQ(mount, 9);
		ASSERT_STR(state, "other");
		ASSERT_EQ(hear(&mount, state), KEEPER_ALL_HELD);
	}
	end();
}

TEST(a_dropped_mount_is_told_no_more_and_its_descriptors_are_closed)
{
	uint64_t mount;
	char state[64];
	begin();
	unsigned n = count_open();
	say(KEEPER_HOLD, 1, "a");
	say(KEEPER_HOLD, 2, "b");
	say(KEEPER_DROP, 1, NULL);
	say(KEEPER_DROP, 77, NULL);
	ASSERT(holds_receive(&holds));
	ASSERT_EQ(count_open(), n + 2);
	meet();
	ASSERT_EQ(hear(&mount, state), KEEPER_HELD);
	ASSERT_EQ(mount, 2);
	ASSERT_EQ(hear(&mount, state), KEEPER_ALL_HELD);
	end();
	ASSERT_EQ(count_open(), n - 2);
}

TEST(what_a_vinefs_said_before_it_died_still_counts)
{
	begin();
	say(KEEPER_HOLD, 1, "a");
	theirs = close_fd(theirs);
	ASSERT(holds_receive(&holds));
	ASSERT_EQ(holds.n, 1);
	end();
}

TEST(a_vinefs_that_answers_pings_keeps_its_mounts_for_ever)
{
	uint64_t mount, now = 100 * SEC;
	char state[64];
	unsigned n_pings = 0;
	begin();
	say(KEEPER_HOLD, 1, "a");
	ASSERT(holds_receive(&holds));
	for (unsigned i = 0; i < 100; i++, now = holds_due_usec(&holds, UINT64_MAX)) {
		ASSERT(!holds_is_silent(&holds, now));
		for (uint32_t type; (type = hear(&mount, state));)
			if (type == KEEPER_PING) {
				n_pings++;
				say(KEEPER_ALIVE, 0, NULL);
			}
		ASSERT(holds_receive(&holds));
	}
	ASSERT(n_pings > 90);
	ASSERT_EQ(holds.n, 1);
	end();
}

TEST(a_silent_one_loses_them_after_ten_seconds_dead_or_not)
{
	for (int is_dead = 0; is_dead < 2; is_dead++) {
		uint64_t now = 100 * SEC, began = now;
		begin();
		unsigned n = count_open();
		ASSERT(!holds_is_silent(&holds, now));
		say(KEEPER_HOLD, 1, "a");
		say(KEEPER_HOLD, 2, "b");
		ASSERT(holds_receive(&holds));
		if (is_dead)
			holds_meet(&holds, -1);
		while (!holds_is_silent(&holds, now))
			now = holds_due_usec(&holds, UINT64_MAX);
		ASSERT(now - began >= KEEPER_SILENT_USEC && now - began <= KEEPER_SILENT_USEC + 3 * SEC);
		ASSERT_EQ(holds.n, 0);
		ASSERT_EQ(count_open(), n - (unsigned)is_dead);
		end();
	}
}

TEST(when_keeper_and_vinefs_were_stopped_together_nothing_is_lost)
{
	uint64_t now = 100 * SEC;
	begin();
	say(KEEPER_HOLD, 1, "a");
	ASSERT(holds_receive(&holds));
	ASSERT(!holds_is_silent(&holds, now));
	ASSERT(!holds_is_silent(&holds, now + 3600ull * SEC));
	ASSERT_EQ(holds.n, 1);
	end();
}

TEST(nonsense_is_refused_and_its_descriptors_are_closed)
{
	begin();
	unsigned n = count_open();
	say(99, 1, "a");
	ASSERT(!holds_receive(&holds));
	say(KEEPER_HOLD, 0, "a");
	ASSERT(!holds_receive(&holds));
	ASSERT_EQ(send(theirs, "x", 1, 0), 1);
	ASSERT(!holds_receive(&holds));
	ASSERT_EQ(count_open(), n);
	ASSERT_EQ(holds.n, 0);
	end();
}

/* As many as are held at most need more than a test may have by default; false: it cannot. */
static bool raise_limit(rlim_t n)
{
	struct rlimit files;
	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = min(n, files.rlim_max);
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
	return files.rlim_cur == n;
}

TEST(as_many_mounts_as_there_may_be_are_held_and_told_again)
{
	uint64_t mount, expected = 1;
	char state[64];
	uint32_t type;
	if (!raise_limit(2 * KEEPER_MOUNTS_MAX + 64))
		return;
	begin();
	for (unsigned i = 1; i <= KEEPER_MOUNTS_MAX; i++) {
		say(KEEPER_HOLD, i, "a");
		ASSERT(holds_receive(&holds));
	}
	ASSERT_EQ(holds.n, KEEPER_MOUNTS_MAX);
	/* More than a socket takes at once. */
	meet();
	ASSERT(holds_has_more(&holds));
	while ((type = hear(&mount, state)) == KEEPER_HELD) {
		ASSERT_EQ(mount, expected++);
		ASSERT_STR(state, "a");
		holds_send(&holds);
	}
	ASSERT_EQ(type, KEEPER_ALL_HELD);
	ASSERT_EQ(expected, KEEPER_MOUNTS_MAX + 1);
	ASSERT(!holds_has_more(&holds));
	end();
	ASSERT_EQ(holds.n, 0);
}

TEST(without_a_descriptor_a_mount_is_not_held_and_vinefs_lives_on)
{
	struct rlimit files, few;
	begin();
	say(KEEPER_HOLD, 1, "a");
	say(KEEPER_HOLD, 2, "b");
	ASSERT(holds_receive(&holds));
	unsigned n = count_open();
	say(KEEPER_HOLD, 1, "newer");
	say(KEEPER_HOLD, 3, "c");
	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
	few = files;
	few.rlim_cur = 4;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	ASSERT(holds_receive(&holds));
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
	/* The newer state of 1 is unknown: it would be wrong to serve the old one. */
	ASSERT_EQ(holds.n_lost, 2);
	ASSERT_EQ(holds.n, 1);
	ASSERT_EQ(holds.at[0].mount, 2);
	ASSERT_EQ(count_open(), n - 2);
	end();
}

TEST(the_limit_of_open_files_bounds_how_many_mounts_are_asked_for)
{
	ASSERT_EQ(KEEPER_MOUNTS_OF(0ull), 0);
	ASSERT_EQ(KEEPER_MOUNTS_OF(255ull), 0);
	ASSERT_EQ(KEEPER_MOUNTS_OF(1024ull), 192);
	ASSERT_EQ(KEEPER_MOUNTS_OF(524288ull), KEEPER_MOUNTS_MAX);
	ASSERT_EQ(KEEPER_MOUNTS_OF(UINT64_MAX), KEEPER_MOUNTS_MAX);
}

TEST(there_is_a_limit_to_what_is_held)
{
	if (!raise_limit(2 * KEEPER_MOUNTS_MAX + 64))
		return;
	begin();
	for (unsigned i = 1; i <= KEEPER_MOUNTS_MAX; i++) {
		say(KEEPER_HOLD, i, "a");
		ASSERT(holds_receive(&holds));
	}
	say(KEEPER_HOLD, KEEPER_MOUNTS_MAX + 1, "a");
	ASSERT(!holds_receive(&holds));
	ASSERT_EQ(holds.n, KEEPER_MOUNTS_MAX);
	end();
}
