/* SPDX-License-Identifier: Apache-2.0
 * Few names, looked up at submits only: no map whose order would differ from process to process. */
#include "core/core_internal.h"

void core_names_fini(struct core_names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->texts[i]);
	free(n->texts);
	*n = (struct core_names){0};
}

int core_names_get(struct core_names *n, const char *text, size_t limit)
{
	assert(text && limit <= INT32_MAX);
	for (size_t i = 0; i < n->n; i++)
		if (streq(n->texts[i], text))
			return (int)i;
	if (n->n >= limit)
		return -E2BIG;
	n->texts = xrealloc(n->texts, (n->n + 1) * sizeof *n->texts);
	n->texts[n->n] = xstrdup(text);
	return (int)n->n++;
}
