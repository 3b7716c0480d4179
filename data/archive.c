/* SPDX-License-Identifier: Apache-2.0
 * An archive is read once, from front to end, into an index and a store: nothing is ever extracted, so nothing can land
 * outside. Names are components below the root or refused; links, modes, numbers and sizes are bounded. */
#include "data/archive_stream.h"
#include "data/archive_zip.h"
#include "data/assembler.h"

#include "common/buf.h"
#include "common/map.h"
#include "common/path.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <stdio.h>

#define ENTRIES_MAX 10000000u
#define BYTES_MAX ((uint64_t)1 << 40)
#define READ_SIZE (256u << 10)
#define PROGRESS_ENTRIES 256u

/* Where a path of the archive went. */
struct place {
	uint32_t entry;
	char path[];
};

struct intake {
	struct archive *archive;
	struct archive_stream *stream;
	const char *path; /* of the archive, in messages */
	const struct seal_options *options;
	struct builder *builder;
	struct assembler *assembler;
	struct map places; /* path -> struct place */
	char *directory;   /* of the file before */
	char last[4096];   /* the entry before, for messages */
	FILE *spool;       /* the bytes of a file whose size the archive did not say beforehand */
	struct seal_progress progress;
	struct seal_report *errors, *notes;
};

static void intake_fini(struct intake *in)
{
	size_t i = 0;
	struct place *p;
	while ((p = map_next(&in->places, &i)))
		free(p);
	map_fini(&in->places);
	free(in->directory);
	assembler_free(in->assembler);
	builder_free(in->builder);
	archive_read_free(in->archive);
	archive_stream_free(in->stream);
}

static void complain(struct intake *in, struct seal_report *to, const char *name, const char *what)
{
	seal_report_add(to, "%s: %s: %s", in->path, name, what);
}

/* "./a//b/" -> "a/b". False if it is not below the root. */
static bool clean_path(const char *raw, char *to, size_t room)
{
	size_t at = 0;
	if (*raw == '/')
		return false;
	while (*raw) {
		size_t n = strcspn(raw, "/");
		if (n && !(n == 1 && *raw == '.')) {
			if (at + n + 2 > room)
				return false;
			if (at)
				to[at++] = '/';
			memcpy(to + at, raw, n);
			at += n;
		}
		raw += n + (raw[n] == '/');
	}
	to[at] = 0;
	return !at || path_check(to, at) == 0;
}

/* ---- names */

static struct place *find(const struct intake *in, const char *path)
{
	return map_get_text(&in->places, path);
}

static int64_t put(struct intake *in, uint32_t parent, const char *path, const struct entry *e, const char *target)
{
	const char *name = path_base(path);
	int64_t n = builder_add(in->builder, parent, e, &name, &target, 1);
	if (n < 0)
		return n;
	struct place *p = xmalloc(sizeof *p + strlen(path) + 1);
	p->entry = (uint32_t)n;
	strcpy(p->path, path);
	free(map_put_text(&in->places, p->path, p));
	return n;
}

/* The directory that `path` lies in; made (0755, of time 0) if the archive did not say it. -ENOTDIR if something else is there. */
static int64_t parent_of(struct intake *in, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return BUILDER_ROOT;
	_free_ char *up = xstrndup(path, (size_t)(slash - path));
	const struct place *p = find(in, up);
	if (p)
		return builder_entry(in->builder, p->entry)->type == TREE_DIRECTORY ? (int64_t)p->entry : -ENOTDIR;
	int64_t above = parent_of(in, up);
	const struct entry e = {.type = TREE_DIRECTORY, .mode = 0755};
	return above < 0 ? above : put(in, (uint32_t)above, up, &e, NULL);
}

/* As tar does it: the last of a name counts; a directory said again keeps its children. */
static int64_t add(struct intake *in, const char *path, const struct entry *e, const char *target)
{
	const struct place *old = find(in, path);
	struct entry *was = *path == 0 ? builder_entry(in->builder, BUILDER_ROOT)
			    : old      ? builder_entry(in->builder, old->entry)
				       : NULL;
	if (was && was->type == TREE_DIRECTORY && e->type == TREE_DIRECTORY) {
		was->mode = e->mode;
		was->mtime_sec = e->mtime_sec;
		was->mtime_nsec = e->mtime_nsec;
		return old ? (int64_t)old->entry : BUILDER_ROOT;
	}
	if (*path == 0)
		return -EISDIR;
	int64_t parent = parent_of(in, path);
	if (parent < 0)
		return parent;
	if (old)
		builder_entry(in->builder, old->entry)->type = 0;
	return put(in, (uint32_t)parent, path, e, target);
}

