/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_keys.h"

#include <inttypes.h>

static const unsigned intervals[] = {250, 500, 1000, 2000, 5000, 10000, 30000, 60000};

void top_state_init(struct top_state *s, uint64_t interval_msec)
{
	*s = (struct top_state){.interval = 0};
	while (s->interval + 1 < countof(intervals) && intervals[s->interval] < interval_msec)
		s->interval++;
}

unsigned top_interval_msec(const struct top_state *s)
{
	assert(s->interval < countof(intervals));
	return intervals[s->interval];
}

bool top_is_close(const struct top_state *s)
{
	return *s->at.task || *s->at.item;
}

bool top_wants_same(const struct top_state *a, const struct top_state *b)
{
	const struct top_place *x = &a->at, *y = &b->at;
	return x->page == y->page && streq(x->run, y->run) && streq(x->node, y->node) && streq(x->find, y->find) &&
	       streq(x->task, y->task) && streq(x->item, y->item) && memcmp(a->sort, b->sort, sizeof a->sort) == 0 &&
	       a->interval == b->interval;
}

/* ---- rows */

#define SORTS 4u
static const char *const sorts[TOP_PAGES][SORTS] = {
	[TOP_RUNS_PAGE] = {"work", "name", "failed", "rest"},    [TOP_NODES_PAGE] = {"busy", "name", "cache", "state"},
	[TOP_TASKS_PAGE] = {"state", "longest", "name", "node"}, [TOP_DATA_PAGE] = {"size", "name", "nodes"},
	[TOP_TRANSFERS_PAGE] = {"rate", "rest", "to", "from"},
};

const char *top_sort_name(const struct top_state *s)
{
	assert(s->at.page < TOP_PAGES && s->sort[s->at.page] < SORTS);
	return sorts[s->at.page][s->sort[s->at.page]];
}

static bool has(const char *text, const char *find)
{
	return strcasestr(text, find) != NULL;
}

