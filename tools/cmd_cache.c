/* SPDX-License-Identifier: Apache-2.0
 * vine cache: what this node keeps. */
#include "common/log.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"

#include <inttypes.h>

#define CONF_STRUCT cache_options
#define CONF_FILE "tools/cache.def"
#include "common/conf_struct.h"
#define CONF_STRUCT cache_options
#define CONF_FILE "tools/cache.def"
#include "common/conf_table.h"

const struct conf_table cache_table = {
	.program = "vine cache",
	.summary = "list, pin, evict, limit or verify what this node keeps",
	.usage = "ls|du|show|pin|unpin|evict|limit|verify [TREE ...]",
	.at = cache_options_table,
	.n = countof(cache_options_table),
};

enum { PIN = 1, UNPIN, EVICT, LIMIT, VERIFY };

struct ask {
	const struct cache_options *options;
	struct node *node;
	char **words;
	int n_words;
	unsigned action; /* as in CACHE_CHANGE */
};

static int say(const struct ask *a)
{
	return tool_fail(&cache_table, "%s", node_error(a->node));
}

static int get(const struct ask *a, const char *tree, struct wire_cached **out)
{
	struct wire_cache_list m = {.tree = tree};
	void *reply = NULL;
	int r = node_ask_word(a->node,
			      &(struct node_ask){.type = WIRE_CACHE_LIST, .message = &m, .answer = WIRE_CACHED},
			      &m.tree, &reply);
	*out = reply;
	return r ? say(a) : 0;
}

static const char *first_name(const struct wire_cached_tree *t)
{
	return t->names.n ? t->names.at[0] : t->sources.n ? t->sources.at[0] : "";
}

/* ---- JSON */

static void put_texts(struct json *j, const char *key, const struct wire_texts *texts)
{
	json_begin(j, key, '[');
	for (uint32_t i = 0; i < texts->n; i++)
		json_text(j, NULL, texts->at[i]);
	json_end(j, ']');
}

static void put_tree(struct json *j, const struct wire_cached_tree *t)
{
	char id[DIGEST_TEXT_SIZE];
	json_begin(j, NULL, '{');
	json_text(j, "tree", digest_text(&t->tree, id));
	put_texts(j, "names", &t->names);
	put_texts(j, "sources", &t->sources);
	json_number(j, "size", (int64_t)t->size);
	json_number(j, "resident", (int64_t)t->resident_size);
	json_number(j, "shared", (int64_t)t->shared_size);
	json_number(j, "index", (int64_t)t->index_size);
	json_number(j, "used_usec", (int64_t)t->used_usec);
	json_number(j, "verified_usec", (int64_t)t->verified_usec);
	json_bool(j, "pinned", t->is_pinned);
	json_bool(j, "chunkwise", t->is_chunkwise);
	put_texts(j, "leases", &t->leases);
	json_end(j, '}');
}

static int print_json(const struct wire_cached *m)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_begin(&j, "trees", '[');
	for (uint32_t i = 0; i < m->trees.n; i++)
		put_tree(&j, &m->trees.at[i]);
	json_end(&j, ']');
	json_text(&j, "path", m->path);
	json_number(&j, "size", (int64_t)m->size);
	json_number(&j, "quota", (int64_t)m->quota);
	json_number(&j, "files", (int64_t)m->n_inodes);
	json_number(&j, "files_quota", (int64_t)m->inode_quota);
	json_number(&j, "reserved", (int64_t)m->reserved_size);
	json_number(&j, "blobs", (int64_t)m->n_blobs);
	json_number(&j, "partial", (int64_t)m->n_partial);
	json_number(&j, "unverified", (int64_t)m->n_doubtful);
	json_number(&j, "damaged", (int64_t)m->n_damaged);
	json_bool(&j, "memory", m->is_memory);
	json_bool(&j, "sick", m->is_sick);
	json_text(&j, "reason", m->reason);
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
	return tool_end(&cache_table, 0);
}

/* ---- for people */

static void print_here(char to[32], const struct wire_cached_tree *t)
{
	if (t->resident_size == t->size)
		snprintf(to, 32, "all");
	else if (!t->resident_size)
		snprintf(to, 32, "none");
	else
		snprintf(to, 32, "%u %%", (unsigned)((double)t->resident_size * 100 / (double)t->size));
}

static void print_state(const struct wire_cached *m)
{
	char size[32], quota[32], since[32];
	print_size(size, m->size);
	print_size(quota, m->quota);
	printf("%s of %s in %s\n", size, quota, m->path);
	if (m->is_memory)
		printf("it lies on a tmpfs: its bytes are memory\n");
	print_age(since, m->sick_since_usec);
	if (m->is_sick)
		printf("%sout of service since %s: %s%s\n", colour(COLOUR_RED), since, m->reason, colour(COLOUR_NONE));
	if (m->n_damaged)
		printf("%s%" PRIu64 " blobs were found damaged and put aside%s\n", colour(COLOUR_YELLOW), m->n_damaged,
		       colour(COLOUR_NONE));
}

