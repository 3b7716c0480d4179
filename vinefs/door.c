/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/door_internal.h"

#include "common/listen.h"
#include "common/log.h"
#include "common/path.h"
#include "common/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- jobs */

void job_start(struct job *j, struct client *c, uint64_t id, void (*stop)(struct job *))
{
	assert(c && stop);
	j->client = c;
	j->id = id;
	j->stop = stop;
	list_init(&j->link);
	list_append(&c->jobs, &j->link);
}

void job_end(struct job *j)
{
	list_remove(&j->link);
	j->client = NULL;
}

static void job_stop(struct job *j)
{
	assert(j->client && j->stop);
	job_end(j);
	j->stop(j);
}

void job_reply(const struct job *j, uint16_t type, const void *message)
{
	if (!j->client)
		return;
	int r = conn_reply(j->client->conn, j->id, type, message);
	if (r)
		conn_reply_status(j->client->conn, j->id, -r, "the answer cannot be sent: %s", strerror(-r));
}

void job_fail(const struct job *j, int error, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	assert(error < 0);
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (j->client)
		conn_reply_status(j->client->conn, j->id, -error, "%s", text);
}

const char *door_why_not_found(int error)
{
	switch (error) {
	case -ENOENT:
		return "no tree here has this id or name, and no path like it was sealed here; `vine cache ls` lists "
		       "the trees, `vine seal PATH` "
		       "makes one";
	case -ENOTUNIQ:
		return "the ids of several trees begin so; give more digits";
	case -ENOTDIR:
		return "a part of the path is not a directory in the tree";
	case -EBADMSG:
		return "its index was damaged and has been put aside; seal the path again";
	default:
		return strerror(-error);
	}
}

/* ---- connections */

static void on_message(struct conn *conn, const struct wire_head *h, const void *message)
{
	struct client *c = conn_owner(conn);
	assert(c->conn == conn);
	switch (h->type) {
	case WIRE_SEAL:
		door_seal(c, h->id, message);
		break;
	case WIRE_READ_INDEX:
		door_read_index(c, h->id, message);
		break;
	case WIRE_READ_BLOB:
		door_read_blob(c, h->id, message);
		break;
	case WIRE_CACHE_LIST:
		door_cache_list(c, h->id, message);
		break;
	case WIRE_CACHE_CHANGE:
		door_cache_change(c, h->id, message);
		break;
	case WIRE_ASK_WHY:
		door_ask_why(c, h->id, message);
		break;
	case WIRE_MOUNT_LIST:
		door_mount_list(c, h->id);
		break;
	case WIRE_ASK_NODE:
		door_ask_node(c, h->id);
		break;
	case WIRE_NODE_UPGRADE:
		door_node_upgrade(c, h->id);
		break;
	default:
		conn_reply_status(conn, h->id, ENOSYS, "%s is nothing a node's vinefs answers here",
				  wire_name(h->type));
	}
}

static void on_cancel(struct conn *conn, uint64_t id)
{
	struct client *c = conn_owner(conn);
	list_foreach (&c->jobs, struct job, link, j) {
		if (j->id == id) {
			job_stop(j);
			return;
		}
	}
}

static void client_free(struct client *c)
{
	while (!list_is_empty(&c->jobs))
		job_stop(list_first(&c->jobs, struct job, link));
	list_remove(&c->link);
	conn_free(c->conn);
	free(c);
}

static void on_client_close(struct conn *conn, int error, const char *reason)
{
	struct client *c = conn_owner(conn);
	log_debug("door: a client has gone: %d %s", error, reason ?: "");
	client_free(c);
}

static void on_open(struct conn *conn, const struct wire_hello *peer)
{
	static const struct conn_ops ops = {
		.on_message = on_message, .on_cancel = on_cancel, .on_close = on_client_close};
	struct door *d = conn_owner(conn);
	if (peer->role != TLS_ROLE_CLIENT) {
		conn_abort(conn, EPROTO, "this door is for clients");
		return;
	}
	struct client *c = NEW(struct client);
	c->door = d;
	c->conn = conn;
	list_init(&c->jobs);
	list_init(&c->link);
	list_append(&d->clients, &c->link);
	conn_set(conn, &ops, c);
}

/* Of one that has not opened: the listener's. */
static void on_stranger_close(struct conn *conn, int error, const char *reason)
{
	(void)conn;
	log_debug("door: %d %s", error, reason ?: "");
}

static int open_socket(struct door *d)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_close = on_stranger_close};
	_free_ char *path = path_join(d->settings.state, "vinefs.sock");
	struct net_address a;
	int r = net_parse(path, &a), fd = r ? r : net_listen(&a, 64);
	if (fd < 0)
		return log_errno(-fd, "%s", path);
	struct listener_options o = {.conn = {.ops = &ops, .owner = d, .hello = &d->hello}};
	d->listener = listener_new(d->settings.loop, fd, &o);
	return d->listener ? 0 : log_errno(errno, "%s", path);
}

struct door *door_new(const struct door_settings *s)
{
	_cleanup_(door_freep) struct door *d = NEW(struct door);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	d->since_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	d->settings = *s;
	list_init(&d->clients);
	list_init(&d->offers);
	d->hello =
		(struct wire_hello){.role = TLS_ROLE_NODE, .version = PACKAGE_VERSION, .cluster = "", .name = s->name};
	secret_random(&d->hello.instance, sizeof d->hello.instance);
	if (open_socket(d) || door_mounts_open(d) || door_shells_open(d))
		return NULL;
	return steal(d);
}

void door_free(struct door *d)
{
	if (!d)
		return;
	listener_free(d->listener);
	while (!list_is_empty(&d->clients))
		client_free(list_first(&d->clients, struct client, link));
	door_mounts_close(d);
	door_shells_close(d);
	free(d);
}
