/* SPDX-License-Identifier: Apache-2.0
 * What attempts read is inputs', what runs is run's: here each hears what the other says. */
#include "vinefs/link_internal.h"

#include "common/log.h"

/* ---- run asks */

void link_prepare(void *owner, uint64_t attempt, const struct wire_start *m)
{
	const struct link *k = owner;
	inputs_prepare(k->parts.inputs, attempt, m);
}

void link_hold(void *owner, uint64_t attempt, const struct wire_start *m)
{
	const struct link *k = owner;
	inputs_hold(k->parts.inputs, attempt, m);
}

void link_release(void *owner, uint64_t attempt)
{
	const struct link *k = owner;
	inputs_release(k->parts.inputs, attempt);
}

void link_sizes(void *owner, uint64_t attempt, struct run_sizes *s)
{
	const struct link *k = owner;
	inputs_sizes(k->parts.inputs, attempt, s);
}

char *link_failure(void *owner, uint64_t attempt)
{
	const struct link *k = owner;
	return inputs_failure(k->parts.inputs, attempt);
}

void link_job_done(void *owner, uint64_t job, int error, int status)
{
	const struct link *k = owner;
	inputs_job_done(k->parts.inputs, job, error, status);
}

/* ---- inputs answers, and asks */

static void on_ready(void *owner, uint64_t attempt, const struct run_input *inputs, size_t n)
{
	const struct link *k = owner;
	run_ready(k->run, attempt, inputs, n);
}

static void on_unready(void *owner, uint64_t attempt, int error, bool is_nodes_fault, const char *reason)
{
	const struct link *k = owner;
	run_unready(k->run, attempt, error, is_nodes_fault, reason);
}

static void on_stem(void *owner, uint64_t stem)
{
	const struct link *k = owner;
	run_set_stem(k->run, stem);
}

/* Its reads fail from here on, which it need not notice. */
static void on_lost(void *owner, uint64_t attempt, const char *reason)
{
	const struct link *k = owner;
	run_lost(k->run, attempt, reason);
}

static void on_forget(void *owner, const char *at)
{
	const struct link *k = owner;
	run_forget_input(k->run, at);
}

static void on_tier(void *owner)
{
	struct link *k = owner;
	const char *tier = inputs_tier(k->parts.inputs);
	struct conn *c = link_conn(k);
	log_debug("tier %s", tier ? tier : "is not known");
	link_dial_if_ready(k);
	/* What vined is told at JOIN it is told anew. */
	if (c)
		conn_close(c, "the node's tier has changed", false);
}

static void on_read(void *owner, const struct digest *tree, const uint32_t *nodes, size_t n)
{
	profile_read(owner, tree, nodes, n);
}

static int do_job(void *owner, const struct inputs_job *job)
{
	const struct link *k = owner;
	return run_do(k->run, job->number, job->stem, job->steps, job->n_steps, job->argv, job->n_argv);
}

void link_listen_to_inputs(struct link *k)
{
	static const struct inputs_ops ops = {.on_ready = on_ready,
					      .on_unready = on_unready,
					      .on_stem = on_stem,
					      .on_lost = on_lost,
					      .on_forget = on_forget,
					      .on_tier = on_tier,
					      .on_read = on_read,
					      .why_not = link_why_not,
					      .is_coming = data_is_coming,
					      .do_job = do_job};
	inputs_listen(k->parts.inputs, &ops, k);
}
