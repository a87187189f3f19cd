// Many files in one run.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;

namespace {

using Words = std::vector<std::string>;

/// Models with names of different families.
class Models {
 public:
  explicit Models(int count) {
    const Words layers{"double_blocks.0.img_attn.qkv",
                       "blocks.0.self_attn.q",
                       "transformer_blocks.0.attn.to_q",
                       "distilled_guidance_layer.layers.0.in_layer",
                       "encoder.block.0.layer.0.SelfAttention.q",
                       "text_model.encoder.layers.0.self_attn.k_proj"};
    for (int i = 0; i < count; ++i) {
      const std::string name = std::string("model") + char('a' + i) + ".safetensors";
      make_checkpoint(*this / name,
                      {bf16_weight(layers[static_cast<size_t>(i) % layers.size()] + ".weight", 64, 128),
                       bf16_vector("norm.weight", 16)});
    }
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::string folder() const { return dir_.path().string(); }
  Words entries() const { return dir_.entries(); }

  Outcome batch(Words words, int code = 0) const {
    words.insert(words.begin(), {"batch", "--simple", "-y"});
    return run_expecting(words, code);
  }

 private:
  TempDir dir_;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("batch: broken files fail by name, the others are converted, and a second run does nothing",
          "[end_to_end]") {
  const Models models(17);
  const std::string whole = read_file(models / "modela.safetensors");
  write_file(models / "truncated.safetensors", std::string_view(whole).substr(0, whole.size() - 9));
  write_file(models / "empty.safetensors", "");
  write_file(models / "pickle.safetensors", "PK\x03\x04 and more than eight bytes");
  const Outcome first =
      models.batch({"-d", models.folder(), "--fp8", "--comfy_quant", "-q", "--jobs", "2"}, 4);
  CHECK(has(first.out, "17 converted, 3 failed, 0 finished before, 0 not started"));
  for (const char* name : {"truncated", "empty", "pickle"})
    CHECK(has(first.out, std::string("exit code 4: ") + models.folder() + "/" + name + ".safetensors: "));
  const Words files = models.entries();
  CHECK(files.size() == 37);
  CHECK(std::ranges::count_if(files, [](const std::string& name) {
          return name.ends_with("_simple_fp8_tensor.safetensors");
        }) == 17);

  for (const char* name : {"truncated.safetensors", "empty.safetensors", "pickle.safetensors"})
    std::filesystem::remove(models / name);
  const auto before = std::filesystem::last_write_time(models / "modela_simple_fp8_tensor.safetensors");
  const Outcome second = models.batch({"-d", models.folder(), "--fp8", "--comfy_quant", "-q"});
  CHECK(has(second.out, "0 converted, 0 failed, 17 finished before"));
  CHECK(std::filesystem::last_write_time(models / "modela_simple_fp8_tensor.safetensors") == before);
}

TEST_CASE("batch: an output that is older than its input, or not whole, is written anew", "[end_to_end]") {
  const Models models(2);
  const Words words{models / "model?.safetensors", "-q"};
  models.batch(words);
  const std::string output = models / "modela_simple_int8_bs128.safetensors";
  SECTION("older") {
    std::filesystem::last_write_time(models / "modela.safetensors",
                                     std::filesystem::last_write_time(output) + std::chrono::seconds(1));
  }
  SECTION("not whole") { std::filesystem::resize_file(output, std::filesystem::file_size(output) - 1); }
  SECTION("gone") { std::filesystem::remove(output); }
  CHECK(has(models.batch(words).out, "1 converted, 0 failed, 1 finished before"));
}

TEST_CASE("batch: every file with every recipe, into a folder, outputs among the inputs are left out",
          "[end_to_end]") {
  const Models models(2);
  const Words words{models / "modela.safetensors",
                    models / "modelb.safetensors",
                    "--recipe",
                    "comfy-fp8",
                    "--recipes=comfy-int8,comfy-fp8",
                    "--output-dir",
                    models / "out",
                    "-q"};
  CHECK(has(models.batch(words).out, "4 converted"));
  CHECK(std::filesystem::exists(models / "out/modelb_simple_int8_rowwise.safetensors"));
  CHECK(std::filesystem::exists(models / "out/modelb_simple_fp8_tensor.safetensors"));

  models.batch({models / "modela.safetensors", "-q"});
  const Words all{models / "modela.safetensors", models / "modela_simple_int8_bs128.safetensors", "-q"};
  CHECK(has(models.batch(all).out, "0 converted, 0 failed, 1 finished before"));
}

TEST_CASE("batch: adapters and calibration files of a folder are no models", "[end_to_end]") {
  const Models models(1);
  make_checkpoint(models / "style.safetensors",
                  {bf16_weight("double_blocks.0.img_attn.qkv.lora_A.weight", 4, 128),
                   bf16_weight("double_blocks.0.img_attn.qkv.lora_B.weight", 64, 4)});
  make_checkpoint(models / "recorded.safetensors", {bf16_weight("double_blocks.0.img_attn.qkv.rows", 8, 128)},
                  {{"format", "ctq-calibration"}, {"version", "1"}});
  const Outcome folder = models.batch({"-d", models.folder(), "-q"});
  CHECK(has(folder.out, "1 converted, 0 failed"));
  CHECK(has(folder.out + folder.err, "1 files are adapters (LoRA) and left out"));
  CHECK(has(folder.out + folder.err, "1 files are calibration files and left out"));
  CHECK(has(models.batch({"-d", models.folder(), "-q", "--lora"}).out, "style.safetensors"));
  models.batch({models / "style.safetensors", "-q"}, 2);  // named, so that it is said what it is
}

TEST_CASE("batch: --dry-run-batch prints command lines that a shell understands and writes nothing",
          "[end_to_end]") {
  const Models models(1);
  std::filesystem::rename(models / "modela.safetensors", models / "it's a model.safetensors");
  const Outcome shown = models.batch({models / "it's a model.safetensors", "--dry-run-batch", "-q"});
  CHECK(models.entries().size() == 1);
  const std::string line = shown.out.substr(shown.out.find("convert_to_quant ") + 17);
  REQUIRE(std::system((shell_quoted(CTQ_BINARY) + " " + line).c_str()) == 0);
  CHECK(models.entries().size() == 2);
}

TEST_CASE("batch: usage faults come before the first file", "[end_to_end]") {
  const Models models(1);
  const std::string model = models / "modela.safetensors";
  const Words words = GENERATE_COPY(
      Words{model, "--simpel"}, Words{model, "--fp8", "--nvfp4"}, Words{model, "--recipe", "none"},
      Words{model, "--recipe", "comfy-fp8", "--int8"}, Words{model, "-o", "x"},
      Words{model, "--quality-json=x"}, Words{model, "--report", "x.html"}, Words{model, "-d", "."}, Words{},
      Words{model, "--jobs", "0"}, Words{model, "--pattern", "*"});
  CAPTURE(words);
  models.batch(words, 2);
  CHECK(models.entries().size() == 1);
  CHECK(run_binary({"batch", model}).code == 2);  // nobody to ask
  models.batch({"-d", models / "none"}, 4);
  models.batch({models / "*.none"}, 4);
}

TEST_CASE("batch: --no-keep-going ends with the first failure", "[end_to_end]") {
  const Models models(2);
  const Words words{models / "absent.safetensors", models / "modela.safetensors", "-q"};
  CHECK(has(models.batch(words, 4).out, "1 converted, 1 failed"));
  std::filesystem::remove(models / "modela_simple_int8_bs128.safetensors");
  Words strict = words;
  strict.push_back("--no-keep-going");
  CHECK(has(models.batch(strict, 4).out, "0 converted, 1 failed, 0 finished before, 1 not started"));
}

TEST_CASE("batch: --progress json has the file in every object", "[end_to_end]") {
  const Models models(2);
  const Outcome run =
      models.batch({models / "model?.safetensors", "--progress", "json", "--jobs", "2", "-q"});
  size_t ends = 0;
  for (size_t at = 0; at < run.err.size();) {
    const size_t end = run.err.find('\n', at);
    const json object = json::parse(run.err.substr(at, end - at));
    const auto file = object.at("file").get<std::string>();
    CHECK((file == models / "modela.safetensors" || file == models / "modelb.safetensors"));
    if (object.at("event") == "file") {
      ++ends;
      CHECK(object.at("code") == 0);
    }
    at = end + 1;
  }
  CHECK(ends == 2);
}

TEST_CASE("batch: --expect names what deviates from --write-expect", "[end_to_end]") {
  const Models models(2);
  write_file(models / "broken.safetensors", "");
  const Words words{"-d", models.folder(), "--recipe", "comfy-fp8", "-q"};
  const auto with = [&](Words more) {
    more.insert(more.begin(), words.begin(), words.end());
    return more;
  };
  models.batch(with({"--write-expect", models / "expected.json"}), 4);
  CHECK(has(models.batch(with({"--expect", models / "expected.json"})).out, "0 deviations"));

  json expected = json::parse(read_file(models / "expected.json"));
  json& row = expected.at("files").at("modela.safetensors [comfy-fp8]");
  CHECK(row.at("output_bytes") ==
        std::filesystem::file_size(models / "modela_simple_fp8_tensor.safetensors"));
  CHECK(row.at("worst_layer") == "double_blocks.0.img_attn.qkv.weight");
  row["output_bytes"] = 1;
  expected["files"]["broken.safetensors [comfy-fp8]"]["exit_code"] = 0;
  write_file(models / "expected.json", expected.dump());
  const Outcome run = models.batch(with({"--expect", models / "expected.json"}), 3);
  CHECK(has(run.err, "modela.safetensors [comfy-fp8]: output_bytes: wanted 1, got "));
  CHECK(has(run.err, "broken.safetensors [comfy-fp8]: exit_code: wanted 0, got 4"));
}

TEST_CASE("batch: an interrupt stops the file at work and starts no other", "[end_to_end]") {
  const Models models(3);
  for (const char* name : {"modela.safetensors", "modelb.safetensors", "modelc.safetensors"})
    make_checkpoint(models / name, {bf16_weight("blocks.0.to_q.weight", 2048, 2048),
                                    bf16_weight("blocks.1.to_q.weight", 2048, 2048)});
  const TempDir streams;
  const std::string out = shell_quoted(streams / "out");
  const int status =
      std::system((shell_quoted(CTQ_BINARY) + " batch -y -q --optimizer original --num_iter 100000 -d " +
                   shell_quoted(models.folder()) + " >" + out + " 2>&1 & batch=$!; until grep -q '1/3' " +
                   out + "; do sleep 0.05; done; kill -INT $batch; wait $batch")
                      .c_str());
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(has(read_file(streams / "out"), "0 converted, 1 failed, 0 finished before, 2 not started"));
  CHECK(models.entries().size() == 3);
}

TEST_CASE("batch: each file's LoRAs stand on its command line and are merged", "[end_to_end]") {
  const Models models(2);
  make_checkpoint(models / "style.safetensors",
                  {f32_weight("double_blocks.0.img_attn.qkv.lora_A.weight", 2, 128),
                   f32_weight("double_blocks.0.img_attn.qkv.lora_B.weight", 64, 2)});
  write_file(models / "map.json", R"({"modela": "style.safetensors"})");
  const Words words{models / "model?.safetensors",
                    "--lora-mapping",
                    models / "map.json",
                    "--lora-dir",
                    models.folder(),
                    "--merge-lora-scale",
                    "0.5"};
  Words shown = words;
  shown.push_back("--dry-run-batch");
  const Outcome lines = models.batch(shown);
  const std::string lora = "--merge-lora=" + (models / "style.safetensors");
  CHECK(has(lines.out, lora + " --merge-lora-scale=0.5 --input=" + (models / "modela.safetensors")));
  CHECK(lines.out.find(lora) == lines.out.rfind(lora));
  CHECK(has(lines.err, "modelb.safetensors: there is no LoRA for it"));
  CHECK(has(models.batch(words).out, "style.safetensors: 1 of 1 layers, strength 0.5"));
  // A LoRA that is newer than the output makes it unfinished.
  std::filesystem::last_write_time(models / "style.safetensors",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::seconds(2));
  CHECK(has(models.batch(words).out, "1 converted, 0 failed, 1 finished before"));
}

TEST_CASE("batch: the parts of each file have the names that a single conversion gives them",
          "[end_to_end]") {
  const Models models(2);
  const std::string out = models / "out";
  for (const char* part : {"1/2", "2/2"})
    models.batch({models / "modela.safetensors", models / "modelb.safetensors", "--output-dir", out,
                  "--partition", part, "--fp8", "--manual_seed", "1"});
  Words names;
  for (const auto& entry : std::filesystem::directory_iterator(out)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  REQUIRE(names.size() == 4);
  for (const std::string& name : names) {
    INFO(name);
    CHECK(name.find(".part-") == name.rfind(".part-"));
  }
  const Outcome again = models.batch({models / "modela.safetensors", "--output-dir", out, "--partition",
                                      "1/2", "--fp8", "--manual_seed", "1", "--skip-finished"});
  CHECK(has(again.out, "1 finished before"));
}
