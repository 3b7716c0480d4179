/* SPDX-License-Identifier: Apache-2.0
 * Nodes that read one path of which nobody knows the tree: each byte of it is read by one of them, names too; who fails, lies or is silent costs time, and no more. */
#include "common/path.h"
#include "tests/unit/peer_world.h"
#include "tests/unit/unit.h"

#include <stdio.h>

#define N 3

struct reader {
	struct b_side b;
	struct fetch_seal seal;
	struct fetch_open open;
	struct fetch_watch watch;
	struct fetch_tree *tree;
	uint64_t number;
	struct digest id;
	int error;
	bool is_drafted, is_open, is_over, is_done;
};

static struct reader all[N];
static char *path;

static void turn(void)
{
	for (unsigned i = 0; i < N; i++)
		if (all[i].b.world.loop)
			loop_turn(all[i].b.world.loop, 1);
}

#define TURN_UNTIL(condition)                                                                                 \
	do {                                                                                                  \
		for (uint64_t until = real_usec() + UNIT_PATIENCE_USEC; !(condition) && real_usec() < until;) \
			turn();                                                                               \
		ASSERT(condition);                                                                            \
	} while (0)

static void on_draft(struct fetch_seal *s, uint64_t number, const struct tree *names, const struct seal_report *notes)
{
	struct reader *r = container_of(s, struct reader, seal);
	ASSERT(names && notes && !r->is_drafted);
	r->number = number;
	r->is_drafted = true;
}

static void on_done(struct fetch_seal *s, int error, const struct digest *id, const struct seal_report *errors,
		    const struct seal_report *notes)
{
	struct reader *r = container_of(s, struct reader, seal);
	(void)errors, (void)notes;
	r->error = error;
	r->id = id ? *id : (struct digest){0};
	r->is_done = true;
}

static void on_open(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct reader *r = container_of(o, struct reader, open);
	ASSERT_EQ(error, 0);
	r->tree = t;
	r->is_open = true;
}

static void on_over(struct fetch_watch *w, int error, const struct digest *id, const char *reason)
{
	struct reader *r = container_of(w, struct reader, watch);
	ASSERT(reason);
	r->error = error;
	r->id = id ? *id : (struct digest){0};
	r->is_over = true;
}

static void begin(void)
{
	static const char *const names[N] = {"b", "c", "d"};
	memset(all, 0, sizeof all);
	path = peer_make_tree();
	for (unsigned i = 0; i < N; i++)
		peer_node_open(&all[i].b, names[i]);
}

static void stand_still(void)
{
	for (unsigned i = 0; i < N; i++)
		fetch_world_stand_still(&all[i].b.world);
}

static void close_reader(struct reader *r)
{
	fetch_watch_stop(&r->watch);
	fetch_seal_stop(&r->seal);
	if (r->tree)
		fetch_close(r->tree);
	peer_node_close(&r->b);
	r->b.world.loop = NULL;
	r->tree = NULL;
}

static void end(void)
{
	for (unsigned i = 0; i < N; i++)
		if (all[i].b.world.loop)
			close_reader(&all[i]);
	free(path);
}

/* Who is told of whom: the first reads the names. */
static void tell(const char *const *addresses, size_t n)
{
	struct fetch_holder holders[8];
	for (size_t i = 0; i < n; i++)
		holders[i] = (struct fetch_holder){.name = "x", .address = addresses[i]};
	for (unsigned i = 0; i < N; i++)
		fetch_fellows(all[i].b.peers, path, holders, n);
}

static void tell_all(void)
{
	tell((const char *[]){all[0].b.own.address, all[1].b.own.address, all[2].b.own.address}, N);
}

static void draft(struct reader *r, bool is_left)
{
	r->seal = (struct fetch_seal){.on_draft = on_draft, .on_done = on_done, .is_left = is_left};
	ASSERT_EQ(fetch_seal_start(r->b.world.fetch, &r->seal, path, NULL), 0);
}

static void open_draft(struct reader *r)
{
	TURN_UNTIL(r->is_drafted);
	r->open.on_done = on_open;
	ASSERT_EQ(fetch_open_draft(r->b.world.fetch, &r->open, r->number), 0);
	TURN_UNTIL(r->is_open);
	r->watch.on_over = on_over;
	fetch_watch_start(r->tree, &r->watch);
}

static void draft_all(void)
{
	for (unsigned i = 0; i < N; i++)
		draft(&all[i], true);
	for (unsigned i = 0; i < N; i++)
		open_draft(&all[i]);
}

struct got {
	struct fetch_read read;
	uint8_t bytes[128u << 10];
	ssize_t n;
	bool is_over;
};

static void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct got *g = container_of(r, struct got, read);
	g->n = n;
	if (n > 0)
		memcpy(g->bytes, p, (size_t)n);
	__atomic_store_n(&g->is_over, true, __ATOMIC_RELEASE);
}

