/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_read.h"

#include "vined/store_internal.h"

#define BODIES_SIZE ((size_t)16 << 20)
/* Tasks mostly start in the order in which they were submitted: who wants the next body will want those behind it. */
#define AHEAD_BODIES 64
#define AHEAD_SIZE ((size_t)256 << 10)

enum {
	SQL_BODY,
	SQL_RESULT,
	SQL_HEADS,
	SQL_LEFTOVERS,
	SQL_TASK,
	SQL_ARRAY,
	SQL_ATTEMPT,
	SQL_BINDINGS,
	SQL_ITEM,
	SQL_SHAPE,
	SQL_SETTINGS,
	SQL_RUN,
	SQL_N,
};

static const char *const texts[SQL_N] = {
	[SQL_BODY] = "SELECT id, body FROM commands WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[SQL_RESULT] =
		"SELECT place, task, attempt, node, how, status, wall_usec, cpu_usec, peak_memory, out_size, err_size,"
		" exceeded, peak_disk, local_size, moved_size, reason, delivered, n_left, written_size, peer_size, source_size, client_size "
		"FROM results "
		"WHERE task = ?1",
	[SQL_HEADS] = "SELECT out, err FROM heads WHERE task = ?1",
	[SQL_LEFTOVERS] = "SELECT names FROM leftovers WHERE task = ?1",
	[SQL_TASK] = "SELECT " STORE_TASK_COLUMNS ", key FROM tasks WHERE id = ?1",
	[SQL_ARRAY] = "SELECT " STORE_ARRAY_COLUMNS " FROM arrays WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
	[SQL_ATTEMPT] = "SELECT " STORE_ATTEMPT_COLUMNS " FROM attempts WHERE task = ?1",
	[SQL_BINDINGS] = "SELECT b.item, b.mode, b.flags, b.path, ifnull(i.name, ''), ifnull(i.signature, '') "
			 "FROM bindings b LEFT JOIN items i ON i.id = b.item "
			 "WHERE b.id >= ?1 * 65536 AND b.id < (?1 + 1) * 65536 ORDER BY b.id",
	[SQL_ITEM] = "SELECT " STORE_ITEM_COLUMNS " FROM items WHERE id = ?1",
	[SQL_SHAPE] = "SELECT " STORE_SHAPE_COLUMNS " FROM shapes WHERE id = ?1",
	[SQL_SETTINGS] = "SELECT name, value FROM settings WHERE run = ?1",
	[SQL_RUN] = "SELECT id, attached FROM runs WHERE name = ?1",
};

struct body {
	struct list link;
	uint64_t id;
	uint32_t n;
	uint8_t at[];
};

struct bodies {
	struct map by_id;
	struct list used; /* last one first */
	size_t size;
};

struct store_reader {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
	struct bodies stored; /* just now: a million submitted at once do not push out what was read */
	struct bodies read;
	uint64_t last_read;  /* the last body that was read, or read ahead */
	struct buf row;      /* what the last result's texts lie in */
	struct buf bindings; /* the last ones, behind one another: structs, then texts */
	struct buf texts;
	struct buf item; /* the last item's or shape's texts */
};

struct store_reader *store_reader_new(sqlite3 *db)
{
	struct store_reader *r = NEW(struct store_reader);
	r->db = db;
	list_init(&r->stored.used);
	list_init(&r->read.used);
	if (store_sql_prepare(db, texts, r->sql, SQL_N)) {
		store_reader_free(r);
		return NULL;
	}
	return r;
}

static void forget_body(struct bodies *all, struct body *b)
{
	map_remove(&all->by_id, b->id);
	list_remove(&b->link);
	assert(all->size >= b->n);
	all->size -= b->n;
	free(b);
}

static void forget_bodies(struct bodies *all)
{
	list_foreach (&all->used, struct body, link, b)
		forget_body(all, b);
	map_fini(&all->by_id);
}

void store_reader_free(struct store_reader *r)
{
	if (!r)
		return;
	forget_bodies(&r->stored);
	forget_bodies(&r->read);
	buf_fini(&r->row);
	buf_fini(&r->bindings);
	buf_fini(&r->texts);
	buf_fini(&r->item);
	store_sql_finalize(r->sql, SQL_N);
	free(r);
}

/* ---- bodies */

/* Tasks of one sweep share their environment and often their command, so a few hundred bodies answer almost every START. `is_used`: the caller
 * gets it. The two used last stay, for he may be holding them; what is only expected to be used lies behind them. */
