/* SPDX-License-Identifier: Apache-2.0
 * Asks vined, in a thread of its own: whoever draws never waits for it. What costs more is asked more seldom, so that a screen that is watched
 * costs the cluster some hundredths of its time at most. */
#ifndef TOOLS_TOP_ASK_H
#define TOOLS_TOP_ASK_H

#include "tools/top_keys.h"

struct vine;
struct top_ask;

/* Takes the session over. Never fails. */
struct top_ask *top_ask_new(struct vine *v);
/* Waits for no answer: the process is about to end. */
void top_ask_free(struct top_ask *a);
DEFINE_FREEP(struct top_ask, top_ask_free)

/* All that the page needs, once, in the calling thread; instead of top_ask_start(). 0 or -errno as vine_query(). */
int top_ask_once(struct top_ask *a, const struct top_state *s, struct top_model *m);

int top_ask_start(struct top_ask *a, const struct top_state *s);
/* Something else is looked at, or otherwise. */
void top_ask_set(struct top_ask *a, const struct top_state *s);
/* Polls readable when there is something to take. */
int top_ask_fd(const struct top_ask *a);
/* The newest answer, yours; NULL: there is none that was not taken. */
struct top_model *top_ask_take(struct top_ask *a);
/* For how long an answer has been waited for. */
uint64_t top_ask_silent_sec(struct top_ask *a);

#endif
