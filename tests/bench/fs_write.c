/* SPDX-License-Identifier: Apache-2.0
 * What a task writes: in its working directory, and beside inputs that it may write to (an overlay), over the same in a directory of the local disk. */
#include "common/path.h"
#include "tests/bench/bench_fs.h"

enum { WRITE_MIB = 1024, BLOCKS_MIB = 128, NEW_FILES = 10000 };

struct writing {
	const char *what, *work;
	unsigned n, m, n_steps;
};

/* Never two rounds in one directory, so nothing is created where others were removed just now. */
static double time_in(struct fs_agent *a, const struct writing *c, const char *directory)
{
	double usec = fs_ask(a, c->work, c->n, c->m, directory);
	if (streq(c->work, "write"))
		fs_ask(a, "unwrite", 0, 0, directory);
	return usec;
}

/* The median of the ratios. */
static double compare(struct fs_world *w, struct fs_agent *a, const struct writing *c, const char *native,
		      const char *own, const char *where)
{
	double at_native[FS_PAIRS_MOST], at_own[FS_PAIRS_MOST];
	time_in(a, c, own);
	for (unsigned i = 0; i < w->n_pairs; i++) {
		at_native[i] = time_in(a, c, native);
		at_own[i] = time_in(a, c, own);
	}
	_free_ char *place = xasprintf("%s, %s", where, a->user == FS_ROOT ? "root" : "user");
	return fs_report(w, c->what, place, at_native, at_own, w->n_pairs, c->n_steps);
}

void fs_write(struct fs_world *w)
{
	const struct writing all[] = {
		{"1 GiB in order, to the disk", "write", fs_scaled(w, WRITE_MIB), 1024, 1},
		{"writes of 4 KiB, to the disk", "write", fs_scaled(w, BLOCKS_MIB), 4, fs_scaled(w, BLOCKS_MIB) * 256},
		{"new files of 1 KiB", "create", fs_scaled(w, NEW_FILES), 1024, fs_scaled(w, NEW_FILES)},
	};
	double worst = 0;
	_free_ char *tree = path_join(w->directory, "tree");
	fs_make_files(tree, 100, 0);
	for (enum fs_user user = FS_ROOT; user < FS_USERS; user++) {
		_free_ char *native = xasprintf("%s/%s/native", w->directory, user == FS_ROOT ? "root" : "user");
		_free_ char *input = xasprintf("%s:%s/%s/m:rw", tree, w->directory, user == FS_ROOT ? "root" : "user");
		fs_run(w, user, (const char *const[]){"mkdir", native, NULL});
		struct fs_agent *a = fs_agent_as_task(w, user, input);
		for (size_t i = 0; i < countof(all); i++) {
			worst = max(worst, compare(w, a, &all[i], native, ".", "own directory"));
			compare(w, a, &all[i], native, a->directory, "beside inputs");
		}
		fs_agent_free(a);
	}
	fs_end(w, worst, "x native", "1.03; beside inputs 1.15");
}
