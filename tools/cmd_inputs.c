/* SPDX-License-Identifier: Apache-2.0
 * vine inputs: what a recorded task has read and written, as what is to be declared. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/job_file.h"
#include "tools/json.h"
#include "tools/record.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <sys/mman.h>
#include <unistd.h>

#define CONF_STRUCT inputs_options
#define CONF_FILE "tools/inputs.def"
#include "common/conf_struct.h"
#define CONF_STRUCT inputs_options
#define CONF_FILE "tools/inputs.def"
#include "common/conf_table.h"

const struct conf_table inputs_table = {
	.program = "vine inputs",
	.summary = "print what a recorded task read and wrote, as declarations",
	.usage = "TASK",
	.at = inputs_options_table,
	.n = countof(inputs_options_table),
};

#define RECORD_MOST (64u << 20)

static int read_record_of(struct vine *v, const char *word, uint64_t task, struct buf *text)
{
	_close_ int fd = memfd_create("record", MFD_CLOEXEC);
	int64_t n = fd < 0 ? -errno : vine_output(v, task, 3, 0, fd);
	int status = 0;
	if (fd < 0)
		status = tool_fail(&inputs_table, "no memory for the record: %s", strerror(errno));
	else if (n < 0)
		status = tool_fail(&inputs_table,
				   "%s: there is no record of what it read and wrote (%s): run it again with "
				   "--record, as in vine run --record -- COMMAND",
				   word, vine_error());
	if (status)
		return status;
	/* Of a longer one the beginning has the inputs. */
	size_t size = (size_t)min(n, (int64_t)RECORD_MOST);
	ssize_t got = pread(fd, buf_reserve(text, size + 1), size, 0);
	buf_grew(text, got > 0 ? (size_t)got : 0);
	return 0;
}

static int read_record(const char *word, uint64_t *task, struct buf *text)
{
	struct vine *v;
	int status = session_look(&inputs_table, NULL, &v);
	if (status)
		return status;
	*task = selector_one(&inputs_table, v, word, &status);
	if (!status)
		status = read_record_of(v, word, *task, text);
	vine_close(v, 1);
	return status;
}

/* Of lines "-i WORD" and "-o WORD". */
static void put_declared(struct json *j, const char *key, const char *option, char *const *words)
{
	json_begin(j, key, '[');
	for (size_t i = 0; words[i] && words[i + 1]; i += 2) {
		if (streq(words[i], option))
			json_text(j, NULL, words[i + 1]);
	}
	json_end(j, ']');
}

static int print_json(uint64_t task, const struct buf *declared)
{
	struct json j = {0};
	_free_ char *text = xstrndup(declared->n ? (const char *)declared->at : "", declared->n);
	char **words = job_split(text);
	assert(words);
	json_begin(&j, NULL, '{');
	json_number(&j, "task", (int64_t)task);
	put_declared(&j, "inputs", "-i", words);
	put_declared(&j, "outputs", "-o", words);
	json_end(&j, '}');
	json_print(&j);
	for (size_t i = 0; words[i]; i++)
		free(words[i]);
	free(words);
	return tool_end(&inputs_table, 0);
}

static int print_inputs(const struct inputs_options *o, const char *word)
{
	uint64_t task;
	_cleanup_(buf_fini) struct buf text = {0};
	_cleanup_(buf_fini) struct buf words = {0};
	const struct record_options options = {.home = getenv("HOME"), .is_all = o->all, .is_job = o->job && !o->json};
	int status = read_record(word, &task, &text);
	if (status)
		return status;
	if (o->list && !o->json)
		record_list((const char *)text.at, text.n, &words);
	else
		record_declare((const char *)text.at, text.n, &options, &words);
	if (o->json)
		return print_json(task, &words);
	fwrite(words.at, 1, words.n, stdout);
	if (!words.n)
		tool_fail(NULL,
			  "there is nothing to declare: it read what systems have anyway, or what it made itself");
	return tool_end(&inputs_table, 0);
}

int cmd_inputs(int argc, char **argv)
{
	struct inputs_options o = {0};
	int status, n = tool_words(&inputs_table, &o, argc, argv, &status);
	if (n >= 0 && n != 1)
		status = tool_fail(&inputs_table, "of which task? Try: vine inputs 17");
	else if (n == 1)
		status = print_inputs(&o, argv[1]);
	conf_fini(&inputs_table, &o);
	return status;
}
