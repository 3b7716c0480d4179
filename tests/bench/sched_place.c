/* SPDX-License-Identifier: Apache-2.0
 * Whether tasks come to their inputs through the whole of vined: three nodes over TLS, 40 inputs of uneven popularity that lie on one of them each, 500 tasks
 * that read one. Nodes pretend to hold and to move bytes. Beside it the same work in the simulator, by the core and by the rule of the best free node, which
 * vined does not offer. */
#include "tests/bench/fake_cargo.h"
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_wire.h"
#include "tests/sim/sim.h"

enum { NODES = 3, CORES = 4, TREES = 40, TASKS = 500, ROUNDS = 5, USEC = 100000 };
#define SIZE UINT64_C(25000000)
#define RATE UINT64_C(125000000) /* bytes a second into a node */

/* Which input each task reads: the k-th most popular is read in proportion to 1 / k, in an order of chance. */
static void choose(unsigned input[TASKS], uint64_t seed)
{
	double sum = 0, till[TREES];
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
	for (unsigned i = 0; i < TREES; i++)
		till[i] = sum += 1.0 / (i + 1);
	for (unsigned i = 0; i < TASKS; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		double at = (double)(state >> 11) / (double)(UINT64_C(1) << 53) * sum;
		for (input[i] = 0; input[i] < TREES - 1 && till[input[i]] < at;)
			input[i]++;
	}
}

struct placed {
	uint64_t n, n_bad, local_size, moved_size;
	double sec;
};

static void on_result(void *arg, const struct wire_result *r)
{
	struct placed *p = arg;
	p->n++;
	p->n_bad += r->how != 1 || r->status != 0;
	p->local_size += r->local_size;
	p->moved_size += r->moved_size;
}

/* False: vined takes no inputs yet. */
static bool run_vined(struct sched_world *w, unsigned round, const unsigned input[TASKS], struct placed *p)
{
	static const char *const argv[] = {"true"};
	static char items[TREES][DIGEST_TEXT_SIZE + 8];
	static struct wire_binding bindings[TASKS];
	static struct wire_task tasks[TASKS];
	struct sched_fakes f;
	struct digest tree;
	char reason[256];
	_free_ char *state = xasprintf("vined%u", round);
	_free_ char *cores = xasprintf("cores=%d", CORES), *usec = xasprintf("usec=%d", USEC);
	_free_ char *rate = xasprintf("rate=%llu", (unsigned long long)RATE);
	_free_ char *trees = xasprintf("trees=%d", TREES), *size = xasprintf("size=%llu", (unsigned long long)SIZE);
	sched_vined_start(w, state, NULL);
	sched_fakes_start(w, &f, NODES, (const char *const[]){cores, usec, rate, trees, size, NULL}, true);
	for (unsigned i = 0; i < TREES; i++) {
		char text[DIGEST_TEXT_SIZE];
		fake_tree(i, &tree);
		snprintf(items[i], sizeof items[i], "tree:%s", digest_text(&tree, text));
	}
	for (unsigned i = 0; i < TASKS; i++) {
		bindings[i] = (struct wire_binding){.path = "in", .item = items[input[i]], .mode = 1, .size = SIZE};
		tasks[i] = (struct wire_task){.argv = {argv, 1}, .bindings = {&bindings[i], 1}, .staging = 3};
	}
	*p = (struct placed){0};
	struct sched_wire *c = sched_wire_new(w, "place", on_result, p);
	double began_sec = bench_now_sec();
	int r = sched_wire_submit(c, tasks, TASKS, reason);
	if (r == 0)
		sched_wire_await(c, &p->n, TASKS, 60);
	else
		printf("not yet: vined says: %s\n", reason);
	p->sec = bench_now_sec() - began_sec;
	sched_wire_free(c);
	sched_fakes_stop(&f);
	sched_vined_stop(w);
	if (r && r != EOPNOTSUPP)
		sched_fail("SUBMIT: %s", reason);
	if (!r && (p->n_bad || p->local_size + p->moved_size != TASKS * SIZE))
		sched_fail("%llu results were bad; %llu + %llu bytes were read of %llu", (unsigned long long)p->n_bad,
			   (unsigned long long)p->local_size, (unsigned long long)p->moved_size,
			   (unsigned long long)(TASKS * SIZE));
	return r == 0;
}

