/* SPDX-License-Identifier: Apache-2.0
 * READ_INDEX and READ_BLOB: streams. What is read is read in the pool or by fetch; the loop only sends it on. */
#include "vinefs/door_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_MAX (4ull << 30)

/* Bytes in memory on their way into a stream. True: all of them have left. */
static bool send_more(struct stream *s, const uint8_t *bytes, size_t n, size_t *sent)
{
	assert(*sent <= n);
	*sent += stream_send(s, bytes + *sent, n - *sent);
	return *sent == n;
}

/* ---- an index */

struct index_job {
	struct job job;
	struct fetch_work work;
	struct stream stream;
	struct cache *cache;
	struct digest id;
	char *rest;
	uint8_t *bytes;
	size_t n, sent;
	int error;
	bool is_working;
};

static void free_index(struct index_job *x)
{
	assert(!x->is_working);
	job_end(&x->job);
	stream_end(&x->stream, -ECANCELED);
	free(x->rest);
	free(x->bytes);
	free(x);
}

static void on_index_stop(struct job *j)
{
	struct index_job *x = container_of(j, struct index_job, job);
	if (!x->is_working)
		free_index(x);
}

static int read_whole(struct index_job *x)
{
	char text[DIGEST_TEXT_SIZE], path[DIGEST_TEXT_SIZE + 16];
	struct stat st;
	snprintf(path, sizeof path, "t/%s.vti", digest_text(&x->id, text));
	_close_ int fd = openat(cache_directory(x->cache), path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > (off_t)INDEX_MAX)
		return -EFBIG;
	x->bytes = malloc(max((size_t)st.st_size, (size_t)1));
	if (!x->bytes)
		return -ENOMEM;
	while (x->n < (size_t)st.st_size) {
		ssize_t n = read(fd, x->bytes + x->n, (size_t)st.st_size - x->n);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		x->n += (size_t)n;
	}
	return 0;
}

static void run_index(struct fetch_work *w)
{
	struct index_job *x = container_of(w, struct index_job, work);
	assert(x->is_working && !x->bytes);
	x->error = read_whole(x);
}

static void on_index_room(struct stream *s)
{
	struct index_job *x = container_of(s, struct index_job, stream);
	if (!send_more(s, x->bytes, x->n, &x->sent))
		return;
	stream_end(s, 0);
	free_index(x);
}

static void on_index_end(struct stream *s, int error)
{
	assert(error <= 0);
	free_index(container_of(s, struct index_job, stream));
}

static void on_index_read(struct fetch_work *w, bool is_run)
{
	struct index_job *x = container_of(w, struct index_job, work);
	const struct wire_index m = {.tree = x->id, .size = x->n, .rest = x->rest};
	x->is_working = false;
	if (!is_run)
		x->error = -ECANCELED;
	if (x->job.client && x->error)
		job_fail(&x->job, x->error, "the tree's index: %s", strerror(-x->error));
	if (!x->job.client || x->error) {
		free_index(x);
		return;
	}
	x->stream.on_room = on_index_room;
	x->stream.on_stop = on_index_end;
	if (stream_start(&x->stream, x->job.client->conn, x->job.id, WIRE_INDEX, &m))
		free_index(x);
	else
		on_index_room(&x->stream);
}

void door_read_index(struct client *c, uint64_t id, const struct wire_read_index *m)
{
	struct digest tree;
	const char *rest;
	int r = fetch_find(c->door->settings.fetch, m->tree, &tree, &rest);
	if (r) {
		conn_reply_status(c->conn, id, -r, "%s: %s", m->tree, door_why_not_found(r));
		return;
	}
	struct index_job *x = NEW(struct index_job);
	x->cache = c->door->settings.cache;
	x->id = tree;
	x->rest = xstrdup(rest);
	x->work = (struct fetch_work){.run = run_index, .on_done = on_index_read};
	x->is_working = true;
	job_start(&x->job, c, id, on_index_stop);
	fetch_work(c->door->settings.fetch, &x->work);
}

/* ---- bytes of a blob */

struct blob_job {
	struct job job;
	struct loop *loop;
	struct fetch_open open;
	struct fetch_tree *tree;
	struct fetch_read read;
	struct post post; /* brings what was read to the loop */
	struct stream stream;
	uint32_t blob;
	uint64_t offset, rest;
	uint8_t *bytes;
	size_t n, sent;
	ssize_t got;
	bool is_reading, is_streaming;
};

