/* SPDX-License-Identifier: Apache-2.0
 * Rows about tasks: which a selector means, how many, and why they wait. */
#include "vined/command_rows.h"

#include "vined/driver_data.h"

#include <stdio.h>

#define RANGE_MOST 10000u
#define ASKED_MOST 2000u /* why they wait */
#define REASONS_MOST 12u

static bool is_number(const char *text)
{
	size_t n = strlen(text);
	return n && n < 19 && strspn(text, "0123456789") == n;
}

/* ---- what is meant */

static const struct state {
	const char *word;
	unsigned live; /* enum driver_live; 0: those that ended so */
	enum store_end end;
} states[] = {
	{"failed", 0, STORE_END_FAILED},
	{"done", 0, STORE_END_GOOD},
	{"cancelled", 0, STORE_END_CANCELLED},
	{"running", DRIVER_RUNNING, 0},
	{"waiting", DRIVER_WAITING | DRIVER_HELD, 0},
	{"queued", DRIVER_WAITING, 0},
	{"held", DRIVER_HELD, 0},
};

struct meant {
	uint64_t task, run; /* of these one, or neither: all */
	const struct state *state;
	const char *word; /* within the run; NULL: all of it */
	const char *tag;  /* NULL: any */
	char name[256];   /* of the run */
};

/* 0, -ENOENT or -EINVAL. */
static int find_run(struct rows *t, struct meant *m, const char *selector, size_t n)
{
	size_t n_unfinished, n_ended;
	snprintf(m->name, sizeof m->name, "%.*s", (int)min(n, sizeof m->name), selector);
	m->run = driver_find_run(t->command->driver, m->name, &n_unfinished, &n_ended);
	return m->run ? 0 : -ENOENT;
}

static int parse(struct rows *t, const char *selector, struct meant *m)
{
	size_t n = strcspn(selector, "/@");
	*m = (struct meant){.task = is_number(selector) ? strtoull(selector, NULL, 10) : 0};
	if (!*selector || m->task)
		return 0;
	if (has_prefix(selector, "tag:")) {
		m->tag = selector + strlen("tag:");
		return *m->tag ? 0 : -EINVAL;
	}
	if (selector[n] == '@' && has_prefix(selector + n + 1, "tag:")) {
		m->tag = selector + n + 1 + strlen("tag:");
		if (!*m->tag)
			return -EINVAL;
	} else if (selector[n] == '@') {
		for (size_t i = 0; i < countof(states) && !m->state; i++)
			m->state = streq(states[i].word, selector + n + 1) ? &states[i] : NULL;
		if (!m->state)
			return -EINVAL;
	} else if (selector[n]) {
		m->word = selector + n + 1;
	}
	if (m->word && (!*m->word || !n))
		return -EINVAL;
	return n ? find_run(t, m, selector, n) : 0;
}

struct found {
	struct buf ids;
	uint64_t run; /* only of this one */
	bool is_other;
};

static void add_id(void *arg, uint64_t id)
{
	struct found *f = arg;
	buf_put(&f->ids, &id, sizeof id);
}

static void note_run(void *arg, const struct store_row *row)
{
	struct found *f = arg;
	f->is_other = row->run != f->run;
}

/* What it is called, else its number, if it is this run's. */
static int find_word(struct rows *t, const struct meant *m, const char *word, struct found *f)
{
	struct store *s = driver_store(t->command->driver);
	uint64_t id;
	int r = store_find_task(s, m->run, word, &id);
	if (r == -ENOENT && is_number(word)) {
		id = strtoull(word, NULL, 10);
		f->run = m->run;
		r = id ? store_list_tasks(s, id, 0, 1, note_run, f) : 0;
		r = r < 0 ? r : r == 0 || f->is_other ? -ENOENT : 0;
	}
	if (!r)
		add_id(f, id);
	return r;
}

