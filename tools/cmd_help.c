/* SPDX-License-Identifier: Apache-2.0
 * vine help, and the man page: both walk the table of commands. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/topic.h"

#define CONF_STRUCT help_options
#define CONF_FILE "tools/help.def"
#include "common/conf_struct.h"
#define CONF_STRUCT help_options
#define CONF_FILE "tools/help.def"
#include "common/conf_table.h"

const struct conf_table help_table = {
	.program = "vine help",
	.summary = "list the commands, or explain one, or a topic",
	.usage = "[WORD]",
	.at = help_options_table,
	.n = countof(help_options_table),
};

/* Words broken at 80 columns. */
static void print_wrapped(const char *text, int indent)
{
	int column = indent;
	printf("%*s", indent, "");
	while (*text) {
		int n = (int)strcspn(text, " ");
		if (column > indent && column + 1 + n > 80) {
			printf("\n%*s", indent, "");
			column = indent;
		}
		column += printf("%s%.*s", column > indent ? " " : "", n, text);
		text += n + strspn(text + n, " ");
	}
	printf("\n");
}

static void print_command(const struct command *c)
{
	conf_print_help(c->options, stdout);
	printf("\n");
	print_wrapped(c->about, 0);
}

/* ---- topics */

static char *foreign_name(const struct conf_foreign *f)
{
	const char *value = f->is_alone ? "" : "=...";
	return f->letter ? xasprintf("-%c, --%s%s", f->letter, f->name, value) : xasprintf("--%s%s", f->name, value);
}

static char *foreign_text(const struct conf_foreign *f)
{
	return f->means ? xasprintf("--%s", f->means) : xstrdup(f->instead ?: "understood");
}

static void print_topic(const struct topic *t)
{
	print_wrapped(t->about, 0);
	for (size_t i = 0; i < t->n; i++) {
		printf("\n  %s%s%s\n", colour(COLOUR_BOLD), t->items[i].name, colour(COLOUR_NONE));
		print_wrapped(t->items[i].text, 6);
	}
	for (const struct conf_foreign *f = t->foreign; f && f->name; f++) {
		_free_ char *name = foreign_name(f), *text = foreign_text(f);
		printf("\n  %s%s%s\n", colour(COLOUR_BOLD), name, colour(COLOUR_NONE));
		print_wrapped(text, 6);
	}
}

static void print_list(void)
{
	printf("Vine runs tasks on a cluster, near their data.\n\nUsage: vine COMMAND [OPTION ...] [WORD ...]\n\n");
	for (size_t i = 0; i < n_commands; i++)
		printf("  %s%-10s%s  %s\n", colour(COLOUR_BOLD), commands[i].name, colour(COLOUR_NONE),
		       commands[i].options->summary);
	printf("\n'vine help COMMAND' explains one; 'vine help WORD' also");
	for (size_t i = 0; i < n_topics; i++)
		printf("%s %s", i ? "," : "", topics[i].name);
	printf(".\nTry: vine doctor, vine run -- hostname\n");
	printf("VINE=NAME, /DIR or HOST:PORT chooses the cluster.\n");
}

/* Text as troff takes it: a backslash or a minus is not special, nor a dot at the start. */
static void put_roff(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

static void put_item(const char *name, const char *text)
{
	printf(".TP\n.B ");
	put_roff(name);
	printf("\n");
	put_roff(text);
	printf("\n");
}

static void put_topic(const struct topic *t)
{
	printf(".SH \"%s\"\n", t->heading);
	put_roff(t->about);
	printf("\n");
	for (size_t i = 0; i < t->n; i++)
		put_item(t->items[i].name, t->items[i].text);
	for (const struct conf_foreign *f = t->foreign; f && f->name; f++) {
		_free_ char *name = foreign_name(f), *text = foreign_text(f);
		put_item(name, text);
	}
}

static void print_man(void)
{
	printf(".TH VINE 1 \"\" \"vine %s\" \"Vine\"\n.SH NAME\nvine \\- run tasks on a cluster, near their data\n",
	       vine_version());
	printf(".SH SYNOPSIS\n.B vine\n.I COMMAND\n[\\fIOPTION\\fR ...] [\\fIWORD\\fR ...]\n.SH DESCRIPTION\n");
	put_roff("The command of Vine's users. Tasks are given to vined(8), the cluster's scheduler, which runs them "
		 "on nodes, each with "
		 "its vinefs(8).");
	printf("\n.SH COMMANDS\n");
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		printf(".SS \"vine %s [OPTION ...] %s\"\n", c->name, c->options->usage);
		put_roff(c->about);
		printf("\n");
		conf_print_man(c->options, stdout);
	}
	for (size_t i = 0; i < n_topics; i++)
		put_topic(&topics[i]);
	printf(".SH SEE ALSO\n");
	for (size_t i = 0; i < n_commands; i++)
		printf(".BR vine\\-%s (1),\n", commands[i].name);
	printf(".BR vined (8),\n.BR vinefs (8)\n");
}

