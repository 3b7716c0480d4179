/* SPDX-License-Identifier: Apache-2.0
 * A peer that is no use: opens many connections to a daemon, sends rubbish or nothing, and waits to be thrown out.
 *
 *   nuisance ADDRESS COUNT MODE DEADLINE_SEC      MODE: silent garbage half huge mixed
 *
 * Prints "connected N" once all are open, then "closed N of M, last after T ms". Exit 0 if the daemon closed all in time. */
#include "common/base.h"
#include "common/net.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum mode { SILENT, GARBAGE, HALF, HUGE_LENGTH, N_MODES };
static const char *const mode_names[] = {"silent", "garbage", "half", "huge", "mixed", NULL};

static uint64_t now_msec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void annoy(int fd, enum mode mode, bool is_local)
{
	/* In the clear on a Unix socket a header is 16 bytes; on TCP it is a TLS record's five. */
	static const uint8_t frame_half[] = {1, 0, 0, 0, 100, 0, 0, 0, 0};
	static const uint8_t frame_huge[] = {1, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t record_half[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
	static const uint8_t record_huge[] = {0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 3, 3};
	char noise[4096];
	const void *what = noise;
	size_t n = sizeof noise;

	memset(noise, 'A', sizeof noise);
	if (mode == SILENT)
		return;
	if (mode == HALF) {
		what = is_local ? (const void *)frame_half : record_half;
		n = is_local ? sizeof frame_half : sizeof record_half;
	}
	if (mode == HUGE_LENGTH) {
		what = is_local ? (const void *)frame_huge : record_huge;
		n = is_local ? sizeof frame_huge : sizeof record_huge;
	}
	if (write(fd, what, n) < 0)
		fprintf(stderr, "nuisance: already thrown out\n");
}

/* Returns how many the daemon closed before the deadline, and when the last one went. */
static int wait_for_all(struct pollfd *fds, int count, uint64_t until, uint64_t *last)
{
	int closed = 0;
	while (closed < count && now_msec() < until) {
		if (poll(fds, (nfds_t)count, 100) <= 0)
			continue;
		for (int i = 0; i < count; i++) {
			char drop[512];
			if (fds[i].fd < 0 || !fds[i].revents || read(fds[i].fd, drop, sizeof drop) > 0)
				continue;
			fds[i].fd = close_fd(fds[i].fd);
			*last = now_msec();
			closed++;
		}
	}
	return closed;
}

static int find_mode(const char *name)
{
	for (int i = 0; mode_names[i]; i++)
		if (streq(mode_names[i], name))
			return i;
	return -1;
}

int main(int argc, char **argv)
{
	struct net_address to;
	int mode = argc == 5 ? find_mode(argv[3]) : -1;
	if (mode < 0 || net_parse(argv[1], &to) < 0) {
		fprintf(stderr, "usage: nuisance ADDRESS COUNT silent|garbage|half|huge|mixed DEADLINE_SEC\n");
		return 2;
	}
	int count = atoi(argv[2]);
	uint64_t until = now_msec() + (uint64_t)atoi(argv[4]) * 1000;
	struct pollfd *fds = xcalloc((size_t)count, sizeof *fds);
	for (int i = 0; i < count; i++) {
		fds[i] = (struct pollfd){.fd = net_connect(&to), .events = POLLIN};
		struct pollfd done = {.fd = fds[i].fd, .events = POLLOUT};
		if (fds[i].fd < 0 || poll(&done, 1, 5000) != 1 || net_connect_error(fds[i].fd) != 0) {
			fprintf(stderr, "nuisance: connection %d was not accepted\n", i);
			return 1;
		}
		annoy(fds[i].fd, mode == N_MODES ? (enum mode)(i % N_MODES) : (enum mode)mode, net_is_local(&to));
	}
	printf("connected %d\n", count);
	fflush(stdout);
	uint64_t began = now_msec(), last = began;
	int closed = wait_for_all(fds, count, until, &last);
	printf("closed %d of %d, last after %llu ms\n", closed, count, (unsigned long long)(last - began));
	free(fds);
	return closed == count ? 0 : 1;
}
