/* SPDX-License-Identifier: Apache-2.0
 * Many files of an attempt in one directory are one tree on the mount, for it and those that come with the same. */
#include "common/path.h"
#include "tests/unit/inputs_world.h"

#include <stdio.h>

#define N 24u

/* An attempt's files: number i is f<i> of the directory `in`, declared below `directory`. */
struct files {
	struct wire_input inputs[40];
	struct wire_start start;
	char texts[40][2][300];
	char name[40][16];
	uint32_t n;
};

static void add(struct files *f, const char *in, unsigned number, const char *directory)
{
	uint32_t i = f->n++;
	char *source = f->texts[i][0], *path = f->texts[i][1];
	ASSERT(snprintf(f->name[i], sizeof f->name[i], "f%u", number) > 0);
	ASSERT(snprintf(source, sizeof f->texts[i][0], "file:%s/f%u", in, number) < (int)sizeof f->texts[i][0]);
	ASSERT(snprintf(path, sizeof f->texts[i][1], "%s%s-f%u", directory, path_base(in), number) > 0);
	f->inputs[i] = inputs_world_input(source, NULL);
	f->inputs[i].path = path;
	f->inputs[i].item = 1 + number + 100 * strlen(path_base(in));
}

static void add_all(struct files *f, const char *in, unsigned n, const char *directory)
{
	for (unsigned i = 0; i < n; i++)
		add(f, in, i, directory);
}

static struct told *prepare(struct inputs_world *w, uint64_t attempt, struct files *f)
{
	return inputs_world_prepare(w, attempt, &f->start, f->inputs, f->n);
}

static bool is_in_set(const struct inputs_world *w, const char *at)
{
	_free_ char *sets = path_join(w->mnt, "set-");
	return has_prefix(at, sets) && strchr(at + strlen(sets), '/');
}

static bool is_same_set(const char *a, const char *b)
{
	size_t n = (size_t)(path_base(a) - a);
	return n == (size_t)(path_base(b) - b) && memcmp(a, b, n) == 0;
}

static void check(struct inputs_world *w, const struct told *t, const struct files *f, uint32_t i)
{
	inputs_world_check(w, t->at[i], "", strchr(f->texts[i][0], '/'));
}

TEST(many_files_of_one_directory_are_one_tree)
{
	static struct inputs_world w;
	static struct files f, same;
	_free_ char *in = world_files("in", N, 5000, 1);
	WITH_VIEWS(&w);
	add_all(&f, in, N, "/opt/data/");
	add_all(&same, in, N, "/elsewhere/");
	struct told *t = prepare(&w, 1, &f), *u;
	inputs_world_until(&w, &t->is_ready);
	for (uint32_t i = 0; i < N; i++) {
		ASSERT(is_in_set(&w, t->at[i]) && is_same_set(t->at[0], t->at[i]) && t->is_file[i]);
		ASSERT_STR(path_base(t->at[i]), path_base(f.texts[i][1]));
		ASSERT(t->tree[i].algorithm != DIGEST_NONE);
		check(&w, t, &f, i);
	}
	/* Whoever comes with the same gets the same, wherever he wants it. */
	inputs_release(w.inputs, 1);
	u = prepare(&w, 2, &same);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(u->at[3], t->at[3]);
	check(&w, u, &same, 3);
	struct run_sizes n;
	inputs_sizes(w.inputs, 2, &n);
	ASSERT_EQ(n.local, 5000 * N);
	inputs_world_close(&w);
}

TEST(few_files_directories_and_large_ones_are_on_their_own)
{
	static struct inputs_world w;
	static struct files f, few;
	struct digest id;
	_free_ char *in = world_files("in", N, 5000, 1), *tree = world_files("tree", 3, 5000, 2);
	_free_ char *large = world_files("large", 1, 2 * MIB, 3);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, tree, NULL, false, &id), 0);
	add_all(&f, in, N, "");
	add(&f, large, 0, "");
	f.inputs[f.n] = inputs_world_input("", &id);
	f.inputs[f.n++].path = "a-tree";
	add_all(&few, in, 5, "");
	add(&few, in, 5, "other/");
	struct told *t = prepare(&w, 1, &f), *u;
	w.is_holding_jobs = false;
	while (!t->is_ready) {
		inputs_world_turn(&w);
		if (w.job)
			inputs_job_done(w.inputs, w.job, 0, 0);
		w.job = 0;
	}
	ASSERT(is_in_set(&w, t->at[0]) && is_in_set(&w, t->at[N - 1]));
	ASSERT(!is_in_set(&w, t->at[N]) && !is_in_set(&w, t->at[N + 1]));
	check(&w, t, &f, N);
	inputs_world_check(&w, t->at[N + 1], "f2", tree);
	u = prepare(&w, 2, &few);
	inputs_world_until(&w, &u->is_ready);
	for (uint32_t i = 0; i < few.n; i++) {
		ASSERT(!is_in_set(&w, u->at[i]));
		check(&w, u, &few, i);
	}
	/* And that has not been taken from those who have the set. */
	check(&w, t, &f, 2);
	inputs_world_close(&w);
}

