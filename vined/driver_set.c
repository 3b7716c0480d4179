/* SPDX-License-Identifier: Apache-2.0
 * Settings of runs and of the cluster.
 *
 * A category is a run's: the core knows it as "RUN:NAME". What is set for the cluster goes for every run that has not set the same. */
#include "vined/driver_internal.h"

#include "common/conf.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define NAME_MOST 64

/* In the order of the fields of core_category_spec. */
enum field { FIELD_RUNNING, FIELD_MEMORY, FIELD_DISK, FIELD_LEARN, FIELDS };
static const char *const field_names[FIELDS] = {"running", "memory", "disk", "learn"};

struct category {
	struct list link; /* in its run's */
	uint64_t run;     /* 0: what is set for all */
	char *run_name;
	const char *name; /* within key */
	bool is_set[FIELDS];
	uint64_t value[FIELDS];
	char key[];
};

struct counter {
	uint64_t total;
	char name[];
};

/* ---- categories */

#define KEY_SIZE 256

static int print_key(char key[KEY_SIZE], uint64_t run, const char *name)
{
	return snprintf(key, KEY_SIZE, "%" PRIu64 ":%.128s", run, name);
}

/* NULL: nothing was set for all. */
static const struct category *find_for_all(const struct driver *d, const char *name)
{
	char key[KEY_SIZE];
	print_key(key, 0, name);
	return map_get_text(&d->category_settings, key);
}

static uint64_t effective(const struct driver *d, const struct category *g, enum field f)
{
	const struct category *all = g->is_set[f] ? NULL : find_for_all(d, g->name);
	return g->is_set[f] ? g->value[f] : all && all->is_set[f] ? all->value[f] : 0;
}

static void apply(struct driver *d, const struct category *g)
{
	assert(g->run);
	core_category_set(d->core, g->key,
			  &(struct core_category_spec){.running = effective(d, g, FIELD_RUNNING),
						       .memory = effective(d, g, FIELD_MEMORY),
						       .disk = effective(d, g, FIELD_DISK),
						       .learns = effective(d, g, FIELD_LEARN)});
}

static struct category *category_get(struct driver *d, struct run *r, const char *name)
{
	char key[KEY_SIZE];
	int n = print_key(key, r ? r->id : 0, name);
	struct category *g = map_get_text(&d->category_settings, key);
	if (g)
		return g;
	assert(n > 0);
	g = xcalloc(1, sizeof *g + (size_t)n + 1);
	memcpy(g->key, key, (size_t)n + 1);
	g->name = strchr(g->key, ':') + 1;
	g->run = r ? r->id : 0;
	g->run_name = xstrdup(r ? r->name : "");
	list_init(&g->link);
	map_put_text(&d->category_settings, g->key, g);
	if (r) {
		list_append(&r->categories, &g->link);
		apply(d, g);
	}
	return g;
}

void category_name(struct run *r, const char *category, char text[256])
{
	snprintf(text, 256, "%s", category_get(r->driver, r, category)->key);
}

static void set_field(struct driver *d, struct category *g, enum field f, const char *value, uint64_t number)
{
	struct category *each;
	g->is_set[f] = *value;
	g->value[f] = number;
	if (g->run) {
		apply(d, g);
		return;
	}
	for (size_t i = 0; (each = map_next(&d->category_settings, &i));)
		if (each->run && streq(each->name, g->name))
			apply(d, each);
}

bool driver_next_category(const struct driver *d, size_t *i, struct driver_category *out)
{
	const struct category *g;
	while ((g = map_next(&d->category_settings, i))) {
		uint64_t v[FIELDS];
		for (size_t f = 0; f < FIELDS; f++)
			v[f] = effective(d, g, (enum field)f);
		*out = (struct driver_category){.name = g->name,
						.run = g->run_name,
						.running = v[FIELD_RUNNING],
						.memory = v[FIELD_MEMORY],
						.disk = v[FIELD_DISK],
						.learns = v[FIELD_LEARN]};
		return true;
	}
	return false;
}

/* ---- counters */

static void set_counter(struct driver *d, const char *name, const char *value, uint64_t total)
{
	struct counter *k = map_get_text(&d->counters, name);
	if (!k && !*value)
		return;
	if (!k) {
		k = xcalloc(1, sizeof *k + strlen(name) + 1);
		strcpy(k->name, name);
		map_put_text(&d->counters, k->name, k);
	}
	k->total = *value ? total : 0;
	core_counter_set(d->core, k->name, k->total);
	if (*value)
		return;
	map_remove_text(&d->counters, k->name);
	free(k);
}

bool counter_total(const struct driver *d, const char *name, uint64_t *total)
{
	const struct counter *k = map_get_text(&d->counters, name);
	*total = k ? k->total : 0;
	return k;
}

