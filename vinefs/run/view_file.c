/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/view_file.h"

#include "common/path.h"
#include "vinefs/run/view_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define MOST (16u << 20)
#define FIRST_LINE "vine-steps\t1"
#define FIELDS_MOST 6

/* ---- writing */

static void put_field(struct buf *b, const char *text)
{
	buf_puts(b, "\t");
	for (const char *at = text ? text : ""; *at; at++) {
		if (*at == '\\' || *at == '\t' || *at == '\n')
			buf_puts(b, *at == '\\' ? "\\\\" : *at == '\t' ? "\\t" : "\\n");
		else
			buf_put(b, at, 1);
	}
}

static void put_line(struct buf *b, const char *word, const char *text)
{
	buf_puts(b, word);
	put_field(b, text);
	buf_puts(b, "\n");
}

int view_file_write(const char *sandbox, const struct hand_start *s, const struct view *v)
{
	_cleanup_(buf_fini) struct buf b = {0};
	_free_ char *path = path_join(sandbox, "steps");
	buf_printf(&b, FIRST_LINE "\nstem\t%" PRIu64 "\nflags\t%u\t%o\n", s->stem, s->flags, s->mask);
	put_line(&b, "directory", s->directory);
	put_line(&b, "in", s->in);
	for (uint32_t i = 0; i < s->n_steps; i++) {
		buf_printf(&b, "step\t%u\t%u", s->steps[i].op, s->steps[i].flags);
		put_field(&b, s->steps[i].from);
		put_field(&b, s->steps[i].to);
		put_field(&b, s->steps[i].data);
		buf_puts(&b, "\n");
	}
	for (size_t i = 0; i < v->n_places; i++) {
		char id[DIGEST_TEXT_SIZE];
		buf_printf(&b, "place\t%d\t%s", v->places[i].is_overlay, digest_text(&v->places[i].lower, id));
		put_field(&b, v->places[i].path);
		put_field(&b, v->places[i].upper);
		buf_puts(&b, "\n");
	}
	for (uint32_t i = 0; i < s->n_environment; i++)
		put_line(&b, "environment", s->environment[i]);
	for (uint32_t i = 0; i < s->n_argv; i++)
		put_line(&b, "argv", s->argv[i]);
	return path_overwrite(path, b.at, b.n, 0600, 0);
}

/* ---- reading */

struct reading {
	char *block, *at;
	char *field[FIELDS_MOST]; /* of the present line; those that it lacks are "" */
};

static void unescape(char *text)
{
	char *to = text;
	for (; *text; text++) {
		if (*text == '\\' && text[1])
			*to++ = *++text == 't' ? '\t' : *text == 'n' ? '\n' : *text;
		else
			*to++ = *text;
	}
	*to = 0;
}

static bool next_line(struct reading *r)
{
	static char none[] = "";
	char *end = strchr(r->at, '\n'), *at = r->at;
	if (!end)
		return false;
	*end = 0;
	r->at = end + 1;
	for (size_t i = 0; i < FIELDS_MOST; i++) {
		r->field[i] = at ? at : none;
		at = at ? strchr(at, '\t') : NULL;
		if (at)
			*at++ = 0;
	}
	for (size_t i = 0; i < FIELDS_MOST; i++)
		unescape(r->field[i]);
	return true;
}

static int open_file(const char *sandbox, struct reading *r)
{
	_free_ char *path = path_join(sandbox, "steps");
	size_t n;
	*r = (struct reading){.block = path_read(path, MOST, &n)};
	if (!r->block)
		return -errno;
	r->at = r->block;
	/* The keeper is told of an attempt once it is written, and nobody asks for one that the keeper does not know. */
	if (!has_prefix(r->block, FIRST_LINE "\n") || strlen(r->block) != n) {
		free(r->block);
		return -EBADMSG;
	}
	return next_line(r) ? 0 : -EBADMSG;
}

static void read_place(struct view *v, char *const *field)
{
	struct outputs_place place = {.path = field[3], .upper = field[4], .is_overlay = *field[1] == '1'};
	if (digest_parse(field[2], &place.lower))
		place.lower = (struct digest){0};
	view_place(v, place.path, place.upper, place.is_overlay, &place.lower);
}

int view_file_read(const char *sandbox, struct view *v, uint64_t *stem)
{
	struct reading r;
	int error = open_file(sandbox, &r);
	if (error)
		return error;
	view_keep(v, r.block);
	while (next_line(&r)) {
		if (streq(r.field[0], "stem")) {
			*stem = strtoull(r.field[1], NULL, 10);
		} else if (streq(r.field[0], "directory")) {
			free(v->directory);
			v->directory = xstrdup(r.field[1]);
		} else if (streq(r.field[0], "place")) {
			read_place(v, r.field);
		}
	}
	return 0;
}

static void add_text(const char *const **texts, uint32_t *n, char *text)
{
	const char **all = xrealloc((void *)(uintptr_t)*texts, ((size_t)*n + 2) * sizeof *all);
	all[(*n)++] = text;
	all[*n] = NULL;
	*texts = all;
}

static void read_step(struct run_view *v, char *const *field)
{
	v->steps = xrealloc(v->steps, ((size_t)v->n_steps + 1) * sizeof *v->steps);
	v->steps[v->n_steps++] = (struct view_step){.op = (uint32_t)strtoul(field[1], NULL, 10),
						    .flags = (uint32_t)strtoul(field[2], NULL, 10),
						    .from = field[3],
						    .to = field[4],
						    .data = field[5]};
}

int run_read_view(const char *sandbox, struct run_view *v)
{
	struct reading r;
	*v = (struct run_view){0};
	int error = open_file(sandbox, &r);
	if (error)
		return error;
	v->block = r.block;
	v->directory = v->in = "";
	while (next_line(&r)) {
		if (streq(r.field[0], "stem"))
			v->stem = strtoull(r.field[1], NULL, 10);
		else if (streq(r.field[0], "directory"))
			v->directory = r.field[1];
		else if (streq(r.field[0], "in"))
			v->in = r.field[1];
		else if (streq(r.field[0], "step"))
			read_step(v, r.field);
		else if (streq(r.field[0], "environment"))
			add_text(&v->environment, &v->n_environment, r.field[1]);
		else if (streq(r.field[0], "argv"))
			add_text(&v->argv, &v->n_argv, r.field[1]);
		else if (streq(r.field[0], "flags")) {
			v->flags = (uint32_t)strtoul(r.field[1], NULL, 10);
			v->mask = (uint32_t)strtoul(r.field[2], NULL, 8);
		}
	}
	return 0;
}

void run_view_fini(struct run_view *v)
{
	free(v->steps);
	free((void *)(uintptr_t)v->environment);
	free((void *)(uintptr_t)v->argv);
	free(v->block);
	*v = (struct run_view){0};
}
