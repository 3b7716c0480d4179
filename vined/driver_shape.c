/* SPDX-License-Identifier: Apache-2.0
 * What tasks ask for, each kind once: a row of the store, and a struct while a task is in memory that has it. */
#include "vined/driver_internal.h"

#include "common/buf.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define NAME_MOST 64

int names_hold(struct names *n, const char *name, size_t most)
{
	size_t at = most;
	assert(most <= countof(n->at));
	for (size_t i = most; i-- > 0;)
		if (!n->at[i])
			at = i;
	for (size_t i = 0; i < most; i++)
		if (n->at[i] && streq(n->at[i], name))
			at = i;
	if (at == most)
		return -E2BIG;
	if (!n->at[at])
		n->at[at] = xstrdup(name);
	n->n_holds[at]++;
	return (int)at;
}

static void names_unhold(struct names *n, const char *name)
{
	for (size_t i = 0; i < countof(n->at); i++) {
		if (!n->at[i] || !streq(n->at[i], name))
			continue;
		assert(n->n_holds[i]);
		if (!--n->n_holds[i])
			free(steal(n->at[i]));
		return;
	}
	assert(false);
}

void names_fini(struct names *n)
{
	for (size_t i = 0; i < countof(n->at); i++)
		free(n->at[i]);
	*n = (struct names){.at = {NULL}};
}

/* ---- from texts */

/* Cuts "name=amount name=amount" in place. */
static size_t parse_amounts(char *at, struct core_amount *to, size_t most)
{
	size_t n = 0;
	while (*at && n < most) {
		char *equals = strchr(at, '='), *end;
		if (!equals)
			break;
		*equals = 0;
		to[n].name = at;
		to[n++].amount = strtoull(equals + 1, &end, 10);
		at = *end ? end + 1 : end;
	}
	return n;
}

static size_t parse_words(char *at, const char **to, size_t most)
{
	size_t n = 0;
	while (*at && n < most) {
		size_t length = strcspn(at, " ");
		bool is_last = !at[length];
		at[length] = 0;
		to[n++] = at;
		at += length + !is_last;
	}
	return n;
}

static void parse_names(struct shape *s)
{
	const struct store_shape *row = &s->row;
	size_t n_named = strlen(row->named) + 1, n_counters = strlen(row->counters) + 1;
	s->names = xmalloc(n_named + n_counters + strlen(row->features) + 1);
	char *named = s->names, *counters = named + n_named, *features = counters + n_counters;
	memcpy(named, row->named, n_named);
	memcpy(counters, row->counters, n_counters);
	strcpy(features, row->features);
	s->n_named = parse_amounts(named, s->named, CORE_NAMED);
	s->n_counters = parse_amounts(counters, s->counters, CORE_COUNTERS);
	s->n_features = parse_words(features, s->features, CORE_FEATURES);
}

static char *make_key(const struct store_shape *s)
{
	return xasprintf("%u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n%s\n%s\n%s\n%s\n%s", s->cores, s->gpus,
			 s->retries, s->memory, s->disk, s->wall_usec, s->staging, s->named, s->counters, s->features,
			 s->category, s->how);
}

void shape_record(struct driver *d, struct shape *s)
{
	struct store *to = d->o.store;
	struct store_op op = {.kind = STORE_SHAPE, .is_kept = true, .shape = s->row};
	if (s->is_recorded)
		return;
	s->is_recorded = true;
	op.shape.named = store_text(to, s->row.named);
	op.shape.counters = store_text(to, s->row.counters);
	op.shape.features = store_text(to, s->row.features);
	op.shape.category = store_text(to, s->row.category);
	op.shape.how = store_text(to, s->row.how);
	store_put(to, &op);
}

/* Of one that has no number yet it is made. */
static struct shape *find_or_make(struct driver *d, const struct store_shape *row)
{
	_free_ char *key = make_key(row);
	struct shape *s = map_get_text(&d->shapes, key);
	if (s)
		return s;
	s = NEW(struct shape);
	s->key = steal(key);
	s->row = *row;
	s->row.id = row->id ? row->id : ++d->last_shape;
	s->row.named = xstrdup(row->named);
	s->row.counters = xstrdup(row->counters);
	s->row.features = xstrdup(row->features);
	s->row.category = xstrdup(row->category);
	s->row.how = xstrdup(row->how);
	parse_names(s);
	map_put_text(&d->shapes, s->key, s);
	s->is_recorded = row->id != 0;
	return s;
}

