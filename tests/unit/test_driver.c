// SPDX-License-Identifier: Apache-2.0
// vined without its main(): real store, core and connections, with nodes and clients played by the test.
#include "tests/unit/unit.h"

#include "tests/unit/ends.h"
#include "vined/client.h"
#include "vined/node.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#define NODE_TIMEOUT_USEC 30000000u
#define CLIENT_TIMEOUT_USEC 10000000u

struct peer {
	struct conn *conn;
	struct wire_hello hello;
	bool is_open;
	unsigned n_starts, n_stops, n_results;
	struct wire_start start; // numbers only
	char command[64];
	struct wire_stop stop;
	struct wire_result result; // numbers only
	char out[64];
	// the last answer
	struct call call;
	bool is_answered;
	int error;
	uint64_t id, pending;
	char run[64], reason[256];
};

static struct loop *loop;
static struct store *store;
static struct driver *driver;
static struct nodes nodes;
static struct clients clients;
static const struct wire_hello hello_here = {.role = TLS_ROLE_VINED, .version = "1", .name = "vined"};

// ---- vined's side

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	if (peer->role == TLS_ROLE_NODE)
		nodes_take(&nodes, c, peer);
	else
		clients_take(&clients, c);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static void on_close(struct conn *c, int error, const char *reason)
{
	(void)error, (void)reason;
	conn_free(c);
}

static const struct conn_ops vined_ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};

static void start_vined(void)
{
	struct conf_error e = {""};
	char path[512];
	snprintf(path, sizeof path, "%s/vined.db", unit_tmpdir());
	ends_skipped_usec = 0;
	loop = loop_new();
	loop_set_clock(loop, ends_clock, NULL);
	ASSERT_EQ(store_open(&store, &(struct store_options){path, false}, &e), 0);
	driver = driver_new(&(struct driver_options){.loop = loop,
						     .store = store,
						     .node_timeout_usec = NODE_TIMEOUT_USEC,
						     .client_timeout_usec = CLIENT_TIMEOUT_USEC,
						     .grace_usec = 1000000,
						     .crash_limit = 3});
	ASSERT_EQ(driver_load(driver), 0);
	ASSERT_EQ(store_start(store, loop), 0);
	driver_start(driver);
	nodes_init(&nodes, driver);
	clients_init(&clients, driver);
}

static void stop_vined(void)
{
	clients_fini(&clients);
	nodes_fini(&nodes);
	store_finish(store);
	loop_turn(loop, 0);
	driver_free(driver);
	store_free(store);
	loop_free(loop);
}

// ---- the peers' side

static void peer_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct peer *p = conn_owner(c);
	(void)peer;
	p->is_open = true;
}

static void peer_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct peer *p = conn_owner(c);
	if (h->type == WIRE_START) {
		p->start = *(const struct wire_start *)message;
		snprintf(p->command, sizeof p->command, "%s %s %s", p->start.directory, p->start.argv.at[0],
			 p->start.environment.at[0]);
		p->n_starts++;
	} else if (h->type == WIRE_STOP) {
		p->stop = *(const struct wire_stop *)message;
		p->n_stops++;
	} else if (h->type == WIRE_RESULT) {
		p->result = *(const struct wire_result *)message;
		snprintf(p->out, sizeof p->out, "%s %.*s", p->result.tag, (int)p->result.out.n,
			 (const char *)p->result.out.at);
		p->n_results++;
	}
}

static void peer_on_close(struct conn *c, int error, const char *reason)
{
	struct peer *p = conn_owner(c);
	(void)error, (void)reason;
	p->is_open = false;
	p->conn = NULL;
	conn_free(c);
}

static const struct conn_ops peer_ops = {
	.on_open = peer_on_open, .on_message = peer_on_message, .on_close = peer_on_close};

static void connect_peer(struct peer *p, enum tls_role role, const char *name, uint64_t instance)
{
	int fd[2];
	*p = (struct peer){.hello = {.role = (uint8_t)role, .version = "1", .name = name, .instance = instance}};
	unix_pair(fd);
	conn_new(loop, fd[1], true, &(struct conn_options){.ops = &vined_ops, .hello = &hello_here});
	p->conn =
		conn_new(loop, fd[0], false, &(struct conn_options){.ops = &peer_ops, .owner = p, .hello = &p->hello});
	ASSERT(UNTIL(loop, p->is_open));
}

static void drop(struct peer *p)
{
	conn_free(p->conn);
	p->conn = NULL;
}

