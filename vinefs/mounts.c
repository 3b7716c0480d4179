/* SPDX-License-Identifier: Apache-2.0
 * opening: fetch opens the tree -> serving: the kernel has its answer -> ended: unmounted; freed when the last read is answered.
 *
 * What a new process must know of a mount lies in a memfd, made anew for each change and held by the keeper before the kernel hears of the change. */
#include "vinefs/mounts.h"

#include "common/list.h"
#include "common/log.h"
#include "common/path.h"
#include "vinefs/keeper/keeper.h"

#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATE_MAGIC UINT64_C(0x31746e756f6d6e76) /* another layout, another number */
#define STATE_MAX (16u << 20)
#define HOT_MAX (16u << 20)
#define KEEPER_WAIT_MSEC 2000

struct mounts {
	struct mounts_settings settings;
	struct watch keeper;
	struct list served;
	uint64_t last_number;
	bool is_leaving;
};

struct served {
	struct list link;
	struct mounts *owner;
	uint64_t number, since_usec;
	struct mount_connection connection;
	struct mount *mount;     /* NULL: not yet */
	struct fetch_tree *tree; /* the mount's: there until it is freed */
	struct fetch_open open;
	struct mounts_add *adder; /* waits for it to be served */
	struct buf table;         /* as the mount gave it last */
	struct digest id;
	char *directory, *name;
	_Atomic unsigned n_users; /* reads under way, and the mount while it serves */
	struct post ended, unused;
	bool is_restored;
};

/* A hot set on its way to or from its file, in the pool. */
struct hot_work {
	struct fetch_work work;
	struct served *served; /* of one that is read: it waits */
	char *path;
	uint32_t *nodes;
	size_t n;
};

struct read {
	struct fetch_read fetch;
	struct served *served;
	struct mount_request *request;
};

/* The beginning of the memfd; then table, directory, name. */
struct state {
	uint64_t magic, since_usec;
	struct digest id;
	uint32_t n_table, n_directory, n_name, n_init;
	uint32_t is_answered;
	uint8_t init[512];
};

/* ---- the keeper */

static int tell_keeper(struct mounts *m, enum keeper_mount_type type, uint64_t number, const int fds[2])
{
	struct keeper_mount message = {.type = type, .mount = number};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {.head = {0}};
	struct iovec v = {.iov_base = &message, .iov_len = sizeof message};
	struct msghdr head = {.msg_iov = &v, .msg_iovlen = 1};
	if (m->settings.keeper < 0)
		return 0;
	if (fds) {
		head.msg_control = control.room;
		head.msg_controllen = sizeof control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
		memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
	}
	for (int i = 0; i < 2; i++) {
		if (sendmsg(m->settings.keeper, &head, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		/* It does nothing that takes long; so this waits for what it has before us. */
		struct pollfd p = {.fd = m->settings.keeper, .events = POLLOUT};
		if (errno != EAGAIN || poll(&p, 1, KEEPER_WAIT_MSEC) <= 0)
			break;
	}
	return -errno;
}

/* What the keeper is to hold from now on in place of what it has. */
static int save(struct served *s, bool is_answered)
{
	const struct state head = {.magic = STATE_MAGIC,
				   .since_usec = s->since_usec,
				   .id = s->id,
				   .n_table = (uint32_t)s->table.n,
				   .n_directory = (uint32_t)strlen(s->directory),
				   .n_name = (uint32_t)strlen(s->name),
				   .n_init = (uint32_t)s->connection.n_init,
				   .is_answered = is_answered};
	_cleanup_(buf_fini) struct buf all = {0};
	assert(s->connection.n_init <= sizeof head.init);
	buf_put(&all, &head, sizeof head);
	memcpy(all.at + offsetof(struct state, init), s->connection.init, s->connection.n_init);
	buf_put(&all, s->table.at, s->table.n);
	buf_puts(&all, s->directory);
	buf_puts(&all, s->name);
	_close_ int fd = memfd_create("vine-mount", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, all.at, all.n, 0) != (ssize_t)all.n)
		return -ENOMEM;
	return tell_keeper(s->owner, KEEPER_HOLD, s->number, (int[]){s->connection.fd, fd});
}

/* Takes the descriptors over. NULL: that is nothing we could go on with. */
static struct served *load(struct mounts *m, uint64_t number, int connection, int memory)
{
	_close_ int state_fd = memory;
	struct served *s = NEW(struct served);
	struct stat st;
	struct state head;
	list_init(&s->link);
	s->owner = m;
	s->number = number;
	s->connection.fd = connection;
	s->is_restored = true;
	if (fstat(state_fd, &st) < 0 || st.st_size < (off_t)sizeof head || st.st_size > (off_t)STATE_MAX)
		return s;
	size_t n = (size_t)st.st_size;
	_free_ uint8_t *all = xmalloc(n);
	if (pread(state_fd, all, n, 0) != (ssize_t)n)
		return s;
	memcpy(&head, all, sizeof head);
	if (head.magic != STATE_MAGIC || head.n_init > sizeof s->connection.init ||
	    (uint64_t)head.n_table + head.n_directory + head.n_name != n - sizeof head)
		return s;
	const uint8_t *at = all + sizeof head;
	s->since_usec = head.since_usec;
	s->id = head.id;
	s->connection.n_init = head.n_init;
	s->connection.is_answered = head.is_answered;
	memcpy(s->connection.init, head.init, head.n_init);
	buf_put(&s->table, at, head.n_table);
	s->directory = xstrndup((const char *)at + head.n_table, head.n_directory);
	s->name = xstrndup((const char *)at + head.n_table + head.n_directory, head.n_name);
	return s;
}

/* ---- the end of a mount */

static void run_hot_save(struct fetch_work *w)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	struct stat st;
	/* Who looked at less does not spoil what is known. */
	if (stat(h->path, &st) == 0 && (size_t)st.st_size >= h->n * sizeof *h->nodes)
		return;
	int r = path_write(h->path, h->nodes, h->n * sizeof *h->nodes, 0600, false);
	if (r)
		log_errno(-r, "write %s", h->path);
}

