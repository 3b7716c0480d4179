/* SPDX-License-Identifier: Apache-2.0
 * vine forget: what nobody will name again. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/embed.h"
#include "tools/json.h"

#define CONF_STRUCT forget_options
#define CONF_FILE "tools/forget.def"
#include "common/conf_struct.h"
#define CONF_STRUCT forget_options
#define CONF_FILE "tools/forget.def"
#include "common/conf_table.h"

const struct conf_table forget_table = {
	.program = "vine forget",
	.summary = "let the cluster drop what tasks left, or a run",
	.usage = "ITEM|RUN",
	.at = forget_options_table,
	.n = countof(forget_options_table),
};

static int forget(const struct forget_options *o, const char *word)
{
	struct vine *v;
	bool is_item = strchr(word, ':') != NULL;
	if (is_item && !*o->name && !strchr(word, '/'))
		return tool_fail(&forget_table, "%s: of which run? Name it with -J RUN", word);
	if (!is_item && *o->name)
		return tool_fail(&forget_table, "%s: not an item of run %s; items are named temp:NAME", word, o->name);
	int absent = embed_look(&forget_table);
	if (absent)
		return absent;
	if (vine_open(&v, NULL, NULL) < 0)
		return tool_fail(&forget_table, "%s", vine_error());
	_free_ char *selector = *o->name ? xasprintf("%s/%s", o->name, word) : xstrdup(word);
	int status = vine_forget(v, selector) < 0 ? tool_fail(&forget_table, "%s", vine_error()) : 0;
	vine_close(v, 1);
	if (o->json && !status) {
		struct json j = {0};
		json_begin(&j, NULL, '{');
		json_text(&j, "forgotten", selector);
		json_end(&j, '}');
		json_print(&j);
	}
	return status ? status : tool_end(&forget_table, 0);
}

int cmd_forget(int argc, char **argv)
{
	struct forget_options o = {0};
	int status, n = tool_words(&forget_table, &o, argc, argv, &status);
	if (n >= 0 && n != 1)
		status = tool_fail(&forget_table, "what? Try: vine forget -J steps temp:part");
	else if (n == 1)
		status = forget(&o, argv[1]);
	conf_fini(&forget_table, &o);
	return status;
}
