/* SPDX-License-Identifier: Apache-2.0
 * Handles on items: what a name means is settled here, and a shared path is looked at, once. */
#include "common/conf.h"
#include "common/digest.h"
#include "common/path.h"
#include "common/secret.h"
#include "libvineclient/client.h"
#include "libvineclient/sealed.h"
#include "libvineclient/task.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ITEM_MOST 4095
#define TEMP_MOST 255
#define BYTES_MOST (256u << 20)
#define BYTES_TIME 315619200 /* 1980-01-02 */

struct file_settings {
	uint64_t size;
};

static const struct conf_setting file_settings_table[] = {
	{.name = "size", .type = CONF_TYPE_SIZE, .offset = offsetof(struct file_settings, size), .most = "1024P"},
};

static const struct conf_table file_table = {
	.program = "file",
	.summary = "",
	.usage = "",
	.at = file_settings_table,
	.n = countof(file_settings_table),
};

/* Takes over `item`. */
static struct vine_file *file_new(char *item)
{
	struct vine_file *f = NEW(struct vine_file);
	f->refs = 1;
	f->item = item;
	f->is_pattern = strstr(item, "{index}") != NULL;
	return f;
}

struct vine_file *file_new_temp(void)
{
	uint64_t random[2];
	secret_random(random, sizeof random);
	return file_new(xasprintf("temp:%016" PRIx64 "%016" PRIx64, random[0], random[1]));
}

struct vine_file *file_ref(struct vine_file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void vine_file_free(struct vine_file *f)
{
	if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(f->item);
	free(f->signature);
	local_free(f->local);
	free(f);
}
DEFINE_FREEP(struct vine_file, vine_file_free)

const char *vine_file_name(const struct vine_file *f)
{
	return f->item;
}

const char *file_path(const struct vine_file *f)
{
	static const char *const kinds[] = {"file:", "node:", "client:"};
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(f->item, kinds[i]))
			return f->item + strlen(kinds[i]);
	}
	return NULL;
}

/* ---- names that are not looked at */

static int new_temp(const char *uri, struct vine_file **out)
{
	const char *name = uri + strlen("temp:");
	size_t n = strlen(name);
	if (!n || n > TEMP_MOST)
		return error_set(EINVAL, "file '%s': a temporary has a name of 1 to %d characters", uri, TEMP_MOST);
	for (const char *p = name; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 127 || *p == ',')
			return error_set(EINVAL, "file '%s': blanks, control characters and ',' cannot be in its name",
					 uri);
	}
	*out = file_new(xstrdup(uri));
	return 0;
}

static int new_tree(const char *uri, struct vine_file **out)
{
	struct digest d;
	if (digest_parse(uri + strlen("tree:"), &d) < 0)
		return error_set(EINVAL,
				 "file '%s': a tree is named by all 64 hex digits of its id; `vine seal` prints it",
				 uri);
	*out = file_new(xstrdup(uri));
	return 0;
}

/* The path without "//" and "/./"; `path` is absolute. */
static int clean_path(const char *uri, const char *path, char **out)
{
	_cleanup_(buf_fini) struct buf clean = {0};
	assert(*path == '/');
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0)
			return error_set(EINVAL, "file '%s': '..' cannot be in it, for elsewhere it may lead elsewhere",
					 uri);
		if (n && !(n == 1 && *p == '.')) {
			buf_puts(&clean, "/");
			buf_put(&clean, p, n);
		}
		p += n + (p[n] == '/');
	}
	if (!clean.n)
		buf_puts(&clean, "/");
	if (clean.n > ITEM_MOST)
		return error_set(ENAMETOOLONG, "file '%.80s...': %zu characters; a path has at most %d", uri, clean.n,
				 ITEM_MOST);
	*out = buf_steal_text(&clean);
	return 0;
}

/* What is behind `prefix` is absolute and becomes an item of this kind. */
static int new_unseen(const char *uri, const char *prefix, const char *kind, struct vine_file **out)
{
	const char *path = uri + strlen(prefix);
	if (*path != '/')
		return error_set(EINVAL, "file '%s': after %s stands an absolute path, as nodes see it", uri, prefix);
	_free_ char *clean = NULL;
	int r = clean_path(uri, path, &clean);
	if (!r)
		*out = file_new(xasprintf("%s%s", kind, clean));
	return r;
}

static int new_node(const char *uri, struct vine_file **out)
{
	return new_unseen(uri, "node:", "node:", out);
}

/* What a task will leave there is not there yet. */
static int new_keep(const char *uri, struct vine_file **out)
{
	return new_unseen(uri, "keep:", "file:", out);
}

/* ---- shared paths */

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "neither a file nor a directory";
	}
}

