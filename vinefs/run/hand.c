/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/hand.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64u * sizeof(struct keeper_report))

_Static_assert(sizeof(struct keeper_request) % 8 == 0, "requests follow each other aligned");
_Static_assert(sizeof(struct keeper_report) % 8 == 0, "reports follow each other aligned");

static void lose(struct hand *h)
{
	watch_stop(&h->watch);
	h->fd = close_fd(h->fd);
	h->on_loss(h);
}

static bool send_some(struct hand *h)
{
	while (h->out.n) {
		ssize_t n = send(h->fd, h->out.at, h->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			break;
		buf_consume(&h->out, (size_t)n);
	}
	uint32_t events = h->out.n ? EPOLLIN | EPOLLOUT : EPOLLIN;
	if (h->watch.events != events)
		watch_change(&h->watch, events);
	return true;
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct hand *h = container_of(w, struct hand, watch);
	if ((events & EPOLLOUT) && !send_some(h)) {
		lose(h);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recv(h->fd, buf_reserve(&h->in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		lose(h);
		return;
	}
	buf_grew(&h->in, n > 0 ? (size_t)n : 0);
	while (h->in.n >= sizeof(struct keeper_report) && h->fd >= 0) {
		struct keeper_report report;
		memcpy(&report, h->in.at, sizeof report);
		assert(report.length == sizeof report);
		report.what[sizeof report.what - 1] = 0;
		buf_consume(&h->in, sizeof report);
		void (*on)(struct hand *, const struct keeper_report *) =
			report.type == KEEPER_DONE ? h->on_done : h->on_report;
		if (on)
			on(h, &report);
	}
}

int hand_init(struct hand *h, struct loop *l, int fd, void (*on_report)(struct hand *, const struct keeper_report *),
	      void (*on_loss)(struct hand *))
{
	assert(fd >= 0 && on_report && on_loss);
	*h = (struct hand){.fd = fd, .on_report = on_report, .on_loss = on_loss};
	if (fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	return watch_start(&h->watch, l, fd, EPOLLIN, on_ready);
}

void hand_fini(struct hand *h)
{
	watch_stop(&h->watch);
	h->fd = close_fd(h->fd);
	buf_fini(&h->in);
	buf_fini(&h->out);
}

static void put_request(struct hand *h, const struct keeper_request *q)
{
	if (h->fd < 0)
		return;
	assert(q->length == sizeof *q);
	buf_put(&h->out, q, sizeof *q);
	if (!(h->watch.events & EPOLLOUT))
		send_some(h);
}

static void put_text(struct buf *b, const char *text)
{
	buf_put(b, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void put_texts(struct buf *b, const char *const *texts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		put_text(b, texts[i]);
}

/* In the order of keeper.h. */
static void put_body(struct buf *b, const struct hand_start *s)
{
	const char *const places[] = {s->directory, s->in, s->out, s->err};
	for (uint32_t i = 0; i < s->n_steps; i++)
		buf_put(b, (const uint32_t[]){s->steps[i].op, s->steps[i].flags}, 2 * sizeof(uint32_t));
	for (uint32_t i = 0; i < s->n_cores; i++)
		buf_put(b, &s->cores[i], sizeof s->cores[i]);
	for (uint32_t i = 0; i < s->n_limits; i++)
		buf_put(b, &s->limits[i], sizeof s->limits[i]);
	put_texts(b, places, countof(places));
	for (uint32_t i = 0; i < s->n_steps; i++)
		put_texts(b, (const char *const[]){s->steps[i].from, s->steps[i].to, s->steps[i].data}, 3);
	put_texts(b, s->cgroups, s->n_cgroups);
	put_texts(b, s->argv, s->n_argv);
	put_texts(b, s->environment, s->n_environment);
}

static int send_whole(struct hand *h, enum keeper_request_type type, const struct hand_start *s)
{
	static const char padding[8];
	_cleanup_(buf_fini) struct buf body = {0};
	assert(s->attempt && s->n_kept <= s->n_steps);
	put_body(&body, s);
	buf_put(&body, padding, (8 - body.n % 8) % 8);
	if (sizeof(struct keeper_request) + body.n > KEEPER_REQUEST_MAX)
		return -E2BIG;
	struct keeper_request q = {.length = (uint32_t)(sizeof q + body.n),
				   .type = type,
				   .attempt = s->attempt,
				   .task = s->task,
				   .grace_msec = s->view_msec,
				   .n_argv = s->n_argv,
				   .n_environment = s->n_environment,
				   .flags = s->flags,
				   .mask = s->mask,
				   .stem = s->stem,
				   .kept = s->kept,
				   .n_kept = s->n_kept,
				   .n_steps = s->n_steps,
				   .n_cgroups = s->n_cgroups,
				   .n_cores = s->n_cores,
				   .n_limits = s->n_limits};
	if (h->fd < 0)
		return 0;
	buf_put(&h->out, &q, sizeof q);
	buf_put(&h->out, body.at, body.n);
	/* What cannot leave now, or finds nobody, is seen by the watch. */
	if (!(h->watch.events & EPOLLOUT))
		send_some(h);
	return 0;
}

int hand_send_start(struct hand *h, const struct hand_start *s)
{
	assert(s->n_argv);
	return send_whole(h, KEEPER_START, s);
}

int hand_send_do(struct hand *h, const struct hand_start *s)
{
	assert(s->n_argv || s->n_steps);
	return send_whole(h, KEEPER_DO, s);
}

void hand_send_unkeep(struct hand *h, uint64_t kept)
{
	struct keeper_request q = {.length = sizeof q, .type = KEEPER_UNKEEP, .kept = kept};
	put_request(h, &q);
}

void hand_send_kill(struct hand *h, uint64_t attempt, int signo, uint64_t grace_usec)
{
	uint64_t msec = min(grace_usec / 1000 + (grace_usec % 1000 != 0), (uint64_t)INT32_MAX);
	struct keeper_request q = {.length = sizeof q,
				   .type = KEEPER_KILL,
				   .attempt = attempt,
				   .signo = signo,
				   .grace_msec = (uint32_t)msec};
	put_request(h, &q);
}

void hand_send_taken(struct hand *h, uint64_t attempt)
{
	struct keeper_request q = {.length = sizeof q, .type = KEEPER_TAKEN, .attempt = attempt};
	put_request(h, &q);
}

void hand_send_leave(struct hand *h)
{
	struct keeper_request q = {.length = sizeof q, .type = KEEPER_LEAVE};
	put_request(h, &q);
}
