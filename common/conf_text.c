/* SPDX-License-Identifier: Apache-2.0
 *
 * What people read of a table: --help, the man page's list, a settings file. All walk the same rows, so none of them can
 * miss a setting. */
#include "common/conf.h"

#include "common/conf_value.h"

#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_PRESET 80
#define WIDTH_MOST 120
#define WIDTH_LEAST 40
#define COLUMN_MOST 30 /* where help begins at most; a longer option has a line of its own */

static size_t width_of(FILE *to)
{
	struct winsize size;
	int fd = fileno(to);
	if (fd < 0 || !isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return WIDTH_PRESET;
	size_t width = min((size_t)size.ws_col, (size_t)WIDTH_MOST);
	return max(width, (size_t)WIDTH_LEAST);
}

/* Writes `text` in words from column `at` on; lines after the first begin with `indent` blanks behind `lead`. */
static void wrap(FILE *to, const char *text, size_t at, const char *lead, size_t indent, size_t width)
{
	bool is_first = true;
	for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
		size_t n = strcspn(text, " ");
		if (!is_first && at + 1 + n > width) {
			fprintf(to, "\n%s%*s", lead, (int)indent, "");
			at = strlen(lead) + indent;
			is_first = true;
		}
		at += (size_t)fprintf(to, "%s%.*s", is_first ? "" : " ", (int)n, text);
		is_first = false;
		text += n;
	}
	fputc('\n', to);
}

static void put_name(const char *name, struct buf *to)
{
	for (; *name; name++)
		buf_put(to, *name == '_' ? "-" : name, 1);
}

static bool is_yes(const struct conf_setting *s)
{
	bool value = false;
	struct conf_setting alone = *s;
	struct conf_reason why = {""};
	alone.offset = 0;
	return s->preset && !conf_value_set(&alone, &value, s->preset, &why) && value;
}

/* "-l, --listen=HOST:PORT"; a bool that is on by default is shown with what switches it off. */
static void put_option(const struct conf_setting *s, struct buf *to)
{
	bool is_bool = s->type == CONF_TYPE_BOOL;
	if (s->letter)
		buf_printf(to, "-%c, ", s->letter);
	else
		buf_puts(to, "    ");
	buf_puts(to, is_bool && is_yes(s) ? "--[no-]" : "--");
	put_name(s->name, to);
	if (!is_bool)
		buf_printf(to, "=%s", s->value_name ? s->value_name : "VALUE");
}

/* The help and, in brackets, what may be given and what holds if nothing is. */
static void put_help(const struct conf_setting *s, struct buf *to)
{
	struct buf range _cleanup_(buf_fini) = {0};
	conf_value_range(s, &range);
	bool has_preset = s->preset && *s->preset && (s->type != CONF_TYPE_BOOL || is_yes(s));
	buf_puts(to, s->help ? s->help : "");
	if (range.n || has_preset)
		buf_printf(to, " (%s%s%s%s)", buf_text(&range), range.n && has_preset ? "; " : "",
			   has_preset ? "default " : "", has_preset ? s->preset : "");
}

static size_t help_column(const struct conf_table *t)
{
	size_t column = strlen("      --version  ");
	for (size_t i = 0; i < t->n; i++) {
		struct buf option _cleanup_(buf_fini) = {0};
		put_option(&t->at[i], &option);
		if (option.n + 4 <= COLUMN_MOST)
			column = max(column, option.n + 4);
	}
	return column;
}

static void print_option(FILE *to, const char *option, const char *help, size_t column, size_t width)
{
	size_t at = (size_t)fprintf(to, "  %s", option);
	if (at + 2 > column) {
		fputc('\n', to);
		at = 0;
	}
	assert(at + 2 <= column);
	fprintf(to, "%*s", (int)(column - at), "");
	wrap(to, help, column, "", column, width);
}

/* Where else settings may stand: a program has a settings file if it has a setting that names one. */
static void put_sources(const struct conf_table *t, FILE *to, size_t width)
{
	bool has_file = false;
	for (size_t i = 0; i < t->n; i++)
		has_file |= streq(t->at[i].name, "config");
	if (!t->prefix || !t->n)
		return;
	struct buf text _cleanup_(buf_fini) = {0};
	buf_printf(&text, "Each may also be set in the environment (%s_NAME)%s. The command line wins%s.", t->prefix,
		   has_file ? " or, as \"name = value\", in the file that --config names" : "",
		   has_file ? ", then the environment" : "");
	fputc('\n', to);
	wrap(to, buf_text(&text), 0, "", 0, width);
}

