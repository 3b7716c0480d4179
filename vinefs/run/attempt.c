/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/attempt.h"

#include "common/path.h"
#include "vinefs/run/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum how { HOW_EXITED = 1, HOW_KILLED = 2, HOW_NOT_STARTED = 3, HOW_LOST = 4, HOW_REFUSED = 6 };

char *attempt_sandbox(const char *state, uint64_t attempt)
{
	assert(*state == '/' && attempt);
	return xasprintf("%s/s/%" PRIu64, state, attempt);
}

int attempt_make_sandbox(int sandboxes, uint64_t attempt)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	if (mkdirat(sandboxes, name, 0700) && errno != EEXIST)
		return -errno;
	_close_ int sandbox = openat(sandboxes, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sandbox < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (mkdirat(sandbox, i ? "tmp" : "cwd", 0700) && errno != EEXIST)
			return -errno;
	return 0;
}

int attempt_open_output(int sandboxes, uint64_t attempt, unsigned which, uint64_t *size)
{
	char path[64];
	struct stat st;
	assert(attempt && (which == 1 || which == 2));
	snprintf(path, sizeof path, "%" PRIu64 "/%s", attempt, which == 1 ? "out" : "err");
	/* A pipe in its place must not make us wait. */
	_close_ int fd = path_open_beneath(sandboxes, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	*size = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EBADF;
}

static bool is_named(const char *setting, const char *name)
{
	size_t n = strlen(name);
	return strncmp(setting, name, n) == 0 && setting[n] == '=';
}

static char *home(void)
{
	const struct passwd *p = getpwuid(getuid());
	return xasprintf("HOME=%s", p && p->pw_dir && *p->pw_dir ? p->pw_dir : "/");
}

char **attempt_environment(const struct wire_start *m, const char *sandbox, const char *directory, uint32_t *n)
{
	static const char *const ours[] = {"VINE_TASK", "VINE_ATTEMPT", "VINE_SANDBOX", "TMPDIR", "PWD", KEEPER_FD};
	bool has_home = false;
	char **texts = xcalloc((size_t)m->environment.n + countof(ours) + 2, sizeof *texts);
	*n = 0;
	for (uint32_t i = 0; i < m->environment.n; i++) {
		const char *given = m->environment.at[i];
		bool is_ours = false;
		for (size_t k = 0; k < countof(ours) && !is_ours; k++)
			is_ours = is_named(given, ours[k]);
		has_home |= is_named(given, "HOME");
		if (!is_ours)
			texts[(*n)++] = xstrdup(given);
	}
	texts[(*n)++] = xasprintf("VINE_TASK=%" PRIu64, m->task);
	texts[(*n)++] = xasprintf("VINE_ATTEMPT=%" PRIu64, m->attempt);
	texts[(*n)++] = xasprintf(KEEPER_MARK "%s", sandbox);
	texts[(*n)++] = xasprintf("TMPDIR=%s/tmp", sandbox);
	texts[(*n)++] = xasprintf("PWD=%s", directory);
	if (!has_home)
		texts[(*n)++] = home();
	return texts;
}

void attempt_free_texts(char **texts)
{
	for (char **at = texts; at && *at; at++)
		free(*at);
	free(texts);
}

struct head {
	uint64_t size; /* of all of it */
	uint32_t n;
	int error;
};

/* Appends the beginning of an output to `heads`. One that is not there was deleted by the task, and is empty. */
static struct head read_head(int sandboxes, uint64_t attempt, unsigned which, struct buf *heads)
{
	struct head h = {0};
	_close_ int fd = attempt_open_output(sandboxes, attempt, which, &h.size);
	ssize_t got = fd < 0 || !h.size ? 0 : pread(fd, buf_reserve(heads, RUN_HEAD_SIZE), RUN_HEAD_SIZE, 0);
	if (fd < 0 && fd != -ENOENT)
		h.error = fd;
	else if (got < 0)
		h.error = -errno;
	if (fd < 0 || got < 0)
		return (struct head){.error = h.error};
	h.n = (uint32_t)got;
	buf_grew(heads, h.n);
	h.size = max(h.size, (uint64_t)h.n);
	return h;
}

bool attempt_is_refused(const struct keeper_report *end)
{
	static const int scarce[] = {ENOMEM, EMFILE, ENFILE, EAGAIN, EIO};
	bool is_scarce = false;
	for (size_t i = 0; i < countof(scarce); i++)
		is_scarce |= end->error == scarce[i];
	return end->type == KEEPER_FAILED && (end->step < KEEPER_STEP_DIRECTORY || is_scarce);
}

void attempt_describe_failure(const struct keeper_report *end, struct buf *to)
{
	static const char *const steps[] = {[KEEPER_STEP_NONE] = "",
					    [KEEPER_STEP_FORK] = "its process: ",
					    [KEEPER_STEP_RECORD] = "the record of it: ",
					    [KEEPER_STEP_OUTPUT] = "its sandbox: ",
					    [KEEPER_STEP_DIRECTORY] = "directory ",
					    [KEEPER_STEP_EXEC] = "exec "};
	assert(end->type == KEEPER_FAILED);
	buf_printf(to, "%s%s%s: %s", attempt_is_refused(end) ? "the node could not begin it: " : "",
		   end->step < countof(steps) ? steps[end->step] : "", end->what, strerror(end->error));
}

/* How it went in vined's words; the reason is appended to `heads`. */
static void judge(const struct keeper_report *end, struct wire_ended *m, struct buf *heads)
{
	switch (end->type) {
	case KEEPER_ENDED:
		m->how = WIFSIGNALED(end->status) ? HOW_KILLED : HOW_EXITED;
		m->status = (uint32_t)(WIFSIGNALED(end->status) ? WTERMSIG(end->status) : WEXITSTATUS(end->status));
		break;
	case KEEPER_FAILED:
		m->status = (uint32_t)end->error;
		m->how = attempt_is_refused(end) ? HOW_REFUSED : HOW_NOT_STARTED;
		attempt_describe_failure(end, heads);
		break;
	default:
		assert(end->type == KEEPER_LOST);
		m->how = HOW_LOST;
		buf_puts(heads, "the node was stopped, or its keeper died, while it ran");
	}
}

/* False: it may be read later, since it is this process that lacks something. */
static bool is_told(struct attempt *a, unsigned which, int error, struct buf *reason)
{
	if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
		return false;
	/* Of what is no file there is nothing to keep. */
	a->is_unread |= error && error != -EBADF && error != -ELOOP;
	if (error)
		buf_printf(reason, "%sits output cannot be read: %s: %s", reason->n ? "; " : "",
			   which == 1 ? "out" : "err",
			   error == -EBADF || error == -ELOOP ? "it has put something else there" : strerror(-error));
	return true;
}

int attempt_fill_ended(struct attempt *a, int sandboxes, struct wire_ended *m, struct buf *heads)
{
	_cleanup_(buf_fini) struct buf reason = {0};
	assert(a->state != ATTEMPT_RUNNING && a->end.type != KEEPER_STARTED);
	buf_consume(heads, heads->n);
	buf_reserve(heads, 2 * RUN_HEAD_SIZE + 1024);
	*m = (struct wire_ended){.attempt = a->end.attempt,
				 .task = a->end.task,
				 .wall_usec = a->end.wall_usec,
				 .cpu_usec = a->end.cpu_usec,
				 .peak_memory = a->end.peak_memory};
	judge(&a->end, m, &reason);
	struct head out = read_head(sandboxes, m->attempt, 1, heads), err = read_head(sandboxes, m->attempt, 2, heads);
	if (!is_told(a, 1, out.error, &reason))
		return out.error;
	if (!is_told(a, 2, err.error, &reason))
		return err.error;
	m->out_size = out.size;
	m->err_size = err.size;
	buf_put(heads, reason.at, reason.n);
	buf_put(heads, "", 1);
	/* Pointers last, when the buffer moves no more. */
	m->out = (struct wire_bytes){.at = heads->at, .n = out.n};
	m->err = (struct wire_bytes){.at = heads->at + out.n, .n = err.n};
	m->reason = (const char *)heads->at + out.n + err.n;
	return 0;
}
