// SPDX-License-Identifier: Apache-2.0
// What a task would find that nobody has submitted.
#include "tests/unit/driver_world.h"

static struct driver_place seen[4];
static size_t n_seen;

static bool on_place(void *arg, const struct driver_place *p)
{
	size_t *most = arg;
	if (n_seen < countof(seen))
		seen[n_seen++] = *p;
	return n_seen < *most;
}

static void look(const struct driver_wish *w)
{
	size_t most = countof(seen);
	n_seen = 0;
	driver_where(driver, w, on_place, &most);
}

TEST(a_node_could_take_it_now_or_later_or_never)
{
	struct peer node, client;
	start_vined();
	look(&(struct driver_wish){.cores = 1});
	ASSERT_EQ(n_seen, 0);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	look(&(struct driver_wish){.cores = 1});
	ASSERT_EQ(n_seen, 1);
	ASSERT_STR(seen[0].node, "w1");
	ASSERT_EQ(seen[0].could, DRIVER_COULD_NOW);
	ASSERT_STR(seen[0].reason, "");
	uint64_t cores = seen[0].cores_free;
	look(&(struct driver_wish){.cores = cores + 1});
	ASSERT_EQ(seen[0].could, DRIVER_COULD_NOT);
	ASSERT(strstr(seen[0].reason, " cores"));
	look(&(struct driver_wish){.features = {"nonsuch"}, .n_features = 1});
	ASSERT_EQ(seen[0].could, DRIVER_COULD_NOT);
	ASSERT_STR(seen[0].reason, "it has no feature 'nonsuch'");
	// What runs there takes its room.
	ASSERT_EQ(submit(&client, "a"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	look(&(struct driver_wish){.cores = cores});
	ASSERT_EQ(seen[0].could, DRIVER_COULD_LATER);
	ASSERT_EQ(seen[0].n_running, 1);
	ASSERT_STR(seen[0].reason, "its cores are in use by 1 task");
	drop(&node);
	ASSERT(UNTIL(loop, (look(&(struct driver_wish){.cores = 1}), n_seen == 0)));
	drop(&client);
	stop_vined();
}

TEST(what_a_node_has_of_the_inputs_is_said)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	look(&(struct driver_wish){.items = {"temp:a"}, .n_items = 1});
	ASSERT_EQ(seen[0].n_there, 0);
	const struct wire_output made = {
		.item = node.inputs[node.n_inputs - 1].item, .tree = digest_of("a"), .size = 77};
	ASSERT_EQ(ended_with(&node, 1, 0, &made, 1), 0);
	settle_all();
	look(&(struct driver_wish){.items = {"temp:a", "temp:b"}, .n_items = 2});
	ASSERT_EQ(n_seen, 1);
	ASSERT_EQ(seen[0].n_there, 1);
	ASSERT_EQ(seen[0].size_there, 77);
	drop(&node);
	drop(&client);
	stop_vined();
}
