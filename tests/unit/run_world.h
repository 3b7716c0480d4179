/* SPDX-License-Identifier: Apache-2.0
 * Attempts with the test in the keeper's place at the other end of the pair, and in the place of limits and outputs: whoever includes this defines what
 * limits.c and outputs.c do, so that these are not linked. */
#ifndef TESTS_UNIT_RUN_WORLD_H
#define TESTS_UNIT_RUN_WORLD_H

#include "tests/unit/unit.h"

#include "common/buf.h"
#include "common/path.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/limits.h"
#include "vinefs/run/outputs.h"
#include "vinefs/run/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_TURNS (200 * (int)UNIT_PATIENCE_SEC)

struct bench {
	struct loop *loop;
	struct run *run;
	int keeper;
	unsigned n_listed, n_ended, n_gone, n_orphaned;
	struct buf heads;
	struct buf request;
	uint64_t prepared, held, released; /* the last of each */
	unsigned n_released;
	uint64_t job;
	int job_error;
	bool wants_inputs;
	const char *failure; /* of inputs; NULL */
};

/* ---- in the place of limits.c and outputs.c */

static struct fake_parts {
	struct outputs_job *job;
	unsigned n_places, n_limits; /* begun or watched, and not ended */
	char place[256], upper[256];
	int error; /* of limits_begin() */
	bool has_overlay;
	struct limits_usage usage;
	uint64_t watched, started_usec;
	void (*on_exceeded)(void *arg, uint64_t attempt, enum limits_kind kind, const char *text);
	void *arg;
} parts;

struct limits *limits_new(const struct limits_settings *s)
{
	parts.on_exceeded = s->on_exceeded;
	parts.arg = s->arg;
	return (struct limits *)&parts;
}

void limits_free(struct limits *l _unused_)
{
}

const char *limits_how(const struct limits *l _unused_)
{
	return "none";
}

int limits_begin(struct limits *l _unused_, const struct wire_start *m _unused_, uint64_t processes _unused_,
		 bool has_init _unused_, struct limits_plan *plan _unused_)
{
	parts.n_limits++;
	return parts.error;
}

void limits_plan_fini(struct limits_plan *p _unused_)
{
}

void limits_watch(struct limits *l _unused_, const struct wire_start *m, bool has_init _unused_, int pid _unused_,
		  uint64_t started_usec)
{
	parts.started_usec = started_usec;
	parts.watched = m->attempt;
}

void limits_end(struct limits *l _unused_, uint64_t attempt _unused_, struct limits_usage *u)
{
	parts.n_limits -= parts.n_limits > 0;
	*u = parts.usage;
}

struct outputs *outputs_new(const struct outputs_settings *s _unused_)
{
	return (struct outputs *)&parts;
}

void outputs_free(struct outputs *o _unused_)
{
}

void outputs_start(struct outputs *o _unused_, struct outputs_job *j)
{
	parts.job = j;
	parts.n_places = (unsigned)j->n_places;
	if (j->n_places) {
		snprintf(parts.place, sizeof parts.place, "%s", j->places[0].path);
		snprintf(parts.upper, sizeof parts.upper, "%s", j->places[0].upper);
		parts.has_overlay = j->places[0].is_overlay;
	}
}

void outputs_stop(struct outputs_job *j)
{
	if (parts.job == j)
		parts.job = NULL;
}

void outputs_job_fini(struct outputs_job *j)
{
	outputs_stop(j);
}

void outputs_keep_answered(struct outputs *o _unused_, uint64_t attempt _unused_, uint64_t item _unused_,
			   int error _unused_, const char *reason _unused_)
{
}

/* ---- */

static _unused_ void on_listed(void *owner)
{
	((struct bench *)owner)->n_listed++;
}

static _unused_ void on_ended(void *owner)
{
	((struct bench *)owner)->n_ended++;
}

static _unused_ void on_gone(void *owner)
{
	((struct bench *)owner)->n_gone++;
}

