/* SPDX-License-Identifier: Apache-2.0
 * What can be read of a damaged database, as a new one. Nothing else may have either open. */
#ifndef VINED_STORE_SALVAGE_H
#define VINED_STORE_SALVAGE_H

#include "common/conf.h"

struct store_salvaged {
	uint64_t n_pages, n_damaged; /* damaged: of those that tables are made of */
	uint64_t
		n_rows_lost; /* on pages that are whole: rows that go on on one that is not; and rows that contradict others */
	uint64_t n_runs, n_held; /* runs whose names were lost; tasks held because something of them was */
	bool is_cluster_lost;
	struct store_salvaged_table {
		const char *name;
		uint64_t n_rows, n_pages_lost;
	} tables[20];
	size_t n_tables;
};

/* `from` is only read; `to` must not be there. Its schema is the present one, whose tables `from` must have. -errno with e->text. */
int store_salvage(const char *from, const char *to, struct store_salvaged *s, struct conf_error *e);

#endif