/* ---- setting */

#define CANCELLED "cancelled" /* not a client's: ABANDON is */

enum what { WHAT_CATEGORY, WHAT_COUNTER, WHAT_LIFETIME, WHAT_CANCELLED, WHAT_SOURCE };

struct setting {
	enum what what;
	enum field field;
	char name[NAME_MOST + 1];
	uint64_t number; /* of a value that is not empty */
};

static const char *const lifetimes[] = {
	[LIFETIME_RUN] = "run", [LIFETIME_TASK] = "task", [LIFETIME_FOREVER] = "forever"};

static int find_word(const char *const *words, size_t n, const char *word, size_t n_word)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(words[i]) == n_word && !memcmp(words[i], word, n_word))
			return (int)i;
	return -1;
}

/* NULL, or what would be taken. */
static const char *parse_number(const char *value, uint64_t *to)
{
	char *end;
	if (!*value)
		return NULL;
	errno = 0;
	*to = strtoull(value, &end, 10);
	return *end || errno || *value < '0' || *value > '9' || *to > INT64_MAX ? "a number" : NULL;
}

static const char *parse_value(enum field f, const char *value, uint64_t *to)
{
	static const char *const words[] = {"no", "yes"};
	if (!*value)
		return NULL;
	if (f == FIELD_RUNNING)
		return parse_number(value, to);
	if (f != FIELD_LEARN)
		return conf_parse_size(value, to) || *to > INT64_MAX ? "a size like 4G" : NULL;
	int word = find_word(words, countof(words), value, strlen(value));
	*to = word > 0;
	return word < 0 ? "yes or no" : NULL;
}

static bool copy_name(char to[NAME_MOST + 1], const char *from, size_t n)
{
	if (!n || n > NAME_MOST)
		return false;
	memcpy(to, from, n);
	to[n] = 0;
	return true;
}

/* source./data.running: so many nodes read it at once; which paths are one filesystem is not known, so it is a first directory's. */
static const char *parse_source(const char *name, const char *value, struct setting *s)
{
	size_t n = strlen(name), n_end = strlen(".running");
	s->what = WHAT_SOURCE;
	if (n <= n_end || !streq(name + n - n_end, ".running"))
		return "of a source running can be set: source./DIRECTORY.running";
	if (*name != '/' || n == n_end + 1 || memchr(name + 1, '/', n - n_end - 1) ||
	    !copy_name(s->name, name, n - n_end))
		return "a source is a first directory, as in source./data.running";
	return parse_number(value, &s->number) || s->number >= CORE_LEARN ? "a number is expected" : NULL;
}

/* NULL, or what is wrong with it. */
static const char *parse(const char *name, const char *value, struct setting *s)
{
	*s = (struct setting){.what = WHAT_LIFETIME};
	if (streq(name, "lifetime")) {
		int word = *value ? find_word(lifetimes, countof(lifetimes), value, strlen(value)) : LIFETIME_RUN;
		s->number = (uint64_t)max(word, 0);
		return word < 0 ? "run, task or forever is expected" : NULL;
	}
	if (streq(name, CANCELLED)) {
		s->what = WHAT_CANCELLED;
		return parse_number(value, &s->number) ? "a number is expected" : NULL;
	}
	if (has_prefix(name, "counter.")) {
		s->what = WHAT_COUNTER;
		name += strlen("counter.");
		if (!copy_name(s->name, name, strlen(name)))
			return "a counter's name has 1 to 64 letters";
		return parse_number(value, &s->number) ? "a number is expected" : NULL;
	}
	if (has_prefix(name, "source."))
		return parse_source(name + strlen("source."), value, s);
	if (!has_prefix(name, "category."))
		return "known are category.NAME.running, .memory, .disk and .learn, counter.NAME, "
		       "source./DIRECTORY.running "
		       "and lifetime";
	name += strlen("category.");
	const char *dot = strrchr(name, '.');
	int field = dot ? find_word(field_names, FIELDS, dot + 1, strlen(dot + 1)) : -1;
	s->what = WHAT_CATEGORY;
	if (field < 0)
		return "of a category running, memory, disk and learn can be set";
	s->field = (enum field)field;
	if (!copy_name(s->name, name, (size_t)(dot - name)))
		return "a category's name has 1 to 64 letters";
	return parse_value(s->field, value, &s->number)
		       ? "running is a number, memory and disk are sizes like 4G, learn "
			 "is yes or no"
		       : NULL;
}

