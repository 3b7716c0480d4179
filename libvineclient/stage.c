/* SPDX-License-Identifier: Apache-2.0
 * What is wanted on nodes though no task asks for it, and which of them are to be left. */
#include "libvineclient/client.h"
#include "libvineclient/sealed.h"
#include "libvineclient/task.h"

#define STAGE_USEC 30000000u
#define DRAIN_USEC UINT64_C(31536000000000) /* as long as its tasks take */
#define NODE_MOST 255

/* What this process alone sees is a tree from then on, and goes to a node first, unless all is to be over. */
static int send_local(struct vine *v, const struct vine_file *f, bool is_over, struct sealed **s)
{
	int r = f->local ? local_seal(f->local, &v->is_sealing_over, s) : 0;
	if (r || !f->local || is_over)
		return r;
	r = offer_all(v, s, 1);
	if (r == -ESTALE)
		local_drop(f->local, *s);
	return r;
}

static int send_stage(struct vine *v, struct vine_file *f, const char *const nodes[], size_t n, unsigned flags,
		      char **item)
{
	_cleanup_(sealed_unrefp) struct sealed *s = NULL;
	int r = send_local(v, f, flags & VINE_OVER, &s);
	if (r < 0)
		return r;
	struct wire_stage m = {.run = "",
			       .item = s ? s->name : f->item,
			       .signature = f->signature ?: "",
			       .nodes = {nodes, (uint32_t)n},
			       .is_pinned = flags & VINE_PIN,
			       .is_over = flags & VINE_OVER};
	struct ask ask = {.type = WIRE_STAGE,
			  .message = &m,
			  .needs_run = v->has_run,
			  .run = v->has_run ? &m.run : NULL,
			  .needs_minor = 4,
			  .patience_usec = STAGE_USEC};
	r = ask_wait(v, &ask);
	if (!r && item)
		*item = xstrdup(m.item);
	return r;
}

int vine_stage(struct vine *v, struct vine_file *f, const char *const nodes[], size_t n, unsigned flags, char **item)
{
	int r = f->is_pattern ? error_set(EINVAL, "file '%s': {index} is an array's; name one file", f->item)
		: n > 10000   ? error_set(E2BIG, "%zu nodes are named, at most 10000 are possible", n)
			      : 0;
	for (size_t i = 0; i < n && !r; i++)
		r = value_check_word("node", nodes[i], NODE_MOST);
	if (r < 0)
		return r;
	r = session_enter(v);
	if (r < 0)
		return r;
	r = send_stage(v, f, nodes, n, flags, item);
	session_leave(v);
	return r;
}

int vine_node(struct vine *v, const char *node, const char *what, int wait)
{
	int r = value_check_word("node", node, NODE_MOST);
	if (!r && !streq(what, "drain") && !streq(what, "resume"))
		r = error_set(EINVAL, "'%s': a node is told to drain or to resume", what);
	if (r < 0)
		return r;
	r = session_enter(v);
	if (r < 0)
		return r;
	const struct wire_change_node m = {.node = node, .what = what, .is_waiting = wait};
	struct ask ask = {.type = WIRE_CHANGE_NODE,
			  .message = &m,
			  .needs_minor = 4,
			  .patience_usec = wait ? DRAIN_USEC : STAGE_USEC};
	r = ask_wait(v, &ask);
	session_leave(v);
	return r;
}
