/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_fs.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

static char environment[256], torch[256], torch_why[512];

/* tests/bench/make-env KIND DIR; what it says when it cannot goes to `why`. */
static bool make(const char *kind, const char *directory, char *why, size_t n)
{
	const char *src = getenv("SRC");
	_free_ char *command = xasprintf("'%s/tests/bench/make-env' %s '%s'", src && *src ? src : ".", kind, directory);
	char line[512];
	FILE *f = popen(command, "r");
	snprintf(why, n, "make-env did not run");
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		snprintf(why, n, "%s", line);
		puts(line);
		fflush(stdout);
	}
	return f && pclose(f) == 0;
}

/* Made once and kept: it is half a gigabyte from the network. */
static void find(const char *kind, const char *told, const char *name, char to[256], char *why, size_t n)
{
	const char *build = getenv("BUILD");
	assert(n > 0);
	char real[PATH_MAX];
	_free_ char *made = path_join(build && *build ? build : ".", name);
	to[0] = 0;
	if (!(told && *told) && !make(kind, made, why, n))
		return;
	if (!realpath(told && *told ? told : made, real) || strlen(real) >= 256)
		snprintf(why, n, "%s: %s", told && *told ? told : made, strerror(errno));
	else
		strcpy(to, real);
}

void fs_prepare_import(void)
{
	char why[512];
	find("python", getenv("VINE_BENCH_ENV"), "bench-env", environment, why, sizeof why);
	if (!environment[0])
		bench_cannot("fs-import", why);
}

void fs_prepare_import_and_torch(void)
{
	fs_prepare_import();
	find("torch", getenv("VINE_BENCH_TORCH"), "bench-torch", torch, torch_why, sizeof torch_why);
}

/* What pyvenv.cfg calls home: the standard library is not in the environment, and both sides read it from there. */
static char *home_of(const char *path)
{
	_free_ char *cfg = path_join(path, "pyvenv.cfg");
	_free_ char *text = path_read(cfg, 65536, NULL);
	char *at = text ? strstr(text, "home = ") : NULL;
	if (!at)
		return NULL;
	at += strlen("home = ");
	at[strcspn(at, "\n")] = 0;
	_free_ char *bin = xstrdup(at);
	char *slash = strrchr(bin, '/');
	if (slash && slash > bin)
		*slash = 0;
	return realpath(bin, NULL);
}

const char *fs_environment(const struct fs_world *w)
{
	_free_ char *home = home_of(environment);
	fs_open_way(w, (const char *const[]){environment, home, torch[0] ? torch : NULL}, 3);
	return environment;
}

void fs_import(struct fs_world *w)
{
	struct fs_compare c = {
		.what = "import by 1 process", .work = "import", .n = 1, .n_steps = 1, .tree = fs_environment(w)};
	fs_compare(w, &c);
	c.what = "import by 8 processes";
	c.n = w->is_quick ? 2 : 8;
	double eight = fs_compare(w, &c);
	if (torch[0]) {
		c = (struct fs_compare){.what = "import torch by 1 process",
					.work = "import-torch",
					.n = 1,
					.n_steps = 1,
					.tree = torch};
		fs_compare(w, &c);
	} else {
		printf("import torch: cannot run here: %s\n", torch_why);
	}
	fs_end(w, eight, "x native", "1.10; 1 process 1.15; torch 1.15");
}

void fs_import_first(struct fs_world *w)
{
	const struct fs_compare c = {.what = "import right after attach",
				     .work = "import",
				     .n = 1,
				     .n_steps = 1,
				     .tree = fs_environment(w),
				     .when = FS_ATTACHED};
	fs_end(w, fs_compare(w, &c), "x native", "1.25");
}

void fs_import_cold(struct fs_world *w)
{
	const struct fs_compare c = {.what = "import, all caches dropped",
				     .work = "import",
				     .n = 1,
				     .n_steps = 1,
				     .tree = fs_environment(w),
				     .when = FS_COLD};
	fs_end(w, fs_compare(w, &c), "x native", "1.10");
}
