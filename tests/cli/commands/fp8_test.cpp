#include "cli/commands/fp8.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "cli/options/option.h"
#include "format/log_scale.h"

namespace ctq::cli {
namespace {

engine::Job job_of(std::vector<std::string> args) {
  args.insert(args.begin(), {"-i", "/models/t5.safetensors"});
  return make_fp8_job(args);
}

std::string fault_of(const std::vector<std::string>& args) {
  try {
    job_of(args);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUsage);
    return error.what();
  }
  return "";
}

bool has_note(const engine::Job& job, const std::string& part) {
  for (const std::string& note : job.notes) {
    if (note.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("fp8: the derived name of every combination", "[cli]") {
  struct Row {
    std::vector<std::string> args;
    std::string name;
  };
  const std::vector<Row> rows = {
      {{}, "_learned_svd"},
      {{"--t5xxl"}, "_learned_svd"},
      {{"--keep_distillation"}, "_learned_nodistill_svd"},
      {{"--scale_format", "u8log"}, "_learned_svd_8bit"},
      {{"--scale_format", "u8log", "--use_shared_scales", "--method", "tpec"}, "_learned_svd_8bit_shared"},
      {{"--no-legacy"}, "_learned_svd"},
      {{"--method", "adaround"}, "_ultra_8bit_shared"},
      {{"--method", "adaround", "--no-use_shared_scales"}, "_ultra_8bit"},
      {{"--method", "adaround", "--scale_format", "f32"}, "_ultra"},
      {{"--method", "adaround", "--no-legacy"}, "_ultra"},
      {{"--method", "adaround", "--keep_distillation"}, "_ultra_nodistill_8bit_shared"},
      {{"--method", "adaround", "--keep_distillation", "--no-use_shared_scales"}, "_ultra_nodistill_8bit"},
      {{"--method", "adaround", "--keep_distillation", "--scale_format=f32", "--t5xxl"}, "_ultra_nodistill"},
      {{"--reg_lambda", "0.1"}, "_ultra_8bit_shared"},
      {{"--method", "rtn"}, "_rtn"},
      {{"--method", "rtn", "--partition", "1/2"}, "_rtn.part-1-of-2"},
      {{"--method", "rtn", "--partition", "2/2"}, "_rtn.part-2-of-2"},
      {{"--method", "gptq", "--keep_distillation"}, "_gptq_nodistill"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.args);
    const engine::Job job = job_of(row.args);
    CHECK(job.output == "/models/t5_float8_e4m3fn_scaled" + row.name + ".safetensors");
    CHECK(job.run.output == job.output);
  }
  CHECK(job_of({"-o", "x.safetensors"}).output == "x.safetensors");
}

TEST_CASE("fp8: defaults follow the method, and its options reach it", "[cli]") {
  const engine::Job tpec = job_of({});
  CHECK(tpec.run.optimizer.optimizer == &optimize::kTpec);
  CHECK(tpec.run.optimizer.learned.iterations == 500);
  CHECK(tpec.run.optimizer.learned.subspace.max_k == 1);
  CHECK(tpec.plan.scaled_fp8_elements == 2);
  CHECK(tpec.plan.min_elements == 0);
  CHECK(job_of({"--top_k", "7", "--num_iter", "9"}).run.optimizer.learned.subspace.min_k == 7);
  CHECK(job_of({"--top_k", "7", "--num_iter", "9"}).run.optimizer.learned.iterations == 9);

  const engine::Job ada = job_of({"--method", "adaround", "--manual_seed", "5"});
  CHECK(ada.run.optimizer.optimizer == &optimize::kAdaRound);
  CHECK(ada.run.optimizer.adaround.iterations == 200);
  CHECK(ada.run.optimizer.adaround.lr == 0.03);
  CHECK(ada.run.optimizer.drawn_rows == 96);
  CHECK(ada.run.optimizer.seed == 5);
  CHECK(ada.plan.target.codec == &format::log_scale_codec());
  CHECK(ada.plan.min_elements == 1024);
  CHECK(ada.plan.min_side == 32);
  CHECK(ada.plan.scaled_fp8_elements == 1);
  CHECK(ada.run.shared_scales);
  CHECK(ada.warnings.size() == 1);
  CHECK(has_note(ada, "random inputs"));
  const engine::Job other =
      job_of({"--lr",         "0.1", "--beta_start",           "8",  "--beta_end",        "3",
              "--reg_lambda", "0.2", "--early_stop_threshold", "0",  "--optimizer",       "rmsprop",
              "--batch_size", "16",  "--calib_samples",        "64", "--min_tensor_size", "10",
              "--num_iter",   "3"});
  CHECK(has_note(other, "--lr chooses --method adaround"));
  CHECK(other.run.optimizer.adaround.lr == 0.1);
  CHECK(other.run.optimizer.adaround.beta_start == 8);
  CHECK(other.run.optimizer.adaround.beta_end == 3);
  CHECK(other.run.optimizer.adaround.reg_lambda == 0.2);
  CHECK(other.run.optimizer.adaround.least_gain == 0);
  CHECK(other.run.optimizer.adaround.solver == optimize::AdaRoundSolver::kRmsProp);
  CHECK(other.run.optimizer.adaround.iterations == 3);
  CHECK(other.run.optimizer.drawn_rows == 64);
  CHECK(other.run.optimizer.drawn_at_once == 16);
  CHECK(other.plan.min_elements == 10);
}

TEST_CASE("fp8: text encoders", "[cli]") {
  const engine::Job tpec = job_of({"--t5xxl"}), ada = job_of({"--t5xxl", "--method", "adaround"});
  CHECK(tpec.plan.remove_containing == std::vector<std::string>{"decoder", "lm_head"});
  CHECK(ada.plan.remove_containing.empty());
  for (const engine::Job* job : {&tpec, &ada}) {
    CHECK(job->plan.keep_containing == std::vector<std::string>{"norm", "bias", "embed_tokens", "shared"});
    CHECK(job->plan.copy_weight_scales);
    CHECK(job->plan.scaled_fp8_elements == 0);
  }
  CHECK_FALSE(job_of({"--t5xxl", "--no-legacy"}).plan.copy_weight_scales);
}

TEST_CASE("fp8: what contradicts is refused, what has no effect is noted", "[cli]") {
  CHECK(fault_of({"--no-legacy", "--scale_format", "u8log"}) ==
        "argument --scale_format: one-byte scales have no form beside markers; use f32 (got 'u8log')");
  CHECK(fault_of({"--method", "adaround", "--beta_start", "2", "--beta_end", "3"}) ==
        "argument --beta_start: is below --beta_end 3 (got '2')");
  CHECK(fault_of({"--no-parallel", "--threads", "2"}).starts_with("argument --parallel"));
  CHECK(fault_of({"--optimizer", "goodDog"}).starts_with("argument --optimizer"));
  CHECK(fault_of({"--num_iter", "-1"}).starts_with("argument --num_iter"));
  CHECK(fault_of({"--calib_samples", "0"}).starts_with("argument --calib_samples"));
  CHECK(fault_of({"--batch_size", "0"}).starts_with("argument --batch_size"));
  CHECK(has_note(job_of({"--method", "tpec", "--reg_lambda", "1"}), "--reg_lambda has no effect"));
  CHECK(has_note(job_of({"--method", "rtn", "--top_k", "3"}), "--top_k has no effect"));
  CHECK(has_note(job_of({"--calib_samples", "10"}), "--calib_samples has no effect"));
  CHECK(has_note(job_of({"--use_amp"}), "--use_amp has no effect on the CPU"));
  for (const std::string& note : job_of({}).notes) CHECK(note == "");
}

}  // namespace ctq::cli
