/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/client.h"

#include "common/log.h"
#include "common/secret.h"
#include "vined/relay.h"

#define ATTACHMENTS_MOST 1024 /* of one connection */
#define TREE_USEC 60000000u   /* for a node to say or send something of a tree */

struct client {
	struct list link;
	struct clients *clients;
	struct conn *conn;
	uint64_t session; /* the same after it has connected again */
	bool is_local, may_return, has_events;
	struct list promises, outputs, relays, attachments;
	size_t n_attachments;
};

struct attachment {
	struct list link;
	struct run *run;
};

/* Promises are kept in the database, but answered to nobody; runs learn that their client has gone. */
static void client_free(struct client *k)
{
	list_remove(&k->link);
	k->clients->n--;
	promise_forget_all(&k->promises);
	client_stop_outputs(&k->outputs);
	relay_stop(&k->relays);
	driver_offer_leave(k->clients->driver, k->conn);
	list_foreach (&k->attachments, struct attachment, link, a) {
		list_remove(&a->link);
		driver_detach(a->run, k->conn, k->may_return);
		free(a);
	}
	conn_free(k->conn);
	free(k);
}

/* A connection attaches to one or a few runs, so a list is as good as a map. */
static struct run *find_run(const struct client *k, const char *name)
{
	list_foreach (&k->attachments, struct attachment, link, a) {
		if (streq(driver_run_name(a->run), name))
			return a->run;
	}
	return NULL;
}

static void on_attach(struct client *k, uint64_t id, const struct wire_attach *m)
{
	char reason[256];
	int r = m->run[0] ? client_check_run(m->run, reason) : 0;
	if (r) {
		conn_reply_status(k->conn, id, r, "%s", reason);
		return;
	}
	if (k->n_attachments >= ATTACHMENTS_MOST) {
		conn_reply_status(k->conn, id, EMFILE, "one connection attaches at most %d times", ATTACHMENTS_MOST);
		return;
	}
	struct run *run =
		driver_attach(k->clients->driver, m, k->session, k->conn, promise_new(&k->promises, k->conn, id));
	if (!run)
		return;
	struct attachment *a = NEW(struct attachment);
	k->has_events |= m->events;
	a->run = run;
	list_init(&a->link);
	list_append(&k->attachments, &a->link);
	k->n_attachments++;
}

static void on_submit(struct client *k, uint64_t id, const struct wire_submit *m)
{
	char reason[256];
	struct run *run = find_run(k, m->run);
	if (!run) {
		conn_reply_status(k->conn, id, ENOENT, "run %s is not attached on this connection", m->run);
		return;
	}
	int r = client_check_submit(m, reason);
	if (r)
		conn_reply_status(k->conn, id, r, "%s", reason);
	else
		driver_submit(run, m, k->session, promise_new(&k->promises, k->conn, id));
}

static void on_abandon(struct client *k, uint64_t id, const struct wire_abandon *m)
{
	struct run *run = find_run(k, m->run);
	if (run)
		driver_abandon(run, m, promise_new(&k->promises, k->conn, id));
	else
		conn_reply_status(k->conn, id, ENOENT, "run %s is not attached on this connection", m->run);
}

static void on_set(struct client *k, uint64_t id, const struct wire_set *m)
{
	struct run *run = m->run[0] ? find_run(k, m->run) : NULL;
	if (m->run[0] && !run)
		conn_reply_status(k->conn, id, ENOENT, "run %s is not attached on this connection", m->run);
	else
		driver_set(k->clients->driver, run, m, promise_new(&k->promises, k->conn, id));
}

static void on_forget(struct client *k, uint64_t id, const struct wire_forget *m)
{
	struct run *run = find_run(k, m->run);
	if (run)
		driver_forget(run, m, promise_new(&k->promises, k->conn, id));
	else
		conn_reply_status(k->conn, id, ENOENT, "run %s is not attached on this connection", m->run);
}

static void on_stage(struct client *k, uint64_t id, const struct wire_stage *m)
{
	struct run *run = m->run[0] ? find_run(k, m->run) : NULL;
	if (m->run[0] && !run)
		conn_reply_status(k->conn, id, ENOENT, "run %s is not attached on this connection", m->run);
	else
		driver_stage(k->clients->driver, run, m, promise_new(&k->promises, k->conn, id));
}

/* Only one question has an answer that takes its time. */
static void on_query(struct client *k, uint64_t id, const struct wire_query *m)
{
	struct clients *s = k->clients;
	if (streq(m->what, "over"))
		driver_await(s->driver, m->selector, promise_new(&k->promises, k->conn, id));
	else
		s->on_query(s->arg, k->conn, id, m);
}

