/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/run_files.h"

#include "common/path.h"
#include "libvineclient/vine.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_empty(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *e;
	bool has_name = false;
	while (d && !has_name && (e = readdir(d)))
		has_name = !streq(e->d_name, ".") && !streq(e->d_name, "..");
	if (d)
		closedir(d);
	return d && !has_name;
}

static int check_place(const struct conf_table *t, const struct bind *b)
{
	struct stat st;
	if (stat(b->here, &st) == 0 && S_ISDIR(st.st_mode) && !is_empty(b->here))
		return tool_fail(
			t,
			"-o %s: here %s is a directory with something in it; move it away, or give another place: "
			"FROM:TO (TO/ puts it into the directory TO)",
			b->word, b->here);
	_free_ char *parent = xstrndup(b->here, (size_t)(path_base(b->here) - b->here));
	int r = *parent ? path_make_dirs(parent, 0777) : 0;
	return r < 0 ? tool_fail(t, "-o %s: the directory %s cannot be made: %s", b->word, parent, strerror(-r)) : 0;
}

int run_files_check(const struct conf_table *t, const struct binds *all)
{
	for (size_t i = 0; i < all->n; i++) {
		int status = all->at[i].here ? check_place(t, &all->at[i]) : 0;
		if (status)
			return status;
	}
	return 0;
}

static int bind_one(struct vine *v, struct vine_task *task, struct bind *b)
{
	int r = b->uri ? vine_file_new(v, b->uri, &b->file) : 0;
	if (r < 0)
		return r;
	return b->is_output ? vine_task_output(task, b->path, b->flags, &b->file)
			    : vine_task_input(task, b->file, b->path, b->flags);
}

int run_files_bind(const struct conf_table *t, struct vine *v, struct vine_task *task, struct binds *all)
{
	bool is_kept = false;
	for (size_t i = 0; i < all->n; i++) {
		struct bind *b = &all->at[i];
		if (bind_one(v, task, b) < 0)
			return tool_fail(t, "-%c %s: %s", b->is_output ? 'o' : 'i', b->word, vine_error());
		is_kept |= b->is_output && b->uri && has_prefix(b->uri, "temp:");
	}
	/* Whoever names it means to come back for it, which may be tomorrow. */
	if (is_kept && vine_set(v, "lifetime", "forever") < 0)
		return tool_fail(t, "%s", vine_error());
	return 0;
}

void run_files_hint(const struct binds *all, const char *reason)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct bind *b = &all->at[i];
		const char *name = b->file && !b->is_output ? vine_file_name(b->file) : "";
		const char *path = has_prefix(name, "file:") ? name + strlen("file:") : NULL;
		if (path && strstr(reason, path) && access(path, R_OK) == 0)
			tool_fail(NULL, "%s can be read here: if nodes cannot, -i client:%s sends it", path, b->word);
	}
}

/* What an attempt that ended so has left. */
static bool is_left(const struct bind *b, bool is_success)
{
	return b->flags & VINE_ALWAYS || (b->flags & VINE_ON_FAILURE ? !is_success : is_success);
}

int run_files_fetch(const struct conf_table *t, struct vine *v, const struct binds *all, bool is_success)
{
	int status = 0;
	for (size_t i = 0; i < all->n; i++) {
		const struct bind *b = &all->at[i];
		if (!b->here || !is_left(b, is_success))
			continue;
		int r = vine_fetch_to(v, b->file, b->here);
		/* Of a failure nobody knows what it came to. */
		bool may_miss = b->flags & VINE_OPTIONAL || !is_success;
		if (r < 0 && !(r == -ENOENT && may_miss))
			status = tool_fail(t, "-o %s: %s", b->word, vine_error());
	}
	return status;
}
