/* SPDX-License-Identifier: Apache-2.0
 * vined: the scheduler daemon. From settings to the ready line, and back down in order. */
#include "common/listen.h"
#include "common/log_journal.h"
#include "common/path.h"
#include "common/secret.h"
#include "common/service.h"
#include "vined/client.h"
#include "vined/command.h"
#include "vined/idle.h"
#include "vined/metrics.h"
#include "vined/node.h"
#include "vined/salvage.h"
#include "vined/settings.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BACKLOG 4096
#define FAREWELL_USEC 2500000u /* what connections get to take our BYE */

struct vined {
	struct settings settings;
	int lock, log;
	struct loop *loop;
	struct store *store;
	struct driver *driver;
	struct tls_context *tls;
	struct listener *tcp, *local;
	struct nodes nodes;
	struct clients clients;
	struct command command;
	struct vined_metrics figures;
	struct metrics_server *metrics;
	struct idle idle;
	char *stay;
	struct wire_hello hello;
	struct timer farewell;
	struct before_sleep is_done;
	char address[NET_TEXT_SIZE];
	bool is_stopping;
};

/* ---- connections */

/* By TLS nobody proves to be a vined, by the Unix socket anyone can say so. */
static void refuse_vined(struct conn *c);

static void take(struct conn *c, const struct wire_hello *peer, bool is_local)
{
	struct vined *v = conn_owner(c);
	assert(!v->is_stopping);
	if (peer->role == TLS_ROLE_NODE)
		nodes_take(&v->nodes, c, peer);
	else if (peer->role == TLS_ROLE_CLIENT)
		clients_take(&v->clients, c, peer, is_local);
	else
		refuse_vined(c);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	take(c, peer, false);
}

static void on_open_local(struct conn *c, const struct wire_hello *peer)
{
	take(c, peer, true);
}

/* They have an owner before any message or end can come. */
static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)message;
	assert(!"a message before on_open");
	conn_reply_status(c, h->id, EPROTO, "%s", "HELLO comes first");
}

static void on_close(struct conn *c, int error, const char *reason)
{
	/* It never opened: the listener logs and frees it. */
	(void)c, (void)error, (void)reason;
}

static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
static const struct conn_ops local_ops = {.on_open = on_open_local, .on_message = on_message, .on_close = on_close};

static void on_refused_message(struct conn *c, const struct wire_head *h, const void *message)
{
	/* What it still sends is dropped. */
	(void)c, (void)h, (void)message;
}

static void on_refused_close(struct conn *c, int error, const char *reason)
{
	(void)error, (void)reason;
	conn_free(c);
}

static void refuse_vined(struct conn *c)
{
	static const struct conn_ops refused_ops = {.on_message = on_refused_message, .on_close = on_refused_close};
	log_warn("%s: refused: it says it is a vined", conn_peer_name(c));
	conn_set(c, &refused_ops, NULL);
	conn_close(c, "wrong role: only nodes and clients connect to a vined", true);
}

static void on_query(void *arg, struct conn *c, uint64_t id, const struct wire_query *q)
{
	command_query(arg, c, id, q);
}

/* By TCP only who knows the secret gets as far as HELLO; by the Unix socket, only who has our uid. */
static int start_listener(struct vined *v, const char *where, struct tls_context *tls, struct listener **out,
			  struct conf_error *e)
{
	struct net_address a;
	int r = net_parse(where, &a);
	int fd = r ? r : net_listen(&a, BACKLOG);
	if (fd < 0) {
		snprintf(e->text, sizeof e->text, "cannot listen on %s: %s", where, strerror(-fd));
		return fd;
	}
	if (tls && net_own_address(fd, &a) == 0)
		net_text(&a, v->address);
	const struct listener_options o = {
		.conn = {
			.ops = tls ? &ops : &local_ops,
			.owner = v,
			.tls = tls,
			.hello = &v->hello,
			.cluster = v->hello.cluster,
			/* A local peer that is gone is known to be; one that is silent was stopped, by Ctrl-Z perhaps. */
			.silent_usec = tls ? 0 : UINT64_MAX}};
	*out = listener_new(v->loop, fd, &o);
	if (*out)
		return 0;
	r = -errno;
	snprintf(e->text, sizeof e->text, "cannot listen on %s: %s", where, strerror(-r));
	return r;
}

/* ---- the end */

/* Once every connection has gone, nothing more can be promised. */
static void on_turn(struct before_sleep *b)
{
	struct vined *v = container_of(b, struct vined, is_done);
	if (v->is_stopping && list_is_empty(&v->nodes.all) && list_is_empty(&v->clients.all))
		loop_stop(v->loop, 0);
}

static void on_farewell(struct timer *t)
{
	struct vined *v = container_of(t, struct vined, farewell);
	loop_stop(v->loop, 0);
}

/* A socket that is there says that vined is, or has crashed. */
static void end(struct vined *v, bool with_nodes)
{
	v->is_stopping = true;
	idle_stop(&v->idle);
	listener_free(steal(v->tcp));
	listener_free(steal(v->local));
	unlink(v->settings.socket);
	metrics_server_free(steal(v->metrics));
	nodes_close(&v->nodes, "vined stops", with_nodes);
	clients_close(&v->clients, "vined stops");
	timer_start(&v->farewell, v->loop, FAREWELL_USEC, on_farewell);
}

