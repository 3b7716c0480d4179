/* SPDX-License-Identifier: Apache-2.0
 * vinefs is started twice: by a person, to check the settings, take the state directory and become the keeper; and by the
 * keeper, to do the work. mount(8) may start it too, in place of `vine mount`. */
#include "common/log_journal.h"
#include "common/loop.h"
#include "common/path.h"
#include "common/probe.h"
#include "common/secret.h"
#include "common/service.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/link.h"
#include "vinefs/metrics.h"
#include "vinefs/services.h"
#include "vinefs/settings.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Tier, cores, checks passed as bits, memory: what the first start has found, for the others. */
#define FOUND "VINE_FOUND"

/* ---- the first start */

static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "vinefs: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	return SERVICE_EXIT_FAILED;
}

/* Where a program of ours may be: as told, beside us (a build), where it was installed with us, where it was configured to be. */
static char *find_program(const char *exe, const char *variable, const char *const places[])
{
	const char *told = getenv(variable);
	_free_ char *bin = xstrndup(exe, (size_t)(path_base(exe) - exe));
	if (told && *told)
		return access(told, X_OK) == 0 ? xstrdup(told) : NULL;
	for (; *places; places++) {
		_free_ char *path = **places == '/' ? xstrdup(*places) : xasprintf("%s%s", bin, *places);
		if (access(path, X_OK) == 0)
			return steal(path);
	}
	return NULL;
}

/* vine-mount; NULL: it is not found. Yours to free. */
static char *find_warmer(void)
{
	static const char *const places[] = {"vine-mount", "../libexec/vine/vine-mount", LIBEXECDIR "/vine-mount",
					     NULL};
	char exe[PATH_MAX] = "";
	return readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 ? NULL : find_program(exe, "VINE_MOUNT", places);
}

/* Turns this process into the keeper, which starts us again with the same words. Returns only if that fails. */
static int become_keeper(const struct settings *s, int lock, int argc, char **argv)
{
	char exe[PATH_MAX] = "", state[PATH_MAX];
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 || !realpath(s->state, state))
		return refuse(s->state, strerror(errno));
	static const char *const places[] = {"vine-keeper", "../libexec/vine/vine-keeper", LIBEXECDIR "/vine-keeper",
					     NULL};
	_free_ char *keeper = find_program(exe, "VINE_KEEPER", places);
	if (!keeper)
		return refuse("vine-keeper is not found: set VINE_KEEPER to its path", NULL);
	char **words = xcalloc((size_t)argc + 8, sizeof *words);
	int n = 0;
	words[n++] = xstrdup("vine-keeper");
	words[n++] = xasprintf("--state=%s", state);
	words[n++] = xasprintf("--lock=%d", lock);
	words[n++] = xasprintf("--grace-msec=%" PRIu64, s->stop_grace / 1000);
	words[n++] = xstrdup("--");
	words[n++] = exe;
	memcpy(words + n, argv, (size_t)argc * sizeof *argv);
	/* A node that a task of another node starts is not to be taken for that task. */
	_free_ char *mark = xstrndup(KEEPER_MARK, strlen(KEEPER_MARK) - 1);
	unsetenv(mark);
	if (fcntl(lock, F_SETFD, 0) == 0)
		execv(keeper, words);
	return refuse(keeper, strerror(errno));
}

static int redirect(const char *log)
{
	_close_ int fd = *log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600) : -1;
	return *log && (fd < 0 || dup2(fd, STDERR_FILENO) < 0) ? -errno : 0;
}

static int check_secret(const struct settings *s)
{
	uint8_t secret[SECRET_SIZE];
	struct conf_error e;
	bool is_local = settings_is_alone(s) || has_prefix(s->vined, "/") || has_prefix(s->vined, "unix:");
	int r = is_local ? 0 : secret_read(s->secret, secret, &e);
	secret_wipe(secret, sizeof secret);
	return r < 0 ? refuse(e.text, NULL) : 0;
}

/* `vinefs WHAT DIR [-o OPTIONS]`, as mount(8) says it of a line in fstab, is `vine mount`. */
static int become_mount(int argc, char **argv)
{
	static const char *const places[] = {"../bin/vine", "../tools/vine", BINDIR "/vine", NULL};
	char exe[PATH_MAX] = "";
	_free_ char *vine =
		readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 ? NULL : find_program(exe, "VINE_VINE", places);
	if (!vine)
		return refuse("the command vine is not found: set VINE_VINE to its path", NULL);
	_free_ const char **words = xcalloc((size_t)argc + 3, sizeof *words);
	words[0] = "vine";
	words[1] = "mount";
	words[2] = "--quiet";
	memcpy(words + 3, argv + 1, ((size_t)argc - 1) * sizeof *words);
	execv(vine, (char **)(uintptr_t)words);
	return refuse(vine, strerror(errno));
}

/* What the machine lets us do, for every vinefs that the keeper starts: it takes a while, and readers may be waiting for a later one; and before
 * a secret is read, for the probe's children may be looked into. */
static void look_around(const struct settings *s)
{
	struct probe_report *r = NEW(struct probe_report);
	unsigned mask = 0;
	if (!settings_is_alone(s))
		probe_run(r, s->state);
	for (unsigned i = 0; i < PROBE_N; i++)
		mask |= r->at[i].is_ok ? 1u << i : 0;
	_free_ char *text = xasprintf("%u %u %x %" PRIu64, (unsigned)r->tier, r->cores, mask, r->memory);
	log_debug("tier %s: %s", probe_tier_name(r->tier), r->reason);
	setenv(FOUND, text, 1);
	free(r);
}

