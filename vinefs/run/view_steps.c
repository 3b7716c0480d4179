/* SPDX-License-Identifier: Apache-2.0
 * In order: a root and places that the host lacks; inputs that are only read; the root taken. That much is alike for tasks with the same inputs. Then what is this
 * attempt's own: overlays and copies, its working directory, its /tmp, and nothing of the node's files. */
#include "vinefs/run/view_internal.h"

#include "common/buf.h"
#include "common/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN_FLAGS (VIEW_RECURSIVE | VIEW_WRITABLE)
#define HOST_FLAGS (MAIN_FLAGS | VIEW_DEVICES) /* of what is as it is on the host */

/* All that a strict view has of the host. /run/systemd/resolve: where /etc/resolv.conf often leads. */
static const char *const system_paths[] = {
	"/bin", "/sbin", "/lib",  "/lib32", "/lib64",     "/libx32",    "/usr",
	"/etc", "/dev",  "/proc", "/sys",   "/nix/store", "/gnu/store", "/run/systemd/resolve"};

bool view_is_system(const char *path)
{
	for (size_t i = 0; i < countof(system_paths); i++)
		if (view_is_in(path, system_paths[i]))
			return true;
	return false;
}

static char *keep(struct composing *c, char *text)
{
	return view_keep(c->v, text);
}

/* Where a path of the view is while the root is not taken yet. */
static char *below(struct composing *c, const char *root, const char *path)
{
	return keep(c, xasprintf("%s%s", root, path));
}

/* ---- overlays */

/* In the options of an overlay these characters mean something. */
static void put_escaped(struct buf *b, const char *path)
{
	for (; *path; path++) {
		if (strchr("\\:,", *path))
			buf_puts(b, "\\");
		buf_put(b, path, 1);
	}
}

static const char *overlay_kind(const struct composing *c)
{
	return c->q->has_user ? "userxattr" : "redirect_dir=off,metacopy=off,index=off";
}

/* ---- what is alike for many */

static void put_strict_root(struct composing *c, const char *root)
{
	struct view *v = c->v;
	view_step(v, VIEW_TMPFS, 0, NULL, root, NULL);
	for (size_t i = 0; i < countof(system_paths); i++) {
		const char *path = system_paths[i];
		_free_ char *target = realpath(path, NULL);
		struct stat st;
		if (!target || lstat(path, &st))
			continue;
		if (S_ISLNK(st.st_mode)) {
			view_step(v, VIEW_LINK, 0, keep(c, steal(target)), below(c, root, path), NULL);
			continue;
		}
		view_step(v, VIEW_DIRECTORY, 0, NULL, below(c, root, path), NULL);
		view_step(v, VIEW_BIND, HOST_FLAGS, path, below(c, root, path), NULL);
	}
	view_step(v, VIEW_DIRECTORY, 0, NULL, below(c, root, "/tmp"), NULL);
	view_step(v, VIEW_DIRECTORY, 0, NULL, below(c, root, c->q->state), NULL);
	view_step(v, VIEW_BIND, MAIN_FLAGS, c->q->state, below(c, root, c->q->state), NULL);
	if (!view_is_in(v->directory, c->q->sandbox)) {
		const char *directory = keep(c, xstrdup(v->directory));
		view_step(v, VIEW_DIRECTORY, VIEW_DECLARED, NULL, below(c, root, directory), NULL);
		view_step(v, VIEW_BIND, HOST_FLAGS | VIEW_DECLARED, directory, below(c, root, directory), NULL);
	}
}

static bool is_lacking(const struct point *p)
{
	bool has_place = p->is_there || (p->set && p->set->is_there);
	return p->region == REGION_HOST && !p->cover && !has_place;
}

static bool has_root(const struct composing *c)
{
	for (size_t i = 0; i < c->n && !c->q->how->strict; i++)
		if (is_lacking(&c->points[i]) && streq(c->points[i].base, "/"))
			return true;
	return c->q->how->strict;
}

static bool is_filled(const struct composing *c, size_t n, const char *base)
{
	for (size_t i = 0; i < n; i++)
		if (is_lacking(&c->points[i]) && streq(c->points[i].base, base))
			return true;
	return false;
}

