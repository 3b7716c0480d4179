/* SPDX-License-Identifier: Apache-2.0
 * vine stage: a tree is brought to nodes though no task asks for it. */
#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/bind.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/sending.h"
#include "tools/session.h"
#include "tools/tree_name.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static const char *const stage_send_words[] = {"auto", "yes", "no", NULL};

#define CONF_STRUCT stage_options
#define CONF_FILE "tools/stage.def"
#include "common/conf_struct.h"
#define CONF_STRUCT stage_options
#define CONF_FILE "tools/stage.def"
#include "common/conf_table.h"

const struct conf_table stage_table = {
	.program = "vine stage",
	.summary = "bring a tree to nodes before any task asks for it",
	.usage = "[TREE]",
	.at = stage_options_table,
	.n = countof(stage_options_table),
};

#define EXIT_TIME_OVER 124
#define EXIT_INTERRUPTED 130
#define LOOK_LEAST_MSEC 50
#define LOOK_MOST_MSEC 1000

/* How far one is. */
struct far {
	char item[200], reason[300];
	uint64_t n_nodes, n_there, n_away, n_cannot;
	uint64_t size, total; /* of all nodes that are there */
	bool is_pinned, is_for_all;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int signo)
{
	(void)signo;
	is_interrupted = 1;
}

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- rows, item by item */

static void add_row(struct far *f, const struct table *t, size_t row)
{
	const char *state = table_find(t, row, "state"), *reason = table_find(t, row, "reason");
	snprintf(f->item, sizeof f->item, "%s", table_find(t, row, "item"));
	f->is_pinned = streq(table_find(t, row, "pinned"), "yes");
	f->is_for_all = streq(table_find(t, row, "all"), "yes");
	f->n_nodes++;
	f->n_there += streq(state, "there") || streq(state, "evicted");
	f->n_away += streq(state, "away");
	f->n_cannot += streq(state, "cannot");
	if (*reason)
		snprintf(f->reason, sizeof f->reason, "%s", reason);
	if (streq(state, "away"))
		return;
	f->size += strtoull(table_find(t, row, "size"), NULL, 10);
	f->total += strtoull(table_find(t, row, "total"), NULL, 10);
}

static int ask(struct vine *v, const char *item, struct table *t)
{
	int r = vine_query(v, "staged", item, table_add, t);
	return r < 0 ? tool_fail(&stage_table, "%s", vine_error()) : 0;
}

static int look(struct vine *v, const char *item, struct far *f)
{
	struct table t = {0};
	*f = (struct far){.n_nodes = 0};
	int status = ask(v, item, &t);
	for (size_t i = 0; i < t.n_rows && !status; i++)
		add_row(f, &t, i);
	table_fini(&t);
	return status;
}

static bool is_done(const struct far *f)
{
	return f->n_nodes > f->n_away && f->n_there + f->n_away == f->n_nodes;
}

static void print_far(char text[200], const struct far *f)
{
	char size[32], total[32];
	print_size(size, f->size);
	print_size(total, f->total);
	int n = snprintf(text, 200, "%" PRIu64 " of %" PRIu64 " node%s, %s of %s", f->n_there, f->n_nodes - f->n_away,
			 f->n_nodes - f->n_away == 1 ? "" : "s", size, total);
	if (f->n_away)
		snprintf(text + n, 200 - (size_t)n, "; %" PRIu64 " away", f->n_away);
}

/* ---- what is staged */

static void put_json(struct json *j, const char *key, const struct far *f)
{
	json_begin(j, key, '{');
	json_text(j, "item", f->item);
	json_number(j, "nodes", (int64_t)f->n_nodes);
	json_number(j, "there", (int64_t)f->n_there);
	json_number(j, "away", (int64_t)f->n_away);
	json_number(j, "cannot", (int64_t)f->n_cannot);
	json_number(j, "size", (int64_t)f->size);
	json_number(j, "total", (int64_t)f->total);
	json_bool(j, "pinned", f->is_pinned);
	json_bool(j, "all", f->is_for_all);
	json_text(j, "reason", f->reason);
	json_end(j, '}');
}

