/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/node.h"

#include "vined/driver_flow.h"

#include "common/log.h"
#include "vined/relay.h"

#include <stdio.h>

#define UUID_MOST 64
#define TREE_USEC 60000000u /* for a client to say or send something of a tree */

struct link {
	struct list link;
	struct nodes *nodes;
	struct conn *conn;
	struct node *node; /* NULL until it has joined */
	struct list promises, relays;
	char name[WIRE_NAME_MAX + 4];
	uint64_t instance;
	uint32_t minor;
	bool is_dismissed; /* it is us who close */
};

static void link_free(struct link *l)
{
	list_remove(&l->link);
	promise_forget_all(&l->promises);
	relay_stop(&l->relays);
	if (l->node)
		driver_leave(l->node, l->conn);
	conn_free(l->conn);
	free(l);
}

static bool is_name(const char *name)
{
	size_t n = strlen(name);
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '=' || *p == 0x7f)
			return false;
	return n && n <= WIRE_NAME_MAX;
}

/* NULL, or what is wrong with it. */
static const char *find_fault(const struct wire_join *j)
{
	size_t n = strlen(j->node);
	if (n == 0 || n > UUID_MOST || strspn(j->node, "0123456789abcdefABCDEF-") != n)
		return "the node id is no uuid";
	if (j->cores == 0 || j->cores > WIRE_CORES_MAX)
		return "it offers no cores, or more than 65536";
	if (j->task_limit == 0)
		return "it offers to run no task";
	if (strlen(j->tier) > 16 || strlen(j->kernel) > 256 || strlen(j->address) > 256 || strlen(j->rack) > 256)
		return "tier, kernel, address or rack is too long";
	if (*j->tier && !is_name(j->tier))
		return "its tier has blanks or control characters";
	for (uint32_t i = 0; i < j->named.n; i++)
		if (!is_name(j->named.at[i].name))
			return "a resource has no name, or one that is too long or has blanks or control characters";
	for (uint32_t i = 0; i < j->features.n; i++)
		if (!is_name(j->features.at[i]))
			return "a feature has no name, or one that is too long or has blanks or control characters";
	if (j->gpus > 64)
		return "it offers more than 64 gpus";
	return NULL;
}

/* The refusal goes to the node and into the log: whoever looks for a missing node may look at either. */
static void on_join(struct link *l, uint64_t id, const struct wire_join *j)
{
	char reason[256];
	bool is_another = l->node && !driver_is_node(l->node, j->node);
	const char *fault = is_another ? "it has joined on this connection as another node" : find_fault(j);
	if (fault) {
		log_warn("%s: may not join: %s", conn_peer_name(l->conn), fault);
		conn_reply_status(l->conn, id, EINVAL, "%s", fault);
		return;
	}
	struct node *n = driver_join(l->nodes->driver, l->conn, l->name, l->instance, j, reason);
	if (!n) {
		log_warn("%s: may not join: %s", conn_peer_name(l->conn), reason);
		conn_reply_status(l->conn, id, EEXIST, "%s", reason);
		return;
	}
	l->node = n;
	driver_node_speaks(n, l->minor);
	conn_reply_status(l->conn, id, 0, "%s", "");
}

/* It asks for a tree that a client offers, or that it cannot get from the nodes that have it. */
static void read_tree(struct link *l, const struct wire_head *h, const struct digest *tree, const void *message)
{
	struct driver *d = l->nodes->driver;
	struct conn *from = l->node ? driver_find_offerer(d, tree) : NULL;
	bool is_offered = from != NULL;
	char reason[256] = "JOIN comes first";
	if (!from && l->node && driver_find_holder(d, tree, &from, reason) == 0 && from == l->conn) {
		snprintf(reason, sizeof reason, "no other node that is connected has all of this tree");
		from = NULL;
	}
	if (!from)
		conn_reply_status(l->conn, h->id, ENOENT, "no client that is there offers this tree, and %s", reason);
	else
		relay_start(&(struct relay_ask){.all = &l->relays,
						.to = l->conn,
						.id = h->id,
						.from = from,
						.whom = is_offered ? "the client that offers the tree"
								   : "the node that has the tree",
						.type = h->type,
						.message = message,
						.timeout_usec = TREE_USEC,
						.on_bytes = driver_offer_moves,
						.arg = d,
						.tree = *tree});
}

