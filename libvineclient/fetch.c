/* SPDX-License-Identifier: Apache-2.0
 * A tree's index, then its chunks, each compared with its digest before anything is made of it. */
#include "libvineclient/fetch.h"

#include "libvineclient/client.h"
#include "libvineclient/sealed.h"
#include "libvineclient/task.h"

#include <stdio.h>

#define FETCH_USEC 120000000u /* without a byte */
#define FETCH_TRIES 4         /* in a row that bring no chunk */
#define AGAIN_USEC 250000u
#define AWAY_TRIES 120 /* in a row: 30 s */
#define CHUNKS_AT_ONCE 256u
#define INDEX_MOST (1u << 30)

void fetch_fini(struct fetch *f)
{
	if (f->tree)
		tree_free(f->tree);
	free(f->places);
	buf_fini(&f->bytes);
}

/* Until the next try; false: the session is being closed. */
static bool wait_a_moment(struct vine *v)
{
	struct timespec until;
	int r = 0;
	session_deadline(&until, AGAIN_USEC);
	pthread_mutex_lock(&v->lock);
	while (!v->is_closing && !r)
		r = pthread_cond_timedwait(&v->wake, &v->lock, &until);
	bool goes_on = !v->is_closing;
	pthread_mutex_unlock(&v->lock);
	return goes_on;
}

/* After a failure: whether to ask again. A connection that was lost, and a node that gives something else than it should, are tried again at once; nodes that are away
 * are waited for, and so is what a vined that was started anew has not been told yet. */
static bool is_worth_a_try(struct fetch *f, int r)
{
	f->was_lost |= r == -ECONNRESET;
	if (r == -ECONNRESET || r == -EBADMSG || r == -EIO)
		return f->n_tries < FETCH_TRIES;
	bool is_away = r == -EHOSTUNREACH || (r == -ENOENT && f->was_lost);
	return is_away && f->n_tries < AWAY_TRIES && wait_a_moment(f->v);
}

/* ---- the index */

static int take_index(struct ask *a, const void *p, size_t n)
{
	struct fetch *f = a->arg;
	if (n > INDEX_MOST - f->bytes.n)
		return -EFBIG;
	buf_put(&f->bytes, p, n);
	return 0;
}

static int read_index(struct fetch *f, const char *id)
{
	struct wire_read_index message = {.tree = id};
	struct digest d;
	if (digest_parse(id, &d) < 0)
		return error_set(EPROTO, "file %s: the cluster says that it is tree '%s', which cannot be", f->name,
				 id);
	int r;
	f->n_tries = 0;
	do {
		struct ask ask = {.type = WIRE_READ_INDEX,
				  .message = &message,
				  .needs_minor = 3,
				  .patience_usec = FETCH_USEC,
				  .has_stream = true,
				  .take = take_index,
				  .arg = f};
		buf_consume(&f->bytes, f->bytes.n);
		r = ask_wait(f->v, &ask);
		if (r < 0 && r != -EFBIG)
			error_set(-r, "file %s: its index could not be read: %s", f->name, ask.text);
		f->n_tries++;
	} while (r < 0 && is_worth_a_try(f, r));
	if (r == -EFBIG)
		return error_set(EFBIG, "file %s: its index has more than %u bytes", f->name, INDEX_MOST);
	if (r < 0)
		return r;
	/* tree_take wants memory of its own, from its beginning. */
	r = tree_take(xmemdup(f->bytes.at, f->bytes.n), f->bytes.n, &d, &f->tree);
	buf_consume(&f->bytes, f->bytes.n);
	if (r < 0)
		return error_set(-r, "file %s: what came as the index of its tree is damaged: %s", f->name,
				 strerror(-r));
	f->places = xcalloc(tree_n_blobs(f->tree) + 1, sizeof *f->places);
	for (uint32_t i = 0; i < tree_n_blobs(f->tree); i++)
		f->places[i + 1] = f->places[i] + tree_blob(f->tree, i)->size;
	return 0;
}

/* ---- chunks */

uint64_t fetch_place(const struct fetch *f, uint64_t chunk, size_t *n)
{
	uint32_t i = tree_blob_of(f->tree, chunk);
	const struct tree_blob *b = tree_blob(f->tree, i);
	uint64_t at = (chunk - b->first_chunk) * b->chunk_size;
	assert(at < b->size);
	*n = (size_t)min((uint64_t)b->chunk_size, b->size - at);
	return f->places[i] + at;
}

