/* SPDX-License-Identifier: Apache-2.0
 * Reads use connections of their own, so that they never wait for the writer or for each other. */
#include "vinefs/cache/catalog_internal.h"

#define N_READERS 8u

int catalog_sql_errno(sqlite3 *db)
{
	switch (sqlite3_errcode(db) & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
		return -EBUSY;
	default:
		return -EIO;
	}
}

int catalog_sql_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : catalog_sql_errno(db);
}

/* ---- recalling */

static void reader_free(struct reader *r)
{
	sqlite3_finalize(r->file);
	sqlite3_finalize(r->key);
	sqlite3_close(r->db);
	free(r);
}

static struct reader *reader_new(const char *path)
{
	struct reader *r = NEW(struct reader);
	if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(r->db, 1000) != SQLITE_OK ||
	    catalog_sql_exec(r->db, "PRAGMA query_only = 1; PRAGMA cache_size = -4096") < 0 ||
	    sqlite3_prepare_v3(r->db, "SELECT signature, address FROM files WHERE path = ?1", -1,
			       SQLITE_PREPARE_PERSISTENT, &r->file, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v3(r->db, "SELECT address, size, chunk_size, chunks FROM keys WHERE key = ?1", -1,
			       SQLITE_PREPARE_PERSISTENT, &r->key, NULL) != SQLITE_OK) {
		reader_free(r);
		return NULL;
	}
	return r;
}

static struct reader *reader_take(struct catalog *c)
{
	pthread_mutex_lock(&c->lock);
	struct reader *r = c->readers;
	if (r) {
		c->readers = r->next;
		c->n_readers--;
	}
	pthread_mutex_unlock(&c->lock);
	return r ? r : reader_new(c->path);
}

static void reader_give(struct catalog *c, struct reader *r)
{
	pthread_mutex_lock(&c->lock);
	bool is_kept = c->n_readers < N_READERS;
	if (is_kept) {
		r->next = c->readers;
		c->readers = r;
		c->n_readers++;
	}
	pthread_mutex_unlock(&c->lock);
	if (!is_kept)
		reader_free(r);
}

static bool take_digest(sqlite3_stmt *s, int column, struct digest *d)
{
	if (sqlite3_column_bytes(s, column) != DIGEST_SIZE)
		return false;
	d->algorithm = DIGEST_SHA256;
	memcpy(d->byte, sqlite3_column_blob(s, column), DIGEST_SIZE);
	return true;
}

bool catalog_recall_file(struct catalog *c, const char *path, const struct signature *s, struct digest *address)
{
	struct reader *r = reader_take(c);
	if (!r)
		return false;
	sqlite3_bind_blob(r->file, 1, path, (int)strlen(path), SQLITE_STATIC);
	bool is_same = sqlite3_step(r->file) == SQLITE_ROW && sqlite3_column_bytes(r->file, 0) == (int)sizeof *s &&
		       memcmp(sqlite3_column_blob(r->file, 0), s, sizeof *s) == 0 && take_digest(r->file, 1, address);
	sqlite3_reset(r->file);
	sqlite3_clear_bindings(r->file);
	reader_give(c, r);
	return is_same;
}

static bool take_chunks(sqlite3_stmt *s, struct blob_chunks *chunks)
{
	struct blob_chunks b = {.size = (uint64_t)sqlite3_column_int64(s, 1),
				.chunk_size = (uint32_t)sqlite3_column_int64(s, 2)};
	if (!b.size || !b.chunk_size || !take_digest(s, 0, &b.address))
		return false;
	uint64_t n = data_n_chunks(b.size, b.chunk_size);
	if (n > UINT32_MAX || (uint64_t)sqlite3_column_bytes(s, 3) != n * DIGEST_SIZE)
		return false;
	const uint8_t *from = sqlite3_column_blob(s, 3);
	b.n = (uint32_t)n;
	b.chunks = xcalloc(b.n, sizeof *b.chunks);
	for (uint32_t i = 0; i < b.n; i++) {
		b.chunks[i].algorithm = DIGEST_SHA256;
		memcpy(b.chunks[i].byte, from + (size_t)i * DIGEST_SIZE, DIGEST_SIZE);
	}
	/* Whatever became of the file that this comes from, chunks that do not add up to their address are not used. */
	struct digest address;
	data_address(b.size, b.chunk_size, b.chunks, &address);
	if (!digest_is_equal(&address, &b.address)) {
		free(b.chunks);
		return false;
	}
	*chunks = b;
	return true;
}

