/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report.h"

void report_init(struct report *r, const char *run, uint64_t now_usec)
{
	*r = (struct report){.run = xstrdup(run), .now_usec = now_usec};
	for (size_t i = 0; i < REPORT_STATES; i++)
		r->over_time[i] = timeline_add(&r->time);
}

void report_fini(struct report *r)
{
	struct report_group *g = REPORT_LIST(r, group);
	for (size_t i = 0; i < report_n_groups(r); i++) {
		hist_fini(&g[i].peak_memory);
		hist_fini(&g[i].peak_disk);
	}
	struct names *names[] = {&r->node_names, &r->cause_names, &r->group_names, &r->input_names};
	for (size_t i = 0; i < countof(names); i++)
		names_fini(names[i]);
	struct buf *lists[] = {&r->node_list, &r->cause_list, &r->group_list, &r->input_list, &r->bar_list};
	for (size_t i = 0; i < countof(lists); i++)
		buf_fini(lists[i]);
	struct table *tables[] = {&r->cluster, &r->nodes, &r->waiting, &r->settings};
	for (size_t i = 0; i < countof(tables); i++)
		table_fini(tables[i]);
	hist_fini(&r->wait);
	hist_fini(&r->run_time);
	hist_fini(&r->around);
	timeline_fini(&r->time);
	free(r->run);
}

uint64_t report_all(const struct report *r)
{
	uint64_t n = 0;
	for (size_t i = 0; i < REPORT_STATES; i++)
		n += r->n[i];
	return n;
}

static const char *name_of(const struct names *n, uint32_t i)
{
	return ((char **)(void *)n->all.at)[i];
}

/* ---- when */

/* Clocks jump: what seems to end before it began took no time, and nothing lies in the future. */
struct times {
	uint64_t submitted, started, ended; /* started, ended: 0 if not yet */
};

static struct times times_of(const struct report *r, const struct report_task *t, enum report_state state)
{
	struct times x = {.submitted = t->submitted_usec ? t->submitted_usec : t->started_usec};
	bool is_over = state >= REPORT_DONE;
	x.submitted = min(x.submitted, r->now_usec);
	x.started = t->started_usec ? max(min(t->started_usec, r->now_usec), x.submitted) : 0;
	if (state == REPORT_WAITING || state == REPORT_HELD)
		x.started = 0;
	uint64_t begun = max(x.submitted, x.started);
	if (is_over)
		x.ended = max(begun, min(t->ended_usec, r->now_usec));
	return x;
}

static void add_times(struct report *r, const struct times *x, enum report_state state)
{
	struct timeline *t = &r->time;
	uint64_t to_wait = x->started ? x->started : x->ended;
	timeline_cover(t, x->submitted);
	timeline_cover(t, max(x->submitted, x->started));
	if (x->ended)
		timeline_cover(t, x->ended);
	series_add(t, r->over_time[state == REPORT_HELD ? REPORT_HELD : REPORT_WAITING], x->submitted,
		   to_wait ? to_wait : UINT64_MAX);
	if (x->started)
		series_add(t, r->over_time[REPORT_RUNNING], x->started, x->ended ? x->ended : UINT64_MAX);
	if (x->ended)
		series_add(t, r->over_time[state], x->ended, UINT64_MAX);
	r->first_usec = r->first_usec ? min(r->first_usec, x->submitted) : x->submitted;
	r->last_usec = max(r->last_usec, x->ended ? x->ended : r->now_usec);
}

/* ---- by node */

/* UINT32_MAX: it has been on none. */
static uint32_t find_node(struct report *r, const char *name)
{
	if (!*name)
		return UINT32_MAX;
	uint32_t i = names_find(&r->node_names, name, REPORT_NODES);
	if (i == UINT32_MAX)
		i = names_find(&r->node_names, "(others)", REPORT_NODES + 1);
	if (i == report_n_nodes(r)) {
		const struct report_node new = {.name = name_of(&r->node_names, i),
						.number = i,
						.running = timeline_add(&r->time),
						.failed = timeline_add(&r->time)};
		buf_put(&r->node_list, &new, sizeof new);
	}
	return i;
}

