/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_ask.h"

#include "libvineclient/vine.h"
#include "tools/node.h"
#include "tools/why_task.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define DUTY 10u         /* what took 1 ms is not asked again for 10 ms */
#define DEAR_USEC 20000u /* what takes longer holds others up, so it is asked much more seldom */
#define DEAR_DUTY 100u
#define SELDOM_USEC 5000000u
#define RUNS_COUNTED 10u /* in a round */
#define COUNTED_USEC 50000u
#define PATIENCE_SEC 1 /* for the thread's end, before its question is broken off */

enum { RUNNING_MOST = 100, WAITING_MOST = 50, FAILED_MOST = 50, OVERVIEW_NODES = 60, OVERVIEW_TASKS = 40 };

enum question {
	CLUSTER,
	COUNTS,
	REASONS,
	RUNS,
	RUN_COUNTS,
	NODES,
	RUNNING,
	WAITING,
	FAILED,
	ITEMS,
	TRANSFERS,
	MOVED,
	CACHE,
	CLOSE,
	QUESTIONS
};

/* Tasks of a kind, as they were told last. */
struct part {
	struct top_task *at;
	size_t n;
};

struct top_ask {
	struct vine *v;
	struct node *node;
	/* The thread's own. */
	struct top_model *m;
	struct top_state wish;
	uint64_t due_usec[QUESTIONS];
	struct part running, waiting, failed;
	int error;
	bool is_all; /* everything, at once */
	/* Shared, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool is_started, is_ending, has_wish;
	struct top_state next;
	struct top_model *ready;
	uint64_t began_usec; /* a round; 0: none is under way */
	int fd;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- when to ask what */

static bool is_due(const struct top_ask *a, enum question q)
{
	return a->is_all || now_usec() >= a->due_usec[q];
}

static void was_asked(struct top_ask *a, enum question q, uint64_t began_usec)
{
	uint64_t now = now_usec(), cost = now - began_usec;
	uint64_t rest = cost * (cost > DEAR_USEC ? DEAR_DUTY : DUTY);
	uint64_t least = q == CACHE || q == CLOSE ? SELDOM_USEC : 1000ull * top_interval_msec(&a->wish);
	/* A little less than the interval, lest it miss a turn by a hair. */
	a->due_usec[q] = now + max(rest, least - min(least, UINT64_C(20000)));
}

/* After a fault, or at the end, nothing more is asked: the session may be gone. */
static bool may_ask(struct top_ask *a)
{
	pthread_mutex_lock(&a->lock);
	if (a->is_ending)
		a->error = -ECANCELED;
	pthread_mutex_unlock(&a->lock);
	return !a->error;
}

/* False: nothing is to be taken from the answer. A run or node that is gone has no rows. */
static bool ask(struct top_ask *a, enum question q, const char *what, const char *selector, vine_row_fn *fn, void *arg)
{
	uint64_t began = now_usec();
	int r = may_ask(a) ? vine_query(a->v, what, selector, fn, arg) : a->error;
	/* A vined of before knows nothing of what moves. */
	bool is_unknown = r == -EINVAL && (q == TRANSFERS || q == MOVED);
	if (r >= 0 || r == -ENOENT || is_unknown) {
		was_asked(a, q, began);
		return true;
	}
	if (!a->error)
		snprintf(a->m->trouble, sizeof a->m->trouble, "%s", vine_error());
	a->error = r;
	return false;
}

/* Something else is looked at: its rows are wanted now. */
static void note_wish(struct top_ask *a, const struct top_state *s)
{
	static const enum question lists[] = {NODES, RUNNING, WAITING, FAILED, ITEMS, TRANSFERS, CLOSE};
	const struct top_place *old = &a->wish.at, *new = &s->at;
	for (size_t i = 0; i < countof(lists) && !top_wants_same(&a->wish, s); i++)
		a->due_usec[lists[i]] = 0;
	if (!streq(old->run, new->run) || !streq(old->node, new->node))
		a->running.n = a->waiting.n = a->failed.n = 0;
	a->wish = *s;
}

/* ---- questions */

static void ask_cluster(struct top_ask *a, const struct top_model *before)
{
	if (!is_due(a, CLUSTER) || !ask(a, CLUSTER, "top", NULL, top_on_cluster, a->m))
		return;
	a->m->at_usec = now_usec();
	top_follow_cluster(a->m, before);
}

static void ask_counts(struct top_ask *a)
{
	struct counts c;
	uint64_t began = now_usec();
	if (!may_ask(a) || !is_due(a, COUNTS) || (a->m->has_counts && a->m->counted_over == a->m->cluster.over))
		return;
	a->error = counts_ask(a->v, NULL, &c);
	if (a->error)
		return;
	a->m->counts = c;
	a->m->has_counts = true;
	a->m->counted_over = a->m->cluster.over;
	was_asked(a, COUNTS, began);
}

static void ask_reasons(struct top_ask *a)
{
	const struct top_cluster *c = &a->m->cluster;
	if (a->error || !is_due(a, REASONS))
		return;
	top_model_begin(a->m, TOP_REASONS_LIST);
	if (c->queued || c->held)
		ask(a, REASONS, "waiting", NULL, top_on_reason, a->m);
}

static bool wants_counts(const struct top_run *r)
{
	return !r->has_counts || r->counted_unfinished != r->unfinished;
}

/* Those whose turn was longest ago, as many as are cheap. */
static void ask_run_counts(struct top_ask *a)
{
	uint64_t began = now_usec();
	bool is_of_run = a->wish.at.page == TOP_TASKS_PAGE;
	if (!is_due(a, RUN_COUNTS))
		return;
	for (unsigned k = 0; k < RUNS_COUNTED && may_ask(a) && now_usec() - began < COUNTED_USEC; k++) {
		struct top_run *next = NULL;
		for (size_t i = 0; i < a->m->n_runs; i++) {
			struct top_run *r = &a->m->runs[i];
			bool is_meant = (!is_of_run || streq(r->name, a->wish.at.run)) && r->counted_usec < began;
			if (is_meant && wants_counts(r) && (!next || r->counted_usec < next->counted_usec))
				next = r;
		}
		if (!next)
			break;
		struct counts c;
		int r = counts_ask(a->v, next->name, &c);
		a->error = r == -ENOENT ? 0 : r;
		next->counted_usec = now_usec();
		next->counted_unfinished = next->unfinished;
		next->has_counts = !r;
		next->counts = r ? next->counts : c;
	}
	was_asked(a, RUN_COUNTS, began);
}

static void ask_runs(struct top_ask *a, const struct top_model *before)
{
	char words[32];
	if (a->error || !is_due(a, RUNS))
		return;
	snprintf(words, sizeof words, "%u", TOP_ROWS);
	top_model_begin(a->m, TOP_RUNS_LIST);
	if (!ask(a, RUNS, "top-runs", words, top_on_run, a->m))
		return;
	a->m->runs_usec = now_usec();
	top_follow_runs(a->m, before);
}

static void ask_nodes(struct top_ask *a)
{
	char words[128];
	bool is_page = a->wish.at.page == TOP_NODES_PAGE;
	if (a->error || !is_due(a, NODES))
		return;
	snprintf(words, sizeof words, "%u %s %s", is_page ? TOP_ROWS : OVERVIEW_NODES,
		 is_page ? top_sort_name(&a->wish) : "busy", is_page ? a->wish.at.find : "");
	top_model_begin(a->m, TOP_NODES_LIST);
	ask(a, NODES, "top-nodes", words, top_on_node, a->m);
}

static void ask_part(struct top_ask *a, enum question q, struct part *p, const char *state, unsigned most)
{
	char words[TOP_TEXT + 64];
	const struct top_place *at = &a->wish.at;
	if (a->error || !is_due(a, q))
		return;
	snprintf(words, sizeof words, "%u %s %s", most, *at->node ? "node" : state, *at->node ? at->node : at->run);
	top_model_begin(a->m, TOP_TASKS_LIST);
	if (!ask(a, q, "top-tasks", words, top_on_task, a->m))
		return;
	free(p->at);
	p->n = a->m->n_tasks;
	p->at = xmemdup(a->m->tasks, max(p->n, (size_t)1) * sizeof *p->at);
}

static void join_parts(struct top_ask *a)
{
	const struct part *const parts[] = {&a->running, &a->waiting, &a->failed};
	top_model_begin(a->m, TOP_TASKS_LIST);
	for (size_t i = 0; i < countof(parts); i++) {
		size_t n = min(parts[i]->n, TOP_ROWS - a->m->n_tasks);
		if (n)
			memcpy(a->m->tasks + a->m->n_tasks, parts[i]->at, n * sizeof *parts[i]->at);
		a->m->n_tasks += n;
	}
}

static void ask_tasks(struct top_ask *a)
{
	bool is_node = *a->wish.at.node;
	ask_part(a, RUNNING, &a->running, "running", is_node ? TOP_ROWS : RUNNING_MOST);
	if (!is_node) {
		ask_part(a, WAITING, &a->waiting, "waiting", WAITING_MOST);
		ask_part(a, FAILED, &a->failed, "failed", FAILED_MOST);
	}
	join_parts(a);
}

static void ask_items(struct top_ask *a)
{
	char words[128];
	if (a->error || !is_due(a, ITEMS))
		return;
	snprintf(words, sizeof words, "%u %s %s", TOP_ROWS, top_sort_name(&a->wish), a->wish.at.find);
	top_model_begin(a->m, TOP_ITEMS_LIST);
	ask(a, ITEMS, "top-items", words, top_on_item, a->m);
}

static void ask_transfers(struct top_ask *a)
{
	if (!a->error && is_due(a, TRANSFERS)) {
		top_model_begin(a->m, TOP_TRANSFERS_LIST);
		ask(a, TRANSFERS, "transfers", a->wish.at.find, top_on_transfer, a->m);
	}
	if (!a->error && is_due(a, MOVED))
		ask(a, MOVED, "moved", NULL, top_on_moved, a->m);
}

static void ask_cache(struct top_ask *a)
{
	static const struct wire_cache_list all = {.tree = ""};
	struct top_cache *c = &a->m->cache;
	void *reply = NULL;
	uint64_t began = now_usec();
	if (!is_due(a, CACHE))
		return;
	*c = (struct top_cache){.size = 0};
	int r = a->node ? 0 : node_open(&a->node, false);
	if (!r)
		r = node_ask(a->node,
			     &(struct node_ask){.type = WIRE_CACHE_LIST, .message = &all, .answer = WIRE_CACHED},
			     &reply);
	const struct wire_cached *told = reply;
	if (!r) {
		*c = (struct top_cache){.is_there = true,
					.is_sick = told->is_sick,
					.size = told->size,
					.quota = told->quota,
					.trees = told->trees.n,
					.damaged = told->n_damaged};
		snprintf(c->path, sizeof c->path, "%s", told->path);
		snprintf(c->reason, sizeof c->reason, "%s", told->reason);
	} else {
		node_free(steal(a->node));
	}
	free(reply);
	was_asked(a, CACHE, began);
}

/* ---- a closer look */

static int add_holder(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct table row = {0};
	char size[32], total[32];
	table_add(&row, n, names, cells);
	uint64_t has = strtoull(table_find(&row, 0, "size") ?: "0", NULL, 10);
	uint64_t all = strtoull(table_find(&row, 0, "total") ?: "0", NULL, 10);
	print_size(size, has);
	print_size(total, all);
	buf_printf(arg, has < all ? "%s: %s of %s\n" : "%s: all of it, %s\n", table_find(&row, 0, "node") ?: "?", size,
		   total);
	table_fini(&row);
	return 0;
}

static void ask_holders(struct top_ask *a, struct buf *text)
{
	char words[TOP_TEXT + 32];
	snprintf(words, sizeof words, "%u item %s", TOP_ROWS, a->wish.at.item);
	if (ask(a, CLOSE, "top-holders", words, add_holder, text) && !text->n)
		buf_puts(text, "no node has it in its cache\n");
}

static void ask_close(struct top_ask *a)
{
	const struct top_place *at = &a->wish.at;
	_cleanup_(buf_fini) struct buf text = {0};
	struct table rows = {0};
	if (a->error || !is_due(a, CLOSE))
		return;
	if (*at->item)
		ask_holders(a, &text);
	else if (ask(a, CLOSE, "tasks", at->task, table_add, &rows) && rows.n_rows)
		why_task(a->v, &rows, 0, &text);
	else if (!a->error)
		buf_puts(&text, "there is no such task any more\n");
	table_fini(&rows);
	buf_consume(&a->m->detail, a->m->detail.n);
	buf_put(&a->m->detail, text.at, text.n);
	snprintf(a->m->detail_of, sizeof a->m->detail_of, "%s", *at->task ? at->task : at->item);
}

/* ---- rounds */

static void ask_page(struct top_ask *a, const struct top_model *before)
{
	enum top_page page = a->wish.at.page;
	bool needs_runs = page == TOP_OVERVIEW || page == TOP_RUNS_PAGE || *a->wish.at.run;
	ask_cluster(a, before);
	if (top_is_close(&a->wish)) {
		ask_close(a);
		return;
	}
	if (needs_runs) {
		ask_runs(a, before);
		ask_run_counts(a);
	}
	if (page == TOP_OVERVIEW) {
		ask_reasons(a);
		ask_counts(a);
		ask_part(a, RUNNING, &a->running, "running", OVERVIEW_TASKS);
		join_parts(a);
	}
	if (page == TOP_OVERVIEW || page == TOP_NODES_PAGE)
		ask_nodes(a);
	else if (page == TOP_TASKS_PAGE)
		ask_tasks(a);
	else if (page == TOP_DATA_PAGE)
		ask_items(a);
	else if (page == TOP_TRANSFERS_PAGE)
		ask_transfers(a);
	if (page == TOP_DATA_PAGE)
		ask_cache(a);
}

static void ask_round(struct top_ask *a)
{
	_cleanup_(top_model_freep) struct top_model *before = top_model_copy(a->m);
	a->error = 0;
	*a->m->trouble = 0;
	ask_page(a, before);
	if (a->error && !*a->m->trouble)
		snprintf(a->m->trouble, sizeof a->m->trouble, "%s", vine_error());
}

int top_ask_once(struct top_ask *a, const struct top_state *s, struct top_model *m)
{
	struct top_state every = *s;
	a->wish = *s;
	a->is_all = true;
	ask_round(a);
	/* A page's own is there; the others' beside it. */
	for (int page = TOP_OVERVIEW; page < TOP_PAGES && !a->error; page++) {
		every.at.page = (enum top_page)page;
		a->wish = every;
		if (page != (int)s->at.page)
			ask_page(a, a->m);
	}
	struct buf old = m->detail;
	buf_fini(&old);
	*m = *a->m;
	a->m->detail = (struct buf){.n = 0};
	return a->error;
}

/* ---- the thread */

static void wait_until(struct top_ask *a, uint64_t until_usec)
{
	struct timespec t = {.tv_sec = (time_t)(until_usec / 1000000), .tv_nsec = (long)(until_usec % 1000000) * 1000};
	while (!a->is_ending && !a->has_wish && now_usec() < until_usec)
		pthread_cond_timedwait(&a->changed, &a->lock, &t);
}

static void publish(struct top_ask *a)
{
	top_model_free(a->ready);
	a->ready = top_model_copy(a->m);
	a->began_usec = 0;
	uint64_t one = 1;
	/* It is full only of wakings. */
	if (write(a->fd, &one, sizeof one) < 0)
		assert(errno == EAGAIN);
}

static void *run(void *arg)
{
	struct top_ask *a = arg;
	pthread_mutex_lock(&a->lock);
	while (!a->is_ending) {
		struct top_state s = a->next;
		bool is_wished = a->has_wish;
		a->has_wish = false;
		a->began_usec = now_usec();
		uint64_t next = a->began_usec + 1000ull * top_interval_msec(&s);
		pthread_mutex_unlock(&a->lock);
		note_wish(a, &s);
		if (is_wished || !s.is_paused)
			ask_round(a);
		pthread_mutex_lock(&a->lock);
		publish(a);
		wait_until(a, next);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

struct top_ask *top_ask_new(struct vine *v)
{
	struct top_ask *a = NEW(struct top_ask);
	pthread_condattr_t clock;
	a->v = v;
	a->m = top_model_new();
	a->fd = -1;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, &clock);
	pthread_condattr_destroy(&clock);
	return a;
}

int top_ask_start(struct top_ask *a, const struct top_state *s)
{
	assert(!a->is_started);
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->fd < 0)
		return -errno;
	a->next = a->wish = *s;
	a->has_wish = true;
	int r = pthread_create(&a->thread, NULL, run, a);
	a->is_started = !r;
	return -r;
}

/* Whether it has ended within so many seconds. */
static bool has_ended(struct top_ask *a)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += PATIENCE_SEC;
	return !a->is_started || pthread_timedjoin_np(a->thread, NULL, &t) == 0;
}

