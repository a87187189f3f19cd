// What `analyze` shows besides the plan, run as a user would.
#include <map>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;

namespace {

using Words = std::vector<std::string>;

class Folder {
 public:
  Folder() {
    make_checkpoint(*this / "m.safetensors",
                    {bf16_weight("double.0.img.weight", 64, 64), bf16_weight("double.1.img.weight", 128, 64),
                     bf16_weight("single.0.out.weight", 64, 72), bf16_weight("head.weight", 64, 64)});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  Outcome analyze(const Words& flags, int code = 0) const {
    Words words{"analyze", *this / "m.safetensors"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_expecting(words, code);
  }

 private:
  TempDir dir_;
};

}  // namespace

TEST_CASE("analyze --template: the file that --dry-run create-template writes", "[end_to_end]") {
  const Folder files;
  files.analyze({"--fp8", "--template=" + files / "a.json"});
  const Outcome old = run_binary(
      {"-i", files / "m.safetensors", "--fp8", "--dry-run", "create-template", "-o", files / "b.json"});
  REQUIRE(old.code == 0);
  CHECK(read_file(files / "a.json") == read_file(files / "b.json"));
  files.analyze({"--fp8", "--template"});
  CHECK(read_file(files / "m_layer_config_template.json") == read_file(files / "b.json"));
  files.analyze({"--template=" + files / "a.json", "-o", files / "c.json"}, 2);
}

TEST_CASE("analyze --error: the errors of a conversion that rounds to nearest", "[end_to_end]") {
  const Folder files;
  const json found =
      json::parse(files.analyze({"--error", "--formats", "fp8,int8_tensorwise,nvfp4", "--json"}).out);
  REQUIRE(found.at("layers").size() == 4);
  for (const Words& target : {Words{"--fp8"}, Words{"--int8", "--scaling_mode", "row"}, Words{"--nvfp4"}}) {
    CAPTURE(target);
    Words words{"-i",
                files / "m.safetensors",
                "-o",
                files / "q.safetensors",
                "--simple",
                "--comfy_quant",
                "--quality-json",
                files / "q.json"};
    words.insert(words.end(), target.begin(), target.end());
    REQUIRE(run_binary(words).code == 0);
    std::map<std::pair<std::string, std::string>, double> converted;
    const json quality = json::parse(read_file(files / "q.json"));
    for (const json& layer : quality.at("layers"))
      converted[{layer.at("name"), layer.at("format")}] = layer.at("mse");
    size_t compared = 0;
    for (const json& layer : found.at("layers")) {
      for (const json& format : layer.at("formats")) {
        const auto same = converted.find({layer.at("name"), format.at("format")});
        if (same == converted.end()) continue;
        CHECK(format.at("mse").get<double>() == Approx(same->second).epsilon(1e-9));
        ++compared;
      }
    }
    CHECK(compared == converted.size());
  }
  const std::string table = files.analyze({"--fp8", "--error"}).out;
  CHECK(table.find("4 layers together") != std::string::npos);
  CHECK(table.find("int8") == std::string::npos);
}

TEST_CASE("analyze --suggest: a layer configuration with the smallest formats that reach the goal",
          "[end_to_end]") {
  const Folder files;
  const auto formats = [&](const std::string& goal) {
    const json config = json::parse(files.analyze({"--nvfp4", "--suggest", "--quality-threshold", goal}).out);
    std::map<std::string, std::string> found;
    for (const auto& [name, entry] : config.items()) {
      if (name.starts_with("^")) found[name] = entry.at("format");
    }
    return found;
  };
  const std::string square = R"(^double\.0\.img$)";
  CHECK(formats("15").at(square) == "nvfp4");
  CHECK(formats("25").at(square) == "float8_e4m3fn");
  CHECK(formats("90").at(square) == "keep");
  // What is printed is a file for --layer-config, and does what it says.
  const std::string config = files.analyze({"--nvfp4", "--suggest", "--quality-threshold", "25"}).out;
  safetensors::write_text_file(files / "layers.json", config);
  const Outcome used =
      run_binary({"-i", files / "m.safetensors", "--nvfp4", "--layer-config", files / "layers.json", "-o",
                  files / "q.safetensors", "--simple", "--report-quality", "--quality-threshold", "25"});
  CHECK(used.code == 0);
}

TEST_CASE("analyze --blocks: any transformer by block", "[end_to_end]") {
  const Folder files;
  const json found =
      json::parse(files.analyze({"--blocks", "--json", "--report", files / "b.html", files / "b.json"}).out);
  CHECK(found == json::parse(read_file(files / "b.json")));
  CHECK_FALSE(found.contains("advice"));
  Words labels;
  for (const json& block : found.at("blocks")) {
    labels.push_back(block.at("stack").get<std::string>() + "." +
                     std::to_string(block.at("block").get<int64_t>()));
  }
  CHECK(labels == Words{"double.0", "double.1", "single.0"});
  const std::string page = read_file(files / "b.html");
  CHECK(page.find("<h2>double</h2>") != std::string::npos);
  CHECK(page.find("<h2>single</h2>") != std::string::npos);
  CHECK(files.analyze({"--blocks"}).out.find("double.1 img") != std::string::npos);
}

TEST_CASE("analyze: what is refused", "[end_to_end]") {
  const Folder files;
  CHECK(files.analyze({"--error", "--suggest"}, 2).err.find("does not go with --error") != std::string::npos);
  CHECK(files.analyze({"--formats", "fp8"}, 2).err.find("--error or --suggest") != std::string::npos);
  CHECK(files.analyze({"--error", "--formats", "fp9"}, 2).err.find("no such format") != std::string::npos);
  CHECK(files.analyze({"--error", "--fp16"}, 2).err.find("--formats: is required") != std::string::npos);
  CHECK(files.analyze({"--suggest", "--json"}, 2).err.find("JSON already") != std::string::npos);
  for (const char* other : {"--error", "--suggest", "--template"})
    CHECK(files.analyze({"--report", files / "x.html", other}, 2).err.find("the plan or --blocks") !=
          std::string::npos);
  CHECK(files.analyze({"--blocks", "--report", files / "x.csv"}, 2).err.find(".html or .json") !=
        std::string::npos);
  CHECK(files.analyze({"--blocks", "--report", files / "m.safetensors"}, 2).err.find(".html") !=
        std::string::npos);
  const Outcome conversion = run_binary({"-i", files / "m.safetensors", "--blocks"});
  CHECK(conversion.code == 2);
  CHECK(conversion.err.find("goes with the command analyze") != std::string::npos);
}
