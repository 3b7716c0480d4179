/* SPDX-License-Identifier: Apache-2.0
 * What only the client sees goes to the cluster before the tasks that name it, and what tasks leave comes back. */
#include "common/path.h"
#include "tests/unit/client_data.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define LARGE (3u << 20)

static struct depot depot;
static struct fake *f;
static struct vine *v;

static void world_start(void)
{
	f = depot_start(&depot);
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
}

static void world_stop(void)
{
	ASSERT_EQ(vine_close(v, 1), 0);
	fake_stop(f);
	depot_fini(&depot);
}

static void write_bytes(const char *path, const void *p, size_t n)
{
	FILE *to = fopen(path, "w");
	ASSERT(to && fwrite(p, 1, n, to) == n);
	ASSERT_EQ(fclose(to), 0);
}

static void *pattern(size_t n, unsigned seed)
{
	uint32_t *p = xmalloc(n + 4);
	for (size_t i = 0; i < n / 4 + 1; i++)
		p[i] = (uint32_t)i * 2654435761u + seed;
	return p;
}

/* A directory with a large file, some small ones, an empty one, a link and a directory that nothing can be written into. */
static char *make_directory(const char *name)
{
	char *path = unit_path(name);
	_free_ void *large = pattern(LARGE + 7, 1);
	ASSERT_EQ(mkdir(path, 0755), 0);
	_free_ char *big = xasprintf("%s/big", path);
	_free_ char *sub = xasprintf("%s/sub", path);
	_free_ char *to = xasprintf("%s/link", path);
	_free_ char *empty = xasprintf("%s/empty", path);
	write_bytes(big, large, LARGE + 7);
	write_bytes(empty, "", 0);
	ASSERT_EQ(symlink("sub/3", to), 0);
	ASSERT_EQ(mkdir(sub, 0700), 0);
	for (unsigned i = 0; i < 20; i++) {
		_free_ char *small = xasprintf("%s/%u", sub, i);
		_free_ void *bytes = pattern(70000, min(i, 14u)); /* the last are all alike */
		write_bytes(small, bytes, 70000);
		ASSERT_EQ(chmod(small, i % 2 ? 0444 : 0755), 0);
	}
	ASSERT_EQ(chmod(sub, 0555), 0);
	return path;
}

static struct vine_task *task_reading(const char *uri, const char *path)
{
	struct vine_task *t = task_new();
	struct vine_file *file;
	ASSERT_EQ(vine_file_new(v, uri, &file), 0);
	ASSERT_EQ(vine_task_input(t, file, path, 0), 0);
	vine_file_free(file);
	return t;
}

static struct wire_submit *post(struct vine_task *t)
{
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	return fake_submit(f);
}

/* What the cluster has of it is verified; then it can stand for a task's output. */
static struct vine_file *file_of_cargo(size_t i)
{
	struct vine_file *file;
	ASSERT(i < depot.n && depot.cargo[i]->is_whole);
	snprintf(depot.item, sizeof depot.item, "temp:out");
	memcpy(depot.tree, depot.cargo[i]->id, sizeof depot.tree);
	ASSERT_EQ(vine_file_new(v, "temp:out", &file), 0);
	return file;
}

static void expect_equal(const char *a, const char *b)
{
	_free_ char *command = xasprintf(
		"diff -r --no-dereference '%s' '%s' && cd '%s' && find . -printf '%%p %%m %%T@ %%l\\n' | sort >"
		"'%s/one' && cd '%s' && find . -printf '%%p %%m %%T@ %%l\\n' | sort | diff '%s/one' -",
		a, b, a, unit_tmpdir(), b, unit_tmpdir());
	ASSERT_EQ(system(command), 0);
}

