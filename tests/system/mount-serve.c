/* SPDX-License-Identifier: Apache-2.0
 * Seals directories and files into memory and mounts them, with bytes that can be made slow, late, wrong or absent:
 *
 *   mount-serve [OPTION...] DIR [NAME=]SOURCE...
 *   --single --threads=N --deadline-msec=N --device=PATH --helper --others --control=FIFO
 *   --hold    a process above holds the connection and starts the server again when it was killed
 *
 * Lines of the FIFO are "ID COMMAND [ARG...]", answers "ID: TEXT" and at last "ID done STATUS":
 *   stall on|off, later on|off (all reads go through the pool), delay USEC, fail on|off, short on|off, numbers, add NAME SOURCE, remove NAME,
 *   swap NAME SOURCE, hot NAME, warm NAME, ahead KIB, unmount [force], fail-pid PID, hand-over */
#include "tests/unit/memory_store.h"
#include "vinefs/mount/mount.h"

#include "common/list.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_POOL 4
#define TREES_MAX 64

struct shared { /* outlives a server */
	_Atomic bool is_stalled, is_later, is_failing, is_short, is_answered;
	_Atomic unsigned delay_usec;
	_Atomic unsigned n_table;
	uint8_t table[64 << 10];
};

struct served {
	char *name;
	struct tree *index;
	bool is_added;
	_Atomic unsigned n_released;
};

struct job {
	struct list link;
	struct served *tree;
	struct mount_range range;
	struct mount_request *q;
};

static struct memory_store store;
static struct served trees[TREES_MAX];
static unsigned n_trees;
static struct shared *shared;
static struct mount *mounted;
static const char *directory, *control_path;
static bool is_single, is_ending, is_handed_over;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pool_changed = PTHREAD_COND_INITIALIZER;
static struct list jobs = LIST_INIT(jobs);

static int read_bytes(struct served *t, const struct mount_range *r, void *p)
{
	if (shared->is_failing)
		return -EIO;
	return store.reader.read(store.reader.arg, tree_blob(t->index, r->blob), r->offset, p, r->n);
}

static ssize_t read_now(void *arg, void *tree, const struct mount_range *r, void *p)
{
	(void)arg;
	if (shared->is_later || shared->is_stalled)
		return -EAGAIN;
	int e = read_bytes(tree, r, p);
	return e < 0 ? e : shared->is_short ? (ssize_t)r->n / 2 : (ssize_t)r->n;
}

static void read_later(void *arg, void *tree, const struct mount_range *r, struct mount_request *q)
{
	(void)arg;
	struct job *j = NEW(struct job);
	*j = (struct job){.tree = tree, .range = *r, .q = q};
	list_init(&j->link);
	pthread_mutex_lock(&pool_lock);
	list_append(&jobs, &j->link);
	pthread_cond_signal(&pool_changed);
	pthread_mutex_unlock(&pool_lock);
}

static void *work(void *arg)
{
	(void)arg;
	_free_ uint8_t *bytes = xmalloc(1 << 20);
	pthread_mutex_lock(&pool_lock);
	for (;;) {
		struct job *j = list_first(&jobs, struct job, link);
		if (is_ending && !j)
			break;
		if (!j || (shared->is_stalled && !is_ending)) {
			pthread_cond_wait(&pool_changed, &pool_lock);
			continue;
		}
		list_remove(&j->link);
		bool is_late = is_ending;
		pthread_mutex_unlock(&pool_lock);
		if (shared->delay_usec && !is_late)
			usleep(shared->delay_usec);
		int e = is_late ? -EIO : read_bytes(j->tree, &j->range, bytes);
		mount_answer(j->q, bytes, e < 0 ? e : (ssize_t)j->range.n);
		free(j);
		pthread_mutex_lock(&pool_lock);
	}
	pthread_mutex_unlock(&pool_lock);
	return NULL;
}

static void release(void *arg, void *tree)
{
	(void)arg;
	((struct served *)tree)->n_released++;
}

static int keep(void *arg, const void *table, size_t n)
{
	(void)arg;
	if (n > sizeof shared->table)
		return -ENOSPC;
	memcpy(shared->table, table, n);
	shared->n_table = (unsigned)n;
	return 0;
}

