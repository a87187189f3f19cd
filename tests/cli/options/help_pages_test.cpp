// Which page the command line asks for.
#include "cli/options/help_pages.h"

#include <string>

#include <catch2/catch.hpp>

#include "base/version.h"

namespace ctq::cli {
namespace {

std::string first_line(const std::vector<std::string>& args) {
  const std::string page = requested_page(args).value_or("none\n");
  return page.substr(0, page.find('\n'));
}

}  // namespace

TEST_CASE("help pages: each switch prints its page, in both spellings", "[cli]") {
  CHECK(first_line({"-h"}).starts_with("usage: "));
  CHECK(first_line({"--help"}).starts_with("usage: "));
  CHECK(first_line({"-hs"}) == "Standard Options");
  CHECK(first_line({"-hf"}) == "Layer Filters");
  CHECK(first_line({"--help_filters"}) == "Layer Filters");
  CHECK(first_line({"-he"}) == "Experimental Options");
  CHECK(first_line({"-ha"}) == "Advanced Options");
  CHECK(first_line({"-hl"}) == "Learned Rounding");
  CHECK(first_line({"-hm"}) == "Conversion and Utility Modes");
  CHECK(first_line({"-hlr"}) == "LoRA Extraction");
  CHECK(first_line({"--help-json"}) == "{");
  CHECK(first_line({"--version"}) == "convert_to_quant " + std::string(version()));
  CHECK(first_line({"--list-filters"}) == "Text Encoders");
  CHECK(requested_page({"--list-formats"}).value() == format_list());
}

TEST_CASE("help pages: of several the one with precedence is printed", "[cli]") {
  CHECK(first_line({"-hlr", "-hm", "-ha", "-hf", "-he", "-hl"}) == "Learned Rounding");
  CHECK(first_line({"-hlr", "-hm", "-ha", "-hf", "-he"}) == "Experimental Options");
  CHECK(first_line({"-hlr", "-hm", "-ha", "-hf"}) == "Layer Filters");
  CHECK(first_line({"-hlr", "-hm", "-ha"}) == "Advanced Options");
  CHECK(first_line({"-hlr", "-hm"}) == "Conversion and Utility Modes");
  CHECK(first_line({"-h", "-hlr"}) == "LoRA Extraction");
}

TEST_CASE("help pages: they come before everything else", "[cli]") {
  CHECK(first_line({"--nope", "--block_size", "x", "-h"}).starts_with("usage: "));
  CHECK(first_line({"convert", "-hf"}) == "Layer Filters");
}

TEST_CASE("help pages: nothing is printed unasked", "[cli]") {
  CHECK_FALSE(requested_page({}));
  CHECK_FALSE(requested_page({"-i", "model.safetensors"}));
  CHECK_FALSE(requested_page({"--", "-h"}));
  CHECK_FALSE(requested_page({"--no-help"}));
  CHECK_FALSE(requested_page({"--help=false"}));
  CHECK(requested_page({"--help=yes"}));
}

}  // namespace ctq::cli
