/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/output.h"

#include "libvineclient/vine.h"
#include "tools/json.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

int output_json(const struct conf_table *t, struct vine *v, struct json *j, const char *key, uint64_t task, int which,
		uint64_t offset)
{
	_close_ int fd = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Memory is taken for what comes, and no more than that may come. */
	if (fd < 0 || ftruncate(fd, (off_t)OUTPUT_JSON_MOST) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
		return tool_fail(t, "no memory for what task %" PRIu64 " has written: %s", task, strerror(errno));
	int64_t n = vine_output(v, task, which, offset, fd);
	if (n == -EPERM && lseek(fd, 0, SEEK_CUR) > 0)
		return tool_fail(t,
				 "task %" PRIu64 " has written more than %" PRIu64
				 " MiB, too much for JSON; without --json it comes as it is: vine logs %" PRIu64,
				 task, OUTPUT_JSON_MOST >> 20, task);
	if (n < 0)
		return tool_fail(t, "%s", vine_error());
	_free_ char *text = xmalloc((size_t)n + 1);
	ssize_t got = pread(fd, text, (size_t)n, 0);
	if (got != n)
		return tool_fail(t, "what task %" PRIu64 " has written cannot be read back", task);
	text[n] = 0;
	/* A text ends at its first NUL, which is as little a character as a byte that is no UTF-8. */
	for (char *p = text; (p = memchr(p, 0, (size_t)(text + n - p)));)
		*p = '\xff';
	json_text(j, key, text);
	return 0;
}

int output_result_json(const struct conf_table *t, struct vine *v, struct vine_event *e, uint64_t task, int exit)
{
	static const struct {
		const char *of, *key;
		bool is_number;
	} fields[] = {{"task", "task", true},
		      {"run", "run", false},
		      {"node", "node", false},
		      {"attempts", "attempts", true},
		      {"how", "how", false},
		      {"status", "status", true},
		      {"exceeded", "exceeded", false},
		      {"reason", "reason", false},
		      {"wall-usec", "wall_usec", true},
		      {"cpu-usec", "cpu_usec", true},
		      {"peak-memory", "peak_memory", true},
		      {"local-size", "local_size", true},
		      {"moved-size", "moved_size", true},
		      {"peer-size", "peer_size", true},
		      {"source-size", "source_size", true},
		      {"client-size", "client_size", true}};
	struct json j = {0};
	json_begin(&j, NULL, '{');
	for (size_t i = 0; i < countof(fields); i++) {
		const char *value = "";
		vine_event_get(e, fields[i].of, &value);
		if (fields[i].is_number)
			json_number(&j, fields[i].key, strtoll(value, NULL, 10));
		else
			json_text(&j, fields[i].key, value);
	}
	json_number(&j, "exit", exit);
	int status = output_json(t, v, &j, "out", task, STDOUT_FILENO, 0);
	if (!status)
		status = output_json(t, v, &j, "err", task, STDERR_FILENO, 0);
	json_end(&j, '}');
	if (status)
		buf_fini(&j.out);
	else
		json_print(&j);
	return status;
}
