/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/report.h"

static void put_table(struct json *j, const char *key, const struct table *t)
{
	json_begin(j, key, '[');
	for (size_t i = 0; i < t->n_rows; i++) {
		json_begin(j, NULL, '{');
		for (size_t c = 0; c < t->n_columns; c++)
			json_text(j, t->names[c], table_cell(t, i, c));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_number(struct json *j, const char *key, uint64_t n)
{
	json_number(j, key, (int64_t)min(n, (uint64_t)INT64_MAX));
}

static void put_hist(struct json *j, const char *key, const struct hist *h)
{
	json_begin(j, key, '{');
	put_number(j, "n", h->n);
	put_number(j, "sum", h->sum);
	put_number(j, "least", h->least);
	put_number(j, "median", hist_quantile(h, 0.5));
	put_number(j, "p95", hist_quantile(h, 0.95));
	put_number(j, "most", h->most);
	json_end(j, '}');
}

static void put_named(struct json *j, const struct report_named *t)
{
	json_begin(j, NULL, '{');
	put_number(j, "task", t->id);
	json_text(j, "label", t->label);
	json_text(j, "node", t->node);
	json_text(j, "state", report_states[t->state]);
	put_number(j, "run_usec", t->run_usec);
	put_number(j, "wait_usec", t->wait_usec);
	put_number(j, "cpu_usec", t->cpu_usec);
	put_number(j, "moved_size", t->moved_size);
	put_number(j, "peak_memory", t->peak_memory);
	json_end(j, '}');
}

static void put_causes(struct json *j, const struct report *r)
{
	const struct report_cause *causes = REPORT_LIST(r, cause);
	json_begin(j, "failures", '[');
	for (size_t i = 0; i < report_n_causes(r); i++) {
		json_begin(j, NULL, '{');
		json_text(j, "cause", causes[i].text);
		put_number(j, "tasks", causes[i].n);
		json_begin(j, "nodes", '{');
		for (size_t k = 0; k < causes[i].n_nodes; k++)
			put_number(j, ((char **)(void *)r->node_names.all.at)[causes[i].nodes[k]], causes[i].n_at[k]);
		json_end(j, '}');
		json_begin(j, "examples", '[');
		for (size_t k = 0; k < causes[i].n_examples; k++)
			json_text(j, NULL, causes[i].examples[k].label);
		json_end(j, ']');
		json_end(j, '}');
	}
	json_end(j, ']');
	put_number(j, "failures_of_rarer_causes", r->n_other_causes);
}

static void put_groups(struct json *j, const struct report *r)
{
	const struct report_group *g = REPORT_LIST(r, group);
	json_begin(j, "resources", '[');
	for (size_t i = 0; i < report_n_groups(r); i++, g++) {
		json_begin(j, NULL, '{');
		json_text(j, "category", g->name);
		put_number(j, "tasks", g->n);
		put_number(j, "cores", g->cores);
		put_number(j, "memory", g->memory);
		put_hist(j, "peak_memory", &g->peak_memory);
		put_number(j, "disk", g->disk);
		put_hist(j, "peak_disk", &g->peak_disk);
		put_number(j, "cpu_usec", g->cpu_usec);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_nodes(struct json *j, const struct report *r)
{
	const struct report_node *n = REPORT_LIST(r, node);
	json_begin(j, "on_nodes", '[');
	for (size_t i = 0; i < report_n_nodes(r); i++, n++) {
		json_begin(j, NULL, '{');
		json_text(j, "name", n->name);
		put_number(j, "tasks", n->n_tasks);
		put_number(j, "failed", n->n_failed);
		put_number(j, "busy_usec", n->busy_usec);
		put_number(j, "local_size", n->local_size);
		put_number(j, "moved_size", n->moved_size);
		put_number(j, "peer_size", n->peer_size);
		put_number(j, "source_size", n->source_size);
		put_number(j, "client_size", n->client_size);
		json_end(j, '}');
	}
	json_end(j, ']');
}

#define INPUTS_MOST 1000u

static void put_inputs(struct json *j, const struct report *r)
{
	const struct report_input *in = REPORT_LIST(r, input);
	json_begin(j, "inputs", '[');
	for (size_t i = 0; i < min(report_n_inputs(r), (size_t)INPUTS_MOST); i++) {
		json_begin(j, NULL, '{');
		json_text(j, "item", in[i].name);
		put_number(j, "size", in[i].size);
		put_number(j, "tasks", in[i].n_tasks);
		json_end(j, '}');
	}
	json_end(j, ']');
}

/* Microseconds that tasks spent so in each bin; of those that are over, so far. */
static void put_time(struct json *j, const struct report *r)
{
	int64_t sums[SERIES_BINS];
	json_begin(j, "over_time", '{');
	put_number(j, "begin_usec", r->time.first * r->time.width);
	put_number(j, "bin_usec", r->time.width);
	for (size_t k = 0; k < REPORT_STATES; k++) {
		series_sums(&r->time, r->over_time[k], sums);
		json_begin(j, report_states[k], '[');
		for (size_t i = 0; i < r->time.n; i++)
			json_number(j, NULL, sums[i]);
		json_end(j, ']');
	}
	json_end(j, '}');
}

void report_json(const struct report *r, struct buf *to)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_text(&j, "run", r->run);
	put_number(&j, "at_usec", r->now_usec);
	put_number(&j, "tasks", report_all(r));
	for (size_t i = 0; i < REPORT_STATES; i++)
		put_number(&j, report_states[i], r->n[i]);
	put_number(&j, "begun_again", r->n_again);
	put_number(&j, "first_usec", r->first_usec);
	put_number(&j, "last_usec", r->last_usec);
	put_number(&j, "local_size", r->local_size);
	put_number(&j, "moved_size", r->moved_size);
	put_number(&j, "peer_size", r->peer_size);
	put_number(&j, "source_size", r->source_size);
	put_number(&j, "client_size", r->client_size);
	put_number(&j, "wall_usec", r->wall_usec);
	put_number(&j, "cpu_usec", r->cpu_usec);
	put_hist(&j, "wait_usec", &r->wait);
	put_hist(&j, "run_usec", &r->run_time);
	put_hist(&j, "around_usec", &r->around);
	put_causes(&j, r);
	json_begin(&j, "slowest", '[');
	for (size_t i = 0; i < r->n_slowest; i++)
		put_named(&j, &r->slowest[i]);
	json_end(&j, ']');
	put_groups(&j, r);
	put_inputs(&j, r);
	put_nodes(&j, r);
	put_time(&j, r);
	put_table(&j, "waiting_for", &r->waiting);
	put_table(&j, "cluster", &r->cluster);
	put_table(&j, "nodes", &r->nodes);
	put_table(&j, "settings", &r->settings);
	json_end(&j, '}');
	buf_put(to, j.out.at, j.out.n);
	buf_fini(&j.out);
}
