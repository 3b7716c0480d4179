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
 * A session may be used from all threads, a file, a task or an event by one thread at a time. No signal is caught or sent, and
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
struct vine_file;
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

/* A descriptor that polls readable when vine_next(v, NULL, 0, &e) would return an event or an error at once; and after -EAGAIN of
 * vine_post when it is worth posting again, until vine_post or vine_next is called. Only poll it. */
VINE_API int vine_fd(struct vine *v);

/* Sets something of the run, or of the cluster where that is said, durably. An unknown name is refused with the nearest one. An empty
 * value: as it was at first. -ENOSYS: the cluster is older than this library.
 *   category.NAME.running   so many tasks of this category at once
 *   category.NAME.memory    at most so much of it for a task of this category: "16G"
 *   category.NAME.disk      the same of disk
 *   category.NAME.learn     "yes": they begin with what their like needed, and with all of that if it was too little
 *   counter.NAME            of the cluster: so many of these (licences, say) there are for all tasks that run
 *   source./DIRECTORY.running   of the cluster: so many nodes read what is below it at once; empty: learnt
 *   lifetime                what tasks leave is kept "run": until all results are acknowledged, and a while after (default),
 *                           "task": until the tasks submitted so far have read it, "forever": until it is forgotten
 *   events                  of this session: "nodes": vine_next tells of nodes, too; "none" (default) */
VINE_API int vine_set(struct vine *v, const char *name, const char *value);

/* ---- a file: a handle on what tasks read and leave. Freeing it does nothing to what it names */

/* `uri`: a path that nodes see under the same name (relative ones are made absolute), "node:/PATH" that only nodes see, "client:PATH" that
 * only this process sees, "tree:ID" of a sealed tree, "temp:NAME" that a task of the run leaves, "keep:/PATH" that a task will leave at a
 * shared path, and others may read then ("file:/PATH" from then on). A path is looked at now, once: what is there when a task reads it must be
 * the same. It must be a file or a directory and readable. Where {index} is in the name it is not looked at: each element of an array
 * has its own. -ENOENT, -EACCES: as it says; -EINVAL: no such name can be, or it is a FIFO, socket or device; -EOPNOTSUPP: URLs.
 *
 * What stands behind client: is read and sealed by the first vine_post of a task that names it, and sent: vine_post returns when a node has all of
 * it. It is sent once, whatever else is posted with it; tasks get what it was then. Until vine_post returns it must not change. */
VINE_API int vine_file_new(struct vine *v, const char *uri, struct vine_file **f);
VINE_API void vine_file_free(struct vine_file *f);

/* The same of n bytes, at most 256 MiB, that are a file. They are copied, and held until file and session are gone. Equal bytes are one file. */
VINE_API int vine_file_bytes(struct vine *v, const void *p, size_t n, struct vine_file **f);

/* What the cluster calls it: "file:/PATH", "node:/PATH", "tree:ID", "temp:NAME", "client:/PATH"; vine_forget takes it. Borrowed from the handle. */
VINE_API const char *vine_file_name(const struct vine_file *f);

/* Settings, before the file is given to tasks:
 *   size   about how large it is, "2G", where nobody has looked: tasks are placed by it */
VINE_API int vine_file_set(struct vine_file *f, const char *name, const char *value);

/* ---- a task: the description, which may be posted any number of times, with outputs once */

/* argv ends in NULL. Yours until vine_task_free. */
VINE_API int vine_task_new(const char *const argv[], struct vine_task **t);
VINE_API void vine_task_free(struct vine_task *t);

/* Settings are text, with units where they have some; an unknown name is refused with the nearest one:
 *   cores          how many it needs: "4"; default 1
 *   memory disk    how much it needs: "2G"; default: not said
 *   gpus           how many it needs; default 0
 *   resource.NAME  so much of what nodes have under this name: "1", "10G"; "0": none
 *   counter.NAME   so many of the cluster's counter (vine_set) while it runs
 *   feature        its node must have: "avx512", or some, "avx512,ib"; each call adds
 *   category       your word for tasks alike: limits (vine_set) and what was learned of them go by it
 *   priority       higher goes first: "-5"; default 0
 *   wall-time      it is ended after so long, "1h30m", and goes only where a node stays so long; default: no limit
 *   deadline       not begun by then, it fails: "2026-11-21T17:00:00Z", or "+90m" from vine_post on
 *   staging        it starts with its place ("lazy"), what it reads first ("hot"), or all of its inputs ("full") there; default: hot where that is known, else lazy
 *   retries        so often it runs again after a failure of its own; a lost node is not counted; default 0
 *   array          "1-1000", "0-998:2", "1-1000%50": so many tasks, 50 at a time. Their numbers follow the one that vine_post
 *                  gives, in order; {index} in argv, in paths, and in names of shared and nodes' files is each one's index
 *   tag            your word for it, comes back with the result
 *   key            your name for this piece of work in its run: posted again under the same key, it gives the first one's id
 *   directory      absolute working directory on the node; default: a private one on its local disk
 *   env            "inherit" (default: the environment as it is at vine_post) or "clean"
 *   env.NAME       a variable of the task's environment, over what is inherited
 * How its node runs it (-ENOSYS by vine_post: the cluster is older and cannot):
 *   view           "yes" (default): it sees its inputs at the paths it was given; "none": it runs as the node's processes do
 *   strict         "yes": of the node it sees the system's directories and what it declares, nothing else; default "no"
 *   stdin          its standard input: a file, absolute or below its directory; default /dev/null
 *   umask          "027"; default 022
 *   grace          between SIGTERM and SIGKILL when it is ended: "30s"; default 10s
 *   processes      so many processes and threads at once; default: as the node says
 *   record         "yes": what it reads and writes is listed (`vine inputs`, vine_output with 3); it runs slower
 *   home           its HOME: a directory, or "sandbox"; default: as in its environment
 *   trust          "yes": where there are no views it gets links to what was unpacked for all, which it must not write, and no copies */
