/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store.h"

#include "common/log.h"
#include "vined/store_internal.h"
#include "vined/store_log.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#define BLOCK_SIZE ((size_t)16 << 10)
#define RETRY_USEC 1000000u
#define CHORE_USEC ((uint64_t)20000) /* after so much quiet */
#define OVERDUE_USEC ((uint64_t)1000000)
/* A transaction takes this much and leaves the rest for the next: the first promise in it need not wait for the last. */
#define COMMIT_SIZE ((size_t)16 << 20)

/* ---- batches */

static struct store_batch *batch_new(struct store *s)
{
	struct store_batch *b = NEW(struct store_batch);
	list_init(&b->link);
	list_init(&b->ops);
	list_init(&b->blocks);
	b->store = s;
	return b;
}

static void batch_free(struct store_batch *b)
{
	list_remove(&b->link);
	timer_stop(&b->retry);
	list_foreach (&b->blocks, struct store_block, link, block)
		free(block);
	free(b);
}

DEFINE_FREEP(struct store_batch, batch_free)

void *store_alloc(struct store *s, size_t n)
{
	struct store_batch *b = s->open;
	size_t need = (n + 15) & ~(size_t)15;
	struct store_block *block =
		list_is_empty(&b->blocks) ? NULL : list_entry(b->blocks.prev, struct store_block, link);
	assert(b);
	if (!block || block->room - block->used < need) {
		size_t room = max(need, BLOCK_SIZE);
		block = xmalloc(sizeof *block + room);
		block->used = 0;
		block->room = room;
		list_init(&block->link);
		list_append(&b->blocks, &block->link);
	}
	void *p = block->at + block->used;
	block->used += need;
	b->size += need;
	s->backlog += need;
	return p;
}

const char *store_text(struct store *s, const char *text)
{
	size_t n = text ? strlen(text) : 0;
	char *copy = store_alloc(s, n + 1);
	if (n)
		memcpy(copy, text, n);
	copy[n] = 0;
	return copy;
}

/* Operations and all they point to lie in their batch's blocks: nothing is freed one by one. */
void store_put(struct store *s, const struct store_op *op)
{
	struct store_op *copy = store_alloc(s, sizeof *copy);
	/* A promise needs an answer either way; what is kept hears only of success. */
	assert(op->kind <= STORE_FORGET);
	*copy = *op;
	list_init(&copy->link);
	list_append(&s->open->ops, &copy->link);
}

const struct metrics_times *store_commit_times(const struct store *s)
{
	return &s->commits;
}

bool store_is_failing(const struct store *s)
{
	return s->is_failing;
}

