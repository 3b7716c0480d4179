/* SPDX-License-Identifier: Apache-2.0
 * What attempts read, by a real mount in a stem, over a real cache. */
#include "common/path.h"
#include "tests/unit/draft_world.h"
#include "tests/unit/inputs_world.h"
#include "vinefs/fetch/draft.h"
#include "vinefs/inputs_internal.h"

#include <stdio.h>
#include <stdlib.h>

TEST(a_tree_is_seen_in_the_stem)
{
	static struct inputs_world w;
	struct digest id;
	char text[DIGEST_TEXT_SIZE];
	struct wire_start m;
	_free_ char *in = world_files("in", 20, 5000, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	ASSERT(!t->is_ready);
	inputs_world_until(&w, &t->is_ready);
	_free_ char *at = path_join(w.mnt, digest_text(&id, text));
	ASSERT_STR(t->at[0], at);
	ASSERT(!t->is_file[0] && digest_is_equal(&t->tree[0], &id));
	inputs_world_check(&w, at, "f3", in);
	struct run_sizes n;
	inputs_sizes(w.inputs, 1, &n);
	ASSERT_EQ(n.local, 100000);
	ASSERT_EQ(n.moved, 0);
	inputs_world_close(&w);
}

static void note_read(void *arg, const char *path, const struct digest *tree, uint64_t size, bool is_sealing)
{
	inputs_came(arg, is_sealing ? NULL : tree, path, 2, size);
}

TEST(a_path_is_sealed_when_nobody_knows_its_tree)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *in = world_files("in", 2, 5000, 1);
	_free_ char *source = xasprintf("file:%s/f1", in);
	_free_ char *from = path_join(in, "f1");
	WITH_VIEWS(&w);
	fetch_on_read(w.fetch.fetch, note_read, w.inputs);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	ASSERT(t->is_file[0]);
	inputs_world_check(&w, t->at[0], "", from);
	struct run_sizes n;
	inputs_sizes(w.inputs, 1, &n);
	ASSERT_EQ(n.local, 0);
	ASSERT_EQ(n.moved, 5000);
	ASSERT_EQ(n.source, 5000);
	inputs_release(w.inputs, 1);
	inputs_world_close(&w);
}

TEST(what_was_brought_for_a_task_is_on_the_account_of_the_first_that_reads_it)
{
	static struct inputs_world w;
	struct digest id;
	struct wire_start m[3];
	struct run_sizes n;
	_free_ char *in = world_files("in", 20, 5000, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	/* Nobody was to read this. */
	inputs_came(w.inputs, &id, NULL, 1, 7000);
	inputs_due(w.inputs, &(struct wire_fetch){.source = "", .tree = id});
	inputs_came(w.inputs, &id, NULL, 1, 7000);
	inputs_due(w.inputs, &(struct wire_fetch){.source = "", .tree = id, .is_gating = true});
	inputs_came(w.inputs, &id, NULL, 1, 20000);
	inputs_due(w.inputs, &(struct wire_fetch){.source = "", .tree = id, .rank = 1});
	inputs_came(w.inputs, &id, NULL, 3, 1000);
	struct wire_input i = inputs_world_input("", &id);
	struct told *first = inputs_world_prepare(&w, 1, &m[0], &i, 1);
	struct told *second = inputs_world_prepare(&w, 2, &m[1], &i, 1);
	inputs_world_until(&w, &first->is_ready);
	inputs_world_until(&w, &second->is_ready);
	inputs_came(w.inputs, &id, "/data", 2, 300);
	inputs_sizes(w.inputs, 2, &n);
	ASSERT_EQ(n.local, 79000);
	ASSERT_EQ(n.peer, 20000);
	ASSERT_EQ(n.source, 300);
	ASSERT_EQ(n.client, 1000);
	ASSERT_EQ(n.moved, 21300);
	inputs_release(w.inputs, 2);
	inputs_sizes(w.inputs, 1, &n);
	ASSERT_EQ(n.moved, 0);
	inputs_release(w.inputs, 1);
	/* The next one finds all of it. */
	inputs_came(w.inputs, &id, NULL, 1, 500);
	struct told *third = inputs_world_prepare(&w, 3, &m[2], &i, 1);
	inputs_world_until(&w, &third->is_ready);
	inputs_sizes(w.inputs, 3, &n);
	ASSERT_EQ(n.local, 100000);
	ASSERT_EQ(n.peer, 0);
	inputs_world_close(&w);
}

TEST(an_archive_is_a_file_to_a_task)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *path = world_path("x.tar.gz");
	_free_ char *source = xasprintf("file:%s", path);
	ASSERT_EQ(path_write(path, "no archive", 10, 0600, false), 0);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_check(&w, t->at[0], "", path);
	inputs_world_close(&w);
}

