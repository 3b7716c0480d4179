/* SPDX-License-Identifier: Apache-2.0
 * An index in parts: of a tree that is here the file's, of one that is coming those that have come. */
#include "vinefs/serve_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define INDEX_MAX (4ull << 30) /* as tree_read() has it */

/* An index that is being pulled, and whoever gives parts of it on. */
struct sheaf {
	struct list link;
	struct serve *owner;
	struct digest tree;
	struct fetch_parts parts;
	struct list users;
	struct swarm_given *given; /* NULL: nothing was */
};

/* Who wants the digests of the parts. */
struct asked {
	struct list link;
	struct serve *owner; /* NULL: nobody waits for it any more; it goes when the pool is done with it */
	struct cache *cache;
	struct conn *conn;
	uint64_t id;
	struct digest tree;
	struct shelf_user user;
	struct fetch_work work;
	bool is_working;
	uint64_t size;
	uint8_t *digests;
	int error;
};

/* ---- of an index that is coming */

static void sheaf_free(struct sheaf *x)
{
	assert(list_is_empty(&x->users));
	list_remove(&x->link);
	swarm_given_free(x->given);
	free(x);
}

/* Each may leave, and join anew. */
static void sheaf_end(struct sheaf *x, int error)
{
	struct sheaf_user *u;
	while ((u = list_first(&x->users, struct sheaf_user, link))) {
		list_remove(&u->link);
		u->sheaf = NULL;
		u->on_over(u, error);
	}
	sheaf_free(x);
}

static void on_part(struct fetch_parts *p, uint64_t part)
{
	struct sheaf *x = container_of(p, struct sheaf, parts);
	list_foreach (&x->users, struct sheaf_user, link, u) {
		if (u->on_part)
			u->on_part(u, part);
	}
}

static void on_over(struct fetch_parts *p, int error)
{
	struct sheaf *x = container_of(p, struct sheaf, parts);
	/* Who joins anew does not find it. */
	list_remove(&x->link);
	sheaf_end(x, error);
}

static struct sheaf *find_sheaf(const struct serve *s, const struct digest *id)
{
	list_foreach (&s->sheaves, struct sheaf, link, x) {
		if (digest_is_equal(&x->tree, id))
			return x;
	}
	return NULL;
}

int sheaf_join(struct serve *s, struct sheaf_user *u, const struct digest *id)
{
	struct sheaf *x = find_sheaf(s, id);
	assert(!u->sheaf && u->on_over);
	if (!x && !s->peers)
		return -ENOENT;
	if (!x) {
		x = NEW(struct sheaf);
		x->owner = s;
		x->tree = *id;
		x->parts.on_part = on_part;
		x->parts.on_over = on_over;
		int r = fetch_parts_start(s->peers, &x->parts, id);
		if (r) {
			free(x);
			return r;
		}
		list_init(&x->users);
		list_init(&x->link);
		list_append(&s->sheaves, &x->link);
	}
	u->sheaf = x;
	list_init(&u->link);
	list_append(&x->users, &u->link);
	return 0;
}

void sheaf_leave(struct sheaf_user *u)
{
	struct sheaf *x = steal(u->sheaf);
	if (!x)
		return;
	list_remove(&u->link);
	if (!list_is_empty(&x->users))
		return;
	fetch_parts_stop(&x->parts);
	sheaf_free(x);
}

void sheaves_close(struct serve *s)
{
	struct sheaf *x;
	while ((x = list_first(&s->sheaves, struct sheaf, link))) {
		fetch_parts_stop(&x->parts);
		list_remove(&x->link);
		sheaf_end(x, -ECANCELED);
	}
}

uint64_t sheaf_n_parts(const struct sheaf_user *u)
{
	uint64_t size;
	uint32_t part_size;
	const uint8_t *digests;
	bool is_known = u->sheaf && fetch_parts_list(&u->sheaf->parts, &size, &part_size, &digests);
	return is_known ? data_n_chunks(size, part_size) : 0;
}

bool sheaf_has(const struct sheaf_user *u, uint64_t part)
{
	size_t n;
	return fetch_parts_get(&u->sheaf->parts, part, &n) != NULL;
}

static bool is_here(void *arg, uint64_t part)
{
	return sheaf_has(arg, part);
}

int sheaf_choose(struct sheaf_user *u, uint64_t first, const uint8_t *wanted, size_t n_wanted, uint64_t *part,
		 uint8_t **bytes, size_t *n)
{
	struct sheaf *x = u->sheaf;
	uint64_t n_parts = sheaf_n_parts(u);
	if (!x->given && n_parts)
		x->given = swarm_given_new(n_parts, loop_now_usec(x->owner->loop));
	*part = x->given ? swarm_pick(x->given, first, wanted, n_wanted, is_here, u) : SWARM_NONE;
	if (*part == SWARM_NONE)
		return -ENODATA;
	const void *p = fetch_parts_get(&x->parts, *part, n);
	*bytes = xmalloc(*n);
	memcpy(*bytes, p, *n);
	return 0;
}

/* ---- READ_INDEX_PARTS */

static void asked_free(struct asked *a)
{
	assert(!a->owner && !a->is_working);
	shelf_leave(&a->user);
	free(a->digests);
	free(a);
}

static void asked_drop(struct asked *a)
{
	list_remove(&a->link);
	a->owner = NULL;
	if (!a->is_working)
		asked_free(a);
}

