/* SPDX-License-Identifier: Apache-2.0
 * 1. Every declared path is one point, or lies in one.
 * 2. What lies in another point is mounted after it, on a place that is made in that one's own directory of the sandbox; so that one is
 *    an overlay or a directory, never a bind.
 * 3. Nothing is made on the host but in the sandbox. */
#include "vinefs/run/view_internal.h"

#include "common/path.h"

#include <fnmatch.h>
#include <stdio.h>

/* ---- what a view consists of */

#define GROW(array, n, room)                                                                                   \
	do {                                                                                                   \
		if ((n) == (room))                                                                             \
			(array) = xrealloc((array), ((room) = max(2 * (room), (size_t)16)) * sizeof *(array)); \
	} while (0)

char *view_keep(struct view *v, char *text)
{
	GROW(v->texts, v->n_texts, v->room_texts);
	return v->texts[v->n_texts++] = text;
}

void view_step(struct view *v, enum view_op op, unsigned flags, const char *from, const char *to, const char *data)
{
	size_t n = v->n_steps;
	GROW(v->steps, n, v->room_steps);
	v->steps[v->n_steps++] = (struct view_step){.op = op, .flags = flags, .from = from, .to = to, .data = data};
}

void view_make(struct view *v, char *path, bool is_file, char *target)
{
	GROW(v->makes, v->n_makes, v->room_makes);
	v->makes[v->n_makes++] = (struct view_make){.path = path, .is_file = is_file, .target = target};
}

void view_place(struct view *v, const char *path, const char *upper, bool is_overlay, const struct digest *lower)
{
	GROW(v->places, v->n_places, v->room_places);
	v->places[v->n_places++] = (struct outputs_place){.path = path, .upper = upper, .is_overlay = is_overlay};
	if (lower)
		v->places[v->n_places - 1].lower = *lower;
}

void view_copy(struct view *v, const char *from, const char *to)
{
	GROW(v->copies, v->n_copies, v->room_copies);
	v->copies[v->n_copies++] = (struct view_copy){.from = from, .to = xstrdup(to)};
}

void view_free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void view_fini(struct view *v)
{
	for (size_t i = 0; i < v->n_makes; i++) {
		free(v->makes[i].path);
		free(v->makes[i].target);
	}
	for (size_t i = 0; i < v->n_copies; i++)
		free(v->copies[i].to);
	view_free_texts(v->texts, v->n_texts);
	free(v->steps);
	free(v->places);
	free(v->makes);
	free(v->copies);
	free(v->directory);
	free(v->cwd);
	*v = (struct view){0};
}

/* ---- paths */

bool view_is_in(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	if (n == 1)
		return true;
	return strncmp(path, directory, n) == 0 && (path[n] == '/' || !path[n]);
}

const char *view_rest(const char *path, const char *directory)
{
	assert(view_is_in(path, directory));
	path += strlen(directory);
	return path + (*path == '/');
}

static char *parent_of(const char *path)
{
	const char *base = path_base(path);
	size_t n = (size_t)(base - path);
	return n > 1 ? xstrndup(path, n - 1) : xstrdup("/");
}

/* The working directory, as the task sees it and as the host has it: they are the same. */
static char *directory_of(const struct view_asked *q)
{
	_free_ char *cwd = path_join(q->sandbox, "cwd");
	char *directory = path_join(cwd, q->start->directory ? q->start->directory : "");
	for (size_t n = strlen(directory); n > 1 && directory[n - 1] == '/'; n--)
		directory[n - 1] = 0;
	return directory;
}

/* What a task names, as an absolute path without what would mean the same or lead elsewhere. NULL: it may not be declared. */
static char *absolute(const struct view_asked *q, const char *path)
{
	_free_ char *directory = directory_of(q), *whole = path_join(directory, path);
	size_t n = strlen(whole);
	while (n > 1 && whole[n - 1] == '/')
		whole[--n] = 0;
	return n > 1 && path_check(whole + 1, n - 1) == 0 ? steal(whole) : NULL;
}

static bool is_shared(const struct view_asked *q, const char *path)
{
	for (size_t i = 0; !q->how->strict && q->shared && q->shared[i]; i++)
		if (view_is_in(path, q->shared[i]))
			return true;
	return false;
}

bool view_is_private(const struct view_asked *q, const char *path)
{
	return view_is_in(path, "/tmp") && !is_shared(q, path);
}

