/* SPDX-License-Identifier: Apache-2.0
 * A vined with one node without data and one client, whose run is "sweep". */
#ifndef TESTS_UNIT_DRIVER_PAIR_H
#define TESTS_UNIT_DRIVER_PAIR_H

#include "tests/unit/driver_world.h"

static struct peer node, client;

static void begin(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void end(void)
{
	drop(&node);
	drop(&client);
	stop_vined();
}

#endif
