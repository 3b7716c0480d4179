// SPDX-License-Identifier: Apache-2.0
// Trees between clients and nodes, and output, through vined; and which nodes are told to hold what.
#include "tests/unit/driver_world.h"

#define LARGE (3u << 20) /* more than the windows of two streams */

static struct peer one, two, client;

/* What was asked of a peer for bytes, and what it gives. */
static struct giving {
	struct peer *peer;
	struct stream stream;
	uint64_t request, n_sent, size;
	uint16_t type; /* of the request; 0: none */
	struct digest tree;
	uint64_t first, n;
	struct wire_read_output output;
	bool is_streaming, is_stopped;
} giving;

/* What a peer gets. */
static struct getting {
	struct call call;
	struct buf bytes;
	bool is_answered, is_ended, is_slow;
	int error, end_error;
	uint16_t type;
	char reason[256];
} getting;

static void give_some(struct stream *s)
{
	static const uint8_t block[65536];
	(void)s;
	while (giving.n_sent < giving.size) {
		size_t n = stream_send(&giving.stream, block,
				       (size_t)min(giving.size - giving.n_sent, (uint64_t)sizeof block));
		giving.n_sent += n;
		if (!n)
			return;
	}
	stream_end(&giving.stream, 0);
	giving.is_streaming = false;
}

static void on_giving_stopped(struct stream *s, int error)
{
	(void)s, (void)error;
	giving.is_stopped = true;
	giving.is_streaming = false;
}

static void on_asked(struct peer *p, uint16_t type, const void *message)
{
	if (type != WIRE_READ_INDEX && type != WIRE_READ_CHUNKS && type != WIRE_READ_OUTPUT)
		return;
	giving.peer = p;
	giving.request = p->request;
	giving.type = type;
	if (type == WIRE_READ_INDEX) {
		ASSERT_EQ(digest_parse(((const struct wire_read_index *)message)->tree, &giving.tree), 0);
		return;
	}
	if (type == WIRE_READ_OUTPUT) {
		giving.output = *(const struct wire_read_output *)message;
		return;
	}
	const struct wire_read_chunks *m = message;
	giving.tree = m->tree;
	giving.first = m->first;
	giving.n = m->n;
}

static void give(uint64_t size)
{
	giving.stream = (struct stream){.on_room = give_some, .on_stop = on_giving_stopped};
	giving.size = size;
	giving.n_sent = 0;
	giving.is_streaming = true;
	const struct wire_index index = {.tree = giving.tree, .size = size};
	const struct wire_status good = {.error = 0};
	bool is_index = giving.type == WIRE_READ_INDEX;
	ASSERT_EQ(stream_start(&giving.stream, giving.peer->conn, giving.request, is_index ? WIRE_INDEX : WIRE_STATUS,
			       is_index ? (const void *)&index : (const void *)&good),
		  0);
	give_some(&giving.stream);
}

static void on_got_reply(struct call *c, int error, uint16_t type, const void *message)
{
	(void)c;
	getting.is_answered = true;
	getting.error = error;
	getting.type = type;
	if (type == WIRE_STATUS && message)
		snprintf(getting.reason, sizeof getting.reason, "%s", ((const struct wire_status *)message)->reason);
	getting.is_ended = error != 0;
}

static bool on_got_data(struct call *c, const void *p, size_t n)
{
	(void)c;
	buf_put(&getting.bytes, p, n);
	return !getting.is_slow;
}

static void on_got_end(struct call *c, int error)
{
	(void)c;
	getting.is_ended = true;
	getting.end_error = error;
}

static void get(struct peer *p, uint16_t type, const void *message)
{
	buf_fini(&getting.bytes);
	getting = (struct getting){.call = {.on_reply = on_got_reply, .on_data = on_got_data, .on_end = on_got_end}};
	giving = (struct giving){.type = 0};
	ASSERT_EQ(call_start(&getting.call, p->conn, type, message, 0), 0);
}

static void get_index(struct peer *p, const char *tree)
{
	char id[DIGEST_TEXT_SIZE];
	const struct digest d = digest_of(tree);
	get(p, WIRE_READ_INDEX, &(struct wire_read_index){.tree = digest_text(&d, id)});
}

static void get_chunks(struct peer *p, const char *tree)
{
	get(p, WIRE_READ_CHUNKS, &(struct wire_read_chunks){.tree = digest_of(tree), .first = 7, .n = 9});
}

