/* SPDX-License-Identifier: Apache-2.0 */
#include "common/metrics.h"

#include "common/http.h"
#include "common/list.h"
#include "common/log.h"
#include "common/net.h"
#include "common/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTIONS_MOST 16u
#define PER_TURN 4u
#define BACKLOG 128
#define PATIENCE_USEC 10000000u /* for all of one question and its answer */
#define LINGER_USEC 1000000u    /* for the other side to close first */
#define PAUSE_USEC 1000000u     /* when the process has no descriptors left */
#define PAGE "/metrics"
#define TYPE "text/plain; version=0.0.4; charset=utf-8"

/* ---- the text */

static void put_head(struct metrics *m, size_t metric)
{
	const struct metric *t = &m->table[metric];
	assert(metric < m->n_table);
	/* Again the one before, or the next one. */
	assert(metric + 1 == m->n_put || metric == m->n_put);
	if (metric < m->n_put)
		return;
	buf_printf(&m->out, "# HELP %s %s\n# TYPE %s %s\n", t->name, t->help, t->name, t->type);
	m->n_put++;
}

static void put_name(struct metrics *m, size_t metric, const char *suffix, const char *label, const char *value)
{
	buf_printf(&m->out, "%s%s", m->table[metric].name, suffix);
	if (!*label) {
		assert(!*value);
		return;
	}
	buf_printf(&m->out, "{%s=\"", label);
	for (; *value; value++) {
		if (*value == '\n')
			buf_puts(&m->out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_printf(&m->out, "\\%c", *value);
		else
			buf_put(&m->out, value, 1);
	}
	buf_puts(&m->out, "\"}");
}

void metrics_put(struct metrics *m, size_t metric, const char *value, uint64_t n)
{
	put_head(m, metric);
	put_name(m, metric, "", m->table[metric].label, value);
	buf_printf(&m->out, " %" PRIu64 "\n", n);
}

static void put_seconds(struct metrics *m, uint64_t usec)
{
	buf_printf(&m->out, " %" PRIu64 ".%06" PRIu64 "\n", usec / 1000000, usec % 1000000);
}

void metrics_put_usec(struct metrics *m, size_t metric, const char *value, uint64_t usec)
{
	put_head(m, metric);
	put_name(m, metric, "", m->table[metric].label, value);
	put_seconds(m, usec);
}

static uint64_t bucket_usec(unsigned i)
{
	return UINT64_C(64) << 2 * i;
}

void metrics_time(struct metrics_times *t, uint64_t usec)
{
	unsigned i = 0;
	while (i + 1 < METRICS_BUCKETS && usec > bucket_usec(i))
		i++;
	t->n[i]++;
	t->sum_usec += usec;
}

/* Each bucket counts what is in those before it, too; the last one has no bound. */
void metrics_put_times(struct metrics *m, size_t metric, const struct metrics_times *t)
{
	char bound[32];
	uint64_t n = 0;
	put_head(m, metric);
	for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
		uint64_t usec = bucket_usec(i);
		snprintf(bound, sizeof bound, "%" PRIu64 ".%06" PRIu64, usec / 1000000, usec % 1000000);
		put_name(m, metric, "_bucket", "le", i + 1 < METRICS_BUCKETS ? bound : "+Inf");
		buf_printf(&m->out, " %" PRIu64 "\n", n += t->n[i]);
	}
	put_name(m, metric, "_sum", "", "");
	put_seconds(m, t->sum_usec);
	put_name(m, metric, "_count", "", "");
	buf_printf(&m->out, " %" PRIu64 "\n", n);
}

/* ---- the server */

struct metrics_server {
	struct metrics_options o;
	struct watch watch;
	struct timer pause;
	struct list asking;
	unsigned n_asking;
	struct net_address at;
	char address[NET_TEXT_SIZE];
	struct log_limit exhausted;
};

/* A request is read, the answer is written, and then what else comes is thrown away until the other side closes: to close first would have the
 * kernel throw away the end of the answer. */
enum asker_state { ASKER_READING, ASKER_WRITING, ASKER_LINGERING };
struct asker {
	struct list link;
	struct metrics_server *server;
	struct watch watch;
	struct timer timer;
	enum asker_state state;
	struct buf in, out;
};

static void on_connection(struct watch *w, uint32_t events);

static void asker_free(struct asker *a)
{
	struct metrics_server *s = a->server;
	int fd = a->watch.fd;
	assert(s->n_asking);
	s->n_asking--;
	list_remove(&a->link);
	timer_stop(&a->timer);
	watch_stop(&a->watch);
	close_fd(fd);
	buf_fini(&a->in);
	buf_fini(&a->out);
	free(a);
	/* There is room for the next one. */
	if (s->watch.loop && !s->pause.loop)
		watch_change(&s->watch, EPOLLIN);
}

static void on_asker_expire(struct timer *t)
{
	asker_free(container_of(t, struct asker, timer));
}

static void answer(struct asker *a, int status, const struct http_request *r)
{
	const struct metrics_options *o = &a->server->o;
	struct metrics m = {.table = o->table, .n_table = o->n_table};
	if (status == 200) {
		o->collect(o->arg, &m);
		assert(m.n_put == m.n_table);
	}
	http_put_head(&a->out, status, TYPE, m.out.n);
	if (status == 200 && !r->is_head)
		buf_put(&a->out, m.out.at, m.out.n);
	buf_fini(&m.out);
	a->state = ASKER_WRITING;
}

