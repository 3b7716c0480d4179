/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/job_file.h"

#include <ctype.h>
#include <stdio.h>

#define MARK "#VINE"

/* ---- words */

struct words {
	char **at;
	size_t n;
};

static void add_word(struct words *w, char *word)
{
	w->at = xrealloc(w->at, (w->n + 2) * sizeof *w->at);
	w->at[w->n++] = word;
	w->at[w->n] = NULL;
}

static char **drop(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->at[i]);
	free(w->at);
	return NULL;
}

/* Moves behind the word. False: a quote is open. */
static bool take_word(const char **at, struct buf *word)
{
	const char *p = *at;
	char quote = 0;
	for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
		bool is_escape = *p == '\\' && quote != '\'' && p[1] && (!quote || strchr("\"\\$`", p[1]));
		if (is_escape)
			buf_put(word, ++p, 1);
		else if (quote ? *p == quote : *p == '\'' || *p == '"')
			quote = quote ? 0 : *p;
		else
			buf_put(word, p, 1);
	}
	*at = p;
	return !quote;
}

static bool split_into(struct words *w, const char *text)
{
	for (;;) {
		text += strspn(text, " \t\r\n");
		if (!*text)
			return true;
		struct buf word = {0};
		bool is_whole = take_word(&text, &word);
		add_word(w, word.n ? buf_steal_text(&word) : xstrdup(""));
		if (!is_whole)
			return false;
	}
}

char **job_split(const char *text)
{
	struct words w = {.at = xcalloc(1, sizeof *w.at)};
	return split_into(&w, text) ? w.at : drop(&w);
}

/* ---- scripts */

char **job_script_words(const char *text)
{
	struct words w = {.at = xcalloc(1, sizeof *w.at)};
	while (*text == '#' || *text == '\n') {
		size_t n = strcspn(text, "\n");
		_free_ char *line = xstrndup(text, n);
		bool is_ours = has_prefix(line, MARK) && isspace((unsigned char)line[strlen(MARK)]);
		if (is_ours && !split_into(&w, line + strlen(MARK)))
			return drop(&w);
		text += n + (text[n] == '\n');
	}
	return w.at;
}

char **job_script_interpreter(const char *text)
{
	struct words w = {.at = NULL};
	_free_ char *line = xstrndup(text, strcspn(text, "\n"));
	char *p = line + (has_prefix(line, "#!") ? 2 : 0);
	p += p == line ? strlen(p) : strspn(p, " \t");
	for (size_t end = strlen(p); end && isspace((unsigned char)p[end - 1]); end--)
		p[end - 1] = 0;
	size_t n = strcspn(p, " \t");
	add_word(&w, n ? xstrndup(p, n) : xstrdup("/bin/sh"));
	p += n + strspn(p + n, " \t");
	/* The kernel hands the rest on as one word. */
	if (n && *p)
		add_word(&w, xstrdup(p));
	return w.at;
}

/* ---- job files */

struct variable {
	char *name, *value;
};

struct reader {
	struct variable *variables;
	size_t n_variables;
	struct job_file *file;
	size_t line, n_common; /* n_common: lines before the first section */
	char *why;
};

static int refuse(struct reader *r, const char *text, const char *reason)
{
	snprintf(r->why, JOB_WHY, "line %zu: '%.80s': %s", r->line, text, reason);
	return -EINVAL;
}

static const char *find_variable(const struct reader *r, const char *name, size_t n)
{
	for (size_t i = r->n_variables; i > 0; i--) {
		const struct variable *v = &r->variables[i - 1];
		if (strlen(v->name) == n && memcmp(v->name, name, n) == 0)
			return v->value;
	}
	return NULL;
}

static char *replace_variables(const struct reader *r, const char *text)
{
	struct buf b = {0};
	while (*text) {
		size_t n = has_prefix(text, "${") ? strcspn(text + 2, "}") : 0;
		const char *value = n && text[2 + n] ? find_variable(r, text + 2, n) : NULL;
		if (value)
			buf_puts(&b, value);
		else
			buf_put(&b, text, 1);
		text += value ? n + 3 : 1;
	}
	return b.n ? buf_steal_text(&b) : xstrdup("");
}

