/* SPDX-License-Identifier: Apache-2.0
 * What is set of a run, and what is forgotten. */
#include "common/conf.h"
#include "libvineclient/client.h"
#include "libvineclient/task.h"

#define SETTING_USEC 30000000u
#define NAME_MOST 64
#define VALUE_MOST 255
#define FORGET_TRIES 3
#define ITEM_MOST 4095

struct run_settings {
	char *category, *counter, *source, *events;
	int lifetime;
};

static const char *const lifetime_words[] = {"run", "task", "forever", NULL};

/* For names and words; what they are given goes on as text. */
static const struct conf_setting run_settings_table[] = {
	{.name = "events", .type = CONF_TYPE_TEXT, .offset = offsetof(struct run_settings, events)},
	{.name = "category", .type = CONF_TYPE_TEXT, .offset = offsetof(struct run_settings, category)},
	{.name = "counter", .type = CONF_TYPE_TEXT, .offset = offsetof(struct run_settings, counter)},
	{.name = "source", .type = CONF_TYPE_TEXT, .offset = offsetof(struct run_settings, source)},
	{.name = "lifetime",
	 .type = CONF_TYPE_WORD,
	 .offset = offsetof(struct run_settings, lifetime),
	 .words = lifetime_words},
};
static const struct conf_table run_table = {
	.program = "run",
	.summary = "",
	.usage = "",
	.at = run_settings_table,
	.n = countof(run_settings_table),
};

/* category.NAME.* */
struct category_settings {
	int64_t running;
	uint64_t memory, disk;
	int learn;
};

static const char *const learn_words[] = {"no", "yes", NULL};

static const struct conf_setting category_settings_table[] = {
	{.name = "running",
	 .type = CONF_TYPE_INT,
	 .offset = offsetof(struct category_settings, running),
	 .least = "0",
	 .most = "1000000000"},
	{.name = "memory",
	 .type = CONF_TYPE_SIZE,
	 .offset = offsetof(struct category_settings, memory),
	 .most = "1024P"},
	{.name = "disk", .type = CONF_TYPE_SIZE, .offset = offsetof(struct category_settings, disk), .most = "1024P"},
	{.name = "learn",
	 .type = CONF_TYPE_WORD,
	 .offset = offsetof(struct category_settings, learn),
	 .words = learn_words},
};
static const struct conf_table category_table = {
	.program = "category",
	.summary = "",
	.usage = "",
	.at = category_settings_table,
	.n = countof(category_settings_table),
};

/* ---- what is checked here, so that it is said to who wrote it */

/* "NAME.memory" = value. The name may hold points itself. */
static int check_category(const char *rest, const char *value)
{
	struct category_settings s = {0};
	struct conf_error e;
	const char *point = strrchr(rest, '.');
	if (!point || point == rest || point - rest > NAME_MOST)
		return error_set(EINVAL,
				 "category.%.300s: write category.NAME.SETTING; the settings are running, memory, disk "
				 "and learn",
				 rest);
	/* Empty is good for all of them; the name is looked at all the same. */
	const char *shown = *value ? value : streq(point + 1, "learn") ? learn_words[0] : "0";
	int r = conf_set(&category_table, &s, point + 1, shown, &e);
	return r < 0 ? error_set(-r, "category.%.*s: %s", (int)(point - rest), rest, e.text) : 0;
}

static int check_counter(const char *name, const char *value)
{
	if (!*name)
		return error_set(EINVAL, "counter.: write counter.NAME, with a name of 1 to %d characters", NAME_MOST);
	int r = value_check_name("counter", name, strlen(name));
	if (r < 0)
		return r;
	if (strspn(value, "0123456789") != strlen(value) || strlen(value) > 18)
		return error_set(EINVAL, "counter.%s '%s': not an amount: give a number like 4", name, value);
	return 0;
}

/* "/DIRECTORY.running" = value: a filesystem is known by its first directory. */
static int check_source(const char *rest, const char *value)
{
	size_t n = strlen(rest), n_end = strlen(".running");
	if (n <= n_end + 1 || *rest != '/' || !streq(rest + n - n_end, ".running") || memchr(rest + 1, '/', n - 1))
		return error_set(EINVAL,
				 "source.%.300s: write source./DIRECTORY.running, with a first directory as in "
				 "source./data.running",
				 rest);
	if (strspn(value, "0123456789") != strlen(value) || strlen(value) > 9)
		return error_set(EINVAL, "source.%s '%s': not an amount: give a number like 4", rest, value);
	return 0;
}

static int set_events(struct vine *v, const char *value)
{
	bool is_nodes = streq(value, "nodes");
	if (!is_nodes && *value && !streq(value, "none"))
		return error_set(EINVAL, "events '%s': none of the words: give one of none, nodes", value);
	v->has_watch = is_nodes;
	struct ask ask = {.is_watch = true,
			  .needs_run = v->has_run,
			  .needs_minor = is_nodes ? 2 : 0,
			  .patience_usec = SETTING_USEC};
	int r = ask_wait(v, &ask);
	if (r < 0)
		v->has_watch = false;
	return r;
}

