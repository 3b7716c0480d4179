/* SPDX-License-Identifier: Apache-2.0
 * Posting tasks. What equal descriptions have in common is made once: a batch costs little more than its message. */
#include "libvineclient/client.h"
#include "libvineclient/sealed.h"
#include "libvineclient/task.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define POST_USEC 120000000u
#define POST_MOST 100000u
#define KEY_SIZE 48
#define KEY_DIGITS 5 /* of the task in its batch */

struct batch {
	struct wire_task *tasks;
	size_t n;
	struct wire_binding *bindings;
	size_t n_bindings;
	char (*keys)[KEY_SIZE];
	bool *is_new;           /* it has no key of the user's */
	const char **inherited; /* of our environment what goes along; NULL: not needed yet */
	size_t n_inherited;
	bool is_sorted;
	struct buf merged; /* const char **: lists that tasks have of their own */
	struct buf shared; /* struct wire_variables: lists that several tasks have */
	uint32_t minor;    /* that vined must know, since an older one would overlook something and not say so */
	struct map sealed; /* struct sealed by its struct vine_file */
	uint64_t *ids;
	bool is_short; /* answered with something else than n ids */
};

static void batch_fini(struct batch *b)
{
	const char ***merged = (const char ***)(void *)b->merged.at;
	for (size_t i = 0; i < b->merged.n / sizeof *merged; i++)
		free(merged[i]);
	buf_fini(&b->merged);
	buf_fini(&b->shared);
	size_t k = 0;
	for (struct sealed *s; (s = map_next(&b->sealed, &k));)
		sealed_unref(s);
	map_fini(&b->sealed);
	free(b->inherited);
	free(b->tasks);
	free(b->bindings);
	free(b->keys);
	free(b->is_new);
}

/* ---- environments */

/* What names this process' place or a secret's is not for tasks elsewhere. */
static bool is_inherited(const char *variable)
{
	static const char *const not [] = {"OLDPWD", "PWD", "SHLVL", "VINE_SECRET", "_"};
	if (!strchr(variable, '='))
		return false;
	for (size_t i = 0; i < countof(not ); i++) {
		if (variable_compare(not [i], variable) == 0)
			return false;
	}
	return true;
}

static void inherit(struct batch *b)
{
	size_t n = 0;
	if (b->inherited)
		return;
	while (environ && environ[n])
		n++;
	b->inherited = xcalloc(n + 1, sizeof *b->inherited);
	for (size_t i = 0; i < n; i++) {
		if (is_inherited(environ[i]))
			b->inherited[b->n_inherited++] = environ[i];
	}
}

static int compare_variables(const void *a, const void *b)
{
	return variable_compare(*(const char *const *)a, *(const char *const *)b);
}

/* Both are in the order of their names. */
static struct wire_texts merge(struct batch *b, const struct vine_task *t)
{
	if (!b->is_sorted && b->n_inherited)
		qsort(b->inherited, b->n_inherited, sizeof *b->inherited, compare_variables);
	b->is_sorted = true;
	const char **list = xcalloc(b->n_inherited + t->n_environment, sizeof *list);
	size_t n = 0;
	for (size_t i = 0, k = 0; i < b->n_inherited || k < t->n_environment;) {
		int order = i == b->n_inherited     ? 1
			    : k == t->n_environment ? -1
						    : variable_compare(b->inherited[i], t->environment[k]);
		if (order < 0)
			list[n++] = b->inherited[i++];
		else if (order == 0)
			i++;
		else
			list[n++] = t->environment[k++];
	}
	buf_put(&b->merged, &list, sizeof list);
	return (struct wire_texts){list, (uint32_t)n};
}

static struct wire_texts environment_of(struct batch *b, const struct vine_task *t)
{
	if (t->settings.env == TASK_ENV_CLEAN)
		return (struct wire_texts){(const char *const *)t->environment, (uint32_t)t->n_environment};
	inherit(b);
	if (t->n_environment)
		return merge(b, t);
	return (struct wire_texts){b->inherited, (uint32_t)b->n_inherited};
}

struct environment {
	uint32_t n_uses, number; /* among what is shared, from 1 on */
};

