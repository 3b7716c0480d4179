/* SPDX-License-Identifier: Apache-2.0
 * joining: the keeper has listed -> connected, HELLO -> JOIN with all attempts held -> STATUS 0 -> ends are sent. A lost
 * connection returns what was under way, and the next one begins with JOIN again.
 * leaving: the keeper is GONE -> the last ends, as far as vined takes them within LEAVE_USEC -> BYE -> the loop stops. */
#include "vinefs/link.h"

#include "common/dial.h"
#include "common/path.h"
#include "common/secret.h"
#include "common/service.h"
#include "vinefs/run/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define DELIVERIES_MOST 64u /* ENDED messages that wait for their answer; each may carry both heads */
#define OUTPUTS_MOST 64u    /* being read at once: each holds a descriptor */
#define LEAVE_USEC 2000000u
#define RETRY_USEC 1000000u /* after vined could not take an end */

struct link {
	struct loop *loop;
	const struct settings *settings;
	struct link_offer offer;
	struct run *run;
	struct dial *dial;
	struct tls_context *tls;
	struct wire_hello hello;
	char node[UUID_TEXT_SIZE], cluster[UUID_TEXT_SIZE];
	char peer_cluster[UUID_TEXT_SIZE]; /* remembered once it has let us join */
	struct call join;
	struct list deliveries, outputs;
	unsigned n_deliveries, n_outputs;
	struct timer timer; /* the retry, or the end of leaving */
	struct buf heads;
	bool is_joined, is_leaving, is_refused, is_down, was_ready;
};

struct delivery {
	struct list link;
	struct link *owner;
	struct call call;
	uint64_t attempt;
};

struct output {
	struct list link;
	struct link *owner;
	struct stream stream;
	int fd;
};

/* ---- ends */

static void deliver(struct link *k);

static void on_timer(struct timer *t)
{
	struct link *k = container_of(t, struct link, timer);
	if (k->is_leaving)
		loop_stop(k->loop, 0);
	else
		deliver(k);
}

static void free_delivery(struct delivery *d)
{
	assert(d->owner->n_deliveries);
	d->owner->n_deliveries--;
	list_remove(&d->link);
	free(d);
}

static void say_bye_if_done(struct link *k)
{
	if (!k->is_leaving || k->n_deliveries)
		return;
	struct conn *c = k->dial ? dial_conn(k->dial) : NULL;
	if (c)
		conn_close(c, "the node is stopped", false);
	else
		loop_stop(k->loop, 0);
}

static void on_delivered(struct call *call, int error, uint16_t type, const void *message)
{
	struct delivery *d = container_of(call, struct delivery, call);
	struct link *k = d->owner;
	const struct wire_status *status = message;
	/* What vined does not want, since another attempt counts or the task is gone, is taken all the same. */
	bool is_taken = type == WIRE_STATUS && (error == 0 || error == -ESTALE || error == -ENOENT);
	if (is_taken) {
		run_taken(k->run, d->attempt);
	} else {
		run_untaken(k->run, d->attempt);
		if (type == WIRE_STATUS)
			log_warn("vined cannot take the end of attempt %" PRIu64 " yet: %s", d->attempt,
				 status->reason);
	}
	free_delivery(d);
	if (is_taken)
		deliver(k);
	else if (!k->is_leaving && k->is_joined)
		timer_start(&k->timer, k->loop, RETRY_USEC, on_timer);
	say_bye_if_done(k);
}

static void deliver(struct link *k)
{
	struct conn *c = k->dial ? dial_conn(k->dial) : NULL;
	struct wire_ended m;
	while (k->is_joined && c && !conn_is_full(c) && k->n_deliveries < DELIVERIES_MOST &&
	       run_next_ended(k->run, &m, &k->heads)) {
		struct delivery *d = NEW(struct delivery);
		list_init(&d->link);
		d->owner = k;
		d->attempt = m.attempt;
		d->call.on_reply = on_delivered;
		int error = call_start(&d->call, c, WIRE_ENDED, &m, 0);
		if (error) {
			run_untaken(k->run, m.attempt);
			free(d);
			log_errno(-error, "send the end of attempt %" PRIu64, m.attempt);
			return;
		}
		list_append(&k->deliveries, &d->link);
		k->n_deliveries++;
	}
}

/* ---- outputs */

static void free_output(struct output *o)
{
	assert(o->owner->n_outputs);
	o->owner->n_outputs--;
	list_remove(&o->link);
	close_fd(o->fd);
	free(o);
}

static void on_output_room(struct stream *s)
{
	struct output *o = container_of(s, struct output, stream);
	if (s->rest)
		return;
	stream_end(s, 0);
	free_output(o);
}

static void on_output_stop(struct stream *s, int error)
{
	assert(error <= 0);
	free_output(container_of(s, struct output, stream));
}

