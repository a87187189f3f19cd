// The pages of conversion and utility modes (-hm) and of LoRA extraction (-hlr).
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"

namespace ctq::cli {

void add_mode_options(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, Page::kModes, "Editing quantization metadata",
      {
          toggle("--edit-quant", "Edit the per-layer metadata of a quantized file"),
          Row(Kind::kText, "--remove-keys", "Comma list of JSON keys to delete from the layers"),
          Row(Kind::kText, "--add-keys", "Keys to set in the layers, as 'key': value pairs or a JSON object"),
          Row(Kind::kPattern, "--quant-filter", "Layers to edit").otherwise("all"),
      });
  add(table, Page::kModes, "Legacy layouts",
      {
          toggle("--convert-fp8-scaled", "Rewrite legacy scaled FP8 in the ComfyUI layout"),
          Row(Kind::kPattern, "--hp-filter", "Layers that must not be FP8 when a legacy file is rewritten"),
          toggle("--full-precision-mm", "Mark rewritten layers to be multiplied in high precision"),
          toggle("--convert-int8-scaled", "Rewrite legacy INT8 in the ComfyUI layout"),
          toggle("--legacy_input_add", "Add an input scale of 1.0 to legacy FP8 layers"),
          toggle("--cleanup-fp8-scaled", "Drop scales whose weight is not FP8 and set the marker"),
          Row(Kind::kChoice, "--scaled-fp8-marker", "Length of that marker").choose({"0", "2"}).standard("0"),
          toggle("--make-hybrid-mxfp8", "Add a tensor-wise scale to every MXFP8 layer"),
          Row(Kind::kPath, "--tensor-scales", "Tensor-wise FP8 model to take those scales from"),
      });
  add(table, Page::kModes, "Calibration of input scales",
      {
          toggle("--actcal", "The same as calibrate --patch: a copy of a quantized model with input scales"),
          Row(Kind::kNumber, "--actcal-percentile",
              "Percentile of the magnitudes that sets the scale; 100 is the largest")
              .above(0)
              .at_most(100)
              .standard("99.9"),
          Row(Kind::kInteger, "--actcal-samples", "Random rows of an older program").hide(),
          Row(Kind::kInteger, "--actcal-seed", "And their seed").hide(),
          Row(Kind::kPath, "--actcal-lora", "And a LoRA in their place").hide(),
          Row(Kind::kDevice, "--actcal-device", "And where it calculated").hide(),
      });
  add(table, Page::kLora, "Error-correction LoRA",
      {
          toggle(settings.loras.extract, "--extract-lora",
                 "Also write a LoRA that makes up for the quantization error"),
          path(settings.loras.extracted, "--lora-output", "File to write")
              .otherwise("<output stem>_lora.safetensors"),
      });
  add(table, Page::kLora, "What it is like", lora_rows(settings.loras));
}

std::vector<Row> lora_rows(engine::Loras& loras) {
  return {
      integer(loras.rank, "--lora-rank", "Its rank").at_least(1),
      pattern(loras.target, "--lora-target", "Weights it always covers"),
      integer(loras.depth, "--lora-depth", "Cover only blocks with an index below this").at_least(0),
      number(loras.aspect_threshold, "--lora-ar-threshold",
             "Cover only layers with an aspect ratio below this; 0 uses the built-in rule")
          .at_least(0)
          .standard("0"),
      choice(loras.dtype, "--lora-dtype", "Type of its tensors"),
  };
}

}  // namespace ctq::cli
