/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/node.h"

#include "common/conn.h"
#include "common/path.h"
#include "common/secret.h"
#include "common/service.h"
#include "tools/embed.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPEN_USEC 5000000u
#define READ_SIZE (4u << 20) /* a pack at a time */

struct node {
	struct loop *loop;
	struct conn *conn;
	struct wire_hello hello;
	char *directory;
	char error[1200];
	bool is_open, is_over;
	int status;
	/* ---- the request under way */
	const struct node_ask *ask;
	struct call call;
	void *reply;
	int result;
	bool is_interrupted;
};

static int _printf_(3, 4) refuse(struct node *n, int error, const char *fmt, ...)
{
	va_list args;
	assert(error < 0);
	va_start(args, fmt);
	vsnprintf(n->error, sizeof n->error, fmt, args);
	va_end(args);
	return error;
}

const char *node_error(const struct node *n)
{
	return n->error;
}

const char *node_directory(const struct node *n)
{
	return n->directory;
}

/* ---- the node's programs */

char *node_program(const char *variable, const char *const places[])
{
	const char *told = getenv(variable);
	char exe[PATH_MAX] = "";
	if (told && *told)
		return xstrdup(told);
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
		return NULL;
	_free_ char *bin = xstrndup(exe, (size_t)(path_base(exe) - exe));
	for (; *places; places++) {
		_free_ char *path = **places == '/' ? xstrdup(*places) : xasprintf("%s%s", bin, *places);
		if (access(path, X_OK) == 0)
			return steal(path);
	}
	return NULL;
}

/* A node of this user for data alone. It prints nothing but what goes wrong. */
static int start_vinefs(struct node *n)
{
	static const char *const places[] = {"vinefs", "../sbin/vinefs", "../vinefs/vinefs", SBINDIR "/vinefs", NULL};
	_free_ char *program = node_program("VINE_VINEFS", places);
	int pipe_fds[2], status = 0;
	if (!program)
		return refuse(n, -ENOENT,
			      "no vinefs runs here, and its program is not found: set VINE_VINEFS to its path");
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return refuse(n, -errno, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(pipe_fds[1], STDOUT_FILENO);
		dup2(pipe_fds[1], STDERR_FILENO);
		_free_ char *state = xasprintf("--state=%s", n->directory);
		execl(program, program, "--vined=none", "--detach", state, (char *)NULL);
		dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
		_exit(EXIT_VINE_FAILED);
	}
	close(pipe_fds[1]);
	_cleanup_(buf_fini) struct buf said = {0};
	ssize_t got;
	/* All who could write into it have ended, or are the daemon's, which keeps it no longer than until it is ready. */
	while (said.n < sizeof n->error && (got = read(pipe_fds[0], buf_reserve(&said, 512), 512)) > 0) {
		buf_grew(&said, (size_t)got);
		if (strstr(buf_text(&said), "vinefs ready"))
			break;
	}
	close(pipe_fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return refuse(n, -errno, "%s: %s", program, strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	char *last = (char *)(uintptr_t)buf_text(&said);
	last[strcspn(last, "\n")] = 0;
	return refuse(n, -EIO, "%s", *last ? last : "vinefs did not start");
}

/* ---- the connection */

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct node *n = conn_owner(c);
	assert(peer);
	n->is_open = true;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct node *n = conn_owner(c);
	if (h->type == WIRE_SEAL_PROGRESS && n->ask && n->ask->on_progress)
		n->ask->on_progress(n->ask->arg, message);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct node *n = conn_owner(c);
	n->is_over = true;
	n->status = error ? -abs(error) : -ECONNRESET;
	if (!*n->error)
		refuse(n, n->status, "the node's vinefs: %s", reason && *reason ? reason : strerror(-n->status));
}

static int meet(struct node *n)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	_free_ char *path = path_join(n->directory, "vinefs.sock");
	struct net_address a;
	int r = net_parse(path, &a), fd = r ? r : net_connect(&a);
	if (fd < 0)
		return refuse(n, fd, "%s: %s", path, strerror(-fd));
	const struct conn_options o = {.ops = &ops, .owner = n, .hello = &n->hello, .peer = TLS_ROLE_NODE};
	n->error[0] = 0;
	n->is_over = false;
	n->conn = conn_new(n->loop, fd, false, &o);
	uint64_t end = loop_now_usec(n->loop) + OPEN_USEC;
	while (!n->is_open && !n->is_over && loop_now_usec(n->loop) < end)
		loop_turn(n->loop, 100);
	if (n->is_open)
		return 0;
	if (!n->is_over)
		refuse(n, -ETIMEDOUT, "%s: no answer", path);
	conn_free(steal(n->conn));
	return n->is_over ? n->status : -ETIMEDOUT;
}