/* vined has looked for nodes and items already: it knows more of them than are here. */
static bool is_found(const struct top_state *s, const struct top_model *m, size_t row)
{
	const char *find = s->at.find;
	char label[TOP_TEXT];
	if (!*find)
		return true;
	if (s->at.page == TOP_OVERVIEW || s->at.page == TOP_RUNS_PAGE)
		return has(m->runs[row].name, find);
	if (s->at.page == TOP_TRANSFERS_PAGE) {
		const struct top_transfer *x = &m->transfers[row];
		return has(x->from, find) || has(x->to, find) || has(x->item, find);
	}
	if (s->at.page != TOP_TASKS_PAGE)
		return true;
	const struct top_task *t = &m->tasks[row];
	return has(top_task_label(t, label), find) || has(t->node, find) || has(t->reason, find) ||
	       has(top_task_state(t), find);
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_runs(const struct top_run *a, const struct top_run *b, const char *sort)
{
	if (streq(sort, "name"))
		return strverscmp(a->name, b->name);
	if (streq(sort, "failed"))
		return compare(b->counts.failed, a->counts.failed);
	uint64_t x = top_rest_sec(a), y = top_rest_sec(b);
	return streq(sort, "rest") ? compare(y, x) : 0;
}

static int compare_tasks(const struct top_task *a, const struct top_task *b, const char *sort)
{
	char x[TOP_TEXT], y[TOP_TEXT];
	if (streq(sort, "name"))
		return strverscmp(top_task_label(a, x), top_task_label(b, y));
	if (streq(sort, "node"))
		return strverscmp(a->node, b->node);
	if (!streq(sort, "longest"))
		return 0;
	/* What runs, by when it began; then by how long it took. */
	bool runs_a = streq(a->state, "running"), runs_b = streq(b->state, "running");
	if (runs_a != runs_b)
		return runs_b - runs_a;
	return runs_a ? compare(a->started_usec, b->started_usec) : compare(b->wall_usec, a->wall_usec);
}

static int compare_transfers(const struct top_transfer *a, const struct top_transfer *b, const char *sort)
{
	if (streq(sort, "to"))
		return strverscmp(a->to, b->to);
	if (streq(sort, "from"))
		return strverscmp(a->from, b->from);
	return streq(sort, "rest") ? compare(b->rest, a->rest) : compare(b->rate, a->rate);
}

static int compare_rows(const struct top_state *s, const struct top_model *m, size_t a, size_t b)
{
	const char *sort = top_sort_name(s);
	if (s->at.page == TOP_RUNS_PAGE)
		return compare_runs(&m->runs[a], &m->runs[b], sort);
	if (s->at.page == TOP_TASKS_PAGE)
		return compare_tasks(&m->tasks[a], &m->tasks[b], sort);
	if (s->at.page == TOP_TRANSFERS_PAGE)
		return compare_transfers(&m->transfers[a], &m->transfers[b], sort);
	if (s->at.page == TOP_DATA_PAGE && streq(sort, "nodes"))
		return compare(m->items[b].nodes, m->items[a].nodes);
	return 0;
}

size_t top_rows(const struct top_state *s, const struct top_model *m, size_t rows[TOP_ROWS])
{
	const size_t lengths[TOP_PAGES] = {m->n_runs, m->n_runs, m->n_nodes, m->n_tasks, m->n_items, m->n_transfers};
	size_t n = 0;
	assert(s->at.page < TOP_PAGES && lengths[s->at.page] <= TOP_ROWS);
	/* By insertion: there are few, and those that are equal stay as they came. */
	for (size_t i = 0; i < lengths[s->at.page]; i++) {
		size_t k = n;
		if (!is_found(s, m, i))
			continue;
		for (; k && compare_rows(s, m, rows[k - 1], i) > 0; k--)
			rows[k] = rows[k - 1];
		rows[k] = i;
		n++;
	}
	return n;
}

const char *top_row_key(const struct top_state *s, const struct top_model *m, size_t row, char to[TOP_TEXT])
{
	switch (s->at.page) {
	case TOP_NODES_PAGE:
		return strcpy(to, m->nodes[row].name);
	case TOP_TASKS_PAGE:
		snprintf(to, TOP_TEXT, "%" PRIu64, m->tasks[row].id);
		return to;
	case TOP_DATA_PAGE:
		return strcpy(to, m->items[row].name);
	case TOP_TRANSFERS_PAGE:
		snprintf(to, TOP_TEXT, "%.80s %.80s %.80s", m->transfers[row].to, m->transfers[row].from,
			 m->transfers[row].item);
		return to;
	default:
		return strcpy(to, m->runs[row].name);
	}
}

static void choose(struct top_state *s, const struct top_model *m, size_t place)
{
	size_t rows[TOP_ROWS], n = top_rows(s, m, rows);
	*s->at.chosen = 0;
	s->at.row = n ? min(place, n - 1) : 0;
	if (n)
		top_row_key(s, m, rows[s->at.row], s->at.chosen);
}

void top_state_follow(struct top_state *s, const struct top_model *m)
{
	size_t rows[TOP_ROWS], n = top_rows(s, m, rows);
	char key[TOP_TEXT];
	/* The first one is chosen as a place, by who has not moved away from it. */
	for (size_t i = 0; s->at.row && i < n; i++) {
		if (streq(top_row_key(s, m, rows[i], key), s->at.chosen)) {
			s->at.row = i;
			return;
		}
	}
	if (n)
		choose(s, m, s->at.row);
}

/* ---- keys from bytes */

static const struct {
	const char *bytes;
	uint32_t key;
} sequences[] = {
	{"\033[A", TOP_KEY_UP},         {"\033[B", TOP_KEY_DOWN},     {"\033[C", TOP_KEY_RIGHT},
	{"\033[D", TOP_KEY_LEFT},       {"\033OA", TOP_KEY_UP},       {"\033OB", TOP_KEY_DOWN},
	{"\033OC", TOP_KEY_RIGHT},      {"\033OD", TOP_KEY_LEFT},     {"\033[5~", TOP_KEY_PAGE_UP},
	{"\033[6~", TOP_KEY_PAGE_DOWN}, {"\033[H", TOP_KEY_HOME},     {"\033[F", TOP_KEY_END},
	{"\033OH", TOP_KEY_HOME},       {"\033OF", TOP_KEY_END},      {"\033[1~", TOP_KEY_HOME},
	{"\033[4~", TOP_KEY_END},       {"\033[Z", TOP_KEY_BACK_TAB},
};

/* Of ESC [ ... or ESC O x: up to its last byte. */
static size_t sequence_length(const char *bytes, size_t n)
{
	if (n < 3)
		return 0;
	if (bytes[1] == 'O')
		return 3;
	for (size_t i = 2; i < n; i++) {
		if (bytes[i] >= 0x40 && bytes[i] <= 0x7e)
			return i + 1;
	}
	return 0;
}

size_t top_key_next(const char *bytes, size_t n, bool is_all, uint32_t *key)
{
	if (!n)
		return 0;
	*key = (uint8_t)bytes[0];
	if (bytes[0] != '\033')
		return 1;
	bool is_sequence = n > 1 && (bytes[1] == '[' || bytes[1] == 'O');
	size_t length = is_sequence ? sequence_length(bytes, n) : n > 1;
	*key = is_sequence ? TOP_KEY_OTHER : TOP_KEY_ESCAPE;
	if (!length)
		return is_all ? n : 0;
	for (size_t i = 0; i < countof(sequences); i++) {
		if (strlen(sequences[i].bytes) == length && memcmp(bytes, sequences[i].bytes, length) == 0)
			*key = sequences[i].key;
	}
	return length;
}

/* ---- what they do */

static void remember(struct top_state *s)
{
	if (s->n_back == TOP_BACK)
		memmove(s->back, s->back + 1, --s->n_back * sizeof *s->back);
	s->back[s->n_back++] = s->at;
}

static void go(struct top_state *s, enum top_page page)
{
	s->at = (struct top_place){.page = page};
	s->n_back = 0;
}

static void go_back(struct top_state *s)
{
	if (s->has_help)
		s->has_help = false;
	else if (!top_is_close(s) && *s->at.find)
		*s->at.find = 0;
	else if (s->n_back)
		s->at = s->back[--s->n_back];
	else if (s->at.page != TOP_OVERVIEW)
		go(s, TOP_OVERVIEW);
}

static void enter(struct top_state *s, const struct top_model *m)
{
	size_t rows[TOP_ROWS], n = top_rows(s, m, rows);
	char key[TOP_TEXT];
	if (!n || top_is_close(s))
		return;
	enum top_page page = s->at.page;
	top_row_key(s, m, rows[min(s->at.row, n - 1)], key);
	snprintf(s->at.chosen, sizeof s->at.chosen, "%s", key);
	remember(s);
	if (page == TOP_TASKS_PAGE) {
		snprintf(s->at.task, sizeof s->at.task, "%.23s", key);
	} else if (page == TOP_DATA_PAGE) {
		snprintf(s->at.item, sizeof s->at.item, "%s", key);
	} else if (page == TOP_TRANSFERS_PAGE) {
		snprintf(s->at.item, sizeof s->at.item, "%s", m->transfers[rows[min(s->at.row, n - 1)]].item);
	} else {
		s->at = (struct top_place){.page = TOP_TASKS_PAGE};
		snprintf(page == TOP_NODES_PAGE ? s->at.node : s->at.run, TOP_TEXT, "%s", key);
	}
	s->at.line = 0;
}

/* Letters of a word that is looked for, until enter or escape. */
static void type(struct top_state *s, const struct top_model *m, uint32_t key)
{
	size_t n = strlen(s->at.find);
	if (key == '\r' || key == '\n') {
		s->is_typing = false;
	} else if (key == TOP_KEY_ESCAPE) {
		s->is_typing = false;
		*s->at.find = 0;
	} else if (key == 0x7f || key == '\b') {
		while (n && (s->at.find[n - 1] & 0xc0) == 0x80)
			n--;
		s->at.find[n ? n - 1 : 0] = 0;
	} else if (key >= ' ' && key <= 0xff && n + 1 < sizeof s->at.find) {
		s->at.find[n] = (char)key;
		s->at.find[n + 1] = 0;
	}
	choose(s, m, 0);
}

static bool move(struct top_state *s, const struct top_model *m, uint32_t key, size_t height)
{
	size_t *at = top_is_close(s) ? &s->at.line : &s->at.row, page = max(height, (size_t)1);
	size_t to = *at;
	switch (key) {
	case TOP_KEY_UP:
	case 'k':
		to -= to > 0;
		break;
	case TOP_KEY_DOWN:
	case 'j':
		to++;
		break;
	case TOP_KEY_PAGE_UP:
		to -= min(to, page);
		break;
	case TOP_KEY_PAGE_DOWN:
	case ' ':
		to += page;
		break;
	case TOP_KEY_HOME:
	case 'g':
		to = 0;
		break;
	case TOP_KEY_END:
	case 'G':
		to = TOP_ROWS;
		break;
	default:
		return false;
	}
	if (top_is_close(s))
		*at = min(to, (size_t)TOP_ROWS);
	else
		choose(s, m, to);
	return true;
}

static void turn_page(struct top_state *s, int by)
{
	go(s, (enum top_page)(((int)s->at.page + by + TOP_PAGES) % TOP_PAGES));
}

static void sort_next(struct top_state *s, const struct top_model *m)
{
	unsigned *sort = &s->sort[s->at.page];
	*sort = (*sort + 1) % SORTS;
	if (!sorts[s->at.page][*sort])
		*sort = 0;
	choose(s, m, 0);
}

static void command(struct top_state *s, const struct top_model *m, uint32_t key)
{
	switch (key) {
	case 'q':
		s->is_over = !s->n_back && !s->has_help;
		go_back(s);
		break;
	case TOP_KEY_ESCAPE:
	case TOP_KEY_LEFT:
	case 0x7f:
		go_back(s);
		break;
	case '\r':
	case '\n':
	case TOP_KEY_RIGHT:
		enter(s, m);
		break;
	case '\t':
		turn_page(s, 1);
		break;
	case TOP_KEY_BACK_TAB:
		turn_page(s, -1);
		break;
	case '/':
		s->is_typing = !top_is_close(s);
		break;
	case 's':
		sort_next(s, m);
		break;
	case 'x':
		go(s, TOP_TRANSFERS_PAGE);
		break;
	case 'p':
		s->is_paused = !s->is_paused;
		break;
	case '+':
	case '=':
		s->interval += s->interval + 1 < countof(intervals);
		break;
	case '-':
		s->interval -= s->interval > 0;
		break;
	case '?':
	case 'h':
		s->has_help = true;
		break;
	}
}

void top_press(struct top_state *s, const struct top_model *m, uint32_t key, size_t height)
{
	if (key == 3 || key == 4) { /* a terminal that makes no signals of them */
		s->is_over = true;
	} else if (s->is_typing) {
		type(s, m, key);
	} else if (s->has_help) {
		s->has_help = false;
	} else if (key >= '1' && key < '1' + TOP_PAGES) {
		go(s, (enum top_page)(key - '1'));
	} else if (!move(s, m, key, height)) {
		command(s, m, key);
	}
}
