/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/submit_work.h"

#include "common/path.h"
#include "tools/cmd.h"
#include "tools/job_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_STRUCT job_options
#define CONF_FILE "tools/submit.def"
#include "common/conf_table.h"

const struct conf_table submit_table = {
	.program = "vine submit",
	.summary = "hand tasks to the cluster and come back at once",
	.usage = "[--] COMMAND [ARG ...] | SCRIPT [ARG ...]",
	.at = job_options_table,
	.n = countof(job_options_table),
	.foreign = job_foreign,
};

#define FILE_MOST ((size_t)256 << 20)
#define ELEMENTS_MOST 100000000u

/* ---- what stands for many */

static bool take_number(const char **at, uint64_t *n)
{
	char *end;
	errno = 0;
	*n = strtoull(*at, &end, 10);
	bool is_there = end != *at && **at >= '0' && **at <= '9' && !errno;
	*at = end;
	return is_there;
}

static int read_array(struct work_part *p)
{
	const char *at = p->o.array;
	uint64_t last;
	struct work_array *a = &p->array;
	*a = (struct work_array){.step = 1};
	if (!*at)
		return 0;
	bool is_good = take_number(&at, &a->first);
	last = a->first;
	if (is_good && *at == '-')
		is_good = (at++, take_number(&at, &last));
	if (is_good && *at == ':')
		is_good = (at++, take_number(&at, &a->step));
	if (is_good && *at == '%')
		is_good = (at++, take_number(&at, &a->at_once)) && a->at_once;
	if (!is_good || *at || last < a->first || !a->step)
		return tool_fail(&submit_table,
				 "--array %s: give A-B, as in 1-1000, 0-998:2, or 1-1000%%50 for 50 at once",
				 p->o.array);
	a->n = (last - a->first) / a->step + 1;
	return a->n > ELEMENTS_MOST
		       ? tool_fail(&submit_table, "--array %s: more than %u tasks", p->o.array, ELEMENTS_MOST)
		       : 0;
}

/* NULL with errno. Yours. */
static char *read_stdin(void)
{
	struct buf b = {0};
	ssize_t n;
	while ((n = read(STDIN_FILENO, buf_reserve(&b, 65536), 65536)) > 0 && b.n < FILE_MOST)
		buf_grew(&b, (size_t)n);
	if (n)
		errno = n > 0 ? EFBIG : errno;
	char *text = n ? NULL : b.n ? buf_steal_text(&b) : xstrdup("");
	buf_fini(&b);
	return text;
}

static int read_lines(struct work_part *p)
{
	size_t n, room = 0;
	if (!*p->o.each)
		return 0;
	_free_ char *text = streq(p->o.each, "-") ? read_stdin() : path_read(p->o.each, FILE_MOST, &n);
	if (!text)
		return tool_fail(&submit_table, "--each %s: %s", p->o.each, strerror(errno));
	p->lines = xcalloc(1, sizeof *p->lines);
	for (char *save = NULL, *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		if (p->n_lines + 1 >= room)
			p->lines = xrealloc(p->lines, (room = 2 * room + 16) * sizeof *p->lines);
		p->lines[p->n_lines++] = xstrdup(line);
		p->lines[p->n_lines] = NULL;
	}
	return p->n_lines ? 0 : tool_fail(&submit_table, "--each %s: there is no line in it", p->o.each);
}

/* Any of the texts that are expanded. */
static bool has_text(const struct work_part *p, const char *mark, bool with_words)
{
	const struct job_options *o = &p->o;
	const struct conf_many *many[] = {&o->input, &o->output, &o->env};
	for (size_t i = 0; p->argv[i] && with_words; i++) {
		if (strstr(p->argv[i], mark))
			return true;
	}
	for (size_t i = 0; i < countof(many); i++) {
		for (size_t k = 0; k < many[i]->n; k++) {
			if (strstr(many[i]->at[k], mark))
				return true;
		}
	}
	return strstr(o->stdin, mark) || strstr(o->tag, mark);
}

/* A word of the first element's that names a file makes an input of its own for each. */
static bool has_file_words(const struct work_part *p)
{
	char index[24];
	snprintf(index, sizeof index, "%" PRIu64, p->array.first);
	char **words = job_expand_words(p->argv, &(struct job_place){.index = index});
	bool is_other = job_count_files(&p->o, words) != job_count_files(&p->o, p->argv);
	job_free_words(words);
	return is_other;
}

