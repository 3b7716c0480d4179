/* SPDX-License-Identifier: Apache-2.0
 * opening: fetch opens the tree -> serving: the kernel has its answer -> ended: unmounted; freed when the last read is answered. */
#include "vinefs/mounts_internal.h"

#include "common/log.h"
#include "vinefs/keeper/keeper.h"

#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- who wants to hear of its end */

static struct served *find_number(struct mounts *m, uint64_t number)
{
	list_foreach (&m->served, struct served, link, s) {
		if (s->number == number)
			return s;
	}
	return NULL;
}

int mounts_watch_start(struct mounts *m, uint64_t number, struct mounts_watch *w)
{
	struct served *s = find_number(m, number);
	assert(w->on_end);
	list_init(&w->link);
	if (!s)
		return -ENOENT;
	list_append(&s->watches, &w->link);
	return 0;
}

void mounts_watch_stop(struct mounts_watch *w)
{
	if (w->link.next)
		list_remove(&w->link);
}

static void drop_watches(struct served *s, bool is_told)
{
	struct mounts_watch *w;
	while ((w = list_first(&s->watches, struct mounts_watch, link))) {
		list_remove(&w->link);
		if (is_told)
			w->on_end(w);
	}
}

/* ---- the end of a mount */

static void served_free(struct served *s)
{
	assert(atomic_load(&s->n_users) == 0 && !s->adder);
	drop_watches(s, false);
	list_remove(&s->link);
	fetch_open_stop(&s->open);
	mounts_draft_stop(s);
	if (s->mount)
		mount_free(s->mount);
	close_fd(s->connection.fd);
	buf_fini(&s->table);
	free(s->directory);
	free(s->source);
	free(s->name);
	free(s);
}

static void on_unused(struct post *p)
{
	served_free(container_of(p, struct served, unused));
}

void mounts_unuse(struct served *s)
{
	/* Read before it may be gone. */
	struct loop *l = s->owner->settings.loop;
	assert(atomic_load(&s->n_users) > 0);
	if (atomic_fetch_sub(&s->n_users, 1) == 1)
		loop_post(l, &s->unused);
}

void mounts_end(struct served *s, int error)
{
	if (s->adder) {
		struct mounts_add *a = steal(s->adder);
		a->served = NULL;
		a->on_done(a, error, s->number);
	}
	mounts_state_drop(s);
	drop_watches(s, true);
	if (!s->mount) {
		atomic_store(&s->n_users, 0);
		served_free(s);
		return;
	}
	fetch_open_stop(&s->open);
	mounts_draft_stop(s);
	mounts_hot_save(s, false);
	mount_stop(s->mount, false);
	/* Without our descriptor the kernel ends what may be left of the connection. */
	s->connection.fd = close_fd(s->connection.fd);
	list_remove(&s->link);
	mounts_unuse(s);
}

static void on_ended(struct post *p)
{
	struct served *s = container_of(p, struct served, ended);
	if (list_is_empty(&s->link)) /* handed over: who takes it up will see */
		return;
	log_info("%s is unmounted", s->directory);
	mounts_end(s, -ENOTCONN);
}

/* ---- what the mount asks for */

static void unuse(void *arg)
{
	mounts_unuse(arg);
}

static void read_later(void *arg, void *tree, const struct mount_range *range, struct mount_request *q)
{
	struct served *s = arg;
	atomic_fetch_add(&s->n_users, 1);
	mounts_read_later(tree, range, q, unuse, s);
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
	return mounts_state_save(s, s->connection.is_answered);
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
							   .read_now = mounts_read_now,
							   .read_later = read_later,
							   .release = release,
							   .keep = keep,
							   .on_end = on_end},
						.uid = getuid(),
						.gid = getgid(),
						.is_single = true,
						.is_file = s->connection.is_file,
						.deadline_usec = s->owner->settings.deadline_usec};
	const struct mount_tree tree = {.index = fetch_index(t), .arg = t, .is_draft = fetch_is_draft(t)};
	int r = tree.is_draft ? mounts_draft_take(s, t) : 0;
	assert(!s->mount);
	if (r) {
		fetch_close(t);
		return r;
	}
	s->mount = mount_new(&settings);
	atomic_store(&s->n_users, 1);
	r = s->is_restored ? mount_restore(s->mount, s->table.at, s->table.n) : 0;
	if (!r)
		r = mount_add(s->mount, "", &tree);
	if (r) {
		fetch_close(t);
		return r;
	}
	s->tree = t;
	r = mount_start(s->mount, &s->connection);
	return r ? r : mounts_state_save(s, true);
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct served *s = container_of(o, struct served, open);
	int r = error ? error : serve(s, t);
	if (r) {
		log_errno(-r, "mount %s on %s", s->name, s->directory);
		mounts_end(s, r);
		return;
	}
	if (s->source)
		mounts_draft_watch(s, t);
	else
		mounts_hot_load(s);
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
	if (s->draft)
		return fetch_open_draft(s->owner->settings.fetch, &s->open, s->draft);
	if (s->source)
		return mounts_draft_restore(s);
	return fetch_open(s->owner->settings.fetch, &s->open, &s->id, "vine mount", why);
}

