/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cause.h"

#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* ---- words */

const char *cause_word(enum cause_kind k)
{
	static const char *const words[] = {
		[CAUSE_NONE] = "",
		[CAUSE_LIBRARY] = "library",
		[CAUSE_MODULE] = "module",
		[CAUSE_FILE] = "file",
		[CAUSE_PROGRAM] = "program",
		[CAUSE_INTERPRETER] = "interpreter",
		[CAUSE_PERMISSION] = "permission",
		[CAUSE_READ_ONLY] = "read-only",
		[CAUSE_FORMAT] = "format",
		[CAUSE_VERSION] = "version",
		[CAUSE_MEMORY] = "memory",
		[CAUSE_DISK] = "disk",
		[CAUSE_TIME] = "wall-time",
		[CAUSE_PROCESSES] = "processes",
		[CAUSE_FILES] = "open-files",
		[CAUSE_GPU] = "gpu",
		[CAUSE_NETWORK] = "network",
		[CAUSE_STDIN] = "stdin",
		[CAUSE_DISPLAY] = "display",
		[CAUSE_SLOTS] = "slots",
		[CAUSE_IO] = "io",
		[CAUSE_SIGNAL] = "signal",
		[CAUSE_INPUT] = "input",
		[CAUSE_OUTPUT] = "output",
		[CAUSE_LOST] = "lost",
	};
	_Static_assert(countof(words) == CAUSE_KINDS, "a word for each kind");
	return (size_t)k < countof(words) ? words[k] : "";
}

static const struct {
	unsigned number;
	const char *name, *means;
} signals[] = {
	{SIGSEGV, "SEGV", "it read or wrote where nothing is: a fault of the program"},
	{SIGILL, "ILL", "it is built for another processor than that node's"},
	{SIGABRT, "ABRT", "it ended itself, as a failed check does"},
	{SIGBUS, "BUS", "a file that it had mapped was cut, or could not be read"},
	{SIGFPE, "FPE", "it divided by zero"},
	{SIGKILL, "KILL", "somebody ended it, or the kernel did for lack of memory"},
	{SIGTERM, "TERM", "somebody ended it"},
	{SIGINT, "INT", "somebody interrupted it"},
	{SIGHUP, "HUP", "its terminal went away"},
	{SIGPIPE, "PIPE", "who read what it wrote went away"},
	{SIGXCPU, "XCPU", "it used up its processor time"},
	{SIGXFSZ, "XFSZ", "it wrote a larger file than it may"},
	{SIGSYS, "SYS", "it made a call of the kernel that is forbidden there"},
	{SIGTRAP, "TRAP", "it stopped for a debugger that is not there"},
	{SIGQUIT, "QUIT", "somebody ended it"},
	{SIGUSR1, "USR1", "somebody sent it that"},
	{SIGUSR2, "USR2", "somebody sent it that"},
	{SIGALRM, "ALRM", "a time that it had set was over"},
};

const char *cause_signal(unsigned signo)
{
	for (size_t i = 0; i < countof(signals); i++)
		if (signals[i].number == signo)
			return signals[i].name;
	return NULL;
}

/* ---- sizes as they are typed */

static void _printf_(2, 3) say(char to[512], const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(to, 512, fmt, args);
	va_end(args);
}

/* Twice as much, as one would type it: 64M, 3G. */
static void twice(uint64_t size, char to[32])
{
	const uint64_t mib = 1 << 20, gib = 1 << 30;
	uint64_t more = size > UINT64_MAX / 2 ? size : 2 * size;
	if (more < gib)
		snprintf(to, 32, "%" PRIu64 "M", max((more + mib - 1) / mib, UINT64_C(1)));
	else
		snprintf(to, 32, "%" PRIu64 "G", (more + gib - 1) / gib);
}

static void print_limit(uint64_t size, char to[32])
{
	if (size % (1 << 30) == 0)
		snprintf(to, 32, "%" PRIu64 "G", size >> 30);
	else if (size % (1 << 20) == 0)
		snprintf(to, 32, "%" PRIu64 "M", size >> 20);
	else
		snprintf(to, 32, "%" PRIu64 " bytes", size);
}