VINE_API int vine_task_set(struct vine_task *t, const char *name, const char *value);

/* The task reads `f`, at `path` (absolute, or below its directory; NULL: where the file itself lies). It waits until what makes the
 * file has ended well. */
#define VINE_RW 1u /* it may write to its copy, which nobody else sees */
VINE_API int vine_task_input(struct vine_task *t, struct vine_file *f, const char *path, unsigned flags);

/* The task leaves a file or directory at `path` (absolute, or below its directory), which is a temporary of the run: *f is a new
 * handle on it (f may be NULL) that can be an input of others at once, in the same vine_post, too. One task makes it: a description
 * with outputs is posted once. Arrays have no outputs yet (vine_post: -EOPNOTSUPP). If it ends well and an output is missing it has failed
 * ("no-output"). What a task that failed leaves is dropped, unless a flag says otherwise.
 *
 * With VINE_NAMED *f is given, not made: a handle on "temp:NAME", by which it is found later, and by others; or on "keep:/PATH", a shared path, where it is
 * published by its node when the task has ended well, once and all at once, in the place of what is there. */
#define VINE_NAMED 2u
#define VINE_OPTIONAL 4u   /* it may be missing */
#define VINE_ON_FAILURE 8u /* only of an attempt that failed */
#define VINE_ALWAYS 16u    /* of one that failed, too */
#define VINE_PATTERN \
	32u /* `path` is a pattern like "out/part-*.csv": what it matches becomes a directory with these names */
VINE_API int vine_task_output(struct vine_task *t, const char *path, unsigned flags, struct vine_file **f);

/* ---- submitting and waiting */

/* Submits n tasks, all or none; when it returns 0 they are recorded durably and ids[i] is the number of t[i] (ids may be NULL).
 * -E2BIG: split the batch (100,000 tasks, 8 MiB). -EAGAIN: the cluster takes no more now; nothing was recorded, and vine_fd polls
 * readable when it is worth posting again. -ENOSPC: its disk is full. -ENOENT, -EEXIST, -ELOOP: an input that nobody makes, an output
 * that another task makes, inputs in a circle. -ENOSYS: the cluster is older than this library and does not know a setting.
 * -ETIMEDOUT: the scheduler did not answer for 2 minutes and it is not known whether the tasks are there; posting them again is
 * harmless if they have keys. */
VINE_API int vine_post(struct vine *v, struct vine_task *const t[], size_t n, uint64_t ids[]);

/* Waits up to msec (-1: as long as it takes) for an event that the selector takes: NULL all, "17" of that task, "tag:WORD",
 * "category:WORD", "nodes" what is told of nodes (never -ENODATA). The oldest of them; it costs the same whatever else is there.
 * Returns 1 with the event, yours until vine_event_done, or 0 and *e NULL when the time is over. -ENODATA: nothing is left to wait
 * for: what was unfinished when the run was attached to, and what was posted since, has had its event. (A task posted again under a
 * key of your own counts as open though its event may have been acknowledged long ago: with keys, count yourself.) */
VINE_API int vine_next(struct vine *v, const char *selector, int msec, struct vine_event **e);

/* A value of the event as text that ends in NUL, borrowed from it; returns its length (out and err may hold NULs).
 *   type         "result"
 *   task tag category run node attempt attempts
 *   index        of an array's element
 *   how          "exited", "killed" (by a signal), "not-started", "lost", "cancelled" or "no-output": it ended well, but an output that it
 *                declared is missing or could not be kept, and reason says which
 *   status       exit status, signal or errno
 *   exceeded     the limit that ended it: "memory", "disk", "wall-time", "processes"; else empty
 *   reason       why, for people; may be empty
 *   wall-usec cpu-usec peak-memory peak-disk
 *   local-size moved-size bytes of its inputs that were on its node before, and that were moved for it
 *   peer-size source-size client-size of moved-size: from other nodes, from where the data lies, from a client over the scheduler
 *   written-size bytes that it wrote in its sandbox
 *   left         paths that it made, changed or removed without having declared that, a line each, the first of them; n-left: how many there were
 *   out-size err-size     bytes of standard output and error
 *   out err               their beginnings, all of it up to 64 KiB; vine_output has the rest
 * Of a node:
 *   type         "node-joined" or "node-lost"
 *   node reason at-usec (since 1970) */
