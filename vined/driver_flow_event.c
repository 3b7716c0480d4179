/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_flow_parts.h"

#include <inttypes.h>
#include <stdio.h>

#define SMALL_SIZE 1000000u /* a tree of less has no events of its own */
#define TOLD_MOST 100u      /* transfers that have events of their own, begun within 10 s */
#define TOLD_USEC 10000000u
#define NAMES_SIZE 150u
#define GIVERS_SIZE 330u

static const char *size_text(uint64_t size, char to[32])
{
	static const char units[] = "KMGTPE";
	double x = (double)size;
	int i = -1;
	for (; x >= 1024 && i < 5; i++)
		x /= 1024;
	if (i < 0)
		snprintf(to, 32, "%.0f B", x);
	else
		snprintf(to, 32, "%.1f %ciB", x, units[i]);
	return to;
}

/* By what tasks call it. Not all of very many items are looked at. */
static void find_name(struct driver *d, struct moved_tree *t)
{
	const struct item *i = NULL;
	const struct tree *tree = map_get_text(&d->trees_by_digest, t->key);
	size_t at = 0;
	for (size_t n = 0; tree && tree->n_items && n < 20000 && (i = map_next(&d->items, &at)); n++) {
		if (i->tree == tree)
			break;
		i = NULL;
	}
	t->item = i ? i->id : t->item;
	if (i || !t->name) {
		free(t->name);
		t->name = i         ? xstrdup(i->name)
			  : t->path ? xasprintf("file:%s", t->path)
				    : xasprintf("tree:%.12s", t->key);
	}
}

/* An item may be there by the time that somebody asks, and gone when somebody asks again. */
const char *flow_tree_name(struct driver *d, struct moved_tree *t)
{
	if (!t->item)
		find_name(d, t);
	return t->name;
}

static void put_event(struct flows *f, const char *what, const struct transfer *t, const char *text)
{
	struct store *s = f->driver->o.store;
	store_put(s, &(struct store_op){.kind = STORE_EVENT,
					.event = {.node = t ? t->to->id : 0,
						  .item = t && t->of ? t->of->item : 0,
						  .what = store_text(s, what),
						  .text = store_text(s, text)}});
	feed_event(f->driver, what);
}

const char *flow_name(struct flows *f, const struct transfer *t)
{
	return t->of ? flow_tree_name(f->driver, t->of) : t->path;
}

void flow_put_names(const struct transfer *t, struct buf *to)
{
	const char *between = "";
	list_foreach (&t->givers, struct giver, link, g) {
		buf_printf(to, "%s%.80s", between, g->name);
		between = ", ";
		if (to->n > NAMES_SIZE)
			break;
	}
}

static bool is_small(const struct transfer *t)
{
	return max(t->size, t->first_size) < SMALL_SIZE;
}

/* Of very many at once the rest is summed, too. */
static bool may_tell(struct flows *f)
{
	uint64_t now = flow_now_usec(f);
	if (f->told_usec + TOLD_USEC <= now || !f->n_told) {
		f->told_usec = now;
		f->n_told = 0;
	}
	return f->n_told++ < TOLD_MOST;
}

void flow_tell_begin(struct flows *f, struct transfer *t)
{
	_cleanup_(buf_fini) struct buf names = {0};
	char size[32], text[400];
	if (t->is_told || is_small(t) || !may_tell(f))
		return;
	flow_put_names(t, &names);
	snprintf(text, sizeof text, "%.120s to %.64s begins, %s, from %.160s", flow_name(f, t), t->to->name,
		 size_text(max(t->first_size, t->size), size), buf_text(&names));
	put_event(f, "transfer-begun", t, text);
	t->is_told = true;
}

static void put_end(struct flows *f, const struct transfer *t)
{
	_cleanup_(buf_fini) struct buf text = {0};
	uint64_t usec = max(t->last_usec - t->began_usec, UINT64_C(1000));
	char size[32], rate[32];
	const char *between = ": ";
	buf_printf(&text, "%.120s to %.64s ends", flow_name(f, t), t->to->name);
	list_foreach (&t->givers, struct giver, link, g) {
		buf_printf(&text, "%s%s from %.80s", between, size_text(g->size, size), g->name);
		between = ", ";
		if (text.n > GIVERS_SIZE)
			break;
	}
	buf_printf(&text, "; in %.1f s, %s/s", (double)usec / 1e6,
		   size_text((uint64_t)((double)t->size * 1e6 / (double)usec), rate));
	put_event(f, "transfer-ended", t, buf_text(&text));
}

void flow_tell_small(struct flows *f)
{
	char text[200], a[32], b[32], c[32];
	const struct sum *s = &f->small;
	if (!s->n)
		return;
	snprintf(text, sizeof text,
		 "%" PRIu64 " more, most of them small: %s from nodes, %s from sources, %s from clients", s->n,
		 size_text(s->size[FLOW_NODE], a), size_text(s->size[FLOW_SOURCE], b),
		 size_text(s->size[FLOW_CLIENT], c));
	put_event(f, "transfers", NULL, text);
	f->small = (struct sum){0};
}

static void note_ended(struct flows *f, const struct transfer *t)
{
	_cleanup_(buf_fini) struct buf names = {0};
	struct ended *e = &f->ended[f->n_ended++ % FLOW_ENDED_MOST];
	*e = (struct ended){.node = t->to->id};
	if (!t->of)
		return;
	flow_put_names(t, &names);
	snprintf(e->tree, sizeof e->tree, "%s", t->of->key);
	snprintf(e->from, sizeof e->from, "%s", buf_text(&names));
}

void flow_tell_end(struct flows *f, const struct transfer *t)
{
	note_ended(f, t);
	if (t->is_told) {
		put_end(f, t);
		return;
	}
	f->small.n++;
	for (size_t i = 0; i < FLOW_ORIGINS; i++)
		f->small.size[i] += t->from[i];
}
