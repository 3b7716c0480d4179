/* SPDX-License-Identifier: Apache-2.0
 * The operations of a mount. Whatever the kernel can remember it is told for ever: attributes, names, their absence, and, by ENOSYS, that opening needs
 * no asking. What is not in the table below is ENOSYS to libfuse, which the kernel remembers too: GETXATTR, LISTXATTR, FLUSH, ACCESS, LSEEK. (IOCTL
 * alone is asked again each time.) Writes never come here: the superblock is read-only. */
#include "vinefs/mount/internal.h"

#include <sys/statvfs.h>

static struct mount *mount_of(fuse_req_t req)
{
	struct mount *m = fuse_req_userdata(req);
	assert(m);
	return m;
}

static bool is_listing(const struct mount *m, fuse_ino_t number)
{
	return number == FUSE_ROOT_ID && !m->settings.is_single;
}

static void drop_contents(struct contents **c)
{
	if (*c)
		contents_put(*c);
}

#define _contents_ _cleanup_(drop_contents)

static void serve_init(void *arg, struct fuse_conn_info *conn)
{
	struct mount *m = arg;
	assert(m->session.fuse);
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS |
				FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
				FUSE_CAP_CACHE_SYMLINKS;
	/* In AUTO the kernel asks for attributes only after a first look-up: a request more for each file. AUTO_INVAL_DATA would ask for them again. */
	conn->want = conn->capable & wanted;
	conn->max_write = READ_MAX; /* libfuse derives the largest READ from it */
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

static void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = {.attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER};
	uint32_t node = 0;
	if (is_listing(m, parent)) {
		_contents_ struct contents *c = slots_get_named(&m->slots, name, strlen(name));
		if (c) {
			e.ino = slot_number(&m->slots, c->slot, 0);
			reply_attributes(&m->slots, c, 0, &m->face, &e.attr);
		}
		fuse_reply_entry(req, &e);
		return;
	}
	_contents_ struct contents *c = slots_get(&m->slots, parent, &node);
	if (!c) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	hot_note(&c->slot->hot, node);
	int64_t child = tree_child(c->tree.index, node, name, strlen(name));
	if (child < 0 && child != -ENOENT) {
		fuse_reply_err(req, (int)-child);
		return;
	}
	/* An entry without a number is an absence that the kernel remembers. */
	if (child >= 0) {
		e.ino = slot_number(&m->slots, c->slot, (uint32_t)child);
		reply_attributes(&m->slots, c, (uint32_t)child, &m->face, &e.attr);
	}
	fuse_reply_entry(req, &e);
}

static void serve_forget(fuse_req_t req, fuse_ino_t number, uint64_t n)
{
	(void)number;
	(void)n;
	fuse_reply_none(req);
}

static void serve_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	(void)n;
	(void)forgets;
	fuse_reply_none(req);
}

static void serve_getattr(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *fi)
{
	(void)fi;
	struct mount *m = mount_of(req);
	struct stat st;
	uint32_t node;
	if (is_listing(m, number)) {
		reply_root_attributes(&m->slots, &m->face, &st);
		fuse_reply_attr(req, &st, FOR_EVER);
		return;
	}
	_contents_ struct contents *c = slots_get(&m->slots, number, &node);
	if (!c) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	reply_attributes(&m->slots, c, node, &m->face, &st);
	fuse_reply_attr(req, &st, FOR_EVER);
}

static void serve_readlink(fuse_req_t req, fuse_ino_t number)
{
	uint32_t node;
	_contents_ struct contents *c = slots_get(&mount_of(req)->slots, number, &node);
	if (!c)
		fuse_reply_err(req, ESTALE);
	else if (tree_node(c->tree.index, node)->type != TREE_LINK)
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_readlink(req, tree_target(c->tree.index, node));
}