/* ---- limits */

static void of_memory(const struct cause_facts *f, struct cause *c)
{
	char limit[32], more[32];
	c->kind = CAUSE_MEMORY;
	print_limit(f->memory, limit);
	twice(max(f->peak_memory, f->memory), more);
	if (f->memory)
		say(c->what, "it had used up its memory, %s", limit);
	else
		say(c->what, "it had used up the memory that it could get");
	if (f->memory || f->peak_memory)
		say(c->next, "give it more: --mem %s", more);
	else
		say(c->next, "say how much it needs: --mem 4G");
}

static void of_disk(const struct cause_facts *f, struct cause *c)
{
	char limit[32], more[32];
	c->kind = CAUSE_DISK;
	print_limit(f->disk, limit);
	twice(f->disk, more);
	if (f->disk) {
		say(c->what, "it had written all that it may, %s", limit);
		say(c->next, "give it more: --disk %s", more);
	} else {
		say(c->what, "the disk that it wrote to was full");
		say(c->next, "say how much it needs: --disk 20G; vine node status on that node shows what is left");
	}
}

static void of_time(const struct cause_facts *f, struct cause *c)
{
	uint64_t sec = (f->wall_usec + 999999) / 1000000;
	c->kind = CAUSE_TIME;
	if (!sec) {
		say(c->what, "it ran longer than its --wall-time");
		say(c->next, "give it longer: -t TIME");
		return;
	}
	say(c->what, "it ran longer than it may, %" PRIu64 "%s", sec % 60 ? sec : sec / 60, sec % 60 ? " s" : " min");
	say(c->next, "give it longer: -t %" PRIu64 "%s", sec % 60 ? 2 * sec : sec / 30, sec % 60 ? "s" : "m");
}

static bool of_limit(const struct cause_facts *f, struct cause *c)
{
	const char *limit = f->limit ?: "";
	if (streq(limit, "memory"))
		of_memory(f, c);
	else if (streq(limit, "disk"))
		of_disk(f, c);
	else if (streq(limit, "wall-time"))
		of_time(f, c);
	else if (streq(limit, "processes")) {
		c->kind = CAUSE_PROCESSES;
		say(c->what, "it had as many processes and threads as it may");
		say(c->next, "allow it more: --processes N");
	}
	return c->kind != CAUSE_NONE;
}

/* ---- what is missing */

static bool is_here(const struct cause_facts *f, const char *path)
{
	return f->is_here && f->is_here(f->arg, path);
}

/* One that a shell takes as it stands. */
static bool is_plain(const char *word)
{
	return *word && *word != '-' &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == strlen(word);
}

static const char *quote(const char *word)
{
	return is_plain(word) ? "" : "'";
}

/* The directory of LD_LIBRARY_PATH, or one near the program, that has it. */
static bool find_library(const struct cause_facts *f, const char *name, char directory[256])
{
	char path[600], near[300] = "";
	const char *slash = f->program ? strrchr(f->program, '/') : NULL;
	if (slash)
		snprintf(near, sizeof near, "%.*s/../lib", (int)min(slash - f->program, (ptrdiff_t)200), f->program);
	_free_ char *all = xasprintf("%s:.:lib:lib64:%.*s:%s", f->library_path ?: "",
				     (int)(slash ? slash - f->program : 0), f->program ?: "", near);
	for (char *save = NULL, *at = strtok_r(all, ":", &save); at; at = strtok_r(NULL, ":", &save)) {
		snprintf(path, sizeof path, "%.250s/%.300s", at, name);
		if (strlen(at) < 256 && is_here(f, path)) {
			snprintf(directory, 256, "%s", at);
			return true;
		}
	}
	return false;
}