static int launch(const struct settings *s, int argc, char **argv)
{
	struct conf_error e = {""};
	_free_ char *log = log_where_is_file(s->log) ? log_where(s->log)
			   : s->detach               ? path_join(s->state, "vinefs.log")
						     : xstrdup("");
	if (check_secret(s))
		return SERVICE_EXIT_FAILED;
	/* Tried in the foreground too, for the message; and again by the process that keeps it. */
	int lock = service_lock(s->state, "vinefs", s->exclusive, &e);
	if (lock >= 0 && s->detach) {
		close_fd(lock);
		int r = service_detach(log);
		if (r < 0)
			return refuse(log, strerror(-r));
		lock = service_lock(s->state, "vinefs", s->exclusive, &e);
	} else if (lock >= 0) {
		int r = redirect(log);
		if (r < 0)
			return refuse(log, strerror(-r));
	}
	if (lock < 0)
		return refuse(e.text, NULL);
	/* It was said of a node that is not any more. */
	_free_ char *work_for = path_join(s->state, "work-for");
	unlink(work_for);
	look_around(s);
	return become_keeper(s, lock, argc, argv);
}

/* ---- the second */

static void on_signal(int signo, void *arg)
{
	struct link *const *k = arg;
	log_info("signal %d: stopping", signo);
	link_leave(*k);
}

static enum probe_tier make_offer(const struct settings *s, struct link_offer *o, const char *features[PROBE_N])
{
	static const char *const names[PROBE_N] = {[PROBE_FUSE] = "fuse",
						   [PROBE_USER_NAMESPACES] = "userns",
						   [PROBE_PID_NAMESPACES] = "pidns",
						   [PROBE_OVERLAY] = "overlay",
						   [PROBE_CGROUPS] = "cgroups"};
	const char *text = getenv(FOUND);
	unsigned tier = 0, cores = 1, mask = 0;
	uint64_t memory = 0;
	if (text && sscanf(text, "%u %u %x %" SCNu64, &tier, &cores, &mask, &memory) != 4)
		log_warn("%s=%s is not what was found", FOUND, text);
	unsetenv(FOUND);
	for (int i = 0; i < PROBE_N; i++)
		if (names[i] && mask & 1u << i)
			features[o->n_features++] = names[i];
	o->features = features;
	tier = min(tier, (unsigned)PROBE_TIER_VIEWS);
	o->tier = probe_tier_name(tier);
	o->cores = s->cores ? (uint32_t)s->cores : cores;
	o->memory = s->memory ? s->memory : memory;
	o->task_limit = s->task_limit ? (uint32_t)s->task_limit : o->cores;
	return tier;
}

static int work(const struct settings *s, int keeper, int mounts)
{
	const char *features[PROBE_N];
	struct utsname kernel;
	struct link_offer offer = {.tier = NULL};
	uname(&kernel);
	offer.kernel = kernel.release;
	_free_ char *warmer = find_warmer();
	const struct services_found found = {.tier = make_offer(s, &offer, features), .warmer = warmer};
	service_harden();
	_cleanup_(loop_freep) struct loop *l = loop_new();
	if (!l)
		return log_errno(errno, "epoll");
	struct link *k = NULL;
	signal(SIGHUP, SIG_IGN);
	/* Blocked before the first thread starts; nothing is delivered before the loop runs. */
	int r = loop_on_signal(l, SIGTERM, on_signal, &k);
	if (!r)
		r = loop_on_signal(l, SIGINT, on_signal, &k);
	if (r)
		return log_errno(-r, "signals");
	struct services *services = services_new(l, s, mounts, &found);
	const struct link_parts parts = services ? services_parts(services) : (struct link_parts){.cache = NULL};
	k = services ? link_new(l, s, keeper, &offer, &parts) : NULL;
	struct vinefs_metrics figures = {.loop = l, .parts = &parts, .services = services, .link = k};
	_cleanup_(metrics_server_freep) struct metrics_server *metrics = NULL;
	r = k ? vinefs_metrics_listen(&metrics, &figures, s) : -EIO;
	r = r ? SERVICE_EXIT_FAILED : loop_run(l);
	metrics_server_free(steal(metrics));
	if (r < 0)
		r = SERVICE_EXIT_FAILED;
	bool is_leaving = r != SERVICES_UPGRADE;
	r = is_leaving ? r : KEEPER_EXIT_UPGRADE;
	link_free(k);
	if (!services_end(services, is_leaving))
		_exit(r);
	return r;
}

/* A descriptor that the keeper has left us; -1: it has not. */
static int take_fd(const char *name)
{
	const char *text = getenv(name);
	int fd = text ? atoi(text) : -1;
	unsetenv(name);
	return fd > STDERR_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
	int keeper = take_fd(KEEPER_FD), mounts = take_fd(KEEPER_MOUNTS_FD);
	struct settings s;
	if (keeper < 0 && argc > 2 && *argv[1] != '-' && *argv[2] != '-')
		return become_mount(argc, argv);
	if (settings_read(&s, argc, argv))
		return SERVICE_EXIT_FAILED;
	log_init("vinefs", (enum log_level)s.log_level, STDERR_FILENO, isatty(STDERR_FILENO));
	log_use(s.log);
	/* The keeper recognises what tasks leave by this path, without links in it; it has it from realpath too. */
	char *real = keeper >= 0 ? realpath(s.state, NULL) : NULL;
	if (real) {
		free(s.state);
		s.state = real;
	}
	/* A node for data that was given a scheduler meanwhile has not looked around yet. */
	int found = keeper >= 0 ? settings_find_work(&s) : 0;
	if (found > 0)
		look_around(&s);
	int status = found < 0 ? SERVICE_EXIT_FAILED : keeper >= 0 ? work(&s, keeper, mounts) : launch(&s, argc, argv);
	settings_fini(&s);
	return status;
}
