/* SPDX-License-Identifier: Apache-2.0
 * What a task opens, by seccomp's user notification: each call of a few kinds waits until it is noted here, and then is done as if nothing had been. It is a record, not
 * a guard: the task may change a path between note and deed. */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

#define PAGE 4096u

struct rule {
	int call;
	char kind;                     /* as written; o: by the flags of open; O: by those of openat2 */
	int8_t path, directory, flags; /* arguments; directory -1: the working directory */
};

static const struct rule rules[] = {
#ifdef SYS_open
	{SYS_open, 'o', 0, -1, 1},     {SYS_creat, 'w', 0, -1, 0},        {SYS_unlink, 'd', 0, -1, 0},
	{SYS_rmdir, 'd', 0, -1, 0},    {SYS_rename, 'd', 0, -1, 0},       {SYS_rename, 'm', 1, -1, 0},
#endif
	{SYS_openat, 'o', 1, 0, 2},    {437 /* openat2 */, 'O', 1, 0, 2}, {SYS_execve, 'x', 0, -1, 0},
	{SYS_execveat, 'x', 1, 0, 0},  {SYS_truncate, 'w', 0, -1, 0},     {SYS_unlinkat, 'd', 1, 0, 0},
#ifdef SYS_renameat
	{SYS_renameat, 'd', 1, 0, 0},  {SYS_renameat, 'm', 3, 2, 0},
#endif
	{SYS_renameat2, 'd', 1, 0, 0}, {SYS_renameat2, 'm', 3, 2, 0},
};
#define N_RULES (sizeof rules / sizeof *rules)

#ifdef OUR_ARCH
int witness_filter(void)
{
	struct sock_filter program[N_RULES + 6];
	unsigned n = 0;
	program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 0, N_RULES + 1);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < N_RULES; i++)
		program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rules[i].call,
							    (uint8_t)(N_RULES - i), 0);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	assert(n <= sizeof program / sizeof *program);
	struct sock_fprog whole = {.len = (unsigned short)n, .filter = program};
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &whole);
	return fd < 0 ? -errno : (int)fd;
}
#else
int witness_filter(void)
{
	return -ENOSYS;
}
#endif

struct witness {
	int listener, record, proc;
	struct seccomp_notif *request;
	struct seccomp_notif_resp *answer;
	size_t request_size;
	uint64_t began_usec;
	uint64_t *seen; /* digests of what is written, an open table; 0: none */
	size_t n_seen, room;
};

struct witness *witness_new(int listener, int record, int proc)
{
	struct seccomp_notif_sizes sizes;
	struct witness *w = calloc(1, sizeof *w);
	assert(listener >= 0 && record >= 0);
	if (!w || syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0) {
		close(listener);
		free(w);
		return NULL;
	}
	*w = (struct witness){
		.listener = listener, .record = record, .proc = proc, .began_usec = keeper_now_usec(), .room = 1024};
	/* A newer kernel's may be larger than ours. */
	w->request_size = sizes.seccomp_notif > sizeof *w->request ? sizes.seccomp_notif : sizeof *w->request;
	w->request = calloc(1, w->request_size);
	w->answer = calloc(1, sizes.seccomp_notif_resp + sizeof *w->answer);
	w->seen = calloc(w->room, sizeof *w->seen);
	if (!w->request || !w->answer || !w->seen)
		_exit(127); /* nothing that waits may wait for ever */
	return w;
}

int witness_fd(const struct witness *w)
{
	return w->listener;
}

/* ---- once each */

static void put_in(uint64_t *table, size_t room, uint64_t digest)
{
	size_t i = digest & (room - 1);
	while (table[i])
		i = (i + 1) & (room - 1);
	table[i] = digest;
}

static void grow(struct witness *w)
{
	uint64_t *larger = calloc(2 * w->room, sizeof *larger);
	if (!larger)
		return;
	for (size_t i = 0; i < w->room; i++)
		if (w->seen[i])
			put_in(larger, 2 * w->room, w->seen[i]);
	free(w->seen);
	w->seen = larger;
	w->room *= 2;
}

static bool is_new(struct witness *w, char kind, const char *path)
{
	uint64_t digest = UINT64_C(14695981039346656037) ^ (unsigned char)kind;
	for (; *path; path++)
		digest = (digest * UINT64_C(1099511628211)) ^ (unsigned char)*path;
	digest += !digest;
	for (size_t i = digest & (w->room - 1); w->seen[i]; i = (i + 1) & (w->room - 1))
		if (w->seen[i] == digest)
			return false;
	if (2 * ++w->n_seen > w->room)
		grow(w);
	/* Without memory for more, some are written again. */
	if (w->n_seen < w->room)
		put_in(w->seen, w->room, digest);
	return true;
}

