/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/complete.h"

#include "libvineclient/vine.h"
#include "tools/job_file.h"
#include "tools/node.h"
#include "tools/session.h"
#include "tools/topic.h"

#include <ctype.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#define DEADLINE_USEC 700000 /* at each TAB nobody waits longer */

struct completing {
	const char *typed; /* what must stand at the beginning */
	const char *lead;  /* of it, what stands before the word in question: "--only=" */
	size_t n_dropped;
	struct buf words;
	const char *mark; /* NULL: none */
	struct vine *v;
	bool is_asked;
	void (*offered[8])(struct completing *c);
	size_t n_offered;
};

/* Names are others': none that a shell would take for more than a word gets onto somebody's command line. */
static bool is_harmless(const char *word)
{
	for (const char *p = word; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("._-/:@+,%=", *p) && (unsigned char)*p < 0x80)
			return false;
	}
	return true;
}

static void offer(struct completing *c, const char *word)
{
	_free_ char *all = xasprintf("%s%s", c->lead, word);
	if (has_prefix(all, c->typed) && strlen(all) >= c->n_dropped && is_harmless(word))
		buf_printf(&c->words, "%s\n", all + c->n_dropped);
}

/* ---- what the cluster and the node say */

/* Only if it runs. */
static struct vine *cluster(struct completing *c)
{
	if (!c->is_asked && session_peek(&c->v) < 0)
		c->v = NULL;
	c->is_asked = true;
	return c->v;
}

static int offer_first(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	(void)names;
	if (n)
		offer(arg, cells[0]);
	return 0;
}

/* The first column of what vined has. */
static void offer_rows(struct completing *c, const char *what)
{
	struct vine *v = cluster(c);
	if (v)
		vine_query(v, what, NULL, offer_first, c);
}

static void offer_states(struct completing *c, const char *run)
{
	static const char *const states[] = {"failed", "running", "waiting", "done", "cancelled"};
	for (size_t i = 0; i < countof(states); i++) {
		_free_ char *word = xasprintf("%s@%s", run, states[i]);
		offer(c, word);
	}
}

static void offer_selectors(struct completing *c)
{
	const char *word = c->typed + strlen(c->lead), *at = strchr(word, '@');
	_free_ char *run = at ? xstrndup(word, (size_t)(at - word)) : xstrdup("");
	offer_states(c, run);
	if (!at)
		offer_rows(c, "runs");
}

static void offer_trees(struct completing *c)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ void *reply = NULL;
	const struct node_ask ask = {
		.type = WIRE_CACHE_LIST, .message = &(struct wire_cache_list){.tree = ""}, .answer = WIRE_CACHED};
	if (node_open(&n, false) || node_ask(n, &ask, &reply))
		return;
	const struct wire_cached *m = reply;
	for (uint32_t i = 0; i < m->trees.n; i++) {
		for (uint32_t k = 0; k < m->trees.at[i].names.n; k++)
			offer(c, m->trees.at[i].names.at[k]);
	}
}

/* ---- the table of commands */

static void offer_commands(struct completing *c)
{
	for (size_t i = 0; i < n_commands; i++)
		offer(c, commands[i].name);
}

static void offer_topics(struct completing *c)
{
	offer_commands(c);
	for (size_t i = 0; i < n_topics; i++)
		offer(c, topics[i].name);
}

static void offer_files(struct completing *c)
{
	c->mark = c->mark ?: ":files";
}

static void offer_programs(struct completing *c)
{
	c->mark = ":commands";
}

static void offer_nodes(struct completing *c)
{
	offer_rows(c, "nodes");
}

static void offer_items(struct completing *c)
{
	offer_rows(c, "items");
}

/* What a word of a usage line, or the name of an option's value, stands for. */
static const struct meaning {
	const char *name;
	void (*offer)(struct completing *c);
} meanings[] = {
	{"RUN", offer_selectors}, {"TASK", offer_selectors}, {"NODE", offer_nodes},       {"ITEM", offer_items},
	{"TREE", offer_trees},    {"PATH", offer_files},     {"DIR", offer_files},        {"FILE", offer_files},
	{"FROM", offer_files},    {"SCRIPT", offer_files},   {"COMMAND", offer_programs}, {"WORD", offer_topics},
};

/* Each once: a run and a task are named alike. */
static void offer_meaning(struct completing *c, const char *name, size_t n)
{
	for (size_t i = 0; i < countof(meanings); i++) {
		const struct meaning *m = &meanings[i];
		bool is_meant = strlen(m->name) == n && strncmp(m->name, name, n) == 0;
		for (size_t k = 0; k < c->n_offered && is_meant; k++)
			is_meant = c->offered[k] != m->offer;
		if (!is_meant)
			continue;
		m->offer(c);
		if (c->n_offered < countof(c->offered))
			c->offered[c->n_offered++] = m->offer;
	}
}