static int do_ls(const struct ask *a)
{
	static const char *const names[] = {"tree", "size", "here", "used", "held", "name"};
	_free_ struct wire_cached *m = NULL;
	struct table t = {0};
	int status = get(a, a->n_words ? a->words[0] : "", &m);
	if (status || a->options->json)
		return status ? status : print_json(m);
	for (uint32_t i = 0; i < m->trees.n; i++) {
		const struct wire_cached_tree *at = &m->trees.at[i];
		char id[DIGEST_TEXT_SIZE], size[32], here[32], used[32], held[32] = "";
		digest_text(&at->tree, id)[12] = 0;
		print_size(size, at->size);
		print_here(here, at);
		print_age(used, at->used_usec);
		if (at->leases.n)
			snprintf(held, sizeof held, "%u in use%s", at->leases.n, at->is_pinned ? ", pinned" : "");
		else if (at->is_pinned)
			snprintf(held, sizeof held, "pinned");
		table_add(&t, countof(names), names, (const char *const[]){id, size, here, used, held, first_name(at)});
	}
	if (t.n_rows)
		table_print(&t, stdout);
	table_fini(&t);
	print_state(m);
	return tool_end(&cache_table, 0);
}

static int by_size(const void *a, const void *b)
{
	const struct wire_cached_tree *s = a, *t = b;
	return (s->resident_size < t->resident_size) - (s->resident_size > t->resident_size);
}

static int do_du(const struct ask *a)
{
	static const char *const names[] = {"here", "shared", "index", "tree", "name"};
	_free_ struct wire_cached *m = NULL;
	struct table t = {0};
	int status = get(a, a->n_words ? a->words[0] : "", &m);
	if (status)
		return status;
	/* The list lies in the copy of the message, which is ours. */
	qsort((void *)(uintptr_t)m->trees.at, m->trees.n, sizeof *m->trees.at, by_size);
	if (a->options->json)
		return print_json(m);
	for (uint32_t i = 0; i < m->trees.n; i++) {
		const struct wire_cached_tree *at = &m->trees.at[i];
		char id[DIGEST_TEXT_SIZE], here[32], shared[32], index[32];
		digest_text(&at->tree, id)[12] = 0;
		print_size(here, at->resident_size);
		print_size(shared, at->shared_size);
		print_size(index, at->index_size);
		table_add(&t, countof(names), names, (const char *const[]){here, shared, index, id, first_name(at)});
	}
	if (t.n_rows)
		table_print(&t, stdout);
	table_fini(&t);
	print_state(m);
	return tool_end(&cache_table, 0);
}

static void print_texts(const char *label, const struct wire_texts *texts)
{
	char shown[4096];
	for (uint32_t i = 0; i < texts->n; i++)
		printf("%-10s%s\n", i ? "" : label,
		       log_escape(texts->at[i], strlen(texts->at[i]), shown, sizeof shown));
}

static int do_show(const struct ask *a)
{
	_free_ struct wire_cached *m = NULL;
	char id[DIGEST_TEXT_SIZE], size[32], here[32], shared[32], index[32], when[32];
	int status = get(a, a->words[0], &m);
	if (status || a->options->json)
		return status ? status : print_json(m);
	if (!m->trees.n)
		return tool_fail(&cache_table, "%s: no such tree is here", a->words[0]);
	const struct wire_cached_tree *t = &m->trees.at[0];
	print_size(size, t->size);
	print_size(here, t->resident_size);
	print_size(shared, t->shared_size);
	print_size(index, t->index_size);
	printf("tree      %s\n", digest_text(&t->tree, id));
	print_texts("names", &t->names);
	print_texts("sources", &t->sources);
	printf("size      %s, of which %s are here and %s of these in other trees too; the index has %s\n", size, here,
	       shared, index);
	print_age(when, t->used_usec);
	printf("used      %s\n", when);
	print_age(when, t->verified_usec);
	printf("verified  %s as a whole\n", when);
	printf("kept      %s%s\n", t->is_chunkwise ? "chunk by chunk, for it is large" : "whole",
	       t->is_pinned ? ", pinned" : "");
	print_texts("in use", &t->leases);
	return tool_end(&cache_table, 0);
}

/* ---- changes */

static int change(const struct ask *a, const char *tree, uint64_t size, struct wire_cache_changed **out)
{
	struct wire_cache_change m = {
		.action = (uint8_t)a->action, .tree = tree, .size = size, .n_inodes = (uint64_t)a->options->files};
	void *reply = NULL;
	int r = node_ask_word(
		a->node, &(struct node_ask){.type = WIRE_CACHE_CHANGE, .message = &m, .answer = WIRE_CACHE_CHANGED},
		&m.tree, &reply);
	*out = reply;
	return r ? say(a) : 0;
}

