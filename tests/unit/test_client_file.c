/* SPDX-License-Identifier: Apache-2.0
 * Files of the client library: what a name means, and what the cluster is told of it. */
#include "tests/unit/client_run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Posts the tasks and returns what came; yours. */
static struct wire_submit *post(struct vine_task *const t[], size_t n)
{
	ASSERT_EQ(vine_post(v, t, n, NULL), 0);
	return fake_submit(f);
}

static void write_file(const char *path, const char *text)
{
	FILE *to = fopen(path, "w");
	ASSERT(to && fputs(text, to) >= 0);
	ASSERT_EQ(fclose(to), 0);
}

TEST(a_shared_path_is_looked_at_once)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_file *file, *directory;
	struct stat st;
	char signature[100];
	_free_ char *path = unit_path("data");
	_free_ char *round = unit_path("././/data");
	write_file(path, "12345");
	ASSERT_EQ(stat(path, &st), 0);
	snprintf(signature, sizeof signature, "5:%" PRId64 ":%" PRIu64,
		 (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, (uint64_t)st.st_ino);
	ASSERT_EQ(vine_file_new(v, round, &file), 0);
	ASSERT_EQ(vine_file_new(v, unit_tmpdir(), &directory), 0);
	ASSERT(has_prefix(vine_file_name(file), "file:/") && streq(vine_file_name(file) + 5, path));
	write_file(path, "changed");
	ASSERT_EQ(vine_task_input(t, file, NULL, 0), 0);
	ASSERT_EQ(vine_task_input(t, file, "/data/here", VINE_RW), 0);
	ASSERT_EQ(vine_file_set(directory, "size", "2G"), 0);
	ASSERT_EQ(vine_task_input(t, directory, "/env", 0), 0);
	/* What the task has of them is its own. */
	vine_file_free(file);
	vine_file_free(directory);
	_free_ struct wire_submit *m = post(&t, 1);
	const struct wire_binding *b = m->tasks.at[0].bindings.at;
	ASSERT_EQ(m->tasks.at[0].bindings.n, 3);
	ASSERT_STR(b[0].path, path);
	ASSERT_STR(b[0].item + 5, path);
	ASSERT_STR(b[0].signature, signature);
	ASSERT_EQ(b[0].size, 5);
	ASSERT_EQ(b[0].mode, 1);
	ASSERT_STR(b[1].path, "/data/here");
	ASSERT_EQ(b[1].mode, 2);
	ASSERT_EQ(b[2].size, 2ull << 30);
	ASSERT(*b[2].signature);
	vine_task_free(t);
	world_stop();
}

TEST(a_relative_path_is_made_absolute)
{
	world_start();
	struct vine_file *file;
	char here[4096];
	ASSERT(getcwd(here, sizeof here));
	ASSERT_EQ(chdir(unit_tmpdir()), 0);
	ASSERT_EQ(mkdir("sub", 0700), 0);
	write_file("tree:x", "1");
	ASSERT_EQ(vine_file_new(v, "./tree:x", &file), 0);
	ASSERT(strstr(vine_file_name(file), "/tree:x"));
	vine_file_free(file);
	/* Only the kernel knows what .. means. */
	ASSERT_EQ(symlink("/", "link"), 0);
	ASSERT_EQ(vine_file_new(v, "link/../dev", &file), 0);
	ASSERT_STR(vine_file_name(file), "file:/dev");
	vine_file_free(file);
	ASSERT_EQ(vine_file_new(v, "sub/../tree:x", &file), 0);
	ASSERT(!strstr(vine_file_name(file), ".."));
	vine_file_free(file);
	ASSERT_EQ(chdir(here), 0);
	world_stop();
}

TEST(what_is_no_file_is_refused_by_what_it_is)
{
	world_start();
	struct vine_file *file;
	_free_ char *fifo = unit_path("fifo");
	_free_ char *socket_path = unit_path("socket");
	ASSERT_EQ(mkfifo(fifo, 0600), 0);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s", socket_path);
	ASSERT_EQ(bind(s, (struct sockaddr *)&a, sizeof a), 0);
	const struct {
		const char *uri, *text;
		int error;
	} bad[] = {
		{"", "empty", EINVAL},
		{fifo, "FIFO", EINVAL},
		{socket_path, "socket", EINVAL},
		{"/dev/null", "device", EINVAL},
		{"/no/such/file", "node:/no/such/file", ENOENT},
		{"no-such-file", "no-such-file", ENOENT},
		{"file:", "missing", EINVAL},
		{"node:data", "absolute", EINVAL},
		{"node:/a/../b", "..", EINVAL},
		{"/a/{index}/../b", "..", EINVAL},
		{"a\nb", "control", EINVAL},
		{"tree:12", "64 hex digits", EINVAL},
		{"keep:out", "absolute", EINVAL},
		{"client:", "missing", EINVAL},
		{"client:/no/such/file", "/no/such/file", ENOENT},
		{"client:/a/{index}", "array", EOPNOTSUPP},
		{"temp:", "1 to 255", EINVAL},
		{"temp:a b", "blanks", EINVAL},
		{"https://example.org/data.tar", "URLs", EOPNOTSUPP},
	};
	for (size_t i = 0; i < countof(bad); i++) {
		ASSERT_EQ(vine_file_new(v, bad[i].uri, &file), -bad[i].error);
		ASSERT(!file && strstr(vine_error(), bad[i].text));
	}
	if (geteuid() != 0) {
		_free_ char *secret = unit_path("secret");
		write_file(secret, "1");
		ASSERT_EQ(chmod(secret, 0), 0);
		ASSERT_EQ(vine_file_new(v, secret, &file), -EACCES);
	}
	close(s);
	world_stop();
}

