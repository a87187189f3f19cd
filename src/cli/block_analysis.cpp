#include "block_analysis.h"

#include <fmt/format.h>

#include "ctq/base/log.h"
#include "ctq/pipeline/block_analysis.h"
#include "ctq/report/block_report.h"
#include "ctq/safetensors/writer.h"
#include "output_path.h"

namespace ctq::cli {

void report_blocks(const model::Checkpoint& checkpoint, const std::vector<plan::Block>& blocks,
                   const std::optional<plan::BlockList>& keep, const AnalysisFiles& files) {
  for (const std::string& path : {files.json, files.page}) {
    if (path.empty()) continue;
    check_output_path(path, checkpoint.path(), /*no_clobber=*/false);
    check_output_is_no_input(path, checkpoint);
  }
  const report::BlockReport report =
      report::make_block_report(checkpoint.path(), pipeline::analyze_blocks(blocks), keep);
  fmt::print("{}", files.print_json ? report::block_report_json(report) : report::block_report_text(report));
  if (!files.json.empty()) safetensors::write_text_file(files.json, report::block_report_json(report));
  if (!files.page.empty()) safetensors::write_text_file(files.page, report::block_report_html(report));
}

}  // namespace ctq::cli
