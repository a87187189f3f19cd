#include "pipeline/convert.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <catch2/catch.hpp>

#include "base/cancel.h"
#include "base/log.h"
#include "linalg/hadamard.h"
#include "pipeline/layer_memory.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::pipeline {
namespace {

using ctq::test::bf16_vector;
using ctq::test::bf16_weight;
using ctq::test::elements;
using ctq::test::f32_weight;
using ctq::test::HasCode;
using ctq::test::TempDir;
using ctq::test::tensor;
using ctq::test::TestTensor;
using ctq::test::weight_value;
using format::Granularity;
using safetensors::Dtype;
using Names = std::vector<std::string>;

plan::Options options_for(std::string_view format, Granularity granularity, int64_t block_size = 0) {
  plan::Options options;
  options.target = {format::find_codec(format, granularity), block_size};
  REQUIRE(options.target.codec != nullptr);
  options.layout = format::Layout::kComfy;
  return options;
}
plan::Options int8_row() { return options_for("int8_tensorwise", Granularity::kRow); }
plan::Options fp16() { return plan::Options(); }

/// A float32 weight with one special value.
TestTensor weight_with(std::string name, float special) {
  return tensor(std::move(name), Dtype::kF32, {32, 32},
                elements<float>(1024, [&](int64_t i) { return i == 700 ? special : weight_value(i); }));
}

/// Two layers of different types, a bias, a norm, a convolution and integers.
std::vector<TestTensor> small_model() {
  return {bf16_weight("blk.0.to_q.weight", 64, 32),
          bf16_vector("blk.0.to_q.bias", 64),
          f32_weight("blk.1.mlp.weight", 32, 48),
          bf16_vector("norm.weight", 32),
          tensor("conv.weight", Dtype::kF16, {2, 1, 3, 3}, std::string(36, 'c')),
          tensor("ids", Dtype::kI64, {2}, std::string(16, 'i'))};
}

/// Writes down what it is told, and calls back.
class Recorder : public Events {
 public:
  void started(const plan::Plan& plan, const RunOptions&) override {
    said.push_back("started");
    planned = plan.tensors.size();
    if (on_started) on_started();
  }
  void resumed(const Resumed& resumed) override {
    said.push_back(fmt::format("resumed {}/{}", resumed.tensors, resumed.count));
  }
  void ranked(const Ranked& found) override {
    said.push_back(fmt::format("ranked {}", found.layers));
    ranked_as = found;
  }
  void tensor_done(const TensorDone& event) override {
    said.push_back(event.tensor->source->name());
    done.push_back(event);
    if (on_tensor_done) on_tensor_done();
  }
  void restarted(const plan::ValueFindings& found) override {
    said.push_back("restarted");
    findings = found;
    if (on_restarted) on_restarted();
  }

  Names said;
  std::vector<TensorDone> done;  // their plans live only while the run does
  size_t planned = 0;
  Ranked ranked_as;
  plan::ValueFindings findings;
  std::function<void()> on_started, on_tensor_done, on_restarted;
};

/// A checkpoint in one folder, converted into another.
class Conversion {
 public:
  explicit Conversion(const std::vector<TestTensor>& tensors) {
    test::make_checkpoint(in_ / "m.safetensors", tensors, {{"title", "x"}});
    source_.emplace(model::Checkpoint::open(in_ / "m.safetensors"));
    run.output = out / "o.safetensors";
  }
  Result convert(const plan::Options& options) { return pipeline::convert(*source_, options, run, events); }
  /// Only the result's numbers may be used after a second conversion.
  std::string bytes_after(const plan::Options& options) {
    convert(options);
    return test::read_file(run.output);
  }
  model::Checkpoint result() const { return model::Checkpoint::open(run.output); }
  const model::Checkpoint& source() const { return *source_; }

  RunOptions run;
  Recorder events;
  TempDir out;

 private:
  TempDir in_;
  std::optional<model::Checkpoint> source_;
};

/// Converts to INT8 rows in a process of its own: the mark that a signal leaves cannot be taken back. Its
/// exit code is that of the error.
int exit_code_of(Conversion& made, const std::function<void()>& on_tensor_done) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    at::set_num_threads(1);  // a fork has none of the threads of its parent
    install_signal_handlers();
    made.events.on_tensor_done = on_tensor_done;
    int code = 0;
    try {
      made.convert(int8_row());
    } catch (const Error& error) {
      code = static_cast<int>(error.code());
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/// A signal ends it when that tensor is done.
void interrupt_after(Conversion& made, const std::string& tensor) {
  const int code = exit_code_of(made, [&] {
    if (made.events.said.back() == tensor) std::raise(SIGINT);
  });
  REQUIRE(code == static_cast<int>(ErrorCode::kInterrupted));
}

at::Tensor load(const model::Checkpoint& checkpoint, std::string_view name) {
  const model::Checkpoint::Entry* entry = checkpoint.find(name);
  REQUIRE(entry != nullptr);
  return model::load(*entry).clone();
}

std::string bytes_of(const model::Checkpoint& checkpoint, std::string_view name) {
  const model::Checkpoint::Entry* entry = checkpoint.find(name);
  REQUIRE(entry != nullptr);
  const auto bytes = entry->file->bytes(*entry->info);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.reshape(-1).view(at::kByte), b.reshape(-1).view(at::kByte));
}

}  // namespace