static struct body *remember(struct bodies *all, uint64_t id, const struct wire_bytes *from, bool is_used)
{
	while (all->by_id.n > 2 && (all->by_id.n >= STORE_BODIES || all->size + from->n > BODIES_SIZE))
		forget_body(all, list_entry(all->used.prev, struct body, link));
	struct body *b = xmalloc(sizeof *b + from->n);
	b->id = id;
	b->n = from->n;
	if (b->n)
		memcpy(b->at, from->at, b->n);
	list_init(&b->link);
	struct list *behind = &all->used;
	for (size_t i = 0; i < 2 && !is_used && behind->next != &all->used; i++)
		behind = behind->next;
	list_prepend(behind, &b->link);
	all->size += b->n;
	map_put(&all->by_id, id, b);
	return b;
}

static struct body *use(struct bodies *all, uint64_t id)
{
	struct body *b = map_get(&all->by_id, id);
	if (b && all->used.next != &b->link) {
		list_remove(&b->link);
		list_prepend(&all->used, &b->link);
	}
	return b;
}

void store_remember_body(struct store *s, uint64_t id, const struct wire_bytes *body)
{
	struct store_reader *r = s->reader;
	assert(id);
	if (!map_get(&r->read.by_id, id) && !use(&r->stored, id))
		remember(&r->stored, id, body, true);
}

/* One statement for those behind it, too, where the last one read was just before it. */
static int read_bodies(struct store_reader *r, uint64_t id, struct body **found)
{
	sqlite3_stmt *q = r->sql[SQL_BODY];
	bool is_next = id > r->last_read && id - r->last_read <= AHEAD_BODIES;
	size_t size = 0;
	int step = SQLITE_DONE;
	*found = NULL;
	store_sql_bind(q, 2, (int64_t[]){(int64_t)id, is_next ? AHEAD_BODIES : 1});
	while (size < AHEAD_SIZE && (step = sqlite3_step(q)) == SQLITE_ROW) {
		uint64_t at = store_number(q, 0);
		const struct wire_bytes body = {sqlite3_column_blob(q, 1), (uint32_t)sqlite3_column_bytes(q, 1)};
		if (!*found && at != id)
			break;
		if (!*found)
			*found = remember(&r->read, at, &body, true);
		else if (!map_get(&r->read.by_id, at))
			remember(&r->read, at, &body, false);
		r->last_read = at;
		size += body.n;
	}
	int error = step == SQLITE_ROW || step == SQLITE_DONE ? 0 : store_sql_errno(r->db);
	store_sql_reset(q);
	/* What lies behind it is not what was asked for. */
	return *found ? 0 : error ? error : -ENOENT;
}

int store_read_body(struct store *s, uint64_t id, struct wire_bytes *body)
{
	struct store_reader *r = s->reader;
	struct body *b = use(&r->read, id);
	int error = 0;
	if (!b)
		b = use(&r->stored, id);
	if (!b)
		error = read_bodies(r, id, &b);
	if (b)
		*body = (struct wire_bytes){b->at, b->n};
	return error;
}

/* ---- single rows */

static void get_result(sqlite3_stmt *q, struct store_result *e)
{
	*e = (struct store_result){
		.id = store_number(q, 0),
		.task = store_number(q, 1),
		.attempt = store_number(q, 2),
		.node = store_number(q, 3),
		.how = (uint8_t)store_number(q, 4),
		.status = (uint32_t)store_number(q, 5),
		.wall_usec = store_number(q, 6),
		.cpu_usec = store_number(q, 7),
		.peak_memory = store_number(q, 8),
		.out_size = store_number(q, 9),
		.err_size = store_number(q, 10),
		.exceeded = (uint8_t)store_number(q, 11),
		.peak_disk = store_number(q, 12),
		.local_size = store_number(q, 13),
		.moved_size = store_number(q, 14),
		.reason = store_column_text(q, 15),
		.n_left = store_number(q, 17),
		.written_size = store_number(q, 18),
		.peer_size = store_number(q, 19),
		.source_size = store_number(q, 20),
		.client_size = store_number(q, 21),
		.left = "",
		.is_first = true,
	};
}

/* Leaves the statement on its row. */
static int step_to(struct store_reader *r, int sql, uint64_t id)
{
	sqlite3_bind_int64(r->sql[sql], 1, (int64_t)id);
	int step = sqlite3_step(r->sql[sql]);
	if (step == SQLITE_ROW)
		return 0;
	return step == SQLITE_DONE ? -ENOENT : store_sql_errno(r->db);
}

