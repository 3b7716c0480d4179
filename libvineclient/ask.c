/* SPDX-License-Identifier: Apache-2.0
 * A request that is asked again after each loss of the connection, until it is answered or its patience is over.
 *
 * 1. From ask_wait to `is_over` the loop's thread owns it, but for what stands under the lock.
 * 2. It is over only once; nothing of it is with the loop when ask_wait returns, `more` included. */
#include "libvineclient/client.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define ASK_DATA_HIGH (1u << 20)
#define ASK_AGAIN_USEC 200000u /* after "full" */

static void ask_finish(struct ask *a, int error, const char *text)
{
	struct vine *v = a->v;
	call_stop(&a->call);
	timer_stop(&a->timer);
	timer_stop(&a->again);
	list_remove(&a->link);
	pthread_mutex_lock(&v->lock);
	assert(!a->is_over);
	assert(error >= 0);
	a->error = error;
	snprintf(a->text, sizeof a->text, "%s%s", text ? text : "",
		 error == EPROTONOSUPPORT ? "; the older of the two must be upgraded" : "");
	a->is_over = true;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&v->lock);
}

/* The connection ended, not the request: it stays in the list and goes out again on the next one. */
static bool is_loss(int error)
{
	return error == -ECONNRESET || error == -ECONNABORTED || error == -ENOTCONN || error == -EPIPE ||
	       error == -ETIMEDOUT || error == -ECANCELED;
}

/* Where in a stream of trees' bytes to go on only its reader knows. */
static void ask_lost(struct ask *a)
{
	if (a->take)
		ask_finish(a, ECONNRESET, "the connection was lost");
}

static void ask_send(struct ask *a);

static void ask_on_again(struct timer *t)
{
	ask_send(container_of(t, struct ask, again));
}

static void ask_on_room(struct timer *t)
{
	struct vine *v = container_of(t, struct vine, room);
	pthread_mutex_lock(&v->lock);
	v->ready.has_room = true;
	ready_settle(v);
	pthread_mutex_unlock(&v->lock);
}

/* What was sent before and lost may have been done, and only then vined was full: then it is no refusal, and is asked again, under
 * the same keys, until it is known. Returns whether that is so. */
static bool ask_is_refused(struct ask *a, int error)
{
	struct vine *v = a->v;
	if (error != -EAGAIN && error != -ENOSPC)
		return false;
	a->is_refused = true;
	if (a->n_sent > 1) {
		timer_start(&a->again, v->loop, ASK_AGAIN_USEC, ask_on_again);
		return true;
	}
	if (error == -EAGAIN && (a->type == WIRE_SUBMIT || a->type == WIRE_OFFER))
		timer_start(&v->room, v->loop, ASK_AGAIN_USEC, ask_on_room);
	return false;
}

static void ask_on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct ask *a = container_of(call, struct ask, call);
	if (error < 0 && message && type == WIRE_STATUS) {
		const struct wire_status *status = message;
		if (ask_is_refused(a, error))
			return;
		ask_finish(a, -error, *status->reason ? status->reason : strerror(-error));
		return;
	}
	if (error < 0) {
		ask_lost(a);
		return;
	}
	if (a->on_answer)
		a->on_answer(a, type, message);
	if (!a->has_stream || !call->is_streaming)
		ask_finish(a, 0, NULL);
}

/* The user's own cluster is started by a word; who names a directory or a host has one that somebody looks after. */
static const char *cure_silence(const struct vine *v)
{
	const char *told = getenv("VINE");
	bool is_own = v->cluster.is_local && (!told || !*told || !strpbrk(told, "/:"));
	bool is_default = is_own && (!told || !*told || streq(told, "default"));
	return is_default ? "`vine up` starts it, and so does `vine run -- COMMAND`"
	       : is_own   ? "`vine up --name NAME` starts one of this machine's"
			  : "start vined there, or name another cluster with VINE=NAME, /DIR or HOST:PORT";
}