TEST_CASE("convert: codes and scales are those of the codec, for every format", "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 64, 64), f32_weight("b.weight", 32, 192)});
  for (const format::Codec& codec : format::registry()) {
    CAPTURE(codec.label());
    const int64_t block = codec.has_blocks() ? 16 : 0;
    const Result result = made.convert(options_for(codec.format, codec.granularity, block));
    CHECK(result.written == made.run.output);
    const model::Checkpoint written = made.result();
    const int64_t rotation = codec.rotation == format::Rotation::kAlways ? 64 : 0;
    size_t tensors = 0;
    for (const std::string layer : {"a", "b"}) {
      const at::Tensor weight = load(made.source(), layer + ".weight");
      const int64_t rows = weight.size(0), columns = weight.size(1);
      const auto encoded = format::encode_nearest(codec, weight, block, rotation);
      REQUIRE(encoded.has_value());
      const auto announced = format::stored_tensors(codec, rows, columns, block);
      const std::vector<at::Tensor> packed = format::pack(*encoded);
      for (size_t i = 0; i < packed.size(); ++i) {
        CAPTURE(announced[i].role);
        CHECK(same_bits(load(written, fmt::format("{}.{}", layer, announced[i].role)), packed[i]));
      }
      CHECK(bytes_of(written, layer + ".comfy_quant") ==
            format::marker_json(codec, block,
                                {.rotation_group = rotation, .out_features = rows, .in_features = columns}));
      tensors += packed.size() + 1;
    }
    CHECK(written.entries().size() == tensors);
  }
}

/// Of the only weight of a checkpoint: the largest steps within that many bytes; the smallest there are for
/// 0.
LayerSteps steps_of(const Conversion& made, const plan::Options& options, uint64_t bytes = 0) {
  const plan::Plan plan = plan::make_plan(made.source(), options, "");
  const LayerMethods methods(made.source(), made.run.optimizer, nullptr, nullptr);
  const LayerMethods::Choice choice = methods.choice(plan.tensors.at(0));
  const LayerWork work = layer_work(plan.tensors[0], choice, made.run, at::kCPU);
  return bytes > 0 ? steps_within(work, bytes).value() : smallest_steps(work);
}

TEST_CASE("convert: a layer that does not fit is rounded some rows at a time, to the same codes",
          "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 600, 64)});
  made.run.optimizer.optimizer = &optimize::kAuto;
  made.run.optimizer.sweeps = 1;
  made.run.optimizer.direct_sweeps = 1;
  made.run.optimizer.scales = GENERATE(optimize::Scales::kAbsmax, optimize::Scales::kRefit);
  for (const format::Codec& codec : format::registry()) {
    CAPTURE(codec.label());
    if (codec.incoherent) continue;
    const plan::Options options =
        options_for(codec.format, codec.granularity, codec.granularity == Granularity::kBlock ? 8 : 16);
    made.run.memory.layer_bytes = MemoryLimits::kUnlimited;
    const std::string whole = made.bytes_after(options);
    const Optimized at_once = *made.events.done.back().optimized;
    CHECK(at_once.source.empty());
    made.run.memory.layer_bytes = steps_of(made, options).bytes + (40 << 10);
    CHECK(steps_of(made, options, made.run.memory.layer_bytes).rows_at_once == 256);
    const std::string in_parts = made.bytes_after(options);
    const Optimized parts = *made.events.done.back().optimized;
    const bool shared = codec.granularity == Granularity::kTensor || codec.has_blocks();
    if (shared && made.run.optimizer.scales == optimize::Scales::kRefit) {
      CHECK(parts.source == "absmax scales");
      CHECK(parts.objective < parts.nearest_objective);
      continue;
    }
    CHECK(parts.source.empty());
    CHECK(in_parts == whole);
    CHECK(parts.nearest_objective == Approx(at_once.nearest_objective).epsilon(1e-4));
    CHECK(parts.objective == Approx(at_once.objective).epsilon(1e-3));
  }
}

