/* SPDX-License-Identifier: Apache-2.0
 * What tasks see: views composed from a scene on a disk of the test's own, /mnt, and carried out in a child, as root and as an ordinary user. */
#include "tests/unit/view_world.h"

static void lacking(uid_t uid)
{
	struct scene s = begin(uid);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/set/a", 1, false);
	bind_input(&s, STATE "/mnt/F", "/data-of-nobody/set/f.txt", 1, true);
	bind_input(&s, STATE "/mnt/A", "/mnt/host/new/a", 1, false);
	bind_input(&s, STATE "/mnt/A", "/mnt/host/there", 1, false);
	bind_input(&s, STATE "/mnt/F", "sub/f.txt", 1, true);
	enter(&s);
	MUST(is_text("/data-of-nobody/set/a/sub/b", "tree b") && is_text("/data-of-nobody/set/f.txt", "tree f"));
	MUST(is_text("/mnt/host/new/a/a", "tree a") && is_text("/mnt/host/there/a", "tree a"));
	MUST(!is_there("/mnt/host/there/h") && is_text("/mnt/host/mine", "host"));
	MUST(is_text("sub/f.txt", "tree f") && is_text(SANDBOX "/cwd/sub/f.txt", "tree f"));
	MUST(fails(write_text("/data-of-nobody/set/a/a", "x"), EROFS) &&
	     fails(write_text("/data-of-nobody/set/f.txt", "x"), EROFS));
	MUST(fails(unlink("/data-of-nobody/set/a/a"), EROFS) && fails(write_text("/data-of-nobody/new", "x"), EROFS));
	MUST(fails(write_text("/mnt/host/new/b", "x"), EROFS) && fails(write_text("/new", "x"), EROFS));
	MUST(write_text("mine", "x") == 0 && write_text("/tmp/mine", "x") == 0);
	MUST(is_there("/usr/bin"));
}

TEST(inputs_are_read_where_they_were_declared_whether_or_not_the_host_has_that_path)
{
	check(lacking);
}

static void hidden(uid_t uid)
{
	struct scene s = begin(uid);
	make_file("/mnt/cluster/secret", "secret");
	make_file("/mnt/socket", "");
	make_file("/mnt/cache/b/blob", "blob");
	s.hidden[0] = "/mnt/cluster";
	s.hidden[1] = "/mnt/socket";
	s.hidden[2] = "/mnt/cache";
	bind_input(&s, STATE "/mnt/A", "/mnt/host/there", 1, false);
	enter(&s);
	MUST(!is_there("/mnt/cluster/secret") && !is_there("/mnt/cache/b") && !is_there(STATE "/secret"));
	MUST(open("/mnt/socket", O_RDONLY | O_CLOEXEC) < 0);
	MUST(!is_there(STATE "/s/8") && !is_there(STATE "/mnt") && is_there(SANDBOX "/cwd"));
	MUST(fails(mkdir(STATE "/s/8", 0700), EROFS) && fails(write_text("/mnt/cluster/x", ""), EROFS));
	MUST(write_text(SANDBOX "/cwd/x", "x") == 0 && is_text("x", "x"));
	MUST(is_text("/mnt/host/there/a", "tree a"));
}

TEST(a_task_finds_nothing_of_the_nodes_and_of_other_tasks)
{
	check(hidden);
}

static void written(uid_t uid)
{
	struct scene s = begin(uid);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/rw", 2, false);
	bind_input(&s, STATE "/mnt/F", "/data-of-nobody/f", 2, true);
	bind_input(&s, STATE "/mnt/A", "/mnt/host/there", 1, false);
	bind_output(&s, "/mnt/host/there/sub/made");
	bind_input(&s, STATE "/mnt/A", "rel", 2, false);
	enter(&s);
	MUST(s.view.n_places == 4);
	MUST(write_text("/data-of-nobody/rw/a", "new") == 0 && unlink("/data-of-nobody/rw/sub/b") == 0 &&
	     write_text("/data-of-nobody/f", "new") == 0);
	MUST(is_text("/data-of-nobody/rw/a", "new") && is_text("/data-of-nobody/f", "new") &&
	     !is_there("/data-of-nobody/rw/sub/b"));
	MUST(write_text("/mnt/host/there/sub/made", "made") == 0 && is_text("/mnt/host/there/sub/b", "tree b"));
	MUST(write_text("rel/a", "more") == 0 && is_text("rel/a", "more"));
	MUST(rename("/data-of-nobody/rw/a", "/data-of-nobody/rw/c") == 0 && truncate("/mnt/host/there/a", 0) == 0);
	MUST(fails(write_text("/data-of-nobody/x", ""), EROFS));
}

