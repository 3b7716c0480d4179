/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/record.h"

#include <ctype.h>

#define MANY 8 /* files of one directory that it is offered for as a whole */

/* A path, and what became of it: the kinds that were seen, added up. */
enum { READ = 1, WRITTEN = 2, REMOVED = 4 };

struct seen {
	char *path; /* absolute, or below the task's directory */
	unsigned kinds;
	size_t order; /* of the record */
};

struct all {
	struct seen *at;
	size_t n;
};

/* ---- reading */

static char *unescape(const char *p, size_t n)
{
	struct buf text = {0};
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		if (c == '\\' && i + 1 < n && p[i + 1] == '\\') {
			i++;
		} else if (c == '\\' && i + 3 < n && isdigit((unsigned char)p[i + 1])) {
			c = (char)((p[i + 1] - '0') * 64 + (p[i + 2] - '0') * 8 + (p[i + 3] - '0'));
			i += 3;
		}
		buf_put(&text, &c, 1);
	}
	return buf_steal_text(&text);
}

/* Behind STATE/s/ATTEMPT/, where its own directories are; NULL: elsewhere. */
static const char *in_sandbox(const char *path)
{
	static const char *const parts[] = {"cwd", "tmp", "home", "root", "o"};
	for (const char *p = path; (p = strstr(p, "/s/")); p++) {
		size_t n = strspn(p + 3, "0123456789");
		const char *rest = p + 3 + n;
		if (!n || *rest++ != '/')
			continue;
		for (size_t i = 0; i < countof(parts); i++) {
			size_t length = strlen(parts[i]);
			if (strncmp(rest, parts[i], length) == 0 && (!rest[length] || rest[length] == '/'))
				return rest;
		}
	}
	return NULL;
}

static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	return strncmp(path, directory, n) == 0 && (!path[n] || path[n] == '/');
}

/* What every node has, and what is private to each task. */
static bool is_systems(const char *path)
{
	static const char *const directories[] = {"/bin",   "/boot",   "/dev",       "/etc",    "/lib",  "/lib32",
						  "/lib64", "/libx32", "/proc",      "/run",    "/sbin", "/sys",
						  "/tmp",   "/usr",    "/var/cache", "/var/lib"};
	for (size_t i = 0; i < countof(directories); i++) {
		if (is_below(path, directories[i]))
			return true;
	}
	return streq(path, "/");
}

/* How it is written in a declaration; NULL: not at all. */
static char *name_of(char *path, const struct record_options *o)
{
	const char *inside = in_sandbox(path);
	if (o->is_all || (!inside && !is_systems(path)))
		return xstrdup(path);
	return inside && has_prefix(inside, "cwd/") ? xstrdup(inside + strlen("cwd/")) : NULL;
}

static void add_line(struct all *all, const char *p, size_t n, const struct record_options *o)
{
	const char *tab = memchr(p, '\t', n);
	if (tab)
		n = (size_t)(tab - p);
	if (n < 4 || p[1] != ' ' || p[2] != '/')
		return;
	unsigned kind = *p == 'r' || *p == 'x' ? READ : *p == 'w' || *p == 'm' ? WRITTEN : *p == 'd' ? REMOVED : 0;
	_free_ char *path = unescape(p + 2, n - 2);
	char *name = kind ? name_of(path, o) : NULL;
	if (!name)
		return;
	all->at = xrealloc(all->at, (all->n + 1) * sizeof *all->at);
	all->at[all->n] = (struct seen){.path = name, .kinds = kind, .order = all->n};
	all->n++;
}

static int compare_paths(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	const unsigned char *p = (const unsigned char *)x->path, *q = (const unsigned char *)y->path;
	while (*p && *p == *q)
		p++, q++;
	/* A directory stands right before what is in it. */
	int i = *p == '/' ? 1 : *p ? *p + 1 : 0, k = *q == '/' ? 1 : *q ? *q + 1 : 0;
	return i != k ? i - k : (x->order > y->order) - (x->order < y->order);
}

/* One entry a path. What a task wrote first and read then is no input. */
static void merge(struct all *all)
{
	size_t n = 0;
	if (!all->n)
		return;
	qsort(all->at, all->n, sizeof *all->at, compare_paths);
	for (size_t i = 0; i < all->n; i++) {
		struct seen *s = &all->at[i], *last = n ? &all->at[n - 1] : NULL;
		if (!last || !streq(last->path, s->path)) {
			all->at[n++] = *s;
			continue;
		}
		if (s->kinds == READ && last->kinds & WRITTEN)
			s->kinds = 0;
		if (s->kinds == WRITTEN)
			last->kinds &= ~(unsigned)REMOVED;
		last->kinds |= s->kinds;
		free(s->path);
	}
	all->n = n;
}

/* ---- declaring */

static void declare(struct buf *to, const struct record_options *o, char option, const char *path, bool is_rw)
{
	struct buf word = {0};
	for (const char *p = path; *p; p++)
		buf_printf(&word, *p == ':' || *p == '\\' ? "\\%c" : "%c", *p);
	if (is_rw)
		buf_puts(&word, ":rw");
	const char *text = buf_text(&word);
	bool is_plain =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == word.n;
	if (o->is_job) {
		buf_printf(to, "%s = \"", option == 'i' ? "input" : "output");
		for (const char *p = text; *p; p++)
			buf_printf(to, *p == '"' || *p == '\\' ? "\\%c" : *p == '\n' ? "\\n" : "%c", *p);
		buf_puts(to, "\"\n");
	} else if (is_plain) {
		buf_printf(to, "-%c %s\n", option, text);
	} else {
		buf_printf(to, "-%c '", option);
		for (const char *p = text; *p; p++)
			buf_printf(to, *p == '\'' ? "'\\''" : "%c", *p);
		buf_puts(to, "'\n");
	}
	buf_fini(&word);
}