/* Rows of one item stand together. */
static int list(const struct stage_options *o)
{
	struct table t = {0};
	struct json j = {0};
	struct vine *v;
	char text[200];
	int status = session_look(&stage_table, NULL, &v);
	if (status)
		return status;
	status = ask(v, NULL, &t);
	vine_close(v, 1);
	json_begin(&j, NULL, '[');
	for (size_t i = 0; i < t.n_rows && !status;) {
		struct far f = {.n_nodes = 0};
		const char *item = table_find(&t, i, "item");
		while (i < t.n_rows && streq(table_find(&t, i, "item"), item))
			add_row(&f, &t, i++);
		if (o->json) {
			put_json(&j, NULL, &f);
			continue;
		}
		print_far(text, &f);
		printf("%s: %s%s%s%s%s\n", f.item, text, f.is_for_all ? ", and those that join" : "",
		       f.is_pinned ? ", pinned" : "", *f.reason ? ": " : "", f.reason);
	}
	json_end(&j, ']');
	if (o->json && !status)
		json_print(&j);
	else
		buf_fini(&j.out);
	table_fini(&t);
	return status ? status : tool_end(&stage_table, 0);
}

/* ---- waiting */

static void show(const struct far *f, uint64_t began)
{
	char text[200], rate[32];
	uint64_t took = max(now_usec() - began, UINT64_C(1));
	print_far(text, f);
	print_size(rate, (uint64_t)((double)f->size * 1e6 / (double)took));
	fprintf(stderr, "\r\033[K%s, %s/s", text, rate);
}

static int give_up(int status, const char *text)
{
	tool_fail(NULL, "%s", text);
	return status;
}

/* Until all have it: 0, or the exit status after saying why not. */
static int wait_for(struct vine *v, const struct stage_options *o, const char *item, uint64_t began, struct far *f)
{
	bool is_shown = !o->quiet && isatty(STDERR_FILENO), has_said = false;
	struct sigaction act = {.sa_handler = on_signal};
	sigaction(SIGINT, &act, NULL);
	for (int pause = LOOK_LEAST_MSEC;; pause = min(2 * pause, LOOK_MOST_MSEC)) {
		bool is_late = o->timeout && now_usec() - began > o->timeout;
		int status = look(v, item, f);
		if (is_shown && f->n_nodes)
			show(f, began);
		bool is_over = status || is_done(f) || f->n_cannot || is_interrupted || is_late;
		if (is_over && is_shown)
			fputs("\r\033[K", stderr);
		if (status || is_done(f))
			return status;
		if (f->n_cannot)
			return tool_fail(&stage_table, "%s: %s", item, f->reason);
		if (is_interrupted)
			return give_up(EXIT_INTERRUPTED, "it goes on; `vine stage` says how far it is, --over ends it");
		if (is_late)
			return give_up(EXIT_TIME_OVER, "the time to wait is over, and not all have it; it goes on");
		const char *why = !f->n_nodes               ? "no node that keeps trees is there yet"
				  : f->n_nodes == f->n_away ? "none of these nodes is there"
							    : f->reason;
		if (*why && !has_said && !o->quiet)
			tool_fail(NULL, "waiting: %s", why);
		has_said |= *why != 0;
		poll(NULL, 0, pause);
	}
}

static void say_end(const char *item, const struct far *f, uint64_t began)
{
	char text[200], took[32];
	print_far(text, f);
	print_usec(took, now_usec() - began);
	fprintf(stderr, "staged %s: %s, in %s\n", item, text, took);
}

/* ---- staging */

static size_t split_nodes(char *text, const char **nodes)
{
	size_t n = 0;
	char *save = NULL;
	for (char *word = strtok_r(text, ", ", &save); word; word = strtok_r(NULL, ", ", &save))
		nodes[n++] = word;
	return n;
}

/* What is to end may be there no more: a path is not looked at. */
static void name_as_it_was(char **uri)
{
	const char *path = has_prefix(*uri, "file:") ? *uri + strlen("file:") : *uri;
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *absolute = path_join(here ?: "/", path);
	if (path == *uri && strchr(path, ':'))
		return;
	free(*uri);
	*uri = xasprintf("keep:%s", absolute);
}

