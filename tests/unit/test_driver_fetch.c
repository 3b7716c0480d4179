// SPDX-License-Identifier: Apache-2.0
// Who is told whom to ask for bytes: what one says of another, racks, ranks, and what only vined can get through.
#include "tests/unit/driver_world.h"

static struct peer one, two, three, client;

/* A node that has all of a tree, if it is said which. */
static int come(struct peer *p, const char *name, const char *uuid, const char *tree)
{
	static uint64_t instance;
	const struct wire_replica r = {.tree = digest_of(tree ? tree : ""), .size = 1000, .total = 1000};
	connect_peer(p, TLS_ROLE_NODE, name, ++instance);
	int e = join_with_data(p, uuid, NULL, 0);
	conn_send(p->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, tree != NULL}, .is_all = true});
	settle_all();
	return e;
}

static const char *tree_name(const char *tree)
{
	static char text[2][80], id[DIGEST_TEXT_SIZE];
	static unsigned at;
	const struct digest d = digest_of(tree);
	char *to = text[at++ % 2];
	snprintf(to, sizeof text[0], "tree:%s", digest_text(&d, id));
	return to;
}

static int want(const char *tree, uint8_t staging)
{
	const struct wire_binding b = {.path = "/in", .item = tree_name(tree), .mode = 1, .size = 1000};
	return SUBMIT(&client, TASK(.cores = 4, .staging = staging, BINDINGS(b)));
}

static int say_bad(struct peer *p, const char *tree, const char *address, uint8_t what)
{
	const struct wire_peer_bad m = {.tree = digest_of(tree), .address = address, .what = what, .reason = "chunk 7"};
	return conn_send(p->conn, WIRE_PEER_BAD, &m);
}

static void begin(void)
{
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 100);
	ASSERT_EQ(ask(&client, WIRE_ATTACH, &(struct wire_attach){.run = "sweep", .results = true, .events = true}), 0);
}

static void end(void)
{
	struct peer *all[] = {&one, &two, &three, &client};
	for (size_t i = 0; i < countof(all); i++) {
		if (all[i]->conn)
			drop(all[i]);
		all[i]->conn = NULL;
	}
	stop_vined();
}

/* Both are full, so the third is the one who has to fetch what they have. */
static void keep_busy(const char *tree)
{
	ASSERT_EQ(come(&one, "w1", "aa-1", tree), 0);
	ASSERT_EQ(come(&two, "w2", "bb-2", tree), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4), TASK(.cores = 4)), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1 && two.n_starts == 1));
	ASSERT_EQ(come(&three, "w3", "cc-3", NULL), 0);
}

TEST(who_gave_wrong_bytes_is_told_to_people_and_named_no_more)
{
	begin();
	keep_busy("x");
	ASSERT_EQ(want("x", 3), 0);
	ends_skipped_usec += 10000000; // longer than it is worth waiting for the holders
	ASSERT(UNTIL(loop, three.n_fetches == 1));
	ASSERT(strstr(three.fetch_peers, "w1 aa-1:1;") && strstr(three.fetch_peers, "w2 bb-2:1;"));
	ASSERT_EQ(three.fetch.rank, 1);
	ASSERT_EQ(say_bad(&three, "x", "aa-1:1", 1), 0);
	ASSERT(UNTIL(loop, strstr(client.event, "peer-bad w3")));
	ASSERT(strstr(client.event, "node w1 gave wrong bytes"));
	ASSERT(strstr(client.event, "chunk 7"));
	// Of what is not there, or of itself, nothing is to be said.
	unsigned n_events = client.n_events;
	ASSERT_EQ(say_bad(&three, "x", "nowhere:1", 1), 0);
	ASSERT_EQ(say_bad(&three, "x", "cc-3:1", 1), 0);
	ASSERT_EQ(say_bad(&three, "x", "aa-1:1", 9), 0);
	ASSERT_EQ(conn_send(three.conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = three.fetch.item, .error = EIO, .reason = "bad bytes"}),
		  0);
	ASSERT(UNTIL(loop, three.n_fetches == 2));
	ASSERT_STR(three.fetch_peers, "w2 bb-2:1;");
	ASSERT_EQ(client.n_events, n_events);
	end();
}

static bool is_asked_index;

static void give_index(struct peer *p, uint16_t type, const void *message)
{
	(void)message;
	if (type != WIRE_READ_INDEX)
		return;
	is_asked_index = true;
	conn_reply_status(p->conn, p->request, EIO, "%s", "the disk is gone");
}

