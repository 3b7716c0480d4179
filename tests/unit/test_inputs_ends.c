/* SPDX-License-Identifier: Apache-2.0
 * Inputs of attempts when vinefs or the mount dies, where there is no mount at all, and what vined wants here before anybody reads it. */
#include "common/path.h"
#include "tests/unit/inputs_world.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the next process */

static void restart(struct inputs_world *w)
{
	inputs_world_stop(w, false);
	stem_keeper_turn(&w->keeper);
	ASSERT(w->keeper.held);
	inputs_world_again(w, PROBE_TIER_VIEWS);
}

TEST(a_new_process_goes_on_with_all_trees_under_the_same_names)
{
	static struct inputs_world w;
	struct wire_start m, again;
	struct digest id;
	uint64_t stem;
	_free_ char *in = world_files("in", 20, 50000, 1);
	_free_ char *of_file = xasprintf("file:%s/f1", in);
	_free_ char *file = path_join(in, "f1");
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i[2] = {inputs_world_input("", &id), inputs_world_input(of_file, NULL)};
	i[1].item = 8;
	struct told *t = inputs_world_prepare(&w, 1, &m, i, 2);
	inputs_world_until(&w, &t->is_ready);
	stem = w.stem;
	inputs_world_check(&w, t->at[0], "f3", in);
	restart(&w);
	inputs_hold(w.inputs, 1, &m);
	/* One that nobody has looked at yet: asked before it is served again. */
	static char answer[STEM_ANSWER_MAX];
	_free_ char *path = path_join(t->at[0], "f9");
	ASSERT_EQ(inputs_world_see(&w, 'r', path, NULL, answer), 50000);
	while (!w.stem)
		inputs_world_turn(&w);
	ASSERT_EQ(w.stem, stem);
	ASSERT_EQ(w.keeper.n_made, 1);
	inputs_world_check(&w, t->at[1], "", file);
	/* The same is joined by who comes later; and held for who was there. */
	inputs_world_settle(&w);
	inputs_shed(w.inputs);
	inputs_world_check(&w, t->at[0], "f11", in);
	struct told *u = inputs_world_prepare(&w, 2, &again, i, 1);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(u->at[0], t->at[0]);
	inputs_world_close(&w);
}

TEST(a_draft_is_read_on_after_a_new_process_has_come)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *in = world_files("in", 20, 50000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_check(&w, t->at[0], "f3", in);
	restart(&w);
	inputs_hold(w.inputs, 1, &m);
	inputs_world_check(&w, t->at[0], "f4", in);
	inputs_world_close(&w);
}

TEST(a_mount_that_dies_is_made_anew_and_told_of)
{
	static struct inputs_world w;
	static char answer[STEM_ANSWER_MAX];
	struct wire_start m[2];
	struct digest id;
	_free_ char *in = world_files("in", 3, 5000, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m[0], &i, 1);
	inputs_world_until(&w, &t->is_ready);
	uint64_t stem = w.stem;
	ASSERT_EQ(inputs_world_see(&w, 'u', w.mnt, NULL, answer), 0);
	inputs_world_until(&w, &t->is_lost);
	struct told *u = inputs_world_prepare(&w, 2, &m[1], &i, 1);
	inputs_world_until(&w, &u->is_ready);
	ASSERT(w.stem && w.stem != stem);
	ASSERT_EQ(w.keeper.n_made, 2);
	inputs_world_check(&w, u->at[0], "f1", in);
	inputs_release(w.inputs, 1);
	inputs_world_close(&w);
}

