/* SPDX-License-Identifier: Apache-2.0
 * Items by the names that bindings give them: shared paths, a node's paths and trees are one for all runs; what a run's tasks make, temps and
 * outputs at shared paths, is the run's.
 *
 * 1. An item is in memory while a task names it that is not over, or may run again; a temp that is made, until it is forgotten.
 * 2. items_by_key has those that can still be named. What is in memory the core knows by the same number. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define PATH_MOST 4095
#define NAME_MOST (PATH_MOST + 5) /* with what says its kind */
#define TEMP_MOST 255
#define SIGNATURE_MOST 127
#define KEY_SIZE (PATH_MOST + SIGNATURE_MOST + 64)

struct source {
	uint64_t number;
	char name[];
};

static const struct kind {
	const char *prefix;
	enum item_kind kind;
} kinds[] = {{"file:", ITEM_FILE}, {"node:", ITEM_NODE}, {"tree:", ITEM_TREE}, {"temp:", ITEM_TEMP}};

/* FNV-1a; only compared with others of this process and of the same run. */
uint64_t item_key_hash(const char *key)
{
	uint64_t hash = 0xcbf29ce484222325u;
	if (!*key)
		return 0;
	for (; *key; key++)
		hash = (hash ^ (uint8_t)*key) * 0x100000001b3u;
	return hash ? hash : 1;
}

bool item_is_kept(const struct item *i)
{
	return i->producer && !i->is_forgotten && !i->is_failed && !i->source;
}

bool item_is_keep(const struct item *i)
{
	return i->run && i->kind == ITEM_FILE;
}

/* ---- names */

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < countof(kinds); i++)
		if (has_prefix(name, kinds[i].prefix))
			return &kinds[i];
	return NULL;
}

