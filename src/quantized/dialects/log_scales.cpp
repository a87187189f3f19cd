// One-byte logarithmic scales.
#include <cmath>

#include <nlohmann/json.hpp>

#include "model/layer_names.h"
#include "quantized/dialects.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

/// A later program of the same origin writes 32 there, beside ordinary scales.
bool is_declared(const Search& search) {
  const Entry* declared = search.find("scale_format");
  if (!declared) return false;
  if (declared->info->dtype != Dtype::kU8 || declared->info->bytes() != 1) return true;
  return text_of(*declared)[0] == 8;
}

/// Reads the range from the header; the fault where it cannot be read.
std::string read_range(LogScales& scales, const std::string& text) {
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto number = [&](const char* key) {
    const auto found = value.is_object() ? value.find(key) : value.end();
    return found != value.end() && found->is_number() ? found->get<double>() : NAN;
  };
  const double low = number("log10_min"), high = number("log10_max");
  const std::string meaning = value.is_object() && value.contains("meaning") && value["meaning"].is_string()
                                  ? value["meaning"].get<std::string>()
                                  : "";
  if (!(low < high) || (meaning != "dequant" && meaning != "multiplier"))
    return "ctq.scale8 needs log10_min, log10_max and meaning (dequant or multiplier)";
  scales = {.log10_min = low, .log10_max = high, .multiplier = meaning == "multiplier", .declared = true};
  return "";
}

}  // namespace

void find_log_scales(Search& search) {
  if (!search.layers.empty() || !is_declared(search)) return;
  LogScales scales;
  search.found.tokens.emplace_back("scale_format");
  if (const auto text = search.metadata().find("ctq.scale8"); text != search.metadata().end())
    search.found.header_fault = read_range(scales, text->second);
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".scale_weight"));
    const Entry* weight = name.empty() ? nullptr : search.find(name + ".weight");
    if (!weight) continue;
    if (is_fp8(weight->info->dtype)) {
      search.add(name, Dialect::kLogScales).format = "float8_e4m3fn";
      continue;
    }
    // A scale beside a kept weight means nothing, but its code, which stands for 1, tells the range.
    search.found.tokens.push_back(entry.name());
    constexpr char kOneInWideRange = static_cast<char>(170);  // 10^(170 / 255 * 18 - 12) = 1
    if (!scales.declared && entry.info->bytes() == 1 && text_of(entry)[0] == kOneInWideRange)
      scales.log10_min = -12, scales.log10_max = 6;
  }
  search.found.log_scales = scales;
}

}  // namespace ctq::quantized
