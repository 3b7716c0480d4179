/* SPDX-License-Identifier: Apache-2.0
 * What is submitted, element by element: shown, or posted in batches. Elements have keys, by which they are named later (RUN/17), and by which what
 * was posted before a submit was killed is not posted twice. */
#include "common/map.h"
#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/dry_run.h"
#include "tools/json.h"
#include "tools/run_files.h"
#include "tools/sending.h"
#include "tools/submit_work.h"

#include <inttypes.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define BATCH 10000u
#define SHOWN_MOST 2u
#define ROOM_SEC 600

struct element {
	struct job_options o;
	char **argv;
	struct binds files;
	char *key, *stdin_path;
};

static void element_fini(struct element *e)
{
	conf_fini(&submit_table, &e->o);
	job_free_words(e->argv);
	binds_fini(&e->files);
	free(e->key);
	free(e->stdin_path);
}

/* Nobody waits here for what a task leaves: its node puts it where it belongs, if it can; else it stays in the cluster under that name. */
static void settle_output(const struct job_options *o, struct bind *b)
{
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *place = path_join(here ?: "/", b->here);
	_free_ char *parent = xstrndup(place, (size_t)(path_base(place) - place));
	assert(b->is_output && !b->uri);
	b->uri = job_is_shared(o, parent) ? xasprintf("keep:%s", place) : xasprintf("temp:%s", b->here);
	b->flags |= VINE_NAMED;
	free(steal(b->here));
}

/* Element k of the part; native: of all of them. Status. */
static int element_read(const struct work_part *p, uint64_t k, struct element *e)
{
	uint64_t n = work_count(p), index = p->array.n ? p->array.first + k * p->array.step : k + 1;
	char text[24];
	snprintf(text, sizeof text, "%" PRIu64, index);
	const struct job_place place = {.index = p->is_native             ? "{index}"
						 : p->array.n || p->lines ? text
									  : NULL,
					.line = p->lines ? p->lines[k] : NULL};
	job_expand_options(&submit_table, &p->o, &place, &e->o);
	e->argv = job_expand_words(p->argv, &place);
	bool is_many = p->array.n || p->lines;
	if (p->name)
		e->key = is_many ? xasprintf("%s.%s", p->name, text) : xstrdup(p->name);
	else if (is_many || !p->o.add)
		e->key = xstrdup(is_many ? text : "1");
	assert(k < n);
	(void)n;
	int status = job_binds(&submit_table, &e->o, e->argv, &e->files, &e->stdin_path);
	/* Before they are settled: they are here, then. */
	return status || e->o.dry_run ? status : run_files_check(&submit_table, &e->files);
}

static void element_settle(struct element *e)
{
	for (size_t i = 0; i < e->files.n; i++) {
		if (e->files.at[i].is_output && e->files.at[i].here)
			settle_output(&e->o, &e->files.at[i]);
	}
}

/* ---- shown */

static int print_part(const struct work_part *p, unsigned *n_missing)
{
	uint64_t n = work_count(p);
	printf("would submit %" PRIu64 " task%s%s%s\n", n, n == 1 ? "" : "s", p->name ? " " : "", p->name ?: "");
	for (uint64_t k = 0; k < n; k++) {
		struct element e = {.key = NULL};
		unsigned n_before = *n_missing;
		bool is_shown = p->is_native || k < SHOWN_MOST;
		int status = element_read(p, p->is_native ? 0 : k, &e);
		if (!status) {
			element_settle(&e);
			if (is_shown && n > 1 && !p->is_native)
				printf(" task %s\n", e.key ?: "");
			if (is_shown)
				job_print(&e.o, e.argv, &e.files, n_missing);
			if (!k)
				dry_run_where(&e.o, &e.files);
			if (!is_shown)
				job_count_missing(&e.files, n_missing);
			if (!is_shown && *n_missing > n_before && n_before < 10)
				printf(" task %s: a file is missing here\n", e.key);
		}
		element_fini(&e);
		if (status)
			return status;
		if (p->is_native)
			break;
	}
	if (n > SHOWN_MOST && !p->is_native)
		printf(" ... and %" PRIu64 " more\n", n - SHOWN_MOST);
	return 0;
}

