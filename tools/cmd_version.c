/* SPDX-License-Identifier: Apache-2.0
 * vine version */
#include "common/wire.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"

#define CONF_STRUCT version_options
#define CONF_FILE "tools/version.def"
#include "common/conf_struct.h"
#define CONF_STRUCT version_options
#define CONF_FILE "tools/version.def"
#include "common/conf_table.h"

const struct conf_table version_table = {
	.program = "vine version",
	.summary = "print the versions of the command and its protocol",
	.usage = "",
	.at = version_options_table,
	.n = countof(version_options_table),
};

int cmd_version(int argc, char **argv)
{
	struct version_options o = {0};
	int status, first = tool_options(&version_table, &o, argc, argv, &status);
	if (first >= 0 && o.json) {
		struct json j = {0};
		_free_ char *protocol = xasprintf("%u.%u", WIRE_MAJOR, WIRE_MINOR);
		json_begin(&j, NULL, '{');
		json_text(&j, "version", vine_version());
		json_text(&j, "protocol", protocol);
		json_end(&j, '}');
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else if (first >= 0) {
		printf("vine %s, protocol %u.%u\n", vine_version(), WIRE_MAJOR, WIRE_MINOR);
	}
	if (first >= 0)
		status = tool_end(&version_table, 0);
	conf_fini(&version_table, &o);
	return status;
}
