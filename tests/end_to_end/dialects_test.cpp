// Quantized files of other programs, and files that are no models, given to the commands.
#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "format/codec.h"
#include "format/swizzle.h"
#include "model/checkpoint.h"
#include "safetensors/reader.h"
#include "support/quantized_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

class Folder {
 public:
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::string file(std::string_view name, const std::vector<TestTensor>& tensors,
                   const safetensors::Metadata& metadata = {}) const {
    make_checkpoint(*this / name, tensors, metadata);
    return *this / name;
  }
  Outcome run(const Words& words, int code = 0) const { return run_expecting(words, code); }
  Outcome converted(const std::string& from, std::string_view name, const Words& more, int code = 0) const {
    Words words{"-i", from, "-o", *this / name, "--simple", "--comfy_quant"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, code);
  }

 private:
  TempDir dir_;
};

bool says(const Outcome& run, std::string_view text) { return run.err.find(text) != std::string::npos; }

TestTensor bytes(std::string name, Dtype dtype, std::vector<int64_t> shape) {
  std::string values(safetensors::tensor_bytes(dtype, shape).value(), '\1');
  return tensor(std::move(name), dtype, std::move(shape), std::move(values));
}

at::Tensor tensor_of(const std::string& path, const std::string& name) {
  const auto file = model::Checkpoint::open(path);
  REQUIRE(file.find(name));
  return model::load(*file.find(name)).clone();
}

/// Codes and block scales of a weight, and the weight.
struct BlockFp8 {
  at::Tensor codes, scales, weight;
};

BlockFp8 block_fp8() {
  const at::Tensor codes =
      at::randn({256, 256}, at::detail::createCPUGenerator(7)).mul(50).to(at::kFloat8_e4m3fn);
  const at::Tensor scales = at::rand({2, 2}, at::detail::createCPUGenerator(8)).mul(1e-3);
  return {codes, scales, codes.to(at::kFloat) * scales.repeat_interleave(128, 0).repeat_interleave(128, 1)};
}

std::string golden(const std::string& name) {
  return std::string(CTQ_TEST_GOLDEN) + "/dialects/" + name + ".safetensors";
}

}  // namespace

TEST_CASE("dialects: block FP8 is decoded by dequantize and --requantize, and refused without",
          "[end_to_end]") {
  const Folder files;
  const BlockFp8 made = block_fp8();
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const std::string scale = GENERATE(as<std::string>(), "_scale_inv", "");
  const std::string scale_name = scale.empty() ? "model.layers.0.self_attn.q_proj.scale" : name + scale;
  const std::string input = files.file(
      "in.safetensors",
      {stored(name, made.codes), stored(scale_name, made.scales), bf16_vector("model.norm.weight", 256)});
  files.run({"dequantize", input, "-o", files / "d.safetensors", "--dtype", "f32"});
  CHECK(at::equal(tensor_of(files / "d.safetensors", name), made.weight));
  CHECK(Reader(files / "d.safetensors").find(scale_name) == nullptr);
  CHECK(says(files.converted(input, "x.safetensors", {"--int8"}, 4), "has " + scale_name));
  files.converted(input, "o.safetensors", {"--int8", "--scaling_mode", "row", "--requantize"});
  files.run({"verify", files / "o.safetensors", "--original", files / "d.safetensors"});
  CHECK(files.run({"verify", input}, 4).out.find("ComfyUI does not read") != std::string::npos);
  CHECK(files.run({"inspect", input}).out.find("float8_e4m3fn_blockwise") != std::string::npos);
}

TEST_CASE("dialects: files of other libraries become plain ones", "[end_to_end]") {
  const Folder files;
  const std::string sample =
      GENERATE(as<std::string>(), "bitsandbytes_nf4_double", "quanto_qint8", "torchao_int8",
               "compressed_tensors_pack4_asymmetric", "hqq_4", "sdnq/int8_runs");
  CAPTURE(sample);
  const std::string input = golden(sample);
  CHECK(says(files.converted(input, "x.safetensors", {"--fp8"}, 4), "add --requantize"));
  files.run({"dequantize", input, "-o", files / "d.safetensors", "--dtype", "f32"});
  CHECK(at::equal(tensor_of(files / "d.safetensors", "blk.0.q.weight"),
                  tensor_of(golden(sample + ".truth"), "blk.0.q.weight")));
  CHECK(Reader(files / "d.safetensors").header().tensors.size() == 1);
  files.converted(input, "o.safetensors", {"--fp8", "--requantize"});
  files.run({"verify", files / "o.safetensors", "--original", golden(sample + ".truth")});
  // The original may be the quantized file itself.
  files.run({"compare", input, files / "o.safetensors", "--quality-threshold", "20"});
}