TEST(a_directory_nobody_knows_is_a_draft_and_becomes_a_tree_under_its_readers)
{
	static struct inputs_world w;
	struct wire_start m[3];
	_free_ char *in = world_files("in", 20, 50000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = inputs_world_prepare(&w, 1, &m[0], &i, 1);
	inputs_world_until(&w, &t->is_ready);
	ASSERT_STR(path_base(t->at[0]), "draft-1");
	ASSERT_EQ(t->tree[0].algorithm, DIGEST_NONE);
	inputs_world_check(&w, t->at[0], "f3", in);
	/* Whoever asks for the item gets the same, with its id when it is sealed. */
	struct told *u = &w.told[2];
	while (u->tree[0].algorithm == DIGEST_NONE) {
		inputs_release(w.inputs, 2);
		inputs_world_prepare(&w, 2, &m[1], &i, 1);
		inputs_world_until(&w, &u->is_ready);
		ASSERT_STR(path_base(u->at[0]), "draft-1");
	}
	inputs_world_check(&w, t->at[0], "f5", in);
	/* And who asks for that tree. */
	struct wire_input by_tree = inputs_world_input("", &u->tree[0]);
	by_tree.item = 8;
	u = inputs_world_prepare(&w, 3, &m[2], &by_tree, 1);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(path_base(u->at[0]), "draft-1");
	inputs_world_close(&w);
}

static void write_over(const char *path, const void *p, size_t n)
{
	struct stat st;
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	ASSERT_EQ(pwrite(fd, p, n, 0), (ssize_t)n);
	ASSERT_EQ(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
}

TEST(a_read_that_failed_is_told_of_those_it_may_have_been_and_when_the_draft_has_become_a_tree)
{
	static struct inputs_world w;
	static char answer[STEM_ANSWER_MAX];
	struct wire_start m[2];
	size_t n;
	_free_ char *in = world_files("in", 4, 50000, 1);
	_free_ char *source = xasprintf("file:%s", in), *f3 = path_join(in, "f3");
	_free_ char *as_it_was = path_read(f3, MIB, &n), *other = xcalloc(1, n);
	WITH_VIEWS(&w);
	draft_gate_read = w.fetch.files.read;
	w.fetch.files.read = draft_read;
	struct wire_input i = inputs_world_input(source, NULL);
	draft_hold(in);
	struct told *t = inputs_world_prepare(&w, 1, &m[0], &i, 1), *u = &w.told[2];
	inputs_world_until(&w, &t->is_ready);
	ASSERT(!inputs_failure(w.inputs, 1));
	write_over(f3, other, n);
	_free_ char *path = path_join(t->at[0], "f3");
	ASSERT_EQ(inputs_world_see(&w, 'r', path, NULL, answer), -ESTALE);
	_free_ char *why = inputs_failure(w.inputs, 1);
	ASSERT(strstr(why, "input data could not be read: ") &&
	       strstr(why, "/in/f3 has changed while it was sealed: it was 50000 bytes of "));
	/* Nobody can tell by what is sealed now. */
	write_over(f3, as_it_was, n);
	draft_hold(NULL);
	while (u->tree[0].algorithm == DIGEST_NONE) {
		inputs_release(w.inputs, 2);
		inputs_world_prepare(&w, 2, &m[1], &i, 1);
		inputs_world_until(&w, &u->is_ready);
	}
	inputs_world_check(&w, t->at[0], "f3", in);
	_free_ char *still = inputs_failure(w.inputs, 1);
	ASSERT_STR(still, why);
	ASSERT(!inputs_failure(w.inputs, 2));
	inputs_world_close(&w);
}

TEST(what_has_changed_since_it_was_submitted_is_refused_with_what_it_was_and_is)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *in = world_files("in", 2, 5000, 1);
	_free_ char *source = xasprintf("file:%s/f1", in);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	i.signature = "5000:12345:99";
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_unready);
	ASSERT_EQ(t->error, -ESTALE);
	ASSERT(!t->is_nodes_fault);
	ASSERT(strstr(t->reason, source + 5) && strstr(t->reason, "5000:12345:99"));
	inputs_world_close(&w);
}