bool catalog_recall_blob(struct catalog *c, const struct digest *key, struct blob_chunks *chunks)
{
	struct reader *r = reader_take(c);
	if (!r)
		return false;
	sqlite3_bind_blob(r->key, 1, key->byte, DIGEST_SIZE, SQLITE_STATIC);
	bool is_found = sqlite3_step(r->key) == SQLITE_ROW && take_chunks(r->key, chunks);
	sqlite3_reset(r->key);
	sqlite3_clear_bindings(r->key);
	reader_give(c, r);
	return is_found;
}

void catalog_free_readers(struct catalog *c)
{
	for (struct reader *r = c->readers, *next; r; r = next) {
		next = r->next;
		reader_free(r);
	}
	c->readers = NULL;
}

/* ---- the start */

static int load(struct catalog *c, const char *sql, void (*on_row)(void *to, sqlite3_stmt *s), void *to)
{
	sqlite3_stmt *s = NULL;
	int step = SQLITE_ERROR;
	if (sqlite3_prepare_v2(c->db, sql, -1, &s, NULL) == SQLITE_OK)
		while ((step = sqlite3_step(s)) == SQLITE_ROW)
			on_row(to, s);
	sqlite3_finalize(s);
	return step == SQLITE_DONE ? 0 : catalog_sql_errno(c->db);
}

struct loading {
	void (*on_tree)(void *arg, const struct catalog_tree *t);
	void (*on_name)(void *arg, const char *name, const struct digest *id);
	void (*on_doubt)(void *arg, const struct digest *blob);
	void *arg;
};

static void load_tree(void *to, sqlite3_stmt *s)
{
	const struct loading *l = to;
	struct catalog_tree t = {.index_size = (uint64_t)sqlite3_column_int64(s, 1),
				 .used_usec = (uint64_t)sqlite3_column_int64(s, 2),
				 .verified_usec = (uint64_t)sqlite3_column_int64(s, 3),
				 .is_pinned = sqlite3_column_int64(s, 4) != 0,
				 .is_wanted = sqlite3_column_int64(s, 5) != 0};
	size_t n = (size_t)sqlite3_column_bytes(s, 6);
	if (n % sizeof *t.blobs || !take_digest(s, 0, &t.id))
		return;
	_free_ struct catalog_blob *blobs = xmemdup(sqlite3_column_blob(s, 6), n);
	t.blobs = blobs;
	t.n_blobs = (uint32_t)(n / sizeof *t.blobs);
	l->on_tree(l->arg, &t);
}

static void load_name(void *to, sqlite3_stmt *s)
{
	const struct loading *l = to;
	struct digest id;
	if (take_digest(s, 1, &id))
		l->on_name(l->arg, (const char *)sqlite3_column_text(s, 0), &id);
}

static void load_doubt(void *to, sqlite3_stmt *s)
{
	const struct loading *l = to;
	struct digest id;
	if (take_digest(s, 0, &id))
		l->on_doubt(l->arg, &id);
}

int catalog_load_trees(struct catalog *c, void (*on_tree)(void *arg, const struct catalog_tree *t), void *arg)
{
	struct loading l = {.on_tree = on_tree, .arg = arg};
	return load(c, "SELECT * FROM trees", load_tree, &l);
}

int catalog_load_names(struct catalog *c, void (*on_name)(void *arg, const char *name, const struct digest *id),
		       void *arg)
{
	struct loading l = {.on_name = on_name, .arg = arg};
	return load(c, "SELECT * FROM names", load_name, &l);
}

int catalog_load_doubts(struct catalog *c, void (*on_doubt)(void *arg, const struct digest *blob), void *arg)
{
	struct loading l = {.on_doubt = on_doubt, .arg = arg};
	return load(c, "SELECT * FROM doubts", load_doubt, &l);
}
