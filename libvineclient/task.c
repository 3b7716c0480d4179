/* SPDX-License-Identifier: Apache-2.0
 * Descriptions of tasks. */
#include "libvineclient/task.h"

#include "common/path.h"
#include "libvineclient/client.h"

#define ARGUMENT_MAX 131071 /* of execve(2), MAX_ARG_STRLEN without the NUL */
#define ARGUMENTS_MOST (1u << 20)
#define WORD_MOST 255
#define PATH_MOST 4095
#define CATEGORY_MOST 64
#define BINDINGS_MOST 10000u

static const char *const task_env_words[] = {"inherit", "clean", NULL};
static const char *const task_staging_words[] = {"lazy", "hot", "full", NULL};

#define CONF_STRUCT task_settings
#define CONF_FILE "libvineclient/task.def"
#include "common/conf_table.h"

static const struct conf_table task_table = {
	.program = "task",
	.summary = "",
	.usage = "",
	.at = task_settings_table,
	.n = countof(task_settings_table),
};

static int check_argument(const char *what, size_t i, const char *text, size_t n)
{
	if (n > ARGUMENT_MAX)
		return error_set(E2BIG, "%s %zu is %zu bytes long; Linux takes at most %d: put it into a file", what, i,
				 n, ARGUMENT_MAX);
	assert(strlen(text) == n);
	return 0;
}

int vine_task_new(const char *const argv[], struct vine_task **out)
{
	*out = NULL;
	if (!argv || !argv[0] || !*argv[0])
		return error_set(EINVAL, "the command is empty");
	size_t n = 0, size = 0;
	for (; argv[n]; n++) {
		size_t length = strlen(argv[n]);
		int r = check_argument("argument", n, argv[n], length);
		if (r < 0)
			return r;
		size += length + 1;
	}
	if (n > ARGUMENTS_MOST)
		return error_set(E2BIG, "%zu arguments; at most %u: put them into a file", n, ARGUMENTS_MOST);
	struct vine_task *t = NEW(struct vine_task);
	t->argv = xmalloc((n + 1) * sizeof *t->argv + size);
	char *at = (char *)(t->argv + n + 1);
	for (size_t i = 0; i < n; i++) {
		t->argv[i] = at;
		at = stpcpy(at, argv[i]) + 1;
	}
	t->argv[n] = NULL;
	t->n_args = (uint32_t)n;
	*out = t;
	return 0;
}

void vine_task_free(struct vine_task *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_environment; i++)
		free(t->environment[i]);
	for (uint32_t i = 0; i < t->n_bindings; i++) {
		vine_file_free(t->bindings[i].file);
		free(t->bindings[i].path);
	}
	free(t->argv);
	free(t->environment);
	free(t->bindings);
	amounts_fini(&t->resources);
	amounts_fini(&t->counters);
	words_fini(&t->features);
	words_fini(&t->how);
	conf_fini(&task_table, &t->settings);
	free(t);
}

/* ---- settings */

int variable_compare(const char *a, const char *b)
{
	while (*a == *b && *a && *a != '=')
		a++, b++;
	unsigned char x = *a == '=' ? 0 : (unsigned char)*a, y = *b == '=' ? 0 : (unsigned char)*b;
	return (x > y) - (x < y);
}

