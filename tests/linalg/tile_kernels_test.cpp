#include "linalg/kernels/cpu/tile_kernels.h"

#include <cstring>
#include <numeric>
#include <random>

#include <catch2/catch.hpp>

#include "linalg/reference.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg::cpu {
namespace {

using test::reference_code;

std::vector<const TileKernels*> runnable_kernels() {
  std::vector<const TileKernels*> tables;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (const TileKernels* table = find_kernels(isa)) tables.push_back(table);
  }
  return tables;
}

/// Codes of a run with one factor.
template <typename T>
std::vector<uint8_t> encode_run(const TileKernels& table, Source source, Code code, bool divide,
                                const std::vector<T>& weight, float factor) {
  std::vector<uint8_t> codes(weight.size());
  const auto n = static_cast<int64_t>(weight.size());
  table.encode(source, code, divide, weight.data(), {1, n, n}, &factor, codes.data());
  return codes;
}

size_t count_wrong(Code code, const std::vector<float>& u, const std::vector<uint8_t>& codes) {
  size_t wrong = 0;
  for (size_t i = 0; i < u.size(); ++i) wrong += reference_code(code, u[i]) != codes[i];
  return wrong;
}

TEST_CASE("encoders: every value, midpoint and neighbour gets the nearest code, ties to even", "[linalg]") {
  for (const TileKernels* table : runnable_kernels()) {
    for (Code code : test::kAllCodes) {
      CAPTURE(table->isa, static_cast<int>(code));
      const std::vector<float> u = test::values_that_matter(code);
      for (bool divide : {false, true}) {
        CHECK(count_wrong(code, u, encode_run(*table, Source::kFloat32, code, divide, u, 1.0f)) == 0);
        const std::vector<double> wide(u.begin(), u.end());
        CHECK(count_wrong(code, u, encode_run(*table, Source::kFloat64, code, divide, wide, 1.0f)) == 0);
      }
    }
  }
}

TEST_CASE("encoders: all finite float16 and bfloat16 patterns get the nearest code", "[linalg]") {
  for (const TileKernels* table : runnable_kernels()) {
    for (Source source : {Source::kFloat16, Source::kBFloat16}) {
      std::vector<uint16_t> bits;
      std::vector<float> values;
      for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
        const auto half = static_cast<uint16_t>(pattern);
        const float value =
            source == Source::kFloat16 ? test::float16_value(half) : test::bfloat16_value(half);
        if (std::isnan(value)) continue;
        bits.push_back(half);
        values.push_back(value);
      }
      for (Code code : test::kAllCodes) {
        CAPTURE(table->isa, static_cast<int>(source), static_cast<int>(code));
        for (float factor : {1.0f, 0.37f}) {
          std::vector<float> product(values), quotient(values);
          for (float& x : product) x *= factor;
          for (float& x : quotient) x /= factor;
          CHECK(count_wrong(code, product, encode_run(*table, source, code, false, bits, factor)) == 0);
          CHECK(count_wrong(code, quotient, encode_run(*table, source, code, true, bits, factor)) == 0);
        }
      }
    }
  }
}

TEST_CASE("encoders: random weights get the nearest code of the rounded product or quotient", "[linalg]") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> weight(5000);
  for (float& w : weight) w = 0.02f * normal(random);
  for (const TileKernels* table : runnable_kernels()) {
    for (Code code : test::kAllCodes) {
      CAPTURE(table->isa, static_cast<int>(code));
      const float factor = test::max_abs(code) * 13.7f;
      std::vector<float> product(weight), quotient(weight);
      for (float& x : product) x *= factor;
      for (float& x : quotient) x /= 1 / factor;
      CHECK(count_wrong(code, product, encode_run(*table, Source::kFloat32, code, false, weight, factor)) ==
            0);
      CHECK(count_wrong(code, quotient,
                        encode_run(*table, Source::kFloat32, code, true, weight, 1 / factor)) == 0);
    }
  }
}

TEST_CASE("encoders: the sign of zero is kept in floating codes, and NaN does no harm", "[linalg]") {
  const std::vector<float> weight(70, -0.0f), nan(70, std::numeric_limits<float>::quiet_NaN());
  for (const TileKernels* table : runnable_kernels()) {
    for (Code code : test::kAllCodes) {
      CAPTURE(table->isa, static_cast<int>(code));
      const uint8_t zero = test::reference_code(code, -0.0f);
      if (code == Code::kE2M1) CHECK(zero == 8);
      if (code == Code::kE4M3 || code == Code::kE5M2) CHECK(zero == 0x80);
      CHECK(encode_run(*table, Source::kFloat32, code, code == Code::kInt8, weight, 3.0f) ==
            std::vector<uint8_t>(70, zero));
      CHECK(encode_run(*table, Source::kFloat32, code, true, nan, 1.0f).size() == 70);
    }
  }
}

TEST_CASE("encoders: where the factor is 0 every weight gets the code of 0", "[linalg]") {
  const std::vector<float> weight = {0.0f, -0.0f, 1.0f, -1.0f, 1e30f, -1e-40f};
  for (const TileKernels* table : runnable_kernels()) {
    for (Code code : test::kAllCodes) {
      for (bool divide : {false, true}) {
        CAPTURE(table->isa, static_cast<int>(code), divide);
        CHECK(encode_run(*table, Source::kFloat32, code, divide, weight, 0.0f) ==
              std::vector<uint8_t>(weight.size(), test::reference_code(code, 0.0f)));
      }
    }
  }
}

