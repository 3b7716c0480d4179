// SPDX-License-Identifier: Apache-2.0
// Pages of tasks and inputs: each once, in order, by any size of page, of a run and of all, from the database and the archive; by keys alone.
#include "tests/unit/store_world.h"

#include "vined/store_internal.h"
#include "vined/store_report.h"

#include <unistd.h>

#define SEEN_MOST 4000

static uint64_t seen[SEEN_MOST];
static size_t n_seen;
static struct store_report_task last;
static char last_word[64], last_node[64], last_run[64];

static void see_page_task(void *arg, const struct store_report_task *t)
{
	(void)arg;
	ASSERT(n_seen < SEEN_MOST);
	seen[n_seen++] = t->row.id;
	last = *t;
	snprintf(last_word, sizeof last_word, "%s", t->row.word);
	snprintf(last_node, sizeof last_node, "%s", t->row.node);
	snprintf(last_run, sizeof last_run, "%s", t->row.name);
}

static void see_page(uint64_t run, struct store_report_at *at, uint32_t most)
{
	int error = -EBUSY; // the archive is being written or closed
	size_t before = n_seen;
	for (int i = 0; i < DEADLINE_TURNS && error == -EBUSY; i++) {
		n_seen = before;
		error = store_report_tasks(store, run, at, most, see_page_task, NULL);
		if (error)
			loop_turn(loop, 20);
	}
	ASSERT_EQ(error, 0);
}

static void see_all(uint64_t run, uint32_t most)
{
	struct store_report_at at = {.from = 0};
	unsigned n_pages = 0;
	n_seen = 0;
	while (!at.is_over) {
		size_t before = n_seen;
		see_page(run, &at, most);
		ASSERT(n_seen - before <= most);
		ASSERT(++n_pages < 10000);
	}
}

static uint64_t uses[8], n_bindings_told;
static void see_input(void *arg, const struct store_report_input *i)
{
	(void)arg;
	unsigned k = (unsigned)(strchr(i->name, '-')[1] - '0');
	ASSERT(k < 8);
	uses[k] += i->n_tasks;
	n_bindings_told++;
}

static void see_inputs(uint64_t run, uint32_t most)
{
	struct store_report_at at = {.from = 0};
	memset(uses, 0, sizeof uses);
	while (!at.is_over) {
		int error = store_report_inputs(store, run, &at, most, see_input, NULL);
		if (error == -EBUSY)
			loop_turn(loop, 20);
		else
			ASSERT_EQ(error, 0);
	}
}

// Bindings to items a, b (read) and c (made).
static void submit(uint64_t id, uint64_t run, uint64_t n_elements, const char *key)
{
	struct store_task *t = store_alloc(store, sizeof *t);
	struct store_binding *b = store_alloc(store, 3 * sizeof *b);
	for (unsigned i = 0; i < 3; i++)
		b[i] = (struct store_binding){.item = 1 + i, .path = "/x", .mode = (uint8_t)(i < 2 ? 1 : 3)};
	*t = (struct store_task){.id = id,
				 .run = run,
				 .key = store_text(store, key),
				 .tag = "a tag",
				 .command = bytes("/\0x", 4),
				 .environment = bytes("A=1", 4),
				 .shape = 4,
				 .bindings = b,
				 .n_bindings = 3,
				 .array = {.n = n_elements, .step = 2, .first_index = 10}};
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static void fill(void)
{
	for (unsigned i = 1; i <= 3; i++)
		store_put(store, &(struct store_op){.kind = STORE_ITEM,
						    .item = {.id = i,
							     .name = store_text(store, i == 1   ? "file:/a-1"
										       : i == 2 ? "file:/b-2"
												: "temp:c-3"),
							     .signature = "",
							     .size = 100 * i}});
	store_put(store, &(struct store_op){.kind = STORE_SHAPE,
					    .shape = {.id = 4,
						      .cores = 2,
						      .memory = 77,
						      .named = "",
						      .counters = "",
						      .features = "",
						      .category = "fit",
						      .how = ""}});
	store_put(store, &(struct store_op){.kind = STORE_NODE, .node = {7, "uuid-7", "w7"}});
	put_run(1, "sweep");
	put_run(2, "other");
	submit(10, 1, 0, "k10");
	submit(11, 1, 100, "");
	submit(111, 1, 0, "k111");
	submit(112, 2, 50, "");
	submit(162, 2, 0, "k162");
	submit(163, 1, 7, "");
	submit(170, 1, 0, "k170");
	store_flush(store);
	wait_for(9);
}

static void end(uint64_t from, uint64_t n)
{
	uint64_t *ids = store_alloc(store, n * sizeof *ids);
	for (uint64_t i = 0; i < n; i++) {
		ids[i] = from + i;
		store_put(store,
			  &(struct store_op){.kind = STORE_START,
					     .attempt = {.task = ids[i], .attempt = 1, .node = 7, .attempts = 1}});
		store_put(store, &(struct store_op){.kind = STORE_RESULT,
						    .result = {.task = ids[i],
							       .attempt = 1,
							       .node = 7,
							       .how = 1,
							       .status = 3,
							       .reason = "why",
							       .wall_usec = 5,
							       .cpu_usec = 6,
							       .peak_memory = 8,
							       .local_size = 9,
							       .moved_size = 11,
							       .peer_size = 7,
							       .source_size = 3,
							       .client_size = 1,
							       .peak_disk = 12}});
	}
	store_put(store, &(struct store_op){.kind = STORE_DONE, .on_stored = on_stored, .tasks = {ids, n}});
	store_flush(store);
	int before = n_called;
	for (int i = 0; i < DEADLINE_TURNS && n_called == before; i++)
		loop_turn(loop, 20);
}

// Of run 1: 10, 11 to 110, 111, 163 to 170.
static void expect_of_first(void)
{
	ASSERT_EQ(n_seen, 110);
	for (size_t i = 0; i < n_seen; i++)
		ASSERT_EQ(seen[i], i < 102 ? 10 + i : 163 + i - 102);
}

TEST(pages_of_any_size_tell_each_task_once_in_order)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 50, 101, 110, 1000};
	open_store();
	fill();
	end(111, 1);
	for (size_t i = 0; i < countof(sizes); i++) {
		see_all(1, sizes[i]);
		expect_of_first();
		see_all(2, sizes[i]);
		ASSERT_EQ(n_seen, 51);
		ASSERT_EQ(seen[0], 112);
		see_all(0, sizes[i]);
		ASSERT_EQ(n_seen, 161);
		for (size_t k = 0; k < n_seen; k++)
			ASSERT_EQ(seen[k], 10 + k);
	}
	see_all(3, 10);
	ASSERT_EQ(n_seen, 0);
	close_store();
}

