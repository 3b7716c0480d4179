// SPDX-License-Identifier: Apache-2.0
// What a report adds up, and its page: well-formed, everything from outside escaped, small whatever it is about.
#include "tests/unit/report_world.h"
#include "tools/report_svg.h"

#include <ctype.h>

static struct report r;

static void begin(void)
{
	report_init(&r, "sweep", NOW);
}

static char *page(void)
{
	struct buf b = {0};
	report_html(&r, &b);
	return buf_steal_text(&b);
}

// ---- a small checker of tags

static bool is_void(const char *name)
{
	return streq(name, "meta") || streq(name, "br") || streq(name, "!DOCTYPE");
}

// Every element is closed in order, attributes are quoted, text has no bare & or <. Returns how many elements there are, -1 if it is not so.
static int check_page(const char *p)
{
	static char open[64][24];
	int depth = 0, n = 0;
	while (*p) {
		if (*p == '&') {
			size_t k = strspn(p + 1, "#abcdefghijklmnopqrstuvwxyz0123456789");
			if (!k || p[1 + k] != ';')
				return -1;
		}
		if (*p != '<') {
			p++;
			continue;
		}
		bool is_end = p[1] == '/';
		p += 1 + is_end;
		char name[24] = "";
		for (size_t k = 0; k < sizeof name - 1 && (isalnum((unsigned char)*p) || *p == '!'); k++)
			name[k] = *p++;
		if (!*name)
			return -1;
		bool is_alone = false;
		for (; *p != '>'; p++) {
			if (*p == '"' && !(p = strchr(p + 1, '"')))
				return -1;
			if (!*p || *p == '<')
				return -1;
			is_alone = *p == '/';
		}
		p++;
		if (is_end) {
			if (!depth || !streq(open[--depth], name))
				return -1;
			continue;
		}
		n++;
		if (is_alone || is_void(name))
			continue;
		if (depth == 64)
			return -1;
		memcpy(open[depth++], name, sizeof name);
		/* Their text is not markup. */
		if (streq(name, "style") || streq(name, "script"))
			p = strstr(p, streq(name, "style") ? "</style>" : "</script>");
	}
	return depth ? -1 : n;
}

TEST(the_checker_of_pages_sees_what_is_wrong)
{
	ASSERT_EQ(check_page("<!DOCTYPE html><p a=\"b\">x &amp; y<br></p><rect x=\"1\"/>"), 4);
	ASSERT_EQ(check_page("<p><b>x</p></b>"), -1);
	ASSERT_EQ(check_page("<p>x"), -1);
	ASSERT_EQ(check_page("a & b"), -1);
	ASSERT_EQ(check_page("<p a=\"x>y</p>"), -1);
	ASSERT_EQ(check_page("a < b"), -1);
}

// ---- sums

TEST(states_are_counted_as_status_counts_them)
{
	static const struct {
		const char *state, *how;
		uint64_t status;
		enum report_state is;
	} cases[] = {
		{"queued", "", 0, REPORT_WAITING},
		{"running", "", 0, REPORT_RUNNING},
		{"held", "", 0, REPORT_HELD},
		{"ended", "exited", 0, REPORT_DONE},
		{"delivered", "exited", 0, REPORT_DONE},
		{"delivered", "exited", 1, REPORT_FAILED},
		{"ended", "killed", 9, REPORT_FAILED},
		{"ended", "not started", 2, REPORT_FAILED},
		{"ended", "lost", 0, REPORT_FAILED},
		{"ended", "no output", 0, REPORT_FAILED},
		{"ended", "cancelled", 0, REPORT_CANCELLED},
	};
	begin();
	for (size_t i = 0; i < countof(cases); i++) {
		struct report_task t = task_of(i + 1);
		t.state = cases[i].state;
		t.how = cases[i].how;
		t.status = cases[i].status;
		ASSERT_EQ(report_state_of(&t), cases[i].is);
		report_add_task(&r, &t);
	}
	report_finish(&r);
	ASSERT_EQ(report_all(&r), countof(cases));
	ASSERT_EQ(r.n[REPORT_FAILED], 5);
	ASSERT_EQ(r.n[REPORT_DONE], 2);
	ASSERT_EQ(r.local_size, 3000 * countof(cases));
	ASSERT_EQ(report_n_causes(&r), 5);
	report_fini(&r);
}

