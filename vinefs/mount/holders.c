/* SPDX-License-Identifier: Apache-2.0
 * Who keeps a mount busy: found in /proc, by mount and device numbers, without touching the mount, which may not answer. */
#include "vinefs/mount/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#define HOLDERS_MAX 64u /* mounts of one device that a process may see, binds included */

/* \040 and the like, as mountinfo writes blanks. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
		    p[3] <= '7') {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = 0;
}

static bool parse(const char *line, struct mountpoint *at)
{
	unsigned long id;
	if (sscanf(line, "%lu %*u %u:%u %4095s %4095s", &id, &at->major, &at->minor, at->root, at->path) != 5)
		return false;
	const char *rest = strstr(line, " - ");
	if (!rest || sscanf(rest + 3, "%63s", at->type) != 1)
		return false;
	at->id = id;
	unescape(at->root);
	unescape(at->path);
	return true;
}

int holders_each_mount(const char *pid, bool (*on_mount)(void *arg, const struct mountpoint *at), void *arg)
{
	_free_ struct mountpoint *at = NEW(struct mountpoint);
	_free_ char *line = NULL;
	size_t room = 0;
	char path[64];
	snprintf(path, sizeof path, "/proc/%.32s/mountinfo", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return -errno;
	while (getline(&line, &room, f) > 0) {
		if (parse(line, at) && on_mount(arg, at))
			break;
	}
	fclose(f);
	return 0;
}

struct search {
	unsigned major, minor;
	struct {
		uint64_t id;
		char *path;
	} at[HOLDERS_MAX];
	unsigned n;
};

static bool is_of_device(void *arg, const struct mountpoint *at)
{
	struct search *s = arg;
	if (at->major == s->major && at->minor == s->minor && s->n < HOLDERS_MAX) {
		s->at[s->n].id = at->id;
		s->at[s->n++].path = xstrdup(at->path);
	}
	return false;
}

static bool link_leads_there(const struct search *s, const char *pid, const char *what)
{
	char path[64], target[4096];
	snprintf(path, sizeof path, "/proc/%.32s/%s", pid, what);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	for (unsigned i = 0; i < s->n; i++) {
		size_t length = strlen(s->at[i].path);
		if (strncmp(target, s->at[i].path, length) == 0 && (target[length] == 0 || target[length] == '/'))
			return true;
	}
	return false;
}

static unsigned count_open(const struct search *s, const char *pid)
{
	char path[64], line[128];
	unsigned n = 0;
	snprintf(path, sizeof path, "/proc/%.32s/fdinfo", pid);
	DIR *d = opendir(path);
	if (!d)
		return 0;
	const struct dirent *e;
	while ((e = readdir(d))) {
		unsigned long id = 0;
		snprintf(path, sizeof path, "/proc/%.32s/fdinfo/%.16s", pid, e->d_name);
		FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (f && fgets(line, sizeof line, f) && sscanf(line, "mnt_id: %lu", &id) != 1)
			;
		if (f)
			fclose(f);
		for (unsigned i = 0; i < s->n && id; i++)
			n += s->at[i].id == id;
	}
	closedir(d);
	return n;
}

static bool is_mapped(const struct search *s, const char *pid)
{
	_free_ char *line = NULL;
	size_t room = 0;
	char path[64];
	bool found = false;
	snprintf(path, sizeof path, "/proc/%.32s/maps", pid);
	FILE *f = fopen(path, "re");
	while (f && !found && getline(&line, &room, f) > 0) {
		unsigned major, minor;
		found = sscanf(line, "%*s %*s %*s %x:%x", &major, &minor) == 2 && major == s->major &&
			minor == s->minor;
	}
	if (f)
		fclose(f);
	return found;
}

static void look_at(const struct search *s, const char *pid, struct buf *to)
{
	unsigned n_open = count_open(s, pid);
	bool is_inside = link_leads_there(s, pid, "cwd"), is_root = link_leads_there(s, pid, "root");
	bool maps = is_mapped(s, pid);
	if (!n_open && !is_inside && !is_root && !maps)
		return;
	char path[64], name[64] = "?";
	snprintf(path, sizeof path, "/proc/%.32s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f && fgets(name, sizeof name, f))
		name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
	char shown[256];
	buf_printf(to, "%s %s:%s%s%s", pid, log_escape(name, strlen(name), shown, sizeof shown),
		   is_inside ? " works in it," : "", is_root ? " has it as its root," : "",
		   maps ? " runs or maps files of it," : "");
	if (n_open)
		buf_printf(to, " has %u open there,", n_open);
	assert(to->n > 0 && to->at[to->n - 1] == ',');
	to->at[to->n - 1] = '\n';
}

void holders_list(unsigned major, unsigned minor, struct buf *to)
{
	struct search s = {.major = major, .minor = minor};
	DIR *d = opendir("/proc");
	if (!d)
		return;
	const struct dirent *e;
	while ((e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		/* Each process may be in a mount namespace of its own, with numbers of its own. */
		holders_each_mount(e->d_name, is_of_device, &s);
		if (s.n)
			look_at(&s, e->d_name, to);
		while (s.n)
			free(s.at[--s.n].path);
	}
	closedir(d);
}
