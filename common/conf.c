/* SPDX-License-Identifier: Apache-2.0
 *
 * Four ways in (a call, a file, the environment, options) and one way on: each finds the setting that was named and
 * hands the value to assign(). A struct place remembers where it was, so that an error begins with what the person has
 * to change. Nothing of what was given reaches an error's text unescaped or uncut. */
#include "common/conf.h"

#include "common/conf_value.h"
#include "common/log.h"
#include "common/path.h"

#include <stdarg.h>
#include <stdio.h>

#define FILE_SIZE_MAX (1u << 20)
#define NAME_MAX_SIZE 64 /* of a setting, its NUL included; longer ones are no setting's */
#define SHOWN_SIZE 96    /* of a value in an error */

/* Where a setting was given: each of these makes another beginning of the error's line. */
struct place {
	enum { PLACE_CALL, PLACE_FILE, PLACE_VARIABLE, PLACE_OPTION } kind;
	const char *origin; /* of a file */
	size_t line;
};

static char shown_char(char c)
{
	return c == '_' ? '-' : c;
}

/* The setting's name as people write it, in `name`'s room. */
static char *shown_name(const char *field, char name[NAME_MAX_SIZE])
{
	size_t i = 0;
	for (; field[i] && i + 1 < NAME_MAX_SIZE; i++)
		name[i] = shown_char(field[i]);
	name[i] = 0;
	return name;
}

static bool is_same_name(const char *field, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!field[i] || shown_char(field[i]) != shown_char(name[i]))
			return false;
	return !field[n];
}

static const struct conf_setting *find(const struct conf_table *t, const char *name, size_t n)
{
	for (size_t i = 0; i < t->n; i++)
		if (is_same_name(t->at[i].name, name, n))
			return &t->at[i];
	return NULL;
}

static const struct conf_setting *find_letter(const struct conf_table *t, char letter)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i].letter && t->at[i].letter == letter)
			return &t->at[i];
	return NULL;
}

static const struct conf_foreign *find_foreign(const struct conf_table *t, const char *name, size_t n)
{
	for (const struct conf_foreign *f = t->foreign; f && f->name; f++)
		if (is_same_name(f->name, name, n))
			return f;
	return NULL;
}

/* Edits (insert, delete, replace, swap neighbours) that make a of b. Both are shorter than NAME_MAX_SIZE. */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t n_a = strlen(a), n_b = strlen(b);
	unsigned rows[3][NAME_MAX_SIZE] = {{0}};
	assert(n_a < NAME_MAX_SIZE && n_b < NAME_MAX_SIZE);
	unsigned *older = rows[0], *before = rows[1], *now = rows[2];
	for (unsigned j = 0; j <= n_b; j++)
		before[j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			unsigned edit = before[j - 1] + (a[i - 1] != b[j - 1]);
			unsigned skip = min(before[j], now[j - 1]) + 1;
			now[j] = min(edit, skip);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = min(now[j], older[j - 2] + 1);
		}
		unsigned *freed = older;
		older = before;
		before = now;
		now = freed;
	}
	return before[n_b];
}

/* The setting that was probably meant; NULL if none is near. */
static const struct conf_setting *nearest(const struct conf_table *t, const char *name, size_t n)
{
	char wanted[NAME_MAX_SIZE], has[NAME_MAX_SIZE];
	if (!n || n >= NAME_MAX_SIZE)
		return NULL;
	for (size_t i = 0; i <= n; i++)
		wanted[i] = i < n ? shown_char(name[i]) : 0;
	unsigned least = 2 + (unsigned)n / 4;
	const struct conf_setting *found = NULL;
	for (size_t i = 0; i < t->n; i++) {
		unsigned distance = edit_distance(wanted, shown_name(t->at[i].name, has));
		/* Who stops half-way through a long name is nearer to it than edits would say. */
		if (n >= 3 && has_prefix(has, wanted))
			distance = 1;
		if (distance < least && distance < n) {
			least = distance;
			found = &t->at[i];
		}
	}
	return found;
}

/* Fills e and returns -EINVAL: "vined.conf:3: ", "VINED_", "--" and what follows, as the place demands. */
static int _printf_(3, 4) fail(struct conf_error *e, const struct place *p, const char *fmt, ...)
{
	int n = 0;
	if (p->kind == PLACE_FILE) {
		char origin[160];
		log_escape(p->origin, strlen(p->origin), origin, sizeof origin);
		n = snprintf(e->text, sizeof e->text, "%s:%zu: ", origin, p->line);
	}
	assert(n >= 0 && (size_t)n < sizeof e->text);
	va_list args;
	va_start(args, fmt);
	vsnprintf(e->text + n, sizeof e->text - (size_t)n, fmt, args);
	va_end(args);
	return -EINVAL;
}