/* Of many its first stands for all, but what is missing is counted of each. */
static int put_part(struct json *j, const struct work_part *p, unsigned *n_missing)
{
	uint64_t n = p->is_native ? 1 : work_count(p);
	int status = 0;
	json_begin(j, NULL, '{');
	json_text(j, "name", p->name ?: "");
	json_number(j, "tasks", (int64_t)work_count(p));
	for (uint64_t k = 0; k < n && !status; k++) {
		struct element e = {.key = NULL};
		status = element_read(p, k, &e);
		if (!status) {
			element_settle(&e);
			job_count_missing(&e.files, n_missing);
		}
		if (!status && !k)
			dry_run_json(j, &e.o, e.argv, &e.files);
		element_fini(&e);
	}
	json_end(j, '}');
	return status;
}

static int print_json(const struct work *w)
{
	struct json j = {0};
	unsigned n_missing = 0;
	int status = 0;
	json_begin(&j, NULL, '{');
	json_text(&j, "run", work_run(w));
	json_begin(&j, "parts", '[');
	for (size_t i = 0; i < w->n && !status; i++)
		status = put_part(&j, &w->parts[i], &n_missing);
	json_end(&j, ']');
	json_number(&j, "missing", n_missing);
	json_end(&j, '}');
	if (!status)
		json_print(&j);
	buf_fini(&j.out);
	return status ? status : tool_end(&submit_table, n_missing ? 1 : 0);
}

int work_print(const struct work *w, bool is_json)
{
	unsigned n_missing = 0;
	int status = 0;
	if (is_json)
		return print_json(w);
	for (size_t i = 0; i < w->n && !status; i++)
		status = print_part(&w->parts[i], &n_missing);
	if (n_missing)
		printf("%u file%s missing here\n", n_missing, n_missing == 1 ? " is" : "s are");
	return status ? status : tool_end(&submit_table, n_missing ? 1 : 0);
}

/* ---- posted */

struct shared_file {
	char *uri;
	struct vine_file *file;
};

/* Files that many tasks share are looked at, and sent, once in a batch. */
struct poster {
	struct vine *v;
	struct vine_task *tasks[BATCH];
	size_t n;
	struct map files; /* struct shared_file by uri */
	bool is_sending;
};

static void poster_clear(struct poster *p)
{
	struct shared_file *f;
	for (size_t i = 0; (f = map_next(&p->files, &i));) {
		vine_file_free(f->file);
		free(f->uri);
		free(f);
	}
	map_fini(&p->files);
	for (size_t i = 0; i < p->n; i++)
		vine_task_free(p->tasks[i]);
	p->n = 0;
	p->is_sending = false;
}

static int wait_for_room(struct vine *v)
{
	static bool is_said;
	struct pollfd fd = {.fd = vine_fd(v), .events = POLLIN};
	if (!is_said)
		tool_fail(NULL, "waiting: the cluster takes no more tasks just now");
	is_said = true;
	return poll(&fd, 1, ROOM_SEC * 1000);
}

/* 0 or -errno with the text. */
static int post(struct vine *v, struct vine_task *const t[], size_t n)
{
	int r;
	while ((r = vine_post(v, t, n, NULL)) == -EAGAIN && wait_for_room(v) > 0)
		continue;
	if (r != -E2BIG || n < 2)
		return r;
	r = post(v, t, n / 2);
	return r < 0 ? r : post(v, t + n / 2, n - n / 2);
}

