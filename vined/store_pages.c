/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_pages.h"

#include "vined/store_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE STORE_PAGE_SIZE
#define LEAF 13
#define INTERIOR 5
#define DEPTH_MAX 20
#define CELLS_MAX (PAGE / 4)
#define ROW_MAX ((uint64_t)64 << 20)

struct store_pages {
	int fd;
	uint32_t n;
	bool has_sums, is_torn;
	uint64_t n_damaged;
	size_t usable;
	struct store_log log;
	struct map logged; /* page => its bytes in the log */
	struct store_set visited, damaged;
};

static uint32_t get_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* ---- the log */

/* Up to the last commit. Where the log is damaged, what lies behind is better than what it was written over. */
static void read_log(struct store_pages *p, const char *path)
{
	struct store_log *l = &p->log;
	store_log_read(path, l);
	bool is_damaged = l->n_beyond > 1;
	p->n_damaged += is_damaged;
	for (size_t at = l->end ? l->end : STORE_LOG_HEADER; is_damaged && at + STORE_LOG_FRAME <= l->size;
	     at += STORE_LOG_FRAME) {
		uint32_t n_pages = store_get_be32(l->at + at + 4);
		if (n_pages && store_log_is_whole(l, at)) {
			l->end = at + STORE_LOG_FRAME;
			l->n_pages = n_pages;
		}
	}
	if (l->end)
		p->n = l->n_pages;
	for (size_t at = STORE_LOG_HEADER; at < l->end; at += STORE_LOG_FRAME) {
		if (store_log_is_whole(l, at) || !is_damaged)
			map_put(&p->logged, store_get_be32(l->at + at), l->at + at + STORE_LOG_FRAME - PAGE);
	}
}

/* ---- pages */

/* NULL: it is damaged, or there is none. `to` has room for one. */
static const uint8_t *read_page(struct store_pages *p, uint32_t page, uint8_t *to)
{
	const uint8_t *logged = map_get(&p->logged, page);
	if (logged)
		return logged;
	if (!page || page > p->n || store_set_has(&p->damaged, page))
		return NULL;
	uint64_t offset = (uint64_t)(page - 1) * PAGE;
	bool is_sound = pread(p->fd, to, PAGE, (off_t)offset) == PAGE;
	is_sound = is_sound && (!p->has_sums || store_page_is_sound(to, offset));
	if (is_sound)
		return to;
	store_set_add(&p->damaged, page);
	p->n_damaged++;
	return NULL;
}

/* The header may be what is damaged, so the pages themselves are asked. */
static bool find_sums(struct store_pages *p)
{
	uint8_t page[PAGE];
	unsigned n_with = 0, n_without = 0;
	for (uint32_t i = 0; i < min(p->n, 64u); i++) {
		if (pread(p->fd, page, PAGE, (off_t)i * PAGE) != PAGE)
			break;
		bool has_sum = get_le64(page + PAGE - STORE_SUM_SIZE) == store_page_sum(page, (uint64_t)i * PAGE);
		n_with += has_sum;
		n_without += !has_sum;
	}
	return n_with > n_without / 8;
}

int store_pages_open(struct store_pages **out, const char *path)
{
	_cleanup_(store_pages_freep) struct store_pages *p = NEW(struct store_pages);
	struct stat st;
	p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		return -errno;
	p->n = (uint32_t)min((st.st_size + PAGE - 1) / PAGE, (off_t)UINT32_MAX - 1);
	p->has_sums = find_sums(p);
	read_log(p, path);
	/* Pages of the log have the room for sums, too, if the file has. */
	const uint8_t *first = map_get(&p->logged, 1);
	p->usable = PAGE - (p->has_sums || (first && store_page_has_sums(first)) ? STORE_SUM_SIZE : 0);
	*out = steal(p);
	return 0;
}

void store_pages_free(struct store_pages *p)
{
	if (!p)
		return;
	close_fd(p->fd);
	map_fini(&p->logged);
	store_set_fini(&p->visited);
	store_set_fini(&p->damaged);
	free(p->log.at);
	free(p);
}