static size_t keep(struct buf *b, const void *p, size_t n)
{
	size_t at = b->n;
	if (n)
		buf_put(b, p, n);
	buf_put(b, "", 1);
	return at;
}

static size_t keep_text(struct buf *b, const char *text)
{
	return keep(b, text, strlen(text));
}

/* Copies what a row points to: a statement left on its row would hold the database as it was then. */
static void keep_texts(struct store_reader *r, struct store_task *t, struct store_result *e)
{
	struct buf *b = &r->row;
	buf_consume(b, b->n);
	size_t tag = keep_text(b, t->tag), key = keep_text(b, t->key), reason = keep_text(b, e->reason);
	size_t out = keep(b, e->out.at, e->out.n), err = keep(b, e->err.at, e->err.n), left = keep_text(b, e->left);
	const char *base = buf_text(b);
	t->tag = base + tag;
	t->key = base + key;
	e->reason = base + reason;
	e->left = base + left;
	e->out.at = base + out;
	e->err.at = base + err;
}

/* A task of its own, or an array's element. */
static int read_task(struct store_reader *r, uint64_t id, struct store_task *t)
{
	int error = step_to(r, SQL_TASK, id);
	if (!error) {
		store_get_task(r->sql[SQL_TASK], t);
		t->key = store_column_text(r->sql[SQL_TASK], 9);
	} else if (error == -ENOENT) {
		error = step_to(r, SQL_ARRAY, id);
		if (error)
			return error;
		store_get_array(r->sql[SQL_ARRAY], t);
		if (id - t->id >= t->array.n) {
			*t = (struct store_task){.tag = "", .key = ""};
			return -ENOENT;
		}
		store_make_element(t, id);
		t->key = "";
	}
	if (error)
		return error;
	error = step_to(r, SQL_ATTEMPT, id);
	if (!error)
		store_get_attempt(r->sql[SQL_ATTEMPT], t);
	return error == -ENOENT ? 0 : error;
}

static int get_heads(struct store_reader *r, struct store_result *e)
{
	sqlite3_stmt *q = r->sql[SQL_HEADS];
	int error = step_to(r, SQL_HEADS, e->task);
	if (error)
		return error == -ENOENT ? 0 : error;
	e->out = (struct wire_bytes){sqlite3_column_blob(q, 0), (uint32_t)sqlite3_column_bytes(q, 0)};
	e->err = (struct wire_bytes){sqlite3_column_blob(q, 1), (uint32_t)sqlite3_column_bytes(q, 1)};
	return 0;
}

static int get_leftovers(struct store_reader *r, struct store_result *e)
{
	int error = e->n_left ? step_to(r, SQL_LEFTOVERS, e->task) : -ENOENT;
	if (!error)
		e->left = store_column_text(r->sql[SQL_LEFTOVERS], 0);
	return error == -ENOENT ? 0 : error;
}

int store_read_result(struct store *s, uint64_t task, struct store_result *e, struct store_task *out)
{
	static const int used[] = {SQL_TASK, SQL_ARRAY, SQL_ATTEMPT, SQL_RESULT, SQL_HEADS, SQL_LEFTOVERS};
	struct store_reader *r = s->reader;
	struct store_task local = {0}, *t = out ? out : &local;
	*t = (struct store_task){.tag = "", .key = ""};
	*e = (struct store_result){.reason = "", .left = ""};
	int error = out ? read_task(r, task, t) : 0;
	if (!error)
		error = step_to(r, SQL_RESULT, task);
	if (!error) {
		get_result(r->sql[SQL_RESULT], e);
		t->state = store_number(r->sql[SQL_RESULT], 16) ? STORE_DELIVERED : STORE_ENDED;
		t->result = e->id;
		error = get_heads(r, e);
	}
	if (!error)
		error = get_leftovers(r, e);
	keep_texts(r, t, e);
	for (size_t i = 0; i < countof(used); i++)
		store_sql_reset(r->sql[used[i]]);
	return error;
}

