/* SPDX-License-Identifier: Apache-2.0
 * Posting: what a description becomes, and what happens when the cluster is full, old, or does not answer. */
#include "tests/unit/client_run.h"

#include <sys/resource.h>
#include <time.h>

static struct wire_submit *post(struct vine_task *t)
{
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	return fake_submit(f);
}

static void set_all(struct vine_task *t, const char *const (*settings)[2], size_t n)
{
	for (size_t i = 0; i < n; i++)
		ASSERT_EQ(vine_task_set(t, settings[i][0], settings[i][1]), 0);
}

TEST(every_setting_reaches_the_cluster)
{
	static const char *const settings[][2] = {
		{"cores", "4"},
		{"memory", "2G"},
		{"disk", "1.5G"},
		{"gpus", "2"},
		{"resource.scratch", "10G"},
		{"resource.slots", "3"},
		{"resource.slots", "0"},
		{"resource.fpga", "1"},
		{"counter.matlab", "2"},
		{"feature", "avx512,ib"},
		{"feature", "ib,big"},
		{"category", "train"},
		{"priority", "-3"},
		{"wall-time", "1h30m"},
		{"deadline", "2030-01-01T02:00:00.25+01:00"},
		{"staging", "full"},
		{"retries", "3"},
		{"array", "10-20:5%2"},
		{"tag", "a"},
		{"key", "k"},
		{"directory", "/tmp"},
		{"view", "none"},
		{"strict", "yes"},
		{"stdin", "in put"},
		{"umask", "027"},
		{"grace", "1m"},
		{"processes", "100"},
		{"record", "yes"},
		{"home", "sandbox"},
		{"trust", "yes"},
		{"processes", "200"},
		{"env", "clean"},
		{"env.B", "2"},
		{"env.A", "1"},
		{"env.B", "3"},
	};
	world_start();
	struct vine_task *t = task_new();
	set_all(t, settings, countof(settings));
	_free_ struct wire_submit *m = post(t);
	const struct wire_task *w = m->tasks.at;
	ASSERT_EQ(w->cores, 4);
	ASSERT_EQ(w->memory, 2ull << 30);
	ASSERT_EQ(w->disk, 3ull << 29);
	ASSERT_EQ(w->gpus, 2);
	ASSERT_EQ(w->named.n, 2);
	ASSERT_STR(w->named.at[0].name, "scratch");
	ASSERT_EQ(w->named.at[0].amount, 10ull << 30);
	ASSERT_STR(w->named.at[1].name, "fpga");
	ASSERT_EQ(w->counters.n, 1);
	ASSERT_STR(w->counters.at[0].name, "matlab");
	ASSERT_EQ(w->features.n, 3);
	ASSERT_STR(w->features.at[2], "big");
	ASSERT_STR(w->category, "train");
	ASSERT_EQ(w->priority, -3);
	ASSERT_EQ(w->wall_usec, 5400000000);
	ASSERT_EQ(w->deadline_usec, 1893459600250000);
	ASSERT_EQ(w->staging, 3);
	ASSERT_EQ(w->retries, 3);
	ASSERT_EQ(w->array_first, 10);
	ASSERT_EQ(w->array_step, 5);
	ASSERT_EQ(w->array_n, 3);
	ASSERT_EQ(w->array_running, 2);
	ASSERT_STR(w->key, "k");
	static const char *const how[] = {"view=none",  "strict=yes",   "stdin=in put", "umask=027",    "grace=1m",
					  "record=yes", "home=sandbox", "trust=yes",    "processes=200"};
	ASSERT_EQ(w->how.n, countof(how));
	for (size_t i = 0; i < countof(how); i++) {
		bool is_there = false;
		for (size_t k = 0; k < countof(how); k++)
			is_there |= streq(w->how.at[k], how[i]);
		ASSERT(is_there);
	}
	ASSERT_EQ(w->environment.n, 2);
	ASSERT_STR(w->environment.at[0], "A=1");
	ASSERT_STR(w->environment.at[1], "B=3");
	vine_task_free(t);
	world_stop();
}