static int check_marks(const struct work_part *p)
{
	if (p->lines && p->array.n)
		return tool_fail(&submit_table, "--array and --each: give one of them");
	if (p->lines && !has_text(p, "{}", true) && !has_text(p, "{i}", true))
		return tool_fail(&submit_table,
				 "--each %s: nothing in the command or its files is the line: write {} there",
				 p->o.each);
	return 0;
}

uint64_t work_count(const struct work_part *p)
{
	return p->lines ? p->n_lines : p->array.n ? p->array.n : 1;
}

/* One task makes it: many need names of their own. */
static int check_outputs(const struct work_part *p)
{
	for (size_t i = 0; i < p->o.output.n && work_count(p) > 1; i++) {
		const char *word = p->o.output.at[i];
		if (!strstr(word, "{i}") && !(p->lines && strstr(word, "{}")))
			return tool_fail(&submit_table,
					 "-o %s: each of %" PRIu64 " tasks would leave it: write {i} in its name", word,
					 work_count(p));
	}
	return 0;
}

static int finish_part(struct work_part *p)
{
	int status = read_array(p);
	if (!status)
		status = read_lines(p);
	if (!status)
		status = check_marks(p);
	if (!status)
		status = check_outputs(p);
	/* What has outputs is one task each: arrays of vined's have none. */
	p->is_native = !status && p->array.n && !p->o.output.n && !has_text(p, "{i}", false) && !has_file_words(p);
	return status;
}

/* ---- from where */

static struct work_part *add_part(struct work *w, const char *name)
{
	w->parts = xrealloc(w->parts, (w->n + 1) * sizeof *w->parts);
	struct work_part *p = &w->parts[w->n++];
	*p = (struct work_part){.name = name ? xstrdup(name) : NULL};
	conf_preset(&submit_table, &p->o);
	return p;
}

static char **copy_words(char *const *words)
{
	return job_expand_words(words, &(struct job_place){.index = NULL});
}

/* The words behind the options, else --wrap or --command. */
static int set_command(struct work_part *p, char *const *words)
{
	const char *where = p->name ?: "";
	unsigned n = (*words ? 1u : 0u) + (*p->o.wrap ? 1u : 0u) + (*p->o.command ? 1u : 0u);
	if (n == 0 && p->name)
		return tool_fail(&submit_table, "[task %s]: which command? Give 'command = ...' or 'wrap = ...'",
				 where);
	if (n == 0)
		return tool_fail(&submit_table, "which command? Try: vine submit -- ./model, or: vine submit job.sh");
	if (n > 1)
		return tool_fail(&submit_table, "%s: the command is given twice: by words, wrap or command; give one",
				 *where ? where : "submit");
	if (*words)
		p->argv = copy_words(words);
	else if (*p->o.wrap)
		p->argv = copy_words((char *[]){(char *)"/bin/sh", (char *)"-c", p->o.wrap, NULL});
	else
		p->argv = job_split(p->o.command);
	return p->argv && *p->argv ? 0 : tool_fail(&submit_table, "command = %s: a quote is open", p->o.command);
}

/* The file first, then what stands on the command line, which counts more. */
static int read_section(struct work *w, struct job_file *f, size_t i, const char *path, int argc, char **argv,
			int first)
{
	struct conf_error e;
	struct work_part *p = add_part(w, f->at[i].name);
	_free_ char *text = job_section_text(f, i);
	int r = conf_read_text(&submit_table, &p->o, text, strlen(text), path, &e);
	if (r >= 0)
		r = conf_read_args(&submit_table, &p->o, argc, argv, &e);
	if (r < 0)
		return tool_fail(&submit_table, "%s", e.text);
	char *none[] = {NULL};
	int status = set_command(p, f->at[i].name ? none : argv + first);
	return status ? status : finish_part(p);
}

static int read_job_file(struct work *w, const char *path, int argc, char **argv, int first)
{
	struct job_file f;
	char why[JOB_WHY];
	size_t n;
	_free_ char *text = path_read(path, FILE_MOST, &n);
	if (!text)
		return tool_fail(&submit_table, "job file %s: %s", path, strerror(errno));
	if (job_file_read(text, n, &f, why) < 0)
		return tool_fail(&submit_table, "%s: %s", path, why);
	int status = 0;
	if (argv[first] && f.at[0].name)
		status = tool_fail(&submit_table, "'%s': the job file %s has the commands", argv[first], path);
	for (size_t i = 0; i < f.n && !status; i++)
		status = read_section(w, &f, i, path, argc, argv, first);
	job_file_fini(&f);
	return status;
}

/* ---- scripts */

