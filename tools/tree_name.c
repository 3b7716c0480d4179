/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tree_name.h"

#include "tools/node.h"

#define KIND "tree:"

static int ask(const char *name, struct digest *id, char why[TREE_NAME_WHY])
{
	_cleanup_(node_freep) struct node *n = NULL;
	const struct wire_cache_list m = {.tree = name};
	const struct node_ask a = {.type = WIRE_CACHE_LIST, .message = &m, .answer = WIRE_CACHED};
	void *reply = NULL;
	int r = node_open(&n, false);
	if (!r)
		r = node_ask(n, &a, &reply);
	_free_ const struct wire_cached *cached = reply;
	if (r)
		snprintf(why, TREE_NAME_WHY, "%.390s", node_error(n));
	else if (cached->trees.n != 1)
		snprintf(why, TREE_NAME_WHY,
			 "tree:%.200s: ids of several trees begin so, or none; `vine cache ls` lists them", name);
	if (r || cached->trees.n != 1)
		return r ? r : -ENOENT;
	*id = cached->trees.at[0].tree;
	return 0;
}

int tree_name_resolve(char **uri, char why[TREE_NAME_WHY])
{
	static char *last; /* tasks of a sweep have the same */
	static struct digest id;
	struct digest d;
	char text[DIGEST_TEXT_SIZE];
	const char *name = has_prefix(*uri, KIND) ? *uri + strlen(KIND) : NULL;
	if (!name || digest_parse(name, &d) == 0)
		return 0;
	int r = last && streq(last, name) ? 0 : ask(name, &id, why);
	if (r)
		return r;
	if (!last || !streq(last, name)) {
		free(last);
		last = xstrdup(name);
	}
	digest_text(&id, text);
	free(*uri);
	*uri = xasprintf(KIND "%s", text);
	return 0;
}
