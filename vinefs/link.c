/* SPDX-License-Identifier: Apache-2.0
 * joining: the keeper has listed -> connected, HELLO -> JOIN with all attempts held -> STATUS 0 -> ends are sent. A lost
 * connection returns what was under way, and the next one begins with JOIN again.
 * leaving: the keeper is STOPPING -> vined is asked to copy away what only this node has (link_leave.c); the keeper is GONE, and that is over -> the last
 * ends, as far as vined takes them within LEAVE_USEC -> BYE -> the loop stops. */
#include "vinefs/link_internal.h"

#include "common/log.h"
#include "common/path.h"
#include "common/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DELIVERIES_MOST 64u /* ENDED messages that wait for their answer; each may carry both heads */
#define LEAVE_USEC 2000000u
#define RETRY_USEC 1000000u /* after vined could not take an end */

struct delivery {
	struct list link;
	struct link *owner;
	struct call call;
	uint64_t attempt;
};

struct conn *link_conn(const struct link *k)
{
	return k->is_joined && k->dial ? dial_conn(k->dial) : NULL;
}

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
	if (!k->is_leaving || k->n_deliveries || leave_is_under_way(k))
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

bool link_is_delivering(const struct link *k, uint64_t attempt)
{
	list_foreach (&k->deliveries, const struct delivery, link, d) {
		if (d->attempt == attempt)
			return true;
	}
	return false;
}

/* ---- joining */

static void say_ready(struct link *k)
{
	if (!k->was_ready)
		service_ready("vinefs ready node=%s pid=%d keeper=%d socket=%s/vinefs.sock", k->node, (int)getpid(),
			      (int)getppid(), k->settings->state);
	k->was_ready = true;
}

static const char *tier_of(const struct link *k)
{
	const char *tier = k->parts.inputs ? inputs_tier(k->parts.inputs) : NULL;
	return tier ? tier : k->offer.tier;
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
	log_info("joined cluster %s at %s, tier %s", k->cluster, k->settings->vined, tier_of(k));
	say_ready(k);
	/* Before anything that it asks for is answered: what is not named is not there. */
	report_all(k);
	profile_all(k);
	keep_again(k);
	deliver(k);
}

static void refuse_for_good(struct link *k, const char *reason)
{
	log_error("%s: %s", k->settings->vined, reason);
	k->is_refused = true;
	loop_stop(k->loop, SERVICE_EXIT_FAILED);
}

