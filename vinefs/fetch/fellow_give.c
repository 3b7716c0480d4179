/* SPDX-License-Identifier: Apache-2.0
 * A part that a fellow asks for: waits for the draft, which may just now be begun -> is read as any reader's, from the directory or from who is asked next -> is packed in the pool -> is sent. */
#include "vinefs/fetch/codec.h"
#include "vinefs/fetch/draft.h"

#define GIVINGS_MOST 4096u
#define UNTOLD_USEC 300000u  /* nobody has said here that this path is shared: it is about to be, or it is not */
#define BEGIN_USEC 500000u   /* it is about to be begun here, or it is over already */
#define NAMES_USEC 15000000u /* they are being read, or asked for */
#define NAMES_MOST (6u << 20)

struct giving {
	struct list link; /* of the fetch */
	struct fetch *fetch;
	struct conn *conn; /* NULL: nobody wants it any more */
	uint64_t id;
	char *path; /* until the draft is there; NULL */
	struct digest face;
	struct timer timer;
	struct fetch_read read;
	struct post post;
	struct pool_job job;
	uint8_t codecs;
	uint8_t *bytes, *packed;
	size_t n_packed, size;
	bool is_names;
	bool is_patient; /* it waits for the names */
	int error;
};

static void giving_free(struct giving *g)
{
	if (g->read.tree)
		fetch_close(g->read.tree);
	timer_stop(&g->timer);
	list_remove(&g->link);
	g->fetch->n_givings--;
	free(g->bytes);
	free(g->packed);
	free(g->path);
	free(g);
}

static void refuse(struct giving *g, int error)
{
	if (g->conn)
		conn_reply_status(g->conn, g->id, -error, "%s: %s", g->path ? g->path : "a part of a draft",
				  strerror(-error));
	giving_free(g);
}

/* ---- its bytes */

static void reply(struct giving *g, const void *bytes, size_t n, bool is_packed)
{
	const struct wire_draft_part m = {.codec = is_packed, .bytes = {bytes, (uint32_t)n}};
	if (g->conn)
		conn_reply(g->conn, g->id, WIRE_DRAFT_PART, &m);
	giving_free(g);
}

static bool reply_packed(struct giving *g)
{
	size_t n;
	const uint8_t *packed =
		g->codecs & 1 ? span_packed(g->read.tree->draft, g->read.blob, g->read.offset, g->read.n, &n) : NULL;
	if (packed)
		reply(g, packed, n, true);
	return packed;
}

static void pack(struct pool_job *j)
{
	struct giving *g = container_of(j, struct giving, job);
	if (!j->is_dropped)
		g->packed = codec_pack(g->bytes, g->read.n, &g->n_packed);
}

static void on_packed(struct pool_job *j)
{
	struct giving *g = container_of(j, struct giving, job);
	if (!g->packed) {
		reply(g, g->bytes, g->read.n, false);
		return;
	}
	/* Whoever else asks for it gets the same. */
	struct draft *d = g->read.tree->draft;
	const struct fetch_read r = g->read;
	uint8_t *packed = xmemdup(g->packed, g->n_packed);
	size_t n = g->n_packed;
	reply(g, g->packed, n, true);
	span_keep_packed(d, r.blob, r.offset, r.n, packed, n);
}

static void on_came(struct post *p)
{
	struct giving *g = container_of(p, struct giving, post);
	if (g->error) {
		refuse(g, g->error);
	} else if (!reply_packed(g)) {
		g->job = (struct pool_job){.run = pack, .on_done = on_packed};
		if (g->codecs & 1)
			pool_put(g->fetch->pool, &g->job, POOL_NOW, NULL);
		else
			reply(g, g->bytes, g->read.n, false);
	}
}

/* Any thread. */
static void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct giving *g = container_of(r, struct giving, read);
	g->error = n < 0 ? (int)n : 0;
	g->bytes = n < 0 ? NULL : xmemdup(p, (size_t)n);
	g->post.on_post = on_came;
	loop_post(g->fetch->loop, &g->post);
}

static bool is_within(const struct draft *d, const struct fetch_read *r)
{
	if (r->blob >= tree_n_nodes(d->index) || tree_node(d->index, r->blob)->type != TREE_FILE)
		return false;
	uint64_t size = d->signatures[r->blob].size;
	return r->n && r->n <= min(size, (uint64_t)FETCH_READ_MAX) && r->offset <= size - r->n;
}

/* ---- names */

static void reply_names(struct giving *g, const struct draft *d)
{
	const struct wire_names m = {.codec = d->n_names != d->names_size,
				     .size = d->names_size,
				     .bytes = {(const char *)d->names, (uint32_t)d->n_names}};
	if (d->n_names > NAMES_MOST) {
		refuse(g, -EFBIG);
		return;
	}
	if (g->conn)
		conn_reply(g->conn, g->id, WIRE_NAMES, &m);
	giving_free(g);
}

