-- SPDX-License-Identifier: Apache-2.0
-- The database for people. These keep their names and columns from release to release, and may gain some; doc/database.md explains
-- each. Arrays are shown as if every element had rows of its own.
DROP VIEW IF EXISTS v_events;
DROP VIEW IF EXISTS v_bindings;
DROP VIEW IF EXISTS v_tasks;
DROP VIEW IF EXISTS v_runs;
DROP VIEW IF EXISTS v_items;
DROP VIEW IF EXISTS v_replicas;
DROP VIEW IF EXISTS v_nodes;
DROP VIEW IF EXISTS every_task;

-- Tasks and elements with what is the same in both. Not for people.
CREATE VIEW every_task AS
SELECT id, run, user, shape, priority, deadline_usec, submitted_usec, tag, key, NULL AS array, NULL AS array_index FROM tasks
UNION ALL
SELECT * FROM (
	WITH RECURSIVE element(id, array, place, n) AS (
		SELECT id, id, 0, n FROM arrays
		UNION ALL SELECT id + 1, array, place + 1, n FROM element WHERE place + 1 < n)
	SELECT e.id, a.run, a.user, a.shape, a.priority, a.deadline_usec, a.submitted_usec, a.tag, a.key, a.id,
		a.first_index + e.place * a.step
	FROM element e JOIN arrays a ON a.id = e.array);

CREATE VIEW v_tasks AS
SELECT t.id AS task, r.name AS run, t.user, t.tag, t.key,
	CASE e.delivered WHEN 1 THEN 'delivered' WHEN 0 THEN 'ended' ELSE
		CASE a.state WHEN 1 THEN 'running' WHEN 2 THEN 'held' ELSE 'queued' END END AS state,
	ifnull(a.attempts, 0) AS attempts, n.name AS node,
	CASE e.how WHEN 1 THEN 'exited' WHEN 2 THEN 'killed' WHEN 3 THEN 'not started'
		WHEN 4 THEN 'lost' WHEN 5 THEN 'cancelled' WHEN 7 THEN 'no output' END AS how,
	e.status, e.reason, e.wall_usec / 1e6 AS wall_sec, e.cpu_usec / 1e6 AS cpu_sec, e.peak_memory,
	datetime(t.submitted_usec / 1000000, 'unixepoch') AS submitted,
	datetime(e.ended_usec / 1000000, 'unixepoch') AS ended,
	datetime(nullif(a.started_usec, 0) / 1000000, 'unixepoch') AS started,
	t.array, t.array_index, nullif(s.category, '') AS category, s.cores, s.gpus, s.memory, s.disk, t.priority,
	ifnull(a.cancelled, 0) AS cancelled, ifnull(a.losses, 0) AS losses, ifnull(a.failures, 0) AS failures, s.retries,
	CASE e.exceeded WHEN 1 THEN 'memory' WHEN 2 THEN 'disk' WHEN 3 THEN 'wall time' WHEN 4 THEN 'processes' END AS exceeded,
	e.peak_disk, e.local_size, e.moved_size, e.peer_size, e.source_size, e.client_size, e.out_size, e.err_size,
	e.written_size, nullif(e.n_left, 0) AS n_left, (SELECT names FROM leftovers l WHERE l.task = t.id) AS left_behind,
	nullif(a.granted, 0) AS granted, nullif(s.how, '') AS options
FROM every_task t JOIN runs r ON r.id = t.run
	LEFT JOIN shapes s ON s.id = t.shape
	LEFT JOIN attempts a ON a.task = t.id
	LEFT JOIN results e ON e.task = t.id
	LEFT JOIN nodes n ON n.id = ifnull(e.node, a.node);

CREATE VIEW v_bindings AS
SELECT t.id AS task, r.name AS run, b.id & 65535 AS position,
	CASE WHEN t.array IS NULL THEN b.path ELSE replace(b.path, '{index}', t.array_index) END AS path,
	CASE b.mode WHEN 1 THEN 'ro' WHEN 2 THEN 'rw' WHEN 3 THEN 'out' END AS mode,
	CASE WHEN t.array IS NULL THEN i.name ELSE replace(i.name, '{index}', t.array_index) END AS item,
	nullif(i.signature, '') AS signature, i.size, nullif(lower(hex(substr(i.tree, 2))), '') AS tree, b.flags
FROM every_task t JOIN runs r ON r.id = t.run
	JOIN bindings b ON b.id >= ifnull(t.array, t.id) * 65536 AND b.id < (ifnull(t.array, t.id) + 1) * 65536
	LEFT JOIN items i ON i.id = b.item;

