/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/settings.h"

#include "common/log_journal.h"
#include "common/net.h"
#include "common/path.h"
#include "common/service.h"
#include "common/wire.h"

#include <stdio.h>
#include <unistd.h>

#define CONF_STRUCT settings
#define CONF_FILE "vined/settings.def"
#include "common/conf_table.h"

static const struct conf_table table = {
	.program = "vined",
	.prefix = "VINED",
	.summary = "schedules a cluster's tasks and remembers them",
	.usage = "",
	.at = settings_table,
	.n = countof(settings_table),
};

/* A host name that cannot be resolved is the listener's to report; what is no address at all is said here. */
static int check(const struct settings *s)
{
	struct net_address a;
	assert(*s->state == '/' && *s->socket == '/');
	if (net_parse(s->listen, &a) == -EINVAL || net_is_local(&a)) {
		fprintf(stderr, "vined: --listen=%s: not HOST:PORT\n", s->listen);
		return -EINVAL;
	}
	if (strlen(s->name) > WIRE_NAME_MAX) {
		fprintf(stderr, "vined: --name: %zu characters, at most %d are allowed\n", strlen(s->name),
			WIRE_NAME_MAX);
		return -EINVAL;
	}
	return 0;
}

int settings_read(struct settings *s, int argc, char **argv)
{
	int first = argc;
	char host[256] = "";
	*s = (struct settings){0};
	int r = service_settings(&table, s, argc, argv, &first);
	if (r < 0)
		return r;
	if (first < argc) {
		fprintf(stderr, "vined: '%s' is no option; see vined --help\n", argv[first]);
		settings_fini(s);
		return -EINVAL;
	}
	gethostname(host, WIRE_NAME_MAX);
	conf_fill_in(&s->state, service_state_path("default"));
	conf_fill_in(&s->socket, path_join(s->state, "vined.sock"));
	conf_fill_in(&s->secret, path_join(s->state, "secret"));
	conf_fill_in(&s->name, xstrdup(*host ? host : "vined"));
	char *log = log_where(s->log);
	free(s->log);
	s->log = log;
	if (s->detach)
		conf_fill_in(&s->log, path_join(s->state, "vined.log"));
	r = check(s);
	if (r)
		settings_fini(s);
	return r;
}

void settings_fini(struct settings *s)
{
	conf_fini(&table, s);
	*s = (struct settings){0};
}