static void add_bar(struct report *r, const struct report_task *t, const struct times *x, uint32_t node)
{
	if (r->has_too_many_bars)
		return;
	if (report_n_bars(r) == REPORT_BARS) {
		r->has_too_many_bars = true;
		buf_fini(&r->bar_list);
		return;
	}
	struct report_named name;
	report_name(&name, t, 0);
	struct report_bar bar = {.id = t->id,
				 .started_usec = x->started,
				 .ended_usec = x->ended ? x->ended : r->now_usec,
				 .wall_usec = t->wall_usec,
				 .node = node,
				 .state = name.state};
	memcpy(bar.label, name.label, sizeof bar.label);
	buf_put(&r->bar_list, &bar, sizeof bar);
}

static void add_to_node(struct report *r, const struct report_task *t, const struct times *x, enum report_state state,
			uint32_t node)
{
	struct report_node *n = &REPORT_LIST(r, node)[node];
	n->n_tasks++;
	n->local_size += t->local_size;
	n->moved_size += t->moved_size;
	n->peer_size += t->peer_size;
	n->source_size += t->source_size;
	n->client_size += t->client_size;
	if (x->started) {
		n->busy_usec += (x->ended ? x->ended : r->now_usec) - x->started;
		series_add(&r->time, n->running, x->started, x->ended ? x->ended : UINT64_MAX);
		add_bar(r, t, x, node);
	}
	if (state == REPORT_FAILED) {
		n->n_failed++;
		series_count(&r->time, n->failed, x->ended);
	}
}

/* ---- tasks alike */

static void add_to_group(struct report *r, const struct report_task *t)
{
	const char *name = *t->category ? t->category : *r->run ? "all tasks" : t->run;
	uint32_t i = names_find(&r->group_names, name, REPORT_GROUPS);
	if (i == UINT32_MAX)
		i = names_find(&r->group_names, "(others)", REPORT_GROUPS + 1);
	if (i == report_n_groups(r)) {
		const struct report_group new = {.name = name_of(&r->group_names, i)};
		buf_put(&r->group_list, &new, sizeof new);
	}
	struct report_group *g = &REPORT_LIST(r, group)[i];
	g->n++;
	g->cores = max(g->cores, t->cores);
	g->memory = max(g->memory, t->memory);
	g->disk = max(g->disk, t->disk);
	g->wall_cores_usec += t->wall_usec * max(t->cores, (uint64_t)1);
	g->cpu_usec += t->cpu_usec;
	if (t->peak_memory)
		hist_add(&g->peak_memory, t->peak_memory);
	if (t->peak_disk)
		hist_add(&g->peak_disk, t->peak_disk);
}

/* ---- tasks */

static void add_durations(struct report *r, const struct report_task *t, const struct times *x)
{
	if (x->started)
		hist_add(&r->wait, x->started - x->submitted);
	if (!x->started || !x->ended)
		return;
	uint64_t on_node = x->ended - x->started, run = t->wall_usec ? t->wall_usec : on_node;
	hist_add(&r->run_time, run);
	hist_add(&r->around, on_node - min(on_node, run));
	report_rank_slowest(r, t, run);
}

void report_add_task(struct report *r, const struct report_task *t)
{
	enum report_state state = report_state_of(t);
	const struct times x = times_of(r, t, state);
	uint32_t node = find_node(r, t->node);
	r->n[state]++;
	r->n_again += t->attempts > 1;
	r->local_size += t->local_size;
	r->moved_size += t->moved_size;
	r->peer_size += t->peer_size;
	r->source_size += t->source_size;
	r->client_size += t->client_size;
	r->cpu_usec += t->cpu_usec;
	r->wall_usec += t->wall_usec;
	r->cores_usec += t->wall_usec * max(t->cores, (uint64_t)1);
	add_times(r, &x, state);
	add_durations(r, t, &x);
	if (node != UINT32_MAX)
		add_to_node(r, t, &x, state, node);
	if (x.ended && x.started)
		add_to_group(r, t);
	if (state == REPORT_FAILED)
		report_rank_cause(r, t, node);
}

