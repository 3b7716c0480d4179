/* SPDX-License-Identifier: Apache-2.0
 * Without a view: below VINE_ROOT, SANDBOX/root, each declared path is a link to its input, or a copy that can be written; relative ones are so in the working directory. */
#include "vinefs/run/view_internal.h"

#include "common/path.h"

#include <stdio.h>

/* Where the task finds what it declared. NULL: nowhere. */
static char *place_of(const struct composing *c, const char *path)
{
	_free_ char *root = path_join(c->q->sandbox, "root");
	const char *rest = path + strspn(path, "/");
	size_t n = strlen(rest);
	while (n && rest[n - 1] == '/')
		n--;
	if (!n || path_check(rest, n))
		return NULL;
	_free_ char *clean = xstrndup(rest, n);
	return path_join(*path == '/' ? root : c->v->cwd, clean);
}

static bool has_output_in(const struct composing *c, const char *path)
{
	for (uint32_t i = 0; i < c->q->start->inputs.n; i++) {
		const struct wire_input *out = &c->q->start->inputs.at[i];
		if (out->mode == 3 && (*out->path == '/') == (*path == '/') && view_is_in(out->path, path))
			return true;
	}
	return false;
}

static int put_input(struct composing *c, const struct run_input *in)
{
	/* A working directory of the host's is left as it is: what lies there is what the task finds. */
	if (*in->path != '/' && !view_is_in(c->v->cwd, c->q->sandbox))
		return 0;
	char *place = place_of(c, in->path);
	if (!place) {
		snprintf(c->e->text, sizeof c->e->text,
			 "%.300s: is no path that can be shown: '..', an empty part, or the root", in->path);
		return -EINVAL;
	}
	/* Root writes to what is unpacked whatever its mode says, so he gets copies of his own, unless he is trusted. */
	_free_ char *mount = path_join(c->q->state, KEEPER_NODE_MOUNT);
	bool is_safe = !c->q->is_root || c->q->how->trust || view_is_in(in->at, mount);
	if (in->mode != 2 && is_safe && !has_output_in(c, in->path)) {
		view_make(c->v, place, false, xstrdup(in->at));
		return 0;
	}
	char *directory = xstrndup(place, (size_t)(path_base(place) - place));
	view_make(c->v, directory, false, NULL);
	view_copy(c->v, in->at, view_keep(c->v, place));
	view_place(c->v, in->path, place, false, NULL);
	return 0;
}

static void put_output(struct composing *c, const struct wire_input *out)
{
	/* In an input that was copied for it. */
	for (size_t i = 0; i < c->q->n_inputs; i++)
		if (view_is_in(out->path, c->q->inputs[i].path))
			return;
	char *place = place_of(c, out->path);
	if (!place || *out->path != '/') {
		free(place);
		return;
	}
	char *directory = xstrndup(place, (size_t)(path_base(place) - place));
	_free_ char *root = path_join(c->q->sandbox, "root");
	view_make(c->v, directory, false, NULL);
	free(place);
	view_place(c->v, "/", view_keep(c->v, steal(root)), false, NULL);
}

int view_put_links(struct composing *c)
{
	if (c->q->start->inputs.n)
		view_make(c->v, path_join(c->q->sandbox, "root"), false, NULL);
	for (size_t i = 0; i < c->q->n_inputs; i++) {
		int r = put_input(c, &c->q->inputs[i]);
		if (r)
			return r;
	}
	for (uint32_t i = 0; i < c->q->start->inputs.n; i++)
		if (c->q->start->inputs.at[i].mode == 3)
			put_output(c, &c->q->start->inputs.at[i]);
	if (c->q->is_inside)
		view_put_kernel(c);
	return 0;
}
