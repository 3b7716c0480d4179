/* SPDX-License-Identifier: Apache-2.0
 * The connection to vined, kept alive by a dial; the loop's thread. */
#include "libvineclient/client.h"

#include <stdio.h>
#include <unistd.h>

/* For good: whoever asks hears why, now and later. */
static void link_break(struct vine *v, int error, const char *why)
{
	assert(error > 0);
	pthread_mutex_lock(&v->lock);
	v->broken = error;
	snprintf(v->why_broken, sizeof v->why_broken, "cluster %.400s: %.500s", v->cluster.name, why);
	pthread_cond_broadcast(&v->wake);
	ready_wake_all(&v->ready);
	/* A poller comes and hears it from vine_next. */
	ready_settle(v);
	pthread_mutex_unlock(&v->lock);
	ask_end_all(v, v->broken, v->why_broken);
}

static void on_attached(struct call *call, int error, uint16_t type, const void *message)
{
	struct vine *v = container_of(call, struct vine, attach);
	if (error < 0) {
		if (message && type == WIRE_STATUS) {
			char why[ERROR_SIZE];
			const struct wire_status *status = message;
			/* Most reasons name it themselves. */
			if (has_prefix(status->reason, "run ") || has_prefix(status->reason, "the run's "))
				snprintf(why, sizeof why, "%.500s", status->reason);
			else
				snprintf(why, sizeof why, "run %.200s: %.500s", v->run ?: "", status->reason);
			link_break(v, -error, why);
		}
		return;
	}
	if (type != WIRE_ATTACHED) {
		link_break(v, EPROTO, "vined answered ATTACH with something else");
		return;
	}
	const struct wire_attached *attached = message;
	assert(!v->is_attached);
	pthread_mutex_lock(&v->lock);
	if (!v->run)
		v->run = xstrdup(attached->run);
	/* Later ones count what this session knows of. */
	bool was_attached = v->was_attached;
	bool is_robbed = was_attached && attached->pending + v->n_keyed < v->n_open;
	if (!was_attached)
		v->n_found = (int64_t)attached->pending;
	v->was_attached = true;
	pthread_mutex_unlock(&v->lock);
	v->is_attached = true;
	if (is_robbed) {
		char why[ERROR_SIZE];
		snprintf(why, sizeof why,
			 "run %.200s: while this session was away another client of the run took its results", v->run);
		link_break(v, ESTALE, why);
		return;
	}
	link_watch(v);
	ask_send_all(v);
}

void link_attach(struct vine *v)
{
	if (!v->conn || v->is_attached || v->attach.conn || v->broken || !v->has_run)
		return;
	v->is_watching = v->has_watch;
	struct wire_attach message = {.run = v->run ?: "", .results = true, .events = v->is_watching};
	v->attach = (struct call){.on_reply = on_attached};
	int r = call_start(&v->attach, v->conn, WIRE_ATTACH, &message, 0);
	if (r < 0)
		conn_abort(v->conn, -r, "ATTACH could not be sent");
}

void link_watch(struct vine *v)
{
	if (v->is_attached && v->is_watching != v->has_watch) {
		v->is_attached = false;
		link_attach(v);
	}
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct vine *v = conn_owner(c);
	if (!v->cluster_uuid) {
		v->cluster_uuid = xstrdup(peer->cluster);
	} else if (!streq(v->cluster_uuid, peer->cluster)) {
		conn_abort(c, EPERM, "another cluster answers at this address now");
		return;
	}
	v->conn = c;
	v->minor = peer->minor;
	v->failure[0] = 0;
	assert(!v->is_attached);
	link_attach(v);
	ask_send_all(v);
	ack_send(v);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct vine *v = conn_owner(c);
	if (h->type == WIRE_RESULT) {
		event_arrived(v, message);
		conn_reply_status(c, h->id, 0, "%s", "");
	} else if (h->type == WIRE_EVENT) {
		event_noticed(v, message);
	} else if (h->type == WIRE_READ_INDEX) {
		offer_read_index(v, c, h->id, message);
	} else if (h->type == WIRE_READ_CHUNKS) {
		offer_read_chunks(v, c, h->id, message);
	} else {
		conn_reply_status(c, h->id, ENOSYS, "a client does not answer %s", wire_name(h->type));
	}
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct vine *v = conn_owner(c);
	snprintf(v->failure, sizeof v->failure, "%s", reason ? reason : strerror(error));
	v->conn = NULL;
	v->is_attached = false;
	offer_lost(v);
	if (v->is_stopping)
		loop_stop(v->loop, 0);
}

static bool on_fail(void *owner, int error, const char *reason, bool is_final)
{
	struct vine *v = owner;
	const char *why = reason && *reason ? reason : strerror(error < 0 ? -error : error);
	snprintf(v->failure, sizeof v->failure, "%s", why);
	if (is_final && !v->broken)
		link_break(v, error ? abs(error) : ECONNREFUSED, why);
	return !is_final;
}

int link_start(struct vine *v)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	if (gethostname(v->host, sizeof v->host - 1) < 0)
		v->host[0] = 0;
	v->hello = (struct wire_hello){
		.role = TLS_ROLE_CLIENT, .version = PACKAGE_VERSION, .cluster = "", .name = v->host};
	secret_random(&v->hello.instance, sizeof v->hello.instance);
	if (!v->cluster.is_local) {
		v->tls = tls_context_new(v->cluster.secret, TLS_ROLE_CLIENT, 1u << TLS_ROLE_VINED);
		if (!v->tls)
			return error_set(errno ? errno : EIO, "cluster %s: cannot set up TLS", v->cluster.name);
	}
	secret_wipe(v->cluster.secret, sizeof v->cluster.secret);
	struct dial_options o = {
		.conn = {.ops = &ops, .owner = v, .tls = v->tls, .hello = &v->hello, .peer = TLS_ROLE_VINED},
		.address = v->cluster.address,
		.most_usec = 1000000,
		.on_fail = on_fail,
	};
	v->dial = dial_new(v->loop, &o);
	if (!v->dial)
		return error_set(errno ? errno : EINVAL, "cluster %s: %s: %s", v->cluster.name, v->cluster.address,
				 strerror(errno));
	return 0;
}

void link_stop(struct vine *v)
{
	call_stop(&v->attach);
	call_stop(&v->ack);
	timer_stop(&v->ack_again);
	timer_stop(&v->room);
	dial_free(steal(v->dial));
	tls_context_free(steal(v->tls));
	free(steal(v->cluster_uuid));
	v->conn = NULL;
}
