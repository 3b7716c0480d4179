/* SPDX-License-Identifier: Apache-2.0
 * FLOWS: what came since the last one, by tree and by who gave it, about each second while something does, and when the tree is there. Who is silent for a while gives no more. */
#include "vinefs/link_internal.h"

#include <stdio.h>

#define TELL_USEC 1000000u
#define FIRST_USEC 200000u /* after the first bytes for a while: who looks sees them soon */
#define SILENT_USEC 3000000u
#define FLOWS_MOST 1024u

enum { ORIGIN_NODE = 1, ORIGIN_SOURCE = 2, ORIGIN_CLIENT = 3 };

struct flow {
	struct list link; /* of which bytes came last at the end */
	struct digest tree;
	unsigned origin;
	uint64_t size, rest; /* not told yet; rest 0: there is nothing to tell */
	uint64_t told_usec, came_usec;
	bool is_new, is_over; /* is_new: of the tree nothing was told yet */
	char from[];
};

static struct flow *find(struct link *k, const struct digest *tree, const char *from, unsigned origin)
{
	list_foreach (&k->flows, struct flow, link, f)
		if (f->origin == origin && digest_is_equal(&f->tree, tree) && streq(f->from, from))
			return f;
	return NULL;
}

static bool is_first(const struct link *k, const struct digest *tree)
{
	list_foreach (&k->flows, struct flow, link, f)
		if (digest_is_equal(&f->tree, tree))
			return false;
	return true;
}

static void flow_free(struct link *k, struct flow *f)
{
	list_remove(&f->link);
	k->n_flows--;
	free(f);
}

static struct flow *flow_new(struct link *k, const struct digest *tree, const char *from, unsigned origin)
{
	size_t n = strlen(from) + 1;
	struct flow *f = xcalloc(1, sizeof *f + n);
	if (k->n_flows >= FLOWS_MOST)
		flow_free(k, list_first(&k->flows, struct flow, link));
	memcpy(f->from, from, n);
	f->tree = *tree;
	f->origin = origin;
	f->is_new = is_first(k, tree);
	f->told_usec = loop_now_usec(k->loop);
	list_init(&f->link);
	k->n_flows++;
	return f;
}

static bool is_of(const struct flow *f, const struct digest *tree)
{
	return !tree || digest_is_equal(&f->tree, tree);
}

/* Those that are over are told so, once. `tree` NULL: of all. */
static size_t collect(struct link *k, const struct digest *tree, struct wire_flow *to)
{
	uint64_t now = loop_now_usec(k->loop);
	size_t n = 0;
	list_foreach (&k->flows, struct flow, link, f) {
		f->is_over = f->is_over || f->came_usec + SILENT_USEC <= now;
		if (!is_of(f, tree) || (!f->size && !f->is_over))
			continue;
		to[n++] = (struct wire_flow){.tree = f->tree,
					     .origin = (uint8_t)f->origin,
					     .from = f->from,
					     .size = f->size,
					     .usec = now - f->told_usec,
					     .rest = f->rest,
					     .is_over = f->is_over};
	}
	return n;
}

static void was_told(struct link *k, const struct digest *tree)
{
	list_foreach (&k->flows, struct flow, link, f) {
		if (!is_of(f, tree))
			continue;
		f->told_usec = loop_now_usec(k->loop);
		f->size = f->rest = 0;
		f->is_new = false;
		if (f->is_over)
			flow_free(k, f);
	}
}

/* While vined is not there it is gathered. */
static void tell(struct link *k, const struct digest *tree)
{
	struct conn *c = link_conn(k);
	if (!c || !k->n_flows)
		return;
	_free_ struct wire_flow *all = xcalloc(k->n_flows, sizeof *all);
	size_t n = collect(k, tree, all);
	if (n)
		conn_send(c, WIRE_FLOWS, &(struct wire_flows){.flows = {all, (uint32_t)n}});
	was_told(k, tree);
}

static void on_tell(struct timer *t)
{
	struct link *k = container_of(t, struct link, flow);
	tell(k, NULL);
	if (k->n_flows)
		timer_start(t, k->loop, TELL_USEC, on_tell);
}

static struct flow *add(struct link *k, const struct digest *tree, const char *from, unsigned origin, uint64_t size)
{
	struct flow *f = find(k, tree, from, origin);
	if (!f)
		f = flow_new(k, tree, from, origin);
	f->size += size;
	f->came_usec = loop_now_usec(k->loop);
	f->is_over = false;
	list_remove(&f->link);
	list_append(&k->flows, &f->link);
	if (!k->flow.loop)
		timer_start(&k->flow, k->loop, FIRST_USEC, on_tell);
	return f;
}

/* ---- what fetch/ says */

void flow_on_peer(void *arg, const struct digest *tree, const char *name, unsigned origin, uint64_t bytes,
		  uint64_t rest)
{
	struct link *k = arg;
	assert(origin == ORIGIN_NODE || origin == ORIGIN_CLIENT);
	struct flow *f = add(k, tree, name, origin, bytes);
	f->rest = f->is_new ? rest : 0;
	k->client_size += origin == ORIGIN_CLIENT ? bytes : 0;
	if (k->parts.inputs)
		inputs_came(k->parts.inputs, tree, NULL, origin, bytes);
}

void flow_on_part(void *arg, const char *path, const char *name, uint64_t bytes)
{
	static const struct digest none = {0};
	struct link *k = arg;
	add(k, &none, name, ORIGIN_NODE, bytes);
	if (k->parts.inputs)
		inputs_came(k->parts.inputs, NULL, path, ORIGIN_NODE, bytes);
}

static void on_read(void *arg, const char *path, const struct digest *tree, uint64_t size, bool is_sealing)
{
	static const struct digest none = {0};
	struct link *k = arg;
	bool is_sealed = is_sealing && tree;
	/* What was not told of the path yet is the tree's. */
	struct flow *of_path = is_sealed ? find(k, &none, path, ORIGIN_SOURCE) : NULL;
	if (is_sealed && !size && !of_path)
		return;
	struct flow *f = add(k, tree ? tree : &none, path, ORIGIN_SOURCE, size);
	if (of_path) {
		f->size += of_path->size;
		flow_free(k, of_path);
	}
	f->is_over = is_sealed;
	inputs_came(k->parts.inputs, is_sealing ? NULL : tree, path, ORIGIN_SOURCE, size);
}

void flow_tell(struct link *k, const struct digest *tree)
{
	assert(tree->algorithm);
	tell(k, tree);
}

/* ---- life */

void flow_open(struct link *k)
{
	list_init(&k->flows);
	if (k->parts.fetch && k->parts.inputs)
		fetch_on_read(k->parts.fetch, on_read, k);
}

void flow_close(struct link *k)
{
	if (k->parts.fetch)
		fetch_on_read(k->parts.fetch, NULL, NULL);
	timer_stop(&k->flow);
	list_foreach (&k->flows, struct flow, link, f)
		flow_free(k, f);
}
