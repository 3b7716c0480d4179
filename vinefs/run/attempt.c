/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/attempt.h"

#include "common/path.h"
#include "vinefs/run/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAIL_SIZE 4096 /* of standard error, in which a reason may stand */
#define START_MOST (WIRE_BODY_MAX + WIRE_HEAD_SIZE)

enum ended_how {
	ENDED_EXITED = 1,
	ENDED_KILLED = 2,
	ENDED_NOT_STARTED = 3,
	ENDED_LOST = 4,
	ENDED_REFUSED = 6,
	ENDED_NO_OUTPUT = 7
};

void attempt_drop_inputs(struct attempt *a)
{
	for (size_t i = 0; i < a->n_inputs; i++) {
		free((void *)(uintptr_t)a->inputs[i].path);
		free((void *)(uintptr_t)a->inputs[i].at);
	}
	free(steal(a->inputs));
	a->n_inputs = 0;
}

void attempt_free(struct attempt *a)
{
	outputs_job_fini(&a->outputs);
	attempt_drop_inputs(a);
	view_fini(&a->view);
	how_fini(&a->how);
	free(a->start);
	free(a->reason);
	free(a->input_failure);
	free(a);
}

char *attempt_sandbox(const char *state, uint64_t attempt)
{
	assert(*state == '/' && attempt);
	return xasprintf("%s/s/%" PRIu64, state, attempt);
}

const char *const attempt_directories[] = {"cwd", "tmp", NULL};
const char *const attempt_files[] = {"out", "err", "start", "steps", NULL};

int attempt_make_sandbox(int sandboxes, uint64_t attempt)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	if (mkdirat(sandboxes, name, 0700) && errno != EEXIST)
		return -errno;
	_close_ int sandbox = openat(sandboxes, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sandbox < 0)
		return -errno;
	for (size_t i = 0; attempt_directories[i]; i++)
		if (mkdirat(sandbox, attempt_directories[i], 0700) && errno != EEXIST)
			return -errno;
	return 0;
}

