/* SPDX-License-Identifier: Apache-2.0
 * HOT_SET: what tasks here have read of a tree goes to vined, which tells it those who fetch the tree later; and what it tells us is kept where hot sets are, unless
 * one is there that was seen here. Numbers are as in those files: of this machine's byte order, which is the wire's. */
#include "vinefs/link_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <dirent.h>
#include <unistd.h>

#define FILES_MOST 16384u /* of one; more than that is not what is read first */
#define AGAIN_USEC 200000u
#define LISTED_MOST 1000u
#define LISTED_SIZE_MOST (4u << 20)

struct listed {
	struct digest tree;
	uint8_t *at;
	size_t n;
};

/* All that is there, read in the pool. */
struct profiles {
	struct fetch_work work;
	struct link *owner; /* NULL: nobody waits */
	char *path;
	struct listed all[LISTED_MOST];
	size_t n;
};

static void tell(struct link *k, const struct digest *tree, const void *nodes, size_t n)
{
	struct conn *c = link_conn(k);
	uint64_t key = get_le64(tree->byte);
	if (!c || !n || n <= (uintptr_t)map_get(&k->profiles, key))
		return;
	map_remove(&k->profiles, key);
	map_put(&k->profiles, key, (void *)(uintptr_t)n);
	n = min(n, (size_t)FILES_MOST);
	conn_send(c, WIRE_HOT_SET,
		  &(struct wire_hot_set){.tree = *tree, .nodes = {nodes, (uint32_t)(n * sizeof(uint32_t))}});
}

/* ---- what was read just now. Of a tree that vined was not told yet to be here it would not know what is meant. */

struct fresh {
	struct list link;
	struct digest tree;
	uint32_t *nodes;
	size_t n;
};

static void fresh_free(struct fresh *f)
{
	list_remove(&f->link);
	free(f->nodes);
	free(f);
}

static void on_time(struct timer *t)
{
	struct link *k = container_of(t, struct link, profile_timer);
	list_foreach (&k->fresh, struct fresh, link, f) {
		if (report_has(k, &f->tree)) {
			tell(k, &f->tree, f->nodes, f->n);
			fresh_free(f);
		}
	}
	if (!list_is_empty(&k->fresh))
		timer_start(t, k->loop, AGAIN_USEC, on_time);
}

void profile_read(struct link *k, const struct digest *tree, const uint32_t *nodes, size_t n)
{
	struct fresh *f = NEW(struct fresh);
	f->tree = *tree;
	f->n = n;
	f->nodes = xmemdup(nodes, n * sizeof *nodes);
	list_init(&f->link);
	list_append(&k->fresh, &f->link);
	if (!k->profile_timer.loop)
		timer_start(&k->profile_timer, k->loop, 0, on_time);
}

void profile_told(struct link *k, const struct wire_hot_set *m)
{
	char id[DIGEST_TEXT_SIZE];
	if (!k->hot_path || m->nodes.n > FILES_MOST * sizeof(uint32_t))
		return;
	_free_ char *path = path_join(k->hot_path, digest_text(&m->tree, id));
	if (access(path, F_OK) == 0)
		return;
	int r = path_write(path, m->nodes.at, m->nodes.n, 0600, false);
	if (r)
		log_errno(-r, "write %s", path);
}

/* ---- after JOIN */

static void run_list(struct fetch_work *w)
{
	struct profiles *p = container_of(w, struct profiles, work);
	DIR *dir = opendir(p->path);
	struct dirent *e;
	size_t size = 0;
	while (dir && p->n < LISTED_MOST && size < LISTED_SIZE_MOST && (e = readdir(dir))) {
		struct listed *l = &p->all[p->n];
		if (digest_parse(e->d_name, &l->tree))
			continue;
		_free_ char *path = path_join(p->path, e->d_name);
		l->at = (uint8_t *)path_read(path, FILES_MOST * sizeof(uint32_t), &l->n);
		size += l->at ? l->n : 0;
		p->n += l->at != NULL;
	}
	if (dir)
		closedir(dir);
}

static void on_listed(struct fetch_work *w, bool is_run _unused_)
{
	struct profiles *p = container_of(w, struct profiles, work);
	for (size_t i = 0; i < p->n; i++) {
		if (p->owner)
			tell(p->owner, &p->all[i].tree, p->all[i].at, p->all[i].n / sizeof(uint32_t));
		free(p->all[i].at);
	}
	if (p->owner)
		p->owner->listing = NULL;
	free(p->path);
	free(p);
}

void profile_all(struct link *k)
{
	map_fini(&k->profiles);
	if (!k->serve || k->listing)
		return;
	struct profiles *p = k->listing = NEW(struct profiles);
	p->owner = k;
	p->path = xstrdup(k->hot_path);
	p->work = (struct fetch_work){.run = run_list, .on_done = on_listed};
	fetch_work(k->parts.fetch, &p->work);
}

void profile_close(struct link *k)
{
	if (k->listing)
		k->listing->owner = NULL;
	timer_stop(&k->profile_timer);
	list_foreach (&k->fresh, struct fresh, link, f)
		fresh_free(f);
	map_fini(&k->profiles);
}