CREATE VIEW v_items AS
SELECT i.name AS item, r.name AS run, i.user, nullif(i.producer, 0) AS producer,
	CASE WHEN i.forgotten THEN 'forgotten' WHEN i.lost THEN 'lost' WHEN length(i.tree) THEN 'known'
		WHEN i.producer THEN 'expected' ELSE 'declared' END AS state,
	nullif(i.size, 0) AS size, nullif(i.signature, '') AS signature,
	nullif(lower(hex(substr(i.tree, 2))), '') AS tree, i.id AS number
FROM items i LEFT JOIN runs r ON r.id = i.run;

CREATE VIEW v_replicas AS
SELECT n.name AS node, lower(hex(substr(p.tree, 2))) AS tree, p.size,
	datetime(p.recorded_usec / 1000000, 'unixepoch') AS recorded, p.node AS node_number
FROM replicas p LEFT JOIN nodes n ON n.id = p.node;

CREATE VIEW v_nodes AS
SELECT n.id AS node, n.name, n.uuid, n.user,
	(SELECT count(*) FROM attempts a LEFT JOIN results e ON e.task = a.task
		WHERE a.node = n.id AND a.state = 1 AND e.task IS NULL) AS running,
	(SELECT count(*) FROM replicas p WHERE p.node = n.id) AS trees,
	(SELECT ifnull(sum(size), 0) FROM replicas p WHERE p.node = n.id) AS size
FROM nodes n;

-- Numbers are summed up without expanding arrays: of an element that nobody has begun there is nothing to sum.
CREATE VIEW v_runs AS
SELECT r.id AS number, r.name AS run, r.user, r.attached, r.archived,
	ifnull(sum(c.tasks), 0) AS tasks,
	ifnull(sum(c.tasks), 0) - ifnull(sum(c.running), 0) - ifnull(sum(c.held), 0) - ifnull(sum(c.ended), 0)
		- ifnull(sum(c.delivered), 0) AS queued,
	ifnull(sum(c.running), 0) AS running, ifnull(sum(c.held), 0) AS held, ifnull(sum(c.ended), 0) AS ended,
	ifnull(sum(c.delivered), 0) AS delivered, ifnull(sum(c.failed), 0) AS failed,
	datetime(r.created_usec / 1000000, 'unixepoch') AS created,
	datetime(max(c.ended_usec) / 1000000, 'unixepoch') AS last_ended
FROM runs r LEFT JOIN (
	SELECT t.run, 1 AS tasks, e.task IS NULL AND ifnull(a.state, 0) = 1 AS running,
		e.task IS NULL AND ifnull(a.state, 0) = 2 AS held, ifnull(e.delivered = 0, 0) AS ended,
		ifnull(e.delivered, 0) AS delivered, ifnull(e.how <> 1 OR e.status <> 0, 0) AS failed, e.ended_usec
	FROM tasks t LEFT JOIN attempts a ON a.task = t.id LEFT JOIN results e ON e.task = t.id
	UNION ALL SELECT run, n, 0, 0, 0, 0, 0, NULL FROM arrays
	UNION ALL SELECT t.run, 0, a.state = 1, a.state = 2, 0, 0, 0, NULL
	FROM arrays t JOIN attempts a ON a.task >= t.id AND a.task < t.id + t.n LEFT JOIN results e ON e.task = a.task
	WHERE e.task IS NULL
	UNION ALL SELECT t.run, 0, 0, 0, e.delivered = 0, e.delivered, e.how <> 1 OR e.status <> 0, e.ended_usec
	FROM arrays t JOIN results e ON e.task >= t.id AND e.task < t.id + t.n) c ON c.run = r.id
GROUP BY r.id;

CREATE VIEW v_events AS
SELECT datetime(v.at_usec / 1000000, 'unixepoch') AS at, v.at_usec, v.what AS event, nullif(v.task, 0) AS task,
	n.name AS node, i.name AS item, nullif(v.text, '') AS text
FROM (
	SELECT at_usec, what, task, node, item, text FROM events
	UNION ALL SELECT submitted_usec, 'submitted', id, 0, 0, '' FROM tasks
	UNION ALL SELECT submitted_usec, 'submitted', id, 0, 0, n || ' elements' FROM arrays
	UNION ALL SELECT started_usec, 'started', task, node, 0, 'attempt ' || attempts FROM attempts WHERE attempts > 0
	UNION ALL SELECT ended_usec, 'ended', task, node, 0, reason FROM results) v
	LEFT JOIN nodes n ON n.id = v.node LEFT JOIN items i ON i.id = v.item;
