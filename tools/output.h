/* SPDX-License-Identifier: Apache-2.0
 * What a task has written, as JSON. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "tools/tools.h"

struct json;
struct vine;
struct vine_event;

#define OUTPUT_JSON_MOST ((uint64_t)64 << 20)

/* Its standard output (1) or error (2) as the text of a key; what is no UTF-8 is U+FFFD. 0, or the exit status after saying what is wrong: of more than
 * OUTPUT_JSON_MOST, too. */
int output_json(const struct conf_table *t, struct vine *v, struct json *j, const char *key, uint64_t task, int which,
		uint64_t offset);
/* A result, with both, on standard output; `exit` is what the command ends with. 0, or the exit status. */
int output_result_json(const struct conf_table *t, struct vine *v, struct vine_event *e, uint64_t task, int exit);

#endif
