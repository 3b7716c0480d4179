/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/internal.h"

#include "common/log.h"
#include "common/path.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define HEAD "vine sources 1\n"
#define SIZE_MOST (64u << 20)
#define RECORDS_MOST 8u /* trees that one path was; older ones are forgotten */
#define TOLD_MOST 256u

/* ---- one */

static struct source *source_new(struct fetch *f, const char *path)
{
	struct source *s = NEW(struct source);
	s->path = xstrdup(path);
	list_init(&s->link);
	list_init(&s->records);
	list_init(&s->fills);
	pool_lane_init(&s->lane, f->settings.n_per_source, false);
	list_append(&f->sources, &s->link);
	return s;
}

static void source_free(struct source *s)
{
	char *text;
	assert(list_is_empty(&s->fills));
	list_foreach (&s->records, struct record, link, r) {
		list_remove(&r->link);
		free(r);
	}
	for (size_t i = 0; (text = map_next(&s->told, &i));)
		free(text);
	map_fini(&s->told);
	list_remove(&s->link);
	free(s->path);
	free(s->error);
	free(s);
}

void sources_free(struct fetch *f)
{
	list_foreach (&f->sources, struct source, link, s)
		source_free(s);
}

struct source *source_get(const struct fetch *f, const char *path)
{
	list_foreach (&f->sources, struct source, link, s) {
		if (streq(s->path, path))
			return s;
	}
	return NULL;
}

void source_told(struct fetch *f, const char *path, const struct digest *id)
{
	struct source *s = source_get(f, path);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!s)
		return;
	list_foreach (&s->records, struct record, link, r) {
		if (digest_is_equal(&r->id, id))
			r->sealed_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	}
}

const struct record *source_record(const struct source *s, const struct digest *id)
{
	list_foreach (&s->records, struct record, link, r) {
		if (digest_is_equal(&r->id, id))
			return r;
	}
	return NULL;
}

static unsigned count(const struct list *l)
{
	unsigned n = 0;
	for (const struct list *at = l->next; at != l; at = at->next)
		n++;
	return n;
}

static void adopt(struct source *s, const struct fetch *f, const struct record *r)
{
	/* An archive is read from front to end: one reader gives all what it finds. */
	s->lane.most = r->kind == FETCH_ARCHIVE ? 1 : f->settings.n_per_source;
}

bool source_learn(struct fetch *f, const char *path, const struct record *r)
{
	struct source *s = source_get(f, path);
	struct record *newest = s ? list_first(&s->records, struct record, link) : NULL;
	if (!s)
		s = source_new(f, path);
	free(steal(s->error));
	adopt(s, f, r);
	if (newest && newest->kind == r->kind && digest_is_equal(&newest->id, &r->id)) {
		bool is_same = signature_is_equal(&newest->signature, &r->signature);
		newest->sealed_usec = r->sealed_usec;
		newest->signature = r->signature;
		return !is_same;
	}
	list_foreach (&s->records, struct record, link, old) {
		if (digest_is_equal(&old->id, &r->id)) {
			list_remove(&old->link);
			free(old);
		}
	}
	struct record *copy = xmemdup(r, sizeof *r);
	list_init(&copy->link);
	list_prepend(&s->records, &copy->link);
	if (count(&s->records) > RECORDS_MOST) {
		struct record *oldest = list_entry(s->records.prev, struct record, link);
		list_remove(&oldest->link);
		free(oldest);
	}
	return true;
}

uint64_t source_stalled_usec(const struct fetch *f, const struct source *s)
{
	uint64_t now = loop_now_usec(f->loop), longest = 0;
	list_foreach (&s->fills, struct fill, link, x) {
		uint64_t began = pool_began_usec(f->pool, &x->job);
		if (began && now > began)
			longest = max(longest, now - began);
	}
	return longest >= FETCH_STALL_USEC ? longest : 0;
}

struct source *source_choose(struct fetch *f, const struct digest *id, struct source *const *tried, unsigned n)
{
	struct source *stalled = NULL;
	list_foreach (&f->sources, struct source, link, s) {
		bool is_tried = false;
		for (unsigned i = 0; i < n; i++)
			is_tried = is_tried || tried[i] == s;
		if (is_tried || !source_record(s, id))
			continue;
		if (!source_stalled_usec(f, s))
			return s;
		if (!stalled)
			stalled = s;
	}
	return stalled;
}

