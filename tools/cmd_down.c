/* SPDX-License-Identifier: Apache-2.0
 * vine down: ends what `vine up`, `vine join` or a command has started here. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/embed.h"
#include "tools/json.h"

#include <inttypes.h>

#define CONF_STRUCT down_options
#define CONF_FILE "tools/down.def"
#include "common/conf_struct.h"
#define CONF_STRUCT down_options
#define CONF_FILE "tools/down.def"
#include "common/conf_table.h"

const struct conf_table down_table = {
	.program = "vine down",
	.summary = "end a cluster of your own, or this machine's node of another",
	.usage = "[HOST:PORT]",
	.at = down_options_table,
	.n = countof(down_options_table),
};

static int add_tasks(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], "queued") || streq(names[i], "running") || streq(names[i], "held"))
			*(uint64_t *)arg += strtoull(cells[i], NULL, 10);
	return 0;
}

/* Tasks that are not over; of a cluster that cannot be asked, none. */
static uint64_t count_tasks(const struct embed *e)
{
	struct vine *v = NULL;
	uint64_t n = 0;
	if (!embed_is_up(e) || vine_open(&v, e->name, NULL) < 0)
		return 0;
	vine_query(v, "cluster", NULL, add_tasks, &n);
	vine_close(v, 1);
	return n;
}

/* Whether it was there to be ended. */
static int say_end(const struct down_options *o, const char *what, bool was_up)
{
	struct json j = {0};
	if (!o->json)
		return 0;
	json_begin(&j, NULL, '{');
	json_text(&j, strchr(what, ':') ? "address" : "cluster", what);
	json_bool(&j, "ended", was_up);
	json_end(&j, '}');
	json_print(&j);
	return tool_end(&down_table, 0);
}

static int down(const struct down_options *o)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	if (embed_open(&e, o->name))
		return tool_fail(&down_table, "%s", e.error);
	if (embed_is_foreign(&e))
		return tool_fail(&down_table, "cluster %s was started by hand: vined has pid %d", e.name,
				 (int)embed_vined(&e));
	if (!e.is_recorded) {
		tool_fail(&down_table, "cluster %s is not up", e.name);
		return say_end(o, e.name, false);
	}
	uint64_t n = o->force ? 0 : count_tasks(&e);
	if (n)
		return tool_fail(&down_table,
				 "%" PRIu64 " task%s of cluster %s %s not over; see `vine status`, or say --force: "
				 "they go on when it is up again",
				 n, n == 1 ? "" : "s", e.name, n == 1 ? "is" : "are");
	return embed_take_down(&e) ? tool_fail(&down_table, "%s", e.error) : say_end(o, e.name, true);
}

static int leave(const struct down_options *o, const char *address)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	_free_ char *state = join_state(address);
	if (!embed_owner(state, EMBED_NODE)) {
		tool_fail(&down_table, "%s: this machine has no node of it that `vine join` started", address);
		return say_end(o, address, false);
	}
	return embed_end(&e, state, EMBED_NODE) ? tool_fail(&down_table, "%s", e.error) : say_end(o, address, true);
}

int cmd_down(int argc, char **argv)
{
	struct down_options o = {0};
	int status, n = tool_words(&down_table, &o, argc, argv, &status);
	if (n > 1 || (n == 1 && !strchr(argv[1], ':')))
		status = tool_fail(&down_table,
				   "'%s'? Try: vine down, vine down --name NAME, or of `vine join` vine down HOST:PORT",
				   argv[n]);
	else if (n == 1)
		status = leave(&o, argv[1]);
	else if (n == 0)
		status = down(&o);
	conf_fini(&down_table, &o);
	return status;
}
