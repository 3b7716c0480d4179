/* SPDX-License-Identifier: Apache-2.0
 * What programs say when they fail. A line of the table a message; the last line of a text that is known counts, and of those that may be
 * harmless (a file that is not there) only where no other is. */
#include "tools/cause.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* Where the subject stands. */
enum place {
	NOWHERE,
	BEHIND, /* the mark: up to one of `ends`, without quotes */
	BEFORE, /* it: the last of "program: line 1: cannot open 'FILE'" */
	LAST,   /* word of the line */
};

static const struct pattern {
	const char *mark, *also; /* both must be in the line; also: NULL */
	enum cause_kind kind;
	enum place place;
	const char *ends; /* of BEHIND; the end of the line ends it, too */
	bool is_weak;     /* many programs say so and go on */
} patterns[] = {
	/* ld.so and dlopen() */
	{"error while loading shared libraries: ", "cannot open shared object", CAUSE_LIBRARY, BEHIND, ":", false},
	{"error while loading shared libraries: ", "wrong ELF class", CAUSE_FORMAT, BEHIND, ":", false},
	{"cannot open shared object file", NULL, CAUSE_LIBRARY, BEFORE, NULL, false},
	{"' not found (required by ", "version `", CAUSE_VERSION, BEFORE, NULL, false},
	{"undefined symbol: ", NULL, CAUSE_VERSION, BEHIND, " ,(", false},
	/* what cannot be executed */
	{"cannot execute binary file", NULL, CAUSE_FORMAT, BEFORE, NULL, false},
	{"Exec format error", NULL, CAUSE_FORMAT, BEFORE, NULL, false},
	{"bad interpreter: ", NULL, CAUSE_INTERPRETER, BEFORE, NULL, false},
	{"cannot execute: required file not found", NULL, CAUSE_INTERPRETER, BEFORE, NULL, false},
	{"env: ", "No such file or directory", CAUSE_PROGRAM, BEHIND, ":", false},
	{"command not found: ", NULL, CAUSE_PROGRAM, BEHIND, "", false},
	{"command not found", NULL, CAUSE_PROGRAM, BEFORE, NULL, false},
	{"executable file not found in $PATH", NULL, CAUSE_PROGRAM, BEFORE, NULL, false},
	/* languages' own packages */
	{"No module named ", NULL, CAUSE_MODULE, BEHIND, ";", false},
	{"cannot import name ", NULL, CAUSE_MODULE, BEHIND, " ", false},
	{"Can't locate ", "in @INC", CAUSE_MODULE, BEHIND, " ", false},
	{"there is no package called ", NULL, CAUSE_MODULE, BEHIND, "", false},
	{"Cannot find module ", NULL, CAUSE_MODULE, BEHIND, "", false},
	{"Could not find or load main class ", NULL, CAUSE_MODULE, BEHIND, " ", false},
	{"java.lang.NoClassDefFoundError: ", NULL, CAUSE_MODULE, BEHIND, " ", false},
	{"ArgumentError: Package ", "not found", CAUSE_MODULE, BEHIND, " ", false},
	{"cannot load such file -- ", NULL, CAUSE_MODULE, BEHIND, " ", false},
	{"can't find package ", NULL, CAUSE_MODULE, BEHIND, " ", false},
	{"module '", "' not found:", CAUSE_MODULE, BEHIND, "'", false},
	/* GPUs before memory, threads before memory: both are told in its words, too */
	{"CUDA out of memory", NULL, CAUSE_GPU, NOWHERE, NULL, false},
	{"no CUDA-capable device", NULL, CAUSE_GPU, NOWHERE, NULL, false},
	{"CUDA driver version is insufficient", NULL, CAUSE_GPU, NOWHERE, NULL, false},
	{"Found no NVIDIA driver", NULL, CAUSE_GPU, NOWHERE, NULL, false},
	{"unable to create native thread", NULL, CAUSE_PROCESSES, NOWHERE, NULL, false},
	{"can't start new thread", NULL, CAUSE_PROCESSES, NOWHERE, NULL, false},
	{"fork: retry: ", NULL, CAUSE_PROCESSES, NOWHERE, NULL, false},
	{"Cannot fork", NULL, CAUSE_PROCESSES, NOWHERE, NULL, false},
	{"fork: Resource temporarily unavailable", NULL, CAUSE_PROCESSES, NOWHERE, NULL, false},
	{"MemoryError", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"std::bad_alloc", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"OutOfMemoryError", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"heap out of memory", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"cannot allocate vector of size", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"Cannot allocate memory", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"Out of memory", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"out of memory", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"memory exhausted", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"insufficient virtual memory", NULL, CAUSE_MEMORY, NOWHERE, NULL, false},
	{"No space left on device", NULL, CAUSE_DISK, NOWHERE, NULL, false},
	{"Disk quota exceeded", NULL, CAUSE_DISK, NOWHERE, NULL, false},
	{"Too many open files", NULL, CAUSE_FILES, NOWHERE, NULL, false},
	{"EOF when reading a line", NULL, CAUSE_STDIN, NOWHERE, NULL, false},
	{"not enough slots available", NULL, CAUSE_SLOTS, NOWHERE, NULL, false},
	{"Could not resolve host: ", NULL, CAUSE_NETWORK, BEHIND, " ;", false},
	{"Name or service not known", NULL, CAUSE_NETWORK, NOWHERE, NULL, false},
	{"Temporary failure in name resolution", NULL, CAUSE_NETWORK, NOWHERE, NULL, false},
	{"Connection refused", NULL, CAUSE_NETWORK, NOWHERE, NULL, false},
	{"Network is unreachable", NULL, CAUSE_NETWORK, NOWHERE, NULL, false},
	{"cannot open display", NULL, CAUSE_DISPLAY, NOWHERE, NULL, false},
	{"could not connect to display", NULL, CAUSE_DISPLAY, NOWHERE, NULL, false},
	{"Read-only file system: ", NULL, CAUSE_READ_ONLY, BEHIND, "", false},
	{"Read-only file system", NULL, CAUSE_READ_ONLY, BEFORE, NULL, false},
	{"Input/output error", NULL, CAUSE_IO, BEFORE, NULL, false},
	{"Stale file handle", NULL, CAUSE_IO, BEFORE, NULL, false},
	/* files that are not there, in their languages' words */
	{"FileNotFoundError: [Errno 2] No such file or directory: ", NULL, CAUSE_FILE, BEHIND, "", false},
	{"can't open file ", "[Errno 2]", CAUSE_FILE, BEHIND, ":", false},
	{"unable to open file: name = ", "errno = 2", CAUSE_FILE, BEHIND, ",", false},
	{"Unable to access jarfile ", NULL, CAUSE_FILE, BEHIND, "", false},
	{"NoSuchFileException: ", NULL, CAUSE_FILE, BEHIND, "", false},
	{"Fortran runtime error: File ", "does not exist", CAUSE_FILE, BEHIND, "", false},
	{"forrtl: severe (29): file not found", NULL, CAUSE_FILE, LAST, NULL, false},
	{"No rule to make target ", NULL, CAUSE_FILE, BEHIND, ",.", false},
	{"Not a conda environment: ", NULL, CAUSE_FILE, BEHIND, "", false},
	{"fatal error: ", "No such file or directory", CAUSE_FILE, BEHIND, ":", false},
	{"no such file or directory, ", NULL, CAUSE_FILE, LAST, NULL, false},
	{"can't cd to ", NULL, CAUSE_FILE, BEHIND, "", true},
	{"Directory nonexistent", NULL, CAUSE_FILE, BEFORE, NULL, true},
	{"PermissionError: [Errno 13] Permission denied: ", NULL, CAUSE_PERMISSION, BEHIND, "", false},
	{"EACCES: permission denied, ", NULL, CAUSE_PERMISSION, LAST, NULL, false},
	{"No such file or directory: ", NULL, CAUSE_FILE, BEHIND, "", true},
	{"No such file or directory", NULL, CAUSE_FILE, BEFORE, NULL, true},
	{"no such file or directory", NULL, CAUSE_FILE, BEFORE, NULL, true},
	{"No such file", "cannot open", CAUSE_FILE, BEFORE, NULL, true},
	{"Permission denied", NULL, CAUSE_PERMISSION, BEFORE, NULL, true},
	{"permission denied", NULL, CAUSE_PERMISSION, BEFORE, NULL, true},
};

