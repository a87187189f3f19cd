// Adapters that LyCORIS and PEFT wrote, merged as they merge them.
#include <string>

#include <catch2/catch.hpp>

#include "lora/adapter_file.h"
#include "lora/merged_view.h"

namespace ctq::lora {
namespace {

constexpr const char* kMerged = "merged.";

}  // namespace

TEST_CASE("golden: the weights that LyCORIS and PEFT calculate with", "[lora]") {
  const std::string folder = std::string(CTQ_TEST_GOLDEN) + "/";
  const model::Checkpoint file = model::Checkpoint::open(folder + "lora_model.safetensors");
  std::vector<model::Checkpoint::Entry> before;
  for (const auto& entry : file.entries()) {
    if (!entry.name().starts_with(kMerged)) before.push_back(entry);
  }
  const model::Checkpoint model = file.view(before, {});
  const Adapter lycoris(folder + "lora_lycoris.safetensors"), peft(folder + "lora_peft.safetensors");
  std::vector<Merge> merges;
  for (const Adapter* adapter : {&lycoris, &peft}) {
    Matches found = match(*adapter, model, {});
    CHECK(found.matched.size() == adapter->layers().size());
    merges.push_back({adapter, 1.0, std::move(found.matched)});
  }
  const MergedView view(model, merges);
  CHECK(view.changed().size() == before.size() - 2);  // all but the biases of PEFT's layers
  for (const auto& entry : view.checkpoint().entries()) {
    CAPTURE(entry.name());
    const auto* merged = file.find(kMerged + entry.name());
    if (!merged) {
      CHECK_FALSE(entry.computed);
      continue;
    }
    const at::Tensor expected = model::load(*merged);
    const at::Tensor difference = (model::load(entry) - expected).abs().max() / expected.abs().max();
    CHECK(difference.item<double>() < 1e-6);
  }
}

}  // namespace ctq::lora
