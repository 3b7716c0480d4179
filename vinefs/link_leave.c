/* SPDX-License-Identifier: Apache-2.0
 * LEAVING: before this node ends vined copies away what is needed and nobody else has. As long as tasks get to end the answer is waited for, then the node
 * ends all the same: its cache stays on its disk. One that has no time says it, too. */
#include "vinefs/link_internal.h"

#include "common/log.h"

static void on_answer(struct call *call, int error, uint16_t type, const void *message)
{
	struct link *k = container_of(call, struct link, leave);
	const struct wire_status *status = type == WIRE_STATUS ? message : NULL;
	if (error == -ETIMEDOUT)
		log_warn("after %.0f s what is needed and only here is not all copied to other nodes: it is on this "
			 "disk, and in "
			 "the cluster again when this node is",
			 (double)k->settings->stop_grace / 1e6);
	else if (error && error != -ENOSYS && status)
		log_warn("not all that is needed is elsewhere: %s", status->reason);
	link_end(k);
}

bool leave_is_under_way(const struct link *k)
{
	return k->leave.conn != NULL;
}

void leave_begin(struct link *k)
{
	const struct wire_leaving m = {.within_usec = k->settings->stop_grace, .reason = "it was told to end"};
	struct conn *c = link_conn(k);
	if (k->is_leave_asked || !c)
		return;
	k->is_leave_asked = true;
	/* With no time, or no data, there is no answer to wait for: but its tasks' ends are no losses. */
	bool is_waiting = k->serve && m.within_usec;
	k->leave = (struct call){.on_reply = on_answer};
	int r = is_waiting ? call_start(&k->leave, c, WIRE_LEAVING, &m, m.within_usec)
			   : conn_send(c, WIRE_LEAVING, &m);
	if (r)
		log_errno(-r, "tell vined that this node ends");
}

void leave_stop(struct link *k)
{
	call_stop(&k->leave);
}
