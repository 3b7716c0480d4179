/* SPDX-License-Identifier: Apache-2.0
 * Vine's public face: submit tasks to a cluster, get their results.
 *
 *     struct vine *v;
 *     struct vine_task *t;
 *     struct vine_event *e;
 *     uint64_t id;
 *     vine_open(&v, NULL, NULL);
 *     vine_task_new((const char *const[]){"echo", "hello", NULL}, &t);
 *     vine_post(v, &t, 1, &id);
 *     vine_next(v, NULL, -1, &e);
 *     vine_event_get(e, "out", &text);
 *     vine_event_done(e);
 *     vine_task_free(t);
 *     vine_close(v, 1);
 *
 * Results are >= 0 or -errno; vine_error() then says what, which, why and what to try. Arguments are copied.
 * A session may be used from all threads, a task or an event by one thread at a time. No signal is caught or sent, and
 * none is delivered to the library's own thread. In a child made by fork every call returns -EPERM.
 *
 * A session outlives its connection: when the scheduler is gone it is looked for again, for as long as it takes, what was
 * asked is asked again, and nothing is lost or done twice. */
#ifndef VINE_H
#define VINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VINE_API __attribute__((visibility("default")))

struct vine;
struct vine_task;
struct vine_event;

/* The text of the calling thread's last failure, one line, never NULL; valid until the thread's next failure. */
VINE_API const char *vine_error(void);
/* "0.1.0", of the library that is loaded. */
VINE_API const char *vine_version(void);

/* ---- a session */

/* `where`: a cluster's NAME, the /path of its directory, HOST:PORT; NULL: $VINE, else "default". HOST:PORT needs the secret, in the
 * file that $VINE_SECRET names, else the default cluster's. `run`: the work submitted under this name is made or, if it is there,
 * attached to: results that nobody has acknowledged come (again). Sessions attached to one run at a time get what each posted; one that
 * was away so long that another got its results is told so by -ESTALE. NULL: a new run, made by the first vine_post, whose work is
 * cancelled when its session is gone for longer than the cluster's client-timeout. Fails when nobody answers for 10 s. */
VINE_API int vine_open(struct vine **v, const char *where, const char *run);

/* Ends the session after what vine_event_done acknowledged is recorded (waiting 5 s at most; -ETIMEDOUT: these results will come
 * again). With `detach` a named run's work goes on and can be attached to again; without, it is cancelled. Calls that other threads
 * are in return -ECANCELED first. Events not yet done are freed by vine_event_done as usual. The session is gone whatever
 * is returned. */
VINE_API int vine_close(struct vine *v, int detach);

/* The name of the run; "" before there is one. Borrowed from the session. */
VINE_API const char *vine_run(struct vine *v);

/* A descriptor that polls readable when vine_next would return an event at once. Only poll it. */
VINE_API int vine_fd(struct vine *v);

/* ---- a task: the description, which may be posted any number of times */

/* argv ends in NULL. Yours until vine_task_free. */
VINE_API int vine_task_new(const char *const argv[], struct vine_task **t);
VINE_API void vine_task_free(struct vine_task *t);

/* Settings are text, with units where they have some; an unknown name is refused with the nearest one:
 *   cores      how many it needs: "4"; default 1
 *   memory     how much it needs: "2G"; default: not said
 *   priority   higher goes first: "-5"; default 0
 *   tag        your word for it, comes back with the result
 *   key        your name for this piece of work in its run: posted again under the same key, it gives the first one's id
 *   directory  absolute working directory on the node; default: a private one on its local disk
 *   env        "inherit" (default: the environment as it is at vine_post) or "clean"
 *   env.NAME   a variable of the task's environment, over what is inherited */
VINE_API int vine_task_set(struct vine_task *t, const char *name, const char *value);

/* ---- submitting and waiting */

/* Submits n tasks, all or none; when it returns 0 they are recorded durably and ids[i] is the number of t[i] (ids may be NULL).
 * -E2BIG: split the batch. -ETIMEDOUT: the scheduler did not answer for 2 minutes and it is not known whether the tasks are there;
 * posting them again is harmless if they have keys. */
VINE_API int vine_post(struct vine *v, struct vine_task *const t[], size_t n, uint64_t ids[]);

/* Waits up to msec (-1: as long as it takes) for an event that the selector takes: NULL all, "17" of that task,
 * "tag:WORD". Returns 1 with the event, yours until vine_event_done, or 0 and *e NULL when the time is over. -ENODATA: nothing
 * is left to wait for: what was unfinished when the run was attached to, and what was posted since, has had its event. (A task
 * posted again under a key of your own counts as open though its event may have been acknowledged long ago: with keys, count yourself.) */
VINE_API int vine_next(struct vine *v, const char *selector, int msec, struct vine_event **e);

/* A value of the event as text that ends in NUL, borrowed from it; returns its length (out and err may hold NULs).
 *   type         "result"
 *   task tag run node attempt attempts
 *   how          "exited", "killed" (by a signal), "not-started", "lost" or "cancelled"
 *   status       exit status, signal or errno
 *   reason       why, for people; may be empty
 *   wall-usec cpu-usec peak-memory
 *   out-size err-size     bytes of standard output and error
 *   out err               their beginnings, all of it up to 64 KiB; vine_output has the rest */
VINE_API int64_t vine_event_get(struct vine_event *e, const char *name, const char **value);

/* Acknowledges and frees the event. What is not acknowledged comes again to who attaches to the run next. */
VINE_API int vine_event_done(struct vine_event *e);

/* Writes a task's standard output (which 1) or error (2) from `offset` on to fd, which may be a pipe. Returns how many bytes. Of
 * a task whose session's run this is not, too. The calling thread does the writing. */
VINE_API int64_t vine_output(struct vine *v, uint64_t task, int which, uint64_t offset, int fd);

/* Cancels: NULL all unfinished tasks of the run, "17" or "17,18" these. Each still gets its event. */
VINE_API int vine_cancel(struct vine *v, const char *selector);

/* Rows for people about "cluster", "nodes", "tasks" or "runs"; the selector is a run's name, a task's number, or NULL. fn is called
 * in the calling thread for each, n cells of text with n names; something else than 0 ends it and is returned if negative. Else
 * the number of rows, at most 10,000. */
typedef int vine_row_fn(void *arg, size_t n, const char *const names[], const char *const cells[]);
VINE_API int vine_query(struct vine *v, const char *what, const char *selector, vine_row_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif

#endif
