/* SPDX-License-Identifier: Apache-2.0
 * vine completion: scripts for shells, which ask it at each TAB what a word may become. */
#include "tools/cmd.h"
#include "tools/complete.h"

#define CONF_STRUCT completion_options
#define CONF_FILE "tools/completion.def"
#include "common/conf_struct.h"
#define CONF_STRUCT completion_options
#define CONF_FILE "tools/completion.def"
#include "common/conf_table.h"

const struct conf_table completion_table = {
	.program = "vine completion",
	.summary = "print a script that completes vine's words in a shell",
	.usage = "bash|zsh",
	.at = completion_options_table,
	.n = countof(completion_options_table),
};

/* The first line may be a mark: files, or commands, are words as well. */
static const char bash_script[] =
	"# Completion of vine in bash: source <(vine completion bash)\n"
	"_vine() {\n"
	"	local cur=${COMP_WORDS[COMP_CWORD]} mark= n\n"
	"	[[ $cur != [=:] ]] || cur=\n"
	"	mapfile -t COMPREPLY < <(\"$1\" completion --line=\"${COMP_LINE:0:COMP_POINT}\" "
	"--breaks=\"$COMP_WORDBREAKS\" 2>/dev/null)\n"
	"	case ${COMPREPLY[0]-} in\n"
	"	:*) mark=${COMPREPLY[0]} COMPREPLY=(\"${COMPREPLY[@]:1}\") ;;\n"
	"	esac\n"
	"	n=${#COMPREPLY[@]}\n"
	"	case $mark in\n"
	"	:commands) mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -c -f -- \"$cur\") ;;\n"
	"	:files) mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"	esac\n"
	"	# Files alone readline quotes itself; beside other words it would quote those as well.\n"
	"	if [[ $mark && $n = 0 ]]; then\n"
	"		compopt -o filenames 2>/dev/null\n"
	"	elif [[ $mark && ${#COMPREPLY[@]} -gt $n ]]; then\n"
	"		mapfile -t -O \"$n\" COMPREPLY < <(printf '%q\\n' \"${COMPREPLY[@]:n}\")\n"
	"	fi\n"
	"	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[:/@] ]] || compopt -o nospace 2>/dev/null\n"
	"}\n"
	"complete -F _vine vine\n";

static const char zsh_script[] =
	"#compdef vine\n"
	"# Completion of vine in zsh: install it as _vine in a directory of $fpath.\n"
	"_vine() {\n"
	"	local -a all\n"
	"	all=(\"${(@f)$(\"${words[1]}\" completion --line=\"${(j: :)${(@q)words[1,CURRENT-1]}} $PREFIX\" "
	"2>/dev/null)}\")\n"
	"	local mark=\n"
	"	[[ $all[1] == :* ]] && mark=$all[1] && shift all\n"
	"	[[ -n $all[1] ]] && compadd -- $all\n"
	"	[[ $mark == :commands ]] && _command_names -e\n"
	"	[[ -n $mark ]] && _files\n"
	"	return 0\n"
	"}\n"
	"_vine \"$@\"\n";

int cmd_completion(int argc, char **argv)
{
	struct completion_options o = {0};
	int status, n = tool_words(&completion_table, &o, argc, argv, &status);
	if (n == 0 && *o.line)
		complete_line(o.line, o.breaks, stdout);
	else if (n == 1 && streq(argv[1], "bash"))
		fputs(bash_script, stdout);
	else if (n == 1 && streq(argv[1], "zsh"))
		fputs(zsh_script, stdout);
	else if (n >= 0)
		status = tool_fail(&completion_table, "for which shell? Try: source <(vine completion bash)");
	if ((n == 0 && *o.line) || (n == 1 && (streq(argv[1], "bash") || streq(argv[1], "zsh"))))
		status = tool_end(&completion_table, 0);
	conf_fini(&completion_table, &o);
	return status;
}
