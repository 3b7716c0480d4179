/* SPDX-License-Identifier: Apache-2.0 */
#include "common/digest.h"

#include <openssl/evp.h>
#include <pthread.h>

#define THREADS_MAX 64

struct digest_stream {
	EVP_MD_CTX *context;
};

/* Fetched once: a fetch takes libcrypto's locks and costs more than digesting a small file. */
static EVP_MD *sha256;

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!sha256)
		abort(); /* a libcrypto without SHA-256 is no libcrypto of ours */
}

static const EVP_MD *algorithm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch);
	return sha256;
}

bool digest_is_equal(const struct digest *a, const struct digest *b)
{
	return a->algorithm == b->algorithm && memcmp(a->byte, b->byte, DIGEST_SIZE) == 0;
}

char *digest_text(const struct digest *d, char text[DIGEST_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		text[2 * i] = digits[d->byte[i] >> 4];
		text[2 * i + 1] = digits[d->byte[i] & 15];
	}
	text[DIGEST_TEXT_SIZE - 1] = 0;
	return text;
}

int digest_parse(const char *text, struct digest *d)
{
	if (strnlen(text, DIGEST_TEXT_SIZE) != DIGEST_TEXT_SIZE - 1)
		return -EINVAL;
	struct digest parsed = {.algorithm = DIGEST_SHA256};
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		parsed.byte[i] = (uint8_t)(high << 4 | low);
	}
	*d = parsed;
	return 0;
}

/* libcrypto fails here only when it is out of memory or misused: both end the process. */
static void must(int is_ok)
{
	if (!is_ok)
		abort();
}

static void end(EVP_MD_CTX *context, struct digest *d)
{
	unsigned n = 0;
	must(EVP_DigestFinal_ex(context, d->byte, &n));
	assert(n == DIGEST_SIZE);
	d->algorithm = DIGEST_SHA256;
}

struct digest_stream *digest_stream_new(void)
{
	struct digest_stream *s = NEW(struct digest_stream);
	s->context = EVP_MD_CTX_new();
	must(s->context != NULL);
	must(EVP_DigestInit_ex2(s->context, algorithm(), NULL));
	return s;
}

void digest_stream_free(struct digest_stream *s)
{
	EVP_MD_CTX_free(s->context);
	free(s);
}

void digest_stream_add(struct digest_stream *s, const void *p, size_t n)
{
	must(EVP_DigestUpdate(s->context, p, n));
}

void digest_stream_end(struct digest_stream *s, struct digest *d)
{
	end(s->context, d);
	must(EVP_DigestInit_ex2(s->context, NULL, NULL));
}

void digest_bytes(const void *p, size_t n, struct digest *d)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	must(context != NULL);
	must(EVP_DigestInit_ex2(context, algorithm(), NULL));
	must(EVP_DigestUpdate(context, p, n));
	end(context, d);
	EVP_MD_CTX_free(context);
}

/* What the threads of one digest_chunks share; they take the next chunk from `next`. */
struct job {
	const uint8_t *p;
	size_t n, chunk, n_chunks, next;
	struct digest *out;
};

static void *work(void *arg)
{
	struct job *job = arg;
	struct digest_stream *s = digest_stream_new();
	size_t i;
	while ((i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < job->n_chunks) {
		size_t at = i * job->chunk;
		assert(at < job->n);
		digest_stream_add(s, job->p + at, min(job->chunk, job->n - at));
		digest_stream_end(s, &job->out[i]);
	}
	digest_stream_free(s);
	return NULL;
}

void digest_chunks(const void *p, size_t n, size_t chunk, unsigned n_threads, struct digest *out)
{
	assert(chunk > 0);
	struct job job = {.p = p, .n = n, .chunk = chunk, .n_chunks = n / chunk + (n % chunk != 0), .out = out};
	pthread_t threads[THREADS_MAX];
	size_t most = min(n_threads, (unsigned)THREADS_MAX);
	size_t want = min(most, job.n_chunks);
	size_t started = 0;
	/* This thread is one of them; it does the rest alone where no more can be had. */
	while (started + 1 < want && !pthread_create(&threads[started], NULL, work, &job))
		started++;
	work(&job);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}
