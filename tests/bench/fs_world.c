/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fs_world.h"
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORDINARY_ID = 65534, TASK_MSEC = 60000 };

unsigned fs_scaled(const struct fs_world *w, unsigned n)
{
	return w->is_quick ? max(n / 16, 1u) : n;
}

/* ---- users */

static const char *const user_names[FS_USERS] = {"root", "user"};

/* In a child: becomes that user, with his home and his node. */
static void become(const struct fs_world *w, enum fs_user user)
{
	char home[128];
	snprintf(home, sizeof home, "%s/%s", w->directory, user_names[user]);
	setenv("HOME", home, 1);
	setenv("VINE_NODE", w->nodes[user].state, 1);
	setenv("VINE", w->nodes[user].cluster, 1);
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	if (user == FS_USER && (setgroups(0, NULL) < 0 || setresgid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID) < 0 ||
				setresuid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID) < 0)) {
		perror("become an ordinary user");
		_exit(127);
	}
	/* Whoever changes his ids loses it; and /proc/self is root's without it. */
	prctl(PR_SET_DUMPABLE, 1);
	if (chdir("/") < 0)
		_exit(127);
}

static pid_t start_as(const struct fs_world *w, enum fs_user user, const char *const argv[], int in, int out)
{
	assert(argv[0]);
	fflush(NULL);
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	become(w, user);
	if (in >= 0)
		dup2(in, STDIN_FILENO);
	if (out >= 0)
		dup2(out, STDOUT_FILENO);
	execvp(argv[0], (char **)(uintptr_t)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int fs_try(const struct fs_world *w, enum fs_user user, const char *const argv[])
{
	int status = -1;
	_close_ int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t pid = start_as(w, user, argv, -1, nowhere);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		fs_fail("%s: %s", argv[0], strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void fs_run(const struct fs_world *w, enum fs_user user, const char *const argv[])
{
	int status = fs_try(w, user, argv);
	if (status)
		fs_fail("%s %s %s (%s): status %d", argv[0], argv[1], argv[2] ? argv[2] : "", user_names[user], status);
}

void fs_seal(const struct fs_world *w, enum fs_user user, const char *path, char id[80])
{
	int out[2], status = -1;
	if (pipe2(out, O_CLOEXEC) < 0)
		fs_fail("pipe: %s", strerror(errno));
	pid_t pid = start_as(w, user, (const char *const[]){"vine", "seal", "-q", path, NULL}, -1, out[1]);
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	bool is_said = f && fgets(id, 80, f);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0 || !is_said)
		fs_fail("vine seal %s: status %x", path, (unsigned)status);
	id[strcspn(id, " \n")] = 0;
	fclose(f);
}

/* The first directory on the way to `path` that only its owner may pass. */
static bool is_shut(const char *path, char at[PATH_MAX])
{
	struct stat st;
	snprintf(at, PATH_MAX, "%s", path);
	for (char *p = at + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (stat(at, &st) == 0 && !(st.st_mode & S_IXOTH))
			return true;
		*p = '/';
	}
	return false;
}

void fs_open_way(const struct fs_world *w, const char *const paths[], unsigned n)
{
	char shut[PATH_MAX], held[8][PATH_MAX];
	assert(n <= countof(held));
	for (unsigned i = 0; i < n; i++) {
		snprintf(held[i], PATH_MAX, "%s/held%u", w->directory, i);
		if (!paths[i] || !is_shut(paths[i], shut))
			held[i][0] = 0;
		else if (mkdir(held[i], 0755) < 0 || mount(paths[i], held[i], NULL, MS_BIND | MS_REC, NULL) < 0)
			fs_fail("%s: %s", paths[i], strerror(errno));
	}
	/* All are held before the first is covered: one may lie beside another. */
	for (unsigned i = 0; i < n; i++) {
		if (!held[i][0])
			continue;
		if (is_shut(paths[i], shut) && mount("vine-bench", shut, "tmpfs", MS_NODEV, "mode=755,size=1m") < 0)
			fs_fail("%s: %s", shut, strerror(errno));
		if (path_make_dirs(paths[i], 0755) < 0 || mount(held[i], paths[i], NULL, MS_MOVE, NULL) < 0)
			fs_fail("%s: %s", paths[i], strerror(errno));
	}
}

/* ---- nodes */

static pid_t parent_of(const char *pid, char name[32])
{
	_free_ char *path = xasprintf("/proc/%s/stat", pid);
	int parent = 0;
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%31[^)]) %*c %d", name, &parent) != 2)
		parent = 0;
	if (f)
		fclose(f);
	return parent;
}

pid_t fs_worker(const struct fs_world *w, enum fs_user user)
{
	pid_t found = 0;
	const struct dirent *e;
	char name[32];
	assert(w->nodes[user].keeper > 1);
	DIR *d = opendir("/proc");
	while (d && !found && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && parent_of(e->d_name, name) == w->nodes[user].keeper &&
		    streq(name, "vinefs"))
			found = (pid_t)atoi(e->d_name);
	if (d)
		closedir(d);
	return found;
}

/* Starts a daemon of that user, until its ready line. Its reading end stays open: it may say more. */
static pid_t start_daemon(const struct fs_world *w, enum fs_user user, const char *const argv[])
{
	int out[2];
	char line[256];
	if (pipe2(out, O_CLOEXEC) < 0)
		fs_fail("pipe: %s", strerror(errno));
	pid_t pid = start_as(w, user, argv, -1, out[1]);
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	_free_ char *ready = xasprintf("%s ready", argv[0]);
	if (!f || !fgets(line, sizeof line, f) || !has_prefix(line, ready))
		fs_fail("%s does not start as %s: is it in PATH, as make bench has it?", argv[0], user_names[user]);
	return pid;
}

static void start_vined(struct fs_world *w, enum fs_user user)
{
	struct fs_node *node = &w->nodes[user];
	snprintf(node->cluster, sizeof node->cluster, "%s/%s/vined", w->directory, user_names[user]);
	_free_ char *state = xasprintf("--state=%s", node->cluster);
	_free_ char *log = xasprintf("--log=%s.log", node->cluster);
	node->vined = start_daemon(w, user, (const char *const[]){"vined", state, log, NULL});
}

void fs_node_start(struct fs_world *w, enum fs_user user)
{
	static unsigned n_started;
	struct fs_node *node = &w->nodes[user];
	assert(!node->keeper);
	if (!node->vined)
		start_vined(w, user);
	snprintf(node->state, sizeof node->state, "%s/%s/node%u", w->directory, user_names[user], n_started++);
	_free_ char *state = xasprintf("--state=%s", node->state);
	_free_ char *vined = xasprintf("--vined=%s/vined.sock", node->cluster);
	_free_ char *log = xasprintf("--log=%s.log", node->state);
	node->keeper = start_daemon(w, user, (const char *const[]){"vinefs", vined, state, log, NULL});
}

void fs_node_stop(struct fs_world *w, enum fs_user user)
{
	struct fs_node *node = &w->nodes[user];
	int status;
	assert(node->keeper > 1);
	kill(node->keeper, SIGTERM);
	if (waitpid(node->keeper, &status, 0) != node->keeper)
		fs_fail("the keeper: %s", strerror(errno));
	node->keeper = 0;
	_free_ char *cache = path_join(node->state, "cache");
	fs_run(w, user, (const char *const[]){"rm", "-rf", cache, NULL});
}

void fs_drop_caches(void)
{
	sync();
	_close_ int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "3", 1) != 1)
		fs_fail("/proc/sys/vm/drop_caches: %s", strerror(errno));
}