static struct served *seal(const char *spec)
{
	const char *equals = strchr(spec, '=');
	const char *path = equals ? equals + 1 : spec;
	struct served *s = &trees[n_trees];
	struct seal_options o = {.store = &store.store};
	struct seal_report errors = {0}, notes = {0};
	void *vti;
	size_t n;
	if (n_trees == TREES_MAX)
		return NULL;
	struct stat st;
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno
		: S_ISDIR(st.st_mode)        ? seal_directory(fd, path, &o, &vti, &n, &errors, &notes)
					     : seal_file(fd, path, &o, &vti, &n, &errors);
	for (unsigned i = 0; i < errors.n; i++)
		fprintf(stderr, "%s\n", errors.lines[i]);
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	if (r == 0)
		r = tree_take(vti, n, NULL, &s->index);
	if (r < 0) {
		log_errno(-r, "%s", path);
		return NULL;
	}
	s->name = equals ? xstrndup(spec, (size_t)(equals - spec)) : xstrdup("");
	n_trees++;
	return s;
}

static int add(struct served *s, bool is_swap)
{
	const struct mount_tree t = {.index = s->index, .arg = s};
	int r = is_swap ? mount_swap(mounted, s->name, &t) : mount_add(mounted, s->name, &t);
	s->is_added |= r == 0;
	return r;
}

static struct served *find(const char *name)
{
	for (unsigned i = n_trees; i-- > 0;) {
		if (streq(trees[i].name, name))
			return &trees[i];
	}
	return NULL;
}

static void say_numbers(const char *id)
{
	struct mount_numbers n;
	mount_get_numbers(mounted, &n);
	for (unsigned i = 0; i < MOUNT_OPCODES; i++) {
		if (n.requests[i])
			printf("%s: %s=%llu\n", id, mount_opcode_name(i), (unsigned long long)n.requests[i]);
	}
	printf("%s: requests=%llu\n%s: bytes=%llu\n", id, (unsigned long long)n.n_requests, id,
	       (unsigned long long)n.read_size);
	printf("%s: parked=%llu\n%s: waiting=%llu\n%s: late=%llu\n%s: interrupted=%llu\n%s: killed=%llu\n", id,
	       (unsigned long long)n.n_parked, id, (unsigned long long)n.n_waiting, id, (unsigned long long)n.n_late,
	       id, (unsigned long long)n.n_interrupted, id, (unsigned long long)n.n_killed);
}

static int say_hot(const char *id, const char *name)
{
	const struct served *s = find(name);
	uint32_t *nodes;
	size_t n;
	int r = s ? mount_hot(mounted, name, &nodes, &n) : -ENOENT;
	for (size_t i = 0; r == 0 && i < n; i++) {
		_free_ char *path = tree_path(s->index, nodes[i]);
		printf("%s: /%s\n", id, path);
	}
	if (r == 0)
		free(nodes);
	return r;
}

/* All of a tree, by a process of its own; within so long, if it is said. */
static int warm(const char *id, const char *name, const char *budget_usec)
{
	const struct served *s = find(name);
	if (!s)
		return -ENOENT;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct mount_warmed w;
		for (int fd = 3; fd < 100; fd++)
			close(fd);
		uint32_t n = tree_n_nodes(s->index);
		uint32_t *nodes = xcalloc(n, sizeof *nodes);
		for (uint32_t i = 0; i < n; i++)
			nodes[i] = i;
		_free_ char *root = *name ? xasprintf("%s/%s", directory, name) : xstrdup(directory);
		struct timespec now;
		clock_gettime(CLOCK_MONOTONIC, &now);
		uint64_t now_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
		uint64_t until_usec = budget_usec ? now_usec + strtoull(budget_usec, NULL, 10) : 0;
		int r = mount_warm(root, s->index, nodes, n, until_usec, &w);
		printf("%s: directories=%llu files=%llu bytes=%llu\n", id, (unsigned long long)w.n_directories,
		       (unsigned long long)w.n_files, (unsigned long long)w.size);
		fflush(stdout);
		_exit(r < 0);
	}
	int status;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -EIO;
}