static void written_and_left(uid_t uid)
{
	int status = 0;
	struct scene s = begin(uid);
	pid_t pid = fork();
	if (pid == 0) {
		/* The same disk, for the child's namespace is one below this. */
		unsigned n;
		MUST(view_do((struct view_step[]){{.op = VIEW_UNSHARE}}, 1, &n) == 0);
		bind_input(&s, STATE "/mnt/A", "/data-of-nobody/rw", 2, false);
		enter(&s);
		MUST(write_text("/data-of-nobody/rw/a", "new") == 0 && unlink("/data-of-nobody/rw/sub/b") == 0);
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0) == pid && status == 0);
	MUST(is_text(STATE "/mnt/A/a", "tree a") && is_text(STATE "/mnt/A/sub/b", "tree b"));
	MUST(is_text(SANDBOX "/o/0/upper/a", "new"));
}

TEST(what_is_written_to_an_input_or_beside_it_is_private)
{
	check(written);
	check(written_and_left);
}

static void outputs(uid_t uid)
{
	struct scene s = begin(uid);
	bind_output(&s, "/results/deep/r.dat");
	bind_output(&s, "/mnt/host/there/r.dat");
	bind_output(&s, "/mnt/host/there/deep/r*.dat");
	bind_output(&s, "/tmp/scratch/r.dat");
	bind_output(&s, "/mnt/r.dat");
	s.bindings[2].flags = 8;
	enter(&s);
	MUST(write_text("/results/deep/r.dat", "1") == 0);
	MUST(write_text("/mnt/host/there/r.dat", "2") == 0 && is_text("/mnt/host/there/h", "host"));
	MUST(write_text("/mnt/host/there/deep/r1.dat", "3") == 0);
	MUST(write_text("/tmp/scratch/r.dat", "4") == 0);
	/* Above the node's state nothing can be laid. */
	MUST(write_text("/mnt/r.dat", "5") == 0);
}

TEST(outputs_have_their_directories)
{
	check(outputs);
}

static bool is_replaced(const char *path)
{
	_free_ char *beside = xasprintf("%s.new", path);
	return is_text(path, "tree f") && write_text(beside, "new") == 0 && rename(beside, path) == 0 &&
	       is_text(path, "new");
}

static void updated(uid_t uid)
{
	static const char *const paths[] = {
		"f", "/tmp/f", "/data-of-nobody/sub/f", "/mnt/host/there/h", "/data-of-nobody/sub/other", "/results/f"};
	struct scene s = begin(uid);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody", 1, false);
	bind_output(&s, "/results/other");
	for (size_t i = 0; i < countof(paths); i++) {
		bind_input(&s, STATE "/mnt/F", paths[i], 2, true);
		bind_output(&s, paths[i]);
	}
	enter(&s);
	MUST(is_replaced("f") && is_replaced("/tmp/f") && is_replaced("/data-of-nobody/sub/f"));
	MUST(is_replaced("/data-of-nobody/sub/other") && is_text("/data-of-nobody/sub/b", "tree b"));
	MUST(is_replaced("/mnt/host/there/h") && is_replaced("/results/f"));
}

TEST(what_is_updated_is_a_copy_that_another_file_can_take_the_place_of)
{
	check(updated);
}

static void nested(uid_t uid)
{
	struct scene s = begin(uid);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody", 1, false);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/sub/new/a", 1, false);
	bind_input(&s, STATE "/mnt/F", "/data-of-nobody/sub/f", 1, true);
	enter(&s);
	MUST(is_text("/data-of-nobody/a", "tree a") && is_text("/data-of-nobody/sub/b", "tree b"));
	MUST(is_text("/data-of-nobody/sub/new/a/a", "tree a") && is_text("/data-of-nobody/sub/f", "tree f"));
	MUST(fails(write_text("/data-of-nobody/x", ""), EROFS) &&
	     fails(write_text("/data-of-nobody/sub/f", ""), EROFS));
}

TEST(an_input_may_lie_in_another_that_lacks_its_place)
{
	check(nested);
}

