// The pages of conversion and utility modes (-hm) and of LoRA extraction (-hlr).
#include "cli/options/rows.h"

namespace ctq::cli {

void add_mode_options(std::vector<Option>& table) {
  add(table, Page::kModes, "Editing quantization metadata",
      {
          toggle("--edit-quant", "Edit the per-layer metadata of a quantized file").built(),
          text("--remove-keys", "Comma list of JSON keys to delete from the layers").built(),
          text("--add-keys", "Keys to set in the layers, as 'key': value pairs or a JSON object").built(),
          pattern("--quant-filter", "Layers to edit").otherwise("all").built(),
      });
  add(table, Page::kModes, "Legacy layouts",
      {
          toggle("--convert-fp8-scaled", "Rewrite legacy scaled FP8 in the ComfyUI layout").built(),
          pattern("--hp-filter", "Layers that must not be FP8 when a legacy file is rewritten").built(),
          toggle("--full-precision-mm", "Mark rewritten layers to be multiplied in high precision").built(),
          toggle("--convert-int8-scaled", "Rewrite legacy INT8 in the ComfyUI layout").built(),
          toggle("--legacy_input_add", "Add an input scale of 1.0 to legacy FP8 layers").built(),
          toggle("--cleanup-fp8-scaled", "Drop scales whose weight is not FP8 and set the marker").built(),
          choice("--scaled-fp8-marker", "Length of that marker").choose({"0", "2"}).standard("0").built(),
          toggle("--make-hybrid-mxfp8", "Add a tensor-wise scale to every MXFP8 layer").built(),
          path("--tensor-scales", "Tensor-wise FP8 model to take those scales from").built(),
      });
  add(table, Page::kModes, "Calibration of input scales",
      {
          toggle("--actcal", "The same as calibrate --patch: a copy of a quantized model with input scales")
              .built(),
          integer("--actcal-samples", "Random rows per layer").at_least(1).standard("64"),
          number("--actcal-percentile",
                 "Percentile of the magnitudes that sets the scale; 100 is the largest")
              .above(0)
              .at_most(100)
              .standard("99.9")
              .built(),
          path("--actcal-lora", "Use the A rows of this LoRA as inputs"),
          integer("--actcal-seed", "Seed of the random rows").at_least(0).standard("42"),
          device("--actcal-device", "Where to calculate: auto, cpu, cuda or cuda:N").standard("auto"),
      });
  add(table, Page::kLora, "Error-correction LoRA",
      {
          toggle("--extract-lora", "Also write a LoRA that makes up for the quantization error").built(),
          path("--lora-output", "File to write").otherwise("<output stem>_lora.safetensors").built(),
      });
  add(table, Page::kLora, "What it is like", lora_rows());
}

std::vector<Row> lora_rows() {
  return {
      integer("--lora-rank", "Its rank").at_least(1).standard("32").built(),
      pattern("--lora-target", "Weights it always covers").built(),
      integer("--lora-depth", "Cover only blocks with an index below this").at_least(0).standard("1").built(),
      number("--lora-ar-threshold",
             "Cover only layers with an aspect ratio below this; 0 uses the built-in rule")
          .at_least(0)
          .standard("0.0")
          .built(),
      choice("--lora-dtype", "Type of its tensors").choose({"f16", "bf16", "f32"}).standard("f32").built(),
  };
}

}  // namespace ctq::cli
