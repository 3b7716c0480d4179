/* SPDX-License-Identifier: Apache-2.0
 * What programs say when they fail, as they said it, and what is made of it. */
#include "tests/unit/unit.h"
#include "tools/cause.h"

#include <signal.h>
#include <stdio.h>

static const struct {
	const char *said;
	enum cause_kind kind;
	const char *subject;
} said[] = {
	/* ld.so */
	{"./m: error while loading shared libraries: libf.so.1: cannot open shared object file: No such file or "
	 "directory\n",
	 CAUSE_LIBRARY, "libf.so.1"},
	{"OSError: libfoo.so.1: cannot open shared object file: No such file or directory", CAUSE_LIBRARY,
	 "libfoo.so.1"},
	{"./a: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by ./a)", CAUSE_VERSION,
	 "GLIBC_2.38"},
	{"./a: symbol lookup error: ./a: undefined symbol: H5Fopen_v2", CAUSE_VERSION, "H5Fopen_v2"},
	/* Python */
	{"Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\nModuleNotFoundError: No module "
	 "named "
	 "'numpyx'\n",
	 CAUSE_MODULE, "numpyx"},
	{"/usr/bin/python3: No module named pip", CAUSE_MODULE, "pip"},
	{"ImportError: cannot import name 'nosuch' from 'os' (/usr/lib/python3.11/os.py)", CAUSE_MODULE, "nosuch"},
	{"FileNotFoundError: [Errno 2] No such file or directory: 'in.txt'", CAUSE_FILE, "in.txt"},
	{"FileNotFoundError: [Errno 2] No such file or directory: '/data/a b: c.txt'", CAUSE_FILE, "/data/a b: c.txt"},
	{"/usr/bin/python3: can't open file '/tmp/nosuch.py': [Errno 2] No such file or directory", CAUSE_FILE,
	 "/tmp/nosuch.py"},
	{"PermissionError: [Errno 13] Permission denied: '/out.txt'", CAUSE_PERMISSION, "/out.txt"},
	{"OSError: [Errno 30] Read-only file system: '/data/x'", CAUSE_READ_ONLY, "/data/x"},
	{"OSError: [Errno 28] No space left on device", CAUSE_DISK, ""},
	{"MemoryError", CAUSE_MEMORY, ""},
	{"numpy.core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array with shape (100000, "
	 "100000)",
	 CAUSE_MEMORY, ""},
	{"RuntimeError: can't start new thread", CAUSE_PROCESSES, ""},
	{"EOFError: EOF when reading a line", CAUSE_STDIN, ""},
	/* shells */
	{"bash: line 1: ./nosuch: No such file or directory", CAUSE_FILE, "./nosuch"},
	{"bash: line 1: nosuchcmd: command not found", CAUSE_PROGRAM, "nosuchcmd"},
	{"zsh:1: command not found: nosuchcmd", CAUSE_PROGRAM, "nosuchcmd"},
	{"dash: 1: nosuchcmd: not found", CAUSE_PROGRAM, "nosuchcmd"},
	{"/tmp/job.sh: 12: module: not found", CAUSE_PROGRAM, "module"},
	{"dash: 0: cannot open nosuch.sh: No such file", CAUSE_FILE, "nosuch.sh"},
	{"bash: line 1: cd: /nosuch: No such file or directory", CAUSE_FILE, "/nosuch"},
	{"dash: 1: cd: can't cd to /nosuch", CAUSE_FILE, "/nosuch"},
	{"dash: 1: cannot create /nosuch/x: Directory nonexistent", CAUSE_FILE, "/nosuch/x"},
	{"bash: line 1: ./notexec: Permission denied", CAUSE_PERMISSION, "./notexec"},
	{"bash: line 1: ./bad: cannot execute binary file: Exec format error", CAUSE_FORMAT, "./bad"},
	{"dash: 1: ./bad: Exec format error", CAUSE_FORMAT, "./bad"},
	{"bash: line 1: ./bi: cannot execute: required file not found", CAUSE_INTERPRETER, "./bi"},
	{"bash: ./bi: /nosuch/python: bad interpreter: No such file or directory", CAUSE_INTERPRETER, "/nosuch/python"},
	{"/usr/bin/env: 'nosuchpy': No such file or directory", CAUSE_PROGRAM, "nosuchpy"},
	{"env: \u2018nosuchcmd\u2019: No such file or directory", CAUSE_PROGRAM, "nosuchcmd"},
	{"bash: line 1:  1143 Segmentation fault      bash -c \"kill -SEGV $$\"", CAUSE_SIGNAL, "SEGV"},
	{"bash: line 1:  1179 Killed                  ./model", CAUSE_SIGNAL, "KILL"},
	{"Segmentation fault (core dumped)", CAUSE_SIGNAL, "SEGV"},
	{"bash: fork: retry: Resource temporarily unavailable", CAUSE_PROCESSES, ""},
	{"bash: line 1: echo: write error: No space left on device", CAUSE_DISK, ""},
	/* tools */
	{"cat: in.txt: No such file or directory", CAUSE_FILE, "in.txt"},
	{"cat: in: No such file or directory", CAUSE_FILE, "in"},
	{"ls: cannot access 'a b': No such file or directory", CAUSE_FILE, "a b"},
	{"head: cannot open 'in.txt' for reading: No such file or directory", CAUSE_FILE, "in.txt"},
	{"sort: cannot read: in.txt: No such file or directory", CAUSE_FILE, "in.txt"},
	{"sed: can't read in.txt: No such file or directory", CAUSE_FILE, "in.txt"},
	{"mawk: cannot open in.txt (No such file or directory)", CAUSE_FILE, "in.txt"},
	{"tar: nosuch.tar: Cannot open: No such file or directory\ntar: Error is not recoverable: exiting now",
	 CAUSE_FILE, "nosuch.tar"},
	{"make: *** No rule to make target 'nosuch'.  Stop.", CAUSE_FILE, "nosuch"},
	{"make: *** No rule to make target 'a.c', needed by 'a.o'.  Stop.", CAUSE_FILE, "a.c"},
	{"a.c:1:10: fatal error: nosuch.h: No such file or directory\n    1 | #include <nosuch.h>\ncompilation "
	 "terminated.",
	 CAUSE_FILE, "nosuch.h"},
	{"fatal: cannot change to 'nosuch': No such file or directory", CAUSE_FILE, "nosuch"},
	{"dd: error writing '/dev/full': No space left on device\n1+0 records in\n0+0 records out", CAUSE_DISK, ""},
	{"touch: cannot touch '/in/x': Read-only file system", CAUSE_READ_ONLY, "/in/x"},
	{"cat: in: Input/output error", CAUSE_IO, "in"},
	{"curl: (6) Could not resolve host: nosuch.invalid", CAUSE_NETWORK, "nosuch.invalid"},
	/* C programs' perror(), with what they opened and without */
	{"fopen: No such file or directory", CAUSE_FILE, ""},
	{"open input.dat: No such file or directory", CAUSE_FILE, "input.dat"},
	{"params.nml: No such file or directory", CAUSE_FILE, "params.nml"},
	{"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n", CAUSE_MEMORY,
	 ""},
	/* others */
	{"Can't open perl script \"nosuch.pl\": No such file or directory", CAUSE_FILE, "nosuch.pl"},
	{"Can't locate Foo/Bar.pm in @INC (you may need to install the Foo::Bar module) (@INC contains: /etc/perl) at "
	 "-e line "
	 "1.\nBEGIN failed--compilation aborted at -e line 1.",
	 CAUSE_MODULE, "Foo/Bar.pm"},
	{"Out of memory!\npanic: fold_constants JMPENV_PUSH returned 2 at -e line 1.", CAUSE_MEMORY, ""},
	{"Error: Unable to access jarfile nosuch.jar", CAUSE_FILE, "nosuch.jar"},
	{"Error: Could not find or load main class NoSuch\nCaused by: java.lang.ClassNotFoundException: NoSuch",
	 CAUSE_MODULE, "NoSuch"},
	{"java.io.FileNotFoundException: in.txt (No such file or directory)", CAUSE_FILE, "in.txt"},
	{"Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space", CAUSE_MEMORY, ""},
	{"java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory", CAUSE_PROCESSES, ""},
	{"Error: Cannot find module 'leftpadx'\nRequire stack:\n- /x/[eval]\n    at Module._resolveFilename",
	 CAUSE_MODULE, "leftpadx"},
	{"Error: ENOENT: no such file or directory, open 'in.txt'\n    at Object.openSync (node:fs:596:3)", CAUSE_FILE,
	 "in.txt"},
	{"FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb76ed0",
	 CAUSE_MEMORY, ""},
	{"couldn't read file \"nosuch.tcl\": no such file or directory", CAUSE_FILE, "nosuch.tcl"},
	{"stat nosuch.go: no such file or directory", CAUSE_FILE, "nosuch.go"},
	{"error: couldn't read `nosuch.rs`: No such file or directory (os error 2)", CAUSE_FILE, "nosuch.rs"},
	{"Error: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }", CAUSE_FILE, ""},
	{"Error in library(ggplot2) : there is no package called \u2018ggplot2\u2019\nExecution halted", CAUSE_MODULE,
	 "ggplot2"},
	{"In file(file, \"rt\") :\n  cannot open file 'in.csv': No such file or directory\nExecution halted",
	 CAUSE_FILE, "in.csv"},
	{"Error: cannot allocate vector of size 7.5 Gb", CAUSE_MEMORY, ""},
	{"At line 3 of file t.f90 (unit = 10)\nFortran runtime error: Cannot open file 'params.in': No such file or "
	 "directory\n\nError termination. Backtrace:\n#0  0x7f",
	 CAUSE_FILE, "params.in"},
	{"Fortran runtime error: File 'params.in' does not exist", CAUSE_FILE, "params.in"},
	{"forrtl: severe (29): file not found, unit 10, file /scratch/params.in", CAUSE_FILE, "/scratch/params.in"},
	{"OSError: Unable to open file (unable to open file: name = 'x.h5', errno = 2, error message = 'No such file "
	 "or "
	 "directory', flags = 0)",
	 CAUSE_FILE, "x.h5"},
	{"There are not enough slots available in the system to satisfy the 4\nslots that were requested by the "
	 "application:",
	 CAUSE_SLOTS, ""},
	{"torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB", CAUSE_GPU, ""},
	{"qt.qpa.xcb: could not connect to display", CAUSE_DISPLAY, ""},
	/* The strong word counts, wherever it is. */
	{"MemoryError\nrm: cannot remove 'x': No such file or directory", CAUSE_MEMORY, ""},
};

