/* SPDX-License-Identifier: Apache-2.0 */
#include "common/secret.h"

#include "common/log.h"
#include "common/path.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE (SECRET_SIZE * 2 + 1) /* hex digits and a newline */

void secret_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

void secret_random(void *p, size_t n)
{
	uint8_t *at = p;
	while (n) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0 && errno != EINTR)
			abort();
		if (got > 0) {
			at += got;
			n -= (size_t)got;
		}
	}
}

char *secret_uuid(char text[UUID_TEXT_SIZE])
{
	uint8_t b[16];
	secret_random(b, sizeof b);
	b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: version 4, */
	b[8] = (b[8] & 0x3f) | 0x80; /* variant 1 */
	size_t at = 0;
	for (size_t i = 0; i < sizeof b; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		at += (size_t)snprintf(text + at, 3, "%02x", b[i]);
	}
	assert(at == UUID_TEXT_SIZE - 1);
	return text;
}

/* Returns -r so that callers say `return fail(...)`; the contents are never part of a text. */
static int _printf_(4, 5) fail(int r, const char *path, struct conf_error *e, const char *fmt, ...)
{
	assert(r > 0);
	char why[256], shown[224];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	log_escape(path, strlen(path), shown, sizeof shown);
	snprintf(e->text, sizeof e->text, "secret %s: %s", shown, why);
	return -r;
}

static int parse(const char *text, size_t n, uint8_t secret[SECRET_SIZE])
{
	if (n == FILE_SIZE && text[FILE_SIZE - 1] != '\n')
		return -EINVAL;
	if (n != FILE_SIZE && n != FILE_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; i < SECRET_SIZE; i++) {
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		secret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Who can replace the file can choose the secret: its directory must be ours (or root's) alone to write. */
static int check_directory(const char *path, struct conf_error *e)
{
	struct stat st;
	const char *base = path_base(path);
	_free_ char *dir = base == path ? xstrdup(".") : xstrndup(path, (size_t)(base - path));
	if (stat(dir, &st) < 0)
		return fail(errno, path, e, "its directory: %s", strerror(errno));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return fail(EPERM, path, e, "its directory belongs to uid %u: keep it in one of your own", st.st_uid);
	if (st.st_mode & 022)
		return fail(EPERM, path, e, "others can write its directory (mode %03o): chmod 700 it",
			    st.st_mode & 0777);
	return 0;
}

static int check_file(int fd, const char *path, struct conf_error *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return fail(errno, path, e, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(EINVAL, path, e, "not a regular file: name the file that vined made");
	if (st.st_uid != geteuid())
		return fail(EPERM, path, e, "belongs to uid %u, not to you (uid %u): use a copy of your own", st.st_uid,
			    geteuid());
	if (st.st_mode & 077)
		return fail(EPERM, path, e,
			    "others may read or write it (mode %03o): chmod 600 it, or remove it "
			    "and let vined make a new one",
			    st.st_mode & 0777);
	return check_directory(path, e);
}

int secret_read(const char *path, uint8_t secret[SECRET_SIZE], struct conf_error *e)
{
	assert(path && e);
	/* O_NONBLOCK: a FIFO of this name must not stop us. */
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return fail(ENOENT, path, e, "there is none: copy it from the cluster's vined, which makes it");
	if (fd < 0 && errno == ELOOP)
		return fail(ELOOP, path, e, "it is a symbolic link: name the file itself");
	if (fd < 0)
		return fail(errno, path, e, "%s", strerror(errno));
	int r = check_file(fd, path, e);
	if (r < 0)
		return r;
	char text[FILE_SIZE + 1]; /* one more byte tells a longer file */
	size_t n = 0;
	ssize_t got = 0;
	while (n < sizeof text && ((got = read(fd, text + n, sizeof text - n)) > 0 || (got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	if (got < 0)
		r = fail(errno, path, e, "%s", strerror(errno));
	else if (parse(text, n, secret) < 0)
		r = fail(EINVAL, path, e, "not %d hex digits and a newline: copy it again from the cluster's vined",
			 SECRET_SIZE * 2);
	secret_wipe(text, sizeof text);
	return r;
}

/* 0 also if somebody else was faster: then theirs is the secret. */
static int make(const char *path, struct conf_error *e)
{
	const char *base = path_base(path);
	_free_ char *dir = xstrndup(path, (size_t)(base - path));
	int r = *dir ? path_make_dirs(dir, 0700) : 0;
	if (r < 0)
		return fail(-r, path, e, "make its directory: %s", strerror(-r));
	uint8_t secret[SECRET_SIZE];
	char text[FILE_SIZE + 1];
	secret_random(secret, sizeof secret);
	for (size_t i = 0; i < SECRET_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", secret[i]);
	text[FILE_SIZE - 1] = '\n';
	r = path_make(path, text, FILE_SIZE, 0600, true);
	secret_wipe(text, sizeof text);
	secret_wipe(secret, sizeof secret);
	return r < 0 && r != -EEXIST ? fail(-r, path, e, "make it: %s", strerror(-r)) : 0;
}

int secret_read_or_make(const char *path, uint8_t secret[SECRET_SIZE], struct conf_error *e)
{
	int r = secret_read(path, secret, e);
	if (r != -ENOENT)
		return r;
	e->text[0] = 0; /* that there was none is no error here */
	r = make(path, e);
	return r < 0 ? r : secret_read(path, secret, e);
}
