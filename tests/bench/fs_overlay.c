/* SPDX-License-Identifier: Apache-2.0
 * MOUNT.md fact 4: what an overlay above the mount saves and costs, warm, in a private mount. Three sides by turns: native, the mount, the overlay. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_fs.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_FILES = 10000 };

struct row {
	const char *what, *work;
	unsigned n, m, n_steps;
	double ratio; /* of the overlay over the mount: the worse of root and user */
};

/* Its directories are the user's own, on the local disk. */
static char *make_places(const struct fs_world *w, const struct fs_agent *a, unsigned round)
{
	static const char *const names[] = {"", "upper", "work", "merged"};
	char *base = xasprintf("%s/%s/overlay%u", w->directory, a->user == FS_ROOT ? "root" : "user", round);
	for (size_t i = 0; i < countof(names); i++) {
		_free_ char *path = path_join(base, names[i]);
		if (mkdir(path, 0755) < 0 || (a->user == FS_USER && chown(path, 65534, 65534) < 0))
			fs_fail("%s: %s", path, strerror(errno));
	}
	_free_ char *lower = path_join(base, "lower");
	if (symlink(a->directory, lower) < 0)
		fs_fail("%s: %s", lower, strerror(errno));
	return base;
}

static void measure(struct fs_world *w, struct fs_agent *a, struct row *r, const char *native, const char *merged)
{
	double at[FS_SIDES_MOST][FS_PAIRS_MOST], again[FS_PAIRS_MOST];
	const char *const roots[FS_SIDES_MOST] = {native, a->directory, merged};
	const char *where = fs_place_name(a->user, FS_PRIVATE);
	/* Each side once without counting, then by turns. */
	assert(w->n_pairs <= FS_PAIRS_MOST);
	_free_ char *over = xasprintf("%s, overlay", r->what);
	for (unsigned side = 0; side < FS_SIDES_MOST; side++)
		fs_ask(a, r->work, r->n, r->m, roots[side]);
	for (unsigned i = 0; i < w->n_pairs; i++)
		for (unsigned side = 0; side < FS_SIDES_MOST; side++)
			at[side][i] = fs_ask(a, r->work, r->n, r->m, roots[side]);
	/* Reporting sorts, and divides by the steps. */
	memcpy(again, at[0], sizeof again);
	double mounted = fs_report(w, r->what, where, again, at[1], w->n_pairs, r->n_steps);
	double overlaid = fs_report(w, over, where, at[0], at[2], w->n_pairs, r->n_steps);
	r->ratio = max(r->ratio, overlaid / mounted);
}

static void measure_tree(struct fs_world *w, const char *native, struct row *rows, unsigned n, unsigned round,
			 enum fs_user users)
{
	for (enum fs_user user = FS_ROOT; user < users; user++) {
		struct fs_agent *a = fs_agent_new(w, user, FS_PRIVATE, native, false);
		_free_ char *base = make_places(w, a, round), *merged = path_join(base, "merged");
		fs_ask(a, "overlay", 0, 0, base);
		for (unsigned i = 0; i < n; i++)
			measure(w, a, &rows[i], native, merged);
		fs_agent_free(a);
	}
}

void fs_overlay(struct fs_world *w)
{
	unsigned n = fs_scaled(w, SMALL_FILES);
	struct row imports[] = {{"import by 1 process", "import", 1, 0, 1, 0},
				{"import by 8 processes", "import", w->is_quick ? 2 : 8, 0, 1, 0}};
	struct row small[] = {{"find and stat", "walk", n, 0, n, 0},
			      {"stat", "stat", 1, n, n, 0},
			      {"open, read, close", "read", 1, n, n, 0}};
	_free_ char *native = path_join(w->directory, "native");
	fs_make_files(native, n, 0);
	measure_tree(w, native, small, countof(small), 0, FS_USERS);
	/* Its large files are bound, and in a user namespace of somebody else's making bound files are locked: EINVAL. */
	measure_tree(w, fs_environment(w), imports, countof(imports), 1, FS_ROOT + 1);
	puts("imports as an ordinary user: no overlay can be mounted here above files that are bound");
	printf("the overlay's time over the plain private mount's:\n");
	for (size_t i = 0; i < countof(imports); i++)
		printf("  %-24s %.3f\n", imports[i].what, imports[i].ratio);
	for (size_t i = 0; i < countof(small); i++)
		printf("  %-24s %.3f\n", small[i].what, small[i].ratio);
	fs_end(w, imports[1].ratio, "x the plain private mount", "none: decides whether a tree gets an overlay");
}