TEST(what_a_node_cannot_get_from_the_only_one_who_has_it_it_gets_from_vined)
{
	begin();
	ASSERT_EQ(come(&one, "w1", "aa-1", "x"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4)), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(come(&three, "w3", "cc-3", NULL), 0);
	ASSERT_EQ(want("x", 3), 0);
	ends_skipped_usec += 10000000;
	ASSERT(UNTIL(loop, three.n_fetches == 1));
	ASSERT_STR(three.fetch_source, " ");
	ASSERT_EQ(say_bad(&three, "x", "aa-1:1", 2), 0);
	ASSERT(UNTIL(loop, three.n_fetches == 2));
	ASSERT_STR(three.fetch_source, "client: ");
	one.on_notice = give_index;
	char id[DIGEST_TEXT_SIZE];
	const struct digest x = digest_of("x");
	ASSERT_EQ(ask(&three, WIRE_READ_INDEX, &(struct wire_read_index){.tree = digest_text(&x, id)}), -EIO);
	ASSERT(is_asked_index);
	// What nobody has is not asked of who asks.
	const struct digest y = digest_of("y");
	ASSERT_EQ(ask(&three, WIRE_READ_INDEX, &(struct wire_read_index){.tree = digest_text(&y, id)}), -ENOENT);
	ASSERT(strstr(three.reason, "no client"));
	end();
}

TEST(so_many_read_one_source_as_was_set_and_it_is_remembered)
{
	const struct wire_binding a = {.path = "/a", .item = "file:/data/a", .mode = 1, .signature = "1", .size = 10};
	const struct wire_binding b = {.path = "/b", .item = "file:/data/b", .mode = 1, .signature = "2", .size = 10};
	begin();
	ASSERT_EQ(set(&client, "", "source./data.running", "1"), 0);
	end();
	begin();
	ASSERT_EQ(come(&one, "w1", "aa-1", NULL), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(a)), TASK(.staging = 3, BINDINGS(b))), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	settle_all();
	ASSERT_EQ(one.n_fetches, 1);
	ASSERT_EQ(set(&client, "", "source./data.running", ""), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	static const struct {
		const char *run, *name, *value, *says;
	} cases[] = {
		{"", "source./data/x.running", "1", "first directory"},
		{"", "source./.running", "1", "first directory"},
		{"", "source./data.speed", "1", "running can be set"},
		{"", "source./data.running", "x", "a number"},
		{"sweep", "source./data.running", "1", "without a run"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		ASSERT_EQ(set(&client, cases[i].run, cases[i].name, cases[i].value), -EINVAL);
		ASSERT(strstr(client.reason, cases[i].says));
	}
	end();
}

#define N_FAR 15
#define N_NEAR 5

static unsigned n_near, n_named;

static void count_near(struct peer *p, uint16_t type, const void *message)
{
	const struct wire_fetch *m = message;
	(void)p;
	if (type != WIRE_FETCH)
		return;
	n_named = m->peers.n;
	for (uint32_t i = 0; i < m->peers.n; i++)
		n_near += has_prefix(m->peers.at[i].name, "near");
}

static int come_to_rack(struct peer *p, const char *name, const char *uuid, const char *rack)
{
	char address[32];
	snprintf(address, sizeof address, "%s:1", uuid);
	connect_peer(p, TLS_ROLE_NODE, name, strtoull(uuid, NULL, 10));
	return ask(p, WIRE_JOIN,
		   &(struct wire_join){.node = uuid,
				       .tier = "views",
				       .cores = 4,
				       .task_limit = 4,
				       .has_data = true,
				       .address = address,
				       .rack = rack});
}

TEST(nodes_of_the_same_rack_are_named_first)
{
	struct peer *others = xcalloc(N_FAR + N_NEAR, sizeof *others);
	const struct wire_replica r = {.tree = digest_of("x"), .size = 1000, .total = 1000};
	begin();
	for (unsigned i = 0; i < N_FAR + N_NEAR; i++) {
		char name[16], uuid[16];
		snprintf(name, sizeof name, "%s%u", i < N_FAR ? "far" : "near", i);
		snprintf(uuid, sizeof uuid, "%u", 200 + i);
		ASSERT_EQ(come_to_rack(&others[i], name, uuid, i < N_FAR ? "b" : "a"), 0);
		ASSERT_EQ(conn_send(others[i].conn, WIRE_REPLICAS,
				    &(struct wire_replicas){.trees = {&r, 1}, .is_all = true}),
			  0);
		ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4)), 0);
		ASSERT(UNTIL(loop, others[i].n_starts == 1));
	}
	ASSERT_EQ(come_to_rack(&three, "w3", "300", "a"), 0);
	three.on_notice = count_near;
	ASSERT_EQ(want("x", 3), 0);
	ends_skipped_usec += 10000000;
	ASSERT(UNTIL(loop, three.n_fetches == 1));
	ASSERT_EQ(n_named, 14);
	ASSERT_EQ(n_near, N_NEAR);
	for (unsigned i = 0; i < N_FAR + N_NEAR; i++)
		drop(&others[i]);
	free(others);
	end();
}

/* Two tasks that take a node each, and read what nobody knows. */
static int want_unknown(const char *item)
{
	const struct wire_binding b = {.path = "/in", .item = item, .mode = 1, .signature = "1"};
	return SUBMIT(&client, TASK(.cores = 4, BINDINGS(b)), TASK(.cores = 4, BINDINGS(b)));
}

static bool is_left(const struct peer *p)
{
	return p->inputs[0].flags & 16;
}