static void carry_out(struct driver *d, struct run *r, const struct setting *s, const char *value)
{
	if (s->what == WHAT_SOURCE)
		core_source_set(d->core, item_source_of(d, s->name), *value ? (unsigned)s->number : CORE_LEARN);
	else if (s->what == WHAT_COUNTER)
		set_counter(d, s->name, value, s->number);
	else if (s->what == WHAT_CATEGORY)
		set_field(d, category_get(d, r, s->name), s->field, value, s->number);
	else if (r && s->what == WHAT_CANCELLED)
		run_cancel_arrays(r, s->number);
	else if (r)
		r->lifetime = (enum run_lifetime)s->number;
}

void setting_load(struct driver *d, struct run *r, const char *name, const char *value)
{
	struct setting s;
	const char *fault = parse(name, value, &s);
	if (fault)
		log_warn("setting %.128s from the database: %s", name, fault);
	else
		carry_out(d, r, &s, value);
}

/* ---- of runs that are not in memory */

struct awaited {
	struct awaited *next;
	uint64_t run;
	const char *value; /* behind the name */
	char name[];
};

void setting_await(struct driver *d, uint64_t run, const char *name, const char *value)
{
	size_t n = strlen(name) + 1, n_value = strlen(value) + 1;
	struct awaited *a = xcalloc(1, sizeof *a + n + n_value);
	a->run = run;
	memcpy(a->name, name, n);
	memcpy(a->name + n, value, n_value);
	a->value = a->name + n;
	a->next = map_get(&d->awaited_settings, run);
	map_put(&d->awaited_settings, run, a);
}

void settings_arrive(struct run *r)
{
	struct awaited *a = map_remove(&r->driver->awaited_settings, r->id);
	for (struct awaited *next; a; a = next) {
		next = a->next;
		setting_load(r->driver, r, a->name, a->value);
		free(a);
	}
}

static void free_awaited(struct driver *d)
{
	struct awaited *a;
	for (size_t i = 0; (a = map_next(&d->awaited_settings, &i));)
		for (struct awaited *next; a; a = next) {
			next = a->next;
			free(a);
		}
	map_fini(&d->awaited_settings);
}

static void on_setting_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct driver *d = arg[0];
	struct run *r = arg[1];
	if (!error)
		setting_load(d, r, op->setting.name, op->setting.value);
	promise_stored(arg[2], error);
	if (r)
		run_unhold(r);
}

static void put_setting(struct driver *d, struct run *r, const char *name, const char *value, struct promise *p,
			bool is_kept)
{
	struct store *s = d->o.store;
	void **arg = store_alloc(s, 3 * sizeof *arg);
	arg[0] = d;
	arg[1] = r ? run_hold(r) : NULL;
	arg[2] = p;
	store_put(s, &(struct store_op){.kind = STORE_SETTING,
					.is_kept = is_kept,
					.on_stored = on_setting_stored,
					.arg = arg,
					.setting = {.run = r ? r->id : 0,
						    .name = store_text(s, name),
						    .value = store_text(s, value)}});
}

void driver_set(struct driver *d, struct run *r, const struct wire_set *m, struct promise *p)
{
	struct setting setting;
	const char *fault = parse(m->name, m->value, &setting);
	if (!fault && setting.what == WHAT_COUNTER && r)
		fault = "counters are the cluster's: set it without a run";
	if (!fault && setting.what == WHAT_SOURCE && r)
		fault = "sources are the cluster's: set it without a run";
	if (!fault && setting.what == WHAT_LIFETIME && !r)
		fault = "it is a run's";
	if (!fault && setting.what == WHAT_CANCELLED)
		fault = "cancelling it does that";
	if (fault) {
		promise_status(p, EINVAL, "setting %.128s = '%.64s': %s", m->name, m->value, fault);
		return;
	}
	if (r)
		run_store_again(r);
	put_setting(d, r, m->name, m->value, p, false);
}

void setting_cancelled(struct run *r, bool is_kept)
{
	char to[24];
	snprintf(to, sizeof to, "%llu", (unsigned long long)r->driver->last_task);
	put_setting(r->driver, r, CANCELLED, to, NULL, is_kept);
}

static void category_free(struct category *g)
{
	free(g->run_name);
	free(g);
}

void settings_leave(struct run *r)
{
	struct driver *d = r->driver;
	list_foreach (&r->categories, struct category, link, g) {
		/* Only where all of vined goes are there still tasks of it. */
		core_category_forget(d->core, g->key);
		list_remove(&g->link);
		map_remove_text(&d->category_settings, g->key);
		category_free(g);
	}
}

void settings_forget(struct driver *d)
{
	struct category *g;
	struct counter *k;
	for (size_t i = 0; (g = map_next(&d->category_settings, &i));)
		category_free(g);
	for (size_t i = 0; (k = map_next(&d->counters, &i));)
		free(k);
	free_awaited(d);
	map_fini(&d->category_settings);
	map_fini(&d->counters);
}
