-- SPDX-License-Identifier: Apache-2.0
-- What was there before asked for nothing new.
INSERT INTO shapes (id, cores, gpus, memory, disk, wall_usec, retries, staging, named, counters, features, category, how) SELECT
	id, cores, gpus, memory, disk, wall_usec, retries, staging, named, counters, features, category, '' FROM old_shapes ORDER BY
	id;
INSERT INTO bindings (id, item, mode, path, flags) SELECT id, item, mode, path, 0 FROM old_bindings ORDER BY id;
INSERT INTO attempts (task, state, cancelled, attempts, losses, failures, node, attempt, started_usec, granted, within_usec)
	SELECT task, state, cancelled, attempts, losses, failures, node, attempt, started_usec, 0, 0 FROM old_attempts ORDER BY task;
INSERT INTO results (task, delivered, place, node, attempt, how, status, exceeded, ended_usec, wall_usec, cpu_usec, peak_memory,
	peak_disk, local_size, moved_size, out_size, err_size, reason, n_left, written_size) SELECT task, delivered, place, node,
	attempt, how, status, exceeded, ended_usec, wall_usec, cpu_usec, peak_memory, peak_disk, local_size, moved_size, out_size,
	err_size, reason, 0, 0 FROM old_results ORDER BY task;
DROP TABLE old_shapes;
DROP TABLE old_bindings;
DROP TABLE old_attempts;
DROP TABLE old_results;
