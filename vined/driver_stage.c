/* SPDX-License-Identifier: Apache-2.0
 * Trees that people want on nodes, though no task asks for them.
 *
 * 1. A wish is a setting of the cluster, "stage.NUMBER": what survives a restart of vined survives it as that.
 * 2. Each node that is meant gets the tree once: when the wish is noted, or when the node joins. What is evicted there later stays away,
 *    unless it is pinned, which is said to the node anew each time it has joined.
 * 3. A wish holds its item, and by that what can be had from nodes alone. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define PREFIX "stage."
#define STAGES_MOST 10000u
#define NODES_MOST 10000u
#define REASON_MOST 400u

struct stage {
	struct list link;
	struct driver *driver;
	uint64_t number;
	struct item *item; /* held; NULL: read from the database, and not looked for yet */
	char *early;       /* then: as it stands there */
	struct run *run;   /* whose item it is, held; NULL: every run's */
	struct {
		char **at;
		uint32_t n;
	} nodes;                  /* their names; none: all, and those that join */
	bool is_pinned, has_tree; /* has_tree: it is recorded with it */
	struct map done;          /* nodes that had all of it, by number */
};

/* ---- nodes */

static bool is_named(const struct stage *s, const char *name)
{
	for (uint32_t i = 0; i < s->nodes.n; i++)
		if (streq(s->nodes.at[i], name))
			return true;
	return false;
}

static bool is_meant(const struct stage *s, const struct node *n)
{
	bool is_there = n != s->driver->past && n->has_data && n->in_core != NODE_ABSENT;
	return is_there && (s->nodes.n ? is_named(s, n->name) : !node_is_leaving(n));
}

static bool has_all(const struct stage *s, const struct node *n)
{
	const struct tree *t = s->item->tree;
	const struct replica *r = t ? map_get(&n->replicas, t->number) : NULL;
	return r && r->size >= t->size;
}

static void record(struct stage *s, struct store_op *op);

static void arrived(struct stage *s, struct node *n)
{
	struct store_op op = {.is_kept = true};
	if (!map_get(&s->done, n->id))
		map_put(&s->done, n->id, n);
	if (s->is_pinned)
		hold_pin(n, s->item->tree, false);
	if (!s->has_tree && s->item->tree->digest.algorithm)
		record(s, &op);
}

static void bring(struct stage *s, struct node *n)
{
	if (!is_meant(s, n) || s->item->is_forgotten)
		return;
	if (has_all(s, n))
		arrived(s, n);
	else if (!map_get(&s->done, n->id) || s->is_pinned)
		core_item_bring(s->driver->core, s->item->id, n->id, s->is_pinned ? CORE_BRING_PIN : 0);
}

static void bring_all(struct stage *s)
{
	struct node *n;
	for (size_t i = 0; (n = map_next(&s->driver->nodes, &i));)
		bring(s, n);
}

void stages_node_came(struct node *n)
{
	list_foreach (&n->driver->stages, struct stage, link, s) {
		if (s->item)
			bring(s, n);
	}
}

void stages_settle(struct driver *d, struct tree *t)
{
	if (!t->is_staged)
		return;
	list_foreach (&d->stages, struct stage, link, s) {
		if (!s->item || s->item->tree != t)
			continue;
		list_foreach (&t->replicas, const struct replica, of_tree, r) {
			if (r->size >= t->size && is_meant(s, r->node) && !map_get(&s->done, r->node->id))
				arrived(s, r->node);
		}
	}
}

/* ---- on disk */

/* "PINNED TREE SIZE\nRUN\nSIGNATURE\nITEM\nNODE..." */
static char *text_of(struct stage *s)
{
	struct buf b = {0};
	const struct item *i = s->item;
	s->has_tree = i->tree && i->tree->digest.algorithm;
	buf_printf(&b, "%d %s %" PRIu64 "\n%s\n%s\n%s", s->is_pinned, s->has_tree ? i->tree->text : "-",
		   s->has_tree ? i->tree->size : 0, s->run ? s->run->name : "", i->run ? "" : i->signature, i->name);
	for (uint32_t k = 0; k < s->nodes.n; k++)
		buf_printf(&b, "\n%s", s->nodes.at[k]);
	return buf_steal_text(&b);
}

static void put(struct driver *d, uint64_t number, const char *value, struct store_op *op)
{
	char name[40];
	snprintf(name, sizeof name, PREFIX "%" PRIu64, number);
	op->kind = STORE_SETTING;
	op->setting.name = store_text(d->o.store, name);
	op->setting.value = store_text(d->o.store, value);
	store_put(d->o.store, op);
}

