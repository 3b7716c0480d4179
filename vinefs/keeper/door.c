/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_LEAST (64u << 10)

void door_tell(struct door *d, const struct keeper_report *report)
{
	assert(report->length == sizeof *report);
	if (d->fd < 0)
		return;
	if (d->n_out + sizeof *report > d->room_out) {
		uint32_t room = d->room_out ? 2 * d->room_out : IN_LEAST;
		char *out = realloc(d->out, room);
		/* A vinefs that missed a report is of no use; the next one will be told all. */
		if (!out) {
			shutdown(d->fd, SHUT_RDWR);
			return;
		}
		d->out = out;
		d->room_out = room;
	}
	memcpy(d->out + d->n_out, report, sizeof *report);
	d->n_out += sizeof *report;
}

void door_say(struct door *d, enum keeper_report_type type)
{
	door_tell(d, &(struct keeper_report){.length = sizeof(struct keeper_report), .type = type});
}

int door_send(struct door *d)
{
	if (d->fd < 0 || !d->n_out)
		return 0;
	ssize_t n = send(d->fd, d->out, d->n_out, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	memmove(d->out, d->out + n, d->n_out - (size_t)n);
	d->n_out -= (uint32_t)n;
	return 0;
}

/* The length of the request that begins at `at`; 0 as long as it cannot be told. */
static uint32_t length_at(const struct door *d, uint32_t at)
{
	uint32_t length = 0;
	if (d->n_in - at >= sizeof length)
		memcpy(&length, d->in + at, sizeof length);
	return length;
}

static int make_room(struct door *d)
{
	uint32_t need = length_at(d, 0), room = need > IN_LEAST ? need : IN_LEAST;
	/* A large one's room is given back, so that it does not make every later fork dearer. */
	if (room == d->room_in || d->n_in > room)
		return 0;
	char *in = realloc(d->in, room);
	if (!in)
		return -ENOMEM;
	d->in = in;
	d->room_in = room;
	return 0;
}

int door_receive(struct door *d, bool (*on_request)(const struct keeper_request *q, void *arg), void *arg)
{
	uint32_t at = 0, length;
	if (d->n_out > DOOR_HIGH)
		return 0;
	int error = make_room(d);
	if (error)
		return error;
	ssize_t n = recv(d->fd, d->in + d->n_in, d->room_in - d->n_in, MSG_DONTWAIT);
	if (n <= 0)
		return n == 0 ? -EPIPE : errno == EAGAIN || errno == EINTR ? 0 : -errno;
	d->n_in += (uint32_t)n;
	for (; (length = length_at(d, at)); at += length) {
		if (length < sizeof(struct keeper_request) || length > KEEPER_REQUEST_MAX || length % 8)
			return -EBADMSG;
		if (length > d->n_in - at)
			break;
		if (!on_request((const struct keeper_request *)(void *)(d->in + at), arg))
			return -EBADMSG;
	}
	memmove(d->in, d->in + at, d->n_in - at);
	d->n_in -= at;
	return 0;
}

void door_close(struct door *d)
{
	if (d->fd >= 0)
		close(d->fd);
	free(d->in);
	free(d->out);
	*d = (struct door){.fd = -1};
}