static int fail_unknown(const struct conf_table *t, const char *name, size_t n, const struct place *p,
			struct conf_error *e)
{
	char shown[SHOWN_SIZE], cure[256], meant[NAME_MAX_SIZE];
	bool is_option = p->kind == PLACE_OPTION;
	const struct conf_foreign *f = find_foreign(t, name, n);
	const struct conf_setting *s = f && f->means ? find(t, f->means, strlen(f->means)) : nearest(t, name, n);
	if (f && f->instead)
		snprintf(cure, sizeof cure, "%s", f->instead);
	else if (s)
		snprintf(cure, sizeof cure, "did you mean %s%s?", is_option ? "--" : "", shown_name(s->name, meant));
	else
		snprintf(cure, sizeof cure, "\"%s --help\" lists them all", t->program);
	log_escape(name, n, shown, sizeof shown);
	return fail(e, p, "unknown %s%s: %s", is_option ? "option --" : "setting ", shown, cure);
}

/* "NODE_TIMEOUT" of "node_timeout" behind "VINED_". */
static void variable_name(const struct conf_table *t, const struct conf_setting *s, char *to, size_t room)
{
	snprintf(to, room, "%s_%s", t->prefix, s->name);
	for (char *p = to + min(strlen(t->prefix), room - 1); *p; p++)
		*p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

static int fail_value(const struct conf_table *t, const struct conf_setting *s, const char *value,
		      const struct place *p, const char *why, struct conf_error *e)
{
	char shown[SHOWN_SIZE], name[NAME_MAX_SIZE * 2] = "--";
	if (p->kind == PLACE_VARIABLE)
		variable_name(t, s, name, sizeof name);
	else
		shown_name(s->name, name + (p->kind == PLACE_OPTION ? 2 : 0));
	bool is_spaced = p->kind == PLACE_FILE || p->kind == PLACE_CALL;
	log_escape(value, strlen(value), shown, sizeof shown);
	return fail(e, p, "%s%s%s: %s", name, is_spaced ? " = " : "=", shown, why);
}

static int assign(const struct conf_table *t, void *into, const struct conf_setting *s, const char *value,
		  const struct place *p, struct conf_error *e)
{
	struct conf_reason why = {""};
	int r = conf_value_set(s, into, value, &why);
	return r < 0 ? fail_value(t, s, value, p, why.text, e) : 0;
}

/* What a line of a .def can get wrong and no compiler sees. */
static void check_table(const struct conf_table *t)
{
	assert(t->program);
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		assert(strlen(s->name) < NAME_MAX_SIZE);
		assert((s->type == CONF_TYPE_WORD) == (s->words != NULL));
		assert(find(t, s->name, strlen(s->name)) == s);       /* no name twice */
		assert(!s->letter || find_letter(t, s->letter) == s); /* no letter twice */
	}
}

void conf_preset(const struct conf_table *t, void *into)
{
	check_table(t);
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		struct conf_reason why = {""};
		bool is_text = s->type == CONF_TYPE_TEXT || s->type == CONF_TYPE_PATH;
		const char *preset = s->preset ? s->preset : is_text ? "" : NULL;
		if (preset && conf_value_set(s, into, preset, &why) < 0) {
			log_error("the settings of %s are built wrongly: %s: %s", t->program, s->name, why.text);
			abort();
		}
	}
}

void conf_fill_in(char **setting, char *value)
{
	assert(*setting && value);
	char *unused = value;
	if (!**setting) {
		unused = *setting;
		*setting = value;
	}
	free(unused);
}

void conf_fini(const struct conf_table *t, void *into)
{
	for (size_t i = 0; i < t->n; i++)
		conf_value_fini(&t->at[i], into);
}

int conf_set(const struct conf_table *t, void *into, const char *name, const char *value, struct conf_error *e)
{
	struct place p = {.kind = PLACE_CALL};
	const struct conf_setting *s = find(t, name, strlen(name));
	return s ? assign(t, into, s, value, &p, e) : fail_unknown(t, name, strlen(name), &p, e);
}

/* ---- files */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

