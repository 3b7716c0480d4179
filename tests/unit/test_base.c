// SPDX-License-Identifier: Apache-2.0
#include "common/base.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

struct box {
	int *freed;
};

static void box_free(struct box *b)
{
	++*b->freed;
	free(b);
}
DEFINE_FREEP(struct box, box_free)

static struct box *box_new(int *freed)
{
	struct box *b = NEW(struct box);
	b->freed = freed;
	return b;
}

TEST(a_local_is_freed_at_the_end_of_its_scope)
{
	int freed = 0;
	{
		_cleanup_(box_freep) struct box *b = box_new(&freed);
		_cleanup_(box_freep) struct box *none = NULL;
		_free_ char *text = xstrdup("text");
		ASSERT(b && !none && text);
		ASSERT_EQ(freed, 0);
	}
	ASSERT_EQ(freed, 1);
}

TEST(what_was_stolen_is_not_freed)
{
	int freed = 0;
	struct box *kept;
	{
		_cleanup_(box_freep) struct box *b = box_new(&freed);
		kept = steal(b);
		ASSERT(b == NULL);
	}
	ASSERT_EQ(freed, 0);
	box_free(kept);
	ASSERT_EQ(freed, 1);
}

TEST(a_descriptor_is_closed_at_the_end_of_its_scope_and_errno_kept)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), stolen;
	{
		_close_ int local = fd;
		_close_ int none = -1;
		_close_ int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
		stolen = steal_fd(&other);
		ASSERT_EQ(other, -1);
		ASSERT_EQ(none, -1);
		ASSERT_EQ(local, fd);
		errno = EXDEV;
	}
	ASSERT_EQ(errno, EXDEV);
	ASSERT_EQ(fcntl(fd, F_GETFD), -1);
	ASSERT(fcntl(stolen, F_GETFD) >= 0);
	stolen = close_fd(stolen);
	ASSERT_EQ(stolen, -1);
}

TEST(sums_and_products_that_do_not_fit_are_told)
{
	uint64_t r;
	ASSERT(!add_overflows(UINT64_MAX - 1, 1, &r));
	ASSERT(r == UINT64_MAX);
	ASSERT(add_overflows(UINT64_MAX, 1, &r));
	ASSERT(!mul_overflows(UINT32_MAX, UINT32_MAX, &r));
	ASSERT(mul_overflows(1ull << 32, 1ull << 32, &r));
}

TEST(integers_lie_in_memory_least_byte_first)
{
	uint8_t at[9] = {0};
	put_le64(at + 1, 0x0102030405060708u); // unaligned on purpose
	ASSERT_EQ(at[1], 8);
	ASSERT_EQ(at[8], 1);
	ASSERT(get_le64(at + 1) == 0x0102030405060708u);
	ASSERT_EQ(get_le32(at + 1), 0x05060708);
	ASSERT_EQ(get_le16(at + 1), 0x0708);
	put_le16(at, 0x1234);
	put_le32(at + 3, 0xdeadbeef);
	ASSERT_EQ(get_le16(at), 0x1234);
	ASSERT(get_le32(at + 3) == 0xdeadbeef);
}

TEST(hex_digits_have_values_and_nothing_else_has)
{
	static const char digits[] = "0123456789abcdef";
	for (int c = -128; c < 128; c++) {
		const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
		ASSERT_EQ(hex_value((char)c), found ? found - digits : -1);
	}
}

TEST(an_allocation_of_nothing_is_something)
{
	_free_ void *none = xmalloc(0);
	_free_ void *empty = xcalloc(0, 8);
	_free_ void *copy = xmemdup("", 0);
	_free_ char *text = xasprintf("%s-%d", "a", 7);
	_free_ char *cut = xstrndup("abc", 2);
	ASSERT(none && empty && copy);
	ASSERT_STR(text, "a-7");
	ASSERT_STR(cut, "ab");
}

TEST(min_and_max_look_at_each_argument_once)
{
	int n = 0;
	ASSERT_EQ(min(n++, 5), 0);
	ASSERT_EQ(max(n++, 0), 1);
	ASSERT_EQ(n, 2);
	ASSERT(has_prefix("abc", "ab") && has_prefix("abc", "") && !has_prefix("a", "ab"));
	ASSERT(streq("a", "a") && !streq("a", "b"));
}