TEST(what_is_not_set_is_left_to_the_cluster)
{
	world_start();
	struct vine_task *t = task_new();
	_free_ struct wire_submit *m = post(t);
	const struct wire_task *w = m->tasks.at;
	ASSERT(!w->cores && !w->memory && !w->disk && !w->gpus && !w->staging && !w->retries && !w->array_n);
	ASSERT(!w->wall_usec && !w->deadline_usec && !w->named.n && !w->features.n && !w->bindings.n);
	ASSERT(!*w->tag && !*w->category && !*w->directory && *w->key);
	vine_task_free(t);
	world_stop();
}

TEST(values_that_cannot_be_are_refused_with_what_can)
{
	static const char *const bad[][3] = {
		{"gpus", "65", "0 to 64"},
		{"umask", "8", "octal"},
		{"umask", "1777", "octal"},
		{"home", "here", "absolute"},
		{"view", "some", "yes, none"},
		{"grace", "2h", "1h"},
		{"stric", "yes", "strict"},
		{"stdin", "a\nb", "control"},
		{"staging", "some", "lazy, hot, full"},
		{"retries", "-1", "0 to"},
		{"wall-time", "soon", "1h30m"},
		{"wall-time", "4000d", "3650d"},
		{"deadline", "tomorrow", "2026-11-21T17:00:00Z"},
		{"deadline", "2026-11-21T17:00:00", "zone"},
		{"deadline", "2026-02-30T17:00:00Z", "zone"},
		{"deadline", "2026-11-21T17:00:00Zulu", "zone"},
		{"deadline", "+soon", "+DURATION"},
		{"deadline", "+0s", "+DURATION"},
		{"array", "", "FIRST-LAST"},
		{"array", "1,2", "FIRST-LAST"},
		{"array", "1-", "FIRST-LAST"},
		{"array", "1-10:0", "FIRST-LAST"},
		{"array", "1-10%0", "FIRST-LAST"},
		{"array", "1-10:2%5x", "FIRST-LAST"},
		{"array", "99999999999999999999", "FIRST-LAST"},
		{"array", "10-1", "below"},
		{"array", "1-1000000000", "at most"},
		{"feature", "", "1 to 64"},
		{"feature", "a,,b", "1 to 64"},
		{"feature", "a b", "blanks"},
		{"resource.", "1", "1 to 64"},
		{"resource.a", "-1", "a number like 4"},
		{"counter.a=b", "1", "blanks"},
		{"resorce.a", "1", "resource.NAME"},
		{"retreis", "1", "retries"},
		{"waltime", "1", "wall-time"},
		{"category", "a\nb", "control"},
		{"category", "a-word-that-is-longer-than-what-anybody-would-call-a-category-of-tasks", "at most 64"},
	};
	struct vine_task *t = task_new();
	for (size_t i = 0; i < countof(bad); i++) {
		ASSERT(vine_task_set(t, bad[i][0], bad[i][1]) < 0);
		if (!strstr(vine_error(), bad[i][2]))
			ASSERT_STR(vine_error(), bad[i][2]);
	}
	vine_task_free(t);
}

TEST(a_deadline_from_now_on_is_counted_from_the_post)
{
	world_start();
	struct vine_task *t = task_new();
	ASSERT_EQ(vine_task_set(t, "deadline", "+1h"), 0);
	uint64_t before = (uint64_t)time(NULL) * 1000000;
	_free_ struct wire_submit *m = post(t);
	ASSERT(m->tasks.at[0].deadline_usec >= before + 3600000000);
	ASSERT(m->tasks.at[0].deadline_usec <= before + 3660000000);
	ASSERT_EQ(vine_task_set(t, "deadline", ""), 0);
	_free_ struct wire_submit *again = post(t);
	ASSERT_EQ(again->tasks.at[0].deadline_usec, 0);
	vine_task_free(t);
	world_stop();
}

static bool has_variable(const struct wire_task *t, const char *variable)
{
	for (uint32_t i = 0; i < t->environment.n; i++) {
		if (streq(t->environment.at[i], variable))
			return true;
	}
	return false;
}

