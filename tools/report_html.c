/* SPDX-License-Identifier: Apache-2.0
 * The page: one file that asks for nothing else. Its style and its script are in report_page.css and report_page.js; nothing but these two may act in it, as
 * their digests in the policy say. */
#include "tools/report_page.css.h"
#include "tools/report_page.js.h"
#include "tools/report_parts.h"

#include "common/digest.h"

/* ---- the frame */

static void put_digest(struct buf *b, const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct digest d;
	digest_bytes(text, strlen(text), &d);
	assert(d.algorithm == DIGEST_SHA256);
	buf_puts(b, "'sha256-");
	for (size_t i = 0; i < DIGEST_SIZE; i += 3) {
		uint32_t n = (uint32_t)d.byte[i] << 16;
		n |= i + 1 < DIGEST_SIZE ? (uint32_t)d.byte[i + 1] << 8 : 0;
		n |= i + 2 < DIGEST_SIZE ? d.byte[i + 2] : 0;
		for (size_t k = 0; k < 4; k++)
			buf_put(b, i + k <= DIGEST_SIZE ? &letters[n >> (18 - 6 * k) & 63] : "=", 1);
	}
	buf_puts(b, "'");
}

static const char *title_of(const struct report *r)
{
	return *r->run ? r->run : "All runs";
}

