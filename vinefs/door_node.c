/* SPDX-License-Identifier: Apache-2.0
 * ASK_NODE and NODE_UPGRADE. Before this process makes way, the program that would follow is tried, for one that does not even start would cost every mount. */
#include "vinefs/door_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIAL_MSEC 5000
#define DELETED " (deleted)" /* what the kernel puts behind the path of a program whose file was replaced */

struct upgrade_job {
	struct job job;
	struct fetch_work work;
	struct door *door;
	char *program;
	char version[128];
	int error;
	bool is_working;
};

static void count(void *arg, const struct mounts_info *i)
{
	unsigned *n = arg;
	assert(i->number);
	++*n;
}

static struct wire_node_state make_state(const struct door *d)
{
	unsigned n = 0;
	mounts_each(d->settings.mounts, count, &n);
	uint32_t n_clients = 0;
	list_foreach (&d->clients, const struct client, link, c)
		n_clients += c != NULL;
	return (struct wire_node_state){.pid = (uint32_t)getpid(),
					.version = PACKAGE_VERSION,
					.since_usec = d->since_usec,
					.n_mounts = n,
					.n_clients = n_clients};
}

bool door_is_used(const struct door *d)
{
	const struct wire_node_state m = make_state(d);
	return m.n_clients || m.n_mounts;
}

void door_ask_node(struct client *c, uint64_t id)
{
	const struct wire_node_state m = make_state(c->door);
	conn_reply(c->conn, id, WIRE_NODE_STATE, &m);
}

/* ---- the trial, in the pool */

static int spawn(const char *program, int out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	char *argv[] = {(char[]){"vinefs"}, (char[]){"--version"}, NULL};
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	int r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	/* Our signals are blocked; its own are to end it. */
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (!r)
		r = posix_spawn(pid, program, &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

/* Its first line, or that it says nothing in time. */
static int hear(int fd, char *text, size_t room)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n = poll(&p, 1, TRIAL_MSEC) > 0 ? read(fd, text, room - 1) : -1;
	if (n < 0)
		return -ETIMEDOUT;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return 0;
}

static void run_trial(struct fetch_work *w)
{
	struct upgrade_job *x = container_of(w, struct upgrade_job, work);
	int fds[2], status = 0;
	pid_t pid;
	assert(x->is_working);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		x->error = -errno;
		return;
	}
	x->error = spawn(x->program, fds[1], &pid);
	close(fds[1]);
	if (!x->error) {
		x->error = hear(fds[0], x->version, sizeof x->version);
		if (x->error)
			kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) < 0)
			x->error = x->error ? x->error : -errno;
		else if (!x->error && (status || !*x->version))
			x->error = -ENOEXEC;
	}
	close(fds[0]);
}

/* ---- making way */

static void free_upgrade(struct upgrade_job *x)
{
	assert(!x->is_working);
	job_end(&x->job);
	free(x->program);
	free(x);
}

static void on_upgrade_stop(struct job *j)
{
	struct upgrade_job *x = container_of(j, struct upgrade_job, job);
	if (!x->is_working)
		free_upgrade(x);
}

static void on_tried(struct fetch_work *w, bool is_run)
{
	struct upgrade_job *x = container_of(w, struct upgrade_job, work);
	x->is_working = false;
	if (!is_run)
		x->error = -ECANCELED;
	/* Of whoever asked and went away it is not known whether he still wants it. */
	if (x->error) {
		job_fail(&x->job, x->error, "%s, the program now installed, does not run: %s; nothing was changed",
			 x->program, strerror(-x->error));
	} else if (x->job.client) {
		const struct wire_node_state m = make_state(x->door);
		log_info("%s is now %s", x->program, x->version);
		job_reply(&x->job, WIRE_NODE_STATE, &m);
		x->door->settings.upgrade(x->door->settings.arg);
	}
	free_upgrade(x);
}

/* What the keeper will execute: the path from which this process came. */
static char *find_program(void)
{
	char exe[PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	size_t n_mark = strlen(DELETED);
	if (n > (ssize_t)n_mark && streq(exe + n - n_mark, DELETED) && access(exe, F_OK) < 0)
		exe[n - (ssize_t)n_mark] = 0;
	return xstrdup(exe);
}

void door_node_upgrade(struct client *c, uint64_t id)
{
	struct upgrade_job *x = NEW(struct upgrade_job);
	x->door = c->door;
	x->program = find_program();
	x->work = (struct fetch_work){.run = run_trial, .on_done = on_tried};
	x->is_working = true;
	job_start(&x->job, c, id, on_upgrade_stop);
	fetch_work(c->door->settings.fetch, &x->work);
}
