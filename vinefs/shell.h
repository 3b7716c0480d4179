/* SPDX-License-Identifier: Apache-2.0
 * What a node's vinefs says to each vine-shell that connects to STATE/shell.sock (SOCK_SEQPACKET): one packet, a flat struct of this machine, with two descriptors if
 * there is a stem: those of its mount namespace and its user namespace (as root: the mount namespace's again). */
#ifndef VINEFS_SHELL_H
#define VINEFS_SHELL_H

#include <stdint.h>

#define SHELL_SOCKET "shell.sock"
#define SHELL_MAGIC UINT64_C(0x316c6c6568732e31) /* another struct, another number */

struct shell_answer {
	uint64_t magic;
	uint64_t stem; /* 0: there is none */
};

#endif
