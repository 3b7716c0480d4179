/* SPDX-License-Identifier: Apache-2.0
 * What checks a compressed archive's bytes: gzip is inflated here; libarchive's bzip2, xz and zstd compare each checksum that
 * the file has, but only those they come to, so all is read to the end. An xz or zstd made without checksums cannot be told
 * from a damaged one, nor a plain tar whose contents changed: nobody can. */
#include "data/archive_stream.h"

#include "data/archive_gzip.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE (256u << 10)
#define TAR_END 1024u

enum kind { KIND_PLAIN, KIND_ZIP, KIND_GZIP, KIND_FILTER };

struct archive_stream {
	int fd;
	FILE *spool; /* a zip that came by a pipe; then fd is its */
	bool is_regular;
	enum kind kind;
	struct archive_gzip *gzip;
	struct archive *filter; /* of one compressed entry: the archive as a whole */
	uint64_t at;            /* of the file: what was read into `room` and before */
	const uint8_t *next;    /* what is left in `room` */
	size_t n;
	uint64_t n_given, zeros_from; /* bytes given out; behind the last that is not zero */
	char error[240];
	uint8_t room[READ_SIZE];
};

static int fail(struct archive_stream *s, int error, const char *why)
{
	assert(error < 0);
	snprintf(s->error, sizeof s->error, "%s", why ? why : "damaged");
	return error;
}

static ssize_t read_some(struct archive_stream *s, size_t from)
{
	for (;;) {
		ssize_t r = s->is_regular ? pread(s->fd, s->room + from, READ_SIZE - from, (off_t)s->at)
					  : read(s->fd, s->room + from, READ_SIZE - from);
		if (r >= 0)
			s->at += (uint64_t)r;
		if (r >= 0 || errno != EINTR)
			return r < 0 ? fail(s, -errno, strerror(errno)) : r;
	}
}

/* Fills `room` if it is empty; how many bytes are in it. */
static ssize_t fill(struct archive_stream *s)
{
	if (s->n)
		return (ssize_t)s->n;
	ssize_t r = read_some(s, 0);
	s->next = s->room;
	s->n = r < 0 ? 0 : (size_t)r;
	return r;
}

/* ---- what it is */

static bool begins(const struct archive_stream *s, const char *magic, size_t n)
{
	return s->n >= n && memcmp(s->room, magic, n) == 0;
}

/* By the first bytes alone: who looks elsewhere as well finds a zip at the end of a tar whose head is damaged. */
static enum kind kind_of(const struct archive_stream *s)
{
	if (begins(s, "PK\3\4", 4) || begins(s, "PK\5\6", 4))
		return KIND_ZIP;
	if (begins(s, "\x1f\x8b", 2))
		return KIND_GZIP;
	bool is_filter = begins(s, "BZh", 3) ||
			 begins(s,
				"\xfd"
				"7zXZ",
				6) ||
			 begins(s, "\x28\xb5\x2f\xfd", 4);
	return is_filter ? KIND_FILTER : KIND_PLAIN;
}

/* Read from front to end a zip hides whether entries are missing: its directory, at the end, says what there should be. */
static int spool_zip(struct archive_stream *s)
{
	ssize_t r;
	s->spool = tmpfile();
	if (!s->spool)
		return fail(s, -errno, "no room for a temporary file");
	while ((r = fill(s)) > 0) {
		if (fwrite(s->next, 1, s->n, s->spool) != s->n)
			return fail(s, -errno, strerror(errno));
		s->n = 0;
	}
	if (r == 0 && fflush(s->spool) != 0)
		return fail(s, -errno, strerror(errno));
	s->fd = fileno(s->spool);
	s->is_regular = true;
	s->at = 0;
	return (int)r;
}

static la_ssize_t feed_filter(struct archive *a, void *arg, const void **p)
{
	struct archive_stream *s = arg;
	ssize_t r = fill(s);
	if (r < 0)
		archive_set_error(a, (int)-r, "%s", s->error);
	*p = s->next;
	s->n = 0;
	return r < 0 ? -1 : r;
}