/* "ls|cat TREE[/PATH] ...": what is in small letters is typed as it stands, in first place; the rest has meanings. */
static void offer_operands(struct completing *c, const char *usage, size_t place)
{
	bool has_words = false;
	for (const char *p = usage; *p;) {
		size_t n = 0;
		while (isalpha((unsigned char)p[n]))
			n++;
		bool is_word = n && islower((unsigned char)*p) && (p == usage || !strchr("-:@/", p[-1]));
		has_words |= is_word;
		_free_ char *word = xstrndup(p, n);
		if (is_word && !place)
			offer(c, word);
		else if (n && isupper((unsigned char)*p) && !(has_words && !place))
			offer_meaning(c, p, n);
		p += n ? n : 1;
	}
}

static void shown_name(const char *field, char name[80])
{
	snprintf(name, 80, "%s", field);
	for (char *p = name; *p; p++)
		*p = *p == '_' ? '-' : *p;
}

static void offer_options(struct completing *c, const struct conf_table *t)
{
	char name[80];
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		bool is_on = s->type == CONF_TYPE_BOOL && s->preset && streq(s->preset, "yes");
		shown_name(s->name, name);
		_free_ char *word = xasprintf("--%s%s", is_on ? "no-" : "", name);
		offer(c, word);
	}
	offer(c, "--help");
}

static void offer_values(struct completing *c, const struct conf_setting *s)
{
	for (size_t i = 0; s->type == CONF_TYPE_WORD && s->words[i]; i++)
		offer(c, s->words[i]);
	if (s->type == CONF_TYPE_PATH)
		offer_files(c);
	else if (s->value_name)
		offer_meaning(c, s->value_name, strspn(s->value_name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
}

/* The option whose value follows this word, or stands behind its first `n` characters; NULL: none. */
static const struct conf_setting *option_of(const struct conf_table *t, const char *word, size_t n)
{
	char name[80];
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		if (s->type == CONF_TYPE_BOOL)
			continue;
		shown_name(s->name, name);
		bool is_long = has_prefix(word, "--") && strlen(name) + 2 == n && strncmp(word + 2, name, n - 2) == 0;
		if (is_long || (n == 2 && word[0] == '-' && s->letter && word[1] == s->letter))
			return s;
	}
	return NULL;
}

/* How many words before the last are operands; *is_plain: what follows is no option. */
static size_t count_operands(const struct conf_table *t, char *const *words, size_t n, bool *is_plain)
{
	size_t n_operands = 0;
	bool runs = strstr(t->usage, "COMMAND") != NULL;
	for (size_t i = 0; i + 1 < n; i++) {
		if (!*is_plain && streq(words[i], "--"))
			*is_plain = true;
		else if (!*is_plain && words[i][0] == '-' && words[i][1])
			i += option_of(t, words[i], strlen(words[i])) != NULL;
		else
			n_operands++;
		/* From the command on all is the command's. */
		*is_plain |= runs && n_operands;
	}
	return n_operands;
}

/* The words behind the command's name; the last is being typed. */
static void complete_words(struct completing *c, const struct conf_table *t, char *const *words, size_t n)
{
	const char *typed = words[n - 1], *equals = strchr(typed, '=');
	bool is_plain = false;
	size_t n_operands = count_operands(t, words, n, &is_plain);
	const struct conf_setting *s = n > 1 && !is_plain ? option_of(t, words[n - 2], strlen(words[n - 2])) : NULL;
	_free_ char *lead = equals ? xstrndup(typed, (size_t)(equals + 1 - typed)) : NULL;
	if (s) {
		offer_values(c, s);
	} else if (!is_plain && lead && has_prefix(typed, "--")) {
		s = option_of(t, typed, (size_t)(equals - typed));
		c->lead = lead;
		if (s)
			offer_values(c, s);
	} else if (!is_plain && *typed == '-') {
		offer_options(c, t);
	} else if (is_plain && n_operands) {
		offer_files(c);
	} else {
		offer_operands(c, is_plain ? "COMMAND" : t->usage, n_operands);
	}
	c->lead = "";
}

static void give_up(int signo)
{
	(void)signo;
	_exit(0);
}

static void limit_time(void)
{
	const struct itimerval once = {.it_value = {.tv_usec = DEADLINE_USEC}};
	signal(SIGALRM, give_up);
	setitimer(ITIMER_REAL, &once, NULL);
}

void complete_line(const char *line, const char *breaks, FILE *to)
{
	size_t n = 0, length = strlen(line);
	_free_ char *ended = xasprintf("%s%s", line, !length || isspace((unsigned char)line[length - 1]) ? " ''" : "");
	char **words = job_split(ended);
	if (!words)
		return;
	limit_time();
	while (words[n])
		n++;
	struct completing c = {.typed = n ? words[n - 1] : "", .lead = ""};
	/* Readline breaks before an @, and behind the others. */
	for (size_t i = 0; c.typed[i]; i++)
		c.n_dropped = strchr(breaks, c.typed[i]) ? i + (c.typed[i] != '@') : c.n_dropped;
	const char *nearest;
	const struct command *command = n > 2 ? command_find(words[1], &nearest) : NULL;
	if (n == 2)
		offer_commands(&c);
	else if (command)
		complete_words(&c, command->options, words + 2, n - 2);
	if (c.mark)
		fprintf(to, "%s\n", c.mark);
	fputs(buf_text(&c.words), to);
	vine_close(c.v, 0);
	buf_fini(&c.words);
	for (size_t i = 0; i < n; i++)
		free(words[i]);
	free(words);
}
