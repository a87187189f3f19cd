// The tables of docs/ that families and presets are printed in.
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <catch2/catch.hpp>

#include "families/family.h"
#include "support/temp_dir.h"

namespace ctq::families {
namespace {

std::string code(std::string_view text) { return fmt::format("`{}`", text); }

std::string_view origin(const Preset& preset) {
  const Preset& target = preset.alias_for.empty() ? preset : *find_preset(preset.alias_for);
  const bool ours = target.ours && (target.seed || target.peer);
  if (target.seed && target.peer) return ours ? "both, and ours" : "both";
  if (target.seed) return ours ? "seed, and ours" : "seed";
  if (target.peer) return ours ? "peer, and ours" : "peer";
  return "ours";
}

std::string presets_text() {
  std::string text;
  for (const PresetCategory& category : preset_categories()) {
    text += fmt::format("### {}\n\n| Switch | Protects | From |\n|---|---|---|\n", category.heading);
    for (const Preset* preset : presets()) {
      if (preset->category == category.key)
        text += fmt::format("| `--{}` | {} | {} |\n", preset->name, preset->help, origin(*preset));
    }
    text += "\n";
  }
  return text;
}

std::string switches_text() {
  std::string text = "| Category | Switches |\n|---|---|\n";
  for (const PresetCategory& category : preset_categories()) {
    std::vector<std::string> switches;
    for (const Preset* preset : presets()) {
      if (preset->category == category.key) switches.push_back(fmt::format("`--{}`", preset->name));
    }
    text += fmt::format("| {} | {} |\n", category.heading, fmt::join(switches, ", "));
  }
  return text;
}

/// "`a` and `b`, without `c`"
std::string signature_text(const Signature& signature) {
  const auto listed = [](const auto& runs) {
    std::vector<std::string> words;
    for (const std::string_view run : runs) {
      if (!run.empty()) words.push_back(code(run));
    }
    return words;
  };
  const std::vector<std::string> all = listed(signature.all), none = listed(signature.none);
  std::string text = fmt::format("{}", fmt::join(all, ", "));
  if (const auto& size = signature.size)
    text +=
        fmt::format(", `{}` with {} {}", size->tensor, size->size, size->dimension == 0 ? "rows" : "columns");
  if (!none.empty()) text += fmt::format("; none of {}", fmt::join(none, ", "));
  return text;
}

std::string families_text() {
  std::string text;
  for (const Kind kind : {Kind::kDiffusion, Kind::kTextEncoder, Kind::kVision, Kind::kControl, Kind::kVae}) {
    std::string rows;
    for (const Family* family : families()) {
      if (family->kind != kind) continue;
      std::vector<std::string> signatures;
      for (const Signature& signature : family->signatures) signatures.push_back(signature_text(signature));
      rows +=
          fmt::format("| {} | {} | {} |\n", family->title,
                      family->preset ? code(family->preset->name) : "none", fmt::join(signatures, "<br>or "));
    }
    if (rows.empty()) continue;
    std::string heading(kind_name(kind));
    heading.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(heading.front())));
    text += fmt::format("### {}s\n\n| Family | Preset | Recognised by |\n|---|---|---|\n{}\n", heading, rows);
  }
  return text;
}

/// Compares what stands between two comments of a page with the text, or writes it there.
void check_page(const std::string& page, const std::string& section, const std::string& text) {
  const std::string path = fmt::format("{}/docs/{}", CTQ_SOURCE_DIR, page);
  const std::string begin = fmt::format("<!-- {} -->\n", section),
                    end = fmt::format("<!-- end of {} -->", section);
  std::string whole = test::read_file(path);
  const size_t from = whole.find(begin), to = whole.find(end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  const size_t start = from + begin.size();
  if (std::getenv("CTQ_WRITE_DOCS")) {
    test::write_file(path, whole.replace(start, to - start, text));
    return;
  }
  INFO(path << " differs; run this test with CTQ_WRITE_DOCS=1 in the environment to write it");
  CHECK(whole.substr(start, to - start) == text);
}

TEST_CASE("docs: the tables of presets and families are those of the program", "[families]") {
  check_page("presets.md", "presets", presets_text());
  check_page("presets.md", "families", families_text());
  check_page("cli.md", "presets", switches_text());
}

}  // namespace
}  // namespace ctq::families