static void put_head(struct buf *b, const struct report *r)
{
	buf_puts(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src ");
	put_digest(b, report_page_css);
	buf_puts(b, "; script-src ");
	put_digest(b, report_page_js);
	buf_puts(b, "; base-uri 'none'; form-action 'none'\">\n"
		    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		    "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
	html_text(b, title_of(r));
	buf_printf(b, " – Vine report</title>\n<style>%s</style>\n</head>\n<body>\n", report_page_css);
}

/* ---- the headline */

static void put_sentence(struct buf *b, const struct report *r)
{
	uint64_t all = report_all(r), left = r->n[REPORT_WAITING] + r->n[REPORT_RUNNING] + r->n[REPORT_HELD];
	char n[TEXT_SIZE], of[TEXT_SIZE];
	if (!all)
		buf_puts(b, "It has no tasks.");
	else if (r->n[REPORT_DONE] == all)
		buf_printf(b, all == 1 ? "Its task ended well." : "All %s tasks ended well.", text_count(all, n));
	else
		buf_printf(b, "%s of %s tasks ended well", text_count(r->n[REPORT_DONE], n), text_count(all, of));
	if (!all || r->n[REPORT_DONE] == all)
		return;
	if (r->n[REPORT_FAILED])
		buf_printf(b, ", <a href=\"#failures\">%s failed</a>", text_count(r->n[REPORT_FAILED], n));
	if (r->n[REPORT_CANCELLED])
		buf_printf(b, ", %s cancelled", text_count(r->n[REPORT_CANCELLED], n));
	if (left)
		buf_printf(b, ", %s not over yet", text_count(left, n));
	buf_puts(b, ".");
}

static void put_when(struct buf *b, const struct report *r)
{
	char from[TEXT_SIZE], to[TEXT_SIZE], took[TEXT_SIZE], now[TEXT_SIZE];
	const char *cluster = r->cluster.n_rows ? table_find(&r->cluster, 0, "name") : NULL;
	buf_puts(b, "<p class=\"when\">");
	if (report_all(r))
		buf_printf(b, "%s to %s UTC, %s. ", text_time(r->first_usec, from),
			   r->last_usec - r->first_usec < 86400000000u &&
					   r->last_usec / 86400000000u == r->first_usec / 86400000000u
				   ? text_clock(r->last_usec, to)
				   : text_time(r->last_usec, to),
			   text_usec(r->last_usec - r->first_usec, took));
	buf_printf(b, "As of %s UTC", text_time(r->now_usec, now));
	if (cluster && *cluster) {
		buf_puts(b, ", cluster ");
		html_text(b, cluster);
	}
	buf_puts(b, ".</p>\n");
}

static void put_states(struct buf *b, const struct report *r)
{
	static const enum report_state order[] = {REPORT_DONE,    REPORT_FAILED,  REPORT_CANCELLED,
						  REPORT_RUNNING, REPORT_WAITING, REPORT_HELD};
	struct chart_part parts[REPORT_STATES];
	char n[TEXT_SIZE], part[TEXT_SIZE];
	for (size_t i = 0; i < REPORT_STATES; i++)
		parts[i] = (struct chart_part){report_classes[order[i]], report_states[order[i]], r->n[order[i]]};
	chart_bar(b, "Tasks by state", parts, REPORT_STATES);
	buf_puts(b, "<ul class=\"legend\">");
	for (size_t i = 0; i < REPORT_STATES; i++) {
		if (parts[i].n || !i)
			buf_printf(
				b,
				"<li><span class=\"key f-%s\"></span>%s <b>%s</b> <span class=\"dim\">%s</span></li>",
				parts[i].class, parts[i].what, text_count(parts[i].n, n),
				text_part(parts[i].n, report_all(r), part));
	}
	buf_puts(b, "</ul>\n");
}

static void put_tile(struct buf *b, const char *name, const char *value, const char *more)
{
	buf_printf(b, "<div><dt>%s</dt><dd><b>%s</b> <span>%s</span></dd></div>\n", name, value, more);
}

static void put_tiles(struct buf *b, const struct report *r)
{
	char value[TEXT_SIZE], more[3 * TEXT_SIZE], one[TEXT_SIZE], two[TEXT_SIZE];
	struct span_of_time span = chart_span(r);
	uint64_t there = r->local_size + r->moved_size, busy = 0;
	for (size_t i = 0; i < report_n_nodes(r); i++)
		busy += REPORT_LIST(r, node)[i].busy_usec;
	buf_puts(b, "<dl class=\"tiles\">\n");
	snprintf(more, sizeof more, "%zu node%s", report_n_nodes(r), report_n_nodes(r) == 1 ? "" : "s");
	snprintf(value, sizeof value, "%.1f", (double)busy / (double)(span.to - span.from));
	put_tile(b, "Tasks at once, on average", value, more);
	snprintf(more, sizeof more, "95 %% within %s", text_usec(hist_quantile(&r->run_time, 0.95), one));
	put_tile(b, "Median task ran", r->run_time.n ? text_usec(hist_quantile(&r->run_time, 0.5), value) : "–",
		 r->run_time.n ? more : "none has ended");
	snprintf(more, sizeof more, "%s of %s reserved", text_part(min(r->cpu_usec, r->cores_usec), r->cores_usec, two),
		 text_usec(r->cores_usec, one));
	put_tile(b, "CPU time", r->cpu_usec ? text_usec(r->cpu_usec, value) : "–", r->cpu_usec ? more : "not known");
	snprintf(more, sizeof more, "%s of what tasks read", text_part(r->local_size, there, one));
	put_tile(b, "Was on its node already", there ? text_size(r->local_size, value) : "–",
		 there ? more : "no inputs");
	snprintf(more, sizeof more, "%s", there ? "from shared storage, other nodes and clients" : "");
	put_tile(b, "Moved to nodes", there ? text_size(r->moved_size, value) : "–", more);
	if (r->n_again) {
		snprintf(more, sizeof more, "of %s", text_count(report_all(r), one));
		put_tile(b, "Begun more than once", text_count(r->n_again, value), more);
	}
	buf_puts(b, "</dl>\n");
}

static void put_header(struct buf *b, const struct report *r)
{
	buf_puts(b, "<header>\n<p class=\"over\">Vine report</p>\n<h1>");
	html_text(b, title_of(r));
	buf_puts(b, "</h1>\n<p class=\"lead\">");
	put_sentence(b, r);
	buf_puts(b, "</p>\n");
	put_when(b, r);
	buf_puts(b, "</header>\n");
	if (!report_all(r))
		return;
	put_states(b, r);
	put_tiles(b, r);
}

/* ---- sections */

static void put_bytes(struct buf *b, const struct report *r)
{
	const uint64_t told = r->peer_size + r->source_size + r->client_size;
	const struct chart_part parts[] = {{"local", "were on the node already", r->local_size},
					   {"peer", "came from other nodes", r->peer_size},
					   {"source", "were read where they lie", r->source_size},
					   {"client", "were sent by clients", r->client_size},
					   {"moved", "were moved there", r->moved_size - min(told, r->moved_size)}};
	char text[TEXT_SIZE];
	if (!(r->local_size + r->moved_size))
		return;
	part_begin(
		b, "bytes", "Where bytes came from",
		"What tasks declared as inputs, added up over all tasks: what each of them had to have brought counts "
		"by whence it came.");
	chart_bar(b, "Bytes by origin", parts, countof(parts));
	buf_puts(b, "<ul class=\"legend\">");
	for (size_t i = 0; i < countof(parts); i++) {
		if (!parts[i].n && i)
			continue;
		buf_printf(b, "<li><span class=\"key f-%s\"></span>%s <b>%s</b></li>", parts[i].class, parts[i].what,
			   text_size(parts[i].n, text));
	}
	buf_puts(b, "</ul>\n");
	part_end(b);
}

static void put_charts(struct buf *b, const struct report *r)
{
	part_begin(b, "timeline", "Timeline by node",
		   !report_n_nodes(r) ? ""
		   : chart_has_bars(r)
			   ? "Each bar is a task's last attempt, from when it was handed to the node until "
			     "its end was known."
			   : "How many tasks were on each node; each row has its own scale. Vertical strokes "
			     "are failures.");
	buf_puts(b, "<p class=\"hint\" hidden>Drag to zoom in, double-click to zoom out. <button type=\"button\" "
		    "id=\"out\">Zoom out</button></p>\n");
	chart_timeline(b, r);
	part_end(b);
	part_begin(b, "over", "Tasks over time", "");
	chart_over_time(b, r);
	part_numbers(b, r);
	part_end(b);
	put_bytes(b, r);
	part_begin(b, "times", "How long it took",
		   "On logarithmic scales; dotted lines are the median and what 95 % of tasks stay below.");
	buf_puts(b, "<div class=\"three\">\n");
	chart_hist(b, "Waited", "from submission to start", &r->wait);
	chart_hist(b, "Ran", "the command itself", &r->run_time);
	chart_hist(b, "Around it", "on the node: inputs in, outputs out", &r->around);
	buf_puts(b, "</div>\n");
	part_end(b);
}

static void put_links(struct buf *b, const struct report *r)
{
	const struct {
		const char *id, *name;
		bool is_there;
	} links[] = {{"failures", "Failures", r->n[REPORT_FAILED] > 0},
		     {"waiting", "Waiting", r->waiting.n_rows > 0 && r->n[REPORT_WAITING] + r->n[REPORT_HELD] > 0},
		     {"timeline", "Timeline", true},
		     {"over", "Over time", true},
		     {"bytes", "Bytes", r->local_size + r->moved_size > 0},
		     {"times", "Times", true},
		     {"slowest", "Slowest", r->n_slowest > 0},
		     {"resources", "Resources", report_n_groups(r) > 0},
		     {"inputs", "Inputs", report_n_inputs(r) > 0},
		     {"nodes", "Nodes", report_n_nodes(r) > 0},
		     {"settings", "Settings", true}};
	buf_puts(b, "<nav aria-label=\"Sections\">");
	for (size_t i = 0; i < countof(links); i++) {
		if (links[i].is_there)
			buf_printf(b, "<a href=\"#%s\">%s</a> ", links[i].id, links[i].name);
	}
	buf_puts(b, "</nav>\n");
}

void report_html(const struct report *r, struct buf *b)
{
	put_head(b, r);
	put_header(b, r);
	buf_puts(b, "<main>\n");
	if (report_all(r)) {
		put_links(b, r);
		part_failures(b, r);
		part_waiting(b, r);
		put_charts(b, r);
		part_slowest(b, r);
		part_resources(b, r);
		part_inputs(b, r);
		part_nodes(b, r);
	}
	part_settings(b, r);
	buf_puts(b, "</main>\n<footer>Times are UTC. Made by <code>vine report");
	if (*r->run) {
		buf_puts(b, " ");
		html_text(b, r->run);
	}
	buf_printf(b, "</code>, Vine " PACKAGE_VERSION ".</footer>\n<script>%s</script>\n</body>\n</html>\n",
		   report_page_js);
}
