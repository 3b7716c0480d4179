/* SPDX-License-Identifier: Apache-2.0 */
#include "libvineclient/sealed.h"

#include "common/path.h"
#include "libvineclient/client.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* So many bytes of a blob are one file's. In the order of blobs and offsets. */
struct member {
	uint64_t offset, size;
	uint32_t blob, content, node;
};

/* ---- where the bytes of blobs lie */

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	if (x->blob != y->blob)
		return x->blob < y->blob ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static void find_members(struct sealed *s)
{
	const struct tree *t = s->tree;
	_free_ bool *is_there = xcalloc(tree_n_contents(t) + 1, sizeof *is_there);
	s->members = xcalloc(tree_n_contents(t) + 1, sizeof *s->members);
	for (uint32_t i = 0; i < tree_n_nodes(t); i++) {
		const struct tree_node *n = tree_node(t, i);
		if (n->type != TREE_FILE || is_there[n->first])
			continue;
		const struct tree_extent *e = tree_extent(t, n->first);
		is_there[n->first] = true;
		if (e->blob != TREE_NO_BLOB)
			s->members[s->n_members++] = (struct member){.offset = e->offset,
								     .size = tree_content(t, n->first)->size,
								     .blob = e->blob,
								     .content = n->first,
								     .node = i};
	}
	qsort(s->members, s->n_members, sizeof *s->members, compare_members);
}