static void serve_open(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *fi)
{
	(void)number;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void list_directory(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset, bool is_plus)
{
	struct mount *m = mount_of(req);
	const struct server *self = pthread_getspecific(m->self);
	char *to = (char *)self->reply;
	uint32_t node;
	size = min(size, (size_t)READ_MAX);
	if (is_listing(m, number)) {
		fuse_reply_buf(req, to, reply_root_directory(&m->slots, &m->face, is_plus, (uint64_t)offset, to, size));
		return;
	}
	_contents_ struct contents *c = slots_get(&m->slots, number, &node);
	if (!c || tree_node(c->tree.index, node)->type != TREE_DIRECTORY) {
		fuse_reply_err(req, c ? ENOTDIR : ESTALE);
		return;
	}
	hot_note(&c->slot->hot, node);
	size_t n = reply_directory(&m->slots, c, node, &m->face, is_plus, (uint64_t)offset, to, size);
	fuse_reply_buf(req, to, n);
}

static void serve_readdir(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list_directory(req, number, size, offset, false);
}

static void serve_readdirplus(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list_directory(req, number, size, offset, true);
}

/* Where a file's bytes are. False: there are none at this offset. */
static bool range_of(const struct contents *c, uint32_t node, uint64_t offset, size_t n, struct mount_range *r)
{
	uint64_t size = tree_file_size(c->tree.index, node);
	if (offset >= size || !n)
		return false;
	*r = (struct mount_range){.node = node, .blob = TREE_NO_BLOB, .offset = offset};
	n = min(n, (size_t)READ_MAX);
	r->n = (uint32_t)min((uint64_t)n, size - offset);
	if (c->tree.is_draft)
		return true;
	const struct tree_extent *e = tree_extent(c->tree.index, tree_node(c->tree.index, node)->first);
	assert(e->blob != TREE_NO_BLOB);
	r->blob = e->blob;
	r->offset += e->offset;
	return true;
}

static void serve_read(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	struct mount *m = mount_of(req);
	const struct server *self = pthread_getspecific(m->self);
	const struct mount_source *source = &m->settings.source;
	struct mount_range r;
	uint32_t node;
	_contents_ struct contents *c = slots_get(&m->slots, number, &node);
	if (!c || tree_node(c->tree.index, node)->type != TREE_FILE) {
		fuse_reply_err(req, c ? EISDIR : ESTALE);
		return;
	}
	hot_note(&c->slot->hot, node);
	if (!range_of(c, node, (uint64_t)offset, size, &r)) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	ssize_t n = source->read_now(source->arg, c->tree.arg, &r, self->reply);
	if (n == -EAGAIN) {
		park_read(&m->park, req, steal(c), &r);
	} else if (n == (ssize_t)r.n) {
		atomic_fetch_add_explicit(&m->read_size, r.n, memory_order_relaxed);
		fuse_reply_buf(req, (const char *)self->reply, r.n);
	} else {
		/* To the kernel a short answer is the file's end, and the reader would see zeros. */
		fuse_reply_err(req, n < 0 ? (int)-n : EIO);
	}
}

static void count_tree(const struct contents *c, struct statvfs *st)
{
	st->f_blocks += (tree_size(c->tree.index) + 4095) / 4096;
	st->f_files += tree_n_nodes(c->tree.index);
}

static void serve_statfs(fuse_req_t req, fuse_ino_t number)
{
	struct mount *m = mount_of(req);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
	(void)number;
	pthread_rwlock_rdlock(&m->slots.lock);
	for (uint32_t i = 0; i < m->slots.n; i++) {
		if (m->slots.at[i]->contents)
			count_tree(m->slots.at[i]->contents, &st);
	}
	pthread_rwlock_unlock(&m->slots.lock);
	fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops serve_ops = {
	.init = serve_init,
	.lookup = serve_lookup,
	.forget = serve_forget,
	.forget_multi = serve_forget_multi,
	.getattr = serve_getattr,
	.readlink = serve_readlink,
	.open = serve_open,
	.opendir = serve_open,
	.read = serve_read,
	.readdir = serve_readdir,
	.readdirplus = serve_readdirplus,
	.statfs = serve_statfs,
};
