/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include "common/list.h"
#include "common/map.h"

#include <time.h>

enum event_kind { EVENT_TASK, EVENT_FLOW, EVENT_LOSS };

/* Events are never taken back: who is woken by an old one looks whether it still means anything. */
struct event {
	uint64_t usec, order;
	enum event_kind kind;
	uint64_t what, stamp;
};

struct end {
	double rate;
	struct list in, out;
	unsigned n_in, n_out;
};

struct node {
	struct end end;
	bool is_lost;
};

struct flow {
	uint64_t number, item, node, stamp;
	uint64_t peers[CORE_PEERS];
	size_t n_peers;
	struct end *from, *to;
	uint64_t from_node; /* 0: the filesystem */
	double left, rate;
	uint64_t since_usec;
	struct list of_from, of_to;
};

struct task {
	uint64_t usec, output, attempt, node;
};

struct sim {
	struct core *core;
	struct sim_options o;
	struct node *nodes; /* from 1 on */
	struct end filesystem;
	uint64_t *sizes; /* of items, from 1 on */
	struct task *tasks;
	size_t n_items, items_room, n_tasks, tasks_room;
	struct map flows; /* by number */
	uint64_t n_flows, now_usec, last_attempt, n_events;
	struct event *events; /* a heap */
	size_t n_due, events_room;
	struct sim_result result;
};

/* ---- events */

static bool is_before(const struct event *a, const struct event *b)
{
	return a->usec != b->usec ? a->usec < b->usec : a->order < b->order;
}

