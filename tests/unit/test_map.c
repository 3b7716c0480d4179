// SPDX-License-Identifier: Apache-2.0
#include "common/map.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static void *number(uint64_t n)
{
	return (void *)(uintptr_t)n;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

TEST(an_empty_map_finds_nothing_and_costs_nothing)
{
	struct map m = {0};
	size_t i = 0;
	ASSERT(map_get(&m, 0) == NULL);
	ASSERT(map_remove(&m, 7) == NULL);
	ASSERT(map_get_text(&m, "x") == NULL);
	ASSERT(map_remove_text(&m, "") == NULL);
	ASSERT(map_next(&m, &i) == NULL);
	ASSERT(m.slots == NULL);
	map_fini(&m);
}

TEST(putting_again_returns_what_was_there)
{
	struct map m = {0};
	ASSERT(map_put(&m, 0, number(1)) == NULL);
	ASSERT(map_put(&m, 0, number(2)) == number(1));
	ASSERT(map_put(&m, UINT64_MAX, number(3)) == NULL);
	ASSERT_EQ(m.n, 2);
	ASSERT(map_get(&m, 0) == number(2));
	ASSERT(map_get(&m, UINT64_MAX) == number(3));
	ASSERT(map_get(&m, 1) == NULL);
	ASSERT(map_remove(&m, 0) == number(2));
	ASSERT(map_remove(&m, 0) == NULL);
	ASSERT(map_remove(&m, UINT64_MAX) == number(3));
	ASSERT(m.slots == NULL);
}

TEST(a_million_sequential_numbers_are_all_found)
{
	struct map m = {0};
	for (uint64_t i = 1; i <= 1000000; i++)
		map_put(&m, i, number(i));
	ASSERT_EQ(m.n, 1000000);
	uint64_t wrong = 0;
	for (uint64_t i = 1; i <= 1000000; i++)
		wrong += map_get(&m, i) != number(i) || map_get(&m, i + 1000000) != NULL;
	ASSERT_EQ(wrong, 0);
	for (uint64_t i = 1; i <= 1000000; i++)
		wrong += map_remove(&m, i) != number(i);
	ASSERT_EQ(wrong, 0);
	ASSERT(m.slots == NULL);
}

TEST(it_shrinks_when_little_is_left)
{
	struct map m = {0};
	for (uint64_t i = 1; i <= 100000; i++)
		map_put(&m, i, number(i));
	for (uint64_t i = 1; i <= 99990; i++)
		map_remove(&m, i);
	for (int i = 0; i < 8; i++)
		map_put(&m, 200000u + (unsigned)i, number(1));
	ASSERT(m.room <= 64);
	for (uint64_t i = 99991; i <= 100000; i++)
		ASSERT(map_get(&m, i) == number(i));
	map_fini(&m);
}

TEST(random_operations_agree_with_a_plain_array)
{
	enum { KEYS = 512 };
	struct map m = {0};
	uintptr_t model[KEYS] = {0};
	uint64_t state = 88172645463325252u;
	for (unsigned step = 1; step <= 300000; step++) {
		uint64_t key = next_random(&state) % KEYS;
		// Keys that share their low or high bits only.
		uint64_t spread = key % 2 ? key << 40 : key;
		void *before = number(model[key]);
		// Phases of mostly putting and mostly removing let it grow and shrink.
		if (next_random(&state) % 8 < (step / 20000 % 2 ? 6u : 2u)) {
			ASSERT(map_put(&m, spread, number(step)) == before);
			model[key] = step;
		} else {
			ASSERT(map_remove(&m, spread) == before);
			model[key] = 0;
		}
		uint64_t other = next_random(&state) % KEYS;
		ASSERT(map_get(&m, other % 2 ? other << 40 : other) == number(model[other]));
	}
	map_fini(&m);
}

TEST(each_value_is_visited_once_while_any_of_them_are_removed)
{
	uint64_t state = 1;
	for (unsigned round = 0; round < 300; round++) {
		struct map m = {0};
		unsigned n = 1 + (unsigned)(next_random(&state) % 200);
		unsigned seen[201] = {0};
		for (uint64_t k = 1; k <= n; k++)
			map_put(&m, k, number(k));
		size_t i = 0, visited = 0;
		for (void *v; (v = map_next(&m, &i)); visited++) {
			ASSERT_EQ(seen[(uintptr_t)v]++, 0);
			if (next_random(&state) % 3 < round % 4)
				ASSERT(map_remove(&m, (uintptr_t)v) == v);
		}
		ASSERT_EQ(visited, n);
		map_fini(&m);
	}
}

TEST(strings_are_compared_not_their_addresses)
{
	struct map m = {0};
	char key[] = "sweep";
	ASSERT(map_put_text(&m, "sweep", number(1)) == NULL);
	ASSERT(map_get_text(&m, key) == number(1));
	ASSERT(map_put_text(&m, key, number(2)) == number(1));
	ASSERT(map_put_text(&m, "", number(3)) == NULL);
	ASSERT(map_get_text(&m, "") == number(3));
	ASSERT(map_get_text(&m, "swee") == NULL);
	ASSERT(map_remove_text(&m, "sweep") == number(2));
	ASSERT(map_get_text(&m, "sweep") == NULL);
	map_fini(&m);
}

TEST(a_replaced_string_key_is_the_new_one)
{
	struct map m = {0};
	char *old = xstrdup("name"), *new = xstrdup("name");
	map_put_text(&m, old, number(1));
	map_put_text(&m, new, number(2));
	free(old);
	ASSERT(map_get_text(&m, "name") == number(2));
	map_fini(&m);
	free(new);
}

TEST(two_hundred_thousand_strings_come_and_go)
{
	enum { N = 200000 };
	struct map m = {0};
	char(*keys)[32] = xcalloc(N, 32);
	for (unsigned i = 0; i < N; i++) {
		snprintf(keys[i], sizeof keys[i], "%s/task-%u", i % 2 ? "run" : "a-longer-run", i);
		ASSERT(map_put_text(&m, keys[i], keys[i]) == NULL);
	}
	unsigned wrong = 0;
	for (unsigned i = 0; i < N; i++)
		wrong += map_get_text(&m, keys[i]) != keys[i];
	for (unsigned i = 0; i < N; i += 2)
		wrong += map_remove_text(&m, keys[i]) != keys[i];
	for (unsigned i = 0; i < N; i++)
		wrong += map_get_text(&m, keys[i]) != (i % 2 ? keys[i] : NULL);
	ASSERT_EQ(wrong, 0);
	ASSERT_EQ(m.n, N / 2);
	map_fini(&m);
	free(keys);
}
