/* SPDX-License-Identifier: Apache-2.0
 * vine submit --save: what was typed, as the job file that says the same. */
#include "common/path.h"
#include "tools/cmd.h"
#include "tools/submit_work.h"

#include <stdio.h>

/* What is not about the tasks; the command is written by itself. */
static bool is_meant(const struct conf_setting *s)
{
	static const char *const not_meant[] = {"dry_run", "save", "json", "job", "add", "wrap", "command"};
	for (size_t i = 0; i < countof(not_meant); i++) {
		if (streq(s->name, not_meant[i]))
			return false;
	}
	return true;
}

static bool is_any(const struct conf_setting *s)
{
	(void)s;
	return true;
}

/* One setting through conf's own writer, which knows what has to be quoted. */
static void print_text(const char *name, const char *text, FILE *to)
{
	struct {
		char *text;
	} one = {(char *)(uintptr_t)text};
	const struct conf_setting s = {.name = name, .type = CONF_TYPE_TEXT, .offset = 0};
	const struct conf_table t = {.program = submit_table.program, .at = &s, .n = 1};
	conf_print_changed(&t, &one, is_any, to);
}

static void print_part(const struct work_part *p, FILE *to)
{
	if (p->name)
		fprintf(to, "\n[task %s]\n", p->name);
	conf_print_changed(&submit_table, &p->o, is_meant, to);
	if (*p->o.wrap) {
		print_text("wrap", p->o.wrap, to);
		return;
	}
	_cleanup_(buf_fini) struct buf words = {0};
	for (size_t i = 0; p->argv[i]; i++) {
		buf_puts(&words, i ? " " : "");
		job_quote(&words, p->argv[i]);
	}
	print_text("command", buf_text(&words), to);
}

static int check(const struct work *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++) {
		if (streq(w->parts[i].o.each, "-"))
			return tool_fail(&submit_table,
					 "--save %s: the lines of --each - would not be in it: put them into a file",
					 path);
	}
	return 0;
}

int work_save(const struct work *w, const char *path)
{
	int status = check(w, path);
	if (status)
		return status;
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);
	assert(to);
	for (size_t i = 0; i < w->n; i++)
		print_part(&w->parts[i], to);
	fclose(to);
	/* One that is there may have been written by hand. */
	int r = path_make(path, text, n, 0666, false);
	free(text);
	if (r < 0)
		return tool_fail(&submit_table, "--save %s: %s", path,
				 r == -EEXIST ? "it is there already: move it away, or give another name"
					      : strerror(-r));
	size_t length = strlen(path);
	bool is_short = length > 5 && streq(path + length - 5, ".vine");
	fprintf(stderr, "next: vine submit %s%s\n", is_short ? "" : "--job ", path);
	return 0;
}
