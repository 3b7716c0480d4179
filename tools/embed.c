/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/embed.h"

#include "common/path.h"
#include "common/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_MOST (EMBED_NODES_MOST * (PATH_MAX + 80))

int embed_refuse(struct embed *e, int error, const char *fmt, ...)
{
	va_list args;
	assert(error < 0);
	va_start(args, fmt);
	vsnprintf(e->error, sizeof e->error, fmt, args);
	va_end(args);
	return error;
}

/* ---- who runs */

#define ENDING 0x404u /* among the flags of /proc/PID/stat, PF_EXITING and PF_SIGNALED: it is on its way out */

/* SIGKILL has been sent to it: it is as good as gone, though it may take its time to let go of what it has. */
static bool is_killed(pid_t pid)
{
	char path[64];
	size_t n = 0;
	unsigned long long pending = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	_free_ char *text = path_read(path, 8192, &n);
	const char *line = text ? strstr(text, "\nSigPnd:") : NULL;
	return line && sscanf(line, "\nSigPnd: %llx", &pending) == 1 && pending & 1ULL << (SIGKILL - 1);
}

/* The number in a lock file outlives its process, and may be another's by now, or a zombie's. */
static bool is_alive(pid_t pid, const char *program)
{
	char path[64], state;
	unsigned flags;
	size_t n = 0;
	/* In this order: what is not pending any more has set a flag. */
	if (pid <= 1 || is_killed(pid))
		return false;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	_free_ char *text = path_read(path, 4096, &n);
	const char *end = text ? strrchr(text, ')') : NULL;
	const char *name = text ? strstr(text, program) : NULL;
	return end && name && name < end && sscanf(end, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 &&
	       state != 'Z' && state != 'X' && !(flags & ENDING);
}

pid_t embed_owner(const char *state, const char *program)
{
	size_t n = 0;
	_free_ char *path = path_join(state, "lock"), *text = path_read(path, 64, &n);
	pid_t pid = text ? (pid_t)strtol(text, NULL, 10) : 0;
	return is_alive(pid, program) ? pid : 0;
}

pid_t embed_vined(const struct embed *e)
{
	return embed_owner(e->state, "vined");
}

bool embed_is_foreign(const struct embed *e)
{
	pid_t pid = embed_vined(e);
	return pid && e->vined != EMBED_STARTING && pid != e->vined;
}

bool embed_is_up(const struct embed *e)
{
	struct stat st;
	_free_ char *path = path_join(e->state, "vined.sock");
	return stat(path, &st) == 0 && embed_vined(e);
}

static bool are_nodes_up(const struct embed *e)
{
	unsigned n = 0;
	for (unsigned i = 0; i < e->n_nodes; i++)
		n += embed_owner(e->nodes[i].state, EMBED_NODE) != 0;
	return e->n_nodes && n == e->n_nodes;
}

static bool is_any_node_up(const struct embed *e)
{
	for (unsigned i = 0; i < e->n_nodes; i++)
		if (embed_owner(e->nodes[i].state, EMBED_NODE))
			return true;
	return false;
}

/* ---- what is recorded */

bool embed_stays(const struct embed *e)
{
	_free_ char *path = path_join(e->state, "stay");
	return access(path, F_OK) == 0;
}

int embed_set_stay(struct embed *e, bool stays)
{
	_free_ char *path = path_join(e->state, "stay");
	int r = 0;
	if (stays)
		r = path_write(path, "", 0, 0600, false);
	else if (unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r ? embed_refuse(e, r, "%s: %s", path, strerror(-r)) : 0;
}

int embed_record(struct embed *e)
{
	_cleanup_(buf_fini) struct buf b = {0};
	_free_ char *path = path_join(e->state, "embedded");
	buf_printf(&b, "vined %d\n", (int)e->vined);
	if (*e->listen)
		buf_printf(&b, "listen %s\n", e->listen);
	for (unsigned i = 0; i < e->n_nodes; i++)
		buf_printf(&b, "node %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", e->nodes[i].cores, e->nodes[i].memory,
			   e->nodes[i].cache, e->nodes[i].state);
	int r = path_write(path, b.at, b.n, 0600, false);
	return r ? embed_refuse(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static void read_line(struct embed *e, char *line)
{
	struct embed_node n = {.state = NULL};
	int at = 0, pid;
	if (sscanf(line, "vined %d", &pid) == 1) {
		e->vined = pid;
	} else if (has_prefix(line, "listen ") && !*e->listen) {
		free(e->listen);
		e->listen = xstrdup(line + strlen("listen "));
	} else if (sscanf(line, "node %" SCNu64 " %" SCNu64 " %" SCNu64 " %n", &n.cores, &n.memory, &n.cache, &at) ==
			   3 &&
		   at && line[at] == '/' && e->n_nodes < EMBED_NODES_MOST) {
		n.state = xstrdup(line + at);
		e->nodes[e->n_nodes++] = n;
	}
}

void embed_read(struct embed *e)
{
	while (e->n_nodes)
		free(e->nodes[--e->n_nodes].state);
	e->vined = 0;
	size_t n = 0;
	_free_ char *path = path_join(e->state, "embedded"), *text = path_read(path, RECORD_MOST, &n);
	char *rest = text, *line;
	e->is_recorded = text != NULL;
	while (text && (line = strsep(&rest, "\n")))
		read_line(e, line);
}

int embed_open(struct embed *e, const char *name)
{
	char real[PATH_MAX];
	*e = (struct embed){.name = NULL};
	const char *told = getenv("VINE");
	name = name && *name ? name : told && *told ? told : "default";
	e->listen = xstrdup("");
	e->name = xstrdup(name);
	e->is_default = streq(name, "default");
	if (strchr(name, '/') || strchr(name, ':'))
		return embed_refuse(
			e, -EINVAL,
			"cluster %s is not one of this command's: it wants a NAME; unset VINE, or say --name NAME",
			name);
	if (path_check(name, strlen(name)) < 0)
		return embed_refuse(e, -EINVAL, "cluster %s: not a name", name);
	e->state = service_state_path(name);
	if (realpath(e->state, real)) {
		free(e->state);
		e->state = xstrdup(real);
	}
	embed_read(e);
	return 0;
}

void embed_fini(struct embed *e)
{
	for (unsigned i = 0; i < e->n_nodes; i++)
		free(e->nodes[i].state);
	free(e->name);
	free(e->state);
	free(e->listen);
	*e = (struct embed){.name = NULL};
}

/* ---- what commands call */

bool embed_is_others(void)
{
	const char *told = getenv("VINE");
	return told && strpbrk(told, "/:");
}

bool embed_has_crashed(const struct embed *e)
{
	return e->is_recorded && e->vined && (embed_stays(e) || is_any_node_up(e));
}

static int find(const struct conf_table *t, bool may_start)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	if (embed_is_others())
		return 0;
	if (embed_open(&e, NULL))
		return tool_fail(t, "%s", e.error);
	bool is_up_now = embed_is_up(&e);
	if (is_up_now && (embed_is_foreign(&e) || are_nodes_up(&e)))
		return 0;
	/* A name that nothing is known of may be a mistake. */
	may_start = may_start && (e.is_default || e.is_recorded);
	if (!may_start && !is_up_now && !embed_has_crashed(&e))
		return tool_fail(t, "cluster %s is not up; `vine up%s%s` starts it%s", e.name,
				 e.is_default ? "" : " --name ", e.is_default ? "" : e.name,
				 e.is_default ? ", and so does `vine run -- COMMAND`" : "");
	return embed_bring_up(&e, 0) ? tool_fail(t, "%s", e.error) : 0;
}

int embed_start(const struct conf_table *t)
{
	return find(t, true);
}

int embed_look(const struct conf_table *t)
{
	return find(t, false);
}

char *embed_first_node(void)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	bool is_known = !embed_is_others() && embed_open(&e, NULL) == 0 && e.n_nodes;
	return is_known && embed_owner(e.nodes[0].state, EMBED_NODE) ? steal(e.nodes[0].state) : NULL;
}
