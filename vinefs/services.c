/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/services.h"

#include "common/log.h"
#include "common/path.h"
#include "vinefs/door.h"
#include "vinefs/inputs.h"

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
	struct inputs *inputs;
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

/* What is held for attempts to come would not go for what is needed now. */
static bool is_nearly_full(struct cache *c, unsigned percent)
{
	struct cache_state state;
	cache_get_state(c, &state);
	return state.size >= state.quota / 100 * percent || state.n_inodes >= state.inode_quota / 100 * percent;
}

static void on_kept(struct fetch_work *w, bool is_run)
{
	struct services *s = container_of(w, struct services, work);
	if (is_run && !s->is_ending && is_nearly_full(s->cache, (unsigned)s->settings->cache_low))
		inputs_shed(s->inputs);
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

static uint64_t find_namespaces(void *arg, int fds[2])
{
	const struct services *s = arg;
	return inputs_namespaces(s->inputs, fds);
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

static unsigned shed(void *arg)
{
	struct services *s = arg;
	return inputs_shed(s->inputs);
}

static int open_inputs(struct services *s, const struct services_found *found)
{
	static const enum probe_tier tiers[] = {PROBE_TIER_VIEWS, PROBE_TIER_VIEWS, PROBE_TIER_MOUNT, PROBE_TIER_PLAIN};
	enum probe_tier most = tiers[s->settings->tier];
	const struct inputs_settings i = {.loop = s->loop,
					  .fetch = s->fetch,
					  .cache = s->cache,
					  .mounts = s->mounts,
					  .state = s->settings->state,
					  .cache_path = s->settings->cache,
					  .hot = s->hot,
					  .tier = min(most, found->tier),
					  .is_unshared = !s->settings->share_unsealed,
					  .is_alone = settings_is_alone(s->settings),
					  .deadline_usec = s->settings->read_deadline,
					  .warmer = found->warmer};
	s->inputs = inputs_new(&i);
	return s->inputs ? 0 : -errno;
}

static int put_together(struct services *s, int keeper, const struct services_found *found)
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
	int r = open_inputs(s, found);
	if (r)
		return log_errno(-r, "inputs");
	const struct door_settings d = {.loop = s->loop,
					.state = s->settings->state,
					.name = s->settings->name,
					.cache_path = s->settings->cache,
					.cache = s->cache,
					.fetch = s->fetch,
					.mounts = s->mounts,
					.upgrade = upgrade,
					.namespaces = find_namespaces,
					.shed = shed,
					.arg = s};
	s->door = door_new(&d);
	return s->door ? 0 : -EIO;
}

struct services *services_new(struct loop *l, const struct settings *settings, int keeper,
			      const struct services_found *found)
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
		r = put_together(s, keeper, found);
	if (r) {
		services_end(s, false);
		return NULL;
	}
	timer_start(&s->upkeep, l, UPKEEP_USEC, on_time);
	return s;
}

static bool is_used(void *arg)
{
	const struct services *s = arg;
	return s->door && door_is_used(s->door);
}

struct link_parts services_parts(const struct services *s)
{
	return (struct link_parts){.cache = s->cache,
				   .fetch = s->fetch,
				   .inputs = s->inputs,
				   .is_used = is_used,
				   .arg = (void *)(uintptr_t)s};
}

static void see_mount(void *arg, const struct mounts_info *i)
{
	(void)arg, (void)i;
}

unsigned services_n_mounts(const struct services *s)
{
	return mounts_each(s->mounts, see_mount, NULL);
}

bool services_end(struct services *s, bool is_leaving)
{
	if (!s)
		return true;
	s->is_ending = true;
	timer_stop(&s->upkeep);
	timer_stop(&s->go);
	inputs_stop(s->inputs, is_leaving);
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
	inputs_free(s->inputs);
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