TEST(what_the_attempts_of_a_sweep_share_becomes_a_tree_of_its_own)
{
	static struct inputs_world w;
	static struct files f[4];
	struct told *t[4];
	_free_ char *in = world_files("in", N, 5000, 1), *own = world_files("own", 4, 100, 2);
	WITH_VIEWS(&w);
	for (unsigned k = 0; k < 4; k++) {
		add_all(&f[k], in, N, "");
		add(&f[k], own, k, "");
		t[k] = prepare(&w, k + 1, &f[k]);
		inputs_world_until(&w, &t[k]->is_ready);
		check(&w, t[k], &f[k], 7);
		check(&w, t[k], &f[k], N);
	}
	ASSERT(is_same_set(t[0]->at[0], t[0]->at[N]) && !is_same_set(t[1]->at[0], t[0]->at[0]));
	ASSERT(is_same_set(t[1]->at[0], t[2]->at[0]) && is_same_set(t[1]->at[0], t[3]->at[N - 1]));
	ASSERT(!is_in_set(&w, t[2]->at[N]) && !is_in_set(&w, t[3]->at[N]));
	inputs_world_close(&w);
}

TEST(a_tree_of_many_files_that_nobody_uses_goes)
{
	static struct inputs_world w;
	static struct files f;
	static char answer[STEM_ANSWER_MAX];
	_free_ char *in = world_files("in", N, 5000, 1);
	WITH_VIEWS(&w);
	add_all(&f, in, N, "");
	struct told *t = prepare(&w, 1, &f);
	inputs_world_until(&w, &t->is_ready);
	inputs_shed(w.inputs);
	check(&w, t, &f, 1);
	inputs_release(w.inputs, 1);
	check(&w, t, &f, 2);
	w.n_forgotten = 0;
	ASSERT_EQ(inputs_shed(w.inputs), N);
	ASSERT_EQ(w.n_forgotten, 1);
	ASSERT(inputs_world_see(&w, 'r', t->at[3], NULL, answer) < 0);
	/* And is made again. */
	t = prepare(&w, 2, &f);
	inputs_world_until(&w, &t->is_ready);
	check(&w, t, &f, 3);
	inputs_world_close(&w);
}

TEST(a_new_process_goes_on_with_many_files_under_the_same_names)
{
	static struct inputs_world w;
	static struct files f, later;
	_free_ char *in = world_files("in", N, 50000, 1);
	WITH_VIEWS(&w);
	add_all(&f, in, N, "");
	add_all(&later, in, N, "");
	struct told *t = prepare(&w, 1, &f), *u;
	inputs_world_until(&w, &t->is_ready);
	check(&w, t, &f, 3);
	inputs_world_stop(&w, false);
	stem_keeper_turn(&w.keeper);
	ASSERT(w.keeper.held);
	inputs_world_again(&w, PROBE_TIER_VIEWS);
	for (uint32_t i = 0; i < N; i++)
		f.inputs[i].tree = t->tree[i];
	inputs_hold(w.inputs, 1, &f.start);
	/* One that nobody has read yet: asked before it is served again. */
	check(&w, t, &f, 9);
	inputs_world_settle(&w);
	inputs_shed(w.inputs);
	check(&w, t, &f, 11);
	for (uint32_t i = 0; i < N; i++)
		later.inputs[i].tree = t->tree[i];
	u = prepare(&w, 2, &later);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(u->at[5], t->at[5]);
	ASSERT_EQ(w.keeper.n_made, 1);
	inputs_release(w.inputs, 1);
	inputs_release(w.inputs, 2);
	ASSERT(inputs_shed(w.inputs) >= N);
	inputs_world_close(&w);
}

TEST(many_files_on_a_mount_that_dies_are_lost_and_made_anew)
{
	static struct inputs_world w;
	static struct files f, again;
	static char answer[STEM_ANSWER_MAX];
	_free_ char *in = world_files("in", N, 5000, 1);
	WITH_VIEWS(&w);
	add_all(&f, in, N, "");
	add_all(&again, in, N, "");
	struct told *t = prepare(&w, 1, &f), *u;
	inputs_world_until(&w, &t->is_ready);
	ASSERT_EQ(inputs_world_see(&w, 'u', w.mnt, NULL, answer), 0);
	inputs_world_until(&w, &t->is_lost);
	u = prepare(&w, 2, &again);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_EQ(w.keeper.n_made, 2);
	ASSERT(is_in_set(&w, u->at[0]));
	check(&w, u, &again, 4);
	inputs_release(w.inputs, 1);
	inputs_world_close(&w);
}

TEST(without_a_mount_many_files_are_unpacked_one_by_one)
{
	static struct inputs_world w;
	static struct files f;
	_free_ char *in = world_files("in", N, 5000, 1);
	inputs_world_open(&w, PROBE_TIER_PLAIN);
	add_all(&f, in, N, "");
	struct told *t = prepare(&w, 1, &f);
	inputs_world_until(&w, &t->is_ready);
	size_t n = 0, m = 0;
	_free_ char *have = path_read(t->at[7], MIB, &n), *wanted = path_read(strchr(f.texts[7][0], '/'), MIB, &m);
	ASSERT(have && wanted && n == m && memcmp(have, wanted, n) == 0);
	inputs_world_close(&w);
}
