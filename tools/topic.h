/* SPDX-License-Identifier: Apache-2.0
 * What `vine help WORD` explains beside the commands; sections of the man page as well. */
#ifndef TOOLS_TOPIC_H
#define TOOLS_TOPIC_H

#include "tools/tools.h"

struct topic_item {
	const char *name, *text;
};

struct topic {
	const char *name; /* the word */
	const char *heading, *about;
	const struct topic_item *items;
	size_t n;
	const struct conf_foreign *foreign; /* of the one about them; else NULL */
};

extern const struct topic topics[];
extern const size_t n_topics;

#endif
