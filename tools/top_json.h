/* SPDX-License-Identifier: Apache-2.0
 * What `vine top` knows, for programs: one object. */
#ifndef TOOLS_TOP_JSON_H
#define TOOLS_TOP_JSON_H

#include "tools/top_model.h"

void top_json(const struct top_model *m, FILE *to);

#endif
