// SPDX-License-Identifier: Apache-2.0
// A database that the disk has changed: it is refused, or what is read of it is right; and what lies on whole pages is salvaged.
#include "tests/unit/store_world.h"

#include "common/path.h"
#include "vined/store_pages.h"
#include "vined/store_salvage.h"

#include <unistd.h>

#define N_TASKS 1500u
#define ARRAY 100000u

static const char *const kept_tables[] = {"nodes",    "items",   "commands", "tasks", "arrays",
					  "bindings", "results", "heads",    "events"};

/* ---- a database with some of everything */

static void put_many(void)
{
	static char large[9000];
	memset(large, 'x', sizeof large);
	for (uint64_t i = 0; i < N_TASKS; i++) {
		char body[60], path[40];
		int n = snprintf(body, sizeof body, "/tmp%cprogram-%d", 0, (int)i % 300);
		struct store_task *t = store_alloc(store, sizeof *t);
		struct store_binding *b = store_alloc(store, 2 * sizeof *b);
		for (int k = 0; k < 2; k++) {
			snprintf(path, sizeof path, "/data/%d/%d", (int)i, k);
			b[k] = (struct store_binding){
				.item = 1 + (i + (uint64_t)k) % 200, .path = store_text(store, path), .mode = 1};
		}
		*t = (struct store_task){.id = 10 + i,
					 .run = 1,
					 .key = "",
					 .tag = "a tag",
					 .command = bytes(body, (uint32_t)n + 1),
					 .environment = bytes("A=1", 4),
					 .shape = 4,
					 .bindings = b,
					 .n_bindings = 2};
		store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .submit = {t, 1}});
		if (i % 3 == 0)
			put_start(10 + i, 5 + i, 1);
		if (i % 3 == 0 && i < 900)
			put_result(10 + i, 5 + i, i % 90 ? "some text" : "");
	}
	for (uint64_t i = 0; i < 20; i++)
		store_put(store, &(struct store_op){.kind = STORE_RESULT,
						    .result = {.task = 11 + i * 30,
							       .how = 1,
							       .reason = "",
							       .out = {large, (uint32_t)(3000 + i * 300)}}});
}

static void make(void)
{
	open_store();
	put_run(1, "sweep");
	store_put(store, &(struct store_op){.kind = STORE_NODE, .node = {7, "uuid-7", "w7"}});
	store_put(store, &(struct store_op){.kind = STORE_SHAPE,
					    .shape = {4, 2, 1, 3, 1 << 20, 5, 6, 2, "", "", "", "big", NULL}});
	for (uint64_t i = 1; i <= 200; i++) {
		char name[40];
		snprintf(name, sizeof name, "file:/data/shard-%d", (int)i);
		store_put(store,
			  &(struct store_op){.kind = STORE_ITEM,
					     .item = {.id = i, .name = store_text(store, name), .signature = "1:2:3"}});
		store_put(store, &(struct store_op){.kind = STORE_EVENT,
						    .event = {.task = i, .what = "task-waits", .text = "x"}});
	}
	put_many();
	struct store_task *t = store_alloc(store, sizeof *t);
	*t = (struct store_task){.id = ARRAY,
				 .run = 1,
				 .key = "k",
				 .tag = "",
				 .command = bytes("/tmp\0array", 11),
				 .environment = bytes("A=1", 4),
				 .shape = 4,
				 .array = {.n = 1000, .step = 1}};
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
	store_flush(store);
	for (int i = 0; i < DEADLINE_TURNS && store_backlog(store); i++)
		loop_turn(loop, 20);
	close_store();
}

/* ---- its rows, page by page, each as a number */

struct rows {
	struct row {
		uint64_t sum;
		uint32_t page;
		bool is_long;
	} * at;
	size_t n, room;
	uint32_t page;
};

static uint64_t mix(uint64_t sum, const void *p, size_t n)
{
	const uint8_t *at = p;
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ at[i]) * 0x100000001b3;
	return sum;
}

static void add_row(void *arg, const struct store_record *r)
{
	struct rows *rows = arg;
	uint64_t sum = mix(0xcbf29ce484222325, &r->n, sizeof r->n);
	size_t size = 0;
	for (size_t i = 0; i < r->n; i++) {
		const struct store_value *v = &r->at[i];
		int64_t number = v->type == STORE_NULL ? r->rowid : v->number;
		sum = mix(sum, &number, sizeof number);
		sum = mix(sum, v->at, v->n);
		size += v->n + 9;
	}
	if (rows->n == rows->room) {
		rows->room = max(rows->room * 2, (size_t)4096);
		rows->at = xrealloc(rows->at, rows->room * sizeof *rows->at);
	}
	rows->at[rows->n++] = (struct row){sum, rows->page, size > 3500};
}

