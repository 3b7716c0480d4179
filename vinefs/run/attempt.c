/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/attempt.h"

#include "common/path.h"
#include "vinefs/run/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum how { HOW_EXITED = 1, HOW_KILLED = 2, HOW_NOT_STARTED = 3, HOW_LOST = 4 };

char *attempt_sandbox(const char *state, uint64_t attempt)
{
	assert(*state == '/' && attempt);
	return xasprintf("%s/s/%" PRIu64, state, attempt);
}

int attempt_make_sandbox(const char *sandbox)
{
	static const char *const parts[] = {"", "/cwd", "/tmp"};
	for (size_t i = 0; i < countof(parts); i++) {
		_free_ char *path = xasprintf("%s%s", sandbox, parts[i]);
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
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

/* Appends the beginning of a file to `heads`; returns its whole size. */
static uint64_t read_head(const char *sandbox, const char *name, struct buf *heads, uint32_t *n)
{
	struct stat st;
	_free_ char *path = path_join(sandbox, name);
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	*n = 0;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	ssize_t got = st.st_size ? pread(fd, buf_reserve(heads, RUN_HEAD_SIZE), RUN_HEAD_SIZE, 0) : 0;
	*n = got > 0 ? (uint32_t)got : 0;
	buf_grew(heads, *n);
	return max((uint64_t)st.st_size, (uint64_t)*n);
}

/* How it went in vined's words; the reason is appended to `heads`. */
static void judge(const struct keeper_report *end, struct wire_ended *m, struct buf *heads)
{
	const char *what = *end->what ? end->what : "sandbox";
	switch (end->type) {
	case KEEPER_ENDED:
		m->how = WIFSIGNALED(end->status) ? HOW_KILLED : HOW_EXITED;
		m->status = (uint32_t)(WIFSIGNALED(end->status) ? WTERMSIG(end->status) : WEXITSTATUS(end->status));
		break;
	case KEEPER_FAILED:
		m->status = (uint32_t)end->error;
		m->how = end->step >= KEEPER_STEP_DIRECTORY ? HOW_NOT_STARTED : HOW_LOST;
		if (end->step == KEEPER_STEP_EXEC)
			buf_printf(heads, "exec %s: %s", what, strerror(end->error));
		else if (end->step == KEEPER_STEP_DIRECTORY)
			buf_printf(heads, "working directory %s: %s", what, strerror(end->error));
		else
			buf_printf(heads, "the node could not start it: %s: %s", what, strerror(end->error));
		break;
	default:
		assert(end->type == KEEPER_LOST);
		m->how = HOW_LOST;
		buf_puts(heads, "the node was stopped, or its keeper died, while it ran");
	}
}

void attempt_fill_ended(const struct attempt *a, const char *sandbox, struct wire_ended *m, struct buf *heads)
{
	uint32_t n_out, n_err;
	assert(a->state != ATTEMPT_RUNNING && a->end.type != KEEPER_STARTED);
	buf_consume(heads, heads->n);
	buf_reserve(heads, 2 * RUN_HEAD_SIZE + 1024);
	*m = (struct wire_ended){.attempt = a->end.attempt,
				 .task = a->end.task,
				 .wall_usec = a->end.wall_usec,
				 .cpu_usec = a->end.cpu_usec,
				 .peak_memory = a->end.peak_memory};
	judge(&a->end, m, heads);
	buf_put(heads, "", 1);
	size_t n_reason = heads->n;
	m->out_size = read_head(sandbox, "out", heads, &n_out);
	m->err_size = read_head(sandbox, "err", heads, &n_err);
	/* Pointers last, when the buffer moves no more. */
	m->reason = (const char *)heads->at;
	m->out = (struct wire_bytes){.at = heads->at + n_reason, .n = n_out};
	m->err = (struct wire_bytes){.at = heads->at + n_reason + n_out, .n = n_err};
}
