/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/embed.h"

#include "common/path.h"
#include "common/secret.h"
#include "libvineclient/vine.h"
#include "tools/node.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_USEC 60000000u
#define END_USEC 30000000u
#define PAUSE_NSEC 10000000
#define ROOM_LEAST (1u << 20)

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void pause_a_little(void)
{
	const struct timespec t = {.tv_nsec = PAUSE_NSEC};
	nanosleep(&t, NULL);
}

/* ---- one daemon */

static char *find_program(struct embed *e, const char *program)
{
	static const char *const vined[] = {"vined", "../sbin/vined", "../vined/vined", SBINDIR "/vined", NULL};
	static const char *const vinefs[] = {"vinefs", "../sbin/vinefs", "../vinefs/vinefs", SBINDIR "/vinefs", NULL};
	bool is_vined = streq(program, "vined");
	const char *variable = is_vined ? "VINE_VINED" : "VINE_VINEFS";
	char *path = node_program(variable, is_vined ? vined : vinefs);
	if (!path)
		embed_refuse(e, -ENOENT, "the program %s is not found: set %s to its path", program, variable);
	return path;
}

/* Away from the terminal, and from the directory that somebody may want to remove. */
static _Noreturn void become(const char *path, const char *const words[], int out)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	setenv("VINED_IDLE_EXIT", EMBED_IDLE_EXIT, 0);
	setenv("VINEFS_IDLE_EXIT", EMBED_IDLE_EXIT, 0);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(out, STDERR_FILENO) >= 0 && chdir("/") == 0)
		execv(path, (char **)(uintptr_t)words);
	dprintf(out, "%s: %s\n", path, strerror(errno));
	_exit(EXIT_VINE_FAILED);
}

int embed_spawn(struct embed *e, const char *program, const char *const words[], struct embed_child *c)
{
	int ends[2];
	*c = (struct embed_child){.out = -1, .path = find_program(e, program)};
	if (!c->path)
		return -ENOENT;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return embed_refuse(e, -errno, "pipe: %s", strerror(errno));
	c->pid = fork();
	if (c->pid == 0)
		become(c->path, words, ends[1]);
	close(ends[1]);
	c->out = ends[0];
	return c->pid < 0 ? embed_refuse(e, -errno, "%s: %s", c->path, strerror(errno)) : 0;
}

/* Where a daemon's log has no room either, nobody says it. */
static bool is_full(const char *state)
{
	struct statvfs fs;
	return statvfs(state, &fs) == 0 &&
	       ((uint64_t)fs.f_bavail * fs.f_frsize < ROOM_LEAST || (fs.f_files && !fs.f_favail));
}

/* What went wrong, and of a full disk what to do about it. */
static int explain(struct embed *e, const char *path, char *said)
{
	char *last = said;
	for (char *p = said; *p && p[1]; p++)
		if (*p == '\n')
			last = p + 1;
	last[strcspn(last, "\n")] = 0;
	const char *what = e->is_join ? "this machine cannot join the cluster at" : "cluster";
	const char *failed = e->is_join ? "" : " cannot be started";
	if (strstr(last, strerror(ENOSPC)) || is_full(e->state))
		return embed_refuse(e, -ENOSPC,
				    "%s %s%s: %s; the disk is full: make room below %s, or set "
				    "XDG_STATE_HOME to a directory elsewhere",
				    what, e->name, failed, last, e->state);
	return embed_refuse(e, strstr(last, " in use by ") ? -EBUSY : -EIO, "%s %s%s: %s", what, e->name, failed,
			    *last ? last : path);
}

int embed_wait(struct embed *e, struct embed_child *c)
{
	_cleanup_(buf_fini) struct buf said = {0};
	ssize_t got;
	int status = EXIT_VINE_FAILED << 8;
	assert(c->pid > 0 && c->out >= 0);
	/* Whoever could write into it ends when the daemon is ready, or cannot be. */
	while (said.n < sizeof e->error && (got = read(c->out, buf_reserve(&said, 512), 512)) > 0)
		buf_grew(&said, (size_t)got);
	close_fd(steal_fd(&c->out));
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	_free_ char *path = steal(c->path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		e->n_started++;
		return 0;
	}
	_free_ char *text = xstrdup(buf_text(&said));
	return explain(e, path, text);
}

static void child_drop(struct embed_child *c)
{
	if (c->out >= 0)
		close_fd(steal_fd(&c->out));
	free(steal(c->path));
}

