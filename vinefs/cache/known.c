/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_SIZE (DIGEST_TEXT_SIZE + 8)
#define SAVE_USEC 60000000u
#define NOW_MOST (64 << 10)

struct known *known_get(struct cache *c, const struct digest *id)
{
	char text[DIGEST_TEXT_SIZE];
	return map_get_text(&c->trees, digest_text(id, text));
}

static void take_blobs(struct cache *c, struct known *k, const struct catalog_blob *blobs, uint32_t n_blobs)
{
	assert(!k->blobs && !k->n_blobs && !k->size);
	k->n_blobs = n_blobs;
	k->blobs = xcalloc(n_blobs, sizeof(struct blob *));
	for (uint32_t i = 0; i < n_blobs; i++) {
		struct digest address = {.algorithm = DIGEST_SHA256};
		memcpy(address.byte, blobs[i].address, DIGEST_SIZE);
		struct blob *b = blob_need(c, &address);
		blob_shape(b, blobs[i].size, blobs[i].chunk_size);
		b->n_known++;
		b->n_wanted += k->is_wanted;
		k->blobs[i] = b;
		k->size += b->size;
	}
}

static void leave_blobs(struct cache *c, struct blob **blobs, uint32_t n, bool is_wanted)
{
	for (uint32_t i = 0; i < n; i++) {
		struct blob *b = blobs[i];
		assert(b->n_known && b->n_wanted <= b->n_known);
		b->n_known--;
		b->n_wanted -= is_wanted;
		blob_drop(c, b);
	}
	free(blobs);
}

struct known *known_add(struct cache *c, const struct digest *id, const struct catalog_blob *blobs, uint32_t n_blobs,
			uint64_t index_size)
{
	struct known *k = NEW(struct known);
	assert(!known_get(c, id));
	k->id = *id;
	digest_text(id, k->text);
	k->index_size = index_size;
	list_init(&k->leases);
	take_blobs(c, k, blobs, n_blobs);
	k->used_usec = cache_tick(c);
	map_put_text(&c->trees, k->text, k);
	cache_count(c, (int64_t)cache_round(index_size), 1);
	return k;
}

void known_free(struct cache *c, struct known *k)
{
	assert(!k->n_leases && !k->open);
	map_remove_text(&c->trees, k->text);
	cache_count(c, -(int64_t)cache_round(k->index_size), -1);
	leave_blobs(c, k->blobs, k->n_blobs, k->is_wanted);
	free(k);
}

/* Is the tree laid out as we remember? */
static bool is_as_known(const struct known *k, const struct tree *t)
{
	if (tree_n_blobs(t) != k->n_blobs)
		return false;
	for (uint32_t i = 0; i < k->n_blobs; i++)
		if (memcmp(tree_blob(t, i)->address, k->blobs[i]->address.byte, DIGEST_SIZE) != 0)
			return false;
	return true;
}

void known_adopt(struct cache *c, struct known *k, const struct tree *t)
{
	assert(!k->open && digest_is_equal(&k->id, tree_id(t)));
	if (is_as_known(k, t))
		return;
	_free_ struct catalog_blob *blobs = known_blobs_of(t);
	struct blob **before = steal(k->blobs);
	uint32_t n_before = k->n_blobs;
	k->n_blobs = k->hand = 0;
	k->size = k->verified_usec = 0;
	take_blobs(c, k, blobs, tree_n_blobs(t));
	/* Not before: those that it has still must not go. */
	leave_blobs(c, before, n_before, k->is_wanted);
	known_save(c, k);
}

void known_want(struct cache *c, struct known *k)
{
	if (k->is_wanted)
		return;
	k->is_wanted = true;
	for (uint32_t i = 0; i < k->n_blobs; i++)
		k->blobs[i]->n_wanted++;
	known_save(c, k);
}

void known_save(struct cache *c, struct known *k)
{
	_free_ struct catalog_blob *blobs = xcalloc(k->n_blobs, sizeof *blobs);
	for (uint32_t i = 0; i < k->n_blobs; i++) {
		memcpy(blobs[i].address, k->blobs[i]->address.byte, DIGEST_SIZE);
		blobs[i].size = k->blobs[i]->size;
		blobs[i].chunk_size = k->blobs[i]->chunk_size;
	}
	const struct catalog_tree t = {.id = k->id,
				       .index_size = k->index_size,
				       .used_usec = k->used_usec,
				       .verified_usec = k->verified_usec,
				       .is_pinned = k->is_pinned,
				       .is_wanted = k->is_wanted,
				       .blobs = blobs,
				       .n_blobs = k->n_blobs};
	catalog_put_tree(c->catalog, &t);
	k->saved_usec = c->clock_usec;
	k->is_unsaved = false;
}

/* Trees that others read come and go by the thousands a second; who dies before it was saved finds the last use a little earlier. */
void known_used(struct cache *c, struct known *k)
{
	k->used_usec = cache_tick(c);
	if (k->used_usec - k->saved_usec < SAVE_USEC)
		k->is_unsaved = true;
	else
		known_save(c, k);
}

void known_save_used(struct cache *c)
{
	struct known *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		if (k->is_unsaved)
			known_save(c, k);
}

bool known_is_chunkwise(const struct cache *c, const struct known *k)
{
	return k->size > c->quota / 4;
}