static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = 0;
	return text;
}

static int set_variable(struct reader *r, char *line)
{
	char *equals = strchr(line, '=');
	if (!equals)
		return refuse(r, line, "a variable is set by $word = value");
	*equals = 0;
	char *name = trim(line + 1), *value = trim(equals + 1);
	if (!*name || strpbrk(name, "${} \t"))
		return refuse(r, line, "not the name of a variable");
	r->variables = xrealloc(r->variables, (r->n_variables + 1) * sizeof *r->variables);
	r->variables[r->n_variables++] = (struct variable){xstrdup(name), xstrdup(value)};
	return 0;
}

/* Names become keys of tasks, and parts of selectors. */
static int begin_section(struct reader *r, char *line)
{
	size_t n = strlen(line);
	char *name = has_prefix(line, "[task ") && line[n - 1] == ']' ? line + strlen("[task ") : NULL;
	if (!name)
		return refuse(r, line, "a section begins with [task NAME]");
	line[n - 1] = 0;
	name = trim(name);
	if (!*name || strlen(name) > 100 || strpbrk(name, "/@:, \t"))
		return refuse(r, name, "the name of a task has no blanks and none of / @ : ,");
	for (size_t i = 0; i < r->file->n; i++) {
		if (streq(r->file->at[i].name, name))
			return refuse(r, name, "a task of this name is there already");
	}
	struct job_file *f = r->file;
	f->at = xrealloc(f->at, (f->n + 1) * sizeof *f->at);
	f->at[f->n++] = (struct job_section){.name = xstrdup(name), .n_skipped = r->line - r->n_common};
	return 0;
}

static void put_line(struct reader *r, const char *line)
{
	struct job_file *f = r->file;
	r->n_common += !f->n;
	buf_printf(f->n ? &f->at[f->n - 1].text : &f->common, "%s\n", line);
}

static int read_line(struct reader *r, const char *line)
{
	_free_ char *copy = xstrdup(line);
	_free_ char *plain = replace_variables(r, trim(copy));
	if (*plain == '[')
		return begin_section(r, plain);
	int status = *plain == '$' ? set_variable(r, plain) : 0;
	put_line(r, *plain == '$' ? "" : plain);
	return status;
}

char *job_section_text(struct job_file *f, size_t i)
{
	struct buf b = {0};
	assert(i < f->n);
	buf_put(&b, f->common.at, f->common.n);
	for (size_t k = 0; k < f->at[i].n_skipped; k++)
		buf_puts(&b, "\n");
	buf_put(&b, f->at[i].text.at, f->at[i].text.n);
	return b.n ? buf_steal_text(&b) : xstrdup("");
}

int job_file_read(const char *text, size_t n, struct job_file *f, char why[JOB_WHY])
{
	struct reader r = {.file = f, .why = why};
	_free_ char *copy = xstrndup(text, n);
	int status = strlen(copy) == n ? 0 : refuse(&r, "", "not text: it has a NUL");
	*f = (struct job_file){0};
	for (char *p = copy; *p && !status;) {
		size_t length = strcspn(p, "\n");
		bool is_last = !p[length];
		p[length] = 0;
		r.line++;
		status = read_line(&r, p);
		p += length + !is_last;
	}
	if (!status && !f->n) {
		f->at = xcalloc(1, sizeof *f->at);
		f->n = 1;
	}
	for (size_t i = 0; i < r.n_variables; i++) {
		free(r.variables[i].name);
		free(r.variables[i].value);
	}
	free(r.variables);
	if (status)
		job_file_fini(f);
	return status;
}

void job_file_fini(struct job_file *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->at[i].name);
		buf_fini(&f->at[i].text);
	}
	free(f->at);
	buf_fini(&f->common);
	*f = (struct job_file){0};
}
