#include "format/bank.h"

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/golden.h"

namespace ctq::format {
namespace {

constexpr int64_t kExperts = 3, kRows = 48, kColumns = 64, kBlock = 16;

std::vector<Encoded> encode(const Codec& codec, const at::Tensor& bank) {
  std::vector<Encoded> experts;
  for (int64_t i = 0; i < bank.size(0); ++i) experts.push_back(*encode_nearest(codec, bank[i], kBlock));
  return experts;
}

TEST_CASE("bank: what is packed has the announced types and shapes, and is every expert's", "[format]") {
  at::manual_seed(3);
  for (const Codec& codec : registry()) {
    CAPTURE(codec.label());
    at::Tensor bank = at::randn({kExperts, kRows, kColumns});
    bank[1].mul_(100);
    const std::vector<Encoded> experts = encode(codec, bank);
    const auto announced = stored_tensors_of_bank(codec, kExperts, kRows, kColumns, kBlock);
    const std::vector<at::Tensor> stored = pack_bank(experts);
    REQUIRE(stored.size() == announced.size());
    for (size_t i = 0; i < stored.size(); ++i) {
      CAPTURE(announced[i].role);
      CHECK(announced[i].dtype == stored[i].scalar_type());
      CHECK(stored[i].sizes() == at::IntArrayRef(announced[i].shape));
      CHECK(stored[i].is_contiguous());
      for (int64_t e = 0; e < kExperts; ++e)
        CHECK(test::same_bits(stored[i][e], pack(experts[static_cast<size_t>(e)])[i]));
    }
    for (int64_t e = 0; e < kExperts; ++e) {
      std::vector<at::Tensor> of_one;
      for (const at::Tensor& tensor : stored) of_one.push_back(tensor[e]);
      const Encoded& expert = experts[static_cast<size_t>(e)];
      const Encoded back = unpack(codec, kBlock, expert.rotation_group, of_one, kRows, kColumns);
      CHECK(test::same_bits(decode(back), decode(expert)));
    }
  }
}

TEST_CASE("bank: a weight that is none is stored as ever", "[format]") {
  const Codec& codec = *find_codec("nvfp4", Granularity::kGroup);
  const auto bank = stored_tensors_of_bank(codec, /*experts=*/0, kRows, kColumns, 0);
  const auto matrix = stored_tensors(codec, kRows, kColumns, 0);
  REQUIRE(bank.size() == matrix.size());
  for (size_t i = 0; i < bank.size(); ++i) CHECK(bank[i].shape == matrix[i].shape);
}

TEST_CASE("bank_marker_json: num_experts is the last key, orig_shape has the experts", "[format]") {
  const auto marker = [](std::string_view format, Granularity granularity, MarkerOptions options = {}) {
    return bank_marker_json(*find_codec(format, granularity), 0, 32, options);
  };
  CHECK(marker("float8_e4m3fn", Granularity::kTensor) == R"({"format": "float8_e4m3fn", "num_experts": 32})");
  CHECK(marker("nvfp4", Granularity::kGroup, {.out_features = 30, .in_features = 64}) ==
        R"({"format": "nvfp4", "orig_shape": [32, 30, 64], "num_experts": 32})");
  CHECK(
      marker("convrot_w4a4", Granularity::kRow, {.full_precision_matrix_mult = true, .rotation_group = 64}) ==
      R"({"format": "convrot_w4a4", "full_precision_matrix_mult": true, )"
      R"("convrot_groupsize": 64, "num_experts": 32})");
}

}  // namespace
}  // namespace ctq::format