/* So many of its resources and features; what nobody was told of can be others' again. */
static void unhold_names(struct driver *d, const struct shape *s, size_t n_named, size_t n_features)
{
	for (size_t i = 0; i < n_named; i++)
		names_unhold(&d->kinds, s->named[i].name);
	for (size_t i = 0; i < n_features; i++)
		names_unhold(&d->features, s->features[i]);
}

/* All of them, or none with the reason. */
static int hold_names(struct driver *d, struct shape *s, char reason[256])
{
	size_t n_named = 0, n_features = 0;
	while (n_named < s->n_named && names_hold(&d->kinds, s->named[n_named].name, CORE_NAMED) >= 0)
		n_named++;
	if (n_named == s->n_named)
		while (n_features < s->n_features &&
		       names_hold(&d->features, s->features[n_features], CORE_FEATURES) >= 0)
			n_features++;
	s->has_names = n_named == s->n_named && n_features == s->n_features;
	if (s->has_names)
		return 0;
	if (n_named < s->n_named)
		snprintf(reason, 256, "resource '%s': %d kinds of named resources are known, and no more are possible",
			 s->named[n_named].name, CORE_NAMED);
	else
		snprintf(reason, 256, "feature '%s': %d features are known, and no more are possible",
			 s->features[n_features], CORE_FEATURES);
	unhold_names(d, s, n_named, n_features);
	return -E2BIG;
}

struct shape *shape_ref(struct shape *s)
{
	s->n_tasks++;
	return s;
}

void shape_unref(struct driver *d, struct shape *s)
{
	assert(s->n_tasks);
	if (--s->n_tasks)
		return;
	if (s->has_names && !s->is_told)
		unhold_names(d, s, s->n_named, s->n_features);
	map_remove_text(&d->shapes, s->key);
	const char *texts[] = {s->row.named, s->row.counters, s->row.features, s->row.category, s->row.how};
	for (size_t i = 0; i < countof(texts); i++)
		free((void *)(uintptr_t)texts[i]);
	free(s->key);
	free(s->names);
	free(s);
}

/* Two rows may say the same, where one was made when the other was not in memory. */
struct shape *shape_load(struct driver *d, const struct store_shape *row)
{
	char reason[256];
	struct shape *s = shape_ref(find_or_make(d, row));
	if (!s->has_names && hold_names(d, s, reason))
		log_warn("shape %" PRIu64 " of the database: %s", row->id, reason);
	return s;
}

/* ---- from a submit */

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:/+@";
	size_t n = strlen(name);
	return n && n <= NAME_MOST && strspn(name, letters) == n;
}

