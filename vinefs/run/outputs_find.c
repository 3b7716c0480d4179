/* SPDX-License-Identifier: Apache-2.0
 * Names that a task chose, in directories that it filled: opened beneath the place they belong to, no link followed but the last, and that by hand. */
#include "vinefs/run/outputs_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINKS_MOST 8u
#define NEAR_MOST 1000u /* names looked at for a near one */

void found_fini(struct found *f)
{
	free(steal(f->path));
}

void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->at[i]);
	free(n->at);
	*n = (struct names){0};
}

void names_add(struct names *n, char *name)
{
	if (n->n == n->room) {
		n->room = n->room ? n->room * 2 : 16;
		n->at = xrealloc(n->at, n->room * sizeof *n->at);
	}
	n->at[n->n++] = name;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *n)
{
	if (n->n)
		qsort(n->at, n->n, sizeof *n->at, compare_names);
}

size_t names_at(const struct names *n, const char *name)
{
	size_t from = 0, to = n->n;
	while (from < to) {
		size_t i = from + (to - from) / 2;
		if (strcmp(n->at[i], name) < 0)
			from = i + 1;
		else
			to = i;
	}
	return from;
}

/* ---- paths as texts */

char *clean_path(const char *path)
{
	_cleanup_(buf_fini) struct buf b = {0};
	bool is_absolute = *path == '/';
	while (*path) {
		size_t n = strcspn(path, "/");
		bool is_dot = n == 1 && *path == '.';
		if (n && !is_dot) {
			if (b.n)
				buf_puts(&b, "/");
			buf_put(&b, path, n);
		}
		path += n + (path[n] == '/');
	}
	if (!b.n)
		return xstrdup(is_absolute ? "/" : "");
	if (path_check((const char *)b.at, b.n) < 0)
		return NULL;
	return xasprintf("%s%s", is_absolute ? "/" : "", buf_text(&b));
}

/* What remains of `path` below `top`; NULL: it does not lie there. */
static const char *below(const char *path, const char *top)
{
	size_t n = strlen(top);
	if ((*top == '/') != (*path == '/') || strncmp(path, top, n) != 0)
		return NULL;
	if (n && top[n - 1] == '/')
		return path + n;
	if (path[n] && n && path[n] != '/')
		return NULL;
	return path + n + (n && path[n]);
}

static const struct place *longest(const struct outputs_work *w, const char *path, const char **rest)
{
	const struct place *best = NULL;
	for (size_t i = 0; i < w->n_places; i++) {
		const char *r = below(path, w->places[i].path);
		if (!r || (best && strlen(w->places[i].path) <= strlen(best->path)))
			continue;
		best = &w->places[i];
		*rest = r;
	}
	return best;
}

const struct place *place_of(const struct outputs_work *w, const char *path, const char **rest)
{
	const char *directory = w->start->directory;
	const struct place *p = longest(w, path, rest);
	const char *r = !p && directory && *directory == '/' ? below(path, directory) : NULL;
	if (r)
		*rest = r;
	return r ? &w->places[0] : p;
}

/* Where a relative name leads depends on the working directory, which may lie in a place of its own. */
char *task_path(const struct outputs_work *w, const char *path)
{
	const char *rest, *directory = w->start->directory;
	_free_ char *whole = *path != '/' && directory && *directory == '/' && longest(w, directory, &rest)
				     ? path_join(directory, path)
				     : xstrdup(path);
	return clean_path(whole);
}

/* ---- what lies there */