TEST(names_that_are_not_looked_at_go_as_they_are)
{
	world_start();
	struct vine_file *file;
	static const char *const good[] = {"node:/scratch/db", "temp:part-{index}", "file:/no/such/shard-{index}",
					   "tree:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
	for (size_t i = 0; i < countof(good); i++) {
		ASSERT_EQ(vine_file_new(v, good[i], &file), 0);
		ASSERT_STR(vine_file_name(file), good[i]);
		vine_file_free(file);
	}
	ASSERT_EQ(vine_file_new(v, "node:/scratch/db", &file), 0);
	ASSERT_EQ(vine_file_set(file, "checksum", "1"), -EOPNOTSUPP);
	ASSERT_EQ(vine_file_set(file, "sise", "1"), -EINVAL);
	ASSERT(strstr(vine_error(), "size"));
	ASSERT_EQ(vine_file_set(file, "size", "much"), -EINVAL);
	vine_file_free(file);
	vine_file_free(NULL);
	world_stop();
}

TEST(an_output_is_an_input_of_others_at_once)
{
	world_start();
	struct vine_task *t[3] = {task_new(), task_new(), task_new()};
	struct vine_file *a, *b, *named;
	ASSERT_EQ(vine_task_output(t[0], "/out/a", 0, &a), 0);
	ASSERT_EQ(vine_task_output(t[0], "/out/b", 0, &b), 0);
	ASSERT_EQ(vine_task_input(t[1], a, "/in/a", 0), 0);
	ASSERT_EQ(vine_task_input(t[2], b, "/in/b", 0), 0);
	ASSERT_EQ(vine_task_input(t[2], a, NULL, 0), -EINVAL);
	ASSERT_EQ(vine_file_new(v, "temp:final", &named), 0);
	ASSERT_EQ(vine_task_output(t[2], "/out/final", VINE_NAMED, &named), 0);
	_free_ struct wire_submit *m = post(t, 3);
	const struct wire_task *got = m->tasks.at;
	ASSERT_EQ(got[0].bindings.at[0].mode, 3);
	ASSERT_STR(got[0].bindings.at[0].item, got[1].bindings.at[0].item);
	ASSERT_STR(got[0].bindings.at[1].item, got[2].bindings.at[0].item);
	ASSERT(!streq(got[0].bindings.at[0].item, got[0].bindings.at[1].item));
	ASSERT_STR(vine_file_name(a), got[0].bindings.at[0].item);
	ASSERT_STR(got[2].bindings.at[1].item, "temp:final");
	vine_file_free(a);
	vine_file_free(b);
	vine_file_free(named);
	for (size_t i = 0; i < countof(t); i++)
		vine_task_free(t[i]);
	world_stop();
}

TEST(an_output_says_when_it_counts_and_where_it_is_published)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_file *kept, *part;
	_free_ char *there = unit_path("there");
	write_file(there, "1");
	ASSERT_EQ(vine_file_new(v, "keep:/shared/./result", &kept), 0);
	ASSERT_STR(vine_file_name(kept), "file:/shared/result");
	ASSERT_EQ(vine_task_output(t, "result", VINE_NAMED | VINE_OPTIONAL, &kept), 0);
	ASSERT_EQ(vine_task_output(t, "core", VINE_ON_FAILURE | VINE_OPTIONAL, NULL), 0);
	ASSERT_EQ(vine_task_output(t, "log", VINE_ALWAYS, NULL), 0);
	ASSERT_EQ(vine_task_output(t, "part-*", VINE_PATTERN, &part), 0);
	ASSERT_EQ(vine_task_output(t, "x", VINE_ALWAYS | VINE_ON_FAILURE, NULL), -EINVAL);
	ASSERT_EQ(vine_task_output(t, "x", 64, NULL), -EINVAL);
	struct vine_file *seen;
	ASSERT_EQ(vine_file_new(v, there, &seen), 0);
	ASSERT_EQ(vine_task_output(t, "again", VINE_NAMED, &seen), 0);
	_free_ struct wire_submit *m = post(&t, 1);
	const struct wire_binding *b = m->tasks.at[0].bindings.at;
	static const uint32_t flags[] = {1, 3, 4, 8, 0};
	ASSERT_EQ(m->tasks.at[0].bindings.n, countof(flags));
	for (size_t i = 0; i < countof(flags); i++) {
		ASSERT_EQ(b[i].mode, 3);
		ASSERT_EQ(b[i].flags, flags[i]);
		/* What is there now is not what will be. */
		ASSERT_STR(b[i].signature, "");
	}
	ASSERT_STR(b[0].item, "file:/shared/result");
	vine_file_free(kept);
	vine_file_free(part);
	vine_file_free(seen);
	vine_task_free(t);
	world_stop();
}