static bool is_pid(void *arg, pid_t pid)
{
	return pid == *(const pid_t *)arg;
}

static int unmount(const char *id, bool is_forced)
{
	struct buf holders = {0};
	int r = mount_disconnect(directory, is_forced, &holders);
	_free_ char *text = buf_steal_text(&holders);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		printf("%s: %s\n", id, line);
	buf_fini(&holders);
	return r;
}

static int do_command(const char *id, const char *what, const char *a, const char *b)
{
	bool on = a && streq(a, "on");
	if (streq(what, "stall"))
		shared->is_stalled = on;
	else if (streq(what, "later"))
		shared->is_later = on;
	else if (streq(what, "fail"))
		shared->is_failing = on;
	else if (streq(what, "short"))
		shared->is_short = on;
	else if (streq(what, "delay"))
		shared->delay_usec = (unsigned)atoi(a);
	else if (streq(what, "numbers"))
		say_numbers(id);
	else if (streq(what, "hot"))
		return say_hot(id, a ? a : "");
	else if (streq(what, "warm"))
		return warm(id, a ? a : "", b);
	else if (streq(what, "ahead"))
		return mount_set_read_ahead(directory, (unsigned)atoi(a));
	else if (streq(what, "remove"))
		return mount_remove(mounted, a ? a : "");
	else if (streq(what, "unmount"))
		return unmount(id, a && streq(a, "force"));
	else if (streq(what, "fail-pid")) {
		pid_t pid = atoi(a);
		printf("%s: %u\n", id, mount_fail_reads(mounted, is_pid, &pid));
	} else if (streq(what, "add") || streq(what, "swap")) {
		_free_ char *spec = xasprintf("%s=%s", a, b);
		struct served *s = seal(spec);
		return s ? add(s, streq(what, "swap")) : -EINVAL;
	} else if (streq(what, "hand-over")) {
		is_handed_over = true;
	} else {
		return -EINVAL;
	}
	pthread_mutex_lock(&pool_lock);
	pthread_cond_broadcast(&pool_changed);
	pthread_mutex_unlock(&pool_lock);
	return 0;
}

static void obey(char *line)
{
	char *at[4] = {NULL};
	unsigned n = 0;
	for (char *word = strtok(line, " \n"); word && n < countof(at); word = strtok(NULL, " \n"))
		at[n++] = word;
	if (n < 2)
		return;
	int r = do_command(at[0], at[1], at[2], at[3]);
	printf("%s done %d\n", at[0], r);
	fflush(stdout);
}

/* Until SIGTERM or a hand-over. */
static void listen_for_commands(int signals)
{
	char line[4096];
	struct pollfd at[2] = {{.fd = signals, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	FILE *control = control_path ? fopen(control_path, "r+e") : NULL;
	if (control) {
		setvbuf(control, NULL, _IONBF, 0); /* else poll would not see what is buffered */
		at[1].fd = fileno(control);
	}
	while (!is_handed_over) {
		if (poll(at, 2, -1) < 0 && errno != EINTR)
			break;
		if (at[0].revents)
			break;
		if (at[1].revents && fgets(line, sizeof line, control))
			obey(line);
	}
	if (control)
		fclose(control);
}

static void on_end(void *arg)
{
	(void)arg;
	printf("ended\n");
	fflush(stdout);
}

static int serve(struct mount_settings s, struct mount_connection *c, int signals)
{
	pthread_t pool[N_POOL];
	s.source = (struct mount_source){
		.read_now = read_now, .read_later = read_later, .release = release, .keep = keep, .on_end = on_end};
	mounted = mount_new(&s);
	int r = shared->n_table ? mount_restore(mounted, shared->table, shared->n_table) : 0;
	for (unsigned i = 0; i < n_trees && r == 0; i++)
		r = add(&trees[i], false);
	for (unsigned i = 0; i < N_POOL; i++)
		pthread_create(&pool[i], NULL, work, NULL);
	if (r == 0)
		r = mount_start(mounted, c);
	if (r < 0)
		return log_errno(-r, "mount-serve");
	shared->is_answered = true;
	printf("mount-serve ready pid=%d\n", getpid());
	fflush(stdout);
	listen_for_commands(signals);
	if (!is_handed_over)
		mount_disconnect(directory, true, NULL);
	mount_stop(mounted, is_handed_over);
	pthread_mutex_lock(&pool_lock);
	is_ending = true;
	pthread_cond_broadcast(&pool_changed);
	pthread_mutex_unlock(&pool_lock);
	for (unsigned i = 0; i < N_POOL; i++)
		pthread_join(pool[i], NULL);
	mount_free(mounted);
	for (unsigned i = 0; i < n_trees; i++) {
		if (trees[i].is_added && !trees[i].n_released)
			fprintf(stderr, "%s was not released\n", trees[i].name);
	}
	return is_handed_over ? -EINTR : 0;
}

/* Starts the server again until it ends of its own will. */
static int hold(const struct mount_settings *s, struct mount_connection *c, int signals)
{
	for (unsigned n = 0;; n++) {
		int status;
		struct signalfd_siginfo signal;
		fflush(stdout);
		c->is_answered = shared->is_answered && n % 2; /* else it is not known, and found out */
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			exit(serve(*s, c, signals) < 0 ? 9 : 0);
		}
		do {
			if (read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal &&
			    signal.ssi_signo == SIGTERM)
				kill(pid, SIGTERM);
		} while (waitpid(pid, &status, WNOHANG) != pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) != 9) {
			mount_disconnect(directory, true, NULL);
			return WEXITSTATUS(status);
		}
		is_handed_over = false;
	}
}

