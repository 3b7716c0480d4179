/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_log.h"

#include "common/path.h"

#define PAGE STORE_PAGE_SIZE
#define LOG_MOST ((size_t)4 << 30)

struct log_sum {
	uint32_t a, b;
};

static void add_sum(struct log_sum *s, const uint8_t *p, size_t n, bool is_big)
{
	for (size_t i = 0; i < n; i += 8) {
		s->a += (is_big ? store_get_be32(p + i) : get_le32(p + i)) + s->b;
		s->b += (is_big ? store_get_be32(p + i + 4) : get_le32(p + i + 4)) + s->a;
	}
}

static bool is_sum(const struct log_sum *s, const uint8_t *p)
{
	return s->a == store_get_be32(p) && s->b == store_get_be32(p + 4);
}

static bool is_of_log(const uint8_t *log, const uint8_t *frame)
{
	return memcmp(frame + 8, log + 16, 8) == 0;
}

/* One of the two is enough: the header may be what is damaged. Of a log that was before this one both differ. */
static bool is_likely_of_log(const uint8_t *log, const uint8_t *frame)
{
	return memcmp(frame + 8, log + 16, 4) == 0 || memcmp(frame + 12, log + 20, 4) == 0;
}

bool store_log_is_whole(const struct store_log *l, size_t at)
{
	const uint8_t *frame = l->at + at;
	const uint8_t *before = at == STORE_LOG_HEADER ? l->at + 24 : frame - STORE_LOG_FRAME + 16;
	struct log_sum sum = {store_get_be32(before), store_get_be32(before + 4)};
	assert(at >= STORE_LOG_HEADER && at + STORE_LOG_FRAME <= l->size);
	add_sum(&sum, frame, 8, l->is_big);
	add_sum(&sum, frame + 24, PAGE, l->is_big);
	return is_likely_of_log(l->at, frame) && is_sum(&sum, frame + 16);
}

/* Commits that follow one another, each frame's sum going on from that of the one before. A commit whose sync failed may have left its
 * own behind, but never two in a row. */
static unsigned count_beyond(const struct store_log *l, size_t at)
{
	unsigned n = 0, most = 0;
	for (at += STORE_LOG_FRAME; at + STORE_LOG_FRAME <= l->size; at += STORE_LOG_FRAME) {
		n = store_log_is_whole(l, at) ? n + (store_get_be32(l->at + at + 4) != 0) : 0;
		most = max(most, n);
	}
	return most;
}

static void scan(struct store_log *l)
{
	const uint8_t *log = l->at;
	size_t size = l->size;
	struct log_sum sum = {0, 0};
	size_t at = STORE_LOG_HEADER;
	if (size < STORE_LOG_HEADER)
		return;
	bool is_big = l->is_big = store_get_be32(log) & 1;
	add_sum(&sum, log, 24, is_big);
	if ((store_get_be32(log) & ~1u) != 0x377f0682 || store_get_be32(log + 8) != PAGE || !is_sum(&sum, log + 24)) {
		/* Which way round its numbers are may be what is damaged. */
		l->is_big =
			size >= STORE_LOG_HEADER + 2 * STORE_LOG_FRAME && !store_log_is_whole(l, at + STORE_LOG_FRAME)
				? !is_big
				: is_big;
		l->n_beyond = count_beyond(l, at);
		return;
	}
	for (; at + STORE_LOG_FRAME <= size && is_of_log(log, log + at); at += STORE_LOG_FRAME) {
		add_sum(&sum, log + at, 8, is_big);
		add_sum(&sum, log + at + 24, PAGE, is_big);
		if (!is_sum(&sum, log + at + 16))
			break;
		if (store_get_be32(log + at + 4)) {
			l->end = at + STORE_LOG_FRAME;
			l->n_pages = store_get_be32(log + at + 4);
		}
	}
	l->n_beyond = count_beyond(l, at);
}

void store_log_read(const char *path, struct store_log *l)
{
	_free_ char *log_path = xasprintf("%s-wal", path);
	*l = (struct store_log){0};
	l->at = (uint8_t *)path_read(log_path, LOG_MOST, &l->size);
	if (l->at)
		scan(l);
}

/* Each commit is on disk before the next begins, so only the last can have been cut off. */
bool store_log_is_damaged(const char *path)
{
	struct store_log l;
	store_log_read(path, &l);
	free(l.at);
	return l.n_beyond > 1;
}
