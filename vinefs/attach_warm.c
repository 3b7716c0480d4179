/* SPDX-License-Identifier: Apache-2.0
 * In the foreground, and not for long: whoever walks a mount in the background makes it busy for who wants to unmount it. */
#include "vinefs/attach.h"

#include "common/path.h"
#include "vinefs/mount/mount.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A request costs several times as much when the server's thread must be woken for each: two and more who list keep it awake. */
#define LISTERS 4u
/* For so many names as there are: some times what they take where nothing else runs. */
#define BUDGET_USEC 150000u
#define BUDGET_NAME_USEC 20u
#define BUDGET_USEC_MOST 2000000u
#define BUDGET_NAMES 200000u
#define FILE_SIZE_MAX \
	(8u           \
	 << 20) /* a larger one is read in order, which the kernel sees by itself; and one call must not take all the time */
#define HOT_SIZE_MAX (16u << 20)
#define NICER 10

struct warming {
	const char *directory;
	struct tree *tree;
	uint64_t until_usec;
	const uint32_t *nodes; /* directories to list */
	size_t n;
	_Atomic size_t next;
	_Atomic bool is_over; /* that was all that may be */
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void warm(struct warming *w, uint32_t node)
{
	struct mount_warmed done;
	assert(tree_node(w->tree, node)->type != TREE_LINK);
	if (mount_warm(w->directory, w->tree, &node, 1, w->until_usec, &done))
		w->is_over = true;
}

static void *list_some(void *arg)
{
	struct warming *w = arg;
	for (size_t i; !w->is_over && (i = w->next++) < w->n;)
		warm(w, w->nodes[i]);
	return NULL;
}

static void list_all(struct warming *w)
{
	pthread_t threads[LISTERS - 1];
	unsigned n = 0;
	while (n < countof(threads) && n + 1 < w->n && pthread_create(&threads[n], NULL, list_some, w) == 0)
		n++;
	list_some(w);
	while (n)
		pthread_join(threads[--n], NULL);
}

/* A mark for each directory to be listed. */
static bool *choose(const struct tree *t, const uint32_t *hot, size_t n_hot)
{
	bool *is_chosen = xcalloc(tree_n_nodes(t), sizeof *is_chosen);
	bool is_any = false;
	for (size_t i = 0; i < n_hot; i++) {
		if (hot[i] >= tree_n_nodes(t) || tree_node(t, hot[i])->type != TREE_FILE)
			continue;
		is_any = true;
		for (uint32_t at = tree_node(t, hot[i])->parent; !is_chosen[at]; at = tree_node(t, at)->parent)
			is_chosen[at] = true;
	}
	for (uint32_t i = 0; i < tree_n_nodes(t) && !is_any; i++)
		is_chosen[i] = true;
	return is_chosen;
}

/* The directories to be listed, in the order of their numbers, which is breadth first, and how many names they have. */
static uint32_t *choose_directories(const struct tree *t, const uint32_t *hot, size_t n_hot, size_t *n,
				    uint64_t *n_names)
{
	_free_ bool *is_chosen = choose(t, hot, n_hot);
	uint32_t *nodes = xcalloc(tree_n_nodes(t), sizeof *nodes);
	*n = 0;
	*n_names = 0;
	for (uint32_t i = 0; i < tree_n_nodes(t); i++) {
		if (!is_chosen[i] || tree_node(t, i)->type != TREE_DIRECTORY)
			continue;
		*n_names += tree_node(t, i)->n;
		if (*n_names >= BUDGET_NAMES)
			break;
		nodes[(*n)++] = i;
	}
	return nodes;
}

/* What runs here now goes first. Not the very last: who looks up a name in a directory that is being listed waits for that. Where each session has a share of its own that share is to be less. */
static void give_way(void)
{
	static const char nicer[] = "10";
	_close_ int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	bool is_less = fd >= 0 && write(fd, nicer, sizeof nicer - 1) > 0;
	if (!is_less)
		(void)setpriority(PRIO_PROCESS, 0, NICER);
}

void attach_warm(const char *directory, const struct digest *id, const char *index, const char *hot)
{
	_cleanup_(tree_freep) struct tree *tree = NULL;
	uint64_t start_usec = now_usec(), n_names;
	struct warming w = {.directory = directory};
	_close_ int fd = open(index, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n_hot = 0;
	give_way();
	if (fd < 0 || tree_read(fd, id, &tree) < 0)
		return;
	w.tree = tree;
	_free_ uint32_t *files = (uint32_t *)(void *)path_read(hot, HOT_SIZE_MAX, &n_hot);
	n_hot = files ? n_hot / sizeof *files : 0;
	_free_ uint32_t *directories = choose_directories(tree, files, n_hot, &w.n, &n_names);
	w.nodes = directories;
	w.until_usec = start_usec + min(BUDGET_USEC + n_names * BUDGET_NAME_USEC, (uint64_t)BUDGET_USEC_MOST);
	list_all(&w);
	for (size_t i = 0; i < n_hot && !w.is_over && n_names < BUDGET_NAMES; i++)
		if (files[i] < tree_n_nodes(tree) && tree_node(tree, files[i])->type == TREE_FILE &&
		    tree_file_size(tree, files[i]) <= FILE_SIZE_MAX)
			warm(&w, files[i]);
}