/* ---- agents */

const char *fs_place_name(enum fs_user user, enum fs_way way)
{
	static const char *const names[FS_WAYS][FS_USERS] = {
		{"view, root", "view, user"}, {"private, root", "private, user"}, {"plain, root", "plain, user"}};
	return names[way][user];
}

static void make_directory(const char *path, enum fs_user user)
{
	int r = path_make_dirs(path, 0755);
	if (r < 0 || (user == FS_USER && chown(path, ORDINARY_ID, ORDINARY_ID) < 0))
		fs_fail("%s: %s", path, strerror(r < 0 ? -r : errno));
}

/* An agent as a task: its output would be a file, so it speaks over FIFOs. */
static void start_task(struct fs_agent *a, const char *input, const char *self)
{
	char path[2][160];
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof path[i], "%s/%s/%s", a->w->directory, user_names[a->user], i ? "from" : "to");
		unlink(path[i]);
		if (mkfifo(path[i], 0600) < 0 || (a->user == FS_USER && chown(path[i], ORDINARY_ID, ORDINARY_ID) < 0))
			fs_fail("%s: %s", path[i], strerror(errno));
	}
	const char *const argv[] = {"vine", "run", "-i",     input,   "-i",    self,
				    "--",   self,  FS_AGENT, path[0], path[1], NULL};
	int to = open(path[0], O_RDWR | O_CLOEXEC), from = open(path[1], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct pollfd ready = {.fd = from, .events = POLLIN};
	if (to < 0 || from < 0)
		fs_fail("%s: %s", path[0], strerror(errno));
	a->pid = start_as(a->w, a->user, argv, -1, -1);
	/* Until it writes nobody has the other end, and reading is at its end. */
	if (poll(&ready, 1, TASK_MSEC) <= 0 || fcntl(from, F_SETFL, 0) < 0)
		fs_fail("no task in a view (%s)", fs_place_name(a->user, FS_VIEW));
	a->to = fdopen(to, "w");
	a->from = fdopen(from, "r");
}

