/* SPDX-License-Identifier: Apache-2.0
 * Patterns: `*`, `?` and `[...]` within a component, as in sh; a dot at a name's beginning is meant only if it is written. */
#include "vinefs/run/outputs_internal.h"

#include "common/path.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#define MATCHES_MOST 1000000u

bool is_pattern(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
}

struct glob {
	const struct outputs_work *work;
	int root;
	size_t n_base; /* of the path of what is matched: the directory's, with its slash */
	struct names *matches;
};

static int match_in(const struct glob *g, const struct found *directory, const char *pattern);

static int match_one(const struct glob *g, const struct found *directory, const char *name, const char *rest)
{
	struct found child;
	int r = find_child(directory, g->root, name, &child);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!*rest)
		names_add(g->matches, xstrdup(child.path + g->n_base));
	else if (S_ISDIR(child.mode))
		r = match_in(g, &child, rest);
	found_fini(&child);
	return r;
}

static int match_in(const struct glob *g, const struct found *directory, const char *pattern)
{
	_cleanup_(names_fini) struct names names = {0};
	size_t n = strcspn(pattern, "/");
	_free_ char *part = xstrndup(pattern, n);
	const char *rest = pattern + n + (pattern[n] == '/');
	int r = find_names(directory, g->root, &names);
	for (size_t i = 0; i < names.n && r == 0; i++) {
		if (work_is_cancelled(g->work))
			r = -ECANCELED;
		else if (g->matches->n >= MATCHES_MOST)
			r = -E2BIG;
		else if (fnmatch(part, names.at[i], FNM_PERIOD) == 0)
			r = match_one(g, directory, names.at[i], rest);
	}
	return r;
}

int glob_output(const struct outputs_work *w, const char *pattern, struct found *directory, struct names *matches,
		struct buf *why)
{
	const char *rest = pattern;
	for (const char *at = pattern; *at;) {
		size_t n = strcspn(at, "/");
		_free_ char *part = xstrndup(at, n);
		rest = at;
		if (is_pattern(part))
			break;
		at += n + (at[n] == '/');
	}
	size_t n = (size_t)(rest - pattern);
	while (n > 1 && pattern[n - 1] == '/')
		n--;
	_free_ char *base = xstrndup(pattern, n);
	int r = find_output(w, base, directory, why);
	if (r < 0)
		return r;
	if (directory->lower == LOWER_UNKNOWN) {
		say_unknown(directory->place, why);
		return -ENODATA;
	}
	if (!S_ISDIR(directory->mode)) {
		buf_printf(why, "%s is no directory", base);
		return -ENOTDIR;
	}
	_close_ int root = place_open(w, directory->place, O_PATH);
	const struct glob g = {w, root, strlen(directory->path) + (*directory->path != 0), matches};
	r = match_in(&g, directory, rest);
	if (r < 0)
		buf_printf(why, "%s", r == -E2BIG ? "more than a million names match" : strerror(-r));
	else if (!matches->n)
		buf_puts(why, "nothing there matches");
	names_sort(matches);
	return r < 0 ? r : matches->n ? 0 : -ENOENT;
}

bool glob_wants(const struct names *matches, const char *path)
{
	_free_ char *below = xasprintf("%s/", path);
	size_t i = names_at(matches, below);
	if (i < matches->n && has_prefix(matches->at[i], below))
		return true;
	/* Itself, or what it lies in. */
	for (size_t n = strlen(below); n > 0; n--) {
		if (below[n - 1] != '/')
			continue;
		below[n - 1] = 0;
		i = names_at(matches, below);
		if (i < matches->n && streq(matches->at[i], below))
			return true;
	}
	return false;
}