/* What looks like one of these and is none. */
static const char *const others[] = {
	"",
	"assertion failed: 3 == 4",
	"Killed 5 zombies",
	"all tests: 404 not found",
	"the page was not found",
	"psycopg2.errors.UndefinedTable: relation \"a.b\" does not exist",
	"ValueError: could not convert string to float: 'a'",
	"Exception in thread \"main\" java.lang.NullPointerException",
	"KeyError: 'No such key'",
	"Aborted: the user asked for it",
	"Segmentation faults are handled",
};

TEST(what_programs_say_is_known_with_its_subject)
{
	char subject[256];
	for (size_t i = 0; i < countof(said); i++) {
		enum cause_kind kind = cause_said(said[i].said, subject);
		if (kind != said[i].kind || !streq(subject, said[i].subject))
			printf("%s\n is '%s' of '%s'\n", said[i].said, cause_word(kind), subject);
		ASSERT_EQ(kind, said[i].kind);
		ASSERT_STR(subject, said[i].subject);
	}
}

TEST(what_is_none_of_these_is_not_taken_for_one)
{
	char subject[256];
	for (size_t i = 0; i < countof(others); i++) {
		ASSERT_STR(cause_word(cause_said(others[i], subject)), "");
		ASSERT_STR(subject, "");
	}
}