static void on_signal(int signo, void *arg)
{
	struct vined *v = arg;
	if (v->is_stopping)
		return;
	log_info("stopping: %s", strsignal(signo));
	end(v, false);
}

static void on_idle(struct idle *i)
{
	struct vined *v = container_of(i, struct vined, idle);
	assert(!v->is_stopping);
	log_info("stopping: nobody has used it for so long as --idle-exit says");
	end(v, true);
}

static void stop(struct vined *v)
{
	listener_free(v->tcp);
	listener_free(v->local);
	metrics_server_free(v->metrics);
	if (v->clients.driver)
		clients_fini(&v->clients);
	if (v->nodes.driver)
		nodes_fini(&v->nodes);
	if (v->store && v->loop) {
		/* What it still has to say is heard by nobody, but frees what waits for it. */
		store_finish(v->store);
		loop_turn(v->loop, 0);
	}
	timer_stop(&v->farewell);
	idle_stop(&v->idle);
	before_sleep_stop(&v->is_done);
	driver_free(v->driver);
	store_free(v->store);
	tls_context_free(v->tls);
	loop_free(v->loop);
	settings_fini(&v->settings);
	free(v->stay);
	close_fd(v->lock);
	if (v->log != STDERR_FILENO)
		close_fd(v->log);
}

/* ---- the beginning */

/* The lock comes before all else: a second instance must not even look at the database. */
static int open_state(struct vined *v, struct conf_error *e)
{
	const struct settings *s = &v->settings;
	v->lock = service_lock(s->state, "vined", s->exclusive, e);
	if (v->lock < 0)
		return v->lock;
	/* Above it there may be symbolic links, as in a HOME; the database itself must be none. */
	_free_ char *state = realpath(s->state, NULL);
	if (!state) {
		int r = -errno;
		snprintf(e->text, sizeof e->text, "%s: %s", s->state, strerror(-r));
		return r;
	}
	_free_ char *path = path_join(state, "vined.db");
	return store_open(&v->store, &(struct store_options){path, s->exclusive}, e);
}

static int open_secret(struct vined *v, struct conf_error *e)
{
	uint8_t secret[SECRET_SIZE];
	int r = secret_read_or_make(v->settings.secret, secret, e);
	if (r)
		return r;
	v->tls = tls_context_new(secret, TLS_ROLE_VINED, 1u << TLS_ROLE_NODE | 1u << TLS_ROLE_CLIENT);
	secret_wipe(secret, sizeof secret);
	if (v->tls)
		return 0;
	snprintf(e->text, sizeof e->text, "cannot set up TLS: %s", strerror(errno));
	return -errno;
}

static int open_log(struct vined *v, struct conf_error *e)
{
	const struct settings *s = &v->settings;
	if (log_where_is_file(s->log)) {
		v->log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
		if (v->log < 0) {
			int r = -errno;
			v->log = STDERR_FILENO;
			snprintf(e->text, sizeof e->text, "cannot open the log %s: %s", s->log, strerror(-r));
			return r;
		}
	}
	log_init("vined", (enum log_level)s->log_level, v->log, false);
	log_use(s->log);
	return 0;
}

static void say_hello(struct vined *v)
{
	v->hello = (struct wire_hello){
		.role = TLS_ROLE_VINED,
		.version = PACKAGE_VERSION,
		.cluster = store_cluster(v->store),
		.boot = store_boot(v->store),
		.name = v->settings.name,
	};
	secret_random(&v->hello.instance, sizeof v->hello.instance);
}

static int start_driver(struct vined *v, struct conf_error *e)
{
	const struct settings *s = &v->settings;
	v->driver = driver_new(&(struct driver_options){
		.loop = v->loop,
		.store = v->store,
		.node_timeout_usec = s->node_timeout,
		.client_timeout_usec = s->client_timeout,
		.grace_usec = s->stop_grace,
		.crash_limit = (unsigned)s->crash_limit,
	});
	int r = driver_load(v->driver);
	store_keep(v->store, s->keep);
	if (!r)
		r = store_start(v->store, v->loop);
	if (r) {
		snprintf(e->text, sizeof e->text, "%s/vined.db: cannot load: %s%s", s->state, strerror(-r),
			 r == -EUCLEAN
				 ? "; `vined --salvage` with the same --state copies what can be read into a new one"
				 : "");
		return r;
	}
	driver_start(v->driver);
	nodes_init(&v->nodes, v->driver);
	clients_init(&v->clients, v->driver);
	v->command = (struct command){
		.driver = v->driver,
		.name = s->name,
		.address = v->address,
		.socket = s->socket,
		.state = s->state,
		.started_usec = loop_now_usec(v->loop),
		.loop = v->loop,
		.n_clients = &v->clients.n,
	};
	v->figures = (struct vined_metrics){
		.loop = v->loop,
		.driver = v->driver,
		.n_clients = &v->clients.n,
		.started_usec = loop_now_usec(v->loop),
	};
	v->clients.on_query = on_query;
	v->clients.arg = &v->command;
	return 0;
}

