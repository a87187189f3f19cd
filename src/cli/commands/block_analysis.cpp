#include "block_analysis.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command_input.h"
#include "engine/job.h"
#include "engine/output_path.h"
#include "pipeline/block_analysis.h"
#include "report/block_report.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

constexpr int64_t kUsualFirstBlocks = 7;  // the default of clip-g's -k

}  // namespace

std::vector<std::string> report_paths(const engine::Setting<std::vector<engine::Path>>& setting) {
  const std::vector<std::string> paths = paths_of(setting);
  engine::check_report_names(setting, paths, /*csv=*/false);
  return paths;
}

void report_blocks(const model::Checkpoint& checkpoint, const std::vector<plan::Block>& blocks,
                   const std::optional<plan::BlockList>& keep, const AnalysisFiles& files) {
  std::vector<std::string> paths = files.reports;
  if (!files.json.empty()) paths.push_back(files.json);
  for (const std::string& path : paths) {
    engine::check_output_path(path, checkpoint.path());
    engine::check_output_is_no_input(path, checkpoint);
  }
  std::optional<std::set<int64_t>> kept;
  if (plan::is_clip_g(checkpoint)) {
    const int64_t last = blocks.back().index;
    kept = keep ? keep->among(last)
                : plan::BlockList::parse(fmt::to_string(std::min(kUsualFirstBlocks, last))).among(last);
  }
  const report::BlockReport report =
      report::make_block_report(checkpoint.path(), pipeline::analyze_blocks(blocks), kept);
  if (!files.quiet)
    fmt::print("{}",
               files.print_json ? report::block_report_json(report) : report::block_report_text(report));
  if (!files.json.empty()) safetensors::write_text_file(files.json, report::block_report_json(report));
  for (const std::string& path : files.reports) {
    safetensors::write_text_file(path, path.ends_with(".html") ? report::block_report_html(report)
                                                               : report::block_report_json(report));
  }
}

}  // namespace ctq::cli