/* What several tasks have goes once with all of them, if vined knows how: of an environment of 1.5 KB a message holds 5,600 otherwise. */
static void share_environments(struct batch *b)
{
	struct map by_list = {0}; /* the list's address */
	_free_ struct environment *all = xcalloc(b->n, sizeof *all);
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++) {
		uint64_t key = (uint64_t)(uintptr_t)b->tasks[i].environment.at;
		struct environment *e = b->tasks[i].environment.n ? map_get(&by_list, key) : NULL;
		if (b->tasks[i].environment.n && !e)
			map_put(&by_list, key, e = &all[n++]);
		if (e)
			e->n_uses++;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct wire_task *t = &b->tasks[i];
		struct wire_variables list = {.environment = t->environment};
		struct environment *e =
			t->environment.n ? map_get(&by_list, (uint64_t)(uintptr_t)t->environment.at) : NULL;
		if (!e || e->n_uses < 2)
			continue;
		if (!e->number) {
			buf_put(&b->shared, &list, sizeof list);
			e->number = (uint32_t)(b->shared.n / sizeof list);
		}
		t->environment_of = e->number;
		t->environment = (struct wire_texts){0};
		b->minor = 3;
	}
	map_fini(&by_list);
}

/* ---- a batch */

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* With a key of its own each, the message can be sent again without harm. They rise with time, so that vined's index of keys grows at its end. */
static void make_keys(struct batch *b)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t random;
	char prefix[KEY_SIZE];
	secret_random(&random, sizeof random);
	int n = snprintf(prefix, sizeof prefix, "%016llx%016llx-", (unsigned long long)now_usec(),
			 (unsigned long long)random);
	assert(n + KEY_DIGITS < KEY_SIZE);
	for (size_t i = 0; i < b->n; i++) {
		char *at = b->keys[i];
		memcpy(at, prefix, (size_t)n);
		for (int k = 0; k < KEY_DIGITS; k++)
			at[n + k] = digits[i >> 4 * (KEY_DIGITS - 1 - k) & 15];
		at[n + KEY_DIGITS] = 0;
	}
}

static uint64_t key_of(const struct vine_file *f)
{
	return (uint64_t)(uintptr_t)f;
}

/* Only an element of an array has an index. */
static int check_pattern(const struct vine_task *t, const struct binding *b)
{
	if (b->file->is_pattern && !t->array.n)
		return error_set(EINVAL,
				 "%s: {index} is in its name, but the task is no array: set array, or name one "
				 "element's",
				 b->file->item);
	return 0;
}

static int put_bindings(struct batch *b, const struct vine_task *t, struct wire_task *to)
{
	to->bindings.at = b->bindings + b->n_bindings;
	to->bindings.n = t->n_bindings;
	for (uint32_t i = 0; i < t->n_bindings; i++) {
		const struct binding *from = &t->bindings[i];
		int r = check_pattern(t, from);
		if (r < 0)
			return r;
		const struct sealed *s = from->file->local ? map_get(&b->sealed, key_of(from->file)) : NULL;
		b->bindings[b->n_bindings++] = (struct wire_binding){
			.path = from->path ?: file_path(from->file),
			.item = s ? s->name : from->file->item,
			.mode = from->mode,
			.size = s ? sealed_size(s) : from->size,
			.signature = from->mode == BINDING_OUT ? NULL : from->file->signature,
			.flags = from->flags,
		};
	}
	return 0;
}

static uint32_t minor_of(const struct wire_task *t)
{
	for (uint32_t i = 0; i < t->bindings.n; i++) {
		const struct wire_binding *b = &t->bindings.at[i];
		if (b->flags || (b->mode == BINDING_OUT && has_prefix(b->item, "file:")))
			return 3;
	}
	if (t->how.n)
		return 3;
	bool is_modern = t->bindings.n || t->gpus || t->disk || t->named.n || t->counters.n || t->features.n ||
			 t->category || t->wall_usec || t->deadline_usec || t->staging || t->retries || t->array_n;
	return is_modern ? 2 : 0;
}

static int put_task(struct batch *b, const struct vine_task *t, struct wire_task *to)
{
	const struct task_settings *s = &t->settings;
	*to = (struct wire_task){
		.argv = {(const char *const *)t->argv, t->n_args},
		.environment = environment_of(b, t),
		.directory = s->directory,
		.tag = s->tag,
		.cores = (uint32_t)s->cores,
		.memory = s->memory,
		.priority = s->priority,
		.gpus = (uint32_t)s->gpus,
		.disk = s->disk,
		.named = {t->resources.at, t->resources.n},
		.counters = {t->counters.at, t->counters.n},
		.features = {(const char *const *)t->features.at, t->features.n},
		.category = s->category,
		.wall_usec = s->wall_time,
		.deadline_usec = t->deadline.usec + (t->deadline.is_relative ? now_usec() : 0),
		.staging = s->staging ? (uint8_t)(s->staging + 1) : 0,
		.retries = (uint32_t)s->retries,
		.array_first = t->array.first,
		.array_step = t->array.step,
		.array_n = t->array.n,
		.array_running = t->array.running,
		.how = {(const char *const *)t->how.at, t->how.n},
	};
	int r = put_bindings(b, t, to);
	b->minor = max(b->minor, minor_of(to));
	return r;
}

