/* SPDX-License-Identifier: Apache-2.0
 * A process that ends while it is looked at counts as far as it was seen. */
#include "vinefs/run/limits_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define PIDS_MOST 100000u
#define ENVIRON_MOST KEEPER_REQUEST_MAX

static size_t n_pids(const struct buf *pids)
{
	assert(pids->n % sizeof(pid_t) == 0);
	return pids->n / sizeof(pid_t);
}

static pid_t pid_at(const struct buf *pids, size_t i)
{
	pid_t pid;
	memcpy(&pid, pids->at + i * sizeof pid, sizeof pid);
	return pid;
}

/* A text of /proc as far as it fits; its length, 0 if it cannot be read. */
static size_t read_proc(const char *path, char *to, size_t room)
{
	size_t n = 0;
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t got; fd >= 0 && n < room - 1 && (got = read(fd, to + n, room - 1 - n)) > 0;)
		n += (size_t)got;
	to[n] = 0;
	return n;
}

static void add_children(const char *path, struct buf *pids)
{
	int pid;
	FILE *f = fopen(path, "re");
	while (f && n_pids(pids) < PIDS_MOST && fscanf(f, "%d", &pid) == 1)
		buf_put(pids, &(pid_t){pid}, sizeof(pid_t));
	if (f)
		fclose(f);
}

/* Each thread has its own. */
static void add_children_of(pid_t pid, struct buf *pids)
{
	char path[300];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	for (const struct dirent *e; threads && (e = readdir(threads));) {
		snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, e->d_name);
		if (*e->d_name != '.')
			add_children(path, pids);
	}
	if (threads)
		closedir(threads);
}

void look_down(int pid, struct buf *pids)
{
	size_t at = n_pids(pids);
	assert(pid > 0);
	buf_put(pids, &(pid_t){pid}, sizeof(pid_t));
	for (; at < n_pids(pids); at++)
		add_children_of(pid_at(pids, at), pids);
}

static uint64_t attempt_of(pid_t pid, const char *mark)
{
	char path[64];
	uint64_t attempt = 0;
	size_t n_mark = strlen(mark);
	_free_ char *text = xmalloc(ENVIRON_MOST);
	snprintf(path, sizeof path, "/proc/%d/environ", pid);
	size_t n = read_proc(path, text, ENVIRON_MOST);
	for (const char *at = text; at < text + n && !attempt; at += strlen(at) + 1)
		if (!strncmp(at, mark, n_mark))
			attempt = strtoull(at + n_mark, NULL, 10);
	return attempt;
}

void look_for_orphans(int keeper, const char *path, struct buf *pairs)
{
	_cleanup_(buf_fini) struct buf pids = {0};
	_free_ char *mark = xasprintf(KEEPER_MARK "%s/", path);
	add_children_of(keeper, &pids);
	for (size_t i = 0; i < n_pids(&pids); i++) {
		uint64_t pair[2] = {attempt_of(pid_at(&pids, i), mark), (uint64_t)pid_at(&pids, i)};
		if (pair[0] && pid_at(&pids, i) != getpid())
			buf_put(pairs, pair, sizeof pair);
	}
}

struct look look_at(const struct buf *pids, uint64_t most)
{
	struct look l = {0};
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i < n_pids(pids) && l.n <= most; i++) {
		char path[64], text[1024];
		long threads = 0, pages = 0;
		snprintf(path, sizeof path, "/proc/%d/stat", pid_at(pids, i));
		read_proc(path, text, sizeof text);
		/* The second field may hold anything; the 20th and the 24th are ours. */
		const char *at = strrchr(text, ')');
		if (!at || sscanf(at + 1,
				  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %*u "
				  "%*u %ld",
				  &threads, &pages) != 2)
			continue;
		l.n_pids++;
		l.n += (uint64_t)max(threads, 1L);
		uint64_t size = (uint64_t)max(pages, 0L) * page;
		l.size += size;
		l.largest = max(l.largest, size);
	}
	return l;
}

uint64_t look_at_shares(const struct buf *pids)
{
	uint64_t size = 0;
	for (size_t i = 0; i < n_pids(pids); i++) {
		char path[64], text[2048];
		uint64_t kib = 0;
		snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid_at(pids, i));
		read_proc(path, text, sizeof text);
		const char *at = strstr(text, "\nPss:");
		if (at && sscanf(at, "\nPss: %" SCNu64, &kib) == 1)
			size += kib << 10;
	}
	return size;
}
