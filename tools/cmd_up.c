/* SPDX-License-Identifier: Apache-2.0
 * vine up: the user's own cluster, which stays until `vine down`. */
#include "common/path.h"
#include "tools/cmd.h"
#include "tools/embed.h"
#include "tools/json.h"

#define CONF_STRUCT up_options
#define CONF_FILE "tools/up.def"
#include "common/conf_struct.h"
#define CONF_STRUCT up_options
#define CONF_FILE "tools/up.def"
#include "common/conf_table.h"

const struct conf_table up_table = {
	.program = "vine up",
	.summary = "start a cluster of your own on this machine, which stays until vine down",
	.usage = "",
	.at = up_options_table,
	.n = countof(up_options_table),
};

static int set_listen(struct embed *e, const char *listen)
{
	if (!*listen || streq(listen, e->listen))
		return 0;
	if (embed_vined(e))
		return embed_refuse(e, -EEXIST, "cluster %s is up without --listen=%s; `vine down` first", e->name,
				    listen);
	free(e->listen);
	e->listen = xstrdup(listen);
	return 0;
}

static void print_json(const struct embed *e, const char *address)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_text(&j, "cluster", e->name);
	json_text(&j, "state", e->state);
	json_text(&j, "address", address);
	json_number(&j, "nodes", e->n_nodes);
	json_number(&j, "started", e->n_started);
	json_end(&j, '}');
	json_print(&j);
}

static void print_up(const struct embed *e, bool is_json)
{
	size_t n = 0;
	_free_ char *path = path_join(e->state, "address"), *address = path_read(path, 256, &n);
	_free_ char *line = xstrndup(address ?: "", strcspn(address ?: "", "\n"));
	if (is_json) {
		print_json(e, line);
		return;
	}
	printf("cluster  %s%s%s, in %s\n", colour(COLOUR_BOLD), e->name, colour(COLOUR_NONE), e->state);
	printf("nodes    %u\n", e->n_nodes);
	if (!e->is_default)
		printf("use it   VINE=%s vine run -- echo hello\n", e->name);
	if (*line && *e->listen)
		printf("others   vine join %s --secret FILE, a copy of %s/secret\n", line, e->state);
	printf("end it   vine down%s%s\n", e->is_default ? "" : " --name ", e->is_default ? "" : e->name);
}

static int up(const struct up_options *o)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	if (embed_open(&e, o->name))
		return tool_fail(&up_table, "%s", e.error);
	e.is_quiet = true;
	e.is_to_stay = true;
	if (set_listen(&e, o->listen) || embed_bring_up(&e, (unsigned)o->nodes))
		return tool_fail(&up_table, "%s", e.error);
	print_up(&e, o->json);
	return tool_end(&up_table, 0);
}

int cmd_up(int argc, char **argv)
{
	struct up_options o = {0};
	int status, n = tool_words(&up_table, &o, argc, argv, &status);
	if (n > 0)
		status = tool_fail(&up_table, "'%s': takes no words. Try: vine up --nodes 3", argv[1]);
	else if (n == 0)
		status = up(&o);
	conf_fini(&up_table, &o);
	return status;
}
