#include "plan/clip_g.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "support/clip_g_checkpoint.h"
#include "support/matchers.h"

using namespace ctq;
using namespace ctq::plan;
using namespace ctq::test;
using safetensors::Dtype;

namespace {

std::set<int64_t> blocks(const std::string& text, int64_t last = 31) {
  return BlockList::parse(text).among(last);
}

bool is_fp8(const ClipGPlan& plan, const std::string& name) {
  for (const ClipGTensor& tensor : plan.tensors) {
    for (const ClipGPart& part : tensor.parts) {
      if (part.info.name == name) return part.fp8;
    }
  }
  FAIL("no tensor " << name);
  return false;
}

}  // namespace

TEST_CASE("clip-g: names of blocks in both spellings", "[plan]") {
  const auto role = [](const std::string& name) { return parse_clip_g_name(name)->role; };
  CHECK(parse_clip_g_name("transformer.resblocks.17.mlp.c_fc.weight")->block == 17);
  CHECK(role("transformer.resblocks.1.attn.in_proj_weight") == ClipGRole::kFusedWeight);
  CHECK(role("transformer.resblocks.1.mlp.c_fc.bias") == ClipGRole::kOther);
  CHECK(role("text_model.encoder.layers.3.self_attn.k_proj.weight") == ClipGRole::kKey);
  CHECK(role("text_model.encoder.layers.3.mlp.fc2.weight") == ClipGRole::kMlpOut);
  CHECK(role("text_model.encoder.layers.3.mlp.c_proj.weight") == ClipGRole::kOther);
  for (const char* outside : {"token_embedding.weight", "transformer.resblocks.x.attn.in_proj_weight",
                              "visual.transformer.resblocks.1.mlp.c_fc.weight", "transformer.resblocks.3"})
    CHECK_FALSE(parse_clip_g_name(outside).has_value());
}

TEST_CASE("clip-g: -k is a number of first blocks, or a list", "[plan]") {
  CHECK(blocks("3") == std::set<int64_t>{0, 1, 2});
  CHECK(blocks("0").empty());
  CHECK(blocks("5-5") == std::set<int64_t>{5});
  CHECK(blocks("0-2,9,9,4-5") == std::set<int64_t>{0, 1, 2, 4, 5, 9});
  CHECK(blocks("31").size() == 31);
  for (const char* bad : {"", ",", "3,", "1,,2", "5-3", "a", "-1", "1-", "-3-4", "3 ", "1.5", "0-99999999"}) {
    CAPTURE(bad);
    CHECK_THROWS_MATCHES(BlockList::parse(bad), Error, HasCode(ErrorCode::kUsage));
  }
  CHECK_THROWS_MATCHES(blocks("32"), Error, HasCode(ErrorCode::kUsage));
  CHECK_THROWS_MATCHES(blocks("3,32"), Error, HasCode(ErrorCode::kUsage));
}

TEST_CASE("clip-g: a weight that its values exclude stays, and so does a third", "[plan]") {
  const TempDir dir;
  make_checkpoint(dir / "clip.safetensors", clip_g_tensors(4));
  const auto checkpoint = model::Checkpoint::open(dir / "clip.safetensors");
  ClipGOptions options{
      .keep = BlockList::parse("1"), .split = QkvPrecision{}, .split_names = SplitNames::kOpenClip};
  const std::string fc = "transformer.resblocks.1.mlp.c_fc.weight",
                    key = "transformer.resblocks.2.attn.k_proj.weight";
  const ClipGPlan before = plan_clip_g(checkpoint, options);
  CHECK(is_fp8(before, fc));
  CHECK(is_fp8(before, key));
  const ClipGPlan after =
      plan_clip_g(checkpoint, options, {.no_fp8 = {{fc, "why"}, {key, "why"}}, .no_float16 = {}});
  CHECK_FALSE(is_fp8(after, fc));
  CHECK_FALSE(is_fp8(after, key));
  CHECK(is_fp8(after, "transformer.resblocks.2.attn.v_proj.weight"));
  CHECK(after.fp8_count() + 2 == before.fp8_count());
  CHECK(after.expected_tensors() == checkpoint.entries().size() + 2 * 4);
}

TEST_CASE("clip-g: files that are no plain text encoder of OpenCLIP are bad input", "[plan]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = clip_g_tensors(2);
  ClipGOptions options{.keep = BlockList::parse("0"), .split = QkvPrecision{}};
  SECTION("no block") { tensors = {f16("blocks.0.q.weight", {8, 8})}; }
  SECTION("rows that three does not divide") {
    tensors[5] = f16("transformer.resblocks.0.attn.in_proj_weight", {25, 8});
  }
  SECTION("a fused bias of two dimensions") {
    tensors[6] = f16("transformer.resblocks.0.attn.in_proj_bias", {24, 1});
  }
  SECTION("quantized already") {
    tensors.push_back(
        tensor("transformer.resblocks.0.extra.weight", Dtype::kF8E4M3, {2, 2}, std::string(4, '\x38')));
  }
  make_checkpoint(dir / "bad.safetensors", tensors);
  const auto checkpoint = model::Checkpoint::open(dir / "bad.safetensors");
  CHECK_THROWS_MATCHES(plan_clip_g(checkpoint, options), Error, HasCode(ErrorCode::kBadInput));
}

TEST_CASE("blocks: any transformer is grouped by the first number between dots", "[plan]") {
  const TempDir dir;
  make_checkpoint(
      dir / "m.safetensors",
      {bf16_weight("m.double.10.img.qkv.weight", 4, 4), bf16_weight("m.double.2.img.qkv.weight", 4, 4),
       bf16_weight("m.double.2.img.1.weight", 4, 4), bf16_weight("m.single.0.proj.weight", 4, 4),
       bf16_weight("img_in.weight", 4, 4), bf16_vector("m.single.0.norm.weight", 4),
       tensor("m.single.0.table.weight", Dtype::kI64, {1, 1}, std::string(8, '\0'))});
  const auto checkpoint = model::Checkpoint::open(dir / "m.safetensors");
  std::string seen;
  for (const Block& block : find_blocks(checkpoint)) {
    seen += block.stack + "/" + std::to_string(block.index) + ":";
    for (const BlockWeight& weight : block.weights) seen += " " + weight.name;
    seen += "; ";
  }
  CHECK(seen == "m.double/2: img.1 img.qkv; m.double/10: img.qkv; m.single/0: proj; ");
  make_checkpoint(dir / "flat.safetensors",
                  {bf16_weight("a.weight", 4, 4), bf16_weight("mlp.0.weight", 4, 4)});
  const auto flat = model::Checkpoint::open(dir / "flat.safetensors");
  CHECK_THROWS_MATCHES(find_blocks(flat), Error, HasCode(ErrorCode::kBadInput));
}

TEST_CASE("blocks: lists of numbers as ranges", "[plan]") {
  CHECK(range_list({}).empty());
  CHECK(range_list({4}) == "4");
  CHECK(range_list({0, 1, 2, 4, 6, 7}) == "0-2,4,6-7");
}
