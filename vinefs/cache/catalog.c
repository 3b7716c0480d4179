/* SPDX-License-Identifier: Apache-2.0
 * Operations gather in a queue; the writer takes what is there a few times a second, in one transaction. Reads use connections of
 * their own, so that they never wait for it. */
#include "vinefs/cache/catalog_internal.h"

#include "common/log.h"
#include "common/map.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SCHEMA_VERSION 1
#define GATHER_MSEC 200
#define TRY_SIZE 131072
#define IN_MEMORY ":memory:"
#define GATHER_N 8192u        /* do not wait for more than these */
#define BACKLOG_MOST 1000000u /* what is merely remembered is dropped beyond */
#define RETRY_MSEC 1000
#define KEEP_DAYS 180 /* a file not sealed anew for so long is read again */

enum op_kind { OP_TREE, OP_DROP, OP_NAME, OP_UNNAME, OP_TRUST, OP_FILE, OP_KEY, OP_N };

_Static_assert(OP_N == CATALOG_N_OPS, "one statement each");

static const char *const op_sql[OP_N] = {
	[OP_TREE] = "INSERT OR REPLACE INTO trees VALUES (?1,?2,?3,?4,?5,?6,?7)",
	[OP_DROP] = "DELETE FROM trees WHERE id = ?1",
	[OP_NAME] = "INSERT OR REPLACE INTO names VALUES (?1,?2)",
	[OP_UNNAME] = "DELETE FROM names WHERE name = ?1",
	[OP_TRUST] = "DELETE FROM doubts WHERE blob = ?1",
	[OP_FILE] = "INSERT OR REPLACE INTO files VALUES (?1,?2,?3,?4)",
	[OP_KEY] = "INSERT OR REPLACE INTO keys VALUES (?1,?2,?3,?4,?5)",
};

