-- SPDX-License-Identifier: Apache-2.0
-- What version 6 added, to a new database as to an older one: whence the moved_size of a result came.
ALTER TABLE results ADD COLUMN peer_size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE results ADD COLUMN source_size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE results ADD COLUMN client_size INTEGER NOT NULL DEFAULT 0;
