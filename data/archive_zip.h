/* SPDX-License-Identifier: Apache-2.0
 * What a zip says twice must agree: libarchive takes names, times and sizes from one place and looks at no other. */
#ifndef DATA_ARCHIVE_ZIP_H
#define DATA_ARCHIVE_ZIP_H

#include "common/base.h"

/* Compares the directory at the end with the head of each entry, and links with their checksums (files' are libarchive's to
 * check). `fd` can be sought in. 0, or -errno with the reason. */
int archive_zip_check(int fd, char *why, size_t room);

#endif