static void answer(struct asked *a, uint64_t size, uint32_t part_size, const uint8_t *digests)
{
	const struct wire_index_parts m = {
		.tree = a->tree,
		.size = size,
		.part_size = part_size,
		.digests = {digests, (uint32_t)(data_n_chunks(size, part_size) * DIGEST_SIZE)}};
	int r = conn_reply(a->conn, a->id, WIRE_INDEX_PARTS, &m);
	if (r == -EMSGSIZE)
		serve_refuse(a->owner, a->conn, a->id, &a->tree, r);
	asked_drop(a);
}

static void refuse(struct asked *a, int error)
{
	serve_refuse(a->owner, a->conn, a->id, &a->tree, error);
	asked_drop(a);
}

int shelf_measure_index(const struct serve *s, struct shelf *b)
{
	char text[DIGEST_TEXT_SIZE], path[DIGEST_TEXT_SIZE + 16];
	struct stat st;
	if (b->index_size)
		return 0;
	snprintf(path, sizeof path, "t/%s.vti", digest_text(&b->id, text));
	if (fstatat(cache_directory(s->cache), path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!st.st_size || st.st_size > (off_t)INDEX_MAX)
		return -EFBIG;
	b->index_size = (uint64_t)st.st_size;
	return 0;
}

static int digest_parts(struct asked *a)
{
	char text[DIGEST_TEXT_SIZE], path[DIGEST_TEXT_SIZE + 16];
	snprintf(path, sizeof path, "t/%s.vti", digest_text(&a->tree, text));
	_close_ int fd = openat(cache_directory(a->cache), path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_free_ uint8_t *room = xmalloc(PART_SIZE);
	if (fd < 0)
		return -errno;
	uint64_t n_parts = data_n_chunks(a->size, PART_SIZE);
	a->digests = xcalloc((size_t)n_parts, DIGEST_SIZE);
	for (uint64_t i = 0; i < n_parts; i++) {
		size_t n = (size_t)min((uint64_t)PART_SIZE, a->size - i * PART_SIZE);
		struct digest d;
		for (size_t done = 0; done < n;) {
			ssize_t got = pread(fd, room + done, n - done, (off_t)(i * PART_SIZE + done));
			if (got <= 0)
				return got < 0 ? -errno : -EIO;
			done += (size_t)got;
		}
		digest_bytes(room, n, &d);
		memcpy(a->digests + i * DIGEST_SIZE, d.byte, DIGEST_SIZE);
	}
	return 0;
}

static void run(struct fetch_work *w)
{
	struct asked *a = container_of(w, struct asked, work);
	a->error = digest_parts(a);
}

static void on_digested(struct fetch_work *w, bool is_run)
{
	struct asked *a = container_of(w, struct asked, work);
	int error = is_run ? a->error : -ECANCELED;
	a->is_working = false;
	if (!a->owner) {
		asked_free(a);
		return;
	}
	if (error) {
		refuse(a, error);
		return;
	}
	struct shelf *b = a->user.shelf;
	if (!b->part_digests)
		b->part_digests = steal(a->digests);
	answer(a, b->index_size, PART_SIZE, b->part_digests);
}

static void go_on(struct asked *a)
{
	struct shelf *b = a->user.shelf;
	int r = shelf_measure_index(a->owner, b);
	if (r) {
		refuse(a, r);
		return;
	}
	if (b->part_digests) {
		answer(a, b->index_size, PART_SIZE, b->part_digests);
		return;
	}
	a->size = b->index_size;
	a->is_working = true;
	a->work = (struct fetch_work){.run = run, .on_done = on_digested, .is_short = true};
	fetch_work(a->owner->fetch, &a->work);
}

static void on_open(struct shelf_user *u, int error)
{
	struct asked *a = container_of(u, struct asked, user);
	if (error)
		refuse(a, error);
	else
		go_on(a);
}

/* Whoever brings the index has them, or another is asked. */
static void answer_coming(struct asked *a)
{
	uint64_t size;
	uint32_t part_size;
	const uint8_t *digests;
	const struct sheaf *x = find_sheaf(a->owner, &a->tree);
	if (x && fetch_parts_list(&x->parts, &size, &part_size, &digests))
		answer(a, size, part_size, digests);
	else
		refuse(a, -ENOENT);
}

void give_parts_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_read_index_parts *m)
{
	if (!id)
		return;
	struct asked *a = NEW(struct asked);
	a->owner = s;
	a->cache = s->cache;
	a->conn = c;
	a->id = id;
	a->tree = m->tree;
	a->user.on_open = on_open;
	list_init(&a->link);
	list_append(&s->asked_parts, &a->link);
	int r = shelf_join(s, &a->user, &a->tree);
	if (r == -ENOENT)
		answer_coming(a);
	else if (r)
		refuse(a, r);
	else if (!a->user.is_waiting)
		go_on(a);
}

static struct asked *find(struct serve *s, const struct conn *c, const uint64_t *id)
{
	list_foreach (&s->asked_parts, struct asked, link, a) {
		if (a->conn == c && (!id || a->id == *id))
			return a;
	}
	return NULL;
}

bool parts_cancel(struct serve *s, const struct conn *c, uint64_t id)
{
	struct asked *a = find(s, c, &id);
	if (a)
		asked_drop(a);
	return a;
}

void parts_close(struct serve *s, const struct conn *c)
{
	struct asked *a;
	while ((a = find(s, c, NULL)))
		asked_drop(a);
}
