/* SPDX-License-Identifier: Apache-2.0
 * The mount's requests over a socket pair, the test being the kernel: INIT, resuming, reads that wait, drafts, interrupts, deadlines, and all of them at once. */
#include "common/path.h"
#include "tests/unit/memory_store.h"
#include "tests/unit/unit.h"
#include "vinefs/mount/mount.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_QUEUED 4096
#define PATIENCE_MSEC ((int)UNIT_PATIENCE_SEC * 1000)

struct world {
	struct memory_store store;
	struct tree *tree;
	struct mount *mount;
	struct mount_connection connection;
	int kernel;
	pthread_mutex_t lock;
	struct mount_request *queued[N_QUEUED];
	struct mount_range range; /* of the last one queued */
	unsigned n_queued, n_dropped;
	_Atomic unsigned n_released;
	uint64_t file; /* its number */
};

static ssize_t read_now(void *arg, void *tree, const struct mount_range *r, void *p)
{
	(void)arg;
	(void)tree;
	(void)r;
	(void)p;
	return -EAGAIN;
}

static void read_later(void *arg, void *tree, const struct mount_range *r, struct mount_request *q)
{
	struct world *w = arg;
	(void)tree;
	pthread_mutex_lock(&w->lock);
	w->range = *r;
	w->queued[w->n_queued++] = q;
	pthread_mutex_unlock(&w->lock);
}

static void drop(void *arg, struct mount_request *q)
{
	struct world *w = arg;
	(void)q;
	pthread_mutex_lock(&w->lock);
	w->n_dropped++;
	pthread_mutex_unlock(&w->lock);
}

static void release(void *arg, void *tree)
{
	(void)tree;
	((struct world *)arg)->n_released++;
}

static struct mount_request *take_queued(struct world *w)
{
	pthread_mutex_lock(&w->lock);
	struct mount_request *q = w->n_queued ? w->queued[--w->n_queued] : NULL;
	pthread_mutex_unlock(&w->lock);
	return q;
}

static struct mount_request *wait_queued(struct world *w)
{
	struct mount_request *q;
	for (int i = 0; i < PATIENCE_MSEC && !(q = take_queued(w)); i++)
		poll(NULL, 0, 1);
	ASSERT(q);
	return q;
}

static void ask(struct world *w, uint32_t opcode, uint64_t unique, uint64_t number, const void *body, size_t n)
{
	uint8_t request[512];
	const struct fuse_in_header head = {
		.len = (uint32_t)(sizeof head + n), .opcode = opcode, .unique = unique, .nodeid = number};
	memcpy(request, &head, sizeof head);
	if (n)
		memcpy(request + sizeof head, body, n);
	ASSERT_EQ(send(w->kernel, request, sizeof head + n, 0), sizeof head + n);
}

static void ask_read(struct world *w, uint64_t unique)
{
	const struct fuse_read_in in = {.size = 4096};
	ask(w, FUSE_READ, unique, w->file, &in, sizeof in);
}

static void interrupt(struct world *w, uint64_t unique)
{
	const struct fuse_interrupt_in in = {.unique = unique};
	ask(w, FUSE_INTERRUPT, unique | 1, 0, &in, sizeof in);
}

struct reply {
	struct fuse_out_header head;
	uint8_t body[8192];
};

static bool hear(struct world *w, struct reply *r, int msec)
{
	struct pollfd ready = {.fd = w->kernel, .events = POLLIN};
	if (poll(&ready, 1, msec) <= 0)
		return false;
	ssize_t n = recv(w->kernel, r, sizeof *r, 0);
	ASSERT(n >= (ssize_t)sizeof r->head);
	ASSERT_EQ(r->head.len, n);
	return true;
}

static void expect(struct world *w, uint64_t unique, int error)
{
	struct reply r;
	ASSERT(hear(w, &r, PATIENCE_MSEC));
	ASSERT_EQ(r.head.unique, unique);
	ASSERT_EQ(r.head.error, -error);
}