/* Those that are whole are verified and handed on. */
static int take_chunks(struct ask *a, const void *p, size_t n)
{
	struct fetch *f = a->arg;
	struct digest found, meant;
	size_t size;
	buf_put(&f->bytes, p, n);
	while (f->next < f->end) {
		fetch_place(f, f->next, &size);
		if (f->bytes.n < size)
			return 0;
		digest_bytes(f->bytes.at, size, &found);
		tree_chunk_digest(f->tree, f->next, &meant);
		f->is_damaged = !digest_is_equal(&found, &meant);
		if (f->is_damaged)
			return -EBADMSG;
		f->put_error = f->put(f, f->next, f->bytes.at, size);
		if (f->put_error)
			return f->put_error;
		f->next++;
		buf_consume(&f->bytes, size);
	}
	f->is_damaged = f->bytes.n != 0;
	return f->is_damaged ? -EBADMSG : 0;
}

/* One request: 0, or -errno with the text set. What has come whole counts in any case. */
static int ask_for_chunks(struct fetch *f)
{
	uint64_t end = f->end;
	struct wire_read_chunks message = {
		.tree = *tree_id(f->tree), .first = f->next, .n = min(end - f->next, (uint64_t)CHUNKS_AT_ONCE)};
	struct ask ask = {.type = WIRE_READ_CHUNKS,
			  .message = &message,
			  .needs_minor = 3,
			  .patience_usec = FETCH_USEC,
			  .has_stream = true,
			  .take = take_chunks,
			  .arg = f};
	f->end = f->next + message.n;
	f->is_damaged = false;
	buf_consume(&f->bytes, f->bytes.n);
	int r = ask_wait(f->v, &ask);
	bool is_short = !r && f->next < f->end;
	uint64_t missing = f->end - f->next;
	f->end = end;
	if (f->put_error)
		return f->put_error;
	if (f->is_damaged)
		return error_set(EBADMSG, "file %s: what came as chunk %llu of its tree is something else", f->name,
				 (unsigned long long)f->next);
	if (is_short)
		return error_set(EIO, "file %s: %llu chunks of its tree did not come", f->name,
				 (unsigned long long)missing);
	return r < 0 ? error_set(-r, "file %s: its bytes could not be read: %s", f->name, ask.text) : 0;
}

int fetch_chunks(struct fetch *f, uint64_t first, uint64_t end)
{
	int r = 0;
	f->next = first;
	f->end = end;
	f->n_tries = 0;
	while (f->next < f->end) {
		uint64_t before = f->next;
		r = ask_for_chunks(f);
		f->n_tries = f->next > before ? 0 : f->n_tries + 1;
		if (r < 0 && (f->put_error || !is_worth_a_try(f, r)))
			return r;
	}
	return 0;
}

/* ---- which tree it is */

struct lookup {
	const char *item, *run;
	char tree[DIGEST_TEXT_SIZE], state[32];
	bool is_there;
};

static int look_at_row(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct lookup *l = arg;
	const char *item = "", *run = "", *tree = "", *state = "";
	const struct {
		const char *name, **value;
	} wanted[] = {{"item", &item}, {"run", &run}, {"tree", &tree}, {"state", &state}};
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < countof(wanted); k++) {
			if (streq(names[i], wanted[k].name))
				*wanted[k].value = cells[i];
		}
	}
	/* Of a shared path there is one in the cluster, of a temporary one in each run. */
	if (!streq(item, l->item) || (has_prefix(item, "temp:") && !streq(run, l->run)))
		return 0;
	l->is_there = true;
	snprintf(l->tree, sizeof l->tree, "%s", tree);
	snprintf(l->state, sizeof l->state, "%s", state);
	return 0;
}

static int find_tree(struct vine *v, const struct vine_file *file, char id[DIGEST_TEXT_SIZE])
{
	if (has_prefix(file->item, "tree:")) {
		snprintf(id, DIGEST_TEXT_SIZE, "%s", file->item + strlen("tree:"));
		return 0;
	}
	if (file->local)
		return error_set(EINVAL, "file %s: it is here; nothing is to be fetched", file->item);
	struct lookup l = {.item = file->item, .run = vine_run(v)};
	int r = vine_query(v, "items", file->item, look_at_row, &l);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!l.is_there)
		return error_set(ENOENT, "file %s: no task of run %s makes or reads it", file->item, l.run);
	if (!*l.tree)
		return error_set(ENOENT, "file %s: it is not there: %s", file->item,
				 streq(l.state, "expected") ? "the task that makes it has not ended well" : l.state);
	snprintf(id, DIGEST_TEXT_SIZE, "%s", l.tree);
	return 0;
}

int fetch_begin(struct vine *v, const struct vine_file *file, struct fetch *f)
{
	char id[DIGEST_TEXT_SIZE];
	*f = (struct fetch){.v = v, .name = file->item, .fd = -1};
	int r = find_tree(v, file, id);
	return r < 0 ? r : read_index(f, id);
}
