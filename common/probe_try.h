/* SPDX-License-Identifier: Apache-2.0
 * What the kernel lets a process like this do, each tried in a child that is thrown away. `dir` is a directory that is there, as sandboxes will be. */
#ifndef COMMON_PROBE_TRY_H
#define COMMON_PROBE_TRY_H

#include "common/base.h"

struct trial {
	int error; /* 0, or the errno of `step` */
	char step[64];
	uint64_t found;
};

/* A mount namespace, of an ordinary user in a user namespace, and a bind in it; a PID namespace. */
struct trial try_user_namespace(const char *dir);
struct trial try_pid_namespace(const char *dir);

#define TRY_XINO 1u
#define TRY_VOLATILE 2u
/* An overlay that is written as views write it. */
struct trial try_overlay(const char *dir, unsigned flags);

#define TRY_FUSE_RESEND (UINT64_C(1) << 39)
/* FUSE mounted in a namespace of its own; `found` is what the kernel offers there. */
struct trial try_fuse(const char *dir);

/* A listener of seccomp's notifications. */
struct trial try_seccomp(const char *dir);

#endif
