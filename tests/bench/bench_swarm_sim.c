/* SPDX-License-Identifier: Apache-2.0
 * What the choice of chunk and peer is worth, in the simulator: times in S/b, the time of one copy of the bytes through one link. `bench_swarm_sim nodes=16 chunks=400 ...` runs one case; without words, those of TARGETS and more. */
#include "tests/bench/bench.h"
#include "tests/sim/swarm_sim.h"

#include <stdio.h>

#define PER(x) ((double)(x) / (double)(o->n_chunks * o->n_nodes * max(o->n_trees, 1u)))
static void print(const char *name, const struct swarm_sim_options *o, const struct swarm_sim_result *r)
{
	printf("%-22s %5u %6llu  %6.3f %6.3f %6.3f  %6.3f %6.3f  %6.3f %6.3f %6.3f  %6.0f %6.0f  %5.1f %5.3f %5.3f "
	       "%5.3f%s\n",
	       name, o->n_nodes, (unsigned long long)o->n_chunks, r->last, r->mean, r->last_slow, r->tree_first,
	       r->tree_last, r->once, r->source_once, r->wasted, r->read_usec, r->read_most_usec, PER(r->n_next),
	       PER(r->n_rejected), PER(r->n_overtaken), PER(r->n_useless), r->is_complete ? "" : "  NOT COMPLETE");
	fflush(stdout);
}

static void head(void)
{
	printf("%-22s %5s %6s  %6s %6s %6s  %6s %6s  %6s %6s %6s  %6s %6s  %5s %5s %5s %5s\n", "", "nodes", "chunks",
	       "last", "mean", "slow", "tree", "trees", "once", "source", "wasted", "read", "most", "calls", "rejec",
	       "overt", "usele");
}

static void run(const char *name, const struct swarm_sim_options *o)
{
	struct swarm_sim_result r = swarm_sim_run(o);
	print(name, o, &r);
}

struct word {
	const char *name;
	double *value;
};

static int run_words(int argc, char **argv)
{
	double nodes = 16, trees = 1, chunks = 381, size = 32768, mbit = 50, latency = 0, slow = 0, slower = 20,
	       racks = 0, over = 1, leave = 0, join = 0, neighbours = 0, uploads = 0, tell = 0, read = 0, source = 0,
	       window = 0, seeds = 1;
	const struct word words[] = {
		{"nodes", &nodes},     {"trees", &trees},     {"chunks", &chunks}, {"size", &size},
		{"mbit", &mbit},       {"latency", &latency}, {"slow", &slow},     {"slower", &slower},
		{"racks", &racks},     {"over", &over},       {"leave", &leave},   {"join", &join},
		{"near", &neighbours}, {"uploads", &uploads}, {"tell", &tell},     {"read", &read},
		{"source", &source},   {"seeds", &seeds},     {"window", &window}};
	for (int i = 1; i < argc; i++) {
		size_t k = 0, n = strcspn(argv[i], "=");
		while (k < countof(words) && (strlen(words[k].name) != n || strncmp(words[k].name, argv[i], n) != 0))
			k++;
		if (k == countof(words) || !argv[i][n]) {
			fprintf(stderr, "%s: no such word\n", argv[i]);
			return 2;
		}
		*words[k].value = strtod(argv[i] + n + 1, NULL);
	}
	head();
	for (unsigned seed = 1; seed <= seeds; seed++)
		run("", &(const struct swarm_sim_options){.n_nodes = (unsigned)nodes,
							  .n_trees = (unsigned)trees,
							  .n_chunks = (uint64_t)chunks,
							  .chunk_size = (uint32_t)size,
							  .rate = mbit * 125000,
							  .latency_usec = (uint64_t)latency,
							  .n_slow = (unsigned)slow,
							  .slower = slower,
							  .n_racks = (unsigned)racks,
							  .oversubscribed = over,
							  .n_leave = (unsigned)leave,
							  .n_join = (unsigned)join,
							  .n_neighbours = (unsigned)neighbours,
							  .n_uploads = (unsigned)uploads,
							  .tell_usec = (uint64_t)tell,
							  .window_usec = (uint64_t)window,
							  .read_usec = (uint64_t)read,
							  .source_rate = source * 125000,
							  .seed = seed});
	return 0;
}

#define AT_8 .n_nodes = 8, .n_chunks = 381, .chunk_size = 65536, .rate = 100 * 125000.0, .seed = 1
#define AT_16 .n_nodes = 16, .n_chunks = 381, .chunk_size = 32768, .rate = 50 * 125000.0, .seed = 1
#define AT_32 .n_nodes = 32, .n_chunks = 191, .chunk_size = 32768, .rate = 25 * 125000.0, .seed = 1

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		struct swarm_sim_options o;
	} cases[] = {
		{"8", {AT_8}},
		{"16", {AT_16}},
		{"32", {AT_32}},
		{"8, 1 ms", {AT_8, .latency_usec = 1000}},
		{"16, 1 ms", {AT_16, .latency_usec = 1000}},
		{"16, 10 ms", {AT_16, .latency_usec = 10000}},
		{"16, one 5 x slower", {AT_16, .n_slow = 1, .slower = 5}},
		{"16, one 20 x slower", {AT_16, .n_slow = 1, .slower = 20}},
		{"16, 4 racks 5 x", {AT_16, .n_racks = 4, .oversubscribed = 5}},
		{"16, 3 leave, 3 join", {AT_16, .n_leave = 3, .n_join = 3}},
		{"16, 4 trees", {AT_16, .n_trees = 4}},
		{"16, a reader", {AT_16, .read_usec = 200000}},
		{"16, source at 0.5 b", {AT_16, .source_rate = 25 * 125000.0}},
		{"256",
		 {.n_nodes = 256,
		  .n_chunks = 1000,
		  .chunk_size = 65536,
		  .rate = 1.25e8,
		  .latency_usec = 50,
		  .seed = 1}},
		{"256, 1 in 20 5 x slower",
		 {.n_nodes = 256,
		  .n_chunks = 1000,
		  .chunk_size = 65536,
		  .rate = 1.25e8,
		  .latency_usec = 50,
		  .n_slow = 13,
		  .slower = 5,
		  .seed = 1}},
	};
	if (argc > 1)
		return run_words(argc, argv);
	head();
	for (size_t i = 0; i < countof(cases); i++)
		run(cases[i].name, &cases[i].o);
	return 0;
}
