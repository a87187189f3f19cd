// Models under other libraries' names, seen under ComfyUI's.
#include "names/renamed_view.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/writer.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"
#include "support/quantized_checkpoint.h"

namespace ctq::names {
namespace {

using namespace ctq::test;
using nlohmann::json;

constexpr int64_t kColumns = 2;

json golden() { return json::parse(read_file(std::string(CTQ_TEST_GOLDEN) + "/foreign_names.json")); }

/// Different in every place of every tensor.
at::Tensor values(const std::string& name, int64_t rows) {
  const bool vector = name.ends_with(".bias");
  const auto seed = static_cast<double>(std::hash<std::string>()(name) % 1000);
  const at::Tensor flat = at::arange(vector ? rows : rows * kColumns, at::kFloat) + seed * 100;
  return (vector ? flat : flat.reshape({rows, kColumns})).to(at::kBFloat16);
}

/// A model of one family under both names.
struct Twins {
  std::map<std::string, at::Tensor> own;
  std::vector<TestTensor> foreign;

  /// rows: [theirs, ours, part, parts, swapped] each
  explicit Twins(const json& rows, const std::string& prefix = "") {
    for (const json& row : rows) {
      const std::string theirs = row[0], ours = row[1];
      const int64_t part = row[2], parts = row[3], each = row[4].get<bool>() ? 2 * kColumns : 3;
      const at::Tensor whole = own.emplace(ours, values(ours, each * parts)).first->second;
      const at::Tensor rows_of_part = whole.narrow(0, part * each, each);
      const bool swapped = row[4];
      foreign.push_back(stored(prefix + theirs, swapped ? rows_of_part.roll(each / 2, 0) : rows_of_part));
    }
  }
};

}  // namespace

TEST_CASE("renamed view: every name of ComfyUI's layout is made once, of the right rows", "[names]") {
  const json families = golden();
  for (const auto& [title, rows] : families.items()) {
    CAPTURE(title);
    const Twins twins(rows);
    const Opened file(twins.foreign);
    const auto foreign = find_foreign(file.checkpoint);
    REQUIRE(foreign);
    CHECK(foreign->naming->title == title);
    const RenamedView view(file.checkpoint, *foreign);
    REQUIRE(view.checkpoint().entries().size() == twins.own.size());
    for (const auto& [name, expected] : twins.own) {
      CAPTURE(name);
      const auto* entry = view.checkpoint().find(name);
      REQUIRE(entry);
      const at::Tensor found = model::load(*entry).to(at::kFloat);
      CHECK(found.sizes().vec() == entry->info->shape);
      CHECK(at::equal(found.flatten(), expected.flatten().to(at::kFloat)));
      CHECK(entry->info->dtype == safetensors::Dtype::kBF16);
    }
  }
}

TEST_CASE("renamed view: ComfyUI's own names are no other library's", "[names]") {
  const json families = golden();
  for (const auto& [title, rows] : families.items()) {
    CAPTURE(title);
    std::vector<TestTensor> tensors;
    for (const auto& [name, value] : Twins(rows).own) tensors.push_back(stored(name, value));
    const Opened file(tensors);
    CHECK_FALSE(find_foreign(file.checkpoint));
  }
}

TEST_CASE("renamed view: GPT-OSS of transformers has banks of experts the other way round", "[names]") {
  const at::Tensor bank = at::arange(2 * 4 * 6, at::kFloat).reshape({2, 4, 6}).to(at::kBFloat16);
  const std::string block = "model.layers.0.", experts = "layers.0.mlp.experts.";
  std::vector<TestTensor> tensors{stored(block + "self_attn.sinks", at::ones({2})),
                                  stored(block + "self_attn.q_proj.weight", at::ones({4, 4})),
                                  stored("model." + experts + "gate_up_proj", bank),
                                  stored("model." + experts + "gate_up_proj_bias", at::ones({2, 6})),
                                  stored("model." + experts + "down_proj", bank.transpose(1, 2).contiguous()),
                                  stored("model." + experts + "down_proj_bias", at::ones({2, 4}))};
  const Opened file(tensors);
  const auto foreign = find_foreign(file.checkpoint);
  REQUIRE(foreign);
  CHECK(foreign->naming->source == "transformers");
  const RenamedView view(file.checkpoint, *foreign);
  const auto* weight = view.checkpoint().find(experts + "gate_up_proj.weight");
  REQUIRE(weight);
  CHECK(weight->info->shape == std::vector<int64_t>{2, 6, 4});
  CHECK(at::equal(model::load(*weight), bank.transpose(1, 2).to(at::kFloat)));
  for (const char* name : {"gate_up_proj.bias", "down_proj.weight", "down_proj.bias"})
    CHECK(view.checkpoint().find(experts + name));
  CHECK(view.checkpoint().find("layers.0.self_attn.q_proj.weight"));
  CHECK(view.checkpoint().entries().size() == tensors.size());
  CHECK(view.joined() == 0);
  CHECK_FALSE(find_foreign(view.checkpoint()));

  tensors[2] = stored("model." + experts + "gate_up_proj", at::ones({2, 4}));
  const Opened flat(tensors);
  CHECK_THROWS_MATCHES(RenamedView(flat.checkpoint, *find_foreign(flat.checkpoint)), Error,
                       HasCode(ErrorCode::kBadInput, "gate_up_proj' (F32, [2, 4])", "cannot become"));
}

TEST_CASE("renamed view: of a prefix only what ComfyUI looks for stays", "[names]") {
  const auto [prefix, kept] = GENERATE(table<std::string, std::string>({
      {"model.diffusion_model.", "model.diffusion_model."},
      {"transformer.", ""},
      {"diffusion_model.", ""},
  }));
  const Twins twins(golden()["Z-Image"], prefix);
  std::vector<TestTensor> tensors = twins.foreign;
  tensors.push_back(stored("text_encoders.x.weight", at::ones({2, 2})));
  const Opened file(tensors);
  const auto foreign = find_foreign(file.checkpoint);
  REQUIRE(foreign);
  const RenamedView view(file.checkpoint, *foreign);
  CHECK(view.checkpoint().find(kept + "layers.0.attention.qkv.weight"));
  CHECK(view.checkpoint().find(kept + "x_pad_token"));
  CHECK(view.checkpoint().find("text_encoders.x.weight"));
  CHECK(view.checkpoint().entries().size() == twins.own.size() + 1);
}

TEST_CASE("renamed view: what only has another name is not copied", "[names]") {
  const Opened file{Twins(golden()["Flux.1"]).foreign};
  const RenamedView view(file.checkpoint, *find_foreign(file.checkpoint));
  const auto* entry = view.checkpoint().find("double_blocks.0.img_attn.proj.weight");
  REQUIRE(entry);
  CHECK(entry->computed == nullptr);
  CHECK(model::load(*entry).data_ptr() ==
        model::load(*file.checkpoint.find("transformer_blocks.0.attn.to_out.0.weight")).data_ptr());
  CHECK(view.checkpoint().find("double_blocks.0.img_attn.qkv.weight")->computed != nullptr);
  CHECK(view.renamed() == file.checkpoint.entries().size());
  CHECK(view.sources().find("double_blocks.0.img_attn.qkv.weight")->second ==
        std::vector<std::string>{"transformer_blocks.0.attn.to_q.weight",
                                 "transformer_blocks.0.attn.to_k.weight",
                                 "transformer_blocks.0.attn.to_v.weight"});
}

TEST_CASE("renamed view: parts of different types are joined in float32", "[names]") {
  std::vector<TestTensor> tensors = Twins(golden()["Flux.1"]).foreign;
  for (TestTensor& tensor : tensors) {
    if (tensor.info.name == "transformer_blocks.0.attn.to_k.weight")
      tensor = stored(tensor.info.name, at::full({3, kColumns}, 1.0 / 3, at::kHalf));
  }
  const Opened file(tensors);
  const RenamedView view(file.checkpoint, *find_foreign(file.checkpoint));
  const auto* entry = view.checkpoint().find("double_blocks.0.img_attn.qkv.weight");
  CHECK(entry->info->dtype == safetensors::Dtype::kF32);
  CHECK(model::load(*entry)[3][0].item<float>() == at::tensor(1.0 / 3).to(at::kHalf).item<float>());
}

TEST_CASE("renamed view: a missing part, another width and a name given twice are refused", "[names]") {
  const auto refuses = [](const std::vector<TestTensor>& tensors, const std::string& word) {
    const Opened file(tensors);
    CHECK_THROWS_MATCHES(RenamedView(file.checkpoint, *find_foreign(file.checkpoint)), Error,
                         HasCode(ErrorCode::kBadInput, word, "--names keep"));
  };
  const std::string to_v = "transformer_blocks.0.attn.to_v.weight";
  std::vector<TestTensor> tensors = Twins(golden()["Flux.1"]).foreign;
  const auto at = std::ranges::find(tensors, to_v, [](const TestTensor& tensor) { return tensor.info.name; });
  REQUIRE(at != tensors.end());
  const TestTensor whole = *at;
  *at = stored(to_v, at::ones({3, kColumns + 1}));
  refuses(tensors, to_v);
  tensors.erase(at);
  refuses(tensors, "double_blocks.0.img_attn.qkv.weight");
  tensors.push_back(whole);
  tensors.push_back(stored("img_in.weight", at::ones({3, kColumns})));
  refuses(tensors, "img_in.weight");
}

TEST_CASE("renamed view: vectors of modulation are flat where ComfyUI has them so", "[names]") {
  std::vector<TestTensor> tensors = Twins(golden()["Krea 2"]).foreign;
  const Opened file(tensors);
  const RenamedView view(file.checkpoint, *find_foreign(file.checkpoint));
  CHECK(view.checkpoint().find("blocks.0.mod.lin")->info->shape == std::vector<int64_t>{3 * kColumns});
  CHECK(view.checkpoint().find("last.modulation.lin")->info->shape == std::vector<int64_t>{3, kColumns});
}

}  // namespace ctq::names
