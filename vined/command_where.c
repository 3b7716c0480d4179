/* SPDX-License-Identifier: Apache-2.0
 * Rows about what nobody has submitted yet: which nodes could take it, and what they have of its inputs. The selector has a line for each thing asked for:
 * "cores 2", "memory BYTES", "disk BYTES", "gpus 1", "feature WORD", "item NAME". */
#include "vined/command_rows.h"

#include "vined/driver_data.h"

static int read_line(char *line, struct driver_wish *w)
{
	const struct {
		const char *name;
		uint64_t *to;
	} numbers[] = {{"cores", &w->cores}, {"memory", &w->memory}, {"disk", &w->disk}, {"gpus", &w->gpus}};
	char *value = strchr(line, ' ');
	if (!value)
		return -EINVAL;
	*value++ = 0;
	for (size_t i = 0; i < countof(numbers); i++) {
		if (!streq(line, numbers[i].name))
			continue;
		*numbers[i].to = strtoull(value, NULL, 10);
		return 0;
	}
	if (streq(line, "feature") && w->n_features < countof(w->features))
		w->features[w->n_features++] = value;
	else if (streq(line, "item") && w->n_items < countof(w->items))
		w->items[w->n_items++] = value;
	else
		return -EINVAL;
	return 0;
}

static bool on_place(void *arg, const struct driver_place *p)
{
	static const char *const words[] = {"now", "later", "no"};
	struct rows *t = arg;
	if (!rows_begin(t))
		return false;
	assert(p->could < countof(words));
	rows_put(t, "%s", p->node);
	rows_put(t, "%s", words[p->could]);
	rows_put(t, "%s", p->reason);
	rows_put_number(t, p->cores_free);
	rows_put_number(t, p->n_running);
	rows_put_number(t, p->n_there);
	rows_put_number(t, p->size_there);
	return true;
}

int rows_list_where(struct rows *t, const char *selector)
{
	struct driver_wish w = {.cores = 0};
	_free_ char *copy = xstrdup(selector);
	int r = 0;
	for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line && !r; line = strtok_r(NULL, "\n", &save))
		r = read_line(line, &w);
	if (!r)
		driver_where(t->command->driver, &w, on_place, t);
	return r;
}
