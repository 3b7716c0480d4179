/* SPDX-License-Identifier: Apache-2.0
 * How names are walked, from a source that takes its time. */
#include "common/path.h"
#include "data/data.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { N_NAMES = 3000, N_LEAST = 4 /* threads that a walk begins with */ };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_slow, is_one_each;
static unsigned n_inside, n_most, n_looking, n_looking_most;
static pthread_mutex_t directories[256];

/* A look that takes its time; of one directory, if it is such a filesystem, behind the others of it. */
static void look(int fd)
{
	struct stat st;
	ASSERT_EQ((int)syscall(SYS_fstat, fd, &st), 0);
	pthread_mutex_t *directory = &directories[st.st_ino % countof(directories)];
	if (is_one_each)
		pthread_mutex_lock(directory);
	pthread_mutex_lock(&lock);
	n_looking_most = max(n_looking_most, ++n_looking);
	pthread_mutex_unlock(&lock);
	nanosleep(&(struct timespec){.tv_nsec = is_one_each ? 5000000 : 1000000}, NULL);
	pthread_mutex_lock(&lock);
	n_looking--;
	pthread_mutex_unlock(&lock);
	if (is_one_each)
		pthread_mutex_unlock(directory);
}

/* In place of libc's: a server far away. */
int fstatat(int fd, const char *restrict name, struct stat *restrict st, int flags)
{
	pthread_mutex_lock(&lock);
	n_inside++;
	n_most = max(n_most, n_inside);
	bool is_waiting = is_slow;
	pthread_mutex_unlock(&lock);
	if (is_waiting)
		look(fd);
	pthread_mutex_lock(&lock);
	n_inside--;
	pthread_mutex_unlock(&lock);
	return (int)syscall(SYS_newfstatat, fd, name, st, flags);
}

static struct tree *seal(struct memory_store *m, const char *path)
{
	const struct seal_options o = {.store = &m->store, .n_threads = 2};
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	void *vti;
	size_t n;
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_EQ(seal_directory(fd, path, &o, &vti, &n, &errors, &notes), 0);
	ASSERT_EQ(tree_take(vti, n, NULL, &t), 0);
	ASSERT_EQ(errors.n + notes.n, 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return t;
}

static char *make_names(void)
{
	char *in = unit_path("in");
	_free_ char *first = unit_path("in/first");
	ASSERT_EQ(path_make_dirs(in, 0755), 0);
	ASSERT_EQ(path_write(first, "", 0, 0644, false), 0);
	for (unsigned i = 0; i < N_NAMES; i++) {
		_free_ char *name = xasprintf("%s/%u", in, i);
		ASSERT_EQ(link(first, name), 0);
	}
	return in;
}

TEST(a_slow_source_is_walked_by_more_threads_and_gives_the_same_tree)
{
	struct memory_store m;
	_free_ char *in = make_names();
	memory_store_init(&m);
	_cleanup_(tree_freep) struct tree *quick = seal(&m, in);
	is_slow = true;
	n_most = 0;
	_cleanup_(tree_freep) struct tree *slow = seal(&m, in);
	is_slow = false;
	ASSERT(n_most >= 3 * N_LEAST);
	ASSERT_EQ(tree_n_nodes(slow), 2 + N_NAMES);
	ASSERT(digest_is_equal(tree_id(quick), tree_id(slow)));
	memory_store_fini(&m);
}

/* As FUSE does, unless its server says otherwise. */
TEST(a_source_that_looks_up_one_name_of_a_directory_at_a_time_is_walked_in_many_at_once)
{
	struct memory_store m;
	_free_ char *in = unit_path("many");
	for (unsigned i = 0; i < countof(directories); i++)
		pthread_mutex_init(&directories[i], NULL);
	for (unsigned i = 0; i < 40; i++) {
		_free_ char *directory = xasprintf("%s/%u/below", in, i);
		ASSERT_EQ(path_make_dirs(directory, 0755), 0);
		for (unsigned k = 0; k < 30; k++) {
			_free_ char *name = xasprintf("%s/%u", directory, k);
			ASSERT_EQ(path_write(name, "", 0, 0644, false), 0);
		}
	}
	memory_store_init(&m);
	n_looking_most = 0;
	is_slow = is_one_each = true;
	_cleanup_(tree_freep) struct tree *t = seal(&m, in);
	is_slow = is_one_each = false;
	ASSERT_EQ(tree_n_nodes(t), 1 + 40 * 32);
	ASSERT(n_looking_most >= 3 * N_LEAST);
	memory_store_fini(&m);
}