static void on_signal(int signo, void *arg)
{
	struct node *n = arg;
	assert(signo);
	n->is_interrupted = true;
}

static char *find_directory(void)
{
	const char *told = getenv("VINE_NODE");
	if (!told || !*told)
		return embed_first_node() ?: service_state_path("node");
	size_t n = strlen(told);
	return n > 5 && streq(told + n - 5, ".sock") && strchr(told, '/')
		       ? xstrndup(told, (size_t)(strrchr(told, '/') - told))
		       : xstrdup(told);
}

/* It could not be started: perhaps because somebody else is just starting it, or its keeper is. */
static int wait_for_it(struct node *n, int error)
{
	_free_ char *why = xstrdup(n->error);
	for (int i = 0; i < 50; i++) {
		if (meet(n) == 0)
			return 0;
		const struct timespec pause = {.tv_nsec = 50000000};
		nanosleep(&pause, NULL);
		/* Only its being in use says that there is one. */
		if (!strstr(why, " in use "))
			break;
	}
	return refuse(n, error, "%s", why);
}

int node_open(struct node **out, bool may_start)
{
	struct node *n = *out = NEW(struct node);
	const char *told = getenv("VINE_NODE");
	n->directory = find_directory();
	n->hello =
		(struct wire_hello){.role = TLS_ROLE_CLIENT, .version = PACKAGE_VERSION, .cluster = "", .name = "vine"};
	secret_random(&n->hello.instance, sizeof n->hello.instance);
	n->loop = loop_new();
	if (!n->loop)
		return refuse(n, -errno, "epoll: %s", strerror(errno));
	int r = meet(n);
	if (r != -ENOENT && r != -ECONNREFUSED)
		return r;
	/* One that was named is somebody's to start. */
	if (told && *told)
		return refuse(n, -ENOENT, "no vinefs runs in %s, which VINE_NODE names; start it: vinefs --state=%s",
			      n->directory, n->directory);
	if (!may_start)
		return refuse(n, -ENOENT, "no vinefs runs here; `vine seal PATH` and `vine mount PATH DIR` start one");
	r = start_vinefs(n);
	return r ? wait_for_it(n, r) : meet(n);
}

void node_free(struct node *n)
{
	if (!n)
		return;
	call_stop(&n->call);
	conn_free(n->conn);
	loop_free(n->loop);
	free(n->directory);
	free(n->reply);
	free(n);
}

/* ---- asking */

static bool on_data(struct call *call, const void *p, size_t size)
{
	struct node *n = container_of(call, struct node, call);
	if (!n->result && !n->ask->on_data(n->ask->arg, p, size))
		n->result = -ECANCELED;
	return true;
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct node *n = container_of(call, struct node, call);
	n->result = error;
	if (error && type == WIRE_STATUS) {
		refuse(n, error, "%s", ((const struct wire_status *)message)->reason);
	} else if (error) {
		if (!*n->error)
			refuse(n, error, "the node's vinefs: %s", strerror(-error));
	} else if (type != n->ask->answer) {
		n->result =
			refuse(n, -EPROTO, "the node's vinefs answers with something else; it is of another version");
	} else {
		n->reply = wire_copy(type, message);
	}
}

static void on_end(struct call *call, int error)
{
	struct node *n = container_of(call, struct node, call);
	if (!n->result && error)
		n->result = refuse(n, error, "%s", strerror(-error));
}