static void take_leaf(void *arg, uint32_t page)
{
	void **both = arg;
	struct rows *rows = both[1];
	rows->page = page;
	store_pages_rows(both[0], page, add_row, rows);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return x->sum < y->sum ? -1 : x->sum > y->sum;
}

/* Those of the tables that salvaging never adds to. */
static void read_rows(const char *path, struct rows *rows)
{
	_cleanup_(store_pages_freep) struct store_pages *p = NULL;
	*rows = (struct rows){0};
	ASSERT_EQ(store_pages_open(&p, path), 0);
	for (size_t i = 0; i < countof(kept_tables); i++) {
		char sql[100];
		snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_master WHERE name = '%s'", kept_tables[i]);
		int64_t root = ask_file(path, sql);
		ASSERT(root > 1);
		store_pages_walk(p, (uint32_t)root, &(struct store_walk){take_leaf, NULL, (void *[]){p, rows}});
	}
	if (rows->n)
		qsort(rows->at, rows->n, sizeof *rows->at, compare_rows);
}

static bool has_row(const struct rows *rows, uint64_t sum)
{
	const struct row key = {.sum = sum};
	return rows->n && bsearch(&key, rows->at, rows->n, sizeof key, compare_rows) != NULL;
}

/* ---- damage */

static uint8_t *whole;
static size_t whole_size;
static uint64_t seed;

static bool is_changed[4096]; /* pages */

static void change(uint8_t *at, size_t *size)
{
	size_t n_pages = whole_size / STORE_PAGE_SIZE, page = unit_random(&seed) % n_pages;
	uint8_t *p = at + page * STORE_PAGE_SIZE;
	switch (unit_random(&seed) % 5) {
	case 0: /* a bit */
		p[unit_random(&seed) % STORE_PAGE_SIZE] ^= (uint8_t)(1u << unit_random(&seed) % 8);
		break;
	case 1: /* some bytes */
		for (int i = 0; i < 40; i++)
			p[unit_random(&seed) % STORE_PAGE_SIZE] = (uint8_t)unit_random(&seed);
		break;
	case 2: /* a page that was never written */
		memset(p, 0, STORE_PAGE_SIZE);
		break;
	case 3: /* another page in its place */
		memcpy(p, at + unit_random(&seed) % n_pages * STORE_PAGE_SIZE, STORE_PAGE_SIZE);
		break;
	case 4: /* the end is missing */
		*size = page * STORE_PAGE_SIZE + unit_random(&seed) % STORE_PAGE_SIZE;
		memset(at + *size, 0, whole_size - *size);
		break;
	}
	for (size_t i = 0; i < n_pages; i++)
		is_changed[i] = memcmp(at + i * STORE_PAGE_SIZE, whole + i * STORE_PAGE_SIZE, STORE_PAGE_SIZE) != 0;
}

static void damage(void)
{
	_free_ uint8_t *copy = xmemdup(whole, whole_size);
	size_t size = whole_size;
	change(copy, &size);
	/* The header and the root of all are pages like others, but seldom hit. */
	if (unit_random(&seed) % 10 == 0) {
		copy[unit_random(&seed) % 100] ^= 0x10;
		is_changed[0] = memcmp(copy, whole, STORE_PAGE_SIZE) != 0;
	}
	_free_ char *log = xasprintf("%s-wal", db_path()), *shared = xasprintf("%s-shm", db_path());
	unlink(log);
	unlink(shared);
	ASSERT_EQ(path_write(db_path(), copy, size, 0600, false), 0);
}

/* Every row of every table, through SQLite: all of them are right, or an error is met. */
static int read_all(const struct rows *right)
{
	int error = 0;
	for (size_t i = 0; i < countof(kept_tables) && !error; i++) {
		char sql[60];
		sqlite3_stmt *q = NULL;
		int r;
		snprintf(sql, sizeof sql, "SELECT * FROM %s", kept_tables[i]);
		if (sqlite3_prepare_v2(store->reader_db, sql, -1, &q, NULL))
			return store_sql_errno(store->reader_db);
		struct rows one = {0};
		while ((r = sqlite3_step(q)) == SQLITE_ROW) {
			struct store_record record = {.n = (size_t)sqlite3_column_count(q)};
			for (int k = 0; k < (int)record.n; k++) {
				struct store_value *v = &record.at[k];
				int type = sqlite3_column_type(q, k);
				v->type = type == SQLITE_INTEGER ? STORE_INTEGER : STORE_BLOB;
				v->number = type == SQLITE_INTEGER ? sqlite3_column_int64(q, k) : 0;
				v->at = type == SQLITE_INTEGER ? NULL : sqlite3_column_blob(q, k);
				v->n = type == SQLITE_INTEGER ? 0 : (size_t)sqlite3_column_bytes(q, k);
			}
			one.n = 0;
			add_row(&one, &record);
			ASSERT(has_row(right, one.at[0].sum));
		}
		error = r == SQLITE_DONE ? 0 : store_sql_errno(store->reader_db);
		sqlite3_finalize(q);
		free(one.at);
	}
	return error;
}

