/* SPDX-License-Identifier: Apache-2.0
 * A zip has a CRC over each file's bytes and none over what is said of the file. Its name, times, sizes and method stand in the
 * directory and at the entry, so damage to either shows. Its mode stands in the directory alone: nobody can tell damage to it. */
#include "data/archive_zip.h"

#include <endian.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#define TAIL_SIZE 16384u /* where libarchive looks for the end record; two records of it would be two archives */
#define END_SIZE 22u
#define CENTRAL_SIZE 46u
#define LOCAL_SIZE 30u
#define NAME_MAX_SIZE 65535u
#define TIMES_EXTRA 0x5455u
#define SIZES_EXTRA 1u
#define LENGTH_AT_END 8u

struct zip {
	int fd;
	uint64_t size, directory_at;
	uint64_t n_entries, entries_mask;
	uint8_t *directory;
	size_t n;
	uint8_t local[LOCAL_SIZE + 2 * NAME_MAX_SIZE];
	char *why;
	size_t room;
};

static uint16_t u16(const uint8_t *p)
{
	uint16_t x;
	memcpy(&x, p, sizeof x);
	return le16toh(x);
}

static uint32_t u32(const uint8_t *p)
{
	uint32_t x;
	memcpy(&x, p, sizeof x);
	return le32toh(x);
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof x);
	return le64toh(x);
}

static int damaged(struct zip *z, const char *what, uint64_t at)
{
	snprintf(z->why, z->room, "damaged: %s, at byte %llu of the archive", what, (unsigned long long)at);
	return -EBADMSG;
}

static int read_at(struct zip *z, uint64_t at, void *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t r = pread(z->fd, (uint8_t *)p + done, n - done, (off_t)(at + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			int error = errno;
			snprintf(z->why, z->room, "%s, at byte %llu of the archive", strerror(error),
				 (unsigned long long)at);
			return -error;
		}
		if (r == 0)
			return damaged(z, "cut", at + done);
		done += (size_t)r;
	}
	return 0;
}

/* ---- the end */

/* A larger end record, of 64-bit numbers, counts if its locator stands before the small one. */
static int read_large_end(struct zip *z, const uint8_t *locator, uint64_t *size)
{
	uint8_t p[56];
	uint64_t at = u64(locator + 8);
	if (at > z->size - min(z->size, (uint64_t)sizeof p))
		return damaged(z, "its end record points outside it", z->size);
	int r = read_at(z, at, p, sizeof p);
	if (r < 0)
		return r;
	if (memcmp(p, "PK\6\6", 4) != 0)
		return damaged(z, "no end record where one should be", at);
	z->n_entries = u64(p + 32);
	z->entries_mask = UINT64_MAX;
	*size = u64(p + 40);
	z->directory_at = u64(p + 48);
	return 0;
}

static int read_end(struct zip *z, uint64_t *size)
{
	uint8_t tail[TAIL_SIZE];
	size_t n = (size_t)min(z->size, (uint64_t)sizeof tail);
	int r = read_at(z, z->size - n, tail, n);
	size_t i = n - min(n, (size_t)END_SIZE);
	while (i && memcmp(tail + i, "PK\5\6", 4) != 0)
		i--;
	const uint8_t *end = tail + i;
	if (r < 0)
		return r;
	if (n < END_SIZE || memcmp(end, "PK\5\6", 4) != 0 || i + END_SIZE + u16(end + 20) != n)
		return damaged(z, "its end record is missing or cut", z->size);
	z->n_entries = u16(end + 10);
	z->entries_mask = UINT16_MAX; /* old writers let it wrap */
	*size = u32(end + 12);
	z->directory_at = u32(end + 16);
	if (i >= 20 && memcmp(end - 20, "PK\6\7", 4) == 0)
		r = read_large_end(z, end - 20, size);
	if (r == 0 && (z->directory_at > z->size || *size > z->size - z->directory_at))
		return damaged(z, "its directory is outside it", z->size - n + i);
	return r;
}

/* ---- entries */

/* An extra field: its bytes and size, or NULL. */
static const uint8_t *find_extra(const uint8_t *p, size_t n, unsigned id, size_t *size)
{
	while (n >= 4 && u16(p + 2) <= n - 4) {
		*size = u16(p + 2);
		if (u16(p) == id)
			return p + 4;
		n -= 4 + *size;
		p += 4 + *size;
	}
	return NULL;
}

/* Seconds of the last change, 4 bytes, or NULL. */
static const uint8_t *find_time(const uint8_t *extra, size_t n)
{
	size_t size;
	const uint8_t *p = find_extra(extra, n, TIMES_EXTRA, &size);
	return p && size >= 5 && p[0] & 1 ? p + 1 : NULL;
}

/* Where 32 bits are all ones, 64 stand in an extra field, in this order. False if they do not. */
static bool sizes_of(const uint8_t *c, uint64_t *compressed, uint64_t *at)
{
	size_t n = 0;
	const uint8_t *p = find_extra(c + CENTRAL_SIZE + u16(c + 28), u16(c + 30), SIZES_EXTRA, &n);
	uint64_t raw;
	uint64_t *const to[] = {&raw, compressed, at};
	static const uint8_t from[] = {24, 20, 42};
	for (unsigned i = 0; i < countof(to); i++) {
		*to[i] = u32(c + from[i]);
		if (*to[i] != UINT32_MAX)
			continue;
		if (!p || n < 8)
			return false;
		*to[i] = u64(p);
		p += 8;
		n -= 8;
	}
	return true;
}