/* ---- the subject */

static const char *const quotes[] = {"'", "\"", "`", "\u2018", "\u2019"};

static size_t quote_at(const char *p, size_t n)
{
	for (size_t i = 0; i < countof(quotes); i++) {
		size_t length = strlen(quotes[i]);
		if (length <= n && memcmp(p, quotes[i], length) == 0)
			return length;
	}
	return 0;
}

static size_t quote_before(const char *p, size_t n)
{
	for (size_t i = 0; i < countof(quotes); i++) {
		size_t length = strlen(quotes[i]);
		if (length <= n && memcmp(p + n - length, quotes[i], length) == 0)
			return length;
	}
	return 0;
}

static bool is_any(char c, const char *of)
{
	return c && strchr(of, c);
}

/* Without what stands around it. */
static void set_subject(char to[256], const char *p, size_t n)
{
	size_t length;
	for (bool is_going = true; is_going && n;) {
		is_going = false;
		if ((length = quote_at(p, n)) || is_any(*p, " \t([")) {
			length = max(length, (size_t)1);
			p += length, n -= length;
			is_going = true;
		} else if ((length = quote_before(p, n)) || is_any(p[n - 1], " \t)]:,.;")) {
			n -= max(length, (size_t)1);
			is_going = true;
		}
	}
	snprintf(to, 256, "%.*s", (int)min(n, (size_t)255), p);
}