static void on_hot_saved(struct fetch_work *w, bool is_run)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	(void)is_run;
	free(h->path);
	free(h->nodes);
	free(h);
}

static struct hot_work *hot_work_new(const struct served *s)
{
	struct hot_work *h = NEW(struct hot_work);
	char id[DIGEST_TEXT_SIZE];
	h->path = path_join(s->owner->settings.hot, digest_text(&s->id, id));
	return h;
}

/* `is_last`: the loop does not turn any more, and nobody waits for it. */
static void save_hot(struct served *s, bool is_last)
{
	struct hot_work *h = hot_work_new(s);
	h->work = (struct fetch_work){.run = run_hot_save, .on_done = on_hot_saved};
	int r = mount_hot(s->mount, "", &h->nodes, &h->n);
	if (!r && h->n && !is_last)
		return fetch_work(s->owner->settings.fetch, &h->work);
	if (!r && h->n)
		run_hot_save(&h->work);
	on_hot_saved(&h->work, true);
}

static void served_free(struct served *s)
{
	assert(atomic_load(&s->n_users) == 0 && !s->adder);
	list_remove(&s->link);
	fetch_open_stop(&s->open);
	if (s->mount)
		mount_free(s->mount);
	close_fd(s->connection.fd);
	buf_fini(&s->table);
	free(s->directory);
	free(s->name);
	free(s);
}

static void on_unused(struct post *p)
{
	served_free(container_of(p, struct served, unused));
}

static void done_with(struct served *s)
{
	/* Read before it may be gone. */
	struct loop *l = s->owner->settings.loop;
	assert(atomic_load(&s->n_users) > 0);
	if (atomic_fetch_sub(&s->n_users, 1) == 1)
		loop_post(l, &s->unused);
}

static void end(struct served *s, int error)
{
	if (s->adder) {
		struct mounts_add *a = steal(s->adder);
		a->served = NULL;
		a->on_done(a, error, s->number);
	}
	tell_keeper(s->owner, KEEPER_DROP, s->number, NULL);
	if (!s->mount) {
		atomic_store(&s->n_users, 0);
		served_free(s);
		return;
	}
	save_hot(s, false);
	mount_stop(s->mount, false);
	/* Without our descriptor the kernel ends what may be left of the connection. */
	s->connection.fd = close_fd(s->connection.fd);
	list_remove(&s->link);
	done_with(s);
}

static void on_ended(struct post *p)
{
	struct served *s = container_of(p, struct served, ended);
	if (list_is_empty(&s->link)) /* handed over: who takes it up will see */
		return;
	log_info("%s is unmounted", s->directory);
	end(s, -ENOTCONN);
}

/* ---- what the mount asks for */

static ssize_t read_now(void *arg, void *tree, const struct mount_range *r, void *p)
{
	(void)arg;
	return fetch_read_now(tree, r->blob, r->offset, p, r->n);
}

static void on_read(struct fetch_read *f, const void *p, ssize_t n)
{
	struct read *r = container_of(f, struct read, fetch);
	struct served *s = r->served;
	mount_answer(r->request, p, n);
	free(r);
	done_with(s);
}

/* Who was interrupted or killed wants nothing begun any more. */
static bool is_read_over(const struct fetch_read *f)
{
	return mount_is_over(container_of(f, const struct read, fetch)->request);
}