static struct placed run_sim(bool is_blind, const unsigned input[TASKS])
{
	const struct sim_options o = {.core = {.rate = RATE, .is_blind = is_blind},
				      .n_nodes = NODES,
				      .n_cores = CORES,
				      .card = (double)RATE,
				      .filesystem = (double)RATE};
	struct sim *s = sim_new(&o);
	uint64_t items[TREES];
	for (unsigned i = 0; i < TREES; i++) {
		items[i] = sim_item(s, SIZE, false);
		sim_replica(s, 1 + i % NODES, items[i]);
	}
	for (unsigned i = 0; i < TASKS; i++)
		sim_task(s, &(struct sim_task){.usec = USEC, .inputs = &items[input[i]], .n_inputs = 1});
	struct sim_result r = sim_run(s);
	sim_free(s);
	if (r.n_ended != TASKS)
		sched_fail("simulated: %llu of %d tasks ended", (unsigned long long)r.n_ended, TASKS);
	return (struct placed){.n = TASKS, .local_size = r.read - r.moved, .moved_size = r.moved, .sec = r.usec * 1e-6};
}

/* Each input lies somewhere, so no byte must move; work is all there is. */
static double bound_sec(void)
{
	return (double)TASKS * USEC * 1e-6 / (NODES * CORES);
}

static double local_of(const struct placed *p)
{
	return 100.0 * (double)p->local_size / (double)(p->local_size + p->moved_size);
}

static void print(const char *what, double *local, double *makespan, unsigned n)
{
	struct spread l = spread_of(local, n), m = spread_of(makespan, n);
	printf("%-44s local %6.2f %% (%.2f-%.2f)   makespan %6.2f s (%.2f-%.2f), %.3f of %.2f s\n", what, l.median,
	       l.low, l.high, m.median, m.low, m.high, m.median / bound_sec(), bound_sec());
	fflush(stdout);
}

enum way { WAY_VINED, WAY_CORE, WAY_BLIND, WAYS };

void sched_place(struct sched_world *w)
{
	static const char *const names[WAYS] = {"vined, 3 fake nodes over TLS", "the core in the simulator",
						"best free node in the simulator"};
	double local[WAYS][ROUNDS], makespan[WAYS][ROUNDS];
	unsigned n_rounds = w->is_quick ? 1 : ROUNDS;
	bool is_there = true;
	for (unsigned i = 0; i < n_rounds; i++) {
		unsigned input[TASKS];
		choose(input, i + 1);
		struct placed p[WAYS] = {[WAY_CORE] = run_sim(false, input), [WAY_BLIND] = run_sim(true, input)};
		is_there = is_there && run_vined(w, i, input, &p[WAY_VINED]);
		for (enum way k = is_there ? WAY_VINED : WAY_CORE; k < WAYS; k++) {
			local[k][i] = local_of(&p[k]);
			makespan[k][i] = p[k].sec;
		}
	}
	for (enum way k = is_there ? WAY_VINED : WAY_CORE; k < WAYS; k++)
		print(names[k], local[k], makespan[k], n_rounds);
	if (!is_there)
		bench_cannot(w->name, "this vined knows no inputs yet");
	sched_note(w, "makespan_over_bound", makespan[WAY_VINED][n_rounds / 2] / bound_sec());
	sched_note(w, "blind_local", local[WAY_BLIND][n_rounds / 2]);
	sched_note(w, "blind_makespan_over_bound", makespan[WAY_BLIND][n_rounds / 2] / bound_sec());
	sched_end(w, local[WAY_VINED][n_rounds / 2], "% of input bytes local", "97, makespan 1.1 x bound");
}