/* True if it was refused, or an error met. */
static bool try_it(const struct rows *right)
{
	char text[512];
	struct seen s;
	int r = open_error(text);
	if (r) {
		ASSERT(strstr(text, db_path()));
		ASSERT(r != -EUCLEAN || strstr(text, "--salvage") || strstr(text, "move it away"));
		return true;
	}
	s = (struct seen){.loader = {see_node, see_run, see_setting, see_shape, see_item, see_task, &s, 0, 0, 0, 0, 0}};
	r = store_load(store, &s.loader);
	if (!r)
		ASSERT_EQ(s.n_tasks, N_TASKS + 1);
	if (!r)
		r = read_all(right);
	store_free(store);
	store = NULL;
	return r != 0;
}

static void see_any_run(void *arg, const struct store_run *r)
{
	struct seen *s = arg;
	ASSERT(streq(r->name, "sweep") || has_prefix(r->name, "salvaged-"));
	s->n_runs++;
}

static void salvage_it(const struct rows *right)
{
	char fresh[600];
	struct conf_error e = {""};
	struct store_salvaged s;
	struct rows rows;
	snprintf(fresh, sizeof fresh, "%s.fresh", db_path());
	unlink(fresh);
	ASSERT_EQ(store_salvage(db_path(), fresh, &s, &e), 0);
	read_rows(fresh, &rows);
	for (size_t i = 0; i < rows.n; i++)
		ASSERT(has_row(right, rows.at[i].sum));
	for (size_t i = 0; i < right->n; i++) {
		const struct row *r = &right->at[i];
		if (!is_changed[r->page - 1] && !r->is_long)
			ASSERT(has_row(&rows, r->sum));
	}
	free(rows.at);
	/* And it can be worked with. */
	if (seed % 5)
		return;
	ASSERT_EQ(rename(fresh, db_path()), 0);
	struct seen seen;
	open_store();
	seen = (struct seen){
		.loader = {see_node, see_any_run, see_setting, see_shape, see_item, see_task, &seen, 0, 0, 0, 0, 0}};
	ASSERT_EQ(store_load(store, &seen.loader), 0);
	close_store();
	ASSERT_EQ(ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

TEST(a_damaged_database_is_refused_or_right_and_what_is_whole_is_salvaged)
{
	struct rows right;
	unsigned n_refused = 0, n = getenv("SOAK") ? 3000 : 200;
	make();
	whole = (uint8_t *)path_read(db_path(), 64 << 20, &whole_size);
	ASSERT(whole && whole_size > 60 * STORE_PAGE_SIZE && whole_size / STORE_PAGE_SIZE < countof(is_changed));
	read_rows(db_path(), &right);
	ASSERT(right.n > N_TASKS * 3);
	for (unsigned i = 1; i <= n; i++) {
		seed = i;
		damage();
		n_refused += try_it(&right);
		seed = i;
		damage();
		salvage_it(&right);
	}
	printf("%u of %u met an error; ", n_refused, n);
	ASSERT(n_refused > n / 2);
	free(whole);
	free(right.at);
}

TEST(of_a_whole_database_nothing_is_lost)
{
	char fresh[600];
	struct conf_error e = {""};
	struct store_salvaged s;
	make();
	snprintf(fresh, sizeof fresh, "%s.fresh", db_path());
	ASSERT_EQ(store_salvage(db_path(), fresh, &s, &e), 0);
	ASSERT_EQ(s.n_damaged, 0);
	ASSERT_EQ(s.n_rows_lost, 0);
	ASSERT_EQ(s.n_held, 0);
	ASSERT_EQ(ask_file(fresh, "SELECT count(*) FROM tasks"), N_TASKS);
	ASSERT_EQ(ask_file(fresh, "SELECT value FROM meta WHERE name = 'boot'"), 1);
}
