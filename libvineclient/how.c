/* SPDX-License-Identifier: Apache-2.0
 * How a node is to run a task: checked here, where the words were written, and handed on as texts. */
#include "common/conf.h"
#include "libvineclient/client.h"
#include "libvineclient/task.h"

#define VALUE_MOST 4095

static const char *const how_view_words[] = {"yes", "none", NULL};

#define CONF_STRUCT task_how
#define CONF_FILE "common/how.def"
#include "common/conf_struct.h"
#define CONF_STRUCT task_how
#define CONF_FILE "common/how.def"
#include "common/conf_table.h"

static const struct conf_table how_table = {
	.program = "task",
	.summary = "",
	.usage = "",
	.at = task_how_table,
	.n = countof(task_how_table),
};

static const struct conf_setting *find(const char *name)
{
	for (size_t i = 0; i < how_table.n; i++) {
		if (streq(how_table.at[i].name, name))
			return &how_table.at[i];
	}
	return NULL;
}

bool how_is_name(const char *name)
{
	return find(name) != NULL;
}

/* What the types of the table cannot say. */
static int check_text(const char *name, const char *value)
{
	size_t n = strlen(value);
	if (streq(name, "umask") && (n < 1 || n > 4 || strspn(value, "01234567") != n || (n == 4 && *value != '0')))
		return error_set(EINVAL, "umask '%s': give up to three octal digits, as in 022", value);
	if (streq(name, "home") && *value && *value != '/' && !streq(value, "sandbox"))
		return error_set(EINVAL, "home '%s': give an absolute path, or sandbox for a directory of its own",
				 value);
	return 0;
}

/* Whether `a` and `b`, both with one field set, mean the same. */
static bool is_same(const struct conf_setting *s, const struct task_how *a, const struct task_how *b)
{
	const char *one = (const char *)a + s->offset, *other = (const char *)b + s->offset;
	switch (s->type) {
	case CONF_TYPE_BOOL:
		return *(const bool *)one == *(const bool *)other;
	case CONF_TYPE_WORD:
		return *(const int *)one == *(const int *)other;
	case CONF_TYPE_TEXT:
	case CONF_TYPE_PATH:
		return streq(*(char *const *)one, *(char *const *)other);
	default:
		return *(const uint64_t *)one == *(const uint64_t *)other;
	}
}

/* 0: as by default; 1: not; -errno with the text set. */
static int judge(const struct conf_setting *s, const char *value)
{
	struct task_how given = {0}, preset = {0};
	struct conf_error e;
	int r = conf_set(&how_table, &given, s->name, value, &e);
	if (r < 0)
		r = error_set(-r, "%s", e.text);
	else
		r = check_text(s->name, value);
	if (!r) {
		r = conf_set(&how_table, &preset, s->name, s->preset, &e);
		assert(!r);
		r = !is_same(s, &given, &preset);
	}
	conf_fini(&how_table, &given);
	conf_fini(&how_table, &preset);
	return r;
}

static void take_out(struct words *how, const char *name)
{
	size_t n = strlen(name);
	for (uint32_t i = 0; i < how->n; i++) {
		if (strncmp(how->at[i], name, n) == 0 && how->at[i][n] == '=') {
			free(how->at[i]);
			how->at[i] = how->at[--how->n];
			return;
		}
	}
}

int how_set(struct words *how, const char *name, const char *value)
{
	const struct conf_setting *s = find(name);
	struct task_how none = {0};
	struct conf_error e;
	int r = value_check_word(name, value, VALUE_MOST);
	if (!r && !s) { /* for its words about the nearest name */
		conf_set(&how_table, &none, name, value, &e);
		return error_set(EINVAL, "%s", e.text);
	}
	if (!r)
		r = judge(s, value);
	if (r < 0)
		return r;
	take_out(how, name);
	if (r) {
		how->at = xrealloc(how->at, (how->n + 1) * sizeof *how->at);
		how->at[how->n++] = xasprintf("%s=%s", name, value);
	}
	return 0;
}
