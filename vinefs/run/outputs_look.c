/* SPDX-License-Identifier: Apache-2.0
 * One attempt in the pool: all outputs are found before the first is sealed, for what is sealed may leave its place. What came of it is written to SANDBOX/outputs, and only then do names of
 * files that the cache has taken go from the sandbox: whoever is killed here is done again, and finds all that he needs in one or the other. */
#include "vinefs/run/outputs_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define RECORD_MOST (1u << 20)

bool work_is_cancelled(const struct outputs_work *w)
{
	return __atomic_load_n(&w->is_cancelled, __ATOMIC_RELAXED);
}

#define REASON_MOST 1200
#define REASON_PART 500

/* A path may have 4,095 bytes, of which both ends tell most. */
static void shorten(char *text)
{
	static const char dots[] = " ... ";
	size_t n = strlen(text);
	if (n <= REASON_MOST)
		return;
	memcpy(text + REASON_PART, dots, sizeof dots - 1);
	memmove(text + REASON_PART + sizeof dots - 1, text + n - REASON_PART, REASON_PART + 1);
}

void work_complain(struct outputs_work *w, int error, const char *fmt, ...)
{
	va_list args;
	assert(error < 0);
	if (w->n_errors++)
		return;
	w->error = error;
	va_start(args, fmt);
	if (vasprintf(&w->reason, fmt, args) < 0)
		abort();
	va_end(args);
	shorten(w->reason);
}

/* ---- what was done before */

static char *record_path(const struct outputs_work *w)
{
	return path_join(w->sandbox, "outputs");
}

static bool take_record(struct outputs_work *w, const struct wire_ended *m)
{
	if (m->attempt != w->start->attempt || m->outputs.n != w->n_items)
		return false;
	for (uint32_t i = 0; i < m->outputs.n; i++)
		if (m->outputs.at[i].item != w->items[i].in->item ||
		    (m->outputs.at[i].tree.algorithm && !cache_has(w->outputs->settings.cache, &m->outputs.at[i].tree)))
			return false;
	for (uint32_t i = 0; i < m->outputs.n; i++) {
		w->items[i].is_made = m->outputs.at[i].tree.algorithm;
		w->items[i].tree = m->outputs.at[i].tree;
		w->items[i].size = m->outputs.at[i].size;
	}
	for (uint32_t i = 0; i < m->left.n; i++)
		names_add(&w->left, xstrdup(m->left.at[i]));
	w->n_left = m->n_left;
	w->written_size = m->written_size;
	return true;
}

/* Whatever lies there: the task could write to its sandbox. */
static bool read_frame(const struct outputs_work *w, struct buf *frame)
{
	struct stat st;
	_free_ char *path = record_path(w);
	_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= WIRE_HEAD_SIZE ||
	    st.st_size > RECORD_MOST)
		return false;
	ssize_t n = pread(fd, buf_reserve(frame, (size_t)st.st_size), (size_t)st.st_size, 0);
	if (n == st.st_size)
		buf_grew(frame, (size_t)n);
	return n == st.st_size;
}

static bool read_record(struct outputs_work *w)
{
	_cleanup_(buf_fini) struct buf frame = {0};
	struct wire_arena arena = {0};
	struct wire_ended m;
	bool is_good = read_frame(w, &frame) &&
		       wire_decode(WIRE_ENDED, frame.at + WIRE_HEAD_SIZE, frame.n - WIRE_HEAD_SIZE, &m, &arena) == 0 &&
		       take_record(w, &m);
	wire_arena_fini(&arena);
	return is_good;
}

static bool write_record(const struct outputs_work *w)
{
	_cleanup_(buf_fini) struct buf frame = {0};
	_free_ char *path = record_path(w);
	_free_ struct wire_output *outputs = xcalloc(max(w->n_items, (size_t)1), sizeof *outputs);
	for (size_t i = 0; i < w->n_items; i++)
		outputs[i] = (struct wire_output){w->items[i].in->item, w->items[i].tree, w->items[i].size};
	const struct wire_ended m = {.attempt = w->start->attempt,
				     .task = w->start->task,
				     .outputs = {outputs, (uint32_t)w->n_items},
				     .left = {(const char *const *)w->left.at, (uint32_t)w->left.n},
				     .n_left = w->n_left,
				     .written_size = w->written_size};
	int r = wire_encode(&frame, WIRE_ENDED, 0, 0, &m);
	if (r == 0)
		r = path_write(path, frame.at, frame.n, 0600, false);
	/* It is there for a crash alone. */
	if (r < 0)
		log_warn("%s cannot be written: %s", path, strerror(-r));
	return r == 0;
}