TEST_CASE("convert: where rows do not suffice columns are rounded in segments, which is told", "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 64, 600)});
  made.run.optimizer.optimizer = &optimize::kDirect;
  const plan::Options options = int8_row();
  made.convert(options);
  const Optimized whole = *made.events.done.back().optimized;
  made.run.memory.layer_bytes = steps_of(made, options).bytes;
  made.run.memory.binding = true;
  made.convert(options);
  const Optimized parts = *made.events.done.back().optimized;
  CHECK(parts.source == "32 segments");
  CHECK(parts.objective < parts.nearest_objective);
  CHECK(whole.objective < parts.objective * (1 + 1e-6));
}

TEST_CASE("convert: a layer that cannot be done within memory is an error if that was asked for",
          "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 64, 32)});
  const auto method = GENERATE(&optimize::kNearest, &optimize::kDirect, &optimize::kAdamW);
  made.run.optimizer.optimizer = method;
  made.run.memory.layer_bytes = steps_of(made, int8_row()).bytes - 1;
  made.run.memory.binding = true;
  CHECK_THROWS_MATCHES(
      made.convert(int8_row()), Error,
      HasCode(ErrorCode::kUsage, "argument --max-memory: tensor 'a.weight' [64, 32] takes up to"));
  CHECK(made.events.said.empty());
  CHECK(!std::filesystem::exists(made.run.output));
}

TEST_CASE(
    "convert: a rotated layer decodes to the original, whole or some rows at a time, by every optimizer",
    "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 296, 128)});
  plan::Options options = int8_row();
  options.target.rotation_group = GENERATE(4, 64);
  const auto method = GENERATE(&optimize::kNearest, &optimize::kDirect, &optimize::kOriginal);
  made.run.optimizer.optimizer = method;
  made.run.optimizer.learned.iterations = 20;
  if (method == &optimize::kDirect && GENERATE(false, true))
    made.run.memory.layer_bytes = steps_of(made, options).bytes + 1000;
  made.run.measure_quality = true;
  const Result result = made.convert(options);
  const model::Checkpoint written = made.result();
  CHECK(bytes_of(written, "a.comfy_quant") ==
        fmt::format(R"({{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": {}}})",
                    options.target.rotation_group));
  const at::Tensor stored = load(written, "a.weight").to(at::kFloat) * load(written, "a.weight_scale");
  const at::Tensor decoded = linalg::rotate_columns(stored, options.target.rotation_group);
  const at::Tensor original = load(made.source(), "a.weight").to(at::kFloat);
  const double weight_rel = ((decoded - original).norm() / original.norm()).item<double>();
  CHECK(weight_rel < 0.02);
  CHECK(result.quality.at(0).error.weight_rel == Approx(weight_rel).epsilon(1e-4));
  if (method == &optimize::kDirect)
    CHECK(made.events.done.back().optimized->objective <
          made.events.done.back().optimized->nearest_objective);
}

TEST_CASE("convert: a layer too large for learned rounding is rounded to nearest", "[pipeline]") {
  Conversion made({bf16_weight("a.weight", 64, 32)});
  made.convert(int8_row());
  const std::string nearest = test::read_file(made.run.output);
  made.run.optimizer.optimizer = &optimize::kAdamW;
  made.run.memory.layer_bytes = 100;
  const Result result = made.convert(int8_row());
  CHECK(result.optimized == 0);
  CHECK(test::read_file(made.run.output) == nearest);
}

TEST_CASE("convert: kept tensors are the same bytes, metadata follow", "[pipeline]") {
  Conversion made(small_model());
  made.convert(int8_row());
  const model::Checkpoint written = made.result();
  for (const char* name : {"blk.0.to_q.bias", "norm.weight", "conv.weight", "ids"}) {
    CAPTURE(name);
    CHECK(bytes_of(written, name) == bytes_of(made.source(), name));
    CHECK(written.find(name)->info->dtype == made.source().find(name)->info->dtype);
    CHECK(written.find(name)->info->shape == made.source().find(name)->info->shape);
  }
  CHECK(written.metadata() == safetensors::Metadata{{"format", "pt"}, {"title", "x"}});
  CHECK(made.out.entries() == Names{"o.safetensors"});
}

TEST_CASE("convert: float16 values are those of at::Tensor::to", "[pipeline]") {
  // Beside ordinary weights: ties, subnormal results, values that vanish, the largest.
  const std::vector<double> edges = {65504,  -65504, 2049, 2051,         6.0e-8,
                                     2.9e-8, 1e-9,   -0.0, 1.0009765625, 1.00048828125};
  const auto value = [&](int64_t i) {
    return i < static_cast<int64_t>(edges.size()) ? edges[static_cast<size_t>(i)] : double{weight_value(i)};
  };
  Conversion made({tensor("f32.weight", Dtype::kF32, {16, 8},
                          elements<float>(128, [&](int64_t i) { return static_cast<float>(value(i)); })),
                   tensor("f64.weight", Dtype::kF64, {16, 8}, elements<double>(128, value)),
                   bf16_weight("bf16.weight", 16, 8), tensor("f16.weight", Dtype::kF16, {2, 2}, "abcdefgh")});
  const Result result = made.convert(fp16());
  CHECK(result.plan.count(plan::Decision::kCast) == 3);
  const model::Checkpoint written = made.result();
  for (const char* name : {"f32.weight", "f64.weight", "bf16.weight"}) {
    CAPTURE(name);
    CHECK(same_bits(load(written, name), load(made.source(), name).to(at::kHalf)));
  }
  CHECK(bytes_of(written, "f16.weight") == "abcdefgh");
}