static enum region region_of(const struct view_asked *q, const char *path)
{
	_free_ char *cwd = path_join(q->sandbox, "cwd");
	if (view_is_in(path, cwd))
		return REGION_CWD;
	return view_is_private(q, path) ? REGION_TMP : REGION_HOST;
}

/* The directory in which an output is made; of a pattern, the last one before what is not literal. */
static char *output_directory(const struct wire_input *in, const char *path)
{
	_free_ char *literal = xstrndup(path, in->flags & 8 ? strcspn(path, "*?[") : strlen(path));
	return parent_of(literal);
}

char **view_ask(const struct view_asked *q, size_t *n)
{
	size_t room = q->n_inputs + q->start->inputs.n;
	char **paths = xcalloc(room + 1, sizeof *paths);
	*n = 0;
	for (size_t i = 0; q->is_view && i < room; i++) {
		const struct wire_input *out = i < q->n_inputs ? NULL : &q->start->inputs.at[i - q->n_inputs];
		if (out && out->mode != 3)
			continue;
		char *path = absolute(q, out ? out->path : q->inputs[i].path);
		if (path && out) {
			char *whole = steal(path);
			path = output_directory(out, whole);
			free(whole);
		}
		if (path && region_of(q, path) == REGION_HOST)
			paths[(*n)++] = steal(path);
		free(path);
	}
	return paths;
}

/* ---- points */

static int refuse(struct composing *c, int error, const char *path, const char *why)
{
	snprintf(c->e->text, sizeof c->e->text, "%.300s: %s", path, why);
	return error;
}

/* Why nothing can be declared at a path; NULL: it can. What the node needs lies neither below it nor above it. */
static const char *why_not(const struct view_asked *q, const char *path)
{
	static const char *const never[] = {"/proc", "/sys", "/dev"};
	for (size_t i = 0; i < countof(never); i++)
		if (view_is_in(path, never[i]))
			return "nothing can be declared there";
	if (streq(path, "/tmp"))
		return "nothing can be declared there";
	if (view_is_in(q->state, path))
		return "the node's own directory lies in it";
	if (view_is_in(path, q->state))
		return "it lies in the node's own directory";
	for (size_t i = 0; !q->how->strict && q->hidden && q->hidden[i]; i++)
		if (view_is_in(path, q->hidden[i]))
			return "it lies in what the node keeps from tasks";
	return NULL;
}

/* By name, and where links lead. */
static int check_point(struct composing *c, const struct point *p)
{
	const char *why = p->region == REGION_CWD ? NULL : why_not(c->q, p->path);
	if (!why && p->region == REGION_HOST)
		why = why_not(c->q, p->target);
	if (!why && p->region == REGION_HOST && view_is_private(c->q, p->target))
		why = "it leads to /tmp, and that is the task's own";
	return why ? refuse(c, -EINVAL, p->path, why) : 0;
}

/* What the host has there. In a strict view it has nothing but the system's directories. */
static void look(struct composing *c, struct point *p)
{
	const struct host_answer *a = host_get(c->q->host, p->path);
	_free_ char *copy = a ? NULL : xstrdup("/");
	const char *base = a ? a->base : copy, *rest = a ? a->rest : p->path + 1;
	if (c->q->how->strict && !view_is_system(base)) {
		base = "/";
		rest = p->path + 1;
	}
	p->is_there = !*rest;
	p->base = xstrdup(base);
	p->target = *rest ? path_join(base, rest) : xstrdup(base);
}

static int add_point(struct composing *c, char *path, const struct run_input *input)
{
	GROW(c->points, c->n, c->room);
	struct point *p = &c->points[c->n++];
	*p = (struct point){.path = path, .input = input, .region = region_of(c->q, path)};
	p->form = !input ? FORM_OVERLAY : input->mode != 2 ? FORM_BIND : input->is_file ? FORM_COPY : FORM_OVERLAY;
	p->is_writable = p->form != FORM_BIND;
	if (p->region == REGION_HOST)
		look(c, p);
	else if (p->region == REGION_TMP)
		p->target = xasprintf("%s%s", c->q->sandbox, path);
	else
		p->target = xstrdup(path);
	return input ? check_point(c, p) : 0;
}