static void record(struct stage *s, struct store_op *op)
{
	_free_ char *text = text_of(s);
	put(s->driver, s->number, text, op);
}

/* ---- life */

static struct stage *stage_new(struct driver *d, uint64_t number)
{
	struct stage *s = NEW(struct stage);
	s->driver = d;
	s->number = number;
	d->last_stage = max(d->last_stage, number);
	list_init(&s->link);
	list_append(&d->stages, &s->link);
	return s;
}

static void add_node(struct stage *s, const char *name)
{
	if (is_named(s, name))
		return;
	s->nodes.at = xrealloc(s->nodes.at, (s->nodes.n + 1) * sizeof *s->nodes.at);
	s->nodes.at[s->nodes.n++] = xstrdup(name);
}

static void drop_node(struct stage *s, uint32_t k)
{
	assert(k < s->nodes.n);
	free(s->nodes.at[k]);
	s->nodes.at[k] = s->nodes.at[--s->nodes.n];
}

static void stage_free(struct stage *s)
{
	struct driver *d = s->driver;
	while (s->nodes.n)
		drop_node(s, 0);
	free(s->nodes.at);
	list_remove(&s->link);
	if (s->item) {
		s->item->n_stages--;
		item_unref(d, s->item, false);
	}
	if (s->run)
		run_unhold(s->run);
	map_fini(&s->done);
	free(s->early);
	free(s);
}

void stages_free(struct driver *d)
{
	list_foreach (&d->stages, struct stage, link, s)
		stage_free(s);
}

static void have_item(struct stage *s, struct item *i)
{
	s->item = i;
	i->n_stages++;
	if (i->tree)
		i->tree->is_staged = true;
	s->run = i->run ? run_hold(i->run) : NULL;
}

/* A wish but this one is for this tree there, pinned if that is asked for. */
static bool is_wanted(const struct node *n, const struct tree *t, const struct stage *but, bool is_pinned)
{
	list_foreach (&n->driver->stages, const struct stage, link, s) {
		bool is_open = s->is_pinned || (!is_pinned && !map_get(&s->done, n->id));
		if (s != but && s->item && s->item->tree == t && is_open && is_meant(s, n))
			return true;
	}
	return false;
}

bool stages_want(const struct node *n, const struct tree *t)
{
	return t->is_staged && is_wanted(n, t, NULL, false);
}

/* By this wish it is not wanted there any more; the core knows but one for whoever wants it. */
static void leave_node(struct stage *s, struct node *n)
{
	struct tree *t = s->item->tree;
	if (!t || !is_wanted(n, t, s, false)) {
		core_item_bring(s->driver->core, s->item->id, n->id, CORE_BRING_OVER);
		leaves_bring(n, t);
	}
	if (s->is_pinned && t && !is_wanted(n, t, s, true))
		hold_pin(n, t, true);
}

/* ---- a restart */

bool stage_load(struct driver *d, const char *name, const char *value)
{
	char *end;
	uint64_t number = has_prefix(name, PREFIX) ? strtoull(name + strlen(PREFIX), &end, 10) : 0;
	if (!number || *end)
		return false;
	stage_new(d, number)->early = xstrdup(value);
	return true;
}

static struct item *find_early(struct stage *s, const char *head, const char *run, const char *signature,
			       const char *name)
{
	struct driver *d = s->driver;
	char tree[DIGEST_TEXT_SIZE] = "";
	unsigned is_pinned = 0;
	uint64_t size = 0;
	struct digest digest;
	if (sscanf(head, "%u %64s %" SCNu64, &is_pinned, tree, &size) != 3)
		return NULL;
	s->is_pinned = is_pinned;
	struct run *r = *run ? map_get_text(&d->runs, run) : NULL;
	struct item *i = *run ? NULL : item_get_shared(d, name, signature);
	if (r && (i = item_find(r, name)))
		item_ref(i);
	s->has_tree = digest_parse(tree, &digest) == 0;
	if (i && s->has_tree && !i->tree)
		item_set_tree(d, i, tree_get(d, &digest, size));
	return i;
}

