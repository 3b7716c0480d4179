// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/unit.h"
#include "tools/share.h"

#include <stdlib.h>

#define NOW 1795314395u

static const char *const names[] = {"SLURMD_NODENAME",    "SLURM_JOB_ID",        "SLURM_CPUS_ON_NODE",
				    "SLURM_GPUS_ON_NODE", "SLURM_MEM_PER_NODE",  "SLURM_MEM_PER_CPU",
				    "SLURM_JOB_END_TIME", "SLURM_TOPOLOGY_ADDR", "SLURM_TOPOLOGY_ADDR_PATTERN"};

/* Of a job's process on node n1, and what else is told. */
static void in_job(const char *const more[][2], size_t n)
{
	for (size_t i = 0; i < countof(names); i++)
		unsetenv(names[i]);
	setenv("SLURMD_NODENAME", "n1", 1);
	setenv("SLURM_JOB_ID", "7", 1);
	for (size_t i = 0; i < n; i++)
		setenv(more[i][0], more[i][1], 1);
}

TEST(a_node_offers_what_its_job_has_of_the_machine)
{
	static const char *const said[][2] = {
		{"SLURM_CPUS_ON_NODE", "4"},         {"SLURM_GPUS_ON_NODE", "2"},
		{"SLURM_MEM_PER_NODE", "1000"},      {"SLURM_JOB_END_TIME", "1795314455"},
		{"SLURM_TOPOLOGY_ADDR", "s0.s4.n1"}, {"SLURM_TOPOLOGY_ADDR_PATTERN", "switch.switch.node"}};
	_cleanup_(share_fini) struct share s;
	in_job(said, countof(said));
	share_read(&s, NOW);
	ASSERT_STR(s.node, "n1");
	ASSERT_STR(s.rack, "s0.s4");
	ASSERT_EQ(s.cores, 4);
	ASSERT_EQ(s.gpus, 2);
	ASSERT_EQ(s.memory, UINT64_C(1000) << 20);
	ASSERT_EQ(s.left_usec, 60u * 1000000);
}

TEST(memory_may_be_said_of_each_core)
{
	static const char *const said[][2] = {{"SLURM_CPUS_ON_NODE", "4"}, {"SLURM_MEM_PER_CPU", "512"}};
	_cleanup_(share_fini) struct share s;
	in_job(said, countof(said));
	share_read(&s, NOW);
	ASSERT_EQ(s.memory, UINT64_C(2048) << 20);
}

TEST(what_is_not_said_or_makes_no_sense_is_left_to_the_node)
{
	static const char *const said[][2] = {{"SLURM_CPUS_ON_NODE", "2(x3)"},
					      {"SLURM_GPUS_ON_NODE", "-1"},
					      {"SLURM_MEM_PER_NODE", "99999999999999999999999"},
					      {"SLURM_JOB_END_TIME", "4294967294"},
					      {"SLURM_TOPOLOGY_ADDR", "n1"},
					      {"SLURM_TOPOLOGY_ADDR_PATTERN", "node"}};
	_cleanup_(share_fini) struct share s;
	in_job(said, countof(said));
	share_read(&s, NOW);
	ASSERT_STR(s.node, "n1");
	ASSERT(!s.rack);
	ASSERT_EQ(s.cores, 0);
	ASSERT_EQ(s.gpus, 0);
	ASSERT(s.memory <= UINT64_MAX >> 20 << 20);
	ASSERT_EQ(s.left_usec, 0);
}

TEST(outside_of_a_job_nothing_is_anybodys)
{
	static const char *const said[][2] = {{"SLURM_CPUS_ON_NODE", "4"}};
	_cleanup_(share_fini) struct share s, t;
	in_job(said, countof(said));
	unsetenv("SLURMD_NODENAME"); /* the shell of salloc, on a login node */
	share_read(&s, NOW);
	ASSERT(!s.node);
	ASSERT_EQ(s.cores, 0);
	in_job(said, countof(said));
	unsetenv("SLURM_JOB_ID");
	share_read(&t, NOW);
	ASSERT(!t.node);
}
