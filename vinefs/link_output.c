/* SPDX-License-Identifier: Apache-2.0
 * READ_OUTPUT: a file is sent as far as it is. Followed, it is looked at again until its attempt is over, and then once more. */
#include "vinefs/link_internal.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUTS_MOST 64u    /* being read at once: each holds a descriptor */
#define FOLLOW_USEC 100000u /* between two looks */

struct output {
	struct list link;
	struct link *owner;
	struct stream stream;
	struct timer timer;
	int fd; /* -1: it is not there yet */
	uint64_t attempt, offset;
	uint8_t which;
	bool is_followed, was_over;
};

static void free_output(struct output *o)
{
	assert(o->owner->n_outputs);
	o->owner->n_outputs--;
	timer_stop(&o->timer);
	list_remove(&o->link);
	close_fd(o->fd);
	free(o);
}

static void end_output(struct output *o, int error)
{
	stream_end(&o->stream, error);
	free_output(o);
}

/* Whoever is over says so in ENDED; until that is on its way there may be more. */
static bool is_over(const struct link *k, uint64_t attempt)
{
	uint32_t n;
	_free_ struct wire_held *held = run_held(k->run, &n);
	for (uint32_t i = 0; i < n; i++)
		if (held[i].attempt == attempt)
			return link_is_delivering(k, attempt);
	return true;
}

static void on_look(struct timer *t);

static void look(struct output *o)
{
	struct stat st;
	uint64_t size;
	/* First: what is written between the two looks is then sent by the next. */
	bool was_over = o->was_over;
	o->was_over = !o->is_followed || is_over(o->owner, o->attempt);
	if (o->fd < 0)
		o->fd = run_open_output(o->owner->run, o->attempt, o->which, &size);
	if (o->fd < 0 && (o->was_over || o->fd != -ENOENT)) {
		end_output(o, o->fd);
	} else if (o->fd >= 0 && fstat(o->fd, &st) < 0) {
		end_output(o, -errno);
	} else if (o->fd >= 0 && (uint64_t)st.st_size > o->offset) {
		size = (uint64_t)st.st_size - o->offset;
		stream_send_file(&o->stream, o->fd, o->offset, size);
		o->offset += size;
	} else if (o->was_over && (was_over || !o->is_followed)) {
		end_output(o, 0);
	} else {
		timer_start(&o->timer, o->owner->loop, o->was_over ? 0 : FOLLOW_USEC, on_look);
	}
}

static void on_look(struct timer *t)
{
	look(container_of(t, struct output, timer));
}

static void on_room(struct stream *s)
{
	struct output *o = container_of(s, struct output, stream);
	if (s->rest)
		return;
	if (o->is_followed)
		look(o);
	else
		end_output(o, 0);
}

static void on_stop(struct stream *s, int error)
{
	assert(error <= 0);
	free_output(container_of(s, struct output, stream));
}

void output_send(struct link *k, struct conn *c, uint64_t id, const struct wire_read_output *m)
{
	static const struct wire_status ok = {.error = 0};
	uint64_t size;
	if (k->n_outputs == OUTPUTS_MOST) {
		conn_reply_status(c, id, EAGAIN, "node %s: %u outputs are being read already; try again",
				  k->settings->name, k->n_outputs);
		return;
	}
	int fd = run_open_output(k->run, m->attempt, m->which, &size);
	/* Its sandbox may not have been made yet. */
	bool is_early = fd == -ENOENT && m->follow && !is_over(k, m->attempt);
	if (fd < 0 && !is_early) {
		conn_reply_status(c, id, -fd, "output of attempt %llu on node %s: %s", (unsigned long long)m->attempt,
				  k->settings->name, fd == -ENOENT ? "no longer there" : strerror(-fd));
		return;
	}
	struct output *o = NEW(struct output);
	*o = (struct output){.owner = k,
			     .fd = max(fd, -1),
			     .attempt = m->attempt,
			     .which = m->which,
			     .offset = m->offset,
			     .is_followed = m->follow,
			     .stream = {.on_room = on_room, .on_stop = on_stop}};
	k->n_outputs++;
	list_init(&o->link);
	list_append(&k->outputs, &o->link);
	if (stream_start(&o->stream, c, id, WIRE_STATUS, &ok))
		free_output(o);
	else
		look(o);
}

void output_close(struct link *k)
{
	list_foreach (&k->outputs, struct output, link, o)
		free_output(o);
}