TEST(a_path_that_does_not_answer_is_the_nodes_fault_after_a_while)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *in = world_files("in", 1, 5000, 1);
	_free_ char *source = xasprintf("file:%s/f0", in);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	draft_hold(in);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	while (!__atomic_load_n(&draft_n_held, __ATOMIC_ACQUIRE))
		inputs_world_turn(&w);
	inputs_world_settle(&w);
	ASSERT(!t->is_ready);
	inputs_world_settle(&w);
	inputs_world_until(&w, &t->is_unready);
	draft_hold(NULL);
	ASSERT_EQ(t->error, -ETIMEDOUT);
	ASSERT(t->is_nodes_fault && strstr(t->reason, source));
	/* Others were not kept from theirs. */
	_free_ char *other = world_files("other", 1, 5000, 1);
	_free_ char *there = xasprintf("file:%s/f0", other);
	i = inputs_world_input(there, NULL);
	t = inputs_world_prepare(&w, 2, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_close(&w);
}

TEST(a_missing_path_is_its_tasks_fault)
{
	static struct inputs_world w;
	struct wire_start m;
	WITH_VIEWS(&w);
	struct wire_input i[2] = {inputs_world_input("file:/nowhere/at/all", NULL),
				  inputs_world_input("node:/nowhere/else", NULL)};
	struct told *t = inputs_world_prepare(&w, 1, &m, i, 2);
	inputs_world_until(&w, &t->is_unready);
	ASSERT_EQ(t->error, -ENOENT);
	ASSERT(!t->is_nodes_fault && strstr(t->reason, "/nowhere/"));
	inputs_world_close(&w);
}

TEST(what_nobody_brings_is_waited_for_and_then_the_nodes_fault)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	data_address_of("x", 1, &id);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	for (unsigned k = 0; k < 20; k++)
		inputs_world_turn(&w);
	ASSERT(!t->is_ready && !t->is_unready);
	w.fetch.later_usec += 120000000;
	inputs_world_until(&w, &t->is_unready);
	ASSERT_EQ(t->error, -ETIMEDOUT);
	ASSERT(t->is_nodes_fault && strstr(t->reason, "item 7") && strstr(t->reason, "no peer"));
	inputs_world_close(&w);
}

TEST(a_tree_that_arrives_is_taken_by_who_waits)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id, later;
	_free_ char *in = world_files("in", 3, 5000, 1);
	_free_ char *other = world_files("other", 3, 5000, 1);
	WITH_VIEWS(&w);
	/* What the tree will be. */
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input unknown = inputs_world_input("", NULL);
	struct wire_input i = inputs_world_input("", &id);
	unknown.item = 8;
	struct told *t = inputs_world_prepare(&w, 1, &m, &unknown, 1);
	inputs_world_turn(&w);
	inputs_world_turn(&w);
	ASSERT(!t->is_ready && !t->is_unready);
	inputs_release(w.inputs, 1);
	ASSERT_EQ(fetch_world_seal(&w.fetch, other, NULL, false, &later), 0);
	inputs_arrived(w.inputs, 0, &later);
	t = inputs_world_prepare(&w, 2, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_close(&w);
}

/* What another node reads is waited for: `m` as vined says it then. */
static struct told *start_left(struct inputs_world *w, struct wire_start *m, struct wire_input *i)
{
	i->flags = 16;
	struct told *t = inputs_world_prepare(w, 1, m, i, 1);
	for (unsigned k = 0; k < 50; k++)
		inputs_world_turn(w);
	return t;
}

