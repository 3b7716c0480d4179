/* SPDX-License-Identifier: Apache-2.0
 * What a screen shows of a cluster: sums, nodes, runs, tasks and items in the order that was asked for, and no more of them. */
#include "tests/unit/driver_world.h"
#include "vined/driver_top.h"

/* What was told, as text: a name and a number each. */
static char told[512];

static void tell(const char *name, uint64_t n)
{
	size_t at = strlen(told);
	snprintf(told + at, sizeof told - at, "%s %llu; ", name, (unsigned long long)n);
}

static void on_node(void *arg, const struct driver_top_node *n)
{
	(void)arg;
	tell(n->name, n->cores_used);
}

static void on_run(void *arg, const struct driver_top_run *r)
{
	(void)arg;
	tell(r->name, r->unfinished);
	tell("running", r->running);
}

static void on_task(void *arg, uint64_t id)
{
	(void)arg;
	tell("task", id);
}

static void on_item(void *arg, size_t at)
{
	struct driver_item i;
	(void)arg;
	ASSERT(driver_next_item(driver, &at, &i));
	tell(i.name, i.size);
}

static const char *nodes_by(const char *sort, const char *find, size_t most)
{
	*told = 0;
	driver_top_nodes(driver, sort, find, most, on_node, NULL);
	return told;
}

static const char *items_by(bool is_by_name, const char *find, size_t most)
{
	*told = 0;
	driver_top_items(driver, is_by_name, find, most, on_item, NULL);
	return told;
}

static struct driver_top sums(void)
{
	struct driver_top out;
	driver_top(driver, &out);
	return out;
}

TEST(what_is_over_is_what_was_submitted_and_is_not_unfinished)
{
	struct peer node, client;
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(sums().submitted, 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4), TASK(.cores = 4), TASK(.cores = 4)), 0);
	ASSERT_EQ(sums().submitted, 3);
	ASSERT_EQ(sums().over, 0);
	ASSERT(sums().is_settled);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT_EQ(sums().over, 1);
	ASSERT_EQ(sums().known_nodes, 1);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(tasks_on_their_way_to_the_disk_are_neither_waiting_nor_over)
{
	struct peer client;
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	client.is_answered = false;
	client.call = (struct call){.on_reply = on_reply};
	const struct wire_task t = TASK(.cores = 1);
	ASSERT_EQ(call_start(&client.call, client.conn, WIRE_SUBMIT,
			     &(struct wire_submit){.run = client.run, .tasks = {&t, 1}}, 0),
		  0);
	ASSERT(UNTIL(loop, sums().submitted == 1));
	ASSERT(!sums().is_settled);
	ASSERT(UNTIL(loop, client.is_answered));
	ASSERT(sums().is_settled);
	drop(&client);
	stop_vined();
}

TEST(nodes_runs_and_tasks_are_told_in_order_and_not_too_many)
{
	struct peer nodes_there[3], client;
	static const char *const names[] = {"w10", "w9", "x"}, *const uuids[] = {"aa-1", "aa-2", "aa-3"};
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 9);
	ASSERT_EQ(attach(&client, "small"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 3, .memory = 1000)), 0);
	uint64_t task = client.id;
	for (unsigned i = 0; i < countof(names); i++) {
		connect_peer(&nodes_there[i], TLS_ROLE_NODE, names[i], i + 1);
		ASSERT_EQ(ask(&nodes_there[i], WIRE_JOIN,
			      &(struct wire_join){
				      .node = uuids[i], .tier = "views", .cores = 4, .memory = 4000, .task_limit = 4}),
			  0);
		if (i == 1)
			ASSERT(UNTIL(loop, nodes_there[0].n_starts + nodes_there[1].n_starts == 1));
	}
	const char *first = nodes_there[0].n_starts ? "w10 3; w9 0; x 0; " : "w9 3; w10 0; x 0; ";
	ASSERT_STR(nodes_by("busy", "", 10), first);
	ASSERT_STR(nodes_by("name", "", 10), nodes_there[0].n_starts ? "w9 0; w10 3; x 0; " : "w9 3; w10 0; x 0; ");
	ASSERT_STR(nodes_by("name", "x", 10), "x 0; ");
	ASSERT_STR(nodes_by("name", "connected", 1), nodes_there[0].n_starts ? "w9 0; " : "w9 3; ");
	ASSERT_STR(nodes_by("name", "nowhere", 10), "");
	/* Who is away comes last, but first of all by state. */
	drop(&nodes_there[1]);
	settle_all();
	ASSERT(strstr(nodes_by("name", "", 10), "x 0; w9 "));
	ASSERT(has_prefix(nodes_by("state", "", 10), "w9 "));
	*told = 0;
	ASSERT_EQ(driver_top_on_node(driver, nodes_there[0].n_starts ? "w10" : "w9", 5, on_task, NULL), 0);
	ASSERT(strlen(told));
	ASSERT_EQ(driver_top_on_node(driver, "nowhere", 5, on_task, NULL), -ENOENT);
	uint32_t cores;
	uint64_t memory;
	driver_top_given(driver, task, &cores, &memory);
	ASSERT_EQ(cores, 3);
	ASSERT_EQ(memory, 1000);
	driver_top_given(driver, 99, &cores, &memory);
	ASSERT_EQ(cores, 0);

	ASSERT_EQ(attach(&client, "large"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 100), TASK(.cores = 100)), 0);
	*told = 0;
	ASSERT_EQ(driver_top_runs(driver, 10, on_run, NULL), 2);
	ASSERT_STR(told, "large 2; running 0; small 1; running 1; ");
	*told = 0;
	ASSERT_EQ(driver_top_runs(driver, 1, on_run, NULL), 2);
	ASSERT_STR(told, "large 2; running 0; ");
	drop(&nodes_there[0]);
	drop(&nodes_there[2]);
	drop(&client);
	stop_vined();
}

TEST(items_are_told_by_size_or_by_name)
{
	struct peer client;
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	const struct wire_binding in[] = {{.path = "/a", .item = "file:/data/a", .mode = 1, .size = 10},
					  {.path = "/b", .item = "file:/data/b", .mode = 1, .size = 30},
					  {.path = "/c", .item = "file:/other/c", .mode = 1, .size = 20}};
	ASSERT_EQ(SUBMIT(&client, TASK(.bindings = {in, 3})), 0);
	ASSERT_STR(items_by(false, "", 10), "file:/data/b 30; file:/other/c 20; file:/data/a 10; ");
	ASSERT_STR(items_by(true, "", 2), "file:/data/a 10; file:/data/b 30; ");
	ASSERT_STR(items_by(false, "data", 10), "file:/data/b 30; file:/data/a 10; ");
	ASSERT_STR(items_by(false, "nothing", 10), "");
	drop(&client);
	stop_vined();
}