/* ---- sentences */

static bool is_here(void *arg, const char *path)
{
	return streq(path, arg);
}

static const struct {
	struct cause_facts facts;
	const char *here, *what, *next;
} cases[] = {
	{{.how = "exited", .status = 1, .said = "cat: in.txt: No such file or directory"},
	 "in.txt",
	 "in.txt is here, but not where it ran",
	 "add -i in.txt"},
	{{.how = "exited", .status = 1, .said = "cat: /data/in: No such file or directory"},
	 "",
	 "/data/in is not there, nor here",
	 "check the name; what a task reads is brought by -i"},
	{{.how = "exited",
	  .status = 2,
	  .said = "python3: can't open file '/var/vine/s/12/cwd/a b.py': [Errno 2] No such file"},
	 "a b.py",
	 "a b.py is here, but not where it ran",
	 "add -i 'a b.py'"},
	{{.how = "exited",
	  .status = 127,
	  .program = "./bin/m",
	  .said = "./bin/m: error while loading shared libraries: libf.so.1: cannot open shared object file: No such "
		  "file"},
	 "./bin/../lib/libf.so.1",
	 "the shared library libf.so.1 is here, but not where it ran",
	 "add -i ./bin/../lib -e LD_LIBRARY_PATH=./bin/../lib"},
	{{.how = "exited",
	  .status = 127,
	  .program = "m",
	  .library_path = "/opt/x:/opt/lib",
	  .said = "m: error while loading shared libraries: libf.so.1: cannot open shared object file: No such file"},
	 "/opt/lib/libf.so.1",
	 "the shared library libf.so.1 is here, but not where it ran",
	 "add -i /opt/lib -e LD_LIBRARY_PATH=/opt/lib"},
	{{.how = "exited", .status = 1, .said = "ModuleNotFoundError: No module named 'helpers.io'"},
	 "helpers.py",
	 "the module helpers.io is here, but not where it ran",
	 "add -i helpers.py"},
	{{.how = "killed",
	  .status = SIGKILL,
	  .limit = "memory",
	  .memory = UINT64_C(2) << 30,
	  .peak_memory = UINT64_C(2) << 30},
	 "",
	 "it had used up its memory, 2G",
	 "give it more: --mem 4G"},
	{{.how = "killed",
	  .status = SIGKILL,
	  .limit = "memory",
	  .memory = UINT64_C(20) << 20,
	  .said = "cat: x: No such file"},
	 "",
	 "it had used up its memory, 20M",
	 "give it more: --mem 40M"},
	{{.how = "killed", .status = SIGTERM, .limit = "wall-time", .wall_usec = 90000000},
	 "",
	 "it ran longer than it may, 90 s",
	 "give it longer: -t 180s"},
	{{.how = "killed", .status = SIGTERM, .limit = "wall-time", .wall_usec = 3600000000},
	 "",
	 "it ran longer than it may, 60 min",
	 "give it longer: -t 120m"},
	{{.how = "killed", .status = SIGSEGV},
	 "",
	 "signal 11 (SIGSEGV): it read or wrote where nothing is: a fault of the program",
	 ""},
	{{.how = "exited", .status = 139},
	 "",
	 "signal 11 (SIGSEGV): it read or wrote where nothing is: a fault of the program",
	 ""},
	{{.how = "not started", .status = ENOENT, .reason = "exec pyhton: No such file or directory"},
	 "",
	 "there is no program pyhton",
	 "check the name; if only some machines have it, bring it by -i, or ask for them by --feature"},
	{{.how = "not-started", .status = EACCES, .reason = "exec ./model: Permission denied", .program = "./model"},
	 "",
	 "./model may not be executed",
	 "chmod +x ./model, or name its interpreter: sh ./model"},
	{{.how = "not started",
	  .status = ENOENT,
	  .reason = "exec ./m: No such file or directory (its first line names /nosuch/python, which is not there)"},
	 "",
	 "the interpreter of a script, or of a program, is not there: /nosuch/python",
	 "its first line names it: bring that by -i, or call it as sh SCRIPT, python3 SCRIPT"},
	{{.how = "not started", .status = ENOENT, .reason = "exec ./m: No such file or directory"},
	 "./m",
	 "the interpreter of a script, or of a program, is not there: ./m",
	 "its first line names it: bring that by -i, or call it as sh SCRIPT, python3 SCRIPT"},
	{{.how = "not started", .status = ENOENT, .reason = "directory /nosuch: No such file or directory"},
	 "",
	 "the directory that it was to run in is not there",
	 "-C names a directory of the node; without it a task has one of its own"},
	{{.how = "not started", .status = ENOENT, .reason = "input /panfs/x.cfg: No such file or directory"},
	 "/panfs/x.cfg",
	 "an input of it could not be had",
	 "/panfs/x.cfg is here, but not there: -i client:/panfs/x.cfg sends it"},
	{{.how = "exited", .status = 3, .said = "3 of 4 checks failed"}, "", "", ""},
	{{.how = "exited", .status = 3}, "", "", ""},
};