static void of_library(const struct cause_facts *f, struct cause *c)
{
	char directory[256];
	const char *name = strrchr(c->subject, '/') ? strrchr(c->subject, '/') + 1 : c->subject;
	bool is_found = *name && find_library(f, name, directory);
	say(c->what, "the shared library %s is %s", *name ? name : "that it needs",
	    is_found ? "here, but not where it ran" : "not there");
	if (is_found && streq(directory, "."))
		say(c->next, "add -i %s -e LD_LIBRARY_PATH=.", name);
	else if (is_found)
		say(c->next, "add -i %s -e LD_LIBRARY_PATH=%s", directory, directory);
	else
		say(c->next, "find it by ldd %s, and add -i DIRECTORY -e LD_LIBRARY_PATH=DIRECTORY",
		    f->program && *f->program ? f->program : "PROGRAM");
}

/* "a.b" may be a/b.py, a/b/ or a/. */
static bool find_module(const struct cause_facts *f, const char *name, char path[300])
{
	size_t n = strcspn(name, ".");
	snprintf(path, 300, "%.*s.py", (int)min(n, (size_t)200), name);
	if (!is_here(f, path))
		snprintf(path, 300, "%.*s", (int)min(n, (size_t)200), name);
	return *path && is_here(f, path);
}

static void of_module(const struct cause_facts *f, struct cause *c)
{
	char path[300];
	bool is_file = strchr(c->subject, '/') && !strstr(c->subject, ".pm");
	bool is_found = find_module(f, c->subject, path);
	if (is_file && is_here(f, c->subject)) {
		snprintf(path, sizeof path, "%.299s", c->subject);
		is_found = true;
	}
	say(c->what, "%s%s is %s", is_file ? "" : "the module ", c->subject,
	    is_found ? "here, but not where it ran" : "not there");
	if (is_found)
		say(c->next, "add -i %s%s%s", quote(path), path, quote(path));
	else
		say(c->next, "bring the environment that has it, as in: vine run -i ~/env -- ~/env/bin/PROGRAM ...");
}

/* Paths in the task's own working directory mean what lies in this one. */
static const char *without_sandbox(const char *path)
{
	for (const char *p = path; (p = strstr(p, "/s/")); p++) {
		size_t n = strspn(p + 3, "0123456789");
		if (n && has_prefix(p + 3 + n, "/cwd/"))
			return p + 3 + n + strlen("/cwd/");
	}
	return path;
}

static void of_file(const struct cause_facts *f, struct cause *c)
{
	if (!*c->subject) {
		say(c->what, "a file that it opens is not there");
		say(c->next, "vine run --record -- ..., then vine inputs TASK lists what it opens");
		return;
	}
	const char *q = quote(c->subject);
	if (is_here(f, c->subject)) {
		say(c->what, "%s is here, but not where it ran", c->subject);
		say(c->next, "add -i %s%s%s", q, c->subject, q);
		return;
	}
	say(c->what, "%s is not there%s", c->subject, f->is_here ? ", nor here" : "");
	if (f->is_here)
		say(c->next, "check the name; what a task reads is brought by -i");
	else
		say(c->next, "if it should be, add -i %s%s%s", q, c->subject, q);
}

static void of_program(const struct cause_facts *f, struct cause *c)
{
	const char *q = quote(c->subject);
	bool is_path = strchr(c->subject, '/') != NULL;
	if (*c->subject && is_here(f, c->subject)) {
		say(c->what, "%s is here, but not where it ran", c->subject);
		say(c->next, "add -i %s%s%s%s%s", q, c->subject, q, is_path ? "" : ", and call it ./",
		    is_path ? "" : c->subject);
		return;
	}
	say(c->what, "there is no program %s%s", *c->subject ? c->subject : "of that name",
	    is_path && f->is_here ? ", nor is it here" : "");
	if (is_path)
		say(c->next, "check the name, or bring the directory that has it by -i");
	else
		say(c->next,
		    "check the name; if only some machines have it, bring it by -i, or ask for them by --feature");
}

