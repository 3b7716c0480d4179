/* SPDX-License-Identifier: Apache-2.0
 * Results on their way to clients. */
#include "vined/driver_internal.h"

#include "common/log.h"

void result_send(struct task *t, const struct store_result *e, uint32_t attempts)
{
	struct run *r = t->run;
	const struct node *n = map_get(&r->driver->nodes, e->node);
	_free_ const char **left = NULL;
	_free_ char *copy = NULL;
	const struct wire_result m = {
		.task = t->id,
		.run = r->name,
		.tag = task_tag(t),
		.attempt = e->attempt,
		.attempts = attempts,
		.node = n ? n->name : "",
		.how = e->how,
		.status = e->status,
		.reason = e->reason,
		.wall_usec = e->wall_usec,
		.cpu_usec = e->cpu_usec,
		.peak_memory = e->peak_memory,
		.out_size = e->out_size,
		.err_size = e->err_size,
		.out = e->out,
		.err = e->err,
		.exceeded = e->exceeded,
		.peak_disk = e->peak_disk,
		.local_size = e->local_size,
		.moved_size = e->moved_size,
		.index = array_index(t),
		.category = t->shape->row.category,
		.left = split_lines(e->left ? e->left : "", &left, &copy),
		.n_left = e->n_left,
		.written_size = e->written_size,
		.peer_size = e->peer_size,
		.source_size = e->source_size,
		.client_size = e->client_size,
	};
	/* It stays in the list of those sent until DONE, however the sending goes. */
	conn_send(t->session->conn, WIRE_RESULT, &m);
	list_remove(&t->link);
	list_append(&t->session->sent, &t->link);
}

/* Asking a full connection makes it call driver_push() through its owner when there is room. */
bool session_has_room(const struct session *s)
{
	return s->conn && !s->attaching && conn_is_open(s->conn) && !conn_is_full(s->conn);
}

static void push(struct session *s)
{
	static struct log_limit limit;
	struct store *from = s->run->driver->o.store;
	struct store_result e;
	struct store_task row;
	struct task *t;
	int error = 0;
	if (list_is_empty(&s->results))
		return;
	store_look(from, true);
	while (!error && session_has_room(s) && (t = list_first(&s->results, struct task, link))) {
		error = store_read_result(from, t->id, &e, &row);
		if (error)
			log_limited(&limit, 1, LOG_LEVEL_ERROR, "task %llu: cannot read its result: %s",
				    (unsigned long long)t->id, strerror(-error));
		else
			result_send(t, &e, row.attempts);
	}
	store_look(from, false);
}

void driver_push(struct run *r)
{
	list_foreach (&r->sessions, struct session, link, s)
		push(s);
}
