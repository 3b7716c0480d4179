/* SPDX-License-Identifier: Apache-2.0
 * vined without its main(): real store, core and connections, with nodes and clients played by the test. */
#ifndef TESTS_UNIT_DRIVER_WORLD_H
#define TESTS_UNIT_DRIVER_WORLD_H

#include "tests/unit/unit.h"

#include "tests/unit/ends.h"
#include "vined/client.h"
#include "vined/node.h"

#include <stdio.h>

#define NODE_TIMEOUT_USEC 30000000u
#define CLIENT_TIMEOUT_USEC 10000000u

struct peer {
	struct conn *conn;
	void (*on_notice)(struct peer *p, uint16_t type, const void *message); /* a test's own; may be NULL */
	struct wire_hello hello;
	uint64_t request; /* correlation id of what came last */
	bool is_open;
	unsigned n_starts, n_stops, n_results;
	struct wire_start start; /* numbers only */
	char command[64];
	struct wire_stop stop;
	struct wire_result result; /* numbers only */
	char out[64], why[128];
	unsigned n_fetches, n_fetch_stops, n_events;
	struct wire_fetch fetch; /* numbers and the tree only */
	char fetch_source[64], fetch_peers[64];
	uint64_t started[64]; /* tasks, the first of them */
	uint32_t n_inputs;
	struct wire_input inputs[4];           /* of the last START; numbers and trees only */
	char input_texts[4][64];               /* PATH SOURCE */
	char how[128];                         /* of the last START, a line each */
	char left[128];                        /* of the last RESULT, a line each */
	unsigned n_hot_sets, n_fetches_before; /* fetches when the last HOT_SET came */
	uint32_t hot_size;
	unsigned n_fellows, n_starts_before; /* starts when the first FELLOWS came */
	char fellows[64], fellows_source[64];
	unsigned n_holds;
	bool is_all_held;
	char holds[256]; /* of the last HOLD: ID+ or ID- each, by the first 8 digits; IDp+ pinned, IDl+ the last copy */
	uint32_t n_held; /* of the last HOLD: pledges */
	char event[128];
	/* the last answer */
	struct call call;
	bool is_answered;
	int error;
	uint64_t id, pending;
	uint64_t ids[8]; /* of the last SUBMITTED */
	char run[64], reason[256];
};

static struct loop *loop;
static struct store *store;
static struct driver *driver;
static struct nodes nodes;
static struct clients clients;
static bool keep_none; /* runs that are over leave the database at once */
static const struct wire_hello hello_here = {.role = TLS_ROLE_VINED, .version = "1", .name = "vined"};

/* ---- vined's side */

static inline void on_open(struct conn *c, const struct wire_hello *peer)
{
	if (peer->role == TLS_ROLE_NODE)
		nodes_take(&nodes, c, peer);
	else
		clients_take(&clients, c, peer, true);
}

static inline void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static inline void on_close(struct conn *c, int error, const char *reason)
{
	(void)error, (void)reason;
	conn_free(c);
}

static const struct conn_ops vined_ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};

static inline void start_vined(void)
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
	if (keep_none)
		store_keep(store, 0);
	ASSERT_EQ(store_start(store, loop), 0);
	driver_start(driver);
	nodes_init(&nodes, driver);
	clients_init(&clients, driver);
}

static inline void stop_vined(void)
{
	clients_fini(&clients);
	nodes_fini(&nodes);
	store_finish(store);
	loop_turn(loop, 0);
	driver_free(driver);
	store_free(store);
	loop_free(loop);
	ends_still_usec = 0;
}

/* ---- the peers' side */

static inline void peer_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct peer *p = conn_owner(c);
	(void)peer;
	p->is_open = true;
}

static inline void peer_print(const struct wire_peer *peers, uint32_t n_peers, char *to, size_t room)
{
	to[0] = 0;
	for (uint32_t i = 0; i < n_peers; i++) {
		size_t n = strlen(to);
		snprintf(to + n, room - n, "%s %s;", peers[i].name, peers[i].address);
	}
}

static inline void peer_on_notice(struct peer *p, const struct wire_head *h, const void *message)
{
	if (h->type == WIRE_FETCH) {
		p->fetch = *(const struct wire_fetch *)message;
		snprintf(p->fetch_source, sizeof p->fetch_source, "%s %s", p->fetch.source, p->fetch.signature);
		peer_print(p->fetch.peers.at, p->fetch.peers.n, p->fetch_peers, sizeof p->fetch_peers);
		p->n_fetches++;
	} else if (h->type == WIRE_FELLOWS) {
		const struct wire_fellows *m = message;
		snprintf(p->fellows_source, sizeof p->fellows_source, "%s", m->source);
		peer_print(m->peers.at, m->peers.n, p->fellows, sizeof p->fellows);
		if (!p->n_fellows++)
			p->n_starts_before = p->n_starts;
	} else if (h->type == WIRE_HOLD) {
		const struct wire_hold *m = message;
		char id[DIGEST_TEXT_SIZE];
		size_t n = 0;
		p->holds[0] = 0;
		for (uint32_t i = 0; i < m->trees.n && n + 10 < sizeof p->holds; i++)
			n += (size_t)snprintf(p->holds + n, sizeof p->holds - n, "%.8s%s%c",
					      digest_text(&m->trees.at[i].tree, id),
					      m->trees.at[i].is_pinned ? "p"
					      : m->trees.at[i].is_last ? "l"
								       : "",
					      m->trees.at[i].is_over ? '-' : '+');
		p->n_held = m->trees.n;
		p->is_all_held = m->is_all;
		p->n_holds++;
	} else if (h->type == WIRE_HOT_SET) {
		p->hot_size = ((const struct wire_hot_set *)message)->nodes.n;
		p->n_fetches_before = p->n_fetches;
		p->n_hot_sets++;
	} else if (h->type == WIRE_FETCH_STOP) {
		p->n_fetch_stops++;
	} else if (h->type == WIRE_EVENT) {
		const struct wire_event *e = message;
		snprintf(p->event, sizeof p->event, "%s %s %s", e->what, e->node, e->reason);
		p->n_events++;
	}
}

