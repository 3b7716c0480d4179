/* SPDX-License-Identifier: Apache-2.0
 * What no view shows besides the state directory: where the node's data lies if that is elsewhere, the cluster's secret, and what other daemons of this user keep here. Looked at once,
 * at the start. */
#include "vinefs/link_internal.h"

#include "common/path.h"
#include "common/service.h"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

static bool is_in(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	return strncmp(path, directory, n) == 0 && (n == 1 || !path[n] || path[n] == '/');
}

/* Not what the node itself lies in: its sandboxes are to be seen. */
static void hide(struct link *k, const char *path)
{
	char real[PATH_MAX];
	size_t n = 0;
	if (!realpath(path, real) || is_in(k->state, real))
		return;
	while (k->hidden && k->hidden[n])
		n++;
	k->hidden = xrealloc(k->hidden, (n + 2) * sizeof *k->hidden);
	k->hidden[n] = xstrdup(real);
	k->hidden[n + 1] = NULL;
}

static char *directory_of(const char *path)
{
	size_t n = (size_t)(path_base(path) - path);
	return n > 1 ? xstrndup(path, n - 1) : xstrdup("/");
}

/* A directory of a vined's own, in which there is more than the file that was named. */
static void hide_cluster(struct link *k, const char *file)
{
	_free_ char *directory = directory_of(file), *database = path_join(directory, "vined.db");
	hide(k, access(database, F_OK) == 0 ? directory : file);
}

/* All clusters and nodes of this user that lie where they do unless it is said otherwise. */
static void hide_neighbours(struct link *k)
{
	_free_ char *any = service_state_path("any"), *all = directory_of(any);
	DIR *d = opendir(all);
	for (const struct dirent *e; d && (e = readdir(d));) {
		_free_ char *each = path_join(all, e->d_name);
		if (e->d_name[0] != '.')
			hide(k, each);
	}
	if (d)
		closedir(d);
}

void link_hide(struct link *k)
{
	const char *vined = k->settings->vined;
	assert(!k->hidden && !k->state);
	k->state = realpath(k->settings->state, NULL);
	if (!k->state)
		k->state = xstrdup(k->settings->state);
	hide(k, k->settings->cache);
	hide_cluster(k, k->settings->secret);
	if (has_prefix(vined, "unix:"))
		vined += strlen("unix:");
	if (*vined == '/')
		hide_cluster(k, vined);
	hide_neighbours(k);
}

const char *link_why_not(void *owner, const char *real)
{
	const struct link *k = owner;
	if (is_in(real, k->state))
		return "it lies in the node's own directory, which is nobody's input";
	if (is_in(k->state, real))
		return "the node's own directory lies in it: name what the task needs of it";
	for (size_t i = 0; k->hidden && k->hidden[i]; i++) {
		if (is_in(real, k->hidden[i]))
			return "it lies in what the node keeps from tasks";
		if (is_in(k->hidden[i], real))
			return "what the node keeps from tasks lies in it: name what the task needs of it";
	}
	return NULL;
}

void link_unhide(struct link *k)
{
	free(k->state);
	for (size_t i = 0; k->hidden && k->hidden[i]; i++)
		free(k->hidden[i]);
	free(k->hidden);
}
