/* SPDX-License-Identifier: Apache-2.0
 * What the last word of a command line may become: from the table of commands, their options, and what the running cluster and this machine's node say within a
 * moment. Nothing is started for it, and nothing that goes wrong is said. */
#ifndef TOOLS_COMPLETE_H
#define TOOLS_COMPLETE_H

#include "tools/tools.h"

/* A word a line; before them `:files` or `:commands`, if these are words as well. What stands in a word up to the last of the characters `breaks` is left
 * out (but for an @ itself), as bash, which breaks words there, wants it. */
void complete_line(const char *line, const char *breaks, FILE *to);

#endif