/* `n` files of the set S, and where they are declared. */
static void bind_set(struct scene *s, const char *directory, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char *at = xasprintf(STATE "/mnt/S/f%u", i), *path = xasprintf("%s/f%u", directory, i);
		make_file(at, "of the set");
		bind_input(s, at, path, 1, true);
	}
}

static size_t count_steps(const struct scene *s, const char *from)
{
	size_t n = 0;
	for (uint32_t i = 0; i < s->view.n_steps; i++)
		n += s->view.steps[i].from && has_prefix(s->view.steps[i].from, from);
	return n;
}

static void set_where_nothing_is(uid_t uid)
{
	struct scene s = begin(uid);
	bind_set(&s, "/mnt/host/new/sub", 20);
	bind_input(&s, STATE "/mnt/F", "/mnt/host/new/f.txt", 1, true);
	enter(&s);
	MUST(count_steps(&s, STATE "/mnt/S") == 1);
	MUST(is_text("/mnt/host/new/sub/f0", "of the set") && is_text("/mnt/host/new/sub/f19", "of the set"));
	MUST(is_text("/mnt/host/new/f.txt", "tree f") && is_text("/mnt/host/mine", "host"));
	MUST(fails(write_text("/mnt/host/new/sub/f3", "x"), EROFS) &&
	     fails(write_text("/mnt/host/new/sub/x", "x"), EROFS));
}

static void set_over_the_hosts(uid_t uid)
{
	struct scene s = begin(uid);
	make_file("/mnt/host/there/sub/n", "neighbour");
	make_file("/mnt/host/there/f7", "of the host");
	make_file("/mnt/host/there/big", "of the host");
	bind_set(&s, "/mnt/host/there", 150);
	bind_input(&s, STATE "/mnt/F", "/mnt/host/there/big", 1, true);
	enter(&s);
	MUST(count_steps(&s, STATE "/mnt/S") == 0 && count_steps(&s, STATE "/mnt/F") == 1);
	MUST(is_text("/mnt/host/there/f7", "of the set") && is_text("/mnt/host/there/f149", "of the set"));
	MUST(is_text("/mnt/host/there/h", "host") && is_text("/mnt/host/there/sub/n", "neighbour"));
	MUST(is_text("/mnt/host/there/big", "tree f"));
	MUST(fails(write_text("/mnt/host/there/f7", "x"), EROFS) && fails(write_text("/mnt/host/there/x", "x"), EROFS));
	MUST(fails(write_text("/mnt/host/there/h", "x"), EROFS) && write_text("/mnt/host/mine", "x") == 0);
}

/* One by one, as ever. */
static void set_beside_what_is_written(uid_t uid)
{
	struct scene s = begin(uid);
	bind_set(&s, "/mnt/host/there", 30);
	for (unsigned i = 0; i < 30; i++)
		make_file(s.inputs[i].path, "of the host");
	bind_output(&s, "/data-of-nobody/out/r");
	enter(&s);
	MUST(count_steps(&s, STATE "/mnt/S") == 30);
	MUST(is_text("/mnt/host/there/f7", "of the set") && fails(write_text("/mnt/host/there/f7", "x"), EROFS));
	MUST(write_text("/mnt/host/there/x", "x") == 0);
}

static void set_in_the_working_directory(uid_t uid)
{
	struct scene s = begin(uid);
	for (unsigned i = 0; i < 120; i++) {
		char *at = xasprintf(STATE "/mnt/S/f%u", i);
		make_file(at, "of the set");
		bind_input(&s, at, path_base(at), i == 5 ? 2 : 1, true);
	}
	enter(&s);
	MUST(count_steps(&s, STATE "/in/0") == 119 && !is_there(STATE "/in/0/f7") && !is_there(STATE "/mnt"));
	MUST(is_text("f7", "of the set") && fails(write_text("f7", "x"), EROFS) && unlink("f7") < 0);
	MUST(write_text("f5", "mine") == 0 && is_text("f5", "mine") && write_text("new", "x") == 0);
}

/* What is declared in the directory of a set needs a place there, and what is written there a place to go to. */
static void set_with_others(uid_t uid)
{
	struct scene s = begin(uid);
	bind_set(&s, "/data-of-nobody/set", 120);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/set/a", 1, false);
	enter(&s);
	MUST(is_text("/data-of-nobody/set/f7", "of the set") && is_text("/data-of-nobody/set/a/sub/b", "tree b"));
}