/* Reads "..." at *at into `to`, moves behind it. NULL or what is wrong. */
static const char *read_quoted(const char **at, const char *end, struct buf *to)
{
	assert(**at == '"');
	for (const char *p = *at + 1; p < end; p++) {
		char c = *p;
		if (c == '"') {
			*at = p + 1;
			return NULL;
		}
		if (c == '\\') {
			if (++p == end)
				break;
			static const char from[] = "nrt\"\\", into[] = "\n\r\t\"\\";
			const char *found = strchr(from, *p);
			if (found && *p) {
				c = into[found - from];
			} else if (*p == 'x' && end - p > 2 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
				c = (char)(hex_value(p[1]) << 4 | hex_value(p[2]));
				p += 2;
				if (!c)
					return "a value cannot hold a NUL byte";
			} else {
				return "in quotes a backslash stands before one of n r t \" \\ or xNN";
			}
		}
		buf_put(to, &c, 1);
	}
	return "the closing quote is missing";
}

/* Reads the value at `at` up to the end of the line or a comment. NULL or what is wrong. */
static const char *read_value(const char *at, const char *end, struct buf *to)
{
	if (at < end && *at == '"') {
		const char *bad = read_quoted(&at, end, to);
		if (bad)
			return bad;
		at = skip_blanks(at, end);
		return at == end || *at == '#' ? NULL : "something follows the closing quote";
	}
	const char *start = at;
	while (at < end && !(*at == '#' && (at == start || is_blank(at[-1]))))
		at++;
	while (at > start && is_blank(at[-1]))
		at--;
	buf_put(to, start, (size_t)(at - start));
	return at > start ? NULL : "the value is missing: an empty one is written \"\"";
}

static int read_line(const struct conf_table *t, void *into, const char *at, const char *end, const struct place *p,
		     struct conf_error *e)
{
	at = skip_blanks(at, end);
	if (at == end || *at == '#')
		return 0;
	if (memchr(at, 0, (size_t)(end - at)))
		return fail(e, p, "a NUL byte: is this a text file?");
	const char *name = at;
	while (at < end && !is_blank(*at) && *at != '=')
		at++;
	size_t n = (size_t)(at - name);
	at = skip_blanks(at, end);
	if (at == end || *at != '=' || !n) {
		char shown[SHOWN_SIZE];
		log_escape(name, (size_t)(end - name), shown, sizeof shown);
		return fail(e, p, "%s: not of the form name = value", shown);
	}
	const struct conf_setting *s = find(t, name, n);
	if (!s)
		return fail_unknown(t, name, n, p, e);
	struct buf value _cleanup_(buf_fini) = {0};
	at = skip_blanks(at + 1, end);
	const char *bad = read_value(at, end, &value);
	if (bad) {
		_free_ char *raw = xstrndup(at, (size_t)(end - at));
		return fail_value(t, s, raw, p, bad, e);
	}
	return assign(t, into, s, buf_text(&value), p, e);
}

int conf_read_text(const struct conf_table *t, void *into, const char *text, size_t n, const char *origin,
		   struct conf_error *e)
{
	assert(origin);
	struct place p = {.kind = PLACE_FILE, .origin = origin};
	for (const char *at = text, *end = text + n; at < end;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		p.line++;
		int r = read_line(t, into, at, stop, &p, e);
		if (r < 0)
			return r;
		at = newline ? newline + 1 : end;
	}
	return 0;
}

int conf_read_file(const struct conf_table *t, void *into, const char *path, struct conf_error *e)
{
	size_t n;
	_free_ char *text = path_read(path, FILE_SIZE_MAX, &n);
	if (!text) {
		int error = errno;
		char shown[256];
		log_escape(path, strlen(path), shown, sizeof shown);
		snprintf(e->text, sizeof e->text, "settings file %s: %s", shown,
			 error == EFBIG ? "larger than 1 MiB" : strerror(error));
		return -error;
	}
	return conf_read_text(t, into, text, n, path, e);
}

/* ---- environment */

