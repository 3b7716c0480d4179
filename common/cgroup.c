/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cgroup.h"

#include <stdio.h>

bool cgroup_has_word(const char *text, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = text; at && (at = strstr(at, word)); at += n)
		if ((at == text || strchr(" ,\n", at[-1])) && (!at[n] || strchr(" ,\n", at[n])))
			return true;
	return false;
}

/* Its path within its hierarchy, as /proc/self/cgroup has it ("0::" is version 2). Yours to free. */
static char *find_path(const char *controller)
{
	char line[4096];
	char *found = NULL;
	FILE *f = fopen("/proc/self/cgroup", "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = 0;
		if (*controller ? cgroup_has_word(names + 1, controller) : !names[1])
			found = xstrdup(path);
	}
	if (f)
		fclose(f);
	return found;
}

/* Where the hierarchy is mounted, and which group of it is there. */
static bool find_mount(const char *controller, char root[4096], char at[4096])
{
	char line[9000], type[64], options[1024];
	bool is_found = false;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && !is_found && fgets(line, sizeof line, f)) {
		const char *rest = strstr(line, " - ");
		if (!rest || sscanf(line, "%*d %*d %*s %4095s %4095s", root, at) != 2 ||
		    sscanf(rest, " - %63s %*s %1023s", type, options) != 2)
			continue;
		is_found = *controller ? streq(type, "cgroup") && cgroup_has_word(options, controller)
				       : streq(type, "cgroup2");
	}
	if (f)
		fclose(f);
	return is_found;
}

char *cgroup_ours(const char *controller)
{
	char root[4096], at[4096];
	_free_ char *path = find_path(controller);
	if (!path || !find_mount(controller, root, at))
		return NULL;
	size_t n = streq(root, "/") ? 0 : strlen(root);
	if (strncmp(path, root, n) || (path[n] && path[n] != '/'))
		return NULL;
	return xasprintf("%s%s", at, streq(path + n, "/") ? "" : path + n);
}