/* Directories of the host get names that they lack by being made again in memory, once each. */
static int put_places(struct composing *c, const char *root)
{
	struct view *v = c->v;
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		if (!is_lacking(p))
			continue;
		if (view_is_in(p->path, v->directory) && streq(p->base, v->directory)) {
			snprintf(c->e->text, sizeof c->e->text,
				 "%.300s is not there, and lies in the working directory that the task was given: make "
				 "it there, or have the task work in its sandbox",
				 p->path);
			return -ENOENT;
		}
		if (!streq(p->base, "/") && !is_filled(c, i, p->base))
			view_step(v, VIEW_TMPFS, VIEW_FILLED | VIEW_DECLARED, keep(c, xstrdup(p->base)),
				  below(c, root, p->base), NULL);
		bool is_file = p->input && p->input->is_file && !p->set;
		const char *target = p->set ? p->set->target : p->target;
		if (!p->set || p->set->first == p)
			view_step(v, is_file ? VIEW_FILE : VIEW_DIRECTORY, VIEW_DECLARED, NULL, below(c, root, target),
				  NULL);
	}
	return 0;
}

static void put_bind(struct composing *c, const struct point *p, const char *to)
{
	view_step(c->v, VIEW_BIND, VIEW_DECLARED | (p->input->is_file ? 0 : VIEW_RECURSIVE), p->input->at, to, NULL);
}

/* Without an upper nothing can be written there. */
static const char *set_data(struct composing *c, const struct view_set *s)
{
	struct buf b = {0};
	buf_puts(&b, "lowerdir=");
	put_escaped(&b, s->from);
	buf_puts(&b, ":");
	put_escaped(&b, s->target);
	buf_printf(&b, ",xino=on,%s", overlay_kind(c));
	return keep(c, buf_steal_text(&b));
}

static void put_set(struct composing *c, const struct view_set *s, const char *root)
{
	const char *to = below(c, root, s->target);
	if (s->is_there)
		view_step(c->v, VIEW_OVERLAY, VIEW_DECLARED, NULL, to, set_data(c, s));
	else
		view_step(c->v, VIEW_BIND, VIEW_DECLARED, keep(c, xstrdup(s->from)), to, NULL);
}

static void put_binds(struct composing *c, const char *root)
{
	/* First, for they cover what is below. */
	list_foreach (&c->sets, struct view_set, link, s)
		if (s->is_laid)
			put_set(c, s, root);
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		if (p->region == REGION_HOST && p->form == FORM_BIND && !p->cover && !p->set)
			put_bind(c, p, below(c, root, p->target));
	}
	/* A name made there would be lost with the view. */
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		if (is_lacking(p) && !streq(p->base, "/") && !is_filled(c, i, p->base))
			view_step(c->v, VIEW_READONLY, 0, NULL, below(c, root, p->base), NULL);
	}
}

/* The groups that hold a task within its limits, the connection of the node's mount, drivers: all that the node's user may write there. */
static void put_sys(struct composing *c)
{
	struct stat sys, root;
	bool is_mount = stat("/sys", &sys) == 0 && stat("/", &root) == 0 && sys.st_dev != root.st_dev;
	if (is_mount)
		view_step(c->v, VIEW_READONLY, VIEW_RECURSIVE, NULL, "/sys", NULL);
}

/* FNV-1a, which is enough to tell a node's few views apart. */
static uint64_t hash(const struct view *v)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (uint32_t i = 0; i < v->n_kept; i++) {
		const struct view_step *s = &v->steps[i];
		const char *const texts[] = {s->from ? s->from : "", s->to ? s->to : "", s->data ? s->data : ""};
		h = (h ^ s->op ^ (uint64_t)s->flags << 32) * UINT64_C(0x100000001b3);
		for (size_t k = 0; k < countof(texts); k++)
			for (const char *at = texts[k];; at++) {
				h = (h ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
				if (!*at)
					break;
			}
	}
	return h ? h : 1;
}

static int put_common(struct composing *c)
{
	struct view *v = c->v;
	bool is_rooted = has_root(c);
	const char *root = is_rooted ? keep(c, path_join(c->q->state, "root")) : "";
	if (c->q->how->strict)
		put_strict_root(c, root);
	else if (is_rooted)
		view_step(v, VIEW_ROOT, 0, NULL, root, NULL);
	int r = put_places(c, root);
	put_binds(c, root);
	if (is_rooted) {
		view_step(v, VIEW_READONLY, 0, NULL, root, NULL);
		view_step(v, VIEW_PIVOT, 0, NULL, root, NULL);
	}
	/* A view of nothing else is not worth keeping. */
	if (v->n_steps)
		put_sys(c);
	v->n_kept = v->n_steps;
	v->kept = v->n_kept ? hash(v) : 0;
	return r;
}