/* Counters and sources are the cluster's, the rest is the run's. */
static int send_setting(struct vine *v, bool is_of_run, const char *name, const char *value)
{
	struct wire_set message = {.name = name, .value = value};
	struct ask ask = {.type = WIRE_SET,
			  .message = &message,
			  .needs_run = is_of_run,
			  .run = is_of_run ? &message.run : NULL,
			  .needs_minor = 2,
			  .patience_usec = SETTING_USEC};
	if (is_of_run)
		v->has_run = true;
	return ask_wait(v, &ask);
}

/* Whatever has no prefix that is known; in "categry.x.memory" only the first word can be meant wrongly. */
static int check_plain(const char *name, const char *value)
{
	struct run_settings s = {.lifetime = 0};
	struct conf_error e;
	_free_ char *first = xasprintf("%.*s", (int)strcspn(name, "."), name);
	if (streq(first, "category") || streq(first, "counter") || streq(first, "source"))
		return error_set(EINVAL, "%s: write category.NAME.SETTING, counter.NAME or source./DIRECTORY.running",
				 name);
	if (strchr(name, '.') && (streq(first, "lifetime") || streq(first, "events")))
		return error_set(EINVAL, "unknown setting %s: did you mean %s?", name, first);
	return conf_set(&run_table, &s, first, *value ? value : lifetime_words[0], &e) < 0
		       ? error_set(EINVAL, "%s", e.text)
		       : 0;
}

static int set(struct vine *v, const char *name, const char *value)
{
	int r = value_check_word("setting", name, VALUE_MOST);
	if (!r)
		r = value_check_word(name, value, VALUE_MOST);
	if (r < 0)
		return r;
	if (streq(name, "events"))
		return set_events(v, value);
	if (has_prefix(name, "category."))
		r = check_category(name + strlen("category."), value);
	else if (has_prefix(name, "counter."))
		r = check_counter(name + strlen("counter."), value);
	else if (has_prefix(name, "source."))
		r = check_source(name + strlen("source."), value);
	else
		r = check_plain(name, value);
	bool is_of_cluster = has_prefix(name, "counter.") || has_prefix(name, "source.");
	return r < 0 ? r : send_setting(v, !is_of_cluster, name, value);
}

int vine_set(struct vine *v, const char *name, const char *value)
{
	int r = session_enter(v);
	if (r < 0)
		return r;
	r = set(v, name, value ?: "");
	session_leave(v);
	return r;
}

/* ---- forgetting */

static int send_forget(struct vine *v, const struct wire_forget *m, const char **run)
{
	struct ask ask = {.type = WIRE_FORGET,
			  .message = m,
			  .needs_run = run != NULL,
			  .run = run,
			  .needs_minor = 2,
			  .patience_usec = SETTING_USEC};
	return ask_wait(v, &ask);
}

/* Another run than the session's is attached to first, without its results. If the connection is lost in between, again. `item` NULL: all of it. */
static int forget_run(struct vine *v, const char *run, const char *item)
{
	struct wire_attach attach = {.run = run, .must_exist = true};
	struct wire_forget forget = {.run = run, .items = {&item, item != NULL}};
	int r = -ENOENT;
	for (int i = 0; i < FORGET_TRIES && r == -ENOENT; i++) {
		struct ask ask = {
			.type = WIRE_ATTACH, .message = &attach, .needs_minor = 2, .patience_usec = SETTING_USEC};
		int there = ask_wait(v, &ask);
		if (there < 0)
			return there;
		r = send_forget(v, &forget, NULL);
	}
	return r;
}

static int forget_own(struct vine *v, const char *item)
{
	struct wire_forget m = {.items = {&item, item != NULL}};
	/* What was acknowledged just now is not unread any more. */
	int r = item ? 0 : session_wait_for_acks(v);
	return r < 0 ? r : send_forget(v, &m, &m.run);
}

int vine_forget(struct vine *v, const char *selector)
{
	int r = selector ? value_check_word("selector", selector, ITEM_MOST) : 0;
	if (r < 0)
		return r;
	if (selector && !*selector)
		return error_set(EINVAL, "selector '': wants a file's name, a run's, or NULL for this session's run");
	r = session_enter(v);
	if (r < 0)
		return r;
	/* A run's name has neither colon nor slash, a file's always has a colon, and a slash before it only if a run stands there. */
	const char *colon = selector ? strchr(selector, ':') : NULL, *slash = selector ? strchr(selector, '/') : NULL;
	bool is_of_run = slash && colon && slash < colon;
	_free_ char *run = is_of_run ? xstrndup(selector, (size_t)(slash - selector))
				     : xstrdup(selector && !colon ? selector : "");
	const char *item = is_of_run ? slash + 1 : colon ? selector : NULL;
	if (*run && !streq(run, vine_run(v)))
		r = forget_run(v, run, item);
	else if (v->has_run) /* one that nothing was posted to knows nothing */
		r = forget_own(v, item);
	session_leave(v);
	return r;
}