struct catalog_blob *known_blobs_of(const struct tree *t)
{
	struct catalog_blob *blobs = xcalloc(tree_n_blobs(t), sizeof *blobs);
	for (uint32_t i = 0; i < tree_n_blobs(t); i++) {
		const struct tree_blob *b = tree_blob(t, i);
		memcpy(blobs[i].address, b->address, DIGEST_SIZE);
		blobs[i].size = b->size;
		blobs[i].chunk_size = b->chunk_size;
	}
	return blobs;
}

int known_read(struct cache *c, const struct digest *id, struct tree **out)
{
	char path[PATH_SIZE], text[DIGEST_TEXT_SIZE];
	snprintf(path, sizeof path, "%s.vti", digest_text(id, text));
	_close_ int fd = openat(c->trees_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int r = tree_read(fd, id, out);
	if (r == -EBADMSG || r == -ESTALE) {
		/* If it cannot be kept it goes, lest it be found again. */
		if (renameat(c->trees_fd, path, c->quarantine_fd, path) < 0)
			unlinkat(c->trees_fd, path, 0);
		log_warn("cache: the index of tree %s is damaged: in quarantine", text);
		r = -EBADMSG;
	}
	return r;
}

int known_read_now(struct cache *c, const struct digest *id, struct tree **out)
{
	char path[PATH_SIZE], text[DIGEST_TEXT_SIZE];
	struct stat st;
	snprintf(path, sizeof path, "%s.vti", digest_text(id, text));
	_close_ int fd = blob_open_now(c->trees_fd, path);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > NOW_MOST)
		return -EAGAIN;
	_free_ uint8_t *p = xmalloc((size_t)st.st_size);
	struct iovec v = {.iov_base = p, .iov_len = (size_t)st.st_size};
	if (preadv2(fd, &v, 1, 0, RWF_NOWAIT) != st.st_size)
		return -EAGAIN;
	/* A damaged one is read again, and put aside. */
	return tree_take(steal(p), (size_t)st.st_size, id, out) == 0 ? 0 : -EAGAIN;
}

/* ---- publishing */

static int write_file(struct cache *c, const char *name, const uint8_t *p, size_t n)
{
	_close_ int fd = openat(c->tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0)
		return -errno;
	for (size_t have = 0; have < n;) {
		ssize_t put = write(fd, p + have, n - have);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -ENOSPC;
		have += (size_t)put;
	}
	return 0;
}

static int store_index(struct cache *c, const struct tree *t, const void *vti, size_t n)
{
	char path[PATH_SIZE], text[DIGEST_TEXT_SIZE], name[32];
	snprintf(path, sizeof path, "%s.vti", digest_text(tree_id(t), text));
	snprintf(name, sizeof name, "%llu", (unsigned long long)atomic_fetch_add(&c->n_tmp, 1));
	int r;
	unsigned n_tries = 0;
	do {
		unlinkat(c->tmp_fd, name, 0);
		r = write_file(c, name, vti, n);
	} while (r == -ENOSPC && evict_again(c, n, 1, &n_tries));
	if (r == 0 && renameat(c->tmp_fd, name, c->trees_fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(c->tmp_fd, name, 0);
	return cache_fault(c, r, "store an index");
}

bool cache_has(struct cache *c, const struct digest *id)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	cache_lock(c);
	const struct known *k = known_get(c, id);
	bool is_known = k, is_open = k && k->open;
	cache_unlock(c);
	return is_open || (is_known && known_read(c, id, &t) == 0);
}

/* 1: it was there, perhaps laid out otherwise, and stays so. */
static int publish(struct cache *c, const struct tree *t, const void *vti, size_t n)
{
	const struct digest *id = tree_id(t);
	char text[DIGEST_TEXT_SIZE];
	digest_text(id, text);
	cache_lock(c);
	while (streq(c->leaving, text))
		pthread_cond_wait(&c->moved, &c->lock);
	struct known *k = known_get(c, id);
	if (k) {
		k->used_usec = cache_tick(c);
		known_want(c, k); /* it may have been evicted, and sealed anew */
	}
	cache_unlock(c);
	if (cache_has(c, id))
		return 1;
	/* Counted here, so that room is made, and again by known_add. */
	int r = cache_take_room(c, cache_round(n), 1);
	if (r < 0)
		return r;
	r = store_index(c, t, vti, n);
	cache_give_room(c, cache_round(n), 1);
	if (r < 0)
		return r;
	_free_ struct catalog_blob *blobs = known_blobs_of(t);
	cache_lock(c);
	k = known_get(c, id);
	if (!k)
		known_want(c, known_add(c, id, blobs, tree_n_blobs(t), n));
	else if (!k->open) /* its index was lost, and this one may be laid out otherwise */
		known_adopt(c, k, t);
	cache_unlock(c);
	return 0;
}

int cache_publish(struct cache *c, const void *vti, size_t n, struct digest *id)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	void *copy = malloc(n ? n : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vti, n);
	int r = tree_take(copy, n, NULL, &t);
	if (r < 0)
		return r;
	*id = *tree_id(t);
	r = publish(c, t, vti, n);
	return min(r, 0);
}

int cache_publish_open(struct cache *c, void *vti, size_t n, const struct digest *id, struct cache_tree **out)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	int r = tree_take(vti, n, id, &t);
	if (r == 0)
		r = publish(c, t, vti, n);
	if (r)
		return r < 0 ? r : cache_tree_open(c, id, out);
	cache_lock(c);
	r = held_install(c, id, &t, out);
	cache_unlock(c);
	return r;
}