/* What cannot be had any more is forgotten. */
static void look_for(struct stage *s)
{
	_free_ char *text = steal(s->early);
	const char *lines[4] = {"", "", "", ""};
	char *save = text;
	for (size_t i = 0; i < countof(lines) && save; i++)
		lines[i] = strsep(&save, "\n");
	while (save)
		add_node(s, strsep(&save, "\n"));
	struct item *i = find_early(s, lines[0], lines[1], lines[2], lines[3]);
	if (!i) {
		log_warn("%.200s was to be staged, and is not known any more", lines[3]);
		put(s->driver, s->number, "", &(struct store_op){.is_kept = true});
		stage_free(s);
		return;
	}
	have_item(s, i);
	bring_all(s);
}

void stages_load_end(struct driver *d)
{
	list_foreach (&d->stages, struct stage, link, s) {
		if (!s->item)
			look_for(s);
	}
}

/* ---- what clients ask */

static struct stage *find(const struct driver *d, const struct item *i)
{
	list_foreach (&d->stages, struct stage, link, s) {
		if (s->item == i)
			return s;
	}
	return NULL;
}

/* Under this name, whatever its signature was. */
static struct stage *find_named(const struct driver *d, const struct run *r, const char *name)
{
	list_foreach (&d->stages, struct stage, link, s) {
		if (s->item && streq(s->item->name, name) && (!s->run || s->run == r))
			return s;
	}
	return NULL;
}

static size_t count_stages(const struct driver *d)
{
	size_t n = 0;
	list_foreach (&d->stages, const struct stage, link, s)
		n++;
	return n;
}

static int check_nodes(const struct driver *d, const struct wire_stage *m, struct promise *p)
{
	if (m->nodes.n > NODES_MOST) {
		promise_status(p, E2BIG, "%u nodes are named, at most %u are possible; with none it is all of them",
			       m->nodes.n, NODES_MOST);
		return -E2BIG;
	}
	for (uint32_t i = 0; i < m->nodes.n; i++) {
		const struct node *n = node_find(d, m->nodes.at[i]);
		if (n && (n->has_data || !n->conn))
			continue;
		promise_status(p, n ? ENOTSUP : ENOENT,
			       n ? "node %.100s keeps no trees: it sees shared paths itself"
				 : "no node is called '%.100s'; `vine status` lists them",
			       m->nodes.at[i]);
		return -ENOENT;
	}
	return 0;
}

static void on_stored(struct store_op *op, int error)
{
	promise_stored(op->arg, error);
}

static void end_stage(struct stage *s)
{
	struct node *n;
	for (size_t i = 0; (n = map_next(&s->driver->nodes, &i));)
		if (is_meant(s, n) || map_get(&s->done, n->id))
			leave_node(s, n);
	stage_free(s);
}

static void unstage(struct driver *d, const struct run *r, const struct wire_stage *m, struct promise *p)
{
	struct store_op op = {.on_stored = on_stored, .arg = p};
	struct stage *s = find_named(d, r, m->item);
	if (!s) {
		promise_status(p, ENOENT, "'%.200s' is not staged; `vine stage` lists what is", m->item);
		return;
	}
	if (m->nodes.n && !s->nodes.n) {
		promise_status(p, EINVAL, "'%.200s' is staged on all nodes: end it for all, and name the others anew",
			       m->item);
		return;
	}
	for (uint32_t k = 0; m->nodes.n && k < s->nodes.n;) {
		bool is_over = false;
		for (uint32_t i = 0; i < m->nodes.n; i++)
			is_over |= streq(m->nodes.at[i], s->nodes.at[k]);
		struct node *n = is_over ? node_find(d, s->nodes.at[k]) : NULL;
		if (n)
			leave_node(s, n);
		if (is_over)
			drop_node(s, k);
		else
			k++;
	}
	if (m->nodes.n && s->nodes.n) {
		record(s, &op);
		return;
	}
	put(d, s->number, "", &op);
	end_stage(s);
}

/* What could not be had may be there by now. */
static void forget_failed(struct driver *d, const struct run *r, const struct wire_stage *m)
{
	struct stage *s = find_named(d, r, m->item);
	if (!s || !s->item->trouble)
		return;
	put(d, s->number, "", &(struct store_op){.is_kept = true});
	stage_free(s);
	items_fade(d);
}

static struct item *hold_item_of(struct driver *d, struct run *r, const struct wire_stage *m, char reason[256])
{
	const struct wire_binding b = {.path = "", .item = m->item, .mode = 1, .signature = m->signature};
	if (r)
		return item_get(r, &b, 0, reason);
	snprintf(reason, 256, "item '%.150s': not file:/PATH, node:/PATH or tree:ID; of a temp:NAME its run is needed",
		 m->item);
	return item_get_shared(d, m->item, m->signature);
}

