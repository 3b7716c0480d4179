/* SPDX-License-Identifier: Apache-2.0
 * One walk of all that the attempt wrote: how much it is, and what of it was not declared. In an overlay's upper only what differs from the tree is its doing: whoever opens a file for writing and
 * does not write has a copy of it there. */
#include "vinefs/run/outputs_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define DEPTH_MOST 256u /* each takes a descriptor; below that directories are named, not looked into */

struct tally {
	struct outputs_work *work;
	const struct place *place; /* NULL: the sandbox but for its places; nothing is listed */
	const struct tree *lower;  /* NULL: none */
	struct names declared;     /* below the place, sorted */
	struct names skipped;      /* places of their own */
	unsigned depth;
};

static void note_left(struct tally *t, const char *path, const char *mark)
{
	struct outputs_work *w = t->work;
	w->n_left++;
	if (w->left.n >= NAMED_MOST)
		return;
	const char *top = t->place->path;
	bool is_apart = *top && *path && top[strlen(top) - 1] != '/';
	names_add(&w->left, xasprintf("%s%s%s%s", top, is_apart ? "/" : "", path, mark));
}

static bool has(const struct names *n, const char *path)
{
	size_t i = names_at(n, path);
	return i < n->n && streq(n->at[i], path);
}

/* Is something declared that lies below it? Then it had to be there. */
static bool is_on_the_way(const struct tally *t, const char *path)
{
	_free_ char *below = xasprintf("%s/", path);
	size_t i = names_at(&t->declared, below);
	return i < t->declared.n && has_prefix(t->declared.at[i], below);
}

static const struct tree_node *lower_at(const struct tally *t, const char *path)
{
	int64_t i = t->lower ? tree_find(t->lower, path) : -1;
	return i < 0 ? NULL : tree_node(t->lower, (uint32_t)i);
}

static bool is_changed(const struct tally *t, const char *path, const struct stat *st)
{
	const struct tree_node *n = lower_at(t, path);
	mode_t given = t->place->is_copy ? 0200 : 0; /* to whoever got a copy to write to */
	if (!n || (n->mode | given) != ((st->st_mode & 01777) | given))
		return true;
	if (n->type == TREE_LINK)
		return !S_ISLNK(st->st_mode);
	return n->type != TREE_FILE || !S_ISREG(st->st_mode) || n->mtime_sec != st->st_mtim.tv_sec ||
	       n->mtime_nsec != (uint32_t)st->st_mtim.tv_nsec ||
	       tree_content(t->lower, n->first)->size != (uint64_t)st->st_size;
}

static unsigned look_into(struct tally *t, int fd, const char *path, bool is_listed);

/* How many of it were worth a word: an empty directory that was made is. */
static unsigned look_at_directory(struct tally *t, int parent, const char *name, const char *path, bool is_listed)
{
	if (t->depth >= DEPTH_MOST) {
		if (is_listed)
			note_left(t, path, "/...");
		return 1;
	}
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	t->depth++;
	unsigned n = look_into(t, fd, path, is_listed);
	t->depth--;
	if (!n && is_listed && !lower_at(t, path) && !is_on_the_way(t, path)) {
		note_left(t, path, "/");
		n = 1;
	}
	return n;
}

static unsigned look_at_name(struct tally *t, int fd, const char *name, const char *path, bool is_listed)
{
	struct stat st;
	if (has(&t->skipped, path) || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 1;
	is_listed &= !has(&t->declared, path);
	if (S_ISDIR(st.st_mode))
		return look_at_directory(t, fd, name, path, is_listed) + !is_listed;
	if (S_ISREG(st.st_mode))
		t->work->written_size += min((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512);
	if (is_listed && is_changed(t, path, &st))
		note_left(t, path, "");
	return 1;
}

/* Of a copy what is missing was removed; an overlay says so itself. */
static void look_for_removed(struct tally *t, int fd, const char *path)
{
	const struct tree_node *n = lower_at(t, path);
	struct stat st;
	if (!n || t->place->is_overlay || n->type != TREE_DIRECTORY)
		return;
	for (uint32_t i = n->first; i < n->first + n->n; i++) {
		const char *name = tree_name(t->lower, i);
		_free_ char *whole = *path ? path_join(path, name) : xstrdup(name);
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT && !has(&t->declared, whole))
			note_left(t, whole, "");
	}
}

static unsigned look_into(struct tally *t, int fd, const char *path, bool is_listed)
{
	DIR *d = fdopendir(fd);
	unsigned n = 0;
	if (!d) {
		close_fd(fd);
		return 0;
	}
	for (const struct dirent *e; !work_is_cancelled(t->work) && (e = readdir(d));) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		_free_ char *whole = *path ? path_join(path, e->d_name) : xstrdup(e->d_name);
		n += look_at_name(t, dirfd(d), e->d_name, whole, is_listed);
	}
	if (is_listed)
		look_for_removed(t, dirfd(d), path);
	closedir(d);
	return n;
}

