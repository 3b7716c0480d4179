/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/swarm_world.h"

/* ---- nodes come and go */

static uint32_t size_of_chunk(void *arg, uint64_t chunk)
{
	(void)chunk;
	return ((const struct sim *)arg)->o.chunk_size;
}

static void member_init(struct sim *s, struct node *n, unsigned tree)
{
	struct member *m = sim_member(s, n->number, tree);
	struct swarm_options o = {.n_chunks = s->o.n_chunks,
				  .size_of = size_of_chunk,
				  .arg = s,
				  .rank = SWARM_BULK,
				  .window_usec = s->o.window_usec,
				  .seed = sim_dice(s, UINT32_MAX)};
	m->node = n;
	m->tree = tree;
	list_init(&m->asks);
	m->swarm = swarm_new(&o);
	m->given = swarm_given_new(s->o.n_chunks, sim_dice(s, UINT32_MAX));
	m->untold = xcalloc(s->o.n_chunks, sizeof *m->untold);
}

static bool meet(struct member *m, struct member *other)
{
	if (other->node->is_gone || other->n_peers == SWARM_NEIGHBOURS_MOST || member_peer(m, other))
		return false;
	member_watch(m, other);
	member_watch(other, m);
	return true;
}

/* A newcomer meets some of those that were there before; half of them of its rack. */
static void begin(struct sim *s, struct member *m)
{
	unsigned n = m->node->number, most = s->o.n_neighbours;
	for (unsigned i = 0; i < n && n <= most; i++)
		meet(m, sim_member(s, i, m->tree));
	for (unsigned i = 0; n > most && m->n_peers < most && i < 40 * most; i++) {
		unsigned other = (unsigned)sim_dice(s, n);
		if (!s->o.n_racks || m->n_peers >= most / 2 || s->nodes[other].rack == m->node->rack || i > 20 * most)
			meet(m, sim_member(s, other, m->tree));
	}
	s->n_left++;
	member_pump(m);
}

static void node_init(struct sim *s, unsigned number)
{
	struct node *n = &s->nodes[number];
	double rate = s->o.rate;
	n->sim = s;
	n->number = number;
	n->is_slow = number && number <= s->o.n_slow;
	if (n->is_slow)
		rate /= s->o.slower;
	n->rack = s->o.n_racks ? number % s->o.n_racks : 0;
	n->up.rate = n->down.rate = rate;
	list_init(&n->queue);
	for (unsigned t = 0; t < s->o.n_trees; t++)
		member_init(s, n, t);
}

static void on_join(void *arg, uint64_t number)
{
	struct sim *s = arg;
	for (unsigned t = 0; t < s->o.n_trees; t++)
		begin(s, sim_member(s, (unsigned)number, t));
}

static void on_leave(void *arg, uint64_t number)
{
	struct sim *s = arg;
	struct node *n = &s->nodes[number];
	n->is_gone = true;
	for (unsigned t = 0; t < s->o.n_trees; t++) {
		struct member *m = sim_member(s, n->number, t);
		s->n_left -= swarm_n_missing(m->swarm) != 0;
		for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
			if (!m->peers[i])
				continue;
			struct member *other = m->peers[i]->other;
			member_unwatch(m, other);
			member_unwatch(other, m);
			member_pump(other);
		}
	}
}

static void on_source(void *arg, uint64_t chunk)
{
	struct sim *s = arg;
	for (unsigned t = 0; t < s->o.n_trees; t++)
		member_has(sim_member(s, 0, t), chunk);
	if (chunk + 1 < s->o.n_chunks)
		clock_at(&s->clock, s->clock.nsec + (uint64_t)(s->o.chunk_size / s->o.source_rate * s->o.n_trees * 1e9),
			 on_source, s, chunk + 1);
}

static void on_read(void *arg, uint64_t unused)
{
	struct sim *s = arg;
	struct member *m = sim_member(s, 1, 0);
	uint64_t chunk = sim_dice(s, s->o.n_chunks), n = 0;
	(void)unused;
	if (!swarm_n_missing(m->swarm))
		return;
	while (swarm_is_here(m->swarm, chunk) && n++ < s->o.n_chunks)
		chunk = (chunk + 1) % s->o.n_chunks;
	if (s->read_chunk == SWARM_NONE) {
		s->read_chunk = chunk;
		s->read_nsec = s->clock.nsec;
		swarm_prefer(m->swarm, chunk, SWARM_NOW);
		member_pump(m);
	}
	clock_at(&s->clock, s->clock.nsec + s->o.read_usec * 1000, on_read, s, 0);
}

/* ---- a run */

static double unit_nsec(const struct sim *s)
{
	return (double)s->o.n_chunks * s->o.n_trees * s->o.chunk_size / s->o.rate * 1e9;
}

