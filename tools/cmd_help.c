/* SPDX-License-Identifier: Apache-2.0
 * vine help, and the man page: both walk the table of commands. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"

#define CONF_STRUCT help_options
#define CONF_FILE "tools/help.def"
#include "common/conf_struct.h"
#define CONF_STRUCT help_options
#define CONF_FILE "tools/help.def"
#include "common/conf_table.h"

const struct conf_table help_table = {
	.program = "vine help",
	.summary = "list the commands, or explain one",
	.usage = "[WORD]",
	.at = help_options_table,
	.n = countof(help_options_table),
};

static const struct {
	const char *name, *text;
} environment[] = {
	{"VINE", "the cluster: a NAME (its directory is ~/.local/state/vine/NAME), the /path of such a directory, or "
		 "HOST:PORT of its "
		 "vined; default: the cluster named default"},
	{"VINE_SECRET", "with HOST:PORT: the file that holds the cluster's secret; default: the default cluster's"},
	{"NO_COLOR", "if it is not empty, no colours are printed"},
};

static const struct {
	const char *status, *text;
} statuses[] = {
	{"0", "success; of run and mount with a command: the command's"},
	{"125", "Vine failed; one line on standard error says why"},
	{"126", "of these: the command cannot be executed"},
	{"127", "of these: the command is not found"},
	{"128+N", "of these: signal N ended the command"},
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

static void print_list(void)
{
	printf("Vine runs tasks on a cluster, near their data.\n\nUsage: vine COMMAND [OPTION ...] [WORD ...]\n\n");
	for (size_t i = 0; i < n_commands; i++)
		printf("  %s%-8s%s  %s\n", colour(COLOUR_BOLD), commands[i].name, colour(COLOUR_NONE),
		       commands[i].options->summary);
	printf("\n'vine help COMMAND' explains one. Try: vine doctor, vine run -- hostname\n");
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
	printf(".SH ENVIRONMENT\n");
	for (size_t i = 0; i < countof(environment); i++)
		put_item(environment[i].name, environment[i].text);
	printf(".SH EXIT STATUS\n");
	for (size_t i = 0; i < countof(statuses); i++)
		put_item(statuses[i].status, statuses[i].text);
	printf(".SH SEE ALSO\n.BR vined (8),\n.BR vinefs (8)\n");
}

static int help_on(const char *word)
{
	const char *nearest;
	const struct command *c = command_find(word, &nearest);
	if (!c && nearest)
		return tool_fail(&help_table, "there is no command '%s'; did you mean '%s'?", word, nearest);
	if (!c)
		return tool_fail(&help_table, "there is no command '%s'; 'vine help' lists them", word);
	print_command(c);
	return tool_end(&help_table, 0);
}

int cmd_help(int argc, char **argv)
{
	struct help_options o = {0};
	struct conf_error e;
	conf_preset(&help_table, &o);
	int status, first = conf_read_args(&help_table, &o, argc, argv, &e);
	if (first == -ENOTSUP && streq(e.text, "man")) {
		print_man();
		status = tool_end(&help_table, 0);
	} else if (first == -ENOTSUP && streq(e.text, "version")) {
		status = cmd_version(1, argv);
	} else if (first == -ENOTSUP) {
		status = help_on("help");
	} else if (first < 0) {
		status = tool_fail(&help_table, "%s", e.text);
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