/* It asks for a tree that a node has. */
static void read_tree(struct client *k, const struct wire_head *h, const struct digest *tree, const void *message)
{
	char reason[256];
	struct conn *from = NULL;
	int r = driver_find_holder(k->clients->driver, tree, &from, reason);
	if (r < 0)
		conn_reply_status(k->conn, h->id, -r, "%s", reason);
	else
		relay_start(&(struct relay_ask){.all = &k->relays,
						.to = k->conn,
						.id = h->id,
						.from = from,
						.whom = "the node that has the tree",
						.type = h->type,
						.message = message,
						.timeout_usec = TREE_USEC});
}

static void on_read_index(struct client *k, const struct wire_head *h, const struct wire_read_index *m)
{
	struct digest tree;
	if (digest_parse(m->tree, &tree))
		conn_reply_status(k->conn, h->id, EINVAL, "tree '%.80s': its whole id is needed, 64 hex digits",
				  m->tree);
	else
		read_tree(k, h, &tree, m);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct client *k = conn_owner(c);
	struct clients *s = k->clients;
	switch (h->type) {
	case WIRE_ATTACH:
		on_attach(k, h->id, message);
		break;
	case WIRE_SUBMIT:
		on_submit(k, h->id, message);
		break;
	case WIRE_DONE:
		driver_done(s->driver, &((const struct wire_done *)message)->tasks, k->session,
			    promise_new(&k->promises, c, h->id));
		break;
	case WIRE_ABANDON:
		on_abandon(k, h->id, message);
		break;
	case WIRE_SET:
		on_set(k, h->id, message);
		break;
	case WIRE_FORGET:
		on_forget(k, h->id, message);
		break;
	case WIRE_STAGE:
		on_stage(k, h->id, message);
		break;
	case WIRE_CHANGE_NODE:
		driver_change_node(s->driver, message, promise_new(&k->promises, c, h->id));
		break;
	case WIRE_QUERY:
		on_query(k, h->id, message);
		break;
	case WIRE_READ_OUTPUT:
		client_read_output(&k->outputs, &k->relays, s->driver, c, h->id, message);
		break;
	case WIRE_OFFER:
		driver_offer(s->driver, c, h->id, message, promise_new(&k->promises, c, h->id));
		break;
	case WIRE_READ_INDEX:
		on_read_index(k, h, message);
		break;
	case WIRE_READ_CHUNKS:
		read_tree(k, h, &((const struct wire_read_chunks *)message)->tree, message);
		break;
	default:
		conn_reply_status(c, h->id, ENOSYS, "vined takes no %s from a client", wire_name(h->type));
		break;
	}
}

static void on_room(struct conn *c)
{
	struct client *k = conn_owner(c);
	list_foreach (&k->attachments, struct attachment, link, a)
		driver_push(a->run);
}

/* What was asked of the store is stored all the same. */
static void on_cancel(struct conn *c, uint64_t id)
{
	struct client *k = conn_owner(c);
	client_cancel_output(&k->outputs, id);
	relay_cancel(&k->relays, id);
	driver_offer_cancel(k->clients->driver, c, id);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct client *k = conn_owner(c);
	assert(k->conn == c);
	if (error)
		log_info("%s: connection lost: %s", conn_peer_name(c), reason);
	else
		log_debug("%s: connection closed: %s", conn_peer_name(c), reason);
	/* A local one that is cut off has died; by TCP it may have been the network. */
	k->may_return = error && !k->is_local;
	client_free(k);
}

static const struct conn_ops ops = {
	.on_message = on_message,
	.on_cancel = on_cancel,
	.on_room = on_room,
	.on_close = on_close,
};

/* One that does not read misses them: they are not kept. */
static void on_event(void *arg, const struct run *r, const struct wire_event *e)
{
	struct clients *s = arg;
	list_foreach (&s->all, struct client, link, k) {
		bool is_meant = k->has_events && (!r || find_run(k, driver_run_name(r)) == r);
		if (is_meant && conn_is_open(k->conn) && !conn_is_full(k->conn))
			conn_send(k->conn, WIRE_EVENT, e);
	}
}

void clients_init(struct clients *s, struct driver *d)
{
	*s = (struct clients){.driver = d};
	list_init(&s->all);
	driver_on_event(d, on_event, s);
}

void clients_take(struct clients *s, struct conn *c, const struct wire_hello *peer, bool is_local)
{
	struct client *k = NEW(struct client);
	k->clients = s;
	k->conn = c;
	k->is_local = is_local;
	k->session = peer->instance;
	if (!k->session)
		secret_random(&k->session, sizeof k->session);
	list_init(&k->link);
	list_init(&k->promises);
	list_init(&k->outputs);
	list_init(&k->relays);
	list_init(&k->attachments);
	list_append(&s->all, &k->link);
	s->n++;
	conn_set(c, &ops, k);
}

void clients_close(struct clients *s, const char *reason)
{
	list_foreach (&s->all, struct client, link, k)
		conn_close(k->conn, reason, false);
}

void clients_fini(struct clients *s)
{
	driver_on_event(s->driver, NULL, NULL);
	list_foreach (&s->all, struct client, link, k)
		client_free(k);
	assert(s->n == 0);
}