static void of_permission(const struct cause_facts *f, struct cause *c)
{
	bool is_program = f->status == 126 || (f->program && *c->subject && streq(f->program, c->subject));
	const char *q = quote(c->subject);
	if (!*c->subject) {
		say(c->what, "something that it opens may not be opened");
		say(c->next, "its words above say what");
		return;
	}
	say(c->what, is_program ? "%s may not be executed" : "%s may not be opened", c->subject);
	if (is_program)
		say(c->next, "chmod +x %s%s%s, or name its interpreter: sh %s", q, c->subject, q, c->subject);
	else if (is_here(f, c->subject))
		say(c->next, "ls -l %s%s%s shows who may; a copy of its own comes by -i %s:rw", q, c->subject, q,
		    c->subject);
	else
		say(c->next, "a task writes into its own directory and what -o declares; ls -ld shows who may");
}

/* What is said in the same words of any subject. */
static void of_plain(struct cause *c)
{
	static const struct {
		enum cause_kind kind;
		const char *what, *next;
	} plain[] = {
		{CAUSE_PROCESSES, "it could not begin another process or thread", "allow it more: --processes N"},
		{CAUSE_FILES, "it had as many files open as it may", "ulimit -n N in the task's script allows more"},
		{CAUSE_GPU, "it found no GPU, or none with enough memory", "ask for one: --gpus 1"},
		{CAUSE_NETWORK, "it could not reach a server",
		 "try it on that node; what it fetches from the network can be an input, by -i"},
		{CAUSE_STDIN, "it read its standard input, which is empty", "give it one: --stdin FILE"},
		{CAUSE_DISPLAY, "it wanted a display, and there is none",
		 "run it without windows, as by MPLBACKEND=Agg or xvfb-run"},
		{CAUSE_SLOTS, "MPI was asked for more processes than it found cores",
		 "ask for as many: -c N, and mpirun -n N"},
		{CAUSE_VERSION, "its node has another version of a library",
		 "build it on the oldest system, or bring the environment that it was built in by -i"},
		{CAUSE_IO, "a disk or a server failed while it read or wrote",
		 "vine why NODE, and vine doctor there; it may go well elsewhere: --retries 2"},
	};
	for (size_t i = 0; i < countof(plain); i++) {
		if (plain[i].kind != c->kind)
			continue;
		say(c->what, "%s%s%s", plain[i].what, *c->subject ? ": " : "", c->subject);
		say(c->next, "%s", plain[i].next);
	}
}

static void of_thing(struct cause *c)
{
	const char *subject = c->subject;
	if (c->kind == CAUSE_INTERPRETER) {
		say(c->what, "the interpreter of a script, or of a program, is not there: %s", subject);
		say(c->next, "its first line names it: bring that by -i, or call it as sh SCRIPT, python3 SCRIPT");
	} else if (c->kind == CAUSE_READ_ONLY) {
		say(c->what, "it writes to %s, which is an input, or not its own", *subject ? subject : "a place");
		say(c->next, "a copy that it may change: -i %s:rw", *subject ? subject : "PATH");
	} else {
		assert(c->kind == CAUSE_FORMAT);
		say(c->what, "%s is no program for that node's kind of machine", *subject ? subject : "what it starts");
		say(c->next, "file %s says what it is; a script wants a first line like #!/bin/sh",
		    *subject ? subject : "PROGRAM");
	}
}

/* What was said, in sentences. */
static void of_said(const struct cause_facts *f, struct cause *c)
{
	switch (c->kind) {
	case CAUSE_LIBRARY:
		of_library(f, c);
		break;
	case CAUSE_MODULE:
		of_module(f, c);
		break;
	case CAUSE_FILE:
		of_file(f, c);
		break;
	case CAUSE_PROGRAM:
		of_program(f, c);
		break;
	case CAUSE_PERMISSION:
		of_permission(f, c);
		break;
	case CAUSE_MEMORY:
		of_memory(f, c);
		break;
	case CAUSE_DISK:
		of_disk(f, c);
		break;
	case CAUSE_INTERPRETER:
	case CAUSE_READ_ONLY:
	case CAUSE_FORMAT:
		of_thing(c);
		break;
	default:
		of_plain(c);
		break;
	}
}

/* ---- how it ended */