/* Compared with the file; 0 or what a read ended in. */
static int read_file(struct reader *r, uint32_t node)
{
	static struct got g;
	const struct tree *t = fetch_index(r->tree);
	_free_ char *below = tree_path(t, node);
	_free_ char *file = path_join(path, below);
	size_t n;
	_free_ char *wanted = path_read(file, (size_t)1 << 30, &n);
	ASSERT(wanted);
	ASSERT_EQ(n, tree_file_size(t, node));
	for (uint64_t at = 0; at < n; at += (uint64_t)g.n) {
		g = (struct got){.read = {.tree = r->tree, .blob = node, .offset = at, .on_done = on_read}};
		g.read.n = (uint32_t)min(n - at, sizeof g.bytes);
		fetch_read_start(&g.read);
		TURN_UNTIL(__atomic_load_n(&g.is_over, __ATOMIC_ACQUIRE));
		if (g.n < 0)
			return (int)g.n;
		ASSERT_EQ(g.n, g.read.n);
		if (memcmp(wanted + at, g.bytes, (size_t)g.n) != 0)
			return -EILSEQ;
	}
	return 0;
}

static unsigned read_all(struct reader *r)
{
	unsigned n_wrong = 0;
	for (uint32_t i = 0; i < tree_n_nodes(fetch_index(r->tree)); i++)
		if (tree_node(fetch_index(r->tree), i)->type == TREE_FILE)
			n_wrong += read_file(r, i) != 0;
	return n_wrong;
}

static uint64_t size_read(void)
{
	uint64_t size = 0;
	for (unsigned i = 0; i < N; i++)
		if (all[i].b.world.loop)
			size += fetch_world_size(&all[i].b.world);
	return size;
}

TEST(what_all_read_is_read_once_and_by_each_a_part)
{
	begin();
	stand_still();
	tell_all();
	draft_all();
	for (unsigned i = 0; i < N; i++)
		ASSERT_EQ(read_all(&all[i]), 0);
	uint64_t size = tree_size(fetch_index(all[0].tree));
	ASSERT_EQ(size_read(), size);
	for (unsigned i = 0; i < N; i++)
		ASSERT(fetch_world_size(&all[i].b.world) > size / 10);
	struct fetch_numbers n;
	fetch_get_numbers(all[2].b.world.fetch, &n);
	ASSERT_EQ(n.peer_size + n.source_read_size, size);
	ASSERT_EQ(n.source_size, size);
	end();
}

TEST(alone_each_reads_for_itself)
{
	begin();
	draft_all();
	for (unsigned i = 0; i < N; i++)
		ASSERT_EQ(read_all(&all[i]), 0);
	ASSERT_EQ(size_read(), N * tree_size(fetch_index(all[0].tree)));
	end();
}

/* Who is left to others does not look at the directory, which may not even be there. */
TEST(names_come_from_who_reads_them)
{
	char away[600];
	begin();
	stand_still();
	tell_all();
	draft(&all[0], true);
	open_draft(&all[0]);
	snprintf(away, sizeof away, "%s.away", path);
	ASSERT_EQ(rename(path, away), 0);
	draft(&all[1], true);
	draft(&all[2], true);
	open_draft(&all[1]);
	open_draft(&all[2]);
	struct fetch_draft_info a, b;
	fetch_draft_get(all[0].tree, &a);
	for (unsigned i = 1; i < N; i++) {
		fetch_draft_get(all[i].tree, &b);
		ASSERT(digest_is_equal(&a.face, &b.face));
	}
	ASSERT_EQ(rename(away, path), 0);
	ASSERT_EQ(read_all(&all[2]), 0);
	end();
}

TEST(names_are_read_here_where_nobody_gives_them)
{
	begin();
	tell((const char *[]){"127.0.0.1:1", all[1].b.own.address}, 2);
	draft(&all[1], true);
	open_draft(&all[1]);
	ASSERT_EQ(read_all(&all[1]), 0);
	end();
}

/* It asked before the draft was there. */
TEST(who_asks_early_waits)
{
	begin();
	tell_all();
	draft(&all[1], true);
	for (int i = 0; i < 5; i++)
		turn();
	ASSERT(!all[1].is_drafted);
	draft(&all[0], true);
	open_draft(&all[1]);
	open_draft(&all[0]);
	ASSERT_EQ(read_all(&all[1]), 0);
	end();
}

/* It has sealed the path meanwhile, and has nothing to say of it any more. */
TEST(who_asks_late_waits_for_nobody)
{
	begin();
	tell_all();
	draft(&all[0], false);
	open_draft(&all[0]);
	TURN_UNTIL(all[0].is_over);
	uint64_t since = real_usec();
	draft(&all[1], true);
	open_draft(&all[1]);
	ASSERT(real_usec() - since < 10000000);
	ASSERT_EQ(read_all(&all[1]), 0);
	end();
}

