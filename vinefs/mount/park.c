/* SPDX-License-Identifier: Apache-2.0
 * Reads whose bytes are not here yet. A parked read has two holders: the source, until it answers, and the request itself, until the kernel has
 * had its answer. Whoever first takes the request out of the list (source, deadline, interrupt, the watcher) gives that answer.
 *
 * The kernel sends no interrupt for what it reads ahead: its reader, once killed, would stay until the deadline. So the watcher looks
 * whether those who wait are being killed. */
#include "vinefs/mount/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOOK_USEC 200000u /* how often the watcher looks after those who wait */
#define EXITING 0x4u      /* PF_EXITING in /proc/PID/stat */

struct mount_request {
	struct list link;
	struct park *park;
	struct contents *contents;
	fuse_req_t req;
	struct mount_range range;
	pid_t pid;
	uint64_t deadline_usec, parked_usec;
	/* Under the lock, as is the link. */
	unsigned n_holders;
	bool is_listed, is_interrupted;
	_Atomic bool is_over;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void park_init(struct park *p, uint64_t deadline_usec)
{
	pthread_condattr_t monotonic;
	*p = (struct park){.deadline_usec = deadline_usec};
	list_init(&p->waiting);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

/* The source may still hold what nobody waits for. */
void park_fini(struct park *p)
{
	assert(!p->has_watcher && list_is_empty(&p->waiting));
	pthread_mutex_lock(&p->lock);
	while (p->n_held)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}

static void let_go(struct mount_request *q, unsigned n_holders)
{
	struct park *p = q->park;
	pthread_mutex_lock(&p->lock);
	assert(q->n_holders >= n_holders);
	q->n_holders -= n_holders;
	bool is_last = q->n_holders == 0;
	pthread_mutex_unlock(&p->lock);
	if (!is_last)
		return;
	contents_put(q->contents);
	free(q);
}

/* Under the lock. False: somebody else has it. */
static bool take(struct mount_request *q)
{
	if (atomic_load(&q->is_over))
		return false;
	atomic_store(&q->is_over, true);
	list_remove(&q->link);
	q->park->n_waiting--;
	return true;
}

/* For who has taken q, outside of the lock and of libfuse's: the interrupt's function must have ended before q may go. */
static void answer(struct mount_request *q, const void *p, int error)
{
	fuse_req_interrupt_func(q->req, NULL, NULL);
	if (error)
		fuse_reply_err(q->req, error);
	else
		fuse_reply_buf(q->req, p, q->range.n);
	q->req = NULL;
}

static void tell_source(struct mount_request *q)
{
	const struct mount_source *source = q->contents->source;
	if (source->drop)
		source->drop(source->arg, q);
}

static void give_up(struct mount_request *q, int error)
{
	answer(q, NULL, error);
	tell_source(q);
	let_go(q, 1);
}

/* Called by libfuse with the request's lock held, so its function cannot be withdrawn here, nor need it be: libfuse holds the request itself too. Not so
 * when it came before the function was set: then libfuse calls from there, and an answer would free the request under it. */
static void on_interrupt(fuse_req_t req, void *arg)
{
	struct mount_request *q = arg;
	struct park *p = q->park;
	pthread_mutex_lock(&p->lock);
	q->is_interrupted = true;
	bool is_mine = q->is_listed && take(q);
	p->n_interrupted += is_mine;
	pthread_mutex_unlock(&p->lock);
	if (!is_mine)
		return;
	fuse_reply_err(req, EINTR);
	tell_source(q);
	let_go(q, 1);
}

/* False: interrupted already, and answered. */
static bool enter(struct park *p, struct mount_request *q)
{
	fuse_req_interrupt_func(q->req, on_interrupt, q);
	pthread_mutex_lock(&p->lock);
	assert(!p->is_ending);
	p->n_parked++;
	bool is_interrupted = q->is_interrupted;
	p->n_interrupted += is_interrupted;
	if (!is_interrupted) {
		list_append(&p->waiting, &q->link);
		q->is_listed = true;
		p->n_held++;
		if (p->n_waiting++ == 0)
			pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	if (is_interrupted)
		answer(q, NULL, EINTR);
	return !is_interrupted;
}

void park_read(struct park *p, fuse_req_t req, struct contents *c, const struct mount_range *r)
{
	struct mount_request *q = NEW(struct mount_request);
	const struct mount_source *source = c->source;
	*q = (struct mount_request){.park = p, .contents = c, .req = req, .range = *r, .pid = fuse_req_ctx(req)->pid};
	list_init(&q->link);
	q->n_holders = 2;
	q->parked_usec = now_usec();
	q->deadline_usec = q->parked_usec + p->deadline_usec;
	if (enter(p, q)) {
		source->read_later(source->arg, c->tree.arg, r, q);
	} else {
		contents_put(c);
		free(q);
	}
}

void mount_answer(struct mount_request *q, const void *bytes, ssize_t n)
{
	struct park *p = q->park;
	pthread_mutex_lock(&p->lock);
	bool is_mine = take(q);
	assert(p->n_held > 0);
	p->read_size += is_mine && n == (ssize_t)q->range.n ? q->range.n : 0;
	pthread_mutex_unlock(&p->lock);
	/* Neither more nor less than was asked for is an answer; see serve_read(). */
	if (is_mine)
		answer(q, bytes, n == (ssize_t)q->range.n ? 0 : n < 0 ? (int)-n : EIO);
	let_go(q, is_mine ? 2 : 1);
	pthread_mutex_lock(&p->lock);
	p->n_held--;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

bool mount_is_over(const struct mount_request *q)
{
	return atomic_load(&q->is_over);
}

static void complain(const struct mount_request *q, uint64_t deadline_usec)
{
	const struct contents *c = q->contents;
	uint32_t blob = q->range.blob == TREE_NO_BLOB ? tree_n_blobs(c->tree.index) : q->range.blob;
	uint64_t bit = 1ull << (blob % 64);
	if (atomic_fetch_or(&c->complained[blob / 64], bit) & bit)
		return;
	_free_ char *path = tree_path(c->tree.index, q->range.node);
	log_error("mount: %s/%s: its bytes did not come within %.1f s; readers of what lies with it get EIO",
		  c->slot->name, path, (double)deadline_usec * 1e-6);
}

bool park_is_dying(pid_t pid)
{
	char path[40], text[1024];
	unsigned flags;
	unsigned long pending;
	char state;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	ssize_t n = read(fd, text, sizeof text - 1);
	if (n <= 0)
		return n < 0 && errno == ESRCH;
	text[n] = 0;
	/* The name may hold anything, but the last parenthesis is its end. */
	const char *rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u %*u %*d "
			    "%*u %*u %*u %*u %*u %*u %lu",
			    &state, &flags, &pending) != 3)
		return false;
	/* A deadly signal is pending as SIGKILL in each thread, until the thread has begun to exit. */
	return state == 'Z' || state == 'X' || flags & EXITING || pending & 1ul << (9 - 1);
}

/* Takes out of the list what `is_chosen`, gives the errors outside of the lock. */
static unsigned give_up_those(struct park *p, bool (*is_chosen)(void *arg, const struct mount_request *q), void *arg,
			      int error, uint64_t *count)
{
	struct list chosen = LIST_INIT(chosen);
	unsigned n = 0;
	pthread_mutex_lock(&p->lock);
	list_foreach (&p->waiting, struct mount_request, link, q) {
		if (is_chosen(arg, q) && take(q)) {
			list_append(&chosen, &q->link);
			n++;
		}
	}
	*count += n;
	pthread_mutex_unlock(&p->lock);
	list_foreach (&chosen, struct mount_request, link, q) {
		list_remove(&q->link);
		if (count == &p->n_late)
			complain(q, p->deadline_usec);
		give_up(q, error);
	}
	return n;
}

static bool is_late(void *arg, const struct mount_request *q)
{
	return q->deadline_usec <= *(const uint64_t *)arg;
}

struct pids {
	pid_t *at;
	size_t n;
};

static bool is_among(void *arg, const struct mount_request *q)
{
	const struct pids *pids = arg;
	for (size_t i = 0; i < pids->n; i++) {
		if (pids->at[i] == q->pid)
			return true;
	}
	return false;
}

/* Gives up the reads of those processes for which is_of; asked with no lock held. */
static unsigned give_up_of(struct park *p, uint64_t parked_until, bool (*is_of)(void *arg, pid_t pid), void *arg)
{
	struct pids pids = {.n = 0};
	unsigned n = 0;
	pthread_mutex_lock(&p->lock);
	pids.at = xcalloc(p->n_waiting, sizeof *pids.at);
	list_foreach (&p->waiting, struct mount_request, link, q) {
		if (q->pid > 0 && q->parked_usec <= parked_until && !is_among(&pids, q))
			pids.at[pids.n++] = q->pid;
	}
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < pids.n; i++) {
		if (is_of(arg, pids.at[i]))
			pids.at[n++] = pids.at[i];
	}
	pids.n = n;
	n = n ? give_up_those(p, is_among, &pids, EIO, &p->n_killed) : 0;
	free(pids.at);
	return n;
}

static bool is_dying(void *arg, pid_t pid)
{
	(void)arg;
	return park_is_dying(pid);
}

static void *watch(void *arg)
{
	struct park *p = arg;
	pthread_mutex_lock(&p->lock);
	while (!p->is_ending) {
		const struct mount_request *oldest = list_first(&p->waiting, struct mount_request, link);
		if (!oldest) {
			pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		uint64_t until = min(oldest->deadline_usec, now_usec() + LOOK_USEC);
		const struct timespec t = {.tv_sec = (time_t)(until / 1000000),
					   .tv_nsec = (long)(until % 1000000) * 1000};
		while (!p->is_ending && pthread_cond_timedwait(&p->changed, &p->lock, &t) == 0)
			;
		pthread_mutex_unlock(&p->lock);
		uint64_t now = now_usec();
		give_up_those(p, is_late, &now, EIO, &p->n_late);
		give_up_of(p, now - LOOK_USEC / 2, is_dying, NULL);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int park_start(struct park *p)
{
	assert(!p->has_watcher);
	p->is_ending = false;
	int r = pthread_create(&p->watcher, NULL, watch, p);
	p->has_watcher = r == 0;
	return -r;
}

static bool is_any(void *arg, const struct mount_request *q)
{
	(void)arg;
	(void)q;
	return true;
}

void park_stop(struct park *p)
{
	uint64_t n = 0;
	pthread_mutex_lock(&p->lock);
	p->is_ending = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (p->has_watcher)
		pthread_join(p->watcher, NULL);
	p->has_watcher = false;
	give_up_those(p, is_any, NULL, EIO, &n);
	assert(list_is_empty(&p->waiting));
}

unsigned mount_fail_reads(struct mount *m, bool (*is_of)(void *arg, pid_t pid), void *arg)
{
	return give_up_of(&m->park, UINT64_MAX, is_of, arg);
}
