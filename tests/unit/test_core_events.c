/* SPDX-License-Identifier: Apache-2.0
 * The scheduler under random events of every kind, with core_check() and a model that knows which attempts are alive and which
 * transfers are under way. test_core_random.c has the finer model of attempts that nodes list, lose and bring back. */
#include "core/core_internal.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define N_NODES 40 /* more than CORE_RARE: trees become wide and rare again */
#define SILENT 4   /* in the end: a node that takes work and never says anything again */
#define N_ITEMS 60
#define MB (UINT64_C(1) << 20)

struct attempt {
	uint64_t number, node;
};

struct task {
	uint64_t number, output;
	struct attempt first, second, fenced; /* fenced: it will be told so, unless its node is lost before */
	bool is_over;
};

static uint64_t n_seconds; /* of all seeds */

struct fetch {
	uint64_t node, item;
};

struct model {
	struct core *core;
	struct map tasks; /* all that the core may name: also those that ended and may run again */
	uint64_t state, now_usec, n_tasks, n_items, last_attempt, n_fetches;
	bool is_silent; /* SILENT is */
	struct fetch fetches[4096];
	struct {
		bool is_known, is_open;
	} nodes[N_NODES + 1];
};

static uint64_t roll(struct model *m, uint64_t n)
{
	return (unit_random(&m->state) >> 11) % n;
}

static struct task *task_of(struct model *m, uint64_t number)
{
	struct task *t = map_get(&m->tasks, number);
	ASSERT(t);
	return t;
}

/* ---- actions */

static void on_start(void *arg, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct model *m = arg;
	struct task *t = task_of(m, task);
	ASSERT(m->nodes[node].is_open || m->nodes[node].is_known);
	ASSERT(!t->is_over || t->output);
	ASSERT(!t->second.number && t->first.node != node);
	struct core_place p;
	ASSERT_EQ(core_attempt_place(m->core, task, &p), 0);
	if (t->first.number)
		n_seconds++;
	*(t->first.number ? &t->second : &t->first) = (struct attempt){attempt, node};
}

static void on_stop(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced)
{
	struct model *m = arg;
	struct task *t = task_of(m, task);
	const struct attempt *a = is_fenced ? &t->fenced : &t->first;
	ASSERT_EQ(a->number, attempt);
	ASSERT_EQ(a->node, node);
	if (is_fenced)
		t->fenced = (struct attempt){0};
}

static void over(struct model *m, uint64_t number)
{
	struct task *t = task_of(m, number);
	ASSERT(!t->first.number && !t->second.number);
	t->is_over = true;
}

static void on_cancelled(void *arg, uint64_t task)
{
	over(arg, task);
}

static void on_failed(void *arg, uint64_t task, const struct core_why *why)
{
	const struct task *t = task_of(arg, task);
	bool is_maker = why->reason == CORE_REASON_CRASHES && t->is_over && t->output;
	ASSERT(why->reason == CORE_REASON_INPUT_FAILED ? why->item : is_maker || why->reason == CORE_REASON_DEADLINE);
	over(arg, task);
}

static void on_held(void *arg, uint64_t task, unsigned losses)
{
	const struct model *m = arg;
	enum core_reason r = core_task_reason(m->core, task);
	ASSERT(losses >= 3 || r == CORE_REASON_INPUT_FAILED || r == CORE_REASON_DEADLINE);
	task_of(arg, task);
}

static uint64_t next_attempt(void *arg)
{
	return ++((struct model *)arg)->last_attempt;
}

static void on_fetch(void *arg, const struct core_fetch *f)
{
	struct model *m = arg;
	ASSERT(m->nodes[f->node].is_known);
	ASSERT(f->n_peers <= CORE_NEIGHBOURS && (f->n_peers || f->source || f->is_pinned));
	for (size_t i = 0; i < f->n_peers; i++) {
		ASSERT(m->nodes[f->peers[i]].is_known && f->peers[i] != f->node);
		const struct core_node *n = core_node_find(m->core, f->peers[i]);
		const struct core_replica *r = core_replica_find(n, core_tree_find(m->core, f->tree));
		ASSERT(r && !r->is_bad && r->is_whole == (i < f->n_whole));
		for (size_t k = 0; k < i; k++)
			ASSERT(f->peers[k] != f->peers[i]);
	}
	ASSERT((!f->source || f->deadline_usec > m->now_usec) && m->n_fetches < countof(m->fetches));
	m->fetches[m->n_fetches++] = (struct fetch){f->node, f->item};
}