TEST(a_node_that_goes_is_missed_by_nobody)
{
	begin();
	tell_all();
	draft_all();
	ASSERT_EQ(read_all(&all[0]), 0);
	close_reader(&all[1]);
	ASSERT_EQ(read_all(&all[2]), 0);
	end();
}

/* The second node reads all of it with one that plays as its fellow: how many files are not what they should be. */
static unsigned read_beside(struct side *player, enum fault fault)
{
	*player = (struct side){.fault = fault};
	begin();
	peer_fellow_open(player, &all[0].b);
	tell((const char *[]){all[1].b.own.address, player->address}, 2);
	draft(&all[1], true);
	open_draft(&all[1]);
	unsigned n_wrong = read_all(&all[1]);
	ASSERT(player->n_sent > 0);
	return n_wrong;
}

/* The first seals it, and the second hears of it. */
static void seal_and_tell(void)
{
	struct pulling p = {.n_done = 0};
	if (!all[0].seal.on_draft)
		draft(&all[0], false);
	open_draft(&all[0]);
	TURN_UNTIL(all[0].is_over);
	ASSERT_EQ(all[0].error, 0);
	peer_start(&all[1].b, &p, &all[0].id, (struct side *[]){&all[0].b.own}, 1);
	TURN_UNTIL(p.n_done);
	ASSERT_EQ(p.error, 0);
	fetch_told(all[1].b.world.fetch, path, &all[0].id);
	TURN_UNTIL(all[1].is_over);
}

TEST(what_one_seals_is_what_all_have)
{
	begin();
	tell_all();
	draft(&all[1], true);
	draft(&all[0], false);
	open_draft(&all[1]);
	ASSERT_EQ(read_all(&all[1]), 0);
	seal_and_tell();
	ASSERT_EQ(all[1].error, 0);
	ASSERT(digest_is_equal(&all[0].id, &all[1].id));
	ASSERT_EQ(read_all(&all[1]), 0);
	end();
}

/* Of one that lies, its readers hear once the tree is known, by name; what it did not touch they have. */
TEST(a_lie_is_found_when_the_tree_is_known)
{
	struct side liar;
	unsigned n_wrong = read_beside(&liar, FAULT_LIE), n_stale = 0;
	ASSERT(n_wrong > 0 && liar.n_sent >= n_wrong);
	seal_and_tell();
	ASSERT_EQ(all[1].error, -ESTALE);
	for (uint32_t i = 0; i < tree_n_nodes(fetch_index(all[1].tree)); i++) {
		if (tree_node(fetch_index(all[1].tree), i)->type != TREE_FILE)
			continue;
		int error = read_file(&all[1], i);
		ASSERT(!error || error == -ESTALE);
		n_stale += error != 0;
	}
	ASSERT_EQ(n_stale, n_wrong);
	peer_side_close(&liar);
	end();
}

/* What it was asked for comes from the directory, and it is asked no more for a while. */
TEST(who_is_silent_or_lacks_it_or_sends_nonsense_or_hangs_up_is_left_out)
{
	static const enum fault faults[] = {FAULT_SILENT, FAULT_LACKS, FAULT_SHORT, FAULT_HANGS_UP};
	for (size_t i = 0; i < countof(faults); i++) {
		struct side bad;
		ASSERT_EQ(read_beside(&bad, faults[i]), 0);
		ASSERT(bad.n_sent < 40);
		ASSERT_EQ(fetch_world_size(&all[1].b.world), tree_size(fetch_index(all[1].tree)));
		peer_side_close(&bad);
		end();
	}
}

/* This node stands still for longer than it waits for anybody, at each step of asking, while the others go on. */
TEST(who_stood_still_itself_takes_nobody_for_silent)
{
	static struct got gots[40]; /* all of a file */
	const uint32_t n = 64u << 10;
	for (int n_steps = 0; n_steps < 6; n_steps++) {
		begin();
		stand_still();
		tell_all();
		draft_all();
		for (unsigned i = 0; i < countof(gots); i++) {
			gots[i] = (struct got){.read = {.tree = all[2].tree, .blob = 2, .offset = i * n, .n = n}};
			gots[i].read.on_done = on_read;
			fetch_read_start(&gots[i].read);
		}
		for (int i = 0; i < 50; i++) {
			if (i < n_steps)
				loop_turn(all[2].b.world.loop, 1);
			loop_turn(all[0].b.world.loop, 1);
			loop_turn(all[1].b.world.loop, 1);
		}
		all[2].b.world.later_usec += 6000000;
		for (unsigned i = 0; i < countof(gots); i++)
			TURN_UNTIL(__atomic_load_n(&gots[i].is_over, __ATOMIC_ACQUIRE));
		ASSERT_EQ(size_read(), countof(gots) * n);
		end();
	}
}