/* It begins with the names, and has the tree once it is known and its index here. */
TEST(what_another_node_seals_is_read_meanwhile)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("in", 3, 5000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	WITH_VIEWS(&w);
	/* It is not to be faster than who looks. */
	draft_hold(in);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = start_left(&w, &m, &i);
	inputs_world_until(&w, &t->is_ready);
	ASSERT_STR(path_base(t->at[0]), "draft-1");
	const struct draft *d = list_first(&w.fetch.fetch->drafts, struct draft, link);
	ASSERT(d && d->is_left && !d->is_over);
	/* The tree comes as from another node: it is no sealing of this path. */
	_free_ char *copy = world_path("copy");
	_free_ char *command = xasprintf("cp -a %s %s", in, copy);
	ASSERT_EQ(system(command), 0);
	ASSERT_EQ(fetch_world_seal(&w.fetch, copy, NULL, false, &id), 0);
	ASSERT(!d->is_over);
	inputs_told(w.inputs, &(struct wire_fetch){.item = i.item, .source = "", .tree = id});
	inputs_arrived(w.inputs, i.item, &id);
	for (unsigned k = 0; k < UNIT_PATIENCE_USEC / 1000 && !d->is_over; k++)
		inputs_world_turn(&w);
	ASSERT(d->is_over && d->sealed && !d->error);
	draft_hold(NULL);
	inputs_world_check(&w, t->at[0], "f1", in);
	inputs_world_close(&w);
}

TEST(what_another_node_reads_for_all_is_waited_for_and_taken_when_it_has_come)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("in", 3, 5000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	WITH_VIEWS_OF(&w, .is_unshared = true);
	struct wire_input i = inputs_world_input(source, NULL);
	struct told *t = start_left(&w, &m, &i);
	ASSERT(!t->is_ready && !t->is_unready);
	/* As if it came from a peer: first which it is, then its index. */
	data_address_of("x", 1, &id);
	inputs_told(w.inputs, &(struct wire_fetch){.item = i.item + 1, .source = source});
	inputs_told(w.inputs, &(struct wire_fetch){.item = i.item, .source = "", .tree = id});
	inputs_arrived(w.inputs, 0, &id);
	inputs_world_turn(&w);
	ASSERT(!t->is_ready && !t->is_unready);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	inputs_told(w.inputs, &(struct wire_fetch){.item = i.item, .source = "", .tree = id});
	inputs_world_until(&w, &t->is_ready);
	ASSERT(digest_is_equal(&t->tree[0], &id));
	inputs_world_check(&w, t->at[0], "f2", in);
	inputs_world_close(&w);
}

TEST(who_waits_for_another_reads_it_when_told_to_or_after_a_while)
{
	for (unsigned by_time = 0; by_time < 2; by_time++) {
		static struct inputs_world w;
		struct wire_start m;
		_free_ char *in = world_files(by_time ? "later" : "told", 3, 5000, 1);
		_free_ char *source = xasprintf("file:%s", in);
		WITH_VIEWS_OF(&w, .is_unshared = true);
		struct wire_input i = inputs_world_input(source, NULL);
		struct told *t = start_left(&w, &m, &i);
		ASSERT(!t->is_ready && !t->is_unready);
		/* The look at the path has a patience of its own. */
		for (unsigned k = 0; k < UNIT_PATIENCE_USEC / 1000 && list_is_empty(&w.inputs->parked); k++)
			inputs_world_turn(&w);
		if (by_time)
			w.fetch.later_usec += 61000000;
		else
			inputs_told(w.inputs, &(struct wire_fetch){.item = i.item, .source = source});
		inputs_world_until(&w, &t->is_ready);
		ASSERT_STR(path_base(t->at[0]), "draft-1");
		inputs_world_check(&w, t->at[0], "f2", in);
		inputs_world_close(&w);
	}
}

TEST(a_tree_that_comes_from_others_is_waited_for_as_long_as_it_does)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("slow", 3, 5000, 1);
	_free_ char *source = xasprintf("file:%s", in);
	WITH_VIEWS(&w);
	/* It is this tree, as another node found: here its index is not known. */
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	id.byte[0] ^= 1;
	struct wire_input i = inputs_world_input(source, &id);
	w.is_coming = true;
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	for (unsigned k = 0; k < 20; k++) {
		w.fetch.later_usec += 1000000;
		inputs_world_turn(&w);
	}
	ASSERT(!t->is_ready && !t->is_unready);
	w.is_coming = false;
	w.fetch.later_usec += 1000000;
	inputs_world_until(&w, &t->is_unready);
	/* It looked at the path itself: that is another tree. */
	ASSERT_EQ(t->error, -ESTALE);
	inputs_world_close(&w);
}

