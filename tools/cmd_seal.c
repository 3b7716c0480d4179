/* SPDX-License-Identifier: Apache-2.0
 * vine seal: a path becomes a tree. */
#include "common/path.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/node.h"
#include "tools/spool.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#define CONF_STRUCT seal_words
#define CONF_FILE "tools/seal.def"
#include "common/conf_struct.h"
#define CONF_STRUCT seal_words
#define CONF_FILE "tools/seal.def"
#include "common/conf_table.h"

const struct conf_table seal_table = {
	.program = "vine seal",
	.summary = "turn a directory, an archive or a file into a tree",
	.usage = "PATH|-",
	.at = seal_words_table,
	.n = countof(seal_words_table),
};

/* ---- progress */

struct progress {
	uint64_t began_usec, shown_usec;
	bool is_terminal, is_shown;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void on_progress(void *arg, const struct wire_seal_progress *m)
{
	struct progress *p = arg;
	char done[32], found[32], rate[32], left[32];
	uint64_t now = now_usec(), took = max(now - p->began_usec, UINT64_C(1));
	if (!p->is_terminal || now - p->shown_usec < 100000)
		return;
	p->shown_usec = now;
	p->is_shown = true;
	double per_usec = (double)m->bytes_done / (double)took;
	uint64_t rest = m->bytes_found > m->bytes_done ? m->bytes_found - m->bytes_done : 0;
	print_size(done, m->bytes_done);
	print_size(found, m->bytes_found);
	print_size(rate, (uint64_t)(per_usec * 1e6));
	print_usec(left, per_usec > 0 ? (uint64_t)((double)rest / per_usec) : 0);
	fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " files, %s of %s, %s/s, %s left", m->files_done,
		m->files_found, done, found, rate, left);
}

static void clear(const struct progress *p)
{
	if (p->is_shown)
		fputs("\r\033[K", stderr);
}

static void print_summary(const char *path, const struct wire_sealed *m)
{
	char size[32], read[32], took[32];
	print_size(size, m->size);
	print_size(read, m->bytes_read);
	print_usec(took, m->took_usec);
	if (m->draft)
		fprintf(stderr, "%s: %" PRIu64 " names, %s, in %s; it is sealed behind\n", path, m->n_nodes, size,
			took);
	else
		fprintf(stderr, "sealed %s: %" PRIu64 " names, %s, of which %s were read, in %s\n", path, m->n_nodes,
			size, read, took);
}

/* ---- sealing */

static int refuse(const struct conf_table *t, const char *path, const struct wire_sealed *m)
{
	int status = tool_fail(t, "%s: %s", path,
			       m->error == EINTR || m->error == ECANCELED ? "interrupted" : strerror((int)m->error));
	for (uint32_t i = 0; i < m->errors.n; i++)
		tool_fail(t, "%s", m->errors.at[i]);
	return status;
}

static int ask_for_tree(const struct conf_table *t, struct node *n, const char *path, struct wire_seal m, bool is_quiet,
			struct wire_sealed **out)
{
	struct progress p = {.began_usec = now_usec(), .is_terminal = !is_quiet && isatty(STDERR_FILENO)};
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *absolute = path_join(here ?: "", path);
	assert(n && path && m.name && out);
	m.path = absolute;
	const struct node_ask ask = {
		.type = WIRE_SEAL, .message = &m, .answer = WIRE_SEALED, .on_progress = on_progress, .arg = &p};
	void *reply = NULL;
	int r = node_ask(n, &ask, &reply);
	struct wire_sealed *sealed = reply;
	clear(&p);
	if (r)
		return tool_fail(t, "%s", node_error(n));
	for (uint32_t i = 0; i < sealed->notes.n && !is_quiet; i++)
		fprintf(stderr, "note: %s\n", sealed->notes.at[i]);
	int status = sealed->error ? refuse(t, path, sealed) : 0;
	if (status) {
		free(sealed);
		return status;
	}
	if (!is_quiet)
		print_summary(path, sealed);
	*out = sealed;
	return 0;
}

int seal_path(const struct conf_table *t, struct node *n, const char *path, const char *name, bool is_refreshed,
	      bool is_quiet, struct wire_sealed **out)
{
	const struct wire_seal m = {.name = name, .is_refreshed = is_refreshed};
	return ask_for_tree(t, n, path, m, is_quiet, out);
}

int seal_draft(const struct conf_table *t, struct node *n, const char *path, bool is_refreshed, bool is_quiet,
	       struct wire_sealed **out)
{
	const struct wire_seal m = {.name = "", .is_refreshed = is_refreshed, .is_draft = true};
	return ask_for_tree(t, n, path, m, is_quiet, out);
}

static void print_json(const char *path, const struct seal_words *o, const struct wire_sealed *m)
{
	struct json j = {0};
	char id[DIGEST_TEXT_SIZE];
	json_begin(&j, NULL, '{');
	json_text(&j, "tree", digest_text(&m->tree, id));
	json_text(&j, "path", path);
	json_text(&j, "name", o->name);
	json_number(&j, "names", (int64_t)m->n_nodes);
	json_number(&j, "size", (int64_t)m->size);
	json_number(&j, "read", (int64_t)m->bytes_read);
	json_number(&j, "usec", (int64_t)m->took_usec);
	json_begin(&j, "notes", '[');
	for (uint32_t i = 0; i < m->notes.n; i++)
		json_text(&j, NULL, m->notes.at[i]);
	json_end(&j, ']');
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

static int seal(const struct seal_words *o, const char *path)
{
	_cleanup_(node_freep) struct node *n = NULL;
	_free_ struct wire_sealed *m = NULL;
	char id[DIGEST_TEXT_SIZE];
	if (node_open(&n, true) || node_catch_signals(n))
		return tool_fail(&seal_table, "%s", node_error(n));
	bool is_stdin = streq(path, "-"), is_quiet = o->quiet || o->json;
	_cleanup_(spool_fini) struct spool spool = {.fd = -1};
	if (is_stdin && spool_read(&spool, STDIN_FILENO, node_directory(n)) < 0)
		return tool_fail(&seal_table, "standard input: %s", spool.error);
	int status =
		seal_path(&seal_table, n, is_stdin ? spool.path : path, o->name, o->refresh, is_quiet || is_stdin, &m);
	if (status)
		return status;
	if (is_stdin && !is_quiet) {
		print_summary("standard input", m);
		fprintf(stderr, "note: it came from standard input and is only here, so that it cannot come again once "
				"it is evicted: vine cache pin keeps it\n");
	}
	if (o->json)
		print_json(path, o, m);
	else
		printf("%s\n", digest_text(&m->tree, id));
	return tool_end(&seal_table, 0);
}

int cmd_seal(int argc, char **argv)
{
	struct seal_words o = {0};
	int status, n = tool_words(&seal_table, &o, argc, argv, &status);
	if (n >= 0 && n != 1)
		status = tool_fail(&seal_table, "one path, please. Try: vine seal /data/env --name env");
	else if (n == 1)
		status = seal(&o, argv[1]);
	conf_fini(&seal_table, &o);
	return status;
}