static void send_output(struct link *k, struct conn *c, uint64_t id, const struct wire_read_output *m)
{
	const struct wire_status ok = {.error = 0};
	uint64_t size;
	if (k->n_outputs == OUTPUTS_MOST) {
		conn_reply_status(c, id, EAGAIN, "node %s: %u outputs are being read already; try again",
				  k->settings->name, k->n_outputs);
		return;
	}
	int fd = run_open_output(k->run, m->attempt, m->which, &size);
	if (fd < 0) {
		conn_reply_status(c, id, -fd, "output of attempt %" PRIu64 " on node %s: %s", m->attempt,
				  k->settings->name, fd == -ENOENT ? "no longer there" : strerror(-fd));
		return;
	}
	struct output *o = NEW(struct output);
	o->owner = k;
	o->fd = fd;
	k->n_outputs++;
	o->stream.on_room = on_output_room;
	o->stream.on_stop = on_output_stop;
	list_init(&o->link);
	list_append(&k->outputs, &o->link);
	if (stream_start(&o->stream, c, id, WIRE_STATUS, &ok)) {
		free_output(o);
	} else if (m->offset >= size) {
		stream_end(&o->stream, 0);
		free_output(o);
	} else {
		stream_send_file(&o->stream, fd, m->offset, size - m->offset);
	}
}

/* ---- joining */

static void say_ready(struct link *k)
{
	if (!k->was_ready)
		service_ready("vinefs ready node=%s pid=%d keeper=%d socket=%s/vinefs.sock", k->node, (int)getpid(),
			      (int)getppid(), k->settings->state);
	k->was_ready = true;
}

static void on_joined(struct call *call, int error, uint16_t type, const void *message)
{
	struct link *k = container_of(call, struct link, join);
	const struct wire_status *status = message;
	struct conn *c = k->dial ? dial_conn(k->dial) : NULL;
	if (error) {
		if (type == WIRE_STATUS && c)
			conn_abort(c, -error, status->reason);
		return;
	}
	k->is_joined = true;
	k->is_down = false;
	if (!*k->cluster) {
		_free_ char *path = path_join(k->settings->state, "cluster");
		int r = path_write(path, k->peer_cluster, strlen(k->peer_cluster), 0600, true);
		if (r)
			log_errno(-r, "write %s", path);
		snprintf(k->cluster, sizeof k->cluster, "%s", k->peer_cluster);
	}
	log_info("joined cluster %s at %s, tier %s", k->cluster, k->settings->vined, k->offer.tier);
	say_ready(k);
	deliver(k);
}

static void refuse_for_good(struct link *k, const char *reason)
{
	log_error("%s: %s", k->settings->vined, reason);
	k->is_refused = true;
	loop_stop(k->loop, SERVICE_EXIT_FAILED);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct link *k = conn_owner(c);
	if (*k->cluster && !streq(peer->cluster, k->cluster)) {
		_free_ char *reason =
			xasprintf("this is cluster %s, but %s belongs to %s; give the node another --state",
				  peer->cluster, k->settings->state, k->cluster);
		conn_close(c, "the node belongs to another cluster", true);
		refuse_for_good(k, reason);
		return;
	}
	snprintf(k->peer_cluster, sizeof k->peer_cluster, "%s", peer->cluster);
	uint32_t n;
	_free_ struct wire_held *held = run_held(k->run, &n);
	struct wire_join m = {.node = k->node,
			      .tier = k->offer.tier,
			      .cores = k->offer.cores,
			      .memory = k->offer.memory,
			      .task_limit = k->offer.task_limit,
			      .kernel = k->offer.kernel,
			      .attempts = {.at = held, .n = n}};
	k->join = (struct call){.on_reply = on_joined};
	int error = call_start(&k->join, c, WIRE_JOIN, &m, 0);
	if (error)
		conn_abort(c, -error, "JOIN cannot be sent");
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct link *k = conn_owner(c);
	switch (h->type) {
	case WIRE_START:
		run_start(k->run, message);
		break;
	case WIRE_STOP:
		run_stop(k->run, message);
		break;
	case WIRE_READ_OUTPUT:
		send_output(k, c, h->id, message);
		break;
	default:
		conn_reply_status(c, h->id, ENOSYS, "%s is nothing a node answers", wire_name(h->type));
	}
}

static void on_room(struct conn *c)
{
	deliver(conn_owner(c));
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct link *k = conn_owner(c);
	k->is_joined = false;
	timer_stop(&k->timer);
	if (k->is_leaving)
		loop_stop(k->loop, 0);
	else
		log_debug("connection over: %d %s", error, reason);
}

static bool on_fail(void *owner, int error, const char *reason, bool is_final)
{
	struct link *k = owner;
	if (k->is_leaving || k->is_refused)
		return false;
	if (is_final) {
		if (error == 0) {
			log_info("%s sends this node away: %s", k->settings->vined, reason);
			link_leave(k);
		} else {
			refuse_for_good(k, reason);
		}
		return false;
	}
	if (!k->is_down)
		log_warn("%s: %s; trying again until it is there", k->settings->vined, reason);
	k->is_down = true;
	return true;
}

/* ---- what run/ says */

