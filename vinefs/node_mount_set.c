/* SPDX-License-Identifier: Apache-2.0
 * A set: files, each a tree of its own, seen in one directory. It has names alone; what is read of a file is read of its tree, which is open as long as the set is.
 * its files are opened -> composed -> served; or, of a process before, served again. */
#include "vinefs/node_mount_internal.h"

#include "common/log.h"

#include <stdio.h>

struct opening_file {
	struct fetch_open open;
	struct node_tree *of;
};

/* ---- what the mount has of a tree */

struct node_served *node_served_new(struct fetch_tree *tree)
{
	struct node_served *s = xcalloc(1, sizeof *s + sizeof *s->trees);
	s->trees[s->n++] = tree;
	return s;
}

void node_served_free(struct node_served *s)
{
	for (uint32_t i = 0; s && i < s->n; i++)
		if (s->trees[i])
			fetch_close(s->trees[i]);
	if (s)
		tree_free(s->names);
	free(s);
}

struct fetch_tree *node_served_find(const struct node_served *s, const struct mount_range *r, struct mount_range *own)
{
	*own = *r;
	if (!s->names)
		return s->trees[0];
	/* Node 0 is the set's directory. */
	assert(r->node > 0 && r->node <= s->n && r->blob == TREE_NO_BLOB);
	struct fetch_tree *t = s->trees[r->node - 1];
	const struct tree *index = fetch_index(t);
	const struct tree_extent *e = tree_extent(index, tree_node(index, 0)->first);
	own->node = 0;
	own->blob = e->blob;
	own->offset += e->offset;
	return t;
}

/* ---- files */

void node_set_name(const struct node_file *files, size_t n, char name[NODE_SET_NAME])
{
	struct digest_stream *s = digest_stream_new();
	struct digest all;
	char text[DIGEST_TEXT_SIZE];
	for (size_t i = 0; i < n; i++) {
		digest_stream_add(s, files[i].name, strlen(files[i].name) + 1);
		digest_stream_add(s, digest_text(&files[i].tree, text), sizeof text);
	}
	digest_stream_end(s, &all);
	digest_stream_free(s);
	snprintf(name, NODE_SET_NAME, "set-%s", digest_text(&all, text));
}

void node_set_free(struct node_tree *t)
{
	node_set_stop(t);
	if (!t->is_added)
		node_served_free(t->set);
	for (uint32_t i = 0; i < t->n_files; i++)
		free(t->files[i].name);
	free(steal(t->files));
}

const char *node_set_failure(const struct node_tree *t, uint32_t file, unsigned *n)
{
	assert(t->is_added && file < t->n_files);
	return fetch_failure(t->set->trees[file], n);
}

void node_set_stop(struct node_tree *t)
{
	for (uint32_t i = 0; t->openings && i < t->n_files; i++)
		fetch_open_stop(&t->openings[i].open);
	free(steal(t->openings));
}

/* ---- opening */

static int compose(struct node_tree *t)
{
	struct node_served *s = t->set;
	_free_ const struct tree **indexes = xcalloc(s->n, sizeof *indexes);
	_free_ const char **names = xcalloc(s->n, sizeof *names);
	for (uint32_t i = 0; i < s->n; i++) {
		indexes[i] = fetch_index(s->trees[i]);
		names[i] = t->files[i].name;
		if (tree_node(indexes[i], 0)->type != TREE_FILE)
			return -EISDIR;
	}
	return tree_compose(indexes, names, s->n, &s->names);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *tree)
{
	struct opening_file *f = container_of(o, struct opening_file, open);
	struct node_tree *t = f->of;
	size_t i = (size_t)(f - t->openings);
	if (error) {
		log_errno(-error, "%s of %s", t->files[i].name, t->path);
	} else {
		t->set->trees[i] = tree;
		/* What is lost of it may still come from elsewhere. */
		fetch_expect(tree, true);
	}
	if (!t->error)
		t->error = error;
	if (--t->n_opening)
		return;
	free(steal(t->openings));
	node_set_opened(t, t->error ? t->error : compose(t));
}

int node_set_open(struct node_tree *t)
{
	struct fetch *f = t->carrier->owner->settings.fetch;
	assert(t->n_files && !t->set && !t->openings);
	t->set = xcalloc(1, sizeof *t->set + t->n_files * sizeof *t->set->trees);
	t->set->n = t->n_opening = t->n_files;
	t->openings = xcalloc(t->n_files, sizeof *t->openings);
	for (uint32_t i = 0; i < t->n_files; i++) {
		struct opening_file *o = &t->openings[i];
		o->of = t;
		o->open.on_done = on_opened;
		int r = fetch_open(f, &o->open, &t->files[i].tree, "attempts", t->name);
		if (r) {
			node_set_stop(t);
			return r;
		}
	}
	return 0;
}

/* ---- what a new process must know of one */

void node_set_put(struct buf *to, const struct node_tree *t)
{
	for (uint32_t i = 0; i < t->n_files; i++) {
		buf_put(to, &t->files[i].tree, sizeof t->files[i].tree);
		buf_put(to, t->files[i].name, strlen(t->files[i].name) + 1);
	}
}

bool node_set_take(struct node_tree *t, const char *p, size_t n)
{
	uint32_t room = 0;
	while (n) {
		struct node_file file;
		const char *name = p + sizeof file.tree,
			   *end = n > sizeof file.tree ? memchr(name, 0, n - sizeof file.tree) : NULL;
		if (!end)
			return false;
		memcpy(&file.tree, p, sizeof file.tree);
		if (t->n_files == room)
			t->files = xrealloc(t->files, (room = room ? 2 * room : 64) * sizeof *t->files);
		file.name = xstrdup(name);
		t->files[t->n_files++] = file;
		n -= (size_t)(end + 1 - p);
		p = end + 1;
	}
	return t->n_files;
}
