/* SPDX-License-Identifier: Apache-2.0
 * Below the group that the node is in lies vine-NAME.INODE, of its sandboxes' directory: several nodes may have one name. Its lock says that
 * its node lives. In version 2 a group with controllers for its children may hold no process, so the node itself goes into
 * vine-NAME.INODE/daemon, if nobody else is where it was. */
#include "vinefs/run/limits_internal.h"

#include "common/cgroup.h"
#include "common/log.h"
#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "vine-"
#define DAEMON "daemon"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define TEXT_MOST 65536u

int group_write(int dir, const char *path, const char *text)
{
	/* Of a test's plain directory the files are made. */
	_close_ int fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* ---- which hierarchies there are */

/* The group in which ours is to lie; NULL: there is none. */
static char *find_parent(const char *controller)
{
	char *group = cgroup_ours(controller), *base = group ? strrchr(group, '/') : NULL;
	/* A restarted vinefs is in what its forerunner has made. */
	char *above = base && streq(base, "/" DAEMON) ? memrchr(group, '/', (size_t)(base - group)) : NULL;
	if (above && has_prefix(above, "/" PREFIX))
		*above = 0;
	return group;
}

/* ---- the node's own group */

static bool is_descendant(pid_t pid, pid_t of)
{
	for (int depth = 0; pid > 1 && pid != of && depth < 1000; depth++) {
		char path[64], text[512] = "";
		int parent = 0;
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		const char *at = n > 0 ? strrchr(text, ')') : NULL;
		if (!at || sscanf(at + 1, " %*c %d", &parent) != 1)
			return false;
		pid = parent;
	}
	return pid == of;
}

/* Puts the node's processes into a leaf, unless others are among them. */
static int move_away(const char *parent, const struct group_tree *t)
{
	_free_ char *list = path_join(parent, "cgroup.procs");
	size_t n;
	_free_ char *pids = path_read(list, TEXT_MOST, &n);
	for (char *at = pids, *end; at && *at; at = *end ? end + 1 : end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);
		if (!is_descendant(pid, getppid()))
			return -EBUSY;
	}
	if (mkdirat(t->fd, DAEMON, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (char *at = pids, *end; at && *at; at = *end ? end + 1 : end) {
		char text[16];
		snprintf(text, sizeof text, "%ld", strtol(at, &end, 10));
		int r = group_write(t->fd, DAEMON "/cgroup.procs", text);
		if (r && r != -ESRCH)
			return r;
	}
	return 0;
}

/* What of version 2 the attempts' groups will have. */
static unsigned divide(const char *parent, const struct group_tree *t)
{
	static const char enable[] = "cgroup.subtree_control";
	_free_ char *list = path_join(parent, "cgroup.controllers");
	_close_ int above = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n;
	_free_ char *there = path_read(list, TEXT_MOST, &n);
	unsigned uses = (cgroup_has_word(there, "memory") ? GROUP_MEMORY : 0) |
			(cgroup_has_word(there, "pids") ? GROUP_PIDS : 0);
	if (above < 0 || !uses)
		return GROUP_KILL;
	_free_ char *wish = xasprintf("%s%s", uses & GROUP_MEMORY ? "+memory " : "", uses & GROUP_PIDS ? "+pids" : "");
	int r = group_write(above, enable, wish);
	if (r == -EBUSY && !(r = move_away(parent, t)))
		r = group_write(above, enable, wish);
	if (!r)
		r = group_write(t->fd, enable, wish);
	if (r)
		log_info("limits: the controllers of %s cannot be used: %s%s", parent, strerror(-r),
			 r == -EBUSY ? ", other processes than the node's are in it; `systemd-run --user --scope -p "
				       "Delegate=yes vinefs ...` gives the node one of its own"
				     : "");
	return GROUP_KILL | (r ? 0 : uses);
}

/* What still has a process stays. */
static void remove_tree(int fd, const char *path)
{
	DIR *below = opendir(path);
	for (const struct dirent *b; below && (b = readdir(below));)
		if (*b->d_name != '.' && b->d_type == DT_DIR)
			unlinkat(fd, b->d_name, AT_REMOVEDIR);
	if (below)
		closedir(below);
	rmdir(path);
}

static bool is_suspect(const struct group_tree *t, const char *name)
{
	_free_ char *line = xasprintf("\n%s\n", name);
	return t->suspects && strstr(t->suspects, line);
}

void groups_clear(struct groups *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct group_tree *t = &g->at[i];
		_cleanup_(buf_fini) struct buf seen = {0};
		_free_ char *parent = xstrndup(t->path, (size_t)(path_base(t->path) - t->path));
		DIR *d = opendir(parent);
		buf_puts(&seen, "\n");
		for (const struct dirent *e; d && (e = readdir(d));) {
			_free_ char *path = path_join(parent, e->d_name);
			_close_ int fd = has_prefix(e->d_name, PREFIX)
						 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
						 : -1;
			if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
				continue;
			if (is_suspect(t, e->d_name))
				remove_tree(fd, path);
			buf_printf(&seen, "%s\n", e->d_name);
		}
		if (d)
			closedir(d);
		free(t->suspects);
		t->suspects = buf_steal_text(&seen);
	}
}

/* The directory, made and locked, or -errno. */
static int own(const char *path)
{
	/* Whoever clears away after others may have it for a moment, and may have taken it. */
	for (int tries = 0; tries < 100; tries++) {
		struct stat a, b;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			usleep(1000);
		else if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino)
			return steal_fd(&fd);
	}
	return -EBUSY;
}

