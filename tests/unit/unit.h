// SPDX-License-Identifier: Apache-2.0
// The unit test bench: a thin face on CUnit. One program per source file, one suite per program.
//
//     TEST(a_removed_watcher_hears_nothing)
//     {
//             ASSERT_EQ(loop_run(loop), 0);
//     }
//
// A failed assertion ends its test at once and prints file:line and both values. `./test_x loop`
// runs only the tests whose name contains "loop". The last line printed is `N passed, N failed`.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Defines a test and registers it; tests run in the order of their definition.
#define TEST(name)                                                     \
	static void name(void);                                        \
	__attribute__((constructor)) static void unit_add_##name(void) \
	{                                                              \
		unit_add(#name, name);                                 \
	}                                                              \
	static void name(void)

#define ASSERT(x) unit_true((x) ? true : false, #x, __FILE__, __LINE__)
#define ASSERT_EQ(a, b) unit_eq((long long)(a), (long long)(b), #a " == " #b, __FILE__, __LINE__)
#define ASSERT_STR(a, b) unit_str((a), (b), #a " is " #b, __FILE__, __LINE__)

// Leaves the test as neither passed nor failed and says why (a missing kernel feature).
#define SKIP(why)               \
	do {                    \
		unit_skip(why); \
		return;         \
	} while (0)

// How long a test waits for what must come: a busy machine does nothing at once, and a sanitizer makes all of it slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNIT_SLOWER 4u
#else
#define UNIT_SLOWER 1u
#endif
#define UNIT_PATIENCE_SEC (60u * UNIT_SLOWER)
#define UNIT_PATIENCE_USEC (1000000u * UNIT_PATIENCE_SEC)

// A private directory of the running test, removed with all it holds when the test ends. Borrowed.
const char *unit_tmpdir(void);
// The path of a name in it, to be freed.
char *unit_path(const char *name);

// The next number of a sequence that its seed (not 0) replays.
uint64_t unit_random(uint64_t *seed);

// Runs a random model on the seeds 1 to n_seeds, or n_soak of them if SOAK is set, printing each first: a failing one is the last printed. All is checked after each
// step of the first n_dense, after each `check_each` of the others. NAME=seed in the environment runs that one alone, densely.
struct unit_seeds {
	const char *name;
	unsigned n_seeds, n_soak, n_steps, n_dense, check_each;
};
void unit_run_seeds(const struct unit_seeds *s, void (*run)(uint64_t seed, unsigned n_steps, unsigned check_each));

// What the macros call.
void unit_add(const char *name, void (*run)(void));
void unit_true(bool ok, const char *what, const char *file, unsigned line);
void unit_eq(long long a, long long b, const char *what, const char *file, unsigned line);
void unit_str(const char *a, const char *b, const char *what, const char *file, unsigned line);
void unit_skip(const char *why);
