/* SPDX-License-Identifier: Apache-2.0
 * Prints metrics.md, from the same tables that vined and vinefs answer by. */
#include "common/metrics.h"

#include <stdio.h>

#define METRIC(id, type, name, label, help) {name, #type, label, help},
static const struct metric of_vined[] = {
#include "vined/metrics.def"
};
static const struct metric of_vinefs[] = {
#include "vinefs/metrics.def"
};

static void print(const struct metric *m, size_t n)
{
	printf("| metric | type | label | |\n|---|---|---|---|\n");
	for (; n; n--, m++)
		printf("| `%s` | %s | %s | %s |\n", m->name, m->type, m->label, m->help);
}

int main(void)
{
	printf("# Metrics\n\n"
	       "`vined` and each node's `vinefs` give out their figures in Prometheus' text format: GET /metrics by "
	       "HTTP on the Unix "
	       "socket `metrics` in their state directory, which is their user's alone, or where `--metrics` says. A "
	       "path is a socket, HOST:PORT an address where everybody who reaches it may ask, without a password; "
	       "`none`: "
	       "nowhere. What is asked for is put together then, and costs nothing else.\n\n"
	       "```\n"
	       "curl --unix-socket ~/.local/state/vine/default/metrics http://vine/metrics\n"
	       "curl --unix-socket ~/.local/state/vine/node/metrics http://vine/metrics\n"
	       "vined --metrics=127.0.0.1:9464\n"
	       "```\n\n## vined\n\nCounters begin with each start, unless they say otherwise.\n\n");
	print(of_vined, countof(of_vined));
	printf("\n## vinefs\n\nOf each node. Counters begin with each start, also when its keeper starts it "
	       "again.\n\n");
	print(of_vinefs, countof(of_vinefs));
	return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