static size_t depth_of(const char *path)
{
	size_t n = *path != '/';
	for (; *path; path++)
		n += *path == '/' && path[1] && path[1] != '/';
	return n;
}

/* Entries from i on that lie below the first n characters of its path. */
static size_t count_below(const struct all *all, size_t i, size_t n)
{
	size_t k = i;
	const char *path = all->at[i].path;
	while (k < all->n && strncmp(all->at[k].path, path, n) == 0 &&
	       (all->at[k].path[n] == '/' || (k == i && !all->at[k].path[n])))
		k++;
	return k - i;
}

/* How many of n entries were read, and whether they lie in more than one place of the directory whose path has so many characters. */
static size_t count_read(const struct all *all, size_t i, size_t n, size_t length, bool *is_spread)
{
	size_t n_read = 0, n_direct = 0, n_directories = 0;
	const char *before = NULL;
	for (size_t k = i; k < i + n; k++) {
		if (!(all->at[k].kinds & READ) || !all->at[k].path[length])
			continue;
		const char *rest = all->at[k].path + length + 1;
		size_t part = strcspn(rest, "/");
		n_read++;
		n_direct += rest[part] == 0;
		if (rest[part] && (!before || strncmp(before, rest, part + 1) != 0)) {
			n_directories++;
			before = rest;
		}
	}
	*is_spread = n_direct >= MANY || n_directories > 1;
	return n_read;
}

/* The longest beginning is the shortest word: the first directory on the way down to entry i that can stand for what is in it. 0: none. */
static size_t find_directory(const struct all *all, size_t i, const struct record_options *o)
{
	const char *path = all->at[i].path;
	for (size_t n = 1; path[n - 1]; n++) {
		if (path[n] != '/' && path[n])
			continue;
		_free_ char *directory = xstrndup(path, n);
		size_t n_below = count_below(all, i, n);
		bool is_spread, is_listed = all->at[i].kinds & READ && !path[n] && n_below > 1;
		size_t n_read = count_read(all, i, n_below, n, &is_spread);
		bool is_home = o->home && is_below(o->home, directory);
		if (!is_home && depth_of(directory) >= (*path == '/' ? 2 : 1) &&
		    ((is_listed && n_read) || (n_read >= MANY && is_spread)))
			return n;
	}
	return 0;
}

static void declare_all(const struct all *all, const struct record_options *o, struct buf *to)
{
	for (size_t i = 0; i < all->n;) {
		const struct seen *s = &all->at[i];
		size_t n = o->is_all || !(s->kinds & READ) ? 0 : find_directory(all, i, o);
		size_t n_below = n ? count_below(all, i, n) : 1;
		_free_ char *path = n ? xstrndup(s->path, n) : xstrdup(s->path);
		bool is_rw = false, is_read = false;
		for (size_t k = i; k < i + n_below; k++) {
			is_rw |= (all->at[k].kinds & (WRITTEN | REMOVED)) != 0;
			is_read |= all->at[k].kinds & READ;
		}
		if (is_read)
			declare(to, o, 'i', path, is_rw);
		for (size_t k = i; k < i + n_below; k++) {
			if (all->at[k].kinds & WRITTEN && !(all->at[k].kinds & (READ | REMOVED)))
				declare(to, o, 'o', all->at[k].path, false);
		}
		i += n_below;
	}
}

void record_declare(const char *text, size_t n, const struct record_options *o, struct buf *to)
{
	struct all all = {0};
	for (size_t i = 0; i < n;) {
		const char *end = memchr(text + i, '\n', n - i);
		size_t length = end ? (size_t)(end - text) - i : n - i;
		add_line(&all, text + i, length, o);
		i += length + 1;
	}
	merge(&all);
	declare_all(&all, o, to);
	for (size_t i = 0; i < all.n; i++)
		free(all.at[i].path);
	free(all.at);
}

/* ---- listing */

static void list_line(const char *p, size_t n, struct buf *to)
{
	_free_ char *line = xstrndup(p, n);
	char *tab = strchr(line, '\t'), *second = tab ? strchr(tab + 1, '\t') : NULL;
	const char *word = *line == 'r'   ? "read"
			   : *line == 'x' ? "run"
			   : *line == 'w' ? "written"
			   : *line == 'd' ? "removed"
			   : *line == 'm' ? "renamed"
					  : NULL;
	if (!word || !second || tab - line < 3)
		return;
	*second = 0;
	buf_printf(to, "%-8s %12s %10.3f  %.*s\n", word, tab + 1, (double)strtoull(second + 1, NULL, 10) / 1e6,
		   (int)(tab - line - 2), line + 2);
}

void record_list(const char *text, size_t n, struct buf *to)
{
	buf_printf(to, "%-8s %12s %10s  %s\n", "what", "bytes", "seconds", "path");
	for (size_t i = 0; i < n;) {
		const char *end = memchr(text + i, '\n', n - i);
		size_t length = end ? (size_t)(end - text) - i : n - i;
		list_line(text + i, length, to);
		i += length + 1;
	}
}