/* ---- finding */

static bool is_wanted(const struct outputs_work *w, const struct item *it)
{
	uint32_t flags = it->in->flags;
	return w->is_success ? !(flags & OUTPUT_ON_FAILURE) : (flags & (OUTPUT_ON_FAILURE | OUTPUT_ALWAYS)) != 0;
}

static const char *name_of(const struct item *it)
{
	return it->in->name && *it->in->name ? it->in->name : "an item without a name";
}

static void find(struct outputs_work *w, struct item *it)
{
	_cleanup_(buf_fini) struct buf why = {0};
	_free_ char *path = task_path(w, it->in->path);
	int r = -EINVAL;
	if (!path)
		buf_puts(&why, "that is no path of an output (\"..\", or too long)");
	else if (it->in->flags & OUTPUT_PATTERN && is_pattern(path))
		r = glob_output(w, path, &it->found, &it->matches, &why);
	else
		r = find_output(w, path, &it->found, &why);
	it->is_made = r == 0;
	/* Who failed has failed, and this is no other reason. */
	if (r == -ENOENT && (it->in->flags & OUTPUT_OPTIONAL || !w->is_success))
		return;
	if (r < 0)
		work_complain(w, r, "output %s (%s) %s: %s", it->in->path, name_of(it),
			      r == -ENOENT ? "is missing" : "cannot be kept", buf_text(&why));
}

/* ---- sealing */

struct sifting {
	const struct item *item;
	int fd;
};

/* Of a pattern what matches; of an overlay's upper not the marks of what was removed. */
static bool is_of_output(void *arg, const char *path)
{
	const struct sifting *s = arg;
	const struct place *p = s->item->found.place;
	struct stat st;
	if (s->item->matches.n && !glob_wants(&s->item->matches, path))
		return false;
	return !p->is_overlay || stat_beneath(s->fd, path, &st) < 0 || !is_whiteout(p, &st);
}

static int open_found(const struct outputs_work *w, const struct found *f)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	if (!*f->path)
		return place_open(w, f->place, flags);
	_close_ int root = place_open(w, f->place, O_PATH);
	return root < 0 ? root : path_open_beneath(root, f->path, flags, 0);
}

/* FIFOs and the like, and what lost its setuid bit. */
static void tell_notes(struct outputs_work *w, const struct seal_report *notes)
{
	w->n_left += notes->n + notes->n_more;
	for (unsigned i = 0; i < notes->n && w->left.n < NAMED_MOST; i++)
		names_add(&w->left, xstrdup(notes->lines[i]));
}

static int seal_fd(struct outputs_work *w, struct item *it, int fd, struct seal_report *errors, void **vti, size_t *n)
{
	struct cache *cache = w->outputs->settings.cache;
	struct seal_report notes = {0};
	struct sifting sifting = {.item = it, .fd = fd};
	it->sealing = cache_sealing_new(cache, false);
	if (w->is_success && it->found.place->is_ours && *it->found.path)
		cache_sealing_may_take(it->sealing);
	struct seal_store store = *cache_sealing_store(it->sealing);
	/* Paths that nobody will seal again. */
	store.recall_file = NULL;
	store.learn_file = NULL;
	const struct seal_options o = {.store = &store,
				       .is_cancelled = &w->is_cancelled,
				       .arg = &sifting,
				       .is_wanted = it->matches.n || it->found.place->is_overlay ? is_of_output : NULL};
	int r = S_ISDIR(it->found.mode) ? seal_directory(fd, it->in->path, &o, vti, n, errors, &notes)
					: seal_file(fd, it->in->path, &o, vti, n, errors);
	if (r == 0)
		r = cache_publish(cache, *vti, *n, &it->tree);
	if (r == 0)
		tell_notes(w, &notes);
	seal_report_fini(&notes);
	return r;
}

