/* SPDX-License-Identifier: Apache-2.0
 * Screens of `vine top` as text: what is known and a size in, lines out. */
#include "tests/unit/top_world.h"

static void expect_line(const char *screen, unsigned y, const char *wanted)
{
	for (; y; y--)
		screen = strchr(screen, '\n') + 1;
	_free_ char *line = xstrndup(screen, strcspn(screen, "\n"));
	ASSERT_STR(line, wanted);
}

TEST(the_overview_of_five_tasks_fits_80_by_24)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	_free_ char *text = screen_text(&s, m, 80, 24, true);
	expect_line(text, 0, " vine lab  up 1:05  2 nodes, 1 of 12 cores busy                       every 1 s");
	expect_line(text, 1, " 1 overview  2 runs  3 nodes  4 tasks  5 data  6 bytes");
	expect_line(text, 2, " tasks  2 done  1 failed  1 running  1 waiting");
	/* Two, one, one and one of five: 78 cells. */
	expect_line(text, 3, " ###############################xxxxxxxxxxxxxxxx================...............");
	expect_line(text, 4, " ended  -");
	expect_line(text, 5, " waits          1 the nodes are full (as task 5)");
	expect_line(text, 7, " run            progress                      tasks  running   failed      rest");
	expect_line(text, 8, " sweep          #######.....  60%               3/5        1        1         ?");
	expect_line(text, 10, " node            state              cores               memory  tasks     cache");
	expect_line(text, 11, " n1              connected            1/4   1.0 GiB of 4.0 GiB      1   2.0 GiB");
	expect_line(text, 12, " n2              on probation         0/8         0 of 8.0 GiB      -         -");
	expect_line(text, 23, "q quit  1-6 pages  enter look closer  / find  s sort  p pause  +/- pace  ? help");
}

TEST(of_few_lines_runs_get_all_and_of_many_what_runs_is_shown_too)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	_free_ char *few = screen_text(&s, m, 40, 11, true);
	ASSERT(strstr(few, " sweep"));
	ASSERT(!strstr(few, " n1"));
	_free_ char *many = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(many, " sweep/4 "));
	/* What waits is there by its reason alone. */
	ASSERT(!strstr(many, " sweep/5 "));
}

TEST(transfers_fit_80_cells_the_fastest_first)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	top_press(&s, m, 'x', 10);
	ASSERT_EQ(s.at.page, TOP_TRANSFERS_PAGE);
	_free_ char *none = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(none, "nothing is on its way"));
	PUT(top_on_moved, m, "from_nodes", "13207024435", "from_sources", "644245094", "from_clients", "0", "needed",
	    "631612837");
	PUT(top_on_transfer, m, "from", "n3", "to", "n12", "item", "file:/shared/env", "origin", "node", "rate",
	    "1048576", "done", "5242880", "rest", "104857600");
	PUT(top_on_transfer, m, "from", "/shared/env", "to", "n12", "item", "file:/shared/env", "origin", "source",
	    "rate", "9437184", "done", "1", "rest", "104857600");
	_free_ char *text = screen_text(&s, m, 80, 24, true);
	expect_line(text, 1, " 1 overview  2 runs  3 nodes  4 tasks  5 data  6 bytes  by rate");
	expect_line(text, 2, " moved 12.3 GiB from nodes, 614 MiB from sources (1.02 x what is needed)");
	expect_line(text, 3, " item              from             to                  rate      rest     left");
	/* Both bring what is left: 100 MiB at 10 MiB/s. */
	expect_line(text, 4, " file:/shared/env  /shared/env      n12            9.0 MiB/s   100 MiB     11 s");
	expect_line(text, 5, " file:/shared/env  n3               n12            1.0 MiB/s   100 MiB     11 s");
	top_press(&s, m, '\r', 10);
	ASSERT_STR(s.at.item, "file:/shared/env");
	top_press(&s, m, 'q', 10);
	top_press(&s, m, '/', 10);
	top_press(&s, m, 'n', 10);
	top_press(&s, m, '3', 10);
	_free_ char *found = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(found, " n3  ") && !strstr(found, "  /shared/env "));
}

