/* SPDX-License-Identifier: Apache-2.0
 * TLS 1.3 with an external pre-shared key, the only home of libssl. Who connects names its role, and whom it wants,
 * in the PSK identity; each pair of roles has a key of its own, derived by HKDF from the cluster's secret, so no
 * end can answer with what it was sent, and a client's key opens no node's door. TLS_AES_128_GCM_SHA256 only. */
#ifndef COMMON_TLS_H
#define COMMON_TLS_H

#include "common/base.h"

#include <sys/types.h>

#define TLS_SECRET_SIZE 32

enum tls_role { TLS_ROLE_NONE = 0, TLS_ROLE_VINED = 1, TLS_ROLE_NODE = 2, TLS_ROLE_CLIENT = 3 };

const char *tls_role_name(enum tls_role role);

/* One per process and side. `own` is what it is; `peers` is a bit set (1 << role) of those it accepts. NULL with errno. */
struct tls_context;
struct tls_context *tls_context_new(const uint8_t secret[TLS_SECRET_SIZE], enum tls_role own, unsigned peers);
void tls_context_free(struct tls_context *c);
DEFINE_FREEP(struct tls_context, tls_context_free)

/* A connection over fd (not owned, non-blocking). tls_connect resumes the context's last session with that peer if it can. */
struct tls;
struct tls *tls_accept(struct tls_context *c, int fd);
struct tls *tls_connect(struct tls_context *c, int fd, enum tls_role peer);
void tls_free(struct tls *t);
DEFINE_FREEP(struct tls, tls_free)

/* Each: >= 0, -EAGAIN (wait for tls_events()), 0 from tls_read = closed in order, -EPROTO with tls_reason() for what
 * is not TLS or not ours, -ECONNRESET ... handshake must have returned 0 before the others are called. */
int tls_handshake(struct tls *t);
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
unsigned tls_events(const struct tls *t);  /* EPOLLIN or EPOLLOUT, what the last -EAGAIN waits for */
bool tls_has_pending(const struct tls *t); /* bytes that no poll will announce, if only of a part of a record */
bool tls_is_drained(
	const struct tls *t);     /* a read would find nothing: the kernel had no more, and all of that was read */
void tls_shutdown(struct tls *t); /* sends close_notify if it goes without waiting */

enum tls_role tls_peer_role(const struct tls *t);
bool tls_is_resumed(const struct tls *t);
const char *tls_reason(const struct tls *t); /* why it failed, for people: "wrong secret", "not TLS", ... */
bool tls_is_final(const struct tls *t); /* it failed in a way that trying again does not mend: secret, role, version */

#endif