static void set_with_output(uid_t uid)
{
	struct scene s = begin(uid);
	bind_set(&s, "/mnt/host/there", 120);
	bind_output(&s, "/mnt/host/there/r");
	enter(&s);
	MUST(is_text("/mnt/host/there/f7", "of the set") && is_text("/mnt/host/there/h", "host"));
	MUST(write_text("/mnt/host/there/r", "r") == 0 && fails(write_text("/mnt/host/there/f7", "x"), EROFS));
}

static void set_with_one_to_write(uid_t uid)
{
	struct scene s = begin(uid);
	bind_set(&s, "/data-of-nobody/set", 120);
	s.inputs[3].mode = 2;
	s.bindings[3].mode = 2;
	enter(&s);
	MUST(is_text("/data-of-nobody/set/f7", "of the set") && write_text("/data-of-nobody/set/f3", "x") == 0);
	MUST(fails(write_text("/data-of-nobody/set/f7", "x"), EROFS));
}

TEST(files_of_one_directory_are_one_mount_where_that_shows_the_same)
{
	check(set_where_nothing_is);
	check(set_over_the_hosts);
}

TEST(files_beside_what_is_written_have_mounts_of_their_own)
{
	check(set_beside_what_is_written);
	check(set_in_the_working_directory);
	check(set_with_others);
	check(set_with_output);
	check(set_with_one_to_write);
}

static void strict(uid_t uid)
{
	struct scene s = begin(uid);
	s.how.strict = true;
	bind_input(&s, STATE "/mnt/A", "/mnt/host/there", 1, false);
	bind_output(&s, "/results/r");
	enter(&s);
	MUST(is_text("/mnt/host/there/sub/b", "tree b") && is_there("/usr/bin") && is_there("/dev/null"));
	MUST(fails(open("/mnt/host/mine", O_RDONLY | O_CLOEXEC), ENOENT) && !is_there("/root") && !is_there("/var"));
	MUST(!is_there(STATE "/secret") && !is_there(STATE "/mnt"));
	MUST(write_text("/dev/null", "x") == 0 && write_text("mine", "x") == 0 && write_text("/tmp/mine", "x") == 0);
	MUST(write_text("/results/r", "x") == 0);
}

TEST(a_strict_view_has_the_system_and_what_was_declared)
{
	check(strict);
}

static void in_host_directory(uid_t uid)
{
	struct scene s = begin(uid);
	s.start.directory = "/mnt/host";
	bind_input(&s, STATE "/mnt/A", "there", 1, false);
	bind_output(&s, "made");
	bind_output(&s, "new/made");
	enter(&s);
	MUST(mkdir("new", 0700) == 0 && write_text("new/made", "x") == 0 && is_text("/mnt/host/new/made", "x"));
	MUST(is_text("there/a", "tree a") && write_text("made", "x") == 0 && is_text("/mnt/host/made", "x"));
}

static void lacks_in_host_directory(uid_t uid)
{
	struct scene s = begin(uid);
	s.start.directory = "/mnt/host";
	bind_input(&s, STATE "/mnt/A", "absent", 1, false);
	MUST(compose(&s) == -ENOENT);
	MUST(strstr(s.error.text, "/mnt/host/absent is not there, and lies in the working directory"));
}

TEST(a_working_directory_of_the_hosts_is_that)
{
	check(in_host_directory);
	check(lacks_in_host_directory);
}

static void links(uid_t uid)
{
	struct scene s = begin(uid);
	s.has_no_view = true;
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/a", 1, false);
	bind_input(&s, STATE "/mnt/F", "/data-of-nobody/f", 2, true);
	bind_input(&s, STATE "/mnt/F", "f.txt", 1, true);
	bind_output(&s, "/results/r");
	bind_output(&s, "/data-of-nobody/f");
	enter(&s);
	MUST(s.view.n_steps == 0);
	MUST(is_text(SANDBOX "/root/data-of-nobody/a/sub/b", "tree b") && is_text("f.txt", "tree f"));
	MUST(write_text(SANDBOX "/root/data-of-nobody/f", "new") == 0 && is_text(STATE "/mnt/F", "tree f"));
	MUST(write_text(SANDBOX "/root/results/r", "made") == 0);
}

