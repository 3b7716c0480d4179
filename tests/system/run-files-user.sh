# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# run-files as an ordinary user, whose views are made in a user namespace.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/ordinary-user"

as bash "$SRC/tests/system/run-files.sh" >"$DIR/user.out" 2>&1 || fail "as an ordinary user: $(cat "$DIR/user.out")"
grep -q 'tier views' "$DIR/user/n1.log" || fail "not in views: $(cat "$DIR/user/n1.log")"