static void pack_names(struct pool_job *j)
{
	struct giving *g = container_of(j, struct giving, job);
	g->error = j->is_dropped ? -ECANCELED : names_pack(g->read.tree->draft, &g->packed, &g->n_packed, &g->size);
}

static void on_names_packed(struct pool_job *j)
{
	struct giving *g = container_of(j, struct giving, job);
	struct draft *d = g->read.tree->draft;
	if (g->error) {
		refuse(g, g->error);
		return;
	}
	/* Others may have asked meanwhile. */
	if (!d->names) {
		d->names = steal(g->packed);
		d->n_names = g->n_packed;
		d->names_size = g->size;
	}
	reply_names(g, d);
}

static void begin_names(struct giving *g, struct draft *d)
{
	if (d->names) {
		reply_names(g, d);
		return;
	}
	g->job = (struct pool_job){.run = pack_names, .on_done = on_names_packed};
	pool_put(g->fetch->pool, &g->job, POOL_NOW, NULL);
}

static void begin(struct giving *g, struct draft *d)
{
	timer_stop(&g->timer);
	free(steal(g->path));
	if (!g->is_names && !is_within(d, &g->read)) {
		refuse(g, -ERANGE);
		return;
	}
	draft_ref(d);
	g->read.tree = tree_of_draft(g->fetch, d);
	if (g->is_names) {
		begin_names(g, d);
		return;
	}
	g->read.on_done = on_read;
	g->read.is_given = true;
	if (!reply_packed(g))
		fetch_read_start(&g->read);
}

/* ---- which draft */

/* One that nobody here uses any more and that is still parked does as well, while others read it. */
static struct draft *find(const struct giving *g)
{
	list_foreach (&g->fetch->drafts, struct draft, link, d) {
		if (streq(d->path, g->path) && (g->is_names ? !d->is_over : digest_is_equal(&d->face, &g->face)))
			return d;
	}
	return NULL;
}

static void on_late(struct timer *t)
{
	struct giving *g = container_of(t, struct giving, timer);
	struct fetch *f = g->fetch;
	if (!g->is_names || g->is_patient || !(sealing_has_names(f, g->path) || naming_is_on(f, g->path))) {
		refuse(g, -ENOENT);
		return;
	}
	g->is_patient = true;
	timer_start(t, f->loop, NAMES_USEC, on_late);
}

static struct giving *giving_new(struct fetch *f, struct conn *c, uint64_t id, const char *path)
{
	if (!id || f->is_stopping || f->n_givings == GIVINGS_MOST) {
		conn_reply_status(c, id, EAGAIN, "%s", f->is_stopping ? "this node ends" : "too much is asked for");
		return NULL;
	}
	struct giving *g = NEW(struct giving);
	*g = (struct giving){.fetch = f, .conn = c, .id = id, .path = xstrdup(path)};
	list_init(&g->link);
	list_append(&f->givings, &g->link);
	f->n_givings++;
	return g;
}

static void begin_or_wait(struct giving *g)
{
	struct draft *d = find(g);
	if (d)
		begin(g, d);
	else
		timer_start(&g->timer, g->fetch->loop, fellows_of(g->fetch, g->path) ? BEGIN_USEC : UNTOLD_USEC,
			    on_late);
}

void fetch_give_draft(struct fetch *f, struct conn *c, uint64_t id, const struct wire_read_draft *m)
{
	struct giving *g = giving_new(f, c, id, m->path);
	if (!g)
		return;
	g->face = m->face;
	g->codecs = m->codecs;
	g->read = (struct fetch_read){.blob = m->node, .offset = m->offset, .n = m->n};
	begin_or_wait(g);
}

void fetch_give_names(struct fetch *f, struct conn *c, uint64_t id, const struct wire_read_names *m)
{
	struct giving *g = giving_new(f, c, id, m->path);
	if (!g)
		return;
	g->is_names = true;
	begin_or_wait(g);
}

void fellow_give_again(struct fetch *f)
{
	list_foreach (&f->givings, struct giving, link, g) {
		struct draft *d = g->path ? find(g) : NULL;
		if (d)
			begin(g, d);
	}
}

void fetch_give_draft_stop(struct fetch *f, const struct conn *c, uint64_t id)
{
	list_foreach (&f->givings, struct giving, link, g) {
		if (g->conn != c || (id && g->id != id))
			continue;
		g->conn = NULL;
		if (g->path)
			giving_free(g);
	}
}

void fellow_give_stop(struct fetch *f)
{
	list_foreach (&f->givings, struct giving, link, g) {
		if (g->path)
			refuse(g, -ECANCELED);
	}
}
