/* SPDX-License-Identifier: Apache-2.0
 * Opening and closing, and who is inside. */
#include "common/log.h"
#include "common/loop.h"
#include "libvineclient/client.h"

#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define OPEN_USEC 10000000u
#define CLOSE_USEC 5000000u

int session_enter(struct vine *v)
{
	if (getpid() != v->pid)
		return error_set(EPERM, "a session cannot be used in a child process; open one there");
	pthread_mutex_lock(&v->lock);
	bool is_closing = v->is_closing;
	v->users += !is_closing;
	pthread_mutex_unlock(&v->lock);
	return is_closing ? error_set(ECANCELED, "the session is being closed") : 0;
}

void session_leave(struct vine *v)
{
	pthread_mutex_lock(&v->lock);
	assert(v->users);
	v->users--;
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

void session_deadline(struct timespec *at, uint64_t in_usec)
{
	clock_gettime(CLOCK_MONOTONIC, at);
	uint64_t nsec = (uint64_t)at->tv_nsec + in_usec % 1000000 * 1000;
	at->tv_sec += (time_t)(in_usec / 1000000 + nsec / 1000000000);
	at->tv_nsec = (long)(nsec % 1000000000);
}

static void *session_thread(void *arg)
{
	struct vine *v = arg;
	pthread_setname_np(pthread_self(), "vine");
	loop_run(v->loop);
	link_stop(v);
	return NULL;
}

static void on_stop(struct post *p)
{
	struct vine *v = container_of(p, struct vine, stop_post);
	ask_end_all(v, ECANCELED, "the session is being closed");
	/* In order where it can be: vined need not wonder. on_close then stops the loop. */
	v->is_stopping = true;
	if (v->conn)
		conn_close(v->conn, "the session is closed", true);
	else
		loop_stop(v->loop, 0);
}

static void on_flush(struct post *p)
{
	ask_end_all(container_of(p, struct vine, flush_post), ECANCELED, "the session is being closed");
}

void session_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

static struct vine *session_new(void)
{
	struct vine *v = NEW(struct vine);
	v->pid = getpid();
	v->event_fd = -1;
	v->stop_post.on_post = on_stop;
	v->flush_post.on_post = on_flush;
	v->ack_post.on_post = ack_on_post;
	ready_init(&v->ready);
	list_init(&v->asks);
	list_init(&v->servings);
	pthread_mutex_init(&v->lock, NULL);
	session_cond_init(&v->wake);
	return v;
}

/* The thread is not there yet, or not any more. */
static void session_free(struct vine *v)
{
	assert(list_is_empty(&v->asks));
	event_drop_all(v);
	offer_free_all(v);
	ready_fini(&v->ready);
	cluster_fini(&v->cluster);
	ids_fini(&v->seen);
	ids_fini(&v->posted);
	buf_fini(&v->acks);
	loop_free(v->loop);
	close_fd(v->event_fd);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->wake);
	free(v->run);
	free(v);
}

void session_unref_event(struct vine *v)
{
	pthread_mutex_lock(&v->lock);
	assert(v->n_events);
	bool is_last = --v->n_events == 0 && v->is_closed && !v->is_closing;
	pthread_mutex_unlock(&v->lock);
	if (is_last)
		session_free(v);
}

static int session_start(struct vine *v)
{
	sigset_t all, before;
	v->loop = loop_new();
	v->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!v->loop || v->event_fd < 0)
		return error_set(errno, "open a session: %s", strerror(errno));
	int r = link_start(v);
	if (r < 0) {
		link_stop(v);
		return r;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&v->thread, NULL, session_thread, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		link_stop(v);
		return error_set(r, "open a session: no thread: %s", strerror(r));
	}
	return 0;
}

