# SPDX-License-Identifier: Apache-2.0
# vine report: a run with all ends there are, as a page and as JSON; its numbers are those of `vine status`; of another machine's cluster, of an archived run.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1
start_node n2 --cores=4 --name='n2<&>"x'
mkdir "$DIR/here"
cd "$DIR/here"

# 3 fails twice alike with 6; 4 is killed; 8 ends well at its second attempt; 9 to 14 are cancelled while they run, and one runs out of its time.
head -c 100000 /dev/urandom >data
printf '#!/bin/sh\nmkdir -p %s/once\ncase $1 in 3|6) exit 7 ;; 4) kill -9 $$ ;; 8) mkdir %s/once/8 || exit 0; exit 1 ;; 9|1?) exec sleep 1000 ;; esac\ncat "$2" >/dev/null\n' "$DIR" "$DIR" >model
chmod +x model
vine submit --name 'odd<b>&"' --array 1-14 --retries 1 -c 1 --mem 50M -i ./data -- ./model '{i}' data >run 2>err ||
	fail "submit: $(cat err)"
run=$(cat run)
expect 0 vine submit --add --name "$run" --wall-time 100ms -- sleep 100
over() { vine status --json "$run" | grep -q "\"$1\": $2,"; }
poll 30 over failed 4
expect 0 vine cancel "$run/9-14"
poll 30 over cancelled 6
poll 30 over waiting 0
poll 30 over running 0

number() { sed -n "s/^  \"$2\": \([0-9]*\),*\$/\1/p" "$1" | head -n 1; }
agrees() { # FILE: its numbers are those of status
	local each
	vine status --json "$run" >status
	for each in tasks waiting running held done failed cancelled; do
		[ "$(number "$1" $each)" = "$(number status $each)" ] || fail "$each: $(number "$1" $each), not $(number status $each)"
	done
}
expect 0 vine report --json "$run"
cp "$DIR/out" json
agrees json
[ "$(number json done)" = 5 ] && [ "$(number json failed)" = 4 ] && [ "$(number json begun_again)" -ge 4 ] || fail "numbers: $(cat json)"
contains json '"cause": "exit status 7"'
contains json '"cause": "killed by signal 9 (Killed)"'
contains json '"cause": "went over its limit of time"'
contains json '"odd<b>&\"/3"'
contains json "\"item\": \"file:$PWD/data\""
[ "$(grep -A 2 "file:$PWD/data" json | sed -n 's/.*"tasks": //p')" = 14 ] || fail "an array's input: $(grep -A 2 /data json)"

expect 0 vine report "$run"
[ "$(cat "$DIR/out")" = odd_b___.html ] || fail "the file: $(cat "$DIR/out")"
cp odd_b___.html page
contains page '5 of 15 tasks ended well, <a href="#failures">4 failed</a>, 6 cancelled.'
contains page 'vine why odd&lt;b&gt;&amp;&quot;/3'
contains page 'n2&lt;&amp;&gt;&quot;x'
expect 0 vine report -o - "$run"
contains "$DIR/out" '</html>'
if command -v python3 >/dev/null; then
	cat >parse.py <<-'END'
		import html.parser, sys
		class Page(html.parser.HTMLParser):
		    void, open, ids, links = {'meta'}, [], set(), set()
		    def handle_starttag(self, tag, attrs):
		        if tag not in self.void: self.open.append(tag)
		        for name, value in attrs:
		            assert name not in ('src', 'style', 'srcset') and not name.startswith('on'), (tag, name)
		            if name == 'href': assert value.startswith('#'), value; self.links.add(value[1:])
		            if name == 'id': assert value not in self.ids, value; self.ids.add(value)
		    def handle_startendtag(self, tag, attrs): self.handle_starttag(tag, attrs); self.open.pop()
		    def handle_endtag(self, tag): assert self.open.pop() == tag, (tag, self.getpos())
		page = Page()
		page.feed(open(sys.argv[1], encoding='utf-8').read())
		page.close()
		assert not page.open and page.links <= page.ids and 'timeline' in page.ids, (page.open, page.links - page.ids)
	END
	expect 0 python3 parse.py page
fi

# Of all, from elsewhere, and of what there is not.
expect 0 env VINE="$(field cluster address)" VINE_SECRET="$DIR/cluster/secret" vine report --json "$run" -o far
agrees far
expect 0 vine report
contains vine-report.html 'All runs'
expect 125 vine report nosuch
contains "$DIR/err" "there is no run 'nosuch'"
expect 125 vine report "$run@failed"
# What is no file stays what it is.
mkfifo "$DIR/pipe"
cat "$DIR/pipe" >"$DIR/piped" &
piped=$!
expect 0 vine report -o "$DIR/pipe" "$run"
wait $piped
[ -p "$DIR/pipe" ] || fail "the pipe was replaced"
contains "$DIR/piped" '</html>'
: >"$DIR/behind" && ln -s behind "$DIR/link"
expect 0 vine report -o "$DIR/link" "$run"
[ -L "$DIR/link" ] || fail "the link was replaced"
contains "$DIR/behind" '</html>'
expect 125 vine report -o /nosuch/dir/x "$run"
contains "$DIR/err" '-o says where else'
expect 125 vine report a b

# A run whose tasks are not over, and the same once it is in the archive.
[ "$(vine submit --name later --array 1-50 -- sleep 1000)" = later ] || fail submit
expect 0 vine report later -o later.html
contains later.html 'not over yet'
contains later.html 'Why tasks wait now'
expect 0 vine cancel later
expect 125 vine wait -q later
stop cluster
start_vined cluster --keep=0s
poll 20 sh -c '! vine status --json later | grep -q "\"cancelled\": 50"'
expect 0 vine report --json later
[ "$(number "$DIR/out" cancelled)" = 50 ] || fail "archived: $(number "$DIR/out" cancelled) tasks"
