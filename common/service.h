/* SPDX-License-Identifier: Apache-2.0
 * What daemons have in common: their state directory and its lock, detaching, the ready line, the first words of main(). */
#ifndef COMMON_SERVICE_H
#define COMMON_SERVICE_H

#include "common/base.h"
#include "common/conf.h"

/* Exit status of a program of ours that could not do its own work. */
#define SERVICE_EXIT_FAILED 125

/* Reads settings in their order (default, file from --config, environment, command line) and answers --help, --version, --man on stdout (exits 0).
 * 0, or -EINVAL after printing the one-line error; `into` needs no conf_fini then. A file that is missing is an error only if it was asked for. The table must have a CONF_PATH named "config". `first` gets the index of the first word that is no option. */
int service_settings(const struct conf_table *t, void *into, int argc, char **argv, int *first);

/* Where state of this kind lies by default: $XDG_STATE_HOME/vine/NAME, ~/.local/state/vine/NAME. Yours to free. */
char *service_state_path(const char *name);

/* Makes the directory (0700) if it is missing; refuses one that others can write, a network filesystem without `exclusive`, an unwritable one; takes
 * its lock, and holds it as long as the returned descriptor is open. -errno with e->text: the running instance's pid is named. */
int service_lock(const char *state, const char *program, bool exclusive, struct conf_error *e);

/* "ext4", "nfs", "lustre", "tmpfs" ... of a path, or a number in hex; *is_network tells whether WAL would be unsafe there. */
bool service_is_network(uint32_t magic, char name[32]); /* the same of what statfs() said */
int service_filesystem(const char *path, char name[32], bool *is_network);

/* Goes into the background: the parent waits for the ready line (or the end of all who could write it, up to 60 s), prints it, or the last lines
 * of the log, and exits with 0 or 125. 0 in the child, whose standard error is `log_path` and whose standard output is the parent, also after it has
 * executed other programs; -errno. Call before threads exist and before descriptors are open that the parent must not share. */
int service_detach(const char *log_path);

/* Prints the one line scripts wait for, on stdout, and so releases a waiting parent; tells systemd, where $NOTIFY_SOCKET says that it wants to know. */
void service_ready(const char *fmt, ...) _printf_(1, 2);

/* No core dumps with secrets, no ptrace by others: PR_SET_DUMPABLE 0; SIGPIPE ignored; descriptors 0-2 open; soft descriptor limit raised to the hard one. Who executes programs of others undoes SIGPIPE and the limit. */
void service_harden(void);

#endif