static _unused_ void on_orphaned(void *owner)
{
	((struct bench *)owner)->n_orphaned++;
}

static _unused_ void on_prepare(void *owner, uint64_t attempt, const struct wire_start *m)
{
	ASSERT_EQ(m->attempt, attempt);
	((struct bench *)owner)->prepared = attempt;
}

static _unused_ void on_hold(void *owner, uint64_t attempt, const struct wire_start *m)
{
	ASSERT_EQ(m->attempt, attempt);
	((struct bench *)owner)->held = attempt;
}

static _unused_ void on_release(void *owner, uint64_t attempt)
{
	((struct bench *)owner)->released = attempt;
	((struct bench *)owner)->n_released++;
}

static _unused_ void on_sizes(void *owner _unused_, uint64_t attempt _unused_, struct run_sizes *s)
{
	*s = (struct run_sizes){.local = 11, .moved = 22, .peer = 12, .source = 7, .client = 3};
}

static _unused_ char *on_failure(void *owner, uint64_t attempt _unused_)
{
	const struct bench *b = owner;
	return b->failure ? xstrdup(b->failure) : NULL;
}

static _unused_ void on_job(void *owner, uint64_t job, int error, int status _unused_)
{
	((struct bench *)owner)->job = job;
	((struct bench *)owner)->job_error = error;
}

