/* SPDX-License-Identifier: Apache-2.0
 * Several sealings of one directory: each shows what was there after it was asked for. */
#include "tests/unit/draft_world.h"

struct asked {
	struct fetch_seal seal;
	struct fetch_open open;
	struct fetch_tree *tree;
	struct digest id;
	uint64_t number;
	bool has_new, is_told, is_open;
};

static void on_asked_draft(struct fetch_seal *s, uint64_t number, const struct tree *names,
			   const struct seal_report *notes _unused_)
{
	struct asked *a = container_of(s, struct asked, seal);
	ASSERT(!a->is_told);
	a->has_new = tree_find(names, "new") >= 0;
	a->number = number;
	a->is_told = true;
}

static void on_asked_done(struct fetch_seal *s, int error, const struct digest *id,
			  const struct seal_report *errors _unused_, const struct seal_report *notes _unused_)
{
	struct asked *a = container_of(s, struct asked, seal);
	ASSERT(!a->is_told && !error);
	a->id = *id;
	a->is_told = true;
}

static void on_asked_open(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct asked *a = container_of(o, struct asked, open);
	ASSERT_EQ(error, 0);
	a->tree = t;
	a->is_open = true;
}

static void ask(struct drafted *d, struct asked *a, const char *path, bool is_draft)
{
	*a = (struct asked){.seal = {.on_done = on_asked_done, .on_draft = is_draft ? on_asked_draft : NULL}};
	a->open.on_done = on_asked_open;
	ASSERT_EQ(fetch_seal_start(d->world.fetch, &a->seal, path, NULL), 0);
}

TEST(who_asks_after_a_change_is_shown_it_though_an_older_sealing_runs)
{
	struct drafted d;
	struct asked sealed, drafts[40];
	struct fetch_numbers n;
	struct digest id;
	const char *rest;
	_free_ char *in = make_source();
	_free_ char *new = path_join(in, "new");
	draft_open(&d, in, plain);
	ASSERT_EQ(path_write(new, "new", 3, 0600, false), 0);
	ask(&d, &sealed, in, false);
	for (unsigned i = 0; i < countof(drafts); i++)
		ask(&d, &drafts[i], in, true);
	/* Beside the first, which stands still; the rest share one more walk at most. */
	for (unsigned i = 0; i < countof(drafts); i++) {
		fetch_world_until(&d.world, &drafts[i].is_told);
		ASSERT(drafts[i].has_new);
	}
	ASSERT(!d.is_over && !sealed.is_told);
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, 0);
	ASSERT_EQ(tree_find(fetch_index(d.tree), "new"), -ENOENT);
	fetch_world_until(&d.world, &sealed.is_told);
	ASSERT_EQ(world_compare(d.world.cache, &sealed.id, in), 0);
	while (fetch_get_numbers(d.world.fetch, &n), n.n_sealed < 2)
		fetch_world_turn(&d.world);
	ASSERT_EQ(fetch_find(d.world.fetch, in, &id, &rest), 0);
	ASSERT(digest_is_equal(&id, &sealed.id));
	for (time_t until = time(NULL) + 1; time(NULL) < until;)
		fetch_world_turn(&d.world);
	fetch_get_numbers(d.world.fetch, &n);
	ASSERT(n.n_sealed <= 4);
	draft_close(&d);
}

/* In place of libc's: a walk stands still at a link while this is held. */
static pthread_mutex_t walk_lock = PTHREAD_MUTEX_INITIALIZER;

ssize_t readlinkat(int directory, const char *name, char *target, size_t n)
{
	pthread_mutex_lock(&walk_lock);
	pthread_mutex_unlock(&walk_lock);
	return syscall(SYS_readlinkat, directory, name, target, n);
}

/* One that is at the contents already would go on beside it. */
TEST(who_wants_all_of_it_waits_for_the_sealing_of_who_wants_a_draft)
{
	struct drafted d;
	struct asked sealed, draft, last;
	struct fetch_numbers n;
	_free_ char *in = make_source();
	drafted_open(&d, plain);
	draft_hold(in);
	pthread_mutex_lock(&walk_lock);
	ask(&d, &sealed, in, false);
	ask(&d, &draft, in, true);
	pthread_mutex_unlock(&walk_lock);
	fetch_world_until(&d.world, &draft.is_told);
	ASSERT(draft.number && !sealed.is_told);
	draft_hold(NULL);
	fetch_world_until(&d.world, &sealed.is_told);
	ASSERT_EQ(world_compare(d.world.cache, &sealed.id, in), 0);
	/* Behind all that was asked for before. */
	ask(&d, &last, in, false);
	fetch_world_until(&d.world, &last.is_told);
	fetch_get_numbers(d.world.fetch, &n);
	ASSERT_EQ(n.n_sealed, 2);
	draft_close(&d);
}

