/* SPDX-License-Identifier: Apache-2.0
 * A checksum in the last bytes of every page of the database, which SQLite leaves to us: a byte that the disk has changed is found when
 * its page is read, not believed.
 *
 * 1. Written when a page goes into the file, looked at when it comes from there. In memory and in the write-ahead log (which has sums of
 *    its own) the bytes are zero.
 * 2. Zero in the file is "not known": another program that knows nothing of this has folded the log back. A page that is nothing but
 *    zeros was never written by anybody.
 * 3. Whether a file has sums stands in its header twice, so that no damage to the one hides behind the other. */
#include "vined/store_internal.h"

#define PAGE_SIZE STORE_PAGE_SIZE
#define SUM_SIZE STORE_SUM_SIZE
#define HEADER_SIZE 100

struct checked {
	sqlite3_file base;
	sqlite3_file *real;
	bool has_sums;
};

/* ---- the sum */

static uint64_t rotate(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

/* Each word goes into one of four lanes by steps that can be undone, so a change in one always shows. */
uint64_t store_page_sum(const uint8_t *page, uint64_t offset)
{
	uint64_t lane[4] = {offset + 1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9};
	for (size_t i = 0; i < PAGE_SIZE - SUM_SIZE; i += 8) {
		uint64_t *l = &lane[i / 8 % 4];
		*l = rotate(*l + get_le64(page + i) * 0xC2B2AE3D27D4EB4F, 31) * 0x9E3779B185EBCA87;
	}
	uint64_t sum = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
	return sum ? sum : 1;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE - 1) == 0;
}

bool store_page_is_sound(const uint8_t *page, uint64_t offset)
{
	uint64_t sum = get_le64(page + PAGE_SIZE - SUM_SIZE);
	return sum ? sum == store_page_sum(page, offset) : !is_zero(page);
}

/* Of page 1, or the beginning of it. */
bool store_page_has_sums(const uint8_t *header)
{
	uint32_t id = (uint32_t)header[68] << 24 | (uint32_t)header[69] << 16 | (uint32_t)header[70] << 8 | header[71];
	return header[20] == SUM_SIZE || id == STORE_CHECKED_ID;
}

/* ---- the file */

static int on_read(sqlite3_file *file, void *p, int n, sqlite3_int64 offset)
{
	struct checked *f = (struct checked *)(void *)file;
	int r = f->real->pMethods->xRead(f->real, p, n, offset);
	/* The file ends within this page: what is missing is zeros for SQLite, and so is the sum. */
	if (r == SQLITE_IOERR_SHORT_READ && f->has_sums && n == PAGE_SIZE && !is_zero(p))
		return SQLITE_IOERR_DATA;
	if (r != SQLITE_OK)
		return r;
	if (offset == 0 && n >= HEADER_SIZE)
		f->has_sums = store_page_has_sums(p);
	if (!f->has_sums || n != PAGE_SIZE)
		return r;
	if (!store_page_is_sound(p, (uint64_t)offset))
		return SQLITE_IOERR_DATA;
	memset((uint8_t *)p + PAGE_SIZE - SUM_SIZE, 0, SUM_SIZE);
	return r;
}

static int on_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 offset)
{
	struct checked *f = (struct checked *)(void *)file;
	uint8_t page[PAGE_SIZE];
	if (offset == 0 && n >= HEADER_SIZE)
		f->has_sums = store_page_has_sums(p);
	if (f->has_sums && n == PAGE_SIZE) {
		memcpy(page, p, PAGE_SIZE);
		put_le64(page + PAGE_SIZE - SUM_SIZE, store_page_sum(page, (uint64_t)offset));
		p = page;
	}
	return f->real->pMethods->xWrite(f->real, p, n, offset);
}

#define REAL(x) ((struct checked *)(void *)(x))->real
#define CALL(x, method, ...) REAL(x)->pMethods->method(REAL(x), ##__VA_ARGS__)

static int on_close(sqlite3_file *f)
{
	return CALL(f, xClose);
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return CALL(f, xTruncate, size);
}

static int on_sync(sqlite3_file *f, int flags)
{
	return CALL(f, xSync, flags);
}

static int on_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return CALL(f, xFileSize, size);
}

static int on_lock(sqlite3_file *f, int level)
{
	return CALL(f, xLock, level);
}

static int on_unlock(sqlite3_file *f, int level)
{
	return CALL(f, xUnlock, level);
}

static int on_check_lock(sqlite3_file *f, int *is_locked)
{
	return CALL(f, xCheckReservedLock, is_locked);
}

static int on_control(sqlite3_file *f, int op, void *arg)
{
	return CALL(f, xFileControl, op, arg);
}

static int on_sector_size(sqlite3_file *f)
{
	return CALL(f, xSectorSize);
}

static int on_characteristics(sqlite3_file *f)
{
	return CALL(f, xDeviceCharacteristics);
}

static int on_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
	return CALL(f, xShmMap, page, size, extend, p);
}

static int on_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return CALL(f, xShmLock, offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *f)
{
	CALL(f, xShmBarrier);
}

static int on_shm_unmap(sqlite3_file *f, int is_deleted)
{
	return CALL(f, xShmUnmap, is_deleted);
}

/* Version 2: nothing is read through a map, where it could not be looked at. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_unlock,
	.xCheckReservedLock = on_check_lock,
	.xFileControl = on_control,
	.xSectorSize = on_sector_size,
	.xDeviceCharacteristics = on_characteristics,
	.xShmMap = on_shm_map,
	.xShmLock = on_shm_lock,
	.xShmBarrier = on_shm_barrier,
	.xShmUnmap = on_shm_unmap,
};

/* ---- the filesystem: the system's, but for how databases are opened */

/* SQLite's registry is the process's, and so is what it points to; it never changes once it is made. */
static sqlite3_vfs vfs;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags, int *out)
{
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);
	(void)v;
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return real->xOpen(real, name, file, flags, out);
	struct checked *f = (struct checked *)(void *)file;
	*f = (struct checked){.real = (sqlite3_file *)(f + 1)};
	memset(f->real, 0, (size_t)real->szOsFile);
	int r = real->xOpen(real, name, f->real, flags, out);
	f->base.pMethods = f->real->pMethods ? &methods : NULL;
	return r;
}

static void make(void)
{
	/* Nobody asks how much memory SQLite has, and counting it takes a lock for each allocation. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	vfs = *sqlite3_vfs_find(NULL);
	vfs.zName = "vine";
	vfs.pNext = NULL;
	vfs.szOsFile += (int)sizeof(struct checked);
	vfs.xOpen = on_open;
	sqlite3_vfs_register(&vfs, 0);
}

const char *store_vfs(void)
{
	pthread_once(&once, make);
	return vfs.zName;
}