static int tell(const struct ask *a, const char *word, const struct wire_cache_changed *m)
{
	static const char *const done[] = {
		[PIN] = "pinned", [UNPIN] = "unpinned", [EVICT] = "evicted", [VERIFY] = "verified"};
	char id[DIGEST_TEXT_SIZE], size[32];
	assert(a->action < countof(done) && done[a->action]);
	print_size(size, m->size);
	digest_text(&m->tree, id);
	if (a->options->json) {
		struct json j = {0};
		json_begin(&j, NULL, '{');
		json_text(&j, done[a->action], id);
		json_number(&j, "size", (int64_t)m->size);
		json_number(&j, "damaged", (int64_t)m->n_damaged);
		json_end(&j, '}');
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else if (a->action == EVICT) {
		printf("%s: %s freed\n", word, size);
	} else if (a->action == VERIFY && m->n_damaged) {
		printf("%s: %" PRIu64 " chunks were damaged; they come again from the source when they are read\n",
		       word, m->n_damaged);
	} else if (a->action == VERIFY) {
		printf("%s: %s verified, all is well\n", word, size);
	}
	return a->action == VERIFY && m->n_damaged ? 1 : 0;
}

static int do_change(const struct ask *a)
{
	int status = 0;
	assert(a->action && a->n_words > 0);
	for (int i = 0; i < a->n_words; i++) {
		_free_ struct wire_cache_changed *m = NULL;
		int r = change(a, a->words[i], 0, &m);
		if (!r)
			r = tell(a, a->words[i], m);
		status = max(status, r);
	}
	return tool_end(&cache_table, status);
}

static int do_verify(const struct ask *a)
{
	_free_ struct wire_cached *all = NULL;
	if (a->n_words)
		return do_change(a);
	int status = get(a, "", &all);
	for (uint32_t i = 0; all && i < all->trees.n; i++) {
		_free_ struct wire_cache_changed *m = NULL;
		char id[DIGEST_TEXT_SIZE];
		int r = change(a, digest_text(&all->trees.at[i].tree, id), 0, &m);
		id[12] = 0;
		if (!r)
			r = tell(a, *first_name(&all->trees.at[i]) ? first_name(&all->trees.at[i]) : id, m);
		status = max(status, r);
	}
	return tool_end(&cache_table, status);
}

static int do_limit(const struct ask *a)
{
	_free_ struct wire_cache_changed *m = NULL;
	_free_ struct wire_cached *now = NULL;
	char size[32], quota[32];
	uint64_t limit = 0;
	if (a->n_words && (conf_parse_size(a->words[0], &limit) || !limit))
		return tool_fail(&cache_table, "'%s' is no size. Try: vine cache limit 200G", a->words[0]);
	int status = a->n_words || a->options->files ? change(a, "", limit, &m) : 0;
	if (!status)
		status = get(a, "", &now);
	if (status || a->options->json)
		return status ? status : print_json(now);
	print_size(size, now->size);
	print_size(quota, now->quota);
	printf("%s of %s, %" PRIu64 " of %" PRIu64 " files\n", size, quota, now->n_inodes, now->inode_quota);
	if (now->size > now->quota)
		printf("what is in use or pinned is more than the limit; `vine cache ls` shows it\n");
	if (m)
		printf("until the node is started again; cache-size in its settings is for good\n");
	return tool_end(&cache_table, 0);
}

/* ---- the table of what it can do */

static const struct {
	const char *name;
	int (*run)(const struct ask *a);
	unsigned action;
	int least, most;
} actions[] = {
	{"ls", do_ls, 0, 0, 1},
	{"du", do_du, 0, 0, 1},
	{"show", do_show, 0, 1, 1},
	{"pin", do_change, PIN, 1, INT32_MAX},
	{"unpin", do_change, UNPIN, 1, INT32_MAX},
	{"evict", do_change, EVICT, 1, INT32_MAX},
	{"limit", do_limit, LIMIT, 0, 1},
	{"verify", do_verify, VERIFY, 0, INT32_MAX},
};

static int act(const struct cache_options *o, int n, char **words)
{
	const char *what = n ? words[0] : "ls";
	for (size_t i = 0; i < countof(actions); i++) {
		if (!streq(what, actions[i].name))
			continue;
		struct ask a = {
			.options = o, .words = words + 1, .n_words = n ? n - 1 : 0, .action = actions[i].action};
		if (a.n_words < actions[i].least)
			return tool_fail(&cache_table, "%s what? `vine cache ls` lists the trees", what);
		if (a.n_words > actions[i].most)
			return tool_fail(&cache_table, "%s takes no '%s'", what, a.words[actions[i].most]);
		int status = node_open(&a.node, false) || node_catch_signals(a.node) ? say(&a) : actions[i].run(&a);
		node_free(a.node);
		return status;
	}
	return tool_fail(&cache_table, "there is no '%s'; ls, du, show, pin, unpin, evict, limit or verify?", what);
}

int cmd_cache(int argc, char **argv)
{
	struct cache_options o = {0};
	int status, n = tool_words(&cache_table, &o, argc, argv, &status);
	if (n >= 0)
		status = act(&o, n, argv + 1);
	conf_fini(&cache_table, &o);
	return status;
}