/* So much may tasks write: what sandboxes and cache have between them. */
static uint64_t free_room(const struct link *k)
{
	struct statvfs fs;
	return statvfs(k->settings->state, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Of a node that goes away, never 0. */
static uint64_t stays_usec(const struct link *k)
{
	uint64_t gone_usec = loop_now_usec(k->loop) - k->since_usec;
	return k->settings->stays ? max(k->settings->stays, gone_usec + 1) - gone_usec : 0;
}

static void join(struct link *k, struct conn *c)
{
	const struct link_offer *o = &k->offer;
	uint32_t n;
	_free_ struct wire_held *held = run_held(k->run, &n);
	_free_ const char **features = xcalloc((size_t)o->n_features + k->settings->feature.n, sizeof *features);
	uint32_t n_features = 0;
	for (uint32_t i = 0; i < o->n_features; i++)
		features[n_features++] = o->features[i];
	for (size_t i = 0; i < k->settings->feature.n; i++)
		features[n_features++] = k->settings->feature.at[i];
	const struct wire_join m = {.node = k->node,
				    .tier = tier_of(k),
				    .cores = o->cores,
				    .memory = o->memory,
				    .task_limit = o->task_limit,
				    .kernel = o->kernel,
				    .attempts = {.at = held, .n = n},
				    .gpus = (uint32_t)k->settings->gpus,
				    .disk = free_room(k),
				    .named = {.at = k->named, .n = k->n_named},
				    .features = {.at = features, .n = n_features},
				    .stays_usec = stays_usec(k),
				    .has_data = k->serve != NULL,
				    .address = k->peers ? peers_address(k->peers) : "",
				    .rack = k->settings->rack};
	k->join = (struct call){.on_reply = on_joined};
	int error = call_start(&k->join, c, WIRE_JOIN, &m, 0);
	if (error)
		conn_abort(c, -error, "JOIN cannot be sent");
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
	if (k->peers)
		peers_listen(k->peers);
	join(k, c);
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
		output_send(k, c, h->id, message);
		break;
	case WIRE_FETCH:
		if (k->parts.inputs)
			inputs_due(k->parts.inputs, message);
		data_fetch(k, message);
		if (k->parts.inputs)
			inputs_told(k->parts.inputs, message);
		break;
	case WIRE_HOLD:
		hold_change(k, message);
		break;
	case WIRE_FELLOWS:
		data_fellows(k, message);
		break;
	case WIRE_HOT_SET:
		profile_told(k, message);
		break;
	case WIRE_FETCH_STOP:
		data_stop(k, ((const struct wire_fetch_stop *)message)->item);
		break;
	default:
		if (k->serve && serve_message(k->serve, c, h, message))
			break;
		conn_reply_status(c, h->id, ENOSYS, "%s is nothing a node answers", wire_name(h->type));
	}
}

static void on_cancel(struct conn *c, uint64_t id)
{
	const struct link *k = conn_owner(c);
	if (k->serve)
		serve_cancel(k->serve, c, id);
}

static void on_room(struct conn *c)
{
	deliver(conn_owner(c));
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct link *k = conn_owner(c);
	k->is_joined = false;
	if (!k->is_leaving)
		timer_stop(&k->timer);
	report_stop(k);
	if (k->serve)
		serve_close(k->serve, c);
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
			/* One that ends for idleness does not take from people what they use. */
			if (k->settings->idle_exit && idle_is_used(k))
				return true;
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

void link_dial_if_ready(struct link *k)
{
	static const struct conn_ops ops = {.on_open = on_open,
					    .on_message = on_message,
					    .on_cancel = on_cancel,
					    .on_room = on_room,
					    .on_close = on_close};
	const struct dial_options o = {
		.conn = {.ops = &ops, .owner = k, .tls = k->tls, .hello = &k->hello, .peer = TLS_ROLE_VINED},
		.address = k->settings->vined,
		.most_usec = k->settings->reconnect,
		.on_fail = on_fail};
	if (k->dial || !k->is_listed || (k->parts.inputs && !inputs_tier(k->parts.inputs)))
		return;
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

static void on_listed(void *owner)
{
	struct link *k = owner;
	assert(!k->dial);
	k->is_listed = true;
	link_dial_if_ready(k);
}

static void on_ended(void *owner)
{
	deliver(owner);
}

static void on_ask_keep(void *owner, const struct wire_keep *m)
{
	keep_ask(owner, m);
}

void link_end(struct link *k)
{
	assert(!leave_is_under_way(k));
	if (!k->is_leaving)
		return;
	timer_start(&k->timer, k->loop, LEAVE_USEC, on_timer);
	say_bye_if_done(k);
}

static void on_gone(void *owner)
{
	struct link *k = owner;
	k->is_leaving = true;
	timer_stop(&k->timer);
	deliver(k);
	if (!leave_is_under_way(k))
		link_end(k);
}

static void on_stopping(void *owner)
{
	leave_begin(owner);
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

static bool is_file_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static int read_secret(struct link *k)
{
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	const struct settings *s = k->settings;
	bool is_local = has_prefix(s->vined, "/") || has_prefix(s->vined, "unix:");
	/* Without one vined is reached by its socket, and other nodes are not. */
	if (!*s->secret || settings_is_alone(s) || (is_local && !is_file_there(s->secret)))
		return 0;
	int r = secret_read(s->secret, secret, &e);
	if (r) {
		log_error("%s", e.text);
		return is_local ? 0 : r;
	}
	k->tls_peers = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	if (!is_local)
		k->tls = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
	secret_wipe(secret, sizeof secret);
	return k->tls_peers && (is_local || k->tls) ? 0 : log_errno(errno, "TLS");
}

/* NAME=AMOUNT each. */
static int read_resources(struct link *k)
{
	const struct conf_many *all = &k->settings->resource;
	k->named = xcalloc(all->n, sizeof *k->named);
	for (size_t i = 0; i < all->n; i++) {
		char *end = strchr(all->at[i], '='), *rest = end;
		uint64_t amount = end ? strtoull(end + 1, &rest, 10) : 0;
		if (!end || end == all->at[i] || rest == end + 1 || *rest) {
			log_error("--resource=%s: not NAME=AMOUNT", all->at[i]);
			return -EINVAL;
		}
		k->named[k->n_named++] = (struct wire_amount){.name = xstrndup(all->at[i], (size_t)(end - all->at[i])),
							      .amount = amount};
	}
	return 0;
}

struct link *link_new(struct loop *l, const struct settings *s, int keeper, const struct link_offer *o,
		      const struct link_parts *p)
{
	static const struct run_ops ops = {.prepare = link_prepare,
					   .hold = link_hold,
					   .release = link_release,
					   .sizes = link_sizes,
					   .failure = link_failure,
					   .on_job = link_job_done,
					   .ask_keep = on_ask_keep,
					   .on_listed = on_listed,
					   .on_ended = on_ended,
					   .on_stopping = on_stopping,
					   .on_gone = on_gone,
					   .on_orphaned = on_orphaned};
	_cleanup_(link_freep) struct link *k = NEW(struct link);
	k->loop = l;
	k->settings = s;
	k->since_usec = loop_now_usec(l);
	k->offer = *o;
	k->parts = *p;
	list_init(&k->deliveries);
	list_init(&k->outputs);
	list_init(&k->keeps);
	list_init(&k->fresh);
	if (read_uuid(s->state, "node-id", true, k->node) || read_uuid(s->state, "cluster", false, k->cluster) ||
	    read_secret(k) || read_resources(k))
		return NULL;
	uint64_t instance;
	secret_random(&instance, sizeof instance);
	k->hello = (struct wire_hello){.role = TLS_ROLE_NODE,
				       .version = PACKAGE_VERSION,
				       .features = {.at = o->features, .n = o->n_features},
				       .cluster = k->cluster,
				       .name = s->name,
				       .instance = instance};
	link_hide(k);
	struct run_options ro = {.state = s->state,
				 .keeper = keeper,
				 .keep_usec = s->keep_output,
				 .keep_size = s->keep_output_size,
				 .name = s->name,
				 .keep_failed_usec = s->keep_failed,
				 .keep_failed_size = s->keep_failed_size,
				 .cgroup = s->cgroup,
				 .processes = (uint64_t)s->task_processes,
				 .fetch = p->fetch,
				 .cache = p->cache,
				 .hidden = (const char *const *)k->hidden,
				 .ops = &ops,
				 .owner = k};
	k->run = run_new(l, &ro);
	if (!k->run) {
		log_errno(errno, "%s", s->state);
		return NULL;
	}
	flow_open(k);
	if (data_open(k))
		return NULL;
	hold_open(k);
	link_listen_to_inputs(k);
	idle_start(k);
	return steal(k);
}

void link_free(struct link *k)
{
	if (!k)
		return;
	timer_stop(&k->timer);
	leave_stop(k);
	profile_close(k);
	idle_stop(k);
	call_stop(&k->join);
	list_foreach (&k->deliveries, struct delivery, link, d) {
		call_stop(&d->call);
		free_delivery(d);
	}
	keep_close(k);
	output_close(k);
	report_close(k);
	/* What is asked of it ends with its connection. */
	dial_free(k->dial);
	data_close(k);
	flow_close(k);
	run_free(k->run);
	link_unhide(k);
	tls_context_free(k->tls);
	tls_context_free(k->tls_peers);
	for (uint32_t i = 0; i < k->n_named; i++)
		free((char *)(uintptr_t)k->named[i].name);
	free(k->named);
	buf_fini(&k->heads);
	free(k);
}

void link_leave(struct link *k)
{
	run_leave(k->run);
}
