// SPDX-License-Identifier: Apache-2.0
#include "common/digest.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

static const char *hex(const void *p, size_t n)
{
	static char text[DIGEST_TEXT_SIZE];
	struct digest d;
	digest_bytes(p, n, &d);
	return digest_text(&d, text);
}

static uint8_t *pattern(size_t n)
{
	uint8_t *p = xmalloc(n);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 13);
	return p;
}

TEST(known_answers_come_out)
{
	ASSERT_STR(hex("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	ASSERT_STR(hex("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ASSERT_STR(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
		   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(a_stream_in_any_pieces_equals_the_whole)
{
	enum { N = 100000 };
	_free_ uint8_t *p = pattern(N);
	struct digest whole, pieces;
	digest_bytes(p, N, &whole);
	ASSERT_EQ(whole.algorithm, DIGEST_SHA256);
	_cleanup_(digest_stream_freep) struct digest_stream *s = digest_stream_new();
	// The same stream again and again: ending it makes it ready for the next.
	for (size_t step = 1; step < N; step = step * 7 + 1) {
		for (size_t at = 0; at < N; at += step)
			digest_stream_add(s, p + at, min(step, N - at));
		digest_stream_add(s, NULL, 0);
		digest_stream_end(s, &pieces);
		ASSERT(digest_is_equal(&whole, &pieces));
	}
}

TEST(chunks_are_the_same_on_any_number_of_threads)
{
	enum { N = 1000003, CHUNK = 32768, CHUNKS = (N + CHUNK - 1) / CHUNK };
	_free_ uint8_t *p = pattern(N);
	_free_ struct digest *expected = xcalloc(CHUNKS, sizeof(struct digest));
	_free_ struct digest *got = xcalloc(CHUNKS + 1, sizeof(struct digest));
	for (size_t i = 0; i < CHUNKS; i++)
		digest_bytes(p + i * CHUNK, min((size_t)CHUNK, N - i * CHUNK), &expected[i]);
	static const unsigned threads[] = {0, 1, 2, 3, 8, 200};
	for (size_t i = 0; i < countof(threads); i++) {
		memset(got, 0, CHUNKS * sizeof *got);
		digest_chunks(p, N, CHUNK, threads[i], got);
		for (size_t each = 0; each < CHUNKS; each++)
			ASSERT(digest_is_equal(&expected[each], &got[each]));
		ASSERT_EQ(got[CHUNKS].algorithm, DIGEST_NONE);
	}
}

TEST(nothing_has_no_chunks_and_a_short_rest_has_one)
{
	struct digest d[2] = {{0}}, expected;
	digest_chunks(NULL, 0, 4096, 2, d);
	ASSERT_EQ(d[0].algorithm, DIGEST_NONE);
	digest_chunks("x", 1, SIZE_MAX, 2, d);
	digest_bytes("x", 1, &expected);
	ASSERT(digest_is_equal(&d[0], &expected));
	ASSERT_EQ(d[1].algorithm, DIGEST_NONE);
}

static void *digest_in_thread(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct digest d;
		digest_bytes("abc", 3, &d);
		if (!digest_is_equal(&d, arg))
			return arg;
	}
	return NULL;
}

TEST(many_threads_may_begin_at_once)
{
	struct digest expected;
	ASSERT_EQ(digest_parse("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", &expected), 0);
	pthread_t threads[8];
	for (size_t i = 0; i < countof(threads); i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, digest_in_thread, &expected), 0);
	for (size_t i = 0; i < countof(threads); i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		ASSERT(wrong == NULL);
	}
}

TEST(text_goes_there_and_back)
{
	struct digest d, again = {0};
	char text[DIGEST_TEXT_SIZE];
	digest_bytes("vine", 4, &d);
	ASSERT_EQ(digest_parse(digest_text(&d, text), &again), 0);
	ASSERT(digest_is_equal(&d, &again));
	text[0] = 'A'; // capitals are read too
	ASSERT_EQ(digest_parse(text, &again), 0);
	again.algorithm = DIGEST_NONE;
	ASSERT(!digest_is_equal(&d, &again));
	struct digest before = again;
	text[63] = 'g';
	ASSERT_EQ(digest_parse(text, &again), -EINVAL);
	text[63] = 0;
	ASSERT_EQ(digest_parse(text, &again), -EINVAL);
	ASSERT_EQ(digest_parse("", &again), -EINVAL);
	ASSERT_EQ(digest_parse("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550", &again), -EINVAL);
	ASSERT(digest_is_equal(&before, &again));
}
