/* SPDX-License-Identifier: Apache-2.0
 * Options that fingers know from sbatch, srun and qsub: taken where the meaning is the same, else answered with what there is instead. */
#include "tools/job.h"

#include <stdarg.h>

#define NO_PARTITIONS "a cluster has no partitions and no accounts; --feature WORD chooses among its nodes"
#define NO_NODE_NAMES "which node is vined's choice, by room and by data; --feature WORD narrows it"
#define OUTPUT_IS_KEPT "what a task writes is kept; 'vine logs TASK' prints it, --only err of it"

static int _printf_(2, 3) refuse(struct conf_error *e, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* ---- times: [D-]H:M:S, D-H[:M], M:S; a bare number means minutes there and seconds here */

static bool take_part(const char **at, uint64_t *n)
{
	char *end;
	if (**at < '0' || **at > '9')
		return false;
	*n = strtoull(*at, &end, 10);
	*at = end;
	return *n < 1000000;
}

int job_clock_time(const char *text, uint64_t *sec)
{
	const char *at = text, *dash = strchr(text, '-');
	uint64_t days = 0, parts[3] = {0};
	size_t n = 0;
	if (dash && (!take_part(&at, &days) || *at++ != '-'))
		return -EINVAL;
	do {
		if (n == countof(parts) || !take_part(&at, &parts[n++]))
			return -EINVAL;
	} while (*at == ':' && at++);
	if (*at || (!dash && n == 1))
		return -EINVAL;
	if (dash || n == 3)
		*sec = days * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2];
	else
		*sec = parts[0] * 60 + parts[1];
	return 0;
}

static int take_time(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	if (*value && strspn(value, "0123456789") == strlen(value))
		return refuse(e, "--time=%.40s: minutes for sbatch, seconds here: write %.40sm or %.40ss", value, value,
			      value);
	return conf_set(t, into, "wall-time", value, e);
}

/* ---- others that are not one word for one word */

static int take_one(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	(void)t, (void)into;
	return streq(value, "1") ? 0
				 : refuse(e,
					  "%.40s tasks, or nodes, at once: a task is one process on one node; --cores "
					  "N gives it cores, --array 1-%.40s makes so many tasks",
					  value, value);
}

static int take_gres(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	const char *last = strrchr(value, ':');
	if (!has_prefix(value, "gpu"))
		return refuse(e, "--gres=%.80s: of these only gpus are known: --gpus N", value);
	bool has_number = last && last[1] && strspn(last + 1, "0123456789") == strlen(last + 1);
	return conf_set(t, into, "gpus", has_number ? last + 1 : "1", e);
}

/* node's words, "a&b", as --feature has them: all must be there. */
static int take_constraint(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	_free_ char *words = xstrdup(value);
	if (strpbrk(value, "|[]()*"))
		return refuse(e, "--constraint=%.80s: only words joined by & are understood: --feature WORD,WORD",
			      value);
	for (char *p = words; *p; p++)
		*p = *p == '&' ? ',' : *p;
	return conf_set(t, into, "feature", words, e);
}

/* ALL is the rule here as well. */
static int take_export(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	_free_ char *words = xstrdup(value);
	bool has_all = false;
	int r = 0;
	if (streq(value, "NONE") || streq(value, "NIL"))
		return conf_set(t, into, "clean-env", "yes", e);
	for (char *save = NULL, *w = strtok_r(words, ",", &save); w && !r; w = strtok_r(NULL, ",", &save)) {
		has_all |= streq(w, "ALL");
		if (!streq(w, "ALL"))
			r = conf_set(t, into, "env", w, e);
	}
	return r || has_all ? r : conf_set(t, into, "clean-env", "yes", e);
}

static int take_nothing(const struct conf_table *t, void *into, const char *value, struct conf_error *e)
{
	(void)t, (void)into, (void)value, (void)e;
	return 0;
}