/* Each step: 1, go on with the next one; 0, wait; or -errno, it is over. */
static int asker_read(struct asker *a)
{
	struct http_request r;
	uint8_t *to = buf_reserve(&a->in, 1024);
	ssize_t n = recv(a->watch.fd, to, 1024, 0);
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	buf_grew(&a->in, (size_t)n);
	int status = http_parse(a->in.at, a->in.n, PAGE, &r);
	assert(status || a->in.n <= HTTP_REQUEST_MOST);
	if (!status)
		return 0;
	answer(a, status, &r);
	return 1;
}

static int asker_write(struct asker *a)
{
	ssize_t n = send(a->watch.fd, a->out.at, a->out.n, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	buf_consume(&a->out, (size_t)n);
	if (a->out.n)
		return 0;
	shutdown(a->watch.fd, SHUT_WR);
	a->state = ASKER_LINGERING;
	timer_start(&a->timer, a->server->o.loop, LINGER_USEC, on_asker_expire);
	return 1;
}

static int asker_linger(struct asker *a)
{
	char nothing[1024];
	ssize_t n = recv(a->watch.fd, nothing, sizeof nothing, 0);
	return n > 0 ? 0 : n < 0 ? -errno : -ECONNRESET;
}

static void on_asker(struct watch *w, uint32_t events)
{
	static int (*const steps[])(struct asker *) = {asker_read, asker_write, asker_linger};
	struct asker *a = container_of(w, struct asker, watch);
	int r;
	(void)events;
	do
		r = steps[a->state](a);
	while (r > 0);
	if (r < 0 && r != -EAGAIN && r != -EINTR)
		asker_free(a);
	else
		watch_change(w, a->state == ASKER_WRITING ? EPOLLOUT : EPOLLIN);
}

static void take(struct metrics_server *s, int fd)
{
	struct asker *a = NEW(struct asker);
	a->server = s;
	if (watch_start(&a->watch, s->o.loop, fd, EPOLLIN, on_asker) < 0) {
		close_fd(fd);
		free(a);
		return;
	}
	list_init(&a->link);
	list_append(&s->asking, &a->link);
	s->n_asking++;
	timer_start(&a->timer, s->o.loop, PATIENCE_USEC, on_asker_expire);
}

static void on_pause(struct timer *t)
{
	struct metrics_server *s = container_of(t, struct metrics_server, pause);
	watch_change(&s->watch, EPOLLIN);
}

static void on_connection(struct watch *w, uint32_t events)
{
	struct metrics_server *s = container_of(w, struct metrics_server, watch);
	(void)events;
	for (unsigned i = 0; i < PER_TURN && s->n_asking < CONNECTIONS_MOST; i++) {
		int fd = net_accept(w->fd, NULL);
		if (fd >= 0) {
			take(s, fd);
		} else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
			/* The kernel goes on announcing what cannot be accepted. */
			log_limited(&s->exhausted, 1, LOG_LEVEL_ERROR, "metrics at %s: accept: %s", s->address,
				    strerror(-fd));
			watch_change(w, 0);
			timer_start(&s->pause, s->o.loop, PAUSE_USEC, on_pause);
			return;
		} else if (fd == -EAGAIN) {
			return;
		}
	}
	if (s->n_asking >= CONNECTIONS_MOST)
		watch_change(w, 0);
}

static int start(struct metrics_server *s, const char *where)
{
	int r = net_parse(where, &s->at);
	int fd = r ? r : net_listen(&s->at, BACKLOG);
	if (fd < 0)
		return fd;
	if (!net_is_local(&s->at))
		net_own_address(fd, &s->at);
	net_text(&s->at, s->address);
	r = watch_start(&s->watch, s->o.loop, fd, EPOLLIN, on_connection);
	if (r)
		close_fd(fd);
	return r;
}

int metrics_listen(struct metrics_server **out, const struct metrics_options *o, struct conf_error *e)
{
	assert(o->loop && o->collect && o->table && o->n_table);
	*out = NULL;
	if (streq(o->where, "none"))
		return 0;
	_free_ char *preset = path_join(o->state, "metrics");
	const char *where = *o->where ? o->where : preset;
	struct metrics_server *s = NEW(struct metrics_server);
	s->o = *o;
	list_init(&s->asking);
	int r = start(s, where);
	if (!r) {
		*out = s;
		return 0;
	}
	free(s);
	snprintf(e->text, sizeof e->text, "cannot give out metrics at %s: %s", where,
		 r == -EINVAL ? "it is no path of a socket, HOST:PORT or none" : strerror(-r));
	if (*o->where)
		return r;
	/* Nobody has asked for them, so nothing may fail for them. */
	log_warn("%s", e->text);
	return 0;
}

void metrics_server_free(struct metrics_server *s)
{
	if (!s)
		return;
	int fd = s->watch.fd;
	timer_stop(&s->pause);
	watch_stop(&s->watch);
	list_foreach (&s->asking, struct asker, link, a)
		asker_free(a);
	close_fd(fd);
	if (net_is_local(&s->at))
		unlink(s->address);
	free(s);
}

const char *metrics_address(const struct metrics_server *s)
{
	return s->address;
}