static size_t count_names(const char *path)
{
	size_t n = 0;
	DIR *d = opendir(path);
	ASSERT(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

TEST(what_only_the_client_sees_goes_before_the_task)
{
	world_start();
	_free_ char *path = make_directory("data");
	_free_ char *uri = xasprintf("client:%s", path);
	struct vine_task *t = task_reading(uri, NULL);
	_free_ struct wire_submit *m = post(t);
	const struct wire_binding *b = m->tasks.at[0].bindings.at;
	ASSERT_EQ(depot.n, 1);
	ASSERT(depot.cargo[0]->is_whole);
	ASSERT_STR(b[0].path, path);
	ASSERT(has_prefix(b[0].item, "tree:"));
	ASSERT_STR(b[0].item + 5, depot.cargo[0]->id);
	ASSERT_EQ(b[0].size, depot.cargo[0]->bytes.n);
	ASSERT_STR(b[0].signature, "");
	/* Once. */
	_free_ struct wire_submit *again _unused_ = post(t);
	ASSERT_EQ(depot.n_offers, 1);
	/* And it is what was there. */
	struct vine_file *out = file_of_cargo(0);
	_free_ char *back = unit_path("back");
	ASSERT_EQ(vine_fetch_to(v, out, back), 0);
	expect_equal(path, back);
	vine_file_free(out);
	vine_task_free(t);
	world_stop();
}

TEST(bytes_are_a_file_and_equal_ones_are_one)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_file *a, *b, *c, *empty;
	_free_ uint8_t *bytes = pattern(LARGE, 5);
	_free_ char *back = unit_path("back");
	ASSERT_EQ(vine_file_bytes(v, bytes, LARGE, &a), 0);
	ASSERT_EQ(vine_file_bytes(v, bytes, LARGE, &b), 0);
	bytes[7]++;
	ASSERT_EQ(vine_file_bytes(v, bytes, LARGE, &c), 0);
	ASSERT_EQ(vine_file_bytes(v, bytes, SIZE_MAX, &empty), -E2BIG);
	ASSERT_EQ(vine_file_bytes(v, "", 0, &empty), 0);
	ASSERT_EQ(vine_task_input(t, a, NULL, 0), -EINVAL);
	ASSERT_EQ(vine_task_input(t, a, "a", 0), 0);
	ASSERT_EQ(vine_task_input(t, b, "b", 0), 0);
	ASSERT_EQ(vine_task_input(t, c, "c", 0), 0);
	ASSERT_EQ(vine_task_input(t, empty, "e", VINE_RW), 0);
	_free_ struct wire_submit *m = post(t);
	const struct wire_binding *at = m->tasks.at[0].bindings.at;
	ASSERT_STR(at[0].item, at[1].item);
	ASSERT(!streq(at[0].item, at[2].item));
	ASSERT_EQ(depot.n, 3);
	ASSERT_EQ(depot.n_offers, 3);
	ASSERT_EQ(depot.cargo[1]->bytes.n, LARGE);
	ASSERT(memcmp(depot.cargo[1]->bytes.at, bytes, LARGE) == 0);
	struct vine_file *out = file_of_cargo(2);
	ASSERT_EQ(vine_fetch_to(v, out, back), 0);
	struct stat st;
	ASSERT(stat(back, &st) == 0 && st.st_size == 0);
	vine_file_free(a);
	vine_file_free(b);
	vine_file_free(c);
	vine_file_free(empty);
	vine_file_free(out);
	vine_task_free(t);
	world_stop();
}

static void *post_one(void *arg)
{
	struct vine_task *t = arg;
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	return NULL;
}

static void wait_for_index(void)
{
	for (int i = 0; !depot.has_index && i < 2000; i++)
		poll(NULL, 0, 10);
	ASSERT(depot.has_index);
}

struct posting {
	struct vine_task *t;
	int r;
	char text[1200];
};

static void *post_changed(void *arg)
{
	struct posting *p = arg;
	p->r = vine_post(v, &p->t, 1, NULL);
	snprintf(p->text, sizeof p->text, "%s", vine_error());
	return NULL;
}

/* Sealed, then `change` is done, then its bytes are asked for. */
static void change_between(struct posting *p, void (*change)(const char *path), const char *path)
{
	pthread_t thread;
	depot.is_waiting = true;
	depot.has_index = false;
	ASSERT_EQ(pthread_create(&thread, NULL, post_changed, p), 0);
	wait_for_index();
	change(path);
	depot.is_waiting = false;
	pthread_join(thread, NULL);
}

static void change_small(const char *path)
{
	_free_ char *file = xasprintf("%s/sub/3", path);
	ASSERT_EQ(chmod(file, 0644), 0);
	int fd = open(file, O_WRONLY);
	ASSERT(fd >= 0 && pwrite(fd, "x", 1, 100) == 1);
	close(fd);
}

static void change_large(const char *path)
{
	_free_ char *file = xasprintf("%s/big", path);
	ASSERT_EQ(truncate(file, 100), 0);
}

static void remove_small(const char *path)
{
	_free_ char *file = xasprintf("%s/sub/4", path);
	_free_ char *sub = xasprintf("%s/sub", path);
	ASSERT_EQ(chmod(sub, 0755), 0);
	ASSERT_EQ(unlink(file), 0);
}

TEST(a_file_that_changes_before_it_was_sent_is_named)
{
	static const struct {
		void (*change)(const char *path);
		const char *name;
		int error;
	} cases[] = {{change_small, "sub/3", ESTALE}, {change_large, "/big", ESTALE}, {remove_small, "sub/4", ENOENT}};
	for (size_t i = 0; i < countof(cases); i++) {
		world_start();
		_free_ char *name = xasprintf("data%zu", i);
		_free_ char *path = make_directory(name);
		_free_ char *uri = xasprintf("client:%s", path);
		struct posting p = {.t = task_reading(uri, "in")};
		change_between(&p, cases[i].change, path);
		ASSERT_EQ(p.r, -ESTALE);
		ASSERT(strstr(p.text, cases[i].name));
		ASSERT_EQ(f->n_kept, 0);
		/* Posted again it is sealed again. */
		_free_ struct wire_submit *m _unused_ = post(p.t);
		ASSERT_EQ(depot.n, 2);
		ASSERT(depot.cargo[1]->is_whole);
		vine_task_free(p.t);
		world_stop();
	}
}

TEST(an_offer_outlives_its_connection)
{
	world_start();
	_free_ char *path = make_directory("data");
	_free_ char *uri = xasprintf("client:%s", path);
	struct vine_task *t = task_reading(uri, "in");
	depot.lose_offers = 2;
	_free_ struct wire_submit *m _unused_ = post(t);
	ASSERT_EQ(depot.n_offers, 3);
	ASSERT(depot.cargo[0]->is_whole);
	vine_task_free(t);
	world_stop();
}

TEST(threads_that_post_the_same_offer_it_once)
{
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	struct vine_task *t[THREADS];
	world_start();
	_free_ char *path = make_directory("data");
	_free_ char *other = make_directory("other");
	_free_ char *uri = xasprintf("client:%s", path);
	_free_ char *second = xasprintf("client:%s", other);
	struct vine_file *a, *b;
	ASSERT_EQ(vine_file_new(v, uri, &a), 0);
	ASSERT_EQ(vine_file_new(v, second, &b), 0);
	for (size_t i = 0; i < THREADS; i++) {
		/* In different orders. */
		t[i] = task_new();
		ASSERT_EQ(vine_task_input(t[i], i % 2 ? a : b, "one", 0), 0);
		ASSERT_EQ(vine_task_input(t[i], i % 2 ? b : a, "two", 0), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, post_one, t[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ASSERT_EQ(depot.n, 2);
	ASSERT_EQ(depot.n_offers, 2);
	for (size_t i = 0; i < THREADS; i++)
		vine_task_free(t[i]);
	vine_file_free(a);
	vine_file_free(b);
	world_stop();
}

TEST(who_finds_no_room_hears_when_to_try_again)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_file *bytes;
	ASSERT_EQ(vine_file_bytes(v, "1", 1, &bytes), 0);
	ASSERT_EQ(vine_task_input(t, bytes, "in", 0), 0);
	depot.full_offers = 1;
	ASSERT_EQ(vine_post(v, &t, 1, NULL), -EAGAIN);
	ASSERT(strstr(vine_error(), "no node has room"));
	struct pollfd fd = {.fd = vine_fd(v), .events = POLLIN};
	ASSERT_EQ(poll(&fd, 1, 20000), 1);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	vine_file_free(bytes);
	vine_task_free(t);
	world_stop();
}

static int keep_row(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	ASSERT_EQ(n, 3);
	snprintf(arg, 4200, "%s %s=%s %s=%s", cells[0], names[1], cells[1], names[2], cells[2]);
	return 0;
}

/* Nobody asks for the bytes any more: whoever closes does not wait for that. */
TEST(a_session_can_be_closed_while_something_is_sent)
{
	pthread_t thread;
	world_start();
	_free_ char *path = make_directory("data");
	_free_ char *uri = xasprintf("client:%s", path);
	struct posting p = {.t = task_reading(uri, "in")};
	depot.is_stuck = true;
	depot.has_index = false;
	ASSERT_EQ(pthread_create(&thread, NULL, post_changed, &p), 0);
	wait_for_index();
	char row[4200] = "";
	ASSERT_EQ(vine_query(v, "sending", NULL, keep_row, row), 1);
	ASSERT(has_prefix(row, path) && strstr(row, " size=") && strstr(row, " sent="));
	ASSERT_EQ(vine_close(v, 1), 0);
	pthread_join(thread, NULL);
	ASSERT_EQ(p.r, -ECANCELED);
	vine_task_free(p.t);
	fake_stop(f);
	depot_fini(&depot);
}

/* ---- the way back */

/* The bytes are with the cluster, and stand for an output. */
static struct vine_file *leave(const void *p, size_t n)
{
	struct vine_task *t = task_new();
	struct vine_file *in;
	ASSERT_EQ(vine_file_bytes(v, p, n, &in), 0);
	ASSERT_EQ(vine_task_input(t, in, "in", 0), 0);
	_free_ struct wire_submit *m _unused_ = post(t);
	vine_file_free(in);
	vine_task_free(t);
	return file_of_cargo(depot.n - 1);
}

static void expect_file(const char *path, const void *p, size_t n)
{
	size_t got;
	_free_ char *text = path_read(path, n + 1, &got);
	ASSERT(text && got == n && memcmp(text, p, n) == 0);
}

TEST(an_output_is_fetched_to_a_descriptor)
{
	world_start();
	static const size_t sizes[] = {0, 5, 70000, LARGE + 1};
	_free_ char *path = unit_path("got");
	for (size_t i = 0; i < countof(sizes); i++) {
		_free_ void *bytes = pattern(sizes[i], 9);
		struct vine_file *out = leave(bytes, sizes[i]);
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		ASSERT(fd >= 0);
		ASSERT_EQ(vine_fetch(v, out, fd), (int64_t)sizes[i]);
		close(fd);
		expect_file(path, bytes, sizes[i]);
		vine_file_free(out);
	}
	world_stop();
}

TEST(a_lie_or_a_cut_is_asked_for_again_and_never_believed)
{
	world_start();
	_free_ void *bytes = pattern(LARGE, 3);
	struct vine_file *out = leave(bytes, LARGE);
	_free_ char *got = unit_path("got");
	_free_ char *none = unit_path("none");
	depot.lies = 1;
	ASSERT_EQ(vine_fetch_to(v, out, got), 0);
	expect_file(got, bytes, LARGE);
	depot.cuts = 1;
	ASSERT_EQ(vine_fetch_to(v, out, got), 0);
	depot.lose_reads = 2;
	ASSERT_EQ(vine_fetch_to(v, out, got), 0);
	expect_file(got, bytes, LARGE);
	size_t n = count_names(unit_tmpdir());
	depot.lies = 1000;
	ASSERT_EQ(vine_fetch_to(v, out, none), -EBADMSG);
	ASSERT(strstr(vine_error(), "temp:out"));
	depot.lies = 0;
	depot.cuts = 1000;
	ASSERT_EQ(vine_fetch_to(v, out, none), -EIO);
	depot.cuts = 0;
	depot.wrong_indices = 1;
	ASSERT_EQ(vine_fetch_to(v, out, none), -EBADMSG);
	ASSERT(access(none, F_OK) < 0);
	ASSERT_EQ(count_names(unit_tmpdir()), n);
	vine_file_free(out);
	world_stop();
}

TEST(what_is_there_is_not_mixed_with_what_comes)
{
	world_start();
	_free_ char *path = make_directory("data");
	_free_ char *uri = xasprintf("client:%s", path);
	struct vine_task *t = task_reading(uri, "in");
	_free_ struct wire_submit *m _unused_ = post(t);
	struct vine_file *out = file_of_cargo(0);
	_free_ char *taken = unit_path("taken");
	_free_ char *inside = unit_path("taken/x");
	_free_ char *file = unit_path("file");
	_free_ char *slash = unit_path("new/");
	_free_ char *made = unit_path("new");
	ASSERT_EQ(mkdir(taken, 0755), 0);
	write_bytes(inside, "1", 1);
	write_bytes(file, "1", 1);
	size_t n = count_names(unit_tmpdir());
	ASSERT(vine_fetch_to(v, out, taken) < 0 && strstr(vine_error(), "already"));
	ASSERT(vine_fetch_to(v, out, file) < 0 && strstr(vine_error(), "already"));
	ASSERT_EQ(vine_fetch(v, out, 1), -EISDIR);
	ASSERT_EQ(count_names(unit_tmpdir()), n);
	ASSERT_EQ(vine_fetch_to(v, out, slash), 0);
	expect_equal(path, made);
	ASSERT_EQ(unlink(inside), 0);
	ASSERT_EQ(vine_fetch_to(v, out, taken), 0);
	vine_file_free(out);
	vine_task_free(t);
	world_stop();
}

TEST(what_nobody_left_is_not_there)
{
	world_start();
	struct vine_file *out, *bytes;
	ASSERT_EQ(vine_file_new(v, "temp:out", &out), 0);
	ASSERT_EQ(vine_fetch(v, out, 1), -ENOENT);
	snprintf(depot.item, sizeof depot.item, "temp:out");
	ASSERT_EQ(vine_fetch(v, out, 1), -ENOENT);
	ASSERT(strstr(vine_error(), "has not ended well"));
	snprintf(depot.tree, sizeof depot.tree, "%064d", 1);
	ASSERT_EQ(vine_fetch(v, out, 1), -ENOENT);
	ASSERT(strstr(vine_error(), "no node has it"));
	snprintf(depot.tree, sizeof depot.tree, "zz");
	ASSERT_EQ(vine_fetch(v, out, 1), -EPROTO);
	ASSERT_EQ(vine_fetch_to(v, out, ""), -EINVAL);
	ASSERT_EQ(vine_file_bytes(v, "1", 1, &bytes), 0);
	vine_file_free(out);
	vine_file_free(bytes);
	world_stop();
}

/* The connection to vined is still there: nobody waits for it to come back. */
TEST(output_that_is_cut_off_on_the_way_is_no_whole_output)
{
	world_start();
	_free_ char *path = unit_path("got");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ASSERT(fd >= 0);
	ASSERT_EQ(vine_output(v, 1, 1, 0, fd), -ECONNRESET);
	ASSERT(strstr(vine_error(), "cut off"));
	/* Who follows goes on from there. */
	ASSERT_EQ(vine_output(v, 1, 1 | VINE_FOLLOW, 0, fd), 3);
	ASSERT_EQ(vine_output(v, 1, 4, 0, fd), -EINVAL);
	ASSERT_EQ(vine_output(v, 1, 3, 0, fd), -ECONNRESET);
	close(fd);
	world_stop();
}
