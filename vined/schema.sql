-- SPDX-License-Identifier: Apache-2.0
-- vined's database, version 1. Times are microseconds since 1970, sizes bytes. The views v_tasks and v_nodes are for people
-- and keep their columns; the tables may change with any release.

CREATE TABLE meta (
	name TEXT PRIMARY KEY,
	value NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
	id INTEGER PRIMARY KEY,
	uuid TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL
);

CREATE TABLE runs (
	id INTEGER PRIMARY KEY,
	user INTEGER NOT NULL,
	name TEXT NOT NULL UNIQUE,
	attached INTEGER NOT NULL, -- its tasks are cancelled when its client is gone
	created_usec INTEGER NOT NULL
);

-- What tasks share, each once: "directory\0argv0\0argv1\0..." or "NAME=value\0...".
CREATE TABLE commands (
	id INTEGER PRIMARY KEY,
	digest BLOB NOT NULL UNIQUE,
	body BLOB NOT NULL
);

-- Hot: no other index than the primary key; the key's index costs only tasks that have one.
CREATE TABLE tasks (
	id INTEGER PRIMARY KEY,
	run INTEGER NOT NULL,
	user INTEGER NOT NULL,
	state INTEGER NOT NULL, -- enum store_state
	cancelled INTEGER NOT NULL,
	command INTEGER NOT NULL,
	environment INTEGER NOT NULL,
	cores INTEGER NOT NULL,
	memory INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	attempt INTEGER NOT NULL, -- the latest; 0: none
	node INTEGER NOT NULL, -- where the latest runs or ran
	attempts INTEGER NOT NULL,
	losses INTEGER NOT NULL,
	result INTEGER NOT NULL, -- 0: none
	submitted_usec INTEGER NOT NULL,
	key TEXT NOT NULL,
	tag TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_key ON tasks (run, key) WHERE key <> '';

-- In the order in which they were committed, which is the order of delivery.
CREATE TABLE results (
	id INTEGER PRIMARY KEY,
	task INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	node INTEGER NOT NULL,
	how INTEGER NOT NULL,
	status INTEGER NOT NULL,
	reason TEXT NOT NULL,
	ended_usec INTEGER NOT NULL,
	wall_usec INTEGER NOT NULL,
	cpu_usec INTEGER NOT NULL,
	peak_memory INTEGER NOT NULL,
	out_size INTEGER NOT NULL,
	err_size INTEGER NOT NULL,
	out BLOB NOT NULL,
	err BLOB NOT NULL
);

CREATE VIEW v_tasks AS
SELECT t.id AS task, r.name AS run, t.user, t.tag, t.key,
	CASE t.state WHEN 0 THEN 'queued' WHEN 1 THEN 'running' WHEN 2 THEN 'held'
		WHEN 3 THEN 'ended' ELSE 'delivered' END AS state,
	t.attempts, n.name AS node,
	CASE e.how WHEN 1 THEN 'exited' WHEN 2 THEN 'killed' WHEN 3 THEN 'not started'
		WHEN 4 THEN 'lost' WHEN 5 THEN 'cancelled' END AS how,
	e.status, e.reason, e.wall_usec / 1e6 AS wall_sec, e.cpu_usec / 1e6 AS cpu_sec, e.peak_memory,
	datetime(t.submitted_usec / 1000000, 'unixepoch') AS submitted,
	datetime(e.ended_usec / 1000000, 'unixepoch') AS ended
FROM tasks t JOIN runs r ON r.id = t.run
	LEFT JOIN results e ON e.id = t.result
	LEFT JOIN nodes n ON n.id = t.node;

CREATE VIEW v_nodes AS
SELECT n.id AS node, n.name, n.uuid FROM nodes n;