int attempt_open_output(int sandboxes, uint64_t attempt, unsigned which, uint64_t *size)
{
	char path[64];
	struct stat st;
	static const char *const names[] = {NULL, "out", "err", "record"};
	assert(attempt && which && which < countof(names));
	snprintf(path, sizeof path, "%" PRIu64 "/%s", attempt, names[which]);
	/* A pipe in its place must not make us wait. */
	_close_ int fd = path_open_beneath(sandboxes, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	*size = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EBADF;
}

int attempt_save(const struct attempt *a, const char *sandbox)
{
	_cleanup_(buf_fini) struct buf b = {0};
	_free_ char *path = path_join(sandbox, "start");
	int r = wire_encode(&b, WIRE_START, 0, 0, a->start);
	/* It is read only if the keeper has been told of the attempt, and that comes after. */
	return r ? r : path_overwrite(path, b.at, b.n, 0600, a->came_usec);
}

bool attempt_load(struct attempt *a, const char *sandbox)
{
	struct wire_arena arena = {0};
	struct wire_start m;
	struct conf_error e;
	struct stat st;
	size_t n;
	_free_ char *path = path_join(sandbox, "start");
	_free_ uint8_t *file = (uint8_t *)path_read(path, START_MOST, &n);
	assert(!a->start);
	bool is_whole = file && n >= WIRE_HEAD_SIZE &&
			wire_decode(WIRE_START, file + WIRE_HEAD_SIZE, n - WIRE_HEAD_SIZE, &m, &arena) == 0 &&
			m.attempt == a->end.attempt;
	if (is_whole)
		a->start = wire_copy(WIRE_START, &m);
	wire_arena_fini(&arena);
	if (is_whole && stat(path, &st) == 0)
		a->came_usec = (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000;
	return is_whole && how_read(&a->start->how, &a->how, &e) == 0;
}

uint64_t attempt_age_usec(int pid)
{
	char path[64];
	size_t n;
	unsigned long long ticks;
	struct timespec now;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	_free_ char *stat = pid > 0 ? path_read(path, 4096, &n) : NULL;
	/* Its name may have anything in it but stands in the last pair of brackets. */
	const char *at = stat ? strrchr(stat, ')') : NULL;
	if (!at || clock_gettime(CLOCK_BOOTTIME, &now) ||
	    sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) !=
		    1)
		return 0;
	uint64_t now_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	uint64_t began_usec = ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	return now_usec > began_usec ? now_usec - began_usec : 0;
}

/* ---- its environment */

struct environment {
	char **texts;
	uint32_t n;
	const struct wire_start *start;
};

static bool is_named(const char *setting, const char *name)
{
	size_t n = strlen(name);
	return strncmp(setting, name, n) == 0 && setting[n] == '=';
}

static bool is_given(const struct wire_start *m, const char *name)
{
	for (uint32_t i = 0; i < m->environment.n; i++)
		if (is_named(m->environment.at[i], name))
			return true;
	return false;
}

static char *home(const struct attempt *a, const char *sandbox)
{
	if (streq(a->how.home, "sandbox"))
		return xasprintf("HOME=%s/home", sandbox);
	if (*a->how.home)
		return xasprintf("HOME=%s", a->how.home);
	const struct passwd *p = getpwuid(getuid());
	return xasprintf("HOME=%s", p && p->pw_dir && *p->pw_dir ? p->pw_dir : "/");
}

static char *list_gpus(const char *name, uint64_t bits)
{
	_cleanup_(buf_fini) struct buf b = {0};
	buf_printf(&b, "%s=", name);
	for (unsigned i = 0; i < 64; i++)
		if (bits >> i & 1)
			buf_printf(&b, "%s%u", b.at[b.n - 1] == '=' ? "" : ",", i);
	return buf_steal_text(&b);
}

char **attempt_environment(const struct attempt *a, const char *sandbox, uint32_t *n)
{
	static const char *const ours[] = {"VINE_TASK", "VINE_ATTEMPT", "VINE_SANDBOX", "VINE_ROOT",
					   "TMPDIR",    "PWD",          KEEPER_FD};
	const struct wire_start *m = a->start;
	bool has_home = is_given(m, "HOME") && !*a->how.home, has_gpus = m->gpu_bits;
	bool has_links = !a->view.is_view && m->inputs.n;
	char **texts = xcalloc((size_t)m->environment.n + countof(ours) + 8, sizeof *texts);
	*n = 0;
	for (uint32_t i = 0; i < m->environment.n; i++) {
		const char *given = m->environment.at[i];
		bool is_ours = (*a->how.home && is_named(given, "HOME")) ||
			       (has_gpus && (is_named(given, "CUDA_VISIBLE_DEVICES") || is_named(given, "VINE_GPUS")));
		for (size_t k = 0; k < countof(ours) && !is_ours; k++)
			is_ours = is_named(given, ours[k]);
		if (!is_ours)
			texts[(*n)++] = xstrdup(given);
	}
	texts[(*n)++] = xasprintf("VINE_TASK=%" PRIu64, m->task);
	texts[(*n)++] = xasprintf("VINE_ATTEMPT=%" PRIu64, m->attempt);
	texts[(*n)++] = xasprintf(KEEPER_MARK "%s", sandbox);
	texts[(*n)++] = has_links ? xasprintf("VINE_ROOT=%s/root", sandbox) : xstrdup("VINE_ROOT=/");
	texts[(*n)++] = a->view.is_view ? xstrdup("TMPDIR=/tmp") : xasprintf("TMPDIR=%s/tmp", sandbox);
	texts[(*n)++] = xasprintf("PWD=%s", a->view.directory);
	if (!has_home)
		texts[(*n)++] = home(a, sandbox);
	if (has_gpus) {
		texts[(*n)++] = list_gpus("CUDA_VISIBLE_DEVICES", m->gpu_bits);
		texts[(*n)++] = list_gpus("VINE_GPUS", m->gpu_bits);
	}
	/* Else many libraries take all cores of the machine. */
	if (m->cores && !is_given(m, "OMP_NUM_THREADS"))
		texts[(*n)++] = xasprintf("OMP_NUM_THREADS=%" PRIu32, m->cores);
	return texts;
}

uint64_t *attempt_cores(const struct wire_start *m, uint32_t *n)
{
	cpu_set_t set;
	uint32_t wanted = 0, found = 0, index = 0;
	uint64_t *words = xcalloc(CPU_SETSIZE / 64, sizeof *words);
	*n = 0;
	for (uint32_t i = 0; i < m->core_bits.n; i++)
		wanted += (uint32_t)__builtin_popcountll(m->core_bits.at[i]);
	/* vined numbers the cores that this process may use; the kernel all. A node that offers more than it has binds none. */
	bool is_known = wanted && sched_getaffinity(0, sizeof set, &set) == 0;
	for (unsigned cpu = 0; is_known && cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (index / 64 < m->core_bits.n && m->core_bits.at[index / 64] >> index % 64 & 1) {
			words[cpu / 64] |= UINT64_C(1) << cpu % 64;
			*n = cpu / 64 + 1;
			found++;
		}
		index++;
	}
	if (wanted && found == wanted)
		return words;
	free(words);
	*n = 0;
	return NULL;
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

static bool is_refused(const struct keeper_report *end)
{
	static const int scarce[] = {ENOMEM, EMFILE, ENFILE, EAGAIN, EIO, ENOSPC, EDQUOT, ENOTCONN};
	static const int declared[] = {ENOTDIR, EISDIR, EEXIST, ELOOP, ENAMETOOLONG};
	bool is_scarce = false, is_declared = false;
	for (size_t i = 0; i < countof(scarce); i++)
		is_scarce |= end->error == scarce[i];
	/* A path that the task declared, and that cannot be put there anywhere. */
	for (size_t i = 0; i < countof(declared); i++)
		is_declared |= end->step == KEEPER_STEP_VIEW && end->error == declared[i];
	return is_scarce || (end->step < KEEPER_STEP_DIRECTORY && !is_declared);
}

bool attempt_is_refused(const struct attempt *a)
{
	if (a->end.type != KEEPER_FAILED)
		return false;
	return a->reason ? a->is_nodes_fault : is_refused(&a->end);
}

/* The kernel says the same of a program that is not there and of one whose interpreter is not. The path has just been looked up, so it answers. */
static void describe_interpreter(const struct attempt *a, struct buf *to)
{
	char line[256] = "";
	_free_ char *path = path_join(a->view.directory, a->end.what);
	_close_ int fd = strchr(a->end.what, '/') ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY) : -1;
	ssize_t n = fd < 0 ? 0 : pread(fd, line, sizeof line - 1, 0);
	if (n > 2 && has_prefix(line, "#!")) {
		char *name = line + 2 + strspn(line + 2, " \t");
		name[strcspn(name, " \t\n")] = 0;
		buf_printf(to, " (its first line names %s, which is not there)", name);
	} else if (a->view.is_view && fd < 0 && strchr(a->end.what, '/')) {
		buf_puts(to, " (it, or the interpreter that it names)");
	}
}

void attempt_describe_failure(const struct attempt *a, struct buf *to)
{
	static const char *const steps[] = {[KEEPER_STEP_NONE] = "",
					    [KEEPER_STEP_FORK] = "its process: ",
					    [KEEPER_STEP_RECORD] = "the record of it: ",
					    [KEEPER_STEP_OUTPUT] = "its sandbox: ",
					    [KEEPER_STEP_VIEW] = "its view: ",
					    [KEEPER_STEP_DIRECTORY] = "directory ",
					    [KEEPER_STEP_INPUT] = "standard input ",
					    [KEEPER_STEP_EXEC] = "exec ",
					    [KEEPER_STEP_DECLARED] = "what it declared cannot be there: "};
	const struct keeper_report *end = &a->end;
	assert(end->type == KEEPER_FAILED);
	buf_puts(to, attempt_is_refused(a) ? "the node could not begin it: " : "");
	if (a->reason)
		buf_puts(to, a->reason);
	else
		buf_printf(to, "%s%s: %s", end->step < countof(steps) ? steps[end->step] : "", end->what,
			   strerror(end->error));
	if (end->step == KEEPER_STEP_EXEC && end->error == ENOENT)
		describe_interpreter(a, to);
}

/* ---- its end */

/* How it went in vined's words; the reason is appended to `heads`. */
static void judge(const struct attempt *a, struct wire_ended *m, struct buf *heads)
{
	const struct keeper_report *end = &a->end;
	switch (end->type) {
	case KEEPER_ENDED:
		m->how = WIFSIGNALED(end->status) ? ENDED_KILLED : ENDED_EXITED;
		m->status = (uint32_t)(WIFSIGNALED(end->status) ? WTERMSIG(end->status) : WEXITSTATUS(end->status));
		break;
	case KEEPER_FAILED:
		m->status = (uint32_t)end->error;
		m->how = attempt_is_refused(a) ? ENDED_REFUSED : ENDED_NOT_STARTED;
		attempt_describe_failure(a, heads);
		return;
	default:
		assert(end->type == KEEPER_LOST);
		m->how = ENDED_LOST;
		buf_puts(heads, "the node was stopped, or its keeper died, while it ran");
		return;
	}
	if (a->is_spoilt) {
		m->how = ENDED_LOST;
		m->status = 0;
		buf_puts(heads, "the node's mount died under it, and reads may have failed");
		return;
	}
	if (a->usage.exceeded)
		buf_puts(heads, a->usage.text);
	if (a->output_error && end->status == 0 && !a->usage.exceeded) {
		m->how = ENDED_NO_OUTPUT;
		m->status = (uint32_t)-a->output_error;
	}
	if (a->output_error)
		buf_printf(heads, "%s%s", heads->n ? "; " : "", a->reason);
	/* Of a program that did not mind, too: what it made of the rest may be wrong. */
	if (a->input_failure)
		buf_printf(heads, "%s%s", heads->n ? "; " : "", a->input_failure);
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

/* A write to an input gives the task an error that says nothing of Vine. */
static void hint(const struct attempt *a, int sandboxes, const struct wire_ended *m, struct buf *reason)
{
	uint64_t size;
	char tail[TAIL_SIZE];
	bool has_inputs = false;
	for (uint32_t i = 0; a->start && i < a->start->inputs.n; i++)
		has_inputs |= a->start->inputs.at[i].mode == 1;
	if (!has_inputs || m->how != ENDED_EXITED || !m->status)
		return;
	_close_ int fd = attempt_open_output(sandboxes, a->end.attempt, 2, &size);
	ssize_t n = fd < 0 ? -1 : pread(fd, tail, sizeof tail, size > sizeof tail ? (off_t)(size - sizeof tail) : 0);
	if (n > 0 && memmem(tail, (size_t)n, "Read-only file system", 21))
		buf_printf(reason,
			   "%sinputs are read-only: with :rw behind its path a task gets a private copy of one that it "
			   "may change",
			   reason->n ? "; " : "");
}

static void fill_numbers(const struct attempt *a, struct wire_ended *m)
{
	const struct limits_usage *u = &a->usage;
	*m = (struct wire_ended){.attempt = a->end.attempt,
				 .task = a->end.task,
				 .wall_usec = a->end.wall_usec,
				 .cpu_usec = max(a->end.cpu_usec, u->cpu_usec),
				 .peak_memory = u->peak_memory ? u->peak_memory : a->end.peak_memory,
				 .exceeded = (uint8_t)u->exceeded,
				 .peak_disk = max(u->peak_disk, a->outputs.written_size),
				 .local_size = a->sizes.local,
				 .moved_size = a->sizes.moved,
				 .peer_size = a->sizes.peer,
				 .source_size = a->sizes.source,
				 .client_size = a->sizes.client,
				 .outputs = {.at = a->outputs.outputs, .n = a->outputs.n_outputs},
				 .left = {.at = (const char *const *)a->outputs.left, .n = a->outputs.n_left_named},
				 .n_left = a->outputs.n_left,
				 .written_size = a->outputs.written_size};
}

int attempt_fill_ended(struct attempt *a, int sandboxes, struct wire_ended *m, struct buf *heads)
{
	_cleanup_(buf_fini) struct buf reason = {0};
	assert(a->state >= ATTEMPT_ENDED && a->end.type != KEEPER_STARTED);
	buf_consume(heads, heads->n);
	buf_reserve(heads, 2 * RUN_HEAD_SIZE + 1024);
	fill_numbers(a, m);
	judge(a, m, &reason);
	a->is_failure = m->how != ENDED_EXITED || m->status;
	struct head out = read_head(sandboxes, m->attempt, 1, heads), err = read_head(sandboxes, m->attempt, 2, heads);
	if (!is_told(a, 1, out.error, &reason))
		return out.error;
	if (!is_told(a, 2, err.error, &reason))
		return err.error;
	if (err.n)
		hint(a, sandboxes, m, &reason);
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