TEST_CASE("convert: tells of every tensor, in the order of the file, until all bytes are done",
          "[pipeline]") {
  Conversion made(small_model());
  const Result result = made.convert(int8_row());
  CHECK(made.events.planned == 6);
  CHECK(made.events.said == Names{"started", "ids", "blk.1.mlp.weight", "blk.0.to_q.bias",
                                  "blk.0.to_q.weight", "norm.weight", "conv.weight"});
  uint64_t total = 0, before = 0;
  for (const model::Checkpoint::Entry& entry : made.source().entries()) total += entry.info->bytes();
  for (size_t i = 0; i < made.events.done.size(); ++i) {
    const TensorDone& event = made.events.done[i];
    CHECK(event.index == i + 1);
    CHECK(event.count == 6);
    CHECK(event.bytes_total == total);
    CHECK(event.bytes_done > before);
    CHECK(event.seconds >= 0);
    CHECK_FALSE(event.error.has_value());
    before = event.bytes_done;
  }
  CHECK(before == total);
  CHECK(result.findings.empty());
}

TEST_CASE("convert: removed tensors are neither told of nor counted", "[pipeline]") {
  std::vector<TestTensor> tensors = small_model();
  tensors.push_back(bf16_weight("decoder.weight", 32, 32));
  Conversion made(tensors);
  plan::Options options = int8_row();
  options.presets = {"t5xxl"};
  made.convert(options);
  CHECK(made.events.done.size() == 6);
  CHECK(made.events.done.back().bytes_done == made.events.done.back().bytes_total);
  CHECK(made.result().find("decoder.weight") == nullptr);
}

TEST_CASE("convert: the memory that was used is told", "[pipeline]") {
  CHECK(Conversion(small_model()).convert(int8_row()).peak_memory_bytes > 0);
}

TEST_CASE("convert: the same bytes whatever the budget", "[pipeline]") {
  std::vector<TestTensor> tensors = small_model();
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(bf16_weight("more." + std::to_string(i) + ".weight", 16 + 16 * (i % 3), 64));
    tensors.push_back(bf16_vector("more." + std::to_string(i) + ".bias", 7));
  }
  Conversion made(tensors);
  made.run.byte_budget = 0;
  const std::string one_at_a_time = made.bytes_after(int8_row());
  for (const uint64_t budget : {uint64_t{1}, uint64_t{3000}, uint64_t{1} << 40, UINT64_MAX / 2}) {
    CAPTURE(budget);
    made.run.byte_budget = budget;
    CHECK(made.bytes_after(int8_row()) == one_at_a_time);
  }
}

TEST_CASE("convert: the error of each layer is that of the stored tensors, sorted by name", "[pipeline]") {
  Conversion made(small_model());
  made.run.measure_quality = true;
  const plan::Options options = options_for("int8_blockwise", Granularity::kBlock, 16);
  const Result result = made.convert(options);
  REQUIRE(result.quality.size() == 2);
  CHECK(result.quality[0].name == "blk.0.to_q.weight");
  CHECK(result.quality[1].name == "blk.1.mlp.weight");
  const model::Checkpoint written = made.result();
  for (const LayerError& layer : result.quality) {
    CHECK(layer.format == "int8_blockwise (block 16)");
    const std::string scale = layer.name + "_scale";
    const at::Tensor decoded = format::decode(
        {options.target.codec, 16, /*rotation_group=*/0, load(written, layer.name), load(written, scale)});
    const metrics::WeightError expected = metrics::weight_error(load(made.source(), layer.name), decoded);
    CHECK(layer.error.mse == expected.mse);
    CHECK(layer.error.sqnr_db == expected.sqnr_db);
    CHECK(layer.error.sqnr_db > 20);
  }
  size_t told = 0;
  for (const TensorDone& event : made.events.done) told += event.error.has_value();
  CHECK(told == 2);
}

TEST_CASE("convert: nothing is measured unless asked for", "[pipeline]") {
  CHECK(Conversion(small_model()).convert(int8_row()).quality.empty());
}

