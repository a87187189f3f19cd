// The texts that the help switches print.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "option.h"

namespace ctq::cli {

std::string help_page(Page page);
/// The page of a command with a table of its own.
std::string command_page(const Table& command);
/// All options and commands, for front ends and tests.
std::string help_json();
std::string version_text();
/// The presets with the patterns of both origins.
std::string filter_list();
/// The registry of formats.
std::string format_list();

/// What print_requested_page() prints; nothing when the arguments ask for no page.
std::optional<std::string> requested_page(const std::vector<std::string>& args);

/// Prints the page that the arguments ask for (-h, -hf, -he, -ha, -hl, -hm, -hlr, --help-json, --version,
/// --list-filters, --list-formats) to standard output and returns true; false when they ask for none. Call it
/// before anything else: it needs neither a valid command line nor --input.
bool print_requested_page(const std::vector<std::string>& args);

}  // namespace ctq::cli