static _unused_ void open_run(struct bench *b, uint64_t keep_size)
{
	static const struct run_ops ops = {
		.on_listed = on_listed, .on_ended = on_ended, .on_gone = on_gone, .on_orphaned = on_orphaned};
	static const struct run_ops with_inputs = {.on_listed = on_listed,
						   .on_ended = on_ended,
						   .on_gone = on_gone,
						   .on_orphaned = on_orphaned,
						   .prepare = on_prepare,
						   .hold = on_hold,
						   .release = on_release,
						   .sizes = on_sizes,
						   .failure = on_failure,
						   .on_job = on_job};
	int pair[2];
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	const struct timeval patience = {.tv_sec = UNIT_PATIENCE_SEC};
	ASSERT_EQ(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	b->keeper = pair[0];
	struct run_options o = {.state = unit_tmpdir(),
				.keeper = pair[1],
				.keep_usec = 3600 * (uint64_t)1000000,
				.keep_size = keep_size,
				.keep_failed_usec = b->wants_inputs ? 3600 * (uint64_t)1000000 : 0,
				.keep_failed_size = 1 << 30,
				.cache = b->wants_inputs ? (struct cache *)&parts : NULL,
				.ops = b->wants_inputs ? &with_inputs : &ops,
				.owner = b};
	b->run = run_new(b->loop, &o);
	ASSERT(b->run != NULL);
}

static _unused_ void report(struct bench *b, struct keeper_report r)
{
	r.length = sizeof r;
	ASSERT_EQ(send(b->keeper, &r, sizeof r, MSG_NOSIGNAL), sizeof r);
	ASSERT_EQ(loop_turn(b->loop, 0), 0);
}

static _unused_ struct bench begin(void)
{
	struct bench b = {.loop = loop_new()};
	return b;
}

static _unused_ void finish(struct bench *b)
{
	run_free(b->run);
	close_fd(b->keeper);
	loop_free(b->loop);
	buf_fini(&b->heads);
	buf_fini(&b->request);
}

/* The next request whole, and its texts behind it. */
static _unused_ const struct keeper_request *hear(struct bench *b)
{
	uint32_t length = 0;
	buf_consume(&b->request, b->request.n);
	ASSERT_EQ(recv(b->keeper, &length, sizeof length, MSG_PEEK | MSG_WAITALL), sizeof length);
	uint8_t *at = buf_reserve(&b->request, length);
	ASSERT_EQ(recv(b->keeper, at, length, MSG_WAITALL), length);
	buf_grew(&b->request, length);
	return (const struct keeper_request *)(const void *)b->request.at;
}

static _unused_ bool has_text(const struct bench *b, const char *text)
{
	return memmem(b->request.at, b->request.n, text, strlen(text) + 1) != NULL;
}

static _unused_ void start(struct bench *b, uint64_t attempt, const char *directory)
{
	static const char *const argv[] = {"prog", "arg"};
	static const char *const environment[] = {"A=1", "TMPDIR=/elsewhere", "VINE_KEEPER_FD=3"};
	struct wire_start m = {.attempt = attempt,
			       .task = attempt + 100,
			       .argv = {.at = argv, .n = 2},
			       .environment = {.at = environment, .n = 3},
			       .directory = directory};
	run_start(b->run, &m);
}

static _unused_ uint64_t fake_now_usec(void *arg)
{
	return *(const uint64_t *)arg;
}

static _unused_ bool is_there(const char *name)
{
	_free_ char *path = path_join(unit_tmpdir(), name);
	return access(path, F_OK) == 0;
}

static _unused_ bool poll_until_gone(const char *name)
{
	for (int i = 0; i < DEADLINE_TURNS * 5 && is_there(name); i++)
		usleep(1000);
	return !is_there(name);
}

static _unused_ void write_output(const char *name, size_t n)
{
	_free_ char *path = path_join(unit_tmpdir(), name);
	_free_ char *text = xcalloc(1, n + 1);
	memset(text, 'o', n);
	ASSERT_EQ(path_write(path, text, n, 0600, false), 0);
}

/* ---- attempts with inputs and outputs */

#define STEM 5

/* The declared paths lie where nobody has anything. */
static _unused_ const struct wire_input bindings[] = {{.item = 1, .path = "/vine-test/in", .mode = 1},
						      {.item = 2, .path = "/vine-test/rw", .mode = 2},
						      {.item = 3, .path = "/vine-test/out/r", .mode = 3}};

static _unused_ void open_with(struct bench *b, bool has_view)
{
	parts = (struct fake_parts){0};
	b->wants_inputs = true;
	open_run(b, 1 << 30);
	report(b, (struct keeper_report){.type = KEEPER_LISTED});
	run_set_stem(b->run, has_view ? STEM : 0);
}

static _unused_ void start_with(struct bench *b, uint64_t attempt, unsigned n_bindings, const char *how)
{
	static const char *const argv[] = {"prog"}, *const environment[] = {"HOME=/elsewhere", "A=1"};
	struct wire_start m = {.attempt = attempt,
			       .task = attempt + 100,
			       .cores = 2,
			       .gpu_bits = 5,
			       .argv = {.at = argv, .n = 1},
			       .environment = {.at = environment, .n = 2},
			       .inputs = {.at = bindings, .n = n_bindings},
			       .how = {.at = &how, .n = how ? 1 : 0}};
	run_start(b->run, &m);
}

/* Where the node's mount has them. */
static _unused_ const char *tree(unsigned number)
{
	static char text[256];
	snprintf(text, sizeof text, "%s/mnt/tree-%u", unit_tmpdir(), number);
	return text;
}

static _unused_ void make_ready(struct bench *b, uint64_t attempt, size_t n)
{
	const struct run_input inputs[] = {{.item = 1, .path = "/vine-test/in", .at = tree(1), .mode = 1}};
	assert(n <= countof(inputs));
	run_ready(b->run, attempt, inputs, n);
}

static _unused_ struct wire_ended next_end(struct bench *b)
{
	struct wire_ended m;
	ASSERT(run_next_ended(b->run, &m, &b->heads));
	return m;
}

static _unused_ bool has_request(const struct bench *b)
{
	char byte;
	return recv(b->keeper, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static _unused_ void run_to_end(struct bench *b, uint64_t attempt, int status)
{
	start_with(b, attempt, 3, NULL);
	make_ready(b, attempt, 1);
	hear(b);
	report(b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = attempt, .status = status});
	ASSERT(parts.job != NULL);
}

#endif
