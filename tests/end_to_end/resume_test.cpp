// Conversions that are interrupted and started again (tests/clients/resume_after_kill.py: those that are
// killed).
#include <map>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/preload_library.h"
#include "support/run_binary.h"

using namespace ctq::test;
using Names = std::vector<std::string>;

namespace {

/// Forty layers that take some tenths of a second each.
struct Fixture {
  TempDir in, out;
  std::string model = in / "m.safetensors", output = out / "o.safetensors";

  Fixture() {
    std::vector<TestTensor> tensors;
    for (size_t i = 0; i < 40; ++i)
      tensors.push_back(bf16_weight(std::string(i, 'a') + "l.weight", 256, 256));
    make_checkpoint(model, tensors);
  }
  Outcome convert(const Names& more = {}, const std::string& prefix = "") const {
    Names args = {"-i",          model,      "-o",         output, "--fp8",     "--comfy_quant",
                  "--optimizer", "original", "--num_iter", "400",  "--threads", "1"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args, prefix);
  }
  /// What an interrupted run says, when it left something.
  std::string interrupt(const Names& more = {}) const {
    // Without --foreground `timeout` signals the process and its group.
    const Outcome run = convert(more, "timeout --preserve-status -s INT 2");
    INFO(run.err << run.out);
    REQUIRE(run.code == 130);
    REQUIRE(out.entries() == Names{".o.safetensors.journal", ".o.safetensors.partial"});
    return run.err;
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Of all layers of a conversion's report, by weight.
std::map<std::string, nlohmann::json> histograms_in(const std::string& report) {
  std::map<std::string, nlohmann::json> found;
  const auto whole = nlohmann::json::parse(read_file(report));
  for (const auto& tensor : whole.at("tensors"))
    found[tensor.at("name")] = tensor.at("error").at("histograms");
  return found;
}

}  // namespace

TEST_CASE("resume: an interrupted run says what it keeps, and the same command ends as if nothing had been",
          "[end_to_end][slow]") {
  const Fixture files;
  const std::string report = files.in / "r.json";
  const std::string said = files.interrupt({"--report", report});
  CHECK(has(said, "layers are done and kept: the same command goes on from there"));
  CHECK(has(said, "rm -f '" + (files.out / ".o.safetensors.journal") + "' '" +
                      (files.out / ".o.safetensors.partial") + "'"));
  const Outcome again =
      files.convert({"--report", report, "--quality-threshold", "20", "--verbose", "NORMAL"});
  INFO(again.err << again.out);
  REQUIRE(again.code == 0);
  CHECK(has(again.out, "resuming: "));
  CHECK(has(again.out, " of 40 tensors are done"));
  CHECK(files.out.entries() == Names{"o.safetensors"});
  const std::string bytes = read_file(files.output);
  const auto histograms = histograms_in(report);
  REQUIRE(histograms.size() == 40);
  REQUIRE(files.convert({"--no-resume", "--report", report}).code == 0);
  CHECK(read_file(files.output) == bytes);
  CHECK(histograms_in(report) == histograms);
}

TEST_CASE("resume: another run starts afresh, says why, and leaves nothing of the first",
          "[end_to_end][slow]") {
  const Fixture files;
  files.interrupt();
  Names more = {"--simple"};
  std::string why;
  SECTION("options") { why = "with other options, or other files that they name"; }
  SECTION("input") {
    std::filesystem::last_write_time(files.model, std::filesystem::file_time_type::clock::now());
    why = "of another input";
  }
  SECTION("--no-resume") {
    more.emplace_back("--no-resume");
    why = "(--no-resume)";
  }
  const Outcome run = files.convert(more);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "not resuming: "));
  CHECK(has(run.out, why));
  CHECK_FALSE(has(run.out, " tensors are done"));
  CHECK(files.out.entries() == Names{"o.safetensors"});
}

TEST_CASE("resume: with a merged LoRA too, another model of the same shapes starts afresh",
          "[end_to_end][slow]") {
  const Fixture files;
  make_checkpoint(files.in / "l.safetensors",
                  {bf16_weight("l.lora_A.weight", 8, 256), bf16_weight("l.lora_B.weight", 256, 8)});
  files.interrupt({"--merge-lora", files.in / "l.safetensors"});
  std::filesystem::last_write_time(files.model, std::filesystem::file_time_type::clock::now());
  const Outcome run = files.convert({"--merge-lora", files.in / "l.safetensors", "--simple"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "of another input"));
}

TEST_CASE("resume: of a quantized model too, another of the same shapes starts afresh",
          "[end_to_end][slow]") {
  const Fixture files;
  const std::string plain = files.in / "plain.safetensors";
  std::filesystem::rename(files.model, plain);
  // INT8 on another grid than what follows, which so has something to do.
  REQUIRE(run_binary({"-i", plain, "-o", files.model, "--int8", "--scaling_mode", "row", "--simple"}).code ==
          0);
  files.interrupt({"--requantize"});
  std::filesystem::last_write_time(files.model, std::filesystem::file_time_type::clock::now());
  const Outcome run = files.convert({"--requantize", "--simple"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "of another input"));
}

TEST_CASE("resume: layers whose values were not counted are of no use to a report that shows them",
          "[end_to_end][slow]") {
  const Fixture files;
  files.interrupt({"--report", files.in / "r.csv"});
  const Outcome run = files.convert({"--report", files.in / "r.json"});
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "not resuming: "));
  CHECK(histograms_in(files.in / "r.json").size() == 40);
}

TEST_CASE("resume: a full disk costs no layer that was done", "[end_to_end][slow]") {
  const PreloadLibrary library;
  if (!library.built()) {
    WARN("[skipped] no C compiler");
    return;
  }
  const Fixture files;
  const Outcome run = files.convert({}, library.prefix(".o.safetensors.partial", "full:60"));
  INFO(run.err << run.out);
  REQUIRE(run.code == 1);
  CHECK(has(run.err, "not enough space"));
  CHECK(has(run.err, "layers are done and kept: the same command goes on from there"));
  REQUIRE(files.out.entries() == Names{".o.safetensors.journal", ".o.safetensors.partial"});
  const Outcome again = files.convert();
  INFO(again.err << again.out);
  REQUIRE(again.code == 0);
  CHECK(has(again.out, " of 40 tensors are done"));
  const std::string bytes = read_file(files.output);
  REQUIRE(files.convert({"--no-resume"}).code == 0);
  CHECK(read_file(files.output) == bytes);
}

TEST_CASE("resume: a damaged partial file costs the layers that are damaged", "[end_to_end][slow]") {
  const Fixture files;
  files.interrupt();
  std::string damaged = read_file(files.out / ".o.safetensors.partial");
  for (size_t i = damaged.size() / 2; i < damaged.size(); ++i) damaged[i] ^= 1;
  write_file(files.out / ".o.safetensors.partial", damaged);
  REQUIRE(files.convert().code == 0);
  const std::string bytes = read_file(files.output);
  REQUIRE(files.convert({"--no-resume"}).code == 0);
  CHECK(read_file(files.output) == bytes);
}