static char *now_text(void)
{
	char text[32] = "?";
	time_t now = time(NULL);
	struct tm tm;
	if (gmtime_r(&now, &tm))
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	return xstrdup(text);
}

void source_failed(struct source *s, const char *text, const char *about)
{
	_free_ char *now = now_text();
	free(s->error);
	s->error = xasprintf("%s (%s UTC)", text, now);
	if (!about || map_get_text(&s->told, about) || s->n_told >= TOLD_MOST)
		return;
	char *key = xstrdup(about);
	map_put_text(&s->told, key, key);
	log_warn("%s%s", text, ++s->n_told == TOLD_MOST ? " (and so on: no more of this source is logged)" : "");
}

void source_repacked(struct source *s, const struct digest *id)
{
	list_foreach (&s->records, struct record, link, r) {
		if (digest_is_equal(&r->id, id))
			r->is_repacked = true;
	}
}

void source_answered(struct source *s)
{
	char *key = s->error ? map_remove_text(&s->told, s->path) : NULL;
	if (!key)
		return;
	free(key);
	free(steal(s->error));
	log_info("%s answers again", s->path);
}

/* ---- the file: a line each, newest record of a path first; a path's odd bytes as %XX */

static void put_path(struct buf *b, const char *path)
{
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;
		if (c <= ' ' || c == '%' || c == 0x7f)
			buf_printf(b, "%%%02x", c);
		else
			buf_put(b, path, 1);
	}
}

static bool take_path(char *text)
{
	char *to = text;
	for (; *text; text++, to++) {
		*to = *text;
		if (*text != '%')
			continue;
		int high = text[1] ? hex_value(text[1]) : -1, low = high >= 0 && text[2] ? hex_value(text[2]) : -1;
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to = (char)(high << 4 | low);
		text += 2;
	}
	*to = 0;
	return true;
}

char *sources_text(const struct fetch *f, size_t *n)
{
	_cleanup_(buf_fini) struct buf b = {0};
	char id[DIGEST_TEXT_SIZE];
	buf_puts(&b, HEAD);
	list_foreach (&f->sources, struct source, link, s) {
		list_foreach (&s->records, struct record, link, r) {
			const struct signature *g = &r->signature;
			buf_printf(&b,
				   "%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu32 " %" PRId64
				   " %" PRIu32 " ",
				   fetch_kind_name(r->kind), digest_text(&r->id, id), r->sealed_usec, g->inode, g->size,
				   g->mtime_sec, g->mtime_nsec, g->ctime_sec, g->ctime_nsec);
			put_path(&b, s->path);
			buf_puts(&b, "\n");
		}
	}
	*n = b.n;
	return buf_steal_text(&b);
}

int sources_write(const struct fetch *f, const char *text, size_t n)
{
	_free_ char *path = path_join(f->directory, "sources");
	return path_write(path, text, n, 0600, false);
}

static bool parse_kind(const char *word, enum fetch_kind *kind)
{
	for (*kind = FETCH_DIRECTORY; *kind <= FETCH_FILE; (*kind)++)
		if (streq(word, fetch_kind_name(*kind)))
			return true;
	return false;
}

static bool load_line(struct fetch *f, char *line)
{
	struct record r = {0};
	struct signature *g = &r.signature;
	char kind[16], id[DIGEST_TEXT_SIZE];
	int at = 0;
	if (sscanf(line,
		   "%15s %64s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNu32 " %" SCNd64 " %" SCNu32 " %n",
		   kind, id, &r.sealed_usec, &g->inode, &g->size, &g->mtime_sec, &g->mtime_nsec, &g->ctime_sec,
		   &g->ctime_nsec, &at) != 9 ||
	    !at || line[at] != '/' || !parse_kind(kind, &r.kind) || digest_parse(id, &r.id) < 0 ||
	    !take_path(line + at))
		return false;
	/* Of a tree whose index is gone nothing can be read. */
	struct cache_list known = {0};
	int error = cache_show(f->settings.cache, &r.id, &known);
	cache_list_fini(&known);
	if (error < 0)
		return true;
	struct source *s = source_get(f, line + at);
	if (!s)
		s = source_new(f, line + at);
	if (list_is_empty(&s->records))
		adopt(s, f, &r);
	if (source_record(s, &r.id) || count(&s->records) >= RECORDS_MOST)
		return true;
	struct record *copy = xmemdup(&r, sizeof r);
	list_init(&copy->link);
	list_append(&s->records, &copy->link);
	return true;
}

