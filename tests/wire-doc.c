/* SPDX-License-Identifier: Apache-2.0
 * Prints protocol.md. */
#include "common/wire.h"

#include <stdio.h>

int main(void)
{
	_cleanup_(buf_fini) struct buf doc = {0};
	wire_print_doc(&doc);
	bool ok = fwrite(doc.at, 1, doc.n, stdout) == doc.n && fflush(stdout) == 0;
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