static void sim_init(struct sim *s, const struct swarm_sim_options *o)
{
	s->o = *o;
	s->o.n_neighbours = o->n_neighbours ? o->n_neighbours : 14;
	s->o.n_uploads = o->n_uploads ? o->n_uploads : 4;
	s->o.tell_usec = o->tell_usec ? o->tell_usec : 10000;
	s->o.n_trees = max(o->n_trees, 1u);
	s->o.most = o->most > 0 ? o->most : 40;
	s->random = o->seed * 2 + 1;
	s->read_chunk = SWARM_NONE;
	s->n_nodes = 1 + o->n_nodes + o->n_join;
	s->nodes = xcalloc(s->n_nodes, sizeof *s->nodes);
	s->members = xcalloc((size_t)s->n_nodes * s->o.n_trees, sizeof *s->members);
	s->is_out = xcalloc(s->o.n_trees * o->n_chunks, 1);
	if (o->n_racks) {
		s->rack_up = xcalloc(o->n_racks, sizeof *s->rack_up);
		s->rack_down = xcalloc(o->n_racks, sizeof *s->rack_down);
		for (unsigned i = 0; i < o->n_racks; i++)
			s->rack_up[i].rate = s->rack_down[i].rate =
				o->rate * (o->n_nodes + 1) / o->n_racks / o->oversubscribed;
	}
	for (unsigned i = 0; i < s->n_nodes; i++)
		node_init(s, i);
	if (o->source_rate > 0) {
		clock_at(&s->clock, 0, on_source, s, 0);
	} else {
		for (unsigned t = 0; t < s->o.n_trees; t++)
			for (uint64_t i = 0; i < o->n_chunks; i++)
				swarm_has(sim_member(s, 0, t)->swarm, i);
	}
	for (unsigned i = 1; i <= o->n_nodes; i++)
		clock_at(&s->clock, 0, on_join, s, i);
	for (unsigned i = 0; i < o->n_join; i++)
		clock_at(&s->clock, (uint64_t)(unit_nsec(s) / 2), on_join, s, 1 + o->n_nodes + i);
	for (unsigned i = 0; i < o->n_leave; i++)
		clock_at(&s->clock, (uint64_t)(unit_nsec(s) / 2), on_leave, s, o->n_nodes - i);
	if (o->read_usec)
		clock_at(&s->clock, o->read_usec * 1000, on_read, s, 0);
}

static void sum_up(struct sim *s)
{
	struct swarm_sim_result *r = &s->result;
	double unit = unit_nsec(s);
	unsigned n = 0;
	for (unsigned t = 0; t < s->o.n_trees; t++) {
		double tree = 0;
		for (unsigned i = 1; i < s->n_nodes; i++) {
			const struct member *m = sim_member(s, i, t);
			double done = (double)m->done_nsec / unit;
			r->wasted += (double)m->wasted / s->o.chunk_size / (double)s->o.n_chunks / s->o.n_trees;
			if (m->node->is_gone)
				continue;
			if (m->node->is_slow) {
				r->last_slow = max(r->last_slow, done);
				continue;
			}
			tree = max(tree, done);
			r->mean += done;
			n++;
		}
		r->last = max(r->last, tree);
		r->tree_first = t ? min(r->tree_first, tree) : tree;
		r->tree_last = max(r->tree_last, tree);
	}
	r->mean /= n;
	r->wasted /= s->n_nodes - 1;
	double size = (double)s->o.n_chunks * s->o.chunk_size * s->o.n_trees;
	r->source_sent = (double)s->source_sent / size;
	r->source_once = (double)s->source_once / size;
	r->once = (double)s->once_nsec / unit;
	r->read_usec = r->n_reads ? (double)s->read_sum / (double)r->n_reads : 0;
	r->read_most_usec = (double)s->read_most;
	r->n_events = s->clock.n_events;
}

static void sim_fini(struct sim *s)
{
	/* What is on its way arrives, at nobody. */
	for (unsigned i = 0; i < s->n_nodes; i++)
		if (!s->nodes[i].is_gone)
			on_leave(s, i);
	while (clock_step(&s->clock))
		;
	for (unsigned i = 0; i < s->n_nodes * s->o.n_trees; i++) {
		swarm_free(s->members[i].swarm);
		swarm_given_free(s->members[i].given);
		free(s->members[i].untold);
	}
	clock_fini(&s->clock);
	free(s->nodes);
	free(s->members);
	free(s->is_out);
	free(s->rack_up);
	free(s->rack_down);
}

struct swarm_sim_result swarm_sim_run(const struct swarm_sim_options *o)
{
	struct sim s = {0};
	sim_init(&s, o);
	double most = unit_nsec(&s) * s.o.most;
	bool is_begun = false;
	while ((!is_begun || s.n_left) && (double)s.clock.nsec < most && clock_step(&s.clock))
		is_begun |= s.n_left != 0 && s.clock.nsec > (uint64_t)(o->n_join ? unit_nsec(&s) / 2 : 0);
	s.result.is_complete = !s.n_left;
	sum_up(&s);
	sim_fini(&s);
	return s.result;
}