TEST(every_page_shows_its_rows)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	s.at.page = TOP_TASKS_PAGE;
	_free_ char *tasks = screen_text(&s, m, 100, 24, true);
	expect_line(tasks, 3, " sweep/4                 running   n1                  1:05     1   1.0 GiB attempt 2");
	expect_line(tasks, 4,
		    " sweep/5                 waiting                                -         - the nodes are full");
	expect_line(tasks, 5, " sweep/3                 failed    n1                   2 s     -         - exit 1");
	s.at.page = TOP_DATA_PAGE;
	_free_ char *data = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(data, " this machine's cache no node runs here\n"));
	ASSERT(strstr(data, " temp:out                                   there       1.0 MiB      1        1\n"));
	m->cache = (struct top_cache){.is_there = true, .size = GIB, .quota = 4 * GIB, .trees = 2, .path = "/c"};
	_free_ char *cache = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(cache, " this machine's cache ###......... 1.0 GiB of 4.0 GiB, 2 trees in /c\n"));
}

TEST(a_run_is_headed_by_how_far_it_is)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	s.at.page = TOP_TASKS_PAGE;
	strcpy(s.at.run, "sweep");
	m->runs[0].rate = 0.5;
	_free_ char *text = screen_text(&s, m, 60, 24, true);
	expect_line(text, 2, " run sweep 3 of 5 over rest 5 s ###########xxxxx=====......");
}

TEST(a_million_tasks_and_ten_thousand_nodes_are_counted_in_full)
{
	_cleanup_(top_model_freep) struct top_model *m = top_model_new();
	struct top_state s;
	top_state_init(&s, 1000);
	PUT(top_on_cluster, m, "name", "lab", "nodes", "10000", "known_nodes", "10000", "cores", "640000", "queued",
	    "99000", "running", "999", "over", "900001", "is_settled", "1");
	m->counts = (struct counts){.done = 900000, .failed = 1};
	m->has_counts = true;
	m->counted_over = 900001;
	put_run(m, "big", (struct counts){.waiting = 99000, .running = 999, .done = 900000, .failed = 1})->rate = 1000;
	for (unsigned i = 0; i < 300; i++) {
		char name[16];
		snprintf(name, sizeof name, "node%u", i);
		PUT(top_on_node, m, "node", name, "state", "connected", "cores", "64", "cores_used", "64");
	}
	ASSERT_EQ(m->n_nodes, TOP_ROWS);
	_free_ char *text = screen_text(&s, m, 100, 30, true);
	ASSERT(strstr(text, " tasks  900,000 done  1 failed  999 running  99,000 waiting\n"));
	ASSERT(strstr(text, "900,001/1,000,000      999    99,000        1   1,000/s      1:40\n"));
	/* The one that failed has its cell of the bar. */
	ASSERT(strstr(text, "#x="));
	s.at.page = TOP_NODES_PAGE;
	_free_ char *nodes = screen_text(&s, m, 80, 24, true);
	ASSERT(strstr(nodes, "node0 "));
	ASSERT(!strstr(nodes, "node20 "));
	s.at.row = 25;
	_free_ char *next = screen_text(&s, m, 80, 24, true);
	ASSERT(!strstr(next, "node19 "));
	ASSERT(strstr(next, "node20 "));
	/* Below the last row one is told that there are more. */
	s.at.row = TOP_ROWS - 1;
	_free_ char *last = screen_text(&s, m, 80, 400, true);
	ASSERT(strstr(last, "the first 200 of 10,000: / finds others"));
}

/* Cells of a line that is drawn: all but the sequences, wide characters twice. */
static unsigned cells_of_line(const char *line)
{
	unsigned n = 0;
	for (const uint8_t *p = (const uint8_t *)line; *p; p++) {
		if (*p == 033) {
			ASSERT(p[1] == '[');
			while (*p && *p != 'm')
				p++;
			continue;
		}
		ASSERT(*p >= 0x20 && *p != 0x7f);
		n += (*p & 0xc0) != 0x80;
		/* Those beyond U+3000 that are let through are all wide. */
		n += *p >= 0xe3;
	}
	return n;
}

