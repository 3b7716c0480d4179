/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/settings.h"

#include "common/net.h"
#include "common/path.h"
#include "common/service.h"
#include "common/wire.h"

#include <stdio.h>
#include <unistd.h>

#define RACK_MAX 256u /* as vined takes it */

const char *const tier_words[] = {"auto", "views", "mount", "plain", NULL};
const char *const data_words[] = {"tls", "plain", NULL};

#define CONF_STRUCT settings
#define CONF_FILE "vinefs/settings.def"
#include "common/conf_table.h"

static const struct conf_table table = {
	.program = "vinefs",
	.prefix = "VINEFS",
	.summary = "runs a cluster's tasks on this node and gives them their data",
	.usage = "",
	.at = settings_table,
	.n = countof(settings_table),
};

bool settings_is_alone(const struct settings *s)
{
	return streq(s->vined, "none");
}

static int check(const struct settings *s)
{
	struct net_address address;
	assert(*s->state == '/');
	/* A name that cannot be resolved today may be tomorrow; a text that is no address never will. */
	if (!settings_is_alone(s) && net_parse(s->vined, &address) == -EINVAL) {
		fprintf(stderr, "vinefs: --vined=%s: not HOST:PORT, the path of a socket, or none\n", s->vined);
		return -EINVAL;
	}
	if (strlen(s->name) > WIRE_NAME_MAX) {
		fprintf(stderr, "vinefs: --name: %zu characters, at most %d are allowed\n", strlen(s->name),
			WIRE_NAME_MAX);
		return -EINVAL;
	}
	if (strlen(s->rack) > RACK_MAX) {
		fprintf(stderr, "vinefs: --rack: %zu characters, at most %u are allowed\n", strlen(s->rack), RACK_MAX);
		return -EINVAL;
	}
	if (s->cache_low >= s->cache_high) {
		fprintf(stderr, "vinefs: --cache-low=%d is not below --cache-high=%d\n", (int)s->cache_low,
			(int)s->cache_high);
		return -EINVAL;
	}
	return 0;
}

/* What is not said is the default cluster's, as `vined` without words makes it. */
static void fill_in(struct settings *s)
{
	_free_ char *cluster = service_state_path("default");
	char host[256] = "";
	gethostname(host, WIRE_NAME_MAX);
	conf_fill_in(&s->name, xstrdup(*host ? host : "node"));
	conf_fill_in(&s->state, service_state_path("node"));
	conf_fill_in(&s->cache, path_join(s->state, "cache"));
	conf_fill_in(&s->vined, path_join(cluster, "vined.sock"));
	conf_fill_in(&s->secret, path_join(cluster, "secret"));
}

int settings_read(struct settings *s, int argc, char **argv)
{
	int first = argc;
	*s = (struct settings){0};
	int r = service_settings(&table, s, argc, argv, &first);
	if (r == 0 && first < argc) {
		fprintf(stderr, "vinefs: '%s' is no option; see vinefs --help\n", argv[first]);
		r = -EINVAL;
	}
	if (r == 0) {
		fill_in(s);
		r = check(s);
	}
	if (r)
		settings_fini(s);
	return r;
}

int settings_find_work(struct settings *s)
{
	struct conf_error e = {""};
	_free_ char *path = path_join(s->state, "work-for");
	int r = settings_is_alone(s) ? conf_read_file(&table, s, path, &e) : -ENOENT;
	if (r == 0)
		r = check(s);
	else if (r != -ENOENT)
		fprintf(stderr, "vinefs: %s\n", e.text);
	return r == -ENOENT ? 0 : r < 0 ? r : !settings_is_alone(s);
}

void settings_fini(struct settings *s)
{
	conf_fini(&table, s);
	*s = (struct settings){0};
}