TEST_CASE("convert: weights that cannot be quantized are found together, kept, and the pass repeated",
          "[pipeline]") {
  Conversion made({f32_weight("a.weight", 32, 32), weight_with("inf.weight", INFINITY),
                   weight_with("nan.weight", NAN), f32_weight("z.weight", 32, 32)});
  made.run.measure_quality = true;
  const Result result = made.convert(int8_row());
  const plan::ValueFindings expected = {{"inf.weight", "0 NaN and 1 infinite values"},
                                        {"nan.weight", "1 NaN and 0 infinite values"}};
  CHECK(result.findings == expected);
  CHECK(made.events.findings == expected);
  CHECK(made.events.said ==
        Names{"started", "a.weight", "restarted", "a.weight", "inf.weight", "nan.weight", "z.weight"});
  CHECK(made.events.done.back().bytes_done == made.events.done.back().bytes_total);
  CHECK(result.plan.find("nan.weight")->value_fallback);
  REQUIRE(result.quality.size() == 2);  // not also that of the first pass
  CHECK(result.quality[0].name == "a.weight");
  const model::Checkpoint written = made.result();
  CHECK(bytes_of(written, "nan.weight") == bytes_of(made.source(), "nan.weight"));
  CHECK(bytes_of(written, "inf.weight") == bytes_of(made.source(), "inf.weight"));
  CHECK(written.find("nan.weight_scale") == nullptr);
  CHECK(written.find("nan.comfy_quant") == nullptr);
  CHECK(written.find("z.weight_scale") != nullptr);
  CHECK(made.out.entries() == Names{"o.safetensors"});
}

TEST_CASE("convert: float16 keeps what it cannot hold", "[pipeline]") {
  Conversion made({f32_weight("a.weight", 32, 32), weight_with("big.weight", 65505),
                   weight_with("most.weight", -65504), weight_with("nan.weight", NAN)});
  const Result result = made.convert(fp16());
  REQUIRE(result.findings.size() == 2);
  CHECK_THAT(result.findings.at("big.weight"), Catch::Contains("65505") && Catch::Contains("65504"));
  CHECK(result.findings.at("nan.weight") == "1 NaN and 0 infinite values");
  const model::Checkpoint written = made.result();
  CHECK(written.find("big.weight")->info->dtype == Dtype::kF32);
  CHECK(written.find("most.weight")->info->dtype == Dtype::kF16);
}

TEST_CASE("convert: float64 values beyond float32 count as infinite", "[pipeline]") {
  const std::string huge = elements<double>(1024, [](int64_t i) { return i == 3 ? 1e300 : 0.01; });
  Conversion made({f32_weight("a.weight", 32, 32), tensor("huge.weight", Dtype::kF64, {32, 32}, huge)});
  CHECK(made.convert(int8_row()).findings ==
        plan::ValueFindings{{"huge.weight", "0 NaN and 1 infinite values"}});
  CHECK(bytes_of(made.result(), "huge.weight") == huge);
}

TEST_CASE("convert: NaN in tensors that are only copied is nobody's business", "[pipeline]") {
  Conversion made({f32_weight("a.weight", 32, 32),
                   tensor("norm.weight", Dtype::kF32, {2}, elements<float>(2, [](int64_t) { return NAN; }))});
  CHECK(made.convert(int8_row()).findings.empty());
  CHECK(bytes_of(made.result(), "norm.weight") == bytes_of(made.source(), "norm.weight"));
}

TEST_CASE("convert: strict ends at a weight that is not finite, and leaves nothing", "[pipeline]") {
  Conversion made({f32_weight("a.weight", 32, 32), weight_with("nan.weight", NAN)});
  made.run.strict = true;
  CHECK_THROWS_MATCHES(made.convert(int8_row()), Error,
                       HasCode(ErrorCode::kFailure, "'nan.weight'", "1 NaN", "--strict"));
  CHECK(made.out.entries().empty());
}

TEST_CASE("convert: strict has nothing against finite weights", "[pipeline]") {
  Conversion made(small_model());
  made.run.strict = true;
  CHECK_NOTHROW(made.convert(int8_row()));
}

TEST_CASE("convert: when no weight is finite, nothing is left to quantize", "[pipeline]") {
  Conversion made({weight_with("nan.weight", NAN)});
  plan::Options options = int8_row();
  CHECK_THROWS_MATCHES(made.convert(options), Error, HasCode(ErrorCode::kFailure, "nothing to quantize"));
  CHECK(made.out.entries().empty());
  options.allow_empty = true;
  made.convert(options);
  CHECK(bytes_of(made.result(), "nan.weight") == bytes_of(made.source(), "nan.weight"));
}

