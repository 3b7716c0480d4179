/* SPDX-License-Identifier: Apache-2.0
 * Why a task failed: one kind, one sentence and the next thing to type, found out from how it ended and what it said. Pure: it opens and runs
 * nothing; whether a file is here it asks. cause.c judges the end, cause_said.c knows what programs say. */
#ifndef TOOLS_CAUSE_H
#define TOOLS_CAUSE_H

#include "common/base.h"

enum cause_kind {
	CAUSE_NONE, /* nothing is known but its exit status */
	CAUSE_LIBRARY,
	CAUSE_MODULE, /* a package of Python, Perl, R, Java, ... */
	CAUSE_FILE,
	CAUSE_PROGRAM,
	CAUSE_INTERPRETER, /* of a script's first line */
	CAUSE_PERMISSION,
	CAUSE_READ_ONLY,
	CAUSE_FORMAT,  /* a program of another kind of machine, or none */
	CAUSE_VERSION, /* a library there, but another version of it */
	CAUSE_MEMORY,
	CAUSE_DISK,
	CAUSE_TIME,
	CAUSE_PROCESSES,
	CAUSE_FILES, /* too many are open */
	CAUSE_GPU,
	CAUSE_NETWORK,
	CAUSE_STDIN,
	CAUSE_DISPLAY,
	CAUSE_SLOTS, /* of MPI */
	CAUSE_IO,
	CAUSE_SIGNAL,
	CAUSE_INPUT,  /* one that it declared could not be brought */
	CAUSE_OUTPUT, /* one that it declared is missing */
	CAUSE_LOST,   /* its node was */
	CAUSE_KINDS,
};

/* What is known of an end. Texts may be NULL, numbers 0. */
struct cause_facts {
	const char *how;     /* as in rows of tasks: exited, killed, not started, no output, lost */
	unsigned status;     /* the exit status, the signal, or an errno */
	const char *reason;  /* in vined's or the node's words */
	const char *limit;   /* memory, disk, wall-time, processes */
	const char *said;    /* the last lines of its standard error */
	const char *program; /* its first word */
	uint64_t peak_memory, memory, disk, wall_usec; /* what it used, and what it might */
	bool (*is_here)(void *arg,
			const char *path); /* on this machine, relative to this directory; NULL: nobody knows */
	void *arg;
	const char *library_path; /* LD_LIBRARY_PATH here */
};

struct cause {
	enum cause_kind kind;
	char subject[256]; /* the library, module, file, ... ; "": not known, or none */
	char what[512];    /* a sentence without its end; "": nothing is known */
	char next[512];    /* "": nothing to type */
};

void cause_find(const struct cause_facts *f, struct cause *c);

/* One word for people and programs: "library", "file", ...; "" of CAUSE_NONE. Failures of one kind and subject are one group of a report. */
const char *cause_word(enum cause_kind k);

/* "SEGV"; NULL: there is none of that number. */
const char *cause_signal(unsigned signo);

/* ---- cause_said.c: what the text means. Its kind, with the subject, as far as it names one. */
enum cause_kind cause_said(const char *text, char subject[256]);

#endif
