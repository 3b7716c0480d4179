/* SPDX-License-Identifier: Apache-2.0
 * One session on a played cluster, for tests that have no more: run "r". */
#ifndef UNIT_CLIENT_RUN_H
#define UNIT_CLIENT_RUN_H

#include "tests/unit/client_world.h"

static struct fake *f;
static struct vine *v;

static void world_start(void)
{
	f = fake_start();
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
}

static void world_stop(void)
{
	ASSERT_EQ(vine_close(v, 1), 0);
	fake_stop(f);
}

#endif
