/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bind.h"

#include "common/buf.h"
#include "common/path.h"
#include "libvineclient/vine.h"

#include <ctype.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

#define PARTS_MOST 3
#define ZFS_MAGIC 0x2fc12fc1

/* ---- splitting */

static const char *const kinds[] = {"client:", "file:", "node:", "tree:", "temp:", "keep:"};

/* "client:" and the like, or of "https://host:80/x" all up to the path: so many characters have no separator in them. */
static size_t count_prefix(const char *text)
{
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(text, kinds[i]))
			return strlen(kinds[i]);
	}
	size_t n = 0;
	while (isalnum((unsigned char)text[n]) || (n && strchr("+-.", text[n]) && text[n]))
		n++;
	if (!n || strncmp(text + n, "://", 3) != 0)
		return 0;
	return n + 3 + strcspn(text + n + 3, "/");
}

/* Up to the next separator, without escapes. Moves behind it; NULL if there was nothing more. Only what lies outside of the task can have a kind. */
static char *take_part(const char **at, bool has_kind)
{
	struct buf part = {0};
	const char *p = *at;
	if (!p)
		return NULL;
	size_t n = has_kind ? count_prefix(p) : 0;
	buf_put(&part, p, n);
	for (p += n; *p && *p != ':'; p++) {
		p += *p == '\\' && (p[1] == ':' || p[1] == '\\');
		buf_put(&part, p, 1);
	}
	*at = *p ? p + 1 : NULL;
	return buf_steal_text(&part);
}

struct parts {
	char *at[PARTS_MOST];
	unsigned n;
};

static void parts_fini(struct parts *p)
{
	for (unsigned i = 0; i < p->n; i++)
		free(p->at[i]);
}

struct flag_word {
	const char *word;
	unsigned flag;
};

/* "optional,always"; false if one of them is none of the words. */
static bool read_flags(const char *text, const struct flag_word *words, unsigned *flags)
{
	*flags = 0;
	while (*text) {
		size_t n = strcspn(text, ","), i = 0;
		while (words[i].word && (strlen(words[i].word) != n || strncmp(words[i].word, text, n) != 0))
			i++;
		if (!words[i].word)
			return false;
		*flags |= words[i].flag;
		text += n + (text[n] == ',');
	}
	return *flags != 0;
}

static int split(const char *word, unsigned with_kind, const struct flag_word *words, struct parts *p, unsigned *flags,
		 char why[BIND_WHY])
{
	const char *at = word;
	*flags = 0;
	for (; at && p->n < PARTS_MOST; p->n++)
		p->at[p->n] = take_part(&at, p->n == with_kind);
	if (p->n > 1 && read_flags(p->at[p->n - 1], words, flags))
		free(p->at[--p->n]);
	if (at || p->n > 2) {
		_free_ char *last = at ? xstrdup(at) : xstrdup(p->at[p->n - 1]);
		_cleanup_(buf_fini) struct buf known = {0};
		for (size_t i = 0; words[i].word; i++)
			buf_printf(&known, "%s%s", i ? ", " : "", words[i].word);
		snprintf(why, BIND_WHY,
			 "%.200s: '%.80s' is none of the words that can stand at its end (%s); a colon in a name is "
			 "written \\:",
			 word, last, buf_text(&known));
		return -EINVAL;
	}
	if (!*p->at[0]) {
		snprintf(why, BIND_WHY, "'%.200s': the path is missing", word);
		return -EINVAL;
	}
	return 0;
}

/* ---- paths */

/* Without "//", "." and a slash at the end. NULL, if it climbs out by "..", or nothing is left. */
static char *clean_path(const char *path)
{
	struct buf clean = {0};
	bool is_absolute = *path == '/';
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			buf_fini(&clean);
			return NULL;
		}
		if (n && !(n == 1 && *p == '.')) {
			if (is_absolute || clean.n)
				buf_puts(&clean, "/");
			buf_put(&clean, p, n);
		}
		p += n + (p[n] == '/');
	}
	return clean.n ? buf_steal_text(&clean) : NULL;
}

static bool is_local_filesystem(const char *path)
{
	static const uint32_t local[] = {EXT4_SUPER_MAGIC,      BTRFS_SUPER_MAGIC, TMPFS_MAGIC,     RAMFS_MAGIC,
					 OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,  XFS_SUPER_MAGIC, ZFS_MAGIC};
	struct statfs fs;
	if (statfs(path, &fs) < 0)
		return false;
	for (size_t i = 0; i < countof(local); i++) {
		if ((uint32_t)fs.f_type == local[i])
			return true;
	}
	return false;
}

/* HOST:PORT; a name or a directory is a cluster of this machine. */
static bool is_cluster_elsewhere(void)
{
	const char *where = getenv("VINE");
	return where && strchr(where, ':') && !strchr(where, '/');
}

static bool is_sent(const char *path, enum bind_send send)
{
	return send == BIND_SEND_YES || (send == BIND_SEND_AUTO && is_cluster_elsewhere() && is_local_filesystem(path));
}

/* The word that a name begins with, or NULL. */
static const char *kind_of(const char *name)
{
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(name, kinds[i]))
			return kinds[i];
	}
	return NULL;
}

static struct bind *add(struct binds *all, const char *word)
{
	all->at = xrealloc(all->at, (all->n + 1) * sizeof *all->at);
	struct bind *b = &all->at[all->n++];
	*b = (struct bind){.word = xstrdup(word)};
	return b;
}