static int start_vined(struct embed *e)
{
	struct embed_child c = {.out = -1};
	uint8_t secret[SECRET_SIZE];
	struct conf_error error = {""};
	_free_ char *secret_path = path_join(e->state, "secret");
	_free_ char *state = xasprintf("--state=%s", e->state), *socket = xasprintf("--socket=%s/vined.sock", e->state);
	_free_ char *secret_word = xasprintf("--secret=%s", secret_path), *listen = xasprintf("--listen=%s", e->listen);
	const char *words[] = {"vined", state, socket, secret_word, "--detach", *e->listen ? listen : NULL, NULL};
	/* Nodes want it too, and must not come before it is there. */
	if (secret_read_or_make(secret_path, secret, &error) < 0) {
		_free_ char *text = xstrdup(error.text);
		return explain(e, secret_path, text);
	}
	secret_wipe(secret, sizeof secret);
	e->vined = EMBED_STARTING;
	int r = embed_record(e);
	if (!r)
		r = embed_spawn(e, "vined", words, &c);
	if (!r)
		r = embed_wait(e, &c);
	child_drop(&c);
	return r;
}

static int begin_node(struct embed *e, unsigned i, struct embed_child *c)
{
	const struct embed_node *n = &e->nodes[i];
	_free_ char *state = xasprintf("--state=%s", n->state), *vined = xasprintf("--vined=%s/vined.sock", e->state);
	_free_ char *secret = xasprintf("--secret=%s/secret", e->state), *name = xasprintf("--name=n%u", i + 1);
	_free_ char *cores = xasprintf("--cores=%" PRIu64, n->cores),
		    *memory = xasprintf("--memory=%" PRIu64, n->memory);
	_free_ char *cache = xasprintf("--cache-size=%" PRIu64, n->cache);
	/* It reaches vined by a socket; others reach it where they reach vined, unless they are told. */
	const char *colon = strrchr(e->listen, ':'), *told = getenv("VINEFS_LISTEN");
	_free_ char *listen =
		colon && !(told && *told) ? xasprintf("--listen=%.*s:0", (int)(colon - e->listen), e->listen) : NULL;
	const char *words[13] = {"vinefs", state, vined, secret, "--reconnect=500ms", "--detach", cores, memory, cache};
	unsigned n_words = 9;
	if (e->n_nodes > 1)
		words[n_words++] = name;
	if (listen)
		words[n_words++] = listen;
	return embed_spawn(e, "vinefs", words, c);
}

/* All that do not run, at the same time. */
static int start_nodes(struct embed *e)
{
	struct embed_child children[EMBED_NODES_MOST] = {{.pid = 0}};
	int r = 0;
	for (unsigned i = 0; i < e->n_nodes && !r; i++) {
		if (!embed_owner(e->nodes[i].state, EMBED_NODE))
			r = begin_node(e, i, &children[i]);
		if (r)
			child_drop(&children[i]);
	}
	for (unsigned i = 0; i < e->n_nodes; i++) {
		int error = children[i].path ? embed_wait(e, &children[i]) : 0;
		/* A command that was killed had just started it. */
		if (error == -EBUSY && embed_owner(e->nodes[i].state, EMBED_NODE))
			error = 0;
		r = r ? r : error;
	}
	return r;
}

/* ---- all of it */

static int lock_starting(struct embed *e)
{
	_free_ char *path = path_join(e->state, "start.lock");
	_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint64_t end = now_usec() + START_USEC;
	if (fd < 0) {
		_free_ char *text = xasprintf("%s: %s", path, strerror(errno));
		return explain(e, path, text);
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return embed_refuse(e, -errno, "%s: %s", path, strerror(errno));
		if (now_usec() > end)
			return embed_refuse(
				e, -ETIMEDOUT,
				"cluster %s: another command has been starting it for %u s; see %s/vined.log", e->name,
				START_USEC / 1000000, e->state);
		pause_a_little();
	}
	return steal_fd(&fd);
}

static bool is_any_up(const struct embed *e)
{
	bool is_up = embed_vined(e) != 0;
	for (unsigned i = 0; i < e->n_nodes; i++)
		is_up = is_up || embed_owner(e->nodes[i].state, EMBED_NODE);
	return is_up;
}

static int count_nodes(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], "nodes"))
			*(unsigned *)arg = (unsigned)strtoul(cells[i], NULL, 10);
	return 0;
}

static bool has_joined(struct vine *v)
{
	unsigned n = 0;
	return vine_query(v, "cluster", NULL, count_nodes, &n) >= 0 && n;
}

/* One that was killed a moment ago still has its directory. */
static int start_nodes_until(struct embed *e, uint64_t end)
{
	int r;
	while ((r = start_nodes(e)) == -EBUSY && now_usec() < end)
		pause_a_little();
	return r;
}

/* Those that were there before come by themselves, if they are not just ending: then they are started again. */
static int wait_for_nodes(struct embed *e, struct vine *v, uint64_t end)
{
	int r = start_nodes_until(e, end);
	while (!r && !has_joined(v)) {
		if (now_usec() > end)
			return embed_refuse(e, -ETIMEDOUT,
					    "cluster %s: its node has not joined within %u s; see %s/vinefs.log",
					    e->name, START_USEC / 1000000, e->nodes[0].state);
		pause_a_little();
		r = start_nodes_until(e, end);
	}
	return r;
}

