/* SPDX-License-Identifier: Apache-2.0
 * attached, from a handle -> perhaps a draft, until its tree takes its place -> removed. Or restored: opened again by its id; a draft by reading the names of its source again. */
#include "vinefs/hotset.h"
#include "vinefs/node_mount_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <inttypes.h>

struct node_tree *node_tree_new(struct carrier *c, char *name)
{
	struct node_tree *t = NEW(struct node_tree);
	assert(*name && !strchr(name, '/'));
	t->carrier = c;
	t->name = name;
	t->path = path_join(c->owner->directory, name);
	list_init(&t->link);
	list_append(&c->trees, &t->link);
	return t;
}

void node_tree_stop(struct node_tree *t)
{
	fetch_open_stop(&t->open);
	fetch_seal_stop(&t->seal);
	fetch_watch_stop(&t->watch);
	node_set_stop(t);
}

void node_tree_free(struct node_tree *t)
{
	node_tree_stop(t);
	node_set_free(t);
	list_remove(&t->link);
	free(t->name);
	free(t->path);
	free(t->source);
	free(t->failure);
	free(t);
}

const char *node_tree_failure(const struct node_tree *t, unsigned *n)
{
	const char *text = t->tree ? fetch_failure(t->tree, n) : "";
	*n = (t->tree ? *n : 0) + t->n_failed;
	return !*text && t->failure ? t->failure : text;
}

/* ---- what was read */

/* A draft has no name to keep it under, and single files are read whole. */
static bool find_hot(struct node_tree *t, uint32_t **nodes, size_t *n)
{
	return !t->source && !t->is_file && !t->files && t->carrier->mount &&
	       mount_hot(t->carrier->mount, t->name, nodes, n) == 0;
}

bool node_tree_read(struct node_tree *t, uint32_t **nodes, size_t *n)
{
	const struct node_mount_settings *s = &t->carrier->owner->settings;
	if (!find_hot(t, nodes, n))
		return false;
	*n = hotset_files(fetch_index(t->tree), *nodes, *n);
	if (!*n) {
		free(*nodes);
		return false;
	}
	hotset_save(s->fetch, s->hot, fetch_index(t->tree), xmemdup(*nodes, *n * sizeof **nodes), *n);
	return true;
}

void node_tree_save_hot(struct node_tree *t, bool is_last)
{
	const struct node_mount_settings *s = &t->carrier->owner->settings;
	uint32_t *nodes;
	size_t n;
	if (!find_hot(t, &nodes, &n))
		return;
	hotset_save(is_last ? NULL : s->fetch, s->hot, fetch_index(t->tree), nodes, n);
}

/* ---- from a draft to its tree */

static void swap(struct node_tree *t, struct fetch_tree *tree)
{
	const struct node_mount_settings *s = &t->carrier->owner->settings;
	struct node_served *served = node_served_new(tree);
	const struct mount_tree sealed = {.index = fetch_index(tree), .arg = served};
	struct fetch_tree *draft = t->tree;
	const struct digest names = t->id;
	char *source = steal(t->source);
	assert(t->carrier->mount && source && fetch_is_draft(draft));
	/* First, for the keeper is told of it within the swap, and the draft may be gone after it. */
	free(t->failure);
	t->failure = xstrdup(fetch_failure(draft, &t->n_failed));
	t->id = *tree_id(sealed.index);
	t->tree = tree;
	int r = mount_swap(t->carrier->mount, t->name, &sealed);
	if (r == -ENOENT || r == -ESTALE) {
		log_errno(-r, "%s stays a draft", source);
		t->id = names;
		t->tree = draft;
		t->source = source;
		node_served_free(served);
		t->n_failed = 0;
		return;
	}
	/* Who comes after us would take it for a draft still; it does not hurt. */
	if (r)
		log_errno(-r, "tell the keeper that %s is sealed", source);
	free(source);
	s->on_sealed(s->arg, t);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *tree)
{
	struct node_tree *t = container_of(o, struct node_tree, open);
	if (error)
		log_errno(-error, "%s stays a draft: open its tree", t->source);
	else
		swap(t, tree);
}

/* A lease of our own is taken here, for the draft's goes with it. */
static void on_over(struct fetch_watch *w, int error, const struct digest *id, const char *reason)
{
	struct node_tree *t = container_of(w, struct node_tree, watch);
	if (error) {
		log_warn("%s stays a draft: %s", t->source, reason);
		return;
	}
	t->open.on_done = on_opened;
	int r = fetch_open(t->carrier->owner->settings.fetch, &t->open, id, "attempt", t->source);
	if (r)
		log_errno(-r, "%s stays a draft: open its tree", t->source);
}

void node_tree_watch(struct node_tree *t)
{
	if (!t->source)
		return;
	t->watch.on_over = on_over;
	fetch_watch_start(t->tree, &t->watch);
}

/* ---- attaching */

int node_tree_take(struct node_tree *t, struct fetch_tree *tree)
{
	const struct tree *index = fetch_index(tree);
	struct fetch_draft_info i;
	assert(!t->tree);
	if (fetch_is_draft(tree)) {
		fetch_draft_get(tree, &i);
		if (t->carrier->is_restored && t->source && !digest_is_equal(&i.face, &t->face)) {
			log_error("%s has changed since tasks began to read it as a draft: they get errors", i.path);
			return -ESTALE;
		}
		if (!t->source)
			t->source = xstrdup(i.path);
		t->face = i.face;
	}
	t->id = *tree_id(index);
	t->is_file = tree_node(index, 0)->type == TREE_FILE;
	t->tree = tree;
	return 0;
}

