/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache_world.h"

#include "common/path.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

char *world_path(const char *name)
{
	return *name == '/' ? xstrdup(name) : path_join(unit_tmpdir(), name);
}

int world_try_open(const char *name, struct cache_settings s, struct cache **c, struct conf_error *e)
{
	_free_ char *path = world_path(name);
	s.path = path;
	if (!s.boot_id)
		s.boot_id = "boot-1";
	if (!s.quota)
		s.quota = (uint64_t)1 << 30;
	if (!s.n_inodes)
		s.n_inodes = 1000000;
	return cache_open(&s, c, e);
}

struct cache *world_open(const char *name, struct cache_settings s)
{
	struct cache *c = NULL;
	struct conf_error e = {.text = ""};
	int r = world_try_open(name, s, &c, &e);
	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	ASSERT_EQ(r, 0);
	return c;
}

char *world_files(const char *name, unsigned n, size_t size, uint64_t seed)
{
	char *root = world_path(name);
	_free_ uint8_t *bytes = xmalloc(size);
	uint64_t x = seed * 2654435761u + 88172645463325252u;
	ASSERT_EQ(path_make_dirs(root, 0755), 0);
	for (unsigned i = 0; i < n; i++) {
		char file[32];
		const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
		for (size_t k = 0; k < size; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			bytes[k] = (uint8_t)x;
		}
		snprintf(file, sizeof file, "f%u", i);
		_free_ char *path = path_join(root, file);
		ASSERT_EQ(path_write(path, bytes, size, 0644, false), 0);
		ASSERT_EQ(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	return root;
}

static void count_read(void *arg, const struct seal_progress *p)
{
	*(uint64_t *)arg = __atomic_load_n(&p->bytes_read, __ATOMIC_RELAXED); /* it goes on counting */
}

int world_try_seal(struct cache *c, const char *path, struct digest *id, uint64_t *bytes_read)
{
	_cleanup_(cache_sealing_freep) struct cache_sealing *s = cache_sealing_new(c, false);
	struct seal_report errors = {0}, notes = {0};
	uint64_t n_read = 0;
	const struct seal_options o = {
		.store = cache_sealing_store(s), .n_threads = 2, .on_progress = count_read, .arg = &n_read};
	_free_ void *vti = NULL;
	size_t n;
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	int r = S_ISDIR(st.st_mode) ? seal_directory(fd, path, &o, &vti, &n, &errors, &notes)
				    : seal_file(fd, path, &o, &vti, &n, &errors);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	if (bytes_read)
		*bytes_read = n_read;
	return r < 0 ? r : cache_publish(c, vti, n, id);
}

struct digest world_seal(struct cache *c, const char *path)
{
	struct digest id = {0};
	ASSERT_EQ(world_try_seal(c, path, &id, NULL), 0);
	return id;
}

static int compare_file(const struct tree *t, uint32_t i, const struct blob_reader *r, const char *root)
{
	_free_ char *name = tree_path(t, i);
	_free_ char *path = *name ? path_join(root, name) : xstrdup(root);
	size_t n;
	_free_ char *wanted = path_read(path, (size_t)1 << 30, &n);
	ASSERT(wanted && n == tree_file_size(t, i));
	_free_ char *got = xmalloc(n);
	ssize_t have = tree_read_file(t, i, r, 0, got, n);
	if (have < 0)
		return (int)have;
	ASSERT_EQ(have, n);
	ASSERT(memcmp(wanted, got, n) == 0);
	return 0;
}

int world_compare(struct cache *c, const struct digest *id, const char *path)
{
	struct cache_tree *t;
	struct blob_reader reader;
	int r = cache_tree_open(c, id, &t);
	if (r < 0)
		return r;
	const struct tree *index = cache_tree_index(t);
	cache_tree_reader(t, &reader);
	for (uint32_t i = 0; i < tree_n_nodes(index) && r == 0; i++)
		if (tree_node(index, i)->type == TREE_FILE)
			r = compare_file(index, i, &reader, path);
	cache_tree_close(t);
	return r;
}

void world_copy_make(struct world_copy *w, const char *path)
{
	struct memory_store m;
	struct seal_report errors = {0}, notes = {0};
	_cleanup_(tree_freep) struct tree *t = NULL;
	memory_store_init(&m);
	const struct seal_options o = {.store = &m.store, .n_threads = 1};
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	*w = (struct world_copy){0};
	ASSERT_EQ(fstat(fd, &st), 0);
	ASSERT_EQ(S_ISDIR(st.st_mode) ? seal_directory(fd, path, &o, &w->vti, &w->n, &errors, &notes)
				      : seal_file(fd, path, &o, &w->vti, &w->n, &errors),
		  0);
	ASSERT_EQ(tree_take(xmemdup(w->vti, w->n), w->n, NULL, &t), 0);
	w->id = *tree_id(t);
	w->n_chunks = tree_n_chunks(t);
	w->chunks = xcalloc(w->n_chunks, sizeof(uint8_t *));
	w->sizes = xcalloc(w->n_chunks, sizeof *w->sizes);
	for (uint32_t b = 0; b < tree_n_blobs(t); b++) {
		const struct tree_blob *blob = tree_blob(t, b);
		for (uint64_t at = 0, i = blob->first_chunk; at < blob->size; at += blob->chunk_size, i++) {
			w->sizes[i] = (size_t)min((uint64_t)blob->chunk_size, blob->size - at);
			w->chunks[i] = xmalloc(w->sizes[i]);
			ASSERT_EQ(m.reader.read(m.reader.arg, blob, at, w->chunks[i], w->sizes[i]), 0);
		}
	}
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	memory_store_fini(&m);
}

void world_copy_fini(struct world_copy *w)
{
	for (uint64_t i = 0; i < w->n_chunks; i++)
		free(w->chunks[i]);
	free(w->chunks);
	free(w->sizes);
	free(w->vti);
}

int world_fill(struct cache_tree *t, const struct world_copy *w, uint64_t from, uint64_t to)
{
	int r = 0;
	for (uint64_t i = from; i < to && r == 0; i++)
		r = cache_tree_write(t, i, w->chunks[i], w->sizes[i]);
	return r;
}

uint64_t world_n_resident(const struct cache_tree *t)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < tree_n_chunks(cache_tree_index(t)); i++)
		n += cache_tree_residency(t, i) == CACHE_RESIDENT;
	return n;
}

static glob_t matches(const char *name, const char *pattern)
{
	_free_ char *root = world_path(name);
	_free_ char *path = path_join(root, pattern);
	glob_t g = {0};
	glob(path, 0, NULL, &g);
	return g;
}

bool world_flip(const char *name, const char *pattern, uint64_t offset)
{
	glob_t g = matches(name, pattern);
	uint8_t byte;
	bool is_done = false;
	if (g.gl_pathc) {
		chmod(g.gl_pathv[0], 0600);
		_close_ int fd = open(g.gl_pathv[0], O_RDWR | O_CLOEXEC);
		is_done = pread(fd, &byte, 1, (off_t)offset) == 1;
		byte ^= 4;
		is_done = is_done && pwrite(fd, &byte, 1, (off_t)offset) == 1 && fsync(fd) == 0;
	}
	globfree(&g);
	return is_done;
}

unsigned world_count(const char *name, const char *pattern)
{
	glob_t g = matches(name, pattern);
	unsigned n = (unsigned)g.gl_pathc;
	globfree(&g);
	return n;
}