static inline void join_lines(char *to, size_t size, const struct wire_texts *texts)
{
	size_t n = 0;
	to[0] = 0;
	for (uint32_t i = 0; i < texts->n && n < size; i++)
		n += (size_t)snprintf(to + n, size - n, "%s\n", texts->at[i]);
}

static inline void peer_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct peer *p = conn_owner(c);
	p->request = h->id;
	if (p->on_notice)
		p->on_notice(p, h->type, message);
	if (h->type == WIRE_START) {
		p->start = *(const struct wire_start *)message;
		snprintf(p->command, sizeof p->command, "%s %s %s", p->start.directory, p->start.argv.at[0],
			 p->start.environment.at[0]);
		if (p->n_starts < countof(p->started))
			p->started[p->n_starts] = p->start.task;
		p->n_starts++;
		join_lines(p->how, sizeof p->how, &p->start.how);
		p->n_inputs = min(p->start.inputs.n, (uint32_t)countof(p->inputs));
		for (uint32_t i = 0; i < p->n_inputs; i++) {
			const struct wire_input *in = &p->start.inputs.at[i];
			p->inputs[i] = *in;
			snprintf(p->input_texts[i], sizeof p->input_texts[i], "%s %s", in->path, in->source);
		}
	} else if (h->type == WIRE_STOP) {
		p->stop = *(const struct wire_stop *)message;
		p->n_stops++;
	} else if (h->type == WIRE_RESULT) {
		p->result = *(const struct wire_result *)message;
		snprintf(p->out, sizeof p->out, "%s %.*s", p->result.tag, (int)p->result.out.n,
			 (const char *)p->result.out.at);
		snprintf(p->why, sizeof p->why, "%s", p->result.reason);
		join_lines(p->left, sizeof p->left, &p->result.left);
		p->n_results++;
	} else {
		peer_on_notice(p, h, message);
	}
}

static inline void peer_on_close(struct conn *c, int error, const char *reason)
{
	struct peer *p = conn_owner(c);
	(void)error, (void)reason;
	p->is_open = false;
	p->conn = NULL;
	conn_free(c);
}

static const struct conn_ops peer_ops = {
	.on_open = peer_on_open, .on_message = peer_on_message, .on_close = peer_on_close};

static inline void connect_peer(struct peer *p, enum tls_role role, const char *name, uint64_t instance)
{
	int fd[2];
	*p = (struct peer){.hello = {.role = (uint8_t)role, .version = "1", .name = name, .instance = instance}};
	unix_pair(fd);
	conn_new(loop, fd[1], true, &(struct conn_options){.ops = &vined_ops, .hello = &hello_here});
	p->conn =
		conn_new(loop, fd[0], false, &(struct conn_options){.ops = &peer_ops, .owner = p, .hello = &p->hello});
	ASSERT(UNTIL(loop, p->is_open));
}

static inline void drop(struct peer *p)
{
	conn_free(p->conn);
	p->conn = NULL;
}

static inline void on_reply(struct call *c, int error, uint16_t type, const void *message)
{
	struct peer *p = container_of(c, struct peer, call);
	p->is_answered = true;
	p->error = error;
	if (type == WIRE_STATUS && message)
		snprintf(p->reason, sizeof p->reason, "%s", ((const struct wire_status *)message)->reason);
	if (type == WIRE_SUBMITTED) {
		const struct wire_u64s *ids = &((const struct wire_submitted *)message)->ids;
		p->id = ids->at[0];
		memcpy(p->ids, ids->at, min((size_t)ids->n, countof(p->ids)) * sizeof p->ids[0]);
	}
	if (type == WIRE_ATTACHED) {
		snprintf(p->run, sizeof p->run, "%s", ((const struct wire_attached *)message)->run);
		p->pending = ((const struct wire_attached *)message)->pending;
	}
}

static inline int ask(struct peer *p, uint16_t type, const void *message)
{
	p->is_answered = false;
	p->call = (struct call){.on_reply = on_reply};
	if (call_start(&p->call, p->conn, type, message, 0))
		return -ENOTCONN;
	return UNTIL(loop, p->is_answered) ? p->error : -ETIMEDOUT;
}