TEST(without_a_view_there_are_links)
{
	check(links);
}

static void links_to_unpacked(uid_t uid)
{
	struct scene s = begin(uid);
	s.has_no_view = true;
	make_file(STATE "/unpacked/A/a", "tree a");
	bind_input(&s, STATE "/unpacked/A", "/data-of-nobody/a", 1, false);
	MUST(compose(&s) == 0 && s.view.n_copies == (uid == 0));
	view_fini(&s.view);
	s.how.trust = true;
	MUST(compose(&s) == 0 && s.view.n_copies == 0);
}

TEST(root_has_copies_of_what_was_unpacked_unless_he_is_trusted)
{
	check(links_to_unpacked);
}

static void refused(uid_t uid)
{
	static const char *const paths[] = {"/", "..", "/a/../b", "/proc/x", "/dev", "/tmp"};
	for (size_t i = 0; i < countof(paths); i++) {
		struct scene s = begin(uid);
		bind_input(&s, STATE "/mnt/A", paths[i], 1, false);
		MUST(compose(&s) == -EINVAL && *s.error.text);
		_exit(0);
	}
}

static void doubled(uid_t uid)
{
	struct scene s = begin(uid);
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/a", 1, false);
	bind_input(&s, STATE "/mnt/F", "/data-of-nobody/a/", 1, true);
	MUST(compose(&s) == -EINVAL && strstr(s.error.text, "two inputs"));
	view_fini(&s.view);
	s.inputs[1].path = "/data-of-nobody/f";
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/f/x", 1, false);
	MUST(compose(&s) == -ENOTDIR);
}

TEST(paths_that_cannot_be_shown_are_refused)
{
	check(refused);
	check(doubled);
}

static int compose_with(struct scene *s, const char *input, const char *output, unsigned flags)
{
	view_fini(&s->view);
	s->n_inputs = s->n_bindings = 0;
	if (input)
		bind_input(s, STATE "/mnt/A", input, 1, false);
	if (output) {
		bind_output(s, output);
		s->bindings[s->n_bindings - 1].flags = flags;
	}
	s->error.text[0] = 0;
	int r = compose(s);
	MUST(!r == !*s->error.text);
	return r;
}

static void above_the_nodes(uid_t uid)
{
	struct scene s = begin(uid);
	MUST(symlink("/mnt", "/mnt/host/link") == 0 && symlink("/proc", "/mnt/host/proc") == 0);
	MUST(symlink("/tmp", "/mnt/host/tmp") == 0);
	static const char *const inputs[] = {"/mnt",
					     STATE,
					     STATE "/s/7",
					     STATE "/x",
					     "/mnt/host/link",
					     "/mnt/host/link/state/x",
					     "/mnt/host/proc/sys",
					     "/mnt/host/tmp/x",
					     "/mnt/cluster/x"};
	make_file("/mnt/cluster/secret", "secret");
	s.hidden[0] = "/mnt/cluster";
	for (size_t i = 0; i < countof(inputs); i++)
		MUST(compose_with(&s, inputs[i], NULL, 0) == -EINVAL);
	MUST(compose_with(&s, "/mnt/host/link/host/there", NULL, 0) == 0);
	MUST(compose_with(&s, "/mnt/cluster2", NULL, 0) == 0);
}

/* Beside the node's state an output is what the host has there, whatever the task itself can see. */
static void outputs_of_the_nodes(uid_t uid)
{
	struct scene s = begin(uid);
	make_file("/mnt/cluster/secret", "secret");
	s.hidden[0] = "/mnt/cluster";
	static const char *const outputs[] = {"/mnt",   STATE,        STATE "/node-id", STATE "/cache/x",     "/proc/x",
					      "/dev/x", "/dev/shm/x", "/mnt/cluster",   "/mnt/cluster/secret"};
	static const char *const patterns[] = {"/mnt/*", "/mnt/*/secret", "/mnt/[c]*/s*", "/m*/clust?r/*",
					       "/mnt/stat?"};
	for (size_t i = 0; i < countof(outputs); i++)
		MUST(compose_with(&s, NULL, outputs[i], 0) == -EINVAL);
	for (size_t i = 0; i < countof(patterns); i++)
		MUST(compose_with(&s, NULL, patterns[i], 8) == -EINVAL);
	s.start.directory = "/mnt";
	MUST(compose_with(&s, NULL, "cluster/secret", 0) == -EINVAL &&
	     compose_with(&s, NULL, "*/secret", 8) == -EINVAL);
	MUST(compose_with(&s, NULL, "made*", 8) == 0 && compose_with(&s, NULL, "host/*/r", 8) == 0);
}

