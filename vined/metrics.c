/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/metrics.h"

#include "vined/driver_feed.h"
#include "vined/driver_flow.h"
#include "vined/driver_look.h"
#include "vined/driver_top.h"

#define METRICS_FILE "vined/metrics.def"
#include "common/metrics_table.h"

static void put_now(const struct vined_metrics *v, struct metrics *m)
{
	struct driver_numbers n;
	driver_numbers(v->driver, &n);
	metrics_put(m, METRIC_INFO, PACKAGE_VERSION, 1);
	metrics_put(m, METRIC_UPTIME, "", (loop_now_usec(v->loop) - v->started_usec) / 1000000);
	metrics_put(m, METRIC_NODES, "", n.nodes);
	metrics_put(m, METRIC_CORES, "free", n.cores_free);
	metrics_put(m, METRIC_CORES, "used", n.cores - min(n.cores, n.cores_free));
	metrics_put(m, METRIC_CLIENTS, "", *v->n_clients);
	metrics_put(m, METRIC_RUNS, "", n.runs);
	metrics_put(m, METRIC_TASKS, "queued", n.queued);
	metrics_put(m, METRIC_TASKS, "running", n.running);
	metrics_put(m, METRIC_TASKS, "held", n.held);
	metrics_put(m, METRIC_TASKS, "ended", n.ended);
}

static void put_moved(const struct vined_metrics *v, struct metrics *m)
{
	static const char *const origins[FLOW_ORIGINS] = {"nodes", "sources", "clients"};
	struct driver_moved moved;
	struct driver_top top;
	struct driver_numbers n;
	driver_get_moved(v->driver, &moved);
	driver_top(v->driver, &top);
	driver_numbers(v->driver, &n);
	metrics_put(m, METRIC_TRANSFERS, "", moved.n_transfers);
	metrics_put(m, METRIC_FETCHES, "", top.fetches);
	metrics_put(m, METRIC_TOKENS, "", n.tokens);
	for (size_t i = 0; i < FLOW_ORIGINS; i++)
		metrics_put(m, METRIC_MOVED, origins[i], moved.size[i]);
}

static void put_totals(const struct vined_metrics *v, struct metrics *m)
{
	struct driver_totals t;
	driver_get_totals(v->driver, &t);
	metrics_put(m, METRIC_SUBMITTED, "", t.n_submitted);
	metrics_put(m, METRIC_STARTED, "", t.n_started);
	for (size_t i = 0; i < FEED_ENDS; i++)
		metrics_put(m, METRIC_ENDED, feed_end_words[i], t.n_ended[i]);
	metrics_put(m, METRIC_DECISIONS, "", t.n_decided);
	for (size_t i = 0; i < FEED_EVENTS; i++)
		metrics_put(m, METRIC_EVENTS, feed_event_words[i], t.n_events[i]);
	metrics_put(m, METRIC_INPUT, "local", t.local_size);
	metrics_put(m, METRIC_INPUT, "moved", t.moved_size);
}

static void collect(void *arg, struct metrics *m)
{
	const struct vined_metrics *v = arg;
	const struct store *s = driver_store(v->driver);
	put_now(v, m);
	put_totals(v, m);
	put_moved(v, m);
	metrics_put_times(m, METRIC_COMMITS, store_commit_times(s));
	metrics_put(m, METRIC_BACKLOG, "", store_backlog(s));
	metrics_put(m, METRIC_FAILING, "", store_is_failing(s));
}

int vined_metrics_listen(struct metrics_server **s, struct vined_metrics *m, const char *where, const char *state,
			 struct conf_error *e)
{
	return metrics_listen(s,
			      &(struct metrics_options){.loop = m->loop,
							.where = where,
							.state = state,
							.table = metrics_table,
							.n_table = countof(metrics_table),
							.collect = collect,
							.arg = m},
			      e);
}