static struct mount *new_mount(struct world *w, uint64_t deadline_usec, unsigned n_threads, bool is_draft)
{
	struct mount_settings s = {.is_single = true, .deadline_usec = deadline_usec, .n_threads = n_threads};
	s.source = (struct mount_source){
		.arg = w, .read_now = read_now, .read_later = read_later, .drop = drop, .release = release};
	const struct mount_tree t = {.index = w->tree, .is_draft = is_draft};
	bool is_file = tree_node(w->tree, 0)->type == TREE_FILE;
	s.is_file = !is_file;
	struct mount *m = mount_new(&s);
	ASSERT_EQ(mount_add(m, "", &t), is_file ? -ENOTDIR : -EISDIR);
	mount_free(m);
	s.is_file = is_file;
	m = mount_new(&s);
	ASSERT_EQ(mount_add(m, "", &t), 0);
	return m;
}

static void begin_with(struct world *w, uint64_t deadline_usec, unsigned n_threads, bool is_resumed, bool is_file,
		       bool is_draft)
{
	struct seal_options o = {.store = &w->store.store};
	struct seal_report errors = {0}, notes = {0};
	void *vti;
	size_t size;
	int pair[2];
	*w = (struct world){.kernel = -1};
	pthread_mutex_init(&w->lock, NULL);
	memory_store_init(&w->store);
	o.store = &w->store.store;
	_free_ char *f = path_join(unit_tmpdir(), "f");
	ASSERT_EQ(path_write(f, "hello", 5, 0640, false), 0);
	_close_ int fd = open(is_file ? f : unit_tmpdir(), O_RDONLY);
	ASSERT_EQ(is_file ? seal_file(fd, f, &o, &vti, &size, &errors)
			  : seal_directory(fd, "tree", &o, &vti, &size, &errors, &notes),
		  0);
	ASSERT_EQ(tree_take(vti, size, NULL, &w->tree), 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	w->mount = new_mount(w, deadline_usec, n_threads, is_draft);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	w->kernel = pair[0];
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} init = {.head = {.len = sizeof init, .opcode = FUSE_INIT, .unique = 2},
		  .in = {.major = 7, .minor = 36, .max_readahead = 131072, .flags = ~0u & ~(1u << 30)}};
	w->connection = (struct mount_connection){.fd = pair[1], .n_init = sizeof init, .is_answered = is_resumed};
	memcpy(w->connection.init, &init, sizeof init);
	ASSERT_EQ(mount_start(w->mount, &w->connection), 0);
	ASSERT(w->connection.is_answered);
	w->file = (1u << 12) + 1;
}

static void begin(struct world *w, uint64_t deadline_usec, unsigned n_threads, bool is_resumed)
{
	begin_with(w, deadline_usec, n_threads, is_resumed, false, false);
}

static void end(struct world *w)
{
	mount_stop(w->mount, false);
	for (struct mount_request *q; (q = take_queued(w));)
		mount_answer(q, NULL, -EIO);
	mount_free(w->mount);
	ASSERT_EQ(w->n_released, 1);
	close(w->kernel);
	close(w->connection.fd);
	tree_free(w->tree);
	memory_store_fini(&w->store);
	pthread_mutex_destroy(&w->lock);
}

TEST(the_kernel_is_told_what_it_may_remember)
{
	struct world w;
	struct reply r;
	begin(&w, 0, 1, false);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	struct fuse_init_out init;
	memcpy(&init, r.body, sizeof init);
	ASSERT(init.flags & FUSE_DO_READDIRPLUS && !(init.flags & FUSE_READDIRPLUS_AUTO));
	ASSERT(init.flags & FUSE_ASYNC_READ && init.flags & FUSE_CACHE_SYMLINKS &&
	       !(init.flags & FUSE_AUTO_INVAL_DATA));
	ASSERT(!(init.flags & FUSE_WRITEBACK_CACHE));
	ASSERT_EQ(init.max_readahead, 131072);
	ASSERT_EQ(init.max_pages, 256);
	ask(&w, FUSE_LOOKUP, 4, FUSE_ROOT_ID, "f", 2);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	struct fuse_entry_out e;
	memcpy(&e, r.body, sizeof e);
	ASSERT_EQ(e.nodeid, w.file);
	ASSERT(e.entry_valid > 1000000000 && e.attr_valid > 1000000000);
	ask(&w, FUSE_LOOKUP, 6, FUSE_ROOT_ID, "g", 2);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	memcpy(&e, r.body, sizeof e);
	ASSERT_EQ(r.head.error, 0);
	ASSERT_EQ(e.nodeid, 0);
	ASSERT(e.entry_valid > 1000000000);
	static const uint32_t unknown[] = {FUSE_OPEN,     FUSE_OPENDIR,   FUSE_FLUSH, FUSE_ACCESS,
					   FUSE_GETXATTR, FUSE_LISTXATTR, FUSE_IOCTL, FUSE_LSEEK};
	const uint64_t body[8] = {0};
	for (unsigned i = 0; i < countof(unknown); i++) {
		ask(&w, unknown[i], 10 + 2 * i, w.file, body, sizeof body);
		expect(&w, 10 + 2 * i, ENOSYS);
	}
	ask(&w, FUSE_GETATTR, 40, w.file + 1, body, sizeof(struct fuse_getattr_in));
	expect(&w, 40, ESTALE);
	ask(&w, FUSE_GETATTR, 42, (uint64_t)77 << 32, body, sizeof(struct fuse_getattr_in));
	expect(&w, 42, ESTALE);
	end(&w);
}