uint32_t store_pages_n(const struct store_pages *p)
{
	return p->n;
}

uint64_t store_pages_n_damaged(const struct store_pages *p)
{
	return p->n_damaged;
}

bool store_pages_is_torn(const struct store_pages *p)
{
	return p->is_torn;
}

bool store_pages_is_visited(const struct store_pages *p, uint32_t page)
{
	return store_set_has(&p->visited, page);
}

/* ---- cells */

/* 0: it does not end before `end`. */
static size_t get_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < 9 && p + i < end; i++) {
		if (i == 8) {
			*value = *value << 8 | p[i];
			return 9;
		}
		*value = *value << 7 | (p[i] & 0x7f);
		if (!(p[i] & 0x80))
			return i + 1;
	}
	return 0;
}

static const uint8_t *page_header(const uint8_t *at, uint32_t page)
{
	return at + (page == 1 ? 100 : 0);
}

/* Offset of a cell, or 0 if there can be none. */
static size_t cell_at(const struct store_pages *p, const uint8_t *at, uint32_t page, uint32_t i)
{
	const uint8_t *h = page_header(at, page);
	const uint8_t *slot = h + (h[0] == LEAF ? 8 : 12) + 2 * (size_t)i;
	if (slot + 2 > at + p->usable)
		return 0;
	size_t offset = get_be16(slot);
	return offset >= 8 && offset + 4 <= p->usable ? offset : 0;
}

bool store_pages_is_leaf(struct store_pages *p, uint32_t page)
{
	uint8_t room[PAGE];
	const uint8_t *at = read_page(p, page, room);
	return at && page_header(at, page)[0] == LEAF;
}

/* ---- trees */

static void lose(struct store_pages *p, const struct store_walk *w, int64_t above, int64_t most)
{
	/* It may have led to others. */
	p->is_torn = true;
	if (w->on_lost)
		w->on_lost(w->arg, above, most);
}

static void walk(struct store_pages *p, uint32_t page, const struct store_walk *w, int64_t above, int64_t most,
		 unsigned depth)
{
	uint8_t room[PAGE];
	const uint8_t *at = depth < DEPTH_MAX && !store_set_has(&p->visited, page) ? read_page(p, page, room) : NULL;
	const uint8_t *h = at ? page_header(at, page) : NULL;
	if (!at || (h[0] != LEAF && h[0] != INTERIOR)) {
		lose(p, w, above, most);
		return;
	}
	store_set_add(&p->visited, page);
	if (h[0] == LEAF) {
		w->on_leaf(w->arg, page);
		return;
	}
	uint32_t n = min(get_be16(h + 3), (uint32_t)CELLS_MAX);
	for (uint32_t i = 0; i < n; i++) {
		size_t offset = cell_at(p, at, page, i);
		uint64_t key = 0;
		if (!offset || !get_varint(at + offset + 4, at + p->usable, &key)) {
			lose(p, w, above, most);
			continue;
		}
		walk(p, store_get_be32(at + offset), w, above, (int64_t)key, depth + 1);
		above = (int64_t)key;
	}
	walk(p, store_get_be32(h + 8), w, above, most, depth + 1);
}

void store_pages_walk(struct store_pages *p, uint32_t root, const struct store_walk *w)
{
	walk(p, root, w, INT64_MIN, INT64_MAX, 0);
}

void store_pages_visit_free(struct store_pages *p)
{
	uint8_t room[PAGE];
	const uint8_t *at = read_page(p, 1, room);
	uint32_t trunk = at ? store_get_be32(at + 32) : 0;
	while (trunk && trunk <= p->n && !store_set_has(&p->visited, trunk)) {
		store_set_add(&p->visited, trunk);
		at = read_page(p, trunk, room);
		if (!at)
			return;
		uint32_t n = min(store_get_be32(at + 4), (uint32_t)(PAGE / 4 - 2));
		for (uint32_t i = 0; i < n; i++) {
			uint32_t leaf = store_get_be32(at + 8 + 4 * (size_t)i);
			if (leaf <= p->n)
				store_set_add(&p->visited, leaf);
		}
		trunk = store_get_be32(at);
	}
}