static int check_run_name(const char *run)
{
	size_t n = strlen(run);
	if (!n || n > WIRE_RUN_NAME_MAX)
		return error_set(EINVAL, "run name: %zu characters; 1 to %u can be used", n, WIRE_RUN_NAME_MAX);
	for (const char *p = run; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 127 || strchr("/@:,", *p))
			return error_set(EINVAL, "run name '%s': blanks, control characters and / @ : , cannot be used",
					 run);
	}
	if (strspn(run, "0123456789") == n)
		return error_set(EINVAL, "run name '%s': a number would mean a task; add a letter", run);
	return 0;
}

/* Ends the thread and frees everything, unless the user still holds events. */
static void session_stop(struct vine *v)
{
	pthread_mutex_lock(&v->lock);
	v->is_closed = true; /* nobody posts to the loop from here on */
	pthread_mutex_unlock(&v->lock);
	loop_post(v->loop, &v->stop_post);
	pthread_join(v->thread, NULL);
	pthread_mutex_lock(&v->lock);
	v->is_closing = false;
	bool is_last = v->n_events == 0;
	pthread_mutex_unlock(&v->lock);
	if (is_last)
		session_free(v);
}

int vine_open(struct vine **out, const char *where, const char *run)
{
	*out = NULL;
	int r = run ? check_run_name(run) : 0;
	if (r < 0)
		return r;
	/* What connections log is for daemons; here an error comes back to the caller. */
	log_init("vine", LOG_LEVEL_ERROR, STDERR_FILENO, true);
	struct vine *v = session_new();
	v->run = run ? xstrdup(run) : NULL;
	v->has_run = run != NULL;
	r = cluster_find(&v->cluster, where);
	if (!r)
		r = session_start(v);
	if (r < 0) {
		session_free(v);
		return r;
	}
	struct ask there = {.needs_run = run != NULL, .patience_usec = OPEN_USEC};
	r = ask_wait(v, &there);
	if (r < 0) {
		v->is_closing = true;
		session_stop(v);
		return r;
	}
	*out = v;
	return 0;
}

int session_wait_for_acks(struct vine *v)
{
	struct timespec until;
	session_deadline(&until, CLOSE_USEC);
	pthread_mutex_lock(&v->lock);
	int r = 0;
	while (v->acks.n && !v->broken && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&v->wake, &v->lock, &until);
	size_t n = v->acks.n / sizeof(uint64_t);
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return 0;
	return error_set(ETIMEDOUT,
			 "cluster %s: %zu acknowledgments of run %s could not be delivered: these results "
			 "come again to who attaches to it",
			 v->cluster.name, n, v->run ?: "?");
}

int vine_close(struct vine *v, int detach)
{
	if (!v)
		return 0;
	int r = session_enter(v);
	if (r < 0)
		return r;
	__atomic_store_n(&v->is_sealing_over, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&v->lock);
	v->is_closing = true;
	pthread_cond_broadcast(&v->wake);
	ready_wake_all(&v->ready);
	pthread_mutex_unlock(&v->lock);
	loop_post(v->loop, &v->flush_post);
	pthread_mutex_lock(&v->lock);
	while (v->users > 1)
		pthread_cond_wait(&v->wake, &v->lock);
	v->users--;
	pthread_mutex_unlock(&v->lock);
	if (!detach && v->has_run) {
		struct wire_abandon message = {.run = NULL};
		struct ask abandon = {.type = WIRE_ABANDON,
				      .message = &message,
				      .needs_run = true,
				      .run = &message.run,
				      .patience_usec = CLOSE_USEC};
		r = ask_wait(v, &abandon);
	}
	int acks = session_wait_for_acks(v);
	session_stop(v);
	return r < 0 ? r : acks;
}

int vine_fd(struct vine *v)
{
	int r = session_enter(v);
	if (r < 0)
		return r;
	session_leave(v);
	return v->event_fd;
}

const char *vine_run(struct vine *v)
{
	pthread_mutex_lock(&v->lock);
	const char *run = v->run ?: "";
	pthread_mutex_unlock(&v->lock);
	return run;
}