static void put_event(struct sim *s, uint64_t usec, enum event_kind kind, uint64_t what, uint64_t stamp)
{
	if (s->n_due == s->events_room) {
		s->events_room = max(s->events_room * 2, (size_t)1024);
		s->events = xrealloc(s->events, s->events_room * sizeof *s->events);
	}
	struct event e = {usec, ++s->n_events, kind, what, stamp};
	size_t i = s->n_due++;
	for (; i && is_before(&e, &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		s->events[i] = s->events[(i - 1) / 2];
	s->events[i] = e;
}

static struct event take_event(struct sim *s)
{
	struct event first = s->events[0], last = s->events[--s->n_due];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < s->n_due; i = child) {
		if (child + 1 < s->n_due && is_before(&s->events[child + 1], &s->events[child]))
			child++;
		if (!is_before(&s->events[child], &last))
			break;
		s->events[i] = s->events[child];
	}
	s->events[i] = last;
	return first;
}

/* ---- flows */

static struct flow *find_flow(struct sim *s, uint64_t node, uint64_t item);

static void set_rate(struct sim *s, struct flow *f)
{
	f->left -= f->rate * (double)(s->now_usec - f->since_usec) * 1e-6;
	f->left = max(f->left, 0.0);
	f->since_usec = s->now_usec;
	double out = f->from->rate / f->from->n_out, in = f->to->rate / f->to->n_in;
	const struct flow *before = f->from_node ? find_flow(s, f->from_node, f->item) : NULL;
	f->rate = min(out, in);
	if (before && before->rate > 0)
		f->rate = min(f->rate, before->rate);
	uint64_t usec = (uint64_t)(f->left / f->rate * 1e6) + 1;
	put_event(s, s->now_usec + usec, EVENT_FLOW, f->number, ++f->stamp);
}

static void set_rates(struct sim *s, struct end *from, struct end *to)
{
	list_foreach (&from->out, struct flow, of_from, f)
		set_rate(s, f);
	list_foreach (&to->in, struct flow, of_to, f)
		if (f->from != from)
			set_rate(s, f);
}

static void leave_from(struct flow *f)
{
	list_remove(&f->of_from);
	f->from->n_out--;
}

static void drop_flow(struct sim *s, struct flow *f)
{
	list_remove(&f->of_to);
	f->to->n_in--;
	map_remove(&s->flows, f->number);
	free(f);
}

static void end_flow(struct sim *s, struct flow *f)
{
	struct end *from = f->from, *to = f->to;
	leave_from(f);
	drop_flow(s, f);
	set_rates(s, from, to);
}

/* 0: all are lost. */
static uint64_t find_from(const struct sim *s, const struct flow *f)
{
	uint64_t best = 0;
	for (size_t i = 0; i < f->n_peers; i++) {
		const struct node *n = &s->nodes[f->peers[i]];
		if (!n->is_lost && (!best || n->end.n_out < s->nodes[best].end.n_out))
			best = f->peers[i];
	}
	return best;
}

static void set_from(struct sim *s, struct flow *f, uint64_t node)
{
	f->from_node = node;
	f->from = node ? &s->nodes[node].end : &s->filesystem;
	list_append(&f->from->out, &f->of_from);
	f->from->n_out++;
	set_rates(s, f->from, f->to);
}

static struct flow *find_flow(struct sim *s, uint64_t node, uint64_t item)
{
	list_foreach (&s->nodes[node].end.in, struct flow, of_to, f)
		if (f->item == item)
			return f;
	return NULL;
}

static void on_fetch(void *arg, const struct core_fetch *f)
{
	struct sim *s = arg;
	struct flow *flow = find_flow(s, f->node, f->item);
	assert(f->n_peers || f->source);
	bool is_new = !flow;
	if (is_new) {
		flow = NEW(struct flow);
		*flow = (struct flow){.number = ++s->n_flows,
				      .item = f->item,
				      .node = f->node,
				      .left = (double)f->size,
				      .to = &s->nodes[f->node].end,
				      .since_usec = s->now_usec};
		list_init(&flow->of_from);
		list_init(&flow->of_to);
		list_append(&flow->to->in, &flow->of_to);
		flow->to->n_in++;
		map_put(&s->flows, flow->number, flow);
		s->result.moved += f->size;
	}
	memcpy(flow->peers, f->peers, f->n_peers * sizeof f->peers[0]);
	flow->n_peers = f->n_peers;
	if (is_new)
		set_from(s, flow, f->source ? 0 : find_from(s, flow));
}

static void on_fetch_stop(void *arg, uint64_t node, uint64_t item)
{
	struct sim *s = arg;
	struct flow *f = s->nodes[node].is_lost ? NULL : find_flow(s, node, item);
	if (f)
		end_flow(s, f);
}

/* ---- tasks */

static void on_start(void *arg, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct sim *s = arg;
	struct task *t = &s->tasks[task];
	t->attempt = attempt;
	t->node = node;
	s->result.n_starts++;
	put_event(s, s->now_usec + t->usec, EVENT_TASK, task, attempt);
}

static void on_stop(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced)
{
	(void)arg, (void)task, (void)node, (void)attempt, (void)is_fenced;
}

static void on_cancelled(void *arg, uint64_t task)
{
	(void)arg, (void)task;
}

static void on_held(void *arg, uint64_t task, unsigned losses)
{
	struct sim *s = arg;
	(void)task, (void)losses;
	s->result.n_failed++;
}

static void on_failed(void *arg, uint64_t task, const struct core_why *why)
{
	struct sim *s = arg;
	(void)task, (void)why;
	s->result.n_failed++;
}

static uint64_t next_attempt(void *arg)
{
	return ++((struct sim *)arg)->last_attempt;
}

static const struct core_actions actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
	.failed = on_failed,
	.fetch = on_fetch,
	.fetch_stop = on_fetch_stop,
};

static void end_task(struct sim *s, uint64_t task, uint64_t attempt)
{
	struct task *t = &s->tasks[task];
	if (t->attempt != attempt || s->nodes[t->node].is_lost)
		return;
	if (t->output) {
		core_item_is_tree(s->core, t->output, t->output, s->sizes[t->output]);
		core_replica_set(s->core, t->node, t->output, s->sizes[t->output]);
	}
	int e = core_attempt_ended(s->core, task, attempt);
	assert(!e);
	(void)e;
	s->result.n_ended++;
	s->result.usec = (double)s->now_usec;
}

/* What others were getting from it they get from another neighbour, or the core begins it again. */
static void lose(struct sim *s, uint64_t node)
{
	struct node *n = &s->nodes[node];
	struct flow *f;
	n->is_lost = true;
	while ((f = list_first(&n->end.in, struct flow, of_to)))
		end_flow(s, f);
	while ((f = list_first(&n->end.out, struct flow, of_from))) {
		uint64_t from = find_from(s, f);
		leave_from(f);
		if (from)
			set_from(s, f, from);
		else
			drop_flow(s, f);
	}
	core_node_lost(s->core, node);
}

