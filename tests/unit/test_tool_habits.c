/* SPDX-License-Identifier: Apache-2.0
 * What fingers know from sbatch. */
#include "tests/unit/unit.h"
#include "tools/job.h"

#include <stdarg.h>

const char *const job_send_words[] = {"auto", "yes", "no", NULL};
#define CONF_STRUCT job_options
#define CONF_FILE "tools/submit.def"
#include "common/conf_table.h"

static const struct conf_table table = {
	.program = "t", .usage = "", .at = job_options_table, .n = countof(job_options_table), .foreign = job_foreign};

static char said[600];

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(said, sizeof said, fmt, args);
	va_end(args);
	(void)t;
	return EXIT_VINE_FAILED;
}

/* What the words set, or "error: ...". */
static void read_words(struct job_options *o, char *const words[], char error[512])
{
	struct conf_error e = {""};
	char *argv[8] = {(char *)(uintptr_t) "t"};
	int argc = 1;
	for (; argc < 8 && words[argc - 1]; argc++)
		argv[argc] = words[argc - 1];
	conf_preset(&table, o);
	int r = conf_read_args(&table, o, argc, argv, &e);
	ASSERT(r == argc || r == -EINVAL);
	snprintf(error, 512, "%s", e.text);
}

#define WORDS(...) ((char *const[]){__VA_ARGS__, NULL})

TEST(each_of_them_leads_to_a_setting_or_says_what_to_do)
{
	for (const struct conf_foreign *f = job_foreign; f->name; f++) {
		ASSERT_EQ((f->means != NULL) + (f->take != NULL) + (f->instead != NULL), 1);
		bool is_there = !f->means;
		for (size_t i = 0; i < table.n; i++) {
			ASSERT(!streq(table.at[i].name, f->name));
			ASSERT(!f->letter || table.at[i].letter != f->letter);
			_free_ char *name = xstrdup(table.at[i].name);
			for (char *p = name; *p; p++)
				*p = *p == '_' ? '-' : *p;
			is_there |= f->means && streq(name, f->means);
		}
		ASSERT(is_there);
		ASSERT(!f[1].name || strcmp(f->name, f[1].name) < 0);
	}
}

TEST(what_means_the_same_is_taken)
{
	struct job_options o = {0};
	char error[512];
	read_words(&o, WORDS("--cpus-per-task=2", "--job-name", "x", "--gres=gpu:a100:3", "--constraint=a&b", "-n1"),
		   error);
	ASSERT_STR(error, "");
	ASSERT_STR(o.cores, "2");
	ASSERT_STR(o.name, "x");
	ASSERT_STR(o.gpus, "3");
	ASSERT_STR(o.feature, "a,b");
	conf_fini(&table, &o);
	o = (struct job_options){0};
	read_words(&o, WORDS("--export=A=1,B", "-D", "/x", "--time=1:30:00"), error);
	ASSERT_STR(error, "");
	ASSERT_EQ(o.env.n, 2);
	ASSERT_STR(o.env.at[0], "A=1");
	ASSERT(o.clean_env);
	ASSERT_STR(o.chdir, "/x");
	ASSERT_STR(o.wall_time, "1:30:00");
	conf_fini(&table, &o);
	o = (struct job_options){0};
	read_words(&o, WORDS("--export=ALL,A=1", "--gres=gpu"), error);
	ASSERT(!o.clean_env && o.env.n == 1);
	ASSERT_STR(o.gpus, "1");
	conf_fini(&table, &o);
}

TEST(what_means_something_else_is_answered)
{
	static const struct {
		const char *word, *says;
	} cases[] = {
		{"--time=30", "30m or 30s"},         {"-n4", "--cores N"},
		{"--partition=x", "--feature WORD"}, {"--dependency=afterok:1", "temp:NAME"},
		{"--gres=fpga:1", "--gpus N"},       {"--error=x", "vine logs"},
		{"--constraint=a|b", "--feature"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct job_options o = {0};
		char error[512];
		read_words(&o, WORDS((char *)(uintptr_t)cases[i].word), error);
		ASSERT(strstr(error, cases[i].says));
		conf_fini(&table, &o);
	}
	struct job_options o = {0};
	char error[512];
	read_words(&o, WORDS("-o", "slurm-%j.out"), error);
	ASSERT_EQ(job_check_habits(&table, &o), EXIT_VINE_FAILED);
	ASSERT(strstr(said, "vine logs"));
	conf_fini(&table, &o);
	o = (struct job_options){0};
	read_words(&o, WORDS("--mem=4000"), error);
	ASSERT_EQ(job_check_habits(&table, &o), EXIT_VINE_FAILED);
	ASSERT(strstr(said, "4000M"));
	conf_fini(&table, &o);
}

TEST(times_of_a_clock_are_understood_and_others_left_alone)
{
	static const struct {
		const char *text;
		uint64_t sec;
	} cases[] = {{"1:30:00", 5400}, {"90:00", 5400}, {"2-12", 216000}, {"1-1:30", 91800}, {"0-0:0:5", 5}};
	static const char *const none[] = {"", "30", "1h30m", "1:", ":1", "1:2:3:4", "1-", "-1", "1:x", "1-2-3"};
	uint64_t sec;
	for (size_t i = 0; i < countof(cases); i++) {
		ASSERT_EQ(job_clock_time(cases[i].text, &sec), 0);
		ASSERT_EQ(sec, cases[i].sec);
	}
	for (size_t i = 0; i < countof(none); i++)
		ASSERT_EQ(job_clock_time(none[i], &sec), -EINVAL);
}