/* Texts move while they gather: until the end they are offsets. */
static int gather_bindings(struct store_reader *r, size_t *n)
{
	sqlite3_stmt *q = r->sql[SQL_BINDINGS];
	int step;
	buf_consume(&r->bindings, r->bindings.n);
	buf_consume(&r->texts, r->texts.n);
	for (*n = 0; (step = sqlite3_step(q)) == SQLITE_ROW; ++*n) {
		const struct store_binding b = {
			.item = store_number(q, 0),
			.mode = (uint8_t)store_number(q, 1),
			.flags = (uint8_t)store_number(q, 2),
			.path = (const char *)keep_text(&r->texts, store_column_text(q, 3)),
			.name = (const char *)keep_text(&r->texts, store_column_text(q, 4)),
			.signature = (const char *)keep_text(&r->texts, store_column_text(q, 5)),
		};
		buf_put(&r->bindings, &b, sizeof b);
	}
	return step == SQLITE_DONE ? 0 : store_sql_errno(r->db);
}

static int read_bindings(struct store_reader *r, uint64_t task, size_t *n)
{
	sqlite3_bind_int64(r->sql[SQL_BINDINGS], 1, (int64_t)task);
	int error = gather_bindings(r, n);
	store_sql_reset(r->sql[SQL_BINDINGS]);
	return error;
}

int store_read_bindings(struct store *s, uint64_t task, const struct store_binding **at, size_t *n)
{
	struct store_reader *r = s->reader;
	int error = read_bindings(r, task, n);
	if (!error && !*n && step_to(r, SQL_ARRAY, task) == 0) {
		uint64_t array = store_number(r->sql[SQL_ARRAY], 0), size = store_number(r->sql[SQL_ARRAY], 9);
		if (task - array < size && task != array)
			error = read_bindings(r, array, n);
	}
	store_sql_reset(r->sql[SQL_ARRAY]);
	struct store_binding *b = (struct store_binding *)(void *)r->bindings.at;
	const char *base = buf_text(&r->texts);
	for (size_t i = 0; i < *n && !error; i++) {
		b[i].path = base + (size_t)b[i].path;
		b[i].name = base + (size_t)b[i].name;
		b[i].signature = base + (size_t)b[i].signature;
	}
	*at = b;
	return error;
}

int store_read_item(struct store *s, uint64_t id, struct store_item *i)
{
	struct store_reader *r = s->reader;
	int error = step_to(r, SQL_ITEM, id);
	if (!error) {
		store_get_item(r->sql[SQL_ITEM], i);
		buf_consume(&r->item, r->item.n);
		size_t name = keep_text(&r->item, i->name), signature = keep_text(&r->item, i->signature);
		i->name = buf_text(&r->item) + name;
		i->signature = buf_text(&r->item) + signature;
	}
	store_sql_reset(r->sql[SQL_ITEM]);
	return error;
}

int store_read_shape(struct store *s, uint64_t id, struct store_shape *shape)
{
	struct store_reader *r = s->reader;
	int error = step_to(r, SQL_SHAPE, id);
	if (!error) {
		struct store_shape *p = shape;
		store_get_shape(r->sql[SQL_SHAPE], p);
		buf_consume(&r->item, r->item.n);
		size_t named = keep_text(&r->item, p->named), counters = keep_text(&r->item, p->counters);
		size_t features = keep_text(&r->item, p->features), category = keep_text(&r->item, p->category);
		size_t how = keep_text(&r->item, p->how);
		const char *base = buf_text(&r->item);
		p->named = base + named;
		p->counters = base + counters;
		p->features = base + features;
		p->category = base + category;
		p->how = base + how;
	}
	store_sql_reset(r->sql[SQL_SHAPE]);
	return error;
}

int store_read_settings(struct store *s, uint64_t run,
			void (*on_setting)(void *arg, uint64_t run, const char *name, const char *value), void *arg)
{
	sqlite3_stmt *q = s->reader->sql[SQL_SETTINGS];
	int step;
	sqlite3_bind_int64(q, 1, (int64_t)run);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		on_setting(arg, run, store_column_text(q, 0), store_column_text(q, 1));
	int r = step == SQLITE_DONE ? 0 : store_sql_errno(s->reader->db);
	store_sql_reset(q);
	return r;
}

int store_find_run(struct store *s, const char *name, struct store_run *run)
{
	sqlite3_stmt *q = s->reader->sql[SQL_RUN];
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	int step = sqlite3_step(q), r = 0;
	if (step == SQLITE_ROW)
		*run = (struct store_run){store_number(q, 0), name, store_number(q, 1) != 0};
	else
		r = step == SQLITE_DONE ? -ENOENT : store_sql_errno(s->reader->db);
	store_sql_reset(q);
	return r;
}
