-- SPDX-License-Identifier: Apache-2.0
-- The tables that version 5 changed; schema.sql has the others. What is new stands last: store_salvage.c takes rows without it, too.

-- What tasks ask for, each kind once. named and counters: "name=amount ..."; features: "word ..."; how: "NAME=value", a line each.
CREATE TABLE shapes (
	id INTEGER PRIMARY KEY,
	cores INTEGER NOT NULL,
	gpus INTEGER NOT NULL,
	memory INTEGER NOT NULL,
	disk INTEGER NOT NULL,
	wall_usec INTEGER NOT NULL,
	retries INTEGER NOT NULL,
	staging INTEGER NOT NULL,
	named TEXT NOT NULL,
	counters TEXT NOT NULL,
	features TEXT NOT NULL,
	category TEXT NOT NULL,
	how TEXT NOT NULL
);

-- Of tasks and arrays; an array's paths and items hold {index}.
CREATE TABLE bindings (
	id INTEGER PRIMARY KEY, -- task * 65536 + position
	item INTEGER NOT NULL,
	mode INTEGER NOT NULL, -- 1 ro, 2 rw, 3 out
	path TEXT NOT NULL,
	flags INTEGER NOT NULL -- of an output: 1 it may be missing, 2 only of a failure, 4 of a failure too, 8 a pattern
);

-- Of every task that was begun or cancelled: the latest attempt, and how many there were.
CREATE TABLE attempts (
	task INTEGER PRIMARY KEY,
	state INTEGER NOT NULL, -- 0 queued again, 1 running, 2 held
	cancelled INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	losses INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	node INTEGER NOT NULL, -- 0: it said how the attempt went, and the task goes on without it
	attempt INTEGER NOT NULL,
	started_usec INTEGER NOT NULL,
	granted INTEGER NOT NULL, -- the attempt that may put what it has made in its place; 0: none
	within_usec INTEGER NOT NULL -- so long since then no other one may
);

-- The first result of a task is its result: there is no second row.
CREATE TABLE results (
	task INTEGER PRIMARY KEY,
	delivered INTEGER NOT NULL,
	place INTEGER NOT NULL, -- in the order of commits, which is that of delivery
	node INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	how INTEGER NOT NULL,
	status INTEGER NOT NULL,
	exceeded INTEGER NOT NULL,
	ended_usec INTEGER NOT NULL,
	wall_usec INTEGER NOT NULL,
	cpu_usec INTEGER NOT NULL,
	peak_memory INTEGER NOT NULL,
	peak_disk INTEGER NOT NULL,
	local_size INTEGER NOT NULL,
	moved_size INTEGER NOT NULL,
	out_size INTEGER NOT NULL,
	err_size INTEGER NOT NULL,
	reason TEXT NOT NULL,
	n_left INTEGER NOT NULL, -- paths that it wrote without having declared that
	written_size INTEGER NOT NULL -- schema_6.sql adds more
);

-- The first of those paths, a line each, where there were any.
CREATE TABLE leftovers (
	task INTEGER PRIMARY KEY,
	names TEXT NOT NULL
);
