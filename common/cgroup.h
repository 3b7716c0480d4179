/* SPDX-License-Identifier: Apache-2.0
 * Where the kernel's control groups are. */
#ifndef COMMON_CGROUP_H
#define COMMON_CGROUP_H

#include "common/base.h"

/* The directory of the group that this process is in: of version 2 if `controller` is "", else of the hierarchy of version 1 that has it. Yours to free; NULL: it is not in
 * sight. */
char *cgroup_ours(const char *controller);

/* Among words with blanks, commas or line ends between. */
bool cgroup_has_word(const char *text, const char *word);

#endif
