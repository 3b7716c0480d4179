// SPDX-License-Identifier: Apache-2.0
// The views that doc/database.md promises to people, and its examples.
#include "tests/unit/store_world.h"

#include "common/path.h"

static char *page;

static void read_page(void)
{
	const char *srcdir = getenv("srcdir");
	_free_ char *path = path_join(srcdir ? srcdir : ".", "doc/database.md");
	size_t n = 0;
	page = path_read(path, 1 << 20, &n);
	if (!page)
		SKIP("no doc/database.md: srcdir is not set");
}

static struct store_task *new_task(uint64_t id, uint64_t n_elements)
{
	struct store_task *t = store_alloc(store, sizeof *t);
	struct store_binding *b = store_alloc(store, 2 * sizeof *b);
	b[0] = (struct store_binding){.item = 1, .path = store_text(store, "/data/shard-7"), .mode = 1};
	b[1] = (struct store_binding){.item = 2, .path = store_text(store, "out-{index}"), .mode = 3};
	*t = (struct store_task){.id = id,
				 .run = 1,
				 .key = "",
				 .tag = "a tag",
				 .command = bytes("/tmp\0true", 10),
				 .environment = bytes("A=1", 4),
				 .shape = 4,
				 .bindings = b,
				 .n_bindings = 2,
				 .array = {.first_index = 100, .step = 2, .n = n_elements}};
	return t;
}

static void fill(void)
{
	struct store_replica *p = store_alloc(store, sizeof *p);
	*p = (struct store_replica){.node = 7, .size = 5, .tree = {.algorithm = 1, .byte = {0xab}}};
	put_run(1, "sweep");
	store_put(store, &(struct store_op){.kind = STORE_NODE, .node = {7, "uuid-7", "w7"}});
	store_put(store, &(struct store_op){.kind = STORE_SHAPE,
					    .shape = {4, 2, 1, 3, 1 << 20, 5, 6, 2, "", "", "", "big", NULL}});
	store_put(store,
		  &(struct store_op){.kind = STORE_ITEM,
				     .item = {.id = 1, .name = "file:/data/shard-7", .signature = "1:2:3", .size = 9}});
	store_put(store, &(struct store_op){.kind = STORE_ITEM,
					    .item = {.id = 2,
						     .run = 1,
						     .name = "temp:out-{index}",
						     .signature = "",
						     .is_lost = true,
						     .producer = 17}});
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .submit = {new_task(17, 0), 1}});
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .submit = {new_task(20, 5), 1}});
	put_start(17, 1, 1);
	put_start(22, 2, 1);
	put_result(17, 1, "hi");
	put_result(23, 0, "");
	store_put(store, &(struct store_op){.kind = STORE_REPLICAS, .replicas = {p, 1}});
	store_put(store, &(struct store_op){.kind = STORE_EVENT,
					    .on_stored = on_stored,
					    .event = {17, 7, 2, "task-retried", "because"}});
	store_flush(store);
	wait_for(4);
}

TEST(arrays_are_shown_element_by_element)
{
	open_store();
	fill();
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks"), 6);
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks WHERE state = 'queued'"), 3);
	ASSERT_EQ(ask("SELECT array_index FROM v_tasks WHERE state = 'running' AND array = 20 AND node = 'w7'"), 104);
	ASSERT_EQ(ask("SELECT count(*) FROM v_bindings"), 12);
	ASSERT_EQ(ask("SELECT task FROM v_bindings WHERE path = 'out-108' AND mode = 'out' AND item = 'temp:out-108'"),
		  24);
	ASSERT_EQ(ask("SELECT count(*) FROM v_bindings WHERE path = 'out-{index}' AND task = 17"), 1);
	close_store();
}

TEST(every_view_has_what_was_put)
{
	open_store();
	fill();
	ASSERT_EQ(
		ask("SELECT status FROM v_tasks WHERE task = 17 AND how = 'exited' AND category = 'big' AND cores = 2"),
		3);
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks WHERE task = 17 AND submitted > '2020' AND started > '2020' AND "
		      "ended > '2020'"),
		  1);
	ASSERT_EQ(ask("SELECT producer FROM v_items WHERE state = 'lost' AND run = 'sweep'"), 17);
	ASSERT_EQ(ask("SELECT size FROM v_replicas WHERE node = 'w7' AND tree LIKE 'ab00%' AND length(tree) = 64"), 5);
	ASSERT_EQ(ask("SELECT running * 100 + trees FROM v_nodes WHERE name = 'w7'"), 101);
	ASSERT_EQ(ask("SELECT tasks * 1000 + queued * 100 + running * 10 + ended FROM v_runs WHERE run = 'sweep'"),
		  6312);
	ASSERT_EQ(ask("SELECT failed FROM v_runs"), 2);
	ASSERT_EQ(ask("SELECT count(*) FROM v_events"), 2 + 2 + 2 + 1);
	ASSERT_EQ(ask("SELECT count(*) FROM v_events WHERE event = 'task-retried' AND node = 'w7' AND text = 'because' "
		      "AND item = 'temp:out-{index}'"),
		  1);
	close_store();
}

static void run_example(sqlite3 *db, const char *sql, int *n)
{
	sqlite3_stmt *s = NULL;
	while (*sql) {
		int r = sqlite3_prepare_v2(db, sql, -1, &s, &sql);
		if (r != SQLITE_OK)
			printf("%s\n", sqlite3_errmsg(db));
		ASSERT_EQ(r, SQLITE_OK);
		if (!s)
			break;
		while ((r = sqlite3_step(s)) == SQLITE_ROW)
			;
		ASSERT_EQ(r, SQLITE_DONE);
		sqlite3_finalize(s);
		++*n;
	}
}

/* Beside the store that has it open, by a connection that may not write. */
TEST(every_example_of_the_page_runs)
{
	sqlite3 *db = NULL;
	int n = 0;
	read_page();
	if (!page)
		return;
	open_store();
	fill();
	ASSERT_EQ(sqlite3_open_v2(db_path(), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	for (char *at = page, *end; (at = strstr(at, "```sql\n")); at = end) {
		at += strlen("```sql\n");
		end = strstr(at, "```");
		ASSERT(end);
		_free_ char *sql = xstrndup(at, (size_t)(end - at));
		run_example(db, sql, &n);
	}
	ASSERT(n >= 8);
	sqlite3_close(db);
	close_store();
	free(page);
}

TEST(every_column_of_every_view_is_explained)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int n = 0, n_missing = 0;
	read_page();
	if (!page)
		return;
	open_store();
	ASSERT_EQ(sqlite3_open_v2(db_path(), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ASSERT_EQ(sqlite3_prepare_v2(db,
				     "SELECT v.name, c.name FROM sqlite_master v, pragma_table_info(v.name) c "
				     "WHERE v.type = 'view' AND v.name LIKE 'v\\_%' ESCAPE '\\'",
				     -1, &s, NULL),
		  SQLITE_OK);
	for (; sqlite3_step(s) == SQLITE_ROW; n++) {
		_free_ char *heading = xasprintf("## %s\n", (const char *)sqlite3_column_text(s, 0));
		_free_ char *column = xasprintf("`%s`", (const char *)sqlite3_column_text(s, 1));
		const char *begin = strstr(page, heading), *end = begin ? strstr(begin + 3, "\n## ") : NULL;
		const char *at = begin ? strstr(begin, column) : NULL;
		bool is_there = at && (!end || at < end);
		if (!is_there)
			printf("%s %s is not explained\n", heading, column);
		n_missing += !is_there;
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	ASSERT_EQ(n_missing, 0);
	ASSERT(n > 60);
	close_store();
	free(page);
}
