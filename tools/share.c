/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/share.h"

#include <stdlib.h>

#define MOST_SEC (366u * 86400u) /* a job without a limit ends a year from now, or at the end of time */

static const char *get(const char *name)
{
	const char *text = getenv(name);
	return text ? text : "";
}

/* 0: it is not there, or no plain number. */
static uint64_t number(const char *name)
{
	char *end;
	const char *text = get(name);
	uint64_t n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	return n && !*end ? n : 0;
}

/* "s0.s4.n1" after the pattern "switch.switch.node": what is above the node. Without topology it is the node alone. */
static char *find_rack(void)
{
	const char *address = get("SLURM_TOPOLOGY_ADDR"), *pattern = get("SLURM_TOPOLOGY_ADDR_PATTERN");
	const char *last = strrchr(address, '.');
	size_t n = strlen(pattern), n_end = strlen(".node");
	bool has_switch = last && last > address && n > n_end && streq(pattern + n - n_end, ".node");
	return has_switch ? xstrndup(address, (size_t)(last - address)) : NULL;
}

void share_read(struct share *s, uint64_t now_sec)
{
	const char *node = get("SLURMD_NODENAME");
	*s = (struct share){.node = NULL};
	/* Without the node's name it is the shell of salloc on a login node, which has given nothing. */
	if (!*node || !*get("SLURM_JOB_ID"))
		return;
	s->node = xstrdup(node);
	s->rack = find_rack();
	s->cores = number("SLURM_CPUS_ON_NODE");
	s->gpus = number("SLURM_GPUS_ON_NODE");
	uint64_t mib = number("SLURM_MEM_PER_NODE"), most = UINT64_MAX >> 20;
	if (!mib && s->cores)
		mib = min(number("SLURM_MEM_PER_CPU"), most / s->cores) * s->cores;
	s->memory = min(mib, most) << 20;
	uint64_t end = number("SLURM_JOB_END_TIME");
	if (end > now_sec && end - now_sec < MOST_SEC)
		s->left_usec = (end - now_sec) * 1000000;
}

void share_fini(struct share *s)
{
	free(s->node);
	free(s->rack);
	*s = (struct share){.node = NULL};
}