/* A link's target is its content, and libarchive reads that without a look at its CRC. */
static int check_link(struct zip *z, const uint8_t *c, uint64_t at, uint64_t size)
{
	uint8_t packed[8192], text[8192];
	z_stream s = {.next_in = packed, .avail_in = (uInt)size, .next_out = text, .avail_out = sizeof text};
	if (size > sizeof packed)
		return damaged(z, "a link's target is too long", at);
	int r = read_at(z, at, packed, (size_t)size);
	if (r < 0)
		return r;
	if (u16(c + 10) == 0)
		return crc32(0, packed, (uInt)size) == u32(c + 16) ? 0 : damaged(z, "a link's target", at);
	if (u16(c + 10) != Z_DEFLATED || inflateInit2(&s, -MAX_WBITS) != Z_OK)
		return damaged(z, "a link's target is compressed in an unknown way", at);
	r = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	if (r != Z_STREAM_END || crc32(0, text, (uInt)s.total_out) != u32(c + 16))
		return damaged(z, "a link's target", at);
	return 0;
}

static bool is_link(const uint8_t *c)
{
	return c[5] == 3 && S_ISLNK(u32(c + 38) >> 16);
}

/* True if an entry's head says what the directory does, as far as it says it. */
static bool is_same(const uint8_t *c, const uint8_t *l)
{
	unsigned n_name = u16(c + 28);
	const uint8_t *time = find_time(c + CENTRAL_SIZE + n_name, u16(c + 30));
	const uint8_t *local_time = find_time(l + LOCAL_SIZE + n_name, u16(l + 28));
	bool is_wide = u32(l + 18) == UINT32_MAX || u32(l + 22) == UINT32_MAX || u32(c + 20) == UINT32_MAX ||
		       u32(c + 24) == UINT32_MAX;
	if (memcmp(c + 8, l + 6, 8) != 0 || memcmp(c + CENTRAL_SIZE, l + LOCAL_SIZE, n_name) != 0)
		return false;
	if (!(u16(l + 6) & LENGTH_AT_END) && memcmp(c + 16, l + 14, is_wide ? 4 : 12) != 0)
		return false;
	return !time || (local_time && memcmp(time, local_time, 4) == 0);
}

static int check_entry(struct zip *z, const uint8_t *c)
{
	uint64_t size, at;
	if (!sizes_of(c, &size, &at) || at > z->size || size > z->size - at)
		return damaged(z, "its directory points outside it", z->directory_at + (uint64_t)(c - z->directory));
	int r = read_at(z, at, z->local, LOCAL_SIZE);
	if (r < 0)
		return r;
	size_t n = (size_t)u16(z->local + 26) + u16(z->local + 28);
	if (memcmp(z->local, "PK\3\4", 4) != 0 || u16(z->local + 26) != u16(c + 28))
		return damaged(z, "an entry is not what its directory says", at);
	r = read_at(z, at + LOCAL_SIZE, z->local + LOCAL_SIZE, n);
	if (r < 0)
		return r;
	if (!is_same(c, z->local))
		return damaged(z, "an entry is not what its directory says", at);
	return is_link(c) ? check_link(z, c, at + LOCAL_SIZE + n, size) : 0;
}

static int check_directory(struct zip *z)
{
	uint64_t n_entries = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < z->n; n_entries++) {
		const uint8_t *c = z->directory + i;
		if (z->n - i < CENTRAL_SIZE || memcmp(c, "PK\1\2", 4) != 0 ||
		    z->n - i - CENTRAL_SIZE < (size_t)u16(c + 28) + u16(c + 30) + u16(c + 32))
			return damaged(z, "its directory", z->directory_at + i);
		r = check_entry(z, c);
		i += CENTRAL_SIZE + (size_t)u16(c + 28) + u16(c + 30) + u16(c + 32);
		assert(i <= z->n);
	}
	if (r == 0 && (n_entries & z->entries_mask) != z->n_entries)
		return damaged(z, "its end record counts other entries than its directory has", z->size);
	return r;
}

int archive_zip_check(int fd, char *why, size_t room)
{
	struct stat st;
	uint64_t size = 0;
	assert(room >= 64);
	snprintf(why, room, "cannot be read");
	if (fstat(fd, &st) < 0)
		return -errno;
	_free_ struct zip *z = NEW(struct zip);
	z->fd = fd;
	z->size = (uint64_t)st.st_size;
	z->why = why;
	z->room = room;
	int r = read_end(z, &size);
	if (r < 0)
		return r;
	_free_ uint8_t *directory = malloc(size + 1);
	if (!directory) {
		snprintf(why, room, "no memory for its directory of %llu bytes", (unsigned long long)size);
		return -ENOMEM;
	}
	z->directory = directory;
	z->n = (size_t)size;
	r = read_at(z, z->directory_at, directory, z->n);
	return r < 0 ? r : check_directory(z);
}
