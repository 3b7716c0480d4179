/* SPDX-License-Identifier: Apache-2.0
 * vine doctor: what this machine lets a node do. */
#include "common/probe.h"
#include "common/service.h"
#include "tools/cmd.h"
#include "tools/json.h"

#define CONF_STRUCT doctor_options
#define CONF_FILE "tools/doctor.def"
#include "common/conf_struct.h"
#define CONF_STRUCT doctor_options
#define CONF_FILE "tools/doctor.def"
#include "common/conf_table.h"

const struct conf_table doctor_table = {
	.program = "vine doctor",
	.summary = "say what this machine can do for Vine, and what is missing",
	.usage = "",
	.at = doctor_options_table,
	.n = countof(doctor_options_table),
};

static const char *text_or(const char *text, const char *otherwise)
{
	return text && *text ? text : otherwise;
}

static void print_json(const struct probe_report *r)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_text(&j, "tier", probe_tier_name(r->tier));
	json_text(&j, "reason", r->reason);
	if (r->lift)
		json_text(&j, "lift", r->lift);
	json_number(&j, "cores", r->cores);
	json_number(&j, "memory", (int64_t)r->memory);
	json_begin(&j, "checks", '[');
	for (size_t i = 0; i < countof(r->at); i++) {
		const struct probe *p = &r->at[i];
		json_begin(&j, NULL, '{');
		json_text(&j, "name", p->name);
		json_bool(&j, "ok", p->is_ok);
		json_text(&j, "detail", p->detail);
		if (!p->is_ok) {
			json_text(&j, "cost", text_or(p->cost, ""));
			json_text(&j, "cure", text_or(p->cure, ""));
		}
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

static void print_text(const struct probe_report *r)
{
	int width = 0;
	assert(r->tier <= PROBE_TIER_VIEWS);
	char memory[32];
	for (size_t i = 0; i < countof(r->at); i++)
		width = max(width, (int)strlen(r->at[i].name));
	for (size_t i = 0; i < countof(r->at); i++) {
		const struct probe *p = &r->at[i];
		printf("%-*s  %s%-7s%s  %s\n", width, p->name, colour(p->is_ok ? COLOUR_GREEN : COLOUR_YELLOW),
		       p->is_ok ? "ok" : "missing", colour(COLOUR_NONE), p->detail);
		if (!p->is_ok && text_or(p->cost, NULL))
			printf("%-*s           costs: %s\n", width, "", p->cost);
		if (!p->is_ok && text_or(p->cure, NULL))
			printf("%-*s           cure:  %s\n", width, "", p->cure);
	}
	print_size(memory, r->memory);
	printf("\n%-*s  %u cores, %s of memory\n", width, "room", r->cores, memory);
	printf("%-*s  %s%s%s%s%s\n", width, "tier", colour(COLOUR_BOLD), probe_tier_name(r->tier), colour(COLOUR_NONE),
	       *r->reason ? ": " : "", r->reason);
	if (r->lift)
		printf("%-*s  %s\n", width, "to lift it", r->lift);
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor_options o = {0};
	int status, first = tool_options(&doctor_table, &o, argc, argv, &status);
	if (first >= 0 && first < argc) {
		status = tool_fail(&doctor_table, "'%s': takes no words", argv[first]);
	} else if (first >= 0) {
		struct probe_report r = {0};
		_free_ char *state = *o.state ? xstrdup(o.state) : service_state_path("node");
		probe_run(&r, state);
		o.json ? print_json(&r) : print_text(&r);
		status = tool_end(&doctor_table, 0);
	}
	conf_fini(&doctor_table, &o);
	return status;
}