void report_add_input(struct report *r, const char *name, uint64_t size, uint64_t n_tasks)
{
	uint32_t i = names_find(&r->input_names, name, REPORT_INPUTS);
	if (i == UINT32_MAX) {
		r->n_other_inputs++;
		return;
	}
	if (i == report_n_inputs(r)) {
		const struct report_input new = {.name = name_of(&r->input_names, i)};
		buf_put(&r->input_list, &new, sizeof new);
	}
	struct report_input *in = &REPORT_LIST(r, input)[i];
	in->size = max(in->size, size);
	in->n_tasks += n_tasks;
}

/* ---- the end */

static int by_count(const void *a, const void *b)
{
	const struct report_cause *x = a, *y = b;
	return (x->n < y->n) - (x->n > y->n);
}

/* The node with most of them first. */
static void sort_nodes_of(struct report_cause *c)
{
	for (size_t i = 1; i < c->n_nodes; i++) {
		for (size_t k = i; k && c->n_at[k - 1] < c->n_at[k]; k--) {
			uint64_t n = c->n_at[k];
			uint32_t node = c->nodes[k];
			c->n_at[k] = c->n_at[k - 1];
			c->nodes[k] = c->nodes[k - 1];
			c->n_at[k - 1] = n;
			c->nodes[k - 1] = node;
		}
	}
}

static int by_read(const void *a, const void *b)
{
	const struct report_input *x = a, *y = b;
	double m = (double)x->size * (double)x->n_tasks, n = (double)y->size * (double)y->n_tasks;
	return m != n ? (m < n) - (m > n) : (x->n_tasks < y->n_tasks) - (x->n_tasks > y->n_tasks);
}

static int by_start(const void *a, const void *b)
{
	const struct report_bar *x = a, *y = b;
	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (x->started_usec != y->started_usec)
		return x->started_usec < y->started_usec ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static void sort(struct buf *list, size_t size, int (*compare)(const void *a, const void *b))
{
	if (list->n)
		qsort(list->at, list->n / size, size, compare);
}

static int by_name(const void *a, const void *b)
{
	const struct report_node *x = a, *y = b;
	return strverscmp(x->name, y->name);
}

/* n2 before n10; bars name nodes by their place. */
static void sort_nodes(struct report *r)
{
	size_t n = report_n_nodes(r);
	struct report_bar *bars = REPORT_LIST(r, bar);
	_free_ uint32_t *places = xcalloc(n + 1, sizeof *places);
	sort(&r->node_list, sizeof(struct report_node), by_name);
	for (uint32_t i = 0; i < n; i++)
		places[REPORT_LIST(r, node)[i].number] = i;
	for (size_t i = 0; i < report_n_bars(r); i++)
		bars[i].node = places[bars[i].node];
}

/* Each into the first lane of its node that is free by then. */
static void put_into_lanes(struct report *r)
{
	struct report_bar *b = REPORT_LIST(r, bar);
	size_t n = report_n_bars(r), n_lanes = 0;
	_free_ uint64_t *until = xcalloc(n + 1, sizeof *until);
	for (size_t i = 0; i < n; i++) {
		uint32_t lane = 0;
		if (!i || b[i].node != b[i - 1].node)
			n_lanes = 0;
		while (lane < n_lanes && until[lane] > b[i].started_usec)
			lane++;
		n_lanes = max(n_lanes, (size_t)lane + 1);
		until[lane] = b[i].ended_usec;
		b[i].lane = lane;
	}
}

void report_finish(struct report *r)
{
	if (r->time.n)
		timeline_cover(&r->time, r->last_usec);
	sort(&r->cause_list, sizeof(struct report_cause), by_count);
	for (size_t i = 0; i < report_n_causes(r); i++)
		sort_nodes_of(&REPORT_LIST(r, cause)[i]);
	sort(&r->input_list, sizeof(struct report_input), by_read);
	sort_nodes(r);
	sort(&r->bar_list, sizeof(struct report_bar), by_start);
	put_into_lanes(r);
}
