/* SPDX-License-Identifier: Apache-2.0
 * Files of several names, each read once. Private to data/. Any thread. */
#ifndef DATA_LINKED_H
#define DATA_LINKED_H

#include "data/data.h"

struct linked;
struct linked_file;

struct linked *linked_new(void);
void linked_free(struct linked *l);

/* NULL: this file, so signed, was read, by `place`, and has this address; waits while somebody is at it. Else the caller is to read it, and
 * to say linked_done() in any case. */
struct linked_file *linked_claim(struct linked *l, const struct stat *st, uint32_t *place, struct digest *address);
/* `address` NULL: it could not be read, and the next one tries. */
void linked_done(struct linked *l, struct linked_file *file, const struct digest *address);

#endif
