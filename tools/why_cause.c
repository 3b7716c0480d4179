/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/why_cause.h"

#include "libvineclient/vine.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#define TAIL_SIZE 4096u

static char *read_tail(struct vine *v, uint64_t task, uint64_t size)
{
	char *tail = xcalloc(TAIL_SIZE + 1, 1);
	_close_ int fd = memfd_create("tail", MFD_CLOEXEC);
	uint64_t offset = size > TAIL_SIZE ? size - TAIL_SIZE : 0;
	if (v && size && fd >= 0 && vine_output(v, task, 2, offset, fd) > 0 && pread(fd, tail, TAIL_SIZE, 0) < 0)
		*tail = 0;
	/* Of bytes that are no text the first ones are enough. */
	return tail;
}

static bool is_here(void *arg, const char *path)
{
	(void)arg;
	return access(path, F_OK) == 0;
}

int why_ask(struct vine *v, uint64_t task, struct table *more)
{
	char selector[24];
	snprintf(selector, sizeof selector, "%" PRIu64, task);
	return v ? min(vine_query(v, "why", selector, table_add, more), 0) : -ENOTCONN;
}

static const char *cell(const struct table *t, size_t row, const char *name)
{
	return t->n_rows > row ? table_find(t, row, name) ?: "" : "";
}

static uint64_t number(const struct table *t, size_t row, const char *name)
{
	return strtoull(cell(t, row, name), NULL, 10);
}

void why_cause(struct vine *v, const struct table *rows, size_t row, struct cause *c, char **said)
{
	struct table more = {0};
	uint64_t task = tool_task(cell(rows, row, "task"));
	*said = read_tail(v, task, number(rows, row, "err_size"));
	/* An older vined does not know. */
	why_ask(v, task, &more);
	const struct cause_facts f = {
		.how = cell(rows, row, "how"),
		.status = (unsigned)number(rows, row, "status"),
		.reason = cell(rows, row, "reason"),
		.limit = cell(rows, row, "exceeded"),
		.said = *said,
		.program = cell(&more, 0, "program"),
		.peak_memory = number(&more, 0, "peak_memory"),
		.memory = number(&more, 0, "memory"),
		.disk = number(&more, 0, "disk"),
		.wall_usec = number(&more, 0, "limit_usec"),
		.is_here = is_here,
		.library_path = getenv("LD_LIBRARY_PATH"),
	};
	cause_find(&f, c);
	table_fini(&more);
}
