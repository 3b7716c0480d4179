// SPDX-License-Identifier: Apache-2.0
// Settings files and units: whatever is read, nothing breaks, an error is one printable line, and what was taken is
// printed such that it reads back the same.
#include "common/conf.h"
#include "common/log.h"

#include <stdio.h>

#define CONF_STRUCT sample
#define CONF_FILE "tests/fuzz/conf.def"
#include "common/conf_struct.h"

#define CONF_STRUCT sample
#define CONF_FILE "tests/fuzz/conf.def"
#include "common/conf_table.h"

static const struct conf_table table = {
	.program = "sample",
	.prefix = "SAMPLE",
	.summary = "Shows every type of setting.",
	.at = sample_table,
	.n = countof(sample_table),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void check_error(const struct conf_error *e)
{
	size_t n = strnlen(e->text, sizeof e->text);
	must(n > 0 && n < sizeof e->text);
	for (size_t i = 0; i < n; i++)
		must((unsigned char)e->text[i] >= 0x20 && e->text[i] != 0x7f);
}

static char *print(const struct sample *s)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);
	must(to != NULL);
	conf_print(&table, s, to);
	fclose(to);
	return text;
}

static void try_text(const uint8_t *data, size_t n)
{
	struct sample s = {0}, again = {0};
	struct conf_error e = {""};
	conf_preset(&table, &s);
	conf_preset(&table, &again);
	if (conf_read_text(&table, &s, (const char *)data, n, "origin", &e) < 0) {
		check_error(&e);
	} else {
		_free_ char *once = print(&s);
		must(conf_read_text(&table, &again, once, strlen(once), "printed", &e) == 0);
		_free_ char *twice = print(&again);
		must(streq(once, twice));
	}
	conf_fini(&table, &s);
	conf_fini(&table, &again);
}

// Words of the input, one a line, as a command line.
static void try_args(char *text)
{
	char *argv[18] = {"sample"};
	int argc = 1;
	for (char *word = text, *next; word && argc < 17; word = next) {
		next = strchr(word, '\n');
		if (next)
			*next++ = 0;
		argv[argc++] = word;
	}
	struct sample s = {0};
	struct conf_error e = {""};
	conf_preset(&table, &s);
	int r = conf_read_args(&table, &s, argc, argv, &e);
	if (r < 0)
		check_error(&e);
	else
		must(r <= argc);
	conf_fini(&table, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint64_t value;
	_free_ char *text = xmalloc(n + 1);
	memcpy(text, data, n);
	text[n] = 0;
	conf_parse_size(text, &value);
	conf_parse_time(text, &value);
	try_text(data, n);
	try_args(text);
	return 0;
}
