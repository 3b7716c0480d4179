/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPACT_LEAST (4u << 20)

/* The file: this head, then struct attempt after struct attempt as they changed, the last one of a number counts. */
struct head {
	char magic[24], boot[48];
};

static struct head make_head(void)
{
	struct head h = {.magic = "vine-keeper 1"};
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, h.boot, sizeof h.boot - 1) < 0)
		h.boot[0] = 0;
	if (fd >= 0)
		close(fd);
	return h;
}

struct attempt *record_find(const struct record *r, uint64_t attempt)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->at[i]->report.attempt == attempt)
			return r->at[i];
	return NULL;
}

struct attempt *record_find_pid(const struct record *r, pid_t pid)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->at[i]->report.pid == pid)
			return r->at[i];
	return NULL;
}

struct attempt *record_add(struct record *r, uint64_t attempt, uint64_t task)
{
	assert(attempt && r->n <= KEEPER_ATTEMPTS_MAX);
	struct attempt *a = r->n < KEEPER_ATTEMPTS_MAX ? calloc(1, sizeof *a) : NULL;
	if (!a)
		return NULL;
	a->report = (struct keeper_report){
		.length = sizeof a->report, .type = KEEPER_STARTED, .attempt = attempt, .task = task};
	return r->at[r->n++] = a;
}

void record_remove(struct record *r, struct attempt *a)
{
	unsigned i = 0;
	assert(r->n && !a->report.pid);
	while (r->at[i] != a)
		i++;
	r->at[i] = r->at[--r->n];
	free(a);
}

/* Everything that counts into a new file, which then takes the old one's place. */
static int rewrite(struct record *r)
{
	char beside[sizeof r->path + 8];
	struct head h = make_head();
	snprintf(beside, sizeof beside, "%s.new", r->path);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return -errno;
	size_t good = fwrite(&h, sizeof h, 1, f);
	for (unsigned i = 0; i < r->n; i++)
		good += fwrite(r->at[i], sizeof *r->at[i], 1, f);
	if (fclose(f) || good != r->n + 1 || rename(beside, r->path))
		return -(errno ? errno : EIO);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = open(r->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	r->size = sizeof h + r->n * sizeof(struct attempt);
	r->compact_at = r->size + (r->size > COMPACT_LEAST ? r->size : COMPACT_LEAST);
	return r->fd < 0 ? -errno : 0;
}

int record_put(struct record *r, const struct attempt *a)
{
	if (r->size >= r->compact_at && rewrite(r))
		r->compact_at = r->size + COMPACT_LEAST;
	ssize_t n = write(r->fd, a, sizeof *a);
	int error = n < 0 ? errno : ENOSPC;
	if (n == sizeof *a) {
		r->size += sizeof *a;
		return 0;
	}
	/* It is there whole or not at all, lest it spoil the next one. */
	if (n > 0 && ftruncate(r->fd, (off_t)r->size))
		r->compact_at = 0;
	return -error;
}

static int read_all(struct record *r, bool *is_same_boot)
{
	struct head ours = make_head(), h;
	struct attempt got, *a;
	uint64_t newest = 0;
	FILE *f = fopen(r->path, "re");
	if (!f)
		return errno == ENOENT ? 0 : -errno;
	bool is_known = fread(&h, sizeof h, 1, f) == 1 && !strncmp(h.magic, ours.magic, sizeof h.magic);
	long good = is_known ? (long)sizeof h : 0;
	*is_same_boot = is_known && memcmp(h.boot, ours.boot, sizeof h.boot) == 0;
	while (is_known && fread(&got, sizeof got, 1, f) == 1 && got.report.length == sizeof got.report) {
		/* Numbers grow, nearly always: one beyond all so far is new, and 60,000 are read without 60,000 searches. */
		a = got.report.attempt > newest ? NULL : record_find(r, got.report.attempt);
		newest = a || got.report.attempt < newest ? newest : got.report.attempt;
		if (!a && got.report.attempt)
			a = record_add(r, got.report.attempt, got.report.task);
		if (a)
			*a = got;
		good = ftell(f);
	}
	fseek(f, 0, SEEK_END);
	if (ftell(f) > good)
		fprintf(stderr,
			"vine-keeper: %s: %ld bytes of %ld are damaged and discarded: what they told of is lost\n",
			r->path, ftell(f) - good, ftell(f));
	fclose(f);
	return 0;
}

/* It was there at that time, and nobody reaped it but us: who has its number since then began later. */
static bool is_there(const struct attempt *a)
{
	uint64_t ticks = proc_start_ticks(a->report.pid);
	return ticks && ticks <= a->start_ticks;
}

int record_open(struct record *r, const char *state)
{
	bool is_same_boot = false;
	r->fd = -1;
	if (snprintf(r->path, sizeof r->path, "%s/keeper.log", state) >= (int)sizeof r->path)
		return -ENAMETOOLONG;
	int error = read_all(r, &is_same_boot);
	for (unsigned i = r->n; i-- > 0;) {
		struct attempt *a = r->at[i];
		/* Of a damaged one no number is believed that would mean more than one process' group. */
		if (a->report.pid > 1 && is_same_boot && is_there(a))
			kill(-a->report.pid, SIGKILL);
		if (a->report.type == KEEPER_STARTED)
			a->report.type = KEEPER_LOST;
		a->report.pid = 0;
		a->kill_usec = 0;
		if (a->is_taken)
			record_remove(r, a);
	}
	return error ? error : rewrite(r);
}