TEST(a_parked_read_is_answered_with_its_bytes_or_not_at_all)
{
	struct world w;
	struct reply r;
	begin(&w, 0, 1, false);
	expect(&w, 2, 0);
	ask_read(&w, 10);
	mount_answer(wait_queued(&w), "hello", 5);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT_EQ(r.head.len, sizeof r.head + 5);
	ASSERT_EQ(memcmp(r.body, "hello", 5), 0);
	ask_read(&w, 12);
	mount_answer(wait_queued(&w), "hell", 4); /* to the kernel it would be the file's end */
	expect(&w, 12, EIO);
	ask_read(&w, 14);
	mount_answer(wait_queued(&w), NULL, -ENODATA);
	expect(&w, 14, ENODATA);
	ASSERT_EQ(w.n_dropped, 0);
	end(&w);
}

TEST(an_interrupt_is_answered_at_once_and_a_late_answer_is_dropped)
{
	struct world w;
	begin(&w, 0, 1, false);
	expect(&w, 2, 0);
	ask_read(&w, 10);
	struct mount_request *q = wait_queued(&w);
	ASSERT(!mount_is_over(q));
	interrupt(&w, 10);
	expect(&w, 10, EINTR);
	ASSERT(mount_is_over(q));
	mount_answer(q, "hello", 5);
	/* One that overtakes its request. */
	interrupt(&w, 12);
	ask_read(&w, 12);
	expect(&w, 12, EINTR);
	ASSERT(!take_queued(&w));
	struct mount_numbers n;
	mount_get_numbers(w.mount, &n);
	ASSERT_EQ(n.n_interrupted, 2);
	ASSERT_EQ(n.n_waiting, 0);
	ASSERT_EQ(w.n_dropped, 1);
	end(&w);
}

TEST(a_deadline_ends_in_eio)
{
	struct world w;
	begin(&w, 50000, 1, false);
	expect(&w, 2, 0);
	for (uint64_t i = 0; i < 5; i++)
		ask_read(&w, 10 + 2 * i);
	for (uint64_t i = 0; i < 5; i++)
		expect(&w, 10 + 2 * i, EIO);
	struct mount_numbers n;
	mount_get_numbers(w.mount, &n);
	ASSERT_EQ(n.n_late, 5);
	end(&w);
}

TEST(a_resumed_connection_is_asked_to_send_again_and_init_is_not_answered_twice)
{
	struct world w;
	struct reply r;
	begin(&w, 0, 1, true);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT_EQ(r.head.unique, 0);
	ASSERT_EQ(r.head.error, 7); /* FUSE_NOTIFY_RESEND */
	ask_read(&w, 1ull << 63 | 10);
	mount_answer(wait_queued(&w), "hello", 5);
	expect(&w, 1ull << 63 | 10, 0);
	/* What waits is left to the next process, without a word; else it ends. */
	ask_read(&w, 12);
	struct mount_request *q = wait_queued(&w);
	mount_stop(w.mount, true);
	mount_answer(q, "hello", 5);
	ASSERT(!hear(&w, &r, 20));
	end(&w);
}

TEST(a_stopped_mount_ends_what_waits)
{
	struct world w;
	begin(&w, 0, 2, false);
	expect(&w, 2, 0);
	ask_read(&w, 10);
	struct mount_request *q = wait_queued(&w);
	mount_stop(w.mount, false);
	expect(&w, 10, EIO);
	mount_answer(q, "hello", 5);
	end(&w);
}