static int compare(const void *a, const void *b)
{
	const unsigned char *x = (const void *)((const struct point *)a)->path;
	const unsigned char *y = (const void *)((const struct point *)b)->path;
	while (*x && *x == *y) {
		x++;
		y++;
	}
	/* A slash before all else: what lies in a directory follows it at once. */
	int cx = *x == '/' ? 1 : *x ? *x + 1 : 0, cy = *y == '/' ? 1 : *y ? *y + 1 : 0;
	return cx - cy;
}

static void sort_and_cover(struct composing *c)
{
	if (c->n)
		qsort(c->points, c->n, sizeof *c->points, compare);
	for (size_t i = 0; i < c->n; i++) {
		struct point *p = &c->points[i], *up = i ? p - 1 : NULL;
		while (up && !view_is_in(p->path, up->path))
			up = up->cover;
		p->cover = up;
	}
}

static int put_inputs(struct composing *c)
{
	for (size_t i = 0; i < c->q->n_inputs; i++) {
		const struct run_input *in = &c->q->inputs[i];
		char *path = absolute(c->q, in->path);
		if (!path)
			return refuse(c, -EINVAL, in->path,
				      "is no path that can be shown: '..', an empty part, or the root");
		int r = add_point(c, path, in);
		if (r)
			return r;
	}
	sort_and_cover(c);
	for (size_t i = 1; i < c->n; i++)
		if (streq(c->points[i].path, c->points[i - 1].path))
			return refuse(c, -EINVAL, c->points[i].path, "two inputs are declared there");
	return 0;
}

static struct point *find_cover(struct composing *c, const char *path, size_t n)
{
	struct point *found = NULL;
	for (size_t i = 0; i < n; i++)
		if (view_is_in(path, c->points[i].path) && (!found || strlen(c->points[i].path) >= strlen(found->path)))
			found = &c->points[i];
	return found;
}

/* An output in an input makes that one writable, in private. */
static void open_up(struct point *p)
{
	if (p->form == FORM_BIND)
		p->form = p->input->is_file ? FORM_COPY : FORM_OVERLAY;
	p->is_writable = true;
}

static void drop_last(struct composing *c)
{
	struct point *p = &c->points[--c->n];
	free(p->path);
	free(p->target);
	free(p->base);
}

/* Whether a pattern of an output may mean a path, what lies in it or what it lies in. */
static bool may_meet(const char *pattern, const char *path)
{
	while (*pattern && *path) {
		size_t n = strcspn(pattern, "/"), m = strcspn(path, "/");
		_free_ char *part = xstrndup(pattern, n), *name = xstrndup(path, m);
		if (!streq(part, name) && fnmatch(part, name, FNM_PERIOD))
			return false;
		pattern += n + (pattern[n] == '/');
		path += m + (path[m] == '/');
	}
	return true;
}

/* What is written in place is looked for on the host, where nothing is hidden. */
static int check_in_place(struct composing *c, const char *path)
{
	static const char why[] = "what the node keeps from tasks may be meant by it";
	if (may_meet(path, c->q->state))
		return refuse(c, -EINVAL, path, why);
	for (size_t i = 0; c->q->hidden && c->q->hidden[i]; i++)
		if (may_meet(path, c->q->hidden[i]))
			return refuse(c, -EINVAL, path, why);
	return 0;
}

static int put_host_directory(struct composing *c, char *directory, const char *output)
{
	int r = 0;
	const struct point *up = find_cover(c, directory, c->n);
	/* The task's own choice to work there. */
	bool is_worked_in = view_is_in(directory, c->v->directory);
	add_point(c, directory, NULL);
	struct point *p = &c->points[c->n - 1];
	/* With the node's state in it nothing can be laid over it. In both cases what is written there is written there. */
	if (is_worked_in || (p->is_there && view_is_in(c->q->sandbox, p->target))) {
		_free_ char *whole = path_join(p->target, view_rest(output, directory));
		const char *path = view_keep(c->v, xstrdup(directory));
		r = check_in_place(c, whole);
		view_place(c->v, path, view_keep(c->v, xstrdup(p->target)), false, NULL);
		drop_last(c);
	} else if (up && p->is_there) {
		drop_last(c);
	} else {
		p->form = p->is_there ? p->form : FORM_DIRECTORY;
		const char *why = why_not(c->q, p->target);
		if (why)
			r = refuse(c, -EINVAL, output, why);
	}
	return r;
}