static void begin(void)
{
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	client.on_notice = on_asked;
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void join_node(struct peer *p, const char *name, const char *uuid, uint64_t disk)
{
	connect_peer(p, TLS_ROLE_NODE, name, uuid[0]);
	p->on_notice = on_asked;
	ASSERT_EQ(ask(p, WIRE_JOIN,
		      &(struct wire_join){.node = uuid,
					  .tier = "views",
					  .cores = 4,
					  .task_limit = 4,
					  .disk = disk,
					  .has_data = true}),
		  0);
}

static void end(void)
{
	struct peer *all[] = {&one, &two, &client};
	call_stop(&getting.call);
	for (size_t i = 0; i < countof(all); i++)
		if (all[i]->conn)
			drop(all[i]);
	stop_vined();
	buf_fini(&getting.bytes);
}

/* The answer comes later. */
static void offer(const char *tree, uint64_t size)
{
	client.is_answered = false;
	client.call = (struct call){.on_reply = on_reply};
	ASSERT_EQ(call_start(&client.call, client.conn, WIRE_OFFER,
			     &(struct wire_offer){.tree = digest_of(tree), .size = size}, 0),
		  0);
}

static int tell_fetched(struct peer *p, const char *tree, int error)
{
	return conn_send(p->conn, WIRE_FETCHED,
			 &(struct wire_fetched){.item = p->fetch.item,
						.tree = digest_of(tree),
						.size = 1000,
						.error = error,
						.reason = error ? "its disk is full" : ""});
}

static int tell_replica(struct peer *p, const char *tree, uint64_t size, bool is_all)
{
	const struct wire_replica r = {.tree = digest_of(tree), .size = size, .total = 1000};
	return conn_send(p->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, 1}, .is_all = is_all});
}

static const char *pledge(const char *tree, char sign)
{
	static char text[16];
	char id[DIGEST_TEXT_SIZE];
	const struct digest d = digest_of(tree);
	snprintf(text, sizeof text, "%.8s%c", digest_text(&d, id), sign);
	return text;
}

static struct wire_binding tree_binding(const char *tree)
{
	static char item[DIGEST_TEXT_SIZE + 8];
	char id[DIGEST_TEXT_SIZE];
	const struct digest d = digest_of(tree);
	snprintf(item, sizeof item, "tree:%s", digest_text(&d, id));
	return (struct wire_binding){.path = "/in", .item = item, .mode = 1};
}

/* ---- offers */

TEST(an_offered_tree_goes_to_the_node_with_most_room_which_reads_it_from_the_client)
{
	begin();
	join_node(&one, "w1", "aa-1", 1000000);
	join_node(&two, "w2", "bb-2", 9000000);
	offer("x", 1000);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_source, "client: ");
	ASSERT(two.fetch.hold && two.fetch.is_gating);
	ASSERT_EQ(two.fetch.size, 1000);
	get_index(&two, "x");
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_INDEX && giving.peer == &client));
	give(5000);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.type, WIRE_INDEX);
	ASSERT_EQ(getting.bytes.n, 5000);
	get_chunks(&two, "x");
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_CHUNKS));
	ASSERT(giving.first == 7 && giving.n == 9);
	give(LARGE);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.end_error, 0);
	ASSERT_EQ(getting.bytes.n, LARGE);
	ASSERT(!client.is_answered);
	ASSERT_EQ(tell_fetched(&two, "x", 0), 0);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, 0);
	ASSERT_EQ(one.n_fetches, 0);
	// Offered again it is there, and a task that names it runs.
	offer("x", 1000);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, 0);
	ASSERT_EQ(two.n_fetches, 1);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(tree_binding("x")))), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	end();
}

TEST(who_offers_what_another_offers_too_is_answered_with_the_first)
{
	begin();
	join_node(&one, "w1", "aa-1", 0);
	offer("x", 1000);
	ASSERT_EQ(conn_send(client.conn, WIRE_OFFER, &(struct wire_offer){.tree = digest_of("x"), .size = 1000}), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	ASSERT_EQ(tell_fetched(&one, "x", 0), 0);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, 0);
	ASSERT(UNTIL(loop, one.n_fetch_stops == 1));
	end();
}

TEST(nothing_is_held_for_who_does_not_read)
{
	begin();
	join_node(&one, "w1", "aa-1", 1000000);
	offer("x", 1000);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	get_chunks(&one, "x");
	getting.is_slow = true;
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_CHUNKS));
	give(64u << 20);
	settle_all();
	ASSERT(getting.bytes.n <= CONN_STREAM_WINDOW);
	ASSERT(giving.n_sent <= 2 * CONN_STREAM_WINDOW + CONN_OUT_HIGH);
	ASSERT(giving.is_streaming);
	// Who asked wants it no more.
	call_stop(&getting.call);
	ASSERT(UNTIL(loop, giving.is_stopped));
	end();
}

