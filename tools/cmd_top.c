/* SPDX-License-Identifier: Apache-2.0
 * vine top: what the cluster does, as it does it. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/session.h"
#include "tools/top_ask.h"
#include "tools/top_json.h"
#include "tools/top_term.h"
#include "tools/top_view.h"

#include <signal.h>
#include <time.h>

#define CONF_STRUCT top_options
#define CONF_FILE "tools/top.def"
#include "common/conf_struct.h"
#define CONF_STRUCT top_options
#define CONF_FILE "tools/top.def"
#include "common/conf_table.h"

const struct conf_table top_table = {
	.program = "vine top",
	.summary = "watch the cluster: its tasks, runs, nodes and data",
	.usage = "[RUN]",
	.at = top_options_table,
	.n = countof(top_options_table),
};

#define TICK_MSEC 1000
#define ESCAPE_MSEC 50 /* after which an escape is a key of its own */

struct top {
	struct top_ask *ask;
	struct top_term *term;
	struct top_state state;
	struct top_model *model;
	bool is_ascii;
};

static uint64_t wall_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- once */

/* As many lines as the terminal has at most. */
static void print_screen(const struct top *t)
{
	const struct top_now now = {.wall_usec = wall_usec(), .is_still = true};
	struct top_screen s;
	struct buf text = {0};
	unsigned w, h;
	top_term_size(&w, &h);
	top_screen_init(&s, w, max(h, 8u) - 1, t->is_ascii);
	top_view(&s, &t->state, t->model, &now);
	for (unsigned y = 0; y < s.h; y++) {
		top_screen_line(&s, y, TOP_NO_STYLES, &text);
		buf_puts(&text, "\n");
	}
	while (text.n > 1 && text.at[text.n - 2] == '\n')
		text.n--;
	fputs(buf_text(&text), stdout);
	buf_fini(&text);
	top_screen_fini(&s);
}

static int show_once(struct top *t, bool is_json)
{
	int r = top_ask_once(t->ask, &t->state, t->model);
	if (r < 0)
		return tool_fail(&top_table, "%s", t->model->trouble);
	if (is_json)
		top_json(t->model, stdout);
	else
		print_screen(t);
	return tool_end(&top_table, 0);
}

/* ---- live */

static void draw(struct top *t)
{
	const struct top_now now = {.wall_usec = wall_usec(), .silent_sec = top_ask_silent_sec(t->ask)};
	struct top_screen s;
	unsigned w, h;
	top_term_size(&w, &h);
	top_screen_init(&s, w, h, t->is_ascii);
	top_view(&s, &t->state, t->model, &now);
	top_term_draw(t->term, &s);
	top_screen_fini(&s);
}

static void take_answer(struct top *t)
{
	struct top_model *m = top_ask_take(t->ask);
	if (!m)
		return;
	top_model_free(t->model);
	t->model = m;
	top_state_follow(&t->state, m);
}

/* Rows of what was looked at before are not shown as those of what is looked at now. */
static void look_elsewhere(struct top *t, const struct top_state *before)
{
	const struct top_place *old = &before->at, *new = &t->state.at;
	if (new->page == TOP_TASKS_PAGE && (!streq(old->run, new->run) || !streq(old->node, new->node)))
		top_model_begin(t->model, TOP_TASKS_LIST);
	if (!top_wants_same(before, &t->state) || before->is_paused != t->state.is_paused)
		top_ask_set(t->ask, &t->state);
}

static void read_keys(struct top *t, bool is_all)
{
	struct buf *keys = top_term_keys(t->term);
	uint32_t key;
	size_t n;
	unsigned w, h;
	top_term_size(&w, &h);
	while (!t->state.is_over && (n = top_key_next((const char *)keys->at, keys->n, is_all, &key))) {
		struct top_state before = t->state;
		buf_consume(keys, n);
		top_press(&t->state, t->model, key, top_view_height(&t->state, h));
		look_elsewhere(t, &before);
	}
}

/* 0, or the signal that ended it. */
static int watch(struct top *t)
{
	for (;;) {
		draw(t);
		bool is_escape = top_term_keys(t->term)->n;
		unsigned happened = top_term_wait(t->term, top_ask_fd(t->ask), is_escape ? ESCAPE_MSEC : TICK_MSEC);
		if (happened & TOP_ANSWERED)
			take_answer(t);
		read_keys(t, is_escape && !(happened & TOP_TYPED));
		if (happened & TOP_ENDED || t->state.is_over)
			return top_term_signal(t->term);
	}
}

/* As if it had not been caught. */
static void die_of(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigaction(signal, &action, NULL);
	raise(signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int show_live(struct top *t, int *signal)
{
	int r = top_term_new(&t->term);
	if (r < 0)
		return tool_fail(&top_table, "the terminal: %s; --once prints one screen", strerror(-r));
	r = top_ask_start(t->ask, &t->state);
	if (!r)
		*signal = watch(t);
	top_term_free(steal(t->term));
	return r < 0 ? tool_fail(&top_table, "start a thread: %s", strerror(-r)) : 0;
}

static int top(const struct top_options *o, const char *run)
{
	struct top t = {.is_ascii = top_term_is_ascii()};
	struct vine *v;
	int signal = 0, status = session_look(&top_table, NULL, &v);
	if (status)
		return status;
	t.ask = top_ask_new(v);
	t.model = top_model_new();
	top_state_init(&t.state, o->interval / 1000);
	if (run) {
		t.state.at.page = TOP_TASKS_PAGE;
		snprintf(t.state.at.run, sizeof t.state.at.run, "%s", run);
	}
	if (o->once || o->json || !top_term_is_there())
		status = show_once(&t, o->json);
	else
		status = show_live(&t, &signal);
	top_ask_free(t.ask);
	top_model_free(t.model);
	if (signal)
		die_of(signal);
	return status;
}

static int look_for_run(const char *run)
{
	struct counts c;
	struct vine *v;
	int status = session_look(&top_table, NULL, &v);
	if (status)
		return status;
	status = counts_of_run(&top_table, v, run, &c);
	vine_close(v, 1);
	return status;
}

int cmd_top(int argc, char **argv)
{
	struct top_options o = {0};
	int status, n = tool_words(&top_table, &o, argc, argv, &status);
	if (n > 1)
		status = tool_fail(&top_table, "one run at a time: vine top %s", argv[1]);
	else if (n >= 0)
		status = n ? look_for_run(argv[1]) : 0;
	if (n >= 0 && n <= 1 && !status)
		status = top(&o, n ? argv[1] : NULL);
	conf_fini(&top_table, &o);
	return status;
}