static char *new_name(struct node_mount *n, const struct fetch_tree *t)
{
	char id[DIGEST_TEXT_SIZE];
	if (fetch_is_draft(t))
		return xasprintf("draft-%" PRIu64, ++n->last_draft);
	return xstrdup(digest_text(tree_id(fetch_index(t)), id));
}

int node_tree_serve(struct node_tree *t)
{
	struct node_served *s = t->set ? t->set : node_served_new(t->tree);
	const struct tree *index = s->names ? s->names : fetch_index(t->tree);
	/* Of a set, too, the mount knows names alone. */
	const struct mount_tree served = {.index = index, .arg = s, .is_draft = s->names || fetch_is_draft(t->tree)};
	int r = mount_add(t->carrier->mount, t->name, &served);
	if (r && !t->set)
		free(s);
	t->is_added = !r;
	return r;
}

int node_mount_add(struct node_mount *n, struct fetch_tree *tree, void *owner, struct node_tree **out)
{
	struct carrier *c = n->carrier;
	assert(!n->is_over);
	if (!c || !c->is_serving)
		return -ENOTCONN;
	struct node_tree *t = node_tree_new(c, new_name(n, tree));
	int r = node_tree_take(t, tree);
	if (!r)
		r = node_tree_serve(t);
	if (r) {
		node_tree_free(t);
		return r;
	}
	t->owner = owner;
	node_tree_watch(t);
	*out = t;
	return 0;
}

int node_mount_add_set(struct node_mount *n, const struct node_file *files, uint32_t n_files, void *owner,
		       struct node_tree **out)
{
	struct carrier *c = n->carrier;
	char name[NODE_SET_NAME];
	assert(!n->is_over);
	if (!c || !c->is_serving)
		return -ENOTCONN;
	node_set_name(files, n_files, name);
	struct node_tree *t = node_tree_new(c, xstrdup(name));
	t->files = xcalloc(n_files, sizeof *t->files);
	for (t->n_files = 0; t->n_files < n_files; t->n_files++)
		t->files[t->n_files] =
			(struct node_file){.name = xstrdup(files[t->n_files].name), .tree = files[t->n_files].tree};
	int r = node_set_open(t);
	if (r) {
		node_tree_free(t);
		return r;
	}
	t->owner = owner;
	*out = t;
	return 0;
}

void node_mount_remove(struct node_tree *t)
{
	struct mount *mount = t->carrier->mount;
	_free_ char *name = xstrdup(t->name);
	bool is_added = t->is_added;
	node_tree_save_hot(t, false);
	/* First, for the keeper is told of it within. */
	node_tree_free(t);
	int r = is_added ? mount_remove(mount, name) : 0;
	if (r)
		log_errno(-r, "tell the keeper that %s is not mounted any more", name);
}

/* ---- after another process */

static void resolve(struct node_tree *t, int error)
{
	if (error)
		log_errno(-error, "%s cannot be served again", t->source ? t->source : t->path);
	t->is_resolved = true;
	carrier_go_on(t->carrier);
}

void node_set_opened(struct node_tree *t, int error)
{
	const struct node_mount_settings *s = &t->carrier->owner->settings;
	if (!t->carrier->is_serving) {
		if (error)
			node_served_free(steal(t->set));
		resolve(t, error);
		return;
	}
	if (!error)
		error = node_tree_serve(t);
	s->on_set(s->arg, t, error);
	if (error)
		node_tree_free(t);
}

static void on_restored(struct fetch_open *o, int error, struct fetch_tree *tree)
{
	struct node_tree *t = container_of(o, struct node_tree, open);
	if (!error) {
		error = node_tree_take(t, tree);
		if (error)
			fetch_close(tree);
		else if (!t->source)
			fetch_expect(tree, true);
	}
	resolve(t, error);
}

static void on_draft(struct fetch_seal *f, uint64_t number, const struct tree *names _unused_,
		     const struct seal_report *notes _unused_)
{
	struct node_tree *t = container_of(f, struct node_tree, seal);
	t->open.on_done = on_restored;
	int r = fetch_open_draft(t->carrier->owner->settings.fetch, &t->open, number);
	if (r)
		resolve(t, r);
}

static void on_done(struct fetch_seal *f, int error, const struct digest *id, const struct seal_report *errors,
		    const struct seal_report *notes _unused_)
{
	struct node_tree *t = container_of(f, struct node_tree, seal);
	/* It joined a sealing that had no draft to give: now its own will have. */
	if (!error && id)
		error = fetch_seal_start(t->carrier->owner->settings.fetch, &t->seal, t->source, NULL);
	else
		log_error("%s: %s", t->source, errors->n ? errors->lines[0] : strerror(-error));
	if (error)
		resolve(t, error);
}

void node_tree_restore(struct node_tree *t)
{
	struct fetch *f = t->carrier->owner->settings.fetch;
	int r;
	if (t->files) {
		r = node_set_open(t);
		if (r)
			node_served_free(steal(t->set));
	} else if (t->source) {
		t->seal.on_draft = on_draft;
		t->seal.on_done = on_done;
		t->seal.is_any_draft = true;
		r = fetch_seal_start(f, &t->seal, t->source, NULL);
	} else {
		t->open.on_done = on_restored;
		r = fetch_open(f, &t->open, &t->id, "attempt", t->path);
	}
	if (r) {
		log_errno(-r, "%s cannot be served again", t->source ? t->source : t->path);
		t->is_resolved = true;
	}
}