/* "tree:", "https://host:80" and the like: so many characters, whose colons lead to no second name. */
static size_t count_kind(const char *word)
{
	const char *scheme = strstr(word, "://");
	size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz");
	return scheme ? (size_t)(scheme - word) + 3 + strcspn(scheme + 3, "/") : n && word[n] == ':' ? n + 1 : 0;
}

static int name_file(struct vine *v, const struct stage_options *o, const char *word, struct binds *b)
{
	char why[BIND_WHY], why_tree[TREE_NAME_WHY];
	/* Where a task would see it does not matter, and need not be said of "." or an URL either. */
	_free_ char *input = strchr(word + count_kind(word), ':') ? xstrdup(word) : xasprintf("%s:x", word);
	if (bind_input(b, input, (enum bind_send)o->send, why) < 0)
		return tool_fail(&stage_table, "%s", why);
	if (tree_name_resolve(&b->at[0].uri, why_tree) < 0)
		return tool_fail(&stage_table, "%s", why_tree);
	if (o->over)
		name_as_it_was(&b->at[0].uri);
	return vine_file_new(v, b->at[0].uri, &b->at[0].file) < 0 ? tool_fail(&stage_table, "%s", vine_error()) : 0;
}

static int send_wish(struct vine *v, const struct stage_options *o, struct binds *b, char **item)
{
	_free_ char *text = xstrdup(o->nodes);
	_free_ const char **nodes = xcalloc(strlen(text) + 1, sizeof *nodes);
	size_t n = split_nodes(text, nodes);
	if (*o->nodes && !n)
		return tool_fail(&stage_table, "--nodes=%s: no node is named; without it, it is all of them", o->nodes);
	unsigned flags = (o->pin ? VINE_PIN : 0) | (o->over ? VINE_OVER : 0);
	struct sending *s = o->quiet || o->over ? NULL : sending_start(v, b);
	int r = vine_stage(v, b->at[0].file, nodes, n, flags, item);
	sending_stop(s);
	return r < 0 ? tool_fail(&stage_table, "%s", vine_error()) : 0;
}

static int say_noted(const struct stage_options *o, const char *word, const struct far *f)
{
	struct json j = {0};
	char text[200];
	if (o->json) {
		put_json(&j, NULL, f);
		json_print(&j);
	} else if (!o->quiet && !o->wait && !o->over) {
		print_far(text, f);
		printf("%s: noted; %s have it; `vine stage` says how far it is\n", word, text);
	} else if (!o->quiet && o->over) {
		printf("%s: not staged any more\n", word);
	}
	return tool_end(&stage_table, 0);
}

static int stage_in(struct vine *v, const struct stage_options *o, const char *word, struct binds *b)
{
	struct far f = {.n_nodes = 0};
	_free_ char *item = NULL;
	uint64_t began = now_usec();
	int status = name_file(v, o, word, b);
	if (!status)
		status = send_wish(v, o, b, &item);
	if (!status && o->wait && !o->over)
		status = wait_for(v, o, item, began, &f);
	else if (!status)
		status = look(v, item, &f);
	if (!status && o->wait && !o->over && !o->quiet && !o->json)
		say_end(word, &f, began);
	return status ? status : say_noted(o, word, &f);
}

static int stage(const struct stage_options *o, const char *word)
{
	struct binds b = {.n = 0};
	struct vine *v;
	int status = session_work(&stage_table, *o->name ? o->name : NULL, &v);
	if (status)
		return status;
	status = stage_in(v, o, word, &b);
	binds_fini(&b);
	vine_close(v, 1);
	return status;
}

int cmd_stage(int argc, char **argv)
{
	struct stage_options o = {0};
	int status, n = tool_words(&stage_table, &o, argc, argv, &status);
	if (n > 1)
		status = tool_fail(&stage_table, "one tree, please. Try: vine stage /data/env --wait");
	else if (n == 1)
		status = stage(&o, argv[1]);
	else if (n == 0 && (o.pin || o.over || *o.nodes))
		status = tool_fail(&stage_table, "which tree? Try: vine stage /data/env --wait");
	else if (n == 0)
		status = list(&o);
	conf_fini(&stage_table, &o);
	return status;
}