/* Programs that update a file write another beside it and rename that, so its directory is the task's own as for any output. */
static int put_updated(struct composing *c, struct point *in, const char *path)
{
	open_up(in);
	in->is_updated = true;
	if (in->cover)
		open_up(in->cover);
	return in->cover || in->region != REGION_HOST ? 0 : put_host_directory(c, parent_of(path), path);
}

static int put_output(struct composing *c, const struct wire_input *out, size_t n_inputs)
{
	_free_ char *path = absolute(c->q, out->path);
	if (!path)
		return refuse(c, -EINVAL, out->path, "is no path of an output: '..', an empty part, or the root");
	struct point *in = find_cover(c, path, n_inputs);
	if (in && in->input->is_file && !streq(in->path, path))
		return refuse(c, -ENOTDIR, path, "lies in an input that is a file");
	if (in && streq(in->path, path) && in->input->is_file)
		return put_updated(c, in, path);
	if (in) {
		open_up(in);
		return 0;
	}
	_free_ char *directory = output_directory(out, path);
	enum region region = region_of(c->q, directory);
	const char *why = region == REGION_CWD ? NULL : why_not(c->q, path);
	if (why)
		return refuse(c, -EINVAL, path, why);
	if (region == REGION_TMP) {
		view_make(c->v, xasprintf("%s%s", c->q->sandbox, directory), false, NULL);
		view_place(c->v, "/tmp", view_keep(c->v, path_join(c->q->sandbox, "tmp")), false, NULL);
	}
	const struct point *up = find_cover(c, directory, c->n);
	if (region == REGION_HOST && !(up && streq(up->path, directory)))
		return put_host_directory(c, steal(directory), path);
	return 0;
}

static int put_outputs(struct composing *c)
{
	size_t n_inputs = c->n;
	for (uint32_t i = 0; i < c->q->start->inputs.n; i++) {
		const struct wire_input *out = &c->q->start->inputs.at[i];
		int r = out->mode == 3 ? put_output(c, out, n_inputs) : 0;
		if (r)
			return r;
	}
	sort_and_cover(c);
	return 0;
}

char *view_inside(const struct point *p)
{
	const struct point *up = p->cover;
	if (!up)
		return xstrdup(p->target);
	_free_ char *in = xasprintf("%s%s", up->own, up->form == FORM_OVERLAY ? "/upper" : "");
	return path_join(in, view_rest(p->path, up->path));
}

/* What covers something must have places for it. */
static int settle(struct composing *c)
{
	unsigned n = 0;
	for (size_t i = 0; i < c->n; i++) {
		struct point *p = &c->points[i], *up = p->cover;
		if (!up)
			continue;
		if (up->input && up->input->is_file)
			return refuse(c, -ENOTDIR, p->path, "lies in an input that is a file");
		if (up->form == FORM_BIND)
			up->form = FORM_OVERLAY;
		free(p->target);
		p->target = path_join(up->target, view_rest(p->path, up->path));
	}
	for (size_t i = 0; i < c->n; i++) {
		struct point *p = &c->points[i];
		bool is_bare = !p->cover && p->region != REGION_HOST;
		if (p->form == FORM_COPY && (is_bare || (p->cover && p->is_updated)))
			p->form = FORM_INSIDE;
		if (p->form == FORM_INSIDE)
			p->own = view_inside(p);
		else if (p->form != FORM_BIND)
			p->own = xasprintf("%s/o/%u", c->q->sandbox, n++);
	}
	return 0;
}

static void free_points(struct composing *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->points[i].path);
		free(c->points[i].target);
		free(c->points[i].own);
		free(c->points[i].base);
	}
	free(c->points);
	view_free_sets(c);
}

int view_compose(const struct view_asked *q, struct view *v, struct conf_error *e)
{
	struct composing c = {.q = q, .v = v, .e = e};
	assert(*q->state == '/' && view_is_in(q->sandbox, q->state));
	list_init(&c.sets);
	*v = (struct view){.is_view = q->is_view, .directory = directory_of(q)};
	v->cwd = xstrdup(v->directory);
	if (streq(q->how->home, "sandbox"))
		view_make(v, path_join(q->sandbox, "home"), false, NULL);
	int r = q->is_view ? put_inputs(&c) : view_put_links(&c);
	if (!r && q->is_view)
		r = put_outputs(&c);
	if (!r && q->is_view)
		r = settle(&c);
	if (!r && q->is_view) {
		view_find_sets(&c);
		r = view_put_steps(&c);
	}
	free_points(&c);
	return r;
}