static int start_all(struct embed *e)
{
	uint64_t end = now_usec() + START_USEC;
	bool was_up = embed_is_up(e), was_any = is_any_up(e);
	int r = was_up ? 0 : start_vined(e);
	/* One that is ending still has the directory. */
	while (r == -EBUSY && now_usec() < end && !embed_is_up(e)) {
		pause_a_little();
		r = start_vined(e);
	}
	if (r && !embed_is_up(e))
		return r;
	e->vined = embed_vined(e);
	r = embed_record(e);
	/* Connected, so that a short idle-exit does not end it before its nodes have come. */
	struct vine *v = NULL;
	if (!r && vine_open(&v, e->name, NULL) < 0)
		return embed_refuse(e, -EIO, "%s", vine_error());
	if (!r)
		r = was_any && !was_up ? wait_for_nodes(e, v, end) : start_nodes_until(e, end);
	vine_close(v, 1);
	return r;
}

static void say(const struct embed *e, bool was_any)
{
	char text[96] = "";
	if (!embed_stays(e))
		snprintf(text, sizeof text, "; it ends when it has been idle for a while, `vine up` keeps it");
	if (e->n_started && !e->is_quiet)
		tool_fail(NULL, "cluster %s (%s) %s%s", e->name, e->state,
			  was_any ? "had lost a daemon, which is started again" : "is started", was_any ? "" : text);
}

int embed_bring_up(struct embed *e, unsigned n_nodes)
{
	char *real = NULL;
	int r = embed_place(e, e->state, &real);
	if (r)
		return r;
	free(e->state);
	e->state = real;
	_close_ int lock = lock_starting(e);
	if (lock < 0)
		return lock;
	embed_read(e);
	if (embed_is_foreign(e))
		return n_nodes ? embed_refuse(e, -EEXIST,
					      "cluster %s is up already: a vined was started there by hand, pid %d",
					      e->name, (int)embed_vined(e))
			       : 0;
	bool was_any = is_any_up(e);
	if (was_any && n_nodes && e->n_nodes && n_nodes != e->n_nodes)
		return embed_refuse(e, -EEXIST,
				    "cluster %s is up with %u node%s; `vine down` first, then `vine up --nodes %u`",
				    e->name, e->n_nodes, e->n_nodes == 1 ? "" : "s", n_nodes);
	if (e->is_to_stay)
		r = embed_set_stay(e, true);
	if (!r && (!e->n_nodes || (n_nodes && n_nodes != e->n_nodes)))
		r = embed_plan(e, n_nodes ? n_nodes : 1);
	if (!r)
		r = start_all(e);
	if (!r)
		say(e, was_any);
	return r;
}

/* ---- the end */

static int ask_to_end(struct embed *e, const char *program, pid_t pid)
{
	if (pid && kill(pid, SIGTERM) < 0 && errno != ESRCH)
		return embed_refuse(e, -errno, "%s, pid %d: %s", program, (int)pid, strerror(errno));
	return 0;
}

static int wait_for_end(struct embed *e, const char *state, const char *program, pid_t pid)
{
	uint64_t end = now_usec() + END_USEC;
	while (pid && embed_owner(state, program) == pid) {
		if (now_usec() > end)
			return embed_refuse(e, -ETIMEDOUT,
					    "%s, pid %d, of %s does not end within %u s; its log there says more",
					    program, (int)pid, state, END_USEC / 1000000);
		pause_a_little();
	}
	return 0;
}

int embed_end(struct embed *e, const char *state, const char *program)
{
	pid_t pid = embed_owner(state, program);
	int r = ask_to_end(e, program, pid);
	return r ? r : wait_for_end(e, state, program, pid);
}

static int end_nodes(struct embed *e)
{
	pid_t pids[EMBED_NODES_MOST];
	int r = 0;
	for (unsigned i = 0; i < e->n_nodes && !r; i++) {
		/* One that was there before stays for those who use it; it ends when they do not. */
		pids[i] = embed_is_adopted(e, e->nodes[i].state) ? 0 : embed_owner(e->nodes[i].state, EMBED_NODE);
		r = ask_to_end(e, EMBED_NODE, pids[i]);
	}
	for (unsigned i = 0; i < e->n_nodes && !r; i++)
		r = wait_for_end(e, e->nodes[i].state, EMBED_NODE, pids[i]);
	return r;
}

int embed_take_down(struct embed *e)
{
	_close_ int lock = lock_starting(e);
	if (lock < 0)
		return lock;
	embed_read(e);
	int r = embed_set_stay(e, false);
	if (!r)
		r = end_nodes(e);
	if (!r)
		r = embed_end(e, e->state, "vined");
	if (r)
		return r;
	while (e->n_nodes)
		free(e->nodes[--e->n_nodes].state);
	e->vined = 0;
	return embed_record(e);
}