/* The last text in quotes, if the part ends with it or with some words behind ("cannot open 'x' for reading"). */
static bool last_quoted(const char *p, size_t n, char to[256])
{
	size_t end = n, length = 0;
	while (end && !(length = quote_before(p, end)))
		end--;
	if (!length)
		return false;
	end -= length;
	for (size_t at = end; at > 0; at--) {
		length = quote_before(p, at);
		/* An apostrophe ("can't open `x'") opens nothing. */
		bool opens = length && (at == length || !isalnum((unsigned char)p[at - length - 1]));
		if (opens) {
			set_subject(to, p + at, end - at);
			return *to != 0;
		}
	}
	return false;
}

/* Not a file, but what was done to one. */
static bool is_verb(const char *p, size_t n)
{
	static const char *const verbs[] = {"open",  "fopen",   "read",   "cannot read", "stat",  "access", "stream",
					    "file",  "execve",  "execvp", "exec",        "write", "error",  "failed",
					    "mkdir", "opendir", "unlink", "remove",      "rename"};
	for (size_t i = 0; i < countof(verbs); i++)
		if (n == strlen(verbs[i]) && strncasecmp(p, verbs[i], n) == 0)
			return true;
	return false;
}

/* "fopen(/x/y)": what is called with it. */
static void last_word(const char *p, size_t n, const char **word, size_t *length)
{
	size_t at = n;
	while (at && !is_any(p[at - 1], " \t"))
		at--;
	*word = p + at;
	*length = n - at;
	const char *open = memchr(*word, '(', *length);
	if (open && open > *word && p[n - 1] == ')') {
		*length = (size_t)(p + n - 1 - (open + 1));
		*word = open + 1;
	}
}

/* Of "a: b: cannot open FILE" the last part that names something. */
static void before(const char *line, size_t n, char to[256])
{
	*to = 0;
	while (n) {
		while (n && is_any(line[n - 1], " \t:("))
			n--;
		size_t at = n;
		while (at && !(line[at - 1] == ' ' && at > 1 && line[at - 2] == ':'))
			at--;
		if (last_quoted(line + at, n - at, to))
			return;
		const char *word;
		size_t length;
		last_word(line + at, n - at, &word, &length);
		/* A name alone at the beginning is the program's, unless it looks like a file's. */
		bool is_whole = !at && word == line && !memchr(word, '/', length) && !memchr(word, '.', length);
		if (length && !is_verb(word, length) && !is_whole) {
			set_subject(to, word, length);
			return;
		}
		n = at;
	}
}