static void bind_fini(struct bind *b)
{
	vine_file_free(b->file);
	free(b->word);
	free(b->uri);
	free(b->path);
	free(b->here);
}

/* ---- inputs */

/* Where the task sees it: `to`, else where `from` lies, below its directory if that is relative. */
static int place_input(struct bind *b, const char *from, const char *to, char why[BIND_WHY])
{
	const char *kind = kind_of(from), *path = kind ? from + strlen(kind) : from;
	bool has_path = kind ? !streq(kind, "tree:") && !streq(kind, "temp:") : !strstr(from, "://");
	if (!to && has_path && *path == '/')
		return 0;
	if (to || has_path)
		b->path = clean_path(to ?: path);
	if (b->path)
		return 0;
	snprintf(why, BIND_WHY,
		 to ? "%.200s: the path for the task must name something, without '..'"
		    : "%.200s: say where the task shall see it: FROM:TO",
		 b->word);
	return -EINVAL;
}

int bind_input(struct binds *all, const char *word, enum bind_send send, char why[BIND_WHY])
{
	static const struct flag_word words[] = {{"rw", VINE_RW}, {"ro", 0x8000}, {NULL, 0}};
	_cleanup_(parts_fini) struct parts p = {.n = 0};
	unsigned flags;
	int r = split(word, 0, words, &p, &flags, why);
	if (r < 0)
		return r;
	const char *from = p.at[0], *to = p.n > 1 && *p.at[1] ? p.at[1] : NULL;
	struct bind *b = add(all, word);
	b->flags = flags & VINE_RW;
	bool is_plain = !kind_of(from) && !strstr(from, "://");
	b->uri = is_plain && is_sent(from, send) ? xasprintf("client:%s", from) : xstrdup(from);
	return place_input(b, from, to, why);
}

/* `path` or a directory that it lies in. */
static bool covers(const char *input, const char *path)
{
	size_t n = strlen(input);
	return strncmp(input, path, n) == 0 && (path[n] == 0 || path[n] == '/');
}

/* The absolute path of a file without another place is its own. */
static const char *seen_at(const struct bind *b)
{
	const char *kind = kind_of(b->uri);
	return b->path ? b->path : kind ? b->uri + strlen(kind) : b->uri;
}

int bind_stdin(struct binds *all, const char *word, enum bind_send send, char **path, char why[BIND_WHY])
{
	int r = bind_input(all, word, send, why);
	if (r < 0)
		return r;
	struct bind *last = &all->at[all->n - 1];
	*path = xstrdup(seen_at(last));
	for (size_t i = 0; i + 1 < all->n; i++) {
		if (!all->at[i].is_output && covers(seen_at(&all->at[i]), *path)) {
			bind_fini(last);
			all->n--;
			break;
		}
	}
	return 0;
}

/* ---- outputs */

/* What `to` means: a name in the cluster, a shared path, or a place here. */
static int place_output(struct bind *b, const char *to, char why[BIND_WHY])
{
	const char *kind = kind_of(to), *base = path_base(b->path);
	if (kind && streq(kind, "temp:")) {
		b->uri = xstrdup(to);
	} else if (kind && (streq(kind, "keep:") || streq(kind, "file:"))) {
		b->uri = xasprintf("keep:%s", to + strlen(kind));
	} else if (kind && !streq(kind, "client:")) {
		snprintf(why, BIND_WHY,
			 "%.200s: an output can be fetched to a path here, stay as temp:NAME, or be published at "
			 "keep:/PATH",
			 b->word);
		return -EINVAL;
	} else {
		const char *here = kind ? to + strlen(kind) : to;
		size_t n = strlen(here);
		b->here = n && here[n - 1] == '/' ? xasprintf("%s%s", here, base) : xstrdup(here);
	}
	b->flags |= b->uri ? VINE_NAMED : 0;
	return 0;
}

int bind_output(struct binds *all, const char *word, char why[BIND_WHY])
{
	static const struct flag_word words[] = {{"optional", VINE_OPTIONAL},
						 {"failed", VINE_ON_FAILURE},
						 {"always", VINE_ALWAYS},
						 {"pattern", VINE_PATTERN},
						 {NULL, 0}};
	_cleanup_(parts_fini) struct parts p = {.n = 0};
	unsigned flags;
	int r = split(word, 1, words, &p, &flags, why);
	if (r < 0)
		return r;
	const char *to = p.n > 1 && *p.at[1] ? p.at[1] : NULL;
	struct bind *b = add(all, word);
	b->is_output = true;
	b->flags = flags;
	b->path = clean_path(p.at[0]);
	if (!b->path) {
		snprintf(why, BIND_WHY,
			 "%.200s: what the task leaves is a path, absolute or below its directory, without '..'", word);
		return -EINVAL;
	}
	if (!to && flags & VINE_PATTERN) {
		snprintf(why, BIND_WHY,
			 "%.200s: what a pattern matches becomes a directory: name it, as in '%s:DIR:pattern'", word,
			 b->path);
		return -EINVAL;
	}
	return place_output(b, to ?: b->path, why);
}

void binds_fini(struct binds *all)
{
	for (size_t i = 0; i < all->n; i++)
		bind_fini(&all->at[i]);
	free(all->at);
	*all = (struct binds){0};
}
