/* SPDX-License-Identifier: Apache-2.0
 * Finds a cluster: its NAME, its directory, or HOST:PORT and a secret. */
#include "common/net.h"
#include "common/path.h"
#include "common/service.h"
#include "libvineclient/client.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* vined takes nobody in but its own user, so another one need not wait to be let in. A socket that is not there may come. */
static int check_owner(const struct cluster *c)
{
	struct stat st;
	if (stat(c->address, &st) == 0 && st.st_uid != geteuid())
		return error_set(EPERM, "cluster %s: its socket belongs to user %u, and this is user %u", c->name,
				 (unsigned)st.st_uid, (unsigned)geteuid());
	return 0;
}

/* Where its path is too long for a socket the directory may be a link to one whose path is not. */
static char *socket_in(const char *directory)
{
	struct sockaddr_un un;
	_free_ char *path = path_join(directory, "vined.sock");
	_free_ char *real = strlen(path) < sizeof un.sun_path ? NULL : realpath(directory, NULL);
	return real ? path_join(real, "vined.sock") : steal(path);
}

static int find_directory(struct cluster *c, const char *name, char *directory)
{
	_free_ char *at = directory;
	struct stat st;
	size_t n = strlen(at);
	c->is_local = true;
	/* The socket itself, as vined's ready line says it; it may come back when vined does. */
	if (n > 5 && streq(at + n - 5, ".sock")) {
		c->name = xstrdup(at);
		c->address = steal(at);
		return check_owner(c);
	}
	if (stat(at, &st) < 0) {
		int e = errno;
		if (e == ENOENT)
			return error_set(e,
					 "there is no cluster %s: %s does not exist; `vine up` starts one, or name a "
					 "cluster with VINE=NAME, /DIR or HOST:PORT",
					 name, at);
		return error_set(e, "cluster %s: %s: %s", name, at, strerror(e));
	}
	if (!S_ISDIR(st.st_mode))
		return error_set(ENOTDIR,
				 "cluster %s: %s is not a directory; name the directory that vined keeps "
				 "its state in",
				 name, at);
	c->address = socket_in(at);
	c->name = streq(name, at) ? xstrdup(at) : xasprintf("%s (%s)", name, at);
	return check_owner(c);
}

static int find_host(struct cluster *c, const char *where)
{
	struct net_address a;
	int r = net_parse(where, &a);
	if (r == -EHOSTUNREACH)
		return error_set(EHOSTUNREACH, "cluster %s: no such host is known; VINE wants HOST:PORT", where);
	if (r < 0)
		return error_set(-r, "cluster %s: not an address; VINE wants NAME, /DIR or HOST:PORT", where);
	const char *given = getenv("VINE_SECRET");
	_free_ char *home = service_state_path("default");
	_free_ char *path = given && *given ? xstrdup(given) : path_join(home, "secret");
	struct conf_error e;
	r = secret_read(path, c->secret, &e);
	if (r < 0)
		return error_set(-r, "cluster %s: %s; VINE_SECRET=FILE names the cluster's secret", where, e.text);
	c->address = xstrdup(where);
	c->name = xstrdup(where);
	return 0;
}

int cluster_find(struct cluster *c, const char *where)
{
	if (!where)
		where = getenv("VINE");
	if (!where || !*where)
		where = "default";
	if (strchr(where, '/'))
		return find_directory(c, where, xstrdup(where));
	if (strchr(where, ':'))
		return find_host(c, where);
	if (path_check(where, strlen(where)) < 0)
		return error_set(EINVAL, "cluster %s: not a name; VINE wants NAME, /DIR or HOST:PORT", where);
	return find_directory(c, where, service_state_path(where));
}

void cluster_fini(struct cluster *c)
{
	secret_wipe(c->secret, sizeof c->secret);
	free(c->address);
	free(c->name);
}