/* ---- matching */

/* "env: " is not a part of "myenv: ". */
static const char *find(const char *line, const char *mark)
{
	const char *p = line;
	while ((p = strstr(p, mark))) {
		bool is_inside = islower((unsigned char)*mark) && p > line &&
				 (isalnum((unsigned char)p[-1]) || is_any(p[-1], "-_"));
		if (!is_inside)
			return p;
		p++;
	}
	return NULL;
}

static bool match(const struct pattern *p, const char *line, char subject[256])
{
	const char *at = find(line, p->mark);
	if (!at || (p->also && !strstr(line, p->also)))
		return false;
	const char *behind = at + strlen(p->mark);
	*subject = 0;
	if (p->place == BEHIND) {
		size_t skip = quote_at(behind, strlen(behind));
		size_t n = 0;
		/* What is in quotes ends with them. */
		if (skip)
			while (behind[skip + n] && !quote_at(behind + skip + n, strlen(behind + skip + n)))
				n++;
		else
			n = strcspn(behind, p->ends);
		set_subject(subject, behind + skip, n);
	} else if (p->place == BEFORE) {
		before(line, (size_t)(at - line), subject);
	} else if (p->place == LAST) {
		const char *word;
		size_t n;
		last_word(line, strlen(line), &word, &n);
		set_subject(subject, word, n);
	}
	return true;
}

/* "dash: 1: x: not found", and no other way of not being found. */
static bool is_dash(const char *line, char subject[256])
{
	size_t n = strlen(line), end = strlen(": not found");
	if (n <= end || !streq(line + n - end, ": not found"))
		return false;
	_free_ char *head = xstrndup(line, n - end);
	char *name = strrchr(head, ' ');
	if (!name || name - head < 3 || name[-1] != ':' || !isdigit((unsigned char)name[-2]))
		return false;
	set_subject(subject, name, strlen(name));
	return *subject != 0;
}

/* A shell's word of a child: "Killed", "line 1:  17 Killed   ./model". */
static bool has_ended_by(const char *line, const char *word)
{
	const char *p = strstr(line, word);
	if (!p)
		return false;
	const char *behind = p + strlen(word);
	bool is_end = !*behind || *behind == ' ' || *behind == '(';
	bool is_job = p - line > 2 && p[-1] == ' ' && isdigit((unsigned char)p[-2]);
	return is_end && (p == line ? !*behind || strstr(behind, "(core dumped)") != NULL : is_job);
}

static enum cause_kind of_line(const char *line, char subject[256], bool is_weak)
{
	static const struct {
		const char *word, *signal;
	} ends[] = {{"Killed", "KILL"},
		    {"Segmentation fault", "SEGV"},
		    {"Illegal instruction", "ILL"},
		    {"Bus error", "BUS"},
		    {"Aborted", "ABRT"},
		    {"Floating point exception", "FPE"}};
	for (size_t i = 0; i < countof(patterns); i++)
		if (patterns[i].is_weak == is_weak && match(&patterns[i], line, subject))
			return patterns[i].kind;
	if (!is_weak && is_dash(line, subject))
		return CAUSE_PROGRAM;
	for (size_t i = 0; i < countof(ends) && !is_weak; i++) {
		if (has_ended_by(line, ends[i].word)) {
			snprintf(subject, 256, "%s", ends[i].signal);
			return CAUSE_SIGNAL;
		}
	}
	return CAUSE_NONE;
}

enum cause_kind cause_said(const char *text, char subject[256])
{
	*subject = 0;
	for (int is_weak = 0; is_weak <= 1; is_weak++) {
		for (size_t n = strlen(text); n;) {
			size_t end = n;
			while (n && text[n - 1] != '\n')
				n--;
			_free_ char *line = xstrndup(text + n, end - n);
			line[strcspn(line, "\r")] = 0;
			enum cause_kind kind = of_line(line, subject, is_weak);
			if (kind)
				return kind;
			n -= n > 0;
		}
	}
	*subject = 0;
	return CAUSE_NONE;
}