/* Three may be at work beside each other: none of them is to be one that stands still for him alone. */
TEST(who_wants_all_of_it_keeps_no_place_from_those_who_want_drafts)
{
	struct drafted d;
	struct asked sealed[4], drafts[4];
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	for (unsigned i = 0; i < countof(drafts); i++) {
		ask(&d, &sealed[i], in, false);
		ask(&d, &drafts[i], in, true);
		fetch_world_until(&d.world, &drafts[i].is_told);
		ASSERT_EQ(drafts[i].number, d.number);
		ASSERT(!sealed[i].is_told);
	}
	seal_to_the_end(&d);
	for (unsigned i = 0; i < countof(sealed); i++)
		fetch_world_until(&d.world, &sealed[i].is_told);
	draft_close(&d);
}

TEST(who_leaves_while_it_waits_for_its_turn_ends_it)
{
	struct drafted d;
	struct asked a, b;
	struct fetch_numbers n;
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	ask(&d, &a, in, false);
	fetch_seal_stop(&a.seal);
	ask(&d, &b, in, false);
	seal_to_the_end(&d);
	fetch_world_until(&d.world, &b.is_told);
	ASSERT(!a.is_told);
	fetch_get_numbers(d.world.fetch, &n);
	ASSERT_EQ(n.n_sealed, 2);
	/* One that waits, and one that has not begun, end with the fetch. */
	draft_hold(in);
	ask(&d, &a, in, true);
	fetch_world_until(&d.world, &a.is_told);
	draft_close(&d);
}

/* Who was told long ago may have to ask again: time stands still, however busy the machine is. */
TEST(whoever_was_told_of_a_draft_finds_it_however_many_there_are)
{
	struct drafted d;
	struct asked told[20];
	struct digest id;
	const char *rest;
	drafted_open(&d, plain);
	fetch_world_stand_still(&d.world);
	for (unsigned i = 0; i < countof(told); i++) {
		_free_ char *name = xasprintf("in%u", i);
		_free_ char *in = world_files(name, 3, 1000, i + 1);
		told[i] = (struct asked){.open.on_done = on_asked_open, .seal.is_any_draft = true};
		told[i].seal.on_draft = on_asked_draft;
		told[i].seal.on_done = on_asked_done;
		ASSERT_EQ(fetch_seal_start(d.world.fetch, &told[i].seal, in, NULL), 0);
		fetch_world_until(&d.world, &told[i].is_told);
		ASSERT(told[i].number);
		while (fetch_find(d.world.fetch, in, &id, &rest))
			fetch_world_turn(&d.world);
	}
	for (unsigned i = 0; i < countof(told); i++) {
		ASSERT_EQ(fetch_open_draft(d.world.fetch, &told[i].open, told[i].number), 0);
		fetch_world_until(&d.world, &told[i].is_open);
		fetch_close(told[i].tree);
	}
	draft_close(&d);
}

/* ---- the sealing gives way to who reads, but not for ever */

static uint64_t now_msec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Somebody reads all the time: his read is on its way from the source. Each file of the sealing is a step. */
static char *read_for_ever(struct drafted *d, struct got *got, struct fetch_settings fs)
{
	char *in = world_files("in", 2000, 10, 1);
	draft_open(d, in, fs);
	fetch_world_gate(&d->world, in);
	get_start(got, d, "f5", 0, 10);
	while (fetch_world_n_waiting(&d->world) < 1)
		fetch_world_turn(&d->world);
	return in;
}

TEST(a_sealing_goes_a_step_at_a_time_while_somebody_reads)
{
	struct drafted d;
	struct got got;
	struct fetch_draft_info info;
	_free_ _unused_ char *in = read_for_ever(&d, &got, plain);
	uint64_t start_msec = now_msec();
	draft_hold(NULL);
	do {
		fetch_world_turn(&d.world);
		fetch_draft_get(d.tree, &info);
	} while (now_msec() < start_msec + 1000);
	/* One a second, and what its threads had begun. */
	ASSERT(info.progress.files_done <= (now_msec() - start_msec) / 1000 + 20);
	ASSERT(!d.is_over);
	fetch_world_gate(&d.world, NULL);
	fetch_world_until(&d.world, &got.is_over);
	fetch_world_until(&d.world, &d.is_over);
	ASSERT_EQ(d.error, 0);
	free(got.p);
	draft_close(&d);
}

TEST(who_was_told_of_a_draft_has_the_source_to_himself_for_a_moment)
{
	struct drafted d;
	_free_ char *in = world_files("in", 100, 10, 1);
	uint64_t start_msec = now_msec();
	draft_open(&d, in, plain);
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, 0);
	ASSERT(now_msec() >= start_msec + 490); /* he was told later than that, and it is half a second */
	draft_close(&d);
}

TEST(a_reader_that_never_pauses_keeps_no_tree_from_being_sealed)
{
	struct drafted d;
	struct got got;
	/* At a step a second it would take half an hour. */
	_free_ _unused_ char *in = read_for_ever(&d, &got, (struct fetch_settings){.patience_usec = 1});
	draft_hold(NULL);
	fetch_world_until(&d.world, &d.is_over);
	ASSERT_EQ(d.error, 0);
	ASSERT(!got.is_over);
	fetch_world_gate(&d.world, NULL);
	fetch_world_until(&d.world, &got.is_over);
	ASSERT_EQ(got.n, 10);
	free(got.p);
	draft_close(&d);
}