int node_ask(struct node *n, const struct node_ask *a, void **reply)
{
	assert(!n->ask && a->type && a->answer);
	n->error[0] = 0;
	n->ask = a;
	n->result = 0;
	n->reply = NULL;
	n->call = (struct call){.on_reply = on_reply, .on_data = a->on_data ? on_data : NULL, .on_end = on_end};
	int r = n->is_over ? -ECONNRESET : call_start(&n->call, n->conn, a->type, a->message, 0);
	if (r)
		return refuse(n, r, "the node's vinefs: %s", strerror(-r));
	while (n->call.conn && !n->result && !n->is_interrupted && r >= 0)
		r = loop_turn(n->loop, -1);
	call_stop(&n->call);
	n->ask = NULL;
	if (n->is_interrupted)
		n->result = refuse(n, -EINTR, "interrupted");
	void *got = steal(n->reply);
	if (n->result || !reply)
		free(got);
	else
		*reply = got;
	return n->result;
}

int node_ask_word(struct node *n, const struct node_ask *a, const char **word, void **reply)
{
	int r = node_ask(n, a, reply);
	if (r != -ENOENT || **word == '/' || !**word)
		return r;
	_free_ char *first = xstrdup(n->error);
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *absolute = path_join(here ?: "/", *word);
	*word = absolute;
	r = node_ask(n, a, reply);
	*word = "";
	/* That it is known as a path, but something else is wrong, tells more than that it is no name. */
	return r == -ENOENT ? refuse(n, r, "%s", first) : r;
}

int node_catch_signals(struct node *n)
{
	int r = loop_on_signal(n->loop, SIGINT, on_signal, n);
	return r ? r : loop_on_signal(n->loop, SIGTERM, on_signal, n);
}

/* ---- trees */

static bool on_bytes(void *arg, const void *p, size_t n)
{
	buf_put(arg, p, n);
	return true;
}

/* As data/ wants it: any part of a blob. A pack at a time is fetched, for its other files are wanted next. */
static int read_blob(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	struct node_tree *t = arg;
	uint32_t number = (uint32_t)(blob - tree_blob(t->index, 0));
	assert(number < tree_n_blobs(t->index));
	while (n) {
		if (t->blob != number || offset < t->offset || offset >= t->offset + t->bytes.n) {
			uint64_t from = blob->kind == TREE_BLOB_PACK && blob->size <= READ_SIZE * 2 ? 0 : offset;
			uint64_t size = min(blob->size - from, (uint64_t)READ_SIZE * 2);
			const struct wire_read_blob m = {
				.tree = *tree_id(t->index), .blob = number, .offset = from, .size = size};
			buf_consume(&t->bytes, t->bytes.n);
			t->blob = number;
			t->offset = from;
			int r = node_ask(t->node,
					 &(struct node_ask){.type = WIRE_READ_BLOB,
							    .message = &m,
							    .answer = WIRE_STATUS,
							    .on_data = on_bytes,
							    .arg = &t->bytes},
					 NULL);
			if (!r && t->bytes.n != m.size)
				r = -EIO;
			if (r) {
				t->blob = TREE_NO_BLOB;
				return r;
			}
		}
		size_t part = min(n, (size_t)(t->offset + t->bytes.n - offset));
		memcpy(p, t->bytes.at + (offset - t->offset), part);
		p = (char *)p + part;
		offset += part;
		n -= part;
	}
	return 0;
}

int node_tree_open(struct node *n, const char *text, struct node_tree *t)
{
	struct wire_read_index m = {.tree = text};
	_cleanup_(buf_fini) struct buf vti = {0};
	_free_ void *reply = NULL;
	*t = (struct node_tree){.node = n, .blob = TREE_NO_BLOB};
	t->reader = (struct blob_reader){.arg = t, .read = read_blob};
	int r = node_ask_word(
		n,
		&(struct node_ask){
			.type = WIRE_READ_INDEX, .message = &m, .answer = WIRE_INDEX, .on_data = on_bytes, .arg = &vti},
		&m.tree, &reply);
	if (r)
		return r;
	const struct wire_index *index = reply;
	/* tree_take wants memory of its own, from its beginning. */
	void *p = xmemdup(vti.at, vti.n);
	r = tree_take(p, vti.n, &index->tree, &t->index);
	if (r)
		return refuse(n, r, "%s: the index of the tree is damaged: %s", text, strerror(-r));
	t->rest = xstrdup(index->rest);
	return 0;
}

void node_tree_fini(struct node_tree *t)
{
	if (t->index)
		tree_free(t->index);
	buf_fini(&t->bytes);
	free(t->rest);
	*t = (struct node_tree){.blob = TREE_NO_BLOB};
}