static inline int join(struct peer *p, const char *uuid, const struct wire_held *held, uint32_t n)
{
	return ask(
		p, WIRE_JOIN,
		&(struct wire_join){.node = uuid, .tier = "views", .cores = 4, .task_limit = 4, .attempts = {held, n}});
}

static inline int attach(struct peer *p, const char *run)
{
	return ask(p, WIRE_ATTACH, &(struct wire_attach){.run = run, .results = true});
}

/* Where another session is still waited for, its time is over at once. */
static inline int attach_later(struct peer *p, const char *run)
{
	p->is_answered = false;
	p->call = (struct call){.on_reply = on_reply};
	if (call_start(&p->call, p->conn, WIRE_ATTACH, &(struct wire_attach){.run = run, .results = true}, 0))
		return -ENOTCONN;
	for (int i = 0; i < 50; i++)
		loop_turn(loop, 0);
	ASSERT(!p->is_answered);
	ends_skipped_usec += 3000001;
	return UNTIL(loop, p->is_answered) ? p->error : -ETIMEDOUT;
}

static inline int submit(struct peer *p, const char *key)
{
	const struct wire_task t = {.key = key,
				    .tag = "a-tag",
				    .argv = {(const char *const[]){"prog", "x"}, 2},
				    .environment = {(const char *const[]){"A=1"}, 1},
				    .directory = "/tmp"};
	return ask(p, WIRE_SUBMIT, &(struct wire_submit){.run = p->run, .tasks = {&t, 1}});
}

static inline int ended(struct peer *p, uint64_t task, uint64_t attempt)
{
	return ask(p, WIRE_ENDED,
		   &(struct wire_ended){
			   .attempt = attempt, .task = task, .how = 1, .status = 7, .out_size = 2, .out = {"hi", 2}});
}

/* A node that moves bytes itself, reachable at "uuid:1". */
static inline int join_with_data(struct peer *p, const char *uuid, const struct wire_held *held, uint32_t n)
{
	char address[64];
	snprintf(address, sizeof address, "%s:1", uuid);
	return ask(p, WIRE_JOIN,
		   &(struct wire_join){.node = uuid,
				       .tier = "views",
				       .cores = 4,
				       .task_limit = 4,
				       .attempts = {held, n},
				       .has_data = true,
				       .address = address});
}

static const char *const prog[] = {"prog", "x"}, *const env[] = {"A=1"};

#define TASK(...) ((struct wire_task){.argv = {prog, 2}, .environment = {env, 1}, __VA_ARGS__})
#define IN(name) ((struct wire_binding){.path = "/in/" name, .item = name, .mode = 1})
#define OUT(name) ((struct wire_binding){.path = "/out/" name, .item = name, .mode = 3})
#define BINDINGS(...)                                            \
	.bindings = {(const struct wire_binding[]){__VA_ARGS__}, \
		     sizeof((const struct wire_binding[]){__VA_ARGS__}) / sizeof(struct wire_binding)}
#define SUBMIT(peer, ...)                                           \
	submit_all((peer), (const struct wire_task[]){__VA_ARGS__}, \
		   sizeof((const struct wire_task[]){__VA_ARGS__}) / sizeof(struct wire_task))

static inline int submit_all(struct peer *p, const struct wire_task *tasks, size_t n)
{
	return ask(p, WIRE_SUBMIT, &(struct wire_submit){.run = p->run, .tasks = {tasks, (uint32_t)n}});
}

/* The last attempt that the node was given. */
static inline int ended_with(struct peer *p, uint8_t how, uint32_t status, const struct wire_output *outputs,
			     uint32_t n)
{
	return ask(p, WIRE_ENDED,
		   &(struct wire_ended){.attempt = p->start.attempt,
					.task = p->start.task,
					.how = how,
					.status = status,
					.outputs = {outputs, n}});
}

static inline int ended_well(struct peer *p)
{
	return ended_with(p, 1, 0, NULL, 0);
}

static inline int set(struct peer *p, const char *run, const char *name, const char *value)
{
	return ask(p, WIRE_SET, &(struct wire_set){.run = run, .name = name, .value = value});
}

static inline struct digest digest_of(const char *text)
{
	struct digest d;
	digest_bytes(text, strlen(text), &d);
	return d;
}

/* Whatever is under way comes to its end, and what the database was given is in it. */
static inline void settle_all(void)
{
	uint64_t until = real_usec() + UNIT_PATIENCE_USEC;
	for (int n_quiet = 0; n_quiet < 30 && real_usec() < until; n_quiet++) {
		loop_turn(loop, 1);
		if (store_backlog(store) && !store_is_failing(store))
			n_quiet = 0;
	}
}

static inline const char *reason_of(uint64_t task)
{
	static char reason[256];
	driver_reason(driver, task, reason);
	return reason;
}

static inline int done(struct peer *p, uint64_t task)
{
	return ask(p, WIRE_DONE, &(struct wire_done){.tasks = {&task, 1}});
}

#endif
