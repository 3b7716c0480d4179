/* SPDX-License-Identifier: Apache-2.0
 * What the kernel reads of a mount comes from fetch. */
#include "vinefs/mounts_internal.h"

struct read {
	struct fetch_read fetch;
	struct mount_request *request;
	void (*done)(void *arg);
	void *arg;
};

ssize_t mounts_read_now(void *arg _unused_, void *tree, const struct mount_range *r, void *p)
{
	return fetch_read_now(tree, r->blob, r->offset, p, r->n);
}

static void on_read(struct fetch_read *f, const void *p, ssize_t n)
{
	struct read *r = container_of(f, struct read, fetch);
	mount_answer(r->request, p, n);
	r->done(r->arg);
	free(r);
}

/* Who was interrupted or killed wants nothing begun any more. */
static bool is_read_over(const struct fetch_read *f)
{
	return mount_is_over(container_of(f, const struct read, fetch)->request);
}

void mounts_read_later(struct fetch_tree *tree, const struct mount_range *range, struct mount_request *q,
		       void (*done)(void *arg), void *arg)
{
	struct read *r = NEW(struct read);
	bool is_draft = range->blob == TREE_NO_BLOB;
	assert(range->n && is_draft == fetch_is_draft(tree));
	*r = (struct read){.request = q, .done = done, .arg = arg};
	r->fetch = (struct fetch_read){.tree = tree, .n = range->n, .offset = range->offset};
	r->fetch.blob = is_draft ? range->node : range->blob;
	r->fetch.on_done = on_read;
	r->fetch.is_over = is_read_over;
	fetch_read_start(&r->fetch);
}