static void expect_within(const struct top_state *s, const struct top_model *m, unsigned w, unsigned h, bool is_ascii)
{
	const struct top_now now = {.wall_usec = NOW_USEC, .silent_sec = 7};
	struct top_screen screen;
	top_screen_init(&screen, w, h, is_ascii);
	top_view(&screen, s, m, &now);
	for (unsigned y = 0; y < h; y++) {
		struct buf line = {0};
		top_screen_line(&screen, y, TOP_COLOURS, &line);
		ASSERT(cells_of_line(buf_text(&line)) <= w);
		buf_fini(&line);
	}
	top_screen_fini(&screen);
}

static struct top_model *odd_model(void)
{
	static const char *const odd[] = {"\033[2J\033]0;x\a",
					  "a\nb\tc\r",
					  "\xff\xfe\xc3(",
					  "\u202eevil\u2066",
					  "e\u0301\u0301\u0301",
					  "\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57",
					  "\U0001f469\u200d\U0001f4bb",
					  "\u0627\u0644\u0639",
					  ""};
	struct top_model *m = small_model();
	char long_name[300];
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = 0;
	for (size_t i = 0; i <= countof(odd); i++) {
		const char *text = i < countof(odd) ? odd[i] : long_name;
		put_run(m, text, (struct counts){.done = 1, .waiting = UINT64_MAX >> 4})->rate = 1e-5;
		PUT(top_on_node, m, "node", text, "state", text, "tier", text, "address", text, "cores",
		    "18446744073709551615", "memory", "18446744073709551615");
		PUT(top_on_task, m, "task", "18446744073709551615", "run", text, "name", text, "state", "queued",
		    "node", text, "reason", text);
		PUT(top_on_item, m, "item", text, "run", text, "state", text, "size", "18446744073709551615");
		PUT(top_on_reason, m, "reason", text, "tasks", "18446744073709551615", "task", "1", "asked", "2");
	}
	snprintf(m->cluster.name, sizeof m->cluster.name, "%s", odd[0]);
	snprintf(m->trouble, sizeof m->trouble, "%s", odd[0]);
	for (unsigned i = 0; i < TOP_HISTORY; i++)
		m->rates[m->n_rates++] = i % 7 * 1e5;
	buf_puts(&m->detail, "one\033[31m\n\u6f22\u5b57\u6f22\u5b57\xe6\n\n");
	strcpy(m->detail_of, "17");
	return m;
}

TEST(no_name_leaves_its_place_whatever_is_in_it)
{
	static const unsigned sizes[][2] = {{80, 24}, {200, 60}, {1, 1},    {2, 3},   {7, 4},
					    {20, 10}, {33, 12},  {1000, 5}, {91, 200}};
	_cleanup_(top_model_freep) struct top_model *m = odd_model();
	struct top_state s;
	top_state_init(&s, 1000);
	for (size_t i = 0; i < countof(sizes) * TOP_PAGES * 2; i++) {
		const unsigned *size = sizes[i / 2 / TOP_PAGES];
		s.at = (struct top_place){.page = (enum top_page)(i / 2 % TOP_PAGES), .row = i % 5};
		expect_within(&s, m, size[0], size[1], i % 2);
		snprintf(s.at.run, sizeof s.at.run, "%s", m->runs[1].name);
		expect_within(&s, m, size[0], size[1], i % 2);
		strcpy(s.at.task, "17");
		expect_within(&s, m, size[0], size[1], i % 2);
		s.has_help = s.is_typing = true;
		strcpy(s.at.find, "\xff\033");
		expect_within(&s, m, size[0], size[1], i % 2);
		s.has_help = s.is_typing = false;
	}
}

TEST(a_terminal_of_ascii_gets_nothing_else)
{
	_cleanup_(top_model_freep) struct top_model *m = odd_model();
	struct top_state s;
	top_state_init(&s, 1000);
	for (int page = 0; page < TOP_PAGES; page++) {
		s.at.page = (enum top_page)page;
		_free_ char *text = screen_text(&s, m, 200, 60, true);
		for (const char *p = text; *p; p++)
			ASSERT(*p == '\n' || (*p >= ' ' && *p < 0x7f));
	}
}