static bool is_full(const struct mounts *m)
{
	unsigned n = 0;
	for (const struct list *l = m->served.next; l != &m->served; l = l->next)
		n++;
	return n >= mounts_max();
}

unsigned mounts_max(void)
{
	struct rlimit files;
	return getrlimit(RLIMIT_NOFILE, &files) == 0 ? KEEPER_MOUNTS_OF(files.rlim_cur) : KEEPER_MOUNTS_MAX;
}

int mounts_add(struct mounts *m, struct mounts_add *a)
{
	struct timespec now;
	struct served *s = NEW(struct served);
	clock_gettime(CLOCK_REALTIME, &now);
	list_init(&s->link);
	list_init(&s->watches);
	s->owner = m;
	s->is_private = a->is_private;
	s->number = ++m->last_number;
	s->since_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	s->connection = a->connection;
	a->connection.fd = -1;
	s->id = a->id;
	s->draft = a->draft;
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

void mounts_take_up(struct mounts *m, uint64_t number, const int fds[2])
{
	struct served *s = mounts_state_load(m, number, fds[0], fds[1]);
	m->last_number = max(m->last_number, number);
	int r = !s->directory ? -EBADMSG : open_tree(s);
	if (r) {
		log_errno(-r, "mount %" PRIu64 " (%s) cannot be served again", number, s->directory ?: "?");
		mounts_end(s, r);
	}
}

/* ---- life */

struct mounts *mounts_new(const struct mounts_settings *s)
{
	struct mounts *m = NEW(struct mounts);
	m->settings = *s;
	list_init(&m->served);
	int r = s->keeper < 0 ? 0 : watch_start(&m->keeper, s->loop, s->keeper, EPOLLIN, mounts_state_on_keeper);
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
		mounts_draft_stop(s);
		if (!s->tree)
			continue;
		mounts_hot_save(s, true);
		mount_stop(s->mount, true);
		/* Its tree is closed when fetch has answered the last read, in vain. */
		list_remove(&s->link);
		mounts_unuse(s);
	}
}

void mounts_leave(struct mounts *m)
{
	m->is_leaving = true;
	/* The newest first: it may lie on an older one. */
	for (struct list *l = m->served.prev; l != &m->served; l = l->prev) {
		struct served *s = list_entry(l, struct served, link);
		if (s->tree)
			mounts_hot_save(s, true);
		/* Where it is in somebody else's namespace, the end of the connection must do: what lies there in ours may be another. */
		int r = s->is_private || !mount_is_at(s->directory, s->connection.device)
				? -EINVAL
				: mount_disconnect(s->directory, true, NULL);
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
					.id = s->id,
					.is_private = s->is_private,
					.is_restored = s->is_restored,
					.is_draft = s->source || s->draft,
					.reason = ""};
		if (s->mount)
			mount_get_numbers(s->mount, &i.numbers);
		if (s->tree && s->source) {
			struct fetch_draft_info d;
			fetch_draft_get(s->tree, &d);
			i.reason = d.reason;
			i.progress = d.progress;
		}
		each(arg, &i);
		n++;
	}
	return n;
}

static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	return strncmp(path, directory, n) == 0 && (!path[n] || path[n] == '/');
}

/* Whether s, mounted later, is more likely what is meant. */
static bool is_better(const struct served *s, const struct served *than, uint64_t device)
{
	bool is_it = device && s->connection.device == device, was_it = device && than->connection.device == device;
	return is_it != was_it ? is_it : strlen(s->directory) >= strlen(than->directory);
}

bool mounts_find(struct mounts *m, const char *path, uint64_t device, struct mounts_found *out)
{
	const struct served *best = NULL;
	list_foreach (&m->served, struct served, link, s)
		if (is_below(path, s->directory) && (!best || is_better(s, best, device)))
			best = s;
	if (!best)
		return false;
	const char *rest = path + strlen(best->directory);
	*out = (struct mounts_found){
		.number = best->number, .id = best->id, .tree = best->tree, .rest = rest + (*rest == '/')};
	list_foreach (&m->served, struct served, link, s)
		out->n_others += s != best && streq(s->directory, best->directory);
	return true;
}
