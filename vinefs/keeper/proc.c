/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENVIRON_MAX KEEPER_REQUEST_MAX

static ssize_t read_proc(pid_t pid, const char *name, char *to, size_t room)
{
	char path[64];
	size_t n = 0;
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t got; fd >= 0 && n < room - 1 && (got = read(fd, to + n, room - 1 - n)) > 0;)
		n += (size_t)got;
	if (fd >= 0)
		close(fd);
	to[n] = 0;
	return (ssize_t)n;
}

uint64_t proc_start_ticks(pid_t pid)
{
	char text[1024];
	read_proc(pid, "stat", text, sizeof text);
	/* The second field may hold anything, blanks and brackets too; the 22nd is ours. */
	char *at = strrchr(text, ')');
	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

uint64_t proc_now_ticks(void)
{
	struct timespec t;
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * hz + (uint64_t)t.tv_nsec * hz / 1000000000;
}

bool proc_is_named(pid_t pid, const char *name)
{
	char text[64];
	ssize_t n = read_proc(pid, "comm", text, sizeof text);
	return n > 1 && (size_t)n == strlen(name) + 1 && strncmp(text, name, strlen(name)) == 0;
}

/* The attempt whose mark the process carries; 0: none of ours, or it cannot be told. */
static uint64_t attempt_of(pid_t pid, const char *state)
{
	char mark[4096 + 64], *text = malloc(ENVIRON_MAX);
	uint64_t attempt = 0;
	int n_mark = snprintf(mark, sizeof mark, KEEPER_MARK "%s/s/", state);
	ssize_t n = text ? read_proc(pid, "environ", text, ENVIRON_MAX) : 0;
	for (char *at = text; n && at < text + n && !attempt; at += strlen(at) + 1)
		if (!strncmp(at, mark, (size_t)n_mark))
			attempt = strtoull(at + n_mark, NULL, 10);
	free(text);
	return attempt;
}

unsigned proc_sweep(const struct record *r, const char *state, pid_t spare, bool all)
{
	unsigned n = 0;
	int pid;
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	FILE *f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1) {
		if (pid == spare || record_find_pid(r, pid))
			continue;
		/* What hides its mark is left until the node stops. */
		uint64_t attempt = all ? 0 : attempt_of(pid, state);
		const struct attempt *a = attempt ? record_find(r, attempt) : NULL;
		if (all || (attempt && !(a && a->report.pid)))
			n += kill(pid, SIGKILL) == 0;
	}
	if (f)
		fclose(f);
	return n;
}

void proc_purge(const char *state)
{
	DIR *d = opendir("/proc");
	for (const struct dirent *e; d && (e = readdir(d));) {
		pid_t pid = atoi(e->d_name);
		if (pid > 1 && pid != getpid() && attempt_of(pid, state))
			kill(pid, SIGKILL);
	}
	if (d)
		closedir(d);
}
