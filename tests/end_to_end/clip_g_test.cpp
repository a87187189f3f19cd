// `clip-g`, run as a user would.
#include <cstring>
#include <map>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/clip_g_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

constexpr int64_t kBlocks = 32;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::string in_block(int64_t block, const std::string& rest) {
  return "transformer.resblocks." + std::to_string(block) + "." + rest;
}

/// Two blocks of small values, which FP8 holds badly, single weights of that kind, one value beyond 448, one
/// NaN.
Planted planted() {
  Planted made;
  for (const auto& [block, factor] : {std::pair<int64_t, float>{4, 0.05f}, {12, 0.08f}}) {
    for (const char* weight : {"attn.in_proj_weight", "mlp.c_fc.weight", "mlp.c_proj.weight"})
      made.factors[in_block(block, weight)] = factor;
  }
  made.factors[in_block(15, "attn.out_proj.weight")] = 0.07f;
  made.factors[in_block(17, "attn.out_proj.weight")] = 0.16f;
  made.factors[in_block(20, "attn.in_proj_weight")] = 0.2f;
  made.first_values[in_block(9, "mlp.c_fc.weight")] = 900;
  made.first_values[in_block(10, "mlp.c_proj.weight")] = kNaN;
  return made;
}

class Folder {
 public:
  explicit Folder(const Planted& made = {}) {
    make_checkpoint(*this / "clip.safetensors", clip_g_tensors(kBlocks, made), {{"title", "small"}});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  Outcome run(Words words, int code = 0) const {
    words.insert(words.begin(), "clip-g");
    return run_expecting(words, code);
  }
  Outcome convert(const Words& flags, int code = 0) const {
    Words words{"-i", *this / "clip.safetensors", "-o", *this / "out.safetensors"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run(words, code);
  }

 private:
  TempDir dir_;
};

at::Tensor halves(const std::string& bytes) {
  return at::from_blob(const_cast<char*>(bytes.data()), {static_cast<int64_t>(bytes.size() / 2)}, at::kHalf)
      .clone();
}

/// LibTorch's cast of float16 bytes, which does not saturate by itself.
std::string e4m3(const std::string& bytes) {
  const at::Tensor codes = halves(bytes).to(at::kFloat).clamp(-448, 448).to(at::kFloat8_e4m3fn).contiguous();
  return {static_cast<const char*>(codes.const_data_ptr()), codes.nbytes()};
}

struct Expected {
  Dtype dtype;
  std::string bytes;
};

/// What each option is to do, written down once more.
struct Mode {
  Words flags;
  bool split, q8, kv8;
  bool out8 = false;
  bool fused8 = false;
};

/// The output by the table of the specification: seven first blocks and the last are kept.
std::string as_f16(const std::string& f32) {
  std::vector<float> values(f32.size() / sizeof(float));
  std::memcpy(values.data(), f32.data(), f32.size());
  std::string bytes;
  for (const float value : values) {
    const c10::Half half(value);
    bytes.append(reinterpret_cast<const char*>(&half.x), sizeof half.x);
  }
  return bytes;
}

std::map<std::string, Expected> expected_of(const Reader& in, const Mode& mode) {
  std::map<std::string, Expected> expected;
  const auto put = [&](const std::string& name, const std::string& bytes, Dtype dtype, bool fp8) {
    expected[name] = fp8 ? Expected{Dtype::kF8E4M3, e4m3(bytes)} : Expected{dtype, bytes};
  };
  for (const auto& info : in.header().tensors) {
    const std::string bytes = bytes_of(in, info.name);
    int64_t block = -1;
    std::string rest;
    if (info.name.starts_with("transformer.resblocks.")) {
      const size_t dot = info.name.find('.', 22);
      block = std::stoll(info.name.substr(22, dot - 22)), rest = info.name.substr(dot + 1);
    }
    const bool open = block >= 7 && block < kBlocks - 1;
    if (open && mode.split && rest.starts_with("attn.in_proj_")) {
      const bool weight = rest == "attn.in_proj_weight";
      for (size_t third = 0; third < 3; ++third) {
        const std::string part = bytes.substr(third * bytes.size() / 3, bytes.size() / 3);
        put(in_block(block, std::string("attn.") + "qkv"[third] + "_proj." + (weight ? "weight" : "bias")),
            part, info.dtype, weight && (third == 0 ? mode.q8 : mode.kv8));
      }
      continue;
    }
    const bool fp8 = rest == "mlp.c_fc.weight" || rest == "mlp.c_proj.weight" ||
                     (rest == "attn.out_proj.weight" && mode.out8) ||
                     (rest == "attn.in_proj_weight" && mode.fused8);
    const bool cast = info.dtype == Dtype::kF32;
    put(info.name, cast ? as_f16(bytes) : bytes, cast ? Dtype::kF16 : info.dtype, open && fp8);
  }
  return expected;
}

json analysis(const Folder& files, const Words& more = {}) {
  Words words{files / "clip.safetensors", "--analyze", "--json", files / "a.json"};
  words.insert(words.end(), more.begin(), more.end());
  files.run(words);
  return json::parse(read_file(files / "a.json"));
}

}  // namespace

TEST_CASE("clip-g: every mode writes the tensors, types and bytes of its table, and no others",
          "[end_to_end]") {
  const Mode mode = GENERATE(values<Mode>({
      {{}, false, false, false},
      {{"--split-attn-qkv"}, true, false, true},
      {{"--split-attn-qkv", "q16,kv8"}, true, false, true},
      {{"--split-attn-qkv", "--attn-q-fp8"}, true, true, true},
      {{"--split-attn-qkv", "q8,kv8"}, true, true, true},
      {{"--split-attn-qkv", "--attn-q-fp8", "--keep-attn-kv-fp16"}, true, true, false},
      {{"--split-attn-qkv", "q8,kv16"}, true, true, false},
      {{"--split-attn-qkv", "--keep-attn-kv-fp16"}, true, false, false},
      {{"--split-attn-qkv=q16,kv16"}, true, false, false},
      {{"--attn-out-fp8"}, false, false, false, true},
      {{"--in-proj-fp8"}, false, false, false, false, true},
      {{"--split-attn-qkv", "q8,kv8", "--attn-out-fp8"}, true, true, true, true},
  }));
  CAPTURE(mode.flags);
  const Folder files(Planted{.factors = {}, .first_values = {{in_block(9, "mlp.c_fc.weight"), 900.0f}}});
  Words flags = mode.flags;
  if (mode.split) flags.insert(flags.end(), {"--split-names", "seed"});
  const Outcome outcome = files.convert(flags);
  const Reader in(files / "clip.safetensors"), out(files / "out.safetensors");
  const auto expected = expected_of(in, mode);
  CHECK(out.header().tensors.size() == expected.size());
  CHECK(out.header().tensors.size() == in.header().tensors.size() + (mode.split ? 4 * 24 : 0));
  size_t fp8 = 0;
  for (const auto& [name, tensor] : expected) {
    INFO(name);
    REQUIRE(out.find(name) != nullptr);
    CHECK(out.find(name)->dtype == tensor.dtype);
    CHECK(bytes_of(out, name) == tensor.bytes);
    fp8 += tensor.dtype == Dtype::kF8E4M3 ? 1 : 0;
  }
  CHECK(static_cast<uint8_t>(bytes_of(out, in_block(9, "mlp.c_fc.weight"))[0]) == 0x7E);  // 448
  CHECK(out.header().metadata.at("title") == "small");
  CHECK(outcome.out.find("FP8 tensors quantized:     " + std::to_string(fp8) + "\n") != std::string::npos);
  CHECK(outcome.out.find("in_proj blocks split:      " + std::string(mode.split ? "24" : "0")) !=
        std::string::npos);
  CHECK(outcome.err.find("largest value 900.0000, 1 values") != std::string::npos);
}

TEST_CASE("clip-g: a split gives names that ComfyUI reads, unless the seed's are asked for", "[end_to_end]") {
  const Folder files;
  files.convert({"--split-attn-qkv", "-k", "0-29"});
  const Reader in(files / "clip.safetensors"), out(files / "out.safetensors");
  std::string joined;
  for (const char* third : {"q", "k", "v"})
    joined += bytes_of(out, std::string("text_model.encoder.layers.30.self_attn.") + third + "_proj.bias");
  CHECK(joined == bytes_of(in, in_block(30, "attn.in_proj_bias")));
  CHECK(out.find(in_block(29, "attn.in_proj_weight")) != nullptr);
  const Outcome verdict = run_binary({"verify", files / "out.safetensors"});
  CHECK(verdict.code == 0);
  files.convert({"--split-attn-qkv", "--split-names", "seed"});
  CHECK(run_binary({"verify", files / "out.safetensors"}).code == 4);
}

TEST_CASE("clip-g: names of the transformers library, with q, k and v apart", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors;
  for (int64_t block = 0; block < 3; ++block) {
    const std::string prefix = "text_model.encoder.layers." + std::to_string(block) + ".";
    for (const char* part : {"q", "k", "v", "out"})
      tensors.push_back(f16(prefix + "self_attn." + part + "_proj.weight", {8, 8}));
    tensors.push_back(f16(prefix + "mlp.fc1.weight", {32, 8})),
        tensors.push_back(f16(prefix + "mlp.fc2.weight", {8, 32}));
  }
  make_checkpoint(dir / "hf.safetensors", tensors);
  const auto fp8_names = [&](const Words& flags) {
    Words words{"clip-g", dir / "hf.safetensors", "-o", dir / "out.safetensors", "-k", "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Outcome outcome = run_binary(words);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Reader out(dir / "out.safetensors");
    CHECK(out.header().tensors.size() == tensors.size());
    std::string names;
    for (const auto& info : out.header().tensors) {
      if (info.dtype == Dtype::kF8E4M3)
        names += info.name.substr(std::strlen("text_model.encoder.layers.")) + " ";
    }
    return names;
  };
  CHECK(fp8_names({}) == "1.mlp.fc1.weight 1.mlp.fc2.weight ");
  CHECK(fp8_names({"--split-attn-qkv"}) ==
        "1.mlp.fc1.weight 1.mlp.fc2.weight 1.self_attn.k_proj.weight 1.self_attn.v_proj.weight ");
  CHECK(fp8_names({"--in-proj-fp8", "--attn-out-fp8"}) ==
        "1.mlp.fc1.weight 1.mlp.fc2.weight 1.self_attn.k_proj.weight 1.self_attn.out_proj.weight "
        "1.self_attn.q_proj.weight 1.self_attn.v_proj.weight ");
}

TEST_CASE("clip-g: --fp8-scale tensor writes a scale and a marker for each weight", "[end_to_end]") {
  const Folder files(planted());
  files.convert({"--split-attn-qkv", "--fp8-scale", "tensor"});
  const Reader in(files / "clip.safetensors"), out(files / "out.safetensors");
  const std::string layer = in_block(9, "mlp.c_fc");
  const std::string scale_bytes = bytes_of(out, layer + ".weight_scale"),
                    codes = bytes_of(out, layer + ".weight");
  float scale;
  std::memcpy(&scale, scale_bytes.data(), sizeof scale);
  CHECK(scale == Approx(900.0 / 448));
  CHECK(static_cast<uint8_t>(codes[0]) == 0x7E);
  CHECK(json::parse(bytes_of(out, layer + ".comfy_quant")).at("format") == "float8_e4m3fn");
  CHECK(run_binary({"compare", files / "clip.safetensors", files / "out.safetensors"}).code == 0);
  files.convert({"--in-proj-fp8", "--fp8-scale", "tensor"}, 2);
}

TEST_CASE("clip-g: values that FP8 cannot hold", "[end_to_end]") {
  const Folder files(planted());
  const Outcome outcome = files.convert({});
  const Reader in(files / "clip.safetensors");
  const std::string nan = in_block(10, "mlp.c_proj.weight"), beyond = in_block(9, "mlp.c_fc.weight");
  CHECK(bytes_of(Reader(files / "out.safetensors"), nan) == bytes_of(in, nan));
  CHECK(outcome.err.find(nan + ": 1 values are NaN or infinite; kept as it is") != std::string::npos);
  files.convert({"--clip", "keep-fp16"});
  CHECK(bytes_of(Reader(files / "out.safetensors"), beyond) == bytes_of(in, beyond));
  const std::string before = read_file(files / "out.safetensors");
  files.convert({"--strict"}, 1);
  CHECK(read_file(files / "out.safetensors") == before);
  // In a tensor that stays anyway.
  const Folder kept(Planted{.factors = {}, .first_values = {{in_block(31, "ln_1.weight"), kNaN}}});
  CHECK(kept.convert({}).err.find("1 tensors that do not become FP8 hold NaN") != std::string::npos);
  kept.convert({"--strict"}, 1);
}

TEST_CASE("clip-g: what does not become FP8 is float16, but for what float16 cannot hold", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = clip_g_tensors(4);
  const auto f32 = [](const std::string& name, std::vector<float> values) {
    return tensor(name, Dtype::kF32, {static_cast<int64_t>(values.size())},
                  {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  };
  for (TestTensor& each : tensors) {
    if (each.info.name == in_block(0, "ln_1.weight"))
      each = f32(each.info.name, std::vector<float>(8, 1.25f));
    if (each.info.name == in_block(1, "ln_1.weight")) each = f32(each.info.name, std::vector<float>(8, 1e6f));
  }
  make_checkpoint(dir / "m.safetensors", tensors);
  const Outcome run = run_binary({"clip-g", dir / "m.safetensors", "-o", dir / "o.safetensors", "-k", "1"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(run.out.find("Tensor count OK") != std::string::npos);
  const Reader out(dir / "o.safetensors");
  CHECK(out.find(in_block(0, "ln_1.weight"))->dtype == Dtype::kF16);
  CHECK(out.find("ln_final.weight")->dtype == Dtype::kF16);
  CHECK(out.find(in_block(1, "ln_1.weight"))->dtype == Dtype::kF32);
  CHECK(run.err.find(in_block(1, "ln_1.weight") + ": values up to 1e+06, which float16 does not hold") !=
        std::string::npos);
}

TEST_CASE("clip-g --analyze: what it recommends can be run, also in a small model", "[end_to_end]") {
  for (const int64_t blocks : {2, 5, 8}) {
    const TempDir dir;
    Planted made;
    made.factors[in_block(blocks - 2, "mlp.c_fc.weight")] = 0.05f;  // only a prefix of all blocks covers it
    make_checkpoint(dir / "m.safetensors", clip_g_tensors(blocks, made));
    const Outcome run = run_binary({"clip-g", dir / "m.safetensors", "--analyze", "--json", dir / "a.json"});
    INFO(blocks << run.out);
    REQUIRE(run.code == 0);
    CHECK(run.out.find("out_proj QError%") != std::string::npos);
    CHECK(run.out.find("K QError%") != std::string::npos);
    CHECK(run.out.find("-k " + std::to_string(blocks - 1) + " ") == std::string::npos);
    CHECK(run.out.find("-k " + std::to_string(blocks - 1) + ")") == std::string::npos);
    if (blocks == 2) continue;  // its one other block is the sensitive one
    std::string command = json::parse(read_file(dir / "a.json")).at("advice").at("command");
    command.replace(command.find("OUTPUT"), 6, dir / "o.safetensors");
    command.replace(0, std::string("convert_to_quant").size(), CTQ_BINARY);
    CHECK(std::system((command + " >/dev/null").c_str()) == 0);
  }
}

TEST_CASE("clip-g: a dry run counts the same and writes nothing", "[end_to_end]") {
  const Folder files(planted());
  const auto summary = [](const std::string& text) {
    const size_t at = text.find("=== Summary ===");
    REQUIRE(at != std::string::npos);
    return text.substr(at, text.find("Size reduction", at) - at);
  };
  const Outcome real = files.convert({"--split-attn-qkv"});
  const Outcome dry =
      files.run({files / "clip.safetensors", "--split-attn-qkv", "--dry-run", "--json", files / "p.json"});
  CHECK(summary(real.out) == summary(dry.out));
  CHECK(dry.out.find("no file written") != std::string::npos);
  const json plan = json::parse(read_file(files / "p.json"));
  CHECK(plan.at("totals").at("output_tensors") == Reader(files / "out.safetensors").header().tensors.size());
  CHECK(plan.at("tensors").size() == plan.at("totals").at("output_tensors"));
  const TempDir dir;
  files.run({files / "clip.safetensors", "--dry-run", "-o", dir / "none.safetensors"});
  CHECK_THROWS(Reader(dir / "none.safetensors"));
  const Outcome verbose = files.convert({"-v"});
  CHECK(verbose.out.find(in_block(8, "mlp.c_fc.weight") + ": F16 -> F8_E4M3") != std::string::npos);
  CHECK(verbose.out.find(in_block(2, "mlp.c_fc.weight") + ": F16 (unchanged)") != std::string::npos);
  CHECK(verbose.out.find("outlier check OK") != std::string::npos);
  CHECK(verbose.out.find("Tensor count OK") != std::string::npos);
}

TEST_CASE("clip-g: what is refused, and how", "[end_to_end]") {
  const Folder files;
  struct Row {
    Words flags;
    int code;
    std::string says;
  };
  const auto row = GENERATE(values<Row>({
      {{"-k", "32"}, 2, "the last block is 31"},
      {{"-k", "3,x"}, 2, "argument --first-blocks-keep: not a number of blocks"},
      {{"-k", "4-2"}, 2, "argument --first-blocks-keep"},
      {{"-k", "31"}, 1, "nothing becomes FP8"},
      {{"--attn-q-fp8"}, 2, "argument --attn-q-fp8: goes with --split-attn-qkv"},
      {{"--keep-attn-kv-fp16"}, 2, "argument --keep-attn-kv-fp16: goes with --split-attn-qkv"},
      {{"--split-names", "seed"}, 2, "argument --split-names"},
      {{"--split-attn-qkv", "q8,kv8", "--attn-q-fp8"}, 2, "argument --attn-q-fp8"},
      {{"--split-attn-qkv", "q4,kv8"}, 2, "must be one of"},
      {{"--split-attn-qkv", "--in-proj-fp8"}, 2, "argument --in-proj-fp8"},
      {{"--clip", "saturate", "--fp8-scale", "tensor"}, 2, "argument --clip"},
      {{"--report", "x.html"}, 2, "argument --report: goes with --analyze"},
      {{"--analyze", "--report", "x.pdf"}, 2, "must end in .html or .json"},
  }));
  CAPTURE(row.flags);
  CHECK(files.convert(row.flags, row.code).err.find(row.says) != std::string::npos);
  CHECK_THROWS(Reader(files / "out.safetensors"));
}

TEST_CASE("clip-g: files that are refused", "[end_to_end]") {
  const Folder files;
  const std::string model = files / "clip.safetensors", output = files / "out.safetensors";
  CHECK(files.run({model}, 2).err.find("--output") != std::string::npos);
  files.run({model, "-o", model}, 2);
  files.run({model, "-o", output, "--json", output}, 2);
  files.run({model, "-o", output, "--json", model}, 2);
  files.run({model, "--analyze", "--json", model}, 2);
  files.run({files / "absent.safetensors", "-o", output}, 4);
  make_checkpoint(files / "other.safetensors", {bf16_weight("blocks.0.q.weight", 8, 8)});
  CHECK(files.run({files / "other.safetensors", "-o", output}, 4).err.find("transformer.resblocks") !=
        std::string::npos);
  files.run({files / "other.safetensors", "--analyze"}, 4);
  std::vector<TestTensor> odd = clip_g_tensors(9);
  for (TestTensor& made : odd) {
    if (made.info.name == in_block(7, "attn.in_proj_weight")) made = f16(made.info.name, {25, 8});
  }
  make_checkpoint(files / "odd.safetensors", odd);
  CHECK(
      files.run({files / "odd.safetensors", "-o", output, "--split-attn-qkv"}, 4).err.find("multiple of 3") !=
      std::string::npos);
  files.run({files / "odd.safetensors", "--analyze"}, 4);
  files.run({files / "odd.safetensors", "-o", output});  // without a split nothing depends on it
}

TEST_CASE("clip-g --analyze: the planted blocks come first, and the planted risks are named",
          "[end_to_end]") {
  const Folder files(planted());
  const json found = analysis(files);
  CHECK(found.at("ranking").at(0) == "4");
  CHECK(std::set<std::string>{found.at("ranking").at(1), found.at("ranking").at(2)} ==
        std::set<std::string>{"12", "9"});
  const json& advice = found.at("advice");
  CHECK(advice.at("sensitive") == json{4, 9, 12});
  std::map<int64_t, std::string> out, qkv;
  for (const json& row : advice.at("attention_out")) {
    if (row.at("risk") != "LOW") out[row.at("block")] = row.at("risk");
  }
  for (const json& row : advice.at("qkv")) {
    if (row.at("risk") != "LOW") qkv[row.at("block")] = row.at("risk");
  }
  CHECK(out == std::map<int64_t, std::string>{{15, "HIGH"}, {17, "ELEVATED"}});
  CHECK(qkv == std::map<int64_t, std::string>{{4, "ELEVATED"}, {12, "ELEVATED"}, {20, "ELEVATED"}});
  CHECK(advice.at("keep") == json{0, 1, 2, 3, 4, 5, 6, 9, 12, 20});
  const std::string command = advice.at("command");
  CHECK(command.ends_with(" -o OUTPUT -k 0-6,9,12,20 --split-attn-qkv q16,kv8"));
  CHECK(found.at("blocks").at(9).at("components").at(5).at("outliers") == 1);
  CHECK(found.at("blocks").at(10).at("components").at(6).at("non_finite") == 1);
  // The same as of any transformer, and of one with fewer blocks than are usually kept.
  const Outcome any = run_binary({"analyze", files / "clip.safetensors", "--blocks", "--json"});
  CHECK(json::parse(any.out) == found);
  make_checkpoint(files / "short.safetensors", clip_g_tensors(3));
  CHECK(run_binary({"analyze", files / "short.safetensors", "--blocks"}).code == 0);
  // With another -k the advice starts from that.
  CHECK(analysis(files, {"-k", "0"}).at("advice").at("keep") == json{4, 9, 12, 20});
}

TEST_CASE("clip-g --analyze: figures are those of LibTorch's own cast", "[end_to_end]") {
  const Folder files(planted());
  const json found = analysis(files);
  const Reader in(files / "clip.safetensors");
  std::vector<double> errors;
  for (const json& block : found.at("blocks")) {
    const int64_t index = block.at("block");
    double sum = 0, count = 0;
    for (const json& row : block.at("components")) {
      std::string name = row.at("name");
      const size_t third = std::string("qkv").find(name[5]);
      const bool fused = name == "attn.in_proj_weight",
                 part = name.ends_with("_proj") && name.size() == 11 && third < 3;
      if (name.starts_with("MLP")) name.replace(0, 3, "mlp");
      std::string bytes =
          bytes_of(in, in_block(index, fused || part ? "attn.in_proj_weight" : name + ".weight"));
      if (part) bytes = bytes.substr(third * bytes.size() / 3, bytes.size() / 3);
      const at::Tensor all = halves(bytes).to(at::kDouble), w = all.masked_select(all.isfinite());
      const at::Tensor cast = w.clamp(-448, 448).to(at::kFloat).to(at::kFloat8_e4m3fn).to(at::kDouble);
      const double error = ((cast - w).norm() / w.norm()).item<double>();
      CHECK(row.at("qerror").get<double>() == Approx(error).epsilon(1e-6));
      CHECK(row.at("norm").get<double>() == Approx(w.norm().item<double>()).epsilon(1e-6));
      CHECK(row.at("std").get<double>() == Approx(w.std().item<double>()).epsilon(1e-6));
      CHECK(row.at("max_abs").get<double>() == w.abs().max().item<double>());
      CHECK(row.at("params") == all.numel());
      CHECK(row.at("fused") == fused);
      if (!fused) sum += error * static_cast<double>(all.numel()), count += static_cast<double>(all.numel());
    }
    errors.push_back(sum / count);
    CHECK(block.at("error").get<double>() == Approx(errors.back()).epsilon(1e-6));
  }
  const at::Tensor all = at::tensor(errors, at::kDouble);
  CHECK(found.at("threshold").get<double>() ==
        Approx((all.mean() + all.std(/*unbiased=*/false)).item<double>()).epsilon(1e-6));
}

TEST_CASE("clip-g --analyze: the tables and the page", "[end_to_end]") {
  const Folder files(planted());
  const Outcome text =
      files.run({files / "clip.safetensors", "--analyze", "--report", files / "a.html", "--attn-out-fp8"});
  CHECK(text.out.find("note: --attn-out-fp8 does nothing with --analyze") != std::string::npos);
  CHECK(text.out.find("  ├─ attn.k_proj") != std::string::npos);
  CHECK(text.out.find("  └─ attn.v_proj") != std::string::npos);
  CHECK(text.out.find("% << SENSITIVE") != std::string::npos);
  CHECK(text.out.find("HIGH         strongly discouraged <<") != std::string::npos);
  CHECK(text.out.find("1 (0.391%)") != std::string::npos);
  const std::string page = read_file(files / "a.html");
  CHECK(page.find("<svg") == page.rfind("<svg"));
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
  CHECK(page.find("http") == std::string::npos);  // needs nothing else
  for (int64_t block = 0; block < kBlocks; ++block)
    CHECK(page.find("<title>" + std::to_string(block) + " MLP.c_fc:") != std::string::npos);
}