int place_open(const struct outputs_work *w, const struct place *p, int flags)
{
	flags |= O_NOFOLLOW | O_CLOEXEC;
	if (!p->is_ours) {
		int fd = open(p->upper, flags);
		return fd < 0 ? -errno : fd;
	}
	_close_ int sandbox = open(w->sandbox, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const char *rest = below(p->upper, w->sandbox);
	if (sandbox < 0)
		return -errno;
	assert(rest && *rest);
	return path_open_beneath(sandbox, rest, flags, 0);
}

int stat_beneath(int root, const char *path, struct stat *st)
{
	_close_ int fd = *path ? path_open_beneath(root, path, O_PATH | O_NOFOLLOW, 0) : -1;
	if (*path && fd < 0)
		return fd;
	return fstat(*path ? fd : root, st) < 0 ? -errno : 0;
}

bool is_whiteout(const struct place *p, const struct stat *st)
{
	return p->is_overlay && S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* Made anew where the tree had one: nothing of that shows through. */
static bool is_opaque(int root, const char *path)
{
	static const char *const marks[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
	char value[2] = "";
	_close_ int fd = *path ? path_open_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
			       : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < countof(marks); i++)
		if (fgetxattr(fd, marks[i], value, sizeof value) >= 1 && value[0] == 'y')
			return true;
	return false;
}

static mode_t mode_of(const struct tree *t, uint32_t node)
{
	const struct tree_node *n = tree_node(t, node);
	mode_t type = n->type == TREE_DIRECTORY ? S_IFDIR : n->type == TREE_LINK ? S_IFLNK : S_IFREG;
	return type | n->mode;
}

static int64_t lower_child(const struct found *directory, const char *name)
{
	if (directory->lower == LOWER_UNKNOWN)
		return LOWER_UNKNOWN;
	const struct tree *t = directory->lower >= 0 ? fetch_index(directory->place->tree) : NULL;
	if (!t || tree_node(t, (uint32_t)directory->lower)->type != TREE_DIRECTORY)
		return LOWER_NONE;
	return max(tree_child(t, (uint32_t)directory->lower, name, strlen(name)), (int64_t)LOWER_NONE);
}

/* Fills in all but place and path. */
static int look_at(struct found *f, int root)
{
	struct stat st;
	int r = f->is_above && root >= 0 ? stat_beneath(root, f->path, &st) : -ENOENT;
	if (r < 0 && r != -ENOENT)
		return r;
	f->is_above = r == 0;
	if (r < 0) {
		if (f->lower < 0)
			return f->lower == LOWER_NONE ? -ENOENT : -ENODATA;
		f->mode = mode_of(fetch_index(f->place->tree), (uint32_t)f->lower);
		return 0;
	}
	if (is_whiteout(f->place, &st))
		return -ENOENT;
	f->mode = st.st_mode;
	/* Merged are directories alone. */
	if (!S_ISDIR(st.st_mode) || is_opaque(root, f->path) ||
	    (f->lower >= 0 && !S_ISDIR(mode_of(fetch_index(f->place->tree), (uint32_t)f->lower))))
		f->lower = LOWER_NONE;
	return 0;
}

int find_child(const struct found *directory, int root, const char *name, struct found *f)
{
	*f = (struct found){.place = directory->place,
			    .path = *directory->path ? path_join(directory->path, name) : xstrdup(name),
			    .is_above = directory->is_above,
			    .lower = lower_child(directory, name)};
	int r = look_at(f, root);
	if (r < 0)
		found_fini(f);
	return r;
}

int find_names(const struct found *directory, int root, struct names *n)
{
	struct found child;
	const struct tree *t = directory->lower >= 0 ? fetch_index(directory->place->tree) : NULL;
	int fd = !directory->is_above ? -1
		 : *directory->path   ? path_open_beneath(root, directory->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
				      : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory->is_above && fd < 0)
		return *directory->path ? fd : -errno;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (const struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (directory->place->is_overlay && e->d_type == DT_CHR &&
		    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(directory->place, &st))
			continue;
		names_add(n, xstrdup(e->d_name));
	}
	if (d)
		closedir(d);
	if (!t)
		return 0;
	const struct tree_node *node = tree_node(t, (uint32_t)directory->lower);
	for (uint32_t i = node->first; i < node->first + node->n; i++) {
		/* Of the tree alone: the upper has neither it nor a whiteout. */
		if (find_child(directory, root, tree_name(t, i), &child) < 0)
			continue;
		if (!child.is_above)
			names_add(n, xstrdup(tree_name(t, i)));
		found_fini(&child);
	}
	return 0;
}

/* ---- a name that is near */

static size_t distance(const char *a, const char *b)
{
	size_t row[257], n = strlen(b);
	if (n > 255 || strlen(a) > 255)
		return SIZE_MAX;
	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t k = 1; k <= n; k++) {
			size_t above = row[k];
			size_t same = corner + (a[i - 1] != b[k - 1]);
			size_t longer = min(row[k], row[k - 1]) + 1;
			row[k] = min(same, longer);
			corner = above;
		}
	}
	return row[n];
}

static void say_missing(const struct found *directory, int root, const char *name, struct buf *why)
{
	_cleanup_(names_fini) struct names n = {0};
	const char *nearest = NULL;
	size_t best = strlen(name) / 2 + 2;
	buf_printf(why, "there is no %s in %s", name, *directory->path ? directory->path : "it");
	if (find_names(directory, root, &n) < 0)
		return;
	for (size_t i = 0; i < min(n.n, (size_t)NEAR_MOST); i++) {
		size_t d = distance(name, n.at[i]);
		if (d < best) {
			best = d;
			nearest = n.at[i];
		}
	}
	if (nearest)
		buf_printf(why, "; there is %s", nearest);
	else if (!n.n)
		buf_puts(why, ", which is empty");
}

void say_unknown(const struct place *p, struct buf *why)
{
	buf_printf(why,
		   "what the task left as it was cannot be told: input %s was not sealed when it began, and has "
		   "changed since; "
		   "submit again with --staging=full",
		   p->path);
}

