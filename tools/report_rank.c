/* SPDX-License-Identifier: Apache-2.0
 * What is worth naming: the slowest tasks, and failures by what they have in common. */
#include "tools/report.h"

#include <ctype.h>

const char *const report_states[REPORT_STATES] = {"waiting", "running", "held", "done", "failed", "cancelled"};

/* As `vine status` counts. */
enum report_state report_state_of(const struct report_task *t)
{
	if (streq(t->state, "queued"))
		return REPORT_WAITING;
	if (streq(t->state, "running"))
		return REPORT_RUNNING;
	if (streq(t->state, "held"))
		return REPORT_HELD;
	if (streq(t->how, "cancelled"))
		return REPORT_CANCELLED;
	return streq(t->how, "exited") && !t->status ? REPORT_DONE : REPORT_FAILED;
}

void report_name(struct report_named *to, const struct report_task *t, uint64_t value)
{
	*to = (struct report_named){.id = t->id,
				    .value = value,
				    .state = report_state_of(t),
				    .cpu_usec = t->cpu_usec,
				    .cores = t->cores,
				    .moved_size = t->moved_size,
				    .peak_memory = t->peak_memory};
	/* A name too long to be typed is replaced by the number, which means the same. */
	int n = *t->name ? snprintf(to->label, sizeof to->label, "%s/%s", t->run, t->name) : 0;
	if (n <= 0 || (size_t)n >= sizeof to->label)
		snprintf(to->label, sizeof to->label, "%llu", (unsigned long long)t->id);
	snprintf(to->node, sizeof to->node, "%s", t->node);
	if (t->started_usec > t->submitted_usec)
		to->wait_usec = t->started_usec - t->submitted_usec;
}

/* Sorted, the slowest first. */
void report_rank_slowest(struct report *r, const struct report_task *t, uint64_t run_usec)
{
	size_t at = r->n_slowest;
	while (at && r->slowest[at - 1].value < run_usec)
		at--;
	if (at == REPORT_SLOWEST)
		return;
	r->n_slowest = min(r->n_slowest + 1, (size_t)REPORT_SLOWEST);
	memmove(r->slowest + at + 1, r->slowest + at, (r->n_slowest - at - 1) * sizeof *r->slowest);
	report_name(&r->slowest[at], t, run_usec);
	r->slowest[at].run_usec = run_usec;
}

/* ---- failures */

/* Numbers, paths and what is quoted differ from task to task: "open '/a/17': no such file" becomes "open '...': no such file". */
static void put_alike(struct buf *b, const char *reason)
{
	for (const char *p = reason; *p;) {
		char quote = *p == '\'' || *p == '"' || *p == '`' ? *p : 0;
		const char *end = quote ? strchr(p + 1, quote) : NULL;
		bool is_begin = p == reason || strchr(" ('\":=", p[-1]);
		if (end) {
			buf_printf(b, "%c...%c", quote, quote);
			p = end + 1;
		} else if (is_begin && (*p == '/' || has_prefix(p, "./"))) {
			buf_puts(b, "PATH");
			p += strcspn(p, " :,;)'\"");
		} else if (isdigit((unsigned char)*p)) {
			buf_puts(b, "N");
			p += strspn(p, "0123456789");
		} else {
			buf_put(b, p++, 1);
		}
	}
}

char *report_cause_text(const struct report_task *t)
{
	struct buf b = {0};
	if (*t->exceeded && !streq(t->exceeded, "unknown")) {
		buf_printf(&b, "went over its limit of %s", streq(t->exceeded, "wall-time") ? "time" : t->exceeded);
	} else if (streq(t->how, "exited")) {
		buf_printf(&b, "exit status %llu", (unsigned long long)t->status);
	} else if (streq(t->how, "killed")) {
		buf_printf(&b, "killed by signal %llu (%s)", (unsigned long long)t->status,
			   strsignal((int)min(t->status, (uint64_t)255)));
	} else {
		buf_puts(&b, t->how);
	}
	if (*t->reason && !*t->exceeded) {
		buf_puts(&b, ": ");
		put_alike(&b, t->reason);
	}
	return buf_steal_text(&b);
}

static void count_node(struct report_cause *c, uint32_t node)
{
	size_t i = 0;
	while (i < c->n_nodes && c->nodes[i] != node)
		i++;
	if (i == REPORT_CAUSE_NODES) {
		c->n_elsewhere++;
		return;
	}
	c->nodes[i] = node;
	c->n_at[i]++;
	c->n_nodes = max(c->n_nodes, i + 1);
}

void report_rank_cause(struct report *r, const struct report_task *t, uint32_t node)
{
	_free_ char *text = report_cause_text(t);
	uint32_t i = names_find(&r->cause_names, text, REPORT_CAUSES);
	if (i == UINT32_MAX) {
		r->n_other_causes++;
		return;
	}
	if (i == report_n_causes(r)) {
		const struct report_cause new = {.text = ((char **)(void *)r->cause_names.all.at)[i]};
		buf_put(&r->cause_list, &new, sizeof new);
	}
	struct report_cause *c = &REPORT_LIST(r, cause)[i];
	size_t at = c->n_examples;
	c->n++;
	if (node != UINT32_MAX)
		count_node(c, node);
	while (at && c->examples[at - 1].id > t->id)
		at--;
	if (at == REPORT_EXAMPLES)
		return;
	c->n_examples = min(c->n_examples + 1, (size_t)REPORT_EXAMPLES);
	memmove(c->examples + at + 1, c->examples + at, (c->n_examples - at - 1) * sizeof *c->examples);
	report_name(&c->examples[at], t, 0);
}
