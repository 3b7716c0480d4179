/* SPDX-License-Identifier: Apache-2.0
 * Descriptions of tasks, and posting them. */
#include "libvineclient/client.h"

#include <stdio.h>
#include <unistd.h>

#define POST_USEC 120000000u
#define POST_MOST 100000u
#define ARGUMENT_MAX 131071 /* of execve(2), MAX_ARG_STRLEN without the NUL */
#define WORD_MAX_SIZE 255
#define KEY_SIZE 48

enum { TASK_ENV_INHERIT, TASK_ENV_CLEAN };
static const char *const task_env_words[] = {"inherit", "clean", NULL};

#define CONF_STRUCT task_settings
#define CONF_FILE "libvineclient/task.def"
#include "common/conf_struct.h"
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

struct vine_task {
	char **argv;
	size_t n_args;
	char **environment; /* NAME=value, over what is inherited */
	size_t n_environment;
	struct task_settings settings;
};

static int check_argument(const char *what, size_t i, const char *text)
{
	size_t n = strlen(text);
	if (n > ARGUMENT_MAX)
		return error_set(E2BIG, "%s %zu is %zu bytes long; Linux takes at most %d: put it into a file", what, i,
				 n, ARGUMENT_MAX);
	return 0;
}

int vine_task_new(const char *const argv[], struct vine_task **out)
{
	*out = NULL;
	if (!argv || !argv[0] || !*argv[0])
		return error_set(EINVAL, "the command is empty");
	size_t n = 0;
	for (; argv[n]; n++) {
		int r = check_argument("argument", n, argv[n]);
		if (r < 0)
			return r;
	}
	struct vine_task *t = NEW(struct vine_task);
	t->argv = xcalloc(n + 1, sizeof *t->argv);
	for (; t->n_args < n; t->n_args++)
		t->argv[t->n_args] = xstrdup(argv[t->n_args]);
	conf_preset(&task_table, &t->settings);
	*out = t;
	return 0;
}

void vine_task_free(struct vine_task *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_args; i++)
		free(t->argv[i]);
	for (size_t i = 0; i < t->n_environment; i++)
		free(t->environment[i]);
	free(t->argv);
	free(t->environment);
	conf_fini(&task_table, &t->settings);
	free(t);
}

/* The length of NAME and '=' in "NAME=value". */
static size_t name_length(const char *variable)
{
	return (size_t)(strchrnul(variable, '=') - variable);
}

/* The index of the variable of that name in the list, or n. */
static size_t find_variable(char *const *list, size_t n, const char *variable)
{
	size_t length = name_length(variable), i = 0;
	while (i < n && (name_length(list[i]) != length || memcmp(list[i], variable, length) != 0))
		i++;
	return i;
}

static int set_variable(struct vine_task *t, const char *name, const char *value)
{
	if (!*name || strchr(name, '='))
		return error_set(EINVAL, "env.%s: not the name of a variable", name);
	_free_ char *variable = xasprintf("%s=%s", name, value);
	int r = check_argument("variable", t->n_environment + 1, variable);
	if (r < 0)
		return r;
	size_t i = find_variable(t->environment, t->n_environment, variable);
	if (i < t->n_environment) {
		free(t->environment[i]);
	} else {
		t->environment = xrealloc(t->environment, (i + 1) * sizeof *t->environment);
		t->n_environment++;
	}
	t->environment[i] = steal(variable);
	return 0;
}

/* Words go into lists, logs and other programs' lines. */
static int check_word(const char *name, const char *value, size_t most)
{
	size_t n = strlen(value);
	if (n > most)
		return error_set(EINVAL, "%s: %zu characters; at most %zu", name, n, most);
	for (const char *p = value; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 127)
			return error_set(EINVAL, "%s '%s': control characters cannot be used", name, value);
	}
	return 0;
}

int vine_task_set(struct vine_task *t, const char *name, const char *value)
{
	struct conf_error e;
	int r = 0;
	if (has_prefix(name, "env."))
		return set_variable(t, name + 4, value);
	if (streq(name, "tag") || streq(name, "key"))
		r = check_word(name, value, WORD_MAX_SIZE);
	else if (streq(name, "directory"))
		r = check_word(name, value, 4095);
	if (r < 0)
		return r;
	if (streq(name, "directory") && *value && *value != '/')
		return error_set(EINVAL, "directory '%s': must be absolute, since the task runs on another machine",
				 value);
	r = conf_set(&task_table, &t->settings, name, value, &e);
	return r < 0 ? error_set(-r, "%s", e.text) : 0;
}

/* ---- posting */

