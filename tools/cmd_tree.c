/* SPDX-License-Identifier: Apache-2.0
 * vine tree: what is in a tree, and how it differs from another or from files. */
#include "common/log.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/moved.h"
#include "tools/node.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONF_STRUCT tree_options
#define CONF_FILE "tools/tree.def"
#include "common/conf_struct.h"
#define CONF_STRUCT tree_options
#define CONF_FILE "tools/tree.def"
#include "common/conf_table.h"

const struct conf_table tree_table = {
	.program = "vine tree",
	.summary = "list, read, compare or export a tree, or say whence its bytes came",
	.usage = "ls|cat|diff|check|export|bytes TREE[/PATH] ...",
	.at = tree_options_table,
	.n = countof(tree_options_table),
};

#define READ_SIZE (1u << 20)

struct ask {
	const struct tree_options *options;
	struct node *node;
	char **words;
	int n_words;
};

static int say(const struct ask *a)
{
	return tool_fail(&tree_table, "%s", node_error(a->node));
}

/* The node of the tree that the word means, or -1 after saying why not. */
static int64_t find(const struct ask *a, const char *word, struct node_tree *t, int *status)
{
	int64_t i = -1;
	if (node_tree_open(a->node, word, t))
		*status = say(a);
	else if ((i = tree_find(t->index, t->rest)) < 0)
		*status = tool_fail(&tree_table, "%s: the tree has no such path", word);
	return i < 0 ? -1 : i;
}

/* ---- ls */

static void print_mode(char to[11], const struct tree_node *n)
{
	static const char letters[] = "rwxrwxrwx";
	to[0] = n->type == TREE_DIRECTORY ? 'd' : n->type == TREE_LINK ? 'l' : '-';
	for (int i = 0; i < 9; i++)
		to[1 + i] = n->mode & (0400 >> i) ? letters[i] : '-';
	if (n->mode & 01000)
		to[9] = n->mode & 1 ? 't' : 'T';
	to[10] = 0;
}

static void list_json(struct json *j, const struct tree *t, uint32_t i)
{
	static const char *const types[] = {"", "directory", "file", "link"};
	const struct tree_node *n = tree_node(t, i);
	_free_ char *path = tree_path(t, i);
	char mode[8], address[DIGEST_TEXT_SIZE];
	snprintf(mode, sizeof mode, "%04o", n->mode);
	json_begin(j, NULL, '{');
	json_text(j, "path", path);
	json_text(j, "type", types[n->type]);
	json_text(j, "mode", mode);
	json_number(j, "mtime_sec", n->mtime_sec);
	json_number(j, "mtime_nsec", n->mtime_nsec);
	if (n->type == TREE_LINK)
		json_text(j, "target", tree_target(t, i));
	if (n->type == TREE_FILE) {
		struct digest d = {.algorithm = DIGEST_SHA256};
		memcpy(d.byte, tree_content(t, n->first)->address, DIGEST_SIZE);
		json_number(j, "size", (int64_t)tree_file_size(t, i));
		json_text(j, "content", digest_text(&d, address));
	}
	json_end(j, '}');
}

static void list_line(const struct tree *t, uint32_t i, bool is_whole)
{
	const struct tree_node *n = tree_node(t, i);
	_free_ char *path = is_whole ? tree_path(t, i) : xstrdup(tree_name(t, i));
	char mode[11], size[32] = "", when[32] = "", shown[DATA_PATH_MAX * 4], target[DATA_PATH_MAX * 4] = "";
	time_t sec = n->mtime_sec;
	struct tm tm;
	print_mode(mode, n);
	if (n->type == TREE_FILE)
		print_size(size, tree_file_size(t, i));
	if (localtime_r(&sec, &tm))
		strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
	if (n->type == TREE_LINK)
		log_escape(tree_target(t, i), n->n, target, sizeof target);
	printf("%s %9s  %s  %s%s%s%s\n", mode, size, when, log_escape(path, strlen(path), shown, sizeof shown),
	       n->type == TREE_DIRECTORY ? "/" : "", n->type == TREE_LINK ? " -> " : "", target);
}

