/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/job.h"

#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/tree_name.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_NOT_FOUND 127 /* as in sh */

const char *const job_send_words[] = {"auto", "yes", "no", NULL};

/* ---- elements */

char *job_expand(const char *text, const struct job_place *p)
{
	struct buf b = {0};
	while (*text) {
		const char *in_place = NULL;
		size_t n = 1;
		if (p->index && has_prefix(text, "{i}")) {
			in_place = p->index;
			n = 3;
		} else if (p->line && has_prefix(text, "{}")) {
			in_place = p->line;
			n = 2;
		}
		if (in_place)
			buf_puts(&b, in_place);
		else
			buf_put(&b, text, 1);
		text += n;
	}
	return b.n ? buf_steal_text(&b) : xstrdup("");
}

void job_expand_options(const struct conf_table *t, const struct job_options *from, const struct job_place *p,
			struct job_options *to)
{
	*to = *from;
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_setting *s = &t->at[i];
		void *at = (char *)to + s->offset;
		if (s->type == CONF_TYPE_TEXT || s->type == CONF_TYPE_PATH) {
			char **text = at;
			*text = job_expand(*text, p);
		} else if (s->type == CONF_TYPE_MANY) {
			struct conf_many *many = at;
			char **old = many->at;
			many->at = xcalloc(many->n + 1, sizeof *many->at);
			for (size_t k = 0; k < many->n; k++)
				many->at[k] = job_expand(old[k], p);
		}
	}
}

char **job_expand_words(char *const *words, const struct job_place *p)
{
	size_t n = 0;
	while (words[n])
		n++;
	char **all = xcalloc(n + 1, sizeof *all);
	for (size_t i = 0; i < n; i++)
		all[i] = job_expand(words[i], p);
	return all;
}

void job_quote(struct buf *to, const char *word)
{
	if (*word && !strpbrk(word, " \t\r\n\"'\\$&|;<>()*?#`")) {
		buf_puts(to, word);
		return;
	}
	buf_puts(to, "'");
	for (; *word; word++)
		buf_printf(to, *word == '\'' ? "'\\''" : "%c", *word);
	buf_puts(to, "'");
}

void job_free_words(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

/* ---- the description */

static int set_environment(struct vine_task *t, const struct job_options *o)
{
	int r = o->clean_env ? vine_task_set(t, "env", "clean") : 0;
	for (size_t i = 0; i < o->env.n && r >= 0; i++) {
		const char *equals = strchr(o->env.at[i], '=');
		const char *value = equals ? equals + 1 : getenv(o->env.at[i]);
		_free_ char *name =
			xasprintf("env.%.*s", (int)(strchrnul(o->env.at[i], '=') - o->env.at[i]), o->env.at[i]);
		/* A variable that is not set here is not set there. */
		if (value)
			r = vine_task_set(t, name, value);
	}
	return r;
}

static int set_directory(const struct conf_table *table, struct vine_task *t, const char *directory)
{
	_free_ char *here = getcwd(NULL, 0);
	if (*directory != '/' && !here)
		return tool_fail(table, "--chdir %s: the present directory cannot be read: %s", directory,
				 strerror(errno));
	_free_ char *absolute = path_join(here ? here : "/", directory);
	return vine_task_set(t, "directory", absolute);
}

int job_task(const struct conf_table *table, const struct job_options *o, char *const *argv, struct vine_task **t)
{
	char seconds[24] = "";
	uint64_t sec;
	int status = job_check_habits(table, o);
	if (status)
		return status;
	if (job_clock_time(o->wall_time, &sec) == 0)
		snprintf(seconds, sizeof seconds, "%" PRIu64, sec);
	const struct {
		const char *name, *value;
	} texts[] = {{"cores", o->cores},
		     {"memory", o->mem},
		     {"disk", o->disk},
		     {"gpus", o->gpus},
		     {"wall-time", *seconds ? seconds : o->wall_time},
		     {"processes", o->processes},
		     {"retries", o->retries},
		     {"feature", o->feature},
		     {"category", o->category},
		     {"staging", o->staging},
		     {"priority", o->priority},
		     {"tag", o->tag},
		     {"view", o->view},
		     {"strict", o->strict ? "yes" : ""},
		     {"umask", o->umask},
		     {"home", o->home},
		     {"grace", o->grace},
		     {"record", o->record ? "yes" : ""},
		     {"trust", o->trust ? "yes" : ""}};
	int r = vine_task_new((const char *const *)argv, t);
	for (size_t i = 0; i < countof(texts) && r >= 0; i++) {
		if (*texts[i].value)
			r = vine_task_set(*t, texts[i].name, texts[i].value);
	}
	if (r >= 0)
		r = set_environment(*t, o);
	if (r >= 0 && *o->chdir)
		r = set_directory(table, *t, o->chdir);
	return r < 0 ? tool_fail(table, "%s", vine_error()) : r;
}

/* ---- words that name files */

/* Whether the task would look for it below its own directory, where it is not unless it is brought there. What is absolute is the
 * same path there, and what climbs by ".." lies outside. */
static bool is_file_below(const char *word)
{
	struct stat st;
	if (!*word || *word == '/' || *word == '-')
		return false;
	for (const char *p = word; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0)
			return false;
		p += n + (p[n] == '/');
	}
	return stat(word, &st) == 0 && S_ISREG(st.st_mode) && access(word, R_OK) == 0;
}

