/* SPDX-License-Identifier: Apache-2.0
 * As much of HTTP/1.1 as one who is asked for one page needs: a request is a line and headers, without a body; the answer ends the
 * connection. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include "common/buf.h"

#define HTTP_LINE_MOST 1024u    /* the first */
#define HTTP_REQUEST_MOST 8192u /* all of it */

struct http_request {
	bool is_head; /* HEAD: the answer has no body */
};

/* What has come so far of a request for `page` ("/metrics", perhaps with ?...). 0: there is more to come; else the status to answer: 200, 400 (no
 * HTTP, or more than is wanted here), 404, 405, 414, 431, 505. */
int http_parse(const void *p, size_t n, const char *page, struct http_request *r);

/* The head of an answer; of one that is not 200 the body, too, a line that says why. */
void http_put_head(struct buf *to, int status, const char *type, size_t size);

#endif
