/* SPDX-License-Identifier: Apache-2.0
 * A request's body, in the order of keeper.h, bounds checked before memory is asked for. */
#include "vinefs/keeper/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *next_text(const char **at, const char *end)
{
	const char *text = *at;
	size_t n = strnlen(text, (size_t)(end - text));
	if (text + n == end)
		return NULL;
	*at = text + n + 1;
	return text;
}

static char **next_texts(const char **at, const char *end, uint32_t n)
{
	/* Each text takes a byte at least, so the count is bounded before memory is. */
	char **texts = n <= (size_t)(end - *at) ? calloc((size_t)n + 1, sizeof *texts) : NULL;
	for (uint32_t i = 0; texts && i < n; i++) {
		texts[i] = (char *)(uintptr_t)next_text(at, end);
		if (!texts[i]) {
			free(texts);
			return NULL;
		}
	}
	return texts;
}

/* n things of a fixed size; what is before them is a multiple of eight bytes. */
static const void *next_array(const char **at, const char *end, uint32_t n, size_t size)
{
	const char *array = *at;
	assert(((uintptr_t)array & 7) == 0);
	if (n > (size_t)(end - array) / size)
		return NULL;
	*at = array + n * size;
	return array;
}

static bool parse_texts(struct request *r, const char **at, const char *end)
{
	const struct keeper_request *q = r->head;
	if (!(r->directory = next_text(at, end)) || !(r->in = next_text(at, end)) || !(r->out = next_text(at, end)) ||
	    !(r->err = next_text(at, end)))
		return false;
	for (uint32_t i = 0; i < q->n_steps; i++) {
		struct view_step *s = &r->steps[i];
		if (!(s->from = next_text(at, end)) || !(s->to = next_text(at, end)) || !(s->data = next_text(at, end)))
			return false;
	}
	return (r->cgroups = next_texts(at, end, q->n_cgroups)) && (r->argv = next_texts(at, end, q->n_argv)) &&
	       (r->environment = next_texts(at, end, q->n_environment));
}

bool request_parse(struct request *r, const struct keeper_request *q)
{
	assert(q->length >= sizeof *q && q->length <= KEEPER_REQUEST_MAX);
	const char *at = (const char *)(q + 1), *end = (const char *)q + q->length;
	*r = (struct request){.head = q};
	errno = EBADMSG; /* unless something else goes wrong: memory */
	const uint32_t *ops = next_array(&at, end, q->n_steps, 2 * sizeof *ops);
	if (!ops || q->n_kept > q->n_steps || !(r->cores = next_array(&at, end, q->n_cores, sizeof *r->cores)) ||
	    !(r->limits = next_array(&at, end, q->n_limits, sizeof *r->limits)) ||
	    !(r->steps = calloc((size_t)q->n_steps + 1, sizeof *r->steps)))
		return false;
	for (uint32_t i = 0; i < q->n_steps; i++)
		r->steps[i] = (struct view_step){.op = ops[2 * i], .flags = ops[2 * i + 1]};
	return parse_texts(r, &at, end);
}

void request_fini(struct request *r)
{
	free(r->steps);
	free(r->cgroups);
	free(r->argv);
	free(r->environment);
}
