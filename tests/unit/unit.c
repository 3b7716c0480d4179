// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/unit.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A program that hangs is killed after this long, so that `make check` always ends.
#define DEADLINE_SEC (300u * UNIT_SLOWER)

static struct unit {
	struct {
		const char *name;
		void (*run)(void);
	} tests[512];
	unsigned n_tests, n_passed, n_failed;
	const char *skipped;
	char tmpdir[256];
	pid_t tmpdir_owner;
} unit;

void unit_add(const char *name, void (*run)(void))
{
	if (unit.n_tests == sizeof(unit.tests) / sizeof(unit.tests[0]))
		abort();
	unit.tests[unit.n_tests].name = name;
	unit.tests[unit.n_tests++].run = run;
}

void unit_true(bool ok, const char *what, const char *file, unsigned line)
{
	CU_assertImplementation(ok, line, what, file, "", CU_TRUE);
}

void unit_eq(long long a, long long b, const char *what, const char *file, unsigned line)
{
	char text[512];

	snprintf(text, sizeof(text), "%s (%lld, %lld)", what, a, b);
	unit_true(a == b, text, file, line);
}

void unit_str(const char *a, const char *b, const char *what, const char *file, unsigned line)
{
	char text[1024];
	bool same = a && b ? strcmp(a, b) == 0 : a == b;

	snprintf(text, sizeof(text), "%s (\"%s\", \"%s\")", what, a ? a : "NULL", b ? b : "NULL");
	unit_true(same, text, file, line);
}

void unit_skip(const char *why)
{
	unit.skipped = why;
}

const char *unit_tmpdir(void)
{
	const char *base = getenv("TMPDIR");

	if (!unit.tmpdir[0]) {
		snprintf(unit.tmpdir, sizeof(unit.tmpdir), "%s/vine-unit.XXXXXX", base && base[0] ? base : "/tmp");
		if (!mkdtemp(unit.tmpdir)) {
			perror(unit.tmpdir);
			abort();
		}
		unit.tmpdir_owner = getpid();
	}
	return unit.tmpdir;
}

char *unit_path(const char *name)
{
	char *path;
	if (asprintf(&path, "%s/%s", unit_tmpdir(), name) < 0)
		abort();
	return path;
}

uint64_t unit_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

void unit_run_seeds(const struct unit_seeds *s, void (*run)(uint64_t seed, unsigned n_steps, unsigned check_each))
{
	const char *one = getenv(s->name);
	if (one) {
		run(strtoull(one, NULL, 10), s->n_steps, 1);
		return;
	}
	unsigned n = getenv("SOAK") ? s->n_soak : s->n_seeds;
	printf(" seeds");
	for (uint64_t seed = 1; seed <= n; seed++) {
		printf(" %llu", (unsigned long long)seed);
		fflush(stdout);
		run(seed, s->n_steps, seed <= s->n_dense ? 1 : s->check_each);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

// A forked child of a test that reaches exit() must not take its parent's directory away.
static void remove_tmpdir(void)
{
	if (unit.tmpdir[0] && unit.tmpdir_owner == getpid())
		nftw(unit.tmpdir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	unit.tmpdir[0] = 0;
}

// The name is out before the test runs, so a crash leaves it as the last thing printed.
static void on_start(const CU_pTest test, const CU_pSuite suite)
{
	(void)suite;
	unit.skipped = NULL;
	printf("%s ...", test->pName);
	fflush(stdout);
}

static void on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
	remove_tmpdir();
	if (failures) {
		unit.n_failed++;
		printf(" FAIL\n");
	} else if (unit.skipped) {
		printf(" skip: %s\n", unit.skipped);
	} else {
		unit.n_passed++;
		printf(" ok\n");
	}
	for (const CU_FailureRecord *f = failures; f; f = f->pNext)
		printf("%s:%u: %s/%s: %s\n", f->strFileName, f->uiLineNumber, suite->pName, test->pName,
		       f->strCondition);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *filter = argc > 1 ? argv[1] : "", *slash = strrchr(argv[0], '/');
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		abort();
	suite = CU_add_suite(slash ? slash + 1 : argv[0], NULL, NULL);
	for (unsigned i = 0; i < unit.n_tests; i++)
		if (strstr(unit.tests[i].name, filter) && !CU_add_test(suite, unit.tests[i].name, unit.tests[i].run))
			abort();
	atexit(remove_tmpdir);
	CU_set_test_start_handler(on_start);
	CU_set_test_complete_handler(on_complete);
	alarm(DEADLINE_SEC);
	CU_run_all_tests();
	CU_cleanup_registry();
	printf("%u passed, %u failed\n", unit.n_passed, unit.n_failed);
	return unit.n_failed > 0;
}
