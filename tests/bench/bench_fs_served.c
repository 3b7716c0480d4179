/* SPDX-License-Identifier: Apache-2.0
 * What a served mount costs beside the native filesystem, without cache, views or binds: names and small files warm and at the first visit, Python's imports, and how many
 * requests these are. Sealed into memory, so a first visit has its backing there; the native side is warm too. In a mount namespace of its own. The last line is
 * open + read + close of small files, warm. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/scratch.h"
#include "tests/unit/memory_store.h"
#include "vinefs/mount/mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_DIRECTORIES 100
#define N_FILES 10000
#define PAIRS 7
#define ROOM_MIB 200u
#define LIMIT_SEC 600

static const char imports[] = "import asyncio, email.mime.text, http.client, json, logging.config, multiprocessing, "
			      "sqlite3, unittest, xml.dom.minidom, "
			      "xml.etree.ElementTree, ctypes.util, concurrent.futures, urllib.request, zipfile, "
			      "tarfile, typing, statistics, decimal, pydoc";

struct bench {
	const char *directory;
	char native[128], mounted[128];
	const char *python, *library; /* Python's */
	int to, from;                 /* the server */
	pid_t server;
};

/* ---- the server, a process of its own */

static ssize_t read_now(void *arg, void *tree, const struct mount_range *r, void *p)
{
	struct memory_store *store = arg;
	int e = store->reader.read(store->reader.arg, tree_blob(tree, r->blob), r->offset, p, r->n);
	return e < 0 ? e : (ssize_t)r->n;
}

static void read_later(void *arg, void *tree, const struct mount_range *r, struct mount_request *q)
{
	(void)arg;
	(void)tree;
	(void)r;
	mount_answer(q, NULL, -EIO);
}

static void release(void *arg, void *tree)
{
	(void)arg;
	tree_free(tree);
}

static int add(struct mount *m, struct memory_store *store, const char *name, const char *path)
{
	const struct seal_options o = {.store = &store->store};
	struct seal_report errors = {0}, notes = {0};
	struct tree *t;
	void *vti;
	size_t n;
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY);
	int r = fd < 0 ? -errno : seal_directory(fd, path, &o, &vti, &n, &errors, &notes);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	if (r == 0)
		r = tree_take(vti, n, NULL, &t);
	const struct mount_tree given = {.index = t, .arg = t};
	return r < 0 ? r : mount_add(m, name, &given);
}

static _Noreturn void serve(const struct bench *b, unsigned n_threads, int in, int out)
{
	struct memory_store store;
	struct mount_connection c;
	struct mount_settings s = {.n_threads = n_threads};
	struct mount_numbers numbers;
	char error[MOUNT_ERROR_SIZE], byte;
	const struct mount_place place = {.directory = b->mounted};
	memory_store_init(&store);
	store.store.recall_file = NULL;
	store.store.learn_file = NULL;
	s.source = (struct mount_source){
		.arg = &store, .read_now = read_now, .read_later = read_later, .release = release};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct mount *m = mount_new(&s);
	int r = add(m, &store, "files", b->native);
	if (r == 0)
		r = add(m, &store, "python", b->library);
	if (r == 0 && (r = mount_connect(&place, &c, error)) < 0)
		fprintf(stderr, "%s\n", error);
	if (r == 0)
		r = mount_start(m, &c);
	if (r < 0)
		_exit(1);
	do {
		mount_get_numbers(m, &numbers);
		if (write(out, &numbers, sizeof numbers) != (ssize_t)sizeof numbers)
			_exit(1);
	} while (read(in, &byte, 1) == 1);
	mount_disconnect(b->mounted, true, NULL);
	_exit(0);
}

static void hear_numbers(struct bench *b, struct mount_numbers *n)
{
	if (read(b->from, n, sizeof *n) != (ssize_t)sizeof *n)
		bench_cannot("fs-served", "no mount");
}

static void get_numbers(struct bench *b, struct mount_numbers *n)
{
	if (write(b->to, "n", 1) == 1)
		hear_numbers(b, n);
}

static void start_server(struct bench *b, unsigned n_threads)
{
	int in[2], out[2];
	struct mount_numbers n;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		bench_cannot("fs-served", "no pipe");
	b->server = fork();
	if (b->server == 0) {
		close(in[1]);
		serve(b, n_threads, in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	b->to = in[1];
	b->from = out[0];
	hear_numbers(b, &n);
}

static void stop_server(struct bench *b)
{
	close(b->to);
	waitpid(b->server, NULL, 0);
	close(b->from);
}

/* ---- the work */

static void path_of(char *to, size_t n, const char *root, unsigned i)
{
	snprintf(to, n, "%s/d%02u/f%05u", root, i % N_DIRECTORIES, i);
}

/* In an order that is neither the tree's nor the disk's. */
static void read_some(const char *root, unsigned first, unsigned step)
{
	char path[192], bytes[16384];
	for (unsigned i = first; i < N_FILES; i += step) {
		path_of(path, sizeof path, root, (i * 7919u) % N_FILES);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, bytes, sizeof bytes) < 0)
			bench_cannot("fs-served", path);
		close(fd);
	}
}

static void do_read(const struct bench *b, const char *root)
{
	(void)b;
	read_some(root, 0, 1);
}

struct part {
	const char *root;
	unsigned first;
};

static void *read_part(void *arg)
{
	const struct part *p = arg;
	read_some(p->root, p->first, 8);
	return NULL;
}

