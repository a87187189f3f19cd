#include "ctq/engine/settings.h"

#include <set>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <catch2/catch.hpp>

#include "engine/job.h"
#include "support/matchers.h"

namespace ctq::engine {
namespace {

using ctq::test::HasCode;

Settings of_a_model() {
  Settings settings;
  settings.input.path = "/models/flux.safetensors";
  return settings;
}

}  // namespace

TEST_CASE("settings: each has a name of its own, with its group", "[engine]") {
  const Settings settings;
  std::set<std::string_view> names;
  for_each(settings, [&](const AnySetting& setting) {
    CAPTURE(setting.name());
    CHECK(names.insert(setting.name()).second);
    CHECK(setting.name().find('.') != std::string_view::npos);
    CHECK_FALSE(setting.given());
    CHECK(setting.label() == setting.name());
  });
  CHECK(names.size() > 140);
}

TEST_CASE("settings: a value is text for people and exact for comparison", "[engine]") {
  Setting<uint64_t> bytes("compute.max_memory");
  bytes.set(4000000000, By::kUser, "4GB");
  CHECK(bytes.text() == "4GB");
  CHECK(bytes.exact_text() == "4000000000");
  Setting<std::optional<Quality>> quality("rounding.quality");
  CHECK(quality.text().empty());
  quality = Quality::kBest;
  CHECK(quality.text() == "best");
  CHECK(quality.by_user());
}

TEST_CASE("prepare: errors call a setting what the front end calls it", "[engine]") {
  Settings settings = of_a_model();
  settings.learning.min_k = 2000;
  CHECK_THROWS_MATCHES(
      prepare(settings), Error,
      HasCode(ErrorCode::kUsage, "argument learning.min_k: is above learning.max_k 1024 (got '2000')"));
  settings.learning.min_k.set_label("--min_k");
  settings.learning.max_k.set_label("--max_k");
  CHECK_THROWS_MATCHES(prepare(settings), Error,
                       HasCode(ErrorCode::kUsage, "argument --min_k: is above --max_k 1024 (got '2000')"));
}

TEST_CASE("prepare: a recipe's choice gives way, a user's is refused", "[engine]") {
  Settings settings = of_a_model();
  settings.target.scaling = "block";
  settings.target.convrot.set(true, By::kRecipe);
  CHECK(prepare(settings).plan.target.rotation_group == 0);
  settings.target.convrot = true;
  CHECK_THROWS_MATCHES(prepare(settings), Error, HasCode(ErrorCode::kUsage, "argument target.convrot"));
}

TEST_CASE("prepare: the input is required, all else has a default", "[engine]") {
  CHECK_THROWS_MATCHES(prepare({}), Error, HasCode(ErrorCode::kUsage, "argument input.path: is required"));
  const Job job = prepare(of_a_model());
  CHECK(job.output == "/models/flux_auto_int8_bs128.safetensors");
  CHECK(job.run.optimizer.optimizer == &optimize::kAuto);
  CHECK(job.run.optimizer.sweeps == 2);
  CHECK(job.notes.empty());
  CHECK(job.warnings.empty());
}

TEST_CASE("prepare: what is the process' own stays as it was, however many jobs are prepared", "[engine]") {
  const int threads = at::get_num_threads(), other = threads == 1 ? 2 : 1;
  const bool had_cuda = at::detail::getCUDAHooks().hasCUDA();
  for (int job = 0; job < 3; ++job) {
    Settings settings = of_a_model();
    settings.compute.threads = other;
    settings.compute.max_memory = uint64_t{1} << 30;
    const Job prepared = prepare(settings);
    CHECK(prepared.process.threads == other);
    CHECK(prepared.process.bounded_memory);
  }
  CHECK(at::get_num_threads() == threads);
  CHECK(at::detail::getCUDAHooks().hasCUDA() == had_cuda);
}

}  // namespace ctq::engine