static void happen(struct sim *s, const struct event *e)
{
	struct flow *f;
	switch (e->kind) {
	case EVENT_TASK:
		end_task(s, e->what, e->stamp);
		break;
	case EVENT_FLOW:
		f = map_get(&s->flows, e->what);
		if (!f || f->stamp != e->stamp)
			break;
		core_replica_set(s->core, f->node, f->item, s->sizes[f->item]);
		end_flow(s, f);
		break;
	case EVENT_LOSS:
		lose(s, e->what);
		break;
	}
}

static double cpu_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

struct sim_result sim_run(struct sim *s)
{
	double core_usec = 0;
	for (;;) {
		double from = cpu_usec();
		core_decide(s->core, 0);
		core_usec += cpu_usec() - from;
		uint64_t due = core_next_due(s->core);
		if (!s->n_due && due == UINT64_MAX)
			break;
		uint64_t next = s->n_due ? s->events[0].usec : UINT64_MAX;
		s->now_usec = max(s->now_usec, min(due, next));
		core_set_time(s->core, s->now_usec);
		while (s->n_due && s->events[0].usec <= s->now_usec) {
			struct event e = take_event(s);
			happen(s, &e);
		}
	}
	s->result.cpu_usec_a_start = core_usec / (double)max(s->result.n_starts, UINT64_C(1));
	return s->result;
}

/* ---- what there is */

static void init_end(struct end *e, double rate)
{
	e->rate = rate;
	list_init(&e->in);
	list_init(&e->out);
}

struct sim *sim_new(const struct sim_options *o)
{
	struct sim *s = NEW(struct sim);
	s->o = *o;
	s->core = core_new(&actions, s, &o->core);
	s->nodes = xcalloc(o->n_nodes + 1, sizeof *s->nodes);
	init_end(&s->filesystem, o->filesystem);
	for (unsigned n = 1; n <= o->n_nodes; n++) {
		init_end(&s->nodes[n].end, o->card);
		core_node_add(s->core, n, &(struct core_node_spec){.cores = o->n_cores});
	}
	return s;
}

void sim_free(struct sim *s)
{
	struct flow *f;
	if (!s)
		return;
	core_check(s->core);
	core_free(s->core);
	for (size_t i = 0; (f = map_next(&s->flows, &i));)
		free(f);
	map_fini(&s->flows);
	free(s->nodes);
	free(s->sizes);
	free(s->tasks);
	free(s->events);
	free(s);
}

uint64_t sim_item(struct sim *s, uint64_t size, bool has_source)
{
	if (s->n_items + 2 > s->items_room) {
		s->items_room = max(s->items_room * 2, (size_t)1024);
		s->sizes = xrealloc(s->sizes, s->items_room * sizeof *s->sizes);
	}
	uint64_t item = ++s->n_items;
	s->sizes[item] = size;
	const struct core_item_spec spec = {.size = size, .source = has_source, .tree = item};
	int e = core_item_add(s->core, item, &spec);
	assert(!e);
	(void)e;
	return item;
}

void sim_replica(struct sim *s, uint64_t node, uint64_t item)
{
	core_replica_set(s->core, node, item, s->sizes[item]);
}

uint64_t sim_task(struct sim *s, const struct sim_task *t)
{
	if (s->n_tasks + 2 > s->tasks_room) {
		s->tasks_room = max(s->tasks_room * 2, (size_t)1024);
		s->tasks = xrealloc(s->tasks, s->tasks_room * sizeof *s->tasks);
	}
	uint64_t task = ++s->n_tasks;
	s->tasks[task] = (struct task){.usec = t->usec, .output = t->output};
	for (size_t i = 0; i < t->n_inputs; i++)
		s->result.read += s->sizes[t->inputs[i]];
	const struct core_task_spec spec = {.inputs = t->inputs,
					    .n_inputs = t->n_inputs,
					    .outputs = &t->output,
					    .n_outputs = t->output != 0,
					    .when = CORE_WHEN_STAGED};
	int e = core_task_add(s->core, task, &spec);
	assert(!e);
	(void)e;
	return task;
}

void sim_lose_at(struct sim *s, uint64_t usec, uint64_t node)
{
	put_event(s, usec, EVENT_LOSS, node, 0);
}