TEST(a_small_file_is_read_at_once_whoever_else_reads_it)
{
	static struct inputs_world w;
	struct wire_start m;
	_free_ char *path = world_path("small");
	_free_ char *source = xasprintf("file:%s", path);
	ASSERT_EQ(path_write(path, "small", 5, 0600, false), 0);
	WITH_VIEWS(&w);
	struct wire_input i = inputs_world_input(source, NULL);
	i.flags = 16;
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_check(&w, t->at[0], "", path);
	inputs_world_close(&w);
}

TEST(what_is_used_by_none_goes_when_room_is_short)
{
	static struct inputs_world w;
	static char answer[STEM_ANSWER_MAX];
	struct wire_start m[2];
	struct digest id;
	_free_ char *in = world_files("in", 3, 5000, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m[0], &i, 1), *u = inputs_world_prepare(&w, 2, &m[1], &i, 1);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_until(&w, &u->is_ready);
	ASSERT_STR(t->at[0], u->at[0]);
	inputs_world_settle(&w);
	inputs_release(w.inputs, 1);
	inputs_shed(w.inputs);
	ASSERT_EQ(cache_evict(w.fetch.cache, &id), -EBUSY);
	inputs_world_check(&w, t->at[0], "f1", in);
	inputs_release(w.inputs, 2);
	inputs_world_check(&w, t->at[0], "f1", in);
	inputs_shed(w.inputs);
	ASSERT_EQ(w.n_forgotten, 1);
	ASSERT_EQ(inputs_world_see(&w, 's', t->at[0], NULL, answer), -ENOENT);
	fetch_world_evict(&w.fetch, &id);
	inputs_world_close(&w);
}

TEST(a_large_file_is_bound_before_it_is_ready_and_unbound_when_it_goes)
{
	static struct inputs_world w;
	static char before[STEM_ANSWER_MAX], answer[STEM_ANSWER_MAX];
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("in", 2, 3 * MIB, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	while (!w.n_jobs)
		inputs_world_turn(&w);
	ASSERT_EQ(w.n_steps, 2);
	ASSERT(!t->is_ready);
	ssize_t n = inputs_world_see(&w, 's', w.job_to, NULL, before);
	ASSERT(n > 0);
	ASSERT_EQ(inputs_world_see(&w, 'b', w.job_to, w.job_from, answer), 0);
	ASSERT(inputs_world_see(&w, 's', w.job_to, NULL, answer) > 0 && memcmp(before, answer, 3) != 0);
	inputs_job_done(w.inputs, w.job, 0, 0);
	inputs_world_until(&w, &t->is_ready);
	inputs_world_check(&w, t->at[0], path_base(w.job_to), in);
	inputs_world_settle(&w);
	inputs_release(w.inputs, 1);
	inputs_shed(w.inputs);
	/* The kernel takes the bound file away with the name. */
	_free_ char *table = xasprintf("/proc/%d/mounts", (int)w.stems[0].pid);
	n = inputs_world_see(&w, 'r', table, NULL, answer);
	ASSERT(n > 0 && n < (ssize_t)sizeof answer);
	answer[n] = 0;
	ASSERT(!strstr(answer, w.job_to));
	fetch_world_evict(&w.fetch, &id);
	inputs_world_close(&w);
}

TEST(a_keeper_that_binds_nothing_delays_but_does_not_stop)
{
	static struct inputs_world w;
	struct wire_start m;
	struct digest id;
	_free_ char *in = world_files("in", 1, 3 * MIB, 1);
	WITH_VIEWS(&w);
	ASSERT_EQ(fetch_world_seal(&w.fetch, in, NULL, false, &id), 0);
	struct wire_input i = inputs_world_input("", &id);
	struct told *t = inputs_world_prepare(&w, 1, &m, &i, 1);
	while (!w.n_jobs)
		inputs_world_turn(&w);
	w.fetch.later_usec += 20000000;
	inputs_world_until(&w, &t->is_ready);
	inputs_job_done(w.inputs, w.job, 0, 0);
	inputs_world_close(&w);
}