/* ---- what is the attempt's own */

static const char *overlay_data(struct composing *c, const struct point *p)
{
	struct buf b = {0};
	buf_puts(&b, "lowerdir=");
	put_escaped(&b, p->input ? p->input->at : p->base);
	buf_puts(&b, ",upperdir=");
	put_escaped(&b, p->own);
	buf_puts(&b, "/upper,workdir=");
	put_escaped(&b, p->own);
	buf_printf(&b, "/work,xino=on,volatile,%s", overlay_kind(c));
	return keep(c, buf_steal_text(&b));
}

/* Where a point is mounted that lies in another, or in the sandbox: made there before. */
static void make_place(struct composing *c, const struct point *p)
{
	const struct point *up = p->cover;
	bool is_file = p->input && p->input->is_file;
	bool is_there = up ? !up->input && up->form == FORM_OVERLAY && p->is_there : p->region == REGION_HOST;
	if (is_there)
		return;
	view_make(c->v, view_inside(p), is_file, NULL);
}

static void put_overlay(struct composing *c, const struct point *p, const char *target)
{
	struct view *v = c->v;
	view_make(v, xasprintf("%s/upper", p->own), false, NULL);
	view_make(v, xasprintf("%s/work", p->own), false, NULL);
	view_step(v, VIEW_OVERLAY, VIEW_DECLARED, NULL, target, overlay_data(c, p));
}

static void put_own(struct composing *c, const struct point *p)
{
	struct view *v = c->v;
	const char *target = keep(c, xstrdup(p->target));
	const char *path = p->input ? p->input->path : keep(c, xstrdup(p->path));
	const char *own = p->own ? keep(c, xstrdup(p->own)) : NULL;
	if (p->form != FORM_INSIDE)
		make_place(c, p);
	switch (p->form) {
	case FORM_BIND:
		if (!p->late)
			put_bind(c, p, target);
		break;
	case FORM_OVERLAY:
		put_overlay(c, p, target);
		if (p->is_writable)
			view_place(v, path, keep(c, xasprintf("%s/upper", own)), true,
				   p->input ? &p->input->tree : NULL);
		break;
	case FORM_COPY:
		view_make(v, path_join(c->q->sandbox, "o"), false, NULL);
		view_copy(v, p->input->at, own);
		view_step(v, VIEW_BIND, VIEW_WRITABLE | VIEW_DECLARED, own, target, NULL);
		view_place(v, path, own, false, NULL);
		break;
	case FORM_INSIDE:
		view_make(v, xstrdup(own), true, NULL);
		view_copy(v, p->input->at, own);
		/* What covers it is a place that tells of it. */
		if (!p->cover)
			view_place(v, path, own, false, NULL);
		break;
	case FORM_DIRECTORY:
		view_make(v, xstrdup(own), false, NULL);
		view_step(v, VIEW_BIND, VIEW_WRITABLE | VIEW_DECLARED, own, target, NULL);
		view_place(v, path, own, false, NULL);
		break;
	}
}

static void put_region(struct composing *c, enum region region)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		bool is_common = p->region == REGION_HOST && p->form == FORM_BIND && !p->cover;
		if (p->region == region && !is_common)
			put_own(c, p);
	}
	/* One that is there only to have places in it is no place to write to. */
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		if (p->region == region && p->form == FORM_OVERLAY && !p->is_writable)
			view_step(c->v, VIEW_READONLY, 0, NULL, keep(c, xstrdup(p->target)), NULL);
	}
}

static const char *in_sandbox(struct composing *c, const char *name)
{
	return keep(c, path_join(c->q->sandbox, name));
}

/* Where the files are that are bound late: STATE/mnt is out of sight by then. */
static void put_insides(struct composing *c, const char *veil)
{
	unsigned n = 0;
	for (size_t i = 0; i < c->n; i++) {
		struct view_set *s = c->points[i].late;
		if (!s || s->inside)
			continue;
		const char *to = keep(c, xasprintf("%s/in/%u", veil, n));
		s->inside = keep(c, xasprintf("%s/in/%u", c->q->state, n++));
		view_step(c->v, VIEW_DIRECTORY, 0, NULL, to, NULL);
		view_step(c->v, VIEW_BIND, 0, keep(c, xstrdup(s->from)), to, NULL);
	}
}

