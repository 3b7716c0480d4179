/* SPDX-License-Identifier: Apache-2.0
 * Settings: one list per program (or per subcommand) from which the struct, defaults, parsing, units, ranges,
 * environment, --help and the man page are made. A program lists its settings in a settings.def, one line each:
 *
 *   CONF_TEXT(listen, 'l', "127.0.0.1:0", "HOST:PORT", "address to listen on")
 *   CONF_PATH(state, 0, "", "DIR", "where it keeps its files")
 *   CONF_BOOL(exclusive, 0, "no", "nobody else opens the database")
 *   CONF_INT(port, 0, "0", "0", "65535", "N", "a plain number")
 *   CONF_SIZE(quota, 0, "10G", "1M", NULL, "bytes kept at most")
 *   CONF_TIME(node_timeout, 0, "30s", "1s", "1h", "how long a silent node is waited for")
 *   CONF_WORD(log_level, 0, "info", log_level_words, "LEVEL", "how much to tell")
 *   CONF_MANY(input, 'i', "FROM[:TO]", "an input; may be given several times")
 *
 * A new setting is that one line. Presets and bounds are written as a user would; a bound may be NULL. The struct
 * (bool, int64_t, uint64_t, char *, ... as enum conf_type says) and the table are made by
 *
 *   settings.h:  #define CONF_STRUCT vined_settings           settings.c:  #include "vined/settings.h"
 *                #define CONF_FILE "vined/settings.def"                    #define CONF_STRUCT vined_settings
 *                #include "common/conf_struct.h"                           #define CONF_FILE "vined/settings.def"
 *                extern const struct conf_table vined_table;               #include "common/conf_table.h"
 *
 *   const struct conf_table vined_table = {.program = "vined", .prefix = "VINED", .summary = "...", .usage = "",
 *                                          .at = vined_settings_table, .n = countof(vined_settings_table)};
 *
 * The name is the field's with '-' for '_'. In a file it is `name = value`, on the command line `--name=value` or
 * `--name value` (a bool: `--name`, `--no-name`), with a letter also `-x value`, in the environment PREFIX_NAME (an
 * empty variable counts as unset, one that is no setting's is left alone). Later wins in this order: default, file, environment, command line. In a file, `#`
 * begins a comment at the start of a line or after a blank; "..." keeps blanks and # and knows \n \t \" \\ \xNN. */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include "common/base.h"

#include <stdio.h>

enum conf_type {
	CONF_TYPE_TEXT, /* char *, owned, never NULL ("" when unset) */
	CONF_TYPE_PATH, /* char *, owned; ~/ is expanded, a relative one made absolute; - stays */
	CONF_TYPE_BOOL, /* bool: yes no true false on off 1 0 */
	CONF_TYPE_INT,  /* int64_t, a plain number */
	CONF_TYPE_SIZE, /* uint64_t bytes: 10, 4K, 1.5G, 2GiB (K M G T P are powers of 1024, KB MB ... of 1000) */
	CONF_TYPE_TIME, /* uint64_t microseconds: 250ms, 10s, 5m, 1h30m, 2d; a bare number is seconds */
	CONF_TYPE_WORD, /* int: index into words */
	CONF_TYPE_MANY, /* struct conf_many: may be given several times, each adds one */
};

struct conf_many {
	char **at;
	size_t n;
};

struct conf_setting {
	const char *name;
	char letter; /* 0: none */
	enum conf_type type;
	size_t offset;
	const char *preset;       /* the default as one would type it; NULL: zero */
	const char *least, *most; /* in the type's own notation; NULL: no bound */
	const char *const *words; /* of CONF_TYPE_WORD, ends in NULL */
	const char *value_name;   /* "HOST:PORT" */
	const char *help;
};

struct conf_table;
struct conf_error;

/* An option of another system that fingers know, and what becomes of it here. */
struct conf_foreign {
	const char *name; /* "cpus-per-task" */
	char letter;      /* 0: none; a letter that is a setting's is that one's */
	bool is_alone;    /* it has no value */
	/* One of three: the setting that means the same; a function that sets some (0 or -EINVAL with the text); what there is instead, said as an error. */
	const char *means;
	int (*take)(const struct conf_table *t, void *into, const char *value, struct conf_error *e);
	const char *instead;
};

struct conf_table {
	const char *program; /* "vined", or "vine run" */
	const char *prefix;  /* of environment variables, "VINED"; NULL: none */
	const char *summary; /* one line */
	const char *usage;   /* what follows the options: "-- COMMAND [ARG ...]", or "" */
	const struct conf_setting *at;
	size_t n;
	const struct conf_foreign *foreign; /* of the command line, ends in one without a name; NULL: none */
};

/* The text a person gets: where (file:line, variable or option), which name and value, why, what to try (the nearest
 * name). One line, escaped. */
struct conf_error {
	char text[512];
};

/* Puts the defaults into `into` (zeroed before). */
void conf_preset(const struct conf_table *t, void *into);
void conf_fini(const struct conf_table *t, void *into);

/* A default that depends on the machine or on other settings: takes over `value` if the TEXT or PATH was left empty, else frees it. */
void conf_fill_in(char **setting, char *value);

/* All return 0, or -EINVAL (-errno for an unreadable file) with e->text filled; what stood before the fault is kept. */
int conf_set(const struct conf_table *t, void *into, const char *name, const char *value, struct conf_error *e);
int conf_read_file(const struct conf_table *t, void *into, const char *path, struct conf_error *e);
int conf_read_text(const struct conf_table *t, void *into, const char *text, size_t n, const char *origin,
		   struct conf_error *e);
int conf_read_environ(const struct conf_table *t, void *into, char *const *environment, struct conf_error *e);

/* Reads options from argv[1] on until the first word that is none, or "--" (which is consumed); returns the index of
 * the first word not consumed, or -EINVAL. --help (-h), --version and --man are answered by the caller: they come back
 * as -ENOTSUP with e->text "help", "version", "man". */
int conf_read_args(const struct conf_table *t, void *into, int argc, char *const *argv, struct conf_error *e);

/* --help for a person (width-aware), what stands below `.SH OPTIONS` of a man page, and the present values as a file that
 * conf_read_file reads back. */
void conf_print_help(const struct conf_table *t, FILE *to);
void conf_print_man(const struct conf_table *t, FILE *to);
void conf_print(const struct conf_table *t, const void *into, FILE *to);

/* The same of those alone that are not as by default, without explanations; false from `is_meant` leaves one out. */
void conf_print_changed(const struct conf_table *t, const void *into, bool (*is_meant)(const struct conf_setting *s),
			FILE *to);

/* Units alone, for other tables. 0 or -EINVAL. */
int conf_parse_size(const char *text, uint64_t *size);
int conf_parse_time(const char *text, uint64_t *usec);

#endif
