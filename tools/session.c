/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/session.h"

#include "libvineclient/vine.h"
#include "tools/embed.h"

static int open_session(const struct conf_table *t, const char *run, struct vine **v)
{
	embed_watch();
	return vine_open(v, NULL, run) < 0 ? tool_fail(t, "%s", vine_error()) : 0;
}

int session_work(const struct conf_table *t, const char *run, struct vine **v)
{
	int status = embed_start(t);
	return status ? status : open_session(t, run, v);
}

int session_look(const struct conf_table *t, const char *run, struct vine **v)
{
	int status = embed_look(t);
	return status ? status : open_session(t, run, v);
}

int session_peek(struct vine **v)
{
	_cleanup_(embed_fini) struct embed e = {.name = NULL};
	bool is_own = embed_open(&e, NULL) == 0;
	*v = NULL;
	return is_own && !embed_is_up(&e) ? -ENOENT : vine_open(v, NULL, NULL);
}