/* Another tree of the test's directory, as it is now; yours to free. */
static struct tree *seal_again(struct world *w)
{
	struct seal_options o = {.store = &w->store.store};
	struct seal_report errors = {0}, notes = {0};
	struct tree *t = NULL;
	void *vti;
	size_t size;
	_close_ int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY);
	ASSERT_EQ(seal_directory(fd, "tree", &o, &vti, &size, &errors, &notes), 0);
	ASSERT_EQ(tree_take(vti, size, NULL, &t), 0);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	return t;
}

TEST(a_draft_is_swapped_under_a_read_that_waits)
{
	struct world w;
	struct reply r;
	size_t n_hot;
	uint32_t *hot;
	begin(&w, 0, 1, false);
	expect(&w, 2, 0);
	_cleanup_(tree_freep) struct tree *sealed = seal_again(&w);
	const struct mount_tree draft = {.index = w.tree, .is_draft = true}, whole = {.index = sealed};
	ASSERT_EQ(mount_swap(w.mount, "", &draft), 0);
	ASSERT_EQ(w.n_released, 1);
	ask_read(&w, 10);
	struct mount_request *first = wait_queued(&w);
	ASSERT_EQ(w.range.blob, TREE_NO_BLOB);
	ASSERT_EQ(w.range.offset, 0);
	ASSERT_EQ(mount_swap(w.mount, "", &whole), 0);
	/* Who waits for the draft holds it, and gets what the draft has. */
	ASSERT_EQ(w.n_released, 1);
	ask_read(&w, 12);
	struct mount_request *second = wait_queued(&w);
	ASSERT(w.range.blob != TREE_NO_BLOB);
	mount_answer(second, "hello", 5);
	expect(&w, 12, 0);
	ASSERT_EQ(w.n_released, 1);
	mount_answer(first, "hello", 5);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT_EQ(r.head.unique, 10);
	ASSERT_EQ(memcmp(r.body, "hello", 5), 0);
	for (int i = 0; i < PATIENCE_MSEC && w.n_released < 2; i++)
		poll(NULL, 0, 1);
	ASSERT_EQ(w.n_released, 2);
	/* What was read first of the draft was read first of the tree. */
	ASSERT_EQ(mount_hot(w.mount, "", &hot, &n_hot), 0);
	ASSERT_EQ(n_hot, 1);
	ASSERT_EQ(hot[0], tree_find(sealed, "f"));
	free(hot);
	w.n_released -= 2;
	end(&w);
}

TEST(a_drafts_read_that_is_late_or_interrupted_keeps_it_until_its_source_answers)
{
	struct world w;
	struct reply r;
	begin(&w, 50000, 1, false);
	expect(&w, 2, 0);
	_cleanup_(tree_freep) struct tree *sealed = seal_again(&w);
	const struct mount_tree draft = {.index = w.tree, .is_draft = true}, whole = {.index = sealed};
	ASSERT_EQ(mount_swap(w.mount, "", &draft), 0);
	ask_read(&w, 10);
	struct mount_request *late = wait_queued(&w);
	expect(&w, 10, EIO);
	ask_read(&w, 12);
	struct mount_request *interrupted = wait_queued(&w);
	interrupt(&w, 12);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT(r.head.error == -EINTR || r.head.error == -EIO); /* on a slow machine it is late, too */
	ASSERT_EQ(mount_swap(w.mount, "", &whole), 0);
	ASSERT_EQ(w.n_released, 1);
	mount_answer(late, "hello", 5);
	ASSERT_EQ(w.n_released, 1);
	mount_answer(interrupted, "hello", 5);
	/* The thread that gave the error may hold it a moment longer. */
	for (int i = 0; i < PATIENCE_MSEC && w.n_released < 2; i++)
		poll(NULL, 0, 1);
	ASSERT_EQ(w.n_released, 2);
	w.n_released -= 2;
	end(&w);
}