TEST_CASE("convert: an exception of a callback passes through, leaves nothing and harms no older file",
          "[pipeline]") {
  Conversion made(
      {f32_weight("a.weight", 32, 32), weight_with("nan.weight", NAN), f32_weight("z.weight", 32, 32)});
  made.run.byte_budget = GENERATE(uint64_t{0}, uint64_t{1} << 30);
  const bool older = GENERATE(false, true);
  if (older) test::write_file(made.run.output, "older");
  const auto stop = [] { throw std::runtime_error("stopped"); };
  SECTION("started") { made.events.on_started = stop; }
  SECTION("the first tensor") { made.events.on_tensor_done = stop; }
  SECTION("the last tensor") {
    made.events.on_tensor_done = [&] {
      if (made.events.said.back() == "z.weight") stop();
    };
  }
  SECTION("restarted") { made.events.on_restarted = stop; }
  CHECK_THROWS_WITH(made.convert(int8_row()), "stopped");
  CHECK(made.out.entries() == (older ? Names{"o.safetensors"} : Names{}));
  if (older) CHECK(test::read_file(made.run.output) == "older");
}

TEST_CASE("convert: an older output is replaced by the new one", "[pipeline]") {
  Conversion made(small_model());
  test::write_file(made.run.output, "older");
  made.convert(int8_row());
  CHECK(made.result().find("blk.0.to_q.weight_scale") != nullptr);
  CHECK(made.out.entries() == Names{"o.safetensors"});
}

TEST_CASE("convert: a signal ends the run and leaves nothing", "[pipeline]") {
  Conversion made(small_model());
  const int code = exit_code_of(made, [&] {
    if (made.events.done.size() > 1) ::_exit(1);  // the first was to be the last
    std::raise(SIGINT);
  });
  CHECK(code == static_cast<int>(ErrorCode::kInterrupted));
  CHECK(made.out.entries().empty());
}

TEST_CASE("convert: what an interrupted run has done and found is not done again", "[pipeline]") {
  Conversion made(
      {f32_weight("a.weight", 32, 32), weight_with("nan.weight", NAN), f32_weight("z.weight", 32, 32)});
  made.run.measure_quality = true;
  const std::string whole = made.bytes_after(int8_row());
  std::filesystem::remove(made.run.output);
  made.events = Recorder();
  made.run.resume = ResumeKey{.version = "1", .input = "m", .options = "int8"};
  interrupt_after(made, "nan.weight");
  CHECK(made.out.entries() == Names{".o.safetensors.journal", ".o.safetensors.partial"});

  const Result result = made.convert(int8_row());
  CHECK(made.events.said == Names{"started", "restarted", "resumed 1/3", "nan.weight", "z.weight"});
  CHECK(made.events.done.back().index == 3);
  CHECK(result.findings.size() == 1);
  REQUIRE(result.quality.size() == 2);
  CHECK(result.quality.front().name == "a.weight");
  CHECK(test::read_file(made.run.output) == whole);
  CHECK(made.out.entries() == Names{"o.safetensors"});
}

namespace {

/// A weight that INT8 per row stores the worse the larger its one outlier per row is.
TestTensor weight_with_outliers(std::string name, float outlier) {
  return tensor(std::move(name), Dtype::kF32, {48, 64},
                elements<float>(48 * 64, [&](int64_t i) { return i % 64 == 5 ? outlier : weight_value(i); }));
}

/// Errors rise from a to d; the bias of b is corrected after it.
std::vector<TestTensor> ranked_model() {
  return {weight_with_outliers("a.weight", 0.1f), weight_with_outliers("b.weight", 0.2f),
          bf16_vector("b.bias", 48), weight_with_outliers("c.weight", 0.4f),
          weight_with_outliers("d.weight", 0.8f)};
}

}  // namespace

TEST_CASE("convert: a time budget that suffices gives the same bytes, the largest error first",
          "[pipeline]") {
  Conversion made(ranked_model());
  made.run.optimizer.optimizer = GENERATE(&optimize::kDirect, &optimize::kAdamW, &optimize::kAdaRound);
  made.run.optimizer.learned.iterations = made.run.optimizer.adaround.iterations = 20;
  const std::string without = made.bytes_after(int8_row());
  made.run.time_budget = 3600;
  made.events.said.clear();
  made.events.done.clear();
  const Result result = made.convert(int8_row());
  CHECK(test::read_file(made.run.output) == without);
  CHECK(made.events.said ==
        Names{"started", "ranked 4", "d.weight", "c.weight", "b.weight", "a.weight", "b.bias"});
  CHECK(made.events.ranked_as.largest_of == "d.weight");
  REQUIRE(result.time.has_value());
  CHECK(result.time->optimized == 4);
  CHECK(result.time->left_over == 0);
  CHECK(result.time->seconds > 0);
  CHECK(result.optimized == 4);
  double last = made.events.ranked_as.largest_error;
  for (size_t i = 0; i < 4; ++i) {
    const auto& optimized = made.events.done[i].optimized;
    REQUIRE(optimized.has_value());
    CHECK(*optimized->nearest_error <= last);
    CHECK(optimized->stopped_by != "time");
    last = *optimized->nearest_error;
  }
  CHECK(result.time->least_optimized == last);
}

