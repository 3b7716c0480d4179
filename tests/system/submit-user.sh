# SPDX-License-Identifier: Apache-2.0
# once
# submit as an ordinary user, whose views are made in a user namespace.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/ordinary-user"

as bash "$SRC/tests/system/submit.sh" >"$DIR/user.out" 2>&1 || fail "as an ordinary user: $(cat "$DIR/user.out")"