/* NULL: it is refused. *is_new: nobody wanted it yet. */
static struct stage *stage_get(struct driver *d, struct run *r, const struct wire_stage *m, bool *is_new,
			       struct promise *p)
{
	char reason[256];
	struct item *i = hold_item_of(d, r, m, reason);
	if (!i) {
		promise_status(p, EINVAL, "%s", reason);
		return NULL;
	}
	struct stage *s = find(d, i);
	*is_new = !s;
	bool is_nothing = i->run && !i->producer, is_much = !s && count_stages(d) >= STAGES_MOST;
	if (s || is_nothing || is_much) {
		item_unref(d, i, false);
	} else {
		s = stage_new(d, d->last_stage + 1);
		have_item(s, i);
	}
	if (is_nothing)
		promise_status(p, ENOENT, "item '%.200s': no task of that run makes it", m->item);
	else if (is_much)
		promise_status(p, E2BIG, "'%.200s': %u trees are staged already; end some of these", m->item,
			       STAGES_MOST);
	return s;
}

void driver_stage(struct driver *d, struct run *r, const struct wire_stage *m, struct promise *p)
{
	bool is_new;
	if (check_nodes(d, m, p))
		return;
	if (m->is_over) {
		unstage(d, r, m, p);
		return;
	}
	forget_failed(d, r, m);
	struct stage *s = stage_get(d, r, m, &is_new, p);
	if (!s)
		return;
	bool is_for_all = !m->nodes.n || (!is_new && !s->nodes.n);
	for (uint32_t k = 0; k < m->nodes.n && !is_for_all; k++)
		add_node(s, node_find(d, m->nodes.at[k])->name);
	while (is_for_all && s->nodes.n)
		drop_node(s, 0);
	s->is_pinned |= m->is_pinned;
	/* What was evicted since comes again. */
	map_fini(&s->done);
	record(s, &(struct store_op){.on_stored = on_stored, .arg = p});
	bring_all(s);
}

/* ---- looking in */

static const char *state_of(const struct stage *s, const struct node *n)
{
	if (has_all(s, n))
		return "there";
	if (s->item->trouble)
		return "cannot";
	if (!n->conn)
		return "away";
	if (map_get(&s->done, n->id) && !s->is_pinned)
		return "evicted";
	return map_get(&n->fetches, s->item->id) ? "coming" : "waits";
}

/* A tree that is asked for by its id, and nowhere: it may come with a node that joins. */
static bool has_nobody(const struct stage *s)
{
	const struct tree *t = s->item->tree;
	if (!t || !has_prefix(s->item->name, "tree:"))
		return false;
	list_foreach (&t->replicas, const struct replica, of_tree, r)
		if (r->node->conn && r->size >= t->size)
			return false;
	return true;
}

/* Why it is not there: ever, or so far. */
static const char *reason_of(const struct stage *s, const struct node *n, char text[REASON_MOST])
{
	const char *trouble = fetch_trouble(n, s->item);
	if (s->item->trouble)
		return s->item->trouble;
	if (has_nobody(s))
		return "no node that is there has all of it";
	if (!trouble || !n->conn)
		return "";
	snprintf(text, REASON_MOST, "node %.64s: %s", n->name, trouble);
	return text;
}

static bool is_shown(const struct stage *s, const struct node *n)
{
	return n != s->driver->past && (is_meant(s, n) || (s->nodes.n && is_named(s, n->name)));
}

void driver_staged(const struct driver *d, const char *name, bool (*on_row)(void *arg, const struct driver_staged *r),
		   void *arg)
{
	const struct node *n;
	bool goes_on = true;
	char text[REASON_MOST];
	list_foreach (&d->stages, const struct stage, link, s) {
		if (!s->item || (*name && !streq(name, s->item->name)))
			continue;
		const struct tree *t = s->item->tree;
		for (size_t i = 0; goes_on && (n = map_next(&d->nodes, &i));) {
			if (!is_shown(s, n))
				continue;
			const struct replica *r = t ? map_get(&n->replicas, t->number) : NULL;
			goes_on = on_row(arg, &(struct driver_staged){.item = s->item->name,
								      .run = s->run ? s->run->name : "",
								      .tree = t ? t->text : "",
								      .node = n->name,
								      .state = state_of(s, n),
								      .reason = reason_of(s, n, text),
								      .size = r ? min(r->size, t->size) : 0,
								      .total = t ? t->size : s->item->size,
								      .is_pinned = s->is_pinned,
								      .is_for_all = !s->nodes.n});
		}
	}
}