/* ---- the whole way */

static int64_t top_of(const struct place *p)
{
	return !p->is_overlay ? LOWER_NONE : p->tree ? 0 : LOWER_UNKNOWN;
}

static int walk(const struct outputs_work *w, const struct place *p, const char *rest, int root, struct found *f,
		struct buf *why)
{
	*f = (struct found){.place = p, .path = xstrdup(""), .is_above = true, .lower = top_of(p)};
	int r = look_at(f, root);
	if (r < 0)
		buf_printf(why, "%s: %s", p->upper, strerror(-r));
	while (r == 0 && *rest) {
		size_t n = strcspn(rest, "/");
		_free_ char *name = xstrndup(rest, n);
		struct found next;
		if (!S_ISDIR(f->mode)) {
			buf_printf(why, "%s is %s", f->path,
				   S_ISLNK(f->mode) ? "a symbolic link, which is not followed" : "no directory");
			return S_ISLNK(f->mode) ? -ELOOP : -ENOTDIR;
		}
		if (work_is_cancelled(w))
			return -ECANCELED;
		r = find_child(f, root, name, &next);
		if (r == -ENOENT)
			say_missing(f, root, name, why);
		else if (r == -ENODATA)
			say_unknown(p, why);
		else if (r < 0)
			buf_printf(why, "%s: %s", name, strerror(-r));
		if (r == 0) {
			found_fini(f);
			*f = next;
		}
		rest += n + (rest[n] == '/');
	}
	return r;
}

/* Joined as texts: what a component means was seen on the way to the link, and none of it is a link itself. NULL: it leads out. */
static char *resolve(const char *from, const char *target)
{
	_cleanup_(buf_fini) struct buf b = {0};
	const char *slash = strrchr(from, '/');
	if (*target != '/' && slash)
		buf_put(&b, from, (size_t)(slash - from));
	while (*target) {
		size_t n = strcspn(target, "/");
		if (n == 2 && has_prefix(target, "..")) {
			if (!b.n)
				return NULL;
			while (b.n && b.at[b.n - 1] != '/')
				b.n--;
			b.n -= b.n > 0;
		} else if (n && !(n == 1 && *target == '.')) {
			if (b.n)
				buf_puts(&b, "/");
			buf_put(&b, target, n);
		}
		target += n + (target[n] == '/');
	}
	return buf_steal_text(&b);
}

static char *read_link(const struct found *f, int root)
{
	char text[4096];
	if (!f->is_above)
		return xstrdup(tree_target(fetch_index(f->place->tree), (uint32_t)f->lower));
	_close_ int fd = path_open_beneath(root, f->path, O_PATH | O_NOFOLLOW, 0);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", text, sizeof text);
	return n < 0 || n == sizeof text ? NULL : xstrndup(text, (size_t)n);
}

/* The path below the same place that a link leads to; NULL: nowhere that is the task's. */
static char *follow(const struct outputs_work *w, const struct found *f, const char *target)
{
	const char *rest;
	if (*target != '/')
		return resolve(f->path, target);
	_free_ char *clean = clean_path(target);
	return clean && place_of(w, clean, &rest) == f->place ? xstrdup(rest) : NULL;
}

int find_output(const struct outputs_work *w, const char *path, struct found *f, struct buf *why)
{
	const char *rest;
	const struct place *p = place_of(w, path, &rest);
	*f = (struct found){0};
	if (!p) {
		buf_puts(why, "it lies in no directory that the task was given: declare it below its directory, or "
			      "below an input");
		return -EINVAL;
	}
	_close_ int root = place_open(w, p, O_PATH);
	int r = walk(w, p, rest, root, f, why);
	for (unsigned n = 0; r == 0 && S_ISLNK(f->mode); n++) {
		_free_ char *target = read_link(f, root);
		_free_ char *to = target ? follow(w, f, target) : NULL;
		if (!to || n == LINKS_MOST) {
			buf_printf(why, "it is a symbolic link to %s, %s", target ? target : "what cannot be read",
				   to ? "one of too many" : "outside of where the task could write it");
			return -ELOOP;
		}
		found_fini(f);
		r = walk(w, p, to, root, f, why);
		if (r == 0 && S_ISDIR(f->mode)) {
			buf_printf(why, "it is a symbolic link to a directory, %s: declare that", target);
			return -ELOOP;
		}
	}
	if (r == 0 && !S_ISREG(f->mode) && !S_ISDIR(f->mode)) {
		buf_printf(why, "it is a %s, neither a file nor a directory",
			   S_ISFIFO(f->mode)   ? "FIFO"
			   : S_ISSOCK(f->mode) ? "socket"
					       : "device");
		return -EINVAL;
	}
	return r;
}
