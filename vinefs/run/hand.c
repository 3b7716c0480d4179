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
		h->on_report(h, &report);
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
	buf_put(&h->out, q, sizeof *q);
	/* What cannot leave now, or finds nobody, is seen by the watch. */
	if (q->length == sizeof *q && !(h->watch.events & EPOLLOUT))
		send_some(h);
}

static void put_texts(struct buf *b, const char *const *texts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf_put(b, texts[i], strlen(texts[i]) + 1);
}

static uint64_t texts_size(const char *const *texts, uint32_t n)
{
	uint64_t size = 0;
	for (uint32_t i = 0; i < n; i++)
		size += strlen(texts[i]) + 1;
	return size;
}

int hand_send_start(struct hand *h, const struct hand_start *s)
{
	static const char padding[8];
	const char *const places[] = {s->directory, s->out, s->err};
	uint64_t size = sizeof(struct keeper_request) + texts_size(places, 3) + texts_size(s->argv, s->n_argv) +
			texts_size(s->environment, s->n_environment);
	uint64_t padded = (size + 7) & ~UINT64_C(7);
	assert(s->attempt && s->n_argv);
	if (padded > KEEPER_REQUEST_MAX)
		return -E2BIG;
	struct keeper_request q = {.length = (uint32_t)padded,
				   .type = KEEPER_START,
				   .attempt = s->attempt,
				   .task = s->task,
				   .n_argv = s->n_argv,
				   .n_environment = s->n_environment};
	put_request(h, &q);
	if (h->fd < 0)
		return 0;
	put_texts(&h->out, places, 3);
	put_texts(&h->out, s->argv, s->n_argv);
	put_texts(&h->out, s->environment, s->n_environment);
	buf_put(&h->out, padding, (size_t)(padded - size));
	if (!(h->watch.events & EPOLLOUT))
		send_some(h);
	return 0;
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