TEST_CASE("decoders: every code gives its value, and the special codes of FP8 are not finite", "[linalg]") {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  for (const TileKernels* table : runnable_kernels()) {
    for (Code code : test::kAllCodes) {
      CAPTURE(table->isa, static_cast<int>(code));
      std::vector<float> values(256);
      const float scale = 1.0f / 3.0f;
      table->decode(code, codes.data(), {1, 256, 256}, &scale, values.data());
      for (const test::Value& known : test::all_values(code)) {
        CHECK(values[known.code] == static_cast<float>(known.value) * scale);
        if (known.value == 0) CHECK(values[known.code | test::sign_bit(code)] == 0);
      }
      if (code == Code::kInt8) CHECK(values[0x80] == -128.0f * scale);
      const int first_special = code == Code::kE4M3 ? 0x7F : code == Code::kE5M2 ? 0x7C : 0x80;
      for (int c = first_special; c < 0x80; ++c) {
        CHECK_FALSE(std::isfinite(values[static_cast<size_t>(c)]));
        CHECK_FALSE(std::isfinite(values[static_cast<size_t>(c | 0x80)]));
      }
    }
  }
}

TEST_CASE("nibbles: all pairs of codes, in either order, for every length", "[linalg]") {
  std::vector<uint8_t> codes;
  for (int pair = 0; pair < 256; ++pair) {
    codes.push_back(static_cast<uint8_t>(pair & 15));
    codes.push_back(
        static_cast<uint8_t>((pair >> 4) | (pair >= 0x80 ? 0xF0 : 0)));  // signs do not spill over
  }
  for (const TileKernels* table : runnable_kernels()) {
    for (int64_t n : {0, 1, 31, 32, 63, 256}) {
      CAPTURE(table->isa, n);
      std::vector<uint8_t> low_first(static_cast<size_t>(n)), high_first(low_first);
      table->pack_nibbles(codes.data(), n, /*even_is_high=*/false, low_first.data());
      table->pack_nibbles(codes.data(), n, /*even_is_high=*/true, high_first.data());
      for (size_t i = 0; i < low_first.size(); ++i) {
        CHECK(low_first[i] == i);
        CHECK(high_first[i] == ((i & 15) << 4 | i >> 4));
      }
    }
  }
}

TEST_CASE("kernels: all instruction sets agree on every width, tile and height", "[linalg]") {
  std::mt19937 random(11);
  std::uniform_int_distribution<uint32_t> any;
  constexpr int64_t kRows = 3;
  const TileKernels& expected = *find_kernels("baseline");
  for (const TileKernels* table : runnable_kernels()) {
    for (Source source : {Source::kFloat32, Source::kFloat16, Source::kBFloat16, Source::kFloat64}) {
      size_t differences = 0;
      std::vector<int64_t> widths(70);
      std::iota(widths.begin(), widths.end(), 1);
      for (int64_t width : {127, 128, 129, 1023, 1024, 1025, 2300}) widths.push_back(width);
      for (int64_t cols : widths) {
        const auto numel = static_cast<size_t>(kRows * cols);
        std::vector<double> memory(numel);  // large enough for every type
        for (size_t i = 0; i < numel; ++i) {
          if (source == Source::kFloat64) {
            memory[i] = static_cast<double>(any(random)) - 2e9;
          } else if (source == Source::kFloat32) {
            const float value = static_cast<float>(any(random)) * 1e-3f - 2e6f;
            std::memcpy(reinterpret_cast<char*>(memory.data()) + 4 * i, &value, 4);
          } else {
            const auto bits = static_cast<uint16_t>(any(random) & 0xBBFF);  // finite in both half types
            std::memcpy(reinterpret_cast<char*>(memory.data()) + 2 * i, &bits, 2);
          }
        }
        for (int64_t tile_cols :
             {int64_t{1}, int64_t{3}, int64_t{16}, int64_t{32}, int64_t{128}, int64_t{1500}, cols}) {
          for (int64_t rows : {int64_t{1}, kRows}) {
            const Band band = {rows, cols, tile_cols};
            const auto tiles = static_cast<size_t>((cols + tile_cols - 1) / tile_cols);
            std::vector<uint32_t> bits(tiles), expected_bits(tiles);
            table->amax(source, memory.data(), band, bits.data());
            expected.amax(source, memory.data(), band, expected_bits.data());
            differences += bits != expected_bits;
            std::vector<float> factor(tiles);
            for (size_t t = 0; t < tiles; ++t) factor[t] = 1e-4f * static_cast<float>(t + 1);
            for (Code code : test::kAllCodes) {
              std::vector<uint8_t> codes(numel), expected_codes(numel);
              table->encode(source, code, /*divide=*/false, memory.data(), band, factor.data(), codes.data());
              expected.encode(source, code, /*divide=*/false, memory.data(), band, factor.data(),
                              expected_codes.data());
              std::vector<float> values(numel), expected_values(numel);
              table->decode(code, codes.data(), band, factor.data(), values.data());
              expected.decode(code, codes.data(), band, factor.data(), expected_values.data());
              differences += codes != expected_codes;
              differences += std::memcmp(values.data(), expected_values.data(), numel * sizeof(float)) != 0;
            }
          }
        }
      }
      CAPTURE(table->isa, static_cast<int>(source));
      CHECK(differences == 0);
    }
  }
}

TEST_CASE("find_kernels: an unknown name has no table, the chosen one can be found", "[linalg]") {
  CHECK(find_kernels("sse9") == nullptr);
  CHECK(find_kernels(kernels().isa) == &kernels());
}

}  // namespace
}  // namespace ctq::linalg::cpu
