/* SPDX-License-Identifier: Apache-2.0
 * The mount without a kernel: numbers, listings, the record of first reads, and, with requests fed by hand, reads that wait. */
#include "common/path.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"
#include "vinefs/mount/internal.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct face face = {.uid = 7, .gid = 8};
static unsigned n_released;

static void released(void *arg, void *tree)
{
	(void)arg;
	(void)tree;
	n_released++;
}

static const struct mount_source source = {.release = released};

/* A tree of one directory "d" with n empty files, and in its root a file "f" of 5 bytes and a link "l". */
static struct tree *make_tree(struct memory_store *store, const char *name, unsigned n)
{
	_free_ char *root = path_join(unit_tmpdir(), name);
	_free_ char *d = path_join(root, "d");
	_free_ char *f = path_join(root, "f");
	_free_ char *l = path_join(root, "l");
	struct seal_options o = {.store = &store->store};
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	void *vti;
	size_t size;
	store->store.recall_file = NULL;
	store->store.learn_file = NULL;
	ASSERT_EQ(path_make_dirs(d, 0755), 0);
	for (unsigned i = 0; i < n; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/entry-%u", d, i);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	ASSERT_EQ(path_write(f, "hello", 5, 0640, false), 0);
	ASSERT_EQ(symlink("f", l), 0);
	_close_ int fd = open(root, O_RDONLY | O_DIRECTORY);
	ASSERT_EQ(seal_directory(fd, root, &o, &vti, &size, &errors, &notes), 0);
	ASSERT_EQ(tree_take(vti, size, NULL, &t), 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return t;
}

static struct slot *add_slot(struct slots *s, const char *name, const struct tree *t)
{
	const struct mount_tree given = {.index = t};
	struct slot *slot = slots_append(s, name, &given);
	slots_set(s, slot, contents_new(slot, &given, &source));
	return slot;
}

TEST(numbers_lead_to_their_nodes_and_to_nothing_else)
{
	struct memory_store store;
	struct slots s;
	uint32_t node;
	memory_store_init(&store);
	_cleanup_(tree_freep) struct tree *t = make_tree(&store, "a", 5000);
	slots_init(&s, false);
	struct slot *a = add_slot(&s, "a", t), *b = add_slot(&s, "b", t);
	ASSERT(b->base >= a->base + tree_n_nodes(t));
	ASSERT(b->base + tree_n_nodes(t) < UINT32_MAX);
	for (uint32_t i = 0; i < tree_n_nodes(t); i += 100) {
		struct contents *c = slots_get(&s, slot_number(&s, b, i), &node);
		ASSERT(c && c->slot == b);
		ASSERT_EQ(node, i);
		contents_put(c);
	}
	ASSERT(!slots_get(&s, 0, &node));
	ASSERT(!slots_get(&s, FUSE_ROOT_ID, &node));
	ASSERT(!slots_get(&s, a->base + tree_n_nodes(t), &node));
	ASSERT(!slots_get(&s, b->base + tree_n_nodes(t), &node));
	ASSERT(!slots_get(&s, UINT64_MAX, &node));
	struct contents *used = slots_get(&s, a->base, &node);
	n_released = 0;
	a->is_gone = true;
	slots_set(&s, a, NULL);
	ASSERT(!slots_get(&s, a->base, &node));
	ASSERT_EQ(n_released, 0);
	contents_put(used);
	ASSERT_EQ(n_released, 1);
	struct slot *again = add_slot(&s, "a", t);
	ASSERT(again->base > b->base);
	slots_fini(&s);
	ASSERT_EQ(n_released, 3);
	memory_store_fini(&store);
}

TEST(a_table_of_numbers_is_restored_or_refused_as_a_whole)
{
	struct memory_store store;
	struct buf table = {0};
	memory_store_init(&store);
	_cleanup_(tree_freep) struct tree *t = make_tree(&store, "a", 10);
	struct slots s, back;
	slots_init(&s, false);
	add_slot(&s, "first", t)->is_gone = true;
	struct slot *second = add_slot(&s, "second", t);
	slots_save(&s, &table);
	slots_init(&back, false);
	ASSERT_EQ(slots_load(&back, table.at, table.n), 0);
	ASSERT(!slots_find(&back, "first"));
	struct slot *found = slots_find(&back, "second");
	ASSERT(found && found->base == second->base && found->n_nodes == second->n_nodes);
	ASSERT(digest_is_equal(&found->id, tree_id(t)));
	/* What is gone leaves nothing behind but that its numbers were given. */
	ASSERT_EQ(back.n, 1);
	uint32_t node;
	ASSERT(!slots_get(&back, 1u << SLOT_GRANULE_BITS, &node));
	ASSERT(add_slot(&back, "third", t)->base > second->base);
	slots_fini(&back);
	slots_set(&s, second, NULL);
	second->is_gone = true;
	struct buf none = {0};
	slots_save(&s, &none);
	slots_init(&back, false);
	ASSERT_EQ(slots_load(&back, none.at, none.n), 0);
	ASSERT(add_slot(&back, "third", t)->base > second->base);
	slots_fini(&back);
	buf_fini(&none);
	for (size_t n = 0; n < table.n; n++) {
		slots_init(&back, false);
		ASSERT_EQ(slots_load(&back, table.at, n), -EBADMSG);
		slots_fini(&back);
	}
	table.at[16] ^= 1;
	slots_init(&back, false);
	ASSERT_EQ(slots_load(&back, table.at, table.n), -EBADMSG);
	slots_fini(&back);
	slots_fini(&s);
	buf_fini(&table);
	memory_store_fini(&store);
}

TEST(attributes_are_the_trees_and_the_users)
{
	struct memory_store store;
	struct slots s;
	struct stat st;
	memory_store_init(&store);
	_cleanup_(tree_freep) struct tree *t = make_tree(&store, "a", 3);
	slots_init(&s, true);
	struct slot *a = add_slot(&s, "", t);
	reply_attributes(&s, a->contents, 0, &face, &st);
	ASSERT_EQ(st.st_ino, FUSE_ROOT_ID);
	ASSERT(S_ISDIR(st.st_mode) && st.st_nlink == 3);
	reply_attributes(&s, a->contents, (uint32_t)tree_find(t, "f"), &face, &st);
	ASSERT_EQ(st.st_mode, S_IFREG | 0640);
	ASSERT_EQ(st.st_size, 5);
	ASSERT_EQ(st.st_blocks, 1);
	ASSERT_EQ(st.st_nlink, 1);
	ASSERT_EQ(st.st_uid, 7);
	ASSERT_EQ(st.st_gid, 8);
	reply_attributes(&s, a->contents, (uint32_t)tree_find(t, "l"), &face, &st);
	ASSERT_EQ(st.st_mode, S_IFLNK | 0777);
	ASSERT_EQ(st.st_size, 1);
	slots_fini(&s);
	memory_store_fini(&store);
}

/* What a kernel would read of a directory, with buffers of `room`. */
static unsigned list_all(struct slots *s, const struct contents *c, uint32_t node, size_t room, uint8_t *seen,
			 unsigned n_seen)
{
	_free_ char *buffer = xmalloc(room);
	uint64_t offset = 0;
	unsigned n = 0;
	size_t got;
	while ((got = c ? reply_directory(s, c, node, &face, true, offset, buffer, room)
			: reply_root_directory(s, &face, true, offset, buffer, room)) > 0) {
		ASSERT(got <= room);
		for (size_t at = 0; at < got;) {
			const struct fuse_direntplus *e = (const void *)(buffer + at);
			unsigned number = 0;
			ASSERT(e->dirent.off > offset);
			offset = e->dirent.off;
			if (e->dirent.name[0] == '.') {
				ASSERT_EQ(e->entry_out.nodeid, 0);
			} else {
				ASSERT_EQ(e->entry_out.nodeid, e->dirent.ino);
				ASSERT_EQ(e->entry_out.attr.ino, e->dirent.ino);
				_free_ char *name = xstrndup(e->dirent.name, e->dirent.namelen);
				if (sscanf(name, "entry-%u", &number) == 1 && number < n_seen)
					seen[number]++;
			}
			n++;
			at += FUSE_DIRENTPLUS_SIZE(e);
		}
	}
	return n;
}

TEST(a_directory_of_100000_is_listed_once_each_at_any_buffer_border)
{
	struct memory_store store;
	struct slots s;
	memory_store_init(&store);
	_cleanup_(tree_freep) struct tree *t = make_tree(&store, "a", 100000);
	slots_init(&s, false);
	struct slot *a = add_slot(&s, "a", t);
	uint32_t d = (uint32_t)tree_find(t, "d");
	static const size_t rooms[] = {170, 4096, 4097, 5000, 65536, 1 << 20};
	for (unsigned r = 0; r < countof(rooms); r++) {
		_free_ uint8_t *seen = xcalloc(100000, 1);
		ASSERT_EQ(list_all(&s, a->contents, d, rooms[r], seen, 100000), 100002);
		for (unsigned i = 0; i < 100000; i++)
			ASSERT_EQ(seen[i], 1);
	}
	char small[100];
	ASSERT_EQ(reply_directory(&s, a->contents, d, &face, true, 2, small, sizeof small), 0);
	ASSERT_EQ(reply_directory(&s, a->contents, d, &face, true, UINT64_MAX, small, sizeof small), 0);
	slots_fini(&s);
	memory_store_fini(&store);
}

TEST(a_listing_of_trees_goes_on_where_it_was_when_trees_go)
{
	struct memory_store store;
	struct slots s;
	char name[16], buffer[4096];
	memory_store_init(&store);
	_cleanup_(tree_freep) struct tree *t = make_tree(&store, "a", 1);
	slots_init(&s, false);
	for (unsigned i = 0; i < 9; i++) {
		snprintf(name, sizeof name, "entry-%u", i);
		add_slot(&s, name, t);
	}
	uint8_t seen[9] = {0};
	ASSERT_EQ(list_all(&s, NULL, 0, 200, seen, 9), 11);
	for (unsigned i = 0; i < 9; i++)
		ASSERT_EQ(seen[i], 1);
	/* The fourth is gone between two calls: the fifth is next, not the sixth. */
	slots_set(&s, slots_find(&s, "entry-2"), NULL);
	slots_set(&s, slots_find(&s, "entry-3"), NULL);
	ASSERT(reply_root_directory(&s, &face, true, 5, buffer, 200) > 0);
	const struct fuse_direntplus *e = (const void *)buffer;
	ASSERT_EQ(strncmp(e->dirent.name, "entry-4", 7), 0);
	slots_fini(&s);
	memory_store_fini(&store);
}

TEST(first_reads_are_recorded_once_and_in_order)
{
	struct hot h = {0};
	size_t n;
	hot_init(&h, 1000);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 1000; i += 3)
			hot_note(&h, 999 - i);
	}
	_free_ uint32_t *order = hot_copy(&h, &n);
	ASSERT_EQ(n, 334);
	for (uint32_t i = 0; i < n; i++)
		ASSERT_EQ(order[i], 999 - 3 * i);
	hot_fini(&h);
}

TEST(a_living_process_is_not_dying_and_a_dead_one_is)
{
	ASSERT(!park_is_dying(getpid()));
	ASSERT(park_is_dying(0x3fffffff));
}