/* One line each; sorted. */
const struct conf_foreign job_foreign[] = {
	{.name = "account", .letter = 'A', .instead = NO_PARTITIONS},
	{.name = "begin", .instead = "a task begins when there is room; at(1) or cron(8) submit later"},
	{.name = "constraint", .take = take_constraint},
	{.name = "cpus", .means = "cores"},
	{.name = "cpus-per-task", .means = "cores"},
	{.name = "cwd", .means = "chdir"},
	{.name = "dependency",
	 .letter = 'd',
	 .instead = "a task waits for what it reads: -o temp:NAME of one is -i temp:NAME of the next; or: vine wait "
		    "RUN && vine submit ..."},
	{.name = "error", .instead = OUTPUT_IS_KEPT},
	{.name = "exclude", .letter = 'x', .instead = NO_NODE_NAMES},
	{.name = "exclusive", .instead = "ask for all that a node has: --cores N --mem SIZE"},
	{.name = "export", .take = take_export},
	{.name = "gpus-per-node", .means = "gpus"},
	{.name = "gpus-per-task", .letter = 'G', .means = "gpus"},
	{.name = "gres", .take = take_gres},
	{.name = "hold", .letter = 'H', .instead = "submit it when it shall run: --save FILE keeps what was typed"},
	{.name = "job-name", .means = "name"},
	{.name = "mail-type", .instead = "vine wait RUN; mail ... says it when it is over"},
	{.name = "mail-user", .instead = "vine wait RUN; mail ... says it when it is over"},
	{.name = "mem-per-cpu", .instead = "--mem SIZE is of the whole task"},
	{.name = "mem-per-gpu", .instead = "--mem SIZE is of the whole task"},
	{.name = "memory", .means = "mem"},
	{.name = "ncpus", .means = "cores"},
	{.name = "nice", .instead = "--priority N: higher goes first"},
	{.name = "nodelist", .letter = 'w', .instead = NO_NODE_NAMES},
	{.name = "nodes", .letter = 'N', .take = take_one},
	{.name = "ntasks", .letter = 'n', .take = take_one},
	{.name = "ntasks-per-node", .take = take_one},
	{.name = "open-mode", .instead = OUTPUT_IS_KEPT},
	{.name = "parsable", .is_alone = true, .take = take_nothing},
	{.name = "partition", .letter = 'p', .instead = NO_PARTITIONS},
	{.name = "qos", .letter = 'q', .instead = NO_PARTITIONS},
	{.name = "queue", .instead = NO_PARTITIONS},
	{.name = "requeue",
	 .is_alone = true,
	 .instead = "what a node loses runs again by itself; --retries N: also after a failure of its own"},
	{.name = "reservation", .instead = NO_PARTITIONS},
	{.name = "signal", .instead = "SIGTERM comes first, and SIGKILL --grace TIME later"},
	{.name = "test-only", .is_alone = true, .means = "dry-run"},
	{.name = "time", .take = take_time},
	{.name = "timeout", .means = "wall-time"},
	{.name = "tmp", .means = "disk"},
	{.name = "wait",
	 .letter = 'W',
	 .is_alone = true,
	 .instead = "vine run waits for its command; vine wait RUN for what was submitted"},
	{.name = "walltime", .means = "wall-time"},
	{.name = "workdir", .letter = 'D', .means = "chdir"},
	{.name = NULL},
};

/* ---- values that are well formed and mean something else there */

int job_check_habits(const struct conf_table *t, const struct job_options *o)
{
	uint64_t sec;
	for (size_t i = 0; i < o->output.n; i++) {
		const char *percent = strchr(o->output.at[i], '%');
		if (percent && percent[1] && strchr("jAaxJ", percent[1]))
			return tool_fail(t, "-o %s: here -o names a file that the task leaves; " OUTPUT_IS_KEPT,
					 o->output.at[i]);
	}
	if (*o->mem && strlen(o->mem) < 7 && strspn(o->mem, "0123456789") == strlen(o->mem))
		return tool_fail(t, "--mem %s: bytes here, megabytes for sbatch: write %sM", o->mem, o->mem);
	if (strchr(o->wall_time, ':') && job_clock_time(o->wall_time, &sec) < 0)
		return tool_fail(t, "--wall-time %s: not a time; as in 90s, 1h30m or 1:30:00", o->wall_time);
	return 0;
}
