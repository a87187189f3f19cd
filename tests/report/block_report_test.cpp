#include "report/block_report.h"

#include <catch2/catch.hpp>

using namespace ctq;
using namespace ctq::report;
using pipeline::BlockStatistics;

namespace {

/// 100 values of square mean 1 with that relative error.
metrics::CastStatistics with_error(double error) {
  metrics::CastStatistics values;
  values.numel = 100, values.sum_squares = 100, values.sum_error_squares = 100 * error * error;
  return values;
}

/// Blocks of a text encoder with 3 % everywhere.
std::vector<BlockStatistics> encoder(int64_t count) {
  std::vector<BlockStatistics> blocks;
  for (int64_t index = 0; index < count; ++index) {
    BlockStatistics& block = blocks.emplace_back();
    block.index = index;
    for (const char* part : {"attn.q_proj", "attn.k_proj", "attn.v_proj"})
      block.weights.push_back({part, "attn.in_proj_weight", with_error(0.03)});
    for (const char* whole : {"attn.out_proj", "MLP.c_fc", "MLP.c_proj"})
      block.weights.push_back({whole, "", with_error(0.03)});
  }
  return blocks;
}

void set_error(BlockStatistics& block, std::string_view weight, double error) {
  for (pipeline::WeightStatistics& each : block.weights) {
    if (each.name == weight) each.values = with_error(error);
  }
}

std::string command_of(std::vector<BlockStatistics> blocks, std::set<int64_t> keep = {},
                       const std::string& path = "clip.safetensors") {
  return make_block_report(path, std::move(blocks), keep).advice->command;
}

}  // namespace

TEST_CASE("block report: threshold and ranking", "[report]") {
  std::vector<BlockStatistics> blocks = encoder(4);
  for (pipeline::WeightStatistics& weight : blocks[2].weights) weight.values = with_error(0.11);
  const BlockReport report = make_block_report("x", blocks, std::nullopt);
  CHECK(report.mean == Approx(0.05));
  CHECK(report.threshold == Approx(0.05 + 0.08 * std::sqrt(3.0) / 4));
  CHECK(report.ranking.front() == 2);
  CHECK(report.is_sensitive(report.blocks[2]));
  CHECK_FALSE(report.is_sensitive(report.blocks[1]));
  CHECK_FALSE(report.advice.has_value());
}

TEST_CASE("block report: the command for a harmless file keeps what was asked for", "[report]") {
  CHECK(
      command_of(encoder(16), {0, 1, 2}) ==
      "convert_to_quant clip-g -i clip.safetensors -o OUTPUT -k 0-2 --split-attn-qkv q16,kv8 --attn-out-fp8");
  CHECK(command_of(encoder(16)).find(" -k 0 ") != std::string::npos);
  // One number alone would be a count.
  CHECK(command_of(encoder(16), {5}).find(" -k 5-5 ") != std::string::npos);
  CHECK(command_of(encoder(16), {}, "my clip's.safetensors").find("-i 'my clip'\\''s.safetensors' ") !=
        std::string::npos);
}

TEST_CASE("block report: a few blocks with a risky k or v are kept, many make a split not worth it",
          "[report]") {
  std::vector<BlockStatistics> blocks = encoder(16);
  set_error(blocks[4], "attn.k_proj", 0.061);
  set_error(blocks[9], "attn.v_proj", 0.06);
  set_error(blocks[10], "attn.q_proj", 0.2);  // q stays anyway
  set_error(blocks[15], "attn.k_proj", 0.2);  // so does the last block
  // Blocks 10 and 15 are sensitive by their error.
  CHECK(command_of(blocks).find(" -k 4,9-10 --split-attn-qkv q16,kv8") != std::string::npos);
  set_error(blocks[5], "attn.k_proj", 0.07);
  const std::string command = command_of(blocks);
  CHECK(command.find("--split-attn-qkv") == std::string::npos);
  CHECK(command.find(" -k 10-10") != std::string::npos);
}

TEST_CASE("block report: an elevated output projection is left out, unless its block is kept", "[report]") {
  std::vector<BlockStatistics> blocks = encoder(16);
  set_error(blocks[3], "attn.out_proj", 0.08);
  for (const size_t noisy : {7u, 8u}) set_error(blocks[noisy], "MLP.c_fc", 0.3);
  CHECK(command_of(blocks).find("--attn-out-fp8") == std::string::npos);
  CHECK(command_of(blocks, {3}).find("--attn-out-fp8") != std::string::npos);
  const BlockReport report = make_block_report("x", blocks, std::set<int64_t>{});
  CHECK(report.advice->outputs.at(3).risk == Risk::kElevated);
  CHECK(report.advice->sensitive == std::vector<int64_t>{7, 8});
  CHECK(block_report_text(report).find("review carefully <<") != std::string::npos);
}

TEST_CASE("block report: the page shows names as text", "[report]") {
  std::vector<BlockStatistics> blocks = encoder(2);
  blocks[0].stack = blocks[1].stack = "<b>&";
  const std::string page = block_report_html(make_block_report("<script>", blocks, std::nullopt));
  CHECK(page.find("<script>") == std::string::npos);
  CHECK(page.find("&lt;b&gt;&amp;") != std::string::npos);
  CHECK(page.find("<b>") == std::string::npos);
}
