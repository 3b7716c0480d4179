/* SPDX-License-Identifier: Apache-2.0
 * vine submit: work that goes on without its client. What it is made of: submit_work.c. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/counts.h"
#include "tools/json.h"
#include "tools/selector.h"
#include "tools/session.h"
#include "tools/submit_work.h"

#include <ctype.h>
#include <sys/random.h>
#include <unistd.h>

#define NAME_TRIES 20

/* ---- the run */

/* 1: there is one of this name that has tasks; 0: there is none (one that nothing was submitted to does not count: a submit may have failed); else
 * -errno. */
static int is_run(struct vine *v, const char *name)
{
	struct counts c;
	int r = counts_ask(v, name, &c);
	return r == -ENOENT ? 0 : r < 0 ? r : counts_all(&c) > 0;
}

/* "model-7k3q" of "./model". */
static char *make_name(const char *base)
{
	static const char digits[] = "abcdefghijkmnpqrstuvwxyz23456789";
	unsigned char random[4] = {0};
	char word[25], end[sizeof random + 1] = "";
	size_t n = 0;
	for (; *base && n + 1 < sizeof word; base++)
		word[n++] = isalnum((unsigned char)*base) || strchr("._", *base) ? *base : '-';
	word[n] = 0;
	/* Whether it is taken is asked anyway. */
	if (getrandom(random, sizeof random, 0) < 0)
		memset(random, getpid() & 0xff, sizeof random);
	for (size_t i = 0; i < sizeof random; i++)
		end[i] = digits[random[i] % (sizeof digits - 1)];
	return xasprintf("%s-%s", n && *word != '-' ? word : "run", end);
}

static int choose_name(struct vine *v, const struct work *w, char **name)
{
	int r = 1;
	for (unsigned i = 0; i < NAME_TRIES && r == 1; i++) {
		free(steal(*name));
		*name = make_name(work_base(w));
		r = is_run(v, *name);
	}
	return r ? tool_fail(&submit_table, "no name for the run was found: %s; give one by --name",
			     r < 0 ? vine_error() : "all that were tried are taken")
		 : 0;
}

static int check_name(struct vine *v, const char *name, bool is_added)
{
	struct selector s;
	char why[SELECTOR_WHY];
	if (selector_parse(name, &s, why) < 0 || s.kind != SELECTOR_RUN)
		return tool_fail(&submit_table, "--name %s: a run's name has a letter, and none of / @ : and ,", name);
	int r = is_run(v, name);
	if (r < 0)
		return tool_fail(&submit_table, "%s", vine_error());
	if (r && !is_added)
		return tool_fail(
			&submit_table,
			"run %s is there already: 'vine status %s' shows it; --add adds to it, 'vine forget %s' "
			"lets it go when it is over, another --name leaves it alone",
			name, name, name);
	return !r && is_added ? tool_fail(&submit_table, "--add: there is no run %s with tasks", name) : 0;
}

static int find_name(const struct work *w, char **name)
{
	struct vine *v;
	int status = session_work(&submit_table, NULL, &v);
	if (status)
		return status;
	*name = xstrdup(work_run(w));
	status = **name ? check_name(v, *name, work_is_added(w)) : choose_name(v, w, name);
	vine_close(v, 1);
	return status;
}

static void print_name(const struct work *w, const char *name, bool is_json)
{
	struct json j = {0};
	uint64_t n = 0;
	for (size_t i = 0; i < w->n; i++)
		n += work_count(&w->parts[i]);
	if (!is_json) {
		printf("%s\n", name);
		return;
	}
	json_begin(&j, NULL, '{');
	json_text(&j, "run", name);
	json_number(&j, "tasks", (int64_t)n);
	json_end(&j, '}');
	json_print(&j);
}

static int submit(struct work *w, bool is_json)
{
	_free_ char *name = NULL;
	struct vine *v;
	int status = find_name(w, &name);
	if (!status)
		status = session_work(&submit_table, name, &v);
	if (status)
		return status;
	/* What its tasks leave is there until somebody says that it may go. */
	if (vine_set(v, "lifetime", "forever") < 0)
		status = tool_fail(&submit_table, "%s", vine_error());
	if (!status)
		status = work_post(w, v);
	if (vine_close(v, 1) < 0 && !status)
		status = tool_fail(&submit_table, "%s", vine_error());
	if (status)
		return status;
	print_name(w, name, is_json);
	return tool_end(&submit_table, 0);
}

int cmd_submit(int argc, char **argv)
{
	struct job_options o = {0};
	struct work w = {.n = 0};
	int status, first = tool_options(&submit_table, &o, argc, argv, &status);
	if (first >= 0)
		status = work_read(&w, &o, argc, argv, first);
	if (first >= 0 && !status)
		status = *o.save ? work_save(&w, o.save) : o.dry_run ? work_print(&w, o.json) : submit(&w, o.json);
	work_fini(&w);
	conf_fini(&submit_table, &o);
	return status;
}
