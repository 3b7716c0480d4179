/* SPDX-License-Identifier: Apache-2.0
 * What is wrong with a request is said here, once and with its place, before anything is stored. */
#include "vined/client.h"

#include <stdarg.h>
#include <stdio.h>

#define WORD_MOST 1024 /* keys and tags */
#define DIRECTORY_MOST 4095
#define CATEGORY_MOST 64
#define BINDINGS_MOST 10000u
#define ARRAY_MOST 100000000u
#define FLAGS_ALL 15u
#define GPUS_MOST 64u
#define RETRIES_MOST 10000u
#define HOW_MOST 64u
#define HOW_SIZE_MOST 16384u
#define STRING_MOST ((128u << 10) - 1) /* the kernel's limit of one argument or variable */
#define STRINGS_MOST (2u << 20)        /* and about its limit of all */

static_assert(BINDINGS_MOST < STORE_BINDINGS_MAX, "the store numbers a task's bindings");

static int say(char reason[256], int error, const char *fmt, ...) _printf_(3, 4);
static int say(char reason[256], int error, const char *fmt, ...)
{
	va_list args;
	assert(error > 0);
	va_start(args, fmt);
	vsnprintf(reason, 256, fmt, args);
	va_end(args);
	return error;
}

static bool has_control(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

int client_check_run(const char *name, char reason[256])
{
	size_t n = strlen(name);
	if (n > WIRE_RUN_NAME_MAX)
		return say(reason, ENAMETOOLONG, "the run's name has %zu bytes, at most %u are allowed", n,
			   WIRE_RUN_NAME_MAX);
	if (has_control(name))
		return say(reason, EINVAL, "the run's name contains a control character");
	/* Selectors of tasks must not be mistaken for it. */
	if (strpbrk(name, "/@:") || name[0] == '-')
		return say(reason, EINVAL, "run name %s: it may not contain '/', '@' or ':' nor begin with '-'", name);
	if (strspn(name, "0123456789-,") == n)
		return say(reason, EINVAL, "run name %s: a number means a task, so a run needs a letter", name);
	return 0;
}

static int check_word(const char *what, const char *word, char reason[256])
{
	if (strlen(word) > WORD_MOST)
		return say(reason, ENAMETOOLONG, "its %s is longer than %d bytes", what, WORD_MOST);
	if (has_control(word))
		return say(reason, EINVAL, "its %s contains a control character", what);
	return 0;
}

static int check_environment(const struct wire_texts *e, size_t *total, char reason[256])
{
	for (uint32_t i = 0; i < e->n; i++) {
		const char *variable = e->at[i], *equals = strchr(variable, '=');
		size_t n = strlen(variable);
		if (!equals || equals == variable)
			return say(reason, EINVAL, "its environment entry %u is not NAME=value", i);
		if (n > STRING_MOST)
			return say(reason, E2BIG, "its variable %.*s has %zu bytes, the kernel takes %u",
				   (int)min(equals - variable, (ptrdiff_t)64), variable, n, STRING_MOST);
		*total += n + 1;
	}
	return 0;
}

/* shared: the sizes of the environments that tasks share. */
static int check_strings(const struct wire_task *t, const size_t *shared, char reason[256])
{
	size_t total = t->environment_of ? shared[t->environment_of - 1] : 0;
	for (uint32_t i = 0; i < t->argv.n; i++) {
		size_t n = strlen(t->argv.at[i]);
		if (n > STRING_MOST)
			return say(reason, E2BIG, "its argument %u has %zu bytes, the kernel takes %u", i, n,
				   STRING_MOST);
		total += n + 1;
	}
	int r = check_environment(&t->environment, &total, reason);
	if (r)
		return r;
	if (total > STRINGS_MOST)
		return say(reason, E2BIG,
			   "its arguments and environment have %zu bytes together, at most %u are allowed", total,
			   STRINGS_MOST);
	return 0;
}

/* NULL, or what is wrong with it. A relative path lies below the working directory. */
static const char *path_fault(const char *path)
{
	size_t n = strlen(path);
	if (!n)
		return "it is empty";
	if (n > DIRECTORY_MOST)
		return "it is too long";
	if (has_control(path))
		return "it contains a control character";
	if (streq(path, "..") || has_prefix(path, "../") || strstr(path, "/../") ||
	    (n >= 3 && streq(path + n - 3, "/..")))
		return "it contains '..'";
	return NULL;
}

static int by_path(const void *a, const void *b)
{
	const struct wire_binding *x = *(const struct wire_binding *const *)a;
	const struct wire_binding *y = *(const struct wire_binding *const *)b;
	int order = strcmp(x->path, y->path);
	return order ? order : (int)x->mode - (int)y->mode;
}

static int check_twice(const struct wire_task *t, char reason[256])
{
	_free_ const struct wire_binding **at = xcalloc(t->bindings.n, sizeof *at);
	for (uint32_t i = 0; i < t->bindings.n; i++)
		at[i] = &t->bindings.at[i];
	qsort(at, t->bindings.n, sizeof *at, by_path);
	for (uint32_t i = 1; i < t->bindings.n; i++) {
		/* At most one of each mode: an input, then an output. */
		const struct wire_binding *a = at[i - 1], *b = at[i];
		if (!streq(a->path, b->path) || (a->mode == 2 && b->mode == 3))
			continue;
		if (a->mode == 1 && b->mode == 3)
			return say(reason, EEXIST,
				   "path %.100s: the input there is only read, and an output is to be there; an input "
				   "that is updated is one with :rw",
				   a->path);
		return say(reason, EEXIST, "path %.150s: two inputs or outputs are to be there", a->path);
	}
	return 0;
}

static int check_bindings(const struct wire_task *t, char reason[256])
{
	if (t->bindings.n > BINDINGS_MOST)
		return say(reason, E2BIG, "it has %u inputs and outputs, at most %u are possible", t->bindings.n,
			   BINDINGS_MOST);
	for (uint32_t i = 0; i < t->bindings.n; i++) {
		const struct wire_binding *b = &t->bindings.at[i];
		const char *fault = path_fault(b->path);
		if (fault)
			return say(reason, EINVAL, "path '%.120s' of item '%.60s': %s", b->path, b->item, fault);
		if (b->mode < 1 || b->mode > 3)
			return say(reason, EINVAL, "path %.150s: it is neither an input nor an output", b->path);
		if (b->flags & ~FLAGS_ALL || (b->flags && b->mode != 3))
			return say(reason, EINVAL, "path %.150s: flags %u are not known, or it is no output", b->path,
				   b->flags);
		if (b->size > INT64_MAX)
			return say(reason, ERANGE, "item %.150s: it is larger than anything can be", b->item);
	}
	return t->bindings.n > 1 ? check_twice(t, reason) : 0;
}

static int check_array(const struct wire_task *t, char reason[256])
{
	uint64_t last, step = t->array_step ? t->array_step : 1;
	if (t->array_n > ARRAY_MOST)
		return say(reason, E2BIG, "an array has at most %u elements, it wants more", ARRAY_MOST);
	if (mul_overflows(t->array_n - 1, step, &last) || add_overflows(last, t->array_first, &last))
		return say(reason, ERANGE, "the indices of its array are too large");
	for (uint32_t i = 0; i < t->bindings.n; i++) {
		const struct wire_binding *b = &t->bindings.at[i];
		bool is_path = has_prefix(b->item, "file:") || has_prefix(b->item, "node:");
		if (b->mode == 3)
			return say(reason, EOPNOTSUPP,
				   "item '%.100s': an array has no outputs yet: submit its tasks one by one", b->item);
		if (strstr(b->item, "{index}") && !is_path)
			return say(reason, EOPNOTSUPP,
				   "item '%.100s': of an array only file: and node: may have {index} yet: submit its "
				   "tasks one by one",
				   b->item);
	}
	return 0;
}

static int check_amounts(const struct wire_task *t, char reason[256])
{
	if (t->cores > WIRE_CORES_MAX)
		return say(reason, ERANGE, "it wants %u cores, at most %u are allowed", t->cores, WIRE_CORES_MAX);
	if (t->memory > INT64_MAX)
		return say(reason, ERANGE, "it wants more memory than there can be");
	if (t->disk > INT64_MAX)
		return say(reason, ERANGE, "it wants more disk than there can be");
	if (t->gpus > GPUS_MOST)
		return say(reason, ERANGE, "it wants %u gpus, at most %u are possible", t->gpus, GPUS_MOST);
	if (t->wall_usec > INT64_MAX)
		return say(reason, ERANGE, "its wall time is longer than anything can last");
	if (t->staging > 3)
		return say(reason, EINVAL, "staging %u: 1 is lazy, 2 hot, 3 full", t->staging);
	if (t->retries > RETRIES_MOST)
		return say(reason, ERANGE, "it wants %u retries, at most %u are possible", t->retries, RETRIES_MOST);
	return t->array_n ? check_array(t, reason) : 0;
}

/* Which names there are and what they may be is the node's business. */
static int check_how(const struct wire_task *t, char reason[256])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz-_";
	size_t total = 0;
	if (t->how.n > HOW_MOST)
		return say(reason, E2BIG, "it says in %u ways how it is to run, at most %u are possible", t->how.n,
			   HOW_MOST);
	for (uint32_t i = 0; i < t->how.n; i++) {
		const char *option = t->how.at[i];
		size_t n = strspn(option, letters);
		if (!n || option[n] != '=' || has_control(option))
			return say(reason, EINVAL, "how '%.100s': it is not NAME=value, or has a control character",
				   option);
		total += strlen(option) + 1;
	}
	if (total > HOW_SIZE_MOST)
		return say(reason, E2BIG, "how it is to run takes %zu bytes, at most %u are possible", total,
			   HOW_SIZE_MOST);
	return 0;
}

