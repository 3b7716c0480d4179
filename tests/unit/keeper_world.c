/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_world.h"

#include "common/path.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RELAY "TEST_KEEPER_RELAY"

/* ---- the vinefs that the keeper starts */

static int address_of(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(a->sun_path, sizeof a->sun_path, "%s", path) < (int)sizeof a->sun_path ? 0 : -1;
}

__attribute__((constructor)) static void relay(void)
{
	const char *path = getenv(RELAY), *number = getenv(KEEPER_FD), *mounts = getenv(KEEPER_MOUNTS_FD);
	struct sockaddr_un a;
	if (!path || !number || !mounts)
		return;
	int pair[2] = {atoi(number), atoi(mounts)}, fd = socket(AF_UNIX, SOCK_STREAM, 0), pid = getpid();
	char room[CMSG_SPACE(sizeof pair)] = {0};
	struct iovec v = {.iov_base = &pid, .iov_len = sizeof pid};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof pair);
	memcpy(CMSG_DATA(c), pair, sizeof pair);
	if (address_of(path, &a) || connect(fd, (struct sockaddr *)&a, sizeof a) || sendmsg(fd, &m, 0) < 0)
		_exit(125);
	/* One byte is the status to exit with; a test that has turned to the next vinefs wants this one killed. */
	char status = 125;
	while (read(fd, &status, 1) != 1)
		pause();
	_exit(status);
}

/* ---- the bench */

static void forget_stem(struct bench *b)
{
	for (int i = 0; i < 3; i++)
		b->stem_fds[i] = close_fd(b->stem_fds[i]);
}

