/* SPDX-License-Identifier: Apache-2.0
 * A scene for views: a disk of the test's own, /mnt, with a node's state and two trees, and a child that becomes what the task would be. */
#ifndef TESTS_UNIT_VIEW_WORLD_H
#define TESTS_UNIT_VIEW_WORLD_H

#include "tests/unit/unit.h"

#include "common/path.h"
#include "vinefs/run/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_ALLOWED 77
#define STATE "/mnt/state"
#define SANDBOX STATE "/s/7"
#define USER 65534

#define MUST(x)                                                                                       \
	do {                                                                                          \
		if (!(x)) {                                                                           \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #x, strerror(errno)); \
			_exit(1);                                                                     \
		}                                                                                     \
	} while (0)

struct scene {
	struct loop *loop;
	struct host host;
	struct wire_start start;
	struct wire_input bindings[200];
	struct run_input inputs[200];
	size_t n_inputs;
	uint32_t n_bindings;
	struct how how;
	const char *hidden[4], *shared[4];
	bool has_no_view, is_inside, has_user;
	struct view view;
	struct conf_error error;
};

static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int error = errno;
	close_fd(fd);
	errno = error;
	return n < 0 ? -1 : 0;
}

static inline bool is_text(const char *path, const char *text)
{
	size_t n = 0;
	_free_ char *have = path_read(path, 100, &n);
	return have && streq(have, text);
}

static inline bool is_there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static inline void make_file(const char *path, const char *text)
{
	_free_ char *above = xstrndup(path, (size_t)(path_base(path) - path));
	MUST(path_make_dirs(above, 0755) == 0 && write_text(path, text) == 0);
}

/* A disk of the child's own, with a node's state and two trees as a mount would have them. */
static inline struct scene begin(uid_t uid)
{
	unsigned n;
	if (getuid() == 0 && uid)
		MUST(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
	int r = view_do((struct view_step[]){{.op = VIEW_UNSHARE, .flags = getuid() ? VIEW_USER : 0}}, 1, &n);
	if (r == -EPERM || r == -ENOSPC || r == -EINVAL)
		_exit(NOT_ALLOWED);
	MUST(r == 0);
	MUST(view_do((struct view_step[]){{.op = VIEW_TMPFS, .to = "/mnt", .data = "size=16m"}}, 1, &n) == 0);
	MUST(path_make_dirs(SANDBOX "/cwd", 0700) == 0 && path_make_dirs(SANDBOX "/tmp", 0700) == 0);
	MUST(path_make_dirs(STATE "/root", 0700) == 0 && path_make_dirs(STATE "/view", 0700) == 0);
	make_file(STATE "/secret", "secret");
	make_file(STATE "/s/8/cwd/theirs", "theirs");
	make_file(STATE "/mnt/A/a", "tree a");
	make_file(STATE "/mnt/A/sub/b", "tree b");
	make_file(STATE "/mnt/F", "tree f");
	make_file("/mnt/host/there/h", "host");
	make_file("/mnt/host/mine", "host");
	struct scene s = {.loop = loop_new()};
	const struct wire_texts none = {0};
	host_init(&s.host, s.loop, NULL);
	MUST(how_read(&none, &s.how, &s.error) == 0);
	s.start = (struct wire_start){.attempt = 7, .task = 107};
	return s;
}

static inline void bind_input(struct scene *s, const char *at, const char *path, int mode, bool is_file)
{
	s->bindings[s->n_bindings++] = (struct wire_input){.path = path, .mode = (uint8_t)mode};
	s->inputs[s->n_inputs++] =
		(struct run_input){.path = path, .at = at, .mode = (uint8_t)mode, .is_file = is_file};
}

static inline void bind_output(struct scene *s, const char *path)
{
	s->bindings[s->n_bindings++] = (struct wire_input){.path = path, .mode = 3};
}

static inline int compose(struct scene *s)
{
	s->start.inputs.at = s->bindings;
	s->start.inputs.n = s->n_bindings;
	const struct view_asked q = {.start = &s->start,
				     .how = &s->how,
				     .state = STATE,
				     .sandbox = SANDBOX,
				     .inputs = s->inputs,
				     .n_inputs = s->n_inputs,
				     .hidden = s->hidden,
				     .shared = s->shared,
				     .host = &s->host,
				     .is_view = !s->has_no_view,
				     .is_root = getuid() == 0,
				     .is_inside = s->is_inside,
				     .has_user = getuid() != 0 || s->has_user};
	return view_compose(&q, &s->view, &s->error);
}

/* As begin.c does before the keeper is asked. */
static inline void furnish(const struct view *v)
{
	for (size_t i = 0; i < v->n_makes; i++) {
		const struct view_make *m = &v->makes[i];
		_free_ char *above = xstrndup(m->path, (size_t)(path_base(m->path) - m->path));
		MUST(path_make_dirs(m->is_file || m->target ? above : m->path, 0755) == 0);
		MUST(!m->target || symlink(m->target, m->path) == 0);
		MUST(!m->is_file || write_text(m->path, "") == 0);
	}
	for (size_t i = 0; i < v->n_copies; i++) {
		size_t n;
		_free_ char *text = path_read(v->copies[i].from, 1000, &n);
		MUST(text && write_text(v->copies[i].to, text) == 0);
	}
}

/* Becomes what the task would be, but for its processes. */
static inline void enter(struct scene *s)
{
	unsigned n;
	if (compose(s)) {
		fprintf(stderr, "%s\n", s->error.text);
		_exit(1);
	}
	furnish(&s->view);
	while (!s->has_no_view && s->view.steps[--s->view.n_steps].op != VIEW_PROC)
		;
	int r = view_do(s->view.steps, s->view.n_steps, &n);
	if (r) {
		const struct view_step *at = &s->view.steps[n];
		fprintf(stderr, "step %u: op %u from %s to %s data %s: %s\n", n, at->op, at->from ? at->from : "",
			at->to ? at->to : "", at->data ? at->data : "", strerror(-r));
		_exit(1);
	}
	MUST(chdir(s->view.directory) == 0);
}

static inline bool holds_in_child(void (*run)(uid_t uid), uid_t uid)
{
	int status = 0;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		run(uid);
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
		return false;
	ASSERT_EQ(status, 0);
	return true;
}

static inline void check(void (*run)(uid_t uid))
{
	bool has_run = holds_in_child(run, getuid());
	if (getuid() == 0)
		has_run |= holds_in_child(run, USER);
	if (!has_run)
		SKIP("no namespaces");
}

#define fails(x, error) ((x) < 0 && errno == (error))

#endif
