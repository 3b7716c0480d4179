/* SPDX-License-Identifier: Apache-2.0
 * Results: from the connection into `ready`, to the user, and their acknowledgments back. */
#include "libvineclient/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define ACK_MOST 65536u
#define ACK_AGAIN_USEC 1000000u

struct vine_event {
	struct vine *v;
	struct list link;
	struct wire_result *result;
	char *text[20]; /* made when asked for, one a field */
};

enum field_type { FIELD_U64, FIELD_U32, FIELD_TEXT, FIELD_BYTES, FIELD_HOW, FIELD_TYPE };

static const struct field {
	const char *name;
	enum field_type type;
	size_t offset;
} fields[] = {
	{"type", FIELD_TYPE, 0},
	{"task", FIELD_U64, offsetof(struct wire_result, task)},
	{"tag", FIELD_TEXT, offsetof(struct wire_result, tag)},
	{"run", FIELD_TEXT, offsetof(struct wire_result, run)},
	{"node", FIELD_TEXT, offsetof(struct wire_result, node)},
	{"attempt", FIELD_U64, offsetof(struct wire_result, attempt)},
	{"attempts", FIELD_U32, offsetof(struct wire_result, attempts)},
	{"how", FIELD_HOW, offsetof(struct wire_result, how)},
	{"status", FIELD_U32, offsetof(struct wire_result, status)},
	{"reason", FIELD_TEXT, offsetof(struct wire_result, reason)},
	{"wall-usec", FIELD_U64, offsetof(struct wire_result, wall_usec)},
	{"cpu-usec", FIELD_U64, offsetof(struct wire_result, cpu_usec)},
	{"peak-memory", FIELD_U64, offsetof(struct wire_result, peak_memory)},
	{"out-size", FIELD_U64, offsetof(struct wire_result, out_size)},
	{"err-size", FIELD_U64, offsetof(struct wire_result, err_size)},
	{"out", FIELD_BYTES, offsetof(struct wire_result, out)},
	{"err", FIELD_BYTES, offsetof(struct wire_result, err)},
};
_Static_assert(countof(fields) <= countof(((struct vine_event *)0)->text), "a text for each field");

static const char *const how_names[] = {"unknown", "exited", "killed", "not-started", "lost", "cancelled"};

static void event_free(struct vine_event *e)
{
	for (size_t i = 0; i < countof(e->text); i++)
		free(e->text[i]);
	free(e->result);
	free(e);
}

void event_drop_all(struct vine *v)
{
	list_foreach (&v->ready, struct vine_event, link, e) {
		list_remove(&e->link);
		event_free(e);
	}
}

void event_ring(struct vine *v)
{
	uint64_t one = 1;
	ssize_t n = write(v->event_fd, &one, sizeof one);
	assert(n == sizeof one || errno == EAGAIN);
}

void event_expect(struct vine *v, const struct wire_u64s *tasks, const bool *is_new)
{
	size_t n_open = 0, n_early = 0, n_keyed = 0;
	for (uint32_t i = 0; i < tasks->n; i++) {
		if (!ids_add(&v->posted, tasks->at[i]))
			continue;
		n_keyed += !is_new[i];
		if (!ids_has(&v->seen, tasks->at[i]))
			n_open++;
		else
			n_early += is_new[i];
	}
	pthread_mutex_lock(&v->lock);
	v->n_open += n_open;
	v->n_keyed += n_keyed;
	v->n_found += (int64_t)n_early; /* they were taken for the run's */
	pthread_mutex_unlock(&v->lock);
}