int64_t now_msec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void meet(struct bench *b)
{
	char room[CMSG_SPACE(2 * sizeof(int))];
	struct iovec v = {.iov_base = &b->vinefs, .iov_len = sizeof b->vinefs};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct timeval limit = {.tv_sec = DEADLINE_MSEC / 1000};
	setsockopt(b->listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	b->relay = close_fd(b->relay);
	b->fd = close_fd(b->fd);
	b->mounts_fd = close_fd(b->mounts_fd);
	b->n_listed = 0;
	b->relay = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
	ASSERT(b->relay >= 0);
	ASSERT_EQ(recvmsg(b->relay, &m, MSG_CMSG_CLOEXEC), sizeof b->vinefs);
	int fds[2];
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fds);
	b->fd = fds[0];
	b->mounts_fd = fds[1];
	limit.tv_sec = DEADLINE_MSEC / 1000;
	setsockopt(b->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(b->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	setsockopt(b->mounts_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

void hear(struct bench *b)
{
	struct keeper_report r;
	ASSERT_EQ(recv(b->fd, &r, sizeof r, MSG_WAITALL), sizeof r);
	ASSERT_EQ(r.length, sizeof r);
	b->n_started += r.type == KEEPER_STARTED;
	b->n_ended += r.type == KEEPER_ENDED;
	b->n_failed += r.type == KEEPER_FAILED;
	b->n_lost += r.type == KEEPER_LOST;
	b->n_listed += r.type == KEEPER_LISTED;
	b->n_stopping += r.type == KEEPER_STOPPING;
	b->n_gone += r.type == KEEPER_GONE;
	b->n_done += r.type == KEEPER_DONE;
	if (r.type == KEEPER_DONE)
		b->done = r;
	if (r.type == KEEPER_ENDED || r.type == KEEPER_FAILED || r.type == KEEPER_LOST)
		b->last = r;
	if (r.type == KEEPER_STARTED)
		b->started = r;
}

/* As a host is: all that is mounted is shared. A device of its own, since the system's may be root's. */
static void become(uid_t uid, const char *state, unsigned long propagation)
{
	char device[4200];
	snprintf(device, sizeof device, "%s/fuse", state);
	bool is_apart = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			mount(NULL, "/", NULL, MS_REC | propagation, NULL) == 0;
	if (is_apart && access(device, F_OK) &&
	    (mknod(device, S_IFCHR | 0666, makedev(10, 229)) || chmod(device, 0666)))
		_exit(126);
	if (is_apart)
		mount(device, "/dev/fuse", NULL, MS_BIND, NULL);
	if (uid && (setgroups(0, NULL) || setgid(uid) || setuid(uid)))
		_exit(126);
}

void start_keeper(struct bench *b, const char *grace)
{
	const char *told = getenv("VINE_KEEPER");
	char self[4096] = "", state[4200];
	ASSERT(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	snprintf(state, sizeof state, "--state=%s", b->state);
	b->keeper = fork();
	if (b->keeper == 0) {
		setenv(RELAY, b->socket_path, 1);
		if (b->uid != getuid() || getuid() == 0)
			become(b->uid, b->state, b->is_private ? MS_PRIVATE : MS_SHARED);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(told ? told : "vinefs/vine-keeper", "vine-keeper", state, "--lock=0", grace, "--", self, self,
		      NULL);
		_exit(126);
	}
	ASSERT(b->keeper > 0);
	meet(b);
	while (!b->n_listed)
		hear(b);
}

struct bench begin(const char *grace)
{
	return begin_as(grace, getuid());
}

struct bench begin_as(const char *grace, uid_t uid)
{
	return begin_where(grace, uid, false);
}

struct bench begin_where(const char *grace, uid_t uid, bool is_private)
{
	struct sockaddr_un a;
	struct bench b = {.state = xstrdup(unit_tmpdir()),
			  .uid = uid,
			  .is_private = is_private,
			  .relay = -1,
			  .fd = -1,
			  .mounts_fd = -1,
			  .stem_fds = {-1, -1, -1}};
	b.socket_path = xasprintf("%s/relay", b.state);
	b.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_EQ(address_of(b.socket_path, &a), 0);
	ASSERT_EQ(bind(b.listener, (struct sockaddr *)&a, sizeof a), 0);
	ASSERT_EQ(listen(b.listener, 10), 0);
	if (uid != getuid()) {
		ASSERT_EQ(chown(b.state, uid, uid), 0);
		ASSERT_EQ(chmod(b.socket_path, 0777), 0);
	}
	start_keeper(&b, grace);
	return b;
}

static int wait_for_keeper(const struct bench *b)
{
	int status = -1;
	for (int64_t end = now_msec() + DEADLINE_MSEC; now_msec() < end;) {
		pid_t pid = waitpid(b->keeper, &status, WNOHANG);
		if (pid == b->keeper)
			return status;
		usleep(1000);
	}
	kill(b->keeper, SIGKILL);
	waitpid(b->keeper, &status, 0);
	return -1;
}

void finish(struct bench *b)
{
	kill(b->keeper, SIGTERM);
	while (!b->n_gone)
		hear(b);
	ASSERT_EQ(write(b->relay, "\0", 1), 1);
	int status = wait_for_keeper(b);
	ASSERT(WIFEXITED(status));
	ASSERT_EQ(WEXITSTATUS(status), 0);
	close_fd(b->relay);
	close_fd(b->listener);
	close_fd(b->fd);
	close_fd(b->mounts_fd);
	forget_stem(b);
	free(b->state);
	free(b->socket_path);
}

void say(struct bench *b, const void *p, size_t n)
{
	ASSERT_EQ(send(b->fd, p, n, MSG_NOSIGNAL), n);
}

void start(struct bench *b, uint64_t attempt, const char *const *argv, uint32_t n_argv, const char *path)
{
	struct keeper_request q = {.type = KEEPER_START, .attempt = attempt, .task = attempt + 1000};
	char *out = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&out, &n);
	fwrite(&q, sizeof q, 1, f);
	fprintf(f, "%s%c%c%s/out%lu%c%s/err%lu%c", b->state, 0, 0, b->state, attempt, 0, b->state, attempt, 0);
	for (uint32_t i = 0; i < n_argv; i++)
		fwrite(argv[i], strlen(argv[i]) + 1, 1, f);
	fprintf(f, "PATH=%s%c" KEEPER_MARK "%s/s/%lu%c", path, 0, b->state, attempt, 0);
	fflush(f);
	while (ftell(f) % 8)
		fputc(0, f);
	fclose(f);
	q.length = (uint32_t)n;
	q.n_argv = n_argv;
	q.n_environment = 2;
	memcpy(out, &q, sizeof q);
	say(b, out, n);
	free(out);
}

void shell(struct bench *b, uint64_t attempt, const char *script)
{
	start(b, attempt, (const char *[]){"sh", "-c", script}, 3, "/usr/bin:/bin");
}

void ask(struct bench *b, uint32_t type, uint64_t attempt, int signo, uint32_t grace_msec)
{
	struct keeper_request q = {
		.length = sizeof q, .type = type, .attempt = attempt, .signo = signo, .grace_msec = grace_msec};
	say(b, &q, sizeof q);
}

static uint32_t hear_mounts(struct bench *b)
{
	struct keeper_mount m;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr head = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	int fds[3] = {-1, -1, -1};
	ASSERT_EQ(recvmsg(b->mounts_fd, &head, MSG_CMSG_CLOEXEC), sizeof m);
	const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	unsigned n = c ? (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	if (n)
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	if (m.type == KEEPER_STEM_MADE) {
		forget_stem(b);
		memcpy(b->stem_fds, fds, sizeof fds);
		b->stem = m;
		b->n_stems++;
		b->n_stem_fds = n;
		return m.type;
	}
	b->n_held += m.type == KEEPER_HELD;
	for (unsigned i = 0; i < n; i++)
		close_fd(fds[i]);
	return m.type;
}

void hear_stem(struct bench *b)
{
	while (hear_mounts(b) != KEEPER_STEM_MADE)
		;
}

bool has_user_namespace(const struct bench *b)
{
	struct stat a, c;
	return fstat(b->stem_fds[0], &a) == 0 && fstat(b->stem_fds[1], &c) == 0 && a.st_ino != c.st_ino;
}

void hear_all_held(struct bench *b)
{
	while (hear_mounts(b) != KEEPER_ALL_HELD)
		;
}

bool make_stem(struct bench *b, uint64_t number)
{
	struct keeper_mount m = {.type = KEEPER_STEM, .mount = number};
	ASSERT_EQ(send(b->mounts_fd, &m, sizeof m, MSG_NOSIGNAL), sizeof m);
	hear_stem(b);
	ASSERT_EQ(b->stem.mount, number);
	return b->stem.error == 0;
}

static void ignore_report(struct hand *h, const struct keeper_report *r)
{
	(void)h;
	(void)r;
}

static void ignore_loss(struct hand *h)
{
	(void)h;
}

void send_by_hand(const struct bench *b, const struct hand_start *s,
		  int (*send_it)(struct hand *, const struct hand_start *))
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct hand h;
	ASSERT_EQ(hand_init(&h, l, dup(b->fd), ignore_report, ignore_loss), 0);
	ASSERT_EQ(send_it(&h, s), 0);
	/* It is small enough to leave at once. */
	ASSERT_EQ(h.out.n, 0);
	hand_fini(&h);
}

void shell_in_view(struct bench *b, uint64_t attempt, const char *script, struct hand_start s)
{
	const char *const argv[] = {"sh", "-c", script};
	_free_ char *out = xasprintf("%s/out%lu", b->state, attempt), *err = xasprintf("%s/err%lu", b->state, attempt);
	const char *const environment[] = {"PATH=/usr/bin:/bin"};
	s.attempt = attempt;
	s.out = s.out ? s.out : out;
	s.err = s.err ? s.err : err;
	s.directory = s.directory ? s.directory : b->state;
	s.flags |= KEEPER_IN_VIEW;
	s.mask = s.mask ? s.mask : 022;
	s.stem = s.stem ? s.stem : b->stem.mount;
	s.argv = s.argv ? s.argv : argv;
	s.n_argv = s.n_argv ? s.n_argv : 3;
	s.environment = environment;
	s.n_environment = 1;
	send_by_hand(b, &s, hand_send_start);
}

void wait_for_end(struct bench *b)
{
	unsigned n = b->n_ended + b->n_failed + b->n_lost;
	while (b->n_ended + b->n_failed + b->n_lost == n)
		hear(b);
}

char *content(const struct bench *b, const char *name)
{
	static char text[4096];
	char path[4200];
	snprintf(path, sizeof path, "%s/%s", b->state, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	close_fd(fd);
	return text;
}

bool poll_until_gone(pid_t pid)
{
	for (int64_t end = now_msec() + DEADLINE_MSEC; now_msec() < end; usleep(1000)) {
		char path[64], state = 0;
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		FILE *f = fopen(path, "re");
		if (!f)
			return true;
		int n = fscanf(f, "%*d (%*[^)]) %c", &state);
		fclose(f);
		if (n == 1 && state == 'Z')
			return true;
	}
	return false;
}

pid_t read_pid(const struct bench *b, const char *name)
{
	for (int64_t end = now_msec() + DEADLINE_MSEC; now_msec() < end; usleep(1000)) {
		const char *text = content(b, name);
		if (strchr(text, '\n'))
			return atoi(text);
	}
	return 0;
}

char *wait_for_content(const struct bench *b, const char *name)
{
	char *text = content(b, name);
	for (int64_t end = now_msec() + DEADLINE_MSEC; !*text && now_msec() < end; usleep(1000))
		text = content(b, name);
	return text;
}

/* ---- views */

#define NOBODY 65534

void make_directory(const struct bench *b, const char *name)
{
	_free_ char *path = path_join(b->state, name);
	ASSERT_EQ(mkdir(path, 0755), 0);
	ASSERT_EQ(chown(path, b->uid, b->uid == getuid() ? getgid() : b->uid), 0);
}

char *make_file(const struct bench *b, const char *name, const char *text)
{
	char *path = path_join(b->state, name);
	ASSERT_EQ(path_write(path, text, strlen(text), 0644, false), 0);
	ASSERT_EQ(chown(path, b->uid, b->uid == getuid() ? getgid() : b->uid), 0);
	return path;
}

void by_everyone(void (*run)(struct bench *b))
{
	const uid_t uids[] = {getuid(), NOBODY};
	for (size_t i = 0; i < (getuid() ? 1 : countof(uids)); i++) {
		struct bench b = begin_as("--grace-msec=1000", uids[i]);
		bool is_possible = make_stem(&b, 1);
		make_directory(&b, "root");
		if (is_possible)
			run(&b);
		finish(&b);
		/* Each has a state of its own. */
		_free_ char *clean = xasprintf("rm -rf %s/*", unit_tmpdir());
		ASSERT_EQ(system(clean), 0);
		if (!is_possible)
			SKIP("no namespaces, or no FUSE");
	}
}

struct view *view_new(const struct bench *b)
{
	struct view *v = NEW(struct view);
	v->root = path_join(b->state, "root");
	v->proc = xstrdup("/proc");
	v->steps[v->n++] = (struct view_step){.op = VIEW_ROOT, .to = v->root};
	return v;
}

void view_add(struct view *v, struct view_step s)
{
	ASSERT(v->n < countof(v->steps));
	v->steps[v->n++] = s;
}

struct hand_start view_done(struct view *v)
{
	view_add(v, (struct view_step){.op = VIEW_PIVOT, .to = v->root});
	view_add(v, (struct view_step){.op = VIEW_PROC, .to = v->proc});
	return (struct hand_start){.steps = v->steps, .n_steps = v->n};
}

void view_free(struct view *v)
{
	free(v->root);
	free(v->proc);
	free(v);
}

void run_plainly(struct bench *b, uint64_t attempt, const char *script)
{
	struct view *v = view_new(b);
	shell_in_view(b, attempt, script, view_done(v));
	view_free(v);
}

int make_pipe(const struct bench *b)
{
	_free_ char *path = path_join(b->state, "pipe");
	ASSERT_EQ(mkfifo(path, 0666), 0);
	ASSERT_EQ(chown(path, b->uid, b->uid == getuid() ? getgid() : b->uid), 0);
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

bool is_deserted(int fd, char text[64])
{
	size_t n = 0;
	for (ssize_t got; (got = read(fd, text + n, 63 - n)) != 0; n += got > 0 ? (size_t)got : 0)
		if (got < 0)
			return false;
	text[n] = 0;
	return true;
}