/* Where the variable of that name is, or belongs. */
static size_t find_variable(const struct vine_task *t, const char *variable, bool *is_there)
{
	size_t low = 0, high = t->n_environment;
	*is_there = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = variable_compare(t->environment[middle], variable);
		*is_there |= order == 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int set_variable(struct vine_task *t, const char *name, const char *value)
{
	if (!*name || strchr(name, '='))
		return error_set(EINVAL, "env.%s: not the name of a variable", name);
	_free_ char *variable = xasprintf("%s=%s", name, value);
	int r = check_argument("variable", t->n_environment + 1, variable, strlen(variable));
	if (r < 0)
		return r;
	bool is_there;
	size_t i = find_variable(t, variable, &is_there);
	if (is_there) {
		free(t->environment[i]);
	} else {
		t->environment = xrealloc(t->environment, (t->n_environment + 1) * sizeof *t->environment);
		memmove(&t->environment[i + 1], &t->environment[i], (t->n_environment - i) * sizeof *t->environment);
		t->n_environment++;
	}
	t->environment[i] = steal(variable);
	return 0;
}

static int set_resource(struct vine_task *t, const char *name, const char *value)
{
	return value_amount(&t->resources, "resource", name, value);
}

static int set_counter(struct vine_task *t, const char *name, const char *value)
{
	return value_amount(&t->counters, "counter", name, value);
}

/* Those that go by a name of the user's. */
static int set_named(struct vine_task *t, const char *name, const char *value)
{
	static const struct {
		const char *prefix;
		int (*set)(struct vine_task *t, const char *name, const char *value);
	} kinds[] = {{"env.", set_variable}, {"resource.", set_resource}, {"counter.", set_counter}};
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(name, kinds[i].prefix))
			return kinds[i].set(t, name + strlen(kinds[i].prefix), value);
	}
	return error_set(EINVAL, "%s: no such setting; with a point there are env.NAME, resource.NAME and counter.NAME",
			 name);
}

static int set_directory(struct vine_task *t, const char *value)
{
	struct conf_error e;
	int r = value_check_word("directory", value, PATH_MOST);
	if (r < 0)
		return r;
	if (*value && *value != '/')
		return error_set(EINVAL, "directory '%s': must be absolute, since the task runs on another machine",
				 value);
	r = conf_set(&task_table, &t->settings, "directory", value, &e);
	return r < 0 ? error_set(-r, "%s", e.text) : 0;
}

static int set_feature(struct vine_task *t, const char *value)
{
	return value_features(&t->features, value);
}

static int set_array(struct vine_task *t, const char *value)
{
	return value_array(&t->array, value);
}

static int set_deadline(struct vine_task *t, const char *value)
{
	return value_deadline(&t->deadline, value);
}

int vine_task_set(struct vine_task *t, const char *name, const char *value)
{
	/* In the table like the others, but kept as what they mean. */
	static const struct {
		const char *name;
		int (*set)(struct vine_task *t, const char *value);
	} own[] = {{"array", set_array},
		   {"deadline", set_deadline},
		   {"directory", set_directory},
		   {"feature", set_feature}};
	static const char *const words[] = {"category", "key", "tag"};
	struct conf_error e;
	int r = 0;
	if (strchr(name, '.'))
		return set_named(t, name, value);
	if (how_is_name(name))
		return how_set(&t->how, name, value);
	for (size_t i = 0; i < countof(own); i++) {
		if (streq(name, own[i].name))
			return own[i].set(t, value);
	}
	for (size_t i = 0; i < countof(words) && !r; i++)
		r = streq(name, words[i]) ? value_check_word(name, value, i ? WORD_MOST : CATEGORY_MOST) : 0;
	if (r < 0)
		return r;
	r = conf_set(&task_table, &t->settings, name, value, &e);
	if (r < 0 && has_prefix(e.text, "unknown setting") && !strstr(e.text, "did you mean"))
		return how_set(&t->how, name, value); /* the nearest name may be there */
	return r < 0 ? error_set(-r, "%s", e.text) : 0;
}

/* ---- inputs and outputs */

static int check_path(const char *path)
{
	int r = value_check_word("path", path, PATH_MOST);
	if (r < 0)
		return r;
	/* Of components alone, as everywhere in the cluster. */
	const char *rest = *path == '/' ? path + 1 : path;
	if (path_check(rest, strlen(rest)) < 0)
		return error_set(EINVAL,
				 "path '%.200s': give an absolute one, or one below the task's directory, without '.', "
				 "'..', empty names and names of more than 255 bytes",
				 path);
	return 0;
}

