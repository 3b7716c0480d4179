/* SPDX-License-Identifier: Apache-2.0
 * A connection's threads, and trees that come and go while it runs. */
#include "vinefs/mount/internal.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_USEC 30000000u
#define THREADS_MAX 64u

/* Ends a thread's wait in read(2); it does nothing else. */
#define SIGNAL_WAKE (SIGRTMIN + 7)

struct head { /* what every request begins with */
	uint32_t size, opcode;
	uint64_t unique;
};

struct mount *mount_new(const struct mount_settings *s)
{
	struct mount *m = NEW(struct mount);
	assert(s->source.read_now && s->source.read_later);
	m->settings = *s;
	m->face = (struct face){.uid = s->uid, .gid = s->gid};
	m->session.fd = -1;
	m->n_servers = min(s->n_threads ? s->n_threads : 1, THREADS_MAX);
	slots_init(&m->slots, s->is_single);
	park_init(&m->park, s->deadline_usec ? s->deadline_usec : DEADLINE_USEC);
	int r = pthread_key_create(&m->self, NULL);
	if (r)
		abort();
	return m;
}

void mount_free(struct mount *m)
{
	assert(!m->servers);
	park_fini(&m->park);
	session_close(&m->session);
	slots_fini(&m->slots);
	pthread_key_delete(m->self);
	free(m);
}

/* ---- trees */

static int keep(struct mount *m)
{
	const struct mount_source *source = &m->settings.source;
	struct buf table = {0};
	if (!source->keep)
		return 0;
	slots_save(&m->slots, &table);
	int r = source->keep(source->arg, table.at, table.n);
	buf_fini(&table);
	return r;
}

int mount_restore(struct mount *m, const void *table, size_t n)
{
	assert(!m->servers);
	return slots_load(&m->slots, table, n);
}

/* The kernel may have been told that there is no such name, or how the root looks. It need not know of either: no error. */
static void forget_name(struct mount *m, const char *name)
{
	if (!m->servers || m->settings.is_single)
		return;
	fuse_lowlevel_notify_inval_entry(m->session.fuse, FUSE_ROOT_ID, name, strlen(name));
	fuse_lowlevel_notify_inval_inode(m->session.fuse, FUSE_ROOT_ID, 0, 0);
}

static bool is_same_tree(const struct slot *slot, const struct mount_tree *t)
{
	if (slot->n_nodes != tree_n_nodes(t->index))
		return false;
	/* Names alone give numbers; a draft has no id yet, and its contents may have become final since. */
	return t->is_draft || slot->id.algorithm == DIGEST_NONE || digest_is_equal(&slot->id, tree_id(t->index));
}

static int check_new(struct mount *m, const char *name, const struct mount_tree *t)
{
	size_t n = strlen(name);
	if (m->settings.is_single) {
		bool is_file = tree_node(t->index, 0)->type != TREE_DIRECTORY;
		if (n)
			return -EINVAL;
		/* The kernel holds what it mounted on to be of one kind: another would be EIO at each look. */
		if (is_file != m->settings.is_file)
			return is_file ? -ENOTDIR : -EISDIR;
		for (uint32_t i = 0; i < m->slots.n; i++) {
			if (m->slots.at[i]->is_gone)
				return -EINVAL; /* the root's number has meant another tree */
		}
		return 0;
	}
	return !n || n > 255 || strchr(name, '/') || streq(name, ".") || streq(name, "..") ? -EINVAL : 0;
}

int mount_add(struct mount *m, const char *name, const struct mount_tree *t)
{
	int r = check_new(m, name, t);
	if (r < 0)
		return r;
	struct slot *slot = slots_find(&m->slots, name);
	if (slot && slot->contents)
		return -EEXIST;
	if (slot && !is_same_tree(slot, t))
		return -ESTALE;
	if (!slot) {
		slot = slots_append(&m->slots, name, t);
		r = keep(m);
		if (r < 0) {
			slot->is_gone = true; /* its numbers were never told */
			return r;
		}
	}
	slots_set(&m->slots, slot, contents_new(slot, t, &m->settings.source));
	forget_name(m, name);
	return 0;
}

/* So that every number goes on meaning the same name, with the attributes that the kernel has been told for ever. */
static bool has_same_nodes(const struct tree *a, const struct tree *b)
{
	uint32_t n = tree_n_nodes(a);
	if (n != tree_n_nodes(b))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct tree_node *x = tree_node(a, i), *y = tree_node(b, i);
		if (x->type != y->type || x->parent != y->parent || x->name_size != y->name_size ||
		    memcmp(tree_name(a, i), tree_name(b, i), x->name_size) != 0)
			return false;
		if (x->mode != y->mode || x->mtime_sec != y->mtime_sec || x->mtime_nsec != y->mtime_nsec)
			return false;
		if (x->type == TREE_FILE ? tree_file_size(a, i) != tree_file_size(b, i)
					 : x->type == TREE_LINK && !streq(tree_target(a, i), tree_target(b, i)))
			return false;
	}
	return true;
}

int mount_swap(struct mount *m, const char *name, const struct mount_tree *t)
{
	struct slot *slot = slots_find(&m->slots, name);
	if (!slot || !slot->contents)
		return -ENOENT;
	if (!is_same_tree(slot, t) || !has_same_nodes(slot->contents->tree.index, t->index))
		return -ESTALE;
	if (!t->is_draft)
		slot->id = *tree_id(t->index);
	slots_set(&m->slots, slot, contents_new(slot, t, &m->settings.source));
	return keep(m);
}

