/* SPDX-License-Identifier: Apache-2.0
 * The commands, for the table in vine.c. */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

#include "tools/tools.h"

#define COMMAND(name)                          \
	int cmd_##name(int argc, char **argv); \
	extern const struct conf_table name##_table;
COMMAND(cache)
COMMAND(cancel)
COMMAND(completion)
COMMAND(doctor)
COMMAND(down)
COMMAND(events)
COMMAND(fetch)
COMMAND(forget)
COMMAND(help)
COMMAND(inputs)
COMMAND(join)
COMMAND(logs)
COMMAND(mount)
COMMAND(node)
COMMAND(report)
COMMAND(run)
COMMAND(seal)
COMMAND(shell)
COMMAND(stage)
COMMAND(status)
COMMAND(submit)
COMMAND(top)
COMMAND(tree)
COMMAND(umount)
COMMAND(up)
COMMAND(version)
COMMAND(wait)
COMMAND(why)
#undef COMMAND

/* ---- what several commands of the node share; in cmd_seal.c */
struct node;
struct wire_sealed;
/* Seals a path with progress on a terminal and one line at the end, both on standard error (not with is_quiet). *out is to be freed. 0, or the exit status after
 * saying what went wrong. */
int seal_path(const struct conf_table *t, struct node *n, const char *path, const char *name, bool is_refreshed,
	      bool is_quiet, struct wire_sealed **out);
/* The same for a mount: if contents must be read, *out comes once the names are known, with a draft's number. */
int seal_draft(const struct conf_table *t, struct node *n, const char *path, bool is_refreshed, bool is_quiet,
	       struct wire_sealed **out);

/* ---- in cmd_mount.c: the path of vine-mount, yours to free; NULL: it is not found */
char *mount_program(void);

#endif