static void explain(struct outputs_work *w, const struct item *it, int error, const struct seal_report *errors)
{
	char text[CACHE_TEXT_SIZE];
	if (errors->n)
		work_complain(w, error, "output %s (%s) cannot be sealed: %s", it->in->path, name_of(it),
			      errors->lines[0]);
	else if (cache_explain(w->outputs->settings.cache, error, text))
		work_complain(w, error, "output %s (%s) cannot be kept in the node's cache: %s", it->in->path,
			      name_of(it), text);
	else
		work_complain(w, error, "output %s (%s) cannot be sealed: %s", it->in->path, name_of(it),
			      strerror(-error));
}

static struct tree *seal(struct outputs_work *w, struct item *it)
{
	_cleanup_(buf_fini) struct buf why = {0};
	struct seal_report errors = {0};
	struct tree *t = NULL;
	void *vti = NULL;
	size_t n = 0;
	int r = fill_output(w, &it->found, &it->matches, &why);
	if (r < 0) {
		work_complain(w, r, "output %s (%s) cannot be made whole: %s", it->in->path, name_of(it),
			      buf_text(&why));
		return NULL;
	}
	_close_ int fd = open_found(w, &it->found);
	r = fd < 0 ? fd : seal_fd(w, it, fd, &errors, &vti, &n);
	if (r < 0)
		explain(w, it, r, &errors);
	else
		r = tree_take(steal(vti), n, NULL, &t);
	assert(r < 0 || t);
	if (t) {
		it->size = tree_size(t);
		it->is_directory = tree_node(t, 0)->type == TREE_DIRECTORY;
	}
	free(vti);
	seal_report_fini(&errors);
	return t;
}

/* ---- names that the cache's own have made needless */

static void drop_name(int root, const char *path)
{
	struct stat st;
	const char *slash = strrchr(path, '/');
	_free_ char *parent = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	_close_ int fd = *parent ? path_open_beneath(root, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
				 : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *name = path_base(path);
	if (fd >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1)
		unlinkat(fd, name, 0);
}

/* A file of two names cannot be bound into a view, and could be written to under the other: by whoever looks into a sandbox that is kept because of an error, too. */
static void drop_names(const struct outputs_work *w, const struct item *it, const struct tree *t)
{
	if (!w->is_success || !it->found.place->is_ours || !*it->found.path)
		return;
	_close_ int root = place_open(w, it->found.place, O_PATH);
	for (uint32_t i = 0; root >= 0 && i < tree_n_nodes(t); i++) {
		if (tree_node(t, i)->type != TREE_FILE || tree_file_size(t, i) <= DATA_SMALL_MAX)
			continue;
		_free_ char *below = tree_path(t, i);
		_free_ char *path = *below ? path_join(it->found.path, below) : xstrdup(it->found.path);
		drop_name(root, path);
	}
}

static void seal_all(struct outputs_work *w)
{
	struct tree **trees = xcalloc(max(w->n_items, (size_t)1), sizeof *trees);
	for (size_t i = 0; i < w->n_items && !w->error && !work_is_cancelled(w); i++)
		if (w->items[i].is_made)
			trees[i] = seal(w, &w->items[i]);
	bool is_done = !w->error && !work_is_cancelled(w) && w->n_items && write_record(w);
	for (size_t i = 0; i < w->n_items; i++) {
		if ((is_done || w->error) && trees[i])
			drop_names(w, &w->items[i], trees[i]);
		w->items[i].is_made = trees[i] && !w->error;
		tree_free(trees[i]);
	}
	free(trees);
	if (is_done)
		cache_flush(w->outputs->settings.cache);
}

void look_run(struct fetch_work *work)
{
	struct outputs_work *w = container_of(work, struct outputs_work, work);
	if (read_record(w))
		return;
	for (size_t i = 0; i < w->n_items; i++)
		if (is_wanted(w, &w->items[i]))
			find(w, &w->items[i]);
	look_for_left(w);
	if (!w->error)
		seal_all(w);
	else
		for (size_t i = 0; i < w->n_items; i++)
			w->items[i].is_made = false;
}
