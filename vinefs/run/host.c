/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/host.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define STUCK_MOST 2u
#define STUCK_USEC 1000000u /* the patience of others meanwhile */

/* Paths on their way through the pool: it goes on when nobody asks any more, for the thread may be stuck in it. */
struct look {
	struct list link; /* in its host's looks */
	struct fetch_work work;
	struct host_question *question; /* NULL: nobody asks any more */
	char **paths;
	struct host_answer **answers;
	size_t n, n_done;
};

static void free_answer(struct host_answer *a)
{
	if (a) {
		free(a->path);
		free(a->base);
	}
	free(a);
}

/* Any thread. */
static struct host_answer *look_at(const char *path)
{
	struct host_answer *a = NEW(struct host_answer);
	struct stat st;
	assert(*path == '/');
	a->path = xstrdup(path);
	/* From the end: most paths are there. */
	for (size_t n = strlen(path);;) {
		_free_ char *head = xstrndup(path, n);
		char *real = realpath(*head ? head : "/", NULL);
		if (real) {
			a->base = real;
			a->rest = a->path + n + (a->path[n] == '/');
			a->is_directory = stat(real, &st) == 0 && S_ISDIR(st.st_mode);
			return a;
		}
		if (!n) {
			a->base = xstrdup("/");
			a->rest = a->path + 1;
			a->is_directory = true;
			return a;
		}
		while (n && path[n - 1] != '/')
			n--;
		while (n && path[n - 1] == '/')
			n--;
	}
}

static void forget_some(struct host *h)
{
	size_t i = 0;
	for (struct host_answer *a; h->answers.n >= HOST_MOST && (a = map_next(&h->answers, &i));) {
		map_remove_text(&h->answers, a->path);
		free_answer(a);
	}
}

static void remember(struct host *h, struct host_answer *a)
{
	a->until_usec = loop_now_usec(h->loop) + HOST_GOOD_USEC;
	forget_some(h);
	free_answer(map_put_text(&h->answers, a->path, a));
}

/* ---- in the pool */

static void run_look(struct fetch_work *w)
{
	struct look *k = container_of(w, struct look, work);
	/* Of what nobody waits for any more nothing is looked at: it may be the next thread to be stuck. */
	for (size_t i = 0; i < k->n && __atomic_load_n(&k->question, __ATOMIC_ACQUIRE); i++) {
		k->answers[i] = look_at(k->paths[i]);
		__atomic_store_n(&k->n_done, i + 1, __ATOMIC_RELEASE);
	}
}

static void free_look(struct look *k)
{
	for (size_t i = 0; i < k->n; i++) {
		free_answer(k->answers[i]);
		free(k->paths[i]);
	}
	free(k->answers);
	free(k->paths);
	free(k);
}

static void on_looked(struct fetch_work *w, bool is_run)
{
	struct look *k = container_of(w, struct look, work);
	struct host_question *q = k->question;
	for (size_t i = 0; q && i < k->n_done; i++)
		remember(q->host, steal(k->answers[i]));
	list_remove(&k->link);
	free_look(k);
	if (!q)
		return;
	q->look = NULL;
	host_stop(q);
	q->on_done(q, is_run ? 0 : -ECANCELED, "");
}

/* ---- the loop */

void host_init(struct host *h, struct loop *l, struct fetch *f)
{
	*h = (struct host){.loop = l, .fetch = f};
	list_init(&h->questions);
	list_init(&h->looks);
}

void host_forget(struct host *h)
{
	size_t i = 0;
	for (struct host_answer *a; (a = map_next(&h->answers, &i));) {
		map_remove_text(&h->answers, a->path);
		free_answer(a);
	}
}

void host_fini(struct host *h)
{
	list_foreach (&h->questions, struct host_question, link, q)
		host_stop(q);
	list_foreach (&h->looks, struct look, link, k)
		list_remove(&k->link);
	host_forget(h);
	map_fini(&h->answers);
}

const struct host_answer *host_get(struct host *h, const char *path)
{
	struct host_answer *a = map_get_text(&h->answers, path);
	if (a && a->until_usec > loop_now_usec(h->loop))
		return a;
	if (h->fetch)
		return NULL;
	remember(h, a = look_at(path));
	return a;
}

static void on_late(struct timer *t)
{
	struct host_question *q = container_of(t, struct host_question, timer);
	const struct look *k = q->look;
	size_t i = __atomic_load_n(&k->n_done, __ATOMIC_ACQUIRE);
	_free_ char *path = xstrdup(k->paths[min(i, k->n - 1)]);
	host_stop(q);
	q->on_done(q, -ETIMEDOUT, path);
}

/* Threads that nobody waits for any more are in the hands of a filesystem that does not answer: few of these are enough. */
static bool is_stuck(const struct host *h)
{
	unsigned n = 0;
	list_foreach (&h->looks, struct look, link, k)
		n += !k->question;
	return n >= STUCK_MOST;
}

bool host_ask(struct host *h, struct host_question *q, const char *const *paths, size_t n)
{
	struct look *k = NULL;
	assert(!q->look && q->on_done);
	for (size_t i = 0; i < n; i++) {
		if (host_get(h, paths[i]))
			continue;
		if (!k) {
			k = NEW(struct look);
			k->paths = xcalloc(n, sizeof *k->paths);
			k->answers = xcalloc(n, sizeof(struct host_answer *));
		}
		k->paths[k->n++] = xstrdup(paths[i]);
	}
	if (!k)
		return false;
	k->work = (struct fetch_work){.run = run_look, .on_done = on_looked};
	k->question = q;
	list_init(&k->link);
	list_append(&h->looks, &k->link);
	q->look = k;
	q->host = h;
	list_init(&q->link);
	list_append(&h->questions, &q->link);
	timer_start(&q->timer, h->loop, is_stuck(h) ? STUCK_USEC : HOST_PATIENCE_USEC, on_late);
	fetch_work(h->fetch, &k->work);
	return true;
}

void host_stop(struct host_question *q)
{
	if (!q->host)
		return;
	if (q->look)
		__atomic_store_n(&q->look->question, NULL, __ATOMIC_RELEASE);
	q->look = NULL;
	q->host = NULL;
	list_remove(&q->link);
	timer_stop(&q->timer);
}

/* ---- mounts */

/* The kernel writes blanks and the like as \ooo. */
static void unescape(char *text)
{
	char *to = text;
	for (; *text; text++) {
		bool is_code = *text == '\\' && text[1] && text[2] && text[3];
		*to++ = is_code ? (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0')) : *text;
		text += is_code ? 3 : 0;
	}
	*to = 0;
}

static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	return strncmp(path, directory, n) == 0 && path[n] == '/';
}

char **host_mounts_below(const char *directory, const char *except)
{
	char **all = xcalloc(1, sizeof *all), line[2 * PATH_MAX];
	size_t n = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof line, f)) {
		char path[PATH_MAX];
		if (sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1)
			continue;
		unescape(path);
		bool is_new = is_below(path, directory) && !is_below(path, except) && !streq(path, except);
		for (size_t i = 0; i < n && is_new; i++)
			is_new = !streq(path, all[i]) && !is_below(path, all[i]);
		if (!is_new)
			continue;
		all = xrealloc(all, (n + 2) * sizeof *all);
		all[n++] = xstrdup(path);
		all[n] = NULL;
	}
	if (f)
		fclose(f);
	return all;
}