static const struct topic *find_topic(const char *word)
{
	for (size_t i = 0; i < n_topics; i++) {
		if (streq(topics[i].name, word))
			return &topics[i];
	}
	return NULL;
}

/* vine-CMD(1). */
static void print_man_of(const struct command *c)
{
	printf(".TH \"VINE\\-");
	for (const char *p = c->name; *p; p++)
		putchar(*p - 'a' + 'A');
	printf("\" 1 \"\" \"vine %s\" \"Vine\"\n.SH NAME\nvine\\-%s \\- ", vine_version(), c->name);
	put_roff(c->options->summary);
	printf("\n.SH SYNOPSIS\n.B vine %s\n[\\fIOPTION\\fR ...] ", c->name);
	put_roff(c->options->usage);
	printf("\n.SH DESCRIPTION\n");
	put_roff(c->about);
	printf("\n.SH OPTIONS\n");
	conf_print_man(c->options, stdout);
	printf(".TP\n\\fB\\-h, \\-\\-help\\fR\nprint this in short\n");
	put_topic(find_topic("exit"));
	const struct topic *sbatch = find_topic("sbatch");
	if (c->options->foreign == sbatch->foreign)
		put_topic(sbatch);
	printf(".SH SEE ALSO\n.BR vine (1)\n");
}

static int help_on(const char *word)
{
	const char *nearest;
	const struct topic *t = find_topic(word);
	const struct command *c = command_find(word, &nearest);
	for (size_t i = 0; i < n_topics && !nearest; i++)
		nearest = tool_distance(word, topics[i].name) < 3 ? topics[i].name : NULL;
	if (!c && !t && nearest)
		return tool_fail(&help_table, "there is no command and no topic '%s'; did you mean '%s'?", word,
				 nearest);
	if (!c && !t)
		return tool_fail(&help_table, "there is no command and no topic '%s'; 'vine help' lists them", word);
	if (c)
		print_command(c);
	else
		print_topic(t);
	return tool_end(&help_table, 0);
}

/* vine(1), or of a command vine-CMD(1). */
static int man_of(const char *word)
{
	const char *nearest;
	const struct command *c = word ? command_find(word, &nearest) : NULL;
	if (word && !c)
		return tool_fail(&help_table, "there is no command '%s'", word);
	if (c)
		print_man_of(c);
	else
		print_man();
	return tool_end(&help_table, 0);
}

static int list_names(void)
{
	for (size_t i = 0; i < n_commands; i++)
		printf("%s\n", commands[i].name);
	return tool_end(&help_table, 0);
}

int cmd_help(int argc, char **argv)
{
	struct help_options o = {0};
	struct conf_error e;
	conf_preset(&help_table, &o);
	int status, first = conf_read_args(&help_table, &o, argc, argv, &e);
	if (first == -ENOTSUP && streq(e.text, "man")) {
		const char *last = argv[argc - 1];
		status = man_of(argc > 1 && *last != '-' ? last : NULL);
	} else if (first == -ENOTSUP && streq(e.text, "version")) {
		status = cmd_version(1, argv);
	} else if (first == -ENOTSUP) {
		status = help_on("help");
	} else if (first < 0) {
		status = tool_fail(&help_table, "%s", e.text);
	} else if (o.names) {
		status = list_names();
	} else if (first < argc) {
		status = help_on(argv[first]);
	} else {
		print_list();
		for (size_t i = 0; i < n_commands && o.all; i++) {
			printf("\n");
			print_command(&commands[i]);
		}
		status = tool_end(&help_table, 0);
	}
	conf_fini(&help_table, &o);
	return status;
}
