/* SPDX-License-Identifier: Apache-2.0
 * The door for bytes that nobody encrypts (`data = plain`): whoever connects and says a ticket of 32 bytes that was given to him elsewhere, encrypted, gets what it is for: just these bytes, as they lie in a
 * file. Then he may say the next. To anything else it says nothing and hangs up. The loop's thread. */
#ifndef VINEFS_PLAIN_H
#define VINEFS_PLAIN_H

#include "common/loop.h"
#include "common/net.h"

#define PLAIN_TICKET_SIZE 32u
#define PLAIN_TICKET_USEC 30000000u /* so long it can be used, once */

struct plain;

/* Listens at this address, HOST:PORT, but on another port. NULL with errno. */
struct plain *plain_new(struct loop *l, const char *address);
/* After its tickets were stopped. */
void plain_free(struct plain *p);
DEFINE_FREEP(struct plain, plain_free)
const char *plain_address(const struct plain *p);

/* What a ticket is for. The giver's, embedded, zeroed before. */
struct plain_ticket {
	struct list link;
	struct plain *owner;       /* NULL: of none, or over */
	struct plain_guest *guest; /* who has said it; NULL: nobody yet */
	uint8_t secret[PLAIN_TICKET_SIZE];
	uint64_t until_usec;
	int fd; /* borrowed until it is over */
	uint64_t offset, rest;
	/* He is there, or can take more: plain_send(). */
	void (*on_ready)(struct plain_ticket *t);
	/* -ETIMEDOUT: nobody came; else his connection is gone. */
	void (*on_over)(struct plain_ticket *t, int error);
};

/* 0; -EAGAIN: there are too many. */
int plain_offer(struct plain *p, struct plain_ticket *t, int fd, uint64_t offset, uint64_t size);
/* At most n bytes of it to who is there. How many went: with fewer, on_ready comes; it is over with the last. -errno: it is over. */
ssize_t plain_send(struct plain_ticket *t, uint64_t n);
/* It is good no more; who was getting it is hung up on. Safe on one that is over. */
void plain_revoke(struct plain_ticket *t);

/* As of conn_progress(), of all. */
void plain_progress(const struct plain *p, uint64_t *gone, uint64_t *pending);
unsigned plain_n_guests(const struct plain *p);

#endif
