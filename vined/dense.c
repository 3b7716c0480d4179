/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/dense.h"

#define PAGE 256u

struct dense_page {
	uint64_t key; /* numbers / PAGE */
	uint32_t n;
	void *at[PAGE];
};

static struct dense_page *find(const struct dense *m, uint64_t number)
{
	uint64_t key = number / PAGE;
	return m->last && m->last->key == key ? m->last : map_get(&m->pages, key);
}

void dense_put(struct dense *m, uint64_t number, void *value)
{
	struct dense_page *p = find(m, number);
	assert(value);
	if (!p) {
		p = NEW(struct dense_page);
		p->key = number / PAGE;
		map_put(&m->pages, p->key, p);
	}
	m->last = p;
	assert(!p->at[number % PAGE]);
	p->at[number % PAGE] = value;
	p->n++;
	m->n++;
}

void *dense_get(const struct dense *m, uint64_t number)
{
	const struct dense_page *p = find(m, number);
	return p ? p->at[number % PAGE] : NULL;
}

void *dense_remove(struct dense *m, uint64_t number)
{
	struct dense_page *p = find(m, number);
	void *value = p ? p->at[number % PAGE] : NULL;
	if (!value)
		return NULL;
	p->at[number % PAGE] = NULL;
	m->n--;
	if (--p->n == 0) {
		m->last = NULL;
		map_remove(&m->pages, p->key);
		free(p);
	}
	return value;
}

void dense_each(struct dense *m, void (*on_value)(void *arg, void *value), void *arg)
{
	struct dense_page *p;
	for (size_t i = 0; (p = map_next(&m->pages, &i));) {
		/* It goes with its last value, which may be the one that is told. */
		uint32_t left = p->n;
		for (uint32_t k = 0; left; k++) {
			assert(k < PAGE);
			if (!p->at[k])
				continue;
			left--;
			on_value(arg, p->at[k]);
		}
	}
}

void dense_fini(struct dense *m)
{
	assert(!m->n && !m->pages.n);
	map_fini(&m->pages);
	m->last = NULL;
}
