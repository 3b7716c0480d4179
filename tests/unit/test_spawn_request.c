/* SPDX-License-Identifier: Apache-2.0
 * What the hand writes is what the keeper reads, and nonsense is told from it. */
#include "tests/unit/unit.h"

#include "common/base.h"
#include "common/loop.h"
#include "vinefs/keeper/parts.h"
#include "vinefs/run/hand.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned n_reports, n_done;

static void on_report(struct hand *h, const struct keeper_report *r)
{
	(void)h;
	ASSERT(r->type != KEEPER_DONE);
	n_reports++;
}

static void on_done(struct hand *h, const struct keeper_report *r)
{
	ASSERT_EQ(r->type, KEEPER_DONE);
	n_done++;
	loop_stop(h->watch.loop, 0);
}

static void on_loss(struct hand *h)
{
	(void)h;
	ASSERT(!"lost");
}

static struct loop *loop;
static struct hand hand;
static int keeper = -1;

static void begin(void)
{
	int pair[2];
	loop = loop_new();
	n_reports = n_done = 0;
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ASSERT_EQ(hand_init(&hand, loop, pair[0], on_report, on_loss), 0);
	hand.on_done = on_done;
	keeper = pair[1];
}

static void end(void)
{
	hand_fini(&hand);
	keeper = close_fd(keeper);
	loop_free(loop);
}

static struct keeper_request *receive(void)
{
	uint32_t length;
	ASSERT_EQ(recv(keeper, &length, sizeof length, MSG_PEEK | MSG_WAITALL), sizeof length);
	struct keeper_request *q = malloc(length);
	ASSERT_EQ(recv(keeper, q, length, MSG_WAITALL), length);
	ASSERT_EQ(q->length % 8, 0);
	return q;
}

static const struct keeper_limit limits[] = {{1, 2}, {3, 4}};
static const uint64_t cores[] = {5, 6, 7};

static struct hand_start full(void)
{
	static const char *const argv[] = {"a", "bc"}, *const environment[] = {"X=1"}, *const groups[] = {"/g"};
	static const struct view_step steps[] = {{.op = VIEW_BIND, .flags = VIEW_WRITABLE, .from = "/f", .to = "/t"},
						 {.op = VIEW_TMPFS, .to = "/u", .data = "size=2m"}};
	return (struct hand_start){.attempt = 11,
				   .task = 12,
				   .directory = "/d",
				   .out = "/out",
				   .err = "/err",
				   .in = "/in",
				   .argv = argv,
				   .n_argv = 2,
				   .environment = environment,
				   .n_environment = 1,
				   .flags = KEEPER_IN_VIEW,
				   .mask = 027,
				   .stem = 13,
				   .kept = 14,
				   .steps = steps,
				   .n_steps = 2,
				   .n_kept = 1,
				   .cgroups = groups,
				   .n_cgroups = 1,
				   .cores = cores,
				   .n_cores = 3,
				   .limits = limits,
				   .n_limits = 2};
}

TEST(what_is_sent_is_what_is_read)
{
	struct request r;
	begin();
	struct hand_start s = full();
	ASSERT_EQ(hand_send_start(&hand, &s), 0);
	_free_ struct keeper_request *q = receive();
	ASSERT_EQ(q->type, KEEPER_START);
	ASSERT(q->attempt == 11 && q->task == 12 && q->stem == 13 && q->kept == 14 && q->n_kept == 1);
	ASSERT(q->flags == KEEPER_IN_VIEW && q->mask == 027);
	ASSERT(request_parse(&r, q));
	ASSERT_STR(r.directory, "/d");
	ASSERT_STR(r.in, "/in");
	ASSERT_STR(r.out, "/out");
	ASSERT_STR(r.err, "/err");
	ASSERT_STR(r.argv[1], "bc");
	ASSERT(!r.argv[2] && !r.environment[1] && !r.cgroups[1]);
	ASSERT_STR(r.environment[0], "X=1");
	ASSERT_STR(r.cgroups[0], "/g");
	ASSERT(r.steps[0].op == VIEW_BIND && r.steps[0].flags == VIEW_WRITABLE && r.steps[1].op == VIEW_TMPFS);
	ASSERT_STR(r.steps[0].from, "/f");
	ASSERT_STR(r.steps[0].data, "");
	ASSERT_STR(r.steps[1].from, "");
	ASSERT_STR(r.steps[1].to, "/u");
	ASSERT_STR(r.steps[1].data, "size=2m");
	ASSERT(memcmp(r.cores, cores, sizeof cores) == 0 && memcmp(r.limits, limits, sizeof limits) == 0);
	request_fini(&r);
	hand_send_unkeep(&hand, 14);
	_free_ struct keeper_request *unkeep = receive();
	ASSERT(unkeep->type == KEEPER_UNKEEP && unkeep->kept == 14 && unkeep->length == sizeof *unkeep);
	end();
}

static void expect_nonsense(const struct keeper_request *q)
{
	struct request r;
	ASSERT(!request_parse(&r, q));
	request_fini(&r);
}

TEST(a_request_that_says_more_than_it_holds_is_nonsense)
{
	begin();
	struct hand_start s = full();
	ASSERT_EQ(hand_send_start(&hand, &s), 0);
	_free_ struct keeper_request *q = receive();
	uint32_t *const counts[] = {&q->n_argv,  &q->n_environment, &q->n_steps, &q->n_cgroups,
				    &q->n_cores, &q->n_limits,      &q->n_kept};
	for (size_t i = 0; i < countof(counts); i++) {
		static const uint32_t wrong[] = {1000, 1u << 31, UINT32_MAX};
		uint32_t right = *counts[i];
		for (size_t k = 0; k < countof(wrong); k++) {
			*counts[i] = wrong[k];
			expect_nonsense(q);
		}
		*counts[i] = right;
	}
	/* Cut anywhere, in memory that ends there. */
	for (uint32_t length = sizeof *q; length < q->length - 8; length += 8) {
		_free_ struct keeper_request *cut = malloc(length);
		memcpy(cut, q, length);
		cut->length = length;
		expect_nonsense(cut);
	}
	end();
}

TEST(the_end_of_a_job_comes_to_its_own_listener)
{
	struct keeper_report reports[] = {{.length = sizeof(struct keeper_report), .type = KEEPER_LISTED},
					  {.length = sizeof(struct keeper_report), .type = KEEPER_DONE}};
	begin();
	struct hand_start s = {.attempt = 5, .steps = full().steps, .n_steps = 1, .stem = 3};
	ASSERT_EQ(hand_send_do(&hand, &s), 0);
	_free_ struct keeper_request *q = receive();
	ASSERT(q->type == KEEPER_DO && q->attempt == 5 && q->n_argv == 0);
	ASSERT_EQ(send(keeper, reports, sizeof reports, 0), sizeof reports);
	ASSERT_EQ(loop_run(loop), 0);
	ASSERT_EQ(n_reports, 1);
	ASSERT_EQ(n_done, 1);
	end();
}
