-- SPDX-License-Identifier: Apache-2.0
-- vined's database, version 5: this and schema_5.sql. Times are microseconds since 1970, sizes bytes, 0 stands for none. These tables may change with any
-- release; the views in views.sql are for people and keep their columns (doc/database.md).
--
-- What is hot is only ever appended, and has no other index than its key: a task's row never changes once it is submitted,
-- how it went stands in tables of their own under its number. An array is one row; its elements are numbers from its id on.

CREATE TABLE meta (
	name TEXT PRIMARY KEY,
	value NOT NULL
);

CREATE TABLE nodes (
	id INTEGER PRIMARY KEY,
	user INTEGER NOT NULL,
	uuid TEXT NOT NULL,
	name TEXT NOT NULL
);
CREATE UNIQUE INDEX nodes_uuid ON nodes (uuid);

CREATE TABLE runs (
	id INTEGER PRIMARY KEY,
	user INTEGER NOT NULL,
	name TEXT NOT NULL,
	attached INTEGER NOT NULL, -- its tasks are cancelled when its client is gone
	archived INTEGER NOT NULL, -- tasks of it have left for archive.sqlite
	created_usec INTEGER NOT NULL
);
CREATE UNIQUE INDEX runs_name ON runs (name);

-- Which numbers went to which run, in the order of submitting.
CREATE TABLE submits (
	first INTEGER PRIMARY KEY,
	n INTEGER NOT NULL,
	run INTEGER NOT NULL,
	leaving INTEGER NOT NULL -- 1: on their way to archive.sqlite, 2: forgotten; rows of theirs may be gone
);

-- Of a run, or of the cluster (0).
CREATE TABLE settings (
	run INTEGER NOT NULL,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	user INTEGER NOT NULL,
	PRIMARY KEY (run, name)
);

-- What tasks share, mostly once (vined remembers some thousand; an index of all their digests would cost more than it saves):
-- "directory\0argv0\0argv1\0..." or "NAME=value\0...".
CREATE TABLE commands (
	id INTEGER PRIMARY KEY,
	digest BLOB NOT NULL,
	body BLOB NOT NULL
);

-- Names that bindings refer to; run 0: every run's.
CREATE TABLE items (
	id INTEGER PRIMARY KEY,
	run INTEGER NOT NULL,
	user INTEGER NOT NULL,
	size INTEGER NOT NULL,
	producer INTEGER NOT NULL, -- the task that makes it
	lost INTEGER NOT NULL,
	forgotten INTEGER NOT NULL,
	tree BLOB NOT NULL, -- algorithm and digest; empty: not known yet
	name TEXT NOT NULL,
	signature TEXT NOT NULL
);

CREATE TABLE tasks (
	id INTEGER PRIMARY KEY,
	run INTEGER NOT NULL,
	user INTEGER NOT NULL,
	shape INTEGER NOT NULL,
	command INTEGER NOT NULL,
	environment INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	deadline_usec INTEGER NOT NULL,
	session INTEGER NOT NULL, -- of the client that submitted it last
	submitted_usec INTEGER NOT NULL,
	tag TEXT NOT NULL,
	key TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_key ON tasks (run, key) WHERE key <> '';

CREATE TABLE arrays (
	id INTEGER PRIMARY KEY, -- the first element's
	run INTEGER NOT NULL,
	user INTEGER NOT NULL,
	shape INTEGER NOT NULL,
	command INTEGER NOT NULL,
	environment INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	deadline_usec INTEGER NOT NULL,
	session INTEGER NOT NULL,
	submitted_usec INTEGER NOT NULL,
	tag TEXT NOT NULL,
	key TEXT NOT NULL,
	n INTEGER NOT NULL,
	first_index INTEGER NOT NULL,
	step INTEGER NOT NULL,
	running INTEGER NOT NULL -- at once; 0: any number
);
CREATE UNIQUE INDEX arrays_key ON arrays (run, key) WHERE key <> '';

-- The beginnings of standard output and error, where there was any.
CREATE TABLE heads (
	task INTEGER PRIMARY KEY,
	out BLOB NOT NULL,
	err BLOB NOT NULL
);

-- As they were some seconds ago; nodes know the truth.
CREATE TABLE replicas (
	node INTEGER NOT NULL,
	tree BLOB NOT NULL,
	size INTEGER NOT NULL,
	recorded_usec INTEGER NOT NULL,
	PRIMARY KEY (node, tree)
) WITHOUT ROWID;

CREATE TABLE events (
	id INTEGER PRIMARY KEY,
	at_usec INTEGER NOT NULL,
	user INTEGER NOT NULL,
	task INTEGER NOT NULL,
	node INTEGER NOT NULL,
	item INTEGER NOT NULL,
	what TEXT NOT NULL,
	text TEXT NOT NULL
);
