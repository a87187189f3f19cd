// No plan writes what the check of a finished file refuses.
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "plan/plan.h"
#include "safetensors/writer.h"
#include "support/comfyui_facts.h"
#include "support/layout.h"
#include "support/sparse_file.h"
#include "support/temp_dir.h"
#include "verify/client.h"

namespace ctq::verify {
namespace {

using safetensors::TensorInfo;

std::vector<TensorInfo> tensors_of(const test::Layout& layout) {
  std::vector<TensorInfo> infos;
  for (const test::LayoutTensor& tensor : layout.tensors) {
    TensorInfo info;
    info.name = tensor.name, info.shape = tensor.shape;
    info.dtype = safetensors::parse_dtype(tensor.dtype).value();
    infos.push_back(std::move(info));
  }
  return safetensors::lay_out(std::move(infos));
}

/// The first layer of the plan that ComfyUI would misread; empty where none.
std::string misread(const plan::Plan& plan, const test::Facts& facts) {
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != plan::Decision::kQuantize) continue;
    const TensorInfo& info = *tensor.source->info;
    const test::LayoutTensor weight{.dtype = {}, .shape = info.shape, .name = info.name};
    if (test::is_misread(facts, weight, tensor.target.codec->format)) return info.name;
  }
  return "";
}

/// A model's file, and the files that plans for it would write, all of full size and without a weight.
class Sparse {
 public:
  Sparse(const test::Layout& layout, const test::Facts& facts) : facts_(facts) {
    test::write_sparse_file(dir_ / "model.safetensors", tensors_of(layout));
    model_.emplace(model::Checkpoint::open(dir_ / "model.safetensors"));
    original_ = quantized::find_layers(*model_);
  }

  /// What the client would refuse of the plan's output, beside its original or alone; empty where nothing.
  std::string refused(const plan::Options& options, const client::Client& client, bool beside_original) {
    const plan::Plan plan = plan::make_plan(*model_, options, "out.safetensors");
    CHECK(misread(plan, facts_) == "");
    std::map<std::string, std::string> markers;
    for (const plan::Generated& generated : plan.generated) markers[generated.info.name] = generated.bytes;
    REQUIRE(plan.files.size() == 1);
    test::write_sparse_file(dir_ / "out.safetensors", plan.files[0].tensors, plan.metadata, markers);
    quantized_ = plan.count(plan::Decision::kQuantize);
    const model::Checkpoint written = model::Checkpoint::open(dir_ / "out.safetensors");
    const quantized::QuantizedFile file = quantized::find_layers(written);
    CHECK(file.layers.size() == quantized_);
    for (const Finding& finding : check_structure(file, client, beside_original ? &original_ : nullptr)) {
      if (finding.refused) return finding.subject + ": " + finding.text;
    }
    return "";
  }
  /// Layers of the last plan.
  size_t quantized() const { return quantized_; }

 private:
  test::TempDir dir_{test::TempDir::for_sparse_files()};
  const test::Facts& facts_;
  std::optional<model::Checkpoint> model_;
  quantized::QuantizedFile original_;
  size_t quantized_ = 0;
};

plan::Options options_for(const format::Codec& codec, bool by_family) {
  plan::Options options;
  options.target = {.codec = &codec,
                    .block_size = codec.has_blocks() ? 128 : 0,
                    .rotation_group = codec.rotation == format::Rotation::kAlways ? plan::kUsualRotation : 0};
  options.by_family = by_family;
  options.layout = format::Layout::kComfy;
  options.save_quant_metadata = by_family;  // as recipes do
  options.allow_empty = true;
  return options;
}

TEST_CASE("plans: nothing that they write is refused, whatever the model and the format", "[verify]") {
  const auto facts = test::read_facts();
  size_t number = 0;
  for (const test::Layout& layout : test::read_layouts()) {
    Sparse files(layout, facts.at(layout.name));
    const bool all_formats = number++ % 12 == 0;
    for (const format::Codec& codec : format::registry()) {
      const bool often = !client::implied_by(codec.format) && codec.format != "float8_e5m2" &&
                         codec.granularity != format::Granularity::kRow;
      if (!often && !all_formats) continue;
      for (const bool by_family : {false, true}) {
        CAPTURE(layout.name, codec.label(), by_family);
        const client::Client client = client::implied_by(codec.format).value_or(client::Client{});
        CHECK(files.refused(options_for(codec, by_family), client, /*beside_original=*/by_family) == "");
        CHECK(files.quantized() > 0);
      }
    }
  }
}

TEST_CASE("plans: nothing that they write of text encoders is refused, tables of tokens among it",
          "[verify]") {
  const test::Facts none{};
  for (const test::Layout& layout : test::read_layouts("encoders")) {
    Sparse files(layout, none);
    for (const format::Codec& codec : format::registry()) {
      if (client::implied_by(codec.format)) continue;
      const bool by_family = codec.granularity != format::Granularity::kRow;
      CAPTURE(layout.name, codec.label(), by_family);
      plan::Options options = options_for(codec, by_family);
      options.quantize_embeddings = true;
      CHECK(files.refused(options, client::Client{}, /*beside_original=*/by_family) == "");
    }
  }
}

}  // namespace
}  // namespace ctq::verify