/* Takes over nothing; the file is held as long as the description. */
static int add_binding(struct vine_task *t, struct vine_file *f, const char *path, uint8_t mode, uint32_t flags)
{
	int r = path ? check_path(path) : 0;
	if (r < 0)
		return r;
	if (t->n_bindings == BINDINGS_MOST)
		return error_set(E2BIG,
				 "path '%.200s': a task has at most %u inputs and outputs; make a directory of them",
				 path ?: f->item, BINDINGS_MOST);
	t->bindings = xrealloc(t->bindings, (t->n_bindings + 1) * sizeof *t->bindings);
	t->bindings[t->n_bindings++] = (struct binding){.file = file_ref(f),
							.path = path ? xstrdup(path) : NULL,
							.size = f->size,
							.mode = mode,
							.flags = flags};
	return 0;
}

int vine_task_input(struct vine_task *t, struct vine_file *f, const char *path, unsigned flags)
{
	if (!f)
		return error_set(EINVAL, "input %.200s: the file that it is must be given: vine_file_new() makes one",
				 path ?: "");
	if (flags & ~VINE_RW)
		return error_set(EINVAL, "input %s: unknown flags %#x; VINE_RW can be given", f->item, flags);
	if (!path && !file_path(f))
		return error_set(EINVAL,
				 "input %s: it lies nowhere by itself: give the path where the task shall see it",
				 f->item);
	return add_binding(t, f, path, flags & VINE_RW ? BINDING_RW : BINDING_RO, 0);
}

/* As the wire has them. */
static int output_flags(const char *path, unsigned flags, uint32_t *wire)
{
	static const struct {
		unsigned flag;
		uint32_t wire;
	} all[] = {{VINE_OPTIONAL, 1}, {VINE_ON_FAILURE, 2}, {VINE_ALWAYS, 4}, {VINE_PATTERN, 8}};
	unsigned known = VINE_NAMED;
	*wire = 0;
	for (size_t i = 0; i < countof(all); i++) {
		known |= all[i].flag;
		*wire |= flags & all[i].flag ? all[i].wire : 0;
	}
	if (flags & ~known)
		return error_set(EINVAL,
				 "output %.200s: unknown flags %#x; VINE_NAMED, VINE_OPTIONAL, VINE_ON_FAILURE, "
				 "VINE_ALWAYS and VINE_PATTERN can be given",
				 path, flags & ~known);
	if (flags & VINE_ON_FAILURE && flags & VINE_ALWAYS)
		return error_set(EINVAL,
				 "output %.200s: VINE_ON_FAILURE is of failures alone, VINE_ALWAYS of both: give one",
				 path);
	return 0;
}

/* What somebody else reads later must be a name that a task can leave something under. */
static int check_named(const char *path, const struct vine_file *f)
{
	if (!f)
		return error_set(EINVAL, "output %s: with VINE_NAMED the file that it is must be given", path);
	if (!has_prefix(f->item, "temp:") && !has_prefix(f->item, "file:"))
		return error_set(EINVAL,
				 "output %s: %s is nothing that a task can leave; name it temp:NAME, or keep:/PATH to "
				 "have it published there",
				 path, f->item);
	return 0;
}

int vine_task_output(struct vine_task *t, const char *path, unsigned flags, struct vine_file **out)
{
	uint32_t wire;
	if (!path)
		return error_set(EINVAL, "output: the path where the task leaves it is missing");
	int r = output_flags(path, flags, &wire);
	if (r < 0)
		return r;
	if (flags & VINE_NAMED) {
		r = check_named(path, out ? *out : NULL);
		return r < 0 ? r : add_binding(t, *out, path, BINDING_OUT, wire);
	}
	struct vine_file *f = file_new_temp();
	r = add_binding(t, f, path, BINDING_OUT, wire);
	if (out)
		*out = r < 0 ? NULL : file_ref(f);
	vine_file_free(f);
	return r;
}