TEST(a_row_has_all_that_is_known)
{
	open_store();
	fill();
	end(111, 1);
	struct store_report_at at = {.from = 111};
	ASSERT_EQ(store_report_tasks(store, 1, &at, 1, see_page_task, NULL), 0);
	ASSERT_EQ(last.row.id, 111);
	ASSERT_STR(last_word, "k111");
	ASSERT_STR(last_node, "w7");
	ASSERT_STR(last_run, "sweep");
	ASSERT_EQ(last.row.state, STORE_DELIVERED);
	ASSERT_EQ(last.row.how, 1);
	ASSERT_EQ(last.row.status, 3);
	ASSERT_EQ(last.row.wall_usec, 5);
	ASSERT_EQ(last.cpu_usec, 6);
	ASSERT_EQ(last.peak_memory, 8);
	ASSERT_EQ(last.local_size, 9);
	ASSERT_EQ(last.moved_size, 11);
	ASSERT_EQ(last.peer_size, 7);
	ASSERT_EQ(last.source_size, 3);
	ASSERT_EQ(last.client_size, 1);
	ASSERT_EQ(last.peak_disk, 12);
	ASSERT_EQ(last.memory, 77);
	ASSERT_EQ(last.cores, 2);
	ASSERT(last.row.at_usec && last.row.started_usec >= last.row.at_usec &&
	       last.ended_usec >= last.row.started_usec);
	// An element by its index; nothing of it has begun.
	at = (struct store_report_at){.from = 13};
	ASSERT_EQ(store_report_tasks(store, 1, &at, 1, see_page_task, NULL), 0);
	ASSERT_STR(last_word, "14");
	ASSERT_EQ(last.row.state, STORE_QUEUED);
	ASSERT_EQ(last.ended_usec, 0);
	close_store();
}

TEST(inputs_are_counted_for_each_element_and_outputs_are_none)
{
	static const uint32_t sizes[] = {1, 2, 5, 1000};
	open_store();
	fill();
	for (size_t i = 0; i < countof(sizes); i++) {
		see_inputs(1, sizes[i]);
		ASSERT_EQ(uses[1], 110);
		ASSERT_EQ(uses[2], 110);
		ASSERT_EQ(uses[3], 0);
		see_inputs(0, sizes[i]);
		ASSERT_EQ(uses[1], 161);
	}
	close_store();
}

// A second reader cannot look into a database that is exclusive.
static bool has_gone(void)
{
	for (int i = 0; i < DEADLINE_TURNS; i++) {
		int64_t n = -1;
		ASSERT_EQ(store_sql_number(store->reader_db, "SELECT count(*) FROM submits", &n), 0);
		if (!n)
			return true;
		loop_turn(loop, 20);
	}
	return false;
}