static void on_fetch_stop(void *arg, uint64_t node, uint64_t item)
{
	(void)arg, (void)node, (void)item; /* it comes nevertheless, or does not */
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

/* ---- events */

static const char *const names[] = {"a", "b", "c"};
static uint64_t random_item(struct model *m)
{
	uint64_t first = m->n_items > N_ITEMS ? m->n_items - N_ITEMS : 0;
	return first + 1 + roll(m, m->n_items - first);
}

static uint64_t tree_of(const struct model *m, uint64_t item)
{
	const struct core_item *i = core_item_find(m->core, item);
	return i && !(i->tree->number & CORE_ANONYMOUS) ? i->tree->number : 0;
}

static void add_item(struct model *m)
{
	struct core_item_spec spec = {.size = roll(m, 4) * 50 * MB, .source = roll(m, 3) ? 0 : 1 + roll(m, 2)};
	if (!roll(m, 4))
		spec.tree = 1000000 + roll(m, 20);
	ASSERT_EQ(core_item_add(m->core, ++m->n_items, &spec), 0);
}

static void add_task(struct model *m)
{
	uint64_t inputs[4];
	struct core_amount named = {names[roll(m, 3)], 1 + roll(m, 2)}, counter = {names[roll(m, 3)], 1 + roll(m, 3)};
	const char *feature = names[roll(m, 3)];
	struct core_task_spec spec = {
		.cores = (uint32_t)roll(m, 5),
		.memory = roll(m, 3) ? 0 : 8 * roll(m, 5),
		.priority = (int64_t)roll(m, 3),
		.gpus = roll(m, 5) ? 0 : 1,
		.disk = roll(m, 4),
		.named = &named,
		.n_named = !roll(m, 6),
		.counters = &counter,
		.n_counters = !roll(m, 6),
		.features = &feature,
		.n_features = !roll(m, 6),
		.category = roll(m, 3) ? NULL : names[roll(m, 3)],
		.user = roll(m, 3),
		.wall_usec = roll(m, 5) ? 0 : roll(m, 100000),
		.deadline_usec = roll(m, 20) ? 0 : m->now_usec + 1 + roll(m, 100000),
		.inputs = inputs,
		.when = (enum core_when)roll(m, 3),
		.holds = !roll(m, 8),
	};
	while (m->n_items && spec.n_inputs < countof(inputs) && roll(m, 3))
		inputs[spec.n_inputs++] = random_item(m);
	struct task *t = NEW(struct task);
	t->number = ++m->n_tasks;
	if (!roll(m, 3)) {
		t->output = ++m->n_items;
		ASSERT_EQ(core_item_add(m->core, t->output, &(struct core_item_spec){.size = roll(m, 3) * 50 * MB}), 0);
		spec.outputs = &t->output;
		spec.n_outputs = 1;
	}
	int e = core_task_add(m->core, t->number, &spec);
	ASSERT(!e || (e == -ENOENT && spec.n_inputs)); /* forgotten */
	if (e)
		free(t);
	else
		map_put(&m->tasks, t->number, t);
}

static struct task *pick_task(struct model *m)
{
	uint64_t first = m->n_tasks > 150 ? m->n_tasks - 150 : 0;
	for (unsigned i = 0; i < 10; i++) {
		struct task *t = map_get(&m->tasks, first + roll(m, 151));
		if (t)
			return t;
	}
	return NULL;
}

static void make_output(struct model *m, const struct task *t, uint64_t node)
{
	if (!t->output)
		return;
	if (!tree_of(m, t->output))
		core_item_is_tree(m->core, t->output, roll(m, 10) ? t->output : 1000000 + roll(m, 20), 50 * MB);
	if (tree_of(m, t->output) && m->nodes[node].is_known)
		core_replica_set(m->core, node, tree_of(m, t->output), 200 * MB);
}

/* The other one goes on, if there is one. */
static void drop_attempt(struct task *t, bool is_second)
{
	if (!is_second)
		t->first = t->second;
	t->second = (struct attempt){0};
}

static void fence(struct task *t, struct attempt a)
{
	if (a.number)
		t->fenced = a;
}

static void end_attempt(struct model *m, struct task *t, uint64_t how)
{
	bool is_second = t->second.number && roll(m, 2);
	struct attempt a = is_second ? t->second : t->first;
	if (!a.number)
		return;
	if (how < 14) {
		if (how)
			make_output(m, t, a.node);
		fence(t, is_second ? t->first : t->second);
		t->first = t->second = (struct attempt){0};
		t->is_over = true;
		ASSERT_EQ(core_attempt_ended(m->core, t->number, a.number), 0);
		ASSERT_EQ(core_attempt_ended(m->core, t->number, a.number), -ESTALE);
	} else if (how < 17) {
		drop_attempt(t, is_second);
		ASSERT_EQ(how < 16 ? core_attempt_returned(m->core, t->number, a.number)
				   : core_attempt_lost(m->core, t->number, a.number),
			  0);
	} else if (!core_attempt_exhausted(m->core, t->number, a.number)) {
		if (!is_second)
			fence(t, t->second);
		t->second = (struct attempt){0};
		if (!is_second)
			t->first = (struct attempt){0};
	}
}

static void lose_node(struct model *m, uint64_t n)
{
	struct task *t;
	for (size_t i = 0; (t = map_next(&m->tasks, &i));) {
		if (t->second.node == n)
			drop_attempt(t, true);
		if (t->first.node == n)
			drop_attempt(t, false);
	}
	m->nodes[n].is_known = m->nodes[n].is_open = false;
	ASSERT_EQ(core_node_lost(m->core, n), 0);
}

static void change_node(struct model *m)
{
	uint64_t n = 1 + roll(m, N_NODES);
	const struct core_amount named = {names[n % 3], 4};
	const struct core_node_spec spec = {
		.cores = (uint32_t)roll(m, 9),
		.memory = 8 * roll(m, 9),
		.task_limit = (uint32_t)roll(m, 3) * 4,
		.gpus = (uint32_t)roll(m, 3),
		.disk = roll(m, 9),
		.named = &named,
		.n_named = n % 4 == 0,
		.features = &names[n % 2],
		.n_features = n % 3,
		.end_usec = n % 5 ? 0 : m->now_usec + roll(m, 100000),
		.rack = n % 4 + (roll(m, 8) ? 0 : 1),
	};
	if (!m->nodes[n].is_known) {
		ASSERT_EQ(core_node_add(m->core, n, &spec), 0);
		m->nodes[n].is_known = m->nodes[n].is_open = true;
	} else if (!roll(m, 3)) {
		lose_node(m, n);
	} else if (!roll(m, 3)) {
		ASSERT_EQ(core_node_set(m->core, n, &spec), 0);
	} else if (m->nodes[n].is_open) {
		ASSERT_EQ(core_node_suspend(m->core, n), 0);
		ASSERT_EQ(core_node_serve(m->core, n, roll(m, 2)), 0);
		m->nodes[n].is_open = false;
	} else {
		ASSERT_EQ(core_node_resume(m->core, n, &spec), 0);
		ASSERT_EQ(core_node_serve(m->core, n, true), 0);
		m->nodes[n].is_open = true;
	}
}

static void end_fetch(struct model *m)
{
	if (!m->n_fetches)
		return;
	size_t i = roll(m, m->n_fetches);
	struct fetch f = m->fetches[i];
	m->fetches[i] = m->fetches[--m->n_fetches];
	if (!m->nodes[f.node].is_known || (m->is_silent && f.node == SILENT))
		return;
	uint64_t how = roll(m, 12);
	if (how < 2) {
		core_fetch_failed(m->core, f.node, f.item, !how);
		return;
	}
	if (how == 3) {
		core_replica_hot(m->core, f.node, f.item);
		m->fetches[m->n_fetches++] = f;
		return;
	}
	if (core_item_find(m->core, f.item) && !tree_of(m, f.item))
		core_item_is_tree(m->core, f.item, f.item, 100 * MB);
	if (tree_of(m, f.item))
		core_replica_set(m->core, f.node, tree_of(m, f.item), how < 6 ? 10 * MB : 200 * MB);
	if (how < 6)
		m->fetches[m->n_fetches++] = f;
}

static uint64_t random_tree(struct model *m)
{
	return m->n_items && roll(m, 2) ? tree_of(m, random_item(m)) : 1000000 + roll(m, 20);
}

static void change_replica(struct model *m)
{
	uint64_t node = 1 + roll(m, N_NODES), tree = random_tree(m);
	if (tree && m->nodes[node].is_known)
		core_replica_set(m->core, node, tree, roll(m, 3) * 100 * MB);
}

static void bring_or_blame(struct model *m)
{
	uint64_t node = 1 + roll(m, N_NODES), asker = 1 + roll(m, N_NODES);
	if (!roll(m, 3))
		core_peer_bad(m->core, random_tree(m), node, asker, (enum core_fault)(1 + roll(m, 4)));
	else if (m->n_items)
		core_item_bring(m->core, random_item(m), node, (unsigned)roll(m, 6)); /* each flag, and some */
}

static void change_limits(struct model *m)
{
	const struct core_category_spec spec = {
		.running = roll(m, 6), .memory = 8 * roll(m, 4), .learns = roll(m, 2), .slow = (unsigned)roll(m, 3)};
	switch (roll(m, 7)) {
	case 0:
		core_category_set(m->core, names[roll(m, 3)], &spec);
		break;
	case 1:
		core_counter_set(m->core, names[roll(m, 3)], roll(m, 8));
		break;
	case 2:
		core_user_set(m->core, roll(m, 3), (uint32_t)roll(m, 5));
		break;
	case 3:
		core_source_set(m->core, 1 + roll(m, 2), roll(m, 3) ? (unsigned)roll(m, 4) : CORE_LEARN);
		break;
	case 4:
		core_category_measured(m->core, names[roll(m, 3)], roll(m, 30), roll(m, 3));
		break;
	case 5:
		core_node_judge(m->core, 1 + roll(m, N_NODES), roll(m, 3));
		break;
	default:
		if (m->n_items && !roll(m, 4))
			core_item_failed(m->core, random_item(m));
		else if (m->n_items)
			core_item_has_source(m->core, random_item(m), 1 + roll(m, 2));
	}
}

static void cancel_or_release(struct model *m, struct task *t)
{
	if (!roll(m, 4)) {
		core_task_release(m->core, t->number);
	} else if (!t->is_over && core_task_cancel(m->core, t->number) == 0) {
		fence(t, t->second);
		t->second = (struct attempt){0};
	}
}

static void random_event(struct model *m)
{
	uint64_t what = roll(m, 100);
	struct task *t;
	struct core_numbers n;
	core_numbers(m->core, &n);
	if (what < 4) {
		add_item(m);
	} else if (what < 24) {
		if (n.queued + n.held + n.running < 150)
			add_task(m);
	} else if (what < 48) {
		if ((t = pick_task(m)))
			end_attempt(m, t, roll(m, 20));
	} else if (what < 52) {
		if ((t = pick_task(m)))
			cancel_or_release(m, t);
	} else if (what < 58) {
		change_node(m);
	} else if (what < 70) {
		end_fetch(m);
	} else if (what < 74) {
		change_replica(m);
	} else if (what < 77) {
		bring_or_blame(m);
	} else if (what < 80) {
		change_limits(m);
	} else if (what < 82) {
		if (m->n_items)
			core_item_forget(m->core, random_item(m));
	} else if (what < 88) {
		core_set_time(m->core, m->now_usec += roll(m, 50) ? roll(m, 5000) : 3000000);
	} else {
		core_decide(m->core, roll(m, 6));
	}
}

/* ---- to the end: large nodes, no limits, nothing is lost any more */

static void lift_limits(struct model *m)
{
	const struct core_amount named[] = {{"a", 100}, {"b", 100}, {"c", 100}};
	for (uint64_t n = 1; n <= N_NODES; n++)
		if (m->nodes[n].is_known)
			lose_node(m, n);
	for (uint64_t n = 1; n <= SILENT; n++) {
		const struct core_node_spec spec = {.cores = 64,
						    .memory = 1000,
						    .gpus = 8,
						    .disk = 1000,
						    .named = named,
						    .n_named = 3,
						    .features = names,
						    .n_features = 3};
		ASSERT_EQ(core_node_add(m->core, n, &spec), 0);
		m->nodes[n].is_known = m->nodes[n].is_open = true;
	}
	for (size_t i = 0; i < 3; i++) {
		core_category_set(m->core, names[i], &(struct core_category_spec){.slow = 3});
		core_counter_set(m->core, names[i], 1000);
	}
	/* What nobody makes and nobody has will not come. */
	for (uint64_t i = 1; i <= m->n_items; i++) {
		const struct core_item *it = core_item_find(m->core, i);
		if (it && it->state != CORE_ITEM_THERE && !it->producer)
			core_item_failed(m->core, i);
	}
}

static void say_why(struct model *m)
{
	struct core_why w;
	struct task *t;
	for (size_t i = 0; (t = map_next(&m->tasks, &i));)
		if (!core_task_why(m->core, t->number, &w) && w.reason)
			printf("\ntask %llu: %s: item %llu, node %llu, producer %llu, %s",
			       (unsigned long long)t->number, core_reason_text(w.reason), (unsigned long long)w.item,
			       (unsigned long long)w.node, (unsigned long long)w.producer, w.name ? w.name : "");
}

/* Everything that may end does. */
static void run_turn(struct model *m, unsigned turn)
{
	struct task *t;
	core_set_time(m->core, m->now_usec += 1000000);
	core_decide(m->core, 0);
	for (size_t i = 0; (t = map_next(&m->tasks, &i));) {
		enum core_reason r = core_task_reason(m->core, t->number);
		if (r == CORE_REASON_CRASHES || r == CORE_REASON_INPUT_FAILED || r == CORE_REASON_DEADLINE)
			core_task_cancel(m->core, t->number);
		if (!m->is_silent || (t->first.node != SILENT && t->second.node != SILENT))
			end_attempt(m, t, 1);
	}
	while (m->n_fetches)
		end_fetch(m);
	for (uint64_t i = 1; i <= 3 && turn % 50 == 49; i++)
		core_node_judge(m->core, i, true);
}

/* Whether nothing is left but what has its room there and what waits for that to be made. */
static bool is_all_silent(const struct model *m)
{
	const struct core_task *t;
	for (size_t i = 0; (t = map_next(&m->core->tasks, &i));) {
		const struct core_task *other = core_task_other(t);
		bool is_there = core_task_has_node(t) &&
				(t->node->number == SILENT || (other && other->node->number == SILENT));
		if (!is_there && t->state != CORE_STATE_WAITING && t->state != CORE_STATE_DONE)
			return false;
	}
	return !m->core->orders.n;
}

static bool is_over(const struct model *m)
{
	struct core_numbers n;
	core_numbers(m->core, &n);
	return !n.queued && !n.running && !n.held;
}

/* Until is_done; every turn is a second, and there are not too many of them. */
static void run_until(struct model *m, bool (*is_done)(const struct model *m))
{
	for (unsigned turn = 0; !is_done(m); turn++) {
		if (turn == 3000)
			say_why(m);
		ASSERT(turn < 3000);
		run_turn(m, turn);
	}
	core_check(m->core);
}

/* A node that takes tasks and bytes and is never heard of again holds up nobody else; once it is lost, nobody at all. */
static void run_dry(struct model *m)
{
	lift_limits(m);
	m->is_silent = true;
	run_until(m, is_all_silent);
	m->is_silent = false;
	lose_node(m, SILENT);
	run_until(m, is_over);
	for (uint64_t i = 1; i <= m->n_items; i++)
		core_item_forget(m->core, i);
	for (uint64_t i = 1; i <= 3; i++)
		lose_node(m, i);
	core_decide(m->core, 0);
	core_check(m->core);
	ASSERT_EQ(m->core->tasks.n, 0);
	ASSERT_EQ(m->core->items.n, 0);
	ASSERT_EQ(m->core->trees.n, 0);
	ASSERT_EQ(m->core->classes.n, 0);
}

static void run_model(uint64_t seed, unsigned n_events, unsigned check_each)
{
	struct model *m = NEW(struct model);
	m->state = seed * 0x9e3779b97f4a7c15u + 1;
	m->core = core_new(&actions, m, &(struct core_options){.patience = 30, .token_usec = 20000});
	for (unsigned i = 0; i < n_events; i++) {
		random_event(m);
		if (i % check_each == 0)
			core_check(m->core);
	}
	run_dry(m);
	core_free(m->core);
	struct task *t;
	for (size_t i = 0; (t = map_next(&m->tasks, &i));)
		free(t);
	map_fini(&m->tasks);
	free(m);
}

/* A failing seed is the last one printed; CORE_SEED=N runs it alone, with every event checked. */
TEST(events_of_every_kind_break_no_invariant_and_every_task_ends)
{
	unit_run_seeds(&(struct unit_seeds){.name = "CORE_SEED",
					    .n_seeds = 20,
					    .n_soak = 500,
					    .n_steps = 20000,
					    .n_dense = 2,
					    .check_each = 64},
		       run_model);
}

TEST(second_attempts_were_among_them)
{
	ASSERT(getenv("CORE_SEED") || n_seconds > 20);
}
