/* SPDX-License-Identifier: Apache-2.0
 * Rows from one database into another, as they are. */
#include "vined/store_internal.h"

static int prepare_insert(sqlite3 *to, const char *table, int n, sqlite3_stmt **insert)
{
	struct buf sql = {0};
	buf_printf(&sql, "INSERT OR REPLACE INTO %s VALUES (", table);
	for (int i = 0; i < n; i++)
		buf_puts(&sql, i ? ",?" : "?");
	buf_puts(&sql, ")");
	int r = sqlite3_prepare_v2(to, buf_text(&sql), -1, insert, NULL) ? store_sql_errno(to) : 0;
	buf_fini(&sql);
	return r;
}

static int copy_row(sqlite3_stmt *select, sqlite3 *to, sqlite3_stmt *insert)
{
	for (int i = 0; i < sqlite3_column_count(select); i++)
		sqlite3_bind_value(insert, i + 1, sqlite3_column_value(select, i));
	return store_sql_step(to, insert);
}

int store_copy(sqlite3 *from, const char *select, uint64_t first, uint64_t end, sqlite3 *to, const char *table,
	       uint64_t *n)
{
	sqlite3_stmt *q = NULL, *insert = NULL;
	int r = sqlite3_prepare_v2(from, select, -1, &q, NULL) ? store_sql_errno(from) : 0, step = SQLITE_DONE;
	if (!r)
		r = prepare_insert(to, table, sqlite3_column_count(q), &insert);
	for (int i = 1; !r && i <= sqlite3_bind_parameter_count(q); i++)
		sqlite3_bind_int64(q, i, (int64_t)(i == 1 ? first : end));
	while (!r && (step = sqlite3_step(q)) == SQLITE_ROW) {
		r = copy_row(q, to, insert);
		*n += r == 0;
	}
	if (!r && step != SQLITE_DONE)
		r = store_sql_errno(from);
	sqlite3_finalize(q);
	sqlite3_finalize(insert);
	return r;
}