/* ---- rows */

/* The rest of a row lies on pages of its own, each with the number of the next. */
static bool read_overflow(struct store_pages *p, uint32_t page, uint8_t *to, size_t n)
{
	uint8_t room[PAGE];
	while (n) {
		const uint8_t *at = read_page(p, page, room);
		size_t part = min(n, p->usable - 4);
		if (!at)
			return false;
		memcpy(to, at + 4, part);
		to += part;
		n -= part;
		page = store_get_be32(at);
	}
	return true;
}

/* The cell's payload, yours to free; NULL: it is not whole. */
static uint8_t *read_payload(struct store_pages *p, const uint8_t *cell, const uint8_t *end, uint64_t *n,
			     int64_t *rowid)
{
	uint64_t id = 0;
	size_t a = get_varint(cell, end, n), b = a ? get_varint(cell + a, end, &id) : 0;
	size_t most = p->usable - 35, least = (p->usable - 12) * 32 / 255 - 23, here = (size_t)*n;
	if (!b || *n > ROW_MAX)
		return NULL;
	*rowid = (int64_t)id;
	cell += a + b;
	if (*n > most) {
		here = least + (size_t)((*n - least) % (p->usable - 4));
		if (here > most)
			here = least;
	}
	if (cell + here + (here < *n ? 4 : 0) > end)
		return NULL;
	uint8_t *payload = malloc((size_t)*n + 1);
	if (!payload)
		return NULL;
	memcpy(payload, cell, here);
	if (here == *n || read_overflow(p, store_get_be32(cell + here), payload + here, (size_t)*n - here))
		return payload;
	free(payload);
	return NULL;
}

/* Reads a value of this type at `at`; its size, or SIZE_MAX. */
static size_t get_value(uint64_t type, const uint8_t *at, size_t room, struct store_value *v)
{
	static const size_t sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
	size_t n = type < countof(sizes) ? sizes[type] : (size_t)(type - 12) / 2;
	*v = (struct store_value){.type = STORE_NULL};
	if (type == 10 || type == 11 || n > room)
		return SIZE_MAX;
	if (type >= 12) {
		v->type = type & 1 ? STORE_TEXT : STORE_BLOB;
		v->at = at;
		v->n = n;
	} else if (type) {
		v->type = type == 7 ? STORE_REAL : STORE_INTEGER;
		v->number = type == 9 ? 1 : n && at[0] & 0x80 ? -1 : 0;
		for (size_t i = 0; i < n; i++)
			v->number = (int64_t)((uint64_t)v->number << 8 | at[i]);
	}
	return n;
}

static bool get_record(const uint8_t *payload, uint64_t n, struct store_record *r)
{
	uint64_t header = 0, type = 0;
	size_t at = get_varint(payload, payload + n, &header), value = (size_t)header;
	if (!at || header > n)
		return false;
	for (r->n = 0; at < header && r->n < STORE_COLUMNS_MAX; r->n++) {
		size_t step = get_varint(payload + at, payload + header, &type);
		size_t size = step ? get_value(type, payload + value, (size_t)n - value, &r->at[r->n]) : SIZE_MAX;
		if (size == SIZE_MAX)
			return false;
		at += step;
		value += size;
	}
	return at == header && value == n;
}

uint32_t store_pages_rows(struct store_pages *p, uint32_t page, void (*on_row)(void *arg, const struct store_record *r),
			  void *arg)
{
	uint8_t room[PAGE];
	const uint8_t *at = read_page(p, page, room);
	uint32_t n_lost = 0, n = at ? min(get_be16(page_header(at, page) + 3), (uint32_t)CELLS_MAX) : 0;
	for (uint32_t i = 0; i < n; i++) {
		struct store_record r;
		uint64_t size = 0;
		size_t offset = cell_at(p, at, page, i);
		_free_ uint8_t *payload = offset ? read_payload(p, at + offset, at + p->usable, &size, &r.rowid) : NULL;
		if (payload && get_record(payload, size, &r))
			on_row(arg, &r);
		else
			n_lost++;
	}
	return n_lost;
}
