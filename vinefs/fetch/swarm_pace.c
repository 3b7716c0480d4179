/* SPDX-License-Identifier: Apache-2.0
 * How soon neighbours answer, by what they have shown. */
#include "vinefs/fetch/swarm_internal.h"

#define WAIT_USEC 50000.0 /* of who has not answered, while nobody has */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double swarm_median_pace(const struct swarm *s, const struct neighbour *but)
{
	double paces[SWARM_NEIGHBOURS_MOST];
	unsigned n = 0;
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++)
		if (&s->neighbours[i] != but && s->neighbours[i].pace > 0)
			paces[n++] = s->neighbours[i].pace;
	qsort(paces, n, sizeof *paces, compare);
	return n ? paces[n / 2] : 0;
}

uint64_t swarm_rate(const struct swarm *s, int neighbour)
{
	double pace = s->neighbours[neighbour].pace;
	return pace > 0 ? (uint64_t)(1e6 / pace) : 0;
}

/* Of what is still coming, as if it came now. */
static double late_pace(const struct swarm *s, const struct request *r, uint64_t now_usec)
{
	uint64_t since = max(r->chosen_usec, s->neighbours[r->neighbour].last_usec);
	uint32_t size = s->o.size_of(s->o.arg, r->chunk);
	return (double)(now_usec - since) / (size ? size : 1);
}

double swarm_lateness(const struct swarm *s, int neighbour, uint64_t now_usec)
{
	const struct neighbour *n = &s->neighbours[neighbour];
	double pace = n->pace, median = swarm_median_pace(s, n);
	/* One that is still coming may say more than all that came. */
	for (unsigned i = 0; i < REQUESTS_MOST; i++) {
		const struct request *r = &s->requests[i];
		if (r->number && r->neighbour == neighbour && r->chunk != SWARM_NONE)
			pace = max(pace, late_pace(s, r, now_usec));
	}
	return median > 0 && pace > 0 ? pace / median : 1;
}

/* Of whom nothing is known is as the others are. */
static double usual_wait(const struct swarm *s, const struct neighbour *n)
{
	double sum = 0;
	unsigned n_known = 0;
	if (n->wait_usec > 0)
		return n->wait_usec;
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++) {
		sum += s->neighbours[i].wait_usec;
		n_known += s->neighbours[i].wait_usec > 0;
	}
	return n_known ? sum / n_known : WAIT_USEC;
}

static double usual_pace(const struct swarm *s, const struct neighbour *n)
{
	return n->pace > 0 ? n->pace : swarm_median_pace(s, n);
}

double swarm_expected_usec(const struct swarm *s, const struct neighbour *n)
{
	uint32_t size = s->o.n_chunks ? s->o.size_of(s->o.arg, 0) : 0;
	return usual_wait(s, n) + usual_pace(s, n) * size;
}

double swarm_left_usec(const struct swarm *s, const struct request *r, uint64_t now_usec)
{
	const struct neighbour *n = &s->neighbours[r->neighbour];
	bool is_chosen = r->chunk != SWARM_NONE;
	double usual = usual_pace(s, n) * s->o.size_of(s->o.arg, is_chosen ? r->chunk : 0);
	double age = (double)(now_usec - (is_chosen ? r->chosen_usec : r->asked_usec));
	if (!is_chosen)
		usual += usual_wait(s, n);
	return age < usual ? usual - age : age - usual;
}