/* ---- what is declared below a place */

static void declare(struct tally *t, const char *path)
{
	names_add(&t->declared, xstrdup(path));
}

static void declare_output(struct tally *t, const struct item *it)
{
	const char *rest;
	_free_ char *named = task_path(t->work, it->in->path);
	if (named && place_of(t->work, named, &rest) == t->place)
		declare(t, rest);
	if (it->found.place != t->place || !it->found.path)
		return;
	if (!it->matches.n)
		declare(t, it->found.path);
	for (size_t i = 0; i < it->matches.n; i++) {
		_free_ char *path =
			*it->found.path ? path_join(it->found.path, it->matches.at[i]) : xstrdup(it->matches.at[i]);
		declare(t, path);
	}
}

/* An input in the working directory is there as a link, or as what it was mounted on. */
static void declare_inputs(struct tally *t)
{
	const struct wire_start *m = t->work->start;
	const char *rest;
	for (uint32_t i = 0; i < m->inputs.n; i++) {
		_free_ char *path =
			m->inputs.at[i].mode == BINDING_OUT ? NULL : task_path(t->work, m->inputs.at[i].path);
		const struct place *p = path ? place_of(t->work, path, &rest) : NULL;
		/* One that has a place of its own is looked at there, and is a mount point here. */
		if (p == t->place && *rest)
			declare(t, rest);
	}
	for (size_t i = 0; i < t->work->n_places; i++) {
		const char *path = t->work->places[i].path, *top = t->place->path;
		size_t n = strlen(top);
		bool is_below =
			&t->work->places[i] != t->place && (*top == '/') == (*path == '/') && has_prefix(path, top);
		if (is_below && (!n || top[n - 1] == '/' || path[n] == '/') && path[n])
			declare(t, path + n + (path[n] == '/'));
	}
}

static void look_at_place(struct outputs_work *w, const struct place *p)
{
	struct stat st;
	struct tally t = {.work = w, .place = p, .lower = p->tree ? fetch_index(p->tree) : NULL};
	_close_ int fd = place_open(w, p, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	for (size_t i = 0; i < w->n_items; i++)
		declare_output(&t, &w->items[i]);
	declare_inputs(&t);
	names_sort(&t.declared);
	/* Of a copy of nobody knows what nobody knows what is new. */
	bool is_listed = !has(&t.declared, "") && (!p->is_copy || p->tree);
	if (S_ISDIR(st.st_mode)) {
		look_into(&t, steal_fd(&fd), "", is_listed);
	} else if (S_ISREG(st.st_mode)) {
		w->written_size += min((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512);
		if (is_listed && is_changed(&t, "", &st))
			note_left(&t, "", "");
	}
	names_fini(&t.declared);
}

/* Its /tmp, its output: bytes, not names. */
static void look_at_rest(struct outputs_work *w)
{
	struct tally t = {.work = w};
	size_t n = strlen(w->sandbox) + 1;
	for (size_t i = 0; i < w->n_places; i++)
		if (w->places[i].is_ours)
			names_add(&t.skipped, xstrdup(w->places[i].upper + n));
	names_sort(&t.skipped);
	int fd = open(w->sandbox, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		look_into(&t, fd, "", false);
	names_fini(&t.skipped);
}

void look_for_left(struct outputs_work *w)
{
	for (size_t i = 0; i < w->n_places; i++)
		if (w->places[i].is_ours)
			look_at_place(w, &w->places[i]);
	look_at_rest(w);
	names_sort(&w->left);
}