static void on_read_index(struct link *l, const struct wire_head *h, const struct wire_read_index *m)
{
	struct digest tree;
	if (digest_parse(m->tree, &tree))
		conn_reply_status(l->conn, h->id, EINVAL, "tree '%.80s': its whole id is needed, 64 hex digits",
				  m->tree);
	else
		read_tree(l, h, &tree, m);
}

/* Who waits for what is read first alone does not wait for it any more where it cannot be had now: it reads as it goes, and hears why it cannot. */
static void on_fetched(struct node *n, const struct wire_fetched *m)
{
	if (m->error && !m->is_final)
		driver_hot(n, &(struct wire_hot){.item = m->item});
	driver_fetched(n, m);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct link *l = conn_owner(c);
	switch (h->type) {
	case WIRE_JOIN:
		on_join(l, h->id, message);
		break;
	case WIRE_ENDED:
		if (l->node)
			driver_ended(l->node, message, promise_new(&l->promises, c, h->id));
		else
			conn_reply_status(c, h->id, ENOTCONN, "%s", "JOIN comes first");
		break;
	case WIRE_KEEP:
		if (l->node)
			driver_keep(l->node, message, promise_new(&l->promises, c, h->id));
		else
			conn_reply_status(c, h->id, ENOTCONN, "%s", "JOIN comes first");
		break;
	case WIRE_LEAVING:
		if (l->node)
			driver_leaving(l->node, message, promise_new(&l->promises, c, h->id));
		else
			conn_reply_status(c, h->id, ENOTCONN, "%s", "JOIN comes first");
		break;
	case WIRE_READ_INDEX:
		on_read_index(l, h, message);
		break;
	case WIRE_READ_CHUNKS:
		read_tree(l, h, &((const struct wire_read_chunks *)message)->tree, message);
		break;
	case WIRE_REPLICAS:
		if (l->node)
			driver_replicas(l->node, message);
		break;
	case WIRE_FETCHED:
		if (l->node)
			on_fetched(l->node, message);
		break;
	case WIRE_HOT_SET:
		if (l->node)
			driver_hot_set(l->node, message);
		break;
	case WIRE_FLOWS:
		if (l->node)
			driver_flows(l->node, message);
		break;
	case WIRE_HOT:
		if (l->node)
			driver_hot(l->node, message);
		break;
	case WIRE_PEER_BAD:
		if (l->node)
			driver_peer_bad(l->node, message);
		break;
	default:
		conn_reply_status(c, h->id, ENOSYS, "vined takes no %s from a node", wire_name(h->type));
		break;
	}
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct link *l = conn_owner(c);
	assert(l->conn == c);
	if (error)
		log_warn("%s: connection lost: %s", conn_peer_name(c), reason);
	else
		log_info("%s: connection closed: %s", conn_peer_name(c), reason);
	if (!error && !l->is_dismissed && l->node)
		driver_node_ended(l->node, c);
	link_free(l);
}

static void on_room(struct conn *c)
{
	const struct link *l = conn_owner(c);
	if (l->node)
		driver_node_room(l->node);
}

static void on_cancel(struct conn *c, uint64_t id)
{
	struct link *l = conn_owner(c);
	relay_cancel(&l->relays, id);
}

static const struct conn_ops ops = {
	.on_message = on_message,
	.on_cancel = on_cancel,
	.on_room = on_room,
	.on_close = on_close,
};

void nodes_init(struct nodes *s, struct driver *d)
{
	s->driver = d;
	list_init(&s->all);
}

void nodes_take(struct nodes *s, struct conn *c, const struct wire_hello *peer)
{
	struct link *l = NEW(struct link);
	l->nodes = s;
	l->conn = c;
	l->instance = peer->instance;
	l->minor = peer->minor;
	/* As it is; who shows it escapes it. */
	snprintf(l->name, sizeof l->name, "%.*s", WIRE_NAME_MAX, peer->name);
	list_init(&l->link);
	list_init(&l->promises);
	list_init(&l->relays);
	list_append(&s->all, &l->link);
	conn_set(c, &ops, l);
}

void nodes_close(struct nodes *s, const char *reason, bool is_final)
{
	list_foreach (&s->all, struct link, link, l) {
		l->is_dismissed = true;
		conn_close(l->conn, reason, is_final);
	}
}

void nodes_fini(struct nodes *s)
{
	list_foreach (&s->all, struct link, link, l)
		link_free(l);
}
