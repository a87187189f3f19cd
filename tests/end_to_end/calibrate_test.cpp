// The command `calibrate`, run as a user would.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

/// Rows of fixed values; `largest` stands in the first.
TestTensor rows(const std::string& name, int64_t count, int64_t width, float largest = 0) {
  return tensor(name, Dtype::kF32, {count, width}, elements<float>(count * width, [&](int64_t i) {
                  return i == 0 && largest > 0 ? -largest : 20 * weight_value(i + count);
                }));
}

/// Two layers that a calibration file knows, a norm, and three files about them.
class Folder {
 public:
  Folder() {
    make_checkpoint(*this / "model.safetensors",
                    {bf16_weight("blk.0.q.weight", 32, 64), bf16_weight("blk.0.up.weight", 64, 32),
                     bf16_vector("blk.0.norm.weight", 32), bf16_vector("blk.0.up.bias", 64)},
                    {{"modelspec.title", "small"}});
    make_checkpoint(*this / "rows.safetensors", {rows("blk.0.q", 100, 64, 127), rows("blk.0.up", 90, 32)});
    make_checkpoint(*this / "other.safetensors", {rows("blk.0.q", 40, 64), rows("blk.0.up", 40, 32, 9)});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::vector<std::string> entries() const { return dir_.entries(); }

  /// Runs the command; it must succeed.
  Outcome calibrate(const Words& words) const {
    const Outcome outcome = attempt(words);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome;
  }
  Outcome attempt(Words words) const {
    words.insert(words.begin(), "calibrate");
    return run_binary(words);
  }
  /// Runs the command, which must fail with one clear line and leave the folder as it was.
  void refuses(const Words& words, int code, const std::string& said) const {
    const std::vector<std::string> before = entries();
    const Outcome outcome = attempt(words);
    INFO(outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.err.starts_with("convert_to_quant: error: "));
    CHECK(outcome.err.find(said) != std::string::npos);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == (code == 2 ? 2 : 1));
    CHECK((outcome.err.find("Try 'convert_to_quant calibrate --help'.") != std::string::npos) == (code == 2));
    CHECK(outcome.out.empty());
    CHECK(entries() == before);
  }
  /// A quantized file.
  std::string quantized(const Words& flags) const {
    const std::string path = *this / "quantized.safetensors";
    Words words{"-i", *this / "model.safetensors", "-o", path, "--simple", "-q"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Outcome outcome = run_binary(words);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return path;
  }

 private:
  TempDir dir_;
};

float number(const Reader& file, std::string_view name) {
  const std::string bytes = bytes_of(file, name);
  REQUIRE(bytes.size() == sizeof(float));
  float value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

TEST_CASE("calibrate: real rows give a file that the converter takes", "[end_to_end]") {
  const Folder files;
  files.calibrate({files / "model.safetensors", "--activations", files / "rows.safetensors", "-o",
                   files / "cal.safetensors", "--percentile", "100"});
  const Reader cal(files / "cal.safetensors"), given(files / "rows.safetensors");
  CHECK(number(cal, "blk.0.q.input_scale") == 1);
  CHECK(bytes_of(cal, "blk.0.q.rows") == bytes_of(given, "blk.0.q"));
  for (const char* part : {"mean", "channel_max", "channel_mean"})
    CHECK(cal.find(std::string("blk.0.up.") + part)->shape == std::vector<int64_t>{32});
  CHECK(cal.header().metadata.at("format") == "ctq-calibration");
  CHECK(json::parse(cal.header().metadata.at("counts")) == json{{"blk.0.q", 100}, {"blk.0.up", 90}});
  const Outcome converted =
      run_binary({"-i", files / "model.safetensors", "-o", files / "out.safetensors", "--fp8",
                  "--comfy_quant", "--calibration-data", files / "cal.safetensors"});
  INFO(converted.err);
  CHECK(converted.code == 0);
  CHECK(converted.out.find("Calibration data: 2 layers") != std::string::npos);
  // The same command gives the same bytes; its own output serves as activations.
  files.calibrate({"-i", files / "model.safetensors", "--activations", files / "cal.safetensors", "-o",
                   files / "again.safetensors", "--percentile", "100", "-q"});
  const Reader again(files / "again.safetensors");
  for (const safetensors::TensorInfo& info : cal.header().tensors)
    CHECK(bytes_of(again, info.name) == bytes_of(cal, info.name));
}

TEST_CASE("calibrate: random rows, with a warning", "[end_to_end]") {
  const Folder files;
  const Outcome run =
      files.calibrate({files / "model.safetensors", "-o", files / "cal.safetensors", "--samples", "32"});
  CHECK(run.err.find("2 of 2 layers are those of random rows") != std::string::npos);
  const Reader cal(files / "cal.safetensors");
  CHECK(cal.header().tensors.size() == 6);
  CHECK(cal.find("blk.0.q.channel_max")->shape == std::vector<int64_t>{64});
  CHECK(cal.find("blk.0.q.mean") == nullptr);
  CHECK(cal.header().metadata.at("source") == "random rows");
  CHECK(cal.header().metadata.at("samples") == "32");
}

TEST_CASE("calibrate: a LoRA in place of random rows", "[end_to_end]") {
  const Folder files;
  make_checkpoint(files / "lora.safetensors", {rows("lora_unet_blk_0_q.lora_down.weight", 4, 64),
                                               rows("lora_unet_blk_0_q.lora_up.weight", 32, 4)});
  const Outcome run = files.calibrate(
      {files / "model.safetensors", "-o", files / "cal.safetensors", "--lora", files / "lora.safetensors"});
  CHECK(run.err.find("1 of 2 layers are those of random rows") != std::string::npos);
  CHECK(json::parse(Reader(files / "cal.safetensors").header().metadata.at("counts")) ==
        json{{"blk.0.q", 16}, {"blk.0.up", 64}});
  make_checkpoint(files / "stray.safetensors", {rows("x.lora_A.weight", 4, 64)});
  const Words lora{files / "model.safetensors", "-o", files / "new.safetensors", "--lora"};
  const auto with = [&](const std::string& path) {
    Words words = lora;
    words.push_back(path);
    return words;
  };
  files.refuses(with(files / "stray.safetensors"), 1, "argument --lora: ");
  files.refuses(with(files / "nothing.safetensors"), 4, "No such file");
  files.refuses(with(files / "rows.safetensors"), 4, "is it a LoRA?");
}

TEST_CASE("calibrate: JSON by suffix and by --json, and the scales alone", "[end_to_end]") {
  const Folder files;
  const Words common{files / "model.safetensors", "--activations", files / "rows.safetensors",
                     "--percentile=100", "-o"};
  const auto with = [&](const Words& more) {
    Words words = common;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  files.calibrate(with({files / "a.json"}));
  files.calibrate(with({files / "b", "--json"}));
  const std::string text = read_file(files / "a.json");
  CHECK(text == read_file(files / "b.json"));
  const json statistics = json::parse(text);
  CHECK(statistics.at("blk.0.q").at("input_scale") == 1);
  CHECK(statistics.at("blk.0.q").at("channel_max").size() == 64);
  CHECK(statistics.at("blk.0.q").at("channel_max").at(0) == 127);
  CHECK(statistics.at("blk.0.up").at("channel_mean").size() == 32);
  files.calibrate({files / "model.safetensors", "--activations", files / "rows.safetensors",
                   "--percentile=100", "--json=" + (files / "scales.json")});
  const json scales = json::parse(read_file(files / "scales.json"));
  CHECK(scales.size() == 2);
  CHECK(scales.at("blk.0.q") == 1);
  // Both forms are read back.
  for (const char* name : {"a.json", "scales.json"}) {
    CHECK(run_binary({"-i", files / "model.safetensors", "-o", files / "out.safetensors",
                      "--calibration-data", files / name})
              .code == 0);
  }
}

TEST_CASE("calibrate: whether the recorded pictures were enough is measured on others", "[end_to_end]") {
  const Folder files;
  // Pictures of ten rows each, whose columns go together; the second file does not tell them apart.
  const auto recorded = [&](bool told) {
    std::vector<TestTensor> tensors{
        tensor("blk.0.q.rows", Dtype::kF32, {80, 64}, elements<float>(80 * 64, [](int64_t i) {
                 return 20 * weight_value(i / 64 * 7 + i % 8) + weight_value(i);
               }))};
    if (told)
      tensors.push_back(
          tensor("blk.0.q.row_pictures", Dtype::kI32, {80},
                 elements<int32_t>(80, [](int64_t i) { return static_cast<int32_t>(i / 10); })));
    make_checkpoint(files / "pictures.safetensors", tensors);
    return files / "pictures.safetensors";
  };
  const Words words{files / "model.safetensors", "--enough", "--calibration-data", recorded(true)};
  const Outcome table = files.calibrate(words);
  CHECK(table.out.find("Error against plain") != std::string::npos);
  CHECK(table.out.find("FP8, 1 layers, judged by 2 other pictures") != std::string::npos);
  Words as_json = words;
  as_json.emplace_back("--json");
  const json measured = json::parse(files.calibrate(as_json).out);
  std::vector<int> counts;
  for (const json& point : measured.at("points")) counts.push_back(point.at("pictures"));
  CHECK(counts == std::vector<int>{1, 2, 4, 6});
  CHECK(measured.at("points").back().at("error_against_plain").get<double>() < 1);
  files.refuses({files / "model.safetensors", "--enough"}, 2, "argument --calibration-data: is required");
  files.refuses({files / "model.safetensors", "--enough", "--calibration-data", recorded(false)}, 1,
                "no layer has rows of four pictures");
  files.refuses({"--enough", "--list", files / "pictures.safetensors"}, 2, "does not go with --");
}

TEST_CASE("calibrate: a file is listed, for people and programs", "[end_to_end]") {
  const Folder files;
  make_checkpoint(files / "cal.safetensors", {rows("q.rows", 5, 4), rows("up.rows", 7, 8)},
                  {{"format", "ctq-calibration"},
                   {"version", "1"},
                   {"source", "three pictures"},
                   {"counts", R"({"q": 500})"},
                   {"shared", R"({"k": "q"})"}});
  const Outcome table = files.calibrate({"--list", files / "cal.safetensors"});
  CHECK(table.out.find("also k\n") != std::string::npos);
  CHECK(table.out.find("2 inputs of 3 layers, 12 rows") != std::string::npos);
  CHECK(table.out.find("source: three pictures\n") != std::string::npos);
  CHECK(table.out.find("2 inputs have fewer than 64 distinct rows") != std::string::npos);
  const json listed = json::parse(files.calibrate({"--list", files / "cal.safetensors", "--json"}).out);
  const double rank = listed.at("inputs").at(0).at("effective_rank").get<double>();
  CHECK(rank >= 1);
  CHECK(rank <= 4.001);
  json first = listed.at("inputs").at(0);
  first.erase("effective_rank");
  CHECK(first.at("groups").get<int>() >= 1);
  first.erase("groups");
  CHECK(first == json{{"layer", "q"},
                      {"rows", 5},
                      {"distinct_rows", 5},
                      {"width", 4},
                      {"counted", 500},
                      {"statistics", {"rows"}},
                      {"shared_by", {"k"}}});
  CHECK(listed.at("totals").at("layers") == 3);
  CHECK(listed.at("metadata").at("source") == "three pictures");
  files.calibrate({"--list", files / "cal.safetensors", "--json=" + (files / "list.json")});
  CHECK(json::parse(read_file(files / "list.json")) == listed);
  files.refuses({"--list", files / "model.safetensors"}, 4, "is no statistic of a calibration file");
  files.refuses({"--list", files / "nothing.safetensors"}, 4, "argument --list: ");
  files.refuses({"--list", files / "cal.safetensors", "-o", files / "x.json"}, 2,
                "argument --output: does not go with --list");
}

TEST_CASE("calibrate: recordings are joined, thinned and turned into H", "[end_to_end]") {
  const Folder files;
  for (const char* name : {"rows", "other"}) {
    files.calibrate({files / "model.safetensors", "--activations",
                     files / (std::string(name) + ".safetensors"), "-o",
                     files / (std::string("cal_") + name + ".safetensors"), "--percentile=100"});
  }
  const std::string a = files / "cal_rows.safetensors", b = files / "cal_other.safetensors";
  files.calibrate({"--merge", a, b, "-o", files / "joined.safetensors"});
  {
    const Reader joined(files / "joined.safetensors");
    CHECK(joined.find("blk.0.q.rows")->shape == std::vector<int64_t>{140, 64});
    CHECK(bytes_of(joined, "blk.0.q.rows") ==
          bytes_of(Reader(a), "blk.0.q.rows") + bytes_of(Reader(b), "blk.0.q.rows"));
    CHECK(number(joined, "blk.0.q.input_scale") == 1);
    CHECK(json::parse(joined.header().metadata.at("counts")).at("blk.0.up") == 130);
  }
  files.calibrate({"--merge", a, b, "-o", files / "thin.safetensors", "--rows", "50"});
  CHECK(Reader(files / "thin.safetensors").find("blk.0.q.rows")->shape == std::vector<int64_t>{50, 64});
  files.calibrate({"--merge", a, "-o", files / "thin2.safetensors", "--thin", "50", "--seed", "42"});
  CHECK(Reader(files / "thin2.safetensors").find("blk.0.q.rows")->shape == std::vector<int64_t>{50, 64});
  files.calibrate({"--merge", a, b, "-o", files / "h.safetensors", "--hessian"});
  CHECK(Reader(files / "h.safetensors").find("blk.0.q.hessian")->shape == std::vector<int64_t>{64, 64});
  CHECK(Reader(files / "h.safetensors").find("blk.0.q.rows") == nullptr);

  make_checkpoint(files / "wide.safetensors", {rows("blk.0.q.rows", 9, 65)});
  make_checkpoint(files / "stranger.safetensors", {rows("x.rows", 9, 64)});
  const std::string out = files / "new.safetensors";
  files.refuses({"--merge", a, files / "wide.safetensors", "-o", out}, 4, "layer 'blk.0.q' reads 65 columns");
  files.refuses({"--merge", a, files / "stranger.safetensors", "-o", out}, 4, "has no layer in common");
  files.refuses({"--merge", a, files / "nothing.safetensors", "-o", out}, 4, "argument --merge: ");
  files.refuses({"--merge", a, a, "-o", out}, 2, "the same file stands twice");
  files.refuses({"--merge", a, "-o", a}, 2, "is the input file");
  files.refuses({"--merge", a, "-o", out, "--rows", "5", "--hessian"}, 2, "does not go with --hessian");
  files.refuses({"--merge", a}, 2, "argument --output: is required");
}

TEST_CASE("calibrate: input scales for a quantized file, all else byte for byte", "[end_to_end]") {
  struct Row {
    Words flags;
    float largest_code;
  };
  const auto row = GENERATE(values<Row>({{{"--fp8", "--comfy_quant", "--save-quant-metadata"}, 448},
                                         {{"--format", "float8_e5m2", "--comfy_quant"}, 57344},
                                         {{"--int8", "--scaling_mode", "row", "--comfy_quant"}, 127}}));
  const Folder files;
  const std::string quantized = files.quantized(row.flags);
  files.calibrate({quantized, "--patch", "--activations", files / "rows.safetensors", "--percentile", "100",
                   "--json=" + (files / "scales.json")});
  const Reader before(quantized), after(files / "quantized_calibrated.safetensors");
  CHECK(number(after, "blk.0.q.input_scale") == 127 / row.largest_code);
  CHECK(after.find("blk.0.q.input_scale")->shape.empty());
  CHECK(after.header().tensors.size() == before.header().tensors.size() + 2);
  for (const safetensors::TensorInfo& info : before.header().tensors) {
    INFO(info.name);
    if (info.name.ends_with(".comfy_quant")) {
      std::string marker = bytes_of(before, info.name);
      marker.insert(marker.size() - 1, R"(, "input_scale_calibrated": true)");
      CHECK(bytes_of(after, info.name) == marker);
      CHECK(after.find(info.name)->shape == std::vector<int64_t>{static_cast<int64_t>(marker.size())});
    } else {
      CHECK(bytes_of(after, info.name) == bytes_of(before, info.name));
      CHECK(after.find(info.name)->shape == info.shape);
      CHECK(after.find(info.name)->dtype == info.dtype);
    }
  }
  const auto& metadata = after.header().metadata;
  CHECK(metadata.at("modelspec.title") == "small");
  if (const auto header = metadata.find("_quantization_metadata"); header != metadata.end()) {
    for (const auto& layer : json::parse(header->second).at("layers"))
      CHECK(layer.at("input_scale_calibrated") == true);
  }
  CHECK(json::parse(read_file(files / "scales.json")).size() == 2);
  // Again, with other data: the scale is replaced, the marker stays.
  files.calibrate({files / "quantized_calibrated.safetensors", "--patch", "--activations",
                   files / "other.safetensors", "-o", files / "twice.safetensors"});
  const Reader twice(files / "twice.safetensors");
  CHECK(twice.header().tensors.size() == after.header().tensors.size());
  CHECK(bytes_of(twice, "blk.0.q.comfy_quant") == bytes_of(after, "blk.0.q.comfy_quant"));
  CHECK(number(twice, "blk.0.q.input_scale") < number(after, "blk.0.q.input_scale"));
}

TEST_CASE("calibrate: --patch with statistics alone, and layers that get no scale", "[end_to_end]") {
  const Folder files;
  const std::string quantized = files.quantized({"--fp8", "--comfy_quant"});
  write_file(files / "scales.json", R"({"blk.0.q": 0.5})");
  files.calibrate(
      {quantized, "--patch", "--calibration-data", files / "scales.json", "-o", files / "out.safetensors"});
  const Outcome older = run_binary({"-i", quantized, "--actcal", "--calibration-data", files / "scales.json",
                                    "-o", files / "older.safetensors"});
  CHECK(older.code == 0);
  CHECK(read_file(files / "older.safetensors") == read_file(files / "out.safetensors"));
  const Outcome mixed = run_binary({"-i", quantized, "--actcal", "--fp8"});
  CHECK(mixed.code == 2);
  const Reader out(files / "out.safetensors");
  CHECK(number(out, "blk.0.q.input_scale") == 0.5f * 127 / 448);
  CHECK(out.find("blk.0.up.input_scale") == nullptr);
  CHECK(bytes_of(out, "blk.0.up.comfy_quant") == R"({"format": "float8_e4m3fn"})");

  const auto marked = [&](const std::string& name, const std::string& marker) {
    make_checkpoint(files / name, {tensor("blk.0.q.weight", Dtype::kI8, {2, 64}, std::string(128, '\1')),
                                   rows("blk.0.q.weight_scale", 2, 1),
                                   tensor("blk.0.q.comfy_quant", Dtype::kU8,
                                          {static_cast<int64_t>(marker.size())}, marker)});
    return files / name;
  };
  for (const auto& [marker, said] :
       {std::pair{R"({"format": "int8_tensorwise", "convrot": true})", "rotated before it is quantized"},
        {R"({"format": "mxfp8"})", "format \"mxfp8\" has no input scale"},
        {"[]", "its marker is no JSON object"}}) {
    const Outcome outcome = files.attempt({marked("marked.safetensors", marker), "--patch", "--activations",
                                           files / "rows.safetensors", "-o", files / "none.safetensors"});
    INFO(outcome.err);
    CHECK(outcome.code == 1);
    CHECK(outcome.err.find(said) != std::string::npos);
    CHECK(outcome.err.find("has no statistics for any of the 1 quantized layers") != std::string::npos);
    CHECK_FALSE(std::ranges::count(files.entries(), "none.safetensors"));
  }
  // An input that is always zero: any scale does, 0 would divide by zero.
  make_checkpoint(files / "zero.safetensors",
                  {tensor("blk.0.q", Dtype::kF32, {3, 64}, std::string(3 * 64 * 4, '\0'))});
  files.calibrate({quantized, "--patch", "--activations", files / "zero.safetensors", "-o",
                   files / "zeroed.safetensors"});
  CHECK(number(Reader(files / "zeroed.safetensors"), "blk.0.q.input_scale") == 1);
}

TEST_CASE("calibrate: --patch refuses what it cannot do", "[end_to_end]") {
  const Folder files;
  const std::string model = files / "model.safetensors", activations = files / "rows.safetensors";
  files.refuses({model, "--patch", "--activations", activations}, 4, "holds no quantized layer");
  files.refuses({files.quantized({"--fp8"}), "--patch", "--activations", activations}, 4,
                "which is not the comfy layout");
  const std::string quantized = files.quantized({"--fp8", "--comfy_quant"});
  files.refuses({quantized, "--patch"}, 2, "needs --activations or --calibration-data");
  files.refuses({quantized, "--patch", "--activations", activations, "--calibration-data", activations}, 2,
                "does not go with --activations");
  files.refuses({quantized, "--patch", "--activations", activations, "--json"}, 2, "needs a path");
  files.refuses({quantized, "--patch", "--activations", activations, "-o", quantized}, 2,
                "is the input file");
  files.refuses({quantized, "--patch", "--activations", activations, "--rows", "3"}, 2,
                "argument --rows: does not go with --patch");
  make_checkpoint(files / "wide.safetensors", {rows("blk.0.q", 9, 65)});
  files.refuses({quantized, "--patch", "--activations", files / "wide.safetensors"}, 4,
                "layer 'blk.0.q' reads 64 columns");
  make_checkpoint(files / "stranger.safetensors", {rows("x", 9, 64)});
  files.refuses({quantized, "--patch", "--activations", files / "stranger.safetensors"}, 1,
                "none of its 1 layers");
}

TEST_CASE("calibrate: one line and a code for what is wrong", "[end_to_end]") {
  const Folder files;
  const std::string model = files / "model.safetensors", out = files / "out.safetensors";
  files.refuses({"-o", out}, 2, "argument --input: is required");
  files.refuses({model}, 2, "argument --output: is required");
  files.refuses({model, "--json"}, 2, "argument --output: is required");
  files.refuses({model, "-o", files / "out.txt"}, 2, "must end in .safetensors or .json");
  files.refuses({model, "-o", model}, 2, "is the input file");
  files.refuses({model, "-o", files / "x.json", "--json=" + (files / "x.json")}, 2, "is the output file");
  files.refuses({model, "-o", out, "--rows", "3"}, 2, "argument --rows: needs --activations");
  files.refuses({model, "-o", out, "--activations", files / "rows.safetensors", "--samples", "3"}, 2,
                "argument --samples: does not go with --activations");
  files.refuses({model, "-o", out, "--calibration-data", files / "rows.safetensors"}, 2,
                "argument --calibration-data: goes with --patch");
  files.refuses({"--merge", model, "--list", model}, 2, "does not go with --");
  files.refuses({files / "nothing.safetensors", "-o", out}, 4, "No such file");
  files.refuses({model, "-o", out, "--activations", files / "nothing.safetensors"}, 4,
                "argument --activations: ");
  write_file(files / "short.safetensors", "\x20");
  files.refuses({files / "short.safetensors", "-o", out}, 4, "short.safetensors");
  files.refuses({model, "-o", out, "--activations", files / "short.safetensors"}, 4, "short.safetensors");
  make_checkpoint(files / "vectors.safetensors", {bf16_vector("norm.weight", 8)});
  files.refuses({files / "vectors.safetensors", "-o", out}, 1, "has no 2-D weight");
  ::mkdir((files / "folder.safetensors").c_str(), 0755);
  files.refuses({model, "-o", files / "folder.safetensors", "--activations", files / "rows.safetensors"}, 1,
                "is a directory");
}

TEST_CASE("calibrate: the page is printed without a valid command line", "[end_to_end]") {
  const Outcome page = run_binary({"calibrate", "--nonsense", "--help"});
  CHECK(page.code == 0);
  CHECK(page.out.starts_with("usage: convert_to_quant calibrate MODEL"));
}
