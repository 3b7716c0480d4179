/* SPDX-License-Identifier: Apache-2.0
 * Shows how far a vine_post of another thread is with what it sends: on a terminal a line that changes, elsewhere a line for each file that
 * takes long. */
#ifndef TOOLS_SENDING_H
#define TOOLS_SENDING_H

#include "tools/bind.h"

struct vine;
struct sending;

/* NULL: nothing is to be sent. */
struct sending *sending_start(struct vine *v, const struct binds *files);
void sending_stop(struct sending *s);

#endif