static void ask_on_expire(struct timer *t)
{
	struct ask *a = container_of(t, struct ask, timer);
	struct vine *v = a->v;
	pthread_mutex_lock(&v->lock);
	/* A reader who looks at a page of output is no silence of the other side's. */
	bool is_ours = a->is_held || a->data.n || (a->n_moved && *a->n_moved != a->n_before);
	pthread_mutex_unlock(&v->lock);
	a->n_before = a->n_moved ? *a->n_moved : 0;
	if (is_ours) {
		timer_start(t, v->loop, a->patience_usec, ask_on_expire);
		return;
	}
	char text[ERROR_SIZE];
	unsigned sec = (unsigned)(a->patience_usec / 1000000);
	if (v->conn && a->is_refused)
		snprintf(
			text, sizeof text,
			"cluster %.400s: vined is full since %u s, and the connection was lost before: it is not known "
			"whether this was recorded",
			v->cluster.name, sec);
	else if (v->conn)
		snprintf(text, sizeof text, "cluster %.400s: vined did not answer for %u s", v->cluster.name, sec);
	else
		snprintf(text, sizeof text, "cluster %.300s: nobody answered at %.200s for %u s (%.200s); %s",
			 v->cluster.name, v->cluster.address, sec, *v->failure ? v->failure : "connecting",
			 cure_silence(v));
	ask_finish(a, ETIMEDOUT, text);
}

static bool ask_on_data(struct call *call, const void *p, size_t n)
{
	struct ask *a = container_of(call, struct ask, call);
	struct vine *v = a->v;
	if (!a->take)
		a->rest.offset += n;
	timer_start(&a->timer, v->loop, a->patience_usec, ask_on_expire);
	pthread_mutex_lock(&v->lock);
	buf_put(&a->data, p, n);
	a->is_held = a->data.n >= ASK_DATA_HIGH;
	bool goes_on = !a->is_held;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&v->lock);
	return goes_on;
}

static void ask_on_end(struct call *call, int error)
{
	struct ask *a = container_of(call, struct ask, call);
	struct vine *v = a->v;
	error = error > 0 ? -error : error;
	/* The same errors come from the other side, of a connection that it has lost: its node's. */
	if (is_loss(error) && !(v->conn && conn_is_open(v->conn))) {
		ask_lost(a);
		return;
	}
	char text[ERROR_SIZE];
	snprintf(text, sizeof text, "it was cut off on its way to vined: %s", strerror(-error));
	ask_finish(a, -error, text);
}

static void ask_send(struct ask *a)
{
	struct vine *v = a->v;
	bool is_ready = v->conn && (!a->needs_run || v->is_attached);
	if (!is_ready || a->call.conn || a->again.loop)
		return;
	if (v->minor < a->needs_minor) {
		ask_finish(
			a, ENOSYS,
			"the cluster's vined is older than this program and does not know what is asked: upgrade it");
		return;
	}
	if (!a->type) {
		ask_finish(a, 0, NULL);
		return;
	}
	if (a->run)
		*a->run = v->run;
	bool has_rest = a->has_stream && !a->take;
	a->call = (struct call){.on_reply = ask_on_reply,
				.on_data = a->has_stream ? ask_on_data : NULL,
				.on_end = a->has_stream ? ask_on_end : NULL};
	int r = call_start(&a->call, v->conn, a->type, has_rest ? &a->rest : a->message, 0);
	a->n_sent += r == 0;
	if (r == -EMSGSIZE)
		ask_finish(a, E2BIG, "too much for one message of 8 MiB; split it");
	else if (r < 0 && !is_loss(r))
		ask_finish(a, -r, strerror(-r));
}

void ask_send_all(struct vine *v)
{
	list_foreach (&v->asks, struct ask, link, a)
		ask_send(a);
}

void ask_end_all(struct vine *v, int error, const char *text)
{
	list_foreach (&v->asks, struct ask, link, a)
		ask_finish(a, error, text);
}