static void start_command(struct fs_agent *a, const char *what, const char *self)
{
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		fs_fail("pipe: %s", strerror(errno));
	const char *const inside[] = {"vine", "mount", "-q", what, a->directory, "--", self, FS_AGENT, NULL};
	const char *const bare[] = {self, FS_AGENT, NULL};
	a->pid = start_as(a->w, a->user, what && a->way == FS_PRIVATE ? inside : bare, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	a->to = fdopen(in[1], "w");
	a->from = fdopen(out[0], "r");
}

static struct fs_agent *agent_new(const struct fs_world *w, enum fs_user user, enum fs_way way, char self[PATH_MAX])
{
	struct fs_agent *a = xcalloc(1, sizeof *a);
	*a = (struct fs_agent){.w = w, .user = user, .way = way};
	snprintf(a->directory, sizeof a->directory, "%s/%s/m", w->directory, user_names[user]);
	make_directory(a->directory, user);
	ssize_t n = readlink("/proc/self/exe", self, PATH_MAX - 1);
	if (n < 0)
		fs_fail("/proc/self/exe: %s", strerror(errno));
	self[n] = 0;
	return a;
}

static struct fs_agent *greet(struct fs_agent *a)
{
	char line[16];
	if (!a->to || !a->from || !fgets(line, sizeof line, a->from) || !streq(line, "agent\n"))
		fs_fail("no agent in a mount (%s)", fs_place_name(a->user, a->way));
	return a;
}

struct fs_agent *fs_agent_as_task(const struct fs_world *w, enum fs_user user, const char *input)
{
	char self[PATH_MAX];
	struct fs_agent *a = agent_new(w, user, FS_VIEW, self);
	start_task(a, input, self);
	return greet(a);
}

struct fs_agent *fs_agent_new(const struct fs_world *w, enum fs_user user, enum fs_way way, const char *what,
			      bool is_raw)
{
	char id[80], self[PATH_MAX];
	struct fs_agent *a = agent_new(w, user, way, self);
	/* By its id: a path whose files are younger than two seconds is a draft, whatever was sealed. */
	if (what && !is_raw) {
		fs_seal(w, user, what, id);
		what = id;
	}
	if (what && way == FS_PLAIN)
		fs_run(w, user, (const char *const[]){"vine", "mount", "-q", what, a->directory, NULL});
	a->is_mounted = what && way == FS_PLAIN;
	if (what && way == FS_VIEW) {
		_free_ char *input = xasprintf("%s%s:%s", *what == '/' ? "" : "tree:", what, a->directory);
		start_task(a, input, self);
	} else {
		start_command(a, what, self);
	}
	return greet(a);
}

void fs_agent_free(struct fs_agent *a)
{
	int status = -1;
	if (!a)
		return;
	fclose(a->to);
	fclose(a->from);
	if (waitpid(a->pid, &status, 0) < 0 || status != 0)
		fs_fail("the agent (%s) ended with status %x", fs_place_name(a->user, a->way), (unsigned)status);
	if (a->is_mounted)
		fs_run(a->w, a->user, (const char *const[]){"vine", "umount", a->directory, NULL});
	free(a);
}

void fs_say(struct fs_agent *a, const char *work, unsigned n, unsigned m, const char *path)
{
	fprintf(a->to, "%s %u %u %s\n", work, n, m, path);
	fflush(a->to);
}

double fs_hear(struct fs_agent *a)
{
	char line[64];
	double usec;
	if (!fgets(line, sizeof line, a->from) || sscanf(line, "%lf", &usec) != 1)
		fs_fail("the agent (%s) is gone", fs_place_name(a->user, a->way));
	return usec;
}

double fs_ask(struct fs_agent *a, const char *work, unsigned n, unsigned m, const char *path)
{
	fs_say(a, work, n, m, path);
	return fs_hear(a);
}

/* ---- the world */

struct first {
	struct fs_world *world;
	const struct fs_bench *bench;
};

static void be_first(void *arg)
{
	const struct first *first = arg;
	struct fs_world *w = first->world;
	umask(022);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		bench_cannot(w->name, "no mounts of its own");
	if (chmod(w->directory, 0755) < 0 || !scratch_open_fuse(w->directory))
		bench_cannot(w->name, "no /dev/fuse for an ordinary user");
	w->details = open_memstream(&w->details_text, &w->n_details);
	assert(w->details);
	char self[PATH_MAX] = "", stage[PATH_MAX] = "";
	_free_ char *home = xasprintf("%s/user", w->directory);
	make_directory(home, FS_USER);
	free(home);
	home = xasprintf("%s/root", w->directory);
	make_directory(home, FS_ROOT);
	if (!getenv("BUILD") || !realpath(getenv("BUILD"), stage) || readlink("/proc/self/exe", self, PATH_MAX - 1) < 0)
		stage[0] = 0;
	fs_open_way(w, (const char *const[]){stage[0] ? stage : NULL}, 1);
	for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
		if (fs_try(w, user, (const char *const[]){"vine", "version", NULL}))
			bench_cannot(w->name, "an ordinary user cannot run the programs of this build");
		fs_node_start(w, user);
	}
	first->bench->body(w);
}

int fs_world_run(const struct fs_bench *b)
{
	struct fs_world w = {.name = b->name};
	struct scratch scratch;
	struct first first = {&w, b};
	w.is_quick = bench_is_quick();
	w.n_pairs = w.is_quick ? 2 : 5;
	if (geteuid() != 0 || access("/dev/fuse", W_OK) < 0)
		bench_cannot(b->name, "needs root (to be two users, and to drop caches) and /dev/fuse");
	if (unshare(CLONE_NEWPID) < 0)
		bench_cannot(b->name, "no PID namespaces");
	scratch_make(&scratch, b->name, b->room_mib);
	w.directory = scratch.directory;
	return scratch_run(&scratch, b->limit_sec, be_first, &first);
}