static int by_amount_name(const void *a, const void *b)
{
	return strcmp(((const struct wire_amount *)a)->name, ((const struct wire_amount *)b)->name);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* NULL with the reason. */
static char *amounts_text(const struct wire_amount *at, uint32_t n, const char *what, size_t most, char reason[256])
{
	struct buf text = {0};
	struct wire_amount sorted[CORE_NAMED];
	assert(most <= countof(sorted));
	if (n > most) {
		snprintf(reason, 256, "it asks for %u %ss, at most %zu are possible", n, what, most);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = at[i];
	qsort(sorted, n, sizeof *sorted, by_amount_name);
	for (uint32_t i = 0; i < n; i++) {
		const char *name = sorted[i].name;
		if (!is_name(name) || (i && streq(name, sorted[i - 1].name)) || sorted[i].amount > INT64_MAX) {
			snprintf(reason, 256, "%s '%.64s': %s", what, name,
				 !is_name(name)                 ? "a name has up to 64 letters, digits or _.-:/+@"
				 : sorted[i].amount > INT64_MAX ? "it asks for more than there can be"
								: "it is asked for twice");
			buf_fini(&text);
			return NULL;
		}
		buf_printf(&text, "%s%s=%" PRIu64, i ? " " : "", name, sorted[i].amount);
	}
	return buf_steal_text(&text);
}

static char *features_text(const struct wire_texts *f, char reason[256])
{
	struct buf text = {0};
	const char *sorted[CORE_FEATURES];
	if (f->n > CORE_FEATURES) {
		snprintf(reason, 256, "it asks for %u features, at most %d are possible", f->n, CORE_FEATURES);
		return NULL;
	}
	for (uint32_t i = 0; i < f->n; i++)
		sorted[i] = f->at[i];
	qsort(sorted, f->n, sizeof *sorted, by_text);
	for (uint32_t i = 0; i < f->n; i++) {
		if (!is_name(sorted[i])) {
			snprintf(reason, 256, "feature '%.64s': a name has up to 64 letters, digits or _.-:/+@",
				 sorted[i]);
			buf_fini(&text);
			return NULL;
		}
		if (!i || !streq(sorted[i], sorted[i - 1]))
			buf_printf(&text, "%s%s", i ? " " : "", sorted[i]);
	}
	return buf_steal_text(&text);
}

/* In order, so that those alike are one shape. They were checked: no line break is in them. */
static char *how_text(const struct wire_texts *how)
{
	struct buf text = {0};
	_free_ const char **sorted = how->n ? xmemdup(how->at, how->n * sizeof *sorted) : NULL;
	if (how->n)
		qsort(sorted, how->n, sizeof *sorted, by_text);
	for (uint32_t i = 0; i < how->n; i++)
		buf_printf(&text, "%s%s", i ? "\n" : "", sorted[i]);
	return buf_steal_text(&text);
}

/* What the core would refuse after the commit is refused before it. */
static int check_names(struct driver *d, struct shape *s, char reason[256])
{
	for (size_t i = 0; i < s->n_counters; i++) {
		uint64_t total;
		if (!counter_total(d, s->counters[i].name, &total) || total >= s->counters[i].amount)
			continue;
		snprintf(reason, 256, "counter '%s': it asks for %" PRIu64 ", and there are %" PRIu64 " in all",
			 s->counters[i].name, s->counters[i].amount, total);
		return -ERANGE;
	}
	return s->has_names ? 0 : hold_names(d, s, reason);
}

static bool is_like(const struct shape *s, const struct wire_task *t)
{
	const struct store_shape *r = &s->row;
	return !t->named.n && !t->counters.n && !t->features.n && !t->how.n && !*r->how && !s->n_named &&
	       !s->n_counters && !s->n_features && t->cores == r->cores && t->gpus == r->gpus &&
	       t->retries == r->retries && t->memory == r->memory && t->disk == r->disk &&
	       t->wall_usec == r->wall_usec && t->staging == r->staging &&
	       streq(t->category, r->category);
}

struct shape *shape_get(struct driver *d, const struct wire_task *t, struct shape *last, char reason[256])
{
	/* Tasks that come together are alike. */
	if (last && is_like(last, t))
		return shape_ref(last);
	_free_ char *named = amounts_text(t->named.at, t->named.n, "resource", CORE_NAMED, reason);
	_free_ char *counters =
		named ? amounts_text(t->counters.at, t->counters.n, "counter", CORE_COUNTERS, reason) : NULL;
	_free_ char *features = counters ? features_text(&t->features, reason) : NULL;
	if (!features)
		return NULL;
	_free_ char *how = how_text(&t->how);
	struct shape *s = shape_ref(find_or_make(d, &(struct store_shape){
							    .cores = t->cores,
							    .gpus = t->gpus,
							    .retries = t->retries,
							    .memory = t->memory,
							    .disk = t->disk,
							    .wall_usec = t->wall_usec,
							    .staging = t->staging,
							    .named = named,
							    .counters = counters,
							    .features = features,
							    .category = t->category,
							    .how = how,
						    }));
	if (!check_names(d, s, reason))
		return s;
	shape_unref(d, s);
	return NULL;
}
