/* SPDX-License-Identifier: Apache-2.0
 * TARGETS view: what a task in a view costs over bare fork and exec of the same program: one tree and 10 files at paths that the host lacks, a PID namespace of its own,
 * its working directory made, `true` run, and the end heard of. The real keeper and the real steps; this program is its vinefs. Without and with an overlay, as
 * root and as an ordinary user. A directory of the disk stands for the tree: what is mounted is bound in either case.
 * And what it costs to record what a task opens: one that reads 1,000 files, with and without. */
#include "common/loop.h"
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/scratch.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/attempt.h"
#include "vinefs/run/hand.h"
#include "vinefs/run/removal.h"
#include "vinefs/run/view.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FILES = 10,
	OPENED = 1000,
	ROUNDS = 300,
	RECORD_ROUNDS = 50,
	ORDINARY_ID = 65534,
	WAIT_MSEC = 20000,
	LIMIT_SEC = 120,
	FAILED = 125 /* a vinefs that ends so is not started again */
};
#define READ_ALL "cat /vine-bench-lacks/tree/opened/* >/dev/null"
#define AS_VINEFS "VINE_BENCH_VIEW" /* the directory, for the process that the keeper starts */

static _Noreturn void fail(const char *what, int error)
{
	fprintf(stderr, "view: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(FAILED);
}

/* ---- the keeper's vinefs */

struct node {
	struct hand hand;
	struct loop *loop;
	const char *directory;
	char *state;
	int mounts, sandboxes;
	struct removal *removal;
	uint64_t last_attempt;
	bool is_listed, is_over;
	struct keeper_report end;
};

static void on_report(struct hand *h, const struct keeper_report *r)
{
	struct node *n = container_of(h, struct node, hand);
	n->is_listed |= r->type == KEEPER_LISTED;
	if (r->type != KEEPER_ENDED && r->type != KEEPER_FAILED)
		return;
	n->end = *r;
	n->is_over = true;
}

static void on_loss(struct hand *h)
{
	(void)h;
	fail("the keeper is gone", ECONNRESET);
}

static void await(struct node *n, const bool *what)
{
	double end_sec = bench_now_sec() + WAIT_MSEC / 1000;
	while (!*what) {
		if (bench_now_sec() > end_sec)
			fail("the keeper does not answer", ETIMEDOUT);
		loop_turn(n->loop, 100);
	}
}

static void make_stem(struct node *n)
{
	char room[CMSG_SPACE(3 * sizeof(int))];
	struct keeper_mount m = {.type = KEEPER_STEM, .mount = 1};
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct timeval limit = {.tv_sec = WAIT_MSEC / 1000};
	setsockopt(n->mounts, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (send(n->mounts, &m, sizeof m, MSG_NOSIGNAL) != sizeof m)
		fail("ask for a stem", errno);
	do {
		/* Its descriptors stay open with this process: nobody reads from the mount, and it must not end. */
		struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
		if (recvmsg(n->mounts, &h, MSG_CMSG_CLOEXEC) != sizeof m)
			fail("no stem", errno);
	} while (m.type != KEEPER_STEM_MADE);
	if (m.error) {
		printf("view: cannot run here: namespaces: %s\n", strerror(m.error < 0 ? -m.error : m.error));
		exit(77);
	}
}

struct wanted {
	struct run_input inputs[FILES + 1];
	struct wire_input bindings[FILES + 1];
	char *texts[2 * (FILES + 1)];
	struct wire_start start;
	struct how how;
	const char *const *argv;
	uint32_t n_argv, flags;
};

static const char *const argv_true[] = {"/bin/true"}, *const argv_read[] = {"/bin/sh", "-c", READ_ALL};

static void want(const struct node *n, struct wanted *w, bool is_overlay)
{
	struct conf_error e;
	*w = (struct wanted){.start = {.task = 1}, .argv = argv_true, .n_argv = 1, .flags = KEEPER_IN_VIEW};
	for (unsigned i = 0; i <= FILES; i++) {
		bool is_file = i > 0;
		char *at = is_file ? xasprintf("%s/files/%u", n->directory, i) : xasprintf("%s/tree", n->directory);
		char *path = is_file ? xasprintf("/vine-bench-lacks/files/%u", i) : xstrdup("/vine-bench-lacks/tree");
		w->texts[2 * i] = at;
		w->texts[2 * i + 1] = path;
		w->bindings[i] =
			(struct wire_input){.item = i + 1, .path = path, .mode = is_overlay && !is_file ? 2 : 1};
		w->inputs[i] = (struct run_input){
			.item = i + 1, .path = path, .at = at, .mode = w->bindings[i].mode, .is_file = is_file};
	}
	w->start.directory = "";
	w->start.inputs.at = w->bindings;
	w->start.inputs.n = FILES + 1;
	if (how_read(&w->start.how, &w->how, &e))
		fail(e.text, EINVAL);
}

static void unwant(struct wanted *w)
{
	for (size_t i = 0; i < countof(w->texts); i++)
		free(w->texts[i]);
	how_fini(&w->how);
}

static void make_all(const struct view *v)
{
	for (size_t i = 0; i < v->n_makes; i++) {
		const struct view_make *m = &v->makes[i];
		int r = m->is_file ? path_write(m->path, "", 0, 0600, false) : path_make_dirs(m->path, 0700);
		if (r)
			fail(m->path, r);
	}
}

/* A line for each file, at least. */
static void check_record(const char *sandbox)
{
	struct stat st;
	_free_ char *path = path_join(sandbox, "record");
	if (stat(path, &st) < 0 || st.st_size < OPENED * (off_t)strlen("/vine-bench-lacks/tree/opened/"))
		fail("the record is not there, or not whole", EIO);
}

/* From nothing to the end heard of, in milliseconds. */
static double run_task(struct node *n, struct host *host, struct wanted *w)
{
	static const char *const hidden[] = {NULL};
	uint64_t attempt = ++n->last_attempt;
	double began_sec = bench_now_sec();
	_free_ char *sandbox = xasprintf("%s/s/%llu", n->state, (unsigned long long)attempt);
	_free_ char *out = path_join(sandbox, "out"), *err = path_join(sandbox, "err");
	struct view v = {0};
	struct conf_error e;
	w->start.attempt = attempt;
	const struct view_asked asked = {.start = &w->start,
					 .how = &w->how,
					 .state = n->state,
					 .sandbox = sandbox,
					 .inputs = w->inputs,
					 .n_inputs = FILES + 1,
					 .hidden = hidden,
					 .host = host,
					 .is_view = true,
					 .is_root = geteuid() == 0,
					 .has_user = geteuid() != 0};
	if (!removal_reuse(n->removal, attempt) && attempt_make_sandbox(n->sandboxes, attempt))
		fail(sandbox, errno);
	if (view_compose(&asked, &v, &e))
		fail(e.text, EINVAL);
	make_all(&v);
	const struct hand_start s = {.attempt = attempt,
				     .task = 1,
				     .directory = v.directory,
				     .out = out,
				     .err = err,
				     .argv = w->argv,
				     .n_argv = w->n_argv,
				     .flags = w->flags,
				     .mask = 022,
				     .stem = 1,
				     .kept = v.kept,
				     .steps = v.steps,
				     .n_steps = v.n_steps,
				     .n_kept = v.n_kept};
	n->is_over = false;
	if (hand_send_start(&n->hand, &s))
		fail("start", EINVAL);
	await(n, &n->is_over);
	double msec = (bench_now_sec() - began_sec) * 1e3;
	if (n->end.type != KEEPER_ENDED || n->end.status)
		fail(n->end.what, n->end.error ? n->end.error : EIO);
	if (w->flags & KEEPER_RECORDED)
		check_record(sandbox);
	hand_send_taken(&n->hand, attempt);
	removal_allow(n->removal, attempt);
	removal_add(n->removal, attempt, NULL);
	view_fini(&v);
	return msec;
}

static double run_bare(void)
{
	int status = -1;
	double began_sec = bench_now_sec();
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fail("the bare program", errno);
	return (bench_now_sec() - began_sec) * 1e3;
}

/* The medians of the differences; printed, and told as the last thing of all to who waits for it. */
static double compare(struct node *n, struct host *host, bool is_overlay)
{
	unsigned n_rounds = bench_is_quick() ? 10 : ROUNDS;
	_free_ double *bare = xcalloc(n_rounds, sizeof *bare), *over = xcalloc(n_rounds, sizeof *over);
	struct wanted w;
	want(n, &w, is_overlay);
	for (unsigned i = 0; i < 5; i++)
		run_task(n, host, &w);
	for (unsigned i = 0; i < n_rounds; i++) {
		bare[i] = run_bare();
		over[i] = run_task(n, host, &w) - bare[i];
	}
	unwant(&w);
	struct spread b = spread_of(bare, n_rounds), o = spread_of(over, n_rounds);
	printf("%-6s %-16s bare %.3f ms (%.3f .. %.3f), view over it %.3f ms (%.3f .. %.3f), p99 %.3f\n",
	       geteuid() == 0 ? "root" : "user", is_overlay ? "with overlay" : "without overlay", b.median, b.low,
	       b.high, o.median, o.low, o.high, over[n_rounds * 99 / 100]);
	fflush(stdout);
	return o.median;
}

/* The median of the ratios of pairs. */
static double compare_recorded(struct node *n, struct host *host)
{
	unsigned n_rounds = bench_is_quick() ? 5 : RECORD_ROUNDS;
	_free_ double *plain = xcalloc(n_rounds, sizeof *plain), *recorded = xcalloc(n_rounds, sizeof *recorded);
	_free_ double *ratio = xcalloc(n_rounds, sizeof *ratio);
	struct wanted w;
	want(n, &w, false);
	w.argv = argv_read;
	w.n_argv = countof(argv_read);
	run_task(n, host, &w);
	for (unsigned i = 0; i < n_rounds; i++) {
		w.flags = KEEPER_IN_VIEW;
		plain[i] = run_task(n, host, &w);
		w.flags |= KEEPER_RECORDED;
		recorded[i] = run_task(n, host, &w);
		ratio[i] = recorded[i] / plain[i];
	}
	unwant(&w);
	struct spread p = spread_of(plain, n_rounds), r = spread_of(recorded, n_rounds), x = spread_of(ratio, n_rounds);
	printf("%-6s %u files read   %.2f ms (%.2f .. %.2f), recorded %.2f ms (%.2f .. %.2f), ratio %.2f (%.2f .. "
	       "%.2f), "
	       "%.1f us a file\n",
	       geteuid() == 0 ? "root" : "user", OPENED, p.median, p.low, p.high, r.median, r.low, r.high, x.median,
	       x.low, x.high, (r.median - p.median) * 1e3 / OPENED);
	fflush(stdout);
	return x.median;
}

enum { FOUND_BARE, FOUND_OVERLAY, FOUND_RECORDED, FOUND };

static int be_vinefs(const char *directory)
{
	struct node n = {.directory = directory, .state = path_join(directory, "state")};
	struct host host;
	_free_ char *told = path_join(directory, "told");
	double found[FOUND];
	n.mounts = atoi(getenv(KEEPER_MOUNTS_FD));
	n.loop = loop_new();
	if (!n.loop || hand_init(&n.hand, n.loop, atoi(getenv(KEEPER_FD)), on_report, on_loss))
		fail("the keeper's end", errno);
	await(&n, &n.is_listed);
	make_stem(&n);
	_free_ char *sandboxes = path_join(n.state, "s");
	n.sandboxes = open(sandboxes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n.removal = n.sandboxes < 0 ? NULL : removal_new(n.sandboxes);
	if (!n.removal)
		fail(sandboxes, errno);
	host_init(&host, n.loop, NULL);
	found[FOUND_BARE] = compare(&n, &host, false);
	found[FOUND_OVERLAY] = compare(&n, &host, true);
	found[FOUND_RECORDED] = compare_recorded(&n, &host);
	int r = path_write(told, (const char *)found, sizeof found, 0600, false);
	if (r)
		fail(told, r);
	host_fini(&host);
	removal_free(n.removal);
	hand_send_leave(&n.hand);
	hand_fini(&n.hand);
	return 0;
}

/* ---- around it */

static const char *const users[] = {"root", "user"};

static void prepare(const char *directory, bool is_root)
{
	_free_ char *command =
		xasprintf("mkdir -p %s/tree/d %s/tree/opened %s/files %s/state/root %s/state/view %s/state/s && "
			  "for i in $(seq %u); do : >%s/files/$i; done && "
			  "for i in $(seq %u); do echo $i >%s/tree/opened/$i; done%s%s",
			  directory, directory, directory, directory, directory, directory, FILES, directory, OPENED,
			  directory, is_root ? "" : " && chown -R 65534:65534 ", is_root ? "" : directory);
	if (system(command) != 0)
		fail(directory, EIO);
}

/* Runs a keeper of this user to its end. */
static int run_keeper(const char *directory, bool is_root)
{
	char self[PATH_MAX] = "";
	const char *keeper = getenv("VINE_KEEPER");
	_free_ char *state = xasprintf("--state=%s/state", directory);
	int status = -1;
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		fail("/proc/self/exe", errno);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!is_root && (setgroups(0, NULL) < 0 || setresgid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID) < 0 ||
				 setresuid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID) < 0))
			_exit(126);
		setenv(AS_VINEFS, directory, 1);
		open("/dev/null", O_RDONLY);
		execlp(keeper && *keeper ? keeper : "vine-keeper", "vine-keeper", state, "--lock=0",
		       "--grace-msec=1000", "--", self, self, (char *)NULL);
		_exit(126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("the keeper", errno);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void body(void *arg)
{
	const struct scratch *s = arg;
	double found[2][FOUND] = {{0}};
	bool is_told = false;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    chmod(s->directory, 0755) < 0 || !scratch_open_fuse(s->directory))
		bench_cannot(s->name, "no mounts of its own, or no /dev/fuse");
	for (int i = 0; i < 2; i++) {
		_free_ char *directory = path_join(s->directory, users[i]), *told = path_join(directory, "told");
		size_t n = 0;
		prepare(directory, i == 0);
		int status = run_keeper(directory, i == 0);
		_free_ char *text = path_read(told, sizeof found[i], &n);
		if (text && n == sizeof found[i]) {
			memcpy(found[i], text, sizeof found[i]);
			is_told = true;
		} else if (i == 0 || status == FAILED) {
			exit(status == 77 ? 77 : 1);
		} else {
			printf("%s: not here (status %d)\n", users[i], status);
		}
	}
	assert(is_told);
	printf("a task that reads %u files takes %.2f times as long with --record (root), %.2f (user)\n", OPENED,
	       found[0][FOUND_RECORDED], found[1][FOUND_RECORDED]);
	bench_end("view", max(found[0][FOUND_BARE], found[1][FOUND_BARE]), "ms over bare fork and exec",
		  "1.0; with an overlay 1.6",
		  "\"root_msec\":%.4g,\"user_msec\":%.4g,\"root_overlay_msec\":%.4g,\"user_overlay_msec\":%.4g,"
		  "\"root_recorded\":%.4g,\"user_recorded\":%.4g",
		  found[0][FOUND_BARE], found[1][FOUND_BARE], found[0][FOUND_OVERLAY], found[1][FOUND_OVERLAY],
		  found[0][FOUND_RECORDED], found[1][FOUND_RECORDED]);
}

int main(void)
{
	const char *directory = getenv(AS_VINEFS);
	struct scratch s;
	if (directory)
		return be_vinefs(directory);
	if (geteuid() != 0)
		bench_cannot("view", "needs root, to be two users");
	scratch_make(&s, "view", 50);
	return scratch_run(&s, LIMIT_SEC, body, &s);
}
