/* SPDX-License-Identifier: Apache-2.0
 * An archive from outside: whatever it is, it is refused or becomes a tree that loads, with names below its root and modes that are harmless. */
#include "tests/unit/memory_store.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const size_t most = 1 << 20;
	struct memory_store m;
	struct seal_report errors = {0}, notes = {0};
	void *vti;
	size_t size;
	_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd < 0 || n > most || write(fd, p, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
		return 0;
	memory_store_init(&m);
	m.most_size = 16u << 20;
	const struct seal_options o = {.store = &m.store, .n_threads = 1};
	if (seal_archive(fd, "fuzz", &o, &vti, &size, &errors, &notes) == 0) {
		struct tree *t = NULL;
		if (tree_take(vti, size, NULL, &t) < 0)
			abort();
		tree_free(t);
	}
	seal_report_fini(&errors);
	seal_report_fini(&notes);
	memory_store_fini(&m);
	return 0;
}