size_t store_backlog(const struct store *s)
{
	return s->backlog;
}

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The lock is held for a few pointers, never while anything is written. */
static void give(struct store *s, struct store_batch *b)
{
	assert(list_is_empty(&b->link));
	pthread_mutex_lock(&s->lock);
	list_append(&s->given, &b->link);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void store_flush(struct store *s)
{
	/* After store_finish() nothing more is promised. */
	if (!s->is_running || list_is_empty(&s->open->ops))
		return;
	struct store_batch *b = s->open;
	s->open = batch_new(s);
	b->given_usec = now_usec();
	give(s, b);
}

/* ---- back on the loop's thread */

static void on_retry(struct timer *t)
{
	struct store_batch *b = container_of(t, struct store_batch, retry);
	list_remove(&b->link);
	give(b->store, b);
}

/* Once when it begins and once when it is over, however many commits fail between. */
static void say_health(struct store *s, int error)
{
	if (error && !s->is_failing)
		log_error("database: cannot commit: %s; requests are refused until it can", strerror(-error));
	else if (!error && s->is_failing)
		log_info("database: commits succeed again");
	s->is_failing = error != 0;
}

static void on_committed(struct post *p)
{
	struct store_batch *b = container_of(p, struct store_batch, post);
	struct store *s = b->store;
	say_health(s, b->error);
	if (!b->error)
		metrics_time(&s->commits, now_usec() - b->given_usec);
	list_foreach (&b->ops, struct store_op, link, op) {
		if (b->error && op->is_kept)
			continue;
		list_remove(&op->link);
		if (op->on_stored)
			op->on_stored(op, b->error);
	}
	if (list_is_empty(&b->ops)) {
		assert(s->backlog >= b->size);
		s->backlog -= b->size;
		batch_free(b);
		return;
	}
	list_append(&s->retries, &b->link);
	timer_start(&b->retry, s->loop, RETRY_USEC, on_retry);
}

/* ---- the writer thread */

/* Waits for something to commit, at most so long. Under the lock. */
static void wait_given(struct store *s, uint64_t usec)
{
	uint64_t until = now_usec() + usec;
	const struct timespec t = {(time_t)(until / 1000000), (long)(until % 1000000) * 1000};
	int r = 0;
	while (list_is_empty(&s->given) && !s->is_stopping && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&s->wake, &s->lock, &t);
}

/* What is not urgent. Under the lock, which it lets go of meanwhile. Returns in how long it wants its next turn. */
static uint64_t do_chores(struct store *s)
{
	pthread_mutex_unlock(&s->lock);
	store_wal_care(s, true);
	uint64_t usec = store_archive_step(s->archive);
	s->chore_usec = now_usec();
	pthread_mutex_lock(&s->lock);
	return max(usec, CHORE_USEC);
}

/* Moves what has gathered, up to COMMIT_SIZE, into `taken`. False: there is nothing and never will be. Chores wait until nobody has wanted
 * anything for a moment; where that never comes, they get a turn now and then. */
static bool take(struct store *s, struct list *taken)
{
	size_t size = 0;
	uint64_t usec = CHORE_USEC;
	pthread_mutex_lock(&s->lock);
	if (!s->is_stopping && now_usec() - s->chore_usec > OVERDUE_USEC)
		do_chores(s);
	while (list_is_empty(&s->given) && !s->is_stopping) {
		wait_given(s, usec);
		if (list_is_empty(&s->given) && !s->is_stopping)
			usec = do_chores(s);
	}
	/* While this thread was committing, others have gathered: that is all the grouping there is. */
	while (!list_is_empty(&s->given) && size < COMMIT_SIZE) {
		struct store_batch *b = list_first(&s->given, struct store_batch, link);
		size += b->size;
		list_remove(&b->link);
		list_append(taken, &b->link);
	}
	pthread_mutex_unlock(&s->lock);
	return !list_is_empty(taken);
}

static void *write_batches(void *arg)
{
	struct store *s = arg;
	struct list taken;
	list_init(&taken);
	s->chore_usec = now_usec();
	while (take(s, &taken)) {
		int error = store_writer_commit(s->writer, &taken);
		list_foreach (&taken, struct store_batch, link, b) {
			list_remove(&b->link);
			b->error = error;
			b->post.on_post = on_committed;
			loop_post(s->loop, &b->post);
		}
		store_wal_care(s, false);
	}
	return NULL;
}

void store_keep(struct store *s, uint64_t keep_usec)
{
	assert(!s->is_running);
	s->is_keeping = true;
	s->keep_usec = keep_usec;
}

int store_start(struct store *s, struct loop *l)
{
	assert(!s->is_running);
	s->loop = l;
	s->open = batch_new(s);
	const char *slash = strrchr(s->path, '/');
	_free_ char *archive = xasprintf("%.*sarchive.sqlite", slash ? (int)(slash + 1 - s->path) : 0, s->path);
	s->archive = store_archive_new(s, archive);
	store_wal_watch(s);
	sigset_t all, old;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&s->thread, NULL, write_batches, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->is_running = r == 0;
	return -r;
}

void store_finish(struct store *s)
{
	if (!s->is_running)
		return;
	store_flush(s);
	pthread_mutex_lock(&s->lock);
	s->is_stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->is_running = false;
}

/* ---- opening */

static int get_text(sqlite3 *db, const char *sql, char *to, size_t room)
{
	sqlite3_stmt *q = NULL;
	int r = sqlite3_prepare_v2(db, sql, -1, &q, NULL) ? store_sql_errno(db) : 0;
	if (!r) {
		int step = sqlite3_step(q);
		if (step == SQLITE_ROW)
			snprintf(to, room, "%s", (const char *)sqlite3_column_text(q, 0));
		else
			r = step == SQLITE_DONE ? -ENOENT : store_sql_errno(db);
	}
	sqlite3_finalize(q);
	return r;
}

/* The cluster's uuid is made once; the boot number rises at every start, before anyone is listened to. */
static int begin_boot(struct store *s)
{
	char text[32], fresh[UUID_TEXT_SIZE];
	char *sql = sqlite3_mprintf("BEGIN IMMEDIATE;"
				    "INSERT INTO meta VALUES ('cluster', %Q) ON CONFLICT DO NOTHING;"
				    "INSERT INTO meta VALUES ('boot', 1) ON CONFLICT DO UPDATE SET value = value + 1;"
				    /* Nobody holds a run yet, so those whose tasks have all gone may go, too. */
				    "INSERT INTO meta SELECT 'last_run', ifnull(max(id), 0) FROM runs WHERE true "
				    "ON CONFLICT DO UPDATE SET value = max(value, excluded.value);"
				    "DELETE FROM runs WHERE archived AND id NOT IN (SELECT run FROM submits);"
				    "DELETE FROM settings WHERE run AND run NOT IN (SELECT id FROM runs);"
				    /* store_ends.c: what another vined has not kept up with is worth nothing. */
				    "CREATE TABLE IF NOT EXISTS ends (run INTEGER PRIMARY KEY, good INTEGER NOT NULL,"
				    " failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, worst INTEGER NOT NULL);"
				    "DELETE FROM ends WHERE run NOT IN (SELECT id FROM runs) OR NOT EXISTS"
				    " (SELECT 1 FROM meta b, meta e WHERE b.name = 'boot' AND e.name = 'ends_boot'"
				    " AND e.value + 1 = b.value);"
				    "INSERT INTO meta SELECT 'ends_boot', value FROM meta WHERE name = 'boot' "
				    "ON CONFLICT DO UPDATE SET value = excluded.value;"
				    "COMMIT",
				    secret_uuid(fresh));
	int r = store_sql_exec(s->db, sql);
	sqlite3_free(sql);
	if (r) {
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		return r;
	}
	r = get_text(s->db, "SELECT value FROM meta WHERE name = 'cluster'", s->cluster, sizeof s->cluster);
	if (!r)
		r = get_text(s->db, "SELECT value FROM meta WHERE name = 'boot'", text, sizeof text);
	if (!r)
		s->boot = strtoull(text, NULL, 10);
	if (!r)
		r = get_text(s->db, "SELECT value FROM meta WHERE name = 'moved'", s->moved, sizeof s->moved);
	return r == -ENOENT ? 0 : r;
}

static int open_all(struct store *s, const struct store_options *o, struct conf_error *e)
{
	if (store_log_is_damaged(o->path))
		return store_sql_say(e, -EUCLEAN, o->path, "commits in its write-ahead log cannot be read");
	int r = store_sql_open(o->path, false, o->exclusive, &s->db, e);
	if (!r)
		r = store_migrate(s->db, o->path, &store_migrations, e);
	if (r)
		return r;
	r = begin_boot(s);
	if (!r && !(s->writer = store_writer_new(s->db, s->boot)))
		r = min(store_sql_errno(s->db), -1);
	if (r)
		return store_sql_say(e, r, o->path, "cannot write to the database");
	if (o->exclusive)
		s->reader_db = s->db;
	else
		r = store_sql_open(o->path, true, false, &s->reader_db, e);
	if (!r && (!(s->reader = store_reader_new(s->reader_db)) || !(s->rows = store_rows_new(s->reader_db)) ||
		   !(s->past = store_past_new(s->reader_db))))
		r = store_sql_say(e, min(store_sql_errno(s->reader_db), -1), o->path, "cannot read the database");
	return r;
}

int store_open(struct store **out, const struct store_options *o, struct conf_error *e)
{
	_cleanup_(store_freep) struct store *s = NEW(struct store);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	s->path = xstrdup(o->path);
	list_init(&s->given);
	list_init(&s->retries);
	int r = open_all(s, o, e);
	if (r)
		return r;
	assert(s->boot > 0 && s->cluster[0]);
	*out = steal(s);
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	store_finish(s);
	list_foreach (&s->retries, struct store_batch, link, b)
		batch_free(b);
	if (s->open)
		batch_free(s->open);
	store_archive_free(s->archive);
	store_set_fini(&s->untold);
	store_reader_free(s->reader);
	store_rows_free(s->rows);
	store_past_free(s->past);
	store_writer_free(s->writer);
	if (s->reader_db != s->db)
		sqlite3_close(s->reader_db);
	sqlite3_close(s->db);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

const char *store_cluster(const struct store *s)
{
	return s->cluster;
}

const char *store_moved(const struct store *s)
{
	return s->moved;
}

uint64_t store_boot(const struct store *s)
{
	return s->boot;
}