void event_arrived(struct vine *v, const struct wire_result *r)
{
	if (!ids_add(&v->seen, r->task))
		return;
	struct vine_event *e = NEW(struct vine_event);
	e->v = v;
	e->result = wire_copy(WIRE_RESULT, r);
	list_init(&e->link);
	pthread_mutex_lock(&v->lock);
	bool was_empty = list_is_empty(&v->ready);
	list_append(&v->ready, &e->link);
	if (ids_has(&v->posted, r->task)) {
		assert(v->n_open);
		v->n_open--;
	} else {
		v->n_found--;
	}
	if (was_empty)
		event_ring(v);
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

struct selector {
	bool is_all;
	uint64_t task; /* 0: by tag */
	const char *tag;
};

static int selector_parse(struct selector *s, const char *text)
{
	*s = (struct selector){.is_all = !text || !*text};
	if (s->is_all)
		return 0;
	if (has_prefix(text, "tag:")) {
		s->tag = text + 4;
		return 0;
	}
	char *end;
	errno = 0;
	s->task = strtoull(text, &end, 10);
	if (errno || *end || !s->task || *text < '0' || *text > '9')
		return error_set(EINVAL, "selector '%s': wants a task's number or tag:WORD", text);
	return 0;
}

/* Lock held. */
static struct vine_event *event_find(struct vine *v, const struct selector *s)
{
	list_foreach (&v->ready, struct vine_event, link, e) {
		if (s->is_all || (s->tag ? streq(e->result->tag, s->tag) : e->result->task == s->task))
			return e;
	}
	return NULL;
}

static void event_take(struct vine *v, struct vine_event *e)
{
	list_remove(&e->link);
	v->n_events++;
	uint64_t n;
	if (list_is_empty(&v->ready) && !v->broken && read(v->event_fd, &n, sizeof n) < 0)
		assert(errno == EAGAIN);
}

/* Lock held: 1 with the event, 0 when the time is over, or -errno. */
static int event_wait(struct vine *v, const struct selector *s, int msec, struct vine_event **out)
{
	struct timespec until;
	struct vine_event *e;
	int r = 0;
	session_deadline(&until, msec > 0 ? (uint64_t)msec * 1000 : 0);
	while (!(e = event_find(v, s))) {
		if (v->is_closing)
			return error_set(ECANCELED, "the session is being closed");
		if (v->broken)
			return error_set(v->broken, "%s", v->why_broken);
		if (!v->n_open && v->n_found <= 0)
			return error_set(ENODATA, "nothing is left to wait for");
		if (msec == 0 || r == ETIMEDOUT)
			return 0;
		r = msec < 0 ? pthread_cond_wait(&v->wake, &v->lock)
			     : pthread_cond_timedwait(&v->wake, &v->lock, &until);
	}
	event_take(v, e);
	*out = e;
	return 1;
}

int vine_next(struct vine *v, const char *selector, int msec, struct vine_event **e)
{
	struct selector s;
	*e = NULL;
	int r = selector_parse(&s, selector);
	if (r < 0)
		return r;
	r = session_enter(v);
	if (r < 0)
		return r;
	pthread_mutex_lock(&v->lock);
	r = event_wait(v, &s, msec, e);
	pthread_mutex_unlock(&v->lock);
	session_leave(v);
	return r;
}

/* Bytes become a text of their own, since nothing ends them where they lie. */
static char *event_bytes(const struct wire_bytes *b)
{
	char *text = xmalloc((size_t)b->n + 1);
	if (b->n)
		memcpy(text, b->at, b->n);
	text[b->n] = 0;
	return text;
}

int64_t vine_event_get(struct vine_event *e, const char *name, const char **value)
{
	const struct field *f = fields;
	while (f < fields + countof(fields) && !streq(f->name, name))
		f++;
	if (f == fields + countof(fields))
		return error_set(EINVAL, "a result has no '%s'", name);
	const void *at = (const char *)e->result + f->offset;
	char **text = &e->text[f - fields];
	switch (f->type) {
	case FIELD_TYPE:
		*value = "result";
		break;
	case FIELD_TEXT:
		*value = *(const char *const *)at;
		break;
	case FIELD_HOW:
		*value = how_names[e->result->how < countof(how_names) ? e->result->how : 0];
		break;
	case FIELD_BYTES:
		*value = *text = *text ?: event_bytes(at);
		return ((const struct wire_bytes *)at)->n;
	case FIELD_U32:
		*value = *text = *text ?: xasprintf("%" PRIu32, *(const uint32_t *)at);
		break;
	case FIELD_U64:
		*value = *text = *text ?: xasprintf("%" PRIu64, *(const uint64_t *)at);
		break;
	}
	return (int64_t)strlen(*value);
}

int vine_event_done(struct vine_event *e)
{
	if (!e)
		return 0;
	struct vine *v = e->v;
	if (getpid() != v->pid)
		return error_set(EPERM, "an event cannot be used in a child process");
	pthread_mutex_lock(&v->lock);
	if (!v->is_closed) {
		buf_put(&v->acks, &e->result->task, sizeof e->result->task);
		if (!v->is_ack_posted) {
			v->is_ack_posted = true;
			loop_post(v->loop, &v->ack_post);
		}
	}
	pthread_mutex_unlock(&v->lock);
	event_free(e);
	session_unref_event(v);
	return 0;
}

/* ---- acknowledgments, on the loop's thread: what gathers while one DONE is on its way is the next one's */

static void on_ack_again(struct timer *t)
{
	event_send_acks(container_of(t, struct vine, ack_again));
}

static void on_acked(struct call *call, int error, _unused_ uint16_t type, const void *message)
{
	struct vine *v = container_of(call, struct vine, ack);
	size_t n = v->n_acking;
	v->n_acking = 0;
	if (error < 0 && !message)
		return;
	if (error < 0) {
		timer_start(&v->ack_again, v->loop, ACK_AGAIN_USEC, on_ack_again);
		return;
	}
	pthread_mutex_lock(&v->lock);
	assert(v->acks.n >= n * sizeof(uint64_t));
	buf_consume(&v->acks, n * sizeof(uint64_t));
	buf_trim(&v->acks);
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
	event_send_acks(v);
}

void event_send_acks(struct vine *v)
{
	if (!v->conn || v->ack.conn)
		return;
	pthread_mutex_lock(&v->lock);
	size_t n = min(v->acks.n / sizeof(uint64_t), (size_t)ACK_MOST);
	_free_ uint64_t *tasks = xmemdup(v->acks.at, n * sizeof *tasks);
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return;
	struct wire_done message = {.tasks = {.at = tasks, .n = (uint32_t)n}};
	v->ack = (struct call){.on_reply = on_acked};
	v->n_acking = n;
	if (call_start(&v->ack, v->conn, WIRE_DONE, &message, 0) < 0)
		v->n_acking = 0; /* the next connection takes them */
}

void event_on_ack_post(struct post *p)
{
	struct vine *v = container_of(p, struct vine, ack_post);
	pthread_mutex_lock(&v->lock);
	v->is_ack_posted = false;
	pthread_mutex_unlock(&v->lock);
	event_send_acks(v);
}
