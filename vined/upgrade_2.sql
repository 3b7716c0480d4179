-- SPDX-License-Identifier: Apache-2.0
-- From version 2, whose tables make way here, to version 3, whose tables are made between this and upgrade_3.sql.
DROP VIEW v_tasks;
DROP VIEW v_nodes;
DROP INDEX tasks_key;
ALTER TABLE meta RENAME TO old_meta;
ALTER TABLE nodes RENAME TO old_nodes;
ALTER TABLE runs RENAME TO old_runs;
ALTER TABLE commands RENAME TO old_commands;
ALTER TABLE tasks RENAME TO old_tasks;
ALTER TABLE results RENAME TO old_results;
