/* SPDX-License-Identifier: Apache-2.0
 * The end of a node whose vined is away for so long and that nobody else needs either. */
#include "vinefs/link_internal.h"

#include "common/log.h"

#define LOOK_MOST_USEC 15000000u

bool idle_is_used(const struct link *k)
{
	return k->parts.is_used && k->parts.is_used(k->parts.arg);
}

void link_get_numbers(const struct link *k, struct link_numbers *n)
{
	uint32_t n_held = 0;
	free(run_held(k->run, &n_held));
	*n = (struct link_numbers){.is_joined = k->is_joined, .n_attempts = n_held, .client_size = k->client_size};
	if (k->serve) {
		struct serve_numbers s;
		serve_get_numbers(k->serve, &s);
		n->given_size = s.given_size;
		n->n_gifts = s.n_queued;
	}
	if (!k->fetch_peers)
		return;
	struct fetch_peers_numbers p;
	fetch_peers_get_numbers(k->fetch_peers, &p);
	n->n_pulls = p.n_pulls;
	n->n_neighbours = p.n_neighbours;
	n->n_asked = p.n_asked;
	n->n_wrong = p.n_wrong;
}

static bool is_needed(const struct link *k)
{
	struct link_numbers n;
	link_get_numbers(k, &n);
	return n.is_joined || n.n_attempts || idle_is_used(k);
}

static void on_time(struct timer *t)
{
	struct link *k = container_of(t, struct link, idle);
	uint64_t now = loop_now_usec(k->loop), limit = k->settings->idle_exit;
	if (is_needed(k))
		k->idle_since_usec = now;
	if (now - k->idle_since_usec >= limit) {
		log_info("no vined for a while, and nobody else needs this node");
		link_leave(k);
		return;
	}
	timer_start(&k->idle, k->loop, min(limit / 4 + 1, (uint64_t)LOOK_MOST_USEC), on_time);
}

void idle_start(struct link *k)
{
	uint64_t limit = k->settings->idle_exit;
	k->idle_since_usec = loop_now_usec(k->loop);
	if (limit)
		timer_start(&k->idle, k->loop, min(limit / 4 + 1, (uint64_t)LOOK_MOST_USEC), on_time);
}

void idle_stop(struct link *k)
{
	timer_stop(&k->idle);
}