static void on_listed(void *owner)
{
	static const struct conn_ops ops = {
		.on_open = on_open, .on_message = on_message, .on_room = on_room, .on_close = on_close};
	struct link *k = owner;
	struct dial_options o = {
		.conn = {.ops = &ops, .owner = k, .tls = k->tls, .hello = &k->hello, .peer = TLS_ROLE_VINED},
		.address = k->settings->vined,
		.most_usec = k->settings->reconnect,
		.on_fail = on_fail};
	assert(!k->dial);
	if (settings_is_alone(k->settings)) {
		say_ready(k);
		return;
	}
	k->dial = dial_new(k->loop, &o);
	if (!k->dial) {
		log_errno(errno, "%s", k->settings->vined);
		loop_stop(k->loop, SERVICE_EXIT_FAILED);
	}
}

static void on_ended(void *owner)
{
	deliver(owner);
}

static void on_gone(void *owner)
{
	struct link *k = owner;
	k->is_leaving = true;
	timer_start(&k->timer, k->loop, LEAVE_USEC, on_timer);
	deliver(k);
	say_bye_if_done(k);
}

static void on_orphaned(void *owner)
{
	struct link *k = owner;
	log_error("the keeper is gone");
	loop_stop(k->loop, SERVICE_EXIT_FAILED);
}

/* ---- life */

static bool is_uuid(const char *text)
{
	static const char form[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
	size_t i = 0;
	for (; form[i]; i++)
		if (form[i] == 'h' ? !text[i] || !strchr("0123456789abcdef", text[i]) : text[i] != form[i])
			return false;
	return !text[i];
}

/* A uuid kept in a file of the state directory, made if `make` and it is missing. 0 or -errno; "" if it is missing. */
static int read_uuid(const char *state, const char *name, bool make, char uuid[UUID_TEXT_SIZE])
{
	size_t n = 0;
	_free_ char *path = path_join(state, name);
	_free_ char *text = path_read(path, 128, &n);
	*uuid = 0;
	if (!text && errno != ENOENT)
		return log_errno(errno, "read %s", path);
	if (text) {
		text[strcspn(text, " \n")] = 0;
		/* Not made anew of itself: a node with another id is another node to vined, and what it still ran is lost. */
		if (!is_uuid(text)) {
			log_error("%s is damaged, it holds no uuid: restore it, or remove it and a new one is made",
				  path);
			return -EINVAL;
		}
		memcpy(uuid, text, UUID_TEXT_SIZE);
	}
	if (*uuid || !make)
		return 0;
	secret_uuid(uuid);
	int r = path_write(path, uuid, strlen(uuid), 0600, true);
	return r ? log_errno(-r, "write %s", path) : 0;
}

static int read_secret(struct link *k)
{
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	if (!*k->settings->secret || settings_is_alone(k->settings) || has_prefix(k->settings->vined, "/") ||
	    has_prefix(k->settings->vined, "unix:"))
		return 0;
	int r = secret_read(k->settings->secret, secret, &e);
	if (r) {
		log_error("%s", e.text);
		return r;
	}
	k->tls = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
	secret_wipe(secret, sizeof secret);
	return k->tls ? 0 : log_errno(errno, "TLS");
}

struct link *link_new(struct loop *l, const struct settings *s, int keeper, const struct link_offer *o)
{
	static const struct run_ops ops = {
		.on_listed = on_listed, .on_ended = on_ended, .on_gone = on_gone, .on_orphaned = on_orphaned};
	_cleanup_(link_freep) struct link *k = NEW(struct link);
	k->loop = l;
	k->settings = s;
	k->offer = *o;
	list_init(&k->deliveries);
	list_init(&k->outputs);
	if (read_uuid(s->state, "node-id", true, k->node) || read_uuid(s->state, "cluster", false, k->cluster) ||
	    read_secret(k))
		return NULL;
	uint64_t instance;
	secret_random(&instance, sizeof instance);
	k->hello = (struct wire_hello){.role = TLS_ROLE_NODE,
				       .version = PACKAGE_VERSION,
				       .features = {.at = o->features, .n = o->n_features},
				       .cluster = k->cluster,
				       .name = s->name,
				       .instance = instance};
	struct run_options ro = {.state = s->state,
				 .keeper = keeper,
				 .keep_usec = s->keep_output,
				 .keep_size = s->keep_output_size,
				 .ops = &ops,
				 .owner = k};
	k->run = run_new(l, &ro);
	if (!k->run) {
		log_errno(errno, "%s", s->state);
		return NULL;
	}
	return steal(k);
}

void link_free(struct link *k)
{
	if (!k)
		return;
	timer_stop(&k->timer);
	call_stop(&k->join);
	list_foreach (&k->deliveries, struct delivery, link, d) {
		call_stop(&d->call);
		free_delivery(d);
	}
	dial_free(k->dial);
	list_foreach (&k->outputs, struct output, link, o)
		free_output(o);
	run_free(k->run);
	tls_context_free(k->tls);
	buf_fini(&k->heads);
	free(k);
}

void link_leave(struct link *k)
{
	run_leave(k->run);
}
