/* SPDX-License-Identifier: Apache-2.0
 * What view.c, view_sets.c and view_steps.c share. */
#ifndef RUN_VIEW_INTERNAL_H
#define RUN_VIEW_INTERNAL_H

#include "vinefs/run/view.h"

#define VIEW_SET_MANY 100u /* so many binds cost little, and change nothing else */

/* Where a declared path lies: the working directory and /tmp are directories of the sandbox, and mounts are put there before these are bound. */
enum region { REGION_HOST, REGION_CWD, REGION_TMP };

enum form {
	FORM_BIND,    /* an input, read-only */
	FORM_OVERLAY, /* over an input or a directory of the host */
	FORM_COPY,    /* of an input that is one file */
	FORM_INSIDE,  /* such a copy, not mounted but put into what is the task's own anyway: it can be renamed over */
	FORM_DIRECTORY, /* of the sandbox, for outputs where the host has nothing */
};

/* Inputs that one mount shows. */
struct view_set {
	struct list link;
	char *from;   /* STATE/mnt/NAME */
	char *path;   /* their directory, as the task sees it */
	char *target; /* and where that is mounted; NULL: they are not all in one */
	struct point *first;
	size_t n;
	bool is_there; /* the host has that directory */
	bool is_laid;
	const char *
		inside; /* STATE/in/N, where it is in sight until its files are bound in the working directory; NULL: none is there */
};

struct point {
	char *path;   /* as the task sees it, absolute */
	char *target; /* where it is mounted, before the last steps */
	enum region region;
	enum form form;
	const struct run_input *input; /* NULL: a directory for outputs */
	struct point *cover;           /* the nearest one that it lies in; NULL: none */
	char *own;                     /* SANDBOX/o/N */
	char *base;                    /* of the host: what is there of it; owned */
	struct view_set *set;          /* that shows it; NULL: it has a mount of its own */
	struct view_set *late;         /* that it is bound from when all else is done; NULL: its turn is before */
	bool is_there;                 /* nothing is lacking at `target` */
	bool is_writable;              /* an overlay that is only there for what lies in it is not */
	bool is_updated;               /* an output, too */
};

struct composing {
	const struct view_asked *q;
	struct view *v;
	struct conf_error *e;
	struct point *points; /* by path, each behind what it lies in */
	size_t n, room;
	struct list sets; /* struct view_set */
};

char *view_keep(struct view *v, char *text); /* takes it over, and gives it back */
void view_step(struct view *v, enum view_op op, unsigned flags, const char *from, const char *to, const char *data);
void view_make(struct view *v, char *path, bool is_file, char *target); /* takes texts over */
void view_place(struct view *v, const char *path, const char *upper, bool is_overlay, const struct digest *lower);
void view_copy(struct view *v, const char *from, const char *to);

/* True if `path` is `directory` or lies in it. */
bool view_is_in(const char *path, const char *directory);
/* What `path` has behind `directory`, without a slash before. */
const char *view_rest(const char *path, const char *directory);

/* It lies in a /tmp that is the task's own. */
bool view_is_private(const struct view_asked *q, const char *path);
/* It is there in a strict view, too. */
bool view_is_system(const char *path);

/* Where on the host lies what the task is to find at a point that is covered, or in a directory of the sandbox. Yours. */
char *view_inside(const struct point *p);

/* view_sets.c: which points one mount shows. */
void view_find_sets(struct composing *c);
void view_free_sets(struct composing *c);
/* view_steps.c: the points in order, as steps. */
int view_put_steps(struct composing *c);
/* The last steps, with a PID namespace or with that and a view: a /proc of its own, and nothing of the kernel's to be set. */
void view_put_kernel(struct composing *c);
/* view_links.c: where there is no view. */
int view_put_links(struct composing *c);

#endif
