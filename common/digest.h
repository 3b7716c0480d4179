/* SPDX-License-Identifier: Apache-2.0
 * Digests: an algorithm byte and 32 bytes. The only file that asks libcrypto for one. Any thread. */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/base.h"

enum digest_algorithm { DIGEST_NONE = 0, DIGEST_SHA256 = 1 };

#define DIGEST_SIZE 32
#define DIGEST_TEXT_SIZE (DIGEST_SIZE * 2 + 1)

struct digest {
	uint8_t algorithm;
	uint8_t byte[DIGEST_SIZE];
};

bool digest_is_equal(const struct digest *a, const struct digest *b);

/* Hex of the bytes into `text`; and back, -EINVAL if it is not 64 hex digits. */
char *digest_text(const struct digest *d, char text[DIGEST_TEXT_SIZE]);
int digest_parse(const char *text, struct digest *d);

void digest_bytes(const void *p, size_t n, struct digest *d);

/* Streaming: new, add ..., end (which makes it ready for the next one). */
struct digest_stream;
struct digest_stream *digest_stream_new(void);
void digest_stream_free(struct digest_stream *s);
DEFINE_FREEP(struct digest_stream, digest_stream_free)
void digest_stream_add(struct digest_stream *s, const void *p, size_t n);
void digest_stream_end(struct digest_stream *s, struct digest *d);

/* Digests of the chunks of [p, p + n), computed on n_threads threads; out has (n + chunk - 1) / chunk places. */
void digest_chunks(const void *p, size_t n, size_t chunk, unsigned n_threads, struct digest *out);

#endif
