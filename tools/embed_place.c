/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/embed.h"

#include "common/path.h"
#include "common/service.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCAL "/var/tmp" /* outlives a reboot, as what a cluster remembers should */
#define SOCKET_ROOM (sizeof("/n64/vinefs.sock"))

/* A directory of ours in one that everybody may write: nobody else's may pass for it. */
static int make_local(struct embed *e, const char *name, char **out)
{
	struct stat st;
	_free_ char *ours = xasprintf("%s/vine-%u", LOCAL, (unsigned)geteuid());
	_free_ char *path = path_join(ours, name);
	if (mkdir(ours, 0700) < 0 && errno != EEXIST)
		return embed_refuse(e, -errno, "%s: %s", ours, strerror(errno));
	if (lstat(ours, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return embed_refuse(e, -EPERM,
				    "%s is not a directory that only this user can write; remove it, or set "
				    "XDG_STATE_HOME to a local directory",
				    ours);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return embed_refuse(e, -errno, "%s: %s", path, strerror(errno));
	*out = steal(path);
	return 0;
}

/* NULL, or why it cannot be there itself. */
static const char *fault_of(const char *parent, const char *path)
{
	char name[32];
	bool is_network = false;
	if (strlen(path) + SOCKET_ROOM > sizeof((struct sockaddr_un *)0)->sun_path)
		return "its path is too long for a socket";
	service_filesystem(parent, name, &is_network);
	return is_network ? "it is on a network filesystem" : NULL;
}

static int make_here(struct embed *e, const char *path)
{
	struct stat st;
	_free_ char *parent = xstrndup(path, (size_t)(path_base(path) - path - 1)), *local = NULL;
	int r = path_make_dirs(parent, 0700);
	if (r)
		return embed_refuse(e, r, "%s cannot be made: %s", parent, strerror(-r));
	/* A link stays one: on each machine it leads to a directory of that machine. */
	bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
	const char *fault = fault_of(parent, path);
	if (!fault && !is_link) {
		r = path_make_dirs(path, 0700);
		return r ? embed_refuse(e, r, "%s cannot be made: %s", path, strerror(-r)) : 0;
	}
	r = make_local(e, path_base(path), &local);
	if (r || is_link)
		return r;
	if (symlink(local, path) < 0)
		return embed_refuse(e, -errno, "%s: %s", path, strerror(errno));
	tool_fail(NULL, "%s: %s, so what is kept there lies in %s of this machine", path, fault, local);
	return 0;
}

int embed_place(struct embed *e, const char *path, char **real)
{
	char resolved[PATH_MAX];
	struct stat st;
	assert(*path == '/');
	int r = stat(path, &st) == 0 ? 0 : make_here(e, path);
	if (r)
		return r;
	if (stat(path, &st) == 0 && st.st_uid != geteuid())
		return embed_refuse(
			e, -EPERM, "%s belongs to user %u, and this is user %u; set HOME or XDG_STATE_HOME to your own",
			path, (unsigned)st.st_uid, (unsigned)geteuid());
	if (!realpath(path, resolved))
		return embed_refuse(e, -errno, "%s: %s", path, strerror(errno));
	*real = xstrdup(resolved);
	return 0;
}