/* ---- bytes */

/* Chunks of a file that comes as blocks at rising offsets, with holes between. */
struct chunker {
	struct intake *in;
	struct blob_chunks chunks;
	void *blob;
	uint8_t *room;
	uint32_t done; /* chunks */
	size_t filled; /* of the chunk at hand */
	bool is_zero;  /* nothing but holes in it */
};

static int chunker_end_chunk(struct chunker *c)
{
	const struct seal_store *store = c->in->options->store;
	assert(c->done < c->chunks.n);
	uint64_t offset = (uint64_t)c->done * c->chunks.chunk_size;
	int r = 0;
	digest_bytes(c->room, c->filled, &c->chunks.chunks[c->done++]);
	if (!c->is_zero)
		r = store->write(store->arg, c->blob, offset, c->room, c->filled);
	c->in->progress.bytes_done += c->filled;
	c->filled = 0;
	c->is_zero = true;
	return r;
}

/* p NULL: zeros. */
static int chunker_put(struct chunker *c, const uint8_t *p, uint64_t n)
{
	uint64_t at = (uint64_t)c->done * c->chunks.chunk_size + c->filled;
	if (n > c->chunks.size - at)
		return -EBADMSG;
	int r = 0;
	while (n && r == 0) {
		uint64_t start = (uint64_t)c->done * c->chunks.chunk_size;
		size_t whole = (size_t)min((uint64_t)c->chunks.chunk_size, c->chunks.size - start);
		size_t take = (size_t)min(n, (uint64_t)(whole - c->filled));
		if (p) {
			memcpy(c->room + c->filled, p, take);
			p += take;
			c->is_zero = false;
		} else {
			memset(c->room + c->filled, 0, take);
		}
		c->filled += take;
		n -= take;
		if (c->filled == whole)
			r = chunker_end_chunk(c);
	}
	return r;
}

/* In an entry, or (name NULL) between two. Where that is in the file helps who compares it with a copy. */
static int archive_error(struct intake *in, const char *name)
{
	const char *why = archive_stream_error(in->stream);
	if (!why)
		why = archive_error_string(in->archive);
	/* libarchive knows better where it is in what it has been given, but that is not the file if it was compressed. */
	uint64_t at = archive_stream_error(in->stream) || archive_stream_is_compressed(in->stream)
			      ? archive_stream_at(in->stream)
			      : (uint64_t)archive_filter_bytes(in->archive, -1);
	seal_report_add(in->errors, "%s: %s%s%s, at byte %llu of the archive, %s%s", in->path, name ? name : "",
			name ? ": " : "", why ? why : "damaged", (unsigned long long)at,
			*in->last ? "after " : "before the first name", in->last);
	return -EBADMSG;
}

static bool is_cancelled(const struct intake *in)
{
	const bool *flag = in->options->is_cancelled;
	return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
}

static int each_spooled_block(FILE *spool, int (*take)(void *arg, const uint8_t *p, uint64_t n), void *arg)
{
	_free_ uint8_t *room = xmalloc(READ_SIZE);
	size_t n;
	int r = 0;
	rewind(spool);
	while (r == 0 && (n = fread(room, 1, READ_SIZE, spool)) > 0)
		r = take(arg, room, n);
	return r == 0 && ferror(spool) ? -EIO : r;
}

/* Calls `take` for every block, and for the hole at the end if the size is known. */
static int each_block(struct intake *in, const char *name, uint64_t size,
		      int (*take)(void *arg, const uint8_t *p, uint64_t n), void *arg)
{
	uint64_t at = 0;
	if (in->spool)
		return each_spooled_block(in->spool, take, arg);
	for (;;) {
		const void *p;
		size_t n;
		la_int64_t offset;
		int r = archive_read_data_block(in->archive, &p, &n, &offset);
		if (is_cancelled(in))
			return -ECANCELED;
		if (r == ARCHIVE_EOF)
			return at < size ? take(arg, NULL, size - at) : 0;
		/* A warning here is a wrong length. */
		if (r != ARCHIVE_OK || offset < 0 || (uint64_t)offset < at)
			return archive_error(in, name);
		r = (uint64_t)offset > at ? take(arg, NULL, (uint64_t)offset - at) : 0;
		if (r == 0 && n)
			r = take(arg, p, n);
		if (r < 0)
			return r;
		at = (uint64_t)offset + n;
		in->progress.bytes_read += n;
	}
}

