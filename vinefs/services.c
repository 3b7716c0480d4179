/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/services.h"

#include "common/log.h"
#include "common/path.h"
#include "vinefs/door.h"

#include <unistd.h>

#define UPKEEP_USEC 5000000u /* the first comes so much after the start: restored mounts have their leases by then */
#define STOP_MSEC 2000
#define LAST_TURNS 2
#define HAND_OVER_MSEC 200 /* readers are waiting */
#define GO_USEC 10000u     /* for the last answer to leave */

struct services {
	struct loop *loop;
	const struct settings *settings;
	struct cache *cache;
	struct fetch *fetch;
	struct mounts *mounts;
	struct door *door;
	char *hot;
	struct timer upkeep, go;
	struct fetch_work work;
	bool is_short; /* of room: said once */
	bool is_ending;
};

/* ---- upkeep, in the pool */

static void run_upkeep(struct fetch_work *w)
{
	struct services *s = container_of(w, struct services, work);
	int r = cache_maintain(s->cache);
	char text[CACHE_TEXT_SIZE];
	if (r && !s->is_short)
		log_error("%s", cache_explain(s->cache, r, text) ? text : strerror(-r));
	s->is_short = r != 0;
	if (s->settings->scrub_rate)
		cache_scrub(s->cache, s->settings->scrub_rate * (UPKEEP_USEC / 1000000));
}

static void on_time(struct timer *t)
{
	struct services *s = container_of(t, struct services, upkeep);
	assert(s->fetch && s->cache);
	fetch_work(s->fetch, &s->work);
}

static void on_kept(struct fetch_work *w, bool is_run)
{
	struct services *s = container_of(w, struct services, work);
	/* The end waits for what runs. */
	if (is_run && !s->is_ending)
		timer_start(&s->upkeep, s->loop, UPKEEP_USEC, on_time);
}

/* ---- making way */

static void on_go(struct timer *t)
{
	struct services *s = container_of(t, struct services, go);
	assert(s->mounts);
	log_info("making way for the program now installed");
	loop_stop(s->loop, SERVICES_UPGRADE);
}

static void upgrade(void *arg)
{
	struct services *s = arg;
	if (!s->go.loop)
		timer_start(&s->go, s->loop, GO_USEC, on_go);
}

/* ---- life */

static int open_cache(struct services *s)
{
	struct conf_error e = {""};
	struct cache_settings c = {.path = s->settings->cache,
				   .quota = s->settings->cache_size,
				   .n_inodes = (uint64_t)s->settings->cache_files,
				   .high_percent = (unsigned)s->settings->cache_high,
				   .low_percent = (unsigned)s->settings->cache_low};
	int r = path_make_dirs(c.path, 0700);
	if (!r)
		r = path_make_dirs(s->hot, 0700);
	if (!r)
		r = cache_open(&c, &s->cache, &e);
	if (r)
		log_error("%s", *e.text ? e.text : c.path);
	return r;
}

static int put_together(struct services *s, int keeper)
{
	const struct fetch_settings f = {
		.cache = s->cache,
		.directory = s->settings->cache,
		.n_seal_threads = (unsigned)s->settings->seal_threads,
		.deadline_usec = s->settings->read_deadline / 6 * 5,
	};
	s->fetch = fetch_new(s->loop, &f);
	if (!s->fetch) {
		close_fd(keeper);
		return log_errno(errno, "%s", f.directory);
	}
	const struct mounts_settings m = {.loop = s->loop,
					  .fetch = s->fetch,
					  .keeper = keeper,
					  .deadline_usec = s->settings->read_deadline,
					  .hot = s->hot};
	s->mounts = mounts_new(&m);
	if (!s->mounts)
		return log_errno(errno, "the keeper's end");
	const struct door_settings d = {.loop = s->loop,
					.state = s->settings->state,
					.name = s->settings->name,
					.cache_path = s->settings->cache,
					.cache = s->cache,
					.fetch = s->fetch,
					.mounts = s->mounts,
					.upgrade = upgrade,
					.arg = s};
	s->door = door_new(&d);
	return s->door ? 0 : -EIO;
}

struct services *services_new(struct loop *l, const struct settings *settings, int keeper)
{
	struct services *s = NEW(struct services);
	s->loop = l;
	s->settings = settings;
	s->hot = path_join(settings->state, "hot");
	s->work = (struct fetch_work){.run = run_upkeep, .on_done = on_kept};
	int r = open_cache(s);
	if (r)
		close_fd(keeper);
	else
		r = put_together(s, keeper);
	if (r) {
		services_end(s, false);
		return NULL;
	}
	timer_start(&s->upkeep, l, UPKEEP_USEC, on_time);
	return s;
}

bool services_end(struct services *s, bool is_leaving)
{
	if (!s)
		return true;
	s->is_ending = true;
	timer_stop(&s->upkeep);
	timer_stop(&s->go);
	if (is_leaving && s->mounts)
		mounts_leave(s->mounts);
	else if (s->mounts)
		mounts_hand_over(s->mounts);
	door_free(s->door);
	int r = s->fetch ? fetch_stop(s->fetch, is_leaving ? STOP_MSEC : HAND_OVER_MSEC) : 0;
	/* A thread that waits for somebody's filesystem still uses all this; the process ends under it. */
	if (r) {
		log_warn("a source does not answer; leaving without it");
		return false;
	}
	mounts_free(s->mounts);
	/* Trees that were closed go by posts. */
	for (int i = 0; i < LAST_TURNS; i++)
		loop_turn(s->loop, 0);
	if (s->fetch)
		fetch_free(s->fetch);
	cache_free(s->cache);
	free(s->hot);
	free(s);
	return true;
}