/* Two nodes have a task each with a path of which nobody knows the tree: who is told to read it. */
static struct peer *begin_to_read(void)
{
	ASSERT_EQ(come(&one, "w1", "aa-1", NULL), 0);
	ASSERT_EQ(come(&two, "w2", "bb-2", NULL), 0);
	ASSERT_EQ(want_unknown("file:/data/x"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1 && two.n_starts == 1 && one.n_fetches + two.n_fetches == 1));
	return one.n_fetches ? &one : &two;
}

TEST(of_two_nodes_that_start_with_what_nobody_knows_one_reads_it_and_the_other_is_told)
{
	begin();
	struct peer *reader = begin_to_read(), *other = reader == &one ? &two : &one;
	settle_all();
	ASSERT_EQ(one.n_fetches + two.n_fetches, 1);
	ASSERT(!is_left(reader) && is_left(other));
	ASSERT_STR(reader->fetch_source, "file:/data/x 1");
	ASSERT_EQ(conn_send(reader->conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = reader->fetch.item, .tree = digest_of("x"), .size = 1000}),
		  0);
	ASSERT(UNTIL(loop, other->n_fetches == 1));
	const struct digest x = digest_of("x");
	ASSERT(digest_is_equal(&other->fetch.tree, &x));
	ASSERT_STR(other->fetch_source, " 1");
	ASSERT_STR(other->fetch_peers, reader == &one ? "w1 aa-1:1;" : "w2 bb-2:1;");
	end();
}

TEST(nodes_that_start_with_what_nobody_knows_hear_of_each_other_the_reader_first)
{
	begin();
	ASSERT_EQ(come(&one, "w1", "aa-1", NULL), 0);
	ASSERT_EQ(come(&two, "w2", "bb-2", NULL), 0);
	ASSERT_EQ(want_unknown("file:/data/x"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1 && two.n_starts == 1 && one.n_fellows && two.n_fellows));
	struct peer *reader = is_left(&two) ? &one : &two, *other = is_left(&two) ? &two : &one;
	const char *all = reader == &one ? "w1 aa-1:1;w2 bb-2:1;" : "w2 bb-2:1;w1 aa-1:1;";
	ASSERT_STR(reader->fellows, all);
	ASSERT_STR(other->fellows, all);
	ASSERT_STR(other->fellows_source, "file:/data/x");
	/* It asks for names as soon as it is told to start. */
	ASSERT_EQ(other->n_starts_before, 0);
	ASSERT_EQ(reader->n_starts_before, 1);
	/* Who comes once it is known which tree it is needs none of it. */
	unsigned n = reader->n_fellows;
	ASSERT_EQ(conn_send(reader->conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = reader->fetch.item, .tree = digest_of("x"), .size = 1000}),
		  0);
	ASSERT(UNTIL(loop, other->n_fetches == 1));
	ASSERT_EQ(come(&three, "w3", "cc-3", NULL), 0);
	const struct wire_binding b = {.path = "/in", .item = "file:/data/x", .mode = 1, .signature = "1"};
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, BINDINGS(b))), 0);
	ends_skipped_usec += 10000000;
	ASSERT(UNTIL(loop, three.n_starts == 1));
	ASSERT(!is_left(&three));
	ASSERT_EQ(three.n_fellows, 0);
	ASSERT_EQ(reader->n_fellows, n);
	end();
}

TEST(where_the_reader_is_lost_the_other_is_told_to_read_and_nobody_waits_for_who_is_gone)
{
	begin();
	struct peer *reader = begin_to_read(), *other = reader == &one ? &two : &one;
	drop(reader);
	reader->conn = NULL;
	ASSERT_EQ(come(&three, "w3", "cc-3", NULL), 0);
	ends_skipped_usec += 600000000;
	ASSERT(UNTIL(loop, other->n_fetches));
	ASSERT_STR(other->fetch_source, "file:/data/x 1");
	ASSERT(UNTIL(loop, three.n_starts == 1));
	end();
}

TEST(who_waits_for_a_tree_that_he_has_is_told_so)
{
	begin();
	struct peer *reader = begin_to_read(), *other = reader == &one ? &two : &one;
	const struct digest x = digest_of("x");
	const struct wire_replica r = {.tree = x, .size = 1000, .total = 1000};
	conn_send(other->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, 1}, .is_all = true});
	settle_all();
	ASSERT_EQ(conn_send(reader->conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = reader->fetch.item, .tree = x, .size = 1000}),
		  0);
	ASSERT(UNTIL(loop, other->n_fetches == 1));
	ASSERT(digest_is_equal(&other->fetch.tree, &x));
	ASSERT_STR(other->fetch_peers, "");
	ASSERT_EQ(reader->n_fetches, 1);
	end();
}

TEST(what_each_node_has_itself_is_left_to_nobody)
{
	begin();
	ASSERT_EQ(come(&one, "w1", "aa-1", NULL), 0);
	ASSERT_EQ(come(&two, "w2", "bb-2", NULL), 0);
	ASSERT_EQ(want_unknown("node:/scratch"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1 && two.n_starts == 1));
	ASSERT(!is_left(&one) && !is_left(&two));
	end();
}