static int take_chunk(void *arg, const uint8_t *p, uint64_t n)
{
	return chunker_put(arg, p, n);
}

static int take_small(void *arg, const uint8_t *p, uint64_t n)
{
	struct buf *b = arg;
	if (n > DATA_SMALL_MAX - b->n)
		return -EBADMSG;
	uint8_t *to = buf_reserve(b, n);
	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
	buf_grew(b, n);
	return 0;
}

static int read_large(struct intake *in, const char *name, uint64_t size, uint32_t entry)
{
	const struct seal_store *store = in->options->store;
	struct chunker c = {.in = in, .chunks = {.size = size, .chunk_size = data_chunk_size(size)}, .is_zero = true};
	uint64_t n = data_n_chunks(size, c.chunks.chunk_size);
	c.chunks.n = (uint32_t)n;
	_free_ struct digest *digests = calloc(n, sizeof *digests);
	_free_ uint8_t *room = xmalloc(c.chunks.chunk_size);
	if (!digests)
		return -ENOMEM;
	c.chunks.chunks = digests;
	c.room = room;
	int r = store->begin(store->arg, size, &c.blob);
	if (r < 0)
		return r;
	r = each_block(in, name, size, take_chunk, &c);
	if (r == 0 && c.done != c.chunks.n)
		r = -EBADMSG;
	if (r < 0) {
		store->abort(store->arg, c.blob);
		return r;
	}
	data_address(size, c.chunks.chunk_size, digests, &c.chunks.address);
	r = store->commit(store->arg, c.blob, &c.chunks);
	if (r < 0)
		return r;
	if (store->learn_blob)
		store->learn_blob(store->arg, &c.chunks.address, &c.chunks);
	assembler_large(in->assembler, entry, &c.chunks);
	return 0;
}

static int read_small(struct intake *in, const char *name, uint64_t size, uint32_t entry)
{
	_cleanup_(buf_fini) struct buf bytes = {0};
	struct digest address;
	buf_reserve(&bytes, size + 1);
	int r = each_block(in, name, size, take_small, &bytes);
	if (r < 0)
		return r;
	if (bytes.n != size)
		return -EBADMSG;
	data_address_of(bytes.at, bytes.n, &address);
	in->progress.bytes_done += bytes.n;
	return assembler_small(in->assembler, entry, bytes.n, &address, bytes.at);
}

static int take_spool(void *arg, const uint8_t *p, uint64_t n)
{
	static const uint8_t zeros[4096];
	while (!p && n) {
		size_t part = (size_t)min(n, (uint64_t)sizeof zeros);
		if (fwrite(zeros, 1, part, arg) != part)
			return -EIO;
		n -= part;
	}
	return n && fwrite(p, 1, n, arg) != n ? -EIO : 0;
}

static int read_sized(struct intake *in, const char *name, uint64_t size, uint32_t entry)
{
	if (size > BYTES_MAX - min(in->progress.bytes_found, BYTES_MAX)) {
		complain(in, in->errors, name, "more than 1 TiB in all");
		return -EFBIG;
	}
	in->progress.bytes_found += size;
	return size > DATA_SMALL_MAX ? read_large(in, name, size, entry) : read_small(in, name, size, entry);
}

/* Some zip files say a file's size only behind its bytes: these go through a nameless file. */
static int read_unsized(struct intake *in, const char *name, uint32_t entry)
{
	FILE *spool = tmpfile();
	if (!spool)
		return -errno;
	int r = each_block(in, name, 0, take_spool, spool);
	if (r == 0 && fflush(spool) != 0)
		r = -errno;
	if (r == 0) {
		in->spool = spool;
		r = read_sized(in, name, (uint64_t)ftello(spool), entry);
		in->spool = NULL;
	}
	fclose(spool);
	return r;
}