/* Once: what the cluster reads later is compared with what was seen here. */
static int look(const char *path, struct vine_file *f)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		int e = errno;
		return error_set(e, "file %s: %s; if only nodes have it, name it node:%s", path, strerror(e), path);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return error_set(EINVAL, "file %s: it is %s; a task's input is a file or a directory", path,
				 kind_name(st.st_mode));
	if (faccessat(AT_FDCWD, path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK, AT_EACCESS) < 0) {
		int e = errno;
		return error_set(e, "file %s: it cannot be read: %s", path, strerror(e));
	}
	f->signature = xasprintf("%" PRIu64 ":%" PRId64 ":%" PRIu64, (uint64_t)st.st_size,
				 (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, (uint64_t)st.st_ino);
	f->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

/* A path with ".." is followed to its end, for only the kernel knows what it means; any other keeps the words it was given in. */
static int make_absolute(const char *uri, const char *path, char **out)
{
	bool is_climbing = streq(path, "..") || has_prefix(path, "../") || strstr(path, "/../") ||
			   (strlen(path) > 3 && streq(path + strlen(path) - 3, "/.."));
	if (is_climbing && !strstr(path, "{index}")) {
		*out = realpath(path, NULL);
		return *out ? 0 : error_set(errno, "file %s: %s", path, strerror(errno));
	}
	_free_ char *here = *path == '/' ? NULL : getcwd(NULL, 0);
	if (*path != '/' && !here)
		return error_set(errno, "file %s: the present directory cannot be read: %s", path, strerror(errno));
	_free_ char *whole = path_join(here ? here : "/", path);
	return clean_path(uri, whole, out);
}

static int new_path(const char *uri, struct vine_file **out)
{
	const char *path = has_prefix(uri, "file:") ? uri + strlen("file:") : uri;
	if (strstr(uri, "://"))
		return error_set(EOPNOTSUPP, "file '%s': URLs cannot be named yet; bring it to a shared path first",
				 uri);
	if (!*path)
		return error_set(EINVAL, "file '%s': the path is missing", uri);
	_free_ char *whole = NULL;
	int r = make_absolute(uri, path, &whole);
	if (r < 0)
		return r;
	_cleanup_(vine_file_freep) struct vine_file *f = file_new(xasprintf("file:%s", whole));
	r = f->is_pattern ? 0 : look(whole, f);
	if (r < 0)
		return r;
	*out = steal(f);
	return 0;
}

/* ---- what this process alone sees */

static int new_client(const char *uri, struct vine_file **out)
{
	const char *path = uri + strlen("client:");
	_free_ char *whole = NULL;
	if (!*path)
		return error_set(EINVAL, "file '%s': the path is missing", uri);
	if (strstr(path, "{index}"))
		return error_set(EOPNOTSUPP,
				 "file '%s': each element of an array has its own only of shared paths; give all of "
				 "them the directory",
				 uri);
	int r = make_absolute(uri, path, &whole);
	if (r < 0)
		return r;
	_cleanup_(vine_file_freep) struct vine_file *f = file_new(xasprintf("client:%s", whole));
	r = look(whole, f);
	if (r < 0)
		return r;
	free(steal(f->signature)); /* nobody else can compare it */
	f->local = local_new(whole);
	*out = steal(f);
	return 0;
}

/* A file in memory, with one time for all, so that the same bytes are the same tree: of 1980, before which some programs refuse one. */
static int make_memory(const void *p, size_t n)
{
	_close_ int fd = memfd_create("vine", MFD_CLOEXEC);
	const struct timespec times[2] = {{.tv_sec = BYTES_TIME}, {.tv_sec = BYTES_TIME}};
	for (size_t done = 0; fd >= 0 && done < n;) {
		ssize_t w = pwrite(fd, (const char *)p + done, n - done, (off_t)done);
		if (w < 0 && errno != EINTR)
			return -errno;
		done += w > 0 ? (size_t)w : 0;
	}
	if (fd < 0 || fchmod(fd, 0644) < 0 || futimens(fd, times) < 0)
		return -errno;
	return steal_fd(&fd);
}

int vine_file_bytes(struct vine *v, const void *p, size_t n, struct vine_file **f)
{
	struct sealed *s;
	*f = NULL;
	if (n > BYTES_MOST)
		return error_set(E2BIG, "%zu bytes are too many to be held in memory; at most %u: make a file of them",
				 n, BYTES_MOST);
	int r = session_enter(v);
	if (r < 0)
		return r;
	int fd = make_memory(p, n);
	r = fd < 0 ? error_set(-fd, "%zu bytes cannot be held: %s", n, strerror(-fd))
		   : sealed_new("(bytes)", fd, NULL, &s);
	if (!r) {
		*f = file_new(xstrdup(s->name));
		(*f)->size = sealed_size(s);
		(*f)->local = local_of(s);
	}
	session_leave(v);
	return r;
}

int vine_file_new(struct vine *v, const char *uri, struct vine_file **f)
{
	static const struct {
		const char *prefix;
		int (*make)(const char *uri, struct vine_file **out);
	} kinds[] = {{"temp:", new_temp}, {"tree:", new_tree},     {"node:", new_node},
		     {"keep:", new_keep}, {"client:", new_client}, {"", new_path}};
	*f = NULL;
	if (!uri || !*uri)
		return error_set(
			EINVAL,
			"the name of a file is empty: give a path, client:PATH, node:/PATH, tree:ID or temp:NAME");
	int r = value_check_word("file", uri, ITEM_MOST);
	if (!r)
		r = session_enter(v);
	if (r < 0)
		return r;
	size_t i = 0;
	while (!has_prefix(uri, kinds[i].prefix))
		i++;
	assert(i < countof(kinds));
	r = kinds[i].make(uri, f);
	session_leave(v);
	return r;
}

int vine_file_set(struct vine_file *f, const char *name, const char *value)
{
	static const char *const later[] = {"checksum", "lifetime", "mode", "replicas"};
	struct file_settings s = {.size = f->size};
	struct conf_error e;
	for (size_t i = 0; i < countof(later); i++) {
		if (streq(name, later[i]))
			return error_set(EOPNOTSUPP, "%s: this version has no such setting of files yet; it has size",
					 name);
	}
	int r = conf_set(&file_table, &s, name, value, &e);
	if (r < 0)
		return error_set(-r, "%s", e.text);
	f->size = s.size;
	return 0;
}
