#include "measured_formats.h"

#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ctq/base/log.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

/// Logs what each layer costs in each format.
class MeasuringLog final : public pipeline::Events {
 public:
  void measured(const pipeline::MeasuredLayer& layer, size_t index, size_t count) override {
    std::vector<std::string> words;
    for (const pipeline::MeasuredFormat& format : layer.formats)
      words.push_back(fmt::format("{} {:.4g}", format.target.label(), format.error));
    spdlog::info("({}/{}) Measured: {}: {}", index, count, printable(layer.name), fmt::join(words, ", "));
  }
};

}  // namespace

void choose_by_measurement(const model::Checkpoint& checkpoint, Settings& settings) {
  MeasuringLog log;
  const pipeline::FormatChoice choice =
      pipeline::choose_formats(checkpoint, settings.plan, settings.run, *settings.goal, log);
  std::map<std::string, size_t> counts;
  for (const auto& [name, measured] : choice.chosen)
    ++counts[measured.target ? measured.target->label() : "kept as they are"];
  std::vector<std::string> words;
  for (const auto& [format, count] : counts) words.push_back(fmt::format("{} {}", count, format));
  spdlog::info("Formats by measurement: {}; largest error {:.4g} ({})", fmt::join(words, ", "),
               choice.largest_error, printable(choice.largest_error_of));
  settings.plan.measured = choice.chosen;
}

}  // namespace ctq::cli