static void list(struct json *j, const struct ask *a, const struct tree *t, uint32_t i)
{
	const struct tree_node *n = tree_node(t, i);
	assert(n->type == TREE_DIRECTORY);
	for (uint32_t k = n->first; k < n->first + n->n; k++) {
		if (j)
			list_json(j, t, k);
		else
			list_line(t, k, a->options->recursive);
		if (a->options->recursive && tree_node(t, k)->type == TREE_DIRECTORY)
			list(j, a, t, k);
	}
}

static int do_ls(const struct ask *a)
{
	struct node_tree t;
	struct json j = {0};
	int status = 0;
	int64_t i = find(a, a->words[0], &t, &status);
	bool is_json = a->options->json;
	if (i >= 0 && is_json)
		json_begin(&j, NULL, '[');
	if (i >= 0 && tree_node(t.index, (uint32_t)i)->type == TREE_DIRECTORY)
		list(is_json ? &j : NULL, a, t.index, (uint32_t)i);
	else if (i >= 0 && is_json)
		list_json(&j, t.index, (uint32_t)i);
	else if (i >= 0)
		list_line(t.index, (uint32_t)i, true);
	if (i >= 0 && is_json) {
		json_end(&j, ']');
		fputs(buf_text(&j.out), stdout);
	}
	buf_fini(&j.out);
	node_tree_fini(&t);
	return tool_end(&tree_table, status);
}

/* ---- cat */

static int print_file(const struct ask *a, const struct node_tree *t, uint32_t i, const char *word)
{
	_free_ uint8_t *room = xmalloc(READ_SIZE);
	uint64_t size = tree_file_size(t->index, i);
	for (uint64_t at = 0; at < size;) {
		ssize_t n = tree_read_file(t->index, i, &t->reader, at, room, READ_SIZE);
		if (n <= 0)
			return tool_fail(&tree_table, "%s: %s", word,
					 *node_error(a->node) ? node_error(a->node) : strerror((int)-n));
		if (fwrite(room, 1, (size_t)n, stdout) != (size_t)n)
			break;
		at += (uint64_t)n;
	}
	return 0;
}

static int do_cat(const struct ask *a)
{
	int status = 0;
	for (int k = 0; k < a->n_words && !status; k++) {
		struct node_tree t;
		int64_t i = find(a, a->words[k], &t, &status);
		if (i >= 0 && tree_node(t.index, (uint32_t)i)->type != TREE_FILE)
			status = tool_fail(&tree_table, "%s is a %s", a->words[k],
					   tree_node(t.index, (uint32_t)i)->type == TREE_LINK ? "link" : "directory");
		else if (i >= 0)
			status = print_file(a, &t, (uint32_t)i, a->words[k]);
		node_tree_fini(&t);
	}
	return tool_end(&tree_table, status);
}

/* ---- diff, check */

static void print_difference(void *arg, char mark, const char *path)
{
	struct json *j = arg;
	char shown[DATA_PATH_MAX * 4], word[2] = {mark, 0};
	if (!j) {
		printf("%c %s\n", mark, log_escape(path, strlen(path), shown, sizeof shown));
		return;
	}
	json_begin(j, NULL, '{');
	json_text(j, "mark", word);
	json_text(j, "path", path);
	json_end(j, '}');
}

static int compare(const struct ask *a, const char *one, const char *other)
{
	struct node_tree s = {0}, t = {0};
	assert(one && other);
	struct json j = {0};
	uint64_t n = 0;
	int status = node_tree_open(a->node, one, &s) || node_tree_open(a->node, other, &t) ? say(a) : 0;
	if (!status && (*s.rest || *t.rest))
		status = tool_fail(&tree_table, "whole trees are compared, not parts of them");
	if (!status && a->options->json)
		json_begin(&j, NULL, '[');
	if (!status)
		n = tree_diff(s.index, t.index, print_difference, a->options->json ? &j : NULL);
	if (!status && a->options->json) {
		json_end(&j, ']');
		fputs(buf_text(&j.out), stdout);
	}
	buf_fini(&j.out);
	node_tree_fini(&s);
	node_tree_fini(&t);
	return tool_end(&tree_table, status ? status : n != 0);
}