TEST(the_head_says_when_nothing_answers)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	const struct top_now now = {.wall_usec = NOW_USEC, .silent_sec = 12};
	struct top_state s;
	struct top_screen screen;
	struct buf line = {0};
	top_state_init(&s, 1000);
	top_screen_init(&screen, 80, 24, true);
	strcpy(m->trouble, "cluster lab: nobody answers at /x");
	top_view(&screen, &s, m, &now);
	top_screen_line(&screen, 0, TOP_NO_STYLES, &line);
	top_screen_line(&screen, 23, TOP_NO_STYLES, &line);
	ASSERT(strstr(buf_text(&line), " no answer since 12 s"));
	ASSERT(strstr(buf_text(&line), "cluster lab: nobody answers at /x"));
	buf_fini(&line);
	top_screen_fini(&screen);
}

TEST(without_colours_nothing_is_coloured)
{
	struct top_screen s;
	struct buf line = {0};
	top_screen_init(&s, 20, 1, false);
	top_put(&s, 0, 0, 20, TOP_GOOD, "good");
	top_put(&s, 5, 0, 20, TOP_CHOSEN, "chosen");
	top_screen_line(&s, 0, TOP_NO_COLOURS, &line);
	ASSERT_STR(buf_text(&line), "\033[0mgood\033[0m \033[0;1;7mchosen\033[0m");
	buf_consume(&line, line.n);
	top_screen_line(&s, 0, TOP_COLOURS, &line);
	ASSERT_STR(buf_text(&line), "\033[0;32mgood\033[0m \033[0;1;7;36mchosen\033[0m");
	buf_fini(&line);
	top_screen_fini(&s);
}

TEST(a_wide_character_is_put_whole_or_not_at_all)
{
	struct top_screen s;
	struct buf line = {0};
	top_screen_init(&s, 6, 1, false);
	ASSERT_EQ(top_put(&s, 0, 0, 5, TOP_PLAIN, "a\u6f22\u5b57b"), 4);
	top_screen_line(&s, 0, TOP_NO_STYLES, &line);
	ASSERT_STR(buf_text(&line), "a\u6f22\u2026");
	/* One of its halves goes: so does the other. */
	top_put(&s, 2, 0, 1, TOP_PLAIN, "x");
	buf_consume(&line, line.n);
	top_screen_line(&s, 0, TOP_NO_STYLES, &line);
	ASSERT_STR(buf_text(&line), "a x\u2026");
	buf_fini(&line);
	top_screen_fini(&s);
}

TEST(numbers_are_shown_as_people_read_them)
{
	static const struct {
		uint64_t sec;
		const char *text;
	} spans[] = {{0, "0 s"},        {59, "59 s"},        {61, "1:01"},
		     {3661, "1:01:01"}, {200000, "2 d 7 h"}, {UINT64_MAX, "years"}};
	char text[64];
	for (size_t i = 0; i < countof(spans); i++)
		ASSERT_STR(top_span(text, spans[i].sec), spans[i].text);
	ASSERT_STR(top_number(text, 0), "0");
	ASSERT_STR(top_number(text, 999), "999");
	ASSERT_STR(top_number(text, 1000), "1,000");
	ASSERT_STR(top_number(text, UINT64_MAX), "18,446,744,073,709,551,615");
	ASSERT_STR(top_rate(text, 0.25), "0.2/s");
	ASSERT_STR(top_rate(text, 12345.6), "12,346/s");
	/* Something is more than nothing, and nearly all is not all. */
	ASSERT_STR(top_meter(text, 1, 1000000, 4, true), "#...");
	ASSERT_STR(top_meter(text, 999999, 1000000, 4, true), "###.");
	ASSERT_STR(top_meter(text, 0, 0, 4, true), "....");
	ASSERT_STR(top_meter(text, 7, 7, 2, false), "\u2588\u2588");
}
