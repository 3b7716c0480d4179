/* SPDX-License-Identifier: Apache-2.0
 * vinefs is started twice: by a person, to check the settings, take the state directory and become the keeper; and by the
 * keeper, to do the work. */
#include "common/log.h"
#include "common/loop.h"
#include "common/path.h"
#include "common/probe.h"
#include "common/secret.h"
#include "common/service.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/link.h"
#include "vinefs/settings.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- the first start */

static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "vinefs: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	return SERVICE_EXIT_FAILED;
}

/* Where the keeper may be: as told, beside us (a build), where it was installed with us, where it was configured to be. */
static char *find_keeper(const char *exe)
{
	const char *told = getenv("VINE_KEEPER");
	_free_ char *bin = xstrndup(exe, (size_t)(path_base(exe) - exe));
	char *places[] = {xstrdup(told ? told : ""), xasprintf("%svine-keeper", bin),
			  xasprintf("%s../libexec/vine/vine-keeper", bin), xstrdup(LIBEXECDIR "/vine-keeper")};
	char *found = NULL;
	for (size_t i = 0; i < countof(places); i++) {
		if (!found && *places[i] && access(places[i], X_OK) == 0)
			found = steal(places[i]);
		free(places[i]);
	}
	return found;
}

/* Turns this process into the keeper, which starts us again with the same words. Returns only if that fails. */
static int become_keeper(const struct settings *s, int lock, int argc, char **argv)
{
	char exe[PATH_MAX] = "", state[PATH_MAX];
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 || !realpath(s->state, state))
		return refuse(s->state, strerror(errno));
	_free_ char *keeper = find_keeper(exe);
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
	bool is_local = has_prefix(s->vined, "/") || has_prefix(s->vined, "unix:");
	int r = is_local ? 0 : secret_read(s->secret, secret, &e);
	secret_wipe(secret, sizeof secret);
	return r < 0 ? refuse(e.text, NULL) : 0;
}

static int launch(const struct settings *s, int argc, char **argv)
{
	struct conf_error e = {""};
	_free_ char *log = *s->log ? xstrdup(s->log) : s->detach ? path_join(s->state, "vinefs.log") : xstrdup("");
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
	return become_keeper(s, lock, argc, argv);
}

/* ---- the second */

static void on_signal(int signo, void *arg)
{
	struct link *const *k = arg;
	log_info("signal %d: stopping", signo);
	link_leave(*k);
}

static int work(const struct settings *s, int keeper)
{
	static const char *const names[PROBE_N] = {[PROBE_FUSE] = "fuse",
						   [PROBE_USER_NAMESPACES] = "userns",
						   [PROBE_PID_NAMESPACES] = "pidns",
						   [PROBE_OVERLAY] = "overlay",
						   [PROBE_CGROUPS] = "cgroups"};
	const char *features[PROBE_N];
	struct probe_report *probe = NEW(struct probe_report);
	struct utsname kernel;
	struct link_offer offer = {.features = features};
	uname(&kernel);
	/* Before the secret is read: the probe's children may be looked into. */
	probe_run(probe, s->state);
	service_harden();
	for (int i = 0; i < PROBE_N; i++)
		if (names[i] && probe->at[i].is_ok)
			features[offer.n_features++] = names[i];
	offer.tier = probe_tier_name(probe->tier);
	offer.kernel = kernel.release;
	offer.cores = s->cores ? (uint32_t)s->cores : probe->cores;
	offer.memory = s->memory ? s->memory : probe->memory;
	offer.task_limit = s->task_limit ? (uint32_t)s->task_limit : offer.cores;
	log_debug("tier %s: %s", offer.tier, probe->reason);
	free(probe);

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
	k = link_new(l, s, keeper, &offer);
	r = k ? loop_run(l) : SERVICE_EXIT_FAILED;
	link_free(k);
	return r < 0 ? SERVICE_EXIT_FAILED : r;
}

int main(int argc, char **argv)
{
	const char *text = getenv(KEEPER_FD);
	int keeper = text ? atoi(text) : -1;
	struct settings s;
	unsetenv(KEEPER_FD);
	if (keeper > STDERR_FILENO)
		fcntl(keeper, F_SETFD, FD_CLOEXEC);
	if (settings_read(&s, argc, argv))
		return SERVICE_EXIT_FAILED;
	log_init("vinefs", (enum log_level)s.log_level, STDERR_FILENO, isatty(STDERR_FILENO));
	/* The keeper recognises what tasks leave by this path, without links in it; it has it from realpath too. */
	char *real = keeper > STDERR_FILENO ? realpath(s.state, NULL) : NULL;
	if (real) {
		free(s.state);
		s.state = real;
	}
	int status = keeper > STDERR_FILENO ? work(&s, keeper) : launch(&s, argc, argv);
	settings_fini(&s);
	return status;
}
