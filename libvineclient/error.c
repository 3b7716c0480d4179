/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"
#include "libvineclient/client.h"

#include <stdarg.h>
#include <stdio.h>

static __thread char error_text[ERROR_SIZE];

int error_set(int e, const char *fmt, ...)
{
	char raw[ERROR_SIZE];
	va_list args;
	assert(e > 0);
	va_start(args, fmt);
	vsnprintf(raw, sizeof raw, fmt, args);
	va_end(args);
	/* Parts of it come from peers and files: one line, nothing that a terminal obeys. */
	log_escape(raw, strlen(raw), error_text, sizeof error_text);
	return -e;
}

const char *vine_error(void)
{
	return error_text;
}

const char *vine_version(void)
{
	return PACKAGE_VERSION;
}