static void on_reply(struct call *c, int error, uint16_t type, const void *message)
{
	struct peer *p = container_of(c, struct peer, call);
	p->is_answered = true;
	p->error = error;
	if (type == WIRE_STATUS && message)
		snprintf(p->reason, sizeof p->reason, "%s", ((const struct wire_status *)message)->reason);
	if (type == WIRE_SUBMITTED)
		p->id = ((const struct wire_submitted *)message)->ids.at[0];
	if (type == WIRE_ATTACHED) {
		snprintf(p->run, sizeof p->run, "%s", ((const struct wire_attached *)message)->run);
		p->pending = ((const struct wire_attached *)message)->pending;
	}
}

static int ask(struct peer *p, uint16_t type, const void *message)
{
	p->is_answered = false;
	p->call = (struct call){.on_reply = on_reply};
	if (call_start(&p->call, p->conn, type, message, 0))
		return -ENOTCONN;
	return UNTIL(loop, p->is_answered) ? p->error : -ETIMEDOUT;
}

static int join(struct peer *p, const char *uuid, const struct wire_held *held, uint32_t n)
{
	return ask(
		p, WIRE_JOIN,
		&(struct wire_join){.node = uuid, .tier = "views", .cores = 4, .task_limit = 4, .attempts = {held, n}});
}

static int attach(struct peer *p, const char *run)
{
	return ask(p, WIRE_ATTACH, &(struct wire_attach){.run = run, .results = true});
}

static int submit(struct peer *p, const char *key)
{
	const struct wire_task t = {.key = key,
				    .tag = "a-tag",
				    .argv = {(const char *const[]){"prog", "x"}, 2},
				    .environment = {(const char *const[]){"A=1"}, 1},
				    .directory = "/tmp"};
	return ask(p, WIRE_SUBMIT, &(struct wire_submit){.run = p->run, .tasks = {&t, 1}});
}

static int ended(struct peer *p, uint64_t task, uint64_t attempt)
{
	return ask(p, WIRE_ENDED,
		   &(struct wire_ended){
			   .attempt = attempt, .task = task, .how = 1, .status = 7, .out_size = 2, .out = {"hi", 2}});
}

static int done(struct peer *p, uint64_t task)
{
	return ask(p, WIRE_DONE, &(struct wire_done){.tasks = {&task, 1}});
}

TEST(a_task_travels_to_a_node_and_its_result_back)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, ""), 0);
	ASSERT_STR(client.run, "run-1");
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.start.task, client.id);
	ASSERT_EQ(node.start.attempt >> 40, 1);
	ASSERT_STR(node.command, "/tmp prog A=1");
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_STR(client.out, "a-tag hi");
	ASSERT_EQ(client.result.status, 7);
	ASSERT_EQ(client.result.attempts, 1);
	// Sent again by the node it is acknowledged, and delivered to nobody.
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT_EQ(done(&client, client.id), 0);
	ASSERT_EQ(attach(&client, client.run), 0);
	ASSERT_EQ(client.pending, 0);
	ASSERT_EQ(client.n_results, 1);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(a_result_comes_again_until_it_is_acknowledged)
{
	struct peer node, one, two;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(submit(&one, "k"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT(UNTIL(loop, one.n_results == 1));
	connect_peer(&two, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&two, "sweep"), 0);
	ASSERT(UNTIL(loop, two.n_results == 1));
	drop(&one);
	drop(&two);
	drop(&node);
	stop_vined();
	start_vined();
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 4);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(one.pending, 1);
	ASSERT(UNTIL(loop, one.n_results == 1));
	ASSERT_STR(one.out, "a-tag hi");
	ASSERT_EQ(submit(&one, "k"), 0);
	ASSERT_EQ(one.id, one.result.task);
	ASSERT_EQ(done(&one, one.id), 0);
	drop(&one);
	stop_vined();
}

static void limit_files(rlim_t size)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &l);
}

TEST(while_the_disk_fails_nothing_is_acknowledged_and_all_is_answered)
{
	struct peer node, client;
	signal(SIGXFSZ, SIG_IGN);
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, "a"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	limit_files(4096);
	ASSERT(submit(&client, "b") < 0);
	ASSERT(strstr(client.reason, "cannot store: "));
	ASSERT(ended(&node, node.start.task, node.start.attempt) < 0);
	ASSERT_EQ(client.n_results, 0);
	limit_files(RLIM_INFINITY);
	ASSERT_EQ(submit(&client, "b"), 0);
	ASSERT_EQ(ended(&node, client.id - 2, node.start.attempt), 0);
	drop(&client);
	drop(&node);
	stop_vined();
}

TEST(two_nodes_with_one_id_are_told_apart)
{
	struct peer one, two, again;
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", NULL, 0), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	ASSERT_EQ(join(&two, "aa-1", NULL, 0), -EEXIST);
	ASSERT(strstr(two.reason, "aa-1") && strstr(two.reason, "two nodes"));
	ASSERT(one.is_open);
	connect_peer(&again, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&again, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, !one.is_open));
	drop(&two);
	drop(&again);
	stop_vined();
}