static bool covers(const char *place, const char *path)
{
	size_t n = strlen(place);
	return strncmp(place, path, n) == 0 && (path[n] == 0 || path[n] == '/');
}

/* An output of that name is what the task makes, though one of an earlier run may be here. */
static bool is_declared(const struct binds *files, const char *path)
{
	for (size_t i = 0; i < files->n; i++) {
		if (files->at[i].path && covers(files->at[i].path, path))
			return true;
	}
	return false;
}

static char *escape(const char *word)
{
	struct buf b = {0};
	for (; *word; word++) {
		if (*word == ':' || *word == '\\')
			buf_puts(&b, "\\");
		buf_put(&b, word, 1);
	}
	return buf_steal_text(&b);
}

static int add_word(const struct job_options *o, const char *word, struct binds *files, char why[BIND_WHY])
{
	struct binds one = {0};
	_free_ char *from = escape(word);
	int r = bind_input(&one, from, (enum bind_send)o->send, why);
	bool is_new = !r && !is_declared(files, one.at[0].path);
	binds_fini(&one);
	if (is_new)
		r = bind_input(files, from, (enum bind_send)o->send, why);
	if (is_new && !r)
		files->at[files->n - 1].is_word = true;
	return r;
}

/* Of word i what may name a file, or NULL: the program itself only by a path, since a bare name is looked up in PATH; of --config=run.cfg the
 * value. */
static const char *file_word(char *const *argv, size_t i)
{
	const char *equals = *argv[i] == '-' ? strchr(argv[i], '=') : NULL;
	const char *word = equals ? equals + 1 : argv[i];
	return (i || strchr(word, '/')) && is_file_below(word) ? word : NULL;
}

/* In a directory of the node's the words mean what lies there. */
static bool takes_words(const struct job_options *o)
{
	return o->files && !*o->chdir;
}

static int add_words(const struct job_options *o, char *const *argv, struct binds *files, char why[BIND_WHY])
{
	int r = 0;
	for (size_t i = 0; takes_words(o) && argv[i] && !r; i++) {
		const char *word = file_word(argv, i);
		r = word ? add_word(o, word, files, why) : 0;
	}
	return r;
}

size_t job_count_files(const struct job_options *o, char *const *argv)
{
	size_t n = 0;
	for (size_t i = 0; takes_words(o) && argv[i]; i++)
		n += file_word(argv, i) != NULL;
	return n;
}

bool job_is_shared(const struct job_options *o, const char *path)
{
	struct binds one = {0};
	char why[BIND_WHY];
	_free_ char *from = escape(path);
	bool is_sent =
		bind_input(&one, from, (enum bind_send)o->send, why) == 0 && has_prefix(one.at[0].uri, "client:");
	binds_fini(&one);
	return !is_sent;
}

/* A program named by a path below the task's directory, which nothing brings there. */
static int check_program(const struct conf_table *t, const struct job_options *o, const char *program,
			 const struct binds *files)
{
	const char *path = has_prefix(program, "./") ? program + 2 : program;
	bool is_below = strchr(program, '/') && *program != '/' && !strstr(program, "..");
	if (!takes_words(o) || !is_below || is_declared(files, path))
		return 0;
	tool_fail(t, "%s: there is no such file here to be brought along, and no input brings it", program);
	return EXIT_NOT_FOUND;
}