int conf_read_environ(const struct conf_table *t, void *into, char *const *environment, struct conf_error *e)
{
	/* Variables that only begin like ours are no error: VINE_SECRET names a file for `vine` and is no setting. */
	struct place p = {.kind = PLACE_VARIABLE};
	size_t n_prefix = t->prefix ? strlen(t->prefix) : 0;
	for (; n_prefix && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		if (!equals || !equals[1] || !has_prefix(*environment, t->prefix))
			continue;
		for (size_t i = 0; i < t->n; i++) {
			char name[NAME_MAX_SIZE * 2];
			variable_name(t, &t->at[i], name, sizeof name);
			size_t n = strlen(name);
			if (n != (size_t)(equals - *environment) || memcmp(name, *environment, n) != 0)
				continue;
			int r = assign(t, into, &t->at[i], equals + 1, &p, e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- options */

struct options {
	const struct conf_table *t;
	void *into;
	int argc, next; /* the word after the one being read */
	char *const *argv;
	struct conf_error *e;
};

static const struct place on_command_line = {.kind = PLACE_OPTION};

static int answer(struct options *o, const char *what)
{
	snprintf(o->e->text, sizeof o->e->text, "%s", what);
	return -ENOTSUP;
}

/* `given` is NULL if the value is the next word. */
static int take(struct options *o, const struct conf_setting *s, const char *given)
{
	char name[NAME_MAX_SIZE];
	if (!given && o->next == o->argc)
		return fail(o->e, &on_command_line, "--%s: the value is missing: --%s=%s", shown_name(s->name, name),
			    name, s->value_name ? s->value_name : "VALUE");
	return assign(o->t, o->into, s, given ? given : o->argv[o->next++], &on_command_line, o->e);
}

/* "--partition" or "-p" of somewhere else. `given` as above. */
static int take_foreign(struct options *o, const struct conf_foreign *f, const char *given)
{
	const struct conf_table *t = o->t;
	assert(f->means || f->take || f->instead);
	if (f->instead)
		return fail(o->e, &on_command_line, "there is no option --%s here: %s", f->name, f->instead);
	if (!f->is_alone && !given && o->next == o->argc)
		return fail(o->e, &on_command_line, "--%s: the value is missing", f->name);
	if (!given)
		given = f->is_alone ? "yes" : o->argv[o->next++];
	if (f->take)
		return f->take(t, o->into, given, o->e);
	const struct conf_setting *s = find(t, f->means, strlen(f->means));
	return s ? assign(t, o->into, s, given, &on_command_line, o->e)
		 : fail_unknown(t, f->means, strlen(f->means), &on_command_line, o->e);
}

static const struct conf_foreign *find_foreign_letter(const struct conf_table *t, char letter)
{
	for (const struct conf_foreign *f = t->foreign; f && f->name; f++)
		if (f->letter == letter)
			return f;
	return NULL;
}

static int read_long(struct options *o, const char *name)
{
	const char *equals = strchr(name, '=');
	const char *given = equals ? equals + 1 : NULL;
	size_t n = equals ? (size_t)(equals - name) : strlen(name);
	const struct conf_setting *s = find(o->t, name, n);
	if (s)
		return take(o, s, !given && s->type == CONF_TYPE_BOOL ? "yes" : given);
	/* Only now: a setting may be called "no-something". */
	if (has_prefix(name, "no-") && !given) {
		s = find(o->t, name + 3, n - 3);
		if (s && s->type == CONF_TYPE_BOOL)
			return take(o, s, "no");
	}
	if (streq(name, "help") || streq(name, "version") || streq(name, "man"))
		return answer(o, name);
	const struct conf_foreign *f = find_foreign(o->t, name, n);
	if (f)
		return take_foreign(o, f, given);
	return fail_unknown(o->t, name, n, &on_command_line, o->e);
}

/* "-vl HOST" and "-vlHOST": letters of bools may stand together, another one's value ends the word. */
static int read_short(struct options *o, const char *letters)
{
	for (; *letters; letters++) {
		const struct conf_setting *s = find_letter(o->t, *letters);
		if (!s && *letters == 'h')
			return answer(o, "help");
		const struct conf_foreign *f = s ? NULL : find_foreign_letter(o->t, *letters);
		if (f && (f->instead || !f->is_alone))
			return take_foreign(o, f, letters[1] ? letters + 1 : NULL);
		if (!s) {
			char shown[8];
			log_escape(letters, 1, shown, sizeof shown);
			return fail(o->e, &on_command_line, "unknown option -%s: \"%s --help\" lists them all", shown,
				    o->t->program);
		}
		if (s->type != CONF_TYPE_BOOL)
			return take(o, s, letters[1] ? letters + 1 : NULL);
		int r = take(o, s, "yes");
		if (r < 0)
			return r;
	}
	return 0;
}

int conf_read_args(const struct conf_table *t, void *into, int argc, char *const *argv, struct conf_error *e)
{
	struct options o = {.t = t, .into = into, .argc = argc, .next = 1, .argv = argv, .e = e};
	while (o.next < argc) {
		const char *word = argv[o.next];
		if (word[0] != '-' || !word[1])
			break;
		o.next++;
		if (streq(word, "--"))
			break;
		int r = word[1] == '-' ? read_long(&o, word + 2) : read_short(&o, word + 1);
		if (r < 0)
			return r;
	}
	return min(o.next, max(argc, 1));
}
