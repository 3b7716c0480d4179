/* SPDX-License-Identifier: Apache-2.0
 * A ring of embedded links. The head is a link of its own; a link that is in no list points to itself. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include "common/base.h"

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(name)          \
	{                        \
		&(name), &(name) \
	}

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
	assert(link->next == link);
	link->prev = at->prev;
	link->next = at;
	at->prev->next = link;
	at->prev = link;
}

static inline void list_append(struct list *head, struct list *link)
{
	list_insert_before(head, link);
}

static inline void list_prepend(struct list *head, struct list *link)
{
	list_insert_before(head->next, link);
}

/* Safe on a link that is in no list. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* Moves everything in `from` to the end of `head`. */
static inline void list_splice(struct list *head, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = head->prev;
	head->prev->next = from->next;
	from->prev->next = head;
	head->prev = from->prev;
	list_init(from);
}

#define list_entry(link, type, member) container_of(link, type, member)
#define list_first(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))

/* The body may remove (and free) `it`, nothing else. It runs in the inner loop of two: that loop's step is what
 * `break` leaves out, and without it the link stays NULL and ends the outer one. */
#define list_foreach(head, type, member, it)                                                       \
	for (struct list *it##_link = (head)->next, *it##_next; it##_link && it##_link != (head);) \
		for (type *it = list_entry(it##_link, type, member);                               \
		     it && (it##_next = it##_link->next, it##_link = NULL, true); it = NULL, it##_link = it##_next)

#endif