TEST(a_node_that_cannot_or_goes_away_leaves_it_to_another)
{
	begin();
	join_node(&one, "w1", "aa-1", 9000000);
	join_node(&two, "w2", "bb-2", 1000000);
	offer("x", 1000);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&one, "x", ENOSPC), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&two, "x", ENOSPC), 0);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, -ENOSPC);
	ASSERT(strstr(client.reason, "node w2: its disk is full"));
	offer("y", 1000);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	drop(&one);
	ASSERT(UNTIL(loop, two.n_fetches == 2));
	ASSERT_EQ(tell_fetched(&two, "y", 0), 0);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, 0);
	end();
}

TEST(a_node_that_is_silent_leaves_it_to_another_and_one_that_reads_does_not)
{
	begin();
	join_node(&one, "w1", "aa-1", 9000000);
	offer("x", 1000);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	// It begins with this one.
	ASSERT_EQ(conn_send(client.conn, WIRE_OFFER, &(struct wire_offer){.tree = digest_of("y"), .size = 1000}), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	join_node(&two, "w2", "bb-2", 1000000);
	for (int i = 0; i < 3; i++) {
		ends_skipped_usec += 40000000;
		get_chunks(&one, "x");
		ASSERT(UNTIL(loop, giving.type == WIRE_READ_CHUNKS));
		give(100);
		ASSERT(UNTIL(loop, getting.is_ended));
	}
	ASSERT_EQ(two.n_fetches, 0);
	ends_skipped_usec += 60000001;
	ASSERT(UNTIL(loop, two.n_fetches == 2));
	ASSERT_EQ(one.n_fetch_stops, 2);
	end();
}

TEST(an_offer_waits_for_a_node_and_then_is_refused_in_words)
{
	begin();
	offer("x", 1000);
	settle_all();
	ASSERT(!client.is_answered);
	ends_skipped_usec += 60000001;
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT_EQ(client.error, -EAGAIN);
	ASSERT(strstr(client.reason, "no node with a cache is there"));
	offer("x", 1000);
	settle_all();
	join_node(&one, "w1", "aa-1", 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	// It goes with its client.
	drop(&client);
	ASSERT(UNTIL(loop, one.n_fetch_stops == 1));
	get_index(&one, "x");
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.error, -ENOENT);
	end();
}

TEST(odd_offers_are_refused)
{
	begin();
	ASSERT_EQ(ask(&client, WIRE_OFFER, &(struct wire_offer){.size = 10}), -EINVAL);
	ASSERT_EQ(ask(&client, WIRE_OFFER, &(struct wire_offer){.tree = digest_of("x"), .size = UINT64_MAX}), -EINVAL);
	for (unsigned i = 0; i < 64; i++) {
		char name[16];
		snprintf(name, sizeof name, "t%u", i);
		ASSERT_EQ(conn_send(client.conn, WIRE_OFFER, &(struct wire_offer){.tree = digest_of(name)}), 0);
	}
	ASSERT_EQ(ask(&client, WIRE_OFFER, &(struct wire_offer){.tree = digest_of("x")}), -EAGAIN);
	end();
}

/* ---- to clients */

TEST(a_client_reads_a_tree_from_a_node_that_has_all_of_it)
{
	begin();
	join_node(&one, "w1", "aa-1", 0);
	join_node(&two, "w2", "bb-2", 0);
	get_index(&client, "x");
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.error, -ENOENT);
	ASSERT_EQ(tell_replica(&one, "x", 999, false), 0);
	ASSERT_EQ(tell_replica(&two, "x", 1000, false), 0);
	settle_all();
	get_chunks(&client, "x");
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_CHUNKS));
	ASSERT(giving.peer == &two);
	give(LARGE);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.bytes.n, LARGE);
	// Cut off amid it, the client hears so.
	get_chunks(&client, "x");
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_CHUNKS));
	getting.is_slow = true;
	give(64u << 20);
	settle_all();
	stream_end(&giving.stream, -EIO);
	getting.is_slow = false;
	call_more(&getting.call);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT(getting.end_error);
	get(&client, WIRE_READ_INDEX, &(struct wire_read_index){.tree = "12345678"});
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.error, -EINVAL);
	end();
}