static void read_later(void *arg, void *tree, const struct mount_range *range, struct mount_request *q)
{
	struct served *s = arg;
	struct read *r = NEW(struct read);
	assert(range->n && range->blob != TREE_NO_BLOB);
	atomic_fetch_add(&s->n_users, 1);
	*r = (struct read){.served = s, .request = q};
	r->fetch = (struct fetch_read){.tree = tree, .blob = range->blob, .n = range->n, .offset = range->offset};
	r->fetch.on_done = on_read;
	r->fetch.is_over = is_read_over;
	fetch_read_start(&r->fetch);
}

static void release(void *arg, void *tree)
{
	(void)arg;
	fetch_close(tree);
}

static int keep(void *arg, const void *table, size_t n)
{
	struct served *s = arg;
	buf_consume(&s->table, s->table.n);
	buf_put(&s->table, table, n);
	return save(s, s->connection.is_answered);
}

static void on_end(void *arg)
{
	struct served *s = arg;
	loop_post(s->owner->settings.loop, &s->ended);
}

/* ---- from a descriptor to a mount that is served */

static int serve(struct served *s, struct fetch_tree *t)
{
	const struct mount_settings settings = {.source = {.arg = s,
							   .read_now = read_now,
							   .read_later = read_later,
							   .release = release,
							   .keep = keep,
							   .on_end = on_end},
						.uid = getuid(),
						.gid = getgid(),
						.is_single = true,
						.deadline_usec = s->owner->settings.deadline_usec};
	const struct mount_tree tree = {.index = fetch_index(t), .arg = t};
	assert(!s->mount);
	s->mount = mount_new(&settings);
	atomic_store(&s->n_users, 1);
	int r = s->is_restored ? mount_restore(s->mount, s->table.at, s->table.n) : 0;
	if (!r)
		r = mount_add(s->mount, "", &tree);
	if (r) {
		fetch_close(t);
		return r;
	}
	s->tree = t;
	r = mount_start(s->mount, &s->connection);
	return r ? r : save(s, true);
}

static void run_hot_load(struct fetch_work *w)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	size_t n = 0;
	h->nodes = (uint32_t *)(void *)path_read(h->path, HOT_MAX, &n);
	h->n = h->nodes ? n / sizeof *h->nodes : 0;
}

static void on_hot_loaded(struct fetch_work *w, bool is_run)
{
	struct hot_work *h = container_of(w, struct hot_work, work);
	struct served *s = h->served;
	uint32_t n_nodes = tree_n_nodes(fetch_index(s->tree));
	size_t n = 0;
	/* The file is no authority: what is no node of the tree is left out. */
	for (size_t i = 0; i < h->n; i++)
		if (h->nodes[i] && h->nodes[i] < n_nodes &&
		    tree_node(fetch_index(s->tree), h->nodes[i])->type == TREE_FILE)
			h->nodes[n++] = h->nodes[i];
	if (is_run && n)
		fetch_ahead(s->tree, h->nodes, n);
	on_hot_saved(w, is_run);
	done_with(s);
}

/* What was read first the last time is fetched before it is asked for. */
static void load_hot(struct served *s)
{
	struct hot_work *h = hot_work_new(s);
	h->work = (struct fetch_work){.run = run_hot_load, .on_done = on_hot_loaded};
	assert(s->tree);
	h->served = s;
	atomic_fetch_add(&s->n_users, 1);
	fetch_work(s->owner->settings.fetch, &h->work);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct served *s = container_of(o, struct served, open);
	int r = error ? error : serve(s, t);
	if (r) {
		log_errno(-r, "mount %s on %s", s->name, s->directory);
		end(s, r);
		return;
	}
	load_hot(s);
	log_info("%s %s on %s", s->is_restored ? "serving again" : "mounted", s->name, s->directory);
	if (s->adder) {
		struct mounts_add *a = steal(s->adder);
		a->served = NULL;
		a->on_done(a, 0, s->number);
	}
}

static int open_tree(struct served *s)
{
	_free_ char *why = xasprintf("mount %s", s->directory);
	s->ended.on_post = on_ended;
	s->unused.on_post = on_unused;
	s->open.on_done = on_opened;
	list_append(&s->owner->served, &s->link);
	return fetch_open(s->owner->settings.fetch, &s->open, &s->id, "vine mount", why);
}

static bool is_full(const struct mounts *m)
{
	unsigned n = 0;
	for (const struct list *l = m->served.next; l != &m->served; l = l->next)
		n++;
	return n >= KEEPER_MOUNTS_MAX;
}

int mounts_add(struct mounts *m, struct mounts_add *a)
{
	struct timespec now;
	struct served *s = NEW(struct served);
	clock_gettime(CLOCK_REALTIME, &now);
	list_init(&s->link);
	s->owner = m;
	s->number = ++m->last_number;
	s->since_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	s->connection = a->connection;
	a->connection.fd = -1;
	s->id = a->id;
	s->directory = xstrdup(a->directory);
	s->name = xstrndup(a->name, MOUNTS_NAME_MAX);
	/* One more than the keeper takes would cost us our life. */
	int r = m->is_leaving ? -ESHUTDOWN : is_full(m) ? -EUSERS : open_tree(s);
	if (r) {
		served_free(s);
		return r;
	}
	assert(!s->adder && !a->served);
	s->adder = a;
	a->served = s;
	return 0;
}

