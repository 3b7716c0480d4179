/* SPDX-License-Identifier: Apache-2.0
 * vine why: where bytes would come from, and why they do not. */
#include "common/path.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CONF_STRUCT why_options
#define CONF_FILE "tools/why.def"
#include "common/conf_struct.h"
#define CONF_STRUCT why_options
#define CONF_FILE "tools/why.def"
#include "common/conf_table.h"

const struct conf_table why_table = {
	.program = "vine why",
	.summary = "say where the bytes of a path come from, or why they are missing",
	.usage = "PATH|TREE",
	.at = why_options_table,
	.n = countof(why_options_table),
};

static void print_json(const char *what, const struct wire_why *m)
{
	struct json j = {0};
	char id[DIGEST_TEXT_SIZE];
	json_begin(&j, NULL, '{');
	json_text(&j, "what", what);
	json_text(&j, "tree", digest_text(&m->tree, id));
	json_begin(&j, "lines", '[');
	_free_ char *text = xstrdup(m->text);
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		json_text(&j, NULL, line);
	json_end(&j, ']');
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

static bool has_newline(const char *text)
{
	size_t n = strlen(text);
	return !n || text[n - 1] == '\n';
}

/* The mount that we see a path in, by its st_dev: of one directory each namespace may have another. A file of it may be the cache's own, bound over it. */
static uint64_t device_of(const char *path)
{
	size_t n = (size_t)(path_base(path) - path);
	_free_ char *parent = n ? xstrndup(path, n) : xstrdup(".");
	struct statfs fs;
	struct stat st;
	bool is_fuse = statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
	return stat(is_fuse ? path : parent, &st) == 0 ? st.st_dev : 0;
}

static int why(const struct why_options *o, const char *what)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ void *reply = NULL;
	if (node_open(&n, false))
		return tool_fail(&why_table, "%s", node_error(n));
	struct wire_ask_why ask = {.what = what, .device = device_of(what)};
	const struct node_ask a = {.type = WIRE_ASK_WHY, .message = &ask, .answer = WIRE_WHY};
	int r = node_ask_word(n, &a, &ask.what, &reply);
	if (r)
		return tool_fail(&why_table, "%s", node_error(n));
	const struct wire_why *m = reply;
	if (o->json)
		print_json(what, m);
	else
		printf("%s%s", m->text, has_newline(m->text) ? "" : "\n");
	return tool_end(&why_table, 0);
}

int cmd_why(int argc, char **argv)
{
	struct why_options o = {0};
	int status, n = tool_words(&why_table, &o, argc, argv, &status);
	if (n >= 0 && n != 1)
		status = tool_fail(&why_table, "why what? Try: vine why /mnt/env/bin/python");
	else if (n == 1)
		status = why(&o, argv[1]);
	conf_fini(&why_table, &o);
	return status;
}
