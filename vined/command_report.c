/* SPDX-License-Identifier: Apache-2.0
 * Rows for `vine report`: tasks and what they read, page by page, and settings. A selector is "WHERE RUN" or "WHERE " (of all): WHERE is 0 at the
 * beginning, then what the last row of the page before says as `next`; that row is no task's, and without it there is no more. */
#include "vined/command_rows.h"

#include "vined/store_report.h"

#include <stdio.h>

#define PAGE_TASKS 500u /* some milliseconds of the loop */
#define PAGE_INPUTS 1000u

/* "17 sweep": from 17 on. 0, -ENOENT or -EINVAL. */
static int parse(struct rows *t, const char *selector, struct store_report_at *at, uint64_t *run)
{
	size_t n_unfinished, n_ended;
	char *end;
	*at = (struct store_report_at){.from = 0};
	*run = 0;
	errno = 0;
	at->from = strtoull(selector, &end, 10);
	if (*selector < '0' || *selector > '9' || errno || *end != ' ' || at->from > INT64_MAX)
		return -EINVAL;
	if (end[1])
		*run = driver_find_run(t->command->driver, end + 1, &n_unfinished, &n_ended);
	return end[1] && !*run ? -ENOENT : 0;
}

/* The last row: all but `next`, which stands last, are empty. */
static void put_next(struct rows *t, const struct store_report_at *at, size_t n_columns)
{
	if (at->is_over || !rows_begin(t))
		return;
	for (size_t i = 0; i + 1 < n_columns; i++)
		rows_put(t, "%s", "");
	rows_put_number(t, at->from);
}

/* ---- tasks */

static const char *const state_words[] = {"queued", "running", "held", "ended", "delivered"};
static const char *const hows[] = {"", "exited", "killed", "not started", "lost", "cancelled", "", "no output"};
static const char *const limits[] = {"", "memory", "disk", "wall-time", "processes"};

static void on_task(void *arg, const struct store_report_task *task)
{
	struct rows *t = arg;
	const struct store_row *row = &task->row;
	const uint64_t numbers[] = {
		row->attempts,
		(uint64_t)row->at_usec,
		(uint64_t)row->started_usec,
		(uint64_t)task->ended_usec,
		row->wall_usec,
		task->cpu_usec,
		task->peak_memory,
		task->memory,
		task->peak_disk,
		task->disk,
		task->cores,
		task->gpus,
		task->local_size,
		task->moved_size,
		task->peer_size,
		task->source_size,
		task->client_size,
	};
	if (!rows_begin(t))
		return;
	rows_put_number(t, row->id);
	rows_put(t, "%s", row->name);
	rows_put(t, "%s", row->word);
	rows_put(t, "%s", row->tag);
	rows_put(t, "%s", task->category);
	rows_put(t, "%s", (size_t)row->state < countof(state_words) ? state_words[row->state] : "unknown");
	rows_put(t, "%s", row->node);
	rows_put(t, "%s", row->how < countof(hows) ? hows[row->how] : "unknown");
	rows_put_number(t, row->status);
	rows_put(t, "%s", row->exceeded < countof(limits) ? limits[row->exceeded] : "unknown");
	rows_put(t, "%.200s", row->reason);
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
	rows_put(t, "%s", "");
}

int rows_report_tasks(struct rows *t, const char *selector)
{
	static const char *const columns[] = {REPORT_TASK_COLUMNS};
	struct store_report_at at;
	uint64_t run;
	int r = parse(t, selector, &at, &run);
	if (!r)
		r = store_report_tasks(driver_store(t->command->driver), run, &at,
				       min(max(t->most, 2u) - 1, PAGE_TASKS), on_task, t);
	if (!r)
		put_next(t, &at, countof(columns));
	return r;
}

/* ---- what they read */

static void on_input(void *arg, const struct store_report_input *i)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", i->name);
	rows_put_number(t, i->size);
	rows_put_number(t, i->n_tasks);
	rows_put(t, "%s", "");
}

int rows_report_inputs(struct rows *t, const char *selector)
{
	static const char *const columns[] = {REPORT_INPUT_COLUMNS};
	struct store_report_at at;
	uint64_t run;
	int r = parse(t, selector, &at, &run);
	if (!r)
		r = store_report_inputs(driver_store(t->command->driver), run, &at,
					min(max(t->most, 2u) - 1, PAGE_INPUTS), on_input, t);
	if (!r)
		put_next(t, &at, countof(columns));
	return r;
}

/* ---- settings */

static void on_setting(void *arg, uint64_t run, const char *name, const char *value)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", name);
	rows_put(t, "%s", value);
	rows_put(t, "%s", run ? "run" : "cluster");
}

/* The cluster's, and those of a run. */
int rows_report_settings(struct rows *t, const char *selector)
{
	struct store *s = driver_store(t->command->driver);
	size_t n_unfinished, n_ended;
	uint64_t run = *selector ? driver_find_run(t->command->driver, selector, &n_unfinished, &n_ended) : 0;
	if (*selector && !run)
		return -ENOENT;
	int r = store_read_settings(s, 0, on_setting, t);
	return r || !run ? r : store_read_settings(s, run, on_setting, t);
}
