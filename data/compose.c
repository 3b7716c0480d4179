/* SPDX-License-Identifier: Apache-2.0
 * Files of other trees under one directory: their names alone, for where the bytes are each file's own tree says. */
#include "data/builder.h"

static void take_attributes(struct entry *to, const struct tree *file)
{
	const struct tree_node *n = tree_node(file, 0);
	assert(n->type == TREE_FILE);
	*to = (struct entry){.type = TREE_FILE,
			     .mode = n->mode,
			     .mtime_sec = n->mtime_sec,
			     .mtime_nsec = n->mtime_nsec,
			     .signature.size = tree_file_size(file, 0)};
}

/* As if the youngest of them had been put there last. */
static void date_root(struct builder *b, const struct entry *files, size_t n)
{
	struct entry *root = builder_entry(b, BUILDER_ROOT);
	for (size_t i = 0; i < n; i++) {
		const struct entry *e = &files[i];
		bool is_younger = e->mtime_sec > root->mtime_sec ||
				  (e->mtime_sec == root->mtime_sec && e->mtime_nsec > root->mtime_nsec);
		if (i && !is_younger)
			continue;
		root->mtime_sec = e->mtime_sec;
		root->mtime_nsec = e->mtime_nsec;
	}
}

int tree_compose(const struct tree *const *files, const char *const *names, size_t n, struct tree **out)
{
	_cleanup_(builder_freep) struct builder *b = builder_new();
	_free_ struct entry *entries = xcalloc(n, sizeof *entries);
	struct signature *signatures;
	for (size_t i = 0; i < n; i++)
		take_attributes(&entries[i], files[i]);
	int64_t r = builder_add(b, BUILDER_ROOT, entries, names, NULL, n);
	if (r < 0)
		return (int)r;
	date_root(b, entries, n);
	builder_order(b);
	int error = builder_draft(b, out, &signatures);
	if (!error)
		free(signatures);
	return error;
}