/* The first that ends behind this offset of the blob. */
static size_t find_member(const struct sealed *s, uint32_t blob, uint64_t offset)
{
	size_t low = 0, high = s->n_members;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct member *m = &s->members[middle];
		if (m->blob < blob || (m->blob == blob && m->offset + m->size <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- reading again */

static int open_member(const struct sealed *s, const struct member *m)
{
	_free_ char *path = tree_path(s->tree, m->node);
	if (s->memory >= 0)
		return fcntl(s->memory, F_DUPFD_CLOEXEC, 0);
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
	_close_ int root = open(s->path, *path ? flags | O_DIRECTORY : flags);
	if (root < 0 || !*path)
		return root < 0 ? -errno : steal_fd(&root);
	return path_open_beneath(root, path, flags | O_NOFOLLOW, 0);
}

static int complain(const struct sealed *s, const struct member *m, int error, char why[1024])
{
	_free_ char *path = tree_path(s->tree, m->node);
	const char *reason = error == -ESTALE
				     ? "it has changed since it was sealed for the cluster; post the task again"
				     : strerror(-error);
	snprintf(why, 1024, "%.400s%s%.400s: %s", s->path, *path ? "/" : "", path, reason);
	return error;
}

static int read_member(const struct sealed *s, const struct member *m, uint64_t from, uint8_t *to, size_t n,
		       char why[1024])
{
	_close_ int fd = open_member(s, m);
	if (fd < 0)
		return complain(s, m, fd, why);
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, to + have, n - have, (off_t)(from + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return complain(s, m, got < 0 ? -errno : -ESTALE, why);
		have += (size_t)got;
	}
	return 0;
}

/* Of the members that a damaged chunk touches: the first that is not what it was. A large file is alone in its blob. */
static int find_changed(const struct sealed *s, size_t i, uint32_t blob, uint64_t end, char why[1024])
{
	assert(i < s->n_members);
	size_t first = i;
	for (; i < s->n_members && s->members[i].blob == blob && s->members[i].offset < end; i++) {
		const struct member *m = &s->members[i];
		if (m->size > DATA_SMALL_MAX)
			break;
		_free_ uint8_t *bytes = xmalloc((size_t)m->size);
		struct digest d;
		int r = read_member(s, m, 0, bytes, (size_t)m->size, why);
		if (r < 0)
			return r;
		data_address_of(bytes, (size_t)m->size, &d);
		if (memcmp(d.byte, tree_content(s->tree, m->content)->address, DIGEST_SIZE) != 0)
			return complain(s, m, -ESTALE, why);
	}
	return complain(s, &s->members[first], -ESTALE, why);
}

int sealed_read(const struct sealed *s, uint64_t chunk, struct buf *to, char why[1024])
{
	uint32_t number = tree_blob_of(s->tree, chunk);
	const struct tree_blob *b = tree_blob(s->tree, number);
	uint64_t at = (chunk - b->first_chunk) * b->chunk_size;
	uint64_t end = min(at + b->chunk_size, b->size);
	uint8_t *bytes = buf_reserve(to, (size_t)(end - at));
	size_t first = find_member(s, number, at);
	for (size_t i = first; at < end && i < s->n_members; i++) {
		const struct member *m = &s->members[i];
		size_t n = (size_t)(min(m->offset + m->size, end) - at);
		assert(m->blob == number && m->offset <= at);
		int r = read_member(s, m, at - m->offset, bytes, n, why);
		if (r < 0)
			return r;
		bytes += n;
		at += n;
	}
	assert(at == end);
	size_t n = (size_t)(bytes - (to->at + to->n));
	struct digest found, meant;
	digest_bytes(to->at + to->n, n, &found);
	tree_chunk_digest(s->tree, chunk, &meant);
	if (!digest_is_equal(&found, &meant))
		return find_changed(s, first, number, end, why);
	buf_grew(to, n);
	return 0;
}

/* ---- sealing */

/* Nothing is stored: the bytes stay where they are. */
static int store_begin(_unused_ void *arg, _unused_ uint64_t size, void **blob)
{
	*blob = NULL;
	return 0;
}

static int store_write(_unused_ void *arg, _unused_ void *blob, _unused_ uint64_t offset, _unused_ const void *p,
		       _unused_ size_t n)
{
	return 0;
}

static int store_commit(_unused_ void *arg, _unused_ void *blob, _unused_ const struct blob_chunks *chunks)
{
	return 0;
}

static void store_abort(_unused_ void *arg, _unused_ void *blob)
{
}

static int seal_fd(int fd, const char *path, const bool *is_cancelled, void **vti, size_t *n,
		   struct seal_report *errors)
{
	static const struct seal_store store = {
		.begin = store_begin, .write = store_write, .commit = store_commit, .abort = store_abort};
	const struct seal_options options = {.store = &store, .is_cancelled = is_cancelled};
	struct seal_report notes = {0};
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	int r = S_ISDIR(st.st_mode) ? seal_directory(fd, path, &options, vti, n, errors, &notes)
				    : seal_file(fd, path, &options, vti, n, errors);
	seal_report_fini(&notes);
	return r;
}

/* The threads that read get no signal of the program's. */
static int seal(int fd, const char *path, const bool *is_cancelled, void **vti, size_t *n)
{
	struct seal_report errors = {0};
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = seal_fd(fd, path, is_cancelled, vti, n, &errors);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0 && errors.n)
		error_set(-r, "file %s%s", errors.lines[0], errors.n + errors.n_more > 1 ? ", and more" : "");
	else if (r == -ECANCELED)
		error_set(ECANCELED, "the session is being closed");
	else if (r < 0)
		error_set(-r, "file %s: it cannot be sealed: %s", path, strerror(-r));
	seal_report_fini(&errors);
	return r;
}

int sealed_new(const char *path, int memory, const bool *is_cancelled, struct sealed **out)
{
	_close_ int held = memory;
	_close_ int opened = memory < 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	char id[DIGEST_TEXT_SIZE];
	void *vti;
	size_t n;
	if (memory < 0 && opened < 0)
		return error_set(errno, "file %s: %s", path, strerror(errno));
	int r = seal(memory < 0 ? opened : memory, path, is_cancelled, &vti, &n);
	if (r < 0)
		return r;
	struct sealed *s = NEW(struct sealed);
	s->refs = 1;
	s->path = xstrdup(path);
	s->memory = steal_fd(&held);
	s->vti = vti;
	s->vti_size = n;
	void *copy = malloc(n);
	r = copy ? tree_take(memcpy(copy, vti, n), n, NULL, &s->tree) : -ENOMEM;
	if (r < 0) {
		sealed_unref(s);
		return error_set(-r, "file %s: its index of %zu bytes cannot be kept: %s", path, n, strerror(-r));
	}
	s->name = xasprintf("tree:%s", digest_text(tree_id(s->tree), id));
	find_members(s);
	*out = s;
	return 0;
}

struct sealed *sealed_ref(struct sealed *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void sealed_unref(struct sealed *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
		return;
	close_fd(s->memory);
	if (s->tree)
		tree_free(s->tree);
	free(s->vti);
	free(s->members);
	free(s->name);
	free(s->path);
	free(s);
}

uint64_t sealed_size(const struct sealed *s)
{
	uint64_t size = 0;
	for (uint32_t i = 0; i < tree_n_blobs(s->tree); i++)
		size += tree_blob(s->tree, i)->size;
	return size;
}

/* ---- of a file */

/* The lock is held while it is sealed: who else needs it, needs it sealed. */
struct local {
	pthread_mutex_t lock;
	char *path; /* NULL: it was sealed from the beginning */
	struct sealed *sealed;
};

struct local *local_new(const char *path)
{
	struct local *l = NEW(struct local);
	pthread_mutex_init(&l->lock, NULL);
	l->path = xstrdup(path);
	return l;
}

struct local *local_of(struct sealed *s)
{
	struct local *l = NEW(struct local);
	pthread_mutex_init(&l->lock, NULL);
	l->sealed = s;
	return l;
}

void local_free(struct local *l)
{
	if (!l)
		return;
	sealed_unref(l->sealed);
	pthread_mutex_destroy(&l->lock);
	free(l->path);
	free(l);
}

int local_seal(struct local *l, const bool *is_cancelled, struct sealed **out)
{
	int r = 0;
	pthread_mutex_lock(&l->lock);
	if (!l->sealed)
		r = sealed_new(l->path, -1, is_cancelled, &l->sealed);
	if (!r)
		*out = sealed_ref(l->sealed);
	pthread_mutex_unlock(&l->lock);
	return r;
}

void local_drop(struct local *l, const struct sealed *s)
{
	pthread_mutex_lock(&l->lock);
	if (l->path && l->sealed == s) {
		sealed_unref(l->sealed);
		l->sealed = NULL;
	}
	pthread_mutex_unlock(&l->lock);
}
