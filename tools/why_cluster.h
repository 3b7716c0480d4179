/* SPDX-License-Identifier: Apache-2.0
 * Why a node does what it does, and how the cluster is, in sentences. */
#ifndef TOOLS_WHY_CLUSTER_H
#define TOOLS_WHY_CLUSTER_H

#include "tools/tools.h"

struct vine;

/* Whether one can be asked, without starting one and without a word. */
bool why_has_cluster(void);

/* Of a row of vined's nodes. */
void why_node(const struct table *nodes, size_t row, struct buf *text);
/* What is the matter with the cluster: nodes that do not work, what waits, the newest failures. */
void why_cluster(struct vine *v, struct buf *text);

#endif
