// The rules of stable-diffusion.cpp, one file each (formats.md has no checker for them).
#include <algorithm>

#include <catch2/catch.hpp>

#include "support/quantized_checkpoint.h"
#include "verify/client.h"

namespace ctq::verify {
namespace {

using namespace ctq::test;
using safetensors::Dtype;

constexpr const char* kInt8 = R"({"format": "int8_tensorwise"})";

struct Parts {
  std::string json = kInt8;
  Dtype codes = Dtype::kI8;
  std::vector<int64_t> scale = {4, 1};
  std::vector<TestTensor> more = {};
};

std::vector<Finding> findings(const Parts& parts) {
  size_t scales = 1;
  for (const int64_t size : parts.scale) scales *= static_cast<size_t>(size);
  std::vector<TestTensor> tensors = parts.more;
  tensors.push_back(tensor("a.weight", parts.codes, {4, 16}, std::string(64, '\1')));
  tensors.push_back(f32("a.weight_scale", parts.scale, std::vector<float>(scales, 1)));
  if (!parts.json.empty()) tensors.push_back(marker("a", parts.json));
  const Opened opened(tensors);
  return check_structure(opened.file, {client::Program::kStableDiffusionCpp});
}

void refuses(const Parts& parts, const std::string& said) {
  const auto found = findings(parts);
  INFO(said);
  REQUIRE(is_refused(found));
  CHECK(std::ranges::any_of(
      found, [&](const Finding& finding) { return finding.text.find(said) != std::string::npos; }));
}

/// Not refused, with that remark.
void takes(const Parts& parts, const std::string& remark) {
  const auto found = findings(parts);
  CHECK_FALSE(is_refused(found));
  REQUIRE(found.size() == 1);
  CHECK(found[0].text.find(remark) != std::string::npos);
}

}  // namespace

TEST_CASE("stable-diffusion.cpp: takes int8_tensorwise with a scale per row, rotated or not", "[verify]") {
  const std::string builds = "builds with a ggml of its own";
  takes({}, builds);
  takes({.scale = {4}}, builds);
  takes({.json = R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 16})"}, builds);
  CHECK_FALSE(is_refused(findings(
      {.more = {bf16_weight("b.weight", 4, 4), tensor("raw.weight", Dtype::kF8E4M3, {2, 2}, "abcd")}})));
  CHECK_FALSE(is_refused(findings({.more = {tensor("other", Dtype::kU8, {3}, "abc")}})));
}

TEST_CASE("stable-diffusion.cpp: takes FP8 with one scale or one per row, however it is marked", "[verify]") {
  CHECK(findings({.json = R"({"format": "float8_e4m3fn"})", .codes = Dtype::kF8E4M3, .scale = {}}).empty());
  CHECK(findings({.json = R"({"format": "float8_e4m3fn_rowwise"})", .codes = Dtype::kF8E4M3, .scale = {4}})
            .empty());
  CHECK(findings({.json = R"({"format": "float8_e5m2"})", .codes = Dtype::kF8E5M2, .scale = {1}}).empty());
  CHECK(findings({.json = "", .codes = Dtype::kF8E4M3, .scale = {}}).empty());
  refuses({.json = R"({"format": "float8_e4m3fn_blockwise"})", .codes = Dtype::kF8E4M3, .scale = {2, 2}},
          "[2, 2]");
  refuses({.json = R"({"format": "mxfp8"})", .codes = Dtype::kF8E4M3, .scale = {}}, "pictures are white");
}

TEST_CASE("stable-diffusion.cpp: refuses or misreads everything else", "[verify]") {
  refuses({.scale = {}}, "a scale per row");
  refuses({.json = ""}, "no comfy_quant");
  refuses({.json = "{"}, "not JSON");
  refuses({.json = R"({"format": "int8_blockwise"})"}, "int8_blockwise");
  refuses({.json = R"({"convrot": false})"}, "int8_tensorwise");
  refuses({.json = R"({"format": "int8_tensorwise", "convrot": true})"}, "without convrot_groupsize");
  refuses({.json = R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 8})"},
          "no power of 4");
  refuses({.json = R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 64})"},
          "divides in_features 16");
  refuses({.json = kInt8, .codes = Dtype::kU8}, "not I8 with two dimensions");
  refuses({.json = "{\"format\": \"int8_tensorwise\"" + std::string(1 << 16, ' ') + "}"}, "64 KiB");
  refuses({.more = {tensor("b", Dtype::kI16, {1}, "ab")}}, "I16: a load error");
  refuses({.more = {tensor("b", Dtype::kF8E8M0, {1}, "a")}}, "F8_E8M0: a load error");
  refuses({.more = {tensor("b", Dtype::kI8, {1}, "a")}}, "no weight of a marked layer");
  refuses({.more = {tensor("b", Dtype::kF32, {1, 1, 1, 1, 1, 1}, "abcd")}}, "five at most");
  refuses({.more = {stored("a.hadamard_quip", at::ones({}, at::kChar))}}, "QuIP");
}

}  // namespace ctq::verify
