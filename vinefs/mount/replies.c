/* SPDX-License-Identifier: Apache-2.0
 * Attributes and directories as the kernel wants them. An entry's offset is its place, so that a listing goes on where it was whatever is
 * asked in between: 1 and 2 are the dots, a tree's children follow; in the connection's root a tree's place is its slot, which never moves. */
#include "vinefs/mount/internal.h"

#define N_DOTS 2u

/* A file on a local disk has 4096; a larger one would make Python and cp take larger buffers, not faster reads. */
#define BLOCK_SIZE 4096

void reply_attributes(const struct slots *s, const struct contents *c, uint32_t node, const struct face *f,
		      struct stat *st)
{
	const struct tree_node *n = tree_node(c->tree.index, node);
	const struct timespec time = {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec};
	*st = (struct stat){.st_ino = slot_number(s, c->slot, node),
			    .st_mode = n->mode,
			    .st_nlink = 1,
			    .st_uid = f->uid,
			    .st_gid = f->gid,
			    .st_blksize = BLOCK_SIZE,
			    .st_atim = time,
			    .st_mtim = time,
			    .st_ctim = time};
	switch (n->type) {
	case TREE_DIRECTORY:
		st->st_mode |= S_IFDIR;
		st->st_nlink = 2 + n->n_directories;
		st->st_size = BLOCK_SIZE;
		break;
	case TREE_LINK:
		st->st_mode = S_IFLNK | 0777;
		st->st_size = n->n;
		break;
	default:
		assert(n->type == TREE_FILE);
		st->st_mode |= S_IFREG;
		st->st_size = (off_t)tree_file_size(c->tree.index, node);
	}
	st->st_blocks = (st->st_size + 511) / 512;
}

void reply_root_attributes(struct slots *s, const struct face *f, struct stat *st)
{
	*st = (struct stat){.st_ino = FUSE_ROOT_ID,
			    .st_mode = S_IFDIR | 0555,
			    .st_nlink = 2,
			    .st_uid = f->uid,
			    .st_gid = f->gid,
			    .st_size = BLOCK_SIZE,
			    .st_blocks = BLOCK_SIZE / 512,
			    .st_blksize = BLOCK_SIZE};
	pthread_rwlock_rdlock(&s->lock);
	for (uint32_t i = 0; i < s->n; i++)
		st->st_nlink +=
			s->at[i]->contents && tree_node(s->at[i]->contents->tree.index, 0)->type == TREE_DIRECTORY;
	st->st_atim = st->st_mtim = st->st_ctim = s->changed;
	pthread_rwlock_unlock(&s->lock);
}

struct packing {
	char *to;
	size_t room, n;
	bool is_plus;
};

/* Without a number the kernel lists the name but makes nothing of it: so for the dots. */
static bool pack(struct packing *p, const char *name, uint64_t number, const struct stat *st, uint64_t next)
{
	const struct fuse_entry_param e = {
		.ino = number, .attr = *st, .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER};
	size_t left = p->room - p->n;
	size_t n = p->is_plus ? fuse_add_direntry_plus(NULL, p->to + p->n, left, name, &e, (off_t)next)
			      : fuse_add_direntry(NULL, p->to + p->n, left, name, st, (off_t)next);
	if (n > left)
		return false;
	p->n += n;
	return true;
}

size_t reply_directory(const struct slots *s, const struct contents *c, uint32_t node, const struct face *f,
		       bool is_plus, uint64_t offset, char *to, size_t room)
{
	const struct tree *t = c->tree.index;
	const struct tree_node *d = tree_node(t, node);
	struct packing p = {.to = to, .room = room, .is_plus = is_plus};
	struct stat st;
	assert(d->type == TREE_DIRECTORY);
	for (; offset < (uint64_t)d->n + N_DOTS; offset++) {
		bool is_dot = offset < N_DOTS;
		uint32_t child = is_dot ? offset == 0 ? node : d->parent : d->first + (uint32_t)(offset - N_DOTS);
		reply_attributes(s, c, child, f, &st);
		/* What lies above a tree in a mount of several is the connection's root. */
		if (offset == 1 && node == 0)
			st.st_ino = FUSE_ROOT_ID;
		const char *name = !is_dot ? tree_name(t, child) : offset == 0 ? "." : "..";
		if (!pack(&p, name, is_dot ? 0 : st.st_ino, &st, offset + 1))
			break;
	}
	return p.n;
}

size_t reply_root_directory(struct slots *s, const struct face *f, bool is_plus, uint64_t offset, char *to, size_t room)
{
	struct packing p = {.to = to, .room = room, .is_plus = is_plus};
	struct stat st;
	bool fits = true;
	assert(!s->is_single);
	reply_root_attributes(s, f, &st);
	for (; fits && offset < N_DOTS; offset += fits)
		fits = pack(&p, offset == 0 ? "." : "..", 0, &st, offset + 1);
	pthread_rwlock_rdlock(&s->lock);
	for (; fits && offset - N_DOTS < s->n; offset++) {
		const struct slot *slot = s->at[offset - N_DOTS];
		if (!slot->contents)
			continue;
		reply_attributes(s, slot->contents, 0, f, &st);
		fits = pack(&p, slot->name, st.st_ino, &st, offset + 1);
	}
	pthread_rwlock_unlock(&s->lock);
	return p.n;
}
