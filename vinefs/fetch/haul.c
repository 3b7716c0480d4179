/* SPDX-License-Identifier: Apache-2.0
 * Read from the directory between two looks at the file, both of which must show what the walk saw; or had from another node, for which it did. */
#include "vinefs/fetch/haul.h"

#include "vinefs/fetch/codec.h"

#include <time.h>
#include <unistd.h>

#define GRAIN_NSEC 20000000 /* of time stamps that have nanoseconds: a tick of the kernel, at most 10 ms */
#define COARSE_GRAIN_NSEC 2000000000

static bool is_as_seen(const struct haul *h)
{
	struct signature now;
	signature_of(&h->st, &now);
	if (h->draft->is_told)
		now.inode = h->draft->signatures[h->node].inode;
	return signature_is_equal(&now, &h->draft->signatures[h->node]);
}

static void digest_span(struct span *x)
{
	const struct haul *h = x->haul;
	const uint8_t *bytes = h->bytes + (x->offset - h->offset);
	uint64_t size = h->draft->signatures[h->node].size;
	uint32_t chunk = span_size_of(size);
	x->n_digests = (uint32_t)((x->n + chunk - 1) / chunk);
	x->digests = xcalloc(x->n_digests, sizeof *x->digests);
	if (size <= DATA_SMALL_MAX)
		data_address_of(bytes, x->n, x->digests);
	for (uint32_t i = 0; size > DATA_SMALL_MAX && i < x->n_digests; i++) {
		size_t at = (size_t)i * chunk;
		digest_bytes(bytes + at, min((size_t)chunk, x->n - at), &x->digests[i]);
	}
}

/* The second look follows the last byte: what was changed between the two is not given. Each opens anew, so that a network filesystem asks its server. */
static int read_haul(struct haul *h, int root)
{
	const struct draft *d = h->draft;
	const struct fetch_files *files = d->fetch->settings.files;
	_free_ char *path = tree_path(d->index, h->node);
	int r = files->read(files->arg, root, path, h->offset, h->bytes, h->n, &h->st);
	if (r == 0 && is_as_seen(h))
		r = files->read(files->arg, root, path, 0, h->bytes, 0, &h->st);
	return r < 0 ? r : is_as_seen(h) ? 0 : -ESTALE;
}

/* The directory stays open: a look-up of its path for each span would cost a slow source as much as the file. */
static int open_root(struct draft *d)
{
	const struct fetch_files *files = d->fetch->settings.files;
	int root = atomic_load(&d->root), none = -1;
	if (root >= 0)
		return root;
	root = files->open(files->arg, d->path);
	if (root < 0 || atomic_compare_exchange_strong(&d->root, &none, root))
		return root;
	close(root);
	return none;
}

/* What has become of the directory itself is seen by its path. */
static int read_haul_anew(struct haul *h)
{
	const struct fetch_files *files = h->draft->fetch->settings.files;
	_close_ int root = files->open(files->arg, h->draft->path);
	return root < 0 ? root : read_haul(h, root);
}

/* Within the grain of its time stamps a file can change unseen: what is so young is read when it no longer is. */
static void let_age(const struct haul *h)
{
	const struct signature *s = &h->draft->signatures[h->node];
	int64_t grain_nsec = s->ctime_nsec ? GRAIN_NSEC : COARSE_GRAIN_NSEC;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t age_sec = now.tv_sec - s->ctime_sec, age_nsec = now.tv_nsec - (int64_t)s->ctime_nsec;
	if (age_sec > 3 || age_sec < -3)
		return;
	int64_t left = grain_nsec - age_sec * 1000000000 - age_nsec;
	left = min(left, grain_nsec); /* a server's clock may be ahead */
	if (left > 0)
		nanosleep(&(struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}, NULL);
}

/* What came is what a fellow has read, and found to be what the walk saw. */
static int unpack(struct haul *h)
{
	if (!h->packed)
		return 0;
	h->bytes = malloc(h->n);
	return h->bytes ? codec_unpack_to(h->packed, h->n_packed, h->bytes, h->n) : -ENOMEM;
}

static void read_source(struct haul *h, bool is_dropped)
{
	if (!is_dropped)
		let_age(h);
	h->bytes = is_dropped ? NULL : malloc(h->n);
	int root = is_dropped || !h->bytes ? -1 : open_root(h->draft);
	h->error = is_dropped ? -ECANCELED : !h->bytes ? -ENOMEM : root < 0 ? root : read_haul(h, root);
	/* Its server may know it by a new handle. */
	if (h->error == -EREMOTEIO)
		h->error = read_haul_anew(h);
}

void haul_run(struct pool_job *j)
{
	struct haul *h = container_of(j, struct haul, job);
	if (h->is_given && unpack(h)) {
		h->is_given = false;
		free(steal(h->bytes));
		free(steal(h->packed));
	}
	if (!h->is_given)
		read_source(h, j->is_dropped);
	for (size_t i = 0; i < h->n_spans && !h->error; i++)
		digest_span(h->spans[i]);
}
