-- SPDX-License-Identifier: Apache-2.0
-- What tasks asked for stood in each of them; now it is a shape.
INSERT INTO meta SELECT name, value FROM old_meta;
INSERT INTO nodes (id, user, uuid, name) SELECT id, (SELECT ifnull(max(user), 0) FROM old_runs), uuid, name FROM old_nodes;
INSERT INTO runs (id, user, name, attached, archived, created_usec) SELECT id, user, name, attached, 0, created_usec FROM old_runs;
INSERT INTO commands (id, digest, body) SELECT id, digest, body FROM old_commands;
INSERT INTO shapes (cores, gpus, memory, disk, wall_usec, retries, staging, named, counters, features, category, how)
	SELECT DISTINCT cores, 0, memory, 0, 0, 0, 1, '', '', '', '', '' FROM old_tasks;
INSERT INTO submits (first, n, run, leaving) SELECT id, 1, run, 0 FROM old_tasks ORDER BY id;
INSERT INTO tasks (id, run, user, shape, command, environment, priority, deadline_usec, session, submitted_usec, tag, key)
	SELECT t.id, t.run, t.user, s.id, t.command, t.environment, t.priority, 0, t.session, t.submitted_usec, t.tag, t.key
	FROM old_tasks t JOIN shapes s ON s.cores = t.cores AND s.memory = t.memory ORDER BY t.id;
INSERT INTO attempts (task, state, cancelled, attempts, losses, failures, node, attempt, started_usec, granted, within_usec)
	SELECT id, CASE state WHEN 2 THEN 2 ELSE state = 1 END, cancelled, attempts, losses, 0, node, attempt, 0, 0, 0
	FROM old_tasks WHERE attempt <> 0 OR cancelled OR state = 2 ORDER BY id;
INSERT INTO results (task, delivered, place, node, attempt, how, status, exceeded, ended_usec, wall_usec, cpu_usec, peak_memory,
		peak_disk, local_size, moved_size, out_size, err_size, n_left, written_size, reason)
	SELECT t.id, t.state = 4, r.id, r.node, r.attempt, r.how, r.status, 0, r.ended_usec, r.wall_usec, r.cpu_usec,
		r.peak_memory, 0, 0, 0, r.out_size, r.err_size, 0, 0, r.reason
	FROM old_tasks t JOIN old_results r ON r.id = t.result WHERE t.state >= 3 ORDER BY t.id;
INSERT INTO heads (task, out, err)
	SELECT t.id, r.out, r.err FROM old_tasks t JOIN old_results r ON r.id = t.result
	WHERE t.state >= 3 AND (length(r.out) OR length(r.err)) ORDER BY t.id;
DROP TABLE old_meta;
DROP TABLE old_nodes;
DROP TABLE old_runs;
DROP TABLE old_commands;
DROP TABLE old_tasks;
DROP TABLE old_results;
