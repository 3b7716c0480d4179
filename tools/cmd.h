/* SPDX-License-Identifier: Apache-2.0
 * The commands, for the table in vine.c. */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

#include "tools/tools.h"

#define COMMAND(name)                          \
	int cmd_##name(int argc, char **argv); \
	extern const struct conf_table name##_table;
COMMAND(doctor)
COMMAND(help)
COMMAND(logs)
COMMAND(run)
COMMAND(status)
COMMAND(version)
#undef COMMAND

#endif
