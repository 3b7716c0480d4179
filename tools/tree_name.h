/* SPDX-License-Identifier: Apache-2.0
 * Trees as people name them. */
#ifndef TOOLS_TREE_NAME_H
#define TOOLS_TREE_NAME_H

#define TREE_NAME_WHY 400

/* Of tree:NAME, or the beginning of an id, that this machine's node knows, the whole tree:ID; a whole one stays. *uri is free()d and set anew. 0, or -errno with why. */
int tree_name_resolve(char **uri, char why[TREE_NAME_WHY]);

#endif
