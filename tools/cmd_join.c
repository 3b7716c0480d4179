/* SPDX-License-Identifier: Apache-2.0
 * vine join: this machine becomes a node of somebody's cluster. */
#include "common/net.h"
#include "common/path.h"
#include "common/secret.h"
#include "common/service.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/embed.h"
#include "tools/json.h"
#include "tools/node.h"
#include "tools/share.h"
#include "tools/when.h"

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define SECRET_ROOM 256 /* one that is longer is none */

#define CONF_STRUCT join_options
#define CONF_FILE "tools/join.def"
#include "common/conf_struct.h"
#define CONF_STRUCT join_options
#define CONF_FILE "tools/join.def"
#include "common/conf_table.h"

/* As run and submit call it. */
static const struct conf_foreign join_foreign[] = {{.name = "mem", .means = "memory"}, {.name = NULL}};

const struct conf_table join_table = {
	.program = "vine join",
	.summary = "make this machine a node of the cluster at HOST:PORT",
	.usage = "[HOST:PORT]",
	.at = join_options_table,
	.n = countof(join_options_table),
	.foreign = join_foreign,
};

char *join_state(const char *address)
{
	const char *node = getenv("SLURMD_NODENAME");
	/* Several nodes of a batch system may be one machine, and a home on a local disk is then one, too. */
	_free_ char *name = xasprintf("join-%s%s%s", address, node && *node ? "-" : "", node ?: "");
	for (char *p = name; *p; p++)
		if (strchr("/:[]", *p))
			*p = '-';
	return service_state_path(name);
}

/* ---- the secret */