static void free_blob(struct blob_job *b)
{
	assert(!b->is_reading);
	job_end(&b->job);
	fetch_open_stop(&b->open);
	stream_end(&b->stream, -ECANCELED);
	if (b->tree)
		fetch_close(b->tree);
	free(b->bytes);
	free(b);
}

static void on_blob_stop(struct job *j)
{
	struct blob_job *b = container_of(j, struct blob_job, job);
	stream_end(&b->stream, -ECANCELED);
	if (!b->is_reading)
		free_blob(b);
}

static void on_blob_end(struct stream *s, int error)
{
	struct blob_job *b = container_of(s, struct blob_job, stream);
	assert(error <= 0);
	job_end(&b->job);
	if (!b->is_reading)
		free_blob(b);
}

/* Any thread. */
static void on_blob_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct blob_job *b = container_of(r, struct blob_job, read);
	b->got = n;
	if (n > 0)
		memcpy(b->bytes, p, (size_t)n);
	loop_post(b->loop, &b->post);
}

static void read_next(struct blob_job *b)
{
	uint32_t n = (uint32_t)min(b->rest, (uint64_t)FETCH_READ_MAX);
	b->n = b->sent = 0;
	b->read = (struct fetch_read){
		.tree = b->tree, .blob = b->blob, .n = n, .offset = b->offset, .on_done = on_blob_read};
	b->is_reading = true;
	fetch_read_start(&b->read);
}

static void on_blob_room(struct stream *s)
{
	struct blob_job *b = container_of(s, struct blob_job, stream);
	if (b->is_reading || !send_more(s, b->bytes, b->n, &b->sent))
		return;
	if (b->rest) {
		read_next(b);
		return;
	}
	stream_end(s, 0);
	free_blob(b);
}

static void on_blob_here(struct post *p)
{
	struct blob_job *b = container_of(p, struct blob_job, post);
	b->is_reading = false;
	if (!b->job.client) {
		free_blob(b);
		return;
	}
	if (b->got < 0) {
		stream_end(&b->stream, (int)b->got);
		free_blob(b);
		return;
	}
	assert((uint64_t)b->got <= b->rest);
	b->n = (size_t)b->got;
	b->offset += b->n;
	b->rest -= b->n;
	on_blob_room(&b->stream);
}

static bool is_within(const struct blob_job *b)
{
	const struct tree *t = fetch_index(b->tree);
	uint64_t end;
	return b->blob < tree_n_blobs(t) && !add_overflows(b->offset, b->rest, &end) &&
	       end <= tree_blob(t, b->blob)->size;
}

static void on_blob_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	static const struct wire_status ok = {.error = 0};
	struct blob_job *b = container_of(o, struct blob_job, open);
	b->tree = t;
	if (error)
		job_fail(&b->job, error, "%s", door_why_not_found(error));
	else if (!is_within(b))
		job_fail(&b->job, error = -ERANGE, "blob %u of this tree does not reach so far", b->blob);
	b->stream.on_room = on_blob_room;
	b->stream.on_stop = on_blob_end;
	if (error || stream_start(&b->stream, b->job.client->conn, b->job.id, WIRE_STATUS, &ok)) {
		free_blob(b);
		return;
	}
	b->bytes = xmalloc(min(max(b->rest, (uint64_t)1), (uint64_t)FETCH_READ_MAX));
	on_blob_room(&b->stream);
}

void door_read_blob(struct client *c, uint64_t id, const struct wire_read_blob *m)
{
	struct blob_job *b = NEW(struct blob_job);
	b->loop = c->door->settings.loop;
	b->blob = m->blob;
	b->offset = m->offset;
	b->rest = m->size;
	b->post.on_post = on_blob_here;
	b->open.on_done = on_blob_opened;
	job_start(&b->job, c, id, on_blob_stop);
	int r = fetch_open(c->door->settings.fetch, &b->open, &m->tree, "vine tree", "reads it");
	if (r) {
		job_fail(&b->job, r, "%s", door_why_not_found(r));
		free_blob(b);
	}
}
