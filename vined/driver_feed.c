/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_feed.h"

#include "vined/driver_internal.h"

static struct feed_entry *entry_at(const struct feed *f, uint64_t i)
{
	assert(i < f->n && f->n - i <= FEED_ROOM);
	return &f->at[i % FEED_ROOM];
}

static void push(struct driver *d, const struct feed_entry *e)
{
	struct feed *f = &d->feed;
	if (!f->at)
		f->at = xcalloc(FEED_ROOM, sizeof *f->at);
	/* Adopted, or late: it did not happen now. */
	if (e->number <= f->heard.at[e->kind])
		return;
	if (f->n >= FEED_ROOM) {
		const struct feed_entry *oldest = entry_at(f, f->n - FEED_ROOM);
		f->lost.at[oldest->kind] = oldest->number;
	}
	f->heard.at[e->kind] = e->number;
	f->at[f->n++ % FEED_ROOM] = *e;
}

void feed_begin(struct driver *d)
{
	uint64_t boot = store_boot(d->o.store) << 40;
	struct feed *f = &d->feed;
	assert(!f->n);
	/* Both kinds of number begin there with each boot. */
	f->heard.at[STORE_PAST_STARTED] = f->heard.at[STORE_PAST_ENDED] = boot;
	f->lost = f->heard;
}

void feed_free(struct driver *d)
{
	free(steal(d->feed.at));
}

const char *const feed_end_words[FEED_ENDS] = {
	"exited with 0", "exited with another status", "signal", "not started", "lost", "cancelled", "no output"};
const char *const feed_event_words[FEED_EVENTS] = {"node-joined",  "node-lost",    "task-held",
						   "task-retried", "fetch-failed", "transfer-begun", "transfer-ended", "other"};

void feed_event(struct driver *d, const char *what)
{
	size_t i = 0;
	while (i < FEED_OTHER && !streq(feed_event_words[i], what))
		i++;
	d->feed.totals.n_events[i]++;
}

/* By `how` of ENDED, which has no 6 in a result. */
static enum feed_end end_of(const struct store_result *e)
{
	static const enum feed_end ends[] = {FEED_LOST, FEED_STATUS,    FEED_SIGNAL,      FEED_NOT_STARTED,
					     FEED_LOST, FEED_CANCELLED, FEED_NOT_STARTED, FEED_NO_OUTPUT};
	if (e->how == 1 && e->status == 0)
		return FEED_GOOD;
	return e->how < countof(ends) ? ends[e->how] : FEED_LOST;
}

void driver_get_totals(const struct driver *d, struct driver_totals *t)
{
	*t = d->feed.totals;
	t->n_submitted = d->last_task;
}

void feed_started(struct store_op *op, int error)
{
	struct driver *d = op->arg;
	assert(!error && op->kind == STORE_START);
	d->feed.totals.n_started++;
	push(d, &(struct feed_entry){.kind = STORE_PAST_STARTED,
				     .at_usec = (int64_t)wall_usec(d),
				     .number = op->attempt.attempt,
				     .task = op->attempt.task,
				     .node = op->attempt.node,
				     .n = op->attempt.attempts});
	(void)error;
}

void feed_ended(struct driver *d, const struct store_result *e)
{
	struct driver_totals *t = &d->feed.totals;
	t->n_ended[end_of(e)]++;
	t->local_size += e->local_size;
	t->moved_size += e->moved_size;
	push(d, &(struct feed_entry){.kind = STORE_PAST_ENDED,
				     .at_usec = (int64_t)wall_usec(d),
				     .number = e->id,
				     .task = e->task,
				     .node = e->node,
				     .how = e->how,
				     .status = e->status,
				     .exceeded = e->exceeded});
}

void driver_feed_now(const struct driver *d, struct store_moment *m)
{
	m->at[STORE_PAST_STARTED] = d->feed.heard.at[STORE_PAST_STARTED];
	m->at[STORE_PAST_ENDED] = d->feed.heard.at[STORE_PAST_ENDED];
}

static void tell(const struct driver *d, const struct feed_entry *e, store_on_past *on_row, void *arg)
{
	const struct node *n = map_get(&d->nodes, e->node);
	const struct store_past_row row = {
		.kind = (enum store_past_kind)e->kind,
		.at_usec = e->at_usec,
		.number = e->number,
		.task = e->task,
		.n = e->n,
		.what = e->kind == STORE_PAST_STARTED ? "started" : "ended",
		.text = "",
		.node = n ? n->name : "",
		.item = "",
		.how = e->how,
		.status = e->status,
		.exceeded = e->exceeded,
	};
	on_row(arg, &row);
}

bool driver_feed_back(const struct driver *d, uint64_t n, struct store_moment *m)
{
	const struct feed *f = &d->feed;
	if (n > min(f->n, (uint64_t)FEED_ROOM))
		return false;
	driver_feed_now(d, m);
	for (uint64_t i = 0; i < n; i++) {
		const struct feed_entry *e = entry_at(f, f->n - 1 - i);
		m->at[e->kind] = e->number - 1;
	}
	return true;
}

/* Who watches has heard what stands before the last entry that he has heard, so his place is found from the end. */
int driver_feed_after(const struct driver *d, const struct store_moment *m, uint32_t most, store_on_past *on_row,
		      void *arg)
{
	const struct feed *f = &d->feed;
	static const enum store_past_kind kinds[] = {STORE_PAST_STARTED, STORE_PAST_ENDED};
	uint64_t first = f->n, oldest = f->n - min(f->n, (uint64_t)FEED_ROOM);
	for (size_t i = 0; i < countof(kinds); i++) {
		if (m->at[kinds[i]] < f->lost.at[kinds[i]])
			return -ESTALE;
	}
	while (first > oldest && entry_at(f, first - 1)->number > m->at[entry_at(f, first - 1)->kind])
		first--;
	for (uint64_t i = first; i < f->n && i - first < most; i++)
		tell(d, entry_at(f, i), on_row, arg);
	return 0;
}