void sources_load(struct fetch *f)
{
	size_t n;
	unsigned n_bad = 0;
	_free_ char *path = path_join(f->directory, "sources");
	_free_ char *text = path_read(path, SIZE_MOST, &n);
	if (!text) {
		if (errno != ENOENT)
			log_warn("%s cannot be read: %s; what was sealed from where is forgotten", path,
				 strerror(errno));
		return;
	}
	if (!has_prefix(text, HEAD)) {
		/* Without it trees are whole or are sealed again: worth a word, not a refusal. */
		log_warn("%s is damaged or of another version: what was sealed from where is forgotten", path);
		return;
	}
	char *rest = text + strlen(HEAD), *line;
	while ((line = strsep(&rest, "\n")))
		n_bad += *line && !load_line(f, line);
	if (n_bad)
		log_warn("%s: %u damaged lines are left out", path, n_bad);
}

/* ---- kinds */

static const char *const kind_names[] = {"auto", "directory", "archive", "file"};

const char *fetch_kind_name(enum fetch_kind kind)
{
	assert(kind < countof(kind_names));
	return kind_names[kind];
}

bool source_is_archive(const char *path)
{
	static const char *const ends[] = {".tar",    ".tar.gz", ".tgz",     ".tar.bz2", ".tbz", ".tbz2",
					   ".tar.xz", ".txz",    ".tar.zst", ".tzst",    ".zip"};
	size_t n = strlen(path);
	for (size_t i = 0; i < countof(ends); i++) {
		size_t m = strlen(ends[i]);
		if (n > m && strcasecmp(path + n - m, ends[i]) == 0)
			return true;
	}
	return false;
}

/* ---- for others */

unsigned fetch_sources(struct fetch *f, const struct digest *id,
		       void (*each)(void *arg, const struct fetch_source_info *s), void *arg)
{
	unsigned n = 0;
	list_foreach (&f->sources, struct source, link, s) {
		const struct record *r = id ? source_record(s, id) : list_first(&s->records, struct record, link);
		if (!r)
			continue;
		n++;
		const struct fetch_source_info info = {.path = s->path,
						       .kind = r->kind,
						       .id = r->id,
						       .sealed_usec = r->sealed_usec,
						       .read_size = s->read_size,
						       .stalled_usec = source_stalled_usec(f, s),
						       .error = s->error ? s->error : ""};
		if (each)
			each(arg, &info);
	}
	return n;
}

static int find_path(const struct fetch *f, const char *text, struct digest *id, const char **rest)
{
	size_t best = 0;
	list_foreach (&f->sources, struct source, link, s) {
		size_t n = strlen(s->path);
		if (n < best || strncmp(text, s->path, n) != 0 || (text[n] && text[n] != '/' && !streq(s->path, "/")))
			continue;
		best = n;
		*id = list_first(&s->records, struct record, link)->id;
		*rest = text + n + (text[n] == '/');
	}
	return best ? 0 : -ENOENT;
}

int fetch_find(struct fetch *f, const char *text, struct digest *id, const char **rest)
{
	if (*text == '/')
		return find_path(f, text, id, rest);
	int r = cache_find(f->settings.cache, text, id);
	*rest = text + strlen(text);
	/* A name may have slashes in it: the longest one counts. */
	for (const char *slash = *rest; r == -ENOENT && slash > text; slash--) {
		if (*slash != '/')
			continue;
		_free_ char *head = xstrndup(text, (size_t)(slash - text));
		r = cache_find(f->settings.cache, head, id);
		*rest = slash + 1;
	}
	return r;
}
