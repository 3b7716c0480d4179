/* SPDX-License-Identifier: Apache-2.0
 * Rows about one task: why it waits, and what an answer to "why did it end so" needs beside its result; and about one path: what tasks declare of
 * it, and who has that. */
#include "vined/command_rows.h"

#include "vined/driver_flow.h"

#include <stdio.h>

#define NEAR_BEFORE 48u /* tasks submitted with it, whose times are compared */
#define NEAR_BEHIND 16u
#define NEAR_LEAST 5u

/* ---- how long others of its run take */

struct near {
	uint64_t run, self;
	uint64_t usec[NEAR_BEFORE + NEAR_BEHIND];
	size_t n;
};

static void note_near(void *arg, const struct store_row *row)
{
	struct near *b = arg;
	bool is_over = row->state == STORE_ENDED || row->state == STORE_DELIVERED;
	if (row->run == b->run && row->id != b->self && is_over && row->how == 1 && !row->status)
		b->usec[b->n++] = row->wall_usec;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Those beside it are looked at, not all that there are. 0: too few are over. */
static uint64_t median_near(struct store *s, uint64_t task, uint64_t run)
{
	struct near b = {.run = run, .self = task};
	uint64_t first = task > NEAR_BEFORE ? task - NEAR_BEFORE : 1;
	for (uint64_t id = first; id < task + NEAR_BEHIND; id++)
		store_list_tasks(s, id, 0, 1, note_near, &b);
	assert(b.n <= countof(b.usec));
	if (b.n < NEAR_LEAST)
		return 0;
	qsort(b.usec, b.n, sizeof *b.usec, by_number);
	return b.usec[b.n / 2];
}

/* ---- what is known of it */

struct known {
	struct driver_why why;
	struct driver_counts of_run;
	uint64_t median_usec;
	struct store_result result; /* numbers alone */
	struct store_shape shape;   /* the same */
	char givers[256];           /* who gave its inputs; "": not known any more */
	char program[256];
};

/* Behind the directory stand its words. */
static void note_program(struct store *s, uint64_t command, char to[256])
{
	struct wire_bytes body = {0};
	*to = 0;
	if (store_read_body(s, command, &body))
		return;
	const char *end = (const char *)body.at + body.n, *directory = (const char *)body.at;
	const char *word = directory + strnlen(directory, body.n) + 1;
	if (word < end)
		snprintf(to, 256, "%.*s", (int)strnlen(word, (size_t)(end - word)), word);
}

static int find(struct rows *t, uint64_t task, struct known *k)
{
	struct driver *d = t->command->driver;
	struct store *s = driver_store(d);
	struct store_task row;
	int waits = driver_why(d, task, &k->why);
	int r = store_read_result(s, task, &k->result, &row);
	/* One that was just submitted may not be on the disk yet. */
	if (r && r != -ENOENT)
		return r;
	if (!row.id)
		return waits;
	if (waits)
		k->why.state = row.state == STORE_DELIVERED ? "delivered" : "ended";
	uint64_t shape = row.shape, command = row.command_id, run = row.run;
	note_program(s, command, k->program);
	store_read_shape(s, shape, &k->shape);
	driver_count(d, run, &k->of_run);
	if (k->result.peer_size)
		driver_givers(d, task, k->result.node, k->givers);
	k->median_usec = median_near(s, task, run);
	return 0;
}

int rows_list_why(struct rows *t, const char *selector)
{
	struct known k = {.program = ""};
	size_t n = strlen(selector);
	if (!n || n > 18 || strspn(selector, "0123456789") != n)
		return -EINVAL;
	uint64_t task = strtoull(selector, NULL, 10);
	int r = find(t, task, &k);
	if (r)
		return r;
	rows_begin(t);
	rows_put_number(t, task);
	rows_put(t, "%s", k.why.state);
	rows_put(t, "%s", k.why.text);
	rows_put(t, "%s", k.why.item);
	rows_put_number(t, k.why.producer);
	rows_put(t, "%s", k.why.node);
	rows_put(t, "%s", k.program);
	const uint64_t numbers[] = {k.shape.cores,        k.shape.memory,     k.shape.disk,        k.shape.wall_usec,
				    k.result.peak_memory, k.result.peak_disk, k.result.local_size, k.result.moved_size,
				    k.of_run.waiting,     k.of_run.running,   k.median_usec};
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
	rows_put(t, "%s", k.why.cure);
	rows_put_number(t, k.result.peer_size);
	rows_put_number(t, k.result.source_size);
	rows_put_number(t, k.result.client_size);
	rows_put(t, "%s", k.givers);
	return 0;
}

/* ---- a path */

#define LOOKS_MOST 200000u /* at items of others */
#define HOLDERS_SHOWN 3u

struct holders {
	char text[400];
	size_t n;
};

static void on_holder(void *arg, const struct driver_replica *r)
{
	struct holders *h = arg;
	size_t n = strlen(h->text);
	if (r->size < r->total)
		return;
	if (h->n++ < HOLDERS_SHOWN)
		snprintf(h->text + n, sizeof h->text - n, "%s%.100s", n ? ", " : "", r->node);
}

/* It, or a directory that it lies in. */
static bool has_path(const char *item, const char *path)
{
	const char *at = has_prefix(item, "file:") || has_prefix(item, "node:") ? item + strlen("file:") : NULL;
	size_t n = at ? strlen(at) : 0;
	return n && strncmp(path, at, n) == 0 && (!path[n] || path[n] == '/' || at[n - 1] == '/');
}

int rows_list_path(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	struct driver_item item;
	uint32_t n_looks = 0;
	if (*selector != '/')
		return -EINVAL;
	for (size_t i = 0; n_looks < LOOKS_MOST && driver_next_item(d, &i, &item); n_looks++) {
		struct holders h = {.text = ""};
		if (!has_path(item.name, selector))
			continue;
		if (!rows_begin(t))
			break;
		driver_item_replicas(d, item.id, on_holder, &h);
		rows_put(t, "%s", item.name);
		rows_put(t, "%s", item.run);
		rows_put(t, "%s", item.state);
		rows_put_number(t, item.size);
		rows_put_number(t, item.producer);
		rows_put_number(t, item.n_tasks);
		rows_put_number(t, h.n);
		rows_put(t, "%s", h.text);
	}
	t->is_cut |= n_looks >= LOOKS_MOST;
	return 0;
}
