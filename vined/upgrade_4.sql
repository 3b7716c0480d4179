-- SPDX-License-Identifier: Apache-2.0
-- From version 4, four tables of which make way here, to version 5, whose tables are made between this and upgrade_5.sql.
DROP VIEW IF EXISTS v_events;
DROP VIEW IF EXISTS v_bindings;
DROP VIEW IF EXISTS v_tasks;
DROP VIEW IF EXISTS v_runs;
DROP VIEW IF EXISTS v_items;
DROP VIEW IF EXISTS v_replicas;
DROP VIEW IF EXISTS v_nodes;
DROP VIEW IF EXISTS every_task;
ALTER TABLE shapes RENAME TO old_shapes;
ALTER TABLE bindings RENAME TO old_bindings;
ALTER TABLE attempts RENAME TO old_attempts;
ALTER TABLE results RENAME TO old_results;
