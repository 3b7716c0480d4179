/* SPDX-License-Identifier: Apache-2.0
 * The cluster's secret: 32 random bytes in hex in a 0600 file of ours in a directory that nobody else can write. It is never in argv, environment,
 * logs or core dumps. */
#ifndef COMMON_SECRET_H
#define COMMON_SECRET_H

#include "common/base.h"
#include "common/conf.h"

#define SECRET_SIZE 32

/* Reads it. 0 or -errno with e->text naming the file and the cure: missing, readable by others, another owner, malformed. */
int secret_read(const char *path, uint8_t secret[SECRET_SIZE], struct conf_error *e);

/* Reads it, or makes it (O_EXCL, 0600, durable; the directory 0700 if it is missing). */
int secret_read_or_make(const char *path, uint8_t secret[SECRET_SIZE], struct conf_error *e);

/* Overwrites memory in a way the compiler keeps. */
void secret_wipe(void *p, size_t n);

/* n random bytes from the kernel; aborts if it has none. */
void secret_random(void *p, size_t n);

/* A random uuid as text. */
#define UUID_TEXT_SIZE 37
char *secret_uuid(char text[UUID_TEXT_SIZE]);

#endif