void mounts_add_stop(struct mounts_add *a)
{
	struct served *s = a->served;
	if (s)
		s->adder = NULL;
	a->served = NULL;
}

static void take_up(struct mounts *m, uint64_t number, const int fds[2])
{
	struct served *s = load(m, number, fds[0], fds[1]);
	m->last_number = max(m->last_number, number);
	int r = !s->directory ? -EBADMSG : open_tree(s);
	if (r) {
		log_errno(-r, "mount %" PRIu64 " (%s) cannot be served again", number, s->directory ?: "?");
		end(s, r);
	}
}

/* ---- hearing the keeper */

static void on_keeper(struct watch *w, uint32_t events)
{
	struct mounts *m = container_of(w, struct mounts, keeper);
	struct keeper_mount message = {0};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &message, .iov_len = sizeof message};
	for (;;) {
		struct msghdr head = {.msg_iov = &v,
				      .msg_iovlen = 1,
				      .msg_control = control.room,
				      .msg_controllen = sizeof control.room};
		ssize_t n = recvmsg(w->fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		/* Its end is the link's to deal with; here it is only quiet from now on. */
		if (n <= 0) {
			if (n == 0 || events & (EPOLLHUP | EPOLLERR))
				watch_stop(w);
			return;
		}
		assert(n == sizeof message);
		const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		if (message.type == KEEPER_HELD && c && c->cmsg_len == CMSG_LEN(2 * sizeof(int))) {
			int fds[2];
			memcpy(fds, CMSG_DATA(c), sizeof fds);
			take_up(m, message.mount, fds);
		} else if (message.type == KEEPER_PING) {
			tell_keeper(m, KEEPER_ALIVE, 0, NULL);
		}
	}
}

/* ---- life */

struct mounts *mounts_new(const struct mounts_settings *s)
{
	struct mounts *m = NEW(struct mounts);
	m->settings = *s;
	list_init(&m->served);
	int r = s->keeper < 0 ? 0 : watch_start(&m->keeper, s->loop, s->keeper, EPOLLIN, on_keeper);
	if (r) {
		free(m);
		errno = -r;
		return NULL;
	}
	return m;
}

void mounts_free(struct mounts *m)
{
	if (!m)
		return;
	watch_stop(&m->keeper);
	list_foreach (&m->served, struct served, link, s) {
		if (s->mount)
			mount_stop(s->mount, !m->is_leaving);
		/* Fetch has answered all reads before; what is left is ours. */
		atomic_store(&s->n_users, 0);
		served_free(s);
	}
	close_fd(m->settings.keeper);
	free(m);
}

void mounts_hand_over(struct mounts *m)
{
	assert(!m->is_leaving);
	list_foreach (&m->served, struct served, link, s) {
		/* One that is not yet open must not be told that it failed: its end would be the keeper's too. */
		fetch_open_stop(&s->open);
		if (!s->tree)
			continue;
		save_hot(s, true);
		mount_stop(s->mount, true);
		/* Its tree is closed when fetch has answered the last read, in vain. */
		list_remove(&s->link);
		done_with(s);
	}
}

void mounts_leave(struct mounts *m)
{
	m->is_leaving = true;
	list_foreach (&m->served, struct served, link, s) {
		_cleanup_(buf_fini) struct buf holders = {0};
		if (s->tree)
			save_hot(s, true);
		int r = mount_disconnect(s->directory, true, &holders);
		/* Where it is in somebody else's namespace, the end of the connection must do. */
		if (r)
			log_debug("unmount %s: %s", s->directory, strerror(-r));
	}
}

unsigned mounts_each(struct mounts *m, void (*each)(void *arg, const struct mounts_info *i), void *arg)
{
	unsigned n = 0;
	list_foreach (&m->served, struct served, link, s) {
		struct mounts_info i = {.number = s->number,
					.since_usec = s->since_usec,
					.directory = s->directory,
					.name = s->name,
					.id = s->id};
		if (s->mount)
			mount_get_numbers(s->mount, &i.numbers);
		each(arg, &i);
		n++;
	}
	return n;
}

bool mounts_find(struct mounts *m, const char *path, struct digest *id, const char **rest)
{
	list_foreach (&m->served, struct served, link, s) {
		size_t n = strlen(s->directory);
		if (strncmp(path, s->directory, n) != 0 || (path[n] && path[n] != '/'))
			continue;
		*id = s->id;
		*rest = path + n + (path[n] == '/');
		return true;
	}
	return false;
}