TEST(an_environment_is_ours_with_the_tasks_over_it)
{
	world_start();
	struct vine_task *t[] = {task_new(), task_new()};
	ASSERT_EQ(setenv("AN_M", "ours", 1), 0);
	ASSERT_EQ(setenv("AN_MM", "stays", 1), 0);
	ASSERT_EQ(setenv("VINE_SECRET", "/secret", 1), 0);
	static const char *const settings[][2] = {{"env.AN_Z", "z"}, {"env.AN_M", "theirs"}, {"env.AN_A", "a"}};
	set_all(t[1], settings, countof(settings));
	ASSERT_EQ(vine_post(v, t, 2, NULL), 0);
	_free_ struct wire_submit *m = fake_submit(f);
	const struct wire_task *plain = &m->tasks.at[0], *own = &m->tasks.at[1];
	ASSERT(has_variable(plain, "AN_M=ours") && has_variable(plain, "AN_MM=stays"));
	ASSERT(!has_variable(plain, "VINE_SECRET=/secret") && !has_variable(own, "VINE_SECRET=/secret"));
	ASSERT(has_variable(own, "AN_M=theirs") && !has_variable(own, "AN_M=ours"));
	ASSERT(has_variable(own, "AN_MM=stays") && has_variable(own, "AN_A=a") && has_variable(own, "AN_Z=z"));
	ASSERT_EQ(own->environment.n, plain->environment.n + 2);
	unsetenv("VINE_SECRET");
	vine_task_free(t[0]);
	vine_task_free(t[1]);
	world_stop();
}

static bool is_readable(struct vine *session, int msec)
{
	return poll(&(struct pollfd){.fd = vine_fd(session), .events = POLLIN}, 1, msec) == 1;
}

TEST(a_full_cluster_says_so_and_when_to_try_again)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_event *e;
	f->full = 2;
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(vine_post(v, &t, 1, NULL), -EAGAIN);
		ASSERT_STR(vine_error(), "full");
		ASSERT(is_readable(v, 20000));
	}
	ASSERT_EQ(vine_next(v, NULL, 0, &e), -ENODATA);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	ASSERT_EQ(f->n_kept, 1);
	/* Readable for the result alone now. */
	ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
	ASSERT(!is_readable(v, 0));
	ASSERT_EQ(vine_event_done(e), 0);
	vine_task_free(t);
	world_stop();
}

/* Whoever does not post again is not woken again and again. */
TEST(room_that_nobody_uses_is_told_once)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_event *e;
	f->is_holding = true;
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	f->full = 1;
	ASSERT_EQ(vine_post(v, &t, 1, NULL), -EAGAIN);
	ASSERT(is_readable(v, 20000));
	ASSERT_EQ(vine_next(v, NULL, 0, &e), 0);
	ASSERT(!is_readable(v, 0));
	vine_task_free(t);
	world_stop();
}

TEST(a_full_cluster_after_a_lost_answer_doubles_nothing)
{
	world_start();
	struct vine_task *t = task_new();
	struct vine_event *e;
	uint64_t id;
	/* Recorded, the answer lost; then full, before it looks at keys. */
	f->lose_submits = 1;
	struct vine_task *first = task_new();
	ASSERT_EQ(vine_post(v, &first, 1, &id), 0);
	ASSERT_EQ(f->n_submits, 2);
	f->full_after_loss = 2;
	f->lose_submits = 1;
	ASSERT_EQ(vine_post(v, &t, 1, &id), 0);
	ASSERT_EQ(f->n_submits, 6);
	ASSERT_EQ(f->n_kept, 2);
	ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
	ASSERT_EQ(vine_event_done(e), 0);
	ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
	ASSERT_EQ(vine_event_done(e), 0);
	ASSERT_EQ(vine_next(v, NULL, 0, &e), -ENODATA);
	vine_task_free(t);
	vine_task_free(first);
	world_stop();
}

TEST(an_older_cluster_is_not_asked_what_it_would_not_see)
{
	f = fake_start_old(1);
	struct vine_task *t = task_new();
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	ASSERT_EQ(vine_cancel(v, "tag:x"), -ENOSYS);
	ASSERT_EQ(vine_cancel(v, "1"), 0);
	ASSERT_EQ(vine_set(v, "category.a.running", "1"), -ENOSYS);
	ASSERT_EQ(vine_set(v, "events", "nodes"), -ENOSYS);
	ASSERT_EQ(vine_forget(v, "temp:x"), -ENOSYS);
	ASSERT_EQ(vine_task_set(t, "retries", "1"), 0);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), -ENOSYS);
	ASSERT(strstr(vine_error(), "older"));
	ASSERT_EQ(f->n_kept, 1);
	ASSERT_EQ(f->n_cancelled, 1);
	vine_task_free(t);
	world_stop();
}