TEST(a_wrong_binding_is_refused_with_its_path)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_file *file, *out = NULL;
	ASSERT_EQ(vine_file_new(v, "node:/a", &file), 0);
	static const char *const bad[] = {"", "../b", "a/..", "/a/../b", "/a//b", "/a/.", "/", "/a\nb"};
	for (size_t i = 0; i < countof(bad); i++) {
		ASSERT_EQ(vine_task_input(t, file, bad[i], 0), -EINVAL);
		ASSERT_EQ(vine_task_output(t, bad[i], 0, &out), -EINVAL);
		ASSERT(!out && strstr(vine_error(), "path"));
	}
	ASSERT_EQ(vine_task_input(t, file, "below/it", 0), 0);
	ASSERT_EQ(vine_task_input(t, file, "/b", 4), -EINVAL);
	ASSERT_EQ(vine_task_output(t, "/b", VINE_RW, &out), -EINVAL);
	ASSERT_EQ(vine_task_output(t, NULL, 0, &out), -EINVAL);
	ASSERT_EQ(vine_task_output(t, "/b", VINE_NAMED, NULL), -EINVAL);
	ASSERT_EQ(vine_task_output(t, "/b", VINE_NAMED, &file), -EINVAL);
	ASSERT(strstr(vine_error(), "node:/a"));
	_free_ struct wire_submit *m = post(&t, 1);
	ASSERT_EQ(m->tasks.at[0].bindings.n, 1);
	ASSERT_STR(m->tasks.at[0].bindings.at[0].path, "below/it");
	vine_file_free(file);
	vine_task_free(t);
	world_stop();
}

TEST(each_element_of_an_array_has_its_own_files)
{
	world_start();
	struct vine_task *map = task_new(), *single = task_new();
	struct vine_file *shard;
	ASSERT_EQ(vine_task_set(map, "array", "0-9"), 0);
	ASSERT_EQ(vine_file_new(v, "/data/shard-{index}", &shard), 0);
	ASSERT_EQ(vine_task_input(map, shard, NULL, 0), 0);
	_free_ struct wire_submit *m = post(&map, 1);
	ASSERT_STR(m->tasks.at[0].bindings.at[0].path, "/data/shard-{index}");
	ASSERT_STR(m->tasks.at[0].bindings.at[0].item, "file:/data/shard-{index}");
	/* What is no array has no index. */
	ASSERT_EQ(vine_task_input(single, shard, "/in", 0), 0);
	ASSERT_EQ(vine_post(v, &single, 1, NULL), -EINVAL);
	ASSERT(strstr(vine_error(), "shard-{index}"));
	vine_file_free(shard);
	vine_task_free(map);
	vine_task_free(single);
	world_stop();
}

static void *free_tasks(void *arg)
{
	struct vine_task **t = arg;
	for (size_t i = 0; t[i]; i++)
		vine_task_free(t[i]);
	return NULL;
}

TEST(a_file_outlives_the_last_description_in_any_thread)
{
	enum { THREADS = 4, EACH = 200 };
	world_start();
	struct vine_task *t[THREADS][EACH + 1] = {{NULL}};
	pthread_t threads[THREADS];
	struct vine_file *file;
	ASSERT_EQ(vine_file_new(v, "node:/a", &file), 0);
	for (size_t i = 0; i < THREADS; i++) {
		for (size_t k = 0; k < EACH; k++) {
			t[i][k] = task_new();
			ASSERT_EQ(vine_task_input(t[i][k], file, NULL, 0), 0);
		}
	}
	vine_file_free(file);
	for (size_t i = 0; i < THREADS; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, free_tasks, t[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	world_stop();
}