TEST_CASE("dialects: what is only recognised is refused by name, and no way out is offered that is none",
          "[end_to_end]") {
  const Folder files;
  const std::string layer = "transformer_blocks.0.attn.to_q";
  const std::string input = files.file(
      "in.safetensors",
      {bytes(layer + ".qweight", Dtype::kI8, {256, 128}), bytes(layer + ".wscales", Dtype::kBF16, {4, 256}),
       bytes(layer + ".proj_down", Dtype::kBF16, {256, 32}), bf16_weight("proj_out.weight", 64, 256)});
  for (const Words& more : {Words{"--fp8"}, Words{"--fp8", "--requantize"}}) {
    const Outcome run = files.converted(input, "x.safetensors", more, 4);
    CHECK(says(run, "nunchaku (SVDQuant)"));
    CHECK_FALSE(says(run, "add --requantize"));
  }
  CHECK(says(files.run({"dequantize", input, "-o", files / "d.safetensors"}, 4), "nunchaku (SVDQuant)"));
  CHECK(files.run({"inspect", input}).out.find("nunchaku (SVDQuant)") != std::string::npos);
}

TEST_CASE("dialects: a stray scale beside a 16-bit weight is dropped with a warning", "[end_to_end]") {
  const Folder files;
  const std::string input =
      files.file("in.safetensors", {bf16_weight("a.weight", 64, 64), f32("a.weight_scale", {}, {1})});
  CHECK(says(files.converted(input, "x.safetensors", {"--fp8"}, 4), "--requantize leaves it out"));
  const Outcome run = files.converted(input, "o.safetensors", {"--fp8", "--requantize"});
  CHECK(says(run, "a.weight_scale"));
  files.run({"verify", files / "o.safetensors", "--original", input});
  files.run({"edit", input, "-o", files / "e.safetensors", "--remove-tensors", "scale"});
  CHECK(Reader(files / "e.safetensors").header().tensors.size() == 1);
  files.run({"verify", files / "o.safetensors", "--original", files / "e.safetensors"});
  CHECK(says(files.run({"dequantize", input, "-o", files / "d.safetensors"}, 4), "edit --remove-tensors"));
  files.run({"edit", input, "-o", files / "f.safetensors", "--remove-keys", "x"}, 4);
}

TEST_CASE("dialects: NVFP4 without markers gets them, in either order", "[end_to_end]") {
  const Folder files;
  const format::Codec& codec = *format::find_codec("nvfp4", format::Granularity::kGroup);
  const at::Tensor weight =
      at::randn({256, 256}, at::detail::createCPUGenerator(3));  // no structure that tells
  const format::Encoded encoded = format::encode_nearest(codec, weight, 0).value();
  const std::vector<at::Tensor> packed = format::pack(encoded);
  const auto announced = format::stored_tensors(codec, 256, 256, 0);
  std::vector<TestTensor> swizzled, rows;
  for (size_t i = 0; i < packed.size(); ++i) {
    const std::string name = fmt::format("a.{}", announced[i].role);
    swizzled.push_back(stored(name, packed[i]));
    at::Tensor part = packed[i];
    if (announced[i].role == "weight")
      part = part.bitwise_left_shift(4).bitwise_or(part.bitwise_right_shift(4));
    if (announced[i].role == "weight_scale")
      part = format::unswizzle(part.view(at::kByte), 256, 16).view(at::kFloat8_e4m3fn);
    rows.push_back(stored(name, part));
  }
  const std::string comfy = files.file("comfy.safetensors", swizzled),
                    modelopt = files.file("modelopt.safetensors", rows);
  for (const std::string& input : {comfy, modelopt}) {
    CHECK(says(files.converted(input, "x.safetensors", {"--fp8"}, 4), "NVFP4 without markers"));
    CHECK(says(files.converted(input, "x.safetensors", {"--fp8", "--requantize"}, 4), "--scale-order"));
    CHECK(says(files.run({"migrate", "add-markers", "-i", input, "-o", files / "x.safetensors"}, 4),
               "--scale-order"));
  }
  files.run(
      {"migrate", "add-markers", "-i", comfy, "-o", files / "a.safetensors", "--scale-order", "swizzled"});
  files.run(
      {"migrate", "add-markers", "-i", modelopt, "-o", files / "b.safetensors", "--scale-order", "rows"});
  for (const char* name : {"a.safetensors", "b.safetensors"}) {
    files.run({"verify", files / name});
    files.run({"dequantize", files / name, "-o", files / "d.safetensors", "--dtype", "f32"});
    CHECK(at::equal(tensor_of(files / "d.safetensors", "a.weight"), format::decode(encoded)));
  }
  files.run({"migrate", "fp8-scaled", "-i", comfy, "-o", files / "x.safetensors", "--scale-order", "rows"},
            2);
}

