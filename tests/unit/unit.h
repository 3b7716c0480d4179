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

// A private directory of the running test, removed with all it holds when the test ends. Borrowed.
const char *unit_tmpdir(void);

// What the macros call.
void unit_add(const char *name, void (*run)(void));
void unit_true(bool ok, const char *what, const char *file, unsigned line);
void unit_eq(long long a, long long b, const char *what, const char *file, unsigned line);
void unit_str(const char *a, const char *b, const char *what, const char *file, unsigned line);
void unit_skip(const char *why);
