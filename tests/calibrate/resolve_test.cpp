#include "calibrate/resolve.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "calibrate/structure_checkpoint.h"
#include "families/family.h"
#include "support/layout.h"

namespace ctq::calibrate {
namespace {

/// Headers of a published model, without its values.
class Headers {
 public:
  explicit Headers(const test::Layout& layout) {
    for (const test::LayoutTensor& tensor : layout.tensors)
      infos_.push_back({.name = tensor.name,
                        .dtype = safetensors::parse_dtype(tensor.dtype).value(),
                        .shape = tensor.shape});
    std::vector<model::Checkpoint::Entry> entries;
    for (const safetensors::TensorInfo& info : infos_) entries.push_back({.info = &info});
    checkpoint_ = file_.view(std::move(entries), {});
  }

  const model::Checkpoint& checkpoint() const { return checkpoint_; }

  std::vector<std::string> layers() const {
    std::vector<std::string> names;
    for (const safetensors::TensorInfo& info : infos_) {
      if (info.name.ends_with(".weight") || info.name.ends_with("_weight"))
        names.push_back(info.name.substr(0, info.name.size() - 7));
    }
    return names;
  }

 private:
  std::vector<safetensors::TensorInfo> infos_;
  const test::StructureCheckpoint made_ = test::StructureCheckpoint().vector("any", 1, 0);
  const model::Checkpoint file_ = made_.open();
  model::Checkpoint checkpoint_ = file_.view({}, {});
};

TEST_CASE("resolve: what is known of a published model's layers, its family names", "[calibrate]") {
  const std::string folder = GENERATE("layouts", "encoders");
  std::map<const families::Family*, bool> known;
  for (const test::Layout& layout : test::read_layouts(folder)) {
    const families::Family* family = families::find_family(layout.family);
    REQUIRE(family);
    const Headers headers(layout);
    CAPTURE(layout.name);
    for (const std::string& layer : headers.layers()) {
      const auto source = resolve(headers.checkpoint(), layer);
      const auto own = resolve_in(family->structures, headers.checkpoint(), layer);
      known[family] |= source.has_value();
      if ((source ? source->input : nullptr) != (own ? own->input : nullptr)) FAIL_CHECK(layer);
    }
  }
  for (const auto& [family, some] : known) {
    CAPTURE(family->name);
    CHECK(some == (family->structures.front() != nullptr));
  }
}

TEST_CASE("resolve: one structure at most fits a layer, so their order decides nothing", "[calibrate]") {
  const std::string folder = GENERATE("layouts", "encoders");
  for (const test::Layout& layout : test::read_layouts(folder)) {
    const Headers headers(layout);
    CAPTURE(layout.name);
    for (const std::string& layer : headers.layers()) {
      const auto fits = [&](const families::Structure* structure) {
        return resolve_in({&structure, 1}, headers.checkpoint(), layer).has_value();
      };
      if (std::ranges::count_if(families::structures(), fits) > 1) FAIL_CHECK(layer);
    }
  }
}

TEST_CASE("resolve: PixArt under names of diffusers has a LayerNorm, LTX Video an RMSNorm", "[calibrate]") {
  const std::string prefix = GENERATE(as<std::string>(), "", "transformer.");
  const auto norm = [&](bool pixart) {
    test::StructureCheckpoint model(prefix);
    model.matrix("transformer_blocks.0.scale_shift_table", 6, 8)
        .biased("transformer_blocks.0.ff.net.0.proj", 32, 8)
        .biased("transformer_blocks.0.ff.net.2", 8, 32);
    if (pixart) model.linear("pos_embed.proj", 8, 16);
    const auto checkpoint = model.open();
    const auto source = resolve(checkpoint, prefix + "transformer_blocks.0.ff.net.2");
    REQUIRE(source);
    return source->input->norm.kind;
  };
  CHECK(norm(true) == families::Norm::kLayer);
  CHECK(norm(false) == families::Norm::kRms);
}

}  // namespace
}  // namespace ctq::calibrate
