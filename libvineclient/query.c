/* SPDX-License-Identifier: Apache-2.0
 * What is asked about tasks besides their results. */
#include "libvineclient/client.h"

#define QUERY_USEC 30000000u
#define FOLLOW_USEC \
	(365ull * 86400 * 1000000) /* a task may be silent as long as it likes; its node is looked after by vined */
#define QUERY_MOST 10000u
#define CANCEL_MOST 100000u

int64_t vine_output(struct vine *v, uint64_t task, int which, uint64_t offset, int fd)
{
	bool is_following = which & VINE_FOLLOW;
	which &= ~VINE_FOLLOW;
	if (which < 1 || which > 3)
		return error_set(EINVAL, "output %d: 1 is standard output, 2 standard error, 3 the record", which);
	int r = session_enter(v);
	if (r < 0)
		return r;
	struct wire_read_output message = {
		.task = task, .which = (uint8_t)which, .offset = offset, .follow = is_following};
	struct ask ask = {.type = WIRE_READ_OUTPUT,
			  .message = &message,
			  .needs_minor = which == 3 ? 3 : 0,
			  .patience_usec = is_following ? FOLLOW_USEC : QUERY_USEC,
			  .has_stream = true,
			  .fd = fd};
	r = ask_wait(v, &ask);
	session_leave(v);
	bool is_part = is_following && ask.n_written && r != -EPIPE;
	return r < 0 && !is_part ? r : (int64_t)ask.n_written;
}

/* "17" or "17,18"; returns how many, or -errno. */
static int parse_tasks(const char *text, struct buf *tasks)
{
	int n = 0;
	for (const char *p = text; *p; n++) {
		char *end;
		errno = 0;
		uint64_t task = strtoull(p, &end, 10);
		if (errno || end == p || *p < '0' || *p > '9' || (*end && *end != ',') || (*end && !end[1]))
			return error_set(EINVAL,
					 "selector '%s': wants tasks' numbers, as in 17 or 17,18, or tag:WORD, "
					 "category:WORD, key:WORD",
					 text);
		if (n >= (int)CANCEL_MOST)
			return error_set(E2BIG, "more than %u tasks at once", CANCEL_MOST);
		buf_put(tasks, &task, sizeof task);
		p = *end ? end + 1 : end;
	}
	return n ? n
		 : error_set(EINVAL, "selector '': wants tasks' numbers, as in 17 or 17,18, or tag:WORD, "
				     "category:WORD, key:WORD");
}

static bool is_word_selector(const char *text)
{
	static const char *const kinds[] = {"tag:", "category:", "key:"};
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(text, kinds[i]))
			return text[strlen(kinds[i])] != 0;
	}
	return false;
}

int vine_cancel(struct vine *v, const char *selector)
{
	_cleanup_(buf_fini) struct buf tasks = {0};
	bool is_by_word = selector && is_word_selector(selector);
	int n = selector && !is_by_word ? parse_tasks(selector, &tasks) : 0;
	if (n < 0)
		return n;
	int r = session_enter(v);
	if (r < 0)
		return r;
	struct wire_abandon message = {.tasks = {(const uint64_t *)(const void *)tasks.at, (uint32_t)n},
				       .selector = is_by_word ? selector : NULL};
	/* An older vined would not see the selector, and cancel all. */
	struct ask ask = {.type = WIRE_ABANDON,
			  .message = &message,
			  .needs_run = true,
			  .run = &message.run,
			  .needs_minor = is_by_word ? 2 : 0,
			  .patience_usec = QUERY_USEC};
	/* A run that nothing was posted to has nothing to cancel. */
	if (v->has_run)
		r = ask_wait(v, &ask);
	session_leave(v);
	return r;
}

static void on_rows(struct ask *a, uint16_t type, const void *message)
{
	if (type == WIRE_ROWS)
		*(struct wire_rows **)a->arg = wire_copy(WIRE_ROWS, message);
}

int vine_query(struct vine *v, const char *what, const char *selector, vine_row_fn *fn, void *arg)
{
	int r = session_enter(v);
	if (r < 0)
		return r;
	if (streq(what, "sending")) {
		r = offer_list(v, fn, arg);
		session_leave(v);
		return r;
	}
	_free_ struct wire_rows *rows = NULL;
	struct wire_query message = {.what = what, .selector = selector, .most = QUERY_MOST};
	struct ask ask = {.type = WIRE_QUERY,
			  .message = &message,
			  .patience_usec = QUERY_USEC,
			  .on_answer = on_rows,
			  .arg = &rows};
	r = ask_wait(v, &ask);
	if (!r && (!rows || !rows->columns.n || rows->cells.n % rows->columns.n))
		r = error_set(EPROTO, "cluster %s: vined answered QUERY with no table", v->cluster.name);
	session_leave(v);
	if (r < 0)
		return r;
	size_t n = rows->columns.n;
	for (size_t i = 0; i + n <= rows->cells.n; i += n, r++) {
		int stop = fn(arg, n, rows->columns.at, rows->cells.at + i);
		if (stop)
			return stop < 0 ? stop : r + 1;
	}
	return r;
}
