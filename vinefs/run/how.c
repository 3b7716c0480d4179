/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/how.h"

#include <stdio.h>

static const char *const how_view_words[] = {[HOW_VIEW_YES] = "yes", [HOW_VIEW_NONE] = "none", NULL};

#define CONF_STRUCT how
#define CONF_FILE "common/how.def"
#include "common/conf_table.h"

static const struct conf_table table = {.program = "how", .at = how_table, .n = countof(how_table)};

static bool is_mask(const char *text)
{
	char *end;
	unsigned long mask = strtoul(text, &end, 8);
	return *text >= '0' && *text <= '7' && !*end && mask <= 0777;
}

int how_read(const struct wire_texts *given, struct how *h, struct conf_error *e)
{
	int r = 0;
	*h = (struct how){0};
	conf_preset(&table, h);
	for (uint32_t i = 0; i < given->n && !r; i++) {
		const char *text = given->at[i], *is = strchr(text, '=');
		_free_ char *name = is ? xstrndup(text, (size_t)(is - text)) : xstrdup(text);
		r = conf_set(&table, h, name, is ? is + 1 : "", e);
	}
	if (!r && !is_mask(h->umask)) {
		snprintf(e->text, sizeof e->text, "umask: '%.64s' is no octal number up to 777", h->umask);
		r = -EINVAL;
	}
	return r;
}

void how_fini(struct how *h)
{
	conf_fini(&table, h);
	*h = (struct how){0};
}

uint32_t how_mask(const struct how *h)
{
	assert(is_mask(h->umask));
	return (uint32_t)strtoul(h->umask, NULL, 8);
}
