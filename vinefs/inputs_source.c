/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/inputs_internal.h"

#include <inttypes.h>
#include <stdio.h>

const char *source_path(const char *source)
{
	if (!has_prefix(source, "file:") && !has_prefix(source, "node:"))
		return NULL;
	const char *path = strchr(source, ':') + 1;
	return *path == '/' ? path : NULL;
}

/* A directory is what the walk of its names finds. */
bool source_is_as_seen(const char *path, const char *signature, const struct stat *st, char reason[600])
{
	char now[80];
	snprintf(now, sizeof now, "%" PRIu64 ":%" PRId64 ":%" PRIu64, (uint64_t)st->st_size,
		 (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, (uint64_t)st->st_ino);
	if (!*signature || !S_ISREG(st->st_mode) || streq(now, signature))
		return true;
	snprintf(reason, 600,
		 "%.350s has changed since it was submitted: size, time and inode were %.60s, and are %.60s; submit "
		 "again",
		 path, signature, now);
	return false;
}

bool source_is_for_tasks(const struct inputs *in, const char *path, const char *real, char reason[600])
{
	const char *why = in->ops && in->ops->why_not ? in->ops->why_not(in->owner, real) : NULL;
	if (why)
		snprintf(reason, 600, "%.400s: %.150s", path, why);
	return !why;
}

bool source_is_at_fault(int error)
{
	return error == -ENOENT || error == -EACCES || error == -EPERM || error == -ENOTDIR || error == -ELOOP ||
	       error == -ENAMETOOLONG || error == -ESTALE || error == -EINVAL;
}

/* An archive is a file to a task. */
enum fetch_kind source_kind(const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? FETCH_DIRECTORY : FETCH_FILE;
}
