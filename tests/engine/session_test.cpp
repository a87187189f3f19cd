#include "ctq/engine/session.h"

#include <string>
#include <string_view>
#include <vector>

#include <spdlog/spdlog.h>
#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::engine {
namespace {

using namespace ctq::test;

/// Two layers and a bias.
std::string make_model(const TempDir& dir) {
  const std::string path = dir / "model.safetensors";
  make_checkpoint(path,
                  {bf16_weight("blocks.0.to_q.weight", 64, 128), bf16_vector("blocks.0.to_q.bias", 64),
                   bf16_weight("blocks.1.to_q.weight", 64, 128)},
                  {{"modelspec.title", "small"}});
  return path;
}

Settings to_fp8(const TempDir& dir) {
  Settings settings;
  settings.input.path = make_model(dir);
  settings.output.path = dir / "out.safetensors";
  settings.target.type = "fp8";
  settings.output.comfy_layout = true;
  settings.compute.threads = 1;
  return settings;
}

/// Writes down what it is told.
struct Recorded : Events {
  void started(const PlanSummary& plan) override {
    lines.push_back(fmt::format("{} of {}", plan.quantized, plan.tensors));
  }
  void tensor_done(const TensorDone& done) override {
    lines.push_back(fmt::format("{}/{} {} {} {}", done.index, done.count, done.name,
                                decision_name(done.decision), done.format));
    if (cancels) cancels->cancel();
  }
  std::vector<std::string> lines;
  Session* cancels = nullptr;
};

}  // namespace

TEST_CASE("session: a conversion returns what it wrote, and tells of each tensor", "[engine]") {
  const TempDir dir;
  Session session;
  Settings settings = to_fp8(dir);
  settings.report.quality = true;
  Recorded events;
  const ConversionResult result = session.convert(settings, events);
  CHECK(result.written == dir / "out.safetensors");
  CHECK(result.quantized == 2);
  CHECK(result.kept == 1);
  CHECK(result.bytes_out == std::filesystem::file_size(result.written));
  REQUIRE(result.layers.size() == 2);
  CHECK(result.layers[0].name == "blocks.0.to_q.weight");
  CHECK(result.layers[0].error.sqnr_db > 25);
  CHECK(result.layers[0].error.numel == 64 * 128);
  CHECK(result.unfit.empty());
  REQUIRE(events.lines.size() == 4);
  CHECK(events.lines.front() == "2 of 3");
  CHECK_THAT(events.lines.back(), Catch::Matchers::StartsWith("3/3 blocks."));
  CHECK(std::ranges::count(events.lines, "1/3 blocks.0.to_q.bias keep ") == 1);
}

TEST_CASE("session: a plan writes nothing", "[engine]") {
  const TempDir dir;
  Session session;
  const PlanResult plan = session.plan(to_fp8(dir));
  REQUIRE(plan.tensors.size() == 3);
  CHECK(plan.tensors[0].decision == Decision::kKeep);
  CHECK(plan.tensors[1].label == "float8_e4m3fn (tensor)");
  CHECK(plan.tensors[1].bytes_in == 2 * 64 * 128);
  CHECK(plan.summary.quantized == 2);
  CHECK(dir.entries() == std::vector<std::string>{"model.safetensors"});
}

TEST_CASE("session: an inspection and a verdict of what was written", "[engine]") {
  const TempDir dir;
  Session session;
  const std::string written = session.convert(to_fp8(dir)).written;
  const Inspection inside = session.inspect(written);
  CHECK(inside.metadata.at("modelspec.title") == "small");
  CHECK(inside.files.size() == 1);
  REQUIRE(inside.layers.size() == 2);
  CHECK(inside.layers[0].name == "blocks.0.to_q");
  CHECK(inside.layers[0].format == "float8_e4m3fn");
  CHECK(inside.layers[0].dialect == "comfy_quant");
  CHECK(inside.layers[0].shape == std::vector<int64_t>{64, 128});
  VerificationSettings check;
  check.input = written;
  check.original = dir / "model.safetensors";
  CHECK_FALSE(session.verify(check).refused);
  check.min_sqnr = 90;
  const Verdict verdict = session.verify(check);
  CHECK(verdict.refused);
  CHECK(verdict.findings.size() == 2);
}

TEST_CASE("settings: a choice by its word", "[engine]") {
  Settings settings;
  settings.rounding.optimizer.choose("gptq");
  CHECK(settings.rounding.optimizer.text() == "gptq");
  settings.rounding.quality.choose("best");
  CHECK(**settings.rounding.quality == Quality::kBest);
  settings.target.block_fallback.choose("skip");
  CHECK(settings.target.block_fallback.by_user());
  CHECK_THROWS_MATCHES(settings.learning.schedule.choose("steep"), Error,
                       HasCode(ErrorCode::kUsage, "argument learning.schedule: must be one of adaptive, "));
}

TEST_CASE("session: statistics for a model", "[engine]") {
  const TempDir dir;
  Session session;
  CalibrationSettings settings;
  settings.input = make_model(dir);
  settings.output = dir / "statistics.safetensors";
  session.calibrate(settings);
  CHECK(session.inspect(dir / "statistics.safetensors").tensors.size() > 1);
  CalibrationSettings list;
  list.list = dir / "statistics.safetensors";
  CHECK_THROWS_MATCHES(session.calibrate(list), Error, HasCode(ErrorCode::kUsage, "calibrate.list"));
}

TEST_CASE("session: cancel() ends a call, and the next one is free of it", "[engine]") {
  const TempDir dir;
  Session session;
  Settings settings = to_fp8(dir);
  settings.output.resume = false;
  Recorded events;
  events.cancels = &session;
  CHECK_THROWS_MATCHES(session.convert(settings, events), Error, HasCode(ErrorCode::kInterrupted));
  CHECK(dir.entries() == std::vector<std::string>{"model.safetensors"});
  CHECK(session.convert(settings).quantized == 2);
}

TEST_CASE("session: the log goes to a function, and back where it went before", "[engine]") {
  const TempDir dir;
  const auto before = spdlog::default_logger();
  std::vector<std::string> warnings;
  {
    Session session({.log = [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::kWarning) warnings.emplace_back(line);
    }});
    CalibrationSettings settings;
    settings.input = make_model(dir);
    settings.output = dir / "statistics.safetensors";
    session.calibrate(settings);
  }
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Catch::Matchers::Contains("are those of random rows"));
  CHECK(spdlog::default_logger() == before);
}

TEST_CASE("session: what is wrong is an Error with its kind", "[engine]") {
  const TempDir dir;
  Session session;
  CHECK_THROWS_MATCHES(Session(), Error, HasCode(ErrorCode::kFailure, "another session"));
  Settings settings = to_fp8(dir);
  settings.input.path = dir / "absent.safetensors";
  CHECK_THROWS_MATCHES(session.convert(settings), Error, HasCode(ErrorCode::kBadInput, "absent"));
  settings = to_fp8(dir);
  settings.report.dry_run = DryRun::kAnalyze;
  CHECK_THROWS_MATCHES(session.convert(settings), Error,
                       HasCode(ErrorCode::kUsage, "argument report.dry_run: is for the program"));
  settings = to_fp8(dir);
  settings.layers.exclude = "nothing has such a name";
  settings.report.strict = true;
  CHECK_THROWS_MATCHES(session.convert(settings), Error, HasCode(ErrorCode::kFailure, "(report.strict)"));
  CHECK_THROWS_MATCHES(session.plan(settings), Error, HasCode(ErrorCode::kFailure, "(report.strict)"));
}

}  // namespace ctq::engine