TEST(an_input_that_was_ready_and_lost_is_made_ready_again_before_its_attempt_is_told)
{
	static struct inputs_world w;
	static char answer[STEM_ANSWER_MAX];
	struct wire_start m;
	struct digest id, published;
	struct world_copy late;
	_free_ char *in = world_files("in", 3, 5000, 1);
	_free_ char *other = world_files("other", 3, 5000, 2);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	world_copy_make(&late, other);
	struct wire_input i[2] = {inputs_world_input("", &id), inputs_world_input("", &late.id)};
	i[1].item = 8;
	struct told *t = inputs_world_prepare(&w, 1, &m, i, 2);
	for (unsigned k = 0; k < 30; k++)
		inputs_world_turn(&w);
	ASSERT(!t->is_ready);
	uint64_t stem = w.stem;
	ASSERT_EQ(inputs_world_see(&w, 'u', w.mnt, NULL, answer), 0);
	while (!w.stem || w.stem == stem)
		inputs_world_turn(&w);
	/* What it waited for comes: its index, from another node. */
	ASSERT_EQ(cache_publish(w.fetch.cache, late.vti, late.n, &published), 0);
	inputs_arrived(w.inputs, 0, &published);
	inputs_world_until(&w, &t->is_ready);
	ASSERT(!t->is_lost);
	inputs_world_check(&w, t->at[0], "f1", in);
	_free_ char *name = path_join(t->at[1], "f1");
	ASSERT(inputs_world_see(&w, 's', name, NULL, answer) > 0);
	world_copy_fini(&late);
	inputs_world_close(&w);
}

/* ---- without a stem */

TEST(without_namespaces_and_mounts_a_tree_is_unpacked_once)
{
	static struct inputs_world w;
	struct wire_start m[2];
	struct stat st;
	_free_ char *in = world_files("in", 20, 50000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	_free_ char *of_file = xasprintf("file:%s/f1", in);
	_free_ char *file = path_join(in, "f1");
	inputs_world_open(&w, PROBE_TIER_PLAIN);
	ASSERT_STR(inputs_tier(w.inputs), "plain");
	struct wire_input i[2] = {inputs_world_input(source, NULL), inputs_world_input(of_file, NULL)};
	i[1].item = 8;
	struct told *t = inputs_world_prepare(&w, 1, &m[0], i, 2);
	inputs_world_until(&w, &t->is_ready);
	ASSERT(strstr(t->at[0], "/unpacked/") && !t->is_file[0] && t->is_file[1]);
	_free_ char *one = path_join(t->at[0], "f7"), *same = path_join(in, "f7");
	_free_ char *command = xasprintf("cmp %s %s && cmp %s %s", one, same, t->at[1], file);
	ASSERT_EQ(system(command), 0);
	ASSERT_EQ(stat(one, &st), 0);
	ASSERT_EQ(st.st_mode & 0222, 0);
	ASSERT_EQ(stat(t->at[0], &st), 0);
	ASSERT_EQ(st.st_mode & 0222, 0);
	/* It stays for the next process. */
	struct timespec made = st.st_ctim;
	inputs_world_stop(&w, false);
	inputs_world_again(&w, PROBE_TIER_PLAIN);
	inputs_world_await_tier(&w);
	struct told *u = inputs_world_prepare(&w, 2, &m[1], i, 2);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(u->at[0], t->at[0]);
	ASSERT_EQ(stat(u->at[0], &st), 0);
	ASSERT_EQ(st.st_ctim.tv_nsec, made.tv_nsec);
	inputs_world_settle(&w);
	inputs_release(w.inputs, 2);
	inputs_shed(w.inputs);
	ASSERT_EQ(stat(u->at[0], &st), -1);
	inputs_world_close(&w);
}

TEST(a_keeper_that_makes_no_stem_leaves_a_mount_or_nothing)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("in", 3, 5000, 1);
	inputs_world_open(&w, PROBE_TIER_PLAIN);
	inputs_world_stop(&w, true);
	w.keeper.refusal = -EPERM;
	inputs_world_again(&w, PROBE_TIER_VIEWS);
	inputs_world_await_tier(&w);
	bool is_mounted = streq(inputs_tier(w.inputs), "mount");
	ASSERT(is_mounted || streq(inputs_tier(w.inputs), "plain"));
	ASSERT_EQ(w.stem, 0);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	ASSERT(strstr(t->at[0], is_mounted ? "/mnt/" : "/unpacked/"));
	/* Looked at by another process, for we serve it. */
	_free_ char *path = path_join(t->at[0], "f1");
	pid_t pid = fork();
	if (pid == 0)
		_exit(access(path, R_OK) != 0);
	int status = -1;
	while (waitpid(pid, &status, WNOHANG) == 0)
		inputs_world_turn(&w);
	ASSERT_EQ(status, 0);
	inputs_world_close(&w);
}