static int post_batch(struct poster *p)
{
	struct bind one = {.uri = (char *)"client:"};
	struct sending *sending = sending_start(p->v, &(struct binds){&one, p->is_sending ? 1 : 0});
	int r = p->n ? post(p->v, p->tasks, p->n) : 0;
	sending_stop(sending);
	int status = r < 0 ? tool_fail(&submit_table, "%s", vine_error()) : 0;
	poster_clear(p);
	return status;
}

static struct vine_file *find_file(struct poster *p, const char *uri)
{
	struct shared_file *f = map_get_text(&p->files, uri);
	if (f)
		return f->file;
	f = NEW(struct shared_file);
	if (vine_file_new(p->v, uri, &f->file) < 0) {
		free(f);
		return NULL;
	}
	f->uri = xstrdup(uri);
	map_put_text(&p->files, f->uri, f);
	p->is_sending |= has_prefix(uri, "client:");
	return f->file;
}

static int add_file(struct poster *p, struct vine_task *t, struct bind *b)
{
	if (!b->is_output) {
		struct vine_file *f = find_file(p, b->uri);
		return f ? vine_task_input(t, f, b->path, b->flags) : -1;
	}
	if (b->uri && vine_file_new(p->v, b->uri, &b->file) < 0)
		return -1;
	return vine_task_output(t, b->path, b->flags, &b->file);
}

static int add_files(struct poster *p, struct vine_task *t, const struct element *e)
{
	for (size_t i = 0; i < e->files.n; i++) {
		struct bind *b = &e->files.at[i];
		if (add_file(p, t, b) < 0)
			return tool_fail(&submit_table, "-%c %s: %s", b->is_output ? 'o' : 'i', b->word, vine_error());
	}
	return 0;
}

/* vined takes so many of an array at once itself; of tasks one by one a category does. */
static int limit_part(struct vine *v, const struct work_part *p)
{
	char n[24];
	if (!p->array.at_once || p->is_native)
		return 0;
	snprintf(n, sizeof n, "%" PRIu64, p->array.at_once);
	_free_ char *name = xasprintf("category.%s.running", *p->o.category ? p->o.category : "array");
	return vine_set(v, name, n) < 0 ? tool_fail(&submit_table, "%s", vine_error()) : 0;
}

static int set_element(const struct work_part *p, const struct element *e, struct vine_task *t)
{
	int r = e->stdin_path ? vine_task_set(t, "stdin", e->stdin_path) : 0;
	if (r >= 0 && p->is_native)
		r = vine_task_set(t, "array", p->o.array);
	else if (r >= 0 && e->key)
		r = vine_task_set(t, "key", e->key);
	if (r >= 0 && p->array.at_once && !p->is_native && !*p->o.category)
		r = vine_task_set(t, "category", "array");
	return r < 0 ? tool_fail(&submit_table, "%s", vine_error()) : 0;
}

static int post_element(struct poster *poster, const struct work_part *p, uint64_t k)
{
	struct element e = {.key = NULL};
	struct vine_task *t = NULL;
	int status = element_read(p, k, &e);
	if (!status) {
		element_settle(&e);
		status = job_task(&submit_table, &e.o, e.argv, &t);
	}
	if (!status)
		status = set_element(p, &e, t);
	if (!status)
		status = add_files(poster, t, &e);
	if (!status)
		poster->tasks[poster->n++] = steal(t);
	vine_task_free(t);
	element_fini(&e);
	return !status && poster->n == BATCH ? post_batch(poster) : status;
}

int work_post(const struct work *w, struct vine *v)
{
	struct poster *p = NEW(struct poster);
	int status = 0;
	p->v = v;
	for (size_t i = 0; i < w->n && !status; i++) {
		const struct work_part *part = &w->parts[i];
		uint64_t n = part->is_native ? 1 : work_count(part);
		status = limit_part(v, part);
		for (uint64_t k = 0; k < n && !status; k++)
			status = post_element(p, part, k);
	}
	if (!status)
		status = post_batch(p);
	poster_clear(p);
	free(p);
	return status;
}