TEST(a_cluster_that_knows_no_views_is_not_given_what_needs_them)
{
	f = fake_start_old(2);
	struct vine_task *t = task_new(), *output = task_new();
	struct vine_file *bytes;
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
	ASSERT_EQ(vine_task_set(t, "retries", "1"), 0);
	/* As by default, in whichever words: it is not said. */
	ASSERT_EQ(vine_task_set(t, "grace", "10000ms"), 0);
	ASSERT_EQ(vine_task_set(t, "umask", "022"), 0);
	ASSERT_EQ(vine_task_set(t, "strict", "yes"), 0);
	ASSERT_EQ(vine_task_set(t, "strict", "no"), 0);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), 0);
	ASSERT_EQ(vine_task_set(t, "strict", "yes"), 0);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), -ENOSYS);
	ASSERT_EQ(vine_task_output(output, "a", VINE_OPTIONAL, NULL), 0);
	ASSERT_EQ(vine_post(v, &output, 1, NULL), -ENOSYS);
	ASSERT_EQ(vine_task_set(t, "strict", "no"), 0);
	ASSERT_EQ(vine_file_bytes(v, "1", 1, &bytes), 0);
	ASSERT_EQ(vine_task_input(t, bytes, "a", 0), 0);
	ASSERT_EQ(vine_post(v, &t, 1, NULL), -ENOSYS);
	ASSERT_EQ(f->n_kept, 1);
	vine_file_free(bytes);
	vine_task_free(t);
	vine_task_free(output);
	world_stop();
}

TEST(an_environment_that_tasks_share_goes_once)
{
	world_start();
	struct vine_task *t[4] = {task_new(), NULL, task_new(), task_new()};
	t[1] = t[0];
	ASSERT_EQ(setenv("SHARED_BY_ALL", "x", 1), 0);
	ASSERT_EQ(vine_task_set(t[2], "env.OWN", "1"), 0);
	ASSERT_EQ(vine_task_set(t[3], "env", "clean"), 0);
	ASSERT_EQ(vine_post(v, t, 4, NULL), 0);
	_free_ struct wire_submit *m = fake_submit(f);
	ASSERT_EQ(m->environments.n, 1);
	ASSERT(m->environments.at[0].environment.n > 0);
	ASSERT_EQ(m->tasks.at[0].environment_of, 1);
	ASSERT_EQ(m->tasks.at[1].environment_of, 1);
	ASSERT_EQ(m->tasks.at[0].environment.n, 0);
	ASSERT_EQ(m->tasks.at[2].environment_of, 0);
	ASSERT_EQ(m->tasks.at[2].environment.n, m->environments.at[0].environment.n + 1);
	ASSERT_EQ(m->tasks.at[3].environment.n, 0);
	ASSERT_EQ(unsetenv("SHARED_BY_ALL"), 0);
	vine_task_free(t[0]);
	vine_task_free(t[2]);
	vine_task_free(t[3]);
	world_stop();
}

TEST(an_array_is_as_many_results_as_it_has_elements)
{
	enum { N = 1000 };
	world_start();
	struct vine_task *t = task_new();
	struct vine_event *e;
	uint64_t id, sum = 0;
	ASSERT_EQ(vine_task_set(t, "array", "1-1000%50"), 0);
	f->lose_submits = 1;
	ASSERT_EQ(vine_post(v, &t, 1, &id), 0);
	for (int i = 0; i < N; i++) {
		ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
		sum += strtoull(value_of(e, "task"), NULL, 10) - id;
		ASSERT_EQ(strtoull(value_of(e, "index"), NULL, 10), strtoull(value_of(e, "task"), NULL, 10) - id);
		ASSERT_EQ(vine_event_done(e), 0);
	}
	ASSERT_EQ(sum, N * (N - 1) / 2);
	ASSERT_EQ(vine_next(v, NULL, 0, &e), -ENODATA);
	vine_task_free(t);
	world_stop();
}