void conf_print_help(const struct conf_table *t, FILE *to)
{
	assert(t->program);
	size_t width = width_of(to), column = help_column(t);
	bool has_usage = t->usage && *t->usage;
	fprintf(to, "Usage: %s [OPTION ...]%s%s\n", t->program, has_usage ? " " : "", has_usage ? t->usage : "");
	if (t->summary)
		wrap(to, t->summary, 0, "", 0, width);
	fputs("\nOptions:\n", to);
	for (size_t i = 0; i < t->n; i++) {
		struct buf option _cleanup_(buf_fini) = {0}, help _cleanup_(buf_fini) = {0};
		put_option(&t->at[i], &option);
		put_help(&t->at[i], &help);
		print_option(to, buf_text(&option), buf_text(&help), column, width);
	}
	print_option(to, "-h, --help", "show this", column, width);
	print_option(to, "    --version", "show the version", column, width);
	put_sources(t, to, width);
}

/* roff reads a dot or an apostrophe at a line's start as a request, and turns '-' into a hyphen. */
static void put_roff(FILE *to, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", to);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", to);
		else if (*text == '-')
			fputs("\\-", to);
		else
			fputc(*text, to);
	}
}

void conf_print_man(const struct conf_table *t, FILE *to)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		struct buf option _cleanup_(buf_fini) = {0}, help _cleanup_(buf_fini) = {0};
		put_option(s, &option);
		put_help(s, &help);
		char *text = (char *)(uintptr_t)buf_text(&option) + (s->letter ? 0 : strspn(buf_text(&option), " "));
		/* Cut in two for the fonts of a man page: the name is bold, the value's name italic. */
		char *equals = strchr(text, '=');
		if (equals)
			*equals = 0;
		fputs(".TP\n\\fB", to);
		put_roff(to, text);
		fputs("\\fR", to);
		if (equals) {
			fputs("=\\fI", to);
			put_roff(to, equals + 1);
			fputs("\\fR", to);
		}
		fputc('\n', to);
		put_roff(to, buf_text(&help));
		fputc('\n', to);
	}
}

static bool needs_quotes(const char *value)
{
	size_t n = strlen(value);
	if (!n || value[0] == ' ' || value[n - 1] == ' ')
		return true;
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '#' || *p == '"' || *p == '\\')
			return true;
	return false;
}

static void print_value(FILE *to, const char *value)
{
	if (!needs_quotes(value)) {
		fputs(value, to);
		return;
	}
	fputc('"', to);
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(to, "\\%c", *p);
		else if ((unsigned char)*p < 0x20 || *p == 0x7f)
			fprintf(to, "\\x%02x", (unsigned)*p);
		else
			fputc(*p, to);
	}
	fputc('"', to);
}

void conf_print(const struct conf_table *t, const void *into, FILE *to)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		struct buf name _cleanup_(buf_fini) = {0}, help _cleanup_(buf_fini) = {0};
		put_name(s->name, &name);
		buf_puts(&help, s->help ? s->help : "");
		fputs(i ? "\n# " : "# ", to);
		wrap(to, buf_text(&help), 2, "# ", 0, WIDTH_PRESET);
		/* A list has a line for each of its values; without any, a comment shows how one is written. */
		size_t n = 1;
		if (s->type == CONF_TYPE_MANY)
			n = ((const struct conf_many *)(const void *)((const char *)into + s->offset))->n;
		if (!n)
			fprintf(to, "# %s = %s\n", buf_text(&name), s->value_name ? s->value_name : "VALUE");
		for (size_t each = 0; each < n; each++) {
			struct buf value _cleanup_(buf_fini) = {0};
			conf_value_text(s, into, each, &value);
			fprintf(to, "%s = ", buf_text(&name));
			print_value(to, buf_text(&value));
			fputc('\n', to);
		}
	}
}

/* Whether the default would give the same. */
static bool is_preset(const struct conf_setting *s, const void *into)
{
	union {
		char *text;
		uint64_t number;
		struct conf_many many;
	} field = {.many = {.n = 0}};
	struct conf_setting alone = *s;
	struct conf_reason why = {""};
	struct buf now _cleanup_(buf_fini) = {0}, preset _cleanup_(buf_fini) = {0};
	bool is_text = s->type == CONF_TYPE_TEXT || s->type == CONF_TYPE_PATH;
	alone.offset = 0;
	if (conf_value_set(&alone, &field, s->preset ? s->preset : is_text ? "" : "0", &why) < 0)
		return false;
	conf_value_text(s, into, 0, &now);
	conf_value_text(&alone, &field, 0, &preset);
	conf_value_fini(&alone, &field);
	return streq(buf_text(&now), buf_text(&preset));
}

void conf_print_changed(const struct conf_table *t, const void *into, bool (*is_meant)(const struct conf_setting *s),
			FILE *to)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		struct buf name _cleanup_(buf_fini) = {0};
		size_t n = 1;
		if (s->type == CONF_TYPE_MANY)
			n = ((const struct conf_many *)(const void *)((const char *)into + s->offset))->n;
		else if (is_preset(s, into))
			n = 0;
		put_name(s->name, &name);
		for (size_t each = 0; each < n && is_meant(s); each++) {
			struct buf value _cleanup_(buf_fini) = {0};
			conf_value_text(s, into, each, &value);
			fprintf(to, "%s = ", buf_text(&name));
			print_value(to, buf_text(&value));
			fputc('\n', to);
		}
	}
}