/* What may take long is not begun any more when the session is being closed; those that were, vine_close has ended. */
static bool ask_is_late(struct ask *a)
{
	struct vine *v = a->v;
	if (!a->has_stream && a->type != WIRE_OFFER)
		return false;
	pthread_mutex_lock(&v->lock);
	bool is_closing = v->is_closing;
	pthread_mutex_unlock(&v->lock);
	return is_closing;
}

static void ask_on_post(struct post *p)
{
	struct ask *a = container_of(p, struct ask, post);
	struct vine *v = a->v;
	list_append(&v->asks, &a->link);
	timer_start(&a->timer, v->loop, a->patience_usec, ask_on_expire);
	if (v->broken) { /* written by this thread alone */
		ask_finish(a, v->broken, v->why_broken);
		return;
	}
	if (ask_is_late(a)) {
		ask_finish(a, ECANCELED, "the session is being closed");
		return;
	}
	if (a->is_watch)
		link_watch(v);
	if (a->needs_run)
		link_attach(v);
	ask_send(a);
}

static void ask_on_more(struct post *p)
{
	struct ask *a = container_of(p, struct ask, more);
	struct vine *v = a->v;
	pthread_mutex_lock(&v->lock);
	bool is_over = a->is_over, is_abandoned = a->is_abandoned;
	a->is_more_posted = false;
	pthread_cond_signal(&a->wake);
	if (is_over) { /* it may be gone once the lock is free */
		pthread_mutex_unlock(&v->lock);
		return;
	}
	pthread_mutex_unlock(&v->lock);
	if (is_abandoned)
		ask_finish(a, ECANCELED, "cannot be written");
	else if (a->call.conn)
		call_more(&a->call);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EAGAIN)
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		else if (done < 0 && errno != EINTR)
			return -errno;
		else if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return 0;
}

/* Lock held at entry and return: writes what has come, without it. Returns 0 or the error of fd. */
static int ask_write_data(struct ask *a)
{
	struct vine *v = a->v;
	struct buf taken = a->data;
	bool was_held = a->is_held;
	a->data = (struct buf){0};
	a->is_held = false;
	pthread_mutex_unlock(&v->lock);
	int r = 0;
	if (!a->is_abandoned)
		r = a->take ? a->take(a, taken.at, taken.n) : write_all(a->fd, taken.at, taken.n);
	if (!r)
		a->n_written += taken.n;
	buf_fini(&taken);
	pthread_mutex_lock(&v->lock);
	a->is_abandoned |= r < 0;
	if ((was_held || r < 0) && !a->is_over && !a->is_more_posted) {
		a->is_more_posted = true;
		loop_post(v->loop, &a->more);
	}
	return r;
}

void ask_fail(struct ask *a, int error, const char *text)
{
	ask_finish(a, error, text);
}

void ask_begin(struct vine *v, struct ask *a)
{
	assert(!a->v);
	assert(a->patience_usec);
	a->v = v;
	a->post.on_post = ask_on_post;
	a->more.on_post = ask_on_more;
	list_init(&a->link);
	pthread_cond_init(&a->wake, NULL);
	if (a->has_stream && !a->take)
		a->rest = *(const struct wire_read_output *)a->message;
	loop_post(v->loop, &a->post);
}

int ask_end(struct ask *a)
{
	struct vine *v = a->v;
	int write_error = 0;
	pthread_mutex_lock(&v->lock);
	while (!a->is_over || a->data.n || a->is_more_posted) {
		if (a->data.n)
			write_error = write_error ?: ask_write_data(a);
		else
			pthread_cond_wait(&a->wake, &v->lock);
		if (write_error)
			buf_fini(&a->data);
	}
	pthread_mutex_unlock(&v->lock);
	pthread_cond_destroy(&a->wake);
	buf_fini(&a->data);
	if (write_error && a->take)
		return write_error;
	if (write_error)
		return error_set(-write_error, "write the output: %s", strerror(-write_error));
	return a->error ? error_set(a->error, "%s", a->text) : 0;
}

int ask_wait(struct vine *v, struct ask *a)
{
	ask_begin(v, a);
	return ask_end(a);
}