TEST(a_cause_is_one_sentence_and_the_next_thing_to_type)
{
	for (size_t i = 0; i < countof(cases); i++) {
		struct cause c;
		struct cause_facts f = cases[i].facts;
		f.is_here = is_here;
		f.arg = (void *)(uintptr_t)cases[i].here;
		cause_find(&f, &c);
		ASSERT_STR(c.what, cases[i].what);
		ASSERT_STR(c.next, cases[i].next);
	}
}

TEST(nothing_that_a_shell_obeys_is_told_to_be_typed)
{
	static const char *const odd[] = {
		"bash: line 1: ./x$(touch${IFS}y)z: Permission denied",
		"OSError: [Errno 30] Read-only file system: 'a;touch y'",
		("m: error while loading shared libraries: /l/lib`touch`y.so: cannot open shared object file: No such "
		 "file or directory"),
		"ls: cannot access 'a$(touch y)b': No such file or directory",
	};
	for (size_t i = 0; i < countof(odd); i++) {
		struct cause c;
		const char *touch = strstr(odd[i], "touch");
		cause_find(&(struct cause_facts){.how = "exited", .status = 1, .said = odd[i]}, &c);
		ASSERT(touch && c.kind != CAUSE_NONE);
		ASSERT(*c.next && !strstr(c.next, "touch"));
	}
}

TEST(no_text_however_odd_is_too_much)
{
	static const char odd[] =
		"'\": (No such file or directory\n: No such file or directory\r\n\xe2\x80: '''': Permission denied";
	char text[5000], subject[256];
	for (size_t i = 0; i < sizeof odd; i++)
		for (size_t n = 0; i + n < sizeof odd; n++) {
			snprintf(text, sizeof text, "%.*s", (int)n, odd + i);
			cause_said(text, subject);
			ASSERT(strlen(subject) < sizeof subject);
		}
	memset(text, 'x', sizeof text);
	memcpy(text, "a: ", 3);
	snprintf(text + 4000, sizeof text - 4000, ": No such file or directory");
	ASSERT_EQ(cause_said(text, subject), CAUSE_FILE);
	ASSERT_EQ(strlen(subject), 255);
}