void top_ask_free(struct top_ask *a)
{
	struct part *const parts[] = {&a->running, &a->waiting, &a->failed};
	pthread_mutex_lock(&a->lock);
	a->is_ending = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	bool is_over = has_ended(a);
	/* If it waits for an answer, this ends that. */
	vine_close(a->v, 1);
	/* The node's door does not answer: the thread ends with the process, and keeps what it has until then. */
	if (!is_over && !has_ended(a))
		return;
	for (size_t i = 0; i < countof(parts); i++)
		free(parts[i]->at);
	top_model_free(a->m);
	top_model_free(a->ready);
	node_free(a->node);
	close_fd(a->fd);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void top_ask_set(struct top_ask *a, const struct top_state *s)
{
	pthread_mutex_lock(&a->lock);
	a->next = *s;
	a->has_wish = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

int top_ask_fd(const struct top_ask *a)
{
	return a->fd;
}

struct top_model *top_ask_take(struct top_ask *a)
{
	uint64_t n;
	pthread_mutex_lock(&a->lock);
	struct top_model *m = steal(a->ready);
	if (read(a->fd, &n, sizeof n) < 0)
		assert(errno == EAGAIN);
	pthread_mutex_unlock(&a->lock);
	return m;
}

uint64_t top_ask_silent_sec(struct top_ask *a)
{
	pthread_mutex_lock(&a->lock);
	uint64_t began = a->began_usec;
	pthread_mutex_unlock(&a->lock);
	return began ? (now_usec() - began) / 1000000 : 0;
}
