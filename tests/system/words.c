/* SPDX-License-Identifier: Apache-2.0
 * Says to a real cluster what the library can say, and checks what becomes of it. `words DIR`, with a node of one core or more; DIR is seen
 * by it. After DIR/posted the script kills the scheduler and then makes DIR/go; between `touch DIR/watching` and `DIR/joined`, `DIR/left` the script lets a second node come and go. */
#include "libvineclient/vine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MSEC 60000

static struct vine *v;
static const char *directory;

#define CHECK(x)                                                                              \
	do {                                                                                  \
		if (!(x)) {                                                                   \
			fprintf(stderr, "words.c:%d: %s (%s)\n", __LINE__, #x, vine_error()); \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

static struct vine_task *shell(const char *script, const char *const (*settings)[2])
{
	struct vine_task *t;
	CHECK(!vine_task_new((const char *const[]){"/bin/sh", "-c", script, directory, NULL}, &t));
	for (; settings && (*settings)[0]; settings++)
		CHECK(!vine_task_set(t, (*settings)[0], (*settings)[1]));
	return t;
}

static uint64_t post(const char *script, const char *const (*settings)[2])
{
	struct vine_task *t = shell(script, settings);
	uint64_t id;
	CHECK(!vine_post(v, &t, 1, &id));
	vine_task_free(t);
	return id;
}

/* The next event that the selector takes has these values, name after name; NULL ends them. */
static void expect(const char *selector, const char *const values[])
{
	struct vine_event *e;
	CHECK(vine_next(v, selector, MSEC, &e) == 1);
	for (; *values; values += 2) {
		const char *value = "?";
		vine_event_get(e, values[0], &value);
		if (strcmp(value, values[1]) != 0) {
			const char *reason = "?";
			vine_event_get(e, "reason", &reason);
			fprintf(stderr, "words: %s: %s is %s, not %s (%s)\n", selector, values[0], value, values[1],
				reason);
			exit(1);
		}
	}
	CHECK(!vine_event_done(e));
}
#define EXPECT(selector, ...) expect(selector, (const char *const[]){__VA_ARGS__, NULL})

static void touch(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *f = fopen(path, "w");
	CHECK(f && fclose(f) == 0);
}

static int keep_cells(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	char *text = arg;
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(text);
		snprintf(text + length, 4096 - length, "%s=%s ", names[i], cells[i]);
	}
	return 0;
}

/* ---- what is said */

static void cancel_by_words(void)
{
	struct vine_event *e;
	post("sleep 1000", (const char *const[][2]){{"tag", "x"}, {"key", "k"}, {NULL, NULL}});
	post("sleep 1000", (const char *const[][2]){{"tag", "x"}, {"category", "c"}, {NULL, NULL}});
	post("sleep 1000", (const char *const[][2]){{"tag", "y"}, {"category", "c"}, {NULL, NULL}});
	CHECK(!vine_cancel(v, "key:k"));
	EXPECT("tag:x", "how", "cancelled");
	CHECK(vine_next(v, "tag:x", 0, &e) == 0);
	CHECK(!vine_cancel(v, "tag:x"));
	EXPECT("tag:x", "how", "cancelled", "category", "c");
	CHECK(vine_next(v, NULL, 0, &e) == 0);
	CHECK(!vine_cancel(v, "category:c"));
	EXPECT("category:c", "how", "cancelled", "tag", "y");
	CHECK(vine_next(v, NULL, 0, &e) == -ENODATA);
}

static void limits_of_a_category(void)
{
	char row[4096] = "", id[24];
	CHECK(!vine_set(v, "category.few.running", "1"));
	post("sleep 1000", (const char *const[][2]){{"category", "few"}, {"cores", "1"}, {NULL, NULL}});
	uint64_t second = post("sleep 1000", (const char *const[][2]){{"category", "few"}, {NULL, NULL}});
	snprintf(id, sizeof id, "%llu", (unsigned long long)second);
	CHECK(vine_query(v, "why", id, keep_cells, row) == 1);
	if (!strstr(row, "few")) {
		fprintf(stderr, "words: why it waits does not name its category: %s\n", row);
		exit(1);
	}
	CHECK(!vine_cancel(v, NULL));
	EXPECT("category:few", "how", "cancelled");
	EXPECT("category:few", "how", "cancelled");
	CHECK(!vine_set(v, "category.few.running", ""));
	CHECK(!vine_set(v, "counter.licences", "1"));
	CHECK(!vine_set(v, "lifetime", "forever"));
}

static void failures(void)
{
	post("mkdir \"$0/once\" && exit 3; exit 0",
	     (const char *const[][2]){{"retries", "1"}, {"tag", "retry"}, {NULL, NULL}});
	EXPECT("tag:retry", "how", "exited", "status", "0", "attempts", "2");
	/* One at a time, and the first stays. */
	CHECK(!vine_set(v, "category.one.running", "1"));
	post("sleep 1000", (const char *const[][2]){{"category", "one"}, {"tag", "stays"}, {NULL, NULL}});
	post("true",
	     (const char *const[][2]){{"category", "one"}, {"tag", "late"}, {"deadline", "+300ms"}, {NULL, NULL}});
	EXPECT("tag:late", "how", "not-started", "attempts", "0");
	CHECK(!vine_cancel(v, "tag:stays"));
	EXPECT("tag:stays", "how", "cancelled");
}

static void dependencies(void)
{
	struct vine_task *maker = shell("echo 5 >\"$0/five\"", NULL);
	struct vine_task *again = shell("echo 6 >\"$0/five\"", NULL);
	struct vine_task *reader = shell("cat \"$0/five\"", (const char *const[][2]){{"tag", "reader"}, {NULL, NULL}});
	struct vine_task *stray = shell("true", NULL);
	struct vine_file *five, *nobody, *a, *b;
	char path[4096];
	uint64_t first, second;
	snprintf(path, sizeof path, "%s/five", directory);
	CHECK(!vine_task_set(maker, "key", "maker"));
	CHECK(!vine_task_output(maker, path, 0, &five));
	CHECK(!vine_task_output(again, path, VINE_NAMED, &five));
	CHECK(!vine_task_input(reader, five, path, 0));
	CHECK(!vine_file_new(v, "temp:nobody", &nobody));
	CHECK(!vine_task_input(stray, nobody, path, 0));
	CHECK(vine_post(v, &stray, 1, NULL) == -ENOENT && strstr(vine_error(), "temp:nobody"));
	/* All or nothing: the reader's maker is refused with its second. */
	CHECK(vine_post(v, (struct vine_task *[]){reader, maker, again}, 3, NULL) == -EEXIST);
	CHECK(!vine_post(v, (struct vine_task *[]){reader, maker}, 2, (uint64_t[2]){0}));
	CHECK(!vine_post(v, &maker, 1, &first) && !vine_post(v, &maker, 1, &second) && first == second);
	EXPECT("tag:reader", "status", "0", "out", "5\n");
	EXPECT(NULL, "status", "0");
	vine_task_free(stray);
	/* In a circle. */
	stray = shell("true", NULL);
	struct vine_task *other = shell("true", NULL);
	CHECK(!vine_task_output(stray, "/a", 0, &a) && !vine_task_output(other, "/b", 0, &b));
	CHECK(!vine_task_input(stray, b, "/b", 0) && !vine_task_input(other, a, "/a", 0));
	CHECK(vine_post(v, (struct vine_task *[]){stray, other}, 2, NULL) == -ELOOP);
	/* What is forgotten is named by nobody. */
	CHECK(!vine_forget(v, vine_file_name(five)));
	CHECK(vine_post(v, &reader, 1, NULL) == -ENOENT);
	CHECK(vine_forget(v, "temp:nobody") == -ENOENT);
	struct vine_file *files[] = {five, nobody, a, b};
	struct vine_task *tasks[] = {maker, again, reader, stray, other};
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		vine_file_free(files[i]);
	for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
		vine_task_free(tasks[i]);
}

static void expect_text(const char *path, const char *meant)
{
	char text[100] = "";
	FILE *f = fopen(path, "r");
	CHECK(f && fread(text, 1, sizeof text - 1, f) > 0 && fclose(f) == 0);
	if (strcmp(text, meant) != 0) {
		fprintf(stderr, "words: in %s stands %s\n", path, text);
		exit(1);
	}
}

/* What only we see goes there, what it leaves comes back or is published. */
static void files(void)
{
	struct vine_task *t = shell(
		"read a b <numbers; cat; umask; echo $((a * b)) | tee product published >/dev/null; mkdir d; echo 1 "
		">d/stray",
		(const char *const[][2]){
			{"tag", "files"}, {"stdin", "words/in"}, {"umask", "027"}, {"strict", "yes"}, {NULL, NULL}});
	struct vine_file *numbers, *in, *product, *kept, *seen;
	char uri[4300], path[4200];
	snprintf(path, sizeof path, "%s/in", directory);
	FILE *f = fopen(path, "w");
	CHECK(f && fputs("standard input\n", f) >= 0 && fclose(f) == 0);
	snprintf(uri, sizeof uri, "client:%s", path);
	CHECK(!vine_file_bytes(v, "6 7\n", 4, &numbers) && !vine_file_new(v, uri, &in));
	CHECK(!vine_task_input(t, numbers, "numbers", 0) && !vine_task_input(t, in, "words/in", 0));
	CHECK(!vine_task_output(t, "product", 0, &product));
	snprintf(uri, sizeof uri, "keep:%s/published", directory);
	CHECK(!vine_file_new(v, uri, &kept) && !vine_task_output(t, "published", VINE_NAMED, &kept));
	CHECK(!vine_post(v, &t, 1, NULL));
	EXPECT("tag:files", "how", "exited", "status", "0", "out", "standard input\n0027\n", "left", "d/stray",
	       "n-left", "1");
	snprintf(path, sizeof path, "%s/product", directory);
	CHECK(!vine_fetch_to(v, product, path));
	expect_text(path, "42\n");
	snprintf(path, sizeof path, "%s/published", directory);
	expect_text(path, "42\n");
	CHECK(!vine_file_new(v, path, &seen));
	/* One that is not there. */
	struct vine_task *none = shell("true", (const char *const[][2]){{"tag", "none"}, {NULL, NULL}});
	CHECK(!vine_task_output(none, "may-miss", VINE_OPTIONAL, NULL) && !vine_post(v, &none, 1, NULL));
	EXPECT("tag:none", "how", "exited", "status", "0");
	vine_task_free(none);
	none = shell("true", (const char *const[][2]){{"tag", "none"}, {NULL, NULL}});
	CHECK(!vine_task_output(none, "missing", 0, NULL) && !vine_post(v, &none, 1, NULL));
	EXPECT("tag:none", "how", "no-output");
	struct vine_file *all[] = {numbers, in, product, kept, seen};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		vine_file_free(all[i]);
	vine_task_free(t);
	vine_task_free(none);
}

/* Takes the results of the n elements, each of which printed its index. */
static void expect_elements(const char *selector, uint64_t first, uint64_t step, size_t n, uint64_t id)
{
	bool had[100] = {false};
	for (size_t i = 0; i < n; i++) {
		struct vine_event *e;
		const char *task, *index, *out, *status;
		CHECK(vine_next(v, selector, MSEC, &e) == 1);
		vine_event_get(e, "task", &task);
		vine_event_get(e, "index", &index);
		vine_event_get(e, "out", &out);
		vine_event_get(e, "status", &status);
		uint64_t k = strtoull(task, NULL, 10) - id;
		CHECK(k < n && !had[k] && strcmp(status, "0") == 0);
		CHECK(strtoull(index, NULL, 10) == first + k * step && strtoull(out, NULL, 10) == first + k * step);
		had[k] = true;
		CHECK(!vine_event_done(e));
	}
}

/* Each element reads its own file; meanwhile vined is killed. */
static void arrays(void)
{
	struct vine_task *t = shell("until [ -e \"$0/go\" ]; do sleep 0.05; done; cat \"$0/part-{index}\"",
				    (const char *const[][2]){{"array", "10-106:3%7"}, {"tag", "array"}, {NULL, NULL}});
	struct vine_file *part;
	char path[4096];
	uint64_t id, next;
	for (int i = 10; i <= 106; i += 3) {
		snprintf(path, sizeof path, "%s/part-%d", directory, i);
		FILE *f = fopen(path, "w");
		CHECK(f && fprintf(f, "%d\n", i) > 0 && fclose(f) == 0);
	}
	snprintf(path, sizeof path, "%s/part-{index}", directory);
	CHECK(!vine_file_new(v, path, &part));
	CHECK(!vine_task_input(t, part, NULL, 0));
	CHECK(!vine_post(v, &t, 1, &id));
	next = post("true", NULL);
	CHECK(next == id + 33);
	touch("posted");
	expect_elements("tag:array", 10, 3, 33, id);
	EXPECT(NULL, "status", "0");
	struct vine_event *e;
	CHECK(vine_next(v, NULL, 0, &e) == -ENODATA);
	vine_file_free(part);
	vine_task_free(t);
}

static void nodes_come_and_go(void)
{
	CHECK(!vine_set(v, "events", "nodes"));
	touch("watching");
	EXPECT("nodes", "type", "node-joined", "node", "second");
	touch("joined");
	EXPECT("nodes", "type", "node-lost", "node", "second");
	touch("left");
	CHECK(!vine_set(v, "events", "none"));
}

static void forgotten_runs(void)
{
	struct vine *other;
	char row[4096] = "";
	CHECK(!vine_open(&other, NULL, "other"));
	CHECK(vine_forget(v, "no-such-run") == -ENOENT);
	uint64_t id = post("sleep 1000", NULL);
	CHECK(id && vine_forget(other, vine_run(v)) == -EBUSY);
	CHECK(vine_forget(v, NULL) == -EBUSY);
	CHECK(!vine_cancel(v, NULL));
	EXPECT(NULL, "how", "cancelled");
	CHECK(!vine_forget(v, NULL));
	CHECK(vine_query(v, "tasks", vine_run(v), keep_cells, row) <= 0);
	CHECK(!vine_close(other, 0));
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	directory = argv[1];
	CHECK(!vine_open(&v, NULL, "words"));
	cancel_by_words();
	limits_of_a_category();
	failures();
	dependencies();
	files();
	arrays();
	nodes_come_and_go();
	forgotten_runs();
	CHECK(!vine_close(v, 1));
	return 0;
}