static int do_diff(const struct ask *a)
{
	return compare(a, a->words[0], a->words[1]);
}

static int do_check(const struct ask *a)
{
	_free_ struct wire_sealed *sealed = NULL;
	char id[DIGEST_TEXT_SIZE];
	int status = seal_path(&tree_table, a->node, a->words[1], "", a->options->refresh, true, &sealed);
	return status ? status : compare(a, a->words[0], digest_text(&sealed->tree, id));
}

/* ---- export */

static int export_into(const struct ask *a, const struct node_tree *t, const char *path)
{
	struct seal_report errors = {0};
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return tool_fail(&tree_table, "%s: %s", path, strerror(errno));
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : tree_export(t->index, &t->reader, fd, &errors);
	for (unsigned i = 0; i < errors.n; i++)
		tool_fail(&tree_table, "%s", errors.lines[i]);
	if (errors.n_more)
		tool_fail(&tree_table, "... and %u more", errors.n_more);
	seal_report_fini(&errors);
	if (*node_error(a->node))
		tool_fail(&tree_table, "%s", node_error(a->node));
	return r ? tool_fail(&tree_table, "%s: not all of the tree was written: %s", path, strerror(-r)) : 0;
}

static int do_export(const struct ask *a)
{
	struct node_tree t;
	int status = 0;
	int64_t i = find(a, a->words[0], &t, &status);
	if (i > 0)
		status = tool_fail(&tree_table, "%s: whole trees are exported; `vine mount` and cp take parts",
				   a->words[0]);
	else if (i == 0 && tree_node(t.index, 0)->type == TREE_FILE)
		status = tool_fail(&tree_table, "%s is a single file; `vine tree cat` prints it", a->words[0]);
	else if (i == 0)
		status = export_into(a, &t, a->words[1]);
	node_tree_fini(&t);
	return tool_end(&tree_table, status);
}

/* ---- the table of what it can do */

static const struct {
	const char *name;
	int (*run)(const struct ask *a);
	int least, most;
	const char *usage;
} actions[] = {
	{"ls", do_ls, 1, 1, "vine tree ls env/bin"},
	{"cat", do_cat, 1, INT32_MAX, "vine tree cat env/pyvenv.cfg"},
	{"diff", do_diff, 2, 2, "vine tree diff env-1 env-2"},
	{"check", do_check, 2, 2, "vine tree check env /data/env"},
	{"export", do_export, 2, 2, "vine tree export env DIR"},
};

static int act(const struct tree_options *o, int n, char **words)
{
	/* The scheduler's to tell, not the node's. */
	if (n && streq(words[0], "bytes"))
		return n > 2 ? tool_fail(&tree_table, "bytes takes other words. Try: vine tree bytes env")
			     : moved_trees(&tree_table, n == 2 ? words[1] : "", o->json);
	for (size_t i = 0; n && i < countof(actions); i++) {
		if (!streq(words[0], actions[i].name))
			continue;
		if (n - 1 < actions[i].least || n - 1 > actions[i].most)
			return tool_fail(&tree_table, "%s takes other words. Try: %s", words[0], actions[i].usage);
		struct ask a = {.options = o, .words = words + 1, .n_words = n - 1};
		int status = node_open(&a.node, true) || node_catch_signals(a.node) ? say(&a) : actions[i].run(&a);
		node_free(a.node);
		return status;
	}
	return tool_fail(&tree_table, "%s%s%sls, cat, diff, check, export or bytes? Try: vine tree ls env",
			 n ? "there is no '" : "", n ? words[0] : "", n ? "'; " : "");
}

int cmd_tree(int argc, char **argv)
{
	struct tree_options o = {0};
	int status, n = tool_words(&tree_table, &o, argc, argv, &status);
	if (n >= 0)
		status = act(&o, n, argv + 1);
	conf_fini(&tree_table, &o);
	return status;
}
