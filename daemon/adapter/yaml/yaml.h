/*
 * The config file's language: YAML by libyaml, handed over as the tree of port/config_tree.h.
 *
 * A config file needs little of YAML, so what would surprise is refused, with its place: anchors
 * and aliases (and with them the classic expansion bomb), tags, keys that are no plain words,
 * more than one document, the same key twice, NUL in a text. Size, depth and number of nodes are
 * capped by PAWL_CONFIG_*_MAX, while reading, so that nothing big is built first.
 *
 * Events of libyaml are used, not its document tree: a cap on depth then stops the scanner, whose
 * time grows with the square of the depth.
 */
#ifndef PAWL_ADAPTER_YAML_YAML_H
#define PAWL_ADAPTER_YAML_YAML_H

#include "port/config_tree.h"

/** The parser, without state: any number of users. Contract in port/config_tree.h. */
struct pawl_config_parser pawl_yaml_parser(void);

#endif