TEST(a_node_that_stays_away_loses_its_tasks_and_is_fenced)
{
	struct peer one, two, client;
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_held held = {one.start.attempt, one.start.task};
	drop(&one);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(two.n_starts, 0);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	// The jump of the clock may look like silence to the others; what counts is that the task moves.
	if (!UNTIL(loop, two.n_starts == 1 || !two.is_open) || !two.is_open) {
		connect_peer(&two, TLS_ROLE_NODE, "w2", 3);
		ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
		ASSERT(UNTIL(loop, two.n_starts == 1));
	}
	ASSERT_EQ(two.start.task, held.task);
	ASSERT(two.start.attempt > held.attempt);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", &held, 1), 0);
	ASSERT(UNTIL(loop, one.n_stops == 1));
	ASSERT(one.stop.fenced);
	ASSERT_EQ(one.stop.attempt, held.attempt);
	drop(&one);
	drop(&two);
	drop(&client);
	stop_vined();
}

TEST(attached_work_is_cancelled_when_its_client_stays_away)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "named"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(attach(&client, ""), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	uint64_t attached = node.start.attempt;
	drop(&client);
	for (int i = 0; i < 50; i++)
		loop_turn(loop, 0);
	ASSERT_EQ(node.n_stops, 0);
	ends_skipped_usec += CLIENT_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT(!node.stop.fenced);
	ASSERT_EQ(node.stop.attempt, attached);
	drop(&node);
	stop_vined();
}

TEST(after_a_restart_running_attempts_are_adopted_and_unknown_ones_fenced)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held held[] = {{node.start.attempt, node.start.task}, {node.start.attempt + 9, 4711}};
	drop(&node);
	drop(&client);
	stop_vined();
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", held, 2), 0);
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT_EQ(node.stop.attempt, held[1].attempt);
	ASSERT_EQ(ended(&node, held[0].task, held[0].attempt), 0);
	ASSERT_EQ(node.n_starts, 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.attempts, 1);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(what_is_wrong_with_a_run_name_is_said)
{
	static const struct {
		const char *name;
		int error;
	} cases[] = {
		{"sweep", 0},    {"sweep-2 b", 0},    {"17", EINVAL},    {"1-9", EINVAL}, {"a\nb", EINVAL},
		{"a/b", EINVAL}, {"@failed", EINVAL}, {"tag:x", EINVAL}, {"-n", EINVAL},
	};
	char reason[256], longer[200] = "";
	for (size_t i = 0; i < countof(cases); i++)
		ASSERT_EQ(client_check_run(cases[i].name, reason), cases[i].error);
	memset(longer, 'x', sizeof longer - 1);
	ASSERT_EQ(client_check_run(longer, reason), ENAMETOOLONG);
}

TEST(what_is_wrong_with_a_task_is_said_with_its_place)
{
	static char longer[1000001];
	memset(longer, 'x', sizeof longer - 1);
	const char *good[] = {"prog"}, *empty[] = {""}, *large[] = {"prog", longer}, *bare[] = {"NAME"};
	const struct wire_binding binding = {.path = "/data"};
	const struct {
		struct wire_task task;
		int error;
		const char *says;
	} cases[] = {
		{{.argv = {good, 1}}, 0, ""},
		{{.argv = {good, 0}}, EINVAL, "command is empty"},
		{{.argv = {empty, 1}}, EINVAL, "command is empty"},
		{{.argv = {large, 2}}, E2BIG, "argument 1 has 1000000 bytes"},
		{{.argv = {good, 1}, .environment = {bare, 1}}, EINVAL, "not NAME=value"},
		{{.argv = {good, 1}, .tag = "a\nb"}, EINVAL, "tag contains a control"},
		{{.argv = {good, 1}, .directory = "relative"}, EINVAL, "absolute"},
		{{.argv = {good, 1}, .cores = 100000}, ERANGE, "100000 cores"},
		{{.argv = {good, 1}, .bindings = {&binding, 1}}, EOPNOTSUPP, "input or output"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char reason[256] = "";
		struct wire_task tasks[2] = {{.argv = {good, 1}}, cases[i].task};
		for (int k = 0; k < 2; k++) { // a decoder leaves no NULL
			tasks[k].key = "";
			tasks[k].tag = tasks[k].tag ? tasks[k].tag : "";
			tasks[k].directory = tasks[k].directory ? tasks[k].directory : "";
		}
		ASSERT_EQ(client_check_submit(&(struct wire_submit){.tasks = {tasks, 2}}, reason), cases[i].error);
		ASSERT(strstr(reason, cases[i].says));
		ASSERT(!cases[i].error || strstr(reason, "task 2 of 2"));
	}
}