TEST(failures_alike_are_one_cause)
{
	static const struct {
		const char *how, *exceeded, *reason, *cause;
		uint64_t status;
	} cases[] = {
		{"exited", "", "", "exit status 3", 3},
		{"killed", "", "", "killed by signal 9 (Killed)", 9},
		{"killed", "memory", "it had 2 GiB", "went over its limit of memory", 9},
		{"killed", "wall-time", "", "went over its limit of time", 15},
		{"not started", "", "exec /home/a/prog-17: No such file", "not started: exec PATH: No such file", 2},
		{"no output", "", "'out.17.json' is missing", "no output: '...' is missing", 0},
		{"lost", "", "3 nodes were lost", "lost: N nodes were lost", 0},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct report_task t = task_of(1);
		t.how = cases[i].how;
		t.exceeded = cases[i].exceeded;
		t.reason = cases[i].reason;
		t.status = cases[i].status;
		_free_ char *cause = report_cause_text(&t);
		ASSERT_STR(cause, cases[i].cause);
	}
	begin();
	for (uint64_t i = 1; i <= 300; i++) {
		char name[32], reason[64];
		struct report_task t = task_of(301 - i);
		snprintf(name, sizeof name, "%d", (int)(301 - i));
		snprintf(reason, sizeof reason, "'out.%d' is missing", (int)i);
		t.name = name;
		t.how = i % 3 ? "no output" : "exited";
		t.reason = i % 3 ? reason : "";
		t.status = !(i % 3);
		t.node = "n7";
		report_add_task(&r, &t);
	}
	report_finish(&r);
	const struct report_cause *c = REPORT_LIST(&r, cause);
	ASSERT_EQ(report_n_causes(&r), 2);
	ASSERT_EQ(c[0].n, 200);
	ASSERT_EQ(c[1].n, 100);
	ASSERT_EQ(c[0].n_examples, 3);
	ASSERT_STR(c[0].examples[0].label, "sweep/2");
	ASSERT_STR(c[1].examples[0].label, "sweep/1");
	ASSERT_EQ(c[0].n_at[0], 200);
	report_fini(&r);
}

TEST(rare_causes_and_names_beyond_their_bounds_are_counted)
{
	char texts[3][24];
	begin();
	for (uint64_t i = 0; i < 3000; i++) {
		struct report_task t = task_of(i + 1);
		snprintf(texts[0], sizeof texts[0], "n%d", (int)i);
		snprintf(texts[1], sizeof texts[1], "kind-%d", (int)i);
		t.node = texts[0];
		t.category = texts[1];
		t.status = i + 1;
		report_add_task(&r, &t);
		snprintf(texts[2], sizeof texts[2], "file:/%d", (int)i);
		report_add_input(&r, texts[2], i, 1);
	}
	report_add_input(&r, "file:/5", 5, 3);
	report_finish(&r);
	ASSERT_EQ(report_n_nodes(&r), REPORT_NODES + 1);
	ASSERT_EQ(report_n_groups(&r), REPORT_GROUPS + 1);
	ASSERT_EQ(report_n_causes(&r), REPORT_CAUSES);
	ASSERT_EQ(r.n_other_causes, 3000 - REPORT_CAUSES);
	ASSERT_EQ(report_n_inputs(&r), 3000);
	ASSERT_EQ(REPORT_LIST(&r, input)[0].size, 2999);
	uint64_t n = 0;
	for (size_t i = 0; i < report_n_nodes(&r); i++)
		n += REPORT_LIST(&r, node)[i].n_tasks;
	ASSERT_EQ(n, 3000);
	_free_ char *text = page();
	ASSERT(check_page(text) > 100);
	ASSERT(strlen(text) < 3000000);
	report_fini(&r);
}

TEST(the_slowest_are_the_slowest_in_whatever_order_they_come)
{
	begin();
	for (uint64_t i = 0; i < 1000; i++) {
		struct report_task t = task_of(i * 619 % 1000 + 1);
		t.wall_usec = t.id * 1000;
		report_add_task(&r, &t);
	}
	report_finish(&r);
	ASSERT_EQ(r.n_slowest, REPORT_SLOWEST);
	for (size_t i = 0; i < REPORT_SLOWEST; i++)
		ASSERT_EQ(r.slowest[i].id, 1000 - i);
	report_fini(&r);
}

// ---- bars and bins

