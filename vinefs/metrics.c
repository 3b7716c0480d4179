/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/metrics.h"

#include "common/log.h"
#include "vinefs/cache/cache.h"
#include "vinefs/fetch/fetch.h"

#define METRICS_FILE "vinefs/metrics.def"
#include "common/metrics_table.h"

static void put_node(const struct vinefs_metrics *v, struct metrics *m)
{
	struct link_numbers n;
	link_get_numbers(v->link, &n);
	metrics_put(m, METRIC_INFO, PACKAGE_VERSION, 1);
	metrics_put(m, METRIC_UPTIME, "", (loop_now_usec(v->loop) - v->started_usec) / 1000000);
	metrics_put(m, METRIC_JOINED, "", n.is_joined);
	metrics_put(m, METRIC_ATTEMPTS, "", n.n_attempts);
	metrics_put(m, METRIC_MOUNTS, "", services_n_mounts(v->services));
}

static void put_cache(const struct vinefs_metrics *v, struct metrics *m)
{
	struct cache_numbers n;
	cache_get_numbers(v->parts->cache, &n);
	metrics_put(m, METRIC_CACHE_SIZE, "", n.size);
	metrics_put(m, METRIC_CACHE_QUOTA, "", n.quota);
	metrics_put(m, METRIC_CACHE_FILES, "", n.n_inodes);
	metrics_put(m, METRIC_CACHE_FILES_QUOTA, "", n.inode_quota);
	metrics_put(m, METRIC_CACHE_TREES, "", n.n_trees);
	metrics_put(m, METRIC_CACHE_EVICTIONS, "", n.n_evictions);
	metrics_put(m, METRIC_CACHE_EVICTED, "", n.evicted_size);
	metrics_put(m, METRIC_CACHE_DAMAGED, "", n.n_damaged);
	metrics_put(m, METRIC_CACHE_SICK, "", n.is_sick);
}

/* What comes over vined comes as from a node. */
static void put_fetch(const struct vinefs_metrics *v, struct metrics *m)
{
	struct fetch_numbers n;
	struct link_numbers l;
	link_get_numbers(v->link, &l);
	fetch_get_numbers(v->parts->fetch, &n);
	metrics_put(m, METRIC_READ, "memory", n.memory_size);
	metrics_put(m, METRIC_READ, "disk", n.disk_size);
	metrics_put(m, METRIC_READ, "elsewhere", n.source_size);
	metrics_put(m, METRIC_READS, "at once", n.n_now);
	metrics_put(m, METRIC_READS, "later", n.n_waited);
	metrics_put(m, METRIC_READS, "failed", n.n_failed);
	metrics_put(m, METRIC_READS, "late", n.n_late);
	metrics_put(m, METRIC_FETCHED, "nodes", n.peer_size - min(n.peer_size, l.client_size));
	metrics_put(m, METRIC_FETCHED, "clients", l.client_size);
	metrics_put(m, METRIC_FETCHED, "shared paths", n.source_read_size);
	metrics_put(m, METRIC_PULLS, "", l.n_pulls);
	metrics_put(m, METRIC_NEIGHBOURS, "", l.n_neighbours);
	metrics_put(m, METRIC_ASKED, "", l.n_asked);
	metrics_put(m, METRIC_WRONG, "", l.n_wrong);
	metrics_put(m, METRIC_GIVEN, "", l.given_size);
	metrics_put(m, METRIC_GIFTS, "", l.n_gifts);
	metrics_put(m, METRIC_FILLS, "", n.n_fills);
	metrics_put(m, METRIC_UNCACHED, "", n.n_uncached);
	metrics_put(m, METRIC_SEALED, "", n.n_sealed);
	metrics_put(m, METRIC_SEALED_SIZE, "", n.sealed_size);
}

static void collect(void *arg, struct metrics *m)
{
	const struct vinefs_metrics *v = arg;
	put_node(v, m);
	put_cache(v, m);
	put_fetch(v, m);
}

int vinefs_metrics_listen(struct metrics_server **s, struct vinefs_metrics *m, const struct settings *settings)
{
	struct conf_error e = {""};
	m->started_usec = loop_now_usec(m->loop);
	int r = metrics_listen(s,
			       &(struct metrics_options){.loop = m->loop,
							 .where = settings->metrics,
							 .state = settings->state,
							 .table = metrics_table,
							 .n_table = countof(metrics_table),
							 .collect = collect,
							 .arg = m},
			       &e);
	if (r)
		log_error("%s", e.text);
	return r;
}
