// `edit` and `migrate`, run as a user would.
#include <cmath>
#include <cstring>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/quantized_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

class Folder {
 public:
  explicit Folder(const std::string& prefix = "") {
    make_checkpoint(
        *this / "model.safetensors",
        {bf16_weight(prefix + "blk.0.q.weight", 64, 64), bf16_weight(prefix + "blk.0.up.weight", 128, 64),
         bf16_vector(prefix + "blk.0.q.bias", 64)},
        {{"modelspec.title", "small"}});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  Outcome run(const Words& words, int code = 0) const { return run_expecting(words, code); }
  /// A quantized file of the model.
  std::string quantized(std::string_view name, const Words& flags) const {
    Words words{"-i", *this / "model.safetensors", "-o", *this / name, "--simple", "-q"};
    words.insert(words.end(), flags.begin(), flags.end());
    run(words);
    return *this / name;
  }
  /// The file that the mode makes of another.
  std::string migrated(const std::string& mode, const std::string& from, std::string_view name,
                       const Words& more = {}) const {
    Words words{"migrate", mode, "-i", from, "-o", *this / name};
    words.insert(words.end(), more.begin(), more.end());
    run(words);
    return *this / name;
  }

 private:
  TempDir dir_;
};

float scalar(const Reader& file, std::string_view name) {
  const std::string bytes = bytes_of(file, name);
  REQUIRE(bytes.size() == sizeof(float));
  float value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

TestTensor u8(std::string name, std::vector<int64_t> shape, std::string bytes) {
  return tensor(std::move(name), Dtype::kU8, std::move(shape), std::move(bytes));
}

}  // namespace

TEST_CASE("migrate: scaled_fp8 becomes the file that --comfy_quant writes, and back, to the byte",
          "[end_to_end]") {
  const std::string prefix = GENERATE(as<std::string>(), "", "model.diffusion_model.");
  const Words extra = GENERATE(values<Words>({{}, {"-fpmm"}, {"--input_scale"}}));
  CAPTURE(prefix, extra);
  const Folder files(prefix);
  Words legacy_flags{"--fp8"}, comfy_flags{"--fp8", "--comfy_quant"};
  legacy_flags.insert(legacy_flags.end(), extra.begin(), extra.end());
  comfy_flags.insert(comfy_flags.end(), extra.begin(), extra.end());
  const std::string legacy = files.quantized("legacy.safetensors", legacy_flags),
                    comfy = files.quantized("comfy.safetensors", comfy_flags);
  const std::string forth = files.migrated("fp8-scaled", legacy, "forth.safetensors");
  CHECK(read_file(forth) == read_file(comfy));
  CHECK(read_file(files.migrated("comfy-to-legacy", forth, "back.safetensors")) == read_file(legacy));
  files.run({"verify", forth});
  files.run({"verify", files / "back.safetensors"});
}

TEST_CASE("migrate: unmarked INT8 becomes the file that --comfy_quant writes", "[end_to_end]") {
  const Folder files;
  const Words mode = GENERATE(
      values<Words>({{"--scaling_mode", "row"}, {"--scaling_mode", "tensor"}, {"--block_size", "32"}}));
  CAPTURE(mode);
  Words comfy = mode;
  comfy.emplace_back("--comfy_quant");
  const std::string legacy = files.quantized("legacy.safetensors", mode);
  CHECK(read_file(files.migrated("int8-scaled", legacy, "forth.safetensors")) ==
        read_file(files.quantized("comfy.safetensors", comfy)));
  // What is right already is not rewritten.
  files.run({"migrate", "int8-scaled", "-i", files / "forth.safetensors", "-o", files / "x.safetensors"}, 4);
}

TEST_CASE("migrate: int8-scaled tells rows from columns and from flat blocks", "[end_to_end]") {
  const TempDir dir;
  struct Row {
    std::vector<int64_t> scale;
    std::string marker;  // before; empty: none
    std::string format;
    std::vector<int64_t> shape;
  };
  const auto row = GENERATE(values<Row>({
      {{8}, "", "int8_tensorwise", {8, 1}},
      {{8, 1}, R"({"format": "int8_blockwise", "group_size": 1})", "int8_tensorwise", {8, 1}},
      {{}, R"({"format": "int8_blockwise", "group_size": 128})", "int8_tensorwise", {}},
      {{8, 2}, "", "int8_blockwise", {8, 2}},
      {{2, 2}, R"({"format": "int8_tensorwise", "per_row": true})", "int8_blockwise", {2, 2}},
  }));
  CAPTURE(row.scale, row.marker);
  int64_t count = 1;
  for (const int64_t size : row.scale) count *= size;
  std::vector<TestTensor> tensors{
      tensor("a.weight", Dtype::kI8, {8, 16},
             elements<int8_t>(
                 128, [](int64_t i) { return static_cast<int8_t>(i % 16 == i / 16 ? 127 : i % 50); })),
      f32(row.marker.empty() ? "a.scale_weight" : "a.weight_scale", row.scale,
          std::vector<float>(static_cast<size_t>(count), 0.5f))};
  if (!row.marker.empty()) tensors.push_back(marker("a", row.marker));
  make_checkpoint(dir / "in.safetensors", tensors);
  const Outcome run =
      run_binary({"migrate", "int8-scaled", "-i", dir / "in.safetensors", "-o", dir / "out.safetensors"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const Reader out(dir / "out.safetensors"), in(dir / "in.safetensors");
  CHECK(json::parse(bytes_of(out, "a.comfy_quant")).at("format") == row.format);
  CHECK_FALSE(json::parse(bytes_of(out, "a.comfy_quant")).contains("per_row"));
  CHECK(out.find("a.weight_scale")->shape == row.shape);
  CHECK(bytes_of(out, "a.weight") == bytes_of(in, "a.weight"));
}

TEST_CASE("migrate: a scale that fits nothing is refused", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "in.safetensors", {tensor("a.weight", Dtype::kI8, {8, 16}, std::string(128, '\1')),
                                           f32("a.scale_weight", {16}, std::vector<float>(16, 1))});
  const Outcome run = run_binary({"migrate", "int8-scaled", "-i", dir / "in.safetensors"});
  CHECK(run.code == 4);
  CHECK(run.err.find("a scale [16] belongs to no format for a weight [8, 16]") != std::string::npos);
}

TEST_CASE("migrate: as many rows as blocks, and the codes decide", "[end_to_end]") {
  const TempDir dir;
  // 16 scales for [16, 16]: 16 rows, or blocks of 4. Only in one of them does every group reach 127.
  const bool rows = GENERATE(true, false);
  const auto code = [&](int64_t i) {
    const int64_t r = i / 16, c = i % 16;
    const bool largest = rows ? c == 0 : r % 4 == 0 && c % 4 == 0;
    return static_cast<int8_t>(largest ? 127 : 3);
  };
  make_checkpoint(dir / "in.safetensors",
                  {tensor("a.weight", Dtype::kI8, {16, 16}, elements<int8_t>(256, code)),
                   f32("a.scale_weight", {16}, std::vector<float>(16, 1))});
  REQUIRE(run_binary({"migrate", "int8-scaled", "-i", dir / "in.safetensors", "-o", dir / "out.safetensors",
                      "--block_size", "4"})
              .code == 0);
  const Reader out(dir / "out.safetensors");
  CHECK(out.find("a.weight_scale")->shape ==
        (rows ? std::vector<int64_t>{16, 1} : std::vector<int64_t>{4, 4}));
  CHECK(json::parse(bytes_of(out, "a.comfy_quant")) ==
        (rows ? json{{"format", "int8_tensorwise"}} : json{{"format", "int8_blockwise"}, {"group_size", 4}}));
}

TEST_CASE("migrate: fp8-scaled drops scales of kept weights and minds --hp-filter", "[end_to_end]") {
  const TempDir dir;
  const auto fp8 = [](const std::string& name) {
    return tensor(name, Dtype::kF8E4M3, {4, 4}, std::string(16, '\x38'));
  };
  make_checkpoint(dir / "in.safetensors",
                  {fp8("a.weight"), f32("a.scale_weight", {1}, {2}), f32("a.scale_input", {1}, {3}),
                   bf16_weight("kept.weight", 4, 4), f32("kept.scale_weight", {1}, {1}), fp8("b.weight"),
                   f32("b.scale_weight", {4}, {1, 2, 3, 4}), f32("gone.scale_weight", {}, {1}),
                   tensor("scaled_fp8", Dtype::kF8E4M3, {2}, "xy")});
  const auto migrate = [&](const Words& more, int code) {
    Words words{"migrate", "fp8-scaled", "-i", dir / "in.safetensors", "-o", dir / "out.safetensors"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome run = run_binary(words);
    INFO(run.err);
    REQUIRE(run.code == code);
    return run;
  };
  CHECK(migrate({"--hp-filter", "^a"}, 1)
            .err.find("1 layers that should be of high precision (--hp-filter) are FP8: a") !=
        std::string::npos);
  migrate({"--hp-filter", "kept", "--input_scale", "--save-quant-metadata"}, 0);
  const Reader out(dir / "out.safetensors");
  CHECK(bytes_of(out, "a.comfy_quant") ==
        R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})");
  CHECK(bytes_of(out, "b.comfy_quant") ==
        R"({"format": "float8_e4m3fn_rowwise", "full_precision_matrix_mult": true})");
  CHECK(scalar(out, "a.weight_scale") == 2);
  CHECK(scalar(out, "a.input_scale") == 3);
  CHECK(scalar(out, "b.input_scale") == 1);
  for (const char* name :
       {"scaled_fp8", "kept.scale_weight", "kept.weight_scale", "gone.scale_weight", "a.scale_weight"})
    CHECK(out.find(name) == nullptr);
  CHECK(json::parse(out.header().metadata.at("_quantization_metadata")).at("layers").size() == 2);
  migrate({"--block_size", "4"}, 2);
}

TEST_CASE("migrate: add-input-scale and cleanup-fp8", "[end_to_end]") {
  const TempDir dir;
  const auto fp8 = [](const std::string& name) {
    return tensor(name, Dtype::kF8E4M3, {4, 4}, std::string(16, '\x38'));
  };
  make_checkpoint(dir / "in.safetensors",
                  {fp8("a.weight"), f32("a.scale_weight", {}, {2}), bf16_weight("kept.weight", 4, 4),
                   f32("kept.scale_weight", {1}, {1}), tensor("scaled_fp8", Dtype::kF8E4M3, {2}, "xy")});
  REQUIRE(run_binary({"migrate", "add-input-scale", "-i", dir / "in.safetensors"}).code == 0);
  const Reader added(dir / "in_with_input_scale.safetensors");
  CHECK(scalar(added, "a.scale_input") == 1);
  CHECK(added.find("kept.scale_input") == nullptr);
  CHECK(bytes_of(added, "scaled_fp8") == std::string(1, '\0'));
  for (const std::string elements : {"0", "2"}) {
    REQUIRE(
        run_binary({"migrate", "cleanup-fp8", "-i", dir / "in.safetensors", "--scaled-fp8-marker", elements})
            .code == 0);
    const Reader cleaned(dir / "in_cleaned.safetensors");
    CHECK(cleaned.find("scaled_fp8")->shape == std::vector<int64_t>{elements == "2" ? 2 : 0});
    CHECK(cleaned.find("kept.scale_weight") == nullptr);
    CHECK(cleaned.find("kept.weight") != nullptr);
    CHECK(cleaned.find("a.scale_input") == nullptr);
    CHECK(run_binary({"verify", dir / "in_cleaned.safetensors"}).code == 0);
  }
  // ComfyUI casts the kept weight to FP8 and multiplies it by its scale, which is 1: read, but not as it
  // stands.
  const Outcome before = run_binary({"verify", dir / "in.safetensors"});
  CHECK(before.code == 0);
  CHECK(before.out.find("scale_weight beside a kept BF16 weight") != std::string::npos);
}

TEST_CASE("migrate: u8log writes the scales that the codes stand for", "[end_to_end]") {
  const TempDir dir;
  const Words layout = GENERATE(values<Words>({{}, {"--comfy_quant"}}));
  const std::vector<TestTensor> tensors{tensor("a.weight", Dtype::kF8E4M3, {2, 2}, std::string(4, '\x38')),
                                        u8("a.scale_weight", {}, std::string(1, static_cast<char>(134))),
                                        bf16_weight("kept.weight", 2, 2),
                                        u8("kept.scale_weight", {}, std::string(1, static_cast<char>(212))),
                                        u8("scale_format", {1}, "\x08"),
                                        tensor("scaled_fp8", Dtype::kF8E4M3, {1}, "x")};
  make_checkpoint(dir / "in.safetensors", tensors,
                  {{"ctq.scale8", R"({"log10_min": -10, "log10_max": 2, "meaning": "dequant"})"}});
  CHECK(run_binary({"verify", dir / "in.safetensors"}).code == 4);
  Words words{"migrate", "u8log", "-i", dir / "in.safetensors", "-o", dir / "out.safetensors"};
  words.insert(words.end(), layout.begin(), layout.end());
  REQUIRE(run_binary(words).code == 0);
  const Reader out(dir / "out.safetensors");
  const bool comfy = !layout.empty();
  CHECK(scalar(out, comfy ? "a.weight_scale" : "a.scale_weight") ==
        Approx(std::pow(10.0, 134.0 / 255 * 12 - 10)).epsilon(1e-6));
  CHECK((out.find("scaled_fp8") == nullptr) == comfy);
  for (const char* name : {"scale_format", "kept.scale_weight", "kept.weight_scale"})
    CHECK(out.find(name) == nullptr);
  CHECK_FALSE(out.header().metadata.contains("ctq.scale8"));
  CHECK(bytes_of(out, "a.weight") == std::string(4, '\x38'));
  CHECK(run_binary({"verify", dir / "out.safetensors"}).code == 0);
  // The error against the file itself, decoded, is none.
  CHECK(run_binary({"dequantize", dir / "in.safetensors", "--dtype", "f32", "-o", dir / "plain.safetensors"})
            .code == 0);
  CHECK(run_binary(
            {"compare", dir / "plain.safetensors", dir / "out.safetensors", "--quality-threshold", "140"})
            .code == 0);
}

TEST_CASE("migrate: hybrid-mxfp8 takes the largest block scale, or another file's scale", "[end_to_end]") {
  const TempDir dir;
  std::string scales(128 * 4, '\0');
  scales[0] = 120, scales[16] = 119;
  make_checkpoint(
      dir / "mx.safetensors",
      {tensor("a.weight", Dtype::kF8E4M3, {32, 32}, std::string(1024, '\x38')),
       u8("a.weight_scale", {128, 4}, scales), marker("a", R"({"format": "mxfp8", "orig_shape": [2, 32]})")});
  make_checkpoint(
      dir / "fp8.safetensors",
      {tensor("a.weight", Dtype::kF8E4M3, {32, 32}, std::string(1024, '\x38')),
       f32("a.weight_scale", {2}, {0.25, 0.5}), marker("a", R"({"format": "float8_e4m3fn_rowwise"})")});
  REQUIRE(run_binary({"migrate", "hybrid-mxfp8", "-i", dir / "mx.safetensors"}).code == 0);
  {
    const Reader out(dir / "mx_hybrid.safetensors");
    CHECK(scalar(out, "a.weight_scalar") == std::ldexp(1.0f, 120 - 127));
    CHECK(bytes_of(out, "a.comfy_quant") == R"({"format": "hybrid_mxfp8", "orig_shape": [2, 32]})");
  }
  REQUIRE(run_binary({"migrate", "hybrid-mxfp8", "-i", dir / "mx.safetensors", "--tensor-scales",
                      dir / "fp8.safetensors"})
              .code == 0);
  CHECK(scalar(Reader(dir / "mx_hybrid.safetensors"), "a.weight_scalar") == 0.5f);
  CHECK(run_binary({"migrate", "hybrid-mxfp8", "-i", dir / "fp8.safetensors"}).code == 4);
}

TEST_CASE("migrate: the wrong kind of file, or of option", "[end_to_end]") {
  const Folder files;
  const std::string model = files / "model.safetensors",
                    int8 = files.quantized("int8.safetensors", {"--scaling_mode", "row", "--comfy_quant"});
  for (const std::string mode : {"fp8-scaled", "int8-scaled", "add-input-scale", "cleanup-fp8",
                                 "hybrid-mxfp8", "u8log", "comfy-to-legacy"}) {
    CAPTURE(mode);
    files.run({"migrate", mode, "-i", model, "-o", files / "x.safetensors"}, 4);
    CHECK_FALSE(std::filesystem::exists(files / "x.safetensors"));
    files.run({"migrate", mode, "-i", model, "-o", model}, 2);
  }
  CHECK(files.run({"migrate", "comfy-to-legacy", "-i", int8}, 4)
            .err.find("the legacy layout only has E4M3 weights with one scale") != std::string::npos);
  files.run({"migrate", "fp8", "-i", model}, 2);
  files.run({"migrate", "-i", model}, 2);
  files.run({"migrate", "u8log", "-i", model, "--hp-filter", "a"}, 2);
}

TEST_CASE("edit: markers of tensor and header change alike, weights do not", "[end_to_end]") {
  const Folder files;
  const std::string file = files.quantized(
      "q.safetensors",
      {"--scaling_mode", "row", "--convrot", "--convrot-group-size", "64", "--save-quant-metadata"});
  files.run({"edit", file, "--remove-keys", "convrot_groupsize, nothing", "--add-keys",
             "'note': 'a, b', \"list\": [1, 2], 'on': true", "--quant-filter", "up$"});
  const Reader in(file), out(files / "q_edited.safetensors");
  const std::string edited =
      R"({"format": "int8_tensorwise", "convrot": true, "note": "a, b", "list": [1, 2], "on": true})";
  CHECK(bytes_of(out, "blk.0.up.comfy_quant") == edited);
  CHECK(bytes_of(out, "blk.0.q.comfy_quant") == bytes_of(in, "blk.0.q.comfy_quant"));
  const json header = json::parse(out.header().metadata.at("_quantization_metadata")).at("layers");
  CHECK(header.at("blk.0.up") == json::parse(edited));
  CHECK(header.at("blk.0.q") == json::parse(bytes_of(in, "blk.0.q.comfy_quant")));
  for (const char* name : {"blk.0.q.weight", "blk.0.up.weight", "blk.0.up.weight_scale", "blk.0.q.bias"})
    CHECK(bytes_of(out, name) == bytes_of(in, name));
  CHECK(out.header().metadata.at("modelspec.title") == "small");
  // Taken back, it is the first file.
  files.run({"edit", files / "q_edited.safetensors", "-o", files / "back.safetensors", "--remove-keys",
             "note,list,on", "--add-keys", R"({"convrot_groupsize": 64})", "--quant-filter", "up"});
  CHECK(read_file(files / "back.safetensors") == read_file(file));
}

TEST_CASE("edit: the header's map from the tensors, and tensors from the map", "[end_to_end]") {
  const Folder files;
  const std::string plain = files.quantized("plain.safetensors", {"--fp8", "--comfy_quant"}),
                    mapped = files.quantized("mapped.safetensors",
                                             {"--fp8", "--comfy_quant", "--save-quant-metadata"});
  files.run({"edit", plain, "-o", files / "a.safetensors", "--save-quant-metadata"});
  CHECK(read_file(files / "a.safetensors") == read_file(mapped));
  files.run({"edit", mapped, "-o", files / "b.safetensors", "--remove-tensors", R"(\.comfy_quant$)"});
  CHECK(Reader(files / "b.safetensors").find("blk.0.q.comfy_quant") == nullptr);
  const Outcome created =
      files.run({"edit", files / "b.safetensors", "-o", files / "c.safetensors", "--save-quant-metadata"});
  CHECK(created.out.find("2 markers created") != std::string::npos);
  CHECK(read_file(files / "c.safetensors") == read_file(mapped));
}

TEST_CASE("edit: what it refuses", "[end_to_end]") {
  const Folder files;
  const std::string file = files.quantized("q.safetensors", {"--fp8", "--comfy_quant"}),
                    legacy = files.quantized("l.safetensors", {"--fp8"});
  files.run({"edit", file}, 2);
  for (const std::string bad : {"a: 1", "'a' 1", "'a': [1", "'a': 1, ", "'a': x", "{\"a\": }", "'a': 'b"}) {
    CAPTURE(bad);
    CHECK(files.run({"edit", file, "--add-keys", bad}, 2).err.find("argument --add-keys:") !=
          std::string::npos);
  }
  files.run({"edit", file, "--remove-keys", "a", "--quant-filter", "("}, 2);
  files.run({"edit", file, "-o", file, "--remove-keys", "a"}, 2);
  CHECK(files.run({"edit", legacy, "--remove-keys", "a"}, 4).err.find("no layer with a marker") !=
        std::string::npos);
}

TEST_CASE("mode switches: the older spellings run the commands", "[end_to_end]") {
  const Folder files;
  const std::string legacy = files.quantized("l.safetensors", {"--fp8"}),
                    comfy = files.quantized("c.safetensors", {"--fp8", "--comfy_quant"});
  files.run({"--convert-fp8-scaled", "-i", legacy});
  CHECK(read_file(files / "l_fp8mixed.safetensors") == read_file(comfy));
  files.run({"-i", comfy, "--edit-quant", "--add-keys", "'a': 1", "-o", files / "e.safetensors"});
  CHECK(bytes_of(Reader(files / "e.safetensors"), "blk.0.q.comfy_quant") ==
        R"({"format": "float8_e4m3fn", "a": 1})");
  files.run(
      {"-i", legacy, "--cleanup-fp8-scaled", "--scaled-fp8-marker", "2", "-o", files / "x.safetensors"});
  CHECK(files.run({"--edit-quant", "--legacy_input_add", "-i", legacy}, 2)
            .err.find("does not go with --edit-quant") != std::string::npos);
  files.run(
      {"--edit-quant=false", "-i", files / "model.safetensors", "-o", files / "y.safetensors", "--simple"});
  for (const Words& stray :
       {Words{"--remove-keys", "a"}, Words{"--hp-filter", "a"}, Words{"--full-precision-mm"}}) {
    Words words{"-i", files / "model.safetensors", "-o", files / "z.safetensors"};
    words.insert(words.end(), stray.begin(), stray.end());
    files.run(words, 2);
  }
}