/* ---- FETCH */

struct brought {
	struct inputs_fetch fetch;
	bool is_hot, is_done, is_final;
	int error;
	struct digest tree;
	uint64_t size;
	char reason[700];
};

static void on_hot(struct inputs_fetch *f)
{
	struct brought *b = container_of(f, struct brought, fetch);
	ASSERT(!b->is_hot && !b->is_done);
	b->is_hot = true;
}

static void on_done(struct inputs_fetch *f, int error, bool is_final, const struct digest *tree, uint64_t size,
		    const char *reason)
{
	struct brought *b = container_of(f, struct brought, fetch);
	ASSERT(!b->is_done);
	b->is_done = true;
	b->error = error;
	b->is_final = is_final;
	b->tree = *tree;
	b->size = size;
	snprintf(b->reason, sizeof b->reason, "%s", reason);
}

static void bring(struct inputs_world *w, struct brought *b, const char *source, const struct digest *tree,
		  bool is_gating)
{
	struct wire_fetch m = {.item = 7, .source = source, .signature = "", .is_gating = is_gating};
	if (tree)
		m.tree = *tree;
	*b = (struct brought){.fetch = {.on_hot = on_hot, .on_done = on_done}};
	inputs_fetch_start(w->inputs, &b->fetch, &m);
	ASSERT(!b->is_done);
}

TEST(what_vined_wants_here_is_sealed_or_read_from_its_source)
{
	static struct inputs_world w;
	struct brought b;
	_free_ char *in = world_files("in", 20, 50000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	inputs_world_open(&w, PROBE_TIER_PLAIN);
	bring(&w, &b, source, NULL, false);
	inputs_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, 0);
	ASSERT(b.is_hot);
	ASSERT_EQ(b.size, 1000000);
	struct digest id = b.tree;
	ASSERT_EQ(world_compare(w.fetch.cache, &id, in), 0);
	/* Its bytes go, its index stays. */
	fetch_world_evict(&w.fetch, &id);
	bring(&w, &b, "", &id, true);
	inputs_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, 0);
	ASSERT_EQ(world_compare(w.fetch.cache, &id, in), 0);
	inputs_world_close(&w);
}

TEST(what_cannot_be_brought_is_said_and_whether_for_good)
{
	static struct inputs_world w;
	struct brought b;
	struct digest id;
	data_address_of("x", 1, &id);
	inputs_world_open(&w, PROBE_TIER_PLAIN);
	bring(&w, &b, "file:/nowhere/at/all", NULL, true);
	inputs_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, -ENOENT);
	ASSERT(b.is_final && strstr(b.reason, "/nowhere/at/all"));
	bring(&w, &b, "", &id, true);
	inputs_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, -ENOENT);
	ASSERT(!b.is_final && !b.is_hot);
	bring(&w, &b, "client:", &id, true);
	inputs_fetch_stop(&b.fetch);
	inputs_world_turn(&w);
	inputs_world_turn(&w);
	ASSERT(!b.is_done);
	inputs_world_close(&w);
}

TEST(what_is_the_nodes_own_is_nobodys_input_whatever_link_leads_there)
{
	static struct inputs_world w;
	struct wire_start m;
	struct brought b;
	_free_ char *in = world_files("the-nodes", 1, 5000, 1);
	_free_ char *link = world_path("innocent");
	_free_ char *source = xasprintf("file:%s/f0", link);
	ASSERT_EQ(symlink(in, link), 0);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_unready);
	ASSERT_EQ(t->error, -EPERM);
	ASSERT(!t->is_nodes_fault);
	ASSERT(strstr(t->reason, "/innocent/f0: it is the node's"));
	bring(&w, &b, source, NULL, false);
	inputs_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, -EPERM);
	ASSERT(b.is_final && strstr(b.reason, "/innocent/f0: it is the node's"));
	inputs_world_close(&w);
}