static bool option(const char *word, const char *name, const char **value)
{
	size_t n = strlen(name);
	if (strncmp(word, name, n) != 0 || (word[n] && word[n] != '='))
		return false;
	*value = word[n] ? word + n + 1 : "";
	return true;
}

int main(int argc, char **argv)
{
	struct mount_settings s = {.uid = getuid(), .gid = getgid()};
	struct mount_place place = {.name = "test"};
	struct mount_connection c;
	char error[MOUNT_ERROR_SIZE];
	const char *v;
	bool is_held = false;
	int i = 1;
	log_init("mount-serve", LOG_LEVEL_INFO, 2, false);
	for (; i < argc && has_prefix(argv[i], "--"); i++) {
		if (option(argv[i], "--single", &v))
			s.is_single = is_single = true;
		else if (option(argv[i], "--threads", &v))
			s.n_threads = (unsigned)atoi(v);
		else if (option(argv[i], "--deadline-msec", &v))
			s.deadline_usec = (uint64_t)atoi(v) * 1000;
		else if (option(argv[i], "--device", &v))
			place.device = v;
		else if (option(argv[i], "--helper", &v))
			place.is_by_helper = true;
		else if (option(argv[i], "--others", &v))
			place.is_for_others = true;
		else if (option(argv[i], "--control", &v))
			control_path = v;
		else if (option(argv[i], "--hold", &v))
			is_held = true;
		else
			return fprintf(stderr, "unknown option %s\n", argv[i]), 125;
	}
	if (i >= argc)
		return 125;
	directory = place.directory = argv[i++];
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory_store_init(&store);
	store.store.recall_file = NULL; /* a list: slow with many files */
	store.store.learn_file = NULL;
	for (; i < argc; i++) {
		if (!seal(argv[i]))
			return 125;
	}
	/* The place is not asked: a dead mount may lie there. */
	s.is_file = s.is_single && n_trees && tree_node(trees[0].index, 0)->type == TREE_FILE;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (is_held)
		sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (mount_connect(&place, &c, error) < 0)
		return fprintf(stderr, "%s\n", error), 125;
	sigset_t own = set;
	sigdelset(&own, SIGCHLD);
	int signals = signalfd(-1, is_held ? &set : &own, SFD_CLOEXEC);
	int r = is_held ? hold(&s, &c, signals) : serve(s, &c, signals);
	for (unsigned k = 0; k < n_trees; k++) {
		tree_free(trees[k].index);
		free(trees[k].name);
	}
	close(c.fd);
	close(signals);
	memory_store_fini(&store);
	return r < 0 ? 1 : r;
}