static const char schema[] =
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE trees (id BLOB PRIMARY KEY, index_size INTEGER, used INTEGER, verified INTEGER, pinned INTEGER,"
	" wanted INTEGER, blobs BLOB);"
	"CREATE TABLE names (name TEXT PRIMARY KEY, tree BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE doubts (blob BLOB PRIMARY KEY) WITHOUT ROWID;"
	/* The path itself is the key: files of a directory lie together, and two never meet in one row. */
	"CREATE TABLE files (path BLOB PRIMARY KEY, signature BLOB, address BLOB, learned INTEGER) WITHOUT ROWID;"
	"CREATE TABLE keys (key BLOB PRIMARY KEY, address BLOB, size INTEGER, chunk_size INTEGER, chunks BLOB);";

/* Fields by what they are bound to; blob[] are owned copies in one allocation with the op. */
struct op {
	struct list link;
	enum op_kind kind;
	int64_t number[5];
	const void *blob[3];
	size_t size[3];
	char *key; /* once it is kept for another try */
};

/* ---- the writer */

static int write_op(struct catalog *c, const struct op *o)
{
	sqlite3_stmt *s = c->statements[o->kind];
	const void *const *b = o->blob;
	const size_t *n = o->size;
	/* A name is text, all else bytes. */
	if (o->kind == OP_NAME || o->kind == OP_UNNAME)
		sqlite3_bind_text(s, 1, b[0], (int)n[0], SQLITE_STATIC);
	else
		sqlite3_bind_blob(s, 1, b[0], (int)n[0], SQLITE_STATIC);
	switch (o->kind) {
	case OP_TREE:
		for (int i = 0; i < 5; i++)
			sqlite3_bind_int64(s, i + 2, o->number[i]);
		sqlite3_bind_blob(s, 7, b[1], (int)n[1], SQLITE_STATIC);
		break;
	case OP_NAME:
		sqlite3_bind_blob(s, 2, b[1], (int)n[1], SQLITE_STATIC);
		break;
	case OP_FILE:
		sqlite3_bind_blob(s, 2, b[1], (int)n[1], SQLITE_STATIC);
		sqlite3_bind_blob(s, 3, b[2], (int)n[2], SQLITE_STATIC);
		sqlite3_bind_int64(s, 4, o->number[0]);
		break;
	case OP_KEY:
		sqlite3_bind_blob(s, 2, b[1], (int)n[1], SQLITE_STATIC);
		sqlite3_bind_int64(s, 3, o->number[0]);
		sqlite3_bind_int64(s, 4, o->number[1]);
		sqlite3_bind_blob(s, 5, b[2], (int)n[2], SQLITE_STATIC);
		break;
	case OP_DROP:
	case OP_UNNAME:
	case OP_TRUST:
	case OP_N:
		break;
	}
	int r = sqlite3_step(s) == SQLITE_DONE ? 0 : catalog_sql_errno(c->db);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return r;
}

static int write_ops(struct catalog *c, struct list *ops)
{
	int r = catalog_sql_exec(c->db, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	list_foreach (ops, struct op, link, o) {
		r = write_op(c, o);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = catalog_sql_exec(c->db, "COMMIT");
	if (r < 0)
		sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static void op_free(struct op *o)
{
	list_remove(&o->link);
	free(o->key);
	free(o);
}

/* Trees and names, each by its own; the others only save time. */
static char *key_of(const struct op *o)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest id = {.algorithm = DIGEST_SHA256};
	if (o->kind == OP_NAME || o->kind == OP_UNNAME)
		return xstrndup(o->blob[0], o->size[0]); /* no name looks like an id */
	if (o->kind != OP_TREE && o->kind != OP_DROP)
		return NULL;
	assert(o->size[0] == DIGEST_SIZE);
	memcpy(id.byte, o->blob[0], DIGEST_SIZE);
	return xstrdup(digest_text(&id, text));
}

/* What could not be written is kept for another try: the last word on each tree and name, so that a long sickness fills no memory. */
static void keep_last(struct list *ops)
{
	struct map last = {.n = 0};
	list_foreach (ops, struct op, link, o) {
		if (!o->key)
			o->key = key_of(o);
		struct op *older = o->key ? map_put_text(&last, o->key, o) : NULL;
		if (older)
			op_free(older);
		if (!o->key)
			op_free(o);
	}
	map_fini(&last);
}

/* Moves what there is behind what was kept in `ops`, and counts it; false: the end. */
static bool gather(struct catalog *c, struct list *ops, uint64_t *n)
{
	struct timespec until;
	bool is_again = !list_is_empty(ops);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(is_again ? RETRY_MSEC : GATHER_MSEC) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&c->lock);
	while (!is_again && !c->n_ops && !c->is_stopping)
		pthread_cond_wait(&c->given, &c->lock);
	int r = 0;
	while (r == 0 && c->n_ops < GATHER_N && !c->is_flushing && !c->is_stopping)
		r = pthread_cond_timedwait(&c->given, &c->lock, &until);
	list_splice(ops, &c->ops);
	*n = c->n_ops;
	c->n_ops = 0;
	bool is_more = !list_is_empty(ops);
	pthread_mutex_unlock(&c->lock);
	return is_more;
}

/* What SQLite calls an I/O error may be a full disk or a quota: 0, or why nothing can be written beside `path`. */
static int try_beside(const char *path)
{
	_free_ char *name = xasprintf("%s.try", path);
	_free_ uint8_t *bytes = xmalloc(TRY_SIZE);
	memset(bytes, 'v', TRY_SIZE);
	_close_ int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : pwrite(fd, bytes, TRY_SIZE, 0);
	int r = n == TRY_SIZE ? 0 : n < 0 ? -errno : -ENOSPC;
	unlink(name);
	return r == -EDQUOT ? -ENOSPC : r;
}

static void *write_batches(void *arg)
{
	struct catalog *c = arg;
	struct list ops = LIST_INIT(ops);
	uint64_t n;
	while (gather(c, &ops, &n)) {
		int r = write_ops(c, &ops), why = r == -EIO ? try_beside(c->path) : 0;
		r = why ? why : r;
		if (r < 0)
			keep_last(&ops);
		pthread_mutex_lock(&c->lock);
		/* Tried is written, for who waits; at the end there is no other try. */
		if (r == 0 || c->is_stopping)
			list_foreach (&ops, struct op, link, o)
				op_free(o);
		if (r < 0 && c->is_stopping)
			log_errno(-r, "%s: the last uses, names and pins are lost", c->path);
		else if (r < 0 && !c->error)
			log_errno(-r, "%s: cannot be written; uses, names and pins wait in memory", c->path);
		c->error = r;
		c->n_written += n;
		c->is_flushing = c->is_flushing && c->n_written < c->n_given;
		pthread_cond_broadcast(&c->written);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static void give(struct catalog *c, const struct op *from, bool is_droppable)
{
	size_t n = 0;
	for (unsigned i = 0; i < countof(from->blob); i++)
		n += from->size[i];
	struct op *o = xmalloc(sizeof *o + n);
	uint8_t *to = (uint8_t *)(o + 1);
	*o = *from;
	list_init(&o->link);
	for (unsigned i = 0; i < countof(o->blob); i++) {
		if (o->size[i])
			memcpy(to, o->blob[i], o->size[i]);
		o->blob[i] = to;
		to += o->size[i];
	}
	pthread_mutex_lock(&c->lock);
	if (is_droppable && c->n_ops >= BACKLOG_MOST) {
		pthread_mutex_unlock(&c->lock);
		free(o);
		return;
	}
	list_append(&c->ops, &o->link);
	c->n_given++;
	/* What a person said is not left waiting for more to come. */
	if (o->kind == OP_NAME || o->kind == OP_UNNAME)
		c->is_flushing = true;
	if (++c->n_ops == 1 || c->n_ops == GATHER_N || c->is_flushing)
		pthread_cond_signal(&c->given);
	pthread_mutex_unlock(&c->lock);
}

void catalog_put_tree(struct catalog *c, const struct catalog_tree *t)
{
	const struct op o = {.kind = OP_TREE,
			     .number = {(int64_t)t->index_size, (int64_t)t->used_usec, (int64_t)t->verified_usec,
					t->is_pinned, t->is_wanted},
			     .blob = {t->id.byte, t->blobs},
			     .size = {DIGEST_SIZE, t->n_blobs * sizeof *t->blobs}};
	give(c, &o, false);
}

void catalog_drop_tree(struct catalog *c, const struct digest *id)
{
	const struct op o = {.kind = OP_DROP, .blob = {id->byte}, .size = {DIGEST_SIZE}};
	give(c, &o, false);
}

void catalog_put_name(struct catalog *c, const char *name, const struct digest *id)
{
	const struct op o = {.kind = id ? OP_NAME : OP_UNNAME,
			     .blob = {name, id ? id->byte : NULL},
			     .size = {strlen(name), id ? DIGEST_SIZE : 0}};
	give(c, &o, false);
}

void catalog_trust(struct catalog *c, const struct digest *blob)
{
	const struct op o = {.kind = OP_TRUST, .blob = {blob->byte}, .size = {DIGEST_SIZE}};
	give(c, &o, false);
}

void catalog_learn_file(struct catalog *c, const char *path, const struct signature *s, const struct digest *address)
{
	const struct op o = {.kind = OP_FILE,
			     .number = {(int64_t)time(NULL)},
			     .blob = {path, s, address->byte},
			     .size = {strlen(path), sizeof *s, DIGEST_SIZE}};
	_Static_assert(sizeof *s == 40, "no padding: signatures are compared as bytes");
	give(c, &o, true);
}

void catalog_learn_blob(struct catalog *c, const struct digest *key, const struct blob_chunks *chunks)
{
	_free_ uint8_t *bytes = xmalloc((size_t)chunks->n * DIGEST_SIZE);
	for (uint32_t i = 0; i < chunks->n; i++)
		memcpy(bytes + (size_t)i * DIGEST_SIZE, chunks->chunks[i].byte, DIGEST_SIZE);
	const struct op o = {.kind = OP_KEY,
			     .number = {(int64_t)chunks->size, chunks->chunk_size},
			     .blob = {key->byte, chunks->address.byte, bytes},
			     .size = {DIGEST_SIZE, DIGEST_SIZE, (size_t)chunks->n * DIGEST_SIZE}};
	give(c, &o, true);
}

void catalog_flush(struct catalog *c)
{
	pthread_mutex_lock(&c->lock);
	uint64_t until = c->n_given;
	while (c->n_written < until) {
		c->is_flushing = true;
		pthread_cond_signal(&c->given);
		pthread_cond_wait(&c->written, &c->lock);
	}
	pthread_mutex_unlock(&c->lock);
}

int catalog_error(struct catalog *c)
{
	pthread_mutex_lock(&c->lock);
	int r = c->error;
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- the start */

static int add_doubts(struct catalog *c, const struct digest *doubts, size_t n)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(c->db, "INSERT OR IGNORE INTO doubts VALUES (?1)", -1, &s, NULL)
			? catalog_sql_errno(c->db)
			: 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		sqlite3_bind_blob(s, 1, doubts[i].byte, DIGEST_SIZE, SQLITE_STATIC);
		r = sqlite3_step(s) == SQLITE_DONE ? 0 : catalog_sql_errno(c->db);
		sqlite3_reset(s);
	}
	sqlite3_finalize(s);
	return r;
}

int catalog_begin_boot(struct catalog *c, const char *boot_id, const struct digest *doubts, size_t n)
{
	char *boot = sqlite3_mprintf("INSERT OR REPLACE INTO meta VALUES ('boot', %Q);"
				     "DELETE FROM files WHERE learned < %lld",
				     boot_id, (long long)time(NULL) - (long long)KEEP_DAYS * 86400);
	int r = catalog_sql_exec(c->db, "BEGIN IMMEDIATE; DELETE FROM doubts");
	if (r == 0)
		r = add_doubts(c, doubts, n);
	if (r == 0)
		r = catalog_sql_exec(c->db, boot);
	if (r == 0)
		r = catalog_sql_exec(c->db, "COMMIT");
	if (r < 0)
		sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_free(boot);
	return r;
}

static int64_t number_of(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = NULL;
	int64_t n = -1;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static bool is_text(sqlite3 *db, const char *sql, const char *text)
{
	sqlite3_stmt *s = NULL;
	bool is_equal = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW &&
			sqlite3_column_text(s, 0) && streq((const char *)sqlite3_column_text(s, 0), text);
	sqlite3_finalize(s);
	return is_equal;
}

/* Opens what is there. -EUCLEAN: it is not what we wrote. */
static int open_database(struct catalog *c, const char *boot_id, bool *is_new, bool *is_new_boot)
{
	mode_t old = umask(077);
	int r = sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL)
			? catalog_sql_errno(c->db)
			: 0;
	if (r == 0)
		r = catalog_sql_exec(
			c->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8192");
	umask(old);
	if (r < 0)
		return r;
	int64_t version = number_of(c->db, "PRAGMA user_version");
	*is_new = version == 0;
	if (*is_new)
		r = number_of(c->db, "SELECT count(*) FROM sqlite_master") == 0 ? catalog_sql_exec(c->db, schema)
										: -EUCLEAN;
	else if (version != SCHEMA_VERSION)
		return -EUCLEAN;
	if (r == 0 && *is_new)
		r = catalog_sql_exec(c->db, "PRAGMA user_version = 1");
	*is_new_boot = !is_text(c->db, "SELECT value FROM meta WHERE name = 'boot'", boot_id);
	/* After a mere crash SQLite's own recovery is enough. */
	if (r == 0 && *is_new_boot && !*is_new && !is_text(c->db, "PRAGMA quick_check", "ok"))
		r = -EUCLEAN;
	for (unsigned i = 0; i < OP_N && r == 0; i++)
		if (sqlite3_prepare_v3(c->db, op_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[i], NULL))
			r = -EUCLEAN;
	return r;
}

static void close_database(struct catalog *c)
{
	for (unsigned i = 0; i < OP_N; i++) {
		sqlite3_finalize(c->statements[i]);
		c->statements[i] = NULL;
	}
	sqlite3_close(c->db);
	c->db = NULL;
}

static void remove_database(const char *path)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	for (unsigned i = 0; i < countof(ends); i++) {
		_free_ char *each = xasprintf("%s%s", path, ends[i]);
		unlink(each);
	}
}

/* A disk that is full or sick takes nobody's names away, nor the node: what is there waits for a better day, and all else is as with a lost catalog. */
static int open_anyhow(struct catalog *c, const char *boot_id, bool *is_new, bool *is_new_boot)
{
	int r = open_database(c, boot_id, is_new, is_new_boot);
	if (r == 0)
		return 0;
	close_database(c);
	int why = try_beside(c->path);
	if (why == 0) {
		log_warn("%s: damaged: made anew from the names on disk; trees' names and pins are lost", c->path);
		remove_database(c->path);
		r = open_database(c, boot_id, is_new, is_new_boot);
		if (r == 0)
			return 0;
		close_database(c);
	}
	log_error(
		"%s: cannot be opened: %s; trees' names and pins are not known, and new ones not kept, until vinefs is "
		"started again with the disk in order",
		c->path, strerror(why ? -why : -r));
	free(c->path);
	c->path = xstrdup(IN_MEMORY);
	return open_database(c, boot_id, is_new, is_new_boot);
}

int catalog_open(const char *path, const char *boot_id, struct catalog **out, bool *is_new, bool *is_new_boot)
{
	struct catalog *c = NEW(struct catalog);
	pthread_condattr_t attributes;
	c->path = xstrdup(path);
	list_init(&c->ops);
	int r = open_anyhow(c, boot_id, is_new, is_new_boot);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&c->given, &attributes);
	pthread_cond_init(&c->written, NULL);
	pthread_condattr_destroy(&attributes);
	if (r == 0) {
		sigset_t all, old;
		sigfillset(&all); /* signals are the loop's */
		pthread_sigmask(SIG_SETMASK, &all, &old);
		r = -pthread_create(&c->thread, NULL, write_batches, c);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (r < 0) {
		c->is_stopping = true;
		close_database(c);
		free(c->path);
		free(c);
		return r;
	}
	*out = c;
	return 0;
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->is_stopping = true;
	pthread_cond_broadcast(&c->given);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	assert(list_is_empty(&c->ops));
	catalog_free_readers(c);
	close_database(c);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->given);
	pthread_cond_destroy(&c->written);
	free(c->path);
	free(c);
}