static void of_signal(unsigned signo, struct cause *c)
{
	c->kind = CAUSE_SIGNAL;
	for (size_t i = 0; i < countof(signals); i++) {
		if (signals[i].number != signo)
			continue;
		snprintf(c->subject, sizeof c->subject, "%s", signals[i].name);
		say(c->what, "signal %u (SIG%s): %s", signo, signals[i].name, signals[i].means);
	}
	if (!*c->what)
		say(c->what, "signal %u", signo);
	if (signo == SIGKILL)
		say(c->next, "if it needs much memory, say how much: --mem 4G");
}

static unsigned number_of(const char *signal)
{
	for (size_t i = 0; i < countof(signals); i++)
		if (streq(signals[i].name, signal))
			return signals[i].number;
	return 0;
}

/* What the node could not begin. */
static void of_start(const struct cause_facts *f, struct cause *c)
{
	const char *reason = f->reason ?: "";
	bool is_input = has_prefix(reason, "input ") || strstr(reason, "what it declared");
	const char *first = strstr(reason, "its first line names ");
	c->kind = cause_said(reason, c->subject);
	if (is_input) {
		c->kind = CAUSE_INPUT;
		say(c->what, "an input of it could not be had");
		if (*c->subject == '/' && is_here(f, c->subject))
			say(c->next, "%s is here, but not there: -i client:%s sends it", c->subject, c->subject);
		else
			say(c->next,
			    "check the path: it must be there where the task runs, or here with -i client:PATH");
		return;
	}
	if (has_prefix(reason, "directory ")) {
		c->kind = CAUSE_FILE;
		say(c->what, "the directory that it was to run in is not there");
		say(c->next, "-C names a directory of the node; without it a task has one of its own");
		return;
	}
	/* A word of the command that names a file below this directory was brought along: then it is there. */
	bool is_brought =
		c->kind == CAUSE_FILE && *c->subject != '/' && strchr(c->subject, '/') && is_here(f, c->subject);
	if (is_brought) {
		c->kind = CAUSE_INTERPRETER;
	} else if (first) {
		const char *name = first + strlen("its first line names ");
		snprintf(c->subject, sizeof c->subject, "%.*s", (int)strcspn(name, ","), name);
		c->kind = CAUSE_INTERPRETER;
	} else if (c->kind == CAUSE_FILE && has_prefix(reason, "exec ")) {
		c->kind = CAUSE_PROGRAM;
	}
	of_said(f, c);
}

static void find(const struct cause_facts *f, struct cause *c)
{
	const char *how = f->how ?: "", *said = f->said ?: "";
	*c = (struct cause){.kind = CAUSE_NONE};
	if (of_limit(f, c))
		return;
	if (has_prefix(how, "not")) {
		of_start(f, c);
		return;
	}
	if (streq(how, "lost")) {
		c->kind = CAUSE_LOST;
		return;
	}
	c->kind = cause_said(said, c->subject);
	memmove(c->subject, without_sandbox(c->subject), strlen(without_sandbox(c->subject)) + 1);
	if (c->kind == CAUSE_SIGNAL)
		of_signal(number_of(c->subject), c);
	else if (c->kind)
		of_said(f, c);
	else if (streq(how, "killed"))
		of_signal(f->status, c);
	else if (has_prefix(how, "no") && strstr(how, "output"))
		c->kind = CAUSE_OUTPUT;
	else if (f->status > 128 && f->status < 128 + 32)
		of_signal(f->status - 128, c);
}

/* To a shell no more than words. */
static bool is_harmless(const char *text)
{
	for (const char *p = text; *p; p++) {
		if (!isalnum((unsigned char)*p) && (unsigned char)*p < 0x80 && !strchr(" ._-/:@+,%=#[]", *p))
			return false;
	}
	return true;
}

/* What a task says may be a name that somebody chose for who types what he is told to. */
void cause_find(const struct cause_facts *f, struct cause *c)
{
	find(f, c);
	const char *slash = strrchr(c->subject, '/'), *name = slash ? slash + 1 : c->subject;
	bool is_typed = strstr(c->next, c->subject) || strstr(c->next, name);
	if (!is_harmless(c->subject) && is_typed)
		say(c->next, "its name is odd: quote it well where you type it; what a task reads is brought by -i");
}