int job_binds(const struct conf_table *t, const struct job_options *o, char *const *argv, struct binds *files,
	      char **stdin_path)
{
	char why[BIND_WHY];
	int r = 0;
	*stdin_path = NULL;
	static_assert(BIND_WHY >= TREE_NAME_WHY, "one text for both");
	for (size_t i = 0; i < o->input.n && !r; i++) {
		r = bind_input(files, o->input.at[i], (enum bind_send)o->send, why);
		if (!r)
			r = tree_name_resolve(&files->at[files->n - 1].uri, why);
	}
	for (size_t i = 0; i < o->output.n && !r; i++)
		r = bind_output(files, o->output.at[i], why);
	if (!r && *o->stdin)
		r = bind_stdin(files, o->stdin, (enum bind_send)o->send, stdin_path, why);
	if (!r)
		r = add_words(o, argv, files, why);
	return r < 0 ? tool_fail(t, "%s", why) : check_program(t, o, argv[0], files);
}

/* ---- what it would be */

/* The path here of an input; NULL: it does not lie here. */
const char *job_here_of(const struct bind *b)
{
	static const char *const elsewhere[] = {"node:", "tree:", "temp:"};
	static const char *const here[] = {"client:", "file:"};
	for (size_t i = 0; i < countof(elsewhere); i++) {
		if (has_prefix(b->uri, elsewhere[i]))
			return NULL;
	}
	for (size_t i = 0; i < countof(here); i++) {
		if (has_prefix(b->uri, here[i]))
			return b->uri + strlen(here[i]);
	}
	return strstr(b->uri, "://") ? NULL : b->uri;
}

bool job_is_missing(const struct bind *b)
{
	const char *path = b->is_output ? NULL : job_here_of(b);
	return path && !strstr(path, "{index}") && access(path, R_OK) < 0;
}

void job_count_missing(const struct binds *files, unsigned *n_missing)
{
	for (size_t i = 0; i < files->n; i++)
		*n_missing += job_is_missing(&files->at[i]);
}

static void print_input(const struct bind *b)
{
	const char *path = job_here_of(b);
	char size[32] = "";
	struct stat st;
	if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode))
		print_size(size, (uint64_t)st.st_size);
	printf("  input    %s (%s%s%s%s%s%s)%s\n", b->path ?: path ?: b->uri, path ?: b->uri, *size ? ", " : "", size,
	       b->flags & VINE_RW ? ", a copy it may write" : "",
	       has_prefix(b->uri, "client:") ? ", sent from here" : "", b->is_word ? ", a word of the command" : "",
	       job_is_missing(b) ? ": MISSING here" : "");
}

static void print_output(const struct bind *b)
{
	const char *to = b->here ?: b->uri ?: "";
	printf("  output   %s -> %s%s\n", b->path, to, b->flags & VINE_OPTIONAL ? " (may be missing)" : "");
}

void job_print(const struct job_options *o, char *const *argv, const struct binds *files, unsigned *n_missing)
{
	const struct {
		const char *name, *value;
	} texts[] = {{"cores", o->cores},     {"memory", o->mem},      {"disk", o->disk},        {"gpus", o->gpus},
		     {"time", o->wall_time},  {"feature", o->feature}, {"retries", o->retries},  {"tag", o->tag},
		     {"directory", o->chdir}, {"stdin", o->stdin},     {"category", o->category}};
	printf("  command ");
	_cleanup_(buf_fini) struct buf words = {0};
	for (size_t i = 0; argv[i]; i++) {
		buf_puts(&words, " ");
		job_quote(&words, argv[i]);
	}
	printf("%s\n", buf_text(&words));
	for (size_t i = 0; i < countof(texts); i++) {
		if (*texts[i].value)
			printf("  %-8s %s\n", texts[i].name, texts[i].value);
	}
	for (size_t i = 0; i < files->n; i++) {
		if (files->at[i].is_output)
			print_output(&files->at[i]);
		else
			print_input(&files->at[i]);
	}
	job_count_missing(files, n_missing);
}
