/* SPDX-License-Identifier: Apache-2.0
 * Events: from the connection into `ready`, and to the user. */
#include "common/log.h"
#include "libvineclient/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum field_type { FIELD_U64, FIELD_U32, FIELD_TEXT, FIELD_BYTES, FIELD_TEXTS, FIELD_WORD, FIELD_TYPE };

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	const char *const *
		words; /* of FIELD_WORD: a u8 is an index into them; ends in NULL, the first stands for what is unknown */
};

static const char *const how_words[] = {"unknown",   "exited",      "killed",    "not-started", "lost",
					"cancelled", "not-started", "no-output", NULL};
static const char *const exceeded_words[] = {"", "memory", "disk", "wall-time", "processes", NULL};

#define RESULT(name) offsetof(struct wire_result, name)
static const struct field result_fields[] = {
	{"type", FIELD_TYPE, 0, NULL},
	{"task", FIELD_U64, RESULT(task), NULL},
	{"tag", FIELD_TEXT, RESULT(tag), NULL},
	{"category", FIELD_TEXT, RESULT(category), NULL},
	{"index", FIELD_U64, RESULT(index), NULL},
	{"run", FIELD_TEXT, RESULT(run), NULL},
	{"node", FIELD_TEXT, RESULT(node), NULL},
	{"attempt", FIELD_U64, RESULT(attempt), NULL},
	{"attempts", FIELD_U32, RESULT(attempts), NULL},
	{"how", FIELD_WORD, RESULT(how), how_words},
	{"status", FIELD_U32, RESULT(status), NULL},
	{"exceeded", FIELD_WORD, RESULT(exceeded), exceeded_words},
	{"reason", FIELD_TEXT, RESULT(reason), NULL},
	{"wall-usec", FIELD_U64, RESULT(wall_usec), NULL},
	{"cpu-usec", FIELD_U64, RESULT(cpu_usec), NULL},
	{"peak-memory", FIELD_U64, RESULT(peak_memory), NULL},
	{"peak-disk", FIELD_U64, RESULT(peak_disk), NULL},
	{"local-size", FIELD_U64, RESULT(local_size), NULL},
	{"moved-size", FIELD_U64, RESULT(moved_size), NULL},
	{"peer-size", FIELD_U64, RESULT(peer_size), NULL},
	{"source-size", FIELD_U64, RESULT(source_size), NULL},
	{"client-size", FIELD_U64, RESULT(client_size), NULL},
	{"written-size", FIELD_U64, RESULT(written_size), NULL},
	{"n-left", FIELD_U64, RESULT(n_left), NULL},
	{"left", FIELD_TEXTS, RESULT(left), NULL},
	{"out-size", FIELD_U64, RESULT(out_size), NULL},
	{"err-size", FIELD_U64, RESULT(err_size), NULL},
	{"out", FIELD_BYTES, RESULT(out), NULL},
	{"err", FIELD_BYTES, RESULT(err), NULL},
};

#define NOTICE(name) offsetof(struct wire_event, name)
static const struct field notice_fields[] = {
	{"type", FIELD_TEXT, NOTICE(what), NULL},
	{"at-usec", FIELD_U64, NOTICE(at_usec), NULL},
	{"node", FIELD_TEXT, NOTICE(node), NULL},
	{"reason", FIELD_TEXT, NOTICE(reason), NULL},
};

static const struct field *fields_of(const struct vine_event *e, size_t *n)
{
	*n = e->result ? countof(result_fields) : countof(notice_fields);
	return e->result ? result_fields : notice_fields;
}

static void event_free(struct vine_event *e)
{
	size_t n;
	fields_of(e, &n);
	for (size_t i = 0; e->texts && i < n; i++)
		free(e->texts[i]);
	free(e->texts);
	free(e->result);
	free(e->notice);
	free(e);
}

static struct vine_event *event_new(struct vine *v)
{
	struct vine_event *e = NEW(struct vine_event);
	e->v = v;
	list_init(&e->link);
	list_init(&e->by_tag);
	list_init(&e->by_category);
	return e;
}

void event_drop_all(struct vine *v)
{
	list_foreach (&v->ready.all, struct vine_event, link, e) {
		ready_take(v, e);
		event_free(e);
	}
}

