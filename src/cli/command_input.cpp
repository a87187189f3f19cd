#include "command_input.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cli/options/rows.h"
#include "engine/job.h"
#include "engine/output_path.h"
#include "linalg/device.h"

namespace ctq::cli {

std::function<bool(const std::string&)> name_filter(const engine::Setting<std::string>& setting) {
  if (!setting.given()) return nullptr;
  return [pattern = engine::pattern_of(setting)](const std::string& name) { return pattern.search(name); };
}

void add_output(std::vector<Option>& table, OutputFile& output, const std::string& otherwise) {
  add(table, Page::kStandard, "Files",
      {
          path(output.path, "--output", "File to write").alias("-o").otherwise(otherwise),
          toggle(output.no_clobber, "--no-clobber", "Refuse to replace an existing output"),
          toggle(output.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
}

std::string output_for(const OutputFile& output, const engine::OpenedFile& input, std::string_view suffix) {
  const std::string& of = input.checkpoint.path();
  const std::string path = output.path.given()
                               ? output.path->string()
                               : fmt::format("{}{}.safetensors", engine::input_stem(of), suffix);
  engine::check_output_path(path, of, output.no_clobber);
  engine::check_output_is_no_input(path, input.checkpoint);
  return path;
}

}  // namespace ctq::cli
