# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What tasks leave, all of it once more without views, and without a mount.
. "$SRC/tests/system/lib.sh"

for TIER in mount plain; do
	for each in beside kept; do
		mkdir -p "$DIR/$TIER/$each"
		env TIER=$TIER DIR="$DIR/$TIER/$each" bash "$SRC/tests/system/outputs-$each.sh" || fail "outputs-$each, tier $TIER"
	done
done