/* "1-9": those of them that there are. */
static int find_range(struct rows *t, const struct meant *m, uint64_t first, uint64_t last, struct found *f)
{
	if (last < first || last - first >= RANGE_MOST)
		return -EINVAL;
	for (uint64_t i = first; i <= last; i++) {
		char word[24];
		snprintf(word, sizeof word, "%llu", (unsigned long long)i);
		int r = find_word(t, m, word, f);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return f->ids.n ? 0 : -ENOENT;
}

static int find_words(struct rows *t, const struct meant *m, struct found *f)
{
	const char *dash = strchr(m->word, '-');
	int r = find_word(t, m, m->word, f);
	if (r != -ENOENT || !dash || !is_number(dash + 1) || strspn(m->word, "0123456789") != (size_t)(dash - m->word))
		return r;
	return find_range(t, m, strtoull(m->word, NULL, 10), strtoull(dash + 1, NULL, 10), f);
}

/* One more than wanted tells whether there are more. */
static int find_ids(struct rows *t, const struct meant *m, struct found *f)
{
	struct driver *d = t->command->driver;
	if (m->word)
		return find_words(t, m, f);
	if (m->tag)
		return rows_find_tag(t, m->run, m->tag, t->most + 1, &f->ids);
	if (m->state->live) {
		driver_list(d, m->run, m->state->live, t->most + 1, add_id, f);
		return 0;
	}
	return store_list_ended(driver_store(d), m->run, m->state->end, t->most + 1, add_id, f);
}

/* ---- rows of tasks */

static void on_task(void *arg, const struct store_row *row)
{
	static const char *const state_words[] = {"queued", "running", "held", "ended", "delivered"};
	static const char *const hows[] = {"", "exited", "killed", "not started", "lost", "cancelled", "", "no output"};
	static const char *const limits[] = {"", "memory", "disk", "wall-time", "processes"};
	struct rows *t = arg;
	struct driver_why why;
	if (!rows_begin(t))
		return;
	rows_put_number(t, row->id);
	rows_put(t, "%s", row->name);
	rows_put(t, "%s", row->tag);
	rows_put(t, "%s", (size_t)row->state < countof(state_words) ? state_words[row->state] : "unknown");
	driver_why(t->command->driver, row->id, &why);
	rows_put(t, "%s", *row->node ? row->node : why.node);
	rows_put_number(t, row->attempts);
	rows_put(t, "%s", row->how < countof(hows) ? hows[row->how] : "unknown");
	rows_put_number(t, row->status);
	bool is_waiting = row->state == STORE_QUEUED || row->state == STORE_HELD;
	rows_put(t, "%s", is_waiting ? why.text : row->reason);
	rows_put_time(t, row->at_usec);
	rows_put(t, "%s", row->word);
	rows_put(t, "%s", row->exceeded < countof(limits) ? limits[row->exceeded] : "unknown");
	rows_put_number(t, row->err_size);
	rows_put_number(t, row->wall_usec);
	rows_put_time(t, row->started_usec);
	const uint64_t sizes[] = {row->local_size, row->moved_size, row->peer_size, row->source_size, row->client_size};
	for (size_t i = 0; i < countof(sizes); i++)
		rows_put_number(t, sizes[i]);
}

int rows_list_tasks(struct rows *t, const char *selector)
{
	struct store *s = driver_store(t->command->driver);
	struct meant m;
	int r = parse(t, selector, &m);
	if (r < 0)
		return r;
	if (!m.word && !m.state && !m.tag) {
		/* One more than wanted tells whether there are more. */
		r = store_list_tasks(s, m.task, m.run, t->most + 1, on_task, t);
		return r == 0 && m.task ? -ENOENT : min(r, 0);
	}
	struct found f = {.run = 0};
	store_look(s, true);
	r = find_ids(t, &m, &f);
	const uint64_t *ids = (const uint64_t *)(const void *)f.ids.at;
	for (size_t i = 0; r >= 0 && !t->is_cut && i < f.ids.n / sizeof *ids; i++)
		r = store_list_tasks(s, ids[i], 0, 1, on_task, t);
	store_look(s, false);
	buf_fini(&f.ids);
	return min(r, 0);
}

/* ---- how many */

static void put_counts(struct rows *t, const char *run, const struct driver_counts *n, const struct store_ends *e)
{
	rows_begin(t);
	rows_put(t, "%s", run);
	rows_put_number(t, n->waiting);
	rows_put_number(t, n->running);
	rows_put_number(t, n->held);
	for (size_t i = STORE_END_GOOD; i < STORE_ENDS; i++)
		rows_put_number(t, e->n[i]);
	rows_put_number(t, e->worst);
}

static void note_state(void *arg, const struct store_row *row)
{
	struct driver_counts *n = arg;
	n->waiting += row->state == STORE_QUEUED;
	n->running += row->state == STORE_RUNNING;
	n->held += row->state == STORE_HELD;
}

/* More than are looked at one by one. */
static int count_state(struct rows *t, const struct meant *m, struct driver_counts *n, struct store_ends *e)
{
	struct driver_counts live;
	struct store_ends ends = {.worst = 0};
	enum store_end which = m->state->end;
	if (m->state->live) {
		driver_count(t->command->driver, m->run, &live);
		*n = (struct driver_counts){.waiting = m->state->live & DRIVER_WAITING ? live.waiting : 0,
					    .running = m->state->live & DRIVER_RUNNING ? live.running : 0,
					    .held = m->state->live & DRIVER_HELD ? live.held : 0};
		return 0;
	}
	int r = store_count_ended(driver_store(t->command->driver), 0, m->run, &ends);
	e->n[which] = ends.n[which];
	e->worst = which == STORE_END_GOOD ? 0 : which == STORE_END_CANCELLED ? 125 : ends.worst;
	return r;
}

static int count_ids(struct rows *t, const struct meant *m, struct driver_counts *n, struct store_ends *e)
{
	struct store *s = driver_store(t->command->driver);
	struct found f = {.run = 0};
	if (m->task)
		add_id(&f, m->task);
	store_look(s, true);
	int r = m->task ? 0 : find_ids(t, m, &f);
	const uint64_t *ids = (const uint64_t *)(const void *)f.ids.at;
	size_t n_ids = f.ids.n / sizeof *ids;
	bool is_more = r >= 0 && m->state && n_ids > t->most;
	if (is_more)
		r = count_state(t, m, n, e);
	for (size_t i = 0; r >= 0 && !is_more && i < n_ids; i++) {
		r = store_list_tasks(s, ids[i], 0, 1, note_state, n);
		r = r == 0 ? -ENOENT : r < 0 ? r : store_count_ended(s, ids[i], 0, e);
	}
	store_look(s, false);
	buf_fini(&f.ids);
	return min(r, 0);
}

int rows_list_counts(struct rows *t, const char *selector)
{
	struct driver_counts n = {.waiting = 0};
	struct store_ends e = {.worst = 0};
	struct meant m;
	int r = parse(t, selector, &m);
	if (!r && (m.task || m.word || m.state || m.tag)) {
		r = count_ids(t, &m, &n, &e);
	} else if (!r) {
		driver_count(t->command->driver, m.run, &n);
		r = store_count_ended(driver_store(t->command->driver), 0, m.run, &e);
	}
	if (r >= 0)
		put_counts(t, m.name, &n, &e);
	return min(r, 0);
}

/* ---- why they wait */

struct reason {
	char text[256];
	uint64_t n, task;
};

struct asking {
	const struct driver *driver;
	struct reason reasons[REASONS_MOST];
	size_t n;
	uint64_t n_asked;
};

/* Beyond the first so many reasons nobody reads them. */
static void ask(void *arg, uint64_t id)
{
	struct asking *a = arg;
	struct driver_why why;
	size_t i = 0;
	/* One that is being cancelled waits for nothing. */
	if (driver_why(a->driver, id, &why) || !*why.text)
		return;
	a->n_asked++;
	while (i < a->n && !streq(a->reasons[i].text, why.text))
		i++;
	if (i == REASONS_MOST)
		return;
	if (i == a->n) {
		a->n++;
		a->reasons[i].task = id;
		memcpy(a->reasons[i].text, why.text, sizeof why.text);
	}
	a->reasons[i].n++;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct reason *)a)->n, y = ((const struct reason *)b)->n;
	return (x < y) - (x > y);
}

int rows_list_waiting(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	struct asking a = {.driver = d};
	struct meant m;
	int r = parse(t, selector, &m);
	if (!r && (m.task || m.word || m.state || m.tag))
		r = -EINVAL;
	if (r < 0)
		return r;
	driver_list(d, m.run, DRIVER_WAITING | DRIVER_HELD, ASKED_MOST, ask, &a);
	qsort(a.reasons, a.n, sizeof *a.reasons, by_number);
	for (size_t i = 0; i < a.n && rows_begin(t); i++) {
		rows_put(t, "%s", a.reasons[i].text);
		rows_put_number(t, a.reasons[i].n);
		rows_put_number(t, a.reasons[i].task);
		rows_put_number(t, a.n_asked);
	}
	return 0;
}