TEST(settings_of_a_run_are_checked_and_sent)
{
	static const char *const good[][3] = {
		{"category.a.b.running", "5", "r/category.a.b.running=5"},
		{"category.a.memory", "16G", "r/category.a.memory=16G"},
		{"category.a.learn", "yes", "r/category.a.learn=yes"},
		{"category.a.disk", "", "r/category.a.disk="},
		{"counter.matlab", "4", "/counter.matlab=4"},
		{"source./data.running", "2", "/source./data.running=2"},
		{"source./a.b.running", "", "/source./a.b.running="},
		{"lifetime", "forever", "r/lifetime=forever"},
		{"lifetime", "", "r/lifetime="},
	};
	static const char *const bad[][3] = {
		{"category.a.running", "many", "category.a: running"},
		{"category.a.memry", "1", "memory"},
		{"category.running", "1", "category.NAME.SETTING"},
		{"category", "1", "category.NAME.SETTING"},
		{"counter.", "1", "counter.NAME"},
		{"counter.a", "few", "a number like 4"},
		{"counter.a", "4G", "a number like 4"},
		{"source./data/x.running", "1", "a first directory"},
		{"source./.running", "1", "source./DIRECTORY.running"},
		{"source./data.speed", "1", "source./DIRECTORY.running"},
		{"source./data.running", "few", "a number like 4"},
		{"source", "1", "source./DIRECTORY.running"},
		{"lifetime", "node", "run, task, forever"},
		{"lifetme", "run", "lifetime"},
		{"evnts", "nodes", "events"},
		{"events", "all", "none, nodes"},
		{"category.a\n.running", "1", "control"},
		{"counter.a b", "1", "blanks"},
		{"counter.a=b", "1", "'='"},
		{"categry.a.memory", "1G", "did you mean category?"},
		{"lifetme.x", "run", "did you mean lifetime?"},
		{"lifetime.x", "run", "did you mean lifetime?"},
	};
	char copy[200];
	world_start();
	for (size_t i = 0; i < countof(good); i++) {
		ASSERT_EQ(vine_set(v, good[i][0], good[i][1]), 0);
		ASSERT_STR(fake_word(f, f->set, copy), good[i][2]);
	}
	for (size_t i = 0; i < countof(bad); i++) {
		ASSERT_EQ(vine_set(v, bad[i][0], bad[i][1]), -EINVAL);
		if (!strstr(vine_error(), bad[i][2]))
			ASSERT_STR(vine_error(), bad[i][2]);
	}
	ASSERT_EQ(vine_cancel(v, "category:a"), 0);
	ASSERT_STR(fake_word(f, f->selector, copy), "r/category:a");
	ASSERT_EQ(vine_cancel(v, "key:"), -EINVAL);
	ASSERT_EQ(vine_forget(v, "temp:x"), 0);
	ASSERT_STR(fake_word(f, f->forgotten, copy), "r/temp:x");
	ASSERT_EQ(vine_forget(v, "old/temp:x/y"), 0);
	ASSERT_STR(fake_word(f, f->forgotten, copy), "old/temp:x/y");
	ASSERT_EQ(vine_forget(v, "old"), 0);
	ASSERT_STR(fake_word(f, f->forgotten, copy), "old/");
	ASSERT_EQ(vine_forget(v, NULL), 0);
	ASSERT_STR(fake_word(f, f->forgotten, copy), "r/");
	ASSERT_EQ(vine_forget(v, ""), -EINVAL);
	world_stop();
}

TEST(an_input_that_is_no_file_is_refused)
{
	struct vine_task *one;
	ASSERT_EQ(vine_task_new((const char *const[]){"true", NULL}, &one), 0);
	ASSERT_EQ(vine_task_input(one, NULL, "/in", 0), -EINVAL);
	ASSERT_STR(vine_error(), "input /in: the file that it is must be given: vine_file_new() makes one");
	ASSERT_EQ(vine_task_input(one, NULL, NULL, 0), -EINVAL);
	vine_task_free(one);
}