/* From standard input into a file of the node's, so that it is in no command line and in no environment. */
static int take_secret(const char *path)
{
	char text[SECRET_ROOM];
	size_t n = 0;
	ssize_t got = 1;
	while (n < sizeof text && got) {
		got = read(STDIN_FILENO, text + n, sizeof text - n);
		if (got < 0 && errno != EINTR)
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	int r = got < 0 ? -errno : n ? path_write(path, text, n, 0600, true) : -ENODATA;
	secret_wipe(text, sizeof text);
	return r;
}

/* Which file it is, and that it can be used; NULL after saying why it cannot. Yours to free. */
static char *find_secret(const struct join_options *o, const char *real)
{
	const char *told = getenv("VINE_SECRET");
	bool is_input = streq(o->secret, "-");
	_free_ char *kept = path_join(real, "secret");
	_free_ char *path = xstrdup(is_input ? kept : *o->secret ? o->secret : told && *told ? told : kept);
	uint8_t secret[SECRET_SIZE];
	struct conf_error e = {""};
	int r = is_input ? take_secret(kept) : 0;
	if (r) {
		tool_fail(&join_table, "the secret from standard input: %s",
			  r == -ENODATA ? "nothing came" : strerror(-r));
		return NULL;
	}
	if (!is_input && streq(path, kept) && access(kept, F_OK) < 0) {
		tool_fail(&join_table,
			  "--secret=FILE is missing: a copy of the file secret in the cluster's directory, mode 600; "
			  "or --secret - and it on standard input");
		return NULL;
	}
	r = secret_read(path, secret, &e);
	secret_wipe(secret, sizeof secret);
	if (r < 0) {
		tool_fail(&join_table, "%s", e.text);
		/* What is no secret is not kept. */
		if (is_input)
			unlink(kept);
		return NULL;
	}
	return steal(path);
}

/* ---- the way there */

/* A node would try again for ever; a person wants to know. */
static int try_cluster(const char *address, const char *secret)
{
	struct vine *v = NULL;
	setenv("VINE_SECRET", secret, 1);
	if (vine_open(&v, address, NULL) < 0)
		return tool_fail(&join_table,
				 "%s; the address is what `vine up --listen` said there, and a firewall must let it "
				 "pass",
				 vine_error());
	vine_close(v, 1);
	return 0;
}

/* ---- the node */

/* What is a batch system's to say, and has not been said otherwise; vinefs reads its settings there. */
static void offer(const char *name, const char *value)
{
	if (value && *value)
		setenv(name, value, 0);
}

static void offer_number(const char *name, uint64_t value, const char *unit)
{
	_free_ char *text = value ? xasprintf("%" PRIu64 "%s", value, unit) : NULL;
	offer(name, text);
}

static void offer_share(const struct join_options *o)
{
	_cleanup_(share_fini) struct share s;
	share_read(&s, (uint64_t)time(NULL));
	if (*o->rack)
		setenv("VINEFS_RACK", o->rack, 1);
	offer("VINEFS_NAME", s.node);
	offer("VINEFS_RACK", s.rack);
	offer_number("VINEFS_CORES", s.cores, "");
	offer_number("VINEFS_MEMORY", s.memory, "");
	offer_number("VINEFS_GPUS", s.gpus, "");
	offer_number("VINEFS_STAYS", s.left_usec / 1000000, "s");
}

#define WORDS_MOST 12

struct words {
	const char *at[WORDS_MOST + 1];
	char *made[WORDS_MOST];
	unsigned n, n_made;
};

static _printf_(2, 3) void add_word(struct words *w, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	assert(w->n < WORDS_MOST);
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	w->at[w->n++] = w->made[w->n_made++] = text;
}

static void words_fini(struct words *w)
{
	while (w->n_made)
		free(w->made[--w->n_made]);
}

static void make_words(struct words *w, const struct join_options *o, const char *address, const char *real,
		       const char *secret)
{
	w->at[w->n++] = "vinefs";
	add_word(w, "--state=%s", real);
	add_word(w, "--vined=%s", address);
	add_word(w, "--secret=%s", secret);
	add_word(w, "--idle-exit=0s");
	if (o->detach)
		add_word(w, "--detach");
	if (*o->name)
		add_word(w, "--name=%s", o->name);
	if (o->cores)
		add_word(w, "--cores=%" PRId64, o->cores);
	if (o->memory)
		add_word(w, "--memory=%" PRIu64, o->memory);
	if (o->stays)
		add_word(w, "--stays=%" PRIu64 "ms", max(o->stays / 1000, (uint64_t)1));
}

/* In place of this process, so that signals, process group and exit status are the node's own. */
static int become(const struct words *w)
{
	static const char *const places[] = {"vinefs", "../sbin/vinefs", "../vinefs/vinefs", SBINDIR "/vinefs", NULL};
	_free_ char *path = node_program("VINE_VINEFS", places);
	if (!path)
		return tool_fail(&join_table, "the program vinefs is not found: set VINE_VINEFS to its path");
	execv(path, (char **)(uintptr_t)w->at);
	return tool_fail(&join_table, "%s: %s", path, strerror(errno));
}

static int start(struct embed *e, const struct words *w)
{
	struct embed_child c;
	int r = embed_spawn(e, "vinefs", w->at, &c);
	return r ? r : embed_wait(e, &c);
}

static int say_joined(const struct join_options *o, const char *address, const char *real)
{
	_free_ char *end = *o->state ? xasprintf("kill $(cat %s/lock)", real) : xasprintf("vine down %s", address);
	if (o->json) {
		struct json j = {0};
		json_begin(&j, NULL, '{');
		json_text(&j, "address", address);
		json_text(&j, "state", real);
		json_end(&j, '}');
		json_print(&j);
	} else {
		printf("This machine is a node of the cluster at %s, in %s; `%s` ends it.\n", address, real, end);
	}
	return tool_end(&join_table, 0);
}

static int join(const struct join_options *o, const char *address)
{
	_cleanup_(embed_fini) struct embed e = {.name = xstrdup(address), .is_join = true};
	_cleanup_(words_fini) struct words w = {.n = 0};
	_free_ char *state = *o->state ? xstrdup(o->state) : join_state(address), *real = NULL;
	struct net_address a = {.n = 0};
	int r = net_parse(address, &a);
	if (r == -EINVAL || (!r && net_is_local(&a)))
		return tool_fail(&join_table,
				 "%s: not HOST:PORT; `vine up --listen HOST:PORT` on the other machine says it",
				 address);
	if (embed_owner(state, EMBED_NODE))
		return tool_fail(&join_table, "this machine is a node of %s already, in %s; `vine down %s` ends it",
				 address, state, address);
	if (embed_place(&e, state, &real))
		return tool_fail(&join_table, "%s", e.error);
	e.state = xstrdup(real);
	_free_ char *secret = find_secret(o, real);
	/* Who starts it without waiting lets it wait for a vined that comes later. */
	if (!secret || (o->detach && try_cluster(address, secret)))
		return EXIT_VINE_FAILED;
	offer_share(o);
	make_words(&w, o, address, real, secret);
	if (!o->detach)
		return become(&w);
	return start(&e, &w) ? tool_fail(&join_table, "%s", e.error) : say_joined(o, address, real);
}

/* --until says the same as --stays. */
static int settle_end(struct join_options *o)
{
	struct timespec t;
	int64_t until;
	if (!*o->until)
		return 0;
	if (o->stays)
		return tool_fail(&join_table, "--until and --stays say the same: give one of them");
	if (conf_parse_time(o->until, &o->stays) == 0)
		return o->stays ? 0 : tool_fail(&join_table, "--until=%s: that is over", o->until);
	clock_gettime(CLOCK_REALTIME, &t);
	const int64_t now = t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
	if (when_parse(o->until, now, &until))
		return tool_fail(&join_table,
				 "--until=%s: not a time like 17:30 or 2026-11-22T17:30:00, nor as long as 8h",
				 o->until);
	/* A time of day that is over is tomorrow's. */
	if (until <= now && !strchr(o->until, '-'))
		until += INT64_C(86400000000);
	if (until <= now)
		return tool_fail(&join_table, "--until=%s: that is over", o->until);
	o->stays = (uint64_t)(until - now);
	return 0;
}

int cmd_join(int argc, char **argv)
{
	struct join_options o = {0};
	int status, n = tool_words(&join_table, &o, argc, argv, &status);
	const char *told = getenv("VINE");
	/* The path of a socket leads to a cluster of this machine. */
	if (told && (*told == '/' || !strchr(told, ':')))
		told = NULL;
	if (n > 1 || (n == 0 && !told))
		status = tool_fail(&join_table, "which cluster? Try: vine join HOST:PORT --secret FILE");
	else if (n >= 0 && !(status = settle_end(&o)))
		status = join(&o, n ? argv[1] : told);
	conf_fini(&join_table, &o);
	return status;
}
