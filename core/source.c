/* SPDX-License-Identifier: Apache-2.0
 * How many may read one source at once: what was set, or what is learnt. Of so many ends among readers that were always as many as
 * may be it is known how fast the source is with that many; one more or fewer is tried, and kept if it is worth it: more must bring
 * a tenth, fewer must cost less than a twentieth. So where a second reader makes each slower than half there is soon one again. */
#include "core/core_internal.h"

#define START 4u
#define MOST 32u
#define WINDOW 8u        /* ends until it is known how fast that was */
#define REST 64u         /* and until something else is tried after it was not worth it */
#define OPERATION 65536u /* a small item costs as much as so many bytes */

struct core_source *core_source_get(struct core *c, uint64_t number)
{
	struct core_source *s = map_get(&c->sources, number);
	if (s)
		return s;
	s = NEW(struct core_source);
	*s = (struct core_source){.number = number, .limit = START};
	for (size_t i = 0; i < countof(s->parked); i++)
		list_init(&s->parked[i]);
	map_put(&c->sources, number, s);
	return s;
}

void core_source_limit(struct core_source *s, unsigned limit)
{
	unsigned now = limit == CORE_LEARN ? START : limit ? limit : UINT32_MAX;
	s->was_lowered |= now < s->limit;
	s->is_set = limit != CORE_LEARN;
	s->limit = now;
	s->n_ended = s->n_rest = s->before = 0;
}

struct core_move *core_source_first(const struct core_source *s)
{
	struct core_move *m = NULL;
	for (size_t i = 0; i < countof(s->parked) && !m; i++)
		m = list_first(&s->parked[i], struct core_move, link);
	return m;
}

static void go_to(struct core_source *s, unsigned limit)
{
	s->was_lowered |= limit < s->limit;
	s->before = s->limit;
	s->rate_before = s->rate;
	s->limit = limit;
}

/* What was tried is kept, and more of the same tried, or taken back. */
static void judge(struct core_source *s)
{
	bool is_more = s->limit > s->before;
	bool is_worth = s->rate > s->rate_before * (is_more ? 1.1 : 0.95);
	unsigned back = s->before, further = is_more ? min(s->limit + 1, MOST) : max(s->limit - 1, 1u);
	if (is_worth && further != s->limit) {
		go_to(s, further);
		return;
	}
	if (!is_worth)
		go_to(s, back);
	s->was_more = is_more;
	s->before = 0;
	s->n_rest = REST;
}

void core_source_learn(struct core *c, struct core_source *s, uint64_t size)
{
	/* Fewer than may be: that says nothing. */
	if (s->is_set || s->n_active < s->limit || !core_source_first(s)) {
		s->n_ended = 0;
		return;
	}
	s->n_rest -= s->n_rest > 0;
	if (!s->n_ended++) {
		s->since_usec = c->now_usec;
		s->work = 0;
		return;
	}
	s->work += (double)size + OPERATION;
	if (s->n_ended <= WINDOW || c->now_usec == s->since_usec)
		return;
	s->rate = s->work / (double)(c->now_usec - s->since_usec);
	s->n_ended = 0;
	if (s->before)
		judge(s);
	else if (!s->n_rest)
		go_to(s, s->was_more && s->limit > 1 ? s->limit - 1 : min(s->limit + 1, MOST));
}