static void do_read_by_8(const struct bench *b, const char *root)
{
	pthread_t at[8];
	struct part parts[8];
	(void)b;
	for (unsigned i = 0; i < 8; i++) {
		parts[i] = (struct part){root, i};
		pthread_create(&at[i], NULL, read_part, &parts[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(at[i], NULL);
}

static void do_stat(const struct bench *b, const char *root)
{
	char path[192];
	struct stat st;
	(void)b;
	for (unsigned i = 0; i < N_FILES; i++) {
		path_of(path, sizeof path, root, (i * 7919u) % N_FILES);
		if (stat(path, &st) < 0)
			bench_cannot("fs-served", path);
	}
}

static void do_walk(const struct bench *b, const char *root)
{
	char path[192];
	struct stat st;
	(void)b;
	for (unsigned i = 0; i < N_DIRECTORIES; i++) {
		snprintf(path, sizeof path, "%s/d%02u", root, i);
		DIR *d = opendir(path);
		const struct dirent *e;
		while (d && (e = readdir(d)))
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW);
		if (d)
			closedir(d);
	}
}

static void do_import(const struct bench *b, const char *root)
{
	char mounted[192];
	int status;
	snprintf(mounted, sizeof mounted, "%s/python", b->mounted);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("PYTHONPATH", streq(root, b->native) ? b->library : mounted, 1);
		setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
		execl(b->python, "python3", "-c", imports, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	if (status != 0)
		bench_cannot("fs-served", "python3 does not import");
}

static double timed(const struct bench *b, void (*work)(const struct bench *, const char *), const char *root)
{
	double start = bench_now_sec();
	work(b, root);
	return bench_now_sec() - start;
}

/* Alternating; prints both medians and the ratio, with the requests of the last round. */
static double compare(struct bench *b, const char *what, void (*work)(const struct bench *, const char *), unsigned n)
{
	char mounted[192];
	double native[PAIRS], served[PAIRS], ratio[PAIRS];
	struct mount_numbers before, after;
	snprintf(mounted, sizeof mounted, "%s/files", b->mounted);
	timed(b, work, b->native);
	get_numbers(b, &before);
	double first = timed(b, work, mounted);
	get_numbers(b, &after);
	uint64_t n_first = after.n_requests - before.n_requests;
	for (unsigned i = 0; i < PAIRS; i++) {
		native[i] = timed(b, work, b->native);
		get_numbers(b, &before);
		served[i] = timed(b, work, mounted);
		get_numbers(b, &after);
		ratio[i] = served[i] / native[i];
	}
	struct spread a = spread_of(native, PAIRS), s = spread_of(served, PAIRS), r = spread_of(ratio, PAIRS);
	printf("%-28s native %8.2f us, served %8.2f us, ratio %.2f (%.2f .. %.2f), first time %.2f us, %llu requests; "
	       "requests warm %llu, of them IOCTL %llu\n",
	       what, a.median / n * 1e6, s.median / n * 1e6, r.median, r.low, r.high, first / n * 1e6,
	       (unsigned long long)n_first, (unsigned long long)(after.n_requests - before.n_requests),
	       (unsigned long long)(after.requests[39] - before.requests[39]));
	fflush(stdout);
	return r.median;
}

static void make_files(const struct bench *b)
{
	char path[192], bytes[8192];
	memset(bytes, 'x', sizeof bytes);
	for (unsigned i = 0; i < N_DIRECTORIES; i++) {
		snprintf(path, sizeof path, "%s/d%02u", b->native, i);
		if (path_make_dirs(path, 0755) < 0)
			bench_cannot("fs-served", path);
	}
	for (unsigned i = 0; i < N_FILES; i++) {
		path_of(path, sizeof path, b->native, i);
		if (path_write(path, bytes, 500 + i * 31 % 7000, 0644, false) < 0)
			bench_cannot("fs-served", path);
	}
}

/* The program itself, not a script that looks for it. */
static void find_python(struct bench *b)
{
	static char python[512], library[512];
	FILE *f = popen(
		"python3 -c 'import os, sys; print(sys.executable); print(os.path.dirname(os.__file__))' 2>/dev/null",
		"re");
	if (!f || !fgets(python, sizeof python, f) || !fgets(library, sizeof library, f))
		bench_cannot("fs-served", "no python3");
	pclose(f);
	python[strcspn(python, "\n")] = 0;
	library[strcspn(library, "\n")] = 0;
	b->python = python;
	b->library = library;
}

static void measure(void *arg)
{
	struct bench b = {.directory = arg};
	double small = 0;
	find_python(&b);
	snprintf(b.native, sizeof b.native, "%s/n/files", b.directory);
	snprintf(b.mounted, sizeof b.mounted, "%s/m", b.directory);
	mkdir(b.mounted, 0755);
	make_files(&b);
	for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
		printf("-- %u FUSE thread%s\n", n_threads, n_threads > 1 ? "s" : "");
		start_server(&b, n_threads);
		double r = compare(&b, "open+read+close", do_read, N_FILES);
		small = n_threads == 1 ? r : small;
		compare(&b, "open+read+close, 8 threads", do_read_by_8, N_FILES);
		compare(&b, "stat", do_stat, N_FILES);
		compare(&b, "walk and stat", do_walk, N_FILES);
		compare(&b, "import (python3, 1 process)", do_import, 1);
		stop_server(&b);
	}
	bench_end("fs-served", small, "x native", "1.25", "\"pairs\":%d", PAIRS);
}

int main(void)
{
	struct scratch scratch;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    access("/dev/fuse", W_OK) < 0)
		bench_cannot("fs-served", "needs root and /dev/fuse");
	scratch_make(&scratch, "fs-served", ROOM_MIB);
	return scratch_run(&scratch, LIMIT_SEC, measure, scratch.directory);
}
