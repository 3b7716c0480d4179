/* SPDX-License-Identifier: Apache-2.0
 * The names of a path that another node seals come from it, so that its filesystem is asked for each of them once: asked for -> unpacked and looked at in the pool -> a draft, which is left to that node. Where nobody gives them they
 * are read here. */
#include "vinefs/fetch/codec.h"
#include "vinefs/fetch/draft.h"

#define SIZE_MOST (1u << 30) /* of names and signatures, unpacked */

struct naming {
	struct list link; /* of the fetch */
	struct fetch *fetch;
	char *path;
	struct list callers; /* struct fetch_seal */
	struct fellow_ask ask;
	struct pool_job job;
	uint8_t *packed;
	size_t n_packed, size;
	bool is_packed;
	struct tree *names;
	struct signature *signatures;
	int error;
};

static void naming_free(struct naming *x)
{
	assert(list_is_empty(&x->callers));
	list_remove(&x->link);
	tree_free(x->names);
	free(x->signatures);
	free(x->packed);
	free(x->path);
	free(x);
}

/* ---- their form: how many bytes of names, those, and a signature for each of them */

int names_pack(const struct draft *d, uint8_t **out, size_t *n, size_t *size)
{
	size_t n_names, n_signatures = tree_n_nodes(d->index) * sizeof *d->signatures;
	const void *names = tree_bytes(d->index, &n_names);
	*size = 8 + n_names + n_signatures;
	_free_ uint8_t *all = malloc(*size);
	if (!all)
		return -ENOMEM;
	put_le64(all, n_names);
	memcpy(all + 8, names, n_names);
	memcpy(all + 8 + n_names, d->signatures, n_signatures);
	*out = codec_pack(all, *size, n);
	if (*out)
		return 0;
	*out = steal(all);
	*n = *size;
	return 0;
}

/* A file's size is in both. */
static bool is_sound(const struct tree *names, const struct signature *signatures)
{
	for (uint32_t i = 0; i < tree_n_nodes(names); i++)
		if (tree_node(names, i)->type == TREE_FILE && signatures[i].size != tree_file_size(names, i))
			return false;
	return tree_node(names, 0)->type == TREE_DIRECTORY;
}

static int take(struct naming *x, const uint8_t *all)
{
	uint64_t n_names = x->size < 8 ? UINT64_MAX : get_le64(all);
	if (x->size < 8 || n_names > x->size - 8)
		return -EBADMSG;
	void *names = malloc((size_t)n_names + 1);
	if (!names)
		return -ENOMEM;
	memcpy(names, all + 8, (size_t)n_names);
	int r = tree_take_draft(names, (size_t)n_names, &x->names);
	size_t rest = x->size - 8 - (size_t)n_names;
	if (r || rest != tree_n_nodes(x->names) * sizeof *x->signatures)
		return r ? r : -EBADMSG;
	x->signatures = xmemdup(all + 8 + n_names, rest);
	return is_sound(x->names, x->signatures) ? 0 : -EBADMSG;
}

static void run(struct pool_job *j)
{
	struct naming *x = container_of(j, struct naming, job);
	_free_ uint8_t *room = j->is_dropped || !x->is_packed ? NULL : malloc(x->size);
	if (j->is_dropped || (x->is_packed && !room))
		x->error = j->is_dropped ? -ECANCELED : -ENOMEM;
	else if (x->is_packed)
		x->error = codec_unpack_to(x->packed, x->n_packed, room, x->size);
	if (!x->error)
		x->error = take(x, x->is_packed ? room : x->packed);
}

/* ---- asking */

/* What nobody gives is looked for at the path. */
static void fail(struct naming *x)
{
	while (!list_is_empty(&x->callers)) {
		struct fetch_seal *c = list_first(&x->callers, struct fetch_seal, link);
		list_remove(&c->link);
		c->naming = NULL;
		sealing_start(x->fetch, c, x->path);
	}
	naming_free(x);
}

static void on_taken(struct pool_job *j)
{
	struct naming *x = container_of(j, struct naming, job);
	const struct seal_report notes = {.n = 0};
	if (x->error || x->fetch->is_stopping || list_is_empty(&x->callers)) {
		fail(x);
		return;
	}
	struct draft *d = draft_new(x->fetch, x->path, steal(x->names), steal(x->signatures));
	draft_leave(d, true);
	while (!list_is_empty(&x->callers)) {
		struct fetch_seal *c = list_first(&x->callers, struct fetch_seal, link);
		list_remove(&c->link);
		c->naming = NULL;
		c->on_draft(c, draft_tell(d), draft_index(d), &notes);
	}
	draft_unref(d);
	naming_free(x);
}

static void on_given(struct fellow_ask *a, int error, const void *message)
{
	struct naming *x = container_of(a, struct naming, ask);
	const struct wire_names *m = message;
	if (error && !list_is_empty(&x->callers) && fellow_ask(a))
		return;
	if (error || m->codec > 1 || m->size > SIZE_MOST || (!m->codec && m->size != m->bytes.n)) {
		fail(x);
		return;
	}
	x->is_packed = m->codec;
	x->packed = xmemdup(m->bytes.at, m->bytes.n);
	x->n_packed = m->bytes.n;
	x->size = (size_t)m->size;
	x->job = (struct pool_job){.run = run, .on_done = on_taken};
	pool_put(x->fetch->pool, &x->job, POOL_NOW, NULL);
}

bool naming_start(struct fetch *f, struct fetch_seal *s, const char *path)
{
	assert(s->is_left && s->on_draft);
	struct naming *x = NEW(struct naming);
	*x = (struct naming){.fetch = f, .path = xstrdup(path)};
	x->ask = (struct fellow_ask){.fetch = f, .path = x->path, .on_done = on_given};
	list_init(&x->callers);
	list_init(&x->link);
	list_append(&f->namings, &x->link);
	if (!fellow_ask(&x->ask)) {
		naming_free(x);
		return false;
	}
	s->naming = x;
	list_init(&s->link);
	list_append(&x->callers, &s->link);
	return true;
}

bool naming_is_on(const struct fetch *f, const char *path)
{
	list_foreach (&f->namings, struct naming, link, x) {
		if (streq(x->path, path))
			return true;
	}
	return false;
}

/* What comes for nobody is let go of when it is here. */
void naming_leave(struct fetch_seal *s)
{
	list_remove(&s->link);
	s->naming = NULL;
}