TEST_CASE("convert: layers that a time budget leaves over are rounded to nearest and say so", "[pipeline]") {
  Conversion made(ranked_model());
  const std::string nearest = made.bytes_after(int8_row());
  made.run.measure_quality = true;
  made.run.time_budget = 1e-9;
  SECTION("an optimizer that cannot be cut short does not begin") {
    made.run.optimizer.optimizer = &optimize::kDirect;
    const Result result = made.convert(int8_row());
    CHECK(test::read_file(made.run.output) == nearest);
    CHECK(result.optimized == 0);
    CHECK(result.time->left_over == 4);
    CHECK(result.time->seconds == 0);
    for (const LayerError& layer : result.quality) {
      CAPTURE(layer.name);
      REQUIRE(layer.optimized.has_value());
      CHECK(layer.optimized->left_over());
      CHECK(layer.optimized->objective_name == "weight_rel");
      CHECK(layer.optimized->objective == Approx(layer.error.weight_rel));
    }
    CHECK(result.time->largest_left_over == Approx(result.quality.back().error.weight_rel));  // of d
  }
  SECTION("one that can is cut short on the layer with the largest error") {
    made.run.optimizer.optimizer = &optimize::kAdamW;
    const Result result = made.convert(int8_row());
    CHECK(result.optimized == 1);
    CHECK(result.time->cut_short == 1);
    CHECK(result.time->left_over == 3);
    REQUIRE(result.quality.size() == 4);
    for (const LayerError& layer : result.quality) {
      CAPTURE(layer.name);
      CHECK(layer.optimized->stopped_by == "time");
      CHECK(layer.optimized->method == (layer.name == "d.weight" ? "adamw" : "rtn"));
    }
  }
}

TEST_CASE("convert: a time budget does not concern layers without an optimizer", "[pipeline]") {
  Conversion made(ranked_model());
  const std::string nearest = made.bytes_after(int8_row());
  made.run.time_budget = 1e-9;
  const Result result = made.convert(int8_row());
  CHECK(test::read_file(made.run.output) == nearest);
  CHECK(result.time->left_over == 0);
  CHECK_FALSE(made.events.done.front().optimized.has_value());
}

TEST_CASE("convert: a time budget counts the seconds of an interrupted run", "[pipeline]") {
  Conversion made(ranked_model());
  made.run.optimizer.optimizer = &optimize::kAdamW;
  made.run.time_budget = 1e-9;
  made.run.resume = ResumeKey{.version = "1", .input = "m", .options = "int8"};
  interrupt_after(made, "c.weight");

  const Result result = made.convert(int8_row());
  CHECK(made.events.said == Names{"started", "resumed 2/5", "ranked 2", "b.weight", "a.weight", "b.bias"});
  CHECK(result.optimized == 1);
  CHECK(result.time->optimized == 1);  // d, by the first run
  CHECK(result.time->seconds > 0);
  CHECK(result.time->left_over == 3);
  CHECK(made.events.done.front().optimized->left_over());
  CHECK(result.time->largest_left_over > *made.events.done.front().optimized->nearest_error);  // of c
}

TEST_CASE("convert: a weight with a NaN is found before the time budget is spent", "[pipeline]") {
  std::vector<TestTensor> tensors = ranked_model();
  tensors.push_back(weight_with("nan.weight", NAN));
  Conversion made(tensors);
  made.run.optimizer.optimizer = &optimize::kDirect;
  made.run.time_budget = 3600;
  const Result result = made.convert(int8_row());
  CHECK(made.events.said == Names{"started", "restarted", "ranked 4", "d.weight", "c.weight", "b.weight",
                                  "a.weight", "nan.weight", "b.bias"});
  CHECK(result.time->optimized == 4);
}

TEST_CASE("convert: an error keeps what is done, and the same run goes on from there", "[pipeline]") {
  Conversion made(small_model());
  made.run.resume = ResumeKey{.version = "1", .input = "m", .options = "int8"};
  made.events.on_tensor_done = [&] {
    if (made.events.done.size() == 4) throw std::runtime_error("stopped");
  };
  CHECK_THROWS_WITH(made.convert(int8_row()), "stopped");
  CHECK(made.out.entries() == Names{".o.safetensors.journal", ".o.safetensors.partial"});
  made.events = Recorder();
  made.convert(int8_row());
  CHECK(std::ranges::count_if(made.events.said,
                              [](const auto& line) { return line.starts_with("resumed"); }) == 1);
  CHECK(made.out.entries() == Names{"o.safetensors"});
}

