/* SPDX-License-Identifier: Apache-2.0
 * What is kept of a file is as small as an entry of the builder, and stays to the end: its other names may lie outside of the tree, so that nobody
 * can tell which one is the last. */
#include "data/linked.h"

#include "common/map.h"

#include <pthread.h>

enum linked_state { LINKED_UNREAD, LINKED_BEING_READ, LINKED_READ };

struct linked_file {
	struct linked_file *twin; /* another device's, of the same inode number */
	dev_t device;
	struct signature signature;
	uint32_t place;
	enum linked_state state;
	struct digest address;
};

struct linked {
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct map files; /* inode -> struct linked_file */
};

struct linked *linked_new(void)
{
	struct linked *l = NEW(struct linked);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->done, NULL);
	return l;
}

void linked_free(struct linked *l)
{
	size_t i = 0;
	struct linked_file *f;
	if (!l)
		return;
	while ((f = map_next(&l->files, &i)))
		for (struct linked_file *twin; f; f = twin) {
			assert(f->state != LINKED_BEING_READ);
			twin = f->twin;
			free(f);
		}
	map_fini(&l->files);
	pthread_cond_destroy(&l->done);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static struct linked_file *need(struct linked *l, const struct stat *st)
{
	struct linked_file *first = map_get(&l->files, st->st_ino);
	for (struct linked_file *f = first; f; f = f->twin)
		if (f->device == st->st_dev)
			return f;
	struct linked_file *f = NEW(struct linked_file);
	f->device = st->st_dev;
	f->twin = first;
	map_put(&l->files, st->st_ino, f);
	return f;
}

struct linked_file *linked_claim(struct linked *l, const struct stat *st, uint32_t *place, struct digest *address)
{
	struct signature s;
	assert(st->st_nlink > 1);
	signature_of(st, &s);
	pthread_mutex_lock(&l->lock);
	struct linked_file *f = need(l, st);
	while (f->state == LINKED_BEING_READ)
		pthread_cond_wait(&l->done, &l->lock);
	bool is_read = f->state == LINKED_READ && signature_is_equal(&f->signature, &s);
	if (is_read) {
		*place = f->place;
		*address = f->address;
	} else {
		f->state = LINKED_BEING_READ;
		f->signature = s;
		f->place = *place;
	}
	pthread_mutex_unlock(&l->lock);
	return is_read ? NULL : f;
}

void linked_done(struct linked *l, struct linked_file *f, const struct digest *address)
{
	pthread_mutex_lock(&l->lock);
	assert(f->state == LINKED_BEING_READ);
	f->state = address ? LINKED_READ : LINKED_UNREAD;
	if (address)
		f->address = *address;
	pthread_cond_broadcast(&l->done);
	pthread_mutex_unlock(&l->lock);
}