TEST(output_is_followed_however_long_it_is_silent)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	const struct wire_read_output follow = {.task = client.id, .which = 1, .offset = 5, .follow = true};
	// It does not run yet: who follows asks again.
	get(&client, WIRE_READ_OUTPUT, &follow);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.error, -ENODATA);
	ASSERT(strstr(getting.reason, "does not run yet"));
	join_node(&one, "w1", "aa-1", 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	get(&client, WIRE_READ_OUTPUT, &follow);
	ASSERT(UNTIL(loop, giving.type == WIRE_READ_OUTPUT));
	ASSERT(giving.output.follow && giving.output.offset == 5 && giving.output.attempt == one.start.attempt);
	giving.stream = (struct stream){.on_room = give_some, .on_stop = on_giving_stopped};
	ASSERT_EQ(
		stream_start(&giving.stream, one.conn, giving.request, WIRE_STATUS, &(struct wire_status){.error = 0}),
		0);
	for (int i = 0; i < 5; i++) {
		ends_skipped_usec += 25000000;
		settle_all();
	}
	ASSERT(!getting.is_ended);
	ASSERT_EQ(stream_send(&giving.stream, "late", 4), 4);
	ASSERT(UNTIL(loop, getting.bytes.n == 4));
	stream_end(&giving.stream, 0);
	ASSERT(UNTIL(loop, getting.is_ended));
	ASSERT_EQ(getting.end_error, 0);
	end();
}

/* ---- what must not be evicted */

TEST(an_upload_is_held_while_tasks_name_it_and_until_they_are_over)
{
	ends_stand_still();
	begin();
	join_node(&one, "w1", "aa-1", 0);
	offer("x", 1000);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&one, "x", 0), 0);
	ASSERT(UNTIL(loop, one.n_holds == 1));
	ASSERT_STR(one.holds, pledge("x", '+'));
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(tree_binding("x")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	drop(&client);
	settle_all();
	ends_skipped_usec += 599000000;
	settle_all();
	ASSERT_EQ(one.n_holds, 1);
	ASSERT_EQ(ended_well(&one), 0);
	settle_all();
	ASSERT_EQ(one.n_holds, 1);
	ends_skipped_usec += 2000000;
	ASSERT(UNTIL(loop, one.n_holds == 2));
	ASSERT_STR(one.holds, pledge("x", '-'));
	end();
}

TEST(an_output_is_held_by_one_node_until_it_is_forgotten)
{
	begin();
	join_node(&one, "w1", "aa-1", 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_output made = {one.inputs[0].item, digest_of("a"), 1000};
	ASSERT_EQ(ended_with(&one, 1, 0, &made, 1), 0);
	ASSERT(UNTIL(loop, one.n_holds == 1));
	ASSERT_STR(one.holds, pledge("a", '+'));
	join_node(&two, "w2", "bb-2", 0);
	ASSERT_EQ(tell_replica(&two, "a", 1000, true), 0);
	ASSERT(UNTIL(loop, two.n_holds == 1));
	ASSERT(two.is_all_held);
	ASSERT_STR(two.holds, "");
	// It has lost it all the same.
	ASSERT_EQ(tell_replica(&one, "a", 0, false), 0);
	ASSERT(UNTIL(loop, two.n_holds == 2));
	ASSERT(!two.is_all_held);
	ASSERT_STR(two.holds, pledge("a", '+'));
	// Told all that it has, it hears all that it is to hold.
	ASSERT_EQ(tell_replica(&two, "a", 1000, true), 0);
	ASSERT(UNTIL(loop, two.n_holds == 3));
	ASSERT(two.is_all_held);
	ASSERT_STR(two.holds, pledge("a", '+'));
	ASSERT_EQ(done(&client, client.id), 0);
	ASSERT_EQ(ask(&client, WIRE_FORGET,
		      &(struct wire_forget){.run = "sweep", .items = {(const char *const[]){"temp:a"}, 1}}),
		  0);
	ASSERT(UNTIL(loop, two.n_holds == 4));
	ASSERT_STR(two.holds, pledge("a", '-'));
	end();
}

TEST(a_node_that_is_lost_holds_nothing_and_another_does)
{
	begin();
	join_node(&one, "w1", "aa-1", 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_output made = {one.inputs[0].item, digest_of("a"), 1000};
	ASSERT_EQ(ended_with(&one, 1, 0, &made, 1), 0);
	join_node(&two, "w2", "bb-2", 0);
	ASSERT_EQ(tell_replica(&two, "a", 1000, true), 0);
	ASSERT(UNTIL(loop, two.n_holds == 1));
	drop(&one);
	settle_all();
	ASSERT_EQ(two.n_holds, 1);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, two.n_holds == 2));
	ASSERT_STR(two.holds, pledge("a", '+'));
	end();
}