// Of each node the time that its bars cover is what its bins add up to.
TEST(bars_and_bins_agree)
{
	uint64_t seed = 3;
	begin();
	for (uint64_t i = 1; i <= 3000; i++) {
		struct report_task t = task_of(i);
		char node[8];
		snprintf(node, sizeof node, "n%d", (int)(unit_random(&seed) % 5));
		t.node = node;
		t.started_usec = T0 + unit_random(&seed) % (3000 * SEC);
		t.ended_usec = t.started_usec + unit_random(&seed) % (50 * SEC);
		report_add_task(&r, &t);
	}
	report_finish(&r);
	const struct report_bar *bars = REPORT_LIST(&r, bar);
	ASSERT_EQ(report_n_bars(&r), 3000);
	for (size_t k = 0; k < report_n_nodes(&r); k++) {
		const struct report_node *n = &REPORT_LIST(&r, node)[k];
		int64_t sums[SERIES_BINS], binned = 0;
		uint64_t exact = 0;
		series_sums(&r.time, n->running, sums);
		for (size_t i = 0; i < r.time.n; i++)
			binned += sums[i];
		for (size_t i = 0; i < 3000; i++)
			exact += bars[i].node == k ? bars[i].ended_usec - bars[i].started_usec : 0;
		ASSERT_EQ(binned, exact);
		ASSERT_EQ(n->busy_usec, exact);
	}
	// No two in one lane at once.
	for (size_t i = 1; i < 3000; i++) {
		for (size_t k = i; k-- > 0 && bars[k].node == bars[i].node && k + 100 > i;)
			ASSERT(bars[k].lane != bars[i].lane || bars[k].ended_usec <= bars[i].started_usec);
	}
	report_fini(&r);
}

TEST(clocks_that_jump_and_times_that_are_missing_do_no_harm)
{
	static const uint64_t times[][3] = {
		{T0, 0, 0},      {0, 0, 0}, {T0 + 50, T0, T0 - 50}, {T0, T0 + SEC, 0}, {NOW * 2, NOW * 2, NOW * 2},
		{T0, 0, T0 + 5},
	};
	for (size_t i = 0; i < countof(times); i++) {
		static const char *const states[] = {"queued", "running", "ended"};
		begin();
		for (size_t k = 0; k < 3; k++) {
			struct report_task t = task_of(k + 1);
			t.submitted_usec = times[i][0];
			t.started_usec = times[i][1];
			t.ended_usec = times[i][2];
			t.state = states[k];
			report_add_task(&r, &t);
		}
		report_finish(&r);
		_free_ char *text = page();
		ASSERT(check_page(text) > 50);
		report_fini(&r);
	}
}

// ---- the page

TEST(everything_from_outside_is_escaped)
{
	static const char *const evil[] = {"<script>alert(1)</script>",
					   "\"><img src=x onerror=alert(1)>",
					   "a&b'c\"d",
					   "\033[31mred\x01\x7f",
					   "\xff\xfe\xc0\xaf",
					   ("\xe2\x80\xae"
					    "gnp.exe"),
					   "]]>--><!--",
					   "' onload='x"};
	for (size_t i = 0; i < countof(evil); i++) {
		const char *const names[] = {"name", "value", "of",    "reason", "tasks",
					     "task", "asked", "state", "cluster"};
		const char *values[countof(names)];
		report_init(&r, evil[i], NOW);
		for (uint64_t k = 1; k <= 6; k++) {
			struct report_task t = task_of(k);
			t.run = t.name = t.category = t.node = t.reason = t.tag = evil[i];
			t.how = k % 2 ? "lost" : "exited";
			t.state = k == 6 ? "queued" : "ended";
			report_add_task(&r, &t);
		}
		report_add_input(&r, evil[i], 5, 1);
		for (size_t k = 0; k < countof(names); k++)
			values[k] = evil[i];
		struct table *tables[] = {&r.cluster, &r.nodes, &r.waiting, &r.settings};
		for (size_t k = 0; k < countof(tables); k++)
			table_add(tables[k], countof(names), names, values);
		report_finish(&r);
		_free_ char *text = page();
		ASSERT(check_page(text) > 100);
		ASSERT(!strstr(text, "<script>alert") && !strstr(text, "<img") && !strstr(text, "<!--"));
		ASSERT(!strstr(text, "' onload"));
		for (const char *p = text; *p; p++)
			ASSERT((uint8_t)*p >= 0x20 || *p == '\n' || *p == '\t');
		ASSERT(!strstr(text, "\x7f") && !strstr(text, "\xff") && !strstr(text, "\xe2\x80\xae"));
		struct buf json = {0};
		report_json(&r, &json);
		for (size_t k = 0; k < json.n; k++)
			ASSERT(json.at[k] >= 0x20 || json.at[k] == '\n');
		buf_fini(&json);
		report_fini(&r);
	}
}

