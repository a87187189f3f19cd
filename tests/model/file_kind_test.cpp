#include "model/file_kind.h"

#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"

namespace ctq::model {
namespace {

using namespace ctq::test;
using safetensors::Dtype;

FileKind kind_of_file(const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata = {}) {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", tensors, metadata);
  return kind_of(Checkpoint::open(dir / "m.safetensors"));
}

TestTensor conv(std::string name) {
  return tensor(std::move(name), Dtype::kBF16, {2, 2, 1, 1}, std::string(8, '\0'));
}

}  // namespace

TEST_CASE("file_kind: adapters of all spellings", "[model]") {
  const auto [down, up] = GENERATE(table<std::string, std::string>({
      {"diffusion_model.a.lora_A.weight", "diffusion_model.a.lora_B.weight"},
      {"lora_unet_a.lora_down.weight", "lora_unet_a.lora_up.weight"},
      {"unet.a.lora.down.weight", "unet.a.lora.up.weight"},
      {"a.processor.to_q_lora.down.weight", "a.processor.to_q_lora.up.weight"},
      {"base_model.model.a.lora_A.default.weight", "base_model.model.a.lora_B.default.weight"},
      {"lycoris_a.hada_w1_a", "lycoris_a.hada_w1_b"},
      {"lycoris_a.lokr_w1", "lycoris_a.lokr_w2"},
  }));
  CAPTURE(down);
  CHECK(kind_of_file({bf16_weight(down, 4, 8), bf16_weight(up, 8, 4), bf16_vector("a.alpha", 1)}) ==
        FileKind::kAdapter);
  CHECK(kind_of_file({bf16_weight(down, 4, 8), bf16_weight("blocks.0.a.weight", 8, 4)}) == FileKind::kModel);
}

TEST_CASE("file_kind: a VAE alone, a model that holds one, a calibration file", "[model]") {
  CHECK(kind_of_file({conv("decoder.conv_in.weight"), conv("encoder.conv_in.weight"),
                      conv("quant_conv.weight"), bf16_weight("decoder.mid.attn_1.q.weight", 8, 8)}) ==
        FileKind::kVae);
  CHECK(kind_of_file({conv("first_stage_model.decoder.conv_in.weight")}) == FileKind::kVae);
  CHECK(kind_of_file({conv("first_stage_model.decoder.conv_in.weight"),
                      bf16_weight("model.diffusion_model.a.weight", 8, 8)}) == FileKind::kModel);
  // T5 has an encoder too.
  CHECK(kind_of_file({bf16_weight("encoder.block.0.layer.0.SelfAttention.q.weight", 8, 8),
                      bf16_weight("decoder.block.0.layer.0.SelfAttention.q.weight", 8, 8)}) ==
        FileKind::kModel);
  CHECK(kind_of_file({bf16_weight("a.rows", 4, 8), bf16_vector("a.channel_max", 8)}) ==
        FileKind::kCalibration);
  CHECK(kind_of_file({bf16_weight("a.weight", 8, 8)}, {{"format", "ctq-calibration"}}) ==
        FileKind::kCalibration);
  CHECK(kind_of_file({bf16_weight("a.weight", 8, 8)}, {{"format", "pt"}}) == FileKind::kModel);
}

}  // namespace ctq::model