void event_expect(struct vine *v, const struct wire_submitted *m, const struct wire_task *tasks, const bool *is_new)
{
	uint64_t n_open = 0, n_early = 0, n_keyed = 0, n_also, last;
	for (uint32_t i = 0; i < m->ids.n; i++) {
		uint64_t n = max(tasks[i].array_n, (uint64_t)1);
		if (add_overflows(m->ids.at[i], n, &last))
			continue;
		uint64_t n_fresh = ids_add_range(&v->posted, m->ids.at[i], n, &v->seen, &n_also);
		n_open += n_fresh - n_also;
		n_keyed += is_new[i] ? 0 : n_fresh;
		n_early += is_new[i] ? n_also : 0;
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
	struct vine_event *e = event_new(v);
	e->result = wire_copy(WIRE_RESULT, r);
	pthread_mutex_lock(&v->lock);
	if (ids_has(&v->posted, r->task)) {
		assert(v->n_open);
		v->n_open--;
	} else {
		v->n_found--;
	}
	ready_put(v, e);
	if (!v->n_open && v->n_found <= 0)
		ready_wake_all(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

void event_noticed(struct vine *v, const struct wire_event *m)
{
	if (!v->is_watching || !has_prefix(m->what, "node-"))
		return;
	struct vine_event *e = event_new(v), *surplus;
	e->notice = wire_copy(WIRE_EVENT, m);
	pthread_mutex_lock(&v->lock);
	surplus = ready_surplus(&v->ready);
	if (surplus)
		ready_take(v, surplus);
	ready_put(v, e);
	pthread_mutex_unlock(&v->lock);
	if (surplus)
		event_free(surplus);
}

static int selector_parse(struct selector *s, const char *text)
{
	*s = (struct selector){.by = SELECT_ALL};
	if (!text || !*text)
		return 0;
	if (streq(text, "nodes")) {
		s->by = SELECT_NODES;
		return 0;
	}
	if (has_prefix(text, "tag:") || has_prefix(text, "category:")) {
		s->by = *text == 't' ? SELECT_TAG : SELECT_CATEGORY;
		s->word = strchr(text, ':') + 1;
		return 0;
	}
	char *end;
	errno = 0;
	s->by = SELECT_TASK;
	s->task = strtoull(text, &end, 10);
	if (errno || *end || !s->task || *text < '0' || *text > '9')
		return error_set(EINVAL, "selector '%s': wants a task's number, tag:WORD, category:WORD or nodes",
				 text);
	return 0;
}

/* Lock held. Nodes come and go whether tasks are left or not. */
static bool is_nothing_left(const struct vine *v, const struct selector *s)
{
	return s->by != SELECT_NODES && !v->n_open && v->n_found <= 0;
}

/* Lock held: 1 with the event, 0 when the time is over, or -errno. */
static int event_wait(struct vine *v, const struct selector *s, int msec, struct vine_event **out)
{
	struct timespec until;
	struct vine_event *e;
	int r = 0;
	session_deadline(&until, msec > 0 ? (uint64_t)msec * 1000 : 0);
	while (!(e = ready_find(&v->ready, s))) {
		if (v->is_closing)
			return error_set(ECANCELED, "the session is being closed");
		if (v->broken)
			return error_set(v->broken, "%s", v->why_broken);
		if (is_nothing_left(v, s))
			return error_set(ENODATA, "nothing is left to wait for");
		if (msec == 0 || r == ETIMEDOUT) {
			/* That there may be room again was told by the descriptor. */
			v->ready.has_room = false;
			ready_settle(v);
			return 0;
		}
		r = ready_wait(v, s, msec < 0 ? NULL : &until);
	}
	ready_take(v, e);
	v->n_events++;
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

/* A line each; what names hold is escaped so that it stays one. */
static char *event_lines(const struct wire_texts *t)
{
	_cleanup_(buf_fini) struct buf lines = {0};
	for (uint32_t i = 0; i < t->n; i++) {
		size_t n = 4 * strlen(t->at[i]) + 1;
		_free_ char *line = xmalloc(n);
		buf_printf(&lines, "%s%s", i ? "\n" : "", log_escape(t->at[i], strlen(t->at[i]), line, n));
	}
	return buf_steal_text(&lines);
}

static const char *event_word(const struct field *f, uint8_t i)
{
	size_t n = 0;
	while (f->words[n])
		n++;
	return f->words[i < n ? i : 0];
}

int64_t vine_event_get(struct vine_event *e, const char *name, const char **value)
{
	size_t n, i = 0;
	const struct field *f = fields_of(e, &n);
	while (i < n && !streq(f[i].name, name))
		i++;
	if (i == n)
		return error_set(EINVAL, "%s has no '%s'", e->result ? "a result" : e->notice->what, name);
	f += i;
	e->texts = e->texts ?: xcalloc(n, sizeof *e->texts);
	char **text = &e->texts[i];
	const void *at = (e->result ? (const char *)e->result : (const char *)e->notice) + f->offset;
	switch (f->type) {
	case FIELD_TYPE:
		*value = "result";
		break;
	case FIELD_TEXT:
		*value = *(const char *const *)at;
		break;
	case FIELD_WORD:
		*value = event_word(f, *(const uint8_t *)at);
		break;
	case FIELD_BYTES:
		*value = *text = *text ?: event_bytes(at);
		return ((const struct wire_bytes *)at)->n;
	case FIELD_TEXTS:
		*value = *text = *text ?: event_lines(at);
		break;
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
	if (e->result && !v->is_closed) {
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