int mount_remove(struct mount *m, const char *name)
{
	struct slot *slot = slots_find(&m->slots, name);
	if (!slot)
		return -ENOENT;
	slot->is_gone = true;
	slots_set(&m->slots, slot, NULL);
	int r = keep(m);
	forget_name(m, name);
	return r;
}

int mount_hot(struct mount *m, const char *name, uint32_t **nodes, size_t *n)
{
	struct slot *slot = slots_find(&m->slots, name);
	if (!slot)
		return -ENOENT;
	*nodes = hot_copy(&slot->hot, n);
	return 0;
}

/* ---- threads */

static void on_wake(int signo)
{
	(void)signo;
}

static void *serve(void *arg)
{
	struct server *self = arg;
	struct mount *m = self->mount;
	sigset_t wake;
	sigemptyset(&wake);
	sigaddset(&wake, SIGNAL_WAKE);
	pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	pthread_setspecific(m->self, self);
	while (!atomic_load(&m->is_stopping)) {
		ssize_t n = read(m->session.fd, self->request, REQUEST_ROOM);
		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue; /* ENOENT: the request was withdrawn between */
		if (n < (ssize_t)sizeof(struct head))
			break;
		const struct head *head = (const void *)self->request;
		atomic_fetch_add_explicit(&m->requests[min(head->opcode, MOUNT_OPCODES - 1u)], 1, memory_order_relaxed);
		const struct fuse_buf request = {.mem = self->request, .size = (size_t)n};
		fuse_session_process_buf(m->session.fuse, &request);
	}
	const struct mount_source *source = &m->settings.source;
	if (!atomic_load(&m->is_stopping) && !atomic_exchange(&m->has_ended, true) && source->on_end)
		source->on_end(source->arg);
	return NULL;
}

static int start_server(struct mount *m, struct server *server)
{
	server->mount = m;
	server->request = xmalloc(REQUEST_ROOM);
	server->reply = xmalloc(READ_MAX);
	int r = pthread_create(&server->thread, NULL, serve, server);
	server->is_running = r == 0;
	return -r;
}

int mount_start(struct mount *m, struct mount_connection *c)
{
	const struct sigaction wake = {.sa_handler = on_wake}; /* no SA_RESTART: read(2) shall return */
	assert(!m->servers);
	int r = sigaction(SIGNAL_WAKE, &wake, NULL) < 0 ? -errno : session_open(&m->session, m, c);
	if (r < 0)
		return r;
	m->servers = xcalloc(m->n_servers, sizeof *m->servers);
	r = park_start(&m->park);
	for (unsigned i = 0; i < m->n_servers && r == 0; i++)
		r = start_server(m, &m->servers[i]);
	if (r < 0)
		mount_stop(m, true);
	return r;
}

static void end_server(struct server *server)
{
	const struct timespec soon = {.tv_nsec = 1000000};
	struct timespec until;
	int r = server->is_running ? EBUSY : 0;
	/* The signal may come just before the read that it is to end: then it comes again. */
	while (r != 0) {
		pthread_kill(server->thread, SIGNAL_WAKE);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += soon.tv_nsec;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		r = pthread_timedjoin_np(server->thread, NULL, &until);
		assert(r == 0 || r == ETIMEDOUT);
	}
	free(server->request);
	free(server->reply);
}

void mount_stop(struct mount *m, bool is_handed_over)
{
	if (!m->servers)
		return;
	atomic_store(&m->is_stopping, true);
	for (unsigned i = 0; i < m->n_servers; i++)
		end_server(&m->servers[i]);
	atomic_store(&m->session.is_mute, is_handed_over);
	park_stop(&m->park);
	free(m->servers);
	m->servers = NULL;
}

void mount_get_numbers(struct mount *m, struct mount_numbers *out)
{
	*out = (struct mount_numbers){.read_size = atomic_load(&m->read_size)};
	for (unsigned i = 0; i < MOUNT_OPCODES; i++) {
		out->requests[i] = atomic_load(&m->requests[i]);
		out->n_requests += out->requests[i];
	}
	pthread_mutex_lock(&m->park.lock);
	out->read_size += m->park.read_size;
	out->n_parked = m->park.n_parked;
	out->n_waiting = m->park.n_waiting;
	out->n_late = m->park.n_late;
	out->n_interrupted = m->park.n_interrupted;
	out->n_killed = m->park.n_killed;
	pthread_mutex_unlock(&m->park.lock);
}

const char *mount_opcode_name(unsigned opcode)
{
	static const char *const names[MOUNT_OPCODES] = {
		[1] = "LOOKUP",           [2] = "FORGET",       [3] = "GETATTR",
		[5] = "READLINK",         [14] = "OPEN",        [15] = "READ",
		[17] = "STATFS",          [18] = "RELEASE",     [22] = "GETXATTR",
		[23] = "LISTXATTR",       [25] = "FLUSH",       [26] = "INIT",
		[27] = "OPENDIR",         [28] = "READDIR",     [34] = "ACCESS",
		[36] = "INTERRUPT",       [39] = "IOCTL",       [40] = "POLL",
		[42] = "BATCH_FORGET",    [44] = "READDIRPLUS", [46] = "LSEEK",
		[47] = "COPY_FILE_RANGE", [50] = "SYNCFS",      [52] = "STATX",
	};
	return opcode < MOUNT_OPCODES && names[opcode] ? names[opcode] : "OTHER";
}