static void archive_is_told(bool is_exclusive)
{
	struct conf_error e = {""};
	ASSERT_EQ(store_open(&store, &(struct store_options){db_path(), is_exclusive}, &e), 0);
	store_keep(store, 0);
	loop = loop_new();
	ASSERT_EQ(store_start(store, loop), 0);
	n_called = n_first = last_error = 0;
	fill();
	end(10, 161);
	ASSERT(has_gone());
	for (uint32_t most = 1; most < 200; most += 33) {
		see_all(1, most);
		expect_of_first();
	}
	ASSERT_EQ(last.row.status, 3);
	ASSERT_STR(last_run, "sweep");
	ASSERT_STR(last_word, "k170");
	ASSERT_STR(last_node, "w7");
	see_inputs(1, 10);
	ASSERT_EQ(uses[1], 110);
	// More of the same run is told, too, and behind it.
	submit(200, 1, 0, "again");
	store_flush(store);
	wait_for(n_called + 1);
	see_all(1, 10);
	ASSERT_EQ(n_seen, 111);
	ASSERT_EQ(seen[110], 200);
	close_store();
}

TEST(what_went_to_the_archive_is_told_from_there)
{
	archive_is_told(false);
}

TEST(and_where_one_process_alone_may_read_the_database)
{
	archive_is_told(true);
}

// What is committed there and not deleted here yet, as a crash leaves it, is told once.
TEST(what_is_being_moved_is_told_once)
{
	char from[600], to[600];
	open_store();
	fill();
	snprintf(from, sizeof from, "VACUUM INTO '%s/archive.sqlite'", unit_tmpdir());
	snprintf(to, sizeof to, "%s/archive.sqlite", unit_tmpdir());
	run_sql(from);
	ASSERT_EQ(access(to, F_OK), 0);
	run_sql("UPDATE runs SET archived = 1; UPDATE submits SET leaving = 1 WHERE run = 1");
	see_all(1, 20);
	expect_of_first();
	see_all(0, 20);
	ASSERT_EQ(n_seen, 161);
	// What was forgotten is told neither from here nor, if it ever was there, from there.
	run_sql("UPDATE submits SET leaving = 2 WHERE run = 2");
	see_all(1, 20);
	expect_of_first();
	close_store();
}

// Between two pages the beginning of a span goes, as the mover moves it, then all of the run.
TEST(what_moves_between_two_pages_is_told_once)
{
	char from[600];
	struct store_report_at at = {.from = 0};
	open_store();
	fill();
	snprintf(from, sizeof from, "VACUUM INTO '%s/archive.sqlite'", unit_tmpdir());
	run_sql(from);
	n_seen = 0;
	for (unsigned n = 0; !at.is_over; n++) {
		see_page(1, &at, 25);
		if (n == 0)
			run_sql("UPDATE runs SET archived = 1; UPDATE submits SET leaving = 1 WHERE run = 1;"
				"INSERT INTO submits SELECT 61, first + n - 61, run, 1 FROM submits WHERE first = 11;"
				"DELETE FROM submits WHERE first IN (10, 11)");
		if (n == 2)
			run_sql("DELETE FROM submits WHERE run = 1; DELETE FROM tasks WHERE run = 1; "
				"DELETE FROM arrays WHERE run = 1");
	}
	expect_of_first();
	close_store();
}

// One that is not sound does no harm to a run of which nothing is in it.
TEST(the_archive_is_opened_for_runs_that_are_in_it)
{
	char path[600];
	open_store();
	fill();
	snprintf(path, sizeof path, "%s/archive.sqlite", unit_tmpdir());
	FILE *f = fopen(path, "w");
	ASSERT(f && fputs("no database, however long one looks at it", f) > 0 && fclose(f) == 0);
	see_all(1, 50);
	expect_of_first();
	run_sql("UPDATE runs SET archived = 1 WHERE id = 1");
	struct store_report_at at = {.from = 0};
	ASSERT_EQ(store_report_tasks(store, 1, &at, 10, see_page_task, NULL), -EUCLEAN);
	close_store();
}

// However many other runs' spans lie between, a page ends.
TEST(pages_are_bounded_by_what_they_look_at_in_vain)
{
	open_store();
	fill();
	run_sql("WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 2 FROM n WHERE i < 20000) "
		"INSERT INTO submits SELECT i, 1, 2, 0 FROM n");
	struct store_report_at at = {.from = 171};
	n_seen = 0;
	unsigned n_pages = 0;
	for (; !at.is_over; n_pages++)
		ASSERT_EQ(store_report_tasks(store, 1, &at, 10, see_page_task, NULL), 0);
	ASSERT_EQ(n_seen, 0);
	ASSERT(n_pages >= 4 && n_pages <= 6);
	close_store();
}