// Nothing is fetched, and nothing but its own two texts may act.
TEST(a_page_stands_alone)
{
	begin();
	struct report_task t = task_of(1);
	report_add_task(&r, &t);
	report_finish(&r);
	_free_ char *text = page();
	static const char *const none[] = {" src=", "url(http",  "@import",  "<link", "<iframe",
					   "<img",  " style=\"", " onclick", "unsafe"};
	for (size_t i = 0; i < countof(none); i++)
		ASSERT(!strstr(text, none[i]));
	for (const char *p = text; (p = strstr(p, " href=\"")); p++)
		ASSERT_EQ(p[7], '#');
	ASSERT(strstr(text, "default-src 'none'; style-src 'sha256-"));
	ASSERT(strstr(text, "; script-src 'sha256-"));
	ASSERT(strstr(text, "base-uri 'none'; form-action 'none'\">"));
	report_fini(&r);
}

TEST(a_run_without_tasks_has_a_page)
{
	begin();
	report_finish(&r);
	_free_ char *text = page();
	ASSERT(check_page(text) > 10);
	ASSERT(strstr(text, "It has no tasks."));
	report_fini(&r);
}

static void many(uint64_t n_tasks, uint64_t n_nodes)
{
	uint64_t seed = 5;
	begin();
	for (uint64_t i = 1; i <= n_tasks; i++) {
		struct report_task t = task_of(i);
		char node[32], name[32];
		snprintf(node, sizeof node, "compute-%d.example", (int)(i % n_nodes));
		snprintf(name, sizeof name, "%d", (int)i);
		t.node = node;
		t.name = name;
		t.started_usec = T0 + i * 80000000 / n_tasks * 40;
		t.wall_usec = SEC + unit_random(&seed) % (60 * SEC);
		t.ended_usec = t.started_usec + t.wall_usec + 10000;
		t.status = unit_random(&seed) % 50 == 0;
		report_add_task(&r, &t);
	}
	report_finish(&r);
}

// UNIT_PAGES: a directory to leave them in, for a browser.
static void leave(const char *name, const char *text)
{
	const char *directory = getenv("UNIT_PAGES");
	_free_ char *path = directory ? xasprintf("%s/%s.html", directory, name) : NULL;
	FILE *f = path ? fopen(path, "w") : NULL;
	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

TEST(a_page_stays_small)
{
	static const struct {
		uint64_t n_tasks, n_nodes;
		const char *name;
		bool has_bars;
	} cases[] = {{REPORT_BARS, 8, "bars", true},
		     {REPORT_BARS + 1, 8, "bins", false},
		     {100000, 40, "many", false},
		     {100000, 900, "nodes", false}};
	for (size_t i = 0; i < countof(cases); i++) {
		many(cases[i].n_tasks, cases[i].n_nodes);
		ASSERT_EQ(chart_has_bars(&r), cases[i].has_bars);
		_free_ char *text = page();
		ASSERT(check_page(text) > 100);
		ASSERT(strlen(text) < 3000000);
		ASSERT(strstr(text, "What failed"));
		leave(cases[i].name, text);
		report_fini(&r);
	}
}

TEST(numbers_are_written_for_people)
{
	char text[TEXT_SIZE];
	ASSERT_STR(text_count(0, text), "0");
	ASSERT_STR(text_count(999, text), "999");
	ASSERT_STR(text_count(1234567, text), "1,234,567");
	ASSERT_STR(text_usec(0, text), "0");
	ASSERT_STR(text_usec(900, text), "900 µs");
	ASSERT_STR(text_usec(2500, text), "2.5 ms");
	ASSERT_STR(text_usec(999600, text), "1.00 s");
	ASSERT_STR(text_usec(59960000, text), "1 min");
	ASSERT_STR(text_usec(192 * SEC, text), "3 min 12 s");
	ASSERT_STR(text_usec(3600 * SEC, text), "1 h");
	ASSERT_STR(text_usec(61500 * SEC, text), "17 h 5 min");
	ASSERT_STR(text_usec(200000 * SEC, text), "2 d 7 h");
	ASSERT_STR(text_part(0, 5, text), "0 %");
	ASSERT_STR(text_part(5, 5, text), "100 %");
	ASSERT_STR(text_part(99999, 100000, text), "99.9 %");
	ASSERT_STR(text_part(1, 100000, text), "0.1 %");
	ASSERT_STR(text_time(1790000000 * SEC, text), "2026-09-21 14:13:20");
}