static int open_filter(struct archive_stream *s)
{
	struct archive_entry *whole;
	s->filter = archive_read_new();
	archive_read_support_filter_bzip2(s->filter);
	archive_read_support_filter_xz(s->filter);
	archive_read_support_filter_zstd(s->filter);
	archive_read_support_format_raw(s->filter);
	if (archive_read_open(s->filter, s, NULL, feed_filter, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(s->filter, &whole) != ARCHIVE_OK)
		return fail(s, -EBADMSG, archive_error_string(s->filter));
	if (archive_filter_code(s->filter, 0) == ARCHIVE_FILTER_NONE)
		return fail(s, -EBADMSG, "damaged at its beginning");
	return 0;
}

static int begin(struct archive_stream *s)
{
	struct stat st;
	ssize_t r = 1;
	if (fstat(s->fd, &st) < 0)
		return fail(s, -errno, strerror(errno));
	s->is_regular = S_ISREG(st.st_mode);
	s->next = s->room;
	while (s->n < 8 && (r = read_some(s, s->n)) > 0)
		s->n += (size_t)r;
	if (r < 0)
		return (int)r;
	s->kind = kind_of(s);
	if (s->kind == KIND_ZIP && !s->is_regular)
		return spool_zip(s);
	if (s->kind == KIND_GZIP)
		return (s->gzip = archive_gzip_new()) ? 0 : fail(s, -ENOMEM, "no memory to inflate it");
	return s->kind == KIND_FILTER ? open_filter(s) : 0;
}

int archive_stream_new(int fd, struct archive_stream **out)
{
	struct archive_stream *s = NEW(struct archive_stream);
	s->fd = fd;
	*out = s;
	return begin(s);
}

void archive_stream_free(struct archive_stream *s)
{
	if (!s)
		return;
	archive_gzip_free(s->gzip);
	if (s->filter)
		archive_read_free(s->filter);
	if (s->spool)
		fclose(s->spool);
	free(s);
}

int archive_stream_zip(const struct archive_stream *s)
{
	return s->kind == KIND_ZIP ? s->fd : -1;
}

bool archive_stream_is_compressed(const struct archive_stream *s)
{
	return s->kind == KIND_GZIP || s->kind == KIND_FILTER;
}

const char *archive_stream_error(const struct archive_stream *s)
{
	return *s->error ? s->error : NULL;
}

uint64_t archive_stream_at(const struct archive_stream *s)
{
	return s->filter ? (uint64_t)archive_filter_bytes(s->filter, -1) : s->at - s->n;
}

/* ---- its bytes */

static ssize_t read_gzip(struct archive_stream *s, const void **p)
{
	const char *why;
	for (;;) {
		ssize_t r = archive_gzip_inflate(s->gzip, &s->next, &s->n, p, &why);
		if (r != 0)
			return r < 0 ? fail(s, (int)r, why) : r;
		assert(!s->n);
		r = fill(s);
		if (r < 0)
			return r;
		if (r == 0)
			return archive_gzip_is_whole(s->gzip) ? 0 : fail(s, -EBADMSG, "cut: its gzip data have no end");
	}
}

static ssize_t read_filter(struct archive_stream *s, const void **p)
{
	la_int64_t offset;
	size_t n = 0;
	int r = archive_read_data_block(s->filter, p, &n, &offset);
	if (r == ARCHIVE_OK)
		return (ssize_t)n;
	if (r != ARCHIVE_EOF)
		return fail(s, -EBADMSG, archive_error_string(s->filter));
	/* bzip2 takes what is not the head of another stream for the end. */
	ssize_t more = archive_stream_at(s) < s->at ? 1 : fill(s);
	return more > 0 ? fail(s, -EBADMSG, "something follows the end of the compressed data") : more;
}

static ssize_t read_plain(struct archive_stream *s, const void **p)
{
	ssize_t r = fill(s);
	*p = s->next;
	s->n = 0;
	return r;
}

ssize_t archive_stream_read(struct archive_stream *s, const void **p)
{
	if (*s->error)
		return -EBADMSG;
	ssize_t r = s->gzip ? read_gzip(s, p) : s->filter ? read_filter(s, p) : read_plain(s, p);
	if (r <= 0)
		return r;
	size_t n = (size_t)r;
	while (n && !((const uint8_t *)*p)[n - 1])
		n--;
	if (n)
		s->zeros_from = s->n_given + n;
	s->n_given += (uint64_t)r;
	return r;
}

int64_t archive_stream_seek(struct archive_stream *s, int64_t offset, int whence)
{
	struct stat st;
	assert(s->kind == KIND_ZIP && s->is_regular);
	if (whence == SEEK_END && fstat(s->fd, &st) < 0)
		return fail(s, -errno, strerror(errno));
	int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)(s->at - s->n) : st.st_size;
	if (offset < -from || offset > INT64_MAX - from)
		return -EINVAL;
	s->at = (uint64_t)(from + offset);
	s->n = 0;
	return from + offset;
}

/* libarchive is content if a tar ends between two entries, or goes on behind zeros where an entry's head was. */
int archive_stream_end_tar(struct archive_stream *s, uint64_t marker, const bool *is_cancelled)
{
	char why[200];
	const void *p;
	ssize_t r;
	while (s->zeros_from <= marker && (r = archive_stream_read(s, &p)) != 0) {
		if (r < 0)
			return (int)r;
		if (is_cancelled && __atomic_load_n(is_cancelled, __ATOMIC_RELAXED))
			return -ECANCELED;
	}
	if (s->zeros_from > marker) {
		snprintf(why, sizeof why,
			 "after its end marker, at byte %llu of the tar, something follows that ends at or "
			 "behind byte %llu: entries overwritten by zeros, or several archives in one",
			 (unsigned long long)marker, (unsigned long long)s->zeros_from);
		return fail(s, -EBADMSG, why);
	}
	if (s->n_given < marker + TAR_END)
		return fail(s, -EBADMSG, "cut: the two blocks of zeros that end a tar are missing");
	return 0;
}
