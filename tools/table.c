/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

const char *colour(enum colour c)
{
	static const char *const codes[] = {"\033[0m", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
	const char *no = getenv("NO_COLOR");
	return isatty(STDOUT_FILENO) && !(no && *no) ? codes[c] : "";
}

int table_add(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct table *t = arg;
	if (!t->names) {
		t->n_columns = n;
		t->names = xcalloc(n, sizeof *t->names);
		for (size_t i = 0; i < n; i++)
			t->names[i] = xstrdup(names[i]);
	}
	assert(n == t->n_columns);
	for (size_t i = 0; i < n; i++) {
		char *cell = xstrdup(cells[i]);
		buf_put(&t->cells, &cell, sizeof cell);
	}
	t->n_rows++;
	return 0;
}

const char *table_cell(const struct table *t, size_t row, size_t column)
{
	assert(row < t->n_rows && column < t->n_columns);
	return ((char **)(void *)t->cells.at)[row * t->n_columns + column];
}

const char *table_find(const struct table *t, size_t row, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		if (streq(t->names[i], column))
			return table_cell(t, row, i);
	}
	return NULL;
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
		free(((char **)(void *)t->cells.at)[i]);
	for (size_t i = 0; i < t->n_columns; i++)
		free(t->names[i]);
	free(t->names);
	buf_fini(&t->cells);
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789.")] == 0;
}

/* Cells come from others: nothing in them may reach the terminal as more than text. */
static void print_cell(const char *text, int width, bool to_the_right, bool is_last, FILE *to)
{
	char safe[256];
	log_escape(text, strlen(text), safe, sizeof safe);
	/* Nothing follows the last one, blanks neither. */
	fprintf(to, "%*s", to_the_right ? width : is_last ? 0 : -width, safe);
	fputs(is_last ? "\n" : "  ", to);
}

static int cell_width(const char *text)
{
	char safe[256];
	return (int)strlen(log_escape(text, strlen(text), safe, sizeof safe));
}

void table_print(const struct table *t, FILE *to)
{
	size_t n = t->n_columns;
	assert(t->cells.n == t->n_rows * n * sizeof(char *));
	_free_ int *widths = xcalloc(n, sizeof *widths);
	_free_ bool *right = xcalloc(n, sizeof *right);
	for (size_t c = 0; c < n; c++) {
		widths[c] = cell_width(t->names[c]);
		right[c] = t->n_rows;
		for (size_t r = 0; r < t->n_rows; r++) {
			widths[c] = max(widths[c], cell_width(table_cell(t, r, c)));
			right[c] = right[c] && is_number(table_cell(t, r, c));
		}
	}
	fputs(colour(COLOUR_BOLD), to);
	for (size_t c = 0; c < n; c++)
		print_cell(t->names[c], widths[c], right[c], c + 1 == n, to);
	fputs(colour(COLOUR_NONE), to);
	for (size_t r = 0; r < t->n_rows; r++) {
		for (size_t c = 0; c < n; c++)
			print_cell(table_cell(t, r, c), widths[c], right[c], c + 1 == n, to);
	}
}

void print_size(char to[32], uint64_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)size;
	size_t i = 0;
	for (; value >= 1023.5 && i + 1 < countof(units); i++)
		value /= 1024;
	snprintf(to, 32, i && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[i]);
}

void print_usec(char to[32], uint64_t usec)
{
	if (usec && usec < 1000000)
		snprintf(to, 32, "%" PRIu64 " ms", usec / 1000);
	else if (usec < 100 * 1000000ull)
		snprintf(to, 32, "%.3g s", (double)usec / 1e6);
	else if (usec < 7200 * 1000000ull)
		snprintf(to, 32, "%" PRIu64 " min", usec / 60000000);
	else
		snprintf(to, 32, "%" PRIu64 " h", usec / 3600000000);
}

void print_age(char to[32], uint64_t usec)
{
	struct timespec t;
	char text[24 + 1];
	clock_gettime(CLOCK_REALTIME, &t);
	uint64_t now = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000, age = now > usec ? now - usec : 0;
	if (age < 100 * 1000000ull)
		snprintf(text, sizeof text, "%" PRIu64 " s", age / 1000000);
	else if (age < 100 * 60 * 1000000ull)
		snprintf(text, sizeof text, "%" PRIu64 " min", age / 60000000);
	else if (age < 48 * 3600 * 1000000ull)
		snprintf(text, sizeof text, "%" PRIu64 " h", age / 3600000000);
	else
		snprintf(text, sizeof text, "%" PRIu64 " days", age / 86400000000);
	snprintf(to, 32, usec ? "%s ago" : "never", text);
}