static void add_tree(struct groups *g, const char *parent, const char *name, bool is_two, unsigned uses)
{
	struct group_tree *t = &g->at[g->n];
	_free_ char *path = path_join(parent, name);
	assert(g->n < GROUP_TREES);
	int fd = own(path);
	if (fd < 0) {
		log_debug("limits: %s: %s", path, strerror(-fd));
		return;
	}
	*t = (struct group_tree){.path = steal(path), .fd = fd, .is_two = is_two, .uses = uses};
	if (is_two)
		t->uses = divide(parent, t);
	g->n++;
}

/* Version 1 has what version 2 lacks. `parent` of it, or NULL to find it. */
static void add_one(struct groups *g, const char *root, const char *name, const char *controller, unsigned uses)
{
	_free_ char *parent = root ? path_join(root, controller) : find_parent(controller);
	/* The first of them is what it is wanted for. */
	enum group_use wanted = (enum group_use)(uses & -uses);
	if (!groups_find(g, wanted) && parent && access(parent, W_OK) == 0)
		add_tree(g, parent, name, false, uses);
}

void groups_init(struct groups *g, const char *root, const char *name, int sandboxes)
{
	struct stat st = {0};
	char safe[64] = "";
	size_t n;
	*g = (struct groups){.n = 0};
	if (root && streq(root, "none"))
		return;
	if (root && !*root)
		root = NULL;
	fstat(sandboxes, &st);
	for (size_t i = 0; i < sizeof safe - 1 && name[i]; i++)
		safe[i] = strchr(LETTERS "0123456789-_", name[i]) ? name[i] : '_';
	_free_ char *own_name = xasprintf(PREFIX "%s.%" PRIx64, safe, (uint64_t)st.st_ino);
	_free_ char *two = root ? xstrdup(root) : find_parent("");
	_free_ char *list = two ? path_join(two, "cgroup.controllers") : NULL;
	_free_ char *there = list ? path_read(list, TEXT_MOST, &n) : NULL;
	bool is_writable = there && access(two, W_OK) == 0;
	if (is_writable && strpbrk(there, LETTERS))
		add_tree(g, two, own_name, true, 0);
	add_one(g, root, own_name, "memory", GROUP_MEMORY);
	add_one(g, root, own_name, "pids", GROUP_PIDS | GROUP_KILL);
	/* Beside version 1 it has no controllers, but it kills. */
	if (is_writable && !groups_find(g, GROUP_KILL))
		add_tree(g, two, own_name, true, 0);
	add_one(g, root, own_name, "freezer", GROUP_KILL);
}

void groups_fini(struct groups *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		/* It stays as long as anything is in it. */
		rmdir(g->at[i].path);
		close_fd(g->at[i].fd);
		free(g->at[i].path);
		free(g->at[i].suspects);
	}
	g->n = 0;
}

const struct group_tree *groups_find(const struct groups *g, enum group_use use)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->at[i].uses & use)
			return &g->at[i];
	return NULL;
}
