/* SPDX-License-Identifier: Apache-2.0
 * `vined --salvage`: a person's way out of a damaged database. */
#ifndef VINED_SALVAGE_H
#define VINED_SALVAGE_H

/* Makes STATE/vined.db anew from what can be read of it, keeps the old one beside it, and says on stdout what was lost. The state's lock is the
 * caller's. 0 or -errno after printing the one-line error. */
int salvage(const char *state);

#endif
