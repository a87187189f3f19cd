#include "engine/partition.h"

#include <map>

#include <catch2/catch.hpp>

#include "support/matchers.h"

namespace ctq::engine {
namespace {

using ctq::test::HasCode;
using Variables = std::map<std::string, std::string>;

std::string parsed(const std::string& text, const Variables& variables = {}) {
  Setting<std::string> setting("output.partition", text);
  setting.set_label("--partition");
  const auto partition = parse_partition(setting, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
  return fmt::format("{}/{}", partition.part, partition.parts);
}

}  // namespace

TEST_CASE("partition: i/n", "[engine]") {
  CHECK(parsed("1/1") == "1/1");
  CHECK(parsed("3/12") == "3/12");
  const auto text = GENERATE("0/3", "4/3", "-1/3", "1", "", "/", "a/b", "1/2/3", "1.0/2", "1/0", "Auto");
  CHECK_THROWS_MATCHES(parsed(text), Error, HasCode(ErrorCode::kUsage, "--partition"));
}

TEST_CASE("partition: what launchers say", "[engine]") {
  CHECK(parsed("auto", {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}) == "3/4");
  CHECK(parsed("auto", {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}) == "1/4");
  CHECK(parsed("auto", {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}) == "4/4");
  CHECK(parsed("auto", {{"JOB_COMPLETION_INDEX", "1"}, {"JOB_COMPLETIONS", "8"}}) == "2/8");
  Variables array{{"SLURM_ARRAY_TASK_ID", "9"},
                  {"SLURM_ARRAY_TASK_COUNT", "4"},
                  {"SLURM_ARRAY_TASK_MIN", "5"},
                  {"SLURM_PROCID", "0"},
                  {"SLURM_NTASKS", "1"}};
  CHECK_THROWS_MATCHES(parsed("auto", array), Error, HasCode(ErrorCode::kUsage, "SLURM_ARRAY_TASK_ID is 9"));
  array["SLURM_ARRAY_TASK_STEP"] = "2";
  CHECK(parsed("auto", array) == "3/4");
  array["SLURM_ARRAY_TASK_STEP"] = "3";
  CHECK_THROWS_MATCHES(parsed("auto", array), Error, HasCode(ErrorCode::kUsage));
}

TEST_CASE("partition: an environment that does not say who we are", "[engine]") {
  CHECK_THROWS_MATCHES(parsed("auto"), Error, HasCode(ErrorCode::kUsage, "no scheduler"));
  CHECK_THROWS_MATCHES(parsed("auto", {{"JOB_COMPLETION_INDEX", "1"}}), Error,
                       HasCode(ErrorCode::kUsage, "lacks JOB_COMPLETIONS"));
  CHECK_THROWS_MATCHES(parsed("auto", {{"PMI_RANK", "x"}, {"PMI_SIZE", "4"}}), Error,
                       HasCode(ErrorCode::kUsage, "PMI_RANK is 'x'"));
}

}  // namespace ctq::engine