/* Behind the path, which has no tab: its size, and how many microseconds after the first of all. */
static void write_down(struct witness *w, char kind, const char *path, int64_t size)
{
	char line[4 * PATH_MAX + 64];
	size_t n = (size_t)snprintf(line, sizeof line, "%c ", kind);
	for (const unsigned char *at = (const unsigned char *)path; *at && n < sizeof line - 56; at++) {
		if (*at == '\\')
			n += (size_t)snprintf(line + n, 3, "\\\\");
		else if (*at < ' ' || *at == 127)
			n += (size_t)snprintf(line + n, 5, "\\%03o", *at);
		else
			line[n++] = (char)*at;
	}
	n += (size_t)snprintf(line + n, sizeof line - n, "\t%lld\t%llu\n", (long long)size,
			      (unsigned long long)(keeper_now_usec() - w->began_usec));
	/* On a full disk the record ends early, and the task goes on. */
	if (write(w->record, line, n) < 0)
		return;
}

/* ---- what is asked */

/* The text at an address of the task's memory: false if there is none. */
static bool read_text(pid_t pid, uint64_t address, char to[PATH_MAX])
{
	for (size_t n = 0; n < PATH_MAX;) {
		size_t part = PAGE - (address + n) % PAGE;
		part = part < PATH_MAX - n ? part : PATH_MAX - n;
		struct iovec here = {.iov_base = to + n, .iov_len = part};
		struct iovec there = {.iov_base = (void *)(uintptr_t)(address + n), .iov_len = part};
		if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)part)
			return false;
		if (memchr(to + n, 0, part))
			return true;
		n += part;
	}
	return false;
}

static bool read_directory(const struct witness *w, pid_t pid, int fd, char to[PATH_MAX])
{
	char name[64];
	if (fd == AT_FDCWD)
		snprintf(name, sizeof name, "%d/cwd", (int)pid);
	else
		snprintf(name, sizeof name, "%d/fd/%d", (int)pid, fd);
	ssize_t n = readlinkat(w->proc, name, to, PATH_MAX - 1);
	to[n > 0 ? n : 0] = 0;
	return *to == '/';
}

/* Blots out doubled slashes and dots; a path with `..` is asked of the filesystem, since that may lead over links. */
static bool tidy(char path[PATH_MAX])
{
	char real[PATH_MAX];
	if (strstr(path, "/../") || (strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0)) {
		if (!realpath(path, real))
			return false;
		memcpy(path, real, strlen(real) + 1);
	}
	char *to = path;
	for (const char *at = path; *at;) {
		while (at[0] == '/' && (at[1] == '/' || (at[1] == '.' && (at[2] == '/' || !at[2]))))
			at += at[1] == '/' ? 1 : 2;
		if (*at)
			*to++ = *at++;
	}
	if (to > path + 1 && to[-1] == '/')
		to--;
	if (to == path)
		*to++ = '/';
	*to = 0;
	return true;
}

/* The absolute path that a call names. */
static bool find_path(const struct witness *w, const struct rule *r, char to[PATH_MAX])
{
	const struct seccomp_data *call = &w->request->data;
	char text[PATH_MAX];
	pid_t pid = (pid_t)w->request->pid;
	if (!read_text(pid, call->args[r->path], text))
		return false;
	to[0] = 0;
	if (*text != '/' && !read_directory(w, pid, r->directory < 0 ? AT_FDCWD : (int)call->args[r->directory], to))
		return false;
	size_t n = strlen(to);
	if (n + strlen(text) + 2 > PATH_MAX)
		return false;
	if (*text && *text != '/')
		to[n++] = '/';
	memcpy(to + n, text, strlen(text) + 1);
	return tidy(to);
}

/* 0: it is none that is written down. */
static char find_kind(const struct witness *w, const struct rule *r)
{
	uint64_t flags = w->request->data.args[r->flags];
	if (r->kind != 'o' && r->kind != 'O')
		return r->kind;
	if (r->kind == 'O') {
		struct iovec here = {.iov_base = &flags, .iov_len = sizeof flags};
		struct iovec there = {.iov_base = (void *)(uintptr_t)flags, .iov_len = sizeof flags};
		if (process_vm_readv((pid_t)w->request->pid, &here, 1, &there, 1, 0) != sizeof flags)
			return 0;
	}
	if (flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE)
		return 0;
	return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC) ? 'w' : 'r';
}

static void note(struct witness *w)
{
	char path[PATH_MAX];
	for (size_t i = 0; i < N_RULES; i++) {
		struct stat st;
		char kind = rules[i].call == w->request->data.nr ? find_kind(w, &rules[i]) : 0;
		if (!kind || !find_path(w, &rules[i], path))
			continue;
		/* Names that are tried in vain are no inputs. */
		bool is_there = fstatat(AT_FDCWD, path, &st, 0) == 0;
		if ((kind == 'r' || kind == 'x') && !is_there)
			continue;
		/* While it waits its number is its own, and what was read by it is its. */
		if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &w->request->id) == 0 && is_new(w, kind, path))
			write_down(w, kind, path, is_there ? (int64_t)st.st_size : 0);
	}
}

void witness_turn(struct witness *w, bool is_hung_up)
{
	if (is_hung_up) {
		close(w->listener);
		w->listener = -1;
		return;
	}
	memset(w->request, 0, w->request_size);
	/* One that was killed meanwhile is not there any more. */
	if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_RECV, w->request) < 0)
		return;
	note(w);
	*w->answer = (struct seccomp_notif_resp){.id = w->request->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, w->answer);
}