/* ---- entries */

/* A pack closes when a directory is left, which in an archive shows by the next file's path. */
static int note_directory(struct intake *in, const char *path)
{
	const char *slash = strrchr(path, '/');
	_free_ char *directory = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	size_t n = strlen(in->directory);
	bool is_below = strncmp(directory, in->directory, n) == 0 && (!n || !directory[n] || directory[n] == '/');
	free(in->directory);
	in->directory = steal(directory);
	return is_below ? 0 : assembler_leave(in->assembler);
}

static int take_file(struct intake *in, struct archive_entry *ae, const char *path, const struct entry *e)
{
	int r = note_directory(in, path);
	int64_t entry = r < 0 ? r : add(in, path, e, NULL);
	if (entry < 0)
		return (int)entry;
	if (!archive_entry_size_is_set(ae))
		r = read_unsized(in, path, (uint32_t)entry);
	else if (archive_entry_size(ae) < 0)
		r = -EBADMSG;
	else
		r = read_sized(in, path, (uint64_t)archive_entry_size(ae), (uint32_t)entry);
	in->progress.files_found++;
	in->progress.files_done++;
	return r;
}

/* A hard link becomes a file of the same content. */
static int take_hard_link(struct intake *in, const char *path, const char *raw_target, struct entry *e)
{
	char target[4096];
	const struct place *p = clean_path(raw_target, target, sizeof target) ? find(in, target) : NULL;
	const struct entry *to = p ? builder_entry(in->builder, p->entry) : NULL;
	if (!to || to->type != TREE_FILE || to->content == BUILDER_NONE) {
		complain(in, in->errors, path, "a hard link to what is not before it in the archive");
		return 0;
	}
	uint32_t content = to->content;
	e->type = TREE_FILE;
	int64_t entry = add(in, path, e, NULL);
	if (entry >= 0)
		builder_entry(in->builder, (uint32_t)entry)->content = content;
	in->progress.files_found++;
	in->progress.files_done++;
	return entry < 0 ? (int)entry : 0;
}

static const char *left_out(mode_t type)
{
	return type == AE_IFSOCK                      ? "a socket, left out"
	       : type == AE_IFIFO                     ? "a FIFO, left out"
	       : type == AE_IFCHR || type == AE_IFBLK ? "a device, left out"
						      : "of an unknown type, left out";
}

static const char *either(const char *bytes, const char *utf8)
{
	return bytes ? bytes : utf8;
}

static int take_typed(struct intake *in, struct archive_entry *ae, const char *path)
{
	mode_t type = archive_entry_filetype(ae);
	const char *hard = either(archive_entry_hardlink(ae), archive_entry_hardlink_utf8(ae));
	const char *target = either(archive_entry_symlink(ae), archive_entry_symlink_utf8(ae));
	struct entry e = {.mode = archive_entry_perm(ae) & 01777,
			  .mtime_sec = archive_entry_mtime(ae),
			  .mtime_nsec = (uint32_t)archive_entry_mtime_nsec(ae) % 1000000000u};
	if (hard)
		return take_hard_link(in, path, hard, &e);
	if (type == AE_IFREG && archive_entry_perm(ae) & 06000)
		complain(in, in->notes, path, "setuid or setgid, cleared");
	if (type == AE_IFREG) {
		e.type = TREE_FILE;
		return take_file(in, ae, path, &e);
	}
	if (type == AE_IFDIR) {
		e.type = TREE_DIRECTORY;
		int64_t r = add(in, path, &e, NULL);
		return r < 0 ? (int)r : 0;
	}
	if (type == AE_IFLNK && target && *target && strlen(target) < 4096) {
		e.type = TREE_LINK;
		e.mode = 0777;
		int64_t r = add(in, path, &e, target);
		return r < 0 ? (int)r : 0;
	}
	complain(in, in->notes, path, left_out(type));
	return 0;
}

static int take_entry(struct intake *in, struct archive_entry *ae)
{
	const char *raw = either(archive_entry_pathname(ae), archive_entry_pathname_utf8(ae));
	char path[4096];
	if (!raw || !clean_path(raw, path, sizeof path)) {
		complain(in, in->errors, raw ? raw : "?", "not a name below the root");
		return 0;
	}
	int r = take_typed(in, ae, path);
	memcpy(in->last, path, strlen(path) + 1);
	if (r == -ENOTDIR || r == -EISDIR) {
		complain(in, in->errors, path, "both a directory and something else");
		return 0;
	}
	return r;
}

