/* SPDX-License-Identifier: Apache-2.0
 * What a new process must know of the node's mount: as mounts_state.c has it of others, with a row for each tree. */
#include "vinefs/node_mount_internal.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAX (64u << 20)

/* The beginning of the memfd; then the rows with their texts, then the mount's own table. */
struct state {
	uint64_t magic, device, last_draft;
	uint32_t tier, is_answered, n_trees, n_table, n_init, reserved;
	uint8_t init[512];
};

enum { ROW_DIRECTORY, ROW_FILE, ROW_SET };

struct row {
	struct digest id, face;          /* face: of a draft, which has a source */
	uint32_t n_name, n_source, kind; /* of a set its files stand in place of a source */
};

static void put_row(struct buf *to, const struct node_tree *t)
{
	_cleanup_(buf_fini) struct buf source = {0};
	buf_puts(&source, t->source ? t->source : "");
	node_set_put(&source, t);
	const struct row r = {.id = t->id,
			      .face = t->face,
			      .n_name = (uint32_t)strlen(t->name),
			      .n_source = (uint32_t)source.n,
			      .kind = t->files     ? ROW_SET
				      : t->is_file ? ROW_FILE
						   : ROW_DIRECTORY};
	buf_put(to, &r, sizeof r);
	buf_puts(to, t->name);
	buf_put(to, source.at, source.n);
}

int carrier_save(struct carrier *c, bool is_answered)
{
	struct state head = {.magic = MOUNTS_NODE_MAGIC,
			     .device = c->connection.device,
			     .last_draft = c->owner->last_draft,
			     .tier = (uint32_t)c->tier,
			     .is_answered = is_answered,
			     .n_table = (uint32_t)c->table.n,
			     .n_init = (uint32_t)c->connection.n_init};
	_cleanup_(buf_fini) struct buf all = {0};
	assert(c->connection.n_init <= sizeof head.init);
	memcpy(head.init, c->connection.init, c->connection.n_init);
	list_foreach (&c->trees, struct node_tree, link, t)
		head.n_trees += t != NULL;
	buf_put(&all, &head, sizeof head);
	list_foreach (&c->trees, struct node_tree, link, t)
		put_row(&all, t);
	buf_put(&all, c->table.at, c->table.n);
	if (all.n > STATE_MAX)
		return -EFBIG;
	_close_ int fd = memfd_create("vine-node-mount", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, all.at, all.n, 0) != (ssize_t)all.n)
		return -ENOMEM;
	return mounts_tell_keeper(c->owner->settings.mounts, KEEPER_HOLD, c->number, (int[]){c->connection.fd, fd});
}

/* Returns how much of n bytes it took; 0: there is none. */
static size_t take_row(struct carrier *c, const uint8_t *p, size_t n)
{
	struct row r;
	if (n < sizeof r)
		return 0;
	memcpy(&r, p, sizeof r);
	if (!r.n_name || (uint64_t)r.n_name + r.n_source > n - sizeof r)
		return 0;
	const char *texts = (const char *)p + sizeof r;
	struct node_tree *t = node_tree_new(c, xstrndup(texts, r.n_name));
	t->id = r.id;
	t->face = r.face;
	t->is_file = r.kind == ROW_FILE;
	if (r.kind == ROW_SET && !node_set_take(t, texts + r.n_name, r.n_source))
		return 0;
	if (r.n_source && r.kind != ROW_SET)
		t->source = xstrndup(texts + r.n_name, r.n_source);
	return sizeof r + r.n_name + r.n_source;
}

bool carrier_load(struct carrier *c, int connection, int memory)
{
	_close_ int state_fd = memory;
	struct stat st;
	struct state head;
	c->connection.fd = connection;
	c->is_restored = true;
	if (fstat(state_fd, &st) < 0 || st.st_size < (off_t)sizeof head || st.st_size > (off_t)STATE_MAX)
		return false;
	size_t n = (size_t)st.st_size, at = sizeof head;
	_free_ uint8_t *all = xmalloc(n);
	if (pread(state_fd, all, n, 0) != (ssize_t)n)
		return false;
	memcpy(&head, all, sizeof head);
	if (head.magic != MOUNTS_NODE_MAGIC || head.n_init > sizeof c->connection.init || head.tier > PROBE_TIER_VIEWS)
		return false;
	c->tier = head.tier;
	c->owner->last_draft = max(c->owner->last_draft, head.last_draft);
	c->connection.n_init = head.n_init;
	c->connection.is_answered = head.is_answered;
	c->connection.device = head.device;
	memcpy(c->connection.init, head.init, head.n_init);
	for (uint32_t i = 0; i < head.n_trees; i++) {
		size_t took = take_row(c, all + at, n - at);
		at += took;
		if (!took)
			return false;
	}
	if (n - at != head.n_table)
		return false;
	buf_put(&c->table, all + at, head.n_table);
	return true;
}