/* What names this process' place or a secret's is not for tasks elsewhere. */
static bool is_inherited(const char *variable)
{
	static const char *const not [] = {"_", "OLDPWD", "PWD", "SHLVL", "VINE_SECRET"};
	size_t length = name_length(variable);
	for (size_t i = 0; i < countof(not ); i++) {
		if (strlen(not [i]) == length && memcmp(not [i], variable, length) == 0)
			return false;
	}
	return variable[length] == '=';
}

/* All that one message points to besides the tasks' own memory. */
struct batch {
	struct wire_task *tasks;
	const char ***environments;
	char (*keys)[KEY_SIZE];
	bool *is_new; /* the key is ours */
	size_t n;
	uint64_t *ids; /* the caller's; may be NULL */
	bool is_short;
};

static void batch_fini(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->environments[i]);
	free(b->environments);
	free(b->keys);
	free(b->is_new);
	free(b->tasks);
}

static size_t merge_environment(const struct vine_task *t, const char ***out)
{
	size_t n = 0, n_inherited = 0;
	while (t->settings.env == TASK_ENV_INHERIT && environ && environ[n_inherited])
		n_inherited++;
	const char **list = xcalloc(n_inherited + t->n_environment, sizeof *list);
	for (size_t i = 0; i < n_inherited; i++) {
		if (is_inherited(environ[i]) &&
		    find_variable(t->environment, t->n_environment, environ[i]) == t->n_environment)
			list[n++] = environ[i];
	}
	for (size_t i = 0; i < t->n_environment; i++)
		list[n++] = t->environment[i];
	*out = list;
	return n;
}

static void batch_init(struct batch *b, struct vine_task *const t[], size_t n, uint64_t *ids)
{
	uint64_t random[2];
	assert(n && n <= POST_MOST);
	secret_random(random, sizeof random);
	*b = (struct batch){.n = n, .ids = ids};
	b->tasks = xcalloc(n, sizeof *b->tasks);
	b->environments = xcalloc(n, sizeof *b->environments);
	b->keys = xcalloc(n, sizeof *b->keys);
	b->is_new = xcalloc(n, sizeof *b->is_new);
	for (size_t i = 0; i < n; i++) {
		const struct task_settings *s = &t[i]->settings;
		/* With a key of its own each, the message can be sent again without harm. */
		snprintf(b->keys[i], KEY_SIZE, "%016llx%016llx-%zx", (unsigned long long)random[0],
			 (unsigned long long)random[1], i);
		b->is_new[i] = !*s->key;
		size_t n_environment = merge_environment(t[i], &b->environments[i]);
		b->tasks[i] = (struct wire_task){
			.key = *s->key ? s->key : b->keys[i],
			.argv = {(const char *const *)t[i]->argv, (uint32_t)t[i]->n_args},
			.environment = {b->environments[i], (uint32_t)n_environment},
			.directory = s->directory,
			.tag = s->tag,
			.cores = (uint32_t)s->cores,
			.memory = s->memory,
			.priority = s->priority,
		};
	}
}

static void on_submitted(struct ask *a, uint16_t type, const void *message)
{
	struct batch *b = a->arg;
	const struct wire_submitted *m = message;
	b->is_short = type != WIRE_SUBMITTED || m->ids.n != b->n;
	if (b->is_short)
		return;
	if (b->ids)
		memcpy(b->ids, m->ids.at, b->n * sizeof *b->ids);
	event_expect(a->v, &m->ids, b->is_new);
}

int vine_post(struct vine *v, struct vine_task *const t[], size_t n, uint64_t ids[])
{
	_cleanup_(batch_fini) struct batch b = {0};
	int r = session_enter(v);
	if (r < 0 || !n) {
		if (r >= 0)
			session_leave(v);
		return r;
	}
	if (n > POST_MOST) {
		session_leave(v);
		return error_set(E2BIG, "%zu tasks in one batch; at most %u: split it", n, POST_MOST);
	}
	batch_init(&b, t, n, ids);
	v->has_run = true;
	struct wire_submit message = {.tasks = {b.tasks, (uint32_t)n}};
	struct ask ask = {.type = WIRE_SUBMIT,
			  .message = &message,
			  .needs_run = true,
			  .run = &message.run,
			  .patience_usec = POST_USEC,
			  .on_answer = on_submitted,
			  .arg = &b};
	r = ask_wait(v, &ask);
	if (!r && b.is_short)
		r = error_set(EPROTO, "cluster %s: vined answered SUBMIT with something else", v->cluster.name);
	session_leave(v);
	return r;
}