/* ---- what only this process sees goes first */

static int seal_bindings(struct vine *v, struct batch *b, const struct vine_task *t, struct buf *sealed)
{
	for (uint32_t i = 0; i < t->n_bindings; i++) {
		struct vine_file *f = t->bindings[i].file;
		struct sealed *s;
		if (!f->local || map_get(&b->sealed, key_of(f)))
			continue;
		int r = local_seal(f->local, &v->is_sealing_over, &s);
		if (r < 0)
			return r;
		map_put(&b->sealed, key_of(f), s);
		buf_put(sealed, &s, sizeof s);
	}
	return 0;
}

static void drop_changed(const struct batch *b, struct vine_task *const t[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < t[i]->n_bindings; k++) {
			const struct vine_file *f = t[i]->bindings[k].file;
			if (f->local)
				local_drop(f->local, map_get(&b->sealed, key_of(f)));
		}
	}
}

/* Returns when nodes have all of it: what is posted then does not need us. */
static int bring(struct vine *v, struct batch *b, struct vine_task *const t[], size_t n)
{
	_cleanup_(buf_fini) struct buf sealed = {0};
	int r = 0;
	for (size_t i = 0; i < n && !r; i++)
		r = i && t[i] == t[i - 1] ? 0 : seal_bindings(v, b, t[i], &sealed);
	if (!r && sealed.n)
		r = offer_all(v, (struct sealed *const *)(const void *)sealed.at, sealed.n / sizeof(struct sealed *));
	if (r == -ESTALE)
		drop_changed(b, t, n);
	return r;
}

static int batch_init(struct batch *b, struct vine_task *const t[], size_t n, uint64_t *ids, bool is_sharing)
{
	size_t n_bindings = 0;
	assert(n && n <= POST_MOST);
	_Static_assert(POST_MOST < 1u << 4 * KEY_DIGITS, "each has a key of its own");
	for (size_t i = 0; i < n; i++)
		n_bindings += i && t[i] == t[i - 1] ? 0 : t[i]->n_bindings;
	b->n = n;
	b->ids = ids;
	b->tasks = xcalloc(n, sizeof *b->tasks);
	b->bindings = xcalloc(n_bindings, sizeof *b->bindings);
	b->keys = xcalloc(n, sizeof *b->keys);
	b->is_new = xcalloc(n, sizeof *b->is_new);
	make_keys(b);
	for (size_t i = 0; i < n; i++) {
		const char *key = t[i]->settings.key;
		if (i && t[i] == t[i - 1]) {
			b->tasks[i] = b->tasks[i - 1];
		} else {
			int r = put_task(b, t[i], &b->tasks[i]);
			if (r < 0)
				return r;
		}
		b->is_new[i] = !key || !*key;
		b->tasks[i].key = b->is_new[i] ? b->keys[i] : key;
	}
	assert(b->n_bindings == n_bindings);
	if (is_sharing)
		share_environments(b);
	return 0;
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
	event_expect(a->v, m, b->tasks, b->is_new);
}

static int post(struct vine *v, struct batch *b)
{
	struct wire_submit message = {.tasks = {b->tasks, (uint32_t)b->n},
				      .environments = {(const struct wire_variables *)(const void *)b->shared.at,
						       (uint32_t)(b->shared.n / sizeof(struct wire_variables))}};
	struct ask ask = {.type = WIRE_SUBMIT,
			  .message = &message,
			  .needs_run = true,
			  .run = &message.run,
			  .needs_minor = b->minor,
			  .patience_usec = POST_USEC,
			  .on_answer = on_submitted,
			  .arg = b};
	v->has_run = true;
	ready_quiet(v);
	int r = ask_wait(v, &ask);
	if (!r && b->is_short)
		r = error_set(EPROTO, "cluster %s: vined answered SUBMIT with something else", v->cluster.name);
	return r;
}

int vine_post(struct vine *v, struct vine_task *const t[], size_t n, uint64_t ids[])
{
	_cleanup_(batch_fini) struct batch b = {0};
	int r = session_enter(v);
	if (r < 0)
		return r;
	if (n > POST_MOST)
		r = error_set(E2BIG, "%zu tasks in one batch; at most %u: split it", n, POST_MOST);
	else if (n)
		r = bring(v, &b, t, n);
	if (!r && n)
		r = batch_init(&b, t, n, ids, v->minor >= 3);
	if (!r && n)
		r = post(v, &b);
	session_leave(v);
	return r;
}