static int check_end(struct intake *in)
{
	if (archive_stream_zip(in->stream) >= 0)
		return 0;
	uint64_t marker = (uint64_t)archive_read_header_position(in->archive);
	int r = archive_stream_end_tar(in->stream, marker, in->options->is_cancelled);
	return r == 0 || r == -ECANCELED ? r : archive_error(in, NULL);
}

static int take_all(struct intake *in)
{
	struct archive_entry *ae;
	for (uint32_t i = 0;; i++) {
		int r = archive_read_next_header(in->archive, &ae);
		if (r == ARCHIVE_EOF)
			return check_end(in);
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return archive_error(in, NULL);
		if (i == ENTRIES_MAX) {
			complain(in, in->errors, "", "more than 10 million entries");
			return -EFBIG;
		}
		if (is_cancelled(in))
			return -ECANCELED;
		r = take_entry(in, ae);
		if (r < 0)
			return r;
		if (in->options->on_progress && i % PROGRESS_ENTRIES == 0)
			in->options->on_progress(in->options->arg, &in->progress);
	}
}

static la_ssize_t feed(struct archive *a, void *arg, const void **p)
{
	struct intake *in = arg;
	ssize_t r = archive_stream_read(in->stream, p);
	if (r < 0)
		archive_set_error(a, (int)-r, "%s", archive_stream_error(in->stream));
	return r < 0 ? -1 : r;
}

static la_int64_t seek(struct archive *a, void *arg, la_int64_t offset, int whence)
{
	struct intake *in = arg;
	(void)a;
	int64_t r = archive_stream_seek(in->stream, offset, whence);
	return r < 0 ? ARCHIVE_FATAL : r;
}

static int open_archive(struct intake *in, int fd)
{
	struct archive *a = in->archive;
	int r = archive_stream_new(fd, &in->stream);
	if (r < 0)
		return archive_error(in, NULL);
	int zip = archive_stream_zip(in->stream);
	if (zip >= 0) {
		char why[200];
		if (archive_zip_check(zip, why, sizeof why) < 0) {
			seal_report_add(in->errors, "%s: %s", in->path, why);
			return -EBADMSG;
		}
		archive_read_support_format_zip_seekable(a);
		archive_read_set_seek_callback(a, seek);
	} else {
		archive_read_support_format_tar(a);
		/* Names are bytes: no locale has a say. */
		archive_read_set_options(a, "tar:hdrcharset=BINARY");
	}
	archive_read_set_read_callback(a, feed);
	archive_read_set_callback_data(a, in);
	return archive_read_open1(a) == ARCHIVE_OK ? 0 : archive_error(in, NULL);
}

static void drop_locale(locale_t *l)
{
	if (*l)
		freelocale(*l);
}

#define _locale_ _cleanup_(drop_locale)

int seal_archive(int fd, const char *path, const struct seal_options *o, void **vti, size_t *n,
		 struct seal_report *errors, struct seal_report *notes)
{
	_cleanup_(intake_fini) struct intake in = {.archive = archive_read_new(),
						   .path = path,
						   .options = o,
						   .builder = builder_new(),
						   .directory = xstrdup(""),
						   .errors = errors,
						   .notes = notes};
	in.assembler = assembler_new(in.builder, o->store, NULL, NULL);
	int r = open_archive(&in, fd);
	/* A zip's names are text, which libarchive turns into the thread's charset or drops. */
	_locale_ locale_t utf8 = in.stream && archive_stream_zip(in.stream) >= 0
					 ? newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)
					 : (locale_t)0;
	locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
	if (r == 0)
		r = take_all(&in);
	if (utf8)
		uselocale(before);
	if (r == 0)
		r = assembler_end(in.assembler);
	if (r == 0 && errors->n)
		r = -EIO;
	if (o->on_progress)
		o->on_progress(o->arg, &in.progress);
	if (r < 0)
		return r;
	builder_order(in.builder);
	return builder_finish(in.builder, vti, n);
}
