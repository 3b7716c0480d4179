/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/shell_where.h"

#include "common/path.h"

#include <ctype.h>

/* For a shell, as one word. */
static void put_word(struct buf *out, const char *word)
{
	bool is_plain = *word;
	for (const char *p = word; *p; p++)
		is_plain &= isalnum((unsigned char)*p) || strchr("_-./=:,+@%", *p);
	if (is_plain) {
		buf_puts(out, word);
		return;
	}
	buf_puts(out, "'");
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			buf_puts(out, "'\\''");
		else
			buf_put(out, p, 1);
	}
	buf_puts(out, "'");
}

static void put_command(struct buf *out, const struct shell_place *p, char *const *command)
{
	buf_printf(out, "vine shell %s", p->task);
	if (*command)
		buf_puts(out, " --");
	for (; *command; command++) {
		buf_puts(out, " ");
		put_word(out, *command);
	}
}

/* Of HOST:PORT and what follows; NULL: it is none. Yours. */
static char *host_of(const char *address)
{
	_free_ char *first = xstrndup(address ? address : "", strcspn(address ? address : "", " "));
	char *colon = strrchr(first, ':');
	if (!colon || colon == first || strchr(first, '/'))
		return NULL;
	*colon = 0;
	size_t n = strlen(first);
	bool is_bracketed = n > 2 && *first == '[' && first[n - 1] == ']';
	return is_bracketed ? xstrndup(first + 1, n - 2) : xstrdup(first);
}

static bool is_loopback(const char *host)
{
	return has_prefix(host, "127.") || streq(host, "::1") || streq(host, "localhost");
}

/* Whoever came to vined by the loopback, or by its socket, is on vined's machine; NULL: that is this one. */
static char *find_host(const struct shell_place *p)
{
	_free_ char *host = host_of(p->address), *cluster = host_of(p->cluster);
	if (host && !is_loopback(host))
		return steal(host);
	return cluster && !is_loopback(cluster) ? steal(cluster) : NULL;
}

static bool is_this_node(const struct shell_place *p)
{
	size_t n;
	_free_ char *path = path_join(p->state, "node-id"), *id = path_read(path, 100, &n);
	return id && *p->uuid && has_prefix(id, p->uuid);
}

void shell_say_where(const struct shell_place *p, char *const *command, struct buf *out)
{
	_cleanup_(buf_fini) struct buf line = {0};
	_free_ char *host = find_host(p);
	buf_printf(out, "task %s %s on node %s", p->task, p->is_running ? "is" : "was", p->node);
	put_command(&line, p, command);
	if (is_this_node(p)) {
		buf_puts(out, ", which is this machine's, and has left nothing there");
	} else if (!*p->address) {
		buf_printf(out, ", which is away. On its host type: %s", buf_text(&line));
	} else if (!host) {
		buf_printf(out,
			   " of this machine, but not in %s. Type: VINE_NODE=DIR %s, where DIR is that node's --state",
			   p->state, buf_text(&line));
	} else {
		buf_printf(out, " on host %s, and its view is there alone. Type: ssh -t %s ", host, host);
		if (*command)
			put_word(out, buf_text(&line));
		else
			buf_puts(out, buf_text(&line));
		buf_puts(out, " (with VINE_NODE=DIR before vine, if that node has a --state DIR of its own)");
	}
	if (!p->is_running)
		buf_puts(out, ". Of tasks that are over a view is kept for a while if they failed");
}
