/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/memory_store.h"

#include <pthread.h>

struct memory_blob {
	struct memory_blob *next;
	struct digest address;
	uint64_t size;
	uint8_t bytes[];
};

struct memory_file {
	struct memory_file *next;
	char *path;
	struct signature signature;
	struct digest address;
};

struct memory_key {
	struct memory_key *next;
	struct digest key;
	struct blob_chunks chunks;
};

static struct memory_store *locked(void *arg)
{
	struct memory_store *m = arg;
	pthread_mutex_lock(m->lock);
	return m;
}

static void unlock(struct memory_store *m)
{
	pthread_mutex_unlock(m->lock);
}

static int begin(void *arg, uint64_t size, void **blob)
{
	struct memory_store *m = arg;
	if (m->fail_begin)
		return -m->fail_begin;
	if (m->most_size && size > m->most_size)
		return -EFBIG;
	struct memory_blob *b = xcalloc(1, sizeof *b + size);
	b->size = size;
	m->n_begun++;
	*blob = b;
	return 0;
}

static int write_bytes(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	struct memory_store *m = arg;
	struct memory_blob *b = blob;
	assert(offset <= b->size && n <= b->size - offset);
	memcpy(b->bytes + offset, p, n);
	m->n_written++;
	return 0;
}

static struct memory_blob *find_blob(struct memory_store *m, const uint8_t *address)
{
	struct memory_blob *b = m->blobs;
	while (b && memcmp(b->address.byte, address, DIGEST_SIZE) != 0)
		b = b->next;
	return b;
}

static int commit(void *arg, void *blob, const struct blob_chunks *chunks)
{
	struct memory_blob *b = blob;
	b->address = chunks->address;
	assert(b->size == chunks->size);
	for (uint32_t i = 0; i < chunks->n; i++) {
		struct digest d;
		uint64_t at = (uint64_t)i * chunks->chunk_size;
		digest_bytes(b->bytes + at, min((uint64_t)chunks->chunk_size, b->size - at), &d);
		assert(digest_is_equal(&d, &chunks->chunks[i]));
	}
	struct memory_store *m = locked(arg);
	if (find_blob(m, b->address.byte)) {
		free(b);
	} else {
		b->next = m->blobs;
		m->blobs = b;
		m->n_blobs++;
	}
	unlock(m);
	return 0;
}

static void give_up(void *arg, void *blob)
{
	(void)arg;
	free(blob);
}

static bool recall_file(void *arg, const char *path, const struct signature *s, struct digest *address)
{
	struct memory_store *m = locked(arg);
	struct memory_file *f = m->files;
	while (f && !(streq(f->path, path) && signature_is_equal(&f->signature, s)))
		f = f->next;
	if (f)
		*address = f->address;
	unlock(m);
	return f;
}

static void learn_file(void *arg, const char *path, const struct signature *s, const struct digest *address)
{
	struct memory_store *m = locked(arg);
	struct memory_file *f = NEW(struct memory_file);
	*f = (struct memory_file){.next = m->files, .path = xstrdup(path), .signature = *s, .address = *address};
	m->files = f;
	unlock(m);
}

static void copy_chunks(struct blob_chunks *to, const struct blob_chunks *from)
{
	*to = *from;
	to->chunks = xmemdup(from->chunks, from->n * sizeof *from->chunks);
}

static bool recall_blob(void *arg, const struct digest *key, struct blob_chunks *chunks)
{
	struct memory_store *m = locked(arg);
	struct memory_key *k = m->keys;
	while (k && !digest_is_equal(&k->key, key))
		k = k->next;
	if (k)
		copy_chunks(chunks, &k->chunks);
	unlock(m);
	return k;
}

static void learn_blob(void *arg, const struct digest *key, const struct blob_chunks *chunks)
{
	struct memory_store *m = locked(arg);
	struct memory_key *k = NEW(struct memory_key);
	k->key = *key;
	copy_chunks(&k->chunks, chunks);
	k->next = m->keys;
	m->keys = k;
	unlock(m);
}

static int read_bytes(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	struct memory_store *m = locked(arg);
	const struct memory_blob *b = find_blob(m, blob->address);
	if (b)
		memcpy(p, b->bytes + offset, n);
	unlock(m);
	return b ? 0 : -ENOENT;
}

void memory_store_init(struct memory_store *m)
{
	*m = (struct memory_store){.store = {.arg = m,
					     .begin = begin,
					     .write = write_bytes,
					     .commit = commit,
					     .abort = give_up,
					     .recall_file = recall_file,
					     .learn_file = learn_file,
					     .recall_blob = recall_blob,
					     .learn_blob = learn_blob},
				   .reader = {.arg = m, .read = read_bytes},
				   .lock = NEW(pthread_mutex_t)};
	pthread_mutex_init(m->lock, NULL);
}

void memory_store_fini(struct memory_store *m)
{
	for (struct memory_blob *b = m->blobs, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	for (struct memory_file *f = m->files, *next; f; f = next) {
		next = f->next;
		free(f->path);
		free(f);
	}
	for (struct memory_key *k = m->keys, *next; k; k = next) {
		next = k->next;
		free(k->chunks.chunks);
		free(k);
	}
	pthread_mutex_destroy(m->lock);
	free(m->lock);
}
