/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/keeper/parts.h"

#include <string.h>
#include <unistd.h>

static void close_all(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void forget(struct stem *s, unsigned i)
{
	assert(i < s->n_kept);
	close(s->kept[i].fd);
	s->kept[i] = s->kept[--s->n_kept];
}

static struct kept *find(struct stem *s, uint64_t kept)
{
	for (unsigned i = 0; i < s->n_kept; i++)
		if (s->kept[i].number == kept)
			return &s->kept[i];
	return NULL;
}

void stem_init(struct stem *s)
{
	*s = (struct stem){.fds = {-1, -1, -1}};
}

void stem_want(struct stem *s, uint64_t number)
{
	assert(number);
	s->wanted = number;
	s->refused = 0;
}

void stem_made(struct stem *s, const int fds[3], unsigned traits)
{
	assert(s->wanted && fds[0] >= 0 && fds[1] >= 0);
	while (s->n_kept)
		forget(s, s->n_kept - 1);
	close_all(s->fds, 3);
	memcpy(s->fds, fds, sizeof s->fds);
	s->number = s->wanted;
	s->traits = traits;
	s->wanted = 0;
}

int stem_user(const struct stem *s)
{
	return s->traits & STEM_HAS_USER ? s->fds[1] : -1;
}

void stem_failed(struct stem *s, int error)
{
	assert(s->wanted && error > 0);
	s->refused = s->wanted;
	s->error = error;
	s->wanted = 0;
}

void stem_keep(struct stem *s, uint64_t stem, uint64_t kept, int fd)
{
	unsigned oldest = 0;
	/* Two tasks that began together have both made one. */
	if (stem != s->number || !kept || find(s, kept)) {
		close(fd);
		return;
	}
	for (unsigned i = 0; i < s->n_kept; i++)
		oldest = s->kept[i].used < s->kept[oldest].used ? i : oldest;
	if (s->n_kept == KEPT_MAX)
		forget(s, oldest);
	s->kept[s->n_kept++] = (struct kept){.number = kept, .used = ++s->n_uses, .fd = fd};
}

void stem_unkeep(struct stem *s, uint64_t kept)
{
	struct kept *k = find(s, kept);
	if (k)
		forget(s, (unsigned)(k - s->kept));
}

int stem_kept(struct stem *s, uint64_t kept)
{
	struct kept *k = kept ? find(s, kept) : NULL;
	if (!k)
		return -1;
	k->used = ++s->n_uses;
	return k->fd;
}