/* Nodes know the address that they were given: where the port is left to us, the last one is taken again if it is free. */
static int listen_again(struct vined *v, const char *path)
{
	struct net_address wanted, last;
	struct conf_error e;
	char text[NET_TEXT_SIZE];
	size_t n = 0;
	_free_ char *line = path_read(path, NET_TEXT_SIZE, &n);
	if (!line)
		return -ENOENT;
	line[strcspn(line, "\n")] = 0;
	if (net_parse(v->settings.listen, &wanted) < 0 || net_parse(line, &last) < 0 || net_is_local(&last))
		return -EINVAL;
	/* Port 0 of the same host? */
	net_text(&wanted, text);
	size_t host = (size_t)(strrchr(text, ':') - text) + 1;
	if (!streq(text + host, "0") || strncmp(text, line, host) != 0)
		return -EINVAL;
	return start_listener(v, line, v->tls, &v->tcp, &e);
}

static int listen_all(struct vined *v, struct conf_error *e)
{
	const struct settings *s = &v->settings;
	_free_ char *path = path_join(s->state, "address"), *line = NULL;
	int r = listen_again(v, path);
	if (r)
		r = start_listener(v, s->listen, v->tls, &v->tcp, e);
	if (!r)
		r = start_listener(v, s->socket, NULL, &v->local, e);
	if (!r)
		r = vined_metrics_listen(&v->metrics, &v->figures, s->metrics, s->state, e);
	if (r)
		return r;
	line = xasprintf("%s\n", v->address);
	r = path_write(path, line, strlen(line), 0600, false);
	if (r)
		snprintf(e->text, sizeof e->text, "cannot write %s: %s", path, strerror(-r));
	return r;
}

/* Listening comes last: by then the boot number is durable and every task of the past is known. */
static int start(struct vined *v, struct conf_error *e)
{
	int r = open_state(v, e);
	if (!r)
		r = open_secret(v, e);
	if (!r)
		r = open_log(v, e);
	if (r)
		return r;
	v->loop = loop_new();
	r = v->loop ? 0 : -errno;
	if (!r)
		r = loop_on_signal(v->loop, SIGTERM, on_signal, v);
	if (!r)
		r = loop_on_signal(v->loop, SIGINT, on_signal, v);
	if (r) {
		snprintf(e->text, sizeof e->text, "cannot set up the event loop: %s", strerror(-r));
		return r;
	}
	say_hello(v);
	r = start_driver(v, e);
	if (!r)
		r = listen_all(v, e);
	if (r)
		return r;
	before_sleep_start(&v->is_done, v->loop, on_turn);
	v->stay = path_join(v->settings.state, "stay");
	v->idle = (struct idle){.loop = v->loop,
				.driver = v->driver,
				.n_clients = &v->clients.n,
				.stay = v->stay,
				.limit_usec = v->settings.idle_exit,
				.on_idle = on_idle};
	idle_start(&v->idle);
	return 0;
}

static int run(struct vined *v)
{
	struct conf_error e = {""};
	int r = start(v, &e);
	if (r) {
		fprintf(stderr, "vined: %s\n", e.text);
		return SERVICE_EXIT_FAILED;
	}
	service_ready("vined ready address=%s socket=%s cluster=%s boot=%llu pid=%d", v->address, v->settings.socket,
		      v->hello.cluster, (unsigned long long)v->hello.boot, (int)getpid());
	log_info("ready at %s and %s, boot %llu", v->address, v->settings.socket, (unsigned long long)v->hello.boot);
	r = loop_run(v->loop);
	if (r < 0)
		log_errno(-r, "event loop");
	log_info("stopped");
	return r < 0 ? SERVICE_EXIT_FAILED : 0;
}

static int salvage_state(const struct settings *s)
{
	struct conf_error e = {""};
	_close_ int lock = service_lock(s->state, "vined", s->exclusive, &e);
	if (lock < 0)
		fprintf(stderr, "vined: %s\n", e.text);
	return lock >= 0 && salvage(s->state) == 0 ? 0 : SERVICE_EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct vined v = {.lock = -1, .log = STDERR_FILENO};
	service_harden();
	log_init("vined", LOG_LEVEL_INFO, STDERR_FILENO, true);
	if (settings_read(&v.settings, argc, argv) < 0)
		return SERVICE_EXIT_FAILED;
	if (v.settings.salvage) {
		int status = salvage_state(&v.settings);
		settings_fini(&v.settings);
		return status;
	}
	/* The log may lie in the state directory, which must be there for that. What the journal does not take has to go somewhere, too. */
	_free_ char *log =
		log_where_is_file(v.settings.log) ? xstrdup(v.settings.log) : path_join(v.settings.state, "vined.log");
	if (v.settings.detach && (path_make_dirs(v.settings.state, 0700) < 0 || service_detach(log) < 0)) {
		fprintf(stderr, "vined: cannot detach: %s: %s\n", log, strerror(errno));
		return SERVICE_EXIT_FAILED;
	}
	int status = run(&v);
	stop(&v);
	return status;
}