TEST_CASE("dialects: markers for codes that have scales only", "[end_to_end]") {
  const Folder files;
  const BlockFp8 made = block_fp8();
  const std::string one =
      files.file("one.safetensors", {stored("a.weight", made.codes), f32("a.weight_scale_inv", {}, {0.01f})});
  files.run({"migrate", "add-markers", "-i", one, "-o", files / "m.safetensors"});
  files.run({"verify", files / "m.safetensors"});
  CHECK(bytes_of(Reader(files / "m.safetensors"), "a.comfy_quant") == R"({"format": "float8_e4m3fn"})");
  const std::string blocks = files.file(
      "blocks.safetensors", {stored("a.weight", made.codes), stored("a.weight_scale_inv", made.scales)});
  files.run({"migrate", "add-markers", "-i", blocks, "-o", files / "n.safetensors"});
  files.run({"verify", files / "n.safetensors", "--client", "custom"});
  files.run({"dequantize", files / "n.safetensors", "-o", files / "d.safetensors", "--dtype", "f32"});
  CHECK(at::equal(tensor_of(files / "d.safetensors", "a.weight"), made.weight));
  for (const char* sample : {"quanto_qint8", "torchao_int8", "sdnq/int8", "torchao_intx"}) {
    CAPTURE(sample);
    files.run({"migrate", "add-markers", "-i", golden(sample), "-o", files / "i.safetensors"});
    const bool runs = std::string_view(sample) == "torchao_intx";
    files.run({"verify", files / "i.safetensors", "--client", runs ? "custom" : "comfyui"});
    files.run({"dequantize", files / "i.safetensors", "-o", files / "j.safetensors", "--dtype", "f32"});
    CHECK(at::equal(tensor_of(files / "j.safetensors", "blk.0.q.weight"),
                    tensor_of(golden(std::string(sample) + ".truth"), "blk.0.q.weight")));
  }
  CHECK(says(
      files.run({"migrate", "add-markers", "-i", golden("bitsandbytes_nf4"), "-o", files / "x.safetensors"},
                4),
      "dequantize decodes"));
}

TEST_CASE("dialects: an adapter, a calibration file and a VAE are named as what they are", "[end_to_end]") {
  const Folder files;
  const std::string lora =
      files.file("lora.safetensors", {bf16_weight("diffusion_model.blocks.0.attn.q.lora_A.weight", 32, 256),
                                      bf16_weight("diffusion_model.blocks.0.attn.q.lora_B.weight", 256, 32),
                                      f32("diffusion_model.blocks.0.attn.q.alpha", {}, {16})});
  CHECK(says(files.converted(lora, "x.safetensors", {"--fp8"}, 2), "is an adapter (LoRA)"));
  files.converted(lora, "o.safetensors", {"--fp8", "--lora"});
  CHECK(files.run({"verify", files / "o.safetensors"}, 4).out.find("adapter") != std::string::npos);
  const std::string rows =
      files.file("rows.safetensors", {f32("a.rows", {2, 2}, {1, 2, 3, 4})}, {{"format", "ctq-calibration"}});
  CHECK(says(files.converted(rows, "x.safetensors", {"--fp8"}, 2), "--calibration-data"));
  const std::string vae =
      files.file("vae.safetensors", {bytes("decoder.conv_in.weight", Dtype::kBF16, {64, 4, 3, 3}),
                                     bf16_weight("decoder.mid.attn_1.q.weight", 64, 64)});
  CHECK(says(files.converted(vae, "v.safetensors", {"--fp8"}), "is a VAE alone"));
}