TEST_CASE("convert: an error of what was asked for leaves nothing, though it could be resumed",
          "[pipeline]") {
  Conversion made({f32_weight("a.weight", 32, 32), weight_with("nan.weight", NAN)});
  made.run.resume = ResumeKey{.version = "1", .input = "m", .options = "int8"};
  made.run.strict = true;
  CHECK_THROWS_MATCHES(made.convert(int8_row()), Error, HasCode(ErrorCode::kFailure, "nan.weight"));
  CHECK(made.out.entries().empty());
}

TEST_CASE(
    "convert: where free memory decides about codes it is said, and with another amount nothing is resumed",
    "[pipeline]") {
  Conversion made(ranked_model());
  made.run.optimizer.optimizer = &optimize::kDirect;
  made.run.resume = ResumeKey{.version = "1", .input = "m", .options = "int8"};
  made.run.memory.layer_bytes = 1;
  const int before = warning_count();
  made.events.on_tensor_done = [&] {
    if (made.events.done.size() == 2) throw std::runtime_error("stopped");
  };
  CHECK_THROWS_WITH(made.convert(int8_row()), "stopped");
  CHECK(warning_count() > before);
  made.events = Recorder();
  const auto resumed = [&] {
    made.convert(int8_row());
    return std::ranges::any_of(made.events.said,
                               [](const auto& line) { return line.starts_with("resumed"); });
  };
  SECTION("the same amount") { CHECK(resumed()); }
  SECTION("more") {
    made.run.memory.layer_bytes = MemoryLimits::kUnlimited;
    CHECK_FALSE(resumed());
  }
}

TEST_CASE("convert: a signal during the last tensor still ends the run", "[pipeline]") {
  Conversion made({f32_weight("a.weight", 8, 8)});
  CHECK(exit_code_of(made, [] { std::raise(SIGTERM); }) == static_cast<int>(ErrorCode::kTerminated));
  CHECK(made.out.entries().empty());
}

TEST_CASE("convert: shards hold what one file holds", "[pipeline]") {
  Conversion made(small_model());
  made.convert(int8_row());
  const model::Checkpoint whole = made.result();
  plan::Options options = int8_row();
  options.max_shard_bytes = 2400;
  made.run.output = made.out / "s.safetensors";
  const Result result = made.convert(options);
  CHECK(result.written == made.out / "s.safetensors.index.json");
  CHECK(result.plan.files.size() == 3);
  const model::Checkpoint shards = model::Checkpoint::open(result.written);
  CHECK(shards.files().size() == 3);
  CHECK(shards.names() == whole.names());
  CHECK(shards.metadata() == whole.metadata());
  for (const std::string& name : whole.names()) {
    CAPTURE(name);
    CHECK(bytes_of(shards, name) == bytes_of(whole, name));
  }
}

TEST_CASE("convert: shards of one run are all or nothing", "[pipeline]") {
  Conversion made(small_model());
  plan::Options options = int8_row();
  options.max_shard_bytes = 2400;
  made.events.on_tensor_done = [&] {
    if (made.events.done.size() == 6) throw std::runtime_error("stopped");
  };
  CHECK_THROWS_WITH(made.convert(options), "stopped");
  CHECK(made.out.entries().empty());
}

TEST_CASE("convert: reads shards, and writes one file in their order", "[pipeline]") {
  const TempDir in, out;
  test::make_checkpoint(in / "1.safetensors", {bf16_weight("b.weight", 16, 16)});
  test::make_checkpoint(in / "2.safetensors", {f32_weight("a.weight", 16, 16)});
  test::write_file(in / "m.safetensors.index.json",
                   R"({"weight_map":{"b.weight":"1.safetensors","a.weight":"2.safetensors"}})");
  Recorder events;
  RunOptions run;
  run.output = out / "o.safetensors";
  convert(model::Checkpoint::open(in.path().string()), int8_row(), run, events);
  CHECK(events.said == Names{"started", "b.weight", "a.weight"});
  CHECK(model::Checkpoint::open(run.output).entries().size() == 6);
}

TEST_CASE("convert: weights whose bytes are not aligned come out the same", "[pipeline]") {
  const at::Tensor expected = [] {
    Conversion made({f32_weight("a.weight", 16, 16)});
    made.convert(int8_row());
    return load(made.result(), "a.weight");
  }();
  const TempDir dir;
  const TestTensor weight = f32_weight("a.weight", 16, 16);
  std::string header = R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                       R"("a.weight":{"dtype":"F32","shape":[16,16],"data_offsets":[1,1025]}})";
  header.resize(160, ' ');
  std::string file(8, '\0');
  file[0] = static_cast<char>(160);
  test::write_file(dir / "m.safetensors", file + header + "x" + weight.bytes);
  Recorder events;
  RunOptions run;
  run.output = dir / "o.safetensors";
  convert(model::Checkpoint::open(dir / "m.safetensors"), int8_row(), run, events);
  CHECK(same_bits(load(model::Checkpoint::open(run.output), "a.weight"), expected));
}

}  // namespace ctq::pipeline