VINE_API int64_t vine_event_get(struct vine_event *e, const char *name, const char **value);

/* Acknowledges and frees the event. A result that is not acknowledged comes again to who attaches to the run next; what is told of
 * nodes does not (of what nobody takes, the last 10,000 are kept). */
VINE_API int vine_event_done(struct vine_event *e);

/* Writes a task's standard output (which 1), error (2), or of one with record=yes the list of what it read and wrote (3: lines "r PATH" read, "w" written,
 * "x" executed, "d" removed, "m" renamed to) from `offset` on to fd, which may be a pipe. Returns how many bytes. Of
 * a task whose session's run this is not, too. The calling thread does the writing. With `which` | VINE_FOLLOW of one that runs: as it is written,
 * until the task is over; if that goes wrong in between, it returns what it has written, and the error the next time. -ENODATA: it does not run yet. */
#define VINE_FOLLOW 16
VINE_API int64_t vine_output(struct vine *v, uint64_t task, int which, uint64_t offset, int fd);

/* Brings what a task left here, when it is there: a file's bytes to fd, which may be a pipe, returning how many (-EISDIR: it is a directory) ... */
VINE_API int64_t vine_fetch(struct vine *v, struct vine_file *f, int fd);
/* ... or a file or directory to `path`, with modes and times. It is made beside and renamed when all of it is there; in the place of a file, but not of a
 * directory that is not empty (-ENOTEMPTY). All bytes are verified. -ENOENT: nobody has left it yet; -EHOSTUNREACH: the nodes that
 * have it are away, and were waited for, for 30 s; -EIO, -EBADMSG: no node gives it whole. */
VINE_API int vine_fetch_to(struct vine *v, struct vine_file *f, const char *path);

/* Cancels unfinished tasks of the run: NULL all, "17" or "17,18" these, "tag:WORD", "category:WORD", "key:WORD" those. Each still
 * gets its event. */
VINE_API int vine_cancel(struct vine *v, const char *selector);

/* Nobody will name it again, so that what the cluster keeps of it may go: what a task of the run left, "temp:NAME" (vine_file_name; of another
 * run "RUN/temp:NAME"), or by its name a run that is over (NULL: this session's), with all that is known of it. -ENOENT: there is no such thing; -EBUSY: the run
 * is not over, or a task that is not over makes or reads it. */
VINE_API int vine_forget(struct vine *v, const char *selector);

/* Brings what `f` names to nodes, though no task asks for it: those named, or with n 0 all that are there and those that join. VINE_PIN: it stays there until
 * that is over; VINE_OVER: it need not be there any more, and is not pinned any more. Returns when that is recorded (of client: when a node has it); vine_query
 * "staged" tells how far it is, of what *item (or NULL) then names; free() it. -ENOENT: no such node, no such item, or with VINE_OVER it is not staged. */
#define VINE_PIN 1u
#define VINE_OVER 2u
VINE_API int vine_stage(struct vine *v, struct vine_file *f, const char *const nodes[], size_t n, unsigned flags,
			char **item);

/* A node, by its name or id: "drain": it gets no more tasks until "resume", also after a restart of it or of the cluster. With wait it returns when nothing runs
 * there any more, and nothing that is needed is there alone; -EHOSTUNREACH: no other node can take what is there alone. */
VINE_API int vine_node(struct vine *v, const char *node, const char *what, int wait);

/* Rows for people about "cluster", "nodes", "tasks", "counts" (of tasks by state), "waiting" (why they do, by reason), "runs", "items", "replicas",
 * "categories", "staged" (what vine_stage asked for) or "why" (a task is as it is); the selector is a run's name, a task's number, a node's or an item's name, as fits, or NULL: all. Tasks
 * can also be "RUN/WORD" (a key, or an element's index), "RUN/1-9" and "RUN@failed" (running, waiting, done, cancelled). fn is called in the calling thread for each,
 * n cells of text with n names; something else than 0 ends it and is returned if negative. Else the number of rows, at most 10,000.
 * "sending": what vine_post sends just now for other threads of this session, which asks nobody: file, size, sent. */
typedef int vine_row_fn(void *arg, size_t n, const char *const names[], const char *const cells[]);
VINE_API int vine_query(struct vine *v, const char *what, const char *selector, vine_row_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif

#endif