/* A file here that begins with #!, as a script does; else NULL. */
static char *read_script(const char *word)
{
	struct stat st;
	size_t n;
	char begin[2];
	_close_ int fd = word && stat(word, &st) == 0 && S_ISREG(st.st_mode) ? open(word, O_RDONLY | O_CLOEXEC) : -1;
	bool is_script = fd >= 0 && pread(fd, begin, 2, 0) == 2 && memcmp(begin, "#!", 2) == 0;
	return is_script ? path_read(word, FILE_MOST, &n) : NULL;
}

/* Its own options first; those on the command line count more. */
static int read_script_options(struct work_part *p, const char *word, const char *text, int argc, char **argv)
{
	struct conf_error e;
	char **words = job_script_words(text);
	if (!words)
		return tool_fail(&submit_table, "%s: a quote is open in a line of #VINE", word);
	size_t n = 0;
	while (words[n])
		n++;
	char **all = xcalloc(n + 2, sizeof *all);
	all[0] = (char *)word;
	memcpy(all + 1, words, n * sizeof *all);
	int r = conf_read_args(&submit_table, &p->o, (int)n + 1, all, &e), status = 0;
	if (r >= 0 && (size_t)r != n + 1)
		status = tool_fail(&submit_table, "%s: #VINE %s: only options can stand there", word, all[r]);
	else if (r >= 0)
		r = conf_read_args(&submit_table, &p->o, argc, argv, &e);
	if (r < 0)
		status = tool_fail(&submit_table, "%s: %s", word, r == -ENOTSUP ? "an option it may not have" : e.text);
	free(all);
	job_free_words(words);
	return status;
}

/* The script lies in the task's directory by its last name; what its first line names runs it, so that it need not be executable. */
static int read_script_part(struct work *w, const char *text, int argc, char **argv, int first)
{
	struct work_part *p = add_part(w, NULL);
	const char *word = argv[first], *base = path_base(word);
	/* Nobody finds out by himself why a limit that stands there does not hold. */
	if (strstr(text, "\n#SBATCH ") && !strstr(text, "\n#VINE "))
		tool_fail(NULL, "note: %s has #SBATCH lines, which are not read; #VINE lines are: 'vine help sbatch'",
			  word);
	int status = read_script_options(p, word, text, argc, argv);
	if (status)
		return status;
	struct conf_many *inputs = &p->o.input;
	_free_ char *input = xasprintf("%s:%s", word, base);
	inputs->at = xrealloc(inputs->at, (inputs->n + 1) * sizeof *inputs->at);
	inputs->at[inputs->n++] = steal(input);
	char **by = job_script_interpreter(text);
	size_t n_by = by[1] ? 2 : 1, n = (size_t)(argc - first);
	char **all = xcalloc(n_by + n + 1, sizeof *all);
	memcpy(all, by, n_by * sizeof *all);
	memcpy(all + n_by, argv + first, n * sizeof *all);
	all[n_by] = (char *)base;
	status = set_command(p, all);
	free(all);
	job_free_words(by);
	return status ? status : finish_part(p);
}

/* ---- all of it */

static bool is_job_file(const char *word)
{
	size_t n = word ? strlen(word) : 0;
	return n > 5 && streq(word + n - 5, ".vine");
}

int work_read(struct work *w, const struct job_options *o, int argc, char **argv, int first)
{
	bool is_plain = first > 1 && streq(argv[first - 1], "--");
	if (*o->job)
		return read_job_file(w, o->job, argc, argv, first);
	if (!is_plain && is_job_file(argv[first]))
		return argv[first + 1] ? tool_fail(&submit_table, "'%s': the job file %s has the commands",
						   argv[first + 1], argv[first])
				       : read_job_file(w, argv[first], argc - 1, argv, argc);
	_free_ char *script = is_plain ? NULL : read_script(argv[first]);
	if (script)
		return read_script_part(w, script, argc, argv, first);
	struct conf_error e;
	struct work_part *p = add_part(w, NULL);
	int r = conf_read_args(&submit_table, &p->o, argc, argv, &e);
	assert(r == first);
	(void)r;
	int status = set_command(p, argv + first);
	return status ? status : finish_part(p);
}

void work_fini(struct work *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct work_part *p = &w->parts[i];
		free(p->name);
		conf_fini(&submit_table, &p->o);
		job_free_words(p->argv);
		job_free_words(p->lines);
	}
	free(w->parts);
	*w = (struct work){.n = 0};
}

const char *work_run(const struct work *w)
{
	return w->n ? w->parts[0].o.name : "";
}

const char *work_base(const struct work *w)
{
	const struct work_part *p = &w->parts[0];
	return p->name ?: path_base(p->argv[0]);
}

bool work_is_added(const struct work *w)
{
	return w->n && w->parts[0].o.add;
}
