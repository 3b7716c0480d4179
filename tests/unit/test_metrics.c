// SPDX-License-Identifier: Apache-2.0
// Figures by HTTP: what is asked well gets them, what is not gets a reason, and who is slow is dropped.
#include "common/http.h"
#include "common/metrics.h"
#include "common/net.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- requests

static int parse(const char *text, size_t n)
{
	struct http_request r;
	return http_parse(text, n, "/metrics", &r);
}

#define GET "GET /metrics HTTP/1.1\r\nHost: a\r\n"

static const struct request {
	const char *text;
	int status;
} requests[] = {
	{GET "\r\n", 200},
	{GET "User-Agent: x y\tz\r\nAccept:*/*\r\nX:\r\n\r\nmore", 200},
	{"GET /metrics HTTP/1.0\r\n\r\n", 200},
	{"GET /metrics HTTP/1.0\n\n", 200},
	{"HEAD /metrics?a=b HTTP/1.1\r\nhost: a\r\nContent-Length:  0\r\n\r\n", 200},
	{"", 0},
	{"GET /met", 0},
	{GET, 0},
	{GET "X: y\r\n", 0},
	{GET "X", 0},
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404},
	{"GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", 404},
	{"GET http://a/metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404},
	{"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405},
	{"get /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405},
	{"GET /metrics HTTP/2.0\r\n\r\n", 505},
	{"GET /metrics HTTP/1.11\r\nHost: a\r\n\r\n", 505},
	{"GET /metrics HTTP/1.1\r\n\r\n", 400},
	{GET "Host: b\r\n\r\n", 400},
	{GET "Content-Length: 5\r\n\r\nhello", 400},
	{GET "Content-Length: 00\r\n\r\n", 400},
	{GET "Transfer-Encoding: chunked\r\n\r\n", 400},
	{GET " folded\r\n\r\n", 400},
	{GET "no colon\r\n\r\n", 400},
	{GET "Name : x\r\n\r\n", 400},
	{GET ": x\r\n\r\n", 400},
	{GET "X: a\rb\r\n\r\n", 400},
	{GET "X: \x1b[2J\r\n\r\n", 400},
	{"GET  /metrics HTTP/1.1\r\n", 400},
	{"GET /metrics\r\n", 400},
	{"GET /metrics HTTP/1.1 \r\n\r\n", 505},
	{"GET /metrics FTP/1.1\r\n", 400},
	{"GET\r\n", 400},
	{" GET /metrics HTTP/1.1\r\n", 400},
	{"\r\n", 400},
	{"\n", 400},
	{"GET /met\x01rics HTTP/1.1\r\n", 400},
	{"\x16\x03\x01\x02\n", 400},
};

TEST(requests_are_answered_by_what_they_are)
{
	for (size_t i = 0; i < countof(requests); i++) {
		int status = parse(requests[i].text, strlen(requests[i].text));
		if (status != requests[i].status)
			fprintf(stderr, "request %zu: %s\n", i, requests[i].text);
		ASSERT_EQ(status, requests[i].status);
	}
	struct http_request r;
	ASSERT_EQ(http_parse("HEAD /metrics HTTP/1.0\n\n", 24, "/metrics", &r), 200);
	ASSERT(r.is_head);
	ASSERT_EQ(parse("GET /metrics HTTP/1.0\0\n\n", 24), 505);
}

// However it is cut up: nothing is said before it is certain, and then always the same.
TEST(what_is_said_of_a_beginning_is_said_of_all_of_it)
{
	for (size_t i = 0; i < countof(requests); i++) {
		size_t n = strlen(requests[i].text);
		int before = 0;
		for (size_t k = 0; k <= n; k++) {
			_free_ char *exactly = xmalloc(k + 1); // beyond it lies nothing that may be read
			memcpy(exactly + 1, requests[i].text, k);
			int status = parse(exactly + 1, k);
			ASSERT(!before || status == before);
			before = status;
		}
		ASSERT_EQ(before, requests[i].status);
	}
}

TEST(what_is_too_long_is_refused_before_it_ends)
{
	static char text[2 * HTTP_REQUEST_MOST];
	memset(text, 'a', sizeof text);
	ASSERT_EQ(parse(text, HTTP_LINE_MOST), 0);
	ASSERT_EQ(parse(text, HTTP_LINE_MOST + 1), 414);
	text[HTTP_LINE_MOST + 1] = '\n';
	ASSERT_EQ(parse(text, HTTP_LINE_MOST + 2), 414);
	memset(text, 'a', sizeof text);
	memcpy(text, GET, strlen(GET));
	ASSERT_EQ(parse(text, HTTP_REQUEST_MOST), 0);
	ASSERT_EQ(parse(text, HTTP_REQUEST_MOST + 1), 431);
	for (size_t i = strlen(GET); i + 5 < sizeof text; i += 5)
		memcpy(text + i, "a: b\n", 5);
	ASSERT_EQ(parse(text, sizeof text), 431);
}

TEST(noise_is_never_a_request)
{
	uint64_t seed = 7;
	static const char letters[] = "GET /metrics HTTP/1.\r\n:ax\t\0\x80";
	for (int i = 0; i < 20000; i++) {
		size_t n = unit_random(&seed) % 60;
		_free_ char *text = xmalloc(n + 1);
		for (size_t k = 0; k < n; k++)
			text[k] = letters[unit_random(&seed) % (sizeof letters - 1)];
		ASSERT(parse(text, n) != 200);
	}
}

// ---- the server

enum { SMALL, LABELED, TIMES, LARGE };
static const struct metric table[] = {
	{"t_small", "gauge", "", "a number"},
	{"t_labeled_total", "counter", "word", "some"},
	{"t_seconds", "histogram", "", "how long"},
	{"t_large", "gauge", "word", "many rows"},
};

static struct loop *loop;
static struct metrics_server *server;
static unsigned n_large, n_collected;
static uint64_t clock_usec;

static void collect(void *arg, struct metrics *m)
{
	struct metrics_times times = {.sum_usec = 0};
	(void)arg;
	n_collected++;
	metrics_time(&times, 64);
	metrics_time(&times, 65);
	metrics_time(&times, 2000000000);
	metrics_put(m, SMALL, "", UINT64_MAX);
	metrics_put(m, LABELED, "a\"b\\\n", 1);
	metrics_put(m, LABELED, "c", 2);
	metrics_put_times(m, TIMES, &times);
	metrics_put(m, LARGE, "", 0);
	for (unsigned i = 0; i < n_large; i++)
		metrics_put(m, LARGE, "a rather long value of a label, for sockets to be full", i);
}

static uint64_t now(void *arg)
{
	(void)arg;
	return clock_usec;
}

static int listen_at(const char *where, struct conf_error *e)
{
	return metrics_listen(&server,
			      &(struct metrics_options){.loop = loop,
							.where = where,
							.state = unit_tmpdir(),
							.table = table,
							.n_table = countof(table),
							.collect = collect},
			      e);
}

static void begin(const char *where)
{
	struct conf_error e;
	n_large = n_collected = 0;
	clock_usec = 1000000;
	loop = loop_new();
	loop_set_clock(loop, now, NULL);
	ASSERT_EQ(listen_at(where, &e), 0);
	ASSERT(server);
}

static void end(void)
{
	metrics_server_free(steal(server));
	loop_free(loop);
}

static int dial(void)
{
	struct net_address a;
	ASSERT_EQ(net_parse(metrics_address(server), &a), 0);
	int fd = net_connect(&a);
	ASSERT(fd >= 0);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 0);
}

// Sends a text, and returns all that comes back until the end, or NULL: it has not come to an end.
static char *talk(int fd, const char *text)
{
	static char answer[1 << 20];
	size_t n = 0, at = 0, size = strlen(text);
	for (int i = 0; i < 2000; i++) {
		ssize_t r = send(fd, text + at, size - at, MSG_NOSIGNAL);
		at += r > 0 ? (size_t)r : 0;
		loop_turn(loop, 1);
		r = recv(fd, answer + n, sizeof answer - 1 - n, MSG_DONTWAIT);
		n += r > 0 ? (size_t)r : 0;
		answer[n] = 0;
		if (r == 0)
			return answer;
	}
	return NULL;
}

static bool is_gone(int fd)
{
	char c;
	turn();
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static const char *body_of(const char *answer)
{
	const char *head_end = strstr(answer, "\r\n\r\n");
	ASSERT(head_end);
	return head_end + 4;
}

TEST(figures_come_as_text_with_their_help)
{
	begin("");
	int fd = dial();
	const char *answer = talk(fd, GET "\r\n"), *body;
	char size[64];
	ASSERT(answer && has_prefix(answer, "HTTP/1.1 200 OK\r\n"));
	ASSERT(strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	body = body_of(answer);
	snprintf(size, sizeof size, "\r\nContent-Length: %zu\r\n", strlen(body));
	ASSERT(strstr(answer, size));
	ASSERT_STR(body, "# HELP t_small a number\n# TYPE t_small gauge\nt_small 18446744073709551615\n"
			 "# HELP t_labeled_total some\n# TYPE t_labeled_total counter\n"
			 "t_labeled_total{word=\"a\\\"b\\\\\\n\"} 1\nt_labeled_total{word=\"c\"} 2\n"
			 "# HELP t_seconds how long\n# TYPE t_seconds histogram\n"
			 "t_seconds_bucket{le=\"0.000064\"} 1\nt_seconds_bucket{le=\"0.000256\"} 2\n"
			 "t_seconds_bucket{le=\"0.001024\"} 2\nt_seconds_bucket{le=\"0.004096\"} 2\n"
			 "t_seconds_bucket{le=\"0.016384\"} 2\nt_seconds_bucket{le=\"0.065536\"} 2\n"
			 "t_seconds_bucket{le=\"0.262144\"} 2\nt_seconds_bucket{le=\"1.048576\"} 2\n"
			 "t_seconds_bucket{le=\"4.194304\"} 2\nt_seconds_bucket{le=\"16.777216\"} 2\n"
			 "t_seconds_bucket{le=\"+Inf\"} 3\nt_seconds_sum 2000.000129\nt_seconds_count 3\n"
			 "# HELP t_large many rows\n# TYPE t_large gauge\nt_large{word=\"\"} 0\n");
	close(fd);
	fd = dial();
	answer = talk(fd, "HEAD /metrics HTTP/1.0\r\n\r\n");
	ASSERT(answer && strstr(answer, size));
	ASSERT_STR(body_of(answer), "");
	close(fd);
	end();
}

TEST(its_socket_is_its_users_alone_and_goes_with_it)
{
	struct stat s;
	_free_ char *path = unit_path("metrics");
	begin("");
	ASSERT_STR(metrics_address(server), path);
	ASSERT_EQ(stat(path, &s), 0);
	ASSERT_EQ(s.st_mode & 0777, 0600);
	end();
	ASSERT(stat(path, &s) < 0);
	begin("127.0.0.1:0");
	int fd = dial();
	ASSERT(talk(fd, GET "\r\n"));
	close(fd);
	end();
}

TEST(where_it_cannot_listen_is_said_and_no_fault_unless_it_was_named)
{
	struct conf_error e = {""};
	loop = loop_new();
	_free_ char *path = unit_path("metrics"), *beneath = unit_path("nowhere/metrics");
	ASSERT_EQ(listen_at("none", &e), 0);
	ASSERT(!server);
	ASSERT_EQ(listen_at("nonsense", &e), -EINVAL);
	ASSERT_STR(e.text, "cannot give out metrics at nonsense: it is no path of a socket, HOST:PORT or none");
	ASSERT_EQ(listen_at(beneath, &e), -ENOENT);
	ASSERT(!server);
	ASSERT_EQ(mkdir(path, 0700), 0);
	ASSERT_EQ(listen_at("", &e), 0);
	ASSERT(!server);
	loop_free(loop);
}

TEST(a_bad_request_gets_a_reason_and_costs_nothing)
{
	begin("");
	for (size_t i = 0; i < countof(requests); i++) {
		char want[32];
		if (requests[i].status == 0 || requests[i].status == 200)
			continue;
		int fd = dial();
		const char *answer = talk(fd, requests[i].text);
		snprintf(want, sizeof want, "HTTP/1.1 %d ", requests[i].status);
		ASSERT(answer && has_prefix(answer, want));
		ASSERT(strlen(body_of(answer)) > 10);
		close(fd);
	}
	ASSERT_EQ(n_collected, 0);
	end();
}

TEST(who_says_nothing_or_reads_nothing_is_dropped)
{
	begin("");
	n_large = 20000; // more than a socket holds
	int silent = dial(), half = dial(), lazy = dial(), other;
	ASSERT_EQ(send(half, GET, strlen(GET), 0), strlen(GET));
	ASSERT_EQ(send(lazy, GET "\r\n", strlen(GET) + 2, 0), strlen(GET) + 2);
	turn();
	ASSERT_EQ(n_collected, 1);
	n_large = 0;
	// Meanwhile others are answered.
	ASSERT(talk(other = dial(), GET "\r\n"));
	close(other);
	clock_usec += 9000000;
	ASSERT(!is_gone(silent) && !is_gone(half));
	clock_usec += 2000000;
	ASSERT(is_gone(silent) && is_gone(half));
	turn();
	char some[4096];
	ssize_t n;
	while ((n = recv(lazy, some, sizeof some, MSG_DONTWAIT)) > 0)
		turn();
	ASSERT_EQ(n, 0);
	close(silent);
	close(half);
	close(lazy);
	end();
}

TEST(a_large_answer_arrives_whole)
{
	begin("");
	n_large = 10000;
	int fd = dial();
	const char *answer = talk(fd, GET "\r\n");
	ASSERT(answer);
	ASSERT(strstr(answer, "} 9999\n"));
	close(fd);
	end();
}

TEST(too_many_at_once_wait_for_their_turn)
{
	enum { MANY = 24 };
	int fds[MANY];
	begin("");
	for (int i = 0; i < MANY; i++)
		fds[i] = dial();
	turn();
	ASSERT_EQ(send(fds[MANY - 1], GET "\r\n", strlen(GET) + 2, 0), strlen(GET) + 2);
	turn();
	ASSERT_EQ(n_collected, 0);
	for (int i = 0; i + 1 < MANY; i++)
		close(fds[i]);
	turn();
	ASSERT_EQ(n_collected, 1);
	close(fds[MANY - 1]);
	turn();
	end();
}