TEST(nothing_is_declared_above_or_among_what_is_the_nodes)
{
	check(above_the_nodes);
	check(outputs_of_the_nodes);
}

static void declared_steps(uid_t uid)
{
	struct scene s = begin(uid);
	MUST(symlink("/nowhere", "/mnt/host/dangling") == 0);
	MUST(compose_with(&s, "/mnt/host/dangling/x", NULL, 0) == 0);
	unsigned n;
	furnish(&s.view);
	int r = view_do(s.view.steps, s.view.n_steps, &n);
	MUST(r < 0 && s.view.steps[n].flags & VIEW_DECLARED);
}

TEST(a_step_that_a_tasks_own_path_makes_fail_is_marked_as_its_own)
{
	check(declared_steps);
}

static const struct view_step *find_step(const struct view *v, unsigned op, const char *to)
{
	for (uint32_t i = 0; i < v->n_steps; i++)
		if (v->steps[i].op == op && streq(v->steps[i].to, to))
			return &v->steps[i];
	return NULL;
}

static void kernel(uid_t uid)
{
	struct scene s = begin(uid);
	struct statvfs fs;
	MUST(compose_with(&s, NULL, NULL, 0) == 0 && !s.view.kept && find_step(&s.view, VIEW_READONLY, "/sys"));
	const struct view_step *proc = find_step(&s.view, VIEW_PROC, "/proc");
	const struct view_step *set = find_step(&s.view, VIEW_BIND, "/proc/sys");
	MUST(proc && !uid == (set && set > proc && !(set->flags & VIEW_WRITABLE)));
	s.has_no_view = s.is_inside = true;
	MUST(compose_with(&s, NULL, NULL, 0) == 0 && find_step(&s.view, VIEW_READONLY, "/sys"));
	MUST(!uid == !!find_step(&s.view, VIEW_BIND, "/proc/sys"));
	s.has_no_view = s.is_inside = false;
	MUST(compose_with(&s, "/data-of-nobody/a", NULL, 0) == 0 && s.view.kept);
	MUST(find_step(&s.view, VIEW_READONLY, "/sys") < s.view.steps + s.view.n_kept);
	enter(&s);
	MUST(statvfs("/sys", &fs) == 0 && fs.f_flag & ST_RDONLY);
	MUST(fails(mkdir("/sys/fs/cgroup/pids/x", 0700), EROFS) || !is_there("/sys/fs/cgroup/pids"));
}

TEST(the_kernels_settings_are_read_only)
{
	check(kernel);
}

static void overlays_in(uid_t uid)
{
	struct scene s = begin(uid);
	s.has_user = true;
	MUST(compose_with(&s, NULL, "/mnt/host/there/x", 0) == 0);
	const struct view_step *o = find_step(&s.view, VIEW_OVERLAY, "/mnt/host/there");
	MUST(o && strstr(o->data, ",userxattr") && !strstr(o->data, "redirect_dir"));
}

TEST(root_in_a_user_namespace_has_the_overlays_of_one)
{
	check(overlays_in);
}

static void kept_alike(uid_t uid)
{
	struct scene s = begin(uid), other = s;
	bind_input(&s, STATE "/mnt/A", "/data-of-nobody/a", 1, false);
	bind_input(&other, STATE "/mnt/A", "/data-of-nobody/b", 1, false);
	MUST(compose(&s) == 0 && compose(&other) == 0 && s.view.n_kept && s.view.kept != other.view.kept);
	uint64_t kept = s.view.kept;
	view_fini(&s.view);
	/* What is the attempt's own comes after. */
	bind_output(&s, "result");
	MUST(compose(&s) == 0 && s.view.kept == kept && s.view.n_kept < s.view.n_steps);
	for (uint32_t i = 0; i < s.view.n_kept; i++)
		MUST(!s.view.steps[i].to || !strstr(s.view.steps[i].to, SANDBOX));
}

TEST(tasks_with_the_same_inputs_begin_with_the_same_steps)
{
	check(kept_alike);
}
