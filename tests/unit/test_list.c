// SPDX-License-Identifier: Apache-2.0
#include "common/list.h"
#include "tests/unit/unit.h"

struct item {
	char name;
	struct list link;
};

// The names in order, both ways round: a broken back link shows as a wrong second half.
static const char *names(const struct list *head)
{
	static char text[64];
	size_t n = 0;
	for (const struct list *l = head->next; l != head && n < 30; l = l->next)
		text[n++] = list_entry((struct list *)(uintptr_t)l, struct item, link)->name;
	text[n++] = '|';
	for (const struct list *l = head->prev; l != head && n < 62; l = l->prev)
		text[n++] = list_entry((struct list *)(uintptr_t)l, struct item, link)->name;
	text[n] = 0;
	return text;
}

static struct item *item_new(char name)
{
	struct item *i = NEW(struct item);
	i->name = name;
	list_init(&i->link);
	return i;
}

static void free_all(struct list *head)
{
	list_foreach (head, struct item, link, it)
		free(it);
}

TEST(links_stand_in_the_order_they_were_put)
{
	struct list head = LIST_INIT(head);
	ASSERT(list_is_empty(&head));
	ASSERT(list_first(&head, struct item, link) == NULL);
	struct item *a = item_new('a'), *b = item_new('b'), *c = item_new('c');
	list_append(&head, &b->link);
	list_append(&head, &c->link);
	list_prepend(&head, &a->link);
	ASSERT_STR(names(&head), "abc|cba");
	ASSERT(list_first(&head, struct item, link) == a);
	struct item *x = item_new('x');
	list_insert_before(&c->link, &x->link);
	ASSERT_STR(names(&head), "abxc|cxba");
	free_all(&head);
}

TEST(removing_is_safe_twice_and_from_no_list)
{
	struct list head = LIST_INIT(head);
	struct item *a = item_new('a');
	list_remove(&a->link);
	list_append(&head, &a->link);
	list_remove(&a->link);
	list_remove(&a->link);
	ASSERT(list_is_empty(&head));
	ASSERT(list_is_empty(&a->link));
	free(a);
}

TEST(the_body_of_a_walk_may_free_what_it_sees)
{
	struct list head = LIST_INIT(head);
	for (char c = 'a'; c <= 'f'; c++)
		list_append(&head, &item_new(c)->link);
	list_foreach (&head, struct item, link, it) {
		if (it->name % 2) {
			list_remove(&it->link);
			free(it);
		}
	}
	ASSERT_STR(names(&head), "bdf|fdb");
	free_all(&head);
}

TEST(break_ends_a_walk_and_continue_goes_on)
{
	struct list head = LIST_INIT(head);
	for (char c = 'a'; c <= 'd'; c++)
		list_append(&head, &item_new(c)->link);
	unsigned seen = 0, passed = 0;
	list_foreach (&head, struct item, link, it) {
		seen++;
		if (it->name == 'a')
			continue;
		passed++;
		if (it->name == 'c')
			break;
	}
	ASSERT_EQ(seen, 3);
	ASSERT_EQ(passed, 2);
	list_foreach (&head, struct item, link, it) {
		list_foreach (&head, struct item, link, other)
			passed += it->name == other->name;
	}
	ASSERT_EQ(passed, 6);
	free_all(&head);
}

TEST(splicing_moves_everything_to_the_end)
{
	struct list head = LIST_INIT(head), from = LIST_INIT(from);
	list_splice(&head, &from);
	ASSERT_STR(names(&head), "|");
	list_append(&from, &item_new('c')->link);
	list_append(&from, &item_new('d')->link);
	list_splice(&head, &from);
	ASSERT_STR(names(&head), "cd|dc");
	ASSERT(list_is_empty(&from));
	list_append(&from, &item_new('e')->link);
	list_splice(&head, &from);
	ASSERT_STR(names(&head), "cde|edc");
	free_all(&head);
}