static int check_task(const struct wire_submit *m, const struct wire_task *t, const size_t *shared, char reason[256])
{
	if (t->environment_of > m->environments.n || (t->environment_of && t->environment.n))
		return say(reason, EINVAL, "its environment is number %u of %u that are there, and %u entries of its own",
			   t->environment_of, m->environments.n, t->environment.n);
	int r = check_word("key", t->key, reason);
	if (!r)
		r = check_word("tag", t->tag, reason);
	if (r)
		return r;
	if (t->argv.n == 0 || !t->argv.at[0][0])
		return say(reason, EINVAL, "its command is empty");
	if (t->directory[0] && (t->directory[0] != '/' || strlen(t->directory) > DIRECTORY_MOST))
		return say(reason, EINVAL, "its working directory is no absolute path of at most %d bytes",
			   DIRECTORY_MOST);
	if (has_control(t->directory))
		return say(reason, EINVAL, "its working directory contains a control character");
	r = check_word("category", t->category, reason);
	if (!r && strlen(t->category) > CATEGORY_MOST)
		r = say(reason, ENAMETOOLONG, "its category is longer than %d bytes", CATEGORY_MOST);
	if (!r)
		r = check_how(t, reason);
	if (!r)
		r = check_amounts(t, reason);
	if (!r)
		r = check_bindings(t, reason);
	return r ? r : check_strings(t, shared, reason);
}

int client_check_submit(const struct wire_submit *m, char reason[256])
{
	char text[256];
	if (m->tasks.n == 0)
		return say(reason, EINVAL, "there is no task in it");
	_free_ size_t *shared = xcalloc(m->environments.n, sizeof *shared);
	for (uint32_t i = 0; i < m->environments.n; i++) {
		int r = check_environment(&m->environments.at[i].environment, &shared[i], text);
		if (r)
			return say(reason, r, "environment %u of %u: %.200s", i + 1, m->environments.n, text);
	}
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		int r = check_task(m, &m->tasks.at[i], shared, text);
		if (r)
			return say(reason, r, "task %u of %u: %.200s", i + 1, m->tasks.n, text);
	}
	return 0;
}
