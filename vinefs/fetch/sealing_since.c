/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/draft.h"

/* What was found so far, while it is one and the same. */
struct finding {
	struct digest id;
	const struct draft *draft;
	bool is_several, is_pending; /* pending: it is being sealed, and may turn out to be the same */
};

static void find_id(struct finding *x, const struct digest *id)
{
	/* A draft that has just been sealed is in both lists. */
	bool is_same = x->draft ? digest_is_equal(&x->draft->id, id) : digest_is_equal(&x->id, id);
	if (x->draft && is_same)
		x->draft = NULL;
	else if (!is_same && (x->draft || x->id.algorithm))
		x->is_several = true;
	x->id = *id;
}

static void find_draft(struct finding *x, const struct draft *d)
{
	if (d->is_over && !d->error) {
		find_id(x, &d->id);
		return;
	}
	x->is_pending |= !d->is_over;
	x->is_several |= x->id.algorithm || (x->draft && !draft_is_same(x->draft, d));
	x->draft = d;
}

int fetch_sealed_since(struct fetch *f, const char *path, uint64_t since_usec, struct digest *id, uint64_t *draft)
{
	struct finding x = {0};
	const struct source *s = source_get(f, path);
	list_foreach (&f->drafts, struct draft, link, d)
		if (streq(d->path, path))
			find_draft(&x, d);
	for (struct list *at = s ? s->records.next : NULL; at && at != &s->records; at = at->next) {
		const struct record *r = list_entry(at, struct record, link);
		if (r->sealed_usec >= since_usec)
			find_id(&x, &r->id);
	}
	*id = x.id;
	*draft = x.draft ? x.draft->number : 0;
	if (x.is_several)
		return x.is_pending ? -EAGAIN : -ENOTUNIQ;
	return x.draft || x.id.algorithm ? 0 : -ENOENT;
}
