/* SPDX-License-Identifier: Apache-2.0
 * START: what a task runs lives in the store alone, and is read when its turn has come; a million waiting ones cost numbers only. */
#include "vined/driver_internal.h"

enum { INPUT_IS_READ = 16 }; /* as wire.def has input.flags */

/* Points `to` at the texts of a body, each ended by NUL. */
static struct wire_texts split(const struct wire_bytes *body, const char ***to)
{
	uint32_t n = 0, i = 0;
	const char *at = body->at, *end = at + body->n;
	for (const char *p = at; p < end; p += strlen(p) + 1)
		n++;
	*to = xcalloc(n, sizeof **to);
	for (const char *p = at; p < end; p += strlen(p) + 1)
		(*to)[i++] = p;
	assert(i == n && (!n || end[-1] == 0));
	return (struct wire_texts){*to, n};
}

static const char *source_of(const struct item *i)
{
	return i->kind == ITEM_FILE || i->kind == ITEM_NODE ? i->name : "";
}

struct wire_input start_input(const struct item *i, const char *path, uint8_t mode, uint8_t flags)
{
	return (struct wire_input){
		.item = i->id,
		.path = path,
		.mode = mode,
		.source = source_of(i),
		.tree = i->tree ? i->tree->digest : (struct digest){0},
		.size = i->tree && i->tree->size ? i->tree->size : i->size,
		.flags = flags,
		.signature = i->signature,
		.name = i->name,
	};
}

/* *inputs is the caller's to free; paths are the store's, until it is next asked, or in `texts`. */
static int read_inputs(const struct task *t, struct wire_input **inputs, uint32_t *n, struct buf *texts)
{
	struct driver *d = t->run->driver;
	const struct store_binding *at;
	size_t n_bindings = 0;
	*n = 0;
	if (!t->n_items)
		return 0;
	if (t->is_element) {
		*n = t->n_inputs;
		*inputs = xcalloc(*n, sizeof **inputs);
		array_inputs(t, *inputs, texts);
		return 0;
	}
	int r = store_read_bindings(d->o.store, t->id, &at, &n_bindings);
	if (r)
		return r;
	*inputs = xcalloc(n_bindings, sizeof **inputs);
	for (size_t k = 0; k < n_bindings; k++) {
		const struct item *i = map_get(&d->items, at[k].item);
		if (!i)
			return -EUCLEAN;
		(*inputs)[(*n)++] = start_input(i, at[k].path, at[k].mode, at[k].flags);
	}
	return 0;
}

/* One node reads a source for all: who is told first, at once; later ones are told by FETCH what it is. */
static bool is_read_elsewhere(const struct node *n, struct item *i)
{
	if (i->kind != ITEM_FILE || !i->source || i->tree || !n->has_data)
		return false;
	const struct node *reader = map_get(&n->driver->nodes, i->reader);
	if (reader && reader != n && reader->conn && reader->in_core != NODE_ABSENT) {
		i->is_left = true;
		fellows_join(i, reader, n);
		return true;
	}
	i->reader = n->id;
	return false;
}

static void mark_read(const struct node *n, struct wire_input *inputs, uint32_t n_inputs)
{
	for (uint32_t k = 0; k < n_inputs; k++) {
		struct item *i = map_get(&n->driver->items, inputs[k].item);
		if (i && (inputs[k].mode == 1 || inputs[k].mode == 2) && is_read_elsewhere(n, i))
			inputs[k].flags |= INPUT_IS_READ;
	}
}

static void put_place(const struct task *t, struct wire_start *m)
{
	struct core_place place;
	if (core_attempt_place(t->run->driver->core, t->id, &place)) {
		m->memory = t->shape->row.memory;
		m->disk = t->shape->row.disk;
		return;
	}
	m->memory = place.memory;
	m->disk = place.disk;
	m->core_bits = (struct wire_u64s){place.cores, place.cores ? (uint32_t)place.n_words : 0};
	m->gpu_bits = place.gpus;
}

struct wire_texts split_lines(const char *lines, const char ***to, char **copy)
{
	uint32_t n = *lines != 0, i = 0;
	for (const char *p = lines; *p; p++)
		n += *p == '\n';
	if (!n)
		return (struct wire_texts){NULL, 0};
	*to = xcalloc(n, sizeof **to);
	*copy = xstrdup(lines);
	for (char *at = *copy, *line; (line = strsep(&at, "\n"));)
		(*to)[i++] = line;
	assert(i == n);
	return (struct wire_texts){*to, n};
}

/* The words of an element's command, expanded behind each other. */
static struct wire_texts expand(const struct task *t, const struct wire_texts *words, struct buf *texts,
				const char ***to)
{
	struct wire_bytes all;
	for (uint32_t i = 0; i < words->n; i++) {
		_free_ char *word = array_expand(words->at[i], array_index(t));
		buf_put(texts, word, strlen(word) + 1);
	}
	all = (struct wire_bytes){texts->at, (uint32_t)texts->n};
	return split(&all, to);
}

static void buf_finip(struct buf *b)
{
	buf_fini(b);
}

int send_start(struct task *t)
{
	struct store *s = t->run->driver->o.store;
	struct node *n = task_node(t);
	struct wire_bytes command, environment;
	_free_ const char **argv = NULL, **variables = NULL, **expanded = NULL, **hows = NULL;
	_free_ char *how = NULL;
	_cleanup_(buf_finip) struct buf paths = {0}, texts = {0};
	_free_ struct wire_input *inputs = NULL;
	uint32_t n_inputs;
	int r = read_inputs(t, &inputs, &n_inputs, &paths);
	if (!r)
		r = store_read_body(s, t->command, &command);
	if (!r)
		r = store_read_body(s, t->environment, &environment);
	if (r)
		return r;
	mark_read(n, inputs, n_inputs);
	struct wire_start m = {
		.attempt = task_attempt(t),
		.task = t->id,
		.environment = split(&environment, &variables),
		.cores = max(t->shape->row.cores, 1u),
		.wall_usec = t->shape->row.wall_usec,
		.inputs = {inputs, n_inputs},
		.run = t->run->name,
		.tag = task_tag(t),
		.how = split_lines(t->shape->row.how, &hows, &how),
	};
	put_place(t, &m);
	/* The working directory goes first, so a command is never shorter than two texts. */
	struct wire_texts words = split(&command, &argv);
	if (words.n < 2)
		return -EUCLEAN;
	m.directory = words.at[0];
	m.argv = (struct wire_texts){words.at + 1, words.n - 1};
	if (t->is_element)
		m.argv = expand(t, &m.argv, &texts, &expanded);
	r = conn_send(n->conn, WIRE_START, &m);
	node_sent(n);
	/* A node that just went away will not list it, and then it runs again. */
	return r == -ENOTCONN ? 0 : r;
}
