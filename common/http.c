/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http.h"

#include <strings.h>

static const struct status {
	int status;
	const char *name, *why;
} statuses[] = {
	{200, "OK", ""},
	{400, "Bad Request", "not a GET of HTTP/1.1 without a body"},
	{404, "Not Found", "there is /metrics, and nothing else"},
	{405, "Method Not Allowed", "GET or HEAD only"},
	{414, "URI Too Long", "the first line is too long"},
	{431, "Request Header Fields Too Large", "the headers are too long"},
	{505, "HTTP Version Not Supported", "HTTP/1.0 or HTTP/1.1 only"},
};

/* A line, without its end; LF alone ends one, too. */
struct line {
	const char *at;
	size_t n;
};

/* Cuts off the next one; false: it has not ended yet. */
static bool next_line(const char **p, size_t *n, struct line *l)
{
	const char *end = memchr(*p, '\n', *n);
	if (!end)
		return false;
	l->at = *p;
	l->n = (size_t)(end - *p);
	*n -= l->n + 1;
	*p = end + 1;
	if (l->n && l->at[l->n - 1] == '\r')
		l->n--;
	return true;
}

static bool is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_printable(const char *at, size_t n, bool with_blanks)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)at[i];
		if (c < 0x20 ? c != '\t' || !with_blanks : c == 0x7f || (c == ' ' && !with_blanks))
			return false;
	}
	return true;
}

static size_t token_length(const char *at, size_t n)
{
	size_t i = 0;
	while (i < n && is_token(at[i]))
		i++;
	return i;
}

static bool is_word(const char *at, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(at, word, n) == 0;
}

/* METHOD TARGET VERSION, one blank between. */
static int parse_first(const struct line *l, const char *page, struct http_request *r, bool *is_new)
{
	size_t method = token_length(l->at, l->n);
	if (!method || method == l->n || l->at[method] != ' ')
		return 400;
	const char *target = l->at + method + 1;
	size_t rest = l->n - method - 1;
	const char *blank = memchr(target, ' ', rest);
	size_t n = blank ? (size_t)(blank - target) : rest;
	if (!blank || !n || !is_printable(target, n, false))
		return 400;
	const char *version = blank + 1;
	size_t n_version = rest - n - 1;
	*is_new = is_word(version, n_version, "HTTP/1.1");
	if (!*is_new && !is_word(version, n_version, "HTTP/1.0"))
		return n_version > 5 && memcmp(version, "HTTP/", 5) == 0 ? 505 : 400;
	r->is_head = is_word(l->at, method, "HEAD");
	if (!r->is_head && !is_word(l->at, method, "GET"))
		return 405;
	const char *query = memchr(target, '?', n);
	return is_word(target, query ? (size_t)(query - target) : n, page) ? 200 : 404;
}

static bool is_name(const struct line *l, size_t n, const char *name)
{
	return n == strlen(name) && strncasecmp(l->at, name, n) == 0;
}

/* NAME: VALUE. 200, or 400. */
static int parse_header(const struct line *l, unsigned *n_hosts)
{
	size_t n = token_length(l->at, l->n);
	if (!n || n == l->n || l->at[n] != ':' || !is_printable(l->at + n, l->n - n, true))
		return 400;
	*n_hosts += is_name(l, n, "host");
	if (is_name(l, n, "transfer-encoding"))
		return 400;
	const char *value = l->at + n + 1;
	size_t size = l->n - n - 1;
	while (size && (*value == ' ' || *value == '\t'))
		value++, size--;
	return is_name(l, n, "content-length") && !is_word(value, size, "0") ? 400 : 200;
}

int http_parse(const void *bytes, size_t n, const char *page, struct http_request *r)
{
	const char *p = bytes;
	size_t left = n;
	struct line l;
	bool is_new = false;
	unsigned n_hosts = 0;
	*r = (struct http_request){false};
	if (!next_line(&p, &left, &l))
		return n > HTTP_LINE_MOST ? 414 : 0;
	if (l.n > HTTP_LINE_MOST)
		return 414;
	int first = parse_first(&l, page, r, &is_new), status = 200;
	/* What is no HTTP has no headers to wait for. */
	if (first == 400)
		return 400;
	while (status == 200 && next_line(&p, &left, &l)) {
		if (!l.n)
			return is_new && n_hosts != 1 ? 400 : first;
		status = parse_header(&l, &n_hosts);
		if ((size_t)(p - (const char *)bytes) > HTTP_REQUEST_MOST)
			return 431;
	}
	if (status != 200)
		return status;
	return n > HTTP_REQUEST_MOST ? 431 : 0;
}

void http_put_head(struct buf *to, int status, const char *type, size_t size)
{
	const struct status *s = statuses;
	while (s < statuses + countof(statuses) - 1 && s->status != status)
		s++;
	assert(s->status == status);
	size_t n = status == 200 ? size : strlen(s->why) + 1;
	buf_printf(to,
		   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
		   "Connection: close\r\n\r\n",
		   status, s->name, status == 200 ? type : "text/plain; charset=utf-8", n);
	if (status != 200)
		buf_printf(to, "%s\n", s->why);
}