/* NULL, or what is wrong with it. */
static const char *find_fault(enum item_kind kind, const char *rest, struct digest *tree)
{
	for (const char *p = rest; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "its name contains a control character";
	if (kind == ITEM_TREE)
		return digest_parse(rest, tree) ? "a tree's id has 64 hex digits" : NULL;
	if (kind == ITEM_TEMP)
		return !*rest ? "a name follows temp:" : strlen(rest) > TEMP_MOST ? "its name is too long" : NULL;
	if (*rest != '/')
		return "its path is not absolute";
	if (strlen(rest) > PATH_MOST)
		return "its path is too long";
	size_t n = strlen(rest);
	if (strstr(rest, "/../") || (n >= 3 && streq(rest + n - 3, "/..")))
		return "its path contains '..'";
	return NULL;
}

/* Under which it is found; *name and *signature lie within it. */
static size_t make_key(char key[KEY_SIZE], const struct run *r, const char *name, const char *signature)
{
	if (r)
		return (size_t)snprintf(key, KEY_SIZE, "%" PRIu64 "\n%s", r->id, name);
	size_t n = strlen(name), n_signature = strlen(signature);
	assert(n + n_signature + 2 <= KEY_SIZE);
	memcpy(key, name, n);
	key[n] = '\n';
	memcpy(key + n + 1, signature, n_signature + 1);
	return n + 1 + n_signature;
}

/* So many nodes may read one filesystem at once; which paths are one is not known, so each first directory counts as one. */
uint64_t item_source_of(struct driver *d, const char *path)
{
	size_t n = strcspn(path + 1, "/") + 1;
	char name[PATH_MOST + 1];
	assert(*path == '/' && n < sizeof name);
	memcpy(name, path, n);
	name[n] = 0;
	struct source *s = map_get_text(&d->sources, name);
	if (s)
		return s->number;
	s = xcalloc(1, sizeof *s + n + 1);
	s->number = SOURCE_SEEN + 1 + d->sources.n;
	memcpy(s->name, name, n + 1);
	map_put_text(&d->sources, s->name, s);
	return s->number;
}

/* ---- life */

/* Slot 0 is nobody's. */
static void take_slot(struct driver *d, struct item *i)
{
	if (!d->free_slot) {
		uint32_t n = d->n_item_slots, room = max(2 * n, 64u);
		assert(room > n);
		d->item_slots = xrealloc(d->item_slots, room * sizeof(struct item *));
		for (uint32_t k = room - 1; k >= max(n, 1u); k--) {
			d->item_slots[k] = (struct item *)(uintptr_t)d->free_slot;
			d->free_slot = k;
		}
		d->n_item_slots = room;
	}
	i->slot = d->free_slot;
	d->free_slot = (uint32_t)(uintptr_t)d->item_slots[i->slot];
	d->item_slots[i->slot] = i;
}

static void give_slot(struct driver *d, const struct item *i)
{
	assert(d->item_slots[i->slot] == i);
	d->item_slots[i->slot] = (struct item *)(uintptr_t)d->free_slot;
	d->free_slot = i->slot;
}

static struct item *item_new(struct driver *d, struct run *r, const struct store_item *s, const char *key, size_t n_key)
{
	size_t n_name = strlen(s->name) + 1;
	const struct kind *k = find_kind(s->name);
	struct item *i = xcalloc(1, sizeof *i + n_key + 1 + n_name);
	assert(k && s->id && !map_get(&d->items, s->id) && (k->kind == ITEM_TEMP || k->kind == ITEM_FILE || !r));
	assert(k->kind != ITEM_TEMP || r);
	i->id = s->id;
	i->run = r;
	i->size = s->size;
	i->producer = s->producer;
	i->kind = (uint8_t)k->kind;
	list_init(&i->link);
	memcpy(i->key, key, n_key + 1);
	memcpy(i->key + n_key + 1, s->name, n_name);
	i->name = i->key + n_key + 1;
	i->signature = r ? "" : strchr(i->key, '\n') + 1;
	/* What is to be made there is not there yet. */
	if (k->kind == ITEM_FILE && !r)
		i->source = item_source_of(d, i->name + strlen(k->prefix));
	else if (k->kind == ITEM_NODE)
		i->source = SOURCE_NODE;
	map_put(&d->items, i->id, i);
	take_slot(d, i);
	int e = core_item_add(d->core, i->id, &(struct core_item_spec){.size = i->size, .source = i->source});
	assert(!e);
	(void)e;
	if (s->tree.algorithm)
		item_set_tree(d, i, tree_get(d, &s->tree, s->size));
	return i;
}

static void unname(struct driver *d, struct item *i)
{
	map_remove_text(&d->items_by_key, i->key);
	if (map_get_text(&d->keeps, i->name) == i)
		map_remove_text(&d->keeps, i->name);
}

void item_free(struct driver *d, struct item *i)
{
	struct tree *t = i->tree;
	fellows_forget(d, i->id);
	hold_item(d, i, true);
	list_remove(&i->link);
	if (!i->is_forgotten) {
		core_item_forget(d->core, i->id);
		unname(d, i);
	}
	map_remove(&d->items, i->id);
	give_slot(d, i);
	free(i->trouble);
	free(i);
	if (t) {
		t->n_items--;
		tree_put(d, t);
	}
}

struct store_item item_row(struct driver *d, const struct item *i)
{
	struct store *s = d->o.store;
	bool is_seen = i->run && i->source;
	return (struct store_item){.id = i->id,
				   .run = i->run ? i->run->id : 0,
				   .name = store_text(s, i->name),
				   .signature = store_text(s, is_seen ? ITEM_SEEN : i->signature),
				   .size = i->tree && i->tree->size ? i->tree->size : i->size,
				   .tree = i->tree ? i->tree->digest : (struct digest){0},
				   .producer = i->producer,
				   .is_forgotten = i->is_forgotten};
}

void item_record(struct driver *d, struct item *i)
{
	i->is_recorded = true;
	store_put(d->o.store, &(struct store_op){.kind = STORE_ITEM, .is_kept = true, .item = item_row(d, i)});
}

void item_ref(struct item *i)
{
	i->n_refs++;
	assert(i->n_refs);
}

/* Freed later: whoever gives one back may be walking among them. */
void item_unref(struct driver *d, struct item *i, bool was_read)
{
	assert(i->n_refs);
	i->n_refs--;
	bool is_made = i->producer && !i->is_forgotten;
	bool is_read = is_made && was_read && !i->n_readers && i->run->lifetime == LIFETIME_TASK;
	if (is_made ? !is_read : i->n_refs)
		return;
	list_remove(&i->link);
	list_append(&d->fading, &i->link);
}

void item_forget(struct driver *d, struct item *i)
{
	struct task *maker = task_find(d, i->producer);
	assert(i->run && !i->is_forgotten && !i->n_unfinished);
	i->is_forgotten = true;
	hold_item(d, i, false);
	unname(d, i);
	core_item_forget(d->core, i->id);
	item_record(d, i);
	list_remove(&i->link);
	list_append(&d->fading, &i->link);
	if (maker && maker->state >= STORE_ENDED)
		task_let_go(maker);
}

void items_fade(struct driver *d)
{
	struct item *i;
	while ((i = list_first(&d->fading, struct item, link))) {
		list_remove(&i->link);
		bool is_made = i->producer && !i->is_forgotten;
		if (is_made) {
			if (!i->n_readers && !i->n_unfinished)
				item_forget(d, i);
			else
				list_append(&i->run->temps, &i->link);
		} else if (!i->n_refs) {
			item_free(d, i);
		}
	}
}

/* ---- finding */

struct item *item_find(const struct run *r, const char *name)
{
	char key[KEY_SIZE];
	struct item *own;
	const struct kind *k = find_kind(name);
	if (!k || strlen(name) > NAME_MOST)
		return NULL;
	if (k->kind == ITEM_FILE && (own = item_find_own(r, name)))
		return own;
	make_key(key, k->kind == ITEM_TEMP ? r : NULL, name, "");
	return map_get_text(&r->driver->items_by_key, key);
}

/* Of a run that makes nothing at shared paths no key is made. */
struct item *item_find_own(const struct run *r, const char *name)
{
	char key[KEY_SIZE];
	if (!r->driver->keeps.n)
		return NULL;
	make_key(key, r, name, "");
	return map_get_text(&r->driver->items_by_key, key);
}

/* A task that reads what it makes itself reads what was there before. */
static struct item *find_made(const struct run *r, const char *name, uint64_t task)
{
	struct item *i = item_find_own(r, name);
	return i && i->producer && i->producer != task ? i : NULL;
}

struct item *item_get(struct run *r, const struct wire_binding *b, uint64_t task, char reason[256])
{
	struct driver *d = r->driver;
	char key[KEY_SIZE];
	struct digest tree = {0};
	const struct kind *k = find_kind(b->item);
	const char *fault = !k ? "an item is file:/PATH, node:/PATH, tree:ID or temp:NAME"
			       : find_fault(k->kind, b->item + strlen(k->prefix), &tree);
	if (!fault && k->kind == ITEM_FILE && strlen(b->signature) > SIGNATURE_MOST)
		fault = "its signature is too long";
	if (fault) {
		snprintf(reason, 256, "item '%.100s': %s", b->item, fault);
		return NULL;
	}
	bool is_own = k->kind == ITEM_TEMP || keep_is_output(b);
	struct item *i = k->kind == ITEM_FILE && !is_own ? find_made(r, b->item, task) : NULL;
	size_t n = make_key(key, is_own ? r : NULL, b->item, k->kind == ITEM_FILE && !is_own ? b->signature : "");
	if (!i)
		i = map_get_text(&d->items_by_key, key);
	if (!i) {
		const struct store_item s = {.id = ++d->last_item, .name = b->item, .size = b->size, .tree = tree};
		i = item_new(d, is_own ? r : NULL, &s, key, n);
		map_put_text(&d->items_by_key, i->key, i);
	}
	item_ref(i);
	return i;
}

struct item *item_get_quietly(struct run *r, const char *name, uint64_t size)
{
	struct driver *d = r->driver;
	char key[KEY_SIZE];
	struct digest tree;
	const struct kind *k = find_kind(name);
	if (!k || (k->kind != ITEM_FILE && k->kind != ITEM_NODE) ||
	    find_fault(k->kind, name + strlen(k->prefix), &tree))
		return NULL;
	size_t n = make_key(key, NULL, name, "");
	struct item *i = k->kind == ITEM_FILE ? find_made(r, name, 0) : NULL;
	if (!i)
		i = map_get_text(&d->items_by_key, key);
	if (!i) {
		i = item_new(d, NULL, &(struct store_item){.id = ++d->last_item, .name = name, .size = size}, key, n);
		map_put_text(&d->items_by_key, i->key, i);
	}
	item_ref(i);
	return i;
}

struct item *item_get_shared(struct driver *d, const char *name, const char *signature)
{
	char key[KEY_SIZE];
	struct digest tree = {0};
	const struct kind *k = find_kind(name);
	if (!k || k->kind == ITEM_TEMP || strlen(signature) > SIGNATURE_MOST ||
	    find_fault(k->kind, name + strlen(k->prefix), &tree))
		return NULL;
	size_t n = make_key(key, NULL, name, k->kind == ITEM_FILE ? signature : "");
	struct item *i = map_get_text(&d->items_by_key, key);
	if (!i) {
		const struct store_item s = {.id = ++d->last_item, .name = name, .tree = tree};
		i = item_new(d, NULL, &s, key, n);
		map_put_text(&d->items_by_key, i->key, i);
	}
	item_ref(i);
	return i;
}

struct item *item_load(struct driver *d, struct run *r, const struct store_item *s)
{
	char key[KEY_SIZE];
	const struct kind *k = find_kind(s->name);
	if (!k || map_get(&d->items, s->id) || strlen(s->name) > NAME_MOST || strlen(s->signature) > SIGNATURE_MOST)
		return NULL;
	if (k->kind == ITEM_TEMP ? !r : r && k->kind != ITEM_FILE)
		return NULL;
	struct store_item copy = *s;
	bool is_seen = r && streq(s->signature, ITEM_SEEN);
	size_t n = make_key(key, r, s->name, r ? "" : s->signature);
	struct item *i = item_new(d, r, &copy, key, n);
	i->is_recorded = true;
	if (is_seen)
		item_is_seen(d, i);
	if (s->is_forgotten || map_get_text(&d->items_by_key, i->key)) {
		i->is_forgotten = true;
		core_item_forget(d->core, i->id);
		list_append(&d->fading, &i->link);
		return i;
	}
	map_put_text(&d->items_by_key, i->key, i);
	if (item_is_keep(i)) {
		map_remove_text(&d->keeps, i->name);
		map_put_text(&d->keeps, i->name, i);
	}
	list_append(r && i->producer ? &r->temps : &d->fading, &i->link);
	return i;
}

/* ---- what is known of its bytes */

/* As the core sees it: what a node holds may have come as the output of another task. */
bool item_is_there(const struct item *i)
{
	if (i->source || !i->tree)
		return i->source;
	list_foreach (&i->tree->replicas, const struct replica, of_tree, r) {
		if (r->size >= i->tree->size)
			return true;
	}
	return false;
}

void item_set_tree(struct driver *d, struct item *i, struct tree *t)
{
	if (i->tree == t)
		return;
	assert(!i->tree);
	i->tree = t;
	t->n_items++;
	fellows_forget(d, i->id);
	hold_item(d, i, false);
	int e = core_item_is_tree(d->core, i->id, t->number, t->size);
	assert(!e);
	(void)e;
}

void item_is_seen(struct driver *d, struct item *i)
{
	i->source = i->kind == ITEM_FILE ? item_source_of(d, i->name + strlen("file:")) : SOURCE_SEEN;
	core_item_has_source(d->core, i->id, i->source);
	hold_item(d, i, false);
}