static void put_late(struct composing *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct point *p = &c->points[i];
		if (p->late)
			view_step(c->v, VIEW_BIND, VIEW_DECLARED,
				  keep(c, path_join(p->late->inside, path_base(p->input->at))),
				  keep(c, xstrdup(p->target)), NULL);
	}
	list_foreach (&c->sets, struct view_set, link, s)
		if (s->inside)
			view_step(c->v, VIEW_UNMOUNT, 0, NULL, s->inside, NULL);
}

/* STATE as the task is to see it: its own directories and nothing else. */
static void put_state(struct composing *c, const char *veil)
{
	static const char *const parts[] = {"cwd", "home"};
	struct view *v = c->v;
	const char *inside = view_rest(c->q->sandbox, c->q->state);
	view_step(v, VIEW_TMPFS, 0, NULL, veil, "size=1m,mode=700");
	for (size_t i = 0; i < countof(parts); i++) {
		const char *to = keep(c, xasprintf("%s/%s/%s", veil, inside, parts[i]));
		if (i && !streq(c->q->how->home, "sandbox"))
			continue;
		view_step(v, VIEW_DIRECTORY, 0, NULL, to, NULL);
		view_step(v, VIEW_BIND, MAIN_FLAGS, in_sandbox(c, parts[i]), to, NULL);
	}
	put_insides(c, veil);
}

static void put_tmp(struct composing *c)
{
	struct view *v = c->v;
	const char *tmp = in_sandbox(c, "tmp");
	for (size_t i = 0; !c->q->how->strict && c->q->shared && c->q->shared[i]; i++) {
		const char *path = c->q->shared[i], *to = keep(c, xasprintf("%s%s", c->q->sandbox, path));
		view_make(v, xstrdup(to), false, NULL);
		view_step(v, VIEW_BIND, HOST_FLAGS | VIEW_OPTIONAL, path, to, NULL);
	}
	put_region(c, REGION_TMP);
	view_step(v, VIEW_BIND, MAIN_FLAGS, tmp, "/tmp", NULL);
}

static void put_hidden(struct composing *c)
{
	struct stat st;
	for (size_t i = 0; !c->q->how->strict && c->q->hidden && c->q->hidden[i]; i++) {
		const char *path = c->q->hidden[i];
		if (view_is_in(path, c->q->state) || stat(path, &st))
			continue;
		if (S_ISDIR(st.st_mode)) {
			view_step(c->v, VIEW_TMPFS, VIEW_OPTIONAL, NULL, path, "size=1m,mode=700");
			view_step(c->v, VIEW_READONLY, VIEW_OPTIONAL, NULL, path, NULL);
		} else {
			view_step(c->v, VIEW_BIND, VIEW_OPTIONAL, "/dev/null", path, NULL);
		}
	}
}

void view_put_kernel(struct composing *c)
{
	static const char *const settings[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq",  "/proc/bus",
					       "/proc/fs",  "/proc/acpi",          "/proc/scsi", "/proc/mtrr"};
	if (!c->v->n_kept)
		put_sys(c);
	view_step(c->v, VIEW_PROC, 0, NULL, "/proc", NULL);
	/* To be root is enough to write there, without any capability. */
	for (size_t i = 0; c->q->is_root && i < countof(settings); i++)
		if (access(settings[i], F_OK) == 0)
			view_step(c->v, VIEW_BIND, 0, settings[i], settings[i], NULL);
}

int view_put_steps(struct composing *c)
{
	struct view *v = c->v;
	const char *state = c->q->state, *veil = keep(c, path_join(state, "view"));
	int r = put_common(c);
	if (r)
		return r;
	put_region(c, REGION_HOST);
	put_region(c, REGION_CWD);
	put_state(c, veil);
	/* With a /tmp of its own the task would not see a state directory below the host's, so it is bound there before. */
	bool is_below_tmp = view_is_private(c->q, state);
	if (is_below_tmp) {
		const char *to = keep(c, xasprintf("%s%s", c->q->sandbox, state));
		view_make(v, xstrdup(to), false, NULL);
		view_step(v, VIEW_BIND, MAIN_FLAGS, veil, to, NULL);
		view_step(v, VIEW_READONLY, 0, NULL, to, NULL);
	}
	put_tmp(c);
	put_hidden(c);
	if (!is_below_tmp) {
		view_step(v, VIEW_BIND, MAIN_FLAGS, veil, state, NULL);
		view_step(v, VIEW_READONLY, 0, NULL, state, NULL);
	}
	put_late(c);
	view_put_kernel(c);
	return 0;
}
