/* SPDX-License-Identifier: Apache-2.0
 * vine report: a run, or all of the cluster, as one HTML file. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/report.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONF_STRUCT report_options
#define CONF_FILE "tools/report.def"
#include "common/conf_struct.h"
#define CONF_STRUCT report_options
#define CONF_FILE "tools/report.def"
#include "common/conf_table.h"

const struct conf_table report_table = {
	.program = "vine report",
	.summary = "write what became of a run as one HTML file",
	.usage = "[RUN]",
	.at = report_options_table,
	.n = countof(report_options_table),
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A run's name may have letters that a shell, or whoever gets the file, would stumble over. */
static char *file_of(const char *run)
{
	char *file = *run ? xasprintf("%s.html", run) : xstrdup("vine-report.html");
	for (char *p = file; *p; p++) {
		bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
				(strchr("-_.+", *p) && (p != file || *p == '_'));
		*p = is_plain ? *p : '_';
	}
	return file;
}

static int write_to(int fd, const struct buf *text)
{
	size_t n = 0;
	ssize_t r = 0;
	while (n < text->n && ((r = write(fd, text->at + n, text->n - n)) > 0 || (r < 0 && errno == EINTR)))
		n += (size_t)max(r, (ssize_t)0);
	int error = n == text->n ? 0 : r < 0 ? errno : ENOSPC;
	return close(fd) < 0 && !error ? errno : error;
}

/* All of it or nothing: a report that was there stays until this one is whole. What is no file, as /dev/stdout, a link or a pipe, is written to: its name
 * is not taken from it. */
static int write_file(const char *path, const struct buf *text)
{
	struct stat st;
	bool is_file = lstat(path, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
	_free_ char *part = xasprintf("%s.part-%d", path, (int)getpid());
	int fd = is_file ? open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)
			 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0666);
	int error = fd < 0 ? errno : write_to(fd, text);
	if (!error && is_file && rename(part, path) < 0)
		error = errno;
	if (!error)
		return 0;
	if (fd >= 0 && is_file)
		unlink(part);
	return tool_fail(&report_table, "%s: cannot write: %s; -o says where else", path, strerror(error));
}

static int put_out(const struct report_options *o, const char *run, const struct buf *text)
{
	_free_ char *usual = file_of(run);
	bool is_stdout = streq(o->output, "-") || (o->json && !*o->output);
	const char *path = *o->output ? o->output : usual;
	if (is_stdout) {
		fwrite(text->at, 1, text->n, stdout);
		return tool_end(&report_table, 0);
	}
	int status = write_file(path, text);
	if (!status)
		printf("%s\n", path);
	return tool_end(&report_table, status);
}

static int make(const struct report_options *o, struct vine *v, const char *run)
{
	struct report *r = NEW(struct report);
	_cleanup_(buf_fini) struct buf text = {0};
	report_init(r, run, now_usec());
	int status = report_ask(&report_table, v, r);
	if (!status) {
		(o->json ? report_json : report_html)(r, &text);
		status = put_out(o, run, &text);
	}
	report_fini(r);
	free(r);
	return status;
}

static int report(const struct report_options *o, const char *word)
{
	struct selector s = {.run = ""};
	char why[SELECTOR_WHY];
	struct vine *v;
	if (word && selector_parse(word, &s, why) < 0)
		return tool_fail(&report_table, "%s", why);
	if (word && s.kind != SELECTOR_RUN)
		return tool_fail(&report_table,
				 "%s: a report is of a RUN, or without one of all; 'vine why %s' is about tasks", word,
				 word);
	int status = session_look(&report_table, NULL, &v);
	if (status)
		return status;
	status = make(o, v, s.run);
	vine_close(v, 1);
	return status;
}

int cmd_report(int argc, char **argv)
{
	struct report_options o = {0};
	int status, n = tool_words(&report_table, &o, argc, argv, &status);
	if (n > 1)
		status = tool_fail(&report_table, "one RUN at a time; without any the report is of all");
	else if (n >= 0)
		status = report(&o, n ? argv[1] : NULL);
	conf_fini(&report_table, &o);
	return status;
}