TEST(a_swap_to_what_the_kernel_was_told_otherwise_is_refused)
{
	struct world w;
	begin_with(&w, 0, 1, false, false, true);
	expect(&w, 2, 0);
	_free_ char *f = path_join(unit_tmpdir(), "f");
	_free_ char *g = path_join(unit_tmpdir(), "g");
	ASSERT_EQ(path_write(f, "hello and more", 14, 0640, false), 0);
	_cleanup_(tree_freep) struct tree *longer = seal_again(&w);
	ASSERT_EQ(rename(f, g), 0);
	_cleanup_(tree_freep) struct tree *renamed = seal_again(&w);
	ASSERT_EQ(unlink(g), 0);
	const struct mount_tree a = {.index = longer}, b = {.index = renamed};
	ASSERT_EQ(mount_swap(w.mount, "", &a), -ESTALE);
	ASSERT_EQ(mount_swap(w.mount, "", &b), -ESTALE);
	ASSERT_EQ(mount_swap(w.mount, "x", &a), -ENOENT);
	ASSERT_EQ(w.n_released, 0);
	ask_read(&w, 10);
	mount_answer(wait_queued(&w), "hello", 5);
	expect(&w, 10, 0);
	end(&w);
}

TEST(a_single_file_is_the_root_of_its_mount)
{
	struct world w;
	struct reply r;
	struct fuse_attr_out attributes;
	const struct fuse_getattr_in in = {0};
	begin_with(&w, 0, 1, false, true, false);
	expect(&w, 2, 0);
	ask(&w, FUSE_GETATTR, 10, FUSE_ROOT_ID, &in, sizeof in);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT_EQ(r.head.error, 0);
	memcpy(&attributes, r.body, sizeof attributes);
	ASSERT_EQ(attributes.attr.mode, S_IFREG | 0640);
	ASSERT_EQ(attributes.attr.size, 5);
	w.file = FUSE_ROOT_ID;
	ask_read(&w, 12);
	mount_answer(wait_queued(&w), "hello", 5);
	ASSERT(hear(&w, &r, PATIENCE_MSEC));
	ASSERT_EQ(memcmp(r.body, "hello", 5), 0);
	ask(&w, FUSE_LOOKUP, 14, FUSE_ROOT_ID, "f", 2);
	expect(&w, 14, ENOTDIR);
	ask(&w, FUSE_READDIRPLUS, 16, FUSE_ROOT_ID, &(struct fuse_read_in){.size = 4096}, sizeof(struct fuse_read_in));
	expect(&w, 16, ENOTDIR);
	end(&w);
}

static _Atomic bool is_done;

static void *answer_all(void *arg)
{
	struct world *w = arg;
	unsigned n = 0;
	for (bool last = false; !last;) {
		last = is_done;
		for (struct mount_request *q; (q = take_queued(w));)
			mount_answer(q, "hello", n++ % 7 ? 5 : -EIO);
	}
	return NULL;
}

static void *interrupt_all(void *arg)
{
	struct world *w = arg;
	for (uint64_t i = 0; !is_done; i++)
		interrupt(w, 1000 + 2 * (i * 7 % 3000));
	return NULL;
}

TEST(each_of_many_reads_is_answered_once_whoever_is_first)
{
	struct world w;
	struct reply r;
	pthread_t answerer, interrupter;
	_free_ uint8_t *answers = xcalloc(3000, 1);
	begin(&w, 300, 3, false);
	expect(&w, 2, 0);
	is_done = false;
	pthread_create(&answerer, NULL, answer_all, &w);
	pthread_create(&interrupter, NULL, interrupt_all, &w);
	unsigned n_sent = 0, n_heard = 0;
	while (n_heard < 3000) {
		if (n_sent < 3000 && n_sent - n_heard < 64)
			ask_read(&w, 1000 + 2 * n_sent++);
		/* An interrupt of what is over is asked to come again, as a kernel would if it still waited. */
		while (hear(&w, &r, n_sent - n_heard < 64 && n_sent < 3000 ? 0 : PATIENCE_MSEC)) {
			if (r.head.unique & 1)
				continue;
			unsigned i = (unsigned)(r.head.unique - 1000) / 2;
			ASSERT(i < 3000 && r.head.unique >= 1000);
			answers[i]++;
			n_heard++;
			break;
		}
	}
	is_done = true;
	pthread_join(interrupter, NULL);
	pthread_join(answerer, NULL);
	/* libfuse keeps what came too late, and gives one up with each request. */
	const struct fuse_getattr_in in = {0};
	for (bool was_kept = true; was_kept;) {
		ask(&w, FUSE_GETATTR, 10, w.file, &in, sizeof in);
		was_kept = false;
		while (hear(&w, &r, PATIENCE_MSEC) && r.head.unique != 10)
			was_kept |= r.head.unique & 1;
	}
	for (unsigned i = 0; i < 3000; i++)
		ASSERT_EQ(answers[i], 1);
	end(&w);
}
